//! Claims about the results, as a scenario file makes them.

use super::decode::{At, Decode, section, words};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::leaf::{Duration, Name, Raw, Share, Text, YEAR};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

const MS: u64 = 1_000_000;

section! {
    /// A claim about the results.
    struct PropertyFile {
        /// What it says, in a few words; unique.
        name: At<Text>,
        /// Which figure; a list makes a claim of each, named after the figure as well.
        metric: At<MetricsFile>,
        /// Which quantile of a latency, such as 0.99.
        quantile: Option<At<Share>>,
        /// `true` for the mean of a latency.
        mean: At<bool> = false,
        /// Whose figure; all workloads together when left out.
        workload: Option<At<Name>>,
        /// Upper bound, in the metric's own unit: a duration, a rate, a share, or a plain number.
        at_most: Option<At<Raw>>,
        /// Lower bound.
        at_least: Option<At<Raw>>,
        /// A variant, or `base`: the figure is that of this scenario divided by that of the other, with the same
        /// arrivals, and its bound a plain number such as 1.05. For latencies.
        ratio_to: Option<At<Name>>,
        /// The claim is also made for every such stretch of the horizon: for ratios.
        each: Option<At<Duration<{ 60_000 * MS }, { 10 * YEAR }>>>,
        /// `false` leaves the property out (in a variant without its workload, for example).
        enabled: At<bool> = true,
    }
}

/// A figure of a run, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct MetricsFile(pub Vec<At<MetricWord>>);

impl Decode for MetricsFile {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::decode(node, errors).map(Self),
            _ => At::read(node, errors).map(|metric| Self(vec![metric])),
        }
    }
    fn canonical(&self, out: &mut String) {
        match &self.0[..] {
            [metric] => metric.value.canonical(out),
            metrics => metrics.to_vec().canonical(out),
        }
    }
}

impl JsonSchema for MetricsFile {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Metrics".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let metric = generator.subschema_for::<MetricWord>();
        let list = schemars::json_schema!({ "type": "array", "items": metric, "minItems": 1 });
        schemars::json_schema!({ "oneOf": [generator.subschema_for::<MetricWord>(), list] })
    }
}

words! {
    /// A figure of a run.
    enum MetricWord {
        /// Arrival at the gateway to first token.
        Ttft = "ttft",
        /// Each gap between tokens.
        Itl = "itl",
        /// Mean gap of one request.
        Tpot = "tpot",
        /// Arrival at the gateway to the end.
        E2e = "e2e",
        /// End-to-end latency plus the network round trip.
        ClientE2e = "client-e2e",
        /// Completed requests per time.
        Throughput = "throughput",
        /// Output tokens per time.
        TokenThroughput = "token-throughput",
        /// Share of offered requests that met every objective.
        Goodput = "goodput",
        /// Requests that met every objective, per time.
        GoodputRate = "goodput-rate",
        /// Share of offered requests that were completed.
        Completed = "completed",
        /// Share of offered requests that were turned away.
        Refused = "refused",
        /// Share of offered requests whose client gave up.
        TimedOut = "timed-out",
        /// Share of offered requests that waited too long in the gateway.
        Expired = "expired",
        /// Share of offered requests that were on a replica that failed, and nothing took its place.
        Lost = "lost",
        /// Share of offered requests that were cancelled at an execution limit.
        Failed = "failed",
        /// Share of attempts that were cancelled because another one of the same request was faster.
        Cancelled = "cancelled",
        /// Attempts at the gateway for each request.
        Amplification = "amplification",
        /// Share of the output tokens that nobody got as part of a completed answer.
        Wasted = "wasted",
        /// Busy time of the pool divided by time.
        Utilization = "utilization",
        /// Replicas that serve, mean over time.
        Replicas = "replicas",
        /// Cost of an hour, in the currency of the prices.
        Cost = "cost",
        /// Cost of a million output tokens, in the currency of the prices.
        CostPerMillionTokens = "cost-per-million-tokens",
        /// Of a batch: share of its jobs, of those that were over or whose window had closed, that were completed within
        /// their window.
        JobsCompleted = "jobs-completed",
        /// Of a batch: share of those jobs whose window closed before they were done.
        JobsExpired = "jobs-expired",
        /// Of a batch: share of those jobs that were refused, or failed when they were checked.
        JobsFailed = "jobs-failed",
        /// Of a batch: time from the submission to the end of the jobs that were completed.
        JobTime = "job-time",
        /// Of a batch: share of the requests of those jobs that were answered.
        BatchRequestsCompleted = "batch-requests-completed",
        /// Of a batch: share of the requests of those jobs that were not done when the window closed.
        BatchRequestsExpired = "batch-requests-expired",
    }
}
