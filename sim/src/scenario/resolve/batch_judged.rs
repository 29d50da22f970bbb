//! What the limits say of batch jobs: of every job of a batch, and of the file of one.

use super::Context;
use super::batch::{Draft, listed};
use super::judged::World;
use crate::jobfile::{Contents, Fault, Format, Rules};
use crate::profile::{Attr, Counted, Limit, Mechanism, Source, Stage, Subject, Verb, concerns, judge};
use crate::request::INVALID_INPUT_FILE;
use crate::scenario::batch::{JobFault, JobRules, Submission};
use crate::scenario::batch_file::REQUESTS_MOST;
use crate::scenario::file::ScenarioFile;
use crate::scenario::input;
use crate::scenario::policy::reason_of;
use crate::scenario::{Lengths, Model, Workload};
use std::path::Path;
use std::sync::Arc;

/// What jobs are judged by.
pub(super) struct Judge<'a> {
    pub file: &'a ScenarioFile,
    /// Limits in force, in the order in which they are asked.
    pub limits: &'a [Limit],
    /// Accounts, endpoints and models; `None` where no limit asks for them.
    pub world: Option<&'a World<'a>>,
    pub models: &'a [Model],
    pub workloads: &'a [Workload],
}

impl Judge<'_> {
    /// Gives every batch its rules, and reads the files of its jobs.
    pub(super) fn all(&self, drafts: &mut [Draft], cx: &mut Context<'_>) {
        for draft in drafts {
            let workload = &self.workloads[usize::from(draft.batch.workload)];
            let model = workload.sender.candidates[0].0;
            let subject = self.subject(workload, &[model], &workload.sender.traits);
            self.rules(&subject, &mut draft.batch.rules);
            self.no_tier_is_looser(&subject, cx);
            let rules = draft.batch.rules.clone();
            for (job, path) in listed(&mut draft.batch).iter_mut().zip(&draft.files) {
                let Some(path) = path else { continue };
                if let Err(error) = self.read(job, path, &rules, workload, cx) {
                    let message = format!("`{}` cannot be read: {error}", path.display());
                    cx.errors.refuse(&draft.place.key("jobs"), message);
                }
            }
        }
    }

    fn subject(&self, workload: &Workload, models: &[usize], own: &Subject) -> Subject {
        let sender = &workload.sender;
        match self.world {
            Some(world) => world.subject(sender.account as usize, sender.endpoint, models, own),
            None => own.clone(),
        }
    }

    /// What holds of every job of the batch, whatever is in it.
    fn rules(&self, subject: &Subject, rules: &mut JobRules) {
        let concerned =
            self.limits.iter().enumerate().filter(|(_, limit)| concerns(limit, Verb::SubmitBatch, subject));
        for (index, limit) in concerned {
            let reason = reason_of(index);
            match &limit.mechanism {
                Mechanism::Size { attr: Attr::BatchRequests, range } => {
                    lower(&mut rules.requests, range.at_most.or(range.below.map(|bound| bound - 1)), reason);
                }
                Mechanism::Size { attr: Attr::BatchBytes, range } => {
                    lower(&mut rules.bytes, range.at_most.or(range.below.map(|bound| bound - 1)), reason);
                }
                Mechanism::Quota { counted: Counted::EnqueuedTokens, limit } => {
                    lower(&mut rules.tokens, *limit, reason);
                }
                _ => {}
            }
        }
        rules.fault = judge(self.limits, Verb::SubmitBatch, subject).refused.map(|refused| {
            let at_once = self.limits[refused.limit].stage != Stage::Validation;
            // Every line has it, the first as well.
            JobFault { reason: reason_of(refused.limit), line: u32::from(!at_once), at_once }
        });
    }

    /// What a scenario says of a security tier may tighten what is documented of everybody, not loosen it.
    fn no_tier_is_looser(&self, subject: &Subject, cx: &mut Context<'_>) {
        let quotas = || {
            self.limits.iter().filter_map(|limit| match limit.mechanism {
                Mechanism::Quota { counted: Counted::EnqueuedTokens, limit: Some(most) } => {
                    Some((limit, most))
                }
                _ => None,
            })
        };
        let concerned = || quotas().filter(|(limit, _)| concerns(limit, Verb::SubmitBatch, subject));
        let of_all =
            concerned().filter(|(limit, _)| limit.source != Source::Account).map(|(_, most)| most).min();
        for (limit, most) in concerned().filter(|(limit, _)| limit.source == Source::Account) {
            let Some(of_all) = of_all.filter(|of_all| most > *of_all) else { continue };
            let declared = self.file.limits.entries.iter().find(|(name, ..)| *name == limit.name);
            if let Some((_, place, _)) = declared {
                cx.errors.refuse_with(
                    &place.key("most"),
                    format!("`{most}` is looser than the {of_all} of every account: it would never act"),
                    "a tier tightens what holds of everybody; `source = \"negotiated\"` raises the limit itself",
                );
            }
        }
    }

    /// Fills in a job from its file. What is wrong inside the file is the job's fault, not the scenario's.
    fn read(
        &self,
        job: &mut Submission,
        path: &Path,
        rules: &JobRules,
        workload: &Workload,
        cx: &mut Context<'_>,
    ) -> std::io::Result<()> {
        let bytes = std::fs::metadata(path)?.len();
        job.bytes = Some(bytes);
        if rules.bytes.is_some_and(|(most, _)| bytes > most) {
            // Its submission is refused for its size: nobody looks inside.
            return Ok(());
        }
        let own = &workload.sender.traits;
        let said = |attr: Attr| own.words(attr).and_then(|words| words.first()).map(String::as_str);
        let asked = Rules {
            format: said(Attr::BatchProvider).and_then(Format::of),
            endpoint: said(Attr::BatchEndpoint).filter(|endpoint| *endpoint != "none"),
            requests: Some(rules.requests.map_or(REQUESTS_MOST, |(most, _)| most.min(REQUESTS_MOST))),
        };
        let input = cx.traces.input(path, &asked)?;
        let found = &input.contents;
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
        let judged = self.contents(found, workload);
        job.fault = input::earlier(judged, broken, |fault| (fault.at_once, fault.line.into()));
        if too_many {
            job.requests += 1;
        }
        if job.fault.is_none() {
            let most = most_asked(workload, self.models);
            let lines =
                input.lines.iter().map(|&(prompt, asked)| (prompt, asked.unwrap_or_else(|| most(prompt))));
            job.lines = Some(Arc::from_iter(lines));
        }
        Ok(())
    }

    /// The first thing in a file that a limit refuses: at once, or on the first line that has it.
    fn contents(&self, found: &Contents, workload: &Workload) -> Option<JobFault> {
        let subject = |line: u64| {
            let mut own = workload.sender.traits.clone();
            input::state(&mut own, found, line);
            self.subject(workload, &self.models(found, line, workload), &own)
        };
        let (limit, line) = input::first_refused(self.limits, found, subject)?;
        let at_once = self.limits[limit].stage != Stage::Validation;
        Some(JobFault { reason: reason_of(limit), line: u32::try_from(line).unwrap_or(u32::MAX), at_once })
    }

    /// The models of the scenario that a file names up to a line.
    fn models(&self, found: &Contents, line: u64, workload: &Workload) -> Vec<usize> {
        let mut models: Vec<usize> = Vec::new();
        for (name, _) in found.models.iter().filter(|(_, at)| *at <= line) {
            // A name that the scenario does not list is another one of the model that the batch asks for.
            let known = self.models.iter().position(|model| model.name == *name);
            let model = known.unwrap_or(workload.sender.candidates[0].0);
            if !models.contains(&model) {
                models.push(model);
            }
        }
        models
    }
}

/// The lowest of several bounds holds; the first of equals says why.
fn lower(bound: &mut Option<(u64, u16)>, most: Option<u64>, reason: u16) {
    if let Some(most) = most.filter(|most| bound.is_none_or(|(known, _)| *most < known)) {
        *bound = Some((most, reason));
    }
}

/// Output tokens that a line asks for at most when it does not say: what the batch declares, the most that its law of
/// outputs gives, or what the model's context leaves beside the prompt.
fn most_asked(workload: &Workload, models: &[Model]) -> impl Fn(u32) -> u32 {
    let context = models[workload.sender.candidates[0].0].context_tokens;
    let of_law = match &workload.lengths {
        Lengths::Independent { output, .. } if output.most().is_finite() => Some(output.most() as u32),
        _ => None,
    };
    let declared = workload.max_tokens.or(of_law);
    move |prompt| declared.unwrap_or(context.saturating_sub(prompt)).max(1)
}
