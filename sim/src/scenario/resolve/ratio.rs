//! Properties that compare a scenario with another variant of it.

use super::Entry;
use super::property::Others;
use crate::scenario::decode::Decode as _;
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::diagnostic::Errors;
use crate::scenario::document::Value;
use crate::scenario::leaf::{Number, Raw};
use crate::scenario::overrides::listed;
use crate::scenario::property_file::{MetricWord, PropertyFile};
use crate::scenario::units;
use crate::scenario::{Measure, Ratio};

/// The scenario without a variant.
const BASE: &str = "base";
/// Most stretches that a claim is made for.
const STRETCHES_MOST: u64 = 1_000;
/// Highest bound of a ratio.
const RATIO_MOST: f64 = 1_000.0;

/// What a property is compared with; `None` when it is with nothing, or wrongly.
pub(super) fn resolve(
    property: &PropertyFile,
    metric: &At<MetricWord>,
    measure: Option<Measure>,
    workload: Option<&Entry>,
    others: &Others<'_>,
    errors: &mut Errors,
) -> Option<Ratio> {
    let Some(to) = &property.ratio_to else {
        if let Some(each) = &property.each {
            errors.refuse_with(
                &each.place,
                "`each` would never act: only ratios are decided stretch by stretch",
                "add `ratio_to`, or leave it out",
            );
        }
        return None;
    };
    let before = errors.count();
    if measure.is_some_and(|measure| !matches!(measure, Measure::Quantile(..) | Measure::Mean(_))) {
        errors.refuse_with(
            &metric.place,
            format!("`{}` is not compared by a ratio: only latencies are", metric.value.word()),
            "use a latency with `quantile` or `mean`, or a property of each variant",
        );
    }
    if let (Some(batch), Some(at)) = (workload.filter(|one| one.batch), &property.workload) {
        errors.refuse_with(
            &at.place,
            format!("`{}` is a batch: a ratio is of requests that both scenarios send", batch.name),
            "name a workload, or leave it out for all of them",
        );
    }
    let name = to.value.as_str();
    let known = others.variants.iter().any(|variant| variant == name);
    if !known && name != BASE {
        let names = || others.variants.iter().map(String::as_str).chain([BASE]);
        let hint = did_you_mean(name, names())
            .unwrap_or_else(|| format!("declare it with `[variants.{name}]`; there are {}", listed(names())));
        errors.refuse_with(&to.place, format!("no variant is named `{name}`"), hint);
    }
    if let (Some(each), Some(horizon)) = (&property.each, others.horizon) {
        let length = each.value.0;
        if length > horizon {
            errors.refuse(&each.place, format!("`{length}` is longer than the horizon of {horizon}"));
        } else if horizon.as_nanos().div_ceil(length.as_nanos()) > STRETCHES_MOST {
            errors.refuse(&each.place, format!("`{length}` gives more than {STRETCHES_MOST} stretches"));
        }
    }
    (errors.count() == before).then(|| Ratio {
        to: known.then(|| name.to_owned()),
        each: property.each.as_ref().map(|at| at.value.0),
    })
}

/// A bound on a ratio: a number above 0, or as many percent.
pub(super) fn bound(raw: &At<Raw>, errors: &mut Errors) -> Option<f64> {
    let node = &raw.value.0;
    let ratio = match &node.value {
        Value::Text(text) => match units::split(text) {
            Ok((number, "%")) => number.over(100),
            _ => {
                errors.refuse_with(
                    &raw.place,
                    format!("`{node}` is not a ratio such as `1.05` or `\"105%\"`"),
                    "a ratio has no unit: it is the figure here over the figure there",
                );
                return None;
            }
        },
        _ => Number::<0, 1_000_000>::decode(node, errors)?.0,
    };
    if !(ratio > 0.0 && ratio <= RATIO_MOST) {
        errors.refuse(&raw.place, format!("`{node}` is not above 0 and at most {RATIO_MOST}"));
        return None;
    }
    Some(ratio)
}
