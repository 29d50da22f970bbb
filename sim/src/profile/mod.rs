//! What a vendor documents, as data: the rows of its documents, and the limits that enforce them.
//!
//! Code knows mechanisms ([`limit::Mechanism`]), profiles know vendors. A profile is decoded by `scenario`, from one of
//! the files in `sim/profiles` or from a user's own file of the same form.

pub mod answer;
pub mod attr;
pub mod judge;
pub mod limit;
mod text;

pub use attr::{Attr, Condition, Subject};
pub use judge::{Judgement, Refused, concerns, judge};
pub use limit::{
    Action, Answer, Caller, Counted, Key, Limit, Mechanism, Provenance, Range, Source, Stage, Unit, Verb,
};

/// How a documented row is honoured when no limit enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// By limits of the profile that name the row.
    Enforced,
    /// By how the simulator works; `how` says where.
    Modelled,
    /// It is printed in reports.
    Reported,
    /// Nothing to enforce; `how` says why.
    Informational,
    /// Not yet.
    Pending,
}

impl Standing {
    /// The word used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Enforced => "enforced",
            Standing::Modelled => "modelled",
            Standing::Reported => "reported",
            Standing::Informational => "informational",
            Standing::Pending => "pending",
        }
    }
}

/// A documented statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// What kind of statement: `rate`, `quota`, `capability-ban`.
    pub kind: String,
    /// The sentence, word for word.
    pub quote: String,
    /// The document.
    pub document: String,
    /// What it comes to: `200 QPS`.
    pub value: String,
    /// What it is counted by, in words.
    pub granularity: String,
    /// Whether it is a default, fixed, or can be raised.
    pub change: String,
    /// What tier or kind of endpoint it is about.
    pub tier: String,
    /// Cases at the edge.
    pub edges: String,
    /// How it is honoured.
    pub standing: Standing,
    /// Where and how.
    pub how: String,
    /// Scenarios or tests that hold it.
    pub tests: Vec<String>,
}

/// A set of limits that is off until a scenario names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Its name.
    pub name: String,
    /// What it adds and where that is from.
    pub about: String,
}

/// A whole profile, overlays and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What scenarios call it.
    pub id: String,
    /// What it describes.
    pub title: String,
    /// State of the documents.
    pub as_of: String,
    /// Whether the service was a preview.
    pub preview: bool,
    /// What the vendor calls an account.
    pub account_word: String,
    /// Whom to ask for more.
    pub contact: String,
    /// JSON body of a refusal, with `{status}`, `{code}`, `{message}`, `{limit}`, `{current}`, `{retry_after}`.
    pub envelope: String,
    /// Sets that can be switched on.
    pub overlays: Vec<Overlay>,
    /// What is documented.
    pub rows: Vec<Row>,
}

/// What a scenario keeps of the profile it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The profile, without what only its documentation needs.
    pub id: String,
    /// What it describes.
    pub title: String,
    /// State of the documents.
    pub as_of: String,
    /// Whether the service was a preview.
    pub preview: bool,
    /// What the vendor calls an account.
    pub account_word: String,
    /// Whom to ask for more.
    pub contact: String,
    /// As [`Profile::envelope`].
    pub envelope: String,
    /// Overlays that are on.
    pub overlays: Vec<String>,
    /// Notes that reports print: overrides, automatic switches, what could not be evaluated, warnings.
    pub notes: Vec<String>,
}
