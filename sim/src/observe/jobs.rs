//! What became of batch jobs: each job of a run while it goes on, and sums that merge exactly.
//!
//! A run has few jobs and tells of each a handful of times, so a run keeps them all ([`JobBook`]); what remains of a
//! run is counters and one histogram for each batch ([`JobRecord`]).

use super::hist::Latency;
use super::recording::Reading;
use super::{JobCounts, JobFact, JobState};
use crate::scenario::{Batch, JobShare, Scenario};
use crate::time::Time;

/// Requests of jobs, summed over jobs, by what became of them. What is in none of the others had not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobRequests {
    /// All of them.
    pub total: u64,
    /// Answered.
    pub completed: u64,
    /// Ended in an error, other than the two below.
    pub failed: u64,
    /// Not done when the window of their job closed.
    pub expired: u64,
    /// Not done when their job was cancelled.
    pub cancelled: u64,
}

impl JobRequests {
    /// Those that had not ended.
    pub fn unfinished(&self) -> u64 {
        self.total - self.completed - self.failed - self.expired - self.cancelled
    }

    /// Adds the requests of a job.
    pub fn add(&mut self, job: &JobCounts) {
        self.total += u64::from(job.total);
        self.completed += u64::from(job.completed);
        self.failed += u64::from(job.failed);
        self.expired += u64::from(job.expired);
        self.cancelled += u64::from(job.cancelled);
    }

    fn merge(&mut self, other: &JobRequests) {
        self.total += other.total;
        self.completed += other.completed;
        self.failed += other.failed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
    }
}

/// What one account had of a batch; counted jobs only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobAccount {
    /// Jobs that it submitted.
    pub jobs: u64,
    /// Those of them that were completed.
    pub jobs_completed: u64,
    /// Requests of its jobs.
    pub requests: u64,
    /// Those of them that were completed.
    pub completed: u64,
}

/// Jobs of one batch, of one run or of several merged ones.
///
/// Jobs are counted by their submission, like requests: those submitted from the warm-up's end to the horizon. Shares
/// are of the *decided* ones: those that were over (refused ones included, as refused requests are) and those whose
/// window had closed. What the run cut off before its window closed has not been decided and is in no share: where there
/// is much of that, shares favour jobs that end early, and the summary says so.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its name in the scenario.
    pub name: String,
    /// Index of its workload.
    pub workload: usize,
    /// Number of its first account over the whole scenario.
    pub first_account: u32,
    /// Counted jobs by the state they were in last, in the order of [`JobState::ALL`].
    pub states: [u64; JobState::ALL.len()],
    /// Jobs that are not counted: submitted before the warm-up's end, or at the horizon.
    pub uncounted: u64,
    /// Counted jobs that were not over at the end although their window had closed, with requests left to do.
    pub overdue: u64,
    /// Requests of counted jobs.
    pub requests: JobRequests,
    /// Requests of decided jobs; those left in overdue ones are expired.
    pub decided: JobRequests,
    /// From the submission to the end of counted jobs that were completed.
    pub time: Latency,
    /// Why counted jobs were refused or failed, by [`crate::request::Refusal::reason`].
    pub reasons: Vec<u64>,
    /// Most tokens that one account had enqueued at once; of whole runs, warm-up included.
    pub enqueued_peak: u64,
    /// Tokens enqueued when the run ended, summed over its accounts and over replications.
    pub enqueued_end: u64,
    /// By account, from `first_account` on.
    pub accounts: Vec<JobAccount>,
}

impl JobRecord {
    /// Nothing yet, of a batch of a scenario with so many reasons.
    fn new(batch: &Batch, reasons: usize) -> Self {
        JobRecord {
            name: batch.name.clone(),
            workload: usize::from(batch.workload),
            first_account: batch.owner,
            states: [0; JobState::ALL.len()],
            uncounted: 0,
            overdue: 0,
            requests: JobRequests::default(),
            decided: JobRequests::default(),
            time: Latency::new(),
            reasons: vec![0; reasons],
            enqueued_peak: 0,
            enqueued_end: 0,
            accounts: vec![JobAccount::default(); batch.owners as usize],
        }
    }

    /// Counted jobs whose last state was `state`.
    pub fn state(&self, state: JobState) -> u64 {
        self.states[state as usize]
    }

    /// Counted jobs.
    pub fn jobs(&self) -> u64 {
        self.states.iter().sum()
    }

    /// Counted jobs that were over, or whose window had closed: what shares are of.
    pub fn decided_jobs(&self) -> u64 {
        JobState::ALL.into_iter().filter(|state| state.is_last()).map(|state| self.state(state)).sum::<u64>()
            + self.overdue
    }

    /// Decided jobs that ran out of time.
    pub fn expired_jobs(&self) -> u64 {
        self.state(JobState::Expired) + self.overdue
    }

    /// Decided jobs that were turned away, or failed when they were checked.
    pub fn failed_jobs(&self) -> u64 {
        self.state(JobState::Refused) + self.state(JobState::Failed)
    }

    /// A share of the decided jobs, or of their requests; `None` without any.
    ///
    /// Requests of a job share its fate, so they are no more samples than their jobs are: [`Reading::samples`] is the
    /// number of decided jobs for every share.
    pub fn share(&self, share: JobShare) -> Option<Reading> {
        let samples = self.decided_jobs();
        let (part, whole) = match share {
            JobShare::Completed => (self.state(JobState::Completed), samples),
            JobShare::Expired => (self.expired_jobs(), samples),
            JobShare::Failed => (self.failed_jobs(), samples),
            JobShare::RequestsCompleted => (self.decided.completed, self.decided.total),
            JobShare::RequestsExpired => (self.decided.expired, self.decided.total),
        };
        (whole > 0).then(|| Reading { value: part as f64 / whole as f64, samples })
    }

    /// Adds another replication (or several) of the same batch. Exact, in any order.
    pub fn merge(&mut self, other: &JobRecord) {
        assert_eq!(self.name, other.name, "recordings of different scenarios cannot be merged");
        let sums =
            self.states.iter_mut().zip(&other.states).chain(self.reasons.iter_mut().zip(&other.reasons));
        sums.for_each(|(mine, theirs)| *mine += theirs);
        self.uncounted += other.uncounted;
        self.overdue += other.overdue;
        self.requests.merge(&other.requests);
        self.decided.merge(&other.decided);
        self.time.merge(&other.time);
        self.enqueued_peak = self.enqueued_peak.max(other.enqueued_peak);
        self.enqueued_end += other.enqueued_end;
        for (mine, theirs) in self.accounts.iter_mut().zip(&other.accounts) {
            mine.jobs += theirs.jobs;
            mine.jobs_completed += theirs.jobs_completed;
            mine.requests += theirs.requests;
            mine.completed += theirs.completed;
        }
    }

    /// Counts a job as the end of a run at `ended` left it.
    fn count(&mut self, job: &JobStory, ended: Time) {
        let fact = &job.last;
        self.states[fact.state as usize] += 1;
        self.requests.add(&fact.requests);
        let overdue = job.is_overdue(ended);
        self.overdue += u64::from(overdue);
        if overdue || fact.state.is_last() {
            let mut requests = JobRequests::default();
            requests.add(&fact.requests);
            requests.expired += if overdue { requests.unfinished() } else { 0 };
            self.decided.merge(&requests);
        }
        if let Some(reason) = job.reason() {
            self.reasons[usize::from(reason)] += 1;
        }
        let completed = fact.state == JobState::Completed;
        if completed {
            self.time.record(job.since - fact.created, 1);
        }
        let account = &mut self.accounts[(fact.owner - self.first_account) as usize];
        account.jobs += 1;
        account.jobs_completed += u64::from(completed);
        account.requests += u64::from(fact.requests.total);
        account.completed += u64::from(fact.requests.completed);
    }
}

/// One job of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStory {
    /// What was told of it last.
    pub last: JobFact,
    /// When it came into its last state.
    pub since: Time,
    /// When its requests could first be worked on; `None` when they never could.
    pub started: Option<Time>,
}

impl JobStory {
    /// When it was over; `None` when it was not.
    pub fn ended(&self) -> Option<Time> {
        self.last.state.is_last().then_some(self.since)
    }

    /// Why it was refused or failed; `None` when it was not. (One that is held has been refused room for the time being.)
    pub fn reason(&self) -> Option<u16> {
        let turned_away = matches!(self.last.state, JobState::Refused | JobState::Failed);
        self.last.refusal.filter(|_| turned_away).map(|refusal| refusal.reason)
    }

    /// Whether its window had closed by `ended`, the end of the run, with requests left to do.
    pub fn is_overdue(&self, ended: Time) -> bool {
        use JobState::{Held, InProgress, Validating};
        matches!(self.last.state, Validating | Held | InProgress) && self.last.expires <= ended
    }
}

/// All jobs of one batch in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobBook {
    /// By number.
    pub jobs: Vec<JobStory>,
    /// Most tokens that one account had enqueued at once.
    pub peak: u64,
    /// Tokens that accounts had enqueued when they were last told of, by account, in order of their first job.
    enqueued: Vec<(u32, u64)>,
}

impl JobBook {
    /// A job is in another state, or the run is over. O(accounts).
    ///
    /// Panics when jobs are not told of in order, or when one changes after its end: a broken engine.
    pub fn tell(&mut self, now: Time, fact: &JobFact) {
        let JobFact { job, state, requests: of, .. } = *fact;
        let over =
            [of.completed, of.failed, of.expired, of.cancelled].into_iter().map(u64::from).sum::<u64>();
        assert!(over <= u64::from(of.total), "{over} of the {} requests of job {job} are over", of.total);
        let started = (state == JobState::InProgress).then_some(now);
        match self.jobs.get_mut(job as usize) {
            None => {
                let next = self.jobs.len();
                assert_eq!(job as usize, next, "job {job} was told of before job {next}");
                self.jobs.push(JobStory { last: *fact, since: now, started });
            }
            Some(story) => {
                let before = story.last.state;
                assert!(!before.is_last(), "job {job} is {} after it was {}", state.name(), before.name());
                if before != state {
                    story.since = now;
                }
                story.started = story.started.or(started);
                story.last = *fact;
            }
        }
        self.peak = self.peak.max(fact.enqueued);
        match self.enqueued.iter_mut().find(|(owner, _)| *owner == fact.owner) {
            Some((_, tokens)) => *tokens = fact.enqueued,
            None => self.enqueued.push((fact.owner, fact.enqueued)),
        }
    }

    /// Tokens enqueued at the end of the run, summed over the accounts that have a job left; what such an account has
    /// enqueued for the same model by way of another batch is among them.
    pub fn enqueued(&self) -> u64 {
        let has_job =
            |owner: u32| self.jobs.iter().any(|job| job.ended().is_none() && job.last.owner == owner);
        self.enqueued.iter().filter(|(owner, _)| has_job(*owner)).map(|(_, tokens)| tokens).sum()
    }
}

/// Follows the jobs of all batches of a run.
#[derive(Clone, Debug, Default)]
pub struct JobTracker {
    warmup: Time,
    horizon: Time,
    /// By batch.
    batches: Vec<(JobBook, JobRecord)>,
}

impl JobTracker {
    /// Of a run of `scenario`; empty, without an allocation, when that has no batch.
    pub fn new(scenario: &Scenario) -> Self {
        let reasons = scenario.policy.reasons();
        let of = |batch: &Batch| (JobBook::default(), JobRecord::new(batch, reasons));
        JobTracker {
            warmup: Time::ZERO + scenario.warmup,
            horizon: Time::ZERO + scenario.horizon,
            batches: scenario.batches.iter().map(of).collect(),
        }
    }

    /// A job is in another state, or the run is over.
    pub fn tell(&mut self, now: Time, fact: &JobFact) {
        self.batches[usize::from(fact.batch)].0.tell(now, fact);
    }

    /// All jobs so far, batch by batch.
    pub fn stories(&self) -> Vec<JobStory> {
        self.batches.iter().flat_map(|(book, _)| &book.jobs).copied().collect()
    }

    /// The run ends at `ended`: the sums, by batch.
    pub fn finish(self, ended: Time) -> Vec<JobRecord> {
        let JobTracker { warmup, horizon, batches } = self;
        let sum = |(book, mut record): (JobBook, JobRecord)| {
            for job in &book.jobs {
                if job.last.created >= warmup && job.last.created < horizon {
                    record.count(job, ended);
                } else {
                    record.uncounted += 1;
                }
            }
            record.enqueued_peak = book.peak;
            record.enqueued_end = book.enqueued();
            record
        };
        batches.into_iter().map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observer as _;
    use crate::observe::recorder::Recorder;
    use crate::observe::recording::Recording;
    use crate::observe::synthetic::batched;
    use crate::request::{QUEUE_FULL, Refusal};
    use crate::scenario::Measure;
    use crate::time::Span;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// A job of ten requests that was submitted at `created` s.
    fn fact(job: u32, created: u64, state: JobState, completed: u32) -> JobFact {
        let requests = JobCounts { total: 10, completed, ..JobCounts::default() };
        JobFact {
            batch: 0,
            job,
            owner: 3 + job % 2,
            state,
            created: at(created),
            expires: at(created + 120),
            requests,
            tokens: 1_000,
            enqueued: 1_000 - 100 * u64::from(completed),
            refusal: None,
            line: 0,
        }
    }

    fn recorded(facts: &[(u64, JobFact)], ended: u64) -> Recording {
        let mut recorder = Recorder::new(&batched());
        facts.iter().for_each(|(now, fact)| recorder.job(at(*now), fact));
        recorder.finish(at(ended))
    }

    use JobState::{
        Cancelled, Cancelling, Completed, Expired, Failed, Finalizing, InProgress, Refused, Validating,
    };

    #[test]
    fn a_job_is_counted_once_by_the_state_it_was_in_last() {
        let full = Some(Refusal::plain(QUEUE_FULL));
        let mut expired = fact(1, 60, Expired, 4);
        expired.requests.expired = 6;
        let recording = recorded(
            &[
                // Before the warm-up ends: not counted.
                (10, fact(0, 10, Validating, 0)),
                (40, fact(0, 10, Completed, 10)),
                (60, fact(1, 60, Validating, 0)),
                (62, fact(1, 60, InProgress, 0)),
                (70, fact(2, 70, Validating, 0)),
                (72, fact(2, 70, InProgress, 0)),
                (80, JobFact { refusal: full, ..fact(3, 80, Refused, 0) }),
                (90, fact(4, 90, Validating, 0)),
                (92, JobFact { refusal: full, line: 3, ..fact(4, 90, Failed, 0) }),
                (100, fact(2, 70, Finalizing, 10)),
                (101, fact(2, 70, Completed, 10)),
                (180, expired),
                (500, fact(5, 500, Validating, 0)),
                (502, fact(5, 500, InProgress, 0)),
                // The window of the sixth closes while the run goes on, that of the seventh does not.
                (590, fact(6, 590, Validating, 0)),
                (640, fact(5, 500, InProgress, 7)),
                (640, fact(6, 590, Validating, 0)),
            ],
            640,
        );
        let record = &recording.batches[0];
        let states = [Completed, Expired, Refused, Failed, InProgress, Validating, Cancelled];
        assert_eq!(states.map(|state| record.state(state)), [1, 1, 1, 1, 1, 1, 0]);
        assert_eq!((record.jobs(), record.uncounted), (6, 1));
        assert_eq!((record.overdue, record.decided_jobs()), (1, 5));
        assert_eq!((record.expired_jobs(), record.failed_jobs()), (2, 2));
        assert_eq!(
            (record.requests.total, record.requests.completed, record.requests.unfinished()),
            (60, 21, 33)
        );
        // What the overdue job has not done has expired; nothing is said of the one that still had time.
        assert_eq!((record.decided.total, record.decided.expired, record.decided.unfinished()), (50, 9, 20));
        assert_eq!(record.reasons[usize::from(QUEUE_FULL)], 2);
        assert_eq!((record.time.count(), record.time.most()), (1, Some(Span::from_secs(31))));
        assert_eq!(record.accounts.iter().map(|account| account.jobs).collect::<Vec<_>>(), [3, 3]);
        assert_eq!(record.accounts.iter().map(|account| account.completed).collect::<Vec<_>>(), [10, 11]);
        let shares = JobShare::ALL.map(|share| recording.reading(Some(1), &Measure::Jobs(share)).unwrap());
        assert_eq!(shares.map(|share| share.value), [0.2, 0.4, 0.4, 21.0 / 50.0, 9.0 / 50.0]);
        assert!(shares.iter().all(|share| share.samples == 5), "requests are no samples of their own");
        let mean = recording.reading(Some(1), &Measure::JobMean).unwrap();
        assert_eq!((mean.value, mean.samples), (31e9, 1));
        assert_eq!(recording.reading(Some(0), &Measure::JobMean), None);
    }

    #[test]
    fn tokens_are_known_at_their_peak_and_at_the_end() {
        let mut facts = vec![
            (50, fact(0, 50, Validating, 0)),
            (55, fact(1, 55, Validating, 0)),
            (60, fact(2, 60, Validating, 0)),
            (90, fact(0, 50, InProgress, 5)),
            (95, fact(1, 55, InProgress, 2)),
        ];
        facts[2].1.enqueued = 2_000;
        facts[3].1.enqueued = 1_500;
        let record = recorded(&facts, 600).batches.remove(0);
        assert_eq!((record.enqueued_peak, record.enqueued_end), (2_000, 1_500 + 800));
    }

    #[test]
    fn a_job_that_is_told_of_at_the_end_keeps_the_instant_of_its_state() {
        let mut book = JobBook::default();
        for (now, state) in [(50, Validating), (52, InProgress), (70, Cancelling), (80, Cancelling)] {
            book.tell(at(now), &fact(0, 50, state, 0));
        }
        let job = book.jobs[0];
        assert_eq!((job.since, job.started, job.ended()), (at(70), Some(at(52)), None));
        // Being cancelled is not being late.
        assert!(!job.is_overdue(at(500)));
    }

    #[test]
    #[should_panic(expected = "job 0 is in_progress after it was completed")]
    fn a_job_that_goes_on_after_its_end_is_a_broken_invariant() {
        recorded(&[(50, fact(0, 50, Completed, 10)), (60, fact(0, 50, InProgress, 0))], 600);
    }

    #[test]
    #[should_panic(expected = "12 of the 10 requests of job 0 are over")]
    fn a_request_of_a_job_ends_once() {
        let mut twice = fact(0, 50, Expired, 6);
        twice.requests.expired = 6;
        recorded(&[(50, twice)], 600);
    }

    #[test]
    fn without_batch_nothing_is_kept() {
        let scenario = crate::observe::synthetic::scenario();
        assert!(Recorder::new(&scenario).finish(at(600)).batches.is_empty());
    }
}
