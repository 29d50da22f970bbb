//! A set of replicas, a bit each.

/// Some of the replicas of a pool. A thousand are 16 words.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The first `some` of `count`.
    pub(super) fn first(some: usize, count: usize) -> Self {
        let mut bits = Bits { words: vec![0; count.div_ceil(64)] };
        (0..some).for_each(|index| bits.set(index, true));
        bits
    }

    /// Whether `index` is in the set. O(1).
    #[inline]
    pub(super) fn has(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Puts `index` in, or takes it out. O(1).
    #[inline]
    pub(super) fn set(&mut self, index: usize, is_in: bool) {
        let word = &mut self.words[index / 64];
        *word = *word & !(1 << (index % 64)) | u64::from(is_in) << (index % 64);
    }

    /// The first member from `start` on, in a circle; `None` of an empty set. O(members that are missing / 64).
    #[inline]
    pub(super) fn next(&self, start: usize) -> Option<usize> {
        let home = start / 64;
        let ahead = self.words[home] & (u64::MAX << (start % 64));
        if ahead != 0 {
            return Some(64 * home + ahead.trailing_zeros() as usize);
        }
        // The home word comes last once more, for what is before `start` in it.
        let circle = (home + 1..self.words.len()).chain(0..=home);
        let found = circle.map(|at| (at, self.words[at])).find(|&(_, word)| word != 0);
        found.map(|(at, word)| 64 * at + word.trailing_zeros() as usize)
    }

    /// The member that has `rank` members before it; `None` when there are not so many. O(count / 64).
    pub(super) fn nth(&self, rank: usize) -> Option<usize> {
        let mut left = rank as u32;
        for (at, &word) in self.words.iter().enumerate() {
            let members = word.count_ones();
            if left < members {
                let rest = (0..left).fold(word, |word, _| word & (word - 1));
                return Some(64 * at + rest.trailing_zeros() as usize);
            }
            left -= members;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn next_and_nth_are_what_a_plain_scan_finds(
            members in prop::collection::vec(any::<bool>(), 1..200),
            start in 0usize..200,
            sparse in any::<bool>(),
        ) {
            let count = members.len();
            let start = start % count;
            let members: Vec<bool> =
                members.iter().enumerate().map(|(at, &is_in)| is_in && (!sparse || at % 67 == 0)).collect();
            let mut bits = Bits::first(count / 2, count);
            for (index, &is_in) in members.iter().enumerate() {
                bits.set(index, is_in);
                prop_assert_eq!(bits.has(index), is_in);
            }
            let plain = (start..count).chain(0..start).find(|&index| members[index]);
            prop_assert_eq!(bits.next(start), plain);
            let all: Vec<usize> = (0..count).filter(|&index| members[index]).collect();
            for rank in 0..=all.len() {
                prop_assert_eq!(bits.nth(rank), all.get(rank).copied());
            }
        }
    }
}
