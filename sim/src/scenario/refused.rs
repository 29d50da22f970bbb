//! What people know from other tools and this model does not have. Refused by name, never ignored: an option that
//! does nothing makes every number behind it wrong.

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
    (
        &[
            "disaggregation",
            "disaggregated",
            "prefill-pool",
            "decode-pool",
            "prefill-replicas",
            "decode-replicas",
            "kv-transfer",
            "kv-transfer-config",
        ],
        "prefill and decode share a replica in this model; leave it out",
    ),
    (
        &[
            "autoscale",
            "autoscaler",
            "autoscaling",
            "scale",
            "min-replicas",
            "max-replicas",
            "cold-start",
            "warm-pool",
        ],
        "the number of replicas is constant in a run; compare counts with variants of `replicas`",
    ),
    (
        &["batch", "batches", "batch-jobs", "jobs", "batch-api"],
        "batch jobs are not part of a scenario; a workload of low priority on the same pool comes nearest",
    ),
    (&["failures", "mtbf", "mttr", "faults"], "replicas do not fail in this model; leave it out"),
    (&["deployments"], "what is deployed is an endpoint: `[endpoints.NAME]`, changed by `[[operations]]`"),
    (
        &["rate-limits", "rate-limit", "quota", "quotas", "profiles"],
        "limits come from a profile, a built-in one or a file of your own: `profile` in `[scenario]`",
    ),
    (&["retries", "retry", "backoff", "client"], "clients give up after `patience` and do not retry"),
    (&["price", "cost", "currency"], "money is not part of a run; leave it out"),
    (&["beam-search", "best-of", "parallel-sampling", "num-beams"], "every request is one sequence"),
    (
        &["swap-space", "cpu-offload", "kv-offload", "offload", "swap"],
        "the KV cache is GPU memory only; preempted sequences are recomputed",
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

/// What to do instead of `key`, when it names something this model does not have.
pub(super) fn not_modelled(key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('_', "-");
    NOT_MODELLED.iter().find(|(names, _)| names.contains(&key.as_str())).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_recognised_in_either_spelling() {
        for key in ["speculative_decoding", "pipeline-parallel", "Expert_Parallel", "autoscaling", "lora"] {
            assert!(not_modelled(key).is_some(), "{key}");
        }
        assert_eq!(not_modelled("replicas"), None);
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<&str> = NOT_MODELLED.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
