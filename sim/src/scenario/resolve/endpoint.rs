//! Endpoints: what stands behind a name, what is known of it, and the provisioned concurrency of its pools.

use super::account::{Accounts, say};
use super::{Context, dist, model_of};
use crate::profile::{Attr, Limit, Mechanism, Subject, Verb, concerns};
use crate::request::{PoolId, QUEUE_FULL};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{PoolFile, ScenarioFile};
use crate::scenario::policy::{Endpoint, reason_of};
use crate::scenario::policy_file::{EndpointFile, ServedFile};
use crate::scenario::{Permits, Pool, Tier};
use std::collections::BTreeMap;

/// Every endpoint of the file, in its order.
pub(super) fn all(
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    accounts: &Accounts,
    errors: &mut Errors,
) -> Vec<Option<Endpoint>> {
    // Which endpoint provisions a pool's concurrency.
    let mut provisioned: BTreeMap<String, String> = BTreeMap::new();
    let entries = file.endpoints.entries.iter();
    let all: Vec<Option<Endpoint>> = entries
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
            not_throttled(name, &served.value, &provisioned, errors);
        }
    }
    all
}

/// Permits are of a pool: an endpoint without any of its own would wait for those of another.
fn not_throttled(
    endpoint: &str,
    served: &ServedFile,
    owners: &BTreeMap<String, String>,
    errors: &mut Errors,
) {
    let (Some(pool), None) = (&served.pool, &served.concurrency) else { return };
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
) -> Option<Endpoint> {
    let before = errors.count();
    let account = accounts.find(endpoint.account.as_ref(), place, file, errors);
    let overhead = endpoint.overhead.as_ref().map(|at| dist::dist(at, errors));
    let mut served = Vec::new();
    for at in &endpoint.serves.value.0 {
        let Some((pool, model)) = one_served(at, file, pools, errors) else { continue };
        if let Some(model) = model.filter(|model| served.iter().any(|(_, other)| *other == Some(*model))) {
            let model = &file.models.entries[model].0;
            errors.refuse_with(
                &at.place,
                format!("the endpoint serves `{model}` twice"),
                "an endpoint has one pool for each model; use one pool with more replicas",
            );
        }
        served.push((pool, model));
    }
    (errors.count() == before).then_some(())?;
    Some(Endpoint {
        name: name.to_owned(),
        account: account?,
        exists: endpoint.exists.value,
        pools: served.iter().filter_map(|(pool, _)| pool.map(|index| index as PoolId)).collect(),
        concurrency: concurrencies(endpoint).sum(),
        overhead: overhead.flatten(),
        traits: traits(endpoint),
        models: served.iter().filter_map(|(_, model)| *model).collect(),
    })
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
pub(super) fn tier(name: &str, endpoint: Option<&Endpoint>, file: &EndpointFile) -> Option<Tier> {
    endpoint.map(|endpoint| Tier {
        name: name.to_owned(),
        priority: file.priority.value.small() as u8,
        pools: endpoint.pools.clone(),
        choice: None,
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
