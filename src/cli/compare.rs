//! `tidegate compare`.

use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Exit codes:
  0  every property holds, predicted and measured
  1  a measured property is violated
  2  bad input, or the two saw different arrivals
  3  a live run is INVALID (whatever its properties say), a property is inconclusive, or only the prediction violates one

Examples:
  tidegate compare results/chat results/chat-live
  tidegate compare results/chat results/chat-four-replicas --different-arrivals";

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// A result folder, of a simulation for example.
    pub first: PathBuf,
    /// Another, of a live run for example. The order does not matter where one is simulated and one is live.
    pub second: PathBuf,
    /// Folder for compare.html, compare.json and the figures [default: the folder of what was measured, or the second].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare although the two saw different requests.
    #[arg(long)]
    pub different_arrivals: bool,
    /// Print compare.json on standard output instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Draw no figures and write no page, only compare.json.
    #[arg(long)]
    pub no_plots: bool,
}
