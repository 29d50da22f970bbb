//! Words of a vendor: kinds, roles and compliance profiles mean what the limits of a profile say they do, so one that is
//! misspelt would switch limits off without a word.

use super::Context;
use crate::profile::{Attr, Condition, Mechanism, Subject};
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::Text;
use crate::scenario::profile::Loaded;

/// What a model may do without any limit saying so ([`Attr::ModelKind`]).
const MODEL_KINDS: [&str; 6] = ["chat", "embedding", "rerank", "audio", "tts", "image"];

/// Refuses words that are nearly one of the profile's, and notes those that are none of it. An attribute that no limit
/// asks about has no words of the profile: anything goes.
pub(super) fn check(file: &ScenarioFile, profile: &Loaded, cx: &mut Context<'_>) {
    let mut noted: Vec<(Attr, &str)> = Vec::new();
    for (attr, at) in stated(file) {
        let word = at.value.0.as_str();
        let mut known = Condition { attr, values: values(profile, attr) };
        if known.values.is_empty() {
            continue;
        }
        if attr == Attr::ModelKind {
            known.values.extend(MODEL_KINDS.map(str::to_owned));
        }
        let mut subject = Subject::default();
        if known.touches(subject.say(attr, [word])) {
            continue;
        }
        let (name, id) = (attr.name(), &profile.profile.id);
        match did_you_mean(word, known.values.iter().map(String::as_str)) {
            Some(hint) => {
                let shown = crate::scenario::diagnostic::shorten(word);
                let message = format!("no limit of the profile `{id}` has `{shown}` as `{name}`");
                cx.errors.refuse_with(&at.place, message, hint);
            }
            // A role that no limit asks for is any other role.
            None if attr == Attr::Role => {}
            None if !noted.contains(&(attr, word)) => {
                noted.push((attr, word));
                cx.notes.push(format!("no limit of the profile has `{word}` as `{name}`"));
            }
            None => {}
        }
    }
}

/// Every word that the scenario states of an attribute whose words are the profile's.
fn stated(file: &ScenarioFile) -> Vec<(Attr, &At<Text>)> {
    let mut stated = Vec::new();
    for account in file.accounts.entries.iter().filter_map(|(.., account)| account.as_ref()) {
        let words = account.compliance.iter().flat_map(|at| &at.value.0);
        stated.extend(words.map(|at| (Attr::Compliance, at)));
    }
    for model in file.models.entries.iter().filter_map(|(.., model)| model.as_ref()) {
        stated.extend(model.kind.iter().map(|at| (Attr::ModelKind, at)));
    }
    for endpoint in file.endpoints.entries.iter().filter_map(|(.., endpoint)| endpoint.as_ref()) {
        stated.extend(endpoint.kind.iter().map(|at| (Attr::EndpointKind, at)));
    }
    let workloads = file.workloads.entries.iter().filter_map(|(.., workload)| workload.as_ref());
    for workload in workloads.filter(|workload| workload.enabled.value) {
        stated.extend(workload.request.value.role.iter().map(|at| (Attr::Role, at)));
    }
    let batches = file.batch.entries.iter().filter_map(|(.., batch)| batch.as_ref());
    for batch in batches.filter(|batch| batch.enabled.value) {
        let request = &batch.request.value;
        stated.extend(request.role.iter().map(|at| (Attr::Role, at)));
        stated.extend(request.provider.iter().map(|at| (Attr::BatchProvider, at)));
        stated.extend(request.endpoint.iter().map(|at| (Attr::BatchEndpoint, at)));
    }
    for operation in file.operations.0.iter().filter(|at| at.value.enabled.value) {
        stated.extend(operation.value.role.iter().map(|at| (Attr::Role, at)));
    }
    stated
}

/// The values that limits of a profile have for an attribute, those of overlays that are off included.
fn values(profile: &Loaded, attr: Attr) -> Vec<String> {
    let conditions = profile.limits.iter().flat_map(|loaded| {
        let require = match &loaded.limit.mechanism {
            Mechanism::Gate { require, .. } => require.as_ref(),
            _ => None,
        };
        loaded.limit.when.iter().chain(require)
    });
    conditions
        .filter(|condition| condition.attr == attr)
        .flat_map(|condition| condition.values.clone())
        .collect()
}
