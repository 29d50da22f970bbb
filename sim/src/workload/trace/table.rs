//! Comma-separated traces: plain, Azure 2023, BurstGPT. The header names the columns, in any order.

use super::error::{Fault, Problem, shown};
use super::number::{civil_nanos, nanos, tokens};
use crate::scenario::TraceFormat;

/// Where the columns of one file are.
pub(super) struct Table {
    columns: Vec<String>,
    time: Option<(usize, TimeText)>,
    prompt: usize,
    output: usize,
}

/// How a time is written.
#[derive(Clone, Copy)]
enum TimeText {
    /// A decimal number of `10^-n` seconds.
    Decimal(i32),
    /// A date and a time of day.
    Civil,
}

/// What a table format looks like.
struct Shape {
    times: &'static [(&'static str, TimeText)],
    prompt: &'static str,
    output: &'static str,
    /// Columns that may be there and are not used.
    unused: &'static [&'static str],
    expected: &'static str,
}

const PLAIN: Shape = Shape {
    times: &[
        ("arrival_s", TimeText::Decimal(0)),
        ("arrival_ms", TimeText::Decimal(3)),
        ("arrival_us", TimeText::Decimal(6)),
    ],
    prompt: "prompt_tokens",
    output: "output_tokens",
    unused: &["request_id"],
    expected: "`arrival_s` (or `arrival_ms`, `arrival_us`), `prompt_tokens`, `output_tokens`, `request_id`",
};

const AZURE: Shape = Shape {
    times: &[("TIMESTAMP", TimeText::Civil)],
    prompt: "ContextTokens",
    output: "GeneratedTokens",
    unused: &[],
    expected: "`TIMESTAMP`, `ContextTokens`, `GeneratedTokens`",
};

const BURSTGPT: Shape = Shape {
    times: &[("Timestamp", TimeText::Decimal(0))],
    prompt: "Request tokens",
    output: "Response tokens",
    unused: &["Model", "Total tokens", "Log Type", "Session ID", "Elapsed time"],
    expected: "`Timestamp`, `Model`, `Request tokens`, `Response tokens`, `Total tokens`, `Log Type`",
};

impl Table {
    /// Reads the header. With `lengths_only` the time column may be missing.
    pub(super) fn of(format: TraceFormat, header: &str, lengths_only: bool) -> Result<Self, Fault> {
        let shape = match format {
            TraceFormat::Azure2023 => &AZURE,
            TraceFormat::BurstGpt => &BURSTGPT,
            _ => &PLAIN,
        };
        let columns: Vec<String> = fields(header).map(str::to_owned).collect();
        let (mut time, mut prompt, mut output) = (None, None, None);
        for (index, name) in columns.iter().enumerate() {
            if columns[..index].contains(name) {
                return Err(Fault::at(shown(name), Problem::DoubleColumn));
            }
            if let Some(&(_, text)) = shape.times.iter().find(|(known, _)| known == name) {
                if time.replace((index, text)).is_some() {
                    return Err(Fault::at(shown(name), Problem::DoubleColumn));
                }
            } else if name == shape.prompt {
                prompt = Some(index);
            } else if name == shape.output {
                output = Some(index);
            } else if !shape.unused.contains(&name.as_str()) {
                return Err(Fault::of(Problem::UnknownColumn {
                    found: shown(name),
                    format: format.name(),
                    expected: shape.expected,
                }));
            }
        }
        let missing = |missing| Fault::of(Problem::MissingColumn { missing, expected: shape.expected });
        if time.is_none() && !lengths_only {
            return Err(missing(shape.times[0].0));
        }
        let prompt = prompt.ok_or_else(|| missing(shape.prompt))?;
        let output = output.ok_or_else(|| missing(shape.output))?;
        Ok(Table { columns, time, prompt, output })
    }

    /// Time (nanoseconds, 0 without a time column), prompt and output tokens of a row.
    pub(super) fn row(&self, line: &str) -> Result<(u64, u32, u32), Fault> {
        let (mut at, mut prompt, mut output, mut count) = (0, 0, 0, 0);
        let mut first_fault = None;
        for (index, text) in fields(line).enumerate() {
            count += 1;
            let mut take = |problem| {
                let column = self.columns.get(index).map_or("", String::as_str);
                first_fault.get_or_insert_with(|| Fault::at(column, problem));
            };
            match self.time {
                Some((column, TimeText::Decimal(decimals))) if column == index => {
                    nanos(text, decimals).map_or_else(&mut take, |value| at = value);
                }
                Some((column, TimeText::Civil)) if column == index => {
                    civil_nanos(text).map_or_else(&mut take, |value| at = value);
                }
                _ if index == self.prompt => tokens(text).map_or_else(take, |value| prompt = value),
                _ if index == self.output => tokens(text).map_or_else(take, |value| output = value),
                _ => {}
            }
        }
        // A row of the wrong width explains its own bad values.
        if count != self.columns.len() {
            return Err(Fault::of(Problem::Fields { found: count, expected: self.columns.len() }));
        }
        first_fault.map_or(Ok((at, prompt, output)), Err)
    }

    /// The column of the time, for errors about order.
    pub(super) fn time_column(&self) -> &str {
        self.time.map_or("", |(index, _)| &self.columns[index])
    }

    /// The time of a row as it is written.
    pub(super) fn time_text(&self, line: &str) -> String {
        self.time.and_then(|(index, _)| fields(line).nth(index)).unwrap_or_default().to_owned()
    }
}

/// The fields of a line, without surrounding blanks and quotes. No public trace quotes a comma.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|field| {
        let field = field.trim();
        field.strip_prefix('"').and_then(|f| f.strip_suffix('"')).unwrap_or(field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_by_name_not_by_place() {
        let table =
            Table::of(TraceFormat::Plain, "output_tokens, request_id,prompt_tokens,arrival_us", false)
                .unwrap();
        assert_eq!(table.row("336,9,1359,172685").unwrap(), (172_685_000, 1359, 336));
        assert_eq!(table.time_column(), "arrival_us");
    }

    #[test]
    fn two_times_in_one_header_are_refused() {
        let header = "arrival_s,arrival_ms,prompt_tokens,output_tokens";
        let fault = Table::of(TraceFormat::Plain, header, false).err().unwrap();
        assert_eq!(fault.problem, Problem::DoubleColumn);
    }

    #[test]
    fn a_row_wider_than_its_header_is_refused_before_its_values() {
        let table = Table::of(TraceFormat::Plain, "arrival_s,prompt_tokens,output_tokens", false).unwrap();
        assert_eq!(table.row("x,1,2,3").unwrap_err().problem, Problem::Fields { found: 4, expected: 3 });
    }

    #[test]
    fn lengths_alone_need_no_time() {
        assert!(Table::of(TraceFormat::Plain, "prompt_tokens,output_tokens", false).is_err());
        let table = Table::of(TraceFormat::Plain, "prompt_tokens,output_tokens", true).unwrap();
        assert_eq!(table.row("5,6").unwrap(), (0, 5, 6));
    }
}
