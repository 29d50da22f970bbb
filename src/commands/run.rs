//! `tidegate run`.

use crate::cli::{EngineMode, RunArgs};
use crate::commands::check::overrides;
use crate::diagnose;
use crate::output::extras::Extras;
use crate::output::interrupt::stop_on_ctrl_c;
use crate::output::progress::Ticker;
use crate::output::{junit, table};
use miette::{IntoDiagnostic as _, WrapErr as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{self, Experiment, ExperimentError, RunOptions};
use tidegate_sim::report;
use tidegate_sim::results::{Layout, ResultSet, Summary, Verdict, encode_summary, stem, write_atomic};
use tidegate_sim::scenario::{self, Overrides, Scenario};

/// Simulates a scenario, prints its figures and verdicts, and writes its result folder.
pub fn run(args: &RunArgs) -> miette::Result<ExitCode> {
    let overrides = overrides(&args.scenario);
    let found = scenario::load(&args.scenario.file, &overrides);
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    let others = compared_with(&args.scenario.file, &overrides, &scenario)?;
    let layout = Layout::new(args.out.clone().unwrap_or_else(|| default_folder(&scenario)));
    // What cannot be written must be known before an hour of simulation, not after it.
    can_write(&layout.summary())?;
    args.junit.as_deref().map_or(Ok(()), can_write)?;
    args.points.as_deref().map_or(Ok(()), can_write)?;
    let control = Arc::new(Control::default());
    stop_on_ctrl_c(&control);
    let experiment = simulate(args, &scenario, &others, &layout, &control)?;
    let results = ResultSet::new(experiment.summary(&scenario), &experiment.recording)
        .with_fleet(&scenario, &experiment.fleet)
        .with_jobs(&scenario, &experiment.jobs);
    // The tables first: should writing fail after all, the answer is not lost. And the other way round.
    let printed = print(args, &results.summary);
    let written = write(args, &results, &layout)?;
    printed?;
    say!("wrote {written} files to {}", layout.root().display());
    if experiment.interrupted {
        say!("interrupted: {}", what_there_is(&experiment));
    }
    Ok(ExitCode::from(match experiment.verdict() {
        Verdict::Holds => 0,
        Verdict::Violated => 1,
        Verdict::Inconclusive => 3,
    }))
}

/// `results/chat`, or `results/chat-double-traffic` for a variant.
fn default_folder(scenario: &Scenario) -> PathBuf {
    let variant = scenario.variant.as_ref().map_or_else(String::new, |name| format!("-{name}"));
    Path::new("results").join(stem(&format!("{}{variant}", scenario.name)))
}

/// The variants that properties compare with, under the same overrides; says which they are.
pub(crate) fn compared_with(
    file: &Path,
    base: &Overrides,
    scenario: &Scenario,
) -> miette::Result<Vec<Scenario>> {
    let mut wanted: Vec<Option<String>> = Vec::new();
    for ratio in scenario.properties.iter().filter_map(|property| property.ratio.as_ref()) {
        if !wanted.contains(&ratio.to) {
            wanted.push(ratio.to.clone());
        }
    }
    let mut others = Vec::new();
    for variant in wanted {
        say!("compares with {}", variant.as_deref().unwrap_or("the scenario without a variant"));
        let found = scenario::load(file, &Overrides { variant, ..base.clone() });
        others.push(found.map_err(|found| diagnose::report(&found))?);
    }
    Ok(others)
}

fn simulate(
    args: &RunArgs,
    scenario: &Scenario,
    others: &[Scenario],
    layout: &Layout,
    control: &Arc<Control>,
) -> miette::Result<Experiment> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = RunOptions {
        threads: args.threads.map_or_else(cores, usize::from),
        mode: match args.engine {
            EngineMode::Fast => Mode::Fast,
            EngineMode::Unskipped => Mode::Unskipped,
            EngineMode::Naive => Mode::Naive,
        },
        control,
    };
    let requests = args.requests.then(|| layout.requests());
    let mut extras = Extras::new(scenario, requests, args.points.clone())?;
    let ticker = Ticker::start(control, scenario.horizon);
    let ran = experiment::run_against(scenario, others, options, extras.observer()).map_err(failed);
    drop(ticker);
    let experiment = ran?;
    extras.finish()?;
    Ok(experiment)
}

/// Writes the folder, the figures and the JUnit file; returns how many files the folder got.
fn write(args: &RunArgs, results: &ResultSet, layout: &Layout) -> miette::Result<usize> {
    let mut written = results.write(layout, args.requests).into_diagnostic()?.len();
    if !args.no_plots {
        written += report::render(results, layout, report::Options::default()).into_diagnostic()?.len();
    }
    if let Some(path) = &args.junit {
        write_atomic(path, junit::encode(&results.summary).as_bytes()).into_diagnostic()?;
    }
    Ok(written + usize::from(args.requests))
}

/// Tables, or the bytes of `summary.json`.
fn print(args: &RunArgs, summary: &Summary) -> miette::Result<()> {
    let text = if args.json { encode_summary(summary) } else { table::summary_text(summary).into_bytes() };
    match std::io::stdout().lock().write_all(&text) {
        // A reader that has gone (`| head`) is no error of ours.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).into_diagnostic().wrap_err("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Makes the folder of `path` and checks that a file can be made in it and that no folder is in its place.
pub(crate) fn can_write(path: &Path) -> miette::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".tidegate-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| File::create(&probe))
        .and_then(|_| std::fs::remove_file(&probe));
    if let Err(error) = tried {
        let hint = "name a place that can be written to";
        return Err(miette::miette!(help = hint, "cannot write into `{}`: {error}", folder.display()));
    }
    if path.is_dir() {
        return Err(miette::miette!(
            help = "name a file",
            "cannot write `{}`: it is a folder",
            path.display()
        ));
    }
    Ok(())
}

pub(crate) fn failed(error: ExperimentError) -> miette::Report {
    let hint = error.hint();
    match hint {
        Some(hint) => miette::miette!(help = hint, "{error}"),
        None => miette::miette!("{error}"),
    }
}

fn what_there_is(experiment: &Experiment) -> String {
    match experiment.totals.len() {
        1 if experiment.partial => {
            "only a part of the first replication, up to where it was stopped".to_owned()
        }
        whole => format!("{whole} whole replications; those that were cut short are left out"),
    }
}
