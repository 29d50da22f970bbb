//! The hub's side of the control plane: operations, readiness, and what they change for requests.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::Simulation;
use crate::control::Effect;
use crate::gateway::admission;
use crate::limits::Usage;
use crate::observe::Observer;
use crate::profile::{Caller, Verb, judge};
use crate::replica::Stepper;
use crate::request::{NO_ENDPOINT, PoolId};
use crate::time::Time;

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Finds out what limits ask of the requests of a workload from now on, for each pool that may serve them when the
    /// choice is made request by request.
    pub(super) fn classify(&mut self, workload: usize) {
        let own = &self.scenario.workloads[workload];
        match self.scenario.tiers[own.tier].choice {
            None => {
                let class = self.class_of(workload, &own.sender.candidates);
                self.admission.classify(workload, 0, class);
            }
            Some(_) => {
                for (index, candidate) in own.sender.candidates.iter().enumerate() {
                    let class = self.class_of(workload, std::slice::from_ref(candidate));
                    self.admission.classify(workload, index, class);
                }
            }
        }
    }

    fn class_of(&self, workload: usize, candidates: &[(usize, PoolId)]) -> admission::Class {
        let own = &self.scenario.workloads[workload];
        let (sender, policy) = (&own.sender, &self.scenario.policy);
        let fallback = candidates.first().map_or(own.pool, |(_, pool)| *pool);
        let serving = sender.endpoint.map(|endpoint| self.control.serving(endpoint));
        if serving == Some(None) {
            return admission::Class::refused(fallback, NO_ENDPOINT);
        }
        let configuration = serving.flatten().map(|serving| &policy.endpoints[serving]);
        let pool_of = |model: usize, pool: PoolId| {
            // An update may have moved the model to another pool; where several serve it, each stays what it is.
            let serves = |candidate: &&PoolId| self.scenario.pools[usize::from(**candidate)].model == model;
            let Some(endpoint) = configuration.filter(|endpoint| !endpoint.pools.contains(&pool)) else {
                return pool;
            };
            endpoint.pools.iter().find(serves).copied().unwrap_or(pool)
        };
        if policy.limits.is_empty() {
            let model = self.scenario.pools[usize::from(fallback)].model;
            return admission::Class::unlimited(pool_of(model, fallback));
        }
        let subjects = candidates.iter().map(|&(model, pool)| {
            (model, pool_of(model, pool), self.control.request_subject(workload, model))
        });
        let subjects: Vec<_> = subjects.collect();
        let passes = |(_, _, subject): &&(usize, PoolId, crate::profile::Subject)| {
            judge(&policy.limits, Verb::Inference, subject).refused.is_none()
        };
        // When none passes, the refusal of the best is reported.
        let (model, pool, subject) = subjects.iter().find(passes).unwrap_or(&subjects[0]);
        let caller = Caller {
            account: sender.account,
            endpoint: sender.endpoint.unwrap_or(0) as u32,
            model: *model as u32,
            token: sender.first_token,
            user: sender.first_user,
        };
        admission::Class::compile(&policy.limits, subject, sender, &caller, *pool)
    }

    /// Schedules the first call of each operation.
    pub(super) fn schedule_operations(&mut self) {
        for index in 0..self.scenario.policy.operations.len() {
            self.schedule_operation(index, 0);
        }
    }

    fn schedule_operation(&mut self, index: usize, number: u64) {
        let operation = &self.scenario.policy.operations[index];
        let at =
            operation.first.as_nanos() as u128 + u128::from(operation.every.as_nanos()) * u128::from(number);
        // What lies behind the horizon is not done: nothing arrives there.
        if number < operation.times && at < u128::from(self.scenario.horizon.as_nanos()) {
            let at = Time::from_nanos(at as u64);
            self.events.push(Event::new(at, Class::Operation, index as u32, number as u32, number as u32, 0));
        }
    }

    pub(super) fn operate(&mut self, event: &Event, observer: &mut impl Observer) {
        let (index, number) = (event.entity() as usize, u64::from(event.target));
        self.schedule_operation(index, number + 1);
        let verdict = self.control.perform(self.now, index, number, &mut self.meters);
        observer.operated(self.now, index, number, verdict.as_ref().map(|_| ()).map_err(|refusal| *refusal));
        self.apply(verdict.unwrap_or_default());
        self.begin_held_jobs(observer);
    }

    pub(super) fn become_ready(&mut self, event: &Event, observer: &mut impl Observer) {
        let effects = self.control.ready(self.now, event.entity() as usize, event.epoch, &mut self.meters);
        self.apply(effects);
        self.begin_held_jobs(observer);
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ReadyAt { endpoint, at, epoch } => {
                    self.events.push(Event::new(at, Class::Readiness, endpoint as u32, epoch, 0, epoch));
                }
                Effect::Reclassify => {
                    for workload in 0..self.scenario.workloads.len() {
                        self.classify(workload);
                    }
                }
            }
        }
    }

    /// Tells what each limit did in the whole run.
    pub(super) fn tell_usage(&self, observer: &mut impl Observer) {
        let limits = &self.scenario.policy.limits;
        let mut seen = vec![Usage::default(); limits.len()];
        for (limit, usage) in self.admission.seen() {
            seen[limit].offered += usage.offered;
            seen[limit].admitted += usage.admitted;
        }
        for (limit, usage) in self.pools.iter().filter_map(|pool| pool.permits.usage(self.now)) {
            let sum = &mut seen[limit];
            // The pool that is used most stands for the peak.
            let higher = u128::from(usage.peak) * u128::from(sum.peak_limit.max(1))
                > u128::from(sum.peak) * u128::from(usage.peak_limit);
            if higher {
                (sum.peak, sum.peak_limit) = (usage.peak, usage.peak_limit);
            }
            // Classes count whom it concerns, permits who came for one and who got it.
            let before = if sum.keys == 0 { (0, 0) } else { (sum.offered, sum.admitted) };
            (sum.offered, sum.admitted) = (before.0 + usage.offered, before.1 + usage.admitted);
            sum.blocked += usage.blocked;
            sum.keys += usage.keys;
        }
        for (index, limit) in limits.iter().enumerate() {
            let usage = limit.meter.map_or(seen[index], |meter| self.meters.usage(meter, self.now));
            observer.metered(index, &usage);
        }
    }
}
