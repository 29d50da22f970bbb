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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::recorder::Recorder;
    use crate::observe::recording::{Asked, PoolMeasure};
    use crate::observe::synthetic::{Fact, fleet, run, tell};
    use crate::observe::{Observer as _, ScaleCause, ScaleChange};
    use crate::scenario::Measure;
    use crate::time::{Span, Time};

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * crate::time::NANOS_PER_SEC)
    }

    fn ready(ready: u16, cause: ScaleCause) -> ScaleChange {
        ScaleChange { ready, starting: 0, draining: 0, down: 0, wanted: ready, cause }
    }

    /// An hour, of which the first half is not counted. `h100` has 4 replicas of 2 GPUs for the first 45 minutes, then
    /// 8; `l40s` has 3 of 1 GPU. They run on what `change` makes of the machines.
    fn hour(change: impl FnOnce(&mut Scenario)) -> (Scenario, Recording) {
        let mut scenario = fleet();
        (scenario.horizon, scenario.warmup) = (Span::from_secs(3_600), Span::from_secs(1_800));
        scenario.bin = Span::from_secs(60);
        scenario.pools[0].gpus_per_replica = 2;
        change(&mut scenario);
        let mut recorder = Recorder::new(&scenario);
        recorder.scaled(at(0), 0, &ready(4, ScaleCause::Start));
        recorder.scaled(at(0), 1, &ready(3, ScaleCause::Start));
        recorder.scaled(at(2_700), 0, &ready(8, ScaleCause::Decision));
        let recording = recorder.finish(at(3_600));
        (scenario, recording)
    }

    /// GPU hours of `h100` in the counted half hour: a quarter of 8 and a quarter of 16.
    const H100: f64 = 0.25 * 8.0 + 0.25 * 16.0;
    /// GPU hours of `l40s`.
    const L40S: f64 = 0.5 * 3.0;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn rented_machines_cost_what_replicas_have_and_reserved_ones_all_the_time() {
        let (_, recording) = hour(|_| ());
        let bill = Bill::of(&recording);
        // The dearer of 2 and 3; eight reserved GPUs at 1.5 for half an hour.
        close(bill.pools[0], H100 * 3.0);
        close(bill.pools[1], 8.0 * 1.5 * 0.5);
        close(bill.total, bill.pools[0] + bill.pools[1]);
        let hours = recording.answer(&Asked::Pool(0, PoolMeasure::GpuHours)).unwrap().value;
        close(hours, H100);
        let cost = recording.answer(&Asked::Pool(0, PoolMeasure::Cost)).unwrap().value;
        close(cost, H100 * 3.0 / 0.5);
        close(recording.reading(None, &Measure::Cost).unwrap().value, bill.total / 0.5);
        // Nobody was served, so nobody pays.
        assert_eq!(bill.workloads, [0.0, 0.0]);
        assert_eq!(recording.reading(None, &Measure::CostPerMillionTokens), None);
        close(recording.answer(&Asked::Pool(0, PoolMeasure::Replicas)).unwrap().value, 6.0);
    }

    #[test]
    fn pools_share_reserved_machines_by_their_gpu_time() {
        let (_, recording) = hour(|scenario| scenario.pools[0].fleet.nodes = vec![2]);
        let bill = Bill::of(&recording);
        let all = 8.0 * 1.5 * 0.5;
        close(bill.pools[0], all * H100 / (H100 + L40S));
        close(bill.pools[1], all * L40S / (H100 + L40S));
        close(bill.total, all);
    }

    #[test]
    fn reserved_machines_that_nobody_used_go_to_the_first_pool_on_them_or_to_nobody() {
        let mut scenario = fleet();
        scenario.pools[0].fleet.nodes = vec![2];
        let mut recorder = Recorder::new(&scenario);
        recorder.scaled(at(0), 0, &ready(0, ScaleCause::Start));
        recorder.scaled(at(0), 1, &ready(0, ScaleCause::Start));
        let bill = Bill::of(&recorder.finish(at(600)));
        assert!(bill.pools[0] > 0.0 && bill.pools[1] == 0.0, "{bill:?}");
        for pool in &mut scenario.pools {
            pool.fleet.nodes.clear();
        }
        let nobody = Bill::of(&Recorder::new(&scenario).finish(at(600)));
        assert_eq!(nobody.pools, [0.0, 0.0]);
        close(nobody.total, bill.total);
    }

    #[test]
    fn beyond_its_reserved_machines_a_pool_pays_by_the_hour() {
        let (scenario, recording) = hour(|scenario| scenario.pools[0].fleet.nodes = vec![2, 1]);
        // Eight GPUs are reserved; for a quarter of an hour it has 16.
        let bill = Bill::of(&recording);
        let reserved = 8.0 * 1.5 * 0.5;
        close(bill.pools[0], 0.25 * 8.0 * 3.0 + reserved * H100 / (H100 + L40S));
        let said = caveats(&scenario);
        assert_eq!(
            said,
            ["pool `h100` pays by the hour for the GPUs it has beyond the 8 reserved ones it may be on"]
        );
    }

    #[test]
    fn a_pool_on_machines_of_several_prices_says_which_it_pays() {
        let said = caveats(&fleet());
        assert_eq!(said, ["pool `h100` pays the highest of its machines' prices, 3 USD/h, for all of them"]);
        let mut scenario = fleet();
        scenario.pools[0].fleet.nodes = vec![1];
        assert!(caveats(&scenario).is_empty());
    }

    #[test]
    fn a_replica_without_a_gpu_counts_as_one_where_it_has_a_price() {
        let mut scenario = fleet();
        let pool = &mut scenario.pools[0];
        (pool.fleet.nodes, pool.fleet.price) = (Vec::new(), Some(0.5));
        pool.gpus_per_replica = 0;
        let recording = Recorder::new(&scenario).finish(at(600));
        // Five replicas from 45 s to 600 s.
        close(Bill::of(&recording).pools[0], 5.0 * 0.5 * 555.0 / 3_600.0);
    }

    #[test]
    fn the_cost_of_a_pool_goes_to_workloads_by_what_it_did_for_them() {
        let scenario = fleet();
        let (facts, ended) = run(&scenario, 3_000, 9, 1_000);
        let mut recorder = Recorder::new(&scenario);
        tell(&facts, &mut recorder);
        let recording = recorder.finish(ended);
        let bill = Bill::of(&recording);
        // `slots` pools: by completed attempts that ended in the counted window.
        let (warmup, horizon) = (at(45), at(600));
        let completed = |pool: u16, workload: Option<u16>| {
            let counts = |fact: &&Fact| match fact {
                Fact::Finished(done) => {
                    done.pool == pool
                        && done.outcome == crate::request::Outcome::Completed
                        && (warmup..horizon).contains(&done.ended)
                        && workload.is_none_or(|workload| done.head.workload == workload)
                }
                _ => false,
            };
            facts.iter().filter(counts).count() as f64
        };
        for workload in 0..2 {
            let share = |pool: u16| completed(pool, Some(workload)) / completed(pool, None);
            let expected = bill.pools[0] * share(0) + bill.pools[1] * share(1);
            let found = bill.workloads[usize::from(workload)];
            assert!(found > 0.0 && (found / expected - 1.0).abs() < 1e-12, "{found} is not {expected}");
            let rate = recording.reading(Some(workload.into()), &Measure::CostPerMillionTokens).unwrap();
            let tokens = recording.workloads[usize::from(workload)].tokens_inside;
            close(rate.value, found / (tokens as f64 / 1e6));
        }
        assert!((bill.workloads.iter().sum::<f64>() / bill.total - 1.0).abs() < 1e-12);
        let tier = recording.answer(&Asked::Tier(0, Measure::Cost)).unwrap();
        let all = recording.reading(None, &Measure::Cost).unwrap();
        assert!((tier.value / all.value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn merged_replications_cost_what_each_of_them_costs() {
        let (_, one) = hour(|_| ());
        let mut two = one.clone();
        two.merge(&one);
        close(Bill::of(&two).total, 2.0 * Bill::of(&one).total);
        let cost = |recording: &Recording| recording.reading(None, &Measure::Cost).unwrap().value;
        close(cost(&two), cost(&one));
    }

    #[test]
    fn without_prices_there_are_no_costs() {
        let scenario = crate::observe::synthetic::scenario();
        let recording = Recorder::new(&scenario).finish(at(600));
        assert_eq!(recording.reading(None, &Measure::Cost), None);
        assert_eq!(recording.answer(&Asked::Pool(0, PoolMeasure::Cost)), None);
        assert_eq!(recording.answer(&Asked::Tier(0, Measure::Cost)), None);
    }
}
