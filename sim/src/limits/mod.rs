//! Rate limits and quotas: the mechanisms, exact to the nanosecond, without anybody's names or numbers.
//!
//! A [`Meter`](MeterSpec) limits units for each of its keys (a tenant, an account, a model). An admission claims units
//! on several meters at once and gets all of them or none ([`Meters::admit`]). A claim of `n` units is admitted while
//! the units in use and `n` are at most the limit; what is in use depends on the mechanism:
//!
//! * **sliding log**: what was taken in `(now - window, now]`. No window of that length, wherever it lies, ever sees
//!   more admitted than the limit.
//! * **token bucket**: what is missing to a full bucket. A bucket holds `burst` units, starts full and refills
//!   continuously by `limit` a window; its bound is `burst`, so at a limit of 0 it still gives what it holds.
//! * **fixed window**: what was taken since the last multiple of the window.
//! * **held**: what was taken and not yet released.
//!
//! Without a limit everything is admitted. A log and a fixed window keep their history all the same and decide by it
//! once there is a limit; a bucket without a limit is full.
//!
//! A meter whose refused claims count ([`RateSpec::counts_refused`]) punishes whoever does not back off: on a sliding
//! log, a sender that offers more than the limit in every window is refused for as long as it goes on, because its own
//! refused claims fill the window; a bucket gives what is left to a refused claim and never holds more than came in
//! since; a fixed window forgives at its edge.

mod fixed_window;
mod held;
mod meter;
mod ring;
mod sliding_log;
#[cfg(test)]
mod tests;
mod token_bucket;
mod usage;
mod weighted_log;

pub use usage::Usage;

use crate::time::{Span, Time};
use meter::Meter;

/// How units in a window are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A window that ends now, unit by unit.
    SlidingLog,
    /// A bucket that refills continuously.
    TokenBucket,
    /// Windows aligned at multiples of their length.
    FixedWindow,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::SlidingLog, Algorithm::TokenBucket, Algorithm::FixedWindow];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::SlidingLog => "sliding-log",
            Algorithm::TokenBucket => "token-bucket",
            Algorithm::FixedWindow => "fixed-window",
        }
    }
}

/// A limit of units in any window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSpec {
    /// Units in a window, for a token bucket 2^62 at most; none admits everything.
    pub limit: Option<u64>,
    /// The highest limit it will ever be set to, at least [`limit`](Self::limit). Bounds the memory of a sliding log:
    /// only the last `most` counted units can matter. [`Meters::used`] and the peak saturate there, too.
    pub most: u64,
    /// Longer than zero.
    pub window: Span,
    /// How units are counted.
    pub algorithm: Algorithm,
    /// What a token bucket holds, 1 to 2^62 units; the others ignore it.
    pub burst: u64,
    /// Whether a claim is any number of units (a log takes 16 B an admission) or always one (8 B an admission).
    pub weighted: bool,
    /// Whether refused claims consume, too: all of their units, but never more than a bucket holds.
    pub counts_refused: bool,
}

/// What a meter limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterSpec {
    /// Units in time.
    Rate(RateSpec),
    /// Units held until they are released: permits of concurrency, counted quotas.
    Held {
        /// Units held at once; none admits everything.
        limit: Option<u64>,
    },
}

/// Units wanted on one key of one meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Index of the meter.
    pub meter: u16,
    /// Below the meter's number of keys.
    pub key: u32,
    /// 1 unless the meter is weighted or held.
    pub units: u64,
    /// Set by [`Meters::admit`]: what [`Meters::settle`] needs to find the claim again.
    pub entry: u64,
}

/// Why a set of claims was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Index of the first claim that refuses.
    pub claim: usize,
    /// Its limit.
    pub limit: u64,
    /// Units in use on its key before it, with those that earlier claims of the set want on the same key.
    pub current: u64,
    /// The first instant at which the whole set would be admitted if nothing else happened; none when time alone does
    /// not bring it, because a held meter refuses or a claim is greater than its limit (for a bucket: its burst).
    pub retry_at: Option<Time>,
}

/// Meters that are asked together. Instants never decrease from one operation to the next (asserted), and indices of
/// meters and keys are in range (a panic otherwise).
#[derive(Clone, Debug)]
pub struct Meters {
    meters: Vec<Meter>,
    now: Time,
}

impl Meters {
    /// Meters, each with its number of keys, all unused. Panics when a specification breaks the ranges of its fields.
    ///
    /// A key costs 16 to 40 bytes before its first claim, and no allocation.
    pub fn new(specs: Vec<(MeterSpec, u32)>) -> Self {
        let meters = specs.iter().map(|(spec, keys)| Meter::new(spec, *keys)).collect();
        Meters { meters, now: Time::ZERO }
    }

    /// Evaluates all claims and takes the units of all of them or of none.
    ///
    /// A key may be claimed more than once in a set; its claims count together. After a refusal every counter is as
    /// before, but for the meters whose refused claims count: those take theirs, whichever claim refused.
    ///
    /// O(claims) amortised, plus the claims' comparison with each other. Only a weighted sliding log that refuses, or
    /// is at its limit or above, walks over the entries that must leave before there is room.
    pub fn admit(&mut self, now: Time, claims: &mut [Claim]) -> Result<(), Denied> {
        self.advance(now);
        for (i, claim) in claims.iter().enumerate() {
            let before = units_before(claims, i);
            if !self.meters[usize::from(claim.meter)].admits(now, claim.key, claim.units, before) {
                return Err(self.refuse(now, claims, i));
            }
        }
        for claim in claims {
            self.meters[usize::from(claim.meter)].take(now, claim.key, claim.units);
            claim.entry = now.as_nanos();
        }
        Ok(())
    }

    /// As [`Meters::admit`] of a set that something else refuses: says which claim refuses it, too, if one does, and
    /// takes no units but where refused claims count.
    pub fn try_in_vain(&mut self, now: Time, claims: &[Claim]) -> Result<(), Denied> {
        self.advance(now);
        for (i, claim) in claims.iter().enumerate() {
            let before = units_before(claims, i);
            if !self.meters[usize::from(claim.meter)].admits(now, claim.key, claim.units, before) {
                return Err(self.refuse(now, claims, i));
            }
        }
        for claim in claims {
            self.meters[usize::from(claim.meter)].refused(now, claim.key, claim.units);
        }
        Ok(())
    }

    fn refuse(&mut self, now: Time, claims: &[Claim], at: usize) -> Denied {
        let Claim { meter, key, .. } = claims[at];
        let first = &mut self.meters[usize::from(meter)];
        first.reported(now);
        let limit = first.limit_of(key).expect("without a limit everything is admitted");
        let current = first.used(now, key).saturating_add(units_before(claims, at));
        for claim in claims {
            self.meters[usize::from(claim.meter)].refused(now, claim.key, claim.units);
        }
        // After the refused claims were counted, because a retry finds them. Every mechanism only ever gets emptier
        // by itself, so the set fits from the latest of its claims' instants on.
        let retry_at = claims.iter().enumerate().try_fold(now, |latest, (i, claim)| {
            let units = units_before(claims, i).saturating_add(claim.units);
            Some(latest.max(self.meters[usize::from(claim.meter)].ready(now, claim.key, units)?))
        });
        Denied { claim: at, limit, current, retry_at }
    }

    /// Gives back units of a held meter; no more than are held. O(1).
    pub fn release(&mut self, now: Time, meter: u16, key: u32, units: u64) {
        self.advance(now);
        self.meters[usize::from(meter)].release(now, key, units);
    }

    /// Corrects the units of an admitted claim on a weighted rate to what was really used.
    ///
    /// `entry` is the claim's, `reserved` what it counts for until now. Fewer units are credited and effective at once;
    /// more are charged and may exceed the limit. No effect once the claim has left its window. A bucket has no window
    /// to leave: a credit fills it to the brim at most, a charge always counts. O(log entries) on a sliding log, else O(1).
    pub fn settle(&mut self, now: Time, meter: u16, key: u32, entry: u64, reserved: u64, actual: u64) {
        self.advance(now);
        self.meters[usize::from(meter)].settle(now, key, entry, reserved, actual);
    }

    /// Sets another limit, for a rate the specified `most` at most (asserted). What is in use stays in use: a limit
    /// below it blocks and removes nothing. A bucket keeps its burst and what it holds, exactly, and refills at the new
    /// pace. O(keys).
    pub fn set_limit(&mut self, now: Time, meter: u16, limit: Option<u64>) {
        self.advance(now);
        self.meters[usize::from(meter)].set_limit(now, limit);
    }

    /// Sets the limit of one key, which others of the meter do not share; [`Meters::set_limit`] takes it back. Not for
    /// token buckets (asserted): all buckets of a meter refill at one pace. O(keys with a limit of their own).
    pub fn set_limit_of(&mut self, now: Time, meter: u16, key: u32, limit: Option<u64>) {
        self.advance(now);
        self.meters[usize::from(meter)].set_limit_of(now, key, limit);
    }

    /// The limit of one key.
    pub fn limit_of(&self, meter: u16, key: u32) -> Option<u64> {
        self.meters[usize::from(meter)].limit_of(key)
    }

    /// The limit in force, where a key has none of its own.
    pub fn limit(&self, meter: u16) -> Option<u64> {
        self.meters[usize::from(meter)].limit()
    }

    /// Units that count against the limit at `now`, which is not before the last operation; a bucket's are rounded up.
    pub fn used(&self, now: Time, meter: u16, key: u32) -> u64 {
        assert!(now >= self.now, "units in use at {now}, after an operation at {}", self.now);
        self.meters[usize::from(meter)].used(now, key)
    }

    /// What a meter saw until an instant not before the last operation. O(keys).
    pub fn usage(&self, meter: u16, until: Time) -> Usage {
        assert!(until >= self.now, "usage until {until}, after an operation at {}", self.now);
        self.meters[usize::from(meter)].usage(until)
    }

    #[inline]
    fn advance(&mut self, now: Time) {
        assert!(now >= self.now, "an operation at {now}, after one at {}", self.now);
        self.now = now;
    }
}

/// Units that earlier claims of a set want on the key of the `i`-th.
#[inline]
fn units_before(claims: &[Claim], i: usize) -> u64 {
    let Claim { meter, key, .. } = claims[i];
    let same = claims[..i].iter().filter(|other| other.meter == meter && other.key == key);
    same.fold(0, |units, other| units.saturating_add(other.units))
}
