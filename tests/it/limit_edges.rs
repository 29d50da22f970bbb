//! Every limit of every built-in profile, at its edge: just inside, at, and just beyond; every gate on both sides.

use crate::support::{Script, arrival, limit as any_limit, scenario, workload};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tidegate_sim::dist::Dist;
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::gateway::admission;
use tidegate_sim::limits::{Algorithm, Claim, Meters};
use tidegate_sim::observe::Observer;
use tidegate_sim::profile::attr::Scale;
use tidegate_sim::profile::{
    Action, Attr, Condition, Limit, Mechanism, Range, Subject, Unit, Verb, concerns, judge,
};
use tidegate_sim::request::{Arrival, Finished, Outcome, QUEUE_FULL, RequestHead};
use tidegate_sim::scenario::policy::reason_of;
use tidegate_sim::scenario::*;
use tidegate_sim::time::{Span, Time};
use tidegate_sim::workload::Source;

/// Every limit of every built-in profile, whatever its overlay, under `profile: name`.
fn all() -> Vec<(String, Limit)> {
    let mut found = Vec::new();
    for id in profile::built_in() {
        let loaded = profile::load(id).unwrap_or_else(|errors| panic!("{errors}"));
        found.extend(loaded.limits.into_iter().map(|one| (format!("{id}: {}", one.limit.name), one.limit)));
    }
    found
}

fn say(subject: &mut Subject, attr: Attr, value: &str) {
    match attr.scale() {
        Scale::Words | Scale::Flag => subject.say(attr, [value]),
        Scale::Number | Scale::Bytes => subject.count(attr, [value.parse().unwrap()]),
    };
}

/// A value that a condition has.
fn inside(condition: &Condition) -> String {
    condition.values[0].replace('*', "anything")
}

/// A value that a condition does not have.
fn outside(condition: &Condition) -> &'static str {
    match condition.attr.scale() {
        Scale::Flag if condition.values.iter().any(|value| value == "yes") => "no",
        Scale::Flag => "yes",
        Scale::Words => "something-else",
        Scale::Number | Scale::Bytes => "987654321",
    }
}

/// A subject that a limit concerns.
fn concerned(limit: &Limit) -> Subject {
    let mut subject = Subject::default();
    for condition in &limit.when {
        say(&mut subject, condition.attr, &inside(condition));
    }
    subject
}

fn refuses(limit: &Limit, subject: &Subject) -> bool {
    judge(std::slice::from_ref(limit), limit.on[0], subject).refused.is_some()
}

#[test]
fn each_limit_concerns_what_its_conditions_name_and_nothing_else() {
    for (name, limit) in all() {
        let subject = concerned(&limit);
        for &verb in Verb::ALL {
            assert_eq!(concerns(&limit, verb, &subject), limit.on.contains(&verb), "{name}: {}", verb.name());
        }
        for condition in &limit.when {
            // `*`: whatever it is, as long as it is stated.
            if condition.values == ["*"] {
                continue;
            }
            let mut other = concerned(&limit);
            say(&mut other, condition.attr, outside(condition));
            assert!(!concerns(&limit, limit.on[0], &other), "{name}: {}", condition.attr.name());
        }
    }
}

#[test]
fn each_gate_lets_pass_what_it_allows_and_turns_away_what_it_does_not() {
    let mut sides = 0;
    for (name, limit) in all() {
        let Mechanism::Gate { require, action } = &limit.mechanism else { continue };
        let mut subject = concerned(&limit);
        let limits = std::slice::from_ref(&limit);
        let answered = |subject: &Subject| {
            let found = judge(limits, limit.on[0], subject);
            match action {
                Action::Refuse => found.refused.is_some(),
                Action::Ignore => !found.ignored.is_empty(),
                Action::Warn => !found.warned.is_empty(),
            }
        };
        let Some(require) = require else {
            assert!(answered(&subject), "{name}: a ban bans what it concerns");
            sides += 1;
            continue;
        };
        // A gate with nothing allowed waits for a scenario to name what is.
        if !require.values.is_empty() {
            for value in &require.values {
                say(&mut subject, require.attr, &value.replace('*', "anything"));
                assert!(!answered(&subject), "{name}: `{value}` is allowed");
            }
            sides += 1;
        }
        say(&mut subject, require.attr, outside(require));
        assert!(answered(&subject), "{name}: `{}` is not allowed", outside(require));
        sides += 1;
    }
    assert!(sides > 50, "{sides} sides of gates were tried");
}

/// Values at the edges of a range, and whether each is inside.
fn edges(range: &Range) -> Vec<(u64, bool)> {
    // The other bounds hold at these values, or they would not be edges.
    let mut values = Vec::new();
    if let Some(least) = range.at_least {
        values.extend([(least.saturating_sub(1), least == 0), (least, true), (least + 1, true)]);
    }
    if let Some(most) = range.at_most {
        values.extend([(most - 1, true), (most, true), (most + 1, false)]);
    }
    if let Some(bound) = range.below {
        values.extend([(bound - 1, true), (bound, false), (bound + 1, false)]);
    }
    if let Some(step) = range.multiple_of {
        values.extend([(step - 1, false), (step, true), (step + 1, false)]);
    }
    let fits = |value: u64| {
        range.at_least.is_none_or(|least| value >= least)
            && range.at_most.is_none_or(|most| value <= most)
            && range.below.is_none_or(|bound| value < bound)
    };
    values.into_iter().filter(|(value, inside)| !inside || fits(*value)).collect()
}

#[test]
fn each_size_is_allowed_up_to_its_edge_and_not_one_beyond() {
    let mut tried = 0;
    for (name, limit) in all() {
        let Mechanism::Size { attr, range } = limit.mechanism else { continue };
        for (value, inside) in edges(&range) {
            let mut subject = concerned(&limit);
            subject.count(attr, [value]);
            assert_eq!(refuses(&limit, &subject), !inside, "{name}: {value} of {range:?}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried} sizes were tried");
}

fn claim(units: u64) -> [Claim; 1] {
    [Claim { meter: 0, key: 0, units, entry: 0 }]
}

/// The meter of one limit alone.
fn meter(limit: &Limit) -> Meters {
    let alone = Limit { meter: Some(0), keys: 1, ..limit.clone() };
    admission::meters(&[alone])
}

#[test]
fn each_rate_admits_its_limit_and_refuses_one_more_until_the_window_is_over() {
    let mut tried = 0;
    for (name, limit) in all() {
        let Mechanism::Rate { limit: Some(most), window, algorithm, unit, burst, .. } = limit.mechanism
        else {
            continue;
        };
        // A required value stands at nothing until a scenario gives it.
        if most == 0 {
            continue;
        }
        let mut meters = meter(&limit);
        let start = Time::from_nanos(7);
        let full = if algorithm == Algorithm::TokenBucket { burst } else { most };
        if unit == Unit::Requests {
            for taken in 0..full {
                assert_eq!(meters.admit(start, &mut claim(1)), Ok(()), "{name}: {taken} of {full}");
            }
        } else {
            assert_eq!(meters.admit(start, &mut claim(full - 1)), Ok(()), "{name}: below");
            assert_eq!(meters.admit(start, &mut claim(1)), Ok(()), "{name}: at");
        }
        let denied = meters.admit(start, &mut claim(1)).expect_err(&name);
        assert_eq!(denied.limit, most, "{name}");
        let healed = denied.retry_at.unwrap_or_else(|| panic!("{name}: time heals a rate"));
        if algorithm == Algorithm::SlidingLog {
            assert_eq!(healed, start + window, "{name}");
        }
        let before = Time::from_nanos(healed.as_nanos() - 1);
        assert!(meters.admit(before, &mut claim(1)).is_err(), "{name}: 1 ns too early");
        assert_eq!(meters.admit(healed, &mut claim(1)), Ok(()), "{name}: in time");
        tried += 1;
    }
    assert!(tried >= 10, "{tried} rates were tried");
}

#[test]
fn each_count_admits_its_limit_and_refuses_one_more_until_one_is_given_back() {
    let mut tried = 0;
    for (name, limit) in all() {
        let (Mechanism::Quota { limit: most, .. } | Mechanism::Concurrency { limit: most }) = limit.mechanism
        else {
            continue;
        };
        // Counts that a vendor does not publish are set as a scenario would set them.
        let most = most.filter(|&most| most > 0).unwrap_or(3);
        let mut meters = meter(&limit);
        meters.set_limit(Time::ZERO, 0, Some(most));
        assert_eq!(meters.admit(Time::ZERO, &mut claim(most - 1)), Ok(()), "{name}: below");
        assert_eq!(meters.admit(Time::ZERO, &mut claim(1)), Ok(()), "{name}: at");
        let denied = meters.admit(Time::ZERO, &mut claim(1)).expect_err(&name);
        assert_eq!((denied.limit, denied.current, denied.retry_at), (most, most, None), "{name}");
        meters.release(Time::ZERO, 0, 0, 1);
        assert_eq!(meters.admit(Time::ZERO, &mut claim(1)), Ok(()), "{name}: given back");
        tried += 1;
    }
    assert!(tried >= 4, "{tried} counts were tried");
}

#[derive(Default)]
struct Seen {
    finished: Vec<Finished>,
    violated: BTreeSet<u64>,
}

impl Observer for Seen {
    fn finished(&mut self, done: &Finished) {
        self.finished.push(*done);
    }
    fn violated(&mut self, _now: Time, _limit: usize, head: &RequestHead) {
        self.violated.insert(head.index);
    }
}

/// A pool of one server whose only limit is `limit`.
fn one_server(limit: Limit) -> Scenario {
    let engine = SlotsEngine { servers: 1, service: Dist::constant(1.0).unwrap() };
    let pool = Pool {
        name: "pool".into(),
        model: 0,
        replicas: 1,
        gpus_per_replica: 0,
        engine: Engine::Slots(engine),
        route: Route::RoundRobin,
        outstanding: None,
        queue: Queue { most: None, wait: None, order: QueueOrder::Fifo },
        permits: None,
        fleet: PoolFleet::fixed(1),
        view_age: Span::ZERO,
        batch: None,
    };
    let mut sender = workload("calls", 0, 0);
    sender.sender.candidates = vec![(0, 0)];
    let mut scenario = scenario(Span::from_secs(1), vec![pool], vec![sender]);
    // The only one: it concerns whatever comes.
    scenario.policy.limits = vec![Limit { when: Vec::new(), ..limit }];
    scenario
}

fn seen(scenario: &Scenario, arrivals: Vec<Arrival>) -> Seen {
    let mut seen = Seen::default();
    simulate(scenario, vec![Script::new(arrivals)], 1, Mode::Fast, &mut seen, |_, _| {
        ControlFlow::Continue(())
    });
    seen.finished.sort_by_key(|done| done.head.index);
    seen
}

#[test]
fn each_execution_limit_is_reached_in_time_and_cuts_what_lasts_a_nanosecond_longer() {
    let mut tried = 0;
    for (name, limit) in all() {
        let Mechanism::Deadline { at_most } = limit.mechanism else { continue };
        let reason = reason_of(0);
        let scenario = one_server(limit);
        let most = at_most.as_nanos();
        // All at once: each waits for those before it, which must not count.
        let services = [most - 1, most, most + 1, 5];
        let arrivals = services.iter().enumerate().map(|(index, &service)| {
            let mut request = arrival(0, index as u64, 0, 1, 1);
            request.draw.service = Span::from_nanos(service);
            request
        });
        let seen = seen(&scenario, arrivals.collect());
        let outcomes: Vec<Outcome> = seen.finished.iter().map(|done| done.outcome).collect();
        use Outcome::{Completed, Failed};
        assert_eq!(outcomes, [Completed, Completed, Failed, Completed], "{name}");
        let cut = &seen.finished[2];
        assert_eq!(cut.ended - cut.scheduled.unwrap(), at_most, "{name}: freed at exactly the limit");
        assert_eq!(cut.refusal.unwrap().reason, reason, "{name}");
        assert_eq!(seen.finished[3].scheduled, Some(cut.ended), "{name}: the next one starts there");
        tried += 1;
    }
    assert!(tried >= 2, "{tried} execution limits were tried");
}

#[test]
fn each_bound_on_overhead_is_broken_at_its_edge_and_not_a_nanosecond_below() {
    let mut tried = 0;
    for (name, limit) in all() {
        let Mechanism::Overhead { below } = limit.mechanism else { continue };
        let scenario = one_server(limit);
        let edge = below.as_nanos();
        let overheads = [0, edge - 1, edge, edge + 1];
        let arrivals = overheads.iter().enumerate().map(|(index, &overhead)| {
            let mut request = arrival(0, index as u64, index as u64 * 1_000_000_000, 1, 1);
            request.draw.service = Span::from_millis(1);
            request.draw.overhead = Span::from_nanos(overhead);
            request
        });
        let seen = seen(&scenario, arrivals.collect());
        assert_eq!(seen.violated.iter().copied().collect::<Vec<_>>(), [2, 3], "{name}");
        for (done, overhead) in seen.finished.iter().zip(overheads) {
            assert_eq!(done.e2e(), Span::from_nanos(overhead) + Span::from_millis(1), "{name}");
            assert_eq!(done.budget().overhead, Span::from_nanos(overhead), "{name}");
        }
        tried += 1;
    }
    assert!(tried >= 2, "{tried} bounds on overhead were tried");
}

#[test]
fn a_request_that_finds_the_queue_full_takes_nothing_from_a_rate() {
    let rate = Mechanism::Rate {
        limit: Some(3),
        most: 3,
        window: Span::from_secs(1),
        algorithm: Algorithm::SlidingLog,
        burst: 3,
        unit: Unit::Requests,
        default_reservation: 0,
        counts_refused: false,
    };
    let mut scenario = one_server(any_limit("rate", rate, Some(0)));
    scenario.pools[0].permits = Some(Permits { most: 1, reason: QUEUE_FULL });
    scenario.pools[0].queue.most = Some(0);
    // One is in service until 500 ms; the four that find no room leave two units for later.
    let at = [0, 100, 200, 300, 400, 600, 700, 800, 900];
    let arrivals = at.iter().enumerate().map(|(index, ms)| {
        let mut request = arrival(0, index as u64, ms * 1_000_000, 1, 1);
        request.draw.service = Span::from_millis(if index == 0 { 500 } else { 50 });
        request
    });
    let reasons: Vec<Option<u16>> = seen(&scenario, arrivals.collect())
        .finished
        .iter()
        .map(|done| done.refusal.map(|r| r.reason))
        .collect();
    let (full, rate) = (Some(QUEUE_FULL), Some(reason_of(0)));
    assert_eq!(reasons, [None, full, full, full, full, None, None, rate, rate]);
}

#[test]
fn what_a_gate_ignores_is_served_and_counted() {
    let condition = Condition { attr: Attr::Thinking, values: vec!["no".into()] };
    let mut scenario = one_server(any_limit(
        "gate",
        Mechanism::Gate { require: Some(condition), action: Action::Ignore },
        None,
    ));
    scenario.workloads[0].sender.traits.flag(Attr::Thinking, true);
    scenario.policy.accounts.push(policy::Account { name: "main".into(), traits: Subject::default() });
    let seen = seen(&scenario, vec![arrival(0, 0, 0, 1, 1)]);
    assert_eq!(seen.finished[0].outcome, Outcome::Completed);
    assert_eq!(seen.violated.len(), 1);
}

#[test]
fn an_endpoint_may_stop_and_start_as_often_as_it_likes() {
    let text = "[scenario]\nquestion = \"Is it there?\"\nhorizon = \"80s\"\nreplications = 1\n[models.m]\n\
                [pools.p]\nengine = \"slots\"\nmodel = \"m\"\nservers = 1\nservice = \"1ns\"\n\
                [endpoints.e]\nserves = [{ pool = \"p\" }]\n\
                [workloads.w]\nendpoint = \"e\"\narrivals = { kind = \"constant\", rate = \"2/s\" }\n\
                [[operations]]\ndo = \"stop-endpoint\"\nendpoint = \"e\"\nat = \"0s\"\nevery = \"1ms\"\ntimes = 70000\n\
                [[operations]]\ndo = \"start-endpoint\"\nendpoint = \"e\"\nat = \"0.5ms\"\nevery = \"1ms\"\ntimes = 70000\n";
    let scenario = load_str("x.toml", text, &Overrides::default()).unwrap_or_else(|found| panic!("{found}"));
    let feed = Source::open(&scenario, 0, 1).unwrap();
    let mut seen = Seen::default();
    simulate(&scenario, vec![feed], 1, Mode::Fast, &mut seen, |_, _| ControlFlow::Continue(()));
    assert!(!seen.finished.is_empty());
}

#[test]
fn permits_are_used_up_to_the_last_and_the_queue_behind_them_to_its_last_place() {
    let mut tried = 0;
    for (name, limit) in all() {
        let Mechanism::Permits { queue_permille } = limit.mechanism else { continue };
        let mut scenario = one_server(limit);
        let places = u32::try_from(4 * queue_permille / 1000).unwrap();
        scenario.pools[0].permits = Some(Permits { most: 4, reason: reason_of(0) });
        scenario.pools[0].queue.most = Some(places);
        if let Engine::Slots(slots) = &mut scenario.pools[0].engine {
            slots.servers = 9;
        }
        let asked = u64::from(4 + places + 1);
        let arrivals = (0..asked).map(|index| {
            let mut request = arrival(0, index, 0, 1, 1);
            request.draw.service = Span::from_millis(10);
            request
        });
        let seen = seen(&scenario, arrivals.collect());
        let refused: Vec<u64> = seen
            .finished
            .iter()
            .filter(|done| done.outcome == Outcome::Refused)
            .map(|done| done.head.index)
            .collect();
        assert_eq!(refused, [asked - 1], "{name}: only the last finds no place");
        assert_eq!(seen.finished[0].e2e(), Span::from_millis(10), "{name}");
        assert_eq!(seen.finished[4].e2e(), Span::from_millis(20), "{name}: the fifth waits for a permit");
        tried += 1;
    }
    assert!(tried >= 2, "{tried} limits with permits were tried");
}
