//! One function decides: [`decide`] turns what is known of a figure into Holds, Violated or Inconclusive.
//!
//! It is pure and knows neither scenario nor engine, so a live measurement and a simulation are judged alike. If it
//! were wrong, the exit code of `tidegate run` would be. It judges one property; with many properties some will be
//! wrong by chance at 2.5 % each, which nothing here corrects.

use crate::experiment::statistics::{Evidence, Interval, Kind, Plan, certainty, interval, tail_samples};
use crate::observe::recorder::Reading;
use crate::results::Verdict;
use crate::results::figure::{measure_name, measure_unit, quantile_name};
use crate::scenario::{Bound, JobShare, Measure};

/// A verdict and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is decided.
    pub verdict: Verdict,
    /// Why, in one sentence with the numbers.
    pub reason: String,
    /// The interval of the look, at level `1 - alpha`; `None` when there is none.
    pub interval: Option<Interval>,
    /// The figure of the pooled data it rests on; `None` when nothing was measured.
    pub pooled: Option<Reading>,
    /// The error this look may spend; `None` when it was not declared.
    pub alpha: Option<f64>,
    /// Replications it rests on.
    pub replications: u32,
    /// Inconclusive, but more replications may decide it.
    pub open: bool,
}

/// Decides whether the figure `measure` keeps `bound`, at the look after all replications of `evidence`.
///
/// In this order:
/// 1. A reading that is not finite decides nothing.
/// 2. A bound that only a share of exactly 0 (or 1) can keep is a claim about every request (or job), not an estimate: one
///    counter-example violates it at any time, and none in all replications of a declared look lets it hold.
/// 3. When nothing is random, one replication is the truth and is compared with the bound.
/// 4. Fewer than two replications, a count that is not a declared look of `plan`, a replication without a sample,
///    or too few samples beyond a quantile ([`tail_samples`]) are inconclusive.
/// 5. Otherwise the interval at the look's level is compared with the bound: on the good side it holds (touching
///    included), on the other it is violated, astride it is inconclusive.
pub fn decide(evidence: &Evidence, plan: &Plan, measure: &Measure, bound: Bound) -> Decision {
    let replications = u32::try_from(evidence.readings.len()).expect("replications are counted in u32");
    let alpha = plan.alpha(replications);
    let judged = judge(evidence, plan, measure, bound, replications, alpha);
    Decision {
        verdict: judged.verdict,
        reason: judged.reason,
        interval: judged.interval,
        pooled: evidence.pooled,
        alpha,
        replications,
        open: judged.open,
    }
}

struct Judged {
    verdict: Verdict,
    reason: String,
    interval: Option<Interval>,
    open: bool,
}

impl Judged {
    fn of(verdict: Verdict, reason: String) -> Self {
        Judged { verdict, reason, interval: None, open: false }
    }
    fn unclear(reason: String) -> Self {
        Self::of(Verdict::Inconclusive, reason)
    }
    fn open(reason: String) -> Self {
        Judged { open: true, ..Self::unclear(reason) }
    }
}

fn judge(
    evidence: &Evidence,
    plan: &Plan,
    measure: &Measure,
    bound: Bound,
    replications: u32,
    alpha: Option<f64>,
) -> Judged {
    if evidence.is_broken() {
        return Judged::unclear("a reading is not a finite number".to_owned());
    }
    let kind = Kind::of(measure);
    let exact = exact_bound(kind, bound);
    let against = |value: f64| !keeps(value, bound);
    if exact && evidence.present().any(|r| against(r.value)) {
        let reason = format!(
            "some {}s are against it: {}",
            counted(measure),
            measure_unit(measure).show(pooled_value(evidence))
        );
        return Judged::of(Verdict::Violated, reason);
    }
    if plan.is_certain()
        && let Some(pooled) = evidence.pooled
    {
        let found = certainty(pooled, kind);
        let basis = format!("{} (nothing is drawn at random)", measure_unit(measure).show(pooled.value));
        return Judged { open: false, ..compare(&found, measure, bound, &basis) };
    }
    if evidence.missing() > 0 && (plan.is_certain() || replications >= 2) {
        let (missing, label) = (evidence.missing(), measure_name(measure));
        return Judged::unclear(format!(
            "{missing} of {replications} {} have no sample of {label}",
            plan.noun()
        ));
    }
    let Some(alpha) = alpha.filter(|_| replications >= 2) else {
        let (reason, open) = unlooked(plan, replications);
        return Judged { open, ..Judged::unclear(reason) };
    };
    let samples = evidence.pooled.map_or(0, |r| r.samples);
    if let Kind::Quantile(quantile) = kind
        && let Some(judged) = too_few(evidence, quantile)
    {
        return judged;
    }
    if exact {
        let one = counted(measure);
        let reason = match measure {
            // Their samples are the jobs.
            Measure::Jobs(JobShare::RequestsCompleted | JobShare::RequestsExpired) => {
                format!("no {one} against it in {samples} jobs in {replications} {}", plan.noun())
            }
            _ => format!("no {one} against it among {samples} in {replications} {}", plan.noun()),
        };
        return Judged::of(Verdict::Holds, reason);
    }
    let Some(found) = interval(evidence, kind, alpha) else {
        return Judged::open("there is no interval yet".to_owned());
    };
    let unit = measure_unit(measure);
    let basis = format!(
        "{} ({} % interval {}, {replications} {})",
        unit.show(found.centre),
        trimmed(100.0 * (1.0 - alpha), 2),
        unit.show_range(found.low, found.high),
        plan.noun()
    );
    compare(&found, measure, bound, &basis)
}

/// What a share is of.
fn counted(measure: &Measure) -> &'static str {
    match measure {
        Measure::Jobs(JobShare::Completed | JobShare::Expired | JobShare::Failed) => "job",
        _ => "request",
    }
}

/// Why nothing can be decided at a count of replications that is not a look, and whether more replications may help.
pub(super) fn unlooked(plan: &Plan, replications: u32) -> (String, bool) {
    match plan.looks().iter().find(|look| **look > replications) {
        Some(all) if plan.is_of_blocks() => (
            format!("{replications} of the {all} blocks that were planned are whole: it takes all of them"),
            false,
        ),
        None if plan.is_of_blocks() && replications < 2 => {
            ("one block has no interval: it takes 2 at least".to_owned(), false)
        }
        Some(next) => (format!("{replications} of the {next} replications that the next look needs"), true),
        None if replications < 2 => {
            ("one replication has no interval: declare more in `scenario.replications`".to_owned(), false)
        }
        None => (format!("{replications} replications are beyond the last declared look"), false),
    }
}

/// Whether a replication has too few samples for `quantile`. More replications would be as short.
fn too_few(evidence: &Evidence, quantile: f64) -> Option<Judged> {
    let needed = tail_samples(quantile);
    let least = evidence.present().map(|r| r.samples).min().unwrap_or(0);
    (least < needed).then(|| {
        Judged::unclear(format!(
            "{least} samples in a replication are fewer than the {needed} that {} needs: use a longer horizon",
            quantile_name(quantile)
        ))
    })
}

fn compare(found: &Interval, measure: &Measure, bound: Bound, basis: &str) -> Judged {
    let limit = measure_unit(measure).show(bound_value(bound));
    let (worst, best, side) = match bound {
        Bound::AtMost(_) => (found.high, found.low, "at most"),
        Bound::AtLeast(_) => (found.low, found.high, "at least"),
    };
    let (verdict, words) = if keeps(worst, bound) {
        (Verdict::Holds, format!("{basis} is {side} {limit}"))
    } else if !keeps(best, bound) {
        (Verdict::Violated, format!("{basis} is not {side} {limit}"))
    } else {
        (Verdict::Inconclusive, format!("{basis} cannot tell whether it is {side} {limit}"))
    };
    Judged { verdict, reason: words, interval: Some(*found), open: verdict == Verdict::Inconclusive }
}

pub(super) fn bound_value(bound: Bound) -> f64 {
    match bound {
        Bound::AtMost(value) | Bound::AtLeast(value) => value,
    }
}

pub(super) fn keeps(value: f64, bound: Bound) -> bool {
    match bound {
        Bound::AtMost(most) => value <= most,
        Bound::AtLeast(least) => value >= least,
    }
}

/// Whether only a share of exactly 0, or of exactly 1, keeps the bound.
fn exact_bound(kind: Kind, bound: Bound) -> bool {
    kind == Kind::Share
        && match bound {
            Bound::AtMost(most) => most == 0.0,
            Bound::AtLeast(least) => least == 1.0,
        }
}

fn pooled_value(evidence: &Evidence) -> f64 {
    evidence.pooled.map_or(f64::NAN, |r| r.value)
}

/// Without trailing zeros.
pub(super) fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Outcome;
    use crate::rng::{Purpose, stream};
    use crate::scenario::Metric;
    use proptest::prelude::*;

    const P99: Measure = Measure::Quantile(Metric::E2e, 0.99);
    const MEAN: Measure = Measure::Mean(Metric::E2e);
    const REFUSED: Measure = Measure::Share(Outcome::Refused);

    fn evidence(values: &[f64], samples: u64) -> Evidence {
        let readings = values.iter().map(|&value| Some(Reading { value, samples })).collect();
        let value = values.iter().sum::<f64>() / values.len() as f64;
        Evidence { readings, pooled: Some(Reading { value, samples: samples * values.len() as u64 }) }
    }

    fn ask(values: &[f64], measure: &Measure, bound: Bound) -> Decision {
        let plan = Plan::new(&[values.len() as u32]);
        decide(&evidence(values, 100_000), &plan, measure, bound)
    }

    #[test]
    fn the_interval_decides_on_either_side_and_abstains_astride() {
        let around = |centre: f64| [centre - 2e6, centre, centre + 2e6, centre - 1e6, centre + 1e6];
        for (measure, at) in [(MEAN, 5e8), (P99, 5e8)] {
            assert_eq!(ask(&around(at), &measure, Bound::AtMost(6e8)).verdict, Verdict::Holds);
            assert_eq!(ask(&around(at), &measure, Bound::AtMost(4e8)).verdict, Verdict::Violated);
            assert_eq!(ask(&around(at), &measure, Bound::AtMost(at)).verdict, Verdict::Inconclusive);
            assert_eq!(ask(&around(at), &measure, Bound::AtLeast(4e8)).verdict, Verdict::Holds);
            assert_eq!(ask(&around(at), &measure, Bound::AtLeast(6e8)).verdict, Verdict::Violated);
        }
        let open = ask(&around(5e8), &P99, Bound::AtMost(5e8));
        assert!(open.open);
        assert_eq!(
            open.reason,
            "500 ms (95 % interval 498 to 502 ms, 5 replications) cannot tell whether it is at most 500 ms"
        );
    }

    #[test]
    fn one_replication_is_inconclusive_and_says_what_to_do() {
        let found = ask(&[1.0], &MEAN, Bound::AtMost(1e9));
        assert_eq!((found.verdict, found.open, found.interval), (Verdict::Inconclusive, false, None));
        assert!(found.reason.contains("declare more"), "{}", found.reason);
    }

    #[test]
    fn where_nothing_is_random_one_replication_decides() {
        let ask = |measure: &Measure, limit| {
            decide(&evidence(&[1e9], 5), &Plan::certain(), measure, Bound::AtMost(limit)).verdict
        };
        assert_eq!((ask(&MEAN, 1e9), ask(&MEAN, 0.99e9)), (Verdict::Holds, Verdict::Violated));
        // A histogram knows a quantile to a thousandth.
        assert_eq!(ask(&P99, 1e9), Verdict::Inconclusive);
        assert_eq!((ask(&P99, 1.002e9), ask(&P99, 0.998e9)), (Verdict::Holds, Verdict::Violated));
        let nothing = Evidence { readings: vec![None], pooled: None };
        let found = decide(&nothing, &Plan::certain(), &P99, Bound::AtMost(1e9));
        assert_eq!(found.reason, "1 of 1 replications have no sample of e2e p99");
    }

    #[test]
    fn between_two_looks_nothing_is_decided() {
        let plan = Plan::new(&[10, 20]);
        let found = decide(&evidence(&[1.0; 13], 10_000), &plan, &MEAN, Bound::AtMost(1e9));
        assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, true));
        assert_eq!(found.reason, "13 of the 20 replications that the next look needs");
    }

    #[test]
    fn a_replication_without_a_sample_makes_it_inconclusive_for_good() {
        let mut known = evidence(&[1e6; 10], 10_000);
        known.readings[3] = None;
        let found = decide(&known, &Plan::new(&[10, 20]), &P99, Bound::AtMost(1e9));
        assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, false));
        assert_eq!(found.reason, "1 of 10 replications have no sample of e2e p99");
        let nothing = Evidence { readings: vec![None; 10], pooled: None };
        let found = decide(&nothing, &Plan::new(&[10]), &P99, Bound::AtMost(1e9));
        assert_eq!(found.reason, "10 of 10 replications have no sample of e2e p99");
    }

    #[test]
    fn readings_that_are_not_numbers_decide_nothing() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let found = ask(&[1.0, bad, 2.0], &MEAN, Bound::AtMost(10.0));
            assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, false));
        }
    }

    #[test]
    fn a_quantile_with_too_few_samples_beyond_it_is_inconclusive() {
        let values = [1e6, 1.1e6, 0.9e6, 1e6, 1e6];
        let plan = Plan::new(&[5, 10]);
        let found = decide(&evidence(&values, 999), &plan, &P99, Bound::AtMost(1e9));
        assert_eq!((found.verdict, found.open), (Verdict::Inconclusive, false));
        assert_eq!(
            found.reason,
            "999 samples in a replication are fewer than the 1000 that p99 needs: use a longer horizon"
        );
        let found = decide(&evidence(&values, 1_000), &plan, &P99, Bound::AtMost(1e9));
        assert_eq!(found.verdict, Verdict::Holds);
    }

    #[test]
    fn a_bound_of_none_is_a_claim_about_every_request() {
        let never = Bound::AtMost(0.0);
        assert_eq!(ask(&[0.0; 10], &REFUSED, never).verdict, Verdict::Holds);
        assert_eq!(ask(&[0.0, 0.0, 1e-5], &REFUSED, never).verdict, Verdict::Violated);
        // Certain before any look.
        let early = decide(&evidence(&[0.0, 1e-5], 100_000), &Plan::new(&[10]), &REFUSED, never);
        assert_eq!(early.verdict, Verdict::Violated);
        assert_eq!(ask(&[0.0], &REFUSED, never).verdict, Verdict::Inconclusive);
        let always = Bound::AtLeast(1.0);
        assert_eq!(ask(&[1.0; 4], &Measure::GoodputShare, always).verdict, Verdict::Holds);
        assert_eq!(ask(&[1.0, 0.999], &Measure::GoodputShare, always).verdict, Verdict::Violated);
    }

    #[test]
    fn a_claim_about_every_job_says_so() {
        let ask = |share: JobShare, value: f64| {
            ask(&[0.0, value, 0.0], &Measure::Jobs(share), Bound::AtMost(0.0)).reason
        };
        assert_eq!(ask(JobShare::Expired, 0.0), "no job against it among 300000 in 3 replications");
        let requests = "no request against it in 300000 jobs in 3 replications";
        assert_eq!(ask(JobShare::RequestsExpired, 0.0), requests);
        assert!(ask(JobShare::Failed, 0.1).starts_with("some jobs are against it: "));
    }

    #[test]
    fn a_day_of_jobs_does_not_prove_a_small_share_of_them() {
        // 24 jobs a replication: none of 240 expired leaves up to 1.5 % possible, whatever requests they have.
        let plan = Plan::new(&[10]);
        for share in [JobShare::Expired, JobShare::RequestsExpired] {
            let ask =
                |most| decide(&evidence(&[0.0; 10], 24), &plan, &Measure::Jobs(share), Bound::AtMost(most));
            assert_eq!((ask(0.01).verdict, ask(0.02).verdict), (Verdict::Inconclusive, Verdict::Holds));
        }
        // A tail of 24 is none.
        let found =
            decide(&evidence(&[1e13; 10], 24), &plan, &Measure::JobQuantile(0.95), Bound::AtMost(2e13));
        assert_eq!(
            found.reason,
            "24 samples in a replication are fewer than the 200 that p95 needs: use a longer horizon"
        );
        let found =
            decide(&evidence(&[1e13; 10], 24), &plan, &Measure::JobQuantile(0.5), Bound::AtMost(2e13));
        assert_eq!(found.verdict, Verdict::Holds);
    }

    #[test]
    fn nothing_seen_in_few_requests_does_not_prove_a_small_share() {
        let plan = Plan::new(&[10]);
        let bound = Bound::AtMost(0.001);
        let few = decide(&evidence(&[0.0; 10], 100), &plan, &REFUSED, bound);
        let many = decide(&evidence(&[0.0; 10], 1_000), &plan, &REFUSED, bound);
        assert_eq!((few.verdict, many.verdict), (Verdict::Inconclusive, Verdict::Holds));
    }

    /// False `Holds` in `trials` experiments whose true mean is exactly the bound, looking at each of `looks`:
    /// once with the plan, once with a plain 95 % interval at every look.
    fn false_holds(looks: &[u32], trials: u32) -> (f64, f64) {
        let plan = Plan::new(looks);
        let most = *looks.last().unwrap() as usize;
        let mut rng = stream(5, Purpose::Bootstrap, 0, 0);
        let (mut planned, mut naive) = (0, 0);
        for _ in 0..trials {
            let values: Vec<f64> = (0..most)
                .map(|_| {
                    1e9 + 1e7 * rand_distr::Distribution::<f64>::sample(&rand_distr::StandardNormal, &mut rng)
                })
                .collect();
            let holds = |look: u32, plan: &Plan| {
                let known = evidence(&values[..look as usize], 1_000_000);
                decide(&known, plan, &MEAN, Bound::AtMost(1e9)).verdict == Verdict::Holds
            };
            planned += u32::from(looks.iter().any(|&n| holds(n, &plan)));
            naive += u32::from(looks.iter().any(|&n| holds(n, &Plan::new(&[n]))));
        }
        (f64::from(planned) / f64::from(trials), f64::from(naive) / f64::from(trials))
    }

    #[test]
    fn looking_three_times_keeps_the_error_and_naive_looking_does_not() {
        // 20,000 experiments at the bound, seed 5; 2.5 % false `Holds` are allowed, standard error 0.11 %.
        let (planned, naive) = false_holds(&[10, 20, 40], 20_000);
        let allowed = 0.025 + 3.0 * (0.025f64 * 0.975 / 20_000.0).sqrt();
        assert!(planned <= allowed, "{planned}");
        assert!(planned >= 0.012, "the union bound should not waste half of it: {planned}");
        assert!(naive > allowed, "naive looks give {naive}");
    }

    #[test]
    fn naive_looking_after_every_replication_gives_many_times_the_allowed_false_holds() {
        let looks: Vec<u32> = (10..=40).collect();
        let (planned, naive) = false_holds(&looks, 4_000);
        assert!(planned <= 0.025 + 3.0 * (0.025f64 * 0.975 / 4_000.0).sqrt(), "{planned}");
        assert!(naive > 0.06, "{naive}");
    }

    proptest! {
        #[test]
        fn a_verdict_never_contradicts_its_interval_and_never_panics(
            values in prop::collection::vec(prop_oneof![Just(f64::NAN), 0.0f64..2e9], 0..25),
            look in 1u32..25, limit in 0.0f64..2e9, most in any::<bool>(), samples in 0u64..3_000,
        ) {
            let bound = if most { Bound::AtMost(limit) } else { Bound::AtLeast(limit) };
            let plan = Plan::new(&[look]);
            for measure in [MEAN, P99] {
                let found = decide(&evidence(&values, samples), &plan, &measure, bound);
                match (found.verdict, found.interval) {
                    (Verdict::Inconclusive, None) => {}
                    (Verdict::Holds, Some(i)) => prop_assert!(keeps(i.low, bound) && keeps(i.high, bound)),
                    (Verdict::Violated, Some(i)) => prop_assert!(!keeps(i.low, bound) && !keeps(i.high, bound)),
                    (Verdict::Inconclusive, Some(i)) => prop_assert!(i.low <= limit && limit <= i.high),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        #[test]
        fn a_laxer_bound_never_turns_holds_into_something_else(
            values in prop::collection::vec(0.0f64..1e9, 2..20), limit in 0.0f64..1e9, slack in 0.0f64..1e9,
        ) {
            let strict = ask(&values, &MEAN, Bound::AtMost(limit));
            let lax = ask(&values, &MEAN, Bound::AtMost(limit + slack));
            prop_assert!(strict.verdict != Verdict::Holds || lax.verdict == Verdict::Holds);
            prop_assert!(lax.verdict != Verdict::Violated || strict.verdict == Verdict::Violated);
        }
    }
}
