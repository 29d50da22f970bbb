//! Options of `load`.

use super::ScenarioArgs;
use clap::builder::TypedValueParser as _;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub const LOAD_EXAMPLES: &str = "\
Keys come from the environment variable TIDEGATE_API_KEY (or the one that `workloads.NAME.live.key_env` names) or from
`--key-file`, are never printed, and are in no result. Without one, a target on this machine gets the keys of
`tidegate emulate`: WORKLOAD-TENANT.

Exit codes:
  0  every property holds
  1  a property is violated
  2  bad input or usage
  3  none is violated, but one is inconclusive, the run was interrupted, or it is INVALID

Examples:
  tidegate emulate scenarios/chat.toml --listen 127.0.0.1:8080 &
  tidegate load scenarios/chat.toml --target http://127.0.0.1:8080 --set scenario.horizon=60s --set scenario.warmup=5s
  tidegate load scenarios/chat.toml --target https://gateway.example --dry-run
  tidegate load --selftest";

/// Options of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The scenario file (TOML).
    #[arg(required_unless_present = "selftest")]
    pub file: Option<PathBuf>,
    /// Address of the gateway: `http://HOST:PORT` or `https://HOST`, with a path when it has one.
    #[arg(long, value_name = "URL", required_unless_present = "selftest")]
    pub target: Option<String>,
    /// Override a key by its path, for example `--set scenario.horizon=60s`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Apply one of the scenario's `[variants]`.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Trace file for workloads whose arrivals are a trace; stands for `${TRACE}` in the scenario.
    ///
    /// An empty path counts as none.
    #[arg(long, value_name = "PATH", env = "TIDEGATE_TRACE",
          value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub trace: Option<PathBuf>,
    /// Print what this machine can do instead: lag and throughput against an emulated gateway beside it.
    ///
    /// Takes about a minute. Alone: no scenario, no target.
    #[arg(long, exclusive = true)]
    pub selftest: bool,
    /// Blocks of each variant: each plays the whole horizon under the seed of one replication.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub blocks: u32,
    /// Folder for the results [default: results/<scenario>-live].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also write requests.csv, a line per attempt of the first block.
    #[arg(long)]
    pub requests: bool,
    /// Also write a points file for `calibrate`, a line per attempt of the first block.
    #[arg(long, value_name = "FILE")]
    pub points: Option<PathBuf>,
    /// Print the summary as JSON on standard output instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Write the verdicts as a JUnit XML file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write no figures and no HTML report.
    #[arg(long)]
    pub no_plots: bool,
    /// Print what would be sent and what it would cost, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Agree to a target that is not on this machine.
    #[arg(long)]
    pub yes: bool,
    /// A file with the API key, for all workloads.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Caps and other rules.
    #[command(flatten)]
    pub caps: CapArgs,
    /// How requests are made.
    #[command(flatten)]
    pub wire: WireArgs,
    /// What goose is asked for.
    #[command(flatten)]
    pub goose: GooseArgs,
}

impl LoadArgs {
    /// Which scenario; `None` when there is none, as with `--selftest`.
    pub fn scenario(&self) -> Option<ScenarioArgs> {
        let file = self.file.clone()?;
        let (set, variant, trace) = (self.set.clone(), self.variant.clone(), self.trace.clone());
        Some(ScenarioArgs { file, set, variant, trace })
    }
}

/// What may be done at most.
#[derive(Debug, Args)]
#[command(next_help_heading = "Safety")]
pub struct CapArgs {
    /// Attempts that are sent at most; the run ends there and is INVALID.
    #[arg(long, value_name = "N")]
    pub max_requests: Option<u64>,
    /// Tokens at most, prompts and outputs as planned.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// Money at most, by `live.prices` of the scenario.
    #[arg(long, value_name = "AMOUNT")]
    pub max_cost: Option<f64>,
    /// Requests in flight at most; one more is not sent, and the run is INVALID [default: what this machine gives].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_in_flight: Option<u64>,
    /// End the run when a larger share of the requests of a second goes wrong (refusals do not count), such as `50%`.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub abort_error_rate: Option<f64>,
    /// End the run when the 99th percentile of the lag of a second is longer, such as `100ms`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub abort_lag: Option<Duration>,
    /// An answer in which nothing comes for longer has failed.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "120s")]
    pub silence: Duration,
}

/// How requests are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Requests")]
pub struct WireArgs {
    /// How outputs get their length [default: `index` on this machine, else `max-tokens`].
    #[arg(long, value_enum)]
    pub lengths: Option<LengthsWord>,
    /// What counts as a token of a prompt.
    #[arg(long, value_enum, default_value_t = TokenizerWord::Words)]
    pub tokenizer: TokenizerWord,
    /// Threads that send requests [default: one for every two cores, at most 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub lanes: Option<u16>,
}

/// What goose is asked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Goose")]
pub struct GooseArgs {
    /// A report of goose's own, of the last block; its ending says the form (.html, .md, .json). May be repeated.
    #[arg(long, value_name = "FILE")]
    pub goose_report: Vec<PathBuf>,
    /// A JSON report of an earlier run that goose's reports compare with.
    #[arg(long, value_name = "FILE")]
    pub goose_baseline: Option<PathBuf>,
    /// A threshold in goose's form, such as `p99<500ms for TTFT chat`; one that fails makes the exit code 1. May be repeated.
    #[arg(long, value_name = "RULE")]
    pub goose_threshold: Vec<String>,
}

/// How outputs get their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LengthsWord {
    /// The server knows it by the request's place in the schedule (`tidegate emulate` does).
    Index,
    /// `max_tokens` is the length; a model may stop earlier.
    MaxTokens,
    /// And `min_tokens` and `ignore_eos`, which vLLM and its relatives take.
    Forced,
}

/// What counts as a token of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenizerWord {
    /// A word (`tidegate emulate` counts so).
    Words,
    /// The vocabulary `o200k_base`.
    O200k,
    /// The vocabulary `cl100k_base`.
    Cl100k,
}

/// `50%` or `0.5`.
fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    let number = number.ok().filter(|share| (0.0..=1.0).contains(share));
    number.ok_or_else(|| "a share is between 0% and 100%".to_owned())
}

/// `100ms`, `2s`, `5min`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let scale = match &text[digits..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err("a time has one of the units us, ms, s, min".to_owned()),
    };
    let number = text[..digits].parse::<f64>().map_err(|error| error.to_string())?;
    let span = Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())?;
    if span.is_zero() { Err("a time must be above zero".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_read_with_their_units() {
        assert_eq!(share("50%"), Ok(0.5));
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("101%").is_err() && share("many").is_err());
        assert_eq!(time("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1_500)));
        assert!(time("5").is_err() && time("0s").is_err() && time("s").is_err());
    }
}
