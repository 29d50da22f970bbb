//! What can be wrong with the form of a file of batch requests.

use thiserror::Error;

/// A fault of form, in the words of whoever has to repair it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// There is no request.
    #[error("the file has no request")]
    Empty,
    /// A line between two requests has nothing on it.
    #[error("the line is blank, and requests follow it")]
    Blank,
    /// A line is longer than is read.
    #[error("the line is longer than {} MiB", super::LINE_BYTES_MOST >> 20)]
    TooLong,
    /// One request more than may be.
    #[error("more than {most} requests")]
    TooMany {
        /// Most there may be.
        most: u64,
    },
    /// A line is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A field is not there.
    #[error("missing required field `{0}`")]
    Missing(&'static str),
    /// A field has a value of the wrong kind.
    #[error("`{field}` is not {expected}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The id of a request was used before.
    #[error("`custom_id` is `{id}`, as on line {first}")]
    RepeatedId {
        /// The id.
        id: String,
        /// The line that has it, too.
        first: u64,
    },
    /// The path is not that of the job.
    #[error("`url` is `{found}`, not `{wanted}`")]
    OtherUrl {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A part of a message is of a kind that nobody knows.
    #[error("a content part of the unknown type `{0}`")]
    UnknownPart(String),
}
