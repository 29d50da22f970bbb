//! `tidegate run`.

use crate::cli::{EngineMode, RunArgs};
use crate::commands::check::overrides;
use crate::diagnose;
use crate::output::interrupt::stop_on_ctrl_c;
use crate::output::progress::Ticker;
use crate::output::{junit, table};
use miette::{IntoDiagnostic as _, WrapErr as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{self, Experiment, ExperimentError, RunOptions};
use tidegate_sim::observe::Observer;
use tidegate_sim::observe::request_log::RequestLog;
use tidegate_sim::report;
use tidegate_sim::results::{Layout, ResultSet, Summary, Verdict, encode_summary, stem, write_atomic};
use tidegate_sim::scenario::{self, Scenario};

/// Simulates a scenario, prints its figures and verdicts, and writes its result folder.
pub fn run(args: &RunArgs) -> miette::Result<ExitCode> {
    let found = scenario::load(&args.scenario.file, &overrides(&args.scenario));
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    let layout = Layout::new(args.out.clone().unwrap_or_else(|| default_folder(&scenario)));
    let control = Arc::new(Control::default());
    stop_on_ctrl_c(&control);
    let experiment = simulate(args, &scenario, &layout, &control)?;
    let results = ResultSet::new(experiment.summary(&scenario), &experiment.recording);
    let written = write(args, &results, &layout)?;
    print(args, &results.summary);
    eprintln!("wrote {written} files to {}", layout.root().display());
    if experiment.interrupted {
        eprintln!("interrupted: {}", what_there_is(&experiment));
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

fn simulate(
    args: &RunArgs,
    scenario: &Scenario,
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
    let path = layout.requests();
    let mut log = args.requests.then(|| request_log(scenario, &path)).transpose()?;
    let ticker = Ticker::start(control, scenario.horizon);
    let first = log.as_mut().map(|log| log as &mut (dyn Observer + Send));
    let experiment = experiment::run(scenario, options, first).map_err(failed)?;
    drop(ticker);
    if let Some(log) = log {
        log.finish().into_diagnostic().wrap_err_with(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(experiment)
}

fn request_log(scenario: &Scenario, path: &Path) -> miette::Result<RequestLog<BufWriter<File>>> {
    let create = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        File::create(path)
    };
    let file = create().into_diagnostic().wrap_err_with(|| format!("cannot write `{}`", path.display()))?;
    Ok(RequestLog::new(scenario, BufWriter::with_capacity(1 << 16, file)))
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
fn print(args: &RunArgs, summary: &Summary) {
    let text = if args.json { encode_summary(summary) } else { table::summary_text(summary).into_bytes() };
    // A reader that has gone (`| head`) is no error of ours: the folder is written.
    let _ = std::io::stdout().lock().write_all(&text);
}

fn failed(error: ExperimentError) -> miette::Report {
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
