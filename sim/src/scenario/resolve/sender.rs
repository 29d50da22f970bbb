//! Senders: who sends a workload's requests, what limits can know of them, and the numbers of tokens and users.

use super::account::{Accounts, say, say_all};
use super::dist;
use crate::profile::{Attr, Subject};
use crate::scenario::Workload;
use crate::scenario::decode::At;
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::{ScenarioFile, WorkloadFile};
use crate::scenario::leaf::Name;
use crate::scenario::policy::{Endpoint, Sender};
use crate::scenario::policy_file::RequestFile;

/// The sender of a workload; its token and user get their numbers when all are known.
pub(super) fn sender(
    place: &Place,
    workload: &WorkloadFile,
    endpoint: Option<(usize, &Endpoint)>,
    file: &ScenarioFile,
    accounts: &Accounts,
    errors: &mut Errors,
) -> Option<Sender> {
    let account = match (&workload.account, endpoint) {
        (None, Some((_, endpoint))) => Some(endpoint.account),
        (name, _) => accounts.find(name.as_ref(), place, file, errors),
    };
    let request = &workload.request.value;
    let mut traits = traits(request);
    accounts.check_in(account, request.from.as_ref(), &mut traits, errors);
    let body = match &request.body {
        Some(at) => Some(dist::dist(at, errors)?),
        None => None,
    };
    Some(Sender {
        account: account? as u32,
        endpoint: endpoint.map(|(index, _)| index),
        traits,
        body,
        overhead: endpoint.and_then(|(_, endpoint)| endpoint.overhead.clone()),
        ..Sender::default()
    })
}

fn traits(request: &RequestFile) -> Subject {
    let mut traits = Subject::default();
    if let Some(auth) = &request.auth {
        traits.say(Attr::Auth, [auth.value.word()]);
    }
    say(&mut traits, Attr::Role, &request.role);
    for (attr, count) in [
        (Attr::Messages, &request.messages),
        (Attr::Stops, &request.stops),
        (Attr::Choices, &request.choices),
    ] {
        if let Some(count) = count {
            traits.count(attr, [count.value.0]);
        }
    }
    say_all(&mut traits, Attr::Modality, &request.modality);
    say_all(&mut traits, Attr::Tools, &request.tools);
    say_all(&mut traits, Attr::Features, &request.features);
    for (attr, flag) in
        [(Attr::Thinking, &request.thinking), (Attr::ZeroDataRetention, &request.zero_data_retention)]
    {
        if let Some(flag) = flag {
            traits.flag(attr, flag.value);
        }
    }
    if let Some(residency) = &request.residency {
        traits.say(Attr::Residency, [residency.value.word()]);
    }
    traits
}

/// Names by number, in order of first use.
#[derive(Default)]
pub(super) struct Numbered(pub Vec<String>);

impl Numbered {
    /// The number of a name; a new one when it was not used before.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        let known = self.0.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        index as u32
    }

    /// Names of their own for the tenants of a workload; the number of the first.
    fn tenants(&mut self, workload: &str, tenants: u32) -> u32 {
        let first = self.0.len() as u32;
        match tenants {
            1 => self.0.push(workload.to_owned()),
            _ => self.0.extend((0..tenants).map(|tenant| format!("{workload}/{tenant}"))),
        }
        first
    }
}

/// Tokens and users.
#[derive(Default)]
pub(super) struct Callers {
    pub tokens: Numbered,
    pub users: Numbered,
}

impl Callers {
    /// Those that workloads name; operations add theirs.
    pub(super) fn named(file: &ScenarioFile) -> Callers {
        let mut callers = Callers::default();
        for workload in enabled(file) {
            let name = |at: &At<Name>| at.value.as_str().to_owned();
            workload.token.as_ref().map(|at| callers.tokens.number(&name(at)));
            workload.user.as_ref().map(|at| callers.users.number(&name(at)));
        }
        callers
    }

    /// Gives every workload its numbers. Tenants come after all names.
    pub(super) fn assign(&mut self, file: &ScenarioFile, workloads: &mut [Workload]) {
        for (workload, file) in workloads.iter_mut().zip(enabled(file)) {
            let (name, tenants) = (&workload.name, workload.tenants);
            let sender = &mut workload.sender;
            (sender.first_token, sender.one_token) = match &file.token {
                Some(at) => (self.tokens.number(at.value.as_str()), true),
                None => (self.tokens.tenants(name, tenants), false),
            };
            (sender.first_user, sender.one_user) = match &file.user {
                Some(at) => (self.users.number(at.value.as_str()), true),
                None => (self.users.tenants(name, tenants), false),
            };
        }
    }
}

/// Workloads that are not switched off, in the order of the file.
fn enabled(file: &ScenarioFile) -> impl Iterator<Item = &WorkloadFile> {
    let read = file.workloads.entries.iter().filter_map(|(_, _, workload)| workload.as_ref());
    read.filter(|workload| workload.enabled.value)
}
