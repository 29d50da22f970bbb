//! The replica that ships: continuous batching in O(1 + joins + finishes) a step, with skipping ahead.
//!
//! Every decoding sequence gains one token a step, so what a step needs to know about them is kept as aggregates:
//! how many there are, the sum of their contexts, and how many cross into a new KV block at each residue of the
//! replica's decode clock. A member is touched when it joins and when it leaves, never in between. While nothing
//! joins or leaves, steps follow a [`StepLine`] and a whole run of them is one event.
//!
//! The rules themselves (who joins when, who loses its cache) are stated plainly in [`super::naive`]; change both.

use super::kv::KvCache;
use super::step_time::{StepLaw, StepShape};
use super::{Delivered, Departures, NORMAL, Site, Stepper, restart};
use crate::observe::{GapRun, Observer, StepLine, StepRun};
use crate::request::WorkloadId;
use crate::scenario::{BatchPolicy, Batching, LlmEngine};
use crate::table::{List, NEVER, Place, SlotId, Table};
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
}

/// Marks, in [`crate::table::Slot::joined`], a ghost that had not joined the decoding sequences.
const PREFILLING: u64 = u64::MAX;

/// The decoding sequences, as aggregates.
#[derive(Debug)]
struct Decoding {
    /// Decode steps done since the replica began; members count their tokens by it.
    clock: u64,
    count: u32,
    /// Tokens in the KV cache of all members.
    context: u64,
    /// Members by `(context - clock) mod block`: those at `-clock mod block` need a new block in the next step.
    residues: Vec<u32>,
    /// Members by workload.
    by_workload: Vec<u32>,
    /// When the members got their latest token, those in `late` excepted.
    tokens_at: Time,
    /// Members that joined after a step in which the others did not decode.
    late: Vec<Late>,
    /// `clock at which a member gets its last token << 32 | slot`; void entries are recognised when they surface.
    ends: BinaryHeap<Reverse<u128>>,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    tokens_at: Time,
    workload: WorkloadId,
    count: u32,
}

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
    outside_range: bool,
}

impl Decoding {
    fn new(block_tokens: u32, workloads: usize) -> Self {
        Decoding {
            clock: 0,
            count: 0,
            context: 0,
            residues: vec![0; block_tokens as usize],
            by_workload: vec![0; workloads],
            tokens_at: Time::ZERO,
            late: Vec::new(),
            ends: BinaryHeap::new(),
        }
    }

    #[inline]
    fn residue(&self, context: u32, joined: u64) -> usize {
        (u64::from(context).wrapping_sub(joined) & (self.residues.len() as u64 - 1)) as usize
    }

    /// Blocks that the members need in the decode step `ahead` steps from now.
    #[inline]
    fn demand(&self, ahead: u64) -> u32 {
        let mask = self.residues.len() as u64 - 1;
        self.residues[(self.clock.wrapping_add(ahead).wrapping_neg() & mask) as usize]
    }

    /// Blocks needed in the decode steps `1..steps` from now (the first has claimed its own).
    fn demand_after_first(&self, steps: u64) -> u32 {
        let block = self.residues.len() as u64;
        let (cycles, rest) = ((steps - 1) / block, (steps - 1) % block);
        let partial: u32 = (1..=rest).map(|ahead| self.demand(ahead)).sum();
        u32::try_from(cycles).expect("a run of fewer than 2^32 cycles") * self.count + partial
    }

    /// The most steps, at most `most`, for which `free` blocks are enough after the first step claimed its own.
    fn steps_within(&self, free: u32, most: u64) -> u64 {
        let block = self.residues.len() as u64;
        // Every member needs at most one block in `block` steps: usually this settles it.
        let cycles = u64::from(free) / u64::from(self.count);
        if most <= cycles * block {
            return most;
        }
        let mut left = free - u32::try_from(cycles).expect("fits: at most `free`") * self.count;
        let mut steps = cycles * block + 1;
        while steps < most && self.demand(steps) <= left {
            left -= self.demand(steps);
            steps += 1;
        }
        steps.min(most)
    }

    /// All members are gone; the clock goes on.
    fn clear(&mut self) {
        (self.count, self.context) = (0, 0);
        self.residues.fill(0);
        self.by_workload.fill(0);
        self.late.clear();
        self.ends.clear();
    }

    /// Whether a member's latest token is older or newer than the others'.
    #[inline]
    fn is_late(&self, table: &Table, id: SlotId) -> bool {
        table[id].joined == self.clock && table[id].last_token != self.tokens_at
    }

    /// When a member got its latest token.
    #[inline]
    fn latest_token(&self, table: &Table, id: SlotId) -> Time {
        if table[id].joined == self.clock { table[id].last_token } else { self.tokens_at }
    }

    /// A member joins whose latest token came out at `now`.
    #[inline]
    fn join(&mut self, table: &mut Table, id: SlotId, now: Time) {
        let slot = &mut table[id];
        (slot.place, slot.joined, slot.last_token) = (Place::Decode, self.clock, now);
        let (context, workload) = (slot.target, slot.workload);
        let end = self.clock + u64::from(slot.output - slot.generated);
        if self.count == 0 {
            self.tokens_at = now;
        } else if self.tokens_at != now {
            match self.late.iter_mut().find(|late| late.tokens_at == now && late.workload == workload) {
                Some(late) => late.count += 1,
                None => self.late.push(Late { tokens_at: now, workload, count: 1 }),
            }
        }
        self.count += 1;
        self.context += u64::from(context);
        let residue = self.residue(context, self.clock);
        self.residues[residue] += 1;
        self.by_workload[workload as usize] += 1;
        self.ends.push(Reverse(u128::from(end) << 32 | u128::from(id)));
    }

    /// A member leaves; returns its context. Its token count and latest token are noted in its slot.
    #[inline]
    fn leave(&mut self, table: &mut Table, id: SlotId) -> u32 {
        if self.is_late(table, id) {
            let slot = &table[id];
            let mut late = self.late.iter_mut();
            late.find(|late| late.tokens_at == slot.last_token && late.workload == slot.workload)
                .expect("a late member is counted")
                .count -= 1;
        }
        let latest = self.latest_token(table, id);
        let slot = &mut table[id];
        let gained = (self.clock - slot.joined) as u32;
        let context = slot.target + gained;
        let (target, joined, workload) = (slot.target, slot.joined, slot.workload);
        slot.generated += gained;
        slot.last_token = latest;
        self.count -= 1;
        self.context -= u64::from(context);
        let residue = self.residue(target, joined);
        self.residues[residue] -= 1;
        self.by_workload[workload as usize] -= 1;
        context
    }

    /// The clock at which the next member gets its last token. Void entries may make it early, never late.
    #[inline]
    fn next_end(&self) -> u64 {
        self.ends.peek().map_or(u64::MAX, |&Reverse(entry)| (entry >> 32) as u64)
    }
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

    fn preempt_last(&mut self, table: &mut Table, now: Time) {
        let id = loop {
            let &(id, admitted) = self.order.last().expect("a batch that needs blocks has members");
            self.order.pop();
            if self.is_member(table, id, admitted) {
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
    }

    #[inline]
    fn is_member(&self, table: &Table, id: SlotId, admitted: u32) -> bool {
        let slot = &table[id];
        matches!(slot.place, Place::Decode | Place::Prefill)
            && slot.admitted == admitted
            && slot.replica == self.site.replica
            && slot.pool == self.site.pool
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
            let hit = self.kv.lookup(table, id);
            let cached = hit.blocks * self.kv.block_tokens();
            let todo = table[id].target - cached;
            let fits_budget = match self.batching.policy {
                BatchPolicy::Chunked => *budget > 0,
                BatchPolicy::Whole => todo <= *budget || self.chunks.is_empty(),
                BatchPolicy::Static => true,
            };
            let need = self.kv.blocks_for(table[id].target) - hit.blocks;
            if !fits_budget || !self.kv.admits(need, hit, self.running == 0) {
                break;
            }
            self.waiting.remove(table, id);
            self.kv.pin(table, id, hit.blocks);
            self.kv.take(need);
            let admitted = self.admissions;
            self.admissions = admitted.wrapping_add(1);
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
            self.order.push((id, admitted));
            self.running += 1;
            let chunk = if self.batching.policy == BatchPolicy::Chunked { todo.min(*budget) } else { todo };
            *budget = budget.saturating_sub(chunk);
            self.add_chunk(id, cached, chunk, shape);
        }
        if self.order.len() > 2 * self.running as usize + 64 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|&(id, admitted)| self.is_member(table, id, admitted));
            self.order = order;
        }
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
    fn tell_gaps(&self, table: &Table, run: &Run, observer: &mut impl Observer) {
        let decoding = &self.decoding;
        for &workload in &self.site.workloads {
            let late: u32 =
                decoding.late.iter().filter(|late| late.workload == workload).map(|late| late.count).sum();
            let count = decoding.by_workload[workload as usize] - late;
            self.tell_group(table, run, workload, decoding.tokens_at, count, observer);
        }
        for late in &decoding.late {
            self.tell_group(table, run, late.workload, late.tokens_at, late.count, observer);
        }
    }

    #[inline]
    fn tell_group(
        &self,
        table: &Table,
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
                && table[id].joined != PREFILLING
                && self.decoding.latest_token(table, id) == tokens_at
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
        while self.decoding.next_end() <= self.decoding.clock {
            let Some(Reverse(entry)) = self.decoding.ends.pop() else { break };
            let (clock, id) = ((entry >> 32) as u64, entry as SlotId);
            let slot = &table[id];
            let is_mine = slot.place == Place::Decode && self.is_member(table, id, slot.admitted);
            if !is_mine || slot.joined + u64::from(slot.output - slot.generated) != clock {
                continue;
            }
            // No longer a member: a second, void entry must not find it.
            table[id].place = Place::Ghost;
            out.finished.push(id);
        }
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
        observer.first_token(now, slot.workload, now - slot.arrived);
        return;
    }
    let gap = now - slot.last_token;
    observer.gaps(&GapRun {
        workload: slot.workload,
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
            decoding: Decoding::new(engine.kv.block_tokens, workloads),
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
        self.waiting.push_back(table, id);
        // Behind others, or beside a full batch, it cannot join before a request leaves, and that ends a run.
        self.waiting.len() == 1
            && self.running < self.batching.sequences
            && self.batching.policy != BatchPolicy::Static
    }

    fn cancel(&mut self, table: &mut Table, id: SlotId) -> bool {
        match table[id].place {
            Place::Waiting => {
                self.waiting.remove(table, id);
                return true;
            }
            Place::Decode | Place::Prefill => {}
            place => panic!("slot {id} is not on this replica but {place:?}"),
        }
        if table[id].place == Place::Prefill {
            table[id].joined = PREFILLING;
        }
        table[id].place = Place::Ghost;
        if self.run.is_some() {
            self.ghosts.push(id);
            return false;
        }
        self.bury(table, id);
        true
    }

    fn delivered(&self, table: &Table, id: SlotId) -> Delivered {
        let slot = &table[id];
        if slot.place != Place::Decode {
            return Delivered { tokens: slot.generated, last: slot.last_token };
        }
        let gained = (self.decoding.clock - slot.joined) as u32;
        let settled =
            Delivered { tokens: slot.generated + gained, last: self.decoding.latest_token(table, id) };
        match &self.run {
            Some(run) if run.decodes > 0 && run.steps > 1 => {
                Delivered { tokens: settled.tokens + (run.steps - 1) as u32, last: run.last_start }
            }
            _ => settled,
        }
    }

    fn begin(&mut self, table: &mut Table, now: Time, started: &mut Vec<SlotId>) -> Option<Time> {
        debug_assert!(self.run.is_none() && self.ghosts.is_empty() && self.chunks.is_empty());
        let mut shape = StepShape::default();
        let mut preempted = false;
        let mut budget = self.batching.tokens;
        match self.batching.policy {
            BatchPolicy::Chunked => {
                preempted = self.claim_blocks(table, now);
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
                if self.batching.policy == BatchPolicy::Whole || self.running == 0 {
                    self.admit(table, now, &mut budget, &mut shape, started);
                }
                if self.chunks.is_empty() {
                    preempted = self.claim_blocks(table, now);
                    shape.decodes = self.decoding.count;
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
        let steps = if !self.skip || shape.prefill_tokens > 0 || (preempted && !self.waiting.is_empty()) {
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
        if run.decodes > 0 {
            self.tell_gaps(table, &run, observer);
            if run.steps > 1 {
                self.kv.take(self.decoding.demand_after_first(run.steps));
            }
            let decoding = &mut self.decoding;
            decoding.clock += run.steps;
            decoding.context += run.steps * u64::from(run.decodes);
            decoding.tokens_at = run.end;
            decoding.late.clear();
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
        let mut members = self.ghosts.len();
        let mut order = std::mem::take(&mut self.order);
        for (id, admitted) in order.drain(..) {
            if self.is_member(table, id, admitted) {
                let Delivered { tokens, last } = self.delivered(table, id);
                (table[id].generated, table[id].last_token) = (tokens, last);
                restart(&mut table[id], now);
                out.evicted.push(id);
                members += 1;
            }
        }
        self.order = order;
        assert_eq!(members, self.running as usize, "members found and counted differ");
        self.ghosts.sort_by_key(|&id| table[id].admitted);
        out.ghosts.append(&mut self.ghosts);
        while let Some(id) = self.waiting.pop_front(table) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
        self.running = 0;
        self.partial = None;
        self.chunks.clear();
        self.decoding.clear();
        self.kv.clear();
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

    fn kv_used(&self) -> u32 {
        let later = match &self.run {
            Some(run) if run.decodes > 0 && run.steps > 1 => self.decoding.demand_after_first(run.steps),
            _ => 0,
        };
        self.kv.used() + later
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}
