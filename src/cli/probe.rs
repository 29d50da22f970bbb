//! `tidegate probe`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What stands below the help of `probe`.
pub const EXAMPLES: &str = "\
Verdicts: equal (the exact documented number), differs, inconclusive, not probeable (never counted as equal).

Keys come from the environment (TIDEGATE_API_KEY, or what `key_env` of a workload names) or from --key-file, and are
never shown. On this machine a workload without one uses its own name, which is what `tidegate emulate` knows it by.

Exit codes:
  0  everything that was probed is as documented
  1  something differs
  2  bad input or usage
  3  nothing differs, but something is inconclusive, or the run was interrupted

Examples:
  tidegate probe scenarios/two-gateways.toml --target http://127.0.0.1:8080 --dry-run
  tidegate probe scenarios/two-gateways.toml --target http://127.0.0.1:8080
  tidegate probe --profile databricks-model-serving --is endpoint.kind=custom --is endpoint.route-optimized=no \\
      --api databricks --model ranker --target https://workspace.example --max-cost 0.5 --yes";

/// Options of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// A scenario: its limits as it states them, its workloads and batches as callers.
    #[arg(required_unless_present = "profile")]
    pub scenario: Option<PathBuf>,
    /// Address of the gateway: `http://HOST:PORT` or `https://HOST/PATH`, without `/v1`.
    #[arg(long, value_name = "URL")]
    pub target: String,
    /// A built-in profile, or a path. With a scenario: instead of the one it names.
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Switch on a set of limits that is off by default; only without a scenario. May be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "scenario")]
    pub overlay: Vec<String>,
    /// Name of the model (of the endpoint, with `--api databricks`) on the wire; only without a scenario.
    #[arg(long, value_name = "NAME", conflicts_with = "scenario", default_value = "default")]
    pub model: String,
    /// Longest prompt plus output of the model, tokens; only without a scenario.
    #[arg(long, value_name = "TOKENS", conflicts_with = "scenario", value_parser = clap::value_parser!(u64).range(8..=100_000_000))]
    pub context: Option<u64>,
    /// Path and form of requests; only without a scenario.
    #[arg(long, value_enum, conflicts_with = "scenario", default_value_t = ApiName::Chat)]
    pub api: ApiName,
    /// What is known of endpoint, account or model, as limits ask for it: `endpoint.kind=custom`; only without a scenario.
    /// May be repeated.
    #[arg(long = "is", value_name = "ATTRIBUTE=WORD", conflicts_with = "scenario")]
    pub is: Vec<String>,
    /// Override a key of the scenario by its path. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "scenario")]
    pub set: Vec<String>,
    /// Apply one of the scenario's `[variants]`.
    #[arg(long, value_name = "NAME", requires = "scenario")]
    pub variant: Option<String>,
    /// Probe only this limit. May be repeated.
    #[arg(long, value_name = "LIMIT")]
    pub only: Vec<String>,
    /// Address of a read on the control plane that is free (a GET), for limits on calls to it.
    #[arg(long, value_name = "URL")]
    pub control_plane: Option<String>,
    /// A file that holds the key.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Only show the plan, its cost, and what cannot be probed.
    #[arg(long)]
    pub dry_run: bool,
    /// Most requests, repetitions included. What needs more is not planned.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub max_requests: u64,
    /// Longest time of waiting for windows to pass, seconds or with a unit: `90`, `15min`, `2h`.
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = waiting)]
    pub max_time: u64,
    /// Highest price, in the currency of the scenario's `[live.prices]`. Where no prices are known, tokens bound nothing:
    /// the plan says how many there are.
    #[arg(long, value_name = "PRICE", default_value_t = 1.0)]
    pub max_cost: f64,
    /// Probe a gateway that is not on this machine, and that the scenario's `[live] targets` do not name.
    #[arg(long)]
    pub yes: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Path and form of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiName {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/serving-endpoints/NAME/invocations`.
    Databricks,
}

/// Seconds of a time with or without a unit.
fn waiting(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1,
        "min" => 60,
        "h" => 3_600,
        _ => return Err(format!("`{unit}` is no unit: s, min or h")),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number is needed".to_owned())?;
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds <= 7 * 86_400);
    seconds.ok_or_else(|| "at most 168h".to_owned())
}
