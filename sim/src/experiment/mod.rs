//! An experiment: replications of a scenario, the figures they give with intervals, and the verdicts.
//!
//! It answers "what is the figure, how sure is that, and does the property hold". It knows nothing of files or
//! terminals. The same scenario gives the same experiment, bit for bit, with any number of threads.
//!
//! Replications are added from one declared look to the next while some property could still be decided; a property
//! that was decided keeps its verdict. All replications are kept for the figures, whose intervals are plain 95 %
//! ones: the number of replications may depend on what the properties looked like, so figures that properties name
//! should be judged by their verdicts.

mod collect;
mod expect;
pub mod measured;
mod paired;
pub mod ratio;
pub mod replicate;
pub mod search;
pub mod statistics;
pub mod verdict;

use crate::engine::{Feed, Mode, Totals, simulate};
use crate::observe::fleet_log::FleetEvent;
use crate::observe::jobs::JobStory;
use crate::observe::recorder::{Recorder, Recording};
use crate::observe::{Nobody, Observer};
use crate::request::{Arrival, RequestHead, WorkloadId};
use crate::results::comparison::Comparison;
use crate::results::figure::{measure_name, measure_unit};
use crate::results::{BoundRow, Estimate, ExpectationRow, Provenance, Summary, Unit, Verdict, VerdictRow};
use crate::rng::replication_seed;
use crate::scenario::{Bound, Property, Scenario};
use crate::time::Time;
use crate::workload::{Source, SourceError, SourceHash};
use collect::{Collected, Replication, Rest, figures_count, questions};
use expect::Expectations;
use paired::{Against, comparisons};
use ratio::RatioDecision;
use replicate::{Control, replicate};
use statistics::{ALPHA, Plan};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use verdict::{Decision, decide};

/// How to run an experiment.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// Threads, at least 1. The result does not depend on it.
    pub threads: usize,
    /// How the engine advances. The result does not depend on it either.
    pub mode: Mode,
    /// Where progress is told and a stop is asked for.
    pub control: &'a Control,
}

/// Why an experiment could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// A source of requests failed, a trace for example.
    #[error("workload `{workload}`: {source}")]
    Source {
        /// Name of the workload.
        workload: String,
        /// What failed.
        source: SourceError,
    },
    /// A property compares with a variant that was not given.
    #[error("property `{property}` compares with variant `{variant}`, which is not there")]
    Variant {
        /// Name of the property.
        property: String,
        /// Name of the variant, `base` for the scenario without one.
        variant: String,
    },
    /// Nothing was measured of the variant that properties are decided for.
    #[error("nothing was measured of variant `{variant}`")]
    Unmeasured {
        /// Name of the variant, `base` for the scenario without one.
        variant: String,
    },
    /// The threads could not be started.
    #[error("cannot start `{threads}` threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What failed.
        source: rayon::ThreadPoolBuildError,
    },
}

impl ExperimentError {
    /// What to do about it, when that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ExperimentError::Source { source, .. } => source.hint(),
            ExperimentError::Variant { .. } => Some("declare it under `variants`"),
            ExperimentError::Unmeasured { .. } => Some("play at least one block of it"),
            ExperimentError::Threads { .. } => Some("ask for fewer with `--threads`"),
        }
    }
}

/// What an experiment found out.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// All replications together.
    pub recording: Recording,
    /// Seed of each replication in it, in order.
    pub seeds: Vec<u64>,
    /// What each replication amounted to, warm-up included.
    pub totals: Vec<Totals>,
    /// One estimate for each of [`crate::results::asked`], at 95 %.
    pub estimates: Vec<Option<Estimate>>,
    /// One decision for each property, in order.
    pub decisions: Vec<Decision>,
    /// One row for each claim of each expectation, in order.
    pub expectations: Vec<ExpectationRow>,
    /// What was compared with other variants, in the order in which properties name them.
    pub comparisons: Vec<Comparison>,
    /// Stopped before its end. Replications that were cut are not in it, unless no other was finished.
    pub interrupted: bool,
    /// All there is is the beginning of the first replication.
    pub partial: bool,
    /// Every change of the fleet in the first replication; empty when the fleet cannot change.
    pub fleet: Vec<FleetEvent>,
    /// Every batch job of the first replication, batch by batch.
    pub jobs: Vec<JobStory>,
    /// Hash of the arrivals of the first replication; empty when that was stopped before it had drawn them all.
    pub arrival_hash: String,
    plan: Plan,
}

/// Runs `scenario` until its properties are decided or its last declared look is over.
///
/// `first` is told every fact of the first replication as well (a request log, for example); it cannot change
/// anything. A scenario with no properties is looked at once. Memory is O(threads) recordings and a reading per
/// figure and replication.
///
/// # Errors
/// When a trace cannot be read (to its end), or the threads cannot be started.
pub fn run(
    scenario: &Scenario,
    options: RunOptions<'_>,
    first: Option<&mut (dyn Observer + Send)>,
) -> Result<Experiment, ExperimentError> {
    run_against(scenario, &[], options, first)
}

/// As [`run`], with the variants that properties compare with among `others`.
///
/// Where properties compare, a replication runs the scenario and each variant they name side by side, and costs what
/// all of them cost; everything but those properties is to the bit what it is without. Where none does, `others` are
/// not looked at.
///
/// # Errors
/// As [`run`], and when a variant is not there.
pub fn run_against(
    scenario: &Scenario,
    others: &[Scenario],
    options: RunOptions<'_>,
    first: Option<&mut (dyn Observer + Send)>,
) -> Result<Experiment, ExperimentError> {
    let against = comparisons(scenario, others)?;
    let certain = scenario.is_deterministic() && against.iter().all(Against::is_deterministic);
    let plan = if certain { Plan::certain() } else { Plan::new(&scenario.replications.looks) };
    let questions = questions(scenario);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|source| ExperimentError::Threads { threads: options.threads, source })?;
    let first = Mutex::new(first);
    let mut collected = Collected {
        readings: vec![Vec::new(); questions.len()],
        compared: against.iter().map(Against::start).collect(),
        ..Collected::default()
    };
    let mut decisions: Vec<Option<Decision>> = vec![None; scenario.properties.len()];
    // By property; of those that compare, with the cells that the decision is about.
    let mut ratios: Vec<Option<(RatioDecision, Vec<usize>)>> = vec![None; scenario.properties.len()];
    let mut start = 0;
    for &look in plan.looks() {
        let run = |index: u32| {
            let log =
                (index == 0).then(|| first.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten();
            one(scenario, &against, index, options, log)
        };
        let take = |index: u32, done| {
            collected.take(replication_seed(scenario.seed, index), done, &questions, &against)
        };
        replicate(&pool, start..look, options.control, run, take)?;
        for (index, property) in scenario.properties.iter().enumerate() {
            let open = decisions[index].as_ref().is_none_or(|found| found.verdict == Verdict::Inconclusive);
            if open && property.ratio.is_some() {
                let found = collected.decide_ratio(&against, index, &plan);
                decisions[index] = Some(found.0.decision.clone());
                ratios[index] = Some(found);
            } else if open {
                let evidence = collected.evidence(&questions, figures_count(scenario) + index);
                decisions[index] = Some(decide(&evidence, &plan, &property.measure, property.bound));
            }
        }
        start = look;
        if options.control.is_stopped() || !decisions.iter().flatten().any(|found| found.open) {
            break;
        }
    }
    let wanted_more =
        decisions.iter().flatten().any(|found| found.open) && plan.looks().last() != Some(&start);
    let stopped = options.control.is_stopped();
    let compared = against.iter().zip(&collected.compared);
    let compared = compared.map(|(against, compared)| compared.rows(against, &ratios, &plan)).collect();
    let interrupted = stopped && (wanted_more || collected.seeds.len() < start as usize);
    let rest = Rest {
        decisions: decisions.into_iter().flatten().collect(),
        comparisons: compared,
        interrupted,
        plan,
    };
    Ok(collected.conclude(scenario, &questions, rest))
}

impl Experiment {
    /// The verdict over all properties and expectations: violated when one is, else inconclusive when one is or the run was stopped.
    pub fn verdict(&self) -> Verdict {
        let any = |wanted| {
            self.decisions.iter().any(|found| found.verdict == wanted)
                || self.expectations.iter().any(|row| row.verdict == wanted)
        };
        if any(Verdict::Violated) {
            Verdict::Violated
        } else if any(Verdict::Inconclusive) || self.interrupted {
            Verdict::Inconclusive
        } else {
            Verdict::Holds
        }
    }

    /// The same as the file that other programs read.
    pub fn summary(&self, scenario: &Scenario) -> Summary {
        let rows = scenario.properties.iter().zip(&self.decisions);
        let rows = rows.map(|(property, found)| row(scenario, &self.plan, property, found)).collect();
        let provenance = Provenance::new(scenario, self.arrival_hash.clone(), self.seeds.clone());
        let summary = Summary::new(scenario, &self.recording, provenance, rows, &self.estimates);
        let summary = if self.plan.is_of_blocks() { measured::seen(summary) } else { summary };
        Summary {
            interrupted: self.interrupted,
            expectations: self.expectations.clone(),
            comparisons: self.comparisons.clone(),
            ..summary
        }
    }
}

/// A bound as the summary has it.
fn bound_row(bound: Bound) -> BoundRow {
    match bound {
        Bound::AtMost(most) => BoundRow::AtMost(most),
        Bound::AtLeast(least) => BoundRow::AtLeast(least),
    }
}

/// Confidence of the interval of a decision.
fn confidence(found: &Decision, plan: &Plan) -> f64 {
    match found.alpha {
        Some(_) if plan.is_certain() => 1.0,
        Some(alpha) if alpha > 0.0 => 1.0 - alpha,
        _ => 1.0 - ALPHA,
    }
}

fn row(scenario: &Scenario, plan: &Plan, property: &Property, found: &Decision) -> VerdictRow {
    let (figure, unit) = match &property.ratio {
        Some(ratio) => (paired::figure_name(property, ratio), Unit::Ratio),
        None => (measure_name(&property.measure), measure_unit(&property.measure)),
    };
    VerdictRow {
        property: property.name.clone(),
        workload: property.workload.map(|index| scenario.workloads[index].name.clone()),
        figure,
        unit,
        bound: bound_row(property.bound),
        verdict: found.verdict,
        estimate: found.pooled.map(|pooled| Estimate {
            value: pooled.value,
            low: found.interval.map(|i| i.low),
            high: found.interval.map(|i| i.high),
            samples: pooled.samples,
            replications: found.replications,
        }),
        confidence: confidence(found, plan),
        reason: found.reason.clone(),
    }
}

/// A source that stays with the caller, so that it can be asked afterwards whether it failed.
struct Lent<'a> {
    source: &'a mut Source,
    hash: Option<&'a mut SourceHash>,
}

impl Feed for Lent<'_> {
    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        let arrival = self.source.next()?;
        if let Some(hash) = &mut self.hash {
            hash.add(self.source, &arrival);
        }
        Some(arrival)
    }
    #[inline]
    fn follow(&mut self, head: &RequestHead, generated: u32, at: Time) -> Option<Arrival> {
        self.source.follow(head, generated, at)
    }
}

/// Replication `index`, on this thread. The first hashes its arrivals as they go by.
fn one(
    scenario: &Scenario,
    against: &[Against<'_>],
    index: u32,
    options: RunOptions<'_>,
    log: Option<&mut (dyn Observer + Send)>,
) -> Result<Replication, ExperimentError> {
    let seed = replication_seed(scenario.seed, index);
    let open = |index| Source::open(scenario, index as WorkloadId, seed).map_err(failed(scenario, index));
    let mut sources = (0..scenario.workloads.len()).map(open).collect::<Result<Vec<_>, _>>()?;
    let hashed = if index == 0 { sources.len() } else { 0 };
    let mut hashes: Vec<SourceHash> = (0..hashed).map(|_| SourceHash::default()).collect();
    let places = hashes.iter_mut().map(Some).chain(std::iter::repeat_with(|| None));
    let feeds = sources.iter_mut().zip(places).map(|(source, hash)| Lent { source, hash }).collect();
    let mut recorder = Recorder::new(scenario);
    if index == 0 && scenario.fleet_can_vary() {
        recorder = recorder.with_fleet_log();
    }
    let mut watch = Watch { control: options.control, told_ns: 0, told_requests: 0, cut: false };
    let look = |now: Time, totals: &Totals| watch.look(now, totals);
    let mut expected = Expectations::new(scenario);
    let mut both;
    let more: Option<&mut dyn Observer> = match (&mut expected, log) {
        (None, None) => None,
        (None, Some(log)) => Some(log),
        (Some(expected), None) => Some(expected),
        (Some(expected), Some(log)) => {
            both = (expected, log);
            Some(&mut both)
        }
    };
    let mut folded = Vec::new();
    let totals = match more {
        more if !against.is_empty() => {
            let mut nobody = Nobody;
            let more = more.unwrap_or(&mut nobody);
            let mode = options.mode;
            let (totals, found) =
                paired::replicate(against, (scenario, feeds), seed, mode, &mut recorder, more, look)?;
            folded = found;
            totals
        }
        None => simulate(scenario, feeds, seed, options.mode, &mut recorder, look),
        Some(more) => simulate(scenario, feeds, seed, options.mode, &mut (&mut recorder, more), look),
    };
    watch.tell(totals.ended, totals.offered);
    // A scenario that cuts at its horizon may leave requests on their way undrawn; a stop may leave hours of them.
    if !watch.cut {
        for (source, hash) in sources.iter_mut().zip(&mut hashes) {
            while let Some(arrival) = source.next() {
                hash.add(source, &arrival);
            }
        }
    }
    for (index, source) in sources.iter().enumerate() {
        if let Some(error) = source.error() {
            return Err(failed(scenario, index)(error.clone()));
        }
    }
    // A hash of the beginning only would look like a hash of other requests.
    let arrival_hash = (index == 0 && !watch.cut).then(|| SourceHash::combine(hashes));
    let findings = expected.filter(|_| !watch.cut).map(Expectations::finish).unwrap_or_default();
    if watch.cut {
        folded.clear();
    }
    let fleet = recorder.take_fleet_log();
    let jobs = if index == 0 { recorder.job_log() } else { Vec::new() };
    let recording = recorder.finish(totals.ended);
    Ok(Replication { recording, totals, cut: watch.cut, findings, arrival_hash, fleet, jobs, folded })
}

/// Why workload `index` of `scenario` cannot be drawn.
fn failed(scenario: &Scenario, index: usize) -> impl FnOnce(SourceError) -> ExperimentError {
    let workload = scenario.workloads[index].name.clone();
    move |source| ExperimentError::Source { workload, source }
}

/// Tells how far a replication is, and whether it was asked to stop.
struct Watch<'a> {
    control: &'a Control,
    told_ns: u64,
    told_requests: u64,
    cut: bool,
}

impl Watch<'_> {
    fn look(&mut self, now: Time, totals: &Totals) -> ControlFlow<()> {
        self.tell(now, totals.offered);
        self.cut = self.control.is_stopped();
        if self.cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn tell(&mut self, now: Time, requests: u64) {
        self.control.advance(now.as_nanos() - self.told_ns, requests - self.told_requests);
        (self.told_ns, self.told_requests) = (now.as_nanos(), requests);
    }
}
