//! When replications are added, when they are not, and what a stop leaves.

use crate::support::{shipped, shortened};
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{Experiment, RunOptions, run};
use tidegate_sim::observe::request_log::RequestLog;
use tidegate_sim::results::Verdict;
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::policy::{Claim, Expectation, Stream};
use tidegate_sim::scenario::{Bound, Measure, Metric, Property, Replications, Scenario};
use tidegate_sim::theory::mmc_mean_response;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::arrival_hash;

const MEAN: Measure = Measure::Mean(Metric::E2e);

/// The M/M/4 queue, two minutes long, looked at after 4 and 12 replications.
fn mm4(bounds: &[Bound]) -> Scenario {
    let mut scenario = shortened("mmc", &[]);
    scenario.replications = Replications { looks: vec![4, 12] };
    let property = |(index, bound): (usize, &Bound)| Property {
        name: format!("property {index}"),
        workload: None,
        measure: MEAN,
        bound: *bound,
        ratio: None,
    };
    scenario.properties = bounds.iter().enumerate().map(property).collect();
    scenario
}

/// Mean time in the system, nanoseconds.
fn truth() -> f64 {
    1e9 * mmc_mean_response(3.2, 4, 0.1).unwrap()
}

fn ran(scenario: &Scenario) -> Experiment {
    let control = Control::default();
    let options = RunOptions { threads: 2, mode: Mode::Fast, control: &control };
    let found = run(scenario, options, None).unwrap();
    let done = control.progress();
    assert_eq!(done.done as usize, found.seeds.len());
    assert_eq!(done.requests, found.totals.iter().map(|totals| totals.offered).sum::<u64>());
    found
}

#[test]
fn a_clear_verdict_ends_the_experiment_at_the_first_look() {
    let found = ran(&mm4(&[Bound::AtMost(10.0 * truth()), Bound::AtLeast(truth() / 10.0)]));
    assert_eq!(found.seeds.len(), 4);
    assert_eq!(found.verdict(), Verdict::Holds);
    let violated = ran(&mm4(&[Bound::AtMost(truth() / 10.0)]));
    assert_eq!((violated.seeds.len(), violated.verdict()), (4, Verdict::Violated));
}

/// The scenario with claims about its only workload.
fn expecting(mut scenario: Scenario, claims: Vec<Claim>) -> Scenario {
    let until = Time::ZERO + scenario.horizon;
    let stream = Some(Stream::Workload(0));
    let expected = Expectation { name: "jobs".into(), stream, from: Time::ZERO, until, claims };
    scenario.policy.expectations.push(expected);
    scenario
}

#[test]
fn an_expectation_must_hold_in_every_replication() {
    let found = ran(&expecting(mm4(&[]), vec![Claim::Refused(0), Claim::FirstRefused(None)]));
    assert_eq!((found.seeds.len(), found.verdict()), (4, Verdict::Holds));
    let offered = found.totals[0].offered;
    // The first replication agrees, the next has other arrivals.
    let found = ran(&expecting(mm4(&[]), vec![Claim::Offered(offered), Claim::Accepted(offered)]));
    assert_eq!(found.verdict(), Verdict::Violated);
    for row in &found.expectations {
        assert_eq!((row.verdict, row.replication), (Verdict::Violated, Some(1)), "{row:?}");
        assert_eq!(row.found, found.totals[1].offered.to_string());
    }
}

#[test]
fn expectations_see_the_same_with_a_request_log_beside_them() {
    let scenario = expecting(mm4(&[]), vec![Claim::Offered(1)]);
    let control = Control::default();
    let options = RunOptions { threads: 2, mode: Mode::Fast, control: &control };
    let mut log = RequestLog::new(&scenario, Vec::new());
    let found = run(&scenario, options, Some(&mut log)).unwrap();
    let (_, lines) = log.finish().unwrap();
    assert_eq!(found.expectations[0].found, lines.to_string());
    assert_eq!(found.expectations, ran(&scenario).expectations);
}

#[test]
fn an_open_verdict_goes_on_to_the_last_look_and_leaves_the_others_alone() {
    let scenario = mm4(&[Bound::AtMost(truth()), Bound::AtMost(10.0 * truth())]);
    let found = ran(&scenario);
    assert_eq!(found.seeds.len(), 12);
    assert_eq!(found.verdict(), Verdict::Inconclusive);
    assert!(!found.interrupted);
    let at: Vec<u32> = found.decisions.iter().map(|decision| decision.replications).collect();
    assert_eq!(at, [12, 4], "the clear one was decided at the first look");
    let summary = found.summary(&scenario);
    // A third of the error, and what is left of it.
    assert!((summary.properties[1].confidence - (1.0 - 0.05 / 3.0)).abs() < 1e-12);
    assert!((summary.properties[0].confidence - (1.0 - 0.05 * 2.0 / 3.0)).abs() < 1e-12);
    assert_eq!(summary.properties[1].estimate.unwrap().replications, 4);
}

#[test]
fn replications_have_their_own_seeds_and_all_of_them_count() {
    let scenario = mm4(&[Bound::AtMost(truth())]);
    let found = ran(&scenario);
    let seeds: Vec<u64> = (0..12).map(|index| replication_seed(scenario.seed, index)).collect();
    assert_eq!(found.seeds, seeds);
    assert_eq!(found.recording.replications, 12);
    assert_eq!(found.arrival_hash, arrival_hash(&scenario, scenario.seed).unwrap());
    let offered: Vec<u64> = found.totals.iter().map(|totals| totals.offered).collect();
    assert!(offered.iter().any(|&requests| requests != offered[0]), "seeds differ, so should the arrivals");
}

#[test]
fn without_properties_there_is_one_look_and_nothing_to_break() {
    let found = ran(&mm4(&[]));
    assert_eq!((found.seeds.len(), found.verdict()), (4, Verdict::Holds));
}

#[test]
fn one_replication_gives_figures_without_intervals_and_no_verdict() {
    let mut scenario = mm4(&[Bound::AtMost(10.0 * truth())]);
    scenario.replications = Replications { looks: vec![1] };
    let found = ran(&scenario);
    assert_eq!(found.verdict(), Verdict::Inconclusive);
    let summary = found.summary(&scenario);
    let mean = summary.workloads[0].figure("e2e mean").unwrap().estimate.unwrap();
    assert!(mean.value > 0.0 && mean.low.is_none() && mean.high.is_none());
}

#[test]
fn where_nothing_is_random_one_replication_decides() {
    let scenario = shipped("crosscheck", &[]);
    assert!(scenario.is_deterministic());
    let found = ran(&scenario);
    assert_eq!((found.seeds.len(), found.verdict()), (1, Verdict::Holds), "{:?}", found.decisions);
}

#[test]
fn figures_of_the_table_are_the_figures_of_the_merged_data() {
    let scenario = mm4(&[]);
    let found = ran(&scenario);
    let summary = found.summary(&scenario);
    let merged = &found.recording.workloads[0];
    let p99 = summary.workloads[0].figure("e2e p99").unwrap().estimate.unwrap();
    assert_eq!(p99.value, merged.latency(Metric::E2e).quantile_ns(0.99).unwrap() as f64);
    assert_eq!(p99.samples, merged.latency(Metric::E2e).count());
    assert!(p99.low.unwrap() < p99.value && p99.value < p99.high.unwrap());
}

#[test]
fn a_stop_before_the_first_replication_is_over_leaves_its_beginning() {
    let mut scenario = expecting(mm4(&[Bound::AtMost(10.0 * truth())]), vec![Claim::Refused(0)]);
    scenario.horizon = Span::from_secs(36_000);
    let control = Control::default();
    control.stop();
    let options = RunOptions { threads: 2, mode: Mode::Fast, control: &control };
    let found = run(&scenario, options, None).unwrap();
    assert!(found.interrupted && found.partial);
    assert_eq!(found.verdict(), Verdict::Inconclusive);
    assert_eq!(found.decisions[0].reason, "0 of the 4 replications that the next look needs");
    assert_eq!(found.expectations[0].verdict, Verdict::Inconclusive, "a part of a run shows nothing");
    assert_eq!(found.seeds, [scenario.seed]);
    // Its rates are over the time that was simulated, not over the ten hours that were planned.
    assert!(found.recording.horizon < Span::from_secs(3_600), "{}", found.recording.horizon);
    let summary = found.summary(&scenario);
    assert!(summary.interrupted);
    let rate = summary.workloads[0].figure("throughput").unwrap().estimate.unwrap().value;
    assert!((25.0..40.0).contains(&rate), "{rate} requests/s");
    assert_eq!(found.arrival_hash, "", "not all arrivals were drawn");
}
