//! What is compared with what, what is refused, and who has the last word.

use super::*;
use crate::observe::synthetic::scenario;
use crate::results::live::LiveSummary;
use crate::results::live::tests::sample;
use crate::results::tests::result_set;
use crate::scenario::Scenario;
use crate::time::Span;
use proptest::prelude::*;

const NETWORK: Span = Span::from_millis(12);

fn with_network() -> Scenario {
    let mut scenario = scenario();
    scenario.workloads[0].network = NETWORK;
    scenario
}

fn simulated() -> ResultSet {
    result_set(&with_network(), 2_000, 3)
}

/// The same as a client would have measured it, in an ideal world.
fn measured(validity: Validity) -> ResultSet {
    let mut set = simulated();
    set.summary.live = Some(LiveSummary { validity, ..sample() });
    set
}

fn agreement(first: &ResultSet, second: &ResultSet) -> Agreement {
    Agreement::new(first, second, false).unwrap()
}

fn names(found: &WorkloadAgreement) -> Vec<&str> {
    found.latencies.iter().map(|latency| latency.metric.as_str()).collect()
}

#[test]
fn a_run_agrees_with_itself_in_everything() {
    let set = simulated();
    let found = agreement(&set, &set);
    assert_eq!(found.roles(), ["first", "second"]);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    assert_eq!(found.workloads.len(), set.summary.workloads.len());
    assert_eq!(names(&found.workloads[0]), ["ttft", "itl", "tpot", "e2e", "client-e2e"]);
    for workload in &found.workloads {
        assert!(workload.left_out.is_empty());
        for latency in &workload.latencies {
            assert_eq!((latency.ks, latency.added_ns), (0.0, 0));
            assert_eq!(latency.samples[0], latency.samples[1]);
            assert_eq!(latency.figures.len(), 5);
        }
        let latencies = workload.latencies.iter().flat_map(|latency| &latency.figures);
        for row in latencies.chain(&workload.rates) {
            assert_eq!((row.difference, row.agree.unwrap_or(true)), (0.0, true), "{row:?}");
        }
    }
    let text = String::from_utf8(encode_agreement(&found)).unwrap();
    assert_eq!(serde_json::from_str::<Agreement>(&text).unwrap(), found);
}

#[test]
fn the_prediction_comes_first_whatever_the_order() {
    let (a, b) = (simulated(), measured(Validity::Valid));
    assert!(std::ptr::eq(in_order(&a, &b).0, &a));
    assert!(std::ptr::eq(in_order(&b, &a).0, &a));
    assert_eq!(agreement(&a, &b).roles(), ["predicted", "measured"]);
    // Two of a kind stay as they are.
    let c = measured(Validity::Degraded);
    assert!(std::ptr::eq(in_order(&c, &b).0, &c));
    assert_eq!(agreement(&c, &b).roles(), ["first", "second"]);
}

#[test]
fn a_simulated_first_token_is_compared_at_the_client() {
    let (a, b) = (simulated(), measured(Validity::Valid));
    let found = agreement(&a, &b);
    let chat = &found.workloads[0];
    assert_eq!(names(chat), ["ttft", "itl", "tpot", "client-e2e"]);
    let ttft = &chat.latencies[0];
    assert_eq!(ttft.added_ns, NETWORK.as_nanos());
    for row in &ttft.figures {
        // Both folders are of the simulation: what differs is the round trip.
        assert_eq!(row.difference, NETWORK.as_nanos() as f64, "{row:?}");
    }
    assert!(ttft.ks > 0.0);
    assert!(chat.latencies[1..].iter().all(|latency| latency.added_ns == 0 && latency.ks == 0.0));
    let moved = matched(&a, &b, Some(Metric::Ttft)).remove(0).histograms;
    assert_eq!(moved[0].len(), moved[1].len());
    let gap = moved[0].value_at_quantile(0.5) as f64 - moved[1].value_at_quantile(0.5) as f64;
    assert!((gap / NETWORK.as_nanos() as f64 - 1.0).abs() < 0.02, "{gap}");
}

#[test]
fn different_or_unknown_arrivals_are_refused_unless_told() {
    let a = simulated();
    for hash in ["other", ""] {
        let mut b = a.clone();
        b.summary.provenance.arrival_hash = hash.to_owned();
        let error = Agreement::new(&a, &b, false).unwrap_err().to_string();
        assert!(error.contains("--different-arrivals") && !error.contains("``"), "{error}");
        let found = Agreement::new(&a, &b, true).unwrap();
        assert!(found.warnings[0].contains("different arrivals"), "{:?}", found.warnings);
    }
    let (mut a, mut b) = (a.clone(), a);
    a.summary.provenance.arrival_hash.clear();
    b.summary.provenance.arrival_hash.clear();
    assert!(Agreement::new(&a, &b, false).is_err(), "two unknown hashes are not equal");
}

#[test]
fn strangers_are_not_compared() {
    let a = simulated();
    let mut b = a.clone();
    b.summary.workloads.iter_mut().for_each(|workload| workload.name += "-too");
    assert_eq!(Agreement::new(&a, &b, false).unwrap_err(), AgainstError::Strangers);
}

#[test]
fn end_to_end_latencies_of_longer_answers_are_left_out() {
    let (a, b) = (simulated(), measured(Validity::Valid));
    for (factor, kept) in [(1.019, true), (0.981, true), (1.022, false), (0.978, false)] {
        let mut b = b.clone();
        let tokens = &mut b.summary.workloads[0].output_tokens;
        *tokens = (*tokens as f64 * factor) as u64;
        let found = agreement(&a, &b);
        let chat = &found.workloads[0];
        assert_eq!(names(chat).contains(&"client-e2e"), kept, "{factor}");
        assert_eq!(found.leaves_out(&chat.workload, Metric::ClientE2e), !kept);
        assert!(!found.leaves_out(&chat.workload, Metric::Ttft));
        if !kept {
            assert!(chat.left_out[0].reason.contains("more than 2 % apart"), "{:?}", chat.left_out);
        }
    }
    // More replications are no longer answers.
    let more = result_set(&with_network(), 2_000, 6);
    let mut more = ResultSet { summary: more.summary, ..more };
    more.summary.provenance.arrival_hash.clone_from(&a.summary.provenance.arrival_hash);
    let found = agreement(&more, &b);
    assert!(found.workloads[0].left_out.is_empty(), "{:?}", found.workloads[0].left_out);
    assert!(found.warnings.iter().any(|warning| warning.contains("6 replications")), "{:?}", found.warnings);
}

fn decided(mut set: ResultSet, verdict: Verdict) -> ResultSet {
    assert!(!set.summary.properties.is_empty());
    set.summary.properties.truncate(1);
    set.summary.properties[0].verdict = verdict;
    set
}

#[test]
fn what_is_measured_has_the_last_word_unless_it_is_invalid() {
    use Validity::{Degraded, Invalid, Valid};
    use Verdict::{Holds, Inconclusive, Violated};
    for (predicted, found, validity, wanted) in [
        (Holds, Holds, Valid, Holds),
        (Holds, Holds, Degraded, Holds),
        (Holds, Violated, Valid, Violated),
        (Violated, Violated, Valid, Violated),
        (Violated, Holds, Valid, Inconclusive),
        (Holds, Inconclusive, Valid, Inconclusive),
        (Inconclusive, Holds, Valid, Inconclusive),
        (Holds, Holds, Invalid, Inconclusive),
        (Holds, Violated, Invalid, Inconclusive),
    ] {
        let (a, b) = (decided(simulated(), predicted), decided(measured(validity), found));
        let all = agreement(&a, &b);
        assert_eq!(all.verdict, wanted, "{predicted:?} {found:?} {validity:?}");
        assert_eq!(all.properties.len(), 1);
        assert_eq!(all.properties[0].second.as_ref().unwrap().verdict, found);
        assert_eq!(validity == Valid, all.warnings.is_empty(), "{:?}", all.warnings);
    }
    let mut cut = decided(measured(Valid), Holds);
    cut.summary.interrupted = true;
    assert_eq!(agreement(&decided(simulated(), Holds), &cut).verdict, Inconclusive);
}

#[test]
fn properties_that_only_one_side_has_are_there_with_a_gap() {
    let (mut a, b) =
        (decided(simulated(), Verdict::Holds), decided(measured(Validity::Valid), Verdict::Holds));
    a.summary.properties[0].property = "another".to_owned();
    let found = agreement(&a, &b);
    assert_eq!(found.properties.len(), 2);
    assert!(found.properties[0].second.is_none() && found.properties[1].first.is_none());
    let table = found.property_table();
    assert_eq!((table.rows[0][5].as_str(), table.rows[1][3].as_str()), ("-", "-"));
}

#[test]
fn intervals_overlap_lie_apart_or_are_missing() {
    let (a, b) = (simulated(), measured(Validity::Valid));
    let with = |low: Option<f64>, high: Option<f64>| {
        let mut b = b.clone();
        let figure = b.summary.workloads[0].figures.iter_mut().find(|f| f.name == "throughput").unwrap();
        let estimate = figure.estimate.as_mut().unwrap();
        (estimate.low, estimate.high) = (low, high);
        let found = agreement(&a, &b);
        found.workloads[0].rates.iter().find(|row| row.figure == "throughput").unwrap().agree
    };
    let own = a.summary.workloads[0].figure("throughput").unwrap().estimate.unwrap();
    let (low, high) = (own.low.unwrap(), own.high.unwrap());
    assert_eq!(with(Some(high), Some(high + 1.0)), Some(true));
    assert_eq!(with(Some(high + 0.1), Some(high + 1.0)), Some(false));
    assert_eq!(with(Some(0.0), Some(low - 0.1)), Some(false));
    assert_eq!(with(None, None), None);
}

#[test]
fn the_tables_show_both_sides_with_error_and_distance() {
    let found = agreement(&simulated(), &measured(Validity::Valid));
    let tables = found.workload_tables(&found.workloads[0]);
    assert_eq!(tables[0].head[1], "predicted");
    assert_eq!(tables[0].rows[0][0], "ttft mean");
    assert!(tables[0].rows[0][5].starts_with('+'), "{:?}", tables[0].rows[0]);
    assert_eq!(tables[0].rows[0][6], "12 ms");
    assert_eq!(tables[2].rows[0][4], "12 ms");
    assert_eq!(tables[2].rows[1][1], "0.0000");
}

fn histogram(values: &[u64]) -> Histogram<u64> {
    let mut histogram = empty_histogram();
    for value in values {
        histogram.record(*value).unwrap();
    }
    histogram
}

#[test]
fn the_distance_is_the_one_worked_by_hand() {
    let (a, b) = (histogram(&[10_000, 20_000, 30_000, 40_000]), histogram(&[20_000, 30_000, 40_000, 50_000]));
    assert_eq!(ks_distance(&a, &b), 0.25);
    assert_eq!(ks_distance(&a, &histogram(&[90_000])), 1.0);
    assert_eq!(ks_distance(&a, &a), 0.0);
    assert_eq!(ks_distance(&a, &histogram(&[])), 0.0);
    assert_eq!(ks_distance(&a, &histogram(&[10_000, 10_000, 10_000, 40_000])), 0.5);
}

proptest! {
    #[test]
    fn the_distance_is_the_largest_gap_between_the_two_step_functions(
        a in prop::collection::vec(1_000u64..4_000_000, 1..80), b in prop::collection::vec(1_000u64..4_000_000, 1..80),
    ) {
        let (left, right) = (histogram(&a), histogram(&b));
        // At every value of either: shares of samples whose bucket ends at most where that of the value does.
        let share = |all: &[u64], of: &Histogram<u64>, at: u64| {
            let end = of.highest_equivalent(at);
            all.iter().filter(|value| of.highest_equivalent(**value) <= end).count() as f64 / all.len() as f64
        };
        let most = a.iter().chain(&b).map(|at| (share(&a, &left, *at) - share(&b, &right, *at)).abs());
        let most = most.fold(0.0, f64::max);
        prop_assert!((ks_distance(&left, &right) - most).abs() < 1e-12);
        prop_assert_eq!(ks_distance(&left, &right), ks_distance(&right, &left));
    }
}
