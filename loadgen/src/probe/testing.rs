//! A canned gateway for tests: it enforces the limits of a scenario by the model's own meters under a real clock, and nothing
//! else. What it is given need not be what it is checked against.

use super::basis::Basis;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use futures_util::stream;
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_sim::gateway::admission::meters;
use tidegate_sim::jobfile;
use tidegate_sim::limits::{Claim, Meters};
use tidegate_sim::profile::{Attr, Caller as Index, Limit, Mechanism, Unit, Verb, judge};
use tidegate_sim::request::Refusal;
use tidegate_sim::scenario::{Overrides, Scenario, load_str};
use tidegate_sim::time::Time;

/// How a gateway behaves beside its limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether it says which limit refused.
    pub attributes: bool,
    /// How long an output token takes.
    pub token: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { attributes: true, token: Duration::ZERO }
    }
}

#[derive(Debug)]
struct Canned {
    scenario: Scenario,
    basis: Basis,
    manner: Manner,
    start: Instant,
    meters: Mutex<Meters>,
    files: Mutex<Vec<Vec<u8>>>,
    /// Jobs by number: their state.
    jobs: Mutex<Vec<Json>>,
}

/// A scenario from its text.
pub(super) fn scenario(text: &str) -> Scenario {
    load_str("probe", text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"))
}

/// Serves a scenario until the test is over; its address.
pub(super) async fn serve(text: &str, manner: Manner) -> String {
    let scenario = scenario(text);
    let canned = Canned {
        basis: Basis::of_scenario(&scenario),
        meters: Mutex::new(meters(&scenario.policy.limits)),
        scenario,
        manner,
        start: Instant::now(),
        files: Mutex::default(),
        jobs: Mutex::default(),
    };
    let app =
        axum::Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state(Arc::new(canned));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn handle(
    State(canned): State<Arc<Canned>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        (Method::PUT, ["upload", file]) => {
            let file: usize = file.parse().unwrap();
            lock(&canned.files)[file] = body.to_vec();
            plain(200, "{}".to_owned())
        }
        (Method::POST, ["v1", "batches", "files"]) => {
            let host = headers["host"].to_str().unwrap();
            let number = canned.keep(Vec::new());
            let url = format!("http://{host}/upload/{number}");
            plain(201, json!({ "file_id": number.to_string(), "upload_url": url }).to_string())
        }
        (Method::POST, ["v1", "files"]) => {
            let text = String::from_utf8_lossy(&body);
            let (_, file) = text.split_once("application/jsonl\r\n\r\n").unwrap();
            let (file, _) = file.split_once("\r\n--").unwrap();
            plain(200, json!({ "id": canned.keep(file.as_bytes().to_vec()).to_string() }).to_string())
        }
        (Method::POST, ["v1", "batches"]) => canned.submit(&headers, &body),
        (Method::GET, ["v1", "batches", id]) => {
            plain(200, lock(&canned.jobs)[id.parse::<usize>().unwrap()].to_string())
        }
        (Method::POST, ["v1", "batches", id, "cancel"]) => {
            let mut jobs = lock(&canned.jobs);
            let job = &mut jobs[id.parse::<usize>().unwrap()];
            job["status"] = "cancelled".into();
            plain(200, job.to_string())
        }
        (Method::GET, ["control"]) => canned.control(),
        (Method::POST, ["serving-endpoints", name, "invocations"]) => {
            let name = (*name).to_owned();
            canned.ask(&headers, &body, Some(&name)).await
        }
        (Method::POST, _) => canned.ask(&headers, &body, None).await,
        _ => plain(404, "{}".to_owned()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plain(status: u16, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Units that are held while an answer lasts.
struct Units {
    canned: Arc<Canned>,
    held: Vec<Claim>,
    /// Reservations of output tokens.
    reserved: Vec<Claim>,
    told: u64,
}

impl Drop for Units {
    fn drop(&mut self) {
        let mut meters = lock(&self.canned.meters);
        let now = self.canned.now();
        for claim in &self.held {
            meters.release(now, claim.meter, claim.key, claim.units);
        }
        for claim in &self.reserved {
            meters.settle(now, claim.meter, claim.key, claim.entry, claim.units, self.told);
        }
    }
}

impl Canned {
    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap())
    }

    fn keep(&self, file: Vec<u8>) -> usize {
        let mut files = lock(&self.files);
        files.push(file);
        files.len() - 1
    }

    fn caller(&self, headers: &HeaderMap) -> Option<usize> {
        let key = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
        self.basis.callers.iter().position(|caller| caller.name == key)
    }

    fn refuse(&self, index: usize, refusal: &Refusal) -> Response<Body> {
        let limit = &self.scenario.policy.limits[index];
        let envelope = self.scenario.policy.profile.as_ref().map_or("{}", |profile| &profile.envelope);
        let answer = tidegate_sim::profile::answer::respond(limit, refusal, envelope, "key");
        let mut response = plain(answer.status, answer.body);
        for (name, value) in answer.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        if self.manner.attributes {
            response.headers_mut().insert("x-tidegate-reason", limit.name.parse().unwrap());
        }
        response
    }

    fn control(&self) -> Response<Body> {
        let limits = self.scenario.policy.limits.iter().enumerate();
        let counted: Vec<(usize, &Limit)> =
            limits.filter(|(_, limit)| limit.meter.is_some() && limit.on.contains(&Verb::CallMcp)).collect();
        let mut claims: Vec<Claim> = counted.iter().map(|(_, limit)| claim(limit, 0, 1)).collect();
        match self.take(&counted, &mut claims) {
            Ok(()) => plain(200, "{}".to_owned()),
            Err(refused) => *refused,
        }
    }

    fn take(&self, counted: &[(usize, &Limit)], claims: &mut [Claim]) -> Result<(), Box<Response<Body>>> {
        let mut meters = lock(&self.meters);
        let now = self.now();
        let taken = meters.admit(now, claims);
        taken.map_err(|denied| {
            let refusal = Refusal {
                reason: 0,
                key: 0,
                limit: denied.limit,
                current: denied.current,
                retry_after: denied.retry_at.map(|at| at.saturating_since(now)),
            };
            Box::new(self.refuse(counted[denied.claim].0, &refusal))
        })
    }

    async fn ask(self: Arc<Self>, headers: &HeaderMap, body: &[u8], named: Option<&str>) -> Response<Body> {
        let Some(index) = self.caller(headers) else {
            return plain(401, json!({ "error": { "code": "invalid_api_key" } }).to_string());
        };
        let caller = &self.basis.callers[index];
        let asked: Json = serde_json::from_slice(body).unwrap_or_default();
        let model = named.or(asked["model"].as_str());
        if asked.is_object() && model != Some(caller.model.as_str()) {
            return plain(404, json!({ "error": { "code": "model_not_found" } }).to_string());
        }
        let mut subject = caller.subject.clone();
        subject.count(Attr::Body, [body.len() as u64]);
        subject.count(Attr::Messages, [asked["messages"].as_array().map_or(1, Vec::len) as u64]);
        subject.count(Attr::Stops, [asked["stop"].as_array().map_or(0, Vec::len) as u64]);
        subject.count(Attr::Choices, [asked["n"].as_u64().unwrap_or(1)]);
        let tools = asked["tools"].as_array().into_iter().flatten();
        subject.say(Attr::Tools, tools.filter_map(|tool| tool["type"].as_str()));
        let limits = &self.scenario.policy.limits;
        let judged = judge(limits, Verb::Inference, &subject);
        if let Some(refused) = judged.refused {
            let refusal = Refusal {
                limit: refused.bound,
                current: refused.value,
                ..Refusal::plain(refused.limit as u16)
            };
            return self.refuse(refused.limit, &refusal);
        }
        if asked.is_null() {
            return plain(400, json!({ "error": { "code": "bad_json" } }).to_string());
        }
        let text = asked["messages"][0]["content"].as_str().or(asked["prompt"].as_str()).unwrap_or_default();
        let prompt = text.split_whitespace().count() as u64;
        let output = asked["max_tokens"].as_u64().unwrap_or(1);
        if caller.context.is_some_and(|context| prompt + output > context) {
            let mut response =
                plain(400, json!({ "error": { "code": "context_length_exceeded" } }).to_string());
            if self.manner.attributes {
                response.headers_mut().insert("x-tidegate-reason", "context-length".parse().unwrap());
            }
            return response;
        }
        let counted: Vec<(usize, &Limit)> = judged
            .dynamic
            .iter()
            .map(|&index| (index, &limits[index]))
            .filter(|(_, limit)| limit.meter.is_some())
            .collect();
        let units = |limit: &Limit| match limit.mechanism {
            Mechanism::Rate { unit: Unit::InputTokens, .. } => prompt,
            Mechanism::Rate { unit: Unit::OutputTokens, .. } => output,
            Mechanism::Rate { unit: Unit::Tokens, .. } => prompt + output,
            Mechanism::Rate { unit: Unit::Bytes, .. } => body.len() as u64,
            _ => 1,
        };
        let mut claims: Vec<Claim> =
            counted.iter().map(|(_, limit)| claim(limit, index, units(limit))).collect();
        if let Err(refused) = self.take(&counted, &mut claims) {
            return *refused;
        }
        let which = |wanted: &dyn Fn(&Mechanism) -> bool| -> Vec<Claim> {
            let pairs = counted.iter().zip(&claims);
            pairs.filter(|((_, limit), _)| wanted(&limit.mechanism)).map(|(_, claim)| *claim).collect()
        };
        let held = Units {
            held: which(&|mechanism| matches!(mechanism, Mechanism::Concurrency { .. })),
            reserved: which(&|mechanism| {
                matches!(mechanism, Mechanism::Rate { unit: Unit::OutputTokens, .. })
            }),
            told: 1,
            canned: self.clone(),
        };
        let usage =
            json!({ "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output });
        if asked["stream"] == true {
            return self.stream(output, held);
        }
        tokio::time::sleep(self.manner.token * u32::try_from(output).unwrap()).await;
        drop(held);
        plain(200, json!({ "usage": usage }).to_string())
    }

    fn stream(&self, tokens: u64, held: Units) -> Response<Body> {
        let token = self.manner.token;
        let events = stream::unfold((0, held), move |(sent, held)| async move {
            if sent == tokens {
                return None;
            }
            tokio::time::sleep(token).await;
            Some((Ok::<_, Infallible>("data: {}\n\n"), (sent + 1, held)))
        });
        Response::new(Body::from_stream(events))
    }

    fn submit(&self, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let Some(index) = self.caller(headers) else { return plain(401, "{}".to_owned()) };
        let asked: Json = serde_json::from_slice(body).unwrap();
        let file = asked["file_id"].as_str().or(asked["input_file_id"].as_str()).unwrap();
        let file = lock(&self.files)[file.parse::<usize>().unwrap()].clone();
        let read = jobfile::read(
            &file[..],
            &jobfile::Rules { format: None, endpoint: None, requests: None },
            |_, _| {},
        );
        let read = read.unwrap();
        let caller = &self.basis.callers[index];
        let mut subject = caller.subject.clone();
        subject.count(Attr::BatchBytes, [file.len() as u64]).count(Attr::BatchRequests, [read.requests]);
        subject.count(Attr::BatchModels, [read.models.len() as u64]);
        subject.say(Attr::BatchContent, read.content.iter().map(|(content, _)| content.name()));
        subject.say(Attr::BatchWindow, [asked["completion_window"].as_str().unwrap()]);
        subject.say(Attr::BatchEndpoint, [asked["endpoint"].as_str().unwrap_or("none")]);
        if let Some(provider) = asked["provider"].as_str() {
            subject.say(Attr::BatchProvider, [provider]);
        }
        // The traits of the models that the lines name.
        let of = |model: &str| self.basis.callers.iter().find(|caller| caller.model == model);
        for attr in [Attr::ModelProvenance, Attr::ModelProvider, Attr::ModelKind] {
            let words = read.models.iter().filter_map(|(model, _)| of(model)?.word(attr));
            subject.say(attr, words);
        }
        let limits = &self.scenario.policy.limits;
        let mut job = json!({ "id": lock(&self.jobs).len().to_string(), "status": "in_progress" });
        if let Some(refused) = judge(limits, Verb::SubmitBatch, &subject).refused {
            let limit = &limits[refused.limit];
            let refusal = Refusal { limit: refused.bound, current: refused.value, ..Refusal::plain(0) };
            let answer = self.refuse(refused.limit, &refusal);
            if limit.stage != tidegate_sim::profile::Stage::Validation
                && limit.answer.code != "invalid_input_file"
            {
                return answer;
            }
            let message = limit.answer.message.replace("{limit}", &refused.bound.to_string());
            job["status"] = "failed".into();
            job["errors"] = json!([{ "code": limit.answer.code, "message": message, "line": 1 }]);
        }
        let text = job.to_string();
        lock(&self.jobs).push(job);
        plain(200, text)
    }
}

/// A claim of a caller, each of which is a token and an account of its own.
fn claim(limit: &Limit, caller: usize, units: u64) -> Claim {
    let index = Index { token: caller as u32, ..Index::default() };
    Claim { meter: limit.meter.unwrap(), key: limit.key(&index) % limit.keys, units, entry: 0 }
}
