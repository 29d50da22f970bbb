//! Units held until they are released: permits of concurrency, counted quotas. No time in it.

use crate::time::Time;

#[derive(Clone, Debug)]
pub(super) struct Held {
    in_use: Vec<u64>,
}

impl Held {
    pub(super) fn new(keys: u32) -> Self {
        Held { in_use: vec![0; keys as usize] }
    }

    /// `now` when `units` fit below `limit`; else nobody knows when. O(1).
    pub(super) fn ready(&self, now: Time, key: u32, units: u64, limit: u64) -> Option<Time> {
        let others = limit.checked_sub(units)?;
        (self.used(key) <= others).then_some(now)
    }

    /// Takes units; returns the units in use with them. O(1).
    pub(super) fn take(&mut self, key: u32, units: u64) -> u64 {
        let in_use = &mut self.in_use[key as usize];
        *in_use = in_use.checked_add(units).expect("the units in use overflow u64");
        *in_use
    }

    /// Gives units back; returns the units still in use. O(1).
    pub(super) fn release(&mut self, key: u32, units: u64) -> u64 {
        let in_use = &mut self.in_use[key as usize];
        assert!(*in_use >= units, "{units} units to release, but {in_use} are held");
        *in_use -= units;
        *in_use
    }

    /// Units in use. O(1).
    pub(super) fn used(&self, key: u32) -> u64 {
        self.in_use[key as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_is_held_blocks_and_takes_nothing_away() {
        let mut held = Held::new(1);
        held.take(0, 5);
        assert_eq!(held.ready(Time::ZERO, 0, 1, 3), None);
        assert_eq!(held.release(0, 2), 3);
        assert_eq!(held.ready(Time::ZERO, 0, 1, 3), None);
        assert_eq!(held.release(0, 1), 2);
        assert_eq!(held.ready(Time::ZERO, 0, 1, 3), Some(Time::ZERO));
    }

    #[test]
    #[should_panic(expected = "3 units to release, but 2 are held")]
    fn what_is_not_held_cannot_be_released() {
        let mut held = Held::new(1);
        held.take(0, 2);
        held.release(0, 3);
    }
}
