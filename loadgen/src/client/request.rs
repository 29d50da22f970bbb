//! Bodies and headers of requests, of every API that a workload may use.
//!
//! What does not change from request to request is put together once; the rest is copied, because a request must cost
//! next to nothing between the instant at which it is due and its sending.

use super::key::Key;
use super::transport::Transport;
use bytes::Bytes;
use hyper::Uri;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tidegate_sim::request::RequestHead;
use tidegate_sim::scenario::live::{Api, Wire};

/// Which request of the schedule it is: position in its workload.
pub const INDEX: HeaderName = HeaderName::from_static("x-tidegate-index");
/// Its session.
pub const SESSION: HeaderName = HeaderName::from_static("x-tidegate-session");
/// The replication that it was drawn for.
pub const REPLICATION: HeaderName = HeaderName::from_static("x-tidegate-replication");
/// Its turn.
pub const TURN: HeaderName = HeaderName::from_static("x-tidegate-turn");
/// Its prompt, tokens.
pub const PROMPT_TOKENS: HeaderName = HeaderName::from_static("x-tidegate-prompt-tokens");
/// Of an answer: the limit that turned the request away.
pub const REASON: HeaderName = HeaderName::from_static("x-tidegate-reason");

/// How outputs get the length that the schedule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLengths {
    /// The server knows it by the request's index; only a declared limit is sent.
    Index,
    /// `max_tokens` is the length.
    MaxTokens,
    /// So is `min_tokens`, and the end of the text is ignored (vLLM and its relatives).
    Forced,
}

/// What requests of one workload have in common.
#[derive(Debug)]
pub struct Form {
    /// Address, parsed.
    pub uri: Uri,
    api: Api,
    stream: bool,
    lengths: OutputLengths,
    before: Vec<u8>,
    after: Vec<u8>,
    headers: HeaderMap,
    /// By tenant; one for all when there is one key.
    keys: Vec<HeaderValue>,
}

impl Form {
    /// The form of a workload called `name` on the wire. `keys`: by tenant, one for all, or none at all.
    pub fn new(wire: &Wire, name: &str, lengths: OutputLengths, keys: &[Key], transport: &Transport) -> Self {
        let stream = wire.stream && wire.api != Api::Embeddings;
        let (before, after) = around(wire.api, name, stream);
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accept = if stream { "text/event-stream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Form {
            uri: transport.uri(&path(wire.api, name)),
            api: wire.api,
            stream,
            lengths,
            before,
            after,
            headers,
            keys: keys.iter().map(Key::header).collect(),
        }
    }

    /// The form of lines of batch jobs: of the same workload, not streamed, with their lengths declared.
    pub fn of_lines(&self, api: Api, name: &str) -> Form {
        let (before, after) = around(api, name, false);
        Form {
            uri: self.uri.clone(),
            api,
            stream: false,
            lengths: OutputLengths::Index,
            before,
            after,
            headers: HeaderMap::new(),
            keys: self.keys.clone(),
        }
    }

    /// The key of a tenant, as a header has it.
    pub fn key(&self, tenant: u32) -> Option<&HeaderValue> {
        self.keys.get(tenant as usize).or(self.keys.first())
    }

    /// Whether answers are streamed.
    pub fn is_streamed(&self) -> bool {
        self.stream
    }

    /// Whether answers are embeddings.
    pub fn is_embeddings(&self) -> bool {
        self.api == Api::Embeddings
    }

    /// The headers of one request of a replication.
    pub fn headers(&self, head: &RequestHead, replication: u32) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(INDEX, head.index.into());
        headers.insert(SESSION, head.session.into());
        // What is not said is zero.
        if head.turn > 0 {
            headers.insert(TURN, head.turn.into());
        }
        if replication > 0 {
            headers.insert(REPLICATION, replication.into());
        }
        headers.insert(PROMPT_TOKENS, head.prompt_tokens.into());
        if let Some(key) = self.key(head.tenant) {
            headers.insert(AUTHORIZATION, key.clone());
        }
        headers
    }

    /// The body of one request whose output is to be `output` tokens. `prompt` writes the prompt as JSON text without
    /// quotes. Padded with white space to the bytes that `head` states, if any.
    pub fn body(&self, head: &RequestHead, output: u32, prompt: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let room = self.before.len() + self.after.len() + head.prompt_tokens as usize * 8 + 96;
        let mut body = Vec::with_capacity(room.max(head.body_bytes.unwrap_or(0) as usize));
        body.extend_from_slice(&self.before);
        prompt(&mut body);
        body.extend_from_slice(&self.after);
        if self.api != Api::Embeddings {
            let most = if self.lengths == OutputLengths::Index { head.max_tokens } else { Some(output) };
            if let Some(most) = most {
                field(&mut body, "max_tokens", most);
            }
            if self.lengths == OutputLengths::Forced {
                field(&mut body, "min_tokens", output);
                body.extend_from_slice(br#","ignore_eos":true"#);
            }
        }
        body.push(b'}');
        if let Some(bytes) = head.body_bytes {
            body.resize(body.len().max(bytes as usize), b' ');
        }
        body.into()
    }
}

/// What stands in a body before the prompt, and after it.
fn around(api: Api, name: &str, stream: bool) -> (Vec<u8>, Vec<u8>) {
    let model = serde_json::Value::from(name).to_string();
    let before = match api {
        Api::Chat => format!(r#"{{"model":{model},"messages":[{{"role":"user","content":""#),
        Api::Databricks => r#"{"messages":[{"role":"user","content":""#.to_owned(),
        Api::Completions => format!(r#"{{"model":{model},"prompt":""#),
        Api::Embeddings => format!(r#"{{"model":{model},"input":""#),
    };
    let mut after = match api {
        Api::Chat | Api::Databricks => r#""}]"#,
        Api::Completions | Api::Embeddings => r#"""#,
    }
    .to_owned();
    if stream {
        after.push_str(r#","stream":true,"stream_options":{"include_usage":true}"#);
    }
    (before.into_bytes(), after.into_bytes())
}

fn field(body: &mut Vec<u8>, name: &str, value: u32) {
    use std::io::Write as _;
    write!(body, ",\"{name}\":{value}").expect("memory takes what is written");
}

/// The path of requests to a model (an endpoint, with Databricks) called `name`.
pub fn path(api: Api, name: &str) -> String {
    match api {
        Api::Chat => "/v1/chat/completions".to_owned(),
        Api::Completions => "/v1/completions".to_owned(),
        Api::Embeddings => "/v1/embeddings".to_owned(),
        Api::Databricks => format!("/serving-endpoints/{}/invocations", escaped(name)),
    }
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Target;
    use serde_json::{Value, json};
    use tidegate_sim::request::Prefix;

    fn head() -> RequestHead {
        RequestHead {
            workload: 0,
            tenant: 1,
            index: 17,
            prompt_tokens: 3,
            max_tokens: Some(64),
            session: 5,
            turn: 2,
            prefix: Prefix::default(),
            body_bytes: None,
        }
    }

    fn form(api: Api, stream: bool, lengths: OutputLengths) -> Form {
        let transport = Transport::new(&Target::parse("http://127.0.0.1:9/base").unwrap()).unwrap();
        let wire = Wire { api, stream, name: None, key_env: None };
        let keys = [Key::new("chat", "a test").unwrap(), Key::new("chat-1", "a test").unwrap()];
        Form::new(&wire, "my \"model\"", lengths, &keys, &transport)
    }

    fn body(form: &Form, head: &RequestHead) -> Value {
        serde_json::from_slice(&form.body(head, 9, |body| body.extend_from_slice(b" a b c"))).unwrap()
    }

    #[test]
    fn every_api_has_its_body_and_path() {
        let chat = form(Api::Chat, true, OutputLengths::Index);
        assert_eq!(
            body(&chat, &head()),
            json!({"model": "my \"model\"", "messages": [{"role": "user", "content": " a b c"}], "stream": true,
                   "stream_options": {"include_usage": true}, "max_tokens": 64})
        );
        assert_eq!(chat.uri.path(), "/base/v1/chat/completions");
        let databricks = form(Api::Databricks, false, OutputLengths::MaxTokens);
        assert_eq!(
            body(&databricks, &head()),
            json!({"messages": [{"role": "user", "content": " a b c"}], "max_tokens": 9})
        );
        assert_eq!(databricks.uri.path(), "/base/serving-endpoints/my%20%22model%22/invocations");
        let completions = form(Api::Completions, false, OutputLengths::Forced);
        assert_eq!(
            body(&completions, &head()),
            json!({"model": "my \"model\"", "prompt": " a b c", "max_tokens": 9, "min_tokens": 9, "ignore_eos": true})
        );
        let embeddings = form(Api::Embeddings, true, OutputLengths::Forced);
        assert_eq!(body(&embeddings, &head()), json!({"model": "my \"model\"", "input": " a b c"}));
        assert!(!embeddings.is_streamed());
    }

    #[test]
    fn nothing_is_declared_that_the_scenario_does_not_declare() {
        let undeclared = RequestHead { max_tokens: None, ..head() };
        let chat = form(Api::Chat, false, OutputLengths::Index);
        assert!(body(&chat, &undeclared).get("max_tokens").is_none());
    }

    #[test]
    fn a_stated_size_is_kept_to_the_byte() {
        let stated = RequestHead { body_bytes: Some(1_000), ..head() };
        let chat = form(Api::Chat, true, OutputLengths::Index);
        let bytes = chat.body(&stated, 9, |body| body.extend_from_slice(b" a"));
        assert_eq!(bytes.len(), 1_000);
        assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
    }

    #[test]
    fn headers_say_which_request_it_is_and_whose() {
        let headers = form(Api::Chat, true, OutputLengths::Index).headers(&head(), 3);
        let text = |name: &HeaderName| headers[name].to_str().unwrap();
        assert_eq!((text(&INDEX), text(&SESSION), text(&TURN), text(&PROMPT_TOKENS)), ("17", "5", "2", "3"));
        assert_eq!(text(&REPLICATION), "3");
        assert_eq!(headers[AUTHORIZATION].as_bytes(), b"Bearer chat-1");
        assert!(headers[AUTHORIZATION].is_sensitive());
    }
}
