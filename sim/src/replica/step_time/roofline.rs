//! The roofline: step times from GPU, model, precision and tensor parallelism.
//!
//! A step reads the weights it touches and multiplies with them, whichever takes longer; then it reads the KV
//! cache, attends over prompts, exchanges activations between GPUs, and pays the engine's overheads. Each part
//! takes the data sheet's peak times a share in `(0, 1]`, and every rounding is upwards, so a step is never faster
//! than the hardware.

use super::{FEMTOS_PER_SEC, LawBounds, LawError, StepLaw, Terms};
use crate::hardware::{Calibration, Placement};
use crate::time::Span;

/// Bytes of an activation: BF16 in every weight format.
const ACTIVATION_BYTES: f64 = 2.0;

impl StepLaw {
    /// The roofline of a model on the GPUs of one replica.
    ///
    /// ```text
    /// T = max(weights_read / (tp * BW * e_w), tokens * flops_per_token / (tp * peak * e_f) + head)
    ///   + context * max(kv_bytes / (BW * e_kv), decode attention FLOPs / (tp * peak_bf16 * e_a))
    ///   + prefill attention FLOPs / (tp * peak_bf16 * e_a) + cached prompt tokens * kv_bytes / (BW * e_kv)
    ///   + 2 * layers * (a + 2 (tp-1)/tp * tokens * hidden * 2 B / (link * e_l))      when tp > 1
    ///   + layers * per_layer + sequences * per_sequence + per_step
    /// ```
    ///
    /// `kv_bytes` are those of one GPU. Weights of experts grow with the tokens that are routed
    /// ([`Placement::weight_bytes_read`]). Sliding-window layers read their whole window for every sequence, which
    /// is exact beyond the window and too much before it. Embedding look-ups, activations and KV writes are left
    /// out.
    ///
    /// Sources: the roofline model, Williams et al., CACM 52(4), 2009; ring all-reduce volume, Patarasuk and
    /// Yuan, JPDC 69(2), 2009; expert coverage is the mean of a binomial.
    ///
    /// # Errors
    /// When a coefficient of the profile is out of range, or the step would not fit the clock.
    pub fn roofline(
        placement: &Placement,
        calibration: &Calibration,
        quantum: Span,
        bounds: &LawBounds,
    ) -> Result<StepLaw, LawError> {
        if let Some((name, value, _)) = calibration.out_of_range() {
            return Err(LawError::Coefficient { name, value });
        }
        let rates = Rates::of(placement, calibration);
        let terms = terms(placement, calibration, &rates)?;
        let weights_read = weights_read(placement, &rates, bounds.tokens.max(bounds.sequences))?;
        StepLaw::compile(terms, weights_read, quantum, bounds)
    }
}

/// What one replica achieves: all its GPUs together for weights and FLOPs, one GPU for its KV shard.
struct Rates {
    weight_bytes: f64,
    kv_bytes: f64,
    flops: f64,
    head_flops: f64,
    attention_flops: f64,
    link_bytes: f64,
}

impl Rates {
    fn of(placement: &Placement, calibration: &Calibration) -> Rates {
        let gpu = placement.gpu();
        let tp = f64::from(placement.tensor_parallel());
        let bf16 = gpu.bf16_tflops * 1e12;
        // A placement exists only where the GPU has the precision.
        let peak = gpu.peak_flops(placement.precision()).unwrap_or(bf16);
        Rates {
            weight_bytes: tp * gpu.memory_bytes_per_s() * calibration.weight_bandwidth,
            kv_bytes: gpu.memory_bytes_per_s() * calibration.kv_bandwidth,
            flops: tp * peak * calibration.flops,
            head_flops: tp * bf16 * calibration.flops,
            attention_flops: tp * bf16 * calibration.attention_flops,
            link_bytes: gpu.link_bytes_per_s() * calibration.link_bandwidth,
        }
    }
}

fn terms(placement: &Placement, calibration: &Calibration, rates: &Rates) -> Result<Terms, LawError> {
    let model = placement.model();
    let layers = f64::from(model.layers);
    let full_layers = f64::from(model.full_layers());
    let tp = f64::from(placement.tensor_parallel());

    let kv_read = placement.kv_bytes_per_token() as f64 / rates.kv_bytes;
    let decode_pair = model.decode_attention_flops() as f64 / rates.attention_flops;
    let prefill_pair = model.prefill_attention_flops() as f64 / rates.attention_flops;
    let window = model.sliding.map_or(0.0, |s| f64::from(s.layers) * f64::from(s.window));
    let window_read = placement.sliding_bytes_per_sequence() as f64 / rates.kv_bytes;

    let exchanges = if placement.tensor_parallel() > 1 { 2.0 * layers } else { 0.0 };
    let volume = 2.0 * (tp - 1.0) / tp * f64::from(model.hidden) * ACTIVATION_BYTES;
    let exchange_per_token = exchanges * volume / rates.link_bytes;

    let base =
        layers * calibration.per_layer_us + calibration.per_step_us + exchanges * calibration.all_reduce_us;
    Ok(Terms {
        base: femtos("per_step_us", base * 1e-6)?,
        per_sequence: femtos("per_sequence_us", calibration.per_sequence_us * 1e-6 + window_read)?,
        per_prefill_token: femtos("prompt token", exchange_per_token + window * prefill_pair)?,
        per_decode: femtos("decoded token", exchange_per_token + window * decode_pair)?,
        per_context_token: femtos("context token", kv_read.max(full_layers * decode_pair))?,
        per_prefill_context_token: femtos("cached prompt token", kv_read)?,
        // The shape counts twice the (query, key) pairs.
        per_attention: femtos("attention", full_layers * prefill_pair / 2.0)?,
        per_roof_token: femtos("token", placement.flops_per_token() / rates.flops)?,
        per_roof_sequence: femtos("sequence", placement.flops_per_sequence() / rates.head_flops)?,
        ..Terms::default()
    })
}

/// Time to read the weights that 0, 1, 2, ... tokens touch, until further tokens touch no more.
fn weights_read(placement: &Placement, rates: &Rates, tokens: u32) -> Result<Vec<u64>, LawError> {
    let read =
        |untouched: f64| femtos("weights", placement.weight_bytes_read(untouched) / rates.weight_bytes);
    let Some(moe) = placement.model().moe else {
        return Ok(vec![read(0.0)?]);
    };
    let missed = 1.0 - f64::from(moe.per_token) / f64::from(moe.experts);
    let all = read(0.0)?;
    let mut untouched = 1.0;
    let mut times = vec![read(untouched)?];
    while times.len() <= tokens as usize && times.last() != Some(&all) {
        untouched *= missed;
        times.push(read(untouched)?);
    }
    Ok(times)
}

/// Seconds as femtoseconds, rounded up.
fn femtos(name: &'static str, seconds: f64) -> Result<u64, LawError> {
    let fs = (seconds * FEMTOS_PER_SEC as f64).ceil();
    // NaN fails both comparisons.
    if fs >= 0.0 && fs < (u64::MAX / 2) as f64 {
        Ok(fs as u64)
    } else {
        Err(LawError::Coefficient { name, value: seconds })
    }
}

#[cfg(test)]
mod tests;
