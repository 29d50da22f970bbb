//! How much the model says to a request that came over the wire.

use super::gateway::{Ask, Mark};
use std::collections::VecDeque;
use tidegate_sim::request::{Arrival, Prefix, RequestDraw, RequestHead};
use tidegate_sim::rng::{mix, replication_seed};
use tidegate_sim::scenario::{Arrivals, Engine, Scenario};
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::{Source, identity, shared_identity};

/// Draws that are kept for requests which come late or come again: a minute of 4,000 a second, in 13 MB. A request that comes
/// later still is drawn anew.
const KEPT: usize = 1 << 18;
/// Replications whose draws are kept at once.
const REPLICATIONS: usize = 2;
/// Requests without a mark are sessions of their own, numbered from here.
const UNMARKED: u64 = 1 << 48;
/// Output tokens of requests for which the scenario has no law.
const PLAIN: u32 = 16;

/// The draws of one workload: those of its schedule for requests that say which they are, others for those that do not.
pub(super) struct Draws<'s> {
    scenario: &'s Scenario,
    workload: u16,
    known: Vec<Schedule>,
    other: Option<Source>,
    others: u64,
}

/// Draws of the schedule of one replication.
struct Schedule {
    replication: u32,
    source: Source,
    /// Draws of sessions from `first` on.
    drawn: VecDeque<RequestDraw>,
    first: u64,
}

impl<'s> Draws<'s> {
    /// The draws of a workload of `scenario`: the scenario itself, not the gateway that is emulated of it.
    pub(super) fn new(scenario: &'s Scenario, workload: u16) -> Self {
        Draws { scenario, workload, known: Vec::new(), other: None, others: 0 }
    }

    /// The arrival of request `number` of the workload, at no time yet.
    pub(super) fn arrival(&mut self, ask: &Ask, number: u64) -> Arrival {
        let spec = &self.scenario.workloads[usize::from(self.workload)];
        let marked = ask.mark.and_then(|mark| self.marked(mark));
        let mut draw = marked.unwrap_or_else(|| self.unmarked());
        if marked.is_none() {
            draw.output_tokens = draw.output_tokens.max(ask.forced_output.unwrap_or(0));
        }
        draw.output_tokens = draw.output_tokens.min(ask.max_tokens.unwrap_or(u32::MAX)).max(1);
        // The client is a real one.
        draw.patience = None;
        let (session, turn) = match ask.mark {
            Some(mark) => (mark.session, mark.turn),
            None => (UNMARKED + number, 0),
        };
        let prompt_tokens = ask.prompt_tokens.max(1);
        let head = RequestHead {
            workload: self.workload,
            tenant: ask.tenant,
            index: number,
            prompt_tokens,
            max_tokens: ask.max_tokens,
            session,
            turn,
            prefix: self.prefix(ask, session, prompt_tokens),
            body_bytes: spec.sender.body.is_some().then_some(ask.body_bytes),
        };
        Arrival { at: Time::ZERO, head, draw, chain: None }
    }

    fn prefix(&self, ask: &Ask, session: u64, prompt_tokens: u32) -> Prefix {
        let spec = &self.scenario.workloads[usize::from(self.workload)];
        let tokens = spec.shared_prefix_tokens;
        let shared = if tokens == 0 { 0 } else { shared_identity(&spec.name) };
        let own = match (&spec.sessions, ask.mark) {
            (Some(_), Some(_)) => identity(self.workload, session),
            _ => ask.own_prefix,
        };
        Prefix { shared, shared_tokens: tokens.min(prompt_tokens), own }
    }

    /// The draw of the scenario's own request; `None` when it has none of that description.
    fn marked(&mut self, mark: Mark) -> Option<RequestDraw> {
        let at = match self.known.iter().position(|known| known.replication == mark.replication) {
            Some(at) => at,
            None => {
                let seed = replication_seed(self.scenario.seed, mark.replication);
                let source = Source::open(self.scenario, self.workload, seed).ok()?;
                if self.known.len() == REPLICATIONS {
                    self.known.remove(0);
                }
                let (replication, drawn) = (mark.replication, VecDeque::new());
                self.known.push(Schedule { replication, source, drawn, first: 0 });
                self.known.len() - 1
            }
        };
        let known = &mut self.known[at];
        if let Some(draw) = known.source.draw_of(mark.session, mark.turn) {
            return Some(draw);
        }
        if mark.turn > 0 {
            return None;
        }
        known.draw(mark.session)
    }

    /// A draw of the scenario's laws that belongs to no request of its schedule.
    fn unmarked(&mut self) -> RequestDraw {
        for _ in 0..2 {
            if let Some(source) = &mut self.other {
                if let Some(arrival) = source.next() {
                    return arrival.draw;
                }
                self.other = None;
            }
            // Sources end with the horizon; an emulator does not.
            self.others += 1;
            let seed = mix(self.scenario.seed ^ mix(self.others));
            self.other = Source::open(self.scenario, self.workload, seed).ok();
        }
        let (service, overhead) = (self.plain_service(), Span::ZERO);
        RequestDraw { output_tokens: PLAIN, service, patience: None, overhead }
    }

    /// A workload that sends nothing by itself has nothing drawn.
    fn plain_service(&self) -> Span {
        let spec = &self.scenario.workloads[usize::from(self.workload)];
        debug_assert!(matches!(spec.arrivals, Arrivals::Jobs) || self.other.is_none());
        match &self.scenario.pools[usize::from(spec.pool)].engine {
            Engine::Slots(slots) => Span::from_nanos((slots.service.mean() * 1e9) as u64),
            Engine::Llm(_) => Span::ZERO,
        }
    }
}

impl Schedule {
    /// The draw of the first turn of a session of an open loop: its source is read up to there.
    fn draw(&mut self, session: u64) -> Option<RequestDraw> {
        let end = self.first + self.drawn.len() as u64;
        // A number far beyond what was asked for is no request that comes a little early.
        if session >= end + KEPT as u64 {
            return None;
        }
        for _ in end..=session {
            let arrival = self.source.next()?;
            if self.drawn.len() == KEPT {
                self.drawn.pop_front();
                self.first += 1;
            }
            self.drawn.push_back(arrival.draw);
        }
        self.drawn.get(usize::try_from(session.checked_sub(self.first)?).ok()?).copied()
    }
}
