//! The hub: it alone owns the event queue, and every fact passes through it.

use super::ends::StepEnds;
use super::event::{Class, Event};
use super::queue::EventQueue;
use super::station::{PoolState, Station, Worker, build};
use super::{Feed, Totals};
use crate::control::ControlPlane;
use crate::gateway;
use crate::gateway::admission::Admission;
use crate::limits::Meters;
use crate::observe::{Observer, PoolSample};
use crate::replica::{Delivered, Departures, Stepper};
use crate::request::{Arrival, CONTEXT_LENGTH, Outcome, Refusal, RequestHead};
use crate::scenario::{End, Pool, Scenario};
use crate::slots::Started;
use crate::table::{NEVER, Place, SlotId, Table};
use crate::time::{Span, Time};
use std::ops::ControlFlow;

/// Events between two looks of the watcher.
const WATCH_EVERY: u64 = 1 << 14;

/// A scenario in motion.
#[derive(Debug)]
pub struct Simulation<'s, F, S> {
    pub(super) scenario: &'s Scenario,
    feeds: Vec<F>,
    pub(super) now: Time,
    pub(super) events: EventQueue,
    ends: StepEnds,
    table: Table,
    pub(super) pools: Vec<PoolState>,
    stations: Vec<Station<S>>,
    /// Requests on their way to the gateway: the next of each feed, then follow-ups in reused places.
    coming: Vec<Option<Arrival>>,
    coming_free: Vec<u32>,
    coming_count: usize,
    /// Replicas that begin a step when no event is left at this instant.
    to_begin: Vec<u32>,
    departures: Departures,
    /// Requests that a step has just begun to work on.
    started: Vec<SlotId>,
    pub(super) meters: Meters,
    pub(super) admission: Admission,
    pub(super) control: ControlPlane<'s>,
    totals: Totals,
    cut: bool,
}

/// What an [`Class::Expiry`] event is about; its entity is `2 * workload + kind`.
const WAIT: u32 = 0;
const PATIENCE: u32 = 1;

/// The timer of the execution limit of a request that is scheduled for the first time, when it has one.
#[inline]
fn deadline(admission: &Admission, table: &Table, id: SlotId, now: Time) -> Option<Event> {
    let slot = &table[id];
    let (most, _) = admission.class(slot.class).deadline?;
    let head = table.head(id);
    let at = now.saturating_add(most);
    Some(Event::new(at, Class::Deadline, head.workload.into(), head.index as u32, id, slot.generation))
}

impl<'s, F: Feed, S: Stepper> Simulation<'s, F, S> {
    /// A scenario at its start. `skip` allows replicas to run many steps as one event.
    pub fn new(scenario: &'s Scenario, feeds: Vec<F>, seed: u64, skip: bool) -> Self {
        assert_eq!(feeds.len(), scenario.workloads.len(), "one feed per workload");
        let (pools, stations) = build(scenario, seed, skip);
        let mut meters = gateway::admission::meters(&scenario.policy.limits);
        let control = ControlPlane::new(scenario, &mut meters);
        let mut simulation = Simulation {
            scenario,
            now: Time::ZERO,
            events: EventQueue::default(),
            ends: StepEnds::new(stations.len()),
            table: Table::default(),
            pools,
            stations,
            coming: (0..feeds.len()).map(|_| None).collect(),
            coming_free: Vec::new(),
            coming_count: 0,
            to_begin: Vec::new(),
            departures: Departures::default(),
            started: Vec::new(),
            meters,
            admission: Admission::new(scenario.workloads.len()),
            control,
            totals: Totals::default(),
            cut: false,
            feeds,
        };
        for workload in 0..simulation.feeds.len() {
            simulation.classify(workload);
            simulation.pull(workload);
        }
        simulation.schedule_operations();
        simulation.schedule_boundary();
        simulation
    }

    /// Runs to the end. See [`super::simulate`].
    pub fn run(
        mut self,
        observer: &mut impl Observer,
        mut watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
    ) -> Totals {
        while self.step(observer) {
            if self.totals.events.is_multiple_of(WATCH_EVERY) && watch(self.now, &self.totals).is_break() {
                self.cut_short(observer);
                break;
            }
        }
        self.close(observer)
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The instant of the next event; `None` when the run is over.
    pub fn next_time(&self) -> Option<Time> {
        (!self.is_over()).then(|| self.next_instant())
    }

    /// Handles the next event. Returns whether there was one.
    #[inline]
    pub fn step(&mut self, observer: &mut impl Observer) -> bool {
        if self.is_over() {
            return false;
        }
        self.totals.events += 1;
        let end = self.ends.first_time();
        match self.events.peek() {
            Some(head) if head.at < end || (head.at == end && head.class() < Class::StepEnd) => {
                self.handle(observer)
            }
            _ => {
                self.advance(end);
                self.end_step(self.ends.first(), observer);
            }
        }
        if !self.to_begin.is_empty() && self.next_instant() > self.now {
            self.begin_steps();
        }
        true
    }

    /// Takes the first event of the queue and does what it says.
    #[inline]
    fn handle(&mut self, observer: &mut impl Observer) {
        let event = self.events.pop().expect("the caller has seen it");
        self.advance(event.at);
        match event.class() {
            Class::Arrival => self.arrive(event.target, observer),
            Class::ServiceEnd => self.end_service(&event, observer),
            Class::Deadline => self.reach_deadline(&event, observer),
            Class::Expiry => self.expire(&event, observer),
            Class::Readiness => self.become_ready(&event),
            Class::Operation => self.operate(&event, observer),
            Class::Ready => self.overhead_is_over(&event, observer),
            Class::Boundary => self.cross_boundary(observer),
            Class::StepEnd => unreachable!("the ends of steps are kept apart"),
        }
    }

    #[inline]
    fn advance(&mut self, to: Time) {
        assert!(to >= self.now && to < Time::MAX, "time cannot go from {} to {to}", self.now);
        self.now = to;
    }

    /// The instant of whatever happens next; [`Time::MAX`] when nothing is pending.
    #[inline]
    fn next_instant(&self) -> Time {
        self.ends.first_time().min(self.events.next_time().unwrap_or(Time::MAX))
    }

    /// Nothing is in flight or on its way, and the horizon is behind (or the run was cut).
    #[inline]
    fn is_over(&self) -> bool {
        self.cut
            || (self.coming_count == 0
                && self.table.in_flight() == 0
                && self.now.as_nanos() >= self.scenario.horizon.as_nanos())
    }

    // --- Arrivals ---

    /// Takes the next request of a feed and schedules its arrival at the gateway.
    #[inline]
    fn pull(&mut self, workload: usize) {
        if let Some(arrival) = self.feeds[workload].next() {
            self.schedule_arrival(workload as u32, arrival);
        }
    }

    #[inline]
    fn schedule_arrival(&mut self, place: u32, arrival: Arrival) {
        let workload = arrival.head.workload;
        let at = arrival.at + self.there(workload);
        let event = Event::new(at, Class::Arrival, u32::from(workload), arrival.head.index as u32, place, 0);
        self.coming[place as usize] = Some(arrival);
        self.coming_count += 1;
        self.events.push(event);
    }

    /// Network time from the client to the gateway; the way back takes the rest of the round trip.
    #[inline]
    fn there(&self, workload: u16) -> Span {
        self.scenario.workloads[usize::from(workload)].network / 2
    }

    #[inline]
    fn arrive(&mut self, place: u32, observer: &mut impl Observer) {
        let arrival = self.coming[place as usize].take().expect("an arrival event has its request");
        self.coming_count -= 1;
        if (place as usize) < self.feeds.len() {
            self.pull(place as usize);
        } else {
            self.coming_free.push(place);
        }
        self.offer(arrival, observer);
    }

    /// A request is at the gateway: limits, the service's overhead, then a replica or the queue.
    #[inline]
    fn offer(&mut self, arrival: Arrival, observer: &mut impl Observer) {
        let Arrival { head, draw, chain, .. } = arrival;
        observer.offered(self.now, &head);
        self.totals.offered += 1;
        let number = self.admission.current(head.workload);
        let pool_index = self.admission.class(number).pool;
        let pool = &self.scenario.pools[usize::from(pool_index)];
        let id = self.table.insert(&head, chain, self.now, pool_index);
        self.table[id].class = number;
        if let Err(refusal) = self.let_in(id, number, &head, pool, draw.overhead.is_zero()) {
            self.table[id].output = draw.output_tokens.max(1);
            self.conclude(id, Outcome::Refused, Some(refusal), observer);
            return self.table.release(id);
        }
        observer.admitted(self.now, &head);
        self.table[id].output = gateway::clip_output(&head, draw.output_tokens, pool);
        self.table[id].service = draw.service;
        self.table[id].holds = self.admission.class(number).holds();
        if let Some(patience) = draw.patience {
            self.set_timer(id, &head, PATIENCE, patience);
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

    /// Asks what keeps no count, then whether the request can be served at all, then what counts. A request that would
    /// be refused by a full queue at this very instant (`at_once`) takes nothing from what counts.
    #[inline]
    fn let_in(
        &mut self,
        id: SlotId,
        number: u16,
        head: &RequestHead,
        pool: &Pool,
        at_once: bool,
    ) -> Result<(), Refusal> {
        self.admission.screen(number, head)?;
        if !gateway::fits(head, pool) {
            return Err(Refusal::plain(CONTEXT_LENGTH));
        }
        let state = &mut self.pools[usize::from(self.table[id].pool)];
        if at_once && !state.has_room() {
            state.permits.offered += 1;
            let refusal = state.full();
            self.admission.try_in_vain(self.now, number, head, &mut self.meters)?;
            return Err(refusal);
        }
        self.admission.admit(self.now, id, number, head, &mut self.meters)
    }

    fn overhead_is_over(&mut self, event: &Event, observer: &mut impl Observer) {
        // A client that gave up meanwhile has freed the slot.
        if self.table[event.target].generation == event.epoch {
            self.admit(event.target, observer);
        }
    }

    #[inline]
    fn admit(&mut self, id: SlotId, observer: &mut impl Observer) {
        let pool_index = usize::from(self.table[id].pool);
        let pool = &mut self.pools[pool_index];
        pool.permits.offered += 1;
        if pool.queue.is_empty() && pool.permits.available() {
            let picked = pool.router.pick(&pool.view, self.table.head(id), self.table.chain(id));
            if let Some(replica) = picked {
                return self.dispatch(id, pool_index, replica, observer);
            }
        }
        let priority = self.priority(id);
        let pool = &mut self.pools[pool_index];
        if !pool.queue.push(&mut self.table, id, priority) {
            let refusal = pool.full();
            self.conclude(id, Outcome::Refused, Some(refusal), observer);
            return self.table.release(id);
        }
        if let Some(wait) = pool.queue.rule().wait {
            let head = *self.table.head(id);
            self.set_timer(id, &head, WAIT, wait);
        }
    }

    fn priority(&self, id: SlotId) -> u8 {
        let workload = &self.scenario.workloads[usize::from(self.table[id].workload)];
        self.scenario.tiers[workload.tier].priority
    }

    fn set_timer(&mut self, id: SlotId, head: &crate::request::RequestHead, kind: u32, after: Span) {
        let at = self.now.saturating_add(after);
        let entity = 2 * u32::from(head.workload) + kind;
        let epoch = self.table[id].generation;
        self.events.push(Event::new(at, Class::Expiry, entity, head.index as u32, id, epoch));
    }

    // --- Replicas ---

    #[inline]
    fn dispatch(&mut self, id: SlotId, pool: usize, replica: u16, observer: &mut impl Observer) {
        let slot = &mut self.table[id];
        slot.dispatched = self.now;
        slot.replica = replica;
        self.pools[pool].permits.admitted += 1;
        self.pools[pool].permits.take(self.now);
        observer.dispatched(self.now, self.table.head(id), pool as u16, replica);
        let station = self.pools[pool].first + usize::from(replica);
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

    /// Tells the router what a replica holds.
    #[inline]
    fn refresh(&mut self, station: usize) {
        let Station { pool, replica, .. } = self.stations[station];
        let (waiting, running) = self.stations[station].load();
        self.pools[pool].view.update(replica, waiting, running);
    }

    #[inline]
    fn begin_later(&mut self, station: usize) {
        if !std::mem::replace(&mut self.stations[station].to_begin, true) {
            self.to_begin.push(station as u32);
        }
    }

    #[inline]
    fn begin_steps(&mut self) {
        while let Some(station) = self.to_begin.pop() {
            let state = &mut self.stations[station as usize];
            state.to_begin = false;
            let Worker::Llm(worker) = &mut state.worker else {
                unreachable!("only `llm` replicas have steps")
            };
            if let Some(end) = worker.begin(&mut self.table, self.now, &mut self.started) {
                self.ends.set(station as usize, end);
            }
            while let Some(id) = self.started.pop() {
                let timer = deadline(&self.admission, &self.table, id, self.now);
                timer.into_iter().for_each(|event| self.events.push(event));
            }
            self.refresh(station as usize);
        }
    }

    /// Cuts a run of steps short at the step in flight, since something is about to change on the replica. A step
    /// that ends at this very instant is over: steps end before anything else happens.
    fn catch_up(&mut self, station: usize, observer: &mut impl Observer) {
        if self.truncate(station) == Some(self.now) {
            self.end_step(station, observer);
        }
    }

    /// Shortens a run to the step in flight; returns its new end when that changed.
    #[inline]
    fn truncate(&mut self, station: usize) -> Option<Time> {
        let Worker::Llm(worker) = &mut self.stations[station].worker else { return None };
        let end = worker.truncate(self.now)?;
        self.ends.set(station, end);
        Some(end)
    }

    #[inline]
    fn end_step(&mut self, station: usize, observer: &mut impl Observer) {
        self.ends.clear(station);
        let state = &mut self.stations[station];
        let Worker::Llm(worker) = &mut state.worker else { unreachable!("only `llm` replicas have steps") };
        worker.finish(&mut self.table, observer, &mut self.departures);
        let pool = state.pool;
        // By index: nothing in these loops ends another step.
        for index in 0..self.departures.ghosts.len() {
            self.table.release(self.departures.ghosts[index]);
        }
        for index in 0..self.departures.finished.len() {
            let id = self.departures.finished[index];
            self.conclude(id, Outcome::Completed, None, observer);
            self.table.release(id);
        }
        self.departures.ghosts.clear();
        self.departures.finished.clear();
        self.begin_later(station);
        // The step that begins tells the router what the replica holds; until then only these look.
        if !self.pools[pool].queue.is_empty() || self.next_instant() == self.now {
            self.refresh(station);
            self.poll(pool, observer);
        }
    }

    fn start_services(&mut self, station: usize, observer: &mut impl Observer) {
        let Worker::Slots(worker) = &mut self.stations[station].worker else { return };
        while let Some(Started { id, end, counter }) = worker.start(&mut self.table, self.now, observer) {
            let epoch = self.table[id].generation;
            let timer = deadline(&self.admission, &self.table, id, self.now);
            timer.into_iter().for_each(|event| self.events.push(event));
            self.events.push(Event::new(end, Class::ServiceEnd, station as u32, counter, id, epoch));
        }
    }

    fn end_service(&mut self, event: &Event, observer: &mut impl Observer) {
        let (id, station) = (event.target, event.entity() as usize);
        let state = &mut self.stations[station];
        let Worker::Slots(worker) = &mut state.worker else {
            unreachable!("only `slots` replicas have services")
        };
        // The request may have gone, or have been moved when its replica failed.
        if !worker.is_serving(&self.table, id, event.counter()) {
            return;
        }
        worker.complete(&mut self.table, id, self.now, observer);
        let pool = state.pool;
        self.conclude(id, Outcome::Completed, None, observer);
        self.table.release(id);
        self.start_services(station, observer);
        self.refresh(station);
        self.poll(pool, observer);
    }

    /// Sends waiting requests of a pool to replicas that have room.
    #[inline]
    fn poll(&mut self, pool: usize, observer: &mut impl Observer) {
        while let Some(id) = self.pools[pool].queue.first() {
            let state = &mut self.pools[pool];
            if !state.permits.available() {
                return;
            }
            let picked = state.router.pick(&state.view, self.table.head(id), self.table.chain(id));
            let Some(replica) = picked else { return };
            state.queue.pop(&mut self.table);
            self.dispatch(id, pool, replica, observer);
        }
    }

    // --- Ends ---

    fn expire(&mut self, event: &Event, observer: &mut impl Observer) {
        let id = event.target;
        let place = self.table[id].place;
        if self.table[id].generation != event.epoch || place == Place::Ghost {
            return;
        }
        if event.entity() % 2 == WAIT {
            if place == Place::Gateway {
                self.leave_queue(id);
                self.conclude(id, Outcome::Expired, None, observer);
                self.table.release(id);
            }
            return;
        }
        self.withdraw(id, Outcome::TimedOut, None, observer);
    }

    /// An execution that is not complete when its limit is reached is cancelled: its permit is free at once, what a
    /// step in flight holds at the end of that step.
    fn reach_deadline(&mut self, event: &Event, observer: &mut impl Observer) {
        let id = event.target;
        let slot = &self.table[id];
        if slot.generation != event.epoch || slot.place == Place::Ghost {
            return;
        }
        let (most, reason) = self.admission.class(slot.class).deadline.expect("its timer was set");
        let (limit, current) = (most.as_nanos(), (self.now - slot.scheduled).as_nanos());
        let refusal = Refusal { limit, current, ..Refusal::plain(reason) };
        self.withdraw(id, Outcome::Failed, Some(refusal), observer);
    }

    fn leave_queue(&mut self, id: SlotId) {
        let priority = self.priority(id);
        let pool = usize::from(self.table[id].pool);
        self.pools[pool].queue.remove(&mut self.table, id, priority);
    }

    /// Takes a request away, wherever it is, because its client has gone or its time is up.
    fn withdraw(
        &mut self,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let pool = usize::from(self.table[id].pool);
        if matches!(self.table[id].place, Place::Gateway | Place::Overhead) {
            if self.table[id].place == Place::Gateway {
                self.leave_queue(id);
            }
            self.conclude(id, outcome, refusal, observer);
            return self.table.release(id);
        }
        let station = self.pools[pool].first + usize::from(self.table[id].replica);
        self.catch_up(station, observer);
        self.note_delivered(station, id, outcome, refusal, observer);
        let now = self.now;
        let gone = match &mut self.stations[station].worker {
            Worker::Llm(worker) => worker.cancel(&mut self.table, id),
            Worker::Slots(worker) => {
                worker.cancel(&mut self.table, id, now, observer);
                true
            }
        };
        if gone {
            self.table.release(id);
        }
        self.start_services(station, observer);
        self.refresh(station);
        self.poll(pool, observer);
    }

    /// Concludes a request that leaves a replica before its last token, with what its client has received.
    fn note_delivered(
        &mut self,
        station: usize,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let delivered = match &self.stations[station].worker {
            Worker::Llm(worker) => worker.delivered(&self.table, id),
            Worker::Slots(_) => Delivered { tokens: 0, last: crate::table::NEVER },
        };
        let kept = (self.table[id].generated, self.table[id].last_token);
        (self.table[id].generated, self.table[id].last_token) = (delivered.tokens, delivered.last);
        self.conclude(id, outcome, refusal, observer);
        (self.table[id].generated, self.table[id].last_token) = kept;
    }

    /// A request is over for its client: tell it, and let the client go on.
    #[inline]
    fn conclude(
        &mut self,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let network = self.scenario.workloads[usize::from(self.table[id].workload)].network;
        let done = self.table.finished(id, self.now, outcome, refusal, network);
        debug_assert_eq!(done.budget().total(), done.e2e(), "the latency budget must sum to E2E: {done:?}");
        observer.finished(&done);
        let slot = &self.table[id];
        if slot.dispatched != NEVER {
            self.pools[usize::from(slot.pool)].permits.give_back(self.now);
        }
        if slot.holds {
            self.admission.over(self.now, id, slot.class, &done.head, done.generated, &mut self.meters);
        }
        self.totals.outcomes[outcome as usize] += 1;
        if self.cut {
            return;
        }
        let answered = self.now + (network - network / 2);
        let workload = usize::from(done.head.workload);
        if let Some(next) = self.feeds[workload].follow(&done.head, done.generated, answered) {
            let place = self.coming_free.pop().unwrap_or_else(|| {
                self.coming.push(None);
                (self.coming.len() - 1) as u32
            });
            self.schedule_arrival(place, next);
        }
    }

    // --- Boundaries and the end ---

    /// The next instant at which counting changes: a bin's end, the warm-up's, the horizon.
    fn schedule_boundary(&mut self) {
        let bin = self.scenario.bin.as_nanos();
        let next_bin = (self.now.as_nanos() / bin + 1) * bin;
        let fixed = [self.scenario.warmup, self.scenario.horizon].map(Span::as_nanos);
        let ahead = fixed.into_iter().filter(|&at| at > self.now.as_nanos());
        let at = ahead.fold(next_bin, u64::min);
        self.events.push(Event::new(Time::from_nanos(at), Class::Boundary, 0, 0, 0, 0));
    }

    fn cross_boundary(&mut self, observer: &mut impl Observer) {
        for station in 0..self.stations.len() {
            // A step that ends at this instant belongs to what comes after.
            self.truncate(station);
            if let Worker::Slots(worker) = &mut self.stations[station].worker {
                worker.tell(self.now, observer);
            }
        }
        if self.now.as_nanos().is_multiple_of(self.scenario.bin.as_nanos()) {
            self.sample(observer);
        }
        if self.now.as_nanos() == self.scenario.horizon.as_nanos() && self.scenario.end == End::Cut {
            return self.cut_short(observer);
        }
        self.schedule_boundary();
    }

    fn sample(&self, observer: &mut impl Observer) {
        for (index, pool) in self.pools.iter().enumerate() {
            let replicas = usize::from(self.scenario.pools[index].replicas);
            let mut sample = PoolSample {
                gateway_queue: pool.queue.len(),
                kv_blocks_total: pool.kv_blocks,
                slots_total: pool.slots,
                ..PoolSample::default()
            };
            for station in &self.stations[pool.first..pool.first + replicas] {
                let (waiting, running) = station.load();
                sample.waiting += waiting;
                sample.running += running;
                if let Worker::Llm(worker) = &station.worker {
                    sample.kv_blocks_used += u64::from(worker.kv_used());
                }
            }
            observer.sampled(self.now, index as u16, &sample);
        }
    }

    /// Stops here: steps in flight are booked as far as they got, requests in flight are reported where they stand.
    fn cut_short(&mut self, observer: &mut impl Observer) {
        self.cut = true;
        for station in 0..self.stations.len() {
            self.truncate(station);
            match &mut self.stations[station].worker {
                Worker::Llm(worker) => worker.abandon(&mut self.table, observer, &mut self.departures),
                Worker::Slots(worker) => worker.tell(self.now, observer),
            }
        }
        let ids: Vec<SlotId> = self.table.occupied().collect();
        for id in ids {
            match self.table[id].place {
                Place::Ghost => {}
                Place::Gateway | Place::Overhead => self.conclude(id, Outcome::Queued, None, observer),
                place => {
                    let pool = usize::from(self.table[id].pool);
                    let station = self.pools[pool].first + usize::from(self.table[id].replica);
                    let outcome = if place == Place::Waiting { Outcome::Queued } else { Outcome::Running };
                    self.note_delivered(station, id, outcome, None, observer);
                }
            }
            self.table.release(id);
        }
    }

    /// Asserts that every request that was offered ended exactly once.
    fn close(mut self, observer: &mut impl Observer) -> Totals {
        if !self.cut && !self.now.as_nanos().is_multiple_of(self.scenario.bin.as_nanos()) {
            self.sample(observer);
        }
        self.totals.ended = self.now;
        self.tell_usage(observer);
        let steps = self.stations.iter().map(|station| match &station.worker {
            Worker::Llm(worker) => worker.steps(),
            Worker::Slots(_) => 0,
        });
        self.totals.steps = steps.sum();
        let ended: u64 = self.totals.outcomes.iter().sum();
        assert_eq!(self.totals.offered, ended, "requests offered and ended differ: {:?}", self.totals);
        assert_eq!(self.table.in_flight(), 0, "requests are left in the table: {:?}", self.totals);
        self.totals
    }
}
