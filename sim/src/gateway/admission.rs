//! Admission: the limits that concern a request, asked in the documented order, all or none.
//!
//! Requests that limits cannot tell apart form a [`Class`]: what refuses all of them is known beforehand, what is
//! counted is a list of claims with a stride for the tenant. Compiled once, and again when an operation changes what is
//! known; a request costs O(claims) and allocates nothing.

use crate::limits::{Claim, Denied, MeterSpec, Meters, RateSpec, Usage};
use crate::profile::{Attr, Caller, Key, Limit, Mechanism, Range, Subject, Unit, Verb, concerns, judge};
use crate::request::{PoolId, Refusal, RequestHead};
use crate::scenario::policy::{Sender, reason_of};
use crate::table::SlotId;
use crate::time::{Span, Time};

/// Requests that limits cannot tell apart but for their tenant and size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The pool that serves them.
    pub pool: PoolId,
    /// What refuses every one of them, and the position of that limit.
    refused: Option<(usize, Refusal)>,
    /// Bounds on the body, by limit.
    bodies: Vec<(usize, Range)>,
    claims: Vec<Template>,
    /// Longest execution, and the reason given when it is over.
    pub deadline: Option<(Span, u16)>,
    /// Bounds that the overhead must stay below, by limit.
    pub overheads: Vec<(usize, Span)>,
    /// Gates that ignore what does not pass them, and did not pass.
    pub ignored: Vec<usize>,
    /// Limits without a meter that concern them.
    concerned: Vec<usize>,
}

/// Requests of a class so far.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    offered: u64,
    admitted: u64,
}

/// A claim on a meter, but for the tenant and the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Template {
    meter: u16,
    reason: u16,
    key: u32,
    per_tenant: u32,
    unit: Unit,
    default_reservation: u64,
    /// Units are held until the request is over.
    held: bool,
    /// It is counted by what serves, so that every attempt to have a request served counts.
    of_attempt: bool,
}

impl Template {
    #[inline]
    fn key(&self, head: &RequestHead) -> u32 {
        self.key + self.per_tenant * head.tenant
    }

    #[inline]
    fn claim(&self, head: &RequestHead) -> Claim {
        Claim { meter: self.meter, key: self.key(head), units: self.units(head), entry: 0 }
    }

    #[inline]
    fn units(&self, head: &RequestHead) -> u64 {
        let prompt = u64::from(head.prompt_tokens);
        let output = || head.max_tokens.map_or(self.default_reservation, u64::from);
        match self.unit {
            Unit::Requests => 1,
            Unit::InputTokens => prompt,
            Unit::OutputTokens => output(),
            Unit::Tokens => prompt + output(),
            Unit::Bytes => head.body_bytes.map_or(0, u64::from),
        }
    }

    /// Units that were really used, where that is known only at the end.
    fn used(&self, head: &RequestHead, generated: u32) -> Option<u64> {
        match self.unit {
            Unit::OutputTokens => Some(generated.into()),
            Unit::Tokens => Some(u64::from(head.prompt_tokens) + u64::from(generated)),
            Unit::Requests | Unit::InputTokens | Unit::Bytes => None,
        }
    }
}

/// Units taken for a request on an estimate, to be settled when it is over.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    /// Index into the claims of its class.
    template: usize,
    entry: u64,
    units: u64,
}

/// What admission asks of the requests of each workload.
#[derive(Debug, Default)]
pub struct Admission {
    /// Every class there ever was: requests in flight keep theirs.
    classes: Vec<Class>,
    /// By class.
    counts: Vec<Count>,
    /// By workload: the classes its requests have had.
    known: Vec<Vec<u16>>,
    /// By workload, then by candidate.
    current: Vec<Vec<u16>>,
    scratch: Vec<Claim>,
    /// By slot; emptied and reused, never shrunk.
    reservations: Vec<Vec<Reservation>>,
}

/// The meters of `limits`, in their order.
pub fn meters(limits: &[Limit]) -> Meters {
    let metered = limits.iter().filter(|limit| limit.meter.is_some());
    Meters::new(metered.map(|limit| (spec(&limit.mechanism), limit.keys)).collect())
}

fn spec(mechanism: &Mechanism) -> MeterSpec {
    match *mechanism {
        Mechanism::Rate { limit, most, window, algorithm, burst, unit, counts_refused, .. } => {
            let weighted = unit != Unit::Requests;
            MeterSpec::Rate(RateSpec { limit, most, window, algorithm, burst, weighted, counts_refused })
        }
        Mechanism::Concurrency { limit } | Mechanism::Quota { limit, .. } => MeterSpec::Held { limit },
        _ => unreachable!("a {} limit has no meter", mechanism.name()),
    }
}

/// A body limit is asked request by request; everything else that keeps no count is asked of the class.
fn body_range(limit: &Limit) -> Option<Range> {
    match limit.mechanism {
        Mechanism::Size { attr: Attr::Body, range } => Some(range),
        _ => None,
    }
}

impl Class {
    /// Requests that no limit concerns, served by `pool`.
    pub fn unlimited(pool: PoolId) -> Self {
        Class { pool, ..Class::default() }
    }

    /// Requests that are all refused, before any limit is asked.
    pub fn refused(pool: PoolId, reason: u16) -> Self {
        Class { pool, refused: Some((0, Refusal::plain(reason))), ..Class::default() }
    }

    /// The class of requests from `sender` of which `subject` is known, called by `caller` (its token and user those
    /// of tenant 0).
    pub fn compile(
        limits: &[Limit],
        subject: &Subject,
        sender: &Sender,
        caller: &Caller,
        pool: PoolId,
    ) -> Self {
        let judged = judge(limits, Verb::Inference, subject);
        let refused = judged.refused.map(|found| {
            let (limit, current) = (found.bound, found.value);
            let key = limits[found.limit].key(caller);
            let reason = reason_of(found.limit);
            (found.limit, Refusal { key, limit, current, ..Refusal::plain(reason) })
        });
        let mut class = Class { pool, refused, ignored: judged.ignored, ..Class::default() };
        for (index, limit) in limits.iter().enumerate() {
            if !limit.mechanism.is_metered() && concerns(limit, Verb::Inference, subject) {
                class.concerned.push(index);
                class.bodies.extend(body_range(limit).map(|range| (index, range)));
            }
        }
        for index in judged.dynamic {
            class.ask(index, &limits[index], sender, caller);
        }
        class
    }

    #[cold]
    fn screen(&self, head: &RequestHead) -> Result<(), Refusal> {
        let too_large = self.bodies.iter().find_map(|(index, range)| {
            let bytes = u64::from(head.body_bytes?);
            let limit = range.bound(bytes);
            (!range.admits(bytes))
                .then(|| (*index, Refusal { limit, current: bytes, ..Refusal::plain(reason_of(*index)) }))
        });
        let first = match (self.refused, too_large) {
            (Some(gate), Some(body)) => Some(if body.0 < gate.0 { body } else { gate }),
            (gate, body) => gate.or(body),
        };
        first.map_or(Ok(()), |(_, refusal)| Err(refusal))
    }

    #[cold]
    fn refusal(&self, now: Time, denied: &Denied, template: usize, key: u32) -> Refusal {
        Refusal {
            reason: self.claims[template].reason,
            key,
            limit: denied.limit,
            current: denied.current,
            retry_after: denied.retry_at.map(|at| at - now),
        }
    }

    /// Whether admission takes anything that has to be given back or settled when a request is over.
    #[inline]
    pub fn holds(&self) -> bool {
        !self.claims.is_empty()
    }

    fn ask(&mut self, index: usize, limit: &Limit, sender: &Sender, caller: &Caller) {
        let reason = reason_of(index);
        match limit.mechanism {
            Mechanism::Deadline { at_most } => {
                let shorter = self.deadline.is_none_or(|(so_far, _)| at_most < so_far);
                if shorter {
                    self.deadline = Some((at_most, reason));
                }
            }
            Mechanism::Overhead { below } => self.overheads.push((index, below)),
            Mechanism::Rate { .. } | Mechanism::Concurrency { .. } | Mechanism::Quota { .. } => {
                let (unit, default_reservation) = match limit.mechanism {
                    Mechanism::Rate { unit, default_reservation, .. } => (unit, default_reservation),
                    _ => (Unit::Requests, 0),
                };
                let varies = |key: Key| match key {
                    Key::Token => !sender.one_token,
                    Key::User => !sender.one_user,
                    Key::Account | Key::Endpoint | Key::Model => false,
                };
                self.claims.push(Template {
                    meter: limit.meter.expect("a limit that counts has a meter"),
                    reason,
                    key: limit.key(caller),
                    per_tenant: limit
                        .per
                        .iter()
                        .filter(|(key, _)| varies(*key))
                        .map(|(_, stride)| stride)
                        .sum(),
                    unit,
                    default_reservation,
                    held: !matches!(limit.mechanism, Mechanism::Rate { .. }),
                    of_attempt: limit.per.iter().any(|(key, _)| *key == Key::Model),
                });
            }
            // Permits belong to the pool's queue, gates and sizes were judged.
            Mechanism::Permits { .. } | Mechanism::Size { .. } | Mechanism::Gate { .. } => {}
        }
    }
}

impl Admission {
    /// Nobody is let in before [`Admission::classify`] was called for each workload and each of its `candidates`.
    pub fn new(candidates: &[usize]) -> Self {
        let current = candidates.iter().map(|&count| vec![u16::MAX; count]).collect();
        let known = vec![Vec::new(); candidates.len()];
        Admission { current, known, ..Admission::default() }
    }

    /// From now on requests of `workload` that its candidate `candidate` serves are of this class. One they have had before is used again, so that an
    /// endpoint may come and go as often as it likes.
    pub fn classify(&mut self, workload: usize, candidate: usize, class: Class) {
        let known = self.known[workload].iter().find(|&&number| self.classes[usize::from(number)] == class);
        let number = known.copied().unwrap_or_else(|| {
            let number = u16::try_from(self.classes.len()).expect("a run has fewer than 65,536 classes");
            self.classes.push(class);
            self.counts.push(Count::default());
            self.known[workload].push(number);
            number
        });
        self.current[workload][candidate] = number;
    }

    /// Number of the class of requests of `workload` that arrive now, were `candidate` to serve them.
    #[inline]
    pub fn current(&self, workload: u16, candidate: usize) -> u16 {
        self.current[usize::from(workload)][candidate]
    }

    /// A class.
    #[inline]
    pub fn class(&self, number: u16) -> &Class {
        &self.classes[usize::from(number)]
    }

    /// What keeps no count: gates and sizes.
    #[inline]
    pub fn screen(&mut self, number: u16, head: &RequestHead) -> Result<(), Refusal> {
        let class = &self.classes[usize::from(number)];
        self.counts[usize::from(number)].offered += 1;
        if class.refused.is_none() && class.bodies.is_empty() { Ok(()) } else { class.screen(head) }
    }

    /// What counts: takes the units of all claims or of none.
    #[inline]
    pub fn admit(
        &mut self,
        now: Time,
        id: SlotId,
        number: u16,
        head: &RequestHead,
        meters: &mut Meters,
    ) -> Result<(), Refusal> {
        self.take(now, id, number, head, meters, |_| true)
    }

    /// As [`Admission::admit`] of a request that was let in before, to be served by something else: only what is counted
    /// by what serves counts again, and what is held. What it held and had reserved was given back
    /// ([`Admission::over`]).
    pub fn admit_again(
        &mut self,
        now: Time,
        id: SlotId,
        number: u16,
        head: &RequestHead,
        meters: &mut Meters,
    ) -> Result<(), Refusal> {
        self.take(now, id, number, head, meters, |template| template.of_attempt || template.held)
    }

    #[inline]
    fn take(
        &mut self,
        now: Time,
        id: SlotId,
        number: u16,
        head: &RequestHead,
        meters: &mut Meters,
        counts: impl Fn(&Template) -> bool,
    ) -> Result<(), Refusal> {
        let class = &self.classes[usize::from(number)];
        let asked = || class.claims.iter().enumerate().filter(|(_, template)| counts(template));
        if !class.claims.is_empty() {
            self.scratch.clear();
            self.scratch.extend(asked().map(|(_, template)| template.claim(head)));
            meters.admit(now, &mut self.scratch).map_err(|denied| {
                let (position, _) = asked().nth(denied.claim).expect("one of the claims was denied");
                class.refusal(now, &denied, position, self.scratch[denied.claim].key)
            })?;
            for ((template, _), claim) in
                asked().zip(&self.scratch).filter(|((_, template), _)| template.used(head, 0).is_some())
            {
                if self.reservations.len() <= id as usize {
                    self.reservations.resize_with(id as usize + 1, Vec::new);
                }
                let (entry, units) = (claim.entry, claim.units);
                self.reservations[id as usize].push(Reservation { template, entry, units });
            }
        }
        self.counts[usize::from(number)].admitted += 1;
        Ok(())
    }

    /// As [`Admission::admit`] of a request that something behind the limits will refuse: says which of them refuses it
    /// first, when one does, and takes nothing.
    pub fn try_in_vain(
        &mut self,
        now: Time,
        number: u16,
        head: &RequestHead,
        meters: &mut Meters,
    ) -> Result<(), Refusal> {
        let class = &self.classes[usize::from(number)];
        self.scratch.clear();
        self.scratch.extend(class.claims.iter().map(|template| template.claim(head)));
        meters
            .try_in_vain(now, &self.scratch)
            .map_err(|denied| class.refusal(now, &denied, denied.claim, self.scratch[denied.claim].key))
    }

    /// A request that was let in is over: gives back what it held, and settles what it had reserved.
    #[inline]
    pub fn over(
        &mut self,
        now: Time,
        id: SlotId,
        number: u16,
        head: &RequestHead,
        generated: u32,
        meters: &mut Meters,
    ) {
        let claims = &self.classes[usize::from(number)].claims;
        for template in claims.iter().filter(|template| template.held) {
            meters.release(now, template.meter, template.key(head), 1);
        }
        let Some(reservations) = self.reservations.get_mut(id as usize) else { return };
        for Reservation { template, entry, units } in reservations.drain(..) {
            let template = &claims[template];
            let used = template.used(head, generated).expect("only estimates are reserved");
            meters.settle(now, template.meter, template.key(head), entry, units, used);
        }
    }

    /// What the limits without a meter saw, class by class.
    pub fn seen(&self) -> impl Iterator<Item = (usize, Usage)> + '_ {
        self.classes.iter().zip(&self.counts).flat_map(|(class, count)| {
            let usage = Usage { offered: count.offered, admitted: count.admitted, ..Usage::default() };
            class.concerned.iter().map(move |&limit| (limit, usage))
        })
    }
}
