//! Claims about the jobs of a batch.

use super::{Finding, text};
use crate::observe::JobState;
use crate::observe::jobs::{JobBook, JobRequests, JobStory};
use crate::scenario::policy::{Claim, Expectation, JOB_REQUESTS};
use crate::time::Time;

/// What was found about a claim of jobs; `book` has all jobs of the batch.
pub(super) fn find(book: &JobBook, expected: &Expectation, claim: &Claim) -> Finding {
    let inside = |job: &&JobStory| job.last.created >= expected.from && job.last.created < expected.until;
    let jobs: Vec<&JobStory> = book.jobs.iter().filter(inside).collect();
    let count = |found: u64, wanted: u64| Finding::new(found.to_string(), found == wanted);
    match claim {
        Claim::Jobs(wanted) => {
            let mut found = [0; JobState::ALL.len()];
            jobs.iter().for_each(|job| found[job.last.state as usize] += 1);
            Finding::new(states(&found), found == *wanted)
        }
        Claim::JobRequests(wanted) => {
            let mut all = JobRequests::default();
            jobs.iter().for_each(|job| all.add(&job.last.requests));
            let found = [all.completed, all.failed, all.expired, all.cancelled, all.unfinished()];
            Finding::new(requests(&found), found == *wanted)
        }
        Claim::JobsFor(reason, wanted) => {
            let found = jobs.iter().filter(|job| job.reason() == Some(*reason)).count();
            count(found as u64, *wanted)
        }
        Claim::JobStates(wanted) => each(jobs.iter().map(|job| job.last.state), wanted, names),
        Claim::JobEnds(wanted) => each(jobs.iter().map(|job| job.ended()), wanted, ends),
        Claim::JobLines(wanted) => each(jobs.iter().map(|job| job.last.line), wanted, lines),
        Claim::EnqueuedPeak(wanted) => count(book.peak, *wanted),
        Claim::EnqueuedEnd(wanted) => count(book.enqueued(), *wanted),
        other => unreachable!("{other:?} is not of jobs"),
    }
}

/// A claim about each job in order of submission, all of them.
fn each<T: Copy + PartialEq>(
    found: impl Iterator<Item = T>,
    wanted: &[T],
    shown: fn(&[T]) -> String,
) -> Finding {
    let found: Vec<T> = found.collect();
    let mut text = shown(&found);
    if let Some(place) = found.iter().zip(wanted).position(|(a, b)| a != b) {
        text += &format!(" (differs first at job {place}: {})", shown(&found[place..=place]));
    } else if found.len() != wanted.len() {
        text += &format!(" ({} jobs, not {})", found.len(), wanted.len());
    }
    Finding::new(text, found == wanted)
}

/// Jobs by state: those there are.
pub(super) fn states(counts: &[u64; JobState::ALL.len()]) -> String {
    counted(JobState::ALL.iter().map(|state| state.name()).zip(counts))
}

/// Requests by what became of them: those there are.
pub(super) fn requests(counts: &[u64; JOB_REQUESTS.len()]) -> String {
    counted(JOB_REQUESTS.into_iter().zip(counts))
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, &'a u64)>) -> String {
    let there = counts.filter(|(_, count)| **count > 0).map(|(name, count)| format!("{count} {name}"));
    or_none(there.collect::<Vec<_>>().join(", "))
}

/// States of jobs, one after the other.
pub(super) fn names(states: &[JobState]) -> String {
    or_none(text::shortened(states.iter().map(|state| state.name().to_owned())))
}

/// Instants at which jobs were over.
pub(super) fn ends(ends: &[Option<Time>]) -> String {
    or_none(text::shortened(ends.iter().copied().map(text::instant)))
}

/// Lines of files.
pub(super) fn lines(lines: &[u32]) -> String {
    or_none(text::shortened(lines.iter().map(u32::to_string)))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}
