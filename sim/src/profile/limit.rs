//! A limit: what it bounds, for whom, how, and what it answers when it refuses.

use super::attr::{Attr, Condition};
use crate::limits::Algorithm;
use crate::time::Span;

macro_rules! named {
    ($(#[doc = $about:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident = $text:literal),+ $(,)? }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[doc = $doc])+ $name),+ }

        impl $type {
            /// All of them, in order.
            pub const ALL: &[$type] = &[$($type::$name),+];

            /// The name used in files and tables.
            pub fn name(self) -> &'static str {
                match self { $($type::$name => $text),+ }
            }

            /// The one of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// What is done: a request, or an operation on the control plane.
    Verb {
        /// A request to a model.
        Inference = "inference",
        /// Creates an endpoint.
        CreateEndpoint = "create-endpoint",
        /// Changes an endpoint's configuration.
        UpdateEndpoint = "update-endpoint",
        /// Removes an endpoint.
        DeleteEndpoint = "delete-endpoint",
        /// Stops an endpoint: it keeps its place, not its concurrency.
        StopEndpoint = "stop-endpoint",
        /// Starts a stopped endpoint.
        StartEndpoint = "start-endpoint",
        /// Reads the list of endpoints.
        ListEndpoints = "list-endpoints",
        /// A customer sets a rate limit of an endpoint.
        SetRateLimit = "set-rate-limit",
        /// A customer asks for a higher limit, and gets it.
        RaiseLimit = "raise-limit",
        /// The vendor changes a limit of the account.
        ChangeLimit = "change-limit",
        /// The vendor publishes a model (version).
        PublishModel = "publish-model",
        /// The vendor publishes a security patch for model images.
        PublishPatch = "publish-patch",
        /// A call to the vendor's MCP server.
        CallMcp = "call-mcp",
        /// A read of the model catalogue over the API.
        ReadCatalog = "read-catalog",
        /// A file uploaded in the playground.
        Upload = "upload",
        /// An evaluation run over a dataset.
        Evaluate = "evaluate",
        /// A batch job that is submitted.
        SubmitBatch = "submit-batch",
    }
}

impl Verb {
    /// Whether the vendor does it, so that no limit is asked.
    pub fn is_vendors(self) -> bool {
        matches!(self, Verb::ChangeLimit | Verb::PublishModel | Verb::PublishPatch)
    }

    /// Whether it is an operation of a scenario; requests are sent by workloads, jobs are submitted by batches.
    pub fn is_operation(self) -> bool {
        !matches!(self, Verb::Inference | Verb::SubmitBatch)
    }
}

named! {
    /// Where in the documented order a limit is asked; earlier stages are reported first.
    Stage {
        /// Who calls.
        Auth = "auth",
        /// From where.
        Ingress = "ingress",
        /// Whether the request can be served at all.
        Request = "request",
        /// How large it is.
        Size = "size",
        /// The endpoint's own limits.
        Endpoint = "endpoint",
        /// The workspace's (account's) limits.
        Workspace = "workspace",
        /// The model's limits.
        Model = "model",
        /// What is in flight.
        Concurrency = "concurrency",
        /// When the file of a batch job is checked: what is refused here fails the job, what is refused at another stage
        /// its submission.
        Validation = "validation",
    }
}

named! {
    /// What a limit is counted by.
    Key {
        /// The account (the vendor may call it workspace or team).
        Account = "account",
        /// The endpoint.
        Endpoint = "endpoint",
        /// The model.
        Model = "model",
        /// The token (API key); each tenant of a workload has one of its own unless it names one.
        Token = "token",
        /// The user; each tenant of a workload is one unless it names one.
        User = "user",
    }
}

named! {
    /// Where a value comes from.
    Provenance {
        /// The document that the profile is of states it.
        Documented = "documented",
        /// Another public document states it.
        Public = "public",
        /// No document states it: a labelled decision.
        Choice = "choice",
    }
}

named! {
    /// What a rate counts.
    Unit {
        /// Requests or operations.
        Requests = "requests",
        /// Prompt tokens.
        InputTokens = "input-tokens",
        /// Output tokens: `max_tokens` is reserved, what was not used is credited back.
        OutputTokens = "output-tokens",
        /// Both.
        Tokens = "tokens",
        /// Bytes of request bodies.
        Bytes = "bytes",
    }
}

named! {
    /// What happens when a gate is not passed.
    Action {
        /// It is refused.
        Refuse = "refuse",
        /// The offending part is ignored; it is counted.
        Ignore = "ignore",
        /// It is served, with a warning before the run.
        Warn = "warn",
    }
}

named! {
    /// What a counted quota counts.
    Counted {
        /// Endpoints that exist, stopped ones included.
        Endpoints = "endpoints",
        /// Provisioned concurrency of endpoints that are not stopped.
        ProvisionedConcurrency = "provisioned-concurrency",
        /// Tokens of batch jobs that are not over.
        EnqueuedTokens = "enqueued-tokens",
    }
}

/// Bounds on a number. Every value of the attribute must satisfy all that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// At least this.
    pub at_least: Option<u64>,
    /// At most this.
    pub at_most: Option<u64>,
    /// Less than this.
    pub below: Option<u64>,
    /// A multiple of this.
    pub multiple_of: Option<u64>,
}

impl Range {
    /// Whether `value` is inside.
    pub fn admits(&self, value: u64) -> bool {
        self.at_least.is_none_or(|least| value >= least)
            && self.at_most.is_none_or(|most| value <= most)
            && self.below.is_none_or(|bound| value < bound)
            && self.multiple_of.is_none_or(|step| value.is_multiple_of(step))
    }

    /// The bound that `value` breaks, or the upper one.
    pub fn bound(&self, value: u64) -> u64 {
        match (self.at_least, self.multiple_of) {
            (Some(least), _) if value < least => least,
            (_, Some(step)) if !value.is_multiple_of(step) => step,
            _ => self.at_most.or(self.below).or(self.at_least).unwrap_or(0),
        }
    }
}

/// How a limit works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Units in a window.
    Rate {
        /// Most units in a window; `None`: no limit until an operation sets one.
        limit: Option<u64>,
        /// Highest value an operation will set it to; at least `limit`.
        most: u64,
        /// Length of the window.
        window: Span,
        /// How it is counted.
        algorithm: Algorithm,
        /// Capacity of a token bucket.
        burst: u64,
        /// What is counted.
        unit: Unit,
        /// Units reserved when a request declares no `max_tokens` (output tokens only).
        default_reservation: u64,
        /// Whether what is refused counts, too.
        counts_refused: bool,
    },
    /// Requests in flight; one more is refused.
    Concurrency {
        /// Most at once.
        limit: Option<u64>,
    },
    /// Provisioned concurrency: requests beyond it wait in a queue, beyond that they are refused.
    Permits {
        /// Places in the queue for 1,000 units of concurrency.
        queue_permille: u64,
    },
    /// Things that exist at once.
    Quota {
        /// What is counted.
        counted: Counted,
        /// Most of them.
        limit: Option<u64>,
    },
    /// A number in a range.
    Size {
        /// Which.
        attr: Attr,
        /// What it may be.
        range: Range,
    },
    /// Longest execution: from the first scheduled step. Longer ones are cancelled.
    Deadline {
        /// Exactly this long is still allowed.
        at_most: Span,
    },
    /// What the service may add to a request's latency beside queueing and execution. Counted, never refused.
    Overhead {
        /// Must stay below this.
        below: Span,
    },
    /// Values that an attribute may have.
    Gate {
        /// What must hold; `None`: never allowed.
        require: Option<Condition>,
        /// What happens otherwise.
        action: Action,
    },
}

impl Mechanism {
    /// The word used in files and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Mechanism::Rate { .. } => "rate",
            Mechanism::Concurrency { .. } => "concurrency",
            Mechanism::Permits { .. } => "permits",
            Mechanism::Quota { .. } => "quota",
            Mechanism::Size { .. } => "size",
            Mechanism::Deadline { .. } => "deadline",
            Mechanism::Overhead { .. } => "overhead",
            Mechanism::Gate { require: Some(_), .. } => "gate",
            Mechanism::Gate { require: None, .. } => "ban",
        }
    }

    /// Whether it keeps count over time, in a meter.
    pub fn is_metered(&self) -> bool {
        matches!(self, Mechanism::Rate { .. } | Mechanism::Concurrency { .. } | Mechanism::Quota { .. })
    }
}

/// What is answered to what is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The vendor's code: `REQUEST_LIMIT_EXCEEDED`.
    pub code: String,
    /// The vendor's sentence. May hold `{limit}`, `{current}`, `{key}`, `{retry_after}` (seconds, rounded up).
    pub message: String,
    /// Where the status and the sentence come from.
    pub provenance: Provenance,
    /// Whether the vendor announces `retry-after`.
    pub announces_retry: bool,
    /// Whether a client should try again.
    pub retryable: bool,
}

/// Who decided a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The profile.
    Profile,
    /// The scenario, because the vendor agreed to another value.
    Negotiated,
    /// The scenario, because the vendor publishes none.
    Account,
}

/// The index of the caller in each dimension of [`Key`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Account.
    pub account: u32,
    /// Endpoint.
    pub endpoint: u32,
    /// Model.
    pub model: u32,
    /// Token.
    pub token: u32,
    /// User.
    pub user: u32,
}

impl Caller {
    /// The index in one dimension.
    pub fn index(&self, key: Key) -> u32 {
        match key {
            Key::Account => self.account,
            Key::Endpoint => self.endpoint,
            Key::Model => self.model,
            Key::Token => self.token,
            Key::User => self.user,
        }
    }
}

/// A limit, in force in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name: the key in the profile's `[limits]`, unique.
    pub name: String,
    /// The documented row it enforces.
    pub row: String,
    /// Where in the documented order it is asked.
    pub stage: Stage,
    /// What it is asked for.
    pub on: Vec<Verb>,
    /// Whom it concerns: all must touch.
    pub when: Vec<Condition>,
    /// How it works.
    pub mechanism: Mechanism,
    /// What it is counted by, and the stride of each dimension in the index of a counter.
    pub per: Vec<(Key, u32)>,
    /// How many counters that makes.
    pub keys: u32,
    /// Its meter, when it is metered: consecutive numbers in the order of the limits.
    pub meter: Option<u16>,
    /// What it answers.
    pub answer: Answer,
    /// Where the value comes from.
    pub provenance: Provenance,
    /// Who decided the value in force.
    pub source: Source,
    /// What the vendor recommends to whoever meets it.
    pub advice: Option<String>,
}

impl Limit {
    /// The number of the counter of a caller.
    #[inline]
    pub fn key(&self, caller: &Caller) -> u32 {
        self.per.iter().map(|(key, stride)| caller.index(*key) * stride).sum()
    }

    /// The numbers of the counters of everybody of whom `wanted` holds in every dimension, in order. O(counters).
    pub fn counters(&self, wanted: impl Fn(Key, u32) -> bool) -> Vec<u32> {
        let ends = self.per.iter().skip(1).map(|(_, stride)| *stride).chain([self.keys]);
        let mut counters = vec![0];
        for (&(key, stride), end) in self.per.iter().zip(ends) {
            let indices = (0..end / stride).filter(|&index| wanted(key, index));
            let before = std::mem::take(&mut counters);
            for index in indices {
                counters.extend(before.iter().map(|counter| counter + index * stride));
            }
        }
        counters
    }
}
