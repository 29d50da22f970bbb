//! Disaggregation: a request visits the pool that processes prompts, its KV cache crosses a link, and the pool that
//! serves it decodes.
//!
//! The first token comes out where the prompt is processed. The KV cache is in neither pool's account while it is on the
//! link: the first frees it when the prompt is done, the second claims it when the request joins a batch.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::Simulation;
use crate::fleet::link::Link;
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::request::Outcome;
use crate::scenario::Scenario;
use crate::table::{Place, SlotId};

/// The links of a scenario.
#[derive(Debug)]
pub(super) struct Links {
    links: Vec<Link>,
    /// By link: the wake-up that counts; earlier ones are void.
    epochs: Vec<u32>,
}

impl Links {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let links: Vec<Link> = scenario.fleet.links.iter().map(|link| Link::new(link.bandwidth)).collect();
        Links { epochs: vec![0; links.len()], links }
    }
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// A request goes to the pool that processes its prompt, and what it had said before a failure, for one more token.
    pub(super) fn send_to_prefill(&mut self, id: SlotId, prompts: usize, observer: &mut impl Observer) {
        let slot = &mut self.table[id];
        slot.pool = prompts as u16;
        slot.output = slot.generated + 1;
        self.enter(id, prompts, observer);
    }

    /// The pool that processes prompts is done with a request: it is complete, or its KV cache is sent on.
    pub(super) fn hand_over(&mut self, id: SlotId, observer: &mut impl Observer) {
        self.leave_pool(id, true);
        let slot = &mut self.table[id];
        let home = usize::from(slot.home);
        (slot.pool, slot.output) = (slot.home, slot.whole);
        if slot.generated >= slot.whole {
            self.conclude(id, Outcome::Completed, None, observer);
            return self.table.release(id);
        }
        if self.live.is_some() {
            // On the next replica it is heard of only with another token.
            let tokens = self.table[id].generated;
            observer.token(self.now, self.table.head(id), tokens);
        }
        let slot = &mut self.table[id];
        slot.place = Place::Transfer;
        slot.carried = true;
        slot.left_at = self.now;
        // The latest token has no KV yet: the step that decodes the next one makes it.
        slot.target = slot.prompt + slot.generated - 1;
        let tokens = slot.target;
        let prefill = self.scenario.pools[home].fleet.prefill.expect("its prompts come from another pool");
        let bytes = u64::from(tokens) * prefill.bytes_per_token;
        self.drain_link(prefill.link);
        self.links.links[prefill.link].start(self.now, id, bytes);
        self.wake_link(prefill.link);
    }

    /// Schedules the next arrival over a link; earlier plans are void.
    fn wake_link(&mut self, link: usize) {
        let epoch = self.links.epochs[link].wrapping_add(1);
        self.links.epochs[link] = epoch;
        if let Some(at) = self.links.links[link].next_wake() {
            self.events.push(Event::new(at.max(self.now), Class::Transfer, link as u32, 0, u32::MAX, epoch));
        }
    }

    /// The last byte of a KV cache is over a link, or its latency has passed too.
    pub(super) fn transfer(&mut self, event: &Event, observer: &mut impl Observer) {
        let link = event.entity() as usize;
        if event.target != u32::MAX {
            let id = event.target;
            if self.table[id].generation == event.epoch && self.table[id].place == Place::Transfer {
                self.arrive_with_cache(id, observer);
            }
            return;
        }
        if self.links.epochs[link] != event.epoch {
            return;
        }
        self.drain_link(link);
        self.wake_link(link);
    }

    /// Takes off a link what is over it by now; each arrives when the latency has passed.
    fn drain_link(&mut self, link: usize) {
        let at = self.now + self.scenario.fleet.links[link].latency;
        while let Some(id) = self.links.links[link].finish(self.now) {
            let (index, epoch) = (self.table.head(id).index as u32, self.table[id].generation);
            self.events.push(Event::new(at, Class::Transfer, link as u32, index, id, epoch));
        }
    }

    fn arrive_with_cache(&mut self, id: SlotId, observer: &mut impl Observer) {
        let home = usize::from(self.table[id].home);
        self.enter(id, home, observer);
    }

    /// A request on the way is withdrawn.
    pub(super) fn stop_transfer(&mut self, id: SlotId) {
        let home = usize::from(self.table[id].home);
        let prefill = self.scenario.pools[home].fleet.prefill.expect("its prompts come from another pool");
        self.drain_link(prefill.link);
        // It may be past the last byte, waiting for the latency.
        if self.links.links[prefill.link].cancel(self.now, id) {
            self.wake_link(prefill.link);
        }
    }
}
