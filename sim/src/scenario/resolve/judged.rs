//! What the limits say before anything runs: endpoints that could not exist, values that are missing, and what reports
//! must say of limits that cannot be evaluated, only warn, or concern nobody.

use super::Context;
use super::batch::Draft;
use super::limits::InForce;
use crate::profile::{Attr, Caller, Counted, InUse, Limit, Mechanism, Subject, Unit, Verb, concerns, judge};
use crate::scenario::catalog::{Catalog, subject};
use crate::scenario::diagnostic::Place;
use crate::scenario::file::ScenarioFile;
use crate::scenario::policy::{Account, Endpoint, Operation};
use crate::scenario::{Arrivals, Workload};
use std::collections::BTreeMap;

/// What subjects are made of, as it is when the run starts.
pub(super) struct World<'a> {
    pub accounts: &'a [Account],
    pub endpoints: &'a [Endpoint],
    pub catalog: Catalog<'a>,
}

impl World<'_> {
    /// What is known of a request to an endpoint, or of something done to it: every model that it is about counts.
    pub(super) fn subject(
        &self,
        account: usize,
        endpoint: Option<usize>,
        models: &[usize],
        own: &Subject,
    ) -> Subject {
        let endpoint = endpoint.map(|endpoint| &self.endpoints[endpoint].traits);
        subject(&self.catalog, self.accounts.get(account), endpoint, models, own)
    }

    /// The models that an operation is about: those that its endpoint serves, and the one it names.
    fn models(&self, operation: &Operation) -> Vec<usize> {
        let mut models = target(operation).map_or_else(Vec::new, |at| self.endpoints[at].models.clone());
        models.extend(operation.model.filter(|model| !models.contains(model)));
        models
    }
}

/// The endpoint whose configuration an operation is about.
fn target(operation: &Operation) -> Option<usize> {
    operation.to.or(operation.endpoint)
}

/// Refuses endpoints that exist at the start and that the limits would not let anybody create.
pub(super) fn endpoints_could_be_created(
    file: &ScenarioFile,
    world: &World<'_>,
    limits: &[Limit],
    profile: Option<&InUse>,
    cx: &mut Context<'_>,
) {
    let Some(profile) = profile else { return };
    let hint = format!("ask {} for more, or change what is declared here", profile.contact);
    // Units that are held, by limit and counter.
    let mut held: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for (index, (name, place, _)) in file.endpoints.entries.iter().enumerate() {
        let endpoint = &world.endpoints[index];
        if !endpoint.exists {
            continue;
        }
        let subject = world.subject(endpoint.account, Some(index), &endpoint.models, &Subject::default());
        let found = judge(limits, Verb::CreateEndpoint, &subject);
        if let Some(refused) = found.refused {
            let limit = &limits[refused.limit];
            let why = match &limit.mechanism {
                Mechanism::Size { attr, .. } => format!("`{}` is `{}`: ", attr.name(), refused.value),
                Mechanism::Gate { require: Some(gate), .. } => {
                    format!("`{}` is `{}`: ", gate.attr.name(), words(&subject, gate.attr))
                }
                _ => String::new(),
            };
            let value = limit.value_text();
            let message =
                format!("`{name}` could not be created: {why}the limit `{}` is {value}", limit.name);
            cx.errors.refuse_with(place, message, hint.as_str());
            continue;
        }
        let caller = Caller { account: endpoint.account as u32, endpoint: index as u32, ..Caller::default() };
        for at in found.dynamic {
            let Mechanism::Quota { counted, limit: Some(most) } = limits[at].mechanism else { continue };
            let units = match counted {
                Counted::Endpoints => 1,
                Counted::ProvisionedConcurrency => endpoint.concurrency,
                // It is asked for jobs alone.
                Counted::EnqueuedTokens => 0,
            };
            let used = held.entry((at, limits[at].key(&caller))).or_default();
            *used += units;
            if *used > most {
                let (limit, value) = (&limits[at].name, limits[at].value_text());
                let message = format!(
                    "`{name}` could not be created: with it `{used}` are in use, and the limit `{limit}` is {value}"
                );
                cx.errors.refuse_with(place, message, hint.as_str());
                // What was refused holds nothing.
                *used -= units;
                break;
            }
        }
    }
}

/// The values of an attribute, for people.
fn words(subject: &Subject, attr: Attr) -> String {
    let words = subject.words(attr).map(|words| words.join(", "));
    let numbers =
        || subject.numbers(attr).map(|all| all.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
    words.or_else(numbers).unwrap_or_default()
}

/// A kind of thing that limits are asked about: the requests of a workload for a model, the calls of an operation.
struct Asked<'a> {
    whom: String,
    verb: Verb,
    subject: Subject,
    workload: Option<&'a Workload>,
    has_endpoint: bool,
    has_model: bool,
}

impl Asked<'_> {
    /// Whether the scenario could state an attribute of it that is the same for all of it.
    fn could_state(&self, attr: Attr) -> bool {
        match attr {
            Attr::EndpointKind
            | Attr::RouteOptimized
            | Attr::Compute
            | Attr::Size
            | Attr::InitScripts
            | Attr::Concurrency
            | Attr::EnvVars
            | Attr::Memory => self.has_endpoint,
            Attr::ModelName
            | Attr::ModelKind
            | Attr::ModelProvider
            | Attr::ModelProvenance
            | Attr::ModelListed
            | Attr::ModelStable
            | Attr::VersionRank => self.has_model,
            Attr::Region
            | Attr::ControlPlane
            | Attr::Compliance
            | Attr::CustomerTier
            | Attr::SecurityTier
            | Attr::Production
            | Attr::Role
            | Attr::Auth
            | Attr::Ingress => true,
            // The bytes of a body are drawn for each request.
            Attr::Body => {
                self.verb == Verb::Inference
                    && self.workload.is_some_and(|workload| workload.sender.body.is_none())
            }
            Attr::Messages
            | Attr::Stops
            | Attr::Choices
            | Attr::Modality
            | Attr::Tools
            | Attr::Features
            | Attr::Thinking
            | Attr::ZeroDataRetention
            | Attr::Residency => self.verb == Verb::Inference,
            Attr::UploadType => self.verb == Verb::Upload,
            Attr::DatasetRows | Attr::DatasetBytes | Attr::EvaluationModels => self.verb == Verb::Evaluate,
            Attr::BatchProvider | Attr::BatchEndpoint | Attr::BatchContent | Attr::BatchBytes => {
                self.verb == Verb::SubmitBatch
            }
            // They are known of every batch, and drawn for each job.
            Attr::BatchModels | Attr::BatchWindow | Attr::BatchRequests => false,
            // An increase names what it is of.
            Attr::LimitName => false,
        }
    }

    /// What would have to be stated to know whether a limit concerns it; `None` when that is known. A condition on any
    /// value at all asks whether something is stated, so it is known.
    fn undecided(&self, limit: &Limit) -> Option<Attr> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            limit.when.iter().partition(|condition| self.subject.knows(condition.attr));
        let open = limit.on.contains(&self.verb)
            && known.iter().all(|condition| condition.touches(&self.subject))
            && unknown.iter().all(|condition| condition.values != ["*"] && self.could_state(condition.attr));
        unknown.first().filter(|_| open).map(|condition| condition.attr)
    }

    /// Whether a limit concerns it and counts the bytes of bodies, which nobody states.
    fn counts_unstated_bytes(&self, limit: &Limit) -> bool {
        matches!(limit.mechanism, Mechanism::Rate { unit: Unit::Bytes, .. })
            && self.could_state(Attr::Body)
            && concerns(limit, self.verb, &self.subject)
    }
}

/// All that limits are asked about.
fn asked<'a>(world: &World<'_>, workloads: &'a [Workload], operations: &[Operation]) -> Vec<Asked<'a>> {
    let mut asked = Vec::new();
    for workload in workloads {
        for (model, _) in &workload.sender.candidates {
            let sender = &workload.sender;
            let jobs = matches!(workload.arrivals, Arrivals::Jobs);
            let (what, verb) =
                if jobs { ("batch", Verb::SubmitBatch) } else { ("workload", Verb::Inference) };
            asked.push(Asked {
                whom: format!("{what} `{}`", workload.name),
                verb,
                subject: world.subject(sender.account as usize, sender.endpoint, &[*model], &sender.traits),
                workload: Some(workload),
                has_endpoint: sender.endpoint.is_some(),
                has_model: true,
            });
        }
    }
    for operation in operations.iter().filter(|operation| !operation.verb.is_vendors()) {
        let models = world.models(operation);
        asked.push(Asked {
            whom: format!("operation `{}`", operation.name),
            verb: operation.verb,
            subject: world.subject(operation.account, target(operation), &models, &operation.traits),
            workload: None,
            has_endpoint: target(operation).is_some(),
            has_model: !models.is_empty(),
        });
    }
    asked
}

/// Takes out the limits whose value nobody gave and that concern nobody; those that do concern somebody are errors.
pub(super) fn without_missing(
    all: Vec<InForce>,
    world: &World<'_>,
    workloads: &[Workload],
    operations: &[Operation],
    place: &Place,
    cx: &mut Context<'_>,
) -> Vec<InForce> {
    if !all.iter().any(|entry| entry.missing) {
        return all;
    }
    let asked = asked(world, workloads, operations);
    all.into_iter()
        .filter(|entry| {
            let limit = entry.limit();
            let whom = asked.iter().find(|asked| concerns(limit, asked.verb, &asked.subject));
            if let (true, Some(Asked { whom, .. })) = (entry.missing, whom) {
                let key = match limit.mechanism {
                    Mechanism::Rate { .. } => "value = \"100/s\"",
                    Mechanism::Gate { .. } => "allow = [\"..\"]",
                    _ => "most = 100",
                };
                cx.errors.refuse_with(
                    place,
                    format!("the limit `{}` concerns {whom}, and its value is not published", limit.name),
                    format!("give it: `[limits.{}]` with `{key}` and `source = \"account\"`", limit.name),
                );
            }
            !entry.missing
        })
        .collect()
}

/// What reports must say: limits that cannot be evaluated, warnings, and workloads that nothing concerns.
pub(super) fn notes(
    world: &World<'_>,
    limits: &[Limit],
    workloads: &[Workload],
    operations: &[Operation],
    batches: &[Draft],
    cx: &mut Context<'_>,
) {
    let mut unknown: BTreeMap<(usize, Attr), Vec<String>> = BTreeMap::new();
    let mut warned: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut concerned: Vec<&str> = Vec::new();
    for asked in asked(world, workloads, operations) {
        let found = judge(limits, asked.verb, &asked.subject);
        let bytes = limits.iter().enumerate().filter(|(_, limit)| asked.counts_unstated_bytes(limit));
        let open = limits.iter().enumerate().filter_map(|(at, limit)| Some((at, asked.undecided(limit)?)));
        // The bytes of a body that is stated are drawn for each request.
        let drawn = asked.workload.is_some_and(|workload| workload.sender.body.is_some());
        let judged = found.unknown.into_iter().filter(|(_, attr)| *attr != Attr::Body || !drawn);
        let batch =
            asked.workload.and_then(|workload| batches.iter().find(|one| one.batch.name == workload.name));
        for (limit, attr) in judged.chain(bytes.map(|(at, _)| (at, Attr::Body))).chain(open) {
            if let Some(batch) = batch {
                if batch.says(attr) {
                    continue;
                }
                if matches!(attr, Attr::ModelProvider | Attr::ModelProvenance) {
                    unlisted(&limits[limit], attr, batch, cx);
                    continue;
                }
            }
            once(unknown.entry((limit, attr)).or_default(), &asked.whom);
        }
        for limit in found.warned {
            once(warned.entry(limit).or_default(), &asked.whom);
        }
        if let Some(workload) = asked.workload
            && limits.iter().any(|limit| concerns(limit, asked.verb, &asked.subject))
        {
            concerned.push(&workload.name);
        }
    }
    for ((limit, attr), whom) in unknown {
        let (limit, attr) = (&limits[limit].name, attr.name());
        cx.notes
            .push(format!("limit `{limit}` is not evaluated for {}: `{attr}` is not stated", some(&whom)));
    }
    for (limit, whom) in warned {
        let limit = &limits[limit];
        cx.caveats.push(format!("limit `{}` warns of {}: {}", limit.name, some(&whom), limit.answer.message));
    }
    // A profile without limits on requests leaves out none of them.
    let requests = |workload: &&Workload| !matches!(workload.arrivals, Arrivals::Jobs);
    let mut on_requests = limits.iter().filter(|limit| limit.on.contains(&Verb::Inference)).peekable();
    if on_requests.peek().is_none() {
        return;
    }
    let by_kind = on_requests.any(|limit| limit.when.iter().any(|when| when.attr == Attr::EndpointKind));
    let strangers = workloads.iter().filter(|workload| !concerned.contains(&workload.name.as_str()));
    for workload in strangers.filter(requests) {
        let why = match workload.sender.endpoint {
            None => ": it names no `endpoint`".to_owned(),
            Some(_) if !by_kind => String::new(),
            Some(endpoint) => {
                let endpoint = &world.endpoints[endpoint];
                match endpoint.traits.knows(Attr::EndpointKind) {
                    true => {
                        let kind = words(&endpoint.traits, Attr::EndpointKind);
                        format!(": its endpoint `{}` is of the kind `{kind}`", endpoint.name)
                    }
                    false => format!(": its endpoint `{}` has no `kind`", endpoint.name),
                }
            }
        };
        let note = format!("no limit of the profile concerns workload `{}`{why}", workload.name);
        cx.caveats.push(note);
    }
}

/// Which models jobs may use depends on what is said of each: one of which nothing is said could be any.
fn unlisted(limit: &Limit, attr: Attr, batch: &Draft, cx: &mut Context<'_>) {
    let key = attr.name().trim_start_matches("model.");
    cx.errors.refuse_with(
        &batch.place,
        format!(
            "the limit `{}` asks for `{}` of its model, and nothing is said of it",
            limit.name,
            attr.name()
        ),
        format!("add `{key}` to the model: who offers batch decides by it whether the job may run"),
    );
}

/// The first few of a list; a report should not drown in names.
fn some(whom: &[String]) -> String {
    match whom {
        [first, second, third, _, rest @ ..] => {
            format!("{first}, {second}, {third} and {} more", rest.len() + 1)
        }
        few => few.join(", "),
    }
}

fn once(list: &mut Vec<String>, whom: &str) {
    if !list.iter().any(|known| known == whom) {
        list.push(whom.to_owned());
    }
}
