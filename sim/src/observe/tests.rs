//! The recorder against one that stores everything and counts afterwards.

use super::hist::Latency;
use super::jobs::JobRecord;
use super::recorder::Recorder;
use super::recording::{Asked, Recording};
use super::scale::ScaleRecord;
use super::synthetic::{Fact, batched, fleet, run, scenario, tell};
use super::{GapRun, JobFact, JobState, Observer as _, StepLine};
use crate::request::{Finished, Outcome, Settled};
use crate::scenario::{Arrivals, Measure, Metric, Scenario};
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
    let batch = |workload: u16| {
        u64::from(matches!(scenario.workloads[usize::from(workload)].arrivals, Arrivals::Jobs))
    };
    for fact in facts {
        match fact {
            Fact::Offered(at, head) => {
                let workload = &mut out.workloads[usize::from(head.workload)];
                if workload.pools.len() == 1 {
                    out.pools[workload.pools[0]].timeline.bin(bin(*at)).offered += 1;
                }
                if let Some(attempts) = &mut workload.attempts {
                    attempts.bin(bin(*at)).attempts += 1;
                    attempts.offered += u64::from(inside(*at));
                } else if inside(*at) {
                    workload.offered += 1;
                    workload.tenants[head.tenant as usize].offered += 1;
                }
            }
            Fact::Dispatched(at, _, pool) => {
                out.pools[usize::from(*pool)].timeline.bin(bin(*at)).admitted += 1;
            }
            Fact::FirstToken(at, workload, pool, ttft) => {
                let lower = batch(*workload);
                let workload = &mut out.workloads[usize::from(*workload)];
                let pool = &mut out.pools[usize::from(*pool)];
                pool.timeline.bin(bin(*at)).output_tokens += 1;
                pool.timeline.bin(bin(*at)).batch_tokens += lower;
                pool.tokens_inside += u64::from(inside(*at));
                workload.tokens_inside += u64::from(inside(*at));
                if workload.attempts.is_none() && inside(*at - *ttft) {
                    workload.latency[Metric::Ttft as usize].record(*ttft, 1);
                }
            }
            Fact::Gaps(run) => {
                let workload = &mut out.workloads[usize::from(run.workload)];
                for (at, gap) in each_gap(run) {
                    let pool = &mut out.pools[usize::from(run.pool)];
                    pool.timeline.bin(bin(at)).output_tokens += u64::from(run.count);
                    pool.timeline.bin(bin(at)).batch_tokens += u64::from(run.count) * batch(run.workload);
                    pool.tokens_inside += u64::from(run.count) * u64::from(inside(at));
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
            Fact::Finished(done) => naive_attempt(scenario, &mut out, done, &inside),
            Fact::Settled(settled) => {
                let attempts = out.workloads[usize::from(settled.last.head.workload)].attempts.as_mut();
                let attempts = attempts.unwrap();
                attempts.bin(bin(settled.arrived)).requests += 1;
                attempts.bin(bin(settled.ended)).completed +=
                    u64::from(settled.outcome == Outcome::Completed);
                if inside(settled.arrived) {
                    attempts.of_requests += u64::from(settled.attempts);
                    attempts.hedges += u64::from(settled.hedges);
                    attempts.wasted_tokens += settled.wasted_tokens;
                }
                naive_request(scenario, &mut out, settled, &inside);
            }
            Fact::Scaled(..) | Fact::Failed(..) | Fact::Job(..) => {}
            Fact::Sampled(at, pool, sample) => {
                out.pools[usize::from(*pool)].timeline.sample(*at, sample);
            }
        }
    }
    // What becomes of replicas has a history worked by hand beside its code.
    for (pool, state) in out.pools.iter_mut().zip(scales(scenario, facts, ended)) {
        pool.scale = state;
    }
    if let Some(record) = out.batches.first_mut() {
        naive_jobs(record, facts, ended, &inside);
    }
    out
}

/// The only batch, from the last fact of each job.
fn naive_jobs(record: &mut JobRecord, facts: &[Fact], ended: Time, inside: &impl Fn(Time) -> bool) {
    let told: Vec<(Time, JobFact)> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Job(at, job) => Some((*at, *job)),
            _ => None,
        })
        .collect();
    record.enqueued_peak = told.iter().map(|(_, job)| job.enqueued).max().unwrap_or(0);
    for owner in 3..5 {
        let of = |(_, job): &&(Time, JobFact)| job.owner == owner;
        record.enqueued_end += told.iter().rev().find(of).map_or(0, |(_, job)| job.enqueued);
    }
    for (at, job) in &told {
        let last = told.iter().rev().find(|(_, other)| other.job == job.job).unwrap();
        // Each job once: at the last that was told of it.
        if (*at, *job) != *last {
            continue;
        }
        if !inside(job.created) {
            record.uncounted += 1;
            continue;
        }
        record.states[job.state as usize] += 1;
        record.requests.add(&job.requests);
        let overdue = !job.state.is_last() && job.state != JobState::Finalizing && job.expires <= ended;
        assert!(job.state != JobState::Cancelling || !overdue, "the cases have none that is both");
        record.overdue += u64::from(overdue);
        if overdue || job.state.is_last() {
            record.decided.add(&job.requests);
            let left = u64::from(job.requests.total - job.requests.completed);
            record.decided.expired += if overdue { left } else { 0 };
        }
        if let Some(refusal) = job.refusal {
            record.reasons[usize::from(refusal.reason)] += 1;
        }
        let account = &mut record.accounts[job.owner as usize - 3];
        account.jobs += 1;
        account.requests += u64::from(job.requests.total);
        account.completed += u64::from(job.requests.completed);
        if job.state == JobState::Completed {
            account.jobs_completed += 1;
            record.time.record(*at - job.created, 1);
        }
    }
}

/// The replicas of every pool, from the changes alone.
fn scales(scenario: &Scenario, facts: &[Fact], ended: Time) -> Vec<ScaleRecord> {
    let mut recorder = Recorder::new(scenario);
    for fact in facts.iter().filter(|fact| matches!(fact, Fact::Scaled(..) | Fact::Failed(..))) {
        tell(std::slice::from_ref(fact), &mut recorder);
    }
    recorder.finish(ended).pools.into_iter().map(|pool| pool.scale).collect()
}

fn naive_attempt(scenario: &Scenario, out: &mut Recording, done: &Finished, inside: &impl Fn(Time) -> bool) {
    let index = usize::from(done.head.workload);
    let bin = |at: Time| (at.as_nanos() / scenario.bin.as_nanos()) as usize;
    let completed = done.outcome == Outcome::Completed;
    let pool = usize::from(done.pool);
    let workload = &mut out.workloads[index];
    out.pools[pool].timeline.bin(bin(done.ended)).completed += u64::from(completed);
    if workload.pools.len() > 1 {
        out.pools[pool].timeline.bin(bin(done.arrived)).offered += 1;
    }
    if inside(done.ended) {
        let prompt = u64::from(done.head.prompt_tokens - done.cached_tokens);
        let served = &mut workload.served[pool];
        served.tokens += if done.scheduled.is_some() { prompt } else { 0 } + u64::from(done.generated);
        served.requests += u64::from(completed);
    }
    match &mut workload.attempts {
        Some(attempts) => attempts.outcomes[done.outcome as usize] += u64::from(inside(done.arrived)),
        None => {
            let plain = Settled {
                last: *done,
                outcome: done.outcome,
                arrived: done.arrived,
                ended: done.ended,
                attempts: 1,
                hedges: 0,
                wasted_tokens: 0,
            };
            naive_request(scenario, out, &plain, inside);
        }
    }
}

fn naive_request(scenario: &Scenario, out: &mut Recording, over: &Settled, inside: &impl Fn(Time) -> bool) {
    let done = &over.last;
    let index = usize::from(done.head.workload);
    let (spec, workload) = (&scenario.workloads[index], &mut out.workloads[index]);
    let completed = over.outcome == Outcome::Completed;
    let met = completed
        && spec.objectives.ttft.is_none_or(|most| over.ttft().unwrap() <= most)
        && spec.objectives.tpot.is_none_or(|most| done.generated < 2 || done.tpot().unwrap() <= most)
        && spec.objectives.e2e.is_none_or(|most| over.e2e() <= most);
    if completed {
        workload.completed_inside += u64::from(inside(over.ended));
        workload.met_inside += u64::from(inside(over.ended) && met);
    }
    if !inside(over.arrived) {
        return;
    }
    if !spec.client.is_plain() {
        workload.offered += 1;
        workload.tenants[done.head.tenant as usize].offered += 1;
        if let Some(ttft) = over.ttft() {
            workload.latency[Metric::Ttft as usize].record(ttft, 1);
        }
    }
    workload.outcomes[over.outcome as usize] += 1;
    if let Some(refusal) = done.refusal {
        workload.refusals[usize::from(refusal.reason)] += 1;
    }
    workload.met += u64::from(met);
    workload.prompt_tokens += u64::from(done.head.prompt_tokens);
    workload.cached_tokens += u64::from(done.cached_tokens);
    workload.output_tokens += u64::from(done.generated);
    workload.useful_tokens += u64::from(done.generated) * u64::from(completed);
    workload.preemptions += u64::from(done.preemptions);
    let tenant = &mut workload.tenants[done.head.tenant as usize];
    tenant.outcomes[over.outcome as usize] += 1;
    tenant.met += u64::from(met);
    tenant.prompt_tokens += u64::from(done.head.prompt_tokens);
    tenant.output_tokens += u64::from(done.generated);
    if completed {
        workload.budget.add(&over.budget());
        workload.beside += u128::from(done.beside.as_nanos());
        workload.latency[Metric::E2e as usize].record(over.e2e(), 1);
        workload.latency[Metric::ClientE2e as usize].record(over.e2e() + spec.network, 1);
        if let Some(tpot) = done.tpot() {
            workload.latency[Metric::Tpot as usize].record(tpot, 1);
        }
    }
}

/// A synthetic scenario, small enough for many cases; the warm-up and the horizon lie inside bins.
fn small(mut scenario: Scenario, bin_ms: u64) -> Scenario {
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
        kind in 0usize..3,
        bin_ms in prop_oneof![Just(5u64), Just(100), Just(1_000), Just(7_000), Just(60_000)],
        grid in prop_oneof![Just(1_000u64), Just(1_000_000), Just(5_000_000), Just(100_000_000)],
    ) {
        let scenario = small([scenario, fleet, batched][kind](), bin_ms);
        let (facts, ended) = run(&scenario, requests, seed, grid);
        prop_assert_eq!(record(&scenario, &facts, ended), naive(&scenario, &facts, ended));
    }

    #[test]
    fn merging_is_exact_in_any_order_and_grouping(seeds in prop::array::uniform3(0u64..1_000)) {
        let scenario = Scenario { batches: batched().batches, ..small(fleet(), 1_000) };
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
            pool: 0,
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
    let scenario = small(scenario(), 1_000);
    let (facts, ended) = run(&scenario, 20, 5, 1_000);
    let mut pair = (Recorder::new(&scenario), Recorder::new(&scenario));
    tell(&facts, &mut &mut pair);
    assert_eq!(pair.0.finish(ended), pair.1.finish(ended));
}

#[test]
fn requests_and_attempts_balance_each_by_itself() {
    let scenario = fleet();
    let (facts, ended) = run(&scenario, 2_000, 3, 1_000);
    let recording = record(&scenario, &facts, ended);
    let agents = &recording.workloads[1];
    let attempts = agents.attempts.as_ref().unwrap();
    assert_eq!(agents.outcomes.iter().sum::<u64>(), agents.offered);
    assert_eq!(attempts.outcomes.iter().sum::<u64>(), attempts.offered);
    assert!(agents.offered < attempts.offered, "{} {}", agents.offered, attempts.offered);
    let amplification = recording.reading(Some(1), &Measure::Amplification).unwrap();
    assert_eq!(amplification.value, attempts.of_requests as f64 / agents.offered as f64);
    assert!(amplification.value > 1.2, "{amplification:?}");
    assert!(agents.budget.earlier_attempts > 0);
    assert_eq!(agents.budget.total(), agents.latency(Metric::E2e).sum_ns());
    // Every token is part of a completed answer or thrown away.
    let wasted = recording.reading(Some(1), &Measure::Wasted).unwrap();
    assert_eq!(wasted.samples, agents.useful_tokens + attempts.wasted_tokens);
    // A plain workload has no attempts, and its requests are sent once.
    let chat = &recording.workloads[0];
    assert_eq!((chat.attempts_of_requests(), &chat.attempts), (chat.offered, &None));
    let (bins, width) = (&attempts.bins, scenario.bin);
    assert_eq!(attempts.width(), width);
    let told = |kind: fn(&Fact) -> bool| facts.iter().filter(|fact| kind(fact)).count() as u64;
    let sent = told(|fact| matches!(fact, Fact::Offered(_, head) if head.workload == 1));
    assert_eq!(bins.iter().map(|bin| bin.attempts).sum::<u64>(), sent);
    let settled = told(|fact| matches!(fact, Fact::Settled(_)));
    assert_eq!(bins.iter().map(|bin| bin.requests).sum::<u64>(), settled);
}

#[test]
fn each_pool_is_told_of_the_attempts_that_it_served() {
    let scenario = fleet();
    let (facts, ended) = run(&scenario, 2_000, 4, 1_000);
    let recording = record(&scenario, &facts, ended);
    for (index, pool) in recording.pools.iter().enumerate() {
        let of =
            |count: fn(&super::timeline::Bin) -> u64| pool.timeline.bins().iter().map(count).sum::<u64>();
        let done = || {
            facts.iter().filter_map(|fact| match fact {
                Fact::Finished(done) if usize::from(done.pool) == index => Some(done),
                _ => None,
            })
        };
        assert_eq!(of(|bin| bin.offered), done().count() as u64);
        let completed = done().filter(|done| done.outcome == Outcome::Completed).count();
        assert_eq!(of(|bin| bin.completed), completed as u64);
    }
}

#[test]
#[should_panic(expected = "attempts that ended and attempts of settled requests differ")]
fn a_request_that_forgets_an_attempt_is_a_broken_invariant() {
    let scenario = fleet();
    let (mut facts, ended) = run(&scenario, 50, 1, 1_000);
    for fact in &mut facts {
        if let Fact::Settled(settled) = fact {
            settled.attempts += 1;
        }
    }
    record(&scenario, &facts, ended);
}

#[test]
#[should_panic(expected = "counted first attempts and settled requests differ")]
fn a_request_that_is_never_settled_is_a_broken_invariant() {
    let scenario = fleet();
    let (mut facts, ended) = run(&scenario, 200, 1, 1_000);
    let single = |fact: &Fact| {
        matches!(fact, Fact::Settled(one) if one.attempts == 1
        && one.arrived > Time::ZERO + scenario.warmup)
    };
    let lost = facts.iter().position(single).unwrap();
    facts.remove(lost);
    // Its attempt is booked on another request, as an engine that mixes up two would.
    let other = facts.iter_mut().find_map(|fact| match fact {
        Fact::Settled(other) => Some(other),
        _ => None,
    });
    other.unwrap().attempts += 1;
    record(&scenario, &facts, ended);
}

#[test]
fn the_log_of_the_fleet_has_every_change_in_order_when_it_is_kept() {
    let scenario = fleet();
    let (facts, ended) = run(&scenario, 100, 1, 1_000);
    let mut recorder = Recorder::new(&scenario).with_fleet_log();
    tell(&facts, &mut recorder);
    let log = recorder.take_fleet_log();
    let told = facts.iter().filter(|fact| matches!(fact, Fact::Scaled(..) | Fact::Failed(..))).count();
    assert_eq!(log.len(), told);
    assert!(told > scenario.pools.len());
    assert_eq!(recorder.finish(ended), record(&scenario, &facts, ended));
    let mut silent = Recorder::new(&scenario);
    silent.scaled(
        Time::ZERO,
        0,
        &super::ScaleChange {
            ready: 1,
            starting: 0,
            draining: 0,
            down: 0,
            wanted: 1,
            cause: super::ScaleCause::Start,
        },
    );
    assert!(silent.take_fleet_log().is_empty());
}
