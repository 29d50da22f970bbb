//! Batch jobs as their clients see them: states with the times at which they began, counts, and what became of each line.

use super::gateway::{JobTold, LineDone};
use super::wire::ask::Kind;
use super::wire::keys::Caller;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_sim::observe::{JobCounts, JobFact, JobState};
use tidegate_sim::request::{Finished, Outcome, Refusal};

/// Jobs that are kept; more are refused.
pub const JOBS_MOST: usize = 100_000;

/// All jobs, in order of submission.
#[derive(Debug, Default)]
pub struct Jobs(Vec<Job>);

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id on the wire.
    pub id: String,
    /// Whose it is: nobody else sees it.
    pub owner: Caller,
    /// Its batch in the scenario, and its number in it.
    pub place: (u16, u32),
    /// What was said when it was submitted.
    pub asked: Submitted,
    /// The state it is in.
    pub state: JobState,
    /// Seconds of the epoch at which each state began, in the order of [`JobState::ALL`].
    pub times: [Option<u64>; JobState::ALL.len()],
    /// When it was submitted, seconds of the epoch.
    pub created: u64,
    /// When its window closes.
    pub expires: u64,
    /// When its cancellation was asked for.
    pub cancelling: Option<u64>,
    /// Its requests, and what has become of them.
    pub counts: JobCounts,
    /// Why it failed, and on which line.
    pub refusal: Option<(Refusal, u32)>,
    /// What is wrong with its file, for people; code and message.
    pub fault: Option<(&'static str, String)>,
    /// What became of its lines.
    pub results: Arc<Results>,
    /// Files with its answers and with what went wrong.
    pub files: [Option<String>; 2],
    /// Whether they are written, as far as there is anything to write.
    pub written: bool,
}

/// What was said when a job was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The file.
    pub file: String,
    /// Path of its requests.
    pub endpoint: Option<String>,
    /// As it was written: `24h`.
    pub window: String,
    /// What the client keeps with it.
    pub metadata: serde_json::Value,
    /// DigitalOcean's fields: provider, and the id that makes a submission unique.
    pub digitalocean: Option<(Option<String>, Option<String>)>,
}

/// What became of the lines of a job.
#[derive(Debug)]
pub struct Results {
    /// Its job's id on the wire.
    pub job: String,
    /// Ids of its lines, in order.
    pub ids: Vec<Box<str>>,
    /// What its lines ask for.
    pub kind: Kind,
    /// The model they name, as JSON.
    pub model: String,
    /// When it was submitted, seconds of the epoch.
    pub created: u64,
    /// Prompt tokens, and output tokens that are asked for at most, line by line.
    pub asked: Option<Arc<[(u32, u32)]>>,
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    lines: Vec<LineEnd>,
    /// How the lines ended of which nothing is said.
    rest: Option<Outcome>,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEnd {
    /// Which, from 0.
    pub line: u32,
    /// How.
    pub outcome: Outcome,
    /// Why, when a limit did it.
    pub refusal: Option<Refusal>,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Of them, those whose KV cache was found.
    pub cached: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// Most tokens of the answer that were asked for.
    pub most: Option<u32>,
}

impl LineEnd {
    fn of(line: u32, done: &Finished) -> Self {
        LineEnd {
            line,
            outcome: done.outcome,
            refusal: done.refusal,
            prompt: done.head.prompt_tokens,
            cached: done.cached_tokens,
            output: done.generated,
            most: done.head.max_tokens,
        }
    }

    fn without(line: u32, outcome: Outcome) -> Self {
        LineEnd { line, outcome, refusal: None, prompt: 0, cached: 0, output: 0, most: None }
    }
}

impl Results {
    /// Of a job of which nothing has ended.
    pub fn new(
        job: String,
        ids: Vec<Box<str>>,
        kind: Kind,
        model: String,
        created: u64,
        asked: Option<Arc<[(u32, u32)]>>,
    ) -> Self {
        Results { job, ids, kind, model, created, asked, ended: Mutex::new(Ended::default()) }
    }

    /// What is kept of lines with these ids when all of them have ended, bytes.
    pub fn held(ids: &[Box<str>]) -> u64 {
        let line = size_of::<LineEnd>() + size_of::<Box<str>>() + size_of::<(u32, u32)>();
        ids.iter().map(|id| (id.len() + line) as u64).sum()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Ended) -> T) -> T {
        f(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&self, told: &LineDone) {
        self.with(|ended| ended.lines.push(LineEnd::of(told.line, &told.done)));
    }

    /// The job is over. Of lines that were worked on elsewhere nothing was told: `counts` says how many were answered, the
    /// first of them, each as long as it may be.
    fn close(&self, state: JobState, counts: &JobCounts) {
        self.with(|ended| {
            if ended.lines.is_empty() {
                let answered = counts.completed.min(self.ids.len() as u32);
                let asked = |line: u32| self.asked.as_ref().map_or((1, 1), |asked| asked[line as usize]);
                ended.lines.extend((0..answered).map(|line| {
                    let (prompt, output) = asked(line);
                    let end = LineEnd::without(line, Outcome::Completed);
                    LineEnd { prompt, output, most: Some(output), ..end }
                }));
            }
            let rest = match state {
                JobState::Expired => Outcome::Expired,
                JobState::Cancelled => Outcome::Cancelled,
                _ => Outcome::Failed,
            };
            ended.rest = Some(rest);
        });
    }

    /// Lines of its answers, or of what went wrong, in the order in which they ended; those that were never sent last.
    /// Copies 56 bytes a line.
    pub fn lines(&self, errors: bool) -> Vec<LineEnd> {
        let (mut lines, rest) = self.with(|ended| (ended.lines.clone(), ended.rest));
        if let Some(rest) = rest.filter(|_| errors) {
            let mut known = vec![false; self.ids.len()];
            for end in &lines {
                known[end.line as usize] = true;
            }
            let unsent = (0..self.ids.len() as u32).filter(|line| !known[*line as usize]);
            lines.extend(unsent.map(|line| LineEnd::without(line, rest)));
        }
        lines.retain(|end| (end.outcome == Outcome::Completed) != errors);
        lines
    }
}

impl Jobs {
    /// Jobs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a job, whose id is [`Jobs::next_id`].
    pub fn add(&mut self, job: Job) {
        self.0.push(job);
    }

    /// The id that the next job will have.
    pub fn next_id(&self) -> String {
        id_of(self.0.len())
    }

    /// A job of that id, when it is its owner who asks.
    pub fn get(&self, owner: Caller, id: &str) -> Option<&Job> {
        self.0.get(place_of(id)?).filter(|job| job.owner == owner)
    }

    /// The job that a client submitted under this id of its own.
    pub fn by_request(&self, owner: Caller, request: &str) -> Option<&Job> {
        let is_it = |job: &&Job| {
            let asked = job.asked.digitalocean.as_ref().and_then(|(_, id)| id.as_deref());
            job.owner == owner && asked == Some(request)
        };
        self.0.iter().find(is_it)
    }

    /// Jobs of an owner, newest first.
    pub fn of(&self, owner: Caller) -> impl Iterator<Item = &Job> {
        self.0.iter().rev().filter(move |job| job.owner == owner)
    }

    /// A job.
    pub fn by_id(&mut self, id: &str) -> Option<&mut Job> {
        self.0.get_mut(place_of(id)?)
    }
}

fn id_of(place: usize) -> String {
    format!("batch_{place:012x}")
}

fn place_of(id: &str) -> Option<usize> {
    let place = usize::from_str_radix(id.strip_prefix("batch_")?, 16).ok()?;
    (id_of(place) == id).then_some(place)
}

impl Job {
    /// Takes in what the engine tells at `now`, seconds of the epoch; whether the job is over.
    pub fn hear(&mut self, told: &JobTold, now: u64) -> bool {
        let fact = match told {
            JobTold::Line(done) => {
                self.results.end(done);
                match done.done.outcome {
                    Outcome::Completed => self.counts.completed += 1,
                    Outcome::Expired => self.counts.expired += 1,
                    Outcome::Cancelled => self.counts.cancelled += 1,
                    _ => self.counts.failed += 1,
                }
                return false;
            }
            JobTold::State(fact) => fact,
        };
        self.enter(fact, now);
        if !fact.state.is_last() {
            return false;
        }
        self.results.close(fact.state, &fact.requests);
        true
    }

    fn enter(&mut self, fact: &JobFact, now: u64) {
        self.state = fact.state;
        self.counts = fact.requests;
        let at = JobState::ALL.iter().position(|state| *state == fact.state).expect("every state is listed");
        self.times[at].get_or_insert(now);
        if let Some(refusal) = fact.refusal.filter(|_| fact.state.is_last()) {
            self.refusal = Some((refusal, fact.line));
        }
    }

    /// When a state began.
    pub fn since(&self, state: JobState) -> Option<u64> {
        let at = JobState::ALL.iter().position(|one| *one == state).expect("every state is listed");
        self.times[at]
    }
}
