//! One meter: a mechanism, its limit and its tally.

use super::fixed_window::FixedWindow;
use super::held::Held;
use super::sliding_log::SlidingLog;
use super::token_bucket::TokenBucket;
use super::usage::{Tally, Usage};
use super::weighted_log::WeightedLog;
use super::{Algorithm, MeterSpec, RateSpec};
use crate::time::Time;

#[derive(Clone, Debug)]
enum Mechanism {
    Log(SlidingLog),
    Weighted(WeightedLog),
    Bucket(TokenBucket),
    Window(FixedWindow),
    Held(Held),
}

#[derive(Clone, Debug)]
pub(super) struct Meter {
    mechanism: Mechanism,
    limit: Option<u64>,
    /// Keys with a limit of their own, by key. Few, and empty in most meters.
    own: Vec<(u32, Option<u64>)>,
    /// Of all limits to come.
    most: u64,
    /// Every claim is one unit.
    single: bool,
    counts_refused: bool,
    tally: Tally,
}

impl Meter {
    pub(super) fn new(spec: &MeterSpec, keys: u32) -> Self {
        let tally = Tally::new(keys);
        let rate = match spec {
            MeterSpec::Rate(rate) => rate,
            &MeterSpec::Held { limit } => {
                let mechanism = Mechanism::Held(Held::new(keys));
                return Meter {
                    mechanism,
                    limit,
                    own: Vec::new(),
                    most: u64::MAX,
                    single: false,
                    counts_refused: false,
                    tally,
                };
            }
        };
        let &RateSpec { limit, most, window, algorithm, burst, weighted, counts_refused } = rate;
        assert!(!window.is_zero(), "a limit of {limit:?} in a window of no length");
        assert!(limit.is_none_or(|limit| limit <= most), "limit {limit:?}, but {most} at most");
        let mechanism = match algorithm {
            Algorithm::SlidingLog if weighted => Mechanism::Weighted(WeightedLog::new(window, most, keys)),
            Algorithm::SlidingLog => Mechanism::Log(SlidingLog::new(window, most, keys)),
            Algorithm::TokenBucket => Mechanism::Bucket(TokenBucket::new(window, burst, limit, keys)),
            Algorithm::FixedWindow => Mechanism::Window(FixedWindow::new(window, keys)),
        };
        Meter { mechanism, limit, own: Vec::new(), most, single: !weighted, counts_refused, tally }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// The limit of one key. O(log keys with a limit of their own).
    #[inline]
    pub(super) fn limit_of(&self, key: u32) -> Option<u64> {
        if self.own.is_empty() {
            return self.limit;
        }
        self.own.binary_search_by_key(&key, |own| own.0).map_or(self.limit, |at| self.own[at].1)
    }

    /// The first instant from `now` on at which `units` fit; None when time alone will not bring it.
    #[inline]
    pub(super) fn ready(&self, now: Time, key: u32, units: u64) -> Option<Time> {
        let Some(limit) = self.limit_of(key) else { return Some(now) };
        match &self.mechanism {
            Mechanism::Log(log) => log.ready(now, key, units, limit),
            Mechanism::Weighted(log) => log.ready(now, key, units, limit),
            Mechanism::Bucket(bucket) => bucket.ready(now, key, units),
            Mechanism::Window(window) => window.ready(now, key, units, limit),
            Mechanism::Held(held) => held.ready(now, key, units, limit),
        }
    }

    /// Whether `claimed` units fit, and `before` units of the same set.
    #[inline]
    pub(super) fn admits(&mut self, now: Time, key: u32, claimed: u64, before: u64) -> bool {
        assert!(claimed == 1 || !self.single, "a claim of {claimed} units on a meter that counts claims");
        if let Mechanism::Weighted(log) = &mut self.mechanism {
            // A refusal walks from the oldest entry: it must not walk over what has left again and again.
            log.forget(now, key);
        }
        self.ready(now, key, before.saturating_add(claimed)) == Some(now)
    }

    #[inline]
    pub(super) fn take(&mut self, now: Time, key: u32, units: u64) {
        self.tally.admitted();
        let level = match &mut self.mechanism {
            Mechanism::Bucket(bucket) => bucket.take(now, key, units),
            _ => self.count(now, key, units),
        };
        self.note(now, key, level);
    }

    /// A claim whose set was refused, by this claim or another.
    pub(super) fn refused(&mut self, now: Time, key: u32, units: u64) {
        self.tally.in_vain();
        if self.counts_refused {
            let level = match &mut self.mechanism {
                Mechanism::Bucket(bucket) => bucket.drain(now, key, units),
                _ => self.count(now, key, units),
            };
            self.note(now, key, level);
        } else if !self.tally.has_used(key) {
            self.tally.blocked(now, key, self.ready(now, key, 1));
        }
    }

    /// This claim was the first of its set to refuse.
    pub(super) fn reported(&mut self, now: Time) {
        self.tally.refused(now);
    }

    /// Takes units by any mechanism but the bucket; returns the units in use with them.
    #[inline]
    fn count(&mut self, now: Time, key: u32, units: u64) -> u128 {
        u128::from(match &mut self.mechanism {
            Mechanism::Log(log) => log.take(now, key),
            Mechanism::Weighted(log) => log.take(now, key, units),
            Mechanism::Bucket(_) => unreachable!("a bucket's level is no count"),
            Mechanism::Window(window) => window.take(now, key, units),
            Mechanism::Held(held) => held.take(key, units),
        })
    }

    pub(super) fn release(&mut self, now: Time, key: u32, units: u64) {
        let Mechanism::Held(held) = &mut self.mechanism else {
            panic!("{units} units to release on a meter of a rate: they leave by themselves");
        };
        let level = u128::from(held.release(key, units));
        self.note(now, key, level);
    }

    pub(super) fn settle(&mut self, now: Time, key: u32, entry: u64, reserved: u64, actual: u64) {
        assert!(!self.single, "{reserved} units to settle as {actual} on a meter that counts claims");
        assert!(entry <= now.as_nanos(), "a claim of {entry} ns to settle at {now}");
        let level = match &mut self.mechanism {
            Mechanism::Log(_) => unreachable!("counts claims"),
            Mechanism::Weighted(log) => u128::from(log.settle(now, key, entry, reserved, actual)),
            Mechanism::Bucket(bucket) => bucket.settle(now, key, reserved, actual),
            Mechanism::Window(window) => u128::from(window.settle(now, key, entry, reserved, actual)),
            Mechanism::Held(_) => panic!("{reserved} held units to settle as {actual}: they are released"),
        };
        self.note(now, key, level);
    }

    #[inline]
    fn note(&mut self, now: Time, key: u32, level: u128) {
        self.tally.level(level, self.limit_of(key));
        self.tally.blocked(now, key, self.ready(now, key, 1));
    }

    pub(super) fn set_limit(&mut self, now: Time, limit: Option<u64>) {
        assert!(limit.is_none_or(|limit| limit <= self.most), "limit {limit:?}, but {} at most", self.most);
        self.limit = limit;
        self.own.clear();
        if let Mechanism::Bucket(bucket) = &mut self.mechanism {
            bucket.set_rate(now, limit);
        }
        for key in 0..self.tally.keys() {
            if self.tally.has_used(key) {
                self.tally.blocked(now, key, self.ready(now, key, 1));
            }
        }
    }

    pub(super) fn set_limit_of(&mut self, now: Time, key: u32, limit: Option<u64>) {
        assert!(limit.is_none_or(|limit| limit <= self.most), "limit {limit:?}, but {} at most", self.most);
        assert!(!matches!(self.mechanism, Mechanism::Bucket(_)), "all buckets of a meter refill at one pace");
        match self.own.binary_search_by_key(&key, |own| own.0) {
            Ok(at) => self.own[at].1 = limit,
            Err(at) => self.own.insert(at, (key, limit)),
        }
        if self.tally.has_used(key) {
            self.tally.blocked(now, key, self.ready(now, key, 1));
        }
    }

    pub(super) fn used(&self, now: Time, key: u32) -> u64 {
        match &self.mechanism {
            Mechanism::Log(log) => log.used(now, key),
            Mechanism::Weighted(log) => log.used(now, key),
            Mechanism::Bucket(bucket) => bucket.units(bucket.missing(now, key)),
            Mechanism::Window(window) => window.used(now, key),
            Mechanism::Held(held) => held.used(key),
        }
    }

    pub(super) fn usage(&self, until: Time) -> Usage {
        self.tally.usage(until, |level| match &self.mechanism {
            Mechanism::Bucket(bucket) => bucket.units(level),
            _ => level as u64,
        })
    }
}
