//! `tidegate check`.

use crate::cli::{CheckArgs, ScenarioArgs};
use crate::diagnose;
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_sim::scenario::{self, Arrivals, Engine, Overrides, Scenario};

/// Checks a scenario and every variant of it; prints one line for each, or everything that is wrong.
pub(crate) fn check(args: &CheckArgs) -> miette::Result<ExitCode> {
    let overrides = overrides(&args.scenario);
    let checked =
        scenario::check(&args.scenario.file, &overrides).map_err(|found| diagnose::report(&found))?;
    let mut out = std::io::stdout().lock();
    let wanted = |found: &&Scenario| overrides.variant.is_none() || found.variant == overrides.variant;
    for found in std::iter::once(&checked.base).chain(&checked.variants).filter(wanted) {
        // A reader that has gone (`| head`) is no error of ours.
        let _ = writeln!(out, "{}", summary(found));
    }
    for caveat in &checked.base.caveats {
        say!("note: {caveat}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The overrides of a command line.
pub(crate) fn overrides(args: &ScenarioArgs) -> Overrides {
    let trace = args.trace.clone().filter(|path| !path.as_os_str().is_empty());
    // Not an error, because it may come from the environment for other scenarios.
    let named = std::fs::read_to_string(&args.file).map_or(true, |text| text.contains("${TRACE}"))
        || args.set.iter().any(|set| set.contains("${TRACE}"));
    if trace.is_some() && !named {
        say!("warning: `--trace` is not used: no path in {} is `${{TRACE}}`", args.file.display());
    }
    Overrides { set: args.set.clone(), variant: args.variant.clone(), trace }
}

/// What a scenario contains, in one line.
fn summary(scenario: &Scenario) -> String {
    let variant = scenario.variant.as_ref().map_or(String::new(), |name| format!(" (variant {name})"));
    let replicas: u32 = scenario.pools.iter().map(|pool| u32::from(pool.replicas)).sum();
    let slots = scenario.pools.iter().filter(|pool| matches!(pool.engine, Engine::Slots(_))).count();
    let rows: u64 = scenario
        .workloads
        .iter()
        .filter_map(|workload| match &workload.arrivals {
            Arrivals::Trace(trace) => Some(trace.rows),
            _ => None,
        })
        .sum();
    let looks = &scenario.replications.looks;
    let mut parts = vec![
        counted(scenario.models.len() as u64, "model"),
        counted(scenario.pools.len() as u64, "pool"),
        counted(replicas.into(), "replica"),
        counted(scenario.tiers.len() as u64, "tier"),
        counted(scenario.workloads.len() as u64, "workload"),
    ];
    if !scenario.batches.is_empty() {
        let batches = scenario.batches.len();
        parts[4] = counted((scenario.workloads.len() - batches) as u64, "workload");
        parts.push(if batches == 1 { "1 batch".into() } else { format!("{batches} batches") });
    }
    if slots > 0 {
        parts.push(counted(slots as u64, "slots pool"));
    }
    if rows > 0 {
        parts.push(counted(rows, "trace row"));
    }
    parts.push(format!("{}", scenario.horizon));
    let (first, last) = (looks.first().copied().unwrap_or(1), looks.last().copied().unwrap_or(1));
    let least = if first < last { format!("{first} to ") } else { String::new() };
    parts.push(least + &counted(u64::from(last), "replication"));
    let properties = scenario.properties.len() as u64;
    parts.push(if properties == 1 { "1 property".into() } else { format!("{properties} properties") });
    format!("ok: {}{variant}: {}", scenario.name, parts.join(", "))
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
