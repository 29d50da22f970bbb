//! The hub's side of batch: the life of jobs, from their submission to their last request.
//!
//! When a request of a job is sent to a replica is in `sending`, replicas that are lent in `lending`.

use super::Feed;
use super::event::{Class, Event};
use super::lending::Loan;
use super::simulation::Simulation;
use crate::batch::{Board, Controller, Entry, Fate, Job, JobId, Quota, next_edge};
use crate::observe::{JobCounts, JobState, Observer};
use crate::profile::Caller;
use crate::replica::Stepper;
use crate::request::{BUILT_IN, Outcome, Refusal};
use crate::scenario::batch::{Backend, Excess, JobFault, Release};
use crate::scenario::{Arrivals, BatchRules, Scenario};
use crate::table::{List, Place, SlotId};
use crate::time::Time;
use crate::workload::JobSource;
use crate::workload::jobs::Submitted;

/// What a [`Class::Job`] event is about; its entity. In this order at one instant.
const DONE_UPSTREAM: u32 = 0;
const EXPIRES: u32 = 1;
const FINALIZED: u32 = 2;
const VALIDATED: u32 = 3;
const SUBMITTED: u32 = 4;
const IS_CANCELLED: u32 = 5;
const IS_URGENT: u32 = 6;
const WINDOW: u32 = 7;
const CONTROL: u32 = 8;
const LEND: u32 = 9;
const RELOADED: u32 = 10;
const FROM_OUTSIDE: u32 = 11;
const CANCELLED_FROM_OUTSIDE: u32 = 12;

/// Jobs that are not over, and what pools do with their requests.
#[derive(Debug)]
pub(super) struct Batches<'s> {
    /// Whether there is any batch.
    on: bool,
    pub(super) sources: Vec<JobSource<'s>>,
    /// The next job of each batch.
    coming: Vec<Option<Submitted>>,
    pub(super) jobs: Vec<Option<Job>>,
    /// By place in `jobs`: its generation, so that timers of a job that is over are void.
    epochs: Vec<u32>,
    free: Vec<JobId>,
    submitted: u64,
    quota: Quota,
    /// Jobs that wait for room in the quota, in order of submission.
    held: Vec<JobId>,
    pub(super) pools: Vec<Option<PoolBatch<'s>>>,
    /// Pools with more to send, or more room for it.
    pub(super) to_wake: Vec<usize>,
    /// Replicas that are offered batch at this instant; reused.
    pub(super) offered: Vec<u32>,
    /// By workload.
    pub(super) is_batch: Vec<bool>,
    /// Jobs that were cancelled when there was none of that number.
    cancelled: Vec<(u16, u32)>,
}

/// What a pool does with batch.
#[derive(Debug)]
pub(super) struct PoolBatch<'s> {
    pub(super) rules: &'s BatchRules,
    pub(super) board: Board,
    /// Requests that have come back from a replica, and go before all others.
    pub(super) returned: List,
    /// Batch requests on each replica.
    pub(super) sent: Vec<u32>,
    pub(super) controller: Option<Controller>,
    pub(super) loans: Vec<Loan>,
}

impl PoolBatch<'_> {
    /// Whether anything is there to be sent.
    pub(super) fn has_work(&self) -> bool {
        !self.board.is_empty() || !self.returned.is_empty()
    }
}

impl<'s> Batches<'s> {
    pub(super) fn new(scenario: &'s Scenario, seed: u64) -> Self {
        let sources = (0..scenario.batches.len()).map(|index| JobSource::new(scenario, index, seed));
        let pools = scenario.pools.iter().map(|pool| {
            let rules = pool.batch.as_ref()?;
            let replicas = usize::from(pool.replicas);
            Some(PoolBatch {
                rules,
                board: Board::new(rules),
                returned: List::default(),
                sent: vec![0; replicas],
                controller: rules.controller.map(Controller::new),
                loans: vec![Loan::default(); replicas],
            })
        });
        let on = !scenario.batches.is_empty();
        Batches {
            on,
            sources: sources.collect(),
            coming: Vec::new(),
            jobs: Vec::new(),
            epochs: Vec::new(),
            free: Vec::new(),
            submitted: 0,
            quota: Quota::default(),
            held: Vec::new(),
            pools: if on { pools.collect() } else { Vec::new() },
            to_wake: Vec::new(),
            offered: Vec::new(),
            cancelled: Vec::new(),
            is_batch: scenario.workloads.iter().map(|w| matches!(w.arrivals, Arrivals::Jobs)).collect(),
        }
    }

    /// Whether there is any batch.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// A job that is not over.
    pub(super) fn job(&self, id: JobId) -> &Job {
        self.jobs[id as usize].as_ref().expect("a job that is not over")
    }

    pub(super) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs[id as usize].as_mut().expect("a job that is not over")
    }

    fn insert(&mut self, job: Job) -> JobId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            self.epochs.push(0);
            (self.jobs.len() - 1) as JobId
        });
        self.jobs[id as usize] = Some(job);
        id
    }

    /// The job as boards know it.
    pub(super) fn entry(&self, id: JobId) -> Entry {
        let job = self.job(id);
        Entry { job: id, owner: job.owner, expires: job.expires, order: job.order }
    }

    /// Jobs that are not over.
    pub(super) fn open(&self) -> impl Iterator<Item = JobId> + '_ {
        (0..self.jobs.len() as JobId).filter(|&id| self.jobs[id as usize].is_some())
    }
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// Schedules the first job of each batch, cancellations, and what happens at a time of day.
    pub(super) fn schedule_batches(&mut self) {
        if !self.batches.is_on() {
            return;
        }
        for batch in 0..self.scenario.batches.len() {
            self.batches.coming.push(None);
            self.expect_job(batch);
            for (index, cancel) in self.scenario.batches[batch].cancels.iter().enumerate() {
                self.push_job_event(cancel.at, IS_CANCELLED, batch as u32, index as u32);
            }
        }
        for pool in 0..self.pools.len() {
            let Some(state) = &self.batches.pools[pool] else { continue };
            let rules = state.rules;
            if let Some(at) = next_edge(rules, self.now) {
                self.push_job_event(at, WINDOW, pool as u32, 0);
            }
            if let Some(rule) = &rules.controller {
                self.push_job_event(self.now + rule.every, CONTROL, pool as u32, 0);
            }
            if let Some(rule) = &rules.lend {
                self.push_job_event(self.now + rule.every, LEND, pool as u32, 0);
            }
        }
    }

    fn push_job_event(&mut self, at: Time, kind: u32, target: u32, epoch: u32) {
        self.push_housekeeping(Event::new(at, Class::Job, kind, target, target, epoch));
    }

    /// A timer of a job, void when the job is over before.
    fn set_job_timer(&mut self, at: Time, kind: u32, id: JobId) {
        let (epoch, order) = (self.batches.epochs[id as usize], self.batches.job(id).order as u32);
        self.push_housekeeping(Event::new(at, Class::Job, kind, order, id, epoch));
    }

    pub(super) fn set_reload_timer(&mut self, at: Time, station: usize, epoch: u32) {
        self.push_job_event(at, RELOADED, station as u32, epoch);
    }

    pub(super) fn job_event(&mut self, event: &Event, observer: &mut impl Observer) {
        self.housekeeping -= 1;
        let target = event.target;
        match event.entity() {
            SUBMITTED => return self.submit(target as usize, observer),
            FROM_OUTSIDE => {
                let live = self.live.as_mut().expect("only a live simulation takes inputs");
                let job = live.jobs[target as usize].take().expect("a submission event has its job");
                let batch = event.epoch as usize;
                let submitted = self.batches.sources[batch].accept(job);
                return self.submit_job(batch, &submitted, observer);
            }
            CANCELLED_FROM_OUTSIDE => return self.cancel_job(event.epoch as usize, target, observer),
            IS_CANCELLED => {
                let (batch, cancel) = (target as usize, event.epoch as usize);
                let number = self.scenario.batches[batch].cancels[cancel].job;
                return self.cancel_job(batch, number, observer);
            }
            WINDOW => {
                let rules = self.batches.pools[target as usize].as_ref().expect("its window").rules;
                if let Some(at) = next_edge(rules, self.now) {
                    self.push_job_event(at, WINDOW, target, 0);
                }
                return self.wake_batch(target as usize);
            }
            CONTROL => {
                let state = self.batches.pools[target as usize].as_mut().expect("its controller");
                let controller = state.controller.as_mut().expect("its controller");
                controller.look();
                let every = controller.rule().every;
                self.push_job_event(self.now + every, CONTROL, target, 0);
                return self.wake_batch(target as usize);
            }
            LEND => {
                let every = self.look_at_loans(target as usize, observer);
                return self.push_job_event(self.now + every, LEND, target, 0);
            }
            RELOADED => return self.reloaded(target as usize, event.epoch),
            _ => {}
        }
        if self.batches.epochs[target as usize] != event.epoch || self.batches.jobs[target as usize].is_none()
        {
            return;
        }
        match event.entity() {
            EXPIRES => self.expire_job(target, observer),
            FINALIZED => self.end_job(target, JobState::Completed, None, 0, observer),
            VALIDATED => self.validated(target, observer),
            DONE_UPSTREAM => {
                self.count_upstream(target);
                self.finalize(target, observer);
            }
            IS_URGENT => {
                if let Some(pool) = self.pool_of_job(target) {
                    self.wake_batch(pool);
                }
            }
            other => unreachable!("no job event is of kind {other}"),
        }
    }

    /// Takes the next job of a batch and schedules its submission.
    fn expect_job(&mut self, batch: usize) {
        let next = self.batches.sources[batch].submit();
        if let Some(submitted) = &next {
            self.push_job_event(submitted.job.at, SUBMITTED, batch as u32, 0);
        }
        self.batches.coming[batch] = next;
    }

    fn submit(&mut self, batch: usize, observer: &mut impl Observer) {
        let submitted = self.batches.coming[batch].take().expect("a submission event has its job");
        self.expect_job(batch);
        self.submit_job(batch, &submitted, observer);
    }

    /// A job will be submitted from outside.
    pub(super) fn expect_job_from_outside(&mut self, at: Time, batch: u16, place: u32) {
        self.push_job_event(at, FROM_OUTSIDE, place, batch.into());
    }

    /// A job will be cancelled from outside.
    pub(super) fn cancel_job_from_outside(&mut self, at: Time, batch: u16, job: u32) {
        self.push_job_event(at, CANCELLED_FROM_OUTSIDE, job, batch.into());
    }

    fn submit_job(&mut self, batch: usize, submitted: &Submitted, observer: &mut impl Observer) {
        let rule = &self.scenario.batches[batch];
        let source = &self.batches.sources[batch];
        let draws = source.open(submitted);
        let tokens = match rule.rules.tokens {
            // What is wrong enqueues nothing.
            Some(_) if submitted.job.fault.is_none() => source.tokens(&draws, submitted.job.requests),
            _ => 0,
        };
        self.batches.submitted += 1;
        let job = Job {
            batch: batch as u16,
            number: submitted.number,
            owner: rule.owner + submitted.job.owner,
            state: JobState::Validating,
            created: self.now,
            expires: self.now.saturating_add(rule.window),
            counts: JobCounts { total: submitted.job.requests, ..JobCounts::default() },
            in_flight: 0,
            tokens,
            held: 0,
            draws,
            order: self.batches.submitted,
            upstream: None,
            fault: submitted.job.fault,
        };
        let id = self.batches.insert(job);
        let (fault, bytes) = (submitted.job.fault, submitted.job.bytes);
        let fault = rule.rules.fault.filter(|fault| fault.at_once).or(fault.filter(|fault| fault.at_once));
        let large = rule.rules.bytes.filter(|(most, _)| bytes.is_some_and(|bytes| bytes > *most));
        if let Some(JobFault { reason, line, .. }) = fault {
            return self.end_job(id, JobState::Refused, Some(Refusal::plain(reason)), line, observer);
        }
        if let Some((limit, reason)) = large {
            let refusal = Refusal { limit, current: bytes.unwrap_or(0), ..Refusal::plain(reason) };
            return self.end_job(id, JobState::Refused, Some(refusal), 0, observer);
        }
        if rule.rules.excess == Excess::Refuse
            && let Err(refusal) = self.enqueue_tokens(id)
        {
            return self.end_job(id, JobState::Refused, Some(refusal), 0, observer);
        }
        self.tell_job(id, None, 0, observer);
        let expires = self.batches.job(id).expires;
        self.set_job_timer(expires, EXPIRES, id);
        if self.batches.cancelled.contains(&(batch as u16, submitted.number)) {
            return self.stop_and_cancel(id, observer);
        }
        if rule.validation.is_zero() {
            return self.validated(id, observer);
        }
        self.set_job_timer(self.now + rule.validation, VALIDATED, id);
    }

    /// The file of a job has been checked.
    fn validated(&mut self, id: JobId, observer: &mut impl Observer) {
        let job = self.batches.job(id);
        let rules = &self.scenario.batches[usize::from(job.batch)].rules;
        let fault = rules.fault.or(job.fault);
        let total = u64::from(job.counts.total);
        if let Some(JobFault { reason, line, .. }) = fault {
            return self.end_job(id, JobState::Failed, Some(Refusal::plain(reason)), line, observer);
        }
        if let Some((limit, reason)) = rules.requests.filter(|(most, _)| total > *most) {
            let refusal = Refusal { limit, current: total, ..Refusal::plain(reason) };
            let line = u32::try_from(limit + 1).unwrap_or(u32::MAX);
            return self.end_job(id, JobState::Failed, Some(refusal), line, observer);
        }
        match rules.excess {
            Excess::Refuse => {}
            Excess::Fail => {
                if let Err(refusal) = self.enqueue_tokens(id) {
                    return self.end_job(id, JobState::Failed, Some(refusal), 0, observer);
                }
            }
            Excess::Hold => {
                let (tokens, model, owner) = (job.tokens, self.model_of_job(id), job.owner);
                if let Some((limit, reason)) = self.token_limit(id).filter(|(most, _)| tokens > *most) {
                    // It would wait for ever.
                    let refusal = Refusal { limit, current: tokens, ..Refusal::plain(reason) };
                    return self.end_job(id, JobState::Failed, Some(refusal), 0, observer);
                }
                let waits = self.waits_behind(owner, model);
                let taken = if waits { Err(self.quota_is_full(id)) } else { self.enqueue_tokens(id) };
                if let Err(refusal) = taken {
                    self.batches.job_mut(id).state = JobState::Held;
                    self.batches.held.push(id);
                    return self.tell_job(id, Some(refusal), 0, observer);
                }
            }
        }
        self.begin_job(id, observer);
    }

    fn model_of_job(&self, id: JobId) -> u16 {
        let batch = &self.scenario.batches[usize::from(self.batches.job(id).batch)];
        let pool = self.scenario.workloads[usize::from(batch.workload)].pool;
        self.scenario.pools[usize::from(pool)].model as u16
    }

    /// The pool that works on a job; `None` when it is worked on elsewhere.
    pub(super) fn pool_of_job(&self, id: JobId) -> Option<usize> {
        let batch = &self.scenario.batches[usize::from(self.batches.job(id).batch)];
        let pool = self.scenario.workloads[usize::from(batch.workload)].pool;
        matches!(batch.backend, Backend::Pool).then_some(usize::from(pool))
    }

    /// Tokens that the account of a job may have enqueued now, and the reason of a job that would exceed it: operations
    /// may have moved the quota.
    fn token_limit(&self, id: JobId) -> Option<(u64, u16)> {
        let batch = &self.scenario.batches[usize::from(self.batches.job(id).batch)];
        let (most, reason) = batch.rules.tokens?;
        let number = usize::from(reason).checked_sub(BUILT_IN.len());
        let limit = number.and_then(|number| self.scenario.policy.limits.get(number));
        let moved = limit.and_then(|limit| {
            let sender = &self.scenario.workloads[usize::from(batch.workload)].sender;
            let caller = Caller {
                account: sender.account,
                endpoint: 0,
                model: u32::from(self.model_of_job(id)),
                token: sender.first_token,
                user: sender.first_user,
            };
            self.meters.limit_of(limit.meter?, limit.key(&caller))
        });
        Some((moved.unwrap_or(most), reason))
    }

    /// Whether a job of this account and model waits for room in the quota.
    fn waits_behind(&self, owner: u32, model: u16) -> bool {
        let is_it = |&held: &JobId| self.batches.job(held).owner == owner && self.model_of_job(held) == model;
        self.batches.held.iter().any(is_it)
    }

    /// What a job that finds no room in the quota is told.
    fn quota_is_full(&self, id: JobId) -> Refusal {
        let (job, model) = (self.batches.job(id), self.model_of_job(id));
        let (limit, reason) = self.token_limit(id).expect("a quota that is full");
        let current = self.batches.quota.used(job.owner, model).saturating_add(job.tokens);
        Refusal { limit, current, ..Refusal::plain(reason) }
    }

    /// Takes the tokens of a job from the quota of its account.
    fn enqueue_tokens(&mut self, id: JobId) -> Result<(), Refusal> {
        let model = self.model_of_job(id);
        let most = self.token_limit(id);
        let job = self.batches.jobs[id as usize].as_mut().expect("a job that is not over");
        let taken = self.batches.quota.take(job.owner, model, job.tokens, most.map(|(most, _)| most));
        match (taken, most) {
            (Err(used), Some((limit, reason))) => {
                let current = used.saturating_add(job.tokens);
                Err(Refusal { limit, current, ..Refusal::plain(reason) })
            }
            _ => {
                job.held = job.tokens;
                Ok(())
            }
        }
    }

    /// Gives tokens of a job back to the quota; jobs that waited for them begin.
    fn release_tokens(&mut self, id: JobId, tokens: u64, observer: &mut impl Observer) {
        if tokens == 0 {
            return;
        }
        let model = self.model_of_job(id);
        let job = self.batches.job_mut(id);
        assert!(job.held >= tokens, "job {} gives back {tokens} of {} tokens", job.number, job.held);
        job.held -= tokens;
        let owner = job.owner;
        self.batches.quota.give_back(owner, model, tokens);
        self.begin_held_jobs(observer);
    }

    /// Jobs that waited for room in the quota begin, as far as there is some now.
    pub(super) fn begin_held_jobs(&mut self, observer: &mut impl Observer) {
        if self.batches.held.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.batches.held);
        for held in waiting {
            // In order of submission: none passes one of its account and model that waits.
            let (owner, model) = (self.batches.job(held).owner, self.model_of_job(held));
            if !self.waits_behind(owner, model) && self.enqueue_tokens(held).is_ok() {
                self.begin_job(held, observer);
            } else {
                self.batches.held.push(held);
            }
        }
    }

    /// The requests of a job may be sent.
    fn begin_job(&mut self, id: JobId, observer: &mut impl Observer) {
        let now = self.now;
        let job = self.batches.job_mut(id);
        job.state = JobState::InProgress;
        let (batch, number, expires) = (usize::from(job.batch), job.number, job.expires);
        self.tell_job(id, None, 0, observer);
        if let Some(takes) = self.batches.sources[batch].upstream(number) {
            self.batches.job_mut(id).upstream = Some((now, takes));
            if now.saturating_add(takes) <= expires {
                self.set_job_timer(now + takes, DONE_UPSTREAM, id);
            }
            return;
        }
        let pool = self.pool_of_job(id).expect("it is worked on here");
        let entry = self.batches.entry(id);
        let state = self.batches.pools[pool].as_mut().expect("a pool with batch has rules for it");
        state.board.add(entry);
        if let Some(within) = state.rules.urgency {
            let at = Time::from_nanos(expires.as_nanos().saturating_sub(within.as_nanos()));
            if at > now {
                self.set_job_timer(at, IS_URGENT, id);
            }
        }
        self.wake_batch(pool);
    }

    /// A request of a job is over. Its slot still says where it was.
    pub(super) fn job_request_over(&mut self, id: SlotId, outcome: Outcome, observer: &mut impl Observer) {
        let slot = &self.table[id];
        let (job_id, pool, replica) = (slot.job, usize::from(slot.pool), usize::from(slot.replica));
        if slot.place != Place::Gateway {
            let state = self.batches.pools[pool].as_mut().expect("a pool with batch has rules for it");
            state.sent[replica] -= 1;
        }
        let head = self.table.head(id);
        let (prompt, most) = (head.prompt_tokens, head.max_tokens);
        let job = self.batches.job_mut(job_id);
        job.in_flight -= 1;
        let fate = match outcome {
            // The run is cut: it is not over for its job.
            Outcome::Queued | Outcome::Running => return,
            Outcome::Completed => Fate::Completed,
            Outcome::Expired => Fate::Expired,
            Outcome::Cancelled => Fate::Cancelled,
            _ => Fate::Failed,
        };
        job.end(fate, 1);
        let (batch, held) = (usize::from(job.batch), job.held);
        let is_done = job.is_served() && job.ended() == job.counts.total;
        let rules = &self.scenario.batches[batch].rules;
        if rules.tokens.is_some() && rules.release == Release::Request {
            let counted = self.batches.sources[batch].counted(prompt, most);
            self.release_tokens(job_id, counted.min(held), observer);
        }
        if is_done {
            self.finalize(job_id, observer);
        }
    }

    /// All requests of a job are over.
    fn finalize(&mut self, id: JobId, observer: &mut impl Observer) {
        let job = self.batches.job_mut(id);
        job.state = JobState::Finalizing;
        let takes = self.scenario.batches[usize::from(job.batch)].finalizing;
        if takes.is_zero() {
            return self.end_job(id, JobState::Completed, None, 0, observer);
        }
        self.tell_job(id, None, 0, observer);
        self.set_job_timer(self.now + takes, FINALIZED, id);
    }

    /// The window of a job closes: what has not ended by now will not be worked on; the results there are stay.
    fn expire_job(&mut self, id: JobId, observer: &mut impl Observer) {
        // Everything ended inside the window; only the files are not written yet.
        if self.batches.job(id).state == JobState::Finalizing {
            return;
        }
        self.count_upstream(id);
        self.stop_job(id, Fate::Expired, observer);
        self.end_job(id, JobState::Expired, None, 0, observer);
    }

    fn cancel_job(&mut self, batch: usize, number: u32, observer: &mut impl Observer) {
        let is_it = |job: &&Job| usize::from(job.batch) == batch && job.number == number;
        let found = self.batches.jobs.iter().position(|job| job.as_ref().is_some_and(|job| is_it(&job)));
        let Some(id) = found.map(|id| id as JobId) else {
            // It comes later, and is cancelled at once; or is over.
            self.batches.cancelled.push((batch as u16, number));
            return;
        };
        if self.batches.job(id).state == JobState::Finalizing {
            return;
        }
        self.stop_and_cancel(id, observer);
    }

    fn stop_and_cancel(&mut self, id: JobId, observer: &mut impl Observer) {
        self.count_upstream(id);
        self.stop_job(id, Fate::Cancelled, observer);
        self.end_job(id, JobState::Cancelled, None, 0, observer);
    }

    /// What had ended elsewhere by now.
    fn count_upstream(&mut self, id: JobId) {
        let now = self.now;
        let job = self.batches.job_mut(id);
        let done = if job.is_served() { job.done_upstream(now) } else { 0 };
        if done > 0 {
            job.end(Fate::Completed, done);
        }
    }

    /// Nothing of a job is worked on any more: what is in flight is withdrawn, the rest is not sent.
    fn stop_job(&mut self, id: JobId, fate: Fate, observer: &mut impl Observer) {
        self.batches.held.retain(|&held| held != id);
        if let Some(pool) = self.pool_of_job(id) {
            let entry = self.batches.entry(id);
            let state = self.batches.pools[pool].as_mut().expect("a pool with batch has rules for it");
            state.board.remove(entry);
        }
        // Requests that end from now on do not end the job.
        self.batches.job_mut(id).state = JobState::Cancelling;
        if fate == Fate::Cancelled {
            self.tell_job(id, None, 0, observer);
        }
        if self.batches.job(id).in_flight > 0 {
            let mine = |&slot: &SlotId| self.table[slot].job == id && self.table[slot].place != Place::Ghost;
            let slots: Vec<SlotId> = self.table.occupied().filter(mine).collect();
            let outcome = if fate == Fate::Expired { Outcome::Expired } else { Outcome::Cancelled };
            for slot in slots {
                self.withdraw_item(slot, outcome, observer);
            }
        }
        let job = self.batches.job_mut(id);
        assert_eq!(job.in_flight, 0, "job {} has requests that cannot be found", job.number);
        let rest = job.undrawn();
        job.end(fate, rest);
    }

    /// A job reaches its last state.
    fn end_job(
        &mut self,
        id: JobId,
        state: JobState,
        refusal: Option<Refusal>,
        line: u32,
        observer: &mut impl Observer,
    ) {
        debug_assert!(state.is_last());
        let held = self.batches.job(id).held;
        self.batches.job_mut(id).state = state;
        // First, so that what is told of it is what its account has enqueued afterwards.
        self.release_tokens(id, held, observer);
        self.tell_job(id, refusal, line, observer);
        self.batches.jobs[id as usize] = None;
        let epoch = &mut self.batches.epochs[id as usize];
        *epoch = epoch.wrapping_add(1);
        self.batches.free.push(id);
    }

    fn tell_job(&self, id: JobId, refusal: Option<Refusal>, line: u32, observer: &mut impl Observer) {
        let job = self.batches.job(id);
        let enqueued = self.batches.quota.used(job.owner, self.model_of_job(id));
        observer.job(self.now, &job.fact(enqueued, refusal, line));
    }

    /// The run is over: jobs that are not are told as they stand, and what they hold is what the quota counts.
    pub(super) fn close_batches(&mut self, observer: &mut impl Observer) {
        let open: Vec<JobId> = self.batches.open().collect();
        let mut held: u128 = 0;
        for &id in &open {
            self.count_upstream(id);
            let job = self.batches.job(id);
            assert_eq!(job.in_flight, 0, "job {} still has requests in flight", job.number);
            held += u128::from(job.held);
            self.tell_job(id, None, 0, observer);
        }
        assert_eq!(held, self.batches.quota.total(), "tokens held by jobs and counted by the quota differ");
        for state in self.batches.pools.iter().flatten() {
            assert!(state.sent.iter().all(|&sent| sent == 0), "batch is left on replicas: {:?}", state.sent);
        }
    }
}
