//! `tidegate plan`.

use crate::cli::PlanArgs;
use crate::commands::check::overrides;
use crate::commands::run::{can_write, compared_with, failed};
use crate::diagnose;
use crate::output::interrupt::stop_on_ctrl_c;
use crate::output::progress::Ticker;
use crate::output::table;
use miette::{IntoDiagnostic as _, Result, miette};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tidegate_sim::engine::Mode;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::search::search;
use tidegate_sim::experiment::{RunOptions, run_against};
use tidegate_sim::report::render_frontier;
use tidegate_sim::results::frontier::{Frontier, Point, SearchRow};
use tidegate_sim::results::{Layout, Verdict, stem};
use tidegate_sim::scenario::plan::Search;
use tidegate_sim::scenario::{self, Overrides, Scenario};

/// Makes every search of a scenario, prints what it found, and writes the frontier.
pub(crate) fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let base = overrides(&args.scenario);
    let found = scenario::load(&args.scenario.file, &base).map_err(|found| diagnose::report(&found))?;
    let searches = wanted(args, &found)?;
    let folder =
        args.out.clone().unwrap_or_else(|| Path::new("results").join(stem(&format!("{}-plan", found.name))));
    can_write(&folder.join("plan.json"))?;
    // The ends of every search, before an hour is spent on the first.
    for search in &searches {
        for value in [search.least, search.most] {
            at(&args.scenario.file, &base, search, value)?;
        }
    }
    let control = Arc::new(Control::default());
    stop_on_ctrl_c(&control);
    let mut frontier = Frontier {
        scenario: found.name.clone(),
        question: found.question.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: found.seed,
        caveats: found.caveats.clone(),
        searches: Vec::new(),
        interrupted: false,
    };
    for search in &searches {
        frontier.searches.push(one(args, &base, search, &control)?);
        // What there is is kept, whatever happens to the next search.
        frontier.interrupted = control.is_stopped();
        write(args, &frontier, &folder)?;
        if frontier.interrupted {
            break;
        }
    }
    print(args, &frontier)?;
    say!("wrote {}", folder.display());
    let nothing = frontier.searches.iter().any(|search| search.holds.is_none());
    Ok(ExitCode::from(if frontier.interrupted { 3 } else { u8::from(nothing) }))
}

/// The searches that were asked for.
fn wanted(args: &PlanArgs, scenario: &Scenario) -> Result<Vec<Search>> {
    let all = &scenario.searches;
    if all.is_empty() {
        let hint =
            "add `[[plan]]` with `name`, `knob` and `most`; scenarios/batch-frontier.toml is an example";
        return Err(miette!(help = hint, "{} declares no search", args.scenario.file.display()));
    }
    if !scenario.properties.iter().any(|property| property.ratio.is_some()) {
        let hint = "add a property with `ratio_to`";
        return Err(miette!(help = hint, "no property compares with a variant: every value would do"));
    }
    let Some(only) = &args.only else { return Ok(all.clone()) };
    let names: Vec<String> = all.iter().map(|search| format!("`{}`", search.name)).collect();
    match all.iter().find(|search| search.name == *only) {
        Some(search) => Ok(vec![search.clone()]),
        None => Err(miette!(help = format!("declared: {}", names.join(", ")), "no search is named `{only}`")),
    }
}

/// The scenario with the knob at a value.
fn at(file: &Path, base: &Overrides, search: &Search, value: u64) -> Result<Scenario> {
    let mut overrides =
        Overrides { variant: search.variant.clone().or(base.variant.clone()), ..base.clone() };
    overrides.set.push(search.setting(value));
    scenario::load(file, &overrides).map_err(|found| diagnose::report(&found))
}

fn one(args: &PlanArgs, base: &Overrides, asked: &Search, control: &Arc<Control>) -> Result<SearchRow> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or_else(cores, usize::from);
    let mut points: BTreeMap<u64, Point> = BTreeMap::new();
    let found = search(asked.least, asked.most, asked.step, |value| -> Result<Verdict> {
        // An interrupted search judges nothing more.
        if control.is_stopped() {
            return Ok(Verdict::Inconclusive);
        }
        let scenario = at(&args.scenario.file, base, asked, value)?;
        // The knob is the mechanism's own: what it is compared with does not have it.
        let others = compared_with(&args.scenario.file, base, &scenario)?;
        let ticker = Ticker::start(control, scenario.horizon);
        let options = RunOptions { threads, mode: Mode::Fast, control };
        let experiment = run_against(&scenario, &others, options, None).map_err(failed)?;
        drop(ticker);
        let point = Point::of(value, &experiment.summary(&scenario));
        say!("{}: {} = {}: {}", asked.name, asked.knob, asked.value(value), point.verdict.name());
        let verdict = point.verdict;
        points.insert(value, point);
        Ok(verdict)
    })?;
    Ok(SearchRow {
        name: asked.name.clone(),
        knob: asked.knob.clone(),
        unit: asked.unit.clone(),
        holds: found.holds,
        breaks: found.breaks.map(|(value, _)| value).filter(|value| points.contains_key(value)),
        points: points.into_values().collect(),
    })
}

fn write(args: &PlanArgs, frontier: &Frontier, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut written = frontier.write(folder).into_diagnostic()?;
    if !args.no_plots {
        written.extend(render_frontier(frontier, &Layout::new(folder)).into_diagnostic()?);
    }
    Ok(written)
}

fn print(args: &PlanArgs, frontier: &Frontier) -> Result<()> {
    let mut text = String::new();
    if args.json {
        text = serde_json::to_string_pretty(frontier).into_diagnostic()? + "\n";
    } else {
        text.push_str(&format!("{}\n\n", frontier.question));
        for table in std::iter::once(frontier.answer_table()).chain(frontier.point_tables()) {
            text.push_str(&table::render_words(&table));
            text.push('\n');
        }
        for caveat in &frontier.caveats {
            text.push_str(&format!("note: {caveat}\n"));
        }
    }
    // A reader that has gone (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}
