//! Requests on replicas: dispatch, steps, services, and the queue that moves up.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::Simulation;
use super::station::Worker;
use super::taps::taps;
use crate::gateway::admission::Admission;
use crate::gateway::known_tokens;
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::request::{Outcome, ReplicaId};
use crate::scenario::fleet::OnFailure;
use crate::slots::Started;
use crate::table::{NEVER, NONE, SlotId, Table};
use crate::time::Time;

/// The timer of the execution limit of a request that is scheduled for the first time, when it has one.
#[inline]
fn deadline(admission: &Admission, table: &Table, id: SlotId, now: Time) -> Option<Event> {
    let slot = &table[id];
    if slot.job != NONE {
        // No limit was asked.
        return None;
    }
    let (most, _) = admission.class(slot.class).deadline?;
    let head = table.head(id);
    let at = now.saturating_add(most);
    Some(Event::new(at, Class::Deadline, head.workload.into(), head.index as u32, id, slot.generation))
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// The replica that a request is on.
    #[inline]
    pub(super) fn station_of(&self, id: SlotId) -> usize {
        let slot = &self.table[id];
        self.pools[usize::from(slot.pool)].first + usize::from(slot.replica)
    }

    /// Sends a request of a pool to a replica, when the router finds one; `waited` in the queue or not. Returns whether
    /// the request is off the gateway's hands (it may be lost on the way to a replica that has failed unnoticed).
    #[inline]
    pub(super) fn dispatch_one(
        &mut self,
        id: SlotId,
        pool: usize,
        waited: bool,
        observer: &mut impl Observer,
    ) -> bool {
        loop {
            let state = &mut self.pools[pool];
            let picked = state.router.pick(&state.view, self.table.head(id), self.table.chain(id));
            let Some(replica) = picked else { return false };
            if self.elastic.serves(self.pools[pool].first + usize::from(replica)) {
                if !waited {
                    self.pools[pool].queue.pass(self.table.head(id));
                }
                self.dispatch(id, pool, replica, observer);
                return true;
            }
            if self.scenario.pools[pool].fleet.on_failure == OnFailure::Lose {
                if waited {
                    self.pools[pool].queue.settle(self.table.head(id), 0);
                }
                self.conclude(id, Outcome::Lost, None, observer);
                self.table.release(id);
                return true;
            }
            // A gateway that tries again has noticed.
            self.pools[pool].view.set_up(replica, false);
        }
    }

    #[inline]
    fn dispatch(&mut self, id: SlotId, pool: usize, replica: ReplicaId, observer: &mut impl Observer) {
        let slot = &mut self.table[id];
        // A request that comes back from a replica that failed before its first step has not been served yet.
        if slot.scheduled == NEVER {
            slot.dispatched = self.now;
        }
        slot.replica = replica;
        slot.permit = true;
        let state = &mut self.pools[pool];
        state.permits.admitted += 1;
        state.permits.take(self.now);
        if state.view.counts_tokens() {
            state.view.take(replica, known_tokens(self.table.head(id)));
        }
        observer.dispatched(self.now, self.table.head(id), pool as u16, replica);
        let station = self.pools[pool].first + usize::from(replica);
        self.watch_tokens(id, station);
        match &mut self.stations[station].worker {
            Worker::Llm(worker) => {
                let joins = worker.enqueue(&mut self.table, id);
                if !worker.is_stepping() {
                    self.begin_later(station);
                } else if joins {
                    self.catch_up(station, observer);
                }
            }
            Worker::Slots(worker) => {
                worker.enqueue(&mut self.table, id);
                self.start_services(station, observer);
            }
        }
        self.refresh(station);
    }

    /// A request leaves its pool's queue or replica: permits and counts are given back. `served` unless it comes back to
    /// the queue of the same pool.
    #[inline]
    pub(super) fn leave_pool(&mut self, id: SlotId, served: bool) {
        let slot = &mut self.table[id];
        let pool = usize::from(slot.pool);
        if std::mem::take(&mut slot.entered) {
            self.pools[pool].requests -= 1;
            self.signals.leave(self.now, pool);
        }
        if std::mem::take(&mut slot.permit) {
            let (replica, generated) = (slot.replica, slot.generated);
            let state = &mut self.pools[pool];
            state.permits.give_back(self.now);
            if served {
                let head = self.table.head(id);
                state.queue.settle(head, u64::from(head.prompt_tokens) + u64::from(generated));
            }
            if state.view.counts_tokens() {
                state.view.give_back(replica, known_tokens(self.table.head(id)));
            }
        }
    }

    /// Tells the router what a replica holds.
    #[inline]
    pub(super) fn refresh(&mut self, station: usize) {
        let state = &mut self.stations[station];
        let (waiting, running) = state.load();
        // Most steps end as they began.
        if (waiting, running) != state.told {
            state.told = (waiting, running);
            if self.elastic.is_on() {
                self.elastic.idle_since[station] = if waiting + running == 0 { self.now } else { NEVER };
            }
            self.pools[state.pool].view.update(state.replica, waiting, running);
        }
    }

    #[inline]
    pub(super) fn begin_later(&mut self, station: usize) {
        if !std::mem::replace(&mut self.stations[station].to_begin, true) {
            self.to_begin.push(station as u32);
        }
    }

    /// The queue of a pool moves up when no event is left at this instant, so that replicas which become ready together
    /// share it; `station` is any replica.
    pub(super) fn poll_later(&mut self, pool: usize, station: usize) {
        if !self.to_poll.contains(&pool) {
            self.to_poll.push(pool);
        }
        self.begin_later(station);
    }

    /// The instant is over: replicas between steps begin the next one, and those that were to stop and are empty do.
    #[inline]
    pub(super) fn begin_steps(&mut self, observer: &mut impl Observer) {
        loop {
            while let Some(pool) = self.to_poll.pop() {
                self.poll(pool, observer);
            }
            if self.batches.is_on() {
                self.send_batch(observer);
            }
            // A replica that batch gave back serves whoever waits.
            if self.to_poll.is_empty() {
                break;
            }
        }
        while let Some(station) = self.to_begin.pop() {
            let state = &mut self.stations[station as usize];
            state.to_begin = false;
            let pool = state.pool;
            if let Worker::Llm(worker) = &mut state.worker
                && !worker.is_stepping()
                && let Some(end) = worker.begin(&mut self.table, self.now, &mut self.started)
            {
                self.ends.set(station as usize, end);
                self.signals.work(self.now, pool, 0, 1);
            }
            while let Some(id) = self.started.pop() {
                let timer = deadline(&self.admission, &self.table, id, self.now);
                timer.into_iter().for_each(|event| self.events.push(event));
            }
            self.refresh(station as usize);
            if self.elastic.is_on() {
                self.stop_if_drained(station as usize, observer);
            }
        }
    }

    /// Cuts a run of steps short at the step in flight, since something is about to change on the replica. A step
    /// that ends at this very instant is over: steps end before anything else happens.
    pub(super) fn catch_up(&mut self, station: usize, observer: &mut impl Observer) {
        if self.truncate(station) == Some(self.now) {
            self.end_step(station, observer);
        }
    }

    /// Shortens a run to the step in flight; returns its new end when that changed.
    #[inline]
    pub(super) fn truncate(&mut self, station: usize) -> Option<Time> {
        let Worker::Llm(worker) = &mut self.stations[station].worker else { return None };
        let end = worker.truncate(self.now)?;
        self.ends.set(station, end);
        Some(end)
    }

    #[inline]
    pub(super) fn end_step(&mut self, station: usize, observer: &mut impl Observer) {
        self.ends.clear(station);
        let state = &mut self.stations[station];
        let pool = state.pool;
        let Worker::Llm(worker) = &mut state.worker else { unreachable!("only `llm` replicas have steps") };
        match taps(&mut self.signals, &mut self.batches, pool) {
            None => worker.finish(&mut self.table, observer, &mut self.departures),
            Some(taps) => worker.finish(&mut self.table, &mut (taps, &mut *observer), &mut self.departures),
        }
        self.signals.work(self.now, pool, 1, 0);
        // By index: nothing in these loops ends another step.
        for index in 0..self.departures.ghosts.len() {
            self.table.release(self.departures.ghosts[index]);
        }
        for index in 0..self.departures.finished.len() {
            let id = self.departures.finished[index];
            if self.table[id].home == self.table[id].pool {
                self.conclude(id, Outcome::Completed, None, observer);
                self.table.release(id);
            } else {
                self.hand_over(id, observer);
            }
        }
        self.departures.ghosts.clear();
        self.departures.finished.clear();
        self.tell_tokens(station, observer);
        self.begin_later(station);
        // The step that begins tells the router what the replica holds; until then only these look.
        if !self.pools[pool].queue.is_empty() || self.next_instant() == self.now {
            self.refresh(station);
            self.poll(pool, observer);
        }
    }

    pub(super) fn start_services(&mut self, station: usize, observer: &mut impl Observer) {
        let state = &mut self.stations[station];
        let pool = state.pool;
        let Worker::Slots(worker) = &mut state.worker else { return };
        let before = worker.busy();
        while let Some(Started { id, end, counter }) = worker.start(&mut self.table, self.now, observer) {
            let timer = deadline(&self.admission, &self.table, id, self.now);
            timer.into_iter().for_each(|event| self.events.push(event));
            let generation = self.table[id].generation;
            self.events.push(Event::new(end, Class::ServiceEnd, station as u32, counter, id, generation));
        }
        // A batch service yields to whoever still waits.
        while let Some(Started { id, end, counter }) = worker.yield_next(&mut self.table, self.now) {
            let generation = self.table[id].generation;
            self.events.push(Event::new(end, Class::ServiceEnd, station as u32, counter, id, generation));
        }
        self.signals.work(self.now, pool, before, worker.busy());
    }

    pub(super) fn end_service(&mut self, event: &Event, observer: &mut impl Observer) {
        let (id, station) = (event.target, event.entity() as usize);
        if self.table[id].generation != event.epoch {
            return;
        }
        let state = &mut self.stations[station];
        let pool = state.pool;
        let Worker::Slots(worker) = &mut state.worker else {
            unreachable!("only `slots` replicas have services")
        };
        if !worker.is_serving(&self.table, id, event.counter()) {
            return;
        }
        let before = worker.busy();
        if worker.yields(&mut self.table, id, self.now, observer) {
            self.signals.work(self.now, pool, before, worker.busy());
            self.start_services(station, observer);
            return self.refresh(station);
        }
        match taps(&mut self.signals, &mut self.batches, pool) {
            None => worker.complete(&mut self.table, id, self.now, observer),
            Some(taps) => worker.complete(&mut self.table, id, self.now, &mut (taps, &mut *observer)),
        }
        let after = worker.busy();
        self.signals.work(self.now, pool, after + 1, after);
        self.conclude(id, Outcome::Completed, None, observer);
        self.table.release(id);
        self.start_services(station, observer);
        self.refresh(station);
        if self.elastic.is_on() || self.batches.is_on() {
            // It may have room for batch, be idle now, and have been the last of a replica that is to stop.
            self.begin_later(station);
        }
        self.poll(pool, observer);
    }

    /// Sends waiting requests of a pool to replicas that have room.
    #[inline]
    pub(super) fn poll(&mut self, pool: usize, observer: &mut impl Observer) {
        while let Some(id) = self.pools[pool].queue.first() {
            let state = &mut self.pools[pool];
            if !state.permits.available() || !state.view.has_room() {
                return;
            }
            state.queue.pop(&mut self.table);
            if !self.dispatch_one(id, pool, true, observer) {
                let priority = self.priority(id);
                return self.pools[pool].queue.push_front(&mut self.table, id, priority);
            }
            if self.pools[pool].queue.is_empty() && self.has_batch(pool) {
                // What kept batch back is gone.
                self.wake_batch(pool);
            }
        }
    }
}
