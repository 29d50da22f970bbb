//! The linear step law that fits points best.
//!
//! `step = base + per_prefill_token * prefill_tokens + per_decode * decodes + per_context_token * context_tokens`, by least
//! squares of the *relative* error, each point counted as often as it has steps: a step of 8 ms that is wrong by 10 % is as
//! bad as one of 80 ms. What a step takes for each sequence that prefills is not told from what its tokens take
//! (`per_sequence` of a `linear` law): it is in `per_prefill_token`. No coefficient is below 0; one that would be is taken as 0
//! and the others are fitted again without it.
//!
//! A law that is rounded down to quanta is found rounded: its `base` comes out lower by half a quantum.

use super::least_squares::{Dependent, solve};
use super::points::{PointRow, Producer};
use crate::hardware::{FemtosText, FitRange, FittedCoefficient, LinearFit};
use crate::replica::step_time::FEMTOS_PER_NANO;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The coefficients, in order.
pub const NAMES: [&str; 4] = ["base", "per_prefill_token", "per_decode", "per_context_token"];

/// Fewest points of a fit: twice as many as there are coefficients.
pub const LEAST: usize = 8;

/// What a fit is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Points of this producer; of steps where there are any, else of requests, when `None`.
    pub from: Option<Producer>,
    /// Replicas behind the gateway, which the load that a client sees is spread over. At least 1; not used with steps.
    pub replicas: u32,
    /// What the file says of where the points come from.
    pub source: String,
}

/// Why points give no law.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// There are too few of them.
    #[error(
        "{found} points of kind `{}` are fewer than the {LEAST} that a fit needs\n\
         hint: measure longer, or under more than one load", kind.name()
    )]
    Few {
        /// Their kind.
        kind: Producer,
        /// How many there are.
        found: usize,
    },
    /// A coefficient cannot be told from those before it.
    #[error("the points do not tell `{coefficient}` apart from the others: {why}\nhint: {hint}")]
    Unidentified {
        /// Which.
        coefficient: &'static str,
        /// What the points lack.
        why: &'static str,
        /// What to vary.
        hint: &'static str,
    },
    /// A step of nothing would take no time.
    #[error(
        "`base` comes out at {0:.3} us: no step can take that\n\
         hint: the points do not follow a linear law; leave out what is queued or throttled, or measure smaller batches"
    )]
    NoBase(f64),
}

/// A law, and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The law, as it is written to a file.
    pub law: LinearFit,
    /// Whose points it is made of.
    pub from: Producer,
    /// Coefficients that would have been below 0 and were taken as 0.
    pub dropped: Vec<&'static str>,
    /// Points of the other kind, which were not used.
    pub unused: usize,
}

/// Fits the law to `points`.
///
/// # Errors
/// When there are too few points, when they do not tell the coefficients apart, and when they follow no such law.
pub fn fit(points: &[PointRow], options: &Options) -> Result<Fit, FitError> {
    let of = |kind: Producer| points.iter().filter(move |row| row.kind == kind && row.count > 0);
    let from = options.from.unwrap_or_else(|| {
        if of(Producer::Step).next().is_some() { Producer::Step } else { Producer::Request }
    });
    let rows: Vec<&PointRow> = of(from).collect();
    if rows.len() < LEAST {
        return Err(FitError::Few { kind: from, found: rows.len() });
    }
    let spread = match from {
        Producer::Step => 1.0,
        Producer::Request => f64::from(options.replicas.max(1)),
    };
    // A request always has itself; the others are spread evenly.
    let decodes =
        |row: &PointRow| if spread == 1.0 { row.decodes } else { 1.0 + (row.decodes - 1.0) / spread };
    let column = |get: &dyn Fn(&PointRow) -> f64| rows.iter().map(|row| get(row)).collect::<Vec<f64>>();
    let columns = [
        vec![1.0; rows.len()],
        column(&|row| row.prefill_tokens / spread),
        column(&decodes),
        column(&|row| row.context_tokens * decodes(row) / row.decodes.max(1.0)),
    ];
    let target = column(&|row| row.step_ns);
    let weights = column(&|row| row.count as f64 / (row.step_ns * row.step_ns));
    let (found, dropped) = nonnegative(&columns, &target, &weights)?;
    let freedom = rows.len() - (NAMES.len() - dropped.len());
    let law = StudentsT::new(0.0, 1.0, freedom as f64).expect("there are more points than coefficients");
    let t = law.inverse_cdf(0.975);
    let coefficient = |index: usize| {
        let (value, error) = found[index];
        // Nothing is known better than the clock of the points.
        let half = t * error + if index == 0 { 1.0 } else { 0.0 };
        FittedCoefficient {
            value: femtos(value),
            low: femtos((value - half).max(0.0)),
            high: femtos(value + half),
        }
    };
    let predict = |row: usize| -> f64 {
        found.iter().zip(&columns).map(|((value, _), column)| value * column[row]).sum()
    };
    let steps: u64 = rows.iter().map(|row| row.count).sum();
    let logs =
        rows.iter().enumerate().map(|(i, row)| (predict(i) / row.step_ns).ln().powi(2) * row.count as f64);
    let log_error = (logs.sum::<f64>() / steps as f64).sqrt();
    let largest_error = (0..rows.len()).map(|i| (predict(i) / target[i] - 1.0).abs()).fold(0.0, f64::max);
    let most = |column: &[f64]| column.iter().copied().fold(0.0, f64::max).ceil();
    Ok(Fit {
        law: LinearFit {
            kind: "linear".to_owned(),
            source: options.source.clone(),
            points: rows.len() as u64,
            steps,
            r2: explained(&target, &weights, predict),
            log_error,
            largest_error,
            base: coefficient(0),
            per_prefill_token: coefficient(1),
            per_decode: coefficient(2),
            per_context_token: coefficient(3),
            range: FitRange {
                prefill_tokens: most(&columns[1]) as u32,
                decodes: most(&columns[2]) as u32,
                context_tokens: most(&columns[3]) as u64,
            },
        },
        from,
        dropped: dropped.into_iter().map(|index| NAMES[index]).collect(),
        unused: points.len() - rows.len(),
    })
}

/// Value and standard error of each coefficient, and which of them were taken as 0.
type Nonnegative = (Vec<(f64, f64)>, Vec<usize>);

/// Least squares without a coefficient below 0: the lowest is taken out until none is.
fn nonnegative(columns: &[Vec<f64>], target: &[f64], weights: &[f64]) -> Result<Nonnegative, FitError> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    loop {
        let chosen: Vec<Vec<f64>> = kept.iter().map(|index| columns[*index].clone()).collect();
        let solved = solve(&chosen, target, weights).map_err(|Dependent(place)| unidentified(kept[place]))?;
        // The share of the step, so that coefficients of different units are comparable.
        let share = |place: usize| {
            solved.coefficients[place] * chosen[place].iter().sum::<f64>() / target.iter().sum::<f64>()
        };
        let lowest = (0..kept.len()).filter(|place| solved.coefficients[*place] < 0.0);
        let lowest = lowest.min_by(|a, b| share(*a).total_cmp(&share(*b)));
        match lowest {
            Some(place) if kept[place] == 0 => {
                return Err(FitError::NoBase(solved.coefficients[place] / 1e3));
            }
            Some(place) => {
                kept.remove(place);
            }
            None => {
                let mut all = vec![(0.0, 0.0); columns.len()];
                for (place, index) in kept.iter().enumerate() {
                    all[*index] = (solved.coefficients[place], solved.errors[place]);
                }
                let dropped = (0..columns.len()).filter(|index| !kept.contains(index)).collect();
                return Ok((all, dropped));
            }
        }
    }
}

fn unidentified(index: usize) -> FitError {
    let (why, hint) = match index {
        1 => (
            "no step processes prompts, or all process as much",
            "send prompts of different lengths, at different rates",
        ),
        2 => ("all steps decode as many sequences", "measure under different numbers of requests at once"),
        3 => (
            "the context grows in step with the sequences that decode",
            "send prompts (or ask for answers) of different lengths under the same number of requests at once",
        ),
        _ => ("there is no step", "measure something"),
    };
    FitError::Unidentified { coefficient: NAMES[index], why, hint }
}

/// The share of the weighted variance of `target` that the prediction explains.
fn explained(target: &[f64], weights: &[f64], predict: impl Fn(usize) -> f64) -> f64 {
    let total: f64 = weights.iter().sum();
    let mean = target.iter().zip(weights).map(|(y, w)| y * w).sum::<f64>() / total;
    let around = |value: &dyn Fn(usize) -> f64| {
        let squares = target.iter().zip(weights).enumerate();
        squares.map(|(i, (y, w))| w * (y - value(i)).powi(2)).sum::<f64>()
    };
    let spread = around(&|_| mean);
    if spread == 0.0 { 1.0 } else { 1.0 - around(&predict) / spread }
}

/// Nanoseconds as whole femtoseconds.
fn femtos(ns: f64) -> FemtosText {
    FemtosText((ns * FEMTOS_PER_NANO as f64).round() as u64)
}
