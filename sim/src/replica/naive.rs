//! The reference replica: the rules of batching stated the plain way, O(batch) a step.
//!
//! A step of the chunked policy:
//! 1. In order of admission, every decoding sequence gets one token; one whose context fills its last KV block
//!    first needs a new one, and while there is none the sequence admitted last loses its cache and goes back to the
//!    front of the waiting line (recompute preemption). The unfinished prefill gets what is left of the token budget.
//! 2. If nobody lost its cache, requests are admitted in order of arrival while sequences, budget and KV blocks (for
//!    the whole prompt, above the watermark) last; each gets the part of its prompt that the budget allows.
//!
//! Under the whole-prompt policy a step is either of the second kind (whole prompts) or, when nobody can be
//! admitted, of the first. Under the static policy requests are admitted only to an empty batch. A finished prefill
//! emits a token at the end of its step.
//!
//! A request that brings the KV cache of its prompt along (another pool computed it) is admitted in its turn to a step
//! that decodes, once the others have their blocks: it needs blocks for its context and the token to come, takes one
//! token of the budget, and gets its next token in that very step. Thus a step of the whole-prompt policy, and a batch
//! of the static one, begins with requests of one kind.
//!
//! Where batch is kept below real-time, a step is formed by the rules in `naive/below.rs`.

mod below;
mod blocks;

use super::scheduler::first_or_next_token;
use super::step_time::{StepLaw, StepShape};
use super::{Delivered, Departures, NORMAL, Site, Stepper, arrive, beside_at, restart};
use crate::observe::{GapRun, Observer, StepLine, StepRun};
use crate::scenario::{BatchPolicy, Batching, LlmEngine};
use crate::table::{NEVER, Place, SlotId, Table};
use crate::time::{Span, Time};
use below::Rules;
use blocks::BlockPool;
use std::collections::VecDeque;
use std::sync::Arc;

/// A replica that looks at every sequence in every step. Slow and obvious.
#[derive(Debug)]
pub struct NaiveReplica {
    site: Site,
    law: Arc<StepLaw>,
    batching: Batching,
    kv: BlockPool,
    waiting: VecDeque<SlotId>,
    /// How batch is kept below real-time, where it is.
    rules: Option<Rules>,
    /// Batch requests that wait.
    lower_waiting: VecDeque<SlotId>,
    /// Both classes, in order of admission.
    batch: Vec<Member>,
    /// Whether batch may find room that it did not find before.
    changed: bool,
    /// Sequences parked so far.
    parkings: u64,
    /// Nanoseconds by which steps were longer than without batch, modulo 2^64.
    beside: u64,
    step: Option<Step>,
    admissions: u32,
    steps: u64,
    /// Length of a step in thousandths of what the law says.
    slow: u32,
}

#[derive(Clone, Debug)]
struct Member {
    id: SlotId,
    /// Tokens in the KV cache.
    context: u32,
    /// KV blocks, in order.
    blocks: Vec<usize>,
    /// What the step in flight does for it.
    work: Work,
    decoding: bool,
    ghost: bool,
    done: bool,
    lower: bool,
    /// Which of all parkings was its own, while it is parked.
    parked: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Nothing,
    Token,
    Chunk(u32),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    start: Time,
    end: Time,
    shape: StepShape,
    outside_range: bool,
    /// Nanoseconds by which it is longer than without batch, modulo 2^64.
    beside: u64,
}

impl NaiveReplica {
    /// Step 1: tokens for decodes (with preemption), the rest of the unfinished prefill. Returns whether anybody
    /// lost its cache.
    fn serve_batch(&mut self, table: &mut Table, now: Time, budget: &mut u32) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.batch.len() {
            if !self.batch[index].decoding {
                let member = &mut self.batch[index];
                let chunk = (table[member.id].target - table[member.id].computed).min(*budget);
                if chunk > 0 {
                    member.work = Work::Chunk(chunk);
                    *budget -= chunk;
                }
                index += 1;
                continue;
            }
            if self.batch[index].context.is_multiple_of(self.kv.rule.block_tokens) {
                match self.kv.take() {
                    Some(block) => self.batch[index].blocks.push(block),
                    None => {
                        self.preempt_last(table, now);
                        preempted = true;
                        continue;
                    }
                }
            }
            self.batch[index].work = Work::Token;
            if self.batching.policy == BatchPolicy::Chunked {
                *budget -= 1;
            }
            index += 1;
        }
        preempted
    }

    fn preempt_last(&mut self, table: &mut Table, now: Time) {
        let last = self.batch.iter().rposition(|member| !member.lower);
        let mut member = self.batch.remove(last.expect("a sequence that needs a block is in the batch"));
        self.kv.release(&mut member.blocks);
        self.note_beside(table, member.id);
        restart(&mut table[member.id], now);
        table[member.id].preemptions += 1;
        self.waiting.push_front(member.id);
        self.changed = true;
    }

    /// A real-time request leaves the batch.
    fn note_beside(&self, table: &mut Table, id: SlotId) {
        table[id].beside = beside_at(&table[id], self.beside);
    }

    /// Step 2: admissions.
    fn admit(&mut self, table: &mut Table, now: Time, budget: &mut u32, started: &mut Vec<SlotId>) {
        let mut admitted = 0;
        while (self.batch.len() as u32) < self.batching.sequences {
            let Some(&id) = self.waiting.front() else { break };
            if table[id].carried {
                if self.batching.policy != BatchPolicy::Chunked
                    || *budget == 0
                    || !self.has_room_for_carried(table, id, 0)
                {
                    break;
                }
                self.waiting.pop_front();
                self.join_carried(table, id, now);
                *budget -= 1;
                continue;
            }
            let cached = self.kv.lookup(table, id);
            let todo = table[id].target - cached.len() as u32 * self.kv.rule.block_tokens;
            let allowed = match self.batching.policy {
                BatchPolicy::Chunked => *budget > 0,
                BatchPolicy::Whole => todo <= *budget || admitted == 0,
                BatchPolicy::Static => true,
            };
            if !allowed || !self.has_room_for(table, id, &cached, 0) {
                break;
            }
            self.waiting.pop_front();
            let chunk = if self.batching.policy == BatchPolicy::Chunked { todo.min(*budget) } else { todo };
            *budget = budget.saturating_sub(chunk);
            self.seat(table, id, cached, chunk, now, started);
            admitted += 1;
        }
    }

    /// Whether there are blocks for the whole prompt of a request of which `cached` are there, the watermark and `reserve`
    /// staying free.
    fn has_room_for(&self, table: &Table, id: SlotId, cached: &[usize], reserve: u32) -> bool {
        let need = table[id].target.div_ceil(self.kv.rule.block_tokens) as usize - cached.len();
        let revived = cached.iter().filter(|&&block| self.kv.blocks[block].users == 0).count();
        self.kv.free() >= need + revived + self.spare(reserve)
    }

    /// Whether there are blocks for the KV cache that a request brings, and its next token.
    fn has_room_for_carried(&self, table: &Table, id: SlotId, reserve: u32) -> bool {
        let need = (table[id].target + 1).div_ceil(self.kv.rule.block_tokens) as usize;
        self.kv.free() >= need + self.spare(reserve)
    }

    /// Blocks that stay free when a request is admitted; none when the replica is empty.
    fn spare(&self, reserve: u32) -> usize {
        if self.batch.is_empty() { 0 } else { (self.kv.rule.watermark_blocks + reserve) as usize }
    }

    /// A request is admitted, with the blocks that are cached and new ones for the rest of its prompt.
    fn seat(
        &mut self,
        table: &mut Table,
        id: SlotId,
        cached: Vec<usize>,
        chunk: u32,
        now: Time,
        started: &mut Vec<SlotId>,
    ) {
        let target = table[id].target;
        let computed = cached.len() as u32 * self.kv.rule.block_tokens;
        let mut blocks = cached;
        for &block in &blocks {
            self.kv.blocks[block].users += 1;
        }
        while blocks.len() < target.div_ceil(self.kv.rule.block_tokens) as usize {
            blocks.push(self.kv.take().expect("free blocks were counted"));
        }
        let slot = &mut table[id];
        slot.place = Place::Prefill;
        slot.computed = computed;
        slot.admitted = self.admissions;
        if slot.scheduled == NEVER {
            slot.scheduled = now;
            started.push(id);
            slot.cached = computed;
        }
        self.admissions = self.admissions.wrapping_add(1);
        self.push(table, id, target, blocks, Work::Chunk(chunk));
    }

    /// A request joins the decoding sequences with its KV cache.
    fn join_carried(&mut self, table: &mut Table, id: SlotId, now: Time) {
        let context = table[id].target;
        let need = (context + 1).div_ceil(self.kv.rule.block_tokens);
        let blocks = (0..need).map(|_| self.kv.take().expect("free blocks were counted")).collect();
        arrive(&mut table[id], now, self.admissions);
        self.admissions = self.admissions.wrapping_add(1);
        self.push(table, id, context, blocks, Work::Token);
        self.changed = true;
        let mut member = self.batch.pop().expect("it joined");
        self.kv.publish(table, &mut member, context);
        self.batch.push(member);
    }

    fn push(&mut self, table: &mut Table, id: SlotId, context: u32, blocks: Vec<usize>, work: Work) {
        let (decoding, lower) = (work == Work::Token, table[id].lower);
        table[id].beside_from = self.beside;
        let (ghost, done, parked) = (false, false, None);
        self.batch.push(Member { id, context, blocks, work, decoding, ghost, done, lower, parked });
    }

    fn shape(&self, table: &Table) -> StepShape {
        self.shape_of(table, |_| true)
    }

    /// The real-time part of the step in flight, and all of it.
    #[cfg(test)]
    pub(super) fn shapes(&self, table: &Table) -> (StepShape, StepShape) {
        (self.shape_of(table, |member| !member.lower), self.shape(table))
    }

    fn shape_of(&self, table: &Table, counts: impl Fn(&Member) -> bool) -> StepShape {
        let mut shape = StepShape::default();
        for member in self.batch.iter().filter(|member| counts(member)) {
            match member.work {
                Work::Nothing => continue,
                Work::Token => {
                    shape.decodes += 1;
                    shape.context_tokens += u64::from(member.context);
                }
                Work::Chunk(chunk) => {
                    let start = u64::from(table[member.id].computed);
                    shape.prefill_tokens += chunk;
                    shape.prefill_context += start;
                    shape.prefill_attention += u64::from(chunk) * (2 * start + u64::from(chunk));
                }
            }
            shape.sequences += 1;
        }
        shape
    }

    /// Books a member's work at the end of a step; returns whether it is done.
    fn settle(
        &mut self,
        table: &mut Table,
        member: &mut Member,
        now: Time,
        observer: &mut impl Observer,
    ) -> bool {
        let id = member.id;
        match member.work {
            Work::Nothing => {}
            Work::Token => {
                member.context += 1;
                observer.gaps(&single_gap(table, id, now));
                table[id].generated += 1;
                table[id].last_token = now;
            }
            Work::Chunk(chunk) => {
                table[id].computed += chunk;
                if table[id].computed == table[id].target {
                    first_or_next_token(table, id, now, observer);
                    table[id].last_token = now;
                    table[id].place = Place::Decode;
                    member.decoding = true;
                    self.changed = true;
                    let target = table[id].target;
                    self.kv.publish(table, member, target);
                }
            }
        }
        member.work = Work::Nothing;
        member.done = member.decoding && table[id].generated == table[id].output;
        if member.done {
            let context = member.context;
            self.kv.publish(table, member, context);
            self.kv.release(&mut member.blocks);
            if !member.lower {
                self.note_beside(table, id);
            }
            table[id].place = Place::Ghost;
            self.changed = true;
        }
        member.done
    }

    /// Begins a step of a shape that moves caches to and from the host for `swap`, and would be `upper` without batch.
    fn launch(&mut self, now: Time, shape: StepShape, upper: StepShape, swap: Span) -> Time {
        let plan = |shape: &StepShape| {
            let plan = self.law.plan(shape);
            if self.slow == NORMAL { plan } else { plan.slowed(shape, self.slow) }
        };
        let with = plan(&shape);
        let length = with.line.step(0) + swap;
        let without = if upper.sequences > 0 { plan(&upper).line.step(0) } else { length };
        let beside = length.as_nanos().wrapping_sub(without.as_nanos());
        let end = now + length;
        self.step = Some(Step { start: now, end, shape, outside_range: with.outside_range, beside });
        end
    }
}

fn single_gap(table: &Table, id: SlotId, now: Time) -> GapRun {
    GapRun {
        workload: table[id].workload,
        pool: table[id].pool,
        count: 1,
        first: now - table[id].last_token,
        steps: 1,
        line: StepLine { a: 1_000_000, b: 0, quantum_fs: 1_000_000 },
        first_end: now,
        last_start: now,
        end: now,
    }
}

impl Stepper for NaiveReplica {
    fn new(site: Site, engine: &LlmEngine, _skip: bool) -> Self {
        NaiveReplica {
            site,
            law: Arc::clone(&engine.law),
            batching: engine.batching,
            kv: BlockPool::new(engine.kv),
            waiting: VecDeque::new(),
            rules: engine.below.map(|below| Rules::new(below, engine.batching.policy)),
            lower_waiting: VecDeque::new(),
            batch: Vec::new(),
            changed: false,
            parkings: 0,
            beside: 0,
            step: None,
            admissions: 0,
            steps: 0,
            slow: NORMAL,
        }
    }

    fn enqueue(&mut self, table: &mut Table, id: SlotId) -> bool {
        table[id].place = Place::Waiting;
        if table[id].lower {
            assert!(self.rules.is_some(), "this engine does not tell batch from real-time");
            self.changed |= self.lower_waiting.is_empty();
            self.lower_waiting.push_back(id);
        } else {
            self.waiting.push_back(id);
        }
        true
    }

    fn cancel(&mut self, table: &mut Table, id: SlotId) -> bool {
        for line in [&mut self.waiting, &mut self.lower_waiting] {
            if let Some(index) = line.iter().position(|&waiting| waiting == id) {
                line.remove(index);
                return true;
            }
        }
        let index =
            self.batch.iter().position(|member| member.id == id).expect("the request is on this replica");
        table[id].place = Place::Ghost;
        if self.step.is_some() {
            self.batch[index].ghost = true;
            return false;
        }
        let mut member = self.batch.remove(index);
        self.kv.release(&mut member.blocks);
        self.changed = true;
        true
    }

    fn delivered(&self, table: &Table, id: SlotId) -> Delivered {
        Delivered { tokens: table[id].generated, last: table[id].last_token }
    }

    fn beside(&self, table: &Table, id: SlotId) -> Span {
        let is_upper = |member: &Member| member.id == id && !member.lower && !member.ghost;
        if self.batch.iter().any(is_upper) { beside_at(&table[id], self.beside) } else { table[id].beside }
    }

    fn begin(&mut self, table: &mut Table, now: Time, started: &mut Vec<SlotId>) -> Option<Time> {
        if let Some(rules) = self.rules {
            return self.begin_below(&rules, table, now, started);
        }
        let mut budget = self.batching.tokens;
        match self.batching.policy {
            BatchPolicy::Chunked => {
                if !self.serve_batch(table, now, &mut budget) {
                    self.admit(table, now, &mut budget, started);
                }
            }
            BatchPolicy::Whole | BatchPolicy::Static => {
                let open = self.batching.policy == BatchPolicy::Whole || self.batch.is_empty();
                if open {
                    self.admit(table, now, &mut budget, started);
                }
                if self.batch.iter().all(|member| member.work == Work::Nothing) {
                    let preempted = self.serve_batch(table, now, &mut budget);
                    while open && !preempted && (self.batch.len() as u32) < self.batching.sequences {
                        let carried = self.waiting.front().copied().filter(|&id| table[id].carried);
                        let fits = |id: &SlotId| self.has_room_for_carried(table, *id, 0);
                        let Some(id) = carried.filter(fits) else { break };
                        self.waiting.pop_front();
                        self.join_carried(table, id, now);
                    }
                }
            }
        }
        let shape = self.shape(table);
        if shape.sequences == 0 {
            assert!(
                self.batch.is_empty() && self.waiting.is_empty(),
                "a replica with work must make progress"
            );
            return None;
        }
        Some(self.launch(now, shape, shape, Span::ZERO))
    }

    fn truncate(&mut self, _now: Time) -> Option<Time> {
        None
    }

    fn finish(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures) {
        let step = self.step.take().expect("a step is in flight");
        self.steps += 1;
        self.beside = self.beside.wrapping_add(step.beside);
        observer.worked(&StepRun {
            pool: self.site.pool,
            replica: self.site.replica,
            start: step.start,
            last_start: step.start,
            end: step.end,
            steps: 1,
            busy: 1,
            decodes: step.shape.decodes,
            prefill_tokens: step.shape.prefill_tokens,
            context_tokens: step.shape.context_tokens,
            outside_range: u64::from(step.outside_range),
        });
        let mut batch = std::mem::take(&mut self.batch);
        for member in batch.iter_mut().filter(|member| member.ghost) {
            self.kv.release(&mut member.blocks);
            out.ghosts.push(member.id);
            self.changed = true;
        }
        batch.retain(|member| !member.ghost);
        // Those that decoded first: one that came with its cache may have been admitted behind a prompt of this step.
        for prompts in [false, true] {
            for member in &mut batch {
                if matches!(member.work, Work::Chunk(_)) == prompts
                    && self.settle(table, member, step.end, observer)
                {
                    out.finished.push(member.id);
                }
            }
        }
        batch.retain(|member| !member.done);
        self.batch = batch;
    }

    fn abandon(&mut self, _table: &mut Table, _observer: &mut impl Observer, _out: &mut Departures) {
        self.step = None;
        for member in &mut self.batch {
            member.work = Work::Nothing;
        }
    }

    fn evict(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        assert!(self.step.is_none(), "a replica cannot fail in a step: it is abandoned first");
        for member in std::mem::take(&mut self.batch) {
            if member.ghost {
                out.ghosts.push(member.id);
                continue;
            }
            if !member.lower {
                self.note_beside(table, member.id);
            }
            restart(&mut table[member.id], now);
            out.evicted.push(member.id);
        }
        for id in self.waiting.drain(..).chain(self.lower_waiting.drain(..)) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
        self.kv = BlockPool::new(self.kv.rule);
    }

    fn evict_lower(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        assert!(self.step.is_none(), "batch leaves between steps");
        let (lower, upper) = std::mem::take(&mut self.batch).into_iter().partition(|member| member.lower);
        self.batch = upper;
        let lower: Vec<Member> = lower;
        for mut member in lower {
            self.kv.release(&mut member.blocks);
            restart(&mut table[member.id], now);
            out.evicted.push(member.id);
            self.changed = true;
        }
        for id in self.lower_waiting.drain(..) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
    }

    fn set_slow(&mut self, permille: u32) {
        self.law.assert_slow(permille);
        self.slow = permille;
    }

    fn is_stepping(&self) -> bool {
        self.step.is_some()
    }

    fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    fn running(&self) -> u32 {
        self.batch.iter().filter(|member| !member.lower).count() as u32
    }

    fn lower(&self) -> (u32, u32) {
        let members = self.batch.iter().filter(|member| member.lower).count();
        (self.lower_waiting.len() as u32, members as u32)
    }

    fn kv_used(&self) -> u32 {
        self.kv.used() as u32
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}
