//! One replica of a model: requests wait, join its batch, and get tokens step by step.
//!
//! [`scheduler::Replica`] is the engine that ships: a step costs O(1 + joins + finishes), and steps that change
//! nothing but token counts are skipped. [`naive::NaiveReplica`] states the same rules the plain way, O(batch) a
//! step; both give the same timelines to the nanosecond, which property tests hold them to. This module knows
//! neither events nor the gateway: the hub tells it when a step ends.
//!
//! Where the engine keeps batch below real-time ([`LlmEngine::below`]), requests are of two classes, and which one a
//! request is of is [`Slot::lower`] when it is enqueued. Where it does not, all are alike.

mod decoding;
pub mod kv;
mod limit;
pub mod naive;
pub mod scheduler;
pub mod step_time;

use crate::observe::Observer;
use crate::request::{PoolId, ReplicaId, WorkloadId};
use crate::scenario::LlmEngine;
use crate::table::{NEVER, Place, Slot, SlotId, Table};
use crate::time::{Span, Time};

/// Which replica, and who can be on it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its pool.
    pub pool: PoolId,
    /// Its index in the pool.
    pub replica: ReplicaId,
    /// Workloads that the pool serves.
    pub workloads: Vec<WorkloadId>,
}

/// Requests that left a replica, at the end of a step or because it failed; reused between steps.
#[derive(Debug, Default)]
pub struct Departures {
    /// Got their last token: those that decoded it in order of admission, then those whose prompt's end brought it.
    pub finished: Vec<SlotId>,
    /// Were over for their client before; their resources are free now.
    pub ghosts: Vec<SlotId>,
    /// Were on a replica that failed: the members of its batch in order of admission, then those that waited, in
    /// order (real-time before batch). Each is as [`restart`] leaves it.
    pub evicted: Vec<SlotId>,
}

/// Steps (or services) that take their usual time, in thousandths of it.
pub const NORMAL: u32 = 1_000;

/// Readies a request that lost its KV cache for any replica: everything it was told and its prompt are to be
/// processed again. Time counts as lost from `now` on, if it has ever been in a step and is not losing time already.
/// A cache that was on its way here is lost with the rest, and its journey is over. What the request has received
/// must be settled in its slot before. O(1).
pub fn restart(slot: &mut Slot, now: Time) {
    slot.place = Place::Waiting;
    slot.target = slot.prompt + slot.generated;
    slot.computed = 0;
    slot.shared_blocks = 0;
    if slot.preempted_at == NEVER && slot.scheduled != NEVER {
        slot.preempted_at = now;
    }
    if slot.carried {
        slot.carried = false;
        // A cache that was swapped out has not left for anywhere: its time is counted as lost already.
        if slot.left_at != NEVER {
            slot.transfer += now - slot.left_at;
            slot.left_at = NEVER;
        }
    }
}

/// A request's KV cache goes to the host's memory at `now`, to be brought back when there is room. What it has received
/// must be settled in its slot before. O(1).
fn swap_out(slot: &mut Slot, now: Time) {
    slot.place = Place::Waiting;
    slot.target = slot.prompt + slot.generated - 1;
    (slot.computed, slot.shared_blocks) = (0, 0);
    slot.carried = true;
    assert!(
        slot.preempted_at == NEVER && slot.left_at == NEVER,
        "a member of a batch has its cache: {slot:?}"
    );
    slot.preempted_at = now;
}

/// A decoding sequence with `context` tokens in its KV cache is in no step from here on, and keeps the cache. What it
/// has received must be settled in its slot before. O(1).
fn park(slot: &mut Slot, context: u32) {
    assert_eq!(context, slot.prompt + slot.generated - 1, "all tokens but the latest are in the cache");
    slot.place = Place::Parked;
    (slot.target, slot.computed) = (context, context);
}

/// What [`Slot::beside`] would be if a member left now that the replica's count is at `count`: nanoseconds, counted up
/// and down, modulo 2^64. A law may give a step with batch in it less time than one without; a stay that was shortened
/// in sum counts as one that was not lengthened. O(1).
fn beside_at(slot: &Slot, count: u64) -> Span {
    let longer = count.wrapping_sub(slot.beside_from).cast_signed();
    slot.beside + Span::from_nanos(u64::try_from(longer).unwrap_or(0))
}

/// A request joins a batch with the KV cache that another pool computed for it, or that was swapped out: its journey,
/// or its time without a cache, is over at `now`. O(1).
fn arrive(slot: &mut Slot, now: Time, admitted: u32) {
    assert!(
        (1..slot.output).contains(&slot.generated) && slot.target == slot.prompt + slot.generated - 1,
        "a cache of {} tokens cannot belong to a prompt of {} with {} of {} tokens told",
        slot.target,
        slot.prompt,
        slot.generated,
        slot.output
    );
    slot.place = Place::Decode;
    slot.computed = slot.target;
    slot.shared_blocks = 0;
    slot.admitted = admitted;
    slot.carried = false;
    if slot.left_at != NEVER {
        slot.transfer += now - slot.left_at;
        slot.left_at = NEVER;
    } else {
        slot.preempted += now - slot.preempted_at;
        slot.preempted_at = NEVER;
    }
}

/// A request as its client sees it while a step is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Tokens delivered.
    pub tokens: u32,
    /// When the last of them was out; [`crate::table::NEVER`] when there is none.
    pub last: Time,
}

/// An engine of one replica. The hub calls `begin` when the replica is between steps, `finish` at the instant that
/// `begin` (or `truncate`) named, and `truncate` before anything changes in between.
pub trait Stepper {
    /// A replica with nothing on it. `skip` allows runs of more than one step. Only chunked batching may keep batch
    /// below real-time.
    fn new(site: Site, engine: &LlmEngine, skip: bool) -> Self;

    /// Puts a request at the end of the waiting line of its class. One that brings its KV cache along
    /// ([`Slot::carried`]) has at least one token and misses at least one; its `target` is the tokens in that cache:
    /// its prompt and what it was told, but for the latest token. Returns whether a run of steps in flight must be truncated
    /// because the request might join before the run ends.
    fn enqueue(&mut self, table: &mut Table, id: SlotId) -> bool;

    /// Takes a request away whose client has gone. Between steps its slot is free at once (`true`); during a step
    /// a running request stays as a ghost until the step ends (`false`) and gets no token from it.
    fn cancel(&mut self, table: &mut Table, id: SlotId) -> bool;

    /// What the client of a request has received by now.
    fn delivered(&self, table: &Table, id: SlotId) -> Delivered;

    /// What [`Slot::beside`] of a request on this replica would be if it left now; steps in flight that have ended count.
    /// The hub asks before it cancels, and where a run is cut.
    fn beside(&self, table: &Table, id: SlotId) -> Span;

    /// Starts the next step, or run of steps; returns its end, or `None` when there is nothing to do. Adds to `started`
    /// the requests that are in a step for the first time.
    fn begin(&mut self, table: &mut Table, now: Time, started: &mut Vec<SlotId>) -> Option<Time>;

    /// Shortens the run in flight to the step in flight at `now` (the first that ends at or after it); returns the
    /// new end when it changed.
    fn truncate(&mut self, now: Time) -> Option<Time>;

    /// Ends the run in flight.
    fn finish(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures);

    /// The run is cut at the present instant: steps that have ended are booked, the one in flight is dropped.
    /// Called after `truncate`. The run of the whole simulation ends here, or [`Stepper::evict`] follows: what the
    /// dropped step had claimed is still claimed, so no step may begin before.
    fn abandon(&mut self, table: &mut Table, observer: &mut impl Observer, out: &mut Departures);

    /// The replica fails between steps, or right after [`Stepper::abandon`]: it loses its KV cache (the prefix cache,
    /// too) and all of its requests. They go to [`Departures::evicted`] and [`Departures::ghosts`]; the replica is as
    /// good as new afterwards, except that its counters go on. O(requests on it + blocks cached).
    fn evict(&mut self, table: &mut Table, now: Time, out: &mut Departures);

    /// All batch requests ([`Slot::lower`]) leave a replica that is between steps, as by [`Stepper::evict`]: members of the
    /// batch in order of admission, then those that waited. Real-time requests and the prefix cache stay.
    /// O(batch requests on it).
    fn evict_lower(&mut self, table: &mut Table, now: Time, out: &mut Departures);

    /// Steps that begin from now on take `permille / 1,000` of the time that the law gives them; [`NORMAL`] is the
    /// time of the law. From [`NORMAL`] to [`step_time::StepLaw::slowest`]. The hub truncates a run in flight before.
    fn set_slow(&mut self, permille: u32);

    /// Whether a step is in flight.
    fn is_stepping(&self) -> bool;

    /// Requests waiting, those of [`Stepper::lower`] excepted.
    fn waiting(&self) -> u32;

    /// Requests in the batch, those of [`Stepper::lower`] excepted.
    fn running(&self) -> u32;

    /// Batch requests ([`Slot::lower`]) waiting, and in the batch, parked ones included.
    fn lower(&self) -> (u32, u32);

    /// KV blocks in use during the step in flight.
    fn kv_used(&self) -> u32;

    /// Steps finished so far.
    fn steps(&self) -> u64;
}

#[cfg(test)]
mod tests;
