//! A whole result folder in memory: written at the end of a run, read back to draw or to compare.

use super::batch::{JobRow, encode_jobs, job_rows, read_jobs};
use super::comparison::encode_comparisons;
use super::figure::count;
use super::files::{ResultsError, read_text, write_atomic};
use super::fleet::{
    ClientRow, FleetRow, client_rows, encode_clients, encode_fleet, fleet_rows, read_clients,
};
use super::hlog;
use super::layout::Layout;
use super::summary::{SCHEMA, Summary, WorkloadSummary};
use super::timeline::{self, TimelineRow, timeline_rows};
use crate::observe::fleet_log::FleetEvent;
use crate::observe::jobs::JobStory;
use crate::observe::recording::Recording;
use crate::request::Outcome;
use crate::scenario::{Metric, Scenario};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One latency histogram of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyLog {
    /// The workload.
    pub workload: String,
    /// The latency.
    pub metric: Metric,
    /// Its buckets, nanoseconds.
    pub histogram: Histogram<u64>,
}

/// Everything in a result folder but the figures and the request log.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultSet {
    /// The summary.
    pub summary: Summary,
    /// The histograms that are not empty.
    pub latencies: Vec<LatencyLog>,
    /// The timeline.
    pub timeline: Vec<TimelineRow>,
    /// Requests and attempts over time, of workloads whose clients may try again.
    pub clients: Vec<ClientRow>,
    /// Changes of the fleet in the first replication.
    pub fleet: Vec<FleetRow>,
    /// Batch jobs of the first replication.
    pub jobs: Vec<JobRow>,
    /// Counters by tenant, of workloads with several.
    pub tenants: Vec<TenantRow>,
}

/// A line of `tenants.csv`: counted requests of one tenant, over all replications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TenantRow {
    /// The workload.
    pub workload: String,
    /// The tenant, from 0.
    pub tenant: u32,
    /// Requests.
    pub offered: u64,
    /// How they ended, by [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Requests that met every objective.
    pub met: u64,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Output tokens received.
    pub output_tokens: u64,
}

impl ResultSet {
    /// What a run leaves behind.
    pub fn new(summary: Summary, recording: &Recording) -> Self {
        let mut latencies = Vec::new();
        let mut tenants = Vec::new();
        for workload in &recording.workloads {
            for metric in Metric::ALL {
                let histogram = workload.latency(metric).histogram();
                if !histogram.is_empty() {
                    let workload = workload.name.clone();
                    latencies.push(LatencyLog { workload, metric, histogram: histogram.clone() });
                }
            }
            if workload.tenants.len() > 1 {
                tenants.extend(workload.tenants.iter().zip(0..).map(|(record, tenant)| TenantRow {
                    workload: workload.name.clone(),
                    tenant,
                    offered: record.offered,
                    outcomes: record.outcomes,
                    met: record.met,
                    prompt_tokens: record.prompt_tokens,
                    output_tokens: record.output_tokens,
                }));
            }
        }
        ResultSet {
            summary,
            latencies,
            timeline: timeline_rows(recording),
            clients: client_rows(recording),
            fleet: Vec::new(),
            jobs: Vec::new(),
            tenants,
        }
    }

    /// With the changes of the fleet in the first replication. Nothing is kept of a fleet that cannot change.
    pub fn with_fleet(mut self, scenario: &Scenario, events: &[FleetEvent]) -> Self {
        if scenario.fleet_can_vary() {
            self.fleet = fleet_rows(scenario, events);
        }
        self
    }

    /// With the batch jobs of the first replication.
    pub fn with_jobs(mut self, scenario: &Scenario, jobs: &[JobStory]) -> Self {
        self.jobs = job_rows(scenario, jobs);
        self
    }

    /// Writes the folder and removes what an earlier run left there and this one did not write, so that no two runs
    /// are ever mixed. `requests.csv` stays when `keep_requests`. Returns the files written.
    pub fn write(&self, layout: &Layout, keep_requests: bool) -> Result<Vec<PathBuf>, ResultsError> {
        let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for log in &self.latencies {
            files.push((layout.hlog(&log.workload, log.metric), self.encode_log(log)));
        }
        files.push((layout.timeline(), timeline::encode(&self.timeline)));
        if !self.clients.is_empty() {
            files.push((layout.clients(), encode_clients(&self.clients)));
        }
        if !self.fleet.is_empty() {
            files.push((layout.fleet(), encode_fleet(&self.fleet)));
        }
        // A batch without a job has a file without lines: nothing was submitted.
        if !self.summary.batches.is_empty() {
            files.push((layout.jobs(), encode_jobs(&self.jobs)));
        }
        if !self.tenants.is_empty() {
            files.push((layout.tenants(), encode_tenants(&self.tenants)));
        }
        if !self.summary.comparisons.is_empty() {
            files.push((layout.comparison(), encode_comparisons(&self.summary.comparisons)));
        }
        // Last, so that a folder with a summary is a complete one.
        files.push((layout.summary(), encode_summary(&self.summary)));
        for (path, bytes) in &files {
            write_atomic(path, bytes)?;
        }
        let mut kept: BTreeSet<PathBuf> = files.into_iter().map(|(path, _)| path).collect();
        if keep_requests {
            kept.insert(layout.requests());
        }
        remove_stale(layout, &kept)?;
        kept.remove(&layout.requests());
        Ok(kept.into_iter().collect())
    }

    fn encode_log(&self, log: &LatencyLog) -> Vec<u8> {
        let provenance = &self.summary.provenance;
        let comments = [
            format!("{} of workload {} in ns; {}", log.metric.name(), log.workload, self.summary.caption()),
            format!("scenario {}, arrivals {}", provenance.scenario_hash, provenance.arrival_hash),
        ];
        // A name cannot break out of its comment line.
        let comments = comments.map(|line| line.replace(['\r', '\n'], " "));
        let start = Duration::from_nanos(provenance.warmup_ns);
        let length = Duration::from_nanos(provenance.horizon_ns - provenance.warmup_ns);
        hlog::encode(&log.histogram, &comments, start, length)
    }

    /// Reads a folder back. Tenants and changes of the fleet are not read: nothing draws them.
    ///
    /// A histogram that is not there although the summary counts samples for it is an error: a folder of which a part
    /// was lost must not look like a run in which nothing was measured.
    pub fn read(folder: &Path) -> Result<Self, ResultsError> {
        let layout = Layout::new(folder);
        let summary = read_summary(&layout)?;
        let mut latencies = Vec::new();
        for workload in &summary.workloads {
            for metric in Metric::ALL {
                let path = layout.hlog(&workload.name, metric);
                if path.exists() {
                    let histogram = hlog::read(&path)?;
                    latencies.push(LatencyLog { workload: workload.name.clone(), metric, histogram });
                } else if bucketed(workload, metric) > 0 {
                    return Err(missing_log(&path, workload, metric));
                }
            }
        }
        let timeline = timeline::read(&layout.timeline())?;
        let clients = read_clients(&layout.clients())?;
        let jobs = read_jobs(&layout.jobs())?;
        let (fleet, tenants) = (Vec::new(), Vec::new());
        Ok(ResultSet { summary, latencies, timeline, clients, fleet, jobs, tenants })
    }

    /// The histogram of `metric` of `workload`, when anything was recorded.
    pub fn latency(&self, workload: &str, metric: Metric) -> Option<&Histogram<u64>> {
        let found = self.latencies.iter().find(|log| log.workload == workload && log.metric == metric);
        found.map(|log| &log.histogram)
    }
}

/// `summary.json`, indented, with a final newline.
pub fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(summary).expect("a summary has string keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// Samples of `metric` that lie in a histogram, by the summary: all but those out of its range.
fn bucketed(workload: &WorkloadSummary, metric: Metric) -> u64 {
    let mean = workload.figure(&format!("{} mean", metric.name()));
    let samples = mean.and_then(|figure| figure.estimate).map_or(0, |estimate| estimate.samples);
    let outside = workload.out_of_range.get(metric.name()).copied().unwrap_or_default();
    samples.saturating_sub(outside.below_1us).saturating_sub(outside.above_48h)
}

fn missing_log(path: &Path, workload: &WorkloadSummary, metric: Metric) -> ResultsError {
    let (samples, metric, workload) = (count(bucketed(workload, metric)), metric.name(), &workload.name);
    let problem = format!("missing, but summary.json counts {samples} samples of {metric} of `{workload}`");
    ResultsError::malformed(path, problem + "\nhint: run the scenario again, or copy the whole folder")
}

fn read_summary(layout: &Layout) -> Result<Summary, ResultsError> {
    let path = layout.summary();
    if !path.exists() {
        return Err(ResultsError::NotResults(layout.root().to_owned()));
    }
    let text = read_text(&path)?;
    let malformed = |error| ResultsError::malformed(&path, format!("not a summary: {error}"));
    #[derive(serde::Deserialize)]
    struct Header {
        schema: u64,
    }
    let header: Header = serde_json::from_str(&text).map_err(malformed)?;
    if header.schema != u64::from(SCHEMA) {
        return Err(ResultsError::Schema { path, found: header.schema, expected: SCHEMA });
    }
    serde_json::from_str(&text).map_err(malformed)
}

fn encode_tenants(rows: &[TenantRow]) -> Vec<u8> {
    let header: Vec<&str> = ["workload", "tenant", "offered"]
        .into_iter()
        .chain(Outcome::ALL.map(Outcome::name))
        .chain(["met", "prompt_tokens", "output_tokens"])
        .collect();
    timeline::encode_rows(rows, &header)
}

/// Removes files of this project's own kinds that are not in `kept`.
fn remove_stale(layout: &Layout, kept: &BTreeSet<PathBuf>) -> Result<(), ResultsError> {
    let own = |path: &Path| {
        let ends = |ending: &str| path.extension().is_some_and(|found| found == ending);
        ends("hlog")
            || [
                layout.clients(),
                layout.fleet(),
                layout.jobs(),
                layout.tenants(),
                layout.comparison(),
                layout.requests(),
                layout.report(),
                layout.compare(),
                layout.agreement(),
            ]
            .iter()
            .any(|own| own == path)
            || (path.parent() == Some(&layout.figures()) && (ends("svg") || ends("png")))
    };
    for folder in [layout.root().to_owned(), layout.figures()] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if own(&path) && !kept.contains(&path) {
                std::fs::remove_file(&path).map_err(ResultsError::io("remove", &path))?;
            }
        }
    }
    Ok(())
}
