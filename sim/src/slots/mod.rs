//! The other engine: a replica that is a number of servers with one waiting line and a service-time distribution.
//!
//! It stands for everything whose inside is not modelled (a custom model, a third party) and it is what queueing
//! theory can check to the last digit: M/M/c, M/D/1, M/G/1.

use crate::observe::{Observer, StepRun};
use crate::replica::Site;
use crate::table::{List, Place, SlotId, Table};
use crate::time::Time;

/// A replica with `servers` servers, first come first served.
#[derive(Debug)]
pub struct SlotsReplica {
    site: Site,
    servers: u32,
    busy: u32,
    waiting: List,
    /// Since when `busy` has been what it is.
    since: Time,
    started: u32,
}

/// A service that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whose.
    pub id: SlotId,
    /// When it will end.
    pub end: Time,
    /// Services started before it on this replica, modulo 2^32; orders ends at one instant.
    pub counter: u32,
}

impl SlotsReplica {
    /// An idle replica.
    pub fn new(site: Site, servers: u32) -> Self {
        SlotsReplica { site, servers, busy: 0, waiting: List::default(), since: Time::ZERO, started: 0 }
    }

    /// A request arrives; it waits until [`SlotsReplica::start`] takes it.
    pub fn enqueue(&mut self, table: &mut Table, id: SlotId) {
        table[id].place = Place::Waiting;
        self.waiting.push_back(table, id);
    }

    /// Starts the next service when a server and a request are free.
    pub fn start(&mut self, table: &mut Table, now: Time, observer: &mut impl Observer) -> Option<Started> {
        if self.busy == self.servers {
            return None;
        }
        let id = self.waiting.pop_front(table)?;
        self.tell(now, observer);
        self.busy += 1;
        let slot = &mut table[id];
        slot.place = Place::Decode;
        slot.scheduled = now;
        let counter = self.started;
        self.started = counter.wrapping_add(1);
        Some(Started { id, end: now + slot.service, counter })
    }

    /// A service is complete: the whole answer comes at once.
    pub fn complete(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
        self.tell(now, observer);
        self.busy -= 1;
        let slot = &mut table[id];
        slot.place = Place::Ghost;
        slot.generated = slot.output;
        (slot.first_token, slot.last_token) = (now, now);
        observer.first_token(now, slot.workload, now - slot.arrived);
    }

    /// Takes a request away whose client has gone; a server that worked for it is free at once.
    pub fn cancel(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
        if table[id].place == Place::Waiting {
            self.waiting.remove(table, id);
        } else {
            self.tell(now, observer);
            self.busy -= 1;
        }
    }

    /// Tells the time since the number of busy servers last changed, so that it can be booked up to `now`.
    pub fn tell(&mut self, now: Time, observer: &mut impl Observer) {
        if self.busy > 0 && now > self.since {
            observer.worked(&StepRun {
                pool: self.site.pool,
                replica: self.site.replica,
                start: self.since,
                last_start: self.since,
                end: now,
                steps: 1,
                busy: self.busy,
                decodes: 0,
                prefill_tokens: 0,
                outside_range: 0,
            });
        }
        self.since = now;
    }

    /// Requests waiting.
    pub fn waiting(&self) -> u32 {
        self.waiting.len()
    }

    /// Requests in service.
    pub fn running(&self) -> u32 {
        self.busy
    }
}
