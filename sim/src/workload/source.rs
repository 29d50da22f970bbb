//! A source: all the requests of one workload, in the order of their sending.

use super::generator::Generator;
use super::lengths::{self, below};
use super::process::{Clock, Process};
use super::session::{self, Keyed, PAUSE_AFTER_NOTHING, TurnDraws};
use super::trace::{Rows, TOKENS_MOST, TraceError};
use crate::dist::Dist;
use crate::request::{Arrival, HashChain, Prefix, RequestDraw, RequestHead, WorkloadId};
use crate::rng::{Purpose, Rng, source_of, stream};
use crate::scenario::policy::Sender;
use crate::scenario::{Arrivals, Engine, Lengths, Scenario, Sessions, TraceFormat};
use crate::time::{Span, Time};

/// Why a workload cannot send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Its trace is missing or broken.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// No arrival would ever come.
    #[error("arrivals need a finite rate >= 0 that is not always zero")]
    NoRate,
    /// Infinitely many arrivals would come at one instant.
    #[error("gaps between arrivals need a mean above zero")]
    NoGap,
    /// A state of an MMPP is too short to be visited.
    #[error("stays of an MMPP need at least 1us")]
    Stay,
    /// Nobody is there.
    #[error("a population needs at least one user")]
    NoUsers,
    /// Lengths of trace rows without a trace.
    #[error("lengths from the trace need arrivals from a trace")]
    NoTrace,
    /// Later turns have no row.
    #[error("sessions need `prompt` and `output` lengths: a trace has them only for first turns")]
    TraceSessions,
    /// Two descriptions of what prompts share.
    #[error("the trace's block hashes say what prompts share: leave out the shared prefix")]
    SharedChain,
    /// Nothing to draw lengths from.
    #[error("joint lengths need at least one pair")]
    NoPairs,
    /// Time must run forward.
    #[error("a trace's speed must be a positive number")]
    Speed,
}

impl SourceError {
    /// What to do about it, when there is something to say beyond the error itself.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SourceError::Trace(error) => Some(error.hint()),
            _ => None,
        }
    }
}

/// Where starts come from.
enum Starts {
    Open(Process),
    Trace {
        rows: Box<Rows>,
        speed: f64,
    },
    Clients {
        generator: Box<Generator>,
        speed: f64,
    },
    /// Nothing by itself: requests of batch jobs.
    Jobs,
    /// Users by the time of their first request, earliest last.
    Population {
        users: u32,
        first: Vec<(Time, u32)>,
    },
}

/// Bodies and overheads, each from a stream of its own: to state one moves no other draw.
struct Stated {
    body: Option<Dist>,
    overhead: Option<Dist>,
    bodies: Rng,
    overheads: Rng,
}

impl Stated {
    fn of(sender: &Sender, seed: u64, source: u64) -> Option<Box<Stated>> {
        let (body, overhead) = (sender.body.clone(), sender.overhead.clone());
        (body.is_some() || overhead.is_some()).then(|| {
            let sequential = |purpose| stream(seed, purpose, source, 0);
            let (bodies, overheads) = (sequential(Purpose::Body), sequential(Purpose::Overhead));
            Box::new(Stated { body, overhead, bodies, overheads })
        })
    }

    /// Dresses a request with the next of each stream.
    fn dress(&mut self, head: &mut RequestHead, draw: &mut RequestDraw) {
        head.body_bytes = self.body.as_ref().map(|law| bytes(law, &mut self.bodies));
        draw.overhead = self.overhead.as_ref().map_or(Span::ZERO, |law| law.sample_span(&mut self.overheads));
    }

    /// As [`Stated::dress`], from the streams of a turn.
    fn dress_keyed(&self, keyed: &Keyed, head: &mut RequestHead, draw: &mut RequestDraw) {
        head.body_bytes = self.body.as_ref().map(|law| bytes(law, &mut keyed.stream(Purpose::Body)));
        draw.overhead = keyed.span(Purpose::Overhead, self.overhead.as_ref()).unwrap_or_default();
    }
}

/// One draw of a body, rounded to whole bytes; the conversion saturates at what 32 bits hold.
fn bytes(law: &Dist, rng: &mut Rng) -> u32 {
    law.sample(rng).round() as u32
}

/// The first request of a session (or a single one), before it is dressed.
struct Start {
    at: Time,
    lengths: Option<(u32, u32)>,
    chain: Option<Box<HashChain>>,
}

/// The requests of one workload.
///
/// All that is random comes from streams of (purpose, source) that are read in order of creation, or, for later
/// turns of sessions and for populations, from streams of (purpose, source, session, turn): the draws never depend
/// on simulated time, so that variants of a scenario see the same requests.
pub struct Source {
    starts: Starts,
    clock: Clock,
    horizon: Time,
    seed: u64,
    /// Number of its random streams; from its name, so that other workloads can come and go.
    source: u64,
    workload: WorkloadId,
    tenants: u32,
    max_tokens: Option<u32>,
    lengths: Lengths,
    sessions: Option<Sessions>,
    patience: Option<Dist>,
    service: Option<Dist>,
    /// What limits see of a request, for the few workloads that state any of it.
    stated: Option<Box<Stated>>,
    shared: Prefix,
    /// Requests made so far; the index of the next.
    created: u64,
    /// Sessions started so far (open loop).
    started: u64,
    prompts: Rng,
    outputs: Rng,
    tenant_draws: Rng,
    patiences: Rng,
    services: Rng,
    error: Option<SourceError>,
}

impl Source {
    /// The source of a workload of a scenario. Opens its trace, when it has one.
    ///
    /// # Errors
    /// When the trace cannot be read or the workload contradicts itself. A scenario from
    /// [`crate::scenario::Scenario`]'s loader has been checked for all of it.
    pub fn open(scenario: &Scenario, workload: WorkloadId, seed: u64) -> Result<Self, SourceError> {
        let spec = &scenario.workloads[usize::from(workload)];
        let source = source_of(&spec.name);
        let from_trace = matches!(spec.lengths, Lengths::FromTrace);
        if matches!(&spec.lengths, Lengths::Joint(pairs) if pairs.is_empty()) {
            return Err(SourceError::NoPairs);
        }
        if from_trace && spec.sessions.is_some() {
            return Err(SourceError::TraceSessions);
        }
        // Requests of jobs have theirs in the files of the jobs.
        if from_trace && !matches!(spec.arrivals, Arrivals::Trace(_) | Arrivals::Jobs) {
            return Err(SourceError::NoTrace);
        }
        let starts = match &spec.arrivals {
            Arrivals::Renewal(gap) => Starts::Open(Process::renewal(gap, seed, source)?),
            Arrivals::Mmpp(states) => Starts::Open(Process::mmpp(states, seed, source)?),
            Arrivals::Varying(curve) => Starts::Open(Process::varying(curve, seed, source)?),
            Arrivals::Population { users } => {
                let first = first_requests(*users, spec.sessions.as_ref(), seed, source)?;
                Starts::Population { users: *users, first }
            }
            Arrivals::Jobs => Starts::Jobs,
            Arrivals::Trace(trace) => {
                let speed = trace.speed;
                if !(speed.is_finite() && speed > 0.0) {
                    return Err(SourceError::Speed);
                }
                if trace.format == TraceFormat::Mooncake && from_trace && spec.shared_prefix_tokens > 0 {
                    return Err(SourceError::SharedChain);
                }
                if trace.format.is_generator() {
                    let generator = Box::new(Generator::open(&trace.path, from_trace, seed, source)?);
                    Starts::Clients { generator, speed }
                } else {
                    let rows = Box::new(Rows::open(&trace.path, Some(trace.format))?);
                    Starts::Trace { rows, speed }
                }
            }
        };
        let service = match &scenario.pools[usize::from(spec.pool)].engine {
            Engine::Slots(slots) => Some(slots.service.clone()),
            Engine::Llm(_) => None,
        };
        let shared_tokens = spec.shared_prefix_tokens;
        let shared = if shared_tokens == 0 { 0 } else { session::shared_identity(&spec.name) };
        let sequential = |purpose| stream(seed, purpose, source, 0);
        Ok(Source {
            starts,
            clock: Clock::default(),
            horizon: Time::ZERO.saturating_add(scenario.horizon),
            seed,
            source,
            workload,
            tenants: spec.tenants.max(1),
            max_tokens: spec.max_tokens,
            lengths: spec.lengths.clone(),
            sessions: spec.sessions.clone(),
            patience: spec.patience.clone(),
            service,
            stated: Stated::of(&spec.sender, seed, source),
            shared: Prefix { shared, shared_tokens, own: 0 },
            created: 0,
            started: 0,
            prompts: sequential(Purpose::Prompt),
            outputs: sequential(Purpose::Output),
            tenant_draws: sequential(Purpose::Tenant),
            patiences: sequential(Purpose::Patience),
            services: sequential(Purpose::Service),
            error: None,
        })
    }

    /// The next request that nobody's answer causes: open-loop arrivals, and the first of each user of a
    /// population. Times never decrease; `None` for good once none comes before the horizon.
    ///
    /// Amortised O(1) and no allocation, except for traces with hash chains and O(log clients) for ServeGen.
    // Not an `Iterator`: `follow` and `error` belong to the same conversation.
    #[allow(clippy::should_implement_trait)]
    #[inline]
    pub fn next(&mut self) -> Option<Arrival> {
        if matches!(self.starts, Starts::Population { .. }) {
            return self.next_user();
        }
        let start = self.start()?;
        let (prompt, output) = match start.lengths {
            Some(lengths) => lengths,
            None => lengths::draw(&self.lengths, &mut self.prompts, &mut self.outputs)?,
        };
        let tenant = match self.tenants {
            1 => 0,
            tenants => below(&mut self.tenant_draws, u64::from(tenants)) as u32,
        };
        let patience = self.patience.as_ref().map(|law| law.sample_span(&mut self.patiences));
        let service = self.service.as_ref().map(|law| law.sample_span(&mut self.services));
        let session = self.started;
        self.started += 1;
        let (prompt_tokens, prefix) = self.opening(session, prompt);
        let mut head = self.head(tenant, session, 0, prompt_tokens, prefix);
        let mut draw = self.draw(output, service, patience);
        if let Some(stated) = &mut self.stated {
            stated.dress(&mut head, &mut draw);
        }
        Some(Arrival { at: start.at, head, draw, chain: start.chain })
    }

    /// The request a client sends after it had its whole answer (or its refusal) to `head` at `at`: the next turn
    /// of its session, or, for a user of a population, the first turn of the next session.
    ///
    /// `generated` is what it was answered, in tokens; a client that got nothing pauses at least
    /// [`PAUSE_AFTER_NOTHING`], and its next turn carries its unanswered words. `None` when the session is over, or
    /// the next request would come at or after the horizon. O(1), no allocation and no memory of the session.
    pub fn follow(&mut self, head: &RequestHead, generated: u32, at: Time) -> Option<Arrival> {
        let source = self.source;
        let (session, turn) =
            if head.turn + 1 < session::turns(self.sessions.as_ref(), self.seed, source, head.session) {
                (head.session, head.turn + 1)
            } else if let Starts::Population { users, .. } = self.starts {
                (head.session + u64::from(users), 0)
            } else {
                return None;
            };
        let keyed = Keyed::new(self.seed, source, session, turn);
        let TurnDraws { think, prompt, output } = keyed.turn(self.sessions.as_ref(), &self.lengths)?;
        let least = if generated == 0 { PAUSE_AFTER_NOTHING } else { Span::ZERO };
        let at = at.saturating_add(think.max(least));
        if at >= self.horizon {
            return None;
        }
        let (prompt_tokens, prefix) = match &self.sessions {
            Some(sessions) if turn > 0 => session::grow(head, generated, prompt, sessions.context_most),
            _ => self.opening(session, prompt),
        };
        Some(self.keyed_arrival(at, &keyed, (head.tenant, session, turn), (prompt_tokens, output), prefix))
    }

    /// What the engine draws for a request whose draws are keyed by its session and turn: every request of a population,
    /// and every later turn. `None` for the first turn of an open loop, whose draws come in order of [`Source::next`], and
    /// where lengths belong to rows of a trace. O(1).
    pub fn draw_of(&mut self, session: u64, turn: u32) -> Option<RequestDraw> {
        if turn == 0 && !matches!(self.starts, Starts::Population { .. }) {
            return None;
        }
        let keyed = Keyed::new(self.seed, self.source, session, turn);
        let draws = keyed.turn(self.sessions.as_ref(), &self.lengths)?;
        let created = self.created;
        let arrival =
            self.keyed_arrival(Time::ZERO, &keyed, (0, session, turn), (1, draws.output), self.shared);
        // It was asked about, not made.
        self.created = created;
        Some(arrival.draw)
    }

    /// Why [`Source::next`] ended early: a trace that broke half-way.
    pub fn error(&self) -> Option<&SourceError> {
        self.error.as_ref()
    }

    /// The workload it belongs to.
    pub fn workload(&self) -> WorkloadId {
        self.workload
    }

    /// Draws of all later turns of a session, at most `most` of them. They depend on nothing that happens.
    pub(super) fn later_turns(&self, session: u64, most: u32) -> impl Iterator<Item = TurnDraws> {
        let source = self.source;
        let turns = session::turns(self.sessions.as_ref(), self.seed, source, session);
        (1..turns.min(most)).filter_map(move |turn| {
            Keyed::new(self.seed, source, session, turn).turn(self.sessions.as_ref(), &self.lengths)
        })
    }

    #[inline]
    fn start(&mut self) -> Option<Start> {
        let from_trace = matches!(self.lengths, Lengths::FromTrace);
        let (at, lengths, chain) = match &mut self.starts {
            Starts::Open(process) => {
                if !process.advance(&mut self.clock, self.horizon.as_nanos()) {
                    return None;
                }
                (self.clock.at, None, None)
            }
            Starts::Trace { .. } if self.error.is_some() => return None,
            Starts::Trace { rows, speed } => {
                let row = match rows.next_row() {
                    Ok(row) => row?,
                    Err(error) => {
                        self.error.get_or_insert(SourceError::Trace(error));
                        return None;
                    }
                };
                let lengths = from_trace.then_some((row.prompt_tokens, row.output_tokens));
                // A chain describes the row's own prompt, not a drawn one.
                (scaled(row.at.as_nanos(), *speed), lengths, row.chain.filter(|_| from_trace))
            }
            Starts::Clients { generator, speed } => {
                let (at, lengths) = generator.next(from_trace)?;
                (scaled(at, *speed), lengths, None)
            }
            Starts::Jobs | Starts::Population { .. } => return None,
        };
        let at = Time::from_nanos(at);
        (at < self.horizon).then_some(Start { at, lengths, chain })
    }

    fn next_user(&mut self) -> Option<Arrival> {
        let Starts::Population { first, .. } = &mut self.starts else { return None };
        let (at, user) = first.pop().filter(|&(at, _)| at < self.horizon)?;
        let session = u64::from(user);
        let keyed = Keyed::new(self.seed, self.source, session, 0);
        let draws = keyed.turn(self.sessions.as_ref(), &self.lengths)?;
        let (prompt_tokens, prefix) = self.opening(session, draws.prompt);
        // Users are dealt to tenants in turn, and stay there.
        let tenant = user % self.tenants;
        Some(self.keyed_arrival(at, &keyed, (tenant, session, 0), (prompt_tokens, draws.output), prefix))
    }

    fn keyed_arrival(
        &mut self,
        at: Time,
        keyed: &Keyed,
        (tenant, session, turn): (u32, u64, u32),
        (prompt_tokens, output): (u32, u32),
        prefix: Prefix,
    ) -> Arrival {
        let patience = keyed.span(Purpose::Patience, self.patience.as_ref());
        let service = keyed.span(Purpose::Service, self.service.as_ref());
        let mut head = self.head(tenant, session, turn, prompt_tokens, prefix);
        let mut draw = self.draw(output, service, patience);
        if let Some(stated) = &self.stated {
            stated.dress_keyed(keyed, &mut head, &mut draw);
        }
        Arrival { at, head, draw, chain: None }
    }

    /// Prompt and prefix of the first turn of a session (or of a single request).
    #[inline]
    fn opening(&self, session: u64, prompt: u32) -> (u32, Prefix) {
        let own = if self.sessions.is_some() { session::identity(self.workload, session) } else { 0 };
        let prompt_tokens = self.shared.shared_tokens.saturating_add(prompt).min(TOKENS_MOST);
        let shared_tokens = self.shared.shared_tokens.min(prompt_tokens);
        (prompt_tokens, Prefix { shared_tokens, own, ..self.shared })
    }

    #[inline]
    fn head(
        &mut self,
        tenant: u32,
        session: u64,
        turn: u32,
        prompt_tokens: u32,
        prefix: Prefix,
    ) -> RequestHead {
        let index = self.created;
        self.created += 1;
        let (workload, max_tokens) = (self.workload, self.max_tokens);
        RequestHead {
            workload,
            tenant,
            index,
            prompt_tokens,
            max_tokens,
            session,
            turn,
            prefix,
            body_bytes: None,
        }
    }

    /// The model stops at the declared limit, whatever it had to say.
    #[inline]
    fn draw(&self, output: u32, service: Option<Span>, patience: Option<Span>) -> RequestDraw {
        let output_tokens = output.min(self.max_tokens.unwrap_or(u32::MAX)).max(1);
        RequestDraw { output_tokens, service: service.unwrap_or_default(), patience, overhead: Span::ZERO }
    }
}

/// Trace time at a speed. Exact at speed 1; otherwise to the nearest nanosecond of a 53-bit product.
fn scaled(ns: u64, speed: f64) -> u64 {
    if speed == 1.0 { ns } else { (ns as f64 / speed).round() as u64 }
}

/// When each user sends its first request: one think time after the start. Latest first, to be popped.
fn first_requests(
    users: u32,
    sessions: Option<&Sessions>,
    seed: u64,
    source: u64,
) -> Result<Vec<(Time, u32)>, SourceError> {
    if users == 0 {
        return Err(SourceError::NoUsers);
    }
    let first = |user: u32| {
        let keyed = Keyed::new(seed, source, u64::from(user), 0);
        let think = keyed.span(Purpose::Think, sessions.map(|s| &s.think)).unwrap_or_default();
        (Time::ZERO.saturating_add(think), user)
    };
    let mut all: Vec<(Time, u32)> = (0..users).map(first).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::mix;

    #[test]
    fn a_speed_of_one_is_exact_and_others_are_nearest() {
        let at = mix(1);
        assert_eq!(scaled(at, 1.0), at);
        assert_eq!(scaled(1_000_000_001, 2.0), 500_000_001);
        assert_eq!(scaled(3, 0.5), 6);
    }
}
