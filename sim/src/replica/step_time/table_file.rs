//! Files of measured step times.
//!
//! A CSV with the header `kind,sequences,context_tokens,prefill_tokens,step_us`; lines that begin with `#` are
//! comments; cells are never quoted. Cells that a kind does not use stay empty:
//!
//! | kind | sequences | context_tokens | prefill_tokens | step_us |
//! | --- | --- | --- | --- | --- |
//! | `decode` | sequences that decode | mean tokens in the cache of each | | time of the step |
//! | `prefill` | | tokens of the prompt already in the cache (empty: 0) | prompt tokens processed | time of the step |
//! | `overlap` | | | | what a step pays once when it decodes and prefills (at most one row; absent: 0) |

use super::linear::parse_decimal;
use super::{FEMTOS_PER_NANO, LawError};
use std::io::Read;

const HEADER: [&str; 5] = ["kind", "sequences", "context_tokens", "prefill_tokens", "step_us"];
/// Femtoseconds in a microsecond.
pub(super) const FEMTOS_PER_MICRO: u64 = 1_000 * FEMTOS_PER_NANO;

/// One measured step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Line in the file, from 1; named in errors.
    pub line: u64,
    /// Sequences of a decode row, prompt tokens of a prefill row. At least 1.
    pub size: u32,
    /// Mean context of each sequence (decode), or tokens of the prompt already in the cache (prefill).
    pub context_tokens: u32,
    /// Length of the step, femtoseconds. At least 1.
    pub step_fs: u64,
}

/// Measured step times, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableData {
    /// Steps that only decode.
    pub decode: Vec<TableRow>,
    /// Steps that only process prompts.
    pub prefill: Vec<TableRow>,
    /// What a step that does both pays once, femtoseconds.
    pub overlap_fs: u64,
}

impl TableData {
    /// Reads a file of measured steps.
    ///
    /// # Errors
    /// [`LawError::File`] when it is no such CSV, [`LawError::Row`] with the line of the first row that is wrong.
    pub fn read(mut input: impl Read) -> Result<TableData, LawError> {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|error| LawError::File(error.to_string()))?;
        let content = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let mut lines = (1..).zip(lines).filter(|(_, line)| content(line));
        let header = lines.next().map_or("", |(_, line)| line);
        if header.split(',').map(str::trim).ne(HEADER) {
            let shown: String = header.chars().take(80).collect();
            return Err(LawError::File(format!("the header is `{shown}`, not `{}`", HEADER.join(","))));
        }
        let mut data = TableData::default();
        let mut overlap_line = None;
        for (line, cells) in lines {
            let row = Row::split(line, cells)?;
            match row.cells[0] {
                "decode" => data.decode.push(row.decode()?),
                "prefill" => data.prefill.push(row.prefill()?),
                "overlap" => {
                    if let Some(first) = overlap_line.replace(line) {
                        return Err(LawError::Duplicate { kind: "overlap", first, second: line });
                    }
                    data.overlap_fs = row.overlap()?;
                }
                other => {
                    return Err(
                        row.error(format!("kind `{other}` is not one of `decode`, `prefill`, `overlap`"))
                    );
                }
            }
        }
        Ok(data)
    }
}

/// A line being read.
struct Row<'a> {
    line: u64,
    cells: [&'a str; 5],
}

impl<'a> Row<'a> {
    fn split(line: u64, text: &'a str) -> Result<Row<'a>, LawError> {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let count = cells.len();
        match cells.try_into() {
            Ok(cells) => Ok(Row { line, cells }),
            Err(_) => Err(LawError::Row { line, message: format!("`{count}` cells, not 5") }),
        }
    }

    fn error(&self, message: String) -> LawError {
        LawError::Row { line: self.line, message }
    }

    fn decode(&self) -> Result<TableRow, LawError> {
        self.unused(3)?;
        Ok(TableRow {
            line: self.line,
            size: self.count(1, 1)?,
            context_tokens: self.count(2, 0)?,
            step_fs: self.step()?,
        })
    }

    fn prefill(&self) -> Result<TableRow, LawError> {
        self.unused(1)?;
        let context_tokens = if self.cells[2].is_empty() { 0 } else { self.count(2, 0)? };
        Ok(TableRow { line: self.line, size: self.count(3, 1)?, context_tokens, step_fs: self.step()? })
    }

    fn overlap(&self) -> Result<u64, LawError> {
        for column in 1..=3 {
            self.unused(column)?;
        }
        self.time()
    }

    fn unused(&self, column: usize) -> Result<(), LawError> {
        if self.cells[column].is_empty() {
            return Ok(());
        }
        let (kind, name, value) = (self.cells[0], HEADER[column], self.cells[column]);
        Err(self.error(format!("a `{kind}` row has no {name}, but the cell is `{value}`")))
    }

    fn count(&self, column: usize, least: u32) -> Result<u32, LawError> {
        let text = self.cells[column];
        match text.parse::<u32>() {
            Ok(value) if value >= least => Ok(value),
            _ => Err(self.error(format!("{}: `{text}` is not in {least}..={}", HEADER[column], u32::MAX))),
        }
    }

    fn time(&self) -> Result<u64, LawError> {
        let text = self.cells[4];
        parse_decimal(text, FEMTOS_PER_MICRO).ok_or_else(|| {
            self.error(format!("step_us: `{text}` is not a nonnegative decimal with at most nine places"))
        })
    }

    fn step(&self) -> Result<u64, LawError> {
        match self.time()? {
            0 => Err(self.error("step_us: `0` is not a time".into())),
            fs => Ok(fs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<TableData, LawError> {
        TableData::read(format!("kind,sequences,context_tokens,prefill_tokens,step_us\n{rows}").as_bytes())
    }

    #[test]
    fn rows_of_each_kind_are_read_exactly() {
        let data = read(
            "# warm\ndecode,4,1024,,12000.5\nprefill,,,512,30000\nprefill,,2048,512,31000\noverlap,,,,800\n",
        )
        .unwrap();
        assert_eq!(
            data.decode,
            [TableRow { line: 3, size: 4, context_tokens: 1024, step_fs: 12_000_500_000_000 }]
        );
        assert_eq!(data.prefill.len(), 2);
        assert_eq!(data.prefill[1].context_tokens, 2048);
        assert_eq!(data.overlap_fs, 800 * FEMTOS_PER_MICRO);
    }

    #[test]
    fn broken_rows_are_named_by_line_cell_and_range() {
        let cases = [
            ("decode,0,10,,5\n", "line 2: sequences: `0` is not in 1..=4294967295"),
            ("decode,1,-1,,5\n", "line 2: context_tokens: `-1` is not in 0..=4294967295"),
            ("decode,1,10,7,5\n", "line 2: a `decode` row has no prefill_tokens, but the cell is `7`"),
            ("prefill,,,5,0\n", "line 2: step_us: `0` is not a time"),
            (
                "prefill,,,5,1e3\n",
                "line 2: step_us: `1e3` is not a nonnegative decimal with at most nine places",
            ),
            (
                "prefill,,,5,NaN\n",
                "line 2: step_us: `NaN` is not a nonnegative decimal with at most nine places",
            ),
            (
                "decode,1,10,,5\nmixed,1,10,,5\n",
                "line 3: kind `mixed` is not one of `decode`, `prefill`, `overlap`",
            ),
            ("decode,1,10,5\n", "line 2: `4` cells, not 5"),
            ("overlap,,,,1\noverlap,,,,2\n", "lines 2 and 3 measure the same `overlap` shape"),
        ];
        for (rows, message) in cases {
            assert_eq!(read(rows).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_file_that_is_no_table_is_refused() {
        for text in ["", "a,b\n1,2\n", "kind,sequences\n", "\u{0}\u{1}\u{2}"] {
            assert!(matches!(TableData::read(text.as_bytes()), Err(LawError::File(_))), "{text:?}");
        }
        assert!(
            TableData::read(&b"kind,sequences,context_tokens,prefill_tokens,step_us\n\xff,1,1,,1\n"[..])
                .is_err()
        );
    }
}
