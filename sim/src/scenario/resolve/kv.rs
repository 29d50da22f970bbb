//! How many KV blocks a replica has, and whether one whole context fits into them.

use crate::hardware::Placement;
use crate::scenario::Kv;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::KvFile;

const GIB: f64 = (1u64 << 30) as f64;
/// What engines use unless told otherwise.
const UTILIZATION: f64 = 0.9;

/// What the size of a cache depends on beside its own section.
pub(super) struct Needs<'a> {
    /// The model on its GPUs, when both are known.
    pub placement: Option<Placement<'a>>,
    /// Longest prompt plus output.
    pub context_tokens: u32,
    /// Most sequences that run at once.
    pub sequences: u32,
}

pub(super) fn resolve(file: &At<KvFile>, needs: &Needs<'_>, errors: &mut Errors) -> Option<Kv> {
    let before = errors.count();
    let kv = &file.value;
    let block_tokens = kv.block.value.small();
    if !block_tokens.is_power_of_two() {
        errors.refuse_with(
            &kv.block.place,
            format!("`{block_tokens}` is not a power of two"),
            "16 is what engines use by default",
        );
    }
    if kv.watermark.value.0 > 0.5 {
        errors.refuse(&kv.watermark.place, format!("`{}` is not in 0..=0.5", kv.watermark.value.0));
    }
    if kv.precision.is_some() && needs.placement.is_none() {
        unused(&kv.precision.as_ref()?.place, "precision", errors);
    }
    let sizes: Vec<(&str, &Place)> = [
        ("blocks", kv.blocks.as_ref().map(|at| &at.place)),
        ("memory", kv.memory.as_ref().map(|at| &at.place)),
        ("utilization", kv.utilization.as_ref().map(|at| &at.place)),
    ]
    .into_iter()
    .filter_map(|(key, place)| Some((key, place?)))
    .collect();
    if let [first, second, ..] = sizes[..] {
        let message = format!("`{}` and `{}` both give the size of the cache", first.0, second.0);
        errors.refuse_with(second.1, message, "keep one of `blocks`, `memory`, `utilization`");
    }
    (errors.count() == before).then_some(())?;
    let (blocks, arithmetic) = blocks(file, block_tokens, needs, errors)?;
    let fitting = u64::from(blocks) * u64::from(block_tokens);
    if u64::from(needs.context_tokens) > fitting {
        let needed = needs.context_tokens.div_ceil(block_tokens);
        errors.refuse_with(
            &file.place,
            format!(
                "a context of `{}` tokens needs {needed} blocks of {block_tokens}, the cache has {blocks}{arithmetic}",
                needs.context_tokens
            ),
            format!(
                "lower the model's `context` to {fitting} or less, give the cache more room, or raise `tensor_parallel`"
            ),
        );
        return None;
    }
    let watermark_blocks = (f64::from(blocks) * kv.watermark.value.0) as u32;
    Some(Kv { block_tokens, blocks, watermark_blocks, prefix_cache: kv.prefix_cache.value })
}

/// Blocks of the cache, and how they came about (for errors).
fn blocks(
    file: &At<KvFile>,
    block_tokens: u32,
    needs: &Needs<'_>,
    errors: &mut Errors,
) -> Option<(u32, String)> {
    let kv = &file.value;
    if let Some(blocks) = &kv.blocks {
        return Some((blocks.value.small(), String::new()));
    }
    let Some(placement) = &needs.placement else {
        let place = kv.memory.as_ref().map(|at| &at.place);
        let place = place.or(kv.utilization.as_ref().map(|at| &at.place)).unwrap_or(&file.place);
        errors.refuse_with(
            place,
            "the size of the KV cache is unknown",
            "give `kv = { blocks = N }`, or `gpu` here and `architecture` in the model",
        );
        return None;
    };
    let block_bytes = placement.kv_bytes_per_token() * u64::from(block_tokens);
    if let Some(memory) = &kv.memory {
        let bytes = memory.value.0;
        if bytes as f64 > placement.gpu().memory_bytes() {
            let gib = placement.gpu().memory_bytes() / GIB;
            errors.refuse(
                &memory.place,
                format!("`{:.1} GiB` is more than the GPU's {gib:.1} GiB", bytes as f64 / GIB),
            );
            return None;
        }
        let blocks = (bytes / block_bytes) as u32;
        return Some((blocks, format!(" ({bytes} bytes / {block_bytes} bytes a block)")));
    }
    let utilization = kv.utilization.as_ref().map_or(UTILIZATION, |at| at.value.0);
    match placement.kv_blocks(utilization, block_tokens, needs.sequences) {
        Ok(blocks) => {
            let weights = placement.weight_bytes() / f64::from(placement.tensor_parallel()) / GIB;
            let memory = placement.gpu().memory_bytes() / GIB;
            let arithmetic =
                format!(" ({memory:.1} GiB x {utilization} beside {weights:.1} GiB of weights on each GPU)");
            Some((blocks, arithmetic))
        }
        Err(error) => {
            let place = kv.utilization.as_ref().map_or(&file.place, |at| &at.place);
            errors.refuse_with(place, error.to_string(), error.hint());
            None
        }
    }
}

/// A key that would change nothing is refused, not ignored.
pub(super) fn unused(place: &Place, key: &str, errors: &mut Errors) {
    errors.refuse_with(
        place,
        format!("`{key}` would change nothing here"),
        "it needs `gpu` in the pool and `architecture` in its model",
    );
}
