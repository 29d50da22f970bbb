//! `/v1/files`, and the addresses that DigitalOcean's clients upload to.

use super::errors::{Fault, json};
use super::keys::Caller;
use super::{App, epoch, results};
use crate::emulator::files::{Content, File, NoRoom};
use axum::body::Body;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a multipart form adds to its file.
const FORM_MOST: u64 = 64 << 10;
/// Longest name of a file, characters.
const NAME_MOST: usize = 255;
/// Files may take so many times as long as other bodies.
const LONGER: u32 = 10;
/// Entries of a page when nobody says, and at most.
const PAGE: (usize, usize) = (20, 10_000);

impl From<NoRoom> for Fault {
    fn from(_: NoRoom) -> Self {
        Fault::full("files")
    }
}

/// Turns what went wrong into an answer.
pub(super) fn answered(app: &App, found: Result<Response, Fault>) -> Response {
    found.unwrap_or_else(|fault| {
        app.counters.faults.add(1);
        fault.answer(app.voice(""))
    })
}

pub(super) fn known(app: &App, headers: &HeaderMap) -> Result<Caller, Fault> {
    app.is_open()?;
    app.caller(headers)
}

pub(super) fn object(file: &File) -> Value {
    let status = if matches!(file.content, Content::Awaited) { "pending" } else { "processed" };
    json!({
        "id": file.id(),
        "object": "file",
        "bytes": file.bytes(),
        "created_at": file.created,
        "expires_at": null,
        "filename": file.name,
        "purpose": file.purpose,
        "status": status,
    })
}

fn no_file(id: &str) -> Fault {
    let shown: String = id.chars().take(64).collect();
    Fault { param: Some("id".to_owned()), ..Fault::not_found(format!("No such File object: {shown}")) }
}

/// `POST /v1/files`: a form with `purpose` and `file`.
pub(super) async fn upload(State(app): State<Arc<App>>, request: Request) -> Response {
    let found = take(&app, request).await;
    answered(&app, found)
}

async fn take(app: &App, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let owner = known(app, &parts.headers)?;
    let (most, patience) = (app.settings.file_most + FORM_MOST, app.settings.body_patience * LONGER);
    let body = app.read(&parts.headers, body, most, patience).await?;
    let request = Request::from_parts(parts, Body::from(body));
    let malformed =
        |error: &dyn std::fmt::Display| Fault::bad(None, format!("The form cannot be read: {error}."));
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|error| malformed(&error.body_text()))?;
    let (mut purpose, mut file) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|error| malformed(&error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "purpose" => purpose = Some(field.text().await.map_err(|error| malformed(&error.body_text()))?),
            "file" => {
                let called = field.file_name().unwrap_or("file").chars().take(NAME_MOST).collect::<String>();
                file = Some((called, field.bytes().await.map_err(|error| malformed(&error.body_text()))?));
            }
            // When it goes away is said of nothing here: files last as long as the emulator.
            "expires_after[anchor]" | "expires_after[seconds]" => {}
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(Fault::bad(
                    Some(shown.clone()),
                    format!("Unrecognized request argument supplied: `{shown}`."),
                ));
            }
        }
    }
    let missing =
        |param: &str| Fault::bad(Some(param.to_owned()), format!("Missing required parameter: `{param}`."));
    let purpose = purpose.ok_or_else(|| missing("purpose"))?;
    if purpose != "batch" {
        let shown: String = purpose.chars().take(64).collect();
        return Err(Fault::invalid_value("purpose", format!("`{shown}` is not one of: `batch`.")));
    }
    let (name, bytes) = file.ok_or_else(|| missing("file"))?;
    let bytes = sized(app, bytes)?;
    let file = app.files().add(owner, name, "batch", epoch().as_secs(), Content::Uploaded(bytes))?;
    Ok(json(StatusCode::OK, object(&file).to_string()))
}

fn sized(app: &App, bytes: Bytes) -> Result<Bytes, Fault> {
    if bytes.len() as u64 > app.settings.file_most {
        return Err(Fault::too_large(app.settings.file_most));
    }
    Ok(bytes)
}

/// A page of `all`: `limit` of them after the one called `after`.
pub(super) fn page<T>(
    query: &BTreeMap<String, String>,
    all: impl Iterator<Item = T>,
    id: impl Fn(&T) -> String,
    object: impl Fn(&T) -> Value,
) -> Result<Response, Fault> {
    let limit = match query.get("limit") {
        None => PAGE.0,
        Some(text) => text.parse().ok().filter(|limit| (1..=PAGE.1).contains(limit)).ok_or_else(|| {
            Fault::invalid_value("limit", format!("`limit` is not a whole number from 1 to {}.", PAGE.1))
        })?,
    };
    let mut rest = all.peekable();
    if let Some(after) = query.get("after") {
        while rest.next_if(|one| id(one) != *after).is_some() {}
        if rest.next().is_none() {
            return Err(Fault::invalid_value("after", "`after` names nothing that is here."));
        }
    }
    let some: Vec<T> = rest.by_ref().take(limit).collect();
    let list = json!({
        "object": "list",
        "data": some.iter().map(object).collect::<Vec<_>>(),
        "first_id": some.first().map(&id),
        "last_id": some.last().map(&id),
        "has_more": rest.peek().is_some(),
    });
    Ok(json(StatusCode::OK, list.to_string()))
}

/// `GET /v1/files`: newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let found = known(&app, request.headers()).and_then(|owner| {
        let files = app.files();
        let purpose = query.get("purpose");
        let wanted = files.of(owner).filter(|file| purpose.is_none_or(|purpose| *purpose == file.purpose));
        page(&query, wanted, |file| file.id(), |file| object(file))
    });
    answered(&app, found)
}

/// `GET /v1/files/ID`.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let found = known(&app, request.headers()).and_then(|owner| {
        let found = app.files().get(owner, &id).map(object).ok_or_else(|| no_file(&id))?;
        Ok(json(StatusCode::OK, found.to_string()))
    });
    answered(&app, found)
}

/// `DELETE /v1/files/ID`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let found = known(&app, request.headers()).and_then(|owner| match app.files().delete(owner, &id) {
        true => Ok(json(StatusCode::OK, json!({ "id": id, "object": "file", "deleted": true }).to_string())),
        false => Err(no_file(&id)),
    });
    answered(&app, found)
}

/// `GET /v1/files/ID/content`.
pub(super) async fn content(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let found = known(&app, request.headers()).and_then(|owner| {
        let file = app.files().get(owner, &id).cloned().ok_or_else(|| no_file(&id))?;
        read(&app, &file)
    });
    answered(&app, found)
}

fn read(app: &Arc<App>, file: &File) -> Result<Response, Fault> {
    let body = match &file.content {
        Content::Awaited => return Err(Fault::not_ready("The file was not uploaded yet.")),
        Content::Uploaded(bytes) => Body::from(bytes.clone()),
        Content::Results { results, errors, .. } => {
            Body::from_stream(stream::iter(results::pieces(Arc::clone(app), Arc::clone(results), *errors)))
        }
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(answer)
}

/// `POST /v1/batches/files`, DigitalOcean's: an address that the file is to be PUT to.
pub(super) async fn announce(State(app): State<Arc<App>>, request: Request) -> Response {
    let found = prepare(&app, request).await;
    answered(&app, found)
}

async fn prepare(app: &App, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let owner = known(app, &parts.headers)?;
    let body = app.read(&parts.headers, body, FORM_MOST, app.settings.body_patience).await?;
    let name = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(fields)) => {
            if let Some(other) = fields.keys().find(|key| *key != "file_name") {
                let shown: String = other.chars().take(64).collect();
                return Err(Fault::bad(
                    Some(shown.clone()),
                    format!("Unrecognized request argument supplied: `{shown}`."),
                ));
            }
            fields.get("file_name").cloned()
        }
        Ok(_) => return Err(Fault::bad(None, "The body is not an object.")),
        Err(error) => return Err(Fault::bad(None, format!("The body is not JSON: {error}."))),
    };
    let name = match name {
        Some(Value::String(name)) if name.len() <= NAME_MOST && name.ends_with(".jsonl") => name,
        _ => {
            return Err(Fault::invalid_value(
                "file_name",
                "`file_name` must be a name that ends in `.jsonl`.",
            ));
        }
    };
    let now = epoch();
    let mut files = app.files();
    let file = files.add(owner, name, "batch", now.as_secs(), Content::Awaited)?;
    let (token, until) = files.token(file.number, now);
    let url = address(app, &parts.headers, &token);
    let answer = json!({ "file_id": file.id(), "upload_url": url, "expires_at": until.as_secs() });
    Ok(json(StatusCode::CREATED, answer.to_string()))
}

/// The address of a token, on the host that the client knows this server by.
pub(super) fn address(app: &App, headers: &HeaderMap, token: &str) -> String {
    let plain =
        |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]_".contains(&byte));
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(plain);
    match named {
        Some(host) => format!("http://{host}/uploads/{token}"),
        None => format!("http://{}/uploads/{token}", app.address),
    }
}

fn expired() -> Fault {
    Fault {
        status: StatusCode::FORBIDDEN,
        ..Fault::not_found("The address is not known, or no longer good.")
    }
}

/// `PUT /uploads/TOKEN`: the file itself, without a key.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    let found = fill(&app, &token, request).await;
    answered(&app, found)
}

async fn fill(app: &App, token: &str, request: Request) -> Result<Response, Fault> {
    app.is_open()?;
    let number = |app: &App| {
        let files = app.files();
        let awaits = |file: &&File| !matches!(file.content, Content::Results { .. });
        files.by_token(token, epoch()).filter(awaits).map(|file| file.number).ok_or_else(expired)
    };
    number(app)?;
    let (parts, body) = request.into_parts();
    let (most, patience) = (app.settings.file_most, app.settings.body_patience * LONGER);
    let body = app.read(&parts.headers, body, most, patience).await?;
    // It may have been deleted, or its time may have run out, meanwhile.
    let number = number(app)?;
    app.files().fill(number, body)?;
    Ok(Response::new(Body::empty()))
}

/// `GET /uploads/TOKEN`: a file of results, without a key.
pub(super) async fn download(State(app): State<Arc<App>>, Path(token): Path<String>) -> Response {
    let found = app.is_open().and_then(|()| {
        let file = app.files().by_token(&token, epoch()).cloned().ok_or_else(expired)?;
        read(&app, &file)
    });
    answered(&app, found)
}
