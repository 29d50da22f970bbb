//! Limits, operations and expectations as rows of text.

use super::figure::{Unit, count};
use super::policy::LimitRow;
use super::summary::Summary;
use super::table::Table;
use crate::profile::Provenance;
use crate::time::Span;

impl Summary {
    /// Exact claims: expected, found, verdict.
    pub fn expectation_table(&self) -> Table {
        let head = ["expectation", "claim", "expected", "found", "verdict"];
        let mut table = Table::new("Expectations (exact, in every replication)", &head);
        for row in &self.expectations {
            table.push([
                row.name.clone(),
                row.claim.clone(),
                row.expected.clone(),
                row.found.clone(),
                row.verdict.name().to_owned(),
            ]);
        }
        table
    }

    /// Limits that the run met: what they were asked, let in and refused, and how near they were.
    pub fn limit_table(&self) -> Table {
        let head = [
            "limit",
            "value",
            "counted by",
            "asked",
            "let in",
            "refused",
            "violations",
            "peak, %",
            "at limit, %",
            "first refusal, s",
        ];
        let mut table = Table::new("Limits (whole runs, all replications)", &head);
        let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        for row in self.limits.iter().filter(|row| row.is_met()) {
            let metered = |number: u64| if row.metered { count(number) } else { "-".to_owned() };
            table.push([
                row.name.clone(),
                value(row),
                counted_by(row),
                metered(row.offered),
                metered(row.admitted),
                count(row.refused),
                if row.mechanism == "overhead" || row.violations > 0 {
                    count(row.violations)
                } else {
                    "-".to_owned()
                },
                percent(row.peak_share),
                percent(row.blocked_share),
                row.first_refused_ns.map_or_else(|| "-".to_owned(), seconds),
            ]);
        }
        table
    }

    /// Limits in force that the run did not meet.
    pub fn other_limit_table(&self) -> Table {
        let head = ["limit", "documented row", "how", "value", "counted by", "value from"];
        let mut table = Table::new("Limits that refused nothing and counted nothing", &head);
        for row in self.limits.iter().filter(|row| !row.is_met()) {
            table.push([
                row.name.clone(),
                row.row.clone(),
                how(row),
                row.value.clone(),
                dashed(&row.counted_by),
                row.origin().to_owned(),
            ]);
        }
        table
    }

    /// Calls on the control plane: tried, let in, refused and why.
    pub fn operation_table(&self) -> Table {
        let head = ["operation", "what", "calls", "let in", "refused", "refused by"];
        let mut table = Table::new("Control plane (whole runs, all replications)", &head);
        for row in &self.operations {
            let reasons = row.refusals.iter().map(|(reason, times)| format!("{reason} ({})", count(*times)));
            table.push([
                row.name.clone(),
                row.verb.clone(),
                count(row.offered),
                count(row.accepted),
                count(row.offered - row.accepted),
                dashed(&reasons.collect::<Vec<_>>().join(", ")),
            ]);
        }
        table
    }
}

/// The value, how it is counted, and who says so where that is not a document.
fn value(row: &LimitRow) -> String {
    let origin = Some(row.origin()).filter(|origin| *origin != Provenance::Documented.name());
    let more: Vec<&str> = row.algorithm.as_deref().into_iter().chain(origin).collect();
    let value = row.value_text();
    if more.is_empty() { value } else { format!("{value} ({})", more.join(", ")) }
}

/// Keys, and how many counters they made.
fn counted_by(row: &LimitRow) -> String {
    match (row.counted_by.as_str(), row.counters) {
        ("", _) => "-".to_owned(),
        (keys, 0 | 1) => keys.to_owned(),
        (keys, counters) => format!("{keys} ({})", count(counters.into())),
    }
}

/// Mechanism and, for rates, how they are counted.
fn how(row: &LimitRow) -> String {
    match &row.algorithm {
        Some(algorithm) => format!("{}, {algorithm}", row.mechanism),
        None => row.mechanism.clone(),
    }
}

fn dashed(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// A share in percent; the unit stands in the head.
fn percent(share: f64) -> String {
    let text = Unit::Share.show(share);
    text.strip_suffix(" %").unwrap_or(&text).to_owned()
}

/// Seconds to the millisecond; the unit stands in the head.
fn seconds(ns: u64) -> String {
    let text = format!("{:.3}", Span::from_nanos(ns).as_secs_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
