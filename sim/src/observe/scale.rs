//! How many replicas a pool had, when, and what became of them: integrals over the counted window, and bin by bin.
//!
//! Everything is an integer, so that merging replications is exact in any order. Nothing is done per request: the cost
//! is O(1) a change and O(1) a bin.

use super::{FaultFact, ScaleCause, ScaleChange};
use crate::time::{Span, Time};

/// Replicas of one pool over a run, or summed over merged ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScaleRecord {
    /// Time of replicas that serve (ready or draining) inside the counted window, nanoseconds.
    pub serving_ns: u128,
    /// Time of the GPUs that replicas have (ready, starting, draining or down) inside the counted window, nanoseconds.
    pub gpu_ns: u128,
    /// The part of `gpu_ns` that is paid by the hour: what exceeds the GPUs that are paid for all the time anyway.
    pub charged_ns: u128,
    /// Fewest and most replicas that served at once inside the counted window; `None` when it was never reached.
    pub range: Option<(u32, u32)>,
    /// Replicas that were added. This and the counters below are of the whole run, warm-up included.
    pub starts: u64,
    /// Replicas that were taken away, failures not included.
    pub stops: u64,
    /// Replicas that failed.
    pub failures: u64,
    /// Requests that were lost with them.
    pub lost: u64,
    /// Requests that went from them to other replicas.
    pub moved: u64,
    /// Changes after the start; 0 when the number of replicas never changed.
    pub changes: u64,
    /// Bin by bin, as the pool's timeline; ends with the run.
    pub bins: Vec<ScaleBin>,
}

/// One bin, summed over replications. States are those at the bin's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScaleBin {
    /// Time of replicas that serve, nanoseconds.
    pub serving_ns: u128,
    /// Replications that reached the bin's end (or ended in it).
    pub samples: u64,
    /// Replicas that serve and are to stay.
    pub ready: u64,
    /// Replicas that are starting.
    pub starting: u64,
    /// Replicas that are wanted.
    pub wanted: u64,
    /// Replicas that failed and are not back.
    pub down: u64,
}

impl ScaleRecord {
    /// Adds another replication (or several) of the same pool. Exact, in any order.
    pub fn merge(&mut self, other: &ScaleRecord) {
        self.serving_ns += other.serving_ns;
        self.gpu_ns += other.gpu_ns;
        self.charged_ns += other.charged_ns;
        self.range = match (self.range, other.range) {
            (Some(mine), Some(theirs)) => Some((mine.0.min(theirs.0), mine.1.max(theirs.1))),
            (mine, theirs) => mine.or(theirs),
        };
        self.starts += other.starts;
        self.stops += other.stops;
        self.failures += other.failures;
        self.lost += other.lost;
        self.moved += other.moved;
        self.changes += other.changes;
        if other.bins.len() > self.bins.len() {
            self.bins.resize(other.bins.len(), ScaleBin::default());
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            mine.serving_ns += theirs.serving_ns;
            mine.samples += theirs.samples;
            mine.ready += theirs.ready;
            mine.starting += theirs.starting;
            mine.wanted += theirs.wanted;
            mine.down += theirs.down;
        }
    }
}

/// What must be known of a pool to follow its replicas.
#[derive(Clone, Copy, Debug)]
pub struct ScaleRules {
    /// The counted window begins.
    pub warmup: Time,
    /// The counted window ends.
    pub horizon: Time,
    /// Width of a timeline bin, above zero.
    pub bin: Span,
    /// GPUs of a replica.
    pub gpus: u32,
    /// GPUs of the pool's machines that are paid for all the time; what replicas have beyond them is paid by the hour.
    pub paid_anyway: u64,
}

/// Follows the replicas of one pool through a run.
#[derive(Clone, Debug)]
pub struct ScaleTracker {
    rules: ScaleRules,
    record: ScaleRecord,
    state: ScaleChange,
    since: Time,
}

impl ScaleTracker {
    /// A pool with `initial` replicas that serve from the start, until something else is told.
    pub fn new(rules: ScaleRules, initial: u16) -> Self {
        assert!(!rules.bin.is_zero(), "a timeline bin cannot be empty");
        let state = ScaleChange {
            ready: initial,
            starting: 0,
            draining: 0,
            down: 0,
            wanted: initial,
            cause: ScaleCause::Start,
        };
        let bins = (rules.horizon - Time::ZERO).as_nanos().div_ceil(rules.bin.as_nanos()) as usize;
        let record = ScaleRecord { bins: Vec::with_capacity(bins), ..ScaleRecord::default() };
        ScaleTracker { rules, record, state, since: Time::ZERO }
    }

    /// The number of replicas is another one from `now` on.
    pub fn scaled(&mut self, now: Time, change: &ScaleChange) {
        self.advance(now);
        let (before, after) = (present(&self.state), present(change));
        match change.cause {
            ScaleCause::Start => {}
            // What failed and is replaced was counted as a failure.
            ScaleCause::Failure | ScaleCause::Repair => self.record.changes += 1,
            _ => {
                self.record.changes += 1;
                self.record.starts += u64::from(after.saturating_sub(before));
                self.record.stops += u64::from(before.saturating_sub(after));
            }
        }
        self.state = *change;
    }

    /// A replica failed, slowed down or came back.
    pub fn failed(&mut self, fault: &FaultFact) {
        self.record.failures += u64::from(!fault.over && fault.slow == 0);
        self.record.lost += u64::from(fault.lost);
        self.record.moved += u64::from(fault.moved);
    }

    /// The run ends at `ended`: what was found.
    pub fn finish(mut self, ended: Time) -> ScaleRecord {
        self.advance(ended);
        // As in the timeline, a run that ends inside a bin leaves its last state there.
        if !ended.as_nanos().is_multiple_of(self.rules.bin.as_nanos()) {
            self.sample((ended.as_nanos() / self.rules.bin.as_nanos()) as usize);
        }
        self.record
    }

    /// Accounts for the time up to `now`, in which nothing changed.
    fn advance(&mut self, now: Time) {
        let since = std::mem::replace(&mut self.since, now);
        assert!(now >= since, "a pool was told of {now} after {since}");
        let serving = u32::from(self.state.ready) + u32::from(self.state.draining);
        let ScaleRules { warmup, horizon, gpus, paid_anyway, .. } = self.rules;
        let inside = now.min(horizon).saturating_since(since.max(warmup));
        if !inside.is_zero() {
            let inside = u128::from(inside.as_nanos());
            let held = u64::from(present(&self.state)) * u64::from(gpus);
            self.record.serving_ns += inside * u128::from(serving);
            self.record.gpu_ns += inside * u128::from(held);
            self.record.charged_ns += inside * u128::from(held.saturating_sub(paid_anyway));
            let (least, most) = self.record.range.unwrap_or((serving, serving));
            self.record.range = Some((least.min(serving), most.max(serving)));
        }
        let width = self.rules.bin.as_nanos();
        let (mut from, until) = (since.as_nanos(), now.as_nanos());
        let mut index = (from / width) as usize;
        while from < until {
            let edge = (index as u64 + 1).saturating_mul(width);
            let to = edge.min(until);
            self.bin(index).serving_ns += u128::from(to - from) * u128::from(serving);
            if edge <= until {
                self.sample(index);
            }
            (from, index) = (to, index + 1);
        }
    }

    fn bin(&mut self, index: usize) -> &mut ScaleBin {
        if index >= self.record.bins.len() {
            self.record.bins.resize(index + 1, ScaleBin::default());
        }
        &mut self.record.bins[index]
    }

    /// Notes the state as that of the end of a bin.
    fn sample(&mut self, index: usize) {
        let state = self.state;
        let bin = self.bin(index);
        bin.samples = 1;
        bin.ready = state.ready.into();
        bin.starting = state.starting.into();
        bin.wanted = state.wanted.into();
        bin.down = state.down.into();
    }
}

/// Replicas that have GPUs.
fn present(state: &ScaleChange) -> u32 {
    [state.ready, state.starting, state.draining, state.down].into_iter().map(u32::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * S)
    }

    fn change(ready: u16, starting: u16, draining: u16, down: u16, cause: ScaleCause) -> ScaleChange {
        ScaleChange { ready, starting, draining, down, wanted: ready + starting, cause }
    }

    fn tracker(paid_anyway: u64) -> ScaleTracker {
        let rules =
            ScaleRules { warmup: at(10), horizon: at(100), bin: Span::from_secs(30), gpus: 4, paid_anyway };
        ScaleTracker::new(rules, 2)
    }

    /// Two replicas; a third begins at 20 and serves at 50; one fails at 80 and is repaired at 95, starting again; one
    /// drains from 98 and is gone at 105; the run ends at 115.
    fn history(mut tracker: ScaleTracker) -> ScaleRecord {
        tracker.scaled(at(0), &change(2, 0, 0, 0, ScaleCause::Start));
        tracker.scaled(at(20), &change(2, 1, 0, 0, ScaleCause::Decision));
        tracker.scaled(at(50), &change(3, 0, 0, 0, ScaleCause::Ready));
        let fault = FaultFact { pool: 0, replica: 1, over: false, slow: 0, lost: 5, moved: 2 };
        tracker.failed(&fault);
        tracker.scaled(at(80), &change(2, 0, 0, 1, ScaleCause::Failure));
        tracker.scaled(at(95), &change(2, 1, 0, 0, ScaleCause::Repair));
        tracker.failed(&FaultFact { over: true, lost: 0, moved: 0, ..fault });
        tracker.failed(&FaultFact { slow: 3_000, lost: 0, moved: 0, ..fault });
        tracker.scaled(at(98), &change(1, 1, 1, 0, ScaleCause::Decision));
        tracker.scaled(at(105), &change(1, 1, 0, 0, ScaleCause::Drained));
        tracker.finish(at(115))
    }

    #[test]
    fn replica_time_and_gpu_time_are_the_integrals_worked_by_hand() {
        let record = history(tracker(0));
        // Serving from 10 to 100: 2 until 50, 3 until 80, 2 (draining included) until 100.
        assert_eq!(record.serving_ns, u128::from(S) * (40 * 2 + 30 * 3 + 20 * 2));
        // Having GPUs: 2 until 20, then 3, whether they start, serve, drain or are down.
        assert_eq!(record.gpu_ns, u128::from(S) * 4 * (10 * 2 + 80 * 3));
        assert_eq!(record.charged_ns, record.gpu_ns);
        assert_eq!(record.range, Some((2, 3)));
        assert_eq!((record.starts, record.stops, record.failures), (1, 1, 1));
        assert_eq!((record.lost, record.moved, record.changes), (5, 2, 6));
    }

    #[test]
    fn only_gpus_beyond_those_paid_anyway_are_charged() {
        let record = history(tracker(8));
        assert_eq!(record.charged_ns, u128::from(S) * 80 * 4);
        assert_eq!(history(tracker(100)).charged_ns, 0);
    }

    #[test]
    fn bins_have_the_state_before_the_edge_and_the_last_one_that_of_the_end() {
        let record = history(tracker(0));
        let states: Vec<_> = record.bins.iter().map(|b| (b.ready, b.starting, b.down, b.samples)).collect();
        assert_eq!(states, [(2, 1, 0, 1), (3, 0, 0, 1), (2, 0, 1, 1), (1, 1, 0, 1)]);
        let serving: Vec<u128> = record.bins.iter().map(|bin| bin.serving_ns / u128::from(S)).collect();
        // 20 s of 2 and 10 of 3, all of 3 but from 80, 2 from there on, and 15 s of 2, then 1.
        assert_eq!(serving, [60, 20 * 2 + 10 * 3, 20 * 3 + 10 * 2, 15 * 2 + 10]);
    }

    #[test]
    fn a_change_at_an_edge_belongs_to_the_next_bin() {
        let mut tracker = tracker(0);
        tracker.scaled(at(30), &change(5, 0, 0, 0, ScaleCause::Decision));
        let record = tracker.finish(at(60));
        assert_eq!(record.bins.iter().map(|bin| bin.ready).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn a_pool_that_is_never_told_anything_keeps_its_initial_replicas() {
        let record = tracker(0).finish(at(100));
        assert_eq!((record.serving_ns, record.changes), (u128::from(S) * 180, 0));
        assert_eq!(record.bins.len(), 4);
    }

    #[test]
    fn merging_adds_sums_and_widens_the_range_in_any_order() {
        let (a, b) = (history(tracker(0)), tracker(0).finish(at(200)));
        let join = |a: &ScaleRecord, b: &ScaleRecord| {
            let mut sum = a.clone();
            sum.merge(b);
            sum
        };
        assert_eq!(join(&a, &b), join(&b, &a));
        assert_eq!(join(&a, &b).serving_ns, a.serving_ns + b.serving_ns);
        assert_eq!(join(&a, &b).bins.len(), 7);
        assert_eq!(join(&a, &b).bins[0].samples, 2);
    }
}
