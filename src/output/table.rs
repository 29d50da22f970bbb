//! Tables on the terminal, readable without colour.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};
use tidegate_sim::results::against::Agreement;
use tidegate_sim::results::figure::{QUANTILES, count, quantile_name};
use tidegate_sim::results::table::Table;
use tidegate_sim::results::{Comparison, Figure, Summary, Verdict, WorkloadSummary};
use tidegate_sim::scenario::Metric;

/// Width of tables of words, columns of a terminal: fixed, because what is printed does not depend on the terminal.
const WORDS_WIDTH: u16 = 150;

/// Everything `run` prints: latencies, rates and outcomes by workload, batch jobs, clients that try again, load by pool, the fleet
/// and its costs, limits, the control plane, expectations and properties with their verdicts, and why one does not hold.
pub fn summary_text(summary: &Summary) -> String {
    let mut text = format!("{}\n{}\n", summary.question, summary.caption());
    if let Some(live) = &summary.live {
        text += &format!("live run {}\n", live.validity_text());
        for table in live.tables() {
            text += &render(&table);
        }
    }
    if let Some(profile) = &summary.profile {
        text += &format!("limits: {}\n", profile.text());
    }
    for workload in &summary.workloads {
        text += &render(&latency_table(workload));
        text += &render(&rate_table(workload));
        if workload.has_more_than_waits() {
            text += &render(&workload.budget_table());
        }
    }
    for table in summary.batch_tables() {
        text += &render(&table);
    }
    text += &render(&summary.client_table());
    for table in summary.pool_tables() {
        text += &render(&table);
    }
    text += &render(&summary.fleet_table());
    text += &render(&summary.cost_table());
    for comparison in &summary.comparisons {
        text += &compared(comparison);
    }
    text += &limits(summary);
    text += &render(&summary.operation_table());
    text += &render(&summary.expectation_table());
    for row in summary.expectations.iter().filter(|row| row.verdict != Verdict::Holds) {
        text += &format!(
            "{}: {}: {}: {}\n",
            row.verdict.name().to_uppercase(),
            row.name,
            row.claim,
            row.reason()
        );
    }
    if !summary.properties.is_empty() {
        text += &render(&summary.verdict_table());
        for row in summary.properties.iter().filter(|row| row.verdict != Verdict::Holds) {
            text += &format!("{}: {}: {}\n", row.verdict.name().to_uppercase(), row.property, row.reason);
        }
    }
    for note in summary.profile.iter().flat_map(|profile| &profile.notes) {
        text += &format!("note: {note}\n");
    }
    for caveat in &summary.caveats {
        text += &format!("note: {caveat}\n");
    }
    if summary.interrupted {
        text += "note: the run was interrupted; these are the figures so far\n";
    }
    text
}

/// Everything `compare` prints: what a reader must know first, then workload by workload, then both verdicts.
pub fn agreement_text(agreement: &Agreement) -> String {
    let mut text = String::new();
    for side in &agreement.sides {
        let (one, live) = match side.validity {
            Some(validity) => ("block", format!(", live run {}", validity.name())),
            None => ("replication", String::new()),
        };
        let many = if side.replications == 1 { "" } else { "s" };
        let runs = count(side.replications);
        text += &format!("{}: {} ({runs} {one}{many}{live})\n", side.role, side.title);
    }
    for warning in &agreement.warnings {
        text += &format!("warning: {warning}\n");
    }
    for workload in &agreement.workloads {
        for table in agreement.workload_tables(workload) {
            text += &render(&table);
        }
        for left in &workload.left_out {
            text += &format!("{} is not compared: {}\n", left.metric, left.reason);
        }
    }
    if !agreement.properties.is_empty() {
        text += &render(&agreement.property_table());
    }
    for row in &agreement.properties {
        for (side, decided) in agreement.sides.iter().zip([&row.first, &row.second]) {
            let Some(decided) = decided.as_ref().filter(|d| d.verdict != Verdict::Holds) else { continue };
            let word = decided.verdict.name().to_uppercase();
            text += &format!("{word} ({}): {}: {}\n", side.role, row.property, decided.reason);
        }
    }
    text
}

/// Ratios, what ended differently, and who slowed whom.
fn compared(comparison: &Comparison) -> String {
    let mut text = render(&comparison.ratio_table());
    text += &render(&comparison.difference_table());
    text += &render(&comparison.limit_table());
    for table in comparison.attribution_tables() {
        text += &render(&table);
    }
    text
}

/// The limits that the run met, how many it did not meet, and which binds first.
fn limits(summary: &Summary) -> String {
    let mut text = render(&summary.limit_table());
    let others = summary.limits.iter().filter(|limit| !limit.is_met()).count();
    if others > 0 {
        text += &format!(
            "{} of {} limits in force met nothing in this run\n",
            count(others as u64),
            count(summary.limits.len() as u64)
        );
    }
    if let Some(first) = &summary.binds_first {
        text += &format!("{}\n", first.text());
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
        title: format!("{}{intervals}", workload.title()),
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
    for (index, column) in drawn.column_iter_mut().enumerate() {
        if !table.has_words(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text(table, &drawn)
}

/// As [`render`], of words: long sentences are wrapped, but not the first column.
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
pub(crate) mod tests {
    use super::*;
    use tidegate_sim::results::{
        BindsFirst, ExpectationRow, LimitRow, OperationRow, ProfileRow, Provenance, SCHEMA,
    };

    fn limit(name: &str, mechanism: &str, refused: u64) -> LimitRow {
        let metered = mechanism == "rate";
        LimitRow {
            name: name.to_owned(),
            row: name.to_owned(),
            mechanism: mechanism.to_owned(),
            value: "20/s".to_owned(),
            changed: false,
            counted_by: if metered { "account".to_owned() } else { String::new() },
            provenance: "documented".to_owned(),
            source: "negotiated".to_owned(),
            algorithm: metered.then(|| "sliding-log".to_owned()),
            metered,
            offered: 5 * refused,
            admitted: 4 * refused,
            refused,
            violations: 0,
            peak: 15,
            peak_limit: 20,
            peak_share: metered.then_some(0.75),
            blocked_share: metered.then_some(0.125),
            counters: 2,
            first_refused_ns: Some(1_500_000_000),
        }
    }

    /// The summary of a run that measured nothing but limits: one expectation holds, one does not.
    pub(crate) fn limited() -> Summary {
        let row = |claim: &str, found: &str, verdict, replication| ExpectationRow {
            name: "a & b".to_owned(),
            claim: claim.to_owned(),
            expected: "10".to_owned(),
            found: found.to_owned(),
            verdict,
            replication,
        };
        Summary {
            schema: SCHEMA,
            scenario: "limited".to_owned(),
            variant: None,
            question: "Is it refused?".to_owned(),
            interrupted: false,
            provenance: Provenance {
                version: String::new(),
                target: String::new(),
                scenario_hash: String::new(),
                arrival_hash: String::new(),
                seeds: vec![1],
                horizon_ns: 1,
                warmup_ns: 0,
                bin_ns: 1,
                ended_ns: 1,
            },
            caveats: Vec::new(),
            properties: Vec::new(),
            expectations: vec![
                row("accepted", "10", Verdict::Holds, None),
                row("refused", "12", Verdict::Violated, Some(3)),
            ],
            comparisons: Vec::new(),
            live: None,
            profile: Some(ProfileRow {
                id: "acme".to_owned(),
                title: "Acme limits".to_owned(),
                as_of: "2026-08-07".to_owned(),
                preview: true,
                overlays: Vec::new(),
                notes: vec!["`rate` counts by token".to_owned()],
            }),
            limits: vec![limit("rate", "rate", 3), limit("bans", "ban", 0)],
            binds_first: Some(BindsFirst {
                limit: "rate".to_owned(),
                value: "20/s".to_owned(),
                first_refused_ns: Some(1_500_000_000),
                peak_share: Some(0.75),
                at_multiple: None,
            }),
            operations: vec![OperationRow {
                name: "creates".to_owned(),
                verb: "create-endpoint".to_owned(),
                offered: 60,
                accepted: 50,
                refusals: [("rate".to_owned(), 10)].into(),
            }],
            workloads: Vec::new(),
            all_workloads: Vec::new(),
            batches: Vec::new(),
            pools: Vec::new(),
            costs: None,
        }
    }

    #[test]
    fn limits_calls_and_expectations_have_a_line_each() {
        let text = summary_text(&limited());
        assert!(text.contains("limits: Acme limits, Public Preview, as of 2026-08-07 (acme)\n"), "{text}");
        for needle in [
            "(sliding-log, negotiated)",
            "peak, %",
            "first refusal, s",
            "1 of 2 limits in force met nothing in this run\n",
            "rate (20/s) binds first: it refused for the first time at 1.5s\n",
            "create-endpoint",
            "rate (10)",
            "VIOLATED: a & b: refused: expected 10, found 12 in replication 3\n",
            "note: `rate` counts by token\n",
        ] {
            assert!(text.contains(needle), "{needle}:\n{text}");
        }
        assert!(!text.contains("bans"), "what met nothing is only counted:\n{text}");
    }

    #[test]
    fn a_run_without_limits_prints_nothing_about_them() {
        let mut summary = limited();
        summary.limits.clear();
        summary.operations.clear();
        summary.expectations.clear();
        (summary.profile, summary.binds_first) = (None, None);
        let text = summary_text(&summary);
        assert_eq!(text, "Is it refused?\nscenario limited, seed 1, 1 replication, 0 requests\n");
    }

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
