//! Properties: figures that exist, bounds in their unit.

use super::Entry;
use crate::request::Outcome;
use crate::scenario::decode::{At, Decode, did_you_mean};
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::{MetricWord, PropertyFile, ScenarioFile};
use crate::scenario::leaf::{Lasting, Rate, Raw, Share};
use crate::scenario::{Bound, Engine, Measure, Metric, Pool, Property};

/// Every enabled property, in the order of the file.
pub(super) fn all(
    file: &ScenarioFile,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Vec<Property> {
    let mut names: Vec<&str> = Vec::new();
    let mut resolved = Vec::new();
    for at in &file.properties.0 {
        let property = &at.value;
        let name = property.name.value.0.trim();
        if names.contains(&name) {
            errors.refuse(&property.name.place, format!("two properties are named `{name}`"));
        }
        names.push(name);
        if property.enabled.value {
            resolved.extend(one(at, name, workloads, pools, errors));
        }
    }
    resolved
}

fn one(
    at: &At<PropertyFile>,
    name: &str,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<Property> {
    let before = errors.count();
    let property = &at.value;
    let workload = property.workload.as_ref().map(|at| workload_of(at, workloads, errors));
    let measure = measure(at, errors);
    let bound = measure.and_then(|measure| bound(at, measure, errors));
    (errors.count() == before).then_some(())?;
    let entry = workload.flatten().map(|index| &workloads[index]);
    exists(property, measure?, entry, workloads, pools, errors)?;
    // Workloads that are switched off have no index in the scenario.
    let position = |index: usize| workloads[..index].iter().filter(|entry| entry.enabled).count();
    Some(Property {
        name: name.to_owned(),
        workload: workload.flatten().map(position),
        measure: measure?,
        bound: bound?,
    })
}

pub(super) fn workload_of(
    at: &At<crate::scenario::leaf::Name>,
    workloads: &[Entry],
    errors: &mut Errors,
) -> Option<usize> {
    let wanted = at.value.as_str();
    let found = workloads.iter().position(|entry| entry.name == wanted);
    let Some(index) = found else {
        let names = || workloads.iter().map(|entry| entry.name.as_str());
        let hint = did_you_mean(wanted, names())
            .unwrap_or_else(|| format!("declared: {}", crate::scenario::overrides::listed(names())));
        errors.refuse_with(&at.place, format!("no workload is named `{wanted}`"), hint);
        return None;
    };
    if !workloads[index].enabled {
        errors.refuse_with(
            &at.place,
            format!("the workload `{wanted}` is switched off"),
            "set `enabled = false` here, too (in a variant: `\"properties.NAME.enabled\" = false`)",
        );
        return None;
    }
    Some(index)
}

fn measure(at: &At<PropertyFile>, errors: &mut Errors) -> Option<Measure> {
    let property = &at.value;
    let latency = match property.metric.value {
        MetricWord::Ttft => Metric::Ttft,
        MetricWord::Itl => Metric::Itl,
        MetricWord::Tpot => Metric::Tpot,
        MetricWord::E2e => Metric::E2e,
        MetricWord::ClientE2e => Metric::ClientE2e,
        _ => return plain_measure(property, errors),
    };
    match (&property.quantile, property.mean.value) {
        (Some(quantile), false) => {
            let q = quantile.value.0;
            if q > 0.0 && q < 1.0 {
                return Some(Measure::Quantile(latency, q));
            }
            let hint = "the slowest request of a run grows with its length: ask for a quantile below 1";
            errors.refuse_with(&quantile.place, format!("`{q}` is not strictly between 0 and 1"), hint);
        }
        (None, true) => return Some(Measure::Mean(latency)),
        (Some(_), true) => errors.refuse(&property.mean.place, "`quantile` and `mean` exclude each other"),
        (None, false) => errors.refuse_with(
            &at.place,
            format!("`{}` needs `quantile` or `mean = true`", latency.name()),
            "for example `quantile = 0.99`",
        ),
    }
    None
}

/// The measure of a metric that is one number.
fn plain_measure(property: &PropertyFile, errors: &mut Errors) -> Option<Measure> {
    let word = property.metric.value.word();
    let extra = property.quantile.as_ref().map(|at| &at.place);
    let extra = extra.or(property.mean.value.then_some(&property.mean.place));
    if let Some(place) = extra {
        errors.refuse_with(place, format!("`{word}` has neither quantiles nor a mean"), "leave it out");
        return None;
    }
    Some(match property.metric.value {
        MetricWord::Throughput => Measure::Throughput,
        MetricWord::TokenThroughput => Measure::TokenThroughput,
        MetricWord::Goodput => Measure::GoodputShare,
        MetricWord::GoodputRate => Measure::GoodputRate,
        MetricWord::Completed => Measure::Share(Outcome::Completed),
        MetricWord::Refused => Measure::Share(Outcome::Refused),
        MetricWord::TimedOut => Measure::Share(Outcome::TimedOut),
        MetricWord::Expired => Measure::Share(Outcome::Expired),
        MetricWord::Utilization => Measure::Utilization,
        MetricWord::Ttft | MetricWord::Itl | MetricWord::Tpot | MetricWord::E2e | MetricWord::ClientE2e => {
            unreachable!("latencies are handled by the caller")
        }
    })
}

fn bound(at: &At<PropertyFile>, measure: Measure, errors: &mut Errors) -> Option<Bound> {
    let property = &at.value;
    match (&property.at_most, &property.at_least) {
        (Some(most), None) => value(most, measure, false, errors).map(Bound::AtMost),
        (None, Some(least)) => value(least, measure, true, errors).map(Bound::AtLeast),
        (Some(_), Some(least)) => {
            errors.refuse_with(
                &least.place,
                "`at_most` and `at_least` exclude each other",
                "write two properties",
            );
            None
        }
        (None, None) => {
            errors.refuse(&at.place, "a property needs `at_most` or `at_least`");
            None
        }
    }
}

/// A bound in the unit of its figure: nanoseconds, per second, or a share.
fn value(raw: &At<Raw>, measure: Measure, at_least: bool, errors: &mut Errors) -> Option<f64> {
    match measure {
        Measure::Quantile(..) | Measure::Mean(_) => {
            Lasting::decode(&raw.value.0, errors).map(|duration| duration.0.as_nanos() as f64)
        }
        Measure::Throughput | Measure::TokenThroughput | Measure::GoodputRate => {
            Rate::decode(&raw.value.0, errors).map(|rate| rate.0)
        }
        Measure::Share(_) | Measure::GoodputShare | Measure::Utilization => {
            let share = Share::decode(&raw.value.0, errors)?.0;
            let vacuous = if at_least { share <= 0.0 } else { share >= 1.0 };
            if vacuous {
                let word = if at_least { "least" } else { "most" };
                errors.refuse(
                    &raw.place,
                    format!("every share is at {word} `{share}`: this would always hold"),
                );
                return None;
            }
            Some(share)
        }
    }
}

/// Refuses a figure that will never have a value.
fn exists(
    property: &PropertyFile,
    measure: Measure,
    workload: Option<&Entry>,
    workloads: &[Entry],
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<()> {
    let before = errors.count();
    let mut asked =
        workloads.iter().filter(|entry| entry.enabled && workload.is_none_or(|one| one.name == entry.name));
    let goodput = matches!(measure, Measure::GoodputShare | Measure::GoodputRate);
    if goodput && !asked.clone().any(|entry| entry.has_objectives) {
        errors.refuse_with(
            &property.metric.place,
            "goodput needs objectives, and none are declared",
            "add `objectives = { ttft = \"1s\", tpot = \"50ms\" }` to the workload",
        );
    }
    let token_gaps = matches!(
        measure,
        Measure::Quantile(Metric::Itl | Metric::Tpot, _) | Measure::Mean(Metric::Itl | Metric::Tpot)
    );
    let on_slots = |entry: &Entry| {
        let pool = entry.pool.and_then(|index| pools[index].as_ref());
        pool.is_some_and(|pool| matches!(pool.engine, Engine::Slots(_)))
    };
    if token_gaps && asked.all(on_slots) {
        errors.refuse_with(
            &property.metric.place,
            format!(
                "a `slots` pool gives the whole answer at once: it has no `{}`",
                property.metric.value.word()
            ),
            "use `e2e`",
        );
    }
    (errors.count() == before).then_some(())
}
