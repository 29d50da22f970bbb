//! The hub and its event queue.
//!
//! Only [`Simulation`] owns the event queue and calls the other modules; they never schedule events and never call
//! each other. `simulation.rs` has the loop; a request's path reads on in `arrivals.rs` (limits, choice of a pool, queue),
//! `stepping.rs` (replicas), `transfers.rs` (from the pool that processes prompts to the one that decodes) and
//! `endings.rs`. `batch.rs` has the life of jobs, `sending.rs` sends their requests, `lending.rs` the replicas that real-time
//! lends to them. `clients.rs` holds what several attempts of one request have in common, `fleet.rs` which replicas there
//! are, `failures.rs` what fails.

mod arrivals;
mod batch;
mod clients;
mod endings;
pub mod ends;
pub mod event;
mod failures;
mod fleet;
mod lending;
pub mod live;
mod lockstep;
mod operations;
pub mod queue;
mod sending;
mod signals;
pub mod simulation;
mod station;
mod stepping;
mod taps;
mod transfers;

use crate::observe::Observer;
use crate::replica::naive::NaiveReplica;
use crate::replica::scheduler::Replica;
use crate::request::{Arrival, Outcome, RequestHead};
use crate::scenario::Scenario;
use crate::time::Time;
use crate::workload::Source;
pub use lockstep::{Listeners, Run, lockstep};
pub use simulation::Simulation;
use std::ops::ControlFlow;

/// How the engine advances. All modes give the same answer to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Skip ahead to the next step that matters.
    #[default]
    Fast,
    /// One step at a time.
    Unskipped,
    /// The plain O(batch) reference engine.
    Naive,
}

/// Where a workload's requests come from.
pub trait Feed {
    /// The next request that does not wait for an answer; times never decrease.
    fn next(&mut self) -> Option<Arrival>;
    /// The next request of a client whose request `head` was answered (with `generated` tokens) or turned away at
    /// `at`, client time; never before `at`.
    fn follow(&mut self, head: &RequestHead, generated: u32, at: Time) -> Option<Arrival>;
}

impl Feed for Source {
    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        Source::next(self)
    }
    #[inline]
    fn follow(&mut self, head: &RequestHead, generated: u32, at: Time) -> Option<Arrival> {
        Source::follow(self, head, generated, at)
    }
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that reached the gateway; where clients try again, attempts.
    pub offered: u64,
    /// How they ended, by number of [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Requests of clients that may try again, whatever attempts they took.
    pub requests: u64,
    /// How those ended, by number of [`Outcome`].
    pub settled: [u64; Outcome::ALL.len()],
    /// Events popped.
    pub events: u64,
    /// Steps of all replicas.
    pub steps: u64,
    /// When the run was over.
    pub ended: Time,
}

impl Totals {
    /// Requests that ended in this way.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }
}

/// Runs a scenario from its start to its end, asserting at the end that no request was lost or counted twice.
///
/// `watch` is called every few thousand events with the totals so far and may stop the run; requests in flight are
/// then reported as queued or running, as at a cut. `feeds` has one entry per workload.
pub fn simulate<F: Feed>(
    scenario: &Scenario,
    feeds: Vec<F>,
    seed: u64,
    mode: Mode,
    observer: &mut impl Observer,
    watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
) -> Totals {
    match mode {
        Mode::Fast => Simulation::<F, Replica>::new(scenario, feeds, seed, true).run(observer, watch),
        Mode::Unskipped => Simulation::<F, Replica>::new(scenario, feeds, seed, false).run(observer, watch),
        Mode::Naive => Simulation::<F, NaiveReplica>::new(scenario, feeds, seed, false).run(observer, watch),
    }
}
