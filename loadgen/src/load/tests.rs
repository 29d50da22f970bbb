//! Whole runs over real sockets.

use super::gauge::Gauge;
use super::plan::{Options, Plan};
use super::play::{Outcome, play};
use super::safety::Caps;
use crate::client::Target;
use crate::testing::{Asked, STREAM, chunk, scenario, serve, stream_of, token, whole, write};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_sim::experiment::measured::gather;
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::observe::Observer;
use tidegate_sim::request::{Finished, Outcome as Finish, Settled};
use tidegate_sim::results::live::{LiveCounts, Validity};
use tidegate_sim::results::{Layout, ResultSet};
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::{Metric, Scenario};
use tidegate_sim::workload::arrival_hash;
use tokio::net::TcpStream;

/// Goose knows one attack a process: whole runs take turns.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const CHAT: &str = r#"
    [workloads.chat]
    tier = "t"
    tenants = 3
    arrivals = { kind = "poisson", rate = "200/s" }
    prompt = { kind = "uniform", least = 5, most = 50 }
    output = 4
"#;

/// Plays `scenario` against a server that answers with `answer`, from a runtime of its own.
fn against<F, A>(
    scenario: Scenario,
    options: Options,
    control: &Control,
    first: Option<&mut (dyn Observer + Send)>,
    answer: F,
) -> (Outcome, u64)
where
    F: Fn(Asked, TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, served): (SocketAddr, Arc<AtomicU64>) = runtime.block_on(serve(answer));
    let target = Target::parse(&format!("http://{address}")).unwrap();
    let plan = Plan::new(vec![scenario], target, options).unwrap();
    let outcome = play(&plan, control, &Arc::new(Gauge::default()), first).unwrap();
    (outcome, served.load(Ordering::Relaxed))
}

#[derive(Default)]
struct Everything(Vec<Finished>, Vec<Settled>);

impl Observer for Everything {
    fn finished(&mut self, done: &Finished) {
        self.0.push(*done);
    }
    fn settled(&mut self, settled: &Settled) {
        self.1.push(*settled);
    }
}

#[test]
fn a_schedule_is_played_whole_and_recorded_as_a_replication() {
    let scenario = scenario(CHAT);
    let hash = arrival_hash(&scenario, replication_seed(scenario.seed, 0)).unwrap();
    let mut seen = Everything::default();
    let (outcome, served) =
        against(scenario, Options::default(), &Control::default(), Some(&mut seen), |_, stream| async {
            write(stream, &stream_of(4)).await
        });
    let block = &outcome.measured[0];
    assert_eq!(block.arrival_hash.as_deref(), Some(hash.as_str()));
    assert!(!block.cut && !outcome.interrupted);
    let counts = outcome.live.counts;
    assert!(counts.scheduled > 300, "{counts:?}");
    assert_eq!(counts, LiveCounts { scheduled: served, succeeded: served, ..LiveCounts::default() });
    assert_eq!(block.totals.offered, served);
    let workload = &block.recording.workloads[0];
    assert_eq!(workload.offered, served);
    assert_eq!(workload.latency(Metric::Ttft).count(), served);
    assert_eq!(workload.latency(Metric::Itl).count(), served * 3);
    assert_eq!(workload.output_tokens, served * 4);
    assert_eq!(outcome.live.lag.samples, served);
    assert_eq!(outcome.live.workloads[0].statuses, [(200, served)]);
    assert!(outcome.live.workloads[0].lengths_forced);
    assert_eq!(outcome.goose.requests as u64, served * 2);
    // From the schedule: the lag is the first part of every latency.
    for done in &seen.0 {
        assert_eq!(done.budget().total(), done.e2e());
        assert!(
            done.dispatched.unwrap() >= done.sent && done.first_token.unwrap() >= done.dispatched.unwrap()
        );
    }
}

#[test]
fn the_server_is_told_which_request_it_is_whose_and_how_long() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&asked);
    let (_, served) =
        against(scenario(CHAT), Options::default(), &Control::default(), None, move |asked, stream| {
            let keep = Arc::clone(&keep);
            async move {
                keep.lock().unwrap().push(asked);
                write(stream, &stream_of(4)).await
            }
        });
    let mut indices = Vec::new();
    for asked in asked.lock().unwrap().iter() {
        let number = |name: &str| asked.header(name).unwrap().parse::<u64>().unwrap();
        indices.push(number("x-tidegate-index"));
        assert_eq!(asked.header("x-tidegate-turn"), None, "what is not said is zero");
        assert!(asked.header("authorization").unwrap().starts_with("Bearer chat-"));
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let prompt = body["messages"][0]["content"].as_str().unwrap();
        assert_eq!(prompt.split_whitespace().count() as u64, number("x-tidegate-prompt-tokens"));
        assert_eq!(asked.path, "/v1/chat/completions");
    }
    indices.sort_unstable();
    assert_eq!(indices, (0..served).collect::<Vec<_>>());
}

#[test]
fn a_refusal_is_an_outcome_and_its_limit_is_named() {
    let (outcome, served) =
        against(scenario(CHAT), Options::default(), &Control::default(), None, |asked, stream| async move {
            let answer = match asked.number % 3 {
                0 => whole(
                    "429 Too Many Requests",
                    "retry-after: 1\r\nx-tidegate-reason: queue-full\r\n",
                    "{}",
                ),
                1 => whole("429 Too Many Requests", "", r#"{"error":{"code":"rate_limit_exceeded"}}"#),
                _ => stream_of(4),
            };
            write(stream, &answer).await
        });
    let counts = outcome.live.counts;
    assert!(counts.is_conserved());
    assert_eq!((counts.scheduled, counts.succeeded + counts.refused), (served, served));
    let refusals = &outcome.measured[0].recording.workloads[0].refusals;
    let (full, unknown) = (refusals[0], refusals[usize::from(tidegate_sim::request::UNATTRIBUTED)]);
    assert_eq!(full + unknown, counts.refused);
    assert!(full.abs_diff(unknown) <= 1, "{full} {unknown}");
}

#[test]
fn a_stop_waits_for_no_answer_and_leaves_a_conserved_part() {
    let control = Arc::new(Control::default());
    let stop = Arc::clone(&control);
    let stopped = Arc::new(Mutex::new(None));
    let at = Arc::clone(&stopped);
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        while seen.load(Ordering::Relaxed) < 20 {
            std::thread::sleep(Duration::from_millis(5));
        }
        *at.lock().unwrap() = Some(std::time::Instant::now());
        stop.stop();
    });
    // It never answers: everything that was sent is in flight.
    let (outcome, _) = against(scenario(CHAT), Options::default(), &control, None, move |_, stream| {
        asked.fetch_add(1, Ordering::Relaxed);
        async {
            std::future::pending::<()>().await;
            Some(stream)
        }
    });
    // Nothing that it waits for would ever end; how fast it is, a busy machine cannot tell.
    let took = stopped.lock().unwrap().unwrap().elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let counts = outcome.live.counts;
    assert!(counts.is_conserved() && counts.cancelled > 10 && counts.unsent > 10, "{counts:?}");
    assert!(outcome.interrupted && outcome.measured[0].cut);
    assert_eq!(outcome.measured[0].arrival_hash, None);
}

#[test]
fn a_server_that_dies_in_mid_run_loses_no_count() {
    let (outcome, _) =
        against(scenario(CHAT), Options::default(), &Control::default(), None, |asked, stream| async move {
            if asked.number >= 100 {
                // Every connection is dropped from here on.
                return None;
            }
            write(stream, &stream_of(4)).await
        });
    let counts = outcome.live.counts;
    assert!(counts.is_conserved() && counts.succeeded == 100 && counts.failed > 100, "{counts:?}");
    let failures: u64 = outcome.live.workloads[0].failures.iter().map(|(_, count)| count).sum();
    assert_eq!(failures, counts.failed);
}

#[test]
fn a_cap_lets_as_much_through_and_makes_the_run_invalid() {
    let caps = Caps { requests: Some(50), ..Caps::default() };
    let (outcome, served) = against(
        scenario(CHAT),
        Options { caps, ..Options::default() },
        &Control::default(),
        None,
        |_, stream| async { write(stream, &stream_of(4)).await },
    );
    assert_eq!(served, 50);
    assert!(outcome.live.counts.is_conserved());
    assert_eq!(outcome.live.validity, Validity::Invalid);
    assert!(outcome.live.reasons[0].contains("--max-requests"), "{:?}", outcome.live.reasons);
}

#[test]
fn an_unknown_key_ends_the_run_and_no_key_is_told() {
    let (outcome, served) =
        against(scenario(CHAT), Options::default(), &Control::default(), None, |asked, stream| async move {
            let key = asked.header("authorization").unwrap_or_default();
            let body = format!(r#"{{"error":{{"message":"bad key {key}","code":"{key}"}}}}"#);
            write(stream, &whole("401 Unauthorized", "", &body)).await
        });
    assert!(served < 50, "{served}");
    assert_eq!(outcome.live.validity, Validity::Invalid);
    assert_eq!(outcome.live.reasons, ["the target does not know the key (status 401)"]);
    assert!(outcome.live.counts.is_conserved());
}

#[test]
fn a_population_waits_for_its_answers() {
    let closed = r#"
        [workloads.chat]
        tier = "t"
        arrivals = { kind = "population", users = 5 }
        prompt = 10
        output = 4
        sessions = { turns = 3, think = "100ms" }
    "#;
    let busy = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (inside, peak) = (Arc::clone(&busy), Arc::clone(&most));
    let mut seen = Everything::default();
    let (outcome, served) = against(
        scenario(closed),
        Options::default(),
        &Control::default(),
        Some(&mut seen),
        move |_, stream| {
            let (inside, peak) = (Arc::clone(&inside), Arc::clone(&peak));
            async move {
                peak.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                inside.fetch_sub(1, Ordering::Relaxed);
                write(stream, &stream_of(4)).await
            }
        },
    );
    assert!(most.load(Ordering::Relaxed) <= 5);
    // Every 120 ms a user sends a request.
    assert!((60..=90).contains(&served), "{served}");
    assert_eq!(outcome.live.counts.scheduled, served);
    assert_eq!(outcome.live.lag.samples, 0);
    assert!(seen.0.iter().any(|done| done.head.turn == 2));
    // It has no lag to be judged by, however slow the machine is.
    assert_eq!(outcome.live.validity, Validity::Valid);
}

#[test]
fn a_retry_waits_for_what_is_announced_and_attempts_are_told_apart() {
    let retrying = r#"
        [workloads.chat]
        tier = "t"
        arrivals = { kind = "poisson", rate = "50/s" }
        prompt = 10
        output = 4
        retry = { most = 3, base = "10ms", jitter = "none" }
    "#;
    let mut seen = Everything::default();
    let (outcome, served) = against(
        scenario(retrying),
        Options::default(),
        &Control::default(),
        Some(&mut seen),
        |asked, stream| async move {
            let index: u64 = asked.header("x-tidegate-index").unwrap().parse().unwrap();
            // The first attempt of every fourth request is refused: its body says which attempt it is by nothing, so by time.
            let answer = if index.is_multiple_of(4) && asked.number.is_multiple_of(2) {
                whole("429 Too Many Requests", "retry-after-ms: 150\r\n", "{}")
            } else {
                stream_of(4)
            };
            write(stream, &answer).await
        },
    );
    let counts = outcome.live.counts;
    assert!(counts.is_conserved());
    assert_eq!(outcome.live.workloads[0].attempts, served);
    assert!(served > counts.scheduled, "{served} {counts:?}");
    assert_eq!(seen.1.len() as u64, counts.scheduled);
    assert_eq!(seen.1.iter().map(|settled| u64::from(settled.attempts)).sum::<u64>(), served);
    for settled in seen.1.iter().filter(|settled| settled.attempts == 2) {
        assert!(settled.e2e().as_nanos() >= 150_000_000, "{settled:?}");
    }
}

#[test]
fn a_client_without_patience_hangs_up_and_its_next_turn_follows() {
    let impatient = r#"
        [workloads.chat]
        tier = "t"
        arrivals = { kind = "poisson", rate = "30/s" }
        prompt = 10
        output = 4
        patience = "200ms"
    "#;
    let mut seen = Everything::default();
    // It begins to answer, then says nothing more.
    let (outcome, served) = against(
        scenario(impatient),
        Options::default(),
        &Control::default(),
        Some(&mut seen),
        |_, stream| async {
            let text = format!("{STREAM}{}", chunk(&token(" a")));
            let stream = write(stream, &text).await;
            std::future::pending::<()>().await;
            stream
        },
    );
    let counts = outcome.live.counts;
    assert_eq!((counts.failed, counts.scheduled), (served, served));
    assert_eq!(outcome.measured[0].totals.of(Finish::TimedOut), served);
    for done in &seen.0 {
        let took = done.e2e().as_nanos();
        assert!((200_000_000..1_000_000_000).contains(&took), "{took}");
        assert_eq!(done.generated, 1);
    }
    assert_eq!(outcome.live.workloads[0].wasted_tokens, served);
}

#[test]
fn silence_ends_an_attempt_of_a_patient_client() {
    let options = Options { silence: Duration::from_millis(300), ..Options::default() };
    let (outcome, served) = against(scenario(CHAT), options, &Control::default(), None, |_, stream| async {
        std::future::pending::<()>().await;
        Some(stream)
    });
    let counts = outcome.live.counts;
    assert_eq!((counts.failed, counts.scheduled), (served, served));
    assert_eq!(outcome.live.workloads[0].failures, [("silent for too long".to_owned(), served)]);
}

#[test]
fn a_hedge_wins_and_the_slower_attempt_is_given_up() {
    let hedging = r#"
        [workloads.chat]
        tier = "t"
        arrivals = { kind = "poisson", rate = "30/s" }
        prompt = 10
        output = 4
        hedge = { after = "100ms" }
    "#;
    let asked = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let mut seen = Everything::default();
    let (outcome, served) = against(
        scenario(hedging),
        Options::default(),
        &Control::default(),
        Some(&mut seen),
        move |request, stream| {
            let first = asked.lock().unwrap().insert(request.header("x-tidegate-index").unwrap().to_owned());
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                write(stream, &stream_of(4)).await
            }
        },
    );
    let counts = outcome.live.counts;
    assert_eq!((counts.succeeded, counts.scheduled * 2), (counts.scheduled, served));
    for settled in &seen.1 {
        assert_eq!((settled.attempts, settled.hedges), (2, 1));
        assert!(settled.e2e().as_nanos() >= 100_000_000);
    }
    assert_eq!(outcome.measured[0].totals.of(Finish::Cancelled), counts.scheduled);
}

#[test]
fn a_key_is_in_no_result_whatever_the_server_says() {
    const CANARY: &str = "sk-canary-51c0";
    let folder = std::env::temp_dir().join(format!("tidegate-canary-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key_file = folder.join("key");
    std::fs::write(&key_file, CANARY).unwrap();
    let options = Options { key_file: Some(key_file.clone()), ..Options::default() };
    let scenario = scenario(CHAT);
    // It puts the key wherever a server can.
    let (outcome, _) =
        against(scenario.clone(), options, &Control::default(), None, |asked, stream| async move {
            let key = asked.header("authorization").unwrap_or_default().replace("Bearer ", "");
            assert_eq!(key, CANARY);
            let body = format!(r#"{{"error":{{"message":"{key}","code":"{key}","type":"{key}"}}}}"#);
            let headers = format!(
                "x-tidegate-reason: {key}\r\nretry-after: {key}\r\nx-ratelimit-remaining-{key}: 1\r\n"
            );
            let answer = match asked.number % 3 {
                0 => whole("429 Too Many Requests", &headers, &body),
                1 => whole(
                    "500 Internal Server Error",
                    &headers.replace("x-tidegate-reason", "x-other"),
                    &body,
                ),
                _ => format!("{STREAM}{}0\r\n\r\n", chunk(&format!("data: {body}\n\n"))),
            };
            write(stream, &answer).await
        });
    assert!(outcome.live.counts.refused > 10 && outcome.live.counts.failed > 10);
    assert!(!format!("{outcome:?}").contains(CANARY));
    let mut summary = {
        let experiment = gather(&scenario, &[], outcome.measured).unwrap();
        let summary = experiment.summary(&scenario);
        ResultSet::new(summary, &experiment.recording)
    };
    summary.summary.live = Some(outcome.live);
    let results = folder.join("results");
    for file in summary.write(&Layout::new(results), false).unwrap() {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{} has the key", file.display());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
