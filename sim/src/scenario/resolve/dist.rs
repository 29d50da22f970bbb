//! Distributions: parameters that must agree, and the law itself.

use crate::dist::{Dist, DistError};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::dist_file::{DistFile, LawFile, Magnitude, MeanCvFile, Quantity};

/// The law a file describes, in tokens, turns or seconds.
pub(super) fn dist<Q: Quantity>(file: &At<DistFile<Q>>, errors: &mut Errors) -> Option<Dist> {
    let law = match &file.value {
        DistFile::Single(value) => return made(Dist::constant(value.magnitude()), &file.place, errors),
        DistFile::Law(law) => law,
    };
    match law {
        LawFile::Constant(law) => made(Dist::constant(law.value.value.magnitude()), &law.value.place, errors),
        LawFile::Uniform(law) => {
            let (least, most) = (law.least.value.magnitude(), law.most.value.magnitude());
            if least > most {
                errors.refuse(
                    &law.most.place,
                    format!("`most` is below `least`: the range {least}..={most} is empty"),
                );
                return None;
            }
            made(Dist::uniform(least, most), &law.most.place, errors)
        }
        LawFile::Exponential(law) => {
            let made = made(Dist::exponential(law.mean.value.magnitude()), &law.mean.place, errors);
            clipped::<Q>(made, &law.mean, &law.least, &law.most, errors)
        }
        LawFile::Lognormal(law) => by_mean_and_cv::<Q>(law, Dist::lognormal, errors),
        LawFile::Gamma(law) => by_mean_and_cv::<Q>(law, Dist::gamma, errors),
        LawFile::Weibull(law) => {
            weibull_cv(law.cv.value.0, &law.cv.place, errors)?;
            by_mean_and_cv::<Q>(law, Dist::weibull, errors)
        }
        LawFile::Empirical(law) => {
            let values = &law.values.value;
            if let Some(weights) = &law.weights
                && weights.value.len() != values.len()
            {
                let message = format!("`{}` weights for {} values", weights.value.len(), values.len());
                errors.refuse(&weights.place, message);
                return None;
            }
            let weight = |i: usize| law.weights.as_ref().map_or(1.0, |weights| weights.value[i].value.0);
            let pairs: Vec<(f64, f64)> =
                values.iter().enumerate().map(|(i, at)| (at.value.magnitude(), weight(i))).collect();
            let place = law.weights.as_ref().map_or(&law.values.place, |weights| &weights.place);
            made(Dist::empirical(&pairs), place, errors)
        }
    }
}

/// The Weibull law by CV is solved numerically, in a narrower range than the others.
pub(super) fn weibull_cv(cv: f64, place: &Place, errors: &mut Errors) -> Option<()> {
    if (0.05..=20.0).contains(&cv) {
        return Some(());
    }
    errors.refuse_with(
        place,
        format!("`{cv}` is not in 0.05..=20, where a Weibull law can be found"),
        "use `gamma`",
    );
    None
}

/// Smallest and largest value that can be drawn, as far as the file bounds them.
pub(super) fn bounds<Q: Quantity>(file: &DistFile<Q>) -> (Option<f64>, Option<f64>) {
    let of = |bound: &Option<At<Q::Value>>| bound.as_ref().map(|at| at.value.magnitude());
    let law = match file {
        DistFile::Single(value) => return (Some(value.magnitude()), Some(value.magnitude())),
        DistFile::Law(law) => law,
    };
    match law {
        LawFile::Constant(law) => {
            let value = law.value.value.magnitude();
            (Some(value), Some(value))
        }
        LawFile::Uniform(law) => (Some(law.least.value.magnitude()), Some(law.most.value.magnitude())),
        LawFile::Exponential(law) => (of(&law.least), of(&law.most)),
        LawFile::Lognormal(law) | LawFile::Gamma(law) | LawFile::Weibull(law) => {
            (of(&law.least), of(&law.most))
        }
        LawFile::Empirical(law) => {
            let values = || law.values.value.iter().map(|at| at.value.magnitude());
            (values().reduce(f64::min), values().reduce(f64::max))
        }
    }
}

fn by_mean_and_cv<Q: Quantity>(
    law: &MeanCvFile<Q>,
    make: impl Fn(f64, f64) -> Result<Dist, DistError>,
    errors: &mut Errors,
) -> Option<Dist> {
    let made = made(make(law.mean.value.magnitude(), law.cv.value.0), &law.mean.place, errors);
    clipped::<Q>(made, &law.mean, &law.least, &law.most, errors)
}

fn clipped<Q: Quantity>(
    dist: Option<Dist>,
    mean: &At<Q::Mean>,
    least: &Option<At<Q::Value>>,
    most: &Option<At<Q::Value>>,
    errors: &mut Errors,
) -> Option<Dist> {
    let dist = dist?;
    let low = least.as_ref().map_or(0.0, |at| at.value.magnitude());
    let high = most.as_ref().map_or(f64::INFINITY, |at| at.value.magnitude());
    if low > high {
        let place = &most.as_ref()?.place;
        errors.refuse(place, format!("`most` is below `least`: the range {low}..={high} is empty"));
        return None;
    }
    let centre = mean.value.magnitude();
    if !(low..=high).contains(&centre) {
        let range = if high.is_finite() { format!("{low}..={high}") } else { format!("{low}..") };
        errors.refuse_with(
            &mean.place,
            format!("the mean `{centre}` is outside {range}, to which draws are clipped"),
            "`mean` is that of the law before clipping",
        );
        return None;
    }
    made(dist.clipped(low, high), &mean.place, errors)
}

fn made(dist: Result<Dist, DistError>, place: &Place, errors: &mut Errors) -> Option<Dist> {
    match dist {
        Ok(dist) => Some(dist),
        Err(error) => {
            let message = match error {
                DistError::Weights => "no value has a weight above `0`".to_owned(),
                other => other.to_string(),
            };
            errors.refuse(place, message);
            None
        }
    }
}
