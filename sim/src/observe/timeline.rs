//! What happened to a pool bin by bin: flows, busy time, and the state at each bin's end.
//!
//! All fields are integer sums, so that the mean over replications is exact and does not depend on the order in
//! which they are merged.

use crate::observe::PoolSample;
use crate::time::{Span, Time};

/// One bin of a pool's timeline, summed over replications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// Attempts that reached the gateway: at the workload's only pool, or, where it may be served by several, at the one
    /// that served (or refused) it. For a pool that processes prompts for others: what they sent to it.
    pub offered: u64,
    /// Times that an attempt left the gateway's queue for a replica.
    pub admitted: u64,
    /// Attempts that completed; for a pool that processes prompts for others: prompts.
    pub completed: u64,
    /// Output tokens that came out.
    pub output_tokens: u64,
    /// Those of them that belong to batch requests.
    pub batch_tokens: u64,
    /// Replica (or server) time spent working, nanoseconds.
    pub busy_ns: u64,
    /// Replications that sampled this bin's end; the sums below are over those.
    pub samples: u64,
    /// Requests in the gateway's queue at the bin's end.
    pub gateway_queue: u64,
    /// Requests waiting on replicas at the bin's end.
    pub waiting: u64,
    /// Requests running at the bin's end.
    pub running: u64,
    /// KV blocks in use at the bin's end.
    pub kv_blocks_used: u64,
    /// KV blocks there were.
    pub kv_blocks_total: u64,
    /// Sequence slots or servers there were.
    pub slots_total: u64,
    /// Batch requests among those that wait on replicas or run at the bin's end.
    pub batch: u64,
}

impl Bin {
    fn add(&mut self, other: &Bin) {
        self.offered += other.offered;
        self.admitted += other.admitted;
        self.completed += other.completed;
        self.output_tokens += other.output_tokens;
        self.batch_tokens += other.batch_tokens;
        self.busy_ns += other.busy_ns;
        self.samples += other.samples;
        self.gateway_queue += other.gateway_queue;
        self.waiting += other.waiting;
        self.running += other.running;
        self.kv_blocks_used += other.kv_blocks_used;
        self.kv_blocks_total += other.kv_blocks_total;
        self.slots_total += other.slots_total;
        self.batch += other.batch;
    }

    /// Puts the state at the bin's end; a later sample of the same bin takes the place of an earlier one.
    fn sample(&mut self, state: &PoolSample) {
        self.samples = 1;
        self.gateway_queue = u64::from(state.gateway_queue);
        self.waiting = u64::from(state.waiting);
        self.running = u64::from(state.running);
        self.kv_blocks_used = state.kv_blocks_used;
        self.kv_blocks_total = state.kv_blocks_total;
        self.slots_total = state.slots_total;
        self.batch = u64::from(state.batch);
    }
}

/// The bins of one pool: bin `k` is `[k * width, (k + 1) * width)`, from the start of the scenario.
///
/// Bins go on after the horizon while requests drain. Grows as time passes (amortised O(1) a bin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    width: u64,
    bins: Vec<Bin>,
}

impl Timeline {
    /// An empty timeline with room for the bins of `[0, until)`. `width` must not be zero.
    pub fn new(width: Span, until: Span) -> Self {
        let width = width.as_nanos();
        assert!(width > 0, "a timeline bin cannot be empty");
        Timeline { width, bins: vec![Bin::default(); until.as_nanos().div_ceil(width) as usize] }
    }

    /// Width of a bin.
    pub fn width(&self) -> Span {
        Span::from_nanos(self.width)
    }

    /// The bins, from the start of the scenario.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Bin `index`, made if it is not there yet.
    #[inline]
    pub fn bin(&mut self, index: usize) -> &mut Bin {
        if index >= self.bins.len() {
            self.bins.resize(index + 1, Bin::default());
        }
        &mut self.bins[index]
    }

    /// Adds the time of `units` busy units in `[start, end)`, split exactly at the edges of bins; `hint` is the bin
    /// of `start`.
    pub fn busy(&mut self, start: Time, end: Time, units: u32, hint: usize) {
        let (mut from, until) = (start.as_nanos(), end.as_nanos());
        let mut index = hint;
        loop {
            let edge = (index as u64 + 1).saturating_mul(self.width).min(until);
            self.bin(index).busy_ns += (edge - from) * u64::from(units);
            if edge == until {
                return;
            }
            (from, index) = (edge, index + 1);
        }
    }

    /// Notes the state of the pool at `now`, the end of a bin or of the run.
    pub fn sample(&mut self, now: Time, state: &PoolSample) {
        // The state at an edge belongs to the bin that ends there.
        let index = now.as_nanos().saturating_sub(1) / self.width;
        self.bin(index as usize).sample(state);
    }

    /// Adds the bins of another replication. Exact, in any order.
    pub fn merge(&mut self, other: &Timeline) {
        assert_eq!(self.width, other.width, "timelines of different bin widths cannot be merged");
        if other.bins.len() > self.bins.len() {
            self.bins.resize(other.bins.len(), Bin::default());
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            mine.add(theirs);
        }
    }
}
