//! The points file: what a fit reads, a CSV with a header, one row a point.
//!
//! | column | `step` row (of a simulation) | `request` row (of a client) |
//! | --- | --- | --- |
//! | `kind` | `step` | `request` |
//! | `name` | the pool | the workload |
//! | `count` | steps | gaps between its tokens |
//! | `prefill_tokens` | prompt tokens of a step, mean | the same while it decoded, as far as the client sees |
//! | `decodes` | sequences that decode, mean | the same |
//! | `context_tokens` | tokens in their KV caches, mean | the same |
//! | `step_ns` | length, mean | mean gap |
//! | `prompt_tokens`, `cached_tokens`, `output_tokens` | | of the request |
//! | `in_flight` | | requests on their way when it was sent, itself included |
//! | `ttft_ns`, `e2e_ns` | | its latencies, `ttft_ns` empty without a token |
//!
//! A linear law is fitted from `count`, `prefill_tokens`, `decodes`, `context_tokens` and `step_ns`; rows whose `count` is
//! 0 say nothing of steps. The other columns are for other fits.

use serde::{Deserialize, Serialize};

/// Who measured a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Producer {
    /// A simulation, which knows its steps.
    Step,
    /// A client, which sees when its tokens come.
    Request,
}

impl Producer {
    /// The word used in files.
    pub fn name(self) -> &'static str {
        match self {
            Producer::Step => "step",
            Producer::Request => "request",
        }
    }
}

/// A row of a points file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// Who measured it.
    pub kind: Producer,
    /// The pool of steps, the workload of a request.
    pub name: String,
    /// Steps that it stands for; gaps, of a request.
    pub count: u64,
    /// Prompt tokens of a step, mean.
    pub prefill_tokens: f64,
    /// Sequences that decode in a step, mean.
    pub decodes: f64,
    /// Tokens in the KV caches of those, mean.
    pub context_tokens: f64,
    /// Length of a step, mean, nanoseconds.
    pub step_ns: f64,
    /// Of a request: its prompt.
    pub prompt_tokens: Option<u64>,
    /// Of a request: how much of the prompt was found in a cache, when that is known.
    pub cached_tokens: Option<u64>,
    /// Of a request: tokens that it received.
    pub output_tokens: Option<u64>,
    /// Of a request: requests on their way when it was sent, itself included.
    pub in_flight: Option<u64>,
    /// Of a request: until its first token.
    pub ttft_ns: Option<u64>,
    /// Of a request: until its end.
    pub e2e_ns: Option<u64>,
}

/// Why a points file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PointsError {
    /// It is no such CSV.
    #[error("{0}\nhint: `tidegate run --points FILE` and `tidegate load --points FILE` write such files")]
    Csv(String),
    /// A cell holds what it cannot be.
    #[error(
        "line {line}: `{column}` is `{value}`, not a finite number of {least} or more\nhint: leave the row out"
    )]
    Cell {
        /// Line in the file, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: f64,
        /// The least it can be.
        least: &'static str,
    },
}

/// The file of `rows`. The same rows give the same bytes.
pub fn encode(rows: &[PointRow]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(HEADER).expect("writing to memory cannot fail");
    for row in rows {
        writer.serialize(row).expect("writing to memory cannot fail");
    }
    writer.into_inner().expect("flushing to memory cannot fail")
}

/// Columns, in order.
const HEADER: [&str; 13] = [
    "kind",
    "name",
    "count",
    "prefill_tokens",
    "decodes",
    "context_tokens",
    "step_ns",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "in_flight",
    "ttft_ns",
    "e2e_ns",
];

/// Reads a points file; lines that begin with `#` are comments.
///
/// # Errors
/// When it is no such file, and with line and column of the first number that cannot be one of a step.
pub fn decode(bytes: &[u8]) -> Result<Vec<PointRow>, PointsError> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(bytes);
    let mut rows = Vec::new();
    let headers = reader.headers().map_err(|error| PointsError::Csv(error.to_string()))?.clone();
    if let Some(missing) = HEADER.iter().find(|name| !headers.iter().any(|found| found == **name)) {
        return Err(PointsError::Csv(format!("not a points file: column `{missing}` is missing")));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| PointsError::Csv(error.to_string()))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row: PointRow = record
            .deserialize(Some(&headers))
            .map_err(|error| PointsError::Csv(format!("line {line}: {error}")))?;
        let cells = [
            ("prefill_tokens", row.prefill_tokens),
            ("decodes", row.decodes),
            ("context_tokens", row.context_tokens),
        ];
        for (column, value) in cells {
            if !(value.is_finite() && value >= 0.0) {
                return Err(PointsError::Cell { line, column, value, least: "0" });
            }
        }
        let (value, least) = (row.step_ns, if row.count > 0 { 1.0 } else { 0.0 });
        if !(value.is_finite() && value >= least) {
            return Err(PointsError::Cell { line, column: "step_ns", value, least: "1" });
        }
        rows.push(row);
    }
    Ok(rows)
}
