//! `summary.json`: the whole result of a run in one file that other programs read.

use super::batch::BatchSummary;
use super::comparison::Comparison;
use super::figure::{Estimate, Figure, Unit, measure_name, measure_unit, pool_unit};
use super::fleet::{AttemptSummary, CostSummary, FleetSummary};
use super::live::{LiveSummary, Validity};
use super::policy::{
    BindsFirst, ExpectationRow, LimitRow, OperationRow, ProfileRow, binds_first, by_reason, limit_rows,
    operation_rows, profile_row,
};
use crate::observe::bill;
use crate::observe::recording::{Asked, BudgetSums, Recording};
use crate::request::{BUILT_IN, Outcome};
use crate::scenario::{Engine, Metric, Scenario};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the format. Grows when a field changes its meaning or goes; new fields do not change it.
pub const SCHEMA: u32 = 3;

/// Name of the part of prefill and decode that batch tokens added.
const BESIDE_BATCH: &str = "of which beside batch";

/// Everything a run found out. Holds no wall-clock time: the same run gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Variant of it; absent for the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The question it answers.
    pub question: String,
    /// Whether the run was cut short, so that fewer replications than planned are in it.
    #[serde(default)]
    pub interrupted: bool,
    /// What must be known to repeat it.
    pub provenance: Provenance,
    /// What every reader must know before believing a figure.
    pub caveats: Vec<String>,
    /// Verdicts of the scenario's properties, in its order.
    pub properties: Vec<VerdictRow>,
    /// Exact claims and what was found, in the scenario's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<ExpectationRow>,
    /// What was compared with other variants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    /// The profile that the limits are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileRow>,
    /// Limits in force, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitRow>,
    /// The limit that a growing load reaches first; absent when no limit counted anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binds_first: Option<BindsFirst>,
    /// What was done on the control plane, in the scenario's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationRow>,
    /// How a run against a live gateway went; absent for simulations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveSummary>,
    /// By workload, in the scenario's order.
    pub workloads: Vec<WorkloadSummary>,
    /// Figures of all workloads together, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_workloads: Vec<Figure>,
    /// Batch jobs, by batch, in the scenario's order; their requests are in the workload of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchSummary>,
    /// By pool, in the scenario's order.
    pub pools: Vec<PoolSummary>,
    /// What it cost; absent when nothing has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<CostSummary>,
}

/// What must be known to repeat a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of tidegate.
    pub version: String,
    /// Architecture, vendor-free, and operating system: floating point may differ between targets.
    pub target: String,
    /// Hash of the resolved scenario, overrides included.
    pub scenario_hash: String,
    /// Hash of the arrivals of the first replication: equal hashes mean equal requests.
    pub arrival_hash: String,
    /// Seed of each replication.
    pub seeds: Vec<u64>,
    /// Arrivals stop here, nanoseconds.
    pub horizon_ns: u64,
    /// Requests that arrive earlier are not counted, nanoseconds.
    pub warmup_ns: u64,
    /// Width of a timeline bin, nanoseconds.
    pub bin_ns: u64,
    /// When the longest replication ended, nanoseconds.
    pub ended_ns: u64,
}

impl Provenance {
    /// The provenance of a run of `scenario` with these seeds by this build.
    pub fn new(scenario: &Scenario, arrival_hash: String, seeds: Vec<u64>) -> Self {
        Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            scenario_hash: scenario.hash.clone(),
            arrival_hash,
            seeds,
            horizon_ns: scenario.horizon.as_nanos(),
            warmup_ns: scenario.warmup.as_nanos(),
            bin_ns: scenario.bin.as_nanos(),
            ended_ns: 0,
        }
    }
}

/// What the statistics say of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval satisfies the bound.
    Holds,
    /// The whole interval breaks the bound.
    Violated,
    /// The interval has the bound inside, or there is none.
    Inconclusive,
}

impl Verdict {
    /// The word used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Violated => "violated",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What a figure must satisfy, in the figure's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundRow {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// The verdict of one property, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Name of the property.
    pub property: String,
    /// Workload it is about; absent for all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Which figure: `ttft p99`.
    pub figure: String,
    /// Unit of the bound and of the estimate.
    pub unit: Unit,
    /// What it must satisfy.
    pub bound: BoundRow,
    /// The verdict.
    pub verdict: Verdict,
    /// The estimate, with the interval that decided; absent when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// Confidence of that interval (0.95, or higher where several looks share it).
    pub confidence: f64,
    /// The verdict in a sentence.
    pub reason: String,
}

impl VerdictRow {
    /// The bound for people: `ttft p99 <= 1 s`.
    pub fn claim_text(&self) -> String {
        let (sign, bound) = match self.bound {
            BoundRow::AtMost(most) => ("<=", most),
            BoundRow::AtLeast(least) => (">=", least),
        };
        format!("{} {sign} {}", self.figure, self.unit.show(bound))
    }

    /// The same figure as a [`Figure`], for its texts.
    pub fn as_figure(&self) -> Figure {
        Figure { name: self.figure.clone(), unit: self.unit, estimate: self.estimate }
    }
}

/// Results of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSummary {
    /// Its name.
    pub name: String,
    /// Pool that serves it.
    pub pool: String,
    /// Other pools that can serve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_pools: Vec<String>,
    /// Requests that arrived in the counted window, over all replications. What clients send again is no other request.
    pub offered: u64,
    /// How they ended; sums to `offered`.
    pub outcomes: BTreeMap<String, u64>,
    /// Their attempts; absent when each of them is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<AttemptSummary>,
    /// Why they were refused or failed: the reasons that need no limit, and the limits that refused any.
    pub refusals: BTreeMap<String, u64>,
    /// Objectives in nanoseconds, by metric.
    pub objectives_ns: BTreeMap<String, u64>,
    /// Network round trip between client and gateway, nanoseconds; in `client-e2e` only.
    pub network_ns: u64,
    /// Rates, shares and latencies.
    pub figures: Vec<Figure>,
    /// Where the time of completed requests went; the sums add up to `e2e_sum_ns` exactly.
    pub budget: Vec<BudgetRow>,
    /// Sum of the end-to-end latencies of completed requests, nanoseconds.
    pub e2e_sum_ns: u128,
    /// The part of prefill and decode by which the steps were longer because of batch tokens in them, by the step law;
    /// absent where there is no batch, and of batch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_batch: Option<BudgetRow>,
    /// Latencies that no histogram bucket holds, by metric; only those that happened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub out_of_range: BTreeMap<String, OutOfRange>,
    /// Prompt tokens of counted requests.
    pub prompt_tokens: u64,
    /// Those found in a prefix cache.
    pub cached_tokens: u64,
    /// Output tokens received by counted requests.
    pub output_tokens: u64,
    /// Preemptions suffered by counted requests.
    pub preemptions: u64,
    /// Tenants its requests are spread over.
    pub tenants: u64,
}

/// Latencies that lie outside the histogram's bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfRange {
    /// Shorter than 1 us.
    pub below_1us: u64,
    /// Longer than 48 h.
    pub above_48h: u64,
}

/// One part of a latency budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// Which part.
    pub part: String,
    /// Its sum over completed requests, nanoseconds.
    pub sum_ns: u128,
    /// Its mean a request, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Estimate>,
}

/// Results of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Its name.
    pub name: String,
    /// Model it serves.
    pub model: String,
    /// How its replicas work: `llm` or `slots`.
    pub engine: String,
    /// Most replicas.
    pub replicas: u64,
    /// GPUs of that many replicas.
    pub gpus: u64,
    /// What became of its replicas and what they cost; absent when they are always the same and cost nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetSummary>,
    /// Load.
    pub figures: Vec<Figure>,
    /// Steps taken over the whole runs (stretches of constant load, on a `slots` pool).
    pub steps: u64,
    /// Those whose shape lay outside the range in which the step law was measured.
    pub steps_outside_range: u64,
}

impl Summary {
    /// The summary of `recording`, with one estimate for each of [`super::asked`], in that order.
    ///
    /// Panics when `estimates` has another length: it would put figures under wrong names.
    pub fn new(
        scenario: &Scenario,
        recording: &Recording,
        provenance: Provenance,
        properties: Vec<VerdictRow>,
        estimates: &[Option<Estimate>],
    ) -> Self {
        let asked = super::asked(scenario);
        assert_eq!(asked.len(), estimates.len(), "one estimate is needed for each figure");
        let answers: Vec<_> = asked.into_iter().zip(estimates.iter().copied()).collect();
        let figures_of = |workload: Option<usize>| -> Vec<Figure> {
            let of = |(asked, estimate): &(Asked, Option<Estimate>)| match asked {
                // Those of jobs are in the batch's own summary.
                Asked::Workload(whose, measure) if *whose == workload && !measure.is_of_jobs() => {
                    Some(Figure {
                        name: measure_name(measure),
                        unit: measure_unit(measure),
                        estimate: *estimate,
                    })
                }
                _ => None,
            };
            answers.iter().filter_map(of).collect()
        };
        let workloads = (0..scenario.workloads.len())
            .map(|index| workload_summary(scenario, recording, index, figures_of(Some(index)), &answers));
        let pools = (0..scenario.pools.len()).map(|index| pool_summary(scenario, recording, index, &answers));
        let batches = BatchSummary::all(scenario, recording, &answers);
        let of_jobs: Vec<String> = batches.iter().flat_map(BatchSummary::caveats).collect();
        let policy = &scenario.policy;
        let limits = limit_rows(policy, recording);
        Summary {
            schema: SCHEMA,
            scenario: scenario.name.clone(),
            variant: scenario.variant.clone(),
            question: scenario.question.clone(),
            interrupted: false,
            provenance: Provenance { ended_ns: recording.ended.as_nanos(), ..provenance },
            caveats: scenario.caveats.iter().cloned().chain(bill::caveats(scenario)).chain(of_jobs).collect(),
            properties,
            expectations: Vec::new(),
            comparisons: Vec::new(),
            live: None,
            profile: policy.profile.as_ref().map(|profile| profile_row(profile, policy, recording)),
            binds_first: binds_first(&limits),
            limits,
            operations: operation_rows(policy, recording),
            workloads: workloads.collect(),
            all_workloads: figures_of(None),
            batches,
            pools: pools.collect(),
            costs: CostSummary::new(scenario, recording, &answers),
        }
    }

    /// Of a live run, whether it is to be believed.
    pub fn validity(&self) -> Option<Validity> {
        self.live.as_ref().map(|live| live.validity)
    }

    /// The verdict over all properties and expectations: inconclusive when a live run is invalid, whatever they say; else
    /// violated when one is, inconclusive when one is or the run was interrupted.
    pub fn verdict(&self) -> Verdict {
        let properties = self.properties.iter().map(|row| row.verdict);
        let verdicts = || properties.clone().chain(self.expectations.iter().map(|row| row.verdict));
        let any = |wanted| verdicts().any(|found| found == wanted);
        if self.validity() == Some(Validity::Invalid) {
            Verdict::Inconclusive
        } else if any(Verdict::Violated) {
            Verdict::Violated
        } else if any(Verdict::Inconclusive) || self.interrupted {
            Verdict::Inconclusive
        } else {
            Verdict::Holds
        }
    }

    /// Replications in it.
    pub fn replications(&self) -> usize {
        self.provenance.seeds.len()
    }

    /// How many there are, by what they are: `10 replications`, of a live run `1 block`.
    pub fn runs_text(&self) -> String {
        let one = if self.live.is_some() { "block" } else { "replication" };
        let many = if self.replications() == 1 { "" } else { "s" };
        format!("{} {one}{many}", self.replications())
    }

    /// Scenario and variant: `chat`, `chat (more-gpus)`.
    pub fn title(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{} ({variant})", self.scenario),
            None => self.scenario.clone(),
        }
    }

    /// Where its figures come from, for captions: scenario, seed, replications, requests.
    pub fn caption(&self) -> String {
        let seed = self.provenance.seeds.first().map_or_else(|| "-".to_owned(), u64::to_string);
        let offered = self.workloads.iter().map(|w| w.offered).sum();
        format!(
            "scenario {}, seed {seed}, {}, {} requests",
            self.title(),
            self.runs_text(),
            super::figure::count(offered)
        )
    }
}

fn workload_summary(
    scenario: &Scenario,
    recording: &Recording,
    index: usize,
    figures: Vec<Figure>,
    answers: &[(Asked, Option<Estimate>)],
) -> WorkloadSummary {
    let (workload, record) = (&scenario.workloads[index], &recording.workloads[index]);
    let answer = |question: Asked| answers.iter().find(|(asked, _)| *asked == question);
    let mean = |part: usize| answer(Asked::Budget(index, part)).and_then(|(_, mean)| *mean);
    let beside = answer(Asked::Beside(index)).map(|(_, mean)| BudgetRow {
        part: BESIDE_BATCH.to_owned(),
        sum_ns: record.beside,
        mean: *mean,
    });
    let budget = record.budget.parts().into_iter().enumerate();
    let outcomes = Outcome::ALL.iter().map(|o| (o.name().to_owned(), record.outcome(*o)));
    let built_in = BUILT_IN.iter().zip(&record.refusals);
    let built_in = built_in.map(|(reason, count)| ((*reason).to_owned(), *count));
    let mut refusals: BTreeMap<String, u64> = built_in.collect();
    refusals.extend(by_reason(&scenario.policy, &record.refusals));
    // Parts that nobody has are no part of anything.
    let rare = ["earlier-attempts", "overhead", "transfer"];
    let had = |part: usize| recording.workloads.iter().any(|workload| workload.budget.parts()[part] > 0);
    let objectives = [
        (Metric::Ttft, workload.objectives.ttft),
        (Metric::Tpot, workload.objectives.tpot),
        (Metric::E2e, workload.objectives.e2e),
    ];
    let out_of_range = Metric::ALL.iter().filter_map(|metric| {
        let latency = record.latency(*metric);
        let out = OutOfRange { below_1us: latency.below_range(), above_48h: latency.above_range() };
        (out != OutOfRange::default()).then(|| (metric.name().to_owned(), out))
    });
    WorkloadSummary {
        name: workload.name.clone(),
        pool: scenario.pools[usize::from(workload.pool)].name.clone(),
        other_pools: record.pools[1..].iter().map(|&pool| scenario.pools[pool].name.clone()).collect(),
        offered: record.offered,
        outcomes: outcomes.collect(),
        attempts: AttemptSummary::new(record),
        refusals,
        objectives_ns: objectives
            .iter()
            .filter_map(|(metric, most)| Some((metric.name().to_owned(), (*most)?.as_nanos())))
            .collect(),
        network_ns: workload.network.as_nanos(),
        figures,
        budget: budget
            .filter(|(part, _)| !rare.contains(&BudgetSums::NAMES[*part]) || had(*part))
            .map(|(part, sum_ns)| BudgetRow {
                part: BudgetSums::NAMES[part].to_owned(),
                sum_ns,
                mean: mean(part),
            })
            .collect(),
        e2e_sum_ns: record.latency(Metric::E2e).sum_ns(),
        beside_batch: beside,
        out_of_range: out_of_range.collect(),
        prompt_tokens: record.prompt_tokens,
        cached_tokens: record.cached_tokens,
        output_tokens: record.output_tokens,
        preemptions: record.preemptions,
        tenants: u64::from(workload.tenants),
    }
}

fn pool_summary(
    scenario: &Scenario,
    recording: &Recording,
    index: usize,
    answers: &[(Asked, Option<Estimate>)],
) -> PoolSummary {
    let (pool, record) = (&scenario.pools[index], &recording.pools[index]);
    let figures = answers.iter().filter_map(|(asked, estimate)| match asked {
        Asked::Pool(whose, measure) if *whose == index => {
            Some(Figure { name: measure.name().to_owned(), unit: pool_unit(*measure), estimate: *estimate })
        }
        _ => None,
    });
    PoolSummary {
        name: pool.name.clone(),
        model: scenario.models[pool.model].name.clone(),
        engine: match pool.engine {
            Engine::Llm(_) => "llm".to_owned(),
            Engine::Slots(_) => "slots".to_owned(),
        },
        replicas: u64::from(pool.replicas),
        gpus: u64::from(pool.replicas) * u64::from(pool.gpus_per_replica),
        fleet: FleetSummary::new(scenario, recording, index),
        figures: figures.collect(),
        steps: record.steps,
        steps_outside_range: record.outside_range,
    }
}
