//! `/v1/batches`: jobs, in OpenAI's form and in DigitalOcean's.

use super::ask::Kind;
use super::errors::{Fault, json};
use super::files::{address, answered, known, page};
use super::keys::Caller;
use super::{App, epoch, results};
use crate::emulator::batches::{JOBS_MOST, Job, Results, Submitted};
use crate::emulator::files::Content;
use crate::emulator::gateway::{JobHandle, JobTold};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_sim::jobfile::Contents;
use tidegate_sim::observe::{JobFact, JobState};
use tidegate_sim::request::INVALID_INPUT_FILE;
use tidegate_sim::scenario::batch::{JobFault, Submission};
use tidegate_sim::scenario::handed::{Handed, hand_in};

/// Bytes of a submission.
const BODY_MOST: u64 = 64 << 10;
/// Paths whose requests a job may hold.
const ENDPOINTS: [(&str, Kind); 4] = [
    ("/v1/chat/completions", Kind::Chat),
    ("/v1/completions", Kind::Completions),
    ("/v1/embeddings", Kind::Embeddings),
    ("/v1/responses", Kind::Chat),
];

/// A submission.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    input_file_id: Option<String>,
    /// DigitalOcean's name for it.
    file_id: Option<String>,
    endpoint: Option<String>,
    completion_window: Option<String>,
    metadata: Option<Map<String, Value>>,
    provider: Option<String>,
    request_id: Option<String>,
    /// When results go away; they last as long as the emulator.
    #[serde(rename = "output_expires_after")]
    _output_expires_after: Option<serde::de::IgnoredAny>,
}

/// `POST /v1/batches`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    let found = submit(&app, request).await;
    answered(&app, found)
}

fn missing(param: &str) -> Fault {
    Fault::bad(Some(param.to_owned()), format!("Missing required parameter: `{param}`."))
}

/// What a submission says, once it is known to be right.
fn read(body: &[u8]) -> Result<Submitted, Fault> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| Fault::bad(None, format!("The body cannot be read: {error}.")))?;
    let is_digitalocean = body.file_id.is_some();
    let file = match (body.input_file_id, body.file_id) {
        (Some(_), Some(_)) => {
            return Err(Fault::bad(Some("file_id".into()), "`file_id` beside `input_file_id`."));
        }
        (Some(file), None) | (None, Some(file)) => file,
        (None, None) => return Err(missing("input_file_id")),
    };
    let foreign = [("provider", body.provider.is_some()), ("request_id", body.request_id.is_some())];
    if let Some((field, _)) = foreign.into_iter().find(|(_, there)| *there && !is_digitalocean) {
        return Err(Fault::bad(
            Some(field.into()),
            format!("Unrecognized request argument supplied: `{field}`."),
        ));
    }
    let window = body.completion_window.ok_or_else(|| missing("completion_window"))?;
    if window != "24h" {
        return Err(Fault::invalid_value("completion_window", "`completion_window` must be `24h`."));
    }
    match &body.endpoint {
        Some(endpoint) if !ENDPOINTS.iter().any(|(known, _)| known == endpoint) => {
            let known: Vec<String> = ENDPOINTS.iter().map(|(known, _)| format!("`{known}`")).collect();
            return Err(Fault::invalid_value(
                "endpoint",
                format!("`endpoint` must be one of {}.", known.join(", ")),
            ));
        }
        None if !is_digitalocean => return Err(missing("endpoint")),
        _ => {}
    }
    Ok(Submitted {
        file,
        endpoint: body.endpoint,
        window,
        metadata: body.metadata.map_or(Value::Null, Value::Object),
        digitalocean: is_digitalocean.then_some((body.provider, body.request_id)),
    })
}

async fn submit(app: &Arc<App>, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let owner = known(app, &parts.headers)?;
    let Some(batch) = owner.batch else {
        return Err(Fault::not_permitted(
            "This key submits no batch jobs; use the name of a batch of the scenario.",
        ));
    };
    let body = app.read(&parts.headers, body, BODY_MOST, app.settings.body_patience).await?;
    let asked = read(&body)?;
    let status = if asked.digitalocean.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    if let Some((_, Some(request))) = &asked.digitalocean
        && let Some(job) = app.jobs().by_request(owner, request)
    {
        return Ok(json(StatusCode::OK, object(app, job).to_string()));
    }
    if app.jobs().len() >= JOBS_MOST {
        return Err(Fault::full("jobs"));
    }
    let content = app.files().get(owner, &asked.file).map(|file| file.content.clone());
    let file = match content {
        Some(Content::Uploaded(bytes)) => bytes,
        Some(Content::Awaited) => {
            return Err(Fault::bad(Some("file_id".into()), "The file was not uploaded yet."));
        }
        Some(Content::Results { .. }) | None => {
            let shown: String = asked.file.chars().take(64).collect();
            return Err(Fault::invalid_value("input_file_id", format!("No file for batches is `{shown}`.")));
        }
    };
    // Reading a large file takes a while, during which others are to be served.
    let reader = Arc::clone(app);
    let said = asked.clone();
    let drafted = tokio::task::spawn_blocking(move || Draft::of(&reader, owner, batch, &file, &said)).await;
    let draft = drafted
        .map_err(|_| Fault::server(StatusCode::INTERNAL_SERVER_ERROR, "The file could not be read."))?;
    app.files().take(draft.held)?;
    let handle = app.gateway.submit(batch, draft.submission.clone()).await;
    begin(app, owner, batch, asked, draft, handle?, status).await
}

/// A job before the engine knows of it.
struct Draft {
    submission: Submission,
    ids: Vec<Box<str>>,
    kind: Kind,
    model: String,
    fault: Option<(&'static str, String)>,
    /// What is kept of it, bytes.
    held: u64,
}

impl Draft {
    fn of(app: &App, owner: Caller, batch: u16, file: &[u8], asked: &Submitted) -> Draft {
        let scenario = app.scenario();
        let provider = asked.digitalocean.as_ref().and_then(|(provider, _)| provider.as_deref());
        let endpoint = asked.endpoint.as_deref();
        let Handed { mut submission, contents } =
            hand_in(scenario, usize::from(batch), owner.tenant, file, provider, endpoint);
        let wrong_model = contents.as_ref().and_then(|found| unknown_model(app, owner, found));
        let mut fault = contents.as_ref().and_then(form_fault);
        let is_earlier =
            |line: u64| submission.fault.is_none_or(|known| !known.at_once && line < u64::from(known.line));
        if let Some((line, model)) = wrong_model.filter(|(line, _)| is_earlier(*line)) {
            submission.fault = Some(JobFault {
                reason: INVALID_INPUT_FILE,
                line: u32::try_from(line).unwrap_or(u32::MAX),
                at_once: false,
            });
            submission.lines = None;
            let shown: String = model.chars().take(100).collect();
            fault = Some((
                "model_not_found",
                format!("The provided model `{shown}` is not supported by the Batch API."),
            ));
        }
        let found = contents.as_ref();
        let path = endpoint.or(found.and_then(|found| found.endpoint.as_deref()));
        let kind =
            ENDPOINTS.iter().find(|(known, _)| Some(*known) == path).map_or(Kind::Chat, |(_, kind)| *kind);
        let named = found
            .and_then(|found| found.models.first())
            .map(|(model, _)| Value::from(model.as_str()).to_string());
        let model = named.unwrap_or_else(|| app.names(owner.workload).json.clone());
        let ids = if submission.fault.is_none() { ids(file) } else { Vec::new() };
        let held = Results::held(&ids);
        Draft { submission, ids, kind, model, fault, held }
    }
}

/// Ids of the lines of a file that is known to be right.
fn ids(file: &[u8]) -> Vec<Box<str>> {
    #[derive(Deserialize)]
    struct Line {
        custom_id: Box<str>,
    }
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.filter_map(|line| Some(serde_json::from_slice::<Line>(line).ok()?.custom_id)).collect()
}

/// The first model that the owner's batch does not have, and its line.
fn unknown_model<'a>(app: &App, owner: Caller, found: &'a Contents) -> Option<(u64, &'a str)> {
    let names = app.names(owner.workload);
    found.models.iter().find(|(model, _)| !names.has(model)).map(|(model, line)| (*line, model.as_str()))
}

/// What is wrong with the form of a file.
fn form_fault(found: &Contents) -> Option<(&'static str, String)> {
    use tidegate_sim::jobfile::Fault;
    let (_, fault) = found.fault.as_ref()?;
    let code = match fault {
        Fault::Empty => "empty_file",
        Fault::Blank | Fault::NotJson(_) | Fault::TooLong => "invalid_json_line",
        Fault::TooMany { .. } => "too_many_tasks",
        Fault::Missing(_) => "missing_required_parameter",
        Fault::RepeatedId { .. } => "duplicate_custom_id",
        Fault::OtherUrl { .. } => "mismatched_url",
        Fault::Wrong { .. } | Fault::UnknownPart(_) => "invalid_request",
    };
    let message = fault.to_string();
    let mut letters = message.chars();
    let message = letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect());
    Some((code, format!("{message}.")))
}

/// Waits for the verdict on the submission; if there is a job, keeps it and follows it.
async fn begin(
    app: &Arc<App>,
    owner: Caller,
    batch: u16,
    asked: Submitted,
    draft: Draft,
    mut handle: JobHandle,
    status: StatusCode,
) -> Result<Response, Fault> {
    let first = loop {
        match handle.told.recv().await {
            Some(JobTold::State(fact)) => break fact,
            Some(JobTold::Line(_)) => {}
            None => return Err(Fault::stopping()),
        }
    };
    if let (JobState::Refused, Some(refusal)) = (first.state, first.refusal) {
        app.files().give_back(draft.held);
        let name = &app.scenario().batches[usize::from(batch)].name;
        return Ok(app.manner(app.voice("")).answer(&refusal, &format!("{name}-{}", owner.tenant)));
    }
    let (job, answer) = {
        let mut jobs = app.jobs();
        let mut job = job(app, owner, asked, draft, &first, jobs.next_id());
        job.hear(&JobTold::State(first), epoch().as_secs());
        let answer = object(app, &job).to_string();
        jobs.add(job.clone());
        (job.id, answer)
    };
    if !first.state.is_last() {
        tokio::spawn(follow(Arc::clone(app), job, handle));
    }
    Ok(json(status, answer))
}

fn job(app: &App, owner: Caller, asked: Submitted, draft: Draft, first: &JobFact, id: String) -> Job {
    let created = epoch().as_secs();
    let asked_lines = draft.submission.lines;
    let results = Results::new(id.clone(), draft.ids, draft.kind, draft.model, created, asked_lines);
    Job {
        id,
        owner,
        place: (first.batch, first.job),
        asked,
        state: first.state,
        times: [None; JobState::ALL.len()],
        created,
        expires: created + app.real(first.expires - first.created).as_secs(),
        cancelling: None,
        counts: first.requests,
        refusal: None,
        fault: draft.fault,
        results: Arc::new(results),
        files: [None, None],
        written: first.state.is_last(),
    }
}

/// Takes in what the engine tells of a job until it is over.
async fn follow(app: Arc<App>, id: String, mut handle: JobHandle) {
    while let Some(told) = handle.told.recv().await {
        let over = {
            let mut jobs = app.jobs();
            let Some(job) = jobs.by_id(&id) else { return };
            job.hear(&told, epoch().as_secs()).then(|| (job.owner, Arc::clone(&job.results)))
        };
        let Some((owner, results)) = over else { continue };
        for errors in [false, true] {
            let file = write(&app, owner, &id, &results, errors);
            if let Some(job) = app.jobs().by_id(&id) {
                job.files[usize::from(errors)] = file;
            }
        }
        if let Some(job) = app.jobs().by_id(&id) {
            job.written = true;
        }
        return;
    }
}

/// The file with the answers of a job, or with what went wrong; `None` when it would be empty.
fn write(app: &App, owner: Caller, id: &str, results: &Arc<Results>, errors: bool) -> Option<String> {
    let bytes = results::length(app, results, errors)?;
    let kind = if errors { "error" } else { "output" };
    let content = Content::Results { results: Arc::clone(results), errors, bytes };
    let name = format!("{id}_{kind}.jsonl");
    // A store that is full of files loses results; the job says so by naming none.
    app.files().add(owner, name, "batch_output", epoch().as_secs(), content).ok().map(|file| file.id())
}

/// The state as clients know it.
fn state(job: &Job) -> JobState {
    match job.state {
        // It waits for room in the quota, which clients see as not begun.
        JobState::Held => JobState::Validating,
        // The engine is done with it; its files are being written.
        JobState::Cancelled if !job.written => JobState::Cancelling,
        state if state.is_last() && !job.written => JobState::Finalizing,
        state if job.cancelling.is_some() && !state.is_last() => JobState::Cancelling,
        state => state,
    }
}

fn object(app: &App, job: &Job) -> Value {
    let state = state(job);
    let since = |state: JobState| job.since(state);
    let errors = errors(app, job);
    let mut object = json!({
        "id": job.id,
        "object": "batch",
        "endpoint": job.asked.endpoint,
        "errors": errors,
        "input_file_id": job.asked.file,
        "completion_window": job.asked.window,
        "status": state.name(),
        "output_file_id": job.files[0],
        "error_file_id": job.files[1],
        "created_at": job.created,
        "in_progress_at": since(JobState::InProgress),
        "expires_at": job.expires,
        "finalizing_at": since(JobState::Finalizing),
        "completed_at": since(JobState::Completed),
        "failed_at": since(JobState::Failed),
        "expired_at": since(JobState::Expired),
        "cancelling_at": job.cancelling.or(since(JobState::Cancelling)),
        "cancelled_at": since(JobState::Cancelled),
        "request_counts": {
            "total": job.counts.total,
            "completed": job.counts.completed,
            "failed": job.counts.failed + job.counts.expired + job.counts.cancelled,
        },
        "metadata": job.asked.metadata,
    });
    if let (Some((provider, request)), Some(fields)) = (&job.asked.digitalocean, object.as_object_mut()) {
        fields.insert("batch_id".into(), job.id.as_str().into());
        fields.insert("file_id".into(), job.asked.file.as_str().into());
        fields.insert("provider".into(), json!(provider));
        fields.insert("request_id".into(), json!(request));
        fields.insert("result_available".into(), has_results(job).into());
    }
    object
}

fn has_results(job: &Job) -> bool {
    job.written && job.files != [None, None]
}

/// Why a job failed, in the form of its dialect.
fn errors(app: &App, job: &Job) -> Value {
    let Some((refusal, line)) = &job.refusal else { return Value::Null };
    let policy = &app.scenario().policy;
    let (code, message) = match (policy.limit_of(refusal.reason), &job.fault) {
        (Some(limit), _) => {
            let key = &app.scenario().batches[usize::from(job.place.0)].name;
            let filled = tidegate_sim::profile::answer::respond(
                limit,
                refusal,
                "{\"code\":\"{code}\",\"message\":\"{message}\"}",
                key,
            );
            let said: Value = serde_json::from_str(&filled.body).unwrap_or_default();
            let word = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
            (word("code"), word("message"))
        }
        (None, Some((code, message))) => ((*code).to_owned(), message.clone()),
        (None, None) => (policy.reason_name(refusal.reason).to_owned(), "The job failed.".to_owned()),
    };
    let line = (*line > 0).then_some(*line);
    match &job.asked.digitalocean {
        Some(_) => {
            let message = line.map_or(message.clone(), |line| format!("Line {line}: {message}"));
            let code = if policy.limit_of(refusal.reason).is_none() {
                "invalid_input_file".to_owned()
            } else {
                code
            };
            json!([{ "code": code, "message": message, "line": line }])
        }
        None => {
            json!({ "object": "list", "data": [{ "code": code, "line": line, "message": message, "param": null }] })
        }
    }
}

fn no_job(id: &str) -> Fault {
    let shown: String = id.chars().take(64).collect();
    Fault {
        param: Some("batch_id".to_owned()),
        ..Fault::not_found(format!("No batch found with id '{shown}'."))
    }
}

fn with_job<T>(
    app: &App,
    headers: &HeaderMap,
    id: &str,
    f: impl FnOnce(&Job) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let owner = known(app, headers)?;
    let jobs = app.jobs();
    jobs.get(owner, id).ok_or_else(|| no_job(id)).and_then(f)
}

/// `GET /v1/batches`: newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let found = known(&app, request.headers()).and_then(|owner| {
        let jobs = app.jobs();
        page(&query, jobs.of(owner), |job| job.id.clone(), |job| object(&app, job))
    });
    answered(&app, found)
}

/// `GET /v1/batches/ID`.
pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    let found =
        with_job(&app, request.headers(), &id, |job| Ok(json(StatusCode::OK, object(&app, job).to_string())));
    answered(&app, found)
}

/// `POST /v1/batches/ID/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let found = stop(&app, request.headers(), &id);
    answered(&app, found)
}

fn stop(app: &App, headers: &HeaderMap, id: &str) -> Result<Response, Fault> {
    let place = with_job(app, headers, id, |job| {
        if state(job).is_last() || job.state == JobState::Finalizing {
            return Err(Fault::conflict(format!(
                "Cannot cancel a batch with status '{}'.",
                state(job).name()
            )));
        }
        Ok(job.place)
    })?;
    app.gateway.cancel_job(place.0, place.1)?;
    let mut jobs = app.jobs();
    let job = jobs.by_id(id).ok_or_else(|| no_job(id))?;
    job.cancelling.get_or_insert(epoch().as_secs());
    Ok(json(StatusCode::OK, object(app, job).to_string()))
}

/// `GET /v1/batches/ID/results`, DigitalOcean's: where the answers can be read.
pub(super) async fn results(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let found = with_job(&app, request.headers(), &id, |job| match has_results(job) {
        true => Ok((job.owner, job.files.clone())),
        false => Err(Fault::not_ready("The results are not ready.")),
    });
    let found = found.map(|(owner, [output, error])| {
        let mut files = app.files();
        let mut link = |id: &Option<String>| {
            let number = files.get(owner, id.as_deref()?)?.number;
            let (token, until) = files.token(number, epoch());
            Some(json!({ "presigned_url": address(&app, request.headers(), &token), "expires_at": until.as_secs() }))
        };
        let answer = json!({
            "batch_id": id,
            "result_available": true,
            "output_file_id": output,
            "error_file_id": error,
            "download": link(&output),
            "error_download": link(&error),
        });
        json(StatusCode::OK, answer.to_string())
    });
    answered(&app, found)
}
