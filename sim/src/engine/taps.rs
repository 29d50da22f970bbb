//! What controllers and autoscalers overhear of the work of a pool. Batch is not measured: it waits for nobody.

use super::batch::Batches;
use super::signals::{FirstTokens, Signals};
use crate::batch::Controller;
use crate::observe::{GapRun, Observer};
use crate::request::{PoolId, WorkloadId};
use crate::scenario::Metric;
use crate::time::{Span, Time};

/// Who listens to a pool.
#[derive(Debug)]
pub(super) struct Taps<'a> {
    first: Option<&'a mut FirstTokens>,
    controller: Option<&'a mut Controller>,
    is_batch: &'a [bool],
}

/// Who listens to `pool`; `None` when nobody does.
#[inline]
pub(super) fn taps<'a>(
    signals: &'a mut Signals,
    batches: &'a mut Batches<'_>,
    pool: usize,
) -> Option<Taps<'a>> {
    let first = signals.first_tokens(pool);
    let state = batches.pools.get_mut(pool).and_then(Option::as_mut);
    let controller = state.and_then(|state| state.controller.as_mut());
    let listens = first.is_some() || controller.is_some();
    listens.then_some(Taps { first, controller, is_batch: &batches.is_batch })
}

impl Taps<'_> {
    fn is_batch(&self, workload: WorkloadId) -> bool {
        self.is_batch.get(usize::from(workload)).copied().unwrap_or(false)
    }
}

impl Observer for Taps<'_> {
    fn first_token(&mut self, now: Time, workload: WorkloadId, pool: PoolId, ttft: Span) {
        if self.is_batch(workload) {
            return;
        }
        if let Some(first) = &mut self.first {
            first.first_token(now, workload, pool, ttft);
        }
        if let Some(controller) = self.controller.as_mut().filter(|c| c.rule().metric == Metric::Ttft) {
            controller.latest.add(ttft, 1);
        }
    }

    fn gaps(&mut self, run: &GapRun) {
        if self.is_batch(run.workload) {
            return;
        }
        if let Some(controller) = self.controller.as_mut().filter(|c| c.rule().metric == Metric::Itl) {
            debug_assert_eq!(run.steps, 1, "a pool whose gaps are measured does not skip steps");
            controller.latest.add(run.first, run.count);
        }
    }
}
