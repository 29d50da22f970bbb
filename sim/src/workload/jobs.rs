//! What batch jobs are made of: when they are submitted, how many requests they have, and what those are.
//!
//! All that is random of a job comes from streams of (purpose, batch, job): the same job has the same requests whenever
//! they are sent, and the tokens that a quota counts beforehand are those of the requests that come.

use super::lengths;
use super::trace::TOKENS_MOST;
use crate::dist::Dist;
use crate::request::{Arrival, Prefix, RequestDraw, RequestHead, WorkloadId};
use crate::rng::{Purpose, Rng, source_of, stream};
use crate::scenario::batch::{Backend, Batch, Jobs, Submission};
use crate::scenario::{Engine, Lengths, Scenario};
use crate::time::{Span, Time};
use std::sync::Arc;

/// A job as it is submitted.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Its number in its batch, from 0.
    pub number: u32,
    /// What is submitted, and when.
    pub job: Submission,
}

/// Where the jobs of one batch come from.
#[derive(Debug)]
pub struct JobSource<'s> {
    batch: &'s Batch,
    horizon: Time,
    seed: u64,
    source: u64,
    workload: WorkloadId,
    lengths: &'s Lengths,
    service: Option<&'s Dist>,
    max_tokens: Option<u32>,
    shared: Prefix,
    gaps: Rng,
    sizes: Rng,
    /// Jobs submitted so far; the number of the next.
    submitted: u32,
    /// When the latest was; of drawn ones.
    at: Time,
    /// Requests made so far; the index of the next.
    created: u64,
}

/// What is still to be drawn of one job's requests.
#[derive(Clone, Debug)]
pub struct JobDraws {
    prompts: Rng,
    outputs: Rng,
    services: Rng,
    lines: Option<Arc<[(u32, u32)]>>,
    next: u32,
}

impl JobDraws {
    /// Requests drawn so far: the line of the next, from 0.
    pub fn drawn(&self) -> u32 {
        self.next
    }
}

impl<'s> JobSource<'s> {
    /// The jobs of batch `index` of a scenario.
    pub fn new(scenario: &'s Scenario, index: usize, seed: u64) -> Self {
        let batch = &scenario.batches[index];
        let spec = &scenario.workloads[usize::from(batch.workload)];
        let source = source_of(&batch.name);
        let service = match &scenario.pools[usize::from(spec.pool)].engine {
            Engine::Slots(slots) => Some(&slots.service),
            Engine::Llm(_) => None,
        };
        let shared_tokens = spec.shared_prefix_tokens;
        JobSource {
            batch,
            horizon: Time::ZERO.saturating_add(scenario.horizon),
            seed,
            source,
            workload: batch.workload,
            lengths: &spec.lengths,
            service,
            max_tokens: spec.max_tokens,
            shared: Prefix { shared: if shared_tokens == 0 { 0 } else { source | 1 }, shared_tokens, own: 0 },
            gaps: stream(seed, Purpose::Jobs, source, 0),
            sizes: stream(seed, Purpose::JobSize, source, 0),
            submitted: 0,
            at: Time::ZERO,
            created: 0,
        }
    }

    /// The next job; `None` for good once none comes before the horizon.
    pub fn submit(&mut self) -> Option<Submitted> {
        let number = self.submitted;
        let job = match &self.batch.jobs {
            Jobs::Listed(all) => all.get(number as usize)?.clone(),
            Jobs::Drawn { first, gap, most, requests } => {
                if most.is_some_and(|most| number >= most) {
                    return None;
                }
                let after = if number == 0 { *first } else { gap.sample_span(&mut self.gaps) };
                self.at = self.at.saturating_add(after);
                let requests =
                    requests.sample(&mut self.sizes).round().clamp(1.0, f64::from(u32::MAX)) as u32;
                let owner = number % self.batch.owners;
                Submission { at: self.at, owner, requests, bytes: None, lines: None, fault: None }
            }
        };
        self.submitted += 1;
        (job.at < self.horizon).then_some(Submitted { number, job })
    }

    /// The next job, when it comes from outside.
    pub fn accept(&mut self, job: Submission) -> Submitted {
        let number = self.submitted;
        self.submitted += 1;
        Submitted { number, job }
    }

    /// The requests of a job, none of them drawn yet.
    pub fn open(&self, submitted: &Submitted) -> JobDraws {
        let keyed = |purpose| stream(self.seed, purpose, self.source, u64::from(submitted.number) + 1);
        JobDraws {
            prompts: keyed(Purpose::Prompt),
            outputs: keyed(Purpose::Output),
            services: keyed(Purpose::Service),
            lines: submitted.job.lines.clone(),
            next: 0,
        }
    }

    /// Tokens that a job enqueues with all of its requests: prompts, and what it asks for at most when `output`.
    ///
    /// O(requests) draws where lengths are random or lines are given, O(1) otherwise.
    pub fn tokens(&self, draws: &JobDraws, requests: u32) -> u64 {
        let each = |lengths: (u32, u32), most: Option<u32>| self.counted(lengths.0, most);
        if let Some(lines) = &draws.lines {
            return lines.iter().map(|&line| each(line, Some(line.1))).sum();
        }
        let mut draws = draws.clone();
        let certain = matches!(self.lengths, Lengths::Independent { prompt, .. } if prompt.cv() == 0.0);
        if certain {
            let one = self.lengths_of(&mut draws);
            return each(one, self.max_tokens) * u64::from(requests);
        }
        (0..requests).map(|_| each(self.lengths_of(&mut draws), self.max_tokens)).sum()
    }

    /// What the quota counts of one request.
    pub fn counted(&self, prompt: u32, max_tokens: Option<u32>) -> u64 {
        let output = if self.batch.rules.count_output { max_tokens.unwrap_or(0) } else { 0 };
        u64::from(prompt) + u64::from(output)
    }

    /// The next request of a job of account `owner`, sent at `at`. The same one whenever that is.
    pub fn request(&mut self, draws: &mut JobDraws, owner: u32, at: Time) -> Arrival {
        let line = draws.lines.as_ref().map(|lines| lines[draws.next as usize]);
        let (prompt_tokens, drawn) = self.lengths_of(draws);
        draws.next += 1;
        let max_tokens = line.map_or(self.max_tokens, |(_, most)| Some(most.max(1)));
        let index = self.created;
        self.created += 1;
        let head = RequestHead {
            workload: self.workload,
            tenant: owner,
            index,
            prompt_tokens,
            max_tokens,
            session: index,
            turn: 0,
            prefix: Prefix { shared_tokens: self.shared.shared_tokens.min(prompt_tokens), ..self.shared },
            body_bytes: None,
        };
        let service = self.service.map_or(Span::ZERO, |law| law.sample_span(&mut draws.services));
        let output_tokens = drawn.min(max_tokens.unwrap_or(u32::MAX)).max(1);
        let draw = RequestDraw { output_tokens, service, patience: None, overhead: Span::ZERO };
        Arrival { at, head, draw, chain: None }
    }

    /// How long a job takes elsewhere; `None` where it is worked on here.
    pub fn upstream(&self, number: u32) -> Option<Span> {
        match &self.batch.backend {
            Backend::Pool => None,
            Backend::Upstream(law) => {
                let mut rng = stream(self.seed, Purpose::Upstream, self.source, u64::from(number));
                Some(law.sample_span(&mut rng))
            }
        }
    }

    /// Prompt (with the shared beginning) and output tokens of the next request of a job. The output of a line is as long as
    /// it may be, unless the batch has a law for it.
    fn lengths_of(&self, draws: &mut JobDraws) -> (u32, u32) {
        let drawn = lengths::draw(self.lengths, &mut draws.prompts, &mut draws.outputs);
        let (prompt, output) = match (&draws.lines, drawn) {
            (Some(lines), drawn) => {
                let (prompt, most) = lines[draws.next as usize];
                (prompt, drawn.map_or(most, |(_, output)| output.min(most)))
            }
            (None, Some(drawn)) => drawn,
            // A pool to which tokens mean nothing.
            (None, None) => (0, 1),
        };
        (self.shared.shared_tokens.saturating_add(prompt).min(TOKENS_MOST), output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Arrivals;
    use crate::scenario::batch::JobRules;
    use crate::workload::fixture::{scenario, workload};

    fn with_batch(jobs: Jobs) -> Scenario {
        let mut scenario = scenario(vec![workload()]);
        scenario.workloads[0].arrivals = Arrivals::Jobs;
        scenario.batches = vec![Batch {
            name: "nightly".into(),
            workload: 0,
            jobs,
            owner: 0,
            owners: 3,
            window: Span::from_secs(86_400),
            validation: Span::ZERO,
            finalizing: Span::ZERO,
            rules: JobRules::default(),
            backend: Backend::Pool,
            cancels: Vec::new(),
        }];
        scenario
    }

    fn drawn() -> Jobs {
        Jobs::Drawn {
            first: Span::from_secs(1),
            gap: Dist::constant(0.5).unwrap(),
            most: Some(4),
            requests: Dist::uniform(10.0, 90.0).unwrap(),
        }
    }

    #[test]
    fn what_a_quota_counts_beforehand_is_what_the_requests_have() {
        let scenario = with_batch(drawn());
        let mut source = JobSource::new(&scenario, 0, 7);
        let mut jobs = 0;
        while let Some(submitted) = source.submit() {
            jobs += 1;
            let mut draws = source.open(&submitted);
            let counted = source.tokens(&draws, submitted.job.requests);
            let sent = (0..submitted.job.requests)
                .map(|_| source.request(&mut draws, submitted.job.owner, Time::ZERO).head.prompt_tokens);
            assert_eq!(sent.map(u64::from).sum::<u64>(), counted);
        }
        assert_eq!(jobs, 4);
    }

    #[test]
    fn a_job_has_the_same_requests_whatever_was_sent_before_it() {
        let scenario = with_batch(drawn());
        let second = |first: u32| {
            let mut source = JobSource::new(&scenario, 0, 7);
            let (a, b) = (source.submit().unwrap(), source.submit().unwrap());
            let (mut of_a, mut of_b) = (source.open(&a), source.open(&b));
            (0..first).for_each(|_| drop(source.request(&mut of_a, 0, Time::ZERO)));
            let one = source.request(&mut of_b, 1, Time::ZERO);
            (one.head.prompt_tokens, one.draw.output_tokens)
        };
        assert_eq!(second(0), second(5));
    }

    #[test]
    fn jobs_come_at_their_gaps_and_go_to_accounts_in_turn() {
        let scenario = with_batch(drawn());
        let mut source = JobSource::new(&scenario, 0, 7);
        let all: Vec<_> =
            std::iter::from_fn(|| source.submit()).map(|s| (s.job.at.as_nanos(), s.job.owner)).collect();
        assert_eq!(all, [(1_000_000_000, 0), (1_500_000_000, 1), (2_000_000_000, 2), (2_500_000_000, 0)]);
    }

    #[test]
    fn a_line_says_prompt_and_longest_output() {
        let submission = Submission {
            at: Time::ZERO,
            owner: 0,
            requests: 2,
            bytes: None,
            lines: Some(vec![(10, 3), (20, 1)].into()),
            fault: None,
        };
        let scenario = with_batch(Jobs::Listed(vec![submission]));
        let mut source = JobSource::new(&scenario, 0, 7);
        let job = source.submit().unwrap();
        let mut draws = source.open(&job);
        assert_eq!(source.tokens(&draws, 2), 30);
        let first = source.request(&mut draws, 0, Time::ZERO);
        assert_eq!((first.head.prompt_tokens, first.head.max_tokens), (10, Some(3)));
        assert!(first.draw.output_tokens <= 3);
        assert_eq!(source.request(&mut draws, 0, Time::ZERO).draw.output_tokens, 1);
    }
}
