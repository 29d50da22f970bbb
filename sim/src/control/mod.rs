//! The control plane: endpoints come, change and go; limits are set; models and patches are published.
//!
//! A state machine without a clock. [`ControlPlane::perform`] decides a call and does it; what takes time comes back as
//! [`Effect::ReadyAt`], to be handed to [`ControlPlane::ready`] when that instant is there.
//!
//! A call is refused by, in this order: gates and sizes of the profile; the endpoint's state (there is none, or another
//! change of it is under way); metered limits, in their order. A refused call changes and consumes nothing. What the
//! vendor does itself is asked of no limit.

mod copies;
#[cfg(test)]
mod fixture;
mod holdings;
#[cfg(test)]
mod tests;

use crate::limits::Meters;
use crate::profile::{Caller, Limit, Mechanism, Subject, Verb, judge};
use crate::request::{CONFLICT, Refusal};
use crate::scenario::Scenario;
use crate::scenario::catalog::{Catalog, subject};
use crate::scenario::policy::{Operation, reason_of};
use crate::time::Time;
use copies::Copies;
use holdings::{Call, Holdings, Terms};

/// Endpoints, models and patches as they are now.
#[derive(Clone, Debug)]
pub struct ControlPlane<'s> {
    scenario: &'s Scenario,
    /// What exists under the name of each declared endpoint.
    names: Vec<Copies>,
    /// Patches that the model image of each declared endpoint contains, once it is built.
    images: Vec<Option<u64>>,
    patches: u64,
    catalog: Catalog<'s>,
    /// Changes begun; the next one's number.
    epochs: u32,
}

/// What follows from a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// [`ControlPlane::ready`] is to be called at `at`, with `endpoint` and `epoch` as they are here.
    ReadyAt {
        /// The declared endpoint that changes; from the number of endpoints on, the operation that takes effect later.
        endpoint: usize,
        /// When.
        at: Time,
        /// Which change.
        epoch: u32,
    },
    /// What limits can know of requests is another from now on ([`ControlPlane::request_subject`]), or what serves them.
    Reclassify,
}

impl<'s> ControlPlane<'s> {
    /// As it is when the run starts: endpoints that exist serve, and hold their units of the quotas that creating them
    /// would have claimed. That those fit was checked when the scenario was read.
    pub fn new(scenario: &'s Scenario, meters: &mut Meters) -> Self {
        let endpoints = &scenario.policy.endpoints;
        let mut plane = ControlPlane {
            scenario,
            names: vec![Copies::default(); endpoints.len()],
            images: vec![None; endpoints.len()],
            patches: 0,
            catalog: Catalog::new(&scenario.models),
            epochs: 0,
        };
        for index in (0..endpoints.len()).filter(|&index| endpoints[index].exists) {
            plane.found(index, meters);
        }
        plane
    }

    /// An endpoint that was there before the run. Calls in the past claim no rate.
    fn found(&mut self, index: usize, meters: &mut Meters) {
        let Scenario { policy, .. } = self.scenario;
        let endpoint = &policy.endpoints[index];
        let caller = Caller {
            account: endpoint.account as u32,
            endpoint: index as u32,
            model: endpoint.models.first().map_or(0, |&model| model as u32),
            ..Caller::default()
        };
        let known = self.subject_of(endpoint.account, Some(index), &endpoint.models, &Subject::default());
        let mut quotas = judge(&policy.limits, Verb::CreateEndpoint, &known).dynamic;
        quotas.retain(|&limit| matches!(policy.limits[limit].mechanism, Mechanism::Quota { .. }));
        let call = Call {
            verb: Verb::CreateEndpoint,
            caller,
            subject: &known,
            concurrency: endpoint.concurrency,
            held: &Holdings::default(),
        };
        let mut terms = Terms::of(&call, &policy.limits, &quotas);
        if let Err(denied) = meters.admit(Time::ZERO, &mut terms.claims) {
            let limit = &policy.limits[terms.limits[denied.claim]].name;
            let (name, current, most) = (&endpoint.name, denied.current, denied.limit);
            panic!("endpoint `{name}` exists at the start, but `{limit}` holds {current} of {most}");
        }
        self.build(index);
        let epoch = self.next_epoch();
        self.names[index].create(index, terms.after, epoch);
        self.names[index].ready(epoch);
    }

    /// Call `number` of an operation, at `now`: what follows from it, or why it is refused.
    ///
    /// O(limits), and O(counters) of the limit it sets when it sets one.
    pub fn perform(
        &mut self,
        now: Time,
        operation: usize,
        number: u64,
        meters: &mut Meters,
    ) -> Result<Vec<Effect>, Refusal> {
        let op = &self.scenario.policy.operations[operation];
        assert!(number < op.times, "call {number} of `{}`, which is made {} times", op.name, op.times);
        let target = match op.endpoint {
            Some(endpoint) if !op.verb.is_vendors() => self.names[endpoint].target(op.verb),
            _ => Ok(None),
        };
        let config = self.config(op, target.ok().flatten());
        let terms = if op.verb.is_vendors() {
            Terms::default()
        } else {
            self.permit(now, op, target, config, meters)?
        };
        let before = op.endpoint.map(|endpoint| self.serving(endpoint));
        let mut effects = Vec::new();
        let mut changed = false;
        if let Some((place, epoch)) = self.begin(now, operation, target.ok().flatten(), config, terms, meters)
        {
            if op.ready_after.is_zero() {
                changed = self.finish(now, place, epoch, meters);
            } else {
                effects.push(Effect::ReadyAt { endpoint: place, at: now + op.ready_after, epoch });
            }
        }
        if changed || before != op.endpoint.map(|endpoint| self.serving(endpoint)) {
            effects.push(Effect::Reclassify);
        }
        Ok(effects)
    }

    /// What was created, changed or set is ready now. Nothing follows when the change is void, because what it was of
    /// has been deleted.
    pub fn ready(&mut self, now: Time, endpoint: usize, epoch: u32, meters: &mut Meters) -> Vec<Effect> {
        if self.finish(now, endpoint, epoch, meters) { vec![Effect::Reclassify] } else { Vec::new() }
    }

    /// The declared endpoint whose configuration serves under the name of `endpoint` now; `None` when nothing of that
    /// name exists, or is stopped or not ready. O(1).
    pub fn serving(&self, endpoint: usize) -> Option<usize> {
        self.names[endpoint].serves()
    }

    /// Digest of the model image that serves under the name of `endpoint`.
    ///
    /// An image is built when its configuration (a version of what is served) is first deployed, with all patches
    /// published by then. It never changes afterwards: a patch reaches new versions only, whatever is restarted.
    pub fn image(&self, endpoint: usize) -> Option<u64> {
        let config = self.serving(endpoint)?;
        let patches = self.images[config].expect("what serves has an image");
        Some(digest(&self.scenario.policy.endpoints[config].name, patches))
    }

    /// All that limits can know of a request of `workload` to its candidate `model`, now. While nothing serves the
    /// endpoint's name, its declaration stands for what would.
    pub fn request_subject(&self, workload: usize, model: usize) -> Subject {
        let sender = &self.scenario.workloads[workload].sender;
        let config = sender.endpoint.map(|endpoint| self.serving(endpoint).unwrap_or(endpoint));
        self.subject_of(sender.account as usize, config, &[model], &sender.traits)
    }

    fn subject_of(&self, account: usize, config: Option<usize>, models: &[usize], own: &Subject) -> Subject {
        let policy = &self.scenario.policy;
        let endpoint = config.map(|config| &policy.endpoints[config].traits);
        subject(&self.catalog, policy.accounts.get(account), endpoint, models, own)
    }

    /// The configuration that a call is about: the one it asks for, else the one it finds, else the declared one.
    fn config(&self, op: &Operation, target: Option<u32>) -> Option<usize> {
        let endpoint = op.endpoint?;
        let found = target.map(|number| self.names[endpoint].copy(number).config);
        Some(op.to.or(found).unwrap_or(endpoint))
    }

    /// Asks all limits of a call, and takes what it consumes.
    fn permit(
        &self,
        now: Time,
        op: &Operation,
        target: Result<Option<u32>, u16>,
        config: Option<usize>,
        meters: &mut Meters,
    ) -> Result<Terms, Refusal> {
        let policy = &self.scenario.policy;
        let configured = config.map(|config| &policy.endpoints[config]);
        let mut models: Vec<usize> = configured.map_or_else(Vec::new, |endpoint| endpoint.models.clone());
        models.extend(op.model.filter(|model| !models.contains(model)));
        let caller = Caller {
            account: op.account as u32,
            endpoint: op.endpoint.unwrap_or(0) as u32,
            model: models.first().map_or(0, |&model| model as u32),
            token: op.token,
            user: op.user,
        };
        let subject = self.subject_of(op.account, config, &models, &op.traits);
        let judgement = judge(&policy.limits, op.verb, &subject);
        if let Some(refused) = judgement.refused {
            return Err(Refusal {
                reason: reason_of(refused.limit),
                key: policy.limits[refused.limit].key(&caller),
                limit: refused.bound,
                current: refused.value,
                retry_after: None,
            });
        }
        let target = target.map_err(Refusal::plain)?;
        if op.verb == Verb::RaiseLimit && !self.raises(op, meters) {
            return Err(Refusal::plain(CONFLICT));
        }
        let none = Holdings::default();
        let held = match (op.endpoint, target) {
            (Some(endpoint), Some(number)) => &self.names[endpoint].copy(number).held,
            _ => &none,
        };
        let concurrency = configured.map_or(0, |endpoint| endpoint.concurrency);
        let call = Call { verb: op.verb, caller, subject: &subject, concurrency, held };
        let mut terms = Terms::of(&call, &policy.limits, &judgement.dynamic);
        meters.admit(now, &mut terms.claims).map_err(|denied| Refusal {
            reason: reason_of(terms.limits[denied.claim]),
            key: terms.claims[denied.claim].key,
            limit: denied.limit,
            current: denied.current,
            retry_after: denied.retry_at.map(|at| at - now),
        })?;
        terms.end_call(now, &policy.limits, meters);
        Ok(terms)
    }

    /// Does what is done at once; the place and the number of what is done when it is ready.
    fn begin(
        &mut self,
        now: Time,
        operation: usize,
        target: Option<u32>,
        config: Option<usize>,
        terms: Terms,
        meters: &mut Meters,
    ) -> Option<(usize, u32)> {
        let policy = &self.scenario.policy;
        let op = &policy.operations[operation];
        let endpoint = || op.endpoint.expect("an operation on an endpoint names one");
        let copy = || target.expect("what is let through has a target");
        match op.verb {
            Verb::CreateEndpoint => {
                let config = config.expect("a creation names an endpoint");
                self.build(config);
                let epoch = self.next_epoch();
                self.names[endpoint()].create(config, terms.after, epoch);
                Some((endpoint(), epoch))
            }
            Verb::UpdateEndpoint => {
                let config = config.expect("an update names an endpoint");
                self.build(config);
                let epoch = self.next_epoch();
                self.names[endpoint()].update(copy(), config, terms.during, terms.after, epoch);
                Some((endpoint(), epoch))
            }
            Verb::StartEndpoint => {
                let epoch = self.next_epoch();
                self.names[endpoint()].start(copy(), terms.during, epoch);
                Some((endpoint(), epoch))
            }
            Verb::StopEndpoint => {
                let name = &mut self.names[endpoint()];
                let kept = name.copy(copy()).held.stopped(&policy.limits);
                let before = name.stop(copy(), kept.clone());
                self.release(now, &before, &kept, meters);
                None
            }
            Verb::DeleteEndpoint => {
                let before = self.names[endpoint()].delete(copy());
                self.release(now, &before, &Holdings::default(), meters);
                None
            }
            Verb::SetRateLimit
            | Verb::RaiseLimit
            | Verb::ChangeLimit
            | Verb::PublishModel
            | Verb::PublishPatch => Some((self.names.len() + operation, self.next_epoch())),
            Verb::Inference
            | Verb::ListEndpoints
            | Verb::CallMcp
            | Verb::ReadCatalog
            | Verb::Upload
            | Verb::Evaluate
            | Verb::SubmitBatch => None,
        }
    }

    /// Does what is done when it is ready; whether requests see a difference.
    fn finish(&mut self, now: Time, place: usize, epoch: u32, meters: &mut Meters) -> bool {
        let Some(operation) = place.checked_sub(self.names.len()) else {
            let before = self.serving(place);
            if let Some((held, keeps)) = self.names[place].ready(epoch) {
                self.release(now, &held, &keeps, meters);
            }
            return self.serving(place) != before;
        };
        let op = &self.scenario.policy.operations[operation];
        match op.verb {
            Verb::PublishModel => self.catalog.publish(op.model.expect("a publication names a model")),
            Verb::PublishPatch => {
                self.patches += 1;
                false
            }
            // The vendor may have gone beyond it meanwhile.
            Verb::RaiseLimit if !self.raises(op, meters) => false,
            Verb::SetRateLimit | Verb::RaiseLimit | Verb::ChangeLimit => {
                let meter = self.meter(op);
                match self.counters(op) {
                    Some(keys) => {
                        keys.into_iter().for_each(|key| meters.set_limit_of(now, meter, key, op.value));
                    }
                    None => meters.set_limit(now, meter, op.value),
                }
                false
            }
            other => unreachable!("`{}` is over when it is done", other.name()),
        }
    }

    fn limit(&self, op: &Operation) -> &'s Limit {
        &self.scenario.policy.limits[op.limit.expect("an operation on a limit names one")]
    }

    fn meter(&self, op: &Operation) -> u16 {
        self.limit(op).meter.expect("only limits that keep count can be set during a run")
    }

    /// The counters that an operation on a limit is about; `None` when it is about all.
    fn counters(&self, op: &Operation) -> Option<Vec<u32>> {
        op.counters(self.limit(op), &self.scenario.policy.endpoints)
    }

    /// Whether an operation asks for no less than what is in force, on every counter that it is about.
    fn raises(&self, op: &Operation, meters: &Meters) -> bool {
        let meter = self.meter(op);
        let counters = self.counters(op).unwrap_or_else(|| (0..self.limit(op).keys).collect());
        counters.into_iter().all(|key| {
            let current = meters.limit_of(meter, key);
            current.is_some_and(|current| op.value.is_none_or(|value| value >= current))
        })
    }

    fn build(&mut self, config: usize) {
        self.images[config].get_or_insert(self.patches);
    }

    fn next_epoch(&mut self) -> u32 {
        self.epochs += 1;
        self.epochs
    }

    fn release(&self, now: Time, held: &Holdings, keeps: &Holdings, meters: &mut Meters) {
        for (limit, key, units) in held.beyond(keeps) {
            let meter = self.scenario.policy.limits[limit].meter.expect("quotas are metered");
            meters.release(now, meter, key, units);
        }
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), over a version's name and the patches in its image.
fn digest(version: &str, patches: u64) -> u64 {
    let bytes = version.bytes().chain(patches.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
