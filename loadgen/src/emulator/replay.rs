//! A run of the emulator once more, without sockets and without a clock.

use super::log::Log;
use std::collections::BTreeMap;
use tidegate_sim::engine::Totals;
use tidegate_sim::engine::live::{Input, replay as run};
use tidegate_sim::observe::Observer;
use tidegate_sim::observe::decisions::Decisions;
use tidegate_sim::request::{Arrival, Finished, Outcome, Refusal, RequestHead, WorkloadId};
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::{Source, SourceError};

/// What the repetition of a run amounted to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Hash of every decision.
    pub decisions: String,
    /// How many decisions there were.
    pub decided: u64,
    /// Requests and how they ended.
    pub totals: Totals,
    /// Whether the hash is that of the log; `None` when the log has none.
    pub same: Option<bool>,
}

/// Runs the inputs of a log through the engine as fast as events pop, `unskipped` as the emulator did or not: the decisions
/// are the same.
pub fn replay(scenario: &Scenario, log: &Log, unskipped: bool) -> Replayed {
    let gateway = scenario.gateway();
    let mut decisions = Decisions::default();
    let last = log.inputs.last().map_or(Time::ZERO, |(at, _)| *at);
    let until = log.end.as_ref().map_or(last, |(at, _)| *at);
    let inputs = log.inputs.iter().cloned();
    let totals = run(&gateway, scenario.seed, inputs, until, unskipped, &mut decisions);
    let (decisions, decided) = decisions.finish();
    let same = log.end.as_ref().map(|(_, logged)| *logged == decisions);
    Replayed { decisions, decided, totals, same }
}

/// A log against the schedule that was played: which requests were let in, on the wire and by the simulator alone.
#[derive(Clone, Debug)]
pub struct AgainstSchedule {
    /// Requests of both.
    pub requests: u64,
    /// Requests of the schedule that are not in the log.
    pub missing: u64,
    /// Requests that one let in and the other did not.
    pub differing: Vec<Differing>,
    /// When requests reached the gateway after they were due, beyond the earliest of them: p50, p99, most.
    pub late: [Span; 3],
}

/// A request that was let in once, and refused the other time.
#[derive(Clone, Copy, Debug)]
pub struct Differing {
    /// Its workload.
    pub workload: WorkloadId,
    /// Its session (its position in the schedule, without sessions).
    pub session: u64,
    /// Whether it was let in on the wire.
    pub live: bool,
    /// The refusal of the side that refused it.
    pub refusal: Refusal,
    /// How much later than due it reached the gateway.
    pub late: Span,
}

impl Differing {
    /// Whether the limit would have let it in after no more than `lag`: the difference is the lag's.
    pub fn is_at_an_edge(&self, lag: Span) -> bool {
        self.refusal.retry_after.is_some_and(|wait| wait <= lag)
    }
}

type Key = (WorkloadId, u64, u32);

/// Who was let in, and why the others were not.
#[derive(Default)]
struct Admissions(BTreeMap<Key, Option<Refusal>>);

impl Admissions {
    fn key(head: &RequestHead) -> Key {
        (head.workload, head.session, head.turn)
    }
}

impl Observer for Admissions {
    fn admitted(&mut self, _: Time, head: &RequestHead) {
        self.0.entry(Admissions::key(head)).or_insert(None);
    }
    fn finished(&mut self, done: &Finished) {
        if done.outcome == Outcome::Refused {
            // The first attempt decides: later ones are no part of the schedule.
            self.0.entry(Admissions::key(&done.head)).or_insert(done.refusal);
        }
    }
}

/// Compares the requests of `replication` in a log with the same requests at the instants when they were due.
///
/// # Errors
/// When a trace of the scenario cannot be read.
pub fn against_schedule(
    scenario: &Scenario,
    log: &Log,
    replication: u32,
) -> Result<AgainstSchedule, SourceError> {
    let seed = replication_seed(scenario.seed, replication);
    let mut due: Vec<Arrival> = Vec::new();
    for workload in 0..scenario.workloads.len() {
        let mut source = Source::open(scenario, workload as WorkloadId, seed)?;
        due.extend(std::iter::from_fn(|| source.next()));
    }
    let mut came: BTreeMap<Key, Time> = BTreeMap::new();
    for ((at, input), of) in log.inputs.iter().zip(&log.replications) {
        if let (Input::Request(arrival), Some(of)) = (input, of)
            && *of == replication
        {
            came.entry(Admissions::key(&arrival.head)).or_insert(*at);
        }
    }
    let of = |arrival: &Arrival| came.get(&Admissions::key(&arrival.head)).copied();
    let total = due.len() as u64;
    due.retain(|arrival| of(arrival).is_some());
    due.sort_by_key(|arrival| (arrival.at, arrival.head.workload, arrival.head.index));
    // The schedule began when the request that was least late was due.
    let distance = |arrival: &Arrival| {
        let came = of(arrival).expect("the others are gone");
        i128::from(came.as_nanos()) - i128::from(arrival.at.as_nanos())
    };
    // An emulator that runs faster than the schedule is played for its requests come early by its clock.
    let offset = due.iter().map(distance).min().unwrap_or(0).max(0);
    let mut late: Vec<u64> =
        due.iter().map(|arrival| u64::try_from(distance(arrival) - offset).unwrap_or(0)).collect();
    let offset = u64::try_from(offset).unwrap_or(0);
    let mut inputs = Vec::new();
    let mut latest = Time::ZERO;
    for arrival in &due {
        // Requests that are due together come one after the other, as over a wire.
        let at = Time::from_nanos(arrival.at.as_nanos() + offset).max(latest + Span::from_nanos(1));
        latest = at;
        inputs.push((at, Input::Request(Arrival { at, ..arrival.clone() })));
    }
    let gateway = scenario.gateway();
    let (mut predicted, mut live) = (Admissions::default(), Admissions::default());
    let drained = Span::from_secs(3_600);
    run(&gateway, scenario.seed, inputs, latest.saturating_add(drained), false, &mut predicted);
    let until = log.inputs.last().map_or(Time::ZERO, |(at, _)| *at).saturating_add(drained);
    run(&gateway, scenario.seed, log.inputs.iter().cloned(), until, false, &mut live);
    let mut differing = Vec::new();
    for (arrival, late) in due.iter().zip(&late) {
        let key = Admissions::key(&arrival.head);
        let (Some(one), Some(other)) = (predicted.0.get(&key), live.0.get(&key)) else { continue };
        if one.is_none() != other.is_none() {
            let refusal = one.or(*other).expect("one of them is a refusal");
            differing.push(Differing {
                workload: key.0,
                session: key.1,
                live: other.is_none(),
                refusal,
                late: Span::from_nanos(*late),
            });
        }
    }
    late.sort_unstable();
    let at = |share: f64| {
        let index = ((late.len() as f64 * share) as usize).min(late.len().saturating_sub(1));
        Span::from_nanos(late.get(index).copied().unwrap_or(0))
    };
    Ok(AgainstSchedule {
        requests: due.len() as u64,
        missing: total - due.len() as u64,
        differing,
        late: [at(0.5), at(0.99), at(1.0)],
    })
}
