//! What the limits say before anything runs: endpoints that could not exist, values that are missing, and what reports
//! must say of limits that cannot be evaluated, only warn, or concern nobody.

use super::Context;
use super::limits::InForce;
use crate::profile::{Attr, Caller, Counted, InUse, Limit, Mechanism, Subject, Verb, concerns, judge};
use crate::scenario::diagnostic::Place;
use crate::scenario::file::ScenarioFile;
use crate::scenario::policy::{Account, Endpoint, Operation};
use crate::scenario::{Model, Workload};
use std::collections::BTreeMap;

/// What subjects are made of.
pub(super) struct World<'a> {
    pub accounts: &'a [Account],
    pub endpoints: &'a [Endpoint],
    pub models: &'a [Model],
}

impl World<'_> {
    /// What is known of a request to an endpoint for a model, at the start of the run.
    pub(super) fn request(&self, account: usize, endpoint: Option<usize>, model: usize) -> Subject {
        let mut subject = self.caller(account);
        if let Some(endpoint) = endpoint {
            subject.merge(&self.endpoints[endpoint].traits);
        }
        subject.merge(&self.model(model));
        subject
    }

    /// What is known of something done to an endpoint: every kind of model it serves counts.
    fn operation(&self, account: usize, endpoint: Option<usize>, models: &[usize]) -> Subject {
        let mut subject = self.caller(account);
        if let Some(endpoint) = endpoint {
            subject.merge(&self.endpoints[endpoint].traits);
        }
        let models: Vec<Subject> = models.iter().map(|&model| self.model(model)).collect();
        for &attr in Attr::ALL {
            let words: Vec<&String> = models.iter().filter_map(|model| model.words(attr)).flatten().collect();
            if !words.is_empty() {
                subject.say(attr, words);
            }
            let numbers: Vec<u64> =
                models.iter().filter_map(|model| model.numbers(attr)).flatten().copied().collect();
            if !numbers.is_empty() {
                subject.count(attr, numbers);
            }
        }
        subject
    }

    /// The account, and the token it is taken to have until something else is said.
    fn caller(&self, account: usize) -> Subject {
        let mut subject = Subject::default();
        subject.say(Attr::Auth, ["valid"]).merge(&self.accounts[account].traits);
        subject
    }

    fn model(&self, index: usize) -> Subject {
        let model = &self.models[index];
        let mut subject = model.listing.traits.clone();
        subject.say(Attr::ModelName, [model.name.as_str()]);
        if let Some(rank) = self.rank(model) {
            subject.count(Attr::VersionRank, [rank]);
        }
        subject
    }

    /// 1 for the newest stable version of a family that is published, 2 for the one before.
    fn rank(&self, model: &Model) -> Option<u64> {
        let (family, version) = model.listing.version.as_ref()?;
        let ranked = |model: &Model| {
            model.listing.published
                && model.listing.traits.words(Attr::ModelStable) != Some(&["no".to_owned()])
        };
        let newer = |other: &&Model| {
            let listed = other.listing.version.as_ref();
            ranked(other) && listed.is_some_and(|(name, other)| name == family && other > version)
        };
        ranked(model).then(|| 1 + self.models.iter().filter(newer).count() as u64)
    }

    /// What is known of a workload's requests for one of its candidates.
    fn of_workload(&self, workload: &Workload, model: usize) -> Subject {
        let sender = &workload.sender;
        let mut subject = self.request(sender.account as usize, sender.endpoint, model);
        subject.merge(&sender.traits);
        subject
    }

    /// What is known of the calls of an operation.
    fn of_operation(&self, operation: &Operation) -> Subject {
        let endpoint = operation.to.or(operation.endpoint);
        let mut models: Vec<usize> = endpoint.map_or_else(Vec::new, |at| self.endpoints[at].models.clone());
        models.extend(operation.model.filter(|model| !models.contains(model)));
        let mut subject = self.operation(operation.account, endpoint, &models);
        subject.merge(&operation.traits);
        subject
    }
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
        let subject = world.operation(endpoint.account, Some(index), &endpoint.models);
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

/// Kinds of things that limits are asked about: the requests of each workload, the calls of each operation.
fn asked<'a>(
    world: &World<'_>,
    workloads: &'a [Workload],
    operations: &'a [Operation],
) -> Vec<(String, Verb, Subject, Option<&'a Workload>)> {
    let mut asked = Vec::new();
    for workload in workloads {
        for (model, _) in &workload.sender.candidates {
            let subject = world.of_workload(workload, *model);
            asked.push((format!("workload `{}`", workload.name), Verb::Inference, subject, Some(workload)));
        }
    }
    for operation in operations.iter().filter(|operation| !operation.verb.is_vendors()) {
        let subject = world.of_operation(operation);
        asked.push((format!("operation `{}`", operation.name), operation.verb, subject, None));
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
            let whom = asked.iter().find(|(_, verb, subject, _)| concerns(limit, *verb, subject));
            if let (true, Some((whom, ..))) = (entry.missing, whom) {
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
    cx: &mut Context<'_>,
) {
    let mut unknown: BTreeMap<(usize, Attr), Vec<String>> = BTreeMap::new();
    let mut warned: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut concerned: Vec<&str> = Vec::new();
    for (whom, verb, subject, workload) in asked(world, workloads, operations) {
        let found = judge(limits, verb, &subject);
        for (limit, attr) in found.unknown {
            // The bytes of a body are drawn for each request.
            let drawn = attr == Attr::Body && workload.is_some_and(|workload| workload.sender.body.is_some());
            if !drawn {
                once(unknown.entry((limit, attr)).or_default(), &whom);
            }
        }
        for limit in found.warned {
            once(warned.entry(limit).or_default(), &whom);
        }
        if let Some(workload) = workload
            && limits.iter().any(|limit| concerns(limit, verb, &subject))
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
    for workload in workloads.iter().filter(|workload| !concerned.contains(&workload.name.as_str())) {
        let why = match workload.sender.endpoint {
            None => "it names no `endpoint`".to_owned(),
            Some(endpoint) => {
                let endpoint = &world.endpoints[endpoint];
                match endpoint.traits.knows(Attr::EndpointKind) {
                    true => {
                        let kind = words(&endpoint.traits, Attr::EndpointKind);
                        format!("its endpoint `{}` is of the kind `{kind}`", endpoint.name)
                    }
                    false => format!("its endpoint `{}` has no `kind`", endpoint.name),
                }
            }
        };
        let note = format!("no limit of the profile concerns workload `{}`: {why}", workload.name);
        cx.caveats.push(note);
    }
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
