//! `tidegate run`.

use crate::cli::RunArgs;
use std::process::ExitCode;

/// Runs the command.
pub fn run(_args: &RunArgs) -> miette::Result<ExitCode> {
    Err(miette::miette!("not built yet"))
}
