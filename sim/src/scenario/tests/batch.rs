//! Files about batch, and what they resolve to.

use super::super::batch::{
    Backend, BatchPriority, BatchRules, ControlLaw, Controller, Excess, Gate, JobFault, JobOrder, Jobs, Lend,
    Preempt, Reclaim, Release,
};
use super::super::{
    Arrivals, Below, Bound, Engine, Lengths, Measure, Metric, Overrides, Ratio, Scenario, load_str,
};
use crate::gateway::admission;
use crate::request::{BUILT_IN, INVALID_INPUT_FILE};
use crate::time::{Span, Time};

/// Every key of batch, once.
const EVERYTHING: &str = include_str!("batch.toml");

fn load(text: &str, set: &[&str], variant: Option<&str>) -> Result<Scenario, String> {
    let set = set.iter().map(|set| (*set).to_owned()).collect();
    let overrides = Overrides { set, variant: variant.map(str::to_owned), ..Overrides::default() };
    load_str("batch.toml", text, &overrides).map_err(|found| found.to_string())
}

fn loaded(set: &[&str]) -> Scenario {
    load(EVERYTHING, set, None).unwrap_or_else(|found| panic!("{found}"))
}

fn refused(set: &[&str]) -> String {
    load(EVERYTHING, set, None).expect_err("it is refused")
}

fn hours(hours: u64) -> Span {
    Span::from_secs(3_600 * hours)
}

fn below(scenario: &Scenario, pool: usize) -> Option<Below> {
    match &scenario.pools[pool].engine {
        Engine::Llm(engine) => engine.below,
        Engine::Slots(_) => None,
    }
}

#[test]
fn lent_replicas_are_read_and_go_with_nothing_that_would_not_act_there() {
    let lend =
        "pools.chat.batch={ lend = { most = 2, below = 1, above = 3, reclaim = 'preempt', reload = '5s' } }";
    let expected = Some(Lend {
        most: 2,
        below: 1,
        above: 3,
        every: Span::from_secs(30),
        reclaim: Reclaim::Preempt,
        reload: Span::from_secs(5),
    });
    assert_eq!(loaded(&[lend]).pools[0].batch.as_ref().unwrap().lend, expected);
    let both = "pools.chat.batch.lend={ most = 2, below = 1, above = 3 }";
    let found = refused(&[both]);
    for key in ["headroom", "gate", "controller", "urgent"] {
        assert!(found.contains(&format!("`{key}` would never act: with `lend`")), "{key}: {found}");
    }
}

#[test]
fn every_rule_of_a_pool_is_read() {
    let scenario = loaded(&[]);
    let rules = BatchRules {
        priority: BatchPriority::Engine,
        order: JobOrder::Fifo,
        fair: false,
        concurrency: Some(40),
        headroom: 200,
        windows: vec![(Span::ZERO, hours(6)), (hours(12), hours(13)), (hours(22), hours(24))],
        period: hours(24),
        gate: Some(Gate { waiting: Some(0), running: Some(500), kv: Some(800) }),
        controller: Some(Controller {
            metric: Metric::Ttft,
            quantile: 0.99,
            target: Span::from_millis(500),
            every: Span::from_secs(10),
            law: ControlLaw::Aimd { add: 4, permille: 700 },
            least: 0,
            most: 32,
        }),
        urgency: Some(hours(2)),
        lend: None,
        quantum: None,
    };
    assert_eq!(scenario.pools[0].batch, Some(rules));
    let below = Below {
        preempt: Preempt::Swap(Span::from_micros(2)),
        tokens: Some(512),
        chunk: Some(256),
        step: Some(Span::from_millis(30)),
        slowdown: Some(1_030),
        reserve: 600,
    };
    assert_eq!(self::below(&scenario, 0), Some(below));
    let quantum = Some(Span::from_millis(100));
    assert_eq!(scenario.pools[1].batch, Some(BatchRules { quantum, ..BatchRules::default() }));
}

#[test]
fn a_pool_that_says_nothing_of_batch_has_the_defaults_where_batch_uses_it() {
    let text: String = EVERYTHING.replace("[pools.chat.batch]", "[pools.chat.batch_of_no_use]");
    let start = text.find("[pools.chat.batch_of_no_use]").unwrap();
    let end = text.find("[pools.small]").unwrap();
    let text = format!("{}{}", &text[..start], &text[end..]);
    let with = load(&text, &[], None).unwrap();
    assert_eq!(with.pools[0].batch, Some(BatchRules::default()));
    let plain = Below {
        preempt: Preempt::Recompute,
        tokens: None,
        chunk: None,
        step: None,
        slowdown: None,
        reserve: 0,
    };
    assert_eq!(below(&with, 0), Some(plain));
    // Without the batch it is as if batch did not exist.
    let without = load(&text, &[], Some("without")).unwrap();
    assert_eq!((&without.pools[0].batch, below(&without, 0)), (&None, None));
    assert_eq!(without.batches.len(), 2);
}

#[test]
fn rules_that_no_batch_uses_are_noted_and_change_nothing() {
    let scenario = load(EVERYTHING, &[], Some("without")).unwrap();
    assert_eq!((&scenario.pools[0].batch, below(&scenario, 0)), (&None, None));
    let noted = "pool `chat`: its `batch` changes nothing, because no batch uses it";
    assert!(scenario.caveats.iter().any(|caveat| caveat == noted), "{:?}", scenario.caveats);
    assert!(!loaded(&[]).caveats.iter().any(|caveat| caveat == noted));
}

#[test]
fn without_the_priority_of_the_engine_it_is_told_nothing() {
    let keys = ["preempt", "swap", "step_tokens", "chunk", "step", "slowdown", "reserve"];
    let text =
        EVERYTHING.lines().filter(|line| !keys.iter().any(|key| line.starts_with(&format!("{key} ="))));
    let text = text.collect::<Vec<_>>().join("\n");
    for (word, priority) in [("gateway", BatchPriority::Gateway), ("none", BatchPriority::None)] {
        let scenario = load(&text, &[&format!("pools.chat.batch.priority={word}")], None).unwrap();
        assert_eq!(scenario.pools[0].batch.as_ref().map(|rules| rules.priority), Some(priority));
        assert_eq!(below(&scenario, 0), None);
    }
    assert!(refused(&["pools.chat.batch.priority=gateway"]).contains("`chunk` would never act"));
}

#[test]
fn other_laws_have_their_own_keys() {
    let pi = "pools.chat.batch.controller={ law = 'pi', metric = 'e2e', quantile = 0.5, target = '2s', gain = 0.5, \
              integral = 0.1, least = 2 }";
    let controller = loaded(&[pi]).pools[0].batch.as_ref().unwrap().controller.unwrap();
    assert_eq!((controller.law, controller.least), (ControlLaw::Pi { gain: 0.5, integral: 0.1 }, 2));
    // The pool's own concurrency is the most when none is given.
    assert_eq!(controller.most, 40);
    let add = "pools.chat.batch.controller={ law = 'pi', metric = 'e2e', target = '2s', gain = 1, integral = 1, add = 4 }";
    assert!(refused(&[add]).contains("`add` does not go with law `pi`; it belongs to `aimd`"));
}

#[test]
fn a_batch_is_a_workload_after_the_others() {
    let scenario = loaded(&[]);
    let names: Vec<&str> = scenario.workloads.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(names, ["chat", "quick", "nightly", "many", "away"]);
    let ids: Vec<u16> = scenario.batches.iter().map(|batch| batch.workload).collect();
    assert_eq!(ids, [2, 3, 4]);
    let nightly = &scenario.workloads[2];
    assert!(matches!(nightly.arrivals, Arrivals::Jobs));
    assert_eq!((nightly.pool, nightly.max_tokens, nightly.shared_prefix_tokens), (0, Some(400), 100));
    assert_eq!((nightly.network, nightly.sender.account), (Span::from_millis(10), 1));
    let Lengths::Independent { prompt, output } = &nightly.lengths else { panic!("lengths by law") };
    assert_eq!((prompt.mean(), output.mean()), (3_000.0, 300.0));
}

#[test]
fn a_batch_knows_its_jobs_its_times_and_its_quota() {
    let scenario = loaded(&[]);
    let nightly = &scenario.batches[0];
    let Jobs::Drawn { first, gap, most, requests } = &nightly.jobs else { panic!("drawn jobs") };
    assert_eq!(
        (*first, gap.mean(), *most, requests.mean()),
        (Span::from_secs(600), 3_600.0, Some(5), 20_000.0)
    );
    assert_eq!((nightly.window, nightly.validation), (hours(24), Span::from_secs(60)));
    assert_eq!(nightly.finalizing, Span::from_secs(30));
    assert!(matches!(nightly.backend, Backend::Pool));
    let cancels: Vec<(u32, Time)> = nightly.cancels.iter().map(|cancel| (cancel.job, cancel.at)).collect();
    assert_eq!(cancels, [(1, Time::ZERO + hours(2)), (3, Time::ZERO + hours(4))]);
    let rules = &nightly.rules;
    assert_eq!((rules.count_output, rules.release, rules.excess), (true, Release::Job, Excess::Hold));
    assert_eq!(rules.fault, None);
}

#[test]
fn limits_of_the_profile_become_the_rules_of_each_batch() {
    let scenario = loaded(&[]);
    let named =
        |rule: Option<(u64, u16)>| rule.map(|(most, reason)| (most, scenario.policy.reason_name(reason)));
    for batch in &scenario.batches {
        assert_eq!(
            named(batch.rules.requests),
            Some((50_000, "do-batch-requests-per-file")),
            "{}",
            batch.name
        );
        assert_eq!(named(batch.rules.bytes), Some((200_000_000, "do-batch-file-size")), "{}", batch.name);
    }
    let tokens: Vec<_> = scenario.batches.iter().map(|batch| named(batch.rules.tokens)).collect();
    let all = Some((10_000_000_000, "do-batch-enqueued-tokens"));
    assert_eq!(tokens, [Some((5_000_000_000, "do-batch-security-tier")), all, all]);
}

#[test]
fn quotas_are_read_off_the_meters_that_operations_move() {
    let scenario = loaded(&[]);
    let mut meters = admission::meters(&scenario.policy.limits);
    for batch in &scenario.batches {
        let model = scenario.workloads[usize::from(batch.workload)].sender.candidates[0].0;
        let quotas = scenario.token_quotas(batch);
        for owner in batch.owner..batch.owner + batch.owners {
            assert_eq!(scenario.enqueued_most(&quotas, owner, model, &meters), batch.rules.tokens);
        }
    }
    let many = &scenario.batches[1];
    let (quotas, model) = (scenario.token_quotas(many), 1);
    let limit = &scenario.policy.limits[quotas[0]];
    let caller = crate::profile::Caller { account: many.owner + 1, model: 1, ..Default::default() };
    meters.set_limit_of(Time::ZERO, limit.meter.unwrap(), limit.key(&caller), Some(7));
    let now = |owner| scenario.enqueued_most(&quotas, owner, model, &meters).map(|(most, _)| most);
    assert_eq!([now(many.owner), now(many.owner + 1)], [Some(10_000_000_000), Some(7)]);
}

#[test]
fn accounts_have_one_number_over_the_whole_scenario() {
    let scenario = loaded(&[]);
    let owners: Vec<(u32, u32)> = scenario.batches.iter().map(|batch| (batch.owner, batch.owners)).collect();
    assert_eq!(owners, [(1, 1), (2, 3), (0, 1)]);
    // Which of them a request is of is its tenant.
    for batch in &scenario.batches {
        assert_eq!(scenario.workloads[usize::from(batch.workload)].tenants, batch.owners, "{}", batch.name);
    }
    let names: Vec<&str> = scenario.policy.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "many/0", "many/1", "many/2"]);
}

#[test]
fn what_is_worked_on_elsewhere_needs_no_pool() {
    let scenario = loaded(&[]);
    let away = &scenario.workloads[4];
    let pool = &scenario.pools[usize::from(away.pool)];
    assert_eq!((pool.name.as_str(), pool.model, pool.batch.as_ref()), ("upstream-elsewhere", 2, None));
    assert_eq!(scenario.tiers[away.tier].name, "away");
    assert_eq!(away.sender.candidates, [(2, away.pool)]);
    let Backend::Upstream(time) = &scenario.batches[2].backend else { panic!("worked on elsewhere") };
    assert_eq!(time.mean(), 420.0);
    let alone = "[scenario]\nquestion = \"Alone?\"\nhorizon = \"1h\"\nreplications = 1\n[models.m]\n\
                 [batch.b]\nmodel = \"m\"\nupstream = \"1min\"\nprompt = 10\njobs = { every = \"10min\", requests = 5 }\n";
    let alone = load(alone, &[], None).unwrap();
    assert_eq!((alone.pools.len(), alone.tiers.len(), alone.workloads.len()), (1, 1, 1));
    assert_eq!(alone.batches[0].owner, 0);
}

#[test]
fn a_listed_job_says_its_size_and_its_account() {
    let scenario = loaded(&[]);
    let Jobs::Listed(jobs) = &scenario.batches[1].jobs else { panic!("listed jobs") };
    let told: Vec<_> = jobs.iter().map(|job| (job.at, job.requests, job.bytes, job.owner)).collect();
    assert_eq!(told, [(Time::ZERO, 10, Some(4_000_000), 0), (Time::ZERO + hours(1), 20, None, 2)]);
}

#[test]
fn gates_decide_over_a_whole_batch_at_once_or_when_it_is_validated() {
    let fault = |set: &[&str]| {
        let scenario = loaded(set);
        let fault = scenario.batches[2].rules.fault?;
        Some((scenario.policy.reason_name(fault.reason).to_owned(), fault.line, fault.at_once))
    };
    assert_eq!(fault(&[]), None);
    let refused = |name: &str| Some((name.to_owned(), 0, true));
    let fails = |name: &str| Some((name.to_owned(), 1, false));
    assert_eq!(fault(&["batch.away.request.provider=x-provider"]), refused("do-batch-commercial-only"));
    assert_eq!(fault(&["batch.away.window=48h"]), refused("do-batch-completion-window"));
    let images = "batch.away.request.endpoint='/v1/images/generations'";
    assert_eq!(fault(&[images]), refused("do-batch-no-image-generation"));
    let public = "scenario.overlays=['public-api']";
    assert_eq!(fault(&[public]), None);
    let chat = "batch.away.request.endpoint='/v1/chat/completions'";
    assert_eq!(fault(&[public, chat]), refused("do-batch-anthropic-endpoint"));
    let openai = "batch.away.request.provider=openai";
    assert_eq!(fault(&[public, openai]), refused("do-batch-openai-endpoint"));
    assert_eq!(fault(&[public, openai, chat]), None);
    assert_eq!(fault(&["models.elsewhere.provenance=open-source"]), fails("do-batch-no-open-source"));
    assert_eq!(fault(&["models.elsewhere.provenance=hosted"]), fails("do-batch-no-do-hosted"));
    assert_eq!(fault(&["models.elsewhere.provider=meta"]), fails("do-batch-commercial-models"));
    assert_eq!(fault(&["models.elsewhere.kind=image"]), fails("do-batch-no-image-models"));
    assert_eq!(fault(&["batch.away.request.models=2"]), fails("do-batch-single-model"));
    for kind in ["image", "audio", "video", "file"] {
        let content = format!("batch.away.request.content=['text', '{kind}']");
        assert_eq!(fault(&[&content]), fails("do-batch-text-only"), "{kind}");
    }
}

#[test]
fn a_model_of_which_nothing_is_said_is_in_no_batch_of_a_vendor() {
    let text = EVERYTHING.replace(
        "[models.elsewhere]\nprovider = \"anthropic\"\nprovenance = \"commercial\"",
        "[models.elsewhere]",
    );
    let found = load(&text, &[], None).unwrap_err();
    assert!(found.contains("asks for `model.provenance` of its model, and nothing is said of it"), "{found}");
}

#[test]
fn a_tier_tightens_what_holds_of_everybody() {
    assert!(
        refused(&["limits.do-batch-security-tier.most=10_000_000_001"])
            .contains("is looser than the 10000000000")
    );
    loaded(&["limits.do-batch-security-tier.most=10_000_000_000"]);
    let raised = ["limits.do-batch-enqueued-tokens={ most = 20_000_000_000, source = 'negotiated' }"];
    let scenario = loaded(&raised);
    assert_eq!(scenario.batches[2].rules.tokens.map(|(most, _)| most), Some(20_000_000_000));
}

#[test]
fn properties_compare_with_a_variant_or_the_base() {
    let scenario = loaded(&[]);
    let told: Vec<_> = scenario
        .properties
        .iter()
        .map(|one| (one.name.as_str(), one.measure, one.bound, one.ratio.clone()))
        .collect();
    let without = Some(Ratio { to: Some("without".into()), each: Some(hours(1)) });
    assert_eq!(
        told,
        [
            (
                "batch leaves real-time alone (e2e)",
                Measure::Quantile(Metric::E2e, 0.99),
                Bound::AtMost(1.05),
                without.clone()
            ),
            (
                "batch leaves real-time alone (ttft)",
                Measure::Quantile(Metric::Ttft, 0.99),
                Bound::AtMost(1.05),
                without
            ),
            (
                "and its mean",
                Measure::Mean(Metric::Itl),
                Bound::AtMost(1.05),
                Some(Ratio { to: None, each: None })
            ),
        ]
    );
    let other = refused(&["properties.0.ratio_to=withuot"]);
    assert!(
        other.contains("no variant is named `withuot`") && other.contains("did you mean `without`?"),
        "{other}"
    );
}

#[test]
fn the_hash_knows_batch_and_forgets_it_where_it_is_off() {
    let base = loaded(&[]);
    for set in ["batch.nightly.window=24h", "batch.nightly.jobs.every=60min", "pools.chat.batch.reserve=0.3"]
    {
        assert_eq!(loaded(&[set]).hash, base.hash, "{set}");
    }
    for set in
        ["batch.nightly.excess=fail", "batch.nightly.jobs.requests=20001", "pools.chat.batch.fair=true"]
    {
        assert_ne!(loaded(&[set]).hash, base.hash, "{set}");
    }
    let off = |set: &[&str]| load(EVERYTHING, set, Some("without")).unwrap().hash;
    assert_eq!(off(&[]), off(&["batch.nightly.excess=fail"]));
    assert_ne!(off(&[]), base.hash);
}

/// A folder of its own, gone when it is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn request(id: u32, model: &str, content: &str) -> String {
    format!(
        "{{\"custom_id\":\"r{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"{model}\",\
         \"max_tokens\":{id},\"messages\":[{{\"role\":\"user\",\"content\":{content}}}]}}}}\n"
    )
}

#[test]
fn a_file_gives_the_lengths_of_its_requests_and_what_is_wrong_with_it_fails_the_job() {
    let folder = Folder::new("jobs");
    let plain = |id| request(id, "large", "\"12345678\"");
    let image = "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]";
    let files = [
        ("good.jsonl", format!("{}{}\n", plain(1), plain(2))),
        ("broken.jsonl", format!("{}oops\n", plain(1))),
        ("image.jsonl", format!("{}{}", plain(1), request(2, "large", image))),
        ("two.jsonl", format!("{}{}{}", plain(1), plain(2), request(3, "small", "\"x\""))),
        ("hosted.jsonl", format!("{}{}", plain(1), request(2, "hosted", "\"x\""))),
        ("empty.jsonl", String::new()),
        // The image comes first, whatever is wrong behind it.
        ("both.jsonl", format!("{}{}oops\n", plain(1), request(2, "large", image))),
        ("broken-first.jsonl", format!("oops\n{}", request(2, "large", image))),
    ];
    let mut jobs = String::new();
    for (name, text) in &files {
        std::fs::write(folder.0.join(name), text).unwrap();
        jobs += &format!("{{ at = \"0s\", file = \"{name}\" }}, ");
    }
    let text = format!(
        "[scenario]\nquestion = \"Files?\"\nhorizon = \"1h\"\nreplications = 1\nprofile = \"digitalocean-inference\"\n\
         [models.large]\ncontext = \"8k\"\nprovider = \"openai\"\nprovenance = \"commercial\"\n\
         [models.small]\nprovider = \"openai\"\nprovenance = \"commercial\"\n\
         [models.hosted]\nprovider = \"openai\"\nprovenance = \"hosted\"\n\
         [batch.b]\nmodel = \"large\"\nupstream = \"1min\"\njobs = [{jobs}]\n"
    );
    let load = |text: &str| {
        let name = folder.0.join("s.toml");
        load_str(&name.to_string_lossy(), text, &Overrides::default()).map_err(|found| found.to_string())
    };
    let scenario = load(&text).unwrap_or_else(|found| panic!("{found}"));
    let batch = &scenario.batches[0];
    assert_eq!(batch.rules.fault, None);
    let Jobs::Listed(jobs) = &batch.jobs else { panic!("listed jobs") };
    assert_eq!((jobs[0].requests, jobs[0].lines.as_deref()), (2, Some(&[(6, 1), (6, 2)][..])));
    assert_eq!(jobs[0].bytes, Some(files[0].1.len() as u64));
    let faults: Vec<_> = jobs
        .iter()
        .map(|job| {
            job.fault.map(|JobFault { reason, line, at_once }| {
                assert!(!at_once && job.lines.is_none());
                (scenario.policy.reason_name(reason), line)
            })
        })
        .collect();
    let form = BUILT_IN[usize::from(INVALID_INPUT_FILE)];
    assert_eq!(
        faults,
        [
            None,
            Some((form, 2)),
            Some(("do-batch-text-only", 2)),
            Some(("do-batch-single-model", 3)),
            // The model of the second line is hosted; that there is a second one is asked later.
            Some(("do-batch-no-do-hosted", 2)),
            Some((form, 0)),
            Some(("do-batch-text-only", 2)),
            Some((form, 1)),
        ]
    );
    assert!(scenario.caveats.iter().any(|caveat| caveat.contains("an estimate")), "{:?}", scenario.caveats);
    let missing = load(&text.replace("good.jsonl", "none.jsonl")).unwrap_err();
    assert!(missing.contains("none.jsonl` cannot be opened"), "{missing}");
    // Without a profile only the form of a file can be wrong.
    let bare = load(&text.replace("profile = \"digitalocean-inference\"\n", "")).unwrap();
    let Jobs::Listed(jobs) = &bare.batches[0].jobs else { panic!("listed jobs") };
    let lines: Vec<_> = jobs.iter().map(|job| job.fault.map(|fault| (fault.reason, fault.line))).collect();
    let form = |line| Some((INVALID_INPUT_FILE, line));
    assert_eq!(lines, [None, form(2), None, None, None, form(0), form(3), form(1)]);
}

#[test]
fn more_lines_than_a_file_may_have_are_the_fault_of_the_first_that_is_too_many() {
    let folder = Folder::new("long");
    let text: String = (0..4).map(|id| request(id + 1, "m", "\"x\"")).collect();
    std::fs::write(folder.0.join("four.jsonl"), text).unwrap();
    let limits = |most: u32| {
        format!("[limits.do-batch-requests-per-file]\nat_most = {most}\nsource = \"negotiated\"\n")
    };
    let head = "[scenario]\nquestion = \"Long?\"\nhorizon = \"1h\"\nreplications = 1\nprofile = \"digitalocean-inference\"\n\
                [models.m]\nprovider = \"openai\"\nprovenance = \"commercial\"\n\
                [batch.b]\nmodel = \"m\"\nupstream = \"1min\"\njobs = [{ at = \"0s\", file = \"four.jsonl\" }]\n";
    let job = |most| {
        let text = format!("{head}{}", limits(most));
        let name = folder.0.join("s.toml");
        let scenario = load_str(&name.to_string_lossy(), &text, &Overrides::default()).unwrap();
        let Jobs::Listed(jobs) = &scenario.batches[0].jobs else { panic!("listed jobs") };
        let fault =
            jobs[0].fault.map(|fault| (scenario.policy.reason_name(fault.reason).to_owned(), fault.line));
        (jobs[0].requests, fault)
    };
    assert_eq!(job(5), (4, None));
    assert_eq!(job(4), (4, None));
    assert_eq!(job(3), (4, Some(("do-batch-requests-per-file".to_owned(), 4))));
    assert_eq!(job(2), (3, Some(("do-batch-requests-per-file".to_owned(), 3))));
}
