//! How long a step takes.

use crate::observe::StepLine;

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
    /// Sum over prefill chunks of `chunk * (2 * start + chunk)`: twice the attention work.
    pub prefill_attention: u64,
}

/// A step-time law, compiled to integers: identical on every platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLaw {}

impl StepLaw {
    /// Length of the step, as a line of one point; `outside` tells whether the shape was never measured.
    pub fn step(&self, _shape: &StepShape) -> StepLine {
        unimplemented!()
    }
}
