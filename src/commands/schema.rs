//! `tidegate schema`.

use crate::cli::SchemaArgs;
use miette::IntoDiagnostic;
use std::io::Write as _;
use std::process::ExitCode;
use tidegate_sim::scenario;

/// Prints the JSON Schema of scenario files, or of profiles.
pub(crate) fn schema(args: &SchemaArgs) -> miette::Result<ExitCode> {
    let schema = if args.profile { scenario::profile::schema() } else { scenario::schema() };
    let text = serde_json::to_string_pretty(&schema).into_diagnostic()?;
    // A reader that has gone (`| head`) is no error of ours.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    Ok(ExitCode::SUCCESS)
}
