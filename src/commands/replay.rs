//! `tidegate replay`.

use crate::cli::replay::ReplayArgs;
use crate::commands::check::overrides;
use crate::diagnose;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_loadgen::emulator::log::Log;
use tidegate_loadgen::emulator::replay::{AgainstSchedule, against_schedule, replay};
use tidegate_sim::request::Outcome;
use tidegate_sim::scenario::{self, Scenario};

/// Differences that are listed.
const SHOWN: usize = 10;

/// Runs the log of an emulator through the engine once more and says whether it decided the same.
pub fn run(args: &ReplayArgs) -> miette::Result<ExitCode> {
    let found = scenario::load(&args.scenario.file, &overrides(&args.scenario));
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    let log = Log::read(&args.log).map_err(|error| {
        miette::miette!(help = "name a file that `tidegate emulate --log` wrote", "{error}")
    })?;
    fits(&scenario, &log)?;
    let replayed = replay(&scenario, &log, false);
    let outcomes = Outcome::ALL.iter().zip(replayed.totals.outcomes).filter(|(_, count)| *count > 0);
    let outcomes: Vec<String> =
        outcomes.map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
    let mut out = format!("requests   {} ({})\n", replayed.totals.offered, outcomes.join(", "));
    let _ = writeln!(out, "decisions  {} {}", replayed.decided, replayed.decisions);
    let same = match replayed.same {
        Some(true) => "every decision is that of the emulator",
        Some(false) => {
            "NOT the decisions of the emulator: another scenario, other overrides, or another version"
        }
        None => "the log has no end (the emulator was killed): there is nothing to compare with",
    };
    let _ = writeln!(out, "log        {same}");
    if args.schedule {
        let found = against_schedule(&scenario, &log, args.replication);
        let found = found.map_err(|error| miette::miette!("{error}"))?;
        tell_schedule(&scenario, &found, &mut out);
    }
    // A reader that has gone (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(out.as_bytes());
    Ok(ExitCode::from(match replayed.same {
        Some(true) => 0,
        Some(false) => 1,
        None => 3,
    }))
}

/// Whether the log can be one of this scenario at all.
fn fits(scenario: &Scenario, log: &Log) -> miette::Result<()> {
    use tidegate_sim::engine::live::Input;
    let wrong = log.inputs.iter().find_map(|(_, input)| match input {
        Input::Request(arrival) => {
            let workload = scenario.workloads.get(usize::from(arrival.head.workload));
            workload.is_none_or(|spec| arrival.head.tenant >= spec.tenants).then_some("workload or tenant")
        }
        Input::HangUp { workload, .. } => {
            (usize::from(*workload) >= scenario.workloads.len()).then_some("workload")
        }
        Input::Job { batch, submission } => {
            let owners = scenario.batches.get(usize::from(*batch)).map(|batch| batch.owners);
            owners.is_none_or(|owners| submission.owner >= owners).then_some("batch or account")
        }
        Input::CancelJob { batch, .. } => (usize::from(*batch) >= scenario.batches.len()).then_some("batch"),
    });
    match wrong {
        None => Ok(()),
        Some(what) => Err(miette::miette!(
            help = "replay it with the scenario and the overrides that were emulated",
            "the log names a {what} that this scenario does not have"
        )),
    }
}

fn tell_schedule(scenario: &Scenario, found: &AgainstSchedule, out: &mut String) {
    let [p50, p99, most] = found.late;
    let (differing, requests) = (found.differing.len() as u64, found.requests);
    let share = 100.0 * differing as f64 / requests.max(1) as f64;
    let near = found.differing.iter().filter(|one| one.is_at_an_edge(most)).count();
    let _ = writeln!(out, "schedule   {requests} requests of it are in the log, {} are not", found.missing);
    let _ = writeln!(out, "           they came {p50} (p50), {p99} (p99), {most} (most) late");
    let _ = writeln!(
        out,
        "           {differing} ({share:.3} %) were let in once and refused the other time, {near} of them within \
         {most} of a limit's edge"
    );
    for one in found.differing.iter().take(SHOWN) {
        let wait = one.refusal.retry_after;
        let wait = wait.map_or_else(|| "time does not heal it".to_owned(), |wait| format!("room in {wait}"));
        let _ = writeln!(
            out,
            "           {} {}: {} on the wire; `{}`, {wait}; {} late",
            scenario.workloads[usize::from(one.workload)].name,
            one.session,
            if one.live { "let in" } else { "refused" },
            scenario.policy.reason_name(one.refusal.reason),
            one.late
        );
    }
}
