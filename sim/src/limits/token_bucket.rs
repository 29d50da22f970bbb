//! A token bucket: starts full with `burst` units, refills continuously by `limit` units a window.
//!
//! It is kept as the generic cell rate algorithm does (ITU-T I.371, appendix I; there in cells and intervals): one
//! instant for each key at which the bucket will be full again. Here that instant is on the clock of the refill,
//! which counts unit-nanoseconds and runs `limit` of them a nanosecond, while a unit costs `window` of them. So nothing
//! is ever divided to decide (300,000 a second is an interval of 3,333.3 ns), and a change of the limit changes the
//! clock's pace from then on and leaves what is missing exactly as it is.

use crate::time::{Span, Time};

/// Highest limit and capacity, in units: products with a `u64` of nanoseconds and their sums stay inside `u128`.
pub(super) const MOST_UNITS: u64 = 1 << 62;

#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    window: u128,
    burst: u64,
    /// None: there is no limit, the bucket is full at any time.
    rate: Option<u64>,
    /// The refill clock read `refilled` at `since`, and runs at `rate` from there.
    since: Time,
    refilled: u128,
    /// When each key is full again, on the refill clock; and the latest of them.
    full: Vec<u128>,
    latest: u128,
}

impl TokenBucket {
    pub(super) fn new(window: Span, burst: u64, rate: Option<u64>, keys: u32) -> Self {
        let most = burst.max(rate.unwrap_or(0));
        assert!(burst >= 1 && most <= MOST_UNITS, "burst {burst} and limit {rate:?}, at most {MOST_UNITS}");
        TokenBucket {
            window: u128::from(window.as_nanos()),
            burst,
            rate,
            since: Time::ZERO,
            refilled: 0,
            full: vec![0; keys as usize],
            latest: 0,
        }
    }

    /// The refill clock at `now`.
    fn clock(&self, now: Time) -> u128 {
        let pace = self.rate.unwrap_or(0);
        self.refilled + u128::from((now - self.since).as_nanos()) * u128::from(pace)
    }

    /// Of a full bucket, in unit-nanoseconds.
    fn capacity(&self) -> u128 {
        u128::from(self.burst) * self.window
    }

    fn cost(&self, units: u64) -> u128 {
        u128::from(units) * self.window
    }

    /// The first instant from `now` on at which the bucket holds `units`. O(1); divides only when that is later.
    pub(super) fn ready(&self, now: Time, key: u32, units: u64) -> Option<Time> {
        let Some(rate) = self.rate else { return Some(now) };
        let spare = self.capacity().checked_sub(self.cost(units))?;
        let clock = self.clock(now);
        let full = self.full[key as usize];
        if full <= clock + spare {
            return Some(now);
        }
        let wait = (full - spare - clock).div_ceil(u128::from((rate > 0).then_some(rate)?));
        let at = now.as_nanos().checked_add(u64::try_from(wait).ok()?)?;
        Some(Time::from_nanos(at))
    }

    /// Takes units, below empty if need be; returns what is [missing](Self::missing) then. O(1).
    pub(super) fn take(&mut self, now: Time, key: u32, units: u64) -> u128 {
        self.owe(now, key, self.cost(units))
    }

    /// Takes what is left of `units`, never below empty. O(1).
    pub(super) fn drain(&mut self, now: Time, key: u32, units: u64) -> u128 {
        let left = self.capacity().saturating_sub(self.missing(now, key));
        self.owe(now, key, self.cost(units).min(left))
    }

    /// Gives units back, to full at most, or takes more. O(1).
    pub(super) fn settle(&mut self, now: Time, key: u32, reserved: u64, actual: u64) -> u128 {
        if actual >= reserved {
            return self.take(now, key, actual - reserved);
        }
        let full = &mut self.full[key as usize];
        *full = full.saturating_sub(u128::from(reserved - actual) * self.window);
        self.missing(now, key)
    }

    fn owe(&mut self, now: Time, key: u32, cost: u128) -> u128 {
        if self.rate.is_none() {
            return 0;
        }
        let clock = self.clock(now);
        let full = &mut self.full[key as usize];
        *full = clock.max(*full).checked_add(cost).expect("the units in use overflow");
        self.latest = self.latest.max(*full);
        *full - clock
    }

    /// What is missing to a full bucket, in unit-nanoseconds.
    pub(super) fn missing(&self, now: Time, key: u32) -> u128 {
        self.full[key as usize].saturating_sub(self.clock(now))
    }

    /// Whole units for an amount in unit-nanoseconds, rounded up.
    pub(super) fn units(&self, amount: u128) -> u64 {
        u64::try_from(amount.div_ceil(self.window)).unwrap_or(u64::MAX)
    }

    /// Refills at another pace from `now` on, with what is in the buckets; without a limit they are full at once. O(1).
    pub(super) fn set_rate(&mut self, now: Time, rate: Option<u64>) {
        assert!(rate.unwrap_or(0) <= MOST_UNITS, "limit {rate:?}, at most {MOST_UNITS}");
        self.refilled = self.clock(now);
        self.since = now;
        self.rate = rate;
        if rate.is_none() {
            self.refilled = self.refilled.max(self.latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn an_interval_that_is_no_whole_nanosecond_is_not_rounded() {
        let mut bucket = TokenBucket::new(Span::from_secs(1), 1, Some(300_000), 1);
        let mut now = Time::ZERO;
        let mut admitted = 0;
        while now < ns(1_000_000_000) {
            bucket.take(now, 0, 1);
            admitted += 1;
            now = bucket.ready(now, 0, 1).unwrap();
        }
        // Each waits for a whole nanosecond, so only every third may be on time: 3,334 + 3,333 + 3,333 would need
        // credit for the wait, which a bucket of one unit has no room for.
        assert_eq!(admitted, 1_000_000_000_u64.div_ceil(3_334));
        let mut bucket = TokenBucket::new(Span::from_secs(1), 2, Some(300_000), 1);
        let (mut now, mut admitted) = (Time::ZERO, 0);
        while now < ns(1_000_000_000) {
            bucket.take(now, 0, 1);
            admitted += 1;
            now = bucket.ready(now, 0, 1).unwrap();
        }
        assert_eq!(admitted, 300_001, "with room for the credit: the burst and the rate, exactly");
    }

    #[test]
    fn another_rate_leaves_the_fill_and_changes_the_pace() {
        let mut bucket = TokenBucket::new(Span::from_nanos(90), 10, Some(30), 1);
        bucket.take(ns(0), 0, 10);
        bucket.set_rate(ns(10), Some(3));
        let missing = |bucket: &TokenBucket, now| bucket.units(bucket.missing(ns(now), 0));
        // 10 ns at a third of a unit each leave 6 2/3 missing.
        assert_eq!(missing(&bucket, 10), 7);
        assert_eq!(bucket.ready(ns(10), 0, 4), Some(ns(30)));
        assert_eq!(bucket.ready(ns(10), 0, 3), Some(ns(10)));
        bucket.set_rate(ns(40), Some(0));
        assert_eq!(bucket.ready(ns(40), 0, 5), None);
        assert_eq!(bucket.ready(ns(40), 0, 4), Some(ns(40)), "what is in the bucket can be taken at rate 0");
        bucket.set_rate(ns(50), None);
        assert_eq!((missing(&bucket, 50), bucket.ready(ns(50), 0, 99)), (0, Some(ns(50))));
        bucket.set_rate(ns(60), Some(3));
        assert_eq!(bucket.ready(ns(60), 0, 10), Some(ns(60)), "full after a time without limit");
    }
}
