//! The rules of an engine that keeps batch below real-time, stated the plain way.
//!
//! There are two waiting lines and one order of admission. A batch member of the batch runs (decodes), is parked (its
//! KV cache stays, it is in no step) or has a prompt that is not finished. Batch may find room that it did not find
//! before when a request was enqueued as the first of the batch line, joined the decoding sequences, left the batch or
//! lost its cache since the last step began; this is called a *change*.
//!
//! 1. In order of admission, every real-time sequence that decodes gets one token. While there is no KV block for it, the
//!    batch member admitted last loses its cache; where there is none, or batch is never preempted, the real-time
//!    member admitted last does, and then no real-time request is admitted in this step. The unfinished real-time
//!    prompt gets what is left of the token budget.
//! 2. Real-time requests are admitted as ever while the budget lasts. Parked sequences do not count. When there is no
//!    sequence for one, the batch member admitted last of those that are not parked loses its cache, when there are no
//!    blocks, the one admitted last of all; and it is tried again.
//! 3. Batch gets what is left: at most so many tokens of the budget, in a step that stays within [`Limit`]. A step
//!    without real-time takes at least one batch sequence, whatever its length.
//!    * (a) Beside real-time prompt tokens all running batch sequences get their token, or none when they do not all fit.
//!      In other steps those admitted last are parked until the rest fits. If none was, and there was a change, parked
//!      ones run again while they fit, the one parked last first. Then blocks are claimed in order of admission, of
//!      which some stay free; while one cannot be had, the batch member admitted last loses its cache. A member that is
//!      alone on the replica need not leave any free.
//!    * (b) The unfinished batch prompt gets the largest chunk that fits.
//!    * (c) Batch requests are admitted in order while they fit, each with the largest chunk that does, if there was a
//!      change (or nobody is in the batch), no batch member lost its cache, no real-time request waits, nobody is
//!      parked and no batch prompt is left unfinished. One that brings its KV cache joins the sequences that decode,
//!      unless those pause in this step; what it moves from the host counts.
//!
//! Who loses its cache goes to the front of its line. A batch sequence that decodes (or is parked) may have its KV cache
//! swapped to the host: each token moved, there or back, makes the step longer. Its prompt is not processed again.

use super::{NaiveReplica, Work};
use crate::replica::limit::{Ceiling, Limit};
use crate::replica::step_time::StepShape;
use crate::replica::{park, restart, swap_out};
use crate::scenario::BatchPolicy;
use crate::scenario::batch::{Below, Preempt};
use crate::table::{NEVER, Place, SlotId, Table};
use crate::time::{Span, Time};

/// The rules of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    below: Below,
    limit: Limit,
}

impl Rules {
    pub(super) fn new(below: Below, policy: BatchPolicy) -> Self {
        assert_eq!(policy, BatchPolicy::Chunked, "only chunked batching keeps batch below real-time");
        Rules { below, limit: Limit::new(&below) }
    }

    fn may_preempt(&self) -> bool {
        self.below.preempt != Preempt::Never
    }
}

/// A step that is being formed.
struct Draft<'a> {
    rules: &'a Rules,
    now: Time,
    budget: u32,
    /// Tokens moved to or from the host.
    swapped: u64,
    /// Whether there was a change.
    changed: bool,
    /// Whether a batch member lost its cache.
    lower_lost: bool,
    /// Whether batch sequences that run get no token.
    paused: bool,
    started: &'a mut Vec<SlotId>,
}

impl Draft<'_> {
    fn swap(&self) -> Span {
        self.rules.limit.swap(self.swapped)
    }
}

impl NaiveReplica {
    pub(super) fn begin_below(
        &mut self,
        rules: &Rules,
        table: &mut Table,
        now: Time,
        started: &mut Vec<SlotId>,
    ) -> Option<Time> {
        let changed = std::mem::take(&mut self.changed);
        let budget = self.batching.tokens;
        let (swapped, lower_lost, paused) = (0, false, false);
        let mut draft = Draft { rules, now, budget, swapped, changed, lower_lost, paused, started };
        let upper_lost = self.serve_upper(table, &mut draft);
        if !upper_lost {
            self.admit_upper(table, &mut draft);
        }
        let upper = self.shape(table);
        self.serve_lower(table, &upper, &mut draft);
        let shape = self.shape(table);
        if shape.sequences == 0 {
            let waiting = (self.waiting.len(), self.lower_waiting.len());
            assert!(self.batch.is_empty() && waiting == (0, 0), "a replica with work must make progress");
            return None;
        }
        let swap = draft.swap();
        Some(self.launch(now, shape, upper, swap))
    }

    fn position(&self, id: SlotId) -> Option<usize> {
        self.batch.iter().position(|member| member.id == id)
    }

    /// Members in order of admission.
    fn members(&self, lower: bool) -> Vec<SlotId> {
        let of_class = self.batch.iter().filter(|member| member.lower == lower);
        of_class.map(|member| member.id).collect()
    }

    /// Batch sequences that are to decode, by index, in order of admission.
    fn awake(&self) -> Vec<usize> {
        let awake = |&index: &usize| {
            let member = &self.batch[index];
            member.lower && member.decoding && member.parked.is_none()
        };
        (0..self.batch.len()).filter(awake).collect()
    }

    fn has_sequence_free(&self) -> bool {
        let in_use = self.batch.iter().filter(|member| member.parked.is_none()).count();
        in_use < self.batching.sequences as usize
    }

    /// Rule 1. Returns whether a real-time request lost its cache.
    fn serve_upper(&mut self, table: &mut Table, draft: &mut Draft) -> bool {
        let mut lost = false;
        for id in self.members(false) {
            while let Some(index) = self.position(id) {
                let member = &mut self.batch[index];
                if !member.decoding {
                    let chunk = (table[id].target - table[id].computed).min(draft.budget);
                    if chunk > 0 {
                        member.work = Work::Chunk(chunk);
                        draft.budget -= chunk;
                    }
                    break;
                }
                if member.context.is_multiple_of(self.kv.rule.block_tokens) {
                    let Some(block) = self.kv.take() else {
                        if !draft.rules.may_preempt() || !self.preempt_lower(table, draft, |_| true) {
                            self.preempt_last(table, draft.now);
                            lost = true;
                        }
                        continue;
                    };
                    self.batch[index].blocks.push(block);
                }
                self.batch[index].work = Work::Token;
                draft.budget -= 1;
                break;
            }
        }
        lost
    }

    /// Rule 2.
    fn admit_upper(&mut self, table: &mut Table, draft: &mut Draft) {
        while draft.budget > 0 {
            let Some(&id) = self.waiting.front() else { break };
            let may_preempt = draft.rules.may_preempt();
            if !self.has_sequence_free() {
                if may_preempt && self.preempt_lower(table, draft, |parked| !parked) {
                    continue;
                }
                break;
            }
            if table[id].carried {
                if self.has_room_for_carried(table, id, 0) {
                    self.waiting.pop_front();
                    self.join_carried(table, id, draft.now);
                    draft.budget -= 1;
                    continue;
                }
            } else {
                let cached = self.kv.lookup(table, id);
                if self.has_room_for(table, id, &cached, 0) {
                    self.waiting.pop_front();
                    let todo = table[id].target - cached.len() as u32 * self.kv.rule.block_tokens;
                    let chunk = todo.min(draft.budget);
                    draft.budget -= chunk;
                    self.seat(table, id, cached, chunk, draft.now, draft.started);
                    continue;
                }
            }
            if !(may_preempt && self.preempt_lower(table, draft, |_| true)) {
                break;
            }
        }
    }

    /// Rule 3; `upper` is what the step would be without batch.
    fn serve_lower(&mut self, table: &mut Table, upper: &StepShape, draft: &mut Draft) {
        let below = &draft.rules.below;
        let ceiling = draft.rules.limit.ceiling(&self.law, upper);
        let mut left = draft.budget.min(below.tokens.unwrap_or(u32::MAX));
        if upper.prefill_tokens > 0 {
            self.let_all_decode_or_none(table, left, ceiling, draft);
        } else {
            self.park_and_unpark(table, upper, left, ceiling, draft);
        }
        self.claim_lower(table, draft);
        let nothing_yet = |replica: &NaiveReplica, table: &Table| replica.shape(table).sequences == 0;
        while nothing_yet(self, table) && self.has_sequence_free() && self.unpark_last(table) {
            // Who ran lost its cache, and the others are parked.
            self.claim_lower(table, draft);
        }
        left -= self.awake().iter().filter(|&&index| self.batch[index].work == Work::Token).count() as u32;

        let mut chunks = left.min(below.chunk.unwrap_or(u32::MAX));
        let mut unfinished = false;
        for index in 0..self.batch.len() {
            if !self.batch[index].lower || self.batch[index].decoding {
                continue;
            }
            let id = self.batch[index].id;
            let (computed, target) = (table[id].computed, table[id].target);
            let chunk = self.largest_chunk(table, computed, (target - computed).min(chunks), ceiling);
            if chunk > 0 {
                self.batch[index].work = Work::Chunk(chunk);
                chunks -= chunk;
                left -= chunk;
            }
            unfinished |= computed + chunk < target;
        }
        let is_parked = self.batch.iter().any(|member| member.parked.is_some());
        let open = draft.changed || self.batch.is_empty();
        if open && !draft.lower_lost && self.waiting.is_empty() && !is_parked && !unfinished {
            self.admit_lower(table, left, chunks, ceiling, draft);
        }
    }

    /// Rule 3a beside real-time prompts.
    fn let_all_decode_or_none(&mut self, table: &Table, left: u32, ceiling: Ceiling, draft: &mut Draft) {
        let awake = self.awake();
        for &index in &awake {
            self.batch[index].work = Work::Token;
        }
        let fits = awake.len() <= left as usize && ceiling.allows(&self.law, &self.shape(table));
        if !fits {
            for &index in &awake {
                self.batch[index].work = Work::Nothing;
            }
            draft.paused = !awake.is_empty();
        }
    }

    /// Rule 3a without real-time prompts.
    fn park_and_unpark(
        &mut self,
        table: &mut Table,
        upper: &StepShape,
        left: u32,
        ceiling: Ceiling,
        draft: &Draft,
    ) {
        for index in self.awake() {
            self.batch[index].work = Work::Token;
        }
        let alone = upper.sequences == 0;
        let mut parked = false;
        loop {
            let awake = self.awake();
            let count = awake.len();
            let fits =
                count <= left as usize && (count == 0 || ceiling.allows(&self.law, &self.shape(table)));
            if fits || (alone && count == 1) {
                break;
            }
            let member = &mut self.batch[awake[count - 1]];
            park(&mut table[member.id], member.context);
            self.parkings += 1;
            (member.work, member.parked) = (Work::Nothing, Some(self.parkings));
            parked = true;
        }
        while self.has_sequence_free() {
            let before = self.awake().len();
            let forced = alone && before == 0;
            if !forced && (parked || !draft.changed || before + 1 > left as usize) {
                break;
            }
            let Some(last) =
                self.batch.iter().filter(|member| member.parked.is_some()).max_by_key(|m| m.parked)
            else {
                break;
            };
            let with = self.shape(table).with_decodes(1, u64::from(last.context));
            if !forced && !ceiling.allows(&self.law, &with) {
                break;
            }
            self.unpark_last(table);
        }
    }

    /// The sequence parked last decodes again, from this step on. Returns whether there was one.
    fn unpark_last(&mut self, table: &mut Table) -> bool {
        let parked = self.batch.iter_mut().filter(|member| member.parked.is_some());
        let Some(member) = parked.max_by_key(|member| member.parked) else { return false };
        (member.parked, member.work) = (None, Work::Token);
        table[member.id].place = Place::Decode;
        true
    }

    /// Blocks for the batch sequences that decode in this step.
    fn claim_lower(&mut self, table: &mut Table, draft: &mut Draft) {
        for id in self.members(true) {
            while let Some(index) = self.position(id) {
                let member = &self.batch[index];
                let full = member.context.is_multiple_of(self.kv.rule.block_tokens);
                let held = member.context.div_ceil(self.kv.rule.block_tokens) as usize;
                if member.work != Work::Token || !full || member.blocks.len() > held {
                    break;
                }
                let alone = self.batch.len() == 1;
                let reserve = if alone { 0 } else { draft.rules.below.reserve as usize };
                if self.kv.free() > reserve {
                    let block = self.kv.take().expect("free blocks were counted");
                    self.batch[index].blocks.push(block);
                    break;
                }
                assert!(self.preempt_lower(table, draft, |_| true), "a batch member is in the batch");
            }
        }
    }

    /// The largest chunk that a batch prompt may have in this step; one token at least when nothing else is in it.
    fn largest_chunk(&self, table: &Table, start: u32, most: u32, ceiling: Ceiling) -> u32 {
        let shape = self.shape(table);
        let chunk = ceiling.chunk(&self.law, &shape, start, most);
        if shape.sequences == 0 { chunk.max(1) } else { chunk }
    }

    /// Rule 3c, when nothing speaks against it.
    fn admit_lower(
        &mut self,
        table: &mut Table,
        mut left: u32,
        mut chunks: u32,
        ceiling: Ceiling,
        draft: &mut Draft,
    ) {
        let reserve = draft.rules.below.reserve;
        while self.has_sequence_free() {
            let Some(&id) = self.lower_waiting.front() else { break };
            if table[id].carried {
                let context = table[id].target;
                // One that another pool computed has a link of its own.
                let moved = if table[id].left_at == NEVER { u64::from(context) } else { 0 };
                let shape = self.shape(table);
                let with = shape.with_decodes(1, u64::from(context));
                // A step beyond the token budget is none that the law knows.
                let short = || shape.sequences == 0 || ceiling.allows(&self.law, &with);
                if left == 0 || draft.paused || !short() || !self.has_room_for_carried(table, id, reserve) {
                    break;
                }
                self.lower_waiting.pop_front();
                self.join_carried(table, id, draft.now);
                draft.swapped += moved;
                left -= 1;
                continue;
            }
            let cached = self.kv.lookup(table, id);
            let start = cached.len() as u32 * self.kv.rule.block_tokens;
            let todo = table[id].target - start;
            let most = todo.min(left).min(chunks);
            if most == 0 || !self.has_room_for(table, id, &cached, reserve) {
                break;
            }
            let chunk = self.largest_chunk(table, start, most, ceiling);
            if chunk == 0 {
                break;
            }
            self.lower_waiting.pop_front();
            self.seat(table, id, cached, chunk, draft.now, draft.started);
            (left, chunks) = (left - chunk, chunks - chunk);
            if chunk < todo {
                break;
            }
        }
    }

    /// The batch member admitted last of those that `eligible` (told whether one is parked) lets through loses its cache.
    /// Returns whether there was one.
    fn preempt_lower(
        &mut self,
        table: &mut Table,
        draft: &mut Draft,
        eligible: impl Fn(bool) -> bool,
    ) -> bool {
        let found = |member: &super::Member| member.lower && eligible(member.parked.is_some());
        let Some(index) = self.batch.iter().rposition(found) else { return false };
        let mut member = self.batch.remove(index);
        self.kv.release(&mut member.blocks);
        let slot = &mut table[member.id];
        if matches!(draft.rules.below.preempt, Preempt::Swap(_)) && member.decoding {
            swap_out(slot, draft.now);
            draft.swapped += u64::from(member.context);
        } else {
            restart(slot, draft.now);
        }
        slot.preemptions += 1;
        self.lower_waiting.push_front(member.id);
        draft.lower_lost = true;
        self.changed = true;
        true
    }
}
