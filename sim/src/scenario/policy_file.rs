//! The vendor's side of a scenario file: accounts, endpoints, limits that differ from the profile's, operations, and
//! exact expectations.

use super::address::{Address, Network};
use super::decode::{At, Decode, List, section, words, wrong_kind};
use super::diagnostic::Errors;
use super::dist_file::{DistFile, Sizes, Times};
use super::document::{Node, Value};
use super::fleet_file::{NextWord, PreferWord};
use super::fleet_leaf::Mode;
use super::leaf::{
    Bytes, Count, Delay, Duration, Lasting, Name, Number, Text, VerbName, YEAR, inline_schema,
};
use super::per_window::PerWindow;
use super::profile_leaf::Permille;
use crate::time::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Most of anything a limit can be set to.
pub(super) const MOST: u64 = 1_000_000_000_000;

section! {
    /// A limit of the profile that is other than it says.
    struct LimitFile {
        /// Units in a window, `"400/s"` or `"50/5min"`: for rates.
        value: Option<At<PerWindow>>,
        /// Most at once: for `concurrency` and `quota`.
        most: Option<At<Count<0, MOST>>>,
        /// Least allowed: for sizes.
        at_least: Option<At<Quantum>>,
        /// Most allowed: for sizes, and times of deadlines.
        at_most: Option<At<Quantum>>,
        /// Bound that must not be reached: for sizes, and times of overheads.
        below: Option<At<Quantum>>,
        /// All that the gate lets through.
        allow: Option<At<Vec<At<Text>>>>,
        /// How a rate is counted.
        algorithm: Option<At<AlgorithmWord>>,
        /// Capacity of a token bucket; the units of a window when left out.
        burst: Option<At<Count<1, MOST>>>,
        /// Whether what a rate refuses counts, too.
        counts_refused: Option<At<bool>>,
        /// What a gate does with what does not pass.
        action: Option<At<ActionWord>>,
        /// Places in the queue for each unit of provisioned concurrency: for `permits`.
        queue: Option<At<Permille<1_000_000>>>,
        /// Who decided the value.
        source: Option<At<SourceWord>>,
        /// `false` switches off a limit that no document states.
        enabled: At<bool> = true,
    }
}

words! {
    /// How a rate is counted.
    enum AlgorithmWord {
        /// Every unit leaves exactly one window after it came.
        SlidingLog = "sliding-log",
        /// A bucket that refills continuously.
        TokenBucket = "token-bucket",
        /// Windows aligned at multiples of their length.
        FixedWindow = "fixed-window",
    }
}

words! {
    /// What a gate does with what does not pass.
    enum ActionWord {
        /// It is refused.
        Refuse = "refuse",
        /// The offending part is ignored.
        Ignore = "ignore",
        /// It is served, with a warning before the run.
        Warn = "warn",
    }
}

words! {
    /// Who decided a value.
    enum SourceWord {
        /// The vendor agreed to another value than it documents.
        Negotiated = "negotiated",
        /// The vendor publishes no value; the account has this one.
        Account = "account",
    }
}

section! {
    /// A customer of the gateway.
    struct AccountFile {
        /// Its region.
        region: Option<At<Text>>,
        /// Region of the control plane that serves it.
        control_plane: Option<At<Text>>,
        /// Compliance profiles that are on; `[]` when it is known that none is.
        compliance: Option<At<List<Text>>>,
        /// Customer tier.
        tier: Option<At<Count<0, 1_000>>>,
        /// Security tier.
        security_tier: Option<At<Text>>,
        /// Whether it is used in production.
        production: Option<At<bool>>,
        /// Networks that may call; any when left out.
        ingress: Option<At<List<Network>>>,
    }
}

section! {
    /// An endpoint: models under a name, in front of pools.
    struct EndpointFile {
        /// What kind, in the vendor's words.
        kind: Option<At<Text>>,
        /// Whose it is; the only account's when left out.
        account: Option<At<Name>>,
        /// `false`: an operation creates it.
        exists: At<bool> = true,
        /// Whether it is route optimized.
        route_optimized: Option<At<bool>>,
        /// Workload size, for limits that ask for it.
        size: Option<At<SizeWord>>,
        /// What its models run on.
        compute: Option<At<ComputeWord>>,
        /// Init scripts; `[]` when it is known that there are none.
        init_scripts: Option<At<List<Text>>>,
        /// What the service adds to each request before the queue.
        overhead: Option<At<DistFile<Times>>>,
        /// Lower goes first in a queue ordered by priority.
        priority: At<Count<0, 255>> = 0,
        /// What it serves.
        serves: At<List<ServedFile>> = [],
        /// Which of several pools is tried first; with `fallback` alone, that of the file.
        prefer: Option<At<PreferWord>>,
        /// Pools that are tried in order when no other takes a request.
        fallback: Option<At<Vec<At<Name>>>>,
        /// When the next pool is tried; `refused` when left out.
        next: Option<At<NextWord>>,
    }
}

words! {
    /// Workload size of an endpoint.
    enum SizeWord {
        /// Concurrency 4.
        Small = "small",
        /// Concurrency 8 to 16.
        Medium = "medium",
        /// Concurrency 16 to 64.
        Large = "large",
        /// Any other.
        Custom = "custom",
    }
}

words! {
    /// What the models of an endpoint run on.
    enum ComputeWord {
        /// Processors.
        Cpu = "cpu",
        /// Accelerators.
        Gpu = "gpu",
    }
}

section! {
    /// A model that an endpoint serves.
    struct ServedFile {
        /// The pool that works for it; may be left out when no workload calls the endpoint.
        pool: Option<At<Name>>,
        /// The model; the pool's when left out.
        model: Option<At<Name>>,
        /// Provisioned concurrency: requests that may execute at once.
        concurrency: Option<At<Count<1, 10_000_000>>>,
        /// Environment variables it is given.
        env_vars: Option<At<Count<0, 1_000_000>>>,
        /// Resident memory.
        memory: Option<At<Bytes<0, { 1 << 60 }>>>,
        /// Its share of the requests, any scale: for `weighted`.
        traffic: Option<At<Number<1, 1_000_000_000>>>,
        /// How it is deployed: for entries of a router.
        mode: Option<At<Mode>>,
    }
}

section! {
    /// What limits can know of the requests of a workload. What is left out is not known.
    struct RequestFile {
        /// Size of the body.
        body: Option<At<DistFile<Sizes>>>,
        /// What the token is good for.
        auth: Option<At<AuthWord>>,
        /// Where it comes from; compared with the account's `ingress`.
        from: Option<At<Address>>,
        /// Role of the caller.
        role: Option<At<Text>>,
        /// Messages of a chat request.
        messages: Option<At<Count<0, 1_000_000_000>>>,
        /// Stop sequences.
        stops: Option<At<Count<0, 1_000_000_000>>>,
        /// Completions asked for.
        choices: Option<At<Count<0, 1_000_000_000>>>,
        /// Kinds of content parts.
        modality: Option<At<List<Text>>>,
        /// Kinds of tools it offers.
        tools: Option<At<List<Text>>>,
        /// Model-specific features it asks for.
        features: Option<At<List<Text>>>,
        /// Whether it asks for extended thinking.
        thinking: Option<At<bool>>,
        /// Whether it must not be retained.
        zero_data_retention: Option<At<bool>>,
        /// Whether data may leave its region.
        residency: Option<At<ResidencyWord>>,
    }
}

words! {
    /// What a token is good for.
    enum AuthWord {
        /// It may do what it asks for.
        Valid = "valid",
        /// There is none, or it is not known.
        None = "none",
        /// It is known and may not do this.
        NoPermission = "no-permission",
    }
}

words! {
    /// Where data may go.
    enum ResidencyWord {
        /// It stays in its region.
        Strict = "strict",
        /// Anywhere.
        Any = "any",
    }
}

section! {
    /// Something done on the control plane, once or at equal intervals.
    struct OperationFile {
        /// Its name, unique among operations and workloads; `operation-1` and so on when left out.
        name: Option<At<Name>>,
        /// What is done.
        r#do: At<VerbName>,
        /// When first.
        at: At<Delay> = "0s",
        /// Time to the next; all at once when it is zero.
        every: At<Delay> = "0s",
        /// How often.
        times: At<Count<1, 10_000_000>> = 1,
        /// The endpoint it is about; a limit counted by endpoint is set for this one.
        endpoint: Option<At<Name>>,
        /// The declared endpoint whose configuration an update takes over.
        to: Option<At<Name>>,
        /// The model it is about; a limit counted by model is set for this one.
        model: Option<At<Name>>,
        /// The limit it sets: for all endpoints and models of its account, when it names none.
        limit: Option<At<Name>>,
        /// The value it sets: a count, or a rate in the limit's own window.
        value: Option<At<SetValue>>,
        /// Time until what was created or changed serves.
        ready_after: At<Delay> = "0s",
        /// Whose operation it is; the endpoint's account, or the only one, when left out. A `change-limit` that names
        /// neither is about every account.
        account: Option<At<Name>>,
        /// Token it uses; one for each account when left out.
        token: Option<At<Name>>,
        /// User that does it; one for each account when left out.
        user: Option<At<Name>>,
        /// Role of the caller.
        role: Option<At<Text>>,
        /// What the token is good for.
        auth: Option<At<AuthWord>>,
        /// Where the call comes from; compared with the account's `ingress`.
        from: Option<At<Address>>,
        /// MIME type of the file that `upload` uploads.
        upload: Option<At<Text>>,
        /// Rows of the dataset that `evaluate` runs over.
        rows: Option<At<Count<0, MOST>>>,
        /// Bytes of that dataset.
        bytes: Option<At<Bytes<0, { 1 << 60 }>>>,
        /// Provenances of the models that `evaluate` uses.
        uses: Option<At<List<Text>>>,
        /// `false` leaves the operation out.
        enabled: At<bool> = true,
    }
}

section! {
    /// Exact counts and times that every run must have.
    struct ExpectFile {
        /// What it says, in a few words; the name of the workload or operation when left out.
        name: Option<At<Text>>,
        /// Whose decisions: a workload or an operation. May be left out for `peak` and `violations`.
        of: Option<At<Name>>,
        /// Whose jobs: a batch. Instead of `of`, with the claims from `jobs` on.
        batch: Option<At<Name>>,
        /// Only what arrives from this instant on; of jobs, what is submitted.
        from: At<Delay> = "0s",
        /// Only what arrives before this instant, which is not after the horizon.
        until: Option<At<Duration<1, { 10 * YEAR }>>>,
        /// Requests or calls.
        offered: Option<At<Count<0, MOST>>>,
        /// Those that were let in.
        accepted: Option<At<Count<0, MOST>>>,
        /// Those that were refused.
        refused: Option<At<Count<0, MOST>>>,
        /// Those that completed.
        completed: Option<At<Count<0, MOST>>>,
        /// Those that were cancelled at an execution limit.
        failed: Option<At<Count<0, MOST>>>,
        /// Refused or failed, by reason: the name of a limit, `queue-full`, `context-length` or `no-endpoint`.
        by: Option<At<Counts>>,
        /// Answered, by HTTP status.
        status: Option<At<Counts>>,
        /// When the first was let in.
        first_accepted: Option<At<When>>,
        /// When the last was let in.
        last_accepted: Option<At<When>>,
        /// When the first was refused.
        first_refused: Option<At<When>>,
        /// When the last was refused.
        last_refused: Option<At<When>>,
        /// Of the first refused: exactly when it would be let in.
        retry_after: Option<At<When>>,
        /// Of the last refused: what the vendor announces.
        announced: Option<At<When>>,
        /// `A` for each let in and `R` for each refused, in order of arrival.
        verdicts: Option<At<Verdicts>>,
        /// Let in within each whole bin of the window.
        each: Option<At<EachFile>>,
        /// End-to-end latencies of the first that completed, in order of arrival.
        e2e: Option<At<Vec<At<Delay>>>>,
        /// Completed, by pool.
        served_by: Option<At<Counts>>,
        /// Requests whose overhead broke a limit, by limit, of the whole run.
        violations: Option<At<Counts>>,
        /// Most units in use at once on one counter, by limit, of the whole run.
        peak: Option<At<Counts>>,
        /// Jobs by the state they were in last: `completed`, `failed`, `expired` and so on. States that are left out have 0.
        jobs: Option<At<Counts>>,
        /// Their requests: `completed`, `failed`, `expired`, `cancelled` or `unfinished`. What is left out is 0.
        requests: Option<At<Counts>>,
        /// Jobs that were refused or failed, by reason: the name of a limit, or one that needs no limit.
        reasons: Option<At<Counts>>,
        /// The last state of each job, in order of submission.
        job_states: Option<At<Vec<At<JobStateWord>>>>,
        /// When each job was over, in order of submission; `"never"` for one that was not.
        job_ends: Option<At<Vec<At<When>>>>,
        /// Line of its file that each job was refused or failed for, in order of submission; 0 for none.
        lines: Option<At<Vec<At<Count<0, 4_294_967_295>>>>>,
        /// Most tokens that one account had enqueued at once, of the whole run.
        enqueued_peak: Option<At<Count<0, MOST>>>,
        /// Tokens enqueued at the end, over all accounts, of the whole run.
        enqueued_end: Option<At<Count<0, MOST>>>,
        /// `false` leaves the expectation out.
        enabled: At<bool> = true,
    }
}

words! {
    /// State of a batch job.
    enum JobStateWord {
        /// Turned away when it was submitted.
        Refused = "refused",
        /// Its file is being checked.
        Validating = "validating",
        /// Its file is wrong, or the quota full.
        Failed = "failed",
        /// It waits for room in the quota.
        Held = "held",
        /// Its requests may be worked on.
        InProgress = "in_progress",
        /// Its results are being written.
        Finalizing = "finalizing",
        /// Done.
        Completed = "completed",
        /// Its window closed before it was done.
        Expired = "expired",
        /// Its requests in flight are being stopped.
        Cancelling = "cancelling",
        /// Cancelled.
        Cancelled = "cancelled",
    }
}

section! {
    /// A count that holds in every bin.
    struct EachFile {
        /// Length of a bin.
        bin: At<Lasting>,
        /// Let in within it.
        accepted: At<Count<0, MOST>>,
    }
}

/// A number whose unit depends on the limit it bounds: kept as written until that is known.
#[derive(Clone, Debug)]
pub(super) struct Quantum(pub Node);

impl Decode for Quantum {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        if matches!(node.value, Value::Text(_) | Value::Integer(..)) {
            return Some(Quantum(node.clone()));
        }
        wrong_kind(node, "an integer, bytes such as `\"16MB\"` or a time such as `\"297s\"`", errors);
        None
    }
    fn canonical(&self, out: &mut String) {
        use super::units::{BYTES, TIME, quantity};
        let _ = match &self.0.value {
            Value::Text(text) => match (quantity(text, &TIME), quantity(text, &BYTES)) {
                (Ok(femtos), _) => write!(out, "{femtos}fs"),
                (_, Ok(bytes)) => write!(out, "{bytes}"),
                _ => write!(out, "{text:?}"),
            },
            _ => write!(out, "{}", self.0),
        };
    }
}
inline_schema!(; Quantum, Quantum, json_schema!({
    "oneOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB|ns|us|µs|ms|s|min|h|d)$" },
    ],
}));

/// A value an operation sets: a count, or a rate that names its window.
#[derive(Clone, Debug)]
pub(super) enum SetValue {
    Count(Count<0, MOST>),
    Rate(PerWindow),
}

impl Decode for SetValue {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::Text(_) => PerWindow::decode(node, errors).map(Self::Rate),
            _ => Count::decode(node, errors).map(Self::Count),
        }
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Self::Count(count) => count.canonical(out),
            Self::Rate(rate) => rate.canonical(out),
        }
    }
}

impl JsonSchema for SetValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SetValue".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Count<0, MOST>>(), generator.subschema_for::<PerWindow>()];
        json_schema!({ "oneOf": forms })
    }
}

/// A time, or `"never"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When(pub Option<Span>);

impl Decode for When {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "never" => Some(When(None)),
            _ => Duration::<0, { 10 * YEAR }>::decode(node, errors).map(|time| When(Some(time.0))),
        }
    }
    fn canonical(&self, out: &mut String) {
        let _ = match self.0 {
            Some(span) => write!(out, "{}ns", span.as_nanos()),
            None => write!(out, "never"),
        };
    }
}
inline_schema!(; When, When, json_schema!({
    "type": "string", "pattern": r"^(never|[0-9]+(\.[0-9]+)? ?(ns|us|µs|ms|s|min|h|d))$",
}));

/// A string of `A` and `R`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdicts(pub String);

impl Decode for Verdicts {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Text(text) = Text::decode(node, errors)?;
        if let Some(other) = text.chars().find(|c| !matches!(c, 'A' | 'R')) {
            let message = format!("`{node}` has `{}` in it", other.escape_default());
            errors.refuse_with(&node.place, message, "write `A` for each let in and `R` for each refused");
            return None;
        }
        Some(Verdicts(text))
    }
    fn canonical(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}
inline_schema!(; Verdicts, Verdicts,
    json_schema!({ "type": "string", "pattern": "^[AR]+$", "maxLength": 4096 }));

/// Counts by name, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Counts(pub Vec<(At<Name>, u64)>);

impl Decode for Counts {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let table = super::decode::table_of(node, "names and counts", errors)?;
        let mut counts = Some(Vec::new());
        for entry in &table.entries {
            let key = Node { place: entry.at.clone(), value: Value::Text(entry.key.clone()) };
            let name = At::<Name>::read(&key, errors);
            let count = Count::<0, MOST>::decode(&entry.node, errors);
            match (name, count, &mut counts) {
                (Some(name), Some(count), Some(counts)) => counts.push((name, count.0)),
                _ => counts = None,
            }
        }
        if table.entries.is_empty() {
            errors.refuse(&node.place, "the table is empty: it would expect nothing");
            return None;
        }
        counts.map(Counts)
    }
    fn canonical(&self, out: &mut String) {
        out.push('{');
        for (name, count) in &self.0 {
            let _ = write!(out, "{:?}={count},", name.value.as_str());
        }
        out.push('}');
    }
}
inline_schema!(; Counts, Counts, json_schema!({
    "type": "object", "minProperties": 1,
    "additionalProperties": { "type": "integer", "minimum": 0, "maximum": MOST },
}));
