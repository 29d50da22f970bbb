//! One workload on which two independent simulators agree to the microsecond, request by request.

use crate::support::{affine_law, arrival, llm_pool, run, scenario, workload};
use tidegate_sim::engine::Mode;
use tidegate_sim::replica::step_time::LawBounds;
use tidegate_sim::scenario::{BatchPolicy, Batching, Kv, LlmEngine, Route};
use tidegate_sim::time::Span;

#[derive(Debug)]
struct Row {
    arrival_us: u64,
    prompt: u32,
    output: u32,
    ttft_us: u64,
    e2e_us: u64,
}

fn rows() -> Vec<Row> {
    let read = |name: &str| {
        let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut reader = csv::Reader::from_path(path).unwrap();
        reader.records().map(|row| row.unwrap()).collect::<Vec<_>>()
    };
    let number = |row: &csv::StringRecord, column: usize| row[column].parse::<u64>().unwrap();
    read("x1_workload.csv")
        .iter()
        .zip(read("x1_expected.csv"))
        .map(|(given, expected)| {
            assert_eq!(given[0], expected[0]);
            Row {
                arrival_us: number(given, 1),
                prompt: number(given, 2) as u32,
                output: number(given, 3) as u32,
                ttft_us: number(&expected, 1),
                e2e_us: number(&expected, 2),
            }
        })
        .collect()
}

fn within_1us(mode: Mode) {
    let rows = rows();
    let bounds = LawBounds { sequences: 128, tokens: 512, sequence_tokens: 8192 };
    let engine = LlmEngine {
        law: affine_law(Span::from_micros(1), bounds),
        batching: Batching { policy: BatchPolicy::Chunked, tokens: 512, sequences: 128 },
        kv: Kv { block_tokens: 16, blocks: 20_000, watermark_blocks: 0, prefix_cache: false },
        context_tokens: 8192,
        below: None,
    };
    let scenario = scenario(
        Span::from_secs(400),
        vec![llm_pool("x1", 1, Route::RoundRobin, engine)],
        vec![workload("x1", 0, 0)],
    );
    let script = rows.iter().enumerate();
    let script =
        script.map(|(i, row)| arrival(0, i as u64, row.arrival_us * 1000, row.prompt, row.output)).collect();
    let (_, all) = run(&scenario, vec![script], mode);
    assert_eq!(all.finished.len(), 2_000);
    let equal = all.finished.iter().zip(&rows).filter(|(done, row)| {
        let near = |ours: Span, theirs: u64| (ours.as_nanos() / 1000).abs_diff(theirs) <= 1;
        near(done.ttft().unwrap(), row.ttft_us) && near(done.e2e(), row.e2e_us)
    });
    assert_eq!(equal.count(), 2_000, "requests whose TTFT and E2E equal the peers' within 1 us");
}

#[test]
fn ttft_and_e2e_of_2000_requests_equal_two_peers_within_1us() {
    within_1us(Mode::Fast);
}

/// The scenario file says the same as the scenario built in code above, and so does the file it writes.
#[test]
fn the_shipped_scenario_writes_the_same_2000_latencies() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("crosscheck");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["run", "scenarios/crosscheck.toml", "--requests", "--no-plots", "--out"])
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let mut reader = csv::Reader::from_path(folder.join("requests.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (index, ttft, e2e) = (column("index"), column("ttft_us"), column("e2e_us"));
    let rows = rows();
    let mut seen = vec![false; rows.len()];
    for record in reader.records() {
        let record = record.unwrap();
        let number = |column: usize| record[column].parse::<f64>().unwrap();
        let row = number(index) as usize;
        assert!((number(ttft) - rows[row].ttft_us as f64).abs() <= 1.0, "TTFT of request {row}");
        assert!((number(e2e) - rows[row].e2e_us as f64).abs() <= 1.0, "E2E of request {row}");
        assert!(!std::mem::replace(&mut seen[row], true), "request {row} is there twice");
    }
    assert!(seen.iter().all(|&seen| seen));
}

#[test]
fn so_do_the_engines_that_do_not_skip() {
    within_1us(Mode::Unskipped);
    within_1us(Mode::Naive);
}
