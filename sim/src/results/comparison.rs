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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A comparison in which hour 1 of a pool is too slow, a request was refused and a limit has moved.
    pub(crate) fn sample() -> Comparison {
        let cell = |hour: Option<u64>, ratio: f64, verdict| CellRow {
            place: hour.map_or_else(|| "pool h100".to_owned(), |hour| format!("hour {hour} of pool h100")),
            pool: "h100".to_owned(),
            from_ns: hour.map(|hour| hour * 200_000_000_000),
            until_ns: hour.map(|hour| (hour + 1) * 200_000_000_000),
            ratio: Some(ratio),
            low: Some(ratio - 0.02),
            high: Some(ratio + 0.02),
            with_ns: Some(8e8 * ratio),
            without_ns: Some(8e8),
            samples_with: 20_000,
            samples_without: 20_000,
            completed: 20_000,
            verdict,
        };
        let part = |part: &str, with_ns: i128, without_ns: i128| PartRow {
            part: part.to_owned(),
            with_ns,
            without_ns,
            slow_with_ns: with_ns / 20,
            slow_without_ns: without_ns / 100,
        };
        Comparison {
            variant: Some("no <batch>".to_owned()),
            pairs: 20_001,
            differences: vec![DifferenceRow {
                workload: "chat".to_owned(),
                with: "refused (queue-full)".to_owned(),
                without: "completed".to_owned(),
                requests: 1,
                decides: true,
            }],
            limits: vec![LimitDifference {
                limit: "rate".to_owned(),
                counter: "peak".to_owned(),
                with: 12,
                without: 11,
            }],
            claims: vec![ClaimRow {
                property: "batch disturbs nobody".to_owned(),
                workload: None,
                figure: "e2e p99".to_owned(),
                bound: BoundRow::AtMost(1.05),
                each_ns: Some(200_000_000_000),
                confidence: 0.9875,
                worst: Some(2),
                cells: vec![
                    cell(None, 1.01, Verdict::Holds),
                    cell(Some(0), 1.0, Verdict::Holds),
                    cell(Some(1), 1.12, Verdict::Violated),
                    cell(Some(2), 1.02, Verdict::Holds),
                ],
            }],
            attributions: vec![Attribution {
                workload: None,
                pool: "h100".to_owned(),
                latency: "e2e".to_owned(),
                pairs: 20_000,
                slow_pairs: 204,
                parts: vec![
                    part("gateway-queue", 0, 0),
                    part("engine-queue", 40_000_000_000, 50_000_000_000),
                    part("steps-beside-batch", 90_000_000_000, 0),
                    part("steps-trajectory", -1_000_000_000, 700_000_000_000),
                ],
            }],
        }
    }

    #[test]
    fn a_comparison_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), sample());
    }

    #[test]
    fn every_cell_has_a_line_and_what_is_not_known_is_left_empty() {
        let mut unknown = sample();
        unknown.claims[0].cells[1].ratio = None;
        let text = String::from_utf8(encode_comparisons(&[unknown])).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0].split(',').count(), 16);
        assert!(lines[1].starts_with("no <batch>,batch disturbs nobody,all,e2e p99,h100,,,1.01,"), "{text}");
        assert!(lines[2].contains(",h100,0.0,200.0,,"), "{text}");
        assert!(lines[3].ends_with(",violated"), "{text}");
    }

    #[test]
    fn tables_show_the_whole_and_the_worst_stretch_and_sum_their_parts() {
        let found = sample();
        let ratios = found.ratio_table();
        assert_eq!(ratios.rows.len(), 2);
        assert_eq!(ratios.rows[1][2..6], ["<= 1.05", "hour 1 of pool h100", "1.12", "1.1 to 1.14"]);
        let who = &found.attribution_tables()[0];
        let parts: Vec<&str> = who.rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(parts, ["engine queue", "steps beside batch", "steps trajectory", "e2e"]);
        assert_eq!(who.rows[0][1..4], ["2 ms", "2.5 ms", "-500 us"]);
        assert_eq!(who.rows[3][1..4], ["6.45 ms", "37.5 ms", "-31.05 ms"]);
    }
}
