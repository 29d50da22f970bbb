//! Events and their order.
//!
//! Events are ordered by `(at, class, entity, counter)`, never by insertion: an engine that skips ahead inserts its
//! events at other moments than one that does not, and both must pop them in the same order. The classes, in the
//! order in which they happen at one instant:
//!
//! | class | what | why here |
//! | --- | --- | --- |
//! | [`Class::Boundary`] | a timeline bin, the warm-up or the horizon ends | it closes what came before |
//! | [`Class::StepEnd`] | a replica's step (or run of steps) ends | a completion beats a time-out at the same instant |
//! | [`Class::ServiceEnd`] | a server of a `slots` replica is done | likewise |
//! | [`Class::Transfer`] | a KV cache has arrived | what a step that ends now sends comes later |
//! | [`Class::Cancel`] | an attempt is cancelled because another one was faster | the answer came first; all steps of the instant are over |
//! | [`Class::Deadline`] | an execution limit is reached | an execution of exactly that length is complete |
//! | [`Class::Expiry`] | a wait in the gateway's queue, or a client's patience, runs out | what expires makes room for what arrives |
//! | [`Class::Fleet`] | something fails or comes back, a replica is ready, the router notices | what was answered in time is not lost |
//! | [`Class::Readiness`] | what an operation created or changed serves | an operation finds it ready |
//! | [`Class::Operation`] | something is done on the control plane | what it changes is in force for what arrives |
//! | [`Class::Look`] | an autoscaler, or a router with a stale view, looks | it sees what happened, not what arrives |
//! | [`Class::Ready`] | the service's overhead on a request is over | it came before what arrives now |
//! | [`Class::Hedge`] | a client has waited long enough to send a second attempt | it reaches the gateway at this instant |
//! | [`Class::Arrival`] | a request reaches the gateway | |
//!
//! The ends of steps are not in the queue of events but in [`super::ends::StepEnds`], which keeps one per replica;
//! the hub compares both by this table.
//!
//! Steps start after all of these: the hub begins steps when no event is left at the instant, so that every arrival
//! of an instant is visible to the steps that start at it.

use crate::time::Time;

/// What kind of event, in the order in which kinds happen at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// A timeline bin, the warm-up or the horizon ends.
    Boundary = 0,
    /// A replica's run of steps ends. Entity: replica.
    StepEnd = 1,
    /// A server is done. Entity: replica.
    ServiceEnd = 2,
    /// A KV cache has arrived. Entity: link.
    Transfer = 3,
    /// An attempt is cancelled because another one was faster. Entity: workload.
    Cancel = 4,
    /// An execution has reached its limit. Entity: workload.
    Deadline = 5,
    /// A wait or a client's patience runs out. Entity: workload.
    Expiry = 6,
    /// Something happens to a batch job, or to what a pool does with batch. Entity: which kind.
    Job = 7,
    /// Something of the fleet happens. Entity: which kind.
    Fleet = 8,
    /// What an operation created or changed serves. Entity: endpoint.
    Readiness = 9,
    /// An operation on the control plane. Entity: operation.
    Operation = 10,
    /// An autoscaler or a router looks. Entity: pool.
    Look = 11,
    /// The overhead on a request is over. Entity: workload.
    Ready = 12,
    /// A client has waited long enough to send a second attempt. Entity: workload.
    Hedge = 13,
    /// A request reaches the gateway. Entity: workload.
    Arrival = 14,
}

impl Class {
    /// All classes, in their order.
    pub const ALL: [Class; 15] = [
        Class::Boundary,
        Class::StepEnd,
        Class::ServiceEnd,
        Class::Transfer,
        Class::Cancel,
        Class::Deadline,
        Class::Expiry,
        Class::Job,
        Class::Fleet,
        Class::Readiness,
        Class::Operation,
        Class::Look,
        Class::Ready,
        Class::Hedge,
        Class::Arrival,
    ];
}

/// An event: 24 bytes, `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    order: u64,
    /// What it is about: a slot, or an index of the hub's choosing.
    pub target: u32,
    /// Must match the target's own mark, or the event is void.
    pub epoch: u32,
}

/// Entities are numbered below this.
pub const ENTITIES: u32 = 1 << 28;

impl Event {
    /// An event of `class` for `entity` (`< 2^28`); `counter` orders events of one entity at one instant.
    #[inline]
    pub fn new(at: Time, class: Class, entity: u32, counter: u32, target: u32, epoch: u32) -> Self {
        debug_assert!(entity < ENTITIES);
        let order = (class as u64) << 60 | u64::from(entity) << 32 | u64::from(counter);
        Event { at, order, target, epoch }
    }

    /// Its class.
    #[inline]
    pub fn class(&self) -> Class {
        Class::ALL[(self.order >> 60) as usize]
    }

    /// Its entity.
    #[inline]
    pub fn entity(&self) -> u32 {
        (self.order >> 32) as u32 & (ENTITIES - 1)
    }

    /// Orders events of one entity at one instant.
    #[inline]
    pub fn counter(&self) -> u32 {
        self.order as u32
    }

    #[inline]
    fn key(&self) -> u128 {
        u128::from(self.at.as_nanos()) << 64 | u128::from(self.order)
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_beats_the_next_at_the_same_instant() {
        for (number, pair) in Class::ALL.windows(2).enumerate() {
            let first = Event::new(Time::from_nanos(5), pair[0], 900, u32::MAX, 0, 0);
            let second = Event::new(Time::from_nanos(5), pair[1], 0, 0, 0, 0);
            assert!(first < second, "{:?} must come before {:?}", pair[0], pair[1]);
            assert_eq!(first.class(), pair[0]);
            assert_eq!(pair[0] as usize, number);
            assert_eq!(first.entity(), 900);
        }
        assert!(
            Event::new(Time::from_nanos(4), Class::Arrival, 9, 9, 0, 0)
                < Event::new(Time::from_nanos(5), Class::Boundary, 0, 0, 0, 0)
        );
    }

    #[test]
    fn entity_comes_before_counter() {
        let at = Time::from_nanos(1);
        assert!(Event::new(at, Class::StepEnd, 1, 9, 0, 0) < Event::new(at, Class::StepEnd, 2, 0, 0, 0));
    }

    #[test]
    fn an_event_is_24_bytes() {
        assert_eq!(size_of::<Event>(), 24);
    }
}
