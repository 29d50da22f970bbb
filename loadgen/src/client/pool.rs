//! HTTP/1.1 connections to one plain-text target, reused.
//!
//! A connection belongs to the task that uses it, which drives it too: a read of the socket wakes the task that wants the
//! bytes, without another task in between. That is what a pooled client of the usual kind does not do, and what lets one
//! core follow a hundred thousand events a second. Connections that idle are kept by thread: one is used again where its
//! socket is waited for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest time that opening a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why an exchange broke.
#[derive(Debug)]
pub enum Broken {
    /// The connection could not be opened.
    Connect(io::Error),
    /// Nothing of an answer came before the connection ended.
    Closed,
    /// It was reset, or ended within an answer.
    Reset,
    /// What came is not HTTP.
    Protocol,
}

/// Threads that keep connections of their own; more share.
const SHELVES: usize = 16;

thread_local! {
    /// Where this thread keeps its connections.
    static SHELF: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHELVES
    };
}

/// Connections to one target, those in use included.
#[derive(Debug)]
pub struct Pool {
    addresses: Vec<SocketAddr>,
    idle: [Mutex<Vec<Link>>; SHELVES],
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    peak: AtomicUsize,
}

/// What drives a connection.
type Driver = Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

/// An open connection.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it is over.
    connection: Option<Driver>,
    counts: Arc<Counts>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// Lets the connection work; whether it is still there.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        match connection.as_mut().poll(cx) {
            Poll::Pending => Ok(true),
            Poll::Ready(over) => {
                self.connection = None;
                over.map(|()| false).map_err(|error| broken(&error))
            }
        }
    }
}

/// An answer whose head has come. Reading it to its end gives the connection back.
#[derive(Debug)]
pub struct Exchange {
    body: Incoming,
    link: Option<Link>,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool without connections.
    pub fn new(addresses: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Pool { addresses, idle: Default::default(), counts: Arc::default() })
    }

    /// Most connections that were open at once.
    pub fn peak(&self) -> usize {
        self.counts.peak.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// A connection that was used before may be closed by the server at any moment; when it ends before a byte of an answer
    /// has come, the request is sent again, once, on a new one (RFC 9112, section 9.3.1). So `request` makes it as often as it
    /// is needed, which is once nearly always.
    pub async fn send(
        self: &Arc<Self>,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Response<Exchange>, Broken> {
        let mut unsent = None;
        while let Some(link) = self.take() {
            match self.exchange(link, unsent.take().unwrap_or_else(&request)).await {
                Ok(answer) => return Ok(answer),
                // It was closed while nobody looked, nothing was sent.
                Err((Broken::Closed, Some(given_back))) => unsent = Some(given_back),
                Err((Broken::Closed | Broken::Reset, None)) => break,
                Err((broken, _)) => return Err(broken),
            }
        }
        let link = self.open().await?;
        self.exchange(link, unsent.unwrap_or_else(request)).await.map_err(|(broken, _)| broken)
    }

    fn take(&self) -> Option<Link> {
        self.shelf().pop()
    }

    fn shelf(&self) -> MutexGuard<'_, Vec<Link>> {
        SHELF.with(|&shelf| self.idle[shelf].lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn open(self: &Arc<Self>) -> Result<Link, Broken> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.shake(stream).await,
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(Broken::Connect(last))
    }

    async fn shake(self: &Arc<Self>, stream: TcpStream) -> Result<Link, Broken> {
        // Without it the kernel may hold a request back for the answer to the one before.
        stream.set_nodelay(true).map_err(Broken::Connect)?;
        let shaken = Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| broken(&error))?;
        let open = self.counts.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.peak.fetch_max(open, Ordering::Relaxed);
        Ok(Link { sender, connection: Some(Box::pin(connection)), counts: Arc::clone(&self.counts) })
    }

    /// Sends `request` on `link`; gives it back when nothing of it was sent.
    async fn exchange(
        self: &Arc<Self>,
        mut link: Link,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Exchange>, (Broken, Option<Request<Full<Bytes>>>)> {
        // An idle connection is not driven: what happened to it meanwhile shows now.
        let alive = poll_fn(|cx| Poll::Ready(link.drive(cx))).await;
        if !matches!(alive, Ok(true)) || !link.sender.is_ready() {
            return Err((Broken::Closed, Some(request)));
        }
        let mut answer = pin!(link.sender.try_send_request(request));
        let mut connection = link.connection.take();
        let mut failed = None;
        let answer = poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                let Some(driven) = &mut connection else { return Poll::Pending };
                match driven.as_mut().poll(cx) {
                    Poll::Pending => {
                        // It may have brought the answer.
                        return answer.as_mut().poll(cx);
                    }
                    Poll::Ready(over) => {
                        connection = None;
                        failed = over.err();
                    }
                }
            }
        })
        .await;
        match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                link.connection = connection;
                Ok(Response::from_parts(head, Exchange { body, link: Some(link), pool: Arc::clone(self) }))
            }
            Err(mut error) => {
                let unsent = error.take_message();
                Err((failed.as_ref().map_or_else(|| broken(error.error()), broken), unsent))
            }
        }
    }
}

impl Exchange {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let found = poll_fn(|cx| self.poll(cx)).await;
        match &found {
            Ok(Some(_)) => {}
            Ok(None) => self.give_back().await,
            Err(_) => self.link = None,
        }
        found
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {}
            }
            let Some(link) = &mut self.link else { return Poll::Pending };
            match link.drive(cx) {
                // Wakes this very task when it has brought something.
                Ok(true) => return self.poll_body_again(cx),
                // The body ends by itself, whatever became of the connection.
                Ok(false) => self.link = None,
                Err(error) => {
                    self.link = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn poll_body_again(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Back into the pool, when the connection may be used again.
    async fn give_back(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let reusable = poll_fn(|cx| {
            // Its own bookkeeping of the end of the answer.
            let alive = matches!(link.drive(cx), Ok(true));
            Poll::Ready(alive && link.sender.is_ready())
        });
        if reusable.await {
            self.pool.shelf().push(link);
        }
    }
}

/// What an error of the HTTP library amounts to.
fn broken(error: &hyper::Error) -> Broken {
    if error.is_parse() || error.is_parse_too_large() {
        return Broken::Protocol;
    }
    if error.is_canceled() || error.is_closed() {
        return Broken::Closed;
    }
    if error.is_incomplete_message() {
        return Broken::Reset;
    }
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        // hyper reports bad chunk framing as invalid input of the stream.
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Broken::Protocol,
        _ => Broken::Reset,
    }
}
