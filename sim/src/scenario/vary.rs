//! What can change in a run of a scenario at all: what fails, what scales, what costs, which pools a workload can meet.
//!
//! Reports leave out what cannot say anything, and a property on it is refused.

use super::fleet::{Effect, Target};
use super::{Scenario, Workload};
use crate::request::PoolId;

impl Scenario {
    /// Whether a replica of `pool` can be lost during the run: by itself, with its machine, or by a declared fault.
    pub fn pool_can_fail(&self, pool: PoolId) -> bool {
        let fleet = &self.pools[usize::from(pool)].fleet;
        let on = |group: usize| fleet.nodes.contains(&group);
        let machines = fleet.nodes.iter().any(|&group| self.fleet.nodes[group].failures.is_some());
        let struck = self.fleet.faults.iter().filter(|fault| fault.effect == Effect::Down).any(|fault| {
            match fault.target {
                Target::Replica(struck, _) | Target::Pool(struck) => struck == pool,
                Target::Gpu(group, _) | Target::Node(group, _) => on(group),
                Target::Zone(zone) => fleet.nodes.iter().any(|&group| self.fleet.nodes[group].zone == zone),
            }
        });
        fleet.failures.is_some() || machines || struck
    }

    /// Whether the number of replicas of `pool` that serve can change during the run.
    pub fn pool_can_vary(&self, pool: PoolId) -> bool {
        self.pools[usize::from(pool)].fleet.scaling.is_some() || self.pool_can_fail(pool)
    }

    /// Whether anything of a fleet can change during the run, a slow replica included.
    pub fn fleet_can_vary(&self) -> bool {
        !self.fleet.faults.is_empty() || (0..self.pools.len()).any(|pool| self.pool_can_vary(pool as PoolId))
    }

    /// Whether anything has a price.
    pub fn has_prices(&self) -> bool {
        let nodes = self.fleet.nodes.iter().any(|group| group.price.is_some());
        nodes || self.pools.iter().any(|pool| pool.fleet.price.is_some())
    }

    /// GPUs that count for a replica of `pool`. A replica that names none counts as one where it has a price or a place.
    pub fn gpus_of_replica(&self, pool: PoolId) -> u32 {
        let pool = &self.pools[usize::from(pool)];
        let counts = pool.fleet.price.is_some() || !pool.fleet.nodes.is_empty();
        pool.gpus_per_replica.max(u32::from(counts))
    }

    /// The pools that can serve `workload`, its own first, each once; not those that only process prompts for them.
    pub fn pools_of(&self, workload: &Workload) -> Vec<PoolId> {
        let mut pools = vec![workload.pool];
        for &(_, pool) in &workload.sender.candidates {
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
        pools
    }

    /// The pools that can work for `workload`: [`Scenario::pools_of`] it, and those that process prompts for them.
    pub fn workers_of(&self, workload: &Workload) -> Vec<PoolId> {
        let mut pools = self.pools_of(workload);
        for index in 0..pools.len() {
            let prefill = self.pools[usize::from(pools[index])].fleet.prefill;
            pools.extend(prefill.map(|prefill| prefill.pool).filter(|pool| !pools.contains(pool)));
        }
        pools
    }
}
