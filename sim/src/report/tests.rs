//! Reports of ordinary, empty and odd results.

use super::plot::{About, Look};
use super::*;
use crate::observe::synthetic::scenario;
use crate::results::against::Agreement;
use crate::results::tests::{Scratch, batch_set, fleet_set, limited_set, result_set};
use crate::results::{Summary, encode_summary};
use crate::scenario::Metric;

fn rendered(results: &ResultSet, options: Options<'_>, name: &str) -> (Scratch, Vec<PathBuf>) {
    let scratch = Scratch::new(name);
    let written = render(results, &Layout::new(&scratch.0), options).unwrap();
    (scratch, written)
}

fn text_of(written: &[PathBuf], ending: &str) -> String {
    let path = written.iter().find(|path| path.to_string_lossy().ends_with(ending));
    std::fs::read_to_string(path.unwrap_or_else(|| panic!("no {ending} in {written:?}"))).unwrap()
}

/// Panics where markup is not balanced; enough of a parser for pages that a template made.
fn assert_balanced(markup: &str) {
    const EMPTY: [&str; 4] = ["meta", "br", "!doctype", "?xml"];
    let mut open: Vec<&str> = Vec::new();
    for tag in markup.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split([' ', '\n', '/']).find(|part| !part.is_empty()).unwrap_or("");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {:.200}", markup);
        } else if !tag.ends_with('/') && !EMPTY.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} never closed");
}

#[test]
fn a_report_holds_every_figure_and_needs_nothing_from_outside() {
    let set = result_set(&scenario(), 1_000, 3);
    let (_scratch, written) = rendered(&set, Options::default(), "report");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    assert_eq!(page.matches("<svg ").count(), figures(&set, None).len());
    for needle in ["http:", "https:", "<script", "<link", "@import", "src=\""] {
        assert!(!page.contains(needle), "{needle}");
    }
    assert!(page.contains("chat answers &lt;b&gt;soon&lt;&#x2f;b&gt; &amp; politely"), "names are escaped");
    for needle in [&set.summary.question[..], "uncalibrated roofline", &set.summary.provenance.arrival_hash] {
        assert!(page.contains(needle), "{needle}");
    }
}

#[test]
fn limits_control_plane_and_expectations_have_their_sections() {
    let mut set = limited_set(false);
    let (_scratch, written) = rendered(&set, Options::default(), "limits");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    for needle in [
        "<h2>Limits</h2>",
        "<h2>Control plane</h2>",
        "<h2>Expectations</h2>",
        "Acme Serving limits, Public Preview, as of 2026-08-07",
        "1 of 2 expectations violated.",
        "expected 10, found 12 in replication 3",
        "chat &amp; &lt;co&gt;",
        "binds at 1.33 times this run&#x27;s load",
        "peak, %",
        "row-of-playground",
        "limit `rate` of &lt;acme&gt;",
    ] {
        assert!(page.contains(needle), "{needle}");
    }
    // A comparison of the same reads on.
    let other = set.clone();
    let (_scratch, _) = rendered(
        &set,
        Options { metric: None, compare: Some(&other), ..Options::default() },
        "limits-compared",
    );
    set.summary.limits.clear();
    set.summary.operations.clear();
    set.summary.expectations.clear();
    set.summary.profile = None;
    let (_scratch, written) = rendered(&set, Options::default(), "no-limits");
    let page = text_of(&written, "report.html");
    for needle in ["<h2>Limits", "<h2>Control plane", "<h2>Expectations", "Limits:"] {
        assert!(!page.contains(needle), "{needle}");
    }
}

#[test]
fn a_fleet_and_clients_that_try_again_have_figures_and_tables() {
    let set = fleet_set();
    let names: Vec<String> = figures(&set, None).into_iter().map(|plot| plot.name).collect();
    for name in ["h100-replicas", "agents-attempts"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    for name in ["l40s-replicas", "chat-attempts"] {
        assert!(!names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    let (_scratch, written) = rendered(&set, Options::default(), "fleet-report");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    for needle in ["Clients, fleet and costs", "costs in USD", "tier standard", "pays the highest"] {
        assert!(page.contains(needle), "{needle}");
    }
    let figure = text_of(&written, "h100-replicas.svg");
    assert!(figure.contains("scenario synthetic, seed 7, 3 replications") && figure.contains("wanted"));
    assert!(written.iter().any(|path| path.to_string_lossy().ends_with("agents-attempts.png")));
    let plain = result_set(&scenario(), 300, 1);
    let (_scratch, written) = rendered(&plain, Options::default(), "no-fleet-report");
    assert!(!text_of(&written, "report.html").contains("Clients, fleet and costs"));
}

#[test]
fn batch_has_a_section_with_its_jobs_and_the_tokens_of_both_kinds() {
    let set = batch_set();
    let plots = figures(&set, None);
    let jobs = plots.iter().find(|plot| plot.name == "agents-jobs").unwrap();
    let bars: Vec<_> = jobs.series.iter().filter(|series| series.look == Look::Bar).collect();
    assert_eq!(bars.len(), set.jobs.len());
    // Each way to end is in the legend once, and bars lie where their job does.
    let mut labels: Vec<&str> =
        bars.iter().map(|bar| &bar.label[..]).filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    let ends = set.jobs.iter().map(|row| if row.ended_s.is_some() { &row.state[..] } else { "not over" });
    let ends: std::collections::BTreeSet<&str> = ends.collect();
    assert!(ends.len() >= 4 && labels.into_iter().eq(ends.iter().copied()), "{ends:?}");
    for (bar, row) in bars.iter().zip(&set.jobs) {
        assert_eq!(bar.points[1].1, f64::from(row.job));
        assert!(row.ended_s.is_none_or(|ended| bar.points[1].0 == ended));
    }
    assert!(plots.iter().any(|plot| plot.name == "l40s-batch" && plot.about == About::Batch));
    assert!(!plots.iter().any(|plot| plot.name == "h100-batch"), "no batch token came out there");
    let (_scratch, written) = rendered(&set, Options::default(), "batch-report");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    assert_eq!(page.matches("<svg ").count(), plots.len());
    for needle in ["<h2>Batch</h2>", "of which beside batch", "Batch: by account", "overdue"] {
        assert!(page.contains(needle), "{needle}");
    }
    // Against a run without batch.
    let plain = result_set(&scenario(), 300, 1);
    for (a, b) in [(&set, &plain), (&plain, &set)] {
        let (_scratch, written) =
            rendered(a, Options { metric: None, compare: Some(b), ..Options::default() }, "batch-compared");
        assert_balanced(&text_of(&written, "compare.html"));
    }
    let (_scratch, written) = rendered(&plain, Options::default(), "no-batch-report");
    assert!(!text_of(&written, "report.html").contains("<h2>Batch"));
}

#[test]
fn a_figure_of_jobs_shows_two_hundred_and_counts_the_rest() {
    let mut set = batch_set();
    let row = set.jobs[0].clone();
    set.jobs = (0..1_000).map(|job| crate::results::JobRow { job, ..row.clone() }).collect();
    let plot = figures(&set, None).into_iter().find(|plot| plot.name == "agents-jobs").unwrap();
    assert_eq!(plot.series.iter().filter(|series| series.look == Look::Bar).count(), 200);
    assert!(plot.caption[1].contains("800 later ones are not shown"), "{:?}", plot.caption);
    set.jobs.clear();
    assert!(!figures(&set, None).iter().any(|plot| plot.name == "agents-jobs"));
}

#[test]
fn replicas_are_drawn_as_steps_that_change_at_the_ends_of_bins() {
    let mut set = fleet_set();
    set.timeline.retain(|row| row.pool == "h100");
    set.timeline.truncate(3);
    for (row, ready) in set.timeline.iter_mut().zip([2.0, 2.0, 5.0]) {
        row.replicas_ready = Some(ready);
    }
    let plot = figures(&set, None).into_iter().find(|plot| plot.name == "h100-replicas").unwrap();
    let ready = plot.series.iter().find(|series| series.label == "ready").unwrap();
    assert_eq!(ready.points, [(0.0, 2.0), (10.0, 2.0), (20.0, 2.0), (30.0, 2.0), (30.0, 5.0)]);
}

#[test]
fn overhead_is_a_part_of_the_budget_only_where_there_is_some() {
    let mut set = result_set(&scenario(), 300, 2);
    let page = |set: &ResultSet| text_of(&rendered(set, Options::default(), "overhead").1, "report.html");
    let before = page(&set);
    assert!(!before.contains(">overhead"));
    let row = crate::results::BudgetRow { part: "overhead".to_owned(), sum_ns: 1, mean: None };
    for workload in &mut set.summary.workloads {
        workload.budget.insert(0, row.clone());
    }
    let after = page(&set);
    assert!(after.contains("k5\"></i>overhead</td>"));
    // The others keep their colours, and none falls off the end.
    for part in ["gateway queue", "preemption"] {
        assert_eq!(before.matches(&format!("</i>{part}</td>")).count(), 2, "{part}");
        assert_eq!(after.matches(&format!("</i>{part}</td>")).count(), 2, "{part}");
    }
}

#[test]
fn figures_come_as_svg_and_png_of_the_same_shape_and_name_their_source() {
    let set = result_set(&scenario(), 1_000, 3);
    let (_scratch, written) = rendered(&set, Options::default(), "figures");
    let of =
        |ending: &str| written.iter().filter(|path| path.extension().is_some_and(|e| e == ending)).count();
    assert_eq!(of("svg"), of("png"));
    // Five latencies of two workloads twice and a distribution each, three figures of two pools.
    assert_eq!(of("svg"), 2 * (5 * 2 + 1) + 2 * 3);
    for path in &written {
        let bytes = std::fs::read(path).unwrap();
        if path.extension().is_some_and(|e| e == "png") {
            assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        } else {
            let text = String::from_utf8(bytes).unwrap();
            assert_balanced(&text);
            assert!(text.contains("scenario synthetic, seed 7, 3 replications"), "{}", path.display());
        }
    }
}

#[test]
fn empty_runs_and_single_requests_are_reported_without_panic() {
    for (requests, replications) in [(0, 1), (1, 1), (2, 2)] {
        let set = result_set(&scenario(), requests, replications);
        let (_scratch, written) = rendered(&set, Options::default(), &format!("tiny-report-{requests}"));
        let page = text_of(&written, "report.html");
        assert_balanced(&page);
        assert!(!page.contains("NaN") && !page.contains(" inf"));
    }
}

#[test]
fn a_report_of_nothing_at_all_is_still_a_page() {
    let mut set = result_set(&scenario(), 0, 1);
    set.latencies.clear();
    set.timeline.clear();
    set.summary.workloads.clear();
    set.summary.pools.clear();
    set.summary.properties.clear();
    set.summary.caveats.clear();
    set.summary.provenance.seeds.clear();
    let (_scratch, written) = rendered(&set, Options::default(), "nothing");
    assert_eq!(written.len(), 1);
    assert!(text_of(&written, "report.html").contains("No property was asked"));
}

#[test]
fn asking_for_one_latency_draws_only_that_one() {
    let set = result_set(&scenario(), 300, 2);
    let options = Options { metric: Some(Metric::ClientE2e), compare: None, ..Options::default() };
    let (_scratch, written) = rendered(&set, options, "metric");
    assert_eq!(written.len(), 2 * 3 * 2);
    assert!(written.iter().all(|path| path.to_string_lossy().contains("client-e2e")));
}

#[test]
fn a_comparison_names_both_and_says_when_they_saw_different_requests() {
    let a = result_set(&scenario(), 600, 2);
    let mut b = a.clone();
    b.summary.variant = Some("more-gpus".to_owned());
    let page = |a: &ResultSet, b: &ResultSet| {
        let options = Options { metric: None, compare: Some(b), ..Options::default() };
        let (_scratch, written) = rendered(a, options, "compare");
        let page = text_of(&written, "compare.html");
        assert_balanced(&page);
        (page, text_of(&written, "chat-ttft-percentiles-compared.svg"))
    };
    let (same, figure) = page(&a, &b);
    assert!(same.contains("synthetic against synthetic (more-gpus)"));
    assert!(
        figure.contains("synthetic (more-gpus): 2 replications") && figure.contains("same arrivals in both")
    );
    b.summary.provenance.arrival_hash = "another".to_owned();
    let (different, figure) = page(&a, &b);
    assert!(different.contains("DIFFERENT ARRIVALS") && figure.contains("DIFFERENT ARRIVALS"));
    let (twice, _) = page(&a, &a.clone());
    assert!(twice.contains("A: synthetic against B: synthetic"), "equal names are told apart");
}

#[test]
fn comparing_strangers_draws_nothing_and_says_so() {
    let a = result_set(&scenario(), 100, 1);
    let mut b = a.clone();
    for workload in &mut b.summary.workloads {
        workload.name.insert(0, 'x');
    }
    b.latencies.clear();
    b.timeline.clear();
    let (_scratch, written) =
        rendered(&a, Options { metric: None, compare: Some(&b), ..Options::default() }, "strangers");
    assert_eq!(written.len(), 1);
    assert!(text_of(&written, "compare.html").contains("The two have no workload in common"));
}

#[test]
fn what_would_be_an_empty_drawing_is_an_error_that_says_why() {
    let a = result_set(&scenario(), 300, 1);
    let mut b = a.clone();
    b.summary.workloads.truncate(1);
    b.latencies.retain(|log| log.metric != Metric::Tpot);
    let options = Options { metric: None, compare: Some(&b), ..Options::default() };
    assert_eq!(options.check(&a), Ok(()));
    let options = Options { metric: Some(Metric::Tpot), ..options };
    let error = options.check(&a).unwrap_err().to_string();
    assert!(error.starts_with("no workload has a sample of `tpot`\nhint: measured: `ttft`, "), "{error}");
    let alone = Options { metric: Some(Metric::Tpot), compare: None, ..Options::default() };
    assert_eq!(alone.check(&a), Ok(()));
    assert!(matches!(alone.check(&b), Err(NothingToDraw::Unmeasured { metric: Metric::Tpot, .. })));
    b.summary.workloads[0].name = "calls".to_owned();
    let error =
        Options { metric: None, compare: Some(&b), ..Options::default() }.check(&a).unwrap_err().to_string();
    assert!(error.starts_with("no workload in common (`chat`, ") && error.contains(" | `calls`)"), "{error}");
}

#[test]
fn only_what_is_shaded_is_explained() {
    let shown = |warmup_ns: u64| {
        let mut set = result_set(&scenario(), 300, 1);
        let last = set.timeline.iter().map(|row| row.start_s).fold(0.0, f64::max);
        set.summary.provenance.warmup_ns = warmup_ns;
        set.summary.provenance.horizon_ns = (last * 1e9) as u64 + set.summary.provenance.bin_ns - 1;
        let plots = figures(&set, None);
        let pools: Vec<_> = plots.into_iter().filter(|plot| matches!(plot.about, About::Pool(_))).collect();
        assert!(!pools.is_empty());
        for plot in &pools {
            assert_eq!(plot.caption[1].contains("shaded"), !plot.shaded.is_empty(), "{:?}", plot.caption);
        }
        pools[0].shaded.len()
    };
    assert_eq!((shown(0), shown(1), shown(60_000_000_000)), (0, 0, 1));
}

#[test]
fn odd_names_reach_neither_the_markup_nor_another_folder() {
    let mut odd = scenario();
    odd.workloads[0].name = "../<chat> & \"co\"".to_owned();
    odd.pools[0].name = "a/b".to_owned();
    odd.question = "</style><script>alert(1)</script>".to_owned();
    let set = result_set(&odd, 200, 1);
    let (scratch, written) = rendered(&set, Options::default(), "odd");
    assert!(
        written.iter().all(|path| path.starts_with(&scratch.0) && !path.to_string_lossy().contains(".."))
    );
    assert!(!text_of(&written, "report.html").contains("<script>"));
    for path in written.iter().filter(|path| path.extension().is_some_and(|e| e == "svg")) {
        assert_balanced(&std::fs::read_to_string(path).unwrap());
    }
}

/// A small figure, drawn by hand; with it the invariants that make it one.
#[test]
fn a_small_figure_is_drawn_as_it_was_before() {
    let plot = plot::Plot {
        name: "small".to_owned(),
        about: About::Pool("p".to_owned()),
        title: "Requests <waiting>".to_owned(),
        caption: vec!["scenario small, seed 1".to_owned()],
        x: axis::Axis::time(10.0, "simulated time"),
        y: axis::Axis::count("requests", 2.0),
        series: vec![plot::Series {
            label: "queue".to_owned(),
            color: 0,
            look: Look::Solid,
            points: vec![(0.0, 0.0), (5.0, 2.0), (10.0, 1.0)],
        }],
        marks: Vec::new(),
        shaded: Vec::new(),
        limits: Vec::new(),
    };
    let svg = canvas::svg(&plot).inline();
    assert_balanced(&svg);
    let line = svg.lines().find(|line| line.contains("polyline") && line.contains("#0072B2")).unwrap();
    insta::assert_snapshot!(line, @r##"<polyline fill="none" opacity="1" stroke="#0072B2" stroke-width="22" points="660,3440 4000,1248 7340,2344 "/>"##);
    let points: Vec<(f64, f64)> = line
        .split("points=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|pair| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
        .collect();
    // Twice the count is twice as high above the axis, and half the time is half way.
    let floor = points[0].1;
    assert!(((floor - points[1].1) - 2.0 * (floor - points[2].1)).abs() <= 2.0, "{points:?}");
    assert!((points[1].0 - f64::midpoint(points[0].0, points[2].0)).abs() <= 1.0, "{points:?}");
}

#[test]
fn drawing_again_gives_the_same_bytes() {
    let set = result_set(&scenario(), 200, 2);
    let all = || {
        let (_scratch, written) = rendered(&set, Options::default(), "again");
        written.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(all(), all());
    let again: Summary = serde_json::from_slice(&encode_summary(&set.summary)).unwrap();
    assert_eq!(again, set.summary);
}

#[test]
fn a_comparison_with_another_variant_has_its_section_its_tables_and_its_figures() {
    let mut set = result_set(&scenario(), 300, 3);
    set.summary.comparisons = vec![crate::results::comparison::tests::sample()];
    let plots = figures(&set, None);
    let own: Vec<_> = plots.iter().filter(|plot| matches!(plot.about, About::Comparison(_))).collect();
    assert_eq!(own.len(), 2, "the ratio over time, and who slowed whom");
    let bands = own[0].series.iter().filter(|series| series.look == Look::Block);
    assert_eq!(bands.count(), 3, "one interval a stretch");
    assert_eq!(own[0].limits[0].at, 1.05);
    // Three parts that differ and their sum, for all pairs and for the slowest.
    assert_eq!(own[1].series.len(), 8);
    let ends: Vec<f64> = own[1].series[..4].iter().map(|bar| bar.points[2].1).collect();
    assert!(
        (ends[2] - ends[3]).abs() < 1e-6 * ends[3].abs(),
        "the last bar is where the parts end: {ends:?}"
    );
    let (_scratch, written) = rendered(&set, Options::default(), "against");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    for needle in [
        "Against no &lt;batch&gt; (20,001 requests in both)",
        "hour 1 of pool h100",
        "refused (queue-full)",
        "steps beside batch",
        "Counters of limits that are not as in no &lt;batch&gt;",
    ] {
        assert!(page.contains(needle), "{needle}");
    }
    set.summary.comparisons.clear();
    let (_scratch, written) = rendered(&set, Options::default(), "against-nothing");
    assert!(!text_of(&written, "report.html").contains("Against"));
}

/// A result set, and the same as if it had been measured.
fn predicted_and_measured() -> (ResultSet, ResultSet) {
    let set = result_set(&scenario(), 1_000, 3);
    let mut live = set.clone();
    live.summary.live = Some(crate::results::live::tests::sample());
    (set, live)
}

#[test]
fn a_live_report_says_first_whether_the_run_is_to_be_believed() {
    let (_, mut set) = predicted_and_measured();
    let (_scratch, written) = rendered(&set, Options::default(), "live");
    let page = text_of(&written, "report.html");
    assert_balanced(&page);
    for needle in [
        "Live run DEGRADED",
        "lag p99 1.4 ms is above 1 ms",
        "<h2>Live run</h2>",
        "failure: error in a &lt;stream&gt;",
        "lag p99.9",
    ] {
        assert!(page.contains(needle), "{needle}");
    }
    let (validity, verdict) = (page.find("Live run DEGRADED"), page.find("<h2>Properties</h2>"));
    assert!(validity < verdict, "{validity:?} {verdict:?}");
    set.summary.live.as_mut().unwrap().validity = crate::results::live::Validity::Invalid;
    let (_scratch, written) = rendered(&set, Options::default(), "live-invalid");
    assert!(text_of(&written, "report.html").contains("INVALID: no verdict is given"));
}

#[test]
fn a_prediction_beside_a_measurement_is_one_page_with_three_figures_a_latency() {
    let (a, mut b) = predicted_and_measured();
    // Answers of the first workload have other lengths.
    b.summary.workloads[0].output_tokens *= 2;
    let agreement = Agreement::new(&a, &b, false).unwrap();
    let options = Options { compare: Some(&b), agreement: Some(&agreement), ..Options::default() };
    let (_scratch, written) = rendered(&a, options, "agreement");
    let page = text_of(&written, "compare.html");
    assert_balanced(&page);
    let svgs = written.iter().filter(|path| path.extension().is_some_and(|ending| ending == "svg"));
    let names: Vec<String> =
        svgs.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(page.matches("<svg ").count(), names.len());
    let of = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    assert!(of("-ttft-histogram-compared") > 0, "{names:?}");
    assert_eq!(of("-ttft-histogram-compared"), of("-ttft-cdf-compared"));
    assert_eq!(of("-ttft-histogram-compared"), of("-ttft-percentiles-compared"));
    assert_eq!(of("-client-e2e-cdf-compared"), of("-ttft-cdf-compared") - 1, "one is left out: {names:?}");
    for needle in ["KS distance", "client-e2e is not compared", "Live run DEGRADED", "predicted", "intervals"]
    {
        assert!(page.contains(needle), "{needle}");
    }
    for needle in ["https:", "<script", "<link", "@import", "src=\""] {
        assert!(!page.contains(needle), "{needle}");
    }
}
