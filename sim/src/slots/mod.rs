//! The other engine: a replica that is a number of servers with one waiting line and a service-time distribution.
//!
//! It stands for everything whose inside is not modelled (a custom model, a third party) and it is what queueing
//! theory can check to the last digit: M/M/c, M/D/1, M/G/1.
//!
//! Batch requests ([`crate::table::Slot::lower`]) have a line of their own, which is served when the other is empty.
//! While a real-time request waits, batch services yield their servers at the whole multiples of a quantum since they
//! began, where there is one; what is left of them is served later.

use crate::observe::{Observer, StepRun};
use crate::replica::step_time::SLOWEST;
use crate::replica::{Departures, NORMAL, Site, restart};
use crate::table::{List, NEVER, Place, SlotId, Table};
use crate::time::{Span, Time};

mod service;

use service::Services;

/// A replica with `servers` servers, first come first served, real-time before batch.
#[derive(Debug)]
pub struct SlotsReplica {
    site: Site,
    servers: u32,
    /// In service, in order of their start.
    serving: List,
    waiting: List,
    /// Batch requests that wait.
    lower_waiting: List,
    /// Batch requests in service.
    lower: Services,
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
    /// An idle replica. Batch services yield at whole multiples of `quantum`, which must not be zero, or not at all.
    pub fn new(site: Site, servers: u32, quantum: Option<Span>) -> Self {
        SlotsReplica {
            site,
            servers,
            serving: List::default(),
            waiting: List::default(),
            lower_waiting: List::default(),
            lower: Services::new(quantum),
            since: Time::ZERO,
            started: 0,
            slow: NORMAL,
        }
    }

    /// A request arrives; it waits until [`SlotsReplica::start`] takes it.
    pub fn enqueue(&mut self, table: &mut Table, id: SlotId) {
        // Nothing of its service is over, wherever it has been.
        (table[id].place, table[id].joined) = (Place::Waiting, 0);
        self.line(table[id].lower).push_back(table, id);
    }

    fn line(&mut self, lower: bool) -> &mut List {
        if lower { &mut self.lower_waiting } else { &mut self.waiting }
    }

    fn next_counter(&mut self) -> u32 {
        let counter = self.started;
        self.started = counter.wrapping_add(1);
        counter
    }

    /// Starts the next service when a server and a request are free. One that yielded goes on.
    pub fn start(&mut self, table: &mut Table, now: Time, observer: &mut impl Observer) -> Option<Started> {
        if self.serving.len() == self.servers {
            return None;
        }
        let id = self.waiting.pop_front(table).or_else(|| self.lower_waiting.pop_front(table))?;
        self.tell(now, observer);
        self.serving.push_back(table, id);
        let counter = self.next_counter();
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
        let end = now + service;
        if table[id].lower {
            self.lower.begin(id, now, end, self.slow);
        }
        Some(Started { id, end, counter })
    }

    /// While real-time requests wait, no server is free and fewer batch services yield than there are such requests: lets
    /// the batch service yield whose server is free first, at the next whole multiple of the quantum since it began (at
    /// least one; a point exactly now is now), the earliest started among equals. Returns its new end, which replaces
    /// the one it had. A service that is over by then is left alone and counts as one that yields. The hub calls this
    /// until it returns `None`. O(batch requests in service).
    pub fn yield_next(&mut self, table: &mut Table, now: Time) -> Option<Started> {
        if self.serving.len() < self.servers {
            return None;
        }
        let (id, end) = self.lower.yield_next(now, self.waiting.len())?;
        let counter = self.next_counter();
        table[id].admitted = counter;
        Some(Started { id, end, counter })
    }

    /// Whether the service of `id` that ends now only yields. Then it goes to the front of its line with what is left of
    /// its service; the time until it is served again is lost to preemption. What it was slowed by is taken out of what
    /// is done, rounded down to a nanosecond; nothing is rounded when it was not slow. O(batch requests in service).
    pub fn yields(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) -> bool {
        if !table[id].lower || !self.lower.yields(id, now) {
            return false;
        }
        self.tell(now, observer);
        self.serving.remove(table, id);
        let done = self.lower.end(id, now);
        let slot = &mut table[id];
        assert!(done < slot.service, "{done:?} of {:?} are over, and it yields", slot.service);
        slot.service -= done;
        slot.joined += done.as_nanos();
        (slot.place, slot.preempted_at) = (Place::Waiting, now);
        // When nobody waits any more it goes on at once: nothing is lost.
        slot.preemptions += u32::from(!self.waiting.is_empty());
        self.lower_waiting.push_front(table, id);
        true
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
        if table[id].lower {
            self.lower.end(id, now);
        }
        let slot = &mut table[id];
        slot.place = Place::Ghost;
        slot.generated = slot.output;
        (slot.first_token, slot.last_token) = (now, now);
        observer.first_token(now, slot.workload, slot.pool, now - slot.arrived);
    }

    /// Takes a request away whose client has gone; a server that worked for it is free at once.
    pub fn cancel(&mut self, table: &mut Table, id: SlotId, now: Time, observer: &mut impl Observer) {
        let lower = table[id].lower;
        if table[id].place == Place::Waiting {
            self.line(lower).remove(table, id);
        } else {
            self.tell(now, observer);
            self.serving.remove(table, id);
            if lower {
                self.lower.end(id, now);
            }
        }
    }

    /// The replica fails: services under way stop with nothing to show (what was done before one yielded is lost, too),
    /// and every request goes to [`Departures::evicted`], those in service first in order of their start, then those
    /// that wait, real-time before batch, each as [`restart`] leaves it. Their ends are void
    /// ([`SlotsReplica::is_serving`]). O(requests on it).
    pub fn evict(
        &mut self,
        table: &mut Table,
        now: Time,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        self.tell(now, observer);
        self.lower.clear();
        for list in [&mut self.serving, &mut self.waiting, &mut self.lower_waiting] {
            while let Some(id) = list.pop_front(table) {
                begin_anew(table, id, now);
                out.evicted.push(id);
            }
        }
    }

    /// All batch requests leave as by [`SlotsReplica::evict`]; the others stay. O(batch requests on it).
    pub fn evict_lower(
        &mut self,
        table: &mut Table,
        now: Time,
        observer: &mut impl Observer,
        out: &mut Departures,
    ) {
        self.tell(now, observer);
        for id in self.lower.ids() {
            self.serving.remove(table, id);
            begin_anew(table, id, now);
            out.evicted.push(id);
        }
        self.lower.clear();
        while let Some(id) = self.lower_waiting.pop_front(table) {
            begin_anew(table, id, now);
            out.evicted.push(id);
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
                context_tokens: 0,
                outside_range: 0,
            });
        }
        self.since = now;
    }

    /// Real-time requests waiting.
    pub fn waiting(&self) -> u32 {
        self.waiting.len()
    }

    /// Real-time requests in service.
    pub fn running(&self) -> u32 {
        self.serving.len() - self.lower.len()
    }

    /// Batch requests waiting, and in service.
    pub fn lower(&self) -> (u32, u32) {
        (self.lower_waiting.len(), self.lower.len())
    }

    /// Servers in use, by requests of either class.
    pub fn busy(&self) -> u32 {
        self.serving.len()
    }
}

/// A request leaves with nothing done: its whole service is ahead of it.
fn begin_anew(table: &mut Table, id: SlotId, now: Time) {
    let slot = &mut table[id];
    slot.service += Span::from_nanos(slot.joined);
    slot.joined = 0;
    restart(slot, now);
}

fn slowed(service: Span, permille: u32) -> Span {
    let nanos = u128::from(service.as_nanos()) * u128::from(permille) / u128::from(NORMAL);
    Span::from_nanos(u64::try_from(nanos).expect("a service of more than 584 years"))
}

#[cfg(test)]
mod tests;
