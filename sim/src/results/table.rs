//! The summary as rows of text: the same table on the terminal and in the report.

use super::figure::{Figure, Unit, count};
use super::summary::{Summary, WorkloadSummary};
use crate::scenario::Metric;

/// A table of text: columns of words stand to the left, columns of figures to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub title: String,
    /// Column heads.
    pub head: Vec<String>,
    /// Rows, each as long as the head.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Whether a column holds words: the first does, others when a cell begins like none of a figure.
    pub fn has_words(&self, column: usize) -> bool {
        let is_figure = |cell: &String| {
            cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || "-<>+.".contains(c))
        };
        column == 0 || !self.rows.iter().all(|row| is_figure(&row[column]))
    }

    pub(super) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Table { title: title.into(), head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<String> = row.into_iter().collect();
        debug_assert_eq!(row.len(), self.head.len());
        self.rows.push(row);
    }
}

impl Summary {
    /// Verdicts: property, claim, estimate, interval, samples, verdict.
    pub fn verdict_table(&self) -> Table {
        let head = ["property", "workload", "claim", "estimate", "interval", "samples", "verdict"];
        let mut table = Table::new("Properties", &head);
        for row in &self.properties {
            let figure = row.as_figure();
            table.push([
                row.property.clone(),
                row.workload.clone().unwrap_or_else(|| "all".to_owned()),
                row.claim_text(),
                figure.value_text(),
                figure.interval_text(),
                figure.samples_text(),
                row.verdict.name().to_owned(),
            ]);
        }
        table
    }

    /// Figures of one workload: estimate, 95 % interval, samples. Shares of outcomes that never happened are left
    /// out, and so are latencies without a sample.
    pub fn workload_table(&self, workload: &WorkloadSummary) -> Table {
        workload.table()
    }

    /// One table a workload, and one for all together when there are several.
    pub fn workload_tables(&self) -> Vec<Table> {
        let mut tables: Vec<Table> = self.workloads.iter().map(|w| self.workload_table(w)).collect();
        if !self.all_workloads.is_empty() {
            tables.push(figures_table("All workloads".to_owned(), &self.all_workloads));
        }
        tables
    }

    /// One line a workload: offered, throughput, goodput and the latencies' tails.
    pub fn overview_table(&self) -> Table {
        let head = [
            "workload",
            "requests",
            "throughput",
            "goodput",
            "ttft p50",
            "ttft p99",
            "itl p99",
            "tpot p99",
            "e2e p99",
        ];
        let mut table = Table::new("Overview", &head);
        for workload in &self.workloads {
            let get = |name: &str| workload.figure(name).map_or_else(|| "-".to_owned(), Figure::value_text);
            table.push([
                workload.name.clone(),
                count(workload.offered),
                get("throughput"),
                get("goodput share"),
                get("ttft p50"),
                get("ttft p99"),
                get("itl p99"),
                get("tpot p99"),
                get("e2e p99"),
            ]);
        }
        table
    }

    /// Load of the pools: estimate, 95 % interval, samples.
    pub fn pool_tables(&self) -> Vec<Table> {
        let title = |p: &super::PoolSummary| {
            let most = if p.figure("replicas").is_some() { "up to " } else { "" };
            format!(
                "Pool {} ({most}{} x {}; occupancy and queues at the ends of bins)",
                p.name, p.replicas, p.model
            )
        };
        self.pools.iter().map(|pool| figures_table(title(pool), &pool.figures)).collect()
    }
}

impl WorkloadSummary {
    /// See [`Summary::workload_table`].
    pub fn table(&self) -> Table {
        figures_table(self.title(), &self.figures)
    }

    /// Its name and its pools: `Workload chat on pool h100`.
    pub fn title(&self) -> String {
        match &self.other_pools[..] {
            [] => format!("Workload {} on pool {}", self.name, self.pool),
            others => format!("Workload {} on pools {}, {}", self.name, self.pool, others.join(", ")),
        }
    }

    /// Where the time of completed requests went: mean and share of each part; last, where there is batch, the time of
    /// these parts that is due to batch tokens in the same steps.
    pub fn budget_table(&self) -> Table {
        let head = ["part of e2e", "mean", "95 % interval", "share of e2e", "samples"];
        let mut table = Table::new("", &head);
        for row in self.budget.iter().chain(&self.beside_batch) {
            let figure = Figure { name: row.part.clone(), unit: Unit::Ns, estimate: row.mean };
            let share = row.sum_ns as f64 / self.e2e_sum_ns.max(1) as f64;
            table.push([
                row.part.clone(),
                figure.value_text(),
                figure.interval_text(),
                Unit::Share.show(share),
                figure.samples_text(),
            ]);
        }
        table
    }

    /// Whether the service itself added time before the queue, or batch may have added some to its steps.
    pub fn has_more_than_waits(&self) -> bool {
        self.beside_batch.is_some() || self.budget.iter().any(|row| row.part == "overhead" && row.sum_ns > 0)
    }

    /// The figure called `name`.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Whether `metric` has anything to show.
    pub fn measured(&self, metric: Metric) -> bool {
        let mean = format!("{} mean", metric.name());
        self.figure(&mean).is_some_and(|figure| figure.estimate.is_some())
    }
}

fn figures_table(title: String, figures: &[Figure]) -> Table {
    let mut table = Table::new(title, &["figure", "estimate", "95 % interval", "samples"]);
    for figure in figures {
        let absent = figure.estimate.is_none_or(|e| e.value == 0.0 && figure.name.ends_with(" share"));
        // A goodput of nothing and a completion of nothing are news.
        if absent && !matches!(figure.name.as_str(), "goodput share" | "completed share") {
            continue;
        }
        table.push([figure.name.clone(), figure.value_text(), figure.interval_text(), figure.samples_text()]);
    }
    table
}
