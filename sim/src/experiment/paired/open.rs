//! Requests that are over in one of two runs and not yet in the other.

use super::end::End;
use super::ledger::Side;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// What tells a request from all others, whatever happens in a run: its workload, its session and its turn. Where there
/// are no sessions every request is one of its own, in order of arrival. The order of creation would not do: where a
/// turn waits for the answer to the one before, it depends on how fast answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    session: u64,
    /// The turn above 16 bits of workload.
    rest: u64,
}

impl Key {
    pub(super) fn new(workload: u16, session: u64, turn: u32) -> Self {
        Key { session, rest: u64::from(turn) << 16 | u64::from(workload) }
    }
}

/// Multiplies and folds: keys are small numbers that somebody counted, not chosen against us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

/// The requests that wait for their other half. O(1) each; memory is that of the most that ever waited at once. It cannot
/// be iterated, so that its order can leak into nothing.
#[derive(Debug, Default)]
#[allow(clippy::disallowed_types)]
pub(super) struct Open(std::collections::HashMap<Key, (Side, End), BuildHasherDefault<KeyHasher>>);

impl Open {
    /// One side is over: gives out what the other side said when it was first; otherwise keeps it.
    ///
    /// Panics when the same side ends twice: it would be a bug of the engine.
    #[inline]
    pub(super) fn meet(&mut self, key: Key, side: Side, end: &End) -> Option<End> {
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert((side, *end));
                None
            }
            Entry::Occupied(occupied) => {
                let (first, other) = occupied.remove();
                assert_ne!(first, side, "{key:?} ended twice on one side: {end:?} after {other:?}");
                Some(other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    #[test]
    fn hashes_of_neighbouring_requests_differ_in_the_bits_that_a_table_uses() {
        let hasher = BuildHasherDefault::<KeyHasher>::default();
        let (mut low, mut high) = (BTreeSet::new(), BTreeSet::new());
        for session in 0..4_096u64 {
            let hash = hasher.hash_one(Key::new((session % 3) as u16, session / 3, (session % 5) as u32));
            low.insert(hash & 4_095);
            high.insert(hash >> 57);
        }
        // As many as when thrown at random: 63 %.
        assert!(low.len() > 2_400, "{}", low.len());
        assert_eq!(high.len(), 128);
    }
}
