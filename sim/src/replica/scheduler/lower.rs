//! The batch cohort of a replica: its waiting line, the sequences that run as aggregates, and those that are parked.
//!
//! The cohort has a decode clock of its own, which stands still in steps that it pauses for; a pause costs nothing. A
//! member is touched when it joins, leaves, is parked and runs again, O(log members) each.

use super::{Run, ends_at, is_member};
use crate::observe::StepLine;
use crate::replica::decoding::Decoding;
use crate::replica::kv::KvCache;
use crate::replica::limit::Limit;
use crate::replica::{Departures, Site, park, restart, swap_out};
use crate::scenario::batch::{Below, Preempt};
use crate::table::{List, Place, SlotId, Table};
use crate::time::{Span, Time};
use std::collections::BinaryHeap;

/// The batch requests of a replica.
#[derive(Debug)]
pub(super) struct Lower {
    pub(super) rules: Below,
    pub(super) limit: Limit,
    pub(super) waiting: List,
    /// Those that decode, unless they pause.
    pub(super) decoding: Decoding,
    /// The prompt that is not finished yet, when there is one.
    pub(super) partial: Option<SlotId>,
    /// In the batch, parked ones and ghosts included.
    pub(super) members: u32,
    /// Ghosts included.
    pub(super) parked: u32,
    /// Stack of `(slot, admission)` of all members, void entries between them.
    pub(super) order: Vec<(SlotId, u32)>,
    /// `(admission, slot)` of those that decode, the last admitted on top, void entries between them.
    awake: BinaryHeap<(u32, SlotId)>,
    /// Stack of `(slot, admission)` of those that are parked, void entries between them.
    stack: Vec<(SlotId, u32)>,
    /// Whether batch may find room that it did not find when the last step began.
    pub(super) changed: bool,
    /// Nanoseconds by which steps were longer than without batch, modulo 2^64.
    pub(super) beside: u64,
    /// Sequences that decode in the run in flight.
    pub(super) going: u32,
    /// What steps of the run in flight would take without batch, when real-time is in them and they are longer.
    pub(super) without: Option<StepLine>,
}

impl Lower {
    /// Nobody.
    pub(super) fn new(rules: Below, block_tokens: u32, workloads: usize) -> Self {
        Lower {
            limit: Limit::new(&rules),
            rules,
            waiting: List::default(),
            decoding: Decoding::new(block_tokens, workloads, true),
            partial: None,
            members: 0,
            parked: 0,
            order: Vec::new(),
            awake: BinaryHeap::new(),
            stack: Vec::new(),
            changed: false,
            beside: 0,
            going: 0,
            without: None,
        }
    }

    /// Sequences in use: members that are not parked.
    #[inline]
    pub(super) fn seated(&self) -> u32 {
        self.members - self.parked
    }

    /// Whether real-time takes what it needs from batch.
    #[inline]
    pub(super) fn may_preempt(&self) -> bool {
        self.rules.preempt != Preempt::Never
    }

    /// Nanoseconds by which the steps of a run were longer than without batch.
    pub(super) fn longer(&self, span: Span, steps: u64) -> u64 {
        let without = |line: &StepLine| line.sum(steps).0;
        self.without.as_ref().map_or(0, |line| span.as_nanos().wrapping_sub(without(line).as_nanos()))
    }

    /// The count of [`Lower::beside`] with the steps of the run in flight that have ended: all but its last.
    pub(super) fn beside_by_now(&self, run: Option<&Run>) -> u64 {
        let ended = run.filter(|run| run.steps > 1);
        self.beside
            .wrapping_add(ended.map_or(0, |run| self.longer(run.last_start - run.start, run.steps - 1)))
    }

    /// A member of the batch that was admitted as number `admitted` is counted.
    #[inline]
    pub(super) fn add(&mut self, id: SlotId, admitted: u32) {
        self.order.push((id, admitted));
        self.members += 1;
    }

    /// A member joins the sequences that decode; its latest token was out at `tokens_at`.
    pub(super) fn join(&mut self, table: &mut Table, id: SlotId, tokens_at: Time) {
        self.decoding.join(table, id, tokens_at);
        self.awake.push((table[id].admitted, id));
    }

    /// The sequence that decodes and was admitted last is parked.
    pub(super) fn park_last(&mut self, table: &mut Table, site: &Site) {
        let (admitted, id) = self.last_awake(table, site).expect("who is to be parked decodes");
        self.awake.pop();
        let context = self.decoding.leave(table, id);
        park(&mut table[id], context);
        self.stack.push((id, admitted));
        self.parked += 1;
    }

    /// The sequence that was parked last.
    pub(super) fn last_parked(&mut self, table: &Table, site: &Site) -> Option<SlotId> {
        while let Some(&(id, admitted)) = self.stack.last() {
            if table[id].place == Place::Parked && is_member(site, &table[id], admitted) {
                return Some(id);
            }
            self.stack.pop();
        }
        None
    }

    /// The sequence that was parked last, which is `id`, decodes again.
    pub(super) fn unpark(&mut self, table: &mut Table, id: SlotId) {
        self.stack.pop();
        self.parked -= 1;
        let tokens_at = table[id].last_token;
        self.join(table, id, tokens_at);
    }

    fn last_awake(&mut self, table: &Table, site: &Site) -> Option<(u32, SlotId)> {
        while let Some(&(admitted, id)) = self.awake.peek() {
            if table[id].place == Place::Decode && is_member(site, &table[id], admitted) {
                return Some((admitted, id));
            }
            self.awake.pop();
        }
        None
    }

    /// The member admitted last of those that are not parked loses its cache; returns how many tokens of it are moved
    /// to the host, or `None` when there is no such member.
    pub(super) fn preempt_seated(
        &mut self,
        kv: &mut KvCache,
        site: &Site,
        table: &mut Table,
        now: Time,
    ) -> Option<u64> {
        let awake = self.last_awake(table, site);
        let partial = self.partial.map(|id| (table[id].admitted, id));
        let (_, id) = awake.max(partial)?;
        Some(self.preempt(kv, table, id, now))
    }

    /// The member admitted last loses its cache; as [`Lower::preempt_seated`].
    pub(super) fn preempt_last(
        &mut self,
        kv: &mut KvCache,
        site: &Site,
        table: &mut Table,
        now: Time,
    ) -> Option<u64> {
        while let Some((id, admitted)) = self.order.pop() {
            if is_member(site, &table[id], admitted) {
                return Some(self.preempt(kv, table, id, now));
            }
        }
        None
    }

    fn preempt(&mut self, kv: &mut KvCache, table: &mut Table, id: SlotId, now: Time) -> u64 {
        let decoded = table[id].place != Place::Prefill;
        let context = self.take_out(table, id);
        kv.release(table, id, context);
        table[id].preemptions += 1;
        self.waiting.push_front(table, id);
        if decoded && matches!(self.rules.preempt, Preempt::Swap(_)) {
            swap_out(&mut table[id], now);
            u64::from(context)
        } else {
            restart(&mut table[id], now);
            0
        }
    }

    /// A member that is no ghost leaves the batch between steps; returns the tokens that it has blocks for.
    fn take_out(&mut self, table: &mut Table, id: SlotId) -> u32 {
        self.members -= 1;
        self.changed = true;
        match table[id].place {
            Place::Decode => return self.decoding.leave(table, id),
            Place::Parked => self.parked -= 1,
            Place::Prefill => assert_eq!(self.partial.take(), Some(id), "only one prompt is unfinished"),
            place => panic!("slot {id} is not in the batch but {place:?}"),
        }
        table[id].target
    }

    /// All batch requests leave, between steps: [`crate::replica::Stepper::evict_lower`].
    pub(super) fn evict(
        &mut self,
        kv: &mut KvCache,
        site: &Site,
        table: &mut Table,
        now: Time,
        out: &mut Departures,
    ) {
        let mut order = std::mem::take(&mut self.order);
        for (id, admitted) in order.drain(..) {
            if is_member(site, &table[id], admitted) {
                let context = self.take_out(table, id);
                kv.release(table, id, context);
                restart(&mut table[id], now);
                out.evicted.push(id);
            }
        }
        self.order = order;
        assert_eq!((self.members, self.parked), (0, 0), "batch members are left");
        self.clear(table, now, out);
    }

    /// Members are gone; those that wait leave.
    pub(super) fn clear(&mut self, table: &mut Table, now: Time, out: &mut Departures) {
        while let Some(id) = self.waiting.pop_front(table) {
            restart(&mut table[id], now);
            out.evicted.push(id);
        }
        self.decoding.clear();
        (self.partial, self.members, self.parked) = (None, 0, 0);
        self.order.clear();
        self.awake.clear();
        self.stack.clear();
    }

    /// Throws void entries out where most are void.
    #[inline]
    pub(super) fn sweep(&mut self, table: &Table, site: &Site) {
        let is_void = |len: usize, live: u32| len > 2 * live as usize + 64;
        let decoding = &mut self.decoding;
        if is_void(self.order.len(), self.members) {
            self.order.retain(|&(id, admitted)| is_member(site, &table[id], admitted));
        }
        if is_void(self.awake.len(), decoding.count) {
            self.awake.retain(|&(admitted, id)| {
                table[id].place == Place::Decode && is_member(site, &table[id], admitted)
            });
        }
        if is_void(self.stack.len(), self.parked) {
            self.stack.retain(|&(id, admitted)| {
                table[id].place == Place::Parked && is_member(site, &table[id], admitted)
            });
        }
        if is_void(decoding.ends.len(), decoding.count) {
            let mut ends = std::mem::take(&mut decoding.ends);
            ends.retain(|entry| ends_at(decoding, site, &table[entry.0 as SlotId], (entry.0 >> 32) as u64));
            decoding.ends = ends;
        }
    }
}
