//! `tidegate trace`.

use crate::cli::InspectArgs;
use comfy_table::{CellAlignment, Table, presets};
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use tidegate_sim::scenario::TraceFormat;
use tidegate_sim::workload::inspect::{GENERATED_SEED, Inspection, LengthStats, inspect as look};

/// Columns of a histogram bar.
const BAR: usize = 20;

/// Runs the command.
pub(crate) fn inspect(args: &InspectArgs) -> miette::Result<ExitCode> {
    let format = args.format.as_deref().map(named).transpose()?;
    let seen = look(&args.file, format).map_err(|error| {
        let hint = error.hint();
        miette::miette!(help = hint, "{error}")
    })?;
    let text = [Some(figures(&seen)), lengths(&seen), histogram(&seen), Some(notes(&seen))];
    let text: Vec<String> = text.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    match std::io::stdout().write_all((text.join("\n\n") + "\n").as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(miette::miette!("standard output cannot be written: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn named(name: &str) -> miette::Result<TraceFormat> {
    TraceFormat::from_name(name).ok_or_else(|| {
        let all = TraceFormat::ALL.map(|format| format!("`{}`", format.name())).join(", ");
        miette::miette!(
            help = "leave it out to go by the first line",
            "--format: `{name}` is not one of {all}"
        )
    })
}

fn figures(seen: &Inspection) -> String {
    let mut table = table(&["figure", "value", "unit"], &[1]);
    let mut row = |name: &str, value: Option<String>, unit: &str| {
        if let Some(value) = value {
            table.add_row([name, &value, unit]);
        }
    };
    let three = |value: Option<f64>| value.map(|v| format!("{v:.3}"));
    let percent = |share: Option<f64>| share.map(|s| format!("{:.1}", 100.0 * s));
    row("format", Some(seen.format.name().to_owned()), "");
    row("clients", seen.clients.map(|count| count.to_string()), "");
    row("requests", Some(seen.requests.to_string()), "");
    row("span, first to last request", Some(format!("{:.3}", seen.span.as_secs_f64())), "s");
    row("mean rate", three(seen.rate_per_s), "requests/s");
    row("CV of gaps (Poisson: 1)", three(seen.gap_cv), "");
    row("requests with the time of the one before", percent(seen.simultaneous_share), "%");
    for bins in &seen.bins {
        row(&format!("index of dispersion, {} bins (Poisson: 1)", bins.bin), three(bins.dispersion), "");
    }
    let [_, minutes] = &seen.bins;
    let rate = |count: Option<u64>| three(count.map(|c| c as f64 / minutes.bin.as_secs_f64()));
    row("fullest minute", rate(minutes.peak), "requests/s");
    row("emptiest minute", rate(minutes.trough), "requests/s");
    row("correlation of prompt and output", three(seen.correlation), "");
    if let Some(sharing) = &seen.sharing {
        row(
            "prompt blocks",
            Some(sharing.blocks.to_string()),
            &format!("of {} tokens", sharing.tokens_per_block),
        );
        let about = if sharing.exact { "" } else { "about " };
        row("blocks an earlier prompt had", Some(format!("{about}{:.1}", 100.0 * sharing.share())), "%");
    }
    table.to_string()
}

fn lengths(seen: &Inspection) -> Option<String> {
    let mut table = table(&["length (tokens)", "mean", "p50", "p90", "p99", "max"], &[1, 2, 3, 4, 5]);
    let (prompt, output) = (seen.prompt.as_ref()?, seen.output.as_ref()?);
    for (name, stats) in [("prompt", prompt), ("output", output)] {
        let [p50, p90, p99] = stats.percentiles.map(|tokens| tokens.to_string());
        let (mean, max) = (format!("{:.1}", stats.mean), stats.max.to_string());
        table.add_row([name.to_owned(), mean, p50, p90, p99, max]);
    }
    Some(table.to_string())
}

fn histogram(seen: &Inspection) -> Option<String> {
    let (prompt, output) = (seen.prompt.as_ref()?, seen.output.as_ref()?);
    let either = |octave: &usize| prompt.octaves[*octave] + output.octaves[*octave] > 0;
    let all = 0..prompt.octaves.len();
    let (first, last) = (all.clone().find(either)?, all.rev().find(either)?);
    let fullest = prompt.octaves.iter().chain(&output.octaves).copied().max()?;
    let mut table =
        table(&["length (tokens)", "prompts", "share (%)", "", "outputs", "share (%)", ""], &[0, 1, 2, 4, 5]);
    for octave in first..=last {
        let mut row = vec![format!("{}..{}", 1u64 << octave, 1u64 << (octave + 1))];
        for stats in [prompt, output] {
            row.extend(cells(stats, octave, fullest));
        }
        table.add_row(row);
    }
    Some(table.to_string())
}

/// Count, share and bar. A bar is never empty when its count is not.
fn cells(stats: &LengthStats, octave: usize, fullest: u64) -> [String; 3] {
    let count = stats.octaves[octave];
    let share = 100.0 * count as f64 / stats.octaves.iter().sum::<u64>() as f64;
    let bar = (BAR as f64 * count as f64 / fullest as f64).ceil() as usize;
    [count.to_string(), format!("{share:.1}"), "#".repeat(bar)]
}

fn notes(seen: &Inspection) -> String {
    let mut notes = Vec::new();
    if seen.clients.is_some() {
        notes.push(format!("The file describes clients: this is one generated day, seed {GENERATED_SEED}."));
    }
    if seen.borrowed_share > 0.0 {
        notes.push(format!(
            "{:.1} % of the requests come from clients without lengths of their own; they borrow the lengths of \
             the other clients, weighted by rate.",
            100.0 * seen.borrowed_share
        ));
    }
    if seen.clients.is_some() && seen.prompt.is_none() {
        notes.push("No client has lengths: a workload must give `prompt` and `output`.".to_owned());
    }
    notes.join("\n")
}

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_BORDERS_ONLY_CONDENSED).set_header(header.to_vec());
    for &index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
