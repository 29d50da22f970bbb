//! What the limits say of batch jobs: of every job of a batch, and of the file of one.

use super::Context;
use super::batch::{Draft, listed};
use super::judged::World;
use crate::jobfile::{Contents, Format, Rules};
use crate::profile::{Attr, Counted, Limit, Mechanism, Source, Stage, Subject, Verb, concerns, judge};
use crate::scenario::batch::{JobFault, JobRules, Submission};
use crate::scenario::batch_file::REQUESTS_MOST;
use crate::scenario::file::ScenarioFile;
use crate::scenario::policy::reason_of;
use crate::scenario::{Model, Workload};
use crate::scenario::{handed, input};
use std::path::Path;

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
        let judged = self.contents(&input.contents, workload);
        let context = self.models[workload.sender.candidates[0].0].context_tokens;
        handed::settle(job, &input.contents, &input.lines, judged, rules, workload, context);
        Ok(())
    }

    /// The first thing in a file that a limit refuses: at once, or on the first line that has it.
    fn contents(&self, found: &Contents, workload: &Workload) -> Option<JobFault> {
        let subject = |line: u64| {
            let mut own = workload.sender.traits.clone();
            input::state(&mut own, found, line);
            self.subject(workload, &handed::models(self.models, found, line, workload), &own)
        };
        let (limit, line) = input::first_refused(self.limits, found, subject)?;
        let at_once = self.limits[limit].stage != Stage::Validation;
        Some(JobFault { reason: reason_of(limit), line: u32::try_from(line).unwrap_or(u32::MAX), at_once })
    }
}

/// The lowest of several bounds holds; the first of equals says why.
fn lower(bound: &mut Option<(u64, u16)>, most: Option<u64>, reason: u16) {
    if let Some(most) = most.filter(|most| bound.is_none_or(|(known, _)| *most < known)) {
        *bound = Some((most, reason));
    }
}
