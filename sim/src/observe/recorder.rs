//! The observer that counts: every latency into a histogram, every outcome into a counter, every bin into a timeline.
//!
//! It is told millions of facts a second, so the paths taken per token and per step allocate nothing and divide by
//! nothing that varies, unless a run of steps crosses into another bin.

use crate::limits::Usage;
use crate::observe::hist::Latency;
pub use crate::observe::recording::{Asked, PoolMeasure, Reading, Recording};
use crate::observe::recording::{
    BudgetSums, LimitRecord, OperationRecord, PoolRecord, TenantRecord, WorkloadRecord,
};
use crate::observe::timeline::Timeline;
use crate::observe::{GapRun, Observer, PoolSample, StepRun};
use crate::request::{Finished, Outcome, PoolId, Refusal, ReplicaId, RequestHead, WorkloadId};
use crate::scenario::{Engine, Metric, Objectives, Scenario};
use crate::time::{Span, Time};

/// Most steps of a run whose gaps are recorded one by one; longer runs go bucket by bucket.
const SHORT_RUN: u64 = 4;

/// Records one run. See [`Recording`] for what comes out.
#[derive(Clone, Debug)]
pub struct Recorder {
    recording: Recording,
    /// What the hot path needs of each workload, next to each other.
    rules: Vec<Rules>,
    warmup: Time,
    horizon: Time,
    bin: u64,
    /// The segment the last fact fell into; most facts fall into the same one.
    here: Segment,
}

/// What the recorder must know of a workload while it runs.
#[derive(Clone, Copy, Debug)]
struct Rules {
    pool: usize,
    network: Span,
    objectives: Objectives,
}

/// A stretch of time in which every instant counts alike: one bin, cut at the warm-up and at the horizon.
#[derive(Clone, Copy, Debug)]
struct Segment {
    from: Time,
    until: Time,
    bin: usize,
    /// At or after the end of the warm-up.
    warm: bool,
    /// `warm`, and before the horizon.
    inside: bool,
}

impl Recorder {
    /// A recorder for one replication of `scenario`.
    pub fn new(scenario: &Scenario) -> Self {
        let workloads = scenario.workloads.iter().map(|workload| WorkloadRecord {
            name: workload.name.clone(),
            pool: usize::from(workload.pool),
            offered: 0,
            outcomes: [0; Outcome::ALL.len()],
            refusals: vec![0; scenario.policy.reasons()],
            latency: std::array::from_fn(|_| Latency::new()),
            budget: BudgetSums::default(),
            met: 0,
            completed_inside: 0,
            met_inside: 0,
            tokens_inside: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            preemptions: 0,
            tenants: vec![TenantRecord::default(); workload.tenants as usize],
        });
        let pools = scenario.pools.iter().map(|pool| PoolRecord {
            name: pool.name.clone(),
            workers: u64::from(pool.replicas)
                * match &pool.engine {
                    Engine::Llm(_) => 1,
                    Engine::Slots(slots) => u64::from(slots.servers),
                },
            busy_inside_ns: 0,
            steps: 0,
            outside_range: 0,
            timeline: Timeline::new(scenario.bin, scenario.horizon),
        });
        let policy = &scenario.policy;
        let operations = policy.operations.iter().map(|operation| OperationRecord {
            name: operation.name.clone(),
            refusals: vec![0; policy.reasons()],
            ..OperationRecord::default()
        });
        let limits = policy
            .limits
            .iter()
            .map(|limit| LimitRecord { name: limit.name.clone(), ..LimitRecord::default() });
        let mut recorder = Recorder {
            rules: scenario
                .workloads
                .iter()
                .map(|w| Rules { pool: usize::from(w.pool), network: w.network, objectives: w.objectives })
                .collect(),
            recording: Recording {
                replications: 1,
                warmup: scenario.warmup,
                horizon: scenario.horizon,
                ended: Span::ZERO,
                workloads: workloads.collect(),
                pools: pools.collect(),
                operations: operations.collect(),
                limits: limits.collect(),
            },
            warmup: Time::ZERO + scenario.warmup,
            horizon: Time::ZERO + scenario.horizon,
            bin: scenario.bin.as_nanos(),
            here: Segment { from: Time::ZERO, until: Time::ZERO, bin: 0, warm: false, inside: false },
        };
        recorder.here = recorder.find(Time::ZERO);
        recorder
    }

    /// Ends the run at `ended` and gives out what was recorded.
    ///
    /// Panics when a request was offered but never finished, or finished but never offered, and when the latency
    /// budgets do not sum to the end-to-end latencies: both would be bugs of the engine.
    pub fn finish(mut self, ended: Time) -> Recording {
        self.recording.ended = ended - Time::ZERO;
        for limit in &mut self.recording.limits {
            limit.counter_ns = u128::from(limit.keys) * u128::from(self.recording.ended.as_nanos());
        }
        for (workload, rules) in self.recording.workloads.iter_mut().zip(&self.rules) {
            if rules.network.is_zero() {
                workload.latency[Metric::ClientE2e as usize] = workload.latency[Metric::E2e as usize].clone();
            }
        }
        for workload in &self.recording.workloads {
            let over: u64 = workload.outcomes.iter().sum();
            assert_eq!(
                workload.offered, over,
                "workload `{}`: offered requests and outcomes differ at {ended}",
                workload.name
            );
            assert_eq!(
                workload.budget.total(),
                workload.latency(Metric::E2e).sum_ns(),
                "workload `{}`: latency budgets do not sum to the end-to-end latencies",
                workload.name
            );
        }
        self.recording
    }

    /// The segment that holds `at`.
    #[inline(always)]
    fn segment(&mut self, at: Time) -> Segment {
        if at < self.here.from || at >= self.here.until {
            self.here = self.find(at);
        }
        self.here
    }

    #[cold]
    fn find(&self, at: Time) -> Segment {
        let index = at.as_nanos() / self.bin;
        let mut from = Time::from_nanos(index * self.bin);
        let mut until = Time::from_nanos((index + 1).saturating_mul(self.bin));
        for edge in [self.warmup, self.horizon] {
            if edge <= at {
                from = from.max(edge);
            } else {
                until = until.min(edge);
            }
        }
        let warm = at >= self.warmup;
        Segment { from, until, bin: index as usize, warm, inside: warm && at < self.horizon }
    }

    /// Whether a request that arrived at `at` is counted.
    #[inline]
    fn counts(&self, at: Time) -> bool {
        at >= self.warmup && at < self.horizon
    }

    /// Counts `tokens` output tokens that came out in `segment`.
    #[inline(always)]
    fn tokens(&mut self, workload: WorkloadId, segment: Segment, tokens: u64) {
        let index = usize::from(workload);
        let pool = self.rules[index].pool;
        self.recording.pools[pool].timeline.bin(segment.bin).output_tokens += tokens;
        if segment.inside {
            self.recording.workloads[index].tokens_inside += tokens;
        }
    }

    /// Records the gaps `from..until` of `run`, which came out in `segment` and last `total` together.
    #[inline]
    fn gaps_within(&mut self, run: &GapRun, segment: Segment, from: u64, until: u64, total: Span) {
        let times = u64::from(run.count);
        self.tokens(run.workload, segment, times * (until - from));
        if !segment.warm {
            return;
        }
        let itl = &mut self.recording.workloads[usize::from(run.workload)].latency[Metric::Itl as usize];
        if until - from == 1 {
            itl.record(total, times);
        } else if until - from <= SHORT_RUN {
            for i in from..until {
                itl.record(run.gap(i), times);
            }
        } else {
            itl.record_run(run, from, until, total);
        }
    }

    /// A run whose last token (or two) came out in another segment than the ones before.
    #[cold]
    fn gaps_across(&mut self, run: &GapRun, last: Segment) {
        let steps = run.steps;
        // A run ends with the step that reaches a boundary, so at most the last token lies beyond it, and the one
        // before when it came out exactly at the boundary.
        let late = if steps >= 2 && run.last_start >= last.from { 2 } else { 1 };
        let late_total = (steps - late..steps).fold(Span::ZERO, |sum, i| sum + run.gap(i));
        let total = run.first + (run.end - run.first_end);
        let early = self.segment(run.first_end);
        let early_end = run.end - late_total;
        assert!(
            early_end < early.until || steps - late == 1,
            "a run of {steps} gaps from {} to {} crosses a boundary before its last step",
            run.first_end,
            run.end
        );
        self.gaps_within(run, early, 0, steps - late, total - late_total);
        self.gaps_within(run, last, steps - late, steps, late_total);
    }
}

impl Observer for Recorder {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        let index = usize::from(head.workload);
        let segment = self.segment(now);
        self.recording.pools[self.rules[index].pool].timeline.bin(segment.bin).offered += 1;
        if segment.inside {
            let workload = &mut self.recording.workloads[index];
            workload.offered += 1;
            workload.tenants[head.tenant as usize].offered += 1;
        }
    }

    fn dispatched(&mut self, now: Time, _head: &RequestHead, pool: PoolId, _replica: ReplicaId) {
        let segment = self.segment(now);
        self.recording.pools[usize::from(pool)].timeline.bin(segment.bin).admitted += 1;
    }

    fn first_token(&mut self, now: Time, workload: WorkloadId, ttft: Span) {
        let segment = self.segment(now);
        self.tokens(workload, segment, 1);
        // By arrival, like every figure of a whole request: counting by the instant of the token would favour long
        // waits that began before the warm-up ended.
        if self.counts(now - ttft) {
            self.recording.workloads[usize::from(workload)].latency[Metric::Ttft as usize].record(ttft, 1);
        }
    }

    #[inline]
    fn gaps(&mut self, run: &GapRun) {
        let last = self.segment(run.end);
        if run.first_end >= last.from {
            let total = run.first + (run.end - run.first_end);
            self.gaps_within(run, last, 0, run.steps, total);
        } else {
            self.gaps_across(run, last);
        }
    }

    #[inline]
    fn worked(&mut self, run: &StepRun) {
        let first = self.segment(run.start);
        let pool = &mut self.recording.pools[usize::from(run.pool)];
        pool.steps += run.steps;
        // Apart, because the compiler would add both as one vector, loaded before its halves are stored.
        if run.outside_range > 0 {
            pool.outside_range += run.outside_range;
        }
        if run.end <= first.until {
            let busy = (run.end - run.start).as_nanos() * u64::from(run.busy);
            pool.timeline.bin(first.bin).busy_ns += busy;
            pool.busy_inside_ns += if first.inside { u128::from(busy) } else { 0 };
        } else {
            pool.timeline.busy(run.start, run.end, run.busy, first.bin);
            let clipped = run.end.min(self.horizon).saturating_since(run.start.max(self.warmup));
            pool.busy_inside_ns += u128::from(clipped.as_nanos()) * u128::from(run.busy);
        }
    }

    fn finished(&mut self, done: &Finished) {
        let index = usize::from(done.head.workload);
        let rules = self.rules[index];
        let segment = self.segment(done.ended);
        let completed = done.outcome == Outcome::Completed;
        let met = completed && meets(done, &rules.objectives);
        if let Some(refusal) = done.refusal {
            self.recording.refuse(refusal.reason, done.ended);
        }
        let workload = &mut self.recording.workloads[index];
        if completed {
            self.recording.pools[rules.pool].timeline.bin(segment.bin).completed += 1;
            if segment.inside {
                workload.completed_inside += 1;
                workload.met_inside += u64::from(met);
            }
        }
        if done.arrived < self.warmup || done.arrived >= self.horizon {
            return;
        }
        workload.count(done, met);
        if completed {
            let e2e = done.e2e();
            workload.budget.add(&done.budget());
            workload.latency[Metric::E2e as usize].record(e2e, 1);
            // Without a network the client sees what the server sees: copied once, in `finish`.
            if !rules.network.is_zero() {
                workload.latency[Metric::ClientE2e as usize].record(e2e + rules.network, 1);
            }
            if let Some(tpot) = done.tpot() {
                workload.latency[Metric::Tpot as usize].record(tpot, 1);
            }
        }
    }

    fn operated(&mut self, now: Time, operation: usize, _number: u64, verdict: Result<(), Refusal>) {
        let record = &mut self.recording.operations[operation];
        record.offered += 1;
        match verdict {
            Ok(()) => record.accepted += 1,
            Err(refusal) => {
                record.refusals[usize::from(refusal.reason)] += 1;
                self.recording.refuse(refusal.reason, now);
            }
        }
    }

    fn violated(&mut self, _now: Time, limit: usize, _head: &RequestHead) {
        self.recording.limits[limit].violations += 1;
    }

    fn metered(&mut self, limit: usize, usage: &Usage) {
        let record = &mut self.recording.limits[limit];
        record.offered = usage.offered;
        record.admitted = usage.admitted;
        record.peak = usage.peak;
        record.peak_limit = usage.peak_limit;
        record.blocked_ns = usage.blocked;
        record.keys = usage.keys;
    }

    fn sampled(&mut self, now: Time, pool: PoolId, sample: &PoolSample) {
        self.recording.pools[usize::from(pool)].timeline.sample(now, sample);
    }
}

impl WorkloadRecord {
    /// Counts a request that is over.
    #[inline]
    fn count(&mut self, done: &Finished, met: bool) {
        let (prompt, output) = (u64::from(done.head.prompt_tokens), u64::from(done.generated));
        self.outcomes[done.outcome as usize] += 1;
        if let Some(refusal) = done.refusal {
            self.refusals[usize::from(refusal.reason)] += 1;
        }
        self.met += u64::from(met);
        self.prompt_tokens += prompt;
        self.cached_tokens += u64::from(done.cached_tokens);
        self.output_tokens += output;
        self.preemptions += u64::from(done.preemptions);
        let tenant = &mut self.tenants[done.head.tenant as usize];
        tenant.outcomes[done.outcome as usize] += 1;
        tenant.met += u64::from(met);
        tenant.prompt_tokens += prompt;
        tenant.output_tokens += output;
    }
}

/// Whether a completed request met every objective. An answer of one token has no gap and meets any TPOT; an answer
/// without a first token (a `slots` pool) cannot claim to have met a TTFT.
#[inline]
fn meets(done: &Finished, objectives: &Objectives) -> bool {
    objectives.e2e.is_none_or(|most| done.e2e() <= most)
        && objectives.ttft.is_none_or(|most| done.ttft().is_some_and(|ttft| ttft <= most))
        && objectives.tpot.is_none_or(|most| done.tpot().is_none_or(|tpot| tpot <= most))
}
