//! `[pools.NAME.batch]`: what a pool does with batch, and whether it could.

use super::Context;
use super::engine_rules;
use crate::replica::step_time::StepShape;
use crate::scenario::batch::{
    BatchPriority, BatchRules, ControlLaw, Controller, Gate, JobOrder, Lend, Reclaim,
};
use crate::scenario::batch_file::{
    BatchGateFile, BatchPriorityWord, BatchRulesFile, ControlMetricWord, ControllerFile, JobOrderWord,
    LendFile, ReclaimWord, WindowFile,
};
use crate::scenario::decode::{At, Decode as _};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::document::Node;
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::Share;
use crate::scenario::{BatchPolicy, Below, Engine, LlmEngine, Metric, Pool};
use crate::time::Span;

/// What a pool does with batch.
pub(super) struct Resolved {
    pub rules: BatchRules,
    /// What its engine does.
    pub below: Option<Below>,
}

/// The rules of every pool that batch uses, those left out by their defaults. `used` is by pool.
pub(super) fn all(
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    used: &[bool],
    cx: &mut Context<'_>,
) -> Vec<Option<Resolved>> {
    let entries = file.pools.entries.iter().zip(pools).zip(used);
    entries
        .map(|(((name, place, entry), pool), &used)| {
            let stated = entry.as_ref()?.batch();
            let pool = pool.as_ref()?;
            let resolved = match stated {
                Some(at) => one(at, pool, cx.errors),
                None if used => one(&defaults(&place.key("batch")), pool, cx.errors),
                None => None,
            };
            if stated.is_some() && !used {
                cx.caveats
                    .push(format!("pool `{name}`: its `batch` changes nothing, because no batch uses it"));
            }
            resolved.filter(|_| used)
        })
        .collect()
}

/// The rules of a pool that says nothing about batch.
fn defaults(place: &Place) -> At<BatchRulesFile> {
    let empty = Node::from_json(&serde_json::json!({}), place);
    let value = BatchRulesFile::decode(&empty, &mut Errors::default()).expect("every key has a default");
    At { value, place: place.clone() }
}

fn one(at: &At<BatchRulesFile>, pool: &Pool, errors: &mut Errors) -> Option<Resolved> {
    let before = errors.count();
    let file = &at.value;
    let priority = match file.priority.value {
        BatchPriorityWord::Engine => BatchPriority::Engine,
        BatchPriorityWord::Gateway => BatchPriority::Gateway,
        BatchPriorityWord::None => BatchPriority::None,
    };
    let below = match &pool.engine {
        Engine::Llm(engine) => {
            engine_told(file, engine, errors);
            engine_rules::resolve(file, engine, errors)
        }
        Engine::Slots(_) => {
            engine_rules::refuse_on_slots(file, errors);
            None
        }
    };
    if let Some(quantum) = &file.quantum {
        match (&pool.engine, file.priority.value) {
            (Engine::Llm(_), _) => errors.refuse_with(
                &quantum.place,
                "`quantum` does not go with engine `llm`: its batches are made anew with every step",
                "leave it out; `preempt` says what becomes of sequences that run",
            ),
            (Engine::Slots(_), BatchPriorityWord::Engine) => {}
            (Engine::Slots(_), word) => engine_rules::never_acts("quantum", &quantum.place, word, errors),
        }
    }
    let headroom = permille(&file.headroom, errors);
    let windows = windows(file, errors);
    let gate = file.gate.as_ref().map(|at| gate(at, pool, errors));
    let controller = file.controller.as_ref().map(|at| controller(at, file, pool, errors));
    let lend = file.lend.as_ref().map(|at| lend(at, pool, errors));
    alone_on_lent(file, errors);
    if let Some(headroom) = headroom {
        some_is_left(file, headroom, pool, errors);
    }
    (errors.count() == before).then_some(())?;
    let rules = BatchRules {
        priority,
        order: match file.order.value {
            JobOrderWord::Deadline => JobOrder::Deadline,
            JobOrderWord::Fifo => JobOrder::Fifo,
        },
        fair: file.fair.value,
        concurrency: file.concurrency.as_ref().map(|at| at.value.small()),
        headroom: headroom?,
        windows: windows?,
        period: file.day.value.0,
        gate: gate.flatten(),
        controller: controller.flatten(),
        urgency: file.urgent.as_ref().map(|at| at.value.0),
        lend: lend.flatten(),
        quantum: file.quantum.as_ref().map(|at| at.value.0),
    };
    let below = below.filter(|_| priority == BatchPriority::Engine);
    Some(Resolved { rules, below })
}

/// An engine that keeps batch below real-time cuts prompts to what is left of a step.
fn engine_told(file: &BatchRulesFile, engine: &LlmEngine, errors: &mut Errors) {
    let policy = engine.batching.policy;
    if file.priority.value == BatchPriorityWord::Engine && policy != BatchPolicy::Chunked {
        let word = if policy == BatchPolicy::Whole { "whole" } else { "static" };
        errors.refuse_with(
            &file.priority.place,
            format!("`engine` needs batching of the policy `chunked`, this pool's is `{word}`"),
            "write `priority = \"gateway\"`: the gateway holds batch back while real-time waits",
        );
    }
}

/// A share in thousandths; finer ones are refused.
pub(super) fn permille(at: &At<Share>, errors: &mut Errors) -> Option<u32> {
    let exact = 1_000.0 * at.value.0;
    if (exact - exact.round()).abs() > 1e-6 {
        errors.refuse(&at.place, format!("`{}` is finer than a thousandth", at.value.0));
        return None;
    }
    Some(exact.round() as u32)
}

/// Stretches of the day in order, those over midnight cut in two, those that touch made one.
fn windows(file: &BatchRulesFile, errors: &mut Errors) -> Option<Vec<(Span, Span)>> {
    let day = file.day.value.0;
    let Some(listed) = &file.windows else {
        if day != Span::from_secs(86_400) {
            errors.refuse_with(
                &file.day.place,
                "`day` would never act: there are no `windows` of it",
                "leave it out, or add `windows = [{ from = \"22h\", to = \"6h\" }]`",
            );
            return None;
        }
        return Some(Vec::new());
    };
    let before = errors.count();
    let mut stretches: Vec<(Span, Span, &Place)> = Vec::new();
    for at in &listed.value {
        let WindowFile { from, to } = &at.value;
        let (begin, end) = (from.value.0, to.value.0);
        if begin >= day {
            errors.refuse(&from.place, format!("`{begin}` is not before the end of a day of {day}"));
        } else if end > day {
            errors.refuse(&to.place, format!("`{end}` is after the end of a day of {day}"));
        } else if begin == end {
            errors.refuse_with(
                &at.place,
                format!("the window from `{begin}` to `{end}` is empty"),
                "leave `windows` out for the whole day",
            );
        } else if begin < end {
            stretches.push((begin, end, &at.place));
        } else {
            stretches.push((begin, day, &at.place));
            if !end.is_zero() {
                stretches.push((Span::ZERO, end, &at.place));
            }
        }
    }
    stretches.sort_by_key(|(begin, ..)| *begin);
    let mut joined: Vec<(Span, Span)> = Vec::new();
    for (begin, end, place) in stretches {
        match joined.last_mut() {
            Some((_, last)) if begin < *last => {
                errors.refuse(place, format!("two windows overlap from `{begin}` on"));
            }
            Some((_, last)) if begin == *last => *last = end,
            _ => joined.push((begin, end)),
        }
    }
    (errors.count() == before).then_some(joined)
}

fn gate(at: &At<BatchGateFile>, pool: &Pool, errors: &mut Errors) -> Option<Gate> {
    let before = errors.count();
    let file = &at.value;
    if file.waiting.is_none() && file.running.is_none() && file.kv.is_none() {
        errors.refuse_with(
            &at.place,
            "a gate without a bound keeps nothing out",
            "give at least one of `waiting`, `running`, `kv`",
        );
    }
    if let (Some(kv), Engine::Slots(_)) = (&file.kv, &pool.engine) {
        errors.refuse_with(&kv.place, "a `slots` pool has no KV cache", "use `running` or `waiting`");
    }
    let mut share = |at: &Option<At<Share>>| match at {
        Some(at) => permille(at, errors).map(Some),
        None => Some(None),
    };
    let (running, kv) = (share(&file.running), share(&file.kv));
    (errors.count() == before).then_some(())?;
    let waiting = file.waiting.as_ref().map(|at| at.value.small());
    Some(Gate { waiting, running: running?, kv: kv? })
}

fn controller(
    at: &At<ControllerFile>,
    rules: &BatchRulesFile,
    pool: &Pool,
    errors: &mut Errors,
) -> Option<Controller> {
    let before = errors.count();
    let keys = at.value.common();
    let metric = match keys.metric.value {
        ControlMetricWord::Ttft => Metric::Ttft,
        ControlMetricWord::Itl => Metric::Itl,
        ControlMetricWord::E2e => Metric::E2e,
    };
    if let (Metric::Itl, Engine::Slots(_)) = (metric, &pool.engine) {
        errors.refuse_with(
            &keys.metric.place,
            "a `slots` pool gives the whole answer at once: it has no `itl`",
            "use `e2e`",
        );
    }
    let quantile = keys.quantile.value.0;
    if !(quantile > 0.0 && quantile < 1.0) {
        errors.refuse(&keys.quantile.place, format!("`{quantile}` is not strictly between 0 and 1"));
    }
    let places = match &pool.engine {
        Engine::Llm(engine) => engine.batching.sequences,
        Engine::Slots(engine) => engine.servers,
    };
    let concurrency = rules.concurrency.as_ref().map(|at| at.value.small());
    let least = keys.least.value.small();
    let most = keys.most.as_ref().map(|at| at.value.small());
    if let (Some(at), Some(most), Some(concurrency)) = (keys.most, most, concurrency)
        && most > concurrency
    {
        errors.refuse_with(
            &at.place,
            format!("`{most}` is more than the `concurrency` of {concurrency}"),
            "keep one of the two: the controller sets the concurrency",
        );
    }
    let most = most.or(concurrency).unwrap_or(places);
    if least > most {
        errors.refuse(&keys.least.place, format!("`{least}` is more than the most, {most}"));
    }
    let law = match &at.value {
        ControllerFile::Aimd(law) => {
            let cut = permille(&law.cut, errors);
            if cut == Some(0) {
                errors.refuse(&law.cut.place, "`0` takes nothing away: the concurrency could only grow");
            }
            ControlLaw::Aimd { add: law.add.value.small(), permille: 1_000 - cut.unwrap_or(0) }
        }
        ControllerFile::Pi(law) => {
            let (gain, integral) = (law.gain.value.0, law.integral.value.0);
            if gain <= 0.0 && integral <= 0.0 {
                errors.refuse(&law.gain.place, "`gain` and `integral` are both 0: nothing would follow");
            }
            ControlLaw::Pi { gain, integral }
        }
    };
    (errors.count() == before).then_some(())?;
    let (target, every) = (keys.target.value.0, keys.every.value.0);
    Some(Controller { metric, quantile, target, every, law, least, most })
}

fn lend(at: &At<LendFile>, pool: &Pool, errors: &mut Errors) -> Option<Lend> {
    let before = errors.count();
    let file = &at.value;
    let (most, replicas) = (file.most.value.small(), u32::from(pool.replicas));
    if pool.fleet.scaling.is_some() {
        errors.refuse_with(
            &at.place,
            "an autoscaled pool lends no replicas: both would move the same ones",
            "give the pool a fixed number of `replicas`, or leave `lend` out",
        );
    } else if replicas == 1 {
        errors.refuse_with(
            &at.place,
            "the pool has `1` replica: with it lent, nothing would serve real-time",
            "give it more `replicas`, or leave `lend` out",
        );
    } else if most >= replicas {
        errors.refuse(
            &file.most.place,
            format!("`{most}` is not less than the {replicas} replicas of the pool: one must be left"),
        );
    }
    let (below, above) = (file.below.value.small(), file.above.value.small());
    if above <= below {
        errors.refuse_with(
            &file.above.place,
            format!("`{above}` is not above `below`, {below}: replicas would come and go at every look"),
            "leave some room between the two",
        );
    }
    (errors.count() == before).then_some(Lend {
        most: most as u16,
        below,
        above,
        every: file.every.value.0,
        reclaim: match file.reclaim.value {
            ReclaimWord::Drain => Reclaim::Drain,
            ReclaimWord::Preempt => Reclaim::Preempt,
        },
        reload: file.reload.value.0,
    })
}

/// On lent replicas batch is alone: what spares real-time there would do nothing.
fn alone_on_lent(file: &BatchRulesFile, errors: &mut Errors) {
    let Some(lend) = &file.lend else { return };
    if file.priority.value != BatchPriorityWord::Engine {
        let hint = "write `priority = \"engine\"`, or leave `lend` out";
        errors.refuse_with(&lend.place, "replicas are lent only where they tell batch apart", hint);
    }
    let headroom = (file.headroom.value.0 > 0.0).then_some(&file.headroom.place);
    for (key, place) in [
        ("headroom", headroom),
        ("gate", file.gate.as_ref().map(|at| &at.place)),
        ("controller", file.controller.as_ref().map(|at| &at.place)),
        ("urgent", file.urgent.as_ref().map(|at| &at.place)),
    ] {
        if let Some(place) = place {
            let reason =
                format!("`{key}` would never act: with `lend`, batch is alone on the replicas it has");
            errors.refuse_with(place, reason, format!("leave `{key}` out, or `lend`"));
        }
    }
}

/// A headroom that leaves no place would keep all batch back for ever.
fn some_is_left(file: &BatchRulesFile, headroom: u32, pool: &Pool, errors: &mut Errors) {
    let all = match &pool.engine {
        Engine::Llm(engine) => engine.batching.sequences,
        Engine::Slots(engine) => engine.servers,
    };
    if headroom < 1_000 && u64::from(all) * u64::from(1_000 - headroom) < 1_000 && file.urgent.is_none() {
        errors.refuse_with(
            &file.headroom.place,
            format!("of `{all}` places on a replica less than one is left: batch would never be sent"),
            "lower it; `100%` keeps batch back on purpose",
        );
    }
}

/// The shortest step that a replica can make: one sequence that decodes.
pub(super) fn shortest_step(engine: &LlmEngine) -> Span {
    let alone = StepShape { sequences: 1, decodes: 1, context_tokens: 1, ..StepShape::default() };
    engine.law.plan(&alone).line.step(0)
}
