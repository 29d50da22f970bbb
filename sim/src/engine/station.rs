//! A replica of either kind, as the hub sees it.

use crate::gateway::queue::GatewayQueue;
use crate::gateway::router::{Router, View};
use crate::replica::{Site, Stepper};
use crate::scenario::{Engine, Scenario};
use crate::slots::SlotsReplica;

/// A replica with what the hub keeps about it.
#[derive(Debug)]
pub(super) struct Station<S> {
    pub(super) worker: Worker<S>,
    pub(super) pool: usize,
    pub(super) replica: u16,
    /// In the list of replicas that begin a step when the instant's events are over.
    pub(super) to_begin: bool,
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
}

/// A pool: its queue, its router, its replicas.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) queue: GatewayQueue,
    pub(super) router: Router,
    pub(super) view: View,
    /// Number of its first replica among all.
    pub(super) first: usize,
    pub(super) kv_blocks: u64,
    pub(super) slots: u64,
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
        let users =
            scenario.workloads.iter().enumerate().filter(|(_, workload)| usize::from(workload.pool) == index);
        let workloads: Vec<u16> = users.clone().map(|(id, _)| id as u16).collect();
        let priorities = users.map(|(_, workload)| scenario.tiers[workload.tier].priority);
        let replicas = u64::from(pool.replicas);
        let (kv_blocks, slots) = match &pool.engine {
            Engine::Llm(engine) => (u64::from(engine.kv.blocks), u64::from(engine.batching.sequences)),
            Engine::Slots(engine) => (0, u64::from(engine.servers)),
        };
        pools.push(PoolState {
            queue: GatewayQueue::new(pool.queue, priorities),
            router: Router::new(pool.route, pool.replicas, seed, index as u64),
            view: View::new(pool.replicas, pool.outstanding),
            first: stations.len(),
            kv_blocks: kv_blocks * replicas,
            slots: slots * replicas,
        });
        for replica in 0..pool.replicas {
            let site = Site { pool: index as u16, replica, workloads: workloads.clone() };
            let worker = match &pool.engine {
                Engine::Llm(engine) => Worker::Llm(S::new(site, engine, skip)),
                Engine::Slots(engine) => Worker::Slots(SlotsReplica::new(site, engine.servers)),
            };
            stations.push(Station { worker, pool: index, replica, to_begin: false });
        }
    }
    (pools, stations)
}
