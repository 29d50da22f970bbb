//! A request that is over, as the recorder counts it: one attempt, or what several amounted to.

use super::recording::WorkloadRecord;
use crate::request::{Budget, Finished, Outcome, Settled};
use crate::scenario::Objectives;
use crate::time::{Span, Time};

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over<'a> {
    /// The attempt that decided it.
    pub done: &'a Finished,
    pub outcome: Outcome,
    /// When its first attempt reached the gateway.
    pub arrived: Time,
    /// When it was over.
    pub ended: Time,
}

impl<'a> Over<'a> {
    /// A request with one attempt.
    #[inline]
    pub(super) fn plain(done: &'a Finished) -> Self {
        Over { done, outcome: done.outcome, arrived: done.arrived, ended: done.ended }
    }

    /// A request of a client that may have tried again.
    pub(super) fn settled(settled: &'a Settled) -> Self {
        Over { done: &settled.last, outcome: settled.outcome, arrived: settled.arrived, ended: settled.ended }
    }

    #[inline]
    pub(super) fn e2e(&self) -> Span {
        self.ended - self.arrived
    }

    #[inline]
    pub(super) fn ttft(&self) -> Option<Span> {
        self.done.first_token.map(|at| at - self.arrived)
    }

    /// Where the time went, earlier attempts included; sums to [`Over::e2e`].
    #[inline]
    pub(super) fn budget(&self) -> Budget {
        let budget = self.done.budget();
        Budget { earlier_attempts: self.e2e() - budget.total(), ..budget }
    }

    /// Whether it completed and met every objective. An answer of one token has no gap and meets any TPOT; an answer
    /// without a first token (a `slots` pool) cannot claim to have met a TTFT.
    #[inline]
    pub(super) fn meets(&self, objectives: &Objectives) -> bool {
        self.outcome == Outcome::Completed
            && objectives.e2e.is_none_or(|most| self.e2e() <= most)
            && objectives.ttft.is_none_or(|most| self.ttft().is_some_and(|ttft| ttft <= most))
            && objectives.tpot.is_none_or(|most| self.done.tpot().is_none_or(|tpot| tpot <= most))
    }
}

impl WorkloadRecord {
    /// Counts a request that is over and arrived in the counted window.
    #[inline]
    pub(super) fn count(&mut self, over: &Over<'_>, met: bool) {
        let done = over.done;
        let (prompt, output) = (u64::from(done.head.prompt_tokens), u64::from(done.generated));
        self.outcomes[over.outcome as usize] += 1;
        // A client that was about to try again has not been refused for good.
        if let Some(refusal) = done.refusal.filter(|_| over.outcome == done.outcome) {
            self.refusals[usize::from(refusal.reason)] += 1;
        }
        self.met += u64::from(met);
        self.prompt_tokens += prompt;
        self.cached_tokens += u64::from(done.cached_tokens);
        self.output_tokens += output;
        self.useful_tokens += if over.outcome == Outcome::Completed { output } else { 0 };
        self.preemptions += u64::from(done.preemptions);
        let tenant = &mut self.tenants[done.head.tenant as usize];
        tenant.outcomes[over.outcome as usize] += 1;
        tenant.met += u64::from(met);
        tenant.prompt_tokens += prompt;
        tenant.output_tokens += output;
    }
}
