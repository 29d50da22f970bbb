//! What a run may do at most: caps on requests, tokens, money and connections, and when it is given up.

use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_sim::request::{RequestDraw, RequestHead};
use tidegate_sim::scenario::live::TokenPrices;

/// What a run may do at most. Over all blocks of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Caps {
    /// Attempts that are sent.
    pub requests: Option<u64>,
    /// Tokens, prompts and the outputs that are asked for.
    pub tokens: Option<u64>,
    /// Money, in the currency of the prices.
    pub cost: Option<f64>,
    /// Requests in flight at once.
    pub in_flight: u64,
}

/// A cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    /// Attempts.
    Requests,
    /// Tokens.
    Tokens,
    /// Money.
    Cost,
    /// Requests in flight.
    InFlight,
    /// Local ports or descriptors of this machine.
    Machine,
}

impl Cap {
    /// All of them.
    pub const ALL: [Cap; 5] = [Cap::Requests, Cap::Tokens, Cap::Cost, Cap::InFlight, Cap::Machine];

    /// In words, as a reason of an invalid run.
    pub fn text(self) -> &'static str {
        match self {
            Cap::Requests => "the cap on requests (`--max-requests`) was hit",
            Cap::Tokens => "the cap on tokens (`--max-tokens`) was hit",
            Cap::Cost => "the cap on cost (`--max-cost`) was hit",
            Cap::InFlight => "the cap on requests in flight (`--max-in-flight`) was hit",
            Cap::Machine => "this machine ran out of ports or descriptors",
        }
    }

    /// Whether nothing may be sent any more.
    pub fn ends_the_run(self) -> bool {
        matches!(self, Cap::Requests | Cap::Tokens | Cap::Cost)
    }
}

/// What was used of the caps. Shared between tasks.
#[derive(Debug)]
pub struct Spent {
    caps: Caps,
    prices: Option<TokenPrices>,
    requests: AtomicU64,
    tokens: AtomicU64,
    /// Billionths of the currency.
    cost: AtomicU64,
    hit: [AtomicU64; Cap::ALL.len()],
}

/// Tokens and money of one request, as far as they are known before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Prompt tokens.
    pub prompt: u64,
    /// Output tokens that may come.
    pub output: u64,
}

impl Price {
    /// Of a request: its prompt, and its declared limit of output or what it is to say.
    pub fn of(head: &RequestHead, draw: &RequestDraw) -> Self {
        Price { prompt: head.prompt_tokens.into(), output: draw.output_tokens.into() }
    }

    /// In money.
    pub fn cost(&self, prices: &TokenPrices) -> f64 {
        (self.prompt as f64 * prices.prompt + self.output as f64 * prices.output) / 1e6
    }
}

impl Spent {
    /// Nothing spent yet.
    pub fn new(caps: Caps, prices: Option<TokenPrices>) -> Self {
        Spent {
            caps,
            prices,
            requests: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            cost: AtomicU64::new(0),
            hit: Default::default(),
        }
    }

    /// Takes what an attempt takes, `in_flight` being those before it, or says which cap it would break. What was refused
    /// is not taken.
    ///
    /// # Errors
    /// The cap that would be broken.
    pub fn take(&self, price: Price, in_flight: u64) -> Result<(), Cap> {
        if in_flight >= self.caps.in_flight {
            self.note(Cap::InFlight);
            return Err(Cap::InFlight);
        }
        self.take_many(1, price)
    }

    /// Takes what `requests` requests take together.
    ///
    /// # Errors
    /// The cap that would be broken.
    pub fn take_many(&self, requests: u64, price: Price) -> Result<(), Cap> {
        let cost = self.prices.as_ref().map_or(0.0, |prices| price.cost(prices) * 1e9) as u64;
        let most_cost = self.caps.cost.map(|most| (most * 1e9) as u64);
        let taken = if !add(&self.requests, requests, self.caps.requests) {
            Err(Cap::Requests)
        } else if !add(&self.tokens, price.prompt + price.output, self.caps.tokens) {
            Err(Cap::Tokens)
        } else if !add(&self.cost, cost, most_cost) {
            Err(Cap::Cost)
        } else {
            Ok(())
        };
        if let Err(cap) = taken {
            self.note(cap);
        }
        taken
    }

    /// A cap was hit.
    pub fn note(&self, cap: Cap) {
        self.hit[cap as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The caps that were hit.
    pub fn hit(&self) -> Vec<Cap> {
        Cap::ALL.into_iter().filter(|cap| self.hit[*cap as usize].load(Ordering::Relaxed) > 0).collect()
    }
}

/// Adds to a counter unless it would exceed `most`.
fn add(counter: &AtomicU64, amount: u64, most: Option<u64>) -> bool {
    let Some(most) = most else { return true };
    let fits = |now: u64| now.checked_add(amount).filter(|sum| *sum <= most);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
}

/// When a run is given up by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AbortRules {
    /// Share of requests that went wrong (refusals are none) in a look of a second, when there are at least 50.
    pub error_rate: Option<f64>,
    /// The 99th percentile of the lag in such a look, nanoseconds.
    pub lag_ns: Option<u64>,
}

/// What a look of a second has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Requests that are over.
    pub over: u64,
    /// Those of them that went wrong.
    pub failed: u64,
    /// 99th percentile of the lag of those that were sent, nanoseconds.
    pub lag_p99_ns: u64,
    /// How many were sent.
    pub sent: u64,
}

impl AbortRules {
    /// Why the run is to be given up after this look.
    pub fn broken_by(&self, look: &Look) -> Option<String> {
        const LEAST: u64 = 50;
        let share = look.failed as f64 / look.over.max(1) as f64;
        if let Some(most) = self.error_rate.filter(|most| look.over >= LEAST && share > *most) {
            let (share, most) = (share * 100.0, most * 100.0);
            return Some(format!("{share:.1} % of requests went wrong in a second, more than {most:.1} %"));
        }
        let most = self.lag_ns.filter(|most| look.sent >= LEAST && look.lag_p99_ns > *most)?;
        let ms = |ns: u64| ns as f64 / 1e6;
        Some(format!(
            "99 of 100 requests were sent within {:.1} ms only in a second, more than {:.1} ms",
            ms(look.lag_p99_ns),
            ms(most)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price { prompt: 100, output: 50 };

    fn spent(caps: Caps) -> Spent {
        Spent::new(Caps { in_flight: 10, ..caps }, Some(TokenPrices { prompt: 1.0, output: 4.0 }))
    }

    #[test]
    fn a_cap_lets_exactly_as_much_through_as_it_says() {
        let all = |caps: Caps| {
            let spent = spent(caps);
            let through = (0..100).filter(|_| spent.take(PRICE, 0).is_ok()).count();
            (through, spent.hit())
        };
        assert_eq!(all(Caps::default()), (100, vec![]));
        assert_eq!(all(Caps { requests: Some(7), ..Caps::default() }), (7, vec![Cap::Requests]));
        assert_eq!(all(Caps { tokens: Some(600), ..Caps::default() }), (4, vec![Cap::Tokens]));
        // A request costs 300 millionths.
        assert_eq!(all(Caps { cost: Some(0.000_9), ..Caps::default() }), (3, vec![Cap::Cost]));
    }

    #[test]
    fn too_many_in_flight_break_a_cap_and_spend_nothing() {
        let spent = spent(Caps { requests: Some(1), ..Caps::default() });
        assert_eq!(spent.take(PRICE, 10), Err(Cap::InFlight));
        assert_eq!(spent.take(PRICE, 9), Ok(()));
    }

    #[test]
    fn a_run_is_given_up_on_errors_or_lag_but_not_on_a_handful() {
        let rules = AbortRules { error_rate: Some(0.5), lag_ns: Some(10_000_000) };
        let look = Look { over: 100, failed: 51, lag_p99_ns: 0, sent: 100 };
        assert!(rules.broken_by(&look).unwrap().starts_with("51.0 % of requests went wrong"));
        assert_eq!(rules.broken_by(&Look { failed: 50, ..look }), None);
        assert_eq!(rules.broken_by(&Look { over: 49, failed: 49, ..look }), None);
        assert!(rules.broken_by(&Look { failed: 0, lag_p99_ns: 10_000_001, ..look }).is_some());
    }
}
