//! `tidegate limits list`.

use super::{check_overlays, facts, heading, in_force, print, profiles, row_of};
use crate::cli::ListArgs;
use crate::output::table::render_words;
use miette::Result;
use std::process::ExitCode;
use tidegate_sim::results::table::Table;
use tidegate_sim::scenario::profile::Loaded;

/// One table a profile; what is off is said at the end.
pub(super) fn list(args: &ListArgs) -> Result<ExitCode> {
    let loaded = profiles(args.profile.as_deref())?;
    check_overlays(&loaded, &args.overlay)?;
    let text: String = loaded
        .iter()
        .map(|loaded| render_words(&table(loaded, &args.overlay)) + &off(loaded, args))
        .collect();
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(loaded: &Loaded, overlays: &[String]) -> Table {
    let rows = in_force(loaded, overlays).into_iter().map(|limit| {
        let inner = &limit.limit;
        let tests = row_of(loaded, limit).map(|row| row.tests.join(", ")).unwrap_or_default();
        vec![
            inner.name.clone(),
            facts::value(limit),
            inner.per_text(),
            inner.provenance.name().to_owned(),
            format!("{} at {}", inner.mechanism.name(), inner.stage.name()),
            tests,
        ]
    });
    let head = ["limit", "value", "counted by", "provenance", "enforced by", "tests"];
    Table { title: heading(loaded), head: head.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// Overlays that are off, with how many limits each has.
fn off(loaded: &Loaded, args: &ListArgs) -> String {
    let off = loaded.profile.overlays.iter().filter(|overlay| !args.overlay.contains(&overlay.name));
    off.map(|overlay| {
        let name = &overlay.name;
        let count = loaded.limits.iter().filter(|limit| limit.overlay.as_ref() == Some(name)).count();
        format!("off: {count} more with `--overlay {name}`: {}\n", overlay.about)
    })
    .collect()
}
