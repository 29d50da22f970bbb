//! Requests of jobs on their way to replicas, and back.
//!
//! Batch is pulled: when the events of an instant are over, each replica that something happened to is offered requests
//! until it has no room for more ([`crate::batch::room`]). After an instant either nothing is left to send or no replica has
//! room, so that it does not matter which replicas happen to be between steps: an engine that skips ahead sends the same.

use super::Feed;
use super::lending::Loan;
use super::simulation::Simulation;
use super::station::Worker;
use crate::batch::{Held, JobId, Room, is_open, room};
use crate::fleet::State;
use crate::gateway;
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::request::{Arrival, CONTEXT_LENGTH, Finished, Outcome, Refusal};
use crate::scenario::Metric;
use crate::scenario::batch::BatchPriority;
use crate::table::{NEVER, Place, SlotId};
use crate::time::Time;

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Whether a pool has anything to do with batch.
    #[inline]
    pub(super) fn has_batch(&self, pool: usize) -> bool {
        self.batches.is_on() && self.batches.pools[pool].is_some()
    }

    /// What a controller measures of an answer.
    #[inline]
    pub(super) fn measure_answer(&mut self, done: &Finished) {
        if !self.batches.is_on() {
            return;
        }
        let state = self.batches.pools[usize::from(done.pool)].as_mut();
        let controller = state.and_then(|state| state.controller.as_mut());
        if let Some(controller) = controller.filter(|controller| controller.rule().metric == Metric::E2e) {
            controller.latest.add(done.e2e(), 1);
        }
    }

    /// More is there to be sent to a pool, or it has more room: its replicas are asked when the events of this instant are
    /// over.
    pub(super) fn wake_batch(&mut self, pool: usize) {
        if !self.batches.to_wake.contains(&pool) {
            self.batches.to_wake.push(pool);
        }
        // Any replica will do to have the instant closed.
        self.begin_later(self.pools[pool].first);
    }

    /// The instant is over: replicas get batch.
    pub(super) fn send_batch(&mut self, observer: &mut impl Observer) {
        let mut offered = std::mem::take(&mut self.batches.offered);
        loop {
            while let Some(pool) = self.batches.to_wake.pop() {
                let first = self.pools[pool].first;
                for station in first..first + usize::from(self.scenario.pools[pool].replicas) {
                    self.catch_up(station, observer);
                    self.begin_later(station);
                }
            }
            offered.clear();
            offered.extend_from_slice(&self.to_begin);
            offered.sort_unstable();
            for &station in &offered {
                self.take_back_batch(station as usize, observer);
                self.fill(station as usize, observer);
            }
            if self.batches.to_wake.is_empty() {
                break;
            }
        }
        self.batches.offered = offered;
    }

    /// Sends batch to a replica while it has room.
    fn fill(&mut self, station: usize, observer: &mut impl Observer) {
        if self.now.as_nanos() >= self.scenario.horizon.as_nanos() {
            return;
        }
        let pool = self.stations[station].pool;
        while self.batches.pools[pool].as_ref().is_some_and(|state| state.has_work()) {
            let room = self.room_on(station, pool);
            if room == Room::None || !self.send_next(station, pool, room, observer) {
                return;
            }
        }
    }

    fn room_on(&self, station: usize, pool: usize) -> Room {
        let state = self.batches.pools[pool].as_ref().expect("it has batch to send");
        let replica = self.stations[station].replica;
        let loan = state.loans[usize::from(replica)];
        let (rules, lends) = (state.rules, state.rules.lend.is_some());
        if !self.elastic.serves(station) || lends != matches!(loan, Loan::Lent) {
            return Room::None;
        }
        let held = self.held_by(station, pool);
        let open = is_open(rules, self.now);
        if lends {
            // Nobody else is there, or only until its last request is over.
            let fits = held.waiting + held.running + held.batch < held.capacity;
            let allowed = held.batch < rules.concurrency.unwrap_or(held.capacity);
            return if open && fits && allowed { Room::Open } else { Room::None };
        }
        let bound = self.scenario.pools[pool].outstanding.unwrap_or(u32::MAX);
        if rules.priority != BatchPriority::Engine && held.waiting + held.running + held.batch >= bound {
            // The router does not tell batch apart either: a replica holds no more than may be outstanding.
            return Room::None;
        }
        let cap = state.controller.as_ref().map(|controller| controller.cap());
        room(rules, &held, !self.pools[pool].queue.is_empty(), open, cap)
    }

    fn held_by(&self, station: usize, pool: usize) -> Held {
        let state = self.batches.pools[pool].as_ref().expect("it has batch");
        let batch = state.sent[usize::from(self.stations[station].replica)];
        let (mut waiting, mut running) = self.stations[station].load();
        if state.rules.priority != BatchPriority::Engine {
            // The engine does not tell them apart: whoever waits may be real-time.
            let real_time = (waiting + running).saturating_sub(batch);
            waiting = waiting.min(real_time);
            running = real_time - waiting;
        }
        let kv_used = match &self.stations[station].worker {
            Worker::Llm(worker) if state.rules.gate.is_some_and(|gate| gate.kv.is_some()) => worker.kv_used(),
            _ => 0,
        };
        let (capacity, kv_total) = (self.pools[pool].slots as u32, self.pools[pool].kv_blocks as u32);
        Held { capacity, waiting, running, batch, kv_used, kv_total }
    }

    /// Sends the next request for which there is this room. Returns whether there was one.
    fn send_next(&mut self, station: usize, pool: usize, room: Room, observer: &mut impl Observer) -> bool {
        let state = self.batches.pools[pool].as_mut().expect("it has batch to send");
        let within = state.rules.urgency;
        let urgent = within.map_or(Time::ZERO, |within| self.now.saturating_add(within));
        let is_due = |job: JobId, jobs: &[Option<crate::batch::Job>]| {
            within.is_some() && jobs[job as usize].as_ref().is_some_and(|job| job.expires <= urgent)
        };
        if let Some(id) = state.returned.first()
            && (room == Room::Open || is_due(self.table[id].job, &self.batches.jobs))
        {
            state.returned.remove(&mut self.table, id);
            self.place_on_replica(id, station, pool, observer);
            return true;
        }
        let job = match room {
            Room::Open => state.board.next(urgent),
            _ => state.board.next_urgent(urgent),
        };
        let Some(job) = job else { return false };
        self.send_new(job, station, pool, observer);
        true
    }

    /// Draws the next request of a job and sends it.
    fn send_new(&mut self, job_id: JobId, station: usize, pool: usize, observer: &mut impl Observer) {
        let entry = self.batches.entry(job_id);
        let job = self.batches.jobs[job_id as usize].as_mut().expect("a job on a board is not over");
        let batch = usize::from(job.batch);
        let tenant = job.owner - self.scenario.batches[batch].owner;
        let (job_number, line) = (job.number, job.draws.drawn());
        let arrival = self.batches.sources[batch].request(&mut job.draws, tenant, self.now);
        job.in_flight += 1;
        let is_last = job.undrawn() == 0;
        let state = self.batches.pools[pool].as_mut().expect("it has batch to send");
        state.board.sent(entry.owner);
        if is_last {
            state.board.remove(entry);
        }
        let lower = state.rules.priority == BatchPriority::Engine;
        let Arrival { head, draw, chain, .. } = arrival;
        observer.job_request(batch as u16, job_number, line, &head);
        observer.offered(self.now, &head);
        self.totals.offered += 1;
        let id = self.table.insert(&head, chain, self.now, pool as u16);
        let rule = &self.scenario.pools[pool];
        let slot = &mut self.table[id];
        (slot.job, slot.lower) = (job_id, lower);
        if !gateway::fits(&head, rule) {
            self.conclude(id, Outcome::Refused, Some(Refusal::plain(CONTEXT_LENGTH)), observer);
            return self.table.release(id);
        }
        slot.drawn = draw.output_tokens.max(1);
        slot.whole = gateway::clip_output(&head, slot.drawn, rule);
        slot.output = slot.whole;
        slot.service = draw.service;
        self.place_on_replica(id, station, pool, observer);
    }

    fn place_on_replica(&mut self, id: SlotId, station: usize, pool: usize, observer: &mut impl Observer) {
        let replica = self.stations[station].replica;
        let slot = &mut self.table[id];
        if slot.scheduled == NEVER {
            slot.dispatched = self.now;
        }
        slot.replica = replica;
        let state = self.batches.pools[pool].as_mut().expect("it has batch to send");
        state.sent[usize::from(replica)] += 1;
        observer.dispatched(self.now, self.table.head(id), pool as u16, replica);
        match &mut self.stations[station].worker {
            Worker::Llm(worker) => {
                let joins = worker.enqueue(&mut self.table, id);
                if worker.is_stepping() && joins {
                    self.catch_up(station, observer);
                }
            }
            Worker::Slots(worker) => {
                worker.enqueue(&mut self.table, id);
                self.start_services(station, observer);
            }
        }
    }

    /// A request that its replica has lost, or had to give up, waits to be sent again; before all others of its pool.
    pub(super) fn come_back_to_job(&mut self, id: SlotId, observer: &mut impl Observer) {
        let slot = &mut self.table[id];
        let (pool, replica) = (usize::from(slot.pool), usize::from(slot.replica));
        slot.place = Place::Gateway;
        let state = self.batches.pools[pool].as_mut().expect("it has batch");
        state.sent[replica] -= 1;
        if self.now.as_nanos() >= self.scenario.horizon.as_nanos() {
            // Nothing is sent any more.
            self.conclude(id, Outcome::Queued, None, observer);
            return self.table.release(id);
        }
        state.returned.push_back(&mut self.table, id);
        self.wake_batch(pool);
    }

    /// No batch is sent from now on: what has come back from replicas stays where it is.
    pub(super) fn stop_sending(&mut self, observer: &mut impl Observer) {
        for pool in 0..self.batches.pools.len() {
            while let Some(state) = &mut self.batches.pools[pool]
                && let Some(id) = state.returned.pop_front(&mut self.table)
            {
                self.conclude(id, Outcome::Queued, None, observer);
                self.table.release(id);
            }
        }
    }

    /// Withdraws a request of a job, wherever it is.
    pub(super) fn withdraw_item(&mut self, id: SlotId, outcome: Outcome, observer: &mut impl Observer) {
        let pool = usize::from(self.table[id].pool);
        if self.table[id].place != Place::Gateway {
            let station = self.station_of(id);
            self.withdraw_from_replica(id, pool, outcome, None, observer);
            return self.begin_later(station);
        }
        let state = self.batches.pools[pool].as_mut().expect("it has batch");
        state.returned.remove(&mut self.table, id);
        self.conclude(id, outcome, None, observer);
        self.table.release(id);
    }

    /// Batch leaves a replica that is to stop, or that real-time wants back, when the step in flight is over.
    fn take_back_batch(&mut self, station: usize, observer: &mut impl Observer) {
        let pool = self.stations[station].pool;
        let Some(state) = &self.batches.pools[pool] else { return };
        let replica = usize::from(self.stations[station].replica);
        if state.sent[replica] > 0 {
            let stops = self.elastic.is_on() && self.elastic.state(station) == State::Draining;
            if stops || self.is_preempting(pool, replica) {
                self.evict_batch(station, observer);
            }
        }
        self.go_on_leaving(station, pool);
    }

    fn evict_batch(&mut self, station: usize, observer: &mut impl Observer) {
        let (now, pool) = (self.now, self.stations[station].pool);
        let mut gone = std::mem::take(&mut self.departures);
        match &mut self.stations[station].worker {
            Worker::Llm(worker) => {
                if !worker.is_stepping() {
                    worker.evict_lower(&mut self.table, now, &mut gone);
                }
            }
            Worker::Slots(worker) => {
                let before = worker.busy();
                worker.evict_lower(&mut self.table, now, observer, &mut gone);
                self.signals.work(now, pool, before, worker.busy());
            }
        }
        for id in gone.evicted.drain(..) {
            self.come_back_to_job(id, observer);
        }
        self.departures = gone;
        self.start_services(station, observer);
        self.refresh(station);
    }
}
