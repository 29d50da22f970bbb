//! One attempt: a request is sent, an answer read to its end, and every instant noted.

use super::alike::Alike;
use super::answer::{self, Piece, Usage};
use super::headers::{Announced, Remaining, announced, remaining};
use super::pool::Broken;
use super::request::{Form, REASON};
use super::sse::{Event, Parser};
use super::transport::{Answer, Transport};
use crate::clock::Clock;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, StatusCode};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Largest event of a stream, bytes.
const EVENT_MOST: usize = 1 << 20;
/// Largest answer that is not streamed, bytes: a thousand embeddings.
const BODY_MOST: usize = 64 << 20;
/// Largest error that is read, bytes.
const ERROR_MOST: usize = 64 << 10;
/// How long the end of an answer may take after it has said that it is over.
const TAIL: Duration = Duration::from_millis(500);

/// How an attempt ended, as far as the answer decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered whole.
    Completed,
    /// Turned away.
    Refused,
    /// Went wrong.
    Failed(Kind),
    /// Went wrong in a way that makes further requests pointless, or dear.
    Fatal(Fatal),
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No connection could be opened.
    Connect,
    /// This machine had no port left for it.
    NoPort,
    /// This process may not open another one.
    NoDescriptor,
    /// The connection ended before an answer came.
    Closed,
    /// It was reset, or ended within an answer.
    Reset,
    /// What came is not HTTP.
    Protocol,
    /// A status from 500.
    ServerError,
    /// A status from 400, or any other that is no success.
    ClientError,
    /// An error came as an event of a stream, or in an answer with a status of success.
    ErrorInside,
    /// A stream had something in it that is no event of one.
    Garbage,
    /// The answer is of another type than was asked for.
    ContentType,
    /// The stream ended before it said so.
    Cut,
    /// Nothing came for too long.
    Silent,
    /// An event or a body was too large.
    TooLarge,
    /// The answer is not of the shape.
    Shape,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 15] = [
        Kind::Connect,
        Kind::NoPort,
        Kind::NoDescriptor,
        Kind::Closed,
        Kind::Reset,
        Kind::Protocol,
        Kind::ServerError,
        Kind::ClientError,
        Kind::ErrorInside,
        Kind::Garbage,
        Kind::ContentType,
        Kind::Cut,
        Kind::Silent,
        Kind::TooLarge,
        Kind::Shape,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Connect => "no connection",
            Kind::NoPort => "no local port",
            Kind::NoDescriptor => "no descriptor",
            Kind::Closed => "closed before an answer",
            Kind::Reset => "reset",
            Kind::Protocol => "not HTTP",
            Kind::ServerError => "server error",
            Kind::ClientError => "client error",
            Kind::ErrorInside => "error inside an answer",
            Kind::Garbage => "garbage in a stream",
            Kind::ContentType => "wrong content type",
            Kind::Cut => "cut before its end",
            Kind::Silent => "silent for too long",
            Kind::TooLarge => "too large",
            Kind::Shape => "not of the shape",
        }
    }
}

/// Why a run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// Status 401: the key is not known.
    Unauthorized,
    /// Status 402.
    PaymentRequired,
    /// `insufficient_quota`: more requests would all be refused, or cost more than was meant.
    NoQuota,
}

impl Fatal {
    /// In words.
    pub fn text(&self) -> &'static str {
        match self {
            Fatal::Unauthorized => "the target does not know the key (status 401)",
            Fatal::PaymentRequired => "the target asks for payment (status 402)",
            Fatal::NoQuota => "the target says `insufficient_quota`",
        }
    }
}

/// What was seen of an attempt so far: instants in nanoseconds of the block. All that is there when it is given up.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When it was sent.
    pub sent: u64,
    /// When the head of the answer was there.
    pub head: Option<u64>,
    /// When the first byte of its body was.
    pub first_byte: Option<u64>,
    /// When each token of a stream was, first to last.
    pub tokens: Vec<u64>,
    /// When the answer was over.
    pub ended: u64,
    /// Status; 0 without one.
    pub status: u16,
    /// Token counts that the server reported.
    pub usage: Usage,
    /// The limit that turned it away, when the answer names it.
    pub reason: Option<String>,
    /// When to come back.
    pub announced: Option<Announced>,
    /// What headers say is left.
    pub remaining: Vec<Remaining>,
    /// The code of the error in the body.
    pub code: Option<String>,
}

impl Seen {
    /// Output tokens that came: as reported, else as counted.
    pub fn generated(&self) -> u32 {
        let counted = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
        self.usage.completion.filter(|&reported| reported > 0).unwrap_or(counted)
    }
}

/// What others may see of an attempt while it runs: whoever watches over silence, hedges, or leaves it alone. Instants in
/// nanoseconds of the block; zero for none.
#[derive(Debug, Default)]
pub struct Pulse {
    last: AtomicU64,
    sent: AtomicU64,
    first_token: AtomicU64,
    last_token: AtomicU64,
    tokens: AtomicU32,
}

impl Pulse {
    /// When something was last heard.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// When it was sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tokens so far, and when the first and the last of them came.
    pub fn tokens(&self) -> Option<(u32, u64, u64)> {
        let tokens = self.tokens.load(Ordering::Relaxed);
        let at = |place: &AtomicU64| place.load(Ordering::Relaxed);
        (tokens > 0).then(|| (tokens, at(&self.first_token), at(&self.last_token)))
    }

    fn beat(&self, now: u64) {
        self.last.store(now, Ordering::Relaxed);
    }

    fn token(&self, now: u64, tokens: u32) {
        if tokens == 1 {
            self.first_token.store(now, Ordering::Relaxed);
        }
        self.last_token.store(now, Ordering::Relaxed);
        self.tokens.store(tokens, Ordering::Relaxed);
    }
}

/// Sends a request and reads its answer to the end. What was seen is in `seen` at every instant, so that the attempt can be
/// dropped at any await: it has no time limit of its own.
pub async fn attempt(
    transport: &Transport,
    form: &Form,
    headers: impl Fn() -> HeaderMap,
    body: Bytes,
    clock: &Clock,
    pulse: &Pulse,
    seen: &mut Seen,
) -> Fate {
    seen.sent = clock.nanos();
    pulse.beat(seen.sent);
    pulse.sent.store(seen.sent, Ordering::Relaxed);
    let found = match transport.send(Method::POST, form.uri.clone(), headers, body).await {
        Ok(mut found) => {
            let now = clock.nanos();
            pulse.beat(now);
            seen.head = Some(now);
            seen.status = found.status.as_u16();
            read_headers(&found.headers, found.status, seen);
            read(&mut found, form, clock, pulse, seen).await
        }
        Err(broken) => Fate::Failed(kind(&broken)),
    };
    if seen.ended == 0 {
        seen.ended = clock.nanos();
    }
    found
}

fn read_headers(headers: &HeaderMap, status: StatusCode, seen: &mut Seen) {
    seen.remaining = remaining(headers);
    if !status.is_success() {
        let reason = headers.get(REASON).and_then(|reason| reason.to_str().ok());
        seen.reason = reason.map(str::to_owned);
        seen.announced = announced(headers, SystemTime::now());
    }
}

async fn read(found: &mut Answer, form: &Form, clock: &Clock, pulse: &Pulse, seen: &mut Seen) -> Fate {
    if !found.status.is_success() {
        return refusal(found, clock, pulse, seen).await;
    }
    let of_type = |wanted: &str| {
        let found = found.headers.get(CONTENT_TYPE).and_then(|found| found.to_str().ok());
        found.is_some_and(|found| {
            found.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(wanted))
        })
    };
    if form.is_streamed() && of_type("text/event-stream") {
        return stream(found, clock, pulse, seen).await;
    }
    // A server may answer a stream with an error that has the status of success.
    if !of_type("application/json") {
        return Fate::Failed(Kind::ContentType);
    }
    let piece = match whole(found, BODY_MOST, clock, pulse, seen).await {
        Ok(Some(body)) => answer::read(&body),
        Ok(None) => return Fate::Failed(Kind::TooLarge),
        Err(broken) => return Fate::Failed(kind(&broken)),
    };
    match piece {
        Err(_) => Fate::Failed(Kind::Shape),
        Ok(Piece { error: Some(error), .. }) => inside(error.code, seen),
        Ok(_) if form.is_streamed() => Fate::Failed(Kind::ContentType),
        Ok(piece) => {
            seen.usage = piece.usage.unwrap_or_default();
            let fine =
                if form.is_embeddings() { piece.embeddings } else { piece.shaped && !piece.embeddings };
            if fine { Fate::Completed } else { Fate::Failed(Kind::Shape) }
        }
    }
}

/// An error in an answer with a status of success.
fn inside(code: Option<String>, seen: &mut Seen) -> Fate {
    let no_quota = code.as_deref() == Some("insufficient_quota");
    seen.code = code;
    if no_quota { Fate::Fatal(Fatal::NoQuota) } else { Fate::Failed(Kind::ErrorInside) }
}

/// Reads a body whole, noting its first byte and its end.
async fn whole(
    found: &mut Answer,
    most: usize,
    clock: &Clock,
    pulse: &Pulse,
    seen: &mut Seen,
) -> Result<Option<Vec<u8>>, Broken> {
    let mut body = Vec::new();
    while let Some(bytes) = found.next().await? {
        let now = clock.nanos();
        pulse.beat(now);
        seen.first_byte.get_or_insert(now);
        if body.len() + bytes.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&bytes);
    }
    seen.ended = clock.nanos();
    Ok(Some(body))
}

/// A status that is no success.
async fn refusal(found: &mut Answer, clock: &Clock, pulse: &Pulse, seen: &mut Seen) -> Fate {
    // The body only says more; what the status says stands without it.
    if let Ok(Some(body)) = whole(found, ERROR_MOST, clock, pulse, seen).await {
        seen.code = answer::read(&body).ok().and_then(|piece| piece.error).and_then(|error| error.code);
    }
    let status = found.status.as_u16();
    if seen.code.as_deref() == Some("insufficient_quota") {
        return Fate::Fatal(Fatal::NoQuota);
    }
    match status {
        // Our own gateway says which limit it was: its refusals have the statuses of many vendors.
        _ if seen.reason.is_some() => Fate::Refused,
        429 => Fate::Refused,
        401 => Fate::Fatal(Fatal::Unauthorized),
        402 => Fate::Fatal(Fatal::PaymentRequired),
        // Whoever says when to come back turns away.
        503 if seen.announced.is_some() => Fate::Refused,
        500.. => Fate::Failed(Kind::ServerError),
        _ => Fate::Failed(Kind::ClientError),
    }
}

/// What a stream has said so far.
#[derive(Default)]
struct Said {
    done: bool,
    finished: bool,
    fate: Option<Fate>,
    /// The latest event with a token.
    token: Alike,
}

async fn stream(found: &mut Answer, clock: &Clock, pulse: &Pulse, seen: &mut Seen) -> Fate {
    let mut parser = Parser::new(EVENT_MOST);
    let mut said = Said::default();
    loop {
        let bytes = match found.next().await {
            Ok(bytes) => bytes,
            Err(broken) => {
                seen.ended = clock.nanos();
                return if said.finished { Fate::Completed } else { Fate::Failed(kind(&broken)) };
            }
        };
        let now = clock.nanos();
        pulse.beat(now);
        let Some(bytes) = bytes else {
            parser.finish(|event| hear(event, now, &mut said, pulse, seen));
            seen.ended = now;
            return match said.fate {
                Some(fate) => fate,
                None if said.done || said.finished => Fate::Completed,
                None => Fate::Failed(Kind::Cut),
            };
        };
        seen.first_byte.get_or_insert(now);
        let parsed = parser.push(&bytes, |event| hear(event, now, &mut said, pulse, seen));
        if parsed.is_err() {
            said.fate.get_or_insert(Fate::Failed(Kind::TooLarge));
        }
        if let Some(fate) = said.fate {
            seen.ended = now;
            return fate;
        }
        if said.done {
            seen.ended = now;
            // So that the connection can be used again; a server that does not end its answer loses it.
            let _ = tokio::time::timeout(TAIL, found.whole(ERROR_MOST)).await;
            return Fate::Completed;
        }
    }
}

/// Takes in an event that was read at `now`.
fn hear(event: Event<'_>, now: u64, said: &mut Said, pulse: &Pulse, seen: &mut Seen) {
    if said.done || said.fate.is_some() {
        return;
    }
    if event.data == b"[DONE]" {
        said.done = true;
        return;
    }
    if event.name.is_empty() && said.token.is_like(event.data) {
        return token(now, pulse, seen);
    }
    match answer::read(event.data) {
        Ok(Piece { error: Some(error), .. }) => said.fate = Some(inside(error.code, seen)),
        _ if event.name == b"error" => said.fate = Some(Fate::Failed(Kind::ErrorInside)),
        Err(_) => said.fate = Some(Fate::Failed(Kind::Garbage)),
        Ok(piece) => {
            if piece.content {
                token(now, pulse, seen);
            }
            if piece.content && !piece.finished && piece.usage.is_none() {
                said.token.learn(event.data);
            }
            said.finished |= piece.finished;
            if let Some(usage) = piece.usage {
                seen.usage = usage;
            }
        }
    }
}

fn token(now: u64, pulse: &Pulse, seen: &mut Seen) {
    seen.tokens.push(now);
    pulse.token(now, u32::try_from(seen.tokens.len()).unwrap_or(u32::MAX));
}

fn kind(broken: &Broken) -> Kind {
    match broken {
        Broken::Connect(error) => match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Kind::NoPort,
            _ if error.raw_os_error().is_some_and(|code| code == EMFILE || code == ENFILE) => {
                Kind::NoDescriptor
            }
            _ => Kind::Connect,
        },
        Broken::Closed => Kind::Closed,
        Broken::Reset => Kind::Reset,
        Broken::Protocol => Kind::Protocol,
    }
}

/// Too many descriptors in this process, in the system: the same numbers on Linux, the BSDs and macOS.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
