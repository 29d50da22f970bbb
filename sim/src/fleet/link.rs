//! A link that all transfers in flight share equally (egalitarian processor sharing).
//!
//! With `n` transfers in flight each gets `bandwidth / n`, so one number tells how far all of them are: the work that a
//! transfer in flight has had since the link was last idle. A transfer that starts when that number is `s` ends when it
//! is `s` plus its own bytes, whatever comes and goes meanwhile, and a heap over these ends is all that is kept.
//!
//! Rounding. Work is counted in billionths of a byte, which makes `bandwidth` whole units a nanosecond. A share is
//! rounded down to a unit; what that leaves is shared out with the next work, so nothing is lost and errors do not add
//! up. The end of a transfer is told at the first whole nanosecond at or after it, and what the link did for it beyond
//! its last byte goes to the others: as if it had left in the middle of the nanosecond.

use crate::table::SlotId;
use crate::time::{NANOS_PER_SEC, Span, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Units of work in a byte.
const UNITS: u128 = NANOS_PER_SEC as u128;

/// A link. At one instant the hub asks [`Link::finish`] until it says `None` before it starts or cancels anything.
#[derive(Debug)]
pub struct Link {
    /// Bytes a second; units a nanosecond.
    bandwidth: u64,
    /// What the fields below are true for.
    now: Time,
    in_flight: u32,
    /// Units that each transfer in flight has had since the link was last idle, those that came later as if they had
    /// been there.
    served: u128,
    /// Units done and not shared out yet: fewer than there are transfers in flight.
    rest: u128,
    /// `(served at its end, number, slot)` of each transfer. The first is never void, others may be.
    ends: BinaryHeap<Reverse<(u128, u64, SlotId)>>,
    /// The transfer in flight of each slot: its end and its number.
    of_slot: Vec<Option<(u128, u64)>>,
    /// Transfers started so far.
    started: u64,
    /// When the next transfer ends.
    wake: Option<Time>,
    busy: Span,
    /// Units that found nobody to be shared out to when the link fell idle.
    idle: u128,
}

impl Link {
    /// An idle link of `bandwidth` bytes a second, at least 1.
    pub fn new(bandwidth: u64) -> Self {
        assert!(bandwidth > 0, "a link without bandwidth");
        Link {
            bandwidth,
            now: Time::ZERO,
            in_flight: 0,
            served: 0,
            rest: 0,
            ends: BinaryHeap::new(),
            of_slot: Vec::new(),
            started: 0,
            wake: None,
            busy: Span::ZERO,
            idle: 0,
        }
    }

    /// A transfer of `bytes` bytes starts for a slot that has none in flight. O(log n); allocates only when more
    /// transfers are in flight, or slots in use, than ever before.
    pub fn start(&mut self, now: Time, id: SlotId, bytes: u64) {
        self.advance(now);
        if self.of_slot.len() <= id as usize {
            self.of_slot.resize(id as usize + 1, None);
        }
        let end = self.served + u128::from(bytes) * UNITS;
        let before = self.of_slot[id as usize].replace((end, self.started));
        assert!(before.is_none(), "slot {id} has a transfer in flight: {before:?}");
        self.ends.push(Reverse((end, self.started, id)));
        self.started += 1;
        self.in_flight += 1;
        self.settle();
    }

    /// When the next transfer ends, rounded up to a nanosecond; `None` when none is in flight, or none ends before the
    /// end of time. It changes with every start, finish and cancellation. O(1).
    #[inline]
    pub fn next_wake(&self) -> Option<Time> {
        self.wake
    }

    /// The next transfer whose end has come, in order of ends, then of starts. To be asked at the instant that
    /// [`Link::next_wake`] names, until there is none. O(log n).
    pub fn finish(&mut self, now: Time) -> Option<SlotId> {
        self.wake.filter(|at| *at <= now)?;
        self.advance(now);
        let Reverse((end, _, id)) = self.ends.pop().expect("what ends is in flight");
        self.of_slot[id as usize] = None;
        self.leave(end);
        Some(id)
    }

    /// Takes the transfer of a slot away, whose bytes are of no use any more. Returns whether there was one. O(log n)
    /// amortised.
    pub fn cancel(&mut self, now: Time, id: SlotId) -> bool {
        let Some((end, _)) = self.of_slot.get_mut(id as usize).and_then(Option::take) else { return false };
        self.advance(now);
        self.leave(end);
        true
    }

    /// Transfers in flight.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Time until `now` in which at least one transfer was in flight: the link is used to its full bandwidth then.
    /// `now` is no later than [`Link::next_wake`].
    pub fn busy(&self, now: Time) -> Span {
        self.busy + if self.in_flight > 0 { now - self.now } else { Span::ZERO }
    }

    /// Bytes sent until `now`, those of unfinished and cancelled transfers included; rounded down.
    pub fn bytes_sent(&self, now: Time) -> u128 {
        (u128::from(self.bandwidth) * u128::from(self.busy(now).as_nanos()) - self.idle) / UNITS
    }

    /// Brings everything up to `now`, which must not be later than the next end.
    fn advance(&mut self, now: Time) {
        assert!(
            now >= self.now && self.wake.is_none_or(|at| now <= at),
            "a link at {} with an end at {:?} cannot go to {now}",
            self.now,
            self.wake
        );
        if self.in_flight > 0 {
            self.busy += now - self.now;
            self.rest += u128::from(self.bandwidth) * u128::from((now - self.now).as_nanos());
            self.share();
        }
        self.now = now;
    }

    /// Shares out what is done.
    fn share(&mut self) {
        let count = u128::from(self.in_flight);
        self.served += self.rest / count;
        self.rest %= count;
    }

    /// One transfer less, which was to have `end` units; it may have had more.
    fn leave(&mut self, end: u128) {
        self.in_flight -= 1;
        self.rest += self.served.saturating_sub(end);
        if self.in_flight > 0 {
            self.share();
        } else {
            self.idle += self.rest;
            (self.served, self.rest) = (0, 0);
            self.ends.clear();
        }
        self.settle();
    }

    /// Throws out void entries where they would be seen (or are most), and finds the next end.
    fn settle(&mut self) {
        let of_slot = &self.of_slot;
        let live = |&Reverse((end, number, id)): &Reverse<(u128, u64, SlotId)>| {
            of_slot[id as usize] == Some((end, number))
        };
        if self.ends.len() > 2 * self.in_flight as usize + 64 {
            self.ends.retain(live);
        }
        while self.ends.peek().is_some_and(|first| !live(first)) {
            self.ends.pop();
        }
        self.wake = self.ends.peek().and_then(|&Reverse((end, ..))| {
            let missing = end.saturating_sub(self.served) * u128::from(self.in_flight);
            let nanos = missing.saturating_sub(self.rest).div_ceil(u128::from(self.bandwidth));
            let at = self.now.as_nanos().checked_add(u64::try_from(nanos).ok()?)?;
            Some(Time::from_nanos(at)).filter(|at| *at < Time::MAX)
        });
    }
}

#[cfg(test)]
mod tests;
