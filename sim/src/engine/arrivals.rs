//! A request at the gateway: which pool may serve it, limits, the service's overhead, then a replica or the queue.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::{Coming, Simulation};
use crate::gateway;
use crate::gateway::choice::Facts;
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::request::{Arrival, CONTEXT_LENGTH, NO_REPLICA, Outcome, PoolId, Refusal, RequestHead};
use crate::scenario::Next;
use crate::table::{NEVER, NONE, Place, SlotId};
use crate::time::Span;

/// What an [`Class::Expiry`] event is about; its entity is `2 * workload + kind`.
pub(super) const WAIT: u32 = 0;
pub(super) const PATIENCE: u32 = 1;

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Takes the next request of a feed and schedules its arrival at the gateway.
    #[inline]
    pub(super) fn pull(&mut self, workload: usize) {
        if let Some(arrival) = self.feeds[workload].next() {
            self.schedule_arrival(workload as u32, Coming { arrival, request: NONE });
        }
    }

    /// Schedules a request that does not come from [`Feed::next`].
    pub(super) fn come(&mut self, coming: Coming) {
        let place = self.coming_free.pop().unwrap_or_else(|| {
            self.coming.push(None);
            (self.coming.len() - 1) as u32
        });
        self.schedule_arrival(place, coming);
    }

    #[inline]
    fn schedule_arrival(&mut self, place: u32, coming: Coming) {
        let head = &coming.arrival.head;
        let at = coming.arrival.at + self.there(head.workload);
        let event = Event::new(at, Class::Arrival, u32::from(head.workload), head.index as u32, place, 0);
        self.coming[place as usize] = Some(coming);
        self.coming_count += 1;
        self.events.push(event);
    }

    /// Network time from the client to the gateway; the way back takes the rest of the round trip.
    #[inline]
    pub(super) fn there(&self, workload: u16) -> Span {
        self.scenario.workloads[usize::from(workload)].network / 2
    }

    #[inline]
    pub(super) fn arrive(&mut self, place: u32, observer: &mut impl Observer) {
        let coming = self.coming[place as usize].take().expect("an arrival event has its request");
        self.coming_count -= 1;
        if (place as usize) < self.feeds.len() {
            self.pull(place as usize);
        } else {
            self.coming_free.push(place);
        }
        if coming.request != NONE && !self.still_wanted(coming.request, observer) {
            return;
        }
        self.offer(coming, observer);
    }

    /// A request is at the gateway: a pool, limits, the service's overhead, then a replica or the queue.
    #[inline]
    fn offer(&mut self, coming: Coming, observer: &mut impl Observer) {
        let Coming { arrival, request } = coming;
        let request = self.begin_attempt(&arrival, request);
        let Arrival { head, draw, chain, .. } = arrival;
        observer.offered(self.now, &head);
        self.totals.offered += 1;
        let first = self.admission.class(self.admission.current(head.workload, 0)).pool;
        let id = self.table.insert(&head, chain, self.now, first);
        self.note_live(id, &head);
        let slot = &mut self.table[id];
        slot.drawn = draw.output_tokens.max(1);
        slot.whole = slot.drawn;
        if request != NONE {
            self.note_attempt(id, request);
        }
        if let Err(refusal) = self.find_pool(id, &head, draw.overhead.is_zero(), observer) {
            self.conclude(id, Outcome::Refused, Some(refusal), observer);
            return self.table.release(id);
        }
        observer.admitted(self.now, &head);
        let slot = &mut self.table[id];
        let pool = &self.scenario.pools[usize::from(slot.home)];
        slot.whole = gateway::clip_output(&head, slot.drawn, pool);
        slot.output = slot.whole;
        slot.service = draw.service;
        let number = slot.class;
        slot.holds = self.admission.class(number).holds();
        if let Some(patience) = draw.patience {
            self.set_timer(id, &head, PATIENCE, patience);
        }
        if request != NONE {
            self.set_hedge(id, &head);
        }
        for &limit in &self.admission.class(number).ignored {
            observer.violated(self.now, limit, &head);
        }
        for &(limit, below) in &self.admission.class(number).overheads {
            if draw.overhead >= below {
                observer.violated(self.now, limit, &head);
            }
        }
        if draw.overhead.is_zero() {
            return self.admit(id, observer);
        }
        let slot = &mut self.table[id];
        slot.place = Place::Overhead;
        slot.ready = self.now + draw.overhead;
        let (at, epoch) = (slot.ready, slot.generation);
        self.events.push(Event::new(at, Class::Ready, head.workload.into(), head.index as u32, id, epoch));
    }

    /// Finds a pool that takes the request, and has it counted by the limits on the way there.
    #[inline]
    fn find_pool(
        &mut self,
        id: SlotId,
        head: &RequestHead,
        at_once: bool,
        observer: &mut impl Observer,
    ) -> Result<(), Refusal> {
        match self.choices.next_when(head.workload) {
            None => self.let_in(id, self.admission.current(head.workload, 0), head, at_once),
            Some(next) => {
                self.choose(head, next, observer, |hub, number| hub.let_in(id, number, head, at_once))
            }
        }
    }

    /// Tries the candidates of a request in the order of its choice. The last refusal is the one reported.
    pub(super) fn choose(
        &mut self,
        head: &RequestHead,
        next: Next,
        observer: &mut impl Observer,
        mut attempt: impl FnMut(&mut Self, u16) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (mut trying, mut choices) = (std::mem::take(&mut self.trying), std::mem::take(&mut self.choices));
        trying.clear();
        trying.extend(choices.order(head.workload, |candidate| self.facts(head.workload, candidate)));
        self.choices = choices;
        let mut verdict = Err(Refusal::plain(NO_REPLICA));
        // First those that serve at once, when the choice asks for it; then those where a request has to wait.
        let rounds: &[Option<bool>] = if next == Next::Busy { &[Some(false), Some(true)] } else { &[None] };
        let tries = rounds.iter().flat_map(|round| trying.iter().map(move |candidate| (round, *candidate)));
        for (busy, candidate) in tries {
            let facts = self.facts(head.workload, candidate);
            if !facts.is_up {
                continue;
            }
            if busy.is_some_and(|busy| busy != facts.is_busy) {
                // A pool at zero is passed over, and woken for those who come later.
                let home = self.admission.class(self.admission.current(head.workload, candidate)).pool;
                self.activate(self.entry(home), observer);
                continue;
            }
            verdict = attempt(self, self.admission.current(head.workload, candidate));
            if verdict.is_ok() || next == Next::Down {
                break;
            }
        }
        self.trying = trying;
        verdict
    }

    /// What is known of a candidate's pool, and of the pool that its requests enter first.
    fn facts(&self, workload: u16, candidate: usize) -> Facts {
        let home = self.admission.class(self.admission.current(workload, candidate)).pool;
        let (entry, home) = (self.entry(home), usize::from(home));
        let (first, behind) = (&self.pools[entry], &self.pools[home]);
        Facts {
            is_up: self.elastic.is_up(entry, first.view.ready())
                && self.elastic.is_up(home, behind.view.ready()),
            is_busy: !first.serves_at_once(),
            ready: first.view.ready(),
            requests: first.requests + if home == entry { 0 } else { behind.requests },
            pace: behind.pace.ns(),
        }
    }

    /// Asks what keeps no count, then whether the request can be served at all, then what counts. A request that would
    /// be refused by a full queue at this very instant (`at_once`) takes nothing from what counts.
    #[inline]
    fn let_in(&mut self, id: SlotId, number: u16, head: &RequestHead, at_once: bool) -> Result<(), Refusal> {
        let home = self.admission.class(number).pool;
        let slot = &mut self.table[id];
        (slot.class, slot.home, slot.pool) = (number, home, home);
        self.admission.screen(number, head)?;
        if !gateway::fits(head, &self.scenario.pools[usize::from(home)]) {
            return Err(Refusal::plain(CONTEXT_LENGTH));
        }
        let entry = self.entry(home);
        let state = &mut self.pools[entry];
        if at_once && !state.has_room() {
            state.permits.offered += 1;
            let refusal = state.full();
            self.admission.try_in_vain(self.now, number, head, &mut self.meters)?;
            return Err(refusal);
        }
        self.admission.admit(self.now, id, number, head, &mut self.meters)
    }

    /// The pool where requests to a pool go first.
    #[inline]
    pub(super) fn entry(&self, home: PoolId) -> usize {
        let home = usize::from(home);
        self.pools[home].prefill.unwrap_or(home)
    }

    pub(super) fn overhead_is_over(&mut self, event: &Event, observer: &mut impl Observer) {
        // A client that gave up meanwhile has freed the slot.
        if self.table[event.target].generation == event.epoch {
            self.admit(event.target, observer);
        }
    }

    /// A request that was let in goes to its pool, or first to the one that processes its prompt.
    #[inline]
    fn admit(&mut self, id: SlotId, observer: &mut impl Observer) {
        let home = usize::from(self.table[id].home);
        match self.pools[home].prefill {
            None => self.enter(id, home, observer),
            Some(prompts) => self.send_to_prefill(id, prompts, observer),
        }
    }

    /// A request comes to a pool.
    #[inline]
    pub(super) fn enter(&mut self, id: SlotId, pool_index: usize, observer: &mut impl Observer) {
        let pool = &mut self.pools[pool_index];
        pool.permits.offered += 1;
        pool.requests += 1;
        self.signals.enter(self.now, pool_index);
        let slot = &mut self.table[id];
        slot.entered = true;
        slot.place = Place::Gateway;
        if pool.queue.is_empty()
            && pool.permits.available()
            && self.dispatch_one(id, pool_index, false, observer)
        {
            return;
        }
        let priority = self.priority(id);
        let carried = self.table[id].carried;
        let pool = &mut self.pools[pool_index];
        // What has its KV cache with it was let in long ago: it is never refused.
        if carried {
            pool.queue.push_back_anyway(&mut self.table, id, priority);
        } else if !pool.queue.push(&mut self.table, id, priority) {
            let refusal = pool.full();
            self.conclude(id, Outcome::Refused, Some(refusal), observer);
            return self.table.release(id);
        }
        let wait = self.pools[pool_index].queue.rule().wait.filter(|_| !carried);
        self.table[id].expires = wait.map_or(NEVER, |wait| self.now.saturating_add(wait));
        if let Some(wait) = wait {
            let head = *self.table.head(id);
            self.set_timer(id, &head, WAIT, wait);
        }
        self.activate(pool_index, observer);
        if let Some(next) = self.choices.next_when(self.table[id].workload)
            && !carried
            && !self.is_up(pool_index)
        {
            let priority = self.priority(id);
            self.pools[pool_index].queue.remove(&mut self.table, id, priority);
            self.try_elsewhere(id, next, observer);
        }
    }

    /// Whether a pool has a replica that the router believes in, or can get one.
    fn is_up(&self, pool: usize) -> bool {
        self.elastic.is_up(pool, self.pools[pool].view.ready())
    }

    /// Requests that wait for a pool without a replica to believe in go to another one that their workload may choose.
    /// Every attempt counts for the limits of the model it is an attempt on, the request itself counts once.
    ///
    /// O(waiting); to be called when the pool is down, not for each request that comes while it is.
    pub(super) fn reroute(&mut self, pool: usize, observer: &mut impl Observer) {
        if self.choices.is_empty() || self.is_up(pool) {
            return;
        }
        let mut staying = Vec::new();
        for _ in 0..self.pools[pool].queue.len() {
            let Some(id) = self.pools[pool].queue.pop(&mut self.table) else { break };
            let slot = &self.table[id];
            match self.choices.next_when(slot.workload) {
                Some(next) if slot.scheduled == NEVER => {
                    // Taken out of the queue, it was charged there for what it will not get.
                    self.pools[pool].queue.settle(self.table.head(id), 0);
                    self.try_elsewhere(id, next, observer);
                }
                _ => staying.push(id),
            }
        }
        for id in staying.into_iter().rev() {
            let priority = self.priority(id);
            self.pools[pool].queue.push_front(&mut self.table, id, priority);
        }
    }

    /// A request that its pool has let down, and that is in no queue any more, is offered to its other candidates.
    fn try_elsewhere(&mut self, id: SlotId, next: Next, observer: &mut impl Observer) {
        let head = *self.table.head(id);
        self.leave_pool(id, false);
        let number = self.table[id].class;
        if std::mem::take(&mut self.table[id].holds) {
            self.admission.over(self.now, id, number, &head, 0, &mut self.meters);
        }
        let found = self.choose(&head, next, observer, |hub, number| hub.let_in_again(id, number, &head));
        if let Err(refusal) = found {
            self.conclude(id, Outcome::Refused, Some(refusal), observer);
            return self.table.release(id);
        }
        let slot = &mut self.table[id];
        slot.holds = self.admission.class(slot.class).holds();
        let most = &self.scenario.pools[usize::from(slot.home)];
        slot.whole = gateway::clip_output(&head, slot.drawn, most);
        slot.output = slot.whole;
        self.admit(id, observer);
    }

    /// As [`Simulation::let_in`], for a further attempt on a request that was let in.
    fn let_in_again(&mut self, id: SlotId, number: u16, head: &RequestHead) -> Result<(), Refusal> {
        let home = self.admission.class(number).pool;
        let slot = &mut self.table[id];
        (slot.class, slot.home, slot.pool) = (number, home, home);
        self.admission.screen(number, head)?;
        if !gateway::fits(head, &self.scenario.pools[usize::from(home)]) {
            return Err(Refusal::plain(CONTEXT_LENGTH));
        }
        let state = &self.pools[self.entry(home)];
        if !state.has_room() {
            return Err(state.full());
        }
        self.admission.admit_again(self.now, id, number, head, &mut self.meters)
    }

    /// A request that was on a replica, or on the way to one, comes back to the front of its pool's queue. It is never
    /// refused and waits as long as it takes.
    pub(super) fn come_back(&mut self, id: SlotId, pool: usize) {
        self.pools[pool].requests += 1;
        self.signals.enter(self.now, pool);
        let slot = &mut self.table[id];
        slot.entered = true;
        slot.place = Place::Gateway;
        slot.expires = NEVER;
        let priority = self.priority(id);
        self.pools[pool].queue.push_front(&mut self.table, id, priority);
    }

    pub(super) fn priority(&self, id: SlotId) -> u8 {
        let workload = &self.scenario.workloads[usize::from(self.table[id].workload)];
        self.scenario.tiers[workload.tier].priority
    }

    fn set_timer(&mut self, id: SlotId, head: &RequestHead, kind: u32, after: Span) {
        let at = self.now.saturating_add(after);
        let entity = 2 * u32::from(head.workload) + kind;
        let epoch = self.table[id].generation;
        self.events.push(Event::new(at, Class::Expiry, entity, head.index as u32, id, epoch));
    }
}
