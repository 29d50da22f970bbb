//! What an engine tells: facts, pushed to a sink that never answers.
//!
//! An [`Observer`] cannot influence a run: the same scenario gives the same events with and without one. All
//! methods default to doing nothing and are dispatched statically, so that an unused fact costs nothing.

pub mod attempts;
pub mod bill;
mod counted;
pub mod decisions;
pub mod fleet_log;
pub mod hist;
pub mod jobs;
pub mod line;
pub mod recorder;
pub mod recording;
pub mod request_log;
pub mod scale;
#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
pub mod timeline;

pub use crate::scenario::batch::JobState;
pub use line::StepLine;

use crate::limits::Usage;
use crate::request::{Finished, PoolId, Refusal, ReplicaId, RequestHead, Settled, WorkloadId};
use crate::time::{Span, Time};

/// Steps of one replica, back to back, with a constant batch.
///
/// On a `slots` replica: a stretch of time with a constant number of busy servers, as one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// Which pool.
    pub pool: PoolId,
    /// Which replica of it.
    pub replica: ReplicaId,
    /// When the first of the steps began.
    pub start: Time,
    /// When the last but one ended (`start` when there is one step).
    pub last_start: Time,
    /// When the last ended.
    pub end: Time,
    /// How many steps, at least 1.
    pub steps: u64,
    /// Units of the replica's capacity that were busy: 1 on an `llm` replica, busy servers on a `slots` replica.
    pub busy: u32,
    /// Sequences that decode one token in each step (0 on a `slots` replica).
    pub decodes: u32,
    /// Prompt tokens processed (only ever in a run of one step).
    pub prefill_tokens: u32,
    /// Tokens in the KV cache of the sequences that decode, before the first step; `decodes` more in every later one.
    pub context_tokens: u64,
    /// Steps whose shape lay outside the range in which the step law was measured.
    pub outside_range: u64,
}

/// Token gaps (inter-token latencies) of `count` sequences over consecutive steps.
///
/// Gap `i` (from 0) is `first` when `i == 0`, else the length of step `i` of the run, which is
/// `floor((a + b*i) / femtos_per_quantum) * quantum`: see [`GapRun::gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRun {
    /// Workload of the sequences.
    pub workload: WorkloadId,
    /// Pool that they are decoded in.
    pub pool: PoolId,
    /// Sequences that got a token at the end of every step of the run.
    pub count: u32,
    /// The first gap, which may reach back beyond the run (a pause, a preemption).
    pub first: Span,
    /// Steps in the run, at least 1.
    pub steps: u64,
    /// Step lengths in femtoseconds: step `i` takes `a + b*i` before rounding.
    pub line: StepLine,
    /// When the first token of the run was out.
    pub first_end: Time,
    /// When the last token but one was out (`first_end` when `steps < 3`).
    pub last_start: Time,
    /// When the last token of the run was out.
    pub end: Time,
}

impl GapRun {
    /// Gap `i`, `i < steps`.
    pub fn gap(&self, i: u64) -> Span {
        if i == 0 { self.first } else { self.line.step(i) }
    }
}

/// State of one pool at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSample {
    /// Requests in the gateway's queue.
    pub gateway_queue: u32,
    /// Requests waiting on replicas.
    pub waiting: u32,
    /// Requests that are part of a running batch (or in service).
    pub running: u32,
    /// KV blocks in use, over all replicas.
    pub kv_blocks_used: u64,
    /// KV blocks there are, over all replicas (0 on a `slots` pool).
    pub kv_blocks_total: u64,
    /// Sequence slots (or servers) there are, over all replicas.
    pub slots_total: u64,
    /// Batch requests among those that wait on replicas or run.
    pub batch: u32,
}

/// A batch job is in another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFact {
    /// Index of its batch in the scenario.
    pub batch: u16,
    /// Its number in the batch, from 0, in order of submission.
    pub job: u32,
    /// Its account, numbered over the whole scenario.
    pub owner: u32,
    /// The state it is in now.
    pub state: JobState,
    /// When it was submitted.
    pub created: Time,
    /// When its window closes.
    pub expires: Time,
    /// Its requests, and what has become of them.
    pub requests: JobCounts,
    /// Tokens that it enqueued: what the quota counts of it, given back or not.
    pub tokens: u64,
    /// Tokens that its account has enqueued for its model now.
    pub enqueued: u64,
    /// Why it failed or was refused, when it was.
    pub refusal: Option<Refusal>,
    /// Line of its file that this is about, from 1; 0 when it is about none.
    pub line: u32,
}

/// Requests of a job, and what has become of them. What is in none of the others has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// All of them.
    pub total: u32,
    /// Answered.
    pub completed: u32,
    /// Ended in an error, other than the two below.
    pub failed: u32,
    /// Not done when the window closed.
    pub expired: u32,
    /// Not done when the job was cancelled.
    pub cancelled: u32,
}

/// How many replicas a pool has now, and why that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleChange {
    /// Replicas that serve.
    pub ready: u16,
    /// Replicas that are starting.
    pub starting: u16,
    /// Replicas that finish what they hold and then stop.
    pub draining: u16,
    /// Replicas that failed and are not back.
    pub down: u16,
    /// Replicas that the autoscaler wants; the fixed number without one.
    pub wanted: u16,
    /// What happened.
    pub cause: ScaleCause,
}

/// Why the number of replicas changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleCause {
    /// The run starts.
    Start,
    /// The autoscaler wants another number.
    Decision,
    /// A request came and nothing could serve it.
    Activation,
    /// A replica that was starting serves.
    Ready,
    /// A replica that was draining is empty and gone.
    Drained,
    /// A replica failed.
    Failure,
    /// What had failed is back.
    Repair,
    /// Its GPUs were given to another pool.
    Yielded,
}

impl ScaleCause {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            ScaleCause::Start => "start",
            ScaleCause::Decision => "decision",
            ScaleCause::Activation => "activation",
            ScaleCause::Ready => "ready",
            ScaleCause::Drained => "drained",
            ScaleCause::Failure => "failure",
            ScaleCause::Repair => "repair",
            ScaleCause::Yielded => "yielded",
        }
    }
}

/// Something failed or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultFact {
    /// The pool it concerns, when it is about one replica.
    pub pool: PoolId,
    /// The replica.
    pub replica: ReplicaId,
    /// Whether it is back (or as fast as before).
    pub over: bool,
    /// Thousandths of their time that steps take; 0 when the replica is down.
    pub slow: u32,
    /// Requests that were on it and are lost.
    pub lost: u32,
    /// Requests that were on it and go elsewhere.
    pub moved: u32,
}

/// A sink for what happens in a run.
#[allow(unused_variables)]
pub trait Observer {
    /// A request reached the gateway.
    fn offered(&mut self, now: Time, head: &RequestHead) {}
    /// Every limit let a request in.
    fn admitted(&mut self, now: Time, head: &RequestHead) {}
    /// Call `number` (from 0) of an operation was answered.
    fn operated(&mut self, now: Time, operation: usize, number: u64, verdict: Result<(), Refusal>) {}
    /// A request broke a limit that refuses nothing: the overhead was too long, or a gate ignored what it asked for.
    fn violated(&mut self, now: Time, limit: usize, head: &RequestHead) {}
    /// What a limit did in the whole run. Called once for each limit that counts, at the end.
    fn metered(&mut self, limit: usize, usage: &Usage) {}
    /// A request left the gateway's queue for a replica.
    fn dispatched(&mut self, now: Time, head: &RequestHead, pool: PoolId, replica: ReplicaId) {}
    /// A request got its first token in `pool`, `ttft` after it reached the gateway.
    fn first_token(&mut self, now: Time, workload: WorkloadId, pool: PoolId, ttft: Span) {}
    /// Tokens after the first came out.
    fn gaps(&mut self, run: &GapRun) {}
    /// A replica worked.
    fn worked(&mut self, run: &StepRun) {}
    /// A request is over. Called exactly once for every request that was offered; where clients try again, for every
    /// attempt.
    fn finished(&mut self, done: &Finished) {}
    /// A request is over for its client. Called only for workloads whose clients may try again or do not hang up,
    /// exactly once for each of their requests, after `finished` of its last attempt.
    fn settled(&mut self, settled: &Settled) {}
    /// The number of replicas of a pool changed: `ready` serve, `starting` will. Told for every pool at the start.
    fn scaled(&mut self, now: Time, pool: PoolId, change: &ScaleChange) {}
    /// A replica, node or zone failed, slowed down or came back.
    fn failed(&mut self, now: Time, fault: &FaultFact) {}
    /// A batch job was submitted, or is in another state. At the end of a run jobs that are not over are told once more,
    /// with the state they are in.
    fn job(&mut self, now: Time, job: &JobFact) {}
    /// The request of line `line` (from 0) of a job is about to be sent for the first time.
    fn job_request(&mut self, batch: u16, job: u32, line: u32, head: &RequestHead) {}
    /// A request has received `tokens` tokens so far. Only of requests that came from outside (see
    /// [`crate::engine::live`]), and not of the last token, which comes with the end.
    fn token(&mut self, now: Time, head: &RequestHead, tokens: u32) {}
    /// The state of `pool` at the end of a timeline bin (or at the end of the run).
    fn sampled(&mut self, now: Time, pool: PoolId, sample: &PoolSample) {}
}

/// The observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Observer for Nobody {}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        self.0.offered(now, head);
        self.1.offered(now, head);
    }
    fn admitted(&mut self, now: Time, head: &RequestHead) {
        self.0.admitted(now, head);
        self.1.admitted(now, head);
    }
    fn operated(&mut self, now: Time, operation: usize, number: u64, verdict: Result<(), Refusal>) {
        self.0.operated(now, operation, number, verdict);
        self.1.operated(now, operation, number, verdict);
    }
    fn violated(&mut self, now: Time, limit: usize, head: &RequestHead) {
        self.0.violated(now, limit, head);
        self.1.violated(now, limit, head);
    }
    fn metered(&mut self, limit: usize, usage: &Usage) {
        self.0.metered(limit, usage);
        self.1.metered(limit, usage);
    }
    fn dispatched(&mut self, now: Time, head: &RequestHead, pool: PoolId, replica: ReplicaId) {
        self.0.dispatched(now, head, pool, replica);
        self.1.dispatched(now, head, pool, replica);
    }
    fn first_token(&mut self, now: Time, workload: WorkloadId, pool: PoolId, ttft: Span) {
        self.0.first_token(now, workload, pool, ttft);
        self.1.first_token(now, workload, pool, ttft);
    }
    fn gaps(&mut self, run: &GapRun) {
        self.0.gaps(run);
        self.1.gaps(run);
    }
    fn worked(&mut self, run: &StepRun) {
        self.0.worked(run);
        self.1.worked(run);
    }
    fn finished(&mut self, done: &Finished) {
        self.0.finished(done);
        self.1.finished(done);
    }
    fn settled(&mut self, settled: &Settled) {
        self.0.settled(settled);
        self.1.settled(settled);
    }
    fn scaled(&mut self, now: Time, pool: PoolId, change: &ScaleChange) {
        self.0.scaled(now, pool, change);
        self.1.scaled(now, pool, change);
    }
    fn failed(&mut self, now: Time, fault: &FaultFact) {
        self.0.failed(now, fault);
        self.1.failed(now, fault);
    }
    fn job(&mut self, now: Time, job: &JobFact) {
        self.0.job(now, job);
        self.1.job(now, job);
    }
    fn job_request(&mut self, batch: u16, job: u32, line: u32, head: &RequestHead) {
        self.0.job_request(batch, job, line, head);
        self.1.job_request(batch, job, line, head);
    }
    fn token(&mut self, now: Time, head: &RequestHead, tokens: u32) {
        self.0.token(now, head, tokens);
        self.1.token(now, head, tokens);
    }
    fn sampled(&mut self, now: Time, pool: PoolId, sample: &PoolSample) {
        self.0.sampled(now, pool, sample);
        self.1.sampled(now, pool, sample);
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn offered(&mut self, now: Time, head: &RequestHead) {
        (**self).offered(now, head);
    }
    fn admitted(&mut self, now: Time, head: &RequestHead) {
        (**self).admitted(now, head);
    }
    fn operated(&mut self, now: Time, operation: usize, number: u64, verdict: Result<(), Refusal>) {
        (**self).operated(now, operation, number, verdict);
    }
    fn violated(&mut self, now: Time, limit: usize, head: &RequestHead) {
        (**self).violated(now, limit, head);
    }
    fn metered(&mut self, limit: usize, usage: &Usage) {
        (**self).metered(limit, usage);
    }
    fn dispatched(&mut self, now: Time, head: &RequestHead, pool: PoolId, replica: ReplicaId) {
        (**self).dispatched(now, head, pool, replica);
    }
    fn first_token(&mut self, now: Time, workload: WorkloadId, pool: PoolId, ttft: Span) {
        (**self).first_token(now, workload, pool, ttft);
    }
    fn gaps(&mut self, run: &GapRun) {
        (**self).gaps(run);
    }
    fn worked(&mut self, run: &StepRun) {
        (**self).worked(run);
    }
    fn finished(&mut self, done: &Finished) {
        (**self).finished(done);
    }
    fn settled(&mut self, settled: &Settled) {
        (**self).settled(settled);
    }
    fn scaled(&mut self, now: Time, pool: PoolId, change: &ScaleChange) {
        (**self).scaled(now, pool, change);
    }
    fn failed(&mut self, now: Time, fault: &FaultFact) {
        (**self).failed(now, fault);
    }
    fn job(&mut self, now: Time, job: &JobFact) {
        (**self).job(now, job);
    }
    fn job_request(&mut self, batch: u16, job: u32, line: u32, head: &RequestHead) {
        (**self).job_request(batch, job, line, head);
    }
    fn token(&mut self, now: Time, head: &RequestHead, tokens: u32) {
        (**self).token(now, head, tokens);
    }
    fn sampled(&mut self, now: Time, pool: PoolId, sample: &PoolSample) {
        (**self).sampled(now, pool, sample);
    }
}
