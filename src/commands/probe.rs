//! `tidegate probe`: a live gateway against documented limits.

use crate::cli::probe::{ApiName, ProbeArgs};
use crate::diagnose;
use crate::output::table::render_words;
use miette::Result;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_loadgen::probe::{Alone, Basis, Budget, Finding, Keys, Plan, Report, Target, Verdict, run};
use tidegate_sim::profile::attr::Scale;
use tidegate_sim::profile::{Attr, Subject};
use tidegate_sim::scenario::live::Api;
use tidegate_sim::scenario::{self, Overrides, profile};
use tidegate_sim::time::Span;

/// Plans, shows what it costs, and carries the plan out.
pub(crate) fn probe(args: &ProbeArgs) -> Result<ExitCode> {
    let basis = basis(args)?;
    let keys = Keys::read(args.key_file.as_deref(), basis.variables()).map_err(|why| {
        miette::miette!(help = "a key is one line of visible ASCII, and nothing else", "{why}")
    })?;
    let mut target = Target::new(&args.target, args.control_plane.as_deref(), keys)
        .map_err(|why| miette::miette!(help = "for example `http://127.0.0.1:8080`", "{why}"))?;
    // Whoever is not on this machine is sent no name that looks like a key.
    target.keys.by_name = target.is_loopback();
    let plan = Plan::new(&basis, &budget(args, &target));
    check_only(args, &plan)?;
    if args.dry_run {
        return dry(args, &basis, &plan);
    }
    if !target.is_loopback() && !args.yes && !target.is_among(&basis.targets) {
        eprint!("{}", render_words(&plan.table(&basis)));
        return Err(miette::miette!(
            help = "look at the plan above, then add `--yes`, or name the address in `targets` of `[live]`",
            "`{}` is not on this machine",
            target.base()
        ));
    }
    let report = carry_out(args, &basis, &plan, target)?;
    print(&if args.json { pretty(&report.json()) } else { text(&report) })?;
    Ok(ExitCode::from(report.exit_code()))
}

fn basis(args: &ProbeArgs) -> Result<Basis> {
    if let Some(path) = &args.scenario {
        let mut set = args.set.clone();
        set.extend(args.profile.as_ref().map(|profile| format!("scenario.profile={profile:?}")));
        let overrides = Overrides { set, variant: args.variant.clone(), trace: None };
        let scenario = scenario::load(path, &overrides).map_err(|found| diagnose::report(&found))?;
        return Ok(Basis::of_scenario(&scenario));
    }
    let name = args.profile.as_deref().unwrap_or_default();
    let loaded = profile::load(name).map_err(|found| diagnose::report(&found))?;
    let known = || loaded.profile.overlays.iter().map(|overlay| overlay.name.as_str());
    if let Some(wrong) = args.overlay.iter().find(|name| !known().any(|known| known == **name)) {
        let hint = profile::suggestion(wrong, known())
            .unwrap_or_else(|| format!("it has {}", known().collect::<Vec<_>>().join(", ")));
        return Err(miette::miette!(help = hint, "--overlay: no overlay is named `{wrong}`"));
    }
    let api = match args.api {
        ApiName::Chat => Api::Chat,
        ApiName::Completions => Api::Completions,
        ApiName::Embeddings => Api::Embeddings,
        ApiName::Databricks => Api::Databricks,
    };
    let alone = Alone { api, model: args.model.clone(), context: args.context, traits: traits(&args.is)? };
    Ok(Basis::of_profile(&loaded, &args.overlay, &alone))
}

/// What `--is` says.
fn traits(stated: &[String]) -> Result<Subject> {
    let mut traits = Subject::default();
    for text in stated {
        let refuse = |why: String| {
            let known: Vec<&str> = Attr::ALL.iter().map(|attr| attr.name()).collect();
            let name = text.split('=').next().unwrap_or(text);
            let hint = profile::suggestion(name, known.into_iter())
                .unwrap_or_else(|| "for example `--is endpoint.kind=custom`".to_owned());
            miette::miette!(help = hint, "--is: `{text}`: {why}")
        };
        let (name, value) = text.split_once('=').ok_or_else(|| refuse("no `=` is in it".to_owned()))?;
        let attr = Attr::named(name).ok_or_else(|| refuse("no attribute has this name".to_owned()))?;
        match attr.scale() {
            Scale::Words => traits.say(attr, value.split(',')),
            Scale::Flag if ["yes", "no"].contains(&value) => traits.say(attr, [value]),
            Scale::Flag => return Err(refuse("it is `yes` or `no`".to_owned())),
            Scale::Number | Scale::Bytes => {
                let number = value.parse().map_err(|_| refuse("a whole number is needed".to_owned()))?;
                traits.count(attr, [number])
            }
        };
    }
    Ok(traits)
}

fn budget(args: &ProbeArgs, target: &Target) -> Budget {
    Budget {
        requests: args.max_requests,
        time: Span::from_secs(args.max_time),
        cost: args.max_cost,
        loopback: target.is_loopback(),
        control: target.control.is_some(),
        only: args.only.clone(),
    }
}

fn check_only(args: &ProbeArgs, plan: &Plan) -> Result<()> {
    let known = || plan.items.iter().map(|item| item.name.as_str());
    let Some(wrong) = args.only.iter().find(|name| !known().any(|known| known == **name)) else {
        return Ok(());
    };
    let hint =
        profile::suggestion(wrong, known()).unwrap_or_else(|| "`--dry-run` lists all limits".to_owned());
    Err(miette::miette!(help = hint, "--only: no limit in force is named `{wrong}`"))
}

/// The plan alone.
fn dry(args: &ProbeArgs, basis: &Basis, plan: &Plan) -> Result<ExitCode> {
    if args.json {
        let report = Report {
            title: basis.title.clone(),
            findings: plan.unprobed().collect(),
            planned: plan.cost,
            ..Report::default()
        };
        let mut json = report.json();
        let probes = plan.probes().map(|(item, probe)| {
            serde_json::json!({
                "limit": item.name,
                "row": item.row,
                "documented": item.documented,
                "probe": probe.method.text(),
                "as": basis.callers[probe.caller].name,
                "requests": probe.cost.requests,
                "prompt_tokens": probe.cost.prompt_tokens,
                "output_tokens": probe.cost.output_tokens,
                "bytes": probe.cost.bytes,
                "waits_ns": probe.cost.time.as_nanos(),
                "price": probe.cost.price(basis.prices),
            })
        });
        json["plan"] = probes.collect();
        print(&pretty(&json))?;
    } else {
        print(&(render_words(&plan.table(basis)) + &render_words(&plan.not_probeable())))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn carry_out(args: &ProbeArgs, basis: &Basis, plan: &Plan, target: Target) -> Result<Report> {
    let cost = &plan.cost;
    say!(
        "{} probes of {}: at most {} requests, {} tokens, {} bytes, {} of waiting",
        plan.probes().count(),
        target.base(),
        cost.requests,
        cost.prompt_tokens + cost.output_tokens,
        cost.bytes,
        cost.time
    );
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = stop.clone();
    ctrlc::set_handler(move || stopper.store(true, Ordering::Relaxed))
        .map_err(|error| miette::miette!("Ctrl-C cannot be listened for: {error}"))?;
    let runtime = tidegate_loadgen::probe::run::runtime()
        .map_err(|error| miette::miette!("no threads can be started: {error}"))?;
    let tell = |finding: &Finding| {
        say!(
            "{}: {} ({}), {} requests",
            finding.name,
            finding.verdict.name(),
            finding.measured,
            finding.requests
        );
    };
    let report = runtime.block_on(run::run(basis, plan, target, args.max_requests, &stop, tell));
    report.map_err(|why| miette::miette!("{why}"))
}

fn text(report: &Report) -> String {
    let mut text = render_words(&report.table()) + &render_words(&report.not_probeable());
    let noted = report.findings.iter().filter(|finding| finding.verdict != Verdict::NotProbeable);
    for (finding, note) in noted.flat_map(|finding| finding.notes.iter().map(move |note| (finding, note))) {
        text += &format!("note: {}: {note}\n", finding.name);
    }
    let counts = [Verdict::Equal, Verdict::Differs, Verdict::Inconclusive, Verdict::NotProbeable];
    let counts = counts.map(|verdict| format!("{} {}", report.count(verdict), verdict.name()));
    text += &format!("{}; {} requests were sent\n", counts.join(", "), report.requests);
    if report.interrupted {
        text += "interrupted: what is missing was not probed\n";
    }
    text
}

fn pretty(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
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
