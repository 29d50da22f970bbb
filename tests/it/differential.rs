//! The engine that ships against the plain one: the same timelines and the same token gaps, to the nanosecond.

use crate::support::{Everything, affine_law, arrival, limit, llm_pool, run, scenario, workload};
use proptest::prelude::*;
use std::sync::Arc;
use tidegate_sim::engine::{Mode, Totals};
use tidegate_sim::hardware::{self, KvPrecision, Placement, Precision};
use tidegate_sim::limits::Algorithm;
use tidegate_sim::profile::{Mechanism, Unit};
use tidegate_sim::replica::step_time::{LawBounds, StepLaw, TableData};
use tidegate_sim::request::{Arrival, HashChain, Outcome, Prefix, QUEUE_FULL};
use tidegate_sim::scenario::*;
use tidegate_sim::time::Span;

/// A scenario with its arrivals written out.
#[derive(Clone, Debug)]
struct Case {
    scenario: Scenario,
    arrivals: Vec<Vec<Arrival>>,
}

const CONTEXT: u32 = 400;

/// The three kinds of law: a line, a roofline with its maximum of two lines, and a table with knots to stop at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Linear,
    Roofline,
    Table,
}

fn law(kind: Kind, quantum: Span, bounds: LawBounds) -> Arc<StepLaw> {
    match kind {
        Kind::Linear => affine_law(quantum, bounds),
        Kind::Roofline => {
            let gpu = hardware::gpu("l4").unwrap();
            let model = hardware::architecture("llama-3.1-8b").unwrap();
            let placement = Placement::new(gpu, model, 1, Precision::Fp8, KvPrecision::Fp8).unwrap();
            let calibration = hardware::calibration("uncalibrated").unwrap();
            Arc::new(StepLaw::roofline(&placement, calibration, quantum, &bounds).unwrap())
        }
        Kind::Table => {
            let rows = "kind,sequences,context_tokens,prefill_tokens,step_us\n\
                        decode,1,10,,2100\ndecode,1,60,,2300\ndecode,1,150,,2900\n\
                        decode,8,10,,2900\ndecode,8,60,,3300\ndecode,8,150,,4100.5\n\
                        prefill,,,16,1700\nprefill,,,256,9000\noverlap,,,,300\n";
            Arc::new(StepLaw::table(&TableData::read(rows.as_bytes()).unwrap(), quantum, &bounds).unwrap())
        }
    }
}

pub(crate) fn engine() -> impl Strategy<Value = LlmEngine> {
    let policy = prop_oneof![
        3 => Just(BatchPolicy::Chunked),
        2 => Just(BatchPolicy::Whole),
        1 => Just(BatchPolicy::Static)
    ];
    let tokens = prop_oneof![2 => 1u32..24, 2 => 24u32..600];
    let sequences = prop_oneof![2 => 1u32..6, 2 => 6u32..64];
    let quantum = prop::sample::select(vec![1u64, 1_000, 1_000_000]);
    // From a cache that just fits one request to one that never fills.
    let spare = prop_oneof![3 => 0u32..30, 1 => 30u32..2_000];
    let block = prop::sample::select(vec![1u32, 4, 16]);
    let kind = prop_oneof![2 => Just(Kind::Linear), 1 => Just(Kind::Roofline), 2 => Just(Kind::Table)];
    (policy, (tokens, sequences), kind, quantum, spare, block, 0u32..4, any::<bool>()).prop_map(
        |(
            policy,
            (tokens, sequences),
            kind,
            quantum,
            spare,
            block_tokens,
            watermark_blocks,
            prefix_cache,
        )| {
            let bounds =
                LawBounds { sequences, tokens: tokens.max(sequences * CONTEXT), sequence_tokens: CONTEXT };
            LlmEngine {
                law: law(kind, Span::from_nanos(quantum), bounds),
                batching: Batching { policy, tokens, sequences },
                kv: Kv {
                    block_tokens,
                    blocks: CONTEXT.div_ceil(block_tokens) + watermark_blocks + spare,
                    watermark_blocks,
                    prefix_cache,
                },
                context_tokens: CONTEXT,
                below: None,
            }
        },
    )
}

/// What stands between a request and the replicas.
#[derive(Clone, Copy, Debug)]
struct Rules {
    permits: Option<u32>,
    deadline_ms: Option<u64>,
    in_flight: Option<u64>,
    /// Output tokens in a window of a second: reserved, then settled.
    tokens: Option<u64>,
    requests: Option<u64>,
    overhead_ms: Option<u64>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let permits = prop::option::weighted(0.3, 1u32..6);
    let deadline_ms = prop::option::weighted(0.3, 1u64..2_000);
    let in_flight = prop::option::weighted(0.2, 1u64..12);
    let tokens = prop::option::weighted(0.2, 20u64..400);
    let requests = prop::option::weighted(0.2, 1u64..20);
    let overhead_ms = prop::option::weighted(0.3, 0u64..40);
    (permits, deadline_ms, in_flight, tokens, requests, overhead_ms).prop_map(
        |(permits, deadline_ms, in_flight, tokens, requests, overhead_ms)| Rules {
            permits,
            deadline_ms,
            in_flight,
            tokens,
            requests,
            overhead_ms,
        },
    )
}

fn policy(rules: &Rules) -> Policy {
    let rate = |limit: u64, unit: Unit, algorithm| Mechanism::Rate {
        limit: Some(limit),
        most: limit,
        window: Span::from_secs(1),
        algorithm,
        burst: limit,
        unit,
        default_reservation: 50,
        counts_refused: false,
    };
    let mechanisms = [
        rules.requests.map(|limit| rate(limit, Unit::Requests, Algorithm::TokenBucket)),
        rules.tokens.map(|limit| rate(limit, Unit::OutputTokens, Algorithm::SlidingLog)),
        rules.in_flight.map(|limit| Mechanism::Concurrency { limit: Some(limit) }),
        rules.deadline_ms.map(|most| Mechanism::Deadline { at_most: Span::from_millis(most) }),
        rules.overhead_ms.map(|below| Mechanism::Overhead { below: Span::from_millis(below) }),
    ];
    let mut meters = 0..;
    let limits = mechanisms.into_iter().flatten().map(|mechanism| {
        let meter = mechanism.is_metered().then(|| meters.next().unwrap());
        limit(mechanism.name(), mechanism, meter)
    });
    Policy { limits: limits.collect(), ..Policy::default() }
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) gap_ms: u64,
    pub(crate) prompt: u32,
    pub(crate) output: u32,
    pub(crate) patience_ms: Option<u64>,
    pub(crate) identity: u8,
}

pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    // A coarse grid, and often no gap at all, so that arrivals tie with each other and with step ends.
    let gap = prop_oneof![2 => Just(0u64), 3 => 1u64..40, 1 => 40u64..2_000];
    let prompt = prop_oneof![3 => 1u32..40, 2 => 40u32..300, 1 => 300u32..450];
    let output = prop_oneof![1 => 1u32..3, 3 => 3u32..60, 1 => 60u32..300];
    (gap, prompt, output, prop::option::weighted(0.25, 0u64..4_000), any::<u8>()).prop_map(
        |(gap_ms, prompt, output, patience_ms, identity)| Ask {
            gap_ms,
            prompt,
            output,
            patience_ms,
            identity,
        },
    )
}

pub(crate) fn identify(arrival: &mut Arrival, identity: u8) {
    let shared_tokens = u32::from(identity / 8 % 4) * 24;
    match identity % 4 {
        0 => {}
        1 => {
            arrival.head.prefix =
                Prefix { shared: 1, shared_tokens: shared_tokens.min(arrival.head.prompt_tokens), own: 0 };
        }
        2 => {
            arrival.head.prefix = Prefix {
                shared: 1,
                shared_tokens: shared_tokens.min(arrival.head.prompt_tokens),
                own: 1 + u64::from(identity / 32),
            };
        }
        _ => {
            let hashes = 0..u64::from(arrival.head.prompt_tokens.div_ceil(32));
            let hashes =
                hashes.map(|block| block * 7 + u64::from(identity / 32) * u64::from(block > 1)).collect();
            arrival.chain = Some(Box::new(HashChain { tokens_per_hash: 32, hashes }));
        }
    }
}

fn case() -> impl Strategy<Value = Case> {
    let view_age = prop_oneof![2 => Just(0u64), 1 => 1u64..50, 1 => 50u64..1_500];
    let route = (prop::sample::select(Route::ALL.to_vec()), view_age);
    let order = prop::sample::select(vec![QueueOrder::Fifo, QueueOrder::Priority, QueueOrder::Fair]);
    let queue = (prop::option::of(0u32..6), prop::option::of(0u64..900), order);
    let asks = prop::collection::vec(prop::collection::vec(ask(), 0..40), 1..3);
    (
        engine(),
        1u16..4,
        route,
        prop::option::weighted(0.5, 1u32..8),
        queue,
        asks,
        (any::<bool>(), rules()),
        0u64..3,
    )
        .prop_map(
            |(
                engine,
                replicas,
                (route, view_age_ms),
                outstanding,
                (most, wait, order),
                asks,
                (cut, rules),
                network_ms,
            )| {
                let mut pool = llm_pool("pool", replicas, route, engine);
                pool.outstanding = outstanding;
                pool.view_age = Span::from_millis(view_age_ms);
                pool.permits = rules.permits.map(|most| Permits { most, reason: QUEUE_FULL });
                pool.queue = Queue { most, wait: wait.map(Span::from_millis), order };
                let mut workloads = Vec::new();
                let mut arrivals = Vec::new();
                for (id, asks) in asks.iter().enumerate() {
                    let mut source = workload(&format!("workload-{id}"), 0, id);
                    source.sender.candidates = vec![(0, 0)];
                    source.network = Span::from_millis(2 * network_ms);
                    (source.tenants, source.weight) = (3, 1_000 + 700 * id as u32);
                    workloads.push(source);
                    let mut at = 0;
                    arrivals.push(
                        asks.iter()
                            .enumerate()
                            .map(|(index, ask)| {
                                at += ask.gap_ms * 1_000_000;
                                let mut request =
                                    arrival(id as u16, index as u64, at, ask.prompt, ask.output);
                                request.draw.patience = ask.patience_ms.map(Span::from_millis);
                                // Equal for some, so that they are ready in one instant.
                                let most = rules.overhead_ms.unwrap_or(0);
                                request.draw.overhead =
                                    Span::from_millis(most * u64::from(ask.identity % 3) / 2);
                                request.head.tenant = u32::from(ask.identity % 3);
                                request.head.session = u64::from(ask.identity % 7);
                                request.head.max_tokens =
                                    (ask.identity % 5 == 0).then_some(1 + u32::from(ask.identity));
                                identify(&mut request, ask.identity);
                                request
                            })
                            .collect(),
                    );
                }
                let mut scenario = scenario(Span::from_millis(3_300), vec![pool], workloads);
                scenario.end = if cut { End::Cut } else { End::Drain };
                scenario.policy = policy(&rules);
                scenario.bin = Span::from_millis(250);
                Case { scenario, arrivals }
            },
        )
}

fn outcome_of(case: &Case, mode: Mode) -> (Totals, Everything) {
    let (mut totals, all) = run(&case.scenario, case.arrivals.clone(), mode);
    // Skipping makes fewer events; everything else must be equal.
    totals.events = 0;
    (totals, all)
}

fn assert_equal(case: &Case) {
    let naive = outcome_of(case, Mode::Naive);
    let engine = &case.scenario.pools[0].engine;
    for mode in [Mode::Unskipped, Mode::Fast] {
        let fast = outcome_of(case, mode);
        for (a, b) in naive.1.finished.iter().zip(&fast.1.finished) {
            assert_eq!(a, b, "{mode:?} differs from naive under {engine:?}");
        }
        assert_eq!(naive.1.gaps, fast.1.gaps, "{mode:?}: token gaps under {engine:?}");
        assert_eq!(naive.1.samples, fast.1.samples, "{mode:?}: samples under {engine:?}");
        assert_eq!(naive, fast, "{mode:?} under {engine:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_500, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_engine_gives_the_naive_ones_timelines_to_the_nanosecond(case in case()) {
        assert_equal(&case);
    }
}

/// The generator must reach what it is there to reach; a differential test of idle replicas proves nothing.
#[test]
fn the_random_cases_reach_preemption_prefix_hits_cancellation_refusal_and_long_runs() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut preempted, mut cached, mut skipped, mut outcomes) = (0, 0, 0, [0u64; Outcome::ALL.len()]);
    for _ in 0..450 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let (totals, all) = run(&case.scenario, case.arrivals.clone(), Mode::Fast);
        preempted += all.finished.iter().filter(|done| done.preemptions > 0).count();
        cached += all.finished.iter().filter(|done| done.cached_tokens > 0).count();
        skipped += u64::from(totals.steps > 2 * totals.events);
        for (sum, count) in outcomes.iter_mut().zip(totals.outcomes) {
            *sum += count;
        }
    }
    assert!(preempted > 100, "{preempted} requests were preempted");
    assert!(cached > 100, "{cached} requests found a cached prefix");
    assert!(skipped > 20, "{skipped} runs skipped most of their steps");
    for outcome in [
        Outcome::Completed,
        Outcome::Refused,
        Outcome::TimedOut,
        Outcome::Expired,
        Outcome::Queued,
        Outcome::Running,
        Outcome::Failed,
    ] {
        assert!(outcomes[outcome as usize] > 50, "{outcome:?}: {outcomes:?}");
    }
}
