//! Recorded traces: which requests came when, how long they were, and what their prompts shared.
//!
//! Readers stream: memory does not grow with the file. Times become integer nanoseconds without passing through
//! floating point, the first request is at time zero, and every bad row is refused with its line, its column and
//! its value. Files may be gzip. A wrong reader would bend every result without any other sign, so that all of
//! this is tested against real traces and a corpus of broken ones (`tests/bad/traces`).

mod clients;
mod error;
mod format;
mod lines;
mod mooncake;
mod number;
mod rows;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use clients::{Client, Clients, Family, WINDOW, Window};
pub use error::{Problem, TraceError};
pub use number::TOKENS_MOST;
pub use rows::{Row, Rows};

use crate::scenario::TraceFormat;
use crate::time::Span;
use lines::Lines;
use std::io::Read;
use std::path::Path;

/// What a whole trace is, once every row of it has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceStats {
    /// Its format.
    pub format: TraceFormat,
    /// Requests; for ServeGen the clients that are ever active.
    pub rows: u64,
    /// When the first request comes (always zero: time is rebased); for ServeGen the start of the first window.
    pub first: Span,
    /// When the last request comes; for ServeGen the end of the last window.
    pub last: Span,
    /// Longest prompt, tokens (0 when the file has no lengths).
    pub prompt_most: u32,
    /// Longest output, tokens (0 when the file has no lengths).
    pub output_most: u32,
    /// Largest prompt + output of one request, tokens (0 when the file has no lengths).
    pub context_most: u64,
    /// Share of the requests that come from clients without lengths of their own (ServeGen; 0 otherwise). They
    /// borrow the lengths of the other clients, weighted by rate: a report should say so.
    pub borrowed_share: f64,
}

/// The format of a file, by its first line.
///
/// # Errors
/// When it cannot be read, is empty, or looks like no known format.
pub fn recognise(path: &Path) -> Result<TraceFormat, TraceError> {
    rows::first_line(&mut Lines::open(path)?, None)
}

/// Reads a whole trace, checking every row. O(file) time, O(line) memory.
///
/// # Errors
/// The first thing that is wrong with the file.
pub fn scan(path: &Path, format: Option<TraceFormat>) -> Result<TraceStats, TraceError> {
    let format = format.map_or_else(|| recognise(path), Ok)?;
    if format.is_generator() {
        scan_clients(Clients::open(path)?)
    } else {
        scan_rows(Rows::open(path, Some(format))?)
    }
}

/// [`scan`] of bytes that are not in a file; errors will call them `path`.
///
/// # Errors
/// As [`scan`]; the format must be given when it is ServeGen's.
pub fn scan_reader(
    path: &Path,
    input: Box<dyn Read + Send>,
    format: Option<TraceFormat>,
) -> Result<TraceStats, TraceError> {
    if format.is_some_and(TraceFormat::is_generator) {
        scan_clients(Clients::from_reader(path, input)?)
    } else {
        scan_rows(Rows::from_reader(path, input, format)?)
    }
}

fn scan_rows(mut rows: Rows) -> Result<TraceStats, TraceError> {
    let mut stats = TraceStats {
        format: rows.format(),
        rows: 0,
        first: Span::ZERO,
        last: Span::ZERO,
        prompt_most: 0,
        output_most: 0,
        context_most: 0,
        borrowed_share: 0.0,
    };
    while let Some(row) = rows.next_row()? {
        stats.rows += 1;
        stats.last = row.at;
        stats.prompt_most = stats.prompt_most.max(row.prompt_tokens);
        stats.output_most = stats.output_most.max(row.output_tokens);
        let context = u64::from(row.prompt_tokens) + u64::from(row.output_tokens);
        stats.context_most = stats.context_most.max(context);
    }
    Ok(stats)
}

fn scan_clients(mut clients: Clients) -> Result<TraceStats, TraceError> {
    let (mut rows, mut first, mut last) = (0, Span::MAX, Span::ZERO);
    let (mut prompt_most, mut output_most, mut context_most) = (0, 0, 0);
    let (mut own, mut all) = (0.0, 0.0);
    while let Some(client) = clients.next_client()? {
        rows += 1;
        let rate: f64 = client.windows.iter().map(|w| w.rate_per_s).sum();
        all += rate;
        if !client.tokens.is_empty() {
            own += rate;
        }
        if let (Some(start), Some(end)) = (client.windows.first(), client.windows.last()) {
            first = first.min(start.start);
            last = last.max(end.start + WINDOW);
        }
        for tables in &client.tokens {
            let (prompt, output) = (tables.prompt.most() as u32, tables.output.most() as u32);
            prompt_most = prompt_most.max(prompt);
            output_most = output_most.max(output);
            context_most = context_most.max(u64::from(prompt) + u64::from(output));
        }
    }
    let format = TraceFormat::ServeGen;
    let borrowed_share = 1.0 - own / all;
    Ok(TraceStats { format, rows, first, last, prompt_most, output_most, context_most, borrowed_share })
}

/// The `(prompt, output)` lengths of a trace, for drawing pairs. Plain files need no arrival column here.
///
/// O(rows) memory, 8 bytes each.
///
/// # Errors
/// As [`scan`]; and ServeGen files, which have no single requests.
pub fn pairs(path: &Path, format: Option<TraceFormat>) -> Result<Vec<(u32, u32)>, TraceError> {
    let mut rows = Rows::begin(Lines::open(path)?, format, true)?;
    let mut pairs = Vec::new();
    while let Some(row) = rows.next_row()? {
        pairs.push((row.prompt_tokens, row.output_tokens));
    }
    Ok(pairs)
}
