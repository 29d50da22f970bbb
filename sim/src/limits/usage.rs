//! What a meter saw: counts, the peak, and for how long it stood in the way.

use crate::time::Time;

/// A meter's life until some instant, over all of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Claims on the meter, admitted or not.
    pub offered: u64,
    /// Claims of sets that went through.
    pub admitted: u64,
    /// Claims that this meter refused, as the first of their set to do so.
    pub refused: u64,
    /// Most units in use at once on one key.
    pub peak: u64,
    /// The limit when [`peak`](Self::peak) was reached first; 0 when there was none.
    pub peak_limit: u64,
    /// Nanoseconds, summed over the keys ever used, in which one more unit would have been refused.
    pub blocked: u128,
    /// Keys that ever had a claim.
    pub keys: u32,
    /// When this meter first refused.
    pub first_refused: Option<Time>,
}

/// A key that had no claim yet.
const UNUSED: u64 = u64::MAX;
/// The end of a time that nothing but a release, a correction or another limit can end.
const NEVER: u64 = u64::MAX - 1;

/// Keeps a [`Usage`] in O(1) an operation.
///
/// Whenever a key changes, its meter knows until when one more unit would be refused if nothing else happened. That
/// time is booked at once; if something happens before it is over, what is left of it is taken back first.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// `peak` and the part of `blocked` that lies behind an instant come out in [`usage`](Self::usage) only.
    counts: Usage,
    /// In the unit of the meter's mechanism.
    peak: u128,
    /// Until when each key is blocked; in the past when it is not.
    until: Vec<u64>,
}

impl Tally {
    pub(super) fn new(keys: u32) -> Self {
        Tally { counts: Usage::default(), peak: 0, until: vec![UNUSED; keys as usize] }
    }

    pub(super) fn admitted(&mut self) {
        self.counts.offered += 1;
        self.counts.admitted += 1;
    }

    /// A claim whose set was refused by another claim.
    pub(super) fn in_vain(&mut self) {
        self.counts.offered += 1;
    }

    /// A claim that refused.
    pub(super) fn refused(&mut self, now: Time) {
        self.counts.refused += 1;
        self.counts.first_refused.get_or_insert(now);
    }

    /// Keys, used or not.
    pub(super) fn keys(&self) -> u32 {
        self.until.len() as u32
    }

    /// Whether a key ever had a claim.
    pub(super) fn has_used(&self, key: u32) -> bool {
        self.until[key as usize] != UNUSED
    }

    /// A key has changed, or its limit: one more unit fits from `ready` on. O(1).
    pub(super) fn blocked(&mut self, now: Time, key: u32, ready: Option<Time>) {
        let now = now.as_nanos();
        let until = &mut self.until[key as usize];
        if *until == UNUSED {
            self.counts.keys += 1;
            *until = now;
        }
        let next = ready.map_or(NEVER, |ready| ready.as_nanos().min(NEVER));
        self.counts.blocked += u128::from(next.saturating_sub(now));
        self.counts.blocked -= u128::from(until.saturating_sub(now));
        *until = next;
    }

    /// So much is in use on some key. O(1).
    pub(super) fn level(&mut self, level: u128, limit: Option<u64>) {
        if level > self.peak {
            self.peak = level;
            self.counts.peak_limit = limit.unwrap_or(0);
        }
    }

    /// The usage until an instant that no operation came after. O(keys).
    pub(super) fn usage(&self, until: Time, units: impl Fn(u128) -> u64) -> Usage {
        let later = |end: u64| u128::from(end.saturating_sub(until.as_nanos()));
        let ends = self.until.iter().filter(|end| **end != UNUSED);
        let behind: u128 = ends.map(|end| later(*end)).sum();
        Usage { peak: units(self.peak), blocked: self.counts.blocked - behind, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn blocked_time_is_taken_back_when_it_ends_early_and_cut_where_the_question_ends() {
        let mut tally = Tally::new(3);
        let blocked = |tally: &Tally, until| tally.usage(ns(until), |level| level as u64).blocked;
        tally.blocked(ns(10), 0, Some(ns(50)));
        assert_eq!([10, 30, 50, 90].map(|until| blocked(&tally, until)), [0, 20, 40, 40]);
        tally.blocked(ns(20), 0, Some(ns(20)));
        assert_eq!(blocked(&tally, 90), 10, "freed at 20");
        tally.blocked(ns(30), 1, None);
        tally.blocked(ns(40), 0, Some(ns(45)));
        assert_eq!(blocked(&tally, 100), 10 + 70 + 5, "the second key is never free again");
        assert_eq!(tally.usage(ns(100), |level| level as u64).keys, 2);
    }
}
