//! Nanoseconds a request of each routing policy. `cargo bench -p tidegate-sim --bench routing`.
//!
//! A pool of 1,000 replicas with random loads. A request is a pick, the note of what its replica holds then, and the
//! note of what another replica holds when a request there is over. In the second group nine replicas of ten are down.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::RngExt as _;
use std::hint::black_box;
use tidegate_sim::dist::Dist;
use tidegate_sim::gateway::known_tokens;
use tidegate_sim::gateway::route::{Router, View};
use tidegate_sim::request::{Prefix, RequestHead};
use tidegate_sim::rng::{Purpose, stream};
use tidegate_sim::scenario::{Engine, Pool, PoolFleet, Queue, QueueOrder, Route, SlotsEngine};
use tidegate_sim::time::Span;

const REPLICAS: u16 = 1_000;
const REQUESTS: usize = 20_000;

/// A request, and what two replicas hold after it: the one that takes it and another.
struct Step {
    head: RequestHead,
    taker: (u32, u32),
    other: (u16, u32, u32),
}

fn pool(route: Route) -> Pool {
    Pool {
        name: "pool".into(),
        model: 0,
        replicas: REPLICAS,
        gpus_per_replica: 0,
        engine: Engine::Slots(SlotsEngine {
            servers: 1,
            service: Dist::constant(1.0).expect("it is positive"),
        }),
        route,
        outstanding: None,
        queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
        permits: None,
        fleet: PoolFleet::fixed(REPLICAS),
        view_age: Span::ZERO,
        batch: None,
    }
}

fn steps() -> Vec<Step> {
    let mut rng = stream(1, Purpose::Route, 1, 0);
    let mut below = |most: u64| rng.random_range(0..most);
    let step = |index: usize| {
        // Sessions of ten turns or so behind one of eight system prompts.
        let session = below(2_000);
        let head = RequestHead {
            workload: 0,
            tenant: 0,
            index: index as u64,
            prompt_tokens: 500 + below(2_000) as u32,
            max_tokens: Some(100 + below(900) as u32),
            session,
            turn: 0,
            prefix: Prefix { shared: 1 + session % 8, shared_tokens: 400, own: 1 + session },
            body_bytes: None,
        };
        let mut load = || (below(4) as u32, 1 + below(60) as u32);
        let (taker, (waiting, running)) = (load(), load());
        Step { head, taker, other: (below(REPLICAS.into()) as u16, waiting, running) }
    };
    (0..REQUESTS).map(step).collect()
}

fn run(router: &mut Router, view: &mut View, steps: &[Step]) -> u64 {
    let mut sum = 0;
    for step in steps {
        let picked = router.pick(view, &step.head, None).expect("there is no bound");
        view.take(picked, known_tokens(&step.head));
        view.update(picked, step.taker.0, step.taker.1);
        let (other, waiting, running) = step.other;
        view.update(other, waiting, running);
        sum += u64::from(picked);
    }
    sum
}

fn routing(criterion: &mut Criterion) {
    let steps = steps();
    for (name, up) in [("route", REPLICAS), ("route-a-tenth-is-up", REPLICAS / 10)] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).throughput(Throughput::Elements(REQUESTS as u64));
        group.measurement_time(std::time::Duration::from_secs(2));
        for &route in Route::ALL {
            let pool = pool(route);
            let (mut router, mut view) = (Router::new(&pool, 1, 0), View::new(&pool));
            (0..REPLICAS).for_each(|replica| view.set_up(replica, replica % (REPLICAS / up) == 0));
            group.bench_function(BenchmarkId::from_parameter(route.name()), |bencher| {
                bencher.iter(|| black_box(run(&mut router, &mut view, &steps)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, routing);
criterion_main!(benches);
