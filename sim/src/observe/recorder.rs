//! The observer that counts: every latency into a histogram, every outcome into a counter, every bin into a timeline.
//!
//! It is told millions of facts a second, so the paths taken per token and per step allocate nothing and divide by
//! nothing that varies, unless a run of steps crosses into another bin.

use crate::limits::Usage;
use crate::observe::attempts::{AttemptRecord, Books};
use crate::observe::bill::{Prices, Served, prompt_pools};
use crate::observe::counted::Over;
use crate::observe::fleet_log::FleetEvent;
use crate::observe::hist::Latency;
use crate::observe::jobs::{JobStory, JobTracker};
pub use crate::observe::recording::{Asked, PoolMeasure, Reading, Recording};
use crate::observe::recording::{
    BudgetSums, LimitRecord, OperationRecord, PoolRecord, TenantRecord, WorkloadRecord,
};
use crate::observe::scale::{ScaleRecord, ScaleRules, ScaleTracker};
use crate::observe::timeline::Timeline;
use crate::observe::{FaultFact, GapRun, JobFact, JobState, Observer, PoolSample, ScaleChange, StepRun};
use crate::request::{Finished, Outcome, PoolId, Refusal, ReplicaId, RequestHead, Settled, WorkloadId};
use crate::scenario::{Arrivals, Engine, Metric, Objectives, Scenario};
use crate::time::{Span, Time};

/// Most steps of a run whose gaps are recorded one by one; longer runs go bucket by bucket.
const SHORT_RUN: u64 = 4;

/// Records one run. See [`Recording`] for what comes out.
#[derive(Clone, Debug)]
pub struct Recorder {
    recording: Recording,
    /// What the hot path needs of each workload, next to each other.
    rules: Vec<Rules>,
    /// The pool that processes the prompts of each pool.
    prompts: Vec<PoolId>,
    /// Whether a pool processes prompts for another one.
    serves_prompts: Vec<bool>,
    /// By pool.
    scales: Vec<ScaleTracker>,
    /// By workload; of those that are not plain.
    books: Vec<Books>,
    /// Batch jobs.
    jobs: JobTracker,
    /// Every change of the fleet, when it is kept.
    log: Option<Vec<FleetEvent>>,
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
    /// Whether only `pool` can serve it.
    one_pool: bool,
    /// Whether every request is one attempt.
    plain: bool,
    /// Whether its requests are those of batch jobs.
    batch: bool,
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
            pools: scenario.pools_of(workload).into_iter().map(usize::from).collect(),
            offered: 0,
            outcomes: [0; Outcome::ALL.len()],
            refusals: vec![0; scenario.policy.reasons()],
            latency: std::array::from_fn(|_| Latency::new()),
            budget: BudgetSums::default(),
            beside: 0,
            met: 0,
            completed_inside: 0,
            met_inside: 0,
            tokens_inside: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            useful_tokens: 0,
            preemptions: 0,
            tenants: vec![TenantRecord::default(); workload.tenants as usize],
            served: vec![Served::default(); scenario.pools.len()],
            attempts: (!workload.client.is_plain())
                .then(|| AttemptRecord::new(scenario.bin, scenario.horizon)),
        });
        let pools = scenario.pools.iter().map(|pool| PoolRecord {
            name: pool.name.clone(),
            replicas: u64::from(pool.replicas),
            servers: match &pool.engine {
                Engine::Llm(_) => 1,
                Engine::Slots(slots) => u64::from(slots.servers),
            },
            scale: ScaleRecord::default(),
            tokens_inside: 0,
            busy_inside_ns: 0,
            steps: 0,
            outside_range: 0,
            timeline: Timeline::new(scenario.bin, scenario.horizon),
        });
        let prices = Prices::new(scenario);
        let scales = scenario.pools.iter().enumerate().map(|(index, pool)| {
            let rules = ScaleRules {
                warmup: Time::ZERO + scenario.warmup,
                horizon: Time::ZERO + scenario.horizon,
                bin: scenario.bin,
                gpus: scenario.gpus_of_replica(index as PoolId),
                paid_anyway: prices.pools[index].paid_anyway,
            };
            ScaleTracker::new(rules, pool.fleet.initial)
        });
        let scales = scales.collect();
        let prompts = prompt_pools(scenario);
        let served_by = |index: usize| {
            prompts.iter().enumerate().any(|(own, by)| own != index && usize::from(*by) == index)
        };
        let tiers = (0..scenario.tiers.len()).map(|tier| {
            let of = |(index, workload): (usize, &crate::scenario::Workload)| {
                (workload.tier == tier).then_some(index)
            };
            scenario.workloads.iter().enumerate().filter_map(of).collect()
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
                .map(|w| Rules {
                    pool: usize::from(w.pool),
                    one_pool: scenario.pools_of(w).len() == 1,
                    plain: w.client.is_plain(),
                    batch: matches!(w.arrivals, Arrivals::Jobs),
                    network: w.network,
                    objectives: w.objectives,
                })
                .collect(),
            serves_prompts: (0..scenario.pools.len()).map(served_by).collect(),
            scales,
            books: vec![Books::default(); scenario.workloads.len()],
            jobs: JobTracker::new(scenario),
            log: None,
            recording: Recording {
                replications: 1,
                warmup: scenario.warmup,
                horizon: scenario.horizon,
                ended: Span::ZERO,
                workloads: workloads.collect(),
                pools: pools.collect(),
                operations: operations.collect(),
                limits: limits.collect(),
                batches: Vec::new(),
                tiers: tiers.collect(),
                prices,
            },
            prompts,
            warmup: Time::ZERO + scenario.warmup,
            horizon: Time::ZERO + scenario.horizon,
            bin: scenario.bin.as_nanos(),
            here: Segment { from: Time::ZERO, until: Time::ZERO, bin: 0, warm: false, inside: false },
        };
        recorder.here = recorder.find(Time::ZERO);
        recorder
    }

    /// Keeps every change of the fleet as well, for [`Recorder::take_fleet_log`].
    pub fn with_fleet_log(mut self) -> Self {
        self.log = Some(Vec::new());
        self
    }

    /// The changes of the fleet so far, in order; empty when they were not kept.
    pub fn take_fleet_log(&mut self) -> Vec<FleetEvent> {
        self.log.take().unwrap_or_default()
    }

    /// The batch jobs so far, batch by batch, in order of submission.
    pub fn job_log(&self) -> Vec<JobStory> {
        self.jobs.stories()
    }

    /// Ends the run at `ended` and gives out what was recorded.
    ///
    /// Panics when a request was offered but never finished, or finished but never offered, when attempts and the
    /// requests they are of do not balance, and when the latency budgets do not sum to the end-to-end latencies: all
    /// would be bugs of the engine.
    pub fn finish(mut self, ended: Time) -> Recording {
        self.recording.ended = ended - Time::ZERO;
        for (pool, scale) in self.recording.pools.iter_mut().zip(self.scales) {
            pool.scale = scale.finish(ended);
        }
        self.recording.batches = self.jobs.finish(ended);
        for (workload, books) in self.recording.workloads.iter().zip(&self.books) {
            if let Some(attempts) = &workload.attempts {
                books.assert_balanced(&workload.name, workload.offered);
                let over: u64 = attempts.outcomes.iter().sum();
                assert_eq!(
                    attempts.offered, over,
                    "workload `{}`: offered attempts and their outcomes differ at {ended}",
                    workload.name
                );
            }
        }
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
    fn tokens(&mut self, workload: WorkloadId, pool: PoolId, segment: Segment, tokens: u64) {
        let batch = self.rules[usize::from(workload)].batch;
        let pool = &mut self.recording.pools[usize::from(pool)];
        let bin = pool.timeline.bin(segment.bin);
        bin.output_tokens += tokens;
        bin.batch_tokens += if batch { tokens } else { 0 };
        if segment.inside {
            pool.tokens_inside += tokens;
            self.recording.workloads[usize::from(workload)].tokens_inside += tokens;
        }
    }

    /// Records the gaps `from..until` of `run`, which came out in `segment` and last `total` together.
    #[inline]
    fn gaps_within(&mut self, run: &GapRun, segment: Segment, from: u64, until: u64, total: Span) {
        let times = u64::from(run.count);
        self.tokens(run.workload, run.pool, segment, times * (until - from));
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

impl Recorder {
    /// Notes what an attempt that is over took of the pools that worked on it.
    #[inline]
    fn serve(&mut self, done: &Finished) {
        let served = &mut self.recording.workloads[usize::from(done.head.workload)].served;
        let pool = usize::from(done.pool);
        let prompts = usize::from(self.prompts[pool]);
        if done.scheduled.is_some() {
            served[prompts].tokens += u64::from(done.head.prompt_tokens - done.cached_tokens);
        }
        // The first token comes out where the prompt is processed.
        let first = u64::from(done.generated.min(1));
        served[prompts].tokens += first;
        served[pool].tokens += u64::from(done.generated) - first;
        served[pool].requests += u64::from(done.outcome == Outcome::Completed);
    }

    /// Counts a request that is over.
    #[inline]
    fn over(&mut self, segment: Segment, over: &Over<'_>) {
        let index = usize::from(over.done.head.workload);
        let rules = &self.rules[index];
        let met = over.meets(&rules.objectives);
        let completed = over.outcome == Outcome::Completed;
        let workload = &mut self.recording.workloads[index];
        if completed && segment.inside {
            workload.completed_inside += 1;
            workload.met_inside += u64::from(met);
        }
        if over.arrived < self.warmup || over.arrived >= self.horizon {
            return;
        }
        workload.count(over, met);
        if completed {
            let e2e = over.e2e();
            workload.budget.add(&over.budget());
            workload.beside += u128::from(over.done.beside.as_nanos());
            workload.latency[Metric::E2e as usize].record(e2e, 1);
            // Without a network the client sees what the server sees: copied once, in `finish`.
            if !rules.network.is_zero() {
                workload.latency[Metric::ClientE2e as usize].record(e2e + rules.network, 1);
            }
            if let Some(tpot) = over.done.tpot() {
                workload.latency[Metric::Tpot as usize].record(tpot, 1);
            }
        }
    }
}

impl Observer for Recorder {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        let index = usize::from(head.workload);
        let segment = self.segment(now);
        let rules = &self.rules[index];
        // Where there is a choice, nobody knows yet: see `finished`.
        if rules.one_pool {
            self.recording.pools[rules.pool].timeline.bin(segment.bin).offered += 1;
        }
        let workload = &mut self.recording.workloads[index];
        if let Some(attempts) = &mut workload.attempts {
            attempts.offered += u64::from(segment.inside);
            attempts.bin(segment.bin).attempts += 1;
        } else if segment.inside {
            workload.offered += 1;
            workload.tenants[head.tenant as usize].offered += 1;
        }
    }

    fn dispatched(&mut self, now: Time, _head: &RequestHead, pool: PoolId, _replica: ReplicaId) {
        let segment = self.segment(now);
        let pool = usize::from(pool);
        let bin = self.recording.pools[pool].timeline.bin(segment.bin);
        bin.admitted += 1;
        // What a pool is offered that processes prompts for others is what they send to it.
        bin.offered += u64::from(self.serves_prompts[pool]);
    }

    fn first_token(&mut self, now: Time, workload: WorkloadId, pool: PoolId, ttft: Span) {
        let segment = self.segment(now);
        self.tokens(workload, pool, segment, 1);
        // Where prompts are processed for another pool, the work is done with the first token.
        if self.serves_prompts[usize::from(pool)] {
            self.recording.pools[usize::from(pool)].timeline.bin(segment.bin).completed += 1;
        }
        // By arrival, like every figure of a whole request: counting by the instant of the token would favour long
        // waits that began before the warm-up ended.
        if self.rules[usize::from(workload)].plain && self.counts(now - ttft) {
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
        if let Some(refusal) = done.refusal {
            self.recording.refuse(refusal.reason, done.ended);
        }
        let timeline = &mut self.recording.pools[usize::from(done.pool)].timeline;
        if done.outcome == Outcome::Completed {
            timeline.bin(segment.bin).completed += 1;
        }
        if !rules.one_pool {
            timeline.bin((done.arrived.as_nanos() / self.bin) as usize).offered += 1;
        }
        if segment.inside {
            self.serve(done);
        }
        if rules.plain {
            return self.over(segment, &Over::plain(done));
        }
        let counted = self.counts(done.arrived);
        self.books[index].attempt(done, counted);
        if let Some(attempts) = self.recording.workloads[index].attempts.as_mut().filter(|_| counted) {
            attempts.outcomes[done.outcome as usize] += 1;
        }
    }

    fn settled(&mut self, settled: &Settled) {
        let index = usize::from(settled.last.head.workload);
        let segment = self.segment(settled.ended);
        let counted = self.counts(settled.arrived);
        self.books[index].request(settled);
        let workload = &mut self.recording.workloads[index];
        let attempts = workload.attempts.as_mut().expect("requests of plain clients are not settled");
        attempts.bin_at(settled.arrived).requests += 1;
        attempts.bin(segment.bin).completed += u64::from(settled.outcome == Outcome::Completed);
        if counted {
            attempts.count(settled);
            workload.offered += 1;
            workload.tenants[settled.last.head.tenant as usize].offered += 1;
            if let Some(ttft) = settled.ttft() {
                workload.latency[Metric::Ttft as usize].record(ttft, 1);
            }
        }
        self.over(segment, &Over::settled(settled));
    }

    fn scaled(&mut self, now: Time, pool: PoolId, change: &ScaleChange) {
        self.scales[usize::from(pool)].scaled(now, change);
        if let Some(log) = &mut self.log {
            log.push(FleetEvent::Scaled(now, pool, *change));
        }
    }

    fn failed(&mut self, now: Time, fault: &FaultFact) {
        self.scales[usize::from(fault.pool)].failed(fault);
        if let Some(log) = &mut self.log {
            log.push(FleetEvent::Failed(now, *fault));
        }
    }

    fn job(&mut self, now: Time, job: &JobFact) {
        let turned_away = matches!(job.state, JobState::Refused | JobState::Failed);
        if let Some(refusal) = job.refusal.filter(|_| turned_away) {
            self.recording.refuse(refusal.reason, now);
        }
        self.jobs.tell(now, job);
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
