//! Paired experiments: a scenario and another variant of it see the same requests, and are compared request by request.
//!
//! A replication runs both (or more) in lockstep on one thread ([`crate::engine::lockstep()`]). What one of them does
//! with a request waits for what the other does with it, is folded into sums by cell and forgotten ([`pairs`]), so
//! memory is O(requests in flight). Batch is never compared, only what real-time requests have of it.

mod attribution;
mod blocks;
mod end;
mod ledger;
mod names;
mod open;
mod pairs;
mod rows;

use attribution::Sums;

use super::ratio::{Cell, RatioDecision, decide_ratio};
use super::statistics::Plan;
use super::{ExperimentError, Lent, failed};
use crate::engine::{Listeners, Mode, Run, Totals, lockstep};
use crate::limits::Usage;
use crate::observe::recorder::Recorder;
use crate::observe::{GapRun, Observer};
use crate::request::{Finished, Settled, WorkloadId};
use crate::results::figure::measure_name;
use crate::scenario::{Property, Ratio, Scenario};
use crate::time::{Span, Time};
use crate::workload::Source;
use ledger::Side;
use names::Names;
pub(super) use pairs::Folded;
use pairs::{Account, Fate, Pairs, Tally, stretches};
use std::ops::ControlFlow;

/// A comparison of a scenario with one other variant of it.
#[derive(Clone, Debug)]
pub(super) struct Against<'s> {
    scenario: &'s Scenario,
    other: &'s Scenario,
    names: Names,
    /// Indices of the properties that ask for it.
    properties: Vec<usize>,
}

/// Where a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    pool: usize,
    /// From, until; `None`: the whole horizon.
    stretch: Option<(Span, Span)>,
}

/// What the replications of a comparison amount to.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    /// By property of the comparison, every cell that it could have.
    cells: Vec<Vec<Cell>>,
    places: Vec<Vec<Place>>,
    tally: Tally,
    accounts: Vec<Account>,
    /// All pairs, and the slowest 1 % of each replication.
    sums: Vec<(Sums, Sums)>,
    /// Whether differences are the least there can be, as of blocks.
    least: bool,
}

/// The comparisons that the properties of `scenario` ask for, in the order in which they name the variants.
///
/// # Errors
/// When a variant is not among `others`.
pub(super) fn comparisons<'s>(
    scenario: &'s Scenario,
    others: &'s [Scenario],
) -> Result<Vec<Against<'s>>, ExperimentError> {
    let mut all: Vec<Against<'s>> = Vec::new();
    for (index, property) in scenario.properties.iter().enumerate() {
        let Some(ratio) = &property.ratio else { continue };
        if let Some(known) = all.iter_mut().find(|known| known.other.variant == ratio.to) {
            known.properties.push(index);
            continue;
        }
        let found = others.iter().find(|other| other.variant == ratio.to);
        let other = found.ok_or_else(|| ExperimentError::Variant {
            property: property.name.clone(),
            variant: ratio.to.clone().unwrap_or_else(|| "base".to_owned()),
        })?;
        let names = Names::new(scenario, other);
        all.push(Against { scenario, other, names, properties: vec![index] });
    }
    Ok(all)
}

impl<'s> Against<'s> {
    /// Whether nothing is drawn at random in the other variant.
    pub(super) fn is_deterministic(&self) -> bool {
        self.other.is_deterministic()
    }

    /// The place of a property among those of this comparison.
    pub(super) fn position(&self, property: usize) -> Option<usize> {
        self.properties.iter().position(|index| *index == property)
    }

    /// The other variant.
    pub(super) fn variant(&self) -> &Option<String> {
        &self.other.variant
    }

    /// Indices of the properties that ask for it, in the scenario's order.
    pub(super) fn properties(&self) -> &[usize] {
        &self.properties
    }

    fn asking(&self) -> Vec<&'s Property> {
        self.properties.iter().map(|index| &self.scenario.properties[*index]).collect()
    }

    /// Nothing yet, with a place for everything.
    pub(super) fn start(&self) -> Compared {
        let places = self.asking().into_iter().map(|property| self.places(property));
        let places: Vec<Vec<Place>> = places.collect();
        let cell = |place: &Place| Cell { place: self.place_name(place), readings: Vec::new() };
        let accounts = Pairs::new(&self.names, self.scenario, &self.asking()).attributions();
        Compared {
            cells: places.iter().map(|places| places.iter().map(cell).collect()).collect(),
            places,
            tally: Tally::default(),
            sums: vec![Default::default(); accounts.len()],
            accounts,
            least: false,
        }
    }

    /// Pool by pool the whole, then the stretches that are counted at least in part.
    fn places(&self, property: &Property) -> Vec<Place> {
        let each = property.ratio.as_ref().and_then(|ratio| ratio.each);
        let stretches = stretches(self.scenario, each);
        let of = |pool: usize| {
            let parts = stretches.iter().map(|(_, from, until)| Some((*from, *until)));
            std::iter::once(None).chain(parts).map(move |stretch| Place { pool, stretch }).collect::<Vec<_>>()
        };
        (0..self.names.pools.len()).flat_map(of).collect()
    }

    fn place_name(&self, place: &Place) -> String {
        let pool = format!("pool {}", self.names.pools[place.pool]);
        match place.stretch {
            Some((from, until)) => format!("{} of {pool}", rows::stretch_name(from, until)),
            None => pool,
        }
    }
}

impl Compared {
    /// Adds a whole replication.
    pub(super) fn take(&mut self, against: &Against<'_>, folded: &Folded) {
        let asking = against.asking();
        for (index, (cells, readings)) in self.cells.iter_mut().zip(&folded.readings).enumerate() {
            let each = asking[index].ratio.as_ref().and_then(|ratio| ratio.each);
            let kept = stretches(against.scenario, each);
            let all =
                each.map_or(0, |each| against.scenario.horizon.as_nanos().div_ceil(each.as_nanos()) as usize);
            let kept = readings.chunks_exact(all + 1).flat_map(|pool| {
                std::iter::once(pool[0]).chain(kept.iter().map(|(stretch, ..)| pool[stretch + 1]))
            });
            for (cell, reading) in cells.iter_mut().zip(kept) {
                cell.readings.push(reading);
            }
        }
        self.tally.merge(&folded.tally);
        for (mine, theirs) in self.sums.iter_mut().zip(&folded.sums) {
            mine.0.merge(&theirs.0);
            mine.1.merge(&theirs.1);
        }
    }

    /// Decides property `position` of the comparison; also says which of its cells the decision is about.
    ///
    /// A pool that nothing came to in any replication is no part of the claim.
    pub(super) fn decide(
        &self,
        against: &Against<'_>,
        position: usize,
        plan: &Plan,
        replications: u32,
    ) -> (RatioDecision, Vec<usize>) {
        let property = against.asking()[position];
        let (cells, places) = (&self.cells[position], &self.places[position]);
        let mut used = vec![false; against.names.pools.len()];
        for (cell, place) in cells.iter().zip(places) {
            used[place.pool] |= !cell.is_empty();
        }
        // Blocks do not tell stretches apart.
        let is_told = |place: &Place| used[place.pool] && !(self.least && place.stretch.is_some());
        let kept: Vec<usize> = (0..cells.len()).filter(|index| is_told(&places[*index])).collect();
        let chosen: Vec<Cell> = kept.iter().map(|index| cells[*index].clone()).collect();
        let differences = self.differences_text(against, property);
        let found = decide_ratio(
            &chosen,
            differences.as_deref(),
            plan,
            replications,
            &property.measure,
            property.bound,
        );
        (found, kept)
    }

    /// What of the property's requests was let in or completed on one side only; `None` when nothing was.
    fn differences_text(&self, against: &Against<'_>, property: &Property) -> Option<String> {
        let only = property.workload.map(|index| against.names.of_with(index));
        let (mut offered, mut refused, mut completed) = (0, 0, 0);
        for ((workload, with, without), number) in &self.tally.differences {
            if only.is_some_and(|only| only != *workload) {
                continue;
            }
            if [with, without].contains(&&Fate::Absent) {
                offered += number;
            } else if with.is_refused() != without.is_refused() {
                refused += number;
            } else if with.is_completed() != without.is_completed() {
                completed += number;
            }
        }
        let what = [(offered, "offered"), (refused, "refused"), (completed, "completed")];
        let parts: Vec<String> = what
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| {
                let were = if number == 1 { "request was" } else { "requests were" };
                let least = if self.least { "at least " } else { "" };
                format!("{least}{} {were} {what} on one side only", crate::results::figure::count(number))
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

/// What a property divides, in words: `ratio of e2e p99 to base`.
pub(super) fn figure_name(property: &Property, ratio: &Ratio) -> String {
    format!("ratio of {} to {}", measure_name(&property.measure), ratio.to.as_deref().unwrap_or("base"))
}

/// Runs replication `seed` of the scenario and of every variant it is compared with; what the scenario does is told to
/// `recorder` and `more`. Returns what the scenario amounted to, and a fold for each comparison.
///
/// # Errors
/// When a trace cannot be read.
pub(super) fn replicate<'n>(
    all: &'n [Against<'_>],
    (scenario, feeds): (&Scenario, Vec<Lent<'_>>),
    seed: u64,
    mode: Mode,
    recorder: &mut Recorder,
    more: &mut dyn Observer,
    watch: impl FnMut(Time, &Totals) -> ControlFlow<()>,
) -> Result<(Totals, Vec<Folded>), ExperimentError> {
    let open = |against: &Against<'_>| {
        let open = |index: usize| {
            Source::open(against.other, index as WorkloadId, seed).map_err(failed(against.other, index))
        };
        (0..against.other.workloads.len()).map(open).collect::<Result<Vec<_>, _>>()
    };
    let mut sources = all.iter().map(open).collect::<Result<Vec<Vec<Source>>, _>>()?;
    let lend = |(against, sources): (&Against<'n>, _)| -> Run<'n, Lent<'_>> {
        let sources: &mut Vec<Source> = sources;
        let feeds = sources.iter_mut().map(|source| Lent { source, hash: None }).collect();
        Run { scenario: against.other, feeds }
    };
    let others = all.iter().zip(&mut sources).map(lend).collect();
    let pairs = all.iter().map(|against| Pairs::new(&against.names, against.scenario, &against.asking()));
    let mut ears = Ears { recorder, more, pairs: pairs.collect() };
    let totals = lockstep(Run { scenario, feeds }, others, seed, mode, &mut ears, watch);
    let pairs = ears.pairs;
    for (against, sources) in all.iter().zip(&sources) {
        for (index, source) in sources.iter().enumerate() {
            if let Some(error) = source.error() {
                return Err(failed(against.other, index)(error.clone()));
            }
        }
    }
    Ok((totals[0], pairs.into_iter().map(Pairs::finish).collect()))
}

/// Who hears the runs of a replication.
struct Ears<'a, 'n> {
    recorder: &'a mut Recorder,
    more: &'a mut dyn Observer,
    pairs: Vec<Pairs<'n>>,
}

impl Listeners for Ears<'_, '_> {
    fn first(&mut self) -> impl Observer {
        (&mut *self.recorder, (&mut *self.more, Ear { side: Side::With, pairs: &mut self.pairs }))
    }

    fn other(&mut self, run: usize) -> impl Observer {
        Ear { side: Side::Without, pairs: &mut self.pairs[run..=run] }
    }
}

/// Tells folds what one side does.
struct Ear<'a, 'n> {
    side: Side,
    pairs: &'a mut [Pairs<'n>],
}

impl Observer for Ear<'_, '_> {
    #[inline]
    fn gaps(&mut self, run: &GapRun) {
        self.pairs.iter_mut().for_each(|pairs| pairs.gaps(self.side, run));
    }
    #[inline]
    fn finished(&mut self, done: &Finished) {
        self.pairs.iter_mut().for_each(|pairs| pairs.finished(self.side, done));
    }
    fn settled(&mut self, settled: &Settled) {
        self.pairs.iter_mut().for_each(|pairs| pairs.settled(self.side, settled));
    }
    fn metered(&mut self, limit: usize, usage: &Usage) {
        self.pairs.iter_mut().for_each(|pairs| pairs.metered(self.side, limit, usage));
    }
}

#[cfg(test)]
mod tests;
