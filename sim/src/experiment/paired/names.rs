//! What two variants of a scenario have in common: workloads, pools, limits and reasons are the same when their names
//! are. Indices need not be.

use super::ledger::Side;
use crate::request::PoolId;
use crate::scenario::{Arrivals, Scenario};
use crate::time::Span;

/// Everything by name that either of two scenarios has; the names' places are the comparison's own numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Real-time workloads.
    pub workloads: Vec<String>,
    pub pools: Vec<String>,
    /// Limits that both have.
    pub limits: Vec<String>,
    /// Why requests are refused or fail.
    pub reasons: Vec<String>,
    /// With, then without.
    sides: [SideNames; 2],
}

/// How one of the scenarios numbers them.
#[derive(Clone, Debug, Default)]
pub(super) struct SideNames {
    pub workloads: Vec<WorkloadName>,
    pub pools: Vec<PoolId>,
    /// `None` for a limit that only this side has.
    pub limits: Vec<Option<usize>>,
    reasons: Vec<u16>,
}

/// A workload of one side.
#[derive(Clone, Debug)]
pub(super) struct WorkloadName {
    /// Its number; `None` for batch, of which no two requests are ever compared.
    pub id: Option<u16>,
    /// Whether every request is one attempt.
    pub plain: bool,
    pub network: Span,
}

/// The place of `name` in `all`, where it is put when it is new.
fn place(all: &mut Vec<String>, name: &str) -> u16 {
    let found = all.iter().position(|known| known == name).unwrap_or_else(|| {
        all.push(name.to_owned());
        all.len() - 1
    });
    u16::try_from(found).expect("fewer names than 2^16")
}

impl Names {
    /// Of the scenario of an experiment and the variant it is compared with.
    pub(super) fn new(with: &Scenario, without: &Scenario) -> Self {
        let mut names = Names::default();
        let limits = |scenario: &Scenario| -> Vec<String> {
            scenario.policy.limits.iter().map(|limit| limit.name.clone()).collect()
        };
        let others = limits(without);
        names.limits = limits(with).into_iter().filter(|name| others.contains(name)).collect();
        names.sides = [with, without].map(|scenario| {
            let workloads = scenario.workloads.iter().map(|workload| WorkloadName {
                id: (!matches!(workload.arrivals, Arrivals::Jobs))
                    .then(|| place(&mut names.workloads, &workload.name)),
                plain: workload.client.is_plain(),
                network: workload.network,
            });
            let workloads = workloads.collect();
            let pools = scenario.pools.iter().map(|pool| place(&mut names.pools, &pool.name)).collect();
            let limits = limits(scenario);
            let limits = limits.iter().map(|name| names.limits.iter().position(|known| known == name));
            let reasons = 0..scenario.policy.reasons() as u16;
            let reasons =
                reasons.map(|reason| place(&mut names.reasons, scenario.policy.reason_name(reason)));
            SideNames { workloads, pools, limits: limits.collect(), reasons: reasons.collect() }
        });
        names
    }

    /// How `side` numbers everything.
    #[inline]
    pub(super) fn side(&self, side: Side) -> &SideNames {
        &self.sides[side as usize]
    }

    /// The number of real-time workload `index` of the scenario of the experiment.
    ///
    /// Panics when it is batch: that has nothing to be compared with.
    pub(super) fn of_with(&self, index: usize) -> u16 {
        let id = self.side(Side::With).workloads[index].id;
        id.expect("a property compares a real-time workload")
    }

    /// The number of a reason of one side.
    pub(super) fn reason(&self, side: Side, reason: u16) -> u16 {
        self.side(side).reasons[usize::from(reason)]
    }
}
