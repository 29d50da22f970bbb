//! Steps of two classes: real-time as ever, batch below it from what is left. [`crate::replica::naive`] states the
//! rules; this is how they are kept at O(1 + joins + finishes + sequences parked and unparked) a step.

use super::lower::Lower;
use super::{PARKED, PREFILLING, Replica, Run, first_or_next_token, pop_ended};
use crate::observe::{Observer, StepLine, StepRun};
use crate::replica::decoding::Decoding;
use crate::replica::kv::Hit;
use crate::replica::limit::Ceiling;
use crate::replica::step_time::{StepPlan, StepShape};
use crate::replica::{Departures, NORMAL, arrive, beside_at};
use crate::table::{List, NEVER, Place, SlotId, Table};
use crate::time::Time;

/// A step that is being formed.
struct Draft<'a> {
    now: Time,
    started: &'a mut Vec<SlotId>,
    /// Tokens of the budget that are left: all of them, then those that batch may have.
    left: u32,
    /// What the step is so far.
    shape: StepShape,
    /// Tokens moved to or from the host.
    swapped: u64,
    /// Whether batch may find room that it did not find when the step before began.
    changed: bool,
    /// Whether a batch member lost its cache.
    lower_lost: bool,
    /// Whether the next step may be formed otherwise although nothing changes.
    soon: bool,
}

impl Draft<'_> {
    /// A batch member lost its cache, when `moved` tells of one; returns whether it does.
    fn note_lost(&mut self, moved: Option<u64>) -> bool {
        self.swapped += moved.unwrap_or(0);
        self.lower_lost |= moved.is_some();
        moved.is_some()
    }
}

impl Replica {
    /// The sequences of a class that decode, and how many of them do in the run in flight.
    #[inline]
    pub(super) fn cohort(&self, lower: bool) -> (&Decoding, u32) {
        match &self.lower {
            Some(cohort) if lower => (&cohort.decoding, cohort.going),
            _ => (&self.decoding, self.run.as_ref().map_or(0, |run| run.decodes)),
        }
    }

    /// The waiting line that a request is in.
    pub(super) fn line(&mut self, table: &Table, id: SlotId) -> &mut List {
        match &mut self.lower {
            Some(lower) if table[id].lower => &mut lower.waiting,
            _ => &mut self.waiting,
        }
    }

    /// [`crate::replica::Stepper::enqueue`].
    pub(super) fn enqueue_below(&mut self, table: &mut Table, id: SlotId) -> bool {
        let lower = self.lower.as_mut().expect("two classes");
        if table[id].lower {
            lower.waiting.push_back(table, id);
            let is_first = lower.waiting.len() == 1;
            lower.changed |= is_first;
            return is_first;
        }
        self.waiting.push_back(table, id);
        let free = self.running + lower.seated() < self.batching.sequences;
        self.waiting.len() == 1 && (free || (lower.may_preempt() && lower.seated() > 0))
    }

    /// [`crate::replica::Stepper::begin`].
    pub(super) fn begin_below(
        &mut self,
        table: &mut Table,
        now: Time,
        started: &mut Vec<SlotId>,
    ) -> Option<Time> {
        let mut lower = self.lower.take().expect("two classes");
        let changed = std::mem::take(&mut lower.changed);
        let mut draft = Draft {
            now,
            started,
            left: self.batching.tokens,
            shape: StepShape::default(),
            swapped: 0,
            changed,
            lower_lost: false,
            soon: false,
        };
        self.serve_upper(&mut lower, table, &mut draft);
        let upper = draft.shape;
        (lower.going, lower.without) = (0, None);
        if lower.members > 0 || !lower.waiting.is_empty() {
            self.serve_lower(&mut lower, table, &mut draft);
        }
        let end = self.launch(&mut lower, &upper, &draft);
        assert!(
            end.is_some() || self.running + lower.members + self.waiting.len() + lower.waiting.len() == 0,
            "a replica with work must make progress"
        );
        self.lower = Some(lower);
        end
    }

    /// Rules 1 and 2: real-time.
    fn serve_upper(&mut self, lower: &mut Lower, table: &mut Table, draft: &mut Draft) {
        let lost = self.claim_upper(lower, table, draft);
        draft.shape.decodes = self.decoding.count;
        let left = draft.left.checked_sub(self.decoding.count);
        draft.left = left.expect("the batch never outgrows the token budget");
        if let Some(id) = self.partial {
            let start = table[id].computed;
            let chunk = (table[id].target - start).min(draft.left);
            if chunk > 0 {
                draft.left -= chunk;
                self.add_chunk(id, start, chunk, &mut draft.shape);
            }
        }
        if !lost && !self.waiting.is_empty() {
            self.admit_upper(lower, table, draft);
        }
        draft.shape.sequences += draft.shape.decodes;
        draft.shape.context_tokens = self.decoding.context;
    }

    /// As [`Replica::claim_blocks`], but batch loses first.
    fn claim_upper(&mut self, lower: &mut Lower, table: &mut Table, draft: &mut Draft) -> bool {
        let (mut claimed, mut lost) = (0, false);
        loop {
            let granted = (self.decoding.demand(0) - claimed).min(self.kv.free());
            self.kv.take(granted);
            claimed += granted;
            if claimed == self.decoding.demand(0) {
                return lost;
            }
            if lower.may_preempt()
                && draft.note_lost(lower.preempt_last(&mut self.kv, &self.site, table, draft.now))
            {
                continue;
            }
            let id = self.preempt_last(table, draft.now);
            table[id].beside = beside_at(&table[id], lower.beside);
            lower.changed = true;
            lost = true;
        }
    }

    /// As [`Replica::admit`], but batch makes room.
    fn admit_upper(&mut self, lower: &mut Lower, table: &mut Table, draft: &mut Draft) {
        let may_preempt = lower.may_preempt();
        while draft.left > 0 {
            let Some(id) = self.waiting.first() else { break };
            if self.running + lower.seated() >= self.batching.sequences {
                if may_preempt
                    && draft.note_lost(lower.preempt_seated(&mut self.kv, &self.site, table, draft.now))
                {
                    continue;
                }
                break;
            }
            let idle = self.running + lower.members == 0;
            if table[id].carried {
                if self.join_carried(table, id, draft.now, &mut draft.shape, idle) {
                    table[id].beside_from = lower.beside;
                    draft.left -= 1;
                    lower.changed = true;
                    continue;
                }
            } else {
                let hit = self.kv.lookup(table, id);
                let need = self.kv.blocks_for(table[id].target) - hit.blocks;
                if self.kv.admits(need, hit, idle, 0) {
                    self.waiting.remove(table, id);
                    let admitted = self.seat(table, id, hit, need, draft.now, draft.started);
                    table[id].beside_from = lower.beside;
                    self.order.push((id, admitted));
                    self.running += 1;
                    let start = table[id].computed;
                    let chunk = (table[id].target - start).min(draft.left);
                    draft.left -= chunk;
                    self.add_chunk(id, start, chunk, &mut draft.shape);
                    continue;
                }
            }
            if !may_preempt
                || !draft.note_lost(lower.preempt_last(&mut self.kv, &self.site, table, draft.now))
            {
                break;
            }
        }
        self.sweep(table);
    }

    /// Rule 3: batch.
    fn serve_lower(&mut self, lower: &mut Lower, table: &mut Table, draft: &mut Draft) {
        let upper = draft.shape;
        let alone = upper.sequences == 0;
        let ceiling = lower.limit.ceiling(&self.law, &upper);
        draft.left = draft.left.min(lower.rules.tokens.unwrap_or(u32::MAX));
        let paused = if upper.prefill_tokens > 0 {
            lower.decoding.count > 0 && !self.fits(lower, &ceiling, draft, 0, 0)
        } else {
            self.park_and_unpark(lower, table, &ceiling, draft);
            false
        };
        if !paused {
            self.claim_lower(lower, table, draft);
            while alone && lower.decoding.count == 0 && self.has_sequence_free(lower) {
                // Who ran lost its cache, and the others are parked.
                let Some(id) = lower.last_parked(table, &self.site) else { break };
                lower.unpark(table, id);
                self.claim_lower(lower, table, draft);
            }
            draft.left -= lower.decoding.count;
            draft.shape = upper.with_decodes(lower.decoding.count, lower.decoding.context);
        }

        let mut chunks = draft.left.min(lower.rules.chunk.unwrap_or(u32::MAX));
        let mut unfinished = false;
        if let Some(id) = lower.partial {
            let start = table[id].computed;
            let todo = table[id].target - start;
            let chunk = self.largest_chunk(&ceiling, draft, start, todo.min(chunks));
            if chunk > 0 {
                self.add_lower_chunk(id, start, chunk, draft);
                chunks -= chunk;
            } else {
                // As real-time steps grow, so does what batch may add to them.
                draft.soon |= chunks > 0 && !alone && lower.limit.is_relative();
            }
            unfinished = chunk < todo;
        }
        let open = draft.changed || self.running + lower.members == 0;
        if open && !draft.lower_lost && self.waiting.is_empty() && lower.parked == 0 && !unfinished {
            self.admit_lower(lower, table, &ceiling, draft, chunks, paused);
        }
        lower.going = if paused { 0 } else { lower.decoding.count };
        lower.sweep(table, &self.site);
    }

    fn has_sequence_free(&self, lower: &Lower) -> bool {
        self.running + lower.seated() < self.batching.sequences
    }

    /// Whether the step may take all batch sequences that decode, and `more` of `context` tokens.
    fn fits(&self, lower: &Lower, ceiling: &Ceiling, draft: &Draft, more: u32, context: u32) -> bool {
        let (count, context) = (lower.decoding.count + more, lower.decoding.context + u64::from(context));
        count <= draft.left
            && (count == 0 || ceiling.allows(&self.law, &draft.shape.with_decodes(count, context)))
    }

    /// Rule 3a without real-time prompts.
    fn park_and_unpark(
        &mut self,
        lower: &mut Lower,
        table: &mut Table,
        ceiling: &Ceiling,
        draft: &mut Draft,
    ) {
        let alone = draft.shape.sequences == 0;
        let mut parked = false;
        loop {
            let must_go_on = alone && lower.decoding.count == 1;
            if must_go_on || self.fits(lower, ceiling, draft, 0, 0) {
                break;
            }
            lower.park_last(table, &self.site);
            parked = true;
        }
        // A sequence is free that real-time did not find.
        draft.soon |= parked && !self.waiting.is_empty();
        while lower.parked > 0 && self.has_sequence_free(lower) {
            let forced = alone && lower.decoding.count == 0;
            if !forced && (parked || !draft.changed) {
                break;
            }
            let Some(id) = lower.last_parked(table, &self.site) else { break };
            if !forced && !self.fits(lower, ceiling, draft, 1, table[id].target) {
                break;
            }
            lower.unpark(table, id);
        }
    }

    /// Blocks for the batch sequences that decode in this step, in order of admission, as
    /// [`Replica::claim_blocks`].
    fn claim_lower(&mut self, lower: &mut Lower, table: &mut Table, draft: &mut Draft) {
        let mut claimed = 0;
        loop {
            let spare = self.reserve(lower);
            let wanted = lower.decoding.demand(0) - claimed;
            let granted = wanted.min(self.kv.free().saturating_sub(spare));
            self.kv.take(granted);
            claimed += granted;
            if granted == wanted {
                return;
            }
            let moved = lower.preempt_last(&mut self.kv, &self.site, table, draft.now);
            assert!(draft.note_lost(moved), "sequences that need blocks are in the batch");
        }
    }

    /// Blocks that batch leaves free; none when a batch member is alone on the replica.
    fn reserve(&self, lower: &Lower) -> u32 {
        if self.running + lower.members == 1 { 0 } else { lower.rules.reserve }
    }

    /// The largest chunk that a batch prompt may have in this step; one token at least when nothing else is in it.
    fn largest_chunk(&self, ceiling: &Ceiling, draft: &Draft, start: u32, most: u32) -> u32 {
        let chunk = ceiling.chunk(&self.law, &draft.shape, start, most);
        if draft.shape.sequences == 0 { chunk.max(1) } else { chunk }
    }

    fn add_lower_chunk(&mut self, id: SlotId, start: u32, chunk: u32, draft: &mut Draft) {
        draft.left -= chunk;
        draft.shape = draft.shape.with_chunk(start, chunk);
        self.chunks.push((id, chunk));
    }

    /// Rule 3c, when nothing speaks against it; at most `chunks` prompt tokens.
    fn admit_lower(
        &mut self,
        lower: &mut Lower,
        table: &mut Table,
        ceiling: &Ceiling,
        draft: &mut Draft,
        mut chunks: u32,
        paused: bool,
    ) {
        while self.has_sequence_free(lower) {
            let Some(id) = lower.waiting.first() else { break };
            let idle = self.running + lower.members == 0;
            let reserve = lower.rules.reserve;
            if table[id].carried {
                if draft.left == 0 || paused || !self.join_lower(lower, table, id, ceiling, draft) {
                    break;
                }
                continue;
            }
            let hit = self.kv.lookup(table, id);
            let start = hit.blocks * self.kv.block_tokens();
            let todo = table[id].target - start;
            let need = self.kv.blocks_for(table[id].target) - hit.blocks;
            let most = todo.min(chunks).min(draft.left);
            if most == 0 || !self.kv.admits(need, hit, idle, reserve) {
                break;
            }
            let chunk = self.largest_chunk(ceiling, draft, start, most);
            if chunk == 0 {
                break;
            }
            lower.waiting.remove(table, id);
            let admitted = self.seat(table, id, hit, need, draft.now, draft.started);
            lower.add(id, admitted);
            self.add_lower_chunk(id, start, chunk, draft);
            chunks -= chunk;
            if chunk < todo {
                break;
            }
        }
    }

    /// The first of the batch line joins the sequences that decode with the KV cache that it brings, in this very step,
    /// when there is room.
    fn join_lower(
        &mut self,
        lower: &mut Lower,
        table: &mut Table,
        id: SlotId,
        ceiling: &Ceiling,
        draft: &mut Draft,
    ) -> bool {
        let (context, tokens_at) = (table[id].target, table[id].last_token);
        let idle = self.running + lower.members == 0;
        let need = self.kv.blocks_for(context + 1);
        // One that another pool computed has a link of its own.
        let moved = if table[id].left_at == NEVER { u64::from(context) } else { 0 };
        let with = draft.shape.with_decodes(1, u64::from(context));
        let is_short = draft.shape.sequences == 0 || ceiling.allows(&self.law, &with);
        if !is_short || !self.kv.admits(need, Hit::default(), idle, lower.rules.reserve) {
            return false;
        }
        lower.waiting.remove(table, id);
        self.kv.take(need);
        let admitted = self.admissions;
        self.admissions = admitted.wrapping_add(1);
        arrive(&mut table[id], draft.now, admitted);
        self.kv.publish(table, id, context);
        lower.add(id, admitted);
        lower.join(table, id, tokens_at);
        lower.changed = true;
        draft.left -= 1;
        draft.shape = with;
        draft.swapped += moved;
        true
    }

    fn plan(&self, shape: &StepShape) -> StepPlan {
        let plan = self.law.plan(shape);
        if self.slow == NORMAL { plan } else { plan.slowed(shape, self.slow) }
    }

    /// Begins the run of steps that was formed, `upper` being what its first is without batch.
    fn launch(&mut self, lower: &mut Lower, upper: &StepShape, draft: &Draft) -> Option<Time> {
        let shape = &draft.shape;
        if shape.sequences == 0 {
            return None;
        }
        let plan = self.plan(shape);
        let is_longer = draft.swapped > 0 || shape != upper;
        let without = (upper.sequences > 0 && is_longer).then(|| self.plan(upper));
        lower.without = without.map(|plan| plan.line);
        let is_single =
            !self.skip || shape.prefill_tokens > 0 || draft.swapped > 0 || lower.changed || draft.soon;
        let steps = if is_single {
            1
        } else {
            let most = without.map_or(plan.steps, |without| without.steps.min(plan.steps));
            self.steps_ahead(lower, upper, shape, most)
        };
        let (span, last) = plan.line.sum(steps);
        let last_start = draft.now + (span - last);
        let end = draft.now + span + lower.limit.swap(draft.swapped);
        self.run = Some(Run {
            start: draft.now,
            line: plan.line,
            steps,
            last_start,
            end,
            decodes: upper.decodes,
            prefill_tokens: shape.prefill_tokens,
            context_tokens: shape.context_tokens,
            outside_range: plan.outside_range,
        });
        Some(end)
    }

    /// For how many steps, at most `most`, nothing happens but that sequences decode.
    fn steps_ahead(&self, lower: &Lower, upper: &StepShape, shape: &StepShape, most: u64) -> u64 {
        let mut most = most;
        if upper.decodes > 0 {
            most = most.min(self.decoding.next_end() - self.decoding.clock);
        }
        if lower.going == 0 {
            return self.decoding.steps_within(self.kv.free(), most.max(1));
        }
        most = most.min(lower.decoding.next_end() - lower.decoding.clock);
        // A sequence that must go on goes on, whatever its steps take.
        if upper.decodes > 0 || lower.going > 1 {
            let line = |shape: &StepShape| self.law.plan(shape).line;
            let without: Option<StepLine> = (upper.decodes > 0).then(|| line(upper));
            most = most.min(lower.limit.steps(&line(shape), without.as_ref()));
        }
        let free = self.kv.free().saturating_sub(self.reserve(lower));
        if upper.decodes == 0 {
            lower.decoding.steps_within(free, most.max(1))
        } else {
            self.decoding.steps_within_both(&lower.decoding, free, most.max(1))
        }
    }

    /// [`crate::replica::Stepper::finish`], once the run is taken off.
    pub(super) fn finish_below(
        &mut self,
        table: &mut Table,
        run: &Run,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        let mut lower = self.lower.take().expect("two classes");
        let mut later = 0;
        if run.decodes > 0 {
            self.tell_gaps(table, &self.decoding, run, observer);
            later += self.decoding.demand_after_first(run.steps);
            self.decoding.advance(run.steps, run.end);
        }
        if lower.going > 0 {
            self.tell_gaps(table, &lower.decoding, run, observer);
            later += lower.decoding.demand_after_first(run.steps);
            lower.decoding.advance(run.steps, run.end);
        }
        self.kv.take(later);
        lower.beside = lower.beside.wrapping_add(lower.longer(run.end - run.start, run.steps));
        observer.worked(&StepRun {
            pool: self.site.pool,
            replica: self.site.replica,
            start: run.start,
            last_start: run.last_start,
            end: run.end,
            steps: run.steps,
            busy: 1,
            decodes: run.decodes + lower.going,
            prefill_tokens: run.prefill_tokens,
            context_tokens: run.context_tokens,
            outside_range: if run.outside_range { run.steps } else { 0 },
        });
        self.lower = Some(lower);
        if !self.ghosts.is_empty() {
            let mut ghosts = std::mem::take(&mut self.ghosts);
            ghosts.sort_by_key(|&id| table[id].admitted);
            for &id in &ghosts {
                self.bury_below(table, id);
            }
            out.ghosts.append(&mut ghosts);
            self.ghosts = ghosts;
        }
        self.end_decodes_below(table, run.end, out);
        if !self.chunks.is_empty() {
            self.end_chunks_below(table, run.end, observer, out);
        }
    }

    /// As [`Replica::bury`], for either class.
    pub(super) fn bury_below(&mut self, table: &mut Table, id: SlotId) {
        let lower = self.lower.as_mut().expect("two classes");
        lower.changed = true;
        if !table[id].lower {
            return self.bury(table, id);
        }
        let context = match table[id].joined {
            PREFILLING => {
                self.chunks.retain(|&(member, _)| member != id);
                if lower.partial == Some(id) {
                    lower.partial = None;
                }
                table[id].target
            }
            PARKED => {
                lower.parked -= 1;
                table[id].target
            }
            _ => lower.decoding.leave(table, id),
        };
        self.kv.release(table, id, context);
        lower.members -= 1;
    }

    /// Lets go of the sequences of both classes that got their last token at `now`.
    fn end_decodes_below(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        let before = out.finished.len();
        let lower = self.lower.as_mut().expect("two classes");
        pop_ended(&mut self.decoding, &self.site, table, &mut out.finished);
        pop_ended(&mut lower.decoding, &self.site, table, &mut out.finished);
        let done = &mut out.finished[before..];
        done.sort_unstable_by_key(|&id| table[id].admitted);
        for &id in done.iter() {
            let lower = self.lower.as_mut().expect("two classes");
            let decoding = if table[id].lower { &mut lower.decoding } else { &mut self.decoding };
            let context = decoding.leave(table, id);
            debug_assert_eq!((table[id].generated, table[id].last_token), (table[id].output, now));
            self.leave_below(table, id, context);
        }
    }

    fn leave_below(&mut self, table: &mut Table, id: SlotId, context: u32) {
        let lower = self.lower.as_mut().expect("two classes");
        lower.changed = true;
        if !table[id].lower {
            table[id].beside = beside_at(&table[id], lower.beside);
            return self.leave_batch(table, id, context);
        }
        self.kv.publish(table, id, context);
        self.kv.release(table, id, context);
        lower.members -= 1;
        table[id].place = Place::Ghost;
    }

    /// As [`Replica::end_chunks`], for both classes.
    fn end_chunks_below(
        &mut self,
        table: &mut Table,
        now: Time,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.sort_unstable_by_key(|&(id, _)| table[id].admitted);
        for &(id, chunk) in &chunks {
            let lower = self.lower.as_mut().expect("two classes");
            let partial = if table[id].lower { &mut lower.partial } else { &mut self.partial };
            if *partial == Some(id) {
                *partial = None;
            }
            table[id].computed += chunk;
            if table[id].computed < table[id].target {
                assert!(partial.replace(id).is_none(), "two unfinished prompts of one class after a step");
                continue;
            }
            first_or_next_token(table, id, now, observer);
            let target = table[id].target;
            self.kv.publish(table, id, target);
            lower.changed = true;
            if table[id].generated == table[id].output {
                table[id].last_token = now;
                self.leave_below(table, id, target);
                out.finished.push(id);
            } else if table[id].lower {
                lower.join(table, id, now);
            } else {
                self.decoding.join(table, id, now);
            }
        }
        chunks.clear();
        self.chunks = chunks;
    }
}
