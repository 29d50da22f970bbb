//! Mooncake traces: a JSON object a line, with prefix hashes of 512-token blocks.
//!
//! Source of the format: `FAST25-release/traces` of the Mooncake repository. A hash stands for its block and
//! everything before it.

use super::error::{Fault, Problem, shown};
use super::number::{nanos, tokens};
use crate::request::HashChain;
use serde::Deserialize;
use serde_json::Value;

/// Tokens a hash stands for.
pub(super) const TOKENS_PER_HASH: u32 = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    timestamp: Option<Value>,
    input_length: Option<Value>,
    output_length: Option<Value>,
    hash_ids: Option<Vec<Value>>,
}

/// Time (nanoseconds), prompt and output tokens, and the chain of a row.
type Parts = (u64, u32, u32, Option<Box<HashChain>>);

/// Reads a line. The file counts milliseconds.
pub(super) fn row(line: &str) -> Result<Parts, Fault> {
    let line: Line = serde_json::from_str(line).map_err(|e| Fault::of(json(&e)))?;
    let at = field("timestamp", line.timestamp.as_ref(), |text| nanos(text, 3))?;
    let prompt = field("input_length", line.input_length.as_ref(), tokens)?;
    let output = field("output_length", line.output_length.as_ref(), tokens)?;
    let ids = line.hash_ids.ok_or_else(|| Fault::at("hash_ids", Problem::MissingField))?;
    let most = u64::from(prompt.div_ceil(TOKENS_PER_HASH));
    if ids.len() as u64 > most {
        let problem = Problem::Hashes { hashes: ids.len(), prompt_tokens: prompt, most };
        return Err(Fault::at("hash_ids", problem));
    }
    let hash = |(index, id): (usize, &Value)| {
        let range = || Problem::Range {
            value: shown(&id.to_string()),
            allowed: "0..2^64, whole numbers",
            hint: "hashes are numbers that name a block and all before it",
        };
        id.as_u64().ok_or_else(|| Fault::at(format!("hash_ids[{index}]"), range()))
    };
    let hashes: Vec<u64> = ids.iter().enumerate().map(hash).collect::<Result<_, _>>()?;
    let chain =
        (!hashes.is_empty()).then(|| Box::new(HashChain { tokens_per_hash: TOKENS_PER_HASH, hashes }));
    Ok((at, prompt, output, chain))
}

fn field<T>(
    name: &str,
    value: Option<&Value>,
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> Result<T, Fault> {
    let value = value.ok_or_else(|| Fault::at(name, Problem::MissingField))?;
    let Value::Number(number) = value else {
        return Err(Fault::at(name, Problem::NotNumber(shown(&value.to_string()))));
    };
    parse(&number.to_string()).map_err(|problem| Fault::at(name, problem))
}

/// What the JSON parser says, with the byte of the line instead of its own line number.
pub(super) fn json(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    // serde_json quotes values of any length.
    let what: String = what.chars().take(160).collect();
    Problem::Json(format!("{what} (byte {})", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_carries_its_chain() {
        let (at, prompt, output, chain) =
            row(r#"{"timestamp": 27, "input_length": 600, "output_length": 3, "hash_ids": [0, 18446744073709551615]}"#)
                .unwrap();
        assert_eq!((at, prompt, output), (27_000_000, 600, 3));
        assert_eq!(*chain.unwrap(), HashChain { tokens_per_hash: 512, hashes: vec![0, u64::MAX] });
    }

    #[test]
    fn more_hashes_than_blocks_are_refused() {
        let line = r#"{"timestamp": 0, "input_length": 512, "output_length": 3, "hash_ids": [0, 1]}"#;
        let problem = row(line).unwrap_err().problem;
        assert_eq!(problem, Problem::Hashes { hashes: 2, prompt_tokens: 512, most: 1 });
    }
}
