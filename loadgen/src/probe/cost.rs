//! What a probe costs: requests, tokens, bytes, time.

use super::decide::RESTED;
use super::method::{Amount, JobCall, Method};
use std::ops::AddAssign;
use tidegate_sim::profile::Unit;
use tidegate_sim::scenario::live::TokenPrices;
use tidegate_sim::time::Span;

/// Prompt tokens of a request that asks for nothing.
pub(super) const PROMPT: u64 = 2;
/// Bytes of such a request, about.
const BODY: u64 = 200;

/// What something costs at most, if the gateway is as documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Requests that are sent, refused ones included.
    pub requests: u64,
    /// Prompt tokens of those that are let in.
    pub prompt_tokens: u64,
    /// Output tokens of those that are let in.
    pub output_tokens: u64,
    /// Bytes that are sent.
    pub bytes: u64,
    /// How long it takes, without the time that answers take.
    pub time: Span,
}

impl Cost {
    /// Its price, when prices are known.
    pub fn price(&self, prices: Option<TokenPrices>) -> Option<f64> {
        let prices = prices?;
        let of = |tokens: u64, million: f64| tokens as f64 * million / 1e6;
        Some(of(self.prompt_tokens, prices.prompt) + of(self.output_tokens, prices.output))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.requests = self.requests.saturating_add(other.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.time = Span::from_nanos(self.time.as_nanos().saturating_add(other.time.as_nanos()));
    }
}

/// What a probe costs at most, if the gateway is as documented.
pub(super) fn cost(method: &Method) -> Cost {
    match method {
        Method::Volley(_) => cost_of_calls(method),
        Method::Weigh { rate, unit, most } => {
            let units = rate.count();
            let requests = units.div_ceil((*most).max(1)) + 2;
            let prompt = if *unit == Unit::Bytes { requests * PROMPT } else { units };
            let bytes =
                if *unit == Unit::Bytes { units.saturating_mul(2) } else { (units * 5).saturating_mul(2) };
            Cost {
                requests,
                prompt_tokens: prompt,
                output_tokens: requests,
                bytes,
                time: rate.window.min(RESTED),
            }
        }
        Method::Reserve(rate) => Cost {
            requests: 2,
            prompt_tokens: PROMPT,
            output_tokens: rate.count(),
            bytes: 2 * BODY,
            time: rate.window.min(RESTED),
        },
        Method::Hold { limit, tokens, .. } => Cost {
            requests: limit + 1,
            prompt_tokens: limit * PROMPT,
            output_tokens: limit.saturating_mul(*tokens),
            bytes: (limit + 1) * BODY,
            time: Span::from_secs(2),
        },
        Method::Edge { what, bound, .. } => {
            let bytes = match what {
                Amount::Body => bound.saturating_mul(2),
                Amount::Prompt => bound.saturating_mul(10),
                _ => 2 * (BODY + bound * 40),
            };
            let prompt_tokens = if *what == Amount::Prompt { *bound } else { PROMPT };
            let output_tokens = if *what == Amount::Choices { *bound } else { 1 };
            Cost { requests: 2, prompt_tokens, output_tokens, bytes, time: Span::ZERO }
        }
        Method::Gate(_) => Cost { requests: 1, bytes: BODY, ..Cost::default() },
        Method::Job(call) => job_cost(call),
    }
}

/// What a volley costs where nothing is asked of a model but one token.
pub(super) fn cost_of_calls(method: &Method) -> Cost {
    let Method::Volley(rate) = method else { unreachable!("{method:?} is no volley") };
    let asked = rate.count() + 1;
    // One more when the window is over, one just before.
    let requests = asked + 2;
    let volleys = asked.div_ceil(rate.at_once.max(1));
    let paces = rate.pace.as_nanos().saturating_mul(volleys - 1);
    let rests = rate.window.min(RESTED).as_nanos() * 2;
    Cost {
        requests,
        prompt_tokens: (rate.count() + 1) * PROMPT,
        output_tokens: rate.count() + 1,
        bytes: requests * BODY,
        time: Span::from_nanos(paces.saturating_add(rests)),
    }
}

fn job_cost(call: &JobCall) -> Cost {
    // An upload in two steps, a submission, a look or two, a cancellation.
    let calls = 6;
    match call {
        JobCall::Lines { most, both } => {
            let files = 1 + u64::from(*both);
            let tokens = if *both { *most } else { 0 };
            Cost {
                requests: calls * files,
                prompt_tokens: tokens * PROMPT,
                output_tokens: tokens,
                bytes: most.saturating_mul(files * 160),
                time: Span::ZERO,
            }
        }
        JobCall::Bytes { most, both } => {
            let files = 1 + u64::from(*both);
            let tokens = u64::from(*both);
            Cost {
                requests: calls * files,
                prompt_tokens: tokens * PROMPT,
                output_tokens: tokens,
                bytes: most.saturating_mul(files),
                time: Span::ZERO,
            }
        }
        _ => Cost { requests: calls, bytes: 4 * BODY, ..Cost::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_of_tokens_by_the_million() {
        let cost = Cost { prompt_tokens: 2_000_000, output_tokens: 500_000, ..Cost::default() };
        let prices = TokenPrices { prompt: 0.25, output: 2.0 };
        assert_eq!(cost.price(Some(prices)), Some(1.5));
        assert_eq!(cost.price(None), None);
    }
}
