//! What all tasks of a block share.

use super::alarm::Alarm;
use super::gauge::Gauge;
use super::prompt::Prompts;
use super::record::Fact;
use super::safety::{Price, Spent};
use crate::client::batch::BatchApi;
use crate::client::request::Form;
use crate::client::transport::Transport;
use crate::client::{Fatal, Seen};
use crate::clock::Clock;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tidegate_sim::profile::Mechanism;
use tidegate_sim::request::{Arrival, BUILT_IN, Finished, Outcome, Refusal, RequestHead, UNATTRIBUTED};
use tidegate_sim::rng::mix;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::scenario::policy::reason_of;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::Source;
use tidegate_sim::workload::client::RetryBudget;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// What does not change from block to block of a variant.
#[derive(Debug)]
pub struct Setting {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// By workload.
    pub forms: Vec<Form>,
    /// The way to the target.
    pub transport: Transport,
    /// The target's batch API.
    pub batch_api: BatchApi,
    /// Makes prompts.
    pub prompts: Arc<Prompts>,
    /// Numbers of reasons by name.
    pub reasons: BTreeMap<String, u16>,
    /// Nothing may be silent for longer, nanoseconds.
    pub silence_ns: u64,
    /// What may be spent.
    pub spent: Arc<Spent>,
    /// Numbers for those who watch.
    pub gauge: Arc<Gauge>,
    /// Why the run cannot go on, once it cannot.
    pub fatal: Arc<OnceLock<String>>,
    /// Cancelled when the run is to stop.
    pub stop: CancellationToken,
}

impl Setting {
    /// Numbers of the reasons of `scenario` by name.
    pub fn reasons(scenario: &Scenario) -> BTreeMap<String, u16> {
        let built_in = BUILT_IN.iter().zip(0..).map(|(name, number)| ((*name).to_owned(), number));
        let limits = scenario.policy.limits.iter().enumerate();
        built_in.chain(limits.map(|(index, limit)| (limit.name.clone(), reason_of(index)))).collect()
    }

    /// The run cannot go on.
    pub fn give_up(&self, why: &str) {
        // The first reason is the one to tell.
        let _ = self.fatal.set(why.to_owned());
        self.stop.cancel();
    }
}

/// What all tasks of a block share.
pub struct Block {
    /// What does not change.
    pub setting: Arc<Setting>,
    /// The replication that it plays.
    pub index: u32,
    /// Its seed.
    pub seed: u64,
    /// Time since its start.
    pub clock: Clock,
    /// By workload: says what follows an answer.
    pub sources: Vec<Mutex<Source>>,
    /// Wakes tasks at an instant.
    pub alarm: Alarm,
    /// By workload, retries that are left.
    pub budgets: Vec<Mutex<Option<RetryBudget>>>,
    /// Where what happened is told.
    pub facts: UnboundedSender<Fact>,
    /// Cancelled when everything of the block is to stop.
    pub stop: CancellationToken,
}

/// How an attempt ended, with what only its client knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As its answer says.
    Answered(Outcome),
    /// Its client's patience ran out.
    Impatient,
    /// The block was stopped.
    Stopped,
    /// Another attempt was faster.
    Beaten,
}

impl How {
    /// As facts have it.
    pub fn outcome(self) -> Outcome {
        match self {
            How::Answered(outcome) => outcome,
            How::Impatient => Outcome::TimedOut,
            How::Stopped => Outcome::Running,
            How::Beaten => Outcome::Cancelled,
        }
    }
}

/// An attempt to be made.
#[derive(Clone, Debug)]
pub struct Try {
    /// The request.
    pub arrival: Arrival,
    /// When it is due: the request's own instant, or that of a retry.
    pub due: u64,
    /// Which attempt of its request it is, from 0.
    pub number: u16,
}

impl Block {
    /// The body of a request.
    pub fn body(&self, arrival: &Arrival) -> Bytes {
        self.line(&self.setting.forms[usize::from(arrival.head.workload)], arrival)
    }

    /// The body of a request in another form than that of its workload.
    pub fn line(&self, form: &Form, arrival: &Arrival) -> Bytes {
        let head = &arrival.head;
        let unique = mix(self.seed ^ mix(head.index << 16 | u64::from(head.workload)));
        form.body(head, arrival.draw.output_tokens, |out| {
            let chain = arrival.chain.as_deref();
            self.setting.prompts.write(out, head.prompt_tokens, &head.prefix, chain, unique);
        })
    }

    /// Asks the caps for one more attempt. Not to be made when the run was stopped or a cap was hit.
    pub fn may_send(&self, arrival: &Arrival) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        let price = Price::of(&arrival.head, &arrival.draw);
        let taken = self.setting.spent.take(price, self.setting.gauge.in_flight());
        if let Err(cap) = &taken
            && cap.ends_the_run()
        {
            self.setting.give_up(cap.text());
        }
        taken.is_ok()
    }

    /// What the client of `head` sends next, after it was answered with `generated` tokens at `at`.
    pub fn follow(&self, head: &RequestHead, generated: u32, at: u64) -> Option<Arrival> {
        if self.stop.is_cancelled() {
            return None;
        }
        let source = &self.sources[usize::from(head.workload)];
        source.lock().unwrap_or_else(PoisonError::into_inner).follow(head, generated, Time::from_nanos(at))
    }

    /// The real instant of a time of the block.
    pub fn instant(&self, at: u64) -> Instant {
        self.clock.instant(Time::from_nanos(at))
    }

    /// Tells what happened.
    pub fn tell(&self, fact: Fact) {
        // Whoever keeps the books outlives all tasks of a block, unless it has panicked.
        let _ = self.facts.send(fact);
    }

    /// The timeline of an attempt, as the recorder takes it.
    pub fn finished(&self, attempt: &Try, how: How, seen: &Seen) -> Finished {
        let head = attempt.arrival.head;
        let due = attempt.due;
        let outcome = how.outcome();
        // A timer may wake a hair early: nothing is before it is due.
        let sent = seen.sent.max(due);
        let ended = seen.ended.max(sent);
        let refusal = self.refusal(outcome, seen);
        let mut generated = seen.generated();
        let form = &self.setting.forms[usize::from(head.workload)];
        if outcome == Outcome::Completed && !form.is_streamed() && generated == 0 {
            // Not reported: as planned.
            generated = attempt.arrival.draw.output_tokens;
        }
        let time = Time::from_nanos;
        let let_in = outcome != Outcome::Refused;
        Finished {
            outcome,
            refusal,
            head,
            output_tokens: attempt.arrival.draw.output_tokens,
            generated,
            cached_tokens: seen.usage.cached.unwrap_or(0).min(head.prompt_tokens),
            preemptions: 0,
            pool: self.setting.scenario.workloads[usize::from(head.workload)].pool,
            replica: None,
            sent: time(due),
            arrived: time(due),
            ready: time(due),
            dispatched: let_in.then(|| time(sent)),
            scheduled: let_in.then(|| time(sent)),
            first_token: seen.tokens.first().map(|&at| time(at.max(sent))),
            last_token: seen.tokens.last().map(|&at| time(at.max(sent))),
            ended: time(ended),
            preempted: Span::ZERO,
            preempted_before_first: Span::ZERO,
            transfer: Span::ZERO,
            attempt: attempt.number,
            beside: Span::ZERO,
        }
    }

    /// Why an attempt was turned away, or failed at a limit.
    fn refusal(&self, outcome: Outcome, seen: &Seen) -> Option<Refusal> {
        let known = seen.reason.as_ref().and_then(|name| self.setting.reasons.get(name)).copied();
        let reason = match outcome {
            Outcome::Refused => known.unwrap_or(UNATTRIBUTED),
            Outcome::Failed => known?,
            _ => return None,
        };
        let wait = seen.announced.map(|announced| announced.wait().as_nanos());
        let retry_after = wait.map(|ns| Span::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)));
        Some(Refusal { retry_after, ..Refusal::plain(reason) })
    }

    /// How an answer counts. A limit on execution lets a request in and cancels it later: that is a failure.
    pub fn outcome_of(&self, fate: &crate::client::Fate, seen: &Seen) -> Outcome {
        use crate::client::Fate;
        match fate {
            Fate::Completed => Outcome::Completed,
            Fate::Refused => {
                let known = seen.reason.as_ref().and_then(|name| self.setting.reasons.get(name));
                let limit = known.and_then(|reason| self.setting.scenario.policy.limit_of(*reason));
                match limit.map(|limit| &limit.mechanism) {
                    Some(Mechanism::Deadline { .. }) => Outcome::Failed,
                    _ => Outcome::Refused,
                }
            }
            Fate::Failed(_) => Outcome::Failed,
            Fate::Fatal(Fatal::NoQuota) => Outcome::Refused,
            Fate::Fatal(_) => Outcome::Failed,
        }
    }
}
