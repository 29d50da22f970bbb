//! Exact expectations: counts, instants and verdicts that must be found in every replication.
//!
//! An [`Expectations`] observer follows one replication and keeps no more than the claims ask about: counters, the
//! first and the last of a kind, and of sequences as many as are written down. An event costs O(1), or O(log n) where
//! a sequence of n is claimed. A request counts by its arrival at the gateway, a call by its time, a job by its
//! submission. Of the jobs of a batch that is claimed about, all are kept.

mod jobs;
mod tally;
#[cfg(test)]
mod tests;
mod text;

use crate::limits::Usage;
use crate::observe::jobs::JobBook;
use crate::observe::{JobFact, Observer};
use crate::request::{
    CONFLICT, CONTEXT_LENGTH, Finished, INVALID_INPUT_FILE, NO_ENDPOINT, NO_REPLICA, Outcome, QUEUE_FULL,
    Refusal, RequestHead, UNATTRIBUTED,
};
use crate::results::{ExpectationRow, Verdict};
use crate::scenario::Scenario;
use crate::scenario::policy::{Claim, Expectation, Policy, Stream};
use crate::time::{Span, Time};
use tally::{Decided, Tally};

/// Checks the expectations of a scenario over one replication.
#[derive(Clone, Debug)]
pub(super) struct Expectations<'a> {
    scenario: &'a Scenario,
    tallies: Vec<Tally>,
    /// Expectations about each workload, by index.
    of_workload: Vec<Vec<usize>>,
    /// Expectations about each operation, by index.
    of_operation: Vec<Vec<usize>>,
    /// Of each batch.
    jobs: Vec<JobBook>,
    /// Of each limit, whole run.
    violations: Vec<u64>,
    /// Of each limit, whole run.
    peaks: Vec<u64>,
}

/// What was found about one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// For people.
    pub found: String,
    /// Whether it is what was expected.
    pub holds: bool,
}

impl Finding {
    fn new(found: String, holds: bool) -> Self {
        Finding { found, holds }
    }
}

impl<'a> Expectations<'a> {
    /// The observer of one replication; `None` when nothing is expected.
    pub(super) fn new(scenario: &'a Scenario) -> Option<Self> {
        let policy = &scenario.policy;
        if policy.expectations.is_empty() {
            return None;
        }
        let about = |stream: Stream| {
            let all = policy.expectations.iter().enumerate();
            all.filter(|(_, e)| e.stream == Some(stream)).map(|(index, _)| index).collect::<Vec<_>>()
        };
        let limits = policy.limits.len();
        Some(Expectations {
            scenario,
            tallies: policy.expectations.iter().map(|expected| Tally::new(scenario, expected)).collect(),
            of_workload: (0..scenario.workloads.len()).map(|i| about(Stream::Workload(i))).collect(),
            of_operation: (0..policy.operations.len()).map(|i| about(Stream::Operation(i))).collect(),
            jobs: vec![JobBook::default(); scenario.batches.len()],
            violations: vec![0; limits],
            peaks: vec![0; limits],
        })
    }

    /// One finding for each claim, in the scenario's order.
    pub(super) fn finish(self) -> Vec<Finding> {
        let scenario = self.scenario;
        let of = |(expected, tally): (&Expectation, &Tally)| {
            let claims = expected.claims.iter();
            claims.map(|claim| self.find(expected, tally, claim)).collect::<Vec<_>>()
        };
        scenario.policy.expectations.iter().zip(&self.tallies).flat_map(of).collect()
    }

    fn find(&self, expected: &Expectation, tally: &Tally, claim: &Claim) -> Finding {
        let policy = &self.scenario.policy;
        let count = |found: u64, wanted: u64| Finding::new(found.to_string(), found == wanted);
        let instant =
            |found: Option<Time>, wanted: Option<Time>| Finding::new(text::instant(found), found == wanted);
        match claim {
            Claim::Offered(wanted) => count(tally.offered(), *wanted),
            Claim::Accepted(wanted) => count(tally.accepted, *wanted),
            Claim::Refused(wanted) => count(tally.refused, *wanted),
            Claim::Completed(wanted) => count(tally.completed, *wanted),
            Claim::Failed(wanted) => count(tally.failed, *wanted),
            Claim::For(reason, wanted) => count(tally.reasons[usize::from(*reason)], *wanted),
            Claim::Status(code, wanted) => count(tally.answered(policy, *code), *wanted),
            Claim::FirstAccepted(wanted) => instant(tally.first_accepted, *wanted),
            Claim::LastAccepted(wanted) => instant(tally.last_accepted, *wanted),
            Claim::FirstRefused(wanted) => instant(tally.first_refused.map(|(at, ..)| at), *wanted),
            Claim::LastRefused(wanted) => instant(tally.last_refused.map(|(at, ..)| at), *wanted),
            Claim::RetryAfter(wanted) => span(tally.first_refused.map(|(.., r)| r.retry_after), *wanted),
            Claim::Announced(wanted) => {
                span(tally.last_refused.map(|(.., refusal)| policy.announced(&refusal)), *wanted)
            }
            Claim::Verdicts(wanted) => text::verdicts(&tally.verdicts.in_order(), tally.offered(), wanted),
            Claim::Each(bin, wanted) => {
                let until = expected.until.min(Time::ZERO + self.scenario.horizon);
                let bins = until.saturating_since(expected.from).as_nanos() / bin.as_nanos();
                text::bins(tally.bins(*bin), bins, *bin, expected.from, *wanted)
            }
            Claim::E2e(wanted) => text::latencies(&tally.e2e.in_order(), wanted),
            Claim::ServedBy(pool, wanted) => count(tally.pools[usize::from(*pool)], *wanted),
            Claim::Violations(limit, wanted) => count(self.violations[*limit], *wanted),
            Claim::Peak(limit, wanted) => count(self.peaks[*limit], *wanted),
            Claim::Jobs(_)
            | Claim::JobRequests(_)
            | Claim::JobsFor(..)
            | Claim::JobStates(_)
            | Claim::JobEnds(_)
            | Claim::JobLines(_)
            | Claim::EnqueuedPeak(_)
            | Claim::EnqueuedEnd(_) => {
                let Some(Stream::Batch(batch)) = expected.stream else {
                    unreachable!("expectation `{}`: jobs of no batch", expected.name)
                };
                jobs::find(&self.jobs[batch], expected, claim)
            }
        }
    }
}

/// `found` is what the refusal in question says; `None` when nothing was refused.
fn span(found: Option<Option<Span>>, wanted: Option<Span>) -> Finding {
    match found {
        None => Finding::new("nothing was refused".to_owned(), false),
        Some(found) => Finding::new(text::never_or(found), found == wanted),
    }
}

/// The HTTP status that a reason answers with.
fn status(policy: &Policy, reason: u16) -> u16 {
    match (policy.limit_of(reason), reason) {
        (Some(limit), _) => limit.answer.status,
        (None, QUEUE_FULL | UNATTRIBUTED) => 429,
        (None, CONTEXT_LENGTH | INVALID_INPUT_FILE) => 400,
        (None, NO_ENDPOINT) => 404,
        (None, CONFLICT) => 409,
        (None, NO_REPLICA) => 503,
        (None, reason) => unreachable!("reason {reason} is neither built in nor a limit"),
    }
}

impl Observer for Expectations<'_> {
    fn finished(&mut self, done: &Finished) {
        let decided = Decided {
            at: done.arrived,
            number: done.head.index,
            outcome: done.outcome,
            refusal: done.refusal,
            pool: Some(done.pool),
            e2e: done.e2e(),
        };
        for &index in &self.of_workload[usize::from(done.head.workload)] {
            self.tallies[index].add(&decided);
        }
    }

    fn operated(&mut self, now: Time, operation: usize, number: u64, verdict: Result<(), Refusal>) {
        let refusal = verdict.err();
        let outcome = if refusal.is_some() { Outcome::Refused } else { Outcome::Completed };
        let decided = Decided { at: now, number, outcome, refusal, pool: None, e2e: Span::ZERO };
        for &index in &self.of_operation[operation] {
            self.tallies[index].add(&decided);
        }
    }

    fn job(&mut self, now: Time, job: &JobFact) {
        self.jobs[usize::from(job.batch)].tell(now, job);
    }

    fn violated(&mut self, _now: Time, limit: usize, _head: &RequestHead) {
        self.violations[limit] += 1;
    }

    fn metered(&mut self, limit: usize, usage: &Usage) {
        self.peaks[limit] = usage.peak;
    }
}

/// The findings of the replications so far, each claim with the first that differs.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    claims: Vec<(Finding, u32)>,
    replications: u32,
}

impl Found {
    /// Takes the findings of the next replication.
    pub(super) fn take(&mut self, findings: Vec<Finding>) {
        let index = self.replications;
        self.replications += 1;
        if index == 0 {
            self.claims = findings.into_iter().map(|finding| (finding, 0)).collect();
            return;
        }
        for (kept, finding) in self.claims.iter_mut().zip(findings) {
            if kept.0.holds && !finding.holds {
                *kept = (finding, index);
            }
        }
    }

    /// One row a claim. Inconclusive when no replication was whole.
    pub(super) fn rows(&self, scenario: &Scenario) -> Vec<ExpectationRow> {
        let expectations = &scenario.policy.expectations;
        let claims = expectations.iter().flat_map(|one| one.claims.iter().map(move |claim| (one, claim)));
        let row = |(index, (expected, claim)): (usize, (&Expectation, &Claim))| {
            let (words, wanted) = text::claim(scenario, claim);
            let (found, verdict, replication) = match self.claims.get(index) {
                None => ("no replication was whole".to_owned(), Verdict::Inconclusive, None),
                Some((finding, _)) if finding.holds => (finding.found.clone(), Verdict::Holds, None),
                Some((finding, at)) => (finding.found.clone(), Verdict::Violated, Some(*at)),
            };
            ExpectationRow {
                name: expected.name.clone(),
                claim: words + &text::window(scenario, expected),
                expected: wanted,
                found,
                verdict,
                replication,
            }
        };
        claims.enumerate().map(row).collect()
    }
}
