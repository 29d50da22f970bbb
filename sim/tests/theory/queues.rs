//! The queues: each with its long test, which proves, and its short twin, which tells quickly.

use crate::census::Tally;
use crate::{Claim, census, compare};
use tidegate_sim::dist::Dist;
use tidegate_sim::request::QUEUE_FULL;
use tidegate_sim::scenario::*;
use tidegate_sim::theory;
use tidegate_sim::time::Span;

/// Mean service time, seconds.
pub const SERVICE: f64 = 0.01;

/// Servers, and how many requests wait where.
#[derive(Clone, Copy)]
pub struct Station {
    pub replicas: u16,
    pub servers: u32,
    /// Places in the gateway's queue; `None` leaves waiting to the replica.
    pub places: Option<u32>,
    pub order: QueueOrder,
}

impl Station {
    /// One replica whose servers share a line of their own.
    pub fn servers(servers: u32) -> Self {
        Station { replicas: 1, servers, places: None, order: QueueOrder::Fifo }
    }

    /// Waiting happens in the gateway: replicas hold no more than they serve.
    fn behind_gateway(replicas: u16, servers: u32, places: u32) -> Self {
        Station { replicas, servers, places: Some(places), order: QueueOrder::Fifo }
    }
}

/// A queue named after Kendall's notation, fed for `horizon_s` seconds.
pub fn queue(
    name: &str,
    station: Station,
    service: Dist,
    arrivals: Vec<Arrivals>,
    horizon_s: f64,
) -> Scenario {
    let pool = Pool {
        name: "pool".into(),
        model: 0,
        replicas: station.replicas,
        gpus_per_replica: 0,
        engine: Engine::Slots(SlotsEngine { servers: station.servers, service }),
        route: Route::LeastLoaded,
        outstanding: station.places.map(|_| station.servers),
        queue: Queue { most: station.places, wait: None, order: station.order },
        permits: None,
        fleet: PoolFleet::fixed(station.replicas),
        view_age: Span::ZERO,
        batch: None,
    };
    let horizon = Span::from_secs_f64(horizon_s);
    let tier = |index: usize| Tier {
        name: format!("tier-{index}"),
        priority: index as u8,
        pools: vec![0],
        choice: None,
    };
    let workload = |(tier, arrivals): (usize, Arrivals)| Workload {
        name: format!("class-{tier}"),
        tier,
        pool: 0,
        tenants: 1,
        weight: 1_000,
        sessions: matches!(arrivals, Arrivals::Population { .. }).then(|| Sessions {
            turns: Dist::constant(1.0).unwrap(),
            think: Dist::exponential(THINK).unwrap(),
            context_most: 1,
        }),
        arrivals,
        lengths: Lengths::Independent {
            prompt: Dist::constant(1.0).unwrap(),
            output: Dist::constant(1.0).unwrap(),
        },
        max_tokens: None,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::ZERO,
        objectives: Objectives::default(),
        sender: Default::default(),
        client: Default::default(),
        wire: Default::default(),
    };
    Scenario {
        name: name.into(),
        question: "does the simulator agree with theory?".into(),
        variant: None,
        horizon,
        // The queue starts empty; a hundredth is hundreds of relaxation times.
        warmup: horizon / 100,
        end: End::Drain,
        seed: 20_260_101,
        replications: Replications { looks: vec![1] },
        bin: horizon,
        models: vec![Model { name: "model".into(), context_tokens: 16, listing: Default::default() }],
        pools: vec![pool],
        tiers: (0..arrivals.len()).map(tier).collect(),
        workloads: arrivals.into_iter().enumerate().map(workload).collect(),
        properties: Vec::new(),
        policy: Default::default(),
        fleet: Default::default(),
        batches: Vec::new(),
        live: Default::default(),
        searches: Vec::new(),
        caveats: Vec::new(),
        hash: String::new(),
    }
}

/// Mean think time of the closed population, seconds.
const THINK: f64 = 0.06;

/// Poisson arrivals that offer `load` Erlangs.
pub fn poisson(load: f64) -> Arrivals {
    Arrivals::Renewal(Dist::exponential(SERVICE / load).unwrap())
}

pub fn exponential() -> Dist {
    Dist::exponential(SERVICE).unwrap()
}

/// Seconds in which `requests` arrive at `load` Erlangs.
fn time_for(requests: f64, load: f64) -> f64 {
    requests * SERVICE / load
}

fn claim(name: &'static str, theory: Option<f64>, read: fn(&Tally) -> f64) -> Claim {
    Claim { name, theory: theory.expect("the queue is inside the formula's domain"), read, workload: 0 }
}

fn mm1(requests: f64, long: bool) {
    let rho = 0.5;
    let name = "M/M/1";
    let mut scenario =
        queue(name, Station::servers(1), exponential(), vec![poisson(rho)], time_for(requests, rho));
    let median = theory::mm1_response_quantile(rho, SERVICE, 0.5).unwrap();
    scenario.workloads[0].objectives.e2e = Some(Span::from_secs_f64(median));
    let claims = [
        claim("mean wait", theory::mm1_mean_wait(rho, SERVICE), Tally::mean_wait_s),
        claim("number in the system", theory::mm1_mean_number(rho), Tally::number),
        claim("share beyond the median", Some(0.5), Tally::share_slow),
        claim("share that waits", Some(rho), Tally::share_waited),
        claim("throughput", Some(rho / SERVICE), Tally::throughput_per_s),
    ];
    compare(&scenario, &claims, long);
}

fn mmc(requests: f64, long: bool) {
    let (load, servers) = (2.1, 3);
    let build = |station: Station, requests: f64| {
        queue("M/M/3", station, exponential(), vec![poisson(load)], time_for(requests, load))
    };
    let mut scenario = build(Station::servers(servers), requests);
    let high = theory::mmc_response_quantile(load, servers, SERVICE, 0.8).unwrap();
    scenario.workloads[0].objectives.e2e = Some(Span::from_secs_f64(high));
    let claims = [
        claim("mean wait", theory::mmc_mean_wait(load, servers, SERVICE), Tally::mean_wait_s),
        claim("share that waits", theory::erlang_c(load, servers), Tally::share_waited),
        claim("share beyond p80", Some(0.2), Tally::share_slow),
        claim("mean response", theory::mmc_mean_response(load, servers, SERVICE), Tally::mean_response_s),
    ];
    compare(&scenario, &claims, long);
    // Three single servers behind the gateway's queue are the same system: not on average but request by request.
    let own_line = build(Station::servers(servers), SHORT);
    let gateway = build(Station::behind_gateway(3, 1, u32::MAX), SHORT);
    for seed in 1..5 {
        assert_eq!(census(&own_line, seed).tallies, census(&gateway, seed).tallies, "seed {seed}");
    }
}

fn md1(requests: f64, long: bool) {
    let rho = 0.7;
    let service = Dist::constant(SERVICE).unwrap();
    let scenario = queue("M/D/1", Station::servers(1), service, vec![poisson(rho)], time_for(requests, rho));
    let claims = [claim("mean wait", theory::md1_mean_wait(rho, SERVICE), Tally::mean_wait_s)];
    compare(&scenario, &claims, long);
}

fn mg1(requests: f64, long: bool) {
    let (rho, cv) = (0.5, 1.5);
    let service = Dist::gamma(SERVICE, cv).unwrap();
    let scenario = queue("M/G/1", Station::servers(1), service, vec![poisson(rho)], time_for(requests, rho));
    let claims = [claim("mean wait", theory::mg1_mean_wait(rho, SERVICE, cv), Tally::mean_wait_s)];
    compare(&scenario, &claims, long);
}

fn blocking(requests: f64, long: bool) {
    // Erlang B holds for any service law, and beyond full load.
    let (load, servers) = (5.0, 4);
    for (name, service) in
        [("M/M/4/4", exponential()), ("M/G/4/4", Dist::uniform(0.0, 2.0 * SERVICE).unwrap())]
    {
        let station = Station::behind_gateway(1, servers, 0);
        let horizon = time_for(requests / 8.0, load);
        let scenario = queue(name, station, service, vec![poisson(load)], horizon);
        let claims = [claim("blocking", theory::erlang_b(load, servers), Tally::share_refused)];
        compare(&scenario, &claims, long);
    }
    let (load, servers, room) = (1.8, 2, 7);
    let bounded = theory::mmck(load, servers, room, SERVICE).unwrap();
    let station = Station::behind_gateway(1, servers, room - servers);
    let scenario = queue("M/M/2/7", station, exponential(), vec![poisson(load)], time_for(requests, load));
    let claims = [
        claim("blocking", Some(bounded.blocking), Tally::share_refused),
        claim("mean wait", Some(bounded.wait_s), Tally::mean_wait_s),
        claim("throughput", Some(bounded.throughput_per_s), Tally::throughput_per_s),
    ];
    compare(&scenario, &claims, long);
}

fn machine_repair(requests: f64, long: bool) {
    let (users, servers) = (12, 2);
    let closed = theory::machine_repair(users, servers, THINK, SERVICE).unwrap();
    let horizon = requests / closed.throughput_per_s;
    let population = vec![Arrivals::Population { users }];
    let scenario = queue("M/M/2//12", Station::servers(servers), exponential(), population, horizon);
    let claims = [
        claim("mean wait", Some(closed.wait_s), Tally::mean_wait_s),
        claim("number in the system", Some(closed.number), Tally::number),
        claim("throughput", Some(closed.throughput_per_s), Tally::throughput_per_s),
    ];
    compare(&scenario, &claims, long);
}

fn priorities(requests: f64, long: bool) {
    let loads = [0.6, 0.8];
    let waits = theory::mmc_priority_mean_waits(&loads, 2, SERVICE).unwrap();
    let station = Station { order: QueueOrder::Priority, ..Station::behind_gateway(1, 2, u32::MAX) };
    let arrivals = loads.map(poisson).to_vec();
    let horizon = time_for(requests, loads.iter().sum());
    let scenario = queue("M/M/2 with priorities", station, exponential(), arrivals, horizon);
    let claims = [
        claim("urgent mean wait", Some(waits[0]), Tally::mean_wait_s),
        Claim { workload: 1, ..claim("other mean wait", Some(waits[1]), Tally::mean_wait_s) },
    ];
    compare(&scenario, &claims, long);
}

/// A dedicated endpoint of size Small: provisioned concurrency 4 on two replicas of two servers, its own queue.
fn dedicated(requests: f64, long: bool) {
    let (load, permits) = (2.8, 4);
    let station = Station { replicas: 2, ..Station::servers(2) };
    let horizon = time_for(requests, load);
    let mut scenario = queue("dedicated, M/M/4", station, exponential(), vec![poisson(load)], horizon);
    scenario.pools[0].route = Route::LeastOutstanding;
    scenario.pools[0].permits = Some(Permits { most: permits, reason: QUEUE_FULL });
    let claims = [
        claim("mean wait", theory::mmc_mean_wait(load, permits, SERVICE), Tally::mean_wait_s),
        claim("share that waits", theory::erlang_c(load, permits), Tally::share_waited),
    ];
    compare(&scenario, &claims, long);
}

/// Requests per run of the short twins.
const SHORT: f64 = 5_000.0;

macro_rules! oracles {
    ($($queue:ident: $long:literal => $long_name:ident, $short_name:ident;)*) => {$(
        #[test]
        fn $long_name() {
            $queue($long, true);
        }
        #[test]
        fn $short_name() {
            $queue(SHORT, false);
        }
    )*};
}

// Requests per run; there are 40 runs. All long ones together take 40 s of one core. They aim at a half-width of 0.75 %,
// because with 40 runs the width itself varies by a tenth and more from seed to seed.
oracles! {
    mm1: 330_000.0 => mm1_is_what_theory_says, mm1_in_short;
    mmc: 1_050_000.0 => mmc_is_what_theory_says, mmc_in_short;
    md1: 360_000.0 => md1_is_what_theory_says, md1_in_short;
    mg1: 580_000.0 => mg1_is_what_theory_says, mg1_in_short;
    blocking: 560_000.0 => bounded_queues_block_as_theory_says, bounded_queues_in_short;
    machine_repair: 220_000.0 => a_closed_population_is_what_theory_says, a_closed_population_in_short;
    priorities: 1_100_000.0 => priorities_wait_as_theory_says, priorities_in_short;
    dedicated: 1_200_000.0 => a_dedicated_endpoint_waits_as_erlang_c_says, a_dedicated_endpoint_in_short;
}

#[test]
fn littles_law_holds_exactly_on_every_path() {
    // The integral of the number in the system is the sum of the times in it: not on average but to the nanosecond,
    // when a run starts and ends empty.
    let arrivals = |rates: &[f64]| rates.iter().map(|rate| poisson(*rate)).collect::<Vec<_>>();
    let gate = Station { order: QueueOrder::Priority, ..Station::behind_gateway(2, 2, 3) };
    let cases = [
        queue("M/M/1", Station::servers(1), exponential(), arrivals(&[0.9]), 2_000.0),
        queue("M/M/4/7 with two classes", gate, exponential(), arrivals(&[2.0, 3.0]), 500.0),
        queue("closed", Station::servers(1), exponential(), vec![Arrivals::Population { users: 5 }], 500.0),
    ];
    for scenario in &cases {
        for seed in 1..4 {
            for tally in census(scenario, seed).tallies {
                assert!(tally.area > 0);
                assert_eq!(tally.area, tally.all_response_ns, "{} seed {seed}", scenario.name);
            }
        }
    }
}
