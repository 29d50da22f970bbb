//! The uncalibrated roofline against public measurements.
//!
//! Needs AIConfigurator's silicon sample (`measured/e2e_serving_silicon.csv` under `$TIDEGATE_DATA`, or
//! `../shared/data` beside the repository); skipped aloud where it is absent.
//!
//! The prediction is a mean field: in a closed loop at fixed concurrency every step has the average batch, and each
//! request is delayed by the chunks of the others. It knows nothing of waves of requests that finish together, so it
//! predicts TPOT, not TTFT. The bound asserted is wide on purpose: this profile is not a fit.

// A table that does not parse fails this test, which is what it is for.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tidegate_sim::hardware::{self, KvPrecision, Placement, Precision};
use tidegate_sim::replica::step_time::{LawBounds, StepLaw, StepShape};
use tidegate_sim::time::Span;

/// Default of vLLM's API server on these GPUs, tokens a step.
const BUDGET: u64 = 8192;

/// One measured configuration.
struct Row {
    gpu: &'static str,
    model: &'static str,
    precision: Precision,
    version: String,
    tp: u32,
    concurrency: u64,
    prompt: u64,
    output: u64,
    tpot_s: f64,
}

fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("TIDEGATE_DATA").map_or_else(beside, PathBuf::from);
    let file = root.join("measured/e2e_serving_silicon.csv");
    if file.is_file() {
        return Some(file);
    }
    eprintln!(
        "skipped: {} is not there; set TIDEGATE_DATA to the folder that holds `measured`",
        file.display()
    );
    None
}

/// vLLM rows of one replica without data, pipeline or expert parallelism; excluded by configuration, never by residual.
fn rows(file: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.unwrap();
        let cell = |name: &str| record.get(header.iter().position(|h| h == name).unwrap()).unwrap();
        let plain = cell("backend") == "vllm"
            && cell("mode") == "agg"
            && cell("pp_size") == "1"
            && ["", "1"].contains(&cell("attention_dp_size"))
            && ["", "0", "1"].contains(&cell("moe_ep_size"))
            && !cell("concurrency").is_empty();
        if !plain {
            continue;
        }
        let model = match cell("model_path") {
            "meta-llama/Llama-3.1-70B" => "llama-3.1-70b",
            "Qwen/Qwen3-32B" => "qwen3-32b",
            "openai/gpt-oss-120b" => "gpt-oss-120b",
            "MiniMaxAI/MiniMax-M2.5" => "minimax-m2.5",
            _ => continue,
        };
        let gpu = match cell("system") {
            "h100_sxm" => "h100-sxm",
            "b200_sxm" => "b200-sxm",
            "b300_sxm" => "b300-sxm",
            _ => continue,
        };
        let precision = match (model, cell("precision")) {
            ("gpt-oss-120b", _) => Precision::Mxfp4,
            (_, "fp8") => Precision::Fp8,
            (_, "fp4") => Precision::Fp4,
            // Not stated upstream: taken to be the checkpoint's own format.
            _ => Precision::Bf16,
        };
        let version = match cell("backend_version") {
            "" => "unstated".to_owned(),
            version => version.chars().take(7).collect(),
        };
        let count = |name: &str| cell(name).parse::<u64>().unwrap();
        rows.push(Row {
            gpu,
            model,
            precision,
            version,
            tp: count("tp_size") as u32,
            concurrency: count("concurrency"),
            prompt: count("isl"),
            output: count("osl"),
            tpot_s: cell("silicon_tpot_ms").parse::<f64>().unwrap() / 1e3,
        });
    }
    rows
}

/// Mean-field TPOT, seconds; `None` when the KV cache cannot hold one request.
fn predict(row: &Row) -> Option<f64> {
    let (gpu, model) = (hardware::gpu(row.gpu).unwrap(), hardware::architecture(row.model).unwrap());
    let placement = Placement::new(gpu, model, row.tp, row.precision, KvPrecision::Bf16).unwrap();
    let kv_tokens = 16 * u64::from(placement.kv_blocks(0.9, 16, row.concurrency as u32).ok()?);
    let context = row.prompt + row.output / 2;
    // The cache may hold fewer requests than there are clients; the others wait and have no TPOT yet.
    let running = row.concurrency.min(kv_tokens / context);
    if running == 0 {
        return None;
    }
    let bounds = LawBounds { sequences: running as u32, tokens: 1 << 17, sequence_tokens: 1 << 17 };
    let calibration = hardware::calibration("uncalibrated").unwrap();
    let law = StepLaw::roofline(&placement, calibration, Span::from_nanos(1), &bounds).unwrap();
    let step = |decodes: u64, chunk: u64, start: u64| {
        let shape = StepShape {
            sequences: (decodes + u64::from(chunk > 0)) as u32,
            decodes: decodes as u32,
            prefill_tokens: chunk as u32,
            context_tokens: decodes * context,
            prefill_context: start,
            prefill_attention: chunk * (2 * start + chunk),
        };
        law.plan(&shape).line.step(0).as_secs_f64()
    };
    let decode = step(running, 0, 0);
    let chunk = row.prompt.min(BUDGET - running.min(BUDGET / 2));
    let mixed = step(running - 1, chunk, (row.prompt - chunk) / 2);
    let chunks = (running - 1) as f64 * row.prompt as f64 / chunk as f64;
    let share = (chunks / (row.output - 1) as f64).min(1.0);
    Some(decode + share * (mixed - decode))
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

#[test]
fn the_uncalibrated_roofline_is_within_a_factor_of_two_of_public_measurements() {
    let Some(file) = data() else { return };
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in rows(&file) {
        if let Some(tpot) = predict(&row) {
            let group =
                format!("{:14} {:9} {:6} vllm {}", row.model, row.gpu, row.precision.name(), row.version);
            groups.entry(group).or_default().push(tpot / row.tpot_s);
        }
    }
    eprintln!("TPOT predicted / measured (closed loop, mean field):");
    for (group, ratios) in &groups {
        let ratios = sorted(ratios.clone());
        let (least, median, most) = (ratios[0], quantile(&ratios, 0.5), quantile(&ratios, 1.0));
        eprintln!("  {group:48} rows {:3}  median {median:.2}  range {least:.2} .. {most:.2}", ratios.len());
        assert!((0.5..2.0).contains(&median), "{group}: median ratio {median}");
    }
    let ratios = sorted(groups.into_values().flatten().collect());
    let errors = sorted(ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect());
    eprintln!(
        "  all: rows {}  median ratio {:.3}  |error| median {:.1} %  p90 {:.1} %",
        ratios.len(),
        quantile(&ratios, 0.5),
        100.0 * quantile(&errors, 0.5),
        100.0 * quantile(&errors, 0.9),
    );
    assert!(ratios.len() > 500, "{} rows", ratios.len());
}
