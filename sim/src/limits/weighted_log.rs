//! A sliding window over weights: one entry of 16 bytes for each instant at which units were taken.
//!
//! Nothing inside the window is forgotten, unlike with counts: a correction may give back the newest units, and then
//! older ones decide again. A limit bounds the entries all the same, because each holds at least one unit: there are
//! `most` at most as long as no claim is corrected or counted although refused, and no limit is missing.

use super::ring::Ring;
use crate::time::{Span, Time};

/// The units taken at one instant. Corrections may leave none.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    at: u64,
    units: u64,
}

#[derive(Clone, Debug, Default)]
struct Key {
    entries: Ring<Entry>,
    /// Of all entries.
    units: u64,
}

#[derive(Clone, Debug)]
pub(super) struct WeightedLog {
    window: Span,
    most: u64,
    keys: Vec<Key>,
}

impl WeightedLog {
    pub(super) fn new(window: Span, most: u64, keys: u32) -> Self {
        WeightedLog { window, most, keys: vec![Key::default(); keys as usize] }
    }

    fn has_left(&self, at: u64, now: Time) -> bool {
        now.as_nanos() - at >= self.window.as_nanos()
    }

    /// Drops what has left the window. O(1) amortised.
    pub(super) fn forget(&mut self, now: Time, key: u32) {
        while let Some(entry) = self.keys[key as usize].entries.front()
            && self.has_left(entry.at, now)
        {
            let key = &mut self.keys[key as usize];
            key.entries.pop_front();
            key.units -= entry.units;
        }
    }

    /// The first instant from `now` on at which `units` fit below `limit`. O(entries that must leave first).
    pub(super) fn ready(&self, now: Time, key: u32, units: u64, limit: u64) -> Option<Time> {
        let key = &self.keys[key as usize];
        let others = limit.checked_sub(units)?;
        let (mut left, mut in_use) = (now, key.units);
        for i in 0..key.entries.len() {
            if in_use <= others {
                break;
            }
            let entry = key.entries.get(i);
            if entry.units > 0 {
                in_use -= entry.units;
                left = now.max(Time::from_nanos(entry.at.checked_add(self.window.as_nanos())?));
            }
        }
        Some(left)
    }

    /// Takes units; returns the units in use with them. O(1) amortised.
    pub(super) fn take(&mut self, now: Time, key: u32, units: u64) -> u64 {
        self.forget(now, key);
        let key = &mut self.keys[key as usize];
        key.units = key.units.checked_add(units).expect("the units in use overflow u64");
        match key.entries.len().checked_sub(1).map(|newest| key.entries.get_mut(newest)) {
            Some(newest) if newest.at == now.as_nanos() => newest.units += units,
            _ if units > 0 => key.entries.push_back(Entry { at: now.as_nanos(), units }, self.most),
            _ => {}
        }
        key.units
    }

    /// Units in the window. O(entries that left since the last operation).
    pub(super) fn used(&self, now: Time, key: u32) -> u64 {
        let key = &self.keys[key as usize];
        let entries = (0..key.entries.len()).map(|i| key.entries.get(i));
        let left: u64 =
            entries.take_while(|entry| self.has_left(entry.at, now)).map(|entry| entry.units).sum();
        key.units - left
    }

    /// Makes `reserved` of the units taken at `at` into `actual`; returns the units in use then. O(log entries), but
    /// O(entries) when nothing is left of the entry, as after a claim of no units.
    pub(super) fn settle(&mut self, now: Time, key: u32, at: u64, reserved: u64, actual: u64) -> u64 {
        self.forget(now, key);
        let left = self.has_left(at, now);
        let key = &mut self.keys[key as usize];
        if left || reserved == actual {
            return key.units;
        }
        let i = key.entries.partition_point(|entry| entry.at < at);
        let found = i < key.entries.len() && key.entries.get(i).at == at;
        if !found {
            key.entries.insert(i, Entry { at, units: 0 }, self.most);
        }
        let entry = key.entries.get_mut(i);
        assert!(
            entry.units >= reserved,
            "{reserved} units to settle, but {} were taken at {at} ns",
            entry.units
        );
        let others = key.units - reserved;
        entry.units -= reserved;
        key.units = others.checked_add(actual).expect("the units in use overflow u64");
        entry.units += actual;
        key.units
    }

    /// Entries of memory that a key holds.
    #[cfg(test)]
    pub(super) fn capacity(&self, key: u32) -> usize {
        self.keys[key as usize].entries.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Span = Span::from_nanos(100);

    const fn ns(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn claims_of_one_instant_share_an_entry_and_are_corrected_apart() {
        let mut log = WeightedLog::new(WINDOW, 1000, 1);
        for units in [10, 20, 30] {
            log.take(ns(5), 0, units);
        }
        assert_eq!(log.keys[0].entries.len(), 1);
        assert_eq!(log.settle(ns(6), 0, 5, 20, 1), 41);
        assert_eq!(log.settle(ns(7), 0, 5, 30, 60), 71);
        assert_eq!(log.settle(ns(105), 0, 5, 10, 0), 0, "has left: no effect");
    }

    #[test]
    fn a_claim_of_nothing_takes_no_space_and_can_still_be_corrected() {
        let mut log = WeightedLog::new(WINDOW, 1000, 1);
        log.take(ns(1), 0, 7);
        log.take(ns(2), 0, 0);
        log.take(ns(3), 0, 9);
        assert_eq!(log.keys[0].entries.len(), 2);
        assert_eq!(log.settle(ns(4), 0, 2, 0, 5), 21);
        assert_eq!(
            [ns(100), ns(101), ns(102), ns(103)].map(|now| log.used(now, 0)),
            [21, 14, 9, 0],
            "each leaves one window after its own instant"
        );
    }

    #[test]
    fn a_limit_bounds_the_entries() {
        let mut log = WeightedLog::new(WINDOW, 50, 1);
        for i in 0..10_000 {
            if log.ready(ns(i), 0, 1, 50) == Some(ns(i)) {
                log.take(ns(i), 0, 1);
            }
        }
        assert_eq!(log.capacity(0), 50);
    }

    #[test]
    fn an_instant_waits_for_as_many_entries_as_stand_in_the_way() {
        let mut log = WeightedLog::new(WINDOW, 100, 1);
        for (at, units) in [(1, 40), (2, 30), (3, 20)] {
            log.take(ns(at), 0, units);
        }
        let ready = |units| log.ready(ns(10), 0, units, 100);
        assert_eq!(ready(10), Some(ns(10)));
        assert_eq!(ready(11), Some(ns(101)));
        assert_eq!(ready(50), Some(ns(101)));
        assert_eq!(ready(51), Some(ns(102)));
        assert_eq!(ready(100), Some(ns(103)));
        assert_eq!(ready(101), None);
    }
}
