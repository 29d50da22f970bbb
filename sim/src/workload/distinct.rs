//! Counting distinct values in bounded memory.

use crate::rng::mix;
use std::collections::BTreeSet;

/// Hashes kept: 65,536, about 2 MB.
const KEPT: usize = 1 << 16;

/// How many distinct values were seen: exact up to 65,536, beyond that estimated from the smallest hashes.
///
/// The estimate's relative standard error is `1/sqrt(65536)`, 0.4 %. Source: Bar-Yossef et al., *Counting Distinct
/// Elements in a Data Stream*, 2002 (the k minimum values).
#[derive(Default)]
pub(super) struct Distinct {
    smallest: BTreeSet<u64>,
    full: bool,
}

impl Distinct {
    /// Takes a value in. O(log kept).
    pub(super) fn add(&mut self, value: u64) {
        let hash = mix(value);
        if self.full && self.smallest.last().is_some_and(|&last| hash > last) {
            return;
        }
        if self.smallest.insert(hash) && self.smallest.len() > KEPT {
            self.smallest.pop_last();
            self.full = true;
        }
    }

    /// The count, and whether it is exact.
    pub(super) fn count(&self) -> (f64, bool) {
        match self.smallest.last() {
            Some(&last) if self.full => {
                let share = last as f64 / u64::MAX as f64;
                ((KEPT - 1) as f64 / share, false)
            }
            _ => (self.smallest.len() as f64, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_while_they_fit_and_within_two_percent_beyond() {
        let mut distinct = Distinct::default();
        for value in (0..KEPT as u64).chain(0..KEPT as u64) {
            distinct.add(value);
        }
        assert_eq!(distinct.count(), (65_536.0, true));
        for value in 0..1_000_000 {
            distinct.add(value);
        }
        let (count, exact) = distinct.count();
        assert!(!exact && (count / 1e6 - 1.0).abs() < 0.02, "{count}");
        assert!(distinct.smallest.len() <= KEPT);
    }
}
