//! The requests of a trace, one at a time, whatever its format.

use super::error::{Fault, Problem, TraceError, shown};
use super::lines::Lines;
use super::mooncake;
use super::table::Table;
use crate::request::HashChain;
use crate::scenario::TraceFormat;
use crate::time::Span;
use std::io::Read;
use std::path::Path;

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When it came, after the first of the trace (whose offset is zero). Never decreases.
    pub at: Span,
    /// Prompt tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output tokens, at least 1.
    pub output_tokens: u32,
    /// Hashes of its prompt's blocks, when the format has them.
    pub chain: Option<Box<HashChain>>,
}

/// A streaming reader: memory of one line, however long the trace.
pub struct Rows {
    lines: Lines,
    format: TraceFormat,
    /// `None` for formats without a header.
    table: Option<Table>,
    lengths_only: bool,
    /// Whether the current line is a row not yet handed out (the first one, read to recognise the format).
    held: bool,
    first: Option<u64>,
    last: u64,
}

impl Rows {
    /// Opens a trace of single requests; the format is recognised by the first line when not given.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or its first line belongs to another format or to none.
    pub fn open(path: &Path, format: Option<TraceFormat>) -> Result<Self, TraceError> {
        Self::begin(Lines::open(path)?, format, false)
    }

    /// Reads a trace from `input`, which errors will call `path`.
    ///
    /// # Errors
    /// As [`Rows::open`].
    pub fn from_reader(
        path: &Path,
        input: Box<dyn Read + Send>,
        format: Option<TraceFormat>,
    ) -> Result<Self, TraceError> {
        Self::begin(Lines::of(path, input)?, format, false)
    }

    /// Goes on from `lines`, of which nothing was read yet.
    pub(super) fn begin(
        mut lines: Lines,
        format: Option<TraceFormat>,
        lengths_only: bool,
    ) -> Result<Self, TraceError> {
        let format = first_line(&mut lines, format)?;
        let (mut table, mut held) = (None, false);
        match format {
            TraceFormat::ServeGen => {
                return Err(TraceError::file(lines.path(), Problem::NoRows(format.name())));
            }
            TraceFormat::Mooncake => held = true,
            TraceFormat::Plain | TraceFormat::Azure2023 | TraceFormat::BurstGpt => {
                table = match Table::of(format, lines.line(), lengths_only) {
                    Ok(table) => Some(table),
                    Err(fault) => return Err(lines.error(fault)),
                };
            }
        }
        Ok(Rows { lines, format, table, lengths_only, held, first: None, last: 0 })
    }

    /// The format of the file.
    pub fn format(&self) -> TraceFormat {
        self.format
    }

    /// The next request; `None` at the end. O(length of the line); a chain is the only allocation.
    ///
    /// # Errors
    /// A row that is cut short, not a number, out of range or before the row above it, with its line; and, at the
    /// end, a trace without any row.
    pub fn next_row(&mut self) -> Result<Option<Row>, TraceError> {
        if !std::mem::take(&mut self.held) && !self.lines.advance()? {
            return match self.first {
                Some(_) => Ok(None),
                None => Err(TraceError::file(self.lines.path(), Problem::Empty)),
            };
        }
        self.parse().map(Some).map_err(|fault| self.lines.error(fault))
    }

    fn parse(&mut self) -> Result<Row, Fault> {
        let line = self.lines.line();
        let (at, prompt_tokens, output_tokens, chain) = match &self.table {
            Some(table) => {
                let (at, prompt, output) = table.row(line)?;
                (at, prompt, output, None)
            }
            None => mooncake::row(line)?,
        };
        if at < self.last && !self.lengths_only {
            let (column, text) = match &self.table {
                Some(table) => (table.time_column(), table.time_text(line)),
                None => ("timestamp", (at / 1_000_000).to_string()),
            };
            return Err(Fault::at(column, Problem::Unsorted(shown(&text))));
        }
        self.last = at;
        let first = *self.first.get_or_insert(at);
        Ok(Row { at: Span::from_nanos(at.saturating_sub(first)), prompt_tokens, output_tokens, chain })
    }
}

/// Reads the first line and says what it belongs to (`given`, when the caller knows).
pub(super) fn first_line(lines: &mut Lines, given: Option<TraceFormat>) -> Result<TraceFormat, TraceError> {
    if !lines.advance()? {
        return Err(TraceError::file(lines.path(), Problem::Empty));
    }
    given
        .or_else(|| TraceFormat::recognise(lines.line()))
        .ok_or_else(|| lines.error(Fault::of(Problem::Unrecognised(shown(lines.line())))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &str) -> Result<Vec<Row>, TraceError> {
        let mut rows = Rows::from_reader(Path::new("t"), Box::new(Cursor::new(text.to_owned())), None)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next_row()? {
            out.push(row);
        }
        Ok(out)
    }

    #[test]
    fn the_first_arrival_is_time_zero_and_ticks_stay_exact() {
        let rows = read(
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
             2023-11-16 23:59:59.9999999,374,44\r\n\
             2023-11-17 00:00:00.0000001,396,109\r\n",
        )
        .unwrap();
        assert_eq!(rows[0].at, Span::ZERO);
        assert_eq!(rows[1].at, Span::from_nanos(200));
        assert_eq!((rows[1].prompt_tokens, rows[1].output_tokens), (396, 109));
    }

    #[test]
    fn a_row_before_the_row_above_is_refused_with_its_line_and_value() {
        let error = read("arrival_s,prompt_tokens,output_tokens\n1.5,1,1\n1.25,1,1\n").unwrap_err();
        assert_eq!(error.to_string(), "t:3: arrival_s: `1.25` lies before the row above it");
    }

    #[test]
    fn rows_at_one_instant_are_in_order() {
        assert_eq!(read("arrival_s,prompt_tokens,output_tokens\n1,1,1\n1,2,2\n").unwrap().len(), 2);
    }

    #[test]
    fn a_header_alone_is_an_empty_trace() {
        let error = read("arrival_s,prompt_tokens,output_tokens\n").unwrap_err();
        assert_eq!(error.to_string(), "t: holds no requests");
    }

    #[test]
    fn burstgpt_rows_read_by_their_header() {
        let rows = read(
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
             5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n",
        )
        .unwrap();
        assert_eq!((rows[1].at, rows[1].prompt_tokens), (Span::from_secs(40), 1087));
    }
}
