//! What controllers read of a run: windowed measures of a pool, kept by the engine itself, O(1) a fact.
//!
//! Observers are sinks and never influence a run; whatever an autoscaler acts on is counted here. Integrals are exact
//! integers, so that a replica that skips ahead and one that walks give the same reading.

use crate::fleet::autoscaler::Reading;
use crate::observe::Observer;
use crate::request::{PoolId, WorkloadId};
use crate::scenario::Scenario;
use crate::scenario::fleet::Aim;
use crate::time::{Span, Time};

/// The time integral of a count since it was last read.
#[derive(Clone, Copy, Debug, Default)]
struct Integral {
    value: u64,
    since: Time,
    area: u128,
}

impl Integral {
    #[inline]
    fn set(&mut self, now: Time, value: u64) {
        self.area += u128::from(self.value) * u128::from((now - self.since).as_nanos());
        (self.value, self.since) = (value, now);
    }

    /// The area since the last reading, count-nanoseconds.
    fn read(&mut self, now: Time) -> u128 {
        self.set(now, self.value);
        std::mem::take(&mut self.area)
    }
}

/// First tokens (or answers, on a `slots` pool) since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstTokens {
    sum: u128,
    count: u64,
}

impl Observer for FirstTokens {
    #[inline]
    fn first_token(&mut self, _now: Time, _workload: WorkloadId, _pool: PoolId, ttft: Span) {
        self.sum += u128::from(ttft.as_nanos());
        self.count += 1;
    }
}

/// The measures of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Signal {
    aim: Option<Aim>,
    requests: Integral,
    busy: Integral,
    ready: Integral,
    first_tokens: FirstTokens,
    last_look: Time,
}

/// The measures of all pools. Where nobody looks at any, a fact costs one comparison.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    watched: bool,
    pools: Vec<Signal>,
}

impl Signals {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let aim = |pool: &crate::scenario::Pool| pool.fleet.scaling.as_ref().and_then(|scaling| scaling.aim);
        Signals::of(
            scenario.pools.iter().map(|pool| Signal { aim: aim(pool), ..Signal::default() }).collect(),
        )
    }

    fn of(pools: Vec<Signal>) -> Self {
        Signals { watched: pools.iter().any(|signal| signal.aim.is_some()), pools }
    }

    /// A request came to the pool (its queue or a replica).
    #[inline]
    pub(super) fn enter(&mut self, now: Time, pool: usize) {
        if !self.watched {
            return;
        }
        let signal = &mut self.pools[pool];
        if signal.aim.is_some() {
            signal.requests.set(now, signal.requests.value + 1);
        }
    }

    /// A request left the pool.
    #[inline]
    pub(super) fn leave(&mut self, now: Time, pool: usize) {
        if !self.watched {
            return;
        }
        let signal = &mut self.pools[pool];
        if signal.aim.is_some() {
            signal.requests.set(now, signal.requests.value - 1);
        }
    }

    /// The number of busy workers (stepping replicas, servers in service) of the pool changed from `before` to `after`.
    #[inline]
    pub(super) fn work(&mut self, now: Time, pool: usize, before: u32, after: u32) {
        if !self.watched {
            return;
        }
        let signal = &mut self.pools[pool];
        if before != after && matches!(signal.aim, Some(Aim::Utilization(_))) {
            signal.busy.set(now, signal.busy.value + u64::from(after) - u64::from(before));
        }
    }

    /// The pool has this many workers that serve.
    pub(super) fn workers(&mut self, now: Time, pool: usize, workers: u64) {
        self.pools[pool].ready.set(now, workers);
    }

    /// Where first tokens of the pool are counted, when its autoscaler asks for them.
    #[inline]
    pub(super) fn first_tokens(&mut self, pool: usize) -> Option<&mut FirstTokens> {
        if !self.watched {
            return None;
        }
        let signal = &mut self.pools[pool];
        matches!(signal.aim, Some(Aim::Ttft(_))).then_some(&mut signal.first_tokens)
    }

    /// Reads the measure of a pool since the last look, and begins anew. `waiting` requests wait in its queue and on its
    /// replicas. Two looks at one instant: the second has nothing to measure but what waits.
    pub(super) fn look(&mut self, now: Time, pool: usize, ready: u16, waiting: u32) -> Reading {
        let signal = &mut self.pools[pool];
        let window = u128::from((now - signal.last_look).as_nanos());
        signal.last_look = now;
        let (requests, busy, workers) =
            (signal.requests.read(now), signal.busy.read(now), signal.ready.read(now));
        let first = std::mem::take(&mut signal.first_tokens);
        let permille = |part: u128, whole: u128| (part * 1_000).checked_div(whole).map(saturated);
        let measured = match signal.aim {
            None => None,
            Some(Aim::Queue(_)) => Some(u64::from(waiting) * 1_000),
            Some(Aim::Concurrency(_)) => permille(requests, window),
            Some(Aim::Utilization(_)) => permille(busy, workers),
            Some(Aim::Ttft(_)) => first.sum.checked_div(first.count.into()).map(saturated),
        };
        Reading { ready, measured }
    }
}

fn saturated(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(aim: Aim) -> Signals {
        Signals::of(vec![Signal { aim: Some(aim), ..Signal::default() }])
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    #[test]
    fn concurrency_is_the_mean_over_the_time_since_the_last_look() {
        let mut signals = signals(Aim::Concurrency(1_000));
        signals.enter(at(0), 0);
        signals.enter(at(250), 0);
        signals.leave(at(500), 0);
        // One for 250 ms, two for 250 ms, one for 500 ms.
        assert_eq!(signals.look(at(1_000), 0, 1, 0).measured, Some(1_250));
        assert_eq!(signals.look(at(2_000), 0, 1, 0).measured, Some(1_000));
    }

    #[test]
    fn utilization_is_busy_time_over_the_time_that_workers_had() {
        let mut signals = signals(Aim::Utilization(500));
        signals.workers(at(0), 0, 4);
        signals.work(at(0), 0, 0, 2);
        signals.workers(at(500), 0, 8);
        // 2 s of 2 s + 4 s.
        assert_eq!(signals.look(at(1_000), 0, 8, 0).measured, Some(333));
    }

    #[test]
    fn without_a_first_token_there_is_no_ttft() {
        let mut signals = signals(Aim::Ttft(Span::from_secs(1)));
        assert_eq!(signals.look(at(1_000), 0, 1, 5).measured, None);
        let counted = signals.first_tokens(0).unwrap();
        counted.first_token(at(1_500), 0, 0, Span::from_millis(100));
        counted.first_token(at(1_500), 0, 0, Span::from_millis(300));
        assert_eq!(signals.look(at(2_000), 0, 1, 5).measured, Some(200_000_000));
    }
}
