//! The shipped scenarios of batch, shortened where a day would be too long for a test: what they say is what they show.

use std::ops::ControlFlow;
use std::path::Path;
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{Experiment, RunOptions, run_against};
use tidegate_sim::observe::recorder::Recorder;
use tidegate_sim::results::Verdict;
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::{Metric, Overrides, Scenario, load};
use tidegate_sim::workload::Source;

fn shipped(name: &str, variant: Option<&str>, set: &[&str]) -> Scenario {
    let set = set.iter().map(|&key| key.to_owned()).collect();
    let overrides = Overrides { set, variant: variant.map(str::to_owned), ..Overrides::default() };
    load(Path::new(&format!("scenarios/{name}.toml")), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

fn against(scenario: &Scenario, others: &[Scenario]) -> Experiment {
    let control = Control::default();
    let options = RunOptions { threads: 2, mode: Mode::Fast, control: &control };
    run_against(scenario, others, options, None).unwrap()
}

/// The busiest ten minutes of the day, six times.
const SHORT: [&str; 5] = [
    "scenario.horizon=10min",
    "scenario.replications=6",
    "workloads.chat.arrivals.peak_at=5min",
    "batch.nightly.jobs.requests=2000",
    "properties.\"batch leaves p99 alone\".each=5min",
];

fn isolation(variant: Option<&str>) -> Experiment {
    let scenario = shipped("batch-isolation", variant, &SHORT);
    let without = shipped("batch-isolation", Some("without-batch"), &SHORT);
    against(&scenario, &[without])
}

fn verdicts(found: &Experiment, properties: usize) -> Vec<Verdict> {
    found.decisions[..properties].iter().map(|decision| decision.verdict).collect()
}

/// E22: paired, admitted sets and limits identical, p99 within 5 %.
#[test]
fn batch_that_makes_steps_a_little_longer_leaves_p99_alone() {
    let found = isolation(None);
    let reasons: Vec<&str> = found.decisions.iter().map(|decision| decision.reason.as_str()).collect();
    assert_eq!(verdicts(&found, 3), [Verdict::Holds; 3], "{reasons:#?}");
    let comparison = &found.comparisons[0];
    assert!(comparison.pairs > 100_000, "{} pairs", comparison.pairs);
    assert!(comparison.differences.is_empty(), "{:?}", comparison.differences);
    assert!(comparison.limits.is_empty(), "{:?}", comparison.limits);
    // There was batch beside chat.
    let batch: u64 = found.recording.batches.iter().map(|batch| batch.requests.completed).sum();
    assert!(batch > 20_000, "{batch} batch requests were completed");
}

#[test]
fn batch_that_is_served_like_any_other_request_does_not() {
    let found = isolation(Some("unprotected"));
    assert_eq!(found.decisions[0].verdict, Verdict::Violated, "{}", found.decisions[0].reason);
    assert_eq!(found.verdict(), Verdict::Violated);
}

#[test]
fn rules_without_a_job_change_nothing_at_all() {
    let found = isolation(Some("no-jobs"));
    assert_eq!(verdicts(&found, 3), [Verdict::Holds; 3]);
    for cell in found.comparisons[0].claims.iter().flat_map(|claim| &claim.cells) {
        assert_eq!((cell.ratio, cell.low, cell.high), (Some(1.0), Some(1.0), Some(1.0)), "{}", cell.place);
    }
}

/// TTFT p99 of interactive requests, milliseconds, replication by replication.
fn interactive_p99(variant: Option<&str>) -> Vec<f64> {
    let scenario = shipped("batch-llmd-491", variant, &[]);
    let one = |index| {
        let seed = replication_seed(scenario.seed, index);
        let open = |workload| Source::open(&scenario, workload as u16, seed).unwrap();
        let feeds: Vec<Source> = (0..scenario.workloads.len()).map(open).collect();
        let mut recorder = Recorder::new(&scenario);
        let go_on = |_, _: &_| ControlFlow::Continue(());
        let totals = simulate(&scenario, feeds, seed, Mode::Fast, &mut recorder, go_on);
        let recording = recorder.finish(totals.ended);
        let latency = recording.workloads[0].latency(Metric::Ttft);
        latency.quantile_ns(0.99).unwrap() as f64 / 1e6
    };
    (0..20).map(one).collect()
}

#[test]
fn the_public_experiment_comes_out_in_its_order_and_within_a_factor_of_two() {
    let published = [
        (Some("without-batch"), 44.0),
        (Some("low-cap"), 95.0),
        (Some("interactive-first"), 337.0),
        (None, 492.0),
    ];
    let found: Vec<Vec<f64>> = published.iter().map(|(variant, _)| interactive_p99(*variant)).collect();
    let ordered =
        (0..20).filter(|&index| found.windows(2).all(|pair| pair[0][index] < pair[1][index])).count();
    assert!(ordered >= 19, "{ordered} of 20 replications are in the published order");
    for ((variant, published), found) in published.iter().zip(&found) {
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        assert!((0.5..2.0).contains(&(mean / published)), "{variant:?}: {mean} ms, published {published} ms");
    }
}

#[test]
fn one_setting_would_have_met_five_percent_in_the_public_experiment() {
    let set = ["scenario.replications=5"];
    let scenario = shipped("batch-llmd-491", Some("five-percent"), &set);
    let found = against(&scenario, &[shipped("batch-llmd-491", Some("without-batch"), &set)]);
    assert_eq!(found.verdict(), Verdict::Holds, "{}", found.decisions[0].reason);
    let done = found.recording.batches[0].requests.completed;
    assert!(done > 4_000, "{done} batch requests of five replications");
}
