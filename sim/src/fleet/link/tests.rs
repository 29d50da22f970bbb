//! Facts about sharing a link.

use super::*;
use crate::rng::{Purpose, Rng, stream};
use crate::theory;
use proptest::prelude::*;

fn at(ns: u64) -> Time {
    Time::from_nanos(ns)
}

/// Everything that ends until `until`, in order.
fn ends(link: &mut Link, until: Time) -> Vec<(Time, SlotId)> {
    let mut ended = Vec::new();
    while let Some(now) = link.next_wake().filter(|now| *now <= until) {
        while let Some(id) = link.finish(now) {
            ended.push((now, id));
        }
    }
    ended
}

/// Transfers written out: `(start, bytes, cancelled after)`, starts in order.
type Script = Vec<(u64, u64, Option<u64>)>;

/// When each transfer of a script ends; `None` for those cancelled before. What ends at an instant does so first.
fn run(link: &mut Link, script: &Script) -> Vec<Option<Time>> {
    let mut ended = vec![None; script.len()];
    let mut note = |now: Time, id: SlotId| ended[id as usize] = Some(now);
    for (now, id, starts) in moments(script) {
        let now = at(now);
        ends(link, now).into_iter().for_each(|(now, id)| note(now, id));
        if starts {
            link.start(now, id, script[id as usize].1);
        } else {
            link.cancel(now, id);
        }
    }
    ends(link, Time::MAX).into_iter().for_each(|(now, id)| note(now, id));
    ended
}

/// Starts (`true`) and cancellations of a script in order of time.
fn moments(script: &Script) -> Vec<(u64, SlotId, bool)> {
    let mut moments: Vec<(u64, SlotId, bool)> = Vec::new();
    for (id, &(start, _, cancelled)) in script.iter().enumerate() {
        moments.push((start, id as SlotId, true));
        moments.extend(cancelled.map(|after| (start + after, id as SlotId, false)));
    }
    moments.sort_by_key(|&(now, id, starts)| (now, id, !starts));
    moments
}

/// Parts of a nanosecond, and of a unit of work, that the plain statement counts in.
const FINE: u128 = 1 << 30;

/// The plain statement: what each transfer still needs, brought up to date at every event, a billion times finer than
/// the link. Ends in parts of a nanosecond.
fn plainly(bandwidth: u64, script: &Script) -> Vec<Option<u128>> {
    let mut missing: Vec<Option<u128>> = vec![None; script.len()];
    let mut ended = vec![None; script.len()];
    let mut now = 0u128;
    let mut moments = moments(script).into_iter().peekable();
    loop {
        let count = missing.iter().flatten().count() as u128;
        let least = missing.iter().flatten().min().copied();
        let end = least.map(|least| now + (least * count).div_ceil(u128::from(bandwidth)));
        let change = moments.peek().map(|&(at, ..)| u128::from(at) * FINE);
        let Some(next) = end.into_iter().chain(change).min() else { return ended };
        for left in missing.iter_mut().flatten() {
            *left = left.saturating_sub((next - now) * u128::from(bandwidth) / count);
        }
        now = next;
        if end == Some(next) {
            let id = missing.iter().position(|left| *left == least.map(|_| 0)).expect("the least is done");
            (missing[id], ended[id]) = (None, Some(now));
        } else {
            let (_, id, starts) = moments.next().expect("there is a change");
            missing[id as usize] = starts.then(|| u128::from(script[id as usize].1) * UNITS * FINE);
        }
    }
}

fn any_script() -> impl Strategy<Value = Script> {
    // Often at the same instant, or with the same bytes, so that ends tie.
    let gap = prop_oneof![2 => Just(0u64), 3 => 1u64..1_000, 2 => 1u64..3_000_000];
    let bytes =
        prop_oneof![1 => Just(0u64), 3 => Just(1_000_000u64), 3 => 1u64..5_000, 3 => 1u64..20_000_000];
    let cancelled = prop::option::weighted(0.2, 0u64..3_000_000);
    prop::collection::vec((gap, bytes, cancelled), 1..40).prop_map(|script| {
        let mut now = 0;
        let start = |(gap, bytes, cancelled)| {
            now += gap;
            (now, bytes, cancelled)
        };
        script.into_iter().map(start).collect()
    })
}

fn any_bandwidth() -> impl Strategy<Value = u64> {
    prop_oneof![1_000_000u64..10_000_000, 1_000_000_000u64..1_000_000_000_000, Just(3_000_000_007)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_end_is_the_plain_statements_rounded_up_to_a_nanosecond(
        bandwidth in any_bandwidth(),
        script in any_script(),
    ) {
        let found = run(&mut Link::new(bandwidth), &script);
        let expected = plainly(bandwidth, &script);
        for (id, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let near = match (found, expected) {
                // Shares are whole units: off by as many units as there are transfers, not by more as they go on.
                (Some(found), Some(expected)) => {
                    let whole = expected.div_ceil(FINE);
                    whole.abs_diff(u128::from(found.as_nanos())) <= 1
                }
                (None, None) => true,
                // An end and a cancellation in one nanosecond.
                (found, expected) => {
                    let end = found.map_or(0, |at| u128::from(at.as_nanos())).max(expected.unwrap_or(0) / FINE);
                    let (start, _, after) = script[id];
                    after.is_some_and(|after| u128::from(start + after).abs_diff(end) <= 1)
                }
            };
            prop_assert!(near, "transfer {}: {:?} instead of {:?}", id, found, expected.map(|at| at / FINE));
        }
    }

    #[test]
    fn bytes_are_conserved_and_the_link_works_whenever_there_is_work(
        bandwidth in any_bandwidth(),
        mut script in any_script(),
    ) {
        script.iter_mut().for_each(|transfer| transfer.2 = None);
        let mut link = Link::new(bandwidth);
        let found = run(&mut link, &script);
        let last = found.iter().flatten().max().copied().unwrap();
        let bytes: u128 = script.iter().map(|transfer| u128::from(transfer.1)).sum();
        prop_assert_eq!(link.bytes_sent(last), bytes);
        prop_assert_eq!(link.in_flight(), 0);
        let least = bytes * UNITS / u128::from(bandwidth);
        let busy = u128::from(link.busy(last).as_nanos());
        // Each time it falls idle less than a nanosecond was not needed.
        prop_assert!((least..=least + script.len() as u128).contains(&busy), "busy for {busy} of {least}");
    }

    #[test]
    fn a_smaller_transfer_never_ends_after_a_larger_one_that_started_with_or_after_it(
        bandwidth in any_bandwidth(),
        mut script in any_script(),
    ) {
        script.iter_mut().for_each(|transfer| transfer.2 = None);
        let found = run(&mut Link::new(bandwidth), &script);
        for (id, first) in script.iter().enumerate() {
            for (other, second) in script.iter().enumerate().skip(id + 1) {
                prop_assert!(first.1 > second.1 || found[id] <= found[other], "{id} and {other}: {found:?}");
            }
        }
    }
}

#[test]
fn equal_transfers_that_start_together_end_together_after_the_time_of_all_their_bytes() {
    for count in [1, 2, 3, 7] {
        let mut link = Link::new(1_000_000_000);
        for id in 0..count {
            link.start(at(500), id, 12_345);
        }
        let end = at(500 + u64::from(count) * 12_345);
        assert_eq!(link.next_wake(), Some(end));
        assert_eq!(ends(&mut link, Time::MAX), (0..count).map(|id| (end, id)).collect::<Vec<_>>());
        assert_eq!(link.next_wake(), None);
    }
}

#[test]
fn whoever_comes_later_slows_down_who_is_there() {
    let mut link = Link::new(1_000_000_000);
    link.start(at(0), 4, 1_000);
    assert_eq!(link.next_wake(), Some(at(1_000)));
    link.start(at(400), 9, 300);
    // 600 and 300 bytes are left: the newcomer has its at half the speed, then the first is alone again.
    assert_eq!(ends(&mut link, Time::MAX), [(at(1_000), 9), (at(1_300), 4)]);
    assert_eq!((link.busy(at(5_000)), link.bytes_sent(at(5_000))), (Span::from_nanos(1_300), 1_300));
}

#[test]
fn a_cancelled_transfer_leaves_its_share_to_the_others() {
    let mut link = Link::new(1_000_000_000);
    link.start(at(0), 0, 1_000);
    link.start(at(0), 1, 1_000);
    assert!(link.cancel(at(200), 0));
    assert!(!link.cancel(at(200), 0), "it is gone");
    assert!(!link.cancel(at(200), 77), "there never was one");
    assert_eq!(link.bytes_sent(at(200)), 200);
    assert_eq!(ends(&mut link, Time::MAX), [(at(1_100), 1)]);
    // The slot may be used again, by a transfer that has nothing to do with the first.
    link.start(at(2_000), 0, 10);
    assert_eq!(ends(&mut link, Time::MAX), [(at(2_010), 0)]);
}

#[test]
fn nothing_to_send_is_sent_at_once_and_what_cannot_arrive_never_wakes() {
    let mut link = Link::new(1);
    link.start(at(7), 0, 0);
    assert_eq!(ends(&mut link, at(7)), [(at(7), 0)]);
    link.start(at(8), 1, u64::MAX);
    assert_eq!((link.next_wake(), link.in_flight()), (None, 1));
    assert!(link.cancel(at(9), 1));
}

#[test]
fn a_link_that_cancels_much_forgets_what_it_cancelled() {
    let mut link = Link::new(1_000);
    for round in 0..10_000 {
        link.start(at(round), round as SlotId % 500, 1_000_000 + round);
        if round >= 100 {
            assert!(link.cancel(at(round), (round - 100) as SlotId % 500));
        }
        assert!(link.ends.len() <= 2 * 101 + 65, "{} entries for {}", link.ends.len(), link.in_flight());
    }
}

#[test]
#[should_panic(expected = "cannot go to")]
fn an_end_that_the_hub_slept_through_is_a_broken_invariant() {
    let mut link = Link::new(1_000_000_000);
    link.start(at(0), 0, 100);
    link.start(at(101), 1, 100);
}

/// Draws the size of a transfer, in means.
type Size<'a> = &'a dyn Fn(&mut Rng) -> f64;

/// Mean time of `count` transfers that arrive at random at a load of 0.6, seconds.
fn mean_time(rng: &mut Rng, count: u32, bytes: Size<'_>) -> f64 {
    let (load, mean_bytes, bandwidth) = (0.6, 1_000_000.0, 1_000_000_000.0);
    let mut link = Link::new(1_000_000_000);
    let (mut now, mut spent) = (0.0f64, 0.0);
    let mut since = vec![Time::ZERO; count as usize];
    for id in 0..count {
        now += -(1.0 - rng.random::<f64>()).ln() * mean_bytes / bandwidth / load;
        let now = Time::ZERO + Span::from_secs_f64(now);
        for (end, id) in ends(&mut link, now) {
            spent += (end - since[id as usize]).as_secs_f64();
        }
        since[id as usize] = now;
        link.start(now, id, (bytes(rng) * mean_bytes) as u64);
    }
    for (end, id) in ends(&mut link, Time::MAX) {
        spent += (end - since[id as usize]).as_secs_f64();
    }
    spent / f64::from(count)
}

#[test]
fn the_mean_time_of_a_transfer_is_that_of_processor_sharing_whatever_the_sizes() {
    let theory = theory::ps_mean_response(0.6, 0.001).unwrap();
    let exponential = |rng: &mut Rng| -(1.0 - rng.random::<f64>()).ln();
    // One in ten is eleven times as large: a coefficient of variation of 1.5.
    let uneven = |rng: &mut Rng| if rng.random::<f64>() < 0.1 { 5.5 } else { 0.5 };
    let sizes: [(&str, Size<'_>); 3] =
        [("equal", &|_| 1.0), ("exponential", &exponential), ("uneven", &uneven)];
    for (name, bytes) in sizes {
        // 16 runs each; 5.2 standard errors are a level of 99.99 % with 15 degrees of freedom. Seeds are fixed.
        let runs: Vec<f64> =
            (0..16).map(|run| mean_time(&mut stream(3, Purpose::Service, run, 0), 60_000, bytes)).collect();
        let mean = runs.iter().sum::<f64>() / 16.0;
        let squares: f64 = runs.iter().map(|value| (value - mean).powi(2)).sum();
        let half = 5.2 * (squares / 15.0 / 16.0).sqrt();
        assert!((mean - theory).abs() <= half, "{name}: {mean} +- {half}, theory {theory}");
        assert!(half <= 0.05 * theory, "{name}: {mean} +- {half} is too wide to prove anything");
    }
}
