//! What several attempts of one request have in common: retries, hedges, clients that have gone unnoticed.
//!
//! A *request* is what a client wants, an *attempt* what reaches the gateway. Only requests of workloads whose clients
//! may try again, hedge or leave unnoticed are kept here; everybody else's only attempt is the request. A request is
//! settled when it is decided and its last attempt is over; both kinds are counted, each balancing by itself.

use super::Feed;
use super::event::{Class, Event};
use super::simulation::{Coming, Simulation};
use crate::observe::Observer;
use crate::replica::Stepper;
use crate::request::{Arrival, Finished, HashChain, Outcome, RequestDraw, RequestHead, Settled};
use crate::rng::source_of;
use crate::scenario::Scenario;
use crate::table::{NEVER, NONE, SlotId};
use crate::time::Time;
use crate::workload::client::{self, RetryBudget};

/// A request of a client that may try again.
#[derive(Clone, Debug)]
struct Request {
    head: RequestHead,
    draw: RequestDraw,
    chain: Option<Box<HashChain>>,
    /// When its client sent it first.
    sent: Time,
    /// When its first attempt reached the gateway.
    arrived: Time,
    attempts: u32,
    hedges: u32,
    /// Retries so far; hedges are none.
    tries: u32,
    /// Attempts that the client waits for.
    open: Vec<SlotId>,
    /// Attempts that go on although their client has given them up.
    orphans: u32,
    /// Attempts on their way to the gateway.
    coming: u32,
    wasted: u64,
    /// The attempt that decided it, and how and when.
    decided: Option<(Finished, Outcome, Time)>,
    /// The latest attempt that failed.
    last: Option<Finished>,
}

/// Requests of clients that may try again, and what such clients share.
#[derive(Debug)]
pub(super) struct Clients {
    requests: Vec<Request>,
    free: Vec<u32>,
    /// By workload.
    budgets: Vec<Option<RetryBudget>>,
    plain: Vec<bool>,
    all_plain: bool,
}

impl Clients {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let budget = |workload: &crate::scenario::Workload| {
            workload.client.retry.as_ref().and_then(|retry| retry.budget).map(RetryBudget::new)
        };
        Clients {
            requests: Vec::new(),
            free: Vec::new(),
            budgets: scenario.workloads.iter().map(budget).collect(),
            plain: scenario.workloads.iter().map(|workload| workload.client.is_plain()).collect(),
            all_plain: scenario.workloads.iter().all(|workload| workload.client.is_plain()),
        }
    }

    /// Requests that are not settled.
    pub(super) fn open(&self) -> usize {
        self.requests.len() - self.free.len()
    }

    fn insert(&mut self, request: Request) -> u32 {
        match self.free.pop() {
            Some(place) => {
                // The list of attempts keeps its memory.
                let mut open = std::mem::take(&mut self.requests[place as usize].open);
                open.clear();
                self.requests[place as usize] = Request { open, ..request };
                place
            }
            None => {
                self.requests.push(request);
                (self.requests.len() - 1) as u32
            }
        }
    }
}

impl<F: Feed, S: Stepper> Simulation<'_, F, S> {
    /// An attempt reaches the gateway: the request that it is an attempt of, [`NONE`] for workloads without any.
    #[inline]
    pub(super) fn begin_attempt(&mut self, arrival: &Arrival, request: u32) -> u32 {
        if self.clients.all_plain || self.clients.plain[usize::from(arrival.head.workload)] {
            return NONE;
        }
        if request != NONE {
            return request;
        }
        if let Some(budget) = &mut self.clients.budgets[usize::from(arrival.head.workload)] {
            budget.pay_in();
        }
        self.totals.requests += 1;
        self.clients.insert(Request {
            head: arrival.head,
            draw: arrival.draw,
            chain: arrival.chain.clone(),
            sent: arrival.at,
            arrived: self.now,
            attempts: 0,
            hedges: 0,
            tries: 0,
            open: Vec::new(),
            orphans: 0,
            coming: 0,
            wasted: 0,
            decided: None,
            last: None,
        })
    }

    /// The attempt has a slot.
    pub(super) fn note_attempt(&mut self, id: SlotId, request: u32) {
        let state = &mut self.clients.requests[request as usize];
        self.table[id].request = request;
        self.table[id].attempt = u16::try_from(state.attempts).unwrap_or(u16::MAX);
        state.attempts += 1;
        state.open.push(id);
    }

    /// A further attempt reaches the gateway; one that nobody waits for any more does not.
    pub(super) fn still_wanted(&mut self, request: u32, observer: &mut impl Observer) -> bool {
        let state = &mut self.clients.requests[request as usize];
        state.coming -= 1;
        let wanted = state.decided.is_none();
        if !wanted {
            self.settle_if_over(request, observer);
        }
        wanted
    }

    /// Sets the timer after which the client of an attempt sends another one beside it.
    pub(super) fn set_hedge(&mut self, id: SlotId, head: &RequestHead) {
        let Some(hedge) = self.scenario.workloads[usize::from(head.workload)].client.hedge else { return };
        let state = &self.clients.requests[self.table[id].request as usize];
        if state.hedges < hedge.most {
            let at = self.now.saturating_add(hedge.after);
            let (workload, epoch) = (u32::from(head.workload), self.table[id].generation);
            self.events.push(Event::new(at, Class::Hedge, workload, head.index as u32, id, epoch));
        }
    }

    /// The client of an attempt has waited long enough: it sends another one, unless this one has begun to answer.
    pub(super) fn hedge(&mut self, event: &Event) {
        let slot = &self.table[event.target];
        if slot.generation != event.epoch || slot.first_token != NEVER || slot.orphan {
            return;
        }
        let Some(state) = self.clients.requests.get_mut(slot.request as usize) else { return };
        let client = &self.scenario.workloads[usize::from(slot.workload)].client;
        let most = client.hedge.map_or(0, |hedge| hedge.most);
        if state.decided.is_some() || state.hedges >= most || !state.open.contains(&event.target) {
            return;
        }
        state.hedges += 1;
        state.coming += 1;
        // It is sent so that it reaches the gateway now.
        let there = self.scenario.workloads[usize::from(slot.workload)].network / 2;
        let arrival =
            Arrival { at: self.now - there, head: state.head, draw: state.draw, chain: state.chain.clone() };
        let request = slot.request;
        self.come(Coming { arrival, request });
    }

    /// The client of an attempt gives it up, and the gateway does not know: the work goes on.
    pub(super) fn abandon_attempt(&mut self, id: SlotId, observer: &mut impl Observer) {
        let request = self.table[id].request;
        let on_replica = self.table[id].permit;
        let kept = on_replica.then(|| {
            let station = self.station_of(id);
            self.catch_up(station, observer);
            self.settle_delivered(station, id)
        });
        let done = self.record(id, Outcome::TimedOut, None);
        if let Some(kept) = kept {
            (self.table[id].generated, self.table[id].last_token) = kept;
        }
        self.table[id].orphan = true;
        let state = &mut self.clients.requests[request as usize];
        state.open.retain(|&other| other != id);
        state.orphans += 1;
        self.attempt_failed(request, &done, observer);
    }

    /// An attempt is over.
    pub(super) fn attempt_over(
        &mut self,
        id: SlotId,
        request: u32,
        done: &Finished,
        observer: &mut impl Observer,
    ) {
        let state = &mut self.clients.requests[request as usize];
        if self.table[id].orphan {
            state.orphans -= 1;
            state.wasted += u64::from(done.generated);
            return self.settle_if_over(request, observer);
        }
        state.open.retain(|&other| other != id);
        if state.decided.is_some() {
            state.wasted += u64::from(done.generated);
            return self.settle_if_over(request, observer);
        }
        if done.outcome == Outcome::Completed {
            return self.decide(request, *done, done.outcome, observer);
        }
        state.wasted += u64::from(done.generated);
        self.attempt_failed(request, done, observer);
    }

    /// An attempt has failed for its client: it waits for another one, tries again, or gives up.
    fn attempt_failed(&mut self, request: u32, done: &Finished, observer: &mut impl Observer) {
        let state = &mut self.clients.requests[request as usize];
        state.last = Some(*done);
        if !state.open.is_empty() || state.coming > 0 || self.cut {
            return;
        }
        match self.retry_at(request, done) {
            Some(at) => self.send_again(request, at),
            None => self.decide(request, *done, done.outcome, observer),
        }
    }

    /// When the client tries again (client time); `None` when it does not.
    fn retry_at(&mut self, request: u32, done: &Finished) -> Option<Time> {
        let index = usize::from(done.head.workload);
        let workload = &self.scenario.workloads[index];
        let retry = workload.client.retry.as_ref()?;
        let state = &self.clients.requests[request as usize];
        let policy = &self.scenario.policy;
        let retryable = done.refusal.as_ref().is_none_or(|refusal| policy.is_retryable(refusal));
        if state.tries >= retry.most || !client::is_tried_again(retry, done.outcome, retryable) {
            return None;
        }
        let announced = done.refusal.as_ref().and_then(|refusal| policy.announced(refusal));
        let source = source_of(&workload.name);
        let pause = client::pause(retry, state.tries, announced, self.seed, source, state.head.index);
        let at = self.heard(done).saturating_add(pause);
        let in_time = client::is_in_time(retry, state.sent, at);
        // The budget last: what is not sent takes nothing out.
        let sent = in_time && self.clients.budgets[index].as_mut().is_none_or(RetryBudget::take);
        sent.then_some(at)
    }

    fn send_again(&mut self, request: u32, at: Time) {
        let state = &mut self.clients.requests[request as usize];
        state.tries += 1;
        state.coming += 1;
        let (head, draw, chain) = (state.head, state.draw, state.chain.clone());
        self.come(Coming { arrival: Arrival { at, head, draw, chain }, request });
    }

    /// A request is over for its client: other attempts are cancelled, and the client goes on.
    fn decide(&mut self, request: u32, done: Finished, outcome: Outcome, observer: &mut impl Observer) {
        let state = &mut self.clients.requests[request as usize];
        state.decided = Some((done, outcome, self.now));
        let (workload, index) = (u32::from(done.head.workload), done.head.index as u32);
        if self.scenario.workloads[usize::from(done.head.workload)].client.deaf {
            // The gateway does not learn that nobody waits for the others any more.
            state.orphans += state.open.len() as u32;
            for other in state.open.drain(..) {
                self.table[other].orphan = true;
            }
        }
        // Not at once: a step of this very instant may end on their replicas, and steps end first.
        for &other in &state.open {
            let epoch = self.table[other].generation;
            self.events.push(Event::new(self.now, Class::Cancel, workload, index, other, epoch));
        }
        if !self.cut {
            self.go_on(&done);
        }
        self.settle_if_over(request, observer);
    }

    /// Another attempt was faster, or a client from outside hangs up.
    pub(super) fn cancel_loser(&mut self, event: &Event, observer: &mut impl Observer) {
        if event.target == NONE {
            return self.hang_up(event, observer);
        }
        if self.table[event.target].generation == event.epoch {
            self.withdraw(event.target, Outcome::Cancelled, None, observer);
        }
    }

    fn settle_if_over(&mut self, request: u32, observer: &mut impl Observer) {
        let state = &mut self.clients.requests[request as usize];
        let busy = !state.open.is_empty() || state.orphans > 0 || (state.coming > 0 && !self.cut);
        let Some((last, outcome, ended)) = state.decided.filter(|_| !busy) else { return };
        state.chain = None;
        let settled = Settled {
            last,
            outcome,
            arrived: state.arrived,
            ended,
            attempts: state.attempts,
            hedges: state.hedges,
            wasted_tokens: state.wasted,
        };
        debug_assert_eq!(settled.budget().total(), settled.e2e(), "{settled:?}");
        observer.settled(&settled);
        self.totals.settled[outcome as usize] += 1;
        self.clients.free.push(request);
        state.decided = None;
        state.last = None;
        state.attempts = 0;
    }

    /// The run is cut: requests whose attempts are all over are settled, too.
    pub(super) fn settle_all(&mut self, observer: &mut impl Observer) {
        for request in 0..self.clients.requests.len() as u32 {
            let state = &self.clients.requests[request as usize];
            if state.attempts == 0 {
                continue;
            }
            match (state.decided, state.last) {
                (None, Some(last)) => {
                    let outcome = if state.coming > 0 { Outcome::BackingOff } else { last.outcome };
                    self.decide(request, last, outcome, observer);
                }
                _ => self.settle_if_over(request, observer),
            }
        }
    }
}
