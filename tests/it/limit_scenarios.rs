//! The scenarios of limits: every exact claim holds, and what a file cannot claim is claimed here.

use crate::bad_input::scenarios as files_of;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tidegate_sim::control::{ControlPlane, Effect};
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::experiment::replicate::Control;
use tidegate_sim::experiment::{self, RunOptions};
use tidegate_sim::forecast::forecast;
use tidegate_sim::gateway::admission;
use tidegate_sim::observe::Observer;
use tidegate_sim::profile::answer::respond;
use tidegate_sim::profile::{Mechanism, Provenance, Standing};
use tidegate_sim::request::{Refusal, RequestHead};
use tidegate_sim::results::Verdict;
use tidegate_sim::scenario::policy::reason_of;
use tidegate_sim::scenario::{self, Overrides, Scenario, profile};
use tidegate_sim::time::{NANOS_PER_SEC, Span, Time};
use tidegate_sim::workload::Source;

fn files() -> Vec<PathBuf> {
    files_of("scenarios/limits")
}

fn load(name: &str, set: &[&str]) -> Scenario {
    let set = set.iter().map(|&one| one.to_owned()).collect();
    let path = format!("scenarios/limits/{name}.toml");
    let overrides = Overrides { set, ..Overrides::default() };
    scenario::load(Path::new(&path), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn every_claim_of_every_scenario_of_limits_holds() {
    let mut claims = 0;
    for path in files() {
        let found = scenario::load(&path, &Overrides::default());
        let scenario = found.unwrap_or_else(|found| panic!("{found}"));
        let options = RunOptions { threads: 1, mode: Mode::Fast, control: &Control::default() };
        let experiment = experiment::run(&scenario, options, None).unwrap();
        assert!(!experiment.expectations.is_empty(), "{}: claims nothing", path.display());
        for row in &experiment.expectations {
            assert_eq!(row.verdict, Verdict::Holds, "{}: {row:?}", path.display());
        }
        assert_eq!(experiment.verdict(), Verdict::Holds, "{}", path.display());
        claims += experiment.expectations.len();
    }
    assert!(claims > 300, "{claims} claims were checked");
}

#[test]
fn every_scenario_that_a_row_names_is_there_or_waits_with_its_row() {
    let shipped: Vec<String> =
        files().iter().map(|path| path.file_stem().unwrap().to_string_lossy()[..3].to_uppercase()).collect();
    for id in profile::built_in() {
        for row in profile::load(id).unwrap().profile.rows {
            // Held by tests of their own: `batch_scenarios.rs`, `batch_facts.rs`, and the golden tables of profiles.
            let elsewhere = ["E22", "E23", "E29"];
            let there = |test: &String| shipped.contains(test) || elsewhere.contains(&test.as_str());
            let honoured = row.standing == Standing::Pending || row.tests.iter().any(there);
            assert!(honoured, "{}: none of {:?} is there", row.id, row.tests);
        }
    }
}

/// When requests were let in, by account.
#[derive(Default)]
struct LetIn(Vec<Time>);

impl Observer for LetIn {
    fn admitted(&mut self, now: Time, _head: &RequestHead) {
        self.0.push(now);
    }
}

#[test]
fn no_second_wherever_it_begins_lets_in_more_than_200() {
    let scenario = load("e03-workspace-200", &[]);
    let feeds = (0..scenario.workloads.len()).map(|w| Source::open(&scenario, w as u16, 1).unwrap());
    let mut seen = LetIn::default();
    simulate(&scenario, feeds.collect(), 1, Mode::Fast, &mut seen, |_, _| ControlFlow::Continue(()));
    assert_eq!(seen.0.len(), 12_000);
    let mut window = VecDeque::new();
    let mut most = 0;
    for at in seen.0 {
        window.push_back(at);
        while at - window[0] >= Span::from_secs(1) {
            window.pop_front();
        }
        most = most.max(window.len());
    }
    assert_eq!(most, 200);
}

#[test]
fn concurrency_of_1024_binds_before_300_000_a_second_from_3_414_ms_on() {
    let first = |service: &str| {
        let scenario = load("e05-concurrency-bound", &[&format!("pools.ranker.service={service:?}")]);
        let forecast = forecast(&scenario);
        scenario.policy.limits[forecast.binds_first().unwrap().limit].name.clone()
    };
    assert_eq!(first("3.413ms"), "dbx-qps-endpoint-route-optimized");
    assert_eq!(first("3.414ms"), "dbx-provisioned-concurrency");
}

#[test]
fn the_forecast_advises_provisioned_throughput_above_1200_an_hour_and_not_at_it() {
    let exceeded = |rate: &str| {
        let scenario = load("e02-llama-two-windows", &[&format!("workloads.slow.arrivals.rate={rate:?}")]);
        let slow = scenario.workloads.iter().position(|workload| workload.name == "slow").unwrap();
        let found = forecast(&scenario);
        let exceeded = found.met.iter().filter(|met| met.workloads.contains(&slow) && met.share() > 1.0);
        exceeded.filter(|met| scenario.policy.limits[met.limit].advice.is_some()).count()
    };
    assert_eq!(exceeded("1199/h"), 0);
    assert_eq!(exceeded("1201/h"), 1);
}

#[test]
fn a_configuration_that_a_limit_refuses_starts_no_run() {
    let text = |variables: u32| {
        format!(
            "[scenario]\nquestion = \"Does it start?\"\nhorizon = \"1s\"\nreplications = 1\n\
             profile = \"databricks-model-serving\"\n[models.m]\n[endpoints.x]\nkind = \"custom\"\n\
             serves = [{{ model = \"m\", env_vars = {variables} }}]\n\
             [[operations]]\ndo = \"list-endpoints\"\nat = \"0s\"\n"
        )
    };
    for (variables, starts) in [(0, true), (29, true), (30, true), (31, false)] {
        let found = scenario::load_str("x.toml", &text(variables), &Overrides::default());
        assert_eq!(found.is_ok(), starts, "{variables} variables");
        if let Err(errors) = found {
            let said = errors.to_string();
            assert!(said.contains("dbx-env-vars") && said.contains("account team"), "{said}");
        }
    }
}

#[test]
fn a_patch_reaches_the_image_of_a_new_version_and_never_an_old_one() {
    for name in ["e14-images", "e14-images-preview"] {
        let scenario = load(name, &[]);
        let mut meters = admission::meters(&scenario.policy.limits);
        let mut control = ControlPlane::new(&scenario, &mut meters);
        let old = control.image(0).unwrap();
        let mut calls: Vec<usize> = (0..scenario.policy.operations.len()).collect();
        calls.sort_by_key(|&index| scenario.policy.operations[index].first);
        let mut pending = Vec::new();
        for index in calls {
            let now = scenario.policy.operations[index].first;
            pending.extend(control.perform(now, index, 0, &mut meters).unwrap());
            assert_eq!(control.image(0), Some(old), "{name}: until the new version is ready");
        }
        for effect in pending {
            if let Effect::ReadyAt { endpoint, at, epoch } = effect {
                assert_eq!(at, Time::ZERO + Span::from_secs(260), "{name}");
                control.ready(at, endpoint, epoch, &mut meters);
            }
        }
        assert_ne!(control.image(0), Some(old), "{name}: a new version, built after the patch");
    }
}

#[test]
fn a_refusal_is_answered_in_the_vendors_words_and_announces_what_the_vendor_announces() {
    let loaded = profile::load("digitalocean-inference").unwrap();
    let find = |window: Span| {
        let rates = loaded
            .limits
            .iter()
            .map(|one| &one.limit)
            .filter(|limit| limit.row == "do-mcp-standard-api-rate");
        rates
            .filter(
                |limit| matches!(limit.mechanism, Mechanism::Rate { window: found, .. } if found == window),
            )
            .find(|limit| limit.on.contains(&tidegate_sim::profile::Verb::CallMcp))
            .unwrap()
    };
    let wait = Span::from_nanos(9 * NANOS_PER_SEC + 1);
    let refusal = Refusal { retry_after: Some(wait), ..Refusal::plain(reason_of(0)) };
    let minute = respond(find(Span::from_secs(60)), &refusal, &loaded.profile.envelope, "token");
    assert_eq!(minute.status, 429);
    let body: serde_json::Value = serde_json::from_str(&minute.body).unwrap();
    assert_eq!(body["id"], "too_many_requests");
    assert_eq!(body["message"], "API Rate limit exceeded.");
    assert!(minute.headers.iter().any(|(name, value)| *name == "retry-after" && value == "10"));
    let hour = respond(find(Span::from_secs(3600)), &refusal, &loaded.profile.envelope, "token");
    assert!(hour.headers.iter().all(|(name, _)| *name != "retry-after"));
}

#[test]
fn every_refusal_at_a_limit_that_databricks_raises_names_whom_to_ask() {
    for one in profile::load("databricks-model-serving").unwrap().limits {
        let counts = one.limit.mechanism.is_metered();
        if counts && one.raisable && one.overlay.is_none() {
            let message = &one.limit.answer.message;
            assert!(
                message.contains("account team") || message.contains("quota"),
                "{}: {message}",
                one.limit.name
            );
        }
    }
}

/// What the documents state in numbers, profile by profile: limit, value, whose value it is.
const STATED: [(&str, &[(&str, &str)]); 3] = [
    (
        "digitalocean-inference",
        &[
            ("do-serverless-model-versions", "at most 3"),
            ("do-eval-rows", "below 1,000"),
            ("do-eval-size", "below 1 GB"),
        ],
    ),
    (
        "databricks-model-serving",
        &[
            ("dbx-payload-custom", "at most 16 MB"),
            ("dbx-payload-agent", "at most 4 MB"),
            ("dbx-qps-endpoint-route-optimized", "300,000/s"),
            ("dbx-qps-workspace-route-optimized", "300,000/s"),
            ("dbx-qps-workspace-standard", "200/s"),
            ("dbx-pc-per-model", "at most 1,024"),
            ("dbx-pc-per-workspace", "at most 4,096 of provisioned concurrency"),
            ("dbx-endpoints-per-workspace", "at most 1,000 endpoints"),
            ("dbx-create-update-rate", "50/5min"),
            ("dbx-exec-duration", "at most 297 s"),
            ("dbx-cpu-memory", "at most 4 GB"),
            ("dbx-env-vars", "at most 30"),
            ("dbx-overhead-latency-ro", "below 20 ms"),
        ],
    ),
    (
        "databricks-gcp-preview",
        &[
            ("gcp-payload", "at most 16 MB"),
            ("gcp-payload-external", "at most 4 MB"),
            ("gcp-qps-workspace", "200/s"),
            ("gcp-pc-per-workspace", "at most 200 of provisioned concurrency"),
            ("gcp-exec-duration", "at most 120 s"),
            ("gcp-cpu-memory", "at most 4 GB"),
            ("gcp-overhead-latency", "below 50 ms"),
            ("gcp-ppt-llama33-qps", "2/s"),
            ("gcp-ppt-llama33-qph", "1,200/h"),
            ("gcp-pt-rate", "200/s"),
        ],
    ),
];

#[test]
fn the_three_profiles_hold_what_their_documents_state_and_mark_everything_else() {
    for (id, stated) in STATED {
        let loaded = profile::load(id).unwrap();
        let stated: BTreeMap<&str, &str> = stated.iter().copied().collect();
        let rows: Vec<&str> = loaded.profile.rows.iter().map(|row| row.id.as_str()).collect();
        let mut found = 0;
        for one in &loaded.limits {
            let limit = &one.limit;
            assert!(rows.contains(&limit.row.as_str()), "{}: the row `{}`", limit.name, limit.row);
            if let Some(value) = stated.get(limit.name.as_str()) {
                assert_eq!(limit.value_text(), *value, "{}", limit.name);
                assert_eq!(limit.provenance, Provenance::Documented, "{}", limit.name);
                assert_eq!(one.overlay, None, "{}: stated, so in force by itself", limit.name);
                found += 1;
            }
            if limit.provenance == Provenance::Public {
                assert!(one.overlay.is_some(), "{}: another document's value is off by itself", limit.name);
            }
        }
        assert_eq!(found, stated.len(), "{id}");
        assert!(!loaded.profile.as_of.is_empty());
    }
}
