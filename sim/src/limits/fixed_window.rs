//! A fixed window: units are counted from each multiple of the window to the next, then the count is zero again.
//!
//! So up to twice the limit fits into a window's length across an edge.

use crate::time::{Span, Time};

/// The count is of the window that ends at `ends`; a key that was never used is in none.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    ends: u64,
    units: u64,
}

#[derive(Clone, Debug)]
pub(super) struct FixedWindow {
    window: u64,
    keys: Vec<Key>,
}

impl FixedWindow {
    pub(super) fn new(window: Span, keys: u32) -> Self {
        FixedWindow { window: window.as_nanos(), keys: vec![Key::default(); keys as usize] }
    }

    /// The first instant from `now` on at which `units` fit below `limit`. O(1).
    pub(super) fn ready(&self, now: Time, key: u32, units: u64, limit: u64) -> Option<Time> {
        let others = limit.checked_sub(units)?;
        if self.used(now, key) <= others {
            return Some(now);
        }
        let ends = self.keys[key as usize].ends;
        // The last window does not end within time.
        (ends < u64::MAX).then_some(Time::from_nanos(ends))
    }

    /// Takes units; returns the units in use with them. O(1), divides once a window.
    pub(super) fn take(&mut self, now: Time, key: u32, units: u64) -> u64 {
        let window = self.window;
        let key = &mut self.keys[key as usize];
        if now.as_nanos() >= key.ends {
            let ends = (now.as_nanos() / window).saturating_add(1).saturating_mul(window);
            *key = Key { ends, units: 0 };
        }
        key.units = key.units.checked_add(units).expect("the units in use overflow u64");
        key.units
    }

    /// Units in the window of `now`. O(1).
    pub(super) fn used(&self, now: Time, key: u32) -> u64 {
        let key = self.keys[key as usize];
        if now.as_nanos() < key.ends { key.units } else { 0 }
    }

    /// Makes `reserved` of the units taken at `at` into `actual`; returns the units in use then. O(1).
    pub(super) fn settle(&mut self, now: Time, key: u32, at: u64, reserved: u64, actual: u64) -> u64 {
        if at / self.window == now.as_nanos() / self.window {
            let units = &mut self.keys[key as usize].units;
            assert!(*units >= reserved, "{reserved} units to settle, but {units} were taken");
            *units = (*units - reserved).checked_add(actual).expect("the units in use overflow u64");
        }
        self.used(now, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn windows_are_aligned_at_multiples_of_their_length() {
        let mut window = FixedWindow::new(Span::from_nanos(60), 1);
        window.take(ns(59), 0, 3);
        assert_eq!((window.used(ns(59), 0), window.used(ns(60), 0)), (3, 0));
        assert_eq!(window.ready(ns(59), 0, 1, 3), Some(ns(60)));
        assert_eq!(window.take(ns(130), 0, 2), 2);
        assert_eq!(window.ready(ns(131), 0, 2, 3), Some(ns(180)));
        assert_eq!(window.ready(ns(131), 0, 4, 3), None);
    }

    #[test]
    fn a_correction_counts_only_in_the_window_of_its_claim() {
        let mut window = FixedWindow::new(Span::from_nanos(60), 1);
        window.take(ns(10), 0, 30);
        assert_eq!(window.settle(ns(59), 0, 10, 30, 5), 5);
        window.take(ns(60), 0, 7);
        assert_eq!(window.settle(ns(61), 0, 10, 5, 0), 7);
    }
}
