//! The recorder against one that stores everything and counts afterwards.

use super::hist::Latency;
use super::recorder::Recorder;
use super::recording::{Asked, Recording};
use super::synthetic::{Fact, run, scenario, tell};
use super::{GapRun, StepLine};
use crate::request::Outcome;
use crate::scenario::{Measure, Metric, Scenario};
use crate::time::{Span, Time};
use proptest::prelude::*;

fn record(scenario: &Scenario, facts: &[Fact], ended: Time) -> Recording {
    let mut recorder = Recorder::new(scenario);
    tell(facts, &mut recorder);
    recorder.finish(ended)
}

/// Every gap of a run with the instant its token came out.
fn each_gap(run: &GapRun) -> Vec<(Time, Span)> {
    let mut at = run.first_end;
    let mut gaps = vec![(at, run.first)];
    for i in 1..run.steps {
        at += run.gap(i);
        gaps.push((at, run.gap(i)));
    }
    assert_eq!(at, run.end);
    gaps
}

/// The recording that naive counting gives, fact by fact.
fn naive(scenario: &Scenario, facts: &[Fact], ended: Time) -> Recording {
    let mut out = Recorder::new(scenario).finish(ended);
    let warm = |at: Time| at >= Time::ZERO + scenario.warmup;
    let inside = |at: Time| warm(at) && at < Time::ZERO + scenario.horizon;
    let bin = |at: Time| (at.as_nanos() / scenario.bin.as_nanos()) as usize;
    for fact in facts {
        match fact {
            Fact::Offered(at, head) => {
                let workload = &mut out.workloads[usize::from(head.workload)];
                out.pools[workload.pool].timeline.bin(bin(*at)).offered += 1;
                if inside(*at) {
                    workload.offered += 1;
                    workload.tenants[head.tenant as usize].offered += 1;
                }
            }
            Fact::Dispatched(at, _, pool) => {
                out.pools[usize::from(*pool)].timeline.bin(bin(*at)).admitted += 1;
            }
            Fact::FirstToken(at, workload, ttft) => {
                let workload = &mut out.workloads[usize::from(*workload)];
                out.pools[workload.pool].timeline.bin(bin(*at)).output_tokens += 1;
                workload.tokens_inside += u64::from(inside(*at));
                if inside(*at - *ttft) {
                    workload.latency[Metric::Ttft as usize].record(*ttft, 1);
                }
            }
            Fact::Gaps(run) => {
                let workload = &mut out.workloads[usize::from(run.workload)];
                for (at, gap) in each_gap(run) {
                    out.pools[workload.pool].timeline.bin(bin(at)).output_tokens += u64::from(run.count);
                    workload.tokens_inside += u64::from(run.count) * u64::from(inside(at));
                    for _ in 0..if warm(at) { run.count } else { 0 } {
                        workload.latency[Metric::Itl as usize].record(gap, 1);
                    }
                }
            }
            Fact::Worked(run) => {
                let pool = &mut out.pools[usize::from(run.pool)];
                pool.steps += run.steps;
                pool.outside_range += run.outside_range;
                for index in bin(run.start)..=bin(run.end) {
                    let width = scenario.bin.as_nanos();
                    let from = run.start.as_nanos().max(index as u64 * width);
                    let until = run.end.as_nanos().min((index as u64 + 1) * width);
                    if until > from {
                        pool.timeline.bin(index).busy_ns += (until - from) * u64::from(run.busy);
                    }
                }
                let from = run.start.as_nanos().max(scenario.warmup.as_nanos());
                let until = run.end.as_nanos().min(scenario.horizon.as_nanos());
                pool.busy_inside_ns += u128::from(until.saturating_sub(from)) * u128::from(run.busy);
            }
            Fact::Finished(done) => {
                naive_finish(scenario, &mut out, done, inside(done.ended), inside(done.arrived))
            }
            Fact::Sampled(at, pool, sample) => {
                out.pools[usize::from(*pool)].timeline.sample(*at, sample);
            }
        }
    }
    out
}

fn naive_finish(
    scenario: &Scenario,
    out: &mut Recording,
    done: &crate::request::Finished,
    ended_inside: bool,
    counted: bool,
) {
    let index = usize::from(done.head.workload);
    let (spec, workload) = (&scenario.workloads[index], &mut out.workloads[index]);
    let completed = done.outcome == Outcome::Completed;
    let met = completed
        && spec.objectives.ttft.is_none_or(|most| done.ttft().unwrap() <= most)
        && spec.objectives.tpot.is_none_or(|most| done.generated < 2 || done.tpot().unwrap() <= most)
        && spec.objectives.e2e.is_none_or(|most| done.e2e() <= most);
    if completed {
        let bin = (done.ended.as_nanos() / scenario.bin.as_nanos()) as usize;
        out.pools[workload.pool].timeline.bin(bin).completed += 1;
        workload.completed_inside += u64::from(ended_inside);
        workload.met_inside += u64::from(ended_inside && met);
    }
    if !counted {
        return;
    }
    workload.outcomes[done.outcome as usize] += 1;
    if let Some(refusal) = done.refusal {
        workload.refusals[usize::from(refusal.reason)] += 1;
    }
    workload.met += u64::from(met);
    workload.prompt_tokens += u64::from(done.head.prompt_tokens);
    workload.cached_tokens += u64::from(done.cached_tokens);
    workload.output_tokens += u64::from(done.generated);
    workload.preemptions += u64::from(done.preemptions);
    let tenant = &mut workload.tenants[done.head.tenant as usize];
    tenant.outcomes[done.outcome as usize] += 1;
    tenant.met += u64::from(met);
    tenant.prompt_tokens += u64::from(done.head.prompt_tokens);
    tenant.output_tokens += u64::from(done.generated);
    if completed {
        workload.budget.add(&done.budget());
        workload.latency[Metric::E2e as usize].record(done.e2e(), 1);
        workload.latency[Metric::ClientE2e as usize].record(done.e2e() + spec.network, 1);
        if let Some(tpot) = done.tpot() {
            workload.latency[Metric::Tpot as usize].record(tpot, 1);
        }
    }
}

/// The synthetic scenario, small enough for many cases; the warm-up and the horizon lie inside bins.
fn small(bin_ms: u64) -> Scenario {
    let mut scenario = scenario();
    scenario.horizon = Span::from_millis(20_500);
    scenario.warmup = Span::from_millis(4_200);
    scenario.bin = Span::from_millis(bin_ms);
    scenario
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_recorder_equals_counting_fact_by_fact(
        seed in 0u64..1_000_000,
        requests in 0u32..60,
        bin_ms in prop_oneof![Just(5u64), Just(100), Just(1_000), Just(7_000), Just(60_000)],
        grid in prop_oneof![Just(1_000u64), Just(1_000_000), Just(5_000_000), Just(100_000_000)],
    ) {
        let scenario = small(bin_ms);
        let (facts, ended) = run(&scenario, requests, seed, grid);
        prop_assert_eq!(record(&scenario, &facts, ended), naive(&scenario, &facts, ended));
    }

    #[test]
    fn merging_is_exact_in_any_order_and_grouping(seeds in prop::array::uniform3(0u64..1_000)) {
        let scenario = small(1_000);
        let parts = seeds.map(|seed| {
            let (facts, ended) = run(&scenario, 30, seed, 1_000);
            record(&scenario, &facts, ended)
        });
        let join = |a: &Recording, b: &Recording| {
            let mut sum = a.clone();
            sum.merge(b);
            sum
        };
        let [a, b, c] = &parts;
        prop_assert_eq!(join(a, b), join(b, a));
        prop_assert_eq!(join(&join(a, b), c), join(a, &join(b, c)));
        prop_assert_eq!(join(&join(a, b), c).replications, 3);
    }

    #[test]
    fn a_long_run_fills_the_buckets_as_its_gaps_would(
        a in prop_oneof![0u64..3_000_000_000, 0u64..40_000_000_000_000, 0u64..10_000_000_000_000_000_000],
        b in prop_oneof![Just(0u64), 0u64..1_000, 0u64..20_000_000_000, 0u64..1_000_000_000_000_000],
        quantum_ns in prop_oneof![Just(1u64), Just(1_000), Just(1_000_000)],
        steps in 1u64..3_000,
        first in 0u64..1_000_000_000,
        count in 1u32..300,
        window in (0.0f64..1.0, 0.0f64..1.0),
    ) {
        let line = StepLine { a, b, quantum_fs: quantum_ns * 1_000_000 };
        let run = GapRun {
            workload: 0,
            count,
            first: Span::from_nanos(first),
            steps,
            line,
            first_end: Time::ZERO,
            last_start: Time::ZERO,
            end: Time::ZERO,
        };
        let from = (window.0 * steps as f64) as u64;
        let until = (from + 1 + (window.1 * (steps - from) as f64) as u64).min(steps);
        let total = (from..until).fold(Span::ZERO, |sum, i| sum + run.gap(i));
        let mut fast = Latency::new();
        fast.record_run(&run, from, until, total);
        let mut slow = Latency::new();
        for i in from..until {
            slow.record(run.gap(i), u64::from(count));
        }
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn quantiles_are_within_a_thousandth_above_the_sorted_sample(
        mut values in prop::collection::vec(1_000u64..10_000_000_000, 1..400),
        quantile in 0.0f64..=1.0,
    ) {
        let mut latency = Latency::new();
        for value in &values {
            latency.record(Span::from_nanos(*value), 1);
        }
        values.sort_unstable();
        let rank = ((quantile * values.len() as f64).next_down().ceil() as usize).clamp(1, values.len());
        let (truth, said) = (values[rank - 1], latency.quantile_ns(quantile).unwrap());
        prop_assert!(said >= truth && said - truth <= truth / 1_000, "{said} for {truth}");
    }
}

#[test]
fn values_out_of_range_are_counted_apart_and_keep_their_weight() {
    let mut latency = Latency::new();
    let hours = |h: u64| Span::from_secs(h * 3600);
    for value in [
        Span::from_nanos(999),
        Span::from_nanos(1_000),
        hours(48),
        hours(48) + Span::from_nanos(1),
        hours(50),
    ] {
        latency.record(value, 2);
    }
    assert_eq!((latency.count(), latency.below_range(), latency.above_range()), (10, 2, 4));
    assert_eq!(latency.histogram().len(), 4);
    assert_eq!(latency.least(), Some(Span::from_nanos(999)));
    assert_eq!(latency.most(), Some(hours(50)));
    assert_eq!(latency.quantile_ns(0.1), Some(1_000));
    assert_eq!(latency.quantile_ns(0.7), Some(hours(50).as_nanos()));
    assert_eq!(latency.quantile_ns(1.0), Some(hours(50).as_nanos()));
    let sum = 2 * (999 + 1_000 + 2 * u128::from(hours(48).as_nanos()) + 1 + u128::from(hours(50).as_nanos()));
    assert_eq!(latency.sum_ns(), sum);
}

#[test]
fn an_empty_run_has_no_readings_rather_than_zeros() {
    let scenario = scenario();
    let recording = Recorder::new(&scenario).finish(Time::ZERO + scenario.horizon);
    for asked in crate::results::asked(&scenario) {
        let reading = recording.answer(&asked);
        match asked {
            Asked::Workload(_, Measure::Throughput | Measure::TokenThroughput | Measure::GoodputRate)
            | Asked::Pool(_, crate::observe::recording::PoolMeasure::Utilization) => {
                assert_eq!(reading.map(|r| (r.value, r.samples)), Some((0.0, 0)), "{asked:?}");
            }
            _ => assert_eq!(reading, None, "{asked:?}"),
        }
    }
}

#[test]
fn rates_count_what_happens_inside_the_window_and_shares_what_arrives_in_it() {
    let scenario = scenario();
    let (facts, ended) = run(&scenario, 4_000, 1, 1_000);
    let recording = record(&scenario, &facts, ended);
    let workload = &recording.workloads[0];
    let seconds = (scenario.horizon - scenario.warmup).as_secs_f64();
    let throughput = recording.reading(Some(0), &Measure::Throughput).unwrap();
    assert_eq!(throughput.value, workload.completed_inside as f64 / seconds);
    assert_ne!(workload.completed_inside, workload.outcome(Outcome::Completed));
    let share = recording.reading(Some(0), &Measure::Share(Outcome::Completed)).unwrap();
    assert_eq!(share.value, workload.outcome(Outcome::Completed) as f64 / workload.offered as f64);
    let ttft = recording.reading(Some(0), &Measure::Mean(Metric::Ttft)).unwrap();
    assert_eq!(ttft.samples, workload.offered - workload.outcome(Outcome::Refused));
    let both: u64 = recording.workloads.iter().map(|w| w.latency(Metric::Ttft).count()).sum();
    assert_eq!(recording.reading(None, &Measure::Quantile(Metric::Ttft, 0.5)).unwrap().samples, both);
}

#[test]
#[should_panic(expected = "offered requests and outcomes differ")]
fn a_request_that_never_ends_is_a_broken_invariant() {
    let scenario = scenario();
    let (facts, ended) = run(&scenario, 50, 1, 1_000);
    let mut recorder = Recorder::new(&scenario);
    let lost = facts.iter().rposition(
        |fact| matches!(fact, Fact::Finished(done) if done.arrived > Time::ZERO + scenario.warmup),
    );
    for (i, fact) in facts.iter().enumerate() {
        if Some(i) != lost {
            tell(std::slice::from_ref(fact), &mut recorder);
        }
    }
    recorder.finish(ended);
}

#[test]
fn an_observer_pair_tells_both() {
    let scenario = small(1_000);
    let (facts, ended) = run(&scenario, 20, 5, 1_000);
    let mut pair = (Recorder::new(&scenario), Recorder::new(&scenario));
    tell(&facts, &mut &mut pair);
    assert_eq!(pair.0.finish(ended), pair.1.finish(ended));
}
