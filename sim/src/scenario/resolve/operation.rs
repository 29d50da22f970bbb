//! Operations: what is done on the control plane, by whom, to what.

use super::account::{Accounts, say, say_all};
use super::endpoint::chooses;
use super::known::Known;
use super::model_of;
use super::sender::Callers;
use super::setting;
use crate::profile::{Attr, Subject, Verb};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::{self, Name};
use crate::scenario::overrides::listed;
use crate::scenario::policy::{Endpoint, Operation};
use crate::scenario::policy_file::OperationFile;
use crate::time::{Span, Time};

/// An operation of the file: resolved, switched off, or wrong.
pub(super) struct Entry {
    pub name: String,
    pub enabled: bool,
    /// Where the limit it sets is named; where it is itself, when it sets none.
    pub place: Place,
    pub resolved: Option<Operation>,
}

/// What operations refer to.
pub(super) struct Site<'a> {
    pub file: &'a ScenarioFile,
    pub endpoints: &'a [Option<Endpoint>],
    pub accounts: &'a Accounts,
    pub known: &'a Known<'a>,
    pub horizon: Option<Span>,
}

/// Every operation of the file, in its order.
pub(super) fn all(site: &Site<'_>, callers: &mut Callers, errors: &mut Errors) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, at) in site.file.operations.0.iter().enumerate() {
        let name = name(index, &at.value, site, &entries, errors);
        let enabled = at.value.enabled.value;
        let resolved = enabled.then(|| one(&name, at, site, callers, errors)).flatten();
        let place = at.value.limit.as_ref().map_or(&at.place, |limit| &limit.place).clone();
        entries.push(Entry { name, enabled, place, resolved });
    }
    entries
}

/// The name of an operation: expectations tell it from every other one and from workloads by it.
fn name(
    index: usize,
    operation: &OperationFile,
    site: &Site<'_>,
    before: &[Entry],
    errors: &mut Errors,
) -> String {
    let Some(at) = &operation.name else { return format!("operation-{}", index + 1) };
    let name = at.value.as_str();
    if !leaf::is_name(name) {
        let hint = "letters, digits, `-` and `_`, beginning with a letter or digit, at most 64";
        let shown = crate::scenario::diagnostic::shorten(name);
        errors.refuse_with(&at.place, format!("`{shown}` is not a usable name"), hint);
    }
    if before.iter().any(|other| other.name == name) {
        errors.refuse(&at.place, format!("two operations are named `{name}`"));
    } else if site.file.workloads.names().any(|workload| workload == name) {
        let hint = "rename one: expectations refer to both by name";
        errors.refuse_with(&at.place, format!("a workload is named `{name}`, too"), hint);
    } else if site.file.batch.names().any(|batch| batch == name) {
        let hint = "rename one: expectations refer to both by name";
        errors.refuse_with(&at.place, format!("a batch is named `{name}`, too"), hint);
    }
    name.to_owned()
}

fn one(
    name: &str,
    at: &At<OperationFile>,
    site: &Site<'_>,
    callers: &mut Callers,
    errors: &mut Errors,
) -> Option<Operation> {
    let before = errors.count();
    let (file, operation) = (site.file, &at.value);
    let verb = Verb::named(&operation.r#do.value.0).expect("checked when it was read");
    keys(verb, at, errors);
    inside(operation, site.horizon, errors);
    let find = |name: &Option<At<Name>>, errors: &mut Errors| {
        name.as_ref().and_then(|name| file.endpoints.find(name, "endpoint", errors))
    };
    let endpoint = find(&operation.endpoint, errors);
    let to = find(&operation.to, errors);
    let model = operation.model.as_ref().and_then(|name| model_of(name, &file.models, errors));
    let limit = setting::limit(verb, operation, site.known, errors);
    let value = setting::value(operation, limit, site.known, errors);
    let account = match (&operation.account, endpoint) {
        (None, Some(endpoint)) => site.endpoints[endpoint].as_ref().map(|endpoint| endpoint.account),
        (name, None) if verb.is_vendors() && name.is_none() => Some(0),
        (name, _) => site.accounts.find(name.as_ref(), &at.place, file, errors),
    };
    for (named, index) in [(&operation.endpoint, endpoint), (&operation.to, to)] {
        owned(named.as_ref(), index, account, site, errors);
    }
    if let (Some(name), Some(endpoint), Some(to)) = (&operation.to, endpoint, to) {
        chooses_as_before(name, endpoint, to, file, errors);
    }
    let mut traits = traits(operation);
    if let Some(limit) = limit {
        traits.say(Attr::LimitName, [site.known.limits[limit].limit().name.as_str()]);
    }
    site.accounts.check_in(account, operation.from.as_ref(), &mut traits, errors);
    (errors.count() == before).then_some(())?;
    let account = account?;
    let own = |name: &Option<At<Name>>| {
        let given = name.as_ref().map(|at| at.value.as_str());
        given.unwrap_or(&site.accounts.all[account].name).to_owned()
    };
    // What the vendor does has no caller, and no number of one.
    let (token, user) = match verb.is_vendors() {
        true => (0, 0),
        false => (callers.tokens.number(&own(&operation.token)), callers.users.number(&own(&operation.user))),
    };
    Some(Operation {
        name: name.to_owned(),
        verb,
        first: Time::ZERO.saturating_add(operation.at.value.0),
        every: operation.every.value.0,
        times: operation.times.value.0,
        account,
        everybody: setting::everybody(verb, operation),
        token,
        user,
        endpoint,
        to,
        model,
        limit,
        value,
        ready_after: operation.ready_after.value.0,
        traits,
    })
}

/// An update moves models between pools; which pool is preferred stays.
fn chooses_as_before(name: &At<Name>, endpoint: usize, to: usize, file: &ScenarioFile, errors: &mut Errors) {
    let choosing = [endpoint, to].into_iter().find_map(|index| {
        let (name, _, endpoint) = &file.endpoints.entries[index];
        endpoint.as_ref().filter(|endpoint| chooses(endpoint)).map(|_| name)
    });
    if let Some(choosing) = choosing {
        errors.refuse_with(
            &name.place,
            format!("`{choosing}` chooses between pools: an update of how is not modelled"),
            "leave `to` out, or give the endpoints one pool for each model",
        );
    }
}

/// Nobody touches another account's endpoints.
fn owned(
    name: Option<&At<Name>>,
    endpoint: Option<usize>,
    account: Option<usize>,
    site: &Site<'_>,
    errors: &mut Errors,
) {
    let (Some(name), Some(endpoint), Some(account)) = (name, endpoint, account) else { return };
    let Some(endpoint) = &site.endpoints[endpoint] else { return };
    if endpoint.account != account {
        let all = &site.accounts.all;
        errors.refuse_with(
            &name.place,
            format!("the endpoint `{}` belongs to account `{}`", endpoint.name, all[endpoint.account].name),
            format!("the operation is of account `{}`: name an endpoint of it", all[account].name),
        );
    }
}

/// What a verb needs, and what it can do with beside it.
fn takes(verb: Verb) -> (&'static [&'static str], &'static [&'static str]) {
    match verb {
        Verb::CreateEndpoint | Verb::StartEndpoint => (&["endpoint"], &["ready_after"]),
        Verb::UpdateEndpoint => (&["endpoint"], &["to", "ready_after"]),
        Verb::DeleteEndpoint | Verb::StopEndpoint => (&["endpoint"], &[]),
        Verb::SetRateLimit | Verb::RaiseLimit => (&["limit", "value"], &["endpoint", "model", "ready_after"]),
        Verb::ChangeLimit => (&["limit", "value"], &["account", "endpoint", "model"]),
        Verb::PublishModel => (&["model"], &[]),
        Verb::CallMcp => (&[], &["endpoint", "model"]),
        Verb::Upload => (&["upload"], &["endpoint", "model"]),
        Verb::Evaluate => (&[], &["endpoint", "model", "rows", "bytes", "uses"]),
        Verb::PublishPatch
        | Verb::ListEndpoints
        | Verb::ReadCatalog
        | Verb::Inference
        | Verb::SubmitBatch => (&[], &[]),
    }
}

/// Keys that only a caller has.
const CALLER: [&str; 6] = ["account", "token", "user", "role", "auth", "from"];

fn keys(verb: Verb, at: &At<OperationFile>, errors: &mut Errors) {
    let operation = &at.value;
    let (needs, may) = takes(verb);
    let place = |given: Option<&Place>| given.cloned();
    let given: [(&str, Option<Place>); 16] = [
        ("endpoint", place(operation.endpoint.as_ref().map(|at| &at.place))),
        ("to", place(operation.to.as_ref().map(|at| &at.place))),
        ("model", place(operation.model.as_ref().map(|at| &at.place))),
        ("limit", place(operation.limit.as_ref().map(|at| &at.place))),
        ("value", place(operation.value.as_ref().map(|at| &at.place))),
        ("upload", place(operation.upload.as_ref().map(|at| &at.place))),
        ("rows", place(operation.rows.as_ref().map(|at| &at.place))),
        ("bytes", place(operation.bytes.as_ref().map(|at| &at.place))),
        ("uses", place(operation.uses.as_ref().map(|at| &at.place))),
        (
            "ready_after",
            (!operation.ready_after.value.0.is_zero()).then(|| operation.ready_after.place.clone()),
        ),
        ("account", place(operation.account.as_ref().map(|at| &at.place))),
        ("token", place(operation.token.as_ref().map(|at| &at.place))),
        ("user", place(operation.user.as_ref().map(|at| &at.place))),
        ("role", place(operation.role.as_ref().map(|at| &at.place))),
        ("auth", place(operation.auth.as_ref().map(|at| &at.place))),
        ("from", place(operation.from.as_ref().map(|at| &at.place))),
    ];
    let word = verb.name();
    for (key, place) in &given {
        let taken = needs.contains(key) || may.contains(key) || (!verb.is_vendors() && CALLER.contains(key));
        match place {
            None if needs.contains(key) => {
                errors.refuse_with(
                    &at.place,
                    format!("the key `{key}` is missing"),
                    format!("`{word}` needs {}", listed(needs.iter().copied())),
                );
            }
            Some(place) if !taken => {
                let hint = if verb.is_vendors() && CALLER.contains(key) {
                    "the vendor does it: nobody calls".to_owned()
                } else if needs.is_empty() && may.is_empty() {
                    "it is about the account alone".to_owned()
                } else {
                    format!("it takes {}", listed(needs.iter().chain(may).copied()))
                };
                errors.refuse_with(place, format!("`{key}` does not go with `{word}`"), hint);
            }
            _ => {}
        }
    }
}

/// Every call comes before the horizon.
fn inside(operation: &OperationFile, horizon: Option<Span>, errors: &mut Errors) {
    let Some(horizon) = horizon else { return };
    let (at, every, times) = (operation.at.value.0, operation.every.value.0, operation.times.value.0);
    if at >= horizon {
        errors.refuse(
            &operation.at.place,
            format!("`{at}` is at or after the horizon of {horizon}: it never happens"),
        );
        return;
    }
    let last = u128::from(at.as_nanos()) + u128::from(every.as_nanos()) * u128::from(times - 1);
    if last >= u128::from(horizon.as_nanos()) {
        // Calls that come before the horizon: `every` is above zero here, or the first would not have.
        let fit = (horizon.as_nanos() - at.as_nanos()).div_ceil(every.as_nanos());
        errors.refuse_with(
            &operation.times.place,
            format!("`{times}` calls every {every} do not fit before the horizon of {horizon}"),
            format!("`times = {fit}` do"),
        );
    }
}

fn traits(operation: &OperationFile) -> Subject {
    let mut traits = Subject::default();
    say(&mut traits, Attr::Role, &operation.role);
    if let Some(auth) = &operation.auth {
        traits.say(Attr::Auth, [auth.value.word()]);
    }
    say(&mut traits, Attr::UploadType, &operation.upload);
    if let Some(rows) = &operation.rows {
        traits.count(Attr::DatasetRows, [rows.value.0]);
    }
    if let Some(bytes) = &operation.bytes {
        traits.count(Attr::DatasetBytes, [bytes.value.0]);
    }
    say_all(&mut traits, Attr::EvaluationModels, &operation.uses);
    traits
}
