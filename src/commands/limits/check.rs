//! `tidegate limits check`.

use super::print;
use crate::cli::LimitsCheckArgs;
use crate::commands::check::overrides;
use crate::diagnose;
use crate::output::table::render_words;
use miette::Result;
use std::process::ExitCode;
use tidegate_sim::forecast::{Forecast, forecast};
use tidegate_sim::results::table::Table;
use tidegate_sim::scenario::{self, Scenario};

/// The limits that a scenario meets, by arithmetic; the one that binds first in front.
pub(super) fn check(args: &LimitsCheckArgs) -> Result<ExitCode> {
    let found = scenario::load(&args.scenario.file, &overrides(&args.scenario));
    let scenario = found.map_err(|found| diagnose::report(&found))?;
    print(&text(&scenario, &forecast(&scenario)))?;
    Ok(ExitCode::SUCCESS)
}

fn text(scenario: &Scenario, forecast: &Forecast) -> String {
    let policy = &scenario.policy;
    let Some(profile) = &policy.profile else {
        return "this scenario names no profile, so no limit concerns it\n".to_owned();
    };
    let mut text = format!("{}\n{} ({})\n", scenario.question, profile.title, profile.id);
    if forecast.met.is_empty() {
        text += "no limit that counts concerns its workloads\n";
    } else {
        text += &render_words(&table(scenario, forecast));
    }
    if let Some(first) = forecast.binds_first() {
        let (name, share) = (&policy.limits[first.limit].name, first.share());
        text += &match share {
            share if share > 1.0 => format!("{name} binds: the load is {share:.3} of what it allows\n"),
            share => format!("{name} binds first, at {:.3} of this load\n", 1.0 / share),
        };
    }
    for (workload, refused) in &forecast.refused {
        let limit = &policy.limits[refused.limit];
        text += &format!(
            "every request of `{}` is refused by {} ({})\n",
            scenario.workloads[*workload].name,
            limit.name,
            limit.value_text()
        );
    }
    let exceeded = forecast.met.iter().filter(|met| met.share() > 1.0);
    for (name, advice) in exceeded.filter_map(|met| {
        let limit = &policy.limits[met.limit];
        Some((&limit.name, limit.advice.as_ref()?))
    }) {
        text += &format!("advice: {name}: {advice}\n");
    }
    for remark in &forecast.remarks {
        text += &format!("note: {remark}\n");
    }
    for note in profile.notes.iter().chain(&scenario.caveats) {
        text += &format!("note: {note}\n");
    }
    text
}

fn table(scenario: &Scenario, forecast: &Forecast) -> Table {
    let rows = forecast.met.iter().map(|met| {
        let limit = &scenario.policy.limits[met.limit];
        let whose = met.workloads.iter().map(|&index| scenario.workloads[index].name.as_str());
        vec![
            limit.name.clone(),
            limit.value_text(),
            limit.per_text(),
            whose.collect::<Vec<_>>().join(", "),
            met.arithmetic.clone(),
            format!("{:.4}", met.share()),
        ]
    });
    let head = ["limit", "value", "counted by", "workloads", "load in its busiest window", "share"];
    Table {
        title: "Limits by load, the first to bind in front".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}
