//! Where the prefix is, as far as the gateway remembers.

use super::{Ask, Policy, Rank, View};
use crate::request::ReplicaId;
use crate::rng::{Rng, mix};
use crate::scenario::Pool;
use crate::table::KeyMap;

/// Prefixes that are remembered; the oldest is forgotten for a new one.
const MOST: usize = 1 << 16;
/// A replica with the prefix is passed over when its load is above the least by more than this ...
const ABSOLUTE: u32 = 64;
/// ... and above this many halves of it.
const RELATIVE_HALVES: u64 = 3;
/// A known prefix counts when it is at least this many tenths of the prompt; a session's own context always does.
const SHARE_TENTHS: u64 = 3;

/// The replica that the longest known prefix of the prompt was last sent to, unless its load is too far above the least
/// one as it is seen; otherwise the replica with the least load. The pick is remembered for every prefix of the prompt:
/// the session's own context, the system prompt, the block hashes of a trace. What was sent to a replica before it came
/// up last is not there any more, and closed replicas are passed over for shorter prefixes. O(prefixes of the prompt),
/// O(log replicas) for the least load; 65,536 prefixes are remembered.
///
/// Load is `4 * waiting + running`: 64 are 16 waiting requests or 64 running ones.
///
/// Source: the policy `cache_aware` of SGLang's router, with the defaults it documents (`balance_abs_threshold` 64,
/// `balance_rel_threshold` 1.5, `cache_threshold` 0.3); it compares the least with the most loaded replica, this one
/// with the replica in question.
#[derive(Debug)]
pub(super) struct KvAware {
    sent: KeyMap<Sent>,
    /// The keys of `sent` in the order they came in, a ring once it is full.
    order: Vec<u64>,
    /// Where the oldest key of a full ring is.
    oldest: usize,
}

/// Where a prefix was last sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    replica: ReplicaId,
    /// How often the replica had come up by then.
    start: u32,
}

impl Policy for KvAware {
    const RANK: Rank = Rank::Load;

    fn new(_: &Pool, _: Rng) -> Self {
        KvAware { sent: KeyMap::default(), order: Vec::new(), oldest: 0 }
    }

    fn pick(&mut self, view: &View, ask: Ask<'_>) -> usize {
        let least = view.least();
        let picked = self.longest(view, ask).filter(|&replica| is_near(view.load(replica), view.load(least)));
        let picked = picked.unwrap_or(least);
        let sent = Sent { replica: picked as ReplicaId, start: view.starts(picked) };
        match hashes(ask) {
            Some(hashes) => hashes.iter().for_each(|&hash| self.note(block_key(hash), sent)),
            None => [own_key(ask), shared_key(ask)].into_iter().flatten().for_each(|key| self.note(key, sent)),
        }
        picked
    }
}

impl KvAware {
    /// The open replica that has the longest known prefix.
    fn longest(&self, view: &View, ask: Ask<'_>) -> Option<usize> {
        let prompt = u64::from(ask.head.prompt_tokens);
        let counts = |tokens: u64| 10 * tokens >= SHARE_TENTHS * prompt;
        if let (Some(hashes), Some(chain)) = (hashes(ask), ask.chain) {
            let tokens = |blocks: usize| (blocks as u64 * u64::from(chain.tokens_per_hash)).min(prompt);
            let long_enough = (1..=hashes.len()).rev().take_while(|&blocks| counts(tokens(blocks)));
            let mut known = long_enough.filter_map(|blocks| self.host(view, block_key(hashes[blocks - 1])));
            return known.next();
        }
        let own = own_key(ask).and_then(|key| self.host(view, key));
        let shared = || {
            let key = shared_key(ask).filter(|_| counts(ask.head.prefix.shared_tokens.into()))?;
            self.host(view, key)
        };
        own.or_else(shared)
    }

    /// The open replica that a prefix was sent to, if it has been up since.
    fn host(&self, view: &View, key: u64) -> Option<usize> {
        let sent = self.sent.get(key)?;
        let index = usize::from(sent.replica);
        (view.is_open(index) && view.starts(index) == sent.start).then_some(index)
    }

    fn note(&mut self, key: u64, sent: Sent) {
        if self.sent.set(key, sent).is_some() {
            return;
        }
        if self.order.len() < MOST {
            return self.order.push(key);
        }
        let forgotten = std::mem::replace(&mut self.order[self.oldest], key);
        self.oldest = (self.oldest + 1) % MOST;
        self.sent.remove(forgotten).expect("a key of the ring is known");
    }
}

/// Whether a load is near enough to the least one.
fn is_near(load: u32, least: u32) -> bool {
    load - least <= ABSOLUTE || 2 * u64::from(load) <= RELATIVE_HALVES * u64::from(least)
}

fn hashes(ask: Ask<'_>) -> Option<&[u64]> {
    ask.chain.map(|chain| chain.hashes.as_slice()).filter(|hashes| !hashes.is_empty())
}

/// The three kinds of prefixes have keys of their own.
fn key_of(kind: u64, identity: u64) -> u64 {
    mix(mix(kind) ^ identity)
}

fn own_key(ask: Ask<'_>) -> Option<u64> {
    (ask.head.prefix.own != 0).then(|| key_of(1, ask.head.prefix.own))
}

fn shared_key(ask: Ask<'_>) -> Option<u64> {
    (ask.head.prefix.shared != 0).then(|| key_of(2, ask.head.prefix.shared))
}

fn block_key(hash: u64) -> u64 {
    key_of(3, hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::route::tests::{Bench, head};
    use crate::request::{HashChain, Prefix, RequestHead};
    use crate::scenario::Route;

    fn chain(hashes: &[u64]) -> HashChain {
        HashChain { tokens_per_hash: 10, hashes: hashes.to_vec() }
    }

    fn prompt(tokens: u32) -> RequestHead {
        RequestHead { prompt_tokens: tokens, ..head(0) }
    }

    #[test]
    fn a_session_follows_its_last_pick_until_the_load_there_is_far_above_the_least() {
        let mut bench = Bench::new(Route::KvAware, 4, None);
        bench.view.update(0, 0, 1);
        assert_eq!(bench.pick(&head(7)), Some(1), "the least loaded, where nothing is known");
        bench.view.update(1, 0, ABSOLUTE);
        assert_eq!(bench.pick(&head(7)), Some(1), "64 above the least are near enough");
        bench.view.update(1, 0, ABSOLUTE + 1);
        assert_eq!(bench.pick(&head(7)), Some(2));
        bench.view.update(1, 0, 0);
        assert_eq!(bench.pick(&head(7)), Some(2), "the last pick counts");
        (0..4).for_each(|replica| bench.view.update(replica, 50, 0));
        bench.view.update(2, 75, 0);
        assert_eq!(bench.pick(&head(7)), Some(2), "one and a half times the least are near enough");
        bench.view.update(2, 75, 1);
        assert_eq!(bench.pick(&head(7)), Some(0));
    }

    #[test]
    fn the_longest_known_chain_wins_and_short_matches_count_nothing() {
        let mut bench = Bench::new(Route::KvAware, 3, None);
        assert_eq!(bench.pick_chain(&prompt(40), &chain(&[1, 2, 3, 4])), Some(0));
        bench.view.update(0, 0, 1);
        assert_eq!(bench.pick_chain(&prompt(20), &chain(&[8, 9])), Some(1), "nothing of it is known");
        bench.view.update(1, 0, 2);
        assert_eq!(bench.pick_chain(&prompt(60), &chain(&[1, 2, 3, 4, 5, 6])), Some(0));
        assert_eq!(bench.pick_chain(&prompt(30), &chain(&[8, 27, 26])), Some(1), "a third of it is known");
        assert_eq!(bench.pick_chain(&prompt(40), &chain(&[8, 15, 14, 13])), Some(2), "a quarter of it is known");
    }

    #[test]
    fn a_system_prompt_counts_when_it_is_most_of_the_prompt() {
        let mut bench = Bench::new(Route::KvAware, 3, None);
        let shared = |tokens| RequestHead {
            prefix: Prefix { shared: 5, shared_tokens: 30, own: 0 },
            ..prompt(tokens)
        };
        assert_eq!(bench.pick(&shared(100)), Some(0));
        bench.view.update(0, 0, 1);
        assert_eq!(bench.pick(&shared(100)), Some(0));
        assert_eq!(bench.pick(&shared(101)), Some(1));
    }

    #[test]
    fn what_a_replica_had_before_it_failed_is_forgotten() {
        let mut bench = Bench::new(Route::KvAware, 2, None);
        bench.view.update(0, 0, 1);
        assert_eq!(bench.pick(&head(7)), Some(1));
        bench.view.set_up(1, false);
        bench.view.set_up(1, true);
        bench.view.update(0, 0, 0);
        bench.view.update(1, 0, 1);
        assert_eq!(bench.pick(&head(7)), Some(0));
    }

    #[test]
    fn no_more_prefixes_are_remembered_than_stated_and_the_oldest_goes_first() {
        let mut bench = Bench::new(Route::KvAware, 2, None);
        for own in 1..=MOST as u64 {
            assert_eq!(bench.pick(&head(own)), Some(0));
        }
        bench.view.update(0, 0, 1);
        assert_eq!(bench.pick(&head(1)), Some(0), "the oldest is known");
        assert_eq!(bench.pick(&head(1 << 40)), Some(1), "a new one is not, and takes the oldest one's place");
        assert_eq!(bench.pick(&head(2)), Some(0), "the second is still known");
        assert_eq!(bench.pick(&head(1)), Some(1), "the first is not");
    }
}
