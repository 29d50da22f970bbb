//! The listener: connections, how many and how slow they may be, and an orderly end.

use super::gateway::Gateway;
use super::line::{Line, Patience, Socket};
use super::wire::{self, App};
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a server lets clients do.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Gateway time for real time, as the engine behind it has it.
    pub speed: f64,
    /// Most bytes of a body that is no file.
    pub body_most: u64,
    /// Most bytes of one file.
    pub file_most: u64,
    /// Most bytes of all files, and of what is kept of jobs.
    pub files_most: u64,
    /// Most bytes of bodies that are being read, of all requests together.
    pub bodies_most: u64,
    /// Most connections; one more is answered with 503 and closed.
    pub connections_most: usize,
    /// How long connections may idle, send heads, and not read.
    pub patience: Patience,
    /// How long a body may take that is no file; a file may take ten times as long.
    pub body_patience: Duration,
    /// How long answers may go on after the end was asked for.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            speed: 1.0,
            body_most: 64 << 20,
            file_most: 200 << 20,
            files_most: 512 << 20,
            bodies_most: 512 << 20,
            connections_most: 15_000,
            // Longer than pools of common clients keep a connection, so that none of them meets one that just closes.
            patience: Patience {
                idle: Duration::from_secs(120),
                head: Duration::from_secs(10),
                write: Duration::from_secs(30),
            },
            body_patience: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// Bytes of a head, and of what is read ahead.
const HEAD_MOST: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 8_192;
/// How long the listener rests when the system has no descriptors left.
const REST: Duration = Duration::from_millis(50);

/// What a client reads for whom there is no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 117\r\n\
connection: close\r\nretry-after: 1\r\n\r\n\
{\"error\":{\"message\":\"Too many connections are open.\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_overloaded\"}}\n";

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
    closing: CancellationToken,
    aborting: CancellationToken,
    open: Arc<Open>,
    listener: JoinHandle<()>,
}

/// Lets this process have as many descriptors as the system allows it; how many those are.
pub fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What the system does not give is not there: the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

impl Server {
    /// Listens, inside a runtime of tokio.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(gateway: Gateway, settings: Settings) -> io::Result<Server> {
        let listener = listen(settings.listen)?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::new(gateway, settings, address));
        let (closing, aborting) = (CancellationToken::new(), CancellationToken::new());
        let open = Arc::new(Open::default());
        let accepting = Accepting {
            app: Arc::clone(&app),
            closing: closing.clone(),
            aborting: aborting.clone(),
            open: Arc::clone(&open),
        };
        let listener = tokio::spawn(accepting.run(listener));
        Ok(Server { address, app, closing, aborting, open, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends: accepts nothing more, lets answers go on for the grace that the settings give, then drops them. Says how many
    /// connections were dropped.
    pub async fn stop(self) -> usize {
        self.app.close();
        self.closing.cancel();
        // It ends by itself; a panic in there is told by its own message.
        let _ = self.listener.await;
        if tokio::time::timeout(self.app.settings.grace, self.open.none()).await.is_ok() {
            return 0;
        }
        let dropped = self.open.count.load(Ordering::Relaxed);
        self.aborting.cancel();
        self.open.none().await;
        dropped
    }
}

/// Connections that are open.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    changed: Notify,
}

impl Open {
    /// Waits until there is none.
    async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

struct Accepting {
    app: Arc<App>,
    closing: CancellationToken,
    aborting: CancellationToken,
    open: Arc<Open>,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        let router = wire::router(Arc::clone(&self.app));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, or the client has gone already.
                tokio::time::sleep(REST).await;
                continue;
            };
            if self.open.count.load(Ordering::Relaxed) >= self.app.settings.connections_most {
                self.app.counters.connections_refused.add(1);
                // There is no place to wait for a client that does not read.
                let _ = stream.try_write(NO_PLACE);
                continue;
            }
            self.app.counters.connections.add(1);
            let place = Place::take(&self.open, &self.app);
            let connection = Connection {
                app: Arc::clone(&self.app),
                router: router.clone(),
                closing: self.closing.clone(),
                aborting: self.aborting.clone(),
            };
            tokio::spawn(async move {
                // Given back however this ends, a panic included.
                let _place = place;
                connection.serve(stream).await;
            });
        }
    }
}

/// One of the connections that may be open.
struct Place(Arc<Open>, Arc<App>);

impl Place {
    fn take(open: &Arc<Open>, app: &Arc<App>) -> Self {
        open.count.fetch_add(1, Ordering::Relaxed);
        app.counters.connections_open.add(1);
        Place(Arc::clone(open), Arc::clone(app))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Release);
        self.0.changed.notify_one();
        self.1.counters.connections_closed.add(1);
    }
}

struct Connection {
    app: Arc<App>,
    router: axum::Router,
    closing: CancellationToken,
    aborting: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Tokens go out as they come. A socket that cannot be told so is slower, nothing else.
        let _ = stream.set_nodelay(true);
        let line = Arc::new(Line::default());
        let socket = Socket::new(stream, Arc::clone(&line), self.app.settings.patience);
        let router = TowerToHyperService::new(self.router);
        let shared = Arc::clone(&line);
        let service = service_fn(move |request: Request<Incoming>| {
            shared.begin();
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(Arc::clone(&shared));
            let answer = router.call(Request::from_parts(parts, Body::new(body)));
            let line = Arc::clone(&shared);
            async move {
                let answer = answer.await?;
                Ok::<Response<Timed>, Infallible>(answer.map(|body| Timed { body, line }))
            }
        });
        let mut http = http1::Builder::new();
        // Heads are timed by the socket, small events are copied together, and what a client may send is bounded.
        // A hundred header fields are the library's own bound; stated, it would be allocated for every request.
        http.header_read_timeout(None).writev(false).max_buf_size(HEAD_MOST);
        let mut connection = http.serve_connection(TokioIo::new(socket), service);
        let mut is_closing = false;
        loop {
            tokio::select! {
                biased;
                // What went wrong with a connection concerns nobody else.
                _ = &mut connection => return,
                () = line.to_be_reset() => {
                    self.app.counters.resets.add(1);
                    connection.into_parts().io.into_inner().end_with_reset();
                    return;
                }
                () = self.aborting.cancelled() => return,
                () = self.closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    }
}

/// The body of an answer, that says when it is over.
struct Timed {
    body: Body,
    line: Arc<Line>,
}

impl HttpBody for Timed {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.line.end();
    }
}
