//! The replica that ships: continuous batching in O(1 + joins + finishes) a step, with skipping ahead.
//!
//! Every decoding sequence gains one token a step, so what a step needs to know about them is kept as aggregates:
//! how many there are, the sum of their contexts, and how many cross into a new KV block at each residue of the
//! replica's decode clock. A member is touched when it joins and when it leaves, never in between. While nothing
//! joins or leaves, steps follow a [`StepLine`] and a whole run of them is one event.
//!
//! The rules themselves (who joins when, who loses its cache) are stated plainly in [`super::naive`]; change both.
//!
//! Where batch is kept below real-time, its sequences are a cohort of their own (`lower.rs`) with aggregates of its own,
//! so that it can pause while the others go on; `below.rs` forms and ends the steps of both.

mod below;
mod lower;

use super::decoding::Decoding;
use super::kv::{Hit, KvCache};
use super::step_time::{StepLaw, StepShape};
use super::{Delivered, Departures, NORMAL, Site, Stepper, arrive, beside_at, restart};
use crate::observe::{GapRun, Observer, StepLine, StepRun};
use crate::request::WorkloadId;
use crate::scenario::{BatchPolicy, Batching, LlmEngine};
use crate::table::{List, NEVER, Place, Slot, SlotId, Table};
use crate::time::{Span, Time};
use lower::Lower;
use std::cmp::Reverse;
use std::sync::Arc;

/// A replica with continuous batching. See the module's documentation.
#[derive(Debug)]
pub struct Replica {
    site: Site,
    law: Arc<StepLaw>,
    batching: Batching,
    skip: bool,
    kv: KvCache,
    waiting: List,
    /// Members of the batch, ghosts included.
    running: u32,
    /// Stack of `(slot, admission)`; entries whose request has left are void and swept now and then.
    order: Vec<(SlotId, u32)>,
    admissions: u32,
    decoding: Decoding,
    /// The prefill that is not finished yet, when the batch has one; always the last admitted.
    partial: Option<SlotId>,
    /// Prompt chunks of the step in flight.
    chunks: Vec<(SlotId, u32)>,
    ghosts: Vec<SlotId>,
    run: Option<Run>,
    steps: u64,
    /// Length of a step in thousandths of what the law says.
    slow: u32,
    /// The batch cohort, where it is kept below real-time; everything above (but the chunks, ghosts and counters) is
    /// about the others then.
    lower: Option<Box<Lower>>,
}

/// Marks, in [`Slot::joined`], a ghost that had not joined the decoding sequences.
const PREFILLING: u64 = u64::MAX;
/// Marks a ghost that was parked.
const PARKED: u64 = u64::MAX - 1;

/// Steps in flight.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Time,
    line: StepLine,
    steps: u64,
    /// End of the last step but one.
    last_start: Time,
    end: Time,
    decodes: u32,
    prefill_tokens: u32,
    /// Of all that decode, before the first step.
    context_tokens: u64,
    outside_range: bool,
}

/// Whether the request of a slot is still the member of the batch of `site` that was admitted as number `admitted`.
#[inline]
fn is_member(site: &Site, slot: &Slot, admitted: u32) -> bool {
    matches!(slot.place, Place::Decode | Place::Prefill | Place::Parked)
        && slot.admitted == admitted
        && slot.replica == site.replica
        && slot.pool == site.pool
}

impl Replica {
    /// Claims the KV blocks that the decoding sequences need in this step; those admitted last lose theirs when
    /// there are not enough. Returns whether any did.
    #[inline]
    fn claim_blocks(&mut self, table: &mut Table, now: Time) -> bool {
        // Blocks go out in order of admission until there are none: what is evicted by then stays evicted, although
        // the caches that are lost next would have made room.
        let mut claimed = 0;
        let mut preempted = false;
        loop {
            let granted = (self.decoding.demand(0) - claimed).min(self.kv.free());
            self.kv.take(granted);
            claimed += granted;
            if claimed == self.decoding.demand(0) {
                return preempted;
            }
            self.preempt_last(table, now);
            preempted = true;
        }
    }

    /// The member admitted last loses its cache; returns it.
    fn preempt_last(&mut self, table: &mut Table, now: Time) -> SlotId {
        let id = loop {
            let (id, admitted) = self.order.pop().expect("a batch that needs blocks has members");
            if is_member(&self.site, &table[id], admitted) {
                break id;
            }
        };
        let context = if table[id].place == Place::Decode {
            self.decoding.leave(table, id)
        } else {
            assert_eq!(self.partial.take(), Some(id), "between steps only one prefill is unfinished");
            table[id].target
        };
        self.kv.release(table, id, context);
        self.running -= 1;
        restart(&mut table[id], now);
        table[id].preemptions += 1;
        self.waiting.push_front(table, id);
        id
    }

    /// Admits from the waiting line while sequences, KV blocks and `budget` prompt tokens last.
    fn admit(
        &mut self,
        table: &mut Table,
        now: Time,
        budget: &mut u32,
        shape: &mut StepShape,
        started: &mut Vec<SlotId>,
    ) {
        while self.running < self.batching.sequences {
            let Some(id) = self.waiting.first() else { break };
            if table[id].carried {
                if self.batching.policy != BatchPolicy::Chunked
                    || *budget == 0
                    || !self.join_carried(table, id, now, shape, self.running == 0)
                {
                    break;
                }
                *budget -= 1;
                continue;
            }
            let hit = self.kv.lookup(table, id);
            let cached = hit.blocks * self.kv.block_tokens();
            let todo = table[id].target - cached;
            let fits_budget = match self.batching.policy {
                BatchPolicy::Chunked => *budget > 0,
                BatchPolicy::Whole => todo <= *budget || self.chunks.is_empty(),
                BatchPolicy::Static => true,
            };
            let need = self.kv.blocks_for(table[id].target) - hit.blocks;
            if !fits_budget || !self.kv.admits(need, hit, self.running == 0, 0) {
                break;
            }
            self.waiting.remove(table, id);
            let admitted = self.seat(table, id, hit, need, now, started);
            self.order.push((id, admitted));
            self.running += 1;
            let chunk = if self.batching.policy == BatchPolicy::Chunked { todo.min(*budget) } else { todo };
            *budget = budget.saturating_sub(chunk);
            self.add_chunk(id, cached, chunk, shape);
        }
        self.sweep(table);
    }

    /// A request is admitted: it gets the blocks of `hit` and `need` new ones, and its number, which is returned.
    #[inline]
    fn seat(
        &mut self,
        table: &mut Table,
        id: SlotId,
        hit: Hit,
        need: u32,
        now: Time,
        started: &mut Vec<SlotId>,
    ) -> u32 {
        self.kv.pin(table, id, hit.blocks);
        self.kv.take(need);
        let admitted = self.admissions;
        self.admissions = admitted.wrapping_add(1);
        let cached = hit.blocks * self.kv.block_tokens();
        let slot = &mut table[id];
        slot.place = Place::Prefill;
        slot.shared_blocks = hit.blocks;
        slot.computed = cached;
        slot.admitted = admitted;
        if slot.scheduled == NEVER {
            slot.scheduled = now;
            started.push(id);
            slot.cached = cached;
        }
        admitted
    }

    /// Throws void entries out of the order of admission when most are void.
    #[inline]
    fn sweep(&mut self, table: &Table) {
        if self.order.len() > 2 * self.running as usize + 64 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|&(id, admitted)| is_member(&self.site, &table[id], admitted));
            self.order = order;
        }
    }

    /// The first of the waiting line, whose KV cache comes from another pool, joins the decoding sequences and decodes
    /// in this very step, when there is room for its context and the token to come. The others have claimed their
    /// blocks.
    #[inline(never)]
    fn join_carried(
        &mut self,
        table: &mut Table,
        id: SlotId,
        now: Time,
        shape: &mut StepShape,
        idle: bool,
    ) -> bool {
        let (context, tokens_at) = (table[id].target, table[id].last_token);
        let need = self.kv.blocks_for(context + 1);
        if !self.kv.admits(need, Hit::default(), idle, 0) {
            return false;
        }
        self.waiting.remove(table, id);
        self.kv.take(need);
        let admitted = self.admissions;
        self.admissions = admitted.wrapping_add(1);
        arrive(&mut table[id], now, admitted);
        self.kv.publish(table, id, context);
        self.order.push((id, admitted));
        self.running += 1;
        self.decoding.join(table, id, tokens_at);
        shape.decodes += 1;
        true
    }

    /// Lets requests with KV caches from another pool join a step without prompts. Returns whether one did and others
    /// still wait: the next of them may be able to join the step after this one.
    fn join_all_carried(&mut self, table: &mut Table, now: Time, shape: &mut StepShape) -> bool {
        let before = self.running;
        while self.running < self.batching.sequences {
            let carried = self.waiting.first().filter(|&id| table[id].carried);
            if !carried.is_some_and(|id| self.join_carried(table, id, now, shape, self.running == 0)) {
                break;
            }
        }
        self.sweep(table);
        self.running > before && !self.waiting.is_empty()
    }

    #[inline]
    fn add_chunk(&mut self, id: SlotId, start: u32, chunk: u32, shape: &mut StepShape) {
        self.chunks.push((id, chunk));
        shape.sequences += 1;
        shape.prefill_tokens += chunk;
        shape.prefill_context += u64::from(start);
        shape.prefill_attention += u64::from(chunk) * (2 * u64::from(start) + u64::from(chunk));
    }

    /// Tells the gaps of the run's decoded tokens. Ghosts get none from the last step.
    fn tell_gaps(&self, table: &Table, decoding: &Decoding, run: &Run, observer: &mut impl Observer) {
        for &workload in &self.site.workloads {
            let late: u32 =
                decoding.late.iter().filter(|late| late.workload == workload).map(|late| late.count).sum();
            let count = decoding.by_workload[workload as usize] - late;
            self.tell_group(table, decoding, run, workload, decoding.tokens_at, count, observer);
        }
        for late in &decoding.late {
            self.tell_group(table, decoding, run, late.workload, late.tokens_at, late.count, observer);
        }
    }

    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn tell_group(
        &self,
        table: &Table,
        decoding: &Decoding,
        run: &Run,
        workload: WorkloadId,
        tokens_at: Time,
        count: u32,
        observer: &mut impl Observer,
    ) {
        if count == 0 {
            return;
        }
        let first_end = if run.steps == 1 { run.end } else { run.start + run.line.step(0) };
        let whole = GapRun {
            workload,
            pool: self.site.pool,
            count,
            first: first_end - tokens_at,
            steps: run.steps,
            line: run.line,
            first_end,
            last_start: if run.steps < 3 { first_end } else { run.last_start },
            end: run.end,
        };
        let in_group = |&&id: &&SlotId| {
            table[id].workload == workload
                && table[id].joined < PARKED
                && table[id].lower == decoding.lower
                && decoding.latest_token(table, id) == tokens_at
        };
        let ghosts = self.ghosts.iter().filter(in_group).count() as u32;
        if ghosts == 0 {
            observer.gaps(&whole);
            return;
        }
        if run.steps > 1 {
            let before_last = run.last_start - run.line.step(run.steps - 2);
            observer.gaps(&GapRun {
                steps: run.steps - 1,
                last_start: if run.steps < 4 { first_end } else { before_last },
                end: run.last_start,
                ..whole
            });
        }
        if ghosts < count {
            observer.gaps(&GapRun {
                count: count - ghosts,
                first: if run.steps > 1 { run.end - run.last_start } else { whole.first },
                steps: 1,
                line: run.line.from_step(run.steps - 1),
                first_end: run.end,
                last_start: run.end,
                ..whole
            });
        }
    }

    /// Takes a ghost out of the batch; it counted in the step that just ended, not in the next.
    fn bury(&mut self, table: &mut Table, id: SlotId) {
        let context = if table[id].joined != PREFILLING {
            self.decoding.leave(table, id)
        } else {
            self.chunks.retain(|&(member, _)| member != id);
            if self.partial == Some(id) {
                self.partial = None;
            }
            table[id].target
        };
        self.kv.release(table, id, context);
        self.running -= 1;
    }

    /// Lets go of the sequences that got their last token at `now`.
    fn end_decodes(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        let before = out.finished.len();
        pop_ended(&mut self.decoding, &self.site, table, &mut out.finished);
        let done = &mut out.finished[before..];
        if done.len() > 1 {
            done.sort_unstable_by_key(|&id| table[id].admitted);
        }
        for &id in done.iter() {
            let context = self.decoding.leave(table, id);
            debug_assert_eq!((table[id].generated, table[id].last_token), (table[id].output, now));
            self.leave_batch(table, id, context);
        }
    }

    fn leave_batch(&mut self, table: &mut Table, id: SlotId, context: u32) {
        self.kv.publish(table, id, context);
        self.kv.release(table, id, context);
        self.running -= 1;
        table[id].place = Place::Ghost;
    }

    /// Books the prompt chunks of the step that ended at `now`.
    fn end_chunks(
        &mut self,
        table: &mut Table,
        now: Time,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        let chunks = std::mem::take(&mut self.chunks);
        self.partial = None;
        for &(id, chunk) in &chunks {
            table[id].computed += chunk;
            if table[id].computed < table[id].target {
                assert!(self.partial.replace(id).is_none(), "two unfinished prefills after a step");
                continue;
            }
            first_or_next_token(table, id, now, observer);
            let target = table[id].target;
            self.kv.publish(table, id, target);
            if table[id].generated == table[id].output {
                table[id].last_token = now;
                self.leave_batch(table, id, target);
                out.finished.push(id);
            } else {
                self.decoding.join(table, id, now);
            }
        }
        self.chunks = chunks;
        self.chunks.clear();
    }
}

/// Takes the sequences that got their last token off the heap, and out of their place.
#[inline]
fn pop_ended(decoding: &mut Decoding, site: &Site, table: &mut Table, ended: &mut Vec<SlotId>) {
    while decoding.next_end() <= decoding.clock {
        let Some(Reverse(entry)) = decoding.ends.pop() else { break };
        let (clock, id) = ((entry >> 32) as u64, entry as SlotId);
        let slot = &table[id];
        if !ends_at(decoding, site, slot, clock) {
            continue;
        }
        // No longer a member: a second, void entry must not find it.
        table[id].place = Place::Ghost;
        ended.push(id);
    }
}

/// Whether the request of a slot is one of the decoding sequences and gets its last token at `clock`.
#[inline]
fn ends_at(decoding: &Decoding, site: &Site, slot: &Slot, clock: u64) -> bool {
    slot.place == Place::Decode
        && is_member(site, slot, slot.admitted)
        && slot.lower == decoding.lower
        && slot.joined + u64::from(slot.output - slot.generated) == clock
}

/// A finished prefill emits one token: the first of its request, or the next after a preemption.
pub(super) fn first_or_next_token(table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
    let slot = &mut table[id];
    slot.generated += 1;
    if slot.preempted_at != NEVER {
        let lost = now - slot.preempted_at;
        slot.preempted += lost;
        if slot.first_token == NEVER {
            slot.preempted_before_first += lost;
        }
        slot.preempted_at = NEVER;
    }
    if slot.first_token == NEVER {
        slot.first_token = now;
        observer.first_token(now, slot.workload, slot.pool, now - slot.arrived);
        return;
    }
    let gap = now - slot.last_token;
    observer.gaps(&GapRun {
        workload: slot.workload,
        pool: slot.pool,
        count: 1,
        first: gap,
        steps: 1,
        line: StepLine { a: 1_000_000, b: 0, quantum_fs: 1_000_000 },
        first_end: now,
        last_start: now,
        end: now,
    });
}

impl Stepper for Replica {
    fn new(site: Site, engine: &LlmEngine, skip: bool) -> Self {
        let workloads = site.workloads.iter().map(|&workload| workload as usize + 1).max().unwrap_or(0);
        Replica {
            law: Arc::clone(&engine.law),
            batching: engine.batching,
            skip,
            kv: KvCache::new(engine.kv),
            waiting: List::default(),
            running: 0,
            order: Vec::new(),
            admissions: 0,
            decoding: Decoding::new(engine.kv.block_tokens, workloads, false),
            lower: engine.below.map(|rules| {
                assert_eq!(
                    engine.batching.policy,
                    BatchPolicy::Chunked,
                    "only chunked batching keeps batch below real-time"
                );
                Box::new(Lower::new(rules, engine.kv.block_tokens, workloads))
            }),
            partial: None,
            chunks: Vec::new(),
            ghosts: Vec::new(),
            run: None,
            steps: 0,
            slow: NORMAL,
            site,
        }
    }

    #[inline]
    fn enqueue(&mut self, table: &mut Table, id: SlotId) -> bool {
        table[id].place = Place::Waiting;
        if self.lower.is_some() {
            return self.enqueue_below(table, id);
        }
        assert!(!table[id].lower, "this engine does not tell batch from real-time");
        self.waiting.push_back(table, id);
        // Behind others, or beside a full batch, it cannot join before a request leaves, and that ends a run.
        self.waiting.len() == 1
            && self.running < self.batching.sequences
            && self.batching.policy != BatchPolicy::Static
    }

    fn cancel(&mut self, table: &mut Table, id: SlotId) -> bool {
        match table[id].place {
            Place::Waiting => {
                self.line(table, id).remove(table, id);
                return true;
            }
            Place::Decode => {}
            Place::Prefill => table[id].joined = PREFILLING,
            Place::Parked => table[id].joined = PARKED,
            place => panic!("slot {id} is not on this replica but {place:?}"),
        }
        table[id].place = Place::Ghost;
        if self.run.is_some() {
            self.ghosts.push(id);
            return false;
        }
        if self.lower.is_some() {
            self.bury_below(table, id);
        } else {
            self.bury(table, id);
        }
        true
    }

    fn delivered(&self, table: &Table, id: SlotId) -> Delivered {
        let slot = &table[id];
        if slot.place != Place::Decode {
            return Delivered { tokens: slot.generated, last: slot.last_token };
        }
        let (decoding, going) = self.cohort(slot.lower);
        let gained = (decoding.clock - slot.joined) as u32;
        let settled = Delivered { tokens: slot.generated + gained, last: decoding.latest_token(table, id) };
        match &self.run {
            Some(run) if going > 0 && run.steps > 1 => {
                Delivered { tokens: settled.tokens + (run.steps - 1) as u32, last: run.last_start }
            }
            _ => settled,
        }
    }

    fn beside(&self, table: &Table, id: SlotId) -> Span {
        let slot = &table[id];
        match &self.lower {
            Some(lower) if !slot.lower && is_member(&self.site, slot, slot.admitted) => {
                beside_at(slot, lower.beside_by_now(self.run.as_ref()))
            }
            _ => slot.beside,
        }
    }

    fn begin(&mut self, table: &mut Table, now: Time, started: &mut Vec<SlotId>) -> Option<Time> {
        debug_assert!(self.run.is_none() && self.ghosts.is_empty() && self.chunks.is_empty());
        if self.lower.is_some() {
            return self.begin_below(table, now, started);
        }
        let mut shape = StepShape::default();
        // Whether a request that waits may be able to join the very next step.
        let mut soon = false;
        let mut budget = self.batching.tokens;
        match self.batching.policy {
            BatchPolicy::Chunked => {
                let preempted = self.claim_blocks(table, now);
                soon = preempted && !self.waiting.is_empty();
                shape.decodes = self.decoding.count;
                budget =
                    budget.checked_sub(shape.decodes).expect("the batch never outgrows the token budget");
                if let Some(id) = self.partial {
                    let start = table[id].computed;
                    let chunk = (table[id].target - start).min(budget);
                    if chunk > 0 {
                        budget -= chunk;
                        self.add_chunk(id, start, chunk, &mut shape);
                    }
                }
                if !preempted && !self.waiting.is_empty() {
                    self.admit(table, now, &mut budget, &mut shape, started);
                }
            }
            BatchPolicy::Whole | BatchPolicy::Static => {
                let open = self.batching.policy == BatchPolicy::Whole || self.running == 0;
                if open {
                    self.admit(table, now, &mut budget, &mut shape, started);
                }
                if self.chunks.is_empty() {
                    let preempted = self.claim_blocks(table, now);
                    soon = preempted && !self.waiting.is_empty();
                    shape.decodes = self.decoding.count;
                    if open && !preempted && self.waiting.first().is_some_and(|id| table[id].carried) {
                        soon = self.join_all_carried(table, now, &mut shape);
                    }
                }
            }
        }
        shape.sequences += shape.decodes;
        if shape.sequences == 0 {
            assert!(self.running == 0 && self.waiting.is_empty(), "a replica with work must make progress");
            return None;
        }
        if shape.decodes > 0 {
            shape.context_tokens = self.decoding.context;
        }
        let mut plan = self.law.plan(&shape);
        if self.slow != NORMAL {
            plan = plan.slowed(&shape, self.slow);
        }
        let steps = if !self.skip || shape.prefill_tokens > 0 || soon {
            1
        } else {
            let most = plan.steps.min(self.decoding.next_end() - self.decoding.clock).max(1);
            self.decoding.steps_within(self.kv.free(), most)
        };
        let (span, last) = plan.line.sum(steps);
        let end = now + span;
        self.run = Some(Run {
            start: now,
            line: plan.line,
            steps,
            last_start: end - last,
            end,
            decodes: shape.decodes,
            prefill_tokens: shape.prefill_tokens,
            context_tokens: shape.context_tokens,
            outside_range: plan.outside_range,
        });
        Some(end)
    }

    fn truncate(&mut self, now: Time) -> Option<Time> {
        let run = self.run.as_mut().filter(|run| run.steps > 1 && run.last_start >= now)?;
        let (steps, span, last) = run.line.reach(now.saturating_since(run.start), run.steps - 1);
        run.steps = steps;
        run.end = run.start + span;
        run.last_start = run.end - last;
        Some(run.end)
    }

    fn finish(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures) {
        let run = self.run.take().expect("a step is in flight");
        self.steps += run.steps;
        if self.lower.is_some() {
            return self.finish_below(table, &run, observer, out);
        }
        if run.decodes > 0 {
            self.tell_gaps(table, &self.decoding, &run, observer);
            if run.steps > 1 {
                self.kv.take(self.decoding.demand_after_first(run.steps));
            }
            self.decoding.advance(run.steps, run.end);
        }
        observer.worked(&StepRun {
            pool: self.site.pool,
            replica: self.site.replica,
            start: run.start,
            last_start: run.last_start,
            end: run.end,
            steps: run.steps,
            busy: 1,
            decodes: run.decodes,
            prefill_tokens: run.prefill_tokens,
            context_tokens: run.context_tokens,
            outside_range: if run.outside_range { run.steps } else { 0 },
        });
        if !self.ghosts.is_empty() {
            let mut ghosts = std::mem::take(&mut self.ghosts);
            ghosts.sort_by_key(|&id| table[id].admitted);
            for &id in &ghosts {
                self.bury(table, id);
            }
            out.ghosts.append(&mut ghosts);
            self.ghosts = ghosts;
        }
        if run.decodes > 0 && self.decoding.next_end() <= self.decoding.clock {
            self.end_decodes(table, run.end, out);
        }
        if !self.chunks.is_empty() {
            self.end_chunks(table, run.end, observer, out);
        }
    }

    fn abandon(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures) {
        let Some(run) = &mut self.run else { return };
        if run.steps == 1 {
            self.run = None;
            self.chunks.clear();
            return;
        }
        // Ghosts went without a token in the step that is dropped, not in those before it.
        let ghosts = std::mem::take(&mut self.ghosts);
        run.steps -= 1;
        run.end = run.last_start;
        run.last_start = run.end - run.line.step(run.steps - 1);
        self.finish(table, observer, out);
        assert!(out.finished.is_empty(), "a run ends when a member does");
        self.ghosts = ghosts;
    }

    fn evict(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        assert!(self.run.is_none(), "a replica cannot fail in a step: it is abandoned first");
        let before = out.evicted.len();
        let lower = self.lower.as_mut().map(|lower| std::mem::take(&mut lower.order)).unwrap_or_default();
        for (id, admitted) in std::mem::take(&mut self.order).into_iter().chain(lower) {
            if is_member(&self.site, &table[id], admitted) {
                let Delivered { tokens, last } = self.delivered(table, id);
                (table[id].generated, table[id].last_token) = (tokens, last);
                table[id].beside = self.beside(table, id);
                out.evicted.push(id);
            }
        }
        let evicted = &mut out.evicted[before..];
        if self.lower.is_some() {
            evicted.sort_unstable_by_key(|&id| table[id].admitted);
        }
        for &id in evicted.iter() {
            restart(&mut table[id], now);
        }
        let members = self.running + self.lower().1;
        assert_eq!(evicted.len() + self.ghosts.len(), members as usize, "members found and counted differ");
        self.ghosts.sort_by_key(|&id| table[id].admitted);
        out.ghosts.append(&mut self.ghosts);
        while let Some(id) = self.waiting.pop_front(table) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
        if let Some(lower) = &mut self.lower {
            lower.clear(table, now, out);
        }
        self.running = 0;
        self.partial = None;
        self.chunks.clear();
        self.decoding.clear();
        self.kv.clear();
    }

    fn evict_lower(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        assert!(self.run.is_none(), "batch leaves between steps");
        if let Some(lower) = &mut self.lower {
            lower.evict(&mut self.kv, &self.site, table, now, out);
        }
    }

    fn set_slow(&mut self, permille: u32) {
        self.law.assert_slow(permille);
        self.slow = permille;
    }

    fn is_stepping(&self) -> bool {
        self.run.is_some()
    }

    #[inline]
    fn waiting(&self) -> u32 {
        self.waiting.len()
    }

    #[inline]
    fn running(&self) -> u32 {
        self.running
    }

    fn lower(&self) -> (u32, u32) {
        self.lower.as_ref().map_or((0, 0), |lower| (lower.waiting.len(), lower.members))
    }

    fn kv_used(&self) -> u32 {
        let Some(run) = self.run.as_ref().filter(|run| run.steps > 1) else { return self.kv.used() };
        let later = |lower| {
            let (decoding, going) = self.cohort(lower);
            if going > 0 { decoding.demand_after_first(run.steps) } else { 0 }
        };
        self.kv.used() + later(false) + if self.lower.is_some() { later(true) } else { 0 }
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}
