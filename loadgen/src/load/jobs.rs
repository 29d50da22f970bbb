//! Batch jobs beside interactive load: submitted when the scenario says, watched until they are over or the horizon is.
//!
//! What a job is made of is drawn from the simulator's own source. Only the time of its states can be seen from outside, to
//! within the pause between two looks; when its single requests are worked on cannot.

use super::block::Block;
use super::record::{Fact, Lines};
use super::safety::Price;
use super::sending::Alive;
use crate::client::batch::{CallError, JobStatus, LineCounts};
use crate::client::request::{Form, path};
use hyper::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use tidegate_sim::observe::{JobCounts, JobFact};
use tidegate_sim::request::{Refusal, UNATTRIBUTED};
use tidegate_sim::scenario::batch::JobState;
use tidegate_sim::scenario::live::Api;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::JobSource;
use tidegate_sim::workload::jobs::Submitted;

/// Time between two looks at a job.
const LOOK: Duration = Duration::from_millis(250);
/// Looks that fail in a row before a job is given up.
const FAILURES: u32 = 20;
/// How long the end of a block waits for jobs to be called off.
const GOODBYE: Duration = Duration::from_secs(5);

/// Starts the jobs of a block.
pub(super) fn start(block: &Arc<Block>, alive: &Alive) {
    for batch in 0..block.setting.scenario.batches.len() {
        tokio::spawn(submit_all(Arc::clone(block), batch, alive.clone()));
    }
}

/// Submits the jobs of one batch at their times, each followed by a task of its own.
async fn submit_all(block: Arc<Block>, batch: usize, alive: Alive) {
    let scenario = Arc::clone(&block.setting.scenario);
    let mut source = JobSource::new(&scenario, batch, block.seed);
    while let Some(submitted) = source.submit() {
        let due = submitted.job.at.as_nanos();
        tokio::select! {
            () = block.alarm.until(&block.clock, due) => {}
            () = block.stop.cancelled() => return,
        }
        if block.stop.is_cancelled() {
            return;
        }
        let job = Job::new(&block, batch, &source, &submitted);
        // In order of submission, whatever becomes of them.
        job.tell(Time::from_nanos(due), JobState::Validating, JobCounts::default(), None, 0);
        let file = job.file(&mut source, &submitted);
        tokio::spawn(job.live(file, alive.clone()));
    }
}

/// A job on its way.
struct Job {
    block: Arc<Block>,
    batch: u16,
    number: u32,
    owner: u32,
    account: u32,
    created: Time,
    expires: Time,
    requests: u32,
    tokens: u64,
    form: Form,
    endpoint: String,
}

/// The file of a job, and what it asks for.
struct File {
    bytes: Vec<u8>,
    price: Price,
}

impl Job {
    fn new(block: &Arc<Block>, batch: usize, source: &JobSource<'_>, submitted: &Submitted) -> Self {
        let scenario = &block.setting.scenario;
        let spec = &scenario.batches[batch];
        let workload = usize::from(spec.workload);
        let wire = &scenario.workloads[workload].wire;
        let api = if wire.api == Api::Databricks { Api::Chat } else { wire.api };
        let draws = source.open(submitted);
        Job {
            block: Arc::clone(block),
            batch: batch as u16,
            number: submitted.number,
            owner: spec.owner + submitted.job.owner,
            account: submitted.job.owner,
            created: submitted.job.at,
            expires: submitted.job.at.saturating_add(spec.window),
            requests: submitted.job.requests,
            tokens: source.tokens(&draws, submitted.job.requests),
            form: block.setting.forms[workload].of_lines(api, scenario.wire_name(workload)),
            endpoint: path(api, ""),
        }
    }

    /// The file, line by line.
    fn file(&self, source: &mut JobSource<'_>, submitted: &Submitted) -> File {
        let mut draws = source.open(submitted);
        let (mut bytes, mut price) = (Vec::new(), Price::default());
        for line in 0..self.requests {
            let mut arrival = source.request(&mut draws, self.account, self.created);
            // The model says no more than it is asked for.
            arrival.head.max_tokens.get_or_insert(arrival.draw.output_tokens);
            let one = Price::of(&arrival.head, &arrival.draw);
            price = Price { prompt: price.prompt + one.prompt, output: price.output + one.output };
            let id = format!("{{\"custom_id\":\"{}-{line}\",\"method\":\"POST\",", self.number);
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(format!("\"url\":\"{}\",\"body\":", self.endpoint).as_bytes());
            bytes.extend_from_slice(&self.block.line(&self.form, &arrival));
            bytes.extend_from_slice(b"}\n");
        }
        File { bytes, price }
    }

    async fn live(self, file: File, alive: Alive) {
        let workload = self.block.setting.scenario.batches[usize::from(self.batch)].workload;
        let lines = Lines { scheduled: self.requests.into(), ..Lines::default() };
        let stop = self.block.stop.clone();
        let taken = self.block.setting.spent.take_many(self.requests.into(), file.price);
        if let Err(cap) = taken {
            self.block.setting.give_up(cap.text());
            self.end(JobState::Failed, JobCounts::default(), None, 0);
            self.block.tell(Fact::Lines(workload, Lines { unsent: self.requests.into(), ..lines }));
            return;
        }
        let planned = file.price.output;
        let key = self.form.key(self.account).cloned();
        let played = tokio::select! {
            played = self.play(file.bytes, key.as_ref()) => played,
            () = stop.cancelled() => LineCounts::default(),
        };
        let left = u64::from(self.requests) - u64::from(played.all()).min(self.requests.into());
        self.block.tell(Fact::Lines(
            workload,
            Lines {
                succeeded: played.completed.into(),
                failed: u64::from(played.failed) + u64::from(played.expired),
                cancelled: u64::from(played.cancelled) + left,
                prompt_tokens: played.prompt_tokens,
                output_tokens: played.output_tokens,
                // Which lines are missing is not known: then nothing is known of their plan.
                planned_tokens: if left == 0 && played.completed == self.requests {
                    planned
                } else {
                    played.output_tokens
                },
                ..lines
            },
        ));
        drop(alive);
    }

    /// From the upload to the end, or to the horizon. What became of its lines.
    async fn play(&self, file: Vec<u8>, key: Option<&HeaderValue>) -> LineCounts {
        let api = &self.block.setting.batch_api;
        let name = format!(
            "{}-{}.jsonl",
            self.block.setting.scenario.batches[usize::from(self.batch)].name,
            self.number
        );
        let unique = format!("{name}-{:x}", self.block.seed);
        let submitted = match api.upload(key, &name, file).await {
            Ok(id) => api.submit(key, &id, &self.endpoint, &unique).await,
            Err(error) => Err(error),
        };
        let mut status = match submitted {
            Ok(status) => status,
            Err(error) => {
                let (state, refusal) = self.refusal(&error);
                self.end(state, JobCounts::default(), refusal, 0);
                return LineCounts { failed: self.requests, ..LineCounts::default() };
            }
        };
        let horizon = self.block.setting.scenario.horizon.as_nanos();
        let cancel_at = self.block.setting.scenario.batches[usize::from(self.batch)]
            .cancels
            .iter()
            .find(|cancel| cancel.job == self.number)
            .map(|cancel| cancel.at.as_nanos());
        let (mut told, mut cancelled, mut failures) = (JobState::Validating, false, 0);
        loop {
            if status.state.is_last() {
                return self.over(&status, key).await;
            }
            if status.state != told {
                told = status.state;
                self.tell(self.block.clock.now(), told, self.counts(&status), None, 0);
            }
            tokio::time::sleep(LOOK).await;
            let now = self.block.clock.nanos();
            if now >= horizon || failures == FAILURES {
                return self.call_off(&status, key).await;
            }
            let due = cancel_at.is_some_and(|at| now >= at) && !cancelled;
            let looked =
                if due { api.cancel(key, &status.id).await } else { api.look(key, &status.id).await };
            cancelled |= due;
            match looked {
                Ok(looked) => (status, failures) = (looked, 0),
                Err(_) => failures += 1,
            }
        }
    }

    /// It is over: results are fetched and counted.
    async fn over(&self, status: &JobStatus, key: Option<&HeaderValue>) -> LineCounts {
        let ended = self.block.clock.now();
        let mut lines = LineCounts::default();
        for file in &status.files {
            if let Ok(found) = self.block.setting.batch_api.results(key, file).await {
                lines.add(&found);
            }
        }
        let left = self.requests.saturating_sub(lines.all());
        match status.state {
            JobState::Expired => lines.expired += left,
            JobState::Cancelled => lines.cancelled += left,
            _ => lines.failed += left,
        }
        let counts = JobCounts {
            total: self.requests,
            completed: lines.completed,
            failed: lines.failed,
            expired: lines.expired,
            cancelled: lines.cancelled,
        };
        let failed = status.state == JobState::Failed;
        let refusal = failed.then(|| self.named(status.code.as_deref()));
        // None of its requests was begun.
        let counts = if failed { JobCounts { total: self.requests, ..JobCounts::default() } } else { counts };
        self.tell(ended, status.state, counts, refusal, status.line.unwrap_or(0));
        lines
    }

    /// The horizon: it is told as it stands, and called off so that nothing goes on that nobody waits for.
    async fn call_off(&self, status: &JobStatus, key: Option<&HeaderValue>) -> LineCounts {
        let counts = self.counts(status);
        self.tell(self.block.clock.now(), status.state, counts, None, 0);
        let goodbye = self.block.setting.batch_api.cancel(key, &status.id);
        // Whether it was heard changes nothing here.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        LineCounts { completed: counts.completed, failed: counts.failed, ..LineCounts::default() }
    }

    fn counts(&self, status: &JobStatus) -> JobCounts {
        let completed = status.completed.min(self.requests);
        let failed = status.failed.min(self.requests - completed);
        JobCounts { total: self.requests, completed, failed, ..JobCounts::default() }
    }

    /// How a submission that failed counts.
    fn refusal(&self, error: &CallError) -> (JobState, Option<Refusal>) {
        match error {
            CallError::Refused { reason, retry_after, .. } => {
                let refusal = self.named(reason.as_deref());
                let retry_after = retry_after
                    .map(|wait| Span::from_nanos(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)));
                (JobState::Refused, Some(Refusal { retry_after, ..refusal }))
            }
            CallError::Broken => (JobState::Failed, Some(Refusal::plain(UNATTRIBUTED))),
        }
    }

    fn named(&self, name: Option<&str>) -> Refusal {
        let known = name.and_then(|name| self.block.setting.reasons.get(name));
        Refusal::plain(known.copied().unwrap_or(UNATTRIBUTED))
    }

    fn end(&self, state: JobState, counts: JobCounts, refusal: Option<Refusal>, line: u32) {
        self.tell(self.block.clock.now(), state, counts, refusal, line);
    }

    fn tell(&self, at: Time, state: JobState, counts: JobCounts, refusal: Option<Refusal>, line: u32) {
        let fact = JobFact {
            batch: self.batch,
            job: self.number,
            owner: self.owner,
            state,
            created: self.created,
            expires: self.expires,
            requests: JobCounts { total: self.requests, ..counts },
            tokens: self.tokens,
            // Only the gateway knows.
            enqueued: 0,
            refusal,
            line,
        };
        self.block.tell(Fact::Job(at.max(self.created), Box::new(fact)));
    }
}
