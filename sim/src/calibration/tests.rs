//! A law that is known is found again in what a run with it leaves behind, and predicts what it did.

use super::client::{Seen, rows};
use super::fit::{FitError, Options, fit};
use super::log::PointsLog;
use super::points::{PointRow, PointsError, Producer, decode, encode};
use crate::engine::{Mode, simulate};
use crate::hardware::{FemtosText, FittedCoefficient, LinearFit};
use crate::observe::recorder::{Recorder, Recording};
use crate::request::WorkloadId;
use crate::scenario::{Metric, Overrides, Scenario, load_str};
use crate::workload::Source;
use proptest::prelude::*;
use std::ops::ControlFlow;

const SCENARIO: &str = r#"
[scenario]
question = "What are its steps like?"
horizon = "10min"
warmup = "30s"
seed = 5

[models.small]
context = "8k"

[pools.chat]
model = "small"
replicas = 1
step_time = { kind = "linear", base = "8ms", per_prefill_token = "60us", per_decode = "120us", per_context_token = "0.25us" }
batching = { tokens = 512, sequences = 48 }
kv = { blocks = 8000, watermark = 0.0 }

[tiers.chat]
pools = ["chat"]

[workloads.chat]
tier = "chat"
arrivals = { kind = "poisson", rate = "8/s" }
prompt = { kind = "lognormal", mean = 300, cv = 1.2, least = 8, most = 3000 }
output = { kind = "lognormal", mean = 80, cv = 0.9, least = 1, most = 600 }
"#;

fn scenario(set: &[&str]) -> Scenario {
    let set = set.iter().map(|&key| key.to_owned()).collect();
    load_str("test.toml", SCENARIO, &Overrides { set, ..Overrides::default() })
        .unwrap_or_else(|found| panic!("{found}"))
}

fn run(scenario: &Scenario, mode: Mode) -> (Recording, Vec<PointRow>) {
    let feeds = (0..scenario.workloads.len())
        .map(|index| Source::open(scenario, index as WorkloadId, scenario.seed).unwrap())
        .collect();
    let (mut recorder, mut log) = (Recorder::new(scenario), PointsLog::new(scenario));
    let mut both = (&mut recorder, &mut log);
    let totals = simulate(scenario, feeds, scenario.seed, mode, &mut both, |_, _| ControlFlow::Continue(()));
    (recorder.finish(totals.ended), log.finish())
}

fn options(from: Producer) -> Options {
    Options { from: Some(from), replicas: 1, source: "a test".to_owned() }
}

/// The coefficients by name, with what they were.
fn found(law: &LinearFit) -> [(FittedCoefficient, u64); 4] {
    [
        (law.base, 8_000_000_000_000),
        (law.per_prefill_token, 60_000_000_000),
        (law.per_decode, 120_000_000_000),
        (law.per_context_token, 250_000_000),
    ]
}

fn law_of(scenario: &mut Scenario, law: &LinearFit) {
    use crate::replica::step_time::{LawBounds, StepLaw};
    let bounds = LawBounds { sequences: 48, tokens: 512, sequence_tokens: 8192 };
    let crate::scenario::Engine::Llm(engine) = &mut scenario.pools[0].engine else { unreachable!() };
    let quantum = crate::time::Span::from_nanos(1);
    engine.law = StepLaw::fitted(&law.coefficients(), law.fitted_range(), quantum, &bounds).unwrap().into();
}

/// The largest relative difference of p50, p99 and mean of TTFT, ITL and E2E.
fn apart(a: &Recording, b: &Recording) -> f64 {
    let mut most = 0.0f64;
    for metric in [Metric::Ttft, Metric::Itl, Metric::E2e] {
        let (a, b) = (a.workloads[0].latency(metric), b.workloads[0].latency(metric));
        for quantile in [0.5, 0.99] {
            let (x, y) = (a.quantile_ns(quantile).unwrap() as f64, b.quantile_ns(quantile).unwrap() as f64);
            most = most.max((x / y - 1.0).abs());
        }
        most = most.max((a.mean_ns().unwrap() / b.mean_ns().unwrap() - 1.0).abs());
    }
    most
}

#[test]
fn steps_of_a_known_law_give_its_coefficients_within_their_intervals_and_the_same_latencies() {
    let known = scenario(&[]);
    let (before, points) = run(&known, Mode::Fast);
    let again = decode(&encode(&points)).unwrap();
    let fitted = fit(&again, &options(Producer::Step)).unwrap();
    for (coefficient, truth) in found(&fitted.law) {
        assert!(
            coefficient.low.0 <= truth && truth <= coefficient.high.0,
            "{coefficient:?} does not hold {truth}: {:?}",
            fitted.law
        );
        assert!((coefficient.value.0 as f64 / truth as f64 - 1.0).abs() < 1e-3, "{coefficient:?} {truth}");
    }
    assert!(fitted.law.r2 > 0.999_999 && fitted.law.log_error < 1e-4, "{:?}", fitted.law);
    assert!(fitted.dropped.is_empty() && fitted.law.points > 100, "{fitted:?}");
    let mut predicted = scenario(&[]);
    law_of(&mut predicted, &LinearFit::read(&fitted.law.encode()).unwrap());
    let (after, _) = run(&predicted, Mode::Fast);
    assert!(apart(&after, &before) < 0.01, "{}", apart(&after, &before));
    let outside = after.pools[0].outside_range as f64 / after.pools[0].steps as f64;
    assert!(outside < 0.01, "{outside}");
}

#[test]
fn what_a_client_sees_is_enough_for_a_prediction_within_three_percent() {
    let (before, points) = run(&scenario(&[]), Mode::Fast);
    let fitted = fit(&points, &options(Producer::Request)).unwrap();
    let mut predicted = scenario(&[]);
    law_of(&mut predicted, &fitted.law);
    let (after, _) = run(&predicted, Mode::Fast);
    assert!(apart(&after, &before) < 0.03, "{}: {:?}", apart(&after, &before), fitted.law);
}

#[test]
fn an_engine_that_skips_ahead_leaves_the_points_of_one_that_walks() {
    let short = scenario(&["scenario.horizon=1min", "scenario.warmup=0s"]);
    let (_, fast) = run(&short, Mode::Fast);
    let law = |points: &[PointRow]| fit(points, &options(Producer::Step)).unwrap().law;
    for mode in [Mode::Unskipped, Mode::Naive] {
        let (_, slow) = run(&short, mode);
        let sum = |rows: &[PointRow], get: fn(&PointRow) -> f64| {
            let steps = rows.iter().filter(|row| row.kind == Producer::Step);
            steps.map(|row| row.count as f64 * get(row)).sum::<f64>()
        };
        let sums: [fn(&PointRow) -> f64; 5] = [
            |_| 1.0,
            |row| row.step_ns,
            |row| row.decodes,
            |row| row.context_tokens,
            |row| row.prefill_tokens,
        ];
        for get in sums {
            let (a, b) = (sum(&fast, get), sum(&slow, get));
            assert!((a / b - 1.0).abs() < 1e-9, "{mode:?}: {a} {b}");
        }
        for ((a, _), (b, _)) in found(&law(&fast)).into_iter().zip(found(&law(&slow))) {
            assert!((a.value.0 as f64 / b.value.0 as f64 - 1.0).abs() < 1e-3, "{mode:?}: {a:?} {b:?}");
        }
        assert_eq!(
            fast.iter().filter(|row| row.kind == Producer::Request).collect::<Vec<_>>(),
            slow.iter().filter(|row| row.kind == Producer::Request).collect::<Vec<_>>()
        );
    }
}

fn point(prefill_tokens: f64, decodes: f64, context_tokens: f64, step_ns: f64) -> PointRow {
    PointRow {
        kind: Producer::Step,
        name: "chat".to_owned(),
        count: 10,
        prefill_tokens,
        decodes,
        context_tokens,
        step_ns,
        prompt_tokens: None,
        cached_tokens: None,
        output_tokens: None,
        in_flight: None,
        ttft_ns: None,
        e2e_ns: None,
    }
}

fn grid(law: impl Fn(f64, f64, f64) -> f64) -> Vec<PointRow> {
    let mut all = Vec::new();
    for prefill in [0.0, 64.0, 300.0] {
        for decodes in [1.0, 8.0, 30.0] {
            for each in [100.0, 700.0] {
                let context = decodes * each;
                all.push(point(prefill, decodes, context, law(prefill, decodes, context)));
            }
        }
    }
    all
}

#[test]
fn points_that_do_not_tell_a_coefficient_apart_are_refused_with_what_to_vary() {
    let law = |p: f64, d: f64, c: f64| 8e6 + 6e4 * p + 1e5 * d + 200.0 * c;
    let ask = |rows: Vec<PointRow>| fit(&rows, &options(Producer::Step)).unwrap_err();
    let keep = |test: fn(&PointRow) -> bool| grid(law).into_iter().filter(test).collect::<Vec<_>>();
    let repeat = |rows: Vec<PointRow>| -> Vec<PointRow> { rows.iter().cycle().take(20).cloned().collect() };
    for (rows, name) in [
        (keep(|row| row.prefill_tokens == 0.0), "per_prefill_token"),
        (keep(|row| row.decodes == 8.0), "per_decode"),
        (keep(|row| row.context_tokens == 100.0 * row.decodes), "per_context_token"),
    ] {
        let error = ask(repeat(rows));
        let FitError::Unidentified { coefficient, .. } = &error else { panic!("{error}") };
        assert_eq!(*coefficient, name);
        assert!(error.to_string().contains("\nhint: "), "{error}");
    }
    let few = grid(law).into_iter().take(7).collect();
    assert_eq!(ask(few), FitError::Few { kind: Producer::Step, found: 7 });
    // A law that grows faster than any line has no base.
    assert!(matches!(ask(grid(|p, d, _| 1e3 + (p + 10.0 * d).powi(3))), FitError::NoBase(_)));
}

#[test]
fn a_coefficient_below_nothing_is_taken_as_nothing_and_said() {
    let rows = grid(|p, d, c| 8e6 + 6e4 * p + 1e5 * d - 5.0 * c);
    let found = fit(&rows, &options(Producer::Step)).unwrap();
    assert_eq!(found.dropped, ["per_context_token"]);
    assert_eq!(found.law.per_context_token.value, FemtosText(0));
    assert!(found.law.log_error > 0.0);
}

#[test]
fn steps_are_preferred_and_what_is_not_used_is_counted() {
    let mut rows = grid(|p, d, c| 8e6 + 6e4 * p + 1e5 * d + 200.0 * c);
    let steps = rows.len();
    rows.push(PointRow { kind: Producer::Request, count: 0, ..rows[0].clone() });
    let auto = Options { from: None, ..options(Producer::Step) };
    let found = fit(&rows, &auto).unwrap();
    assert_eq!((found.from, found.law.points, found.unused), (Producer::Step, steps as u64, 1));
    rows.iter_mut().for_each(|row| row.kind = Producer::Request);
    assert_eq!(fit(&rows, &auto).unwrap().from, Producer::Request);
}

#[test]
fn the_load_of_several_replicas_is_spread_evenly() {
    let law = |p: f64, d: f64, c: f64| 8e6 + 6e4 * p + 1e5 * d + 200.0 * c;
    let mut rows = grid(law);
    for row in &mut rows {
        // What a client sees of two replicas: the same request, and twice the others.
        let decodes = 2.0 * row.decodes - 1.0;
        row.context_tokens *= decodes / row.decodes;
        row.prefill_tokens *= 2.0;
        row.decodes = decodes;
        row.kind = Producer::Request;
    }
    let found = fit(&rows, &Options { replicas: 2, ..options(Producer::Request) }).unwrap().law;
    assert!((found.per_decode.value.0 as f64 / 1e11 - 1.0).abs() < 1e-6, "{found:?}");
    assert!((found.per_prefill_token.value.0 as f64 / 6e10 - 1.0).abs() < 1e-6, "{found:?}");
}

#[test]
fn broken_points_files_are_told_by_line_and_column() {
    let good = String::from_utf8(encode(&[point(1.0, 2.0, 3.0, 4e6)])).unwrap();
    assert_eq!(decode(good.as_bytes()).unwrap(), [point(1.0, 2.0, 3.0, 4e6)]);
    let line = "step,chat,10,1.0,2.0,3.0,4000000.0,,,,,,";
    assert!(good.ends_with(&format!("{line}\n")), "{good}");
    for (bad, word) in [
        ("step,chat,10,-1,2,3,4e6,,,,,,", "line 2: `prefill_tokens` is `-1`"),
        ("step,chat,10,1,NaN,3,4e6,,,,,,", "line 2: `decodes` is `NaN`"),
        ("step,chat,10,1,2,inf,4e6,,,,,,", "line 2: `context_tokens` is `inf`"),
        ("step,chat,10,1,2,3,0,,,,,,", "line 2: `step_ns` is `0`"),
        ("leap,chat,10,1,2,3,4e6,,,,,,", "leap"),
        ("step,chat,10,1,2,3", "line: 2"),
        ("step,chat,-10,1,2,3,4e6,,,,,,", "line 2"),
    ] {
        let error = decode(good.replace(line, bad).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("\nhint: "), "{bad}: {error}");
    }
    let error = decode(good.replace("step_ns", "step_us").as_bytes()).unwrap_err().to_string();
    assert!(error.contains("column `step_ns` is missing"), "{error}");
    assert!(matches!(decode(b"\xff\xfe"), Err(PointsError::Csv(_))));
    assert!(matches!(decode(b""), Err(PointsError::Csv(_))));
}

#[test]
fn a_client_reckons_the_mean_shape_of_its_steps() {
    let second = 1_000_000_000;
    let seen = |sent: u64, first: u64, last: u64, prompt: u32, output: u32| Seen {
        workload: 0,
        prompt_tokens: prompt,
        cached_tokens: 0,
        output_tokens: output,
        sent_ns: sent * second,
        tokens_ns: Some((first * second, last * second)),
        ended_ns: last * second,
    };
    // The second begins when the first is half through, and outlives it.
    let requests = vec![seen(0, 1, 11, 100, 11), seen(2, 6, 26, 40, 21)];
    let found = rows(&[requests], &["chat".to_owned()]);
    let (a, b) = (&found[0], &found[1]);
    assert_eq!((a.count, a.step_ns, a.in_flight, b.in_flight), (10, 1e9, Some(1), Some(2)));
    // Alone for 5 s, two for 5 s; 100 and 40 tokens, each growing by one a second.
    assert!((a.decodes - 1.5).abs() < 1e-12, "{a:?}");
    assert!((a.context_tokens - (105.0 + 0.5 * 42.5)).abs() < 1e-9, "{a:?}");
    assert_eq!(a.prefill_tokens, 4.0, "40 tokens came in during 10 gaps");
    assert!((b.decodes - 1.25).abs() < 1e-12 && b.prefill_tokens == 0.0, "{b:?}");
    assert!((b.context_tokens - (50.0 + 0.25 * 107.5)).abs() < 1e-9, "{b:?}");
    let silent = Seen { tokens_ns: None, ..seen(3, 3, 3, 5, 0) };
    let found = rows(&[vec![silent]], &["chat".to_owned()]);
    assert_eq!((found[0].count, found[0].ttft_ns), (0, None));
}

proptest! {
    #[test]
    fn whatever_a_client_saw_its_rows_are_finite_and_read_back(
        requests in prop::collection::vec((0u64..5_000, 0u64..500, 0u64..3_000, 0u32..50, 0u32..40), 0..40),
    ) {
        let seen: Vec<Seen> = requests.iter().map(|(sent, wait, length, prompt, output)| Seen {
            workload: 0,
            prompt_tokens: *prompt,
            cached_tokens: prompt / 2,
            output_tokens: *output,
            sent_ns: *sent,
            tokens_ns: (*output > 0).then(|| (sent + wait, sent + wait + if *output > 1 { *length } else { 0 })),
            ended_ns: sent + wait + length,
        }).collect();
        let found = rows(&[seen], &["chat".to_owned()]);
        prop_assert_eq!(found.len(), requests.len());
        for row in &found {
            prop_assert!(row.count == 0 || row.decodes >= 1.0 - 1e-9, "{row:?}");
        }
        // A gap may be shorter than a nanosecond here; a file holds none such.
        let kept: Vec<PointRow> = found.into_iter().filter(|row| row.count == 0 || row.step_ns >= 1.0).collect();
        prop_assert_eq!(decode(&encode(&kept)).unwrap(), kept);
    }
}
