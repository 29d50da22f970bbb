//! Prompts that another pool processes: which one, over which link, how many bytes.

use super::Context;
use crate::hardware::{self, KvPrecision};
use crate::request::PoolId;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::{LlmPool, PoolFile, ScenarioFile};
use crate::scenario::fleet::Prefill;
use crate::scenario::fleet_file::PrefillFile;

/// The prompt pool of the pool `name`.
pub(super) fn resolve(
    name: &str,
    at: &At<PrefillFile>,
    pool: &LlmPool,
    file: &ScenarioFile,
    cx: &mut Context<'_>,
) -> Option<Prefill> {
    let before = cx.errors.count();
    let prompts = &at.value.pool;
    let link = file.links.find(&at.value.link, "link", cx.errors);
    let index = file.pools.find(prompts, "pool", cx.errors);
    let other = index.and_then(|index| file.pools.entries[index].2.as_ref());
    if let Some(other) = other {
        fits(name, at, pool, other, cx.errors);
    }
    sold(at, file, cx.errors);
    let bytes = bytes(at, pool, file, cx.errors);
    (cx.errors.count() == before).then_some(())?;
    cx.caveats.push(format!(
        "pool `{name}`: the KV cache of a prompt is free in pool `{}` when the prompt is done, not when it has been sent",
        prompts.value.as_str()
    ));
    Some(Prefill { pool: index? as PoolId, link: link?, bytes_per_token: bytes? })
}

/// What the two pools must have in common.
fn fits(name: &str, at: &At<PrefillFile>, pool: &LlmPool, other: &PoolFile, errors: &mut Errors) {
    let prompts = &at.value.pool;
    let other_name = prompts.value.as_str();
    if other_name == name {
        errors.refuse_with(
            &prompts.place,
            format!("`{name}` cannot send KV caches to itself"),
            "leave `prefill` out: a pool processes its own prompts",
        );
        return;
    }
    let PoolFile::Llm(other) = other else {
        errors.refuse_with(
            &prompts.place,
            format!("`{other_name}` is a `slots` pool: it has no prompts and no KV cache"),
            "name an `llm` pool of the same model",
        );
        return;
    };
    let (model, wanted) = (other.model.value.as_str(), pool.model.value.as_str());
    if model != wanted {
        errors.refuse_with(
            &prompts.place,
            format!("`{other_name}` serves `{model}`, not `{wanted}`"),
            "KV caches are of one model: name a pool that serves the same",
        );
    }
    if other.prefill.is_some() {
        errors.refuse_with(
            &prompts.place,
            format!("`{other_name}` has its prompts processed by another pool, too"),
            "name a pool without `prefill`",
        );
    }
    let precision = |pool: &LlmPool| pool.kv.value.precision.as_ref().map_or("bf16", |at| at.value.word());
    let (own, others) = (precision(pool), precision(other));
    if own != others {
        errors.refuse_with(
            &prompts.place,
            format!("`{other_name}` has a KV cache in `{others}`, this pool one in `{own}`"),
            "give both the same `kv.precision`",
        );
    }
}

/// A pool that only gets prompts is not sold.
fn sold(at: &At<PrefillFile>, file: &ScenarioFile, errors: &mut Errors) {
    let name = at.value.pool.value.as_str();
    let named = |names: &[At<crate::scenario::leaf::Name>]| names.iter().any(|at| at.value.as_str() == name);
    let tiers = file.tiers.entries.iter().filter(|(.., tier)| {
        tier.as_ref().is_some_and(|tier| {
            named(&tier.pools.value) || tier.fallback.as_ref().is_some_and(|at| named(&at.value))
        })
    });
    let endpoints = file.endpoints.entries.iter().filter(|(.., endpoint)| {
        endpoint.as_ref().is_some_and(|endpoint| {
            let served = endpoint.serves.value.0.iter().filter_map(|served| served.value.pool.as_ref());
            let mut served = served.map(|at| at.value.as_str());
            served.any(|served| served == name)
                || endpoint.fallback.as_ref().is_some_and(|at| named(&at.value))
        })
    });
    let sellers =
        tiers.map(|(name, ..)| ("tier", name)).chain(endpoints.map(|(name, ..)| ("endpoint", name)));
    for (what, seller) in sellers {
        errors.refuse_with(
            &at.value.pool.place,
            format!("the {what} `{seller}` uses `{name}` directly: it would give whole answers, too"),
            "a pool of prompts belongs to no tier and no endpoint",
        );
    }
}

/// Bytes of KV cache for each token of a prompt, over all layers and heads.
fn bytes(at: &At<PrefillFile>, pool: &LlmPool, file: &ScenarioFile, errors: &mut Errors) -> Option<u64> {
    if let Some(bytes) = &at.value.kv_bytes_per_token {
        return Some(bytes.value.0);
    }
    let name = pool.model.value.as_str();
    let index = file.models.names().position(|model| model == name)?;
    let model = file.models.entries[index].2.as_ref()?;
    let Some(known) = model.architecture.as_ref().and_then(|at| hardware::architecture(&at.value.0)) else {
        errors.refuse_with(
            &at.place,
            format!("the size of a KV cache to send is unknown: `{name}` has no `architecture`"),
            "give `kv_bytes_per_token`, such as `kv_bytes_per_token = \"128KiB\"`",
        );
        return None;
    };
    let precision = pool.kv.value.precision.as_ref().map_or("bf16", |at| at.value.word());
    let precision =
        KvPrecision::from_name(precision).expect("the words of the file are those of the hardware");
    Some(known.kv_bytes_per_token(precision))
}
