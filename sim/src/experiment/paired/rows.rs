//! A comparison as rows of the summary.

use super::pairs::Fate;
use super::{Against, Compared};
use crate::experiment::ratio::RatioDecision;
use crate::experiment::statistics::Plan;
use crate::experiment::{bound_row, confidence};
use crate::limits::Usage;
use crate::results::comparison::{
    Attribution, CellRow, ClaimRow, Comparison, DifferenceRow, LimitDifference, PartRow,
};
use crate::results::figure::measure_name;
use crate::scenario::Metric;
use crate::time::Span;

/// A stretch in a sentence: `hour 14`, `90min to 3h`.
pub(super) fn stretch_name(from: Span, until: Span) -> String {
    let hour = Span::from_secs(3_600);
    if from.as_nanos().is_multiple_of(hour.as_nanos()) && until == from + hour {
        return format!("hour {}", from.as_nanos() / hour.as_nanos());
    }
    format!("{from} to {until}")
}

impl Compared {
    /// The comparison, with what was decided of each property of the scenario that it is about, and of which cells.
    pub(in crate::experiment) fn rows(
        &self,
        against: &Against<'_>,
        decided: &[Option<(RatioDecision, Vec<usize>)>],
        plan: &Plan,
    ) -> Comparison {
        let own = against.properties.iter().enumerate();
        let claims = own.filter_map(|(position, property)| {
            Some(self.claim(against, position, decided[*property].as_ref()?, plan))
        });
        Comparison {
            variant: against.other.variant.clone(),
            pairs: self.tally.pairs,
            differences: self.differences(against),
            limits: self.limits(against),
            claims: claims.collect(),
            attributions: self.attributions(against),
        }
    }

    fn claim(
        &self,
        against: &Against<'_>,
        position: usize,
        (found, kept): &(RatioDecision, Vec<usize>),
        plan: &Plan,
    ) -> ClaimRow {
        let property = against.asking()[position];
        let cells = found.cells.iter().zip(kept).map(|(cell, index)| {
            let place = self.places[position][*index];
            CellRow {
                place: self.cells[position][*index].place.clone(),
                pool: against.names.pools[place.pool].clone(),
                from_ns: place.stretch.map(|(from, _)| from.as_nanos()),
                until_ns: place.stretch.map(|(_, until)| until.as_nanos()),
                ratio: cell.ratio,
                low: cell.interval.map(|interval| interval.low),
                high: cell.interval.map(|interval| interval.high),
                with_ns: cell.figures.map(|figures| figures.0),
                without_ns: cell.figures.map(|figures| figures.1),
                samples_with: cell.samples.0,
                samples_without: cell.samples.1,
                completed: cell.completed,
                verdict: cell.verdict,
            }
        });
        let each = property.ratio.as_ref().and_then(|ratio| ratio.each);
        ClaimRow {
            property: property.name.clone(),
            workload: property.workload.map(|index| against.scenario.workloads[index].name.clone()),
            figure: measure_name(&property.measure),
            bound: bound_row(property.bound),
            each_ns: each.map(Span::as_nanos),
            confidence: confidence(&found.decision, plan),
            worst: found.worst,
            cells: cells.collect(),
        }
    }

    fn differences(&self, against: &Against<'_>) -> Vec<DifferenceRow> {
        let names = &against.names;
        let text = |fate: Fate| match fate {
            Fate::Absent => "never offered".to_owned(),
            Fate::Offered => "offered".to_owned(),
            Fate::Ended(outcome, None) => outcome.name().to_owned(),
            Fate::Ended(outcome, Some(reason)) => {
                format!("{} ({})", outcome.name(), names.reasons[usize::from(reason)])
            }
        };
        let row = |((workload, with, without), requests): (&(u16, Fate, Fate), &u64)| DifferenceRow {
            workload: names.workloads[usize::from(*workload)].clone(),
            with: text(*with),
            without: text(*without),
            requests: *requests,
            decides: decides(*with, *without),
        };
        self.tally.differences.iter().map(row).collect()
    }

    fn limits(&self, against: &Against<'_>) -> Vec<LimitDifference> {
        type Counter = (&'static str, fn(&Usage) -> u64);
        let counters: [Counter; 4] = [
            ("offered", |usage| usage.offered),
            ("admitted", |usage| usage.admitted),
            ("refused", |usage| usage.refused),
            ("peak", |usage| usage.peak),
        ];
        let mut rows = Vec::new();
        for (limit, [with, without]) in against.names.limits.iter().zip(&self.tally.limits) {
            let moved = counters.into_iter().filter(|(_, get)| get(with) != get(without));
            rows.extend(moved.map(|(counter, get)| LimitDifference {
                limit: limit.clone(),
                counter: counter.to_owned(),
                with: get(with),
                without: get(without),
            }));
        }
        rows
    }

    fn attributions(&self, against: &Against<'_>) -> Vec<Attribution> {
        let names = &against.names;
        let filled = self.accounts.iter().zip(&self.sums).filter(|(_, (all, _))| all.pairs > 0);
        let row = |(account, (all, slow)): (&super::Account, &(super::Sums, super::Sums))| {
            let split = account.metric == Metric::E2e;
            let parts = all.parts(split).into_iter().zip(slow.parts(split));
            Attribution {
                workload: account.workload.map(|index| names.workloads[usize::from(index)].clone()),
                pool: names.pools[account.pool].clone(),
                latency: account.metric.name().to_owned(),
                pairs: all.pairs,
                slow_pairs: slow.pairs,
                parts: parts
                    .map(|((part, with_ns, without_ns), (_, slow_with_ns, slow_without_ns))| PartRow {
                        part: part.to_owned(),
                        with_ns,
                        without_ns,
                        slow_with_ns,
                        slow_without_ns,
                    })
                    .collect(),
            }
        };
        filled.map(row).collect()
    }
}

/// Whether requests that ended like this keep a ratio from holding.
pub(super) fn decides(with: Fate, without: Fate) -> bool {
    with == Fate::Absent
        || without == Fate::Absent
        || with.is_refused() != without.is_refused()
        || with.is_completed() != without.is_completed()
}
