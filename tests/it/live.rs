//! The emulator and the load generator as processes: what a live run has in common with the simulation, and what is left
//! of it when something breaks off.

use crate::served::{Emulator, Folder, Running, text, tidegate};
use std::time::{Duration, Instant};

/// Three seconds of chat, 300 requests, on a gateway with a limit.
const SCENARIO: &str = "tests/data/live.toml";

fn load(url: &str, out: &str, more: &[&str]) -> std::process::Output {
    let args = ["load", SCENARIO, "--target", url, "--out", out, "--blocks", "1"];
    tidegate(&args).args(more).output().unwrap()
}

/// The parts of the counts, which must sum to the first.
fn counts(summary: &serde_json::Value) -> [u64; 6] {
    let counts = &summary["live"]["counts"];
    let parts = ["scheduled", "succeeded", "refused", "failed", "cancelled", "unsent"];
    let parts = parts.map(|part| counts[part].as_u64().unwrap_or_else(|| panic!("{part}: {counts}")));
    assert_eq!(parts[0], parts[1..].iter().sum::<u64>(), "{counts}");
    parts
}

#[test]
fn the_log_of_a_run_over_sockets_replays_to_the_identical_decisions() {
    let folder = Folder::new("live-parity");
    let log = folder.path("log.csv");
    let emulator = Emulator::start(SCENARIO, &["--log", &log]);
    let loaded = load(&emulator.url, &folder.path("live"), &[]);
    let (code, said) = emulator.stop();
    assert_eq!(code, Some(0), "{said}");
    let [scheduled, succeeded, refused, failed, ..] = counts(&folder.summary("live"));
    assert!(scheduled > 200 && succeeded > 100 && refused > 10 && failed == 0, "{}", text(&loaded));
    let replayed = tidegate(&["replay", SCENARIO, "--log", &log, "--schedule"]).output().unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    assert!(text(&replayed).contains("every decision is that of the emulator"), "{}", text(&replayed));
    let other = ["replay", SCENARIO, "--log", &log, "--set", "pools.chat.replicas=1"];
    let other = tidegate(&other).output().unwrap();
    assert_eq!(other.status.code(), Some(1), "another gateway decides otherwise: {}", text(&other));
}

#[test]
fn a_live_run_has_the_arrivals_of_the_simulation_to_the_bit() {
    let folder = Folder::new("live-arrivals");
    let emulator = Emulator::start(SCENARIO, &[]);
    load(&emulator.url, &folder.path("live"), &[]);
    emulator.stop();
    let simulated =
        tidegate(&["run", SCENARIO, "--no-plots", "--out", &folder.path("sim")]).output().unwrap();
    assert!(folder.0.join("sim/summary.json").exists(), "{}", text(&simulated));
    let hash = |name: &str| folder.summary(name)["provenance"]["arrival_hash"].as_str().unwrap().to_owned();
    assert_eq!(hash("live"), hash("sim"));
    assert_eq!(hash("live").len(), 64);
    let tokens = &folder.summary("live")["live"]["workloads"][0];
    assert_eq!(tokens["planned_output_tokens"], tokens["output_tokens"], "the emulator says what was drawn");
}

#[test]
fn a_run_that_is_interrupted_stops_in_a_second_and_keeps_what_it_has() {
    let folder = Folder::new("live-interrupted");
    let emulator = Emulator::start(SCENARIO, &[]);
    let out = folder.path("live");
    let args = ["load", SCENARIO, "--target", &emulator.url, "--out", &out, "--set", "scenario.horizon=60s"];
    let loading = Running::start(&mut tidegate(&args));
    std::thread::sleep(Duration::from_millis(2_500));
    loading.signal("INT");
    let start = Instant::now();
    let (code, said) = loading.end(Duration::from_secs(20));
    assert_eq!(code, Some(3), "{said}");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    let summary = folder.summary("live");
    let [scheduled, succeeded, .., unsent] = counts(&summary);
    assert!(scheduled > 4_000 && succeeded > 20 && unsent > 1_000, "{}", summary["live"]["counts"]);
    assert_eq!(summary["interrupted"], true);
    emulator.stop();
}

#[test]
fn every_request_is_accounted_for_when_the_server_dies_in_the_middle() {
    let folder = Folder::new("live-died");
    let emulator = Emulator::start(SCENARIO, &[]);
    let out = folder.path("live");
    let args = ["load", SCENARIO, "--target", &emulator.url, "--out", &out, "--blocks", "1"];
    let loading = Running::start(&mut tidegate(&args));
    std::thread::sleep(Duration::from_millis(1_500));
    emulator.kill();
    let (code, said) = loading.end(Duration::from_secs(60));
    assert_ne!(code, Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let summary = folder.summary("live");
    let [_, succeeded, _, failed, ..] = counts(&summary);
    assert!(succeeded > 0 && failed > 0, "{}", summary["live"]["counts"]);
}

#[test]
fn a_key_is_in_no_output_and_in_no_file() {
    let folder = Folder::new("live-canary");
    let canary = "sk-canary-7f3a9c51";
    let emulator = Emulator::start(SCENARIO, &["--log", &folder.path("log.csv")]);
    let out = folder.path("live");
    for more in [&[][..], &["--dry-run"], &["--target", "http://127.0.0.1:9/"], &["--max-requests", "0"]] {
        let mut command = tidegate(&["load", SCENARIO, "--out", &out, "--blocks", "1"]);
        if more.first() != Some(&"--target") {
            command.args(["--target", &emulator.url]);
        }
        let output = command.args(more).env("TIDEGATE_API_KEY", canary).output().unwrap();
        assert!(!text(&output).contains(canary), "{more:?}: {}", text(&output));
    }
    let (_, said) = emulator.stop();
    assert!(!said.contains(canary), "{said}");
    let mut folders = vec![folder.0.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let found = std::fs::read(&path).unwrap();
                let found = found.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "the key is in {path:?}");
            }
        }
    }
}

#[test]
fn what_a_client_saw_gives_the_step_law_back() {
    let folder = Folder::new("live-calibrated");
    let (points, law) = (folder.path("points.csv"), folder.path("law.toml"));
    let emulator = Emulator::start("tests/data/live-fit.toml", &[]);
    let out = folder.path("live");
    let args = ["load", "tests/data/live-fit.toml", "--target", &emulator.url, "--out", &out, "--no-plots"];
    let loaded = tidegate(&args).args(["--points", &points]).output().unwrap();
    emulator.stop();
    let fitted = tidegate(&["calibrate", &points, "--out", &law]).output().unwrap();
    assert_eq!(fitted.status.code(), Some(0), "{}{}", text(&loaded), text(&fitted));
    let written: toml::Table = std::fs::read_to_string(&law).unwrap().parse().unwrap();
    let us = |name: &str| {
        let value = written[name]["value"].as_str().unwrap();
        value.strip_suffix("us").unwrap().parse::<f64>().unwrap()
    };
    // What the scenario says, within what a busy machine adds to a step.
    assert!((us("base") / 5_000.0 - 1.0).abs() < 0.25, "{}", text(&fitted));
    assert!(us("per_decode") > 20.0 && us("per_decode") < 300.0, "{}", text(&fitted));
    let predicted = ["run", "tests/data/live-fit.toml", "--no-plots", "--out", &folder.path("predicted")];
    let by_fit = format!("pools.chat.step_time={{ kind = \"calibrated\", file = \"{law}\" }}");
    let predicted = tidegate(&predicted).args(["--set", &by_fit]).output().unwrap();
    assert_eq!(predicted.status.code(), Some(0), "{}", text(&predicted));
    let mean = |name: &str| {
        let summary = folder.summary(name);
        let figures = summary["workloads"][0]["figures"].as_array().unwrap().clone();
        let e2e = figures.iter().find(|figure| figure["name"] == "e2e mean").unwrap().clone();
        e2e["estimate"]["value"].as_f64().unwrap()
    };
    let (predicted, measured) = (mean("predicted"), mean("live"));
    assert!((predicted / measured - 1.0).abs() < 0.3, "{predicted} and {measured}");
}
