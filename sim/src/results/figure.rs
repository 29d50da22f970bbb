//! Figures: what is asked of every run, in which unit, and how an estimate reads.

use crate::observe::recording::{Asked, BudgetSums, PoolMeasure};
use crate::profile::Mechanism;
use crate::request::{Outcome, PoolId};
use crate::scenario::{Arrivals, Engine, JobShare, Measure, Metric, Scenario, Workload};
use serde::{Deserialize, Serialize};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A share in 0..=1.
    Share,
    /// Requests per second.
    RequestsPerS,
    /// Tokens per second.
    TokensPerS,
    /// Requests.
    Requests,
    /// A plain number: a ratio, a number of replicas.
    Number,
    /// A figure divided by the same figure of another variant.
    Ratio,
    /// Hours of GPUs.
    GpuHours,
    /// Money for an hour, in the scenario's currency.
    MoneyPerHour,
    /// Money for a million tokens, in the scenario's currency.
    MoneyPerMillionTokens,
}

impl Unit {
    /// `value` for people: `412.3 ms`, `98.71 %`, `12.34 /s`. Three to four significant digits.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Ns => {
                let (scale, unit) = time_scale(value);
                format!("{} {unit}", digits(value / scale))
            }
            Unit::Share => format!("{} %", percent(value)),
            Unit::RequestsPerS => format!("{} req/s", digits(value)),
            Unit::TokensPerS => format!("{} tok/s", digits(value)),
            Unit::Requests | Unit::Number => digits(value),
            Unit::Ratio => four_places(value),
            Unit::GpuHours => format!("{} h", digits(value)),
            Unit::MoneyPerHour => format!("{} /h", digits(value)),
            Unit::MoneyPerMillionTokens => format!("{} /Mtok", digits(value)),
        }
    }

    /// `low` and `high` for people, sharing one unit: `398 to 426 ms`.
    pub fn show_range(self, low: f64, high: f64) -> String {
        match self {
            Unit::Ns => {
                let (scale, unit) = time_scale(high);
                format!("{} to {} {unit}", digits(low / scale), digits(high / scale))
            }
            Unit::Share => format!("{} to {} %", percent(low), percent(high)),
            Unit::RequestsPerS => format!("{} to {} req/s", digits(low), digits(high)),
            Unit::TokensPerS => format!("{} to {} tok/s", digits(low), digits(high)),
            Unit::Requests | Unit::Number => format!("{} to {}", digits(low), digits(high)),
            Unit::Ratio => format!("{} to {}", four_places(low), four_places(high)),
            Unit::GpuHours => format!("{} to {} h", digits(low), digits(high)),
            Unit::MoneyPerHour => format!("{} to {} /h", digits(low), digits(high)),
            Unit::MoneyPerMillionTokens => format!("{} to {} /Mtok", digits(low), digits(high)),
        }
    }
}

/// Nanoseconds in the unit that keeps `ns` readable, and its name.
pub fn time_scale(ns: f64) -> (f64, &'static str) {
    match ns.abs() {
        ns if ns < 999.5 => (1.0, "ns"),
        ns if ns < 999.5e3 => (1e3, "us"),
        ns if ns < 999.5e6 => (1e6, "ms"),
        ns if ns < 600e9 => (1e9, "s"),
        ns if ns < 7200e9 => (60e9, "min"),
        _ => (3600e9, "h"),
    }
}

/// A share in percent. Only what is exactly 0 or 1 reads as `0` or `100`: digits grow with the closeness to either.
fn percent(share: f64) -> String {
    let value = share * 100.0;
    let distance = (100.0 - value).abs().min(value.abs());
    if distance == 0.0 || distance >= 0.05 {
        return digits(value);
    }
    let places = (1.0 - distance.log10()).ceil().min(9.0) as usize;
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Four significant digits without an exponent, at most three behind the point.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 999.5 => 0,
        v if v >= 99.95 => 1,
        v if v >= 9.995 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    // A rounded zero has no sign.
    if text == "-0" { "0".to_owned() } else { group(text) }
}

/// A ratio is near 1, and the fourth place tells 1.0499 from 1.05.
fn four_places(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12345` as `12,345`.
fn group(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A whole number for people: `12,345`.
pub fn count(value: u64) -> String {
    group(&value.to_string())
}

/// A figure of all replications together, and the interval that holds the truth 95 times of 100, from the spread
/// between replications.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The figure of the data of all replications together.
    pub value: f64,
    /// Lower end of the interval; absent when one replication gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of the interval; absent when one replication gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Samples (requests, gaps, tokens, steps or bins) over all replications.
    pub samples: u64,
    /// Replications that had at least one sample.
    pub replications: u32,
}

/// A named estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it is: `ttft p99`, `throughput`.
    pub name: String,
    /// Unit of the estimate.
    pub unit: Unit,
    /// The estimate; absent when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

impl Figure {
    /// The value for people, or a dash.
    pub fn value_text(&self) -> String {
        self.estimate.map_or_else(|| "-".to_owned(), |e| self.unit.show(e.value))
    }

    /// The interval for people, or a dash.
    pub fn interval_text(&self) -> String {
        match self.estimate {
            Some(Estimate { low: Some(low), high: Some(high), .. }) => self.unit.show_range(low, high),
            _ => "-".to_owned(),
        }
    }

    /// The sample count for people.
    pub fn samples_text(&self) -> String {
        self.estimate.map_or_else(|| "0".to_owned(), |e| count(e.samples))
    }
}

/// Quantiles every latency is reported at.
pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Quantiles the time of jobs is reported at: there are few of them.
pub const JOB_QUANTILES: [f64; 2] = [0.5, 0.95];

/// Everything a report says about a run of `scenario`, in a fixed order.
///
/// Per workload (and for all together, when there are several) the rates, shares, costs and latencies, for a batch also
/// what became of its jobs; per workload the
/// parts of the latency budget; per pool its load, its replicas and what they cost; per tier what it cost.
/// [`super::Summary::new`] takes one estimate for each.
pub fn asked(scenario: &Scenario) -> Vec<Asked> {
    let mut asked = Vec::new();
    let all = (scenario.workloads.len() > 1).then_some(None);
    for workload in (0..scenario.workloads.len()).map(Some).chain(all) {
        asked.extend(measures(scenario, workload).into_iter().map(|m| Asked::Workload(workload, m)));
    }
    for workload in 0..scenario.workloads.len() {
        asked.extend((0..BudgetSums::NAMES.len()).map(|part| Asked::Budget(workload, part)));
        if is_beside_batch(scenario, workload) {
            asked.push(Asked::Beside(workload));
        }
    }
    let priced = scenario.has_prices();
    for (index, pool) in scenario.pools.iter().enumerate() {
        let llm = matches!(pool.engine, Engine::Llm(_));
        let varies = scenario.pool_can_vary(index as PoolId);
        let gpus = scenario.gpus_of_replica(index as PoolId) > 0;
        let kept = PoolMeasure::ALL.into_iter().filter(|measure| match measure {
            PoolMeasure::KvOccupancy => llm,
            PoolMeasure::Replicas => varies,
            PoolMeasure::GpuHours => gpus && (varies || priced),
            PoolMeasure::Cost | PoolMeasure::CostPerMillionTokens => priced,
            _ => true,
        });
        asked.extend(kept.map(|measure| Asked::Pool(index, measure)));
    }
    if priced {
        for tier in 0..scenario.tiers.len() {
            asked.extend([Measure::Cost, Measure::CostPerMillionTokens].map(|m| Asked::Tier(tier, m)));
        }
    }
    asked
}

/// Whether requests of a workload may be in steps with batch tokens that they could tell from their own.
fn is_beside_batch(scenario: &Scenario, workload: usize) -> bool {
    !scenario.batches.is_empty() && !matches!(scenario.workloads[workload].arrivals, Arrivals::Jobs)
}

/// The measures of a workload's table, in order; `None` for all workloads together.
fn measures(scenario: &Scenario, workload: Option<usize>) -> Vec<Measure> {
    let deadline = scenario.policy.limits.iter().any(|l| matches!(l.mechanism, Mechanism::Deadline { .. }));
    let chosen = match workload {
        Some(index) => std::slice::from_ref(&scenario.workloads[index]),
        None => &scenario.workloads[..],
    };
    let fails = |workload: &Workload| {
        scenario.workers_of(workload).into_iter().any(|pool| scenario.pool_can_fail(pool))
    };
    let mut measures = vec![
        Measure::Throughput,
        Measure::TokenThroughput,
        Measure::GoodputRate,
        Measure::GoodputShare,
        Measure::Share(Outcome::Completed),
        Measure::Share(Outcome::Refused),
        Measure::Share(Outcome::TimedOut),
        Measure::Share(Outcome::Expired),
    ];
    if deadline {
        measures.push(Measure::Share(Outcome::Failed));
    }
    if chosen.iter().any(fails) {
        measures.push(Measure::Share(Outcome::Lost));
    }
    if chosen.iter().any(|workload| !workload.client.is_plain()) {
        measures.extend([Measure::Amplification, Measure::Wasted]);
    }
    if chosen.iter().any(|workload| workload.client.hedge.is_some()) {
        measures.push(Measure::Share(Outcome::Cancelled));
    }
    if scenario.has_prices() {
        measures.extend([Measure::Cost, Measure::CostPerMillionTokens]);
    }
    for metric in Metric::ALL {
        measures.push(Measure::Mean(metric));
        measures.extend(QUANTILES.map(|quantile| Measure::Quantile(metric, quantile)));
    }
    if workload.is_some() && chosen.iter().any(|workload| matches!(workload.arrivals, Arrivals::Jobs)) {
        measures.extend(JobShare::ALL.map(Measure::Jobs));
        measures.push(Measure::JobMean);
        measures.extend(JOB_QUANTILES.map(Measure::JobQuantile));
    }
    measures
}

/// Name of a measure in tables and files: `ttft p99.9`, `refused`, `goodput share`.
pub fn measure_name(measure: &Measure) -> String {
    match measure {
        Measure::Quantile(metric, quantile) => format!("{} {}", metric.name(), quantile_name(*quantile)),
        Measure::Mean(metric) => format!("{} mean", metric.name()),
        Measure::Share(outcome) => format!("{} share", outcome.name()),
        Measure::Throughput => "throughput".to_owned(),
        Measure::TokenThroughput => "token throughput".to_owned(),
        Measure::GoodputRate => "goodput rate".to_owned(),
        Measure::GoodputShare => "goodput share".to_owned(),
        Measure::Utilization => "utilization".to_owned(),
        Measure::Amplification => "amplification".to_owned(),
        Measure::Wasted => "wasted tokens".to_owned(),
        Measure::Cost => "cost".to_owned(),
        Measure::CostPerMillionTokens => "cost per million tokens".to_owned(),
        Measure::Replicas => "replicas".to_owned(),
        Measure::Jobs(share) => share.name().to_owned(),
        Measure::JobQuantile(quantile) => format!("job time {}", quantile_name(*quantile)),
        Measure::JobMean => "job time mean".to_owned(),
    }
}

/// `0.999` as `p99.9`.
pub fn quantile_name(quantile: f64) -> String {
    let text = format!("{:.6}", quantile * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Unit of a measure.
pub fn measure_unit(measure: &Measure) -> Unit {
    match measure {
        Measure::Quantile(..) | Measure::Mean(_) | Measure::JobQuantile(_) | Measure::JobMean => Unit::Ns,
        Measure::Share(_)
        | Measure::GoodputShare
        | Measure::Utilization
        | Measure::Wasted
        | Measure::Jobs(_) => Unit::Share,
        Measure::Throughput | Measure::GoodputRate => Unit::RequestsPerS,
        Measure::TokenThroughput => Unit::TokensPerS,
        Measure::Amplification | Measure::Replicas => Unit::Number,
        Measure::Cost => Unit::MoneyPerHour,
        Measure::CostPerMillionTokens => Unit::MoneyPerMillionTokens,
    }
}

/// Unit of a pool's measure.
pub fn pool_unit(measure: PoolMeasure) -> Unit {
    match measure {
        PoolMeasure::Utilization | PoolMeasure::BatchOccupancy | PoolMeasure::KvOccupancy => Unit::Share,
        PoolMeasure::GatewayQueue | PoolMeasure::EngineQueue => Unit::Requests,
        PoolMeasure::Replicas => Unit::Number,
        PoolMeasure::GpuHours => Unit::GpuHours,
        PoolMeasure::Cost => Unit::MoneyPerHour,
        PoolMeasure::CostPerMillionTokens => Unit::MoneyPerMillionTokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_in_the_unit_that_keeps_them_short() {
        assert_eq!(Unit::Ns.show(850.0), "850 ns");
        assert_eq!(Unit::Ns.show(412_345_678.0), "412.3 ms");
        assert_eq!(Unit::Ns.show(999_700_000.0), "1 s");
        assert_eq!(Unit::Ns.show(90.5e9), "90.5 s");
        assert_eq!(Unit::Ns.show(48.0 * 3600e9), "48 h");
        assert_eq!(Unit::Share.show(0.98712), "98.71 %");
        assert_eq!(Unit::Share.show(0.0), "0 %");
        assert_eq!(Unit::Share.show(1.0), "100 %");
        assert_eq!(Unit::Share.show(0.9999969), "99.99969 %");
        assert_eq!(Unit::Share.show_range(0.9995, 0.000_004), "99.95 to 0.0004 %");
        assert_eq!(Unit::TokensPerS.show(1_234_567.8), "1,234,568 tok/s");
        assert_eq!(Unit::Ns.show_range(980e6, 1020e6), "0.98 to 1.02 s");
        assert_eq!(count(1000), "1,000");
    }

    #[test]
    fn quantiles_are_named_as_people_write_them() {
        assert_eq!(quantile_name(0.5), "p50");
        assert_eq!(quantile_name(0.999), "p99.9");
        assert_eq!(quantile_name(0.9999), "p99.99");
        assert_eq!(quantile_name(1.0), "p100");
    }
}
