//! `tidegate trace`.

use crate::cli::InspectArgs;
use std::process::ExitCode;

/// Runs the command.
pub fn inspect(_args: &InspectArgs) -> miette::Result<ExitCode> {
    Err(miette::miette!("not built yet"))
}
