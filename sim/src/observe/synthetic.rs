//! Facts without an engine, for tests: plausible requests on a coarse time grid, so that ties and boundaries happen.

use crate::dist::Dist;
use crate::limits::Algorithm;
use crate::observe::{
    FaultFact, GapRun, JobCounts, JobFact, JobState, Observer, PoolSample, ScaleCause, ScaleChange, StepLine,
    StepRun,
};
use crate::profile::limit::{Action, Answer, Key, Provenance, Source, Stage, Unit};
use crate::profile::{InUse, Limit, Mechanism, Subject, Verb};
use crate::request::{Finished, Outcome, Prefix, QUEUE_FULL, Refusal, RequestHead, Settled};
use crate::rng::{Purpose, Rng, stream};
use crate::scenario::batch::{Backend, Batch, JobRules, Jobs};
use crate::scenario::client::{Client, Jitter, Retry};
use crate::scenario::fleet::{Aim, Failures, NodeGroup, Scaling};
use crate::scenario::policy::Operation;
use crate::scenario::{
    Arrivals, End, Engine, Lengths, Measure, Metric, Model, Objectives, Pool, PoolFleet, Property, Queue,
    QueueOrder, Replications, Route, Scenario, SlotsEngine, Tier, Workload,
};
use crate::time::{Span, Time};
use rand::RngExt as _;

/// One call of an [`Observer`].
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Offered(Time, RequestHead),
    Dispatched(Time, RequestHead, u16),
    FirstToken(Time, u16, u16, Span),
    Gaps(GapRun),
    Worked(StepRun),
    Finished(Finished),
    Settled(Settled),
    Scaled(Time, u16, ScaleChange),
    Failed(Time, FaultFact),
    Job(Time, JobFact),
    Sampled(Time, u16, PoolSample),
}

/// Tells `facts` to `observer`.
pub(crate) fn tell(facts: &[Fact], observer: &mut impl Observer) {
    for fact in facts {
        match fact {
            Fact::Offered(at, head) => observer.offered(*at, head),
            Fact::Dispatched(at, head, pool) => observer.dispatched(*at, head, *pool, 0),
            Fact::FirstToken(at, workload, pool, ttft) => observer.first_token(*at, *workload, *pool, *ttft),
            Fact::Gaps(run) => observer.gaps(run),
            Fact::Worked(run) => observer.worked(run),
            Fact::Finished(done) => observer.finished(done),
            Fact::Settled(settled) => observer.settled(settled),
            Fact::Scaled(at, pool, change) => observer.scaled(*at, *pool, change),
            Fact::Failed(at, fault) => observer.failed(*at, fault),
            Fact::Job(at, job) => observer.job(*at, job),
            Fact::Sampled(at, pool, sample) => observer.sampled(*at, *pool, sample),
        }
    }
}

/// A scenario with two workloads on two pools; `slots` pools, so that it needs no step law.
pub(crate) fn scenario() -> Scenario {
    let constant = |value| Dist::constant(value).unwrap();
    let pool = |name: &str, replicas| Pool {
        name: name.to_owned(),
        model: 0,
        replicas,
        gpus_per_replica: 1,
        engine: Engine::Slots(SlotsEngine { servers: 1, service: constant(1.0) }),
        route: Route::RoundRobin,
        outstanding: None,
        queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
        permits: None,
        fleet: PoolFleet::fixed(replicas),
        view_age: Span::ZERO,
        batch: None,
    };
    let workload = |name: &str, pool, tenants, ttft, network| Workload {
        name: name.to_owned(),
        tier: 0,
        pool,
        tenants,
        weight: 1_000,
        arrivals: Arrivals::Population { users: 1 },
        lengths: Lengths::Independent { prompt: constant(100.0), output: constant(100.0) },
        max_tokens: None,
        sessions: None,
        shared_prefix_tokens: 0,
        patience: None,
        network: Span::from_millis(network),
        objectives: Objectives {
            ttft: Some(Span::from_millis(ttft)),
            tpot: Some(Span::from_millis(40)),
            e2e: None,
        },
        sender: Default::default(),
        client: Default::default(),
        wire: Default::default(),
    };
    Scenario {
        name: "synthetic".to_owned(),
        question:
            "Do eight replicas keep the first token of chat under a second while agents share the gateway?"
                .to_owned(),
        variant: None,
        horizon: Span::from_secs(600),
        warmup: Span::from_secs(45),
        end: End::Drain,
        seed: 7,
        replications: Replications { looks: vec![3] },
        bin: Span::from_secs(10),
        models: vec![Model {
            name: "llama-8b".to_owned(),
            context_tokens: 8192,
            listing: Default::default(),
        }],
        pools: vec![pool("h100", 8), pool("l40s", 4)],
        tiers: vec![Tier { name: "standard".to_owned(), priority: 0, pools: vec![0, 1], choice: None }],
        workloads: vec![workload("chat", 0, 3, 1000, 12), workload("agents", 1, 1, 3000, 2)],
        properties: vec![Property {
            name: "chat answers fast".to_owned(),
            workload: Some(0),
            measure: Measure::Quantile(Metric::Ttft, 0.99),
            bound: crate::scenario::Bound::AtMost(1e9),
            ratio: None,
        }],
        policy: Default::default(),
        fleet: Default::default(),
        batches: Vec::new(),
        live: Default::default(),
        searches: Vec::new(),
        caveats: vec!["pool `h100` uses an uncalibrated roofline".to_owned()],
        hash: "5d41402abc4b2a76b9719d911017c592".to_owned(),
    }
}

/// A limit of a workspace.
fn limit(name: &str, mechanism: Mechanism, status: u16, announces_retry: bool) -> Limit {
    let metered = mechanism.is_metered();
    Limit {
        name: name.to_owned(),
        row: format!("row-of-{name}"),
        stage: Stage::Workspace,
        on: vec![Verb::Inference],
        when: Vec::new(),
        mechanism,
        per: if metered { vec![(Key::Account, 1)] } else { Vec::new() },
        keys: 1,
        meter: metered.then_some(0),
        answer: Answer {
            status,
            code: String::new(),
            message: String::new(),
            provenance: Provenance::Choice,
            announces_retry,
            retryable: true,
        },
        provenance: Provenance::Documented,
        source: Source::Profile,
        advice: None,
    }
}

/// The scenario with a profile of four limits (a rate that answers 429 and announces, a deadline that answers 504 and
/// does not, a bound on the overhead, a gate) and one operation that is done three times.
pub(crate) fn limited() -> Scenario {
    let mut scenario = scenario();
    let rate = Mechanism::Rate {
        limit: Some(20),
        most: 20,
        window: Span::from_secs(1),
        algorithm: Algorithm::SlidingLog,
        burst: 20,
        unit: Unit::Requests,
        default_reservation: 0,
        counts_refused: false,
    };
    let policy = &mut scenario.policy;
    policy.limits = vec![
        limit("rate", rate, 429, true),
        limit("deadline", Mechanism::Deadline { at_most: Span::from_secs(297) }, 504, false),
        limit("overhead", Mechanism::Overhead { below: Span::from_millis(20) }, 200, false),
        limit("playground", Mechanism::Gate { require: None, action: Action::Refuse }, 403, false),
    ];
    policy.operations = vec![Operation {
        name: "creates".to_owned(),
        verb: Verb::CreateEndpoint,
        first: Time::ZERO,
        every: Span::from_secs(1),
        times: 3,
        account: 0,
        everybody: false,
        token: 0,
        user: 0,
        endpoint: None,
        to: None,
        model: None,
        limit: None,
        value: None,
        ready_after: Span::ZERO,
        traits: Subject::default(),
    }];
    policy.profile = Some(InUse {
        id: "acme".to_owned(),
        title: "Acme Serving limits".to_owned(),
        as_of: "2026-08-07".to_owned(),
        preview: true,
        account_word: "workspace".to_owned(),
        contact: "your account team".to_owned(),
        envelope: String::new(),
        overlays: vec!["public-api".to_owned()],
        notes: vec!["limit `rate` of <acme> counts by token".to_owned()],
    });
    scenario
}

/// The scenario with a fleet and clients that try again: `h100` scales and fails and runs on rented machines of two
/// prices, `l40s` on reserved ones; requests of `agents` may be up to three attempts and may be served by either pool.
pub(crate) fn fleet() -> Scenario {
    let mut scenario = scenario();
    let nodes = |name: &str, count, price, reserved| NodeGroup {
        name: name.to_owned(),
        gpu: "h100-sxm".to_owned(),
        count,
        gpus: 8,
        zone: 0,
        price: Some(price),
        reserved,
        failures: None,
    };
    scenario.fleet.currency = "USD".to_owned();
    scenario.fleet.zones = vec!["default".to_owned()];
    scenario.fleet.nodes =
        vec![nodes("spot", 1, 2.0, false), nodes("rented", 1, 3.0, false), nodes("own", 1, 1.5, true)];
    let [h100, l40s] = &mut scenario.pools[..] else { unreachable!("the scenario has two pools") };
    h100.fleet.nodes = vec![0, 1];
    h100.fleet.initial = 5;
    h100.fleet.scaling = Some(Scaling {
        min: 2,
        aim: Some(Aim::Concurrency(16_000)),
        interval: Span::from_secs(15),
        tolerance: 100,
        up_window: Span::ZERO,
        down_window: Span::from_secs(300),
        up_most: u16::MAX,
        down_most: u16::MAX,
        schedule: Vec::new(),
        period: Span::from_secs(86_400),
    });
    let exponential = |mean| Dist::exponential(mean).unwrap();
    h100.fleet.failures = Some(Failures { mtbf: exponential(3_600.0), mttr: exponential(60.0) });
    l40s.fleet.nodes = vec![2];
    let agents = &mut scenario.workloads[1];
    agents.sender.candidates = vec![(0, 1), (0, 0)];
    agents.client = Client {
        retry: Some(Retry {
            most: 2,
            base: Span::from_millis(500),
            factor: 2_000,
            cap: Span::from_secs(30),
            jitter: Jitter::Full,
            honour_retry_after: true,
            budget: None,
            on: vec![Outcome::Refused, Outcome::TimedOut],
            within: None,
        }),
        hedge: None,
        deaf: false,
    };
    scenario
}

/// The scenario with batch: requests of `agents` are those of jobs of two accounts, submitted every 20 s, which have two
/// minutes.
pub(crate) fn batched() -> Scenario {
    let mut scenario = scenario();
    scenario.workloads[1].arrivals = Arrivals::Jobs;
    scenario.batches = vec![Batch {
        name: "agents".to_owned(),
        workload: 1,
        jobs: Jobs::Drawn {
            first: Span::from_secs(5),
            gap: Dist::constant(20.0).unwrap(),
            most: None,
            requests: Dist::uniform(50.0, 150.0).unwrap(),
        },
        owner: 3,
        owners: 2,
        window: Span::from_secs(120),
        validation: Span::from_secs(2),
        finalizing: Span::from_secs(1),
        rules: JobRules::default(),
        backend: Backend::Pool,
        cancels: Vec::new(),
    }];
    scenario
}

/// The jobs of [`batched`], thirty in a run of any length: most are completed; some expire, or would if the engine said
/// so; some are refused, fail or are cancelled; the last ones have not ended at `ended`.
fn jobs(scenario: &Scenario, rng: &mut Rng, grid: u64, ended: Time, facts: &mut Vec<Fact>) {
    let batch = &scenario.batches[0];
    let scale = scenario.horizon.as_secs_f64() / 600.0;
    let after = |seconds: f64| gridded(seconds * scale, grid);
    let mut told: Vec<(Time, JobFact)> = Vec::new();
    for job in 0..30 {
        let created = Time::ZERO + after(5.0 + 19.8 * f64::from(job));
        let total = 50 + (rng.random::<f64>() * 100.0) as u32;
        let mut fact = JobFact {
            batch: 0,
            job,
            owner: batch.owner + job % batch.owners,
            state: JobState::Validating,
            created,
            expires: created + after(120.0),
            requests: JobCounts { total, ..JobCounts::default() },
            tokens: u64::from(total) * 100,
            enqueued: 0,
            refusal: None,
            line: 0,
        };
        let mut step = |at: Time, fact: &JobFact, state| told.push((at, JobFact { state, ..*fact }));
        let (fate, done) = (rng.random::<f64>(), (f64::from(total) * rng.random::<f64>()) as u32);
        if fate < 0.05 {
            (fact.refusal, fact.tokens) = (Some(Refusal::plain(QUEUE_FULL)), 0);
            step(created, &fact, JobState::Refused);
            continue;
        }
        step(created, &fact, JobState::Validating);
        let checked = created + after(2.0);
        if fate < 0.12 {
            (fact.refusal, fact.line) = (Some(Refusal::plain(QUEUE_FULL)), 7);
            step(checked, &fact, JobState::Failed);
            continue;
        }
        step(checked, &fact, JobState::InProgress);
        if fate < 0.22 {
            (fact.requests.completed, fact.requests.expired) = (done, total - done);
            step(fact.expires, &fact, JobState::Expired);
        } else if fate < 0.3 {
            let asked = checked + after(20.0 * rng.random::<f64>());
            (fact.requests.completed, fact.requests.cancelled) = (done, total - done);
            step(asked, &fact, JobState::Cancelling);
            step(asked + after(1.0), &fact, JobState::Cancelled);
        } else if fate > 0.35 {
            let over = checked + after(20.0 + 70.0 * rng.random::<f64>());
            (fact.requests.completed, fact.requests.failed) = (total - 1, 1);
            step(over, &fact, JobState::Finalizing);
            step(over + after(1.0), &fact, JobState::Completed);
        }
    }
    // What comes after the end is not told; the jobs that it is about are told once more as they are.
    told.retain(|(at, _)| *at <= ended);
    told.sort_by_key(|(at, _)| *at);
    let mut last: Vec<JobFact> = Vec::new();
    for (_, fact) in &told {
        match last.get_mut(fact.job as usize) {
            Some(known) => *known = *fact,
            None => last.push(*fact),
        }
    }
    told.extend(last.into_iter().filter(|fact| !fact.state.is_last()).map(|fact| (ended, fact)));
    let mut enqueued = vec![0; (batch.owner + batch.owners) as usize];
    let mut known = 0;
    for (at, mut fact) in told {
        let tokens = &mut enqueued[fact.owner as usize];
        if fact.job == known {
            known += 1;
            *tokens += fact.tokens;
        }
        *tokens -= if fact.state.is_last() { fact.tokens } else { 0 };
        fact.enqueued = *tokens;
        facts.push(Fact::Job(at, fact));
    }
}

/// How many replicas every pool of [`fleet`] has over time: told at the start, then changed at some instants.
fn scaling(scenario: &Scenario, rng: &mut Rng, grid: u64, ended: Time, facts: &mut Vec<Fact>) {
    for (pool, spec) in scenario.pools.iter().enumerate() {
        let pool = pool as u16;
        let initial = spec.fleet.initial;
        let mut state = ScaleChange {
            ready: initial,
            starting: 0,
            draining: 0,
            down: 0,
            wanted: initial,
            cause: ScaleCause::Start,
        };
        facts.push(Fact::Scaled(Time::ZERO, pool, state));
        if spec.fleet.scaling.is_none() {
            continue;
        }
        let mut now = Time::ZERO;
        loop {
            now += gridded(exponential(rng, scenario.horizon.as_secs_f64() / 25.0), grid);
            if now >= ended {
                break;
            }
            let up = rng.random::<f64>() < swell(now, scenario.horizon);
            state.cause = match (state.starting, state.down, rng.random::<f64>()) {
                (1.., _, x) if x < 0.8 => {
                    state.ready += state.starting;
                    state.starting = 0;
                    ScaleCause::Ready
                }
                (_, 1.., x) if x < 0.6 => {
                    state.down -= 1;
                    state.ready += 1;
                    ScaleCause::Repair
                }
                (_, 0, x) if x < 0.15 && state.ready > 1 => {
                    state.ready -= 1;
                    state.down += 1;
                    let fault = FaultFact { pool, replica: 0, over: false, slow: 0, lost: 2, moved: 3 };
                    facts.push(Fact::Failed(now, fault));
                    ScaleCause::Failure
                }
                _ if state.draining > 0 => {
                    state.draining -= 1;
                    ScaleCause::Drained
                }
                _ if up && state.ready + state.starting < spec.replicas => {
                    state.starting += 1;
                    ScaleCause::Decision
                }
                _ if state.ready > 1 => {
                    state.ready -= 1;
                    state.draining += 1;
                    ScaleCause::Decision
                }
                _ => ScaleCause::Decision,
            };
            state.wanted = state.ready + state.starting + state.down;
            facts.push(Fact::Scaled(now, pool, state));
        }
    }
}

/// The facts of one run of `scenario` with `requests` requests, and when it ended.
///
/// Everything lies on a grid of `grid` nanoseconds: with a coarse one many facts fall exactly on boundaries.
pub(crate) fn run(scenario: &Scenario, requests: u32, seed: u64, grid: u64) -> (Vec<Fact>, Time) {
    let mut rng = stream(seed, Purpose::Arrival, 0, 0);
    let mut facts = Vec::new();
    let mut ended = Time::ZERO + scenario.horizon;
    for index in 0..requests {
        let last = request(scenario, &mut rng, u64::from(index), grid, &mut facts);
        ended = ended.max(last);
    }
    for (pool, spec) in scenario.pools.iter().enumerate() {
        for replica in 0..spec.replicas {
            ended = ended.max(work(scenario, &mut rng, pool as u16, replica, grid, &mut facts));
        }
    }
    if scenario.fleet_can_vary() {
        scaling(scenario, &mut rng, grid, ended, &mut facts);
    }
    if !scenario.batches.is_empty() {
        jobs(scenario, &mut rng, grid, ended, &mut facts);
    }
    for (pool, spec) in scenario.pools.iter().enumerate() {
        let bins = (ended.as_nanos()).div_ceil(scenario.bin.as_nanos());
        for bin in 1..=bins {
            let at = Time::from_nanos(bin * scenario.bin.as_nanos()).min(ended);
            let mut state = state(&mut rng, at, scenario.horizon, spec.replicas);
            state.batch = if scenario.batches.is_empty() { 0 } else { state.running / 4 };
            facts.push(Fact::Sampled(at, pool as u16, state));
        }
    }
    (facts, ended)
}

/// Boundaries in time order never crossed by a run before its last step.
fn next_boundary(scenario: &Scenario, after: Time) -> Time {
    let bin = scenario.bin.as_nanos();
    let edge = Time::from_nanos((after.as_nanos() / bin + 1) * bin);
    [Time::ZERO + scenario.warmup, Time::ZERO + scenario.horizon]
        .into_iter()
        .filter(|at| *at > after)
        .fold(edge, Time::min)
}

fn gridded(seconds: f64, grid: u64) -> Span {
    Span::from_nanos((seconds * 1e9 / grid as f64).round() as u64 * grid)
}

/// An exponential draw.
fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// How busy the synthetic world is at a time: a swell in the middle of the run.
fn swell(at: Time, horizon: Span) -> f64 {
    let x = at.as_secs_f64() / horizon.as_secs_f64();
    0.35 + 0.65 * (-((x - 0.55) * 4.0).powi(2)).exp()
}

fn state(rng: &mut Rng, at: Time, horizon: Span, replicas: u16) -> PoolSample {
    let load = if at <= Time::ZERO + horizon { swell(at, horizon) } else { 0.05 };
    let noisy = |rng: &mut Rng, mean: f64| (mean * (0.7 + 0.6 * rng.random::<f64>())) as u32;
    let slots = 64 * u64::from(replicas);
    let running = noisy(rng, load * slots as f64 * 0.75);
    PoolSample {
        gateway_queue: noisy(rng, 40.0 * (load - 0.8).max(0.0)),
        waiting: noisy(rng, 30.0 * (load - 0.5).max(0.0)),
        running,
        kv_blocks_used: u64::from(running) * 60,
        kv_blocks_total: slots * 75,
        slots_total: slots,
        batch: 0,
    }
}

fn request(scenario: &Scenario, rng: &mut Rng, index: u64, grid: u64, facts: &mut Vec<Fact>) -> Time {
    let workload = u16::from(rng.random::<f64>() < 0.3);
    let spec = &scenario.workloads[usize::from(workload)];
    let horizon = scenario.horizon.as_secs_f64();
    let arrived = loop {
        let at = Time::ZERO + gridded(rng.random::<f64>() * (horizon - 0.001), grid);
        if rng.random::<f64>() < swell(at, scenario.horizon) && at < Time::ZERO + scenario.horizon {
            break at;
        }
    };
    let head = RequestHead {
        workload,
        tenant: (rng.random::<f64>() * f64::from(spec.tenants)) as u32,
        index,
        prompt_tokens: 50 + exponential(rng, 900.0) as u32,
        max_tokens: None,
        session: index,
        turn: 0,
        prefix: Prefix::default(),
        body_bytes: None,
    };
    if spec.client.is_plain() {
        return attempt(scenario, rng, head, arrived, 0, grid, facts).ended;
    }
    let mut tried = 0;
    let mut wasted = 0;
    let mut at = arrived;
    loop {
        let from = facts.len();
        let mut done = attempt(scenario, rng, head, at, tried, grid, facts);
        tried += 1;
        // Many attempts of such clients come too late.
        if done.outcome == Outcome::Completed && rng.random::<f64>() < 0.3 {
            done.outcome = Outcome::TimedOut;
            let last = facts[from..].iter_mut().rev().find_map(|fact| match fact {
                Fact::Finished(done) => Some(done),
                _ => None,
            });
            last.expect("an attempt ends").outcome = done.outcome;
        }
        let completed = done.outcome == Outcome::Completed;
        wasted += if completed { 0 } else { u64::from(done.generated) };
        if completed || tried == 3 {
            let (outcome, ended) = (done.outcome, done.ended);
            facts.push(Fact::Settled(Settled {
                last: done,
                outcome,
                arrived,
                ended,
                attempts: u32::from(tried),
                hedges: 0,
                wasted_tokens: wasted,
            }));
            return ended;
        }
        at = done.ended + gridded(0.5 * rng.random::<f64>(), grid);
    }
}

/// One attempt of a request, from its arrival to its end.
fn attempt(
    scenario: &Scenario,
    rng: &mut Rng,
    head: RequestHead,
    arrived: Time,
    number: u16,
    grid: u64,
    facts: &mut Vec<Fact>,
) -> Finished {
    let workload = head.workload;
    let spec = &scenario.workloads[usize::from(workload)];
    let load = swell(arrived, scenario.horizon);
    let pools = scenario.pools_of(spec);
    // A single pool draws nothing.
    let pool =
        if pools.len() > 1 { pools[(rng.random::<f64>() * pools.len() as f64) as usize] } else { spec.pool };
    facts.push(Fact::Offered(arrived, head));
    let mut done = Finished {
        outcome: Outcome::Completed,
        refusal: None,
        head,
        output_tokens: 1 + exponential(rng, if workload == 0 { 180.0 } else { 90.0 }) as u32,
        generated: 0,
        cached_tokens: head.prompt_tokens / 4,
        preemptions: 0,
        pool,
        replica: None,
        sent: arrived,
        arrived,
        ready: arrived,
        dispatched: None,
        scheduled: None,
        first_token: None,
        last_token: None,
        ended: arrived,
        preempted: Span::ZERO,
        preempted_before_first: Span::ZERO,
        transfer: Span::ZERO,
        attempt: number,
        beside: Span::ZERO,
    };
    if rng.random::<f64>() < 0.01 {
        done.outcome = Outcome::Refused;
        done.refusal = Some(Refusal::plain(QUEUE_FULL));
        facts.push(Fact::Finished(done));
        return done;
    }
    let dispatched = arrived + gridded(exponential(rng, 0.25 * (load - 0.75).max(0.0)), grid);
    facts.push(Fact::Dispatched(dispatched, head, pool));
    let scheduled = dispatched + gridded(exponential(rng, 0.05 * load), grid);
    let prefill = f64::from(head.prompt_tokens) * 9e-5 * (1.0 + load);
    let first = scheduled + gridded(0.012 + prefill, grid);
    done.replica = Some(0);
    (done.dispatched, done.scheduled, done.first_token) = (Some(dispatched), Some(scheduled), Some(first));
    facts.push(Fact::FirstToken(first, workload, pool, first - arrived));
    let tokens = decode(scenario, rng, &done, load, grid, facts);
    done.generated = done.output_tokens;
    done.last_token = Some(tokens.0);
    done.ended = tokens.0;
    done.preempted = tokens.1;
    if !scenario.batches.is_empty() && workload == 0 {
        done.beside = Span::from_nanos((tokens.0 - first).as_nanos() / 10);
    }
    done.preemptions = u32::from(!tokens.1.is_zero());
    if rng.random::<f64>() < 0.02 {
        done.outcome = Outcome::TimedOut;
    }
    facts.push(Fact::Finished(done));
    done
}

/// The tokens after the first, as runs cut at every boundary; the last instant and the time lost to a preemption.
fn decode(
    scenario: &Scenario,
    rng: &mut Rng,
    done: &Finished,
    load: f64,
    grid: u64,
    facts: &mut Vec<Fact>,
) -> (Time, Span) {
    let mut now = done.first_token.unwrap();
    let mut left = u64::from(done.output_tokens - 1);
    let mut lost = Span::ZERO;
    while left > 0 {
        let base = (0.011 + 0.016 * load) * (0.85 + 0.4 * rng.random::<f64>().powi(3));
        let line = StepLine {
            a: (base * 1e15) as u64,
            b: (rng.random::<f64>() * 6e9) as u64,
            quantum_fs: grid * 1_000_000,
        };
        let pause =
            if rng.random::<f64>() < 0.003 { gridded(0.4 * rng.random::<f64>(), grid) } else { Span::ZERO };
        lost += pause;
        let first = line.step(0) + pause;
        let boundary = next_boundary(scenario, now + pause);
        let most = 1 + (exponential(rng, 25.0) as u64).min(left - 1);
        let (mut end, mut last_start, mut steps) = (now + first, now + first, 1);
        // Half of the runs stop with the step that reaches the boundary, half with the step that passes it.
        let lenient = rng.random::<bool>();
        while steps < most && (end < boundary || (lenient && end == boundary && steps > 1)) {
            last_start = end;
            end += line.step(steps);
            steps += 1;
        }
        facts.push(Fact::Gaps(GapRun {
            workload: done.head.workload,
            pool: done.pool,
            count: 1 + (rng.random::<f64>() * 3.0) as u32,
            first,
            steps,
            line,
            first_end: now + first,
            last_start,
            end,
        }));
        now = end;
        left -= steps;
    }
    (now, lost)
}

/// Busy periods of one replica; when the last ended.
fn work(
    scenario: &Scenario,
    rng: &mut Rng,
    pool: u16,
    replica: u16,
    grid: u64,
    facts: &mut Vec<Fact>,
) -> Time {
    let mut now = Time::ZERO + gridded(exponential(rng, 0.5), grid);
    let mut ended = now;
    while now < Time::ZERO + scenario.horizon {
        let load = swell(now, scenario.horizon);
        let step = gridded(0.012 + 0.016 * load, grid);
        let boundary = next_boundary(scenario, now);
        let most = 1 + exponential(rng, 200.0) as u64;
        let (start, mut end, mut last_start, mut steps) = (now, now + step, now, 1);
        while steps < most && end < boundary {
            last_start = end;
            end += step;
            steps += 1;
        }
        let outside_range = u64::from(rng.random::<f64>() < 0.01);
        facts.push(Fact::Worked(StepRun {
            pool,
            replica,
            start,
            last_start,
            end,
            steps,
            busy: 1 + u32::from(rng.random::<f64>() < 0.001),
            decodes: 8,
            prefill_tokens: 0,
            context_tokens: 0,
            outside_range,
        }));
        let idle = exponential(rng, 2.0 * (1.0 - 0.95 * load).max(0.02));
        (now, ended) = (end + gridded(idle, grid), end);
    }
    ended
}
