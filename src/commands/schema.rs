//! `tidegate schema`.

use std::process::ExitCode;

/// Prints the JSON Schema of scenario files.
pub fn schema() -> miette::Result<ExitCode> {
    Err(miette::miette!("not built yet"))
}
