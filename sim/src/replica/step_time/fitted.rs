//! A linear law that was fitted to measured steps: it knows which shapes those had.

use super::{LawBounds, LawError, LinearCoefficients, StepLaw, StepShape};
use crate::time::Span;

/// The largest shape that a law was fitted to; what goes beyond it is a guess, and counted as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FittedRange {
    /// Most sequences that decoded.
    pub decodes: u32,
    /// Most prompt tokens.
    pub prefill_tokens: u32,
    /// Most tokens in the KV cache of the decoding sequences.
    pub context_tokens: u64,
}

impl FittedRange {
    /// Whether a shape lies inside.
    #[inline]
    pub(super) fn holds(&self, shape: &StepShape) -> bool {
        shape.decodes <= self.decodes
            && shape.prefill_tokens <= self.prefill_tokens
            && shape.context_tokens <= self.context_tokens
    }

    /// Of a step that only decodes: for how many steps it stays on its side of the edge, its context growing by `decodes`
    /// a step, and whether that side is the outside.
    #[inline]
    pub(super) fn decode_steps(&self, shape: &StepShape) -> (u64, bool) {
        if !self.holds(shape) {
            return (u64::MAX, true);
        }
        ((self.context_tokens - shape.context_tokens) / u64::from(shape.decodes) + 1, false)
    }
}

impl StepLaw {
    /// [`StepLaw::linear`], fitted to shapes up to `range`.
    ///
    /// # Errors
    /// As [`StepLaw::linear`].
    pub fn fitted(
        coefficients: &LinearCoefficients,
        range: FittedRange,
        quantum: Span,
        bounds: &LawBounds,
    ) -> Result<StepLaw, LawError> {
        let law = StepLaw::linear(coefficients, quantum, bounds)?;
        Ok(StepLaw { fitted: Some(range), ..law })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: LawBounds = LawBounds { sequences: 128, tokens: 512, sequence_tokens: 8192 };

    fn law() -> StepLaw {
        let coefficients = LinearCoefficients { base_fs: 8_000_000_000_000, ..LinearCoefficients::default() };
        let range = FittedRange { decodes: 64, prefill_tokens: 256, context_tokens: 10_000 };
        StepLaw::fitted(&coefficients, range, Span::from_nanos(1), &BOUNDS).unwrap()
    }

    #[test]
    fn a_line_ends_where_the_context_leaves_the_range() {
        let shape = StepShape { sequences: 10, decodes: 10, context_tokens: 9_975, ..StepShape::default() };
        let plan = law().plan(&shape);
        // 9,975, 9,985 and 9,995 tokens lie inside, 10,005 do not.
        assert_eq!((plan.steps, plan.outside_range), (3, false));
        let beyond = StepShape { context_tokens: 10_005, ..shape };
        let plan = law().plan(&beyond);
        assert_eq!((plan.steps, plan.outside_range), (u64::MAX, true));
        let edge = StepShape { context_tokens: 10_000, ..shape };
        assert_eq!((law().plan(&edge).steps, law().plan(&edge).outside_range), (1, false));
    }

    #[test]
    fn larger_batches_and_longer_prompts_than_fitted_are_outside() {
        let decode =
            |decodes| StepShape { sequences: decodes, decodes, context_tokens: 100, ..StepShape::default() };
        assert!(!law().plan(&decode(64)).outside_range);
        assert!(law().plan(&decode(65)).outside_range);
        let prompt = |tokens| StepShape { sequences: 1, prefill_tokens: tokens, ..StepShape::default() };
        assert!(!law().plan(&prompt(256)).outside_range);
        assert!(law().plan(&prompt(257)).outside_range);
        assert!(law().is_measured());
    }
}
