//! A request: what a gateway may know of it, what only the engine knows, and how it can end.
//!
//! [`RequestHead`] is all that admission and routing ever see. [`RequestDraw`] holds what no gateway can know (how
//! many tokens the model will say). The split is by type, so a policy cannot cheat by accident.

use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// Index of a workload in [`crate::scenario::Scenario::workloads`].
pub type WorkloadId = u16;
/// Index of a pool in [`crate::scenario::Scenario::pools`].
pub type PoolId = u16;
/// Index of a replica inside its pool.
pub type ReplicaId = u16;

/// What a gateway can know about a request when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The workload it belongs to.
    pub workload: WorkloadId,
    /// Tenant inside the workload, in `0..tenants`.
    pub tenant: u32,
    /// Position among the requests of its workload, from 0, in order of creation.
    pub index: u64,
    /// Prompt length in tokens, at least 1, including the context a session carries.
    pub prompt_tokens: u32,
    /// Declared output limit (`max_tokens`), when the client sends one.
    pub max_tokens: Option<u32>,
    /// Session it belongs to, and which turn of it; turn 0 of its own session for independent requests.
    pub session: u64,
    /// Turn within the session, from 0.
    pub turn: u32,
    /// What of the prompt other requests share.
    pub prefix: Prefix,
    /// Bytes of the body, when the workload states them.
    pub body_bytes: Option<u32>,
}

/// Which part of a prompt repeats: identities, not contents.
///
/// The first `shared_tokens` tokens are the same in every request with the same `shared` id (a system prompt). The
/// rest is the same, position by position, in every request with the same `own` id (the turns of one session);
/// `own == 0` means that the rest never repeats. Requests of a trace with block hashes carry them in
/// [`Arrival::chain`] instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Identity of the shared beginning; 0 when there is none.
    pub shared: u64,
    /// Its length in tokens; at most the prompt's.
    pub shared_tokens: u32,
    /// Identity of the content after it; 0 when it never repeats.
    pub own: u64,
}

/// What only the engine may know: the outcome of the model's dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDraw {
    /// Tokens the model will produce, at least 1.
    pub output_tokens: u32,
    /// Service time on a `slots` pool; zero elsewhere.
    pub service: Span,
    /// How long after sending the client gives up; `None` waits for ever.
    pub patience: Option<Span>,
    /// What the service adds before the queue.
    pub overhead: Span,
}

/// A request at the moment the client sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When the client sends it. Never decreases within one source.
    pub at: Time,
    /// What the gateway sees.
    pub head: RequestHead,
    /// What only the engine sees.
    pub draw: RequestDraw,
    /// Prefix-chain hashes of the prompt, from traces that have them.
    pub chain: Option<Box<HashChain>>,
}

/// Hashes of consecutive prompt blocks, each identifying its block and everything before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashChain {
    /// Tokens per hash (512 in Mooncake traces). The last block may be partly filled.
    pub tokens_per_hash: u32,
    /// The hashes, first block first.
    pub hashes: Vec<u64>,
}

/// How a request ended, or where it stood when the run was cut. One list, offline and live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Outcome {
    /// Every token was delivered.
    Completed = 0,
    /// Turned away at admission (see [`Refusal`]).
    Refused = 1,
    /// The client's patience ran out; the work in flight was cancelled.
    TimedOut = 2,
    /// Waited in the gateway's queue longer than the queue allows, or the window of its job closed.
    Expired = 3,
    /// Still in a queue when the run was cut.
    Queued = 4,
    /// Still running when the run was cut.
    Running = 5,
    /// Cancelled by the service at its execution limit (see [`Refusal::reason`]).
    Failed = 6,
    /// Was on a replica that failed, and nothing took its place.
    Lost = 7,
    /// Another attempt of the same request was faster, the job it belonged to was cancelled, or a client from outside hung up.
    Cancelled = 8,
    /// Its KV cache was on the way from one pool to another when the run was cut.
    InTransfer = 9,
    /// No attempt of it was in flight when the run was cut: its client was waiting to try again. Only of requests,
    /// never of attempts.
    BackingOff = 10,
}

impl Outcome {
    /// All outcomes, in order of their number.
    pub const ALL: [Outcome; 11] = [
        Outcome::Completed,
        Outcome::Refused,
        Outcome::TimedOut,
        Outcome::Expired,
        Outcome::Queued,
        Outcome::Running,
        Outcome::Failed,
        Outcome::Lost,
        Outcome::Cancelled,
        Outcome::InTransfer,
        Outcome::BackingOff,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Refused => "refused",
            Outcome::TimedOut => "timed-out",
            Outcome::Expired => "expired",
            Outcome::Queued => "queued",
            Outcome::Running => "running",
            Outcome::Failed => "failed",
            Outcome::Lost => "lost",
            Outcome::Cancelled => "cancelled",
            Outcome::InTransfer => "in-transfer",
            Outcome::BackingOff => "backing-off",
        }
    }
}

/// Names of the reasons for a refusal that do not come from a limit of the scenario, by their number.
pub const BUILT_IN: [&str; 7] = [
    "queue-full",
    "context-length",
    "no-endpoint",
    "conflict",
    "no-replica",
    "invalid-input-file",
    "unattributed",
];
/// The gateway's queue was full.
pub const QUEUE_FULL: u16 = 0;
/// Prompt (plus `max_tokens`, when declared) does not fit the model's context.
pub const CONTEXT_LENGTH: u16 = 1;
/// The endpoint does not exist, is stopped or not ready.
pub const NO_ENDPOINT: u16 = 2;
/// An operation that does not fit the state of what it is about: another change of the endpoint is under way, it is
/// stopped (or runs) already, a limit is no lower than what it is to be raised to.
pub const CONFLICT: u16 = 3;
/// No pool that may serve it has a replica that the router believes in.
pub const NO_REPLICA: u16 = 4;
/// The file of a batch job is not of the form that it must have, whatever the limits.
pub const INVALID_INPUT_FILE: u16 = 5;
/// A gateway that is no simulation said no, and not which of the limits it was.
pub const UNATTRIBUTED: u16 = 6;

/// Why a request or an operation was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`BUILT_IN`], or after those the index of a limit of the scenario.
    pub reason: u16,
    /// The limit's counter.
    pub key: u32,
    /// The limit.
    pub limit: u64,
    /// What was in use, or the size that was too large.
    pub current: u64,
    /// Exact time until it would be let in, absent other traffic and refunds; `None` when time alone does not heal it.
    pub retry_after: Option<Span>,
}

impl Refusal {
    /// A refusal that has nothing but its reason.
    pub fn plain(reason: u16) -> Self {
        Refusal { reason, key: 0, limit: 0, current: 0, retry_after: None }
    }
}

/// A request that is over: its whole timeline.
///
/// Server-side times are measured at the gateway: `arrived` is when the request reached it. The parts of the
/// latency budget sum exactly to `ended - arrived` ([`Finished::budget`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused or failed, when it was.
    pub refusal: Option<Refusal>,
    /// The request as the gateway saw it.
    pub head: RequestHead,
    /// Tokens it was to produce (after clipping to the context).
    pub output_tokens: u32,
    /// Tokens delivered.
    pub generated: u32,
    /// Prompt tokens found in the prefix cache when first scheduled.
    pub cached_tokens: u32,
    /// Times it was preempted.
    pub preemptions: u32,
    /// Pool that served it.
    pub pool: PoolId,
    /// Replica that served it, when it reached one.
    pub replica: Option<ReplicaId>,
    /// When the client sent it.
    pub sent: Time,
    /// When it reached the gateway.
    pub arrived: Time,
    /// When the service's overhead was over and it was ready to queue; `arrived` when there is none.
    pub ready: Time,
    /// When it left the gateway's queue for a replica.
    pub dispatched: Option<Time>,
    /// Start of the first step it took part in.
    pub scheduled: Option<Time>,
    /// When its first token was out.
    pub first_token: Option<Time>,
    /// When its last delivered token was out.
    pub last_token: Option<Time>,
    /// When it was over, at the gateway.
    pub ended: Time,
    /// Time lost to preemption: from losing the KV cache to the end of the recomputed prefill.
    pub preempted: Span,
    /// The part of `preempted` that fell before the first token.
    pub preempted_before_first: Span,
    /// From its first token to its joining a batch of the pool that decodes, where another pool processes prompts.
    pub transfer: Span,
    /// Which attempt of its client it was, from 0; hedges count.
    pub attempt: u16,
    /// Time by which the steps it was in were longer because of batch tokens in them, by the step law.
    pub beside: Span,
}

/// A request that is over for its client, whatever attempts it took: of workloads whose clients try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The attempt that decided it. For [`Outcome::BackingOff`] the last one there was.
    pub last: Finished,
    /// How it ended; that of `last`, but for [`Outcome::BackingOff`].
    pub outcome: Outcome,
    /// When its first attempt reached the gateway.
    pub arrived: Time,
    /// When it was over, at the gateway.
    pub ended: Time,
    /// Attempts that reached the gateway, at least 1.
    pub attempts: u32,
    /// Those of them that were hedges.
    pub hedges: u32,
    /// Output tokens of attempts that its client had no use for.
    pub wasted_tokens: u64,
}

impl Settled {
    /// From the first attempt's arrival to the end.
    pub fn e2e(&self) -> Span {
        self.ended - self.arrived
    }

    /// From the first attempt's arrival to the first token of the last attempt.
    pub fn ttft(&self) -> Option<Span> {
        self.last.first_token.map(|at| at - self.arrived)
    }

    /// Where the time went: that of the last attempt, and everything before it. Sums exactly to [`Settled::e2e`].
    pub fn budget(&self) -> Budget {
        Budget { earlier_attempts: self.e2e() - self.last.budget().total(), ..self.last.budget() }
    }
}

/// Where the time of a request went. The parts sum exactly to the end-to-end latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Earlier attempts, and the pauses of the client between them.
    pub earlier_attempts: Span,
    /// Added by the service before the queue.
    pub overhead: Span,
    /// Waiting in the gateway's queue.
    pub gateway_queue: Span,
    /// Waiting on the replica before its first step.
    pub engine_queue: Span,
    /// From its first step to its first token, preemption excluded.
    pub prefill: Span,
    /// Its KV cache on the way to the pool that decodes, and waiting there.
    pub transfer: Span,
    /// From its first token (or from joining the batch that decodes it) to its end, preemption excluded.
    pub decode: Span,
    /// Lost to preemption, or to the failure of a replica.
    pub preemption: Span,
}

impl Budget {
    /// The sum of the parts: the end-to-end latency.
    pub fn total(&self) -> Span {
        self.earlier_attempts
            + self.overhead
            + self.gateway_queue
            + self.engine_queue
            + self.prefill
            + self.transfer
            + self.decode
            + self.preemption
    }
}

impl Finished {
    /// Server-side end-to-end latency.
    pub fn e2e(&self) -> Span {
        self.ended - self.arrived
    }

    /// Time to first token, server side.
    pub fn ttft(&self) -> Option<Span> {
        self.first_token.map(|at| at - self.arrived)
    }

    /// Where the time went. The parts sum exactly to [`Finished::e2e`].
    pub fn budget(&self) -> Budget {
        let until = |at: Option<Time>| at.unwrap_or(self.ended);
        // A client may give up before the overhead is over.
        let ready = self.ready.min(self.ended);
        let overhead = ready - self.arrived;
        let Some(dispatched) = self.dispatched else {
            // It may have been on a replica that failed before its first step.
            return Budget { overhead, gateway_queue: self.ended - ready, ..Budget::default() };
        };
        let gateway_queue = dispatched - ready;
        let engine_queue = until(self.scheduled) - dispatched;
        let Some(scheduled) = self.scheduled else {
            return Budget { overhead, gateway_queue, engine_queue, ..Budget::default() };
        };
        let first = until(self.first_token);
        Budget {
            earlier_attempts: Span::ZERO,
            overhead,
            gateway_queue,
            engine_queue,
            prefill: first - scheduled - self.preempted_before_first,
            transfer: self.transfer,
            decode: self.ended - first - (self.preempted - self.preempted_before_first) - self.transfer,
            preemption: self.preempted,
        }
    }

    /// Mean time per output token after the first, in whole nanoseconds (rounded down); needs two tokens.
    pub fn tpot(&self) -> Option<Span> {
        let (first, last) = (self.first_token?, self.last_token?);
        (self.generated >= 2).then(|| (last - first) / u64::from(self.generated - 1))
    }
}
