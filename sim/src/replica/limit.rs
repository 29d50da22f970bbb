//! How long a step with batch in it may be.
//!
//! Lengths are compared as the law gives them, in femtoseconds before they are rounded to quanta; how much slower than
//! its law a replica is plays no part.

use super::step_time::{FEMTOS_PER_NANO, StepLaw, StepShape};
use crate::observe::StepLine;
use crate::scenario::batch::{Below, Preempt};
use crate::time::Span;

/// The limits of an engine, compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    step_fs: Option<u128>,
    /// Thousandths of the step without batch.
    slowdown: Option<u128>,
    swap: Span,
}

/// The most femtoseconds a step may take, the real-time part of it being what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ceiling(Option<u128>);

impl Limit {
    /// Asserts what a file's decoder has checked: a step that batch is alone in can always be formed, and batch may make
    /// another one longer.
    pub(super) fn new(rules: &Below) -> Limit {
        assert!(rules.tokens != Some(0) && rules.chunk != Some(0), "batch must be able to go on: {rules:?}");
        assert!(rules.slowdown.is_none_or(|permille| permille > 1_000), "a slowdown speeds up: {rules:?}");
        Limit {
            step_fs: rules.step.map(|most| u128::from(most.as_nanos()) * u128::from(FEMTOS_PER_NANO)),
            slowdown: rules.slowdown.map(u128::from),
            swap: if let Preempt::Swap(per_token) = rules.preempt { per_token } else { Span::ZERO },
        }
    }

    /// What moving `tokens` tokens to or from the host takes.
    #[inline]
    pub(super) fn swap(&self, tokens: u64) -> Span {
        let nanos = u128::from(self.swap.as_nanos()) * u128::from(tokens);
        Span::from_nanos(u64::try_from(nanos).expect("a swap of more than 584 years"))
    }

    /// Whether steps may be longer the longer they are without batch: what is too long now may not be later.
    #[inline]
    pub(super) fn is_relative(&self) -> bool {
        self.slowdown.is_some()
    }

    /// The most that a step may take that is `upper` without batch (empty when no real-time request is in it). O(1).
    #[inline]
    pub(super) fn ceiling(&self, law: &StepLaw, upper: &StepShape) -> Ceiling {
        let slowed = self
            .slowdown
            .filter(|_| upper.sequences > 0)
            .map(|permille| u128::from(law.femtos(upper)) * permille / 1_000);
        Ceiling(match (self.step_fs, slowed) {
            (Some(step), Some(slowed)) => Some(step.min(slowed)),
            (step, slowed) => step.or(slowed),
        })
    }

    /// For how many steps from here on the limits hold of steps that follow `with`, and would follow `upper` without
    /// batch; at least 1. O(1).
    pub(super) fn steps(&self, with: &StepLine, upper: Option<&StepLine>) -> u64 {
        let (a, b) = (u128::from(with.a), u128::from(with.b));
        let mut most = u64::MAX;
        if let Some(step) = self.step_fs
            && b > 0
        {
            let further = step.saturating_sub(a) / b;
            most = u64::try_from(further).unwrap_or(u64::MAX).saturating_add(1);
        }
        if let (Some(permille), Some(upper)) = (self.slowdown, upper) {
            // Step i keeps the limit while 1,000 * (a + b i) <= permille * (a' + b' i).
            let slack = (permille * u128::from(upper.a)).saturating_sub(1_000 * a);
            let shrink = (1_000 * b).saturating_sub(permille * u128::from(upper.b));
            if let Some(further) = slack.checked_div(shrink) {
                most = most.min(u64::try_from(further).unwrap_or(u64::MAX).saturating_add(1));
            }
        }
        most
    }
}

impl Ceiling {
    /// Whether a step of this shape keeps the limit. What it moves to and from the host comes on top: a cache that was swapped
    /// out for a real-time request could otherwise never come back beside others.
    #[inline]
    pub(super) fn allows(&self, law: &StepLaw, shape: &StepShape) -> bool {
        self.0.is_none_or(|most| u128::from(law.femtos(shape)) <= most)
    }

    /// The largest chunk, at most `most` tokens, of a prompt with `start` tokens in the cache that may join a step of this
    /// shape; 0 when there is none. A law that is not monotone in the chunk (a table may be odd) gives one that keeps
    /// the limit, not always the largest. O(log most).
    pub(super) fn chunk(&self, law: &StepLaw, shape: &StepShape, start: u32, most: u32) -> u32 {
        let allows = |chunk| self.allows(law, &shape.with_chunk(start, chunk));
        if most == 0 || allows(most) {
            return most;
        }
        // The answer lies in [low, high).
        let (mut low, mut high) = (0, most);
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if allows(middle) { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::step_time::{LawBounds, LinearCoefficients};
    use proptest::prelude::*;

    fn law(base_us: u64, token_ns: u64, context_ns: u64) -> StepLaw {
        let coefficients = LinearCoefficients {
            base_fs: base_us * 1_000_000_000,
            per_prefill_token_fs: token_ns * 1_000_000 + 1,
            per_context_token_fs: context_ns * 1_000_000 + 7,
            ..LinearCoefficients::default()
        };
        let bounds = LawBounds { sequences: 64, tokens: 2_000, sequence_tokens: 4_000 };
        StepLaw::linear(&coefficients, Span::from_micros(1), &bounds).unwrap()
    }

    fn rules(step_us: Option<u64>, slowdown: Option<u32>) -> Below {
        let step = step_us.map(Span::from_micros);
        Below { preempt: Preempt::Never, tokens: None, chunk: None, step, slowdown, reserve: 0 }
    }

    fn any_limit() -> impl Strategy<Value = Limit> {
        (prop::option::of(1u64..4_000), prop::option::of(1_001u32..3_000))
            .prop_map(|(step, slowdown)| Limit::new(&rules(step, slowdown)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_chunk_is_the_largest_that_keeps_the_limit(
            limit in any_limit(),
            (base, token, context) in (1u64..1_000, 0u64..3_000, 0u64..50),
            (upper, more, start, most) in (0u32..8, 0u32..8, 0u32..500, 0u32..300),
        ) {
            let law = law(base, token, context);
            let upper = StepShape::default().with_decodes(upper, u64::from(upper) * 100);
            let shape = upper.with_decodes(more, u64::from(more) * 30);
            let ceiling = limit.ceiling(&law, &upper);
            let allows = |chunk: &u32| ceiling.allows(&law, &shape.with_chunk(start, *chunk));
            let largest = (1..=most).rev().find(allows).unwrap_or(0);
            prop_assert_eq!(ceiling.chunk(&law, &shape, start, most), largest);
        }

        #[test]
        fn a_run_ends_with_the_last_step_that_keeps_the_limit(
            limit in any_limit(),
            (base, context) in (1u64..1_000, 0u64..50),
            (upper, more, length) in (0u32..8, 1u32..8, 1u64..400),
        ) {
            let law = law(base, 0, context);
            let at = |i: u64| {
                let upper = StepShape::default().with_decodes(upper, u64::from(upper) * (length + i));
                let with = upper.with_decodes(more, u64::from(more) * (30 + i));
                (upper, with, limit.ceiling(&law, &upper).allows(&law, &with))
            };
            let (alone, with, allowed) = at(0);
            prop_assume!(allowed);
            let line = |shape: &StepShape| law.plan(shape).line;
            let without = (upper > 0).then(|| line(&alone));
            let steps = limit.steps(&line(&with), without.as_ref());
            let broken = (0..3_000u64).find(|&i| !at(i).2);
            match broken {
                Some(first) => prop_assert_eq!(steps, first),
                None => prop_assert!(steps >= 3_000),
            }
        }
    }

    #[test]
    fn lengths_are_compared_before_they_are_rounded_to_quanta() {
        // One femtosecond too long, and far less than a quantum.
        let law = law(100, 0, 0);
        let shape = StepShape::default().with_decodes(1, 1);
        assert_eq!(law.femtos(&shape), 100_000_000_007);
        let allows = |limit: Limit| {
            let upper = StepShape::default();
            limit.ceiling(&law, &upper).allows(&law, &shape)
        };
        assert!(!allows(Limit::new(&rules(Some(100), None))));
        assert!(allows(Limit::new(&rules(Some(101), None))));
    }

    #[test]
    fn a_slowdown_is_of_steps_with_real_time_only() {
        let law = law(100, 100_000, 0);
        let (none, upper) = (StepShape::default(), StepShape::default().with_decodes(1, 0));
        let limit = Limit::new(&rules(None, Some(1_500)));
        let chunk = |shape: &StepShape| limit.ceiling(&law, shape).chunk(&law, shape, 0, 3);
        assert_eq!((chunk(&upper), chunk(&none)), (0, 3));
    }
}
