//! What this machine can do: the generator against an emulated gateway beside it, before anybody trusts a figure.
//!
//! A timer alone, which shows what the machine itself does to instants; open loops at rising rates with their lag; streams, and
//! many at once; and a closed loop beside a bare one. Generator and gateway share the
//! machine, so what is printed is what both of them reach together.

use super::attack::GooseOptions;
use super::gauge::Gauge;
use super::machine::Usage;
use super::plan::{LoadError, Options, Plan};
use super::play::play;
use super::record::Tally;
use crate::client::Target;
use crate::pacer::Pacer;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::results::live::{Lag, LiveCounts, Validity};
use tidegate_sim::scenario::live::Validity as Bounds;
use tidegate_sim::scenario::{Overrides, Scenario, load_str};

/// What is measured, one row each.
pub const PARTS: [Part; 9] = [
    Part::Timer,
    Part::Open(1_000),
    Part::Open(5_000),
    Part::Open(10_000),
    Part::Open(20_000),
    Part::Streams(3_000),
    Part::Held(10_000),
    Part::Closed,
    Part::Bare,
];

/// Users of the closed loop, and tasks of the bare one.
const USERS: u32 = 32;
/// How long the bare loop runs.
const BARE: Duration = Duration::from_secs(4);
/// Instants that the timer alone waits for, a millisecond apart.
const TICKS: u64 = 4_000;
/// Seconds that a stream takes which is to be held.
const HELD_S: u32 = 12;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing but instants that are waited for.
    Timer,
    /// An open loop of small requests, so many a second.
    Open(u32),
    /// An open loop of streams of 50 tokens, so many a second.
    Streams(u32),
    /// Long streams, so many at once.
    Held(u32),
    /// A closed loop of small requests without think time.
    Closed,
    /// The same with nothing but a reqwest client.
    Bare,
}

/// What a measurement found.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Of what.
    pub part: Part,
    /// What became of the requests.
    pub counts: LiveCounts,
    /// Answered in a second, without the warm-up and what came after the horizon.
    pub per_s: f64,
    /// When requests were sent; open loops only.
    pub lag: Option<Lag>,
    /// Most requests in flight.
    pub in_flight: u64,
    /// Whether the run would be believed.
    pub validity: Option<Validity>,
    /// Cores that the generator used.
    pub cores: f64,
}

/// The gateway that is to be emulated for a self-test.
pub fn gateway() -> String {
    let parts = [Part::Open(1_000), Part::Streams(1_000), Part::Held(1_000)].map(workload);
    format!("{HEAD}{}", parts.concat()).replace("HORIZON", "5s")
}

/// What all scenarios of a self-test have in common.
const HEAD: &str = r#"
[scenario]
question = "What can this machine do?"
horizon = "HORIZON"
warmup = "1s"
seed = 11

[models.small]
[models.talker]
context = 4096
[models.holder]
context = 4096

[pools.small]
engine = "slots"
model = "small"
servers = 10000
service = "1ms"

# 4 ms a token and at most a thousand sequences on a replica: 50 tokens take 200 ms.
[pools.talker]
model = "talker"
replicas = 4
step_time = { kind = "linear", base = "4ms", per_sequence = "0us", per_prefill_token = "0us", per_decode = "0us", per_context_token = "0us", quantum = "1us" }
batching = { tokens = 100000, sequences = 1000 }
kv = { blocks = 200000 }
route = "least-loaded"

# Half a second a token: 24 tokens take 12 s. Many replicas, whose steps do not end all at once.
[pools.holder]
model = "holder"
replicas = 100
step_time = { kind = "linear", base = "450ms", per_sequence = "0us", per_prefill_token = "0us", per_decode = "500us", per_context_token = "0us", quantum = "1us" }
batching = { tokens = 100000, sequences = 1000 }
kv = { blocks = 20000 }
route = "random"

[tiers.small]
pools = ["small"]
[tiers.talker]
pools = ["talker"]
[tiers.holder]
pools = ["holder"]
"#;

fn workload(part: Part) -> String {
    let poisson = |rate: u32| format!("{{ kind = \"poisson\", rate = \"{rate}/s\" }}");
    let whole = "live = { stream = false }\n";
    let closed = format!("sessions = {{ think = \"0s\" }}\n{whole}");
    let users = format!("{{ kind = \"population\", users = {USERS} }}");
    let (name, arrivals, output, more) = match part {
        Part::Open(rate) => ("small", poisson(rate), 1, whole),
        Part::Streams(rate) => ("talker", poisson(rate), 50, ""),
        // What came in the time of one stream is in flight; a tenth more than is wanted.
        Part::Held(most) => ("holder", poisson(most * 11 / 10 / HELD_S), 24, ""),
        Part::Timer | Part::Closed | Part::Bare => ("small", users, 1, closed.as_str()),
    };
    format!(
        "[workloads.{name}]\ntier = \"{name}\"\narrivals = {arrivals}\nprompt = 8\noutput = {output}\n{more}"
    )
}

fn scenario(part: Part) -> Scenario {
    let horizon = if matches!(part, Part::Held(_)) { format!("{}s", HELD_S + 3) } else { "5s".to_owned() };
    let text = format!("{HEAD}{}", workload(part)).replace("HORIZON", &horizon);
    load_str("selftest", &text, &Overrides::default())
        .unwrap_or_else(|found| panic!("the scenario of the self-test is right: {found:?}"))
}

/// Measures one part against the gateway of [`gateway`] at `target`. `control` may stop it.
///
/// # Errors
/// As [`play`].
pub fn measure(part: Part, target: &Target, control: &Control) -> Result<Row, LoadError> {
    match part {
        Part::Timer => return timer(),
        Part::Bare => return bare(target, control),
        _ => {}
    }
    let options = Options { goose: GooseOptions::default(), ..Options::default() };
    let plan = Plan::new(vec![scenario(part)], target.clone(), options)?;
    let gauge = Arc::new(Gauge::default());
    let outcome = play(&plan, control, &gauge, None)?;
    let live = outcome.live;
    let completed: u64 =
        outcome.measured.iter().map(|block| block.recording.workloads[0].completed_inside).sum();
    let window = (plan.variants[0].horizon - plan.variants[0].warmup).as_nanos() as f64 / 1e9;
    Ok(Row {
        part,
        counts: live.counts,
        per_s: completed as f64 / window,
        lag: (live.lag.samples > 0).then_some(live.lag),
        in_flight: live.generator.in_flight_peak,
        validity: Some(live.validity),
        cores: live.generator.cpu_cores,
    })
}

/// Waits for instants and does nothing else: what is late here, the machine has held up.
fn timer() -> Result<Row, LoadError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Start)?;
    let usage = Usage::start();
    let mut tally = Tally::new(0);
    let late_ns = Bounds::default().late.as_nanos();
    let waited: std::io::Result<()> = runtime.block_on(async {
        let mut pacer = Pacer::new()?;
        let start = Instant::now();
        for tick in 1..=TICKS {
            let due = start + Duration::from_millis(tick);
            pacer.until(due).await?;
            let lag = Instant::now().saturating_duration_since(due).as_nanos() as u64;
            tally.lag.saturating_record(lag.max(1));
            tally.on_time += u64::from(lag <= late_ns);
        }
        Ok(())
    });
    waited.map_err(LoadError::Start)?;
    let counts = LiveCounts { scheduled: TICKS, succeeded: TICKS, ..LiveCounts::default() };
    let lag = Some(tally.lag());
    Ok(Row { part: Part::Timer, counts, per_s: 1e3, lag, in_flight: 0, validity: None, cores: usage.cores() })
}

/// The closed loop with nothing but a shared reqwest client, which is what one would write by hand.
fn bare(target: &Target, control: &Control) -> Result<Row, LoadError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(LoadError::Start)?;
    let url = target.url("/v1/chat/completions");
    let usage = Usage::start();
    let started = Instant::now();
    let (succeeded, failed) = runtime.block_on(async {
        let client = reqwest::Client::new();
        let tasks: Vec<_> = (0..USERS)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(async move {
                    let (mut fine, mut wrong) = (0_u64, 0_u64);
                    while started.elapsed() < BARE {
                        if one(&client, &url).await { fine += 1 } else { wrong += 1 }
                    }
                    (fine, wrong)
                })
            })
            .collect();
        let mut sum = (0, 0);
        for task in tasks {
            let (fine, wrong) = task.await.unwrap_or((0, 1));
            sum = (sum.0 + fine, sum.1 + wrong);
        }
        sum
    });
    let seconds = started.elapsed().as_secs_f64();
    control.advance(0, succeeded + failed);
    let counts = LiveCounts { scheduled: succeeded + failed, succeeded, failed, ..LiveCounts::default() };
    let per_s = succeeded as f64 / seconds;
    Ok(Row { part: Part::Bare, counts, per_s, lag: None, in_flight: 0, validity: None, cores: usage.cores() })
}

async fn one(client: &reqwest::Client, url: &str) -> bool {
    const BODY: &str = r#"{"model":"small","messages":[{"role":"user","content":" a b c d e f g h"}]}"#;
    let request = client.post(url).header("authorization", "Bearer small-0");
    let request = request.header("content-type", "application/json").body(BODY);
    match request.send().await {
        Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_self_test_is_right() {
        for part in PARTS {
            assert_eq!(scenario(part).workloads.len(), 1);
        }
        let gateway = load_str("gateway", &gateway(), &Overrides::default()).unwrap();
        assert_eq!(gateway.workloads.len(), 3);
    }
}
