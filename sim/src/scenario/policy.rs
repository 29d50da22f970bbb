//! The vendor's side of a scenario: limits in force, accounts, endpoints, operations, and exact expectations.

use super::batch::JobState;
use crate::dist::Dist;
use crate::profile::{InUse, Key, Limit, Subject, Verb};
use crate::request::{PoolId, Refusal};
use crate::time::{Span, Time};

/// All of it; empty when a scenario names no profile, endpoints or operations.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The profile, when there is one.
    pub profile: Option<InUse>,
    /// Limits in force, in the order in which they are asked.
    pub limits: Vec<Limit>,
    /// Accounts (workspaces, teams); at least one when anything else is here.
    pub accounts: Vec<Account>,
    /// Endpoints, those that only operations create included.
    pub endpoints: Vec<Endpoint>,
    /// What happens on the control plane, in the order of the file.
    pub operations: Vec<Operation>,
    /// Claims about exact counts and times.
    pub expectations: Vec<Expectation>,
    /// Names of tokens, by their number in [`crate::profile::Caller::token`]; tenants come after them.
    pub tokens: Vec<String>,
    /// Names of users, likewise.
    pub users: Vec<String>,
}

impl Policy {
    /// Position of the limit of that name.
    pub fn limit(&self, name: &str) -> Option<usize> {
        self.limits.iter().position(|limit| limit.name == name)
    }

    /// The name of a reason in refusals: a built-in one, or the name of a limit.
    pub fn reason_name(&self, reason: u16) -> &str {
        match crate::request::BUILT_IN.get(usize::from(reason)) {
            Some(built_in) => built_in,
            None => &self.limits[usize::from(reason) - crate::request::BUILT_IN.len()].name,
        }
    }

    /// The limit behind a reason; `None` for a built-in one.
    pub fn limit_of(&self, reason: u16) -> Option<&Limit> {
        usize::from(reason).checked_sub(crate::request::BUILT_IN.len()).map(|index| &self.limits[index])
    }

    /// What a refused caller is told to wait: whole seconds, rounded up; `None` when it is told nothing.
    pub fn announced(&self, refusal: &Refusal) -> Option<Span> {
        let limit = self.limit_of(refusal.reason)?;
        let after = refusal.retry_after.filter(|_| limit.answer.announces_retry)?;
        Some(Span::from_secs(after.as_nanos().div_ceil(Span::from_secs(1).as_nanos())))
    }

    /// Whether the same request may be let in later.
    pub fn is_retryable(&self, refusal: &Refusal) -> bool {
        match self.limit_of(refusal.reason) {
            Some(limit) => limit.answer.retryable,
            None => refusal.reason != crate::request::CONTEXT_LENGTH,
        }
    }

    /// How many reasons there are.
    pub fn reasons(&self) -> usize {
        crate::request::BUILT_IN.len() + self.limits.len()
    }
}

/// The reason of a refusal by the limit at `index`.
pub fn reason_of(index: usize) -> u16 {
    u16::try_from(crate::request::BUILT_IN.len() + index).expect("a scenario has fewer than 60,000 limits")
}

/// A customer of the gateway.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in the scenario.
    pub name: String,
    /// What is known of it: region, control plane, tier, compliance, production.
    pub traits: Subject,
}

/// An endpoint: a configuration of served models under one name.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name in the scenario.
    pub name: String,
    /// The account it belongs to.
    pub account: usize,
    /// Whether it exists when the run starts; otherwise an operation creates it.
    pub exists: bool,
    /// The pools behind it, at most one for each model unless its tier has a [`super::Choice`], fallbacks last; empty for
    /// one that gets no requests.
    pub pools: Vec<PoolId>,
    /// Provisioned concurrency of its served models together; 0 when it has none.
    pub concurrency: u64,
    /// What the service adds to each request before the queue, seconds.
    pub overhead: Option<Dist>,
    /// What is known of it: kind, size, route optimization, and so on.
    pub traits: Subject,
    /// Kinds of models it serves, for limits on `model.kind`; with everything else known of each model.
    pub models: Vec<usize>,
}

/// Something done on the control plane, once or at equal intervals.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name; `operation-3` when the file gives none.
    pub name: String,
    /// What is done.
    pub verb: Verb,
    /// When first.
    pub first: Time,
    /// Time to the next; above zero when `times > 1`, unless all happen at once.
    pub every: Span,
    /// How often.
    pub times: u64,
    /// Whose.
    pub account: usize,
    /// Whether it sets a limit for every account, not for `account` alone.
    pub everybody: bool,
    /// Token it uses, an index into [`Policy::tokens`].
    pub token: u32,
    /// User that does it, an index into [`Policy::users`].
    pub user: u32,
    /// The endpoint it is about.
    pub endpoint: Option<usize>,
    /// The declared endpoint whose configuration an update takes over.
    pub to: Option<usize>,
    /// The model it is about.
    pub model: Option<usize>,
    /// The limit it sets.
    pub limit: Option<usize>,
    /// The value it sets.
    pub value: Option<u64>,
    /// Time until what was created or changed serves.
    pub ready_after: Span,
    /// What is known of the call: caller, upload, dataset.
    pub traits: Subject,
}

impl Operation {
    /// The counters of `limit` that it sets, in order; `None` when it sets all of them. An endpoint or a model that it
    /// does not name stands for all: for those of its account, when the limit is not counted by account, too.
    /// O(counters).
    pub fn counters(&self, limit: &Limit, endpoints: &[Endpoint]) -> Option<Vec<u32>> {
        if self.everybody && self.endpoint.is_none() && self.model.is_none() {
            return None;
        }
        let by_account = limit.per.iter().any(|(key, _)| *key == Key::Account);
        let counters = limit.counters(|key, index| {
            let index = index as usize;
            match key {
                Key::Account => self.everybody || index == self.account,
                Key::Endpoint => self.endpoint.map_or_else(
                    || {
                        self.everybody
                            || by_account
                            || endpoints.get(index).is_none_or(|one| one.account == self.account)
                    },
                    |endpoint| index == endpoint,
                ),
                Key::Model => self.model.is_none_or(|model| index == model),
                Key::Token | Key::User => true,
            }
        });
        (counters.len() < limit.keys as usize).then_some(counters)
    }
}

/// Who sends a workload's requests, and what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Account, an index into [`Policy::accounts`]; 0 when there is none.
    pub account: u32,
    /// Endpoint that is called.
    pub endpoint: Option<usize>,
    /// Token of tenant 0; the next tenant has the next one, unless `one_token`.
    pub first_token: u32,
    /// Whether all tenants share one token.
    pub one_token: bool,
    /// User of tenant 0, likewise.
    pub first_user: u32,
    /// Whether all tenants are one user.
    pub one_user: bool,
    /// Models to choose from, best first, each with the pool that serves it; the first that no gate refuses is used.
    /// Holds at least the workload's own. Where the tier has a [`super::Choice`]: the pools that it is made among, in
    /// the order of the tier, several of one model if need be.
    pub candidates: Vec<(usize, PoolId)>,
    /// What is known of the requests.
    pub traits: Subject,
    /// Bytes of a request body.
    pub body: Option<Dist>,
    /// What the endpoint adds to each request, seconds.
    pub overhead: Option<Dist>,
}

/// A stream of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The requests of a workload.
    Workload(usize),
    /// The calls of an operation.
    Operation(usize),
    /// The jobs of a batch.
    Batch(usize),
}

/// Claims about exact counts and times, of what arrives (of jobs: what is submitted) in `from..until`.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// What it says, for tables: its name in the file, or the stream's.
    pub name: String,
    /// Whose decisions; `None` for claims about the whole run.
    pub stream: Option<Stream>,
    /// From this instant on.
    pub from: Time,
    /// Before this instant.
    pub until: Time,
    /// What must be found.
    pub claims: Vec<Claim>,
}

/// An exact claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Requests or calls.
    Offered(u64),
    /// Those that were let in.
    Accepted(u64),
    /// Those that were refused.
    Refused(u64),
    /// Those that completed.
    Completed(u64),
    /// Those that failed: cancelled at an execution limit.
    Failed(u64),
    /// Refused (or failed) for a reason, by its number.
    For(u16, u64),
    /// Answered with an HTTP status; 200 is what completed.
    Status(u16, u64),
    /// When the first was let in.
    FirstAccepted(Option<Time>),
    /// When the last was let in.
    LastAccepted(Option<Time>),
    /// When the first was refused.
    FirstRefused(Option<Time>),
    /// When the last was refused.
    LastRefused(Option<Time>),
    /// Of the first refused: the exact time until it would be let in; `None` when time does not heal it.
    RetryAfter(Option<Span>),
    /// Of the last refused: what the vendor announces, whole seconds rounded up; `None` when it announces nothing.
    Announced(Option<Span>),
    /// `A` for each let in, `R` for each refused, in order of arrival.
    Verdicts(String),
    /// Let in within each whole bin of this length.
    Each(Span, u64),
    /// End-to-end latencies of the first that completed, in order of arrival.
    E2e(Vec<Span>),
    /// Completed by a pool.
    ServedBy(PoolId, u64),
    /// Requests whose overhead broke a limit, of the whole run.
    Violations(usize, u64),
    /// Most units in use at once on one counter of a limit, of the whole run.
    Peak(usize, u64),
    /// Jobs by the state they were in last, in the order of [`JobState::ALL`].
    Jobs([u64; JobState::ALL.len()]),
    /// Requests of jobs by what became of them, in the order of [`JOB_REQUESTS`].
    JobRequests([u64; JOB_REQUESTS.len()]),
    /// Jobs that were refused or failed for a reason, by its number.
    JobsFor(u16, u64),
    /// The last state of each job, in order of submission.
    JobStates(Vec<JobState>),
    /// When each job was over, in order of submission; `None`: it was not.
    JobEnds(Vec<Option<Time>>),
    /// The line that each job was refused or failed for, in order of submission; 0: for none.
    JobLines(Vec<u32>),
    /// Most tokens that one account had enqueued at once, of the whole run.
    EnqueuedPeak(u64),
    /// Tokens enqueued at the end, of the whole run.
    EnqueuedEnd(u64),
}

/// What can become of a request of a job, in the order of [`Claim::JobRequests`].
pub const JOB_REQUESTS: [&str; 5] = ["completed", "failed", "expired", "cancelled", "unfinished"];
