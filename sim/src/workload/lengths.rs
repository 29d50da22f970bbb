//! How long prompts and outputs are.

use super::trace::TOKENS_MOST;
use crate::rng::Rng;
use crate::scenario::Lengths;
use rand::Rng as _;

/// Prompt and output tokens of one request (without context or shared beginning); `None` when the trace has them.
///
/// Pairs use the prompt's stream only. O(1), no allocation.
#[inline]
pub(super) fn draw(lengths: &Lengths, prompts: &mut Rng, outputs: &mut Rng) -> Option<(u32, u32)> {
    match lengths {
        Lengths::Independent { prompt, output } => Some((
            prompt.sample_tokens(prompts).min(TOKENS_MOST),
            output.sample_tokens(outputs).min(TOKENS_MOST),
        )),
        Lengths::Joint(pairs) => Some(pairs[below(prompts, pairs.len() as u64) as usize]),
        Lengths::FromTrace => None,
    }
}

/// A whole number in `0..bound` by multiplication; the bias is below `bound / 2^64`.
#[inline]
pub(super) fn below(rng: &mut Rng, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}
