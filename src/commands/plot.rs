//! `tidegate plot`.

use crate::cli::PlotArgs;
use std::process::ExitCode;

/// Runs the command.
pub fn plot(_args: &PlotArgs) -> miette::Result<ExitCode> {
    Err(miette::miette!("not built yet"))
}
