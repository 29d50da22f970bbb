//! Lines of the files that a job writes, in OpenAI's form. Written when they are read: a job of 50,000 lines keeps what
//! became of them, not what they say.

use super::App;
use super::ask::Kind;
use super::errors::{Fault, Voice};
use super::script::{Identity, Usage};
use super::{embeddings, refused, reply};
use crate::emulator::batches::{LineEnd, Results};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::convert::Infallible;
use std::sync::Arc;
use tidegate_sim::request::Outcome;

/// Lines of one piece of a download.
const LINES_AT_ONCE: usize = 64;

/// The whole file, piece by piece.
pub(super) fn pieces(
    app: Arc<App>,
    results: Arc<Results>,
    errors: bool,
) -> impl Iterator<Item = Result<Bytes, Infallible>> {
    let lines = results.lines(errors);
    let mut at = 0;
    std::iter::from_fn(move || {
        let some = lines.get(at..)?.chunks(LINES_AT_ONCE).next()?;
        at += some.len();
        let mut out = BytesMut::new();
        for end in some {
            out.put_slice(line(&app, &results, end).as_bytes());
            out.put_u8(b'\n');
        }
        Some(Ok(out.freeze()))
    })
}

/// Length of the file; `None` when it has no line. O(its length).
pub(super) fn length(app: &App, results: &Results, errors: bool) -> Option<u64> {
    let lines = results.lines(errors);
    (!lines.is_empty()).then(|| lines.iter().map(|end| line(app, results, end).len() as u64 + 1).sum())
}

/// One line, without its end.
fn line(app: &App, results: &Results, end: &LineEnd) -> String {
    let id = format!("{}-{}", results.job, end.line);
    let custom = serde_json::Value::from(&*results.ids[end.line as usize]).to_string();
    let answered = |status: u16, body: &str| {
        format!(
            r#"{{"id":"batch_req_{id}","custom_id":{custom},"response":{{"status_code":{status},"request_id":"req_{id}","body":{body}}},"error":null}}"#
        )
    };
    let not_done = |code: &str, message: &str| {
        format!(
            r#"{{"id":"batch_req_{id}","custom_id":{custom},"response":null,"error":{{"code":"{code}","message":"{message}"}}}}"#
        )
    };
    match end.outcome {
        Outcome::Completed => answered(200, &object(results, end, &id)),
        Outcome::Expired => not_done(
            "batch_expired",
            "This request could not be executed before the completion window expired.",
        ),
        Outcome::Cancelled => {
            not_done("batch_cancelled", "This request was not executed before the batch was cancelled.")
        }
        other => {
            let fault = fault(app, other, end);
            answered(fault.status.as_u16(), &fault.body(Voice::OpenAi))
        }
    }
}

fn fault(app: &App, outcome: Outcome, end: &LineEnd) -> Fault {
    let Some(refusal) = end.refusal else { return reply::fault(outcome) };
    match app.scenario().policy.limit_of(refusal.reason) {
        Some(limit) => {
            let status = axum::http::StatusCode::from_u16(limit.answer.status);
            let message = format!("Limit `{}`: {}.", limit.name, limit.value_text());
            Fault::server(status.unwrap_or(axum::http::StatusCode::TOO_MANY_REQUESTS), &message)
        }
        None => refused::built_in(&refusal),
    }
}

fn object(results: &Results, end: &LineEnd, id: &str) -> String {
    let usage = Usage { prompt: end.prompt, cached: end.cached, output: end.output };
    if results.kind == Kind::Embeddings {
        return embeddings::object(&results.model, u64::from(end.line), 1, None, false, usage);
    }
    let reason = if end.most.is_some_and(|most| end.output >= most) { "length" } else { "stop" };
    Identity { kind: results.kind, id, created: results.created, model: &results.model }
        .object(reason, usage, 1)
}
