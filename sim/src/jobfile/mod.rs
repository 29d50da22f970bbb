//! Files of batch requests as people upload them: JSON lines in the form that OpenAI or Anthropic take.
//!
//! A file is read line by line and stops at its first fault of form. What limits ask about (models, kinds of content) is
//! noted with the line on which each first stands, and judged by whoever knows the limits. Memory is O(longest line), and
//! 24 bytes for each request, because no two may have the same id.
//!
//! Tokens are an estimate: a token for every 4 bytes of UTF-8 text, rounded up for each text, and 4 for each message. No
//! tokenizer is at hand; the ratio is the rule of thumb for English that providers give.

mod fault;
mod line;

pub use fault::Fault;
pub use line::{Content, Line};

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

/// Longest line that is read, bytes.
pub const LINE_BYTES_MOST: u64 = 64 << 20;

/// Models of which the first line is noted; a file that names more has broken every rule about models before.
const MODELS_NOTED: usize = 16;

/// Bytes of text that count as a token.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens that each message adds to its text.
const PER_MESSAGE: u64 = 4;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `{ custom_id, method, url, body }`.
    OpenAi,
    /// `{ custom_id, params }`.
    Anthropic,
}

impl Format {
    /// The provider that takes it.
    pub fn provider(self) -> &'static str {
        match self {
            Format::OpenAi => "openai",
            Format::Anthropic => "anthropic",
        }
    }

    /// The form that a provider takes; `None` for any other provider.
    pub fn of(provider: &str) -> Option<Format> {
        [Format::OpenAi, Format::Anthropic].into_iter().find(|format| format.provider() == provider)
    }
}

/// What a file is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// The form it must have; recognised by its first line when `None`.
    pub format: Option<Format>,
    /// What every `url` must be; that of the first line when `None`.
    pub endpoint: Option<&'a str>,
    /// Most requests; one more is a fault, and is not read.
    pub requests: Option<u64>,
}

/// What is in a file, up to its first fault of form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How it is written; `None` when it has no line.
    pub format: Option<Format>,
    /// Bytes read.
    pub bytes: u64,
    /// Requests without a fault.
    pub requests: u64,
    /// The `url` of its first line.
    pub endpoint: Option<String>,
    /// Models, each with the line on which it first stands, in order; at most 16.
    pub models: Vec<(String, u64)>,
    /// Kinds of content, likewise.
    pub content: Vec<(Content, u64)>,
    /// Prompt tokens of all requests, by the estimate.
    pub prompt_tokens: u64,
    /// Output tokens that all requests ask for at most.
    pub output_tokens: u64,
    /// Requests that ask for no most.
    pub unbounded: u64,
    /// Its first fault of form, and the line it is on, from 1; 0 when it is about the whole file.
    pub fault: Option<(u64, Fault)>,
}

/// Reads a file. `each` is told every request in order: prompt tokens, and output tokens that are asked for at most.
///
/// O(bytes) time.
///
/// # Errors
/// When the file cannot be read; what is wrong inside it is in [`Contents::fault`].
pub fn read(
    mut file: impl BufRead,
    rules: &Rules<'_>,
    mut each: impl FnMut(u32, Option<u32>),
) -> io::Result<Contents> {
    let mut reader = Reader { rules, found: Contents::default(), ids: BTreeMap::new() };
    let mut line = Vec::new();
    let (mut number, mut blank) = (0, None);
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_BYTES_MOST + 1).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            break;
        }
        number += 1;
        reader.found.bytes += read;
        let text = line.trim_ascii();
        if text.is_empty() && read <= LINE_BYTES_MOST {
            blank.get_or_insert(number);
            continue;
        }
        // Nothing but line ends may follow the last request.
        let fault = match blank {
            Some(blank) => Some((blank, Fault::Blank)),
            None if read > LINE_BYTES_MOST => Some((number, Fault::TooLong)),
            None => reader.take(number, text, &mut each).err().map(|fault| (number, fault)),
        };
        if fault.is_some() {
            reader.found.fault = fault;
            return Ok(reader.found);
        }
    }
    if reader.found.requests == 0 {
        reader.found.fault = Some((0, Fault::Empty));
    }
    Ok(reader.found)
}

struct Reader<'a> {
    rules: &'a Rules<'a>,
    found: Contents,
    /// First 128 bits of the BLAKE3 of each id, and its line: two ids of one file do not collide by chance.
    ids: BTreeMap<u128, u64>,
}

impl Reader<'_> {
    fn take(
        &mut self,
        number: u64,
        text: &[u8],
        each: &mut impl FnMut(u32, Option<u32>),
    ) -> Result<(), Fault> {
        let found = &mut self.found;
        if let Some(most) = self.rules.requests.filter(|most| found.requests >= *most) {
            return Err(Fault::TooMany { most });
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
        let format = *found.format.get_or_insert_with(|| {
            self.rules.format.unwrap_or(if value.get("params").is_some() && value.get("body").is_none() {
                Format::Anthropic
            } else {
                Format::OpenAi
            })
        });
        let line = Line::of(&value, format)?;
        let digest = blake3::hash(line.id.as_bytes());
        let id = u128::from_le_bytes(digest.as_bytes()[..16].try_into().expect("a hash has 32 bytes"));
        if let Some(&first) = self.ids.get(&id) {
            return Err(Fault::RepeatedId { id: line.id.to_owned(), first });
        }
        self.ids.insert(id, number);
        if let Some(url) = line.url {
            let wanted = self.rules.endpoint.or(found.endpoint.as_deref()).unwrap_or(url);
            if url != wanted {
                return Err(Fault::OtherUrl { found: url.to_owned(), wanted: wanted.to_owned() });
            }
            found.endpoint.get_or_insert_with(|| url.to_owned());
        }
        found.requests += 1;
        if found.models.len() < MODELS_NOTED && !found.models.iter().any(|(model, _)| model == line.model) {
            found.models.push((line.model.to_owned(), number));
        }
        for kind in line.content {
            if !found.content.iter().any(|(known, _)| *known == kind) {
                found.content.push((kind, number));
            }
        }
        found.prompt_tokens += u64::from(line.prompt_tokens);
        match line.output_tokens {
            Some(most) => found.output_tokens += u64::from(most),
            None => found.unbounded += 1,
        }
        each(line.prompt_tokens, line.output_tokens);
        Ok(())
    }
}

/// A line is parsed by itself: its number in the file is not the parser's.
fn not_json(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    Fault::NotJson(format!("{what} at column {}", error.column()))
}

#[cfg(test)]
mod tests;
