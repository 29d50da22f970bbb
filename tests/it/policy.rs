//! The vendor's side of a scenario: what a file says arrives where it belongs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use tidegate_sim::limits::Algorithm;
use tidegate_sim::profile::{Attr, Key, Mechanism, Source, Verb};
use tidegate_sim::request::QUEUE_FULL;
use tidegate_sim::scenario::policy::{Claim, Stream, reason_of};
use tidegate_sim::scenario::{self, Overrides, Permits, Scenario};
use tidegate_sim::time::{Span, Time};

const FILE: &str = "tests/data/limits/full.toml";

fn load(set: &[&str], variant: Option<&str>) -> Scenario {
    let set = set.iter().map(|&s| s.to_owned()).collect();
    let overrides = Overrides { set, variant: variant.map(str::to_owned), trace: None };
    scenario::load(Path::new(FILE), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

fn seconds(s: u64) -> Time {
    Time::from_nanos(s * 1_000_000_000)
}

#[test]
fn limits_are_asked_by_stage_and_metered_ones_are_numbered_in_that_order() {
    let policy = load(&[], None).policy;
    assert!(policy.limits.is_sorted_by_key(|limit| limit.stage));
    let meters: Vec<u16> = policy.limits.iter().filter_map(|limit| limit.meter).collect();
    assert_eq!(meters, (0..meters.len() as u16).collect::<Vec<_>>());
    for limit in &policy.limits {
        assert_eq!(limit.meter.is_some(), limit.mechanism.is_metered(), "{}", limit.name);
    }
    // Its value is not published, and no endpoint is of the kind it is about.
    assert_eq!(policy.limit("approved"), None);
}

#[test]
fn a_change_of_a_limit_says_who_decided() {
    let policy = load(&[], None).policy;
    let of = |name: &str| &policy.limits[policy.limit(name).unwrap()];
    let Mechanism::Rate { limit, most, algorithm, burst, counts_refused, .. } = of("qps").mechanism else {
        panic!("a rate")
    };
    assert_eq!((limit, most, burst, counts_refused), (Some(400), 400, 100, true));
    assert_eq!((algorithm, of("qps").source), (Algorithm::TokenBucket, Source::Negotiated));
    assert_eq!(of("token-rate").source, Source::Account);
    assert_eq!(of("customers-own").source, Source::Account);
    assert_eq!(of("body").source, Source::Profile);
    // A log of five million is too long, and the highest value of an operation counts.
    let Mechanism::Rate { algorithm, .. } = of("hourly").mechanism else { panic!("a rate") };
    assert_eq!(algorithm, Algorithm::TokenBucket);
    let Mechanism::Rate { limit, most, .. } = of("customers-own").mechanism else { panic!("a rate") };
    assert_eq!((limit, most), (Some(600), 900));
    insta::assert_snapshot!(policy.profile.unwrap().notes.join("\n"));
}

#[test]
fn counters_are_a_mixed_radix_over_what_they_are_counted_by() {
    let policy = load(&[], None).policy;
    let limit = &policy.limits[policy.limit("token-rate").unwrap()];
    // The token `key`, the token of the account `guest` and four of tenants; three models.
    assert_eq!(policy.tokens, ["key", "main", "guest", "rank/0", "rank/1", "rank/2", "bare"]);
    assert_eq!(policy.users, ["bot", "admin", "main", "guest", "rank/0", "rank/1", "rank/2", "bare"]);
    assert_eq!((&limit.per[..], limit.keys), (&[(Key::Token, 1), (Key::Model, 7)][..], 21));
}

#[test]
fn a_sender_knows_its_account_its_callers_and_its_candidates() {
    let scenario = load(&[], None);
    let [rank, shared, bare] = &scenario.workloads[..] else { panic!("three workloads") };
    assert_eq!((rank.sender.account, rank.sender.endpoint), (0, Some(0)));
    assert_eq!((rank.sender.first_token, rank.sender.one_token), (3, false));
    assert_eq!(rank.sender.candidates, [(0, 0), (2, 1)]);
    assert_eq!(rank.sender.body.as_ref().map(|law| law.mean()), Some(16e6));
    assert_eq!(rank.sender.overhead.as_ref().map(|law| law.mean()), Some(0.01));
    let traits = &rank.sender.traits;
    assert_eq!(traits.words(Attr::Ingress).unwrap(), ["allowed"]);
    assert_eq!(traits.words(Attr::Thinking).unwrap(), ["yes"]);
    assert_eq!(traits.words(Attr::Features).unwrap(), [""; 0]);
    assert_eq!(traits.numbers(Attr::Stops).unwrap(), [0]);
    assert!(!traits.knows(Attr::Body), "it is drawn for each request");
    assert_eq!((shared.sender.account, shared.sender.endpoint), (1, Some(2)));
    assert_eq!((shared.sender.first_token, shared.sender.one_token), (0, true));
    assert_eq!((shared.sender.first_user, shared.sender.one_user), (0, true));
    assert_eq!((bare.sender.account, bare.sender.endpoint, bare.tier), (1, None, 0));
    assert_eq!(scenario.tiers[rank.tier].name, "ranker");
    assert_eq!(scenario.tiers[rank.tier].priority, 3);
}

#[test]
fn an_endpoint_provisions_its_pools_and_knows_what_it_is() {
    let scenario = load(&[], None);
    let policy = &scenario.policy;
    let ranker = &policy.endpoints[0];
    assert_eq!((ranker.concurrency, &ranker.pools[..], &ranker.models[..]), (1024, &[0, 1][..], &[0, 2][..]));
    assert_eq!(ranker.traits.numbers(Attr::Memory).unwrap(), [3_000_000_000]);
    assert_eq!(ranker.traits.words(Attr::InitScripts).unwrap(), ["no"]);
    let reason = reason_of(policy.limit("queue").unwrap());
    assert_eq!(scenario.pools[0].permits, Some(Permits { most: 1024, reason }));
    assert_eq!(scenario.pools[0].queue.most, Some(512));
    assert_eq!(scenario.pools[1].permits, None);
    assert!(!policy.endpoints[1].exists);
    assert!(policy.accounts[0].traits.words(Attr::Compliance).unwrap().is_empty());
    assert!(!policy.accounts[1].traits.knows(Attr::Compliance));
    assert_eq!(scenario.models[0].listing.version, Some(("gpt".into(), 9)));
    assert!(!scenario.models[1].listing.published);
}

#[test]
fn without_a_profile_provisioned_concurrency_bounds_what_runs_and_not_what_waits() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (head, rest) =
        text.split_once("profile = \"./gateway.toml\"\noverlays = [\"public-api\"]\n").unwrap();
    let (before, _) = rest.split_once("[limits.qps]").unwrap();
    let (_, accounts) = rest.split_once("[accounts.main]").unwrap();
    let (accounts, _) = accounts.split_once("[[operations]]").unwrap();
    let text = format!("{head}{before}[accounts.main]{accounts}");
    let scenario =
        scenario::load_str(FILE, &text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(scenario.pools[0].permits, Some(Permits { most: 1024, reason: QUEUE_FULL }));
    assert_eq!(scenario.pools[0].queue.most, None);
    assert!(scenario.policy.limits.is_empty() && scenario.policy.profile.is_none());
}

#[test]
fn operations_and_expectations_refer_to_what_is_switched_on() {
    let policy = load(&[], None).policy;
    let names: Vec<&str> = policy.operations.iter().map(|operation| operation.name.as_str()).collect();
    assert_eq!(names, ["creates", "operation-3", "evaluation", "release"]);
    let creates = &policy.operations[0];
    assert_eq!((creates.verb, creates.first, creates.times), (Verb::CreateEndpoint, seconds(1), 60));
    assert_eq!((creates.every, creates.ready_after), (Span::from_secs(1), Span::from_secs(60)));
    assert_eq!((creates.token, creates.user, creates.endpoint), (0, 1, Some(1)));
    assert_eq!(creates.traits.words(Attr::Ingress).unwrap(), ["denied"]);
    assert_eq!(policy.operations[1].value, Some(900));
    assert_eq!(policy.operations[1].limit, policy.limit("customers-own"));
    let [creates, answers, run, third] = &policy.expectations[..] else { panic!("four expectations") };
    assert_eq!((creates.stream, creates.until), (Some(Stream::Operation(0)), seconds(300)));
    assert_eq!(
        (answers.stream, answers.from, answers.until),
        (Some(Stream::Workload(0)), seconds(10), Time::MAX)
    );
    assert_eq!((run.stream, third.stream), (None, Some(Stream::Operation(1))));
    assert_eq!((&creates.name[..], &answers.name[..]), ("creates", "the ranker answers"));
    let changes = reason_of(policy.limit("changes").unwrap());
    assert_eq!(
        creates.claims,
        [
            Claim::Offered(60),
            Claim::Accepted(50),
            Claim::Refused(10),
            Claim::For(changes, 10),
            Claim::For(QUEUE_FULL, 0),
            Claim::Status(429, 10),
            Claim::FirstAccepted(Some(seconds(1))),
            Claim::LastAccepted(Some(seconds(50))),
            Claim::FirstRefused(Some(seconds(51))),
            Claim::LastRefused(None),
            Claim::RetryAfter(Some(Span::from_secs(250))),
            Claim::Announced(None),
            Claim::Verdicts("AARRA".into()),
            Claim::Each(Span::from_secs(1), 1),
        ]
    );
    assert_eq!(
        answers.claims,
        [
            Claim::Completed(50),
            Claim::Failed(0),
            Claim::E2e(vec![Span::from_millis(60); 2]),
            Claim::ServedBy(0, 3),
        ]
    );
    let limit = |name| policy.limit(name).unwrap();
    assert_eq!(
        run.claims,
        [
            Claim::Violations(limit("added"), 0),
            Claim::Peak(limit("queue"), 1024),
            Claim::Peak(limit("qps"), 100)
        ]
    );
}

#[test]
fn variants_and_overrides_reach_the_vendors_side() {
    let base = load(&[], None);
    assert!(base.is_deterministic());
    let varied = load(&[], Some("no-burst"));
    assert_eq!(varied.policy.operations[0].times, 5);
    assert!(!varied.is_deterministic(), "bodies are drawn");
    assert_ne!(varied.hash, base.hash);
    // A limit that the file does not name can be changed from outside.
    let set = [
        "limits.capacity.most=64",
        "limits.capacity.source=negotiated",
        "endpoints.ranker.serves.0.concurrency=64",
    ];
    let small = load(&set, None);
    assert_eq!(small.pools[0].queue.most, Some(32));
    let capacity = &small.policy.limits[small.policy.limit("capacity").unwrap()];
    assert_eq!((capacity.source, capacity.value_text().contains("64")), (Source::Negotiated, true));
    assert_ne!(small.hash, base.hash);
    assert_eq!(load(&["expect.0.until=5min"], None).hash, base.hash);
    assert_ne!(load(&["expect.0.until=301s"], None).hash, base.hash);
}

#[test]
fn the_profile_enters_the_hash_with_what_it_says_not_with_its_path() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let hash = |path: &str| {
        let text = text.replace("\"./gateway.toml\"", &format!("{path:?}"));
        let loaded = scenario::load_str(FILE, &text, &Overrides::default());
        loaded.map(|scenario| scenario.hash).unwrap_or_else(|found| panic!("{found}"))
    };
    assert_eq!(hash("./gateway.toml"), hash("../limits/gateway.toml"));
}
