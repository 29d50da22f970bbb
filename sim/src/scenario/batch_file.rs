//! The batch side of a scenario file: jobs that somebody submits, and what a pool does so that they disturb nobody.

use super::decode::{At, Decode, List, choice, section, words};
use super::diagnostic::Errors;
use super::dist_file::{DistFile, Lengths, Requests, Times};
use super::document::{Node, Value};
use super::file::{PairsFile, PoolFile};
use super::leaf::{
    Bytes, Count, Delay, Duration, Lasting, Name, Number, Share, TOKENS_MOST, Text, Tokens, YEAR,
};
use super::policy_file::AuthWord;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

const MS: u64 = 1_000_000;

/// Most requests of a job.
pub(super) const REQUESTS_MOST: u64 = 1_000_000;

section! {
    /// What a pool does with batch, so that it disturbs nobody. All rules that are given hold together.
    struct BatchRulesFile {
        /// How far batch is below real-time.
        priority: At<BatchPriorityWord> = "engine",
        /// Which job goes first.
        order: At<JobOrderWord> = "deadline",
        /// Whether accounts take turns, each with the job of its own that goes first.
        fair: At<bool> = true,
        /// Most batch requests on a replica, waiting and running; as many as it has sequences (servers) when left out.
        concurrency: Option<At<Count<1, 1_000_000>>>,
        /// Share of the sequences (servers) of a replica that batch leaves free for real-time.
        headroom: At<Share> = "0%",
        /// Times of day at which batch may be sent; at all times when left out.
        windows: Option<At<Vec<At<WindowFile>>>>,
        /// Length of a day of `windows`.
        day: At<Duration<{ 1_000 * MS }, YEAR>> = "24h",
        /// What keeps batch from a replica that is busy with real-time.
        gate: Option<At<BatchGateFile>>,
        /// What changes the concurrency by what real-time measures.
        controller: Option<At<ControllerFile>>,
        /// Jobs whose window closes within this time are urgent: `windows`, `headroom`, `gate` and `controller` do not
        /// hold for them.
        urgent: Option<At<Lasting>>,
        /// Replicas that work on batch alone while real-time can spare them; batch goes nowhere else then.
        lend: Option<At<LendFile>>,
        /// On `slots` pools, with priority `engine`: a batch request yields to a waiting real-time one at the next
        /// whole multiple of this since its service began, and goes on later. It does not yield when left out.
        quantum: Option<At<Lasting>>,
        /// On `llm` pools, with priority `engine`: what becomes of batch sequences whose place or KV blocks a real-time
        /// request needs; `recompute` when left out.
        preempt: Option<At<PreemptWord>>,
        /// Time to move one token's KV cache to the host or back; for `preempt = "swap"`.
        swap: Option<At<Duration<1, { 1_000 * MS }>>>,
        /// Most batch tokens of a step, prompt and output together.
        step_tokens: Option<At<Tokens<1, 1_000_000>>>,
        /// Most batch prompt tokens of a step.
        chunk: Option<At<Tokens<1, 1_000_000>>>,
        /// The longest a step with batch in it may take, by the step law.
        step: Option<At<Lasting>>,
        /// How much longer batch may make a step with real-time in it, as a share of what it would take without.
        slowdown: Option<At<Share>>,
        /// Share of the KV blocks that batch leaves free.
        reserve: Option<At<Share>>,
    }
}

words! {
    /// How far batch is below real-time.
    enum BatchPriorityWord {
        /// The gateway sends no batch while a real-time request of the pool waits, and replicas put real-time first.
        Engine = "engine",
        /// The gateway sends no batch while a real-time request of the pool waits; replicas do not tell them apart.
        Gateway = "gateway",
        /// Batch is sent whenever the other rules allow it.
        None = "none",
    }
}

words! {
    /// Which job goes first.
    enum JobOrderWord {
        /// The one whose window closes first; in order of submission among equals.
        Deadline = "deadline",
        /// In order of submission.
        Fifo = "fifo",
    }
}

words! {
    /// What becomes of batch sequences whose place or KV blocks a real-time request needs.
    enum PreemptWord {
        /// They lose their KV cache and compute it again.
        Recompute = "recompute",
        /// Their KV cache goes to the host's memory and comes back later.
        Swap = "swap",
        /// They keep them.
        Never = "never",
    }
}

section! {
    /// A part of the day. One that ends before it begins goes over midnight.
    struct WindowFile {
        /// From when, since the day began.
        from: At<Delay>,
        /// Until when.
        to: At<Delay>,
    }
}

section! {
    /// Batch is not sent to a replica that has more of any of these.
    struct BatchGateFile {
        /// Real-time requests that wait on it.
        waiting: Option<At<Count<0, 1_000_000>>>,
        /// Share of its sequences (servers) that run real-time.
        running: Option<At<Share>>,
        /// Share of its KV blocks in use.
        kv: Option<At<Share>>,
    }
}

choice! {
    /// Changes the concurrency of batch on every replica by what real-time requests of the pool have measured.
    enum ControllerFile by law {
        /// Adds a little while the measurement is on target, and takes a share away when it is not.
        Aimd(AimdFile) = "aimd",
        /// In proportion to the error and to the sum of errors.
        Pi(PiFile) = "pi",
    }
}

/// Declares the section of a law of control: its own keys after those that every law has.
macro_rules! control_law {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident { $( $(#[doc = $key_doc:literal])* $key:ident : $ty:ty $(= $default:tt)? ,)* }
    ) => {
        section! {
            $(#[doc = $doc])*
            struct $name {
                /// What is measured.
                metric: At<ControlMetricWord>,
                /// Which quantile of it.
                quantile: At<Share> = 0.99,
                /// What it should stay below.
                target: At<Lasting>,
                /// Time between two looks.
                every: At<Duration<MS, YEAR>> = "10s",
                /// Least concurrency.
                least: At<Count<0, 1_000_000>> = 0,
                /// Most concurrency; that of the pool when left out.
                most: Option<At<Count<1, 1_000_000>>>,
                $( $(#[doc = $key_doc])* $key: $ty $(= $default)?, )*
            }
        }

        impl $name {
            pub(super) fn common(&self) -> ControllerKeys<'_> {
                let Self { metric, quantile, target, every, least, most, .. } = self;
                ControllerKeys { metric, quantile, target, every, least, most }
            }
        }
    };
}

/// What every law of control has.
pub(super) struct ControllerKeys<'a> {
    pub metric: &'a At<ControlMetricWord>,
    pub quantile: &'a At<Share>,
    pub target: &'a At<Lasting>,
    pub every: &'a At<Duration<MS, YEAR>>,
    pub least: &'a At<Count<0, 1_000_000>>,
    pub most: &'a Option<At<Count<1, 1_000_000>>>,
}

control_law! {
    /// Additive increase, multiplicative decrease.
    struct AimdFile {
        /// Added at a look that is on target.
        add: At<Count<1, 1_000_000>> = 4,
        /// Share taken away at a look that is not.
        cut: At<Share> = "50%",
    }
}

control_law! {
    /// Proportional and integral.
    struct PiFile {
        /// Factor of the present error.
        gain: At<Number<0, 1_000_000>>,
        /// Factor of the sum of errors.
        integral: At<Number<0, 1_000_000>>,
    }
}

impl ControllerFile {
    /// What it has whatever its law.
    pub(super) fn common(&self) -> ControllerKeys<'_> {
        match self {
            ControllerFile::Aimd(law) => law.common(),
            ControllerFile::Pi(law) => law.common(),
        }
    }
}

words! {
    /// What a controller of batch measures of real-time.
    enum ControlMetricWord {
        /// Arrival at the gateway to first token.
        Ttft = "ttft",
        /// Each gap between tokens.
        Itl = "itl",
        /// Arrival at the gateway to the end.
        E2e = "e2e",
    }
}

section! {
    /// Replicas that work on batch alone while real-time can spare them.
    struct LendFile {
        /// Most replicas that are lent at once.
        most: At<Count<1, 65_534>>,
        /// One more is lent when the real-time requests of the pool are at most so many for each replica that is left.
        below: At<Count<0, 1_000_000>>,
        /// One is taken back when they are more than so many for each replica that is left.
        above: At<Count<0, 1_000_000>>,
        /// Time between two looks.
        every: At<Duration<MS, YEAR>> = "30s",
        /// What becomes of the batch on a replica that is taken back.
        reclaim: At<ReclaimWord> = "drain",
        /// From the moment at which the replica is empty to the one at which it serves again.
        reload: At<Delay> = "0s",
    }
}

words! {
    /// What becomes of the batch on a replica that is taken back.
    enum ReclaimWord {
        /// It runs to its end.
        Drain = "drain",
        /// It goes back to its job when the step in flight is over, and begins anew elsewhere.
        Preempt = "preempt",
    }
}

section! {
    /// Jobs that somebody submits: many requests each, to be done within a window, below everything else.
    struct BatchFile {
        /// What it buys; instead of it, it may call an `endpoint`. Not needed when it is worked on `upstream`.
        tier: Option<At<Name>>,
        /// The endpoint it calls.
        endpoint: Option<At<Name>>,
        /// The model it asks for; may be left out when its tier or endpoint serves one model only.
        model: Option<At<Name>>,
        /// Whose jobs they are; the endpoint's account, or the only one, when left out.
        account: Option<At<Name>>,
        /// So many accounts submit its jobs in turn, none of them one of `[accounts]` when there are several.
        accounts: At<Count<1, 100_000>> = 1,
        /// When jobs are submitted, and how large they are.
        jobs: At<JobsFile>,
        /// Prompt tokens of a request, without the shared prefix; those of a `file` are in it.
        prompt: Option<At<DistFile<Lengths>>>,
        /// Output tokens of a request.
        output: Option<At<DistFile<Lengths>>>,
        /// Prompt and output together, from a trace.
        lengths: Option<At<PairsFile>>,
        /// Output limit that requests declare.
        max_tokens: Option<At<Tokens<1, TOKENS_MOST>>>,
        /// Tokens of system prompt that all its requests share, in front of `prompt`.
        shared_prefix: At<Tokens<0, TOKENS_MOST>> = 0,
        /// Round trip between client and gateway.
        network: At<Delay> = "0s",
        /// From the submission of a job to the moment at which it expires.
        window: At<Lasting> = "24h",
        /// From the submission to the verdict on its file.
        validation: At<Delay> = "0s",
        /// From the end of its last request to its own: its results are being written.
        finalizing: At<Delay> = "0s",
        /// It is worked on elsewhere, and a job takes this long from the verdict on its file.
        upstream: Option<At<DistFile<Times>>>,
        /// Which tokens a quota of enqueued tokens counts.
        count: At<CountWord> = "input",
        /// When enqueued tokens are given back.
        release: At<ReleaseWord> = "request",
        /// What becomes of a job that finds the quota full.
        excess: At<ExcessWord> = "fail",
        /// Jobs that are cancelled.
        cancels: Option<At<Vec<At<CancelFile>>>>,
        /// What limits can know of its submissions.
        request: At<SubmissionFile> = {},
        /// `false` leaves the batch out.
        enabled: At<bool> = true,
    }
}

words! {
    /// Which tokens a quota counts.
    enum CountWord {
        /// Prompt tokens.
        Input = "input",
        /// Prompt tokens, and output tokens that are asked for at most.
        Both = "input+output",
    }
}

words! {
    /// When enqueued tokens are given back.
    enum ReleaseWord {
        /// Those of a request when it is over.
        Request = "request",
        /// All of them when the job is over.
        Job = "job",
    }
}

words! {
    /// What becomes of a job that finds the quota full.
    enum ExcessWord {
        /// It fails when it is validated.
        Fail = "fail",
        /// Its submission is refused.
        Refuse = "refuse",
        /// It waits until there is room, with its window open.
        Hold = "hold",
    }
}

/// `{ every, requests }`, or a list of jobs.
// A file has a handful of these: their size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(super) enum JobsFile {
    Drawn(DrawnFile),
    Listed(Vec<At<JobFile>>),
}

section! {
    /// Jobs by a law.
    struct DrawnFile {
        /// When the first is submitted.
        first: At<Delay> = "0s",
        /// Time from one to the next; `0s` submits all of `most` at once.
        every: At<DistFile<Times>>,
        /// Most jobs of a run; as many as come before the horizon when left out.
        most: Option<At<Count<0, 10_000_000>>>,
        /// Requests of a job.
        requests: At<DistFile<Requests>>,
    }
}

section! {
    /// A job: its size, or the file with its requests.
    struct JobFile {
        /// When it is submitted.
        at: At<Delay>,
        /// Requests.
        requests: Option<At<Count<1, REQUESTS_MOST>>>,
        /// Size of its file.
        bytes: Option<At<Bytes<1, { 1 << 50 }>>>,
        /// Which of the `accounts` of the batch submits it, from 0.
        account: At<Count<0, 99_999>> = 0,
        /// JSON lines in the form that OpenAI or Anthropic take, relative to the scenario. A file that is wrong makes
        /// the job fail.
        file: Option<At<Text>>,
    }
}

impl Decode for JobsFile {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::decode(node, errors).map(Self::Listed),
            _ => DrawnFile::decode(node, errors).map(Self::Drawn),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::Drawn(drawn) => drawn.canonical(out),
            Self::Listed(jobs) => jobs.canonical(out),
        }
    }
}

impl JsonSchema for JobsFile {
    fn schema_name() -> Cow<'static, str> {
        "Jobs".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let job = generator.subschema_for::<JobFile>();
        let list = schemars::json_schema!({ "type": "array", "items": job, "minItems": 1 });
        schemars::json_schema!({ "oneOf": [generator.subschema_for::<DrawnFile>(), list] })
    }
}

section! {
    /// A job that is cancelled.
    struct CancelFile {
        /// Number of the job, from 0, in order of submission.
        job: At<Count<0, 9_999_999>>,
        /// When.
        at: At<Delay>,
    }
}

section! {
    /// What limits can know of a submission. What is left out is read off a `file`, or not known.
    struct SubmissionFile {
        /// The provider it is meant for; that of the model when left out.
        provider: Option<At<Text>>,
        /// Path of the requests, such as `/v1/chat/completions`; `none` when it names none.
        endpoint: Option<At<Text>>,
        /// Kinds of content parts.
        content: Option<At<List<ContentWord>>>,
        /// Models that it names.
        models: Option<At<Count<1, 1_000_000>>>,
        /// What the token is good for.
        auth: Option<At<AuthWord>>,
        /// Role of the caller.
        role: Option<At<Text>>,
    }
}

words! {
    /// A kind of content.
    enum ContentWord {
        /// Text.
        Text = "text",
        /// Images.
        Image = "image",
        /// Sound.
        Audio = "audio",
        /// Moving images.
        Video = "video",
        /// Documents.
        File = "file",
    }
}

impl PoolFile {
    /// What it does with batch.
    pub(super) fn batch(&self) -> Option<&At<BatchRulesFile>> {
        match self {
            PoolFile::Llm(pool) => pool.batch.as_ref(),
            PoolFile::Slots(pool) => pool.batch.as_ref(),
        }
    }
}

impl JobsFile {
    /// Jobs that are written out.
    pub(super) fn listed(&self) -> &[At<JobFile>] {
        match self {
            JobsFile::Listed(jobs) => jobs,
            JobsFile::Drawn(_) => &[],
        }
    }

    /// Whether the prompts of all jobs are in files.
    pub(super) fn only_files(&self) -> bool {
        !self.listed().is_empty() && self.listed().iter().all(|job| job.value.file.is_some())
    }
}
