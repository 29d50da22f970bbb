//! Tables on the terminal, readable without colour.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};
use tidegate_sim::results::figure::{QUANTILES, count, quantile_name};
use tidegate_sim::results::table::Table;
use tidegate_sim::results::{Figure, Summary, Verdict, WorkloadSummary};
use tidegate_sim::scenario::Metric;

/// Width of tables of words, columns of a terminal: fixed, because what is printed does not depend on the terminal.
const WORDS_WIDTH: u16 = 150;

/// Everything `run` prints: latencies, rates and outcomes by workload, load by pool, verdicts, and why one does not hold.
pub fn summary_text(summary: &Summary) -> String {
    let mut text = format!("{}\n{}\n", summary.question, summary.caption());
    for workload in &summary.workloads {
        text += &render(&latency_table(workload));
        text += &render(&rate_table(workload));
    }
    for table in summary.pool_tables() {
        text += &render(&table);
    }
    if !summary.properties.is_empty() {
        text += &render(&summary.verdict_table());
        for row in summary.properties.iter().filter(|row| row.verdict != Verdict::Holds) {
            text += &format!("{}: {}: {}\n", row.verdict.name().to_uppercase(), row.property, row.reason);
        }
    }
    for caveat in &summary.caveats {
        text += &format!("note: {caveat}\n");
    }
    if summary.interrupted {
        text += "note: the run was interrupted; these are the figures so far\n";
    }
    text
}

/// Latencies of a workload: mean and quantiles, each with its 95 % interval below it, and how many samples.
fn latency_table(workload: &WorkloadSummary) -> Table {
    let names: Vec<String> =
        std::iter::once("mean".to_owned()).chain(QUANTILES.into_iter().map(quantile_name)).collect();
    let head = std::iter::once("latency".to_owned()).chain(names.iter().cloned());
    let mut rows = Vec::new();
    for metric in Metric::ALL {
        let of = |what: &String| workload.figure(&format!("{} {what}", metric.name()));
        let found: Vec<&Figure> = names.iter().filter_map(of).filter(|f| f.estimate.is_some()).collect();
        let Some(first) = found.first() else { continue };
        let cells = found.iter().map(|figure| with_interval(figure));
        rows.push(
            std::iter::once(metric.name().to_owned()).chain(cells).chain([first.samples_text()]).collect(),
        );
    }
    let intervals =
        workload.figures.iter().filter_map(|figure| figure.estimate.as_ref()).any(|it| it.low.is_some());
    let intervals = if intervals { " (95 % intervals)" } else { "" };
    Table {
        title: format!("Workload {} on pool {}{intervals}", workload.name, workload.pool),
        head: head.chain(["samples".to_owned()]).collect(),
        rows,
    }
}

/// Rates, goodput and how requests ended.
fn rate_table(workload: &WorkloadSummary) -> Table {
    let mut rows = Vec::new();
    for name in ["throughput", "token throughput", "goodput rate", "goodput share"] {
        if let Some(figure) = workload.figure(name) {
            rows.push(vec![
                figure.name.clone(),
                figure.value_text(),
                figure.interval_text(),
                figure.samples_text(),
            ]);
        }
    }
    for (outcome, requests) in workload.outcomes.iter().filter(|(_, requests)| **requests > 0) {
        let figure = workload.figure(&format!("{outcome} share"));
        let of = |text: fn(&Figure) -> String| figure.map_or_else(|| "-".to_owned(), text);
        rows.push(vec![outcome.clone(), of(Figure::value_text), of(Figure::interval_text), count(*requests)]);
    }
    let head = ["figure", "estimate", "95 % interval", "samples"].map(str::to_owned).to_vec();
    Table { title: String::new(), head, rows }
}

/// The value, and its interval on a line below when there is one.
fn with_interval(figure: &Figure) -> String {
    match figure.interval_text().as_str() {
        "-" => figure.value_text(),
        interval => format!("{}\n{interval}", figure.value_text()),
    }
}

/// A table as text, with its title above and its figures to the right. Empty tables are left out.
pub fn render(table: &Table) -> String {
    let mut drawn = drawn(table);
    for column in drawn.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text(table, &drawn)
}

/// As [`render`], of words: everything stands to the left, and long sentences are wrapped, but not the first column.
pub fn render_words(table: &Table) -> String {
    let mut drawn = drawn(table);
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_width(WORDS_WIDTH);
    if let Some(column) = drawn.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    text(table, &drawn)
}

fn drawn(table: &Table) -> comfy_table::Table {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    drawn.set_header(&table.head).add_rows(&table.rows);
    drawn
}

fn text(table: &Table, drawn: &comfy_table::Table) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = drawn.lines().map(|line| line.trim_end().to_owned()).collect();
    let title = if table.title.is_empty() { String::new() } else { format!("\n{}\n", table.title) };
    format!("{title}{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right_and_names_to_the_left() {
        let table = Table {
            title: "Load".to_owned(),
            head: vec!["figure".to_owned(), "estimate".to_owned()],
            rows: vec![
                vec!["a".to_owned(), "1 s".to_owned()],
                vec!["bb".to_owned(), "12 ms\n9 to 15".to_owned()],
            ],
        };
        let text = render(&table);
        assert!(text.starts_with("\nLoad\n"), "{text}");
        let lines: Vec<&str> =
            text.lines().filter(|line| line.contains("to 15") || line.contains("1 s")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "right-aligned:\n{text}");
        assert!(render(&Table { rows: Vec::new(), ..table }).is_empty());
    }
}
