//! How a request ended, as far as a comparison needs it.

use crate::request::{Budget, Finished, Outcome, PoolId, Settled};
use crate::scenario::Metric;
use crate::time::{Span, Time};

/// A request that is over in one of the runs that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct End {
    pub outcome: Outcome,
    /// Why it was refused or failed, by the number of the reason on its side.
    pub reason: Option<u16>,
    /// Pool that served it, or would have, by the comparison's number.
    pub pool: PoolId,
    /// When it reached the gateway; its first attempt, where there may be several.
    pub arrived: Time,
    pub e2e: Span,
    /// With the network.
    pub client_e2e: Span,
    /// From the arrival of its first attempt to that of the one that decided it.
    pub earlier: Span,
    pub ttft: Option<Span>,
    pub tpot: Option<Span>,
    /// Sums to `e2e`.
    pub budget: Budget,
    /// The part of the preemption that came before the first token.
    pub preempted_before_first: Span,
    /// By how much batch tokens made its steps longer.
    pub beside: Span,
}

impl End {
    /// Of a request that is one attempt; `pool` by the comparison's number.
    #[inline]
    pub(super) fn plain(done: &Finished, pool: PoolId, network: Span) -> Self {
        let e2e = done.e2e();
        End {
            outcome: done.outcome,
            reason: done.refusal.map(|refusal| refusal.reason),
            pool,
            arrived: done.arrived,
            e2e,
            client_e2e: e2e + network,
            earlier: Span::ZERO,
            ttft: done.ttft(),
            tpot: done.tpot(),
            budget: done.budget(),
            preempted_before_first: done.preempted_before_first,
            beside: done.beside,
        }
    }

    /// Of a request that may have taken several attempts.
    pub(super) fn settled(settled: &Settled, pool: PoolId, network: Span) -> Self {
        End {
            outcome: settled.outcome,
            arrived: settled.arrived,
            e2e: settled.e2e(),
            client_e2e: settled.e2e() + network,
            earlier: settled.last.arrived - settled.arrived,
            ttft: settled.ttft(),
            budget: settled.budget(),
            ..End::plain(&settled.last, pool, network)
        }
    }

    /// The latency `metric`, when a recorder would count it: the first token whenever there was one, everything else of
    /// completed requests. Gaps between tokens are no latency of a request.
    #[inline]
    pub(super) fn latency(&self, metric: Metric) -> Option<Span> {
        let completed = self.outcome == Outcome::Completed;
        match metric {
            Metric::Ttft => self.ttft,
            Metric::Tpot => self.tpot.filter(|_| completed),
            Metric::E2e => completed.then_some(self.e2e),
            Metric::ClientE2e => completed.then_some(self.client_e2e),
            Metric::Itl => None,
        }
    }
}
