//! How long a step takes.
//!
//! Every latency a user reads is a sum of steps, so this law is the physics of a replica. It answers one question:
//! given the shape of a step, how many quanta does it last, and for how many further steps of the same batch does
//! that length follow a straight line? It does not know what a request is, nor why the batch has this shape.
//!
//! Three kinds are compiled to one form when a scenario is resolved: [`StepLaw::linear`] (coefficients),
//! [`StepLaw::roofline`] (GPU, model, precision, tensor parallelism) and [`StepLaw::table`] (measured steps).
//! The first two are
//!
//! ```text
//! T_fs = base + per_sequence * sequences + per_prefill_token * prefill_tokens + per_decode * decodes
//!      + per_context_token * context_tokens + per_prefill_context_token * prefill_context
//!      + per_attention * prefill_attention
//!      + max(weights_read[tokens], per_roof_token * tokens + per_roof_sequence * sequences)
//! T    = floor(T_fs / quantum_fs) quanta            tokens = prefill_tokens + decodes
//! ```
//!
//! in integer femtoseconds. Integers, because a replica that skips ahead must land on the same nanosecond as one
//! that walks (sums of `floor(a + b*i)` have an exact closed form, sums of rounded floats have none), and because
//! the result must not depend on the platform. A constructor proves from [`LawBounds`] that no product or sum can
//! leave `u64`, so the hot path carries no wide arithmetic.

mod error;
mod fitted;
mod linear;
mod roofline;
mod slow;
mod table;
mod table_file;

pub use error::LawError;
pub use fitted::FittedRange;
pub use linear::{LinearCoefficients, parse_femtos};
pub use slow::SLOWEST;
pub use table_file::{TableData, TableRow};

use crate::observe::StepLine;
use crate::time::Span;
use table::TableLaw;

/// Femtoseconds in a nanosecond.
pub const FEMTOS_PER_NANO: u64 = 1_000_000;
/// Femtoseconds in a second.
pub const FEMTOS_PER_SEC: u64 = 1_000_000_000_000_000;

/// The shape of one step: all that its length depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepShape {
    /// Sequences that get at least one token processed (decodes and prefill chunks).
    pub sequences: u32,
    /// Sequences that decode one token.
    pub decodes: u32,
    /// Prompt tokens processed.
    pub prefill_tokens: u32,
    /// Tokens in the KV cache of the decoding sequences, before this step.
    pub context_tokens: u64,
    /// Tokens already in the KV cache of the sequences that prefill (sum over chunks of `start`), before this step.
    pub prefill_context: u64,
    /// Sum over prefill chunks of `chunk * (2 * start + chunk)`: twice the attention work.
    pub prefill_attention: u64,
}

/// The largest step a replica can form; what the overflow proof of a law stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LawBounds {
    /// Most sequences in a step, at least 1.
    pub sequences: u32,
    /// Most tokens (decodes and prompt tokens together) in a step, at least 1: the token budget where prompts are cut
    /// to it; the budget plus the longest sequence where they are processed whole and the last may overshoot.
    pub tokens: u32,
    /// Longest prompt plus output of one sequence, at least 1.
    pub sequence_tokens: u32,
}

impl StepShape {
    /// With the next `chunk` tokens of one more prompt, `start` tokens of which are in the KV cache.
    #[inline]
    pub(in crate::replica) fn with_chunk(self, start: u32, chunk: u32) -> StepShape {
        let (start, tokens) = (u64::from(start), u64::from(chunk));
        StepShape {
            sequences: self.sequences + 1,
            prefill_tokens: self.prefill_tokens + chunk,
            prefill_context: self.prefill_context + start,
            prefill_attention: self.prefill_attention + tokens * (2 * start + tokens),
            ..self
        }
    }

    /// With `count` more sequences that decode, `context` tokens together.
    #[inline]
    pub(in crate::replica) fn with_decodes(self, count: u32, context: u64) -> StepShape {
        StepShape {
            sequences: self.sequences + count,
            decodes: self.decodes + count,
            context_tokens: self.context_tokens + context,
            ..self
        }
    }
}

/// Length of a step and of the steps that follow it with the same batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Step `i` from here takes `line.step(i)`.
    pub line: StepLine,
    /// For how many consecutive steps (this one included) `line` is exact: 1 when the step processes prompt
    /// tokens, `u64::MAX` when no knot lies ahead. At least 1.
    pub steps: u64,
    /// Whether these steps lie outside the range in which the law was measured. The same for all `steps`.
    pub outside_range: bool,
}

/// A step-time law, compiled to integers: identical on every platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLaw {
    terms: Terms,
    /// Femtoseconds to read the weights that `tokens` tokens touch; the last entry holds for all further counts.
    weights_read: Box<[u64]>,
    table: Option<Box<TableLaw>>,
    /// The shapes that a linear law was fitted to, when it was.
    fitted: Option<FittedRange>,
    quantum_fs: u64,
    most: Most,
    /// An upper bound of the length of any step.
    longest_fs: u64,
}

/// The coefficients of a law, femtoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Terms {
    base: u64,
    per_sequence: u64,
    per_prefill_token: u64,
    per_decode: u64,
    per_context_token: u64,
    per_prefill_context_token: u64,
    per_attention: u64,
    per_roof_token: u64,
    per_roof_sequence: u64,
    /// `per_sequence + per_decode`, and `per_roof_token + per_roof_sequence`: in a step that only decodes every
    /// sequence is one decode and one token. Set by [`StepLaw::compile`].
    decode: u64,
    decode_roof: u64,
}

/// The largest shape the overflow proof covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Most {
    sequences: u32,
    tokens: u32,
    context_tokens: u64,
    attention: u64,
}

impl StepLaw {
    /// Length of a step of this shape, and for how long that line goes on. O(1); O(log knots) for tables.
    ///
    /// Exact: for all `i < steps`, `line.step(i)` equals `line.step(0)` of the plan for the shape whose
    /// `context_tokens` is `i * decodes` larger.
    ///
    /// # Panics
    /// When the shape is empty, contradicts itself, or exceeds the [`LawBounds`] the law was compiled for: a broken
    /// invariant of the engine.
    #[inline]
    pub fn plan(&self, shape: &StepShape) -> StepPlan {
        if shape.prefill_tokens > 0 {
            return self.plan_prefill(shape);
        }
        let most = &self.most;
        let inside = (shape.sequences == shape.decodes)
            & (shape.decodes.wrapping_sub(1) < most.sequences)
            & (shape.context_tokens <= most.context_tokens);
        assert!(inside, "decode step {shape:?} is empty, or larger than the law was compiled for: {most:?}");
        if let Some(table) = &self.table {
            return table.plan_decode(shape, self.quantum_fs);
        }
        let t = &self.terms;
        let decodes = u64::from(shape.decodes);
        let roof = self.weights_read(decodes).max(t.decode_roof * decodes);
        let a = t.base + t.decode * decodes + t.per_context_token * shape.context_tokens + roof;
        let line = StepLine { a, b: t.per_context_token * decodes, quantum_fs: self.quantum_fs };
        let (steps, outside_range) = self.fitted.map_or((u64::MAX, false), |range| range.decode_steps(shape));
        StepPlan { line, steps, outside_range }
    }

    /// [`StepLaw::plan`] for a step that processes prompt tokens.
    fn plan_prefill(&self, shape: &StepShape) -> StepPlan {
        let most = &self.most;
        let (sequences, decodes) = (u64::from(shape.sequences), u64::from(shape.decodes));
        let prefill = u64::from(shape.prefill_tokens);
        let tokens = prefill + decodes;
        let inside = (shape.decodes < shape.sequences)
            & (shape.sequences <= most.sequences)
            & (tokens <= u64::from(most.tokens))
            & (shape.context_tokens <= most.context_tokens)
            & (shape.prefill_context <= most.context_tokens)
            & (shape.prefill_attention <= most.attention);
        assert!(inside, "prefill step {shape:?} is larger than the law was compiled for: {most:?}");
        if let Some(table) = &self.table {
            return table.plan_prefill(shape, self.quantum_fs);
        }
        let t = &self.terms;
        let roof = self.weights_read(tokens).max(t.per_roof_token * tokens + t.per_roof_sequence * sequences);
        let a = t.base
            + t.per_sequence * sequences
            + t.per_prefill_token * prefill
            + t.per_decode * decodes
            + t.per_context_token * shape.context_tokens
            + t.per_prefill_context_token * shape.prefill_context
            + t.per_attention * shape.prefill_attention
            + roof;
        let line = StepLine { a, b: 0, quantum_fs: self.quantum_fs };
        StepPlan { line, steps: 1, outside_range: self.fitted.is_some_and(|range| !range.holds(shape)) }
    }

    /// Length of a step of this shape before it is rounded to quanta, femtoseconds. As [`StepLaw::plan`] in everything
    /// else.
    #[inline]
    pub(in crate::replica) fn femtos(&self, shape: &StepShape) -> u64 {
        self.plan(shape).line.a
    }

    /// Femtoseconds to read the weights that `tokens` tokens touch.
    #[inline]
    fn weights_read(&self, tokens: u64) -> u64 {
        self.weights_read[(tokens as usize).min(self.weights_read.len() - 1)]
    }

    /// Smallest unit of a step's length.
    pub fn quantum(&self) -> Span {
        Span::from_nanos(self.quantum_fs / FEMTOS_PER_NANO)
    }

    /// Whether the law comes from measurements, and so has a range to leave.
    pub fn is_measured(&self) -> bool {
        self.table.is_some() || self.fitted.is_some()
    }

    /// Puts the parts together and proves that time advances and that nothing overflows.
    fn compile(
        mut terms: Terms,
        weights_read: Vec<u64>,
        quantum: Span,
        bounds: &LawBounds,
    ) -> Result<StepLaw, LawError> {
        let quantum_fs = quantum_fs(quantum)?;
        let most = Most::of(bounds)?;
        terms.decode = terms.per_sequence.saturating_add(terms.per_decode);
        terms.decode_roof = terms.per_roof_token.saturating_add(terms.per_roof_sequence);
        let weights_read = weights_read.into();
        let mut law =
            StepLaw { terms, weights_read, table: None, fitted: None, quantum_fs, most, longest_fs: 0 };
        let shortest_fs = law.shortest();
        if shortest_fs < quantum_fs {
            return Err(LawError::TooShort { shortest_fs, quantum });
        }
        law.longest_fs = refuse_too_long(law.longest(), bounds)?;
        Ok(law)
    }

    /// Length of the shortest step: one token of one sequence, saturating. Every term grows with the shape.
    fn shortest(&self) -> u64 {
        let t = &self.terms;
        let roof = self.weights_read(1).max(t.decode_roof);
        let decode = t.per_decode.saturating_add(t.per_context_token);
        let prefill = t.per_prefill_token.saturating_add(t.per_attention);
        t.base.saturating_add(t.per_sequence).saturating_add(roof).saturating_add(decode.min(prefill))
    }

    /// An upper bound of every sum that [`StepLaw::plan`] forms, without overflow.
    fn longest(&self) -> u128 {
        let (t, most) = (&self.terms, &self.most);
        let of = |per: u64, count: u64| u128::from(per) * u128::from(count);
        // A step that only decodes is bounded by its sequences, whatever the token budget.
        let (sequences, tokens) = (u64::from(most.sequences), u64::from(most.tokens.max(most.sequences)));
        let read = self.weights_read.iter().copied().max().unwrap_or(0);
        of(t.base, 1)
            + of(t.per_sequence, sequences)
            + of(t.per_prefill_token, tokens)
            + of(t.per_decode, sequences)
            + of(t.per_context_token, most.context_tokens)
            + of(t.per_prefill_context_token, most.context_tokens)
            + of(t.per_attention, most.attention)
            + of(read, 1)
            + of(t.per_roof_token, tokens)
            + of(t.per_roof_sequence, sequences)
    }
}

impl Most {
    fn of(bounds: &LawBounds) -> Result<Most, LawError> {
        let named = [
            ("sequences", bounds.sequences),
            ("tokens", bounds.tokens),
            ("sequence_tokens", bounds.sequence_tokens),
        ];
        if let Some(&(name, _)) = named.iter().find(|(_, value)| *value == 0) {
            return Err(LawError::EmptyBound { name });
        }
        let sequence = u64::from(bounds.sequence_tokens);
        Ok(Most {
            sequences: bounds.sequences,
            tokens: bounds.tokens,
            context_tokens: u64::from(bounds.sequences) * sequence,
            // chunk * (2 * start + chunk) <= chunk * 2 * (start + chunk), and start + chunk <= the sequence.
            attention: u64::from(bounds.tokens).saturating_mul(2 * sequence),
        })
    }
}

/// The quantum in femtoseconds, at least one nanosecond.
fn quantum_fs(quantum: Span) -> Result<u64, LawError> {
    match quantum.as_nanos().checked_mul(FEMTOS_PER_NANO) {
        Some(fs) if fs > 0 => Ok(fs),
        _ => Err(LawError::Quantum(quantum)),
    }
}

/// The longest step there may be, femtoseconds: with a bit to spare for the caller's sums.
const MOST_FS: u64 = u64::MAX / 2;

/// Refuses a law whose longest step would be longer than [`MOST_FS`]; returns it otherwise.
fn refuse_too_long(longest: u128, bounds: &LawBounds) -> Result<u64, LawError> {
    if let Some(longest_fs) = u64::try_from(longest).ok().filter(|fs| *fs <= MOST_FS) {
        return Ok(longest_fs);
    }
    let hours = |fs: f64| fs / (3600.0 * FEMTOS_PER_SEC as f64);
    Err(LawError::TooLong {
        sequences: bounds.sequences,
        sequence_tokens: bounds.sequence_tokens,
        tokens: bounds.tokens,
        hours: hours(longest as f64),
        most: hours(MOST_FS as f64),
    })
}

#[cfg(test)]
mod tests;
