//! What a summary says of batch jobs, and the file that has a line for each.

use super::figure::{Estimate, Figure, Unit, count, measure_name, measure_unit};
use super::files::ResultsError;
use super::policy::by_reason;
use super::timeline::encode_rows;
use crate::observe::JobState;
use crate::observe::jobs::{JobRecord, JobStory};
use crate::observe::recording::{Asked, Recording};
use crate::scenario::{Batch, Scenario};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Jobs of one batch, over all replications: those that were submitted in the counted window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSummary {
    /// Its name, which is that of its workload.
    pub name: String,
    /// Time that a job has, nanoseconds.
    pub window_ns: u64,
    /// Jobs that were submitted, refused ones included.
    pub jobs: u64,
    /// Those of them that were over, or whose window had closed: what the shares are of.
    pub decided: u64,
    /// Jobs by the state they were in last; sums to `jobs`.
    pub states: BTreeMap<String, u64>,
    /// Jobs that were not over although their window had closed.
    pub overdue: u64,
    /// Jobs that are not among `jobs` because they were submitted in the warm-up.
    pub uncounted: u64,
    /// Their requests, by what became of them.
    pub requests: BatchRequests,
    /// Shares of the decided jobs and of their requests, and how long the completed ones took.
    pub figures: Vec<Figure>,
    /// The longest time of a completed job, nanoseconds; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ns: Option<u64>,
    /// Completed jobs that took longer than 48 h: a quantile among them is reported as the longest time.
    pub above_48h: u64,
    /// Most tokens that one account had enqueued at once; this and the next of whole runs, warm-up included.
    pub enqueued_peak: u64,
    /// Tokens enqueued when the runs ended, over all accounts and replications.
    pub enqueued_end: u64,
    /// Why jobs were refused or failed; only what happened.
    pub reasons: BTreeMap<String, u64>,
    /// By account.
    pub accounts: Vec<BatchAccount>,
}

/// Requests of jobs, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequests {
    /// All of them: the sum of the others.
    pub total: u64,
    /// Answered.
    pub completed: u64,
    /// Ended in an error, other than the two below.
    pub failed: u64,
    /// Not done when the window of their job closed.
    pub expired: u64,
    /// Not done when their job was cancelled.
    pub cancelled: u64,
    /// Not over when the run ended, or never begun because their job was refused or failed.
    pub unfinished: u64,
}

/// What one account had of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAccount {
    /// Its number over the whole scenario.
    pub account: u32,
    /// Jobs that it submitted.
    pub jobs: u64,
    /// Those of them that were completed.
    pub jobs_completed: u64,
    /// Requests of its jobs.
    pub requests: u64,
    /// Those of them that were answered.
    pub completed: u64,
}

impl BatchSummary {
    /// One a batch, in the scenario's order.
    pub(super) fn all(
        scenario: &Scenario,
        recording: &Recording,
        answers: &[(Asked, Option<Estimate>)],
    ) -> Vec<Self> {
        let batches = scenario.batches.iter().zip(&recording.batches);
        batches.map(|(batch, record)| Self::new(scenario, batch, record, answers)).collect()
    }

    fn new(
        scenario: &Scenario,
        batch: &Batch,
        record: &JobRecord,
        answers: &[(Asked, Option<Estimate>)],
    ) -> Self {
        let figures = answers.iter().filter_map(|(asked, estimate)| match asked {
            Asked::Workload(whose, measure) if *whose == Some(record.workload) && measure.is_of_jobs() => {
                Some(Figure { name: measure_name(measure), unit: measure_unit(measure), estimate: *estimate })
            }
            _ => None,
        });
        let of = &record.requests;
        BatchSummary {
            name: record.name.clone(),
            window_ns: batch.window.as_nanos(),
            jobs: record.jobs(),
            decided: record.decided_jobs(),
            states: JobState::ALL.iter().map(|s| (s.name().to_owned(), record.state(*s))).collect(),
            overdue: record.overdue,
            uncounted: record.uncounted,
            requests: BatchRequests {
                total: of.total,
                completed: of.completed,
                failed: of.failed,
                expired: of.expired,
                cancelled: of.cancelled,
                unfinished: of.unfinished(),
            },
            figures: figures.collect(),
            longest_ns: record.time.most().map(crate::time::Span::as_nanos),
            above_48h: record.time.above_range(),
            enqueued_peak: record.enqueued_peak,
            enqueued_end: record.enqueued_end,
            reasons: by_reason(&scenario.policy, &record.reasons),
            accounts: (record.first_account..)
                .zip(&record.accounts)
                .map(|(account, own)| BatchAccount {
                    account,
                    jobs: own.jobs,
                    jobs_completed: own.jobs_completed,
                    requests: own.requests,
                    completed: own.completed,
                })
                .collect(),
        }
    }

    /// What must be known before its shares are believed: jobs that are in none of them.
    pub(super) fn caveats(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        let (name, open) = (&self.name, self.jobs - self.decided);
        if self.uncounted > 0 {
            let jobs = count(self.uncounted);
            caveats.push(format!("batch `{name}`: {jobs} jobs submitted in the warm-up are not counted"));
        }
        if open > 0 {
            let completed = self.state(JobState::Completed);
            let of = |jobs: u64| Unit::Share.show(jobs as f64 / self.jobs as f64);
            caveats.push(format!(
                "batch `{name}`: the window of {} of {} jobs was open when the run ended; they are in no share, which \
                 favours jobs that end early: of all jobs {} were completed, and {} if all of these will be",
                count(open),
                count(self.jobs),
                of(completed),
                of(completed + open)
            ));
        }
        caveats
    }

    /// The figure called `name`.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Jobs whose last state was `state`.
    pub fn state(&self, state: JobState) -> u64 {
        self.states.get(state.name()).copied().unwrap_or(0)
    }
}

/// A line of `jobs.csv`: one job of the first replication, whenever it was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its batch.
    pub batch: String,
    /// Its number in the batch, from 0, in order of submission.
    pub job: u32,
    /// Its account, numbered over the whole scenario.
    pub account: u32,
    /// When it was submitted, seconds since the start of the scenario.
    pub created_s: f64,
    /// When its requests could first be worked on; empty when they never could.
    pub started_s: Option<f64>,
    /// When it was over; empty when it was not.
    pub ended_s: Option<f64>,
    /// When its window closed.
    pub expires_s: f64,
    /// The state it was in last.
    pub state: String,
    /// Its requests; what is in none of the next four had not ended.
    pub requests: u32,
    /// Those that were answered.
    pub completed: u32,
    /// Those that ended in another error than the two below.
    pub failed: u32,
    /// Those that were not done when the window closed.
    pub expired: u32,
    /// Those that were not done when it was cancelled.
    pub cancelled: u32,
    /// Tokens that it enqueued, given back or not.
    pub tokens: u64,
    /// Why it was refused or failed; empty when it was not.
    pub reason: String,
    /// Line of its file that this is about, from 1; empty when it is about none.
    pub line: Option<u32>,
}

const JOBS_HEADER: [&str; 16] = [
    "batch",
    "job",
    "account",
    "created_s",
    "started_s",
    "ended_s",
    "expires_s",
    "state",
    "requests",
    "completed",
    "failed",
    "expired",
    "cancelled",
    "tokens",
    "reason",
    "line",
];

/// The lines of `jobs.csv`: batch by batch, in order of submission.
pub(super) fn job_rows(scenario: &Scenario, jobs: &[JobStory]) -> Vec<JobRow> {
    let row = |story: &JobStory| {
        let fact = &story.last;
        let seconds = crate::time::Time::as_secs_f64;
        JobRow {
            batch: scenario.batches[usize::from(fact.batch)].name.clone(),
            job: fact.job,
            account: fact.owner,
            created_s: seconds(fact.created),
            started_s: story.started.map(seconds),
            ended_s: story.ended().map(seconds),
            expires_s: seconds(fact.expires),
            state: fact.state.name().to_owned(),
            requests: fact.requests.total,
            completed: fact.requests.completed,
            failed: fact.requests.failed,
            expired: fact.requests.expired,
            cancelled: fact.requests.cancelled,
            tokens: fact.tokens,
            reason: story
                .reason()
                .map_or_else(String::new, |reason| scenario.policy.reason_name(reason).to_owned()),
            line: (fact.line > 0).then_some(fact.line),
        }
    };
    jobs.iter().map(row).collect()
}

/// The lines of `jobs.csv` as CSV text.
pub(super) fn encode_jobs(rows: &[JobRow]) -> Vec<u8> {
    encode_rows(rows, &JOBS_HEADER)
}

/// Reads `jobs.csv` back; no lines when there is no such file.
pub(super) fn read_jobs(path: &Path) -> Result<Vec<JobRow>, ResultsError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = super::files::read_text(path)?;
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| ResultsError::malformed(path, error))
}
