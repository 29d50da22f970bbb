//! Quotas on the tokens that batch jobs have enqueued, as they stand while operations move them.

use super::Scenario;
use super::batch::Batch;
use super::catalog::{Catalog, subject};
use super::policy::reason_of;
use crate::limits::Meters;
use crate::profile::{Caller, Counted, Mechanism, Verb, concerns};

impl Scenario {
    /// Limits on the tokens that jobs of `batch` may have enqueued, by place in [`super::Policy::limits`], in order.
    /// O(limits).
    pub fn token_quotas(&self, batch: &Batch) -> Vec<usize> {
        let sender = &self.workloads[usize::from(batch.workload)].sender;
        let policy = &self.policy;
        let endpoint = sender.endpoint.map(|endpoint| &policy.endpoints[endpoint].traits);
        let models: Vec<usize> = sender.candidates.iter().map(|(model, _)| *model).collect();
        let account = policy.accounts.get(sender.account as usize);
        let subject = subject(&Catalog::new(&self.models), account, endpoint, &models, &sender.traits);
        let counts = |index: &usize| {
            let limit = &policy.limits[*index];
            matches!(limit.mechanism, Mechanism::Quota { counted: Counted::EnqueuedTokens, .. })
                && concerns(limit, Verb::SubmitBatch, &subject)
        };
        (0..policy.limits.len()).filter(counts).collect()
    }

    /// Most tokens that account `owner` (numbered as in [`Batch::owner`]) may have enqueued for `model` now, and the
    /// reason of a job that would exceed it; `None` when nothing limits them. The lowest of `quotas` holds, the first of
    /// equals. O(quotas).
    ///
    /// At the start it is [`super::batch::JobRules::tokens`]; operations such as `raise-limit` move it.
    pub fn enqueued_most(
        &self,
        quotas: &[usize],
        owner: u32,
        model: usize,
        meters: &Meters,
    ) -> Option<(u64, u16)> {
        let caller = Caller { account: owner, model: model as u32, ..Caller::default() };
        let values = quotas.iter().filter_map(|&index| {
            let limit = &self.policy.limits[index];
            let meter = limit.meter.expect("a quota is metered");
            Some((meters.limit_of(meter, limit.key(&caller))?, reason_of(index)))
        });
        values.min_by_key(|(most, _)| *most)
    }
}
