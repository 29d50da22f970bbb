//! Lines of a file that may be compressed, in bounded memory.

use super::error::{Fault, Problem, TraceError};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Longest line that is read, bytes: a bound on memory, above the largest client of the public traces (130 kB).
pub(super) const LINE_MOST: usize = 16 << 20;

/// A reader of text lines that knows where it is.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    compressed: bool,
    buffer: Vec<u8>,
    number: u64,
    path: PathBuf,
}

impl Lines {
    /// Opens `path`. Compression is recognised by the gzip magic number, whatever the file is called.
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|e| TraceError::file(path, Problem::Open(plain(&e))))?;
        Lines::of(path, Box::new(file))
    }

    /// Reads `input`, which errors will call `path`.
    pub(super) fn of(path: &Path, mut input: Box<dyn Read + Send>) -> Result<Self, TraceError> {
        let mut magic = Vec::with_capacity(2);
        let start = (&mut input).take(2).read_to_end(&mut magic);
        start.map_err(|e| TraceError::file(path, Problem::Read(plain(&e))))?;
        let compressed = magic == [0x1f, 0x8b];
        if !compressed && path.extension().is_some_and(|e| e == "gz") {
            let what = "it does not begin with the gzip magic number".to_owned();
            return Err(TraceError::file(path, Problem::Gzip(what)));
        }
        let whole = Cursor::new(magic).chain(input);
        let input: Box<dyn BufRead + Send> = if compressed {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(whole)))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, whole))
        };
        Ok(Lines { input, compressed, buffer: Vec::new(), number: 0, path: path.to_owned() })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the next line that is not blank; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, TraceError> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let mut limited = (&mut self.input).take(LINE_MOST as u64 + 1);
            let read = match limited.read_until(b'\n', &mut self.buffer) {
                Ok(read) => read,
                Err(e) => return Err(self.error(Fault::of(self.broken(&e)))),
            };
            if read == 0 {
                return Ok(false);
            }
            if read > LINE_MOST {
                return Err(self.error(Fault::of(Problem::LongLine(LINE_MOST))));
            }
            while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
                self.buffer.pop();
            }
            if self.number == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            if let Some(at) = first_binary(&self.buffer) {
                return Err(self.error(Fault::of(Problem::Binary(at + 1))));
            }
            if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    /// The line last read.
    pub(super) fn line(&self) -> &str {
        std::str::from_utf8(&self.buffer).unwrap_or_default()
    }

    /// `fault` at the line last read.
    pub(super) fn error(&self, fault: Fault) -> TraceError {
        TraceError {
            path: self.path.clone(),
            line: Some(self.number),
            column: fault.column,
            problem: Box::new(fault.problem),
        }
    }

    fn broken(&self, error: &std::io::Error) -> Problem {
        match error.kind() {
            ErrorKind::UnexpectedEof if self.compressed => Problem::Gzip("it ends early".to_owned()),
            ErrorKind::InvalidInput | ErrorKind::InvalidData if self.compressed => {
                Problem::Gzip(plain(error))
            }
            _ => Problem::Read(plain(error)),
        }
    }
}

/// An I/O error without the number of the operating system.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Position of the first byte that no text file has.
fn first_binary(line: &[u8]) -> Option<usize> {
    let control = line.iter().position(|&b| (b < 0x20 && b != b'\t') || b == 0x7f);
    let invalid = std::str::from_utf8(line).err().map(|e| e.valid_up_to());
    match (control, invalid) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn all(bytes: Vec<u8>) -> Result<Vec<String>, TraceError> {
        let mut lines = Lines::of(Path::new("t"), Box::new(Cursor::new(bytes)))?;
        let mut out = Vec::new();
        while lines.advance()? {
            out.push(format!("{} {}", lines.number, lines.line()));
        }
        Ok(out)
    }

    #[test]
    fn line_ends_byte_order_marks_and_blank_lines_do_not_matter() {
        assert_eq!(all(b"\xef\xbb\xbfa,b\r\n\r\n1,2\n".to_vec()).unwrap(), ["1 a,b", "3 1,2"]);
        assert_eq!(all(b"1,2".to_vec()).unwrap(), ["1 1,2"]);
        assert!(all(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn compressed_members_are_read_one_after_the_other_and_truncation_is_told() {
        let mut bytes = Vec::new();
        for part in ["a\nb", "c\nd\n"] {
            let mut writer = GzEncoder::new(&mut bytes, Compression::default());
            writer.write_all(part.as_bytes()).unwrap();
            writer.finish().unwrap();
        }
        assert_eq!(all(bytes.clone()).unwrap(), ["1 a", "2 bc", "3 d"]);
        bytes.truncate(bytes.len() - 5);
        assert!(matches!(*all(bytes).unwrap_err().problem, Problem::Gzip(_)));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let error = all(b"ok\nab\x00c\n".to_vec()).unwrap_err();
        assert_eq!((error.line, *error.problem), (Some(2), Problem::Binary(3)));
        assert!(matches!(*all(b"\xff\xfe".to_vec()).unwrap_err().problem, Problem::Binary(1)));
    }
}
