//! Options of `replay`.

use super::ScenarioArgs;
use clap::Args;
use std::path::PathBuf;

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Which scenario: the one that was emulated, with the same overrides.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// The log that `tidegate emulate --log` wrote.
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// Also compare with the schedule: which requests are let in when all of them come exactly when they are due.
    #[arg(long)]
    pub schedule: bool,
    /// Replication of the schedule.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "schedule")]
    pub replication: u32,
}
