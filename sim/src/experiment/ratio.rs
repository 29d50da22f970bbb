//! Decides claims about the ratio of a figure in two variants that saw the same requests.
//!
//! # The estimator
//! Replication *r* of both variants has the same seed, so their figures rise and fall together and the ratio is known
//! much better than either. In a cell (a pool, the whole horizon or a stretch of it) the estimate is the mean over
//! replications of `ln(figure with / figure without)`, its interval is Student's on those differences (common random
//! numbers: Law, *Simulation Modeling and Analysis*, 2015, section 11.2), both shown as `exp`. Looks are taken and the
//! error is shared among them as [`super::statistics`] has it. A quantile is never known better than its histogram: each
//! side is the upper edge of a bucket of relative width [`RESOLUTION`], so the ratio is known within as much.
//!
//! # All cells at once
//! A claim is one about every cell. *Holds* when the interval of each cell lies on the good side: an intersection-union
//! test, whose level is that of a single test without any correction (Berger, *Technometrics* 24, 1982), because to say
//! wrongly that all are good is to say it wrongly of one that is bad. *Violated* when some cell is on the bad side, and
//! there the number of cells counts: Holm's step-down correction (*Scandinavian Journal of Statistics* 6, 1979) keeps the
//! chance that any good cell is called bad at the level of the look, half of it on this side. Otherwise inconclusive.
//!
//! # What is not a matter of chance
//! Pairs that are all the same to the nanosecond have the ratio 1, exactly. Requests that were let in or completed in
//! one variant only are no chance either: then the two figures are of different requests, and the claim does not hold,
//! whatever they are. What was measured on the others may still violate it.

use super::statistics::{Interval, Kind, Plan, RESOLUTION, t_quantile, tail_samples};
use super::verdict::{Decision, bound_value, keeps, trimmed, unlooked};
use crate::observe::recorder::Reading;
use crate::results::Verdict;
use crate::results::figure::{count, quantile_name};
use crate::scenario::{Bound, Measure};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Requests that a cell needs, completed on both sides, over all replications.
pub const LEAST: u64 = 10_000;

/// What one replication knows of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairReading {
    /// The figure of the scenario; `None` without a sample.
    pub with: Option<Reading>,
    /// The figure of the variant it is compared with.
    pub without: Option<Reading>,
    /// Requests of the cell that both completed.
    pub completed: u64,
    /// Whether all pairs are the same to the nanosecond.
    pub identical: bool,
}

impl PairReading {
    /// Whether nothing was there to be measured.
    fn is_empty(&self) -> bool {
        self.with.is_none() && self.without.is_none() && self.completed == 0
    }
}

/// A pool, the whole horizon or a stretch of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What it is called in a sentence: `pool chat`, `hour 14 of pool chat`.
    pub place: String,
    /// By replication, in order.
    pub readings: Vec<PairReading>,
}

impl Cell {
    /// Whether no replication had anything in it.
    pub fn is_empty(&self) -> bool {
        self.readings.iter().all(PairReading::is_empty)
    }
}

/// What is known of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it says by itself, the number of cells taken into account.
    pub verdict: Verdict,
    /// The ratio, and its interval at the level of the look; `None` when there is none.
    pub ratio: Option<f64>,
    /// As `ratio`.
    pub interval: Option<Interval>,
    /// Geometric means of the figures, with and without.
    pub figures: Option<(f64, f64)>,
    /// Samples that the figures rest on, with and without, over all replications.
    pub samples: (u64, u64),
    /// Requests that both completed, over all replications.
    pub completed: u64,
    /// Why it cannot be judged.
    pub problem: Option<Problem>,
}

/// Why a cell cannot be judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// A figure is not finite, or nothing can be divided by it.
    Broken,
    /// So many replications have no sample.
    Missing(usize),
    /// So few requests; more replications would bring more.
    Few(u64),
    /// So few samples in a replication are fewer than so many.
    Thin(u64, u64),
}

impl Problem {
    fn text(&self, replications: u32, plan: &Plan, measure: &Measure) -> String {
        match self {
            Problem::Broken => "a figure is 0 or not finite".to_owned(),
            Problem::Missing(missing) => {
                format!("{missing} of {replications} {} have no sample", plan.noun())
            }
            Problem::Few(completed) => {
                let (completed, least) = (count(*completed), count(LEAST));
                format!("{completed} completed requests are fewer than the {least} that a ratio needs")
            }
            Problem::Thin(samples, needed) => {
                let name = match measure {
                    Measure::Quantile(_, quantile) => quantile_name(*quantile),
                    _ => "it".to_owned(),
                };
                format!("{samples} samples in a replication are fewer than the {needed} that {name} needs")
            }
        }
    }
}

/// A verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct RatioDecision {
    /// As of any property; its interval and figure are those of the worst cell.
    pub decision: Decision,
    /// By cell, in order.
    pub cells: Vec<Found>,
    /// The cell that the verdict shows; `None` when no cell has a ratio.
    pub worst: Option<usize>,
}

/// Decides whether the ratio of `measure` keeps `bound` (above 0) in every cell, at the look after `replications`.
///
/// Every cell has as many readings. `differences` says what was let in or completed on one side only, when anything was.
/// In this order:
/// 1. Without a cell, before two replications (where anything is random) or at a count that is not a declared look
///    nothing is decided.
/// 2. A cell with a figure that is not finite, a replication without a sample, fewer than [`LEAST`] completed requests or
///    too few samples beyond a quantile in a replication ([`tail_samples`]) says nothing.
/// 3. Where nothing is random the ratio itself is compared with the bound, a quantile's within the resolution of its
///    histogram.
/// 4. Violated when a cell is on the bad side after Holm's correction over all cells; holds when all are on the good
///    side (touching included) and there are no `differences`; otherwise inconclusive.
///
/// O(cells · replications), and a quantile of Student's t.
pub fn decide_ratio(
    cells: &[Cell],
    differences: Option<&str>,
    plan: &Plan,
    replications: u32,
    measure: &Measure,
    bound: Bound,
) -> RatioDecision {
    let alpha = plan.alpha(replications);
    let empty = |reason: String, open: bool| RatioDecision {
        decision: Decision {
            verdict: Verdict::Inconclusive,
            reason,
            interval: None,
            pooled: None,
            alpha,
            replications,
            open,
        },
        cells: Vec::new(),
        worst: None,
    };
    let level = match alpha {
        Some(_) if plan.is_certain() => 0.0,
        Some(alpha) if replications >= 2 => alpha,
        _ => {
            let (reason, open) = unlooked(plan, replications);
            return empty(reason, open);
        }
    };
    if cells.is_empty() {
        return empty("no request was there to be compared".to_owned(), false);
    }
    let known: Vec<Known> = cells.iter().map(|cell| Known::of(cell, measure, bound)).collect();
    // Every cell has as many replications, so one quantile is that of all.
    let t = if level > 0.0 { t_quantile(1.0 - level / 2.0, replications as usize - 1) } else { 0.0 };
    let violated = holm(&known, level / 2.0);
    let found: Vec<Found> =
        known.into_iter().zip(violated).map(|(known, bad)| known.found(t, bound, bad)).collect();
    conclude(found, cells, differences, plan, replications, (measure, bound))
}

/// A cell, measured.
#[derive(Clone, Debug)]
struct Known {
    ratio: Option<Ratio>,
    figures: Option<(f64, f64)>,
    samples: (u64, u64),
    completed: u64,
    problem: Option<Problem>,
    /// The probability of a ratio as bad as this one, or worse, at the bound.
    p: f64,
    /// Whether it is on the bad side of the bound by more than a histogram can be wrong.
    clear: bool,
}

/// A ratio and how well it is known.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    value: f64,
    /// Standard error of its logarithm.
    error: f64,
    /// What its logarithm cannot be known better than.
    grain: f64,
}

impl Ratio {
    /// Interval with `t` standard errors on either side, never narrower than the grain.
    fn interval(&self, t: f64) -> Interval {
        let half = (t * self.error).max(self.grain);
        // Without a width the ends are the ratio to the last bit, so that it may touch a bound.
        let (low, high) = if half == 0.0 {
            (self.value, self.value)
        } else {
            (self.value * (-half).exp(), self.value * half.exp())
        };
        Interval { low, centre: self.value, high }
    }
}

impl Known {
    fn of(cell: &Cell, measure: &Measure, bound: Bound) -> Self {
        let readings = &cell.readings;
        let both = || readings.iter().filter_map(|r| Some((r.with?, r.without?)));
        let completed = readings.iter().map(|r| r.completed).sum();
        let samples = both().fold((0, 0), |sum, (a, b)| (sum.0 + a.samples, sum.1 + b.samples));
        let missing = readings.len() - both().count();
        let identical = readings.iter().all(|r| r.identical);
        let is_sound = |r: Reading| r.value.is_finite() && r.value > 0.0;
        let sound = identical || both().all(|(a, b)| is_sound(a) && is_sound(b));
        let thin = thinnest(readings, measure);
        let problem = if !sound {
            Some(Problem::Broken)
        } else if missing > 0 {
            Some(Problem::Missing(missing))
        } else if completed < LEAST {
            Some(Problem::Few(completed))
        } else {
            thin
        };
        let measured = sound && missing == 0 && !readings.is_empty();
        let pairs: Vec<(f64, f64)> = both().map(|(a, b)| (a.value, b.value)).collect();
        let ratio = measured.then(|| ratio_of(&pairs, identical, measure));
        let (p, clear) = match &ratio {
            Some(ratio) if problem.is_none() => against(ratio, pairs.len(), bound),
            _ => (1.0, false),
        };
        let mean = |get: fn(&(f64, f64)) -> f64| {
            (pairs.iter().map(|pair| get(pair).ln()).sum::<f64>() / pairs.len() as f64).exp()
        };
        let figures = measured.then(|| (mean(|pair| pair.0), mean(|pair| pair.1)));
        Known { ratio, figures, samples, completed, problem, p, clear }
    }

    fn found(self, t: f64, bound: Bound, bad: bool) -> Found {
        let interval = self.ratio.map(|ratio| ratio.interval(t));
        let good = interval.is_some_and(|interval| keeps(worse_end(&interval, bound), bound));
        let verdict = match (bad, good && self.problem.is_none()) {
            (true, _) => Verdict::Violated,
            (false, true) => Verdict::Holds,
            (false, false) => Verdict::Inconclusive,
        };
        Found {
            verdict,
            ratio: self.ratio.map(|ratio| ratio.value),
            interval,
            figures: self.figures,
            samples: self.samples,
            completed: self.completed,
            problem: self.problem,
        }
    }
}

/// The replication with the fewest samples, when they are too few beyond a quantile.
fn thinnest(readings: &[PairReading], measure: &Measure) -> Option<Problem> {
    let Kind::Quantile(quantile) = Kind::of(measure) else { return None };
    let needed = tail_samples(quantile);
    let sides = readings.iter().flat_map(|r| [r.with, r.without]).flatten();
    let least = sides.map(|r| r.samples).min()?;
    (least < needed).then_some(Problem::Thin(least, needed))
}

fn ratio_of(pairs: &[(f64, f64)], identical: bool, measure: &Measure) -> Ratio {
    if identical {
        return Ratio { value: 1.0, error: 0.0, grain: 0.0 };
    }
    let grain = if matches!(Kind::of(measure), Kind::Quantile(_)) { RESOLUTION } else { 0.0 };
    let first = pairs[0].0 / pairs[0].1;
    if pairs.iter().all(|(with, without)| with / without == first) {
        // As it is, and not by way of a logarithm: it may be exactly the bound.
        return Ratio { value: first, error: 0.0, grain };
    }
    let logs: Vec<f64> = pairs.iter().map(|(with, without)| (with / without).ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    Ratio { value: mean.exp(), error: (squares / (n - 1.0) / n).sqrt(), grain }
}

/// One-sided: how likely a ratio so far beyond `bound` is when the truth is `bound`, and whether it is beyond it by more
/// than its grain.
fn against(ratio: &Ratio, replications: usize, bound: Bound) -> (f64, bool) {
    let limit = bound_value(bound);
    let beyond = match bound {
        Bound::AtMost(_) => ratio.value > limit,
        Bound::AtLeast(_) => ratio.value < limit,
    };
    if !beyond {
        return (1.0, false);
    }
    let excess = (ratio.value / limit).ln().abs();
    let clear = excess > ratio.grain;
    if ratio.error == 0.0 {
        return (0.0, clear);
    }
    let freedom = replications as f64 - 1.0;
    let law = StudentsT::new(0.0, 1.0, freedom).expect("an error needs two replications");
    (law.sf(excess / ratio.error), clear)
}

/// Which cells are beyond the bound: smallest probability first, each against `level` divided by the cells that are
/// left, until one is not small enough. At level 0 (nothing is random) all that are beyond it.
fn holm(cells: &[Known], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by(|a, b| cells[*a].p.total_cmp(&cells[*b].p));
    let mut violated = vec![false; cells.len()];
    for (before, index) in order.into_iter().enumerate() {
        let allowed = level / (cells.len() - before) as f64;
        if cells[index].p > allowed {
            break;
        }
        violated[index] = cells[index].clear;
    }
    violated
}

/// The end of an interval that a bound has to fear.
fn worse_end(interval: &Interval, bound: Bound) -> f64 {
    match bound {
        Bound::AtMost(_) => interval.high,
        Bound::AtLeast(_) => interval.low,
    }
}

/// The cell to show: among `chosen`, the one whose worse end is worst.
fn worst_of(found: &[Found], bound: Bound, chosen: impl Fn(&Found) -> bool) -> Option<usize> {
    let ends = found.iter().enumerate().filter(|(_, cell)| chosen(cell));
    let ends = ends.filter_map(|(index, cell)| Some((index, worse_end(cell.interval.as_ref()?, bound))));
    let worse = |a: &(usize, f64), b: &(usize, f64)| match bound {
        Bound::AtMost(_) => a.1.total_cmp(&b.1),
        Bound::AtLeast(_) => b.1.total_cmp(&a.1),
    };
    // The first of equals.
    ends.rev().max_by(worse).map(|(index, _)| index)
}

fn conclude(
    found: Vec<Found>,
    cells: &[Cell],
    differences: Option<&str>,
    plan: &Plan,
    replications: u32,
    (measure, bound): (&Measure, Bound),
) -> RatioDecision {
    let of = |verdict| found.iter().filter(|cell| cell.verdict == verdict).count();
    let (bad, good) = (of(Verdict::Violated), of(Verdict::Holds));
    let judged = |cell: &Found| cell.problem.is_none();
    let worst = if bad > 0 {
        worst_of(&found, bound, |cell| cell.verdict == Verdict::Violated)
    } else {
        worst_of(&found, bound, judged).or_else(|| worst_of(&found, bound, |_| true))
    };
    let alpha = plan.alpha(replications);
    let basis = worst.and_then(|index| {
        let interval = found[index].interval?;
        let place = if cells.len() > 1 { "worst cell: " } else { "" }.to_owned() + &cells[index].place;
        Some(if plan.is_certain() {
            format!("{} (nothing is drawn at random; {place})", shown(interval.centre))
        } else {
            format!(
                "{} ({} % interval {} to {}, {replications} {}; {place})",
                shown(interval.centre),
                trimmed(100.0 * (1.0 - alpha.unwrap_or(0.0)), 2),
                shown(interval.low),
                shown(interval.high),
                plan.noun()
            )
        })
    });
    let basis = basis.unwrap_or_else(|| "no ratio".to_owned());
    let side = match bound {
        Bound::AtMost(_) => "at most",
        Bound::AtLeast(_) => "at least",
    };
    let limit = shown(bound_value(bound));
    let unjudged = found.iter().position(|cell| cell.problem.is_some());
    let (verdict, reason) = if bad > 0 {
        let many =
            if cells.len() > 1 { format!(" in {bad} of {} cells", cells.len()) } else { String::new() };
        (Verdict::Violated, format!("{basis} is not {side} {limit}{many}"))
    } else if let Some(index) = unjudged {
        let number = found.iter().filter(|cell| !judged(cell)).count();
        let problem = found[index].problem.as_ref().expect("it has one");
        let problem = problem.text(replications, plan, measure);
        let many = if number > 1 {
            format!("{number} of {} cells cannot be judged, first ", cells.len())
        } else {
            String::new()
        };
        (Verdict::Inconclusive, format!("{many}{}: {problem}", cells[index].place))
    } else if good < found.len() {
        (Verdict::Inconclusive, format!("{basis} cannot tell whether it is {side} {limit}"))
    } else if let Some(differences) = differences {
        (Verdict::Inconclusive, format!("{basis} is {side} {limit}, but {differences}"))
    } else {
        (Verdict::Holds, format!("{basis} is {side} {limit}"))
    };
    // What no further replication heals keeps it from holding; a cell that has not decided may still violate it.
    let few = |cell: &Found| matches!(cell.problem, Some(Problem::Few(_)));
    let settled = differences.is_some() || found.iter().any(|cell| !judged(cell) && !few(cell));
    let undecided =
        found.iter().any(|cell| few(cell) || (judged(cell) && cell.verdict == Verdict::Inconclusive));
    let open = verdict == Verdict::Inconclusive && !plan.is_certain() && (!settled || undecided);
    let pooled = worst.and_then(|index| {
        let samples = found[index].samples.0.min(found[index].samples.1);
        Some(Reading { value: found[index].ratio?, samples })
    });
    let interval = worst.and_then(|index| found[index].interval);
    RatioDecision {
        decision: Decision { verdict, reason, interval, pooled, alpha, replications, open },
        cells: found,
        worst,
    }
}

/// A ratio for people, four places behind the point at most.
fn shown(ratio: f64) -> String {
    trimmed(ratio, 4)
}

#[cfg(test)]
mod tests;
