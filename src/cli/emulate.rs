//! Options of `emulate`.

use super::ScenarioArgs;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `emulate --help` ends with.
pub const EXAMPLES: &str = "\
A key is the name of a workload with the number of a tenant behind it; `sk-` may stand in front. Batch jobs are submitted
with the name of a batch. The length of an answer is drawn from the scenario, unless `ignore_eos` asks for all of
`max_tokens`; the length of a prompt is its number of words.

Example:
  tidegate emulate scenarios/chat.toml --listen 127.0.0.1:8080
  curl -N http://127.0.0.1:8080/v1/models -H 'authorization: Bearer chat-0'
  curl -N http://127.0.0.1:8080/v1/chat/completions -H 'authorization: Bearer chat-0' \\
    -d '{\"model\":\"llama-8b\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"stream\":true}'

Also there: /v1/completions, /v1/embeddings, /v1/files, /v1/batches, /serving-endpoints/NAME/invocations, /health,
/metrics. Ctrl-C ends it.";

/// Options of `emulate`.
#[derive(Debug, Args)]
pub struct EmulateArgs {
    /// Which scenario.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Address to listen on; with port 0 the system chooses one. Beyond this machine only with `--yes`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Listen on an address that other machines reach.
    #[arg(long)]
    pub yes: bool,
    /// How much faster than a clock the gateway's time runs.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Write every input and when it took effect, for `tidegate replay`.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Threads that serve connections. One is that of the engine itself, which is best where cores are few; more are beside it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Most connections at once; one more is answered with 503.
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_most: u32,
    /// Most megabytes of a body that is no file.
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub body_most: u32,
    /// Most megabytes of all files together.
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub files_most: u32,
    /// Seconds that answers may go on after Ctrl-C.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub grace: u32,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=1_000_000.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.001 to 1000000".to_owned()),
    }
}
