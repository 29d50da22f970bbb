//! Batch: jobs of many requests that must be over within a window, and what a pool does so that they disturb nobody.

use super::Metric;
use crate::dist::Dist;
use crate::request::WorkloadId;
use crate::time::{Span, Time};
use std::sync::Arc;

/// Jobs that somebody submits.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its name in the scenario.
    pub name: String,
    /// The workload that its requests are; [`super::Arrivals::Jobs`].
    pub workload: WorkloadId,
    /// When jobs are submitted, and how large they are.
    pub jobs: Jobs,
    /// Whose jobs they are: the first of [`Batch::owners`] accounts in a row, numbered over the whole scenario.
    pub owner: u32,
    /// Accounts that its jobs are given to in turn, at least 1.
    pub owners: u32,
    /// From the submission to the moment at which a job expires.
    pub window: Span,
    /// From the submission to the verdict of the validation.
    pub validation: Span,
    /// From the end of the last request to the end of the job: its files are being written.
    pub finalizing: Span,
    /// What the vendor allows.
    pub rules: JobRules,
    /// Where it is worked on.
    pub backend: Backend,
    /// Jobs that are cancelled, by number (from 0, in order of submission), in order of time.
    pub cancels: Vec<Cancel>,
}

/// When jobs are submitted, and how large they are.
#[derive(Clone, Debug)]
pub enum Jobs {
    /// Drawn.
    Drawn {
        /// When the first is submitted.
        first: Span,
        /// Seconds from one to the next.
        gap: Dist,
        /// Most jobs of a run; as many as come before the horizon when `None`.
        most: Option<u32>,
        /// Requests of a job.
        requests: Dist,
    },
    /// Written out, in order of time.
    Listed(Vec<Submission>),
}

/// A job that is written out.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// When it is submitted.
    pub at: Time,
    /// Which of the accounts of its batch it belongs to, below [`Batch::owners`].
    pub owner: u32,
    /// Requests.
    pub requests: u32,
    /// Size of its file, when known.
    pub bytes: Option<u64>,
    /// Prompt tokens, and output tokens that are asked for at most, line by line; drawn when `None`.
    pub lines: Option<Arc<[(u32, u32)]>>,
    /// What is wrong with its file, when something is.
    pub fault: Option<JobFault>,
}

/// What is wrong with the file of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFault {
    /// Number of the reason, as in [`crate::request::Refusal::reason`].
    pub reason: u16,
    /// Line that it is about, from 1; 0 when it is about the whole file.
    pub line: u32,
    /// Whether the submission itself is refused; otherwise the job fails when it is validated.
    pub at_once: bool,
}

/// A job that is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Number of the job.
    pub job: u32,
    /// When.
    pub at: Time,
}

/// What the vendor allows. Reasons are numbers as in [`crate::request::Refusal::reason`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRules {
    /// What is wrong with every one of these jobs, whatever is in it (a gate on provider, endpoint or model).
    pub fault: Option<JobFault>,
    /// Most requests of a job, and the reason of a job with more.
    pub requests: Option<(u64, u16)>,
    /// Most bytes of a file, and the reason of a larger one. A submission is refused at once.
    pub bytes: Option<(u64, u16)>,
    /// Most tokens that an account may have enqueued for a model, and the reason of a job that would exceed it.
    pub tokens: Option<(u64, u16)>,
    /// Whether output tokens that are asked for at most count as enqueued, too.
    pub count_output: bool,
    /// When enqueued tokens are given back.
    pub release: Release,
    /// What becomes of a job that finds the quota full.
    pub excess: Excess,
}

/// When enqueued tokens are given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Those of a request when it is over.
    #[default]
    Request,
    /// All of them when the job is over.
    Job,
}

/// What becomes of a job that finds the quota full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// It fails when it is validated.
    #[default]
    Fail,
    /// Its submission is refused.
    Refuse,
    /// It waits, validated, until there is room; its window is open meanwhile.
    Hold,
}

/// Where a batch is worked on.
#[derive(Clone, Debug)]
pub enum Backend {
    /// By the pool of its workload.
    Pool,
    /// Elsewhere: a job's requests end evenly spread over a time that is drawn, seconds.
    Upstream(Dist),
}

/// What a pool does with batch. Every rule is a policy of its own; all that are there hold.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRules {
    /// How far batch is below real-time.
    pub priority: BatchPriority,
    /// Which job goes first.
    pub order: JobOrder,
    /// Whether accounts take turns, each with the job of its own that goes first.
    pub fair: bool,
    /// Most batch requests on a replica, waiting and running; as many as it has sequences (servers) when `None`.
    pub concurrency: Option<u32>,
    /// Thousandths of a replica's sequences (servers) that stay free for real-time: right after a batch request was sent
    /// to a replica it holds at most `floor(all * (1 - headroom)) - real-time requests` of them.
    pub headroom: u32,
    /// Times of day at which batch may be sent, `(from, to)` with `from < to <= period`; at all times when empty.
    pub windows: Vec<(Span, Span)>,
    /// Length of a day.
    pub period: Span,
    /// What keeps batch from a replica that is busy with real-time.
    pub gate: Option<Gate>,
    /// What changes the concurrency by what is measured.
    pub controller: Option<Controller>,
    /// Jobs whose window closes within this time are urgent: `windows`, `headroom`, `gate` and `controller` do not hold
    /// for them.
    pub urgency: Option<Span>,
    /// Replicas that work on batch alone while real-time can spare them.
    pub lend: Option<Lend>,
    /// On `slots` pools: a batch request yields to a waiting real-time one at the next whole multiple of this since
    /// its service began, and goes on later; `None`: it does not yield.
    pub quantum: Option<Span>,
}

/// How far batch is below real-time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchPriority {
    /// Not at all: it is sent whenever the other rules allow it.
    None,
    /// The gateway sends none while a real-time request of the pool waits, in its queue or on the replica; an engine does
    /// not tell them apart.
    Gateway,
    /// And engines put real-time first: [`Below`], or the order in which servers are given out.
    Engine,
}

/// Which job goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOrder {
    /// In order of submission.
    Fifo,
    /// The one whose window closes first; in order of submission among equals.
    Deadline,
}

/// Batch is not sent to a replica that has more of any of these than is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Real-time requests that wait on it.
    pub waiting: Option<u32>,
    /// Real-time requests running, thousandths of its sequences (servers).
    pub running: Option<u32>,
    /// KV blocks in use, thousandths of all it has.
    pub kv: Option<u32>,
}

/// Changes the batch concurrency of every replica of a pool by what real-time requests of the pool have measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controller {
    /// What is measured: [`Metric::Ttft`], [`Metric::Itl`] or [`Metric::E2e`].
    pub metric: Metric,
    /// Which quantile of it.
    pub quantile: f64,
    /// What it should stay below.
    pub target: Span,
    /// Time between two looks, each of which sees what came since the last one.
    pub every: Span,
    /// How the concurrency follows.
    pub law: ControlLaw,
    /// Least concurrency.
    pub least: u32,
    /// Most concurrency.
    pub most: u32,
}

/// How a concurrency follows a measurement. A look without a measurement counts as one of zero: nobody was there whom batch
/// could disturb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ControlLaw {
    /// `add` more when the measurement is at most the target, `permille / 1,000` of it otherwise.
    Aimd {
        /// Added at a look.
        add: u32,
        /// What is left of it, thousandths below 1,000.
        permille: u32,
    },
    /// `most * (gain * e + integral * sum of e)`, `e` being `(target - measured) / target`, kept within -1 and 1.
    Pi {
        /// Of the present error.
        gain: f64,
        /// Of the sum of errors; its part of the result stays between the bounds by itself.
        integral: f64,
    },
}

/// Replicas that work on batch alone while real-time can spare them. Batch goes nowhere else on such a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lend {
    /// Most replicas that are lent at once; below the number of replicas.
    pub most: u16,
    /// One more is lent when the real-time requests of the pool are at most so many for each replica that is left.
    pub below: u32,
    /// One is taken back when they are more than so many for each replica that is left; above `below`.
    pub above: u32,
    /// Time between two looks, each of which lends or takes back one.
    pub every: Span,
    /// What becomes of the batch on a replica that is taken back.
    pub reclaim: Reclaim,
    /// From the moment at which the replica is empty to the one at which it serves again: another model is loaded.
    pub reload: Span,
}

/// What becomes of the batch on a replica that is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// It runs to its end.
    Drain,
    /// It goes back to its job when the step in flight is over, and begins anew elsewhere.
    Preempt,
}

/// Rules of an engine that keeps batch below real-time. For chunked batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below {
    /// What becomes of batch sequences whose place or KV blocks a real-time request needs.
    pub preempt: Preempt,
    /// Most batch tokens of a step, prompt and output together.
    pub tokens: Option<u32>,
    /// Most batch prompt tokens of a step.
    pub chunk: Option<u32>,
    /// The longest a step with batch in it may take, by the step law.
    pub step: Option<Span>,
    /// The longest a step with real-time and batch in it may take, in thousandths of what it would without batch; above
    /// 1,000.
    pub slowdown: Option<u32>,
    /// KV blocks that batch leaves free.
    pub reserve: u32,
}

/// What becomes of batch sequences whose place or KV blocks a real-time request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// They keep them.
    Never,
    /// They lose their KV cache and compute it again.
    Recompute,
    /// Their KV cache goes to the host's memory and comes back later. Each move makes the step it happens in longer by
    /// this much for each token, which comes on top of [`Below::step`] and [`Below::slowdown`].
    Swap(Span),
}

impl Default for BatchRules {
    /// What a pool does that says nothing: below real-time on the gateway and in the engine, earliest deadline first,
    /// accounts in turn, as many as fit.
    fn default() -> Self {
        BatchRules {
            priority: BatchPriority::Engine,
            order: JobOrder::Deadline,
            fair: true,
            concurrency: None,
            headroom: 0,
            windows: Vec::new(),
            period: Span::from_secs(86_400),
            gate: None,
            controller: None,
            urgency: None,
            lend: None,
            quantum: None,
        }
    }
}

/// State of a batch job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Turned away when it was submitted: there is no job.
    Refused,
    /// Its file is being checked.
    Validating,
    /// Its file is wrong, or the quota full.
    Failed,
    /// Its file is right, and it waits for room in the quota.
    Held,
    /// Its requests may be worked on.
    InProgress,
    /// All requests are over, their results are being written.
    Finalizing,
    /// Done.
    Completed,
    /// The window closed before all requests were over; the results there are are kept.
    Expired,
    /// Its cancellation was asked for; requests in flight are being stopped.
    Cancelling,
    /// Cancelled; the results there are are kept.
    Cancelled,
}

impl JobState {
    /// All of them, in order.
    pub const ALL: [JobState; 10] = [
        JobState::Refused,
        JobState::Validating,
        JobState::Failed,
        JobState::Held,
        JobState::InProgress,
        JobState::Finalizing,
        JobState::Completed,
        JobState::Expired,
        JobState::Cancelling,
        JobState::Cancelled,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Refused => "refused",
            JobState::Validating => "validating",
            JobState::Failed => "failed",
            JobState::Held => "held",
            JobState::InProgress => "in_progress",
            JobState::Finalizing => "finalizing",
            JobState::Completed => "completed",
            JobState::Expired => "expired",
            JobState::Cancelling => "cancelling",
            JobState::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_last(self) -> bool {
        use JobState::{Cancelled, Completed, Expired, Failed, Refused};
        matches!(self, Refused | Failed | Completed | Expired | Cancelled)
    }
}
