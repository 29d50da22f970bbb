//! The vendor's side of a scenario: what a file says arrives where it belongs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use tidegate_sim::limits::Algorithm;
use tidegate_sim::profile::{Attr, Key, Mechanism, Source, Verb};
use tidegate_sim::request::QUEUE_FULL;
use tidegate_sim::scenario::policy::{Claim, Stream, reason_of};
use tidegate_sim::scenario::{self, Overrides, Scenario};
use tidegate_sim::time::{Span, Time};

fn load(set: &[&str], variant: Option<&str>) -> Scenario {
    let set = set.iter().map(|&s| s.to_owned()).collect();
    let overrides = Overrides { set, variant: variant.map(str::to_owned), trace: None };
    scenario::load(Path::new("tests/data/limits/full.toml"), &overrides).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn prints() {
    let scenario = load(&[], None);
    println!("{:#?}", scenario.policy.profile);
    println!("{:#?}", scenario.caveats);
    for limit in &scenario.policy.limits { println!("{} {:?} {} {:?} keys {} per {:?} meter {:?} {:?}", limit.name, limit.stage, limit.value_text(), limit.mechanism, limit.keys, limit.per, limit.meter, limit.source); }
    println!("{:?} {:?}", scenario.policy.tokens, scenario.policy.users);
}
