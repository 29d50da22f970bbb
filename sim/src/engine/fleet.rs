//! The hub's side of the fleet: which replicas there are, what autoscalers decide, who starts and who stops.
//!
//! What fails is in `failures`.

use super::Feed;
use super::event::{Class, Event};
use super::failures::{FAULT_BEGINS, REPLICA_READY};
use super::simulation::Simulation;
use super::station::Worker;
use crate::fleet::machines::Spot;
use crate::fleet::{Autoscaler, Replicas, State};
use crate::observe::{FaultFact, Observer, ScaleCause, ScaleChange};
use crate::replica::Stepper;
use crate::request::{PoolId, ReplicaId};
use crate::rng::{Purpose, Rng, source_of, stream};
use crate::scenario::fleet::Aim;
use crate::scenario::{Engine, Scenario};
use crate::time::{Span, Time};

/// Who looks, in a [`Class::Look`] event; its entity is `2 * pool + who`.
const ROUTER: u32 = 0;
const AUTOSCALER: u32 = 1;

/// Replicas, autoscalers and what is drawn about them.
#[derive(Debug)]
pub(super) struct Elastic {
    /// Whether anything can change at all.
    on: bool,
    pub(super) replicas: Replicas,
    scalers: Vec<Option<Autoscaler>>,
    /// By pool: how long replicas take to start.
    starts: Vec<Rng>,
    /// By replica: when it fails by itself. Empty where nothing does.
    pub(super) failures: Vec<Rng>,
    /// Machines that fail by themselves.
    pub(super) machines: Vec<(Spot, Rng)>,
    /// By replica: whether it has failed, so that the router has to notice that it is back.
    pub(super) failed: Vec<bool>,
    /// By replica: since when it has been idle; [`NEVER`] while it is not.
    pub(super) idle_since: Vec<Time>,
}

impl Elastic {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let fleet = &scenario.fleet;
        let machines = fleet.nodes.iter().enumerate().flat_map(|(group, nodes)| {
            let fails = nodes.failures.is_some();
            (0..nodes.count).filter(move |_| fails).map(move |machine| {
                let source = source_of(&nodes.name);
                (
                    Spot { group, machine },
                    stream(seed, Purpose::Failure, source, 1 << 32 | u64::from(machine)),
                )
            })
        });
        let machines: Vec<_> = machines.collect();
        let pools = &scenario.pools;
        let own =
            |pool: &crate::scenario::Pool| pool.fleet.failures.is_some() || pool.fleet.scaling.is_some();
        let on = !fleet.faults.is_empty() || !machines.is_empty() || pools.iter().any(own);
        let failures = pools.iter().filter(|_| on).flat_map(|pool| {
            let source = source_of(&pool.name);
            (0..pool.replicas).map(move |replica| stream(seed, Purpose::Failure, source, replica.into()))
        });
        let scaler = |pool: &crate::scenario::Pool| {
            let rule = pool.fleet.scaling.as_ref();
            rule.map(|rule| Autoscaler::new(rule, pool.replicas, pool.fleet.initial))
        };
        let replicas = Replicas::new(scenario);
        let stations: usize = pools.iter().map(|pool| usize::from(pool.replicas)).sum();
        Elastic {
            on,
            replicas,
            scalers: pools.iter().map(scaler).collect(),
            starts: pools.iter().map(|pool| stream(seed, Purpose::Start, source_of(&pool.name), 0)).collect(),
            failures: failures.collect(),
            machines,
            failed: vec![false; stations],
            idle_since: vec![Time::ZERO; stations],
        }
    }

    /// Whether replicas can come, go or fail.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    #[inline]
    pub(super) fn state(&self, station: usize) -> State {
        self.replicas.state(station)
    }

    /// Whether a replica takes requests.
    #[inline]
    pub(super) fn serves(&self, station: usize) -> bool {
        !self.on || self.replicas.state(station) == State::Ready
    }

    /// Whether a pool has a replica that the router believes in, or can get one when a request comes.
    pub(super) fn is_up(&self, pool: usize, believed: u16) -> bool {
        !self.on
            || believed > 0
            || self.replicas.count(pool).starting > 0
            || (self.scalers[pool].is_some() && self.replicas.has_place(pool))
    }

    /// Replicas of a pool that work on requests.
    pub(super) fn serving(&self, pool: usize) -> u16 {
        let count = self.replicas.count(pool);
        count.ready + count.draining
    }

    /// The longest time after which an autoscaler may still do something about requests that wait.
    pub(super) fn slowest_reaction(&self, scenario: &Scenario) -> Span {
        let reaction = scenario.pools.iter().filter_map(|pool| {
            let rule = pool.fleet.scaling.as_ref()?;
            let cycle = if rule.schedule.is_empty() { Span::ZERO } else { rule.period };
            // As many looks as it takes to stop all replicas of a pool one by one, whose GPUs somebody waits for.
            let looks = rule.interval * (2 + u64::from(pool.replicas));
            Some(looks + rule.up_window + rule.down_window + cycle)
        });
        reaction.fold(Span::ZERO, Span::max)
    }
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Schedules the faults of the scenario, the first failure of what fails by itself, and the first looks.
    pub(super) fn schedule_fleet(&mut self) {
        for (index, fault) in self.scenario.fleet.faults.iter().enumerate() {
            let event = Event::new(fault.at, Class::Fleet, FAULT_BEGINS, index as u32, index as u32, 0);
            self.push_housekeeping(event);
        }
        for machine in 0..self.elastic.machines.len() {
            self.schedule_machine_failure(machine);
        }
        for pool in 0..self.pools.len() {
            let (rule, entity) = (&self.scenario.pools[pool], 2 * pool as u32);
            if !rule.view_age.is_zero() {
                let at = Time::ZERO + rule.view_age;
                self.push_housekeeping(Event::new(at, Class::Look, entity + ROUTER, 0, 0, 0));
            }
            if let Some(scaling) = &rule.fleet.scaling {
                let at = Time::ZERO + scaling.interval;
                self.push_housekeeping(Event::new(at, Class::Look, entity + AUTOSCALER, 0, 0, 0));
            }
            self.count_workers(pool);
            for station in self.elastic.replicas.of(pool) {
                if self.elastic.state(station) == State::Ready {
                    self.schedule_replica_failure(station);
                }
            }
        }
    }

    /// Tells how many replicas there are at the start.
    pub(super) fn tell_fleet(&self, observer: &mut impl Observer) {
        for pool in 0..self.pools.len() {
            self.tell_scaled(pool, ScaleCause::Start, observer);
        }
    }

    fn tell_scaled(&self, pool: usize, cause: ScaleCause, observer: &mut impl Observer) {
        let count = self.elastic.replicas.count(pool);
        let change = ScaleChange {
            ready: count.ready,
            starting: count.starting,
            draining: count.draining,
            down: count.down,
            wanted: self.elastic.replicas.wanted(pool),
            cause,
        };
        observer.scaled(self.now, pool as u16, &change);
    }

    /// A pool has another number of replicas in some state.
    pub(super) fn changed(&mut self, pool: usize, cause: ScaleCause, observer: &mut impl Observer) {
        self.count_workers(pool);
        self.tell_scaled(pool, cause, observer);
    }

    fn count_workers(&mut self, pool: usize) {
        let each = match &self.scenario.pools[pool].engine {
            Engine::Llm(_) => 1,
            Engine::Slots(slots) => u64::from(slots.servers),
        };
        self.signals.workers(self.now, pool, u64::from(self.elastic.serving(pool)) * each);
    }

    pub(super) fn look(&mut self, event: &Event, observer: &mut impl Observer) {
        let pool = event.entity() as usize / 2;
        self.housekeeping -= 1;
        let rule = &self.scenario.pools[pool];
        let again = if event.entity() % 2 == ROUTER {
            self.pools[pool].view.look();
            rule.view_age
        } else {
            self.scale(pool, observer);
            rule.fleet.scaling.as_ref().expect("its autoscaler looked").interval
        };
        self.push_housekeeping(Event::new(self.now + again, Class::Look, event.entity(), 0, 0, 0));
    }

    fn scale(&mut self, pool: usize, observer: &mut impl Observer) {
        let scaler = self.elastic.scalers[pool].as_mut().expect("its autoscaler looked");
        let waiting = if matches!(scaler.rule().aim, Some(Aim::Queue(_))) {
            let stations = &self.stations[self.elastic.replicas.of(pool)];
            self.pools[pool].queue.len() + stations.iter().map(|station| station.load().0).sum::<u32>()
        } else {
            0
        };
        let ready = self.elastic.replicas.count(pool).ready;
        let reading = self.signals.look(self.now, pool, ready, waiting);
        let before = self.elastic.replicas.wanted(pool);
        let wanted = scaler.decide(self.now, before, &reading);
        // Nobody goes while somebody waits for the last one.
        let wanted = if wanted == 0 && self.pools[pool].requests > 0 { 1 } else { wanted };
        self.elastic.replicas.want(pool, wanted);
        if wanted != before {
            self.tell_scaled(pool, ScaleCause::Decision, observer);
        }
        self.reconcile(pool, observer);
        if self.pools[pool].requests > 0 {
            self.activate(pool, observer);
        }
    }

    /// A request waits in a pool that has been scaled to zero (or whose replicas are all down): one replica, now. Does
    /// nothing when there is one, or no place for any.
    pub(super) fn activate(&mut self, pool: usize, observer: &mut impl Observer) {
        let replicas = &mut self.elastic.replicas;
        if self.elastic.scalers[pool].is_none() || replicas.alive(pool) > 0 || !replicas.has_place(pool) {
            return;
        }
        replicas.want(pool, replicas.wanted(pool).max(1));
        self.reconcile(pool, observer);
        if self.elastic.replicas.alive(pool) == 0 && self.yield_to(pool, observer) {
            self.reconcile(pool, observer);
        }
        if self.elastic.replicas.alive(pool) > 0 {
            self.tell_scaled(pool, ScaleCause::Activation, observer);
        }
    }

    /// Whoever waits at zero for GPUs may get those of a replica that has just fallen idle.
    fn serve_starved(&mut self, observer: &mut impl Observer) {
        for pool in 0..self.pools.len() {
            if self.pools[pool].requests > 0 && self.elastic.replicas.alive(pool) == 0 {
                self.activate(pool, observer);
            }
        }
    }

    /// Idle replicas of other pools that have more than they must give their GPUs to a pool that has none: those of one
    /// machine, the longest idle first, and only when they are enough. Returns whether they did. O(replicas squared) in the
    /// worst case; only for a pool at zero that finds no free GPUs.
    fn yield_to(&mut self, pool: usize, observer: &mut impl Observer) -> bool {
        let here = &self.scenario.pools[pool].fleet.nodes;
        let needed = self.elastic.replicas.gpus(pool);
        let can_yield = |&station: &usize| {
            self.stations[station].pool != pool
                && self.elastic.state(station) == State::Ready
                && self.stations[station].is_empty()
                && self.elastic.replicas.spot(station).is_some_and(|spot| here.contains(&spot.group))
        };
        let mut idle: Vec<usize> = (0..self.stations.len()).filter(can_yield).collect();
        idle.sort_by_key(|&station| (self.elastic.idle_since[station], station));
        let spare = |other: usize, taken: &[usize]| {
            let Some(rule) = &self.scenario.pools[other].fleet.scaling else { return false };
            let given = taken.iter().filter(|&&station| self.stations[station].pool == other).count();
            usize::from(self.elastic.replicas.count(other).ready) > usize::from(rule.least(self.now)) + given
        };
        let enough = idle.iter().find_map(|&first| {
            let spot = self.elastic.replicas.spot(first)?;
            let mut free = self.elastic.replicas.free(spot);
            let mut taken = Vec::new();
            for &station in idle.iter().filter(|&&other| self.elastic.replicas.spot(other) == Some(spot)) {
                let other = self.stations[station].pool;
                if free < needed && spare(other, &taken) {
                    free += self.elastic.replicas.gpus(other);
                    taken.push(station);
                }
            }
            (free >= needed).then_some(taken)
        });
        let Some(taken) = enough else { return false };
        for station in taken {
            let other = self.stations[station].pool;
            let wanted = self.elastic.replicas.wanted(other);
            self.elastic.replicas.want(other, wanted.saturating_sub(1));
            self.stop(station);
            self.changed(other, ScaleCause::Yielded, observer);
        }
        true
    }

    /// Starts and stops replicas of a pool until there are as many as wanted, as far as there is hardware.
    fn reconcile(&mut self, pool: usize, observer: &mut impl Observer) {
        let mut freed = false;
        loop {
            let (alive, wanted) = (self.elastic.replicas.alive(pool), self.elastic.replicas.wanted(pool));
            if alive < wanted {
                if let Some(station) = self.elastic.replicas.recall(pool) {
                    self.pools[pool].view.set_up(self.stations[station].replica, true);
                    self.schedule_replica_failure(station);
                    self.changed(pool, ScaleCause::Decision, observer);
                    self.poll_later(pool, station);
                } else if let Some((station, epoch)) = self.elastic.replicas.start(pool) {
                    self.begin_start(station, epoch);
                    self.changed(pool, ScaleCause::Decision, observer);
                } else {
                    break;
                }
            } else if alive > wanted {
                let Some(station) = self.least_needed(pool) else { break };
                freed |= self.stop(station);
                self.changed(pool, ScaleCause::Decision, observer);
            } else {
                break;
            }
        }
        if freed {
            self.reconcile_all(observer);
        }
    }

    /// Whoever has fewer replicas than wanted gets some of what is free, in the order of the file.
    pub(super) fn reconcile_all(&mut self, observer: &mut impl Observer) {
        for pool in 0..self.pools.len() {
            if self.elastic.replicas.alive(pool) < self.elastic.replicas.wanted(pool) {
                self.reconcile(pool, observer);
            }
        }
    }

    /// The replica that is stopped first: one that does not serve yet, else the one with the fewest requests, the last
    /// among equals.
    fn least_needed(&self, pool: usize) -> Option<usize> {
        let of = self.elastic.replicas.of(pool);
        let running = of.filter(|&s| matches!(self.elastic.state(s), State::Starting | State::Ready));
        running.min_by_key(|&station| {
            let (waiting, running) = self.stations[station].load();
            let serves = self.elastic.state(station) == State::Ready;
            (serves, waiting + running, std::cmp::Reverse(station))
        })
    }

    /// A replica takes nothing new, and is off as soon as it is empty. Returns whether it is off already.
    fn stop(&mut self, station: usize) -> bool {
        let (pool, replica) = (self.stations[station].pool, self.stations[station].replica);
        self.pools[pool].view.set_up(replica, false);
        let empty = self.stations[station].is_empty() && !self.stations[station].to_begin;
        if !self.stations[station].is_empty() {
            // Batch has to go when the step in flight is over.
            if self.has_batch(pool) {
                self.wake_batch(pool);
            }
        }
        self.elastic.replicas.stop(station, empty)
    }

    /// The instant is over for a replica that may have been draining.
    pub(super) fn stop_if_drained(&mut self, station: usize, observer: &mut impl Observer) {
        if !self.stations[station].is_empty() {
            return;
        }
        if self.elastic.state(station) == State::Draining {
            self.elastic.replicas.switch_off(station);
            self.changed(self.stations[station].pool, ScaleCause::Drained, observer);
            self.reconcile_all(observer);
        }
        self.serve_starved(observer);
    }

    /// A replica starts: it serves when it is provisioned, loaded and warm.
    pub(super) fn begin_start(&mut self, station: usize, epoch: u32) {
        let pool = self.stations[station].pool;
        let rng = &mut self.elastic.starts[pool];
        let parts = self.scenario.pools[pool].fleet.cold_start.parts();
        let takes = parts.fold(Span::ZERO, |sum, part| sum + part.sample_span(rng));
        let (at, unit) = (self.now.saturating_add(takes), station as u32);
        self.events.push(Event::new(at, Class::Fleet, REPLICA_READY, unit, unit, epoch));
        // It starts with empty caches, whatever it knew before.
        let mut none = std::mem::take(&mut self.departures);
        if let Worker::Llm(worker) = &mut self.stations[station].worker {
            worker.evict(&mut self.table, self.now, &mut none);
        }
        assert!(none.evicted.is_empty() && none.ghosts.is_empty(), "a replica that starts holds nothing");
        self.departures = none;
    }

    pub(super) fn replica_is_ready(&mut self, station: usize, epoch: u32, observer: &mut impl Observer) {
        if !self.elastic.replicas.becomes_ready(station, epoch) {
            return;
        }
        let pool = self.stations[station].pool;
        self.elastic.idle_since[station] = self.now;
        self.set_pace(station, observer);
        self.schedule_replica_failure(station);
        self.changed(pool, ScaleCause::Ready, observer);
        if std::mem::take(&mut self.elastic.failed[station]) {
            let (pool, replica) = (pool as PoolId, self.stations[station].replica);
            let fact = FaultFact { pool, replica, over: true, slow: 0, lost: 0, moved: 0 };
            observer.failed(self.now, &fact);
            return self.notice_later(station, observer);
        }
        let replica: ReplicaId = self.stations[station].replica;
        self.pools[pool].view.set_up(replica, true);
        self.poll_later(pool, station);
    }
}
