//! Requests per second of the whole engine: arrivals, gateway, router, replicas, all histograms, one thread.
//!
//! The law and the lengths are the crosscheck's: 8 requests/s a replica, 77 % of what it can do.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::observe::recorder::Recorder;
use tidegate_sim::replica::step_time::{LawBounds, LinearCoefficients, StepLaw};
use tidegate_sim::scenario::*;
use tidegate_sim::time::Span;
use tidegate_sim::workload::Source;

const REQUESTS: u64 = 200_000;

fn scenario(replicas: u16, route: Route) -> Scenario {
    let us = 1_000_000_000;
    let law = LinearCoefficients {
        base_fs: 8_000 * us,
        per_sequence_fs: 20 * us,
        per_prefill_token_fs: 50 * us,
        per_decode_fs: us / 10,
        per_context_token_fs: us / 10,
    };
    let bounds = LawBounds { sequences: 128, tokens: 512, sequence_tokens: 4096 };
    let engine = LlmEngine {
        law: Arc::new(StepLaw::linear(&law, Span::from_micros(1), &bounds).expect("the law is valid")),
        batching: Batching { policy: BatchPolicy::Chunked, tokens: 512, sequences: 128 },
        kv: Kv { block_tokens: 16, blocks: 20_000, watermark_blocks: 200, prefix_cache: false },
        context_tokens: 4096,
        below: None,
    };
    let lengths = |mean, least, most| Dist::lognormal(mean, 0.8).and_then(|law| law.clipped(least, most));
    let rate = 8.0 * f64::from(replicas);
    Scenario {
        name: "bench".into(),
        question: "how fast?".into(),
        variant: None,
        horizon: Span::from_secs_f64(REQUESTS as f64 / rate),
        warmup: Span::ZERO,
        end: End::Drain,
        seed: 1,
        replications: Replications { looks: vec![1] },
        bin: Span::from_secs(60),
        models: vec![Model { name: "model".into(), context_tokens: 4096, listing: Default::default() }],
        pools: vec![Pool {
            name: "pool".into(),
            model: 0,
            replicas,
            gpus_per_replica: 1,
            engine: Engine::Llm(engine),
            route,
            outstanding: None,
            queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
            permits: None,
            fleet: PoolFleet::fixed(replicas),
            view_age: Span::ZERO,
            batch: None,
        }],
        tiers: vec![Tier { name: "tier".into(), priority: 0, pools: vec![0], choice: None }],
        workloads: vec![Workload {
            name: "chat".into(),
            tier: 0,
            pool: 0,
            tenants: 1,
            weight: 1_000,
            arrivals: Arrivals::Renewal(Dist::exponential(1.0 / rate).expect("positive")),
            lengths: Lengths::Independent {
                prompt: lengths(987.5, 16.0, 3072.0).expect("valid"),
                output: lengths(189.6, 2.0, 1024.0).expect("valid"),
            },
            max_tokens: None,
            sessions: None,
            shared_prefix_tokens: 0,
            patience: None,
            network: Span::ZERO,
            objectives: Objectives::default(),
            sender: Default::default(),
            client: Default::default(),
            wire: Default::default(),
        }],
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

fn run(scenario: &Scenario, mode: Mode) -> u64 {
    let mut recorder = Recorder::new(scenario);
    let source = Source::open(scenario, 0, scenario.seed).expect("the workload is valid");
    let totals =
        simulate(
            scenario,
            vec![source],
            scenario.seed,
            mode,
            &mut recorder,
            |_, _| ControlFlow::Continue(()),
        );
    black_box(recorder.finish(totals.ended));
    totals.offered
}

fn simulation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10).throughput(Throughput::Elements(REQUESTS));
    for replicas in [1, 8, 128] {
        for (name, route, mode) in [
            ("round-robin", Route::RoundRobin, Mode::Fast),
            ("round-robin-unskipped", Route::RoundRobin, Mode::Unskipped),
            ("least-loaded", Route::LeastLoaded, Mode::Fast),
        ] {
            let scenario = scenario(replicas, route);
            group.bench_with_input(BenchmarkId::new(name, replicas), &scenario, |bencher, scenario| {
                bencher.iter(|| run(scenario, mode));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, simulation);
criterion_main!(benches);
