//! Clients that try again, hedge, or leave without the gateway's knowing: several attempts of one request.
//!
//! The rules are those of the simulator's clients (`tidegate_sim::workload::client`, `engine::clients`), with the outcomes
//! that a wire has. Attempts and requests are told apart, each balancing by itself.

use super::block::{Block, How, Try};
use super::record::{Attempt, Fact};
use super::sending::{Alive, Ending, once};
use crate::client::Seen;
use crate::client::attempt::{Kind, Pulse};
use crate::client::headers::Announced;
use crate::pacer::NEAR;
use std::sync::{Arc, PoisonError};
use tidegate_sim::request::{Arrival, Finished, Outcome, Settled};
use tidegate_sim::rng::{mix, source_of};
use tidegate_sim::scenario::client::Retry;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::client::{is_in_time, is_tried_again, pause};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Sends a request and whatever attempts its client makes of it. Returns when it is decided; attempts that nobody waits for
/// may go on.
pub(super) async fn request(block: Arc<Block>, arrival: Arrival, open: bool, alive: Alive) -> Option<Ending> {
    if !block.may_send(&arrival) {
        block.tell(Fact::Unsent(arrival.head.workload, 1));
        return None;
    }
    if let Some(budget) = &mut *budget(&block, &arrival) {
        budget.pay_in();
    }
    let (decided, decision) = oneshot::channel();
    let (happened, happenings) = mpsc::unbounded_channel();
    let due = arrival.at.as_nanos();
    let state = Request {
        block,
        first_due: due,
        arrival,
        open_loop: open,
        happened,
        open: Vec::new(),
        attempts: 0,
        hedges: 0,
        tries: 0,
        orphans: 0,
        wasted: 0,
        retry_at: None,
        last: None,
        decided: None,
        alive,
    };
    tokio::spawn(state.live(happenings, decided));
    decision.await.ok().flatten()
}

fn budget<'b>(
    block: &'b Block,
    arrival: &Arrival,
) -> std::sync::MutexGuard<'b, Option<tidegate_sim::workload::client::RetryBudget>> {
    block.budgets[usize::from(arrival.head.workload)].lock().unwrap_or_else(PoisonError::into_inner)
}

/// An attempt that the client waits for.
struct Open {
    number: u16,
    cancel: CancellationToken,
    pulse: Arc<Pulse>,
    /// When the client sends another one beside it.
    hedge_at: Option<u64>,
}

/// What attempts tell their request.
enum Happened {
    /// It is over for the client; of a client that leaves unnoticed it may go on.
    Over { number: u16, done: Box<Finished>, kind: Option<Kind>, announced: Option<Announced>, how: How },
    /// It goes on although its client has left: this is its end, and the tokens that came.
    Orphan { generated: u32 },
}

struct Request {
    block: Arc<Block>,
    first_due: u64,
    arrival: Arrival,
    open_loop: bool,
    happened: mpsc::UnboundedSender<Happened>,
    open: Vec<Open>,
    attempts: u32,
    hedges: u32,
    tries: u32,
    orphans: u32,
    wasted: u64,
    retry_at: Option<u64>,
    last: Option<Finished>,
    decided: Option<(Finished, Outcome, u64)>,
    /// Held until the last attempt is over.
    alive: Alive,
}

impl Request {
    async fn live(
        mut self,
        mut happenings: mpsc::UnboundedReceiver<Happened>,
        decision: oneshot::Sender<Option<Ending>>,
    ) {
        let mut decision = Some(decision);
        self.send(self.first_due);
        let stop = self.block.stop.clone();
        let mut stopped = false;
        loop {
            if let (Some((done, outcome, at)), true) = (&self.decided, decision.is_some()) {
                let going_on = !matches!(outcome, Outcome::Running | Outcome::BackingOff);
                let ending = going_on.then_some(Ending { generated: done.generated, at: *at });
                if let Some(decision) = decision.take() {
                    // A client that was stopped does not wait for it.
                    let _ = decision.send(ending);
                }
            }
            if self.decided.is_some() && self.open.is_empty() && self.orphans == 0 {
                return self.settle();
            }
            let timer = self.next_timer();
            tokio::select! {
                happening = happenings.recv() => {
                    if let Some(happening) = happening {
                        self.hear(happening);
                    }
                }
                () = stop.cancelled(), if !stopped => {
                    stopped = true;
                    self.stop_waiting();
                }
                () = wait(&self.block, timer), if timer.is_some() && !stopped => self.timers(),
            }
        }
    }

    /// Sends an attempt that is due at `due`; the caps were asked.
    fn send(&mut self, due: u64) {
        let number = u16::try_from(self.attempts).unwrap_or(u16::MAX);
        let sent = Try { arrival: self.arrival.clone(), due, number };
        let (block, happened) = (Arc::clone(&self.block), self.happened.clone());
        let cancel = block.stop.child_token();
        let pulse = Arc::new(Pulse::default());
        let hedge = self.client().hedge.filter(|hedge| self.hedges < hedge.most);
        self.open.push(Open {
            number,
            cancel: cancel.clone(),
            pulse: Arc::clone(&pulse),
            hedge_at: hedge.map(|hedge| due.saturating_add(hedge.after.as_nanos())),
        });
        let open = self.open_loop && self.attempts == 0;
        self.attempts += 1;
        let deaf = self.client().deaf;
        tokio::spawn(async move {
            if deaf {
                try_deaf(&block, &sent, &cancel, &pulse, open, &happened).await;
            } else {
                try_once(&block, &sent, &cancel, &pulse, open, &happened).await;
            }
        });
    }

    fn client(&self) -> &tidegate_sim::scenario::Client {
        &self.block.setting.scenario.workloads[usize::from(self.arrival.head.workload)].client
    }

    fn next_timer(&self) -> Option<u64> {
        if self.decided.is_some() {
            return None;
        }
        self.open.iter().filter_map(|open| open.hedge_at).chain(self.retry_at).min()
    }

    /// Whatever is due is done.
    fn timers(&mut self) {
        // What the alarm takes as reached.
        let now = self.block.clock.nanos() + NEAR.as_nanos() as u64;
        let most = self.client().hedge.map_or(0, |hedge| hedge.most);
        for place in 0..self.open.len() {
            let open = &mut self.open[place];
            let Some(at) = open.hedge_at.filter(|at| *at <= now) else { continue };
            open.hedge_at = None;
            let begun = open.pulse.tokens().is_some();
            if !begun && self.hedges < most && self.block.may_send(&self.arrival) {
                self.hedges += 1;
                self.send(at);
            }
        }
        if let Some(at) = self.retry_at.filter(|at| *at <= now) {
            self.retry_at = None;
            if self.block.may_send(&self.arrival) {
                self.tries += 1;
                self.send(at);
            } else if let Some(last) = self.last {
                // A cap: there is no further attempt.
                self.decide(last, last.outcome);
            }
        }
    }

    fn hear(&mut self, happened: Happened) {
        match happened {
            Happened::Orphan { generated } => {
                self.orphans -= 1;
                self.wasted += u64::from(generated);
            }
            Happened::Over { number, done, kind, announced, how } => {
                let stays = how == How::Impatient && self.client().deaf;
                self.open.retain(|open| open.number != number);
                self.orphans += u32::from(stays);
                if self.decided.is_some() {
                    self.wasted += if stays { 0 } else { u64::from(done.generated) };
                    return;
                }
                if done.outcome == Outcome::Completed {
                    return self.decide(*done, Outcome::Completed);
                }
                self.wasted += if stays { 0 } else { u64::from(done.generated) };
                self.last = Some(*done);
                if !self.open.is_empty() || self.retry_at.is_some() {
                    return;
                }
                match self.when_again(&done, kind, announced) {
                    Some(at) if how != How::Stopped => self.retry_at = Some(at),
                    _ => self.decide(*done, done.outcome),
                }
            }
        }
    }

    /// When the client tries again; `None` when it does not.
    fn when_again(&self, done: &Finished, kind: Option<Kind>, announced: Option<Announced>) -> Option<u64> {
        let retry = self.client().retry.as_ref()?;
        if self.tries >= retry.most || self.block.stop.is_cancelled() || !tries_again(self, retry, done, kind)
        {
            return None;
        }
        let head = &self.arrival.head;
        let workload = &self.block.setting.scenario.workloads[usize::from(head.workload)];
        let (seed, source) = (self.block.seed, source_of(&workload.name));
        let wait = announced.map(|announced| spread(announced, seed, head.index, self.tries));
        let pause = pause(retry, self.tries, wait, seed, source, head.index);
        let at = done.ended.saturating_add(pause);
        let in_time = is_in_time(retry, Time::from_nanos(self.first_due), at);
        // The budget last: what is not sent takes nothing out.
        let sent = in_time && budget(&self.block, &self.arrival).as_mut().is_none_or(|budget| budget.take());
        sent.then_some(at.as_nanos())
    }

    fn decide(&mut self, done: Finished, outcome: Outcome) {
        self.decided = Some((done, outcome, done.ended.as_nanos()));
        self.retry_at = None;
        if self.client().deaf {
            // Nobody tells the gateway: they run to their end, of which only the tokens count.
            return;
        }
        for open in &self.open {
            open.cancel.cancel();
        }
    }

    /// The block stops: attempts hear of it by themselves, a pause ends here.
    fn stop_waiting(&mut self) {
        if self.decided.is_none() && self.open.is_empty() {
            let last = self.last.expect("a request without open attempts has one that failed");
            let outcome = if self.retry_at.is_some() { Outcome::BackingOff } else { last.outcome };
            let now = self.block.clock.nanos().max(last.ended.as_nanos());
            self.decided = Some((last, outcome, now));
            self.retry_at = None;
        }
    }

    fn settle(self) {
        let (last, outcome, ended) = self.decided.expect("a request is settled when it is decided");
        let settled = Settled {
            last,
            outcome,
            arrived: Time::from_nanos(self.first_due),
            ended: Time::from_nanos(ended),
            attempts: self.attempts,
            hedges: self.hedges,
            wasted_tokens: self.wasted,
        };
        self.block.tell(Fact::Settled(Box::new(settled)));
        drop(self.alive);
    }
}

/// Whether a failed attempt is one that its client tries again. What the simulator tells apart as failed, lost and expired is
/// one thing on a wire.
fn tries_again(request: &Request, retry: &Retry, done: &Finished, kind: Option<Kind>) -> bool {
    let policy = &request.block.setting.scenario.policy;
    let retryable = done.refusal.as_ref().is_none_or(|refusal| policy.is_retryable(refusal));
    let healed_by_time =
        !matches!(kind, Some(Kind::ClientError | Kind::ContentType | Kind::Shape | Kind::TooLarge));
    let any =
        |outcomes: &[Outcome]| outcomes.iter().any(|outcome| is_tried_again(retry, *outcome, retryable));
    match done.outcome {
        Outcome::Failed => healed_by_time && any(&[Outcome::Failed, Outcome::Lost, Outcome::Expired]),
        outcome => any(&[outcome]),
    }
}

/// How long an announced time is waited for. Of an instant that everybody is told, 250 to 500 ms longer (DigitalOcean's
/// documentation of its rate limits).
fn spread(announced: Announced, seed: u64, index: u64, tries: u32) -> Span {
    let ns = |wait: std::time::Duration| Span::from_nanos(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    match announced {
        Announced::Wait(wait) | Announced::Reset(wait) => ns(wait),
        Announced::ResetAt(wait) => {
            let draw = mix(seed ^ mix(index ^ u64::from(tries) << 56)) % 250_000_001;
            ns(wait) + Span::from_nanos(250_000_000 + draw)
        }
    }
}

async fn wait(block: &Block, due: Option<u64>) {
    if let Some(due) = due {
        block.alarm.until(&block.clock, due).await;
    }
}

/// An attempt of a client that hangs up when it leaves.
async fn try_once(
    block: &Block,
    sent: &Try,
    cancel: &CancellationToken,
    pulse: &Pulse,
    open: bool,
    happened: &mpsc::UnboundedSender<Happened>,
) {
    let mut seen = Seen::default();
    let (how, kind) = once(block, sent, sent.arrival.draw.patience, cancel, pulse, &mut seen).await;
    tell(block, sent, (how, kind), seen, open, happened);
}

/// An attempt of a client that leaves without a word: the answer is read to its end all the same.
async fn try_deaf(
    block: &Block,
    sent: &Try,
    cancel: &CancellationToken,
    pulse: &Pulse,
    open: bool,
    happened: &mpsc::UnboundedSender<Happened>,
) {
    let work = async {
        let mut seen = Seen::default();
        let ended = once(block, sent, None, cancel, pulse, &mut seen).await;
        (ended, seen)
    };
    let mut work = std::pin::pin!(work);
    let patience = sent.arrival.draw.patience.map(|patience| sent.due.saturating_add(patience.as_nanos()));
    let ended = match patience {
        None => Some(work.as_mut().await),
        Some(until) => tokio::select! {
            biased;
            ended = work.as_mut() => Some(ended),
            () = tokio::time::sleep_until(block.instant(until).into()) => None,
        },
    };
    match ended {
        Some((ended, seen)) => tell(block, sent, ended, seen, open, happened),
        None => {
            tell(block, sent, (How::Impatient, None), glimpse(block, pulse), open, happened);
            let (_, seen) = work.await;
            // The request may have ended with the block.
            let _ = happened.send(Happened::Orphan { generated: seen.generated() });
        }
    }
}

/// What can be seen of an attempt that goes on.
fn glimpse(block: &Block, pulse: &Pulse) -> Seen {
    let mut seen = Seen { sent: pulse.sent(), ended: block.clock.nanos(), ..Seen::default() };
    if let Some((tokens, first, last)) = pulse.tokens() {
        // Those in between are told by nobody; they are counted, not timed.
        seen.usage.completion = Some(tokens);
        seen.tokens = if tokens == 1 { vec![first] } else { vec![first, last] };
    }
    seen
}

fn tell(
    block: &Block,
    sent: &Try,
    (how, kind): (How, Option<Kind>),
    seen: Seen,
    open: bool,
    happened: &mpsc::UnboundedSender<Happened>,
) {
    let done = block.finished(sent, how, &seen);
    let announced = seen.announced;
    block.tell(Fact::Attempt(Box::new(Attempt { done, seen, kind, open, plain: false })));
    let over = Happened::Over { number: sent.number, done: Box::new(done), kind, announced, how };
    // The request waits for it.
    let _ = happened.send(over);
}
