//! One request from its instant to its end, and those that follow it.
//!
//! Clients that send once and wait are here; those that try again, hedge or leave unnoticed are in [`super::again`].

use super::again;
use super::block::{Block, How, Try};
use super::record::{Attempt, Fact};
use super::safety::Cap;
use crate::client::attempt::{Kind, Pulse, attempt};
use crate::client::{Fate, Seen};
use std::convert::Infallible;
use std::sync::Arc;
use tidegate_sim::request::{Arrival, Outcome};
use tidegate_sim::time::Span;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Held by whoever still has something to send in a block; the block is over when nobody holds one.
pub(super) type Alive = mpsc::Sender<Infallible>;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Output tokens that it was answered.
    pub generated: u32,
    /// When.
    pub at: u64,
}

/// Sends `first`, which is due, and every request that follows from its answers.
pub(super) async fn journey(block: Arc<Block>, first: Arrival, open: bool, alive: Alive) {
    let mut arrival = first;
    let mut open = open;
    loop {
        let head = arrival.head;
        let Some(ending) = request(&block, arrival, open, &alive).await else { break };
        let Some(next) = block.follow(&head, ending.generated, ending.at) else { break };
        block.tell(Fact::Scheduled(head.workload));
        let due = next.at.as_nanos();
        tokio::select! {
            () = block.alarm.until(&block.clock, due) => {}
            () = block.stop.cancelled() => {}
        }
        arrival = next;
        // It depends on answers: its lag is no lag of the schedule.
        open = false;
    }
    drop(alive);
}

/// Sends one request, and again if its client does so. `None` when nothing was sent, or nothing is to follow.
async fn request(block: &Arc<Block>, arrival: Arrival, open: bool, alive: &Alive) -> Option<Ending> {
    let workload = &block.setting.scenario.workloads[usize::from(arrival.head.workload)];
    if !workload.client.is_plain() {
        return again::request(Arc::clone(block), arrival, open, alive.clone()).await;
    }
    if !block.may_send(&arrival) {
        block.tell(Fact::Unsent(arrival.head.workload, 1));
        return None;
    }
    let due = arrival.at.as_nanos();
    let sent = Try { arrival, due, number: 0 };
    let mut seen = Seen::default();
    let patience = sent.arrival.draw.patience;
    let (how, kind) = once(block, &sent, patience, &block.stop, &Pulse::default(), &mut seen).await;
    let done = block.finished(&sent, how, &seen);
    let ending = Ending { generated: done.generated, at: done.ended.as_nanos() };
    block.tell(Fact::Attempt(Box::new(Attempt { done, seen, kind, open, plain: true })));
    (how != How::Stopped).then_some(ending)
}

/// Makes one attempt: until its answer is over, its client has no patience left, nothing is heard any more, or `cancel`.
pub(super) async fn once(
    block: &Block,
    sent: &Try,
    patience: Option<Span>,
    cancel: &CancellationToken,
    pulse: &Pulse,
    seen: &mut Seen,
) -> (How, Option<Kind>) {
    let setting = &block.setting;
    let head = &sent.arrival.head;
    let form = &setting.forms[usize::from(head.workload)];
    let _in_flight = setting.gauge.enter();
    let deadline = patience.map(|patience| sent.due.saturating_add(patience.as_nanos()));
    let body = block.body(&sent.arrival);
    let headers = || form.headers(head, block.index);
    let work = attempt(&setting.transport, form, headers, body, &block.clock, pulse, seen);
    let ended = tokio::select! {
        biased;
        fate = work => Ok(fate),
        () = cancel.cancelled() => Err(Given::Up),
        given = watch(block, deadline, pulse) => Err(given),
    };
    if seen.ended == 0 {
        seen.ended = block.clock.nanos();
    }
    match ended {
        Ok(fate) => {
            if let Fate::Fatal(fatal) = &fate {
                setting.give_up(fatal.text());
            }
            let kind = match fate {
                Fate::Failed(kind) => Some(kind),
                _ => None,
            };
            if matches!(kind, Some(Kind::NoPort | Kind::NoDescriptor)) {
                setting.spent.note(Cap::Machine);
            }
            (How::Answered(block.outcome_of(&fate, seen)), kind)
        }
        Err(Given::Up) if block.stop.is_cancelled() => (How::Stopped, None),
        Err(Given::Up) => (How::Beaten, None),
        Err(Given::Patience) => (How::Impatient, None),
        Err(Given::Silence) => (How::Answered(Outcome::Failed), Some(Kind::Silent)),
    }
}

/// Why an attempt is not waited for any more.
enum Given {
    Up,
    Patience,
    Silence,
}

/// Returns when the deadline is over or nothing was heard for too long. One timer of the runtime an attempt, set anew only
/// when it has run down.
async fn watch(block: &Block, deadline: Option<u64>, pulse: &Pulse) -> Given {
    loop {
        let silent = pulse.last().saturating_add(block.setting.silence_ns);
        let until = deadline.map_or(silent, |deadline| deadline.min(silent));
        tokio::time::sleep_until(block.instant(until).into()).await;
        let now = block.clock.nanos();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Given::Patience;
        }
        if now >= pulse.last().saturating_add(block.setting.silence_ns) {
            return Given::Silence;
        }
    }
}
