//! Tiers: pools under a name, and which of them a request is given to.

use super::choice::{self, Wish};
use crate::request::PoolId;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{ScenarioFile, TierFile};
use crate::scenario::{Choice, Pool, Tier};

/// Every tier of the file, in its order.
pub(super) fn all(file: &ScenarioFile, pools: &[Option<Pool>], errors: &mut Errors) -> Vec<Option<Tier>> {
    let entries = file.tiers.entries.iter();
    entries.map(|(name, place, tier)| one(name, place, tier.as_ref()?, file, pools, errors)).collect()
}

fn one(
    name: &str,
    place: &Place,
    tier: &TierFile,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<Tier> {
    let before = errors.count();
    let fallback = tier.fallback.iter().flat_map(|at| &at.value);
    let named: Vec<_> = tier.pools.value.iter().chain(fallback).collect();
    let found: Vec<Option<usize>> = named.iter().map(|pool| file.pools.find(pool, "pool", errors)).collect();
    let chooses = tier.prefer.is_some() || tier.fallback.is_some();
    for (position, (index, at)) in found.iter().zip(&named).enumerate() {
        let Some(index) = *index else { continue };
        let mut others = found[..position].iter().flatten();
        let model = |index: usize| pools[index].as_ref().map(|pool| pool.model);
        if chooses {
            if others.any(|&other| other == index) {
                errors.refuse(&at.place, format!("`{}` is listed twice", at.value.as_str()));
            }
            continue;
        }
        let twin =
            others.find(|&&other| other == index || (model(other).is_some() && model(other) == model(index)));
        if let Some(&twin) = twin {
            let other = &file.pools.entries[twin].0;
            errors.refuse_with(
                &at.place,
                format!("`{}` serves the same model as `{other}`", at.value.as_str()),
                "a tier has one pool for each model, unless it says which to `prefer`; use one pool with more \
                 replicas, or two tiers",
            );
        }
    }
    let twins = errors.count() > before;
    let all: Option<Vec<usize>> = found.into_iter().collect();
    let choice = match (&all, twins) {
        (Some(all), false) => choice(place, tier, all, file, errors)?,
        _ => None,
    };
    // Pools that are listed once too often are still there for workloads to be checked against.
    Some(Tier {
        name: name.to_owned(),
        priority: tier.priority.value.small() as u8,
        pools: all?.into_iter().map(|index| index as PoolId).collect(),
        choice,
    })
}

fn choice(
    place: &Place,
    tier: &TierFile,
    pools: &[usize],
    file: &ScenarioFile,
    errors: &mut Errors,
) -> Option<Option<Choice>> {
    let primaries = tier.pools.value.len();
    if let Some(weights) = tier.weights.as_ref().filter(|weights| weights.value.len() != primaries) {
        errors.refuse_with(
            &weights.place,
            format!("`{}` weights for {primaries} pools", weights.value.len()),
            "give one for each of `pools`, none for `fallback`",
        );
        return None;
    }
    let weights = tier.weights.iter().flat_map(|at| &at.value).map(|at| (at.value.0, &at.place));
    let wish = Wish {
        prefer: tier.prefer.as_ref(),
        next: tier.next.as_ref(),
        weights: ("weights", weights.collect()),
        pools: &pools[..primaries],
        fallbacks: pools.len() - primaries,
        place,
    };
    choice::resolve(&wish, file, errors)
}
