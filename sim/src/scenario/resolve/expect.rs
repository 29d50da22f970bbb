//! Expectations: exact counts and times, of whom and of which stretch of time.

use super::expect_jobs;
use super::known::Known;
use super::operation;
use super::workload_of;
use crate::profile::Mechanism;
use crate::request::{BUILT_IN, PoolId};
use crate::scenario::decode::{At, did_you_mean};
use crate::scenario::diagnostic::{Errors, Place};
use crate::scenario::file::ScenarioFile;
use crate::scenario::leaf::Name;
use crate::scenario::overrides::listed;
use crate::scenario::policy::{Claim, Expectation, Stream, reason_of};
use crate::scenario::policy_file::{Counts, ExpectFile, When};
use crate::time::{Span, Time};

/// What expectations refer to.
pub(super) struct Site<'a> {
    pub file: &'a ScenarioFile,
    pub workloads: &'a [super::Entry],
    pub operations: &'a [operation::Entry],
    pub known: &'a Known<'a>,
    pub horizon: Option<Span>,
}

/// Every enabled expectation, in the order of the file.
pub(super) fn all(site: &Site<'_>, errors: &mut Errors) -> Vec<Expectation> {
    let enabled = site.file.expect.0.iter().filter(|at| at.value.enabled.value);
    enabled.filter_map(|at| one(at, site, errors)).collect()
}

fn one(at: &At<ExpectFile>, site: &Site<'_>, errors: &mut Errors) -> Option<Expectation> {
    let before = errors.count();
    let file = &at.value;
    let of = match (&file.of, &file.batch) {
        (Some(name), _) => Some((name, stream(name, site, errors))),
        (None, Some(name)) => Some((name, expect_jobs::stream(name, site, errors))),
        (None, None) => None,
    };
    let stream = of.as_ref().and_then(|(_, stream)| *stream);
    let (from, until) = stretch(file, site.horizon, errors);
    let mut claims = claims(file, site, errors);
    claims.extend(expect_jobs::claims(file, site, errors));
    if claims.is_empty() && errors.count() == before {
        errors.refuse_with(&at.place, "nothing is expected", "add a claim, such as `refused = 0`");
    }
    of_the_run(at, stream, errors);
    expect_jobs::of_jobs(file, &own_claims(file), errors);
    if let Some((_, Some(Stream::Operation(_)))) = &of {
        of_requests_only(file, errors);
    }
    (errors.count() == before).then_some(())?;
    let name = match (&file.name, of) {
        (Some(name), _) => name.value.0.trim().to_owned(),
        (None, Some((of, _))) => of.value.as_str().to_owned(),
        (None, None) => "the whole run".to_owned(),
    };
    Some(Expectation { name, stream, from, until, claims })
}

/// The workload or operation of a name; its index among those that are enabled.
fn stream(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<Stream> {
    let wanted = name.value.as_str();
    if site.workloads.iter().any(|entry| entry.name == wanted) {
        let index = workload_of(name, site.workloads, errors)?;
        let position = site.workloads[..index].iter().filter(|entry| entry.enabled).count();
        return Some(Stream::Workload(position));
    }
    let Some(index) = site.operations.iter().position(|entry| entry.name == wanted) else {
        // An operation that could not be read was reported.
        if site.file.operations.1.is_empty() {
            let names = || {
                let workloads = site.workloads.iter().map(|entry| entry.name.as_str());
                workloads.chain(site.operations.iter().map(|entry| entry.name.as_str()))
            };
            let hint =
                did_you_mean(wanted, names()).unwrap_or_else(|| format!("declared: {}", listed(names())));
            let message = format!("no workload or operation is named `{wanted}`");
            errors.refuse_with(&name.place, message, hint);
        }
        return None;
    };
    if !site.operations[index].enabled {
        errors.refuse_with(
            &name.place,
            format!("the operation `{wanted}` is switched off"),
            "set `enabled = false` here, too (in a variant: `\"expect.0.enabled\" = false`)",
        );
        return None;
    }
    let position = site.operations[..index].iter().filter(|entry| entry.enabled).count();
    Some(Stream::Operation(position))
}

/// The stretch of arrivals it is about. Without an end it goes on for ever, for requests that are sent before the
/// horizon and reach the gateway after it; where bins are counted it ends at the horizon.
fn stretch(file: &ExpectFile, horizon: Option<Span>, errors: &mut Errors) -> (Time, Time) {
    let from = file.from.value.0;
    let until = file.until.as_ref().map(|at| at.value.0);
    if let (Some(end), Some(at)) = (until, &file.until)
        && end <= from
    {
        errors.refuse(&at.place, format!("`{end}` is not after {from}, where the stretch begins"));
    }
    if let (Some(end), Some(at), Some(horizon)) = (until, &file.until, horizon)
        && end > horizon
    {
        errors.refuse_with(
            &at.place,
            format!("`{end}` is after the horizon of {horizon}: nothing is sent then"),
            "leave `until` out: the stretch is all that comes",
        );
    }
    if horizon.is_some_and(|horizon| from >= horizon) {
        errors.refuse(&file.from.place, format!("`{from}` is at or after the horizon: nothing arrives then"));
    }
    let until = until.or(horizon.filter(|_| file.each.is_some()));
    let until = until.map_or(Time::MAX, |until| Time::ZERO.saturating_add(until));
    (Time::ZERO.saturating_add(from), until)
}

/// Whether claims and stream go together: counts of the run need none, all others need one.
fn of_the_run(at: &At<ExpectFile>, stream: Option<Stream>, errors: &mut Errors) {
    let file = &at.value;
    let own = own_claims(file);
    if let (None, None, None, Some((key, _))) = (&file.of, &file.batch, stream, own.first()) {
        let hint = "add `of`: the name of a workload or an operation";
        errors.refuse_with(&at.place, format!("`{key}` of whom?"), hint);
    }
    let run = [("violations", &file.violations), ("peak", &file.peak)];
    for (key, counts) in run {
        let Some(counts) = counts else { continue };
        if !file.from.value.0.is_zero() || file.until.is_some() {
            let message = format!("`{key}` is of the whole run, and the expectation is of a part of it");
            errors.refuse_with(&counts.place, message, "put it in an expectation without `from` and `until`");
        }
    }
}

/// Claims about the decisions of a stream, and where they stand.
fn own_claims(file: &ExpectFile) -> Vec<(&'static str, &Place)> {
    fn place<T>(at: &Option<At<T>>) -> Option<&Place> {
        at.as_ref().map(|at| &at.place)
    }
    let all = [
        ("offered", place(&file.offered)),
        ("accepted", place(&file.accepted)),
        ("refused", place(&file.refused)),
        ("completed", place(&file.completed)),
        ("failed", place(&file.failed)),
        ("by", place(&file.by)),
        ("status", place(&file.status)),
        ("first_accepted", place(&file.first_accepted)),
        ("last_accepted", place(&file.last_accepted)),
        ("first_refused", place(&file.first_refused)),
        ("last_refused", place(&file.last_refused)),
        ("retry_after", place(&file.retry_after)),
        ("announced", place(&file.announced)),
        ("verdicts", place(&file.verdicts)),
        ("each", place(&file.each)),
        ("e2e", place(&file.e2e)),
        ("served_by", place(&file.served_by)),
    ];
    all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
}

/// A call is let in or not; it does not run.
fn of_requests_only(file: &ExpectFile, errors: &mut Errors) {
    for (key, place) in own_claims(file) {
        if matches!(key, "completed" | "failed" | "e2e" | "served_by") {
            let hint = "an operation has `offered`, `accepted`, `refused` and the times of them";
            errors.refuse_with(place, format!("`{key}` is of requests, not of operations"), hint);
        }
    }
}

fn claims(file: &ExpectFile, site: &Site<'_>, errors: &mut Errors) -> Vec<Claim> {
    let mut claims = Vec::new();
    type Make = fn(u64) -> Claim;
    let counts: [(_, Make); 5] = [
        (&file.offered, Claim::Offered),
        (&file.accepted, Claim::Accepted),
        (&file.refused, Claim::Refused),
        (&file.completed, Claim::Completed),
        (&file.failed, Claim::Failed),
    ];
    claims.extend(counts.into_iter().filter_map(|(at, make)| at.as_ref().map(|at| make(at.value.0))));
    each(&file.by, |name, count| Some(Claim::For(reason(name, site, errors)?, count)), &mut claims);
    each(&file.status, |name, count| Some(Claim::Status(status(name, errors)?, count)), &mut claims);
    type Instant = fn(Option<Time>) -> Claim;
    let times: [(&Option<At<When>>, Instant); 4] = [
        (&file.first_accepted, Claim::FirstAccepted),
        (&file.last_accepted, Claim::LastAccepted),
        (&file.first_refused, Claim::FirstRefused),
        (&file.last_refused, Claim::LastRefused),
    ];
    let instant = |span: Span| Time::ZERO.saturating_add(span);
    claims.extend(
        times.into_iter().filter_map(|(at, make)| at.as_ref().map(|at| make(at.value.0.map(instant)))),
    );
    claims.extend(file.retry_after.as_ref().map(|at| Claim::RetryAfter(at.value.0)));
    if let Some(at) = &file.announced {
        let whole = at.value.0.is_none_or(|span| span.as_nanos().is_multiple_of(crate::time::NANOS_PER_SEC));
        if !whole {
            let hint = "it is rounded up before it is announced";
            errors.refuse_with(&at.place, "what is announced is whole seconds", hint);
        }
        claims.push(Claim::Announced(at.value.0));
    }
    claims.extend(file.verdicts.as_ref().map(|at| Claim::Verdicts(at.value.0.clone())));
    if let Some(at) = &file.each {
        let bin = at.value.bin.value.0;
        let whole = file.until.as_ref().map(|at| at.value.0).or(site.horizon);
        let length = whole.map(|end| end.as_nanos().saturating_sub(file.from.value.0.as_nanos()));
        if length.is_some_and(|length| bin.as_nanos() > length) {
            errors.refuse(
                &at.value.bin.place,
                format!("`{bin}` is longer than the stretch: it has no whole bin"),
            );
        }
        if length.is_some_and(|length| length / bin.as_nanos() > BINS_MOST) {
            errors.refuse(&at.value.bin.place, format!("`{bin}` gives more than {BINS_MOST} bins"));
        }
        claims.push(Claim::Each(bin, at.value.accepted.value.0));
    }
    if let Some(at) = &file.e2e {
        claims.push(Claim::E2e(at.value.iter().map(|span| span.value.0).collect()));
    }
    each(
        &file.served_by,
        |name, count| {
            let pool = site.file.pools.find(name, "pool", errors)?;
            Some(Claim::ServedBy(pool as PoolId, count))
        },
        &mut claims,
    );
    each(
        &file.violations,
        |name, count| Some(Claim::Violations(broken(name, site, errors)?, count)),
        &mut claims,
    );
    each(&file.peak, |name, count| Some(Claim::Peak(counting(name, site, errors)?, count)), &mut claims);
    claims
}

/// Most bins that `each` may have.
const BINS_MOST: u64 = 1_000_000;

pub(super) fn each(
    counts: &Option<At<Counts>>,
    mut claim: impl FnMut(&At<Name>, u64) -> Option<Claim>,
    claims: &mut Vec<Claim>,
) {
    let entries = counts.iter().flat_map(|at| &at.value.0);
    claims.extend(entries.filter_map(|(name, count)| claim(name, *count)));
}

/// The number of a reason: one that needs no limit, or that of a limit.
pub(super) fn reason(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<u16> {
    let wanted = name.value.as_str();
    if let Some(index) = BUILT_IN.iter().position(|reason| *reason == wanted) {
        return Some(index as u16);
    }
    if let Some(hint) = did_you_mean(wanted, BUILT_IN.into_iter())
        && !site.known.limits.iter().any(|entry| entry.limit().name == wanted)
    {
        errors.refuse_with(&name.place, format!("`{wanted}` is no reason"), hint);
        return None;
    }
    site.known.find(name, errors).map(reason_of)
}

/// A limit that keeps count of its units.
fn counting(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<usize> {
    let holds =
        |mechanism: &Mechanism| mechanism.is_metered() || matches!(mechanism, Mechanism::Permits { .. });
    let hint = "rates, concurrencies, quotas and permits have units in use";
    of_kind("peak", name, holds, hint, site, errors)
}

/// A limit that counts what breaks it.
fn broken(name: &At<Name>, site: &Site<'_>, errors: &mut Errors) -> Option<usize> {
    let counts = |mechanism: &Mechanism| matches!(mechanism, Mechanism::Overhead { .. });
    let hint = "limits on overhead are broken; what others refuse is in `by`";
    of_kind("violations", name, counts, hint, site, errors)
}

/// A limit of which a claim can be wrong: of any other kind the count is 0 in every run.
fn of_kind(
    claim: &str,
    name: &At<Name>,
    fits: impl Fn(&Mechanism) -> bool,
    hint: &str,
    site: &Site<'_>,
    errors: &mut Errors,
) -> Option<usize> {
    let index = site.known.find(name, errors)?;
    let limit = site.known.limits[index].limit();
    if !fits(&limit.mechanism) {
        let kind = limit.mechanism.name();
        let message = format!("`{}` is of the kind `{kind}`, which has no `{claim}`", limit.name);
        errors.refuse_with(&name.place, message, hint);
        return None;
    }
    Some(index)
}

fn status(name: &At<Name>, errors: &mut Errors) -> Option<u16> {
    let status = name.value.as_str().parse().ok().filter(|status| (100..=599).contains(status));
    if status.is_none() {
        let shown = crate::scenario::diagnostic::shorten(name.value.as_str());
        errors.refuse(&name.place, format!("`{shown}` is not a status in 100..=599"));
    }
    status
}
