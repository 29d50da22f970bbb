//! What the emulated gateway says over HTTP: paths, bodies, answers.

pub mod ask;
mod batches;
mod bounds;
mod chat;
mod embeddings;
pub mod errors;
mod files;
pub mod keys;
mod mark;
mod models;
pub mod refused;
mod reply;
mod results;
pub mod script;
mod stream;
#[cfg(test)]
mod tests;

use super::batches::Jobs;
use super::files::Store;
use super::gateway::{Gateway, Stopped};
use super::metrics::{self, Counters};
use super::server::Settings;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post, put};
use bounds::Bounds;
use bytes::Bytes;
use errors::{Fault, Voice};
use keys::Caller;
use refused::{Manner, RateHeaders};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_sim::request::WorkloadId;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::Span;

/// What all handlers share.
#[derive(Debug)]
pub struct App {
    pub(super) gateway: Gateway,
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    /// By workload.
    names: Vec<Names>,
    rates: RateHeaders,
    bounds: Bounds,
    address: SocketAddr,
    closing: AtomicBool,
    /// Bytes of bodies that are being read.
    bodies: AtomicU64,
    files: Mutex<Store>,
    jobs: Mutex<Jobs>,
}

/// What a workload's model may be called.
#[derive(Debug)]
struct Names {
    /// On the wire, first of all.
    all: Vec<String>,
    /// The first, as JSON.
    json: String,
}

impl App {
    /// For a gateway that runs.
    pub fn new(gateway: Gateway, settings: Settings, address: SocketAddr) -> Self {
        let scenario = gateway.scenario();
        let names = (0..scenario.workloads.len()).map(|index| Names::of(scenario, index)).collect();
        let rates = RateHeaders::of(scenario.policy.profile.as_ref().map(|profile| profile.id.as_str()));
        let bounds = Bounds::of(scenario);
        let files = Mutex::new(Store::new(settings.files_most));
        App {
            gateway,
            settings,
            counters: Counters::default(),
            names,
            rates,
            bounds,
            address,
            closing: AtomicBool::new(false),
            bodies: AtomicU64::new(0),
            files,
            jobs: Mutex::new(Jobs::default()),
        }
    }

    /// Answers new requests with 503 from now on.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn scenario(&self) -> &Scenario {
        self.gateway.scenario()
    }

    fn names(&self, workload: WorkloadId) -> &Names {
        &self.names[usize::from(workload)]
    }

    /// In whose form errors are written: the profile's, else what the path is known for.
    fn voice(&self, path: &str) -> Voice<'_> {
        match &self.scenario().policy.profile {
            Some(profile) => Voice::Vendor(&profile.envelope),
            None if path.ends_with("/invocations") => Voice::Databricks,
            None => Voice::OpenAi,
        }
    }

    fn manner<'a>(&'a self, voice: Voice<'a>) -> Manner<'a> {
        let policy = &self.scenario().policy;
        Manner { policy, voice, rates: self.rates, speed: self.settings.speed, epoch: epoch().as_secs_f64() }
    }

    /// A time of the gateway, as clients wait for it.
    fn real(&self, span: Span) -> Duration {
        Duration::from_nanos((span.as_nanos() as f64 / self.settings.speed) as u64)
    }

    fn is_open(&self) -> Result<(), Fault> {
        if self.closing.load(Ordering::Relaxed) { Err(Fault::stopping()) } else { Ok(()) }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        keys::caller(self.scenario(), headers).map_err(|unknown| Fault::key(unknown.message()))
    }

    fn files(&self) -> MutexGuard<'_, Store> {
        // A handler that panicked has left the store between two whole operations.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a body of at most `most` bytes within `patience`.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: u64,
        patience: Duration,
    ) -> Result<Bytes, Fault> {
        if let Some(coding) = headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
            let shown = String::from_utf8_lossy(coding.as_bytes()).into_owned();
            let message = format!("Bodies with content-encoding `{shown}` are not read.");
            return Err(Fault { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..Fault::bad(None, message) });
        }
        let stated =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if stated.is_some_and(|stated| stated > most) {
            return Err(Fault::too_large(most));
        }
        match tokio::time::timeout(patience, self.collect(body, most)).await {
            Ok(read) => read,
            Err(_) => Err(Fault::too_slow()),
        }
    }

    async fn collect(&self, mut body: Body, most: u64) -> Result<Bytes, Fault> {
        let mut held = Held { app: self, bytes: 0 };
        let (mut first, mut all) = (None::<Bytes>, Vec::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Fault::bad(None, "The body is not whole."))?;
            let Ok(data) = frame.into_data() else { continue };
            held.more(data.len() as u64)?;
            if held.bytes > most {
                return Err(Fault::too_large(most));
            }
            // Most bodies come in one piece, which need not be copied.
            match first.take() {
                None if all.is_empty() => first = Some(data),
                None => all.extend_from_slice(&data),
                Some(before) => {
                    all.extend_from_slice(&before);
                    all.extend_from_slice(&data);
                }
            }
        }
        Ok(first.unwrap_or_else(|| all.into()))
    }
}

/// Bytes of a body that is being read.
struct Held<'a> {
    app: &'a App,
    bytes: u64,
}

impl Held<'_> {
    fn more(&mut self, bytes: u64) -> Result<(), Fault> {
        self.bytes += bytes;
        let before = self.app.bodies.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.app.settings.bodies_most {
            return Err(Fault::full("bodies"));
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.app.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Names {
    fn of(scenario: &Scenario, index: usize) -> Names {
        let workload = &scenario.workloads[index];
        let mut all = vec![scenario.wire_name(index).to_owned()];
        let mut add = |name: &str| {
            if !all.iter().any(|known| known == name) {
                all.push(name.to_owned());
            }
        };
        for (model, _) in &workload.sender.candidates {
            add(&scenario.models[*model].name);
        }
        add(&scenario.models[scenario.pools[usize::from(workload.pool)].model].name);
        if let Some(endpoint) = workload.sender.endpoint {
            add(&scenario.policy.endpoints[endpoint].name);
        }
        let json = serde_json::Value::from(all[0].as_str()).to_string();
        Names { all, json }
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|known| known == name)
    }
}

impl From<Stopped> for Fault {
    fn from(_: Stopped) -> Self {
        Fault::stopping()
    }
}

/// Time since the epoch.
fn epoch() -> Duration {
    // A clock before 1970 is as good as one at it.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// All paths. Whole ones: of a path in two parts the address is written anew for every request.
pub(super) fn router(app: Arc<App>) -> Router {
    // Bodies have bounds of their own.
    let files = post(files::upload).layer(DefaultBodyLimit::disable()).get(files::list);
    let router = Router::new()
        .route("/v1/files", files.fallback(wrong_method))
        .route("/v1/files/{id}", get(files::show).delete(files::delete).fallback(wrong_method))
        .route("/v1/files/{id}/content", get(files::content).fallback(wrong_method))
        .route("/v1/batches", post(batches::create).get(batches::list).fallback(wrong_method))
        .route("/v1/batches/files", post(files::announce).fallback(wrong_method))
        .route("/v1/batches/{id}", get(batches::show).fallback(wrong_method))
        .route("/v1/batches/{id}/cancel", post(batches::cancel).fallback(wrong_method))
        .route("/v1/batches/{id}/results", get(batches::results).fallback(wrong_method))
        .route("/serving-endpoints/{name}/invocations", post(chat::invocation).fallback(wrong_method))
        .route("/uploads/{token}", put(files::put).get(files::download).fallback(wrong_method))
        .route("/health", get(health).fallback(wrong_method))
        .route("/metrics", get(metrics::show).fallback(wrong_method));
    ["/v1", "/serving-endpoints"].into_iter().fold(router, openai).fallback(nothing_there).with_state(app)
}

/// Paths that clients of OpenAI use, whatever comes before them.
fn openai(router: Router<Arc<App>>, base: &str) -> Router<Arc<App>> {
    router
        .route(&format!("{base}/chat/completions"), post(chat::chat).fallback(wrong_method))
        .route(&format!("{base}/completions"), post(chat::completions).fallback(wrong_method))
        .route(&format!("{base}/embeddings"), post(chat::embeddings).fallback(wrong_method))
        .route(&format!("{base}/models"), get(models::list).fallback(wrong_method))
        .route(&format!("{base}/models/{{*id}}"), get(models::show).fallback(wrong_method))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    match app.is_open() {
        Ok(()) => errors::json(StatusCode::OK, r#"{"status":"ok"}"#),
        Err(fault) => fault.answer(app.voice("/health")),
    }
}

async fn nothing_there(State(app): State<Arc<App>>, request: Request) -> Response {
    let path: String = request.uri().path().chars().take(100).collect();
    let fault = Fault::not_found(format!("Invalid URL ({} {path}).", request.method()));
    fault.answer(app.voice(request.uri().path()))
}

async fn wrong_method(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    Fault::method(request.method().as_str(), path).answer(app.voice(path))
}
