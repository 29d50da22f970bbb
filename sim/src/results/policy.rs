//! What limits, operations and expectations came to, as rows of `summary.json`.

use super::figure::Unit;
use super::summary::Verdict;
use crate::observe::recording::{LimitRecord, Recording};
use crate::profile::limit::Source;
use crate::profile::{InUse, Limit, Mechanism};
use crate::scenario::policy::Policy;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The profile that a run's limits are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRow {
    /// What scenarios call it.
    pub id: String,
    /// What it describes.
    pub title: String,
    /// State of the documents: a date or `undated`.
    pub as_of: String,
    /// Whether the service was a preview.
    pub preview: bool,
    /// Overlays that were on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<String>,
    /// Overrides, automatic switches, what could not be evaluated, warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An exact claim and what was found. It must hold in every replication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationRow {
    /// Name of the expectation; one for each of its claims.
    pub name: String,
    /// What is claimed of what: `refused, of arrivals from 10s to 20s`.
    pub claim: String,
    /// What must be found.
    pub expected: String,
    /// What was found: in the first replication that differs, else in the first.
    pub found: String,
    /// Inconclusive only when no replication was whole.
    pub verdict: Verdict,
    /// The first replication that differs, from 0; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<u32>,
}

impl ExpectationRow {
    /// Expected and found in a sentence.
    pub fn reason(&self) -> String {
        match (self.verdict, self.replication) {
            (Verdict::Holds, _) => format!("found {}", self.found),
            (Verdict::Violated, Some(index)) if index > 0 => {
                format!("expected {}, found {} in replication {index}", self.expected, self.found)
            }
            (Verdict::Violated, _) => format!("expected {}, found {}", self.expected, self.found),
            (Verdict::Inconclusive, _) => format!("expected {}; {}", self.expected, self.found),
        }
    }
}

/// Calls of one operation of the control plane: whole runs, all replications together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its name.
    pub name: String,
    /// What was done: `create-endpoint`.
    pub verb: String,
    /// Times it was tried.
    pub offered: u64,
    /// Times it was let in.
    pub accepted: u64,
    /// Why it was refused; only reasons that happened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u64>,
}

/// A limit in force and what it did: whole runs, all replications together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Its name.
    pub name: String,
    /// The documented row that it enforces.
    pub row: String,
    /// `rate`, `concurrency`, `permits`, `quota`, `size`, `deadline`, `overhead`, `gate` or `ban`.
    pub mechanism: String,
    /// The value in force: `200/s`.
    pub value: String,
    /// Whether operations changed it during the run; `value` is that of the start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// What it is counted by: `account and model`; empty for what keeps no count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub counted_by: String,
    /// Where the value comes from: `documented`, `public` or `choice`.
    pub provenance: String,
    /// Who decided the value in force: `profile`, `negotiated` or `account`.
    pub source: String,
    /// How a rate is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Whether it counts over time. What follows up to `violations` is zero otherwise, but for `refused`.
    pub metered: bool,
    /// Requests and calls that it was asked about.
    pub offered: u64,
    /// Those that it and every other limit let in.
    pub admitted: u64,
    /// Those that it refused or cancelled, being the first in the documented order.
    pub refused: u64,
    /// Those that broke it and were served all the same.
    pub violations: u64,
    /// Most in use at once on one counter, in units of the limit.
    pub peak: u64,
    /// The limit at that moment; 0 when there was none.
    pub peak_limit: u64,
    /// `peak` as a share of the limit; absent when it counts nothing or there was no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_share: Option<f64>,
    /// Share of (time x counters used) in which one more unit would have been refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_share: Option<f64>,
    /// Counters that were used, in the replication that used most.
    pub counters: u32,
    /// When it first refused in any replication, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_refused_ns: Option<u64>,
}

impl LimitRow {
    /// Whether the run met it: it counted something, refused something or was broken.
    pub fn is_met(&self) -> bool {
        (self.metered && self.offered > 0) || self.refused > 0 || self.violations > 0
    }

    /// The value at the start, and whether it stayed.
    pub fn value_text(&self) -> String {
        let changed = if self.changed { ", changed during the run" } else { "" };
        format!("{}{changed}", self.value)
    }

    /// Where the value in force comes from, in one word.
    pub fn origin(&self) -> &str {
        if self.source == "profile" { &self.provenance } else { &self.source }
    }
}

/// The limit that a growing load reaches first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindsFirst {
    /// Its name.
    pub limit: String,
    /// Its value: `200/s`.
    pub value: String,
    /// When it refused in this run, nanoseconds; absent when nothing was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_refused_ns: Option<u64>,
    /// Its peak as a share of the limit; absent for permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_share: Option<f64>,
    /// The multiple of this run's load at which it would bind, when it did not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_multiple: Option<f64>,
}

/// Beyond this multiple of a run's load nothing is said of where a limit binds.
const FAR: f64 = 1000.0;

impl BindsFirst {
    /// In a sentence.
    pub fn text(&self) -> String {
        let limit = format!("{} ({})", self.limit, self.value);
        match (self.first_refused_ns, self.peak_share, self.at_multiple) {
            (Some(at), ..) => {
                format!("{limit} binds first: it refused for the first time at {}", Span::from_nanos(at))
            }
            (None, Some(_), Some(multiple)) if multiple > FAR => {
                format!("{limit} is the nearest, and far: it binds beyond {FAR} times this run's load")
            }
            (None, Some(share), Some(multiple)) => format!(
                "{limit} binds first as load grows: its peak was {} of the limit, so it binds at {multiple:.2} times this run's load",
                Unit::Share.show(share)
            ),
            _ => limit,
        }
    }
}

/// The profile, with what the vendor recommends to whoever met a limit in this run.
pub(super) fn profile_row(profile: &InUse, policy: &Policy, recording: &Recording) -> ProfileRow {
    let refused = policy.limits.iter().zip(&recording.limits).filter(|(_, record)| record.refused > 0);
    let advised = refused.filter_map(|(limit, _)| Some((&limit.name, limit.advice.as_ref()?)));
    let advice = advised.map(|(name, advice)| format!("limit `{name}` refused requests: {advice}"));
    ProfileRow {
        id: profile.id.clone(),
        title: profile.title.clone(),
        as_of: profile.as_of.clone(),
        preview: profile.preview,
        overlays: profile.overlays.clone(),
        notes: profile.notes.iter().cloned().chain(advice).collect(),
    }
}

impl ProfileRow {
    /// In a line: `Databricks Model Serving limits and regions, Public Preview, as of 2026-08-07`.
    pub fn text(&self) -> String {
        let preview = if self.preview { ", Public Preview" } else { "" };
        let undated = self.as_of.starts_with("undated");
        let as_of = if undated { self.as_of.clone() } else { format!("as of {}", self.as_of) };
        let overlays = match &self.overlays[..] {
            [] => String::new(),
            overlays => format!(", with {}", overlays.join(" and ")),
        };
        format!("{}{preview}, {as_of}{overlays} ({})", self.title, self.id)
    }
}

/// Counts by reason. Limits that refused nothing are left out, so that a long profile does not drown the rest.
pub(super) fn by_reason(policy: &Policy, counts: &[u64]) -> BTreeMap<String, u64> {
    let named = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    named.map(|(reason, count)| (policy.reason_name(reason as u16).to_owned(), *count)).collect()
}

pub(super) fn operation_rows(policy: &Policy, recording: &Recording) -> Vec<OperationRow> {
    let rows = policy.operations.iter().zip(&recording.operations);
    rows.map(|(operation, record)| OperationRow {
        name: operation.name.clone(),
        verb: operation.verb.name().to_owned(),
        offered: record.offered,
        accepted: record.accepted,
        refusals: by_reason(policy, &record.refusals),
    })
    .collect()
}

pub(super) fn limit_rows(policy: &Policy, recording: &Recording) -> Vec<LimitRow> {
    let changed = |limit: usize| policy.operations.iter().any(|operation| operation.limit == Some(limit));
    let rows = policy.limits.iter().zip(&recording.limits).enumerate();
    rows.map(|(index, (limit, record))| limit_row(limit, record, changed(index))).collect()
}

fn limit_row(limit: &Limit, record: &LimitRecord, changed: bool) -> LimitRow {
    let metered = limit.mechanism.is_metered() || matches!(limit.mechanism, Mechanism::Permits { .. });
    let source = match limit.source {
        Source::Profile => "profile",
        Source::Negotiated => "negotiated",
        Source::Account => "account",
    };
    let algorithm = match &limit.mechanism {
        Mechanism::Rate { algorithm, .. } => Some(algorithm.name().to_owned()),
        _ => None,
    };
    let share = |part: u128, whole: u128| (whole > 0).then(|| part as f64 / whole as f64);
    LimitRow {
        name: limit.name.clone(),
        row: limit.row.clone(),
        mechanism: limit.mechanism.name().to_owned(),
        value: limit.value_text(),
        changed,
        counted_by: limit.per_text(),
        provenance: limit.provenance.name().to_owned(),
        source: source.to_owned(),
        algorithm,
        metered,
        offered: record.offered,
        admitted: record.admitted,
        refused: record.refused,
        violations: record.violations,
        peak: record.peak,
        peak_limit: record.peak_limit,
        peak_share: record.peak_share().filter(|_| metered),
        blocked_share: share(record.blocked_ns, record.counter_ns).filter(|_| metered),
        counters: record.keys,
        first_refused_ns: record.first_refused.map(crate::time::Time::as_nanos),
    }
}

/// Which limit binds first as load rises: the first that refused, else the one with the highest peak share. Gates and
/// sizes refuse whatever the load and are left out; so are limits that nothing used, and quotas that nobody reached.
pub(super) fn binds_first(rows: &[LimitRow]) -> Option<BindsFirst> {
    let bound = |row: &&LimitRow| row.metered;
    let refused = rows.iter().filter(bound).filter(|row| row.first_refused_ns.is_some());
    let refused = refused.min_by_key(|row| row.first_refused_ns);
    // `max_by` takes the last of equals; the first in the documented order is meant.
    let by_load = rows.iter().rev().filter(|row| row.mechanism != "quota");
    let shares = by_load.filter_map(|row| row.peak_share.map(|share| (share, row)));
    let nearest = shares.filter(|(share, _)| *share > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
    let row = refused.or(nearest.map(|(_, row)| row))?;
    Some(BindsFirst {
        limit: row.name.clone(),
        value: row.value_text(),
        first_refused_ns: row.first_refused_ns,
        peak_share: row.peak_share,
        at_multiple: row.peak_share.filter(|_| row.first_refused_ns.is_none()).map(|share| 1.0 / share),
    })
}
