//! A latency histogram with fixed bounds, exact moments and an honest account of what lies outside them.
//!
//! Bounds are 1 us to 48 h at three significant digits, values are nanoseconds. What falls outside is counted apart
//! and shown, never squeezed into the first or last bucket. Sums are integers, so that merging is exact in any order.

use crate::observe::GapRun;
use crate::time::Span;
use hdrhistogram::Histogram;

/// Lowest value that is recorded: 1 us, in nanoseconds.
pub const LOWEST_NS: u64 = 1_000;
/// Highest value that is recorded: 48 h, in nanoseconds.
pub const HIGHEST_NS: u64 = 48 * 3600 * 1_000_000_000;
/// Significant decimal digits kept.
pub const DIGITS: u8 = 3;

/// An empty HdrHistogram with the bounds every latency in this project uses.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS)
        .expect("1 us..48 h at 3 digits are valid bounds")
}

/// Counts, quantiles and exact moments of a latency in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
    /// Values below [`LOWEST_NS`], not in the histogram.
    below: u64,
    /// Values above [`HIGHEST_NS`], not in the histogram.
    above: u64,
    /// All values, in and out of range.
    count: u64,
    /// Exact sum of all values, nanoseconds.
    sum: u128,
    /// Smallest value; `u64::MAX` when there is none.
    least: u64,
    /// Largest value; 0 when there is none.
    most: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty one. Allocates its buckets (about 310 KB) once; recording never allocates.
    pub fn new() -> Self {
        Latency {
            histogram: empty_histogram(),
            below: 0,
            above: 0,
            count: 0,
            sum: 0,
            least: u64::MAX,
            most: 0,
        }
    }

    /// Counts `count` times `value`. O(1), no allocation.
    #[inline]
    pub fn record(&mut self, value: Span, count: u64) {
        let ns = value.as_nanos();
        self.tally(ns, count);
        self.note(count, u128::from(ns) * u128::from(count), ns, ns);
    }

    /// Counts the gaps `from..until` of `run`, each as often as the run has sequences.
    ///
    /// `total` is the sum of those gaps. Same result as [`Latency::record`] gap by gap; O(number of buckets the
    /// gaps touch), because a step of a run is never shorter than the one before it.
    pub fn record_run(&mut self, run: &GapRun, from: u64, until: u64, total: Span) {
        debug_assert!(from < until && until <= run.steps, "gaps {from}..{until} of {}", run.steps);
        let times = u64::from(run.count);
        let (mut least, mut most) = (u64::MAX, 0);
        let mut i = from;
        if i == 0 {
            // The first gap may reach back beyond the run: it is not on the line.
            let ns = run.first.as_nanos();
            self.tally(ns, times);
            (least, most) = (ns, ns);
            i = 1;
        }
        if i < until {
            least = least.min(run.gap(i).as_nanos());
            most = most.max(run.gap(until - 1).as_nanos());
        }
        while i < until {
            let ns = run.gap(i).as_nanos();
            let same = if i + 1 == until { 1 } else { self.steps_alike(run, i, ns).min(until - i) };
            self.tally(ns, times * same);
            i += same;
        }
        self.note(times * (until - from), u128::from(total.as_nanos()) * u128::from(times), least, most);
    }

    /// How many steps from `i` on, whose length is `ns`, fall into the bucket of `ns`; at least 1.
    fn steps_alike(&self, run: &GapRun, i: u64, ns: u64) -> u64 {
        let line = &run.line;
        if line.b == 0 {
            return u64::MAX;
        }
        let last = if ns < LOWEST_NS {
            LOWEST_NS - 1
        } else if ns > HIGHEST_NS {
            return u64::MAX;
        } else {
            self.histogram.highest_equivalent(ns).min(HIGHEST_NS)
        };
        // Step j is in the bucket while floor((a + b*j) / q) <= last / quantum, that is a + b*j < limit.
        let quanta = last / (line.quantum_fs / 1_000_000) + 1;
        let Some(limit) = quanta.checked_mul(line.quantum_fs) else { return u64::MAX };
        (limit - 1 - line.a) / line.b + 1 - i
    }

    #[inline]
    fn tally(&mut self, ns: u64, count: u64) {
        if ns < LOWEST_NS {
            self.below += count;
        } else if ns > HIGHEST_NS {
            self.above += count;
        } else {
            self.histogram.record_n(ns, count).expect("values within the bounds have a bucket");
        }
    }

    #[inline]
    fn note(&mut self, count: u64, sum: u128, least: u64, most: u64) {
        self.count += count;
        self.sum += sum;
        self.least = self.least.min(least);
        self.most = self.most.max(most);
    }

    /// Adds everything `other` holds. Exact, in any order.
    pub fn merge(&mut self, other: &Latency) {
        self.histogram.add(&other.histogram).expect("both histograms have the same bounds");
        self.below += other.below;
        self.above += other.above;
        self.note(other.count, other.sum, other.least, other.most);
    }

    /// Values recorded, in and out of range.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Values shorter than 1 us, which have no bucket.
    pub fn below_range(&self) -> u64 {
        self.below
    }

    /// Values longer than 48 h, which have no bucket.
    pub fn above_range(&self) -> u64 {
        self.above
    }

    /// Exact sum of all values, nanoseconds.
    pub fn sum_ns(&self) -> u128 {
        self.sum
    }

    /// Mean in nanoseconds, from exact sums; `None` when empty.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Smallest value, exact.
    pub fn least(&self) -> Option<Span> {
        (self.count > 0).then(|| Span::from_nanos(self.least))
    }

    /// Largest value, exact.
    pub fn most(&self) -> Option<Span> {
        (self.count > 0).then(|| Span::from_nanos(self.most))
    }

    /// The `quantile` (in 0..=1) in nanoseconds: the upper edge of the bucket that holds it, within the exact least
    /// and most. `None` when empty.
    ///
    /// A quantile among the values below 1 us is reported as 1 us (or the largest value, when that is less), one
    /// among the values above 48 h as the largest value: never better than the truth for an upper bound.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        // One float down, so that 0.07 of 100 values is the 7th and not the 8th.
        let rank = (quantile.clamp(0.0, 1.0) * self.count as f64).next_down().ceil() as u64;
        let rank = rank.clamp(1, self.count);
        let within = self.histogram.len();
        let ns = if rank <= self.below {
            LOWEST_NS
        } else if rank > self.below + within {
            self.most
        } else {
            // Half a rank below the whole keeps the division on the near side of `rank`.
            let share = ((rank - self.below) as f64 - 0.5) / within as f64;
            self.histogram.value_at_quantile(share)
        };
        Some(ns.clamp(self.least, self.most))
    }

    /// The buckets, without what lies out of range.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}
