//! `[batch.NAME]`: jobs, the workload that their requests are, and whose they are.

use super::account::say;
use super::workload::{self, Site, Vendor};
use super::{Context, Entry, batch_jobs, dist, model_of};
use crate::dist::Dist;
use crate::profile::{Attr, Subject};
use crate::request::{PoolId, WorkloadId};
use crate::scenario::batch::{Backend, Batch, Excess, JobRules, Jobs, Release};
use crate::scenario::batch_file::{BatchFile, CountWord, ExcessWord, ReleaseWord, SubmissionFile};
use crate::scenario::client_file::{HedgeFile, RetryFile};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{ArrivalsFile, LengthsFile, PopulationFile, ScenarioFile, WorkloadFile};
use crate::scenario::leaf::{Count, Number};
use crate::scenario::policy::{Account, Sender};
use crate::scenario::policy_file::RequestFile;
use crate::scenario::{
    Arrivals, Client, Engine, Lengths, Model, Objectives, Pool, PoolFleet, Queue, QueueOrder, Route,
    SlotsEngine, Tier, Wire, Workload,
};
use crate::time::Span;
use std::path::PathBuf;

/// An enabled batch of the file, as far as it is known before limits are.
pub(super) struct Draft {
    /// Its place in the file.
    pub place: Place,
    pub batch: Batch,
    /// The file of each job that has one.
    pub files: Vec<Option<PathBuf>>,
    /// The account that it names, or the only one there is; `None` for accounts of its own.
    account: Option<usize>,
    /// The model that works on it elsewhere; `None` when a pool does.
    upstream: Option<usize>,
}

impl Draft {
    /// Whether every job of it says this of itself, though the batch does not.
    pub(super) fn says(&self, attr: Attr) -> bool {
        let Jobs::Listed(jobs) = &self.batch.jobs else { return attr == Attr::BatchRequests };
        let files = !self.files.is_empty() && self.files.iter().all(Option::is_some);
        match attr {
            Attr::BatchRequests => true,
            Attr::BatchBytes => jobs.iter().all(|job| job.bytes.is_some()),
            Attr::BatchProvider | Attr::BatchEndpoint | Attr::BatchContent => files,
            _ => false,
        }
    }
}

/// Every batch of the file, in its order: as a workload beside the others, and what else there is to it.
pub(super) fn all(
    file: &ScenarioFile,
    models: &[Option<Model>],
    pools: &[Option<Pool>],
    vendor: &Vendor<'_>,
    horizon: Option<Span>,
    cx: &mut Context<'_>,
) -> (Vec<Entry>, Vec<Draft>) {
    let mut drafts = Vec::new();
    let entries = file.batch.entries.iter();
    let entries = entries.map(|(name, place, batch)| {
        if file.workloads.names().any(|workload| workload == name) {
            cx.errors.refuse_with(
                place,
                format!("a workload is named `{name}`, too"),
                "rename one: properties and expectations refer to both by name",
            );
        }
        let enabled = batch.as_ref().is_none_or(|batch| batch.enabled.value);
        let elsewhere = batch.as_ref().is_some_and(|batch| batch.upstream.is_some());
        let mut entry = Entry {
            name: name.clone(),
            enabled,
            pool: None,
            has_objectives: false,
            batch: true,
            elsewhere,
            resolved: None,
        };
        let Some(batch) = batch.as_ref().filter(|_| enabled) else { return entry };
        let reader = Reader { name, place, batch, file, models, pools, vendor, horizon };
        if let Some((workload, draft)) = reader.read(&mut entry.pool, cx) {
            entry.resolved = Some(workload);
            drafts.push(draft);
        }
        entry
    });
    (entries.collect(), drafts)
}

/// What a batch is read with.
struct Reader<'a> {
    name: &'a str,
    place: &'a Place,
    batch: &'a BatchFile,
    file: &'a ScenarioFile,
    models: &'a [Option<Model>],
    pools: &'a [Option<Pool>],
    vendor: &'a Vendor<'a>,
    horizon: Option<Span>,
}

impl Reader<'_> {
    fn read(&self, pool: &mut Option<usize>, cx: &mut Context<'_>) -> Option<(Workload, Draft)> {
        let before = cx.errors.count();
        let batch = self.batch;
        let jobs = batch_jobs::resolve(batch, self.horizon, cx);
        let cancels = batch_jobs::cancels(batch, cx.errors);
        let bought = match &batch.upstream {
            None => self.on_a_pool(pool, cx),
            Some(time) => {
                let time = dist::dist(time, cx.errors);
                self.upstream(cx).map(|(workload, model)| (workload, Some(model), time))
            }
        };
        let account = self.account(bought.as_ref().and_then(|(workload, ..)| workload.sender.endpoint), cx);
        (cx.errors.count() == before).then_some(())?;
        let (mut workload, upstream, time) = bought?;
        let own = account?;
        workload.sender.account = own.unwrap_or(0) as u32;
        if batch.jobs.value.listed().iter().any(|job| job.value.file.is_some()) {
            cx.caveats.push(format!(
                "batch `{}`: prompts in files are counted as a token for each 4 bytes of text and 4 for each message, \
                 an estimate",
                self.name
            ));
        }
        let resolved = jobs?;
        let batch = Batch {
            name: self.name.to_owned(),
            workload: 0,
            jobs: resolved.jobs,
            owner: own.unwrap_or(0) as u32,
            owners: batch.accounts.value.small(),
            window: batch.window.value.0,
            validation: batch.validation.value.0,
            finalizing: batch.finalizing.value.0,
            rules: self.rules(),
            backend: time.map_or(Backend::Pool, Backend::Upstream),
            cancels: cancels?,
        };
        let draft = Draft { place: self.place.clone(), batch, files: resolved.files, account: own, upstream };
        Some((workload, draft))
    }

    /// What the file says of quotas; what they are is the profile's.
    fn rules(&self) -> JobRules {
        let batch = self.batch;
        JobRules {
            count_output: batch.count.value == CountWord::Both,
            release: match batch.release.value {
                ReleaseWord::Request => Release::Request,
                ReleaseWord::Job => Release::Job,
            },
            excess: match batch.excess.value {
                ExcessWord::Fail => Excess::Fail,
                ExcessWord::Refuse => Excess::Refuse,
                ExcessWord::Hold => Excess::Hold,
            },
            ..JobRules::default()
        }
    }

    /// The workload of requests that a pool works on; `pool` as soon as that is known.
    fn on_a_pool(
        &self,
        pool: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Option<(Workload, Option<usize>, Option<Dist>)> {
        let Reader { name, file, models, pools, .. } = *self;
        let as_workload = as_workload(self.batch);
        let target = workload::target(self.place, &as_workload, file, self.vendor, cx.errors);
        if let Some(target) = &target {
            *pool = self.pool(target, cx.errors);
        }
        let site = Site {
            pool: pool.and_then(|index| Some((index, pools[index].as_ref()?))),
            models,
            horizon: self.horizon,
        };
        let before = cx.errors.count();
        let lengths = self.lengths(&as_workload, &site, cx);
        let bought = workload::bought(name, &as_workload, &site, Some(Arrivals::Jobs), lengths, None, cx);
        (cx.errors.count() == before).then_some(())?;
        let (index, own) = site.pool?;
        let sender = Sender {
            endpoint: target.as_ref()?.endpoint.map(|(index, _)| index),
            candidates: vec![(own.model, index as PoolId)],
            traits: self.traits(models[own.model].as_ref()),
            ..Sender::default()
        };
        Some((Workload { tier: target?.tier, sender, ..bought? }, None, None))
    }

    /// The one pool that works on it.
    fn pool(&self, target: &workload::Target<'_>, errors: &mut Errors) -> Option<usize> {
        let wanted = self.batch.model.as_ref();
        let serves = |index: &&usize| {
            let served = self.pools[**index].as_ref().map(|pool| &self.file.models.entries[pool.model].0);
            wanted.is_none_or(|wanted| served.is_some_and(|served| served == wanted.value.as_str()))
        };
        if target.chooses && target.pools.iter().filter(serves).count() > 1 {
            errors.refuse_with(
                &target.name.place,
                format!(
                    "`{}` chooses between several pools, and a batch is worked on by one",
                    target.name.value.as_str()
                ),
                "name a tier of one pool, or add a `model` that only one of them serves",
            );
            return None;
        }
        let index = workload::pool_of(wanted, target, self.file, self.pools, errors)?;
        if self.pools[index].as_ref().is_some_and(|pool| pool.fleet.prefill.is_some()) {
            let pool = &self.file.pools.entries[index].0;
            errors.refuse_with(
                &target.name.place,
                format!("the pool `{pool}` has its prompts processed by another pool: it takes no batch"),
                "name a pool without `prefill`",
            );
        }
        Some(index)
    }

    /// Lengths of requests; those of files are in them.
    fn lengths(&self, workload: &WorkloadFile, site: &Site<'_>, cx: &mut Context<'_>) -> Option<Lengths> {
        let batch = self.batch;
        if !batch.jobs.value.only_files() || batch.lengths.is_some() {
            return workload::lengths(workload, site, cx);
        }
        match (&batch.prompt, &batch.output) {
            (Some(prompt), _) => {
                cx.errors.refuse_with(
                    &prompt.place,
                    "the prompts are in the files of the jobs",
                    "leave `prompt` out; `output` says how much of what is asked for comes",
                );
                None
            }
            (None, Some(output)) => {
                let prompt = Dist::constant(1.0).expect("one token is a valid length");
                Some(Lengths::Independent { prompt, output: dist::dist(output, cx.errors)? })
            }
            (None, None) => Some(Lengths::FromTrace),
        }
    }

    /// The workload of requests that are worked on elsewhere, and their model.
    fn upstream(&self, cx: &mut Context<'_>) -> Option<(Workload, usize)> {
        let batch = self.batch;
        let target = [("tier", &batch.tier), ("endpoint", &batch.endpoint)];
        for (key, at) in target {
            let Some(at) = at else { continue };
            cx.errors.refuse_with(
                &at.place,
                format!("`{key}` would never act: the batch is worked on `upstream`"),
                "leave it out, and name the `model`",
            );
        }
        let Some(name) = &batch.model else {
            cx.errors.refuse_with(
                self.place,
                "the key `model` is missing: what is worked on `upstream` has no pool that says it",
                "name one of `[models]`",
            );
            return None;
        };
        let model = model_of(name, &self.file.models, cx.errors)?;
        let before = cx.errors.count();
        let as_workload = as_workload(batch);
        let lengths = match (&batch.prompt, &batch.output, &batch.lengths) {
            // Nothing here says a token of what comes back.
            (Some(prompt), None, None) => {
                let output = Dist::constant(1.0).expect("one token is a valid length");
                let prompt = dist::dist(prompt, cx.errors);
                prompt.map(|prompt| Lengths::Independent { prompt, output })
            }
            (None, _, None) if !batch.jobs.value.only_files() => {
                cx.errors.refuse_with(
                    &batch.jobs.place.sibling("prompt"),
                    "the key `prompt` is missing",
                    "for example `prompt = { kind = \"lognormal\", mean = 500, cv = 1.0, most = 4096 }`",
                );
                None
            }
            _ => {
                let site = Site { pool: None, models: self.models, horizon: self.horizon };
                self.lengths(&as_workload, &site, cx)
            }
        };
        (cx.errors.count() == before).then_some(())?;
        let sender = Sender { traits: self.traits(self.models[model].as_ref()), ..Sender::default() };
        Some((
            Workload {
                name: self.name.to_owned(),
                tier: 0,
                pool: 0,
                // Its accounts: requests say which of them they are of.
                tenants: batch.accounts.value.small(),
                weight: 1_000,
                arrivals: Arrivals::Jobs,
                lengths: lengths?,
                max_tokens: batch.max_tokens.as_ref().map(|at| at.value.0),
                sessions: None,
                shared_prefix_tokens: batch.shared_prefix.value.0,
                patience: None,
                network: batch.network.value.0,
                objectives: Objectives::default(),
                sender,
                client: Client::default(),
                wire: Wire::default(),
            },
            model,
        ))
    }

    /// Whose jobs they are: `Some(None)` when they are of accounts of their own.
    fn account(&self, endpoint: Option<usize>, cx: &mut Context<'_>) -> Option<Option<usize>> {
        let batch = self.batch;
        if batch.accounts.value.0 > 1 {
            if let Some(account) = &batch.account {
                cx.errors.refuse_with(
                    &account.place,
                    format!("the jobs are of `{}` accounts already", batch.accounts.value.0),
                    "keep one of `account` and `accounts`",
                );
                return None;
            }
            return Some(None);
        }
        let of_endpoint = || self.vendor.endpoints[endpoint?].as_ref().map(|endpoint| endpoint.account);
        match &batch.account {
            None if endpoint.is_some() => of_endpoint().map(Some),
            name => self.vendor.accounts.find(name.as_ref(), self.place, self.file, cx.errors).map(Some),
        }
    }

    /// What limits can know of a submission before its file is looked at.
    fn traits(&self, model: Option<&Model>) -> Subject {
        let SubmissionFile { provider, endpoint, content, models, auth, role } = &self.batch.request.value;
        let mut traits = Subject::default();
        let known = model.and_then(|model| model.listing.traits.words(Attr::ModelProvider));
        if let Some(known) = known {
            traits.say(Attr::BatchProvider, known);
        }
        say(&mut traits, Attr::BatchProvider, provider);
        say(&mut traits, Attr::BatchEndpoint, endpoint);
        if let Some(content) = content {
            traits.say(Attr::BatchContent, content.value.0.iter().map(|kind| kind.value.word()));
        }
        traits.count(Attr::BatchModels, [models.as_ref().map_or(1, |at| at.value.0)]);
        traits.say(Attr::BatchWindow, [self.batch.window.value.0.to_string()]);
        if let Some(auth) = auth {
            traits.say(Attr::Auth, [auth.value.word()]);
        }
        say(&mut traits, Attr::Role, role);
        traits
    }
}

/// What a batch has in common with a workload, so that one set of checks reads both.
fn as_workload(batch: &BatchFile) -> WorkloadFile {
    let at = |place: &Place| place.clone();
    let place = &batch.jobs.place;
    // It is never read: jobs are not arrivals of a law.
    let arrivals =
        ArrivalsFile::Population(PopulationFile { users: At { value: Count(1), place: at(place) } });
    let nothing = RequestFile {
        body: None,
        auth: None,
        from: None,
        role: None,
        messages: None,
        stops: None,
        choices: None,
        modality: None,
        tools: None,
        features: None,
        thinking: None,
        zero_data_retention: None,
        residency: None,
    };
    let (retry, hedge): (Option<At<RetryFile>>, Option<At<HedgeFile>>) = (None, None);
    let lengths = batch.lengths.as_ref();
    WorkloadFile {
        tier: batch.tier.clone(),
        endpoint: batch.endpoint.clone(),
        model: batch.model.clone(),
        models: None,
        account: batch.account.clone(),
        token: None,
        user: None,
        request: At { value: nothing, place: at(place) },
        tenants: At { value: Count(batch.accounts.value.0), place: at(place) },
        weight: At { value: Number(1.0), place: at(place) },
        arrivals: At { value: arrivals, place: at(place) },
        prompt: batch.prompt.clone(),
        output: batch.output.clone(),
        lengths: lengths
            .map(|pairs| At { value: LengthsFile::Pairs(pairs.value.clone()), place: at(&pairs.place) }),
        max_tokens: batch.max_tokens.clone(),
        sessions: None,
        shared_prefix: batch.shared_prefix.clone(),
        patience: None,
        retry,
        hedge,
        hang_up: At { value: true, place: at(place) },
        network: batch.network.clone(),
        objectives: None,
        live: None,
        enabled: batch.enabled.clone(),
    }
}

/// Pools that batch uses, by index.
pub(super) fn used(entries: &[Entry], pools: usize) -> Vec<bool> {
    let mut used = vec![false; pools];
    for pool in entries.iter().filter(|entry| entry.enabled).filter_map(|entry| entry.pool) {
        used[pool] = true;
    }
    used
}

/// The parts of a scenario that batches join.
pub(super) struct Joined<'a> {
    pub models: &'a [Model],
    pub pools: &'a mut Vec<Pool>,
    pub tiers: &'a mut Vec<Tier>,
    pub accounts: &'a mut Vec<Account>,
    /// All workloads; those of the batches come last, in order.
    pub workloads: &'a mut [Workload],
}

/// Gives every batch its workload, its accounts and, where it is worked on elsewhere, a tier and a pool that get none of
/// its requests.
pub(super) fn join(drafts: &mut [Draft], joined: Joined<'_>, cx: &mut Context<'_>) {
    let Joined { models, pools, tiers, accounts, workloads } = joined;
    let first = workloads.len() - drafts.len();
    for (index, draft) in drafts.iter_mut().enumerate() {
        draft.batch.workload = (first + index) as WorkloadId;
        let workload = &mut workloads[first + index];
        let name = &draft.batch.name;
        if draft.account.is_none() {
            draft.batch.owner = accounts.len() as u32;
            workload.sender.account = draft.batch.owner;
            let traits = Subject::default;
            accounts.extend(
                (0..draft.batch.owners)
                    .map(|own| Account { name: format!("{name}/{own}"), traits: traits() }),
            );
        }
        let Some(model) = draft.upstream else { continue };
        let pool = pools.iter().position(|pool| pool.model == model).unwrap_or_else(|| {
            if !pools.is_empty() {
                cx.caveats.push(format!(
                    "no pool serves the model `{}` of batch `{name}`, which is worked on elsewhere: the pool \
                     `upstream-{}` with one idle server stands for it in tables and sums over all pools",
                    models[model].name, models[model].name
                ));
            }
            pools.push(nowhere(model, &models[model]));
            pools.len() - 1
        });
        workload.tier = tiers.len();
        workload.pool = pool as PoolId;
        workload.sender.candidates = vec![(model, pool as PoolId)];
        tiers.push(Tier { name: name.clone(), priority: 0, pools: vec![pool as PoolId], choice: None });
    }
}

/// A pool that gets no request: the least that a model needs which is worked on elsewhere.
fn nowhere(model: usize, of: &Model) -> Pool {
    let service = Dist::constant(1.0).expect("a second is a valid service time");
    Pool {
        name: format!("upstream-{}", of.name),
        model,
        replicas: 1,
        gpus_per_replica: 0,
        engine: Engine::Slots(SlotsEngine { servers: 1, service }),
        route: Route::RoundRobin,
        outstanding: None,
        queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
        permits: None,
        fleet: PoolFleet::fixed(1),
        view_age: Span::ZERO,
        batch: None,
    }
}

/// Jobs that are written out, to be filled in from their files.
pub(super) fn listed(batch: &mut Batch) -> &mut [crate::scenario::batch::Submission] {
    match &mut batch.jobs {
        Jobs::Listed(jobs) => jobs,
        Jobs::Drawn { .. } => &mut [],
    }
}
