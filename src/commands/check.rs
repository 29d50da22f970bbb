//! `tidegate check`.

use crate::cli::CheckArgs;
use std::process::ExitCode;

/// Runs the command.
pub fn check(_args: &CheckArgs) -> miette::Result<ExitCode> {
    Err(miette::miette!("not built yet"))
}
