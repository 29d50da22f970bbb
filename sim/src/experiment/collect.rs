//! What replications leave, taken one after the other: readings of every figure, and everything merged.

use super::Experiment;
use super::expect::{Finding, Found};
use super::paired::{Against, Compared, Folded};
use super::ratio::RatioDecision;
use super::statistics::{ALPHA, Evidence, Kind, Plan, interval};
use super::verdict::Decision;
use crate::engine::Totals;
use crate::observe::fleet_log::FleetEvent;
use crate::observe::jobs::JobStory;
use crate::observe::recorder::{Reading, Recording};
use crate::observe::recording::Asked;
use crate::results::comparison::Comparison;
use crate::results::{Estimate, asked};
use crate::scenario::Scenario;
use crate::time::Time;

/// One replication.
pub(super) struct Replication {
    pub(super) recording: Recording,
    pub(super) totals: Totals,
    pub(super) cut: bool,
    /// One for each claim; empty when the replication was cut, because a part of it shows nothing.
    pub(super) findings: Vec<Finding>,
    /// Only of the first.
    pub(super) arrival_hash: Option<String>,
    /// Only of the first.
    pub(super) fleet: Vec<FleetEvent>,
    /// Only of the first.
    pub(super) jobs: Vec<JobStory>,
    /// One for each comparison; empty when the replication was cut.
    pub(super) folded: Vec<Folded>,
}

/// What the replications so far have left.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) pooled: Option<Recording>,
    pub(super) seeds: Vec<u64>,
    pub(super) totals: Vec<Totals>,
    pub(super) arrival_hash: Option<String>,
    pub(super) fleet: Vec<FleetEvent>,
    pub(super) jobs: Vec<JobStory>,
    pub(super) found: Found,
    /// By question, by replication.
    pub(super) readings: Vec<Vec<Option<Reading>>>,
    /// By comparison.
    pub(super) compared: Vec<Compared>,
    /// The first replication that was cut, in case none is whole.
    pub(super) cut: Option<(u64, Replication)>,
}

/// What an experiment is besides what was collected.
pub(super) struct Rest {
    /// By property, in order.
    pub(super) decisions: Vec<Decision>,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) interrupted: bool,
    pub(super) plan: Plan,
}

/// The figures of every report, then those of the properties.
pub(super) fn questions(scenario: &Scenario) -> Vec<Asked> {
    let named = scenario.properties.iter().map(|p| Asked::Workload(p.workload, p.measure));
    asked(scenario).into_iter().chain(named).collect()
}

pub(super) fn figures_count(scenario: &Scenario) -> usize {
    asked(scenario).len()
}

/// What kind of figure answers a question. A pool's occupancy is a share of time, not of requests.
pub(super) fn kind(question: &Asked) -> Kind {
    match question {
        Asked::Workload(_, measure) => Kind::of(measure),
        Asked::Budget(..) | Asked::Beside(_) | Asked::Pool(..) | Asked::Tier(..) => Kind::Amount,
    }
}

pub(super) fn estimate(evidence: &Evidence, kind: Kind) -> Option<Estimate> {
    let pooled = evidence.pooled?;
    let found = interval(evidence, kind, ALPHA);
    Some(Estimate {
        value: pooled.value,
        low: found.map(|i| i.low),
        high: found.map(|i| i.high),
        samples: pooled.samples,
        replications: evidence.present().count() as u32,
    })
}

impl Collected {
    pub(super) fn take(
        &mut self,
        seed: u64,
        mut done: Replication,
        questions: &[Asked],
        against: &[Against<'_>],
    ) {
        self.arrival_hash = self.arrival_hash.take().or(done.arrival_hash.take());
        self.fleet.append(&mut done.fleet);
        self.jobs.append(&mut done.jobs);
        if done.cut {
            self.cut.get_or_insert((seed, done));
            return;
        }
        self.found.take(std::mem::take(&mut done.findings));
        for ((compared, against), folded) in self.compared.iter_mut().zip(against).zip(&done.folded) {
            compared.take(against, folded);
        }
        self.add(seed, done, questions);
    }

    fn add(&mut self, seed: u64, done: Replication, questions: &[Asked]) {
        for (readings, question) in self.readings.iter_mut().zip(questions) {
            readings.push(done.recording.answer(question));
        }
        self.seeds.push(seed);
        self.totals.push(done.totals);
        match &mut self.pooled {
            Some(pooled) => pooled.merge(&done.recording),
            None => self.pooled = Some(done.recording),
        }
    }

    /// With no whole replication, what there is of the first is better than nothing: its own time is the horizon.
    /// Returns whether that was needed.
    pub(super) fn fall_back(&mut self, questions: &[Asked]) -> bool {
        if self.pooled.is_some() {
            return false;
        }
        let (seed, mut done) = self.cut.take().expect("the first replication is always started");
        let ended = done.totals.ended - Time::ZERO;
        done.recording.horizon = done.recording.horizon.min(ended.max(done.recording.warmup));
        self.add(seed, done, questions);
        true
    }

    /// Decides a property that compares, after the whole replications there are.
    pub(super) fn decide_ratio(
        &self,
        against: &[Against<'_>],
        property: usize,
        plan: &Plan,
    ) -> (RatioDecision, Vec<usize>) {
        let found = against.iter().zip(&self.compared);
        let mut found =
            found.filter_map(|(against, compared)| Some((against, compared, against.position(property)?)));
        let (against, compared, position) =
            found.next().expect("every property that compares has a comparison");
        compared.decide(against, position, plan, self.seeds.len() as u32)
    }

    pub(super) fn evidence(&self, questions: &[Asked], index: usize) -> Evidence {
        Evidence {
            readings: self.readings[index].clone(),
            pooled: self.pooled.as_ref().and_then(|pooled| pooled.answer(&questions[index])),
        }
    }

    /// Everything that was found, once nothing more is taken; what was not decided is in `rest`.
    pub(super) fn conclude(mut self, scenario: &Scenario, questions: &[Asked], rest: Rest) -> Experiment {
        let partial = self.fall_back(questions);
        let figures = 0..figures_count(scenario);
        let estimates = figures.map(|i| estimate(&self.evidence(questions, i), kind(&questions[i])));
        let estimates = estimates.collect();
        let arrival_hash = self.arrival_hash.take().unwrap_or_default();
        let recording = self.pooled.expect("a whole replication or a part of one is there");
        assert_conserved(&recording, &self.totals);
        Experiment {
            recording,
            seeds: self.seeds,
            totals: self.totals,
            estimates,
            decisions: rest.decisions,
            expectations: self.found.rows(scenario),
            comparisons: rest.comparisons,
            interrupted: rest.interrupted,
            partial,
            fleet: self.fleet,
            jobs: self.jobs,
            arrival_hash,
            plan: rest.plan,
        }
    }
}

/// Every request that was offered ended once, and the counted ones are among all.
fn assert_conserved(recording: &Recording, totals: &[Totals]) {
    for (index, run) in totals.iter().enumerate() {
        let over: u64 = run.outcomes.iter().sum();
        assert_eq!(run.offered, over, "replication {index}: offered requests and outcomes differ");
    }
    let offered: u64 = totals.iter().map(|run| run.offered).sum();
    let counted: u64 = recording.workloads.iter().map(|w| w.offered).sum();
    assert!(counted <= offered, "{counted} requests were counted, only {offered} offered");
    for workload in &recording.workloads {
        let over: u64 = workload.outcomes.iter().sum();
        assert_eq!(workload.offered, over, "workload `{}`: offered and outcomes differ", workload.name);
    }
}
