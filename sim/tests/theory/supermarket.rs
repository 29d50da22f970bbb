//! The supermarket: many single servers with lines of their own, and how requests choose among them.
//!
//! Requests that go to a server drawn at random make each an M/M/1 queue. Requests that join the shorter of two lines
//! follow the law of the supermarket model in the limit of many servers; `n` of them differ from it by a term of the
//! order `1 / n`. The test allows [`EXCESS`]` / n` of the limit, and shows that the difference does shrink as that does.
//!
//! As measured: 50 servers are 2.2 % above the limit, 100 are 0.9 %, 200 are 0.4 %; 60 million requests, 20 s.
//!
//! `power-of-two` compares `4 * waiting + running`, which grows with the number in a single server's system, so the
//! smaller load is the shorter line; it draws two different servers, which is a difference of the order `1 / n`, too.

use crate::census::Tally;
use crate::queues::{SERVICE, Station, exponential, poisson, queue};
use crate::{Claim, compare, compare_near};
use tidegate_sim::scenario::{Route, Scenario};
use tidegate_sim::theory;
use tidegate_sim::time::Span;

/// Load of each server. High, so that the choice matters: 9 in the system without it, 2.35 with it.
const RHO: f64 = 0.9;
/// What `n` servers may be above or below the limit, times `n`, as a share of the limit.
const EXCESS: f64 = 2.0;

/// `servers` single servers, counted for `counted` mean service times after a warm-up of `warmup`.
fn supermarket(name: &str, servers: u16, route: Route, warmup: f64, counted: f64) -> Scenario {
    let load = RHO * f64::from(servers);
    let station = Station { replicas: servers, ..Station::servers(1) };
    let horizon = (warmup + counted) * SERVICE;
    let mut scenario = queue(name, station, exponential(), vec![poisson(load)], horizon);
    scenario.pools[0].route = route;
    scenario.warmup = Span::from_secs_f64(warmup * SERVICE);
    scenario
}

/// How far the number in the system is from the limit, as a share of it, and the half-interval of that.
fn of_two(servers: u16, counted: f64, long: bool) -> (f64, f64) {
    let limit = theory::supermarket_mean_number(RHO, 2).unwrap();
    let name = format!("the shorter of two among {servers}");
    // The limit forgets an empty start within some tens of services.
    let scenario = supermarket(&name, servers, Route::PowerOfTwo, 500.0, counted);
    let each = Claim {
        name: "number in the system of all",
        theory: limit * f64::from(servers),
        read: Tally::number,
        workload: 0,
    };
    let (mean, half) = compare_near(&scenario, &each, EXCESS / f64::from(servers), long);
    (mean / each.theory - 1.0, half / each.theory)
}

#[test]
fn the_shorter_of_two_lines_is_as_the_supermarket_model_says_and_nearer_with_more_servers() {
    let small = of_two(50, 11_200.0, true);
    of_two(100, 5_600.0, true);
    let large = of_two(200, 2_800.0, true);
    let apart = small.0.abs() - large.0.abs();
    // The runs of the two are independent: so is their noise.
    assert!(
        apart > small.1.hypot(large.1),
        "the difference does not shrink: {small:?} of 50, {large:?} of 200"
    );
    assert!(large.0.abs() < small.0.abs() / 2.0, "a quarter is expected: {small:?} of 50, {large:?} of 200");
}

#[test]
fn the_shorter_of_two_lines_in_short() {
    of_two(100, 100.0, false);
}

#[test]
fn lines_drawn_at_random_are_queues_of_their_own() {
    // The relaxation time of M/M/1 at this load is 1 / (1 - sqrt(rho))^2 = 380 services.
    let scenario = supermarket("one at random among 100", 100, Route::Random, 4_000.0, 4_000.0);
    let theory = 100.0 * theory::mm1_mean_number(RHO).unwrap();
    let claim = Claim { name: "number in the system of all", theory, read: Tally::number, workload: 0 };
    // A busy M/M/1 takes long to average: this interval is wider than those of the long forms, 2.5 %.
    compare(&scenario, &[claim], false);
}
