use super::*;
use proptest::prelude::*;

fn chat(body: &str) -> Result<Asked, Wrong> {
    read(Kind::Chat, body.as_bytes(), true)
}

/// The field and the message of a refusal.
fn refused(kind: Kind, body: &str) -> (Option<String>, String) {
    let wrong = read(kind, body.as_bytes(), true).expect_err(body);
    (wrong.param, wrong.message)
}

const HI: &str = r#""model":"m","messages":[{"role":"user","content":"hello there"}]"#;

#[test]
fn a_chat_request_is_read_with_all_that_matters() {
    let body = format!(
        r#"{{{HI},"max_tokens":7,"min_tokens":2,"stream":true,"stream_options":{{"include_usage":true}},"temperature":0.5,"stop":["x"]}}"#
    );
    let asked = chat(&body).unwrap();
    assert_eq!(asked.model.as_deref(), Some("m"));
    assert_eq!((asked.words, asked.max_tokens, asked.min_tokens), (2, Some(7), 2));
    assert!(asked.stream && asked.include_usage && !asked.ignore_eos);
}

#[test]
fn words_of_every_message_and_part_count_and_tokens_count_themselves() {
    let body = r#"{"messages":[{"role":"system","content":"be brief"},{"content":[{"type":"text","text":"a  b\nc"},{"text":"d","type":"text"}],"role":"user"}]}"#;
    assert_eq!(chat(body).unwrap().words, 6);
    let words = |kind, body: &str| read(kind, body.as_bytes(), true).unwrap().words;
    assert_eq!(words(Kind::Completions, r#"{"prompt":"one two"}"#), 2);
    assert_eq!(words(Kind::Completions, r#"{"prompt":[5,6,7]}"#), 3);
    assert_eq!(words(Kind::Completions, r#"{"prompt":[[5,6,7]]}"#), 3);
    let many =
        read(Kind::Embeddings, br#"{"input":["one two","three"],"encoding_format":"base64"}"#, true).unwrap();
    assert_eq!((many.words, many.inputs, many.base64), (3, 2, true));
    assert_eq!(read(Kind::Chat, format!("{{{HI}}}").as_bytes(), false).unwrap().words, 0, "not asked for");
}

#[test]
fn turns_of_a_conversation_have_one_prefix_and_others_have_others() {
    let prefix = |messages: &str| chat(&format!(r#"{{"messages":[{messages}]}}"#)).unwrap().prefix;
    let (system, first) = (r#"{"role":"system","content":"s"}"#, r#"{"role":"user","content":"u"}"#);
    let answer = r#"{"role":"assistant","content":"a"},{"role":"user","content":"more"}"#;
    let one = prefix(&format!("{system},{first}"));
    assert_ne!(one, 0);
    assert_eq!(one, prefix(&format!("{system},{first},{answer}")));
    assert_ne!(one, prefix(first));
    assert_ne!(one, prefix(&format!(r#"{system},{{"role":"user","content":"v"}}"#)));
}

#[test]
fn an_invocation_is_what_it_holds() {
    let kind = |body: &str| read(Kind::Invocation, body.as_bytes(), true).unwrap().kind;
    assert_eq!(kind(r#"{"messages":[{"role":"user","content":"x"}]}"#), Kind::Chat);
    assert_eq!(kind(r#"{"prompt":"x"}"#), Kind::Completions);
    assert_eq!(kind(r#"{"input":"x"}"#), Kind::Embeddings);
    assert_eq!(refused(Kind::Invocation, r#"{"prompt":"x","input":"y"}"#).0.as_deref(), Some("input"));
}

#[test]
fn what_is_wrong_names_its_field() {
    for (more, param, said) in [
        (r#""max_tokens":"7""#, "max_tokens", "whole number from 1"),
        (r#""max_tokens":0"#, "max_tokens", "whole number from 1"),
        (r#""max_tokens":1.5"#, "max_tokens", "whole number from 1"),
        (r#""stream":"yes""#, "stream", "not a boolean"),
        (r#""n":2,"stream":true"#, "n", "not emulated"),
        (r#""logprobs":true"#, "logprobs", "not emulated"),
        (r#""tools":[{"type":"function"}]"#, "tools", "not emulated"),
        (r#""response_format":{"type":"json_object"}"#, "response_format", "not emulated"),
        (r#""max_token":5"#, "max_token", "Unrecognized request argument supplied: `max_token`"),
        (r#""model":"n""#, "model", "twice"),
        (r#""stream_options":{"include_usage":true}"#, "stream_options", "only allowed with `stream`"),
        (r#""ignore_eos":true"#, "ignore_eos", "needs `max_tokens`"),
        (r#""min_tokens":5,"max_tokens":4"#, "min_tokens", "above `max_tokens`"),
        (r#""max_tokens":5,"max_completion_tokens":6"#, "max_completion_tokens", "not the same"),
    ] {
        let (found, message) = refused(Kind::Chat, &format!("{{{HI},{more}}}"));
        assert_eq!(found.as_deref(), Some(param), "{more}");
        assert!(message.contains(said), "{more}: {message}");
        assert!(!message.contains(" at line "), "{message}");
    }
    for (messages, said) in [
        ("[]", "holds no message"),
        ("\"x\"", "expected a list of messages"),
        ("[3]", "expected a message"),
        (r#"[{"role":"king","content":"x"}]"#, "`king`"),
        (r#"[{"content":"x"}]"#, "`messages[0].role` is missing"),
        (r#"[{"role":"user"}]"#, "`messages[0].content` is missing"),
        (r#"[{"role":"user","content":7}]"#, "messages[0].content"),
        (
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]"#,
            "`image_url`, which is not emulated",
        ),
        (
            r#"[{"role":"assistant","content":"","tool_calls":[{}]}]"#,
            "`messages[0].tool_calls` is not emulated",
        ),
    ] {
        let (found, message) = refused(Kind::Chat, &format!(r#"{{"messages":{messages}}}"#));
        assert_eq!(found.as_deref(), Some("messages"), "{messages}");
        assert!(message.contains(said), "{messages}: {message}");
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    let body = format!(
        r#"{{{HI},"n":1,"logprobs":false,"top_logprobs":null,"tools":[],"tool_choice":"none","response_format":{{"type":"text"}},"modalities":["text"],"audio":null}}"#
    );
    chat(&body).unwrap();
    let history = r#"{"messages":[{"role":"assistant","content":"x","refusal":null,"annotations":[],"audio":null},{"role":"user","content":"y"}]}"#;
    chat(history).unwrap();
}

#[test]
fn bytes_that_are_no_text_and_text_that_is_no_json_are_told_apart() {
    let wrong = read(Kind::Chat, b"{\"model\":\"\xff\"}", true).unwrap_err();
    assert_eq!(wrong.message, "The body is not UTF-8: byte 10 does not fit.");
    for body in [
        "",
        "{",
        "{\"model\":",
        "nonsense",
        "{} {}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"\u{1}\"}]}",
    ] {
        let (param, message) = refused(Kind::Chat, body);
        assert_eq!(param, None, "{body}");
        assert!(message.starts_with("The body is not JSON"), "{body}: {message}");
    }
    let deep = format!("{{\"user\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        refused(Kind::Chat, &deep).1.contains("`messages`"),
        "nesting costs no stack where nothing is read"
    );
    let deep = deep.replace("user", "messages");
    assert_eq!(refused(Kind::Chat, &deep).0.as_deref(), Some("messages"));
}

/// Bodies that are nearly right.
fn nearly() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f32>().prop_map(|number| number.to_string()),
        "\"[a-z ]{0,9}\"",
        Just("[]".to_owned()),
        Just("[{\"role\":\"user\",\"content\":\"x y\"}]".to_owned()),
        Just("[[1,2],[3]]".to_owned()),
        Just("{\"type\":\"text\"}".to_owned()),
        Just("{\"include_usage\":true}".to_owned()),
    ];
    let key = prop::sample::select(vec![
        "model",
        "messages",
        "prompt",
        "input",
        "max_tokens",
        "min_tokens",
        "ignore_eos",
        "stream",
        "stream_options",
        "n",
        "tools",
        "encoding_format",
        "dimensions",
        "user",
        "logprobs",
        "unheard_of",
    ]);
    prop::collection::vec((key, value), 0..6).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

/// What holds of any bytes whatever; the fuzz target says the same.
fn holds(bytes: &[u8]) {
    for kind in [Kind::Chat, Kind::Completions, Kind::Embeddings, Kind::Invocation] {
        match read(kind, bytes, true) {
            Ok(asked) => {
                assert_ne!(asked.kind, Kind::Invocation);
                assert!(asked.inputs >= 1);
                assert!(asked.max_tokens.is_none_or(|most| most >= 1 && most >= asked.min_tokens));
                let uncounted = read(kind, bytes, false).expect("counting refuses nothing");
                assert_eq!(uncounted, Asked { words: 0, prefix: 0, ..asked });
            }
            Err(wrong) => assert!(!wrong.message.is_empty()),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_with_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&bytes);
    }

    #[test]
    fn bodies_that_are_nearly_right_are_read_or_refused_with_a_reason(body in nearly(), cut in 0_usize..200) {
        holds(body.as_bytes());
        holds(&body.as_bytes()[..cut.min(body.len())]);
    }
}
