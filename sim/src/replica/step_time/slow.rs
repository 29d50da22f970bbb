//! Steps of a replica that is slower than its law.

use super::{MOST_FS, StepLaw, StepPlan, StepShape};
use crate::observe::StepLine;
use crate::replica::NORMAL;

/// The slowest a replica can be, in thousandths of the time that its law gives a step.
pub const SLOWEST: u32 = 100_000;

impl StepPlan {
    /// The plan when steps take `permille / 1,000` of their time; `shape` is what the plan was made for.
    ///
    /// The line is split into what grows with the context and the rest, which is the same for every step that the plan
    /// holds for. Each part is scaled by itself, the first up to a whole femtosecond a context token. Thus the plan of
    /// a later step is exactly the line of this one further on, which scaling the line as a whole (rounded) could not
    /// promise. A step is no shorter than `permille / 1,000` of its time rounded down to a femtosecond, and longer by
    /// less than a femtosecond a context token. O(1).
    ///
    /// `permille` must be at least [`NORMAL`] and at most [`StepLaw::slowest`].
    pub(in crate::replica) fn slowed(self, shape: &StepShape, permille: u32) -> StepPlan {
        let StepLine { a, b, quantum_fs } = self.line;
        let (factor, unit) = (i128::from(permille), i128::from(NORMAL));
        let decodes = u64::from(shape.decodes.max(1));
        debug_assert!(
            b.is_multiple_of(decodes),
            "{b} fs a step are not the same for each of {decodes} sequences"
        );
        let (per_token, context) = (i128::from(b / decodes), i128::from(shape.context_tokens));
        let rest = (i128::from(a) - per_token * context) * factor;
        let per_token = (per_token * factor + unit - 1) / unit;
        let narrow = |fs: i128| u64::try_from(fs).expect("the law was asked whether it may be this slow");
        let line = StepLine {
            a: narrow(rest.div_euclid(unit) + per_token * context),
            b: narrow(per_token) * decodes,
            quantum_fs,
        };
        StepPlan { line, ..self }
    }
}

impl StepLaw {
    /// The most thousandths of its time that every step of this law may take so that none is too long for the clock:
    /// at least [`NORMAL`], at most [`SLOWEST`]. O(1).
    pub fn slowest(&self) -> u32 {
        // What `slowed` may round up by, with one to spare.
        let room = MOST_FS.saturating_sub(self.most.context_tokens).saturating_sub(1);
        let most = u128::from(room) * u128::from(NORMAL) / u128::from(self.longest_fs.max(1));
        u32::try_from(most).unwrap_or(SLOWEST).clamp(NORMAL, SLOWEST)
    }

    /// Asserts that every step may be this slow.
    pub(in crate::replica) fn assert_slow(&self, permille: u32) {
        let slowest = self.slowest();
        assert!(
            (NORMAL..=slowest).contains(&permille),
            "steps of {permille} thousandths of their time are outside {NORMAL} to {slowest}"
        );
    }
}
