//! Why a step-time law cannot be compiled, in words for the user.

use crate::time::Span;

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
