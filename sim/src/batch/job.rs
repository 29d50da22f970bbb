//! A job: its state, and what has become of its requests.

use crate::observe::{JobCounts, JobFact, JobState};
use crate::request::Refusal;
use crate::scenario::batch::JobFault;
use crate::time::{Span, Time};
use crate::workload::jobs::JobDraws;

/// Index of a job among those that are not over; reused.
pub type JobId = u32;

/// A job that is not over.
#[derive(Clone, Debug)]
pub struct Job {
    /// Index of its batch.
    pub batch: u16,
    /// Its number in the batch.
    pub number: u32,
    /// Its account, numbered over the whole scenario.
    pub owner: u32,
    /// The state it is in.
    pub state: JobState,
    /// When it was submitted.
    pub created: Time,
    /// When its window closes.
    pub expires: Time,
    /// Its requests, and what has become of them.
    pub counts: JobCounts,
    /// Requests on replicas, or come back from one.
    pub in_flight: u32,
    /// Tokens that the quota counts of it in all.
    pub tokens: u64,
    /// Those it has not given back yet.
    pub held: u64,
    /// Its requests, as far as they are not drawn.
    pub draws: JobDraws,
    /// Order of submission among all jobs of the run.
    pub order: u64,
    /// What is wrong with its file; known when it has been checked.
    pub fault: Option<JobFault>,
    /// When it began to be worked on elsewhere, and how long that takes.
    pub upstream: Option<(Time, Span)>,
}

/// How a request of a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered.
    Completed,
    /// In an error.
    Failed,
    /// Not done when the window closed.
    Expired,
    /// Not done when the job was cancelled.
    Cancelled,
}

impl Job {
    /// Requests that have neither ended nor been drawn.
    pub fn undrawn(&self) -> u32 {
        self.counts.total - self.ended() - self.in_flight
    }

    /// Requests that have ended.
    pub fn ended(&self) -> u32 {
        let JobCounts { completed, failed, expired, cancelled, .. } = self.counts;
        completed + failed + expired + cancelled
    }

    /// Whether its requests may be sent.
    pub fn is_served(&self) -> bool {
        self.state == JobState::InProgress
    }

    /// `count` requests have ended in this way.
    pub fn end(&mut self, fate: Fate, count: u32) {
        let counted = match fate {
            Fate::Completed => &mut self.counts.completed,
            Fate::Failed => &mut self.counts.failed,
            Fate::Expired => &mut self.counts.expired,
            Fate::Cancelled => &mut self.counts.cancelled,
        };
        *counted += count;
        assert!(
            self.ended() + self.in_flight <= self.counts.total,
            "job {}: {} requests have ended and {} are in flight, of {}",
            self.number,
            self.ended(),
            self.in_flight,
            self.counts.total
        );
    }

    /// Requests that were over at `now` where it is worked on elsewhere: they end evenly spread over the whole time.
    pub fn done_upstream(&self, now: Time) -> u32 {
        let Some((since, takes)) = self.upstream else { return 0 };
        let total = u128::from(self.counts.total);
        let passed = u128::from(now.saturating_since(since).as_nanos());
        let done = (passed * total).checked_div(u128::from(takes.as_nanos())).unwrap_or(total);
        u32::try_from(done.min(total)).expect("at most the requests there are")
    }

    /// What is told of it now.
    pub fn fact(&self, enqueued: u64, refusal: Option<Refusal>, line: u32) -> JobFact {
        JobFact {
            batch: self.batch,
            job: self.number,
            owner: self.owner,
            state: self.state,
            created: self.created,
            expires: self.expires,
            requests: self.counts,
            tokens: self.tokens,
            enqueued,
            refusal,
            line,
        }
    }
}
