//! Distributions of non-negative quantities, with their mean and coefficient of variation in closed form.
//!
//! One type serves lengths (tokens) and times (seconds): the unit belongs to whoever samples.

use crate::rng::Rng;
use crate::time::Span;
use rand::{Rng as _, RngExt as _};
use rand_distr::{Distribution, Exp, Gamma, LogNormal, Weibull};
use std::sync::Arc;

/// A non-negative distribution, its parameters already checked.
#[derive(Clone, Debug)]
pub struct Dist {
    shape: Shape,
    /// Samples are clipped to `[least, most]`.
    least: f64,
    most: f64,
    /// Mean and CV of the shape before clipping.
    mean: f64,
    cv: f64,
}

#[derive(Clone, Debug)]
enum Shape {
    Constant(f64),
    Uniform { low: f64, width: f64 },
    Exponential(Exp<f64>),
    Lognormal(LogNormal<f64>),
    Gamma(Gamma<f64>),
    Weibull(Weibull<f64>),
    Empirical(Arc<Table>),
}

/// Values with weights, sampled by Walker's alias method: O(1) a draw.
#[derive(Debug)]
struct Table {
    values: Vec<f64>,
    keep: Vec<f64>,
    alias: Vec<u32>,
}

/// Why a distribution cannot exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DistError {
    /// The mean is not a positive finite number.
    #[error("mean `{0}` is not a positive number")]
    Mean(f64),
    /// The coefficient of variation is not positive and finite.
    #[error("cv `{0}` is not in 0.001..=100")]
    Cv(f64),
    /// A range is empty or out of order.
    #[error("range `{0}`..`{1}` is empty")]
    Range(f64, f64),
    /// An empirical table has no usable weight, or a value is not finite.
    #[error("an empirical distribution needs finite values >= 0 and a positive total weight")]
    Weights,
}

impl Dist {
    /// Always `value`.
    pub fn constant(value: f64) -> Result<Self, DistError> {
        if !(value.is_finite() && value >= 0.0) {
            return Err(DistError::Mean(value));
        }
        Ok(Self::new(Shape::Constant(value), value, 0.0))
    }

    /// Uniform on `[low, high]`.
    pub fn uniform(low: f64, high: f64) -> Result<Self, DistError> {
        if !(low.is_finite() && high.is_finite() && low >= 0.0 && low <= high && high > 0.0) {
            return Err(DistError::Range(low, high));
        }
        let mean = f64::midpoint(low, high);
        let cv = (high - low) / 12f64.sqrt() / mean;
        Ok(Self::new(Shape::Uniform { low, width: high - low }, mean, cv))
    }

    /// Exponential with the given mean.
    pub fn exponential(mean: f64) -> Result<Self, DistError> {
        let law = Exp::new(1.0 / positive(mean)?).map_err(|_| DistError::Mean(mean))?;
        Ok(Self::new(Shape::Exponential(law), mean, 1.0))
    }

    /// Lognormal with the given mean and coefficient of variation.
    pub fn lognormal(mean: f64, cv: f64) -> Result<Self, DistError> {
        let law = LogNormal::from_mean_cv(positive(mean)?, spread(cv)?).map_err(|_| DistError::Cv(cv))?;
        Ok(Self::new(Shape::Lognormal(law), mean, cv))
    }

    /// Gamma with the given mean and coefficient of variation (shape 1/cv^2).
    pub fn gamma(mean: f64, cv: f64) -> Result<Self, DistError> {
        let shape = 1.0 / (spread(cv)? * cv);
        let law = Gamma::new(shape, positive(mean)? / shape).map_err(|_| DistError::Cv(cv))?;
        Ok(Self::new(Shape::Gamma(law), mean, cv))
    }

    /// Weibull with the given mean and coefficient of variation; the shape is found by bisection.
    ///
    /// `cv` in 0.05..=20: outside it the shape is not numerically meaningful.
    pub fn weibull(mean: f64, cv: f64) -> Result<Self, DistError> {
        positive(mean)?;
        if !(0.05..=20.0).contains(&cv) {
            return Err(DistError::Cv(cv));
        }
        let (mut low, mut high) = (0.05f64, 40.0f64);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            // The CV falls as the shape grows.
            if weibull_cv(middle) > cv { low = middle } else { high = middle }
        }
        let shape = f64::midpoint(low, high);
        Self::weibull_shape(shape, mean / gamma_fn(1.0 + 1.0 / shape))
    }

    /// Weibull by shape and scale.
    pub fn weibull_shape(shape: f64, scale: f64) -> Result<Self, DistError> {
        let law = Weibull::new(positive(scale)?, positive(shape)?).map_err(|_| DistError::Mean(scale))?;
        Ok(Self::new(Shape::Weibull(law), scale * gamma_fn(1.0 + 1.0 / shape), weibull_cv(shape)))
    }

    /// Gamma by shape and scale.
    pub fn gamma_shape(shape: f64, scale: f64) -> Result<Self, DistError> {
        let law = Gamma::new(positive(shape)?, positive(scale)?).map_err(|_| DistError::Mean(scale))?;
        Ok(Self::new(Shape::Gamma(law), shape * scale, 1.0 / shape.sqrt()))
    }

    /// The given `(value, weight)` pairs, weights need not sum to one.
    pub fn empirical(pairs: &[(f64, f64)]) -> Result<Self, DistError> {
        let total: f64 = pairs.iter().map(|p| p.1).sum();
        let usable = |p: &(f64, f64)| p.0.is_finite() && p.0 >= 0.0 && p.1.is_finite() && p.1 >= 0.0;
        if !(total.is_finite() && total > 0.0 && pairs.iter().all(usable)) {
            return Err(DistError::Weights);
        }
        let mean = pairs.iter().map(|p| p.0 * p.1).sum::<f64>() / total;
        let second = pairs.iter().map(|p| p.0 * p.0 * p.1).sum::<f64>() / total;
        let cv = if mean > 0.0 { (second - mean * mean).max(0.0).sqrt() / mean } else { 0.0 };
        Ok(Self::new(Shape::Empirical(Arc::new(Table::new(pairs, total))), mean, cv))
    }

    fn new(shape: Shape, mean: f64, cv: f64) -> Self {
        Dist { shape, least: 0.0, most: f64::INFINITY, mean, cv }
    }

    /// The same distribution with samples clipped to `[least, most]`.
    pub fn clipped(mut self, least: f64, most: f64) -> Result<Self, DistError> {
        if !(least >= 0.0 && least <= most) {
            return Err(DistError::Range(least, most));
        }
        (self.least, self.most) = (least, most);
        Ok(self)
    }

    /// Mean before clipping.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Coefficient of variation (standard deviation / mean) before clipping.
    pub fn cv(&self) -> f64 {
        self.cv
    }

    /// The largest value a sample can take (infinite when nothing bounds it).
    pub fn most(&self) -> f64 {
        let own = match &self.shape {
            Shape::Constant(value) => *value,
            Shape::Uniform { low, width } => low + width,
            Shape::Empirical(table) => table.values.iter().copied().fold(0.0, f64::max),
            _ => f64::INFINITY,
        };
        own.clamp(self.least, self.most)
    }

    /// One draw, clipped. O(1), no allocation.
    pub fn sample(&self, rng: &mut Rng) -> f64 {
        let raw = match &self.shape {
            Shape::Constant(value) => *value,
            Shape::Uniform { low, width } => low + width * rng.random::<f64>(),
            Shape::Exponential(law) => law.sample(rng),
            Shape::Lognormal(law) => law.sample(rng),
            Shape::Gamma(law) => law.sample(rng),
            Shape::Weibull(law) => law.sample(rng),
            Shape::Empirical(table) => table.sample(rng),
        };
        raw.clamp(self.least, self.most)
    }

    /// One draw as a count of tokens, rounded to nearest, at least 1.
    pub fn sample_tokens(&self, rng: &mut Rng) -> u32 {
        (self.sample(rng).round() as u32).max(1)
    }

    /// One draw in seconds as a span.
    pub fn sample_span(&self, rng: &mut Rng) -> Span {
        Span::from_secs_f64(self.sample(rng))
    }
}

impl Table {
    fn new(pairs: &[(f64, f64)], total: f64) -> Self {
        let count = pairs.len();
        let mut keep: Vec<f64> = pairs.iter().map(|p| p.1 / total * count as f64).collect();
        let mut alias: Vec<u32> = (0..count as u32).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..count).partition(|&i| keep[i] < 1.0);
        while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
            small.pop();
            alias[low] = high as u32;
            keep[high] -= 1.0 - keep[low];
            if keep[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // What rounding left over keeps its own value.
        for index in small.into_iter().chain(large) {
            keep[index] = 1.0;
        }
        Table { values: pairs.iter().map(|p| p.0).collect(), keep, alias }
    }

    fn sample(&self, rng: &mut Rng) -> f64 {
        let index = ((u128::from(rng.next_u64()) * self.values.len() as u128) >> 64) as usize;
        let chosen = if rng.random::<f64>() < self.keep[index] { index } else { self.alias[index] as usize };
        self.values[chosen]
    }
}

fn positive(value: f64) -> Result<f64, DistError> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(DistError::Mean(value)) }
}

fn spread(cv: f64) -> Result<f64, DistError> {
    if (0.001..=100.0).contains(&cv) { Ok(cv) } else { Err(DistError::Cv(cv)) }
}

fn gamma_fn(x: f64) -> f64 {
    statrs::function::gamma::gamma(x)
}

fn weibull_cv(shape: f64) -> f64 {
    let mean = gamma_fn(1.0 + 1.0 / shape);
    (gamma_fn(1.0 + 2.0 / shape) / (mean * mean) - 1.0).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    /// Sample mean and CV of 200,000 draws.
    fn moments(dist: &Dist) -> (f64, f64) {
        let mut rng = stream(1, Purpose::Prompt, 0, 0);
        let draws: Vec<f64> = (0..200_000).map(|_| dist.sample(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, var.sqrt() / mean)
    }

    #[test]
    fn samples_have_the_mean_and_cv_the_closed_form_says() {
        let laws = [
            Dist::uniform(10.0, 30.0),
            Dist::exponential(5.0),
            Dist::lognormal(900.0, 0.8),
            Dist::gamma(3.0, 2.0),
            Dist::weibull(3.0, 1.7),
            Dist::empirical(&[(1.0, 1.0), (10.0, 2.0), (100.0, 0.5)]),
        ];
        for law in laws {
            let law = law.unwrap();
            let (mean, cv) = moments(&law);
            assert!((mean / law.mean() - 1.0).abs() < 0.02, "{law:?}: mean {mean}");
            assert!((cv / law.cv() - 1.0).abs() < 0.04, "{law:?}: cv {cv}");
        }
    }

    #[test]
    fn weibull_by_cv_recovers_the_cv() {
        for cv in [0.1, 0.5, 1.0, 3.0, 10.0] {
            let law = Dist::weibull(2.0, cv).unwrap();
            assert!((law.cv() / cv - 1.0).abs() < 1e-6, "{cv} -> {}", law.cv());
            assert!((law.mean() / 2.0 - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn clipping_bounds_every_sample_and_tokens_are_at_least_one() {
        let law = Dist::lognormal(100.0, 3.0).unwrap().clipped(16.0, 256.0).unwrap();
        let mut rng = stream(3, Purpose::Prompt, 0, 0);
        assert!((0..10_000).map(|_| law.sample(&mut rng)).all(|x| (16.0..=256.0).contains(&x)));
        assert_eq!(Dist::constant(0.0).unwrap().sample_tokens(&mut rng), 1);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(Dist::lognormal(0.0, 1.0).is_err());
        assert!(Dist::lognormal(f64::NAN, 1.0).is_err());
        assert!(Dist::gamma(1.0, 0.0).is_err());
        assert!(Dist::uniform(3.0, 2.0).is_err());
        assert!(Dist::empirical(&[]).is_err());
        assert!(Dist::empirical(&[(1.0, -1.0)]).is_err());
        assert!(Dist::constant(1.0).unwrap().clipped(2.0, 1.0).is_err());
    }
}
