//! How clients behave when an answer does not come: time-outs, retries, hedges.

use crate::request::Outcome;
use crate::time::Span;

/// What the client of a workload does beyond sending.
///
/// One *request* of a client is one or more *attempts* at the gateway. Patience ([`super::Workload::patience`]) is of
/// an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// When it tries again; `None`: never.
    pub retry: Option<Retry>,
    /// When it sends a second attempt beside the first; `None`: never.
    pub hedge: Option<Hedge>,
    /// Whether the gateway does not learn that a client gave up, so that the work goes on.
    pub deaf: bool,
}

impl Client {
    /// Whether a request can be more than one attempt, or outlive its client.
    pub fn is_plain(&self) -> bool {
        self.retry.is_none() && self.hedge.is_none() && !self.deaf
    }
}

/// When and how often a client tries again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Most attempts after the first.
    pub most: u32,
    /// Pause before the first retry.
    pub base: Span,
    /// Each further pause is this many times as long, thousandths; at least 1,000.
    pub factor: u32,
    /// Longest pause.
    pub cap: Span,
    /// How pauses are spread.
    pub jitter: Jitter,
    /// Whether an announced time is waited for (the longer of it and the pause).
    pub honour_retry_after: bool,
    /// Shared by all clients of the workload; `None`: no bound.
    pub budget: Option<Budget>,
    /// What is tried again.
    pub on: Vec<Outcome>,
    /// No attempt begins later than this after the first; `None`: no bound.
    pub within: Option<Span>,
}

/// How pauses are spread. Source of the names: Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Uniform from zero to the pause.
    Full,
    /// Half the pause, and uniform up to the whole.
    Equal,
}

/// A budget of retries: every request pays in a share of one, every retry takes one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What a request pays in, thousandths of a retry.
    pub ratio: u32,
    /// Most retries it can hold, and what it holds at the start.
    pub burst: u32,
}

/// A second attempt beside the first; the first to complete wins, the others are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// Sent when an attempt has no first token (on a `slots` pool: no answer) after this time.
    pub after: Span,
    /// Most hedges of a request.
    pub most: u32,
}
