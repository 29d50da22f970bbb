//! The engine that ships against the plain one where the whole simulation does not reach: replicas that fail, slow
//! down, and are given KV caches that another pool computed. Random scripts drive both (and the shipping one without
//! skipping), each over a table of its own; timelines, gaps and samples must agree to the nanosecond.

use super::naive::NaiveReplica;
use super::scheduler::Replica;
use super::step_time::{LawBounds, LinearCoefficients, StepLaw, StepShape, TableData};
use super::{Departures, NORMAL, Site, Stepper};
use crate::observe::{GapRun, Observer, StepRun};
use crate::request::{Prefix, ReplicaId, RequestHead};
use crate::scenario::{BatchPolicy, Batching, Kv, LlmEngine};
use crate::table::{NEVER, Place, Slot, SlotId, Table};
use crate::time::{Span, Time};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::sync::Arc;

mod below;

const CONTEXT: u32 = 300;
const REPLICAS: ReplicaId = 2;

/// What happens to a pool of two replicas.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// A request arrives at a replica.
    Ask { replica: ReplicaId, prompt: u32, output: u32, identity: u8, lower: bool },
    /// A request arrives with the KV cache of its prompt and of all `told` tokens but the last.
    Carry { replica: ReplicaId, prompt: u32, output: u32, told: u32, ago_us: u64, identity: u8, lower: bool },
    /// The client of one of the requests under way goes.
    Cancel(u16),
    /// A replica fails; of its requests every `lost`-th is lost, the others go to replica `to`.
    Fail { replica: ReplicaId, lost: usize, to: ReplicaId },
    /// The batch of a replica is taken off it and goes to replica `to`.
    Reclaim { replica: ReplicaId, to: ReplicaId },
    /// A replica is slow from here on, or as fast as before.
    Slow { replica: ReplicaId, permille: u32 },
    /// A look at everything.
    Look,
}

#[derive(Clone, Debug)]
struct Script {
    engine: LlmEngine,
    /// Time since the one before, nanoseconds, and what happens then.
    ops: Vec<(u64, Op)>,
}

/// A request as the world sees it at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    number: usize,
    place: Place,
    replica: ReplicaId,
    tokens: u32,
    last: Time,
    counts: [u32; 4],
    times: [Time; 4],
    spans: [Span; 4],
    carried: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// `(waiting, running, kv_used)` of the replicas, their batch requests, and the requests under way.
    Look(Time, Vec<(u32, u32, u32)>, Vec<(u32, u32)>, Vec<Sight>),
    Started(Time, usize),
    Finished(Time, Sight),
    Ghost(Time, usize),
    Evicted(Time, ReplicaId, Sight),
}

/// What a script reached, for the test that it reaches anything.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    evicted_in_prefill: u32,
    evicted_in_decode: u32,
    evicted_waiting: u32,
    evicted_carried: u32,
    evicted_ghosts: u32,
    /// Failures in a run of several steps.
    evicted_in_run: u32,
    resumed: u32,
    /// Joins with a cache whose last block is full.
    carried_claims: u32,
    carried_joins: u32,
    carried_preempted: u32,
    slow_runs: u32,
}

/// Every gap, by workload and length.
#[derive(Debug, Default)]
struct Gaps {
    gaps: BTreeMap<(u16, u64), u64>,
    first_tokens: Vec<(Time, u16, Span)>,
    worked: [u64; REPLICAS as usize],
    longest_run: u64,
    /// The last run that was told.
    run: Option<StepRun>,
}

/// An engine whose steps can be looked into.
trait Engine: Stepper {
    /// The real-time part of the step in flight, and all of it.
    fn shapes(&self, table: &Table) -> Option<(StepShape, StepShape)>;
}

impl Engine for NaiveReplica {
    fn shapes(&self, table: &Table) -> Option<(StepShape, StepShape)> {
        self.is_stepping().then(|| NaiveReplica::shapes(self, table))
    }
}

impl Engine for Replica {
    fn shapes(&self, _table: &Table) -> Option<(StepShape, StepShape)> {
        None
    }
}

impl Observer for Gaps {
    fn first_token(&mut self, now: Time, workload: u16, _pool: u16, ttft: Span) {
        self.first_tokens.push((now, workload, ttft));
    }
    fn gaps(&mut self, run: &GapRun) {
        for step in 0..run.steps {
            let gap = run.gap(step).as_nanos();
            *self.gaps.entry((run.workload, gap)).or_default() += u64::from(run.count);
        }
    }
    fn worked(&mut self, run: &StepRun) {
        self.worked[usize::from(run.replica)] += (run.end - run.start).as_nanos();
        self.longest_run = run.steps;
        self.run = Some(*run);
    }
}

/// A pool of replicas of one kind, driven the way the hub does.
struct Pool<S> {
    table: Table,
    replicas: Vec<S>,
    ends: Vec<Option<Time>>,
    slow: Vec<u32>,
    /// Where the batch of a replica is to go when its step is over.
    reclaims: Vec<Option<ReplicaId>>,
    /// Slots of the requests under way, by number; `None` when over or gone.
    slots: Vec<Option<SlotId>>,
    out: Departures,
    told: Gaps,
    facts: Vec<Fact>,
    reach: Reach,
    was_carried: Vec<bool>,
    engine: LlmEngine,
    watch: below::Watch,
}

impl<S: Engine> Pool<S> {
    fn new(engine: &LlmEngine, skip: bool) -> Self {
        let site = |replica| Site { pool: 0, replica, workloads: vec![0, 1] };
        Pool {
            table: Table::default(),
            replicas: (0..REPLICAS).map(|replica| S::new(site(replica), engine, skip)).collect(),
            ends: vec![None; usize::from(REPLICAS)],
            slow: vec![NORMAL; usize::from(REPLICAS)],
            reclaims: vec![None; usize::from(REPLICAS)],
            slots: Vec::new(),
            out: Departures::default(),
            told: Gaps::default(),
            facts: Vec::new(),
            reach: Reach::default(),
            was_carried: Vec::new(),
            engine: engine.clone(),
            watch: below::Watch::default(),
        }
    }

    /// Runs the script, and on until nothing is under way.
    fn run(mut self, script: &Script) -> Self {
        let mut now = Time::from_nanos(1_000_000_000);
        for (index, &(gap, op)) in script.ops.iter().enumerate() {
            let at = now + Span::from_nanos(gap);
            // Steps that begin at an instant begin after everything else of it.
            if at > now {
                self.begin_all(now);
                self.end_steps_before(at);
                now = at;
                if matches!(op, Op::Look) {
                    self.look_before_steps_end(now);
                }
                self.end_steps_at(now);
            }
            self.perform(op, now);
            if matches!(op, Op::Look) || index.is_multiple_of(3) {
                self.catch_up(0, now);
                self.catch_up(1, now);
                self.look(now);
            }
        }
        self.end_steps_at(now);
        self.begin_all(now);
        self.end_steps_before(NEVER);
        self.look(NEVER);
        assert!(self.slots.iter().all(Option::is_none), "requests are left: {:?}", self.slots);
        assert_eq!(self.table.in_flight(), 0);
        self
    }

    fn end_steps_before(&mut self, limit: Time) {
        while let Some(first) = self.ends.iter().flatten().min().copied().filter(|end| *end < limit) {
            self.end_steps_at(first);
            self.begin_all(first);
        }
    }

    fn end_steps_at(&mut self, now: Time) {
        for replica in 0..usize::from(REPLICAS) {
            if self.ends[replica] == Some(now) {
                self.end_step(replica, now);
            }
        }
    }

    fn end_step(&mut self, replica: usize, now: Time) {
        self.ends[replica] = None;
        self.replicas[replica].finish(&mut self.table, &mut self.told, &mut self.out);
        self.watch.see_end(replica, &self.told);
        self.reach.slow_runs += u32::from(self.slow[replica] != NORMAL && self.told.longest_run > 2);
        self.depart(now);
        if let Some(to) = self.reclaims[replica].take() {
            self.reclaim(replica, to, now);
        }
    }

    fn depart(&mut self, now: Time) {
        for id in std::mem::take(&mut self.out.ghosts) {
            let number = self.table.head(id).index as usize;
            self.facts.push(Fact::Ghost(now, number));
            self.table.release(id);
        }
        for id in std::mem::take(&mut self.out.finished) {
            let sight = self.sight(id);
            assert_eq!(sight.tokens, self.table[id].output);
            self.slots[sight.number] = None;
            self.reach.carried_preempted +=
                u32::from(self.was_carried[sight.number] && self.table[id].preemptions > 0);
            self.facts.push(Fact::Finished(now, sight));
            self.table.release(id);
        }
    }

    fn begin_all(&mut self, now: Time) {
        for replica in 0..usize::from(REPLICAS) {
            if self.ends[replica].is_none() {
                let mut started = Vec::new();
                let live = self.slots.iter().flatten().copied();
                let brought: Vec<SlotId> = live.filter(|&id| self.table[id].carried).collect();
                let before = below::Before::of(self, replica);
                self.ends[replica] = self.replicas[replica].begin(&mut self.table, now, &mut started);
                before.compare(self, replica, now);
                for id in brought.into_iter().filter(|&id| !self.table[id].carried) {
                    self.reach.carried_joins += 1;
                    self.reach.carried_claims +=
                        u32::from(self.table[id].target.is_multiple_of(self.engine.kv.block_tokens));
                }
                for id in started {
                    self.facts.push(Fact::Started(now, self.table.head(id).index as usize));
                }
                assert_eq!(self.replicas[replica].is_stepping(), self.ends[replica].is_some());
            }
        }
    }

    /// Cuts a run to the step in flight, and ends that step when it ends now.
    fn catch_up(&mut self, replica: usize, now: Time) {
        if let Some(end) = self.replicas[replica].truncate(now) {
            self.ends[replica] = Some(end);
        }
        if self.ends[replica] == Some(now) {
            self.end_step(replica, now);
        }
    }

    fn perform(&mut self, op: Op, now: Time) {
        match op {
            Op::Ask { replica, prompt, output, identity, lower } => {
                let id = self.insert(prompt, output, identity, now);
                self.table[id].lower = lower;
                self.enqueue(replica, id, now);
            }
            Op::Carry { replica, prompt, output, told, ago_us, identity, lower } => {
                let id = self.insert(prompt, output, identity, now);
                let slot = &mut self.table[id];
                slot.lower = lower;
                let past = |us| Time::from_nanos(now.as_nanos() - us * 1_000);
                (slot.scheduled, slot.first_token) = (past(3 * ago_us), past(2 * ago_us));
                (slot.last_token, slot.left_at) = (past(ago_us), past(ago_us / 2));
                (slot.generated, slot.target) = (told, prompt + told - 1);
                slot.carried = true;
                *self.was_carried.last_mut().unwrap() = true;
                self.enqueue(replica, id, now);
            }
            Op::Cancel(pick) => {
                let live: Vec<SlotId> = self.slots.iter().flatten().copied().collect();
                let Some(&id) = live.get(usize::from(pick) % live.len().max(1)) else { return };
                self.catch_up(usize::from(self.table[id].replica), now);
                let number = self.table.head(id).index as usize;
                if self.slots[number].is_none() {
                    return;
                }
                self.slots[number] = None;
                let replica = usize::from(self.table[id].replica);
                if self.replicas[replica].cancel(&mut self.table, id) {
                    self.table.release(id);
                }
            }
            Op::Fail { replica, lost, to } => self.fail(usize::from(replica), lost, to, now),
            Op::Reclaim { replica, to } => self.reclaim(usize::from(replica), to, now),
            Op::Slow { replica, permille } => {
                self.catch_up(usize::from(replica), now);
                self.replicas[usize::from(replica)].set_slow(permille);
                self.slow[usize::from(replica)] = permille;
            }
            Op::Look => {}
        }
    }

    /// The look at the edge of a bin: a step that ends at this instant belongs to what comes after.
    fn look_before_steps_end(&mut self, now: Time) {
        for replica in 0..usize::from(REPLICAS) {
            if let Some(end) = self.replicas[replica].truncate(now) {
                self.ends[replica] = Some(end);
            }
        }
        self.look(now);
    }

    fn insert(&mut self, prompt: u32, output: u32, identity: u8, now: Time) -> SlotId {
        let shared = u64::from(identity % 3);
        let own = u64::from(identity / 16 % 4);
        let head = RequestHead {
            workload: u16::from(identity) % 2,
            tenant: 0,
            index: self.slots.len() as u64,
            prompt_tokens: prompt,
            max_tokens: None,
            session: 0,
            turn: 0,
            prefix: Prefix { shared, shared_tokens: if shared > 0 { prompt.min(48) } else { 0 }, own },
            body_bytes: None,
        };
        let id = self.table.insert(&head, None, now, 0);
        self.table[id].output = output;
        self.slots.push(Some(id));
        self.was_carried.push(false);
        id
    }

    fn enqueue(&mut self, replica: ReplicaId, id: SlotId, now: Time) {
        self.table[id].replica = replica;
        let replica = usize::from(replica);
        if self.replicas[replica].enqueue(&mut self.table, id) && self.ends[replica].is_some() {
            self.catch_up(replica, now);
        }
    }

    fn fail(&mut self, replica: usize, lost: usize, to: ReplicaId, now: Time) {
        self.catch_up(replica, now);
        let booked = self.told.worked[replica];
        self.replicas[replica].abandon(&mut self.table, &mut self.told, &mut self.out);
        self.reach.evicted_in_run += u32::from(self.told.worked[replica] > booked);
        self.ends[replica] = None;
        let places: BTreeMap<usize, Place> = {
            let live = self.slots.iter().enumerate();
            live.filter_map(|(number, id)| id.map(|id| (number, self.table[id].place))).collect()
        };
        self.replicas[replica].evict(&mut self.table, now, &mut self.out);
        let state = &self.replicas[replica];
        assert_eq!((state.waiting(), state.running(), state.kv_used()), (0, 0, 0));
        self.reach.evicted_ghosts += self.out.ghosts.len() as u32;
        self.depart(now);
        for (index, id) in std::mem::take(&mut self.out.evicted).into_iter().enumerate() {
            let sight = self.sight(id);
            let slot = &self.table[id];
            assert_eq!((slot.place, slot.computed, slot.shared_blocks), (Place::Waiting, 0, 0));
            assert_eq!((slot.target, slot.carried), (slot.prompt + slot.generated, false));
            assert_eq!(slot.left_at, NEVER);
            assert_eq!(slot.preempted_at == NEVER, slot.scheduled == NEVER);
            let (reach, number) = (&mut self.reach, sight.number);
            match places[&number] {
                Place::Prefill => reach.evicted_in_prefill += 1,
                Place::Decode => reach.evicted_in_decode += 1,
                _ => reach.evicted_waiting += 1,
            }
            reach.evicted_carried += u32::from(self.was_carried[number] && slot.generated > 0);
            self.facts.push(Fact::Evicted(now, replica as ReplicaId, sight));
            if lost > 0 && index.is_multiple_of(lost) {
                self.slots[number] = None;
                self.table.release(id);
            } else {
                self.reach.resumed += u32::from(self.table[id].generated > 0);
                self.enqueue(to, id, now);
            }
        }
    }

    fn sight(&self, id: SlotId) -> Sight {
        let slot = &self.table[id];
        let delivered = self.replicas[usize::from(slot.replica)].delivered(&self.table, id);
        Sight {
            number: self.table.head(id).index as usize,
            place: slot.place,
            replica: slot.replica,
            tokens: delivered.tokens,
            last: delivered.last,
            counts: [slot.target, slot.computed, slot.cached, slot.preemptions],
            times: [slot.scheduled, slot.first_token, slot.preempted_at, slot.left_at],
            spans: [
                slot.preempted,
                slot.preempted_before_first,
                slot.transfer,
                self.replicas[usize::from(slot.replica)].beside(&self.table, id),
            ],
            carried: slot.carried,
        }
    }

    /// The batch of a replica is taken off it when the step in flight is over.
    fn reclaim(&mut self, replica: usize, to: ReplicaId, now: Time) {
        self.catch_up(replica, now);
        if self.replicas[replica].is_stepping() {
            self.reclaims[replica] = Some(to);
            return;
        }
        let left = |pool: &Self| (pool.replicas[replica].waiting(), pool.replicas[replica].running());
        let before = left(self);
        self.replicas[replica].evict_lower(&mut self.table, now, &mut self.out);
        assert_eq!((left(self), self.replicas[replica].lower()), (before, (0, 0)));
        let evicted = std::mem::take(&mut self.out.evicted);
        self.watch.reclaimed += evicted.len() as u32;
        for &id in &evicted {
            assert!(self.table[id].lower);
            self.facts.push(Fact::Evicted(now, replica as ReplicaId, self.sight(id)));
        }
        for id in evicted {
            self.enqueue(to, id, now);
        }
    }

    fn look(&mut self, now: Time) {
        let replicas = self.replicas.iter().map(|s| (s.waiting(), s.running(), s.kv_used())).collect();
        let lower = self.replicas.iter().map(|s| s.lower()).collect();
        let sights: Vec<Sight> = self.slots.iter().flatten().map(|&id| self.sight(id)).collect();
        self.facts.push(Fact::Look(now, replicas, lower, sights));
    }
}

fn law(table: bool, quantum: Span, bounds: &LawBounds) -> StepLaw {
    if table {
        let rows = "kind,sequences,context_tokens,prefill_tokens,step_us\n\
                    decode,1,10,,210\ndecode,1,60,,233.337\ndecode,1,150,,290\n\
                    decode,8,10,,290\ndecode,8,60,,331\ndecode,8,150,,410.5\n\
                    prefill,,,16,170\nprefill,,,256,900\noverlap,,,,30\n";
        return StepLaw::table(&TableData::read(rows.as_bytes()).unwrap(), quantum, bounds).unwrap();
    }
    // Odd numbers, so that what a slow replica rounds shows.
    let coefficients = LinearCoefficients {
        base_fs: 200_000_000_007,
        per_sequence_fs: 2_000_000_011,
        per_prefill_token_fs: 5_000_000_003,
        per_decode_fs: 100_000_001,
        per_context_token_fs: 30_000_001,
    };
    StepLaw::linear(&coefficients, quantum, bounds).unwrap()
}

fn engine() -> impl Strategy<Value = LlmEngine> {
    let policy = prop_oneof![
        3 => Just(BatchPolicy::Chunked),
        2 => Just(BatchPolicy::Whole),
        1 => Just(BatchPolicy::Static)
    ];
    let tokens = prop_oneof![2 => 1u32..12, 2 => 12u32..400];
    let sequences = prop_oneof![2 => 1u32..6, 3 => 6u32..24];
    let quantum = prop::sample::select(vec![1u64, 1_000, 10_000]);
    // Tokens: a cache that just fits the longest request, or never fills.
    let spare = prop_oneof![3 => 0u32..60, 1 => 60u32..4_000];
    let block = prop::sample::select(vec![1u32, 4, 16]);
    let kv = (spare, block, 0u32..4, any::<bool>());
    (policy, tokens, sequences, any::<bool>(), quantum, kv).prop_map(
        |(
            policy,
            tokens,
            sequences,
            table,
            quantum,
            (spare, block_tokens, watermark_blocks, prefix_cache),
        )| {
            let most = tokens.max(sequences * CONTEXT);
            let bounds = LawBounds { sequences, tokens: most, sequence_tokens: CONTEXT };
            LlmEngine {
                law: Arc::new(law(table, Span::from_nanos(quantum), &bounds)),
                batching: Batching { policy, tokens, sequences },
                kv: Kv {
                    block_tokens,
                    blocks: (CONTEXT + spare).div_ceil(block_tokens) + watermark_blocks,
                    watermark_blocks,
                    prefix_cache,
                },
                context_tokens: CONTEXT,
                below: None,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let replica = || 0..REPLICAS;
    let prompt = || prop_oneof![2 => 1u32..40, 1 => 40u32..200];
    let output = || prop_oneof![1 => 1u32..3, 3 => 3u32..30, 2 => 30u32..100];
    let ask = (replica(), prompt(), output(), any::<u8>()).prop_map(|(replica, prompt, output, identity)| {
        Op::Ask { replica, prompt, output, identity, lower: false }
    });
    let told = prop_oneof![3 => Just(1u32), 1 => 1u32..20];
    // Often the same time ago, so that latest tokens tie.
    let ago = prop_oneof![2 => Just(700u64), 2 => 1u64..9_000];
    let carry = (replica(), prompt(), output(), told, ago, any::<u8>()).prop_map(
        |(replica, prompt, output, told, ago_us, identity)| {
            // It misses at least one token.
            let output = output.max(told + 1);
            Op::Carry { replica, prompt, output, told, ago_us, identity, lower: false }
        },
    );
    let fail =
        (replica(), 0usize..4, replica()).prop_map(|(replica, lost, to)| Op::Fail { replica, lost, to });
    let slow = (replica(), prop_oneof![1 => Just(NORMAL), 2 => NORMAL..4_000, 1 => NORMAL..100_000])
        .prop_map(|(replica, permille)| Op::Slow { replica, permille });
    prop_oneof![
        5 => ask,
        5 => carry,
        2 => any::<u16>().prop_map(Op::Cancel),
        1 => fail,
        1 => slow,
        2 => Just(Op::Look)
    ]
}

fn script() -> impl Strategy<Value = Script> {
    // Bursts, so that replicas fill; pauses, so that they run long; a coarse grid, so that instants tie with the ends
    // of steps.
    let gap = prop_oneof![
        4 => Just(0u64),
        3 => (0u64..40).prop_map(|tens| tens * 10_000),
        2 => 1u64..900_000,
        1 => 1_000_000u64..20_000_000
    ];
    (engine(), prop::collection::vec((gap, op()), 1..60)).prop_map(|(engine, ops)| Script { engine, ops })
}

fn assert_equal<A: Engine, B: Engine>(one: &Pool<A>, other: &Pool<B>) {
    for (index, (a, b)) in one.facts.iter().zip(&other.facts).enumerate() {
        assert_eq!(a, b, "fact {index}");
    }
    assert_eq!(one.facts.len(), other.facts.len());
    assert_eq!(one.told.gaps, other.told.gaps);
    assert_eq!(one.told.first_tokens, other.told.first_tokens);
    assert_eq!(one.told.worked, other.told.worked);
    let steps = |steps: u64, replica: &dyn Fn(usize) -> u64| steps + replica(0) + replica(1);
    assert_eq!(
        steps(0, &|index| one.replicas[index].steps()),
        steps(0, &|index| other.replicas[index].steps())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn failures_slow_steps_and_carried_caches_give_the_plain_engines_timelines_to_the_nanosecond(
        script in script(),
    ) {
        let plain = Pool::<NaiveReplica>::new(&script.engine, false).run(&script);
        let walking = Pool::<Replica>::new(&script.engine, false).run(&script);
        assert_equal(&plain, &walking);
        let skipping = Pool::<Replica>::new(&script.engine, true).run(&script);
        assert_equal(&plain, &skipping);
    }
}

/// The scripts must reach what they are there to reach.
#[test]
fn the_random_scripts_reach_failures_everywhere_and_every_fate_of_a_carried_cache() {
    let mut runner = TestRunner::deterministic();
    let (mut sum, mut skipped) = (Reach::default(), 0);
    for _ in 0..600 {
        let script = script().new_tree(&mut runner).unwrap().current();
        let pool = Pool::<Replica>::new(&script.engine, true).run(&script);
        let reach = pool.reach;
        sum.evicted_in_prefill += reach.evicted_in_prefill;
        sum.evicted_in_decode += reach.evicted_in_decode;
        sum.evicted_waiting += reach.evicted_waiting;
        sum.evicted_carried += reach.evicted_carried;
        sum.evicted_ghosts += reach.evicted_ghosts;
        sum.evicted_in_run += reach.evicted_in_run;
        sum.resumed += reach.resumed;
        sum.carried_claims += reach.carried_claims;
        sum.carried_joins += reach.carried_joins;
        sum.carried_preempted += reach.carried_preempted;
        sum.slow_runs += reach.slow_runs;
        skipped += u64::from(pool.told.longest_run > 2);
    }
    let Reach { evicted_in_prefill, evicted_in_decode, evicted_waiting, evicted_carried, .. } = sum;
    let least = evicted_in_prefill.min(evicted_in_decode).min(evicted_waiting).min(evicted_carried);
    assert!(least > 100, "{sum:?}");
    let Reach { evicted_ghosts, evicted_in_run, resumed, carried_claims, carried_joins, .. } = sum;
    let least = evicted_ghosts.min(evicted_in_run).min(resumed).min(carried_claims);
    assert!(least > 20 && carried_joins > 1_000, "{sum:?}");
    assert!(sum.carried_preempted > 50 && sum.slow_runs > 100, "{sum:?}");
    assert!(skipped > 100, "{skipped} scripts ended with a long run");
}

/// One microsecond a step and 100 ns a prompt token, whatever decodes.
fn plain_engine(policy: BatchPolicy, tokens: u32, sequences: u32) -> LlmEngine {
    let bounds = LawBounds { sequences, tokens: 1_000, sequence_tokens: CONTEXT };
    let coefficients = LinearCoefficients {
        base_fs: 1_000_000_000,
        per_prefill_token_fs: 100_000_000,
        ..LinearCoefficients::default()
    };
    LlmEngine {
        law: Arc::new(StepLaw::linear(&coefficients, Span::from_nanos(1), &bounds).unwrap()),
        batching: Batching { policy, tokens, sequences },
        kv: Kv { block_tokens: 4, blocks: 100, watermark_blocks: 0, prefix_cache: false },
        context_tokens: CONTEXT,
        below: None,
    }
}

/// What became of the requests that are done, by number.
fn finished<S: Engine>(pool: &Pool<S>) -> BTreeMap<usize, (Time, Sight)> {
    let done = pool.facts.iter().filter_map(|fact| match fact {
        Fact::Finished(at, sight) => Some((sight.number, (*at, sight.clone()))),
        _ => None,
    });
    done.collect()
}

const START: u64 = 1_000_000_000;

fn carry(prompt: u32, output: u32) -> Op {
    Op::Carry { replica: 0, prompt, output, told: 1, ago_us: 10, identity: 0, lower: false }
}

fn ask(prompt: u32, output: u32) -> Op {
    Op::Ask { replica: 0, prompt, output, identity: 0, lower: false }
}

/// Runs a script on both engines and gives the requests that are done.
fn on_both(engine: LlmEngine, ops: &[(u64, Op)]) -> (BTreeMap<usize, (Time, Sight)>, Pool<Replica>) {
    let script = Script { engine, ops: ops.to_vec() };
    let plain = Pool::<NaiveReplica>::new(&script.engine, false).run(&script);
    let fast = Pool::<Replica>::new(&script.engine, true).run(&script);
    assert_equal(&plain, &fast);
    (finished(&fast), fast)
}

#[test]
fn a_carried_cache_decodes_in_the_step_it_joins_and_its_first_gap_reaches_back_to_the_other_pool() {
    let (done, pool) = on_both(plain_engine(BatchPolicy::Chunked, 8, 8), &[(0, carry(8, 3))]);
    let (at, sight) = &done[&0];
    // Tokens 2 and 3 take a step each; no prompt is processed.
    assert_eq!(at.as_nanos(), START + 2_000);
    assert_eq!(pool.told.gaps, BTreeMap::from([((0, 11_000), 1), ((0, 1_000), 1)]));
    assert_eq!(sight.spans[2], Span::from_micros(5), "the cache left 5 us before it joined");
    assert!(pool.told.first_tokens.is_empty(), "the first token was told elsewhere");
    assert!(!pool.facts.iter().any(|fact| matches!(fact, Fact::Started(..))), "it was in a step before");
}

#[test]
fn a_carried_cache_joins_beside_a_prompt_only_where_steps_mix_both() {
    let ops = [(0, carry(8, 2)), (0, ask(4, 1))];
    let (done, _) = on_both(plain_engine(BatchPolicy::Chunked, 8, 8), &ops);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 1_400, START + 1_400));
    let (done, _) = on_both(plain_engine(BatchPolicy::Whole, 8, 8), &ops);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 1_000, START + 2_400));
    // In its turn: behind the prompt it joins the step after.
    let ops = [(0, ask(4, 1)), (0, carry(8, 2))];
    let (done, _) = on_both(plain_engine(BatchPolicy::Whole, 8, 8), &ops);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 1_400, START + 2_400));
}

#[test]
fn a_carried_cache_joins_a_static_batch_only_when_it_is_formed() {
    let ops = [(0, carry(8, 4)), (500, carry(8, 2))];
    let (done, _) = on_both(plain_engine(BatchPolicy::Static, 8, 8), &ops);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 3_000, START + 4_000));
    let (done, _) = on_both(plain_engine(BatchPolicy::Whole, 8, 8), &ops);
    assert_eq!(done[&1].0.as_nanos(), START + 2_000);
}

#[test]
fn a_carried_cache_waits_for_a_token_of_the_budget_and_for_blocks() {
    // The prompt takes the whole budget of its first step, and one of two tokens of the second.
    let (done, _) = on_both(plain_engine(BatchPolicy::Chunked, 2, 8), &[(0, ask(3, 1)), (0, carry(8, 2))]);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 2_300, START + 2_300));
    // A full last block: 3 blocks are asked for, of which the first request leaves 2 until it is done.
    let mut engine = plain_engine(BatchPolicy::Chunked, 8, 8);
    engine.kv.blocks = 4;
    let (done, _) = on_both(engine, &[(0, carry(7, 3)), (0, carry(8, 2))]);
    assert_eq!((done[&0].0.as_nanos(), done[&1].0.as_nanos()), (START + 2_000, START + 3_000));
}

#[test]
fn a_request_that_a_failure_took_off_is_computed_again_and_loses_no_token() {
    let fail = Op::Fail { replica: 0, lost: 0, to: 1 };
    // Prompt of 4: token 1 at 1.4 us, 2 at 2.4 us; the failure is at 3 us, in the step of token 3.
    let (done, pool) = on_both(plain_engine(BatchPolicy::Chunked, 8, 8), &[(0, ask(4, 4)), (3_000, fail)]);
    let (at, sight) = &done[&0];
    // 6 tokens are processed again on the other replica, which gives token 3; token 4 is a step on.
    assert_eq!(at.as_nanos(), START + 3_000 + 1_600 + 1_000);
    assert_eq!((sight.replica, sight.tokens), (1, 4));
    assert_eq!(sight.counts, [6, 6, 0, 0], "no preemption is counted");
    assert_eq!(sight.spans, [Span::from_nanos(1_600), Span::ZERO, Span::ZERO, Span::ZERO]);
    assert_eq!(pool.told.gaps, BTreeMap::from([((0, 1_000), 2), ((0, 2_200), 1)]));
    assert_eq!(pool.replicas[0].steps(), 2, "the step in flight never ended");
}

#[test]
fn a_cache_that_is_lost_before_it_joins_ends_its_journey_and_begins_a_loss() {
    let fail = Op::Fail { replica: 0, lost: 0, to: 1 };
    // The first request fills the only sequence until long after the failure.
    let ops = [(0, ask(4, 100)), (1, carry(8, 3)), (2_999, fail)];
    let (done, _) = on_both(plain_engine(BatchPolicy::Chunked, 16, 1), &ops);
    let (_, sight) = &done[&1];
    assert_eq!(sight.spans[2], Span::from_nanos(5_000 + 2_999));
    // 6 tokens are processed again and give token 3 of 100.
    let first = START + 3_000 + 1_600 + 97_000;
    assert_eq!(done[&0].0.as_nanos(), first);
    // 9 tokens are processed again and give token 2.
    assert_eq!(sight.spans[0], Span::from_nanos(first + 1_900 - START - 3_000));
}

#[test]
fn only_steps_that_begin_while_a_replica_is_slow_take_longer() {
    let slow = |permille| Op::Slow { replica: 0, permille };
    // Tokens at 1.4 and 2.4; slow in the third step, so that the fourth takes 2.5 us; normal again in the fifth.
    let ops = [(0, ask(4, 6)), (3_000, slow(2_500)), (3_000, slow(NORMAL))];
    let (done, _) = on_both(plain_engine(BatchPolicy::Chunked, 8, 8), &ops);
    assert_eq!(done[&0].0.as_nanos(), START + 1_400 + 1_000 + 1_000 + 2_500 + 2_500 + 1_000);
}

#[test]
#[should_panic(expected = "cannot belong to a prompt")]
fn a_carried_cache_of_another_length_is_a_broken_invariant() {
    let mut pool = Pool::<Replica>::new(&plain_engine(BatchPolicy::Chunked, 8, 8), true);
    pool.perform(carry(8, 3), Time::from_nanos(START));
    let id = pool.slots[0].unwrap();
    pool.table[id].target = 9;
    pool.begin_all(Time::from_nanos(START));
}
