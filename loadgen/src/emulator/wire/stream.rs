//! The body of an answer that is streamed: a frame for the tokens that have come since the last one.

use super::App;
use super::errors::Fault;
use super::reply;
use super::script::{DONE, Script};
use crate::emulator::gateway::{Pending, Told};
use crate::emulator::line::Line;
use crate::emulator::trouble::Ill;
use axum::body::HttpBody;
use axum::http::StatusCode;
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tidegate_sim::request::{Finished, Outcome};
use tokio::time::{Sleep, sleep};

/// Most tokens of a frame: a client that falls behind costs no more memory than this.
const TOKENS_MOST: u32 = 256;

/// A stream of tokens. Dropping it before its end hangs up.
pub(super) struct TokenStream {
    app: Arc<App>,
    script: Script,
    /// `None` when the engine has told all that it will.
    pending: Option<Pending>,
    /// Tokens that the engine has told.
    known: u32,
    /// Tokens that were sent.
    sent: u32,
    done: Option<Box<Finished>>,
    begun: bool,
    over: bool,
    /// The connection is being reset.
    lost: bool,
    ill: Option<Ill>,
    stalled: Option<Pin<Box<Sleep>>>,
    line: Arc<Line>,
}

impl TokenStream {
    pub(super) fn new(
        app: Arc<App>,
        script: Script,
        pending: Pending,
        known: u32,
        done: Option<Box<Finished>>,
        ill: Option<Ill>,
        line: Arc<Line>,
    ) -> Self {
        let pending = Some(pending).filter(|_| done.is_none());
        TokenStream {
            app,
            script,
            pending,
            known,
            sent: 0,
            done,
            begun: false,
            over: false,
            lost: false,
            ill,
            stalled: None,
            line,
        }
    }

    /// Hears what the engine has told by now.
    fn listen(&mut self, cx: &mut Context<'_>) {
        while let Some(pending) = &mut self.pending {
            match pending.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Told::Admitted)) => {}
                Poll::Ready(Some(Told::Tokens(tokens))) => self.known = self.known.max(tokens),
                Poll::Ready(Some(Told::Done(done))) => {
                    self.known = self.known.max(done.generated);
                    self.done = Some(done);
                    self.pending = None;
                }
                Poll::Ready(None) => self.pending = None,
            }
        }
    }

    /// What an ill answer says instead of its tokens, after its first event.
    fn suffer(&mut self, ill: Ill, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.ill = None;
        self.app.counters.troubles.add(1);
        match ill {
            Ill::Reset => {
                self.hang_up();
                // The connection ends under it; nothing else comes.
                self.line.reset();
                self.lost = true;
                Poll::Pending
            }
            Ill::StreamError | Ill::ServerError => {
                self.hang_up();
                self.over = true;
                let fault = Fault::server(StatusCode::INTERNAL_SERVER_ERROR, reply::ILL);
                Poll::Ready(Some(error_event(&fault)))
            }
            Ill::Stall(stall) => {
                self.stalled = Some(Box::pin(sleep(self.app.real(stall))));
                self.poll_bytes(cx)
            }
        }
    }

    fn hang_up(&mut self) {
        self.pending = None;
    }

    fn poll_tokens(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.listen(cx);
        let first = !self.begun;
        let until = if first && self.ill.is_some() { 0 } else { self.known.min(self.sent + TOKENS_MOST) };
        let size = (until - self.sent.min(until)) as usize * self.script.event_len();
        let mut out = BytesMut::with_capacity(size + if first { 512 } else { 0 });
        if first {
            self.begun = true;
            self.script.role(&mut out);
        }
        if until > self.sent {
            self.script.tokens(self.sent, until, &mut out);
            self.sent = until;
        }
        let told_all = self.pending.is_none() && self.sent >= self.known && !(first && self.ill.is_some());
        if told_all {
            self.over = true;
            self.finish(&mut out);
        }
        if out.is_empty() {
            // Completions begin with nothing when something is to go wrong.
            return if first && self.ill.is_some() { self.poll_bytes(cx) } else { Poll::Pending };
        }
        Poll::Ready(Some(out.freeze()))
    }

    /// The last events.
    fn finish(&mut self, out: &mut BytesMut) {
        match &self.done {
            Some(done) if done.outcome == Outcome::Completed => {
                self.script.end(reply::reason(done), reply::usage(done), out);
            }
            Some(done) => {
                let fault = match reply::refusal(done) {
                    Some(refusal) => limit_fault(&self.app, &refusal),
                    None => reply::fault(done.outcome),
                };
                out.extend_from_slice(&error_event(&fault));
            }
            None => out.extend_from_slice(&error_event(&Fault::stopping())),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.lost {
            return Poll::Pending;
        }
        if let Some(timer) = &mut self.stalled {
            ready!(timer.as_mut().poll(cx));
            self.stalled = None;
        }
        match self.ill {
            Some(ill) if self.begun => self.suffer(ill, cx),
            _ => self.poll_tokens(cx),
        }
    }
}

/// What a limit says that cancels a request in the middle of its answer.
fn limit_fault(app: &App, refusal: &tidegate_sim::request::Refusal) -> Fault {
    let policy = &app.scenario().policy;
    match policy.limit_of(refusal.reason) {
        Some(limit) => {
            let status =
                StatusCode::from_u16(limit.answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let message =
                format!("The request was cancelled by the limit `{}`: {}.", limit.name, limit.value_text());
            Fault::server(status, &message)
        }
        None => super::refused::built_in(refusal),
    }
}

/// An error inside a stream, and the end of it.
fn error_event(fault: &Fault) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"data: ");
    out.put_slice(serde_json::json!({ "error": fault.openai() }).to_string().as_bytes());
    out.put_slice(b"\n\n");
    out.put_slice(DONE);
    out.freeze()
}

impl HttpBody for TokenStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
