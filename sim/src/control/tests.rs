use super::Effect;
use super::fixture::*;
use crate::limits::Algorithm;
use crate::profile::{Attr, Condition, Counted, Key, Mechanism, Range, Subject, Verb};
use crate::request::CONFLICT;
use crate::scenario::policy::Operation;
use crate::time::{Span, Time};
use proptest::prelude::*;

const CHARGED: &[Verb] = &[Verb::CreateEndpoint, Verb::UpdateEndpoint, Verb::StartEndpoint];
const CHANGES: &[Verb] = &[Verb::CreateEndpoint, Verb::UpdateEndpoint];

fn ready_after(op: Operation, seconds: u64) -> Operation {
    Operation { ready_after: Span::from_secs(seconds), ..op }
}

fn sets(verb: Verb, limit: usize, value: u64) -> Operation {
    Operation { limit: Some(limit), value: Some(value), ..operation(verb, None) }
}

fn by(op: Operation, role: &str) -> Operation {
    Operation { traits: words(&[(Attr::Role, role)]), ..op }
}

#[test]
fn fifty_changes_in_300_s_and_the_next_at_exactly_300() {
    let limits = vec![limit("changes", CHANGES, rate(Some(50), 50, Span::from_secs(300)))];
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::UpdateEndpoint, Some(0)),
        operation(Verb::ListEndpoints, None),
    ];
    let scenario = scenario(limits, vec![endpoint("x", 0)], ops);
    let mut desk = Desk::open(&scenario);
    for second in 0..60 {
        let now = at(f64::from(second));
        // An update counts as a creation does, and a listing does not count.
        let verdict = desk.verdict(now, usize::from(second % 10 == 9));
        assert_eq!(verdict, if second < 50 { Ok(()) } else { Err("changes") }, "{second}");
        assert_eq!(desk.verdict(now, 2), Ok(()));
    }
    let refused = desk.call(at(299.0), 0).unwrap_err();
    assert_eq!((refused.limit, refused.current), (50, 50));
    assert_eq!(refused.retry_after, Some(Span::from_secs(1)));
    assert_eq!(desk.verdict(at(299.999_999), 0), Err("changes"));
    assert_eq!(desk.verdict(at(300.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(300.0), 0), Err("changes"));
}

#[test]
fn the_1001st_endpoint_is_refused_until_one_is_deleted() {
    let limits = vec![limit("endpoints", CHARGED, quota(Counted::Endpoints, 1_000))];
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::UpdateEndpoint, Some(0)),
        operation(Verb::StopEndpoint, Some(0)),
        operation(Verb::DeleteEndpoint, Some(0)),
    ];
    let scenario = scenario(limits, vec![endpoint("x", 0)], ops);
    let mut desk = Desk::open(&scenario);
    for _ in 0..1_000 {
        assert_eq!(desk.verdict(Time::ZERO, 0), Ok(()));
    }
    let refused = desk.call(at(1.0), 0).unwrap_err();
    assert_eq!((refused.limit, refused.current, refused.retry_after), (1_000, 1_000, None));
    assert_eq!(desk.verdict(at(1.0), 1), Ok(()), "an update needs no further place");
    assert_eq!(desk.verdict(at(1.0), 2), Ok(()));
    assert_eq!(desk.verdict(at(1.0), 0), Err("endpoints"), "a stopped endpoint keeps its place");
    assert_eq!(desk.verdict(at(1.0), 3), Ok(()));
    assert_eq!(desk.verdict(at(1.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(1.0), 0), Err("endpoints"));
}

#[test]
fn a_stopped_endpoint_gives_its_concurrency_back_and_asks_for_it_again() {
    let limits = vec![
        limit("endpoints", CHARGED, quota(Counted::Endpoints, 9)),
        limit("concurrency", CHARGED, quota(Counted::ProvisionedConcurrency, 4_096)),
    ];
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::CreateEndpoint, Some(1)),
        operation(Verb::StopEndpoint, Some(0)),
        operation(Verb::StartEndpoint, Some(0)),
        operation(Verb::DeleteEndpoint, Some(1)),
    ];
    let scenario = scenario(limits, vec![endpoint("large", 1_024), endpoint("small", 4)], ops);
    let mut desk = Desk::open(&scenario);
    for _ in 0..4 {
        assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    }
    let refused = desk.call(at(1.0), 1).unwrap_err();
    assert_eq!((refused.limit, refused.current), (4_096, 4_096));
    assert_eq!(desk.used(at(1.0), 0), 4, "what one quota refuses takes nothing of another");
    assert_eq!(desk.verdict(at(2.0), 2), Ok(()));
    assert_eq!(desk.verdict(at(2.0), 1), Ok(()));
    assert_eq!((desk.used(at(2.0), 0), desk.used(at(2.0), 1)), (5, 3 * 1_024 + 4));
    assert_eq!(desk.verdict(at(3.0), 3), Err("concurrency"));
    assert_eq!(desk.verdict(at(4.0), 4), Ok(()));
    assert_eq!(desk.verdict(at(4.0), 3), Ok(()));
    assert_eq!((desk.used(at(4.0), 0), desk.used(at(4.0), 1)), (4, 4_096));
    assert_eq!(desk.verdict(at(5.0), 3), Err("conflict"), "nothing is stopped any more");
}

#[test]
fn a_quota_that_a_start_does_not_ask_for_is_kept_while_stopped() {
    let limits =
        vec![limit("concurrency", &[Verb::CreateEndpoint], quota(Counted::ProvisionedConcurrency, 8))];
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::StopEndpoint, Some(0)),
        operation(Verb::StartEndpoint, Some(0)),
    ];
    let scenario = scenario(limits, vec![endpoint("x", 8)], ops);
    let mut desk = Desk::open(&scenario);
    for operation in 0..3 {
        assert_eq!(desk.verdict(at(0.0), operation), Ok(()));
        assert_eq!(desk.used(at(0.0), 0), 8);
    }
}

#[test]
fn a_quota_lowered_below_its_use_blocks_new_endpoints_and_removes_none() {
    let limits = vec![
        limit("endpoints", CHARGED, quota(Counted::Endpoints, 3)),
        limit("admins", &[Verb::RaiseLimit], gate(Some((Attr::Role, "admin")))),
    ];
    let mut there = endpoint("x", 0);
    there.exists = true;
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        sets(Verb::ChangeLimit, 0, 2),
        operation(Verb::DeleteEndpoint, Some(0)),
        operation(Verb::UpdateEndpoint, Some(0)),
        by(sets(Verb::RaiseLimit, 0, 3), "owner"),
        by(sets(Verb::RaiseLimit, 0, 3), "admin"),
    ];
    let scenario = scenario(limits, vec![there], ops);
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.used(at(0.0), 0), 1, "what exists at the start holds its place");
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(1.0), 1), Ok(()));
    assert_eq!((desk.used(at(1.0), 0), desk.plane.serving(0)), (3, Some(0)));
    assert_eq!(desk.verdict(at(1.0), 3), Ok(()), "an update needs no further place");
    assert_eq!(desk.verdict(at(1.0), 2), Ok(()));
    assert_eq!(desk.verdict(at(1.0), 0), Err("endpoints"));
    assert_eq!(desk.verdict(at(2.0), 4), Err("admins"));
    assert_eq!(desk.verdict(at(2.0), 0), Err("endpoints"));
    assert_eq!(desk.verdict(at(2.0), 5), Ok(()));
    assert_eq!(desk.verdict(at(2.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(3.0), 5), Ok(()), "a raise to what is in force is granted again");
    assert_eq!(desk.verdict(at(3.0), 2), Ok(()));
    assert_eq!(desk.verdict(at(3.0), 2), Ok(()));
    assert_eq!(desk.plane.serving(0), Some(0), "the last copy serves");
    assert_eq!(desk.call(at(3.0), 2).unwrap(), [Effect::Reclassify]);
    assert_eq!((desk.plane.serving(0), desk.used(at(3.0), 0)), (None, 0));
    assert_eq!(desk.verdict(at(3.0), 2), Err("no-endpoint"));
}

#[test]
#[should_panic(expected = "endpoint `y` exists at the start, but `endpoints` holds 1 of 1")]
fn endpoints_that_exist_at_the_start_must_fit() {
    let limits = vec![limit("endpoints", CHARGED, quota(Counted::Endpoints, 1))];
    let mut there = [endpoint("x", 0), endpoint("y", 0)];
    there.iter_mut().for_each(|endpoint| endpoint.exists = true);
    Desk::open(&scenario(limits, there.to_vec(), Vec::new()));
}

/// `v1` exists; operations: update to `v2` and to `v3` (60 s each), patch, delete, update of nothing (60 s), create.
fn versions() -> crate::scenario::Scenario {
    let limits = vec![limit("concurrency", CHARGED, quota(Counted::ProvisionedConcurrency, 100))];
    let mut endpoints = vec![endpoint("v1", 40), endpoint("v2", 64), endpoint("v3", 16)];
    endpoints[0].exists = true;
    let update = |to| Operation { to, ..ready_after(operation(Verb::UpdateEndpoint, Some(0)), 60) };
    let ops = vec![
        update(Some(1)),
        update(Some(2)),
        operation(Verb::PublishPatch, None),
        operation(Verb::DeleteEndpoint, Some(0)),
        update(None),
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::StopEndpoint, Some(0)),
    ];
    scenario(limits, endpoints, ops)
}

#[test]
fn an_update_serves_the_old_version_until_the_new_one_is_ready() {
    let scenario = versions();
    let mut desk = Desk::open(&scenario);
    let effects = desk.call(at(200.0), 0).unwrap();
    assert_eq!(effects, [Effect::ReadyAt { endpoint: 0, at: at(260.0), epoch: 2 }]);
    assert_eq!((desk.plane.serving(0), desk.used(at(200.0), 0)), (Some(0), 64));
    assert_eq!(desk.ready(effects[0]), [Effect::Reclassify]);
    assert_eq!((desk.plane.serving(0), desk.used(at(260.0), 0)), (Some(1), 64));
    // The smaller version gives its share back when it serves, not before.
    let effects = desk.call(at(300.0), 1).unwrap();
    assert_eq!(desk.used(at(300.0), 0), 64);
    desk.ready(effects[0]);
    assert_eq!((desk.plane.serving(0), desk.used(at(360.0), 0)), (Some(2), 16));
}

#[test]
fn one_change_of_an_endpoint_at_a_time() {
    let scenario = versions();
    let mut desk = Desk::open(&scenario);
    let first = desk.call(at(0.0), 0).unwrap()[0];
    for other in [0, 1, 4, 6] {
        let refused = desk.call(at(59.0), other).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), (CONFLICT, None));
        assert_eq!(desk.used(at(59.0), 0), 64);
    }
    desk.ready(first);
    assert_eq!(desk.verdict(at(60.0), 1), Ok(()));
}

#[test]
fn a_change_of_what_was_deleted_is_void() {
    let scenario = versions();
    let mut desk = Desk::open(&scenario);
    let stale = desk.call(at(0.0), 0).unwrap()[0];
    assert_eq!(desk.call(at(1.0), 3).unwrap(), [Effect::Reclassify]);
    assert_eq!((desk.plane.serving(0), desk.used(at(1.0), 0)), (None, 0));
    assert_eq!(desk.call(at(2.0), 5).unwrap(), [Effect::Reclassify]);
    assert_eq!(desk.ready(stale), []);
    assert_eq!((desk.plane.serving(0), desk.used(at(60.0), 0)), (Some(0), 40));
}

#[test]
fn a_patch_is_in_new_versions_and_in_no_image_that_exists() {
    let scenario = versions();
    let image_after = |operations: &[usize]| {
        let mut desk = Desk::open(&scenario);
        for &operation in operations {
            let effects = desk.call(at(0.0), operation).unwrap();
            for effect in effects {
                // Ready at the instant of the call: these are about order, not about time.
                if let Effect::ReadyAt { endpoint, epoch, .. } = effect {
                    desk.plane.ready(at(0.0), endpoint, epoch, &mut desk.meters);
                }
            }
        }
        desk.plane.image(0)
    };
    let (v1, v2, patch, delete, metadata, create, v3) = (&[][..], 0, 2, 3, 4, 5, 1);
    assert_eq!(image_after(v1), image_after(&[patch]));
    assert_ne!(image_after(v1), image_after(&[v2]));
    assert_ne!(image_after(&[v2]), image_after(&[patch, v2]));
    assert_eq!(image_after(&[v2]), image_after(&[v2, patch]));
    assert_ne!(image_after(&[patch, v2]), image_after(&[patch, patch, v2]));
    assert_ne!(image_after(&[patch, v2]), image_after(&[patch, v3]));
    // A change that brings no version builds no image, and a version that was built stays what it was.
    assert_eq!(image_after(v1), image_after(&[patch, metadata]));
    assert_eq!(image_after(v1), image_after(&[patch, delete, create]));
    assert_eq!(image_after(&[delete]), None);
}

#[test]
fn an_image_is_built_at_the_call_not_when_it_is_ready() {
    let scenario = versions();
    let mut desk = Desk::open(&scenario);
    let update = desk.call(at(0.0), 0).unwrap()[0];
    assert_eq!(desk.call(at(30.0), 2).unwrap(), [], "a patch changes nothing that serves");
    desk.ready(update);
    let mut other = Desk::open(&scenario);
    let update = other.call(at(0.0), 0).unwrap()[0];
    other.ready(update);
    assert_eq!(desk.plane.image(0), other.plane.image(0));
}

#[test]
fn only_an_admin_sets_a_rate_limit_and_history_counts() {
    let on = &[Verb::Inference];
    let limits = vec![
        limit("rate", on, rate(None, 300, Span::from_secs(60))),
        limit("admins", &[Verb::SetRateLimit], gate(Some((Attr::Role, "admin")))),
    ];
    let set = |role| by(sets(Verb::SetRateLimit, 0, 300), role);
    let scenario = scenario(limits, vec![endpoint("x", 0)], vec![set("user"), set("admin")]);
    let mut desk = Desk::open(&scenario);
    let mut accepted = [0; 3];
    for tenth in 0..1_800u64 {
        let now = Time::ZERO + Span::from_millis(100) * tenth;
        if tenth == 300 {
            assert_eq!(desk.verdict(now, 0), Err("admins"));
            assert_eq!(desk.meters.limit_of(0, 0), None);
        }
        if tenth == 600 {
            assert_eq!(desk.call(now, 1), Ok(Vec::new()));
            assert_eq!(desk.meters.limit_of(0, 0), Some(300));
        }
        let mut claims = [crate::limits::Claim { meter: 0, key: 0, units: 1, entry: 0 }];
        accepted[tenth as usize / 600] += u64::from(desk.meters.admit(now, &mut claims).is_ok());
    }
    assert_eq!(accepted, [600, 300, 300]);
}

#[test]
fn a_rate_limit_of_one_endpoint_leaves_the_others_alone() {
    let on = &[Verb::Inference];
    let mut per_endpoint = limit("rate", on, rate(None, 5, Span::from_secs(60)));
    (per_endpoint.per, per_endpoint.keys) = (vec![(Key::Endpoint, 1)], 2);
    let mut set = sets(Verb::SetRateLimit, 0, 5);
    set.endpoint = Some(1);
    let (x, mut y) = (endpoint("x", 0), endpoint("y", 0));
    y.exists = true;
    let scenario = scenario(vec![per_endpoint], vec![x, y], vec![set]);
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    let limits = [0, 1].map(|key| desk.meters.limit_of(0, key));
    assert_eq!(limits, [None, Some(5)]);
}

#[test]
fn a_raise_may_take_its_time_and_never_lowers() {
    let limits = vec![limit("endpoints", CHARGED, quota(Counted::Endpoints, 1))];
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        ready_after(sets(Verb::RaiseLimit, 0, 5), 60),
        sets(Verb::ChangeLimit, 0, 9),
    ];
    let scenario = scenario(limits, vec![endpoint("x", 0)], ops);
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    let first = desk.call(at(0.0), 1).unwrap()[0];
    let second = desk.call(at(10.0), 1).unwrap()[0];
    assert_eq!(desk.verdict(at(59.0), 0), Err("endpoints"));
    assert_eq!(desk.ready(first), []);
    assert_eq!(desk.verdict(at(60.0), 0), Ok(()));
    assert_eq!(desk.verdict(at(61.0), 2), Ok(()));
    desk.ready(second);
    assert_eq!(desk.meters.limit_of(0, 0), Some(9));
}

/// Accounts a and b, with an endpoint each and two models; a limit of 5 by `per`, with its limits after `operations`.
fn after(per: &[Key], operations: Vec<Operation>) -> Vec<Option<u64>> {
    let mut raised = limit("rate", &[Verb::Inference], rate(Some(5), 50, Span::from_secs(60)));
    raised.keys = 1 << per.len();
    raised.per = per.iter().enumerate().map(|(at, key)| (*key, 1 << at)).collect();
    let mut endpoints = vec![endpoint("x", 0), endpoint("y", 0)];
    endpoints[1].account = 1;
    endpoints.iter_mut().for_each(|endpoint| endpoint.exists = true);
    let keys = raised.keys;
    let mut scenario = scenario(vec![raised], endpoints, operations);
    let mut second = scenario.policy.accounts[0].clone();
    second.name = "second".into();
    scenario.policy.accounts.push(second);
    scenario.models.push(model("n", "", 0, true, Subject::default()));
    let mut desk = Desk::open(&scenario);
    for operation in 0..scenario.policy.operations.len() {
        let number = operation as u64;
        desk.plane.perform(at(number as f64), operation, number, &mut desk.meters).unwrap();
    }
    (0..keys).map(|key| desk.meters.limit_of(0, key)).collect()
}

#[test]
fn a_raise_of_one_account_reaches_all_its_counters_and_nobody_elses() {
    let of = |verb, account| Operation { account, ..sets(verb, 0, 9) };
    let (five, nine) = (Some(5), Some(9));
    for verb in [Verb::RaiseLimit, Verb::ChangeLimit] {
        let b = || vec![of(verb, 1)];
        assert_eq!(after(&[Key::Account], b()), [five, nine]);
        assert_eq!(after(&[Key::Account, Key::Model], b()), [five, nine, five, nine]);
        assert_eq!(after(&[Key::Endpoint], b()), [five, nine], "its endpoint is the second");
        let of_model = vec![Operation { model: Some(1), ..of(verb, 1) }];
        assert_eq!(after(&[Key::Account, Key::Model], of_model), [five, five, five, nine]);
        let of_endpoint = vec![Operation { endpoint: Some(1), ..of(verb, 1) }];
        assert_eq!(after(&[Key::Account, Key::Endpoint], of_endpoint), [five, five, five, nine]);
    }
}

#[test]
fn a_change_that_names_no_account_is_about_everybody() {
    let change = || Operation { everybody: true, ..sets(Verb::ChangeLimit, 0, 2) };
    assert_eq!(after(&[Key::Account, Key::Model], vec![change()]), [Some(2); 4]);
    let of_model = Operation { model: Some(1), ..change() };
    assert_eq!(after(&[Key::Account, Key::Model], vec![of_model]), [Some(5), Some(5), Some(2), Some(2)]);
    let first = Operation { account: 1, ..sets(Verb::RaiseLimit, 0, 9) };
    assert_eq!(after(&[Key::Account], vec![first, change()]), [Some(2); 2]);
}

#[test]
fn the_first_copy_that_is_ready_serves_the_name() {
    let ops = vec![
        ready_after(operation(Verb::CreateEndpoint, Some(0)), 60),
        ready_after(operation(Verb::CreateEndpoint, Some(0)), 10),
        operation(Verb::StopEndpoint, Some(0)),
        ready_after(operation(Verb::StartEndpoint, Some(0)), 5),
    ];
    let scenario = scenario(Vec::new(), vec![endpoint("x", 0)], ops);
    let mut desk = Desk::open(&scenario);
    let slow = desk.call(at(0.0), 0).unwrap()[0];
    let quick = desk.call(at(0.0), 1).unwrap()[0];
    assert_eq!((desk.plane.serving(0), desk.verdict(at(0.0), 2)), (None, Err("conflict")));
    assert_eq!(desk.ready(quick), [Effect::Reclassify]);
    assert_eq!(desk.plane.serving(0), Some(0));
    assert_eq!(desk.ready(slow), [], "one serves already");
    assert_eq!(desk.call(at(70.0), 2), Ok(Vec::new()), "the other goes on");
    assert_eq!(desk.call(at(70.0), 2), Ok(vec![Effect::Reclassify]));
    assert_eq!((desk.plane.serving(0), desk.plane.image(0)), (None, None));
    let started = desk.call(at(71.0), 3).unwrap()[0];
    assert_eq!(desk.plane.serving(0), None);
    assert_eq!(desk.ready(started), [Effect::Reclassify]);
    assert_eq!(desk.plane.serving(0), Some(0));
}

#[test]
fn a_version_published_takes_first_place_and_the_oldest_in_the_window_retires() {
    let window =
        Mechanism::Size { attr: Attr::VersionRank, range: Range { at_most: Some(3), ..Range::default() } };
    let limits = vec![limit("window", &[Verb::CreateEndpoint], window)];
    let stable = || words(&[(Attr::ModelStable, "yes"), (Attr::ModelListed, "yes")]);
    let mut endpoints: Vec<_> = (0..6).map(|model| endpoint(&format!("e{model}"), 0)).collect();
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.models = vec![index];
    }
    let mut ops: Vec<_> = (0..6).map(|endpoint| operation(Verb::CreateEndpoint, Some(endpoint))).collect();
    ops.push(Operation { model: Some(3), ..operation(Verb::PublishModel, None) });
    let mut scenario = scenario(limits, endpoints, ops);
    scenario.models = vec![
        model("g1", "g", 1, true, stable()),
        model("g2", "g", 2, true, stable()),
        model("g3", "g", 3, true, stable()),
        model("g4", "g", 4, false, stable()),
        model("g5-preview", "g", 5, true, words(&[(Attr::ModelStable, "no")])),
        model("other", "h", 1, true, stable()),
    ];
    let mut desk = Desk::open(&scenario);
    let ranks = |desk: &Desk| (0..6).map(|model| desk.plane.catalog.rank(model)).collect::<Vec<_>>();
    assert_eq!(ranks(&desk), [Some(3), Some(2), Some(1), None, None, Some(1)]);
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    assert_eq!(desk.call(at(1.0), 6), Ok(vec![Effect::Reclassify]));
    assert_eq!(ranks(&desk), [Some(4), Some(3), Some(2), Some(1), None, Some(1)]);
    let refused = desk.call(at(1.0), 0).unwrap_err();
    assert_eq!((refused.limit, refused.current, refused.retry_after), (3, 4, None));
    assert_eq!(desk.verdict(at(1.0), 1), Ok(()));
    assert_eq!(desk.call(at(2.0), 6), Ok(Vec::new()), "it is published already");
}

#[test]
fn one_banned_model_among_several_refuses_the_whole_endpoint() {
    let mut ban = limit("no-rerank", &[Verb::CreateEndpoint, Verb::UpdateEndpoint], gate(None));
    ban.when = vec![Condition { attr: Attr::ModelKind, values: vec!["rerank".into()] }];
    let limits = vec![ban, limit("endpoints", CHARGED, quota(Counted::Endpoints, 9))];
    let mut mixed = endpoint("mixed", 0);
    mixed.models = vec![0, 1];
    let update = Operation { to: Some(1), ..operation(Verb::UpdateEndpoint, Some(0)) };
    let ops = vec![
        operation(Verb::CreateEndpoint, Some(0)),
        operation(Verb::CreateEndpoint, Some(1)),
        update,
        Operation { model: Some(1), ..operation(Verb::CreateEndpoint, Some(0)) },
    ];
    let mut scenario = scenario(limits, vec![endpoint("chat", 0), mixed], ops);
    let kind = |kind| words(&[(Attr::ModelKind, kind)]);
    scenario.models = vec![model("c", "", 0, true, kind("chat")), model("r", "", 0, true, kind("rerank"))];
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.verdict(at(0.0), 0), Ok(()));
    for banned in 1..4 {
        assert_eq!(desk.verdict(at(0.0), banned), Err("no-rerank"));
    }
    assert_eq!((desk.used(at(0.0), 0), desk.plane.serving(1)), (1, None));
}

#[test]
fn who_calls_and_from_where_is_asked_before_whether_there_is_an_endpoint() {
    let limits = vec![
        limit("token", &[Verb::DeleteEndpoint], gate(Some((Attr::Auth, "valid")))),
        limit("region", &[Verb::DeleteEndpoint], gate(Some((Attr::Region, "us-east1")))),
    ];
    let delete = || operation(Verb::DeleteEndpoint, Some(0));
    let without = Operation { traits: words(&[(Attr::Auth, "none")]), ..delete() };
    let mut scenario = scenario(limits, vec![endpoint("x", 0)], vec![delete(), without]);
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.verdict(at(0.0), 0), Err("no-endpoint"), "a token is valid unless it is said not to be");
    assert_eq!(desk.verdict(at(0.0), 1), Err("token"));
    scenario.policy.accounts[0].traits = words(&[(Attr::Region, "us-east4")]);
    let mut desk = Desk::open(&scenario);
    assert_eq!(desk.verdict(at(0.0), 0), Err("region"));
}

#[test]
fn a_call_is_over_at_once_so_calls_in_flight_are_free_again() {
    let both = &[Verb::CallMcp];
    let limits = vec![
        limit("hour", both, rate(Some(3), 3, Span::from_secs(3_600))),
        limit("in-flight", both, Mechanism::Concurrency { limit: Some(1) }),
    ];
    let scenario = scenario(limits, Vec::new(), vec![operation(Verb::CallMcp, None)]);
    let mut desk = Desk::open(&scenario);
    for _ in 0..3 {
        assert_eq!(desk.call(at(0.0), 0), Ok(Vec::new()));
    }
    let refused = desk.call(at(1.0), 0).unwrap_err();
    assert_eq!(refused.retry_after, Some(Span::from_secs(3_599)));
    assert_eq!(desk.used(at(1.0), 1), 0);
}

#[test]
fn requests_are_judged_by_what_serves_them_now() {
    let mut scenario = versions();
    for (index, kind) in ["custom", "agent", "external"].into_iter().enumerate() {
        scenario.policy.endpoints[index].traits = words(&[(Attr::EndpointKind, kind)]);
    }
    let mut workload = workload();
    workload.sender.endpoint = Some(0);
    workload.sender.traits = words(&[(Attr::Modality, "text")]);
    scenario.workloads = vec![workload];
    scenario.models.push(model("next", "", 0, false, words(&[(Attr::ModelListed, "yes")])));
    let mut desk = Desk::open(&scenario);
    let mut expected = words(&[
        (Attr::Auth, "valid"),
        (Attr::Region, "us-east1"),
        (Attr::EndpointKind, "custom"),
        (Attr::ModelName, "m"),
        (Attr::Modality, "text"),
    ]);
    assert_eq!(desk.plane.request_subject(0, 0), expected);
    let update = desk.call(at(0.0), 0).unwrap()[0];
    assert_eq!(desk.plane.request_subject(0, 0), expected);
    desk.ready(update);
    assert_eq!(desk.plane.request_subject(0, 0), *expected.say(Attr::EndpointKind, ["agent"]));
    // What is not published is not listed, and without an endpoint the declared one stands for it.
    desk.call(at(60.0), 3).unwrap();
    expected
        .say(Attr::EndpointKind, ["custom"])
        .say(Attr::ModelName, ["next"])
        .flag(Attr::ModelListed, false);
    assert_eq!(desk.plane.request_subject(0, 1), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is called in whatever order: a refused call leaves every counter and what serves as they were, and
    /// nothing is held any more when all is deleted.
    #[test]
    fn a_refused_call_changes_nothing(
        calls in prop::collection::vec((0..11usize, 0..20u64), 1..80),
        bucket in any::<bool>(),
    ) {
        let mut changes = rate(Some(12), 12, Span::from_secs(30));
        if let (Mechanism::Rate { algorithm, burst, .. }, true) = (&mut changes, bucket) {
            (*algorithm, *burst) = (Algorithm::TokenBucket, 12);
        }
        let limits = vec![
            limit("changes", CHANGES, changes),
            limit("endpoints", CHARGED, quota(Counted::Endpoints, 5)),
            limit("concurrency", CHARGED, quota(Counted::ProvisionedConcurrency, 100)),
        ];
        let on = |verb| [operation(verb, Some(0)), ready_after(operation(verb, Some(1)), 7)];
        let mut ops = Vec::new();
        for verb in [Verb::CreateEndpoint, Verb::StopEndpoint, Verb::StartEndpoint, Verb::DeleteEndpoint] {
            ops.extend(on(verb));
        }
        let update = |of, to| Operation { to: Some(to), ..ready_after(operation(Verb::UpdateEndpoint, Some(of)), 5) };
        ops.extend([update(0, 1), update(1, 0), update(0, 0)]);
        let scenario = scenario(limits, vec![endpoint("a", 8), endpoint("b", 40)], ops);
        let mut desk = Desk::open(&scenario);
        let mut now = Time::ZERO;
        let mut waiting: Vec<(Time, usize, u32)> = Vec::new();
        for (operation, wait) in calls {
            now += Span::from_secs(wait);
            waiting.sort();
            while let Some(&(due, place, epoch)) = waiting.first().filter(|(due, ..)| *due <= now) {
                waiting.remove(0);
                desk.plane.ready(due, place, epoch, &mut desk.meters);
            }
            let state = |desk: &Desk| {
                let used: Vec<u64> = (0..3).map(|meter| desk.used(now, meter)).collect();
                (used, desk.plane.serving(0), desk.plane.serving(1), desk.plane.image(0))
            };
            let before = state(&desk);
            match desk.call(now, operation) {
                Err(_) => prop_assert_eq!(state(&desk), before),
                Ok(effects) => waiting.extend(effects.iter().filter_map(|effect| match *effect {
                    Effect::ReadyAt { endpoint, at, epoch } => Some((at, endpoint, epoch)),
                    Effect::Reclassify => None,
                })),
            }
        }
        for delete in [6, 7] {
            while desk.verdict(now, delete).is_ok() {}
        }
        prop_assert_eq!((desk.used(now, 1), desk.used(now, 2)), (0, 0));
        for (due, place, epoch) in waiting {
            prop_assert_eq!(desk.plane.ready(due.max(now), place, epoch, &mut desk.meters), []);
        }
    }
}
