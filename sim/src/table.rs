//! The requests in flight: a slab with a free list, and intrusive queues through it.
//!
//! Memory is O(requests in flight): a slot is reused as soon as its request is over. What the engine touches in
//! every step of a request's life sits together in [`Slot`]; what is only read at its beginning and end sits apart
//! in the heads. A slot is in at most one [`List`] at a time, so one pair of links serves them all.

use crate::request::{Finished, HashChain, Outcome, PoolId, Refusal, ReplicaId, RequestHead};
use crate::time::{Span, Time};
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// Index of a slot.
pub type SlotId = u32;

/// No slot.
pub const NONE: SlotId = u32::MAX;

/// "Has not happened": later than every instant a run can reach.
pub const NEVER: Time = Time::MAX;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The slot is free.
    Free,
    /// Let in; the service's overhead is not over yet.
    Overhead,
    /// In the gateway's queue.
    Gateway,
    /// Its KV cache is on the way to the pool that decodes it.
    Transfer,
    /// Waiting on a replica.
    Waiting,
    /// Part of a replica's batch, prompt not finished.
    Prefill,
    /// Part of a replica's batch, generating (or in service on a `slots` replica).
    Decode,
    /// Part of a replica's batch and of none of its steps: its KV cache stays, it gets no tokens.
    Parked,
    /// Over for the client, but a step in flight still holds its resources.
    Ghost,
}

/// What the engine needs of a request while it is in flight.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Where it is.
    pub place: Place,
    /// Its workload.
    pub workload: u16,
    /// The pool it is in, or will be.
    pub pool: PoolId,
    /// The pool that serves it: another than `pool` while that one processes its prompt for it.
    pub home: PoolId,
    /// What admission asked of it.
    pub class: u16,
    /// Whether it was let in, so that it holds what admission took for it.
    pub holds: bool,
    /// Whether it is in a pool: in its queue or on a replica.
    pub entered: bool,
    /// Whether it is on a replica, and has its permit.
    pub permit: bool,
    /// Whether its KV cache was computed elsewhere and comes with it.
    pub carried: bool,
    /// Whether its client has gone, and the gateway does not know.
    pub orphan: bool,
    /// Whether an engine that tells batch from real-time puts it below.
    pub lower: bool,
    /// Which attempt of its client it is, from 0.
    pub attempt: u16,
    /// The job that it is a request of, by the hub's own number; [`NONE`] when it is real-time.
    pub job: u32,
    /// The request that it is an attempt of, by the hub's own number; [`NONE`] when it is the only one.
    pub request: u32,
    /// Its replica, once dispatched.
    pub replica: ReplicaId,
    /// Times this slot was used; lets timers recognise that their request is gone.
    pub generation: u32,
    next: SlotId,
    prev: SlotId,
    /// Prompt tokens.
    pub prompt: u32,
    /// Tokens to produce, at least 1; where it is now.
    pub output: u32,
    /// Tokens to produce in all.
    pub whole: u32,
    /// Tokens that it would produce if no model's context ended it.
    pub drawn: u32,
    /// Tokens produced; for a decoding slot of the fast engine, when it joined.
    pub generated: u32,
    /// Tokens the running (or next) prefill must process: the prompt, and what a preemption threw away.
    pub target: u32,
    /// Tokens of `target` already in the KV cache.
    pub computed: u32,
    /// Leading KV blocks held through the prefix cache.
    pub shared_blocks: u32,
    /// Prompt tokens found in the prefix cache when first scheduled.
    pub cached: u32,
    /// Order of admission on its replica.
    pub admitted: u32,
    /// Times it lost its KV cache.
    pub preemptions: u32,
    /// The replica's decode clock when it joined the decoding sequences; on a `slots` pool the nanoseconds of its service
    /// that were over when it yielded.
    pub joined: u64,
    /// When it reached the gateway.
    pub arrived: Time,
    /// When the service's overhead was over.
    pub ready: Time,
    /// When it left the gateway's queue.
    pub dispatched: Time,
    /// When its wait in the queue it is in is too long; [`NEVER`] when it may wait for ever.
    pub expires: Time,
    /// When its first step began.
    pub scheduled: Time,
    /// When its first token was out.
    pub first_token: Time,
    /// When its latest token was out, as far as the engine has noted it.
    pub last_token: Time,
    /// When it lost its KV cache and has not got it back.
    pub preempted_at: Time,
    /// Time lost to preemption.
    pub preempted: Span,
    /// The part of it before the first token.
    pub preempted_before_first: Span,
    /// Service time that is left, on a `slots` pool.
    pub service: Span,
    /// When its KV cache left for the pool that decodes; [`NEVER`] before and after.
    pub left_at: Time,
    /// Time from its first token to its joining the batch that decodes it.
    pub transfer: Span,
    /// While it is in a batch, what the replica's count of [`Slot::beside`] was when it joined.
    pub beside_from: u64,
    /// Time by which its steps were longer because of batch tokens in them; while it is in a batch, as it was when it joined.
    pub beside: Span,
}

/// All requests in flight.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Slot>,
    heads: Vec<RequestHead>,
    chains: Vec<Option<Box<HashChain>>>,
    free: Vec<SlotId>,
}

impl std::ops::Index<SlotId> for Table {
    type Output = Slot;
    #[inline]
    fn index(&self, slot: SlotId) -> &Slot {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<SlotId> for Table {
    #[inline]
    fn index_mut(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.slots[slot as usize]
    }
}

impl Table {
    /// Takes a slot for a request that reached the gateway at `now`. O(1); allocates only when more requests are
    /// in flight than ever before.
    pub fn insert(
        &mut self,
        head: &RequestHead,
        chain: Option<Box<HashChain>>,
        now: Time,
        pool: PoolId,
    ) -> SlotId {
        let fresh = Slot {
            place: Place::Gateway,
            workload: head.workload,
            pool,
            home: pool,
            class: 0,
            holds: false,
            entered: false,
            permit: false,
            carried: false,
            orphan: false,
            lower: false,
            attempt: 0,
            job: NONE,
            request: NONE,
            replica: 0,
            generation: 0,
            next: NONE,
            prev: NONE,
            prompt: head.prompt_tokens,
            output: 1,
            whole: 1,
            drawn: 1,
            generated: 0,
            target: head.prompt_tokens,
            computed: 0,
            shared_blocks: 0,
            cached: 0,
            admitted: 0,
            preemptions: 0,
            joined: 0,
            arrived: now,
            ready: now,
            dispatched: NEVER,
            expires: NEVER,
            scheduled: NEVER,
            first_token: NEVER,
            last_token: NEVER,
            preempted_at: NEVER,
            preempted: Span::ZERO,
            preempted_before_first: Span::ZERO,
            service: Span::ZERO,
            left_at: NEVER,
            transfer: Span::ZERO,
            beside_from: 0,
            beside: Span::ZERO,
        };
        if let Some(id) = self.free.pop() {
            let generation = self.slots[id as usize].generation;
            self.slots[id as usize] = Slot { generation, ..fresh };
            self.heads[id as usize] = *head;
            self.chains[id as usize] = chain;
            return id;
        }
        let id = SlotId::try_from(self.slots.len()).expect("more than 2^32 requests in flight");
        self.slots.push(fresh);
        self.heads.push(*head);
        self.chains.push(chain);
        id
    }

    /// Gives the slot back. Its generation moves on, so timers that still name it are void.
    pub fn release(&mut self, id: SlotId) {
        let slot = &mut self.slots[id as usize];
        assert!(slot.place != Place::Free, "slot {id} is released twice");
        slot.place = Place::Free;
        slot.generation = slot.generation.wrapping_add(1);
        self.chains[id as usize] = None;
        self.free.push(id);
    }

    /// What the gateway knows of the request.
    pub fn head(&self, id: SlotId) -> &RequestHead {
        &self.heads[id as usize]
    }

    /// Prefix hashes of the request, when its trace has them.
    pub fn chain(&self, id: SlotId) -> Option<&HashChain> {
        self.chains[id as usize].as_deref()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Ids of the slots in use, in order of their index.
    pub fn occupied(&self) -> impl Iterator<Item = SlotId> + '_ {
        (0..self.slots.len() as SlotId).filter(|&id| self.slots[id as usize].place != Place::Free)
    }

    /// The finished record of a request that ends at `now`, `network` being its round trip.
    pub fn finished(
        &self,
        id: SlotId,
        now: Time,
        outcome: Outcome,
        refusal: Option<Refusal>,
        network: Span,
    ) -> Finished {
        let slot = &self[id];
        let happened = |at: Time| (at != NEVER).then_some(at);
        let mut preempted = slot.preempted;
        let mut before_first = slot.preempted_before_first;
        if slot.preempted_at != NEVER {
            preempted += now - slot.preempted_at;
            if slot.first_token == NEVER {
                before_first += now - slot.preempted_at;
            }
        }
        let mut transfer = slot.transfer;
        if slot.left_at != NEVER {
            transfer += now - slot.left_at;
        }
        Finished {
            outcome,
            refusal,
            head: *self.head(id),
            output_tokens: slot.whole,
            generated: slot.generated,
            cached_tokens: slot.cached,
            preemptions: slot.preemptions,
            pool: slot.home,
            replica: happened(slot.dispatched).map(|_| slot.replica),
            sent: slot.arrived - network / 2,
            arrived: slot.arrived,
            ready: slot.ready,
            dispatched: happened(slot.dispatched),
            scheduled: happened(slot.scheduled),
            first_token: happened(slot.first_token),
            last_token: happened(slot.last_token),
            ended: now,
            preempted,
            preempted_before_first: before_first,
            transfer,
            attempt: slot.attempt,
            beside: slot.beside,
        }
    }
}

/// A queue of slots, linked through the table. All operations O(1).
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: SlotId,
    last: SlotId,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        List { first: NONE, last: NONE, len: 0 }
    }
}

impl List {
    /// How many slots it holds.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first slot.
    #[inline]
    pub fn first(&self) -> Option<SlotId> {
        (self.first != NONE).then_some(self.first)
    }

    /// Appends at the back.
    #[inline]
    pub fn push_back(&mut self, table: &mut Table, id: SlotId) {
        (table[id].prev, table[id].next) = (self.last, NONE);
        if self.last == NONE {
            self.first = id
        } else {
            table[self.last].next = id
        }
        self.last = id;
        self.len += 1;
    }

    /// Puts in front.
    pub fn push_front(&mut self, table: &mut Table, id: SlotId) {
        (table[id].prev, table[id].next) = (NONE, self.first);
        if self.first == NONE {
            self.last = id
        } else {
            table[self.first].prev = id
        }
        self.first = id;
        self.len += 1;
    }

    /// Takes the first slot.
    #[inline]
    pub fn pop_front(&mut self, table: &mut Table) -> Option<SlotId> {
        let id = self.first()?;
        self.remove(table, id);
        Some(id)
    }

    /// Takes `id`, which must be in this list, out of it.
    #[inline]
    pub fn remove(&mut self, table: &mut Table, id: SlotId) {
        let (prev, next) = (table[id].prev, table[id].next);
        if prev == NONE {
            self.first = next
        } else {
            table[prev].next = next
        }
        if next == NONE {
            self.last = prev
        } else {
            table[next].prev = prev
        }
        self.len -= 1;
    }
}

/// A map from well-mixed 64-bit keys that cannot be iterated, so that its order can never leak into a result.
#[derive(Debug)]
#[allow(clippy::disallowed_types)]
pub struct KeyMap<V>(std::collections::HashMap<u64, V, BuildHasherDefault<KeyHasher>>);

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        KeyMap(Default::default())
    }
}

impl<V> KeyMap<V> {
    /// The value of `key`.
    pub fn get(&self, key: u64) -> Option<&V> {
        self.0.get(&key)
    }

    /// Inserts unless present; returns whether it did.
    pub fn insert_new(&mut self, key: u64, value: V) -> bool {
        match self.0.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(value);
                true
            }
        }
    }

    /// Sets the value of `key`; returns what it was.
    pub fn set(&mut self, key: u64, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        self.0.remove(&key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Passes keys through: they are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = crate::rng::mix(self.0 ^ u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Prefix;

    fn head() -> RequestHead {
        RequestHead {
            workload: 0,
            tenant: 0,
            index: 0,
            prompt_tokens: 10,
            max_tokens: None,
            session: 0,
            turn: 0,
            prefix: Prefix::default(),
            body_bytes: None,
        }
    }

    #[test]
    fn slots_are_reused_and_timers_of_the_former_request_are_void() {
        let mut table = Table::default();
        let a = table.insert(&head(), None, Time::ZERO, 0);
        let generation = table[a].generation;
        table.release(a);
        let b = table.insert(&head(), None, Time::ZERO, 0);
        assert_eq!(a, b);
        assert_ne!(table[b].generation, generation);
        assert_eq!(table.in_flight(), 1);
    }

    #[test]
    fn a_list_keeps_order_through_removal_anywhere() {
        let mut table = Table::default();
        let ids: Vec<SlotId> = (0..5).map(|_| table.insert(&head(), None, Time::ZERO, 0)).collect();
        let mut list = List::default();
        for &id in &ids[1..] {
            list.push_back(&mut table, id);
        }
        list.push_front(&mut table, ids[0]);
        list.remove(&mut table, ids[2]);
        list.remove(&mut table, ids[4]);
        list.remove(&mut table, ids[0]);
        assert_eq!(list.len(), 2);
        assert_eq!(list.pop_front(&mut table), Some(ids[1]));
        assert_eq!(list.pop_front(&mut table), Some(ids[3]));
        assert_eq!(list.pop_front(&mut table), None);
    }
}
