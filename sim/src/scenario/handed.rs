//! Files of batch requests that are handed in while a scenario runs, judged as the files that it lists are.

use super::batch::{JobFault, JobRules, Submission};
use super::batch_file::REQUESTS_MOST;
use super::catalog::{Catalog, subject};
use super::policy::reason_of;
use super::{Lengths, Model, Scenario, Workload, input};
use crate::jobfile::{self, Contents, Fault, Format, Rules};
use crate::profile::{Attr, Stage};
use crate::request::INVALID_INPUT_FILE;
use crate::time::Time;
use std::sync::Arc;

/// A file that was handed in.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The job that it makes, at no time yet.
    pub submission: Submission,
    /// What is in it; `None` when its size alone refuses it, so that it was not read.
    pub contents: Option<Contents>,
}

/// The job that `file` makes when account `owner` (below the owners of the batch) submits it to batch `index`. `provider`
/// and `endpoint` are what the submission states beside the file; what the scenario states of its jobs stands where it
/// states nothing. O(file) time, 8 bytes of memory for each request.
///
/// # Panics
/// When the scenario has no such batch.
pub fn hand_in(
    scenario: &Scenario,
    index: usize,
    owner: u32,
    file: &[u8],
    provider: Option<&str>,
    endpoint: Option<&str>,
) -> Handed {
    let batch = &scenario.batches[index];
    let workload = &scenario.workloads[usize::from(batch.workload)];
    let bytes = file.len() as u64;
    let mut job =
        Submission { at: Time::ZERO, owner, requests: 0, bytes: Some(bytes), lines: None, fault: None };
    if batch.rules.bytes.is_some_and(|(most, _)| bytes > most) {
        // Its submission is refused for its size: nobody looks inside.
        return Handed { submission: job, contents: None };
    }
    let mut own = workload.sender.traits.clone();
    for (attr, word) in [(Attr::BatchProvider, provider), (Attr::BatchEndpoint, endpoint)] {
        if let Some(word) = word {
            own.say(attr, [word]);
        }
    }
    let said = |attr: Attr| own.words(attr).and_then(|words| words.first()).map(String::as_str);
    let asked = Rules {
        format: said(Attr::BatchProvider).and_then(Format::of),
        endpoint: said(Attr::BatchEndpoint).filter(|endpoint| *endpoint != "none"),
        requests: Some(batch.rules.requests.map_or(REQUESTS_MOST, |(most, _)| most.min(REQUESTS_MOST))),
    };
    let mut lines = Vec::new();
    let found = jobfile::read(file, &asked, |prompt, output| lines.push((prompt, output)))
        .expect("bytes in memory can be read");
    let catalog = Catalog::new(&scenario.models);
    let policy = &scenario.policy;
    let about = |line: u64| {
        let mut own = own.clone();
        input::state(&mut own, &found, line);
        let endpoint = workload.sender.endpoint.map(|endpoint| &policy.endpoints[endpoint].traits);
        let account = policy.accounts.get(workload.sender.account as usize);
        subject(&catalog, account, endpoint, &models(&scenario.models, &found, line, workload), &own)
    };
    let judged = input::first_refused(&policy.limits, &found, about).map(|(limit, line)| JobFault {
        reason: reason_of(limit),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        at_once: policy.limits[limit].stage != Stage::Validation,
    });
    let context = scenario.models[workload.sender.candidates[0].0].context_tokens;
    settle(&mut job, &found, &lines, judged, &batch.rules, workload, context);
    Handed { submission: job, contents: Some(found) }
}

/// Fills in a job from what was read of its file, and from what the limits refuse of it. `context` is that of its model.
pub(super) fn settle(
    job: &mut Submission,
    found: &Contents,
    lines: &[(u32, Option<u32>)],
    judged: Option<JobFault>,
    rules: &JobRules,
    workload: &Workload,
    context: u32,
) {
    job.requests = found.requests as u32;
    let too_many = matches!(found.fault, Some((_, Fault::TooMany { .. })));
    let broken = found.fault.as_ref().map(|(line, _)| JobFault {
        reason: INVALID_INPUT_FILE,
        line: u32::try_from(*line).unwrap_or(u32::MAX),
        at_once: false,
    });
    // That there are too many is a rule of its own, of the line after the last that may be.
    let broken = match (broken, rules.requests) {
        (Some(fault), Some((_, reason))) if too_many => Some(JobFault { reason, ..fault }),
        (broken, _) => broken,
    };
    job.fault = input::earlier(judged, broken, |fault| (fault.at_once, fault.line.into()));
    if too_many {
        job.requests += 1;
    }
    if job.fault.is_none() {
        let most = most_asked(workload, context);
        let lines = lines.iter().map(|&(prompt, asked)| (prompt, asked.unwrap_or_else(|| most(prompt))));
        job.lines = Some(Arc::from_iter(lines));
    }
}

/// The models of the scenario that a file names up to a line.
pub(super) fn models(known: &[Model], found: &Contents, line: u64, workload: &Workload) -> Vec<usize> {
    let mut models: Vec<usize> = Vec::new();
    for (name, _) in found.models.iter().filter(|(_, at)| *at <= line) {
        // A name that the scenario does not list is another one of the model that the batch asks for.
        let listed = known.iter().position(|model| model.name == *name);
        let model = listed.unwrap_or(workload.sender.candidates[0].0);
        if !models.contains(&model) {
            models.push(model);
        }
    }
    models
}

/// Output tokens that a line asks for at most when it does not say: what the batch declares, the most that its law of
/// outputs gives, or what the model's context leaves beside the prompt.
fn most_asked(workload: &Workload, context: u32) -> impl Fn(u32) -> u32 {
    let of_law = match &workload.lengths {
        Lengths::Independent { output, .. } if output.most().is_finite() => Some(output.most() as u32),
        _ => None,
    };
    let declared = workload.max_tokens.or(of_law);
    move |prompt| declared.unwrap_or(context.saturating_sub(prompt)).max(1)
}
