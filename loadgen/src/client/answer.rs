//! What is in the JSON of an answer: content, its end, usage, an error.
//!
//! Only what is measured is read; everything else is skipped without being kept. Chat, completions, embeddings and
//! Databricks' invocations have the same shapes as far as that goes.

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::fmt;

/// Token counts that a server reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<u32>,
    /// Tokens of the output.
    pub completion: Option<u32>,
    /// Prompt tokens found in a cache.
    pub cached: Option<u32>,
}

/// One event of a stream, or a whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Whether it has any output: content, reasoning, a tool call, text.
    pub content: bool,
    /// Whether it says why the output ended.
    pub finished: bool,
    /// Whether it has embeddings.
    pub embeddings: bool,
    /// Whether it has the list that an answer has (choices or data), be it empty.
    pub shaped: bool,
    /// What it cost.
    pub usage: Option<Usage>,
    /// The error that it is.
    pub error: Option<ErrorBody>,
}

/// An error in a body, in OpenAI's shape or in Databricks'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// `code`, `type` or `error_code`, whichever says most; letters, digits, `-`, `_` and `.` only.
    pub code: Option<String>,
}

/// It is not JSON, or not of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Reads an event's data, or a body.
///
/// # Errors
/// When it is no JSON object of the shape.
pub fn read(json: &[u8]) -> Result<Piece, Garbage> {
    let raw: Raw = serde_json::from_slice(json).map_err(|_| Garbage)?;
    let mut piece =
        Piece { embeddings: raw.data.0 > 0, usage: raw.usage.map(Into::into), ..Piece::default() };
    piece.shaped = raw.choices.is_some() || raw.data.0 > 0;
    for choice in raw.choices.unwrap_or_default() {
        piece.content |=
            choice.text.0 || [choice.delta, choice.message].iter().flatten().any(RawText::is_there);
        piece.finished |= choice.finish_reason.is_some();
    }
    let code = raw.error_code.and_then(|code| clean(&code));
    piece.error = match raw.error {
        Some(RawError { code: inner }) => Some(ErrorBody { code: inner.or(code) }),
        None => code.map(|code| ErrorBody { code: Some(code) }),
    };
    Ok(piece)
}

/// What may be repeated of a text from outside: names, not sentences.
fn clean(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!text.is_empty() && text.len() <= 64 && text.chars().all(fine)).then(|| text.to_owned())
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    choices: Option<Vec<RawChoice>>,
    #[serde(default)]
    data: Length,
    #[serde(default)]
    usage: Option<RawUsage>,
    #[serde(default)]
    error: Option<RawError>,
    #[serde(default)]
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct RawChoice {
    #[serde(default)]
    delta: Option<RawText>,
    #[serde(default)]
    message: Option<RawText>,
    #[serde(default)]
    text: Filled,
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawText {
    #[serde(default)]
    content: Filled,
    #[serde(default)]
    reasoning_content: Filled,
    #[serde(default)]
    reasoning: Filled,
    #[serde(default)]
    tool_calls: Filled,
}

impl RawText {
    fn is_there(&self) -> bool {
        self.content.0 || self.reasoning_content.0 || self.reasoning.0 || self.tool_calls.0
    }
}

#[derive(Deserialize)]
struct RawUsage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    prompt_tokens_details: Option<RawDetails>,
}

#[derive(Deserialize)]
struct RawDetails {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl From<RawUsage> for Usage {
    fn from(raw: RawUsage) -> Self {
        Usage {
            prompt: raw.prompt_tokens,
            completion: raw.completion_tokens,
            cached: raw.prompt_tokens_details.and_then(|details| details.cached_tokens),
        }
    }
}

/// Whether a string, a list or an object is there and not empty; its contents are skipped.
#[derive(Default)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Filled;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a list or null")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Filled, E> {
                Ok(Filled(!text.is_empty()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Filled, A::Error> {
                count(items).map(|items| Filled(items > 0))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filled, A::Error> {
                let mut any = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Filled(any))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

/// How many items a list has; 0 for null.
#[derive(Default)]
struct Length(u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or null")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Length, E> {
                Ok(Length(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Length, A::Error> {
                count(items).map(Length)
            }
        }
        deserializer.deserialize_any(Look)
    }
}

fn count<'de, A: SeqAccess<'de>>(mut items: A) -> Result<u64, A::Error> {
    let mut found = 0;
    while items.next_element::<IgnoredAny>()?.is_some() {
        found += 1;
    }
    Ok(found)
}

/// An error as an object, or as a bare text.
struct RawError {
    code: Option<String>,
}

impl<'de> Deserialize<'de> for RawError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Rare: nothing is gained by skipping.
        let value = serde_json::Value::deserialize(deserializer)?;
        let named = |name: &str| value.get(name).and_then(|found| found.as_str()).and_then(clean);
        match &value {
            serde_json::Value::Object(_) => Ok(RawError { code: named("code").or_else(|| named("type")) }),
            serde_json::Value::String(text) => Ok(RawError { code: clean(text) }),
            _ => Err(D::Error::custom("an error is an object or a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(json: &str) -> Piece {
        read(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_role_alone_is_no_token() {
        let role = piece(
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        );
        assert_eq!(role, Piece { shaped: true, ..Piece::default() });
    }

    #[test]
    fn content_reasoning_tools_and_text_are_output() {
        for json in [
            r#"{"choices":[{"delta":{"content":" a"}}]}"#,
            r#"{"choices":[{"delta":{"content":"\n\u00e9"}}]}"#,
            r#"{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"{"choices":[{"text":"x","index":0}]}"#,
            r#"{"choices":[{"message":{"role":"assistant","content":"x"}}]}"#,
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"x"}]}}]}"#,
        ] {
            assert!(piece(json).content, "{json}");
        }
    }

    #[test]
    fn a_chunk_of_usage_may_have_empty_or_null_choices() {
        for choices in ["[]", "null"] {
            let usage = piece(&format!(
                r#"{{"choices":{choices},"usage":{{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{{"cached_tokens":4}}}}}}"#
            ));
            assert_eq!(usage.usage, Some(Usage { prompt: Some(9), completion: Some(3), cached: Some(4) }));
            assert!(!usage.content && usage.error.is_none());
        }
    }

    #[test]
    fn the_end_is_where_a_reason_is_given() {
        assert!(piece(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#).finished);
        assert!(!piece(r#"{"choices":[{"delta":{},"finish_reason":null}]}"#).finished);
    }

    #[test]
    fn errors_of_all_shapes_give_their_code_and_never_their_message() {
        let code = |json: &str| piece(json).error.unwrap().code;
        let openai = r#"{"error":{"message":"Incorrect key sk-canary","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
        assert_eq!(code(openai).as_deref(), Some("rate_limit_exceeded"));
        assert_eq!(
            code(r#"{"error":{"message":"m","type":"too_many_requests","code":429}}"#).as_deref(),
            Some("too_many_requests")
        );
        assert_eq!(
            code(r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"m"}"#).as_deref(),
            Some("REQUEST_LIMIT_EXCEEDED")
        );
        assert_eq!(code(r#"{"error":"a sentence of words"}"#), None);
        assert_eq!(code(r#"{"error":{"code":"<script>"}}"#), None);
        assert!(piece(r#"{"choices":[],"error":null}"#).error.is_none());
    }

    #[test]
    fn what_is_not_of_the_shape_is_garbage() {
        for json in
            ["", "{", "[1]", "\"text\"", "{\"choices\":3}", "{\"error\":3}", "\u{0}", "{\"choices\":[3]}"]
        {
            assert_eq!(read(json.as_bytes()), Err(Garbage), "{json}");
        }
    }

    #[test]
    fn embeddings_are_counted_and_skipped() {
        assert!(
            piece(r#"{"object":"list","data":[{"embedding":[0.1,0.2]}],"usage":{"prompt_tokens":3}}"#)
                .embeddings
        );
        assert!(!piece(r#"{"data":[]}"#).embeddings);
    }
}
