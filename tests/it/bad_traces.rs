//! Broken traces: each is refused with its file, its line, its column, its value and what to do about it.

use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate_sim::workload::{inspect, trace};

/// The corpus, by name, with paths relative to the workspace root (where tests of the root package run).
fn corpus() -> Vec<PathBuf> {
    let folder = Path::new("tests/bad/traces");
    let entries = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 55, "{} broken traces", files.len());
    files
}

#[test]
fn every_broken_trace_is_refused_with_its_diagnostic() {
    for file in corpus() {
        let error = trace::scan(&file, None).expect_err(&format!("{} is accepted", file.display()));
        let name = file.file_name().unwrap().to_string_lossy().replace('.', "-");
        insta::assert_snapshot!(name, format!("error: {error}\nhint: {}", error.hint()));
        assert_eq!(inspect::inspect(&file, None), Err(error), "inspecting says the same");
    }
}

#[test]
fn no_broken_trace_passes_as_any_format() {
    use tidegate_sim::scenario::TraceFormat;
    for file in corpus() {
        for format in TraceFormat::ALL {
            assert!(trace::scan(&file, Some(format)).is_err(), "{} as {}", file.display(), format.name());
        }
    }
}

#[test]
fn the_command_exits_with_2_and_says_nothing_on_stdout() {
    for name in ["binary.csv", "zero-output.csv", "truncated.csv.gz", "no-such-file.csv"] {
        let file = Path::new("tests/bad/traces").join(name);
        let run = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["trace", "inspect"])
            .arg(&file)
            .output()
            .expect("the command runs");
        assert_eq!(run.status.code(), Some(2), "{name}");
        assert!(run.stdout.is_empty(), "{name}");
        let talk = String::from_utf8_lossy(&run.stderr);
        assert!(talk.contains(name.split('.').next().unwrap()) && talk.contains("help:"), "{talk}");
    }
}

#[test]
fn an_unknown_format_is_refused_with_the_known_ones() {
    let run = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["trace", "inspect", "tests/bad/traces/empty.csv", "--format", "parquet"])
        .output()
        .expect("the command runs");
    assert_eq!(run.status.code(), Some(2));
    let talk = String::from_utf8_lossy(&run.stderr);
    assert!(talk.contains("`parquet`") && talk.contains("`mooncake`"), "{talk}");
}
