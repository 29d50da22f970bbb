//! Intervals across replications, and how the allowed error is shared among the looks.
//!
//! # The interval
//! Replications are independent by construction (their streams do not overlap), so the classical interval applies:
//! `centre ± t(n - 1) * s / sqrt(n)`. The centre is the figure of the *pooled* data, not the mean of the
//! replications' figures, and `s` is the spread of the replications around it. This is *sectioning* (Asmussen and
//! Glynn, *Stochastic Simulation*, 2007, section III.5; Nakayama, ACM TOMACS 24(4), 2014).
//!
//! For a linear figure (a rate, a share of equally many requests) both centres agree. For a quantile they do not:
//! the sample quantile of `m` observations is biased by O(1/m), and a mean over replications keeps that bias however
//! many replications there are, while its interval shrinks around the wrong number. The pooled quantile has the
//! bias of all observations together: of p99 of an exponential law, 40 replications of 1,000, the mean over
//! replications gives 18 % false `Holds` where 2.5 % are allowed, the pooled quantile 2.4 %
//! (`quantile_intervals_centre_on_the_pooled_data`). What remains is that each replication must reach into its own
//! tail for `s` to mean anything: [`tail_samples`] states how many samples that takes. Even then, ten replications
//! with that minimum err 3.3 % instead of 2.5 % on the side of `Holds`.
//!
//! # The looks
//! Verdicts may be taken at several counts of replications declared beforehand. Look `k` uses an interval of level
//! `1 - alpha_k`, where the `alpha_k` sum to the allowed `alpha`: the linear member of the spending functions of
//! Lan and DeMets (Biometrika 70, 1983), `alpha(t) = alpha * t` with `t` the share of the replications planned.
//!
//! *The total error is at most `alpha`.* Let the true figure lie on the wrong side of the bound. A false `Holds` at
//! look `k` needs an interval that misses the true figure on one given side, which happens with probability
//! `alpha_k / 2`. A false `Holds` at any look is the union of these events, so by Boole's inequality its
//! probability is at most `sum alpha_k / 2 = alpha / 2`; likewise a false `Violated`. Nothing is assumed of how the
//! looks depend on each other, nor of why a run went on to the next one, so other properties may decide that.
//! O'Brien-Fleming-like spending would save more for the last look, but asks 6.3 standard errors of a first look at
//! 10 of 40 replications where the linear one asks 3.1: early looks are there to be used.

use crate::observe::recorder::Reading;
use crate::scenario::Measure;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;

/// Error allowed over all looks, two-sided: verdicts and intervals are at 95 %.
pub const ALPHA: f64 = 0.05;

/// Relative width of a histogram bucket at three significant digits: no quantile is known better.
pub const RESOLUTION: f64 = 1e-3;

/// What kind of figure an interval is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A quantile in `(0, 1)`, read from a histogram.
    Quantile(f64),
    /// A share of requests or of jobs, in `[0, 1]`; of requests of jobs, too, whose samples are the jobs.
    Share,
    /// Anything else that is not negative: a mean, a rate.
    Amount,
}

impl Kind {
    /// The kind of `measure`.
    pub fn of(measure: &Measure) -> Self {
        match *measure {
            Measure::Quantile(_, quantile) | Measure::JobQuantile(quantile) => Kind::Quantile(quantile),
            Measure::Share(_) | Measure::GoodputShare | Measure::Jobs(_) => Kind::Share,
            Measure::Mean(_)
            | Measure::JobMean
            | Measure::Throughput
            | Measure::TokenThroughput
            | Measure::GoodputRate
            | Measure::Utilization
            | Measure::Amplification
            | Measure::Wasted
            | Measure::Cost
            | Measure::CostPerMillionTokens
            | Measure::Replicas => Kind::Amount,
        }
    }
}

/// Everything known of one figure: its reading in each replication, and in all of them pooled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// By replication, in order; `None` where it had no sample.
    pub readings: Vec<Option<Reading>>,
    /// Of the merged data of the same replications; `None` when none had a sample.
    pub pooled: Option<Reading>,
}

impl Evidence {
    /// The readings that exist.
    pub fn present(&self) -> impl Iterator<Item = Reading> + '_ {
        self.readings.iter().flatten().copied()
    }

    /// Replications that had no sample.
    pub fn missing(&self) -> usize {
        self.readings.iter().filter(|r| r.is_none()).count()
    }

    /// Whether a reading is NaN or infinite.
    pub fn is_broken(&self) -> bool {
        self.present().chain(self.pooled).any(|r| !r.value.is_finite())
    }
}

/// A confidence interval in the figure's own unit, `low <= centre <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The figure of the pooled data.
    pub centre: f64,
    /// Upper end.
    pub high: f64,
}

/// The two-sided interval of level `1 - alpha`, `alpha` in `(0, 1)`, over the replications that have a reading.
///
/// `None` with fewer than two readings (one replication says nothing of its own spread) or when one is not finite.
/// Equal readings give an interval of no width, except where more is known: a quantile is never known better than
/// the histogram's [`RESOLUTION`], and a share never better than as many independent requests would tell (Clopper
/// and Pearson 1934; for no event in `n` this is the "rule of three", about `3.7 / n` at 95 %). Ends are clipped to
/// what the figure can be. O(readings).
pub fn interval(evidence: &Evidence, kind: Kind, alpha: f64) -> Option<Interval> {
    assert!(alpha > 0.0 && alpha < 1.0, "error level {alpha} is not in (0, 1)");
    let count = evidence.present().count();
    if count < 2 || evidence.is_broken() {
        return None;
    }
    let pooled = evidence.pooled?;
    let centre = pooled.value;
    let squares: f64 = evidence.present().map(|r| (r.value - centre).powi(2)).sum();
    let error = (squares / (count - 1) as f64 / count as f64).sqrt();
    let half = if error > 0.0 { t_quantile(1.0 - alpha / 2.0, count - 1) * error } else { 0.0 };
    let (low, high) = match kind {
        Kind::Amount => (centre - half, centre + half),
        Kind::Quantile(_) => {
            let half = half.max(RESOLUTION * centre);
            (centre - half, centre + half)
        }
        Kind::Share => {
            let (least, most) = clopper_pearson(centre, pooled.samples, alpha);
            ((centre - half).min(least), (centre + half).max(most).min(1.0))
        }
    };
    Some(Interval { low: low.max(0.0), centre, high })
}

/// What is known of a figure in which nothing is random: itself, a quantile within the histogram's [`RESOLUTION`].
pub fn certainty(pooled: Reading, kind: Kind) -> Interval {
    let half = if matches!(kind, Kind::Quantile(_)) { RESOLUTION * pooled.value } else { 0.0 };
    Interval { low: pooled.value - half, centre: pooled.value, high: pooled.value + half }
}

/// Quantile `p` in `(0, 1)` of Student's t with `freedom >= 1` degrees of freedom.
pub fn t_quantile(p: f64, freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom as f64).expect("at least one degree of freedom").inverse_cdf(p)
}

/// Two-sided interval for a share of `samples` independent trials: exact, or Wilson's (1927) where a thousand trials
/// and more lie on either side, where the two differ by about a hundredth of their width.
fn clopper_pearson(share: f64, samples: u64, alpha: f64) -> (f64, f64) {
    let trials = samples as f64;
    let hits = (share * trials).round().clamp(0.0, trials);
    if trials == 0.0 {
        return (0.0, 1.0);
    }
    if hits > trials / 2.0 {
        let (low, high) = few_hits(trials - hits, trials, alpha);
        return (1.0 - high, 1.0 - low);
    }
    few_hits(hits, trials, alpha)
}

/// [`clopper_pearson`] where at most half of the trials are hits.
fn few_hits(hits: f64, trials: f64, alpha: f64) -> (f64, f64) {
    if hits >= 1_000.0 {
        let z = Normal::standard().inverse_cdf(1.0 - alpha / 2.0);
        let (share, spread) = (hits / trials, z * z / trials);
        let middle = share + spread / 2.0;
        let half = (spread * (share * (1.0 - share) + spread / 4.0)).sqrt();
        return ((middle - half) / (1.0 + spread), (middle + half) / (1.0 + spread));
    }
    // P(at least h hits) = I_p(h, n - h + 1). Bisection, because the library's inverse does not end for large n.
    let solve = |h: f64, target: f64| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if beta_reg(h, trials - h + 1.0, middle) < target { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let low = if hits == 0.0 { 0.0 } else { solve(hits, alpha / 2.0) };
    (low, solve(hits + 1.0, 1.0 - alpha / 2.0))
}

/// Samples that a quantile needs in every replication before a verdict may rest on it: ten beyond the quantile.
///
/// "Beyond" is on the thinner side: p1 needs as many as p99. `u64::MAX` for a minimum or maximum, which no number
/// of samples settles.
pub fn tail_samples(quantile: f64) -> u64 {
    let beyond = quantile.min(1.0 - quantile).max(f64::MIN_POSITIVE);
    // The subtraction above may leave the quotient a hair over a whole number.
    (10.0 / beyond * (1.0 - 1e-9)).ceil() as u64
}

/// The looks declared beforehand, and the error each may spend.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    looks: Vec<u32>,
    spend: Vec<f64>,
    certain: bool,
    blocks: bool,
}

impl Plan {
    /// Spends [`ALPHA`] over `looks`, which are strictly increasing counts of replications, at least one of them.
    ///
    /// A look at a single replication can decide nothing, so it spends nothing.
    pub fn new(looks: &[u32]) -> Self {
        assert!(
            !looks.is_empty() && looks[0] > 0,
            "a plan needs a look at one replication or more: {looks:?}"
        );
        assert!(looks.is_sorted_by(|a, b| a < b), "looks must increase: {looks:?}");
        let most = f64::from(*looks.last().expect("checked above"));
        let mut before = 0;
        let spend = looks
            .iter()
            .map(|&look| {
                if look < 2 {
                    return 0.0;
                }
                let share = f64::from(look - before) / most;
                before = look;
                ALPHA * share
            })
            .collect();
        Plan { looks: looks.to_vec(), spend, certain: false, blocks: false }
    }

    /// One look at one replication of something in which nothing is drawn at random: its figures are the truth.
    pub fn certain() -> Self {
        Plan { looks: vec![1], spend: vec![0.0], certain: true, blocks: false }
    }

    /// One look at `count` blocks of a live run, at least one. Their number is fixed before the first is played, so the
    /// look may spend all of [`ALPHA`]; when fewer were played to their end, nothing is decided.
    pub fn blocks(count: u32) -> Self {
        Plan { blocks: true, ..Plan::new(&[count]) }
    }

    /// Whether its replications are blocks of a live run.
    pub fn is_of_blocks(&self) -> bool {
        self.blocks
    }

    /// What its replications are called in a sentence.
    pub fn noun(&self) -> &'static str {
        if self.blocks { "blocks" } else { "replications" }
    }

    /// Whether nothing is random, so that figures are not estimates.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// The counts of replications at which verdicts are taken.
    pub fn looks(&self) -> &[u32] {
        &self.looks
    }

    /// The error that the look at `replications` may spend; `None` when that look was not declared.
    pub fn alpha(&self, replications: u32) -> Option<f64> {
        self.looks.binary_search(&replications).ok().map(|index| self.spend[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::Dist;
    use crate::rng::{Purpose, Rng, stream};
    use proptest::prelude::*;

    fn evidence(values: &[f64]) -> Evidence {
        let readings = values.iter().map(|&value| Some(Reading { value, samples: 1_000 })).collect();
        let value = values.iter().sum::<f64>() / values.len() as f64;
        Evidence { readings, pooled: Some(Reading { value, samples: 1_000 * values.len() as u64 }) }
    }

    /// The value of the rank that a histogram would report.
    fn rank(draws: &mut [f64], quantile: f64) -> f64 {
        let rank = ((quantile * draws.len() as f64).next_down().ceil() as usize).clamp(1, draws.len());
        *draws.select_nth_unstable_by(rank - 1, f64::total_cmp).1
    }

    fn normal(rng: &mut Rng) -> f64 {
        rand_distr::Distribution::<f64>::sample(&rand_distr::StandardNormal, rng)
    }

    #[test]
    fn t_quantiles_are_the_tabulated_ones() {
        for (p, freedom, table) in [
            (0.975, 1, 12.7062),
            (0.975, 9, 2.26216),
            (0.975, 39, 2.02269),
            (0.995, 9, 3.24984),
            (0.995, 4, 4.60409),
        ] {
            assert!(
                (t_quantile(p, freedom) - table).abs() < 2e-4,
                "{p} {freedom}: {}",
                t_quantile(p, freedom)
            );
        }
    }

    #[test]
    fn the_interval_is_the_one_worked_by_hand() {
        // Mean 10, s = 2, n = 5: 10 +- 2.776 * 2 / sqrt(5).
        let values = [8.0, 8.0, 10.0, 12.0, 12.0];
        let found = interval(&evidence(&values), Kind::Amount, 0.05).unwrap();
        assert!((found.high - 10.0 - 2.776_445 * 2.0 / 5f64.sqrt()).abs() < 1e-4, "{found:?}");
        assert!((found.high + found.low - 20.0).abs() < 1e-12);
    }

    #[test]
    fn one_reading_or_a_broken_one_has_no_interval() {
        assert_eq!(interval(&evidence(&[1.0]), Kind::Amount, 0.05), None);
        assert_eq!(interval(&Evidence::default(), Kind::Amount, 0.05), None);
        assert_eq!(interval(&evidence(&[1.0, f64::NAN, 2.0]), Kind::Amount, 0.05), None);
        assert_eq!(interval(&evidence(&[1.0, f64::INFINITY]), Kind::Amount, 0.05), None);
        let mut gap = evidence(&[1.0, 3.0]);
        gap.readings.push(None);
        assert_eq!(interval(&gap, Kind::Amount, 0.05), interval(&evidence(&[1.0, 3.0]), Kind::Amount, 0.05));
        assert_eq!(gap.missing(), 1);
    }

    #[test]
    fn equal_readings_are_as_sure_as_the_figure_allows() {
        let same = evidence(&[5.0; 10]);
        assert_eq!(
            interval(&same, Kind::Amount, 0.05).unwrap(),
            Interval { low: 5.0, centre: 5.0, high: 5.0 }
        );
        let read = interval(&same, Kind::Quantile(0.5), 0.05).unwrap();
        assert_eq!((read.low, read.high), (4.995, 5.005));
        // Nothing seen in 10,000: the rule of three (3.689 / n at 97.5 % one-sided).
        let none = interval(&evidence(&[0.0; 10]), Kind::Share, 0.05).unwrap();
        assert!(none.low == 0.0 && (none.high / 3.688e-4 - 1.0).abs() < 1e-3, "{none:?}");
        let all = interval(&evidence(&[1.0; 10]), Kind::Share, 0.05).unwrap();
        assert!(all.high == 1.0 && (1.0 - all.low - none.high).abs() < 1e-12, "{all:?}");
    }

    #[test]
    fn shares_of_rare_events_are_no_surer_than_independent_requests_allow() {
        // Published Clopper-Pearson values: 1 of 10, and (Poisson limit) 1 of a million: 0.0253 to 5.572.
        let (low, high) = clopper_pearson(0.1, 10, 0.05);
        assert!((low - 0.002_53).abs() < 1e-5 && (high - 0.445_02).abs() < 1e-5, "{low} {high}");
        for samples in [1_000_000u64, 1_000_000_000] {
            let n = samples as f64;
            let (low, high) = clopper_pearson(1.0 / n, samples, 0.05);
            assert!((low * n - 0.025_318).abs() < 1e-4 && (high * n - 5.5716).abs() < 1e-3, "{low} {high}");
        }
        // Where the exact one hands over to Wilson's, they agree to a trial: a hundredth of the width.
        let (exact, wilson) = (few_hits(999.0, 1e6, 0.05), few_hits(1_000.0, 1e6, 0.05));
        assert!(((wilson.0 - exact.0) * 1e6 - 1.0).abs() < 1.2, "{exact:?} {wilson:?}");
        assert!(((wilson.1 - exact.1) * 1e6 - 1.0).abs() < 1.2, "{exact:?} {wilson:?}");
        // A share far from the ends, of a billion: the normal limit.
        let (low, high) = clopper_pearson(0.3, 1_000_000_000, 0.05);
        let half = 1.959_964 * (0.3f64 * 0.7 / 1e9).sqrt();
        assert!(((high - low) / 2.0 / half - 1.0).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn ninety_five_percent_intervals_cover_ninety_five_times_in_a_hundred() {
        // 20,000 experiments of 10 replications each (standard error of a coverage: 0.15 %), seed 1.
        let mut rng = stream(1, Purpose::Bootstrap, 0, 0);
        let trials = 20_000;
        let mut covered = 0;
        for _ in 0..trials {
            let values: Vec<f64> = (0..10).map(|_| 100.0 + normal(&mut rng)).collect();
            let found = interval(&evidence(&values), Kind::Amount, 0.05).unwrap();
            covered += u32::from(found.low <= 100.0 && 100.0 <= found.high);
        }
        let coverage = f64::from(covered) / f64::from(trials);
        assert!((0.93..=0.97).contains(&coverage), "coverage {coverage}");
        assert!((coverage - 0.95).abs() < 0.005, "exact for normal readings, found {coverage}");
    }

    /// Share of `trials` experiments whose interval for p99 of an exponential lies below the truth (false `Holds`
    /// of an upper bound): centred on the mean of the replications' quantiles, and on the pooled quantile.
    fn below(runs: usize, each: usize, trials: u32) -> (f64, f64) {
        let law = Dist::exponential(1.0).unwrap();
        let truth = 100f64.ln();
        let mut rng = stream(2, Purpose::Bootstrap, 0, 0);
        let (mut by_mean, mut by_pool) = (0, 0);
        for _ in 0..trials {
            let mut all: Vec<f64> = (0..runs * each).map(|_| law.sample(&mut rng)).collect();
            let values: Vec<f64> = all.chunks_mut(each).map(|draws| rank(draws, 0.99)).collect();
            let mut known = evidence(&values);
            by_mean += u32::from(interval(&known, Kind::Amount, 0.05).unwrap().high <= truth);
            known.pooled = Some(Reading { value: rank(&mut all, 0.99), samples: (runs * each) as u64 });
            by_pool += u32::from(interval(&known, Kind::Amount, 0.05).unwrap().high <= truth);
        }
        (f64::from(by_mean) / f64::from(trials), f64::from(by_pool) / f64::from(trials))
    }

    #[test]
    fn quantile_intervals_centre_on_the_pooled_data() {
        // The stated minimum of samples in each replication, seed 2; 2.5 % would be nominal.
        for (runs, trials, most) in [(10, 4_000, 0.045), (40, 2_000, 0.040)] {
            let each = tail_samples(0.99) as usize;
            let (by_mean, by_pool) = below(runs, each, trials);
            assert!(by_pool < most, "{runs} replications: {by_pool}");
            assert!(by_mean > 1.5 * by_pool, "{runs} replications: {by_mean} against {by_pool}");
        }
    }

    proptest! {
        #[test]
        fn wider_with_less_error_allowed_and_always_around_the_centre(
            values in prop::collection::vec(0.0f64..1e12, 2..50), alpha in 1e-6f64..0.5,
        ) {
            for kind in [Kind::Amount, Kind::Quantile(0.9)] {
                let tight = interval(&evidence(&values), kind, alpha).unwrap();
                let loose = interval(&evidence(&values), kind, alpha / 2.0).unwrap();
                prop_assert!(tight.low <= tight.centre && tight.centre <= tight.high);
                prop_assert!(loose.low <= tight.low && tight.high <= loose.high);
                prop_assert!(tight.low >= 0.0);
            }
        }

        #[test]
        fn shares_stay_between_nothing_and_all(values in prop::collection::vec(0.0f64..=1.0, 2..50)) {
            let found = interval(&evidence(&values), Kind::Share, 0.05).unwrap();
            prop_assert!(0.0 <= found.low && found.low <= found.high && found.high <= 1.0);
        }

        #[test]
        fn a_plan_spends_exactly_the_allowed_error(steps in prop::collection::vec(1u32..50, 1..12)) {
            let looks: Vec<u32> = steps.iter().scan(1, |n, s| { *n += s; Some(*n) }).collect();
            let plan = Plan::new(&looks);
            let spent: f64 = looks.iter().map(|&n| plan.alpha(n).unwrap()).sum();
            prop_assert!((spent - ALPHA).abs() < 1e-12);
            prop_assert_eq!(plan.alpha(looks[0] - 1), None);
        }
    }

    #[test]
    fn a_look_at_one_replication_spends_nothing() {
        let plan = Plan::new(&[1, 10, 20]);
        assert_eq!(plan.alpha(1), Some(0.0));
        assert_eq!((plan.alpha(10), plan.alpha(20)), (Some(0.025), Some(0.025)));
    }

    #[test]
    fn quantiles_need_samples_beyond_them() {
        assert_eq!(tail_samples(0.99), 1_000);
        assert_eq!(tail_samples(0.999), 10_000);
        assert_eq!(tail_samples(0.5), 20);
        assert_eq!(tail_samples(0.01), 1_000);
        assert_eq!(tail_samples(1.0), u64::MAX);
    }

    #[test]
    fn the_library_inverts_t_wherever_a_plan_can_ask() {
        for freedom in [1, 2, 3, 4, 9, 19, 39, 99, 999, 9_999] {
            for alpha in [0.5, 0.05, 0.0125, 0.001, 1e-5] {
                let found = t_quantile(1.0 - alpha / 2.0, freedom);
                let back = StudentsT::new(0.0, 1.0, freedom as f64).unwrap().sf(found);
                assert!((back / (alpha / 2.0) - 1.0).abs() < 1e-4, "{freedom} {alpha}: {found} gives {back}");
            }
        }
    }
}
