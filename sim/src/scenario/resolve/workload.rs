//! Workloads: who sends what, when, to which pool.

use super::account::Accounts;
use super::dist::{bounds, dist, weibull_cv};
use super::endpoint::alike;
use super::{Context, Entry, client, live, model_of, sender};
use crate::dist::Dist;
use crate::request::PoolId;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{
    ArrivalsFile, DiurnalFile, LengthsFile, MmppFile, ObjectivesFile, PiecewiseFile, ScenarioFile,
    SessionsFile, TraceFile, WorkloadFile,
};
use crate::scenario::leaf::{Name, Rate};
use crate::scenario::policy::{Endpoint, Sender};
use crate::scenario::{
    Arrivals, Engine, Lengths, MmppState, Model, Objectives, Pool, RateCurve, Sessions, Tier, Trace,
    TraceFormat, Workload,
};
use crate::time::Span;
use std::collections::BTreeSet;

/// Every workload of the file, in its order.
pub(super) fn all(
    file: &ScenarioFile,
    models: &[Option<Model>],
    pools: &[Option<Pool>],
    vendor: &Vendor<'_>,
    horizon: Option<Span>,
    cx: &mut Context<'_>,
) -> Vec<Entry> {
    let entries = file.workloads.entries.iter();
    entries
        .map(|(name, place, workload)| {
            let Some(workload) = workload else {
                // Not readable: treated as present, so that what refers to it is not reported on top.
                return Entry {
                    name: name.clone(),
                    enabled: true,
                    pool: None,
                    has_objectives: true,
                    batch: false,
                    elsewhere: false,
                    resolved: None,
                };
            };
            let enabled = workload.enabled.value;
            let has_objectives = workload.objectives.is_some();
            let target = if enabled { target(place, workload, file, vendor, cx.errors) } else { None };
            let candidates =
                target.as_ref().and_then(|target| served_by(workload, target, file, pools, cx.errors));
            let pool = candidates.as_ref().map(|candidates| candidates[0]);
            let resolved = enabled.then(|| {
                let site = Site {
                    pool: pool.and_then(|index| Some((index, pools[index].as_ref()?))),
                    models,
                    horizon,
                };
                let bought = one(name, workload, &site, cx);
                let endpoint = target.as_ref().and_then(|target| target.endpoint);
                // An endpoint that could not be read was reported: what its account is decides nothing here.
                let broken = workload.endpoint.is_some() && endpoint.is_none();
                let sender = (!broken)
                    .then(|| sender::sender(place, workload, endpoint, file, vendor.accounts, cx.errors));
                let candidates = candidates?.into_iter();
                let candidates =
                    candidates.map(|index| Some((pools[index].as_ref()?.model, index as PoolId)));
                let candidates = candidates.collect::<Option<Vec<_>>>()?;
                let sender = Sender { candidates, ..sender.flatten()? };
                Some(Workload { tier: target?.tier, sender, ..bought? })
            });
            Entry {
                name: name.clone(),
                enabled,
                pool,
                has_objectives,
                batch: false,
                elsewhere: false,
                resolved: resolved.flatten(),
            }
        })
        .collect()
}

/// What a workload is checked against.
pub(super) struct Site<'a> {
    /// Its pool, when it is known.
    pub pool: Option<(usize, &'a Pool)>,
    pub models: &'a [Option<Model>],
    pub horizon: Option<Span>,
}

impl Site<'_> {
    /// Longest prompt plus output, on an `llm` pool.
    fn context(&self) -> Option<u32> {
        match &self.pool?.1.engine {
            Engine::Llm(engine) => Some(engine.context_tokens),
            Engine::Slots(_) => None,
        }
    }

    fn is_slots(&self) -> bool {
        self.pool.is_some_and(|(_, pool)| matches!(pool.engine, Engine::Slots(_)))
    }
}

/// What workloads buy from.
pub(super) struct Vendor<'a> {
    /// Tiers of the file, then one for each endpoint.
    pub tiers: &'a [Option<Tier>],
    pub endpoints: &'a [Option<Endpoint>],
    pub accounts: &'a Accounts,
}

/// What a workload buys: a tier, or an endpoint, which is a tier of its own.
pub(super) struct Target<'a> {
    /// As it is called in the file.
    pub name: &'a At<Name>,
    /// `tier` or `endpoint`.
    what: &'static str,
    /// Index of the tier.
    pub tier: usize,
    pub endpoint: Option<(usize, &'a Endpoint)>,
    pub pools: Vec<usize>,
    /// Whether any of the pools may take a request, whatever its model.
    pub chooses: bool,
}

pub(super) fn target<'a>(
    place: &Place,
    workload: &'a WorkloadFile,
    file: &ScenarioFile,
    vendor: &Vendor<'a>,
    errors: &mut Errors,
) -> Option<Target<'a>> {
    let pools = |tier: &Tier| tier.pools.iter().map(|&pool| usize::from(pool)).collect();
    match (&workload.tier, &workload.endpoint) {
        (Some(name), None) => {
            let tier = file.tiers.find(name, "tier", errors)?;
            let bought = vendor.tiers[tier].as_ref()?;
            let chooses = bought.choice.is_some();
            Some(Target { name, what: "tier", tier, endpoint: None, pools: pools(bought), chooses })
        }
        (None, Some(name)) => {
            let index = file.endpoints.find(name, "endpoint", errors)?;
            let tier = file.tiers.entries.len() + index;
            let endpoint = vendor.endpoints[index].as_ref()?;
            let bought = vendor.tiers[tier].as_ref()?;
            let (pools, chooses): (Vec<usize>, bool) = (pools(bought), bought.choice.is_some());
            if pools.is_empty() {
                errors.refuse_with(
                    &name.place,
                    format!("no pool is behind the endpoint `{}`: nothing would answer", name.value.as_str()),
                    "give its `serves` a `pool`",
                );
                return None;
            }
            let endpoint = Some((index, endpoint));
            Some(Target { name, what: "endpoint", tier, endpoint, pools, chooses })
        }
        (Some(_), Some(endpoint)) => {
            let hint = "keep one of the two: an endpoint is a tier of its own";
            errors.refuse_with(&endpoint.place, "the workload has a `tier` already", hint);
            None
        }
        (None, None) => {
            let hint = "name what it buys: a `tier`, or an `endpoint`";
            errors.refuse_with(place, "the key `tier` is missing", hint);
            None
        }
    }
}

/// The pools that may serve the workload, best first.
fn served_by(
    workload: &WorkloadFile,
    target: &Target<'_>,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<Vec<usize>> {
    if target.chooses {
        return chosen_from(workload, target, file, pools, errors);
    }
    let Some(models) = &workload.models else {
        return pool_of(workload.model.as_ref(), target, file, pools, errors).map(|pool| vec![pool]);
    };
    one_of_two(workload, errors);
    let found: Vec<Option<usize>> =
        models.value.iter().map(|model| pool_of(Some(model), target, file, pools, errors)).collect();
    let mut served: Vec<usize> = Vec::new();
    for (index, at) in found.into_iter().zip(&models.value) {
        let index = index?;
        let name = at.value.as_str();
        if served.contains(&index) {
            errors.refuse(&at.place, format!("`{name}` is listed twice"));
        }
        if served.first().is_some_and(|first| !alike(*first, index, file)) {
            let first = models.value[0].value.as_str();
            errors.refuse_with(
                &at.place,
                format!("the pool of `{name}` works by another law than that of `{first}`"),
                "pools of candidates are all `llm`, or `slots` with the same `service`: a request is drawn once",
            );
        }
        served.push(index);
    }
    Some(served)
}

fn one_of_two(workload: &WorkloadFile, errors: &mut Errors) {
    if let (Some(model), Some(_)) = (&workload.model, &workload.models) {
        errors.refuse_with(&model.place, "`models` says what it may be given already", "keep one of the two");
    }
}

/// The pools that a tier or endpoint chooses from for the workload, in the order of the tier: those that serve a model
/// it names, or all when it names none.
fn chosen_from(
    workload: &WorkloadFile,
    target: &Target<'_>,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<Vec<usize>> {
    let before = errors.count();
    one_of_two(workload, errors);
    let named: Vec<&At<Name>> =
        workload.models.iter().flat_map(|at| &at.value).chain(&workload.model).collect();
    let mut wanted: Vec<usize> = Vec::new();
    for name in &named {
        let Some(model) = model_of(name, &file.models, errors) else { continue };
        if wanted.contains(&model) {
            errors.refuse(&name.place, format!("`{}` is listed twice", name.value.as_str()));
        } else {
            pool_of(Some(name), target, file, pools, errors);
        }
        wanted.push(model);
    }
    (errors.count() == before).then_some(())?;
    let known: Vec<(usize, usize)> = target
        .pools
        .iter()
        .map(|&index| Some((index, pools[index].as_ref()?.model)))
        .collect::<Option<_>>()?;
    let serving = known.into_iter().filter(|(_, model)| named.is_empty() || wanted.contains(model));
    let serving: Vec<usize> = serving.map(|(index, _)| index).collect();
    let (&first, others) = serving.split_first()?;
    if let Some(&other) = others.iter().find(|&&other| !alike(first, other, file)) {
        let (first, other) = (&file.pools.entries[first].0, &file.pools.entries[other].0);
        errors.refuse_with(
            &target.name.place,
            format!("the pool `{other}` works by another law than `{first}`"),
            "pools of candidates are all `llm`, or `slots` with the same `service`: a request is drawn once",
        );
        return None;
    }
    Some(serving)
}

/// The pool of the tier or endpoint that serves the model.
pub(super) fn pool_of(
    model: Option<&At<Name>>,
    target: &Target<'_>,
    file: &ScenarioFile,
    pools: &[Option<Pool>],
    errors: &mut Errors,
) -> Option<usize> {
    let wanted = model.map(|name| model_of(name, &file.models, errors));
    let (what, tier, candidates) = (target.what, target.name.value.as_str(), &target.pools);
    let Some(wanted) = wanted else {
        if candidates.len() == 1 {
            return Some(candidates[0]);
        }
        let served = candidates.iter().map(|&pool| pools[pool].as_ref().map(|pool| pool.model));
        let served: Option<BTreeSet<usize>> = served.collect();
        // Several pools of one model were reported with the tier.
        if let Some(count) = served.map(|models| models.len()).filter(|&count| count > 1) {
            let message = format!("`{tier}` serves {count} models, and the workload names none");
            errors.refuse_with(&target.name.place, message, "add `model` to the workload");
        }
        return None;
    };
    let wanted = wanted?;
    let known: Vec<(usize, usize)> =
        candidates.iter().filter_map(|&index| Some((index, pools[index].as_ref()?.model))).collect();
    if let Some((index, _)) = known.iter().find(|(_, model)| *model == wanted) {
        return Some(*index);
    }
    if known.len() == candidates.len() {
        let model = model?;
        let served: BTreeSet<usize> = known.iter().map(|(_, model)| *model).collect();
        let served = served.iter().map(|model| file.models.entries[*model].0.as_str());
        errors.refuse_with(
            &model.place,
            format!("no pool of the {what} `{tier}` serves `{}`", model.value.as_str()),
            format!("it serves {}", crate::scenario::overrides::listed(served)),
        );
    }
    None
}

/// A workload without what it buys: its tier and sender are filled in by the caller.
fn one(name: &str, workload: &WorkloadFile, site: &Site<'_>, cx: &mut Context<'_>) -> Option<Workload> {
    let (arrivals, trace_prompts) = arrivals(name, workload, site, cx).unzip();
    let lengths = lengths(workload, site, cx);
    bought(name, workload, site, arrivals, lengths, trace_prompts.flatten(), cx)
}

/// All of it but what arrives, and how long that is.
pub(super) fn bought(
    name: &str,
    workload: &WorkloadFile,
    site: &Site<'_>,
    arrivals: Option<Arrivals>,
    lengths: Option<Lengths>,
    trace: Option<TraceFormat>,
    cx: &mut Context<'_>,
) -> Option<Workload> {
    let before = cx.errors.count();
    let sessions = workload.sessions.as_ref().map(|sessions| self::sessions(sessions, site, cx.errors));
    let patience = workload.patience.as_ref().map(|at| {
        let dist = dist(at, cx.errors)?;
        if dist.mean() <= 0.0 {
            cx.errors.refuse(&at.place, "a patience of `0s` gives up before anything can happen");
            return None;
        }
        Some(dist)
    });
    let objectives = workload.objectives.as_ref().map(|at| objectives(at, site, cx.errors));
    let client = client::resolve(workload, patience.as_ref().and_then(Option::as_ref), cx.errors);
    let wire = live::wire(workload.live.as_ref(), cx.errors);
    agreement(workload, site, trace, cx.errors);
    (cx.errors.count() == before).then_some(())?;
    let (pool, _) = site.pool?;
    Some(Workload {
        name: name.to_owned(),
        tier: 0,
        pool: pool as u16,
        tenants: workload.tenants.value.small(),
        weight: (1_000.0 * workload.weight.value.0).round() as u32,
        arrivals: arrivals?,
        lengths: lengths?,
        max_tokens: workload.max_tokens.as_ref().map(|at| at.value.0),
        sessions: sessions.flatten(),
        shared_prefix_tokens: workload.shared_prefix.value.0,
        patience: patience.flatten(),
        network: workload.network.value.0,
        objectives: objectives.unwrap_or_default(),
        sender: Default::default(),
        client: client?,
        wire,
    })
}

/// Arrivals, and the format of their trace.
fn arrivals(
    name: &str,
    workload: &WorkloadFile,
    site: &Site<'_>,
    cx: &mut Context<'_>,
) -> Option<(Arrivals, Option<TraceFormat>)> {
    let errors = &mut *cx.errors;
    let plain = |arrivals| Some((arrivals, None));
    match &workload.arrivals.value {
        ArrivalsFile::Constant(file) => {
            plain(Arrivals::Renewal(renewal(&file.rate, Dist::constant, errors)?))
        }
        ArrivalsFile::Poisson(file) => {
            plain(Arrivals::Renewal(renewal(&file.rate, Dist::exponential, errors)?))
        }
        ArrivalsFile::Gamma(file) => {
            let law = |mean| Dist::gamma(mean, file.cv.value.0);
            plain(Arrivals::Renewal(renewal(&file.rate, law, errors)?))
        }
        ArrivalsFile::Weibull(file) => {
            weibull_cv(file.cv.value.0, &file.cv.place, errors)?;
            let law = |mean| Dist::weibull(mean, file.cv.value.0);
            plain(Arrivals::Renewal(renewal(&file.rate, law, errors)?))
        }
        ArrivalsFile::Mmpp(file) => plain(Arrivals::Mmpp(mmpp(file, errors)?)),
        ArrivalsFile::Piecewise(file) => plain(Arrivals::Varying(pieces(file, site.horizon, errors)?)),
        ArrivalsFile::Diurnal(file) => plain(Arrivals::Varying(diurnal(file, errors)?)),
        ArrivalsFile::Trace(file) => {
            let trace = recorded(name, file, workload, site.horizon, cx)?;
            let format = trace.format;
            Some((Arrivals::Trace(trace), Some(format)))
        }
        ArrivalsFile::Population(file) => {
            // Without any think time is fine: whoever gets nothing pauses for a second.
            if workload.sessions.is_none() {
                errors.refuse_with(
                    &workload.arrivals.place,
                    "a population needs to know how long its clients think",
                    "add `sessions = { think = \"10s\" }`; `0s` sends again at once",
                );
                return None;
            }
            plain(Arrivals::Population { users: file.users.value.small() })
        }
    }
}

fn renewal(
    rate: &At<Rate>,
    law: impl Fn(f64) -> Result<Dist, crate::dist::DistError>,
    errors: &mut Errors,
) -> Option<Dist> {
    if rate.value.0 <= 0.0 {
        no_arrivals(&rate.place, errors);
        return None;
    }
    match law(1.0 / rate.value.0) {
        Ok(dist) => Some(dist),
        Err(error) => {
            errors.refuse(&rate.place, error.to_string());
            None
        }
    }
}

fn no_arrivals(place: &Place, errors: &mut Errors) {
    errors.refuse_with(
        place,
        "the rate is 0 throughout: nothing would arrive",
        "set `enabled = false` to leave the workload out",
    );
}

fn mmpp(file: &MmppFile, errors: &mut Errors) -> Option<Vec<MmppState>> {
    let states = &file.states.value;
    if states.len() < 2 {
        errors.refuse_with(
            &file.states.place,
            "`1` state is not at least 2",
            "one state is `kind = \"poisson\"`",
        );
        return None;
    }
    if states.iter().all(|state| state.value.rate.value.0 <= 0.0) {
        no_arrivals(&file.states.place, errors);
        return None;
    }
    let state = |at: &At<crate::scenario::file::MmppStateFile>| MmppState {
        rate_per_s: at.value.rate.value.0,
        stay: at.value.stay.value.0,
    };
    Some(states.iter().map(state).collect())
}

fn pieces(file: &PiecewiseFile, horizon: Option<Span>, errors: &mut Errors) -> Option<RateCurve> {
    let before = errors.count();
    let pieces = &file.pieces.value;
    let mut last = None;
    for piece in pieces {
        let from = piece.value.from.value.0;
        let place = &piece.value.from.place;
        match last {
            None if !from.is_zero() => {
                errors.refuse_with(
                    place,
                    format!("the first piece begins at `{from}`, not at `0s`"),
                    "add a piece from `0s`; its rate may be `\"0/s\"`",
                );
            }
            Some(last) if from <= last => {
                errors
                    .refuse(place, format!("`{from}` is not after {last}, where the piece before it begins"));
            }
            _ => {}
        }
        if horizon.is_some_and(|horizon| from >= horizon) {
            errors.refuse(place, format!("`{from}` is at or after the horizon: the piece never begins"));
        }
        last = Some(from);
    }
    if pieces.iter().all(|piece| piece.value.rate.value.0 <= 0.0) {
        no_arrivals(&file.pieces.place, errors);
    }
    (errors.count() == before).then(|| {
        RateCurve::Pieces(pieces.iter().map(|at| (at.value.from.value.0, at.value.rate.value.0)).collect())
    })
}

fn diurnal(file: &DiurnalFile, errors: &mut Errors) -> Option<RateCurve> {
    let before = errors.count();
    let (peak, trough) = (file.peak.value.0, file.trough.value.0);
    let (peak_at, period) = (file.peak_at.value.0, file.period.value.0);
    if peak <= 0.0 {
        no_arrivals(&file.peak.place, errors);
    } else if trough > peak {
        errors.refuse(&file.trough.place, format!("`{trough}/s` is above the peak of {peak}/s"));
    }
    if peak_at >= period {
        errors.refuse(&file.peak_at.place, format!("`{peak_at}` is not inside a period of {period}"));
    }
    (errors.count() == before).then_some(RateCurve::Diurnal { peak, trough, peak_at, period })
}

fn recorded(
    name: &str,
    file: &TraceFile,
    workload: &WorkloadFile,
    horizon: Option<Span>,
    cx: &mut Context<'_>,
) -> Option<Trace> {
    if let Some(sessions) = &workload.sessions {
        cx.errors.refuse_with(
            &sessions.place,
            "a trace has the times of all its requests: sessions would add more",
            "leave `sessions` out, or use another kind of arrivals",
        );
    }
    let (path, stats) = cx.traces.scan(&file.path, file.format.as_ref(), cx.errors)?;
    let own_lengths = match &workload.lengths {
        None => workload.prompt.is_none() && workload.output.is_none(),
        Some(lengths) => matches!(lengths.value, LengthsFile::FromTrace),
    };
    if own_lengths && stats.prompt_most == 0 {
        cx.errors.refuse_with(
            &file.path.place,
            "the trace has no prompt and output lengths",
            "give the workload `prompt` and `output` distributions",
        );
        return None;
    }
    let ends = Span::from_secs_f64(stats.last.as_secs_f64() / file.speed.value.0);
    if let Some(horizon) = horizon.filter(|horizon| ends.as_secs_f64() < 0.95 * horizon.as_secs_f64()) {
        cx.caveats.push(format!(
            "workload `{name}`: its trace ends {ends} into a horizon of {horizon}; rates, utilization and occupancy are \
             over the whole horizon, idle time included"
        ));
    }
    if own_lengths && stats.borrowed_share > 0.0 {
        cx.caveats.push(format!(
            "workload `{name}`: {:.0} % of the trace's requests come from clients without token lengths and borrow those \
             of the others",
            stats.borrowed_share * 100.0
        ));
    }
    Some(Trace { path, format: stats.format, speed: file.speed.value.0, rows: stats.rows })
}

pub(super) fn lengths(workload: &WorkloadFile, site: &Site<'_>, cx: &mut Context<'_>) -> Option<Lengths> {
    let is_trace = matches!(workload.arrivals.value, ArrivalsFile::Trace(_));
    if let Some(lengths) = &workload.lengths {
        for at in [&workload.prompt, &workload.output].into_iter().flatten() {
            cx.errors.refuse_with(
                &at.place,
                "`lengths` gives prompt and output already",
                "keep one of the two",
            );
        }
        return match &lengths.value {
            LengthsFile::FromTrace if !is_trace => {
                cx.errors.refuse_with(
                    &lengths.place,
                    "`trace` needs arrivals of the kind `trace`",
                    "draw pairs from a file with `lengths = { path = \"..\" }`",
                );
                None
            }
            LengthsFile::FromTrace => Some(Lengths::FromTrace),
            LengthsFile::Pairs(pairs) => {
                cx.traces.pairs(&pairs.path, pairs.format.as_ref(), cx.errors).map(Lengths::Joint)
            }
        };
    }
    match (&workload.prompt, &workload.output) {
        (Some(prompt), Some(output)) => {
            let (prompt, output) = (dist(prompt, cx.errors), dist(output, cx.errors));
            Some(Lengths::Independent { prompt: prompt?, output: output? })
        }
        (None, None) if is_trace => Some(Lengths::FromTrace),
        // Tokens mean nothing to a server that is busy for a drawn time.
        (None, None) if site.is_slots() => {
            let one = Dist::constant(1.0).expect("one token is a valid length");
            Some(Lengths::Independent { prompt: one.clone(), output: one })
        }
        (prompt, output) => {
            // Without a pool it is not known whether lengths are needed at all.
            site.pool?;
            for (key, missing) in [("prompt", prompt.is_none()), ("output", output.is_none())] {
                if missing {
                    cx.errors.refuse_with(
                        &workload.arrivals.place.sibling(key),
                        format!("the key `{key}` is missing"),
                        format!("for example `{key} = {{ kind = \"lognormal\", mean = 500, cv = 1.0, most = 4096 }}`"),
                    );
                }
            }
            None
        }
    }
}

fn sessions(at: &At<SessionsFile>, site: &Site<'_>, errors: &mut Errors) -> Option<Sessions> {
    let file = &at.value;
    let turns = dist(&file.turns, errors);
    let think = dist(&file.think, errors);
    let context = site.context();
    if let (Some(most), Some(context)) = (&file.context_most, context)
        && most.value.0 >= context
    {
        errors.refuse_with(
            &most.place,
            format!("`{}` leaves no room for a new turn in a context of {context}", most.value.0),
            "leave it out to carry over as much as fits",
        );
        return None;
    }
    let model = site.pool.and_then(|(_, pool)| site.models[pool.model].as_ref());
    let most = file.context_most.as_ref().map(|at| at.value.0).or(model.map(|model| model.context_tokens));
    Some(Sessions { turns: turns?, think: think?, context_most: most? })
}

fn objectives(at: &At<ObjectivesFile>, site: &Site<'_>, errors: &mut Errors) -> Objectives {
    let file = &at.value;
    let of = |objective: &Option<At<crate::scenario::leaf::Lasting>>| objective.as_ref().map(|at| at.value.0);
    let (ttft, tpot, e2e) = (of(&file.ttft), of(&file.tpot), of(&file.e2e));
    if ttft.is_none() && tpot.is_none() && e2e.is_none() {
        errors.refuse(&at.place, "no objective is given: every answer would be good");
    }
    if let (true, Some(tpot)) = (site.is_slots(), &file.tpot) {
        errors.refuse(&tpot.place, "a `slots` pool gives the whole answer at once: it has no time per token");
    }
    if let (Some(first), Some(end), Some(place)) = (ttft, e2e, &file.e2e)
        && end < first
    {
        errors
            .refuse(&place.place, format!("`{end}` to the end is less than the {first} to the first token"));
    }
    Objectives { ttft, tpot, e2e }
}

/// Parts of a workload that must agree with its model.
fn agreement(workload: &WorkloadFile, site: &Site<'_>, trace: Option<TraceFormat>, errors: &mut Errors) {
    let own_prompts = workload.prompt.is_none()
        && !matches!(&workload.lengths, Some(At { value: LengthsFile::Pairs(_), .. }));
    if trace == Some(TraceFormat::Mooncake) && own_prompts && workload.shared_prefix.value.0 > 0 {
        errors.refuse(
            &workload.shared_prefix.place,
            "the prompts of a `mooncake` trace have prefixes of their own",
        );
    }
    let Some(context) = site.context() else { return };
    let limit = f64::from(context);
    if let Some(max_tokens) = &workload.max_tokens
        && max_tokens.value.0 >= context
    {
        beyond(&max_tokens.place, max_tokens.value.0.into(), context, errors);
    }
    if workload.shared_prefix.value.0 >= context {
        beyond(&workload.shared_prefix.place, workload.shared_prefix.value.0.into(), context, errors);
    }
    if let Some(output) = &workload.output
        && let Some(most) = bounds(&output.value).1.filter(|most| *most >= limit)
    {
        beyond(&output.place, most, context, errors);
    }
    if let Some(prompt) = &workload.prompt
        && let Some(least) = bounds(&prompt.value).0.filter(|least| *least >= limit)
    {
        beyond(&prompt.place, least, context, errors);
    }
}

fn beyond(place: &Place, tokens: f64, context: u32, errors: &mut Errors) {
    errors.refuse_with(
        place,
        format!("`{tokens}` tokens do not fit beside the rest of a request in a context of {context}"),
        format!("keep it below {context}, or raise the model's `context`"),
    );
}
