//! How a limit is probed.

use tidegate_sim::profile::Unit;
use tidegate_sim::time::Span;

/// How a limit is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// As many requests at once as fit, and one more, inside one window.
    Volley(Rate),
    /// Requests of known sizes until exactly the documented number of units is used, and one unit more.
    Weigh {
        /// The rate.
        rate: Rate,
        /// What is counted.
        unit: Unit,
        /// Most units that one request can have.
        most: u64,
    },
    /// A request that reserves all output tokens of a window, and one that reserves one more.
    Reserve(Rate),
    /// Requests that stay in flight, and one more.
    Hold {
        /// Most in flight.
        limit: u64,
        /// Whether those that are let in may wait without a word.
        queued: bool,
        /// Output tokens that each asks for, to stay.
        tokens: u64,
    },
    /// Requests that have exactly a number of something, and one more or one less.
    Edge {
        /// Of what.
        what: Amount,
        /// What is allowed at most (at least, with `upper` false).
        bound: u64,
        /// Whether the bound is an upper one.
        upper: bool,
    },
    /// A request that must be refused.
    Gate(GateCall),
    /// A job that must be refused or fail.
    Job(JobCall),
}

/// A rate, as far as a probe needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in a window; what a bucket holds is `burst`.
    pub limit: u64,
    /// Length of the window.
    pub window: Span,
    /// What a token bucket holds; `None` for logs and fixed windows.
    pub burst: Option<u64>,
    /// Whether a window slides.
    pub slides: bool,
    /// Whether refused requests count.
    pub counts_refused: bool,
    /// Most requests that other limits let in at once.
    pub at_once: u64,
    /// How long to wait before as many more may be sent; zero when no other limit counts.
    pub pace: Span,
    /// Whether it is of the control plane.
    pub control: bool,
}

impl Rate {
    /// What is counted out: the bucket, or the limit of a window.
    pub fn count(&self) -> u64 {
        self.burst.unwrap_or(self.limit)
    }
}

/// What a request can have a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes of its body.
    Body,
    /// Messages.
    Messages,
    /// Stop sequences.
    Stops,
    /// Completions asked for.
    Choices,
    /// Prompt tokens, with one token of output.
    Prompt,
}

/// A request that must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateCall {
    /// A key that nobody has.
    BadKey,
    /// A model that nobody has.
    BadModel,
    /// A tool that is no function.
    BadTool,
}

/// A batch job that must be refused or fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobCall {
    /// Meant for another provider.
    Provider,
    /// For an endpoint that is not allowed.
    Endpoint(&'static str),
    /// With another completion window.
    Window,
    /// A line with an image.
    Image,
    /// A line that names this model.
    Model(String),
    /// Two lines that name two models.
    Models(String),
    /// A file of one line more than allowed; as many as allowed are tried, too, when `both`.
    Lines {
        /// Lines that are allowed.
        most: u64,
        /// Whether a file at the edge is handed in, and cancelled when it is taken.
        both: bool,
    },
    /// A file of one byte more than allowed.
    Bytes {
        /// Bytes that are allowed.
        most: u64,
        /// As in [`JobCall::Lines`].
        both: bool,
    },
}

impl Method {
    /// The window that it fills.
    pub fn window(&self) -> Option<Span> {
        match self {
            Method::Volley(rate) | Method::Weigh { rate, .. } | Method::Reserve(rate) => Some(rate.window),
            Method::Hold { .. } | Method::Edge { .. } | Method::Gate(_) | Method::Job(_) => None,
        }
    }

    /// What is done, in a few words.
    pub fn text(&self) -> String {
        match self {
            Method::Volley(rate) => format!("{} requests in one window, one is refused", rate.count() + 1),
            Method::Weigh { rate, unit, .. } => {
                format!("{} {} in one window, one more is refused", rate.count(), unit.name())
            }
            Method::Reserve(rate) => {
                format!("a request that reserves {} output tokens, and one of one more", rate.count())
            }
            Method::Hold { limit, .. } => format!("{} requests in flight, one more is refused", limit),
            Method::Edge { what, bound, upper } => {
                let beyond = if *upper { bound + 1 } else { bound.saturating_sub(1) };
                format!("requests of {bound} and {beyond} {}", what.name())
            }
            Method::Gate(call) => match call {
                GateCall::BadKey => "a request with a key that nobody has".to_owned(),
                GateCall::BadModel => "a request for a model that nobody has".to_owned(),
                GateCall::BadTool => "a request with a tool that is no function".to_owned(),
            },
            Method::Job(call) => match call {
                JobCall::Provider => "a job for another provider".to_owned(),
                JobCall::Endpoint(path) => format!("a job for `{path}`"),
                JobCall::Window => "a job with a window of 48h".to_owned(),
                JobCall::Image => "a job of one line with an image".to_owned(),
                JobCall::Model(model) => format!("a job of one line for `{model}`"),
                JobCall::Models(other) => format!("a job of two lines, one for `{other}`"),
                JobCall::Lines { most, both: false } => format!("a file of {} lines", most + 1),
                JobCall::Lines { most, both: true } => format!("files of {most} and {} lines", most + 1),
                JobCall::Bytes { most, both: false } => format!("a file of {} bytes", most + 1),
                JobCall::Bytes { most, both: true } => format!("files of {most} and {} bytes", most + 1),
            },
        }
    }
}

impl Amount {
    /// Of what, in words.
    pub fn name(self) -> &'static str {
        match self {
            Amount::Body => "bytes",
            Amount::Messages => "messages",
            Amount::Stops => "stop sequences",
            Amount::Choices => "choices",
            Amount::Prompt => "prompt tokens",
        }
    }
}
