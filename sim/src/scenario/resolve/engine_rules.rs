//! Rules of an `llm` engine that keeps batch below real-time.

use super::batch_rules::{permille, shortest_step};
use crate::scenario::batch::Preempt;
use crate::scenario::batch_file::{BatchPriorityWord, BatchRulesFile, PreemptWord};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::leaf::{Share, Tokens};
use crate::scenario::{Below, LlmEngine};

/// What the engine is told; it is told nothing unless batch has the priority `engine`.
pub(super) fn resolve(file: &BatchRulesFile, engine: &LlmEngine, errors: &mut Errors) -> Option<Below> {
    let before = errors.count();
    if file.priority.value != BatchPriorityWord::Engine {
        for (key, place) in stated(file) {
            never_acts(key, place, file.priority.value, errors);
        }
        return None;
    }
    let preempt = preempt(file, errors);
    for (key, bound) in [("step_tokens", &file.step_tokens), ("chunk", &file.chunk)] {
        within(key, bound, engine, errors);
    }
    if let (Some(chunk), Some(tokens)) = (&file.chunk, &file.step_tokens)
        && chunk.value.0 > tokens.value.0
    {
        errors.refuse(
            &chunk.place,
            format!("`{}` is more than the {} of `step_tokens`", chunk.value.0, tokens.value.0),
        );
    }
    if let Some(step) = &file.step {
        let least = shortest_step(engine);
        if step.value.0 < least {
            errors.refuse_with(
                &step.place,
                format!("`{}` is shorter than any step of the pool: batch would never run", step.value.0),
                format!("its shortest step takes {least}"),
            );
        }
    }
    let slowdown = file.slowdown.as_ref().map(|at| slowdown(at, errors));
    let reserve = file.reserve.as_ref().map_or(Some(0), |at| reserve(at, engine, errors));
    (errors.count() == before).then_some(())?;
    Some(Below {
        preempt: preempt?,
        tokens: file.step_tokens.as_ref().map(|at| at.value.0),
        chunk: file.chunk.as_ref().map(|at| at.value.0),
        step: file.step.as_ref().map(|at| at.value.0),
        slowdown: slowdown.flatten(),
        reserve: reserve?,
    })
}

/// A server holds no cache and makes no steps.
pub(super) fn refuse_on_slots(file: &BatchRulesFile, errors: &mut Errors) {
    for (key, place) in stated(file) {
        errors.refuse_with(
            place,
            format!("`{key}` does not go with engine `slots`; it belongs to `llm`"),
            "a batch request yields its server with `quantum`",
        );
    }
}

/// A rule that the priority leaves no room for.
pub(super) fn never_acts(key: &str, place: &Place, word: BatchPriorityWord, errors: &mut Errors) {
    errors.refuse_with(
        place,
        format!("`{key}` would never act: with priority `{}` replicas do not tell batch apart", word.word()),
        "write `priority = \"engine\"`, or leave it out",
    );
}

/// Keys of the engine that are given.
fn stated(file: &BatchRulesFile) -> Vec<(&'static str, &Place)> {
    fn place<T>(at: &Option<At<T>>) -> Option<&Place> {
        at.as_ref().map(|at| &at.place)
    }
    let all = [
        ("preempt", place(&file.preempt)),
        ("swap", place(&file.swap)),
        ("step_tokens", place(&file.step_tokens)),
        ("chunk", place(&file.chunk)),
        ("step", place(&file.step)),
        ("slowdown", place(&file.slowdown)),
        ("reserve", place(&file.reserve)),
    ];
    all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
}

fn preempt(file: &BatchRulesFile, errors: &mut Errors) -> Option<Preempt> {
    let word = file.preempt.as_ref().map_or(PreemptWord::Recompute, |at| at.value);
    match (word, &file.swap) {
        (PreemptWord::Swap, Some(swap)) => Some(Preempt::Swap(swap.value.0)),
        (PreemptWord::Swap, None) => {
            let place = &file.preempt.as_ref()?.place;
            errors.refuse_with(
                &place.sibling("swap"),
                "the key `swap` is missing: how long does it take to move a token's KV cache?",
                "for example `swap = \"2us\"`: the bytes of a token over the bandwidth to the host",
            );
            None
        }
        (word, Some(swap)) => {
            errors.refuse_with(
                &swap.place,
                format!("`swap` would never act: `preempt` is `{}`", word.word()),
                "write `preempt = \"swap\"`, or leave it out",
            );
            None
        }
        (PreemptWord::Recompute, None) => Some(Preempt::Recompute),
        (PreemptWord::Never, None) => Some(Preempt::Never),
    }
}

/// A bound on a part of a step's tokens is no higher than the bound on all.
fn within(key: &str, bound: &Option<At<Tokens<1, 1_000_000>>>, engine: &LlmEngine, errors: &mut Errors) {
    let budget = engine.batching.tokens;
    if let Some(at) = bound
        && at.value.0 > budget
    {
        errors.refuse_with(
            &at.place,
            format!("`{key}` would never act: no step of the pool has more than {budget} tokens"),
            "lower it, or leave it out",
        );
    }
}

/// Thousandths of a step's time without batch that it may take with it.
fn slowdown(at: &At<Share>, errors: &mut Errors) -> Option<u32> {
    let more = permille(at, errors)?;
    if more == 0 {
        errors.refuse_with(
            &at.place,
            "`0` lets no batch into a step with real-time",
            "at least `\"0.1%\"`; `step_tokens` or `gate` keep batch out of busy replicas",
        );
        return None;
    }
    Some(1_000 + more)
}

/// Blocks that batch leaves free. What remains holds one request of the longest context, or batch could wait for ever.
fn reserve(at: &At<Share>, engine: &LlmEngine, errors: &mut Errors) -> Option<u32> {
    let share = u64::from(permille(at, errors)?);
    let kv = &engine.kv;
    let kept = u64::from(kv.blocks) * share / 1_000;
    let left = u64::from(kv.blocks) - kept;
    let needed = u64::from(engine.context_tokens.div_ceil(kv.block_tokens));
    if left < needed {
        errors.refuse_with(
            &at.place,
            format!(
                "`{}` of the {} KV blocks leaves {left} to batch, and a request of the longest context needs {needed}",
                at.value.0, kv.blocks
            ),
            "lower it, give the cache more room, or lower the model's `context`",
        );
        return None;
    }
    Some(kept as u32)
}
