//! `tidegate limits diff`.

use super::{check_overlays, facts, heading, in_force, print, profiles};
use crate::cli::DiffArgs;
use crate::output::table::render_words;
use miette::{IntoDiagnostic as _, Result};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use tidegate_sim::profile::{Mechanism, Verb};
use tidegate_sim::results::table::Table;
use tidegate_sim::scenario::profile::{Loaded, LoadedLimit};

/// Both side by side, or both as JSON.
pub(super) fn diff(args: &DiffArgs) -> Result<ExitCode> {
    let mut both = profiles(Some(&args.left))?;
    both.extend(profiles(Some(&args.right))?);
    check_overlays(&both, &args.overlay)?;
    let text = if args.json {
        let side = |loaded: &Loaded| effective(loaded, &args.overlay);
        let text = serde_json::to_string_pretty(&json!({ "left": side(&both[0]), "right": side(&both[1]) }));
        text.into_diagnostic()? + "\n"
    } else {
        render_words(&table(&both[0], &both[1], &args.overlay))
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Everything in force, by name.
fn effective(loaded: &Loaded, overlays: &[String]) -> Json {
    let limits: Map<String, Json> = in_force(loaded, overlays)
        .into_iter()
        .map(|limit| (limit.limit.name.clone(), facts::json(limit)))
        .collect();
    let on: Vec<&str> = loaded.profile.overlays.iter().map(|overlay| overlay.name.as_str()).collect();
    let on: Vec<&str> = on.into_iter().filter(|name| overlays.iter().any(|wanted| wanted == name)).collect();
    json!({
        "profile": loaded.profile.id,
        "title": loaded.profile.title,
        "as_of": loaded.profile.as_of,
        "overlays": on,
        "limits": limits,
    })
}

/// What is limited, whatever it is called: the mechanism, and what it counts or measures.
fn subject(limit: &LoadedLimit) -> (String, String) {
    let inner = &limit.limit;
    let of = match &inner.mechanism {
        Mechanism::Rate { unit, .. } => format!("{} by {}", unit.name(), inner.per_text()),
        Mechanism::Concurrency { .. } => format!("in flight by {}", inner.per_text()),
        Mechanism::Quota { counted, .. } => counted.name().to_owned(),
        Mechanism::Size { attr, .. } => attr.name().to_owned(),
        Mechanism::Gate { require: Some(gate), .. } => gate.attr.name().to_owned(),
        Mechanism::Gate { require: None, .. } => facts::concerns(limit),
        Mechanism::Permits { .. } | Mechanism::Deadline { .. } | Mechanism::Overhead { .. } => String::new(),
    };
    // A rate of requests and one of operations are different things; what else is asked for differs by vendor only.
    let requests = inner.on.contains(&Verb::Inference);
    let of = if matches!(inner.mechanism, Mechanism::Rate { .. }) && !requests {
        format!("operations by {}", inner.per_text())
    } else {
        of
    };
    (inner.mechanism.name().to_owned(), of)
}

fn table(left: &Loaded, right: &Loaded, overlays: &[String]) -> Table {
    let mut subjects: BTreeMap<(String, String), [Vec<&LoadedLimit>; 2]> = BTreeMap::new();
    for (side, loaded) in [left, right].into_iter().enumerate() {
        for limit in in_force(loaded, overlays) {
            subjects.entry(subject(limit)).or_default()[side].push(limit);
        }
    }
    let mut rows = Vec::new();
    for ((mechanism, of), [left, right]) in subjects {
        for (a, b) in paired(left, right) {
            let same = match (a, b) {
                (Some(a), Some(b)) if facts::value(a) == facts::value(b) => "same",
                (Some(_), Some(_)) => "differs",
                (Some(_), None) => "left only",
                _ => "right only",
            };
            let what = if of.is_empty() { mechanism.clone() } else { format!("{mechanism}: {of}") };
            rows.push(vec![what, cell(a), cell(b), same.to_owned()]);
        }
    }
    let title = format!("left: {}\nright: {}", heading(left), heading(right));
    let head = ["what".to_owned(), left.profile.id.clone(), right.profile.id.clone(), String::new()];
    Table { title, head: head.to_vec(), rows }
}

/// Pairs those that concern the same first, then what is left, in order.
fn paired<'a>(
    left: Vec<&'a LoadedLimit>,
    mut right: Vec<&'a LoadedLimit>,
) -> Vec<(Option<&'a LoadedLimit>, Option<&'a LoadedLimit>)> {
    let mut pairs: Vec<(Option<&LoadedLimit>, Option<&LoadedLimit>)> = Vec::new();
    for limit in left {
        let twin = right.iter().position(|other| facts::concerns(other) == facts::concerns(limit));
        pairs.push((Some(limit), twin.map(|at| right.remove(at))));
    }
    let mut rest = right.into_iter();
    for pair in pairs.iter_mut().filter(|pair| pair.1.is_none()) {
        pair.1 = rest.next();
    }
    pairs.extend(rest.map(|limit| (None, Some(limit))));
    pairs
}

/// The value, the limit's name, and whom it concerns.
fn cell(limit: Option<&LoadedLimit>) -> String {
    let Some(limit) = limit else { return "-".to_owned() };
    let lines = [facts::value(limit), limit.limit.name.clone(), facts::concerns(limit)];
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
