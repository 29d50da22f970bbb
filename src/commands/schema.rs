//! `tidegate schema`.

use miette::IntoDiagnostic;
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_sim::scenario;

/// Prints the JSON Schema of scenario files.
pub(crate) fn schema() -> miette::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&scenario::schema()).into_diagnostic()?;
    // A reader that has gone (`| head`) is no error of ours.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    Ok(ExitCode::SUCCESS)
}
