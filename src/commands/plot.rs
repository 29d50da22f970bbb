//! `tidegate plot`.

use crate::cli::PlotArgs;
use miette::{MietteDiagnostic, Report, Result};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use tidegate_sim::report::{Options, render};
use tidegate_sim::results::{Layout, ResultSet};
use tidegate_sim::scenario::Metric;

/// Redraws the figures of a result folder, or lays a second one over it; prints the files it wrote.
pub(crate) fn plot(args: &PlotArgs) -> Result<ExitCode> {
    let metric = args.metric.as_deref().map(metric_named).transpose()?;
    let results = ResultSet::read(&args.results).map_err(complain)?;
    let other = args.compare.as_deref().map(ResultSet::read).transpose().map_err(complain)?;
    let options = Options { metric, compare: other.as_ref(), agreement: None };
    options.check(&results).map_err(complain)?;
    if let Some(other) = &other {
        warn_when_unlike(&results, other);
    }
    let layout = Layout::new(args.out.as_ref().unwrap_or(&args.results));
    let written = render(&results, &layout, options).map_err(complain)?;
    let mut out = std::io::stdout().lock();
    for path in &written {
        // A reader that has seen enough (`| head`) is no error: the files are written.
        if writeln!(out, "{}", path.display()).is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn metric_named(name: &str) -> Result<Metric> {
    Metric::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
        let known = Metric::ALL.map(Metric::name).join(", ");
        Report::new(
            MietteDiagnostic::new(format!("--metric `{name}` is not a latency"))
                .with_help(format!("one of {known}")),
        )
    })
}

fn warn_when_unlike(a: &ResultSet, b: &ResultSet) {
    if a.summary.provenance.arrival_hash != b.summary.provenance.arrival_hash {
        say!("warning: the two saw different arrivals; every figure says so");
    }
}

pub(super) fn complain(error: impl Display) -> Report {
    let text = error.to_string();
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    let diagnostic = MietteDiagnostic::new(message);
    Report::new(if hint.is_empty() { diagnostic } else { diagnostic.with_help(hint) })
}
