//! A sliding window over counts: the instants of the last units, 8 bytes each.
//!
//! The window is half-open, `(now - window, now]`: a unit taken at `t` leaves at exactly `t + window`.
//!
//! **Only the last `most` units matter.** A claim of `n` units at a limit `l` is refused exactly while more than
//! `l - n` units are in the window, that is while the `(l - n + 1)`-th newest unit is. Every limit is at most `most`
//! and `n >= 1`, so no question reaches further back than the `most`-th newest unit; and whatever is forgotten behind
//! that one is older and leaves before it. So the log answers as if it had kept everything, and only the count itself
//! saturates at `most`.

use super::ring::Ring;
use crate::time::{Span, Time};

#[derive(Clone, Debug)]
pub(super) struct SlidingLog {
    window: Span,
    most: u64,
    keys: Vec<Ring<u64>>,
}

impl SlidingLog {
    pub(super) fn new(window: Span, most: u64, keys: u32) -> Self {
        SlidingLog { window, most, keys: vec![Ring::default(); keys as usize] }
    }

    /// The first instant from `now` on at which `units` (at least 1) fit below `limit`. O(1).
    pub(super) fn ready(&self, now: Time, key: u32, units: u64, limit: u64) -> Option<Time> {
        let ring = &self.keys[key as usize];
        let others = limit.checked_sub(units)?;
        if ring.len() as u64 <= others {
            return Some(now);
        }
        let last_to_leave = ring.get(ring.len() - 1 - others as usize);
        let left = last_to_leave.checked_add(self.window.as_nanos())?;
        Some(now.max(Time::from_nanos(left)))
    }

    /// Takes one unit; returns the units in use with it, `most` at most. O(1) amortised.
    pub(super) fn take(&mut self, now: Time, key: u32) -> u64 {
        let ring = &mut self.keys[key as usize];
        while ring.front().is_some_and(|at| now.as_nanos() - at >= self.window.as_nanos()) {
            ring.pop_front();
        }
        if ring.len() as u64 == self.most {
            if self.most == 0 {
                return 0;
            }
            ring.pop_front();
        }
        ring.push_back(now.as_nanos(), self.most);
        ring.len() as u64
    }

    /// Units in the window, `most` at most. O(log units).
    pub(super) fn used(&self, now: Time, key: u32) -> u64 {
        let ring = &self.keys[key as usize];
        let left = ring.partition_point(|at| now.as_nanos() - at >= self.window.as_nanos());
        (ring.len() - left) as u64
    }

    /// Entries of memory that a key holds.
    #[cfg(test)]
    pub(super) fn capacity(&self, key: u32) -> usize {
        self.keys[key as usize].capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn a_unit_leaves_at_exactly_one_window_after_it_came() {
        let mut log = SlidingLog::new(Span::from_nanos(100), 1, 1);
        log.take(ns(7), 0);
        assert_eq!((log.used(ns(106), 0), log.used(ns(107), 0)), (1, 0));
        assert_eq!(log.ready(ns(106), 0, 1, 1), Some(ns(107)));
        assert_eq!(log.ready(ns(107), 0, 1, 1), Some(ns(107)));
    }

    #[test]
    fn memory_is_bounded_by_the_highest_limit_whatever_is_offered() {
        let mut log = SlidingLog::new(Span::from_secs(3600), 1000, 2);
        for i in 0..100_000 {
            log.take(ns(i), 0);
        }
        assert_eq!(log.capacity(0), 1000);
        assert_eq!(log.capacity(1), 0);
        assert_eq!(log.used(ns(100_000), 0), 1000);
        assert_eq!(log.ready(ns(100_000), 0, 1, 1000), Some(ns(99_000) + Span::from_secs(3600)));
    }

    #[test]
    fn a_window_that_ends_beyond_time_never_ends() {
        let mut log = SlidingLog::new(Span::MAX, 1, 1);
        log.take(ns(1), 0);
        assert_eq!(log.ready(ns(2), 0, 1, 1), None);
    }
}
