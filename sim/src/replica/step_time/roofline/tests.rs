use super::*;
use crate::hardware::{self, KvPrecision, Precision};
use crate::replica::step_time::{FEMTOS_PER_NANO, StepShape};

const BOUNDS: LawBounds = LawBounds { sequences: 512, tokens: 16_384, sequence_tokens: 131_072 };

fn placement(gpu: &str, model: &str, tp: u32, precision: Precision) -> Placement<'static> {
    let (gpu, model) = (hardware::gpu(gpu).unwrap(), hardware::architecture(model).unwrap());
    Placement::new(gpu, model, tp, precision, KvPrecision::Bf16).unwrap()
}

fn law(placement: &Placement) -> StepLaw {
    let calibration = hardware::calibration("uncalibrated").unwrap();
    StepLaw::roofline(placement, calibration, Span::from_nanos(1), &BOUNDS).unwrap()
}

/// A profile that claims to reach every peak and to have no overhead: the fastest law there can be.
fn ideal() -> Calibration {
    Calibration {
        weight_bandwidth: 1.0,
        kv_bandwidth: 1.0,
        flops: 1.0,
        attention_flops: 1.0,
        link_bandwidth: 1.0,
        all_reduce_us: 0.0,
        per_layer_us: 0.0,
        per_sequence_us: 0.0,
        per_step_us: 0.0,
        ..hardware::calibration("uncalibrated").unwrap().clone()
    }
}

fn shapes() -> Vec<StepShape> {
    let mut shapes = Vec::new();
    for decodes in [0u32, 1, 3, 64, 511] {
        for context in [1u64, 900, 100_000] {
            for (chunk, start) in
                [(0u64, 0u64), (1, 100_000), (17, 0), (512, 4096), (8192, 0), (8192, 120_000)]
            {
                if decodes == 0 && chunk == 0 {
                    continue;
                }
                shapes.push(StepShape {
                    sequences: decodes + u32::from(chunk > 0),
                    decodes,
                    prefill_tokens: chunk as u32,
                    context_tokens: u64::from(decodes) * context,
                    prefill_context: start,
                    prefill_attention: chunk * (2 * start + chunk),
                });
            }
        }
    }
    shapes
}

/// Least time that the bytes and the FLOPs of a step take at the data sheet's peaks, counted apart from the law.
fn floors(p: &Placement, shape: &StepShape) -> (f64, f64) {
    let (gpu, model, tp) = (p.gpu(), p.model(), f64::from(p.tensor_parallel()));
    let tokens = shape.prefill_tokens + shape.decodes;
    let untouched =
        model.moe.map_or(0.0, |m| (1.0 - f64::from(m.per_token) / f64::from(m.experts)).powi(tokens as i32));
    let cached = (shape.context_tokens + shape.prefill_context) as f64;
    let bytes = p.weight_bytes_read(untouched) / tp + cached * p.kv_bytes_per_token() as f64;

    let experts = model.moe.map_or(0, |m| u64::from(m.per_token) * model.expert_parameters());
    let weights = 2.0 * (model.shared_parameters() + experts) as f64 * f64::from(tokens);
    let head = 2.0 * model.head_parameters() as f64 * f64::from(shape.sequences);
    let layers = f64::from(model.full_layers());
    let attention = layers * model.decode_attention_flops() as f64 * shape.context_tokens as f64
        + layers * model.prefill_attention_flops() as f64 * shape.prefill_attention as f64 / 2.0;
    let bf16 = gpu.bf16_tflops * 1e12;
    let seconds = weights / gpu.peak_flops(p.precision()).unwrap() + (head + attention) / bf16;
    (bytes / gpu.memory_bytes_per_s(), seconds / tp)
}

#[test]
fn no_step_is_faster_than_the_hardware_whatever_the_profile_claims() {
    let mut checked = 0;
    for gpu in hardware::gpu_names() {
        for model in hardware::architecture_names() {
            for (precision, tp) in Precision::ALL.into_iter().flat_map(|p| [(p, 1), (p, 2), (p, 8)]) {
                let (gpu, model) = (hardware::gpu(gpu).unwrap(), hardware::architecture(model).unwrap());
                let Ok(p) = Placement::new(gpu, model, tp, precision, KvPrecision::Bf16) else { continue };
                let fastest = StepLaw::roofline(&p, &ideal(), Span::from_nanos(1), &BOUNDS).unwrap();
                for shape in shapes() {
                    let step = fastest.plan(&shape).line.a as f64 / FEMTOS_PER_SEC as f64;
                    let (read, multiply) = floors(&p, &shape);
                    // 1e-12: both sides are sums of f64 products.
                    let context = || format!("{} x{tp} {} {precision} {shape:?}", gpu.name, model.source);
                    assert!(step >= read * (1.0 - 1e-12), "{}: {step} s, {read} s to read", context());
                    assert!(
                        step >= multiply * (1.0 - 1e-12),
                        "{}: {step} s, {multiply} s to multiply",
                        context()
                    );
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 50_000, "{checked}");
}

#[test]
fn a_decode_step_of_an_8b_model_is_the_sum_of_its_parts() {
    let p = placement("h100-sxm", "llama-3.1-8b", 1, Precision::Bf16);
    let shape = StepShape { sequences: 16, decodes: 16, context_tokens: 16_000, ..StepShape::default() };
    let weights = (8_030_261_248.0 - 128_256.0 * 4096.0 - 65.0 * 4096.0) * 2.0 / (3.35e12 * 0.8);
    let kv = 16_000.0 * 131_072.0 / (3.35e12 * 0.8);
    let overhead = 32.0 * 15e-6 + 16.0 * 20e-6 + 1500e-6;
    let step = law(&p).plan(&shape).line.step(0).as_secs_f64();
    assert!((step - weights - kv - overhead).abs() < 2e-9, "{step} s");
}

#[test]
fn a_long_prompt_is_bound_by_flops_and_attention() {
    let p = placement("h100-sxm", "llama-3.1-8b", 1, Precision::Bf16);
    let shape = StepShape {
        sequences: 1,
        prefill_tokens: 8192,
        prefill_attention: 8192 * 8192,
        ..StepShape::default()
    };
    let linear = 2.0 * 6_979_321_856.0 * 8192.0 / (989e12 * 0.6);
    let attention = 32.0 * 4.0 * 4096.0 * 8192.0 * 8192.0 / 2.0 / (989e12 * 0.5);
    let head = 2.0 * 128_256.0 * 4096.0 / (989e12 * 0.6);
    let overhead = 32.0 * 15e-6 + 20e-6 + 1500e-6;
    let step = law(&p).plan(&shape).line.step(0).as_secs_f64();
    // Coefficients are rounded up to whole femtoseconds: 67 million units of attention add up to 67 ns at most.
    assert!((0.0..1e-7).contains(&(step - linear - attention - head - overhead)), "{step} s");
}

#[test]
fn chunks_of_a_prompt_cost_at_least_as_much_as_the_whole() {
    let law = law(&placement("h100-sxm", "llama-3.1-8b", 1, Precision::Bf16));
    let step = |chunk: u64, start: u64| {
        let shape = StepShape {
            sequences: 1,
            prefill_tokens: chunk as u32,
            prefill_context: start,
            prefill_attention: chunk * (2 * start + chunk),
            ..StepShape::default()
        };
        law.plan(&shape).line.a
    };
    let chunked: u64 = (0..16).map(|i| step(512, i * 512)).sum();
    assert!(chunked > step(8192, 0));
}

#[test]
fn the_context_slope_follows_the_kv_shard() {
    let slope = |model: &str, tp: u32| {
        let p = placement("h100-sxm", model, tp, Precision::Bf16);
        law(&p)
            .plan(&StepShape { sequences: 1, decodes: 1, context_tokens: 9, ..StepShape::default() })
            .line
            .b
    };
    assert!(slope("llama-3.1-70b", 4).abs_diff(slope("llama-3.1-70b", 1) / 4) <= 1);
    assert_eq!(slope("qwen3-30b-a3b", 8), slope("qwen3-30b-a3b", 4), "four heads on eight GPUs are copied");
    assert_eq!(slope("deepseek-v3", 8), slope("deepseek-v3", 4), "latent vectors are copied to every GPU");
    let (windowed, all) = (slope("gpt-oss-120b", 1), hardware::architecture("gpt-oss-120b").unwrap());
    let full = 18.0 * all.kv_bytes_per_token_layer(KvPrecision::Bf16) as f64 / (3.35e12 * 0.8) * 1e15;
    assert!((windowed as f64 - full).abs() <= 1.0, "only the 18 full layers read more as the context grows");
}

#[test]
fn latent_attention_on_one_gpu_is_bound_by_flops_not_bytes() {
    // 128 heads x 1088 x 2 FLOPs for 1152 bytes: 242 FLOP a byte, more than an H100 at 0.5 and 0.8 of its peaks has.
    let p = placement("h200-sxm", "deepseek-v3", 1, Precision::Fp8);
    let slope = law(&p)
        .plan(&StepShape { sequences: 1, decodes: 1, context_tokens: 9, ..StepShape::default() })
        .line
        .b;
    let flops = 61.0 * 2.0 * 128.0 * 1088.0 / (989e12 * 0.5) * 1e15;
    assert!((slope as f64 - flops).abs() <= 1.0, "{slope} fs, {flops} fs");
}

#[test]
fn experts_are_read_as_tokens_touch_them() {
    let law = law(&placement("h100-sxm", "mixtral-8x7b", 2, Precision::Bf16));
    assert!(law.weights_read.windows(2).all(|pair| pair[0] <= pair[1]));
    let (one, all) = (law.weights_read[1] as f64, *law.weights_read.last().unwrap() as f64);
    assert!((0.27..0.28).contains(&(one / all)), "2 of 8 experts and what is shared: {}", one / all);
    assert!(
        law.weights_read.len() < 200,
        "the table ends when all experts are touched: {}",
        law.weights_read.len()
    );
}

#[test]
fn small_tables_end_at_the_largest_step() {
    let p = placement("b200-sxm", "kimi-k2", 8, Precision::Fp8);
    let calibration = hardware::calibration("uncalibrated").unwrap();
    let bounds = LawBounds { sequences: 8, tokens: 64, sequence_tokens: 4096 };
    let law = StepLaw::roofline(&p, calibration, Span::from_nanos(1), &bounds).unwrap();
    assert_eq!(law.weights_read.len(), 65);
}

#[test]
fn tensor_parallelism_pays_for_its_exchanges() {
    let shape = StepShape { sequences: 1, decodes: 1, context_tokens: 9, ..StepShape::default() };
    let step =
        |tp| law(&placement("h100-sxm", "llama-3.1-8b", tp, Precision::Bf16)).plan(&shape).line.a as f64;
    let exchange = 64.0 * (10e-6 + 1.0 * 4096.0 * 2.0 / (450e9 * 0.7));
    let alone = (step(1) - 2e12) / 2.0 + 2e12;
    assert!((step(2) - alone - exchange * 1e15).abs() < 1e7, "{} fs", step(2) - alone);
}

#[test]
fn a_profile_out_of_range_is_refused_by_name() {
    let p = placement("h100-sxm", "llama-3.1-8b", 1, Precision::Bf16);
    for (broken, name) in [
        (Calibration { flops: 1.01, ..ideal() }, "flops"),
        (Calibration { kv_bandwidth: 0.0, ..ideal() }, "kv_bandwidth"),
        (Calibration { weight_bandwidth: f64::NAN, ..ideal() }, "weight_bandwidth"),
        (Calibration { per_step_us: -1.0, ..ideal() }, "per_step_us"),
    ] {
        let error = StepLaw::roofline(&p, &broken, Span::from_nanos(1), &BOUNDS).unwrap_err();
        assert!(matches!(error, LawError::Coefficient { name: n, .. } if n == name), "{error}");
    }
}

#[test]
fn a_quantum_rounds_down_and_never_below_one() {
    let p = placement("h100-sxm", "llama-3.1-8b", 1, Precision::Bf16);
    let calibration = hardware::calibration("uncalibrated").unwrap();
    let shape = StepShape { sequences: 1, decodes: 1, context_tokens: 9, ..StepShape::default() };
    let fine = law(&p).plan(&shape).line.step(0).as_nanos();
    let coarse = StepLaw::roofline(&p, calibration, Span::from_micros(1), &BOUNDS).unwrap();
    assert_eq!(coarse.plan(&shape).line.step(0).as_nanos(), fine / 1000 * 1000);
    assert!(StepLaw::roofline(&p, calibration, Span::from_secs(1), &BOUNDS).is_err());
    assert_eq!(coarse.plan(&shape).line.quantum_fs, 1000 * FEMTOS_PER_NANO);
}
