//! A model on the GPUs of one replica: what fits, and what is read.

use super::architecture::Architecture;
use super::gpu::{Gpu, KvPrecision, Precision};

/// Memory that neither weights nor KV cache can have, bytes a GPU: context, graphs, activations, communication.
///
/// 1.15 GiB, chosen so that [`Placement::kv_blocks`] meets the block counts which seven vLLM runs reported within
/// 2.4 % (see the tests). Real engines measure it while profiling, so it grows with the token budget.
pub const MEMORY_OVERHEAD_BYTES: f64 = 1.15 * GIB;

const GIB: f64 = (1u64 << 30) as f64;

/// A model on the GPUs of one replica. Valid by construction: the shards are whole.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    gpu: &'a Gpu,
    model: &'a Architecture,
    tensor_parallel: u32,
    precision: Precision,
    kv_precision: KvPrecision,
}

/// Why a model cannot be placed on a GPU.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HardwareError {
    /// The GPU cannot multiply in this precision.
    #[error("{gpu} has no `{precision}` multiplication")]
    Precision {
        /// The GPU.
        gpu: String,
        /// The precision.
        precision: Precision,
    },
    /// MXFP4 is a format of experts.
    #[error("`mxfp4` quantises experts, and this model has none")]
    NoExperts,
    /// The shards would not be whole.
    #[error("tensor_parallel: `{tensor_parallel}` does not divide the {heads} {what}")]
    Shards {
        /// Degree of tensor parallelism.
        tensor_parallel: u32,
        /// How many there are.
        heads: u32,
        /// Heads of what.
        what: &'static str,
    },
    /// The GPUs are not joined by one link.
    #[error("tensor_parallel: `{tensor_parallel}` is not in 1..={most}, the GPUs one {gpu} link joins")]
    Domain {
        /// Degree of tensor parallelism.
        tensor_parallel: u32,
        /// The most there may be.
        most: u32,
        /// The GPU.
        gpu: String,
    },
    /// The share of memory is out of range.
    #[error("memory utilization: `{0}` is not in 0 < x <= 1")]
    Utilization(f64),
    /// A KV block needs tokens, a replica needs sequences.
    #[error("{name}: `0` is not at least 1")]
    Zero {
        /// Which argument.
        name: &'static str,
    },
    /// Nothing is left for the KV cache.
    #[error(
        "weights {weights_gb:.1} GB / tp {tensor_parallel} = {share_gib:.1} GiB > {memory_gib:.1} GiB x {utilization} - \
         {overhead_gib:.2} GiB = {room_gib:.1} GiB: no room for a KV block"
    )]
    NoRoom {
        /// All weights, 10^9 bytes.
        weights_gb: f64,
        /// Degree of tensor parallelism.
        tensor_parallel: u32,
        /// Weights of one GPU, GiB.
        share_gib: f64,
        /// Memory of one GPU, GiB.
        memory_gib: f64,
        /// Share of the memory that may be used.
        utilization: f64,
        /// What is neither weights nor KV cache, GiB.
        overhead_gib: f64,
        /// What that leaves, GiB.
        room_gib: f64,
    },
}

impl HardwareError {
    /// What the user may do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            HardwareError::Precision { .. } => "use `bf16`, or a GPU that has it",
            HardwareError::NoExperts => "use `fp4` on a GPU that has it, or `fp8`",
            HardwareError::Shards { .. } => "use a power of two that divides the model's heads",
            HardwareError::Domain { .. } => "use more replicas instead: pipeline parallelism is not modelled",
            HardwareError::Utilization(_) => "`0.9` is what engines use by default",
            HardwareError::Zero { .. } => "use `16` tokens a block and at least one sequence",
            HardwareError::NoRoom { .. } => {
                "raise tensor_parallel, use a smaller precision such as `fp8`, or a larger GPU"
            }
        }
    }
}

impl<'a> Placement<'a> {
    /// Places `model` on `tensor_parallel` GPUs.
    ///
    /// # Errors
    /// When the GPU cannot multiply in `precision`, or the shards would not be whole: `tensor_parallel` must
    /// divide the query heads, and divide or be a multiple of the key-value heads, and stay on one link.
    pub fn new(
        gpu: &'a Gpu,
        model: &'a Architecture,
        tensor_parallel: u32,
        precision: Precision,
        kv_precision: KvPrecision,
    ) -> Result<Placement<'a>, HardwareError> {
        if gpu.peak_flops(precision).is_none() {
            return Err(HardwareError::Precision { gpu: gpu.name.clone(), precision });
        }
        if precision == Precision::Mxfp4 && model.moe.is_none() {
            return Err(HardwareError::NoExperts);
        }
        if !(1..=gpu.link_domain).contains(&tensor_parallel) {
            let (most, gpu) = (gpu.link_domain, gpu.name.clone());
            return Err(HardwareError::Domain { tensor_parallel, most, gpu });
        }
        if !model.heads.is_multiple_of(tensor_parallel) {
            return Err(HardwareError::Shards { tensor_parallel, heads: model.heads, what: "query heads" });
        }
        let kv_heads = model.kv_heads;
        let whole = kv_heads.is_multiple_of(tensor_parallel) || tensor_parallel.is_multiple_of(kv_heads);
        if model.mla.is_none() && !whole {
            return Err(HardwareError::Shards { tensor_parallel, heads: kv_heads, what: "key-value heads" });
        }
        Ok(Placement { gpu, model, tensor_parallel, precision, kv_precision })
    }

    /// The GPU.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// The model.
    pub fn model(&self) -> &'a Architecture {
        self.model
    }

    /// GPUs of a replica.
    pub fn tensor_parallel(&self) -> u32 {
        self.tensor_parallel
    }

    /// Format of the weights.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Format of the KV cache.
    pub fn kv_precision(&self) -> KvPrecision {
        self.kv_precision
    }

    /// Bytes of all weights, over all GPUs.
    pub fn weight_bytes(&self) -> f64 {
        let plain = self.model.parameters() - self.model.layer_parameters();
        let experts = self.model.moe.map_or(0.0, |moe| f64::from(moe.experts));
        2.0 * plain as f64 + self.shared_bytes() + experts * self.expert_bytes()
    }

    /// Bytes of weights that a step of `tokens` tokens reads, over all GPUs.
    ///
    /// Layers and output head, not the embedding table (a lookup). Of `N` experts of which each token takes `k`,
    /// independent uniform routing touches `N * (1 - (1 - k/N)^tokens)`; `untouched` is `(1 - k/N)^tokens`.
    pub fn weight_bytes_read(&self, untouched: f64) -> f64 {
        let experts = self.model.moe.map_or(0.0, |moe| f64::from(moe.experts));
        2.0 * self.model.head_parameters() as f64
            + self.shared_bytes()
            + experts * (1.0 - untouched) * self.expert_bytes()
    }

    /// FLOPs of multiplications with weights for one token, output head apart, over all GPUs.
    pub fn flops_per_token(&self) -> f64 {
        let per_token = self.model.moe.map_or(0, |moe| u64::from(moe.per_token));
        2.0 * (self.model.shared_parameters() + per_token * self.model.expert_parameters()) as f64
    }

    /// FLOPs of the output head for one sequence, over all GPUs. BF16 in every format.
    pub fn flops_per_sequence(&self) -> f64 {
        2.0 * self.model.head_parameters() as f64
    }

    /// Bytes that a token keeps in the KV cache of one GPU, in the layers that see the whole context.
    ///
    /// Heads are split over the GPUs, and copied once there are more GPUs than heads; latent vectors are copied to
    /// every GPU.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.kv_bytes_per_token_layer() * u64::from(self.model.full_layers())
    }

    /// Bytes that a sequence keeps, at most, in the KV cache of one GPU in its sliding-window layers.
    pub fn sliding_bytes_per_sequence(&self) -> u64 {
        self.model.sliding.map_or(0, |sliding| {
            self.kv_bytes_per_token_layer() * u64::from(sliding.layers) * u64::from(sliding.window)
        })
    }

    /// KV blocks of `block_tokens` tokens on each GPU (every GPU of a replica holds its shard of every block).
    ///
    /// `floor((memory * utilization - weights/tp - overhead - sequences * sliding windows) / block bytes)`, with
    /// [`MEMORY_OVERHEAD_BYTES`]; `sequences` is the most that run at once.
    ///
    /// # Errors
    /// When not a single block fits, with the arithmetic.
    pub fn kv_blocks(
        &self,
        memory_utilization: f64,
        block_tokens: u32,
        sequences: u32,
    ) -> Result<u32, HardwareError> {
        if !(memory_utilization > 0.0 && memory_utilization <= 1.0) {
            return Err(HardwareError::Utilization(memory_utilization));
        }
        for (name, value) in [("block tokens", block_tokens), ("sequences", sequences)] {
            if value == 0 {
                return Err(HardwareError::Zero { name });
            }
        }
        let overhead =
            MEMORY_OVERHEAD_BYTES + f64::from(sequences) * self.sliding_bytes_per_sequence() as f64;
        let room = self.gpu.memory_bytes() * memory_utilization - overhead;
        let share = self.weight_bytes() / f64::from(self.tensor_parallel);
        let blocks = (room - share) / (self.kv_bytes_per_token() * u64::from(block_tokens)) as f64;
        if blocks < 1.0 {
            return Err(HardwareError::NoRoom {
                weights_gb: self.weight_bytes() / 1e9,
                tensor_parallel: self.tensor_parallel,
                share_gib: share / GIB,
                memory_gib: self.gpu.memory_gib,
                utilization: memory_utilization,
                overhead_gib: overhead / GIB,
                room_gib: room / GIB,
            });
        }
        // Saturates: 2^32 blocks of one token would be more memory than any GPU has.
        Ok(blocks as u32)
    }

    /// Bytes that a token keeps in one layer's KV cache on one GPU.
    fn kv_bytes_per_token_layer(&self) -> u64 {
        let all = self.model.kv_bytes_per_token_layer(self.kv_precision);
        match self.model.mla {
            Some(_) => all,
            None => all / u64::from(self.tensor_parallel.min(self.model.kv_heads)),
        }
    }

    /// Bytes of the layers' weights that every token uses.
    fn shared_bytes(&self) -> f64 {
        let bytes = if self.precision == Precision::Mxfp4 { 2.0 } else { self.precision.weight_bytes() };
        self.model.shared_parameters() as f64 * bytes
    }

    /// Bytes of one routed expert, over all layers.
    fn expert_bytes(&self) -> f64 {
        self.model.expert_parameters() as f64 * self.precision.weight_bytes()
    }
}
