//! A limit's parameters, exactly: for `show`, and for JSON.

use serde_json::{Map, Value as Json, json};
use tidegate_sim::limits::Algorithm;
use tidegate_sim::profile::{Condition, Mechanism};
use tidegate_sim::scenario::profile::LoadedLimit;

/// The value as people read it.
pub(super) fn value(limit: &LoadedLimit) -> String {
    if limit.required { "required: not published".to_owned() } else { limit.limit.value_text() }
}

/// Whom it concerns: `endpoint.kind custom or agent; account.tier 1`; empty for everyone.
pub(super) fn concerns(limit: &LoadedLimit) -> String {
    let one = |condition: &Condition| format!("{} {}", condition.attr.name(), condition.values.join(" or "));
    limit.limit.when.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Whatever it is asked for.
pub(super) fn verbs(limit: &LoadedLimit) -> String {
    limit.limit.on.iter().map(|verb| verb.name()).collect::<Vec<_>>().join(", ")
}

/// The mechanism's parameters: times in nanoseconds, sizes in bytes. `null` where there is none.
pub(super) fn parameters(limit: &LoadedLimit) -> Map<String, Json> {
    let found = match &limit.limit.mechanism {
        Mechanism::Rate {
            limit: most,
            window,
            algorithm,
            burst,
            unit,
            default_reservation,
            counts_refused,
            ..
        } => json!({
            "limit": most,
            "window_ns": window.as_nanos(),
            "algorithm": algorithm.name(),
            "burst": (*algorithm == Algorithm::TokenBucket).then_some(burst),
            "of": unit.name(),
            "default_reservation": (*default_reservation > 0).then_some(default_reservation),
            "counts_refused": counts_refused,
            "max_log": limit.max_log,
        }),
        Mechanism::Concurrency { limit } => json!({ "limit": limit }),
        Mechanism::Permits { queue_permille } => json!({ "queue_permille": queue_permille }),
        Mechanism::Quota { counted, limit } => json!({ "of": counted.name(), "limit": limit }),
        Mechanism::Size { attr, range } => json!({
            "of": attr.name(),
            "at_least": range.at_least,
            "at_most": range.at_most,
            "below": range.below,
            "multiple_of": range.multiple_of,
        }),
        Mechanism::Deadline { at_most } => json!({ "at_most_ns": at_most.as_nanos() }),
        Mechanism::Overhead { below } => json!({ "below_ns": below.as_nanos() }),
        Mechanism::Gate { require, action } => json!({
            "attribute": require.as_ref().map(|gate| gate.attr.name()),
            "allowed": require.as_ref().map(|gate| &gate.values),
            "action": action.name(),
        }),
    };
    let Json::Object(found) = found else { unreachable!("each is an object") };
    found
}

/// Everything about a limit. The map sorts its keys.
pub(super) fn json(limit: &LoadedLimit) -> Json {
    let inner = &limit.limit;
    let when: Map<String, Json> = inner
        .when
        .iter()
        .map(|condition| (condition.attr.name().to_owned(), condition.values.clone().into()))
        .collect();
    json!({
        "mechanism": inner.mechanism.name(),
        "parameters": parameters(limit),
        "value": value(limit),
        "row": inner.row,
        "provenance": inner.provenance.name(),
        "required": limit.required,
        "raisable": limit.raisable,
        "overlay": limit.overlay,
        "stage": inner.stage.name(),
        "on": inner.on.iter().map(|verb| verb.name()).collect::<Vec<_>>(),
        "per": inner.per.iter().map(|(key, _)| key.name()).collect::<Vec<_>>(),
        "when": when,
        "answer": {
            "status": inner.answer.status,
            "code": inner.answer.code,
            "message": inner.answer.message,
            "provenance": inner.answer.provenance.name(),
            "announces_retry": inner.answer.announces_retry,
            "retryable": inner.answer.retryable,
        },
    })
}
