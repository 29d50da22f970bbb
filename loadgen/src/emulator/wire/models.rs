//! `/v1/models`: what a key may ask for.

use super::errors::{Fault, json};
use super::{App, epoch};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

fn model(name: &str) -> serde_json::Value {
    json!({ "id": name, "object": "model", "created": epoch().as_secs(), "owned_by": "tidegate" })
}

/// Every name that the model of the key's workload has.
pub(super) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    let caller = match app.is_open().and_then(|()| app.caller(request.headers())) {
        Ok(caller) => caller,
        Err(fault) => return fault.answer(app.voice("")),
    };
    let models: Vec<_> = app.names(caller.workload).all.iter().map(|name| model(name)).collect();
    json(StatusCode::OK, json!({ "object": "list", "data": models }).to_string())
}

/// One of them.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let caller = app.is_open().and_then(|()| app.caller(request.headers()));
    let found = caller.and_then(|caller| match app.names(caller.workload).has(&id) {
        true => Ok(()),
        false => Err(Fault::model(&id)),
    });
    match found {
        Ok(()) => json(StatusCode::OK, model(&id).to_string()),
        Err(fault) => fault.answer(app.voice("")),
    }
}
