//! Two result folders figure by figure: above all a prediction beside what was measured of a live gateway.
//!
//! # What is compared with what
//! A live run is measured by a client, and its end-to-end latency runs from when a request was due to the last byte at
//! the client. In a simulation that is `client-e2e`, which has the network's round trip in it. A simulated `ttft` ends when
//! the token leaves the gateway: beside a measured one the round trip is added to it. Gaps between tokens have no network
//! in them, since a constant delay moves all tokens alike. Two simulations, or two live runs, are compared as they are.
//!
//! Agreement is said when the two intervals overlap. That is no test of equality: intervals of few blocks are wide and
//! overlap easily, which is why the error is there beside it.

use super::figure::{Estimate, Figure, QUANTILES, Unit, quantile_name};
use super::live::Validity;
use super::set::ResultSet;
use super::summary::{Summary, Verdict, VerdictRow, WorkloadSummary};
use crate::observe::hist::empty_histogram;
use crate::scenario::Metric;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Version of `compare.json`. Grows when a field changes its meaning or goes.
pub const AGREEMENT_SCHEMA: u32 = 1;

/// Output tokens per request may differ by this share before end-to-end latencies are of different work.
pub const TOKENS_APART: f64 = 0.02;

/// Two result folders beside each other: `compare.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// [`AGREEMENT_SCHEMA`].
    pub schema: u32,
    /// The prediction, then what was measured; where both are alike, in the order of the command.
    pub sides: [SideRow; 2],
    /// What a reader must know before believing a figure.
    pub warnings: Vec<String>,
    /// The workloads that both have, in the first one's order.
    pub workloads: Vec<WorkloadAgreement>,
    /// The scenario's properties, decided on either side.
    pub properties: Vec<PropertyPair>,
    /// See [`Agreement::decide`].
    pub verdict: Verdict,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideRow {
    /// `predicted` and `measured`, or `first` and `second`.
    pub role: String,
    /// Scenario and variant.
    pub title: String,
    /// Hash of the scenario.
    pub scenario_hash: String,
    /// Hash of the arrivals of the first replication (or block).
    pub arrival_hash: String,
    /// Replications, or blocks.
    pub replications: u64,
    /// Of a live run: whether it is to be believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Validity>,
    /// Why it is not, or only in part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// One workload on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadAgreement {
    /// Its name.
    pub workload: String,
    /// Counted requests.
    pub requests: [u64; 2],
    /// Output tokens that they received.
    pub output_tokens: [u64; 2],
    /// Latency by latency.
    pub latencies: Vec<LatencyAgreement>,
    /// Throughput, goodput and how requests ended.
    pub rates: Vec<PairRow>,
    /// Latencies that are not compared, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A latency on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyAgreement {
    /// `ttft`, `itl`, `tpot`, `e2e` or `client-e2e`.
    pub metric: String,
    /// The network's round trip that was added to the first, nanoseconds.
    pub added_ns: u64,
    /// Kolmogorov-Smirnov distance: the largest difference of the two distribution functions, 0 to 1, at the resolution of
    /// the histograms (0.1 %).
    pub ks: f64,
    /// Samples in the histograms.
    pub samples: [u64; 2],
    /// Quantiles and the mean.
    pub figures: Vec<PairRow>,
}

/// A figure on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairRow {
    /// Which figure: `ttft p99`.
    pub figure: String,
    /// Unit of the estimates and of the difference.
    pub unit: Unit,
    /// The prediction, or the first.
    pub first: Estimate,
    /// What was measured, or the second.
    pub second: Estimate,
    /// First minus second.
    pub difference: f64,
    /// The difference as a share of the second; absent where that is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Whether the intervals overlap; absent when one is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<bool>,
}

/// A latency that is not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The latency.
    pub metric: String,
    /// Why.
    pub reason: String,
}

/// A property on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PropertyPair {
    /// Its name.
    pub property: String,
    /// Workload; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The claim: `ttft p99 <= 1 s`.
    pub claim: String,
    /// Of the prediction, or of the first; absent when it does not have the property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Decided>,
    /// Of what was measured, or of the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Decided>,
}

/// What was decided of a property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The verdict.
    pub verdict: Verdict,
    /// The figure for people; a dash without one.
    pub value: String,
    /// The verdict in a sentence.
    pub reason: String,
}

/// Why two folders are not compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgainstError {
    /// They saw different requests.
    #[error(
        "the two saw different arrivals: `{first}` and `{second}`\n\
         hint: run both with the same scenario, seed and overrides, or say `--different-arrivals`"
    )]
    DifferentArrivals {
        /// Arrival hash of the first, or `unknown`.
        first: String,
        /// Of the second.
        second: String,
    },
    /// They have no workload of the same name.
    #[error("no workload in common\nhint: workloads are compared by name; compare two runs of one scenario")]
    Strangers,
}

/// The two in the order in which they are shown: a simulation before a live run, else as they come.
pub fn in_order<'r>(a: &'r ResultSet, b: &'r ResultSet) -> (&'r ResultSet, &'r ResultSet) {
    if a.summary.live.is_some() && b.summary.live.is_none() { (b, a) } else { (a, b) }
}

/// What the two are called.
pub fn roles(first: &Summary, second: &Summary) -> [&'static str; 2] {
    if is_prediction(first, second) { ["predicted", "measured"] } else { ["first", "second"] }
}

/// Whether the first is a simulation and the second a live run.
pub fn is_prediction(first: &Summary, second: &Summary) -> bool {
    first.live.is_none() && second.live.is_some()
}

/// A latency of a workload that both have samples of.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The workload.
    pub workload: String,
    /// The latency.
    pub metric: Metric,
    /// The round trip that was added to the first, nanoseconds.
    pub added_ns: u64,
    /// Both histograms, that of the first with the round trip.
    pub histograms: [Histogram<u64>; 2],
}

/// The latencies that both have (`only` one of them), workload by workload, as they are to be compared.
pub fn matched(first: &ResultSet, second: &ResultSet, only: Option<Metric>) -> Vec<Matched> {
    let prediction = is_prediction(&first.summary, &second.summary);
    let mut all = Vec::new();
    for workload in &first.summary.workloads {
        for metric in Metric::ALL {
            let at_client = metric == Metric::ClientE2e;
            let skipped = match only {
                Some(only) => metric != only,
                None if prediction => metric == Metric::E2e,
                None => at_client && workload.network_ns == 0,
            };
            let both = (first.latency(&workload.name, metric), second.latency(&workload.name, metric));
            let (false, (Some(left), Some(right))) = (skipped, both) else { continue };
            let added_ns = if prediction && metric == Metric::Ttft { workload.network_ns } else { 0 };
            all.push(Matched {
                workload: workload.name.clone(),
                metric,
                added_ns,
                histograms: [later(left, added_ns), right.clone()],
            });
        }
    }
    all
}

/// The histogram of the same samples, each later by `by` ns.
fn later(histogram: &Histogram<u64>, by: u64) -> Histogram<u64> {
    if by == 0 {
        return histogram.clone();
    }
    let mut moved = empty_histogram();
    for bucket in histogram.iter_recorded() {
        let value = histogram.median_equivalent(bucket.value_iterated_to()).saturating_add(by);
        moved.saturating_record_n(value, bucket.count_at_value());
    }
    moved
}

/// The largest difference of the two distribution functions. 0 when either is empty. O(buckets).
pub fn ks_distance(a: &Histogram<u64>, b: &Histogram<u64>) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut left, mut right) = (a.iter_recorded().peekable(), b.iter_recorded().peekable());
    let (mut below_a, mut below_b, mut most) = (0u64, 0u64, 0.0f64);
    loop {
        let at = match (left.peek(), right.peek()) {
            (Some(x), Some(y)) => x.value_iterated_to().min(y.value_iterated_to()),
            (Some(x), None) => x.value_iterated_to(),
            (None, Some(y)) => y.value_iterated_to(),
            (None, None) => return most,
        };
        while let Some(bucket) = left.next_if(|bucket| bucket.value_iterated_to() <= at) {
            below_a += bucket.count_at_value();
        }
        while let Some(bucket) = right.next_if(|bucket| bucket.value_iterated_to() <= at) {
            below_b += bucket.count_at_value();
        }
        let difference = below_a as f64 / a.len() as f64 - below_b as f64 / b.len() as f64;
        most = most.max(difference.abs());
    }
}

impl Agreement {
    /// The prediction `first` beside the measurement `second` (see [`in_order`]); two runs of one kind just the same.
    ///
    /// # Errors
    /// When they have no workload in common, and when their arrivals differ (or are not known) unless
    /// `different_arrivals`.
    pub fn new(
        first: &ResultSet,
        second: &ResultSet,
        different_arrivals: bool,
    ) -> Result<Self, AgainstError> {
        let (a, b) = (&first.summary, &second.summary);
        if !same_arrivals(a, b) && !different_arrivals {
            let hash = |summary: &Summary| match summary.provenance.arrival_hash.as_str() {
                "" => "unknown".to_owned(),
                hash => hash.to_owned(),
            };
            return Err(AgainstError::DifferentArrivals { first: hash(a), second: hash(b) });
        }
        let matched = matched(first, second, None);
        let pairs = a.workloads.iter().filter_map(|workload| Some((workload, named(b, &workload.name)?)));
        let workloads: Vec<WorkloadAgreement> =
            pairs.map(|(left, right)| workload_agreement(left, right, &matched)).collect();
        if workloads.is_empty() {
            return Err(AgainstError::Strangers);
        }
        let roles = roles(a, b);
        let properties = properties(a, b);
        Ok(Agreement {
            schema: AGREEMENT_SCHEMA,
            sides: [side(roles[0], a), side(roles[1], b)],
            warnings: warnings(a, b),
            workloads,
            verdict: Self::decide(a, b, &properties),
            properties,
        })
    }

    /// The verdict over both. What is measured (the second) counts first: inconclusive when it is invalid, whatever the
    /// properties; else violated when it violates one; else inconclusive when one is inconclusive, when it was
    /// interrupted, or when the first does not find that all of them hold; else they hold.
    fn decide(first: &Summary, second: &Summary, properties: &[PropertyPair]) -> Verdict {
        let invalid = |summary: &Summary| summary.validity() == Some(Validity::Invalid);
        let second_is =
            |verdict| properties.iter().filter_map(|p| p.second.as_ref()).any(|d| d.verdict == verdict);
        let holds = |side: fn(&PropertyPair) -> &Option<Decided>| {
            properties.iter().filter_map(|p| side(p).as_ref()).all(|d| d.verdict == Verdict::Holds)
        };
        if invalid(first) || invalid(second) {
            Verdict::Inconclusive
        } else if second_is(Verdict::Violated) {
            Verdict::Violated
        } else if second.interrupted || !holds(|p| &p.second) || !holds(|p| &p.first) {
            Verdict::Inconclusive
        } else {
            Verdict::Holds
        }
    }

    /// Whether `metric` of `workload` is not compared.
    pub fn leaves_out(&self, workload: &str, metric: Metric) -> bool {
        let found = self.workloads.iter().find(|found| found.workload == workload);
        found.is_some_and(|found| found.left_out.iter().any(|left| left.metric == metric.name()))
    }
}

/// Whether two runs saw the same requests: equal hashes, both known.
pub fn same_arrivals(a: &Summary, b: &Summary) -> bool {
    let (a, b) = (&a.provenance.arrival_hash, &b.provenance.arrival_hash);
    !a.is_empty() && a == b
}

fn named<'s>(summary: &'s Summary, workload: &str) -> Option<&'s WorkloadSummary> {
    summary.workloads.iter().find(|found| found.name == workload)
}

fn side(role: &str, summary: &Summary) -> SideRow {
    SideRow {
        role: role.to_owned(),
        title: summary.title(),
        scenario_hash: summary.provenance.scenario_hash.clone(),
        arrival_hash: summary.provenance.arrival_hash.clone(),
        replications: summary.replications() as u64,
        validity: summary.validity(),
        reasons: summary.live.as_ref().map(|live| live.reasons.clone()).unwrap_or_default(),
    }
}

fn warnings(a: &Summary, b: &Summary) -> Vec<String> {
    let roles = roles(a, b);
    let mut warnings = Vec::new();
    for (summary, role) in [a, b].into_iter().zip(roles) {
        let Some(live) = &summary.live else { continue };
        if live.validity != Validity::Valid {
            let why = live.reasons.join("; ");
            warnings.push(format!("the {role} run is {}: {why}", live.validity.name()));
        }
    }
    if !same_arrivals(a, b) {
        warnings.push("the two saw different arrivals: differences come from the requests, too".to_owned());
    }
    let (left, right) = (&a.provenance, &b.provenance);
    if left.scenario_hash != right.scenario_hash {
        warnings.push("the scenarios are not the same to the letter (their hashes differ)".to_owned());
    }
    if (left.horizon_ns, left.warmup_ns) != (right.horizon_ns, right.warmup_ns) {
        warnings.push("the horizons or warm-ups differ".to_owned());
    }
    if left.seeds != right.seeds {
        let both = left.seeds.iter().filter(|seed| right.seeds.contains(seed)).count();
        warnings.push(format!(
            "{} has {}, {} has {}; {both} of them have the same seed and so the same arrivals",
            roles[0],
            a.runs_text(),
            roles[1],
            b.runs_text()
        ));
    }
    for (summary, role) in [a, b].into_iter().zip(roles) {
        if summary.interrupted {
            warnings.push(format!("the {role} run was interrupted"));
        }
    }
    for (summary, other, role) in [(a, b, roles[0]), (b, a, roles[1])] {
        let alone = summary.workloads.iter().filter(|workload| named(other, &workload.name).is_none());
        warnings.extend(alone.map(|workload| format!("only {role} has workload {}", workload.name)));
    }
    warnings
}

fn workload_agreement(a: &WorkloadSummary, b: &WorkloadSummary, all: &[Matched]) -> WorkloadAgreement {
    let mut latencies = Vec::new();
    let mut left_out = Vec::new();
    let apart = tokens_apart(a, b);
    for found in all.iter().filter(|found| found.workload == a.name) {
        let metric = found.metric.name().to_owned();
        let whole = matches!(found.metric, Metric::E2e | Metric::ClientE2e);
        if let Some((left, right)) = apart.filter(|_| whole) {
            let reason = format!(
                "the answers are not equally long: {left:.1} and {right:.1} output tokens a request, \
                 more than 2 % apart"
            );
            left_out.push(LeftOut { metric, reason });
            continue;
        }
        let names = std::iter::once("mean".to_owned()).chain(QUANTILES.map(quantile_name));
        let names = names.map(|name| format!("{} {name}", found.metric.name()));
        let [left, right] = &found.histograms;
        latencies.push(LatencyAgreement {
            added_ns: found.added_ns,
            ks: ks_distance(left, right),
            samples: [left.len(), right.len()],
            figures: names.filter_map(|name| pair(a, b, &name, found.added_ns as f64)).collect(),
            metric,
        });
    }
    let rates = a.figures.iter().filter(|figure| figure.unit != Unit::Ns);
    let rates = rates.filter_map(|figure| pair(a, b, &figure.name, 0.0));
    WorkloadAgreement {
        workload: a.name.clone(),
        requests: [a.offered, b.offered],
        output_tokens: [a.output_tokens, b.output_tokens],
        latencies,
        rates: rates.filter(|row| row.first.value != 0.0 || row.second.value != 0.0).collect(),
        left_out,
    }
}

/// Output tokens a request on both sides, when they differ by more than [`TOKENS_APART`] of the larger.
fn tokens_apart(a: &WorkloadSummary, b: &WorkloadSummary) -> Option<(f64, f64)> {
    // A request, because the number of replications need not be the same.
    let each = |w: &WorkloadSummary| w.output_tokens as f64 / w.offered.max(1) as f64;
    let (left, right) = (each(a), each(b));
    ((left - right).abs() > TOKENS_APART * left.max(right)).then_some((left, right))
}

fn pair(a: &WorkloadSummary, b: &WorkloadSummary, name: &str, added: f64) -> Option<PairRow> {
    let (left, right) = (a.figure(name)?, b.figure(name)?);
    let (first, second) = (left.estimate?, right.estimate?);
    let first = Estimate {
        value: first.value + added,
        low: first.low.map(|low| low + added),
        high: first.high.map(|high| high + added),
        ..first
    };
    let difference = first.value - second.value;
    let ends = first.low.zip(first.high).zip(second.low.zip(second.high));
    Some(PairRow {
        figure: name.to_owned(),
        unit: left.unit,
        first,
        second,
        difference,
        error: (second.value != 0.0).then(|| difference / second.value),
        agree: ends.map(|((low, high), (from, until))| low <= until && from <= high),
    })
}

fn properties(a: &Summary, b: &Summary) -> Vec<PropertyPair> {
    let same = |x: &VerdictRow, y: &VerdictRow| {
        (&x.property, &x.workload, &x.figure) == (&y.property, &y.workload, &y.figure) && x.bound == y.bound
    };
    let pair = |row: &VerdictRow, first: Option<&VerdictRow>, second: Option<&VerdictRow>| PropertyPair {
        property: row.property.clone(),
        workload: row.workload.clone(),
        claim: row.claim_text(),
        first: first.map(decided),
        second: second.map(decided),
    };
    let left = a.properties.iter();
    let left = left.map(|row| pair(row, Some(row), b.properties.iter().find(|other| same(row, other))));
    let right = b.properties.iter().filter(|row| !a.properties.iter().any(|other| same(row, other)));
    left.chain(right.map(|row| pair(row, None, Some(row)))).collect()
}

fn decided(row: &VerdictRow) -> Decided {
    let figure: Figure = row.as_figure();
    Decided { verdict: row.verdict, value: figure.value_text(), reason: row.reason.clone() }
}

/// `compare.json`, indented, with a final newline.
pub fn encode_agreement(agreement: &Agreement) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(agreement).expect("it has string keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests;
