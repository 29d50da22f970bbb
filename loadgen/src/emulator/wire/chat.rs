//! Requests to a model: chat, completions, embeddings, invocations of an endpoint.

use super::ask::{self, Asked, Kind};
use super::errors::{Fault, Voice};
use super::reply::{self, Exchange};
use super::{App, embeddings, mark};
use crate::emulator::gateway::Ask;
use crate::emulator::line::Line;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use std::sync::Arc;

/// Choices that are written out at most: the bound of OpenAI's API.
const CHOICES_MOST: u32 = 128;

/// `POST /v1/chat/completions`.
pub(super) async fn chat(State(app): State<Arc<App>>, request: Request) -> Response {
    serve(app, request, Kind::Chat, None).await
}

/// `POST /v1/completions`.
pub(super) async fn completions(State(app): State<Arc<App>>, request: Request) -> Response {
    serve(app, request, Kind::Completions, None).await
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(State(app): State<Arc<App>>, request: Request) -> Response {
    serve(app, request, Kind::Embeddings, None).await
}

/// `POST /serving-endpoints/NAME/invocations`.
pub(super) async fn invocation(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    serve(app, request, Kind::Invocation, Some(name)).await
}

async fn serve(app: Arc<App>, request: Request, kind: Kind, endpoint: Option<String>) -> Response {
    let databricks = kind == Kind::Invocation;
    let shared = Arc::clone(&app);
    let voice = shared.voice(if databricks { "/invocations" } else { "" });
    match handle(app, request, kind, endpoint, voice).await {
        Ok(answer) => answer,
        Err(fault) => {
            shared.counters.faults.add(1);
            fault.answer(voice)
        }
    }
}

async fn handle(
    app: Arc<App>,
    request: Request,
    kind: Kind,
    endpoint: Option<String>,
    voice: Voice<'_>,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    app.is_open()?;
    let caller = app.caller(&parts.headers)?;
    if caller.batch.is_some() {
        return Err(Fault::not_permitted("This key submits batch jobs; use that of a workload."));
    }
    let said = mark::read(&parts.headers)?;
    let body = app.read(&parts.headers, body, app.settings.body_most, app.settings.body_patience).await?;
    let asked = ask::read(kind, &body, said.prompt_tokens.is_none())
        .map_err(|wrong| Fault::bad(wrong.param, wrong.message))?;
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    drop(body);
    is_served(&app, caller.workload, &asked, endpoint.as_deref())?;
    if let Some(refusal) = app.bounds.refusal(caller.workload, &asked, body_bytes) {
        // It never reaches the engine.
        app.counters.faults.add(1);
        return Ok(reply::refused(&app, &refusal, caller, voice));
    }
    if !(1..=CHOICES_MOST).contains(&asked.choices) {
        let message = format!("`n` is {}, not from 1 to {CHOICES_MOST}.", asked.choices);
        return Err(Fault::invalid_value("n", message));
    }
    let forced_output = match (asked.ignore_eos, asked.min_tokens) {
        (true, _) => asked.max_tokens,
        (false, 0) => None,
        (false, least) => Some(least),
    };
    // The engine makes one token of a request for embeddings: they come out with the prompt.
    let (max_tokens, forced_output) =
        if asked.kind == Kind::Embeddings { (Some(1), None) } else { (asked.max_tokens, forced_output) };
    let prompt_tokens = said.prompt_tokens.unwrap_or(asked.words).max(1);
    let pending = app.gateway.ask(Ask {
        workload: caller.workload,
        tenant: caller.tenant,
        prompt_tokens,
        max_tokens,
        forced_output,
        body_bytes,
        mark: said.mark,
        own_prefix: asked.prefix,
    })?;
    let line = parts.extensions.get::<Arc<Line>>().map(Arc::clone).unwrap_or_default();
    let exchange = Exchange { caller, asked, prompt_tokens, line };
    Ok(reply::reply(app.clone(), exchange, pending, voice).await)
}

/// Whether the workload's model is what is asked for.
fn is_served(app: &App, workload: u16, asked: &Asked, endpoint: Option<&str>) -> Result<(), Fault> {
    let names = app.names(workload);
    if let Some(endpoint) = endpoint.filter(|endpoint| !names.has(endpoint)) {
        let shown: String = endpoint.chars().take(100).collect();
        return Err(Fault::not_found(format!("Endpoint with name `{shown}` does not exist.")));
    }
    match &asked.model {
        Some(model) if !names.has(model) => return Err(Fault::model(model)),
        None if endpoint.is_none() => {
            return Err(Fault::bad(Some("model".to_owned()), "Missing required parameter: `model`."));
        }
        _ => {}
    }
    let numbers = u64::from(asked.inputs) * u64::from(asked.dimensions.unwrap_or(1));
    if numbers > embeddings::NUMBERS_MOST {
        let message = format!(
            "`input` and `dimensions` ask for {numbers} numbers; {} are given at most.",
            embeddings::NUMBERS_MOST
        );
        return Err(Fault::invalid_value("dimensions", message));
    }
    Ok(())
}
