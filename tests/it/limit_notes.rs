//! What a scenario leaves open is said: limits that cannot be evaluated, and choices that replace others.

use tidegate_sim::gateway::admission::meters;
use tidegate_sim::profile::Mechanism;
use tidegate_sim::scenario::{self, Diagnostics, Overrides, Scenario};

const HEADER: &str = "[profile]\nid = \"p\"\ntitle = \"P\"\nas_of = \"undated\"\n";
const SCENARIO: &str = r#"
[models.m]
[pools.p]
engine = "slots"
model = "m"
servers = 8
service = "1ms"
[workloads.w]
endpoint = "e"
arrivals = { kind = "constant", rate = "10/s" }
"#;

/// A scenario with one endpoint, `e`, under a profile of `limits`; `more` comes at its end.
fn load(name: &str, limits: &str, more: &str) -> Scenario {
    try_load(name, limits, more).unwrap_or_else(|found| panic!("{found}"))
}

fn try_load(name: &str, limits: &str, more: &str) -> Result<Scenario, Diagnostics> {
    let file = std::env::temp_dir().join(format!("tidegate-notes-{name}-{}.toml", std::process::id()));
    std::fs::write(&file, format!("{HEADER}{limits}")).unwrap();
    let profile = file.display();
    let head = format!(
        "[scenario]\nquestion = \"q\"\nhorizon = \"3s\"\nreplications = 1\nprofile = \"{profile}\"\n"
    );
    let loaded = scenario::load_str("test.toml", &format!("{head}{SCENARIO}{more}"), &Overrides::default());
    std::fs::remove_file(&file).unwrap();
    loaded
}

fn notes(scenario: &Scenario) -> &[String] {
    &scenario.policy.profile.as_ref().unwrap().notes
}

const ENDPOINT: &str = "[endpoints.e]\nserves = [{ pool = \"p\" }]\n";

fn burst(scenario: &Scenario) -> u64 {
    match scenario.policy.limits[0].mechanism {
        Mechanism::Rate { burst, .. } => burst,
        _ => panic!("a rate"),
    }
}

#[test]
fn a_bucket_of_a_rate_that_starts_unlimited_holds_what_it_will_be_set_to() {
    let limit =
        "[limits.r]\nkind = \"rate\"\nvalue = \"none/s\"\nper = [\"account\"]\nprovenance = \"choice\"\n";
    let bucket = format!("{limit}algorithm = \"token-bucket\"\n");
    let set = "\n[[operations]]\nname = \"o\"\ndo = \"set-rate-limit\"\nlimit = \"r\"\nat = \"1s\"\nvalue = ";
    for (name, limit, more, expected) in [
        ("never-set", &bucket, ENDPOINT.to_owned(), 1),
        ("set", &bucket, format!("{ENDPOINT}{set}50\n"), 50),
        ("switched", &limit.to_owned(), format!("{ENDPOINT}{set}2_000_000\n"), 2_000_000),
    ] {
        let scenario = load(name, limit, &more);
        assert_eq!(burst(&scenario), expected, "{name}");
        // Refuses buckets that hold nothing.
        meters(&scenario.policy.limits);
    }
}

#[test]
fn a_condition_on_what_could_be_stated_and_is_not_is_noted() {
    let ban = "[limits.b]\nkind = \"ban\"\nprovenance = \"choice\"\nwhen = ";
    let of = |name: &str, when: &str, endpoint: &str| {
        notes(&load(name, &format!("{ban}{when}\n"), endpoint)).to_vec()
    };
    let note = |attr: &str| format!("limit `b` is not evaluated for workload `w`: `{attr}` is not stated");
    let kind = "{ \"endpoint.kind\" = [\"custom\"] }";
    assert_eq!(of("kind", kind, ENDPOINT), [note("endpoint.kind")]);
    let both = "{ \"endpoint.kind\" = [\"custom\"], \"request.tools\" = [\"function\"] }";
    assert_eq!(of("both", both, ENDPOINT), [note("endpoint.kind")]);
    let agent = format!("{ENDPOINT}kind = \"agent\"\n");
    let none: [String; 0] = [];
    let agents = "{ \"endpoint.kind\" = [\"agent\"], \"account.region\" = [\"*\"] }";
    assert_eq!(of("only-when-stated", agents, &agent), none);
    let elsewhere = "{ \"upload.type\" = [\"image/*\"] }";
    assert_eq!(of("not-of-a-request", elsewhere, ENDPOINT), none);
}

#[test]
fn a_rate_of_bytes_says_that_no_body_is_stated() {
    let rate = "[limits.r]\nkind = \"rate\"\nvalue = \"10/s\"\nof = \"bytes\"\nper = [\"account\"]\nprovenance = \"choice\"\n";
    let scenario = load("bytes", rate, ENDPOINT);
    assert_eq!(
        notes(&scenario),
        ["limit `r` is not evaluated for workload `w`: `request.body` is not stated"]
    );
    assert_eq!(
        notes(&load("body", rate, &format!("{ENDPOINT}[workloads.w.request]\nbody = \"1kB\"\n"))),
        [""; 0]
    );
}

#[test]
fn a_queue_for_permits_is_the_limits_or_the_pools_and_a_note_says_which() {
    let permits = "[limits.q]\nkind = \"permits\"\nqueue = 1.0\nprovenance = \"choice\"\n";
    assert_eq!(
        notes(&load("unprovisioned", permits, ENDPOINT)),
        ["limit `q` is not evaluated for endpoint `e`: no `concurrency` is stated"]
    );
    let provisioned = "[endpoints.e]\nserves = [{ pool = \"p\", concurrency = 4 }]\n";
    let chosen = load("chosen", permits, &format!("{provisioned}[limits.q]\nqueue = 0\n"));
    assert_eq!(chosen.pools[0].queue.most, Some(0));
    assert_eq!(notes(&chosen), ["limit `q`: provisioned, 0 % of it queued [choice]"]);
    let pools = load("pools", permits, &format!("{provisioned}[pools.p.queue]\nmost = 2\n"));
    assert_eq!(pools.pools[0].queue.most, Some(2));
    assert_eq!(notes(&pools), ["pool `p`: its `queue.most = 2` replaces the queue of limit `q`"]);
}

#[test]
fn a_negotiated_value_below_the_documented_one_is_noted() {
    let rate = "[limits.r]\nkind = \"rate\"\nvalue = \"10/s\"\nper = [\"account\"]\nprovenance = \"documented\"\nraisable = true\n";
    let change = "[limits.r]\nvalue = \"5/s\"\nsource = \"negotiated\"\n";
    let notes = notes(&load("lower", rate, &format!("{ENDPOINT}{change}"))).join("\n");
    assert!(notes.contains("negotiated: it is lower than documented"), "{notes}");
}

#[test]
fn what_is_not_published_is_not_listed_whoever_asks() {
    let quota = "[limits.x]\nkind = \"quota\"\nof = \"endpoints\"\nmost = 1\nprovenance = \"choice\"\nwhen = { \"model.listed\" = [\"no\"] }\n";
    let later = format!("{ENDPOINT}[models.later]\npublished = false\n");
    let one = format!("{later}[endpoints.f]\nserves = [{{ model = \"later\" }}]\n");
    let scenario = load("unlisted", quota, &one);
    tidegate_sim::control::ControlPlane::new(&scenario, &mut meters(&scenario.policy.limits));
    let two = format!("{one}[endpoints.g]\nserves = [{{ model = \"later\" }}]\n");
    let found = try_load("unlisted-two", quota, &two).unwrap_err().to_string();
    assert!(found.contains("could not be created"), "{found}");
}

#[test]
fn two_limits_on_the_permits_of_one_endpoint_are_refused() {
    let permits =
        |name: &str| format!("[limits.{name}]\nkind = \"permits\"\nqueue = 1.0\nprovenance = \"choice\"\n");
    let found = try_load("two", &(permits("a") + &permits("b")), ENDPOINT).unwrap_err().to_string();
    assert!(found.contains("both bound"), "{found}");
}

#[test]
fn a_profile_without_limits_on_requests_says_nothing_of_workloads() {
    let quota = "[limits.x]\nkind = \"quota\"\nof = \"endpoints\"\nmost = 9\nprovenance = \"choice\"\n";
    assert_eq!(load("quota-only", quota, ENDPOINT).caveats, [""; 0]);
}

#[test]
fn a_log_that_becomes_a_bucket_is_said_once() {
    let rate = "[limits.r]\nkind = \"rate\"\nvalue = \"10/s\"\nmax_log = 5\nper = [\"account\"]\nprovenance = \"choice\"\n";
    let scenario = load("long-log", rate, ENDPOINT);
    assert_eq!((scenario.caveats.len(), notes(&scenario).len()), (0, 1));
}

#[test]
fn a_tenants_token_and_user_are_one_dimension_unless_one_is_shared() {
    let rate = "[limits.r]\nkind = \"rate\"\nvalue = \"10/s\"\nper = [\"token\", \"user\"]\nprovenance = \"choice\"\n";
    let tenants = |name: &str, more: &str| {
        let own = format!("{ENDPOINT}[workloads.many]\nendpoint = \"e\"\ntenants = 5_000\n{more}");
        load(name, rate, &format!("{own}arrivals = {{ kind = \"poisson\", rate = \"10/s\" }}\n"))
    };
    let pairs = tenants("pairs", "").policy.limits;
    assert_eq!(pairs[0].keys, 5_001);
    let shared = tenants("shared", "token = \"t\"\n").policy.limits;
    assert_eq!(shared[0].keys, 2 * 5_001);
}
