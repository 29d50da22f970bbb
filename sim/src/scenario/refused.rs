//! What people know from other tools and this model does not have, or has under another name. Refused by name, never
//! ignored: an option that does nothing makes every number behind it wrong.

/// Names (in any spelling of `-` and `_`) and what to do instead.
const NOT_MODELLED: &[(&[&str], &str)] = &[
    (
        &[
            "speculative",
            "speculative-decoding",
            "speculative-config",
            "draft-model",
            "num-speculative-tokens",
            "eagle",
            "medusa",
        ],
        "speculative decoding changes tokens per step; leave it out, or fit a `table` or `linear` step law to an engine that runs with it",
    ),
    (
        &["lora", "loras", "lora-adapters", "adapters", "enable-lora", "max-loras"],
        "adapter loading and swapping have no cost in this model; leave it out",
    ),
    (
        &["pipeline-parallel", "pipeline-parallel-size", "pp"],
        "only tensor parallelism inside a replica is modelled: `tensor_parallel`",
    ),
    (
        &["expert-parallel", "expert-parallel-size", "enable-expert-parallel", "ep"],
        "experts are read by the roofline as if on one tensor-parallel group: `tensor_parallel`",
    ),
    (&["data-parallel", "data-parallel-size", "dp"], "data parallelism is more replicas: `replicas`"),
    (
        &["context-parallel", "sequence-parallel", "cp"],
        "only tensor parallelism inside a replica is modelled: `tensor_parallel`",
    ),
    (&["deployments"], "what is deployed is an endpoint: `[endpoints.NAME]`, changed by `[[operations]]`"),
    (
        &["rate-limits", "rate-limit", "quota", "quotas", "profiles"],
        "limits come from a profile, a built-in one or a file of your own: `profile` in `[scenario]`",
    ),
    (&["beam-search", "best-of", "parallel-sampling", "num-beams"], "every request is one sequence"),
    (
        &["cpu-offload", "kv-offload", "offload"],
        "the KV cache of real-time requests is GPU memory only; that of batch moves to the host with `preempt = \"swap\"` in `[pools.NAME.batch]`",
    ),
    (
        &["multimodal", "images", "vision", "audio"],
        "prompts are text tokens; count an image as the tokens it becomes",
    ),
    (
        &["guided-decoding", "structured-output", "grammar"],
        "constrained decoding has no cost in this model; leave it out",
    ),
];

/// What this model has under another name, or elsewhere: names, and where it is written.
const CALLED_OTHERWISE: &[(&[&str], &str)] = &[
    (
        &[
            "disaggregation",
            "disaggregated",
            "prefill",
            "prefill-pool",
            "decode-pool",
            "prefill-replicas",
            "decode-replicas",
            "kv-transfer",
            "kv-transfer-config",
        ],
        "a pool that decodes names the one of its prompts: `prefill = { pool = \"..\", link = \"..\" }` in `[pools.NAME]`",
    ),
    (
        &["autoscale", "autoscaler", "autoscaling", "scale", "scaling", "min-replicas", "max-replicas"],
        "a pool scales by `replicas = { min = 1, max = 8 }` and `scaling = { aim = \"concurrency\", target = 16 }`",
    ),
    (
        &["warm-pool", "warm-replicas"],
        "replicas that stay warm are the `min` of `replicas = { min = 1, max = 8 }`",
    ),
    (&["cold-start", "startup"], "`cold_start = { provision, load, warm_up }` belongs to `[pools.NAME]`"),
    (
        &["failures", "failure", "mtbf", "mttr"],
        "what fails by itself has `failures = { mtbf = \"60d\", mttr = \"4h\" }`: a pool, or a group of machines in `[nodes.NAME]`",
    ),
    (&["fault", "outages", "outage", "chaos"], "what fails at a given time is a fault: `[[faults]]`"),
    (
        &["retries", "retry", "backoff", "client", "max-retries"],
        "clients try again by `retry = { most = 3 }` in `[workloads.NAME]`",
    ),
    (&["hedging", "hedge"], "clients hedge by `hedge = { after = \"2s\" }` in `[workloads.NAME]`"),
    (
        &["price", "cost", "currency"],
        "the price is that of a GPU hour: `price = \"2.50 USD/h\"` in `[nodes.NAME]`, or in a pool without `nodes`",
    ),
    (
        &["batch", "batches", "batch-jobs", "jobs", "batch-api"],
        "jobs are submitted by `[batch.NAME]`; what a pool does with them is `[pools.NAME.batch]`",
    ),
    (
        &["swap", "swap-space"],
        "only batch is swapped: `preempt = \"swap\"` and `swap = \"2us\"` in `[pools.NAME.batch]`; real-time sequences are recomputed",
    ),
    (
        &["objectives"],
        "objectives are of requests that somebody waits for, in `[workloads.NAME]`; a batch has its `window`",
    ),
    (&["machines", "hosts", "clusters", "cluster"], "groups of machines are `[nodes.NAME]`"),
];

/// Where `key` is written, when this model has it under another name or elsewhere.
pub(super) fn called_otherwise(key: &str) -> Option<&'static str> {
    find(CALLED_OTHERWISE, key)
}

fn find(table: &[(&[&str], &'static str)], key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('_', "-");
    table.iter().find(|(names, _)| names.contains(&key.as_str())).map(|(_, text)| *text)
}

/// What to do instead of `key`, when it names something this model does not have.
pub(super) fn not_modelled(key: &str) -> Option<&'static str> {
    find(NOT_MODELLED, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_recognised_in_either_spelling() {
        for key in ["speculative_decoding", "pipeline-parallel", "Expert_Parallel", "kv_offload", "lora"] {
            assert!(not_modelled(key).is_some(), "{key}");
        }
        assert_eq!(not_modelled("replicas"), None);
    }

    #[test]
    fn what_is_modelled_is_not_refused_as_if_it_were_not() {
        for key in ["autoscaling", "retries", "mtbf", "price", "kv_transfer", "batch_jobs", "swap_space"] {
            assert_eq!(not_modelled(key), None, "{key}");
            assert!(called_otherwise(key).is_some(), "{key}");
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let tables = NOT_MODELLED.iter().chain(CALLED_OTHERWISE);
        let mut names: Vec<&str> = tables.flat_map(|(names, _)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
