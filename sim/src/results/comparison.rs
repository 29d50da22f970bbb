//! What a comparison with another variant found: ratios cell by cell, what ended differently, and where the time went.

use super::figure::Unit;
use super::summary::{BoundRow, Verdict};
use super::timeline::encode_rows;
use serde::{Deserialize, Serialize};

/// A scenario against another variant of it, under common random numbers. All numbers are over all replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The other variant; absent for the scenario without a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Real-time requests that arrived in the counted window and ended in both.
    pub pairs: u64,
    /// Those that did not end alike, and those that were offered in one only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DifferenceRow>,
    /// Counters of limits that are not equal; whole runs, warm-up included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitDifference>,
    /// The properties that are decided by it, in the scenario's order.
    pub claims: Vec<ClaimRow>,
    /// Where the time of the pairs went.
    pub attributions: Vec<Attribution>,
}

/// Requests that did not end alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceRow {
    /// Their workload.
    pub workload: String,
    /// How they ended, with the reason: `completed`, `refused (rate)`; `offered` or `never offered` when in one only.
    pub with: String,
    /// The same in the other variant.
    pub without: String,
    /// How many.
    pub requests: u64,
    /// Whether they keep a ratio from holding: they were offered, let in or completed on one side only.
    pub decides: bool,
}

/// A counter of a limit that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitDifference {
    /// Name of the limit.
    pub limit: String,
    /// Which counter: `offered`, `admitted`, `refused` or `peak`.
    pub counter: String,
    /// What it is; a peak is the highest of all replications.
    pub with: u64,
    /// The same in the other variant.
    pub without: u64,
}

/// A property of a ratio, cell by cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// Name of the property.
    pub property: String,
    /// Workload it is about; absent for all real-time ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The figure that is divided: `e2e p99`.
    pub figure: String,
    /// What the ratio must satisfy.
    pub bound: BoundRow,
    /// Width of a stretch that it is claimed for, nanoseconds; absent when it is for the whole only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each_ns: Option<u64>,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Which of `cells` the verdict shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<usize>,
    /// Its cells: pool by pool the whole, then the stretches.
    pub cells: Vec<CellRow>,
}

/// A pool, the whole horizon or a stretch of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRow {
    /// Its name in a sentence.
    pub place: String,
    /// The pool that served the requests in the other variant.
    pub pool: String,
    /// Start of the stretch, nanoseconds; absent for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<u64>,
    /// End of the stretch, nanoseconds; absent for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
    /// The ratio; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Lower end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// The figure, geometric mean over replications, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_ns: Option<f64>,
    /// The same in the other variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_ns: Option<f64>,
    /// Samples of the figure.
    pub samples_with: u64,
    /// The same in the other variant.
    pub samples_without: u64,
    /// Requests that both completed.
    pub completed: u64,
    /// What it says by itself.
    pub verdict: Verdict,
}

/// Where the time of the same requests went in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// Workload; absent for all real-time ones together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The pool that served the requests in the other variant.
    pub pool: String,
    /// `e2e` of requests that both completed, or `ttft`.
    pub latency: String,
    /// Pairs.
    pub pairs: u64,
    /// The slowest 1 % of them, of each replication, by this latency here; a few more, because a step of a histogram is
    /// taken whole.
    pub slow_pairs: u64,
    /// Its parts; their differences sum to the difference of the latencies, exactly.
    pub parts: Vec<PartRow>,
}

/// A part of a latency in both; sums, nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Which part.
    pub part: String,
    /// Over all pairs.
    pub with_ns: i128,
    /// The same in the other variant.
    pub without_ns: i128,
    /// Over the slowest 1 %.
    pub slow_with_ns: i128,
    /// The same in the other variant.
    pub slow_without_ns: i128,
}

impl Comparison {
    /// The other variant, as people call it.
    pub fn other(&self) -> &str {
        self.variant.as_deref().unwrap_or("base")
    }
}

impl ClaimRow {
    /// The cells of the whole horizon.
    pub fn wholes(&self) -> impl Iterator<Item = &CellRow> {
        self.cells.iter().filter(|cell| cell.from_ns.is_none())
    }

    /// The stretches of a pool.
    pub fn stretches(&self, pool: &str) -> impl Iterator<Item = &CellRow> {
        self.cells.iter().filter(move |cell| cell.from_ns.is_some() && cell.pool == pool)
    }

    /// The bound: `<= 1.05`.
    pub fn bound_text(&self) -> String {
        match self.bound {
            BoundRow::AtMost(most) => format!("<= {}", Unit::Ratio.show(most)),
            BoundRow::AtLeast(least) => format!(">= {}", Unit::Ratio.show(least)),
        }
    }
}

/// A line of `comparison.csv`: one cell of one property.
#[derive(Clone, Debug, Serialize)]
struct Line<'a> {
    variant: &'a str,
    property: &'a str,
    workload: &'a str,
    figure: &'a str,
    pool: &'a str,
    from_s: Option<f64>,
    until_s: Option<f64>,
    ratio: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    with_ns: Option<f64>,
    without_ns: Option<f64>,
    samples_with: u64,
    samples_without: u64,
    completed: u64,
    verdict: &'static str,
}

const HEADER: [&str; 16] = [
    "variant",
    "property",
    "workload",
    "figure",
    "pool",
    "from_s",
    "until_s",
    "ratio",
    "low",
    "high",
    "with_ns",
    "without_ns",
    "samples_with",
    "samples_without",
    "completed",
    "verdict",
];

/// `comparison.csv`: every cell of every property that compares.
pub(super) fn encode_comparisons(comparisons: &[Comparison]) -> Vec<u8> {
    let seconds = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9);
    let mut lines = Vec::new();
    for comparison in comparisons {
        for claim in &comparison.claims {
            lines.extend(claim.cells.iter().map(|cell| Line {
                variant: comparison.other(),
                property: &claim.property,
                workload: claim.workload.as_deref().unwrap_or("all"),
                figure: &claim.figure,
                pool: &cell.pool,
                from_s: seconds(cell.from_ns),
                until_s: seconds(cell.until_ns),
                ratio: cell.ratio,
                low: cell.low,
                high: cell.high,
                with_ns: cell.with_ns,
                without_ns: cell.without_ns,
                samples_with: cell.samples_with,
                samples_without: cell.samples_without,
                completed: cell.completed,
                verdict: cell.verdict.name(),
            }));
        }
    }
    encode_rows(&lines, &HEADER)
}
