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

use super::kv::block_key;
use super::scheduler::first_or_next_token;
use super::step_time::{StepLaw, StepShape};
use super::{Delivered, Departures, NORMAL, Site, Stepper, arrive, restart};
use crate::observe::{GapRun, Observer, StepLine, StepRun};
use crate::scenario::{BatchPolicy, Batching, Kv, LlmEngine};
use crate::table::{NEVER, Place, SlotId, Table};
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A replica that looks at every sequence in every step. Slow and obvious.
#[derive(Debug)]
pub struct NaiveReplica {
    site: Site,
    law: Arc<StepLaw>,
    batching: Batching,
    kv: BlockPool,
    waiting: VecDeque<SlotId>,
    /// In order of admission.
    batch: Vec<Member>,
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
}

impl Member {
    fn new(id: SlotId, context: u32, blocks: Vec<usize>, work: Work) -> Self {
        Member { id, context, blocks, work, decoding: work == Work::Token, ghost: false, done: false }
    }
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
}

/// KV blocks, one by one.
#[derive(Debug)]
struct BlockPool {
    rule: Kv,
    blocks: Vec<Block>,
    /// Blocks with neither user nor content.
    empty: Vec<usize>,
    by_key: BTreeMap<u64, usize>,
    releases: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    users: u32,
    key: Option<u64>,
    released: u64,
}

impl BlockPool {
    fn new(rule: Kv) -> Self {
        let count = rule.blocks as usize;
        BlockPool {
            rule,
            blocks: vec![Block::default(); count],
            empty: (0..count).collect(),
            by_key: BTreeMap::new(),
            releases: 0,
        }
    }

    fn evictable(&self) -> usize {
        self.by_key.values().filter(|&&block| self.blocks[block].users == 0).count()
    }

    fn free(&self) -> usize {
        self.empty.len() + self.evictable()
    }

    fn used(&self) -> usize {
        self.blocks.len() - self.free()
    }

    /// A block for one user: an empty one, else the least recently used content is dropped.
    fn take(&mut self) -> Option<usize> {
        let block = self.empty.pop().or_else(|| {
            let idle = self.by_key.values().copied().filter(|&block| self.blocks[block].users == 0);
            let oldest = idle.min_by_key(|&block| self.blocks[block].released)?;
            self.by_key.remove(&self.blocks[oldest].key.take().expect("cached blocks have a key"));
            Some(oldest)
        })?;
        self.blocks[block].users = 1;
        Some(block)
    }

    fn drop_user(&mut self, block: usize) {
        self.blocks[block].users -= 1;
        if self.blocks[block].users == 0 {
            if self.blocks[block].key.is_some() {
                self.releases += 1;
                self.blocks[block].released = self.releases;
            } else {
                self.empty.push(block);
            }
        }
    }

    fn release(&mut self, blocks: &mut Vec<usize>) {
        while let Some(block) = blocks.pop() {
            self.drop_user(block);
        }
    }

    /// Gives full blocks their content's key; a block whose content is cached already is exchanged for that one.
    fn publish(&mut self, table: &Table, member: &mut Member, tokens: u32) {
        if !self.rule.prefix_cache {
            return;
        }
        for index in 0..(tokens / self.rule.block_tokens) as usize {
            let own = member.blocks[index];
            if self.blocks[own].key.is_some() {
                continue;
            }
            let Some(key) = block_key(table, member.id, index as u32, self.rule.block_tokens) else { break };
            match self.by_key.get(&key).copied() {
                Some(cached) => {
                    self.blocks[cached].users += 1;
                    member.blocks[index] = cached;
                    self.drop_user(own);
                }
                None => {
                    self.blocks[own].key = Some(key);
                    self.by_key.insert(key, own);
                }
            }
        }
    }

    /// Cached leading blocks of the request's next prefill.
    fn lookup(&self, table: &Table, id: SlotId) -> Vec<usize> {
        let most = (table[id].target - 1) / self.rule.block_tokens;
        let cached = |index| {
            let key = block_key(table, id, index, self.rule.block_tokens)?;
            self.by_key.get(&key).copied()
        };
        if self.rule.prefix_cache { (0..most).map_while(cached).collect() } else { Vec::new() }
    }
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
        let mut member = self.batch.pop().expect("a sequence that needs a block is in the batch");
        self.kv.release(&mut member.blocks);
        restart(&mut table[member.id], now);
        table[member.id].preemptions += 1;
        self.waiting.push_front(member.id);
    }

    /// Step 2: admissions.
    fn admit(&mut self, table: &mut Table, now: Time, budget: &mut u32, started: &mut Vec<SlotId>) {
        let mut admitted = 0;
        while (self.batch.len() as u32) < self.batching.sequences {
            let Some(&id) = self.waiting.front() else { break };
            if table[id].carried {
                if self.batching.policy != BatchPolicy::Chunked
                    || *budget == 0
                    || !self.join_carried(table, id, now)
                {
                    break;
                }
                *budget -= 1;
                continue;
            }
            let cached = self.kv.lookup(table, id);
            let target = table[id].target;
            let computed = cached.len() as u32 * self.kv.rule.block_tokens;
            let todo = target - computed;
            let allowed = match self.batching.policy {
                BatchPolicy::Chunked => *budget > 0,
                BatchPolicy::Whole => todo <= *budget || admitted == 0,
                BatchPolicy::Static => true,
            };
            let need = target.div_ceil(self.kv.rule.block_tokens) as usize - cached.len();
            let revived = cached.iter().filter(|&&block| self.kv.blocks[block].users == 0).count();
            let reserve = if self.batch.is_empty() { 0 } else { self.kv.rule.watermark_blocks as usize };
            if !allowed || self.kv.free() < need + revived + reserve {
                break;
            }
            self.waiting.pop_front();
            let mut blocks = cached;
            for &block in &blocks {
                self.kv.blocks[block].users += 1;
            }
            for _ in 0..need {
                blocks.push(self.kv.take().expect("free blocks were counted"));
            }
            let chunk = if self.batching.policy == BatchPolicy::Chunked { todo.min(*budget) } else { todo };
            *budget = budget.saturating_sub(chunk);
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
            admitted += 1;
            self.batch.push(Member::new(id, target, blocks, Work::Chunk(chunk)));
        }
    }

    /// The first of the waiting line joins the decoding sequences with its KV cache, when that has room.
    fn join_carried(&mut self, table: &mut Table, id: SlotId, now: Time) -> bool {
        let context = table[id].target;
        let need = (context + 1).div_ceil(self.kv.rule.block_tokens) as usize;
        let reserve = if self.batch.is_empty() { 0 } else { self.kv.rule.watermark_blocks as usize };
        if self.kv.free() < need + reserve {
            return false;
        }
        self.waiting.pop_front();
        let blocks = (0..need).map(|_| self.kv.take().expect("free blocks were counted")).collect();
        arrive(&mut table[id], now, self.admissions);
        self.admissions = self.admissions.wrapping_add(1);
        let mut member = Member::new(id, context, blocks, Work::Token);
        self.kv.publish(table, &mut member, context);
        self.batch.push(member);
        true
    }

    fn shape(&self, table: &Table) -> StepShape {
        let mut shape = StepShape::default();
        for member in &self.batch {
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
            table[id].place = Place::Ghost;
        }
        member.done
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
            batch: Vec::new(),
            step: None,
            admissions: 0,
            steps: 0,
            slow: NORMAL,
        }
    }

    fn enqueue(&mut self, table: &mut Table, id: SlotId) -> bool {
        table[id].place = Place::Waiting;
        self.waiting.push_back(id);
        true
    }

    fn cancel(&mut self, table: &mut Table, id: SlotId) -> bool {
        if let Some(index) = self.waiting.iter().position(|&waiting| waiting == id) {
            self.waiting.remove(index);
            return true;
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
        true
    }

    fn delivered(&self, table: &Table, id: SlotId) -> Delivered {
        Delivered { tokens: table[id].generated, last: table[id].last_token }
    }

    fn begin(&mut self, table: &mut Table, now: Time, started: &mut Vec<SlotId>) -> Option<Time> {
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
                        if !carried.is_some_and(|id| self.join_carried(table, id, now)) {
                            break;
                        }
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
        let mut plan = self.law.plan(&shape);
        if self.slow != NORMAL {
            plan = plan.slowed(&shape, self.slow);
        }
        let end = now + plan.line.step(0);
        self.step = Some(Step { start: now, end, shape, outside_range: plan.outside_range });
        Some(end)
    }

    fn truncate(&mut self, _now: Time) -> Option<Time> {
        None
    }

    fn finish(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures) {
        let step = self.step.take().expect("a step is in flight");
        self.steps += 1;
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
            outside_range: u64::from(step.outside_range),
        });
        let mut batch = std::mem::take(&mut self.batch);
        for member in batch.iter_mut().filter(|member| member.ghost) {
            self.kv.release(&mut member.blocks);
            out.ghosts.push(member.id);
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
        for member in self.batch.drain(..) {
            if member.ghost {
                out.ghosts.push(member.id);
            } else {
                restart(&mut table[member.id], now);
                out.evicted.push(member.id);
            }
        }
        for id in self.waiting.drain(..) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
        self.kv = BlockPool::new(self.kv.rule);
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
        self.batch.len() as u32
    }

    fn kv_used(&self) -> u32 {
        self.kv.used() as u32
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}
