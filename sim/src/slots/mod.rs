//! The other engine: a replica that is a number of servers with one waiting line and a service-time distribution.
//!
//! It stands for everything whose inside is not modelled (a custom model, a third party) and it is what queueing
//! theory can check to the last digit: M/M/c, M/D/1, M/G/1.

use crate::observe::{Observer, StepRun};
use crate::replica::step_time::SLOWEST;
use crate::replica::{Departures, NORMAL, Site, restart};
use crate::table::{List, NEVER, Place, SlotId, Table};
use crate::time::{Span, Time};

/// A replica with `servers` servers, first come first served.
#[derive(Debug)]
pub struct SlotsReplica {
    site: Site,
    servers: u32,
    /// In service, in order of their start.
    serving: List,
    waiting: List,
    /// Since when the number in service has been what it is.
    since: Time,
    started: u32,
    /// Length of a service in thousandths of what was drawn.
    slow: u32,
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
        let (serving, waiting) = (List::default(), List::default());
        SlotsReplica { site, servers, serving, waiting, since: Time::ZERO, started: 0, slow: NORMAL }
    }

    /// A request arrives; it waits until [`SlotsReplica::start`] takes it.
    pub fn enqueue(&mut self, table: &mut Table, id: SlotId) {
        table[id].place = Place::Waiting;
        self.waiting.push_back(table, id);
    }

    /// Starts the next service when a server and a request are free.
    pub fn start(&mut self, table: &mut Table, now: Time, observer: &mut impl Observer) -> Option<Started> {
        if self.serving.len() == self.servers {
            return None;
        }
        let id = self.waiting.pop_front(table)?;
        self.tell(now, observer);
        self.serving.push_back(table, id);
        let counter = self.started;
        self.started = counter.wrapping_add(1);
        let slot = &mut table[id];
        (slot.place, slot.admitted) = (Place::Decode, counter);
        if slot.scheduled == NEVER {
            slot.scheduled = now;
        }
        if slot.preempted_at != NEVER {
            // Its first token is the end of its service: all that it lost, it lost before.
            let lost = now - slot.preempted_at;
            slot.preempted += lost;
            slot.preempted_before_first += lost;
            slot.preempted_at = NEVER;
        }
        let mut service = slot.service;
        if self.slow != NORMAL {
            service = slowed(service, self.slow);
        }
        Some(Started { id, end: now + service, counter })
    }

    /// Whether the service that started as number `counter` is still under way for `id`: the request may have gone,
    /// or been taken off this replica when it failed (and be in service again, here or elsewhere). O(1).
    #[inline]
    pub fn is_serving(&self, table: &Table, id: SlotId, counter: u32) -> bool {
        let slot = &table[id];
        slot.place == Place::Decode
            && slot.admitted == counter
            && slot.replica == self.site.replica
            && slot.pool == self.site.pool
    }

    /// A service is complete: the whole answer comes at once.
    pub fn complete(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
        self.tell(now, observer);
        self.serving.remove(table, id);
        let slot = &mut table[id];
        slot.place = Place::Ghost;
        slot.generated = slot.output;
        (slot.first_token, slot.last_token) = (now, now);
        observer.first_token(now, slot.workload, slot.pool, now - slot.arrived);
    }

    /// Takes a request away whose client has gone; a server that worked for it is free at once.
    pub fn cancel(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
        if table[id].place == Place::Waiting {
            self.waiting.remove(table, id);
        } else {
            self.tell(now, observer);
            self.serving.remove(table, id);
        }
    }

    /// The replica fails: services under way stop with nothing to show, and every request goes to
    /// [`Departures::evicted`], those in service first, each as [`restart`] leaves it. Their ends are void
    /// ([`SlotsReplica::is_serving`]). O(requests on it).
    pub fn evict(
        &mut self,
        table: &mut Table,
        now: Time,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        self.tell(now, observer);
        for list in [&mut self.serving, &mut self.waiting] {
            while let Some(id) = list.pop_front(table) {
                restart(&mut table[id], now);
                out.evicted.push(id);
            }
        }
    }

    /// Services that begin from now on take `permille / 1,000` of their time, rounded down to a nanosecond; from
    /// [`NORMAL`], which is their time, to [`SLOWEST`].
    pub fn set_slow(&mut self, permille: u32) {
        assert!((NORMAL..=SLOWEST).contains(&permille), "{permille} is outside {NORMAL} to {SLOWEST}");
        self.slow = permille;
    }

    /// Tells the time since the number of busy servers last changed, so that it can be booked up to `now`.
    pub fn tell(&mut self, now: Time, observer: &mut impl Observer) {
        if !self.serving.is_empty() && now > self.since {
            observer.worked(&StepRun {
                pool: self.site.pool,
                replica: self.site.replica,
                start: self.since,
                last_start: self.since,
                end: now,
                steps: 1,
                busy: self.serving.len(),
                decodes: 0,
                prefill_tokens: 0,
                outside_range: 0,
            });
        }
        self.since = now;
    }

    /// STUB
    pub fn lower(&self) -> (u32, u32) {
        (0, 0)
    }
    /// STUB
    pub fn evict_lower(&mut self, _t: &mut Table, _now: Time, _o: &mut impl Observer, _out: &mut Departures) {
    }
    /// STUB
    pub fn yield_next(&mut self, _t: &mut Table, _now: Time) -> Option<Started> {
        None
    }
    /// STUB
    pub fn yields(&mut self, _t: &mut Table, _id: SlotId, _now: Time, _o: &mut impl Observer) -> bool {
        false
    }
    /// Requests waiting.
    pub fn waiting(&self) -> u32 {
        self.waiting.len()
    }

    /// Requests in service.
    pub fn running(&self) -> u32 {
        self.serving.len()
    }
}

fn slowed(service: Span, permille: u32) -> Span {
    let nanos = u128::from(service.as_nanos()) * u128::from(permille) / u128::from(NORMAL);
    Span::from_nanos(u64::try_from(nanos).expect("a service of more than 584 years"))
}

#[cfg(test)]
mod tests;
