//! `timeline.csv`: what happened to each pool, bin by bin, as the mean over replications.

use super::files::ResultsError;
use crate::observe::recording::Recording;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One bin of one pool; means over replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// The pool.
    pub pool: String,
    /// Start of the bin, seconds.
    pub start_s: f64,
    /// Attempts that reached the gateway in the bin: at the workload's only pool, or, where it may be served by several,
    /// at the one that served (or refused) it. For a pool that processes prompts for others: what they sent to it.
    pub offered: f64,
    /// Times that an attempt left the gateway's queue for a replica.
    pub admitted: f64,
    /// Attempts that completed.
    pub completed: f64,
    /// Output tokens that came out.
    pub output_tokens: f64,
    /// Busy time divided by the time of the replicas that serve (or of their servers).
    pub utilization: f64,
    /// Requests in the gateway's queue at the bin's end.
    pub gateway_queue: Option<f64>,
    /// Requests waiting on replicas at the bin's end.
    pub waiting: Option<f64>,
    /// Requests running at the bin's end.
    pub running: Option<f64>,
    /// Running requests divided by sequence slots (servers).
    pub batch_occupancy: Option<f64>,
    /// KV blocks in use divided by those there are.
    pub kv_occupancy: Option<f64>,
    /// Replicas that serve and are to stay, at the bin's end; this and the next over the replications that got so far.
    pub replicas_ready: Option<f64>,
    /// Replicas that are starting.
    pub replicas_starting: Option<f64>,
    /// Replicas that are wanted.
    pub replicas_wanted: Option<f64>,
    /// Replicas that failed and are not back.
    pub replicas_down: Option<f64>,
    /// Batch requests among those that wait on replicas or run at the bin's end.
    pub batch_requests: Option<f64>,
    /// Output tokens of batch requests among those that came out.
    pub batch_tokens: f64,
}

/// The rows of a recording, pool by pool in the scenario's order.
///
/// A replication that ended early counts as idle in later bins. Figures are rounded to nine digits behind the point.
pub fn timeline_rows(recording: &Recording) -> Vec<TimelineRow> {
    let runs = recording.replications.max(1);
    let mut rows = Vec::new();
    for pool in &recording.pools {
        let width = pool.timeline.width();
        for (index, bin) in pool.timeline.bins().iter().enumerate() {
            let mean = |sum: u64| rounded(sum as f64 / runs as f64);
            let state = |sum: u64| (bin.samples > 0).then(|| mean(sum));
            // Capacity does not change in a run: what the samples say holds for the idle replications too.
            let of = |part: u64, whole: u64| {
                (whole > 0).then(|| rounded(part as f64 / whole as f64 * (bin.samples as f64 / runs as f64)))
            };
            let scale = pool.scale.bins.get(index).copied().unwrap_or_default();
            // Replicas that never change are there in every bin, whether the run went on to it or not.
            let time = if pool.scale.changes == 0 {
                width.as_nanos() as f64 * (pool.replicas * pool.servers * runs) as f64
            } else {
                scale.serving_ns as f64 * pool.servers as f64
            };
            let replicas = |sum: u64| (scale.samples > 0).then(|| rounded(sum as f64 / scale.samples as f64));
            rows.push(TimelineRow {
                pool: pool.name.clone(),
                start_s: (width * index as u64).as_secs_f64(),
                offered: mean(bin.offered),
                admitted: mean(bin.admitted),
                completed: mean(bin.completed),
                output_tokens: mean(bin.output_tokens),
                utilization: if time > 0.0 { rounded(bin.busy_ns as f64 / time) } else { 0.0 },
                gateway_queue: state(bin.gateway_queue),
                waiting: state(bin.waiting),
                running: state(bin.running),
                batch_occupancy: of(bin.running, bin.slots_total),
                kv_occupancy: of(bin.kv_blocks_used, bin.kv_blocks_total),
                replicas_ready: replicas(scale.ready),
                replicas_starting: replicas(scale.starting),
                replicas_wanted: replicas(scale.wanted),
                replicas_down: replicas(scale.down),
                batch_requests: state(bin.batch),
                batch_tokens: mean(bin.batch_tokens),
            });
        }
    }
    rows
}

/// Nine digits behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// The rows as CSV text.
pub(crate) fn encode(rows: &[TimelineRow]) -> Vec<u8> {
    encode_rows(rows, &TIMELINE_HEADER)
}

const TIMELINE_HEADER: [&str; 18] = [
    "pool",
    "start_s",
    "offered",
    "admitted",
    "completed",
    "output_tokens",
    "utilization",
    "gateway_queue",
    "waiting",
    "running",
    "batch_occupancy",
    "kv_occupancy",
    "replicas_ready",
    "replicas_starting",
    "replicas_wanted",
    "replicas_down",
    "batch_requests",
    "batch_tokens",
];

/// CSV text with a header even when there are no rows.
pub(crate) fn encode_rows(rows: &[impl Serialize], header: &[&str]) -> Vec<u8> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    csv.write_record(header).expect("writing to memory cannot fail");
    for row in rows {
        csv.serialize(row).expect("writing to memory cannot fail");
    }
    csv.into_inner().expect("writing to memory cannot fail")
}

/// Reads the rows back.
pub(crate) fn read(path: &Path) -> Result<Vec<TimelineRow>, ResultsError> {
    let text = super::files::read_text(path)?;
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| ResultsError::malformed(path, error))
}
