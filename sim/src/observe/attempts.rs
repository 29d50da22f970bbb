//! Attempts of workloads whose clients may try again: what the gateway met, beside the requests that clients meant.
//!
//! A *request* is what a client wants, an *attempt* what reaches the gateway. Both are counted, each balancing by
//! itself. Workloads with plain clients have none of this: their only attempt is the request.

use crate::request::{Finished, Outcome, Settled};
use crate::time::{Span, Time};

/// Attempts of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Attempts that reached the gateway inside the counted window.
    pub offered: u64,
    /// How they ended, by [`Outcome`]; sums to `offered`.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Attempts of counted requests, whenever they came: at least one for each request.
    pub of_requests: u64,
    /// Those of them that were hedges.
    pub hedges: u64,
    /// Output tokens of counted requests that their clients had no use for.
    pub wasted_tokens: u64,
    /// Bin by bin, from the start of the scenario.
    pub bins: Vec<ClientBin>,
    width: u64,
}

/// One bin, summed over replications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientBin {
    /// Requests whose first attempt reached the gateway.
    pub requests: u64,
    /// Attempts that reached the gateway.
    pub attempts: u64,
    /// Requests that were completed.
    pub completed: u64,
}

impl AttemptRecord {
    /// No attempts yet; room for the bins of `[0, until)`. `width` must not be zero.
    pub fn new(width: Span, until: Span) -> Self {
        let width = width.as_nanos();
        assert!(width > 0, "a timeline bin cannot be empty");
        AttemptRecord {
            offered: 0,
            outcomes: [0; Outcome::ALL.len()],
            of_requests: 0,
            hedges: 0,
            wasted_tokens: 0,
            bins: vec![ClientBin::default(); until.as_nanos().div_ceil(width) as usize],
            width,
        }
    }

    /// Width of a bin.
    pub fn width(&self) -> Span {
        Span::from_nanos(self.width)
    }

    /// How many attempts ended as `outcome`.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Bin `index`, made if it is not there yet.
    pub(super) fn bin(&mut self, index: usize) -> &mut ClientBin {
        if index >= self.bins.len() {
            self.bins.resize(index + 1, ClientBin::default());
        }
        &mut self.bins[index]
    }

    pub(super) fn bin_at(&mut self, at: Time) -> &mut ClientBin {
        self.bin((at.as_nanos() / self.width) as usize)
    }

    /// Counts a request that arrived inside the counted window.
    pub(super) fn count(&mut self, settled: &Settled) {
        self.of_requests += u64::from(settled.attempts);
        self.hedges += u64::from(settled.hedges);
        self.wasted_tokens += settled.wasted_tokens;
    }

    /// Adds another replication of the same workload.
    pub(super) fn merge(&mut self, other: &AttemptRecord) {
        assert_eq!(self.width, other.width, "timelines of different bin widths cannot be merged");
        self.offered += other.offered;
        for (mine, theirs) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *mine += theirs;
        }
        self.of_requests += other.of_requests;
        self.hedges += other.hedges;
        self.wasted_tokens += other.wasted_tokens;
        if other.bins.len() > self.bins.len() {
            self.bins.resize(other.bins.len(), ClientBin::default());
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            mine.requests += theirs.requests;
            mine.attempts += theirs.attempts;
            mine.completed += theirs.completed;
        }
    }
}

/// What must balance between attempts and requests of a workload over the whole run, warm-up included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    /// Attempts that were told to be over.
    over: u64,
    /// Attempts that settled requests say they had.
    settled: u64,
    /// Attempts number 0 that reached the gateway inside the counted window.
    firsts: u64,
}

impl Books {
    pub(super) fn attempt(&mut self, done: &Finished, counted: bool) {
        self.over += 1;
        self.firsts += u64::from(counted && done.attempt == 0);
    }

    pub(super) fn request(&mut self, settled: &Settled) {
        self.settled += u64::from(settled.attempts);
    }

    /// Panics when attempts or requests were told and are missing in the other account.
    pub(super) fn assert_balanced(&self, workload: &str, requests: u64) {
        assert_eq!(
            self.over, self.settled,
            "workload `{workload}`: attempts that ended and attempts of settled requests differ"
        );
        assert_eq!(
            self.firsts, requests,
            "workload `{workload}`: counted first attempts and settled requests differ"
        );
    }
}
