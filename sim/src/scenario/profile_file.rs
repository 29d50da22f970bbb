//! The shape of a profile file: every section and key there is.
//!
//! As in `file.rs`, the decoder, the JSON Schema and its descriptions come from this one list; what a value means
//! together with others is decided in `resolve::profile`.

use super::decode::{At, Lenient, List, Named, choice, section, words};
use super::leaf::{Count, Lasting, Name, Text};
use super::profile_leaf::{Bound, Conditions, MOST, Measured, Most, Permille, Prose, RateValue, Requirement};
use crate::profile::{Action, Counted, Key, Provenance, Stage, Unit, Verb};

section! {
    /// What a vendor documents, and the limits that enforce it.
    struct ProfileFile {
        /// What is described.
        profile: Lenient<HeaderFile>,
        /// Sets of limits that are off unless a scenario names them.
        overlays: Named<OverlayFile>,
        /// Documented statements, by id; a file without any is a list of limits only.
        rows: Named<RowFile>,
        /// Limits; of one stage, they are asked in the order of the file.
        limits: Named<LimitFile>,
    }
}

section! {
    /// What is described.
    struct HeaderFile {
        /// What it is called: letters, digits, `-` and `_`.
        id: At<Name>,
        /// What it describes, one line.
        title: At<Text>,
        /// State of the documents: a date, or `undated`.
        as_of: At<Text>,
        /// Whether the service was a preview.
        preview: At<bool> = false,
        /// What the vendor calls an account.
        account: At<Text> = "account",
        /// Whom to ask for more; it is named where a limit can be raised.
        contact: At<Text> = "whoever runs the gateway",
        /// JSON body of a refusal, with `{status}`, `{code}`, `{message}`, `{limit}`, `{current}`, `{retry_after}` and
        /// `{row}`.
        envelope: At<Text> = "{\"error\":{\"code\":\"{code}\",\"message\":\"{message}\"}}",
        /// Whether the vendor's MB is 1,048,576 bytes; otherwise sizes are decimal.
        binary_units: At<bool> = false,
    }
}

section! {
    /// A set of limits that is off unless a scenario names it.
    struct OverlayFile {
        /// What it adds, and where that is from.
        about: At<Text>,
    }
}

section! {
    /// A documented statement.
    struct RowFile {
        /// What kind of statement: `rate`, `quota`, `capability-ban`.
        kind: At<Text>,
        /// The sentence, word for word.
        quote: At<Text>,
        /// The document it is from.
        document: At<Text>,
        /// What it comes to: `200 QPS`.
        value: At<Prose> = "",
        /// What it is counted by.
        granularity: At<Prose> = "",
        /// Whether it is a default, fixed, or can be raised.
        change: At<Prose> = "",
        /// Tier or kind of endpoint it is about.
        tier: At<Prose> = "",
        /// Cases at the edge.
        edges: At<Prose> = "",
        /// How it is honoured.
        standing: At<StandingWord>,
        /// Where and how, one sentence; needed unless it is enforced by a limit.
        how: At<Prose> = "",
        /// Scenarios or tests that hold it.
        tests: At<List<Text>> = [],
    }
}

words! {
    /// How a documented statement is honoured.
    enum StandingWord {
        /// By limits of this file that name it.
        Enforced = "enforced",
        /// By how the simulator works.
        Modelled = "modelled",
        /// It is printed in reports.
        Reported = "reported",
        /// There is nothing to enforce.
        Informational = "informational",
        /// Not yet.
        Pending = "pending",
    }
}

/// What every kind of limit has.
pub(super) struct Common<'a> {
    pub row: &'a Option<At<Name>>,
    pub on: &'a Option<At<Vec<At<Verb>>>>,
    pub stage: &'a Option<At<Stage>>,
    pub overlay: &'a Option<At<Name>>,
    pub lifted_by: &'a Option<At<Name>>,
    pub advice: &'a Option<At<Text>>,
    pub provenance: Provenance,
    pub when: &'a Option<At<Conditions>>,
}

/// Declares the section of a kind of limit: its own keys after those that every kind has.
macro_rules! limit {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident { $( $(#[doc = $key_doc:literal])* $key:ident : $ty:ty $(= $default:tt)? ,)* }
    ) => {
        section! {
            $(#[doc = $doc])*
            struct $name {
                /// The documented row it enforces; of the limit's own name when left out.
                row: Option<At<Name>>,
                /// What it is asked for; requests (or, for a quota, what adds to it) when left out.
                on: Option<At<Vec<At<Verb>>>>,
                /// Where in the documented order it is asked; by its kind when left out.
                stage: Option<At<Stage>>,
                /// The set it belongs to; always in force when left out.
                overlay: Option<At<Name>>,
                /// The set that lifts it: with that overlay it is off.
                lifted_by: Option<At<Name>>,
                /// What to recommend to whoever meets it, one sentence.
                advice: Option<At<Text>>,
                /// Where the value comes from.
                provenance: At<Provenance>,
                /// Whom it concerns: attributes in quotes and their values. All must touch.
                when: Option<At<Conditions>>,
                $( $(#[doc = $key_doc])* $key: $ty $(= $default)?, )*
            }
        }

        impl $name {
            pub(super) fn common(&self) -> Common<'_> {
                let Self { row, on, stage, overlay, lifted_by, advice, provenance, when, .. } = self;
                Common { row, on, stage, overlay, lifted_by, advice, provenance: provenance.value, when }
            }
        }
    };
}

choice! {
    /// A limit.
    enum LimitFile by kind {
        /// Units in a window.
        Rate(RateFile) = "rate",
        /// Requests in flight at once.
        Concurrency(ConcurrencyFile) = "concurrency",
        /// Provisioned concurrency of an endpoint, and the queue behind it.
        Permits(PermitsFile) = "permits",
        /// Things that exist at once.
        Quota(QuotaFile) = "quota",
        /// A number in a range.
        Size(SizeFile) = "size",
        /// Longest execution.
        Deadline(DeadlineFile) = "deadline",
        /// What the service may add to a latency; counted, never refused.
        Overhead(OverheadFile) = "overhead",
        /// Values that an attribute may have.
        Gate(GateFile) = "gate",
        /// Never allowed.
        Ban(BanFile) = "ban",
    }
}

limit! {
    /// Units in a window.
    struct RateFile {
        /// `"200/s"`, `"50/5min"`; `"none"` until an operation sets one, `"required"` when the vendor publishes none: both
        /// count by the minute unless written `"none/h"`.
        value: At<RateValue>,
        /// What it is counted by; each combination has a count of its own.
        per: At<Vec<At<Key>>>,
        /// What is counted.
        of: At<Unit> = "requests",
        /// How it is counted.
        algorithm: At<AlgorithmWord> = "sliding-log",
        /// Capacity of a token bucket; as many as the window allows when left out.
        burst: Option<At<Count<1, MOST>>>,
        /// Output tokens reserved for a request that declares no `max_tokens`; needed to count output tokens.
        default_reservation: Option<At<Count<1, 100_000_000>>>,
        /// Whether what is refused counts, too.
        counts_refused: At<bool> = false,
        /// Above this many units in a window, 1,000,000 when left out, a sliding log becomes a token bucket, which admits
        /// a different set.
        max_log: Option<At<Count<1, 100_000_000>>>,
        /// Whether a vendor raises it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

words! {
    /// How a rate is counted.
    enum AlgorithmWord {
        /// Every unit leaves exactly one window after it came.
        SlidingLog = "sliding-log",
        /// A bucket that refills continuously.
        TokenBucket = "token-bucket",
        /// Windows aligned at multiples of their length.
        FixedWindow = "fixed-window",
    }
}

limit! {
    /// Requests in flight at once.
    struct ConcurrencyFile {
        /// Most at once; `"none"` until an operation sets one, `"required"` when the vendor publishes none.
        most: At<Most>,
        /// What it is counted by; each combination has a count of its own.
        per: At<Vec<At<Key>>>,
        /// Whether a vendor raises it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// Provisioned concurrency of an endpoint, and the queue behind it.
    struct PermitsFile {
        /// Places in the queue for each unit of provisioned concurrency.
        queue: At<Permille<1_000_000>>,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// Things that exist at once.
    struct QuotaFile {
        /// What is counted.
        of: At<Counted>,
        /// Most of them; `"none"` until an operation sets one, `"required"` when the vendor publishes none.
        most: At<Most>,
        /// What it is counted by.
        per: At<Vec<At<Key>>> = ["account"],
        /// Whether a vendor raises it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// A number in a range.
    struct SizeFile {
        /// The attribute.
        of: At<Measured>,
        /// At least this: an integer, or an amount of bytes.
        at_least: Option<At<Bound>>,
        /// At most this.
        at_most: Option<At<Bound>>,
        /// Less than this.
        below: Option<At<Bound>>,
        /// A multiple of this.
        multiple_of: Option<At<Bound>>,
        /// Whether a vendor raises it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// Longest execution, from the first scheduled step; longer ones are cancelled.
    struct DeadlineFile {
        /// Exactly this long is still allowed.
        at_most: At<Lasting>,
        /// Whether a vendor raises it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// What the service may add to a latency beside queueing and execution.
    struct OverheadFile {
        /// Must stay below this.
        below: At<Lasting>,
        /// Whether a vendor changes it on request.
        raisable: At<bool> = false,
    }
}

limit! {
    /// Values that an attribute may have.
    struct GateFile {
        /// One attribute in quotes, and its values; `"required"` when the vendor does not publish them.
        require: At<Requirement>,
        /// What happens otherwise.
        action: At<Action> = "refuse",
        /// Whether a vendor changes it on request.
        raisable: At<bool> = false,
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

limit! {
    /// Never allowed for whom `when` concerns.
    struct BanFile {
        /// What happens.
        action: At<Action> = "refuse",
        /// What it answers.
        refusal: Option<At<RefusalFile>>,
    }
}

section! {
    /// What is answered to what is refused. What is left out is by the kind of limit, and a choice.
    struct RefusalFile {
        /// HTTP status.
        status: Option<At<Count<400, 599>>>,
        /// The vendor's code.
        code: Option<At<Text>>,
        /// The vendor's sentence, with `{limit}`, `{current}`, `{key}`, `{retry_after}` and `{row}`.
        message: Option<At<Text>>,
        /// Where status and sentence come from.
        provenance: At<Provenance> = "choice",
        /// Whether `retry-after` is announced when it is known.
        announces_retry: Option<At<bool>>,
        /// Whether a client should try again.
        retryable: Option<At<bool>>,
    }
}
