//! A replica of either kind, as the hub sees it.

use crate::gateway::choice::Pace;
use crate::gateway::queue::{GatewayQueue, Member};
use crate::gateway::route::{Router, View};
use crate::limits::Usage;
use crate::replica::{Site, Stepper};
use crate::request::{BUILT_IN, PoolId, QUEUE_FULL, Refusal};
use crate::scenario::batch::BatchPriority;
use crate::scenario::{Engine, Metric, Permits, Pool, Scenario, Workload};
use crate::slots::SlotsReplica;
use crate::time::{Span, Time};

/// A replica with what the hub keeps about it.
#[derive(Debug)]
pub(super) struct Station<S> {
    pub(super) worker: Worker<S>,
    pub(super) pool: usize,
    pub(super) replica: u16,
    /// In the list of replicas that begin a step when the instant's events are over.
    pub(super) to_begin: bool,
    /// What the router was told that it holds, waiting and running.
    pub(super) told: (u32, u32),
}

/// Either engine. In place, not behind a pointer: every event goes through here.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Worker<S> {
    Llm(S),
    Slots(SlotsReplica),
}

impl<S: Stepper> Station<S> {
    pub(super) fn load(&self) -> (u32, u32) {
        match &self.worker {
            Worker::Llm(replica) => (replica.waiting(), replica.running()),
            Worker::Slots(replica) => (replica.waiting(), replica.running()),
        }
    }

    /// Batch requests waiting and running, where the replica tells them apart.
    pub(super) fn lower(&self) -> (u32, u32) {
        match &self.worker {
            Worker::Llm(replica) => replica.lower(),
            Worker::Slots(replica) => replica.lower(),
        }
    }

    /// Whether nothing at all is on it.
    pub(super) fn is_empty(&self) -> bool {
        self.load() == (0, 0) && self.lower() == (0, 0)
    }
}

/// A pool: its queue, its router, its replicas.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) queue: GatewayQueue,
    pub(super) router: Router,
    pub(super) view: View,
    /// Number of its first replica among all.
    pub(super) first: usize,
    /// KV blocks and sequence slots (or servers) of one replica.
    pub(super) kv_blocks: u64,
    pub(super) slots: u64,
    pub(super) permits: PermitsState,
    /// The pool that processes the prompts of this one.
    pub(super) prefill: Option<usize>,
    /// Requests in its queue and on its replicas.
    pub(super) requests: u32,
    /// How long answers have taken lately.
    pub(super) pace: Pace,
}

impl PoolState {
    /// Whether one more request can be dispatched or wait.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.queue.has_place() || self.serves_at_once()
    }

    /// Whether one more request would be dispatched at once.
    #[inline]
    pub(super) fn serves_at_once(&self) -> bool {
        self.queue.is_empty() && self.permits.available() && self.view.has_room()
    }

    /// The refusal of a request that finds no place.
    #[cold]
    pub(super) fn full(&self) -> Refusal {
        let (limit, current) = (self.permits.most.into(), self.permits.used.into());
        Refusal { limit, current, ..Refusal::plain(self.permits.reason) }
    }
}

/// Provisioned concurrency of a pool, in use.
#[derive(Debug)]
pub(super) struct PermitsState {
    pub(super) most: u32,
    /// Reason of a refusal when the queue behind them is full.
    pub(super) reason: u16,
    pub(super) used: u32,
    peak: u32,
    /// Since when all have been in use.
    full_since: Time,
    full: Span,
    pub(super) offered: u64,
    pub(super) admitted: u64,
}

impl PermitsState {
    fn new(permits: Option<Permits>) -> Self {
        let Permits { most, reason } = permits.unwrap_or(Permits { most: u32::MAX, reason: QUEUE_FULL });
        let (full_since, full) = (Time::ZERO, Span::ZERO);
        PermitsState { most, reason, used: 0, peak: 0, full_since, full, offered: 0, admitted: 0 }
    }

    #[inline]
    pub(super) fn available(&self) -> bool {
        self.used < self.most
    }

    #[inline]
    pub(super) fn take(&mut self, now: Time) {
        self.used += 1;
        self.peak = self.peak.max(self.used);
        if self.used == self.most {
            self.full_since = now;
        }
    }

    #[inline]
    pub(super) fn give_back(&mut self, now: Time) {
        if self.used == self.most {
            self.full += now - self.full_since;
        }
        self.used -= 1;
    }

    /// What the limit behind them saw until `now`; `None` when there is none.
    pub(super) fn usage(&self, now: Time) -> Option<(usize, Usage)> {
        let still = if self.used == self.most { now - self.full_since } else { Span::ZERO };
        let limit = usize::from(self.reason).checked_sub(BUILT_IN.len())?;
        let usage = Usage {
            offered: self.offered,
            admitted: self.admitted,
            peak: self.peak.into(),
            peak_limit: self.most.into(),
            blocked: (self.full + still).as_nanos().into(),
            keys: 1,
            ..Usage::default()
        };
        Some((limit, usage))
    }
}

/// Every pool that can ever serve a workload: those of its candidates, and those that an update of its endpoint brings.
fn pools_of(scenario: &Scenario, workload: &Workload) -> Vec<PoolId> {
    let mut pools = vec![workload.pool];
    pools.extend(workload.sender.candidates.iter().map(|(_, pool)| *pool));
    let updates = scenario.policy.operations.iter().filter(|operation| {
        workload.sender.endpoint.is_some() && operation.endpoint == workload.sender.endpoint
    });
    for to in updates.filter_map(|operation| operation.to) {
        pools.extend(&scenario.policy.endpoints[to].pools);
    }
    // Prompts may be processed elsewhere.
    let prompts = pools.iter().filter_map(|&pool| scenario.pools[usize::from(pool)].fleet.prefill);
    let prompts: Vec<PoolId> = prompts.map(|prefill| prefill.pool).collect();
    pools.extend(prompts);
    pools
}

/// Whether a controller looks at the gaps of a pool: it has to see every step when it is over.
fn measures_gaps(pool: &Pool) -> bool {
    let controller = pool.batch.as_ref().and_then(|rules| rules.controller.as_ref());
    controller.is_some_and(|controller| controller.metric == Metric::Itl)
}

/// The pools and replicas of a scenario, idle.
pub(super) fn build<S: Stepper>(
    scenario: &Scenario,
    seed: u64,
    skip: bool,
) -> (Vec<PoolState>, Vec<Station<S>>) {
    let mut pools = Vec::new();
    let mut stations = Vec::new();
    for (index, pool) in scenario.pools.iter().enumerate() {
        let users = scenario.workloads.iter().enumerate().filter(|(_, workload)| {
            let pools = pools_of(scenario, workload);
            pools.contains(&(index as u16))
        });
        let workloads: Vec<u16> = users.clone().map(|(id, _)| id as u16).collect();
        let members = users.map(|(id, workload)| Member {
            workload: id as u16,
            tenants: workload.tenants,
            priority: scenario.tiers[workload.tier].priority,
            weight: workload.weight,
        });
        let members: Vec<Member> = members.collect();
        let (kv_blocks, slots) = match &pool.engine {
            Engine::Llm(engine) => (u64::from(engine.kv.blocks), u64::from(engine.batching.sequences)),
            Engine::Slots(engine) => (0, u64::from(engine.servers)),
        };
        pools.push(PoolState {
            queue: GatewayQueue::new(pool.queue, &members),
            router: Router::new(pool, seed, index as u64),
            view: View::new(pool),
            first: stations.len(),
            kv_blocks,
            slots,
            permits: PermitsState::new(pool.permits),
            prefill: pool.fleet.prefill.map(|prefill| usize::from(prefill.pool)),
            requests: 0,
            pace: Pace::default(),
        });
        let rules = pool.batch.as_ref().filter(|rules| rules.priority == BatchPriority::Engine);
        let quantum = rules.and_then(|rules| rules.quantum);
        for replica in 0..pool.replicas {
            let site = Site { pool: index as u16, replica, workloads: workloads.clone() };
            let worker = match &pool.engine {
                Engine::Llm(engine) => Worker::Llm(S::new(site, engine, skip && !measures_gaps(pool))),
                Engine::Slots(engine) => Worker::Slots(SlotsReplica::new(site, engine.servers, quantum)),
            };
            stations.push(Station { worker, pool: index, replica, to_begin: false, told: (0, 0) });
        }
    }
    (pools, stations)
}
