//! The life of replicas: off, starting, serving, draining, down.
//!
//! A replica is a place that may be filled: a pool has as many as it can ever have. A change of state gives it a new
//! epoch, by which the hub recognises that something scheduled for an earlier life is void.

use super::machines::{Machines, Spot};
use crate::scenario::fleet::{Effect, Target};
use crate::scenario::{Fleet, Pool, Scenario};

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no GPUs.
    Off,
    /// It has GPUs and does not serve yet.
    Starting,
    /// It serves.
    Ready,
    /// It finishes what it holds and takes nothing new.
    Draining,
    /// It has failed and keeps its GPUs until it is repaired.
    Down,
}

#[derive(Clone, Debug)]
struct Unit {
    pool: u16,
    state: State,
    epoch: u32,
    spot: Option<Spot>,
    /// Faults in force that keep it from running, those of its machine excepted.
    down: u32,
}

/// How many replicas of a pool are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Serving.
    pub ready: u16,
    /// Starting.
    pub starting: u16,
    /// Draining.
    pub draining: u16,
    /// Down, with their GPUs.
    pub down: u16,
}

#[derive(Clone, Debug)]
struct Group {
    first: usize,
    len: usize,
    gpus: u32,
    /// Groups of machines it may be placed on, and how many of its replicas are on each.
    nodes: Vec<(usize, u32)>,
    spread: bool,
    count: Count,
    /// How many there should be.
    wanted: u16,
}

/// All replicas of a scenario.
#[derive(Clone, Debug)]
pub struct Replicas {
    units: Vec<Unit>,
    pools: Vec<Group>,
    machines: Machines,
    /// Positions in [`Fleet::faults`] of the slow-downs in force.
    slow: Vec<usize>,
}

/// GPUs that a replica takes of a machine; a replica of a `slots` pool takes one.
fn gpus_of(pool: &Pool) -> u32 {
    pool.gpus_per_replica.max(1)
}

impl Replicas {
    /// As they are at the start: the initial replicas of each pool serve.
    ///
    /// Panics when they do not fit on their machines, which was checked when the scenario was read.
    pub fn new(scenario: &Scenario) -> Self {
        let mut replicas = Replicas {
            units: Vec::new(),
            pools: Vec::new(),
            machines: Machines::new(&scenario.fleet.nodes),
            slow: Vec::new(),
        };
        for (index, pool) in scenario.pools.iter().enumerate() {
            let (first, len) = (replicas.units.len(), usize::from(pool.replicas));
            let unit = Unit { pool: index as u16, state: State::Off, epoch: 0, spot: None, down: 0 };
            replicas.units.resize(first + len, unit);
            replicas.pools.push(Group {
                first,
                len,
                gpus: gpus_of(pool),
                nodes: pool.fleet.nodes.iter().map(|&nodes| (nodes, 0)).collect(),
                spread: pool.fleet.spread,
                count: Count::default(),
                wanted: pool.fleet.initial,
            });
            for unit in first..first + usize::from(pool.fleet.initial) {
                let placed = replicas.start_here(unit);
                assert!(placed, "the initial replicas of pool `{}` do not fit on their machines", pool.name);
                replicas.set(unit, State::Ready);
            }
        }
        replicas
    }

    /// What a replica is doing.
    #[inline]
    pub fn state(&self, unit: usize) -> State {
        self.units[unit].state
    }

    /// Its present life.
    #[inline]
    pub fn epoch(&self, unit: usize) -> u32 {
        self.units[unit].epoch
    }

    /// How many replicas of a pool are in each state.
    pub fn count(&self, pool: usize) -> Count {
        self.pools[pool].count
    }

    /// How many replicas of a pool there should be.
    pub fn wanted(&self, pool: usize) -> u16 {
        self.pools[pool].wanted
    }

    /// Says how many replicas of a pool there should be.
    pub fn want(&mut self, pool: usize, wanted: u16) {
        self.pools[pool].wanted = wanted;
    }

    /// Replicas that serve or are about to. One that is down is not: whoever wants as many gets another, if there is a
    /// place for it, until it is repaired.
    pub fn alive(&self, pool: usize) -> u16 {
        let count = self.pools[pool].count;
        count.ready + count.starting
    }

    /// Whether a pool has a place for one more replica that nothing keeps from running. O(replicas of the pool).
    pub fn has_place(&self, pool: usize) -> bool {
        self.of(pool).any(|unit| self.units[unit].state == State::Off && self.units[unit].down == 0)
    }

    /// The machine of a replica.
    pub fn spot(&self, unit: usize) -> Option<Spot> {
        self.units[unit].spot
    }

    /// GPUs that a replica of the pool takes.
    pub fn gpus(&self, pool: usize) -> u32 {
        self.pools[pool].gpus
    }

    /// GPUs of a machine that could be taken now; 0 while it is down.
    pub fn free(&self, spot: Spot) -> u32 {
        self.machines.free(spot)
    }

    /// The replicas of a pool.
    pub fn of(&self, pool: usize) -> std::ops::Range<usize> {
        let group = &self.pools[pool];
        group.first..group.first + group.len
    }

    /// Starts one more replica of a pool on free GPUs; it and its new epoch, or `None` when there is no place.
    /// O(replicas + machines).
    pub fn start(&mut self, pool: usize) -> Option<(usize, u32)> {
        let free = |unit: &usize| self.units[*unit].state == State::Off && self.units[*unit].down == 0;
        let unit = self.of(pool).find(free)?;
        self.start_here(unit).then(|| (unit, self.units[unit].epoch))
    }

    /// Starts a replica that is off; `false` when there are no free GPUs for it.
    fn start_here(&mut self, unit: usize) -> bool {
        let pool = usize::from(self.units[unit].pool);
        if !self.pools[pool].nodes.is_empty() {
            let Some(spot) = self.place(pool) else { return false };
            self.units[unit].spot = Some(spot);
        }
        self.set(unit, State::Starting);
        true
    }

    /// Takes GPUs for a replica: of the first group of machines that has some, or of the one with the fewest replicas
    /// of the pool.
    fn place(&mut self, pool: usize) -> Option<Spot> {
        let group = &mut self.pools[pool];
        let mut order: Vec<usize> = (0..group.nodes.len()).collect();
        if group.spread {
            order.sort_by_key(|&at| group.nodes[at].1);
        }
        order.into_iter().find_map(|at| {
            let (nodes, here) = &mut group.nodes[at];
            let spot = self.machines.take(*nodes, group.gpus)?;
            *here += 1;
            Some(spot)
        })
    }

    /// A replica that was starting serves, unless that life of it is over. Returns whether it does.
    pub fn becomes_ready(&mut self, unit: usize, epoch: u32) -> bool {
        let current = self.units[unit].state == State::Starting && self.units[unit].epoch == epoch;
        if current {
            self.set(unit, State::Ready);
        }
        current
    }

    /// A replica takes nothing new; one that is `empty` (or not serving yet) is off at once. Returns whether it is.
    pub fn stop(&mut self, unit: usize, empty: bool) -> bool {
        let off = empty || self.units[unit].state != State::Ready;
        if off {
            self.switch_off(unit);
        } else {
            self.set(unit, State::Draining);
        }
        off
    }

    /// A draining replica serves again: cheaper than a new one. The one with the highest number.
    pub fn recall(&mut self, pool: usize) -> Option<usize> {
        let unit = self.of(pool).rev().find(|&unit| self.units[unit].state == State::Draining)?;
        self.set(unit, State::Ready);
        Some(unit)
    }

    /// A replica gives its GPUs back.
    pub fn switch_off(&mut self, unit: usize) {
        if let Some(spot) = self.units[unit].spot.take() {
            let group = &mut self.pools[usize::from(self.units[unit].pool)];
            self.machines.give_back(spot, group.gpus);
            let mut here = group.nodes.iter_mut().filter(|(nodes, _)| *nodes == spot.group);
            here.next().expect("it was placed on one of its groups").1 -= 1;
        }
        self.set(unit, State::Off);
    }

    /// A fault of the replica itself begins: it is down, with its GPUs, when it had any. Returns what it was doing.
    pub fn fail(&mut self, unit: usize) -> State {
        let before = self.units[unit].state;
        self.units[unit].down += 1;
        if !matches!(before, State::Off | State::Down) {
            self.set(unit, State::Down);
        }
        before
    }

    /// A fault of the replica itself is over. Returns whether it starts again, and its new epoch.
    pub fn repair(&mut self, unit: usize) -> Option<u32> {
        let state = &mut self.units[unit];
        state.down = state.down.checked_sub(1).expect("a fault that is over had begun");
        let again = state.down == 0 && state.state == State::Down;
        again.then(|| {
            self.set(unit, State::Starting);
            self.units[unit].epoch
        })
    }

    /// A machine stops working; the replicas that are lost with it, which are off now. Empty when it was down before.
    pub fn lose_machine(&mut self, spot: Spot) -> Vec<(usize, State)> {
        if !self.machines.fail(spot) {
            return Vec::new();
        }
        let here = |unit: &usize| self.units[*unit].spot == Some(spot);
        let lost: Vec<usize> = (0..self.units.len()).filter(here).collect();
        lost.into_iter()
            .map(|unit| {
                let before = self.units[unit].state;
                self.switch_off(unit);
                (unit, before)
            })
            .collect()
    }

    /// A fault of a machine is over; returns whether it works again.
    pub fn regain_machine(&mut self, spot: Spot) -> bool {
        self.machines.repair(spot)
    }

    /// A GPU stops working; the replica that had it is off now.
    pub fn lose_gpu(&mut self, spot: Spot) -> Option<(usize, State)> {
        let unit = (0..self.units.len()).find(|&unit| self.units[unit].spot == Some(spot));
        let lost = unit.map(|unit| {
            let before = self.units[unit].state;
            self.switch_off(unit);
            (unit, before)
        });
        self.machines.lose_gpu(spot);
        lost
    }

    /// A GPU works again.
    pub fn regain_gpu(&mut self, spot: Spot) {
        self.machines.regain_gpu(spot);
    }

    /// A slow-down of the scenario begins or is over.
    pub fn slow(&mut self, fault: usize, over: bool) {
        if over {
            self.slow.retain(|&other| other != fault);
        } else {
            self.slow.push(fault);
        }
    }

    /// Thousandths of its time that work on a replica takes: of the worst slow-down in force. O(slow-downs in force).
    pub fn slowness(&self, unit: usize, fleet: &Fleet) -> u32 {
        let factor = |&fault: &usize| {
            let fault = &fleet.faults[fault];
            let Effect::Slow(permille) = fault.effect else { return 1_000 };
            if self.is_struck(unit, fault.target, fleet) { permille } else { 1_000 }
        };
        self.slow.iter().map(factor).max().unwrap_or(1_000)
    }

    /// Whether a replica is (on) what a fault strikes. A GPU slows down the first replica of its machine.
    pub fn is_struck(&self, unit: usize, target: Target, fleet: &Fleet) -> bool {
        let state = &self.units[unit];
        let at = |group: usize, machine: u32| state.spot == Some(Spot { group, machine });
        match target {
            Target::Replica(pool, replica) => {
                state.pool == pool && unit - self.pools[usize::from(pool)].first == usize::from(replica)
            }
            Target::Pool(pool) => state.pool == pool,
            Target::Node(group, machine) => at(group, machine),
            Target::Gpu(group, machine) => {
                let first = self.units.iter().position(|other| other.spot == Some(Spot { group, machine }));
                first == Some(unit)
            }
            Target::Zone(zone) => state.spot.is_some_and(|spot| fleet.nodes[spot.group].zone == zone),
        }
    }

    fn set(&mut self, unit: usize, to: State) {
        let state = &mut self.units[unit];
        let count = &mut self.pools[usize::from(state.pool)].count;
        fn of(count: &mut Count, state: State) -> Option<&mut u16> {
            match state {
                State::Off => None,
                State::Starting => Some(&mut count.starting),
                State::Ready => Some(&mut count.ready),
                State::Draining => Some(&mut count.draining),
                State::Down => Some(&mut count.down),
            }
        }
        if let Some(count) = of(count, state.state) {
            *count -= 1;
        }
        if let Some(count) = of(count, to) {
            *count += 1;
        }
        state.state = to;
        state.epoch = state.epoch.wrapping_add(1);
    }
}
