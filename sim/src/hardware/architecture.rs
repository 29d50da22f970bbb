//! Model architectures: parameters, FLOPs and KV bytes, counted from the published configuration.

use super::gpu::KvPrecision;
use serde::Deserialize;

/// A decoder-only transformer with gated (three-matrix) feed-forward blocks.
///
/// Counts leave out biases, norms inside attention, and multi-token-prediction heads: under 0.3 % together for
/// every model in the table, save where its `note` says otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The published configuration these figures come from.
    pub source: String,
    /// What is simplified for this model, if anything.
    pub note: Option<String>,
    /// Transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads; ignored with [`LatentAttention`].
    pub kv_heads: u32,
    /// Width of a head; ignored with [`LatentAttention`].
    pub head_dim: u32,
    /// Inner width of the dense feed-forward blocks; 0 when every layer has experts.
    pub ffn: u32,
    /// Entries of the vocabulary.
    pub vocab: u32,
    /// Longest prompt plus output the model was published for, tokens.
    pub context_tokens: u32,
    /// Whether the output head is the embedding table.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Experts in place of dense blocks.
    pub moe: Option<MixtureOfExperts>,
    /// Compressed KV cache.
    pub mla: Option<LatentAttention>,
    /// Layers that see only the last tokens.
    pub sliding: Option<SlidingWindow>,
}

/// Experts in place of dense feed-forward blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureOfExperts {
    /// Routed experts of a layer.
    pub experts: u32,
    /// Routed experts each token uses.
    pub per_token: u32,
    /// Inner width of an expert.
    pub ffn: u32,
    /// Inner width of the experts that every token uses, together; 0 when there is none.
    #[serde(default)]
    pub shared_ffn: u32,
    /// Leading layers that are dense.
    #[serde(default)]
    pub dense_layers: u32,
}

/// Multi-head latent attention: one compressed vector a token and layer instead of keys and values.
///
/// Source: DeepSeek-V2, arXiv 2405.04434, section 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// Width of the compressed query.
    pub q_lora_rank: u32,
    /// Width of the compressed key and value.
    pub kv_lora_rank: u32,
    /// Width of the position part of a key, shared by the heads.
    pub qk_rope_dim: u32,
    /// Width of the content part of a key, per head.
    pub qk_nope_dim: u32,
    /// Width of a value, per head.
    pub v_head_dim: u32,
}

/// Layers that see only the last tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlidingWindow {
    /// How many tokens they see.
    pub window: u32,
    /// How many layers do; the others see everything.
    pub layers: u32,
}

impl Architecture {
    /// All parameters.
    pub fn parameters(&self) -> u64 {
        self.embedding_parameters() + self.layer_parameters() + self.norm_parameters()
    }

    /// Parameters that one token uses: all but the experts it is not routed to. Embeddings count, as vendors do.
    pub fn active_parameters(&self) -> u64 {
        let idle = self.moe.map_or(0, |m| u64::from(m.experts - m.per_token));
        self.parameters() - idle * self.expert_parameters()
    }

    /// Parameters of the embedding table and the output head (one table when they are tied).
    pub fn embedding_parameters(&self) -> u64 {
        self.head_parameters() * if self.tied_embeddings { 1 } else { 2 }
    }

    /// Parameters of the output head, read in full by every step.
    pub fn head_parameters(&self) -> u64 {
        u64::from(self.vocab) * u64::from(self.hidden)
    }

    /// Parameters of the layers that every token uses (attention, dense blocks, shared experts, routers).
    pub fn shared_parameters(&self) -> u64 {
        let (layers, hidden) = (u64::from(self.layers), u64::from(self.hidden));
        let attention = layers * self.attention_parameters();
        let dense = match self.moe {
            None => layers * 3 * hidden * u64::from(self.ffn),
            Some(moe) => {
                let prefix = u64::from(moe.dense_layers);
                let router = hidden * u64::from(moe.experts);
                let shared = 3 * hidden * u64::from(moe.shared_ffn);
                prefix * 3 * hidden * u64::from(self.ffn) + (layers - prefix) * (router + shared)
            }
        };
        attention + dense
    }

    /// Parameters of one routed expert, over all the layers that have experts; 0 without experts.
    pub fn expert_parameters(&self) -> u64 {
        self.moe.map_or(0, |moe| {
            u64::from(self.layers - moe.dense_layers) * 3 * u64::from(self.hidden) * u64::from(moe.ffn)
        })
    }

    /// Parameters of the layers: what a quantised checkpoint quantises.
    pub fn layer_parameters(&self) -> u64 {
        self.shared_parameters() + self.moe.map_or(0, |m| u64::from(m.experts)) * self.expert_parameters()
    }

    /// Layers whose attention sees the whole context.
    pub fn full_layers(&self) -> u32 {
        self.layers - self.sliding.map_or(0, |s| s.layers)
    }

    /// Bytes that one token adds to the KV cache of one layer, over all heads.
    pub fn kv_bytes_per_token_layer(&self, precision: KvPrecision) -> u64 {
        let values = match self.mla {
            Some(mla) => u64::from(mla.kv_lora_rank + mla.qk_rope_dim),
            None => 2 * u64::from(self.kv_heads) * u64::from(self.head_dim),
        };
        values * precision.bytes()
    }

    /// Bytes that one token of a prompt has in the KV cache of the whole model, all layers and heads: what is sent when
    /// another replica goes on with it. Sliding-window layers count in full, too many for prompts beyond their window.
    pub fn kv_bytes_per_token(&self, precision: KvPrecision) -> u64 {
        self.kv_bytes_per_token_layer(precision) * u64::from(self.layers)
    }

    /// FLOPs of one layer's attention for one (query token, key token) pair while prompts are processed.
    ///
    /// Two for each multiply-add of the score (`QK`) and of the mix (`PV`): `4 * heads * head_dim`; latent attention
    /// expands its keys and values first.
    pub fn prefill_attention_flops(&self) -> u64 {
        let widths = match self.mla {
            Some(mla) => mla.qk_nope_dim + mla.qk_rope_dim + mla.v_head_dim,
            None => 2 * self.head_dim,
        };
        2 * u64::from(self.heads) * u64::from(widths)
    }

    /// FLOPs of one layer's attention for one (query token, key token) pair while decoding.
    ///
    /// Latent attention works on the compressed vectors (the "absorbed" form), which costs more FLOPs and far fewer
    /// bytes.
    pub fn decode_attention_flops(&self) -> u64 {
        match self.mla {
            Some(mla) => 2 * u64::from(self.heads) * u64::from(2 * mla.kv_lora_rank + mla.qk_rope_dim),
            None => self.prefill_attention_flops(),
        }
    }

    /// Parameters of one layer's attention.
    fn attention_parameters(&self) -> u64 {
        let (hidden, heads) = (u64::from(self.hidden), u64::from(self.heads));
        let Some(mla) = self.mla else {
            let (kv_heads, head_dim) = (u64::from(self.kv_heads), u64::from(self.head_dim));
            return 2 * hidden * head_dim * (heads + kv_heads);
        };
        let [q, kv, rope, nope, v] =
            [mla.q_lora_rank, mla.kv_lora_rank, mla.qk_rope_dim, mla.qk_nope_dim, mla.v_head_dim]
                .map(u64::from);
        hidden * q
            + q * heads * (nope + rope)
            + hidden * (kv + rope)
            + kv * heads * (nope + v)
            + heads * v * hidden
    }

    /// Two norms a layer and one at the end.
    fn norm_parameters(&self) -> u64 {
        (2 * u64::from(self.layers) + 1) * u64::from(self.hidden)
    }
}
