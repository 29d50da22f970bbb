//! How many replicas a pool has and when, what they need to start, how they fail.

use super::dist;
use super::fleet::{Shared, failures};
use crate::scenario::decode::{At, Decode as _};
use crate::scenario::diagnostic::Errors;
use crate::scenario::file::ScenarioFile;
use crate::scenario::fleet::{Aim, ColdStart, OnFailure, PoolFleet, Scaling};
use crate::scenario::fleet_file::{
    AimWord, ColdStartFile, FleetKeys, OnFailureWord, PlaceWord, ReplicasFile, ScalingFile, ScheduleFile,
};
use crate::scenario::fleet_leaf::Target;
use crate::scenario::leaf::{Lasting, Number, Share};
use crate::time::{Span, Time};

/// Share of the target within which the number is left alone, thousandths.
const TOLERANCE: u32 = 100;
/// Length of a schedule's cycle.
const PERIOD: Span = Span::from_secs(86_400);

/// What a pool is placed on.
pub(super) struct Site<'a> {
    pub file: &'a ScenarioFile,
    pub shared: &'a Shared,
    /// Index of the pool.
    pub pool: usize,
    /// GPUs of a replica, and where that is said.
    pub gpus: (u32, &'a crate::scenario::diagnostic::Place),
    /// GPU type it names itself.
    pub gpu: Option<&'a At<crate::scenario::leaf::GpuName>>,
    /// Whether its replicas give tokens one by one.
    pub streams: bool,
}

/// How the replicas of a pool come and go; where prompts come from is filled in by the caller.
pub(super) fn resolve(keys: &FleetKeys<'_>, site: &Site<'_>, errors: &mut Errors) -> Option<PoolFleet> {
    let before = errors.count();
    let nodes = nodes(keys, site, errors);
    let spread = keys.place.value == PlaceWord::Spread;
    if spread && nodes.as_ref().is_some_and(|nodes| nodes.len() < 2) {
        errors.refuse_with(
            &keys.place.place,
            "`spread` would never act: there are not two groups of machines to spread over",
            "name several `nodes`, or leave it out",
        );
    }
    let range = range(keys, errors);
    let scaling = range.and_then(|range| scaling(keys, range, errors));
    let fails = site.shared.can_fail(site.pool, keys, site.file);
    // A range that is wrong was reported: what it asks for is not known.
    let cold_start = range.and_then(|(min, max)| cold_start(keys, min < max, fails, errors));
    let failures = keys.failures.as_ref().map(|at| failures(at, errors));
    let on_failure = on_failure(keys, fails, site.streams, errors);
    (errors.count() == before).then_some(())?;
    let scaling = scaling?;
    let initial = initial(keys, range?, scaling.as_ref(), errors)?;
    Some(PoolFleet {
        nodes: nodes?,
        spread,
        initial,
        scaling,
        cold_start: cold_start?,
        failures: failures.flatten(),
        on_failure: on_failure?,
        notice: keys.notice.value.0,
        prefill: None,
        price: keys.price.as_ref().map(|at| at.value.per_hour),
    })
}

/// The groups a pool may be placed on, all of one GPU type and large enough for a replica.
fn nodes(keys: &FleetKeys<'_>, site: &Site<'_>, errors: &mut Errors) -> Option<Vec<usize>> {
    let Some(named) = keys.nodes else { return Some(Vec::new()) };
    if let Some(price) = keys.price {
        errors.refuse_with(
            &price.place,
            "`price` would never act: the pool pays for the machines of its `nodes`",
            "give the price in `[nodes.NAME]`",
        );
    }
    let mut found: Vec<usize> = Vec::new();
    let mut all = true;
    // The type that the others must be, and whose it is.
    let mut gpu: Option<(&str, String)> =
        site.gpu.map(|at| (at.value.0.as_str(), "that of the pool".to_owned()));
    for at in &named.value {
        let Some(index) = site.file.nodes.find(at, "node", errors) else {
            all = false;
            continue;
        };
        let name = at.value.as_str();
        if found.contains(&index) {
            errors.refuse(&at.place, format!("`{name}` is listed twice"));
        }
        found.push(index);
        let Some(group) = &site.file.nodes.entries[index].2 else { continue };
        let own = group.gpu.value.0.as_str();
        match &gpu {
            Some((gpu, whose)) if *gpu != own => errors.refuse_with(
                &at.place,
                format!("the machines of `{name}` have `{own}`, not `{gpu}`, {whose}"),
                "a pool has one GPU type: make a second pool for the other",
            ),
            Some(_) => {}
            None => gpu = Some((own, format!("that of `{name}`"))),
        }
        let (needed, place) = &site.gpus;
        let most = group.gpus.value.small();
        if *needed > most {
            errors.refuse_with(
                place,
                format!("`{needed}` GPUs of a replica do not fit a machine of `{name}`, which has {most}"),
                "a replica does not span machines: lower `tensor_parallel`, or name larger machines",
            );
        }
    }
    all.then_some(found)
}

/// Fewest and most replicas.
fn range(keys: &FleetKeys<'_>, errors: &mut Errors) -> Option<(u16, u16)> {
    let max = keys.replicas.value.most();
    let ReplicasFile::Range(range) = &keys.replicas.value else { return Some((max, max)) };
    let min = range.min.value.small() as u16;
    if min > max {
        errors.refuse(&range.min.place, format!("`{min}` is more than `max`, {max}"));
        return None;
    }
    if let Some(initial) = &range.initial
        && !(u32::from(min)..=u32::from(max)).contains(&initial.value.small())
    {
        errors.refuse(&initial.place, format!("`{}` is not in {min}..={max}", initial.value.small()));
        return None;
    }
    Some((min, max))
}

/// Replicas when the run starts.
fn initial(
    keys: &FleetKeys<'_>,
    (min, max): (u16, u16),
    scaling: Option<&Scaling>,
    errors: &mut Errors,
) -> Option<u16> {
    let least = scaling.map_or(min, |scaling| scaling.least(Time::ZERO));
    let ReplicasFile::Range(range) = &keys.replicas.value else { return Some(max) };
    let Some(initial) = &range.initial else { return Some(least.max(1).min(max)) };
    let given = initial.value.small() as u16;
    if given < least {
        errors.refuse_with(
            &initial.place,
            format!("`{given}` is below {least}, the fewest that the schedule allows at the start"),
            format!("leave it out, or write `initial = {least}`"),
        );
        return None;
    }
    Some(given)
}

fn scaling(keys: &FleetKeys<'_>, (min, max): (u16, u16), errors: &mut Errors) -> Option<Option<Scaling>> {
    let Some(at) = keys.scaling else {
        if min == max {
            return Some(None);
        }
        errors.refuse_with(
            &keys.replicas.place,
            format!("nothing says when there are how many of `{min}` to `{max}` replicas"),
            "add `scaling`, such as `scaling = { aim = \"concurrency\", target = 16 }`",
        );
        return None;
    };
    if min == max {
        errors.refuse_with(
            &at.place,
            format!("`scaling` would never act: there are always `{max}` replicas"),
            format!("write a range, such as `replicas = {{ min = 1, max = {} }}`", max.max(2)),
        );
        return None;
    }
    let before = errors.count();
    let file = &at.value;
    let aim = aim(at, errors);
    let schedule = schedule(file, min, max, errors);
    (errors.count() == before).then_some(())?;
    let most = |bound: &Option<At<crate::scenario::leaf::Count<1, 65_535>>>| {
        bound.as_ref().map_or(u16::MAX, |at| at.value.small() as u16)
    };
    let permille = |at: &At<Share>| (at.value.0 * 1_000.0).round() as u32;
    Some(Some(Scaling {
        min,
        aim,
        interval: file.interval.value.0,
        tolerance: file.tolerance.as_ref().map_or(TOLERANCE, permille),
        up_window: file.up_window.value.0,
        down_window: file.down_window.value.0,
        up_most: most(&file.up_most),
        down_most: most(&file.down_most),
        schedule,
        period: file.period.as_ref().map_or(PERIOD, |at| at.value.0),
    }))
}

/// What is aimed at; `None` when only the schedule counts, and after an error.
fn aim(at: &At<ScalingFile>, errors: &mut Errors) -> Option<Aim> {
    let file = &at.value;
    let Some(aim) = &file.aim else {
        if file.schedule.is_none() {
            errors.refuse_with(
                &at.place,
                "neither `aim` nor `schedule` is given: the number of replicas would never change",
                "for example `aim = \"concurrency\", target = 16`",
            );
        }
        let useless = [
            ("target", file.target.as_ref().map(|at| &at.place)),
            ("tolerance", file.tolerance.as_ref().map(|at| &at.place)),
        ];
        for (key, place) in useless {
            if let Some(place) = place {
                let hint = "say what is measured: `concurrency`, `queue`, `utilization` or `ttft`";
                errors.refuse_with(place, format!("`{key}` would never act: there is no `aim`"), hint);
            }
        }
        return None;
    };
    let word = aim.value.word();
    let Some(target) = &file.target else {
        let example = match aim.value {
            AimWord::Concurrency => "16",
            AimWord::Queue => "2",
            AimWord::Utilization => "0.7",
            AimWord::Ttft => "\"1s\"",
        };
        errors.refuse_with(
            &at.place,
            "the key `target` is missing",
            format!("`{word}` needs one, such as `target = {example}`"),
        );
        return None;
    };
    read_target(aim.value, target, errors)
}

fn read_target(aim: AimWord, target: &At<Target>, errors: &mut Errors) -> Option<Aim> {
    let node = &target.value.0;
    let count = |errors: &mut Errors| {
        let number = Number::<1, 1_000_000_000>::decode(node, errors)?;
        Some((number.0 * 1_000.0).round() as u64)
    };
    match aim {
        AimWord::Concurrency => count(errors).map(Aim::Concurrency),
        AimWord::Queue => count(errors).map(Aim::Queue),
        AimWord::Utilization => {
            let share = Share::decode(node, errors)?.0;
            let permille = (share * 1_000.0).round() as u64;
            if permille == 0 {
                errors.refuse(&target.place, format!("`{node}` is not in 0.001..=1"));
                return None;
            }
            Some(Aim::Utilization(permille))
        }
        AimWord::Ttft => Lasting::decode(node, errors).map(|time| Aim::Ttft(time.0)),
    }
}

/// `(from, min)` in order.
fn schedule(file: &ScalingFile, min: u16, max: u16, errors: &mut Errors) -> Vec<(Span, u16)> {
    let Some(at) = &file.schedule else {
        if let Some(period) = &file.period {
            errors.refuse(&period.place, "`period` would never act: there is no `schedule`");
        }
        return Vec::new();
    };
    let period = file.period.as_ref().map_or(PERIOD, |at| at.value.0);
    let mut last: Option<Span> = None;
    for ScheduleFile { from, min: least } in at.value.iter().map(|at| &at.value) {
        let begins = from.value.0;
        if let Some(last) = last.filter(|last| begins <= *last) {
            errors.refuse(
                &from.place,
                format!("`{begins}` is not after {last}, where the entry before it begins"),
            );
        }
        if begins >= period {
            errors.refuse(&from.place, format!("`{begins}` is not inside a period of {period}"));
        }
        if least.value.small() > u32::from(max) {
            errors.refuse(&least.place, format!("`{}` is more than `max`, {max}", least.value.small()));
        }
        last = Some(begins);
    }
    let entries: Vec<(Span, u16)> =
        at.value.iter().map(|at| (at.value.from.value.0, at.value.min.value.small() as u16)).collect();
    if entries.iter().all(|(_, least)| *least <= min) {
        errors.refuse_with(
            &at.place,
            format!("`schedule` would never act: no entry asks for more than the `{min}` of `replicas`"),
            "lower `min` there, or raise one here",
        );
    }
    entries
}

fn cold_start(
    keys: &FleetKeys<'_>,
    comes_and_goes: bool,
    fails: bool,
    errors: &mut Errors,
) -> Option<ColdStart> {
    let Some(at) = keys.cold_start else {
        if comes_and_goes {
            errors.refuse_with(
                &keys.replicas.place.sibling("cold_start"),
                "the key `cold_start` is missing: replicas that come and go need time to start",
                "for example `cold_start = { provision = \"90s\", load = \"40s\" }`; `{ load = \"0s\" }` for none",
            );
        }
        return Some(ColdStart::default());
    };
    if !comes_and_goes && !fails {
        errors.refuse_with(
            &at.place,
            "`cold_start` would never act: all replicas are there from the start, and none can fail",
            "leave it out, or give the pool `scaling` or `failures`",
        );
        return None;
    }
    let ColdStartFile { provision, load, warm_up } = &at.value;
    if provision.is_none() && load.is_none() && warm_up.is_none() {
        errors.refuse_with(
            &at.place,
            "no part is given",
            "give `provision`, `load` or `warm_up`; `{ load = \"0s\" }` for none",
        );
        return None;
    }
    let before = errors.count();
    let mut part = |part: &Option<At<_>>| part.as_ref().and_then(|at| dist::dist(at, errors));
    let cold_start = ColdStart { provision: part(provision), load: part(load), warm_up: part(warm_up) };
    (errors.count() == before).then_some(cold_start)
}

fn on_failure(keys: &FleetKeys<'_>, fails: bool, streams: bool, errors: &mut Errors) -> Option<OnFailure> {
    let before = errors.count();
    let given = [
        ("on_failure", keys.on_failure.value != OnFailureWord::Lose, &keys.on_failure.place),
        ("notice", !keys.notice.value.0.is_zero(), &keys.notice.place),
    ];
    for (key, _, place) in given.into_iter().filter(|(_, given, _)| *given && !fails) {
        errors.refuse_with(
            place,
            format!("`{key}` would never act: no replica of the pool can fail"),
            "add `failures` to the pool or to its machines, or a fault in `[[faults]]`",
        );
    }
    if keys.on_failure.value == OnFailureWord::Resume && !streams {
        errors.refuse_with(
            &keys.on_failure.place,
            "`resume` has no stream to go on with: a `slots` pool gives the whole answer at once",
            "use `retry`: a request without its answer goes to another replica",
        );
    }
    (errors.count() == before).then_some(())?;
    Some(match keys.on_failure.value {
        OnFailureWord::Lose => OnFailure::Lose,
        OnFailureWord::Retry => OnFailure::Retry,
        OnFailureWord::Resume => OnFailure::Resume,
    })
}
