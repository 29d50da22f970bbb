//! The books of a block: what every attempt saw, told to the simulator's own recorder, and what only a wire has beside it.
//!
//! They are kept on a thread of their own, which looks every few milliseconds: whoever sends only puts a pointer into a
//! queue, and never wakes anybody.

use super::gauge::{Gauge, Glance};
use super::headers::HeaderBook;
use crate::client::Seen;
use crate::client::attempt::Kind;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_sim::engine::Totals;
use tidegate_sim::observe::jobs::JobStory;
use tidegate_sim::observe::line::FEMTOS_PER_NANO;
use tidegate_sim::observe::recorder::{Recorder, Recording};
use tidegate_sim::observe::{GapRun, JobFact, Observer, StepLine};
use tidegate_sim::request::{Finished, Outcome, Settled, WorkloadId};
use tidegate_sim::results::live::{HeaderCheck, Lag, LiveCounts, LiveWorkload};
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::{Span, Time};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// How often the books are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What happened in a block.
#[derive(Debug)]
pub enum Fact {
    /// A request came up that depends on answers.
    Scheduled(WorkloadId),
    /// Requests of a workload were not sent.
    Unsent(WorkloadId, u64),
    /// An attempt is over.
    Attempt(Box<Attempt>),
    /// A request of a client that may try again is over.
    Settled(Box<Settled>),
    /// What became of the lines of a batch job.
    Lines(WorkloadId, Lines),
    /// A batch job is in another state.
    Job(Time, Box<JobFact>),
}

/// Requests of a batch job, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// All of them.
    pub scheduled: u64,
    /// Answered.
    pub succeeded: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Not over when it was called off.
    pub cancelled: u64,
    /// Never submitted.
    pub unsent: u64,
    /// Prompt tokens of answers.
    pub prompt_tokens: u64,
    /// Output tokens of answers.
    pub output_tokens: u64,
    /// What was planned of them.
    pub planned_tokens: u64,
}

/// An attempt that is over.
#[derive(Debug)]
pub struct Attempt {
    /// Its timeline.
    pub done: Finished,
    /// What its client saw.
    pub seen: Seen,
    /// What went wrong, when something did.
    pub kind: Option<Kind>,
    /// Whether it was due by the schedule of an open loop, so that its lag counts.
    pub open: bool,
    /// Whether it is the whole request.
    pub plain: bool,
}

/// One result for goose.
#[derive(Clone, Copy, Debug)]
pub struct Fed {
    /// The workload.
    pub workload: WorkloadId,
    /// From the schedule to the end.
    pub e2e: Duration,
    /// From the schedule to the first token.
    pub ttft: Option<Duration>,
    /// Status, when there is one.
    pub status: Option<u16>,
    /// What went wrong, when something did.
    pub error: Option<&'static str>,
}

/// What a block amounted to.
#[derive(Debug)]
pub struct Booked {
    /// What was recorded.
    pub recording: Recording,
    /// What it amounted to.
    pub totals: Totals,
    /// What only a wire has.
    pub tally: Tally,
    /// Its batch jobs.
    pub jobs: Vec<JobStory>,
}

/// What only a wire has, of one or more blocks.
#[derive(Clone, Debug)]
pub struct Tally {
    /// By workload.
    pub workloads: Vec<WorkloadTally>,
    /// Lags of open loops, nanoseconds.
    pub lag: Histogram<u64>,
    /// Requests of open loops that were on time.
    pub on_time: u64,
    /// Remaining-headers.
    pub headers: HeaderBook,
}

/// What only a wire has, of one workload.
#[derive(Clone, Debug, Default)]
pub struct WorkloadTally {
    /// What became of its requests.
    pub counts: LiveCounts,
    /// Attempts.
    pub attempts: u64,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Kind, u64>,
    prompt_tokens: u64,
    planned: u64,
    output: u64,
    wasted: u64,
    /// Answers whose length was not the planned one.
    missed: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(workloads: usize) -> Self {
        Tally {
            workloads: vec![WorkloadTally::default(); workloads],
            // A nanosecond to a day.
            lag: Histogram::new_with_bounds(1, 86_400_000_000_000, 3).expect("the bounds are constants"),
            on_time: 0,
            headers: HeaderBook::default(),
        }
    }

    /// Adds another block.
    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in self.workloads.iter_mut().zip(&other.workloads) {
            mine.merge(theirs);
        }
        self.lag.add(&other.lag).expect("both histograms have the same bounds");
        self.on_time += other.on_time;
        self.headers.merge(&other.headers);
    }

    /// What became of all requests.
    pub fn counts(&self) -> LiveCounts {
        let mut sum = LiveCounts::default();
        self.workloads.iter().for_each(|workload| add(&mut sum, &workload.counts));
        sum
    }

    /// The lag of open loops.
    pub fn lag(&self) -> Lag {
        let at = |quantile| if self.lag.is_empty() { 0 } else { self.lag.value_at_quantile(quantile) };
        Lag {
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: if self.lag.is_empty() { 0 } else { self.lag.max() },
            on_time: if self.lag.is_empty() { 1.0 } else { self.on_time as f64 / self.lag.len() as f64 },
            samples: self.lag.len(),
        }
    }

    /// By workload, as results have it.
    pub fn rows(&self, scenario: &Scenario) -> Vec<LiveWorkload> {
        let rows = scenario.workloads.iter().zip(&self.workloads);
        rows.map(|(workload, tally)| tally.row(&workload.name)).collect()
    }

    /// What headers said.
    pub fn header_checks(&self) -> Vec<HeaderCheck> {
        self.headers.checks()
    }
}

fn add(sum: &mut LiveCounts, part: &LiveCounts) {
    sum.scheduled += part.scheduled;
    sum.succeeded += part.succeeded;
    sum.refused += part.refused;
    sum.failed += part.failed;
    sum.cancelled += part.cancelled;
    sum.unsent += part.unsent;
}

impl WorkloadTally {
    fn merge(&mut self, other: &WorkloadTally) {
        add(&mut self.counts, &other.counts);
        self.attempts += other.attempts;
        other.statuses.iter().for_each(|(status, count)| *self.statuses.entry(*status).or_default() += count);
        other.failures.iter().for_each(|(kind, count)| *self.failures.entry(*kind).or_default() += count);
        self.prompt_tokens += other.prompt_tokens;
        self.planned += other.planned;
        self.output += other.output;
        self.wasted += other.wasted;
        self.missed += other.missed;
    }

    fn row(&self, name: &str) -> LiveWorkload {
        LiveWorkload {
            workload: name.to_owned(),
            counts: self.counts,
            attempts: self.attempts,
            statuses: self.statuses.iter().map(|(status, count)| (*status, *count)).collect(),
            failures: self.failures.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
            prompt_tokens: self.prompt_tokens,
            planned_output_tokens: self.planned,
            output_tokens: self.output,
            wasted_tokens: self.wasted,
            lengths_forced: self.counts.succeeded > 0 && self.missed == 0,
        }
    }

    /// A request is over.
    fn over(&mut self, outcome: Outcome) {
        let counts = &mut self.counts;
        match outcome {
            Outcome::Completed => counts.succeeded += 1,
            Outcome::Refused => counts.refused += 1,
            Outcome::TimedOut | Outcome::Expired | Outcome::Failed | Outcome::Lost => counts.failed += 1,
            Outcome::Queued
            | Outcome::Running
            | Outcome::Cancelled
            | Outcome::InTransfer
            | Outcome::BackingOff => counts.cancelled += 1,
        }
    }
}

/// The books of a block.
pub struct Ledger<'o> {
    recorder: Recorder,
    more: Option<&'o mut (dyn Observer + Send)>,
    totals: Totals,
    tally: Tally,
    late_ns: u64,
    plain: Vec<bool>,
    goose: UnboundedSender<Fed>,
    gauge: Arc<Gauge>,
}

impl<'o> Ledger<'o> {
    /// Empty books of a block that `scheduled` requests by workload are planned for. `more` is told every fact, too.
    pub fn new(
        scenario: &Scenario,
        scheduled: &[u64],
        more: Option<&'o mut (dyn Observer + Send)>,
        goose: UnboundedSender<Fed>,
        gauge: Arc<Gauge>,
    ) -> Self {
        // What lies between client and gateway is in what the client measures already.
        let mut seen_by_clients = scenario.clone();
        seen_by_clients.workloads.iter_mut().for_each(|workload| workload.network = Span::ZERO);
        let mut tally = Tally::new(scenario.workloads.len());
        for (workload, scheduled) in tally.workloads.iter_mut().zip(scheduled) {
            workload.counts.scheduled = *scheduled;
        }
        Ledger {
            recorder: Recorder::new(&seen_by_clients),
            more,
            totals: Totals::default(),
            tally,
            late_ns: scenario.live.validity.late.as_nanos(),
            plain: scenario.workloads.iter().map(|workload| workload.client.is_plain()).collect(),
            goose,
            gauge,
        }
    }

    /// Takes in facts until everybody who could tell one has gone. Blocks its thread.
    pub fn keep(mut self, mut facts: UnboundedReceiver<Fact>) -> Booked {
        let mut glances = Vec::with_capacity(1_024);
        loop {
            let found = facts.try_recv();
            let over = matches!(found, Err(TryRecvError::Disconnected));
            match found {
                Ok(fact) => self.take(fact, &mut glances),
                Err(TryRecvError::Empty) => std::thread::sleep(LOOK),
                Err(TryRecvError::Disconnected) => {}
            }
            if over || glances.len() >= 1_024 || found_nothing(&facts) {
                self.gauge.see(&glances);
                glances.clear();
            }
            if over {
                return self.finish();
            }
        }
    }

    fn finish(self) -> Booked {
        let counts = self.tally.counts();
        assert!(counts.is_conserved(), "requests were lost or counted twice: {counts:?}");
        let jobs = self.recorder.job_log();
        let recording = self.recorder.finish(self.totals.ended);
        Booked { recording, totals: self.totals, tally: self.tally, jobs }
    }

    fn take(&mut self, fact: Fact, glances: &mut Vec<Glance>) {
        match fact {
            Fact::Scheduled(workload) => {
                self.tally.workloads[usize::from(workload)].counts.scheduled += 1;
            }
            Fact::Unsent(workload, count) => {
                self.tally.workloads[usize::from(workload)].counts.unsent += count;
            }
            Fact::Attempt(attempt) => glances.push(self.attempt(&attempt)),
            Fact::Settled(settled) => {
                let tally = &mut self.tally.workloads[usize::from(settled.last.head.workload)];
                tally.over(settled.outcome);
                self.totals.requests += 1;
                self.totals.settled[settled.outcome as usize] += 1;
                self.observe(|observer| observer.settled(&settled));
            }
            Fact::Lines(workload, lines) => {
                let tally = &mut self.tally.workloads[usize::from(workload)];
                tally.counts.scheduled += lines.scheduled;
                tally.counts.succeeded += lines.succeeded;
                tally.counts.failed += lines.failed;
                tally.counts.cancelled += lines.cancelled;
                tally.counts.unsent += lines.unsent;
                tally.prompt_tokens += lines.prompt_tokens;
                tally.output += lines.output_tokens;
                tally.planned += lines.planned_tokens;
                tally.missed += u64::from(lines.output_tokens != lines.planned_tokens);
            }
            Fact::Job(now, job) => {
                self.totals.ended = self.totals.ended.max(now);
                self.observe(|observer| observer.job(now, &job));
            }
        }
    }

    fn attempt(&mut self, attempt: &Attempt) -> Glance {
        let Attempt { done, seen, kind, open, plain } = attempt;
        assert_eq!(
            *plain,
            self.plain[usize::from(done.head.workload)],
            "a workload's clients are of one kind"
        );
        self.tell(done, seen);
        self.totals.offered += 1;
        self.totals.outcomes[done.outcome as usize] += 1;
        self.totals.ended = self.totals.ended.max(done.ended);
        let lag_ns = open.then(|| seen.sent.saturating_sub(done.sent.as_nanos()));
        if let Some(lag) = lag_ns {
            self.tally.lag.saturating_record(lag.max(1));
            self.tally.on_time += u64::from(lag <= self.late_ns);
        }
        self.tally.headers.see((done.head.workload, done.head.tenant), &seen.remaining, done.outcome);
        let tally = &mut self.tally.workloads[usize::from(done.head.workload)];
        tally.attempts += 1;
        *tally.statuses.entry(seen.status).or_default() += 1;
        if let Some(kind) = kind {
            *tally.failures.entry(*kind).or_default() += 1;
        }
        let output = u64::from(done.generated);
        if done.outcome == Outcome::Completed {
            tally.prompt_tokens += u64::from(seen.usage.prompt.unwrap_or(done.head.prompt_tokens));
            tally.planned += u64::from(done.output_tokens);
            tally.output += output;
            tally.missed += u64::from(done.generated != done.output_tokens);
        } else {
            tally.wasted += output;
        }
        if *plain {
            tally.over(done.outcome);
        }
        let ttft = done.ttft();
        self.feed(attempt, ttft);
        let failed = matches!(done.outcome, Outcome::Failed | Outcome::TimedOut);
        Glance {
            lag_ns,
            e2e_ns: done.e2e().as_nanos(),
            ttft_ns: ttft.map(Span::as_nanos),
            completed: done.outcome == Outcome::Completed,
            refused: done.outcome == Outcome::Refused,
            failed,
            status: seen.status,
        }
    }

    /// The facts of an attempt, in the order in which an engine tells them.
    fn tell(&mut self, done: &Finished, seen: &Seen) {
        let head = &done.head;
        self.observe(|observer| observer.offered(done.arrived, head));
        if let Some(sent) = done.dispatched {
            self.observe(|observer| {
                observer.admitted(sent, head);
                observer.dispatched(sent, head, done.pool, 0);
            });
        }
        let mut before = None;
        for at in seen.tokens.iter().map(|&at| Time::from_nanos(at.max(done.arrived.as_nanos()))) {
            match before {
                None => self.observe(|observer| {
                    observer.first_token(at, head.workload, done.pool, at - done.arrived);
                }),
                Some(before) => {
                    let run = GapRun {
                        workload: head.workload,
                        pool: done.pool,
                        count: 1,
                        first: at - before,
                        steps: 1,
                        line: StepLine { a: 0, b: 0, quantum_fs: FEMTOS_PER_NANO },
                        first_end: at,
                        last_start: at,
                        end: at,
                    };
                    self.observe(|observer| observer.gaps(&run));
                }
            }
            before = Some(at);
        }
        self.observe(|observer| observer.finished(done));
    }

    fn observe(&mut self, tell: impl Fn(&mut dyn Observer)) {
        tell(&mut self.recorder);
        if let Some(more) = &mut self.more {
            tell(*more);
        }
    }

    fn feed(&self, attempt: &Attempt, ttft: Option<Span>) {
        let done = &attempt.done;
        let duration = |span: Span| Duration::from_nanos(span.as_nanos());
        let error = match done.outcome {
            Outcome::Completed => None,
            Outcome::Failed => Some(attempt.kind.map_or("failed", Kind::name)),
            outcome => Some(outcome.name()),
        };
        let fed = Fed {
            workload: done.head.workload,
            e2e: duration(done.e2e()),
            ttft: ttft.filter(|_| error.is_none()).map(duration),
            status: (attempt.seen.status != 0).then_some(attempt.seen.status),
            error,
        };
        // Goose may have been stopped; our books are the record.
        let _ = self.goose.send(fed);
    }
}

/// Whether everything was taken in, so that those who watch may see it.
fn found_nothing(facts: &UnboundedReceiver<Fact>) -> bool {
    facts.is_empty()
}
