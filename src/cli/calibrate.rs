//! `tidegate calibrate`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
The points must tell the coefficients apart: prompts of different lengths, different numbers of requests at once, and
contexts that do not just grow with them. Where they do not, it says which coefficient and what to vary.

Examples:
  tidegate run scenarios/chat.toml --points points.csv
  tidegate load scenarios/chat.toml --target http://127.0.0.1:8080 --points points.csv
  tidegate calibrate points.csv --out fit.toml
and in a scenario: step_time = { kind = \"calibrated\", file = \"fit.toml\" }";

/// Options of `calibrate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// The points file (CSV), of `run --points` or of `load`.
    pub points: PathBuf,
    /// File for the law [default: printed only].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Points to fit to [default: steps where there are any, else requests].
    #[arg(long, value_enum)]
    pub from: Option<PointKind>,
    /// Replicas behind the gateway: what a client sees is spread over them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub replicas: u32,
}

/// Who measured a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PointKind {
    /// Steps of a simulation.
    Step,
    /// Requests of a client.
    Request,
}
