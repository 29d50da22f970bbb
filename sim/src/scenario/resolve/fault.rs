//! `[[faults]]`: what fails, or slows down, at a given time.

use crate::request::PoolId;
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::ScenarioFile;
use crate::scenario::fleet::{Effect, Fault, Target};
use crate::scenario::fleet_file::{FaultFile, MachineFile, ReplicaFile};
use crate::scenario::leaf::{self, Name};
use crate::scenario::overrides::listed;
use crate::scenario::{Engine, Fleet, Pool};
use crate::time::{Span, Time};

/// Those that are switched on and right, in the order of the file.
pub(super) fn all(
    file: &ScenarioFile,
    zones: &[String],
    horizon: Option<Span>,
    errors: &mut Errors,
) -> Vec<Fault> {
    let mut names: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    for (index, at) in file.faults.0.iter().enumerate() {
        let name = name(index, &at.value, &names, errors);
        names.push(name.clone());
        if at.value.enabled.value {
            faults.extend(one(name, at, &Site { file, zones }, horizon, errors));
        }
    }
    faults
}

/// Refuses slow-downs under which a step would be longer than the integers of its law can hold.
pub(super) fn steps_fit(file: &ScenarioFile, fleet: &Fleet, pools: &[Pool], errors: &mut Errors) {
    let enabled = file.faults.0.iter().filter(|at| at.value.enabled.value);
    for (fault, at) in fleet.faults.iter().zip(enabled) {
        let (Effect::Slow(permille), Some(slow)) = (fault.effect, &at.value.slow) else { continue };
        let is_on = |pool: &Pool, group: usize| pool.fleet.nodes.contains(&group);
        let strikes = |index: usize, pool: &Pool| match fault.target {
            Target::Replica(struck, _) | Target::Pool(struck) => usize::from(struck) == index,
            Target::Gpu(group, _) | Target::Node(group, _) => is_on(pool, group),
            Target::Zone(zone) => pool.fleet.nodes.iter().any(|&group| fleet.nodes[group].zone == zone),
        };
        for (_, pool) in pools.iter().enumerate().filter(|(index, pool)| strikes(*index, pool)) {
            let Engine::Llm(engine) = &pool.engine else { continue };
            let slowest = engine.law.slowest();
            if permille > slowest {
                let (name, most) = (&pool.name, f64::from(slowest) / 1_000.0);
                errors.refuse_with(
                    &slow.place,
                    format!(
                        "`{}` is more than {most}: the longest step of pool `{name}` would not fit",
                        slow.value.0
                    ),
                    "steps of that length are hours: let the replica fail instead",
                );
            }
        }
    }
}

/// What faults refer to.
struct Site<'a> {
    file: &'a ScenarioFile,
    zones: &'a [String],
}

fn name(index: usize, fault: &FaultFile, before: &[String], errors: &mut Errors) -> String {
    let Some(at) = &fault.name else { return format!("fault-{}", index + 1) };
    let name = at.value.as_str();
    if !leaf::is_name(name) {
        let hint = "letters, digits, `-` and `_`, beginning with a letter or digit, at most 64";
        let shown = crate::scenario::diagnostic::shorten(name);
        errors.refuse_with(&at.place, format!("`{shown}` is not a usable name"), hint);
    }
    if before.iter().any(|other| other == name) {
        errors.refuse(&at.place, format!("two faults are named `{name}`"));
    }
    name.to_owned()
}

fn one(
    name: String,
    at: &At<FaultFile>,
    site: &Site<'_>,
    horizon: Option<Span>,
    errors: &mut Errors,
) -> Option<Fault> {
    let before = errors.count();
    let fault = &at.value;
    let begins = fault.at.value.0;
    if let Some(horizon) = horizon.filter(|horizon| begins >= *horizon) {
        errors.refuse(
            &fault.at.place,
            format!("`{begins}` is at or after the horizon of {horizon}: it never happens"),
        );
    }
    let target = target(at, site, errors);
    (errors.count() == before).then_some(())?;
    let effect = match &fault.slow {
        None => Effect::Down,
        Some(slow) => Effect::Slow((slow.value.0 * 1_000.0).round() as u32),
    };
    let lasts = fault.lasts.as_ref().map(|at| at.value.0);
    Some(Fault { name, at: Time::ZERO.saturating_add(begins), lasts, target: target?, effect })
}

/// Exactly one of the keys that say what is struck.
fn target(at: &At<FaultFile>, site: &Site<'_>, errors: &mut Errors) -> Option<Target> {
    let fault = &at.value;
    let keys = ["replica", "pool", "gpu", "node", "zone"];
    let places = [
        fault.replica.as_ref().map(|at| &at.place),
        fault.pool.as_ref().map(|at| &at.place),
        fault.gpu.as_ref().map(|at| &at.place),
        fault.node.as_ref().map(|at| &at.place),
        fault.zone.as_ref().map(|at| &at.place),
    ];
    let given: Vec<_> = keys.iter().zip(places).filter_map(|(key, place)| Some((key, place?))).collect();
    match given[..] {
        [] => {
            errors.refuse_with(
                &at.place,
                "nothing is named that the fault would strike",
                format!("give one of {}", listed(keys.into_iter())),
            );
            return None;
        }
        [(first, _), (second, place), ..] => {
            errors.refuse_with(
                place,
                format!("`{first}` and `{second}` both say what the fault strikes"),
                "keep one, and write a second fault for the other",
            );
            return None;
        }
        _ => {}
    }
    if let Some(at) = &fault.replica {
        return replica(&at.value, site, errors);
    }
    if let Some(name) = &fault.pool {
        let pool = site.file.pools.find(name, "pool", errors)?;
        return Some(Target::Pool(pool as PoolId));
    }
    if let Some(at) = &fault.gpu {
        return machine(&at.value, site, errors).map(|(group, index)| Target::Gpu(group, index));
    }
    if let Some(at) = &fault.node {
        return machine(&at.value, site, errors).map(|(group, index)| Target::Node(group, index));
    }
    zone(fault.zone.as_ref()?, site, errors)
}

fn replica(file: &ReplicaFile, site: &Site<'_>, errors: &mut Errors) -> Option<Target> {
    let pool = site.file.pools.find(&file.pool, "pool", errors)?;
    let index = file.index.value.small();
    let most = site.file.pools.entries[pool].2.as_ref()?.fleet().replicas.value.most();
    if index >= u32::from(most) {
        errors.refuse_with(
            &file.index.place,
            format!(
                "`{index}` is not in 0..={}: `{}` has {most} replicas",
                most - 1,
                file.pool.value.as_str()
            ),
            "replicas are numbered from 0",
        );
        return None;
    }
    Some(Target::Replica(pool as PoolId, index as u16))
}

fn machine(file: &MachineFile, site: &Site<'_>, errors: &mut Errors) -> Option<(usize, u32)> {
    let group = site.file.nodes.find(&file.nodes, "node", errors)?;
    let index = file.index.value.small();
    let name = file.nodes.value.as_str();
    let count = site.file.nodes.entries[group].2.as_ref()?.count.value.small();
    if index >= count {
        errors.refuse_with(
            &file.index.place,
            format!("`{index}` is not in 0..={}: `{name}` has {count} machines", count - 1),
            "machines are numbered from 0",
        );
        return None;
    }
    is_used(&file.nodes, |group| group == name, site, errors)?;
    Some((group, index))
}

fn zone(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<Target> {
    let wanted = name.value.as_str();
    let Some(zone) = site.zones.iter().position(|zone| zone == wanted) else {
        // A group that could not be read may be in it.
        if site.file.nodes.broken.is_empty() {
            let known = || site.zones.iter().map(String::as_str);
            let hint = did_you_mean(wanted, known())
                .unwrap_or_else(|| format!("zones of `[nodes.NAME]`: {}", listed(known())));
            let shown = crate::scenario::diagnostic::shorten(wanted);
            errors.refuse_with(&name.place, format!("no machine is in a zone `{shown}`"), hint);
        }
        return None;
    };
    let in_zone = |group: &str| {
        let mut entries = site.file.nodes.entries.iter();
        let found = entries.find(|(name, ..)| name == group).and_then(|(.., group)| group.as_ref());
        found.is_none_or(|group| group.zone.value.as_str() == wanted)
    };
    is_used(name, in_zone, site, errors)?;
    Some(Target::Zone(zone))
}

/// A fault of machines that no pool is placed on would strike nothing.
fn is_used(
    name: &At<Name>,
    struck: impl Fn(&str) -> bool,
    site: &Site<'_>,
    errors: &mut Errors,
) -> Option<()> {
    let pools = site.file.pools.entries.iter().filter_map(|(.., pool)| pool.as_ref());
    let used = pools.flat_map(|pool| pool.fleet().nodes.iter().flat_map(|at| &at.value));
    let mut used = used.map(|group| group.value.as_str());
    if used.any(struck) || !site.file.pools.broken.is_empty() {
        return Some(());
    }
    errors.refuse_with(
        &name.place,
        format!("the fault would never act: no pool is placed on `{}`", name.value.as_str()),
        "name the machines in a pool's `nodes`, or set `enabled = false`",
    );
    None
}
