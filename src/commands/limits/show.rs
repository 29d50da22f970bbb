//! `tidegate limits show`.

use super::{facts, heading, print, profiles, row_of};
use crate::cli::ShowArgs;
use miette::Result;
use std::fmt::Write as _;
use std::process::ExitCode;
use tidegate_sim::profile::Row;
use tidegate_sim::scenario::profile::{self, Loaded, LoadedLimit};

/// A limit with its row, or a row with all its limits, in each profile that has it.
pub(super) fn show(args: &ShowArgs) -> Result<ExitCode> {
    let loaded = profiles(args.profile.as_deref())?;
    let text: String = loaded.iter().filter_map(|loaded| found(loaded, &args.id)).collect();
    if text.is_empty() {
        let names = || {
            loaded.iter().flat_map(|loaded| {
                let rows = loaded.profile.rows.iter().map(|row| row.id.as_str());
                rows.chain(loaded.limits.iter().map(|limit| limit.limit.name.as_str()))
            })
        };
        let hint = profile::suggestion(&args.id, names())
            .unwrap_or_else(|| "`tidegate limits list` and `tidegate limits coverage` list them".to_owned());
        return Err(miette::miette!(help = hint, "no limit and no row is named `{}`", args.id));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn found(loaded: &Loaded, id: &str) -> Option<String> {
    let named = loaded.limits.iter().find(|limit| limit.limit.name == id);
    // A limit of the row's own name may be one of several of the row.
    let whole = loaded.profile.rows.iter().find(|row| row.id == id);
    let row = whole.or_else(|| named.and_then(|limit| row_of(loaded, limit)));
    let of_row = |limit: &&LoadedLimit| limit.limit.row == id;
    let limits: Vec<&LoadedLimit> = match whole {
        Some(_) => loaded.limits.iter().filter(of_row).collect(),
        None => vec![named?],
    };
    let mut text = format!("{}\n", heading(loaded));
    if let Some(row) = row {
        text += &documented(row);
    }
    for limit in limits {
        text += &enforced(limit);
    }
    Some(text + "\n")
}

/// One line a fact, the name padded.
fn line(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {name:<14} {value}");
    }
}

fn documented(row: &Row) -> String {
    let mut out = format!("\nrow {}\n", row.id);
    line(&mut out, "quote", &format!("\"{}\"", row.quote));
    for (name, value) in [
        ("document", &row.document),
        ("kind", &row.kind),
        ("value", &row.value),
        ("counted by", &row.granularity),
        ("change", &row.change),
        ("tier", &row.tier),
        ("edges", &row.edges),
    ] {
        line(&mut out, name, value);
    }
    line(&mut out, "standing", row.standing.name());
    line(&mut out, "how", &row.how);
    line(&mut out, "tests", &row.tests.join(", "));
    out
}

fn enforced(limit: &LoadedLimit) -> String {
    let inner = &limit.limit;
    let mut out = format!("\nlimit {}\n", inner.name);
    line(&mut out, "mechanism", inner.mechanism.name());
    line(&mut out, "value", &facts::value(limit));
    for (name, value) in facts::parameters(limit) {
        if !value.is_null() {
            line(&mut out, &format!("  {name}"), &value.to_string());
        }
    }
    line(&mut out, "counted by", &inner.per_text());
    line(&mut out, "asked for", &facts::verbs(limit));
    line(&mut out, "asked at", inner.stage.name());
    let concerns = facts::concerns(limit);
    line(&mut out, "concerns", if concerns.is_empty() { "everyone" } else { &concerns });
    line(&mut out, "overlay", limit.overlay.as_deref().unwrap_or_default());
    line(&mut out, "provenance", inner.provenance.name());
    line(&mut out, "may change", may_change(limit));
    let answer = &inner.answer;
    let then = match (answer.announces_retry, answer.retryable) {
        (true, true) => "announces retry-after; try again",
        (true, false) => "announces retry-after; do not try again",
        (false, true) => "announces no retry-after; try again",
        (false, false) => "do not try again",
    };
    if !matches!(inner.mechanism, tidegate_sim::profile::Mechanism::Overhead { .. }) {
        line(&mut out, "answers", &format!("{} {} ({then})", answer.status, answer.code));
        line(&mut out, "", &format!("\"{}\" ({})", answer.message, answer.provenance.name()));
    }
    out
}

fn may_change(limit: &LoadedLimit) -> &'static str {
    match (limit.required, limit.raisable) {
        (true, _) => "the scenario must give it, with source = \"account\"",
        (false, true) => "in a scenario, with source = \"negotiated\"",
        (false, false) => "fixed",
    }
}
