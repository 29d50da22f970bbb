//! A scenario, valid by construction: names are indices, units are gone, every number is in range.
//!
//! [`load()`] turns a file into one or into *all* of its errors at once. After that nothing can fail: overload is a
//! result, not an error.

mod address;
pub mod batch;
mod batch_file;
pub(crate) mod catalog;
pub mod client;
mod client_file;
mod decode;
mod diagnostic;
mod dist_file;
mod document;
mod file;
pub mod fleet;
mod fleet_file;
mod fleet_leaf;
pub mod handed;
pub mod input;
mod leaf;
pub mod live;
mod live_file;
mod load;
mod overrides;
mod per_window;
pub mod plan;
mod plan_file;
pub mod policy;
mod policy_file;
pub mod profile;
mod profile_file;
mod profile_leaf;
mod property_file;
mod quota;
mod refused;
mod resolve;
mod route;
mod units;
mod variants;
mod vary;

pub use batch::{Batch, BatchRules, Below};
pub use client::Client;
pub use diagnostic::{Diagnostic, Diagnostics, SourceText};
pub use fleet::{Fleet, NodeGroup, PoolFleet};
pub use live::{Live, Wire};
pub use load::{Checked, Overrides, check, check_str, load, load_str, schema, variant_names};
pub use policy::Policy;
pub use route::Route;

use crate::dist::Dist;
use crate::profile::Subject;
use crate::replica::step_time::StepLaw;
use crate::request::PoolId;
use crate::time::Span;
use std::path::PathBuf;
use std::sync::Arc;

/// A whole scenario, one variant of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// File stem; names the result folder.
    pub name: String,
    /// The question it answers.
    pub question: String,
    /// Variant these values belong to; `None` for the base.
    pub variant: Option<String>,
    /// Arrivals stop here.
    pub horizon: Span,
    /// Requests that arrive, and tokens that come out, before this are not counted. `< horizon`.
    pub warmup: Span,
    /// What happens to requests in flight at the horizon.
    pub end: End,
    /// Seed of every random stream.
    pub seed: u64,
    /// How many replications, and when to look at them.
    pub replications: Replications,
    /// Width of a timeline bin.
    pub bin: Span,
    /// Models served.
    pub models: Vec<Model>,
    /// Pools of replicas.
    pub pools: Vec<Pool>,
    /// Tiers: what a workload buys.
    pub tiers: Vec<Tier>,
    /// Who sends what.
    pub workloads: Vec<Workload>,
    /// What is asserted of the results.
    pub properties: Vec<Property>,
    /// Limits, accounts, endpoints, operations and exact expectations.
    pub policy: Policy,
    /// Machines, zones, links, faults.
    pub fleet: Fleet,
    /// Jobs of requests that must be over within a window, below everything else.
    pub batches: Vec<Batch>,
    /// How it is played against a live gateway.
    pub live: Live,
    /// Searches that `tidegate plan` makes.
    pub searches: Vec<plan::Search>,
    /// Notes that every report must carry ("pool `chat` uses an uncalibrated roofline").
    pub caveats: Vec<String>,
    /// BLAKE3 over the effective values, overrides included, and the contents of the files it names (hex).
    pub hash: String,
}

impl Scenario {
    /// Whether no random number can change a latency: then one replication is the whole truth, and more would
    /// repeat it.
    pub fn is_deterministic(&self) -> bool {
        let workload = |w: &Workload| {
            let fixed = |dist: &Dist| dist.cv() == 0.0;
            let (arrivals, generated) = match &w.arrivals {
                Arrivals::Renewal(gap) => (fixed(gap), false),
                Arrivals::Trace(trace) => (!trace.format.is_generator(), trace.format.is_generator()),
                Arrivals::Mmpp(_) | Arrivals::Varying(_) | Arrivals::Population { .. } => (false, false),
                Arrivals::Jobs => (true, false),
            };
            let lengths = match &w.lengths {
                Lengths::Independent { prompt, output } => fixed(prompt) && fixed(output),
                Lengths::Joint(pairs) => pairs.iter().all(|pair| *pair == pairs[0]),
                Lengths::FromTrace => !generated,
            };
            let stated = [&w.sender.body, &w.sender.overhead].into_iter().flatten();
            let chosen = self.tiers[w.tier].choice.as_ref();
            let weighted = chosen.is_some_and(|choice| choice.prefer == Prefer::Weighted);
            let spread = w.client.retry.as_ref().is_some_and(|retry| retry.jitter != client::Jitter::None);
            arrivals
                && lengths
                && !(weighted && w.sender.candidates.len() > 1)
                && !spread
                && w.sessions.is_none()
                && w.patience.as_ref().is_none_or(fixed)
                && stated.into_iter().all(fixed)
        };
        let pool = |p: &Pool| {
            let service = match &p.engine {
                Engine::Slots(engine) => engine.service.cv() == 0.0,
                Engine::Llm(_) => true,
            };
            let machines =
                p.fleet.nodes.iter().filter_map(|group| self.fleet.nodes[*group].failures.as_ref());
            let mut failures = p.fleet.failures.iter().chain(machines);
            service
                && (p.replicas == 1 || !p.route.draws())
                && failures.all(|failures| failures.mtbf.cv() == 0.0 && failures.mttr.cv() == 0.0)
                && p.fleet.cold_start.parts().all(|part| part.cv() == 0.0)
        };
        // Prompts come by way of another pool.
        let pool = |p: &Pool| {
            let prompts = p.fleet.prefill.map(|prefill| &self.pools[usize::from(prefill.pool)]);
            pool(p) && prompts.is_none_or(pool)
        };
        let pools = |w: &Workload| {
            let mut candidates = w.sender.candidates.iter().map(|(_, pool)| *pool);
            pool(&self.pools[usize::from(w.pool)]) && candidates.all(|at| pool(&self.pools[usize::from(at)]))
        };
        let batch = |batch: &Batch| {
            let jobs = match &batch.jobs {
                batch::Jobs::Drawn { gap, requests, .. } => gap.cv() == 0.0 && requests.cv() == 0.0,
                batch::Jobs::Listed(_) => true,
            };
            let backend = match &batch.backend {
                batch::Backend::Pool => true,
                batch::Backend::Upstream(time) => time.cv() == 0.0,
            };
            jobs && backend
        };
        self.workloads.iter().all(workload)
            && self.workloads.iter().all(pools)
            && self.batches.iter().all(batch)
    }
}

/// What happens to requests in flight at the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// They run to their end, so that no long request is cut out of the percentiles.
    Drain,
    /// The run stops at once; they are reported as queued or running.
    Cut,
}

/// How many replications to run, and at which counts verdicts may be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replications {
    /// Strictly increasing counts declared beforehand; the last is the most that will be run.
    pub looks: Vec<u32>,
}

/// A model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name in the scenario.
    pub name: String,
    /// Longest prompt plus output, tokens.
    pub context_tokens: u32,
    /// What the vendor says of it.
    pub listing: Listing,
}

/// What the vendor says of a model.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Family and version in it; versions of one family are counted from the newest.
    pub version: Option<(String, u32)>,
    /// Whether it is there when the run starts; otherwise an operation publishes it.
    pub published: bool,
    /// Kind, provider, provenance, whether it is stable and listed.
    pub traits: Subject,
}

/// Identical replicas of one model behind one gateway queue.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name in the scenario.
    pub name: String,
    /// Index of the model it serves.
    pub model: usize,
    /// Most replicas there can be, at least 1; all of them at all times, unless `fleet` says otherwise.
    pub replicas: u16,
    /// GPUs a replica uses; 0 when the pool names neither a GPU nor machines nor a price. A replica of a `slots` pool
    /// on machines, or with a price, uses one.
    pub gpus_per_replica: u32,
    /// How a replica works.
    pub engine: Engine,
    /// How requests are spread over replicas.
    pub route: Route,
    /// Most requests a replica may hold (waiting and running); the rest waits in the gateway. `None`: no bound.
    pub outstanding: Option<u32>,
    /// The gateway's queue in front of the pool.
    pub queue: Queue,
    /// Provisioned concurrency: most requests on all replicas together; the rest waits in the queue.
    pub permits: Option<Permits>,
    /// How its replicas come and go.
    pub fleet: PoolFleet,
    /// How old the loads are that the router sees, at most: it looks at all replicas once in this time. Zero: it
    /// always knows. See [`crate::gateway::route::View`] for what is a load and what is never old.
    pub view_age: Span,
    /// What it does with batch; `None`: no batch uses it.
    pub batch: Option<BatchRules>,
}

/// Provisioned concurrency of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// Requests that may execute at once.
    pub most: u32,
    /// Reason given when the queue behind them is full.
    pub reason: u16,
}

/// The gateway's queue in front of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most requests that wait; one more is refused. `None`: no bound.
    pub most: Option<u32>,
    /// Longest wait; then the request expires. `None`: no bound.
    pub wait: Option<Span>,
    /// Who goes first.
    pub order: QueueOrder,
}

/// Who goes first in a gateway queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueOrder {
    /// First come, first served.
    Fifo,
    /// Lower [`Tier::priority`] first, first come first served among equals.
    Priority,
    /// The tenant that was given the fewest tokens for its [`Workload::weight`], first come first served within a
    /// tenant; priorities count nothing.
    Fair,
}

/// How a replica works.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Continuous (or static) batching of token generation.
    Llm(LlmEngine),
    /// Servers with a service-time distribution.
    Slots(SlotsEngine),
}

/// A replica that generates tokens in steps.
#[derive(Clone, Debug)]
pub struct LlmEngine {
    /// Length of a step, compiled to integers.
    pub law: Arc<StepLaw>,
    /// Batching rules.
    pub batching: Batching,
    /// The KV cache.
    pub kv: Kv,
    /// Longest prompt plus output, tokens; always fits `kv`.
    pub context_tokens: u32,
    /// How batch stays below real-time; `None`: all requests are alike.
    pub below: Option<Below>,
}

/// Batching rules of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// When requests may join and how prompts are processed.
    pub policy: BatchPolicy,
    /// Token budget of a step (decodes and prompt tokens together).
    pub tokens: u32,
    /// Most sequences that run at once.
    pub sequences: u32,
}

/// When requests may join a batch and how prompts are processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchPolicy {
    /// Continuous batching; prompts are cut to what is left of the token budget and share steps with decodes.
    Chunked,
    /// Continuous batching; a prompt is processed whole in a step of its own kind, decodes wait meanwhile.
    Whole,
    /// A batch is closed: nobody joins until all its members are done.
    Static,
}

/// The KV cache of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Tokens a block holds.
    pub block_tokens: u32,
    /// Blocks there are.
    pub blocks: u32,
    /// Blocks that must stay free after an admission.
    pub watermark_blocks: u32,
    /// Whether blocks of equal content are shared and kept after use.
    pub prefix_cache: bool,
}

/// A replica that is `servers` servers with one queue.
#[derive(Clone, Debug)]
pub struct SlotsEngine {
    /// Servers, at least 1.
    pub servers: u32,
    /// Service time, seconds.
    pub service: Dist,
}

/// What a workload buys: pools and a priority.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Its name in the scenario.
    pub name: String,
    /// Lower goes first in a queue ordered by priority.
    pub priority: u8,
    /// Pools it may use.
    pub pools: Vec<PoolId>,
    /// How a request is given to one of several pools; `None`: its model says which.
    pub choice: Option<Choice>,
}

/// How a request is given to one of the pools of its workload ([`policy::Sender::candidates`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which pool is tried first.
    pub prefer: Prefer,
    /// Shares of the pools that are no fallbacks, thousandths that sum to 1,000, in the order of [`Tier::pools`]; for
    /// [`Prefer::Weighted`] only.
    pub weights: Vec<u32>,
    /// How many of [`Tier::pools`], from the end, are tried only when no other takes the request.
    pub fallbacks: usize,
    /// When the next pool is tried.
    pub next: Next,
}

/// Which pool is tried first; ties go to the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// In the order of the file.
    Order,
    /// At random, by weight; then the others in the order of the file.
    Weighted,
    /// The lowest price of a GPU hour for each replica.
    Cheapest,
    /// The lowest mean of its latest answers ([`crate::gateway::choice::Pace`]); one that never answered goes first.
    Fastest,
    /// The fewest requests for each ready replica.
    LeastLoaded,
}

/// When the next pool is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// The pool has no replica that the router believes in.
    Down,
    /// Or a limit or its full queue refuses the request.
    Refused,
    /// Or the request would have to wait.
    Busy,
}

/// A source of requests.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name in the scenario.
    pub name: String,
    /// Index of its tier.
    pub tier: usize,
    /// Pool that serves it: the one of its tier that has its model, the first of [`policy::Sender::candidates`].
    pub pool: PoolId,
    /// Tenants its requests are spread over, at least 1.
    pub tenants: u32,
    /// Share of each of its tenants in a fair queue against tenants of other workloads, thousandths, at least 1.
    pub weight: u32,
    /// When requests (or sessions) start.
    pub arrivals: Arrivals,
    /// How long prompts and outputs are.
    pub lengths: Lengths,
    /// Longest declared output; requests declare it when present.
    pub max_tokens: Option<u32>,
    /// Turns, think time, context growth; `None` for independent requests.
    pub sessions: Option<Sessions>,
    /// Tokens of system prompt that all its requests share (0: none).
    pub shared_prefix_tokens: u32,
    /// How long the client waits; `None`: for ever.
    pub patience: Option<Dist>,
    /// Round trip between client and gateway.
    pub network: Span,
    /// What a good answer is.
    pub objectives: Objectives,
    /// Who sends its requests, and what limits can know of them.
    pub sender: policy::Sender,
    /// What its clients do when an answer does not come.
    pub client: Client,
    /// How its requests look on the wire, when they are played against a live gateway.
    pub wire: Wire,
}

/// When requests (or sessions) start.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Independent gaps with the given distribution (seconds): constant, Poisson (exponential), gamma, Weibull.
    Renewal(Dist),
    /// Markov-modulated Poisson: states with a rate and an exponential stay, visited in order.
    Mmpp(Vec<MmppState>),
    /// Poisson whose rate follows a curve, by thinning.
    Varying(RateCurve),
    /// The times (and lengths) of a recorded trace.
    Trace(Trace),
    /// A fixed population of clients, each sending its next session when the last is over. Closed loop.
    Population {
        /// Clients.
        users: u32,
    },
    /// None of its own: its requests are those of the jobs of a [`Batch`], sent when there is room for them.
    Jobs,
}

/// A state of a Markov-modulated Poisson process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MmppState {
    /// Arrivals per second while in it (0 allowed).
    pub rate_per_s: f64,
    /// Mean stay.
    pub stay: Span,
}

/// A rate that varies in time, arrivals per second.
#[derive(Clone, Debug, PartialEq)]
pub enum RateCurve {
    /// `(from, rate)` pieces in order; the rate holds until the next piece. The first begins at 0.
    Pieces(Vec<(Span, f64)>),
    /// A sine between `trough` and `peak` with the given period, highest at `peak_at`.
    Diurnal {
        /// Highest rate.
        peak: f64,
        /// Lowest rate.
        trough: f64,
        /// When it is highest, after the start.
        peak_at: Span,
        /// Length of a cycle.
        period: Span,
    },
}

/// A recorded trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: TraceFormat,
    /// Time runs this much faster than recorded (2 halves every gap).
    pub speed: f64,
    /// Rows it has (counted when the scenario was checked).
    pub rows: u64,
}

/// Trace formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// `arrival_s,prompt_tokens,output_tokens`.
    Plain,
    /// Azure LLM inference trace 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure2023,
    /// Mooncake JSONL with prefix hash ids.
    Mooncake,
    /// ServeGen client windows.
    ServeGen,
    /// BurstGPT CSV.
    BurstGpt,
}

/// How long prompts and outputs are.
#[derive(Clone, Debug)]
pub enum Lengths {
    /// Drawn independently.
    Independent {
        /// Prompt tokens (of a turn, without the context it carries).
        prompt: Dist,
        /// Output tokens.
        output: Dist,
    },
    /// Pairs of a trace, drawn with replacement: the correlation of prompt and output is kept.
    Joint(Arc<Vec<(u32, u32)>>),
    /// Each request has the lengths of its own row of the arrival trace.
    FromTrace,
}

/// Multi-turn sessions: the next prompt carries the conversation so far.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Turns of a session, at least 1.
    pub turns: Dist,
    /// Time between an answer and the next turn, seconds.
    pub think: Dist,
    /// Longest context carried over, tokens; older tokens are dropped beyond it.
    pub context_most: u32,
}

/// What a good answer is. An absent objective is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objectives {
    /// Time to first token at most.
    pub ttft: Option<Span>,
    /// Mean time per output token at most.
    pub tpot: Option<Span>,
    /// End-to-end latency at most.
    pub e2e: Option<Span>,
}

/// A claim about the results, decided with statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name, unique in the scenario.
    pub name: String,
    /// Whose figure; `None` for all workloads together.
    pub workload: Option<usize>,
    /// Which figure.
    pub measure: Measure,
    /// What it must satisfy.
    pub bound: Bound,
    /// Where the figure is that of this scenario divided by that of another variant of it, under common random numbers.
    pub ratio: Option<Ratio>,
}

/// A comparison with another variant of the same scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// The variant; `None`: the scenario without a variant.
    pub to: Option<String>,
    /// The claim is also made for every such stretch of the horizon; `None`: for the whole only.
    pub each: Option<Span>,
}

/// A figure of a run that a property or a table can name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// A quantile of a latency, in nanoseconds.
    Quantile(Metric, f64),
    /// The mean of a latency, in nanoseconds.
    Mean(Metric),
    /// Share of offered requests with this outcome; of [`crate::request::Outcome::Cancelled`], which is never that of a
    /// request, the share of attempts.
    Share(crate::request::Outcome),
    /// Completed requests per second of the counted time.
    Throughput,
    /// Output tokens per second of the counted time.
    TokenThroughput,
    /// Requests that met every objective, per second of the counted time.
    GoodputRate,
    /// Share of offered requests that met every objective.
    GoodputShare,
    /// Busy time of the workload's pools (all pools when none) divided by time.
    Utilization,
    /// Attempts at the gateway for each request.
    Amplification,
    /// Output tokens of answers that were not completed for anybody, divided by all output tokens.
    Wasted,
    /// Cost of an hour of the counted time, in the scenario's currency.
    Cost,
    /// Cost of a million output tokens, in the scenario's currency.
    CostPerMillionTokens,
    /// Replicas of the workload's pools (all pools when none) that serve, mean over the counted time.
    Replicas,
    /// A share of the jobs of a batch, or of their requests.
    Jobs(JobShare),
    /// A quantile of the time from the submission to the end of the jobs of a batch that were completed, nanoseconds.
    JobQuantile(f64),
    /// The mean of that time, nanoseconds.
    JobMean,
}

impl Measure {
    /// Whether it is a figure of the jobs of a batch.
    pub fn is_of_jobs(&self) -> bool {
        matches!(self, Measure::Jobs(_) | Measure::JobQuantile(_) | Measure::JobMean)
    }
}

/// A share of the jobs of a batch that are decided (see [`crate::observe::jobs::JobRecord`]): those that were over, or
/// whose window closed inside the run; or of all requests of those jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobShare {
    /// Jobs that were completed: every request of theirs was over before their window closed.
    Completed,
    /// Jobs whose window closed before that.
    Expired,
    /// Jobs that were refused, or failed when they were checked.
    Failed,
    /// Requests that were answered.
    RequestsCompleted,
    /// Requests that were not done when the window of their job closed.
    RequestsExpired,
}

impl JobShare {
    /// All of them, in table order.
    pub const ALL: [JobShare; 5] = [
        JobShare::Completed,
        JobShare::Expired,
        JobShare::Failed,
        JobShare::RequestsCompleted,
        JobShare::RequestsExpired,
    ];

    /// The name used in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            JobShare::Completed => "jobs completed",
            JobShare::Expired => "jobs expired",
            JobShare::Failed => "jobs failed",
            JobShare::RequestsCompleted => "batch requests completed",
            JobShare::RequestsExpired => "batch requests expired",
        }
    }
}

/// A latency with a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Arrival at the gateway to first token.
    Ttft,
    /// Each gap between tokens.
    Itl,
    /// Mean gap of one request.
    Tpot,
    /// Arrival at the gateway to the end.
    E2e,
    /// What the client sees: E2E plus the network round trip.
    ClientE2e,
}

impl Metric {
    /// All metrics, in table order.
    pub const ALL: [Metric; 5] = [Metric::Ttft, Metric::Itl, Metric::Tpot, Metric::E2e, Metric::ClientE2e];

    /// The name used in files, flags and tables.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Ttft => "ttft",
            Metric::Itl => "itl",
            Metric::Tpot => "tpot",
            Metric::E2e => "e2e",
            Metric::ClientE2e => "client-e2e",
        }
    }
}

/// What a figure must satisfy, in the figure's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

#[cfg(test)]
mod tests;
