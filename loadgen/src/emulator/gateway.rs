//! The handle that request handlers hold: it sends inputs to the thread of the engine and hears what became of them.

use super::ear::{self, Ear, Mouth};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use tidegate_sim::observe::{JobFact, PoolSample};
use tidegate_sim::request::{Finished, WorkloadId};
use tidegate_sim::scenario::Scenario;
use tidegate_sim::scenario::batch::Submission;
use tokio::sync::{mpsc, oneshot};

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The workload that its key belongs to.
    pub workload: WorkloadId,
    /// The tenant inside it.
    pub tenant: u32,
    /// Prompt length, tokens, at least 1.
    pub prompt_tokens: u32,
    /// The declared limit of the output.
    pub max_tokens: Option<u32>,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Output tokens that the request insists on, as far as `max_tokens` lets it (`min_tokens`; all of `max_tokens` with
    /// `ignore_eos`): it gets no fewer. A mark goes before it.
    pub forced_output: Option<u32>,
    /// Which request of the scenario it is, when it says so.
    pub mark: Option<Mark>,
    /// Identity of the conversation or prefix that its prompt repeats; 0 for none.
    pub own_prefix: u64,
}

/// Which request of a scenario a request on the wire is: the headers `x-tidegate-session`, `x-tidegate-turn` and
/// `x-tidegate-replication`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Its replication, from 0: which seed it was drawn under.
    pub replication: u32,
    /// Its session. An independent request is its own: its position in the schedule of its workload, from 0.
    pub session: u64,
    /// Turn of the session, from 0.
    pub turn: u32,
}

/// What a handler hears of its request, in this order: `Admitted` at most once, `Tokens` any number of times and ever more,
/// `Done` once. Who listens too late for some of the tokens hears of the latest.
#[derive(Clone, Debug)]
pub enum Told {
    /// Every limit let it in.
    Admitted,
    /// It has so many tokens by now.
    Tokens(u32),
    /// It is over; the rest of its tokens, if it has any, is in there.
    Done(Box<Finished>),
}

/// A request in the engine. Dropping it before [`Told::Done`] hangs up.
#[derive(Debug)]
pub struct Pending {
    pub(super) ear: Ear,
    /// Number of the request in its workload, from 0.
    pub(super) key: (WorkloadId, u64),
    pub(super) inbox: mpsc::UnboundedSender<Message>,
    pub(super) over: bool,
}

/// What became of one line of a batch job.
#[derive(Clone, Debug)]
pub struct LineDone {
    /// The batch.
    pub batch: u16,
    /// The job.
    pub job: u32,
    /// The line, from 0.
    pub line: u32,
    /// How it ended.
    pub done: Finished,
}

/// What is told of a batch job.
#[derive(Clone, Debug)]
pub enum JobTold {
    /// It is in another state, or more of its requests have ended.
    State(JobFact),
    /// A request of it has ended.
    Line(LineDone),
}

/// A job that was handed in.
#[derive(Debug)]
pub struct JobHandle {
    /// Its number in its batch.
    pub number: u32,
    /// What is told of it, the first state included; ends when it is over.
    pub told: mpsc::UnboundedReceiver<JobTold>,
}

/// Numbers for `/metrics`, by pool and by workload.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// The latest sample of each pool.
    pub pools: Vec<PoolSample>,
    /// By workload.
    pub workloads: Vec<WorkloadGauge>,
    /// How late the engine handled events, nanoseconds: the latest, and the most so far.
    pub lag_ns: u64,
    /// See `lag_ns`.
    pub lag_most_ns: u64,
}

/// Counters of a workload since the start.
#[derive(Clone, Debug, Default)]
pub struct WorkloadGauge {
    /// Requests that reached the gateway.
    pub offered: u64,
    /// How they ended, by number of [`tidegate_sim::request::Outcome`].
    pub outcomes: [u64; 11],
    /// Refusals by number of their reason.
    pub refusals: Vec<u64>,
    /// Prompt tokens of completed requests.
    pub prompt_tokens: u64,
    /// Output tokens that were delivered.
    pub output_tokens: u64,
    /// Sums and counts of TTFT and E2E of completed requests, seconds, with cumulative buckets of [`BUCKETS`].
    pub ttft: Buckets,
    /// As `ttft`.
    pub e2e: Buckets,
}

/// Upper bounds of the buckets of latencies, seconds.
pub const BUCKETS: [f64; 14] =
    [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A histogram of `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Observations at or below each bound of [`BUCKETS`].
    pub below: [u64; 14],
    /// All observations.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
}

/// What goes to the engine's thread.
#[derive(Debug)]
pub(super) enum Message {
    /// A request.
    Ask(Ask, Mouth, u64),
    /// A hang-up.
    HangUp(WorkloadId, u64),
    /// A job.
    Job(u16, Submission, oneshot::Sender<JobHandle>),
    /// The end of a job.
    CancelJob(u16, u32),
    /// A question for numbers.
    Gauges(oneshot::Sender<Gauges>),
    /// The end.
    Stop,
}

/// The engine behind a running emulator. Cheap to clone; handlers hold nothing else.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(super) scenario: Arc<Scenario>,
    pub(super) inbox: mpsc::UnboundedSender<Message>,
    pub(super) numbers: Arc<Vec<std::sync::atomic::AtomicU64>>,
}

/// The engine has stopped: the emulator is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the emulator is shutting down")]
pub struct Stopped;

impl Gateway {
    /// The gateway as it is emulated ([`Scenario::gateway`]).
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Hands a request to the engine. It reaches the gateway as soon as the engine's thread takes it.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn ask(&self, ask: Ask) -> Result<Pending, Stopped> {
        let (mouth, ear) = ear::pair();
        let workload = ask.workload;
        let number = self.numbers[usize::from(workload)].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.inbox.send(Message::Ask(ask, mouth, number)).map_err(|_| Stopped)?;
        Ok(Pending { ear, key: (workload, number), inbox: self.inbox.clone(), over: false })
    }

    /// Submits a job to a batch of the scenario.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn submit(&self, batch: u16, job: Submission) -> Result<JobHandle, Stopped> {
        let (reply, handle) = oneshot::channel();
        self.inbox.send(Message::Job(batch, job, reply)).map_err(|_| Stopped)?;
        handle.await.map_err(|_| Stopped)
    }

    /// Cancels a job; nothing happens when it is over.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn cancel_job(&self, batch: u16, job: u32) -> Result<(), Stopped> {
        self.inbox.send(Message::CancelJob(batch, job)).map_err(|_| Stopped)
    }

    /// Numbers for `/metrics`.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn gauges(&self) -> Result<Gauges, Stopped> {
        let (reply, gauges) = oneshot::channel();
        self.inbox.send(Message::Gauges(reply)).map_err(|_| Stopped)?;
        gauges.await.map_err(|_| Stopped)
    }
}

impl Pending {
    /// The next thing it hears; `None` when the engine has stopped before the end.
    pub async fn next(&mut self) -> Option<Told> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Pending::next`], for bodies that are polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let told = self.ear.poll(cx);
        self.over |= matches!(told, Poll::Ready(Some(Told::Done(_)) | None));
        told
    }

    /// Number of the request in its workload, from 0, in the order in which requests came: the same again in a replay.
    pub fn number(&self) -> u64 {
        self.key.1
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            // An engine that has stopped has nothing to cancel.
            let _ = self.inbox.send(Message::HangUp(self.key.0, self.key.1));
        }
    }
}
