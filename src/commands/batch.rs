//! `tidegate batch`: files of batch requests, checked before anybody uploads them.

use crate::cli::BatchCheckArgs;
use crate::diagnose;
use crate::output::table::render_words;
use miette::Result;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use tidegate_sim::results::table::Table;
use tidegate_sim::scenario::input::{self, Checked, Stated};
use tidegate_sim::scenario::profile;

/// Checks files by the limits of a profile; exits with 1 when one of them would not be worked on.
pub(crate) fn check(args: &BatchCheckArgs) -> Result<ExitCode> {
    let profile = profile::load(&args.profile).map_err(|found| diagnose::report(&found))?;
    let known = || profile.profile.overlays.iter().map(|overlay| overlay.name.as_str());
    if let Some(wrong) = args.overlay.iter().find(|name| !known().any(|known| known == **name)) {
        let hint = profile::suggestion(wrong, known())
            .unwrap_or_else(|| format!("it has {}", known().collect::<Vec<_>>().join(", ")));
        return Err(miette::miette!(help = hint, "--overlay: no overlay is named `{wrong}`"));
    }
    let stated = Stated { provider: args.provider.as_deref(), endpoint: args.endpoint.as_deref() };
    let mut files = Vec::new();
    for path in &args.files {
        let checked = input::check(path, &profile, &args.overlay, stated);
        let checked = checked.map_err(|error| {
            miette::miette!(
                help = "name a file of JSON lines",
                "{}: it cannot be read: {error}",
                path.display()
            )
        })?;
        files.push((path.display().to_string(), checked));
    }
    let mut text = render_words(&table(&files));
    text += &notes(&files);
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has gone (`| head`) is no error of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(miette::miette!("standard output cannot be written: {error}"));
        }
        _ => {}
    }
    let refused = files.iter().any(|(_, checked)| checked.refused.is_some());
    Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn table(files: &[(String, Checked)]) -> Table {
    let rows = files.iter().map(|(name, checked)| {
        let unread = || "-".to_owned();
        let told = |value: &dyn Fn(&tidegate_sim::jobfile::Contents) -> String| {
            checked.contents.as_ref().map_or_else(unread, value)
        };
        vec![
            name.clone(),
            told(&|found| found.requests.to_string()),
            checked.bytes.to_string(),
            told(&|found| {
                let models: Vec<&str> = found.models.iter().map(|(model, _)| model.as_str()).collect();
                models.join(", ")
            }),
            told(&|found| found.prompt_tokens.to_string()),
            told(&|found| found.output_tokens.to_string()),
            verdict(checked),
        ]
    });
    let head = ["file", "requests", "bytes", "model", "prompt tokens", "output tokens at most", "verdict"];
    Table {
        title: "Files of batch requests".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn verdict(checked: &Checked) -> String {
    let Some(refused) = &checked.refused else { return "ok".to_owned() };
    let limit = refused.limit.as_ref().map_or("invalid-input-file".to_owned(), String::clone);
    let line = if refused.line == 0 { String::new() } else { format!(" on line {}", refused.line) };
    let ends = if refused.at_once { "refused" } else { "fails" };
    format!("{ends}{line}: {limit} ({})", refused.why)
}

fn notes(files: &[(String, Checked)]) -> String {
    let mut notes = Vec::new();
    if files.iter().any(|(_, checked)| checked.contents.is_some()) {
        notes.push(
            "note: tokens are an estimate: one for each 4 bytes of text, and 4 for each message".to_owned(),
        );
    }
    let unbounded: u64 =
        files.iter().filter_map(|(_, checked)| checked.contents.as_ref()).map(|found| found.unbounded).sum();
    if unbounded > 0 {
        notes.push(format!("note: {unbounded} requests bound their output by nothing"));
    }
    for (limit, attr) in files.iter().flat_map(|(_, checked)| &checked.unknown) {
        let note = format!("note: limit `{limit}` is not evaluated: no file says `{}`", attr.name());
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes.into_iter().map(|note| note + "\n").collect()
}
