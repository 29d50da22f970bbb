//! Sources as a simulator sees them.

use super::fixture::{TempFile, all, real, scenario, workload};
use super::*;
use crate::dist::Dist;
use crate::request::{Arrival, Prefix};
use crate::scenario::{Arrivals, Lengths, Scenario, Sessions, Trace, TraceFormat, Workload};
use crate::time::{Span, Time};
use std::path::Path;
use std::sync::Arc;

fn sessions() -> Sessions {
    Sessions {
        turns: Dist::uniform(2.0, 6.0).unwrap(),
        think: Dist::exponential(5.0).unwrap(),
        context_most: 1_000_000,
    }
}

#[test]
fn the_same_seed_gives_the_same_requests_and_another_seed_others() {
    let scenario = scenario(vec![workload()]);
    assert_eq!(all(&scenario, 1), all(&scenario, 1));
    assert_ne!(all(&scenario, 1), all(&scenario, 2));
    assert_eq!(arrival_hash(&scenario, 1), arrival_hash(&scenario, 1));
    assert_ne!(arrival_hash(&scenario, 1), arrival_hash(&scenario, 2));
    assert_eq!(arrival_hash(&scenario, 1).unwrap().len(), 64);
}

#[test]
fn a_longer_horizon_only_adds_requests_behind() {
    let mut scenario = scenario(vec![workload()]);
    let short = all(&scenario, 1);
    scenario.horizon = Span::from_secs(1_000);
    assert_eq!(all(&scenario, 1)[..short.len()], short[..]);
}

#[test]
fn changing_one_law_changes_no_other_draw() {
    let base = scenario(vec![workload(), workload()]);
    let mut other = base.clone();
    let prompt = Dist::gamma(77.0, 2.0).unwrap();
    let output = Dist::lognormal(200.0, 0.9).unwrap();
    other.workloads[0].lengths = Lengths::Independent { prompt, output };
    other.workloads[0].patience = Some(Dist::exponential(3.0).unwrap());
    let (a, b) = (all(&base, 9), all(&other, 9));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((a.at, a.head.tenant, a.draw.output_tokens), (b.at, b.head.tenant, b.draw.output_tokens));
        assert!(a.head.workload == 0 || a == b);
    }
    assert!(a.iter().zip(&b).any(|(a, b)| a.head.prompt_tokens != b.head.prompt_tokens));
}

#[test]
fn switching_a_workload_off_leaves_the_draws_of_those_after_it_alone() {
    let both = scenario(vec![workload(), workload()]);
    let mut alone = both.clone();
    alone.workloads.remove(0);
    let of_second: Vec<_> =
        all(&both, 9).into_iter().filter(|a| a.head.workload == 1).map(|a| (a.at, a.draw)).collect();
    assert_eq!(of_second, all(&alone, 9).into_iter().map(|a| (a.at, a.draw)).collect::<Vec<_>>());
}

#[test]
fn two_workloads_of_one_kind_are_independent() {
    let scenario = scenario(vec![workload(), workload()]);
    let (first, second): (Vec<_>, Vec<_>) = all(&scenario, 4).into_iter().partition(|a| a.head.workload == 0);
    assert_ne!(
        first.iter().map(|a| a.at).collect::<Vec<_>>(),
        second.iter().map(|a| a.at).collect::<Vec<_>>()
    );
}

#[test]
fn a_declared_limit_is_declared_and_stops_the_model() {
    let mut spec = workload();
    spec.max_tokens = Some(100);
    let all = all(&scenario(vec![spec]), 1);
    assert!(all.iter().all(|a| a.head.max_tokens == Some(100) && a.draw.output_tokens <= 100));
    assert!(all.iter().any(|a| a.draw.output_tokens == 100));
}

#[test]
fn tenants_share_requests_evenly() {
    let mut spec = workload();
    spec.tenants = 5;
    let all = all(&scenario(vec![spec]), 1);
    for tenant in 0..5 {
        let count = all.iter().filter(|a| a.head.tenant == tenant).count() as f64;
        let mean = all.len() as f64 / 5.0;
        assert!((count - mean).abs() < 4.5 * mean.sqrt(), "tenant {tenant}: {count} for {mean}");
    }
}

#[test]
fn joint_lengths_keep_their_pairs() {
    let mut spec = workload();
    spec.lengths = Lengths::Joint(Arc::new(vec![(10, 1), (20, 2), (30, 3)]));
    let all = all(&scenario(vec![spec]), 1);
    assert!(all.iter().all(|a| a.head.prompt_tokens == 10 * a.draw.output_tokens));
    assert_eq!(all.iter().map(|a| a.draw.output_tokens).max(), Some(3));
}

#[test]
fn the_shared_beginning_comes_in_front_of_the_drawn_prompt() {
    let mut spec = workload();
    let plain = all(&scenario(vec![spec.clone()]), 1);
    spec.shared_prefix_tokens = 500;
    for (with, without) in all(&scenario(vec![spec]), 1).iter().zip(&plain) {
        assert_eq!(with.head.prompt_tokens, without.head.prompt_tokens + 500);
        let Prefix { shared, shared_tokens, own } = with.head.prefix;
        assert!(shared != 0 && (shared_tokens, own) == (500, 0));
        assert_eq!(without.head.prefix, Prefix::default());
    }
}

#[test]
fn single_requests_are_sessions_of_their_own_and_nothing_follows() {
    let scenario = scenario(vec![workload()]);
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    for index in 0..100 {
        let arrival = source.next().unwrap();
        assert_eq!((arrival.head.index, arrival.head.session, arrival.head.turn), (index, index, 0));
        assert_eq!(source.follow(&arrival.head, 5, arrival.at), None);
    }
}

/// Plays a session to its end; answers come `wait` after each request.
fn play(source: &mut Source, first: &Arrival, wait: Span) -> Vec<Arrival> {
    let mut turns = vec![first.clone()];
    while let Some(last) = turns.last() {
        let Some(next) = source.follow(&last.head, last.draw.output_tokens, last.at + wait) else {
            break;
        };
        turns.push(next);
    }
    turns
}

#[test]
fn each_turn_carries_all_that_was_said() {
    let mut spec = workload();
    spec.sessions = Some(sessions());
    spec.lengths = Lengths::Independent {
        prompt: Dist::constant(30.0).unwrap(),
        output: Dist::lognormal(200.0, 0.9).unwrap(),
    };
    let scenario = scenario(vec![spec]);
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    let (mut longest, mut count) = (0, 0);
    while let Some(first) = source.next().filter(|a| a.at < Time::from_nanos(100_000_000_000)) {
        let turns = play(&mut source, &first, Span::from_secs(1));
        for (index, pair) in turns.windows(2).enumerate() {
            let said = pair[0].head.prompt_tokens + pair[0].draw.output_tokens;
            assert_eq!(pair[1].head.prompt_tokens, said + 30);
            assert_eq!(pair[1].head.turn as usize, index + 1);
            assert_eq!(pair[1].head.prefix, pair[0].head.prefix);
            assert!(pair[1].at >= pair[0].at + Span::from_secs(1));
        }
        assert!(turns[0].head.prefix.own != 0);
        (longest, count) = (longest.max(turns.len()), count + turns.len());
    }
    assert_eq!(longest, 6);
    assert!(count > 1_000, "{count}");
}

#[test]
fn what_a_session_says_does_not_depend_on_when_it_is_answered() {
    let mut spec = workload();
    spec.sessions = Some(sessions());
    let scenario = scenario(vec![spec]);
    let told = |wait: Span, in_order: bool| {
        let mut source = Source::open(&scenario, 0, 1).unwrap();
        let mut firsts: Vec<Arrival> = (0..50).map_while(|_| source.next()).collect();
        if !in_order {
            firsts.reverse();
        }
        let mut all: Vec<_> = firsts
            .iter()
            .flat_map(|first| play(&mut source, first, wait))
            .map(|a| (a.head.session, a.head.turn, a.head.prompt_tokens, a.draw))
            .collect();
        all.sort_by_key(|a| (a.0, a.1));
        all
    };
    assert_eq!(told(Span::from_millis(1), true), told(Span::from_millis(700), false));
}

#[test]
fn a_population_starts_staggered_and_each_user_goes_on() {
    let mut spec = workload();
    spec.arrivals = Arrivals::Population { users: 200 };
    spec.tenants = 3;
    spec.sessions = Some(sessions());
    let scenario = scenario(vec![spec]);
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    let firsts: Vec<Arrival> = std::iter::from_fn(|| source.next()).collect();
    assert_eq!(firsts.len(), 200);
    assert!(firsts.is_sorted_by_key(|a| a.at));
    let mean = firsts.iter().map(|a| a.at.as_secs_f64()).sum::<f64>() / 200.0;
    assert!((mean - 5.0).abs() < 4.0 * 5.0 / 200f64.sqrt(), "{mean}");
    let turns = play(&mut source, &firsts[7], Span::from_secs(1));
    let user = firsts[7].head.session;
    assert!(turns.last().unwrap().head.session > user + 200, "several sessions");
    for pair in turns.windows(2) {
        let (before, after) = (&pair[0].head, &pair[1].head);
        assert_eq!(after.session % 200, user);
        assert_eq!(after.tenant, before.tenant);
        if after.turn == 0 {
            assert_eq!(after.session, before.session + 200);
            assert_ne!(after.prefix.own, before.prefix.own);
        }
    }
    let last = turns.last().unwrap();
    assert!(last.at < Time::ZERO + scenario.horizon);
}

#[test]
fn a_refused_user_without_think_time_does_not_spin() {
    let mut spec = workload();
    spec.arrivals = Arrivals::Population { users: 1 };
    let scenario = scenario(vec![spec]);
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    let first = source.next().unwrap();
    assert_eq!(first.at, Time::ZERO);
    let again = source.follow(&first.head, 0, first.at).unwrap();
    assert_eq!(again.at, Time::ZERO + PAUSE_AFTER_NOTHING);
    let served = source.follow(&again.head, 5, again.at).unwrap();
    assert_eq!(served.at, again.at);
}

#[test]
fn no_request_comes_at_or_after_the_horizon() {
    let mut spec = workload();
    spec.arrivals = Arrivals::Renewal(Dist::constant(1.0).unwrap());
    let mut scenario = scenario(vec![spec]);
    scenario.horizon = Span::from_secs(3);
    let times: Vec<u64> = all(&scenario, 1).iter().map(|a| a.at.as_nanos()).collect();
    assert_eq!(times, [1_000_000_000, 2_000_000_000]);
}

#[test]
fn service_times_have_the_mean_of_their_law() {
    let all = all(&scenario(vec![workload()]), 1);
    let mean = all.iter().map(|a| a.draw.service.as_secs_f64()).sum::<f64>() / all.len() as f64;
    assert!((mean / 0.5 - 1.0).abs() < 4.0 / (all.len() as f64).sqrt(), "{mean}");
}

#[test]
fn the_hash_sees_the_later_turns_of_sessions() {
    let mut spec = workload();
    spec.sessions = Some(sessions());
    let slow = scenario(vec![spec.clone()]);
    spec.sessions = Some(Sessions { think: Dist::exponential(6.0).unwrap(), ..sessions() });
    let slower = scenario(vec![spec]);
    assert_ne!(arrival_hash(&slow, 1), arrival_hash(&slower, 1));
}

#[test]
fn contradictions_are_errors_not_panics() {
    let mut spec = workload();
    spec.lengths = Lengths::FromTrace;
    assert_eq!(Source::open(&scenario(vec![spec.clone()]), 0, 1).err(), Some(SourceError::NoTrace));
    spec.lengths = Lengths::Joint(Arc::new(Vec::new()));
    assert_eq!(Source::open(&scenario(vec![spec.clone()]), 0, 1).err(), Some(SourceError::NoPairs));
    spec.lengths = workload().lengths;
    spec.arrivals = Arrivals::Population { users: 0 };
    assert_eq!(Source::open(&scenario(vec![spec]), 0, 1).err(), Some(SourceError::NoUsers));
}

fn traced(path: &Path, format: TraceFormat, speed: f64) -> Workload {
    let mut spec = workload();
    spec.arrivals = Arrivals::Trace(Trace { path: path.to_owned(), format, speed, rows: 0 });
    spec.lengths = Lengths::FromTrace;
    spec
}

fn hour(spec: Workload) -> Scenario {
    let mut scenario = scenario(vec![spec]);
    scenario.horizon = Span::from_secs(3_600);
    scenario
}

const PLAIN: &str = "arrival_s,prompt_tokens,output_tokens\n7.5,10,1\n8.000000001,20,2\n12,30,3\n";

#[test]
fn a_trace_is_replayed_from_time_zero_at_its_speed() {
    let file = TempFile::new("replay.csv", PLAIN);
    let seen = |speed| {
        let all = all(&hour(traced(&file.0, TraceFormat::Plain, speed)), 1);
        all.iter().map(|a| (a.at.as_nanos(), a.head.prompt_tokens, a.draw.output_tokens)).collect::<Vec<_>>()
    };
    assert_eq!(seen(1.0), [(0, 10, 1), (500_000_001, 20, 2), (4_500_000_000, 30, 3)]);
    assert_eq!(seen(2.0), [(0, 10, 1), (250_000_001, 20, 2), (2_250_000_000, 30, 3)]);
}

#[test]
fn a_trace_gives_times_to_drawn_lengths_and_to_sessions() {
    let file = TempFile::new("times.csv", PLAIN);
    let mut spec = traced(&file.0, TraceFormat::Plain, 1.0);
    spec.sessions = Some(sessions());
    assert_eq!(Source::open(&hour(spec.clone()), 0, 1).err(), Some(SourceError::TraceSessions));
    spec.lengths = workload().lengths;
    let all = all(&hour(spec), 1);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|a| a.head.prefix.own != 0));
}

#[test]
fn a_trace_that_breaks_while_it_streams_is_reported_and_stays_broken() {
    let file = TempFile::new("breaks.csv", &format!("{PLAIN}13,x,1\n14,1,1\n"));
    let scenario = hour(traced(&file.0, TraceFormat::Plain, 1.0));
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    assert_eq!(std::iter::from_fn(|| source.next()).count(), 3);
    let told = source.error().unwrap().to_string();
    assert!(told.ends_with("breaks.csv:5: prompt_tokens: `x` is not a number"), "{told}");
    assert_eq!(source.next(), None);
    assert_eq!(source.error().unwrap().to_string(), told);
    assert!(arrival_hash(&scenario, 1).is_err());
}

#[test]
fn block_hashes_travel_with_their_own_prompts_only() {
    let row = "{\"timestamp\": 5, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [3, 9]}\n";
    let file = TempFile::new("chain.jsonl", row);
    let mut spec = traced(&file.0, TraceFormat::Mooncake, 1.0);
    assert_eq!(all(&hour(spec.clone()), 1)[0].chain.as_ref().unwrap().hashes, [3, 9]);
    spec.shared_prefix_tokens = 10;
    assert_eq!(Source::open(&hour(spec.clone()), 0, 1).err(), Some(SourceError::SharedChain));
    spec.lengths = workload().lengths;
    assert_eq!(all(&hour(spec), 1)[0].chain, None);
}

#[test]
fn the_azure_trace_is_replayed_whole() {
    let Some(path) = real("azure_llm_2023_conv.csv") else { return };
    let all = all(&hour(traced(&path, TraceFormat::Azure2023, 1.0)), 1);
    assert_eq!(all.len(), 19_366);
    assert_eq!(all[19_365].at, Time::from_nanos(3_501_721_937_000));
}

/// Windows say 1,383,669 requests; four standard deviations, which bursts make larger than Poisson's 1,176: the
/// variance of a window's count is at most its mean times the squared CV of its gaps (below 100 in this file).
#[test]
fn a_generated_servegen_day_has_the_requests_of_its_windows() {
    let Some(path) = real("servegen_reason_deepseek-r1.jsonl") else { return };
    let mut scenario = scenario(vec![traced(&path, TraceFormat::ServeGen, 1.0)]);
    scenario.horizon = Span::from_secs(86_400);
    let mut source = Source::open(&scenario, 0, 1).unwrap();
    let (mut count, mut last) = (0u64, Time::ZERO);
    while let Some(arrival) = source.next() {
        assert!(arrival.at >= last && arrival.head.prompt_tokens <= 57_284);
        (count, last) = (count + 1, arrival.at);
    }
    assert!(count.abs_diff(1_383_669) < 4 * 11_760, "{count}");
}

#[test]
fn servegen_clients_without_lengths_borrow_those_of_others() {
    let client = |id, pdfs: &str| {
        format!(
            "{{\"client_id\":{id},\"windows_600s\":[[0,5,1.0,\"Gamma\",1.0,0.2]],\
             \"token_pdf_by_window_start\":{{{pdfs}}}}}\n"
        )
    };
    let tables = "\"0\":{\"input_tokens\":[[77,1]],\"output_tokens\":[[7,1]]}";
    let mixed = TempFile::new("mixed.jsonl", &(client(0, tables) + &client(1, "")));
    let spec = traced(&mixed.0, TraceFormat::ServeGen, 1.0);
    let lengths = all(&hour(spec), 1);
    assert!(lengths.len() > 5_000 && lengths.iter().all(|a| a.head.prompt_tokens == 77), "{}", lengths.len());
    assert!((trace::scan(&mixed.0, None).unwrap().borrowed_share - 0.5).abs() < 1e-12);

    let bare = TempFile::new("bare.jsonl", &client(0, ""));
    let mut spec = traced(&bare.0, TraceFormat::ServeGen, 1.0);
    let error = Source::open(&hour(spec.clone()), 0, 1).err().unwrap();
    assert_eq!(error.hint(), Some("give the workload `prompt` and `output` distributions"));
    spec.lengths = workload().lengths;
    assert!(all(&hour(spec), 1).len() > 2_500);
}

#[test]
fn a_stated_body_or_overhead_is_drawn_and_moves_no_other_draw() {
    let plain = all(&scenario(vec![workload()]), 7);
    let mut stating = workload();
    stating.sender.body = Some(Dist::uniform(0.0, 1e6).unwrap());
    stating.sender.overhead = Some(Dist::exponential(0.01).unwrap());
    let stated = all(&scenario(vec![stating]), 7);
    assert!(stated.iter().all(|arrival| arrival.head.body_bytes.is_some_and(|bytes| bytes <= 1_000_000)));
    let bodies: std::collections::BTreeSet<_> =
        stated.iter().map(|arrival| arrival.head.body_bytes).collect();
    assert!(bodies.len() > stated.len() / 2, "{} bodies of {}", bodies.len(), stated.len());
    assert!(stated.iter().any(|arrival| !arrival.draw.overhead.is_zero()));
    let bare = stated.into_iter().map(|mut arrival| {
        arrival.head.body_bytes = None;
        arrival.draw.overhead = Span::ZERO;
        arrival
    });
    assert!(bare.eq(plain));
}
