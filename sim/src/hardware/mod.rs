//! GPUs, models and calibrations: the facts a roofline stands on.
//!
//! This module answers: how many bytes and FLOPs does a token cost on this GPU, and how many KV blocks are left
//! beside the weights? It knows data sheets (`hardware/gpus.toml`), the models' published configurations
//! (`hardware/models.toml`) and named calibration profiles (`hardware/calibrations/*.toml`), all embedded in the
//! binary and parsed once. It does not know scenarios, and it measures nothing: a wrong figure here shifts every
//! predicted latency, so each entry names its public source and tests hold the tables against known totals.

mod architecture;
mod calibration;
mod gpu;
mod linear_fit;
mod placement;

pub use architecture::{Architecture, LatentAttention, MixtureOfExperts, SlidingWindow};
pub use calibration::Calibration;
pub use gpu::{Gpu, KvPrecision, Precision};
pub use linear_fit::{FemtosText, FitRange, FittedCoefficient, LinearFit};
pub use placement::{HardwareError, MEMORY_OVERHEAD_BYTES, Placement};

use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const GPUS: &str = include_str!("../../hardware/gpus.toml");
const MODELS: &str = include_str!("../../hardware/models.toml");
/// Calibration profiles by name; a profile's name is its path under `hardware/calibrations`, without `.toml`.
const CALIBRATIONS: [(&str, &str); 1] =
    [("uncalibrated", include_str!("../../hardware/calibrations/uncalibrated.toml"))];

/// The GPU of this name (`h100-sxm`).
pub fn gpu(name: &str) -> Option<&'static Gpu> {
    gpus().get(name)
}

/// Names of all known GPUs, sorted.
pub fn gpu_names() -> impl Iterator<Item = &'static str> {
    gpus().keys().map(String::as_str)
}

/// The model architecture of this name (`llama-3.1-8b`).
pub fn architecture(name: &str) -> Option<&'static Architecture> {
    architectures().get(name)
}

/// Names of all known architectures, sorted.
pub fn architecture_names() -> impl Iterator<Item = &'static str> {
    architectures().keys().map(String::as_str)
}

/// The calibration profile of this name (`uncalibrated`).
pub fn calibration(name: &str) -> Option<&'static Calibration> {
    calibrations().get(name)
}

/// Names of all calibration profiles, sorted.
pub fn calibration_names() -> impl Iterator<Item = &'static str> {
    calibrations().keys().map(String::as_str)
}

/// KV blocks of `block_tokens` tokens on each GPU of a replica; see [`Placement::kv_blocks`].
///
/// # Errors
/// When the weights leave no room for a single block, with the arithmetic.
pub fn kv_blocks(
    placement: &Placement,
    memory_utilization: f64,
    block_tokens: u32,
    sequences: u32,
) -> Result<u32, HardwareError> {
    placement.kv_blocks(memory_utilization, block_tokens, sequences)
}

fn gpus() -> &'static BTreeMap<String, Gpu> {
    static TABLE: OnceLock<BTreeMap<String, Gpu>> = OnceLock::new();
    TABLE.get_or_init(|| embedded("gpus.toml", GPUS))
}

fn architectures() -> &'static BTreeMap<String, Architecture> {
    static TABLE: OnceLock<BTreeMap<String, Architecture>> = OnceLock::new();
    TABLE.get_or_init(|| embedded("models.toml", MODELS))
}

fn calibrations() -> &'static BTreeMap<String, Calibration> {
    static TABLE: OnceLock<BTreeMap<String, Calibration>> = OnceLock::new();
    TABLE.get_or_init(|| {
        CALIBRATIONS.into_iter().map(|(name, text)| (name.to_owned(), embedded(name, text))).collect()
    })
}

/// Parses a file that is part of this binary; that it parses is an invariant which the tests below hold.
fn embedded<T: DeserializeOwned>(name: &str, text: &str) -> T {
    match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => panic!("embedded {name} is broken: {error}"),
    }
}

#[cfg(test)]
mod tests;
