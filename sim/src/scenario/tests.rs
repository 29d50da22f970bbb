//! Files about fleets, clients and choices of pools, and what they resolve to.

mod batch;

use super::client::{Budget, Client, Hedge, Jitter, Retry};
use super::fleet::{Aim, Effect, Fault, OnFailure, Scaling, Target};
use super::{Choice, Next, Overrides, Prefer, Scenario, load_str};
use crate::request::Outcome;
use crate::time::{Span, Time};

/// Every key of the hardware side and of clients, once.
const EVERYTHING: &str = include_str!("tests/everything.toml");

fn load(text: &str, set: &[&str]) -> Result<Scenario, String> {
    let overrides =
        Overrides { set: set.iter().map(|set| (*set).to_owned()).collect(), ..Overrides::default() };
    load_str("everything.toml", text, &overrides).map_err(|found| found.to_string())
}

fn loaded(set: &[&str]) -> Scenario {
    load(EVERYTHING, set).unwrap_or_else(|found| panic!("{found}"))
}

fn refused(set: &[&str]) -> String {
    load(EVERYTHING, set).expect_err("it is refused")
}

fn mins(minutes: u64) -> Span {
    Span::from_secs(60 * minutes)
}

fn pool(scenario: &Scenario, name: &str) -> u16 {
    scenario.pools.iter().position(|pool| pool.name == name).expect("a pool of the file") as u16
}

#[test]
fn machines_zones_links_and_the_currency_are_read() {
    let fleet = loaded(&[]).fleet;
    let [near, far] = &fleet.nodes[..] else { panic!("{:?}", fleet.nodes) };
    assert_eq!((near.name.as_str(), near.gpu.as_str()), ("h100-a", "h100-sxm"));
    assert_eq!((near.count, near.gpus, near.zone, near.reserved), (4, 8, 0, true));
    assert_eq!((far.count, far.gpus, far.zone, far.reserved), (2, 8, 1, false));
    assert_eq!((near.price, far.price), (Some(2.5), Some(3.0)));
    let failures = near.failures.as_ref().expect("machines of the zone fail");
    assert_eq!((failures.mtbf.mean(), failures.mtbf.cv()), (60.0 * 86_400.0, 1.0));
    assert_eq!((failures.mttr.mean(), failures.mttr.cv()), (4.0 * 3_600.0, 0.5));
    assert_eq!(fleet.zones, ["a", "default"]);
    assert_eq!(fleet.currency, "USD");
    assert_eq!((fleet.links[0].bandwidth, fleet.links[0].latency), (50_000_000_000, Span::from_micros(10)));
}

#[test]
fn a_range_of_replicas_scales() {
    let scenario = loaded(&[]);
    let chat = &scenario.pools[0];
    assert_eq!((chat.replicas, chat.fleet.initial, chat.gpus_per_replica), (8, 2, 4));
    assert_eq!(chat.fleet.nodes, [0, 1]);
    let scaling = Scaling {
        min: 0,
        aim: Some(Aim::Concurrency(16_000)),
        interval: Span::from_secs(20),
        tolerance: 200,
        up_window: Span::from_secs(30),
        down_window: mins(10),
        up_most: 4,
        down_most: 1,
        schedule: vec![(mins(8 * 60), 6), (mins(20 * 60), 1)],
        period: mins(24 * 60),
    };
    assert_eq!(chat.fleet.scaling, Some(scaling));
    let parts: Vec<f64> = chat.fleet.cold_start.parts().map(|part| part.mean()).collect();
    assert_eq!(parts, [90.0, 40.0, 10.0]);
    assert_eq!(chat.fleet.on_failure, OnFailure::Resume);
    assert_eq!(chat.fleet.notice, Span::from_secs(5));
    assert_eq!(chat.view_age, Span::from_millis(100));
    assert_eq!(chat.fleet.failures.as_ref().map(|failures| failures.mttr.mean()), Some(600.0));
}

#[test]
fn what_is_left_out_has_defaults() {
    let plain = "pools.chat.scaling={ aim = 'utilization', target = '70%' }";
    let chat = loaded(&[plain, "pools.chat.replicas={ min = 0, max = 3 }"]).pools.swap_remove(0);
    let scaling = chat.fleet.scaling.expect("it scales");
    assert_eq!((scaling.aim, scaling.tolerance), (Some(Aim::Utilization(700)), 100));
    assert_eq!((scaling.up_most, scaling.down_most), (u16::MAX, u16::MAX));
    assert_eq!((scaling.interval, scaling.up_window), (Span::from_secs(15), Span::ZERO));
    assert_eq!((scaling.down_window, scaling.period), (mins(5), mins(24 * 60)));
    // Scale to zero begins with one all the same.
    assert_eq!(chat.fleet.initial, 1);
}

#[test]
fn each_aim_reads_its_target_in_its_own_unit() {
    let aim = |text: &str| {
        let set = format!("pools.chat.scaling={{ {text} }}");
        loaded(&[set.as_str()]).pools[0].fleet.scaling.clone().and_then(|scaling| scaling.aim)
    };
    assert_eq!(aim("aim = 'queue', target = 0.5"), Some(Aim::Queue(500)));
    assert_eq!(aim("aim = 'utilization', target = 0.7"), Some(Aim::Utilization(700)));
    assert_eq!(aim("aim = 'ttft', target = '1s'"), Some(Aim::Ttft(Span::from_secs(1))));
    assert_eq!(aim("schedule = [{ from = '8h', min = 6 }]"), None);
}

#[test]
fn the_schedule_counts_at_the_start() {
    let schedule = "pools.chat.scaling.schedule=[{ from = '0s', min = 3 }]";
    let initial = |replicas: &str| {
        let replicas = format!("pools.chat.replicas={replicas}");
        load(EVERYTHING, &[schedule, &replicas]).map(|scenario| scenario.pools[0].fleet.initial)
    };
    assert_eq!(initial("{ min = 0, max = 8 }"), Ok(3));
    assert_eq!(initial("{ min = 0, max = 8, initial = 5 }"), Ok(5));
    assert!(initial("{ min = 0, max = 8, initial = 2 }").is_err_and(|found| found.contains("below 3")));
}

#[test]
fn prompts_come_from_another_pool() {
    let scenario = loaded(&[]);
    let prefill = scenario.pools[0].fleet.prefill.expect("chat has a prompt pool");
    assert_eq!(prefill.pool, pool(&scenario, "prompts"));
    assert_eq!(prefill.link, 0);
    // Llama 3.1 70B: 80 layers x 2 x 8 heads x 128 values x 2 bytes.
    assert_eq!(prefill.bytes_per_token, 80 * 2 * 8 * 128 * 2);
    assert!(scenario.caveats.iter().any(|note| note.contains("when the prompt is done")));
    let explicit = loaded(&["pools.chat.prefill.kv_bytes_per_token=160kB"]);
    assert_eq!(explicit.pools[0].fleet.prefill.map(|prefill| prefill.bytes_per_token), Some(160_000));
}

#[test]
fn faults_strike_what_they_name() {
    let scenario = loaded(&[]);
    let fault = |name: &str, at, lasts, target, effect| {
        let at = Time::ZERO.saturating_add(mins(at));
        Fault { name: name.to_owned(), at, lasts, target, effect }
    };
    let backup = pool(&scenario, "backup");
    assert_eq!(
        scenario.fleet.faults,
        [
            fault("fault-1", 10, Some(mins(5)), Target::Replica(0, 1), Effect::Down),
            fault("slow-backup", 20, None, Target::Pool(backup), Effect::Slow(3_000)),
            fault("fault-3", 30, Some(mins(1)), Target::Gpu(0, 2), Effect::Down),
            fault("fault-4", 31, Some(mins(1)), Target::Node(1, 1), Effect::Down),
            fault("fault-5", 32, Some(mins(1)), Target::Zone(0), Effect::Down),
        ]
    );
}

#[test]
fn a_fault_can_be_changed_by_name_and_switched_off() {
    let changed = loaded(&["faults.slow-backup.slow=2"]);
    assert_eq!(changed.fleet.faults[1].effect, Effect::Slow(2_000));
    let off = loaded(&["faults.slow-backup.enabled=false"]);
    assert_eq!(off.fleet.faults.len(), 4);
    assert_ne!(off.hash, loaded(&[]).hash);
    // What is switched off is not part of the scenario, whatever it says.
    let other = loaded(&["faults.slow-backup.enabled=false", "faults.slow-backup.slow=2"]);
    assert_eq!(off.hash, other.hash);
}

#[test]
fn a_tier_chooses_between_pools() {
    let scenario = loaded(&[]);
    let tier = &scenario.tiers[0];
    let [chat, cheap, backup] = ["chat", "cheap", "backup"].map(|name| pool(&scenario, name));
    assert_eq!(tier.pools, [chat, cheap, backup]);
    let weights = vec![700, 300];
    let choice = Choice { prefer: Prefer::Weighted, weights, fallbacks: 1, next: Next::Busy };
    assert_eq!(tier.choice, Some(choice));
    let candidates = &scenario.workloads[0].sender.candidates;
    assert_eq!(candidates.iter().map(|(_, pool)| *pool).collect::<Vec<_>>(), tier.pools);
}

#[test]
fn an_endpoint_chooses_between_models_that_a_workload_leaves_open() {
    let scenario = loaded(&[]);
    let router = scenario.tiers.last().expect("endpoints are tiers");
    let small = pool(&scenario, "small");
    let backup = pool(&scenario, "backup");
    assert_eq!(router.pools, [small, pool(&scenario, "cheap"), backup]);
    let choice = Choice { prefer: Prefer::Cheapest, weights: Vec::new(), fallbacks: 1, next: Next::Refused };
    assert_eq!(router.choice, Some(choice));
    assert_eq!(scenario.policy.endpoints[0].models, [1, 0]);
    let workload = |name: &str| scenario.workloads.iter().find(|w| w.name == name).expect("a workload");
    assert_eq!(workload("any").sender.candidates.len(), 3);
    assert_eq!(workload("small-only").sender.candidates, [(1, small)]);
    assert_eq!(workload("small-only").pool, small);
}

#[test]
fn a_fallback_alone_keeps_the_order_of_the_file() {
    let scenario = loaded(&["tiers.front={ pools = ['chat'], fallback = ['backup'] }"]);
    let choice = Choice { prefer: Prefer::Order, weights: Vec::new(), fallbacks: 1, next: Next::Refused };
    assert_eq!(scenario.tiers[0].choice, Some(choice));
}

#[test]
fn clients_retry_hedge_and_hang_up() {
    let scenario = loaded(&[]);
    let retry = Retry {
        most: 3,
        base: Span::from_millis(250),
        factor: 1_500,
        cap: Span::from_secs(10),
        jitter: Jitter::Equal,
        honour_retry_after: false,
        budget: Some(Budget { ratio: 100, burst: 10 }),
        on: vec![Outcome::Refused, Outcome::Failed],
        within: Some(mins(2)),
    };
    let hedge = Hedge { after: Span::from_secs(2), most: 2 };
    assert_eq!(scenario.workloads[0].client, Client { retry: Some(retry), hedge: Some(hedge), deaf: true });
    assert!(scenario.workloads[1].client.is_plain());
    let short = loaded(&["workloads.chat.retry={ most = 1 }"]).workloads[0].client.retry.clone().unwrap();
    assert_eq!((short.base, short.factor, short.cap), (Span::from_millis(500), 2_000, Span::from_secs(30)));
    assert_eq!((short.jitter, short.honour_retry_after, short.budget), (Jitter::Full, true, None));
    assert_eq!(short.on, [Outcome::Refused, Outcome::Expired, Outcome::TimedOut, Outcome::Lost]);
}

#[test]
fn replicas_that_do_not_fit_are_refused_with_the_arithmetic() {
    // 4 + 2 machines of 8 GPUs, and 4 GPUs a replica.
    let found = refused(&["pools.chat.replicas={ min = 0, max = 20, initial = 13 }"]);
    let arithmetic = "needs 13 x 4 = `52` GPUs at the start, `h100-a`, `h100-b` have 48 left: room for 12";
    assert!(found.contains(arithmetic), "{found}");
    // Those of `prompts` come after: their machines are full.
    let found = refused(&["pools.chat.replicas={ min = 0, max = 20, initial = 8 }"]);
    assert!(
        found.contains("pool `prompts` needs 1 x 4 = `4` GPUs at the start, `h100-a` has 0 left"),
        "{found}"
    );
    // What is there from the start must fit, what may come need not.
    let sharing = loaded(&["pools.chat.replicas={ min = 0, max = 20, initial = 7 }"]);
    assert_eq!(sharing.pools[0].fleet.initial, 7);
}

/// Two workers that never change.
const FIXED: &str = r#"
[scenario]
question = "Is anything random?"
horizon = "10s"
replications = 1

[models.m]

[pools.p]
engine = "slots"
model = "m"
replicas = 2
servers = 1
service = "10ms"

[pools.q]
engine = "slots"
model = "m"
servers = 1
service = "10ms"

[tiers.t]
pools = ["p"]

[workloads.w]
tier = "t"
arrivals = { kind = "constant", rate = "10/s" }
patience = "1s"
"#;

#[test]
fn what_makes_repetitions_differ_is_known() {
    let random =
        |set: &[&str]| !load(FIXED, set).unwrap_or_else(|found| panic!("{found}")).is_deterministic();
    assert!(!random(&[]));
    assert!(random(&["pools.p.failures={ mtbf = '1h', mttr = '1min' }"]));
    let fixed = "{ kind = 'constant', value = '1h' }";
    assert!(!random(&[&format!("pools.p.failures={{ mtbf = {fixed}, mttr = {fixed} }}")]));
    assert!(random(&["workloads.w.retry={ most = 1 }"]));
    assert!(!random(&["workloads.w.retry={ most = 1, jitter = 'none' }"]));
    let two = "tiers.t.pools=['p', 'q']";
    assert!(!random(&[two, "tiers.t.prefer=fastest"]));
    assert!(random(&[two, "tiers.t.prefer=weighted", "tiers.t.weights=[1, 1]"]));
    let scaled = [
        "pools.p.replicas={ min = 1, max = 2 }",
        "pools.p.scaling={ aim = 'queue', target = 1 }",
        "pools.p.cold_start={ load = '1s' }",
    ];
    assert!(!random(&scaled));
    let law = "pools.p.cold_start={ load = { kind = 'exponential', mean = '1s' } }";
    assert!(random(&[scaled[0], scaled[1], law]));
    let machines = "{ gpu = 'h100-sxm', count = 2, failures = { mtbf = '1d', mttr = '1h' } }";
    let placed = FIXED.replace("[models.m]", &format!("[nodes]\nn = {machines}\n[models.m]"));
    assert!(load(&placed, &[]).is_ok_and(|scenario| scenario.is_deterministic()));
    assert!(load(&placed, &["pools.p.nodes=['n']"]).is_ok_and(|scenario| !scenario.is_deterministic()));
}

#[test]
fn a_slots_replica_on_machines_has_one_gpu() {
    let placed = FIXED.replace("[models.m]", "[nodes.n]\ngpu = 'l4'\ncount = 1\ngpus = 2\n[models.m]");
    let fits = load(&placed, &["pools.p.nodes=['n']"]).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(fits.pools[0].gpus_per_replica, 1);
    let full = load(&placed, &["pools.p.nodes=['n']", "pools.q.nodes=['n']"]).unwrap_err();
    assert!(full.contains("pool `q` needs 1 x 1 = `1` GPUs at the start, `n` has 0 left"), "{full}");
}
