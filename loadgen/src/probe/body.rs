//! Bodies of requests: as small as they can be, or of an exact size.

use super::basis::Caller;
use super::client::Call;
use crate::client::key::Key;
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Map, Value as Json, json};
use tidegate_sim::scenario::live::Api;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Words of the prompt: one is about a token.
    pub prompt: u64,
    /// Most output tokens.
    pub output: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Messages that the prompt is spread over.
    pub messages: u64,
    /// More fields.
    pub more: Map<String, Json>,
    /// Bytes of the whole body.
    pub bytes: Option<u64>,
    /// Another model than the caller's.
    pub model: Option<String>,
}

impl Default for Shape {
    fn default() -> Self {
        let (prompt, output, messages) = (super::cost::PROMPT, 1, 1);
        Shape { prompt, output, stream: false, messages, more: Map::new(), bytes: None, model: None }
    }
}

/// A request of a caller.
///
/// # Errors
/// When no request can be as small as it should be: the size of the smallest.
pub(super) fn request(caller: &Caller, key: Option<Key>, shape: &Shape) -> Result<Call, String> {
    let model = shape.model.as_deref().unwrap_or(&caller.model);
    let mut fields = shape.more.clone();
    let prompt = words(shape.prompt);
    let mut chats = || {
        let mut messages =
            vec![json!({ "role": "user", "content": prompt }); usize::from(shape.messages > 0)];
        messages.extend((1..shape.messages).map(|_| json!({ "role": "user", "content": "" })));
        fields.insert("messages".into(), messages.into());
    };
    match caller.api {
        Api::Chat | Api::Databricks => chats(),
        Api::Completions => drop(fields.insert("prompt".into(), prompt.into())),
        Api::Embeddings => drop(fields.insert("input".into(), prompt.into())),
    }
    if caller.api != Api::Embeddings {
        fields.insert("max_tokens".into(), shape.output.into());
        if shape.stream {
            fields.insert("stream".into(), true.into());
        }
    }
    if caller.api != Api::Databricks {
        fields.insert("model".into(), model.into());
    }
    let path = match caller.api {
        Api::Chat => "/v1/chat/completions".to_owned(),
        Api::Completions => "/v1/completions".to_owned(),
        Api::Embeddings => "/v1/embeddings".to_owned(),
        Api::Databricks => format!("/serving-endpoints/{model}/invocations"),
    };
    let mut body = Json::Object(fields).to_string().into_bytes();
    match shape.bytes {
        // Not JSON any more, but nothing: what else can have no bytes.
        Some(0) => body.clear(),
        Some(bytes) => {
            let (least, wanted) = (body.len(), bytes as usize);
            if wanted < least {
                return Err(format!("no request is as small as {bytes} bytes: the smallest has {least}"));
            }
            // Space before the closing brace is JSON, and no token.
            body.pop();
            body.resize(wanted - 1, b' ');
            body.push(b'}');
        }
        None => {}
    }
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        // An emulated gateway takes this number; others count the words.
        ("x-tidegate-prompt-tokens", shape.prompt.max(1).to_string()),
    ];
    Ok(Call { method: Method::POST, path, headers, body: Bytes::from(body), key, caller: None })
}

/// So many words.
pub(super) fn words(count: u64) -> String {
    let mut text = "tide ".repeat(count as usize);
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sim::profile::Subject;

    fn caller(api: Api) -> Caller {
        Caller {
            name: "chat".into(),
            jobs: false,
            subject: Subject::default(),
            api,
            model: "m".into(),
            context: None,
            key_env: None,
            permits: None,
        }
    }

    #[test]
    fn a_body_has_exactly_the_wanted_bytes_and_is_json() {
        for bytes in [100, 1000, 1_000_000] {
            let shape = Shape { bytes: Some(bytes), ..Shape::default() };
            let call = request(&caller(Api::Chat), None, &shape).unwrap();
            assert_eq!(call.body.len() as u64, bytes);
            let json: Json = serde_json::from_slice(&call.body).unwrap();
            assert_eq!(json["messages"][0]["content"], "tide tide");
        }
        let shape = |bytes| Shape { bytes: Some(bytes), ..Shape::default() };
        assert!(request(&caller(Api::Chat), None, &shape(10)).unwrap_err().contains("smallest has"));
        assert!(request(&caller(Api::Chat), None, &shape(0)).unwrap().body.is_empty());
    }

    #[test]
    fn each_api_has_its_path_and_fields() {
        let sent = |api| {
            let call = request(&caller(api), None, &Shape::default()).unwrap();
            let json: Json = serde_json::from_slice(&call.body).unwrap();
            (call.path, json)
        };
        let (path, json) = sent(Api::Databricks);
        assert_eq!((path.as_str(), json.get("model")), ("/serving-endpoints/m/invocations", None));
        let (path, json) = sent(Api::Embeddings);
        assert_eq!((path.as_str(), json.get("max_tokens")), ("/v1/embeddings", None));
        assert_eq!(json["input"], "tide tide");
        assert_eq!(sent(Api::Completions).1["prompt"], "tide tide");
    }

    #[test]
    fn words_are_counted_by_their_spaces() {
        assert_eq!((words(0).as_str(), words(1).as_str(), words(3).as_str()), ("", "tide", "tide tide tide"));
    }
}
