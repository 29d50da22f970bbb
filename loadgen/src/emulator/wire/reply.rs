//! From what the engine tells to the answer of a request.
//!
//! The status is sent when it is known to be 200: with the first token, or at the end. So a request that expires in a queue,
//! or is refused after the overhead of the service, has its own status, as it has in the simulator.

use super::ask::{Asked, Kind};
use super::errors::{Fault, Voice, json};
use super::keys::Caller;
use super::script::{Identity, Script, Usage};
use super::stream::TokenStream;
use super::{App, embeddings, epoch};
use crate::emulator::gateway::{Pending, Told};
use crate::emulator::line::Line;
use crate::emulator::trouble::{self, Ill};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;
use tidegate_sim::request::{Finished, Outcome, Refusal};

/// A request, and where its answer goes.
pub(super) struct Exchange {
    pub(super) caller: Caller,
    pub(super) asked: Asked,
    pub(super) prompt_tokens: u32,
    pub(super) line: Arc<Line>,
}

/// What is answered when an error of the emulator's own is asked for.
pub(super) const ILL: &str = "The server had an error while processing your request. (It is emulated.)";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Waits for the engine and answers. A client that goes meanwhile drops this, which hangs up.
pub(super) async fn reply(app: Arc<App>, exchange: Exchange, pending: Pending, voice: Voice<'_>) -> Response {
    let name = &app.scenario().workloads[usize::from(exchange.caller.workload)].name;
    let id = format!("{name}-{}", pending.number());
    let mut answer = wait(&app, exchange, pending, voice, &id).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

async fn wait(
    app: &Arc<App>,
    exchange: Exchange,
    mut pending: Pending,
    voice: Voice<'_>,
    id: &str,
) -> Response {
    let Exchange { caller, asked, prompt_tokens, line } = exchange;
    let scenario = app.scenario();
    let ill = trouble::of(&scenario.live.trouble, scenario.seed, caller.workload, pending.number());
    let streams = asked.stream && asked.kind != Kind::Embeddings;
    let (known, done) = loop {
        match pending.next().await {
            None => return Fault::stopping().answer(voice),
            Some(Told::Admitted) => {}
            Some(Told::Tokens(_)) if !streams => {}
            Some(Told::Tokens(tokens)) => break (tokens, None),
            Some(Told::Done(done)) => break (done.generated, Some(done)),
        }
    };
    if let Some(done) = done.as_ref().filter(|done| done.outcome != Outcome::Completed) {
        return unfinished(app, done, caller, voice);
    }
    match ill {
        Some(Ill::ServerError) => {
            app.counters.troubles.add(1);
            return Fault::server(StatusCode::INTERNAL_SERVER_ERROR, ILL).answer(voice);
        }
        Some(Ill::StreamError) if !streams => {
            app.counters.troubles.add(1);
            return Fault::server(StatusCode::INTERNAL_SERVER_ERROR, ILL).answer(voice);
        }
        Some(Ill::Reset) if !streams => {
            app.counters.troubles.add(1);
            line.reset();
            // The connection ends under it.
            return std::future::pending().await;
        }
        Some(Ill::Stall(stall)) if !streams => {
            app.counters.troubles.add(1);
            tokio::time::sleep(app.real(stall)).await;
        }
        _ => {}
    }
    let model = &app.names(caller.workload).json;
    let identity = Identity { kind: asked.kind, id, created: epoch().as_secs(), model };
    match done {
        Some(done) if !streams => {
            let usage = usage(&done);
            let body = if asked.kind == Kind::Embeddings {
                let seed = if asked.prefix == 0 { u64::from(prompt_tokens) } else { asked.prefix };
                embeddings::object(model, seed, asked.inputs, asked.dimensions, asked.base64, usage)
            } else {
                identity.object(reason(&done), usage, asked.choices)
            };
            json(StatusCode::OK, body)
        }
        done => {
            let script = Script::new(identity, asked.include_usage);
            let stream = TokenStream::new(Arc::clone(app), script, pending, known, done, ill, line);
            let mut answer = Response::new(Body::new(stream));
            let headers = answer.headers_mut();
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            answer
        }
    }
}

/// What a request that is over has used.
pub(super) fn usage(done: &Finished) -> Usage {
    Usage { prompt: done.head.prompt_tokens, cached: done.cached_tokens, output: done.generated }
}

/// Why the answer ends.
pub(super) fn reason(done: &Finished) -> &'static str {
    if done.head.max_tokens.is_some_and(|most| done.generated >= most) { "length" } else { "stop" }
}

/// The answer to a request that was not completed and of which nothing was sent.
fn unfinished(app: &App, done: &Finished, caller: Caller, voice: Voice<'_>) -> Response {
    match refusal(done) {
        Some(refusal) => refused(app, &refusal, caller, voice),
        None => fault(done.outcome).answer(voice),
    }
}

/// The answer to a request that a limit turns away.
pub(super) fn refused(app: &App, refusal: &Refusal, caller: Caller, voice: Voice<'_>) -> Response {
    let workload = &app.scenario().workloads[usize::from(caller.workload)].name;
    app.manner(voice).answer(refusal, &format!("{workload}-{}", caller.tenant))
}

/// Why it was refused, or cancelled at a limit.
pub(super) fn refusal(done: &Finished) -> Option<Refusal> {
    done.refusal.filter(|_| matches!(done.outcome, Outcome::Refused | Outcome::Failed))
}

/// What is said of an outcome that no limit answers for.
pub(super) fn fault(outcome: Outcome) -> Fault {
    let (status, message) = match outcome {
        Outcome::Expired => (StatusCode::GATEWAY_TIMEOUT, "The request waited longer than the queue allows."),
        Outcome::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The request took longer than its client waits."),
        Outcome::Lost => (StatusCode::BAD_GATEWAY, "The replica that served the request has failed."),
        Outcome::Cancelled => {
            // nginx's status for a client that has closed the connection.
            (StatusCode::from_u16(499).expect("three digits"), "The request was cancelled.")
        }
        Outcome::Queued | Outcome::Running | Outcome::InTransfer | Outcome::BackingOff => {
            return Fault::stopping();
        }
        Outcome::Refused | Outcome::Failed | Outcome::Completed => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The request was not completed.")
        }
    };
    Fault::server(status, message)
}
