//! Who hears what of a live run: requests their tokens, jobs their states, `/metrics` its counters.

use super::ear::Mouth;
use super::gateway::{BUCKETS, Buckets, Gauges, JobHandle, JobTold, LineDone, WorkloadGauge};
use super::mouths::Mouths;
use std::collections::HashMap;
use tidegate_sim::observe::{JobFact, JobState, Observer, PoolSample};
use tidegate_sim::request::{Finished, Outcome, PoolId, RequestHead, WorkloadId};
use tidegate_sim::scenario::{Arrivals, Scenario};
use tidegate_sim::time::{Span, Time};
use tokio::sync::mpsc;

/// The observer of an emulator's engine.
#[derive(Debug)]
pub(super) struct Teller {
    /// By workload.
    mouths: Vec<Mouths>,
    jobs: HashMap<(u16, u32), mpsc::UnboundedSender<JobTold>>,
    /// Requests of jobs in flight: batch, job, line.
    lines: HashMap<(WorkloadId, u64), (u16, u32, u32)>,
    /// By workload: whether its requests are those of jobs.
    of_jobs: Vec<bool>,
    gauges: Gauges,
}

impl Teller {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let reasons = scenario.policy.reasons();
        let workload = |_: &_| WorkloadGauge { refusals: vec![0; reasons], ..WorkloadGauge::default() };
        Teller {
            mouths: scenario.workloads.iter().map(|_| Mouths::default()).collect(),
            jobs: HashMap::new(),
            lines: HashMap::new(),
            of_jobs: scenario.workloads.iter().map(|w| matches!(w.arrivals, Arrivals::Jobs)).collect(),
            gauges: Gauges {
                pools: vec![PoolSample::default(); scenario.pools.len()],
                workloads: scenario.workloads.iter().map(workload).collect(),
                ..Gauges::default()
            },
        }
    }

    /// A request will come: who hears of it.
    pub(super) fn expect(&mut self, workload: WorkloadId, number: u64, mouth: Mouth) {
        self.mouths[usize::from(workload)].insert(number, mouth);
    }

    /// Nobody hears of a request any more.
    pub(super) fn forget(&mut self, workload: WorkloadId, number: u64) {
        self.mouths[usize::from(workload)].remove(number);
    }

    /// A job will come.
    pub(super) fn expect_job(&mut self, batch: u16, number: u32) -> JobHandle {
        let (ear, told) = mpsc::unbounded_channel();
        self.jobs.insert((batch, number), ear);
        JobHandle { number, told }
    }

    /// The counters so far; `lag` is p99 and most.
    pub(super) fn gauges(&self, lag: (u64, u64)) -> Gauges {
        Gauges { lag_ns: lag.0, lag_most_ns: lag.1, ..self.gauges.clone() }
    }

    fn mouth(&self, workload: WorkloadId, number: u64) -> Option<&Mouth> {
        self.mouths[usize::from(workload)].get(number)
    }
}

impl Observer for Teller {
    fn offered(&mut self, _: Time, head: &RequestHead) {
        self.gauges.workloads[usize::from(head.workload)].offered += 1;
    }

    fn admitted(&mut self, _: Time, head: &RequestHead) {
        if let Some(mouth) = self.mouth(head.workload, head.index) {
            mouth.admitted();
        }
    }

    fn token(&mut self, _: Time, head: &RequestHead, tokens: u32) {
        if let Some(mouth) = self.mouth(head.workload, head.index) {
            mouth.tokens(tokens);
        }
    }

    fn job_request(&mut self, batch: u16, job: u32, line: u32, head: &RequestHead) {
        self.lines.insert((head.workload, head.index), (batch, job, line));
    }

    fn finished(&mut self, done: &Finished) {
        let (workload, number) = (done.head.workload, done.head.index);
        self.gauges.workloads[usize::from(workload)].count(done);
        if self.of_jobs[usize::from(workload)] {
            if let Some((batch, job, line)) = self.lines.remove(&(workload, number))
                && let Some(ear) = self.jobs.get(&(batch, job))
            {
                let _ = ear.send(JobTold::Line(LineDone { batch, job, line, done: *done }));
            }
            return;
        }
        if let Some(mouth) = self.mouth(workload, number) {
            mouth.done(done);
        }
        self.forget(workload, number);
    }

    fn job(&mut self, _: Time, job: &JobFact) {
        let key = (job.batch, job.job);
        let Some(ear) = self.jobs.get(&key) else { return };
        let _ = ear.send(JobTold::State(*job));
        let over = [
            JobState::Failed,
            JobState::Refused,
            JobState::Completed,
            JobState::Expired,
            JobState::Cancelled,
        ];
        if over.contains(&job.state) {
            self.jobs.remove(&key);
        }
    }

    fn sampled(&mut self, _: Time, pool: PoolId, sample: &PoolSample) {
        self.gauges.pools[usize::from(pool)] = *sample;
    }
}

impl WorkloadGauge {
    fn count(&mut self, done: &Finished) {
        self.outcomes[done.outcome as usize] += 1;
        if let Some(refusal) = &done.refusal {
            self.refusals[usize::from(refusal.reason)] += 1;
        }
        self.output_tokens += u64::from(done.generated);
        if done.outcome == Outcome::Completed {
            self.prompt_tokens += u64::from(done.head.prompt_tokens);
            self.e2e.add(done.e2e());
            self.ttft.add(done.ttft().unwrap_or_else(|| done.e2e()));
        }
    }
}

impl Buckets {
    fn add(&mut self, span: Span) {
        let seconds = span.as_nanos() as f64 / 1e9;
        self.count += 1;
        self.sum_s += seconds;
        for (below, bound) in self.below.iter_mut().zip(BUCKETS) {
            *below += u64::from(seconds <= bound);
        }
    }
}
