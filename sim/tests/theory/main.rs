//! Queueing theory against the whole simulator: sources, gateway, servers.
//!
//! These tests are here and not with the others in the root package because the engine is compiled into whoever
//! calls it, and only this package is optimised in test builds.
//!
//! Each queue is simulated [`RUNS`] times with independent seeds. The interval over the runs must hold the value that
//! theory gives and be no wider than 1 % of it on either side, so that a wrong engine cannot hide behind noise. All
//! intervals together are at 99.9 %: each at `1 - 0.001 / COMPARISONS` (Bonferroni). Seeds are fixed, so a failure is
//! a change of the engine or of its inputs, never bad luck.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test crate has no outside"
)]

mod census;
mod queues;
mod scaling;
mod supermarket;

use census::{Census, Tally};
use tidegate_sim::engine::{Mode, simulate};
use tidegate_sim::experiment::statistics::t_quantile;
use tidegate_sim::request::WorkloadId;
use tidegate_sim::rng::replication_seed;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::time::Time;
use tidegate_sim::workload::Source;

/// Independent runs of each queue.
const RUNS: u32 = 40;
/// Comparisons with theory: 23 claims, each long and short, and 5 of the supermarket.
const COMPARISONS: f64 = 51.0;
/// Error of all comparisons together.
const FAMILY: f64 = 0.001;
/// Widest half-interval allowed, as a share of the theoretical value.
const PRECISION: f64 = 0.01;

/// One run, counted.
fn census(scenario: &Scenario, seed: u64) -> Census {
    let open = |index| Source::open(scenario, index as WorkloadId, seed).unwrap();
    let feeds = (0..scenario.workloads.len()).map(open).collect();
    let mut census = Census::new(scenario);
    let go_on = |_: Time, _: &_| std::ops::ControlFlow::Continue(());
    let totals = simulate(scenario, feeds, seed, Mode::Fast, &mut census, go_on);
    census.close(totals.ended);
    census
}

/// A figure of a run, and what theory says it is.
struct Claim {
    name: &'static str,
    theory: f64,
    read: fn(&Tally) -> f64,
    workload: usize,
}

/// Simulates and compares. The short form only asks that theory is in the interval; the long form that the interval
/// is narrow, too.
fn compare(scenario: &Scenario, claims: &[Claim], long: bool) {
    let runs = runs(scenario);
    for claim in claims {
        check(scenario, &runs, claim, 0.0, long);
    }
}

/// As [`compare`], where theory may be off by a share of itself beyond the interval, since it speaks of a limit. Returns
/// the mean and its half-interval.
fn compare_near(scenario: &Scenario, claim: &Claim, share: f64, long: bool) -> (f64, f64) {
    check(scenario, &runs(scenario), claim, share, long)
}

fn runs(scenario: &Scenario) -> Vec<Census> {
    (0..RUNS).map(|index| census(scenario, replication_seed(scenario.seed, index))).collect()
}

fn check(scenario: &Scenario, runs: &[Census], claim: &Claim, share: f64, long: bool) -> (f64, f64) {
    let requests: u64 = runs.iter().flat_map(|run| &run.tallies).map(|tally| tally.offered).sum();
    let factor = t_quantile(1.0 - FAMILY / COMPARISONS / 2.0, RUNS as usize - 1);
    let values: Vec<f64> = runs.iter().map(|run| (claim.read)(&run.tallies[claim.workload])).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = factor * (squares / (count - 1.0) / count).sqrt();
    let told = format!(
        "{} {}: {mean:.6} +- {:.2} %, theory {:.6}, {RUNS} runs, {requests} requests",
        scenario.name,
        claim.name,
        100.0 * half / claim.theory,
        claim.theory
    );
    println!("{told}");
    let off = (mean - claim.theory).abs();
    assert!(off <= half + share * claim.theory, "theory is outside: {told}");
    assert!(!long || half <= PRECISION * claim.theory, "too wide to prove anything: {told}");
    (mean, half)
}
