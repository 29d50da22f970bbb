//! `tidegate load`.

mod selftest;

use crate::cli::load::{LengthsWord, LoadArgs, TokenizerWord};
use crate::commands::check::overrides;
use crate::commands::run::{can_write, compared_with, failed};
use crate::diagnose;
use crate::output::extras::Extras;
use crate::output::interrupt::stop_on_ctrl_c;
use crate::output::live::View;
use crate::output::{junit, table};
use miette::{IntoDiagnostic as _, WrapErr as _};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tidegate_loadgen::client::Target;
use tidegate_loadgen::client::request::OutputLengths;
use tidegate_loadgen::load::attack::GooseOptions;
use tidegate_loadgen::load::gauge::Gauge;
use tidegate_loadgen::load::plan::Estimate;
use tidegate_loadgen::load::safety::{AbortRules, Caps};
use tidegate_loadgen::load::tokenizer::Tokenizer;
use tidegate_loadgen::load::{LoadError, Options, Outcome, Plan, play, quiet};
use tidegate_sim::experiment::measured::gather;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::report;
use tidegate_sim::results::figure::count;
use tidegate_sim::results::table::Table;
use tidegate_sim::results::{Layout, ResultSet, Verdict, encode_summary, stem, write_atomic};
use tidegate_sim::scenario::{self, Scenario};

/// Plays a scenario against a live gateway, prints figures and verdicts, and writes the result folder.
pub fn run(args: &LoadArgs) -> miette::Result<ExitCode> {
    // The command line has both unless it is a self-test.
    let (Some(named), Some(target)) = (args.scenario(), &args.target) else { return selftest::run() };
    let overrides = overrides(&named);
    let found = scenario::load(&named.file, &overrides);
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    let others = compared_with(&named.file, &overrides, &scenario)?;
    let target = Target::parse(target).map_err(|error| refused(error.into()))?;
    let variants = std::iter::once(&scenario).chain(&others).cloned().collect();
    let plan = Plan::new(variants, target, options(args)).map_err(refused)?;
    if args.dry_run {
        return dry_run(&plan);
    }
    let layout = Layout::new(args.out.clone().unwrap_or_else(|| default_folder(&scenario)));
    // What cannot be written must be known before a request is sent, not after the last.
    can_write(&layout.summary())?;
    let mut files = args.junit.iter().chain(&args.points).chain(&args.goose.goose_report);
    files.try_for_each(|path| can_write(path))?;
    let control = Arc::new(Control::default());
    stop_on_ctrl_c(&control);
    let outcome = playing(args, &plan, &control, &layout)?;
    let goose = outcome.goose.failed.clone();
    let results = results(&scenario, &others, outcome)?;
    // The tables first: should writing fail after all, the answer is not lost. And the other way round.
    let printed = print(args, &results);
    let written = write(args, &results, &layout)?;
    printed?;
    say!("wrote {written} files to {}", layout.root().display());
    for rule in &goose {
        say!("goose: threshold failed: {rule}");
    }
    Ok(ExitCode::from(match results.summary.verdict() {
        _ if !goose.is_empty() => 1,
        Verdict::Holds => 0,
        Verdict::Violated => 1,
        Verdict::Inconclusive => 3,
    }))
}

/// `results/chat-live`, or `results/chat-double-traffic-live` for a variant.
fn default_folder(scenario: &Scenario) -> PathBuf {
    let variant = scenario.variant.as_ref().map_or_else(String::new, |name| format!("-{name}"));
    Path::new("results").join(stem(&format!("{}{variant}-live", scenario.name)))
}

fn refused(error: LoadError) -> miette::Report {
    match error.hint() {
        Some(hint) => miette::miette!(help = hint, "{error}"),
        None => miette::miette!("{error}"),
    }
}

fn options(args: &LoadArgs) -> Options {
    let (caps, wire, goose) = (&args.caps, &args.wire, &args.goose);
    Options {
        blocks: args.blocks,
        lanes: wire.lanes.map(usize::from),
        caps: Caps {
            requests: caps.max_requests,
            tokens: caps.max_tokens,
            cost: caps.max_cost,
            in_flight: caps.max_in_flight.unwrap_or(0),
        },
        schedule_most: Options::default()
            .schedule_most
            .min(caps.max_requests.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))),
        abort: AbortRules {
            error_rate: caps.abort_error_rate,
            lag_ns: caps.abort_lag.map(|lag| u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX)),
        },
        lengths: wire.lengths.map(|word| match word {
            LengthsWord::Index => OutputLengths::Index,
            LengthsWord::MaxTokens => OutputLengths::MaxTokens,
            LengthsWord::Forced => OutputLengths::Forced,
        }),
        tokenizer: match wire.tokenizer {
            TokenizerWord::Words => Tokenizer::Words,
            TokenizerWord::O200k => Tokenizer::O200k,
            TokenizerWord::Cl100k => Tokenizer::Cl100k,
        },
        silence: caps.silence,
        yes: args.yes,
        key_file: args.key_file.clone(),
        goose: GooseOptions {
            reports: goose.goose_report.clone(),
            baseline: goose.goose_baseline.clone(),
            thresholds: goose.goose_threshold.clone(),
        },
    }
}

fn playing(args: &LoadArgs, plan: &Plan, control: &Control, layout: &Layout) -> miette::Result<Outcome> {
    let requests = args.requests.then(|| layout.requests());
    let mut extras = Extras::new(&plan.variants[0], requests, args.points.clone())?;
    let gauge = Arc::new(Gauge::default());
    let view = View::start(&gauge, plan.variants[0].horizon);
    // Goose prints on standard output, which is ours for data.
    let quiet = quiet::Stdout::mute();
    let outcome = play(plan, control, &gauge, extras.observer());
    drop(quiet);
    drop(view);
    let outcome = outcome.map_err(refused)?;
    extras.finish()?;
    Ok(outcome)
}

/// What was measured, as an experiment.
fn results(scenario: &Scenario, others: &[Scenario], outcome: Outcome) -> miette::Result<ResultSet> {
    let Outcome { measured, live, jobs, interrupted, .. } = outcome;
    let experiment = gather(scenario, others, measured).map_err(failed)?;
    let mut summary = experiment.summary(scenario);
    summary.interrupted |= interrupted;
    summary.live = Some(live);
    Ok(ResultSet::new(summary, &experiment.recording).with_jobs(scenario, &jobs))
}

/// Tables, or the bytes of `summary.json`.
fn print(args: &LoadArgs, results: &ResultSet) -> miette::Result<()> {
    let summary = &results.summary;
    let text = if args.json { encode_summary(summary) } else { table::summary_text(summary).into_bytes() };
    put(&text)
}

fn put(text: &[u8]) -> miette::Result<()> {
    match std::io::stdout().lock().write_all(text) {
        // A reader that has gone (`| head`) is no error of ours.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).into_diagnostic().wrap_err("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes the folder, the figures and the JUnit file; returns how many files the folder got.
fn write(args: &LoadArgs, results: &ResultSet, layout: &Layout) -> miette::Result<usize> {
    let mut written = results.write(layout, args.requests).into_diagnostic()?.len();
    if !args.no_plots {
        written += report::render(results, layout, report::Options::default()).into_diagnostic()?.len();
    }
    if let Some(path) = &args.junit {
        write_atomic(path, junit::encode(&results.summary).as_bytes()).into_diagnostic()?;
    }
    Ok(written + usize::from(args.requests))
}

/// What would be sent, and what it would cost.
fn dry_run(plan: &Plan) -> miette::Result<ExitCode> {
    let estimate = plan.estimate().map_err(refused)?;
    let mut text = table::render(&estimate_table(plan, &estimate));
    let _ = writeln!(text, "\ntarget         {}", plan.target);
    for (block, planned) in plan.blocks.iter().zip(&estimate.blocks) {
        let variant = plan.variants[block.variant].variant.as_deref().unwrap_or("base");
        let _ = writeln!(text, "block          {} of {variant}: arrivals {}", block.index, planned.hash);
    }
    let _ = match estimate.cost() {
        Some(cost) => writeln!(text, "estimated cost {cost:.4}"),
        None => writeln!(text, "estimated cost unknown: the scenario states no `live.prices`"),
    };
    let _ = writeln!(text, "nothing was sent");
    put(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn estimate_table(plan: &Plan, estimate: &Estimate) -> Table {
    let head = ["block", "variant", "workload", "requests", "prompt tokens", "output tokens", "cost"];
    let mut rows = Vec::new();
    for (block, planned) in plan.blocks.iter().zip(&estimate.blocks) {
        let variant = plan.variants[block.variant].variant.as_deref().unwrap_or("base");
        for workload in &planned.workloads {
            let more = if workload.open_ended { " and what follows" } else { "" };
            rows.push(vec![
                block.index.to_string(),
                variant.to_owned(),
                workload.name.clone(),
                format!("{}{more}", count(workload.requests)),
                count(workload.prompt_tokens),
                count(workload.output_tokens),
                workload.cost.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.4}")),
            ]);
        }
    }
    Table { title: "Plan".to_owned(), head: head.map(str::to_owned).to_vec(), rows }
}
