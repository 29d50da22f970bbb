//! Carries a plan out, one probe after the other: two at once would count each other's requests.

use super::basis::Basis;
use super::blame::{differences, told};
use super::client::{Client, Target};
use super::decide::RESTED;
use super::finding::{Finding, Outcome, Report, Verdict};
use super::measure::{Bench, Measured};
use super::method::{JobCall, Method};
use super::plan::{Item, Plan, Probe};
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_sim::profile::{Answer as Documented, Mechanism};
use tidegate_sim::time::NANOS_PER_SEC;

/// Carries the plan out. `most` bounds the requests, repetitions included; `stop`, once set, ends it within a second with what
/// was found so far. `tell` hears each finding when it is there.
///
/// # Errors
/// When no client can be made.
pub async fn run(
    basis: &Basis,
    plan: &Plan,
    target: Target,
    most: u64,
    stop: &AtomicBool,
    mut tell: impl FnMut(&Finding),
) -> Result<Report, String> {
    let mut report =
        Report { title: basis.title.clone(), target: target.base(), planned: plan.cost, ..Report::default() };
    let mut bench =
        Bench { basis, client: Client::new(target, basis.callers.len())?, most, stop, last: None };
    // Whatever fills a long window leaves nothing to others until it is over: so it goes last.
    let mut probes: Vec<_> = plan.probes().collect();
    probes.sort_by_key(|(_, probe)| probe.method.window().filter(|window| *window > RESTED));
    for (item, probe) in probes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let before = bench.client.sent();
        let found = tokio::select! {
            found = probed(&mut bench, probe) => found,
            () = stopped(stop) => break,
        };
        let finding = finding(basis, item, probe, found, bench.client.sent() - before);
        tell(&finding);
        report.findings.push(finding);
    }
    report.interrupted = stop.load(Ordering::Relaxed);
    report.requests = bench.client.sent();
    report.findings.extend(plan.unprobed());
    Ok(report)
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The number that is documented, when there is one.
fn documented(probe: &Probe) -> Option<u64> {
    match &probe.method {
        Method::Volley(rate) | Method::Weigh { rate, .. } | Method::Reserve(rate) => Some(rate.count()),
        Method::Hold { limit, .. } => Some(*limit),
        Method::Edge { bound, .. } => Some(*bound),
        Method::Job(JobCall::Lines { most, .. } | JobCall::Bytes { most, .. }) => Some(*most),
        Method::Gate(_) | Method::Job(_) => None,
    }
}

/// Measures; a number that is not as documented is measured again, because somebody else may have used some of it.
async fn probed(bench: &mut Bench<'_>, probe: &Probe) -> Measured {
    let number = documented(probe);
    let first = bench.measure(probe).await;
    let repeats = matches!(probe.method, Method::Volley(_) | Method::Weigh { .. } | Method::Hold { .. });
    if !repeats || first.outcome.verdict(number) != Verdict::Differs {
        return first;
    }
    let mut second = bench.measure(probe).await;
    let again = second.outcome.verdict(number);
    let text = first.outcome.text();
    match again {
        Verdict::Differs if second.outcome == first.outcome => second.notes.push("measured twice".to_owned()),
        Verdict::Differs => {
            let both =
                format!("it was {text}, then {}: somebody else may be using it", second.outcome.text());
            second.outcome = Outcome::Unclear(both);
        }
        Verdict::Equal => second.notes.push(format!("at first it was {text}: somebody else may be using it")),
        _ => {
            second.notes.push("it was not as documented once, and could not be measured again".to_owned());
            second.outcome = first.outcome;
        }
    }
    second
}

fn finding(basis: &Basis, item: &Item, probe: &Probe, found: Measured, requests: u64) -> Finding {
    let mut verdict = found.outcome.verdict(documented(probe));
    let mut notes = found.notes;
    if let Outcome::Unclear(why) = &found.outcome {
        notes.push(why.clone());
    }
    if verdict != Verdict::Inconclusive && !found.against.is_empty() {
        verdict = Verdict::Differs;
    }
    notes.extend(found.against);
    if let (Some(limit), Some(refusal)) =
        (probe.limit.map(|index| &basis.limits[index].limit), &found.refusal)
    {
        let window = match &limit.mechanism {
            Mechanism::Rate { window, .. } => Some(window.as_nanos().div_ceil(NANOS_PER_SEC)),
            _ => None,
        };
        // A request that is larger than the limit is let in at no time: nobody has to announce one.
        let beyond = match &probe.method {
            Method::Reserve(_) => true,
            Method::Weigh { rate, most, .. } => *most > rate.count(),
            _ => false,
        };
        let announced = refusal.header("retry-after").is_some();
        let announces_retry = limit.answer.announces_retry && (announced || !beyond);
        let documented = Documented { announces_retry, ..limit.answer.clone() };
        for (firm, text) in differences(&documented, refusal, window) {
            if firm && verdict == Verdict::Equal {
                verdict = Verdict::Differs;
            }
            notes.push(if firm { text } else { format!("{text} (no document says what)") });
        }
    }
    Finding {
        name: item.name.clone(),
        row: item.row.clone(),
        documented: item.documented.clone(),
        how: probe.method.text(),
        measured: found.outcome.text(),
        verdict,
        answer: found.refusal.as_ref().map(told),
        notes,
        requests,
    }
}

/// Threads that requests run on.
///
/// # Errors
/// When they cannot be started.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
