//! Bodies of requests, read without building a tree: every field that is known is taken or checked, every other one is
//! refused by name, so that nothing a client asks for is silently ignored.
//!
//! What makes no difference here (sampling, penalties, `seed`, who the user is) is accepted: see [`HARMLESS`]. What would
//! make one and is not emulated (tools, log probabilities, images) is refused when it asks for anything.

mod prompt;
#[cfg(test)]
mod tests;
mod value;

use prompt::{Messages, Texts};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use tidegate_sim::rng;
use value::{Count, Name, Simple};

/// Fields that are accepted and change nothing: the length of an answer is the scenario's, its text means nothing.
pub const HARMLESS: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "user",
    "metadata",
    "stop_token_ids",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "length_penalty",
    "logit_bias",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "verbosity",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "include_stop_str_in_output",
    "parallel_tool_calls",
    "request_id",
    "priority",
];

/// What a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `messages`.
    Chat,
    /// `prompt`.
    Completions,
    /// `input`.
    Embeddings,
    /// Any of the three: what it holds says which (`/serving-endpoints/NAME/invocations`).
    Invocation,
}

/// A request, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it is for; never [`Kind::Invocation`].
    pub kind: Kind,
    /// The model it names.
    pub model: Option<String>,
    /// Words of all its texts, and tokens that the client counted itself; 0 when it has none, or they were not counted.
    pub words: u32,
    /// What the conversation begins with: a hash of everything up to the first message of the user; 0 when not asked for.
    pub prefix: u64,
    /// Output tokens at most.
    pub max_tokens: Option<u32>,
    /// Output tokens at least.
    pub min_tokens: u32,
    /// Whether the output goes on until `max_tokens`.
    pub ignore_eos: bool,
    /// Whether the answer comes token by token.
    pub stream: bool,
    /// Whether the stream ends with what was used.
    pub include_usage: bool,
    /// Messages of a chat.
    pub messages: Option<u32>,
    /// Texts that would end the output.
    pub stops: u32,
    /// Answers to the same prompt.
    pub choices: u32,
    /// Texts to embed, at least 1; 1 of other kinds.
    pub inputs: u32,
    /// Whether embeddings are written in base64.
    pub base64: bool,
    /// Length of embeddings.
    pub dimensions: Option<u32>,
}

/// Why a body was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field that it is about.
    pub param: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

/// Reads a body. `count` asks for [`Asked::words`] and [`Asked::prefix`]. O(bytes) time; memory for names only.
///
/// # Errors
/// What is wrong with it: bytes that are not UTF-8, text that is not JSON, a field of the wrong type or range, a field
/// that nobody knows, a feature that is not emulated.
pub fn read(kind: Kind, body: &[u8], count: bool) -> Result<Asked, Wrong> {
    let text = std::str::from_utf8(body).map_err(|error| Wrong {
        param: None,
        message: format!("The body is not UTF-8: byte {} does not fit.", error.valid_up_to()),
    })?;
    let mut draft = Draft::new(kind, count);
    let mut from = serde_json::Deserializer::from_str(text);
    let read = Body(&mut draft).deserialize(&mut from).and_then(|()| from.end());
    if let Err(error) = read {
        let shown = error.to_string();
        return Err(match error.classify() {
            serde_json::error::Category::Data => {
                // What a person is to mend is the field; where it stands helps little.
                let what = shown.rsplit_once(" at line ").map_or(shown.as_str(), |(what, _)| what);
                Wrong { param: draft.at.take(), message: sentence(what) }
            }
            _ => Wrong { param: None, message: format!("The body is not JSON: {shown}.") },
        });
    }
    draft.finish()
}

fn sentence(what: &str) -> String {
    if what.ends_with('.') { what.to_owned() } else { format!("{what}.") }
}

/// A request that is being read.
struct Draft {
    asked: Asked,
    wanted: Kind,
    count: bool,
    /// The field that is being read.
    at: Option<String>,
    /// Fields that there were.
    seen: Vec<String>,
    found: Option<Kind>,
    hash: u64,
    /// Whether the hash goes on.
    hashing: bool,
    has_stream_options: bool,
}

impl Draft {
    fn new(kind: Kind, count: bool) -> Self {
        let asked = Asked {
            kind,
            model: None,
            words: 0,
            prefix: 0,
            max_tokens: None,
            min_tokens: 0,
            ignore_eos: false,
            stream: false,
            include_usage: false,
            messages: None,
            stops: 0,
            choices: 1,
            inputs: 1,
            base64: false,
            dimensions: None,
        };
        Draft {
            asked,
            wanted: kind,
            count,
            at: None,
            seen: Vec::new(),
            found: None,
            hash: 0,
            hashing: count,
            has_stream_options: false,
        }
    }

    fn finish(mut self) -> Result<Asked, Wrong> {
        let field = match self.wanted {
            Kind::Chat => "messages",
            Kind::Completions => "prompt",
            Kind::Embeddings => "input",
            Kind::Invocation => "messages",
        };
        let wrong = |param: &str, message: String| Wrong { param: Some(param.to_owned()), message };
        let Some(kind) = self.found else {
            return Err(wrong(field, format!("Missing required parameter: `{field}`.")));
        };
        self.asked.kind = kind;
        if self.asked.stream && self.asked.choices > 1 {
            return Err(wrong("n", "Streams of several choices are not emulated.".to_owned()));
        }
        if kind == Kind::Embeddings && self.asked.choices != 1 {
            return Err(wrong("n", "Embeddings have no choices.".to_owned()));
        }
        if kind == Kind::Embeddings && self.asked.stream {
            return Err(wrong("stream", "Embeddings are not streamed.".to_owned()));
        }
        if self.has_stream_options && !self.asked.stream {
            return Err(wrong(
                "stream_options",
                "`stream_options` is only allowed with `stream`.".to_owned(),
            ));
        }
        if self.asked.ignore_eos && self.asked.max_tokens.is_none() {
            return Err(wrong(
                "ignore_eos",
                "`ignore_eos` needs `max_tokens`: nothing else ends the answer.".to_owned(),
            ));
        }
        if self.asked.max_tokens.is_some_and(|most| self.asked.min_tokens > most) {
            return Err(wrong("min_tokens", "`min_tokens` is above `max_tokens`.".to_owned()));
        }
        self.asked.prefix = if self.count { self.hash } else { 0 };
        Ok(self.asked)
    }

    /// Takes in a text of the prompt.
    fn text(&mut self, text: &str) {
        if self.count {
            let words = u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX);
            self.asked.words = self.asked.words.saturating_add(words);
        }
        self.fold(text.as_bytes());
    }

    fn fold(&mut self, bytes: &[u8]) {
        if !self.hashing {
            return;
        }
        let mut hash = rng::mix(self.hash ^ bytes.len() as u64);
        let mut pieces = bytes.chunks_exact(8);
        for piece in &mut pieces {
            hash = rng::mix(hash ^ u64::from_le_bytes(piece.try_into().expect("eight bytes")));
        }
        self.hash = pieces.remainder().iter().fold(hash, |hash, byte| rng::mix(hash ^ u64::from(*byte)));
    }

    fn holds(&mut self, kind: Kind) {
        self.found = Some(kind);
    }
}

/// The whole body.
struct Body<'a>(&'a mut Draft);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let draft = self.0;
        while let Some(Name(key)) = map.next_key()? {
            if draft.seen.contains(&key) {
                draft.at = Some(key.clone());
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            draft.at = Some(key.clone());
            field(draft, &key, &mut map)?;
            draft.at = None;
            draft.seen.push(key);
        }
        Ok(())
    }
}

/// Reads the value of one field.
fn field<'de, A: MapAccess<'de>>(draft: &mut Draft, key: &str, map: &mut A) -> Result<(), A::Error> {
    let any = draft.wanted == Kind::Invocation;
    let is = |kind: Kind| any || draft.wanted == kind;
    match key {
        "messages" if is(Kind::Chat) => {
            only(draft, Kind::Chat, key)?;
            map.next_value_seed(Messages(draft))
        }
        "prompt" if is(Kind::Completions) => {
            only(draft, Kind::Completions, key)?;
            map.next_value_seed(Texts::of(draft, false))
        }
        "input" if is(Kind::Embeddings) => {
            only(draft, Kind::Embeddings, key)?;
            map.next_value_seed(Texts::of(draft, true))
        }
        "model" => {
            let Name(model) = map.next_value()?;
            draft.asked.model = Some(model);
            Ok(())
        }
        "max_tokens" | "max_completion_tokens" => {
            let Some(most) = whole::<A>(key, map.next_value()?, 1)? else { return Ok(()) };
            if draft.asked.max_tokens.is_some_and(|other| other != most) {
                return Err(A::Error::custom("`max_tokens` and `max_completion_tokens` are not the same"));
            }
            draft.asked.max_tokens = Some(most);
            Ok(())
        }
        "min_tokens" => {
            draft.asked.min_tokens = whole::<A>(key, map.next_value()?, 0)?.unwrap_or(0);
            Ok(())
        }
        "ignore_eos" => flag::<A>(key, map.next_value()?).map(|on| draft.asked.ignore_eos = on),
        "stream" => flag::<A>(key, map.next_value()?).map(|on| draft.asked.stream = on),
        "stream_options" => map.next_value_seed(StreamOptions(draft)),
        "encoding_format" if is(Kind::Embeddings) => match map.next_value()? {
            Simple::Nothing => Ok(()),
            Simple::Text(format) if format == "float" => Ok(()),
            Simple::Text(format) if format == "base64" => {
                draft.asked.base64 = true;
                Ok(())
            }
            _ => Err(A::Error::custom("`encoding_format` is not `float` or `base64`")),
        },
        "dimensions" if is(Kind::Embeddings) => {
            draft.asked.dimensions = whole::<A>(key, map.next_value()?, 1)?;
            if draft.asked.dimensions.is_some_and(|length| length > 4_096) {
                return Err(A::Error::custom("`dimensions` is above 4096"));
            }
            Ok(())
        }
        // Counted, because there may be a limit on it; what is said makes no difference.
        "stop" => map.next_value().map(|Count(stops)| draft.asked.stops = stops),
        "n" => {
            draft.asked.choices = whole::<A>(key, map.next_value()?, 0)?.unwrap_or(1);
            Ok(())
        }
        _ if HARMLESS.contains(&key) => map.next_value::<IgnoredAny>().map(|_| ()),
        _ => refused_unless_empty::<A>(key, map.next_value()?),
    }
}

/// A body holds one prompt.
fn only<E: serde::de::Error>(draft: &mut Draft, kind: Kind, key: &str) -> Result<(), E> {
    if draft.found.is_some() {
        return Err(E::custom(format_args!("`{key}` beside another prompt")));
    }
    draft.holds(kind);
    Ok(())
}

/// Features that are known, not emulated, and asked for by nothing in these values; anything else is refused.
fn refused_unless_empty<'de, A: MapAccess<'de>>(key: &str, value: Simple) -> Result<(), A::Error> {
    let off = match (key, &value) {
        ("best_of", Simple::Number(one)) => *one == 1.0,
        ("logprobs" | "echo" | "use_beam_search", Simple::Flag(on)) => !on,
        ("top_logprobs" | "prompt_logprobs", Simple::Number(count)) => *count == 0.0,
        ("tool_choice" | "function_call", Simple::Text(word)) => word == "none" || word == "auto",
        ("response_format", Simple::Kind(kind)) => kind == "text",
        ("modalities", Simple::Word(word)) => word == "text",
        ("tools" | "functions", Simple::Empty) => true,
        (
            "best_of" | "logprobs" | "echo" | "use_beam_search" | "top_logprobs" | "prompt_logprobs"
            | "tools" | "tool_choice" | "functions" | "function_call" | "response_format" | "modalities"
            | "audio" | "suffix" | "prediction" | "web_search_options" | "thinking" | "reasoning"
            | "guided_json" | "guided_regex" | "guided_choice" | "guided_grammar" | "structured_outputs"
            | "extra_body",
            Simple::Nothing,
        ) => true,
        ("suffix", Simple::Text(text)) => text.is_empty(),
        _ => false,
    };
    if off {
        return Ok(());
    }
    let known = [
        "best_of",
        "logprobs",
        "echo",
        "use_beam_search",
        "top_logprobs",
        "prompt_logprobs",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "modalities",
        "audio",
        "suffix",
        "prediction",
        "web_search_options",
        "thinking",
        "reasoning",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "structured_outputs",
    ];
    Err(A::Error::custom(if known.contains(&key) {
        format!("`{key}` is not emulated with this value: an answer is plain text")
    } else {
        format!("Unrecognized request argument supplied: `{key}`")
    }))
}

/// A whole number of at least `least`.
fn whole<'de, A: MapAccess<'de>>(key: &str, value: Simple, least: u32) -> Result<Option<u32>, A::Error> {
    match value {
        Simple::Nothing => Ok(None),
        Simple::Number(number)
            if number.fract() == 0.0 && number >= f64::from(least) && number <= f64::from(i32::MAX) =>
        {
            Ok(Some(number as u32))
        }
        _ => {
            Err(A::Error::custom(format_args!("`{key}` is not a whole number from {least} to {}", i32::MAX)))
        }
    }
}

fn flag<'de, A: MapAccess<'de>>(key: &str, value: Simple) -> Result<bool, A::Error> {
    match value {
        Simple::Nothing => Ok(false),
        Simple::Flag(on) => Ok(on),
        _ => Err(A::Error::custom(format_args!("`{key}` is not a boolean"))),
    }
}

/// `stream_options`.
struct StreamOptions<'a>(&'a mut Draft);

impl<'de> DeserializeSeed<'de> for StreamOptions<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StreamOptions<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.has_stream_options = true;
        while let Some(Name(key)) = map.next_key()? {
            let value: Simple = map.next_value()?;
            match key.as_str() {
                "include_usage" => self.0.asked.include_usage = flag::<A>(&key, value)?,
                // Padding against eavesdroppers, which has no length here.
                "include_obfuscation" => drop(flag::<A>(&key, value)?),
                "continuous_usage_stats" if !flag::<A>(&key, value)? => {}
                "continuous_usage_stats" => {
                    return Err(A::Error::custom("`stream_options.continuous_usage_stats` is not emulated"));
                }
                _ => return Err(A::Error::custom(format_args!("`stream_options.{key}` is not known"))),
            }
        }
        Ok(())
    }
}
