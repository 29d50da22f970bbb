//! Operations on limits: which limits they may set, of whom, and to what.

use super::Context;
use super::known::Known;
use super::limits::InForce;
use crate::limits::Algorithm;
use crate::profile::{Key, Limit, Mechanism, Verb};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::leaf::Name;
use crate::scenario::per_window::per_window;
use crate::scenario::policy::{Endpoint, Operation};
use crate::scenario::policy_file::{OperationFile, SetValue};
use crate::time::Time;

/// The limit that an operation names; reported when it may not set it, or not of those it names.
pub(super) fn limit(
    verb: Verb,
    operation: &OperationFile,
    known: &Known<'_>,
    errors: &mut Errors,
) -> Option<usize> {
    let name = operation.limit.as_ref()?;
    let index = known.find(name, errors)?;
    let entry = &known.limits[index];
    // That others can be set by nobody is reported with their value.
    if sets(verb) && entry.limit().mechanism.is_metered() {
        may(verb, name, entry, errors);
        whose(verb, operation, name, entry.limit(), errors);
    }
    Some(index)
}

fn sets(verb: Verb) -> bool {
    matches!(verb, Verb::SetRateLimit | Verb::RaiseLimit | Verb::ChangeLimit)
}

/// A run changes no documented limit that the vendor does not change, and nobody sets the vendor's limits himself.
fn may(verb: Verb, name: &At<Name>, entry: &InForce, errors: &mut Errors) {
    let limit = entry.limit();
    let (shown, value) = (&limit.name, limit.value_text());
    if verb == Verb::SetRateLimit && !entry.customers {
        errors.refuse_with(
            &name.place,
            format!("`{shown}` ({value}) is the vendor's, no customer can set it"),
            "customers set rates whose value in the profile is `none`; `raise-limit` asks for more of a raisable one",
        );
    }
    if verb != Verb::SetRateLimit && !entry.loaded.raisable && !entry.loaded.required {
        errors.refuse_with(
            &name.place,
            format!("`{shown}` ({value}) is not raisable, it cannot be changed"),
            "limits can be raised or changed that the profile calls raisable or whose value is not published",
        );
    }
}

/// Whether an operation tells apart what the limit does, and nothing else.
fn whose(verb: Verb, operation: &OperationFile, name: &At<Name>, limit: &Limit, errors: &mut Errors) {
    let by = |key: Key| limit.per.iter().any(|(other, _)| *other == key);
    let shown = &limit.name;
    for (key, named) in [(Key::Endpoint, &operation.endpoint), (Key::Model, &operation.model)] {
        let word = key.name();
        match named {
            Some(at) if !by(key) => {
                let message = format!(
                    "`{shown}` is not counted by {word}: it cannot be set for `{}`",
                    at.value.as_str()
                );
                errors.refuse_with(&at.place, message, format!("leave `{word}` out"));
            }
            None if verb == Verb::SetRateLimit && key == Key::Endpoint && by(key) => {
                let message = format!("`{shown}` is counted by endpoint, and none is named");
                errors.refuse_with(&name.place, message, "add `endpoint`: which one it is set for");
            }
            _ => {}
        }
    }
    let everybody = everybody(verb, operation) && operation.model.is_none();
    if let Some(key) = [Key::Token, Key::User].into_iter().find(|key| by(*key) && !everybody) {
        let word = key.name();
        errors.refuse_with(
            &name.place,
            format!(
                "`{shown}` is counted by {word}, and a {word} is of no account: it cannot be set for one"
            ),
            "a `change-limit` that names nobody is about all of them",
        );
    }
}

/// Whether an operation is about the limits of every account.
pub(super) fn everybody(verb: Verb, operation: &OperationFile) -> bool {
    verb == Verb::ChangeLimit && operation.account.is_none() && operation.endpoint.is_none()
}

/// The value that an operation sets, in the limit's own unit.
pub(super) fn value(
    operation: &OperationFile,
    limit: Option<usize>,
    known: &Known<'_>,
    errors: &mut Errors,
) -> Option<u64> {
    let at = operation.value.as_ref()?;
    let limit = &known.limits[limit?].limit();
    let name = &limit.name;
    match (&limit.mechanism, &at.value) {
        (Mechanism::Rate { window, .. }, SetValue::Rate(rate)) if rate.window != *window => {
            errors.refuse_with(
                &at.place,
                format!("`{rate}` is not in the window of `{name}`"),
                format!("write it as `{}`, or as a number alone", per_window(rate.count, *window)),
            );
            None
        }
        (Mechanism::Rate { .. }, SetValue::Rate(rate)) => Some(rate.count),
        (Mechanism::Rate { .. }, SetValue::Count(count)) if count.0 == 0 => {
            errors.refuse(&at.place, "`0` is not at least 1: a rate cannot be zero");
            None
        }
        (Mechanism::Concurrency { .. } | Mechanism::Quota { .. }, SetValue::Rate(rate)) => {
            let kind = limit.mechanism.name();
            let message = format!("`{rate}` is a rate, and `{name}` is of the kind `{kind}`");
            errors.refuse_with(&at.place, message, format!("write `{}`", rate.count));
            None
        }
        (
            Mechanism::Rate { .. } | Mechanism::Concurrency { .. } | Mechanism::Quota { .. },
            SetValue::Count(count),
        ) => Some(count.0),
        (other, _) => {
            let message = format!("`{name}` is of the kind `{}`, which no operation can set", other.name());
            let place = operation.limit.as_ref().map_or(&at.place, |at| &at.place);
            errors.refuse_with(place, message, "rates, concurrencies and quotas can be set");
            None
        }
    }
}

/// Lets each rate grow to the highest value that an operation sets it to.
pub(super) fn raise<'a>(operations: impl Iterator<Item = &'a Operation>, limits: &mut [InForce]) {
    for operation in operations {
        let (Some(limit), Some(value)) = (operation.limit, operation.value) else { continue };
        if let Mechanism::Rate { most, .. } = &mut limits[limit].loaded.limit.mechanism {
            *most = value.max(*most);
        }
    }
}

/// Once limits have their counters and algorithms: reports those that cannot be set apart, and notes every change.
pub(super) fn changes(
    operations: &[Operation],
    places: &[Place],
    limits: &[InForce],
    endpoints: &[Endpoint],
    cx: &mut Context<'_>,
) {
    for (operation, place) in operations.iter().zip(places) {
        let (Some(index), Some(value)) = (operation.limit, operation.value) else { continue };
        let limit = limits[index].limit();
        let name = &limit.name;
        let bucket = matches!(limit.mechanism, Mechanism::Rate { algorithm: Algorithm::TokenBucket, .. });
        if bucket && let Some(counters) = operation.counters(limit, endpoints) {
            let (some, all) = (counters.len(), limit.keys);
            cx.errors.refuse_with(
                place,
                format!(
                    "all buckets of a limit refill at one pace: `{some}` of the `{all}` of `{name}` cannot be set apart"
                ),
                "count it by a fixed window, or by a sliding log within `max_log`",
            );
        }
        let after = set_to(limit, value).value_text();
        let does = if operation.verb.is_vendors() { "sets" } else { "asks to set" };
        let at = operation.first + operation.ready_after - Time::ZERO;
        cx.notes.push(format!("operation `{}` {does} limit `{name}` to {after} at {at}", operation.name));
    }
}

/// The limit with another value.
fn set_to(limit: &Limit, value: u64) -> Limit {
    let mut set = limit.clone();
    match &mut set.mechanism {
        Mechanism::Rate { limit, .. } | Mechanism::Concurrency { limit } | Mechanism::Quota { limit, .. } => {
            *limit = Some(value);
        }
        other => unreachable!("a limit of the kind `{}` is set by no operation", other.name()),
    }
    set
}
