//! GPUs and number formats.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One GPU, as its vendor's data sheet describes it. Dense rates, never the sparse ones.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Full name.
    pub name: String,
    /// Where the figures are published.
    pub source: String,
    /// Dense BF16 matrix rate, 10^12 FLOP/s.
    pub bf16_tflops: f64,
    /// Dense FP8 matrix rate, 10^12 FLOP/s; absent when the tensor cores have no FP8.
    pub fp8_tflops: Option<f64>,
    /// Dense INT8 matrix rate, 10^12 op/s; absent when the data sheet gives none worth using.
    pub int8_tops: Option<f64>,
    /// Dense FP4 matrix rate, 10^12 FLOP/s; absent when the tensor cores have no FP4.
    pub fp4_tflops: Option<f64>,
    /// Peak memory bandwidth, 10^12 byte/s.
    pub memory_tb_per_s: f64,
    /// Device memory, GiB.
    pub memory_gib: f64,
    /// Bandwidth between the GPUs of a domain, 10^9 byte/s in one direction.
    pub link_gb_per_s: f64,
    /// GPUs that this link joins: the most that tensor parallelism may span.
    pub link_domain: u32,
    /// Bandwidth to other domains, 10^9 byte/s a GPU.
    pub network_gb_per_s: f64,
    /// Thermal design power, W.
    pub tdp_w: f64,
}

impl Gpu {
    /// Peak dense matrix rate for weights of this precision, FLOP/s; `None` when the GPU cannot multiply in it.
    pub fn peak_flops(&self, precision: Precision) -> Option<f64> {
        let tera = match precision {
            Precision::Bf16 => Some(self.bf16_tflops),
            Precision::Fp8 => self.fp8_tflops,
            Precision::Int8 => self.int8_tops,
            Precision::Fp4 => self.fp4_tflops,
            // Weights are unpacked and multiplied with BF16 activations.
            Precision::Mxfp4 => Some(self.bf16_tflops),
        };
        tera.map(|t| t * 1e12)
    }

    /// Peak memory bandwidth, byte/s.
    pub fn memory_bytes_per_s(&self) -> f64 {
        self.memory_tb_per_s * 1e12
    }

    /// Device memory, bytes.
    pub fn memory_bytes(&self) -> f64 {
        self.memory_gib * (1u64 << 30) as f64
    }

    /// Bandwidth to the other GPUs of the domain, byte/s in one direction.
    pub fn link_bytes_per_s(&self) -> f64 {
        self.link_gb_per_s * 1e9
    }
}

/// Number format of a model's weights, and of the multiplications with them.
///
/// Embeddings, the output head, norms and routers stay in BF16 in every format, as published checkpoints keep
/// them; with [`Precision::Mxfp4`] attention does too.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 16-bit weights and multiplications.
    #[default]
    Bf16,
    /// 8-bit floating point weights and multiplications.
    Fp8,
    /// 8-bit integer weights and multiplications.
    Int8,
    /// NVFP4: 4-bit weights with an 8-bit scale per 16, FP4 multiplications.
    Fp4,
    /// MXFP4 experts (4-bit weights with an 8-bit scale per 32), everything else and all multiplications BF16.
    Mxfp4,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 5] =
        [Precision::Bf16, Precision::Fp8, Precision::Int8, Precision::Fp4, Precision::Mxfp4];

    /// Bytes of one quantised weight, scales included.
    ///
    /// Source of the block formats: OCP Microscaling Formats v1.0 (MXFP4), NVIDIA Blackwell documentation (NVFP4).
    pub fn weight_bytes(self) -> f64 {
        match self {
            Precision::Bf16 => 2.0,
            Precision::Fp8 | Precision::Int8 => 1.0,
            Precision::Fp4 => 0.5 + 1.0 / 16.0,
            Precision::Mxfp4 => 0.5 + 1.0 / 32.0,
        }
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::Fp8 => "fp8",
            Precision::Int8 => "int8",
            Precision::Fp4 => "fp4",
            Precision::Mxfp4 => "mxfp4",
        }
    }

    /// The precision of this name.
    pub fn from_name(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Number format of the KV cache. FP8 is a storage format here: any GPU can read it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum KvPrecision {
    /// 16 bits a value.
    #[default]
    Bf16,
    /// 8 bits a value.
    Fp8,
}

impl KvPrecision {
    /// Bytes of one value.
    pub fn bytes(self) -> u64 {
        match self {
            KvPrecision::Bf16 => 2,
            KvPrecision::Fp8 => 1,
        }
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            KvPrecision::Bf16 => "bf16",
            KvPrecision::Fp8 => "fp8",
        }
    }

    /// The precision of this name.
    pub fn from_name(name: &str) -> Option<KvPrecision> {
        [KvPrecision::Bf16, KvPrecision::Fp8].into_iter().find(|p| p.name() == name)
    }
}
