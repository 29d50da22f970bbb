//! Latencies of both runs by pool and stretch of the horizon: what figures of a comparison are read from.

use super::end::End;
use crate::experiment::ratio::PairReading;
use crate::observe::GapRun;
use crate::observe::hist::Latency;
use crate::observe::recorder::Reading;
use crate::request::PoolId;
use crate::scenario::{Measure, Metric};
use crate::time::{Span, Time};

/// Which of the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The scenario of the experiment.
    With = 0,
    /// The variant that it is compared with.
    Without = 1,
}

/// Most steps of a run whose gaps are recorded one by one; longer runs go bucket by bucket.
const SHORT_RUN: u64 = 4;

/// One latency in one cell.
#[derive(Clone, Debug)]
struct Both {
    sides: [Latency; 2],
    /// Pairs of which the two differ.
    moved: u64,
}

impl Both {
    fn new() -> Box<Self> {
        Box::new(Both { sides: [Latency::new(), Latency::new()], moved: 0 })
    }

    fn merge(&mut self, other: &Both) {
        for (mine, theirs) in self.sides.iter_mut().zip(&other.sides) {
            mine.merge(theirs);
        }
        self.moved += other.moved;
    }
}

/// Pairs of one pool and one stretch. Histograms are made when there is something for them.
#[derive(Clone, Debug, Default)]
struct Cell {
    latency: [Option<Box<Both>>; Metric::ALL.len()],
    completed: u64,
}

impl Cell {
    fn both(&mut self, metric: Metric) -> &mut Both {
        self.latency[metric as usize].get_or_insert_with(Both::new)
    }

    fn merge(&mut self, other: &Cell) {
        self.completed += other.completed;
        for (metric, theirs) in Metric::ALL.into_iter().zip(&other.latency) {
            if let Some(theirs) = theirs {
                self.both(metric).merge(theirs);
            }
        }
    }

    fn read(&self, measure: &Measure) -> PairReading {
        let (metric, quantile) = match measure {
            Measure::Quantile(metric, quantile) => (*metric, Some(*quantile)),
            Measure::Mean(metric) => (*metric, None),
            other => unreachable!("{other:?} is no figure of a latency"),
        };
        let Some(both) = &self.latency[metric as usize] else {
            return PairReading { completed: self.completed, ..PairReading::default() };
        };
        let [with, without] = &both.sides;
        let reading = |found: &Latency| {
            let value = match quantile {
                Some(quantile) => found.quantile_ns(quantile)? as f64,
                None => found.mean_ns()?,
            };
            Some(Reading { value, samples: found.count() })
        };
        PairReading {
            with: reading(with),
            without: reading(without),
            completed: self.completed,
            // Gaps are not matched one by one; equal histograms with equal exact sums are as good.
            identical: both.moved == 0 && (metric != Metric::Itl || with == without),
        }
    }
}

/// A stretch of time in which every gap counts in the same cells.
#[derive(Clone, Copy, Debug)]
struct Segment {
    from: Time,
    until: Time,
    /// `None` before the end of the warm-up.
    stretch: Option<usize>,
}

/// The cells of some workloads.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// The only workload, by the comparison's number; `None`: all of them.
    pub workload: Option<u16>,
    /// Width of a stretch; `None`: the horizon is one.
    pub each: Option<Span>,
    /// Which latencies are asked for.
    asks: [bool; Metric::ALL.len()],
    warmup: Time,
    /// Stretches of the horizon; one more holds what comes out after it.
    stretches: usize,
    /// Of each pool all stretches, and the one after the horizon.
    cells: Vec<Cell>,
    /// The segment that the last gaps fell into, as most of the next ones do.
    here: Segment,
}

impl Ledger {
    /// Nothing is asked for yet.
    pub(super) fn new(
        workload: Option<u16>,
        each: Option<Span>,
        pools: usize,
        warmup: Span,
        horizon: Span,
    ) -> Self {
        let stretches = each.map_or(1, |each| horizon.as_nanos().div_ceil(each.as_nanos())) as usize;
        Ledger {
            workload,
            each,
            asks: [false; Metric::ALL.len()],
            warmup: Time::ZERO + warmup,
            stretches,
            cells: vec![Cell::default(); pools * (stretches + 1)],
            here: Segment { from: Time::ZERO, until: Time::ZERO, stretch: None },
        }
    }

    /// Keeps `metric` as well.
    pub(super) fn ask(&mut self, metric: Metric) {
        self.asks[metric as usize] = true;
    }

    /// Whether it holds requests of `workload`.
    #[inline]
    pub(super) fn concerns(&self, workload: u16) -> bool {
        self.workload.is_none_or(|only| only == workload)
    }

    /// The stretch that holds `at`; the one after the horizon for all that come later.
    #[inline]
    fn stretch(&self, at: Time) -> usize {
        match self.each {
            Some(each) => ((at.as_nanos() / each.as_nanos()) as usize).min(self.stretches),
            None => 0,
        }
    }

    /// Adds a pair that arrived (in the run without) at `at`, which is counted, and belongs to `pool`.
    #[inline]
    pub(super) fn add(&mut self, pool: PoolId, at: Time, with: &End, without: &End) {
        let place = usize::from(pool) * (self.stretches + 1) + self.stretch(at);
        let cell = &mut self.cells[place];
        cell.completed +=
            u64::from(with.latency(Metric::E2e).is_some() && without.latency(Metric::E2e).is_some());
        for metric in [Metric::Ttft, Metric::Tpot, Metric::E2e, Metric::ClientE2e] {
            if !self.asks[metric as usize] {
                continue;
            }
            if let (Some(a), Some(b)) = (with.latency(metric), without.latency(metric)) {
                let both = cell.both(metric);
                both.sides[Side::With as usize].record(a, 1);
                both.sides[Side::Without as usize].record(b, 1);
                both.moved += u64::from(a != b);
            }
        }
    }

    /// Adds gaps of one run, decoded in `pool`. A gap belongs to the stretch in which it ended.
    #[inline]
    pub(super) fn gaps(&mut self, side: Side, pool: PoolId, run: &GapRun) {
        if !self.asks[Metric::Itl as usize] {
            return;
        }
        let last = self.segment(run.end);
        if run.first_end >= last.from {
            let total = run.first + (run.end - run.first_end);
            self.gaps_within(side, pool, last, run, (0, run.steps), total);
        } else {
            self.gaps_across(side, pool, run);
        }
    }

    #[inline]
    fn segment(&mut self, at: Time) -> Segment {
        if at < self.here.from || at >= self.here.until {
            self.here = self.find(at);
        }
        self.here
    }

    #[cold]
    fn find(&self, at: Time) -> Segment {
        if at < self.warmup {
            return Segment { from: Time::ZERO, until: self.warmup, stretch: None };
        }
        let stretch = self.stretch(at);
        let edge = |stretch: usize| match self.each {
            Some(each) => Time::from_nanos(each.as_nanos().saturating_mul(stretch as u64)),
            None => Time::ZERO,
        };
        let until =
            if stretch < self.stretches && self.each.is_some() { edge(stretch + 1) } else { Time::MAX };
        Segment { from: edge(stretch).max(self.warmup), until, stretch: Some(stretch) }
    }

    fn gaps_within(
        &mut self,
        side: Side,
        pool: PoolId,
        segment: Segment,
        run: &GapRun,
        (from, until): (u64, u64),
        total: Span,
    ) {
        let Some(stretch) = segment.stretch else { return };
        let place = usize::from(pool) * (self.stretches + 1) + stretch;
        let itl = &mut self.cells[place].both(Metric::Itl).sides[side as usize];
        let times = u64::from(run.count);
        if until - from == 1 {
            itl.record(total, times);
        } else if until - from <= SHORT_RUN {
            for i in from..until {
                itl.record(run.gap(i), times);
            }
        } else {
            itl.record_run(run, from, until, total);
        }
    }

    /// A run that crosses into another stretch, or several: they need not lie on the edges of bins.
    #[cold]
    fn gaps_across(&mut self, side: Side, pool: PoolId, run: &GapRun) {
        let mut from = 0;
        let mut before = run.first_end - run.first;
        while from < run.steps {
            let segment = self.segment(ended(run, from));
            let until = first_from(run, segment.until);
            let end = ended(run, until - 1);
            self.gaps_within(side, pool, segment, run, (from, until), end - before);
            (from, before) = (until, end);
        }
    }

    /// The figures of `measure` by pool: of the whole, then of each stretch.
    pub(super) fn read(&self, measure: &Measure) -> Vec<PairReading> {
        let mut readings = Vec::new();
        for cells in self.cells.chunks_exact(self.stretches + 1) {
            let mut whole = Cell::default();
            for cell in cells {
                whole.merge(cell);
            }
            readings.push(whole.read(measure));
            if self.each.is_some() {
                readings.extend(cells[..self.stretches].iter().map(|cell| cell.read(measure)));
            }
        }
        readings
    }
}

/// When the token after gap `i` of `run` was out.
fn ended(run: &GapRun, i: u64) -> Time {
    if i == 0 { run.first_end } else { run.first_end + run.line.from_step(1).sum(i).0 }
}

/// The first gap of `run` that ended at `at` or later; as many as there are when none did.
fn first_from(run: &GapRun, at: Time) -> u64 {
    if run.first_end >= at {
        return 0;
    }
    if run.end < at {
        return run.steps;
    }
    let (steps, ..) = run.line.from_step(1).reach(at - run.first_end, run.steps - 1);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::StepLine;
    use proptest::prelude::*;

    fn ledger(each: Option<u64>) -> Ledger {
        let mut ledger =
            Ledger::new(None, each.map(Span::from_nanos), 2, Span::from_nanos(700), Span::from_nanos(9_000));
        ledger.ask(Metric::Itl);
        ledger
    }

    proptest! {
        /// Whatever the widths of stretches, a run of gaps is recorded as its gaps one by one would be.
        #[test]
        fn a_gap_belongs_to_the_stretch_in_which_it_ended(
            a in 1_000_000u64..300_000_000, b in 0u64..40_000_000, steps in 1u64..60, first in 1u64..400,
            start in 400u64..9_000, count in 1u32..5, each in prop::option::of(150u64..5_000), pool in 0u16..2,
        ) {
            let line = StepLine { a, b, quantum_fs: 1_000_000 };
            let first = Span::from_nanos(first);
            let first_end = Time::from_nanos(start);
            let mut at = first_end;
            let mut ends = vec![(at, first)];
            for i in 1..steps {
                at += line.step(i);
                ends.push((at, line.step(i)));
            }
            let run = GapRun {
                workload: 0, pool, count, first, steps, line, first_end,
                last_start: if steps < 3 { first_end } else { ends[steps as usize - 2].0 }, end: at,
            };
            let (mut bulk, mut single) = (ledger(each), ledger(each));
            bulk.gaps(Side::Without, pool, &run);
            for (at, gap) in ends {
                let flat = StepLine { a: gap.as_nanos() * 1_000_000, b: 0, quantum_fs: 1_000_000 };
                let one = GapRun { first: gap, steps: 1, line: flat, first_end: at, last_start: at, end: at, ..run };
                single.gaps(Side::Without, pool, &one);
            }
            let measure = Measure::Mean(Metric::Itl);
            prop_assert_eq!(bulk.read(&measure), single.read(&measure));
            prop_assert_eq!(
                bulk.read(&Measure::Quantile(Metric::Itl, 0.5)),
                single.read(&Measure::Quantile(Metric::Itl, 0.5))
            );
        }
    }
}
