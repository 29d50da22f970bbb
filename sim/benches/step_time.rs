//! Nanoseconds per `StepLaw::plan`: the function a replica calls for every step it does not skip.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_sim::hardware::{self, KvPrecision, Placement, Precision};
use tidegate_sim::replica::step_time::{
    LawBounds, LinearCoefficients, StepLaw, StepShape, TableData, parse_femtos,
};
use tidegate_sim::time::Span;

const BOUNDS: LawBounds = LawBounds { sequences: 128, tokens: 2048, sequence_tokens: 16_384 };
const QUANTUM: Span = Span::from_nanos(1);
const SHAPES: u64 = 1024;

fn linear() -> StepLaw {
    let fs = |text| parse_femtos(text).expect("a duration");
    let coefficients = LinearCoefficients {
        base_fs: fs("8ms"),
        per_sequence_fs: fs("20us"),
        per_prefill_token_fs: fs("50us"),
        per_decode_fs: fs("0.1us"),
        per_context_token_fs: fs("0.1us"),
    };
    StepLaw::linear(&coefficients, QUANTUM, &BOUNDS).expect("a valid law")
}

fn roofline(model: &str, precision: Precision) -> StepLaw {
    let gpu = hardware::gpu("h100-sxm").expect("a known GPU");
    let model = hardware::architecture(model).expect("a known model");
    let calibration = hardware::calibration("uncalibrated").expect("a known profile");
    let placement = Placement::new(gpu, model, 2, precision, KvPrecision::Bf16).expect("a valid placement");
    StepLaw::roofline(&placement, calibration, QUANTUM, &BOUNDS).expect("a valid law")
}

fn table() -> StepLaw {
    let file = include_str!("../src/replica/step_time/table/example.csv");
    let data = TableData::read(file.as_bytes()).expect("a valid table");
    StepLaw::table(&data, QUANTUM, &BOUNDS).expect("a valid law")
}

/// Shapes of a replica under load; every `prefill_every`-th processes a chunk (0: none does).
fn shapes(prefill_every: u64) -> Vec<StepShape> {
    let shape = |i: u64| {
        let decodes = 1 + (i * 37 % 120) as u32;
        let context_tokens = u64::from(decodes) * (500 + i * 53 % 5000);
        let decode = StepShape { sequences: decodes, decodes, context_tokens, ..StepShape::default() };
        if prefill_every == 0 || !i.is_multiple_of(prefill_every) {
            return decode;
        }
        let (chunk, start) = (64 + i * 29 % 1800, i * 61 % 4000);
        StepShape {
            sequences: decodes + 1,
            prefill_tokens: chunk as u32,
            prefill_context: start,
            prefill_attention: chunk * (2 * start + chunk),
            ..decode
        }
    };
    (0..SHAPES).map(shape).collect()
}

fn plan(criterion: &mut Criterion) {
    let laws = [
        ("linear", linear()),
        ("roofline-dense", roofline("llama-3.1-8b", Precision::Bf16)),
        ("roofline-moe", roofline("qwen3-30b-a3b", Precision::Fp8)),
        ("table", table()),
    ];
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(SHAPES));
    for (name, law) in &laws {
        for (mix, every) in [("decode", 0), ("mixed", 4)] {
            let shapes = shapes(every);
            group.bench_function(BenchmarkId::new(*name, mix), |bencher| {
                bencher.iter(|| {
                    for shape in &shapes {
                        black_box(law.plan(black_box(shape)));
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
