//! The shape of a scenario file: every section and key there is, with its type, range and default.
//!
//! This is the only list of keys. The decoder, the JSON Schema and its descriptions come from it; what a value means
//! together with others is decided in `resolve`.

use super::batch_file::{BatchFile, BatchRulesFile};
use super::client_file::{HedgeFile, RetryFile};
use super::decode::{At, Decode, Entries, Lenient, List, Named, choice, section, words};
use super::diagnostic::Errors;
use super::dist_file::{DistFile, Lengths, Times, Turns};
use super::document::{Node, Value};
use super::fleet_file::{
    ColdStartFile, FailuresFile, FaultFile, LinkFile, NextWord, NodesFile, OnFailureWord, PlaceWord,
    PreferWord, PrefillFile, ReplicasFile, ScalingFile,
};
use super::fleet_leaf::Price;
use super::leaf::{
    ArchitectureName, Bytes, CalibrationName, Coefficient, Count, Cv, Delay, Duration, GpuName, Lasting,
    Name, Number, Rate, Share, TOKENS_MOST, Text, Tokens, YEAR,
};
use super::live_file::{LiveFile, WireFile};
use super::plan_file::PlanFile;
use super::policy_file::{AccountFile, EndpointFile, ExpectFile, LimitFile, OperationFile, RequestFile};
use super::property_file::PropertyFile;
use super::variants::Variants;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

const MS: u64 = 1_000_000;

section! {
    /// A tidegate scenario: who sends what to which GPUs, and what must hold.
    struct ScenarioFile {
        /// What is asked, for how long, how often.
        scenario: Lenient<Run>,
        /// Models that are served.
        models: Named<ModelFile>,
        /// Groups of equal machines that pools may be placed on.
        nodes: Named<NodesFile>,
        /// Links that KV caches are sent over.
        links: Named<LinkFile>,
        /// Pools of identical replicas, each behind one gateway queue.
        pools: Named<PoolFile>,
        /// Tiers: the pools a workload may use, and its priority.
        tiers: Named<TierFile>,
        /// Customers of the gateway; one of the name `main` when left out.
        accounts: Named<AccountFile>,
        /// Endpoints: models under a name, in front of pools.
        endpoints: Named<EndpointFile>,
        /// Limits of the profile that are other than it says.
        limits: Named<LimitFile>,
        /// Sources of requests.
        workloads: Named<WorkloadFile>,
        /// Jobs of many requests that must be over within a window, below everything else.
        batch: Named<BatchFile>,
        /// What is done on the control plane during the run.
        operations: Entries<OperationFile>,
        /// What fails, or slows down, at a given time.
        faults: Entries<FaultFile>,
        /// Exact counts and times that every run must have.
        expect: Entries<ExpectFile>,
        /// Claims about the results, decided with statistics.
        properties: Entries<PropertyFile>,
        /// How it is played against a live gateway, and what an emulated one does wrong; simulations ignore it.
        live: Option<At<LiveFile>>,
        /// Searches for the largest value of a key with which the ratio properties hold.
        plan: Entries<PlanFile>,
        /// Named sets of overrides: key paths, in quotes, and their values.
        variants: Variants,
    }
}

section! {
    /// What is asked, for how long, how often.
    struct Run {
        /// The question this scenario answers, one sentence.
        question: At<Text>,
        /// How long requests arrive.
        horizon: At<Duration<MS, { 10 * YEAR }>>,
        /// What arrives and comes out before this is simulated but not counted. Shorter than the horizon.
        warmup: At<Delay> = "0s",
        /// Seed of every random stream. Runs with the same seed see the same arrivals, whatever the variant.
        seed: At<Count<0, { u64::MAX }>> = 1,
        /// Independent repetitions, and when verdicts may be looked at.
        replications: At<ReplicationsFile> = 10,
        /// What happens to requests in flight at the horizon.
        end: At<EndWord> = "drain",
        /// Width of a bin of the timeline; about 200 bins when left out.
        bin: Option<At<Duration<MS, YEAR>>>,
        /// Whose limits hold: the id of a built-in profile, or the path of a file (it has a `/` or ends in `.toml`),
        /// relative to the scenario. No limits when left out.
        profile: Option<At<Text>>,
        /// Sets of limits of the profile that are on; off when not named.
        overlays: At<List<Name>> = [],
    }
}

words! {
    /// What happens to requests in flight at the horizon.
    enum EndWord {
        /// They run to their end, so that no long request is cut out of the percentiles.
        Drain = "drain",
        /// The run stops at once; they are reported as queued or running.
        Cut = "cut",
    }
}

/// `10`, `{ start, most }` or `{ looks }`.
#[derive(Clone, Debug)]
pub(super) enum ReplicationsFile {
    Fixed(At<Count<1, 10_000>>),
    Doubling(Doubling),
    Looks(Looks),
}

section! {
    /// Start with a few, double while a verdict is inconclusive.
    struct Doubling {
        /// Replications at the first look.
        start: At<Count<1, 10_000>>,
        /// Replications at the last look.
        most: At<Count<1, 10_000>>,
    }
}

section! {
    /// Counts at which verdicts are looked at, declared beforehand.
    struct Looks {
        /// Strictly increasing.
        looks: At<Vec<At<Count<1, 10_000>>>>,
    }
}

impl Decode for ReplicationsFile {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.value {
            Value::Table(table) if table.get("looks").is_some() => {
                Looks::decode(node, errors).map(Self::Looks)
            }
            Value::Table(_) => Doubling::decode(node, errors).map(Self::Doubling),
            _ => At::read(node, errors).map(Self::Fixed),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::Fixed(count) => count.value.canonical(out),
            Self::Doubling(doubling) => doubling.canonical(out),
            Self::Looks(looks) => looks.canonical(out),
        }
    }
}

impl JsonSchema for ReplicationsFile {
    fn schema_name() -> Cow<'static, str> {
        "Replications".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [
            generator.subschema_for::<Count<1, 10_000>>(),
            generator.subschema_for::<Doubling>(),
            generator.subschema_for::<Looks>(),
        ];
        schemars::json_schema!({ "oneOf": forms })
    }
}

section! {
    /// A model.
    struct ModelFile {
        /// Its published architecture; needed by roofline step times and to size the KV cache.
        architecture: Option<At<ArchitectureName>>,
        /// Longest prompt plus output it is served with; the architecture's own when left out.
        context: Option<At<Tokens<1, TOKENS_MOST>>>,
        /// What it does: `chat`, `embedding`, `rerank`, `audio`, `tts`, `image`.
        kind: Option<At<Text>>,
        /// Who made it.
        provider: Option<At<Text>>,
        /// Where it comes from: `hosted`, `commercial`, `open-source`.
        provenance: Option<At<Text>>,
        /// Family it is a version of.
        family: Option<At<Text>>,
        /// Which version of its family; higher is newer.
        version: Option<At<Count<0, 1_000_000_000>>>,
        /// Whether its version is stable.
        stable: Option<At<bool>>,
        /// Whether the vendor lists it.
        listed: Option<At<bool>>,
        /// `false`: an operation publishes it.
        published: At<bool> = true,
    }
}

choice! {
    /// Identical replicas of one model behind one gateway queue.
    enum PoolFile by engine or "llm" {
        /// Replicas that generate tokens in steps: continuous or static batching.
        Llm(LlmPool) = "llm",
        /// Replicas that are servers with a service-time distribution.
        Slots(SlotsPool) = "slots",
    }
}

section! {
    /// Replicas that generate tokens in steps.
    struct LlmPool {
        /// The model it serves.
        model: At<Name>,
        /// GPU type; needed by roofline step times and to size the KV cache.
        gpu: Option<At<GpuName>>,
        /// How many replicas: a number, or a range that `scaling` chooses from.
        replicas: At<ReplicasFile> = 1,
        /// GPUs a replica is sharded over.
        tensor_parallel: At<Count<1, 1_024>> = 1,
        /// Format of the weights; `bf16` when left out.
        precision: Option<At<PrecisionWord>>,
        /// How long a step takes.
        step_time: At<StepTimeFile>,
        /// When requests may join a batch and how prompts are processed.
        batching: At<BatchingFile> = {},
        /// The KV cache of a replica.
        kv: At<KvFile> = {},
        /// How requests are spread over replicas.
        route: At<RouteWord> = "least-loaded",
        /// The router looks at the loads of replicas once in this time and knows nothing newer; `0s`: it always knows
        /// them.
        view_age: At<Delay> = "0s",
        /// Most requests a replica may hold, waiting and running; the rest waits in the gateway. No bound when left
        /// out.
        outstanding: Option<At<Count<1, 1_000_000>>>,
        /// The gateway's queue in front of the pool.
        queue: At<QueueFile> = {},
        /// Groups of machines its replicas may be placed on, in order of preference; GPUs without end when left out.
        nodes: Option<At<Vec<At<Name>>>>,
        /// How replicas are placed on several `nodes`.
        place: At<PlaceWord> = "in-order",
        /// How the number of replicas follows the load.
        scaling: Option<At<ScalingFile>>,
        /// What a replica needs before it serves; for replicas that come and go.
        cold_start: Option<At<ColdStartFile>>,
        /// How each replica fails by itself.
        failures: Option<At<FailuresFile>>,
        /// What becomes of the requests of a replica that fails.
        on_failure: At<OnFailureWord> = "lose",
        /// Time until the router notices that a replica is gone, or back.
        notice: At<Delay> = "0s",
        /// Price of a GPU for an hour, for pools that name no `nodes`.
        price: Option<At<Price>>,
        /// The pool that processes its prompts; it does so itself when left out.
        prefill: Option<At<PrefillFile>>,
        /// What it does with batch.
        batch: Option<At<BatchRulesFile>>,
    }
}

section! {
    /// Replicas that are servers with a service-time distribution.
    struct SlotsPool {
        /// The model it serves.
        model: At<Name>,
        /// How many replicas: a number, or a range that `scaling` chooses from.
        replicas: At<ReplicasFile> = 1,
        /// Servers of a replica.
        servers: At<Count<1, 1_000_000>>,
        /// How long a server works on a request.
        service: At<DistFile<Times>>,
        /// How requests are spread over replicas.
        route: At<RouteWord> = "least-loaded",
        /// The router looks at the loads of replicas once in this time and knows nothing newer; `0s`: it always knows
        /// them.
        view_age: At<Delay> = "0s",
        /// Most requests a replica may hold, waiting and running; the rest waits in the gateway. No bound when left
        /// out.
        outstanding: Option<At<Count<1, 1_000_000>>>,
        /// The gateway's queue in front of the pool.
        queue: At<QueueFile> = {},
        /// Groups of machines its replicas may be placed on, in order of preference; GPUs without end when left out.
        nodes: Option<At<Vec<At<Name>>>>,
        /// How replicas are placed on several `nodes`.
        place: At<PlaceWord> = "in-order",
        /// How the number of replicas follows the load.
        scaling: Option<At<ScalingFile>>,
        /// What a replica needs before it serves; for replicas that come and go.
        cold_start: Option<At<ColdStartFile>>,
        /// How each replica fails by itself.
        failures: Option<At<FailuresFile>>,
        /// What becomes of the requests of a replica that fails.
        on_failure: At<OnFailureWord> = "lose",
        /// Time until the router notices that a replica is gone, or back.
        notice: At<Delay> = "0s",
        /// Price of a replica for an hour, for pools that name no `nodes`.
        price: Option<At<Price>>,
        /// What it does with batch.
        batch: Option<At<BatchRulesFile>>,
    }
}

words! {
    /// Format of a model's weights.
    enum PrecisionWord {
        /// 16-bit weights.
        Bf16 = "bf16",
        /// 8-bit floating point.
        Fp8 = "fp8",
        /// 8-bit integers.
        Int8 = "int8",
        /// NVFP4, 4-bit weights with a scale per 16.
        Fp4 = "fp4",
        /// MXFP4 experts, the rest 16-bit.
        Mxfp4 = "mxfp4",
    }
}

words! {
    /// Format of the KV cache.
    enum KvPrecisionWord {
        /// 16 bits a value.
        Bf16 = "bf16",
        /// 8 bits a value.
        Fp8 = "fp8",
    }
}

choice! {
    /// How long a step takes.
    enum StepTimeFile by kind {
        /// Coefficients given here.
        Linear(LinearFile) = "linear",
        /// From GPU, model, precision and tensor parallelism, never faster than the data sheet.
        Roofline(RooflineFile) = "roofline",
        /// Measured steps, interpolated.
        Table(TableFile) = "table",
        /// A linear law fitted to measurements by `tidegate calibrate`.
        Calibrated(CalibratedFile) = "calibrated",
    }
}

section! {
    /// `base + per_sequence * sequences + per_prefill_token * prompt tokens + per_decode * decoding sequences
    /// + per_context_token * their tokens in the cache`, rounded down to whole quanta.
    struct LinearFile {
        /// Every step.
        base: At<Coefficient>,
        /// Each sequence in the step.
        per_sequence: At<Coefficient> = "0s",
        /// Each prompt token.
        per_prefill_token: At<Coefficient> = "0s",
        /// Each decoding sequence.
        per_decode: At<Coefficient> = "0s",
        /// Each token in the KV cache of the decoding sequences.
        per_context_token: At<Coefficient> = "0s",
        /// Step lengths are whole multiples of this.
        quantum: At<Duration<1, 1_000_000_000>> = "1ns",
    }
}

section! {
    /// From GPU, model, precision and tensor parallelism.
    struct RooflineFile {
        /// How far the engine stays below the data sheet, by name.
        calibration: At<CalibrationName>,
        /// Step lengths are whole multiples of this.
        quantum: At<Duration<1, 1_000_000_000>> = "1ns",
    }
}

section! {
    /// Measured steps.
    struct TableFile {
        /// CSV with the columns `kind,sequences,context_tokens,prefill_tokens,step_us`, relative to the scenario.
        path: At<Text>,
        /// Step lengths are whole multiples of this.
        quantum: At<Duration<1, 1_000_000_000>> = "1ns",
    }
}

section! {
    /// A fitted law.
    struct CalibratedFile {
        /// File that `tidegate calibrate` wrote, relative to the scenario.
        file: At<Text>,
        /// Step lengths are whole multiples of this.
        quantum: At<Duration<1, 1_000_000_000>> = "1ns",
    }
}

choice! {
    /// When requests may join a batch and how prompts are processed.
    enum BatchingFile by policy or "chunked" {
        /// Continuous batching; prompts are cut to what is left of the token budget and share steps with decodes.
        Chunked(ContinuousFile) = "chunked",
        /// Continuous batching; prompts are processed whole in steps of their own, decodes wait meanwhile.
        Whole(ContinuousFile) = "whole",
        /// A batch is closed: nobody joins until all its members are done.
        Static(StaticFile) = "static",
    }
}

section! {
    /// Budgets of continuous batching.
    struct ContinuousFile {
        /// Token budget of a step, decodes and prompt tokens together.
        tokens: At<Tokens<1, 1_000_000>> = 2048,
        /// Most sequences that run at once.
        sequences: At<Count<1, 65_536>> = 256,
    }
}

section! {
    /// Size of a static batch.
    struct StaticFile {
        /// Most sequences of a batch.
        sequences: At<Count<1, 65_536>>,
    }
}

section! {
    /// The KV cache of a replica. Its size is `blocks`, or `memory`, or what `utilization` leaves beside the weights.
    struct KvFile {
        /// Tokens a block holds, a power of two.
        block: At<Count<1, 4_096>> = 16,
        /// Share of GPU memory the engine may use; 0.9 when no size is given.
        utilization: Option<At<Share>>,
        /// Memory for the cache on each GPU.
        memory: Option<At<Bytes<1, { 1 << 50 }>>>,
        /// Blocks there are.
        blocks: Option<At<Count<1, 1_000_000_000>>>,
        /// Format of cached values; `bf16` when left out.
        precision: Option<At<KvPrecisionWord>>,
        /// Share of the blocks that must stay free after an admission.
        watermark: At<Share> = 0.01,
        /// Whether blocks of equal content are shared and kept after use.
        prefix_cache: At<bool> = false,
    }
}

words! {
    /// How requests are spread over the replicas of a pool.
    enum RouteWord {
        /// In turn.
        RoundRobin = "round-robin",
        /// Uniformly at random.
        Random = "random",
        /// The smallest load `4 * waiting + running`, ties to the lowest index.
        LeastLoaded = "least-loaded",
        /// The fewest requests held, waiting and running, ties to the lowest index.
        LeastOutstanding = "least-outstanding",
        /// The smaller load of two drawn at random.
        PowerOfTwo = "power-of-two",
        /// The fewest tokens of requests held (prompts and declared `max_tokens`), ties to the lowest index.
        ShortestTokens = "shortest-tokens",
        /// The replica that has the prefix, unless it holds more than 1.25 times the mean load.
        PrefixAffinity = "prefix-affinity",
        /// The replica that a hash of the session falls to; the next one on the ring while that is down or full.
        SessionAffinity = "session-affinity",
        /// The replica that was last sent the longest known prefix, unless its load is above the least by more than 64
        /// and by more than half.
        KvAware = "kv-aware",
    }
}

section! {
    /// The gateway's queue in front of a pool. It forms only when `outstanding` bounds what replicas hold.
    struct QueueFile {
        /// Most requests that wait; one more is refused. No bound when left out.
        most: Option<At<Count<0, 100_000_000>>>,
        /// Longest wait; then the request expires. No bound when left out.
        wait: Option<At<Lasting>>,
        /// Who goes first.
        order: At<OrderWord> = "fifo",
    }
}

words! {
    /// Who goes first in a gateway queue.
    enum OrderWord {
        /// First come, first served.
        Fifo = "fifo",
        /// The tier with the lower `priority` first, first come first served among equals.
        Priority = "priority",
        /// The tenant that was given the fewest tokens for its `weight`, first come first served within a tenant. What
        /// was idle has no credit. Priorities of tiers count nothing.
        Fair = "fair",
    }
}

section! {
    /// What a workload buys: pools and a priority.
    struct TierFile {
        /// Pools it may use: at most one for each model, unless it says which to `prefer`.
        pools: At<Vec<At<Name>>>,
        /// Lower goes first in a queue ordered by priority.
        priority: At<Count<0, 255>> = 0,
        /// Which of several pools is tried first; with `fallback` alone, that of the file.
        prefer: Option<At<PreferWord>>,
        /// Shares of the pools, any scale: for `weighted`.
        weights: Option<At<Vec<At<Number<1, 1_000_000_000>>>>>,
        /// Pools that are tried in order when no other takes a request.
        fallback: Option<At<Vec<At<Name>>>>,
        /// When the next pool is tried; `refused` when left out.
        next: Option<At<NextWord>>,
    }
}

section! {
    /// A source of requests.
    struct WorkloadFile {
        /// What it buys; instead of it, it may call an `endpoint`.
        tier: Option<At<Name>>,
        /// The endpoint it calls.
        endpoint: Option<At<Name>>,
        /// The model it asks for; may be left out when its tier or endpoint serves one model only.
        model: Option<At<Name>>,
        /// Models it may be given, best first: the first that the gates let through. Instead of `model`.
        models: Option<At<Vec<At<Name>>>>,
        /// Whose requests they are; the endpoint's account, or the only one, when left out.
        account: Option<At<Name>>,
        /// Token that all its tenants share; one for each tenant when left out.
        token: Option<At<Name>>,
        /// User that all its tenants are; one for each tenant when left out.
        user: Option<At<Name>>,
        /// What limits can know of its requests.
        request: At<RequestFile> = {},
        /// Tenants its requests are spread over.
        tenants: At<Count<1, 1_000_000>> = 1,
        /// Share of each of its tenants in queues with `order = "fair"`, against tenants of other workloads; in
        /// thousandths.
        weight: At<Number<1, 1_000_000>> = 1.0,
        /// When requests, or sessions, start.
        arrivals: At<ArrivalsFile>,
        /// Prompt tokens (of a turn: without the shared prefix and the conversation it carries).
        prompt: Option<At<DistFile<Lengths>>>,
        /// Output tokens.
        output: Option<At<DistFile<Lengths>>>,
        /// Prompt and output together, from a trace.
        lengths: Option<At<LengthsFile>>,
        /// Output limit the client declares.
        max_tokens: Option<At<Tokens<1, TOKENS_MOST>>>,
        /// Conversations of several turns.
        sessions: Option<At<SessionsFile>>,
        /// Tokens of system prompt that all its requests share, in front of `prompt`.
        shared_prefix: At<Tokens<0, TOKENS_MOST>> = 0,
        /// How long the client waits before it gives up; for ever when left out.
        patience: Option<At<DistFile<Times>>>,
        /// When its clients try again; never when left out.
        retry: Option<At<RetryFile>>,
        /// When its clients send a second attempt beside the first; never when left out.
        hedge: Option<At<HedgeFile>>,
        /// `false`: the gateway does not learn that a client gave up, and the work goes on.
        hang_up: At<bool> = true,
        /// Round trip between client and gateway.
        network: At<Delay> = "0s",
        /// What a good answer is.
        objectives: Option<At<ObjectivesFile>>,
        /// How its requests look on the wire, when they are played against a live gateway.
        live: Option<At<WireFile>>,
        /// `false` leaves the workload out.
        enabled: At<bool> = true,
    }
}

choice! {
    /// When requests, or sessions, start.
    enum ArrivalsFile by kind {
        /// Equal gaps.
        Constant(PlainRate) = "constant",
        /// Independent exponential gaps.
        Poisson(PlainRate) = "poisson",
        /// Independent gamma gaps: burstier than Poisson when cv > 1.
        Gamma(RateAndCv) = "gamma",
        /// Independent Weibull gaps.
        Weibull(RateAndCv) = "weibull",
        /// Markov-modulated Poisson: states with a rate and an exponential stay, in turn.
        Mmpp(MmppFile) = "mmpp",
        /// Poisson with a rate that changes in steps.
        Piecewise(PiecewiseFile) = "piecewise",
        /// Poisson with a rate that follows a sine.
        Diurnal(DiurnalFile) = "diurnal",
        /// The times of a recorded trace.
        Trace(TraceFile) = "trace",
        /// A fixed population of clients, each sending its next session when the last is over.
        Population(PopulationFile) = "population",
    }
}

section! {
    /// A mean rate.
    struct PlainRate {
        /// Mean arrivals per time.
        rate: At<Rate>,
    }
}

section! {
    /// A mean rate and a coefficient of variation.
    struct RateAndCv {
        /// Mean arrivals per time.
        rate: At<Rate>,
        /// Standard deviation of the gaps divided by their mean.
        cv: At<Cv>,
    }
}

section! {
    /// States in turn.
    struct MmppFile {
        /// At least two.
        states: At<Vec<At<MmppStateFile>>>,
    }
}

section! {
    /// A state of a Markov-modulated Poisson process.
    struct MmppStateFile {
        /// Arrivals per time while in it; may be zero.
        rate: At<Rate>,
        /// Mean stay.
        stay: At<Duration<MS, YEAR>>,
    }
}

section! {
    /// A rate that changes in steps.
    struct PiecewiseFile {
        /// In order; the first begins at `0s`.
        pieces: At<Vec<At<PieceFile>>>,
    }
}

section! {
    /// A rate from an instant on.
    struct PieceFile {
        /// From when, after the start.
        from: At<Delay>,
        /// Arrivals per time until the next piece; may be zero.
        rate: At<Rate>,
    }
}

section! {
    /// A rate that follows a sine between trough and peak.
    struct DiurnalFile {
        /// Highest rate.
        peak: At<Rate>,
        /// Lowest rate.
        trough: At<Rate>,
        /// When it is highest, after the start.
        peak_at: At<Delay>,
        /// Length of a cycle.
        period: At<Duration<{ 1_000 * MS }, YEAR>> = "24h",
    }
}

section! {
    /// A recorded trace.
    struct TraceFile {
        /// The file, plain or gzip, relative to the scenario. `${TRACE}` stands for `--trace`, `${NAME}` for an
        /// environment variable; a path that begins with one is relative to the working directory.
        path: At<Text>,
        /// How it is written; recognised by its first line when left out.
        format: Option<At<FormatWord>>,
        /// Time runs this much faster than recorded.
        speed: At<Number<1, 1_000_000>> = 1.0,
    }
}

words! {
    /// How a trace is written.
    enum FormatWord {
        /// CSV `arrival_s,prompt_tokens,output_tokens`; `arrival_us` and `arrival_ms` work, too.
        Plain = "plain",
        /// Azure LLM inference trace 2023.
        Azure2023 = "azure-2023",
        /// Mooncake JSONL with prefix hash ids.
        Mooncake = "mooncake",
        /// ServeGen client windows.
        ServeGen = "servegen",
        /// BurstGPT CSV.
        BurstGpt = "burstgpt",
    }
}

section! {
    /// A fixed population of clients. They need `sessions` for their think time.
    struct PopulationFile {
        /// Clients.
        users: At<Count<1, 10_000_000>>,
    }
}

/// `"trace"`, or a file of pairs to draw from.
#[derive(Clone, Debug)]
pub(super) enum LengthsFile {
    FromTrace,
    Pairs(PairsFile),
}

section! {
    /// Prompt and output pairs of a trace, drawn with replacement: their correlation is kept.
    struct PairsFile {
        /// The file, as in `arrivals`.
        path: At<Text>,
        /// How it is written; recognised by its first line when left out.
        format: Option<At<FormatWord>>,
    }
}

words! {
    /// Every request has the lengths of its own row of the arrival trace.
    enum TraceWord {
        /// Every request has the lengths of its own row of the arrival trace.
        Trace = "trace",
    }
}

impl Decode for LengthsFile {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::Table(_) => PairsFile::decode(node, errors).map(Self::Pairs),
            _ => TraceWord::decode(node, errors).map(|_| Self::FromTrace),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::FromTrace => out.push_str("trace"),
            Self::Pairs(pairs) => pairs.canonical(out),
        }
    }
}

impl JsonSchema for LengthsFile {
    fn schema_name() -> Cow<'static, str> {
        "Lengths".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<TraceWord>(), generator.subschema_for::<PairsFile>()];
        schemars::json_schema!({ "oneOf": forms })
    }
}

section! {
    /// Conversations: the next prompt carries what was said so far.
    struct SessionsFile {
        /// Turns of a conversation.
        turns: At<DistFile<Turns>> = 1,
        /// Time between an answer and the next turn.
        think: At<DistFile<Times>>,
        /// Longest conversation carried over, tokens; what is older is dropped. The model's context when left out.
        context_most: Option<At<Tokens<0, TOKENS_MOST>>>,
    }
}

section! {
    /// What a good answer is. An objective that is left out is met.
    struct ObjectivesFile {
        /// Time to first token at most.
        ttft: Option<At<Lasting>>,
        /// Mean time per output token at most.
        tpot: Option<At<Lasting>>,
        /// End-to-end latency at most.
        e2e: Option<At<Lasting>>,
    }
}
