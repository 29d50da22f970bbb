//! Simulated replications stand for measured blocks: what is then known of both must be the same.

use super::*;
use crate::engine::{Mode, simulate};
use crate::experiment::replicate::Control;
use crate::experiment::{RunOptions, run};
use crate::observe::recorder::Recorder;
use crate::request::{Outcome, WorkloadId};
use crate::results::encode_summary;
use crate::scenario::{Bound, Measure, Metric, Overrides, Property, Ratio, load_str};
use crate::time::Span;
use crate::workload::Source;
use std::ops::ControlFlow;

const SCENARIO: &str = r#"
[scenario]
question = "Is it as fast live?"
horizon = "5min"
warmup = "30s"
seed = 3
replications = 4

[models.small]

[pools.chat]
engine = "slots"
model = "small"
servers = 4
service = { kind = "exponential", mean = "100ms" }

[tiers.chat]
pools = ["chat"]

[workloads.chat]
tier = "chat"
arrivals = { kind = "poisson", rate = "15/s" }

[workloads.rare]
tier = "chat"
arrivals = { kind = "poisson", rate = "1/s" }

[[properties]]
name = "fast"
workload = "chat"
metric = "e2e"
quantile = 0.5
at_most = "200ms"

[[properties]]
name = "slow"
metric = "e2e"
mean = true
at_most = "1ms"

[[properties]]
name = "nothing is turned away"
metric = "refused"
at_most = "0%"

[[properties]]
name = "busy"
metric = "utilization"
at_least = "1%"

[[expect]]
name = "all are served"
of = "chat"
refused = 0
"#;

fn scenario(set: &[&str]) -> Scenario {
    let set = set.iter().map(|&key| key.to_owned()).collect();
    load_str("test.toml", SCENARIO, &Overrides { set, ..Overrides::default() })
        .unwrap_or_else(|found| panic!("{found}"))
}

/// Replication `index` of `scenario` as a block of it.
fn block(scenario: &Scenario, index: u32) -> Measured {
    let seed = replication_seed(scenario.seed, index);
    let feeds = (0..scenario.workloads.len())
        .map(|workload| Source::open(scenario, workload as WorkloadId, seed).unwrap())
        .collect();
    let mut recorder = Recorder::new(scenario);
    let totals = simulate(scenario, feeds, seed, Mode::Fast, &mut recorder, |_, _| ControlFlow::Continue(()));
    Measured {
        variant: scenario.variant.clone(),
        index,
        recording: recorder.finish(totals.ended),
        totals,
        arrival_hash: Some(format!("hash {index}")),
        cut: false,
    }
}

fn blocks(scenario: &Scenario, count: u32) -> Vec<Measured> {
    (0..count).map(|index| block(scenario, index)).collect()
}

#[test]
fn blocks_give_the_figures_and_verdicts_that_replications_give() {
    let scenario = scenario(&[]);
    let control = Control::default();
    let simulated =
        run(&scenario, RunOptions { threads: 2, mode: Mode::Fast, control: &control }, None).unwrap();
    let mut measured = blocks(&scenario, 4);
    measured.reverse();
    let live = gather(&scenario, &[], measured).unwrap();
    assert_eq!(live.recording, simulated.recording);
    assert_eq!(live.seeds, simulated.seeds);
    assert_eq!(live.arrival_hash, "hash 0");
    let mut seen = 0;
    for ((live, simulated), question) in
        live.estimates.iter().zip(&simulated.estimates).zip(questions(&scenario))
    {
        match question {
            Asked::Workload(..) => {
                assert_eq!(live, simulated, "{question:?}");
                seen += usize::from(live.is_some());
            }
            _ => assert_eq!(*live, None, "{question:?} is not seen by a client"),
        }
    }
    assert!(seen > 50, "{seen} figures");
    for (live, simulated) in live.decisions.iter().zip(&simulated.decisions).take(3) {
        assert_eq!((live.verdict, live.interval), (simulated.verdict, simulated.interval));
        assert_eq!(live.reason, simulated.reason.replace("replications", "blocks"));
    }
    let verdicts: Vec<Verdict> = live.decisions.iter().map(|found| found.verdict).collect();
    use Verdict::{Holds, Inconclusive, Violated};
    assert_eq!(verdicts, [Holds, Violated, Holds, Inconclusive]);
    assert_eq!(live.decisions[3].reason, "a client does not see utilization");
    assert_eq!(live.verdict(), Violated);
    assert!(live.expectations.is_empty() && !live.interrupted);
}

#[test]
fn a_summary_of_blocks_says_nothing_of_what_only_a_gateway_sees() {
    let scenario = scenario(&[]);
    let summary = gather(&scenario, &[], blocks(&scenario, 2)).unwrap().summary(&scenario);
    assert!(summary.pools.iter().all(|pool| pool.figures.is_empty()));
    assert!(summary.workloads.iter().all(|workload| workload.budget.is_empty()));
    assert_eq!(summary.caveats, [CAVEAT]);
    let text = String::from_utf8(encode_summary(&summary)).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
}

#[test]
fn at_a_client_both_end_to_end_latencies_are_the_one_it_measured() {
    let scenario = scenario(&["workloads.chat.network=10ms"]);
    let block = block(&scenario, 0);
    let e2e = block.recording.workloads[0].latency(Metric::E2e).clone();
    assert_ne!(*block.recording.workloads[0].latency(Metric::ClientE2e), e2e);
    let found = gather(&scenario, &[], vec![block]).unwrap();
    assert_eq!(*found.recording.workloads[0].latency(Metric::ClientE2e), e2e);
    assert_eq!(found.summary(&scenario).workloads[0].network_ns, 0);
}

#[test]
fn one_block_is_inconclusive_and_says_how_many_it_takes() {
    let scenario = scenario(&[]);
    let found = gather(&scenario, &[], blocks(&scenario, 1)).unwrap();
    assert_eq!(found.decisions[0].verdict, Verdict::Inconclusive);
    assert_eq!(found.decisions[0].reason, "one block has no interval: it takes 2 at least");
    assert!(!found.interrupted);
}

#[test]
fn a_scenario_without_chance_is_not_certain_live() {
    let set = [
        "workloads.chat.arrivals={ kind = \"constant\", rate = \"10/s\" }",
        "workloads.rare.enabled=false",
        "pools.chat.service={ kind = \"constant\", value = \"100ms\" }",
        "scenario.replications=1",
    ];
    let scenario = scenario(&set);
    assert!(scenario.is_deterministic());
    let found = gather(&scenario, &[], blocks(&scenario, 1)).unwrap();
    assert_eq!(found.decisions[0].verdict, Verdict::Inconclusive);
}

#[test]
fn a_block_that_was_cut_is_left_out_and_nothing_is_decided_but_by_a_counter_example() {
    let scenario = scenario(&[]);
    let mut measured = blocks(&scenario, 3);
    measured[1].cut = true;
    let found = gather(&scenario, &[], measured).unwrap();
    assert_eq!(found.seeds, [replication_seed(3, 0), replication_seed(3, 2)]);
    assert_eq!(found.recording.replications, 2);
    assert!(found.interrupted && !found.partial);
    assert_eq!(
        found.decisions[0].reason,
        "2 of the 3 blocks that were planned are whole: it takes all of them"
    );
    assert!(found.decisions.iter().all(|found| found.verdict == Verdict::Inconclusive));

    let mut refusing = block(&scenario, 0);
    let chat = &mut refusing.recording.workloads[0];
    chat.outcomes[Outcome::Completed as usize] -= 1;
    chat.outcomes[Outcome::Refused as usize] += 1;
    refusing.totals.outcomes[Outcome::Completed as usize] -= 1;
    refusing.totals.outcomes[Outcome::Refused as usize] += 1;
    let mut cut = block(&scenario, 1);
    cut.cut = true;
    let found = gather(&scenario, &[], vec![cut, refusing]).unwrap();
    assert_eq!(found.decisions[2].verdict, Verdict::Violated);

    let mut only = blocks(&scenario, 1);
    only[0].cut = true;
    let found = gather(&scenario, &[], only).unwrap();
    assert!(found.partial && found.interrupted);
    assert_eq!(found.verdict(), Verdict::Inconclusive);
}

#[test]
fn what_was_not_measured_is_an_error_that_names_the_variant() {
    let mut scenario = scenario(&[]);
    let other = Scenario { variant: Some("other".to_owned()), ..scenario.clone() };
    let error = gather(&scenario, &[], blocks(&other, 1)).unwrap_err();
    assert_eq!(error.to_string(), "nothing was measured of variant `base`");
    assert!(error.hint().is_some());
    scenario.properties = vec![ratio(None, 1.05)];
    let error = gather(&scenario, &[], blocks(&scenario, 1)).unwrap_err();
    assert!(matches!(error, ExperimentError::Variant { .. }), "{error}");
}

fn ratio(each: Option<Span>, bound: f64) -> Property {
    Property {
        name: "as fast".to_owned(),
        workload: Some(0),
        measure: Measure::Mean(Metric::E2e),
        bound: Bound::AtMost(bound),
        ratio: Some(Ratio { to: Some("other".to_owned()), each }),
    }
}

/// Four blocks of `with` and of `without`, variants in no order.
fn compared(with: &Scenario, without: &Scenario) -> Experiment {
    let mut all = blocks(without, 4);
    all.extend(blocks(with, 4));
    all.swap(0, 5);
    gather(with, std::slice::from_ref(without), all).unwrap()
}

#[test]
fn ratios_are_of_blocks_with_the_same_arrivals() {
    let other = Scenario { variant: Some("other".to_owned()), ..scenario(&[]) };
    let slower = scenario(&["pools.chat.service.mean=\"120ms\""]);
    for (bound, verdict) in [(1.05, Verdict::Violated), (2.0, Verdict::Holds)] {
        let with = Scenario { properties: vec![ratio(None, bound)], ..slower.clone() };
        let found = compared(&with, &other);
        assert_eq!(found.decisions[0].verdict, verdict, "{:?}", found.decisions[0]);
        assert_eq!(found.comparisons.len(), 1);
        let comparison = &found.comparisons[0];
        assert!(comparison.pairs > 15_000, "{}", comparison.pairs);
        let cell = &comparison.claims[0].cells[0];
        assert_eq!((cell.place.as_str(), cell.pool.as_str()), ("pool chat", "chat"));
        let by_hand =
            found.recording.workloads[0].latency(Metric::E2e).mean_ns().unwrap() / cell.without_ns.unwrap();
        assert!((cell.ratio.unwrap() / by_hand - 1.0).abs() < 1e-2, "{cell:?} {by_hand}");
        assert!(found.decisions[0].reason.contains("4 blocks; pool chat"), "{:?}", found.decisions[0]);
    }
}

#[test]
fn stretches_are_not_told_apart_so_that_a_claim_about_them_does_not_hold_but_may_be_violated() {
    let other = Scenario { variant: Some("other".to_owned()), ..scenario(&[]) };
    let minute = Some(Span::from_secs(60));
    let same = Scenario { properties: vec![ratio(minute, 1.05)], ..scenario(&[]) };
    let found = &compared(&same, &other).decisions[0];
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert!(
        found.reason.ends_with("but a live run does not tell stretches of 1min apart"),
        "{}",
        found.reason
    );
    let slower = scenario(&["pools.chat.service.mean=\"120ms\""]);
    let slower = Scenario { properties: vec![ratio(minute, 1.05)], ..slower };
    assert_eq!(compared(&slower, &other).decisions[0].verdict, Verdict::Violated);
}

#[test]
fn requests_that_ended_on_one_side_only_keep_a_ratio_from_holding() {
    let other = Scenario { variant: Some("other".to_owned()), ..scenario(&[]) };
    let with = Scenario { properties: vec![ratio(None, 1.05)], ..scenario(&[]) };
    let mut all = blocks(&with, 4);
    for block in &mut all[..2] {
        for (outcomes, count) in
            [(&mut block.recording.workloads[0].outcomes, 3), (&mut block.totals.outcomes, 3)]
        {
            outcomes[Outcome::Completed as usize] -= count;
            outcomes[Outcome::Refused as usize] += count;
        }
    }
    all.extend(blocks(&other, 4));
    let found = gather(&with, std::slice::from_ref(&other), all).unwrap();
    assert_eq!(found.decisions[0].verdict, Verdict::Inconclusive);
    let reason = &found.decisions[0].reason;
    assert!(reason.ends_with("but at least 6 requests were refused on one side only"), "{reason}");
    let rows = &found.comparisons[0].differences;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].with.as_str(), rows[0].without.as_str(), rows[0].requests),
        ("refused", "completed", 6)
    );
    assert!(rows[0].decides);
}

#[test]
fn a_pair_of_which_one_block_was_cut_is_no_pair() {
    let other = Scenario { variant: Some("other".to_owned()), ..scenario(&[]) };
    let with = Scenario { properties: vec![ratio(None, 1.05)], ..scenario(&[]) };
    let mut all = blocks(&other, 4);
    all[2].cut = true;
    all.extend(blocks(&with, 4));
    let found = gather(&with, std::slice::from_ref(&other), all).unwrap();
    assert_eq!(
        found.decisions[0].reason,
        "3 of the 4 blocks that were planned are whole: it takes all of them"
    );
}

#[test]
#[should_panic(expected = "is there twice")]
fn a_block_that_is_there_twice_is_a_fault_of_the_generator() {
    let scenario = scenario(&[]);
    let twice = vec![block(&scenario, 0), block(&scenario, 0)];
    drop(gather(&scenario, &[], twice));
}
