//! `tidegate limits`: profiles, read by people.

mod check;
mod coverage;
mod diff;
mod facts;
mod list;
mod new;
mod show;

use crate::cli::LimitsCommand;
use crate::diagnose;
use miette::Result;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use tidegate_sim::profile::Row;
use tidegate_sim::scenario::profile::{self, Loaded, LoadedLimit};

/// Runs a subcommand.
pub(crate) fn run(command: &LimitsCommand) -> Result<ExitCode> {
    match command {
        LimitsCommand::List(args) => list::list(args),
        LimitsCommand::Show(args) => show::show(args),
        LimitsCommand::Diff(args) => diff::diff(args),
        LimitsCommand::Check(args) => check::check(args),
        LimitsCommand::Coverage(args) => coverage::coverage(args),
        LimitsCommand::New(args) => new::new(args),
    }
}

/// The profile of that name, or all that are built in.
fn profiles(name: Option<&str>) -> Result<Vec<Loaded>> {
    let load = |name: &str| profile::load(name).map_err(|found| diagnose::report(&found));
    match name {
        Some(name) => Ok(vec![load(name)?]),
        None => profile::built_in().map(load).collect(),
    }
}

/// Refuses an overlay that none of the profiles has.
fn check_overlays(profiles: &[Loaded], overlays: &[String]) -> Result<()> {
    let known = || profiles.iter().flat_map(|loaded| loaded.profile.overlays.iter().map(|o| o.name.as_str()));
    let Some(wrong) = overlays.iter().find(|name| !known().any(|known| known == *name)) else {
        return Ok(());
    };
    let all: Vec<String> = known().map(|name| format!("`{name}`")).collect();
    let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let hint = profile::suggestion(wrong, known()).unwrap_or_else(|| format!("overlays: {all}"));
    Err(miette::miette!(help = hint, "--overlay: no overlay is named `{wrong}`"))
}

/// Limits in force with these overlays, in the order in which they are asked.
fn in_force<'a>(loaded: &'a Loaded, overlays: &[String]) -> Vec<&'a LoadedLimit> {
    let mut limits: Vec<&LoadedLimit> = loaded.limits.iter().filter(|limit| limit.is_on(overlays)).collect();
    limits.sort_by_key(|limit| limit.limit.stage);
    limits
}

/// The documented row that a limit enforces.
fn row_of<'a>(loaded: &'a Loaded, limit: &LoadedLimit) -> Option<&'a Row> {
    loaded.profile.rows.iter().find(|row| row.id == limit.limit.row)
}

fn heading(loaded: &Loaded) -> String {
    let profile = &loaded.profile;
    let preview = if profile.preview { ", preview" } else { "" };
    let as_of = if profile.as_of.starts_with("undated") { "" } else { "as of " };
    let account = match profile.account_word.as_str() {
        "account" => String::new(),
        word => format!("; an account is a {word}"),
    };
    format!("{} ({}, {as_of}{}{preview}{account})", profile.title, profile.id, profile.as_of)
}

fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has gone (`| head`) is no error of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(miette::miette!("standard output cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}
