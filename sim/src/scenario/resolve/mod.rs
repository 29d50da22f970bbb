//! From the shape of a file to a scenario: units are gone already, here names become indices and parts must agree.
//!
//! Every check runs, whatever failed before it, as long as the values it needs could be read.

mod account;
mod batch;
mod batch_jobs;
mod batch_judged;
mod batch_rules;
mod choice;
mod client;
mod dist;
mod endpoint;
mod engine_rules;
mod expect;
mod expect_jobs;
mod fault;
mod fleet;
mod judged;
mod known;
mod kv;
mod limits;
mod listing;
mod live;
mod operation;
mod placing;
mod plan;
mod policy;
mod pool;
mod prefill;
pub(super) mod profile;
mod property;
mod ratio;
mod replicas;
mod run;
mod sender;
mod setting;
mod tier;
mod trace;
mod words;
mod workload;

pub(super) use trace::Traces;

use self::account::Accounts;
use self::fleet::Shared;
use self::property::workload_of;
use self::workload::Vendor;
use super::batch_file::BatchFile;
use super::decode::{At, Named};
use super::diagnostic::{Errors, Place, SourceText};
use super::document::{Node, Value};
use super::file::{ModelFile, PoolFile, ScenarioFile};
use super::leaf::{Name, Text};
use super::profile::Loaded;
use super::{Engine, Model, Pool, QueueOrder, Scenario, Tier, Workload};
use crate::hardware;

/// What resolving needs beside the file.
pub(super) struct Context<'a> {
    /// What was wrong so far.
    pub errors: &'a mut Errors,
    /// Traces that were read before (variants share them).
    pub traces: &'a mut Traces,
    /// Notes every report must carry.
    pub caveats: Vec<String>,
    /// Notes on the limits of the profile.
    pub notes: Vec<String>,
    /// Names of the variants of the file.
    pub variants: Vec<String>,
    /// The texts that errors point into; that of the profile joins them.
    pub sources: &'a mut Vec<SourceText>,
}

impl Context<'_> {
    /// The profile of that name, or at that path.
    fn profile(&mut self, name: &At<Text>) -> Option<Loaded> {
        crate::scenario::profile::load_named(name, self.traces.folder(), self.sources, self.errors)
    }
}

/// The scenario, when nothing at all is wrong with it.
pub(super) fn resolve(
    file: &ScenarioFile,
    name: &str,
    variant: Option<&str>,
    cx: &mut Context<'_>,
) -> Option<Scenario> {
    let run = file.scenario.0.as_ref().and_then(|at| run::resolve(&at.value, cx.errors));
    let run_file = file.scenario.0.as_ref();
    let horizon = run_file.map(|at| at.value.horizon.value.0);
    let models = models(file, cx);
    let shared = fleet::shared(file, horizon, cx.errors);
    let pools = pools(file, &models, &shared, cx);
    let accounts = Accounts::of(file);
    let (endpoints, choices) = endpoint::all(file, &pools, &accounts, cx.errors);
    let mut tiers = tier::all(file, &pools, cx.errors);
    let declared = file.endpoints.entries.iter().zip(&endpoints).zip(&choices);
    tiers.extend(declared.map(|(((name, _, file), endpoint), choice)| {
        endpoint::tier(name, endpoint.as_ref(), choice.as_ref(), file.as_ref()?)
    }));
    let vendor = Vendor { tiers: &tiers, endpoints: &endpoints, accounts: &accounts };
    let mut workloads = workload::all(file, &models, &pools, &vendor, horizon, cx);
    let (batches, mut drafts) = batch::all(file, &models, &pools, &vendor, horizon, cx);
    let rules = batch_rules::all(file, &pools, &batch::used(&batches, pools.len()), cx);
    workloads.extend(batches);
    let others = property::Others { variants: &cx.variants, horizon };
    let properties = property::all(file, &workloads, &pools, &others, cx.errors);
    let loaded = run_file.and_then(|at| at.value.profile.as_ref()).and_then(|name| cx.profile(name));
    let drafted = policy::draft(file, loaded.as_ref(), &vendor, &workloads, horizon, cx);
    let live = file.live.as_ref().map(|at| live::resolve(&at.value, cx.errors)).unwrap_or_default();
    let searches = plan::all(file, &cx.variants, cx.errors);
    whole_file(file, cx.errors);
    names_in_broken_entries(file, cx.errors);
    if cx.errors.count() > 0 {
        return None;
    }
    let run = run?;
    let models: Vec<Model> = models.into_iter().collect::<Option<_>>()?;
    let mut pools: Vec<Pool> = pools.into_iter().collect::<Option<_>>()?;
    let fleet = shared.finish()?;
    placing::check(file, &fleet.nodes, &pools, cx.errors);
    fault::steps_fit(file, &fleet, &pools, cx.errors);
    let endpoints = endpoints.into_iter().collect::<Option<_>>()?;
    let mut workloads: Vec<Workload> = workloads.into_iter().filter_map(|entry| entry.resolved).collect();
    let mut tiers: Vec<Tier> = tiers.into_iter().collect::<Option<_>>()?;
    let mut accounts = accounts.all;
    weights_that_never_act(&pools, &workloads, cx);
    follow_rules(&mut pools, rules);
    let joined = batch::Joined {
        models: &models,
        pools: &mut pools,
        tiers: &mut tiers,
        accounts: &mut accounts,
        workloads: &mut workloads,
    };
    batch::join(&mut drafts, joined, cx);
    let parts =
        policy::Parts { models: &models, pools: &mut pools, workloads: &mut workloads, batches: &mut drafts };
    let policy = policy::finish(file, loaded.as_ref(), drafted, accounts, endpoints, parts, cx)?;
    let scenario = Scenario {
        name: name.to_owned(),
        question: run.question,
        variant: variant.map(str::to_owned),
        horizon: run.horizon,
        warmup: run.warmup,
        end: run.end,
        seed: run.seed,
        replications: run.replications,
        bin: run.bin,
        models,
        pools,
        tiers,
        workloads,
        properties,
        policy,
        fleet,
        batches: drafts.into_iter().map(|draft| draft.batch).collect(),
        live,
        searches,
        caveats: std::mem::take(&mut cx.caveats),
        hash: hash(file, loaded.as_ref(), cx.traces),
    };
    repetitions_differ(file, &scenario, cx.errors);
    property::vary(file, &scenario, cx.errors);
    (cx.errors.count() == 0).then_some(scenario)
}

/// Sections without which nothing can happen.
///
/// Operations alone are something: what a control plane lets happen needs no request. Endpoints are tiers.
fn whole_file(file: &ScenarioFile, errors: &mut Errors) {
    let Some(run) = &file.scenario.0 else { return };
    let at = Place { path: "".into(), ..run.place.clone() };
    let operations = file.operations.0.len() + file.operations.1.len();
    let (workloads, batches) = (file.workloads.entries.len(), file.batch.entries.len());
    let control = workloads + batches == 0 && operations > 0;
    let elsewhere = |entry: &(String, Place, Option<BatchFile>)| {
        entry.2.as_ref().is_some_and(|batch| batch.upstream.is_some())
    };
    // What is worked on elsewhere needs a model, and nothing that serves it.
    let nothing_here = workloads == 0 && batches > 0 && file.batch.entries.iter().all(elsewhere);
    let served = !control && !nothing_here;
    let endpoints = file.endpoints.entries.len();
    for (section, count, needed) in [
        ("models", file.models.entries.len(), !control),
        ("pools", file.pools.entries.len(), served),
        ("tiers", file.tiers.entries.len(), served && endpoints == 0),
        ("workloads", workloads, !control && batches == 0),
        ("batches", batches, false),
        ("endpoints", endpoints, false),
        ("nodes", file.nodes.entries.len(), false),
        ("links", file.links.entries.len(), false),
        ("faults", file.faults.0.len(), false),
        ("accounts", file.accounts.entries.len(), false),
        ("operations", operations, false),
        ("expectations", file.expect.0.len(), false),
    ] {
        if count == 0 && needed {
            let hint = format!("add `[{section}.NAME]`; scenarios/mmc.toml is a small complete example");
            errors.refuse_with(&at, format!("no {section} are declared"), hint);
        }
        // Quotas of a thousand endpoints are tested one beyond.
        let most = if section == "endpoints" { 10_000 } else { 1_000 };
        if count > most {
            errors.refuse(&at, format!("`{count}` {section} are declared, at most {most} are"));
        }
    }
    let enabled = |entry: &(String, Place, Option<super::file::WorkloadFile>)| {
        entry.2.as_ref().is_none_or(|workload| workload.enabled.value)
    };
    let batch =
        |entry: &(String, Place, Option<BatchFile>)| entry.2.as_ref().is_none_or(|batch| batch.enabled.value);
    let any = file.workloads.entries.iter().any(enabled) || file.batch.entries.iter().any(batch);
    if workloads + batches > 0 && !any {
        let what = if workloads > 0 { "workload" } else { "batch" };
        errors.refuse_with(&at, format!("every {what} has `enabled = false`"), "enable at least one");
    }
}

/// An entry with an error of its own may dangle, too: the names in it are looked up as far as they can be read.
fn names_in_broken_entries(file: &ScenarioFile, errors: &mut Errors) {
    let model = |name: &At<Name>, errors: &mut Errors| file.models.find(name, "model", errors);
    let pool = |name: &At<Name>, errors: &mut Errors| file.pools.find(name, "pool", errors);
    let node = |name: &At<Name>, errors: &mut Errors| file.nodes.find(name, "node", errors);
    let link = |name: &At<Name>, errors: &mut Errors| file.links.find(name, "link", errors);
    let tier = |name: &At<Name>, errors: &mut Errors| file.tiers.find(name, "tier", errors);
    let endpoint = |name: &At<Name>, errors: &mut Errors| file.endpoints.find(name, "endpoint", errors);
    for entry in &file.pools.broken {
        look_up(entry, &["model"], model, errors);
        look_up(entry, &["nodes"], node, errors);
        look_up(entry, &["prefill", "pool"], pool, errors);
        look_up(entry, &["prefill", "link"], link, errors);
    }
    for entry in &file.tiers.broken {
        look_up(entry, &["pools"], pool, errors);
        look_up(entry, &["fallback"], pool, errors);
    }
    for entry in &file.endpoints.broken {
        look_up(entry, &["serves", "pool"], pool, errors);
        look_up(entry, &["serves", "model"], model, errors);
        look_up(entry, &["fallback"], pool, errors);
    }
    for entry in &file.workloads.broken {
        look_up(entry, &["model"], model, errors);
        look_up(entry, &["tier"], tier, errors);
        look_up(entry, &["endpoint"], endpoint, errors);
    }
    for entry in &file.batch.broken {
        look_up(entry, &["model"], model, errors);
        look_up(entry, &["tier"], tier, errors);
        look_up(entry, &["endpoint"], endpoint, errors);
    }
    for entry in &file.operations.1 {
        look_up(entry, &["model"], model, errors);
        look_up(entry, &["endpoint"], endpoint, errors);
        look_up(entry, &["to"], endpoint, errors);
    }
    for entry in &file.faults.1 {
        look_up(entry, &["pool"], pool, errors);
        look_up(entry, &["replica", "pool"], pool, errors);
        look_up(entry, &["gpu", "nodes"], node, errors);
        look_up(entry, &["node", "nodes"], node, errors);
    }
}

/// Looks up the name, or each of the names, at a path; lists on the way are followed into every entry.
fn look_up(
    entry: &Node,
    path: &[&str],
    find: impl Fn(&At<Name>, &mut Errors) -> Option<usize> + Copy,
    errors: &mut Errors,
) {
    match (&entry.value, path) {
        (Value::List(nodes), _) => nodes.iter().for_each(|node| look_up(node, path, find, errors)),
        (Value::Table(table), [key, rest @ ..]) => {
            if let Some(node) = table.get(key) {
                look_up(node, rest, find, errors);
            }
        }
        (_, []) => {
            // What is wrong with the name itself was reported when the entry was read.
            if let Some(name) = At::read(entry, &mut Errors::default()) {
                find(&name, errors);
            }
        }
        _ => {}
    }
}

/// Weights may stand in a file whose variants alone have fair queues; where they change nothing a note says so.
fn weights_that_never_act(pools: &[Pool], workloads: &[Workload], cx: &mut Context<'_>) {
    if pools.iter().any(|pool| pool.queue.order == QueueOrder::Fair) {
        return;
    }
    for workload in workloads.iter().filter(|workload| workload.weight != 1_000) {
        cx.caveats.push(format!(
            "workload `{}` has a `weight`, and no queue is fair: it changes nothing",
            workload.name
        ));
    }
}

/// Tells pools and their engines what they do with batch.
fn follow_rules(pools: &mut [Pool], rules: Vec<Option<batch_rules::Resolved>>) {
    for (pool, rules) in pools.iter_mut().zip(rules) {
        let Some(rules) = rules else { continue };
        pool.batch = Some(rules.rules);
        if let Engine::Llm(engine) = &mut pool.engine {
            engine.below = rules.below;
        }
    }
}

/// Repetitions of something that draws nothing at random would be one run, written many times: an interval of width
/// zero that says nothing.
fn repetitions_differ(file: &ScenarioFile, scenario: &Scenario, errors: &mut Errors) {
    let Some(run) = &file.scenario.0 else { return };
    if scenario.is_deterministic() && scenario.replications.looks != [1] {
        errors.refuse_with(
            &run.value.replications.place,
            "nothing in this scenario is random: every replication would be the same run",
            "write `replications = 1`",
        );
    }
}

fn models(file: &ScenarioFile, cx: &mut Context<'_>) -> Vec<Option<Model>> {
    let errors = &mut *cx.errors;
    let mut resolve = |name: &str, model: &ModelFile| {
        let known = model.architecture.as_ref().and_then(|at| hardware::architecture(&at.value.0));
        let published = known.map(|architecture| architecture.context_tokens);
        if let (Some(context), Some(published)) = (&model.context, published)
            && context.value.0 > published
        {
            errors.refuse_with(
                &context.place,
                format!(
                    "`{}` is more than the {published} tokens the model was published for",
                    context.value.0
                ),
                format!("lower it to `{published}`; stretched contexts are not modelled"),
            );
            return None;
        }
        // A model without any length is fit for `slots` pools, to which tokens mean nothing.
        let context = model.context.as_ref().map(|at| at.value.0).or(published);
        Some(Model {
            name: name.to_owned(),
            context_tokens: context.unwrap_or(super::leaf::TOKENS_MOST),
            listing: listing::listing(model, errors)?,
        })
    };
    let entries = file.models.entries.iter();
    entries.map(|(name, _, model)| model.as_ref().and_then(|model| resolve(name, model))).collect()
}

fn pools(
    file: &ScenarioFile,
    models: &[Option<Model>],
    shared: &Shared,
    cx: &mut Context<'_>,
) -> Vec<Option<Pool>> {
    let entries = file.pools.entries.iter().enumerate();
    entries
        .map(|(index, (name, place, pool))| {
            let pool = pool.as_ref()?;
            let site = pool::Site { file, models, shared, index, keys: pool.fleet() };
            match pool {
                PoolFile::Llm(pool) => pool::llm(name, place, pool, &site, cx),
                PoolFile::Slots(pool) => pool::slots(name, pool, &site, cx.errors),
            }
        })
        .collect()
}

/// The model a pool or workload names.
fn model_of(name: &At<Name>, models: &Named<ModelFile>, errors: &mut Errors) -> Option<usize> {
    models.find(name, "model", errors)
}

/// BLAKE3 over the effective values: equal for files that differ only in units, order of keys, comments, the
/// question, or parts that are switched off. Traces, tables and the profile enter with the digest of their contents,
/// not with their path.
fn hash(file: &ScenarioFile, profile: Option<&Loaded>, traces: &Traces) -> String {
    use super::decode::Section as _;
    let mut effective = file.clone();
    if let Some(run) = &mut effective.scenario.0 {
        run.value.question.value.0.clear();
        if let (Some(at), Some(profile)) = (&mut run.value.profile, profile) {
            at.value.0 = format!("blake3:{}", blake3::hash(profile.canonical.as_bytes()).to_hex());
        }
    }
    effective.workloads.entries.retain(|(_, _, entry)| entry.as_ref().is_some_and(|w| w.enabled.value));
    effective.batch.entries.retain(|(_, _, entry)| entry.as_ref().is_some_and(|batch| batch.enabled.value));
    // A search says nothing about the scenario itself.
    effective.plan.0.clear();
    effective.properties.0.retain(|property| property.value.enabled.value);
    effective.operations.0.retain(|operation| operation.value.enabled.value);
    effective.faults.0.retain(|fault| fault.value.enabled.value);
    effective.expect.0.retain(|expectation| expectation.value.enabled.value);
    trace::digest_paths(&mut effective, traces);
    let mut text = String::from("tidegate scenario 1\n");
    effective.write_keys(&mut text);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A workload (or batch) of the file: resolved, switched off, or not readable.
pub(super) struct Entry {
    pub name: String,
    pub enabled: bool,
    /// Index of its pool, as far as known.
    pub pool: Option<usize>,
    pub has_objectives: bool,
    /// Whether it is a batch.
    pub batch: bool,
    /// Whether it is a batch that is worked on elsewhere.
    pub elsewhere: bool,
    pub resolved: Option<Workload>,
}
