//! The gateway in front of a pool: who is let in, who waits, and which replica is next.
//!
//! It sees [`RequestHead`]s and loads, never what a model will say. It schedules nothing and calls no replica: the
//! hub asks, and acts on the answer.

pub mod admission;
pub mod choice;
pub mod queue;
pub mod route;
mod tree;

use crate::request::RequestHead;
use crate::scenario::{Engine, Pool};

/// Whether a request can be served by a pool at all.
///
/// A prompt that leaves no room for one token of output does not fit; a declared `max_tokens` must fit beside it.
pub fn fits(head: &RequestHead, pool: &Pool) -> bool {
    let Engine::Llm(engine) = &pool.engine else { return true };
    let declared = u64::from(head.prompt_tokens) + u64::from(head.max_tokens.unwrap_or(1).max(1));
    declared <= u64::from(engine.context_tokens)
}

/// Tokens of a request that a gateway knows beforehand: its prompt, and its declared `max_tokens` (nothing when it
/// declares none).
#[inline]
pub fn known_tokens(head: &RequestHead) -> u64 {
    u64::from(head.prompt_tokens) + u64::from(head.max_tokens.unwrap_or(0))
}

/// Output tokens that a request will produce: its draw, cut where the model's context ends.
pub fn clip_output(head: &RequestHead, drawn: u32, pool: &Pool) -> u32 {
    match &pool.engine {
        Engine::Llm(engine) => drawn.min(engine.context_tokens - head.prompt_tokens).max(1),
        Engine::Slots(_) => drawn.max(1),
    }
}
