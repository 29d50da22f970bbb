//! What an answer says: events of a stream and whole objects, byte for byte.
//!
//! The text of a token is a word of four letters with a space in front, so that an answer has as many words as tokens.
//! An event that carries a token is copied from one that was made when the request was read; only its word changes.

use super::ask::Kind;
use bytes::{BufMut as _, BytesMut};
use std::fmt::Write as _;

/// Words of answers, all of one length.
const WORDS: [&[u8; 4]; 8] = [b"tide", b"gate", b"wave", b"moon", b"reef", b"salt", b"foam", b"wind"];
/// Bytes of a word with the space in front.
const WORD: usize = 5;

/// Tokens of a request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt: u32,
    /// Of them, those whose KV cache was found.
    pub cached: u32,
    /// Of the answer.
    pub output: u32,
}

impl Usage {
    fn json(self) -> String {
        let Usage { prompt, cached, output } = self;
        let total = u64::from(prompt) + u64::from(output);
        format!(
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached}}},"completion_tokens_details":{{"reasoning_tokens":0}}}}"#
        )
    }
}

/// What identifies an answer.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Of a chat, or of a completion.
    pub kind: Kind,
    /// Its own.
    pub id: &'a str,
    /// Seconds of the epoch.
    pub created: u64,
    /// JSON already.
    pub model: &'a str,
}

impl Identity<'_> {
    fn json(self, object: &str) -> String {
        let Identity { kind, id, created, model } = self;
        let prefix = if kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
        format!(r#""id":"{prefix}-{id}","object":"{object}","created":{created},"model":{model}"#)
    }

    /// The whole answer as one object. Of several choices each has the text that the engine's one has, and costs as much.
    pub fn object(self, reason: &str, usage: Usage, choices: u32) -> String {
        let text = text(usage.output);
        let (object, said) = if self.kind == Kind::Chat {
            let said = format!(r#""message":{{"role":"assistant","content":"{text}","refusal":null}}"#);
            ("chat.completion", said)
        } else {
            ("text_completion", format!(r#""text":"{text}""#))
        };
        let choice =
            |index| format!(r#"{{"index":{index},{said},"logprobs":null,"finish_reason":"{reason}"}}"#);
        let all: Vec<String> = (0..choices).map(choice).collect();
        let usage = Usage { output: usage.output.saturating_mul(choices), ..usage };
        format!(r#"{{{},"choices":[{}],"usage":{}}}"#, self.json(object), all.join(","), usage.json())
    }
}

/// What a stream is made from.
#[derive(Clone, Debug)]
pub struct Script {
    chat: bool,
    /// What every event begins with.
    identity: String,
    /// An event with a token in it.
    event: Vec<u8>,
    /// Where its word begins.
    word_at: usize,
    /// What events say of usage before the last.
    no_usage: &'static str,
    include_usage: bool,
}

impl Script {
    /// The stream of an answer.
    pub fn new(identity: Identity<'_>, include_usage: bool) -> Self {
        let chat = identity.kind == Kind::Chat;
        let mut script = Script {
            chat,
            identity: identity.json(if chat { "chat.completion.chunk" } else { "text_completion" }),
            event: Vec::new(),
            word_at: 0,
            no_usage: if include_usage { r#","usage":null"# } else { "" },
            include_usage,
        };
        let (before, after) = if chat {
            (r#""delta":{"content":" "#, r#""},"logprobs":null,"finish_reason":null}]"#)
        } else {
            (r#""text":" "#, r#"","logprobs":null,"finish_reason":null}]"#)
        };
        let head = format!(r#"data: {{{},"choices":[{{"index":0,{before}"#, script.identity);
        script.word_at = head.len();
        script.event = format!("{head}....{after}{}}}\n\n", script.no_usage).into_bytes();
        script
    }

    /// Bytes of an event with a token.
    pub fn event_len(&self) -> usize {
        self.event.len()
    }

    /// The first event of a stream; completions have none before their tokens.
    pub fn role(&self, out: &mut BytesMut) {
        if self.chat {
            let delta = r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null"#;
            self.put(out, &format!(r#""choices":[{{"index":0,{delta}}}]{}"#, self.no_usage));
        }
    }

    /// Events with tokens `from..to`, numbered from 0. A copy each.
    pub fn tokens(&self, from: u32, to: u32, out: &mut BytesMut) {
        for token in from..to {
            let start = out.len();
            out.extend_from_slice(&self.event);
            out[start + self.word_at..][..4].copy_from_slice(word(token));
        }
    }

    /// The end of a stream: why it ends, what was used if that was asked for, and `[DONE]`.
    pub fn end(&self, reason: &str, usage: Usage, out: &mut BytesMut) {
        let delta = if self.chat { r#""delta":{}"# } else { r#""text":"""# };
        let choice = format!(r#"{{"index":0,{delta},"logprobs":null,"finish_reason":"{reason}"}}"#);
        self.put(out, &format!(r#""choices":[{choice}]{}"#, self.no_usage));
        if self.include_usage {
            self.put(out, &format!(r#""choices":[],"usage":{}"#, usage.json()));
        }
        out.put_slice(DONE);
    }

    fn put(&self, out: &mut BytesMut, rest: &str) {
        // Writing to a buffer that grows cannot fail.
        let _ = write!(out, "data: {{{},{rest}}}\n\n", self.identity);
    }
}

/// The last event of a stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

fn word(token: u32) -> &'static [u8; 4] {
    WORDS[token as usize % WORDS.len()]
}

/// The text of `tokens` tokens.
pub fn text(tokens: u32) -> String {
    let mut text = String::with_capacity(tokens as usize * WORD);
    for token in 0..tokens {
        text.push(' ');
        text.extend(word(token).iter().map(|letter| char::from(*letter)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const USAGE: Usage = Usage { prompt: 9, cached: 4, output: 3 };

    /// What the events of a stream hold, and what ended it.
    fn events(bytes: &[u8]) -> (Vec<Value>, String) {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\n\n"));
        let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
        let last = events.pop().unwrap().to_owned();
        let of = |event: &&str| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        (events.iter().map(of).collect(), last)
    }

    fn stream(kind: Kind, include_usage: bool) -> Vec<Value> {
        let identity = Identity { kind, id: "chat-7", created: 1_700_000_000, model: "\"m\"" };
        let script = Script::new(identity, include_usage);
        let mut out = BytesMut::new();
        script.role(&mut out);
        script.tokens(0, 2, &mut out);
        script.tokens(2, 3, &mut out);
        script.end("stop", USAGE, &mut out);
        let (events, last) = events(&out);
        assert_eq!(last, "data: [DONE]");
        events
    }

    #[test]
    fn a_chat_stream_is_role_tokens_reason_usage_and_done() {
        let events = stream(Kind::Chat, true);
        assert_eq!(events.len(), 6);
        let delta = |at: usize| events[at]["choices"][0]["delta"].clone();
        assert_eq!(delta(0), serde_json::json!({ "role": "assistant", "content": "" }));
        let said: String = (1..4).map(|at| delta(at)["content"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said, text(3));
        assert_eq!(events[4]["choices"][0]["finish_reason"], "stop");
        assert_eq!(delta(4), serde_json::json!({}));
        assert!(events[..5].iter().all(|event| event.get("usage").is_some_and(Value::is_null)));
        assert_eq!(events[5]["choices"], serde_json::json!([]));
        assert_eq!(events[5]["usage"]["total_tokens"], 12);
        assert_eq!(events[5]["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
        assert!(events.iter().all(|event| event["id"] == "chatcmpl-chat-7" && event["model"] == "m"));
    }

    #[test]
    fn usage_is_not_mentioned_when_nobody_asks() {
        let events = stream(Kind::Chat, false);
        assert_eq!(events.len(), 5);
        assert!(events.iter().all(|event| event.get("usage").is_none()));
    }

    #[test]
    fn a_completion_stream_has_texts_and_no_role() {
        let events = stream(Kind::Completions, false);
        let said: String = events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect();
        assert_eq!((events.len(), said), (4, text(3)));
        assert_eq!(events[0]["object"], "text_completion");
    }

    #[test]
    fn a_whole_answer_has_as_many_words_as_tokens() {
        for (kind, said) in
            [(Kind::Chat, "/choices/0/message/content"), (Kind::Completions, "/choices/0/text")]
        {
            let identity = Identity { kind, id: "x", created: 1, model: "\"m\"" };
            let object: Value = serde_json::from_str(&identity.object("length", USAGE, 2)).unwrap();
            let text = object.pointer(said).unwrap().as_str().unwrap();
            assert_eq!(text.split_whitespace().count(), 3);
            assert_eq!(object["usage"]["completion_tokens"], 6, "both choices count");
            assert_eq!(object["choices"][1]["finish_reason"], "length");
            assert_eq!((object["choices"][1]["index"].as_u64(), object["choices"].get(2)), (Some(1), None));
        }
    }
}
