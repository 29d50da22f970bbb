//! The rules one by one, and the errors of the whole in thousands of experiments whose truth is known.

use super::*;
use crate::rng::{Purpose, Rng, stream};
use crate::scenario::Metric;
use proptest::prelude::*;

const P99: Measure = Measure::Quantile(Metric::E2e, 0.99);
const MEAN: Measure = Measure::Mean(Metric::E2e);
const BOUND: Bound = Bound::AtMost(1.05);

/// A cell with `each` requests a replication and these ratios to 800 ms.
fn cell(place: &str, ratios: &[f64], each: u64) -> Cell {
    let reading = |value: f64| Some(Reading { value, samples: each });
    let pair = |ratio: &f64| PairReading {
        with: reading(8e8 * ratio),
        without: reading(8e8),
        completed: each,
        identical: false,
    };
    Cell { place: place.to_owned(), readings: ratios.iter().map(pair).collect() }
}

fn decide_cells(cells: &[Cell], measure: &Measure, bound: Bound) -> RatioDecision {
    let replications = cells[0].readings.len() as u32;
    decide_ratio(cells, None, &Plan::new(&[replications]), replications, measure, bound)
}

fn decide_one(ratios: &[f64], measure: &Measure, bound: Bound) -> RatioDecision {
    decide_cells(&[cell("pool chat", ratios, 10_000)], measure, bound)
}

fn around(centre: f64) -> [f64; 5] {
    [centre - 0.01, centre, centre + 0.01, centre - 0.005, centre + 0.005]
}

#[test]
fn the_interval_decides_on_either_side_and_abstains_astride() {
    for measure in [MEAN, P99] {
        let verdict = |centre: f64, bound| decide_one(&around(centre), &measure, bound).decision.verdict;
        assert_eq!(verdict(1.0, BOUND), Verdict::Holds);
        assert_eq!(verdict(1.1, BOUND), Verdict::Violated);
        assert_eq!(verdict(1.05, BOUND), Verdict::Inconclusive);
        // The mirror.
        assert_eq!(verdict(1.1, Bound::AtLeast(1.05)), Verdict::Holds);
        assert_eq!(verdict(1.0, Bound::AtLeast(1.05)), Verdict::Violated);
        assert_eq!(verdict(1.05, Bound::AtLeast(1.05)), Verdict::Inconclusive);
    }
    let found = decide_one(&around(1.05), &MEAN, BOUND).decision;
    assert!(found.open);
    assert_eq!(
        found.reason,
        "1.05 (95 % interval 1.0402 to 1.0598, 5 replications; pool chat) cannot tell whether it is at most 1.05"
    );
}

#[test]
fn the_interval_is_the_one_worked_by_hand() {
    // Logarithms -0.02, 0, 0.02, 0.02, -0.02: mean 0, s = 0.02, n = 5: exp(+- 2.776 * 0.02 / sqrt(5)).
    let ratios = [-0.02f64, 0.0, 0.02, 0.02, -0.02].map(f64::exp);
    let found = decide_one(&ratios, &MEAN, BOUND).decision.interval.unwrap();
    let half = 2.776_445 * 0.02 / 5f64.sqrt();
    assert!((found.centre - 1.0).abs() < 1e-12);
    assert!((found.high.ln() - half).abs() < 1e-7 && (found.low.ln() + half).abs() < 1e-7, "{found:?}");
}

#[test]
fn where_nothing_is_random_the_point_decides_to_the_fourth_place() {
    let ask = |ratio: f64, measure: &Measure, each: u64| {
        decide_ratio(&[cell("pool chat", &[ratio], each)], None, &Plan::certain(), 1, measure, BOUND)
    };
    for (ratio, verdict) in
        [(1.0499, Verdict::Holds), (1.05, Verdict::Holds), (1.0501, Verdict::Violated), (0.5, Verdict::Holds)]
    {
        assert_eq!(ask(ratio, &MEAN, 10_000).decision.verdict, verdict, "{ratio}");
    }
    assert_eq!(
        ask(1.0501, &MEAN, 10_000).decision.reason,
        "1.0501 (nothing is drawn at random; pool chat) is not at most 1.05"
    );
    let few = ask(1.0499, &MEAN, 9_999).decision;
    assert_eq!((few.verdict, few.open), (Verdict::Inconclusive, false));
    assert_eq!(
        few.reason,
        "pool chat: 9,999 completed requests are fewer than the 10,000 that a ratio needs"
    );
    // A histogram knows a quantile to a thousandth: nearer to the bound nobody knows.
    for (ratio, verdict) in [
        (1.048, Verdict::Holds),
        (1.0499, Verdict::Inconclusive),
        (1.0501, Verdict::Inconclusive),
        (1.0520, Verdict::Violated),
    ] {
        let found = ask(ratio, &P99, 10_000).decision;
        assert_eq!((found.verdict, found.open), (verdict, false), "{ratio}");
    }
}

#[test]
fn ratios_that_are_all_the_same_touch_the_bound_without_a_rounding_error() {
    for ratio in [1.05, 1.0499] {
        assert_eq!(decide_one(&[ratio; 10], &MEAN, BOUND).decision.verdict, Verdict::Holds, "{ratio}");
    }
    assert_eq!(decide_one(&[1.0501; 10], &MEAN, BOUND).decision.verdict, Verdict::Violated);
    assert_eq!(decide_one(&[1.05; 10], &P99, BOUND).decision.verdict, Verdict::Inconclusive);
}

#[test]
fn identical_pairs_are_exactly_one_whatever_the_measure() {
    for (plan, count) in [(Plan::new(&[2]), 2u32), (Plan::certain(), 1)] {
        for measure in [MEAN, P99] {
            let mut one = cell("pool chat", &vec![1.0; count as usize], 10_000);
            one.readings.iter_mut().for_each(|reading| reading.identical = true);
            for bound in [Bound::AtMost(1.0), Bound::AtLeast(1.0)] {
                let found = decide_ratio(std::slice::from_ref(&one), None, &plan, count, &measure, bound);
                assert_eq!(found.decision.verdict, Verdict::Holds);
                assert_eq!(found.decision.interval, Some(Interval { low: 1.0, centre: 1.0, high: 1.0 }));
            }
        }
    }
}

#[test]
fn a_claim_is_about_every_cell_and_names_the_worst() {
    let cells = [
        cell("pool chat", &around(1.01), 10_000),
        cell("hour 13 of pool chat", &around(1.0), 10_000),
        cell("hour 14 of pool chat", &around(1.02), 10_000),
    ];
    let found = decide_cells(&cells, &MEAN, BOUND);
    assert_eq!((found.decision.verdict, found.worst), (Verdict::Holds, Some(2)));
    assert!(found.decision.reason.contains("worst cell: hour 14 of pool chat) is at most 1.05"));
    let mut cells = cells.to_vec();
    cells[1] = cell("hour 13 of pool chat", &around(1.2), 10_000);
    let found = decide_cells(&cells, &MEAN, BOUND);
    assert_eq!((found.decision.verdict, found.worst), (Verdict::Violated, Some(1)));
    assert!(
        found.decision.reason.ends_with("is not at most 1.05 in 1 of 3 cells"),
        "{}",
        found.decision.reason
    );
    assert_eq!(found.cells[0].verdict, Verdict::Holds);
}

#[test]
fn a_cell_that_cannot_be_judged_keeps_it_from_holding_but_not_from_being_violated() {
    let good = cell("pool chat", &around(1.0), 10_000);
    let few = cell("hour 3 of pool chat", &around(1.0), 100);
    let found = decide_cells(&[good.clone(), few.clone()], &MEAN, BOUND).decision;
    assert_eq!(
        (found.verdict, found.open),
        (Verdict::Inconclusive, true),
        "more replications bring more requests"
    );
    assert_eq!(
        found.reason,
        "hour 3 of pool chat: 500 completed requests are fewer than the 10,000 that a ratio needs"
    );
    let bad = cell("hour 4 of pool chat", &around(1.2), 10_000);
    assert_eq!(decide_cells(&[good.clone(), few, bad], &MEAN, BOUND).decision.verdict, Verdict::Violated);
    let mut gap = good.clone();
    gap.readings[2].without = None;
    let found = decide_cells(&[good.clone(), gap], &MEAN, BOUND).decision;
    assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, false));
    assert_eq!(found.reason, "pool chat: 1 of 5 replications have no sample");
    let mut thin = cell("pool chat", &around(1.0), 2_500);
    thin.readings[1].with = Some(Reading { value: 8e8, samples: 999 });
    let found = decide_cells(&[thin], &P99, BOUND).decision;
    assert_eq!(
        found.reason,
        "pool chat: 999 samples in a replication are fewer than the 1000 that p99 needs"
    );
}

#[test]
fn requests_of_one_side_only_keep_it_from_holding_but_not_from_being_violated() {
    let ask = |centre: f64| {
        let cells = [cell("pool chat", &around(centre), 10_000)];
        let why = Some("3 requests were refused on one side only");
        decide_ratio(&cells, why, &Plan::new(&[5, 10]), 5, &MEAN, BOUND).decision
    };
    let held = ask(1.0);
    assert_eq!((held.verdict, held.open), (Verdict::Inconclusive, false), "no replication takes them back");
    assert!(held.reason.ends_with("is at most 1.05, but 3 requests were refused on one side only"));
    assert_eq!(ask(1.2).verdict, Verdict::Violated);
    assert!(ask(1.05).open, "it may still be violated");
}

#[test]
fn before_a_look_after_the_last_and_without_a_cell_nothing_is_decided() {
    let cells = [cell("pool chat", &[1.0; 7], 10_000)];
    let plan = Plan::new(&[5, 10]);
    let found = decide_ratio(&cells, None, &plan, 7, &MEAN, BOUND).decision;
    assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, true));
    assert_eq!(found.reason, "7 of the 10 replications that the next look needs");
    let one = decide_ratio(&[cell("p", &[1.0], 10_000)], None, &Plan::new(&[1]), 1, &MEAN, BOUND).decision;
    assert!(!one.open && one.reason.starts_with("one replication has no interval"));
    let none = decide_ratio(&[], None, &plan, 5, &MEAN, BOUND).decision;
    assert_eq!((none.verdict, none.open), (Verdict::Inconclusive, false));
}

#[test]
fn figures_that_nothing_can_be_divided_by_decide_nothing() {
    for bad in [0.0, f64::NAN, f64::INFINITY] {
        let found = decide_one(&[1.0, bad, 1.0], &MEAN, BOUND);
        assert_eq!(found.decision.verdict, Verdict::Inconclusive);
        assert_eq!(found.decision.reason, "pool chat: a figure is 0 or not finite");
    }
}

#[test]
fn holm_goes_on_where_bonferroni_would_stop() {
    // Probabilities of 0.4, 0.6 and 0.9 per cent at a level of 1.25 %: 1.25 / 3 = 0.417, then 1.25 / 2, then 1.25.
    let known = |p: f64| Known { p, clear: true, ..Known::of(&cell("", &around(1.2), 10_000), &MEAN, BOUND) };
    let cells = [known(0.009), known(0.004), known(0.006)];
    assert_eq!(holm(&cells, 0.0125), [true, true, true]);
    assert_eq!(holm(&[known(0.009), known(0.004), known(0.007)], 0.0125), [false, true, false]);
    assert_eq!(holm(&[known(0.005), known(0.005), known(0.005)], 0.0125), [false, false, false]);
}

fn normal(rng: &mut Rng) -> f64 {
    rand_distr::Distribution::<f64>::sample(&rand_distr::StandardNormal, rng)
}

const LOOKS: [u32; 3] = [10, 20, 40];

/// How often an experiment ends in Holds and in Violated: cells with these true ratios, logarithms of replications
/// normal around them with standard deviation `noise`, looked at after 10, 20 and 40 replications while it is open.
fn rates(truths: &[f64], noise: f64, trials: u32, seed: u64) -> (f64, f64) {
    let mut rng = stream(seed, Purpose::Bootstrap, 0, 0);
    let plan = Plan::new(&LOOKS);
    let (mut holds, mut violated) = (0u32, 0u32);
    for _ in 0..trials {
        let draw = |truth: &f64, rng: &mut Rng| -> Vec<f64> {
            (0..LOOKS[2]).map(|_| truth * (noise * normal(rng)).exp()).collect()
        };
        let all: Vec<Vec<f64>> = truths.iter().map(|truth| draw(truth, &mut rng)).collect();
        for look in LOOKS {
            let cells: Vec<Cell> =
                all.iter().map(|ratios| cell("", &ratios[..look as usize], 1_000)).collect();
            let found = decide_ratio(&cells, None, &plan, look, &MEAN, BOUND).decision;
            match found.verdict {
                Verdict::Holds => holds += 1,
                Verdict::Violated => violated += 1,
                Verdict::Inconclusive if found.open => continue,
                Verdict::Inconclusive => {}
            }
            break;
        }
    }
    (f64::from(holds) / f64::from(trials), f64::from(violated) / f64::from(trials))
}

/// 2.5 % and three standard errors of a share of `trials`.
fn allowed(trials: u32) -> f64 {
    0.025 + 3.0 * (0.025f64 * 0.975 / f64::from(trials)).sqrt()
}

/// The largest round noise of a replication, in per cent, with which 40 replications tell 1.00 and 1.10 from 1.05.
const NOISE: f64 = 0.07;

#[test]
fn wrong_verdicts_are_rare_and_right_ones_are_not() {
    // 1,000 experiments at each true ratio, seed 11; no more than 2.5 % of them may err on either side.
    let trials = 1_000;
    for noise in [0.02, 0.06, NOISE] {
        for truth in [1.00, 1.04, 1.05, 1.06, 1.10] {
            let (holds, violated) = rates(&[truth], noise, trials, 11);
            if truth >= 1.05 {
                assert!(holds <= allowed(trials), "false Holds at {truth}, noise {noise}: {holds}");
            }
            if truth <= 1.05 {
                assert!(violated <= allowed(trials), "false Violated at {truth}, noise {noise}: {violated}");
            }
            if truth == 1.00 {
                assert!(holds >= 0.95, "Holds at {truth}, noise {noise}: {holds}");
            }
            if truth == 1.10 {
                assert!(violated >= 0.95, "Violated at {truth}, noise {noise}: {violated}");
            }
        }
    }
    let (holds, _) = rates(&[1.0], NOISE + 0.01, trials, 11);
    assert!(holds < 0.95, "a noise of 8 % is too much for 40 replications: {holds}");
}

#[test]
fn at_the_bound_both_errors_together_use_up_what_they_may() {
    // 8,000 experiments, seed 12: an error far below 2.5 % would mean that looks are wasted.
    let (holds, violated) = rates(&[1.05], NOISE, 8_000, 12);
    for rate in [holds, violated] {
        assert!((0.012..=allowed(8_000)).contains(&rate), "{holds} {violated}");
    }
}

#[test]
fn ninety_five_percent_intervals_of_a_ratio_cover_it_ninety_five_times_in_a_hundred() {
    // 10,000 experiments of 10 replications, seed 13; standard error of a coverage 0.22 %.
    let mut rng = stream(13, Purpose::Bootstrap, 0, 0);
    let trials = 10_000;
    let mut covered = 0;
    for _ in 0..trials {
        let ratios: Vec<f64> = (0..10).map(|_| 1.03 * (0.06 * normal(&mut rng)).exp()).collect();
        let found = decide_one(&ratios, &MEAN, BOUND).decision.interval.unwrap();
        covered += u32::from(found.low <= 1.03 && 1.03 <= found.high);
    }
    let coverage = f64::from(covered) / f64::from(trials);
    assert!((0.93..=0.97).contains(&coverage), "{coverage}");
}

#[test]
fn twenty_four_hours_and_the_whole_are_wrongly_violated_no_more_often_than_one() {
    // 1,000 experiments with every cell at the bound, seed 14: uncorrected, nearly half of them would be violated.
    let trials = 1_000;
    let (holds, violated) = rates(&[1.05; 25], NOISE, trials, 14);
    assert!(violated <= allowed(trials), "{violated}");
    assert!(holds <= allowed(trials), "{holds}");
    // One bad cell among good ones is enough to keep it from holding, and no correction makes that weaker.
    let mut truths = [1.0; 25];
    truths[7] = 1.05;
    let (holds, _) = rates(&truths, 0.02, trials, 15);
    assert!(holds <= allowed(trials), "{holds}");
    // And when it is bad enough it is found.
    truths[7] = 1.10;
    let (_, violated) = rates(&truths, 0.04, trials, 16);
    assert!(violated >= 0.95, "{violated}");
}

#[test]
fn all_good_cells_hold_without_a_correction() {
    // Each of 25 independent cells must hold by itself, at the level of one: with a noise of 4 % that is no price.
    let (holds, _) = rates(&[1.0; 25], 0.04, 300, 17);
    assert!(holds >= 0.95, "{holds}");
}

proptest! {
    #[test]
    fn a_verdict_never_contradicts_its_cells_and_never_panics(
        logs in prop::collection::vec(prop::collection::vec(-0.3f64..0.3, 6), 1..8),
        each in 0u64..4_000, limit in 0.8f64..1.3, most in any::<bool>(), quantile in any::<bool>(),
        differs in any::<bool>(),
    ) {
        let bound = if most { Bound::AtMost(limit) } else { Bound::AtLeast(limit) };
        let measure = if quantile { P99 } else { MEAN };
        let cells: Vec<Cell> = logs.iter().map(|logs| {
            let ratios: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
            cell("", &ratios, each)
        }).collect();
        let differences = differs.then_some("something differs");
        let found = decide_ratio(&cells, differences, &Plan::new(&[6]), 6, &measure, bound);
        let any = |verdict| found.cells.iter().any(|cell| cell.verdict == verdict);
        match found.decision.verdict {
            Verdict::Violated => prop_assert!(any(Verdict::Violated)),
            Verdict::Holds => {
                prop_assert!(!any(Verdict::Violated) && !any(Verdict::Inconclusive) && !differs);
            }
            Verdict::Inconclusive => prop_assert!(!any(Verdict::Violated)),
        }
        if let Some(shown) = found.decision.interval {
            prop_assert!(shown.low <= shown.centre && shown.centre <= shown.high);
            match found.decision.verdict {
                Verdict::Holds => prop_assert!(keeps(shown.low, bound) && keeps(shown.high, bound)),
                Verdict::Violated => prop_assert!(!keeps(shown.low, bound) && !keeps(shown.high, bound)),
                Verdict::Inconclusive => {}
            }
        }
    }

    #[test]
    fn swapping_the_sides_and_the_bound_mirrors_the_verdict(
        logs in prop::collection::vec(-0.2f64..0.2, 8), limit in 0.85f64..1.2,
    ) {
        let ratios: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
        let swapped: Vec<f64> = logs.iter().map(|log| (-log).exp()).collect();
        let there = decide_one(&ratios, &MEAN, Bound::AtMost(limit)).decision.verdict;
        let back = decide_one(&swapped, &MEAN, Bound::AtLeast(1.0 / limit)).decision.verdict;
        prop_assert_eq!(there, back);
    }
}
