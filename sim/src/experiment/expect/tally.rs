//! What one expectation has seen so far.

use super::status;
use crate::request::{Outcome, PoolId, Refusal};
use crate::scenario::Scenario;
use crate::scenario::policy::{Claim, Expectation, Policy};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// A request that is over, or a call that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    /// When it arrived.
    pub at: Time,
    /// Which one of its stream: settles ties.
    pub number: u64,
    /// How it ended; a call that was let in counts as completed.
    pub outcome: Outcome,
    /// Why it was refused or failed.
    pub refusal: Option<Refusal>,
    /// What served it, if it was a request.
    pub pool: Option<PoolId>,
    /// How long it took.
    pub e2e: Span,
}

/// Counters of one expectation.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    from: Time,
    until: Time,
    pub accepted: u64,
    pub refused: u64,
    pub completed: u64,
    pub failed: u64,
    /// Refused or failed, by reason.
    pub reasons: Vec<u64>,
    /// Completed, by pool.
    pub pools: Vec<u64>,
    pub first_accepted: Option<Time>,
    pub last_accepted: Option<Time>,
    /// Requests end in another order than they arrive, so the number is kept to settle ties.
    pub first_refused: Option<(Time, u64, Refusal)>,
    pub last_refused: Option<(Time, u64, Refusal)>,
    /// Whether each was let in.
    pub verdicts: Firsts<bool>,
    /// Latencies of the completed.
    pub e2e: Firsts<Span>,
    /// Let in by bin, for each length of bin that is claimed; no more entries than were let in.
    bins: Vec<(Span, BTreeMap<u64, u64>)>,
}

impl Tally {
    pub(super) fn new(scenario: &Scenario, expected: &Expectation) -> Self {
        let longest = |length: fn(&Claim) -> usize| expected.claims.iter().map(length).max().unwrap_or(0);
        let bins = expected.claims.iter().filter_map(|claim| match claim {
            Claim::Each(bin, _) => {
                assert!(!bin.is_zero(), "expectation `{}`: bins of no length", expected.name);
                Some((*bin, BTreeMap::new()))
            }
            _ => None,
        });
        Tally {
            from: expected.from,
            until: expected.until,
            accepted: 0,
            refused: 0,
            completed: 0,
            failed: 0,
            reasons: vec![0; scenario.policy.reasons()],
            pools: vec![0; scenario.pools.len()],
            first_accepted: None,
            last_accepted: None,
            first_refused: None,
            last_refused: None,
            verdicts: Firsts::new(longest(|claim| match claim {
                Claim::Verdicts(wanted) => wanted.len(),
                _ => 0,
            })),
            e2e: Firsts::new(longest(|claim| match claim {
                Claim::E2e(wanted) => wanted.len(),
                _ => 0,
            })),
            bins: bins.collect(),
        }
    }

    /// Counts what arrived in the window.
    pub(super) fn add(&mut self, one: &Decided) {
        if one.at < self.from || one.at >= self.until {
            return;
        }
        let accepted = one.outcome != Outcome::Refused;
        let key = (one.at, one.number);
        self.verdicts.offer(key, accepted);
        if let Some(refusal) = one.refusal {
            self.reasons[usize::from(refusal.reason)] += 1;
            if !accepted {
                let refused = (one.at, one.number, refusal);
                let earlier = |kept: &(Time, u64, Refusal)| key < (kept.0, kept.1);
                let later = |kept: &(Time, u64, Refusal)| key > (kept.0, kept.1);
                if self.first_refused.as_ref().is_none_or(earlier) {
                    self.first_refused = Some(refused);
                }
                if self.last_refused.as_ref().is_none_or(later) {
                    self.last_refused = Some(refused);
                }
            }
        }
        if !accepted {
            self.refused += 1;
            return;
        }
        self.accepted += 1;
        self.first_accepted = Some(self.first_accepted.map_or(one.at, |first| first.min(one.at)));
        self.last_accepted = self.last_accepted.max(Some(one.at));
        for (bin, counts) in &mut self.bins {
            *counts.entry((one.at - self.from).as_nanos() / bin.as_nanos()).or_default() += 1;
        }
        match one.outcome {
            Outcome::Completed => {
                self.completed += 1;
                self.e2e.offer(key, one.e2e);
                if let Some(pool) = one.pool {
                    self.pools[usize::from(pool)] += 1;
                }
            }
            Outcome::Failed => self.failed += 1,
            _ => {}
        }
    }

    /// What arrived.
    pub(super) fn offered(&self) -> u64 {
        self.accepted + self.refused
    }

    /// What was answered with an HTTP status. What timed out, expired or was cut has none.
    pub(super) fn answered(&self, policy: &Policy, code: u16) -> u64 {
        let completed = if code == 200 { self.completed } else { 0 };
        let reasons = self.reasons.iter().zip(0..);
        completed + reasons.filter(|(_, reason)| status(policy, *reason) == code).map(|(n, _)| n).sum::<u64>()
    }

    /// Let in by bin of this length.
    pub(super) fn bins(&self, bin: Span) -> &BTreeMap<u64, u64> {
        let found = self.bins.iter().find(|(length, _)| *length == bin);
        &found.expect("every claimed length has its counts").1
    }
}

/// The first of a sequence in order of arrival, offered in any order.
#[derive(Clone, Debug)]
pub(super) struct Firsts<T> {
    most: usize,
    kept: BTreeMap<(Time, u64), T>,
}

impl<T: Copy> Firsts<T> {
    fn new(most: usize) -> Self {
        Firsts { most, kept: BTreeMap::new() }
    }

    fn offer(&mut self, key: (Time, u64), value: T) {
        let full = self.kept.len() == self.most;
        if full && self.kept.last_key_value().is_none_or(|(last, _)| *last < key) {
            return;
        }
        self.kept.insert(key, value);
        if full {
            self.kept.pop_last();
        }
    }

    /// Those that were kept.
    pub(super) fn in_order(&self) -> Vec<T> {
        self.kept.values().copied().collect()
    }
}
