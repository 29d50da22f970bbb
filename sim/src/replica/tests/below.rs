//! Batch below real-time: the three engines against each other, and what every step must keep.

use super::*;
use crate::scenario::batch::{Below, Preempt};

/// What was seen of batch, for the test that scripts reach anything; and what must hold, asserted as it is seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub(super) reclaimed: u32,
    parked: u32,
    unparked: u32,
    /// Steps that a batch cohort paused for.
    paused: u32,
    swapped_out: u32,
    swapped_in: u32,
    recomputed: u32,
    /// Preempted where real-time was short of sequences, and of blocks.
    for_sequences: u32,
    for_blocks: u32,
    /// Preempted while there were blocks, but no more than are kept.
    for_reserve: u32,
    /// Chunks that a limit of length made smaller than the budget and the rules did.
    limited_chunks: u32,
    /// Prompts that waited for a later step.
    waiting_chunks: u32,
    beside: u32,
    /// Runs of several steps with both classes in them.
    long_runs: u32,
    /// Of the step in flight on each replica: sequences that decode, of real-time and of batch.
    decoding: [(u32, u32); REPLICAS as usize],
}

impl Watch {
    pub(super) fn see_end(&mut self, replica: usize, told: &Gaps) {
        let run = told.run.expect("a step has ended");
        let (upper, lower) = self.decoding[replica];
        self.paused += u32::from(lower > 0 && run.decodes == upper);
        self.long_runs += u32::from(run.steps > 2 && upper > 0 && run.decodes > upper);
    }

    fn add(&mut self, other: &Watch) {
        self.reclaimed += other.reclaimed;
        self.parked += other.parked;
        self.unparked += other.unparked;
        self.paused += other.paused;
        self.swapped_out += other.swapped_out;
        self.swapped_in += other.swapped_in;
        self.recomputed += other.recomputed;
        self.for_sequences += other.for_sequences;
        self.for_blocks += other.for_blocks;
        self.for_reserve += other.for_reserve;
        self.limited_chunks += other.limited_chunks;
        self.waiting_chunks += other.waiting_chunks;
        self.beside += other.beside;
        self.long_runs += other.long_runs;
    }
}

/// The requests of a replica before a step begins.
pub(super) struct Before {
    slots: Vec<(SlotId, Slot)>,
    free: u32,
}

impl Before {
    pub(super) fn of<S: Engine>(pool: &Pool<S>, replica: usize) -> Self {
        let live = pool.slots.iter().flatten().copied();
        let here = live.filter(|&id| usize::from(pool.table[id].replica) == replica);
        let slots = here.map(|id| (id, pool.table[id])).collect();
        Before { slots, free: pool.engine.kv.blocks - pool.replicas[replica].kv_used() }
    }

    /// Sees what the step that begins has changed, and holds it to what must be.
    pub(super) fn compare<S: Engine>(self, pool: &mut Pool<S>, replica: usize, now: Time) {
        let Some(below) = pool.engine.below else { return };
        let Pool { table, watch, engine, .. } = pool;
        let mut seen = Watch::default();
        let (mut lost, mut admitted, mut upper_admitted) = (0, 0, 0);
        for (id, old) in self.slots.iter().map(|&(id, old)| (id, old)) {
            let slot = &table[id];
            assert_eq!(slot.lower, old.lower);
            if !slot.lower {
                upper_admitted += u32::from(old.place == Place::Waiting && slot.place != Place::Waiting);
                continue;
            }
            seen.parked += u32::from(old.place == Place::Decode && slot.place == Place::Parked);
            seen.unparked += u32::from(old.place == Place::Parked && slot.place == Place::Decode);
            let came = old.place == Place::Waiting && slot.place != Place::Waiting;
            let came_back = came && old.carried && old.left_at == NEVER;
            admitted += u32::from(came);
            seen.swapped_in += u32::from(came_back);
            if came_back {
                assert!(matches!(below.preempt, Preempt::Swap(_)));
            }
            if slot.preemptions > old.preemptions {
                lost += 1;
                let since = if old.preempted_at == NEVER { now } else { old.preempted_at };
                assert_eq!(slot.preempted_at, since);
                if slot.carried {
                    seen.swapped_out += 1;
                } else {
                    assert_eq!(slot.target, slot.prompt + slot.generated);
                    seen.recomputed += 1;
                }
            }
        }
        if lost > 0 {
            let in_use =
                self.slots.iter().filter(|(_, slot)| matches!(slot.place, Place::Decode | Place::Prefill));
            let full = in_use.count() as u32 == engine.batching.sequences;
            seen.for_sequences += u32::from(full && upper_admitted > 0);
            seen.for_blocks += u32::from(!full && below.reserve == 0);
            seen.for_reserve += u32::from(below.reserve > 0 && self.free > 0 && self.free <= below.reserve);
        }
        let waiting = pool.replicas[replica].waiting();
        let here = |id: &SlotId| usize::from(table[*id].replica) == replica;
        let live: Vec<SlotId> = pool.slots.iter().flatten().copied().filter(here).collect();
        let decoding = |lower| {
            let of = |&&id: &&SlotId| table[id].lower == lower && table[id].place == Place::Decode;
            live.iter().filter(of).count() as u32
        };
        watch.decoding[replica] = (decoding(false), decoding(true));
        if let Some((upper, all)) = pool.replicas[replica].shapes(table) {
            let has_lower = all != upper;
            if waiting > 0 {
                assert_eq!(admitted, 0, "batch is admitted while real-time waits");
                let can_wait = below.preempt == Preempt::Never || upper.sequences > 0;
                assert!(can_wait, "batch alone is in a step while real-time waits");
            }
            if has_lower && lost == 0 {
                let law = &engine.law;
                // What is swapped comes on top.
                let with = u128::from(law.femtos(&all));
                if let Some(step) = below.step.filter(|_| upper.sequences > 0 || all.sequences > 1) {
                    assert!(with <= u128::from(step.as_nanos()) * 1_000_000, "{with} fs, {below:?}");
                }
                if let Some(permille) = below.slowdown.filter(|_| upper.sequences > 0) {
                    let most = u128::from(law.femtos(&upper)) * u128::from(permille);
                    assert!(with * 1_000 <= most, "{with} fs, {below:?}");
                }
            }
            let batch = all.prefill_tokens - upper.prefill_tokens;
            assert!(batch <= below.chunk.unwrap_or(u32::MAX), "{batch} prompt tokens of {below:?}");
            let tokens = batch + all.decodes - upper.decodes;
            assert!(tokens <= below.tokens.unwrap_or(u32::MAX), "{tokens} tokens of {below:?}");
            let unfinished = live.iter().any(|&id| {
                table[id].lower
                    && table[id].place == Place::Prefill
                    && table[id].computed + batch < table[id].target
            });
            let room = (engine.batching.tokens - all.decodes - all.prefill_tokens)
                .min(below.tokens.map_or(u32::MAX, |most| most - tokens))
                .min(below.chunk.map_or(u32::MAX, |most| most - batch));
            seen.limited_chunks += u32::from(unfinished && batch > 0 && room > 0);
            seen.waiting_chunks += u32::from(unfinished && batch == 0 && has_lower);
        }
        let beside = |&&id: &&SlotId| !pool.replicas[replica].beside(table, id).is_zero();
        seen.beside += live.iter().filter(beside).count() as u32;
        watch.add(&seen);
    }
}

fn rules() -> impl Strategy<Value = Below> {
    let preempt = prop_oneof![
        1 => Just(Preempt::Never),
        2 => Just(Preempt::Recompute),
        2 => prop_oneof![Just(0u64), 1u64..3_000].prop_map(|ns| Preempt::Swap(Span::from_nanos(ns))),
    ];
    let tokens = prop::option::weighted(0.3, prop_oneof![1 => 1u32..12, 3 => 12u32..200]);
    let chunk = prop::option::weighted(0.3, prop_oneof![1 => 1u32..12, 3 => 12u32..200]);
    // A step of the laws here takes 200 us at least.
    let step = prop::option::weighted(
        0.4,
        prop_oneof![
            1 => 150u64..200,
            3 => 200u64..300,
            1 => 300u64..1_500
        ],
    );
    let slowdown = prop::option::weighted(0.5, prop_oneof![2 => 1_001u32..1_100, 1 => 1_100u32..2_000]);
    let reserve = prop_oneof![2 => Just(0u32), 1 => 1u32..6, 1 => 6u32..60];
    (preempt, tokens, chunk, step, slowdown, reserve).prop_map(
        |(preempt, tokens, chunk, step, slowdown, reserve)| {
            let step = step.map(Span::from_micros);
            Below { preempt, tokens, chunk, step, slowdown, reserve }
        },
    )
}

fn chunked(below: Option<Below>) -> impl Fn(LlmEngine) -> LlmEngine {
    move |mut engine| {
        engine.batching.policy = BatchPolicy::Chunked;
        engine.below = below;
        engine
    }
}

/// Most requests go to one replica, so that it is full.
fn crowded() -> impl Strategy<Value = ReplicaId> {
    prop_oneof![6 => Just(0), 1 => 0..REPLICAS]
}

/// A request of a class. Most batch prompts are short, so that most of them decode when something happens.
fn any_ask(lower: bool) -> impl Strategy<Value = Op> {
    let short = if lower { 3 } else { 1 };
    let prompt = prop_oneof![short => 1u32..16, 1 => 16u32..120];
    let output = prop_oneof![1 => 1u32..3, 3 => 3u32..30, 2 => 30u32..100];
    (crowded(), prompt, output, any::<u8>()).prop_map(move |(replica, prompt, output, identity)| Op::Ask {
        replica,
        prompt,
        output,
        identity,
        lower,
    })
}

/// Everything that happens where there are two classes.
fn mixed_op() -> impl Strategy<Value = Op> {
    let carry = (crowded(), 1u32..60, 2u32..40, 0u32..20, 1u64..3_000, any::<u8>(), any::<bool>());
    let carry = carry.prop_map(|(replica, prompt, output, told, ago_us, identity, lower)| {
        let told = 1 + told % (output - 1);
        Op::Carry { replica, prompt, output, told, ago_us, identity, lower }
    });
    let fail =
        (crowded(), 0usize..4, 0..REPLICAS).prop_map(|(replica, lost, to)| Op::Fail { replica, lost, to });
    let reclaim = (crowded(), 0..REPLICAS).prop_map(|(replica, to)| Op::Reclaim { replica, to });
    let slow = (crowded(), prop_oneof![1 => Just(NORMAL), 1 => NORMAL..4_000])
        .prop_map(|(replica, permille)| Op::Slow { replica, permille });
    prop_oneof![
        16 => any_ask(false),
        12 => any_ask(true),
        3 => carry,
        3 => any::<u16>().prop_map(Op::Cancel),
        1 => prop_oneof![fail, reclaim],
        1 => slow,
        4 => Just(Op::Look)
    ]
}

/// Some batch at first; bursts, pauses, and instants that tie with the ends of steps.
fn mixed_script() -> impl Strategy<Value = Script> {
    let gap = prop_oneof![
        4 => Just(0u64),
        3 => (0u64..40).prop_map(|tens| tens * 10_000),
        2 => 1u64..900_000,
        1 => 1_000_000u64..5_000_000
    ];
    let first = prop::collection::vec((Just(0u64), any_ask(true)), 0..12);
    let ops = (first, prop::collection::vec((gap, mixed_op()), 1..50));
    // A cache for a few requests more, mostly.
    let spare = prop_oneof![1 => Just(0u32), 2 => 0u32..300, 2 => 300u32..1_500];
    (engine(), rules(), spare, ops).prop_map(|(engine, below, spare, (mut ops, then))| {
        let mut engine = chunked(Some(below))(engine);
        engine.kv.blocks += spare / engine.kv.block_tokens;
        ops.extend(then);
        Script { engine, ops }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn two_classes_give_the_plain_engines_timelines_to_the_nanosecond(script in mixed_script()) {
        let plain = Pool::<NaiveReplica>::new(&script.engine, false).run(&script);
        let walking = Pool::<Replica>::new(&script.engine, false).run(&script);
        assert_equal(&plain, &walking);
        let skipping = Pool::<Replica>::new(&script.engine, true).run(&script);
        assert_equal(&plain, &skipping);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn without_batch_an_engine_that_would_keep_it_below_is_one_that_would_not(
        script in script(), below in rules(),
    ) {
        let without = Script { engine: chunked(None)(script.engine.clone()), ops: script.ops.clone() };
        let with = Script { engine: chunked(Some(below))(script.engine), ops: script.ops };
        let plain = Pool::<NaiveReplica>::new(&with.engine, false).run(&with);
        let alike = Pool::<Replica>::new(&without.engine, true).run(&without);
        assert_equal(&plain, &alike);
        let fast = Pool::<Replica>::new(&with.engine, true).run(&with);
        assert_equal(&alike, &fast);
    }

    #[test]
    fn every_request_gets_each_of_its_tokens_once_whatever_it_loses_on_the_way(script in mixed_script()) {
        let asks = script.ops.iter().filter(|(_, op)| matches!(op, Op::Ask { .. } | Op::Slow { .. }));
        let script = Script { engine: script.engine.clone(), ops: asks.copied().collect() };
        let pool = Pool::<Replica>::new(&script.engine, true).run(&script);
        let outputs = script.ops.iter().map(|(_, op)| match op {
            Op::Ask { output, .. } => u64::from(*output),
            _ => 0,
        });
        let told: u64 = pool.told.gaps.values().sum();
        prop_assert_eq!(told + pool.told.first_tokens.len() as u64, outputs.sum::<u64>());
    }
}

/// The scripts must reach what they are there to reach.
#[test]
fn the_random_scripts_reach_every_fate_of_a_batch_request() {
    let mut runner = TestRunner::deterministic();
    let (mut sum, mut skipping) = (Watch::default(), Watch::default());
    for _ in 0..400 {
        let script = mixed_script().new_tree(&mut runner).unwrap().current();
        sum.add(&Pool::<NaiveReplica>::new(&script.engine, false).run(&script).watch);
        skipping.add(&Pool::<Replica>::new(&script.engine, true).run(&script).watch);
    }
    let least = sum.parked.min(sum.unparked).min(sum.paused).min(sum.recomputed);
    assert!(least > 100, "{sum:?}, {skipping:?}");
    let least = sum.swapped_out.min(sum.swapped_in).min(sum.for_sequences).min(sum.for_blocks);
    assert!(least > 100, "{sum:?}, {skipping:?}");
    let least = sum.for_reserve.min(sum.limited_chunks).min(sum.waiting_chunks).min(sum.reclaimed);
    assert!(least > 50 && sum.beside > 1_000, "{sum:?}, {skipping:?}");
    assert!(skipping.long_runs > 100, "{skipping:?}");
}

/// A microsecond a step, 100 ns a prompt token, 200 ns a sequence that decodes.
fn small_engine(below: Below) -> LlmEngine {
    let mut engine = plain_engine(BatchPolicy::Chunked, 64, 8);
    let bounds = LawBounds { sequences: 8, tokens: 1_000, sequence_tokens: CONTEXT };
    let coefficients = LinearCoefficients {
        base_fs: 1_000_000_000,
        per_prefill_token_fs: 100_000_000,
        per_decode_fs: 200_000_000,
        ..LinearCoefficients::default()
    };
    engine.law = Arc::new(StepLaw::linear(&coefficients, Span::from_nanos(1), &bounds).unwrap());
    engine.below = Some(below);
    engine
}

const FREE: Below =
    Below { preempt: Preempt::Recompute, tokens: None, chunk: None, step: None, slowdown: None, reserve: 0 };

fn batch(prompt: u32, output: u32) -> Op {
    Op::Ask { replica: 0, prompt, output, identity: 0, lower: true }
}

fn ends(done: &BTreeMap<usize, (Time, Sight)>) -> Vec<u64> {
    done.values().map(|(at, _)| at.as_nanos() - START).collect()
}

#[test]
fn a_cohort_that_would_make_a_prompt_too_slow_pauses_for_it_as_a_whole() {
    let below = Below { slowdown: Some(1_050), ..FREE };
    // Tokens of batch at 1.4 and 2.6 us. A prompt of 10 takes 2.0 us, 2.2 with batch; its second token 1.2, 1.4 with batch.
    let (done, pool) = on_both(small_engine(below), &[(0, batch(4, 4)), (2_000, ask(10, 2))]);
    assert_eq!(ends(&done), [2_600 + 2_000 + 1_200 + 1_200 + 1_200, 2_600 + 2_000 + 1_200]);
    // The third token of batch comes 2.0 + 1.2 + 1.2 us after the second.
    assert_eq!(pool.told.gaps, BTreeMap::from([((0, 1_200), 3), ((0, 4_400), 1)]));
    assert_eq!(done[&1].1.spans[3], Span::ZERO);
    // It would have gone along.
    let below = Below { slowdown: Some(1_100), ..FREE };
    let (_, pool) = on_both(small_engine(below), &[(0, batch(4, 4)), (2_000, ask(10, 2))]);
    assert!(pool.told.gaps.contains_key(&(0, 2_200)));
}

#[test]
fn sequences_beyond_the_slowdown_are_parked_and_run_again_when_real_time_is_gone() {
    let below = Below { slowdown: Some(1_200), ..FREE };
    let ops = [(0, batch(4, 6)), (0, batch(4, 6)), (2_000, ask(4, 3))];
    let (done, pool) = on_both(small_engine(below), &ops);
    // Batch: tokens at 1.8 and 3.2 us. The prompt of real-time takes 1.4 us, 1.8 with batch: batch pauses. Then a step is
    // 1.2 us, 1.4 with one of batch, 1.6 with both: the second is parked for two steps.
    let real_time = 3_200 + 1_400 + 1_400 + 1_400;
    assert_eq!(ends(&done), [real_time + 2 * 1_400, real_time + 2 * 1_400 + 2 * 1_200, real_time]);
    assert_eq!(done[&2].1.spans[3], Span::from_nanos(400), "two steps were 200 ns longer");
    // Tokens after the pause: one of the first, one of the second.
    let long: Vec<u64> = pool.told.gaps.keys().map(|&(_, gap)| gap).filter(|gap| *gap > 1_400).collect();
    assert_eq!(long, [1_400 + 1_400, 3 * 1_400 + 1_400]);
}

#[test]
fn a_sequence_that_is_parked_leaves_its_place_to_real_time_in_the_next_step() {
    let mut engine = small_engine(Below { preempt: Preempt::Never, slowdown: Some(1_100), ..FREE });
    engine.batching.sequences = 2;
    let (done, _) = on_both(engine, &[(0, batch(4, 6)), (100, ask(4, 9)), (0, ask(4, 1))]);
    // Both places are taken until the second prompt of real-time is over and batch is parked, at 2.8 us; the step that
    // begins then is formed without the third request.
    let third = 2_800 + 1_200 + 1_600;
    let second = third + 6 * 1_200;
    assert_eq!(ends(&done), [second + 5 * 1_200, second, third]);
}

#[test]
fn a_swapped_sequence_makes_the_steps_that_move_it_longer_and_decodes_on() {
    let mut engine = small_engine(Below { preempt: Preempt::Swap(Span::from_nanos(10)), ..FREE });
    engine.batching.sequences = 1;
    let (done, pool) = on_both(engine, &[(0, batch(4, 4)), (2_000, ask(10, 1))]);
    // Two tokens at 1.4 and 2.6 us: 5 tokens are in the cache, 50 ns to move.
    let real_time = 2_600 + 2_000 + 50;
    assert_eq!(ends(&done), [real_time + 1_200 + 50 + 1_200, real_time]);
    let (_, swapped) = &done[&0];
    assert_eq!(swapped.spans, [Span::from_nanos(2_050), Span::ZERO, Span::ZERO, Span::ZERO]);
    assert_eq!(swapped.counts[3], 1, "it lost its place once");
    assert_eq!(done[&1].1.spans[3], Span::from_nanos(50), "real-time waited for what was moved out");
    assert_eq!(pool.told.gaps, BTreeMap::from([((0, 1_200), 2), ((0, 2_050 + 1_250), 1)]));
}

#[test]
fn a_prompt_that_is_not_finished_is_recomputed_where_others_are_swapped() {
    let swap = Preempt::Swap(Span::from_nanos(10));
    let mut engine = small_engine(Below { preempt: swap, chunk: Some(3), ..FREE });
    engine.batching.sequences = 1;
    // 3 of 8 prompt tokens are done when real-time comes, and nothing is moved.
    let (done, _) = on_both(engine, &[(0, batch(8, 1)), (1_000, ask(10, 1))]);
    let real_time = 1_300 + 2_000;
    assert_eq!(ends(&done), [real_time + 1_300 + 1_300 + 1_200, real_time]);
}

#[test]
fn batch_leaves_its_reserve_of_blocks_free_unless_the_replica_is_empty() {
    let ops = [(0, ask(8, 2)), (0, batch(4, 1))];
    let with_reserve = |reserve| {
        let mut engine = small_engine(Below { reserve, ..FREE });
        engine.kv.blocks = 4;
        ends(&on_both(engine, &ops).0)
    };
    assert_eq!(with_reserve(1), [2_200 + 1_200, 2_200]);
    // Two of four blocks are free, and two are to be left.
    assert_eq!(with_reserve(2), [1_800 + 1_200, 1_800 + 1_200 + 1_400]);
    assert_eq!(with_reserve(100), [1_800 + 1_200, 1_800 + 1_200 + 1_400]);
}

#[test]
fn the_chunk_of_a_batch_prompt_is_what_the_slowdown_leaves() {
    let below = Below { slowdown: Some(1_250), ..FREE };
    // Real-time decodes at 1.2 us a step: 300 ns are left, 3 prompt tokens of 7.
    let (done, _) = on_both(small_engine(below), &[(0, ask(4, 9)), (1_400, batch(7, 1))]);
    assert_eq!(ends(&done), [1_400 + 1_500 + 1_500 + 1_300 + 5 * 1_200, 1_400 + 1_500 + 1_500 + 1_300]);
    assert_eq!(done[&0].1.spans[3], Span::from_nanos(700));
}

#[test]
fn the_batch_of_a_replica_leaves_between_steps_and_the_rest_goes_on() {
    let reclaim = Op::Reclaim { replica: 0, to: 1 };
    let ops = [(0, ask(4, 4)), (0, batch(4, 4)), (2_000, reclaim)];
    let (done, pool) = on_both(small_engine(FREE), &ops);
    // Tokens at 1.8 and 3.2 us, when the step in flight is over; then real-time is alone.
    assert_eq!(done[&0].0.as_nanos() - START, 3_200 + 1_200 + 1_200);
    // 6 tokens are processed again on the other replica.
    assert_eq!(done[&1].0.as_nanos() - START, 3_200 + 1_600 + 1_200);
    assert_eq!((done[&1].1.replica, pool.watch.reclaimed), (1, 1));
    assert_eq!(done[&0].1.spans[3], Span::from_nanos(400 + 200), "a prompt of 4 and a token of batch");
}

#[test]
#[should_panic(expected = "only chunked batching keeps batch below real-time")]
fn whole_prompts_and_a_batch_below_do_not_go_together() {
    let mut engine = small_engine(FREE);
    engine.batching.policy = BatchPolicy::Whole;
    Pool::<Replica>::new(&engine, true);
}

#[test]
#[should_panic(expected = "this engine does not tell batch from real-time")]
fn a_batch_request_on_an_engine_of_one_class_is_a_broken_invariant() {
    let mut pool = Pool::<Replica>::new(&plain_engine(BatchPolicy::Chunked, 8, 8), true);
    pool.perform(batch(4, 1), Time::from_nanos(START));
}
