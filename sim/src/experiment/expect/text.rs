//! Claims and findings for people. Times are exact: a claim that is off by a nanosecond shows it.

use super::{Finding, jobs};
use crate::scenario::Scenario;
use crate::scenario::policy::{Claim, Expectation, Stream};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// Parts of a list that are shown.
const SHOWN: usize = 8;

/// A span, exactly: `49s`, `1.000000001s`, `12.5ms`.
fn exact(span: Span) -> String {
    let ns = span.as_nanos();
    let (unit, size) = match ns {
        0 => ("s", 1),
        1..=999 => ("ns", 1),
        1_000..=999_999 => ("us", 1_000),
        1_000_000..=999_999_999 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let (whole, rest) = (ns / size, ns % size);
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let places = size.ilog10() as usize;
    let fraction = format!("{rest:0places$}");
    format!("{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

/// A span, or `never`.
pub(super) fn never_or(span: Option<Span>) -> String {
    span.map_or_else(|| "never".to_owned(), exact)
}

/// An instant as the time since the start, or `never`.
pub(super) fn instant(at: Option<Time>) -> String {
    never_or(at.map(|at| at - Time::ZERO))
}

/// What is claimed, and what must be found.
pub(super) fn claim(scenario: &Scenario, claim: &Claim) -> (String, String) {
    let policy = &scenario.policy;
    let plain = |words: &str, wanted: String| (words.to_owned(), wanted);
    let limit = |index: &usize| &policy.limits[*index].name;
    match claim {
        Claim::Offered(n) => plain("offered", n.to_string()),
        Claim::Accepted(n) => plain("accepted", n.to_string()),
        Claim::Refused(n) => plain("refused", n.to_string()),
        Claim::Completed(n) => plain("completed", n.to_string()),
        Claim::Failed(n) => plain("failed", n.to_string()),
        Claim::For(reason, n) => {
            (format!("refused or failed for {}", policy.reason_name(*reason)), n.to_string())
        }
        Claim::Status(code, n) => (format!("answered with {code}"), n.to_string()),
        Claim::FirstAccepted(at) => plain("first accepted at", instant(*at)),
        Claim::LastAccepted(at) => plain("last accepted at", instant(*at)),
        Claim::FirstRefused(at) => plain("first refused at", instant(*at)),
        Claim::LastRefused(at) => plain("last refused at", instant(*at)),
        Claim::RetryAfter(span) => plain("time until the first refused is let in", never_or(*span)),
        Claim::Announced(span) => plain("wait announced to the last refused", never_or(*span)),
        Claim::Verdicts(letters) => plain("verdicts", runs(letters)),
        Claim::Each(bin, n) => (format!("accepted in each {}", exact(*bin)), n.to_string()),
        Claim::E2e(spans) => {
            (format!("end-to-end latencies of the first {} completed", spans.len()), list(spans))
        }
        Claim::ServedBy(pool, n) => {
            (format!("completed by pool {}", scenario.pools[usize::from(*pool)].name), n.to_string())
        }
        Claim::Violations(index, n) => (format!("violations of {}", limit(index)), n.to_string()),
        Claim::Peak(index, n) => (format!("peak of {}", limit(index)), n.to_string()),
        Claim::Jobs(wanted) => plain("jobs by last state", jobs::states(wanted)),
        Claim::JobRequests(wanted) => plain("requests of jobs", jobs::requests(wanted)),
        Claim::JobsFor(reason, n) => {
            (format!("jobs refused or failed for {}", policy.reason_name(*reason)), n.to_string())
        }
        Claim::JobStates(wanted) => plain("last states of jobs", jobs::names(wanted)),
        Claim::JobEnds(wanted) => plain("ends of jobs", jobs::ends(wanted)),
        Claim::JobLines(wanted) => plain("lines that jobs failed for", jobs::lines(wanted)),
        Claim::EnqueuedPeak(n) => plain("most tokens enqueued by an account", n.to_string()),
        Claim::EnqueuedEnd(n) => plain("tokens enqueued at the end", n.to_string()),
    }
}

/// Of which arrivals (of jobs: submissions), when it is not all of them.
pub(super) fn window(scenario: &Scenario, expected: &Expectation) -> String {
    let what = match expected.stream {
        Some(Stream::Batch(_)) => "submissions",
        _ => "arrivals",
    };
    let horizon = Time::ZERO + scenario.horizon;
    let from = instant(Some(expected.from));
    match (expected.from > Time::ZERO, expected.until < horizon) {
        (false, false) => String::new(),
        (true, false) => format!(", of {what} from {from}"),
        (_, true) => format!(", of {what} from {from} to {}", instant(Some(expected.until))),
    }
}

/// Whether each of `offered` was let in; the first of them are in `found`.
pub(super) fn verdicts(found: &[bool], offered: u64, wanted: &str) -> Finding {
    let letters: String = found.iter().map(|accepted| if *accepted { 'A' } else { 'R' }).collect();
    let more = offered - found.len() as u64;
    let mut text = runs(&letters);
    if let Some(place) = letters.chars().zip(wanted.chars()).position(|(a, b)| a != b) {
        text += &format!(" (differs first at number {})", place + 1);
    }
    if more > 0 {
        text += &format!(" and {more} more");
    }
    Finding::new(text, letters == wanted && more == 0)
}

/// Short ones as they are, long ones as `50 A, 10 R`.
fn runs(letters: &str) -> String {
    if letters.is_empty() {
        return "none".to_owned();
    }
    if letters.len() <= 24 {
        return letters.to_owned();
    }
    let mut runs: Vec<(char, u64)> = Vec::new();
    for letter in letters.chars() {
        match runs.last_mut() {
            Some((last, times)) if *last == letter => *times += 1,
            _ => runs.push((letter, 1)),
        }
    }
    shortened(runs.iter().map(|(letter, times)| format!("{times} {letter}")))
}

/// Latencies of the first that completed.
pub(super) fn latencies(found: &[Span], wanted: &[Span]) -> Finding {
    let found = &found[..found.len().min(wanted.len())];
    let mut text = list(found);
    if let Some(place) = found.iter().zip(wanted).position(|(a, b)| a != b) {
        text += &format!(" (differs first at number {}: {})", place + 1, exact(found[place]));
    }
    Finding::new(text, found == wanted)
}

fn list(spans: &[Span]) -> String {
    if spans.is_empty() { "none".to_owned() } else { shortened(spans.iter().copied().map(exact)) }
}

pub(super) fn shortened(parts: impl ExactSizeIterator<Item = String>) -> String {
    let more = parts.len().saturating_sub(SHOWN);
    let text = parts.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

/// Whether each of the `whole` bins has `wanted`; bins that nothing was let in are not in `counts`.
pub(super) fn bins(counts: &BTreeMap<u64, u64>, whole: u64, bin: Span, from: Time, wanted: u64) -> Finding {
    let inside = || counts.range(..whole);
    let empty = whole - inside().count() as u64;
    let differ = inside().filter(|(_, n)| **n != wanted).count() as u64 + if wanted == 0 { 0 } else { empty };
    if whole == 0 {
        return Finding::new("no whole bin".to_owned(), false);
    }
    if differ == 0 {
        return Finding::new(format!("{wanted} in each of {whole}"), true);
    }
    // The first bin that is not in the map comes before the first that is there with another count, or after it.
    let gap = inside().zip(0..).find(|((index, _), place)| **index != *place).map(|(_, place)| place);
    let gap = gap.unwrap_or(inside().count() as u64);
    let gap = (wanted > 0 && gap < whole).then_some((gap, 0));
    let other = inside().find(|(_, n)| **n != wanted).map(|(index, n)| (*index, *n));
    let (first, found) = gap.into_iter().chain(other).min().expect("some bin differs");
    let start = (from - Time::ZERO) + bin * first;
    let text = format!("{found} from {} to {}; {differ} of {whole} differ", exact(start), exact(start + bin));
    Finding::new(text, false)
}
