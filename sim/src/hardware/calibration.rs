//! Calibration profiles: how far an engine stays below the data sheet.

use serde::Deserialize;

/// Coefficients of the roofline for one engine version on one GPU family.
///
/// Efficiencies are shares of the data sheet's peak, in `(0, 1]`: no profile can be faster than the hardware.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Whether the numbers were fitted to measurements. When not, every report says so.
    pub fitted: bool,
    /// Where the numbers come from.
    pub source: String,
    /// Measurements they were fitted to; 0 when not fitted.
    pub points: u32,
    /// Residual spread of predictions, standard deviation of `ln(predicted / measured)`; absent when not fitted.
    pub log_error: Option<f64>,
    /// Share of the peak bandwidth at which weights are read.
    pub weight_bandwidth: f64,
    /// Share of the peak bandwidth at which the KV cache is read.
    pub kv_bandwidth: f64,
    /// Share of the peak FLOP/s of multiplications with weights.
    pub flops: f64,
    /// Share of the BF16 peak FLOP/s of attention.
    pub attention_flops: f64,
    /// Share of the link bandwidth of an all-reduce.
    pub link_bandwidth: f64,
    /// Start-up time of one all-reduce, microseconds. There are two a layer.
    pub all_reduce_us: f64,
    /// Overhead of a layer (kernel launches, small kernels), microseconds.
    pub per_layer_us: f64,
    /// Overhead of a sequence in a step (scheduling, sampling, detokenising), microseconds.
    pub per_sequence_us: f64,
    /// Overhead of a step, microseconds.
    pub per_step_us: f64,
}

impl Calibration {
    /// First coefficient outside its range, as `(name, value, range)`; `None` when all are in range.
    pub fn out_of_range(&self) -> Option<(&'static str, f64, &'static str)> {
        let shares = [
            ("weight_bandwidth", self.weight_bandwidth),
            ("kv_bandwidth", self.kv_bandwidth),
            ("flops", self.flops),
            ("attention_flops", self.attention_flops),
            ("link_bandwidth", self.link_bandwidth),
        ];
        let times = [
            ("all_reduce_us", self.all_reduce_us),
            ("per_layer_us", self.per_layer_us),
            ("per_sequence_us", self.per_sequence_us),
            ("per_step_us", self.per_step_us),
        ];
        // NaN fails both comparisons.
        let share = shares.into_iter().find(|(_, v)| !(*v > 0.0 && *v <= 1.0));
        let time = times.into_iter().find(|(_, v)| !(*v >= 0.0 && *v <= 1e6));
        share.map(|(n, v)| (n, v, "0 < x <= 1")).or(time.map(|(n, v)| (n, v, "0..=1000000")))
    }
}
