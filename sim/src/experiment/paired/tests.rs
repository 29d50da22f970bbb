//! Variants that differ in something else than batch: what is matched, what the ratio is, where the time went.

use crate::engine::Mode;
use crate::experiment::replicate::Control;
use crate::experiment::{Experiment, ExperimentError, RunOptions, run, run_against};
use crate::results::{Comparison, Verdict, encode_summary};
use crate::scenario::{Bound, Measure, Metric, Overrides, Property, Ratio, Scenario, load_str};
use crate::time::Span;

/// Two pools, one of them with sessions, one with clients that try again behind a limit; seconds of work.
const SCENARIO: &str = r#"
[scenario]
question = "Is it as fast as the other?"
horizon = "6min"
warmup = "1min"
replications = 4

[models.small]
context = "8k"

[pools.fast]
model = "small"
replicas = 2
step_time = { kind = "linear", base = "8ms", per_sequence = "40us", per_prefill_token = "60us", per_decode = "0.1us", per_context_token = "0.1us", quantum = "1us" }
batching = { tokens = 512, sequences = 32 }
kv = { blocks = 8000, watermark = 0.0 }

[pools.plain]
engine = "slots"
model = "small"
servers = 4
service = { kind = "exponential", mean = "100ms" }

[tiers.talk]
pools = ["fast"]

[tiers.work]
pools = ["plain"]

[workloads.chat]
tier = "talk"
arrivals = { kind = "poisson", rate = "18/s" }
prompt = { kind = "lognormal", mean = 300, cv = 1.0, least = 8, most = 2000 }
output = { kind = "lognormal", mean = 60, cv = 0.8, least = 1, most = 400 }
network = "10ms"

[workloads.dialogue]
tier = "talk"
arrivals = { kind = "poisson", rate = "1/s" }
prompt = { kind = "lognormal", mean = 100, cv = 1.0, least = 8, most = 1000 }
output = { kind = "lognormal", mean = 60, cv = 0.8, least = 1, most = 300 }
sessions = { turns = { kind = "uniform", least = 1, most = 7 }, think = { kind = "exponential", mean = "4s" }, context_most = "2k" }

[workloads.calls]
tier = "work"
arrivals = { kind = "poisson", rate = "32/s" }
patience = "3s"
retry = { most = 2, base = "200ms" }
"#;

fn scenario(set: &[&str]) -> Scenario {
    let set = set.iter().map(|&key| key.to_owned()).collect();
    load_str("test.toml", SCENARIO, &Overrides { set, ..Overrides::default() })
        .unwrap_or_else(|found| panic!("{found}"))
}

/// Another variant, named `other`.
fn other(set: &[&str]) -> Scenario {
    Scenario { variant: Some("other".to_owned()), ..scenario(set) }
}

fn claim(name: &str, workload: Option<usize>, measure: Measure, each: Option<Span>) -> Property {
    Property {
        name: name.to_owned(),
        workload,
        measure,
        bound: Bound::AtMost(1.05),
        ratio: Some(Ratio { to: Some("other".to_owned()), each }),
    }
}

/// Claims about every latency, some of them minute by minute.
fn claims() -> Vec<Property> {
    let minute = Some(Span::from_secs(60));
    vec![
        claim("all e2e", None, Measure::Quantile(Metric::E2e, 0.99), minute),
        claim("chat ttft", Some(0), Measure::Quantile(Metric::Ttft, 0.99), None),
        claim("chat itl", Some(0), Measure::Mean(Metric::Itl), minute),
        claim("chat tpot", Some(0), Measure::Mean(Metric::Tpot), None),
        claim("client", None, Measure::Mean(Metric::ClientE2e), None),
    ]
}

fn options(control: &Control, threads: usize, mode: Mode) -> RunOptions<'_> {
    RunOptions { threads, mode, control }
}

fn compared(with: &Scenario, without: &Scenario, mode: Mode) -> Experiment {
    run_against(with, std::slice::from_ref(without), options(&Control::default(), 2, mode), None).unwrap()
}

fn only(found: &Experiment) -> &Comparison {
    assert_eq!(found.comparisons.len(), 1);
    &found.comparisons[0]
}

#[test]
fn an_identical_variant_is_exactly_as_fast_in_every_cell() {
    let with = Scenario { properties: claims(), ..scenario(&[]) };
    let found = compared(&with, &other(&[]), Mode::Fast);
    let comparison = only(&found);
    assert!(comparison.differences.is_empty() && comparison.limits.is_empty(), "{comparison:?}");
    let counted: u64 = found.recording.workloads.iter().map(|workload| workload.offered).sum();
    assert_eq!(comparison.pairs, counted, "every counted request is in a pair");
    for claim in &comparison.claims {
        assert!(!claim.cells.is_empty());
        for cell in &claim.cells {
            assert_eq!((cell.ratio, cell.low, cell.high), (Some(1.0), Some(1.0), Some(1.0)), "{cell:?}");
            assert_eq!(cell.with_ns, cell.without_ns);
        }
    }
    // The minutes of a pool are five, the first being warm-up; 10,000 requests are not in each of them.
    assert_eq!(comparison.claims[0].cells.len(), 2 * 6);
    assert_eq!(found.decisions[0].verdict, Verdict::Inconclusive);
    assert!(found.decisions[0].reason.contains("fewer than the 10,000"), "{}", found.decisions[0].reason);
    let whole = &found.decisions[1];
    assert_eq!(whole.verdict, Verdict::Holds, "{}", whole.reason);
    assert_eq!(whole.reason, "1 (95 % interval 1 to 1, 4 replications; pool fast) is at most 1.05");
    for row in &comparison.attributions {
        assert!(row.parts.iter().all(|part| part.with_ns == part.without_ns), "{row:?}");
        assert!(row.slow_pairs * 100 >= row.pairs && row.slow_pairs < row.pairs / 20, "{row:?}");
    }
}

#[test]
fn the_scenario_itself_is_to_the_byte_what_it_is_alone() {
    let with = Scenario { properties: claims(), ..scenario(&[]) };
    let found = compared(&with, &other(&["pools.fast.replicas=1"]), Mode::Fast);
    let alone = Scenario { properties: Vec::new(), ..with.clone() };
    let alone = run(&alone, options(&Control::default(), 1, Mode::Fast), None).unwrap();
    assert_eq!((&found.recording, &found.totals), (&alone.recording, &alone.totals));
    assert_eq!(
        (&found.estimates[..alone.estimates.len()], found.arrival_hash),
        (&alone.estimates[..], alone.arrival_hash)
    );
}

#[test]
fn figures_of_the_other_side_are_those_that_it_has_when_it_is_run_alone() {
    let slower = other(&["pools.fast.step_time.base=\"9ms\""]);
    let mut with = Scenario { properties: claims(), ..scenario(&[]) };
    with.replications.looks = vec![1];
    let alone = Scenario { replications: with.replications.clone(), ..slower.clone() };
    let alone = run(&alone, options(&Control::default(), 1, Mode::Fast), None).unwrap();
    let folded = super::comparisons(&with, std::slice::from_ref(&slower)).unwrap();
    let against = &folded[0];
    let found = compared(&with, &slower, Mode::Fast);
    // Later turns of a dialogue may come too late on the slower side; nothing else differs.
    let differences = &only(&found).differences;
    assert!(differences.iter().all(|row| row.workload == "dialogue"), "{differences:?}");
    // What the cells were read from, by way of a second run of the replication.
    let readings = fold(&with, &folded);
    let compare = |position: usize, cell: usize, workload: usize, metric: Metric| {
        let reading = &readings[0].readings[position][cell];
        for (reading, recording) in [(reading.with, &found.recording), (reading.without, &alone.recording)] {
            let latency = recording.workloads[workload].latency(metric);
            let expected = match against.asking()[position].measure {
                Measure::Quantile(_, quantile) => latency.quantile_ns(quantile).unwrap() as f64,
                _ => latency.mean_ns().unwrap(),
            };
            assert_eq!(reading.unwrap().value, expected, "{metric:?}");
            assert_eq!(reading.unwrap().samples, latency.count(), "{metric:?}");
        }
    };
    compare(1, 0, 0, Metric::Ttft);
    compare(2, 0, 0, Metric::Itl);
    compare(3, 0, 0, Metric::Tpot);
}

/// Replication 0 of a scenario and what it is compared with.
fn fold(with: &Scenario, against: &[super::Against<'_>]) -> Vec<super::Folded> {
    use crate::engine::Totals;
    use crate::experiment::Lent;
    use crate::observe::{Nobody, recorder::Recorder};
    use crate::workload::Source;
    let open = |index| Source::open(with, index as u16, with.seed).unwrap();
    let mut sources: Vec<Source> = (0..with.workloads.len()).map(open).collect();
    let feeds = sources.iter_mut().map(|source| Lent { source, hash: None }).collect();
    let mut recorder = Recorder::new(with);
    let go_on = |_, _: &Totals| std::ops::ControlFlow::Continue(());
    let (mode, nobody) = (Mode::Fast, &mut Nobody);
    super::replicate(against, (with, feeds), with.seed, mode, &mut recorder, nobody, go_on).unwrap().1
}

#[test]
fn a_slower_law_violates_and_its_time_is_in_the_steps() {
    let with = Scenario { properties: claims(), ..scenario(&["pools.fast.step_time.base=\"14ms\""]) };
    let found = compared(&with, &other(&[]), Mode::Fast);
    for decision in &found.decisions[..4] {
        assert_eq!(decision.verdict, Verdict::Violated, "{}", decision.reason);
    }
    let comparison = only(&found);
    let plain = comparison.claims[0].cells.iter().filter(|cell| cell.pool == "plain");
    assert!(plain.clone().count() > 0);
    for cell in plain {
        assert_eq!(cell.ratio, Some(1.0), "the other pool is not touched: {cell:?}");
    }
    let e2e = comparison
        .attributions
        .iter()
        .find(|row| row.workload.as_deref() == Some("chat") && row.latency == "e2e");
    let e2e = e2e.unwrap();
    let part = |name: &str| e2e.parts.iter().find(|part| part.part == name).unwrap();
    let steps = part("steps-trajectory");
    assert!(steps.with_ns > steps.without_ns * 110 / 100);
    assert_eq!(part("steps-beside-batch").with_ns, 0, "there is no batch");
    let sum = |get: fn(&crate::results::comparison::PartRow) -> i128| e2e.parts.iter().map(get).sum::<i128>();
    let alone = found.recording.workloads[0].latency(Metric::E2e).sum_ns();
    assert_eq!(sum(|part| part.with_ns), alone as i128, "the parts are all of the latency");
}

#[test]
fn what_is_refused_or_given_up_on_one_side_only_is_listed_and_keeps_it_from_holding() {
    let with = Scenario {
        properties: claims(),
        ..scenario(&["pools.fast.queue.most=1", "pools.fast.outstanding=8"])
    };
    let found = compared(&with, &other(&[]), Mode::Fast);
    let comparison = only(&found);
    let row = comparison
        .differences
        .iter()
        .find(|row| row.with == "refused (queue-full)" && row.workload == "chat");
    let row = row.unwrap_or_else(|| panic!("{:?}", comparison.differences));
    assert!(row.decides && row.without == "completed" && row.requests > 0);
    assert!(found.decisions.iter().all(|decision| decision.verdict != Verdict::Holds));
    let refused: u64 = found.recording.workloads[0].refusals.iter().sum();
    let listed =
        comparison.differences.iter().filter(|row| row.workload == "chat" && row.with.starts_with("refused"));
    assert_eq!(listed.map(|row| row.requests).sum::<u64>(), refused, "the other side refuses nobody");
}

#[test]
fn a_workload_that_one_side_does_not_have_is_offered_there_only() {
    let with = Scenario {
        properties: vec![claim("chat", Some(0), Measure::Mean(Metric::E2e), None)],
        ..scenario(&[])
    };
    let mut without = other(&[]);
    without.workloads.remove(2);
    let found = compared(&with, &without, Mode::Fast);
    let rows = &only(&found).differences;
    let calls: Vec<_> = rows.iter().filter(|row| row.workload == "calls").collect();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].with.as_str(), calls[0].without.as_str()), ("offered", "never offered"));
    assert_eq!(calls[0].requests, found.recording.workloads[2].offered);
    // The claim is about chat, of which nothing is missing.
    assert_eq!(found.decisions[0].verdict, Verdict::Holds, "{}", found.decisions[0].reason);
}

#[test]
fn threads_and_the_way_the_engine_advances_change_nothing() {
    let mut with = Scenario { properties: claims(), ..scenario(&["pools.fast.step_time.base=\"8500us\""]) };
    (with.horizon, with.replications.looks) = (Span::from_secs(150), vec![2]);
    let mut without = other(&[]);
    without.horizon = with.horizon;
    let bytes = |threads: usize, mode: Mode| {
        let control = Control::default();
        let found =
            run_against(&with, std::slice::from_ref(&without), options(&control, threads, mode), None)
                .unwrap();
        encode_summary(&found.summary(&with))
    };
    let plain = bytes(1, Mode::Fast);
    assert!(
        plain == bytes(2, Mode::Fast) && plain == bytes(1, Mode::Naive) && plain == bytes(2, Mode::Unskipped)
    );
}

#[test]
fn a_variant_that_is_not_given_is_an_error_that_names_it() {
    let with = Scenario { properties: claims(), ..scenario(&[]) };
    let error = run(&with, options(&Control::default(), 1, Mode::Fast), None).unwrap_err();
    assert!(matches!(&error, ExperimentError::Variant { variant, .. } if variant == "other"));
    assert_eq!(error.to_string(), "property `all e2e` compares with variant `other`, which is not there");
}

#[test]
fn a_stop_leaves_no_ratio_of_what_was_cut() {
    let mut with = Scenario { properties: claims(), ..scenario(&[]) };
    with.horizon = Span::from_secs(36_000);
    let without = Scenario { horizon: with.horizon, ..other(&[]) };
    let control = Control::default();
    control.stop();
    let found = run_against(&with, &[without], options(&control, 1, Mode::Fast), None).unwrap();
    assert!(found.interrupted && found.partial);
    assert_eq!(found.decisions[0].reason, "0 of the 4 replications that the next look needs");
    assert!(only(&found).pairs == 0 && only(&found).claims[0].cells.is_empty());
    assert!(found.recording.horizon < with.horizon);
}
