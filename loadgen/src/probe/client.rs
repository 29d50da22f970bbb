//! Requests to the target, each once: nothing is tried again, and every answer is stamped when its headers are there.

use super::key::Keys;
use crate::client::key::Key;
use crate::client::target::{Target as Address, TargetError};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest time until the headers of an answer are there.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most of a body that is kept.
const KEPT: usize = 64 * 1024;

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    gateway: Address,
    /// A free read on the control plane.
    pub control: Option<String>,
    /// Keys.
    pub keys: Keys,
}

impl Target {
    /// Reads the addresses of a gateway and of a free read on its control plane.
    ///
    /// # Errors
    /// When one is none: what is wrong with it.
    pub fn new(gateway: &str, control: Option<&str>, keys: Keys) -> Result<Target, TargetError> {
        let gateway = Address::parse(gateway)?;
        if let Some(control) = control {
            Address::parse(control)?;
        }
        Ok(Target { gateway, control: control.map(str::to_owned), keys })
    }

    /// The address of the gateway as it may be shown.
    pub fn base(&self) -> String {
        self.gateway.url("")
    }

    /// Whether everything is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.all(Address::is_loopback)
    }

    /// Whether these prefixes of addresses allow it.
    pub fn is_among(&self, prefixes: &[String]) -> bool {
        self.all(|address| address.is_among(prefixes))
    }

    fn all(&self, holds: impl Fn(&Address) -> bool) -> bool {
        let control = self.control.as_ref().map(|text| Address::parse(text));
        holds(&self.gateway) && control.is_none_or(|control| control.is_ok_and(|control| holds(&control)))
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    /// Behind the base, or a whole address.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub key: Option<Key>,
    /// Whose request to a model it is, by the place in the basis; what is let in is counted.
    pub caller: Option<usize>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The beginning of the body; empty while [`Answer::rest`] is there.
    pub text: String,
    /// When it was sent, and when its headers were there.
    pub sent: Instant,
    pub heard: Instant,
    /// The body, when it was not read.
    pub rest: Option<Response>,
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn is_fine(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `null` when it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Sends calls.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    target: Arc<Target>,
    sent: Arc<AtomicU64>,
    /// Requests that were let in, by caller.
    let_in: Arc<Vec<AtomicU64>>,
}

impl Client {
    pub(super) fn new(target: Target, callers: usize) -> Result<Client, String> {
        let http = reqwest::Client::builder()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(4096)
            .build()
            .map_err(|error| format!("no client can be made: {error}"))?;
        let let_in = std::iter::repeat_with(AtomicU64::default).take(callers).collect();
        Ok(Client { http, target: Arc::new(target), sent: Arc::default(), let_in: Arc::new(let_in) })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Requests sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Requests of a caller that were let in so far.
    pub(super) fn let_in(&self, caller: usize) -> u64 {
        self.let_in[caller].load(Ordering::Relaxed)
    }

    /// Sends a call; the answer has its body.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, String> {
        let mut answer = self.open(call).await?;
        let mut rest = answer.rest.take().expect("an answer has a body until it is read");
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = rest.chunk().await? {
                let room = KEPT.saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok::<(), reqwest::Error>(())
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Err(_) => return Err(format!("the body of an answer took longer than {} s", PATIENCE.as_secs())),
            // A refusal that is cut short is a refusal.
            Ok(Err(error)) if answer.is_fine() => {
                return Err(format!("the answer broke off: {}", plain(&error)));
            }
            Ok(_) => {}
        }
        answer.text = self.target.keys.redact(&String::from_utf8_lossy(&body));
        Ok(answer)
    }

    /// Sends a call; the answer has its headers, the body is to be read or dropped.
    pub(super) async fn open(&self, call: Call) -> Result<Answer, String> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let url = if call.path.contains("://") { call.path } else { self.target.gateway.url(&call.path) };
        let mut request = self.http.request(call.method, &url).body(Body::from(call.body));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(key) = &call.key {
            request = request.header("authorization", key.header());
        }
        let sent = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, request.send()).await;
        let heard = Instant::now();
        let answer = answer
            .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
            .map_err(|error| format!("no answer: {}", plain(&error)))?;
        if let Some(caller) = call.caller.filter(|_| answer.status().is_success()) {
            self.let_in[caller].fetch_add(1, Ordering::Relaxed);
        }
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: String::new(),
            sent,
            heard,
            rest: Some(answer),
        })
    }
}

/// An error with its causes, without the address (which may be a presigned one).
fn plain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(found) = cause {
        if !text.is_empty() {
            text += ": ";
        }
        text += &found.to_string();
        cause = found.source();
    }
    if text.is_empty() { "the connection failed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_on_this_machine_when_all_of_it_is() {
        let target = |control| Target::new("http://127.0.0.1:1/base/", control, Keys::default()).unwrap();
        assert_eq!(target(None).base(), "http://127.0.0.1:1/base");
        assert!(target(None).is_loopback() && target(Some("http://[::1]/v2/list")).is_loopback());
        assert!(!target(Some("https://api.example.com/v2/list")).is_loopback());
    }
}
