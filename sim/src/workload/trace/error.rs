//! Why a trace was refused: where, which value, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A trace that cannot be used. Prints as `file:line: column: problem`; [`TraceError::hint`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// Line in the (decompressed) file, from 1; `None` when the file as a whole is meant.
    pub line: Option<u64>,
    /// Column or field, when one is to blame.
    pub column: Option<String>,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What can be wrong with a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(String),
    /// Reading failed half-way.
    #[error("cannot be read: {0}")]
    Read(String),
    /// The compressed data ends early or is damaged.
    #[error("is not whole gzip data: {0}")]
    Gzip(String),
    /// There is no row.
    #[error("holds no requests")]
    Empty,
    /// The first line belongs to no known format.
    #[error("first line `{0}` belongs to no known trace format")]
    Unrecognised(String),
    /// A line is not text.
    #[error("is not text (byte {0} of the line)")]
    Binary(usize),
    /// A line is longer than any real row.
    #[error("line is longer than `{0}` bytes")]
    LongLine(usize),
    /// The header has a column the format does not know.
    #[error("`{found}` is not a column of {format} traces (expected {expected})")]
    UnknownColumn {
        /// What the header says.
        found: String,
        /// Name of the format.
        format: &'static str,
        /// Columns it may have.
        expected: &'static str,
    },
    /// The header names a column twice.
    #[error("column is there twice")]
    DoubleColumn,
    /// The header lacks a column the format needs.
    #[error("header lacks `{missing}` (expected {expected})")]
    MissingColumn {
        /// The column.
        missing: &'static str,
        /// Columns there must be.
        expected: &'static str,
    },
    /// A row has more or fewer fields than the header.
    #[error("row has `{found}` fields, the header has {expected}")]
    Fields {
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A JSON line does not parse.
    #[error("is not a row in JSON: {0}")]
    Json(String),
    /// A JSON line lacks a field.
    #[error("field is missing")]
    MissingField,
    /// A value is not a number.
    #[error("`{0}` is not a number")]
    NotNumber(String),
    /// A value is not a whole number.
    #[error("`{0}` is not a whole number")]
    NotWhole(String),
    /// A value is not a date and time.
    #[error("`{0}` is not a time of the form `2023-11-16 18:15:46.6805900`")]
    NotTime(String),
    /// A value is outside what is allowed.
    #[error("`{value}` is not in {allowed}")]
    Range {
        /// The value as written.
        value: String,
        /// The allowed range.
        allowed: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A row lies before the row above it.
    #[error("`{0}` lies before the row above it")]
    Unsorted(String),
    /// A prompt has more block hashes than blocks.
    #[error("`{hashes}` hashes for `{prompt_tokens}` prompt tokens, at most {most} blocks of 512")]
    Hashes {
        /// Hashes of the row.
        hashes: usize,
        /// Its prompt.
        prompt_tokens: u32,
        /// Most hashes such a prompt can have.
        most: u64,
    },
    /// A client's windows overlap or are out of order.
    #[error("window at `{0}` s begins before the one above it ends")]
    Overlap(String),
    /// A family of distributions nobody knows.
    #[error("`{0}` is not one of `Gamma`, `Weibull`")]
    Family(String),
    /// A token table cannot be drawn from.
    #[error("`{0}` pairs carry no positive total probability")]
    NoWeight(usize),
    /// Lengths are to come from a trace that has none.
    #[error("no client has token lengths")]
    NoLengths,
    /// Rows are wanted of a format that describes clients.
    #[error("{0} traces describe clients, not single requests")]
    NoRows(&'static str),
}

impl Problem {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Problem::Open(_) => "give the path of an existing file, plain or gzip",
            Problem::Read(_) => "the path must be a readable file",
            Problem::Gzip(_) => {
                "download or compress the file again; `gzip -t FILE` tells whether it is whole"
            }
            Problem::Empty => "a trace needs at least one request, or one client that is ever active",
            Problem::Unrecognised(_) => {
                "formats: plain (header `arrival_s,prompt_tokens,output_tokens`), azure-2023, mooncake, servegen, \
                 burstgpt"
            }
            Problem::Binary(_) => "traces are UTF-8 text, plain or gzip",
            Problem::LongLine(_) => "one request (or client) a line",
            Problem::UnknownColumn { .. } => "remove the column, or name the right format",
            Problem::DoubleColumn => "keep one of the two",
            Problem::MissingColumn { .. } => "the first line names the columns, in any order",
            Problem::Fields { .. } => "the row is cut short or has a stray comma",
            Problem::Json(_) => "one JSON object a line, with only the fields of the format",
            Problem::MissingField => "every line needs all the fields of the format",
            Problem::NotNumber(_) => "write a decimal number, such as `12.5`",
            Problem::NotWhole(_) => "tokens are whole numbers",
            Problem::NotTime(_) => "is the row cut short?",
            Problem::Range { hint, .. } => hint,
            Problem::Unsorted(_) => "sort the rows by time",
            Problem::Hashes { .. } => "a hash stands for 512 prompt tokens",
            Problem::Overlap(_) => "windows are 600 s long, in order of their start",
            Problem::Family(_) => "gaps between a client's requests are Gamma or Weibull",
            Problem::NoWeight(_) => "leave the table empty when there is none",
            Problem::NoLengths => "give the workload `prompt` and `output` distributions",
            Problem::NoRows(_) => {
                "use it as the arrivals of a workload, or give a trace with a row per request"
            }
        }
    }
}

impl TraceError {
    /// An error about the whole file.
    pub(in crate::workload) fn file(path: &Path, problem: Problem) -> Self {
        TraceError { path: path.to_owned(), line: None, column: None, problem: Box::new(problem) }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        self.problem.hint()
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(column) = &self.column {
            write!(f, " {column}:")?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for TraceError {}

/// A problem with a column, before its line is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) column: Option<String>,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn of(problem: Problem) -> Self {
        Fault { column: None, problem }
    }

    pub(super) fn at(column: impl Into<String>, problem: Problem) -> Self {
        Fault { column: Some(column.into()), problem }
    }
}

/// A value as it may be shown: control characters escaped, and cut when it is long.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 48;
    let mut cut = String::new();
    for letter in text.chars().take(MOST) {
        if letter.is_control() { cut.extend(letter.escape_debug()) } else { cut.push(letter) }
    }
    if text.chars().nth(MOST).is_some() { cut + "..." } else { cut }
}

/// A token count outside `1..=TOKENS_MOST`.
pub(super) fn token_range(value: &str) -> Problem {
    Problem::Range {
        value: shown(value),
        allowed: "1..=16777216 tokens",
        hint: "leave out rows of requests that failed or never ran",
    }
}
