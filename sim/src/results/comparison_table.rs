//! Comparisons as rows of text.

use super::comparison::{Attribution, CellRow, ClaimRow, Comparison};
use super::figure::{Unit, count};
use super::summary::Verdict;
use super::table::Table;

impl Comparison {
    /// What it is about, in a line: how many requests were compared.
    pub fn title(&self) -> String {
        format!("Against {} ({} requests in both)", self.other(), count(self.pairs))
    }

    /// Ratios: of each property and pool the whole horizon, and the stretch with the worst interval.
    pub fn ratio_table(&self) -> Table {
        let head = [
            "property", "figure", "bound", "where", "ratio", "interval", "with", "without", "requests",
            "verdict",
        ];
        let mut table = Table::new(self.title(), &head);
        for claim in &self.claims {
            for whole in claim.wholes() {
                push(&mut table, claim, whole);
                if let Some(worst) = claim.worst_stretch(&whole.pool) {
                    push(&mut table, claim, worst);
                }
            }
        }
        table
    }

    /// Requests that did not end alike. Empty when all did.
    pub fn difference_table(&self) -> Table {
        let head = ["workload", "with", "without", "requests", "keeps a ratio from holding"];
        let mut table = Table::new(format!("Requests that did not end as in {}", self.other()), &head);
        for row in &self.differences {
            let decides = if row.decides { "yes" } else { "no" };
            table.push([
                row.workload.clone(),
                row.with.clone(),
                row.without.clone(),
                count(row.requests),
                decides.to_owned(),
            ]);
        }
        table
    }

    /// Counters of limits that are not equal. Empty when all are.
    pub fn limit_table(&self) -> Table {
        let head = ["limit", "counter", "with", "without"];
        let mut table = Table::new(format!("Counters of limits that are not as in {}", self.other()), &head);
        for row in &self.limits {
            table.push([row.limit.clone(), row.counter.clone(), count(row.with), count(row.without)]);
        }
        table
    }

    /// Who slowed whom: where the time went, one table an attribution.
    pub fn attribution_tables(&self) -> Vec<Table> {
        self.attributions.iter().map(|row| row.table(self.other())).collect()
    }
}

impl ClaimRow {
    /// The stretch of `pool` whose interval comes nearest to the bound, or lies farthest beyond it.
    pub fn worst_stretch(&self, pool: &str) -> Option<&CellRow> {
        use super::summary::BoundRow;
        let at_most = matches!(self.bound, BoundRow::AtMost(_));
        let end = |cell: &CellRow| if at_most { cell.high } else { cell.low.map(|low| -low) };
        // The one that decides is the worst, whatever its interval.
        let rank = |cell: &CellRow| match cell.verdict {
            Verdict::Violated => 2,
            Verdict::Inconclusive => 1,
            Verdict::Holds => 0,
        };
        let known = self.stretches(pool).filter_map(|cell| Some((cell, end(cell)?)));
        let worst = known.max_by(|a, b| rank(a.0).cmp(&rank(b.0)).then(a.1.total_cmp(&b.1)));
        worst.map(|(cell, _)| cell)
    }
}

fn push(table: &mut Table, claim: &ClaimRow, cell: &CellRow) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let interval = cell.low.zip(cell.high).map(|(low, high)| Unit::Ratio.show_range(low, high));
    table.push([
        claim.property.clone(),
        claim.figure.clone(),
        claim.bound_text(),
        cell.place.clone(),
        or_dash(cell.ratio.map(|ratio| Unit::Ratio.show(ratio))),
        or_dash(interval),
        or_dash(cell.with_ns.map(|ns| Unit::Ns.show(ns))),
        or_dash(cell.without_ns.map(|ns| Unit::Ns.show(ns))),
        count(cell.completed),
        cell.verdict.name().to_owned(),
    ]);
}

impl Attribution {
    /// What it is about: `e2e of chat, pool h100`.
    pub fn title(&self) -> String {
        let whose = self.workload.as_ref().map_or_else(String::new, |workload| format!(" of {workload}"));
        format!("{}{whose}, pool {}", self.latency, self.pool)
    }

    /// Part by part the mean with and without and what differs, over all pairs and over the slowest 1 %.
    pub fn table(&self, other: &str) -> Table {
        let head = ["part", "with", "without", "difference", "slowest 1 %: with", "without", "difference"];
        let title = format!(
            "Who slowed {} against {other} (means of {} pairs; slowest 1 %: {})",
            self.title(),
            count(self.pairs),
            count(self.slow_pairs)
        );
        let mut table = Table::new(title, &head);
        let mut push = |part: &str, sums: [i128; 4]| {
            let [with, without, slow_with, slow_without] = sums;
            let mean = |sum: i128, pairs: u64| Unit::Ns.show(sum as f64 / pairs.max(1) as f64);
            table.push([
                part.to_owned(),
                mean(with, self.pairs),
                mean(without, self.pairs),
                mean(with - without, self.pairs),
                mean(slow_with, self.slow_pairs),
                mean(slow_without, self.slow_pairs),
                mean(slow_with - slow_without, self.slow_pairs),
            ]);
        };
        let mut whole = [0; 4];
        for row in &self.parts {
            let sums = [row.with_ns, row.without_ns, row.slow_with_ns, row.slow_without_ns];
            for (sum, part) in whole.iter_mut().zip(sums) {
                *sum += part;
            }
            // Parts that nobody has are no part of anything.
            if sums != [0; 4] {
                push(&row.part.replace('-', " "), sums);
            }
        }
        push(&self.latency, whole);
        table
    }
}
