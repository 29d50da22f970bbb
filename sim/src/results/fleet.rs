//! What a summary says of fleets, clients that try again, and money; and the two files that follow them over time.

use super::figure::{Estimate, Figure, measure_name, measure_unit};
use super::files::ResultsError;
use super::timeline::{encode_rows, rounded};
use crate::observe::FaultFact;
use crate::observe::bill::Bill;
use crate::observe::fleet_log::FleetEvent;
use crate::observe::recording::{Asked, PoolRecord, Recording, WorkloadRecord};
use crate::request::{Outcome, PoolId};
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Attempts of a workload whose clients may try again, over all replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// Attempts of the requests that were counted: at least one each.
    pub attempts: u64,
    /// Those of them that were hedges.
    pub hedges: u64,
    /// Attempts for each request; absent when no request was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplification: Option<f64>,
    /// Output tokens of those requests that were no part of a completed answer.
    pub wasted_tokens: u64,
    /// Attempts that reached the gateway in the counted window.
    pub offered: u64,
    /// How those ended; sums to `offered`.
    pub outcomes: BTreeMap<String, u64>,
}

impl AttemptSummary {
    /// Of a workload; `None` when its requests are one attempt each.
    pub(super) fn new(workload: &WorkloadRecord) -> Option<Self> {
        let attempts = workload.attempts.as_ref()?;
        Some(AttemptSummary {
            attempts: attempts.of_requests,
            hedges: attempts.hedges,
            amplification: (workload.offered > 0)
                .then(|| attempts.of_requests as f64 / workload.offered as f64),
            wasted_tokens: attempts.wasted_tokens,
            offered: attempts.offered,
            outcomes: Outcome::ALL.iter().map(|o| (o.name().to_owned(), attempts.outcome(*o))).collect(),
        })
    }
}

/// What became of the replicas of a pool, over all replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetSummary {
    /// Fewest replicas that served at once in the counted window; absent when that is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_least: Option<u32>,
    /// Most replicas that served at once in the counted window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_most: Option<u32>,
    /// Replicas that were added; this and the counts below are of the whole runs, warm-up included.
    pub starts: u64,
    /// Replicas that were taken away.
    pub stops: u64,
    /// Replicas that failed.
    pub failures: u64,
    /// Requests that were lost with them.
    pub lost: u64,
    /// Requests that went from them to other replicas.
    pub moved: u64,
    /// Time that GPUs belonged to replicas in the counted window, nanoseconds.
    pub gpu_ns: u128,
    /// Cost of the counted window; absent when the pool has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl FleetSummary {
    /// Of pool `index`; `None` when its replicas are always the same and cost nothing.
    pub(super) fn new(scenario: &Scenario, recording: &Recording, index: usize) -> Option<Self> {
        let priced = recording.prices.has(index);
        if !priced && !scenario.pool_can_vary(index as PoolId) {
            return None;
        }
        let PoolRecord { scale, .. } = &recording.pools[index];
        Some(FleetSummary {
            replicas_least: scale.range.map(|(least, _)| least),
            replicas_most: scale.range.map(|(_, most)| most),
            starts: scale.starts,
            stops: scale.stops,
            failures: scale.failures,
            lost: scale.lost,
            moved: scale.moved,
            gpu_ns: scale.gpu_ns,
            cost: priced.then(|| Bill::of(recording).pools[index]),
        })
    }
}

/// What everything cost in the counted window, over all replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostSummary {
    /// What amounts are in: three letters.
    pub currency: String,
    /// All of it.
    pub total: f64,
    /// The part that no workload had anything of: machines that stood idle.
    pub idle: f64,
    /// By tier, in the scenario's order.
    pub tiers: Vec<TierCost>,
}

/// What one tier cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierCost {
    /// Its name.
    pub name: String,
    /// Cost of an hour, and of a million output tokens.
    pub figures: Vec<Figure>,
}

impl CostSummary {
    /// Of a recording; `None` when nothing has a price.
    pub(super) fn new(
        scenario: &Scenario,
        recording: &Recording,
        answers: &[(Asked, Option<Estimate>)],
    ) -> Option<Self> {
        if !recording.prices.is_some() {
            return None;
        }
        let bill = Bill::of(recording);
        let tiers = scenario.tiers.iter().enumerate().map(|(index, tier)| {
            let figures = answers.iter().filter_map(|(asked, estimate)| match asked {
                Asked::Tier(whose, measure) if *whose == index => Some(Figure {
                    name: measure_name(measure),
                    unit: measure_unit(measure),
                    estimate: *estimate,
                }),
                _ => None,
            });
            TierCost { name: tier.name.clone(), figures: figures.collect() }
        });
        // Sums of shares may miss the whole by a rounding error.
        let idle = bill.total - bill.workloads.iter().sum::<f64>();
        Some(CostSummary {
            currency: recording.prices.currency.clone(),
            total: bill.total,
            idle: if idle > bill.total * 1e-9 { idle } else { 0.0 },
            tiers: tiers.collect(),
        })
    }
}

/// A line of `fleet.csv`: a change of the fleet in the first replication.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetRow {
    /// When, seconds since the start of the scenario.
    pub time_s: f64,
    /// The pool.
    pub pool: String,
    /// Why the number of replicas changed, or what happened to one.
    pub cause: &'static str,
    /// Replicas that serve and are to stay; this and the next four on changes of the number only.
    pub ready: Option<u16>,
    /// Replicas that are starting.
    pub starting: Option<u16>,
    /// Replicas that finish what they hold.
    pub draining: Option<u16>,
    /// Replicas that failed and are not back.
    pub down: Option<u16>,
    /// Replicas that are wanted.
    pub wanted: Option<u16>,
    /// The replica that something happened to; this and the rest on what happens to one replica only.
    pub replica: Option<u16>,
    /// How many times its time a step takes; empty when it is not about that.
    pub slow: Option<f64>,
    /// Requests that were lost with it.
    pub lost: Option<u32>,
    /// Requests that went elsewhere.
    pub moved: Option<u32>,
}

const FLEET_HEADER: [&str; 12] = [
    "time_s", "pool", "cause", "ready", "starting", "draining", "down", "wanted", "replica", "slow", "lost",
    "moved",
];

/// The lines of `fleet.csv`, in the order of what happened.
pub(super) fn fleet_rows(scenario: &Scenario, events: &[FleetEvent]) -> Vec<FleetRow> {
    let row = |event: &FleetEvent| {
        let (at, pool) = match event {
            FleetEvent::Scaled(at, pool, _) => (at, *pool),
            FleetEvent::Failed(at, fault) => (at, fault.pool),
        };
        let row = FleetRow {
            time_s: at.as_secs_f64(),
            pool: scenario.pools[usize::from(pool)].name.clone(),
            cause: "",
            ready: None,
            starting: None,
            draining: None,
            down: None,
            wanted: None,
            replica: None,
            slow: None,
            lost: None,
            moved: None,
        };
        match event {
            FleetEvent::Scaled(_, _, change) => FleetRow {
                cause: change.cause.name(),
                ready: Some(change.ready),
                starting: Some(change.starting),
                draining: Some(change.draining),
                down: Some(change.down),
                wanted: Some(change.wanted),
                ..row
            },
            FleetEvent::Failed(_, fault) => FleetRow {
                cause: happening(fault),
                replica: Some(fault.replica),
                slow: (fault.slow > 0).then(|| f64::from(fault.slow) / 1_000.0),
                lost: Some(fault.lost),
                moved: Some(fault.moved),
                ..row
            },
        }
    };
    events.iter().map(row).collect()
}

/// What happened to a replica, in a word.
fn happening(fault: &FaultFact) -> &'static str {
    match (fault.over, fault.slow) {
        (false, 0) => "replica-failed",
        (false, _) => "replica-slowed",
        (true, 0) => "replica-back",
        (true, _) => "replica-pace",
    }
}

/// The lines of `fleet.csv` as CSV text.
pub(super) fn encode_fleet(rows: &[FleetRow]) -> Vec<u8> {
    encode_rows(rows, &FLEET_HEADER)
}

/// A line of `clients.csv`: one bin of a workload whose clients may try again; means over replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRow {
    /// The workload.
    pub workload: String,
    /// Start of the bin, seconds.
    pub start_s: f64,
    /// Requests whose first attempt reached the gateway in the bin.
    pub requests: f64,
    /// Attempts that reached the gateway.
    pub attempts: f64,
    /// Requests that were completed.
    pub completed: f64,
}

/// The lines of `clients.csv`, workload by workload.
pub(super) fn client_rows(recording: &Recording) -> Vec<ClientRow> {
    let runs = recording.replications.max(1) as f64;
    let mut rows = Vec::new();
    for workload in &recording.workloads {
        let Some(attempts) = &workload.attempts else { continue };
        rows.extend(attempts.bins.iter().enumerate().map(|(index, bin)| ClientRow {
            workload: workload.name.clone(),
            start_s: (attempts.width() * index as u64).as_secs_f64(),
            requests: rounded(bin.requests as f64 / runs),
            attempts: rounded(bin.attempts as f64 / runs),
            completed: rounded(bin.completed as f64 / runs),
        }));
    }
    rows
}

/// The lines of `clients.csv` as CSV text.
pub(super) fn encode_clients(rows: &[ClientRow]) -> Vec<u8> {
    encode_rows(rows, &["workload", "start_s", "requests", "attempts", "completed"])
}

/// Reads `clients.csv` back; no lines when there is no such file.
pub(super) fn read_clients(path: &Path) -> Result<Vec<ClientRow>, ResultsError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = super::files::read_text(path)?;
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| ResultsError::malformed(path, error))
}
