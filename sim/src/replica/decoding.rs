//! The decoding sequences of a replica as aggregates: what a step must know about them, without looking at any.
//!
//! They are how many there are, the sum of their contexts, how many cross into a new KV block at each residue of the
//! decode clock, and a heap of the clocks at which members end. A member is touched when it joins and when it leaves.

use crate::request::WorkloadId;
use crate::table::{Place, SlotId, Table};
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The decoding sequences, as aggregates.
#[derive(Debug)]
pub(super) struct Decoding {
    /// Of which class its members are: [`crate::table::Slot::lower`].
    pub(super) lower: bool,
    /// Decode steps done since the replica began; members count their tokens by it.
    pub(super) clock: u64,
    /// Members.
    pub(super) count: u32,
    /// Tokens in the KV cache of all members.
    pub(super) context: u64,
    /// Members by `(context - clock) mod block`: those at `-clock mod block` need a new block in the next step.
    residues: Vec<u32>,
    /// Members by workload.
    pub(super) by_workload: Vec<u32>,
    /// When the members got their latest token, those in `late` excepted.
    pub(super) tokens_at: Time,
    /// Members whose latest token came at another time: they joined after a step in which the others did not decode,
    /// or got it elsewhere.
    pub(super) late: Vec<Late>,
    /// `clock at which a member gets its last token << 32 | slot`; void entries are recognised when they surface.
    pub(super) ends: BinaryHeap<Reverse<u128>>,
}

/// Members of one workload that all got their latest token at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    pub(super) tokens_at: Time,
    pub(super) workload: WorkloadId,
    pub(super) count: u32,
}

impl Decoding {
    /// Nobody, at clock 0.
    pub(super) fn new(block_tokens: u32, workloads: usize, lower: bool) -> Self {
        Decoding {
            lower,
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
    pub(super) fn demand(&self, ahead: u64) -> u32 {
        let mask = self.residues.len() as u64 - 1;
        self.residues[(self.clock.wrapping_add(ahead).wrapping_neg() & mask) as usize]
    }

    /// Blocks needed in the decode steps `1..steps` from now (the first has claimed its own).
    pub(super) fn demand_after_first(&self, steps: u64) -> u32 {
        let block = self.residues.len() as u64;
        let (cycles, rest) = ((steps - 1) / block, (steps - 1) % block);
        let partial: u32 = (1..=rest).map(|ahead| self.demand(ahead)).sum();
        u32::try_from(cycles).expect("a run of fewer than 2^32 cycles") * self.count + partial
    }

    /// The most steps, at most `most`, for which `free` blocks are enough after the first step claimed its own.
    pub(super) fn steps_within(&self, free: u32, most: u64) -> u64 {
        steps_within(self.residues.len() as u64, self.count, |ahead| self.demand(ahead), free, most)
    }

    /// [`Decoding::steps_within`] where the sequences of `other` decode in the same steps, from the same blocks.
    pub(super) fn steps_within_both(&self, other: &Decoding, free: u32, most: u64) -> u64 {
        let demand = |ahead| self.demand(ahead) + other.demand(ahead);
        steps_within(self.residues.len() as u64, self.count + other.count, demand, free, most)
    }

    /// `steps` steps are over, the last of them at `end`: every member has got its tokens.
    #[inline]
    pub(super) fn advance(&mut self, steps: u64, end: Time) {
        self.clock += steps;
        self.context += steps * u64::from(self.count);
        self.tokens_at = end;
        self.late.clear();
    }

    /// All members are gone; the clock goes on.
    pub(super) fn clear(&mut self) {
        (self.count, self.context) = (0, 0);
        self.residues.fill(0);
        self.by_workload.fill(0);
        self.late.clear();
        self.ends.clear();
    }

    /// Whether a member's latest token is older or newer than the others'.
    #[inline]
    pub(super) fn is_late(&self, table: &Table, id: SlotId) -> bool {
        table[id].joined == self.clock && table[id].last_token != self.tokens_at
    }

    /// When a member got its latest token.
    #[inline]
    pub(super) fn latest_token(&self, table: &Table, id: SlotId) -> Time {
        if table[id].joined == self.clock { table[id].last_token } else { self.tokens_at }
    }

    /// A member joins whose latest token came out at `now`.
    #[inline]
    pub(super) fn join(&mut self, table: &mut Table, id: SlotId, now: Time) {
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
    pub(super) fn leave(&mut self, table: &mut Table, id: SlotId) -> u32 {
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
    pub(super) fn next_end(&self) -> u64 {
        self.ends.peek().map_or(u64::MAX, |&Reverse(entry)| (entry >> 32) as u64)
    }
}

/// See [`Decoding::steps_within`]; `count` sequences need `demand(ahead)` blocks of `block` tokens in the step `ahead`
/// steps from now. `count` is at least 1.
#[inline]
fn steps_within(block: u64, count: u32, demand: impl Fn(u64) -> u32, free: u32, most: u64) -> u64 {
    // Every member needs at most one block in `block` steps: usually this settles it.
    let cycles = u64::from(free) / u64::from(count);
    if most <= cycles * block {
        return most;
    }
    let mut left = free - u32::try_from(cycles).expect("fits: at most `free`") * count;
    let mut steps = cycles * block + 1;
    while steps < most && demand(steps) <= left {
        left -= demand(steps);
        steps += 1;
    }
    steps.min(most)
}
