//! What a client does when an attempt of a request has failed: whether it tries again, and when.
//!
//! Pure: it is told the outcome and draws its jitter from a stream of its own for every pause, so that what one
//! request does moves no draw of another.

use crate::request::Outcome;
use crate::rng::{Purpose, Rng, stream};
use crate::scenario::client::{Budget, Jitter, Retry};
use crate::time::{Span, Time};
use rand::RngExt as _;

/// A retry budget that all clients of a workload share.
///
/// Every request pays in a share of a retry, every retry takes a whole one out, and it holds no more than its burst. So
/// retries are at most `ratio` of the requests in the long run, whatever fails. Source: the retry budgets of Finagle
/// (Twitter) and of gRPC's retry throttling (gRFC A6).
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    rule: Budget,
    /// Thousandths of a retry.
    balance: u64,
}

impl RetryBudget {
    /// A full budget.
    pub fn new(rule: Budget) -> Self {
        RetryBudget { rule, balance: u64::from(rule.burst) * 1_000 }
    }

    /// A request is sent for the first time.
    pub fn pay_in(&mut self) {
        self.balance = (self.balance + u64::from(self.rule.ratio)).min(u64::from(self.rule.burst) * 1_000);
    }

    /// Takes out a retry, when there is one.
    pub fn take(&mut self) -> bool {
        let has = self.balance >= 1_000;
        if has {
            self.balance -= 1_000;
        }
        has
    }
}

/// Whether an outcome is one that the client tries again at all. What time does not heal (a prompt that is too long) is
/// not: `retryable` says so of a refusal.
pub fn is_tried_again(retry: &Retry, outcome: Outcome, retryable: bool) -> bool {
    retryable && retry.on.contains(&outcome)
}

/// The pause before retry number `tries` (from 0) of request `index`: exponential back-off with jitter, no shorter than
/// what the service announced when that is honoured.
pub fn pause(retry: &Retry, tries: u32, announced: Option<Span>, seed: u64, source: u64, index: u64) -> Span {
    let mut pause = u128::from(retry.base.as_nanos());
    let cap = u128::from(retry.cap.as_nanos());
    for _ in 0..tries {
        if pause >= cap || retry.factor <= 1_000 {
            break;
        }
        pause = pause * u128::from(retry.factor) / 1_000;
    }
    let pause = pause.min(cap) as u64;
    let uniform = |most: u64| {
        let mut rng: Rng = stream(seed, Purpose::Backoff, source, index ^ u64::from(tries) << 56);
        ((u128::from(rng.random::<u64>()) * (u128::from(most) + 1)) >> 64) as u64
    };
    let spread = match retry.jitter {
        Jitter::None => pause,
        Jitter::Full => uniform(pause),
        Jitter::Equal => pause / 2 + uniform(pause - pause / 2),
    };
    Span::from_nanos(spread).max(announced.filter(|_| retry.honour_retry_after).unwrap_or(Span::ZERO))
}

/// Whether a retry at `at` is still within the time that the client gives a request first sent at `first`.
pub fn is_in_time(retry: &Retry, first: Time, at: Time) -> bool {
    retry.within.is_none_or(|within| at <= first.saturating_add(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(jitter: Jitter) -> Retry {
        Retry {
            most: 5,
            base: Span::from_millis(100),
            factor: 2_000,
            cap: Span::from_secs(1),
            jitter,
            honour_retry_after: true,
            budget: None,
            on: vec![Outcome::Refused],
            within: Some(Span::from_secs(10)),
        }
    }

    fn pauses(rule: &Retry, tries: u32) -> impl Iterator<Item = u64> {
        (0..2_000).map(move |index| pause(rule, tries, None, 7, 1, index).as_nanos())
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let rule = retry(Jitter::None);
        let seen: Vec<u64> =
            (0..6).map(|tries| pause(&rule, tries, None, 1, 1, 1).as_nanos() / 1_000_000).collect();
        assert_eq!(seen, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn full_jitter_is_uniform_from_zero_and_equal_jitter_from_the_half() {
        let rule = retry(Jitter::Full);
        let mean = pauses(&rule, 1).sum::<u64>() / 2_000;
        assert!(mean.abs_diff(100_000_000) < 4 * 1_300_000, "{mean}: four standard errors around 100 ms");
        assert!(pauses(&rule, 1).all(|ns| ns <= 200_000_000));
        let rule = retry(Jitter::Equal);
        assert!(pauses(&rule, 1).all(|ns| (100_000_000..=200_000_000).contains(&ns)));
    }

    #[test]
    fn an_announced_time_is_waited_for_when_it_is_honoured() {
        let rule = retry(Jitter::None);
        let announced = Some(Span::from_secs(3));
        assert_eq!(pause(&rule, 0, announced, 1, 1, 1), Span::from_secs(3));
        let deaf = Retry { honour_retry_after: false, ..rule };
        assert_eq!(pause(&deaf, 0, announced, 1, 1, 1), Span::from_millis(100));
    }

    #[test]
    fn no_retry_begins_after_the_time_a_request_is_given() {
        let rule = retry(Jitter::None);
        let first = Time::from_nanos(5);
        assert!(is_in_time(&rule, first, first + Span::from_secs(10)));
        assert!(!is_in_time(&rule, first, first + Span::from_secs(10) + Span::from_nanos(1)));
    }

    #[test]
    fn a_budget_of_a_tenth_lets_one_retry_in_ten_through_once_its_burst_is_gone() {
        let mut budget = RetryBudget::new(Budget { ratio: 100, burst: 3 });
        assert_eq!((0..5).filter(|_| budget.take()).count(), 3);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.pay_in();
            retries += u32::from(budget.take());
        }
        assert_eq!(retries, 100);
    }

    #[test]
    fn what_time_does_not_heal_is_not_tried_again() {
        let rule = retry(Jitter::None);
        assert!(is_tried_again(&rule, Outcome::Refused, true));
        assert!(!is_tried_again(&rule, Outcome::Refused, false));
        assert!(!is_tried_again(&rule, Outcome::TimedOut, true));
    }
}
