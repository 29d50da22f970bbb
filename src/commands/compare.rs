//! `tidegate compare`.

use super::plot::complain;
use crate::cli::compare::CompareArgs;
use crate::output::table;
use miette::{IntoDiagnostic as _, WrapErr as _};
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_sim::report::{Options, render};
use tidegate_sim::results::against::{Agreement, encode_agreement, in_order};
use tidegate_sim::results::{Layout, ResultSet, Verdict, write_atomic};

/// Lays what was measured beside what was predicted: tables, `compare.json`, `compare.html` and figures.
pub(crate) fn compare(args: &CompareArgs) -> miette::Result<ExitCode> {
    let read = |folder| ResultSet::read(folder).map_err(complain);
    let (a, b) = (read(&args.first)?, read(&args.second)?);
    let (first, second) = in_order(&a, &b);
    let agreement = Agreement::new(first, second, args.different_arrivals).map_err(complain)?;
    let home = if std::ptr::eq(second, &b) { &args.second } else { &args.first };
    let layout = Layout::new(args.out.as_ref().unwrap_or(home));
    let json = encode_agreement(&agreement);
    let text = if args.json { json.clone() } else { table::agreement_text(&agreement).into_bytes() };
    // The answer first: should writing fail after all, it is not lost.
    match std::io::stdout().lock().write_all(&text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(error).into_diagnostic().wrap_err("cannot write to standard output");
        }
        _ => {}
    }
    let mut written = 1;
    write_atomic(&layout.agreement(), &json).map_err(complain)?;
    if !args.no_plots {
        let options = Options { metric: None, compare: Some(second), agreement: Some(&agreement) };
        written += render(first, &layout, options).map_err(complain)?.len();
    }
    say!("wrote {written} files to {}", layout.root().display());
    Ok(ExitCode::from(match agreement.verdict {
        Verdict::Holds => 0,
        Verdict::Violated => 1,
        Verdict::Inconclusive => 3,
    }))
}
