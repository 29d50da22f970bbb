//! What a run cost: GPU time times price, shared among those it was spent for.
//!
//! Time is summed exactly; money is computed from the sums when it is asked for, so that merging replications stays
//! exact. All amounts are of the counted window, over all replications of a recording together.

use super::recording::Recording;
use crate::request::PoolId;
use crate::scenario::{Engine, Scenario};

/// Nanoseconds of an hour.
pub const HOUR_NS: f64 = 3.6e12;

/// Prices of a scenario, as the recorder needs them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// What they are in, `USD` for example; empty when nothing has a price.
    pub currency: String,
    /// By pool.
    pub pools: Vec<PoolPrice>,
    /// Machines that are paid for all the time.
    pub reserved: Vec<Reserved>,
}

/// What the GPU time of a pool costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolPrice {
    /// Price of an hour of a GPU that is paid for while a replica has it; `None` when there are none such, or no price.
    pub gpu_hour: Option<f64>,
    /// GPUs of its machines that are paid for all the time: what replicas have beyond them is charged by the hour.
    /// [`u64::MAX`] when all are.
    pub paid_anyway: u64,
    /// Whether its work is counted in tokens; a `slots` pool's is counted in completed requests.
    pub by_tokens: bool,
}

/// Machines that are paid for all the time, used or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Reserved {
    /// GPUs of all of them.
    pub gpus: u64,
    /// Price of an hour of one.
    pub gpu_hour: f64,
    /// Pools that may be on them, in the scenario's order.
    pub pools: Vec<usize>,
}

impl Prices {
    /// The prices of `scenario`.
    ///
    /// Which machine a replica is on is not known here. A pool on machines of several prices pays the highest of them;
    /// one on reserved and other machines pays by the hour for the GPUs it has beyond the reserved ones.
    pub fn new(scenario: &Scenario) -> Self {
        let groups = &scenario.fleet.nodes;
        let pools = scenario.pools.iter().map(|pool| {
            let on = || pool.fleet.nodes.iter().map(|&group| &groups[group]);
            let used = on().filter(|group| !group.reserved).filter_map(|group| group.price);
            let gpu_hour = used.chain(pool.fleet.price).reduce(f64::max);
            let reserved = on().filter(|group| group.reserved);
            let gpus: u64 = reserved.map(|group| u64::from(group.count) * u64::from(group.gpus)).sum();
            let all_reserved = gpus > 0 && on().all(|group| group.reserved);
            PoolPrice {
                gpu_hour,
                paid_anyway: if all_reserved { u64::MAX } else { gpus },
                by_tokens: matches!(pool.engine, Engine::Llm(_)),
            }
        });
        let reserved = groups.iter().enumerate().filter(|(_, group)| group.reserved);
        let reserved = reserved.filter_map(|(index, group)| {
            let on = |pool: &usize| scenario.pools[*pool].fleet.nodes.contains(&index);
            Some(Reserved {
                gpus: u64::from(group.count) * u64::from(group.gpus),
                gpu_hour: group.price?,
                pools: (0..scenario.pools.len()).filter(on).collect(),
            })
        });
        Prices {
            currency: scenario.fleet.currency.clone(),
            pools: pools.collect(),
            reserved: reserved.collect(),
        }
    }

    /// Whether anything has a price.
    pub fn is_some(&self) -> bool {
        !self.reserved.is_empty() || self.pools.iter().any(|pool| pool.gpu_hour.is_some())
    }

    /// Whether `pool` costs anything.
    pub fn has(&self, pool: usize) -> bool {
        self.pools[pool].gpu_hour.is_some() || self.reserved.iter().any(|group| group.pools.contains(&pool))
    }
}

/// What readers must know of the costs of `scenario`, one sentence for each pool where they are not exact.
pub fn caveats(scenario: &Scenario) -> Vec<String> {
    let groups = &scenario.fleet.nodes;
    let caveat = |index: usize| {
        let (pool, price) = (&scenario.pools[index], Prices::new(scenario).pools[index]);
        let on = || pool.fleet.nodes.iter().map(|&group| &groups[group]);
        let used: Vec<Option<f64>> = on().filter(|group| !group.reserved).map(|group| group.price).collect();
        let currency = &scenario.fleet.currency;
        let mut said = Vec::new();
        if let (Some(most), true) = (price.gpu_hour, used.windows(2).any(|pair| pair[0] != pair[1])) {
            said.push(format!(
                "pays the highest of its machines' prices, {most} {currency}/h, for all of them"
            ));
        }
        if price.paid_anyway > 0 && price.paid_anyway < u64::MAX && price.gpu_hour.is_some() {
            let free = price.paid_anyway;
            said.push(format!(
                "pays by the hour for the GPUs it has beyond the {free} reserved ones it may be on"
            ));
        }
        (!said.is_empty()).then(|| format!("pool `{}` {}", pool.name, said.join(" and ")))
    };
    (0..scenario.pools.len()).filter_map(caveat).collect()
}

/// The costs of a recording, in the scenario's currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    /// By pool.
    pub pools: Vec<f64>,
    /// By workload. What a pool cost that did nothing for anybody is in none of them.
    pub workloads: Vec<f64>,
    /// Everything, reserved machines without a pool included.
    pub total: f64,
}

impl Bill {
    /// The costs of `recording`. O(pools * (workloads + reserved groups)).
    ///
    /// The cost of a reserved group goes to the pools that may be on it in proportion to their GPU time, to the first
    /// of them when none had any. The cost of a pool goes to workloads in proportion to what it did for them inside the
    /// counted window ([`Served`]).
    pub fn of(recording: &Recording) -> Self {
        let prices = &recording.prices;
        let mut pools: Vec<f64> = recording
            .pools
            .iter()
            .zip(&prices.pools)
            .map(|(pool, price)| {
                price.gpu_hour.map_or(0.0, |price| price * pool.scale.charged_ns as f64 / HOUR_NS)
            })
            .collect();
        let mut nobody = 0.0;
        let hours = recording.counted_ns() as f64 / HOUR_NS;
        for group in &prices.reserved {
            let cost = group.gpu_hour * group.gpus as f64 * hours;
            let time = |pool: &usize| recording.pools[*pool].scale.gpu_ns;
            let all: u128 = group.pools.iter().map(time).sum();
            match group.pools.first() {
                None => nobody += cost,
                Some(&first) if all == 0 => pools[first] += cost,
                Some(_) => {
                    for pool in &group.pools {
                        pools[*pool] += cost * (time(pool) as f64 / all as f64);
                    }
                }
            }
        }
        let mut workloads = vec![0.0; recording.workloads.len()];
        for (pool, cost) in pools.iter().enumerate() {
            let work = |served: &Served| {
                if prices.pools[pool].by_tokens { served.tokens } else { served.requests }
            };
            let all: u64 = recording.workloads.iter().map(|workload| work(&workload.served[pool])).sum();
            if all > 0 {
                for (sum, workload) in workloads.iter_mut().zip(&recording.workloads) {
                    *sum += cost * (work(&workload.served[pool]) as f64 / all as f64);
                }
            }
        }
        Bill { total: pools.iter().sum::<f64>() + nobody, pools, workloads }
    }
}

/// What one pool did for one workload inside the counted window, attempts of the same request each for itself.
///
/// Counted when an attempt is over: the whole prompt but what the prefix cache had, once it was begun; the tokens that
/// were delivered. What was computed again after a preemption or a failure is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Prompt tokens processed and output tokens generated.
    pub tokens: u64,
    /// Attempts that were completed there.
    pub requests: u64,
}

impl Served {
    /// Adds what another replication did.
    pub fn merge(&mut self, other: &Served) {
        self.tokens += other.tokens;
        self.requests += other.requests;
    }
}

/// The pool that processes the prompts of each pool; itself, when no other does.
pub(super) fn prompt_pools(scenario: &Scenario) -> Vec<PoolId> {
    let own = |(index, pool): (usize, &crate::scenario::Pool)| {
        pool.fleet.prefill.map_or(index as PoolId, |prefill| prefill.pool)
    };
    scenario.pools.iter().enumerate().map(own).collect()
}
