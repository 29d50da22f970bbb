//! Points of a simulated run: its steps, grouped by shape, and its requests as a client saw them.

use super::client::{Seen, rows};
use super::points::{PointRow, Producer};
use crate::observe::{Observer, StepRun};
use crate::request::Finished;
use crate::scenario::{Engine, Scenario};
use std::collections::BTreeMap;

/// Steps of about the same shape.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    prefill_tokens: u128,
    decodes: u128,
    /// Twice the sum, because the mean of a run may be half a token.
    context_twice: u128,
    ns: u128,
}

/// Collects points while a run goes on. Memory is a group per shape (some thousands) and 48 bytes a request.
#[derive(Clone, Debug)]
pub struct PointsLog {
    pools: Vec<Option<String>>,
    workloads: Vec<String>,
    groups: BTreeMap<(u16, u16, u16, u16), Group>,
    /// By pool.
    seen: Vec<Vec<Seen>>,
}

/// Which group a size belongs to: eight for each doubling.
fn bucket(size: u64) -> u16 {
    if size < 16 {
        return size as u16;
    }
    let exponent = 63 - size.leading_zeros();
    (exponent * 8) as u16 + ((size >> (exponent - 3)) & 7) as u16
}

impl PointsLog {
    /// Nothing yet. Pools without steps (engine `slots`) leave no step rows.
    pub fn new(scenario: &Scenario) -> Self {
        PointsLog {
            pools: scenario
                .pools
                .iter()
                .map(|pool| matches!(pool.engine, Engine::Llm(_)).then(|| pool.name.clone()))
                .collect(),
            workloads: scenario.workloads.iter().map(|workload| workload.name.clone()).collect(),
            groups: BTreeMap::new(),
            seen: vec![Vec::new(); scenario.pools.len()],
        }
    }

    /// The points: groups of steps pool by pool, then requests by when they were sent.
    pub fn finish(self) -> Vec<PointRow> {
        let step = |((pool, ..), group): (&(u16, u16, u16, u16), &Group)| {
            let mean = |sum: u128| sum as f64 / group.count as f64;
            PointRow {
                kind: Producer::Step,
                name: self.pools[usize::from(*pool)].clone().expect("only pools with steps have groups"),
                count: group.count,
                prefill_tokens: mean(group.prefill_tokens),
                decodes: mean(group.decodes),
                context_tokens: mean(group.context_twice) / 2.0,
                step_ns: mean(group.ns),
                prompt_tokens: None,
                cached_tokens: None,
                output_tokens: None,
                in_flight: None,
                ttft_ns: None,
                e2e_ns: None,
            }
        };
        let mut all: Vec<PointRow> = self.groups.iter().map(step).collect();
        all.extend(rows(&self.seen, &self.workloads));
        all
    }
}

impl Observer for PointsLog {
    fn worked(&mut self, run: &StepRun) {
        if self.pools[usize::from(run.pool)].is_none() || run.end <= run.start {
            return;
        }
        let decodes = u64::from(run.decodes);
        let last = run.context_tokens + decodes * (run.steps - 1);
        let key = (
            run.pool,
            bucket(u64::from(run.prefill_tokens)),
            bucket(decodes),
            bucket(u64::midpoint(run.context_tokens, last)),
        );
        let group = self.groups.entry(key).or_default();
        let steps = u128::from(run.steps);
        group.count += run.steps;
        group.prefill_tokens += u128::from(run.prefill_tokens) * steps;
        group.decodes += u128::from(decodes) * steps;
        group.context_twice += (u128::from(run.context_tokens) + u128::from(last)) * steps;
        group.ns += u128::from((run.end - run.start).as_nanos());
    }

    fn finished(&mut self, done: &Finished) {
        self.seen[usize::from(done.pool)].push(Seen::of(done));
    }
}
