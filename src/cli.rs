//! The command line: what can be asked, and how it is explained.

pub mod calibrate;
pub mod compare;
#[cfg(feature = "live")]
pub mod emulate;
#[cfg(feature = "live")]
pub mod load;
#[cfg(feature = "live")]
pub mod probe;
#[cfg(feature = "live")]
pub mod replay;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Capacity answers for LLM inference gateways: write one scenario file, simulate it, read the verdicts.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every property and expectation holds (or the command did what it was asked)
  1  a property or an expectation is violated
  2  bad input or usage
  3  none is violated, but one is inconclusive, or the run was interrupted

Start with `tidegate run scenarios/chat.toml`, then open results/chat/report.html.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a scenario, decide its properties, write results/<scenario>/.
    Run(RunArgs),
    /// Check a scenario file and print every error it has, without running it.
    Check(CheckArgs),
    /// Print the JSON Schema of scenario files (or of profiles), for editors.
    Schema(SchemaArgs),
    /// Look into limits: what a vendor documents, and what enforces it.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Look into a request trace.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Search the largest value of a knob with which batch leaves real-time alone, for each `[[plan]]` of a scenario.
    ///
    /// Each value is judged by a whole paired experiment with its declared looks: doubled until a ratio property does not
    /// hold, then halved between. Exit code 0: every search has an answer; 1: one has none; 3: interrupted.
    Plan(PlanArgs),
    /// Look into files of batch requests.
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Emulate the gateway of a scenario over HTTP: OpenAI's paths, Databricks' invocations, batch jobs.
    #[cfg(feature = "live")]
    #[command(after_help = emulate::EXAMPLES)]
    Emulate(emulate::EmulateArgs),
    /// Play a scenario against a live gateway, decide its properties, write results/<scenario>-live/.
    #[cfg(feature = "live")]
    #[command(after_help = load::LOAD_EXAMPLES)]
    Load(Box<load::LoadArgs>),
    /// Lay what was measured of a live gateway beside what was predicted: errors, intervals, distributions, verdicts.
    Compare(compare::CompareArgs),
    /// Run the log of `emulate` once more, offline, and say whether every decision is the same.
    ///
    /// Exit code 0: every decision is that of the emulator; 1: one is not; 3: the log has no end to compare with.
    #[cfg(feature = "live")]
    Replay(replay::ReplayArgs),
    /// Check a live gateway against documented limits: plan free or cheap probes, show what they cost, measure.
    ///
    /// Nothing is created that costs money by being there. What cannot be measured cheaply is said to be not probeable.
    #[cfg(feature = "live")]
    #[command(after_help = probe::EXAMPLES)]
    Probe(Box<probe::ProbeArgs>),
    /// Fit a step law to measured points, as a file that a scenario can name.
    Calibrate(calibrate::CalibrateArgs),
    /// Redraw the figures of a result folder, or overlay two.
    Plot(PlotArgs),
}

/// Which scenario, and what to change in it.
#[derive(Clone, Debug, Args)]
pub struct ScenarioArgs {
    /// The scenario file (TOML).
    pub file: PathBuf,
    /// Override a key by its path, for example `--set pools.chat.replicas=4`. May be repeated.
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
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Folder for the results [default: results/<scenario>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Threads for replications [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Also write requests.csv, a line per request of the first replication.
    #[arg(long)]
    pub requests: bool,
    /// Also write a points file for `calibrate`, of the first replication.
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
    /// How the engine advances. All three give the same answer; the slow ones are there to prove it.
    #[arg(long, value_enum, default_value_t = EngineMode::Fast)]
    pub engine: EngineMode,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Make this search only, by its name.
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Folder for the results [default: results/<scenario>-plan].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Threads for replications [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print what was found as JSON on standard output instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Draw no figures.
    #[arg(long)]
    pub no_plots: bool,
}

/// How the engine advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineMode {
    /// Skip ahead to the next step that matters.
    Fast,
    /// One step at a time.
    Unskipped,
    /// The plain O(batch) reference engine.
    Naive,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of profiles, the files with a vendor's limits.
    #[arg(long)]
    pub profile: bool,
}

/// Subcommands of `limits`.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// List limits: value, what it is counted by, where it is asked, where it is from, what tests it.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show a limit or a documented row: the sentence, its edges, how it is enforced, what is answered.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Lay two profiles side by side, by what is limited rather than by name.
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Reckon which limits a scenario will meet and which binds first, with the arithmetic; nothing is simulated.
    #[command(after_help = LIMITS_CHECK_EXAMPLES)]
    Check(LimitsCheckArgs),
    /// List every documented row and how it is honoured. Exits with 1 when a row is not.
    #[command(after_help = COVERAGE_EXAMPLES)]
    Coverage(CoverageArgs),
    /// Write a profile of your own to start from, with comments. Never overwrites a file.
    #[command(after_help = NEW_EXAMPLES)]
    New(NewArgs),
}

const LIST_EXAMPLES: &str = "\
Examples:
  tidegate limits list
  tidegate limits list --profile databricks-model-serving --overlay public
  tidegate limits list --profile ./my-gateway.toml";

const SHOW_EXAMPLES: &str = "\
Examples:
  tidegate limits show dbx-qps-workspace-standard
  tidegate limits show team-rate --profile ./my-gateway.toml";

const DIFF_EXAMPLES: &str = "\
Examples:
  tidegate limits diff databricks-model-serving databricks-gcp-preview
  tidegate limits diff --json digitalocean-inference ./my-gateway.toml > limits.json";

const LIMITS_CHECK_EXAMPLES: &str = "\
The load on a limit is the mean of the arrival law over the busiest window of the limit's length. Random arrivals meet
a limit before their mean does: `tidegate run` says how many.

Examples:
  tidegate limits check scenarios/two-gateways.toml
  tidegate limits check scenarios/two-gateways.toml --variant preview";

const COVERAGE_EXAMPLES: &str = "\
Exit codes:
  0  every row is enforced, modelled, reported, informational with a reason, or pending
  1  a row is none of these; with `--strict`, also when one is pending

Examples:
  tidegate limits coverage
  tidegate limits coverage --strict --json";

const NEW_EXAMPLES: &str = "\
Examples:
  tidegate limits new my-gateway.toml
  tidegate limits list --profile my-gateway.toml";

/// Options of `limits check`.
#[derive(Debug, Args)]
pub struct LimitsCheckArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
}

/// Options of `limits list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// A built-in profile, or a path (with a `/` or ending in `.toml`) [default: all that are built in].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Switch on a set of limits that is off by default. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub overlay: Vec<String>,
}

/// Options of `limits show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name of a limit, or id of a documented row.
    pub id: String,
    /// The profile it is in [default: all that are built in].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
}

/// Options of `limits diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A built-in profile, or a path.
    pub left: String,
    /// Another.
    pub right: String,
    /// Switch on a set of limits, in each profile that has it. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub overlay: Vec<String>,
    /// Print both as JSON: each limit in force with its values, row and provenance, keys sorted.
    #[arg(long)]
    pub json: bool,
}

/// Options of `limits coverage`.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// Only this profile [default: all that are built in].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Fail when a row is pending, too.
    #[arg(long)]
    pub strict: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Options of `limits new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The file to write.
    pub path: PathBuf,
}

/// Subcommands of `batch`.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Check files of batch requests by the limits of a profile: form, size, model, content. Nothing is uploaded.
    #[command(after_help = BATCH_CHECK_EXAMPLES)]
    Check(BatchCheckArgs),
}

const BATCH_CHECK_EXAMPLES: &str = "\
Exit codes:
  0  every file would be worked on
  1  one would be refused, or its job would fail
  2  a file cannot be read, or bad usage

Examples:
  tidegate batch check nightly.jsonl
  tidegate batch check --provider openai --endpoint /v1/chat/completions --overlay public-api part-*.jsonl";

/// Options of `batch check`.
#[derive(Debug, Args)]
pub struct BatchCheckArgs {
    /// The files: JSON lines in the form that OpenAI or Anthropic take.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// A built-in profile, or a path.
    #[arg(long, value_name = "PROFILE", default_value = "digitalocean-inference")]
    pub profile: String,
    /// Switch on a set of limits that is off by default. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub overlay: Vec<String>,
    /// The provider they are meant for [default: by the form of the first line].
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Path of their requests; `none` when the submission names none [default: the `url` of the first line].
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
}

/// Subcommands of `trace`.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Print rate, burstiness, length percentiles, peak and trough, and a histogram.
    Inspect(InspectArgs),
}

/// Options of `trace inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The trace file; `.gz` is read as it is.
    pub file: PathBuf,
    /// Its format [default: recognised by its first line].
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Options of `plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// The result folder.
    pub results: PathBuf,
    /// Only this metric: ttft, itl, tpot, e2e or client-e2e [default: all].
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,
    /// Overlay a second result folder.
    #[arg(long, value_name = "DIR")]
    pub compare: Option<PathBuf>,
    /// Folder for the figures [default: the result folder].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
