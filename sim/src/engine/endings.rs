//! How requests end: answered, expired, cancelled at a limit, given up.

use super::Feed;
use super::arrivals::WAIT;
use super::event::Event;
use super::simulation::{Coming, Simulation};
use super::station::Worker;
use crate::observe::Observer;
use crate::replica::{Delivered, Stepper};
use crate::request::{Finished, Outcome, Refusal};
use crate::table::{NEVER, NONE, Place, SlotId};
use crate::time::Time;

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    pub(super) fn expire(&mut self, event: &Event, observer: &mut impl Observer) {
        let id = event.target;
        let slot = &self.table[id];
        if slot.generation != event.epoch || slot.place == Place::Ghost {
            return;
        }
        if event.entity() % 2 == WAIT {
            // Who came back from a replica that failed, or went to another queue, is not measured by this timer.
            if slot.place == Place::Gateway && slot.expires == self.now {
                self.leave_queue(id);
                self.conclude(id, Outcome::Expired, None, observer);
                self.table.release(id);
            }
            return;
        }
        if slot.orphan {
            return;
        }
        if self.scenario.workloads[usize::from(slot.workload)].client.deaf {
            return self.abandon_attempt(id, observer);
        }
        self.withdraw(id, Outcome::TimedOut, None, observer);
    }

    /// An execution that is not complete when its limit is reached is cancelled: its permit is free at once, what a
    /// step in flight holds at the end of that step.
    pub(super) fn reach_deadline(&mut self, event: &Event, observer: &mut impl Observer) {
        let id = event.target;
        let slot = &self.table[id];
        if slot.generation != event.epoch || slot.place == Place::Ghost {
            return;
        }
        let (most, reason) = self.admission.class(slot.class).deadline.expect("its timer was set");
        let (limit, current) = (most.as_nanos(), (self.now - slot.scheduled).as_nanos());
        let refusal = Refusal { limit, current, ..Refusal::plain(reason) };
        self.withdraw(id, Outcome::Failed, Some(refusal), observer);
    }

    fn leave_queue(&mut self, id: SlotId) {
        let priority = self.priority(id);
        let pool = usize::from(self.table[id].pool);
        self.pools[pool].queue.remove(&mut self.table, id, priority);
        if self.pools[pool].queue.is_empty() && self.has_batch(pool) {
            self.wake_batch(pool);
        }
    }

    /// Takes a request away, wherever it is, because its client has gone or its time is up.
    pub(super) fn withdraw(
        &mut self,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let pool = usize::from(self.table[id].pool);
        match self.table[id].place {
            Place::Gateway => self.leave_queue(id),
            Place::Transfer => self.stop_transfer(id),
            Place::Overhead => {}
            _ => return self.withdraw_from_replica(id, pool, outcome, refusal, observer),
        }
        self.conclude(id, outcome, refusal, observer);
        self.table.release(id);
    }

    pub(super) fn withdraw_from_replica(
        &mut self,
        id: SlotId,
        pool: usize,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let station = self.station_of(id);
        self.catch_up(station, observer);
        self.note_delivered(station, id, outcome, refusal, observer);
        let now = self.now;
        let gone = match &mut self.stations[station].worker {
            Worker::Llm(worker) => worker.cancel(&mut self.table, id),
            Worker::Slots(worker) => {
                let before = worker.busy();
                worker.cancel(&mut self.table, id, now, observer);
                self.signals.work(now, pool, before, worker.busy());
                true
            }
        };
        if gone {
            self.table.release(id);
        }
        self.start_services(station, observer);
        self.refresh(station);
        if self.elastic.is_on() || self.batches.is_on() {
            // It may have room for batch, or have been the last of a replica that is to stop.
            self.begin_later(station);
        }
        self.poll(pool, observer);
    }

    /// Concludes a request that leaves a replica before its last token, with what its client has received.
    pub(super) fn note_delivered(
        &mut self,
        station: usize,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        let kept = self.settle_delivered(station, id);
        if let Worker::Llm(worker) = &self.stations[station].worker {
            self.table[id].beside = worker.beside(&self.table, id);
        }
        self.conclude(id, outcome, refusal, observer);
        (self.table[id].generated, self.table[id].last_token) = kept;
    }

    /// Notes in the slot of a request on a replica what its client has received by now; returns what was there.
    pub(super) fn settle_delivered(&mut self, station: usize, id: SlotId) -> (u32, Time) {
        let delivered = match &self.stations[station].worker {
            Worker::Llm(worker) => worker.delivered(&self.table, id),
            Worker::Slots(_) => Delivered { tokens: 0, last: NEVER },
        };
        let slot = &mut self.table[id];
        let kept = (slot.generated, slot.last_token);
        (slot.generated, slot.last_token) = (delivered.tokens, delivered.last);
        kept
    }

    /// The record of a request that ends now.
    pub(super) fn record(&self, id: SlotId, outcome: Outcome, refusal: Option<Refusal>) -> Finished {
        let network = self.scenario.workloads[usize::from(self.table[id].workload)].network;
        let done = self.table.finished(id, self.now, outcome, refusal, network);
        debug_assert_eq!(done.budget().total(), done.e2e(), "the latency budget must sum to E2E: {done:?}");
        done
    }

    /// A request is over: tell it, give back what it held, and let its client go on.
    #[inline]
    pub(super) fn conclude(
        &mut self,
        id: SlotId,
        outcome: Outcome,
        refusal: Option<Refusal>,
        observer: &mut impl Observer,
    ) {
        // Nobody is there any more to whom it could be complete.
        let outcome = if self.table[id].orphan { Outcome::TimedOut } else { outcome };
        let done = self.record(id, outcome, refusal);
        observer.finished(&done);
        self.forget_live(done.head.workload, done.head.index);
        self.leave_pool(id, true);
        let slot = &self.table[id];
        if slot.job != NONE {
            self.totals.outcomes[outcome as usize] += 1;
            return self.job_request_over(id, outcome, observer);
        }
        let request = slot.request;
        if slot.holds {
            self.admission.over(self.now, id, slot.class, &done.head, done.generated, &mut self.meters);
        }
        self.totals.outcomes[outcome as usize] += 1;
        if outcome == Outcome::Completed {
            self.pools[usize::from(done.pool)].pace.answer(done.e2e().as_nanos());
            self.measure_answer(&done);
        }
        if request != NONE {
            self.attempt_over(id, request, &done, observer);
        } else if !self.cut {
            self.go_on(&done);
        }
    }

    /// When the client of an attempt that ends now knows it, client time: half a round trip later, but at once when it
    /// gave up by itself (its patience is over at the gateway half a round trip after that).
    pub(super) fn heard(&self, done: &Finished) -> Time {
        let network = self.scenario.workloads[usize::from(done.head.workload)].network;
        match done.outcome {
            Outcome::TimedOut => self.now - network / 2,
            _ => self.now + (network - network / 2),
        }
    }

    /// The client of a request that is over sends its next one, when it has one.
    pub(super) fn go_on(&mut self, done: &Finished) {
        let answered = self.heard(done);
        let workload = usize::from(done.head.workload);
        if let Some(arrival) = self.feeds[workload].follow(&done.head, done.generated, answered) {
            self.come(Coming { arrival, request: NONE });
        }
    }
}
