//! Endpoints: what stands behind a name, what is known of it, and the provisioned concurrency of its pools.

use super::account::{Accounts, say};
use super::choice::{self, Wish};
use super::{Context, dist, model_of};
use crate::profile::{Attr, Limit, Mechanism, Subject, Verb, concerns};
use crate::request::{PoolId, QUEUE_FULL};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{PoolFile, ScenarioFile};
use crate::scenario::leaf::Name;
use crate::scenario::policy::{Endpoint, reason_of};
use crate::scenario::policy_file::{EndpointFile, ServedFile};
use crate::scenario::{Choice, Permits, Pool, Tier};
use std::collections::BTreeMap;

/// Every endpoint of the file, in its order.
pub(super) fn all(
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    accounts: &Accounts,
    errors: &mut Errors,
) -> (Vec<Option<Endpoint>>, Vec<Option<Choice>>) {
    // Which endpoint provisions a pool's concurrency.
    let mut provisioned: BTreeMap<String, String> = BTreeMap::new();
    let entries = file.endpoints.entries.iter();
    let all: Vec<Option<(Endpoint, Option<Choice>)>> = entries
        .map(|(name, place, endpoint)| {
            let endpoint = endpoint.as_ref()?;
            if file.tiers.names().any(|tier| tier == name) {
                errors.refuse_with(
                    place,
                    format!("a tier and an endpoint are both named `{name}`"),
                    "rename one: an endpoint is the tier of the workloads that call it",
                );
            }
            for served in &endpoint.serves.value.0 {
                one_owner(name, &served.value, &mut provisioned, errors);
            }
            one(name, place, endpoint, file, pools, accounts, errors)
        })
        .collect();
    for (name, _, endpoint) in &file.endpoints.entries {
        for served in endpoint.iter().flat_map(|endpoint| &endpoint.serves.value.0) {
            if let (Some(pool), None) = (&served.value.pool, &served.value.concurrency) {
                not_throttled(name, pool, &provisioned, errors);
            }
        }
        let fallbacks = endpoint.iter().flat_map(|endpoint| &endpoint.fallback);
        for pool in fallbacks.flat_map(|at| &at.value) {
            not_throttled(name, pool, &provisioned, errors);
        }
    }
    all.into_iter().map(|one| one.map_or((None, None), |(endpoint, choice)| (Some(endpoint), choice))).unzip()
}

/// Permits are of a pool: an endpoint without any of its own would wait for those of another.
fn not_throttled(endpoint: &str, pool: &At<Name>, owners: &BTreeMap<String, String>, errors: &mut Errors) {
    if let Some(owner) = owners.get(pool.value.as_str()).filter(|owner| *owner != endpoint) {
        errors.refuse_with(
            &pool.place,
            format!("the permits of `{owner}` would throttle `{endpoint}`: both serve this pool"),
            "give each endpoint with `concurrency` pools of its own",
        );
    }
}

/// Concurrency is provisioned for a pool once.
fn one_owner(
    endpoint: &str,
    served: &ServedFile,
    owners: &mut BTreeMap<String, String>,
    errors: &mut Errors,
) {
    let (Some(pool), Some(_)) = (&served.pool, &served.concurrency) else { return };
    let name = pool.value.as_str();
    match owners.get(name) {
        Some(owner) => errors.refuse_with(
            &pool.place,
            format!("the pool `{name}` has its concurrency from the endpoint `{owner}` already"),
            "give each endpoint with `concurrency` pools of its own",
        ),
        None => {
            owners.insert(name.to_owned(), endpoint.to_owned());
        }
    }
}

fn one(
    name: &str,
    place: &Place,
    endpoint: &EndpointFile,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    accounts: &Accounts,
    errors: &mut Errors,
) -> Option<(Endpoint, Option<Choice>)> {
    let before = errors.count();
    let account = accounts.find(endpoint.account.as_ref(), place, file, errors);
    let overhead = endpoint.overhead.as_ref().map(|at| dist::dist(at, errors));
    let mut served = Vec::new();
    for at in &endpoint.serves.value.0 {
        let Some((pool, model)) = one_served(at, file, pools, errors) else { continue };
        if chooses(endpoint) {
            chosen_once(at, pool, &served, errors);
        } else if let Some(model) =
            model.filter(|model| served.iter().any(|(_, other)| *other == Some(*model)))
        {
            let model = &file.models.entries[model].0;
            errors.refuse_with(
                &at.place,
                format!("the endpoint serves `{model}` twice"),
                "an endpoint has one pool for each model, unless it says which to `prefer`; use one pool with more \
                 replicas",
            );
        }
        served.push((pool, model));
    }
    router(endpoint, place, errors);
    let fallbacks = fallbacks(endpoint, &served, file, errors);
    // What was reported may be a pool less.
    let choice = if errors.count() == before {
        let serving: Vec<usize> = served.iter().filter_map(|(pool, _)| *pool).collect();
        let traffic = endpoint.serves.value.0.iter().filter_map(|served| served.value.traffic.as_ref());
        let traffic: Vec<(f64, &Place)> = traffic.map(|at| (at.value.0, &at.place)).collect();
        each_has_traffic(endpoint, traffic.len(), errors);
        let wish = Wish {
            prefer: endpoint.prefer.as_ref(),
            next: endpoint.next.as_ref(),
            weights: ("traffic", traffic),
            pools: &serving,
            fallbacks: fallbacks.len(),
            place,
        };
        choice::resolve(&wish, file, errors)
    } else {
        None
    };
    served.extend(fallbacks.iter().map(|&pool| (Some(pool), pools[pool].as_ref().map(|pool| pool.model))));
    (errors.count() == before).then_some(())?;
    let mut models: Vec<usize> = Vec::new();
    for model in served.iter().filter_map(|(_, model)| *model) {
        if !models.contains(&model) {
            models.push(model);
        }
    }
    let endpoint = Endpoint {
        name: name.to_owned(),
        account: account?,
        exists: endpoint.exists.value,
        pools: served.iter().filter_map(|(pool, _)| pool.map(|index| index as PoolId)).collect(),
        concurrency: concurrencies(endpoint).sum(),
        overhead: overhead.flatten(),
        traits: traits(endpoint),
        models,
    };
    Some((endpoint, choice?))
}

/// Whether several pools of an endpoint may take the same request.
pub(super) fn chooses(endpoint: &EndpointFile) -> bool {
    endpoint.prefer.is_some() || endpoint.fallback.is_some()
}

/// Where pools are chosen from, each entry is one.
fn chosen_once(
    at: &At<ServedFile>,
    pool: Option<usize>,
    before: &[(Option<usize>, Option<usize>)],
    errors: &mut Errors,
) {
    match &at.value.pool {
        None => errors.refuse_with(
            &at.place,
            "the key `pool` is missing: this entry could never be chosen",
            "name a pool: the endpoint chooses between pools",
        ),
        Some(name) if before.iter().any(|(other, _)| *other == pool) => {
            errors.refuse(&name.place, format!("`{}` is listed twice", name.value.as_str()));
        }
        Some(_) => {}
    }
}

/// What holds of endpoints of the kind `router`, and of no others: something to fall back to, and modes.
fn router(endpoint: &EndpointFile, place: &Place, errors: &mut Errors) {
    let is_router = endpoint.kind.as_ref().is_some_and(|kind| kind.value.0 == "router");
    if is_router && endpoint.fallback.is_none() {
        errors.refuse_with(
            place,
            "the key `fallback` is missing: a router needs at least one",
            "name the pools that take over, such as `fallback = [\"backup\"]`",
        );
    }
    for mode in endpoint.serves.value.0.iter().filter_map(|served| served.value.mode.as_ref()) {
        if !is_router {
            errors.refuse_with(
                &mode.place,
                "`mode` would never act: only entries of a router have one",
                "leave it out, or set `kind = \"router\"`",
            );
        }
    }
}

/// The pools of `fallback`.
fn fallbacks(
    endpoint: &EndpointFile,
    served: &[(Option<usize>, Option<usize>)],
    file: &ScenarioFile,
    errors: &mut Errors,
) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for name in endpoint.fallback.iter().flat_map(|at| &at.value) {
        let Some(pool) = file.pools.find(name, "pool", errors) else { continue };
        if found.contains(&pool) || served.iter().any(|(other, _)| *other == Some(pool)) {
            errors.refuse(&name.place, format!("`{}` is listed twice", name.value.as_str()));
        }
        found.push(pool);
    }
    found
}

/// `traffic` is given by every entry or by none.
fn each_has_traffic(endpoint: &EndpointFile, given: usize, errors: &mut Errors) {
    let entries = &endpoint.serves.value.0;
    let without = entries.iter().find(|served| served.value.traffic.is_none());
    if let Some(without) = without.filter(|_| given > 0) {
        errors.refuse_with(
            &without.place,
            "the key `traffic` is missing",
            format!("`{given}` of {} entries have one: give each its weight", entries.len()),
        );
    }
}

/// The pool and the model of an entry of `serves`, as far as they are known.
fn one_served(
    at: &At<ServedFile>,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<(Option<usize>, Option<usize>)> {
    let pool = at.value.pool.as_ref().map(|name| file.pools.find(name, "pool", errors));
    let model = at.value.model.as_ref().map(|name| model_of(name, &file.models, errors));
    match (pool, model) {
        (None, None) => {
            errors.refuse_with(
                &at.place,
                "neither `pool` nor `model` is given: nothing would be served",
                "name a pool, or, when no workload calls the endpoint, a model",
            );
            None
        }
        (Some(pool), model) => {
            let pool = pool?;
            let served = pools[pool].as_ref().map(|pool| pool.model);
            if let (Some(Some(wanted)), Some(served), Some(name)) = (model, served, &at.value.model)
                && wanted != served
            {
                let (pool, model) = (&file.pools.entries[pool].0, &file.models.entries[served].0);
                errors.refuse_with(
                    &name.place,
                    format!("the pool `{pool}` serves `{model}`, not `{}`", name.value.as_str()),
                    "leave `model` out: it is that of the pool",
                );
            }
            Some((Some(pool), served))
        }
        (None, Some(model)) => Some((None, Some(model?))),
    }
}

fn concurrencies(endpoint: &EndpointFile) -> impl Iterator<Item = u64> {
    let served = endpoint.serves.value.0.iter();
    served.filter_map(|served| served.value.concurrency.as_ref().map(|at| at.value.0))
}

fn traits(endpoint: &EndpointFile) -> Subject {
    let mut traits = Subject::default();
    say(&mut traits, Attr::EndpointKind, &endpoint.kind);
    if let Some(optimized) = &endpoint.route_optimized {
        traits.flag(Attr::RouteOptimized, optimized.value);
    }
    if let Some(size) = &endpoint.size {
        traits.say(Attr::Size, [size.value.word()]);
    }
    if let Some(compute) = &endpoint.compute {
        traits.say(Attr::Compute, [compute.value.word()]);
    }
    if let Some(scripts) = &endpoint.init_scripts {
        traits.flag(Attr::InitScripts, !scripts.value.0.is_empty());
    }
    let concurrencies: Vec<u64> = concurrencies(endpoint).collect();
    if !concurrencies.is_empty() {
        traits.count(Attr::Concurrency, concurrencies);
    }
    let served = || endpoint.serves.value.0.iter().map(|served| &served.value);
    let env_vars: Vec<u64> =
        served().filter_map(|served| served.env_vars.as_ref().map(|at| at.value.0)).collect();
    if !env_vars.is_empty() {
        traits.count(Attr::EnvVars, env_vars);
    }
    let memory: Vec<u64> =
        served().filter_map(|served| served.memory.as_ref().map(|at| at.value.0)).collect();
    if !memory.is_empty() {
        traits.count(Attr::Memory, [memory.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes))]);
    }
    traits
}

/// What the workloads that call the endpoint buy.
pub(super) fn tier(
    name: &str,
    endpoint: Option<&Endpoint>,
    choice: Option<&Choice>,
    file: &EndpointFile,
) -> Option<Tier> {
    endpoint.map(|endpoint| Tier {
        name: name.to_owned(),
        priority: file.priority.value.small() as u8,
        pools: endpoint.pools.clone(),
        choice: choice.cloned(),
    })
}

/// Whether an endpoint provisions the concurrency of the pool, so that a queue forms in front of it.
pub(super) fn provisions(pool: &str, file: &ScenarioFile) -> bool {
    let endpoints = file.endpoints.entries.iter().filter_map(|(_, _, endpoint)| endpoint.as_ref());
    endpoints.flat_map(|endpoint| &endpoint.serves.value.0).any(|served| {
        let named = served.value.pool.as_ref().is_some_and(|at| at.value.as_str() == pool);
        named && served.value.concurrency.is_some()
    })
}

/// Gives the pools that are served with `concurrency` their permits, and the queue that the limit on them allows.
///
/// `subject` is what is known of a request to an endpoint for a model. Where no limit says how long the queue may
/// be, it is as long as the pool says: without a bound when it says nothing.
pub(super) fn permits(
    file: &ScenarioFile,
    limits: &[Limit],
    subject: impl Fn(usize, usize) -> Subject,
    pools: &mut [Pool],
    cx: &mut Context<'_>,
) {
    for (index, (endpoint, _, served)) in file.endpoints.entries.iter().enumerate() {
        let served = served.iter().flat_map(|endpoint| &endpoint.serves.value.0);
        for (at, most) in served.map(|served| (served, &served.value.concurrency)) {
            let Some(name) = &at.value.pool else { continue };
            let Some(found) = file.pools.names().position(|pool| pool == name.value.as_str()) else {
                continue;
            };
            let pool = &mut pools[found];
            let subject = subject(index, pool.model);
            let mut bounds = limits.iter().enumerate().filter_map(|(index, limit)| match limit.mechanism {
                Mechanism::Permits { queue_permille } if concerns(limit, Verb::Inference, &subject) => {
                    Some((index, &limit.name, queue_permille))
                }
                _ => None,
            });
            let limit = bounds.next();
            if let (Some((_, first, _)), Some((_, second, _))) = (limit, bounds.next()) {
                cx.errors.refuse_with(
                    &at.place,
                    format!("`{first}` and `{second}` both bound what `{endpoint}` provisions"),
                    "a pool has one queue: let `when` leave one of the two limits",
                );
            }
            let Some(most) = most else {
                if let Some((_, limit, _)) = limit {
                    let note = format!(
                        "limit `{limit}` is not evaluated for endpoint `{endpoint}`: no `concurrency` is stated"
                    );
                    if !cx.notes.contains(&note) {
                        cx.notes.push(note);
                    }
                }
                continue;
            };
            let most = most.value.small();
            let reason = limit.map_or(QUEUE_FULL, |(index, ..)| reason_of(index));
            pool.permits = Some(Permits { most, reason });
            match (limit, pool.queue.most) {
                (Some((_, limit, _)), Some(queue)) => cx.notes.push(format!(
                    "pool `{}`: its `queue.most = {queue}` replaces the queue of limit `{limit}`",
                    name.value.as_str()
                )),
                (Some((.., permille)), None) => {
                    let places = u128::from(permille) * u128::from(most) / 1_000;
                    pool.queue.most = Some(u32::try_from(places).unwrap_or(u32::MAX));
                }
                (None, _) => {}
            }
        }
    }
}

/// Whether two pools can take the same request: it is drawn once, for whichever serves it.
pub(super) fn alike(a: usize, b: usize, file: &ScenarioFile) -> bool {
    use crate::scenario::decode::Field as _;
    match (&file.pools.entries[a].2, &file.pools.entries[b].2) {
        (Some(PoolFile::Llm(_)), Some(PoolFile::Llm(_))) | (None, _) | (_, None) => true,
        (Some(PoolFile::Slots(a)), Some(PoolFile::Slots(b))) => {
            let (mut one, mut other) = (String::new(), String::new());
            a.service.canonical(&mut one);
            b.service.canonical(&mut other);
            one == other
        }
        _ => false,
    }
}
