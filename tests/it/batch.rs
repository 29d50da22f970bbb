//! Batch under random real-time load, faults and rules: nothing is lost, real-time goes first, and the plain engine agrees
//! with the one that ships.

use crate::differential::{ask, engine};
use crate::fleet::{faults, pool_fleet, to_arrivals};
use crate::support::{Everything, Script, llm_pool, scenario, workload};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::{Mode, Totals, simulate};
use tidegate_sim::observe::{JobFact, JobState, Nobody, Observer};
use tidegate_sim::request::{Arrival, Finished, Outcome, RequestHead};
use tidegate_sim::scenario::batch::*;
use tidegate_sim::scenario::fleet::Target;
use tidegate_sim::scenario::*;
use tidegate_sim::time::{Span, Time};

#[derive(Clone, Debug)]
struct Case {
    scenario: Scenario,
    arrivals: Vec<Vec<Arrival>>,
}

/// What is told, and checked as it is told.
#[derive(Debug, Default, PartialEq)]
struct Story {
    all: Everything,
    jobs: Vec<(Time, JobFact)>,
    /// Real-time requests in the queue of the pool.
    queued: BTreeSet<(u16, u64)>,
    strict: bool,
    batch: BTreeSet<u16>,
    sent: BTreeMap<u64, u32>,
}

impl Observer for Story {
    fn first_token(&mut self, now: Time, workload: u16, pool: u16, ttft: Span) {
        self.all.first_token(now, workload, pool, ttft);
    }
    fn gaps(&mut self, run: &tidegate_sim::observe::GapRun) {
        self.all.gaps(run);
    }
    fn admitted(&mut self, _now: Time, head: &RequestHead) {
        assert!(!self.batch.contains(&head.workload), "batch passes no admission");
        self.queued.insert((head.workload, head.index));
    }
    fn dispatched(&mut self, now: Time, head: &RequestHead, _pool: u16, _replica: u16) {
        if self.batch.contains(&head.workload) {
            *self.sent.entry(head.index).or_default() += 1;
            if self.strict {
                assert!(self.queued.is_empty(), "batch is sent at {now} while {:?} wait", self.queued);
            }
        } else {
            self.queued.remove(&(head.workload, head.index));
        }
    }
    fn finished(&mut self, done: &Finished) {
        self.queued.remove(&(done.head.workload, done.head.index));
        if self.batch.contains(&done.head.workload) {
            assert!(done.outcome != Outcome::Lost, "a request of a job is lost: {done:?}");
            if done.outcome == Outcome::Completed {
                assert_eq!(done.generated, done.output_tokens, "{done:?}");
            }
        }
        self.all.finished(done);
    }
    fn job(&mut self, now: Time, job: &JobFact) {
        let ended =
            job.requests.completed + job.requests.failed + job.requests.expired + job.requests.cancelled;
        assert!(ended <= job.requests.total);
        match job.state {
            JobState::Completed => {
                assert_eq!(job.requests.completed + job.requests.failed, job.requests.total)
            }
            JobState::Expired | JobState::Cancelled => assert_eq!(ended, job.requests.total),
            JobState::Refused | JobState::Failed => assert_eq!(ended, 0),
            _ => {}
        }
        if job.state == JobState::Expired {
            assert_eq!(now, job.expires);
        }
        self.jobs.push((now, *job));
    }
    fn sampled(&mut self, now: Time, pool: u16, sample: &tidegate_sim::observe::PoolSample) {
        self.all.sampled(now, pool, sample);
    }
}

fn tell(case: &Case, mode: Mode) -> (Totals, Story) {
    let feeds = case.arrivals.iter().cloned().map(Script::new).collect();
    let scenario = &case.scenario;
    let strict = scenario.pools[0].batch.as_ref().is_some_and(|rules| {
        rules.priority != BatchPriority::None && rules.lend.is_none() && scenario.fleet.faults.is_empty()
    }) && scenario.pools[0].fleet.failures.is_none();
    let batch = scenario.batches.iter().map(|batch| batch.workload).collect();
    let mut story = Story { strict, batch, ..Story::default() };
    let mut totals =
        simulate(scenario, feeds, scenario.seed, mode, &mut story, |_, _| ControlFlow::Continue(()));
    totals.events = 0;
    story.all.finished.sort_by_key(|done| (done.head.workload, done.head.index, done.attempt));
    story.all.first_tokens.sort();
    (totals, story)
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn below(blocks: u32) -> impl Strategy<Value = Below> {
    let preempt = prop_oneof![
        2 => Just(Preempt::Recompute),
        1 => (0u64..50).prop_map(|us| Preempt::Swap(Span::from_micros(us))),
        1 => Just(Preempt::Never)
    ];
    let caps = (prop::option::of(1u32..64), prop::option::of(1u32..64));
    let lengths = (prop::option::weighted(0.4, 5u64..30), prop::option::weighted(0.4, 1_001u32..1_400));
    (preempt, caps, lengths, prop_oneof![2 => Just(0), 1 => 0..=blocks]).prop_map(
        |(preempt, (tokens, chunk), (step, slowdown), reserve)| Below {
            preempt,
            tokens,
            chunk,
            step: step.map(ms),
            slowdown,
            reserve,
        },
    )
}

fn law() -> impl Strategy<Value = ControlLaw> {
    prop_oneof![
        (1u32..4, 0u32..900).prop_map(|(add, permille)| ControlLaw::Aimd { add, permille }),
        (0u32..10, 0u32..10)
            .prop_map(|(gain, part)| ControlLaw::Pi { gain: gain.into(), integral: f64::from(part) / 10.0 }),
    ]
}

fn controller() -> impl Strategy<Value = batch::Controller> {
    let metric = prop::sample::select(vec![Metric::Ttft, Metric::Itl, Metric::E2e]);
    (metric, 5u64..400, 20u64..500, law(), (0u32..3, 3u32..20)).prop_map(
        |(metric, target, every, law, (least, most))| batch::Controller {
            metric,
            quantile: 0.9,
            target: ms(target),
            every: ms(every),
            law,
            least,
            most,
        },
    )
}

fn rules() -> impl Strategy<Value = BatchRules> {
    let priority = prop_oneof![
        4 => Just(BatchPriority::Engine),
        2 => Just(BatchPriority::Gateway),
        1 => Just(BatchPriority::None)
    ];
    let order = prop_oneof![2 => Just(JobOrder::Deadline), 1 => Just(JobOrder::Fifo)];
    let gate = (prop::option::of(0u32..3), prop::option::of(0u32..1_000), prop::option::of(0u32..1_000))
        .prop_map(|(waiting, running, kv)| Gate { waiting, running, kv });
    let windows = prop_oneof![
        3 => Just(Vec::new()),
        1 => (0u64..500, 500u64..1_000).prop_map(|(from, to)| vec![(ms(from), ms(to))])
    ];
    let lend = (1u16..3, 0u32..3, 1u32..4, 30u64..400, any::<bool>(), prop_oneof![Just(0u64), 1u64..300]);
    let lend = lend.prop_map(|(most, below, more, every, drain, reload)| Lend {
        most,
        below,
        above: below + more,
        every: ms(every),
        reclaim: if drain { Reclaim::Drain } else { Reclaim::Preempt },
        reload: ms(reload),
    });
    let caps = (prop::option::of(1u32..8), prop_oneof![2 => Just(0u32), 1 => 0u32..1_000]);
    let soft = (prop::option::weighted(0.3, gate), windows, prop::option::weighted(0.3, controller()));
    let rest = (prop::option::weighted(0.3, 0u64..2_000), prop::option::weighted(0.25, lend), any::<bool>());
    (priority, order, caps, soft, rest).prop_map(
        |(priority, order, (concurrency, headroom), (gate, windows, controller), (urgency, lend, fair))| {
            BatchRules {
                priority,
                order,
                fair,
                concurrency,
                headroom,
                windows,
                period: ms(1_000),
                gate,
                controller,
                urgency: urgency.map(ms),
                lend: lend.filter(|_| priority == BatchPriority::Engine),
                quantum: None,
            }
        },
    )
}

fn a_batch() -> impl Strategy<Value = Batch> {
    let jobs =
        (0u64..800, 20u64..900, 1u32..6, 1u32..25).prop_map(|(first, gap, most, requests)| Jobs::Drawn {
            first: ms(first),
            gap: Dist::exponential(gap as f64 / 1_000.0).unwrap(),
            most: Some(most),
            requests: Dist::uniform(1.0, f64::from(requests)).unwrap(),
        });
    let quota = prop::option::weighted(0.4, 100u64..4_000);
    let excess = prop_oneof![Just(Excess::Fail), Just(Excess::Refuse), Just(Excess::Hold)];
    let release = prop_oneof![Just(Release::Request), Just(Release::Job)];
    let times = (200u64..3_500, prop_oneof![Just(0u64), 1u64..200], prop_oneof![Just(0u64), 1u64..200]);
    let cancels = prop::collection::vec((0u32..4, 0u64..3_000), 0..3);
    let upstream = prop::option::weighted(0.15, 100u64..3_000);
    (jobs, (quota, excess, release), times, cancels, (1u32..4, any::<bool>(), upstream)).prop_map(
        |(
            jobs,
            (quota, excess, release),
            (window, validation, finalizing),
            cancels,
            (owners, output, upstream),
        )| {
            let mut cancels: Vec<Cancel> =
                cancels.into_iter().map(|(job, at)| Cancel { job, at: Time::ZERO + ms(at) }).collect();
            cancels.sort_by_key(|cancel| cancel.at);
            Batch {
                name: "nightly".into(),
                workload: 0,
                jobs,
                owner: 0,
                owners,
                window: ms(window),
                validation: ms(validation),
                finalizing: ms(finalizing),
                rules: JobRules {
                    fault: None,
                    requests: Some((22, 0)),
                    bytes: None,
                    tokens: quota.map(|most| (most, 1)),
                    count_output: output,
                    release,
                    excess,
                },
                backend: match upstream {
                    Some(mean) => Backend::Upstream(Dist::exponential(mean as f64 / 1_000.0).unwrap()),
                    None => Backend::Pool,
                },
                cancels,
            }
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    const REPLICAS: u16 = 3;
    let pool =
        (1..=REPLICAS, prop::sample::select(Route::ALL.to_vec()), prop::option::weighted(0.4, 1u32..8));
    let engine = engine().prop_flat_map(|engine| {
        let blocks = engine.kv.blocks;
        (Just(engine), below(blocks))
    });
    let asks = prop::collection::vec(prop::collection::vec(ask(), 0..25), 1..3);
    let faults = prop_oneof![1 => Just(Vec::new()), 1 => faults(1, REPLICAS)];
    let fleet = (1..=REPLICAS).prop_flat_map(pool_fleet);
    (engine, pool, (rules(), a_batch()), asks, faults, (fleet, any::<bool>(), any::<bool>())).prop_map(
        |(
            (mut engine, below),
            (replicas, route, outstanding),
            (mut rules, mut batch),
            asks,
            faults,
            rest,
        )| {
            let (fleet, elastic, cut) = rest;
            if rules.priority == BatchPriority::Engine {
                if engine.batching.policy == BatchPolicy::Chunked {
                    engine.below = Some(below);
                } else {
                    rules.priority = BatchPriority::Gateway;
                    rules.lend = None;
                }
            }
            // What is left has to hold one request.
            let whole = engine.context_tokens.div_ceil(engine.kv.block_tokens) + engine.kv.watermark_blocks;
            if let Some(below) = &mut engine.below {
                below.reserve = below.reserve.min(engine.kv.blocks - whole);
            }
            let mut pool = llm_pool("pool", replicas, route, engine);
            pool.outstanding = outstanding;
            pool.queue = Queue { most: outstanding, wait: None, order: QueueOrder::Priority };
            if elastic {
                pool.fleet = PoolFleet { nodes: Vec::new(), initial: fleet.initial.min(replicas), ..fleet };
                if pool.fleet.scaling.is_none() {
                    pool.fleet.initial = replicas;
                } else {
                    rules.lend = None;
                }
            }
            if replicas == 1 {
                rules.lend = None;
            }
            if let Some(lend) = &mut rules.lend {
                lend.most = lend.most.min(replicas - 1);
            }
            pool.batch = Some(rules);
            let mut workloads = Vec::new();
            let mut arrivals = Vec::new();
            for (id, asks) in asks.iter().enumerate() {
                let mut source = workload(&format!("workload-{id}"), 0, id);
                source.sender.candidates = vec![(0, 0)];
                workloads.push(source);
                let mut all = to_arrivals(id, asks);
                // Without overheads who was let in waits in the queue.
                all.iter_mut().for_each(|arrival| arrival.draw.overhead = Span::ZERO);
                arrivals.push(all);
            }
            let mut requests = workload("nightly", 0, workloads.len());
            requests.sender.candidates = vec![(0, 0)];
            requests.arrivals = Arrivals::Jobs;
            requests.tenants = batch.owners;
            requests.max_tokens = Some(80);
            let law = |low, high| Dist::uniform(low, high).unwrap();
            requests.lengths = Lengths::Independent { prompt: law(1.0, 420.0), output: law(1.0, 90.0) };
            batch.workload = workloads.len() as u16;
            workloads.push(requests);
            arrivals.push(Vec::new());
            let mut scenario = scenario(ms(3_300), vec![pool], workloads);
            scenario.end = if cut { End::Cut } else { End::Drain };
            scenario.bin = ms(250);
            scenario.batches = vec![batch];
            let here = |fault: &fleet::Fault| match fault.target {
                Target::Replica(_, replica) => replica < replicas,
                Target::Pool(_) => true,
                _ => false,
            };
            scenario.fleet.faults = faults.into_iter().filter(here).collect();
            Case { scenario, arrivals }
        },
    )
}

fn assert_equal(case: &Case) {
    let naive = tell(case, Mode::Naive);
    for mode in [Mode::Unskipped, Mode::Fast] {
        let fast = tell(case, mode);
        for (a, b) in naive.1.all.finished.iter().zip(&fast.1.all.finished) {
            assert_eq!(a, b, "{mode:?}");
        }
        assert_eq!(naive.1.jobs, fast.1.jobs, "{mode:?}");
        assert_eq!(naive.1.all.gaps, fast.1.all.gaps, "{mode:?}: token gaps");
        assert_eq!(naive.1.all.samples, fast.1.all.samples, "{mode:?}: samples");
        assert_eq!(naive, fast, "{mode:?}");
    }
    // Nobody listening changes nothing.
    let feeds = case.arrivals.iter().cloned().map(Script::new).collect();
    let scenario = &case.scenario;
    let mut alone =
        simulate(scenario, feeds, scenario.seed, Mode::Fast, &mut Nobody, |_, _| ControlFlow::Continue(()));
    alone.events = 0;
    assert_eq!(alone, naive.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// Conservation of requests and jobs is asserted in every run, strict priority as batch is sent.
    #[test]
    fn batch_is_conserved_goes_second_and_the_engines_agree(case in case()) {
        assert_equal(&case);
    }
}

/// The generator must reach what it is there to reach.
#[test]
fn the_random_cases_reach_every_end_of_a_job_preemption_lending_and_crashes() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut states: BTreeMap<JobState, usize> = BTreeMap::new();
    let (mut twice, mut preempted, mut completed, mut beside, mut lent) = (0, 0, 0, 0, 0);
    for _ in 0..500 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (_, story) = tell(&case, Mode::Fast);
        for (_, job) in &story.jobs {
            *states.entry(job.state).or_default() += 1;
        }
        let batch = &story.batch;
        let of_batch = story.all.finished.iter().filter(|done| batch.contains(&done.head.workload));
        let of_batch: Vec<_> = of_batch.collect();
        completed += of_batch.iter().filter(|done| done.outcome == Outcome::Completed).count();
        preempted += of_batch.iter().filter(|done| done.preemptions > 0).count();
        beside += story.all.finished.iter().filter(|done| !done.beside.is_zero()).count();
        twice += story.sent.values().filter(|&&times| times > 1).count();
        let lends = case.scenario.pools[0].batch.as_ref().unwrap().lend.is_some();
        lent += usize::from(lends && !story.sent.is_empty());
    }
    for state in JobState::ALL {
        let seen = states.get(&state).copied().unwrap_or(0);
        assert!(seen > 4, "{state:?}: {seen} in {states:?}");
    }
    assert!(completed > 1_000, "{completed} requests were completed");
    assert!(twice > 50, "{twice} were sent again");
    assert!(preempted > 50, "{preempted} were preempted");
    assert!(beside > 50, "{beside} real-time requests had batch beside them");
    assert!(lent > 10, "{lent} runs lent replicas that were used");
}

/// Limits that look at arrivals alone see the same with batch and without.
#[test]
fn real_time_limits_count_the_same_with_batch_and_without() {
    use crate::support::limit;
    use proptest::strategy::ValueTree;
    use tidegate_sim::limits::Algorithm;
    use tidegate_sim::profile::{Mechanism, Unit};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut refused = 0;
    for _ in 0..200 {
        let mut case = case().new_tree(&mut runner).unwrap().current();
        // Permits, refunds, full queues and patience would feed back.
        case.scenario.pools[0].queue.most = None;
        let rate = |limit| Mechanism::Rate {
            limit: Some(limit),
            most: limit,
            window: Span::from_secs(1),
            algorithm: Algorithm::SlidingLog,
            burst: limit,
            unit: Unit::Requests,
            default_reservation: 50,
            counts_refused: false,
        };
        case.scenario.policy.limits = vec![limit("rate", rate(6), Some(0))];
        let with = tell_limits(&case);
        let mut without = case.clone();
        without.scenario.batches.clear();
        without.scenario.workloads.pop();
        without.arrivals.pop();
        let without = tell_limits(&without);
        assert_eq!(with, without);
        refused += with.refused.len();
    }
    assert!(refused > 200, "{refused} were refused");
}

/// What limits counted, and who was refused.
#[derive(Debug, Default, PartialEq)]
struct Limited {
    metered: Vec<(usize, tidegate_sim::limits::Usage)>,
    refused: Vec<(u16, u64)>,
}

impl Observer for Limited {
    fn metered(&mut self, limit: usize, usage: &tidegate_sim::limits::Usage) {
        self.metered.push((limit, *usage));
    }
    fn finished(&mut self, done: &Finished) {
        let reason = done.refusal.map(|refusal| refusal.reason);
        if done.outcome == Outcome::Refused && reason != Some(tidegate_sim::request::CONTEXT_LENGTH) {
            self.refused.push((done.head.workload, done.head.index));
        }
    }
}

fn tell_limits(case: &Case) -> Limited {
    let feeds = case.arrivals.iter().cloned().map(Script::new).collect();
    let mut seen = Limited::default();
    let mode = Mode::Fast;
    simulate(&case.scenario, feeds, case.scenario.seed, mode, &mut seen, |_, _| ControlFlow::Continue(()));
    for (_, usage) in &mut seen.metered {
        // A longer run has more time in it.
        usage.blocked = 0;
    }
    seen
}
