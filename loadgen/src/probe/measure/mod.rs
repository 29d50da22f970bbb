//! Measurements, a file each. They send, count, and say what they saw; whether that is as documented is decided elsewhere.

mod gates;
mod hold;
mod jobs;
mod sizes;
mod volley;
mod weigh;

use super::basis::{Basis, Caller};
use super::blame::{Blame, blame, told};
use super::body::{Shape, request};
use super::client::{Answer, Call, Client};
use super::edge::Seen;
use super::finding::Outcome;
use super::method::{Amount, Method};
use super::plan::Probe;
use crate::client::key::Key;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_sim::time::{NANOS_PER_SEC, Span};

/// How often a call is sent again that another limit refused.
const PATIENCE: u32 = 3;

/// What a measurement saw.
#[derive(Debug)]
pub(super) struct Measured {
    pub outcome: Outcome,
    /// A refusal of the limit.
    pub refusal: Option<Answer>,
    pub notes: Vec<String>,
    /// Whether it took too long to tell.
    pub slow: bool,
    /// What contradicts the documents beside the number.
    pub against: Vec<String>,
}

impl Measured {
    fn of(outcome: Outcome) -> Measured {
        Measured { outcome, refusal: None, notes: Vec::new(), slow: false, against: Vec::new() }
    }

    fn unclear(why: impl Into<String>) -> Measured {
        Measured::of(Outcome::Unclear(why.into()))
    }
}

/// What every measurement needs.
pub(super) struct Bench<'a> {
    pub basis: &'a Basis,
    pub client: Client,
    /// Requests are not sent beyond so many.
    pub most: u64,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
    /// When anything was sent last.
    pub last: Option<Instant>,
}

impl Bench<'_> {
    /// Measures once.
    pub(super) async fn measure(&mut self, probe: &Probe) -> Measured {
        match &probe.method {
            Method::Volley(rate) => volley::measure(self, probe, rate).await,
            Method::Weigh { rate, unit, most } => weigh::measure(self, probe, rate, *unit, *most).await,
            Method::Reserve(rate) => weigh::reserve(self, probe, rate).await,
            Method::Hold { limit, queued, tokens } => {
                hold::measure(self, probe, *limit, *queued, *tokens).await
            }
            Method::Edge { what, bound, upper } => sizes::measure(self, probe, *what, *bound, *upper).await,
            Method::Gate(call) => gates::measure(self, probe, *call).await,
            Method::Job(call) => jobs::measure(self, probe, call).await,
        }
    }

    fn caller(&self, probe: &Probe) -> &Caller {
        &self.basis.callers[probe.caller]
    }

    fn key(&self, caller: &Caller) -> Option<Key> {
        self.client.target().keys.of(caller.key_env.as_deref(), &caller.name)
    }

    fn call(&self, probe: &Probe, shape: &Shape) -> Result<Call, String> {
        let caller = self.caller(probe);
        let call = request(caller, self.key(caller), shape)?;
        Ok(Call { caller: Some(probe.caller), ..call })
    }

    fn blame(&self, probe: &Probe, answer: &Answer) -> Blame {
        let context = matches!(probe.method, Method::Edge { what: Amount::Prompt, .. });
        blame(self.basis, probe.limit, context.then_some("context-length"), answer)
    }

    /// Whether it is the status that the limit is documented to answer with.
    fn answers_with(&self, probe: &Probe, status: u16) -> bool {
        probe.limit.is_some_and(|index| self.basis.limits[index].limit.answer.status == status)
    }

    /// Whether `count` more requests may be sent.
    fn may_send(&self, count: u64) -> Result<(), String> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        let sent = self.client.sent();
        if sent + count > self.most {
            return Err(format!("{count} more requests are more than `--max-requests` leaves after {sent}"));
        }
        Ok(())
    }

    async fn send(&mut self, call: Call) -> Result<Answer, String> {
        self.may_send(1)?;
        let answer = self.client.send(call).await;
        self.last = Some(Instant::now());
        answer
    }

    /// Sends a call; when a limit on rates refuses that is not the one that is probed, waits as it says, and sends it again.
    async fn send_patiently(&mut self, probe: &Probe, call: Call) -> Result<Answer, String> {
        for _ in 0..PATIENCE {
            let answer = self.send(call.clone()).await?;
            if answer.status != 429 || self.blame(probe, &answer) == Blame::This {
                return Ok(answer);
            }
            let wait = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            if wait > super::decide::RESTED.as_nanos() / NANOS_PER_SEC {
                return Ok(answer);
            }
            self.sleep_until(Instant::now() + Duration::from_secs(wait)).await;
        }
        self.send(call).await
    }

    /// Waits until what was sent so far has left every window of this length; windows longer than [`super::decide::RESTED`] are
    /// not waited for. Returns whether it was.
    async fn rest(&self, window: Span) -> bool {
        if window > super::decide::RESTED {
            return false;
        }
        // Before the first request somebody else may have sent some.
        let from = self.last.unwrap_or_else(Instant::now);
        self.sleep_until(from + duration(window) + Duration::from_millis(20)).await;
        true
    }

    /// Sleeps, unless it is interrupted.
    async fn sleep_until(&self, at: Instant) {
        while !self.stop.load(Ordering::Relaxed) {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// Sends a request, and says whether it was let in, for searches of an edge. The last refusal of the limit is kept.
    async fn ask(&mut self, probe: &Probe, shape: &Shape, kept: &mut Option<Answer>) -> Seen {
        let call = match self.call(probe, shape) {
            Ok(call) => call,
            Err(why) => return Seen::Nothing(why),
        };
        let answer = match self.send_patiently(probe, call).await {
            Ok(answer) => answer,
            Err(why) => return Seen::Nothing(why),
        };
        match self.blame(probe, &answer) {
            Blame::LetIn => Seen::LetIn,
            Blame::This => {
                *kept = Some(answer);
                Seen::Refused
            }
            Blame::Other(name) => Seen::Nothing(format!("`{name}` refused: {}", told(&answer))),
            Blame::Unknown if self.answers_with(probe, answer.status) => {
                *kept = Some(answer);
                Seen::Refused
            }
            // What is no word about the request itself.
            Blame::Unknown if matches!(answer.status, 401..=403 | 404 | 408 | 429 | 500..) => {
                Seen::Nothing(format!("refused otherwise: {}", told(&answer)))
            }
            Blame::Unknown => {
                let text = told(&answer);
                *kept = Some(answer);
                Seen::Maybe(text)
            }
        }
    }
}

/// A span of the model as one of the clock.
pub(super) fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.as_nanos())
}
