//! How bytes go to a target and come back: plain HTTP over our own pool, HTTPS over reqwest's.
//!
//! The reads of the pool wake the task that times them, and a connection is driven by the task that waits for it: fewer
//! hand-overs between what arrives and its time stamp. Where TLS and a network are in between, that does not matter, and
//! reqwest knows certificates.

use super::pool::{Broken, Exchange, Pool};
use super::target::{Target, TargetError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A way to a target. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Transport {
    target: Arc<Target>,
    host: HeaderValue,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Plain(Arc<Pool>),
    Tls(reqwest::Client),
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Plain(Exchange),
    Tls(reqwest::Response),
}

/// Why there is no way to a target.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Its name is not known.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl Transport {
    /// A way to `target`, which is looked up now and only now.
    ///
    /// # Errors
    /// When its name is not known, or TLS cannot be set up.
    pub fn new(target: &Target) -> Result<Self, TransportError> {
        let way = if target.is_https() {
            // No limit on the whole: streams may be long, and patience is the caller's.
            let client = reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(10))
                .tcp_nodelay(true)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|error| TransportError::Tls(error.without_url().to_string()))?;
            Way::Tls(client)
        } else {
            Way::Plain(Pool::new(target.resolve()?))
        };
        let host = HeaderValue::try_from(target.authority()).expect("a target's host is printable");
        Ok(Transport { target: Arc::new(target.clone()), host, way })
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Most connections that were open at once; 0 where that is not known.
    pub fn sockets_peak(&self) -> usize {
        match &self.way {
            Way::Plain(pool) => pool.peak(),
            Way::Tls(_) => 0,
        }
    }

    /// The address of a path, parsed once.
    ///
    /// # Panics
    /// When `path` has characters that no address may have.
    pub fn uri(&self, path: &str) -> Uri {
        let text = if self.target.is_https() { self.target.url(path) } else { self.target.path(path) };
        text.parse().expect("paths are printable")
    }

    /// Sends a request, `uri` being one of [`Transport::uri`], and waits for the head of the answer. `headers` makes its
    /// headers, again when it has to be sent again.
    ///
    /// # Errors
    /// When the connection cannot be made, breaks, or does not speak HTTP.
    pub async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: impl Fn() -> HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Broken> {
        match &self.way {
            Way::Plain(pool) => {
                let request = || {
                    let mut request = Request::new(Full::new(body.clone()));
                    *request.method_mut() = method.clone();
                    *request.uri_mut() = uri.clone();
                    *request.headers_mut() = headers();
                    request.headers_mut().insert(HOST, self.host.clone());
                    request
                };
                let (head, body) = pool.send(request).await?.into_parts();
                Ok(Answer { status: head.status, headers: head.headers, body: Body::Plain(body) })
            }
            Way::Tls(client) => {
                let url: reqwest::Url = uri.to_string().parse().map_err(|_| Broken::Protocol)?;
                let mut request = reqwest::Request::new(method, url);
                *request.headers_mut() = headers();
                *request.body_mut() = Some(body.into());
                let answer = client.execute(request).await.map_err(|error| broken(&error))?;
                let headers = answer.headers().clone();
                Ok(Answer { status: answer.status(), headers, body: Body::Tls(answer) })
            }
        }
    }
}

impl Answer {
    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match &mut self.body {
            Body::Plain(body) => body.next().await,
            Body::Tls(answer) => answer.chunk().await.map_err(|error| broken(&error)),
        }
    }

    /// The whole body, at most `most` bytes; `None` when it is longer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn whole(&mut self, most: usize) -> Result<Option<Vec<u8>>, Broken> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > most {
                return Ok(None);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(Some(whole))
    }
}

fn broken(error: &reqwest::Error) -> Broken {
    if error.is_connect() {
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                let same = io.raw_os_error().map(io::Error::from_raw_os_error);
                return Broken::Connect(same.unwrap_or_else(|| io.kind().into()));
            }
            source = inner.source();
        }
        return Broken::Connect(io::ErrorKind::Other.into());
    }
    if error.is_decode() { Broken::Protocol } else { Broken::Reset }
}
