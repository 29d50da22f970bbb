//! Sessions: turns of one conversation, each carrying what was said before.
//!
//! A session's draws come from streams keyed by session and turn, never from a stream shared with other sessions:
//! what a session says does not depend on when anything happened, so that two variants of a scenario see the same
//! conversations.

use super::lengths;
use super::trace::TOKENS_MOST;
use crate::dist::Dist;
use crate::request::{Prefix, RequestHead, WorkloadId};
use crate::rng::{Purpose, Rng, mix, source_of, stream};
use crate::scenario::{Lengths, Sessions};
use crate::time::Span;

/// Least pause of a client that got nothing at all: refused, expired or timed out before its first token.
///
/// Without it a closed-loop client with no think time would offer, and be refused, for ever at one instant.
pub const PAUSE_AFTER_NOTHING: Span = Span::from_secs(1);

/// The random draws of one turn: independent of every other turn and of simulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TurnDraws {
    /// Think time before it.
    pub(super) think: Span,
    /// New prompt tokens.
    pub(super) prompt: u32,
    /// Output tokens.
    pub(super) output: u32,
}

/// Streams keyed by session and turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed {
    seed: u64,
    source: u64,
    key: u64,
}

impl Keyed {
    pub(super) fn new(seed: u64, source: u64, session: u64, turn: u32) -> Self {
        Keyed { seed, source, key: mix(mix(session) ^ u64::from(turn)) }
    }

    pub(super) fn stream(&self, purpose: Purpose) -> Rng {
        stream(self.seed, purpose, self.source, self.key)
    }

    /// A time from an optional distribution.
    pub(super) fn span(&self, purpose: Purpose, law: Option<&Dist>) -> Option<Span> {
        law.map(|law| law.sample_span(&mut self.stream(purpose)))
    }

    /// The draws of the turn; `None` when lengths belong to trace rows.
    pub(super) fn turn(&self, sessions: Option<&Sessions>, law: &Lengths) -> Option<TurnDraws> {
        let think = self.span(Purpose::Think, sessions.map(|s| &s.think)).unwrap_or_default();
        let (mut prompts, mut outputs) = (self.stream(Purpose::Prompt), self.stream(Purpose::Output));
        let (prompt, output) = lengths::draw(law, &mut prompts, &mut outputs)?;
        Some(TurnDraws { think, prompt, output })
    }
}

/// Turns of a session, at least 1.
pub(super) fn turns(sessions: Option<&Sessions>, seed: u64, source: u64, session: u64) -> u32 {
    let keyed = Keyed::new(seed, source, session, 0);
    sessions.map_or(1, |s| s.turns.sample_tokens(&mut keyed.stream(Purpose::Turns)))
}

/// Identity of what a session says after the shared beginning: unique over all sessions of all workloads.
pub fn identity(workload: WorkloadId, session: u64) -> u64 {
    (session.wrapping_add(1) << 16) | u64::from(workload)
}

/// Identity of the beginning that all prompts of the workload called `name` share.
pub fn shared_identity(name: &str) -> u64 {
    source_of(name) | 1
}

/// Prompt length and prefix of the turn after `head`, whose answer had `generated` tokens.
///
/// The prompt is the context (all that was said so far, at most `context_most` tokens; the shared beginning always
/// stays) and `new` tokens. When the context had to be cut, its content has moved, so nothing but the shared
/// beginning repeats: the session goes on under a new identity.
pub(super) fn grow(head: &RequestHead, generated: u32, new: u32, context_most: u32) -> (u32, Prefix) {
    let said = head.prompt_tokens.saturating_add(generated);
    let kept = said.min(context_most.max(head.prefix.shared_tokens));
    let mut prefix = head.prefix;
    if kept < said {
        // The top bit sets these apart from first identities.
        prefix.own = mix(head.prefix.own ^ u64::from(head.turn + 1).rotate_right(8)) | 1 << 63;
    }
    (kept.saturating_add(new).min(TOKENS_MOST), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(prompt_tokens: u32, shared_tokens: u32) -> RequestHead {
        RequestHead {
            workload: 0,
            tenant: 0,
            index: 0,
            prompt_tokens,
            max_tokens: None,
            session: 4,
            turn: 0,
            prefix: Prefix { shared: u64::from(shared_tokens > 0), shared_tokens, own: identity(0, 4) },
            body_bytes: None,
        }
    }

    #[test]
    fn the_next_prompt_is_all_that_was_said_and_the_new_words() {
        let (prompt, prefix) = grow(&head(100, 0), 40, 25, 1_000);
        assert_eq!((prompt, prefix), (165, head(100, 0).prefix));
    }

    #[test]
    fn a_cut_context_keeps_the_shared_beginning_and_repeats_nothing_else() {
        let (prompt, prefix) = grow(&head(900, 50), 200, 25, 1_000);
        assert_eq!(prompt, 1_025);
        assert_ne!(prefix.own, head(900, 50).prefix.own);
        assert_eq!((prefix.shared, prefix.shared_tokens), (1, 50));
        assert_eq!(grow(&head(900, 500), 200, 25, 100).0, 525);
    }

    #[test]
    fn a_context_exactly_at_its_most_is_not_cut() {
        assert_eq!(grow(&head(900, 0), 100, 5, 1_000), (1_005, head(900, 0).prefix));
    }

    #[test]
    fn identities_differ_between_workloads_and_sessions_and_are_never_zero() {
        let all: std::collections::BTreeSet<u64> =
            (0..100).flat_map(|w| (0..100).map(move |s| identity(w, s))).collect();
        assert_eq!(all.len(), 10_000);
        assert!(!all.contains(&0));
    }
}
