//! Fleets by hand: small scenarios in which nothing is random, so that every instant can be computed on paper.

use crate::fleet::{Case, Story, tell};
use crate::support::sources;
use tidegate_sim::engine::{Mode, Totals};
use tidegate_sim::request::{Finished, Outcome};
use tidegate_sim::scenario::{Overrides, load_str};
use tidegate_sim::time::Time;

impl Story {
    fn completed(&self) -> Vec<&Finished> {
        self.all.finished.iter().filter(|done| done.outcome == Outcome::Completed).collect()
    }
    /// `(ready, starting)` of a pool at an instant.
    fn replicas(&self, pool: u16, at_s: f64) -> (u16, u16) {
        let upto = self.scaled.iter().rev().find(|(at, of, _)| *of == pool && seconds(*at) <= at_s);
        upto.map(|(.., change)| (change.ready, change.starting)).expect("told at the start")
    }
}

fn seconds(at: Time) -> f64 {
    at.as_nanos() as f64 / 1e9
}

fn near(found: Time, expected_s: f64) {
    assert!((seconds(found) - expected_s).abs() < 1e-6, "{} s, expected {expected_s} s", seconds(found));
}

/// Runs `body` for `horizon`; workloads of tier `t` unless they say otherwise.
fn run(horizon: &str, body: &str) -> (Totals, Story) {
    let text = format!(
        "[scenario]\nquestion = \"by hand\"\nhorizon = \"{horizon}\"\nreplications = 1\n\n{body}\n\
         [[properties]]\nname = \"x\"\nmetric = \"completed\"\nat_least = \"1%\"\n"
    );
    let scenario =
        load_str("by-hand", &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"));
    // Nothing follows an answer in these scenarios: what is sent can be written out.
    let arrivals =
        sources(&scenario).into_iter().map(|mut source| std::iter::from_fn(|| source.next()).collect());
    let case = Case { arrivals: arrivals.collect(), scenario };
    let (totals, story) = tell(&case, Mode::Fast);
    let plain = tell(&case, Mode::Naive);
    assert_eq!((&totals, &story), (&plain.0, &plain.1), "the plain engine");
    (totals, story)
}

/// One request at 20 s and no other, in `name` of a tier of that name.
fn once(name: &str, at: u32) -> String {
    let to = at + 1;
    format!(
        "[tiers.{name}]\npools = [\"{name}\"]\n[workloads.{name}]\ntier = \"{name}\"\nprompt = 1\noutput = 1\n\
         arrivals = {{ kind = \"piecewise\", pieces = [{{ from = \"0s\", rate = \"0/s\" }}, \
         {{ from = \"{at}s\", rate = \"3/s\" }}, {{ from = \"{to}s\", rate = \"0/s\" }}] }}\n"
    )
}

#[test]
fn a_failed_stream_resumes_through_the_pool_that_processes_prompts() {
    // The first request arrives at 2 s: prompt 10 ms + 1,000 x 10 us = 20 ms, KV cache 1 MB over 1 MB/s = 1 s and 100 ms,
    // so it decodes from 3.12 s on. At 3.15 s the pool that decodes it fails for a second.
    let (totals, story) = run(
        "3.5s",
        r#"
[models.l]
architecture = "llama-3.1-8b"
context = "8k"
[links.k]
bandwidth = "1MB/s"
latency = "100ms"
[pools.prompts]
model = "l"
gpu = "h100-sxm"
step_time = { kind = "linear", base = "10ms", per_prefill_token = "10us" }
[pools.answers]
model = "l"
gpu = "h100-sxm"
step_time = { kind = "linear", base = "10ms" }
on_failure = "resume"
prefill = { pool = "prompts", link = "k", kv_bytes_per_token = "1kB" }
[tiers.t]
pools = ["answers"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "0.5/s" }
prompt = 1000
output = 11
[[faults]]
at = "3.150s"
lasts = "1s"
pool = "answers"
"#,
    );
    assert_eq!(totals.of(Outcome::Completed), 1, "{totals:?}");
    let first = story.completed()[0];
    near(first.first_token.unwrap(), 2.020);
    // Three more tokens had come (steps end at 3.130, 3.140 and, before anything fails, 3.150). Prompt and four tokens
    // again: 20.04 ms from 3.150 s, for the fifth token; 1,004 tokens of cache 1.004 s, latency, and 6 steps of 10 ms. The
    // pool is back before that.
    near(first.ended, 3.150 + 0.02004 + 1.004 + 0.1 + 0.06);
    assert_eq!(first.generated, 11);
}

#[test]
fn an_autoscaler_keeps_the_replica_that_works_while_another_is_down() {
    let (_, story) = run(
        "10min",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "100ms"
replicas = { min = 1, max = 2, initial = 2 }
scaling = { aim = "concurrency", target = 4, interval = "10s", down_window = "30s" }
cold_start = { provision = "40s" }
on_failure = "retry"
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "2/s" }
prompt = 1
output = 1
[[faults]]
at = "5s"
lasts = "20min"
replica = { pool = "p", index = 1 }
"#,
    );
    let slowest = story.completed().iter().map(|done| done.e2e()).max().unwrap();
    assert!(slowest.as_secs_f64() < 0.201, "{slowest}: the other replica answers all along");
    assert_eq!(story.replicas(0, 500.0), (1, 0));
}

const ONE_GPU: &str = r#"
[models.m]
[nodes.n]
gpu = "l4"
count = 1
gpus = 1
"#;

fn at_zero(name: &str, service: &str, initial: u32) -> String {
    format!(
        "[pools.{name}]\nengine = \"slots\"\nmodel = \"m\"\nservers = 9\nservice = \"{service}\"\nnodes = [\"n\"]\n\
         replicas = {{ min = 0, max = 1, initial = {initial} }}\ncold_start = {{ provision = \"10s\" }}\n\
         scaling = {{ aim = \"concurrency\", target = 9, interval = \"5s\", down_window = \"1h\" }}\n"
    )
}

#[test]
fn a_request_at_zero_gets_the_gpu_of_another_model_as_soon_as_that_is_idle() {
    // The request to `b` at 5 s and some takes 25 s; `a` is asked from 20 s on, while the only GPU is busy.
    let pools = [at_zero("a", "1s", 0), at_zero("b", "25s", 1)].concat();
    let (_, story) = run("60s", &[ONE_GPU, &pools, &once("a", 20), &once("b", 5)].concat());
    let end = |workload| {
        story.completed().iter().filter(|done| done.head.workload == workload).map(|d| d.ended).max()
    };
    let idle = seconds(end(1).expect("`b` is served"));
    let first =
        story.completed().iter().filter(|done| done.head.workload == 0).map(|d| d.ended).min().unwrap();
    near(first, idle + 10.0 + 1.0);
}

#[test]
fn gpus_are_not_taken_from_another_model_when_they_are_not_enough() {
    let (_, story) = run(
        "2min",
        &[
            r#"
[models.m]
architecture = "llama-3.1-8b"
context = "8k"
[nodes.n]
gpu = "h100-sxm"
count = 1
gpus = 2
[pools.a]
model = "m"
tensor_parallel = 2
nodes = ["n"]
replicas = { min = 0, max = 1, initial = 0 }
scaling = { aim = "concurrency", target = 9, interval = "1h" }
cold_start = { provision = "1s" }
step_time = { kind = "linear", base = "10ms" }
[pools.b]
model = "m"
nodes = ["n"]
replicas = { min = 1, max = 2, initial = 2 }
scaling = { aim = "concurrency", target = 9, interval = "1h" }
cold_start = { provision = "1s" }
step_time = { kind = "linear", base = "10ms" }
"#,
            &once("a", 20),
            &once("b", 5),
        ]
        .concat(),
    );
    // `b` must keep one of two replicas, and `a` needs both GPUs.
    assert_eq!(story.replicas(1, 100.0), (2, 0));
}

#[test]
fn replicas_that_become_ready_together_share_what_waits() {
    let (_, story) = run(
        "80s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "1s"
replicas = { min = 0, max = 8, initial = 8 }
route = "least-outstanding"
scaling = { aim = "concurrency", target = 1, interval = "10s", down_window = "10min" }
cold_start = { provision = "30s" }
on_failure = "retry"
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "4/s" }
prompt = 1
output = 1
[[faults]]
at = "20s"
lasts = "10s"
pool = "p"
"#,
    );
    // From 20 s to 60 s 161 requests come for eight replicas, and four a second after that: eight a second are served.
    let slowest = story.completed().iter().map(|done| done.e2e().as_secs_f64()).fold(0.0, f64::max);
    assert!(slowest < 45.0, "{slowest} s");
}

#[test]
fn a_client_that_does_not_hang_up_leaves_a_request_that_still_expires() {
    let (totals, _) = run(
        "60s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "100s"
outstanding = 1
queue = { most = 100, wait = "5s" }
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "1/s" }
prompt = 1
output = 1
patience = "2s"
hang_up = false
"#,
    );
    // One is in service, for nobody after two seconds; the others are given up after two and leave the queue after five.
    near(totals.ended, 101.0);
    assert_eq!(totals.settled[Outcome::TimedOut as usize], 59);
}

#[test]
fn a_client_that_gives_up_tries_again_by_its_own_clock() {
    // Sent at 10 s, patience 1 s from 10.1 s on the gateway's clock: given up at 11 s on the client's. The pause is 100 ms
    // and the way 100 ms, so the retry is there at 11.2 s.
    let (_, story) = run(
        "15s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 9
service = "10s"
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "0.1/s" }
prompt = 1
output = 1
network = "200ms"
patience = "1s"
retry = { most = 1, base = "100ms", jitter = "none" }
"#,
    );
    near(story.all.finished[1].arrived, 11.2);
    assert_eq!(story.settled[0].attempts, 2);
}

#[test]
fn requests_are_tried_again_until_the_pauses_run_out() {
    // Refused at once every time: pauses of 1, 2 and 4 s, the last cut to 3 s.
    let (totals, story) = run(
        "11s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "100s"
outstanding = 1
queue = { most = 0 }
[tiers.t]
pools = ["p"]
[workloads.first]
tier = "t"
arrivals = { kind = "constant", rate = "0.1/s" }
prompt = 1
output = 1
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "0.0999/s" }
prompt = 1
output = 1
retry = { most = 3, base = "1s", factor = 2.0, cap = "3s", jitter = "none" }
"#,
    );
    let settled = &story.settled[0];
    assert_eq!((settled.outcome, settled.attempts), (Outcome::Refused, 4));
    assert_eq!(settled.e2e().as_nanos(), 6_000_000_000);
    assert_eq!(totals.settled[Outcome::Refused as usize], 1);
}

#[test]
fn a_hedge_wins_and_the_straggler_is_cancelled() {
    // Round robin: the first request meets the slow replica and would take 10 s; its hedge, sent after 1 s, takes 2 s.
    let (totals, story) = run(
        "15s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
replicas = 2
service = "2s"
route = "round-robin"
[[faults]]
at = "0s"
replica = { pool = "p", index = 0 }
slow = 5.0
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "0.1/s" }
prompt = 1
output = 1
hedge = { after = "1s", most = 1 }
"#,
    );
    let settled = &story.settled[0];
    assert_eq!((settled.e2e().as_nanos(), settled.attempts, settled.hedges), (3_000_000_000, 2, 1));
    assert_eq!((totals.of(Outcome::Completed), totals.of(Outcome::Cancelled)), (1, 1));
}

#[test]
fn nothing_is_lost_and_time_stops_when_a_pool_never_comes_back() {
    let (totals, _) = run(
        "60s",
        r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 1
service = "1s"
on_failure = "retry"
[tiers.t]
pools = ["p"]
[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "0.5/s" }
prompt = 1
output = 1
[[faults]]
at = "30.5s"
pool = "p"
"#,
    );
    // At 2, 4, ..., 30 s, the last of them under way when its replica fails; the rest waits when the run is given up.
    assert_eq!(totals.of(Outcome::Completed), 14);
    assert_eq!(totals.of(Outcome::Queued), 15);
    assert!(seconds(totals.ended) < 120.0, "{}", totals.ended);
}
