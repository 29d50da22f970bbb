//! A connection, as far as it protects the server: who is slow is dropped, and what is to be reset is reset.
//!
//! Three clocks, one at a time: a connection without a request may idle for long; a head that has begun must come soon; an
//! answer must be taken within a while. Bodies of requests are timed by whoever reads them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a request.
    pub idle: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Without taking any byte of an answer.
    pub write: Duration,
}

/// What handlers and the server share of a connection.
#[derive(Debug, Default)]
pub struct Line {
    busy: AtomicBool,
    reset: Notify,
}

impl Line {
    /// A request has been read, and is being answered.
    pub fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// The answer is out.
    pub fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Asks for the connection to be reset, as if a router in between had lost it.
    pub fn reset(&self) {
        self.reset.notify_one();
    }

    /// Waits until the connection is to be reset.
    pub async fn to_be_reset(&self) {
        self.reset.notified().await;
    }
}

/// The bytes of a connection, with its clocks.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    line: std::sync::Arc<Line>,
    patience: Patience,
    /// Whether a request was being answered when last looked at.
    was_busy: bool,
    /// Since when there is no request.
    idle_since: Instant,
    /// When the head that is being read began.
    head_since: Option<Instant>,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream, line: std::sync::Arc<Line>, patience: Patience) -> Self {
        Socket {
            stream,
            line,
            patience,
            was_busy: false,
            idle_since: Instant::now(),
            head_since: None,
            reading: None,
            writing: None,
        }
    }

    /// Makes its end a reset: what was not sent is thrown away.
    pub fn end_with_reset(&self) {
        // A socket that cannot be told so is closed as ever.
        let _ = self.stream.set_zero_linger();
    }

    /// Whether the client has been too slow to ask.
    fn poll_slow_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.line.busy.load(Ordering::Relaxed) {
            // Whoever reads is not woken when the answer is over: it looks again, so that a connection idles for twice
            // its patience at most.
            let deadline = match &self.reading {
                Some(sleep) if self.was_busy => sleep.deadline(),
                _ => Instant::now() + self.patience.idle,
            };
            self.was_busy = true;
            if wait(&mut self.reading, deadline, cx).is_pending() {
                return Poll::Pending;
            }
            self.reading = None;
        }
        if self.was_busy {
            (self.was_busy, self.idle_since, self.head_since) = (false, Instant::now(), None);
        }
        let deadline = match self.head_since {
            Some(since) => since + self.patience.head,
            None => self.idle_since + self.patience.idle,
        };
        wait(&mut self.reading, deadline, cx)
    }

    fn wrote(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if done.is_ready() {
            self.writing = None;
            return done;
        }
        let deadline = match &self.writing {
            Some(sleep) => sleep.deadline(),
            None => Instant::now() + self.patience.write,
        };
        wait(&mut self.writing, deadline, cx).map(Err)
    }
}

/// Waits until `deadline`.
fn wait(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<io::Error> {
    let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    if sleep.deadline() != deadline {
        sleep.as_mut().reset(deadline);
    }
    sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before && !this.line.busy.load(Ordering::Relaxed) {
                    if this.was_busy {
                        (this.was_busy, this.idle_since, this.head_since) = (false, Instant::now(), None);
                    }
                    let since = this.head_since.get_or_insert_with(Instant::now);
                    // Drops of a head that never ends must not look like progress.
                    if since.elapsed() > this.patience.head {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => this.poll_slow_reader(cx).map(Err),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
