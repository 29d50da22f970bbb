//! Replications that were measured on a live gateway instead of simulated.
//!
//! # Blocks
//! A live run plays *blocks*: the whole horizon of one variant under the seed of one replication, one after the other,
//! those of variants in random order. A block stands where a replication does, and everything after it is the same code:
//! the same figures, intervals ("block intervals"), verdicts and ratios. Five things differ.
//!
//! * **How many there are** is fixed before the first, so there is one look, at all of them; when one was not played to
//!   its end, nothing is decided but what a single counter-example decides.
//! * **Nothing is certain**: the gateway is no simulation, even where the scenario draws nothing at random.
//! * **Ratios** divide the figures of two blocks of the same index, which played the same arrivals; requests are not
//!   matched one by one, and stretches of the horizon are not told apart.
//! * **Latencies are the client's**: `e2e` and `client-e2e` are one, with the real network in both, and in `ttft`.
//! * **What a client cannot see is left out**: utilization, queues, budgets of latencies, limits, costs, and exact
//!   expectations, which are asked of a simulated run's events.

use super::collect::{Collected, Replication, Rest, figures_count, questions};
use super::paired::{Against, comparisons};
use super::ratio::RatioDecision;
use super::statistics::Plan;
use super::verdict::{Decision, decide};
use super::{Experiment, ExperimentError};
use crate::engine::Totals;
use crate::observe::recording::{Asked, Recording};
use crate::results::figure::measure_name;
use crate::results::{Summary, Verdict};
use crate::rng::replication_seed;
use crate::scenario::{Measure, Metric, Scenario};

/// One replication as a load generator measured it: the whole horizon of one variant under one seed.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The variant; `None` for the scenario without one.
    pub variant: Option<String>,
    /// Which replication, from 0: its seed is [`crate::rng::replication_seed`].
    pub index: u32,
    /// What was recorded, by the same recorder as that of a simulation.
    pub recording: Recording,
    /// What it amounted to, warm-up included. Only `offered`, `outcomes`, `requests`, `settled` and `ended` say something.
    pub totals: Totals,
    /// Hash of its arrivals, when it was sent whole.
    pub arrival_hash: Option<String>,
    /// Whether it was stopped before its end.
    pub cut: bool,
}

/// The experiment of a live run: what was `measured` of `scenario`, and the verdicts of its properties.
///
/// Blocks may come in any order; those of variants that no property compares with are not looked at. All blocks that
/// were begun belong to `measured`, also those that were cut: these decide nothing, and the first of them stands in only
/// when none is whole. `others` are the variants that properties compare with.
///
/// The experiment counts as interrupted when a block of it was cut. Expectations are not asked. O(blocks · figures).
///
/// # Errors
/// When a variant that properties compare with is not among `others`, and when there is no block of `scenario`'s own
/// variant.
///
/// # Panics
/// When two blocks have the same variant and index, or a recording does not balance: the generator would be wrong.
pub fn gather(
    scenario: &Scenario,
    others: &[Scenario],
    measured: Vec<Measured>,
) -> Result<Experiment, ExperimentError> {
    let against = comparisons(scenario, others)?;
    let measured = measured.into_iter().map(at_client);
    let (mut own, others): (Vec<Measured>, Vec<Measured>) =
        measured.partition(|block| block.variant == scenario.variant);
    if own.is_empty() {
        let variant = scenario.variant.clone().unwrap_or_else(|| "base".to_owned());
        return Err(ExperimentError::Unmeasured { variant });
    }
    own.sort_by_key(|block| block.index);
    assert_distinct(&own);
    let plan = Plan::blocks(u32::try_from(own.len()).expect("blocks are counted in u32"));
    let (ratios, comparisons) = compare(scenario, &against, &own, &others, &plan);
    let questions = questions(scenario);
    let interrupted = own.iter().any(|block| block.cut);
    let mut collected = Collected { readings: vec![Vec::new(); questions.len()], ..Collected::default() };
    for block in own {
        let seed = replication_seed(scenario.seed, block.index);
        // The hash of an experiment is that of its first replication.
        let arrival_hash = block.arrival_hash.filter(|_| block.index == 0);
        let replication = Replication {
            recording: block.recording,
            totals: block.totals,
            cut: block.cut,
            findings: Vec::new(),
            arrival_hash,
            fleet: Vec::new(),
            jobs: Vec::new(),
            folded: Vec::new(),
        };
        collected.take(seed, replication, &questions, &[]);
    }
    let decisions = scenario.properties.iter().zip(ratios).enumerate();
    let decisions = decisions.map(|(index, (property, ratio))| match ratio {
        Some((found, _)) => found.decision,
        None if is_seen(&property.measure) => {
            let evidence = collected.evidence(&questions, figures_count(scenario) + index);
            decide(&evidence, &plan, &property.measure, property.bound)
        }
        None => unseen(&property.measure, &plan),
    });
    let decisions = decisions.collect();
    let rest = Rest { decisions, comparisons, interrupted, plan };
    let mut experiment = collected.conclude(scenario, &questions, rest);
    experiment.expectations.clear();
    for (estimate, question) in experiment.estimates.iter_mut().zip(&questions) {
        if !matches!(question, Asked::Workload(_, measure) if is_seen(measure)) {
            *estimate = None;
        }
    }
    Ok(experiment)
}

/// What a client measures is what the client sees: there is no network to be added to it.
fn at_client(mut block: Measured) -> Measured {
    for workload in &mut block.recording.workloads {
        workload.latency[Metric::ClientE2e as usize] = workload.latency(Metric::E2e).clone();
    }
    block
}

/// By property what was decided of a ratio and of which cells, and the comparisons they are from.
type Ratios = (Vec<Option<(RatioDecision, Vec<usize>)>>, Vec<crate::results::Comparison>);

fn compare(
    scenario: &Scenario,
    against: &[Against<'_>],
    own: &[Measured],
    others: &[Measured],
    plan: &Plan,
) -> Ratios {
    let mut ratios = vec![None; scenario.properties.len()];
    let mut rows = Vec::new();
    for against in against {
        let mut other: Vec<&Measured> =
            others.iter().filter(|block| block.variant == *against.variant()).collect();
        other.sort_by_key(|block| block.index);
        assert_distinct(other.iter().copied());
        let mut pairs = Vec::new();
        for block in own.iter().filter(|block| !block.cut) {
            let same = other.iter().find(|other| other.index == block.index && !other.cut);
            pairs.extend(same.map(|other| (&block.recording, &other.recording)));
        }
        let compared = against.of_blocks(&pairs);
        for property in against.properties() {
            ratios[*property] = Some(compared.decide_blocks(against, *property, plan, pairs.len() as u32));
        }
        rows.push(compared.rows(against, &ratios, plan));
    }
    (ratios, rows)
}

fn assert_distinct<'m>(sorted: impl IntoIterator<Item = &'m Measured>) {
    let mut before: Option<u32> = None;
    for block in sorted {
        assert!(
            before < Some(block.index),
            "block {} of variant {:?} is there twice",
            block.index,
            block.variant
        );
        before = Some(block.index);
    }
}

/// Whether a client can tell.
fn is_seen(measure: &Measure) -> bool {
    match measure {
        Measure::Quantile(..)
        | Measure::Mean(_)
        | Measure::Share(_)
        | Measure::GoodputShare
        | Measure::Throughput
        | Measure::TokenThroughput
        | Measure::GoodputRate
        | Measure::Amplification
        | Measure::Wasted
        | Measure::Jobs(_)
        | Measure::JobQuantile(_)
        | Measure::JobMean => true,
        Measure::Utilization | Measure::Cost | Measure::CostPerMillionTokens | Measure::Replicas => false,
    }
}

fn unseen(measure: &Measure, plan: &Plan) -> Decision {
    let blocks = plan.looks()[0];
    Decision {
        verdict: Verdict::Inconclusive,
        reason: format!("a client does not see {}", measure_name(measure)),
        interval: None,
        pooled: None,
        alpha: plan.alpha(blocks),
        replications: blocks,
        open: false,
    }
}

/// What a reader must know of figures that a client measured.
const CAVEAT: &str = "measured by a client: replications are blocks played one after the other, intervals are between \
                      blocks, and what only the gateway sees (queues, utilization, limits, costs) is left out";

/// Takes out of a summary what only a gateway sees.
pub(super) fn seen(summary: Summary) -> Summary {
    let mut summary = Summary {
        caveats: vec![CAVEAT.to_owned()],
        limits: Vec::new(),
        binds_first: None,
        operations: Vec::new(),
        costs: None,
        ..summary
    };
    for workload in &mut summary.workloads {
        workload.network_ns = 0;
        workload.budget.clear();
        workload.beside_batch = None;
    }
    for pool in &mut summary.pools {
        pool.figures.clear();
        pool.fleet = None;
    }
    summary
}

#[cfg(test)]
mod tests;
