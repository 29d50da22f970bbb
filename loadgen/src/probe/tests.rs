//! Plans, and measurements against a gateway that enforces limits by the model's own meters.

use super::testing::{Manner, scenario, serve};
use super::{Basis, Budget, Decision, Finding, Keys, Plan, Report, Target, Verdict, run};
use crate::emulator::driver;
use crate::emulator::server::{Server, Settings};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tidegate_sim::time::Span;

fn budget() -> Budget {
    Budget {
        requests: 2_000,
        time: Span::from_secs(60),
        cost: 1.0,
        loopback: true,
        control: false,
        only: Vec::new(),
    }
}

async fn probe(documented: &str, address: &str, budget: Budget) -> Report {
    let scenario = scenario(documented);
    let basis = Basis::of_scenario(&scenario);
    let plan = Plan::new(&basis, &budget);
    let control = budget.control.then(|| format!("{address}/control"));
    let keys = Keys::by_name();
    let target = Target::new(address, control.as_deref(), keys).unwrap();
    run::run(&basis, &plan, target, 20_000, &AtomicBool::new(false), |_| {}).await.unwrap()
}

/// A scenario of Databricks with an endpoint of this kind, and these lines more.
fn databricks(kind: &str, more: &str) -> String {
    format!(
        "[scenario]\nquestion = \"?\"\nhorizon = \"1min\"\nreplications = 1\nprofile = \"databricks-model-serving\"\n{more}\n\
         [models.m]\nkind = \"chat\"\ncontext = 4000\n\
         [pools.m]\nmodel = \"m\"\nreplicas = 1\n\
         step_time = {{ kind = \"linear\", base = \"1ms\", per_decode = \"1us\" }}\n\
         batching = {{ tokens = 8192, sequences = 512 }}\nkv = {{ blocks = 65536 }}\n\
         [endpoints.m]\nkind = \"{kind}\"\nroute_optimized = false\nserves = [{{ pool = \"m\" }}]\n\
         [workloads.m]\nendpoint = \"m\"\narrivals = {{ kind = \"constant\", rate = \"1/s\" }}\n\
         prompt = 10\noutput = 3000\nrequest = {{ body = \"1kB\" }}\n"
    )
}

fn found<'a>(report: &'a Report, name: &str) -> &'a Finding {
    let mut all = report.findings.iter();
    all.find(|finding| finding.name == name).unwrap_or_else(|| panic!("no finding of `{name}`"))
}

#[track_caller]
fn equal(report: &Report, name: &str, measured: &str) {
    let finding = found(report, name);
    assert_eq!((finding.verdict, finding.measured.as_str()), (Verdict::Equal, measured), "{finding:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_of_200_a_second_is_measured_exactly() {
    let text = databricks("custom", "");
    let address = serve(&text, Manner::default()).await;
    let report = probe(&text, &address, budget()).await;
    equal(&report, "dbx-qps-workspace-standard", "200");
    equal(&report, "dbx-payload-custom", "16000000");
    equal(&report, "dbx-payload-not-empty", "1");
    equal(&report, "context of m", "3999");
    assert_eq!(found(&report, "dbx-authentication").verdict, Verdict::Equal);
    assert_eq!(found(&report, "dbx-permission").verdict, Verdict::NotProbeable);
    assert_eq!(found(&report, "dbx-create-update-rate").verdict, Verdict::NotProbeable);
    assert_eq!(report.exit_code(), 0, "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_limit_than_the_documented_one_is_found_out_and_measured() {
    let lower = "[limits.dbx-qps-workspace-standard]\nvalue = \"190/s\"\nsource = \"negotiated\"\n";
    // Agents may send 4 MB where custom models may send 16 MB.
    let address = serve(&databricks("agent", lower), Manner { attributes: false, ..Manner::default() }).await;
    let report = probe(&databricks("custom", ""), &address, budget()).await;
    for (name, measured) in [("dbx-qps-workspace-standard", "190"), ("dbx-payload-custom", "4000000")] {
        let finding = found(&report, name);
        assert_eq!(
            (finding.verdict, finding.measured.as_str()),
            (Verdict::Differs, measured),
            "{finding:#?}"
        );
    }
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_lets_in_more_is_found_out_too() {
    let real = databricks(
        "custom",
        "[limits.dbx-qps-workspace-standard]\nvalue = \"250/s\"\nsource = \"negotiated\"\n",
    );
    let address = serve(&real, Manner::default()).await;
    let only = vec!["dbx-qps-workspace-standard".to_owned()];
    let report = probe(&databricks("custom", ""), &address, Budget { only, ..budget() }).await;
    let finding = found(&report, "dbx-qps-workspace-standard");
    assert_eq!((finding.verdict, finding.measured.as_str()), (Verdict::Differs, "250"), "{finding:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_known_by_what_the_profile_says_they_answer() {
    let text = databricks("custom", "");
    let address = serve(&text, Manner { attributes: false, ..Manner::default() }).await;
    let report = probe(&text, &address, budget()).await;
    equal(&report, "dbx-qps-workspace-standard", "200");
    equal(&report, "dbx-payload-custom", "16000000");
}

/// A scenario of the profile beside this file, whose endpoint is of this kind: that says which limit concerns it.
fn own(kind: &str) -> String {
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/src/probe/own.toml");
    databricks(kind, "").replace("databricks-model-serving", profile).replace("route_optimized = false\n", "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_bytes_are_measured_to_the_unit() {
    for (limit, measured) in
        [("bytes", "20000"), ("tokens", "10000"), ("prompts", "10000"), ("answers", "2000")]
    {
        let text = own(limit);
        let address = serve(&text, Manner::default()).await;
        let budget = Budget { only: vec![limit.to_owned()], ..budget() };
        let (canned, emulated) =
            tokio::join!(probe(&text, &address, budget.clone()), emulated(&text, budget));
        equal(&canned, limit, measured);
        equal(&emulated, limit, measured);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_counted_while_none_ends() {
    let text = databricks("custom", "")
        .replace("model-serving\"\n", "model-serving\"\noverlays = [\"public-parallel\"]\n")
        + "[limits.dbx-parallel-requests]\nmost = 24\nsource = \"account\"\n";
    let manner = Manner { token: Duration::from_millis(5), ..Manner::default() };
    let address = serve(&text, manner).await;
    let only = vec!["dbx-parallel-requests".to_owned()];
    let report = probe(&text, &address, Budget { only, ..budget() }).await;
    equal(&report, "dbx-parallel-requests", "24");
}

/// Two requests a second, and five an hour.
const PREVIEW: &str = "[scenario]\nquestion = \"?\"\nhorizon = \"1min\"\nreplications = 1\nprofile = \"databricks-gcp-preview\"\n\
         [limits.gcp-ppt-llama33-qph]\nvalue = \"5/h\"\nsource = \"negotiated\"\n\
         [models.llama-3-3-70b]\nkind = \"chat\"\ncontext = 4000\n\
         [pools.m]\nmodel = \"llama-3-3-70b\"\nreplicas = 1\n\
         step_time = { kind = \"linear\", base = \"1ms\", per_decode = \"1us\" }\n\
         batching = { tokens = 8192, sequences = 512 }\nkv = { blocks = 65536 }\n\
         [accounts.a]\nregion = \"us-east1\"\ncontrol_plane = \"us-east1\"\n\
         [endpoints.m]\naccount = \"a\"\nkind = \"foundation-pay-per-token\"\nserves = [{ pool = \"m\" }]\n\
         [workloads.m]\nendpoint = \"m\"\naccount = \"a\"\narrivals = { kind = \"constant\", rate = \"1/s\" }\n\
         prompt = 10\noutput = 3000\nrequest = { body = \"1kB\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_window_and_a_long_one_are_told_apart() {
    for attributes in [true, false] {
        let address = serve(PREVIEW, Manner { attributes, ..Manner::default() }).await;
        two_windows(&probe(PREVIEW, &address, both_windows()).await);
    }
}

fn both_windows() -> Budget {
    let only = ["gcp-ppt-llama33-qps", "gcp-ppt-llama33-qph"].map(str::to_owned).to_vec();
    Budget { only, time: Span::from_secs(600), ..budget() }
}

/// The hour is counted with what the probe of the second has used of it.
#[track_caller]
fn two_windows(report: &Report) {
    equal(report, "gcp-ppt-llama33-qps", "2");
    equal(report, "gcp-ppt-llama33-qph", "5");
    let hour = found(report, "gcp-ppt-llama33-qph");
    assert!(hour.notes.iter().any(|note| note.contains("requests of this run count")), "{hour:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_measured_full_and_refilling() {
    let text = own("bucket");
    let address = serve(&text, Manner::default()).await;
    let began = Instant::now();
    let budget = Budget { only: vec!["bucket".to_owned()], ..budget() };
    let report = probe(&text, &address, budget.clone()).await;
    equal(&report, "bucket", "30");
    assert!(began.elapsed() > Duration::from_secs(6), "a bucket is measured when it has had time to fill");
    equal(&emulated(&text, budget).await, "bucket", "30");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_requests_are_measured_at_their_edges() {
    let text = "[scenario]\nquestion = \"?\"\nhorizon = \"1min\"\nreplications = 1\n\
         profile = \"digitalocean-inference\"\noverlays = [\"public-api\"]\n\
         [models.gpt]\nkind = \"chat\"\nprovider = \"openai\"\nprovenance = \"commercial\"\n\
         [pools.m]\nengine = \"slots\"\nmodel = \"gpt\"\nservers = 400\nservice = \"1ms\"\n\
         [endpoints.m]\nkind = \"serverless\"\nserves = [{ pool = \"m\" }]\n\
         [workloads.chat]\nendpoint = \"m\"\narrivals = { kind = \"constant\", rate = \"1/s\" }\n";
    let address = serve(text, Manner::default()).await;
    let report = probe(text, &address, budget()).await;
    equal(&report, "do-serverless-messages", "1");
    equal(&report, "do-serverless-stops", "4");
    equal(&report, "do-serverless-choices", "128");
    for name in ["do-serverless-model-list", "do-serverless-openai-tools-partial", "bad-key"] {
        assert_eq!(found(&report, name).verdict, Verdict::Equal, "{:#?}", found(&report, name));
    }
    assert_eq!(report.exit_code(), 0, "{:#?}", report.findings);
}

/// A gateway for jobs, in the dialect of DigitalOcean, with smaller files than documented.
const JOBS: &str = r#"
[scenario]
question = "?"
horizon = "1h"
replications = 1
profile = "digitalocean-inference"
overlays = ["public-api"]

[limits.do-batch-requests-per-file]
at_most = 500
source = "negotiated"

[limits.do-batch-file-size]
at_most = "2MB"
source = "negotiated"

[live]
targets = ["https://inference.example"]
dialect = "digitalocean"

[models.gpt]
kind = "chat"
provider = "openai"
provenance = "commercial"

[models.llama]
kind = "chat"
provider = "meta"
provenance = "open-source"

[batch.jobs]
model = "gpt"
upstream = "10min"
prompt = 100
request = { provider = "openai", endpoint = "/v1/chat/completions", content = ["text"] }
jobs = [{ at = "0s", requests = 1 }]

[batch.open]
model = "llama"
upstream = "10min"
prompt = 100
request = { provider = "openai", endpoint = "/v1/chat/completions", content = ["text"] }
jobs = [{ at = "0s", requests = 1 }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_handed_in_at_the_edge_and_cancelled() {
    for text in [JOBS.to_owned(), JOBS.replace("dialect = \"digitalocean\"", "dialect = \"openai\"")] {
        let address = serve(&text, Manner::default()).await;
        let report = probe(&text, &address, budget()).await;
        equal(&report, "do-batch-requests-per-file", "500");
        equal(&report, "do-batch-file-size", "2000000");
        for name in [
            "do-batch-completion-window",
            "do-batch-text-only",
            "do-batch-openai-endpoint",
            "do-batch-no-open-source",
        ] {
            assert_eq!(found(&report, name).verdict, Verdict::Equal, "{:#?}", found(&report, name));
        }
        let provider = found(&report, "do-batch-commercial-only").verdict;
        let named = text.contains("\"digitalocean\"\n\n[models");
        assert_eq!(provider, if named { Verdict::Equal } else { Verdict::NotProbeable });
        assert_eq!(found(&report, "do-batch-enqueued-tokens").verdict, Verdict::NotProbeable);
        assert_eq!(report.exit_code(), 0, "{:#?}", report.findings);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_job_would_be_paid_for_only_what_is_refused_is_handed_in() {
    let address = serve(JOBS, Manner::default()).await;
    let report = probe(JOBS, &address, Budget { loopback: false, ..budget() }).await;
    let lines = found(&report, "do-batch-requests-per-file");
    assert_eq!((lines.verdict, lines.measured.as_str()), (Verdict::Inconclusive, "1 to 500"), "{lines:#?}");
    assert_eq!(report.exit_code(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_is_read_as_often_as_it_may_be() {
    let text = own("other");
    let address = serve(&text, Manner::default()).await;
    let only = vec!["reads".to_owned()];
    let report = probe(&text, &address, Budget { only: only.clone(), control: true, ..budget() }).await;
    equal(&report, "reads", "250");
    let without = probe(&text, &address, Budget { only, ..budget() }).await;
    assert_eq!(found(&without, "reads").verdict, Verdict::NotProbeable);
}

#[test]
fn a_plan_takes_nothing_that_is_not_free_or_cheap() {
    let text = databricks("custom", "");
    let basis = Basis::of_scenario(&scenario(&text));
    let why =
        |plan: &Plan, name: &str| match &plan.items.iter().find(|item| item.name == name).unwrap().decision {
            Decision::Probe(probe) => panic!("{name} is probed: {probe:?}"),
            Decision::Not(why) => why.clone(),
        };
    let plan = Plan::new(&basis, &budget());
    assert!(plan.cost.requests < 400, "{:?}", plan.cost);
    for (name, words) in [
        ("dbx-endpoints-per-workspace", "costs money by being there"),
        ("dbx-create-update-rate", "control plane"),
        ("dbx-exec-duration", "takes 297s"),
        ("dbx-overhead-latency-standard", "cannot be told"),
        ("dbx-qps-endpoint-route-optimized", "route-optimized"),
        ("dbx-ingress-rules", "address"),
        ("dbx-doc-scope", "no answer of the gateway shows it"),
    ] {
        assert!(why(&plan, name).contains(words), "{name}: {}", why(&plan, name));
    }
    let tight = Plan::new(&basis, &Budget { requests: 100, ..budget() });
    assert!(why(&tight, "dbx-qps-workspace-standard").contains("`--max-requests`"));
    assert!(tight.cost.requests <= 100);
    let everything =
        plan.items.iter().filter(|item| !item.name.starts_with("bad-") && !item.name.starts_with("context"));
    for row in &basis.rows {
        assert!(everything.clone().any(|item| item.row == row.id), "row {} is not in the plan", row.id);
    }
}

/// Probes the emulator of a scenario for what the scenario documents.
async fn emulated(text: &str, budget: Budget) -> Report {
    let options = driver::Options { speed: 1.0, log: None };
    let (gateway, engine) = driver::start(&scenario(text), options).unwrap();
    let settings = Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Settings::default() };
    let server = Server::start(gateway, settings).unwrap();
    let report = probe(text, &format!("http://{}", server.address()), budget).await;
    server.stop().await;
    tokio::task::spawn_blocking(move || engine.stop()).await.unwrap().unwrap();
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_probeable_limit_of_an_emulated_workspace_is_measured_exactly() {
    let text = databricks("custom", "");
    let report = emulated(&text, budget()).await;
    equal(&report, "dbx-qps-workspace-standard", "200");
    equal(&report, "dbx-payload-custom", "16000000");
    equal(&report, "dbx-payload-not-empty", "1");
    equal(&report, "context of m", "3999");
    assert_eq!(found(&report, "dbx-authentication").verdict, Verdict::Equal);
    assert_eq!(report.exit_code(), 0, "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_of_an_emulated_preview_are_measured_exactly() {
    two_windows(&emulated(PREVIEW, both_windows()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisioned_concurrency_of_an_emulated_endpoint_is_counted_with_its_queue() {
    let text = databricks("custom", "").replace(
        "serves = [{ pool = \"m\" }]",
        "size = \"small\"\nserves = [{ pool = \"m\", concurrency = 4 }]",
    );
    let only = vec!["dbx-provisioned-concurrency".to_owned()];
    let report = emulated(&text, Budget { only, ..budget() }).await;
    equal(&report, "dbx-provisioned-concurrency", "8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_probeable_limit_of_emulated_jobs_is_measured_exactly() {
    for text in [JOBS.to_owned(), JOBS.replace("dialect = \"digitalocean\"", "dialect = \"openai\"")] {
        let report = emulated(&text, budget()).await;
        equal(&report, "do-batch-requests-per-file", "500");
        equal(&report, "do-batch-file-size", "2000000");
        assert_eq!(report.exit_code(), 0, "{:#?}", report.findings);
    }
}
