//! `tidegate calibrate`.

use super::plot::complain;
use crate::cli::calibrate::{CalibrateArgs, PointKind};
use crate::output::table;
use miette::{IntoDiagnostic as _, WrapErr as _};
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_sim::calibration::fit::{Fit, NAMES, Options, fit};
use tidegate_sim::calibration::points::{Producer, decode};
use tidegate_sim::hardware::{FemtosText, FittedCoefficient};
use tidegate_sim::replica::step_time::FEMTOS_PER_NANO;
use tidegate_sim::results::figure::{Unit, count, time_scale};
use tidegate_sim::results::table::Table;
use tidegate_sim::results::write_atomic;

/// Fits a linear step law to a points file, prints it, and writes it to a file that a scenario can name.
pub(crate) fn calibrate(args: &CalibrateArgs) -> miette::Result<ExitCode> {
    let shown = args.points.display();
    let bytes =
        std::fs::read(&args.points).into_diagnostic().wrap_err_with(|| format!("cannot read `{shown}`"))?;
    let points = decode(&bytes).map_err(|error| complain(format!("`{shown}`: {error}")))?;
    let name = args.points.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let options = Options {
        from: args.from.map(|kind| match kind {
            PointKind::Step => Producer::Step,
            PointKind::Request => Producer::Request,
        }),
        replicas: args.replicas,
        source: name,
    };
    let mut found = fit(&points, &options).map_err(|error| complain(format!("`{shown}`: {error}")))?;
    found.law.source = format!("{}, {}", found.law.source, whose(found.from));
    let mut text = String::new();
    for line in notes(&found, args) {
        text += &format!("{line}\n");
    }
    text += &table::render(&coefficients(&found));
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(error).into_diagnostic().wrap_err("cannot write to standard output");
        }
        _ => {}
    }
    if let Some(path) = &args.out {
        write_atomic(path, found.law.encode().as_bytes()).map_err(complain)?;
        say!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn whose(from: Producer) -> &'static str {
    match from {
        Producer::Step => "steps of a simulation",
        Producer::Request => "requests of a client",
    }
}

fn notes(found: &Fit, args: &CalibrateArgs) -> Vec<String> {
    let law = &found.law;
    let percent = |share: f64| Unit::Share.show(share);
    let mut notes = vec![
        format!(
            "fitted to {} points of {} ({}): {}",
            count(law.points),
            args.points.display(),
            whose(found.from),
            match found.from {
                Producer::Step => format!("{} steps", count(law.steps)),
                Producer::Request => format!("{} gaps between tokens", count(law.steps)),
            }
        ),
        format!(
            "explains {} of the variance; errors {} in the (logarithmic) mean, {} at most",
            percent(law.r2),
            percent(law.log_error),
            percent(law.largest_error)
        ),
        format!(
            "holds up to {} prompt tokens, {} decoding sequences and {} tokens of context in a step",
            count(u64::from(law.range.prefill_tokens)),
            count(u64::from(law.range.decodes)),
            count(law.range.context_tokens)
        ),
    ];
    if found.unused > 0 {
        notes.push(format!("{} other points were not used", count(found.unused as u64)));
    }
    for name in &found.dropped {
        notes.push(format!("warning: `{name}` came out below 0 and is taken as 0"));
    }
    let wide = |c: &FittedCoefficient| c.value.0 > 0 && c.high.0 - c.low.0 > c.value.0;
    for (name, coefficient) in NAMES.iter().zip(of(found)) {
        if wide(&coefficient) {
            notes
                .push(format!("warning: `{name}` is not known to within half of itself: vary the load more"));
        }
    }
    notes
}

fn of(found: &Fit) -> [FittedCoefficient; 4] {
    let law = &found.law;
    [law.base, law.per_prefill_token, law.per_decode, law.per_context_token]
}

/// Nanoseconds for people, seven digits of them: the file has all.
fn shown(ns: f64) -> String {
    let (scale, unit) = time_scale(ns);
    let value = ns / scale;
    let places = (6 - value.abs().max(1.0).log10().floor() as usize).min(6);
    let text = format!("{value:.places$}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn coefficients(found: &Fit) -> Table {
    let head = ["coefficient", "value", "95 % interval"].map(str::to_owned).to_vec();
    let ns = |femtos: FemtosText| femtos.0 as f64 / FEMTOS_PER_NANO as f64;
    let row = |(name, c): (&&str, FittedCoefficient)| {
        let interval = format!("{} to {}", shown(ns(c.low)), shown(ns(c.high)));
        vec![(*name).to_owned(), shown(ns(c.value)), interval]
    };
    Table { title: "Step law".to_owned(), head, rows: NAMES.iter().zip(of(found)).map(row).collect() }
}
