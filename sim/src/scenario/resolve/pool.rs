//! Pools: engines, step laws, queues.

use super::endpoint::provisions;
use super::fleet::{Shared, gpu_of};
use super::kv::{self, Needs, unused};
use super::{Context, dist, model_of, prefill, replicas};
use crate::hardware::{self, HardwareError, KvPrecision, LinearFit, Placement, Precision};
use crate::replica::step_time::{LawBounds, LawError, LinearCoefficients, StepLaw, TableData};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{
    BatchingFile, LinearFile, LlmPool, OrderWord, QueueFile, RouteWord, ScenarioFile, SlotsPool, StepTimeFile,
};
use crate::scenario::fleet_file::FleetKeys;
use crate::scenario::leaf::{Delay, Text};
use crate::scenario::{
    BatchPolicy, Batching, Engine, LlmEngine, Model, Pool, PoolFleet, Queue, QueueOrder, Route, SlotsEngine,
};
use crate::time::Span;
use std::sync::Arc;

/// What a pool is read beside.
pub(super) struct Site<'a> {
    pub file: &'a ScenarioFile,
    pub models: &'a [Option<Model>],
    pub shared: &'a Shared,
    /// Index of the pool.
    pub index: usize,
    /// What it says of its replicas.
    pub keys: FleetKeys<'a>,
}

pub(super) fn llm(
    name: &str,
    place: &Place,
    pool: &LlmPool,
    site: &Site<'_>,
    cx: &mut Context<'_>,
) -> Option<Pool> {
    let Site { file, models, keys, .. } = *site;
    let before = cx.errors.count();
    let waits = pool.outstanding.is_some() || provisions(name, file);
    let queue = queue(&pool.queue, waits, cx.errors);
    let tensor_parallel = pool.tensor_parallel.value.small();
    let model = model_of(&pool.model, &file.models, cx.errors);
    let route = route(pool.route.value);
    if route.follows_prefixes() && !pool.kv.value.prefix_cache.value {
        cx.errors.refuse_with(
            &pool.route.place,
            format!("`{}` has no prefixes to follow: the pool has no prefix cache", route.name()),
            "set `kv = { prefix_cache = true }`, or use `least-loaded`",
        );
    }
    let view_age = view_age(&pool.view_age, route, cx.errors);
    let gpu = gpu_of(pool.gpu.as_ref(), &keys, file);
    let placed = replicas::Site {
        file,
        shared: site.shared,
        pool: site.index,
        gpus: (tensor_parallel, &pool.tensor_parallel.place),
        gpu: pool.gpu.as_ref(),
        streams: true,
    };
    let fleet = replicas::resolve(&keys, &placed, cx.errors);
    let prefill = pool.prefill.as_ref().map(|at| prefill::resolve(name, at, pool, file, cx));
    let model = model?;
    let model_file = file.models.entries[model].2.as_ref()?;
    let context_tokens = models[model].as_ref()?.context_tokens;
    if model_file.context.is_none() && model_file.architecture.is_none() {
        let name = pool.model.value.as_str();
        cx.errors.refuse_with(
            &file.models.entries[model].1,
            format!("the longest context of `{name}` is unknown, and the pool `{}` must hold it", place.path),
            "give the model a `context`, such as `context = \"32k\"`, or an `architecture`",
        );
        return None;
    }
    let architecture = model_file.architecture.as_ref().map(|at| at.value.0.as_str());
    let placement = placement(pool, gpu, architecture, cx);
    let placement = placement?;
    let (batching, bounds) = batching(&pool.batching, context_tokens, cx.errors)?;
    let law = law(&pool.step_time, placement.as_ref(), &bounds, name, cx);
    let needs = Needs { placement, context_tokens, sequences: batching.sequences };
    let kv = kv::resolve(&pool.kv, &needs, cx.errors);
    (cx.errors.count() == before).then_some(())?;
    if let Some(note) = placement.and_then(|placement| placement.model().note.as_ref()) {
        cx.caveats.push(format!("pool `{name}`: {note}"));
    }
    Some(Pool {
        name: name.to_owned(),
        model,
        replicas: keys.replicas.value.most(),
        // A price is of a GPU: where one is given, a replica has at least one.
        gpus_per_replica: if gpu.is_some() || keys.price.is_some() { tensor_parallel } else { 0 },
        engine: Engine::Llm(LlmEngine {
            law: Arc::new(law?),
            batching,
            kv: kv?,
            context_tokens,
            below: None,
        }),
        route,
        outstanding: pool.outstanding.as_ref().map(|at| at.value.small()),
        queue: queue?,
        permits: None,
        fleet: PoolFleet { prefill: prefill.flatten(), ..fleet? },
        view_age: view_age?,
        batch: None,
    })
}

pub(super) fn slots(name: &str, pool: &SlotsPool, site: &Site<'_>, errors: &mut Errors) -> Option<Pool> {
    let Site { file, keys, .. } = *site;
    let waits = pool.outstanding.is_some() || provisions(name, file);
    let queue = queue(&pool.queue, waits, errors);
    let model = model_of(&pool.model, &file.models, errors);
    let placed = replicas::Site {
        file,
        shared: site.shared,
        pool: site.index,
        gpus: (1, &pool.servers.place),
        gpu: None,
        streams: false,
    };
    let fleet = replicas::resolve(&keys, &placed, errors);
    let route = route(pool.route.value);
    if route.follows_prefixes() {
        errors.refuse_with(
            &pool.route.place,
            format!("`{}` has no prefixes to follow on a `slots` pool", route.name()),
            "use `least-loaded`",
        );
        return None;
    }
    let view_age = view_age(&pool.view_age, route, errors)?;
    let service = dist::dist(&pool.service, errors)?;
    if service.mean() <= 0.0 {
        errors.refuse(&pool.service.place, "a service time of `0s` would answer before it was asked");
        return None;
    }
    Some(Pool {
        name: name.to_owned(),
        model: model?,
        replicas: keys.replicas.value.most(),
        gpus_per_replica: u32::from(keys.nodes.is_some() || keys.price.is_some()),
        engine: Engine::Slots(SlotsEngine { servers: pool.servers.value.small(), service }),
        route,
        outstanding: pool.outstanding.as_ref().map(|at| at.value.small()),
        queue: queue?,
        permits: None,
        fleet: fleet?,
        view_age,
        batch: None,
    })
}

/// The queue in front of a pool. It `waits` there when replicas hold no more than `outstanding`, or an endpoint
/// provisions their concurrency.
fn queue(file: &At<QueueFile>, waits: bool, errors: &mut Errors) -> Option<Queue> {
    let queue = &file.value;
    if !waits {
        let bounds = [
            ("most", queue.most.as_ref().map(|at| &at.place)),
            ("wait", queue.wait.as_ref().map(|at| &at.place)),
            ("order", (queue.order.value != OrderWord::Fifo).then_some(&queue.order.place)),
        ];
        let mut refused = false;
        for (key, place) in bounds {
            let Some(place) = place else { continue };
            errors.refuse_with(
                place,
                format!("`{key}` would never act: without `outstanding` replicas take every request at once"),
                "set `outstanding` to what a replica may hold, such as twice its batch",
            );
            refused = true;
        }
        if refused {
            return None;
        }
    }
    Some(Queue {
        most: queue.most.as_ref().map(|at| at.value.small()),
        wait: queue.wait.as_ref().map(|at| at.value.0),
        order: match queue.order.value {
            OrderWord::Fifo => QueueOrder::Fifo,
            OrderWord::Priority => QueueOrder::Priority,
            OrderWord::Fair => QueueOrder::Fair,
        },
    })
}

fn route(word: RouteWord) -> Route {
    match word {
        RouteWord::RoundRobin => Route::RoundRobin,
        RouteWord::Random => Route::Random,
        RouteWord::LeastLoaded => Route::LeastLoaded,
        RouteWord::LeastOutstanding => Route::LeastOutstanding,
        RouteWord::PowerOfTwo => Route::PowerOfTwo,
        RouteWord::ShortestTokens => Route::ShortestTokens,
        RouteWord::PrefixAffinity => Route::PrefixAffinity,
        RouteWord::SessionAffinity => Route::SessionAffinity,
        RouteWord::KvAware => Route::KvAware,
    }
}

/// How old loads may be, for a policy that reads them.
fn view_age(file: &At<Delay>, route: Route, errors: &mut Errors) -> Option<Span> {
    let least = Span::from_millis(1);
    if !file.value.0.is_zero() && file.value.0 < least {
        errors.refuse_with(
            &file.place,
            format!("`{}` is neither `0s` nor at least {least}", file.value.0),
            "a router that looks this often always knows: leave it out",
        );
        return None;
    }
    if !file.value.0.is_zero() && !route.reads_loads() {
        let readers = Route::ALL.iter().filter(|route| route.reads_loads());
        let readers: Vec<String> = readers.map(|route| format!("`{}`", route.name())).collect();
        errors.refuse_with(
            &file.place,
            format!("`view_age` would never act: `{}` reads no loads that replicas report", route.name()),
            format!("leave it out, or use {}", readers.join(" or ")),
        );
        return None;
    }
    Some(file.value.0)
}

/// The model on its GPUs: `Some(None)` when the file does not say enough to place it, `None` when it cannot be.
fn placement(
    pool: &LlmPool,
    gpu: Option<&str>,
    architecture: Option<&str>,
    cx: &mut Context<'_>,
) -> Option<Option<Placement<'static>>> {
    let gpu = gpu.and_then(hardware::gpu);
    let tensor_parallel = &pool.tensor_parallel;
    let (Some(gpu), Some(model)) = (gpu, architecture.and_then(hardware::architecture)) else {
        if gpu.is_none() && tensor_parallel.value.0 != 1 {
            cx.errors.refuse_with(
                &tensor_parallel.place,
                "`tensor_parallel` would change nothing: the pool names no GPU",
                "add `gpu`, or leave it out",
            );
        }
        if let Some(precision) = &pool.precision {
            unused(&precision.place, "precision", cx.errors);
        }
        return Some(None);
    };
    let precision = pool.precision.as_ref().map_or("bf16", |at| at.value.word());
    let kv_precision = pool.kv.value.precision.as_ref().map_or("bf16", |at| at.value.word());
    let precision = Precision::from_name(precision).expect("the words of the file are those of the hardware");
    let kv_precision =
        KvPrecision::from_name(kv_precision).expect("the words of the file are those of the hardware");
    match Placement::new(gpu, model, tensor_parallel.value.small(), precision, kv_precision) {
        Ok(placement) => Some(Some(placement)),
        Err(error) => {
            let place = match (&error, &pool.precision) {
                (HardwareError::Precision { .. } | HardwareError::NoExperts, Some(at)) => &at.place,
                (HardwareError::Precision { .. } | HardwareError::NoExperts, None) => &pool.model.place,
                _ => &tensor_parallel.place,
            };
            // The place names the key already.
            let message = error.to_string();
            let message = message.strip_prefix("tensor_parallel: ").unwrap_or(&message).to_owned();
            cx.errors.refuse_with(place, message, error.hint());
            None
        }
    }
}

fn batching(
    file: &At<BatchingFile>,
    context_tokens: u32,
    errors: &mut Errors,
) -> Option<(Batching, LawBounds)> {
    let (policy, tokens, sequences, step_tokens) = match &file.value {
        BatchingFile::Chunked(budget) => {
            let tokens = budget.tokens.value.0;
            (BatchPolicy::Chunked, tokens, budget.sequences.value.small(), Some(tokens))
        }
        BatchingFile::Whole(budget) => {
            // A prompt longer than the budget has a step to itself.
            let tokens = budget.tokens.value.0;
            (BatchPolicy::Whole, tokens, budget.sequences.value.small(), Some(tokens.max(context_tokens)))
        }
        BatchingFile::Static(batch) => {
            // All prompts of the batch are processed in its first step; later steps need a token a sequence.
            let sequences = batch.sequences.value.small();
            (BatchPolicy::Static, sequences, sequences, sequences.checked_mul(context_tokens))
        }
    };
    let Some(step_tokens) = step_tokens else {
        errors.refuse_with(
            &file.place,
            format!("`{sequences}` prompts of {context_tokens} tokens in one step are more than 2^32 tokens"),
            "lower `sequences` or the model's `context`",
        );
        return None;
    };
    let bounds = LawBounds { sequences, tokens: step_tokens, sequence_tokens: context_tokens };
    Some((Batching { policy, tokens, sequences }, bounds))
}

fn law(
    file: &At<StepTimeFile>,
    placement: Option<&Placement<'_>>,
    bounds: &LawBounds,
    name: &str,
    cx: &mut Context<'_>,
) -> Option<StepLaw> {
    let law = match &file.value {
        StepTimeFile::Linear(law) => StepLaw::linear(&coefficients(law), law.quantum.value.0, bounds),
        StepTimeFile::Roofline(law) => {
            let Some(placement) = placement else {
                cx.errors.refuse_with(
                    &file.place,
                    "a roofline needs `gpu` in the pool and `architecture` in its model",
                    "name both, or use `linear` or `table` step times",
                );
                return None;
            };
            let calibration = &law.calibration.value.0;
            let profile = hardware::calibration(calibration).expect("checked when it was read");
            if !profile.fitted {
                cx.caveats.push(format!(
                    "pool `{name}` uses the roofline profile `{calibration}`, which is not fitted to measurements"
                ));
            }
            StepLaw::roofline(placement, profile, law.quantum.value.0, bounds)
        }
        StepTimeFile::Table(law) => {
            let text = cx.traces.table(&law.path, cx.errors)?;
            let law = TableData::read(text.as_bytes())
                .and_then(|data| StepLaw::table(&data, law.quantum.value.0, bounds));
            return law.map_err(|error| refuse_table(&error, &file.value, cx.errors)).ok();
        }
        StepTimeFile::Calibrated(law) => {
            let fit = fitted(&law.file, cx)?;
            cx.caveats.push(format!(
                "step times of pool `{name}` are fitted to {} measured steps in {} points, log error {:.4}: {}",
                fit.steps, fit.points, fit.log_error, fit.source
            ));
            StepLaw::fitted(&fit.coefficients(), fit.fitted_range(), law.quantum.value.0, bounds)
        }
    };
    match law {
        Ok(law) => Some(law),
        Err(error) => {
            let place = match (&error, &file.value) {
                (LawError::TooShort { .. }, StepTimeFile::Linear(law)) => &law.base.place,
                (_, StepTimeFile::Calibrated(law)) => &law.file.place,
                _ => &file.place,
            };
            cx.errors.refuse_with(place, error.to_string(), error.hint());
            None
        }
    }
}

/// The fit in a file that `tidegate calibrate` wrote.
fn fitted(file: &At<Text>, cx: &mut Context<'_>) -> Option<LinearFit> {
    let text = cx.traces.table(file, cx.errors)?;
    let found = LinearFit::read(&text).map_err(|error| {
        let hint = "`tidegate calibrate POINTS --out FILE` writes such files";
        cx.errors.refuse_with(&file.place, format!("`{}`: {error}", file.value.0), hint);
    });
    found.ok()
}

/// An error in a table of measured steps, which names the file beside the line.
fn refuse_table(error: &LawError, file: &StepTimeFile, errors: &mut Errors) {
    if let StepTimeFile::Table(law) = file {
        errors.refuse_with(&law.path.place, format!("`{}`: {error}", law.path.value.0), error.hint());
    }
}

fn coefficients(law: &LinearFile) -> LinearCoefficients {
    LinearCoefficients {
        base_fs: law.base.value.0,
        per_sequence_fs: law.per_sequence.value.0,
        per_prefill_token_fs: law.per_prefill_token.value.0,
        per_decode_fs: law.per_decode.value.0,
        per_context_token_fs: law.per_context_token.value.0,
    }
}
