//! Fleets that fail, scale and route, under random schedules: nothing is lost or counted twice, and the plain engine
//! agrees with the one that ships.

use crate::differential::{Ask, ask, engine, identify};
use crate::support::{Everything, Script, arrival, llm_pool, scenario, workload};
use proptest::prelude::*;
use std::ops::ControlFlow;
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::{Mode, Totals, simulate};
use tidegate_sim::observe::{FaultFact, Nobody, Observer, ScaleCause, ScaleChange};
use tidegate_sim::request::{Arrival, Finished, Outcome, Settled};
use tidegate_sim::scenario::client::{Budget, Hedge, Jitter, Retry};
use tidegate_sim::scenario::fleet::{
    Aim, ColdStart, Effect, Failures, Fault, Link, OnFailure, Prefill, Scaling, Target,
};
use tidegate_sim::scenario::*;
use tidegate_sim::time::{Span, Time};

/// A scenario with its arrivals written out.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) arrivals: Vec<Vec<Arrival>>,
}

/// Everything a run tells of fleets and clients, kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Story {
    pub(crate) all: Everything,
    pub(crate) settled: Vec<Settled>,
    pub(crate) scaled: Vec<(Time, u16, ScaleChange)>,
    failed: Vec<(Time, FaultFact)>,
}

impl Observer for Story {
    fn first_token(&mut self, now: Time, workload: u16, pool: u16, ttft: Span) {
        self.all.first_token(now, workload, pool, ttft);
    }
    fn gaps(&mut self, run: &tidegate_sim::observe::GapRun) {
        self.all.gaps(run);
    }
    fn finished(&mut self, done: &Finished) {
        self.all.finished(done);
    }
    fn sampled(&mut self, now: Time, pool: u16, sample: &tidegate_sim::observe::PoolSample) {
        self.all.sampled(now, pool, sample);
    }
    fn settled(&mut self, settled: &Settled) {
        assert_eq!(settled.budget().total(), settled.e2e());
        self.settled.push(*settled);
    }
    fn scaled(&mut self, now: Time, pool: u16, change: &ScaleChange) {
        self.scaled.push((now, pool, *change));
    }
    fn failed(&mut self, now: Time, fault: &FaultFact) {
        self.failed.push((now, *fault));
    }
}

pub(crate) fn tell(case: &Case, mode: Mode) -> (Totals, Story) {
    let feeds = case.arrivals.iter().cloned().map(Script::new).collect();
    let mut story = Story::default();
    let scenario = &case.scenario;
    let mut totals =
        simulate(scenario, feeds, scenario.seed, mode, &mut story, |_, _| ControlFlow::Continue(()));
    // Skipping makes fewer events; everything else must be equal.
    totals.events = 0;
    story.all.finished.sort_by_key(|done| (done.head.workload, done.head.index, done.attempt));
    story.all.first_tokens.sort();
    (totals, story)
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn seconds(mean_ms: u64) -> Dist {
    Dist::exponential(mean_ms as f64 / 1_000.0).unwrap()
}

fn aim() -> impl Strategy<Value = Option<Aim>> {
    prop_oneof![
        (500u64..6_000).prop_map(|target| Some(Aim::Concurrency(target))),
        (500u64..6_000).prop_map(|target| Some(Aim::Queue(target))),
        (200u64..900).prop_map(|target| Some(Aim::Utilization(target))),
        (5u64..400).prop_map(|target| Some(Aim::Ttft(ms(target)))),
        Just(None),
    ]
}

fn scaling() -> impl Strategy<Value = Scaling> {
    let windows = (prop_oneof![Just(0u64), 1u64..800], prop_oneof![Just(0u64), 1u64..800]);
    let rates = (prop_oneof![Just(u16::MAX), 1u16..3], prop_oneof![Just(u16::MAX), 1u16..3]);
    let schedule = prop::collection::vec((0u64..1_000, 0u16..4), 0..3);
    (0u16..2, aim(), 20u64..400, windows, rates, schedule).prop_map(
        |(min, aim, interval, (up, down), (up_most, down_most), mut schedule)| {
            schedule.sort();
            schedule.dedup_by_key(|piece| piece.0);
            Scaling {
                min,
                aim,
                interval: ms(interval),
                tolerance: 100,
                up_window: ms(up),
                down_window: ms(down),
                up_most,
                down_most,
                schedule: schedule.into_iter().map(|(from, least)| (ms(from), least)).collect(),
                period: ms(1_000),
            }
        },
    )
}

fn on_failure() -> impl Strategy<Value = OnFailure> {
    prop_oneof![Just(OnFailure::Lose), Just(OnFailure::Retry), Just(OnFailure::Resume)]
}

/// How a pool's replicas come and go; `group` is the machines it is on.
pub(crate) fn pool_fleet(replicas: u16) -> impl Strategy<Value = PoolFleet> {
    let scaling = prop::option::weighted(0.4, scaling());
    let cold = prop_oneof![Just(0u64), 1u64..600];
    let failures = prop::option::weighted(0.3, (100u64..2_000, 1u64..500));
    let rest = (any::<bool>(), 0..=replicas, any::<bool>(), prop_oneof![2 => Just(0u64), 1 => 1u64..300]);
    (scaling, cold, failures, on_failure(), rest).prop_map(
        move |(scaling, cold, failures, on_failure, (nodes, initial, spread, notice))| PoolFleet {
            nodes: if nodes { vec![0, 1] } else { Vec::new() },
            spread,
            initial: if scaling.is_some() { initial } else { replicas },
            scaling,
            cold_start: ColdStart {
                load: (cold > 0).then(|| Dist::uniform(0.0, cold as f64 / 500.0).unwrap()),
                ..ColdStart::default()
            },
            failures: failures.map(|(mtbf, mttr)| Failures { mtbf: seconds(mtbf), mttr: seconds(mttr) }),
            on_failure,
            notice: ms(notice),
            prefill: None,
            price: None,
        },
    )
}

fn client() -> impl Strategy<Value = Client> {
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal)];
    let budget = prop::option::of((0u32..500, 1u32..4));
    let retry = (1u32..4, 0u64..300, jitter, budget, prop::option::of(10u64..2_000)).prop_map(
        |(most, base, jitter, budget, within)| Retry {
            most,
            base: ms(base),
            factor: 2_000,
            cap: ms(1_000),
            jitter,
            honour_retry_after: true,
            budget: budget.map(|(ratio, burst)| Budget { ratio, burst }),
            on: vec![Outcome::Refused, Outcome::Expired, Outcome::TimedOut, Outcome::Lost, Outcome::Failed],
            within: within.map(ms),
        },
    );
    let hedge = (0u64..400, 1u32..3).prop_map(|(after, most)| Hedge { after: ms(after), most });
    (prop::option::of(retry), prop::option::weighted(0.4, hedge), any::<bool>())
        .prop_map(|(retry, hedge, deaf)| Client { retry, hedge, deaf })
}

fn target(pools: u16, replicas: u16) -> impl Strategy<Value = Target> {
    prop_oneof![
        (0..pools, 0..replicas).prop_map(|(pool, replica)| Target::Replica(pool, replica)),
        (0..pools).prop_map(Target::Pool),
        (0usize..2, 0u32..2).prop_map(|(group, machine)| Target::Gpu(group, machine)),
        (0usize..2, 0u32..2).prop_map(|(group, machine)| Target::Node(group, machine)),
        (0usize..2).prop_map(Target::Zone),
    ]
}

pub(crate) fn faults(pools: u16, replicas: u16) -> impl Strategy<Value = Vec<Fault>> {
    let effect = prop_oneof![3 => Just(Effect::Down), 1 => (1_100u32..4_000).prop_map(Effect::Slow)];
    let fault = (0u64..3_000, prop::option::weighted(0.8, 1u64..1_500), target(pools, replicas), effect);
    prop::collection::vec(fault, 0..5).prop_map(|faults| {
        let fault =
            |(index, (at, lasts, target, effect)): (usize, (u64, Option<u64>, Target, Effect))| Fault {
                name: format!("fault-{index}"),
                at: Time::ZERO + ms(at),
                lasts: lasts.map(ms),
                target,
                effect,
            };
        faults.into_iter().enumerate().map(fault).collect()
    })
}

fn choice(pools: usize) -> impl Strategy<Value = Choice> {
    let prefer = prop_oneof![
        Just(Prefer::Order),
        Just(Prefer::Weighted),
        Just(Prefer::Cheapest),
        Just(Prefer::Fastest),
        Just(Prefer::LeastLoaded)
    ];
    let next = prop_oneof![Just(Next::Down), Just(Next::Refused), Just(Next::Busy)];
    (prefer, next, 0..pools).prop_map(move |(prefer, next, fallbacks)| Choice {
        prefer,
        weights: vec![1_000 / pools as u32; pools],
        fallbacks,
        next,
    })
}

fn node_groups(fail: Option<(u64, u64)>) -> Vec<NodeGroup> {
    let group = |index: usize| NodeGroup {
        name: format!("nodes-{index}"),
        gpu: "l4".into(),
        count: 2,
        gpus: 2,
        zone: index,
        price: Some(1.0),
        reserved: false,
        failures: fail.map(|(mtbf, mttr)| Failures { mtbf: seconds(mtbf), mttr: seconds(mttr) }),
    };
    (0..2).map(group).collect()
}

pub(crate) fn to_arrivals(id: usize, asks: &[Ask]) -> Vec<Arrival> {
    let mut at = 0;
    let one = |(index, ask): (usize, &Ask)| {
        at += ask.gap_ms * 1_000_000;
        let mut request = arrival(id as u16, index as u64, at, ask.prompt, ask.output);
        request.draw.patience = ask.patience_ms.map(Span::from_millis);
        request.draw.overhead = ms(u64::from(ask.identity % 3) * 5);
        identify(&mut request, ask.identity);
        request
    };
    asks.iter().enumerate().map(one).collect()
}

fn case() -> impl Strategy<Value = Case> {
    const REPLICAS: u16 = 3;
    let pools = prop::collection::vec(
        (
            1..=REPLICAS,
            prop::sample::select(Route::ALL.to_vec()),
            prop::option::weighted(0.5, 1u32..8),
            prop_oneof![1 => Just(0u64), 1 => 1u64..300],
        )
            .prop_flat_map(|(replicas, route, outstanding, age)| {
                (Just((replicas, route, outstanding, age)), pool_fleet(replicas))
            }),
        2..4,
    );
    let asks = prop::collection::vec((prop::collection::vec(ask(), 0..25), client()), 1..3);
    let machines = prop::option::weighted(0.3, (200u64..4_000, 50u64..800));
    let rest = (any::<bool>(), any::<bool>(), prop::option::weighted(0.35, 1_000u64..2_000_000), machines);
    (engine(), pools, asks, faults(3, REPLICAS), choice(2), rest).prop_map(
        |(engine, built, asks, faults, choice, (cut, chosen, bandwidth, machines))| {
            let mut pools: Vec<Pool> = Vec::new();
            for (index, ((replicas, route, outstanding, age), fleet)) in built.into_iter().enumerate() {
                let mut pool = llm_pool(&format!("pool-{index}"), replicas, route, engine.clone());
                pool.outstanding = outstanding;
                pool.queue =
                    Queue { most: outstanding.map(|most| 2 * most), wait: None, order: QueueOrder::Fifo };
                pool.view_age = ms(age);
                pool.fleet = fleet;
                pools.push(pool);
            }
            // Eight GPUs are there; whoever starts without a place takes GPUs from nowhere instead.
            let mut taken = 0;
            for pool in &mut pools {
                if !pool.fleet.nodes.is_empty() {
                    taken += pool.fleet.initial;
                    if taken > 8 {
                        pool.fleet.nodes.clear();
                    }
                }
            }
            if let (Some(bandwidth), 3) = (bandwidth, pools.len()) {
                // The last pool processes the prompts of the first.
                let link = Prefill { pool: 2, link: 0, bytes_per_token: 1_000 + bandwidth % 7 };
                pools[0].fleet.prefill = Some(link);
            }
            let mut workloads = Vec::new();
            let mut arrivals = Vec::new();
            for (id, (asks, client)) in asks.iter().enumerate() {
                let mut source = workload(&format!("workload-{id}"), 0, id);
                source.sender.candidates = if chosen { vec![(0, 0), (0, 1)] } else { vec![(0, 0)] };
                source.client = client.clone();
                source.network = ms(2 * (id as u64));
                workloads.push(source);
                arrivals.push(to_arrivals(id, asks));
            }
            let count = pools.len() as u16;
            let mut scenario = scenario(ms(3_300), pools, workloads);
            for tier in &mut scenario.tiers {
                tier.pools = vec![0, 1];
                tier.choice = chosen.then(|| choice.clone());
            }
            scenario.end = if cut { End::Cut } else { End::Drain };
            scenario.bin = ms(250);
            let here = |fault: &Fault| match fault.target {
                Target::Replica(pool, _) | Target::Pool(pool) => pool < count,
                _ => true,
            };
            scenario.fleet = Fleet {
                nodes: node_groups(machines),
                zones: vec!["a".into(), "b".into()],
                links: vec![Link {
                    name: "link".into(),
                    bandwidth: bandwidth.unwrap_or(1_000),
                    latency: ms(bandwidth.unwrap_or(0) % 3),
                }],
                faults: faults.into_iter().filter(here).collect(),
                currency: "USD".into(),
            };
            Case { scenario, arrivals }
        },
    )
}

/// What a client can count must add up, attempt by attempt and request by request.
fn assert_accounts(case: &Case, totals: &Totals, story: &Story) {
    let sent: usize = case.arrivals.iter().map(Vec::len).sum();
    let plain: usize = (case.scenario.workloads.iter().zip(&case.arrivals))
        .filter(|(workload, _)| workload.client.is_plain())
        .map(|(_, arrivals)| arrivals.len())
        .sum();
    // A request that is still on its way at a cut has not been offered.
    if case.scenario.end == End::Drain {
        assert_eq!(totals.requests as usize, sent - plain);
    }
    assert_eq!(story.settled.len() as u64, totals.requests);
    assert_eq!(story.all.finished.len() as u64, totals.offered);
    let attempts: u64 = story.settled.iter().map(|settled| u64::from(settled.attempts)).sum();
    let offered_plain =
        story.all.finished.iter().filter(|done| plain_workload(case, done.head.workload)).count() as u64;
    assert_eq!(attempts + offered_plain, totals.offered, "every attempt belongs to one request");
    let completed = story.settled.iter().filter(|settled| settled.outcome == Outcome::Completed).count();
    let attempts_completed = story
        .all
        .finished
        .iter()
        .filter(|done| done.outcome == Outcome::Completed && !plain_workload(case, done.head.workload));
    // Two attempts may be complete at one instant: then one of them was for nothing.
    assert!(attempts_completed.count() >= completed);
    for done in &story.all.finished {
        assert!(done.generated <= done.output_tokens, "{done:?}");
        assert!(done.outcome != Outcome::Completed || done.generated == done.output_tokens, "{done:?}");
    }
}

fn plain_workload(case: &Case, workload: u16) -> bool {
    case.scenario.workloads[usize::from(workload)].client.is_plain()
}

fn assert_sound(case: &Case) {
    let naive = tell(case, Mode::Naive);
    assert_accounts(case, &naive.0, &naive.1);
    for mode in [Mode::Unskipped, Mode::Fast] {
        let fast = tell(case, mode);
        for (a, b) in naive.1.all.finished.iter().zip(&fast.1.all.finished) {
            assert_eq!(a, b, "{mode:?} differs from naive");
        }
        assert_eq!(naive.1.scaled, fast.1.scaled, "{mode:?}: replicas");
        assert_eq!(naive.1.failed, fast.1.failed, "{mode:?}: failures");
        assert_eq!(naive.1.settled, fast.1.settled, "{mode:?}: requests");
        assert_eq!(naive, fast, "{mode:?}");
    }
    let feeds = case.arrivals.iter().cloned().map(Script::new).collect();
    let go_on = |_: Time, _: &Totals| ControlFlow::Continue(());
    let mut unseen = simulate(&case.scenario, feeds, case.scenario.seed, Mode::Naive, &mut Nobody, go_on);
    unseen.events = 0;
    assert_eq!(naive.0, unseen, "an observer changed the run");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_faults_lose_no_request_and_count_none_twice(case in case()) {
        assert_sound(&case);
    }
}

/// A property test of fleets where nothing happens proves nothing.
#[test]
fn the_random_fleets_fail_scale_retry_hedge_and_transfer() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcomes = [0u64; Outcome::ALL.len()];
    let mut settled = [0u64; Outcome::ALL.len()];
    let mut causes = std::collections::BTreeMap::<String, u64>::new();
    let (mut moved, mut lost, mut retried, mut hedged, mut wasted, mut transferred) = (0, 0, 0, 0, 0, 0);
    for _ in 0..600 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (totals, story) = tell(&case, Mode::Fast);
        outcomes.iter_mut().zip(totals.outcomes).for_each(|(sum, count)| *sum += count);
        settled.iter_mut().zip(totals.settled).for_each(|(sum, count)| *sum += count);
        for (_, _, change) in &story.scaled {
            *causes.entry(format!("{:?}", change.cause)).or_default() += 1;
        }
        moved += story.failed.iter().map(|(_, fault)| fault.moved).sum::<u32>();
        lost += story.failed.iter().map(|(_, fault)| fault.lost).sum::<u32>();
        retried += story.settled.iter().filter(|s| s.attempts > s.hedges + 1).count();
        hedged += story.settled.iter().filter(|s| s.hedges > 0).count();
        wasted += story.settled.iter().map(|s| s.wasted_tokens).sum::<u64>();
        transferred += story.all.finished.iter().filter(|done| !done.transfer.is_zero()).count();
    }
    for (name, count) in [
        ("moved", u64::from(moved)),
        ("lost", u64::from(lost)),
        ("retried", retried as u64),
        ("hedged", hedged as u64),
        ("wasted tokens", wasted),
        ("transferred", transferred as u64),
    ] {
        assert!(count > 100, "{name}: {count}");
    }
    for outcome in
        [Outcome::Completed, Outcome::Refused, Outcome::TimedOut, Outcome::Lost, Outcome::Cancelled]
    {
        assert!(outcomes[outcome as usize] > 50, "attempts {outcome:?}: {outcomes:?}");
    }
    for outcome in [Outcome::Queued, Outcome::Running, Outcome::InTransfer] {
        assert!(outcomes[outcome as usize] > 3, "attempts {outcome:?}: {outcomes:?}");
    }
    assert!(settled[Outcome::BackingOff as usize] > 3, "requests backing off: {settled:?}");
    for cause in [
        ScaleCause::Decision,
        ScaleCause::Activation,
        ScaleCause::Ready,
        ScaleCause::Drained,
        ScaleCause::Failure,
        ScaleCause::Repair,
    ] {
        let count = causes.get(&format!("{cause:?}")).copied().unwrap_or(0);
        assert!(count > 20, "{cause:?}: {causes:?}");
    }
}
