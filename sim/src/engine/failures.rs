//! What fails and comes back, and what that does to the requests that were there.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::Simulation;
use super::station::Worker;
use crate::fleet::State;
use crate::fleet::machines::Spot;
use crate::observe::{FaultFact, Observer, ScaleCause};
use crate::replica::Stepper;
use crate::request::{Outcome, PoolId};
use crate::scenario::fleet::{Effect, Failures, OnFailure, Target};
use crate::table::{NEVER, NONE, SlotId};
use crate::time::Time;

/// What a [`Class::Fleet`] event is about; its entity.
pub(super) const FAULT_BEGINS: u32 = 0;
const FAULT_ENDS: u32 = 1;
const MACHINE_FAILS: u32 = 2;
const MACHINE_IS_BACK: u32 = 3;
const REPLICA_FAILS: u32 = 4;
const REPLICA_IS_BACK: u32 = 5;
pub(super) const REPLICA_READY: u32 = 6;
const NOTICED: u32 = 7;

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Nothing begins to fail after the horizon, so that what is left can drain.
    fn may_fail(&self, at: Time) -> bool {
        at.as_nanos() < self.scenario.horizon.as_nanos()
    }

    pub(super) fn schedule_machine_failure(&mut self, machine: usize) {
        let (spot, rng) = &mut self.elastic.machines[machine];
        let Some(Failures { mtbf, .. }) = &self.scenario.fleet.nodes[spot.group].failures else { return };
        let at = self.now.saturating_add(mtbf.sample_span(rng));
        if self.may_fail(at) {
            let machine = machine as u32;
            self.push_housekeeping(Event::new(at, Class::Fleet, MACHINE_FAILS, machine, machine, 0));
        }
    }

    pub(super) fn schedule_replica_failure(&mut self, station: usize) {
        let pool = self.stations[station].pool;
        let Some(Failures { mtbf, .. }) = &self.scenario.pools[pool].fleet.failures else { return };
        let at = self.now.saturating_add(mtbf.sample_span(&mut self.elastic.failures[station]));
        if self.may_fail(at) {
            let (epoch, station) = (self.elastic.replicas.epoch(station), station as u32);
            self.push_housekeeping(Event::new(at, Class::Fleet, REPLICA_FAILS, station, station, epoch));
        }
    }

    pub(super) fn fleet_event(&mut self, event: &Event, observer: &mut impl Observer) {
        let index = event.target as usize;
        if matches!(event.entity(), FAULT_BEGINS | MACHINE_FAILS | REPLICA_FAILS) {
            self.housekeeping -= 1;
        }
        match event.entity() {
            FAULT_BEGINS => self.begin_fault(index, observer),
            FAULT_ENDS => self.end_fault(index, observer),
            MACHINE_FAILS => {
                let (spot, rng) = &mut self.elastic.machines[index];
                let spot = *spot;
                let failures = self.scenario.fleet.nodes[spot.group].failures.as_ref();
                let lasts = failures.expect("it fails by itself").mttr.sample_span(rng);
                let back = self.now.saturating_add(lasts);
                self.events.push(Event::new(
                    back,
                    Class::Fleet,
                    MACHINE_IS_BACK,
                    event.target,
                    event.target,
                    0,
                ));
                self.strike(Target::Node(spot.group, spot.machine), observer);
            }
            MACHINE_IS_BACK => {
                let (spot, _) = self.elastic.machines[index];
                self.lift(Target::Node(spot.group, spot.machine), observer);
                self.schedule_machine_failure(index);
            }
            REPLICA_FAILS => self.fail_by_itself(index, event.epoch, observer),
            REPLICA_IS_BACK => self.lift(self.itself(index), observer),
            REPLICA_READY => self.replica_is_ready(index, event.epoch, observer),
            NOTICED => self.notice(index, observer),
            other => unreachable!("no fleet event is of kind {other}"),
        }
    }

    fn begin_fault(&mut self, index: usize, observer: &mut impl Observer) {
        let fault = &self.scenario.fleet.faults[index];
        if let Some(lasts) = fault.lasts {
            let at = self.now.saturating_add(lasts);
            self.events.push(Event::new(at, Class::Fleet, FAULT_ENDS, index as u32, index as u32, 0));
        }
        match fault.effect {
            Effect::Down => self.strike(fault.target, observer),
            Effect::Slow(_) => self.slow_down(index, false, observer),
        }
    }

    fn end_fault(&mut self, index: usize, observer: &mut impl Observer) {
        let fault = &self.scenario.fleet.faults[index];
        match fault.effect {
            Effect::Down => self.lift(fault.target, observer),
            Effect::Slow(_) => self.slow_down(index, true, observer),
        }
    }

    fn itself(&self, station: usize) -> Target {
        let state = &self.stations[station];
        Target::Replica(state.pool as PoolId, state.replica)
    }

    fn fail_by_itself(&mut self, station: usize, epoch: u32, observer: &mut impl Observer) {
        if self.elastic.replicas.epoch(station) != epoch {
            return;
        }
        let pool = self.stations[station].pool;
        let failures = self.scenario.pools[pool].fleet.failures.as_ref().expect("it fails by itself");
        let lasts = failures.mttr.sample_span(&mut self.elastic.failures[station]);
        let (at, unit) = (self.now.saturating_add(lasts), station as u32);
        self.events.push(Event::new(at, Class::Fleet, REPLICA_IS_BACK, unit, unit, 0));
        self.strike(self.itself(station), observer);
    }

    /// What a fault strikes stops working.
    fn strike(&mut self, target: Target, observer: &mut impl Observer) {
        // A step that ends at this instant ends before anything fails.
        for station in 0..self.stations.len() {
            self.catch_up(station, observer);
        }
        let mut lost: Vec<(usize, State)> = Vec::new();
        match target {
            Target::Replica(..) | Target::Pool(_) => {
                for station in self.struck(target) {
                    lost.push((station, self.elastic.replicas.fail(station)));
                }
            }
            Target::Gpu(group, machine) => {
                lost.extend(self.elastic.replicas.lose_gpu(Spot { group, machine }));
            }
            Target::Node(..) | Target::Zone(_) => {
                for spot in self.machines_of(target) {
                    lost.extend(self.elastic.replicas.lose_machine(spot));
                }
            }
        }
        for &(station, before) in &lost {
            self.replica_is_gone(station, before, observer);
        }
        // Only now that nothing is left on any of them: what came back may be served by others, there or where prompts are
        // processed, and a replica that is off may start elsewhere.
        for &(station, _) in &lost {
            let pool = self.stations[station].pool;
            for pool in std::iter::once(pool).chain(self.pools[pool].prefill) {
                self.poll_later(pool, station);
                self.activate(pool, observer);
                self.reroute(pool, observer);
            }
        }
        self.reconcile_all(observer);
    }

    /// A fault is over.
    fn lift(&mut self, target: Target, observer: &mut impl Observer) {
        match target {
            Target::Replica(..) | Target::Pool(_) => {
                for station in self.struck(target) {
                    if let Some(epoch) = self.elastic.replicas.repair(station) {
                        self.begin_start(station, epoch);
                        let pool = self.stations[station].pool;
                        self.changed(pool, ScaleCause::Repair, observer);
                    }
                }
            }
            Target::Gpu(group, machine) => self.elastic.replicas.regain_gpu(Spot { group, machine }),
            Target::Node(..) | Target::Zone(_) => {
                for spot in self.machines_of(target) {
                    self.elastic.replicas.regain_machine(spot);
                }
            }
        }
        self.reconcile_all(observer);
    }

    fn struck(&self, target: Target) -> Vec<usize> {
        let fleet = &self.scenario.fleet;
        let stations = 0..self.stations.len();
        stations.filter(|&station| self.elastic.replicas.is_struck(station, target, fleet)).collect()
    }

    fn machines_of(&self, target: Target) -> Vec<Spot> {
        let groups = self.scenario.fleet.nodes.iter().enumerate();
        let all =
            groups.flat_map(|(group, nodes)| (0..nodes.count).map(move |machine| Spot { group, machine }));
        let hit = |spot: &Spot| match target {
            Target::Node(group, machine) => *spot == Spot { group, machine },
            Target::Zone(zone) => self.scenario.fleet.nodes[spot.group].zone == zone,
            _ => false,
        };
        all.filter(hit).collect()
    }

    /// A replica has stopped working: what it held is lost or goes elsewhere, and the router has to notice.
    fn replica_is_gone(&mut self, station: usize, before: State, observer: &mut impl Observer) {
        let (pool, replica) = (self.stations[station].pool, self.stations[station].replica);
        let (mut lost, mut moved) = (0, 0);
        if matches!(before, State::Ready | State::Draining) {
            self.elastic.failed[station] = true;
            if self.scenario.pools[pool].fleet.notice.is_zero() {
                self.pools[pool].view.set_up(replica, false);
            } else {
                self.notice_later(station, observer);
            }
            (lost, moved) = self.evacuate(station, observer);
        }
        if before != State::Off {
            let fact = FaultFact { pool: pool as PoolId, replica, over: false, slow: 0, lost, moved };
            observer.failed(self.now, &fact);
            self.changed(pool, ScaleCause::Failure, observer);
        }
    }

    /// Takes everything off a replica that has failed; how many requests are lost, and how many go elsewhere.
    fn evacuate(&mut self, station: usize, observer: &mut impl Observer) -> (u32, u32) {
        let pool = self.stations[station].pool;
        let now = self.now;
        let mut gone = std::mem::take(&mut self.departures);
        match &mut self.stations[station].worker {
            Worker::Llm(worker) => {
                let busy = u32::from(worker.is_stepping());
                worker.abandon(&mut self.table, observer, &mut gone);
                worker.evict(&mut self.table, now, &mut gone);
                self.signals.work(now, pool, busy, 0);
            }
            Worker::Slots(worker) => {
                let busy = worker.busy();
                worker.evict(&mut self.table, now, observer, &mut gone);
                self.signals.work(now, pool, busy, 0);
            }
        }
        self.ends.clear(station);
        assert!(gone.finished.is_empty(), "a step that is dropped finishes nobody");
        gone.ghosts.drain(..).for_each(|id| self.table.release(id));
        self.refresh(station);
        let rule = self.scenario.pools[pool].fleet.on_failure;
        let (mut lost, mut returned, mut moved) = (0, 0, Vec::new());
        self.end_loan(station);
        for id in gone.evicted.drain(..) {
            if self.table[id].job != NONE {
                self.come_back_to_job(id, observer);
                returned += 1;
                continue;
            }
            let slot = &self.table[id];
            let moves = match rule {
                OnFailure::Lose => false,
                OnFailure::Retry => slot.first_token == NEVER,
                OnFailure::Resume => true,
            };
            if moves {
                moved.push(id);
            } else {
                self.conclude(id, Outcome::Lost, None, observer);
                self.table.release(id);
                lost += 1;
            }
        }
        self.departures = gone;
        let count = returned + moved.len() as u32;
        // The first is pushed to the front last, so that they keep their order.
        for id in moved.into_iter().rev() {
            self.move_on(id, pool);
        }
        (lost, count)
    }

    /// A request of a replica that has failed goes back to a queue: that of its pool, or, when it has to be processed
    /// from its prompt on, that of the pool that does this.
    fn move_on(&mut self, id: SlotId, pool: usize) {
        let Some(prompts) = self.pools[pool].prefill else {
            self.leave_pool(id, false);
            return self.come_back(id, pool);
        };
        self.leave_pool(id, true);
        let slot = &mut self.table[id];
        slot.pool = prompts as u16;
        slot.output = slot.generated + 1;
        // It is new to that pool's queue: counted as if it had passed, which coming back undoes.
        self.pools[prompts].queue.pass(self.table.head(id));
        self.come_back(id, prompts);
    }

    /// The router notices after a while what has become of a replica.
    pub(super) fn notice_later(&mut self, station: usize, observer: &mut impl Observer) {
        let notice = self.scenario.pools[self.stations[station].pool].fleet.notice;
        if notice.is_zero() {
            return self.notice(station, observer);
        }
        let at = self.now.saturating_add(notice);
        self.events.push(Event::new(at, Class::Fleet, NOTICED, station as u32, station as u32, 0));
    }

    /// The router sees what a replica is doing now.
    fn notice(&mut self, station: usize, observer: &mut impl Observer) {
        let (pool, replica) = (self.stations[station].pool, self.stations[station].replica);
        let up = self.elastic.state(station) == State::Ready;
        self.pools[pool].view.set_up(replica, up);
        if up {
            self.poll_later(pool, station);
        } else {
            self.reroute(pool, observer);
        }
    }

    /// A slow-down begins or is over: steps that begin from now on take another time.
    fn slow_down(&mut self, fault: usize, over: bool, observer: &mut impl Observer) {
        let target = self.scenario.fleet.faults[fault].target;
        self.elastic.replicas.slow(fault, over);
        // All of them: who is struck may have changed since the slow-down began.
        for station in 0..self.stations.len() {
            self.set_pace(station, observer);
        }
        for station in self.struck(target) {
            let (pool, replica) = (self.stations[station].pool as PoolId, self.stations[station].replica);
            let slow = self.elastic.replicas.slowness(station, &self.scenario.fleet);
            observer.failed(self.now, &FaultFact { pool, replica, over, slow, lost: 0, moved: 0 });
        }
    }

    pub(super) fn set_pace(&mut self, station: usize, observer: &mut impl Observer) {
        self.catch_up(station, observer);
        let slow = self.elastic.replicas.slowness(station, &self.scenario.fleet);
        match &mut self.stations[station].worker {
            Worker::Llm(worker) => worker.set_slow(slow),
            Worker::Slots(worker) => worker.set_slow(slow),
        }
    }
}
