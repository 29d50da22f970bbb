//! Scenarios built in code, and feeds with requests written out: what the engine tests stand on.

use std::sync::Arc;
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::{Feed, Mode, Totals, simulate};
use tidegate_sim::limits::Usage;
use tidegate_sim::observe::{GapRun, Observer, PoolSample, StepRun};
use tidegate_sim::profile::{Answer, Key, Limit, Mechanism, Provenance, Source, Stage, Verb};
use tidegate_sim::replica::step_time::{LawBounds, LinearCoefficients, StepLaw};
use tidegate_sim::request::{Arrival, Finished, Prefix, RequestDraw, RequestHead};
use tidegate_sim::scenario::*;
use tidegate_sim::time::{Span, Time};

/// A feed with its requests written out; nothing follows an answer.
#[derive(Clone, Debug)]
pub struct Script(std::vec::IntoIter<Arrival>);

impl Script {
    pub fn new(arrivals: Vec<Arrival>) -> Self {
        Script(arrivals.into_iter())
    }
}

impl Feed for Script {
    fn next(&mut self) -> Option<Arrival> {
        self.0.next()
    }
    fn follow(&mut self, _head: &RequestHead, _generated: u32, _at: Time) -> Option<Arrival> {
        None
    }
}

/// A request written out.
pub fn arrival(workload: u16, index: u64, at_ns: u64, prompt: u32, output: u32) -> Arrival {
    Arrival {
        at: Time::from_nanos(at_ns),
        head: RequestHead {
            workload,
            tenant: 0,
            index,
            prompt_tokens: prompt,
            max_tokens: None,
            session: index,
            turn: 0,
            prefix: Prefix::default(),
            body_bytes: None,
        },
        draw: RequestDraw {
            output_tokens: output,
            service: Span::ZERO,
            patience: None,
            overhead: Span::ZERO,
        },
        chain: None,
    }
}

/// The crosscheck's law: 8 ms + 20 us a sequence + 50 us a prompt token + 0.1 us a context token and decode, whole
/// microseconds.
pub fn affine_law(quantum: Span, bounds: LawBounds) -> Arc<StepLaw> {
    let us = 1_000_000_000;
    let coefficients = LinearCoefficients {
        base_fs: 8_000 * us,
        per_sequence_fs: 20 * us,
        per_prefill_token_fs: 50 * us,
        per_decode_fs: us / 10,
        per_context_token_fs: us / 10,
    };
    Arc::new(StepLaw::linear(&coefficients, quantum, &bounds).unwrap())
}

pub fn llm_pool(name: &str, replicas: u16, route: Route, engine: LlmEngine) -> Pool {
    Pool {
        name: name.into(),
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
    }
}

/// A limit on every request, counted by one counter.
pub fn limit(name: &str, mechanism: Mechanism, meter: Option<u16>) -> Limit {
    Limit {
        name: name.into(),
        row: name.into(),
        stage: Stage::Workspace,
        on: vec![Verb::Inference],
        when: Vec::new(),
        mechanism,
        per: vec![(Key::Account, 1)],
        keys: 1,
        meter,
        answer: Answer {
            status: 429,
            code: "limited".into(),
            message: String::new(),
            provenance: Provenance::Choice,
            announces_retry: true,
            retryable: true,
        },
        provenance: Provenance::Choice,
        source: Source::Profile,
        advice: None,
    }
}

pub fn workload(name: &str, pool: u16, tier: usize) -> Workload {
    Workload {
        name: name.into(),
        tier,
        pool,
        tenants: 1,
        weight: 1_000,
        arrivals: Arrivals::Renewal(Dist::constant(1.0).unwrap()),
        lengths: Lengths::FromTrace,
        max_tokens: None,
        sessions: None,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::ZERO,
        objectives: Objectives::default(),
        sender: Default::default(),
        client: Default::default(),
        wire: Default::default(),
    }
}

pub fn scenario(horizon: Span, pools: Vec<Pool>, workloads: Vec<Workload>) -> Scenario {
    let tiers = (0..workloads.iter().map(|workload| workload.tier + 1).max().unwrap_or(1))
        .map(|tier| Tier {
            name: format!("tier-{tier}"),
            priority: tier as u8,
            pools: (0..pools.len() as u16).collect(),
            choice: None,
        })
        .collect();
    Scenario {
        name: "test".into(),
        question: "does it hold?".into(),
        variant: None,
        horizon,
        warmup: Span::ZERO,
        end: End::Drain,
        seed: 1,
        replications: Replications { looks: vec![1] },
        bin: Span::from_secs(1),
        models: vec![Model { name: "model".into(), context_tokens: 8192, listing: Default::default() }],
        pools,
        tiers,
        workloads,
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

/// Everything a run tells, kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Everything {
    pub finished: Vec<Finished>,
    /// `(workload, gap)` with how often, sorted by key.
    pub gaps: std::collections::BTreeMap<(u16, Span), u64>,
    /// `(workload, instant)` with how many tokens after the first came out.
    pub tokens: std::collections::BTreeMap<(u16, Time), u64>,
    pub first_tokens: Vec<(Time, u16, Span)>,
    pub samples: Vec<(Time, u16, PoolSample)>,
    pub admitted: Vec<(Time, u16, u64)>,
    pub violated: Vec<(Time, usize, u64)>,
    pub metered: Vec<(usize, Usage)>,
    pub busy: Vec<Span>,
    pub steps: u64,
    pub prefill_tokens: u64,
}

impl Observer for Everything {
    fn first_token(&mut self, now: Time, workload: u16, _pool: u16, ttft: Span) {
        self.first_tokens.push((now, workload, ttft));
    }
    fn gaps(&mut self, run: &GapRun) {
        let mut at = run.first_end;
        for step in 0..run.steps {
            let gap = run.gap(step);
            if step > 0 {
                at += gap;
            }
            *self.gaps.entry((run.workload, gap)).or_default() += u64::from(run.count);
            *self.tokens.entry((run.workload, at)).or_default() += u64::from(run.count);
            if step + 2 == run.steps && run.steps >= 3 {
                assert_eq!(at, run.last_start, "last_start is the end of the last step but one");
            }
        }
        assert_eq!(at, run.end);
    }
    fn worked(&mut self, run: &StepRun) {
        let replica = usize::from(run.replica);
        if self.busy.len() <= replica {
            self.busy.resize(replica + 1, Span::ZERO);
        }
        self.busy[replica] += run.end - run.start;
        self.steps += run.steps;
        self.prefill_tokens += u64::from(run.prefill_tokens);
    }
    fn finished(&mut self, done: &Finished) {
        assert_eq!(done.budget().total(), done.e2e());
        self.finished.push(*done);
    }
    fn admitted(&mut self, now: Time, head: &RequestHead) {
        self.admitted.push((now, head.workload, head.index));
    }
    fn violated(&mut self, now: Time, limit: usize, head: &RequestHead) {
        self.violated.push((now, limit, head.index));
    }
    fn metered(&mut self, limit: usize, usage: &Usage) {
        self.metered.push((limit, *usage));
    }
    fn sampled(&mut self, now: Time, pool: u16, sample: &PoolSample) {
        self.samples.push((now, pool, *sample));
    }
}

pub fn run(scenario: &Scenario, arrivals: Vec<Vec<Arrival>>, mode: Mode) -> (Totals, Everything) {
    let mut all = Everything::default();
    let feeds = arrivals.into_iter().map(Script::new).collect();
    let totals =
        simulate(scenario, feeds, scenario.seed, mode, &mut all, |_, _| std::ops::ControlFlow::Continue(()));
    all.first_tokens.sort();
    all.finished.sort_by_key(|done| (done.head.workload, done.head.index));
    (totals, all)
}

/// The shipped scenarios that need no trace from elsewhere.
pub const SHIPPED: [&str; 9] = [
    "bench",
    "chat",
    "crosscheck",
    "diurnal",
    "mmc",
    "overload",
    "prefix-cache",
    "static-vs-continuous",
    "two-gateways",
];

/// A shipped scenario with overrides.
pub fn shipped(name: &str, set: &[&str]) -> Scenario {
    let set = set.iter().map(|&key| key.to_owned()).collect();
    let path = format!("scenarios/{name}.toml");
    let overrides = Overrides { set, ..Overrides::default() };
    load(std::path::Path::new(&path), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

/// A variant of a shipped scenario; the scenario itself when none is named.
pub fn shipped_variant(name: &str, variant: Option<&str>) -> Scenario {
    let overrides = Overrides { variant: variant.map(str::to_owned), ..Overrides::default() };
    let path = format!("scenarios/{name}.toml");
    load(std::path::Path::new(&path), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

/// Two minutes of a shipped scenario, with overrides.
pub fn shortened(name: &str, set: &[&str]) -> Scenario {
    let (horizon, warmup, bin) = (Span::from_secs(120), Span::from_secs(20), Span::from_secs(1));
    Scenario { horizon, warmup, bin, ..shipped(name, set) }
}

/// The sources of a scenario.
pub fn sources(scenario: &Scenario) -> Vec<tidegate_sim::workload::Source> {
    let open = |index| tidegate_sim::workload::Source::open(scenario, index as u16, scenario.seed).unwrap();
    (0..scenario.workloads.len()).map(open).collect()
}
