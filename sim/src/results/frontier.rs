//! What searches for the largest value of a knob found: points of the frontier between batch and real-time p99.

use super::comparison::CellRow;
use super::figure::{Estimate, Unit, count};
use super::files::{ResultsError, write_atomic};
use super::summary::{BoundRow, Summary, Verdict, WorkloadSummary};
use super::table::Table;
use super::timeline::encode_rows;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All searches of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frontier {
    /// The scenario.
    pub scenario: String,
    /// Its question.
    pub question: String,
    /// Version of the program.
    pub version: String,
    /// Seed of every point.
    pub seed: u64,
    /// Notes that every report must carry.
    pub caveats: Vec<String>,
    /// Its searches, in order; those that were begun.
    pub searches: Vec<SearchRow>,
    /// Stopped before its end.
    pub interrupted: bool,
}

/// What one search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchRow {
    /// Its name.
    pub name: String,
    /// Path of the knob.
    pub knob: String,
    /// What stands behind its values.
    pub unit: String,
    /// The largest value with which every ratio property was shown to hold.
    pub holds: Option<u64>,
    /// The smallest value above it with which one was not.
    pub breaks: Option<u64>,
    /// Every value that was tried, the smallest first.
    pub points: Vec<Point>,
}

/// A value of the knob, and what it gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The value.
    pub value: u64,
    /// Whether every ratio property holds.
    pub verdict: Verdict,
    /// Replications it rests on.
    pub replications: u32,
    /// Prompt and output tokens of batch answered in a second of the counted time: requests per second times the mean of
    /// their tokens.
    pub batch_tokens: Option<Estimate>,
    /// Share of the jobs that were over, or whose window had closed, and were completed.
    pub jobs_completed: Option<Estimate>,
    /// The ratio of each property over the whole horizon; the pool with the highest.
    pub ratios: Vec<RatioRow>,
}

/// A ratio property at a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioRow {
    /// The property.
    pub property: String,
    /// Which figure is divided.
    pub figure: String,
    /// What it must stay within.
    pub bound: f64,
    /// The ratio, with the interval that decided.
    pub ratio: Option<f64>,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Its verdict.
    pub verdict: Verdict,
}

impl Point {
    /// What a run with this value found.
    pub fn of(value: u64, summary: &Summary) -> Point {
        let claims = summary.comparisons.iter().flat_map(|comparison| &comparison.claims);
        let ratios: Vec<RatioRow> = claims
            .map(|claim| {
                let by_ratio =
                    |a: &&CellRow, b: &&CellRow| a.ratio.unwrap_or(0.0).total_cmp(&b.ratio.unwrap_or(0.0));
                let worst = claim.wholes().max_by(by_ratio);
                let row = summary.properties.iter().find(|row| row.property == claim.property);
                RatioRow {
                    property: claim.property.clone(),
                    figure: claim.figure.clone(),
                    bound: match claim.bound {
                        BoundRow::AtMost(bound) | BoundRow::AtLeast(bound) => bound,
                    },
                    ratio: worst.and_then(|cell| cell.ratio),
                    low: worst.and_then(|cell| cell.low),
                    high: worst.and_then(|cell| cell.high),
                    verdict: row.map_or(Verdict::Inconclusive, |row| row.verdict),
                }
            })
            .collect();
        let any = |wanted| ratios.iter().any(|row| row.verdict == wanted);
        let verdict = if any(Verdict::Violated) {
            Verdict::Violated
        } else if ratios.is_empty() || any(Verdict::Inconclusive) || summary.interrupted {
            Verdict::Inconclusive
        } else {
            Verdict::Holds
        };
        let is_batch =
            |workload: &&WorkloadSummary| summary.batches.iter().any(|batch| batch.name == workload.name);
        let tokens = summary.workloads.iter().filter(is_batch).filter_map(tokens_per_second);
        let jobs = summary.batches.iter().filter_map(|batch| batch.figure("jobs completed")?.estimate);
        Point {
            value,
            verdict,
            replications: summary.replications() as u32,
            batch_tokens: tokens.reduce(sum),
            jobs_completed: jobs.reduce(worse),
            ratios,
        }
    }
}

/// Prompt and output tokens of completed requests per second.
fn tokens_per_second(workload: &WorkloadSummary) -> Option<Estimate> {
    let throughput = workload.figures.iter().find(|figure| figure.name == "throughput")?.estimate?;
    let each = (workload.prompt_tokens + workload.output_tokens) as f64 / workload.offered.max(1) as f64;
    let scaled = |value: f64| value * each;
    Some(Estimate {
        value: scaled(throughput.value),
        low: throughput.low.map(scaled),
        high: throughput.high.map(scaled),
        ..throughput
    })
}

/// The sum of two; its interval is that of sums of the ends, which is at least as wide as that of the sum.
fn sum(a: Estimate, b: Estimate) -> Estimate {
    let both = |x: Option<f64>, y: Option<f64>| Some(x? + y?);
    Estimate { value: a.value + b.value, low: both(a.low, b.low), high: both(a.high, b.high), ..a }
}

fn worse(a: Estimate, b: Estimate) -> Estimate {
    if b.value < a.value { b } else { a }
}

impl Frontier {
    /// One line a search: what it found.
    pub fn answer_table(&self) -> Table {
        let head = [
            "search",
            "knob",
            "largest that holds",
            "batch tokens/s",
            "interval",
            "jobs completed",
            "next above",
        ];
        let mut table = Table::new("Largest value that keeps every ratio", &head);
        for search in &self.searches {
            let best = search.points.iter().find(|point| Some(point.value) == search.holds);
            let (tokens, interval) = best.map_or_else(dashes, |point| rate_texts(point.batch_tokens));
            let above = search.points.iter().find(|point| Some(point.value) == search.breaks);
            table.push([
                search.name.clone(),
                search.knob.clone(),
                search.holds.map_or_else(|| "none".to_owned(), |value| search.text(value)),
                tokens,
                interval,
                best.map_or_else(|| "-".to_owned(), |point| share_text(point.jobs_completed)),
                above.map_or_else(
                    || "none: it is the most".to_owned(),
                    |point| format!("{} ({})", search.text(point.value), point.verdict.name()),
                ),
            ]);
        }
        table
    }

    /// Every point of every search.
    pub fn point_tables(&self) -> Vec<Table> {
        self.searches.iter().map(SearchRow::table).collect()
    }

    /// `frontier.csv`: a line for each property at each point.
    pub fn csv(&self) -> Vec<u8> {
        let rows = self.searches.iter().flat_map(|search| {
            search.points.iter().flat_map(move |point| {
                point.ratios.iter().map(move |ratio| CsvRow {
                    search: &search.name,
                    knob: &search.knob,
                    value: point.value,
                    batch_tokens_per_s: point.batch_tokens.map(|e| e.value),
                    batch_tokens_low: point.batch_tokens.and_then(|e| e.low),
                    batch_tokens_high: point.batch_tokens.and_then(|e| e.high),
                    jobs_completed: point.jobs_completed.map(|e| e.value),
                    property: &ratio.property,
                    ratio: ratio.ratio,
                    ratio_low: ratio.low,
                    ratio_high: ratio.high,
                    bound: ratio.bound,
                    verdict: ratio.verdict.name(),
                    replications: point.replications,
                })
            })
        });
        let rows: Vec<CsvRow<'_>> = rows.collect();
        encode_rows(&rows, &CSV_HEAD)
    }

    /// Writes `plan.json` and `frontier.csv` into a folder; returns the files written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, ResultsError> {
        let (json, csv) = (folder.join("plan.json"), folder.join("frontier.csv"));
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and strings");
        text.push(b'\n');
        write_atomic(&json, &text)?;
        write_atomic(&csv, &self.csv())?;
        Ok(vec![json, csv])
    }
}

const CSV_HEAD: [&str; 14] = [
    "search",
    "knob",
    "value",
    "batch_tokens_per_s",
    "batch_tokens_low",
    "batch_tokens_high",
    "jobs_completed",
    "property",
    "ratio",
    "ratio_low",
    "ratio_high",
    "bound",
    "verdict",
    "replications",
];

#[derive(Serialize)]
struct CsvRow<'a> {
    search: &'a str,
    knob: &'a str,
    value: u64,
    batch_tokens_per_s: Option<f64>,
    batch_tokens_low: Option<f64>,
    batch_tokens_high: Option<f64>,
    jobs_completed: Option<f64>,
    property: &'a str,
    ratio: Option<f64>,
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    bound: f64,
    verdict: &'a str,
    replications: u32,
}

impl SearchRow {
    /// A value for people.
    pub fn text(&self, value: u64) -> String {
        format!("{}{}", count(value), self.unit)
    }

    fn table(&self) -> Table {
        let mut head = vec!["value".to_owned(), "batch tokens/s".to_owned(), "jobs completed".to_owned()];
        let names = self.points.first().map_or(&[][..], |point| &point.ratios);
        head.extend(names.iter().map(|ratio| ratio.figure.clone()));
        head.extend(["replications".to_owned(), "verdict".to_owned()]);
        let heads: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut table = Table::new(format!("{} ({})", self.name, self.knob), &heads);
        for point in &self.points {
            let mut row = vec![
                self.text(point.value),
                rate_texts(point.batch_tokens).0,
                share_text(point.jobs_completed),
            ];
            row.extend(point.ratios.iter().map(RatioRow::text));
            row.extend([point.replications.to_string(), point.verdict.name().to_owned()]);
            table.push(row);
        }
        table
    }
}

impl RatioRow {
    fn text(&self) -> String {
        match (self.ratio, self.low, self.high) {
            (Some(ratio), Some(low), Some(high)) => format!("{ratio:.3} ({low:.3} to {high:.3})"),
            (Some(ratio), ..) => format!("{ratio:.3}"),
            _ => "-".to_owned(),
        }
    }
}

fn dashes() -> (String, String) {
    ("-".to_owned(), "-".to_owned())
}

fn rate_texts(rate: Option<Estimate>) -> (String, String) {
    let Some(rate) = rate else { return dashes() };
    let whole = |value: f64| count(value.round().max(0.0) as u64);
    let interval = match (rate.low, rate.high) {
        (Some(low), Some(high)) => format!("{} to {}", whole(low), whole(high)),
        _ => "-".to_owned(),
    };
    (whole(rate.value), interval)
}

fn share_text(share: Option<Estimate>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| Unit::Share.show(share.value))
}
