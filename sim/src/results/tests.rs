//! A result folder written and read back, and the promises its files make.

use super::*;
use crate::limits::Usage;
use crate::observe::JobState;
use crate::observe::Observer as _;
use crate::observe::recorder::Recorder;
use crate::observe::recording::{Reading, Recording};
use crate::observe::request_log::RequestLog;
use crate::observe::synthetic::{Fact, batched, fleet, limited, run, scenario, tell};
use crate::request::{Outcome, QUEUE_FULL, Refusal};
use crate::scenario::policy::reason_of;
use crate::scenario::{Metric, Scenario};
use crate::time::Time;
use std::path::PathBuf;

/// A folder of its own under the system's temporary one, removed when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One run under limits: the rate peaked at three quarters of its limit, a call was refused by it when `refuses`, an
/// overhead was too long twice, one request was cancelled at the deadline, and two expectations were judged.
pub(crate) fn limited_set(refuses: bool) -> ResultSet {
    let scenario = limited();
    let (facts, ended) = run(&scenario, 200, 7, 1_000);
    let mut recorder = Recorder::new(&scenario);
    tell(&facts, &mut recorder);
    let finished = facts.iter().find_map(|fact| match fact {
        Fact::Finished(done)
            if done.outcome == Outcome::Completed && done.arrived > Time::from_nanos(45_000_000_000) =>
        {
            Some(*done)
        }
        _ => None,
    });
    let mut failed = finished.expect("some request completes");
    recorder.offered(failed.arrived, &failed.head);
    (failed.outcome, failed.refusal) = (Outcome::Failed, Some(Refusal::plain(reason_of(1))));
    recorder.finished(&failed);
    recorder.violated(Time::ZERO, 2, &failed.head);
    recorder.violated(Time::ZERO, 2, &failed.head);
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    recorder.operated(at(0), 0, 0, Ok(()));
    recorder.operated(at(1), 0, 1, Err(Refusal::plain(QUEUE_FULL)));
    if refuses {
        recorder.operated(at(2), 0, 2, Err(Refusal::plain(reason_of(0))));
    }
    let blocked = u128::from(ended.as_nanos()) / 2;
    let usage =
        Usage { offered: 201, admitted: 200, peak: 15, peak_limit: 20, blocked, keys: 2, ..Usage::default() };
    recorder.metered(0, &usage);
    let recording = recorder.finish(ended);
    let estimates = vec![None; asked(&scenario).len()];
    let provenance = Provenance::new(&scenario, String::new(), vec![7]);
    let mut summary = Summary::new(&scenario, &recording, provenance, Vec::new(), &estimates);
    let row = |claim: &str, found: &str, verdict, replication| ExpectationRow {
        name: "chat & <co>".to_owned(),
        claim: claim.to_owned(),
        expected: "10".to_owned(),
        found: found.to_owned(),
        verdict,
        replication,
    };
    summary.expectations =
        vec![row("accepted", "10", Verdict::Holds, None), row("refused", "12", Verdict::Violated, Some(3))];
    ResultSet::new(summary, &recording)
}

/// Recordings of `replications` synthetic runs.
pub(crate) fn recordings(scenario: &Scenario, requests: u32, replications: u32) -> Vec<Recording> {
    let record = |seed: u64| {
        let (facts, ended) = run(scenario, requests, seed, 1_000);
        let mut recorder = Recorder::new(scenario);
        tell(&facts, &mut recorder);
        recorder.finish(ended)
    };
    (0..u64::from(replications)).map(record).collect()
}

/// The result set of synthetic runs, with a plain interval of two standard errors.
pub(crate) fn result_set(scenario: &Scenario, requests: u32, replications: u32) -> ResultSet {
    let runs = recordings(scenario, requests, replications);
    let mut all = runs[0].clone();
    for run in &runs[1..] {
        all.merge(run);
    }
    let asked = asked(scenario);
    let estimates: Vec<Option<Estimate>> = asked
        .iter()
        .map(|asked| estimate(&runs.iter().filter_map(|run| run.answer(asked)).collect::<Vec<_>>()))
        .collect();
    let mut provenance = Provenance::new(scenario, "0f343b0931126a20f133d67c2b018a3b".to_owned(), Vec::new());
    provenance.seeds =
        (0..u64::from(replications)).map(|i| crate::rng::replication_seed(7, i as u32)).collect();
    let p99 = asked.iter().position(|a| {
        matches!(a, crate::observe::recording::Asked::Workload(Some(0), crate::scenario::Measure::Quantile(Metric::Ttft, q)) if *q == 0.99)
    });
    let row = |property: &str, verdict, bound| VerdictRow {
        property: property.to_owned(),
        workload: Some("chat".to_owned()),
        figure: "ttft p99".to_owned(),
        unit: Unit::Ns,
        bound: BoundRow::AtMost(bound),
        verdict,
        estimate: p99.and_then(|index| estimates[index]),
        confidence: 0.95,
        reason: "the whole interval lies on one side of the bound".to_owned(),
    };
    let properties = vec![
        row("chat answers fast", Verdict::Holds, 1e9),
        row("chat answers at once", Verdict::Violated, 2e8),
        row("chat answers <b>soon</b> & politely", Verdict::Inconclusive, 5e8),
    ];
    ResultSet::new(Summary::new(scenario, &all, provenance, properties, &estimates), &all)
}

fn estimate(readings: &[Reading]) -> Option<Estimate> {
    let count = readings.len() as f64;
    if readings.is_empty() {
        return None;
    }
    let value = readings.iter().map(|r| r.value).sum::<f64>() / count;
    let spread = readings.iter().map(|r| (r.value - value).powi(2)).sum::<f64>() / (count - 1.0) / count;
    let interval = readings.len() > 1;
    Some(Estimate {
        value,
        low: interval.then(|| value - 2.0 * spread.sqrt()),
        high: interval.then(|| value + 2.0 * spread.sqrt()),
        samples: readings.iter().map(|r| r.samples).sum(),
        replications: readings.len() as u32,
    })
}

#[test]
fn a_result_folder_reads_back_as_it_was_written() {
    let scratch = Scratch::new("round-trip");
    let mut set = result_set(&scenario(), 2_000, 3);
    set.write(&Layout::new(&scratch.0), false).unwrap();
    let back = ResultSet::read(&scratch.0).unwrap();
    set.tenants.clear();
    assert_eq!(back.summary, set.summary);
    assert_eq!(back.latencies, set.latencies);
    assert_eq!(back.timeline, set.timeline);
}

#[test]
fn limits_and_operations_say_what_they_did() {
    let summary = limited_set(false).summary;
    let [rate, deadline, overhead, gate] = &summary.limits[..] else { panic!("{:?}", summary.limits) };
    assert_eq!((&rate.value[..], &rate.counted_by[..], rate.origin()), ("20/s", "account", "documented"));
    assert_eq!((rate.offered, rate.admitted, rate.refused, rate.counters), (201, 200, 0, 2));
    assert_eq!(rate.peak_share, Some(0.75));
    // Half of the time on one of two counters.
    assert!((rate.blocked_share.unwrap() - 0.25).abs() < 1e-9, "{:?}", rate.blocked_share);
    assert_eq!((deadline.refused, deadline.first_refused_ns.is_some()), (1, true));
    assert_eq!((overhead.violations, overhead.is_met(), gate.is_met()), (2, true, false));
    let creates = &summary.operations[0];
    assert_eq!((&creates.verb[..], creates.offered, creates.accepted), ("create-endpoint", 2, 1));
    assert_eq!(creates.refusals, [("queue-full".to_owned(), 1)].into());
    let failed: Vec<u64> =
        summary.workloads.iter().filter_map(|w| w.refusals.get("deadline").copied()).collect();
    assert_eq!(failed, [1]);
    assert!(summary.workloads.iter().all(|workload| !workload.refusals.contains_key("playground")));
    assert!(summary.workloads[0].figure("failed share").is_some(), "a deadline is in force");
}

#[test]
fn the_limit_with_the_highest_peak_share_binds_first_unless_one_refused() {
    let first = |refuses| limited_set(refuses).summary.binds_first.unwrap();
    // The deadline cancelled one, but no load is behind that.
    let near = first(false);
    assert_eq!((&near.limit[..], near.first_refused_ns), ("rate", None));
    assert_eq!(
        near.text(),
        "rate (20/s) binds first as load grows: its peak was 75 % of the limit, so it binds at 1.33 times this run's load"
    );
    let refused = first(true);
    assert_eq!((refused.first_refused_ns, refused.at_multiple), (Some(2_000_000_000), None));
    assert_eq!(refused.text(), "rate (20/s) binds first: it refused for the first time at 2s");
    assert_eq!(result_set(&scenario(), 100, 1).summary.binds_first, None);
}

#[test]
fn a_run_without_limits_writes_nothing_about_them() {
    let text = String::from_utf8(encode_summary(&result_set(&scenario(), 100, 1).summary)).unwrap();
    for key in ["expectations", "profile", "limits", "binds_first", "operations", "overhead", "failed share"]
    {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}");
    }
    let limited = limited_set(true).summary;
    let text = encode_summary(&limited);
    assert_eq!(serde_json::from_slice::<Summary>(&text).unwrap(), limited);
}

#[test]
fn the_profile_in_a_line_has_its_state_and_its_overlays() {
    let mut profile = limited_set(false).summary.profile.unwrap();
    assert_eq!(
        profile.text(),
        "Acme Serving limits, Public Preview, as of 2026-08-07, with public-api (acme)"
    );
    (profile.as_of, profile.preview) = ("undated".to_owned(), false);
    profile.overlays.clear();
    assert_eq!(profile.text(), "Acme Serving limits, undated (acme)");
}

#[test]
fn the_same_run_writes_the_same_bytes() {
    let scratch = Scratch::new("bytes");
    let scenario = scenario();
    let write = |name: &str| {
        let layout = Layout::new(scratch.0.join(name));
        let written = result_set(&scenario, 500, 2).write(&layout, false).unwrap();
        written.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(write("a"), write("b"));
}

#[test]
fn what_an_earlier_run_left_goes_away_and_nothing_else_does() {
    let scratch = Scratch::new("stale");
    let layout = Layout::new(&scratch.0);
    let old = [
        layout.hlog("gone", Metric::Ttft),
        layout.figure("gone-ttft-cdf", "svg"),
        layout.report(),
        layout.requests(),
    ];
    let foreign = [scratch.0.join("notes.txt"), layout.figures().join("photo.jpg")];
    for path in old.iter().chain(&foreign) {
        write_atomic(path, b"old").unwrap();
    }
    result_set(&scenario(), 100, 1).write(&layout, true).unwrap();
    assert!(layout.requests().exists());
    result_set(&scenario(), 100, 1).write(&layout, false).unwrap();
    assert!(old.iter().all(|path| !path.exists()));
    assert!(foreign.iter().all(|path| path.exists()));
}

#[test]
fn budgets_in_the_summary_add_up_to_the_end_to_end_latency_exactly() {
    let set = result_set(&scenario(), 2_000, 3);
    for workload in &set.summary.workloads {
        assert!(workload.e2e_sum_ns > 0);
        assert_eq!(workload.budget.iter().map(|row| row.sum_ns).sum::<u128>(), workload.e2e_sum_ns);
        assert_eq!(workload.outcomes.values().sum::<u64>(), workload.offered);
    }
}

#[test]
fn overhead_is_in_every_budget_as_soon_as_one_workload_has_some() {
    let scenario = scenario();
    let mut recording = recordings(&scenario, 100, 1).remove(0);
    let parts = |recording: &Recording| -> Vec<usize> {
        let provenance = Provenance::new(&scenario, String::new(), vec![7]);
        let estimates = vec![None; asked(&scenario).len()];
        let summary = Summary::new(&scenario, recording, provenance, Vec::new(), &estimates);
        assert!(
            summary.workloads.iter().all(|workload| workload.budget.last().unwrap().part == "preemption")
        );
        summary.workloads.iter().map(|workload| workload.budget.len()).collect()
    };
    assert_eq!(parts(&recording), [5, 5]);
    recording.workloads[1].budget.overhead = 1;
    assert_eq!(parts(&recording), [6, 6]);
}

#[test]
fn histogram_logs_have_the_header_the_tools_look_for_and_start_at_simulated_time() {
    let set = result_set(&scenario(), 200, 1);
    let scratch = Scratch::new("hlog");
    let layout = Layout::new(&scratch.0);
    set.write(&layout, false).unwrap();
    let text = std::fs::read_to_string(layout.hlog("chat", Metric::Ttft)).unwrap();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    assert!(text.contains("#[StartTime: 0.000 (seconds since epoch)]\n"));
    let interval = text.lines().last().unwrap();
    assert!(interval.starts_with("45.000,555.000,"), "{interval}");
    let original = set.latency("chat", Metric::Ttft).unwrap();
    assert_eq!(&hlog::decode(&text).unwrap(), original);
}

#[test]
fn broken_result_files_are_named_and_never_panic() {
    let scratch = Scratch::new("broken");
    let layout = Layout::new(&scratch.0);
    let error = |scratch: &Scratch| ResultSet::read(&scratch.0).unwrap_err().to_string();
    assert!(error(&scratch).contains("is not a result folder"));
    result_set(&scenario(), 100, 1).write(&layout, false).unwrap();
    let summary = std::fs::read_to_string(layout.summary()).unwrap();
    let ttft = layout.hlog("chat", Metric::Ttft);
    let log = std::fs::read_to_string(&ttft).unwrap();
    for (path, text, expected) in [
        (&ttft, "".to_owned(), "without an interval"),
        (&ttft, format!("{}\n", &log[..log.len() - 40]), "broken histogram"),
        (&ttft, log[..log.len() - 40].to_owned(), "not a histogram log"),
        (&ttft, "0.0,1.0,2.0,!!!!\n".to_owned(), "is not base64"),
        (&layout.timeline(), "pool,start_s\na,b\n".to_owned(), "timeline.csv"),
        (&layout.summary(), summary.replacen("\"schema\": 3", "\"schema\": 99", 1), "schema `99` is not 3"),
        (&layout.summary(), summary[..summary.len() / 2].to_owned(), "not a summary"),
        (&layout.summary(), "\u{0}\u{1}".to_owned(), "not a summary"),
    ] {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, text).unwrap();
        let error = error(&scratch);
        assert!(error.contains(expected), "{error}");
        std::fs::write(path, before).unwrap();
    }
    assert!(ResultSet::read(&scratch.0).is_ok());
}

#[test]
fn a_folder_that_lost_a_histogram_is_named_and_one_that_never_had_it_is_fine() {
    let scratch = Scratch::new("lost");
    let layout = Layout::new(&scratch.0);
    let mut set = result_set(&scenario(), 100, 1);
    set.write(&layout, false).unwrap();
    std::fs::remove_file(layout.hlog("chat", Metric::Ttft)).unwrap();
    let error = ResultSet::read(&scratch.0).unwrap_err().to_string();
    assert!(
        error.contains("chat-ttft.hlog`: missing") && error.contains("hint: run the scenario"),
        "{error}"
    );
    // Samples that no bucket holds leave no histogram.
    let chat = set.summary.workloads.iter_mut().find(|workload| workload.name == "chat").unwrap();
    let samples = chat.figure("ttft mean").unwrap().estimate.unwrap().samples;
    let outside = OutOfRange { below_1us: samples - 1, above_48h: 1 };
    chat.out_of_range.insert("ttft".to_owned(), outside);
    write_atomic(&layout.summary(), &encode_summary(&set.summary)).unwrap();
    assert_eq!(ResultSet::read(&scratch.0).unwrap().latency("chat", Metric::Ttft), None);
}

#[test]
fn empty_and_tiny_runs_leave_a_folder_that_reads_back() {
    for (requests, replications) in [(0, 1), (1, 1), (1, 3)] {
        let scratch = Scratch::new(&format!("tiny-{requests}-{replications}"));
        let set = result_set(&scenario(), requests, replications);
        set.write(&Layout::new(&scratch.0), false).unwrap();
        assert_eq!(ResultSet::read(&scratch.0).unwrap().summary, set.summary);
        for table in set.summary.workload_tables() {
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()));
        }
    }
}

#[test]
fn a_timeline_row_is_the_mean_over_replications_and_an_early_end_counts_as_idle() {
    let scenario = scenario();
    let mut runs = recordings(&scenario, 300, 2);
    let (a, b) = (timeline_rows(&runs[0]), timeline_rows(&runs[1]));
    let second = runs.remove(1);
    runs[0].merge(&second);
    let both = timeline_rows(&runs[0]);
    let chat = |rows: &[TimelineRow]| rows.iter().filter(|r| r.pool == "h100").cloned().collect::<Vec<_>>();
    let (a, b, both) = (chat(&a), chat(&b), chat(&both));
    assert_eq!(both.len(), a.len().max(b.len()));
    for (index, row) in both.iter().enumerate() {
        let mean = |get: fn(&TimelineRow) -> f64| {
            (a.get(index).map_or(0.0, get) + b.get(index).map_or(0.0, get)) / 2.0
        };
        assert!((row.offered - mean(|row| row.offered)).abs() < 1e-8);
        assert!((row.utilization - mean(|row| row.utilization)).abs() < 1e-8);
        assert!((row.running.unwrap() - mean(|row| row.running.unwrap())).abs() < 1e-8);
        assert!((row.kv_occupancy.unwrap() - mean(|row| row.kv_occupancy.unwrap())).abs() < 1e-8);
    }
}

#[test]
fn the_request_log_has_a_line_for_every_request_with_its_exact_latencies() {
    let scenario = scenario();
    let (facts, _) = run(&scenario, 300, 3, 1);
    let mut log = RequestLog::new(&scenario, Vec::new());
    tell(&facts, &mut log);
    let (bytes, lines) = log.finish().unwrap();
    assert_eq!(lines, 300);
    let mut csv = csv::Reader::from_reader(&bytes[..]);
    let columns = csv.headers().unwrap().clone();
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let ns = |text: &str| {
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        whole.parse::<u64>().unwrap() * 1_000 + format!("{rest:0<3}").parse::<u64>().unwrap()
    };
    for record in csv.records() {
        let record = record.unwrap();
        let number = |name: &str| record[at(name)].parse::<u64>().ok();
        let arrived = number("arrived_ns").unwrap();
        assert_eq!(number("ready_ns"), Some(arrived));
        assert_eq!(&record[at("retry_after_ns")], "");
        assert_eq!(ns(&record[at("e2e_us")]), number("ended_ns").unwrap() - arrived);
        match number("first_token_ns") {
            Some(first) => assert_eq!(ns(&record[at("ttft_us")]), first - arrived),
            None => assert_eq!((&record[at("outcome")], &record[at("ttft_us")]), ("refused", "")),
        }
    }
}

#[test]
fn the_request_log_has_the_exact_wait_of_a_refused_request() {
    let scenario = limited();
    let finished = run(&scenario, 300, 3, 1).0.into_iter().find_map(|fact| match fact {
        Fact::Finished(done) if done.outcome == Outcome::Refused => Some(done),
        _ => None,
    });
    let mut done = finished.expect("some are refused");
    let retry_after = Some(crate::time::Span::from_nanos(1_234_567_891));
    done.refusal = Some(Refusal { retry_after, ..Refusal::plain(reason_of(0)) });
    let mut log = RequestLog::new(&scenario, Vec::new());
    log.finished(&done);
    let text = String::from_utf8(log.finish().unwrap().0).unwrap();
    assert!(text.contains(",refused,rate,1234567891,"), "{text}");
}

#[test]
fn a_request_log_that_cannot_be_written_says_so_at_the_end() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no space left"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scenario = scenario();
    let mut log = RequestLog::new(&scenario, Full);
    tell(&run(&scenario, 10, 3, 1_000).0, &mut log);
    assert_eq!(log.finish().map(|(_, lines)| lines).unwrap_err().to_string(), "no space left");
}

#[test]
fn the_summary_file_holds_exact_sums_and_no_clock() {
    let set = result_set(&scenario(), 400, 2);
    let text = String::from_utf8(encode_summary(&set.summary)).unwrap();
    assert!(text.ends_with("}\n"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], SCHEMA);
    assert_eq!(value["provenance"]["target"], format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
    let ended = Time::from_nanos(value["provenance"]["ended_ns"].as_u64().unwrap());
    assert!(ended >= Time::ZERO + scenario().horizon);
    for word in ["date", "time\"", "clock", "host", "wall"] {
        assert!(!text.contains(word), "`{word}` in {text}");
    }
}

/// The result set of three synthetic runs with a fleet, with the changes of the first.
pub(crate) fn fleet_set() -> ResultSet {
    let scenario = fleet();
    let (facts, _) = run(&scenario, 1_500, 0, 1_000);
    let mut recorder = Recorder::new(&scenario).with_fleet_log();
    tell(&facts, &mut recorder);
    result_set(&scenario, 1_500, 3).with_fleet(&scenario, &recorder.take_fleet_log())
}

#[test]
fn fleets_clients_and_costs_read_back_as_they_were_written() {
    let scratch = Scratch::new("fleet");
    let layout = Layout::new(&scratch.0);
    let set = fleet_set();
    set.write(&layout, false).unwrap();
    let back = ResultSet::read(&scratch.0).unwrap();
    assert_eq!((&back.summary, &back.timeline), (&set.summary, &set.timeline));
    assert_eq!(back.clients, set.clients);
    assert!(!set.clients.is_empty() && set.clients.iter().all(|row| row.workload == "agents"));
    let text = std::fs::read_to_string(layout.fleet()).unwrap();
    assert!(
        text.starts_with("time_s,pool,cause,ready,starting,draining,down,wanted,replica,slow,lost,moved\n")
    );
    assert_eq!(text.lines().count(), 1 + set.fleet.len());
    assert!(text.contains("0.0,h100,start,5,0,0,0,5,,,,\n"), "{text}");
    assert!(text.contains(",h100,replica-failed,,,,,,0,,2,3\n"), "{text}");
    // A later run without a fleet leaves none of it behind.
    result_set(&scenario(), 100, 1).write(&layout, false).unwrap();
    assert!(!layout.fleet().exists() && !layout.clients().exists());
}

#[test]
fn the_summary_says_what_became_of_replicas_attempts_and_money() {
    let summary = fleet_set().summary;
    let [h100, l40s] = &summary.pools[..] else { panic!("{:?}", summary.pools) };
    let (scaled, fixed) = (h100.fleet.as_ref().unwrap(), l40s.fleet.as_ref().unwrap());
    assert!(scaled.replicas_least < scaled.replicas_most && scaled.starts > 0 && scaled.failures > 0);
    assert_eq!((scaled.lost, scaled.moved), (2 * scaled.failures, 3 * scaled.failures));
    assert_eq!((fixed.replicas_least, fixed.replicas_most, fixed.starts), (Some(4), Some(4), 0));
    assert!(h100.figure("replicas").is_some() && l40s.figure("replicas").is_none());
    let agents = &summary.workloads[1];
    assert_eq!(agents.other_pools, ["h100"]);
    let attempts = agents.attempts.as_ref().unwrap();
    assert_eq!(attempts.outcomes.values().sum::<u64>(), attempts.offered);
    assert_eq!(attempts.amplification, Some(attempts.attempts as f64 / agents.offered as f64));
    assert!(summary.workloads[0].attempts.is_none());
    let costs = summary.costs.as_ref().unwrap();
    assert_eq!(costs.currency, "USD");
    let pools = scaled.cost.unwrap() + fixed.cost.unwrap();
    assert!((costs.total / pools - 1.0).abs() < 1e-9, "{} {pools}", costs.total);
    assert!(summary.caveats.iter().any(|caveat| caveat.contains("pays the highest")));
    // Rates are of one replication, sums of all.
    let hours = h100.figure("gpu hours").unwrap().estimate.unwrap().value;
    assert!((hours * 3.0 - scaled.gpu_ns as f64 / 3.6e12).abs() < 1e-9);
}

#[test]
fn a_run_without_a_fleet_says_nothing_about_one() {
    let summary = result_set(&scenario(), 100, 1).summary;
    let text = String::from_utf8(encode_summary(&summary)).unwrap();
    for key in ["fleet", "costs", "attempts", "other_pools", "amplification", "cost", "replicas_least"] {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}");
    }
    for table in [summary.fleet_table(), summary.cost_table(), summary.client_table()] {
        assert!(table.rows.is_empty(), "{table:?}");
    }
}

#[test]
fn the_tables_of_a_fleet_have_a_line_for_each_pool_tier_and_client() {
    let summary = fleet_set().summary;
    let tables = [summary.fleet_table(), summary.cost_table(), summary.client_table()];
    assert_eq!(tables.each_ref().map(|table| table.rows.len()), [2, 4, 1]);
    for table in &tables {
        assert!(table.rows.iter().all(|row| row.len() == table.head.len()));
    }
    assert!(tables[0].title.contains("costs in USD"), "{}", tables[0].title);
    assert_eq!(tables[1].rows[0][0], "tier standard");
    assert_eq!(tables[2].rows[0][0], "agents");
}

#[test]
fn the_utilization_of_a_bin_is_of_the_replicas_that_served_in_it() {
    let scenario = fleet();
    let recording = recordings(&scenario, 300, 1).remove(0);
    let rows = timeline_rows(&recording);
    let row = rows.iter().filter(|row| row.pool == "h100").nth(20).unwrap();
    let (bin, scale) = (recording.pools[0].timeline.bins()[20], recording.pools[0].scale.bins[20]);
    assert!((row.utilization - bin.busy_ns as f64 / scale.serving_ns as f64).abs() < 1e-8);
    assert_eq!(row.replicas_ready, Some(scale.ready as f64));
}

/// The result set of three synthetic runs with batch, with the jobs of the first.
pub(crate) fn batch_set() -> ResultSet {
    let scenario = batched();
    let (facts, _) = run(&scenario, 1_500, 0, 1_000);
    let mut recorder = Recorder::new(&scenario);
    tell(&facts, &mut recorder);
    result_set(&scenario, 1_500, 3).with_jobs(&scenario, &recorder.job_log())
}

#[test]
fn batch_jobs_read_back_as_they_were_written() {
    let scratch = Scratch::new("batch");
    let layout = Layout::new(&scratch.0);
    let set = batch_set();
    set.write(&layout, false).unwrap();
    let back = ResultSet::read(&scratch.0).unwrap();
    assert_eq!((&back.summary, &back.timeline, &back.jobs), (&set.summary, &set.timeline, &set.jobs));
    let text = std::fs::read_to_string(layout.jobs()).unwrap();
    assert!(
        text.starts_with(
            "batch,job,account,created_s,started_s,ended_s,expires_s,state,requests,completed,failed,expired,\
             cancelled,tokens,reason,line\n"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1 + set.jobs.len());
    assert!(text.contains("agents,0,3,5.0,7.0,"), "{text}");
    for row in &set.jobs {
        let over = row.completed + row.failed + row.expired + row.cancelled;
        assert!(
            over == row.requests
                || ["in_progress", "validating", "failed", "refused"].contains(&&row.state[..])
        );
        assert_eq!(row.ended_s.is_some(), row.state != "in_progress" && row.state != "validating");
    }
    // A later run without batch leaves none of it behind.
    result_set(&scenario(), 100, 1).write(&layout, false).unwrap();
    assert!(!layout.jobs().exists());
}

#[test]
fn the_summary_says_what_became_of_jobs_and_their_requests() {
    let summary = batch_set().summary;
    let [batch] = &summary.batches[..] else { panic!("{:?}", summary.batches) };
    assert_eq!((&batch.name[..], batch.window_ns), ("agents", 120_000_000_000));
    assert_eq!(batch.states.values().sum::<u64>(), batch.jobs);
    let of = &batch.requests;
    assert_eq!(of.total, of.completed + of.failed + of.expired + of.cancelled + of.unfinished);
    assert!(batch.state(JobState::Completed) > 0 && batch.overdue > 0 && batch.decided < batch.jobs);
    let share = batch.figure("jobs completed").unwrap().estimate.unwrap();
    assert_eq!(share.samples, batch.decided);
    // Shares are estimated by the mean of three runs here.
    let pooled = batch.state(JobState::Completed) as f64 / batch.decided as f64;
    assert!((share.value - pooled).abs() < 0.05, "{} {pooled}", share.value);
    assert_eq!(batch.accounts.iter().map(|account| account.account).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(batch.accounts.iter().map(|account| account.requests).sum::<u64>(), of.total);
    assert_eq!(batch.accounts.iter().map(|account| account.completed).sum::<u64>(), of.completed);
    let turned_away = batch.state(JobState::Failed) + batch.state(JobState::Refused);
    assert_eq!(batch.reasons, [("queue-full".to_owned(), turned_away)].into());
    assert!(batch.longest_ns.unwrap() < batch.window_ns && batch.above_48h == 0);
    assert!(batch.enqueued_peak > 0);
    // Some were submitted in the warm-up, and some windows were open at the end.
    assert_eq!(batch.uncounted, 3 * 3);
    let said = |needle: &str| summary.caveats.iter().any(|caveat| caveat.contains(needle));
    assert!(said("9 jobs submitted in the warm-up are not counted"), "{:?}", summary.caveats);
    assert!(said("jobs was open when the run ended"), "{:?}", summary.caveats);
    // What is said of jobs is not said of the workload as well.
    assert!(summary.workloads[1].figure("jobs completed").is_none());
    assert!(summary.all_workloads.iter().all(|figure| !figure.name.starts_with("job")));
}

#[test]
fn the_budget_of_real_time_says_which_part_of_it_is_due_to_batch() {
    let summary = batch_set().summary;
    let [chat, agents] = &summary.workloads[..] else { panic!("{:?}", summary.workloads) };
    let beside = chat.beside_batch.as_ref().unwrap();
    let decode = chat.budget.iter().find(|row| row.part == "decode").unwrap();
    // A tenth of each decode in these runs, and no part of the sum.
    let share = beside.sum_ns as f64 / decode.sum_ns as f64;
    assert!((0.09..0.11).contains(&share), "{share}");
    assert_eq!(chat.budget.iter().map(|row| row.sum_ns).sum::<u128>(), chat.e2e_sum_ns);
    assert_eq!(chat.budget_table().rows.last().unwrap()[0], "of which beside batch");
    assert!(agents.beside_batch.is_none() && chat.has_more_than_waits());
}

#[test]
fn the_timeline_has_batch_requests_and_their_tokens() {
    let set = batch_set();
    let sum = |pool: &str, get: fn(&TimelineRow) -> f64| {
        set.timeline.iter().filter(|row| row.pool == pool).map(get).sum::<f64>()
    };
    let tokens: fn(&TimelineRow) -> f64 = |row| row.batch_tokens;
    assert_eq!(sum("h100", tokens), 0.0);
    assert!((sum("l40s", tokens) - sum("l40s", |row| row.output_tokens)).abs() < 1e-6);
    assert!(sum("l40s", |row| row.batch_requests.unwrap_or(0.0)) > 0.0);
}

#[test]
fn a_run_without_batch_says_nothing_about_it() {
    let summary = result_set(&scenario(), 100, 1).summary;
    let text = String::from_utf8(encode_summary(&summary)).unwrap();
    for key in ["batches", "beside_batch", "jobs completed"] {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}");
    }
    assert!(summary.batch_tables().iter().all(|table| table.rows.is_empty()));
}

#[test]
fn the_tables_of_batch_have_a_line_for_each_batch_account_and_reason() {
    let summary = batch_set().summary;
    let tables = summary.batch_tables();
    assert_eq!(tables.each_ref().map(|table| table.rows.len()), [1, 1, 2, 1]);
    for table in &tables {
        assert!(table.rows.iter().all(|row| row.len() == table.head.len()));
    }
    let jobs = &tables[0];
    assert!(jobs.rows[0].iter().any(|cell| cell.ends_with(" overdue)")), "{jobs:?}");
    let alone = |summary: &mut Summary| summary.batches[0].accounts.truncate(1);
    let mut one = summary.clone();
    alone(&mut one);
    assert!(one.batch_tables()[2].rows.is_empty(), "an account alone is the whole");
}
