//! The vendor's side of a scenario, put together: limits in force, operations and expectations, and what they do to
//! pools and workloads.

use super::batch::Draft;
use super::known::Known;
use super::limits::{self, InForce, Sizes};
use super::sender::Callers;
use super::workload::Vendor;
use super::{Context, Entry, batch_judged, endpoint, expect, judged, operation, setting, words};
use crate::profile::{InUse, Limit, Subject};
use crate::scenario::catalog::Catalog;
use crate::scenario::diagnostic::Place;
use crate::scenario::file::ScenarioFile;
use crate::scenario::policy::{Account, Claim, Endpoint, Expectation, Operation, Policy, reason_of};
use crate::scenario::profile::Loaded;
use crate::scenario::{Model, Pool, Workload};
use crate::time::Span;

/// What can be said while other parts of the file may still be wrong.
pub(super) struct Drafted {
    limits: Vec<InForce>,
    operations: Vec<operation::Entry>,
    expectations: Vec<Expectation>,
    callers: Callers,
}

pub(super) fn draft(
    file: &ScenarioFile,
    loaded: Option<&Loaded>,
    vendor: &Vendor<'_>,
    workloads: &[Entry],
    horizon: Option<Span>,
    cx: &mut Context<'_>,
) -> Drafted {
    if let Some(loaded) = loaded {
        words::check(file, loaded, cx);
    }
    let mut limits = limits::all(file, loaded, cx);
    let mut callers = Callers::named(file);
    let (endpoints, accounts) = (vendor.endpoints, vendor.accounts);
    let known = Known::new(file, loaded, &limits);
    let site = operation::Site { file, endpoints, accounts, known: &known, horizon };
    let operations = operation::all(&site, &mut callers, cx.errors);
    let site = expect::Site { file, workloads, operations: &operations, known: &known, horizon };
    let expectations = expect::all(&site, cx.errors);
    setting::raise(operations.iter().filter_map(|entry| entry.resolved.as_ref()), &mut limits);
    Drafted { limits, operations, expectations, callers }
}

/// The parts of a scenario that limits reach into.
pub(super) struct Parts<'a> {
    pub models: &'a [Model],
    pub pools: &'a mut [Pool],
    pub workloads: &'a mut [Workload],
    pub batches: &'a mut [Draft],
}

/// All of it, when nothing is wrong so far.
pub(super) fn finish(
    file: &ScenarioFile,
    loaded: Option<&Loaded>,
    draft: Drafted,
    accounts: Vec<Account>,
    endpoints: Vec<Endpoint>,
    parts: Parts<'_>,
    cx: &mut Context<'_>,
) -> Option<Policy> {
    let nothing = loaded.is_none()
        && endpoints.is_empty()
        && draft.operations.is_empty()
        && draft.expectations.is_empty()
        && file.accounts.entries.is_empty();
    let Parts { models, pools, workloads, batches } = parts;
    if nothing {
        let jobs = batch_judged::Judge { file, limits: &[], world: None, models, workloads };
        jobs.all(batches, cx);
        return (cx.errors.count() == 0).then(Policy::default);
    }
    let Drafted { limits, operations, expectations, mut callers } = draft;
    let enabled = operations.into_iter().filter_map(|entry| Some((entry.resolved?, entry.place)));
    let (mut operations, places): (Vec<Operation>, Vec<Place>) = enabled.unzip();
    let mut expectations = expectations;
    callers.assign(file, workloads);
    let place = file
        .scenario
        .0
        .as_ref()
        .map(|run| run.value.profile.as_ref().map_or_else(|| run.place.clone(), |at| at.place.clone()))?;
    let world = judged::World { accounts: &accounts, endpoints: &endpoints, catalog: Catalog::new(models) };
    let names: Vec<String> = limits.iter().map(|entry| entry.limit().name.clone()).collect();
    let mut limits = judged::without_missing(limits, &world, workloads, &operations, &place, cx);
    renumber(&names, &limits, &mut operations, &mut expectations, &place, cx);
    let sizes = Sizes {
        accounts: accounts.len(),
        endpoints: endpoints.len(),
        models: models.len(),
        tokens: callers.tokens.0.len(),
        users: callers.users.0.len(),
        paired: paired(workloads, &operations),
    };
    limits::number(&mut limits, sizes, &place, cx);
    setting::changes(&operations, &places, &limits, &endpoints, cx);
    let limits: Vec<Limit> = limits.into_iter().map(|entry| entry.loaded.limit).collect();
    let mut profile = loaded.map(|loaded| in_use(file, loaded));
    judged::endpoints_could_be_created(file, &world, &limits, profile.as_ref(), cx);
    endpoint::permits(
        file,
        &limits,
        |endpoint, model| {
            world.subject(endpoints[endpoint].account, Some(endpoint), &[model], &Subject::default())
        },
        pools,
        cx,
    );
    let jobs = batch_judged::Judge { file, limits: &limits, world: Some(&world), models, workloads };
    jobs.all(batches, cx);
    if profile.is_some() {
        judged::notes(&world, &limits, workloads, &operations, batches, cx);
    }
    if let Some(profile) = &mut profile {
        profile.notes = std::mem::take(&mut cx.notes);
    }
    (cx.errors.count() == 0).then_some(Policy {
        profile,
        limits,
        accounts,
        endpoints,
        operations,
        expectations,
        tokens: callers.tokens.0,
        users: callers.users.0,
    })
}

/// Whether every caller's user has the number of its token: tenants have one of each.
fn paired(workloads: &[Workload], operations: &[Operation]) -> bool {
    workloads
        .iter()
        .map(|workload| &workload.sender)
        .all(|sender| !sender.one_token && !sender.one_user && sender.first_token == sender.first_user)
        && operations.iter().all(|operation| operation.token == operation.user)
}

/// Positions of limits move when some that concern nobody are taken out: what refers to them follows.
fn renumber(
    names: &[String],
    limits: &[InForce],
    operations: &mut [Operation],
    expectations: &mut [Expectation],
    place: &Place,
    cx: &mut Context<'_>,
) {
    let mut now = |index: usize| {
        let found = limits.iter().position(|entry| entry.limit().name == names[index]);
        if found.is_none() {
            cx.errors.refuse_with(
                place,
                format!("the limit `{}` is used, and its value is not published", names[index]),
                format!("give it in `[limits.{}]` with `source = \"account\"`", names[index]),
            );
        }
        found.unwrap_or(index)
    };
    for operation in operations {
        operation.limit = operation.limit.map(&mut now);
    }
    for claim in expectations.iter_mut().flat_map(|expectation| &mut expectation.claims) {
        match claim {
            Claim::For(reason, _) | Claim::JobsFor(reason, _) => {
                if let Some(index) = usize::from(*reason).checked_sub(crate::request::BUILT_IN.len()) {
                    *reason = reason_of(now(index));
                }
            }
            Claim::Violations(limit, _) | Claim::Peak(limit, _) => *limit = now(*limit),
            _ => {}
        }
    }
}

/// What a scenario keeps of its profile; the notes come last.
fn in_use(file: &ScenarioFile, loaded: &Loaded) -> InUse {
    let profile = &loaded.profile;
    let overlays = file.scenario.0.iter().flat_map(|run| &run.value.overlays.value.0);
    InUse {
        id: profile.id.clone(),
        title: profile.title.clone(),
        as_of: profile.as_of.clone(),
        preview: profile.preview,
        account_word: profile.account_word.clone(),
        contact: profile.contact.clone(),
        envelope: profile.envelope.clone(),
        overlays: overlays.map(|overlay| overlay.value.as_str().to_owned()).collect(),
        notes: Vec::new(),
    }
}
