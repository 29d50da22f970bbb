//! One page with everything: readable offline, on paper, in light and in dark. No script.

use super::canvas::Svg;
use super::compare::{names, same_requests};
use super::palette;
use super::plot::{About, Plot};
use crate::results::against::{Agreement, same_arrivals};
use crate::results::figure::{Estimate, Figure, QUANTILES, Unit, count, quantile_name};
use crate::results::live::{LiveSummary, Validity};
use crate::results::table::Table;
use crate::results::{
    BindsFirst, Comparison, ExpectationRow, PoolSummary, ProfileRow, ResultSet, Summary, Verdict,
    WorkloadSummary,
};
use crate::scenario::Metric;
use minijinja::{Environment, Value, context};

const REPORT: &str = include_str!("report.html");
const COMPARE: &str = include_str!("compare.html");
const STYLE: &str = include_str!("style.css");

/// The report of one result set, with its figures.
pub(super) fn report(results: &ResultSet, drawn: &[(Plot, Svg)]) -> String {
    let summary = &results.summary;
    let workloads: Vec<Value> = summary
        .workloads
        .iter()
        .map(|workload| {
            context! {
                name => workload.name.clone(),
                pool => workload.pool.clone(),
                facts => facts(workload),
                outcomes => outcomes(workload),
                budget => budget(workload),
                beside => beside(workload),
                rates => table(&rates_table(workload)),
                latencies => latencies(workload),
                figures => figures_about(drawn, &About::Workload(workload.name.clone())),
                notes => notes(workload),
            }
        })
        .collect();
    let pools: Vec<Value> = summary
        .pools
        .iter()
        .zip(summary.pool_tables())
        .map(|(pool, figures)| {
            context! {
                name => pool.name.clone(),
                facts => pool_facts(pool),
                table => table(&figures),
                figures => figures_about(drawn, &About::Pool(pool.name.clone())),
            }
        })
        .collect();
    let all = (!summary.all_workloads.is_empty())
        .then(|| summary.workload_tables().pop().map(|all| table(&all)))
        .flatten();
    render(
        REPORT,
        context! {
            style => style(),
            title => summary.title(),
            question => summary.question.clone(),
            caption => summary.caption(),
            interrupted => summary.interrupted,
            verdict => overall(summary),
            profile => summary.profile.as_ref().map(ProfileRow::text),
            live => summary.live.as_ref().map(live),
            properties => summary.properties.iter().map(property).collect::<Vec<_>>(),
            expectations => expectations(summary),
            caveats => caveats(summary),
            comparisons => comparisons(summary, drawn),
            limits => limits(summary),
            operations => (!summary.operations.is_empty()).then(|| table(&summary.operation_table())),
            overview => table(&summary.overview_table()),
            all => all,
            workloads => workloads,
            batch => batch(summary, drawn),
            pools => pools,
            extra => [summary.client_table(), summary.fleet_table(), summary.cost_table()]
                .iter()
                .filter(|found| !found.rows.is_empty())
                .map(table)
                .collect::<Vec<_>>(),
            provenance => provenance(summary),
        },
    )
}

/// The page of two result sets over each other; with an `agreement`, errors, distances and both verdicts as well.
pub(super) fn compare(
    a: &ResultSet,
    b: &ResultSet,
    agreement: Option<&Agreement>,
    drawn: &[(Plot, Svg)],
) -> String {
    let [left, right] = names(&a.summary, &b.summary);
    let tables = |workload: &WorkloadSummary, other: &WorkloadSummary| -> Vec<Value> {
        let found = agreement.and_then(|all| {
            let found = all.workloads.iter().find(|found| found.workload == workload.name)?;
            Some(all.workload_tables(found))
        });
        let found = found.unwrap_or_else(|| vec![compare_table(workload, other, [&left, &right])]);
        found.iter().filter(|found| !found.rows.is_empty()).map(table).collect()
    };
    let left_out = |workload: &WorkloadSummary| -> Vec<String> {
        let found = agreement.and_then(|all| all.workloads.iter().find(|w| w.workload == workload.name));
        let rows = found.iter().flat_map(|found| &found.left_out);
        rows.map(|row| format!("{} is not compared: {}", row.metric, row.reason)).collect()
    };
    let workloads: Vec<Value> = a
        .summary
        .workloads
        .iter()
        .filter_map(|workload| {
            let other = b.summary.workloads.iter().find(|other| other.name == workload.name)?;
            Some(context! {
                name => workload.name.clone(),
                tables => tables(workload, other),
                left_out => left_out(workload),
                figures => figures_about(drawn, &About::Workload(workload.name.clone())),
            })
        })
        .collect();
    let pools: Vec<Value> = drawn
        .iter()
        .filter(|(plot, _)| matches!(plot.about, About::Pool(_)))
        .map(|(_, svg)| Value::from_safe_string(svg.inline()))
        .collect();
    let live = [&a.summary, &b.summary].map(|summary| summary.live.as_ref().map(validity));
    let properties = agreement.filter(|all| !all.properties.is_empty());
    render(
        COMPARE,
        context! {
            style => style(),
            names => vec![left.clone(), right.clone()],
            same => same_arrivals(&a.summary, &b.summary),
            requests => same_requests(&a.summary, &b.summary),
            captions => [a.summary.caption(), b.summary.caption()],
            live => live,
            warnings => agreement.map(|all| all.warnings.clone()).unwrap_or_default(),
            properties => properties.map(|all| table(&all.property_table())),
            workloads => workloads,
            pools => pools,
            provenance => [provenance(&a.summary), provenance(&b.summary)],
        },
    )
}

/// Whether a live run is to be believed, in one word and with the reasons.
fn validity(live: &LiveSummary) -> Value {
    let class = match live.validity {
        Validity::Valid => "holds",
        Validity::Degraded => "inconclusive",
        Validity::Invalid => "violated",
    };
    context! { class => class, word => live.validity.name(), reasons => live.reasons.clone(), target => live.target.clone() }
}

/// How a live run went: whether it is to be believed, then its tables.
fn live(live: &LiveSummary) -> Value {
    let tables = live.tables();
    let tables: Vec<Value> = tables.iter().filter(|found| !found.rows.is_empty()).map(table).collect();
    context! { validity => validity(live), tables => tables }
}

fn render(template: &str, values: Value) -> String {
    let mut environment = Environment::new();
    // The ending turns escaping on: names and questions come from scenario files.
    environment.add_template("page.html", template).expect("the page's template is well formed");
    let page = environment.get_template("page.html").expect("the template was just added");
    page.render(values).expect("the page's template finds its values")
}

fn style() -> Value {
    let inks = |dark: bool| -> String {
        let pick = |ink: palette::Ink| palette::hex(if dark { ink.dark } else { ink.light });
        let series = palette::SERIES.iter().enumerate().map(|(i, ink)| format!("--c{i}:{};", pick(*ink)));
        let named = [
            ("paper", palette::PAPER),
            ("text", palette::TEXT),
            ("soft", palette::SOFT),
            ("line", palette::GRID),
            ("shade", palette::SHADE),
            ("bad", palette::LIMIT),
        ];
        named.iter().map(|(name, ink)| format!("--{name}:{};", pick(*ink))).chain(series).collect()
    };
    let css = format!(
        ":root{{{}}}@media screen and (prefers-color-scheme:dark){{:root{{{}}}{}}}{STYLE}",
        inks(false),
        inks(true),
        palette::dark_rules(".figure svg"),
    );
    Value::from_safe_string(css)
}

fn table(table: &Table) -> Value {
    let words: Vec<bool> = (0..table.head.len()).map(|column| table.has_words(column)).collect();
    context! { title => table.title.clone(), head => table.head.clone(), rows => table.rows.clone(), words }
}

fn figures_about(drawn: &[(Plot, Svg)], about: &About) -> Vec<Value> {
    let chosen = drawn.iter().filter(|(plot, _)| plot.about == *about);
    chosen.map(|(_, svg)| Value::from_safe_string(svg.inline())).collect()
}

/// One word for the whole run.
fn overall(summary: &Summary) -> Value {
    let properties = summary.properties.iter().map(|row| row.verdict);
    let expectations = summary.expectations.iter().map(|row| row.verdict);
    // Expectations are named where there are any.
    let (one, many) = match (summary.properties.is_empty(), summary.expectations.is_empty()) {
        (_, true) => ("property", "properties"),
        (true, false) => ("expectation", "expectations"),
        (false, false) => ("property or expectation", "properties and expectations"),
    };
    let verdicts: Vec<Verdict> = properties.chain(expectations).collect();
    if summary.validity() == Some(Validity::Invalid) {
        let text = "The live run is INVALID: no verdict is given.".to_owned();
        return context! { class => "violated", text => text };
    }
    let of = |verdict| verdicts.iter().filter(|found| **found == verdict).count();
    let (class, text) = match (verdicts.len(), of(Verdict::Violated), of(Verdict::Inconclusive)) {
        (0, _, _) => ("none", "No property was asked of this run.".to_owned()),
        (1, 0, 0) => ("holds", format!("The {one} holds.")),
        (all, 0, 0) => ("holds", format!("All {all} {many} hold.")),
        (all, 0, open) => {
            ("inconclusive", format!("{open} of {all} {many} are inconclusive, none is violated."))
        }
        (all, bad, _) => ("violated", format!("{bad} of {all} {many} violated.")),
    };
    context! { class => class, text => text }
}

/// Claims that do not hold, in full, and all of them as a table.
fn expectations(summary: &Summary) -> Option<Value> {
    let row = |row: &ExpectationRow| {
        context! {
            name => row.name.clone(),
            verdict => row.verdict.name(),
            claim => row.claim.clone(),
            reason => row.reason(),
        }
    };
    let broken = summary.expectations.iter().filter(|row| row.verdict != Verdict::Holds);
    (!summary.expectations.is_empty()).then(|| {
        context! {
            broken => broken.map(row).collect::<Vec<_>>(),
            table => table(&summary.expectation_table()),
        }
    })
}

/// Comparisons with other variants: ratios, what ended differently, who slowed whom.
fn comparisons(summary: &Summary, drawn: &[(Plot, Svg)]) -> Vec<Value> {
    let one = |comparison: &Comparison| {
        let others = [comparison.difference_table(), comparison.limit_table()];
        let others = others.into_iter().chain(comparison.attribution_tables());
        context! {
            title => comparison.title(),
            ratios => table(&comparison.ratio_table()),
            tables => others.filter(|found| !found.rows.is_empty()).map(|found| table(&found)).collect::<Vec<_>>(),
            figures => figures_about(drawn, &About::Comparison(comparison.other().to_owned())),
        }
    };
    summary.comparisons.iter().map(one).collect()
}

/// Limits that the run met, those that it did not meet, and which binds first.
fn limits(summary: &Summary) -> Option<Value> {
    let (met, others) = (summary.limit_table(), summary.other_limit_table());
    (!summary.limits.is_empty()).then(|| {
        context! {
            met => (!met.rows.is_empty()).then(|| table(&met)),
            others => (!others.rows.is_empty()).then(|| table(&others)),
            first => summary.binds_first.as_ref().map(BindsFirst::text),
        }
    })
}

/// Jobs: tables and figures.
fn batch(summary: &Summary, drawn: &[(Plot, Svg)]) -> Option<Value> {
    let tables = summary.batch_tables();
    (!summary.batches.is_empty()).then(|| {
        context! {
            tables => tables.iter().filter(|found| !found.rows.is_empty()).map(table).collect::<Vec<_>>(),
            figures => figures_about(drawn, &About::Batch),
        }
    })
}

/// What every reader must know: of the scenario, then of its limits.
fn caveats(summary: &Summary) -> Vec<String> {
    let notes = summary.profile.iter().flat_map(|profile| &profile.notes);
    summary.caveats.iter().chain(notes).cloned().collect()
}

fn property(row: &crate::results::VerdictRow) -> Value {
    let figure = row.as_figure();
    context! {
        name => row.property.clone(),
        verdict => row.verdict.name(),
        claim => format!("{}: {}", row.workload.as_deref().unwrap_or("all workloads"), row.claim_text()),
        value => figure.value_text(),
        interval => figure.interval_text(),
        samples => figure.samples_text(),
        confidence => Unit::Share.show(row.confidence),
        reason => row.reason.clone(),
    }
}

fn facts(workload: &WorkloadSummary) -> Vec<String> {
    let mut facts = vec![
        format!("{} requests counted", count(workload.offered)),
        format!(
            "{} prompt and {} output tokens",
            count(workload.prompt_tokens),
            count(workload.output_tokens)
        ),
    ];
    if workload.cached_tokens > 0 {
        let share = workload.cached_tokens as f64 / workload.prompt_tokens.max(1) as f64;
        facts.push(format!("{} of the prompt tokens found in the prefix cache", Unit::Share.show(share)));
    }
    if workload.preemptions > 0 {
        facts.push(format!("{} preemptions", count(workload.preemptions)));
    }
    if workload.tenants > 1 {
        facts.push(format!("{} tenants (tenants.csv)", count(workload.tenants)));
    }
    if workload.network_ns > 0 {
        let network = Unit::Ns.show(workload.network_ns as f64);
        facts.push(format!("{network} network round trip, in client-e2e only"));
    }
    let goals = workload.objectives_ns.iter();
    let goals: Vec<String> =
        goals.map(|(name, ns)| format!("{name} <= {}", Unit::Ns.show(*ns as f64))).collect();
    if !goals.is_empty() {
        facts.push(format!("goodput means {}", goals.join(" and ")));
    }
    if let Some(attempts) = &workload.attempts {
        facts.push(format!(
            "{} attempts, {} of them hedges",
            count(attempts.attempts),
            count(attempts.hedges)
        ));
    }
    if !workload.other_pools.is_empty() {
        facts.push(format!("served by {}, {}", workload.pool, workload.other_pools.join(", ")));
    }
    facts
}

fn pool_facts(pool: &PoolSummary) -> Vec<String> {
    let many = |number: u64, one: &str| {
        if number == 1 { format!("1 {one}") } else { format!("{} {one}s", count(number)) }
    };
    let most = if pool.figure("replicas").is_some() { "up to " } else { "" };
    let mut facts = vec![format!("{most}{} of {}", many(pool.replicas, "replica"), pool.model)];
    if pool.gpus > 0 {
        facts.push(many(pool.gpus, "GPU"));
    }
    if pool.engine == "llm" {
        facts.push(many(pool.steps, "step"));
        let outside = Unit::Share.show(pool.steps_outside_range as f64 / pool.steps.max(1) as f64);
        facts.push(format!("{outside} of them outside the range in which the step law was measured"));
    }
    facts
}

/// Rates and shares; the latencies have a table of their own.
fn rates_table(workload: &WorkloadSummary) -> Table {
    let rates = workload.figures.iter().filter(|figure| figure.unit != Unit::Ns).cloned().collect();
    let rates = WorkloadSummary { figures: rates, ..workload.clone() };
    rates.table()
}

/// One row a latency: its samples, and each statistic with its interval.
fn latencies(workload: &WorkloadSummary) -> Value {
    let statistics: Vec<String> =
        std::iter::once("mean".to_owned()).chain(QUANTILES.map(quantile_name)).collect();
    let row = |metric: Metric| {
        let figures = statistics.iter().map(|statistic| {
            let figure = workload.figure(&format!("{} {statistic}", metric.name()));
            figure.map_or_else(
                || context! { value => "-", interval => "-" },
                |figure| context! { value => figure.value_text(), interval => figure.interval_text() },
            )
        });
        let samples = workload.figure(&format!("{} mean", metric.name())).map(Figure::samples_text);
        context! { name => metric.name(), samples => samples, cells => figures.collect::<Vec<_>>() }
    };
    let shown = Metric::ALL.into_iter().filter(|metric| workload.measured(*metric));
    let shown = shown.filter(|metric| *metric != Metric::ClientE2e || workload.network_ns > 0);
    context! { head => statistics.clone(), rows => shown.map(row).collect::<Vec<_>>() }
}

/// What lay outside the histograms.
fn notes(workload: &WorkloadSummary) -> Vec<String> {
    let note = |(metric, out): (&String, &crate::results::OutOfRange)| {
        format!(
            "{metric}: {} below 1 us and {} above 48 h are counted in means and quantiles but not in the figures.",
            count(out.below_1us),
            count(out.above_48h)
        )
    };
    workload.out_of_range.iter().map(note).collect()
}

/// How requests ended, as parts of a bar.
fn outcomes(workload: &WorkloadSummary) -> Vec<Value> {
    let share = |number: u64| number as f64 / workload.offered.max(1) as f64;
    let order = crate::request::Outcome::ALL.map(|outcome| outcome.name());
    order
        .iter()
        .filter_map(|name| Some((*name, *workload.outcomes.get(*name)?)))
        .filter(|(_, number)| *number > 0)
        .map(|(name, number)| part(name, share(number), outcome_color(name), count(number), String::new()))
        .collect()
}

fn outcome_color(name: &str) -> usize {
    match name {
        "completed" => 0,
        "refused" => 1,
        "timed-out" => 3,
        "expired" => 4,
        "failed" | "lost" => 5,
        _ => 2,
    }
}

/// Where the time went, as parts of a bar.
fn budget(workload: &WorkloadSummary) -> Vec<Value> {
    if workload.e2e_sum_ns == 0 {
        return Vec::new();
    }
    let rows = workload.budget.iter();
    rows.map(|row| {
        let mean = row.mean.map_or_else(|| "-".to_owned(), |mean| Unit::Ns.show(mean.value));
        let interval = match row.mean {
            Some(Estimate { low: Some(low), high: Some(high), .. }) => Unit::Ns.show_range(low, high),
            _ => "-".to_owned(),
        };
        let share = row.sum_ns as f64 / workload.e2e_sum_ns as f64;
        part(&row.part, share, budget_color(&row.part), mean, interval)
    })
    .collect()
}

/// The time of some of these parts that is due to batch tokens in the same steps.
fn beside(workload: &WorkloadSummary) -> Option<Value> {
    let row = workload.beside_batch.as_ref()?;
    let figure = Figure { name: row.part.clone(), unit: Unit::Ns, estimate: row.mean };
    let share = row.sum_ns as f64 / workload.e2e_sum_ns.max(1) as f64;
    Some(context! {
        name => row.part.clone(),
        value => figure.value_text(),
        interval => figure.interval_text(),
        share => Unit::Share.show(share),
    })
}

/// By name: a part that is zero everywhere may be missing. The two rarest share their colours with parts that they do not
/// stand beside.
fn budget_color(part: &str) -> usize {
    match part {
        "earlier-attempts" => 2,
        "transfer" => 1,
        "gateway-queue" => 3,
        "engine-queue" => 1,
        "prefill" => 4,
        "decode" => 0,
        "preemption" => 2,
        _ => 5,
    }
}

fn part(name: &str, share: f64, color: usize, value: String, interval: String) -> Value {
    context! {
        name => name.replace('-', " "),
        width => format!("{:.4}", share * 100.0),
        share => Unit::Share.show(share),
        color => color,
        value => value,
        interval => interval,
    }
}

fn provenance(summary: &Summary) -> Vec<(&'static str, String)> {
    let provenance = &summary.provenance;
    let time = |ns: u64| crate::time::Span::from_nanos(ns).to_string();
    let seeds: Vec<String> = provenance.seeds.iter().map(u64::to_string).collect();
    vec![
        ("scenario", summary.title()),
        ("scenario hash", provenance.scenario_hash.clone()),
        ("arrival hash", provenance.arrival_hash.clone()),
        ("tidegate", provenance.version.clone()),
        ("target", provenance.target.clone()),
        (
            "arrivals",
            format!(
                "from 0 to {}; the first {} are not counted",
                time(provenance.horizon_ns),
                time(provenance.warmup_ns)
            ),
        ),
        ("longest replication", time(provenance.ended_ns)),
        ("replications", summary.replications().to_string()),
        ("seeds", seeds.join(", ")),
    ]
}

/// Figure by figure, the estimates of both.
fn compare_table(a: &WorkloadSummary, b: &WorkloadSummary, names: [&str; 2]) -> Table {
    let head = ["figure", names[0], "95 % interval", names[1], "95 % interval", "change"].map(str::to_owned);
    let mut rows = Vec::new();
    for left in &a.figures {
        let Some(right) = b.figure(&left.name) else { continue };
        let (Some(l), Some(r)) = (left.estimate, right.estimate) else { continue };
        if l.value == 0.0 && r.value == 0.0 {
            continue;
        }
        let change = if l.value == 0.0 {
            "-".to_owned()
        } else {
            let percent = (r.value / l.value - 1.0) * 100.0;
            if percent.abs() < 0.05 { "0.0 %".to_owned() } else { format!("{percent:+.1} %") }
        };
        rows.push(vec![
            left.name.clone(),
            left.value_text(),
            left.interval_text(),
            right.value_text(),
            right.interval_text(),
            change,
        ]);
    }
    Table { title: format!("Workload {}", a.name), head: head.to_vec(), rows }
}
