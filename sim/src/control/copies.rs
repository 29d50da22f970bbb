//! The endpoints that exist under one name, each with the configuration it runs.
//!
//! Creating a name again makes a further copy (`x`, `x-2`, ...): how a scenario fills a quota without a thousand
//! declarations. Requests to the name go to the oldest copy that serves.

use super::holdings::Holdings;
use crate::profile::Verb;
use crate::request::{CONFLICT, NO_ENDPOINT};
use std::collections::{BTreeMap, BTreeSet};

/// All copies of one name, by number in order of creation.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    copies: BTreeMap<u32, Instance>,
    created: u32,
    /// Changes under way: the copy that each is of.
    pending: BTreeMap<u32, u32>,
    serving: BTreeSet<u32>,
    stopped: BTreeSet<u32>,
    /// What the oldest that serves runs, at hand because every request asks.
    serves: Option<usize>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// The declared endpoint whose configuration it runs.
    pub(super) config: usize,
    /// Units of quotas.
    pub(super) held: Holdings,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Created or started, not ready yet.
    Starting(u32),
    Serving,
    /// Serves as before until the new configuration is ready.
    Updating {
        epoch: u32,
        to: usize,
        then: Holdings,
    },
    Stopped,
}

impl Copies {
    /// The configuration that serves.
    pub(super) fn serves(&self) -> Option<usize> {
        self.serves
    }

    /// The copy that an operation is about: an update is about the oldest, whatever it is at; a stop and a start about
    /// the oldest that can be stopped or started; a deletion, and all else, about the oldest. A creation is about none.
    ///
    /// Refused when there is none, or when it is in no state for that: a change of it is under way, or it is stopped (or
    /// running) already. O(log copies), plus a step for each copy that is being updated.
    pub(super) fn target(&self, verb: Verb) -> Result<Option<u32>, u16> {
        let oldest = self.copies.first_key_value().map(|(number, _)| *number);
        if verb == Verb::CreateEndpoint {
            return Ok(None);
        }
        let oldest = oldest.ok_or(NO_ENDPOINT)?;
        let settled = |number: &u32| matches!(self.copies[number].state, State::Serving);
        let target = match verb {
            Verb::UpdateEndpoint => Some(oldest).filter(settled),
            Verb::StopEndpoint => self.serving.iter().copied().find(settled),
            Verb::StartEndpoint => self.stopped.first().copied(),
            _ => Some(oldest),
        };
        target.map(Some).ok_or(CONFLICT)
    }

    /// The copy of that number.
    pub(super) fn copy(&self, number: u32) -> &Instance {
        &self.copies[&number]
    }

    /// A further copy, which serves when the change `epoch` is ready.
    pub(super) fn create(&mut self, config: usize, held: Holdings, epoch: u32) {
        self.created += 1;
        self.copies.insert(self.created, Instance { config, held, state: State::Starting(epoch) });
        self.pending.insert(epoch, self.created);
    }

    /// A copy goes over to the configuration `to`, and to holding `then`, when the change `epoch` is ready; it holds
    /// `during` until then.
    pub(super) fn update(&mut self, number: u32, to: usize, during: Holdings, then: Holdings, epoch: u32) {
        let copy = self.get(number);
        copy.held = during;
        copy.state = State::Updating { epoch, to, then };
        self.pending.insert(epoch, number);
    }

    /// A copy stops at once and holds `held` from now on; what it held before.
    pub(super) fn stop(&mut self, number: u32, held: Holdings) -> Holdings {
        let copy = self.get(number);
        copy.state = State::Stopped;
        let before = std::mem::replace(&mut copy.held, held);
        self.stopped.insert(number);
        self.serving.remove(&number);
        self.refresh();
        before
    }

    /// A stopped copy serves again when the change `epoch` is ready; it holds `held` from now on.
    pub(super) fn start(&mut self, number: u32, held: Holdings, epoch: u32) {
        let copy = self.get(number);
        copy.held = held;
        copy.state = State::Starting(epoch);
        self.stopped.remove(&number);
        self.pending.insert(epoch, number);
    }

    /// A copy is gone, with any change of it under way; what it held.
    pub(super) fn delete(&mut self, number: u32) -> Holdings {
        let copy = self.copies.remove(&number).expect("the target of a deletion exists");
        if let State::Starting(epoch) | State::Updating { epoch, .. } = copy.state {
            self.pending.remove(&epoch);
        }
        self.serving.remove(&number);
        self.stopped.remove(&number);
        self.refresh();
        copy.held
    }

    /// A change is ready: what the copy held until now and what it holds from now on. Nothing when the change is void.
    pub(super) fn ready(&mut self, epoch: u32) -> Option<(Holdings, Holdings)> {
        let number = self.pending.remove(&epoch)?;
        let copy = self.get(number);
        let before = copy.held.clone();
        if let State::Updating { to, then, .. } = std::mem::replace(&mut copy.state, State::Serving) {
            copy.config = to;
            copy.held = then;
        }
        let after = copy.held.clone();
        self.serving.insert(number);
        self.refresh();
        Some((before, after))
    }

    fn get(&mut self, number: u32) -> &mut Instance {
        self.copies.get_mut(&number).expect("the target of a change exists")
    }

    fn refresh(&mut self) {
        self.serves = self.serving.first().map(|number| self.copies[number].config);
    }
}
