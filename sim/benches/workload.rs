//! What an arrival costs, by kind of source. `cargo bench -p tidegate-sim --bench workload`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_sim::dist::Dist;
use tidegate_sim::scenario::{
    Arrivals, End, Engine, Lengths, MmppState, Model, Objectives, Pool, PoolFleet, Queue, QueueOrder,
    RateCurve, Replications, Route, Scenario, Sessions, SlotsEngine, Tier, Workload,
};
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::{Source, arrival_hash};

const ARRIVALS: u64 = 100_000;

fn law(dist: Result<Dist, tidegate_sim::dist::DistError>) -> Dist {
    dist.expect("the bench's own numbers are valid")
}

fn scenario(arrivals: Arrivals, sessions: Option<Sessions>) -> Scenario {
    let workload = Workload {
        name: "w".to_owned(),
        tier: 0,
        pool: 0,
        tenants: 1,
        weight: 1_000,
        arrivals,
        lengths: Lengths::Independent {
            prompt: law(Dist::lognormal(900.0, 1.2)),
            output: law(Dist::lognormal(200.0, 0.9)),
        },
        max_tokens: None,
        sessions,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::ZERO,
        objectives: Objectives::default(),
        sender: Default::default(),
        client: Default::default(),
        wire: Default::default(),
    };
    Scenario {
        name: "bench".to_owned(),
        question: String::new(),
        variant: None,
        horizon: Span::from_secs(1_000_000),
        warmup: Span::ZERO,
        end: End::Cut,
        seed: 1,
        replications: Replications { looks: vec![1] },
        bin: Span::from_secs(1),
        models: vec![Model { name: "m".to_owned(), context_tokens: 1 << 20, listing: Default::default() }],
        pools: vec![Pool {
            name: "p".to_owned(),
            model: 0,
            replicas: 1,
            gpus_per_replica: 0,
            engine: Engine::Slots(SlotsEngine { servers: 1, service: law(Dist::constant(1.0)) }),
            route: Route::RoundRobin,
            outstanding: None,
            queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
            permits: None,
            fleet: PoolFleet::fixed(1),
            view_age: Span::ZERO,
            batch: None,
        }],
        tiers: vec![Tier { name: "t".to_owned(), priority: 0, pools: vec![0], choice: None }],
        workloads: vec![workload],
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

fn drain(mut source: Source) -> Time {
    let mut last = Time::ZERO;
    for _ in 0..ARRIVALS {
        last = black_box(source.next()).expect("the horizon is far away").at;
    }
    last
}

fn arrivals(criterion: &mut Criterion) {
    let kinds = [
        ("poisson", Arrivals::Renewal(law(Dist::exponential(0.01)))),
        ("gamma-cv3", Arrivals::Renewal(law(Dist::gamma(0.01, 3.0)))),
        ("weibull-cv2", Arrivals::Renewal(law(Dist::weibull(0.01, 2.0)))),
        (
            "mmpp",
            Arrivals::Mmpp(
                [200.0, 20.0].map(|rate_per_s| MmppState { rate_per_s, stay: Span::from_secs(5) }).into(),
            ),
        ),
        (
            "diurnal",
            Arrivals::Varying(RateCurve::Diurnal {
                peak: 150.0,
                trough: 50.0,
                peak_at: Span::from_secs(50_000),
                period: Span::from_secs(86_400),
            }),
        ),
    ];
    let mut group = criterion.benchmark_group("arrival");
    group.throughput(Throughput::Elements(ARRIVALS));
    for (name, kind) in kinds {
        let scenario = scenario(kind, None);
        let open = || Source::open(&scenario, 0, 1).expect("valid");
        group.bench_function(name, |bencher| bencher.iter_batched(open, drain, BatchSize::LargeInput));
    }
    group.finish();
}

fn follow(criterion: &mut Criterion) {
    let sessions = Sessions {
        turns: law(Dist::constant(1e6)),
        think: law(Dist::exponential(5.0)),
        context_most: 100_000,
    };
    let scenario = scenario(Arrivals::Renewal(law(Dist::exponential(0.01))), Some(sessions));
    let mut source = Source::open(&scenario, 0, 1).expect("valid");
    let first = source.next().expect("the horizon is far away");
    criterion.bench_function("follow", |bencher| {
        bencher.iter(|| source.follow(black_box(&first.head), 200, first.at).expect("many turns"))
    });
}

fn hash(criterion: &mut Criterion) {
    let mut scenario = scenario(Arrivals::Renewal(law(Dist::exponential(0.01))), None);
    scenario.horizon = Span::from_secs(ARRIVALS / 100);
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(ARRIVALS));
    group.bench_function("poisson", |bencher| bencher.iter(|| arrival_hash(&scenario, 1).expect("valid")));
    group.finish();
}

criterion_group!(benches, arrivals, follow, hash);
criterion_main!(benches);
