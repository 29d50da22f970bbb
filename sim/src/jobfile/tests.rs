//! Files of batch requests, right and wrong.

use super::*;
use std::io::BufReader;

fn openai(id: &str, model: &str, content: &str) -> String {
    format!(
        r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"model":"{model}","messages":[{{"role":"user","content":{content}}}],"max_tokens":7}}}}"#
    )
}

fn anthropic(id: &str) -> String {
    format!(
        r#"{{"custom_id":"{id}","params":{{"model":"claude","max_tokens":9,"system":"be brief","messages":[{{"role":"user","content":"12345"}}]}}}}"#
    )
}

fn check(text: &str, rules: &Rules<'_>) -> (Contents, Vec<(u32, Option<u32>)>) {
    let mut lines = Vec::new();
    let found = read(text.as_bytes(), rules, |prompt, output| lines.push((prompt, output))).unwrap();
    (found, lines)
}

fn fault(text: &str) -> (u64, String) {
    let (line, fault) = check(text, &Rules::default()).0.fault.expect("the file is wrong");
    (line, fault.to_string())
}

#[test]
fn a_line_counts_a_token_for_four_bytes_of_text_and_four_for_a_message() {
    // 5 bytes are 2 tokens; an umlaut has two bytes.
    let text = [openai("a", "m", r#""12345""#), openai("b", "m", r#""äöü""#), String::new()].join("\n");
    let (found, lines) = check(&text, &Rules::default());
    assert_eq!(lines, [(6, Some(7)), (6, Some(7))]);
    assert_eq!((found.requests, found.prompt_tokens, found.output_tokens), (2, 12, 14));
    assert_eq!(found.fault, None);
    assert_eq!(
        (found.format, found.endpoint.as_deref()),
        (Some(Format::OpenAi), Some("/v1/chat/completions"))
    );
    assert_eq!(found.bytes, text.len() as u64);
}

#[test]
fn the_form_of_anthropic_is_recognised() {
    let (found, lines) = check(&[anthropic("a"), anthropic("b")].join("\n"), &Rules::default());
    // `be brief` is 2 tokens, `12345` is 2, and there are two messages.
    assert_eq!(lines, [(12, Some(9)); 2]);
    assert_eq!((found.format, found.endpoint, found.fault), (Some(Format::Anthropic), None, None));
    assert_eq!(found.models, [("claude".to_owned(), 1)]);
    let wrong = Rules { format: Some(Format::OpenAi), ..Rules::default() };
    let (line, fault) = check(&anthropic("a"), &wrong).0.fault.unwrap();
    assert_eq!((line, fault.to_string().as_str()), (1, "missing required field `method`"));
}

#[test]
fn parts_are_noted_with_the_line_on_which_each_kind_first_stands() {
    let parts = |kind: &str| format!(r#"[{{"type":"text","text":"what is this?"}},{{"type":"{kind}"}}]"#);
    let kinds = ["image_url", "input_audio", "video_url", "file", "image"];
    let lines: Vec<String> =
        kinds.iter().enumerate().map(|(at, kind)| openai(&at.to_string(), "m", &parts(kind))).collect();
    let found = check(&lines.join("\n"), &Rules::default()).0;
    use Content::{Audio, File, Image, Text, Video};
    assert_eq!(found.content, [(Text, 1), (Image, 1), (Audio, 2), (Video, 3), (File, 4)]);
    assert_eq!(
        fault(&openai("a", "m", &parts("hologram"))).1,
        "a content part of the unknown type `hologram`"
    );
}

#[test]
fn other_paths_hold_their_prompts_elsewhere() {
    let line = |body: &str| {
        format!(r#"{{"custom_id":"a","method":"POST","url":"/v1/responses","body":{{"model":"m",{body}}}}}"#)
    };
    let tokens = |body: &str| check(&line(body), &Rules::default()).1[0];
    assert_eq!(tokens(r#""input":"12345678","max_output_tokens":3"#), (6, Some(3)));
    assert_eq!(tokens(r#""input":[{"role":"user","content":"1234"}],"instructions":"1234""#), (10, None));
    assert_eq!(tokens(r#""prompt":["1234","1234"]"#), (10, None));
    assert_eq!(tokens(r#""input":[1,2,3]"#), (3, None));
    assert_eq!(tokens(r#""input":"1","max_completion_tokens":5"#), (5, Some(5)));
}

#[test]
fn the_first_line_of_wrong_form_is_named_from_one() {
    let good = openai("a", "m", "\"x\"");
    for (second, expected) in [
        ("{".to_owned(), "not JSON: EOF while parsing an object at column 1"),
        ("[]".to_owned(), "`line` is not an object"),
        (good.replace(r#""custom_id":"a","#, ""), "missing required field `custom_id`"),
        (openai(" ", "m", "\"x\""), "`custom_id` is not text that is not empty"),
        (good.clone(), "`custom_id` is `a`, as on line 1"),
        (openai("b", "m", "\"x\"").replace("POST", "GET"), "`method` is not `POST`"),
        (
            openai("b", "m", "\"x\"").replace("/v1/chat/completions", "/v1/responses"),
            "`url` is `/v1/responses`, not `/v1/chat/completions`",
        ),
        (openai("b", "m", "\"x\"").replace(r#""model":"m","#, ""), "missing required field `body.model`"),
        (openai("b", "m", "\"x\"").replace("messages", "message"), "missing required field `body.messages`"),
        (openai("b", "m", "\"x\"").replace(":7", ":0"), "`max_tokens` is not a whole number above 0"),
        (openai("b", "m", "\"x\"").replace(":7", ":2.5"), "`max_tokens` is not a whole number above 0"),
        (openai("b", "m", "7"), "`content` is not text or a list of parts"),
        (format!("\n{}", openai("b", "m", "\"x\"")), "the line is blank, and requests follow it"),
    ] {
        let (line, message) = fault(&[good.as_str(), &second].join("\n"));
        assert_eq!((line, message.as_str()), (2, expected), "{second}");
    }
    assert_eq!(
        fault(&anthropic("a").replace(r#""max_tokens":9,"#, "")).1,
        "missing required field `params.max_tokens`"
    );
}

#[test]
fn blank_lines_at_the_end_are_no_lines_and_a_file_of_them_is_empty() {
    let line = openai("a", "m", "\"x\"");
    for (text, requests) in [(format!("{line}\n"), 1), (format!("{line}\r\n\n \n"), 1)] {
        let found = check(&text, &Rules::default()).0;
        assert_eq!((found.requests, found.fault), (requests, None));
    }
    for text in ["", "\n", " \n\n"] {
        assert_eq!(fault(text), (0, "the file has no request".to_owned()));
    }
}

/// A file of `count` requests, made while it is read.
fn made(count: u64) -> impl BufRead {
    let mut lines = (0..count).map(|at| openai(&at.to_string(), "m", "\"x\"") + "\n");
    let mut rest: Vec<u8> = Vec::new();
    struct Made<F>(F);
    impl<F: FnMut(&mut [u8]) -> usize> io::Read for Made<F> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            Ok(self.0(into))
        }
    }
    BufReader::new(Made(move |into: &mut [u8]| {
        if rest.is_empty() {
            rest = lines.next().unwrap_or_default().into_bytes();
        }
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        rest.drain(..length);
        length
    }))
}

#[test]
fn fifty_thousand_requests_are_let_in_and_one_more_is_the_fault_of_its_line() {
    let rules = Rules { requests: Some(50_000), ..Rules::default() };
    for (count, expected) in
        [(49_999, None), (50_000, None), (50_001, Some((50_001, Fault::TooMany { most: 50_000 })))]
    {
        let mut told = 0;
        let found = read(made(count), &rules, |_, _| told += 1).unwrap();
        assert_eq!(found.fault, expected, "{count}");
        assert_eq!((told, found.requests), (count.min(50_000), count.min(50_000)));
    }
    // What follows is not even looked at.
    let (line, _) = read(made(u64::MAX), &rules, |_, _| ()).unwrap().fault.unwrap();
    assert_eq!(line, 50_001);
}

#[test]
fn a_second_model_is_noted_on_its_own_line_and_case_makes_another() {
    for second in [2, 700] {
        let lines = (1..=700).map(|at| openai(&at.to_string(), if at < second { "m" } else { "M" }, "\"x\""));
        let found = check(&lines.collect::<Vec<_>>().join("\n"), &Rules::default()).0;
        assert_eq!(found.models, [("m".to_owned(), 1), ("M".to_owned(), second)]);
    }
}
