//! What a client reads when it is refused: status, headers and body.

use super::limit::Limit;
use crate::request::Refusal;
use crate::time::NANOS_PER_SEC;
use std::fmt::Write as _;

/// What can stand in a message.
const IN_MESSAGE: [&str; 5] = ["limit", "current", "key", "retry_after", "row"];
/// What can stand in an envelope.
const IN_ENVELOPE: [&str; 7] = ["status", "code", "message", "limit", "current", "retry_after", "row"];

/// An answer as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The envelope, filled in: JSON.
    pub body: String,
}

/// What `limit` answers to `refusal`. `envelope` is the profile's; `key` says whose counter it was, for messages that
/// name it.
///
/// `retry-after` is in whole seconds, rounded up: whoever waits as long is let in. It is left out when time alone does
/// not heal the refusal, or the vendor announces nothing; in a text, `-` stands for a time that is not known.
pub fn respond(limit: &Limit, refusal: &Refusal, envelope: &str, key: &str) -> Response {
    let answer = &limit.answer;
    let seconds = refusal.retry_after.map(|wait| wait.as_nanos().div_ceil(NANOS_PER_SEC));
    let fill = |placeholder: &str| match placeholder {
        "limit" => refusal.limit.to_string(),
        "current" => refusal.current.to_string(),
        "key" => key.to_owned(),
        "retry_after" => seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string()),
        "row" => limit.row.clone(),
        other => unreachable!("`{other}` was refused when the profile was read"),
    };
    let message: String = pieces(&answer.message)
        .map(|piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Placeholder(placeholder) => fill(placeholder),
        })
        .collect();
    let announced = seconds.filter(|_| answer.announces_retry);
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(announced.map(|seconds| ("retry-after", seconds.to_string())));
    let body = fill_envelope(envelope, |placeholder| match placeholder {
        "status" => Some(Json::Number(answer.status.into())),
        "code" => Some(Json::Text(&answer.code)),
        "message" => Some(Json::Text(&message)),
        "limit" => Some(Json::Number(refusal.limit)),
        "current" => Some(Json::Number(refusal.current)),
        "retry_after" => Some(announced.map_or(Json::Null, Json::Number)),
        "row" => Some(Json::Text(&limit.row)),
        _ => None,
    });
    Response { status: answer.status, headers, body }
}

/// An answer that no limit gives (a key that nobody knows, a body that cannot be read) in the vendor's envelope. The
/// message goes in as it is.
pub fn say(status: u16, code: &str, message: &str, envelope: &str) -> Response {
    let body = fill_envelope(envelope, |placeholder| match placeholder {
        "status" => Some(Json::Number(status.into())),
        "code" => Some(Json::Text(code)),
        "message" => Some(Json::Text(message)),
        "retry_after" => Some(Json::Null),
        "limit" | "current" => Some(Json::Number(0)),
        "row" => Some(Json::Text("")),
        _ => None,
    });
    Response { status, headers: vec![("content-type", "application/json".to_owned())], body }
}

/// A part of a template.
enum Piece<'a> {
    Text(&'a str),
    /// The name between braces.
    Placeholder(&'a str),
}

/// Splits at `{name}`; braces around anything but lower-case letters and `_` are text, so that JSON can be a template.
fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = placeholder(rest) {
            rest = after;
            return Some(Piece::Placeholder(name));
        }
        let next =
            (1..rest.len()).find(|&at| rest.is_char_boundary(at) && placeholder(&rest[at..]).is_some());
        let (text, after) = rest.split_at(next.unwrap_or(rest.len()));
        rest = after;
        Some(Piece::Text(text))
    })
}

/// The placeholder that `text` begins with, and what follows it.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('{')?;
    let (name, after) = inside.split_once('}')?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then_some((name, after))
}

/// A value in an envelope.
#[derive(Clone, Copy)]
enum Json<'a> {
    Number(u64),
    Text(&'a str),
    Null,
}

/// Fills an envelope in. Inside quotes a value becomes escaped text (nothing, when there is none), outside a number or
/// `null`. A placeholder that `value` does not know stays.
fn fill_envelope<'a>(envelope: &str, value: impl Fn(&str) -> Option<Json<'a>>) -> String {
    let (mut out, mut quoted) = (String::new(), false);
    for piece in pieces(envelope) {
        let name = match piece {
            Piece::Text(text) => {
                let mut escaped = false;
                for c in text.chars() {
                    quoted ^= c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                }
                out.push_str(text);
                continue;
            }
            Piece::Placeholder(name) => name,
        };
        match value(name) {
            Some(Json::Number(number)) => {
                let _ = write!(out, "{number}");
            }
            Some(Json::Text(text)) => {
                let written = serde_json::Value::from(text).to_string();
                out.push_str(if quoted { &written[1..written.len() - 1] } else { &written });
            }
            Some(Json::Null) if quoted => {}
            Some(Json::Null) => out.push_str("null"),
            None => {
                let _ = write!(out, "{{{name}}}");
            }
        }
    }
    out
}

/// Whether a message can be filled in.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check_message(message: &str) -> Result<(), (String, String)> {
    known(message, &IN_MESSAGE)
}

/// Whether an envelope can be filled in and is JSON then.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check_envelope(envelope: &str) -> Result<(), (String, String)> {
    known(envelope, &IN_ENVELOPE)?;
    let filled = fill_envelope(envelope, |name| match name {
        "code" | "message" | "row" => Some(Json::Text("it's \"x\"")),
        "retry_after" => Some(Json::Null),
        _ => Some(Json::Number(1)),
    });
    match serde_json::from_str::<serde_json::Value>(&filled) {
        Ok(_) => Ok(()),
        Err(error) => {
            let hint = "for example `'{\"error_code\":\"{code}\",\"message\":\"{message}\"}'`";
            Err((format!("the envelope is not JSON when it is filled in: {error}"), hint.to_owned()))
        }
    }
}

fn known(template: &str, names: &[&str]) -> Result<(), (String, String)> {
    let unknown = pieces(template).find_map(|piece| match piece {
        Piece::Placeholder(name) if !names.contains(&name) => Some(name),
        _ => None,
    });
    match unknown {
        None => Ok(()),
        Some(name) => {
            let all: Vec<String> = names.iter().map(|name| format!("`{{{name}}}`")).collect();
            let hint = format!("it may hold {}", all.join(", "));
            Err((format!("nothing fills in `{{{name}}}`"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::{Answer, Mechanism, Provenance, Source, Stage, Verb};
    use super::*;
    use crate::time::Span;

    fn limit(message: &str, announces_retry: bool) -> Limit {
        Limit {
            name: "qps".into(),
            row: "dbx-qps".into(),
            stage: Stage::Workspace,
            on: vec![Verb::Inference],
            when: Vec::new(),
            mechanism: Mechanism::Concurrency { limit: Some(200) },
            per: Vec::new(),
            keys: 1,
            meter: None,
            answer: Answer {
                status: 429,
                code: "REQUEST_LIMIT_EXCEEDED".into(),
                message: message.into(),
                provenance: Provenance::Documented,
                announces_retry,
                retryable: true,
            },
            provenance: Provenance::Documented,
            source: Source::Profile,
            advice: None,
        }
    }

    fn refusal(retry_after: Option<u64>) -> Refusal {
        let retry_after = retry_after.map(Span::from_nanos);
        Refusal { reason: 3, key: 0, limit: 200, current: 201, retry_after }
    }

    const ENVELOPE: &str =
        r#"{"code":"{code}","message":"{message}","status":{status},"wait":{retry_after}}"#;

    #[test]
    fn an_answer_has_status_headers_and_the_vendors_body() {
        let limit = limit("{key}: {current} of {limit}, see {row}; in {retry_after} s", true);
        let found = respond(&limit, &refusal(Some(1)), ENVELOPE, "main");
        assert_eq!(found.status, 429);
        assert_eq!(found.headers[1..], [("retry-after", "1".to_owned())]);
        assert_eq!(
            found.body,
            r#"{"code":"REQUEST_LIMIT_EXCEEDED","message":"main: 201 of 200, see dbx-qps; in 1 s","status":429,"wait":1}"#
        );
    }

    #[test]
    fn seconds_to_wait_are_rounded_up() {
        let limit = limit("x", true);
        for (nanos, seconds) in [(0, "0"), (1, "1"), (1_000_000_000, "1"), (1_000_000_001, "2")] {
            let found = respond(&limit, &refusal(Some(nanos)), ENVELOPE, "main");
            assert_eq!(found.headers[1], ("retry-after", seconds.to_owned()), "{nanos}");
        }
    }

    #[test]
    fn what_time_does_not_heal_or_nobody_announces_has_no_header() {
        for (announces, wait) in [(true, None), (false, Some(5))] {
            let found = respond(&limit("x", announces), &refusal(wait), ENVELOPE, "main");
            assert_eq!(found.headers, [("content-type", "application/json".to_owned())]);
            assert!(found.body.ends_with("\"wait\":null}"), "{}", found.body);
        }
        let found = respond(&limit("in {retry_after} s", true), &refusal(None), ENVELOPE, "main");
        assert!(found.body.contains("in - s"), "{}", found.body);
    }

    #[test]
    fn values_are_escaped_inside_and_outside_quotes() {
        let limit = limit("say \"no\" to\n{key} \\", false);
        let envelope = r#"{"a":{message},"b":"<{message}>","c":"\\","d":"{code}"}"#;
        let found = respond(&limit, &refusal(None), envelope, "\"x\"");
        let body: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!(body["a"], "say \"no\" to\n\"x\" \\");
        assert_eq!(body["b"], "<say \"no\" to\n\"x\" \\>");
        assert_eq!(body["d"], "REQUEST_LIMIT_EXCEEDED");
    }

    #[test]
    fn what_no_limit_says_is_said_word_for_word() {
        let found = say(404, "not_found", "no {limit} of \"x\"", ENVELOPE);
        let body: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!((found.status, body["message"].as_str()), (404, Some("no {limit} of \"x\"")));
        assert_eq!((body["code"].as_str(), &body["wait"]), (Some("not_found"), &serde_json::Value::Null));
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_is_refused() {
        assert_eq!(check_envelope(ENVELOPE), Ok(()));
        assert!(check_envelope("{\"a\":\"{reason}\"}").unwrap_err().0.contains("`{reason}`"));
        assert!(check_envelope("{\"a\":\"{code}}").unwrap_err().0.contains("not JSON"));
        assert_eq!(check_message("{limit} {row} {Limit} {} {"), Ok(()));
        assert!(check_message("{code}").is_err());
    }
}
