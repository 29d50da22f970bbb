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

mod linear;
mod roofline;
mod table;
mod table_file;

pub use linear::{LinearCoefficients, parse_femtos};
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
    /// Most tokens (decodes and prompt tokens together) in a step, at least 1.
    pub tokens: u32,
    /// Longest prompt plus output of one sequence, at least 1.
    pub sequence_tokens: u32,
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
    quantum_fs: u64,
    most: Most,
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
    /// In 1/1024 fs: one unit of attention on a fast GPU is a few dozen femtoseconds.
    per_attention_1024: u64,
    per_roof_token: u64,
    per_roof_sequence: u64,
}

/// The largest shape the overflow proof covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Most {
    sequences: u32,
    tokens: u32,
    context_tokens: u64,
    attention: u64,
}

/// Why a step-time law cannot be compiled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LawError {
    /// The quantum is not a whole number of nanoseconds.
    #[error("a quantum of `{0}` is not at least 1ns")]
    Quantum(Span),
    /// A bound is zero.
    #[error("`{name}` is 0: a step needs at least 1")]
    EmptyBound {
        /// Which bound.
        name: &'static str,
    },
    /// The shortest step would last no time.
    #[error(
        "the shortest step lasts `{shortest_fs}` fs, less than one quantum of {quantum}: time would not advance"
    )]
    TooShort {
        /// Length of a step of one sequence and one token, femtoseconds.
        shortest_fs: u64,
        /// The quantum.
        quantum: Span,
    },
    /// The longest step would not fit the clock.
    #[error(
        "a step of {sequences} sequences of {sequence_tokens} tokens and {tokens} new tokens could last `{hours:.1}` h, \
         more than the {most:.1} h a step may last"
    )]
    TooLong {
        /// Bound on sequences.
        sequences: u32,
        /// Bound on one sequence's tokens.
        sequence_tokens: u32,
        /// Bound on new tokens.
        tokens: u32,
        /// The longest step, hours.
        hours: f64,
        /// What fits, hours.
        most: f64,
    },
    /// A coefficient is not a finite, nonnegative number that fits.
    #[error("`{name}` is `{value}`, which is not a finite nonnegative time under 2.5 h")]
    Coefficient {
        /// Which coefficient.
        name: &'static str,
        /// Its value, seconds.
        value: f64,
    },
    /// A table of measured steps has too few rows of a kind to interpolate.
    #[error("the table measures `{sizes}` sizes of `{kind}` steps: at least 2 are needed to interpolate")]
    Sizes {
        /// The kind.
        kind: &'static str,
        /// Different sizes it has (sequences of decode rows, tokens of prefill rows).
        sizes: usize,
    },
    /// A row of a table cannot be read.
    #[error("line {line}: {message}")]
    Row {
        /// Line in the file, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A table file cannot be read at all.
    #[error("{0}")]
    File(String),
    /// Two rows measure the same shape.
    #[error("lines {first} and {second} measure the same `{kind}` shape")]
    Duplicate {
        /// Kind of the rows.
        kind: &'static str,
        /// Line of the one.
        first: u64,
        /// Line of the other.
        second: u64,
    },
    /// A step gets shorter as its context grows.
    #[error(
        "line {second}: `{longer_us}` us with {longer_context} context tokens is less than the `{shorter_us}` us of \
         line {first} with {shorter_context}"
    )]
    NotMonotonic {
        /// Line with the shorter context.
        first: u64,
        /// Its context.
        shorter_context: u32,
        /// Its step, microseconds.
        shorter_us: f64,
        /// Line with the longer context.
        second: u64,
        /// Its context.
        longer_context: u32,
        /// Its step, microseconds.
        longer_us: f64,
    },
    /// The overlap is longer than a measured step.
    #[error("the overlap of `{overlap_us}` us is longer than the `{step_us}` us of line {line}")]
    Overlap {
        /// The overlap, microseconds.
        overlap_us: f64,
        /// The step, microseconds.
        step_us: f64,
        /// Line of the step.
        line: u64,
    },
}

impl LawError {
    /// What the user may do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            LawError::Quantum(_) => "use a whole number of nanoseconds, such as `1ns` or `1us`",
            LawError::EmptyBound { .. } => {
                "allow at least one sequence, one token a step and one token of context"
            }
            LawError::TooShort { .. } => "give the step a `base`, or choose a smaller quantum",
            LawError::TooLong { .. } => "lower the coefficients, the sequences, or the context length",
            LawError::Coefficient { .. } => "check the unit of the coefficient",
            LawError::Sizes { .. } => {
                "measure `decode` steps of two batch sizes and `prefill` steps of two lengths"
            }
            LawError::Row { .. } | LawError::File(_) => {
                "the columns are `kind,sequences,context_tokens,prefill_tokens,step_us`, with kind `decode`, \
                 `prefill` or `overlap`"
            }
            LawError::Duplicate { .. } => "keep one of them, or their mean",
            LawError::NotMonotonic { .. } => "measure again, or smooth the noise before using the table",
            LawError::Overlap { .. } => "the overlap is the part of a step that decoding and prefill share",
        }
    }
}

impl StepLaw {
    /// Length of a step of this shape, and for how long that line goes on. O(1); O(log knots) for tables.
    ///
    /// Exact: for all `i < steps`, `line.step(i)` equals `line.step(0)` of the plan for the shape whose
    /// `context_tokens` is `i * decodes` larger.
    #[inline]
    pub fn plan(&self, shape: &StepShape) -> StepPlan {
        self.check(shape);
        if let Some(table) = &self.table {
            return table.plan(shape, self.quantum_fs);
        }
        let t = &self.terms;
        let (sequences, decodes) = (u64::from(shape.sequences), u64::from(shape.decodes));
        let prefill = u64::from(shape.prefill_tokens);
        let tokens = prefill + decodes;
        let read = self.weights_read[(tokens as usize).min(self.weights_read.len() - 1)];
        let roof = read.max(t.per_roof_token * tokens + t.per_roof_sequence * sequences);
        let decode = t.base
            + t.per_sequence * sequences
            + t.per_decode * decodes
            + t.per_context_token * shape.context_tokens
            + roof;
        let line = |a| StepLine { a, b: t.per_context_token * decodes, quantum_fs: self.quantum_fs };
        if prefill == 0 {
            return StepPlan { line: line(decode), steps: u64::MAX, outside_range: false };
        }
        let a = decode
            + t.per_prefill_token * prefill
            + t.per_prefill_context_token * shape.prefill_context
            + (t.per_attention_1024 * shape.prefill_attention).div_ceil(1024);
        StepPlan { line: line(a), steps: 1, outside_range: false }
    }

    /// Smallest unit of a step's length.
    pub fn quantum(&self) -> Span {
        Span::from_nanos(self.quantum_fs / FEMTOS_PER_NANO)
    }

    /// Whether the law comes from a measured table, and so has a range to leave.
    pub fn is_measured(&self) -> bool {
        self.table.is_some()
    }

    /// An empty shape, or one beyond the bounds of the overflow proof, is a broken invariant of the engine.
    #[inline]
    fn check(&self, shape: &StepShape) {
        let most = &self.most;
        let tokens = u64::from(shape.prefill_tokens) + u64::from(shape.decodes);
        let inside = (shape.sequences <= most.sequences)
            & (shape.decodes <= shape.sequences)
            & (tokens.wrapping_sub(1) < u64::from(most.tokens))
            & (shape.context_tokens <= most.context_tokens)
            & (shape.prefill_context <= most.context_tokens)
            & (shape.prefill_attention <= most.attention);
        assert!(inside, "step {shape:?} is empty, or larger than the law was compiled for: {most:?}");
    }

    /// Puts the parts together and proves that time advances and that nothing overflows.
    fn compile(
        terms: Terms,
        weights_read: Vec<u64>,
        quantum: Span,
        bounds: &LawBounds,
    ) -> Result<StepLaw, LawError> {
        let quantum_fs = quantum_fs(quantum)?;
        let most = Most::of(bounds)?;
        let law = StepLaw { terms, weights_read: weights_read.into(), table: None, quantum_fs, most };
        let shortest_fs = law.shortest();
        if shortest_fs < quantum_fs {
            return Err(LawError::TooShort { shortest_fs, quantum });
        }
        refuse_too_long(law.longest(), bounds)?;
        Ok(law)
    }

    /// Length of the shortest step: one token of one sequence, saturating. Every term grows with the shape.
    fn shortest(&self) -> u64 {
        let t = &self.terms;
        let read = self.weights_read[1.min(self.weights_read.len() - 1)];
        let roof = read.max(t.per_roof_token.saturating_add(t.per_roof_sequence));
        let decode = t.per_decode.saturating_add(t.per_context_token);
        let prefill = t.per_prefill_token.saturating_add(t.per_attention_1024.div_ceil(1024));
        t.base.saturating_add(t.per_sequence).saturating_add(roof).saturating_add(decode.min(prefill))
    }

    /// An upper bound of every sum that [`StepLaw::plan`] forms, without overflow.
    fn longest(&self) -> u128 {
        let (t, most) = (&self.terms, &self.most);
        let of = |per: u64, count: u64| u128::from(per) * u128::from(count);
        let (sequences, tokens) = (u64::from(most.sequences), u64::from(most.tokens));
        let read = self.weights_read.iter().copied().max().unwrap_or(0);
        of(t.base, 1)
            + of(t.per_sequence, sequences)
            + of(t.per_prefill_token, tokens)
            + of(t.per_decode, sequences)
            + of(t.per_context_token, most.context_tokens)
            + of(t.per_prefill_context_token, most.context_tokens)
            // Not divided by 1024: the product itself must fit.
            + of(t.per_attention_1024, most.attention)
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

/// Refuses a law whose longest step would not fit `u64` femtoseconds (with a bit to spare for the caller's sums).
fn refuse_too_long(longest: u128, bounds: &LawBounds) -> Result<(), LawError> {
    const MOST: u64 = u64::MAX / 2;
    if longest <= u128::from(MOST) {
        return Ok(());
    }
    let hours = |fs: f64| fs / (3600.0 * FEMTOS_PER_SEC as f64);
    Err(LawError::TooLong {
        sequences: bounds.sequences,
        sequence_tokens: bounds.sequence_tokens,
        tokens: bounds.tokens,
        hours: hours(longest as f64),
        most: hours(MOST as f64),
    })
}

#[cfg(test)]
mod tests;
