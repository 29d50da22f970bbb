//! `tidegate emulate`.

use crate::cli::emulate::EmulateArgs;
use crate::commands::check::overrides;
use crate::diagnose;
use miette::{Result, miette};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tidegate_loadgen::emulator::driver::StartError;
use tidegate_loadgen::emulator::run::{self, Options, Outcome as Ended, RunError};
use tidegate_loadgen::emulator::server::Settings;
use tidegate_sim::request::Outcome;
use tidegate_sim::scenario;

/// Emulates the gateway of a scenario until it is interrupted, then says what it did.
pub fn run(args: &EmulateArgs) -> Result<ExitCode> {
    if !args.listen.ip().is_loopback() && !args.yes {
        return Err(miette!(
            help = "`--yes` says that this is meant; `127.0.0.1` stays on this machine",
            "`--listen {}` can be reached from other machines, and keys of an emulator are no secrets",
            args.listen
        ));
    }
    let found = scenario::load(&args.scenario.file, &overrides(&args.scenario));
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    let megabytes = |count: u32| u64::from(count) << 20;
    let settings = Settings {
        listen: args.listen,
        speed: args.speed,
        body_most: megabytes(args.body_most),
        files_most: megabytes(args.files_most),
        connections_most: args.connections_most as usize,
        grace: Duration::from_secs(args.grace.into()),
        ..Settings::default()
    };
    let options = Options { settings, log: args.log.clone(), threads: usize::from(args.threads) };
    for caveat in &scenario.caveats {
        say!("note: {caveat}");
    }
    let most = u64::from(args.connections_most);
    let ended = run::run(&scenario, options, |address, descriptors| {
        // The engine, the listener and the log need some, too.
        if descriptors < most.saturating_add(32) {
            say!(
                "warning: the system gives this process {descriptors} descriptors, fewer than {most} connections need"
            );
        }
        say!("listening on http://{address}");
    });
    let ended = ended.map_err(|error| complain(&error))?;
    // A reader that has gone (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(summary(&ended).as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn complain(error: &RunError) -> miette::Report {
    let help = match error {
        RunError::Listen { .. } => "another process may listen there: choose another port, or 0 for any",
        RunError::Start(_) => "the system gives no threads or signals",
        RunError::Engine(StartError::Log(_)) => "name a file that can be written with `--log`",
        RunError::Engine(StartError::System(_)) => "the system gives no threads or timers",
    };
    miette!(help = help, "{error}")
}

fn summary(ended: &Ended) -> String {
    let engine = &ended.engine;
    let outcomes = Outcome::ALL.iter().zip(engine.totals.outcomes).filter(|(_, count)| *count > 0);
    let outcomes: Vec<String> =
        outcomes.map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
    let parts = if outcomes.is_empty() { String::new() } else { format!(" ({})", outcomes.join(", ")) };
    let [p50, p99, most] = engine.lag_ns.map(|ns| ns as f64 / 1e3);
    let mut out = format!("requests   {}{parts}\n", engine.totals.offered);
    let _ = writeln!(
        out,
        "events     {}, late by p50 {p50:.0} us, p99 {p99:.0} us, most {most:.0} us",
        engine.events
    );
    let _ = writeln!(out, "decisions  {} {}", engine.decided, engine.decisions);
    if ended.dropped > 0 {
        let _ =
            writeln!(out, "dropped    {} connections, whose answers were not over in time", ended.dropped);
    }
    out
}
