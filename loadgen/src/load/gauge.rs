//! Numbers of a run while it runs, for whoever watches: the terminal, the rules that give a run up.

use super::safety::Look;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters and the latest look. Shared between tasks.
#[derive(Debug)]
pub struct Gauge {
    in_flight: AtomicU64,
    in_flight_peak: AtomicU64,
    interval: Mutex<Interval>,
    latest: Mutex<Snapshot>,
}

/// What the present second has seen so far.
#[derive(Debug)]
struct Interval {
    e2e: Histogram<u64>,
    ttft: Histogram<u64>,
    lag: Histogram<u64>,
    sent: u64,
    over: u64,
    refused: u64,
    failed: u64,
    statuses_429: u64,
}

/// A look at a run. Latencies in nanoseconds, of the second before the look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Time of the block, nanoseconds.
    pub at_ns: u64,
    /// Number of the block, from 0.
    pub block: u32,
    /// Blocks there are.
    pub blocks: u32,
    /// Requests sent in a second.
    pub sent_per_s: f64,
    /// Requests that were over in a second.
    pub over_per_s: f64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Median and 99th percentile from the schedule to the end.
    pub e2e_ns: (u64, u64),
    /// Median and 99th percentile from the schedule to the first token.
    pub ttft_ns: (u64, u64),
    /// Median and 99th percentile of the lag.
    pub lag_ns: (u64, u64),
    /// Answers with status 429 so far.
    pub statuses_429: u64,
    /// Requests turned away so far.
    pub refused: u64,
    /// Requests that went wrong so far.
    pub failed: u64,
    /// Requests sent so far.
    pub sent: u64,
}

/// One attempt, as those who watch see it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Glance {
    pub lag_ns: Option<u64>,
    pub e2e_ns: u64,
    pub ttft_ns: Option<u64>,
    pub completed: bool,
    pub refused: bool,
    pub failed: bool,
    pub status: u16,
}

/// A histogram for looks: two digits do.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 42, 2).expect("the bounds of a histogram are constants")
}

impl Default for Gauge {
    fn default() -> Self {
        let interval = Interval {
            e2e: histogram(),
            ttft: histogram(),
            lag: histogram(),
            sent: 0,
            over: 0,
            refused: 0,
            failed: 0,
            statuses_429: 0,
        };
        Gauge {
            in_flight: AtomicU64::new(0),
            in_flight_peak: AtomicU64::new(0),
            interval: Mutex::new(interval),
            latest: Mutex::default(),
        }
    }
}

impl Gauge {
    /// Requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Most requests in flight at once.
    pub fn in_flight_peak(&self) -> u64 {
        self.in_flight_peak.load(Ordering::Relaxed)
    }

    /// An attempt begins; it is over when what comes back is dropped.
    pub(super) fn enter(&self) -> InFlight<'_> {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight_peak.fetch_max(now, Ordering::Relaxed);
        InFlight(self)
    }

    /// The latest look.
    pub fn snapshot(&self) -> Snapshot {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in attempts that are over.
    pub(super) fn see(&self, glances: &[Glance]) {
        let mut interval = self.interval.lock().unwrap_or_else(PoisonError::into_inner);
        for glance in glances {
            interval.sent += 1;
            interval.over += 1;
            interval.refused += u64::from(glance.refused);
            interval.failed += u64::from(glance.failed);
            interval.statuses_429 += u64::from(glance.status == 429);
            if let Some(lag) = glance.lag_ns {
                interval.lag.saturating_record(lag.max(1));
            }
            if glance.completed {
                interval.e2e.saturating_record(glance.e2e_ns.max(1));
                if let Some(ttft) = glance.ttft_ns {
                    interval.ttft.saturating_record(ttft.max(1));
                }
            }
        }
    }

    /// Ends the present interval, `seconds` long, and begins another one.
    pub(super) fn look(&self, at_ns: u64, (block, blocks): (u32, u32), seconds: f64) -> Look {
        let mut interval = self.interval.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let two = |from: &Histogram<u64>| (from.value_at_quantile(0.5), from.value_at_quantile(0.99));
        let before = *latest;
        *latest = Snapshot {
            at_ns,
            block,
            blocks,
            sent_per_s: interval.sent as f64 / seconds,
            over_per_s: interval.over as f64 / seconds,
            in_flight: self.in_flight(),
            e2e_ns: two(&interval.e2e),
            ttft_ns: two(&interval.ttft),
            lag_ns: two(&interval.lag),
            statuses_429: before.statuses_429 + interval.statuses_429,
            refused: before.refused + interval.refused,
            failed: before.failed + interval.failed,
            sent: before.sent + interval.sent,
        };
        let look = Look {
            over: interval.over,
            failed: interval.failed,
            lag_p99_ns: latest.lag_ns.1,
            sent: interval.sent,
        };
        interval.e2e.reset();
        interval.ttft.reset();
        interval.lag.reset();
        (interval.sent, interval.over, interval.refused, interval.failed, interval.statuses_429) =
            (0, 0, 0, 0, 0);
        look
    }
}

/// An attempt in flight.
#[derive(Debug)]
pub(super) struct InFlight<'g>(&'g Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
