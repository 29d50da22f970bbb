//! Units of quotas that an endpoint holds, and what a call claims on top of them.

use crate::limits::{Claim, Meters};
use crate::profile::{Attr, Caller, Counted, Limit, Mechanism, Subject, Unit, Verb};
use crate::time::Time;
use std::collections::BTreeMap;

/// Units by limit and counter, none of them 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings(BTreeMap<(usize, u32), u64>);

impl Holdings {
    fn of(&self, limit: usize, key: u32) -> u64 {
        self.0.get(&(limit, key)).copied().unwrap_or(0)
    }

    fn set(&mut self, limit: usize, key: u32, units: u64) {
        if units > 0 {
            self.0.insert((limit, key), units);
        }
    }

    fn only(&self, keeps: impl Fn(usize) -> bool) -> Holdings {
        Holdings(
            self.0.iter().filter(|((limit, _), _)| keeps(*limit)).map(|(at, units)| (*at, *units)).collect(),
        )
    }

    /// The larger of both, counter by counter.
    fn or(&self, other: &Holdings) -> Holdings {
        let mut larger = self.clone();
        for (&(limit, key), &units) in &other.0 {
            larger.set(limit, key, units.max(self.of(limit, key)));
        }
        larger
    }

    /// What is here beyond `other`: limit, counter, units.
    pub(super) fn beyond<'a>(&'a self, other: &'a Holdings) -> impl Iterator<Item = (usize, u32, u64)> + 'a {
        let more = |(&(limit, key), &units): (&(usize, u32), &u64)| {
            (limit, key, units.saturating_sub(other.of(limit, key)))
        };
        self.0.iter().map(more).filter(|(.., units)| *units > 0)
    }

    /// What an endpoint keeps while it is stopped: all but the concurrency that its start has to ask for again.
    pub(super) fn stopped(&self, limits: &[Limit]) -> Holdings {
        self.only(|limit| {
            let Limit { mechanism, on, .. } = &limits[limit];
            let concurrency =
                matches!(mechanism, Mechanism::Quota { counted: Counted::ProvisionedConcurrency, .. });
            !(concurrency && on.contains(&Verb::StartEndpoint))
        })
    }
}

/// A call that counts: who, what, on which endpoint.
pub(super) struct Call<'a> {
    /// What is done.
    pub(super) verb: Verb,
    /// By whom.
    pub(super) caller: Caller,
    /// What is known of it.
    pub(super) subject: &'a Subject,
    /// Provisioned concurrency of the configuration it asks for.
    pub(super) concurrency: u64,
    /// What the endpoint holds before it.
    pub(super) held: &'a Holdings,
}

/// What a call claims, and what its endpoint holds when it goes through.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Claims with the limit of each, in the order in which limits are asked.
    pub(super) claims: Vec<Claim>,
    /// The limit of each claim.
    pub(super) limits: Vec<usize>,
    /// Held until the change is ready.
    pub(super) during: Holdings,
    /// Held from then on.
    pub(super) after: Holdings,
}

impl Terms {
    /// Of a call that the metered ones among the limits `dynamic` concern.
    ///
    /// A quota moves with the calls it is asked for only. While an update is under way the endpoint holds the larger
    /// of what both configurations need (a labelled choice: no document says how the change-over is counted), and
    /// claims only what it does not hold yet: an update that needs no more passes a quota that is over its limit.
    pub(super) fn of(call: &Call, limits: &[Limit], dynamic: &[usize]) -> Terms {
        let quotas = matches!(call.verb, Verb::CreateEndpoint | Verb::UpdateEndpoint | Verb::StartEndpoint);
        let mut terms = Terms::default();
        if quotas {
            terms.after = call.held.only(|limit| !limits[limit].on.contains(&call.verb));
        }
        for &index in dynamic {
            let limit = &limits[index];
            let key = limit.key(&call.caller);
            let units = match limit.mechanism {
                Mechanism::Rate { unit, .. } => rate_units(unit, call.subject),
                Mechanism::Concurrency { .. } => 1,
                Mechanism::Quota { counted, .. } if quotas => {
                    let need = match counted {
                        Counted::Endpoints => 1,
                        Counted::ProvisionedConcurrency => call.concurrency,
                        // Endpoints hold none: it is asked for jobs alone.
                        Counted::EnqueuedTokens => 0,
                    };
                    terms.after.set(index, key, need);
                    need.saturating_sub(call.held.of(index, key))
                }
                _ => 0,
            };
            // Nothing wanted is nothing asked: a meter that is over its limit refuses even a claim of 0.
            if let (Some(meter), 1..) = (limit.meter, units) {
                terms.claims.push(Claim { meter, key, units, entry: 0 });
                terms.limits.push(index);
            }
        }
        terms.during = terms.after.or(call.held);
        terms
    }

    /// A call takes no time, so what it claimed of calls in flight is free again.
    pub(super) fn end_call(&self, now: Time, limits: &[Limit], meters: &mut Meters) {
        for (claim, &limit) in self.claims.iter().zip(&self.limits) {
            if matches!(limits[limit].mechanism, Mechanism::Concurrency { .. }) {
                meters.release(now, claim.meter, claim.key, claim.units);
            }
        }
    }
}

/// A call counts as one request and has no tokens; its bytes are those of the dataset it brings.
fn rate_units(unit: Unit, subject: &Subject) -> u64 {
    match unit {
        Unit::Requests => 1,
        Unit::InputTokens | Unit::OutputTokens | Unit::Tokens => 0,
        Unit::Bytes => subject.numbers(Attr::DatasetBytes).unwrap_or_default().iter().sum(),
    }
}
