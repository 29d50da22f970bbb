//! What a file says of routes and queues, and what that does in a run.

use crate::support::{Everything, arrival, run, scenario, workload};
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::Mode;
use tidegate_sim::scenario::{self, *};
use tidegate_sim::time::Span;

fn file(pool: &str, workload: &str) -> Scenario {
    let text = format!(
        r#"
[scenario]
question = "q"
horizon = "10s"
[models.m]
context = "8k"
[pools.p]
model = "m"
replicas = 4
step_time = {{ kind = "linear", base = "8ms" }}
kv = {{ blocks = 2000, prefix_cache = true }}
outstanding = 8
{pool}
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = {{ kind = "poisson", rate = "2/s" }}
prompt = 500
output = 100
{workload}
"#
    );
    scenario::load_str("test.toml", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn every_policy_can_be_said_in_a_file_by_its_name() {
    for &route in Route::ALL {
        let loaded = file(&format!("route = \"{}\"", route.name()), "");
        assert_eq!(loaded.pools[0].route, route);
        assert_eq!(loaded.pools[0].view_age, Span::ZERO);
        if route.reads_loads() {
            let aged = file(&format!("route = \"{}\"\nview_age = \"250ms\"", route.name()), "");
            assert_eq!(aged.pools[0].view_age, Span::from_millis(250));
        }
    }
}

#[test]
fn a_fair_queue_and_weights_are_read_and_a_weight_that_changes_nothing_is_noted() {
    let fair = file("queue = { order = \"fair\" }", "weight = 2.5");
    assert_eq!((fair.pools[0].queue.order, fair.workloads[0].weight), (QueueOrder::Fair, 2_500));
    assert!(fair.caveats.is_empty(), "{:?}", fair.caveats);
    let idle = file("", "weight = 0.25");
    assert_eq!(idle.workloads[0].weight, 250);
    assert_eq!(idle.caveats, ["workload `w` has a `weight`, and no queue is fair: it changes nothing"]);
}

/// One server behind the gateway's queue; a tenant sends a hundred requests at once, and then another sends one.
fn flood(order: QueueOrder) -> Everything {
    let pool = Pool {
        name: "pool".into(),
        model: 0,
        replicas: 1,
        gpus_per_replica: 0,
        engine: Engine::Slots(SlotsEngine { servers: 1, service: Dist::constant(0.01).unwrap() }),
        route: Route::LeastLoaded,
        outstanding: Some(1),
        queue: Queue { most: None, wait: None, order },
        permits: None,
        fleet: PoolFleet::fixed(1),
        view_age: Span::ZERO,
        batch: None,
    };
    let mut source = workload("workload", 0, 0);
    source.sender.candidates = vec![(0, 0)];
    source.tenants = 2;
    let requests = (0..101).map(|index| {
        let last = index == 100;
        let mut request = arrival(0, index, u64::from(last) * 1_000_000, 50, 1);
        request.head.tenant = u32::from(last);
        request.draw.service = Span::from_millis(10);
        request
    });
    let scenario = scenario(Span::from_secs(3), vec![pool], vec![source]);
    run(&scenario, vec![requests.collect()], Mode::Fast).1
}

#[test]
fn a_tenant_that_floods_a_fair_queue_delays_another_by_one_request_and_not_by_all() {
    let wait = |order| flood(order).finished[100].budget().gateway_queue;
    assert_eq!(wait(QueueOrder::Fifo), Span::from_millis(999));
    // One is in service when it comes, and at most one more goes first.
    assert!(wait(QueueOrder::Fair) <= Span::from_millis(19), "{}", wait(QueueOrder::Fair));
}
