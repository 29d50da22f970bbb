//! The engine under a clock, without sockets.

use super::driver::{self, Options};
use super::gateway::{Ask, Gateway, JobTold, Mark, Told};
use super::log::{Log, LogError};
use super::replay::{against_schedule, replay};
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_sim::observe::JobState;
use tidegate_sim::request::Outcome;
use tidegate_sim::scenario::batch::Submission;
use tidegate_sim::scenario::{Overrides, Scenario, load_str};
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::Source;

const CHAT: &str = r#"
[scenario]
question = "?"
horizon = "3s"
replications = 1

[models.m]
context = "8k"

[pools.chat]
model = "m"
replicas = 2
step_time = { kind = "linear", base = "4ms", per_decode = "20us" }
batching = { tokens = 512, sequences = 8 }
kv = { blocks = 512 }
outstanding = 12
queue = { most = 10 }

[tiers.t]
pools = ["chat"]

[workloads.chat]
tier = "t"
tenants = 4
arrivals = { kind = "poisson", rate = "200/s" }
prompt = { kind = "lognormal", mean = 200, cv = 1.0 }
output = { kind = "lognormal", mean = 30, cv = 1.0 }

[batch.nightly]
tier = "t"
prompt = 100
output = 5
jobs = [{ at = "1s", requests = 1 }]
window = "24h"
"#;

fn scenario() -> Scenario {
    load_str("chat", CHAT, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn ask(session: u64) -> Ask {
    Ask {
        workload: 0,
        tenant: (session % 4) as u32,
        prompt_tokens: 100,
        max_tokens: None,
        body_bytes: 500,
        forced_output: None,
        mark: Some(Mark { replication: 0, session, turn: 0 }),
        own_prefix: 0,
    }
}

fn log_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-{name}-{}.csv", std::process::id()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Plays the schedule of the scenario against a gateway; every third client hangs up at its third token. Returns how many
/// were answered whole, turned away, and hung up.
async fn play(scenario: &Scenario, gateway: &Gateway, speed: f64) -> [u64; 3] {
    let mut source = Source::open(scenario, 0, scenario.seed).expect("no trace");
    let start = std::time::Instant::now();
    let mut tasks = Vec::new();
    while let Some(arrival) = source.next() {
        let due = std::time::Duration::from_nanos((arrival.at.as_nanos() as f64 / speed) as u64);
        tokio::time::sleep_until((start + due).into()).await;
        let session = arrival.head.session;
        let prompt_tokens = arrival.head.prompt_tokens;
        let mut pending = gateway.ask(Ask { prompt_tokens, ..ask(session) }).expect("it runs");
        tasks.push(tokio::spawn(async move {
            let mut seen = 0;
            loop {
                match pending.next().await {
                    Some(Told::Tokens(tokens)) => {
                        assert!(tokens > seen, "{tokens} after {seen}");
                        seen = tokens;
                        if session.is_multiple_of(3) && seen >= 3 {
                            return 2;
                        }
                    }
                    Some(Told::Admitted) => {}
                    Some(Told::Done(done)) => return usize::from(done.outcome != Outcome::Completed),
                    None => panic!("the engine stopped too early"),
                }
            }
        }));
    }
    let mut ends = [0; 3];
    for task in tasks {
        ends[task.await.expect("no panic")] += 1;
    }
    ends
}

#[test]
fn a_replayed_log_gives_the_identical_decisions() {
    let (scenario, path) = (scenario(), log_file("parity"));
    let options = Options { speed: 1.0, log: Some(path.clone()) };
    let (gateway, engine) = driver::start(&scenario, options).expect("a log");
    let [whole, refused, hung_up] = runtime().block_on(play(&scenario, &gateway, 1.0));
    let ended = engine.stop().expect("a whole log");
    assert!(whole > 50 && refused > 10 && hung_up > 10, "{whole} {refused} {hung_up}");
    assert_eq!(ended.totals.of(Outcome::Completed) + ended.totals.of(Outcome::Cancelled), whole + hung_up);
    assert_eq!(ended.totals.of(Outcome::Refused), refused);
    let log = Log::read(&path).expect("the log just written");
    for unskipped in [true, false] {
        let again = replay(&scenario, &log, unskipped);
        assert_eq!(again.same, Some(true), "unskipped: {unskipped}");
        assert_eq!((again.decisions, again.decided), (ended.decisions.clone(), ended.decided));
        assert_eq!(again.totals.outcomes, ended.totals.outcomes);
    }
    let mut other = log.clone();
    other.inputs.pop();
    assert_eq!(
        replay(&scenario, &other, false).same,
        Some(false),
        "a hash that nothing can break shows nothing"
    );
    std::fs::remove_file(&path).expect("it was read");
}

#[test]
fn what_differs_from_the_schedule_is_counted() {
    let (scenario, path) = (scenario(), log_file("schedule"));
    let options = Options { speed: 4.0, log: Some(path.clone()) };
    let (gateway, engine) = driver::start(&scenario, options).expect("a log");
    runtime().block_on(play(&scenario, &gateway, 4.0));
    engine.stop().expect("a whole log");
    let log = Log::read(&path).expect("the log just written");
    let found = against_schedule(&scenario, &log, 0).expect("no trace");
    let mut source = Source::open(&scenario, 0, scenario.seed).expect("no trace");
    let planned = std::iter::from_fn(|| source.next()).count() as u64;
    assert_eq!((found.requests, found.missing), (planned, 0));
    assert!(found.late[0] <= found.late[1] && found.late[1] <= found.late[2]);
    // What hung up makes room that the schedule does not know of: some must differ.
    assert!(!found.differing.is_empty() && (found.differing.len() as u64) < planned / 2);
    assert_eq!(against_schedule(&scenario, &log, 7).expect("no trace").requests, 0);
    std::fs::remove_file(&path).expect("it was read");
}

#[test]
fn a_marked_request_says_what_the_scenario_drew_for_it() {
    let scenario = scenario();
    let mut source = Source::open(&scenario, 0, scenario.seed).expect("no trace");
    let drawn: Vec<u32> = std::iter::from_fn(|| source.next()).map(|a| a.draw.output_tokens).collect();
    let (gateway, engine) = driver::start(&scenario, Options { speed: 50.0, log: None }).expect("no log");
    let answer = |ask: Ask| {
        let mut pending = gateway.ask(ask).expect("it runs");
        loop {
            match runtime().block_on(pending.next()) {
                Some(Told::Done(done)) => return done.generated,
                Some(_) => {}
                None => panic!("the engine stopped too early"),
            }
        }
    };
    // Not in order, and one twice: a client tries again.
    for session in [5, 0, 200, 5] {
        assert_eq!(answer(ask(session)), drawn[session as usize], "session {session}");
    }
    assert_eq!(answer(Ask { max_tokens: Some(2), ..ask(7) }), 2);
    let insisting = Ask { mark: None, forced_output: Some(9), ..ask(0) };
    assert_eq!(answer(Ask { max_tokens: Some(9), ..insisting.clone() }), 9);
    assert!(answer(insisting) >= 9, "no fewer");
    let far = Mark { replication: 3, session: u64::MAX, turn: 0 };
    assert!(answer(Ask { mark: Some(far), ..ask(0) }) > 0, "a number out of nowhere is served all the same");
    engine.stop().expect("no log");
}

#[test]
fn a_job_is_worked_on_line_by_line_and_its_states_are_told() {
    let (scenario, path) = (scenario(), log_file("job"));
    let options = Options { speed: 20.0, log: Some(path.clone()) };
    let (gateway, engine) = driver::start(&scenario, options).expect("a log");
    let lines: Arc<[(u32, u32)]> = (0..20).map(|line| (50, 1 + line)).collect();
    let job = Submission {
        at: Time::ZERO,
        owner: 0,
        requests: 20,
        bytes: Some(9),
        lines: Some(lines),
        fault: None,
    };
    let (states, tokens) = runtime().block_on(async {
        let mut handle = gateway.submit(0, job).await.expect("it runs");
        let (mut states, mut tokens) = (Vec::new(), vec![0; 20]);
        while let Some(told) = handle.told.recv().await {
            match told {
                JobTold::State(fact) => states.push(fact.state),
                JobTold::Line(line) => tokens[line.line as usize] += line.done.generated,
            }
        }
        (states, tokens)
    });
    assert_eq!(states.last(), Some(&JobState::Completed), "{states:?}");
    assert!(tokens.iter().zip(1..).all(|(found, most)| *found >= 1 && *found <= most), "{tokens:?}");
    engine.stop().expect("a whole log");
    let log = Log::read(&path).expect("the log just written");
    assert_eq!(replay(&scenario, &log, false).same, Some(true));
    std::fs::remove_file(&path).expect("it was read");
}

#[test]
fn a_log_that_is_none_is_an_error_with_its_line() {
    let path = log_file("broken");
    let read = |text: &str| {
        std::fs::write(&path, text).expect("a file");
        Log::read(&path).expect_err("it is broken")
    };
    let error = read("kind,at_ns\nrequest,5\nhang-up,5\n");
    assert!(matches!(error, LogError::Broken { line: 3, .. }), "{error}");
    assert!(error.to_string().contains("instants increase"), "{error}");
    let error = read("kind,at_ns\nnothing,5\n");
    assert!(error.to_string().contains("`kind` is `nothing`"), "{error}");
    let error = read("kind,at_ns\nrequest,x\n");
    assert!(error.to_string().contains("line 2"), "{error}");
    std::fs::remove_file(&path).expect("it was read");
    assert!(matches!(Log::read(&path).expect_err("it is gone"), LogError::Io { .. }));
}

#[test]
fn who_has_no_time_is_late_and_not_wrong() {
    // A hundred hours of idle time in a second: nothing is due, and nothing is skipped.
    let (gateway, engine) = driver::start(&scenario(), Options { speed: 3.6e5, log: None }).expect("no log");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let gauges = runtime().block_on(gateway.gauges()).expect("it runs");
    assert_eq!(gauges.workloads[0].offered, 0);
    let ended = engine.stop().expect("no log");
    assert!(ended.totals.ended > Time::ZERO + Span::from_secs(60), "{}", ended.totals.ended);
    assert!(gateway.ask(ask(0)).is_err(), "a gateway whose engine has stopped says so");
}
