//! What one run, or several merged ones, left behind: counters, latencies, budgets, timelines.
//!
//! Everything is an integer sum or a histogram, so that merging replications gives the same bits in any order.

use crate::observe::attempts::AttemptRecord;
use crate::observe::bill::{Bill, HOUR_NS, Prices, Served};
use crate::observe::hist::Latency;
use crate::observe::jobs::JobRecord;
use crate::observe::scale::ScaleRecord;
use crate::observe::timeline::{Bin, Timeline};
#[cfg(doc)]
use crate::request::Refusal;
use crate::request::{Budget, Outcome};
use crate::scenario::{Measure, Metric};
use crate::time::{Span, Time};

/// Results of one or more replications of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Replications in it.
    pub replications: u64,
    /// Requests that arrived before this are not counted.
    pub warmup: Span,
    /// Arrivals stopped here.
    pub horizon: Span,
    /// When the longest replication ended.
    pub ended: Span,
    /// By workload, in the scenario's order.
    pub workloads: Vec<WorkloadRecord>,
    /// By pool, in the scenario's order.
    pub pools: Vec<PoolRecord>,
    /// By operation, in the scenario's order; the whole run, warm-up included.
    pub operations: Vec<OperationRecord>,
    /// By limit, in the scenario's order; the whole run, warm-up included.
    pub limits: Vec<LimitRecord>,
    /// By batch, in the scenario's order; empty without any.
    pub batches: Vec<JobRecord>,
    /// Workloads of each tier, in the scenario's order.
    pub tiers: Vec<Vec<usize>>,
    /// What the scenario says of prices.
    pub prices: Prices,
}

/// Results of one operation of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationRecord {
    /// Its name in the scenario.
    pub name: String,
    /// Times it was tried.
    pub offered: u64,
    /// Times it was let in.
    pub accepted: u64,
    /// Why it was refused, by [`Refusal::reason`].
    pub refusals: Vec<u64>,
}

/// What one limit did in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitRecord {
    /// Its name in the profile.
    pub name: String,
    /// Requests and operations that it was asked about.
    pub offered: u64,
    /// Those that were let in by it and by every other limit.
    pub admitted: u64,
    /// Those that it refused (or cancelled), being the first in the documented order.
    pub refused: u64,
    /// Those that broke it and were served all the same: overhead above its bound, or parts that a gate ignored.
    pub violations: u64,
    /// Most units in use at once on one counter.
    pub peak: u64,
    /// The limit at that moment; 0 when there was none.
    pub peak_limit: u64,
    /// Time in which one more unit would have been refused, summed over counters, nanoseconds.
    pub blocked_ns: u128,
    /// Time of the runs, summed over the counters that were used, nanoseconds.
    pub counter_ns: u128,
    /// Counters that were used.
    pub keys: u32,
    /// When it first refused.
    pub first_refused: Option<Time>,
}

/// Results of one workload: of its requests. Where clients may try again, the first attempt makes a request arrive and
/// the deciding one tells how it ended; attempts are counted apart, in `attempts`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadRecord {
    /// Its name in the scenario.
    pub name: String,
    /// Indices of the pools that can serve it, its own first.
    pub pools: Vec<usize>,
    /// Counted requests: those that arrived from the warm-up's end to the horizon.
    pub offered: u64,
    /// How they ended, by [`Outcome`]; sums to `offered`.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Why they were refused or failed, by [`Refusal::reason`]; sums to the refused and the failed.
    pub refusals: Vec<u64>,
    /// Latencies, by [`Metric`].
    pub latency: [Latency; Metric::ALL.len()],
    /// Where the time of the completed ones went.
    pub budget: BudgetSums,
    /// Time by which the steps of the completed ones (of their last attempts) were longer because of batch tokens in
    /// them, nanoseconds.
    pub beside: u128,
    /// Counted requests that completed and met every objective.
    pub met: u64,
    /// Requests that completed inside the counted window, whenever they arrived.
    pub completed_inside: u64,
    /// Those of them that met every objective.
    pub met_inside: u64,
    /// Output tokens that came out inside the counted window, whenever their request arrived, of every attempt.
    pub tokens_inside: u64,
    /// Prompt tokens of counted requests.
    pub prompt_tokens: u64,
    /// Prompt tokens of counted requests that were found in a prefix cache.
    pub cached_tokens: u64,
    /// Output tokens that counted requests received.
    pub output_tokens: u64,
    /// Those of them that were part of a completed answer.
    pub useful_tokens: u64,
    /// Preemptions that counted requests suffered.
    pub preemptions: u64,
    /// By tenant.
    pub tenants: Vec<TenantRecord>,
    /// What each pool did for it, in the scenario's order.
    pub served: Vec<Served>,
    /// Its attempts, when its clients may try again or do not hang up.
    pub attempts: Option<AttemptRecord>,
}

/// Counters of one tenant of a workload; counted requests only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantRecord {
    /// Requests.
    pub offered: u64,
    /// How they ended, by [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Requests that completed and met every objective.
    pub met: u64,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Output tokens received.
    pub output_tokens: u64,
}

/// Sums of latency budgets, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetSums {
    /// Earlier attempts of the same request, and the pauses between them.
    pub earlier_attempts: u128,
    /// Added by the service before the queue.
    pub overhead: u128,
    /// Waiting in the gateway's queue.
    pub gateway_queue: u128,
    /// Waiting on the replica before the first step.
    pub engine_queue: u128,
    /// From the first step to the first token, preemption excluded.
    pub prefill: u128,
    /// The KV cache on the way to the pool that decodes, and waiting there.
    pub transfer: u128,
    /// From the first token (or from joining the batch that decodes) to the end, preemption excluded.
    pub decode: u128,
    /// Lost to preemption, or to the failure of a replica.
    pub preemption: u128,
}

impl BudgetSums {
    /// Names of the parts, in the order of [`BudgetSums::parts`].
    pub const NAMES: [&'static str; 8] = [
        "earlier-attempts",
        "overhead",
        "gateway-queue",
        "engine-queue",
        "prefill",
        "transfer",
        "decode",
        "preemption",
    ];

    /// The parts, in the order a request meets them.
    pub fn parts(&self) -> [u128; 8] {
        [
            self.earlier_attempts,
            self.overhead,
            self.gateway_queue,
            self.engine_queue,
            self.prefill,
            self.transfer,
            self.decode,
            self.preemption,
        ]
    }

    /// Sum of the parts: the sum of the end-to-end latencies.
    pub fn total(&self) -> u128 {
        self.parts().iter().sum()
    }

    pub(crate) fn add(&mut self, budget: &Budget) {
        self.earlier_attempts += u128::from(budget.earlier_attempts.as_nanos());
        self.overhead += u128::from(budget.overhead.as_nanos());
        self.gateway_queue += u128::from(budget.gateway_queue.as_nanos());
        self.engine_queue += u128::from(budget.engine_queue.as_nanos());
        self.prefill += u128::from(budget.prefill.as_nanos());
        self.transfer += u128::from(budget.transfer.as_nanos());
        self.decode += u128::from(budget.decode.as_nanos());
        self.preemption += u128::from(budget.preemption.as_nanos());
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &BudgetSums) {
        self.earlier_attempts += other.earlier_attempts;
        self.overhead += other.overhead;
        self.gateway_queue += other.gateway_queue;
        self.engine_queue += other.engine_queue;
        self.prefill += other.prefill;
        self.transfer += other.transfer;
        self.decode += other.decode;
        self.preemption += other.preemption;
    }
}

/// Results of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRecord {
    /// Its name in the scenario.
    pub name: String,
    /// Most replicas there can be.
    pub replicas: u64,
    /// What can be busy at once on a replica: 1 on an `llm` pool, its servers on a `slots` pool.
    pub servers: u64,
    /// Its replicas over time.
    pub scale: ScaleRecord,
    /// Output tokens that came out inside the counted window.
    pub tokens_inside: u64,
    /// Worker time spent working inside the counted window, nanoseconds.
    pub busy_inside_ns: u128,
    /// Steps taken over the whole run (stretches of constant load, on a `slots` pool).
    pub steps: u64,
    /// Steps of the whole run whose shape lay outside the range in which the step law was measured.
    pub outside_range: u64,
    /// Bin by bin.
    pub timeline: Timeline,
}

/// A figure of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMeasure {
    /// Busy time inside the counted window divided by the time its serving replicas (or servers) had.
    Utilization,
    /// Running requests divided by the sequence slots (or servers), mean over the counted bins' ends.
    BatchOccupancy,
    /// KV blocks in use divided by those there are, mean over the counted bins' ends.
    KvOccupancy,
    /// Requests in the gateway's queue, mean over the counted bins' ends.
    GatewayQueue,
    /// Requests waiting on replicas, mean over the counted bins' ends.
    EngineQueue,
    /// Replicas that serve, mean over the counted window.
    Replicas,
    /// Hours that its replicas had GPUs inside the counted window, summed over GPUs; of one replication.
    GpuHours,
    /// Cost of an hour of the counted time.
    Cost,
    /// Cost of a million output tokens.
    CostPerMillionTokens,
}

impl PoolMeasure {
    /// All of them, in table order.
    pub const ALL: [PoolMeasure; 9] = [
        PoolMeasure::Utilization,
        PoolMeasure::BatchOccupancy,
        PoolMeasure::KvOccupancy,
        PoolMeasure::GatewayQueue,
        PoolMeasure::EngineQueue,
        PoolMeasure::Replicas,
        PoolMeasure::GpuHours,
        PoolMeasure::Cost,
        PoolMeasure::CostPerMillionTokens,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            PoolMeasure::Utilization => "utilization",
            PoolMeasure::BatchOccupancy => "batch occupancy",
            PoolMeasure::KvOccupancy => "kv occupancy",
            PoolMeasure::GatewayQueue => "gateway queue",
            PoolMeasure::EngineQueue => "engine queue",
            PoolMeasure::Replicas => "replicas",
            PoolMeasure::GpuHours => "gpu hours",
            PoolMeasure::Cost => "cost",
            PoolMeasure::CostPerMillionTokens => "cost per million tokens",
        }
    }
}

/// A question to a recording; every figure of a report is the answer to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    /// A figure of a workload, or of all together.
    Workload(Option<usize>, Measure),
    /// The mean of a part of a workload's latency budget, nanoseconds; parts as in [`BudgetSums::NAMES`].
    Budget(usize, usize),
    /// Time by which the steps of a completed request of a workload were longer because of batch tokens in them, mean,
    /// nanoseconds: a part of its prefill and decode.
    Beside(usize),
    /// A figure of a pool.
    Pool(usize, PoolMeasure),
    /// A cost of a tier: [`Measure::Cost`] or [`Measure::CostPerMillionTokens`] of its workloads together.
    Tier(usize, Measure),
}

/// A figure and the number of samples it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The figure: nanoseconds for latencies, a share in 0..=1, a rate per second, an amount of money.
    pub value: f64,
    /// Samples it was computed from: requests, gaps or tokens; steps for utilization, replications for what is an
    /// integral over time, jobs for what is said of jobs and of their requests.
    pub samples: u64,
}

impl WorkloadRecord {
    /// The latency `metric`.
    pub fn latency(&self, metric: Metric) -> &Latency {
        &self.latency[metric as usize]
    }

    /// How many counted requests ended as `outcome`.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Attempts of counted requests: as many as requests, where clients do not try again.
    pub fn attempts_of_requests(&self) -> u64 {
        self.attempts.as_ref().map_or(self.offered, |attempts| attempts.of_requests)
    }

    /// Output tokens of counted requests, of every attempt, that were not part of a completed answer.
    pub fn wasted_tokens(&self) -> u64 {
        self.attempts.as_ref().map_or(self.output_tokens - self.useful_tokens, |all| all.wasted_tokens)
    }

    /// Adds another replication of the same workload.
    fn merge(&mut self, other: &WorkloadRecord) {
        assert_eq!(self.name, other.name, "recordings of different scenarios cannot be merged");
        self.offered += other.offered;
        add_each(&mut self.outcomes, &other.outcomes);
        add_all(&mut self.refusals, &other.refusals);
        for (mine, theirs) in self.latency.iter_mut().zip(&other.latency) {
            mine.merge(theirs);
        }
        self.budget.merge(&other.budget);
        self.beside += other.beside;
        self.met += other.met;
        self.completed_inside += other.completed_inside;
        self.met_inside += other.met_inside;
        self.tokens_inside += other.tokens_inside;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.useful_tokens += other.useful_tokens;
        self.preemptions += other.preemptions;
        for (mine, theirs) in self.served.iter_mut().zip(&other.served) {
            mine.merge(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.attempts, &other.attempts) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.tenants.iter_mut().zip(&other.tenants) {
            mine.offered += theirs.offered;
            add_each(&mut mine.outcomes, &theirs.outcomes);
            mine.met += theirs.met;
            mine.prompt_tokens += theirs.prompt_tokens;
            mine.output_tokens += theirs.output_tokens;
        }
    }
}

fn add_each<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    for (a, b) in mine.iter_mut().zip(theirs) {
        *a += b;
    }
}

fn add_all(mine: &mut [u64], theirs: &[u64]) {
    for (a, b) in mine.iter_mut().zip(theirs) {
        *a += b;
    }
}

impl OperationRecord {
    fn merge(&mut self, other: &OperationRecord) {
        self.offered += other.offered;
        self.accepted += other.accepted;
        add_all(&mut self.refusals, &other.refusals);
    }
}

impl LimitRecord {
    /// Peak use as a share of the limit; `None` when there was no limit.
    pub fn peak_share(&self) -> Option<f64> {
        (self.peak_limit > 0).then(|| self.peak as f64 / self.peak_limit as f64)
    }

    fn merge(&mut self, other: &LimitRecord) {
        self.offered += other.offered;
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.violations += other.violations;
        // The higher share, compared without dividing; without a limit on either side, the higher use.
        let (mine, theirs) = match (self.peak_limit, other.peak_limit) {
            (0, 0) => (u128::from(self.peak), u128::from(other.peak)),
            (a, b) => (u128::from(self.peak) * u128::from(b), u128::from(other.peak) * u128::from(a)),
        };
        if theirs > mine {
            (self.peak, self.peak_limit) = (other.peak, other.peak_limit);
        }
        self.blocked_ns += other.blocked_ns;
        self.counter_ns += other.counter_ns;
        self.keys = self.keys.max(other.keys);
        self.first_refused = match (self.first_refused, other.first_refused) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Recording {
    /// Notes that the limit behind a reason refused something.
    pub(crate) fn refuse(&mut self, reason: u16, at: Time) {
        let built_in = crate::request::BUILT_IN.len();
        if let Some(limit) = usize::from(reason).checked_sub(built_in).map(|index| &mut self.limits[index]) {
            limit.refused += 1;
            limit.first_refused = Some(limit.first_refused.map_or(at, |first| first.min(at)));
        }
    }

    /// Counted time of one replication: from the end of the warm-up to the horizon.
    pub fn counted(&self) -> Span {
        self.horizon - self.warmup
    }

    /// Counted time of all replications together, nanoseconds.
    pub fn counted_ns(&self) -> u128 {
        u128::from(self.counted().as_nanos()) * u128::from(self.replications)
    }

    /// Adds another replication (or several) of the same scenario. Exact, in any order and any grouping.
    ///
    /// Panics when the recordings are of different scenarios.
    pub fn merge(&mut self, other: &Recording) {
        assert_eq!(
            (self.warmup, self.horizon, self.workloads.len(), self.pools.len()),
            (other.warmup, other.horizon, other.workloads.len(), other.pools.len()),
            "recordings of different scenarios cannot be merged"
        );
        self.replications += other.replications;
        self.ended = self.ended.max(other.ended);
        for (mine, theirs) in self.workloads.iter_mut().zip(&other.workloads) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.pools.iter_mut().zip(&other.pools) {
            mine.busy_inside_ns += theirs.busy_inside_ns;
            mine.steps += theirs.steps;
            mine.outside_range += theirs.outside_range;
            mine.tokens_inside += theirs.tokens_inside;
            mine.scale.merge(&theirs.scale);
            mine.timeline.merge(&theirs.timeline);
        }
        for (mine, theirs) in self.operations.iter_mut().zip(&other.operations) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.limits.iter_mut().zip(&other.limits) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.batches.iter_mut().zip(&other.batches) {
            mine.merge(theirs);
        }
    }

    /// The answer to `asked`; `None` when it has no sample.
    pub fn answer(&self, asked: &Asked) -> Option<Reading> {
        match *asked {
            Asked::Workload(workload, ref measure) => self.reading(workload, measure),
            Asked::Budget(workload, part) => {
                let workload = self.workloads.get(workload)?;
                let samples = workload.latency(Metric::E2e).count();
                let sum = *workload.budget.parts().get(part)?;
                (samples > 0).then(|| Reading { value: sum as f64 / samples as f64, samples })
            }
            Asked::Beside(workload) => {
                let workload = self.workloads.get(workload)?;
                let samples = workload.latency(Metric::E2e).count();
                (samples > 0).then(|| Reading { value: workload.beside as f64 / samples as f64, samples })
            }
            Asked::Pool(pool, measure) => self.pool_reading(pool, measure),
            Asked::Tier(tier, measure) => {
                let members = self.tiers.get(tier)?;
                let cost = Bill::of(self);
                let cost = members.iter().map(|&index| cost.workloads[index]).sum();
                let tokens = members.iter().map(|&index| self.workloads[index].tokens_inside).sum();
                self.cost_reading(&measure, cost, tokens)
            }
        }
    }

    /// A cost of the counted window as the figure `measure`; `None` when nothing has a price, when no token came out to
    /// share it among, and of measures that are no cost.
    fn cost_reading(&self, measure: &Measure, cost: f64, tokens: u64) -> Option<Reading> {
        let hours = self.counted_ns() as f64 / HOUR_NS;
        let priced = self.prices.is_some();
        match measure {
            Measure::Cost => {
                (priced && hours > 0.0).then(|| Reading { value: cost / hours, samples: self.replications })
            }
            Measure::CostPerMillionTokens => (priced && tokens > 0)
                .then(|| Reading { value: cost / (tokens as f64 / 1e6), samples: tokens }),
            _ => None,
        }
    }

    fn pool_reading(&self, index: usize, measure: PoolMeasure) -> Option<Reading> {
        let pool = self.pools.get(index)?;
        let bins = self.counted_bins(pool);
        let sum = |count: fn(&Bin) -> u64| bins.iter().map(count).sum::<u64>();
        let samples = sum(|bin| bin.samples);
        let ratio = |part: u64, whole: u64| {
            (whole > 0).then(|| Reading { value: part as f64 / whole as f64, samples })
        };
        match measure {
            PoolMeasure::Utilization => self.utilization(&[pool]),
            PoolMeasure::BatchOccupancy => ratio(sum(|bin| bin.running), sum(|bin| bin.slots_total)),
            PoolMeasure::KvOccupancy => ratio(sum(|bin| bin.kv_blocks_used), sum(|bin| bin.kv_blocks_total)),
            PoolMeasure::GatewayQueue => ratio(sum(|bin| bin.gateway_queue), samples),
            PoolMeasure::EngineQueue => ratio(sum(|bin| bin.waiting), samples),
            PoolMeasure::Replicas => self.replicas(&[pool]),
            PoolMeasure::GpuHours => {
                let hours = pool.scale.gpu_ns as f64 / HOUR_NS / self.replications as f64;
                Some(Reading { value: hours, samples: self.replications })
            }
            PoolMeasure::Cost | PoolMeasure::CostPerMillionTokens => {
                let measure = match measure {
                    PoolMeasure::Cost => Measure::Cost,
                    _ => Measure::CostPerMillionTokens,
                };
                let cost = self.prices.has(index).then(|| Bill::of(self).pools[index])?;
                self.cost_reading(&measure, cost, pool.tokens_inside)
            }
        }
    }

    /// Replicas of `pools` that serve, mean over the counted window.
    fn replicas(&self, pools: &[&PoolRecord]) -> Option<Reading> {
        let serving: u128 = pools.iter().map(|pool| pool.scale.serving_ns).sum();
        let counted = self.counted_ns();
        (counted > 0).then(|| Reading { value: serving as f64 / counted as f64, samples: self.replications })
    }

    /// The bins of `pool` whose ends lie in the counted window, after the warm-up and no later than the horizon.
    fn counted_bins<'a>(&self, pool: &'a PoolRecord) -> &'a [Bin] {
        let width = pool.timeline.width().as_nanos();
        let first = (self.warmup.as_nanos() / width) as usize;
        let last = (self.horizon.as_nanos() / width) as usize;
        pool.timeline.bins().get(first..last).unwrap_or_default()
    }

    /// The figure `measure` of `workload`, or of all workloads together; `None` when it has no sample.
    ///
    /// Shares are of the requests that arrived in the counted window. Rates count what happened inside the window,
    /// whenever the request arrived, so that work drained after the horizon never inflates them.
    pub fn reading(&self, workload: Option<usize>, measure: &Measure) -> Option<Reading> {
        let chosen = match workload {
            Some(index) => std::slice::from_ref(self.workloads.get(index)?),
            None => &self.workloads[..],
        };
        let sum = |count: fn(&WorkloadRecord) -> u64| chosen.iter().map(count).sum::<u64>();
        let share = |count: u64| {
            let offered = sum(|w| w.offered);
            (offered > 0).then(|| Reading { value: count as f64 / offered as f64, samples: offered })
        };
        let seconds = self.counted().as_secs_f64() * self.replications as f64;
        let rate = |count: u64, samples: u64| {
            (seconds > 0.0).then(|| Reading { value: count as f64 / seconds, samples })
        };
        match *measure {
            Measure::Quantile(..) | Measure::Mean(_) => latency_of(chosen.iter(), measure),
            Measure::Share(Outcome::Cancelled) => {
                let attempts = || chosen.iter().filter_map(|w| w.attempts.as_ref());
                let offered: u64 = attempts().map(|all| all.offered).sum();
                let cancelled: u64 = attempts().map(|all| all.outcome(Outcome::Cancelled)).sum();
                (offered > 0).then(|| Reading { value: cancelled as f64 / offered as f64, samples: offered })
            }
            Measure::Share(outcome) => share(chosen.iter().map(|w| w.outcome(outcome)).sum()),
            Measure::GoodputShare => share(sum(|w| w.met)),
            Measure::Throughput => rate(sum(|w| w.completed_inside), sum(|w| w.completed_inside)),
            Measure::TokenThroughput => rate(sum(|w| w.tokens_inside), sum(|w| w.tokens_inside)),
            Measure::GoodputRate => rate(sum(|w| w.met_inside), sum(|w| w.completed_inside)),
            Measure::Utilization => self.utilization(&self.pools_of(workload)),
            Measure::Replicas => self.replicas(&self.pools_of(workload)),
            Measure::Amplification => {
                let (attempts, requests) = (
                    chosen.iter().map(WorkloadRecord::attempts_of_requests).sum::<u64>(),
                    sum(|w| w.offered),
                );
                (requests > 0)
                    .then(|| Reading { value: attempts as f64 / requests as f64, samples: requests })
            }
            Measure::Wasted => {
                let wasted = chosen.iter().map(WorkloadRecord::wasted_tokens).sum::<u64>();
                let all = wasted + sum(|w| w.useful_tokens);
                (all > 0).then(|| Reading { value: wasted as f64 / all as f64, samples: all })
            }
            Measure::Cost | Measure::CostPerMillionTokens => {
                let bill = Bill::of(self);
                let cost = workload.map_or(bill.total, |index| bill.workloads[index]);
                self.cost_reading(measure, cost, sum(|w| w.tokens_inside))
            }
            Measure::Jobs(share) => self.batch_of(workload)?.share(share),
            Measure::JobQuantile(quantile) => {
                let time = &self.batch_of(workload)?.time;
                Some(Reading { value: time.quantile_ns(quantile)? as f64, samples: time.count() })
            }
            Measure::JobMean => {
                let time = &self.batch_of(workload)?.time;
                Some(Reading { value: time.mean_ns()?, samples: time.count() })
            }
        }
    }

    /// The batch that a workload is.
    fn batch_of(&self, workload: Option<usize>) -> Option<&JobRecord> {
        self.batches.iter().find(|batch| Some(batch.workload) == workload)
    }

    /// The pools that can serve `workload`, or all.
    fn pools_of(&self, workload: Option<usize>) -> Vec<&PoolRecord> {
        match workload {
            Some(index) => self.workloads[index].pools.iter().map(|&pool| &self.pools[pool]).collect(),
            None => self.pools.iter().collect(),
        }
    }

    /// Busy time of `pools` inside the counted window divided by the time their serving replicas (or servers) had.
    fn utilization(&self, pools: &[&PoolRecord]) -> Option<Reading> {
        let busy: u128 = pools.iter().map(|p| p.busy_inside_ns).sum();
        let time: u128 = pools.iter().map(|p| p.scale.serving_ns * u128::from(p.servers)).sum();
        (time > 0).then(|| Reading {
            value: busy as f64 / time as f64,
            samples: pools.iter().map(|p| p.steps).sum(),
        })
    }
}

/// A quantile or mean of a latency of all of `workloads` together; `None` without a sample, and of other measures.
pub fn latency_of<'a>(
    workloads: impl Iterator<Item = &'a WorkloadRecord> + Clone,
    measure: &Measure,
) -> Option<Reading> {
    match *measure {
        Measure::Quantile(metric, quantile) => {
            let latency = pooled(workloads, metric)?;
            let value = latency.quantile_ns(quantile)? as f64;
            Some(Reading { value, samples: latency.count() })
        }
        Measure::Mean(metric) => {
            let count = workloads.clone().map(|w| w.latency(metric).count()).sum::<u64>();
            let total = workloads.map(|w| w.latency(metric).sum_ns()).sum::<u128>();
            (count > 0).then(|| Reading { value: total as f64 / count as f64, samples: count })
        }
        _ => None,
    }
}

/// The latency `metric` of all of `workloads` together; `None` when there is no workload.
fn pooled<'a>(
    mut workloads: impl Iterator<Item = &'a WorkloadRecord>,
    metric: Metric,
) -> Option<std::borrow::Cow<'a, Latency>> {
    let mut all = std::borrow::Cow::Borrowed(workloads.next()?.latency(metric));
    for other in workloads {
        all.to_mut().merge(other.latency(metric));
    }
    Some(all)
}
