//! Nanoseconds an admission. `cargo bench -p tidegate-sim --bench admission`.
//!
//! The stack is what a hosted API asks for every request; the flood is one second at a workspace's limit.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_sim::gateway::admission::{Admission, Class, meters};
use tidegate_sim::limits::{Algorithm, Claim, MeterSpec, Meters, RateSpec};
use tidegate_sim::profile::{
    Answer, Caller, Key, Limit, Mechanism, Provenance, Source, Stage, Subject, Unit, Verb,
};
use tidegate_sim::request::{Prefix, RequestHead};
use tidegate_sim::scenario::policy::Sender;
use tidegate_sim::time::{Span, Time};

const TENANTS: u32 = 1000;
const MODELS: u32 = 8;
const ADMISSIONS: u64 = 100_000;
const FLOOD: u64 = 300_000;

fn rate(algorithm: Algorithm, limit: u64, window: u64) -> RateSpec {
    RateSpec {
        limit: Some(limit),
        most: limit,
        window: Span::from_secs(window),
        algorithm,
        burst: limit,
        weighted: false,
        counts_refused: false,
    }
}

/// Requests a second of a tenant, its tokens a minute, requests of a model, requests an hour of an account,
/// requests a second of the workspace, and requests at once.
fn stack() -> Meters {
    let log = |limit, window| MeterSpec::Rate(rate(Algorithm::SlidingLog, limit, window));
    let tokens = RateSpec { weighted: true, ..rate(Algorithm::TokenBucket, 20_000_000, 60) };
    Meters::new(vec![
        (log(100, 1), TENANTS),
        (MeterSpec::Rate(tokens), TENANTS),
        (log(100_000, 1), MODELS),
        (log(4_000, 3600), TENANTS),
        (log(300_000, 1), 1),
        (MeterSpec::Held { limit: Some(200_000) }, 1),
    ])
}

/// The same stack as limits, asked as the gateway asks them.
fn limits() -> Vec<Limit> {
    let rate = |limit, window, unit, algorithm| Mechanism::Rate {
        limit: Some(limit),
        most: limit,
        window: Span::from_secs(window),
        algorithm,
        burst: limit,
        unit,
        default_reservation: 500,
        counts_refused: false,
    };
    let log = |limit, window| rate(limit, window, Unit::Requests, Algorithm::SlidingLog);
    let stack = [
        (log(100, 1), Key::Token, TENANTS),
        (rate(20_000_000, 60, Unit::Tokens, Algorithm::TokenBucket), Key::Token, TENANTS),
        (log(100_000, 1), Key::Model, MODELS),
        // A minute's log, so that it is full of what leaves again as the bench goes on.
        (log(4_000, 60), Key::Token, TENANTS),
        (log(300_000, 1), Key::Account, 1),
        (Mechanism::Concurrency { limit: Some(200_000) }, Key::Account, 1),
    ];
    let limit = |(meter, (mechanism, key, keys)): (usize, (Mechanism, Key, u32))| Limit {
        name: format!("limit-{meter}"),
        row: String::new(),
        stage: Stage::Workspace,
        on: vec![Verb::Inference],
        when: Vec::new(),
        mechanism,
        per: vec![(key, 1)],
        keys,
        meter: Some(meter as u16),
        answer: Answer {
            status: 429,
            code: String::new(),
            message: String::new(),
            provenance: Provenance::Choice,
            announces_retry: true,
            retryable: true,
        },
        provenance: Provenance::Choice,
        source: Source::Profile,
        advice: None,
    };
    stack.into_iter().enumerate().map(limit).collect()
}

/// Requests of one workload through the gateway's admission, 1,000 of them in flight.
struct Gate {
    meters: Meters,
    admission: Admission,
    number: u64,
    flying: Vec<RequestHead>,
}

impl Gate {
    fn warm() -> Self {
        let limits = limits();
        let sender = Sender { candidates: vec![(0, 0)], ..Sender::default() };
        let class = Class::compile(&limits, &Subject::default(), &sender, &Caller::default(), 0);
        let mut admission = Admission::new(&[1]);
        admission.classify(0, 0, class);
        let mut gate = Gate { meters: meters(&limits), admission, number: 0, flying: Vec::new() };
        gate.run(2 * ADMISSIONS);
        gate
    }

    fn run(&mut self, requests: u64) {
        for _ in 0..requests {
            self.number += 1;
            let now = Time::from_nanos(self.number * 20_000);
            let head = RequestHead {
                workload: 0,
                tenant: (self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32 % TENANTS,
                index: self.number,
                prompt_tokens: 300,
                max_tokens: Some(500),
                session: 0,
                turn: 0,
                prefix: Prefix::default(),
                body_bytes: None,
            };
            let slot = (self.number % 1000) as u32;
            if let Some(over) = self.flying.get(slot as usize) {
                self.admission.over(now, slot, 0, over, 200, &mut self.meters);
            }
            assert_eq!(self.admission.screen(0, &head), Ok(()));
            assert_eq!(self.admission.admit(now, slot, 0, black_box(&head), &mut self.meters), Ok(()));
            match self.flying.get_mut(slot as usize) {
                Some(place) => *place = head,
                None => self.flying.resize(slot as usize + 1, head),
            }
        }
    }
}

/// Feeds the stack 50,000 requests a second and holds 1,000 at once.
struct Feed {
    meters: Meters,
    number: u64,
    step: u64,
    denied: u64,
}

impl Feed {
    /// Beyond the warm-up of every log but the hour's, which fills on.
    fn warm(step: u64) -> Self {
        let mut feed = Feed { meters: stack(), number: 0, step, denied: 0 };
        feed.run(2 * ADMISSIONS);
        feed
    }

    fn run(&mut self, admissions: u64) {
        for _ in 0..admissions {
            self.number += 1;
            let now = Time::from_nanos(self.number * self.step);
            // A fixed scatter over the tenants, so that no neighbour in memory is warm by luck.
            let tenant = (self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u32 % TENANTS;
            let claim = |meter, key, units| Claim { meter, key, units, entry: 0 };
            let mut claims = [
                claim(0, tenant, 1),
                claim(1, tenant, 300 + self.number % 1000),
                claim(2, tenant % MODELS, 1),
                claim(3, tenant, 1),
                claim(4, 0, 1),
                claim(5, 0, 1),
            ];
            match self.meters.admit(now, black_box(&mut claims)) {
                Ok(()) if self.number > 1000 => self.meters.release(now, 5, 0, 1),
                Ok(()) => {}
                Err(denied) => {
                    black_box(denied);
                    self.denied += 1;
                }
            }
        }
    }
}

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(ADMISSIONS)).sample_size(20);
    // At 50,000/s a tenant sends half of its rate, at 200,000/s twice of it; the hour's log decides after a while.
    for (name, step) in [("six-claims", 20_000), ("six-claims-overload", 5_000)] {
        let warm = Feed::warm(step);
        assert_eq!(warm.denied > 0, name == "six-claims-overload", "{name}: {} denied", warm.denied);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || Feed { meters: warm.meters.clone(), ..warm },
                |feed| feed.run(ADMISSIONS),
                BatchSize::LargeInput,
            );
        });
    }
    let mut gate = Gate::warm();
    group.bench_function("six-limits-of-a-request", |bencher| bencher.iter(|| gate.run(ADMISSIONS)));
    group.finish();
}

fn flood(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flood");
    group.throughput(Throughput::Elements(FLOOD)).sample_size(20);
    for algorithm in [Algorithm::SlidingLog, Algorithm::TokenBucket] {
        let mut meters = Meters::new(vec![(MeterSpec::Rate(rate(algorithm, FLOOD, 1)), 1)]);
        let mut second = 0;
        group.bench_function(algorithm.name(), |bencher| {
            bencher.iter(|| {
                second += 1;
                for i in 0..FLOOD {
                    let now = Time::from_nanos(second * 1_000_000_000 + i * 10_000 / 3);
                    let mut claims = [Claim { meter: 0, key: 0, units: 1, entry: 0 }];
                    assert_eq!(meters.admit(now, black_box(&mut claims)), Ok(()));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, admission, flood);
criterion_main!(benches);
