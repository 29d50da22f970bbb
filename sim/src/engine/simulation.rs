//! The hub: it alone owns the event queue, and every fact passes through it.
//!
//! Here is the loop; a request's path goes on in `arrivals` (the gateway), `stepping` (replicas) and `endings`.

use super::batch::Batches;
use super::clients::Clients;
use super::ends::StepEnds;
use super::event::{Class, Event};
use super::fleet::Elastic;
use super::live::Live;
use super::queue::EventQueue;
use super::signals::Signals;
use super::station::{PoolState, Station, Worker, build};
use super::transfers::Links;
use super::{Feed, Totals};
use crate::control::ControlPlane;
use crate::gateway;
use crate::gateway::admission::Admission;
use crate::gateway::choice::Choices;
use crate::limits::Meters;
use crate::observe::{Observer, PoolSample};
use crate::replica::{Departures, Stepper};
use crate::request::{Arrival, Outcome};
use crate::scenario::{End, Scenario};
use crate::table::{Place, SlotId, Table};
use crate::time::{Span, Time};
use std::ops::ControlFlow;

/// A run that drains for this many times its horizon, and for [`LEAST_DRAIN`], is cut: what is left waits for something
/// far away, and every bin until then would be simulated.
const DRAIN: u64 = 100;
const LEAST_DRAIN: Span = Span::from_secs(3_600);

/// Events between two looks of the watcher.
pub(super) const WATCH_EVERY: u64 = 1 << 14;

/// A scenario in motion.
#[derive(Debug)]
pub struct Simulation<'s, F, S> {
    pub(super) scenario: &'s Scenario,
    pub(super) seed: u64,
    pub(super) feeds: Vec<F>,
    pub(super) now: Time,
    pub(super) events: EventQueue,
    /// Pending events that make nothing happen to a request by themselves: boundaries, looks, failures to come.
    pub(super) housekeeping: usize,
    pub(super) ends: StepEnds,
    pub(super) table: Table,
    pub(super) pools: Vec<PoolState>,
    pub(super) stations: Vec<Station<S>>,
    /// Requests on their way to the gateway: the next of each feed, then others in reused places.
    pub(super) coming: Vec<Option<Coming>>,
    pub(super) coming_free: Vec<u32>,
    pub(super) coming_count: usize,
    /// Replicas that begin a step when no event is left at this instant.
    pub(super) to_begin: Vec<u32>,
    /// Pools whose queues move up then, too.
    pub(super) to_poll: Vec<usize>,
    pub(super) departures: Departures,
    /// Requests that a step has just begun to work on.
    pub(super) started: Vec<SlotId>,
    pub(super) meters: Meters,
    pub(super) admission: Admission,
    pub(super) control: ControlPlane<'s>,
    pub(super) choices: Choices,
    /// Candidates of the request that is being offered, in the order in which they are tried.
    pub(super) trying: Vec<usize>,
    pub(super) clients: Clients,
    pub(super) elastic: Elastic,
    pub(super) signals: Signals,
    pub(super) links: Links,
    pub(super) batches: Batches<'s>,
    /// Replicas that came back from batch so far.
    pub(super) loans_made: u32,
    pub(super) totals: Totals,
    /// What comes from outside; `None` where nothing does.
    pub(super) live: Option<Live>,
    /// Since when nothing can happen any more to the requests in flight.
    stuck_since: Option<Time>,
    pub(super) cut: bool,
}

/// A request on its way to the gateway.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    pub(super) arrival: Arrival,
    /// The request that it is a further attempt of; [`crate::table::NONE`] for a first attempt.
    pub(super) request: u32,
}

impl<'s, F: Feed, S: Stepper> Simulation<'s, F, S> {
    /// A scenario at its start. `skip` allows replicas to run many steps as one event.
    pub fn new(scenario: &'s Scenario, feeds: Vec<F>, seed: u64, skip: bool) -> Self {
        assert_eq!(feeds.len(), scenario.workloads.len(), "one feed per workload");
        let (pools, stations) = build(scenario, seed, skip);
        let mut meters = gateway::admission::meters(&scenario.policy.limits);
        let control = ControlPlane::new(scenario, &mut meters);
        let candidates = |workload: &crate::scenario::Workload| {
            let choice = &scenario.tiers[workload.tier].choice;
            choice.as_ref().map_or(1, |_| workload.sender.candidates.len())
        };
        let candidates: Vec<usize> = scenario.workloads.iter().map(candidates).collect();
        let mut simulation = Simulation {
            scenario,
            seed,
            now: Time::ZERO,
            events: EventQueue::default(),
            housekeeping: 0,
            ends: StepEnds::new(stations.len()),
            table: Table::default(),
            pools,
            stations,
            coming: (0..feeds.len()).map(|_| None).collect(),
            coming_free: Vec::new(),
            coming_count: 0,
            to_begin: Vec::new(),
            to_poll: Vec::new(),
            departures: Departures::default(),
            started: Vec::new(),
            meters,
            admission: Admission::new(&candidates),
            control,
            choices: Choices::new(scenario, seed),
            trying: Vec::new(),
            clients: Clients::new(scenario),
            elastic: Elastic::new(scenario, seed),
            signals: Signals::new(scenario),
            links: Links::new(scenario),
            batches: Batches::new(scenario, seed),
            loans_made: 0,
            totals: Totals::default(),
            live: None,
            stuck_since: None,
            cut: false,
            feeds,
        };
        for workload in 0..simulation.feeds.len() {
            simulation.classify(workload);
            simulation.pull(workload);
        }
        simulation.schedule_operations();
        simulation.schedule_fleet();
        simulation.schedule_batches();
        simulation.schedule_boundary();
        simulation
    }

    /// Runs to the end. See [`super::simulate`].
    pub fn run(
        mut self,
        observer: &mut impl Observer,
        mut watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
    ) -> Totals {
        self.start(observer);
        while self.step(observer) {
            if self.totals.events.is_multiple_of(WATCH_EVERY) && watch(self.now, &self.totals).is_break() {
                self.cut_short(observer);
                break;
            }
        }
        self.finish(observer)
    }

    /// Tells what there is at the start. To be called once, before the first [`Simulation::step`].
    pub fn start(&mut self, observer: &mut impl Observer) {
        self.tell_fleet(observer);
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
            self.begin_steps(observer);
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
            Class::Transfer => self.transfer(&event, observer),
            Class::Cancel => self.cancel_loser(&event, observer),
            Class::Deadline => self.reach_deadline(&event, observer),
            Class::Expiry => self.expire(&event, observer),
            Class::Job => self.job_event(&event, observer),
            Class::Fleet => self.fleet_event(&event, observer),
            Class::Readiness => self.become_ready(&event, observer),
            Class::Operation => self.operate(&event, observer),
            Class::Look => self.look(&event, observer),
            Class::Ready => self.overhead_is_over(&event, observer),
            Class::Hedge => self.hedge(&event),
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
    pub(super) fn next_instant(&self) -> Time {
        self.ends.first_time().min(self.events.next_time().unwrap_or(Time::MAX))
    }

    /// Nothing is in flight or on its way, and the horizon is behind (or the run was cut).
    #[inline]
    fn is_over(&self) -> bool {
        self.cut
            || (self.coming_count == 0
                && self.table.in_flight() == 0
                && self.now.as_nanos() >= self.scenario.horizon.as_nanos()
                // A window that closes with the horizon closes.
                && !(self.batches.is_on() && self.next_instant() == self.now))
    }

    /// Schedules an event that by itself makes nothing happen to a request.
    pub(super) fn push_housekeeping(&mut self, event: Event) {
        self.housekeeping += 1;
        self.events.push(event);
    }

    // --- Boundaries and the end ---

    /// The next instant at which counting changes: a bin's end, the warm-up's, the horizon.
    fn schedule_boundary(&mut self) {
        let bin = self.scenario.bin.as_nanos();
        let next_bin = (self.now.as_nanos() / bin + 1) * bin;
        let fixed = [self.scenario.warmup, self.scenario.horizon].map(Span::as_nanos);
        let ahead = fixed.into_iter().filter(|&at| at > self.now.as_nanos());
        let at = ahead.fold(next_bin, u64::min);
        self.push_housekeeping(Event::new(Time::from_nanos(at), Class::Boundary, 0, 0, 0, 0));
    }

    fn cross_boundary(&mut self, observer: &mut impl Observer) {
        self.housekeeping -= 1;
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
        let horizon = self.scenario.horizon.as_nanos();
        let over = self.now.as_nanos() == horizon && self.scenario.end == End::Cut;
        let drained = self.now.as_nanos()
            >= horizon.saturating_mul(DRAIN).max(horizon.saturating_add(LEAST_DRAIN.as_nanos()));
        if self.now.as_nanos() == horizon {
            self.stop_sending(observer);
        }
        if over || drained || (self.now.as_nanos() > horizon && self.is_stuck()) {
            return self.cut_short(observer);
        }
        self.schedule_boundary();
    }

    /// Whether requests wait for what will never come: nothing is pending that could serve them, and autoscalers have
    /// had the time to act if they ever would.
    fn is_stuck(&mut self) -> bool {
        let idle = self.events.len() == self.housekeeping
            && self.coming_count == 0
            && self.ends.first_time() == Time::MAX
            && self.to_begin.is_empty();
        if !idle {
            self.stuck_since = None;
            return false;
        }
        let since = *self.stuck_since.get_or_insert(self.now);
        self.now - since >= self.elastic.slowest_reaction(self.scenario)
    }

    fn sample(&self, observer: &mut impl Observer) {
        for (index, pool) in self.pools.iter().enumerate() {
            let replicas = usize::from(self.scenario.pools[index].replicas);
            let serving = u64::from(self.elastic.serving(index));
            let mut sample = PoolSample {
                gateway_queue: pool.queue.len(),
                kv_blocks_total: pool.kv_blocks * serving,
                slots_total: pool.slots * serving,
                ..PoolSample::default()
            };
            for station in &self.stations[pool.first..pool.first + replicas] {
                let (waiting, running) = station.load();
                let (lower_waiting, lower_running) = station.lower();
                sample.waiting += waiting + lower_waiting;
                sample.running += running + lower_running;
                if let Worker::Llm(worker) = &station.worker {
                    sample.kv_blocks_used += u64::from(worker.kv_used());
                }
            }
            if let Some(Some(state)) = self.batches.pools.get(index) {
                sample.batch = state.sent.iter().sum();
            }
            observer.sampled(self.now, index as u16, &sample);
        }
    }

    /// Stops here: steps in flight are booked as far as they got, requests in flight are reported where they stand.
    pub(super) fn cut_short(&mut self, observer: &mut impl Observer) {
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
                Place::Transfer => self.conclude(id, Outcome::InTransfer, None, observer),
                place => {
                    let station = self.station_of(id);
                    let outcome = if place == Place::Waiting { Outcome::Queued } else { Outcome::Running };
                    self.note_delivered(station, id, outcome, None, observer);
                }
            }
            self.table.release(id);
        }
        self.settle_all(observer);
    }

    /// Ends the run, once [`Simulation::step`] finds nothing more to do, and says what it amounted to.
    ///
    /// Asserts that every request that was offered ended exactly once.
    pub fn finish(mut self, observer: &mut impl Observer) -> Totals {
        if !self.cut && !self.now.as_nanos().is_multiple_of(self.scenario.bin.as_nanos()) {
            self.sample(observer);
        }
        self.totals.ended = self.now;
        self.tell_usage(observer);
        self.close_batches(observer);
        let steps = self.stations.iter().map(|station| match &station.worker {
            Worker::Llm(worker) => worker.steps(),
            Worker::Slots(_) => 0,
        });
        self.totals.steps = steps.sum();
        let ended: u64 = self.totals.outcomes.iter().sum();
        assert_eq!(self.totals.offered, ended, "attempts offered and ended differ: {:?}", self.totals);
        let settled: u64 = self.totals.settled.iter().sum();
        assert_eq!(self.totals.requests, settled, "requests begun and settled differ: {:?}", self.totals);
        assert_eq!(self.table.in_flight(), 0, "requests are left in the table: {:?}", self.totals);
        assert_eq!(self.clients.open(), 0, "clients still wait: {:?}", self.totals);
        self.totals
    }
}
