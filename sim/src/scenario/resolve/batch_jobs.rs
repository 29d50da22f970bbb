//! The jobs of a batch: when they are submitted, how large they are, which are cancelled.

use super::{Context, dist};
use crate::scenario::batch::{Cancel, Jobs, Submission};
use crate::scenario::batch_file::{BatchFile, DrawnFile, JobFile, JobsFile, REQUESTS_MOST};
use crate::scenario::decode::At;
use crate::scenario::diagnostic::Errors;
use crate::time::{Span, Time};
use std::path::PathBuf;

/// Jobs, and the file of each that has one.
pub(super) struct Resolved {
    pub jobs: Jobs,
    pub files: Vec<Option<PathBuf>>,
}

pub(super) fn resolve(batch: &BatchFile, horizon: Option<Span>, cx: &mut Context<'_>) -> Option<Resolved> {
    match &batch.jobs.value {
        JobsFile::Drawn(file) => {
            let jobs = drawn(file, horizon, cx.errors)?;
            Some(Resolved { jobs, files: Vec::new() })
        }
        JobsFile::Listed(jobs) => listed(jobs, batch, horizon, cx),
    }
}

fn drawn(file: &DrawnFile, horizon: Option<Span>, errors: &mut Errors) -> Option<Jobs> {
    let before = errors.count();
    never(&file.first, horizon, errors);
    let gap = dist::dist(&file.every, errors);
    if let (Some(gap), None) = (&gap, &file.most)
        && gap.mean() <= 0.0
    {
        errors.refuse_with(
            &file.every.place,
            "`0s` from one job to the next submits jobs without end",
            "give the number of jobs with `most`",
        );
    }
    let requests = dist::dist(&file.requests, errors).and_then(|requests| {
        // What the file does not bound is bounded by what a job may have.
        let (least, most) = dist::bounds(&file.requests.value);
        if least.is_some() && most.is_some() {
            return Some(requests);
        }
        let clipped = requests.clipped(least.unwrap_or(1.0), most.unwrap_or(REQUESTS_MOST as f64));
        clipped.map_err(|error| errors.refuse(&file.requests.place, error.to_string())).ok()
    });
    (errors.count() == before).then_some(())?;
    let most = file.most.as_ref().map(|at| at.value.small());
    Some(Jobs::Drawn { first: file.first.value.0, gap: gap?, most, requests: requests? })
}

fn listed(
    jobs: &[At<JobFile>],
    batch: &BatchFile,
    horizon: Option<Span>,
    cx: &mut Context<'_>,
) -> Option<Resolved> {
    let before = cx.errors.count();
    let accounts = batch.accounts.value.0;
    let (mut listed, mut files) = (Vec::new(), Vec::new());
    let mut last = Span::ZERO;
    for job in jobs {
        let JobFile { at, requests, bytes, account, file } = &job.value;
        never(at, horizon, cx.errors);
        if at.value.0 < last {
            cx.errors.refuse_with(
                &at.place,
                format!("`{}` is before {last}, when the job before it is submitted", at.value.0),
                "list jobs in order of time: they are numbered by it",
            );
        }
        last = at.value.0;
        if account.value.0 >= accounts {
            cx.errors.refuse_with(
                &account.place,
                format!("`{}` is not below the {accounts} `accounts` of the batch", account.value.0),
                "accounts are numbered from 0",
            );
        }
        match (requests, file) {
            (Some(requests), Some(_)) => cx.errors.refuse_with(
                &requests.place,
                "`file` has the requests already",
                "keep one of the two",
            ),
            (None, None) => cx.errors.refuse_with(
                &job.place,
                "the key `requests` is missing",
                "give their number, or a `file` with them",
            ),
            _ => {}
        }
        if let (Some(bytes), Some(_)) = (bytes, file) {
            cx.errors.refuse(&bytes.place, "`file` has a size of its own: `bytes` would say another");
        }
        files.push(file.as_ref().and_then(|file| cx.traces.requests(file, cx.errors)));
        listed.push(Submission {
            at: Time::ZERO.saturating_add(at.value.0),
            owner: account.value.0 as u32,
            requests: requests.as_ref().map_or(0, |at| at.value.small()),
            bytes: bytes.as_ref().map(|at| at.value.0),
            lines: None,
            fault: None,
        });
    }
    (cx.errors.count() == before).then_some(Resolved { jobs: Jobs::Listed(listed), files })
}

/// What is submitted at or after the horizon never is.
fn never(at: &At<crate::scenario::leaf::Delay>, horizon: Option<Span>, errors: &mut Errors) {
    let at_or_after = |horizon: &Span| at.value.0 >= *horizon;
    if let Some(horizon) = horizon.filter(at_or_after) {
        errors.refuse(
            &at.place,
            format!("`{}` is at or after the horizon of {horizon}: nothing is submitted then", at.value.0),
        );
    }
}

/// Cancellations in order of time.
pub(super) fn cancels(batch: &BatchFile, errors: &mut Errors) -> Option<Vec<Cancel>> {
    let before = errors.count();
    let listed = batch.jobs.value.listed();
    let count = match &batch.jobs.value {
        JobsFile::Listed(jobs) => Some(jobs.len() as u64),
        JobsFile::Drawn(file) => file.most.as_ref().map(|at| at.value.0),
    };
    let mut cancels: Vec<Cancel> = Vec::new();
    for cancel in batch.cancels.iter().flat_map(|at| &at.value) {
        let (job, at) = (&cancel.value.job, &cancel.value.at);
        let number = job.value.small();
        if let Some(count) = count.filter(|count| job.value.0 >= *count) {
            errors.refuse_with(
                &job.place,
                format!("`{number}` is not below the {count} jobs of the batch: there is no such job"),
                "jobs are numbered from 0, in order of submission",
            );
        }
        if cancels.iter().any(|other| other.job == number) {
            errors.refuse(&job.place, format!("job `{number}` is cancelled twice"));
        }
        if let Some(submitted) = listed.get(number as usize).map(|job| job.value.at.value.0)
            && at.value.0 < submitted
        {
            errors.refuse(
                &at.place,
                format!("`{}` is before {submitted}, when job {number} is submitted", at.value.0),
            );
        }
        cancels.push(Cancel { job: number, at: Time::ZERO.saturating_add(at.value.0) });
    }
    cancels.sort_by_key(|cancel| cancel.at);
    (errors.count() == before).then_some(cancels)
}
