//! Batch jobs as rows of text.

use super::batch::BatchSummary;
use super::figure::{Figure, Unit, count};
use super::summary::Summary;
use super::table::Table;
use crate::observe::JobState;

/// Accounts that a table shows, at most; the summary has them all.
const ACCOUNTS: usize = 20;

impl Summary {
    /// What there is to say of batch jobs: jobs, requests and tokens, accounts where there are several, and reasons where
    /// there are any. Without rows where there is no batch.
    pub fn batch_tables(&self) -> [Table; 4] {
        [self.job_table(), self.job_request_table(), self.job_account_table(), self.job_reason_table()]
    }

    /// Jobs by what became of them, how many were done in time, and how long that took.
    fn job_table(&self) -> Table {
        let head = [
            "batch",
            "jobs",
            "completed",
            "expired",
            "failed or refused",
            "cancelled",
            "open",
            "in window",
            "95 % interval",
            "time p50",
            "time p95",
            "longest",
        ];
        let runs = match self.replications() {
            0 | 1 => String::new(),
            runs => format!("; counts over {runs} replications"),
        };
        let title =
            format!("Batch: jobs (in window: of those that were over or whose window had closed{runs})");
        let mut table = Table::new(title, &head);
        for batch in &self.batches {
            let last = JobState::ALL.into_iter().filter(|state| state.is_last());
            let over: u64 = last.map(|state| batch.state(state)).sum();
            let state = |state| count(batch.state(state));
            let share = batch.figure(crate::scenario::JobShare::Completed.name());
            table.push([
                batch.name.clone(),
                count(batch.jobs),
                state(JobState::Completed),
                state(JobState::Expired),
                count(batch.state(JobState::Failed) + batch.state(JobState::Refused)),
                state(JobState::Cancelled),
                open(batch, over),
                value(share),
                share.map_or_else(|| "-".to_owned(), Figure::interval_text),
                value(batch.figure("job time p50")),
                value(batch.figure("job time p95")),
                batch.longest_ns.map_or_else(|| "-".to_owned(), |ns| Unit::Ns.show(ns as f64)),
            ]);
        }
        table
    }

    /// Requests of jobs by what became of them, tokens that came out, and tokens that were enqueued.
    fn job_request_table(&self) -> Table {
        let head = [
            "batch",
            "requests",
            "completed",
            "failed",
            "expired",
            "cancelled",
            "unfinished",
            "token throughput",
            "enqueued peak",
            "enqueued at the end",
        ];
        let title =
            "Batch: requests of these jobs, and tokens (enqueued: of one account at its peak, whole runs)";
        let mut table = Table::new(title, &head);
        // A live client sees jobs, not when their tokens come.
        let is_seen = self.live.is_none();
        let seen = |text: String| if is_seen { text } else { "-".to_owned() };
        for batch in &self.batches {
            let of = &batch.requests;
            let workload = self.workloads.iter().find(|workload| workload.name == batch.name);
            table.push([
                batch.name.clone(),
                count(of.total),
                count(of.completed),
                count(of.failed),
                count(of.expired),
                count(of.cancelled),
                count(of.unfinished),
                seen(value(workload.and_then(|workload| workload.figure("token throughput")))),
                seen(count(batch.enqueued_peak)),
                seen(count(batch.enqueued_end)),
            ]);
        }
        table
    }

    /// What each account had, of batches that several accounts submit.
    fn job_account_table(&self) -> Table {
        let head =
            ["batch", "account", "jobs", "completed", "requests", "completed", "share of all completed"];
        let mut table = Table::new("", &head);
        let mut left = 0;
        for batch in self.batches.iter().filter(|batch| batch.accounts.len() > 1) {
            let all: u64 = batch.accounts.iter().map(|account| account.completed).sum();
            left += batch.accounts.len().saturating_sub(ACCOUNTS);
            for account in batch.accounts.iter().take(ACCOUNTS) {
                let share = account.completed as f64 / all.max(1) as f64;
                table.push([
                    batch.name.clone(),
                    account.account.to_string(),
                    count(account.jobs),
                    count(account.jobs_completed),
                    count(account.requests),
                    count(account.completed),
                    Unit::Share.show(share),
                ]);
            }
        }
        let more =
            if left > 0 { format!("; {} more in summary.json", count(left as u64)) } else { String::new() };
        table.title = format!("Batch: by account (jobs, then requests{more})");
        table
    }

    /// Why jobs were refused or failed.
    fn job_reason_table(&self) -> Table {
        let mut table = Table::new("Batch: why jobs were refused or failed", &["batch", "reason", "jobs"]);
        for batch in &self.batches {
            for (reason, jobs) in &batch.reasons {
                table.push([batch.name.clone(), reason.clone(), count(*jobs)]);
            }
        }
        table
    }
}

/// Jobs that were not over, and how many of them should have been.
fn open(batch: &BatchSummary, over: u64) -> String {
    let open = count(batch.jobs - over);
    if batch.overdue > 0 { format!("{open} ({} overdue)", count(batch.overdue)) } else { open }
}

fn value(figure: Option<&Figure>) -> String {
    figure.map_or_else(|| "-".to_owned(), Figure::value_text)
}
