//! Blocks of a live run: one after the other, so that no two requests are matched. What is compared are the figures of
//! whole blocks that played the same arrivals.
//!
//! Of what differs between two blocks only a least number is known: when 10 more requests were refused in one of them, at
//! least 10 ended differently. A client does not see which of several pools served it: requests count for the pool that
//! their workload names first.

use super::ledger::Side;
use super::pairs::{Differences, Fate};
use super::{Against, Compared, Place, RatioDecision};
use crate::experiment::ratio::PairReading;
use crate::experiment::statistics::Plan;
use crate::observe::recorder::Recording;
use crate::observe::recording::{WorkloadRecord, latency_of};
use crate::request::Outcome;
use crate::results::Verdict;
use crate::scenario::{Property, Scenario};

/// A real-time workload of either side.
#[derive(Clone, Copy)]
struct Member<'r> {
    /// Its number in the comparison.
    id: u16,
    /// The pool that it names first, by number of the comparison.
    pool: usize,
    record: &'r WorkloadRecord,
}

impl Against<'_> {
    /// What pairs of whole blocks (of the scenario, of the other variant) amount to, in order.
    pub(in crate::experiment) fn of_blocks(&self, blocks: &[(&Recording, &Recording)]) -> Compared {
        let mut all = Compared { least: true, ..self.start() };
        all.accounts.clear();
        all.sums.clear();
        for (with, without) in blocks {
            let sides = [
                self.members(Side::With, self.scenario, with),
                self.members(Side::Without, self.other, without),
            ];
            for (index, property) in self.asking().into_iter().enumerate() {
                for (cell, place) in all.cells[index].iter_mut().zip(&all.places[index]) {
                    cell.readings.push(self.reading(property, place, &sides));
                }
            }
            for (id, _) in (0u16..).zip(&self.names.workloads) {
                let record = |side: &[Member<'_>]| side.iter().find(|m| m.id == id).map(|m| m.record.clone());
                let [with, without] = [record(&sides[0]), record(&sides[1])];
                let offered = |record: &Option<WorkloadRecord>| record.as_ref().map_or(0, |r| r.offered);
                all.tally.pairs += offered(&with).min(offered(&without));
                let outcomes = |record: &Option<WorkloadRecord>| {
                    record.as_ref().map_or_else(Default::default, |r| r.outcomes)
                };
                differ(&mut all.tally.differences, id, outcomes(&with), outcomes(&without));
            }
        }
        all
    }

    fn members<'r>(&self, side: Side, scenario: &Scenario, recording: &'r Recording) -> Vec<Member<'r>> {
        let names = self.names.side(side);
        let all = names.workloads.iter().zip(&scenario.workloads).zip(&recording.workloads);
        let member =
            |((name, workload), record): ((&super::names::WorkloadName, &crate::scenario::Workload), _)| {
                let pool = usize::from(names.pools[usize::from(workload.pool)]);
                Some(Member { id: name.id?, pool, record })
            };
        all.filter_map(member).collect()
    }

    /// The two figures of `property` at `place`; nothing of a stretch, which blocks do not tell apart.
    fn reading(&self, property: &Property, place: &Place, sides: &[Vec<Member<'_>>; 2]) -> PairReading {
        if place.stretch.is_some() {
            return PairReading::default();
        }
        let only = property.workload.map(|index| self.names.of_with(index));
        // The pool of a pair is that of the run without, where it has the workload.
        let pool_of = |id: u16, own: usize| sides[1].iter().find(|m| m.id == id).map_or(own, |m| m.pool);
        let is_of = |m: &&Member<'_>| only.is_none_or(|id| id == m.id) && pool_of(m.id, m.pool) == place.pool;
        let of = |side: usize| sides[side].iter().filter(is_of).map(|m| m.record);
        let completed = |side: usize| of(side).map(|r| r.outcome(Outcome::Completed)).sum::<u64>();
        let offered = |side: usize| of(side).map(|r| r.offered).sum::<u64>();
        PairReading {
            with: latency_of(of(0), &property.measure),
            without: latency_of(of(1), &property.measure),
            // So many at least completed in both.
            completed: (completed(0) + completed(1)).saturating_sub(offered(0).max(offered(1))),
            identical: false,
        }
    }
}

impl Compared {
    /// As [`Compared::decide`], of blocks: cells of the whole only. A claim about stretches as well can be violated, but
    /// does not hold.
    pub(in crate::experiment) fn decide_blocks(
        &self,
        against: &Against<'_>,
        property: usize,
        plan: &Plan,
        blocks: u32,
    ) -> (RatioDecision, Vec<usize>) {
        let position = against.position(property).expect("it is asked of this comparison");
        let (mut found, kept) = self.decide(against, position, plan, blocks);
        let each = against.asking()[position].ratio.as_ref().and_then(|ratio| ratio.each);
        if let (Some(each), Verdict::Holds) = (each, found.decision.verdict) {
            found.decision.verdict = Verdict::Inconclusive;
            found.decision.reason =
                format!("{}, but a live run does not tell stretches of {each} apart", found.decision.reason);
        }
        (found, kept)
    }
}

/// Notes the fewest requests that must have ended differently, so many having ended in each way on either side.
fn differ<const N: usize>(all: &mut Differences, id: u16, with: [u64; N], without: [u64; N]) {
    let excess = |mine: [u64; N], theirs: [u64; N]| {
        let more = Outcome::ALL.iter().zip(mine).zip(theirs);
        let more = more.map(|((outcome, a), b)| (Fate::Ended(*outcome, None), a.saturating_sub(b)));
        more.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let (mut left, mut right) = (excess(with, without), excess(without, with));
    let sum = |side: &[(Fate, u64)]| side.iter().map(|(_, count)| count).sum::<u64>();
    let (more, fewer) = (sum(&left), sum(&right));
    left.extend((fewer > more).then_some((Fate::Absent, fewer.saturating_sub(more))));
    right.extend((more > fewer).then_some((Fate::Absent, more.saturating_sub(fewer))));
    let (mut a, mut b) = (0, 0);
    while a < left.len() && b < right.len() {
        let count = left[a].1.min(right[b].1);
        *all.entry((id, left[a].0, right[b].0)).or_default() += count;
        left[a].1 -= count;
        right[b].1 -= count;
        a += usize::from(left[a].1 == 0);
        b += usize::from(right[b].1 == 0);
    }
}
