//! A limit's value as people write it: `200/s`, `at most 16 MB`, `required caller.role admin`.

use super::attr::{Attr, Condition, Scale};
use super::limit::{Action, Counted, Limit, Mechanism, Range, Unit};
use crate::time::Span;

/// Values of a gate that are named; of more, only how many there are.
const NAMED: usize = 3;

impl Limit {
    /// The value in force, for tables and messages. Exact: nothing is rounded.
    pub fn value_text(&self) -> String {
        match &self.mechanism {
            Mechanism::Rate { limit: Some(limit), window, unit, .. } => {
                format!("{}{}", rated(*limit, *unit), per(*window))
            }
            Mechanism::Concurrency { limit: Some(limit) } => format!("at most {} in flight", grouped(*limit)),
            Mechanism::Quota { counted: Counted::Endpoints, limit: Some(limit) } => {
                format!("at most {} endpoints", grouped(*limit))
            }
            Mechanism::Quota { counted: Counted::ProvisionedConcurrency, limit: Some(limit) } => {
                format!("at most {} of provisioned concurrency", grouped(*limit))
            }
            Mechanism::Quota { counted: Counted::EnqueuedTokens, limit: Some(limit) } => {
                format!("at most {} enqueued tokens", grouped(*limit))
            }
            Mechanism::Rate { .. } | Mechanism::Concurrency { .. } | Mechanism::Quota { .. } => {
                "none until one is set".to_owned()
            }
            Mechanism::Permits { queue_permille } => {
                format!("provisioned, {} of it queued", percent(*queue_permille))
            }
            Mechanism::Size { attr, range } => bounds(*attr, range),
            Mechanism::Deadline { at_most } => format!("at most {}", spaced(*at_most)),
            Mechanism::Overhead { below } => format!("below {}", spaced(*below)),
            Mechanism::Gate { require: None, action } => format!("never{}", otherwise(*action)),
            Mechanism::Gate { require: Some(gate), action } => {
                format!("required {}{}", required(gate), otherwise(*action))
            }
        }
    }

    /// What it is counted by, for tables: `account and model`; empty for what keeps no count.
    pub fn per_text(&self) -> String {
        self.per.iter().map(|(key, _)| key.name()).collect::<Vec<_>>().join(" and ")
    }
}

fn rated(limit: u64, unit: Unit) -> String {
    match unit {
        Unit::Requests => grouped(limit),
        Unit::InputTokens => format!("{} input tokens", grouped(limit)),
        Unit::OutputTokens => format!("{} output tokens", grouped(limit)),
        Unit::Tokens => format!("{} tokens", grouped(limit)),
        Unit::Bytes => bytes(limit),
    }
}

/// `/s` for one second, `/5min` for five minutes.
fn per(window: Span) -> String {
    let text = window.to_string();
    let one = ["s", "min", "h"].into_iter().find(|unit| text.strip_prefix('1') == Some(unit));
    format!("/{}", one.unwrap_or(&text))
}

/// Permille as percent: `100 %`, `12.5 %`.
fn percent(permille: u64) -> String {
    match permille % 10 {
        0 => format!("{} %", grouped(permille / 10)),
        tenth => format!("{}.{tenth} %", grouped(permille / 10)),
    }
}

fn bounds(attr: Attr, range: &Range) -> String {
    let amount = |value: u64| if attr.scale() == Scale::Bytes { bytes(value) } else { grouped(value) };
    let part = |words: &str, bound: Option<u64>| bound.map(|value| format!("{words} {}", amount(value)));
    let parts = [
        part("at least", range.at_least),
        part("at most", range.at_most),
        part("below", range.below),
        part("a multiple of", range.multiple_of),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn required(gate: &Condition) -> String {
    let name = gate.attr.name();
    match &gate.values[..] {
        [] => format!("{name} empty"),
        values if values.len() <= NAMED => format!("{name} {}", values.join(" or ")),
        values => format!("{name} one of {} values", values.len()),
    }
}

fn otherwise(action: Action) -> &'static str {
    match action {
        Action::Refuse => "",
        Action::Ignore => " (else ignored)",
        Action::Warn => " (else a warning)",
    }
}

/// `12345` as `12,345`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In the largest unit that leaves a whole number, decimal before binary.
fn bytes(value: u64) -> String {
    let units = [
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("kB", 1_000),
        ("KiB", 1 << 10),
    ];
    let whole = units.into_iter().find(|(_, size)| value > 0 && value.is_multiple_of(*size));
    let (unit, size) = whole.unwrap_or(("B", 1));
    format!("{} {unit}", grouped(value / size))
}

/// A duration, exactly, in the largest unit up to seconds that leaves a whole number: `297 s`, `1,500 ms`.
fn spaced(span: Span) -> String {
    let ns = span.as_nanos();
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
    let (unit, size) = units.into_iter().find(|(_, size)| ns.is_multiple_of(*size)).unwrap_or(("ns", 1));
    format!("{} {unit}", grouped(ns / size))
}

#[cfg(test)]
mod tests {
    use super::super::limit::{Answer, Key, Provenance, Source, Stage, Verb};
    use super::*;
    use crate::limits::Algorithm;

    fn limit(mechanism: Mechanism) -> Limit {
        Limit {
            name: "one".into(),
            row: "one".into(),
            stage: Stage::Request,
            on: vec![Verb::Inference],
            when: Vec::new(),
            mechanism,
            per: vec![(Key::Account, 1), (Key::Model, 1)],
            keys: 1,
            meter: None,
            answer: Answer {
                status: 429,
                code: String::new(),
                message: String::new(),
                provenance: Provenance::Choice,
                announces_retry: false,
                retryable: true,
            },
            provenance: Provenance::Documented,
            source: Source::Profile,
            advice: None,
        }
    }

    fn rate(limit: Option<u64>, window: Span, unit: Unit) -> Mechanism {
        let (most, algorithm) = (limit.unwrap_or(0), Algorithm::SlidingLog);
        let (burst, default_reservation, counts_refused) = (most, 0, false);
        Mechanism::Rate { limit, most, window, algorithm, burst, unit, default_reservation, counts_refused }
    }

    #[test]
    fn values_read_as_people_write_them() {
        let second = Span::from_secs(1);
        let size = |attr, range| Mechanism::Size { attr, range };
        let gate = |attr, values: &[&str], action| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            Mechanism::Gate { require: Some(Condition { attr, values }), action }
        };
        let most = |value| Range { at_most: Some(value), ..Range::default() };
        let steps =
            Range { at_least: Some(4), at_most: Some(1024), multiple_of: Some(4), ..Range::default() };
        for (mechanism, text) in [
            (rate(Some(200), second, Unit::Requests), "200/s"),
            (rate(Some(5_000), Span::from_secs(3_600), Unit::Requests), "5,000/h"),
            (rate(Some(50), Span::from_secs(300), Unit::Requests), "50/5min"),
            (rate(Some(200), second * 60, Unit::InputTokens), "200 input tokens/min"),
            (rate(Some(16_000_000), second, Unit::Bytes), "16 MB/s"),
            (rate(None, second, Unit::Requests), "none until one is set"),
            (Mechanism::Concurrency { limit: Some(1024) }, "at most 1,024 in flight"),
            (Mechanism::Concurrency { limit: None }, "none until one is set"),
            (Mechanism::Permits { queue_permille: 1_125 }, "provisioned, 112.5 % of it queued"),
            (Mechanism::Quota { counted: Counted::Endpoints, limit: Some(1_000) }, "at most 1,000 endpoints"),
            (
                Mechanism::Quota { counted: Counted::EnqueuedTokens, limit: Some(10_000_000_000) },
                "at most 10,000,000,000 enqueued tokens",
            ),
            (size(Attr::Body, most(16_000_000)), "at most 16 MB"),
            (size(Attr::Body, most(16 << 20)), "at most 16 MiB"),
            (size(Attr::Body, most(16_000_001)), "at most 16,000,001 B"),
            (size(Attr::Concurrency, steps), "at least 4, at most 1,024, a multiple of 4"),
            (Mechanism::Deadline { at_most: Span::from_secs(297) }, "at most 297 s"),
            (Mechanism::Overhead { below: Span::from_millis(20) }, "below 20 ms"),
            (Mechanism::Gate { require: None, action: Action::Refuse }, "never"),
            (gate(Attr::Role, &["admin", "user"], Action::Refuse), "required caller.role admin or user"),
            (
                gate(Attr::Region, &["a", "b", "c", "d"], Action::Warn),
                "required account.region one of 4 values (else a warning)",
            ),
            (gate(Attr::Tools, &[], Action::Ignore), "required request.tools empty (else ignored)"),
        ] {
            assert_eq!(limit(mechanism).value_text(), text);
        }
        assert_eq!(limit(rate(None, second, Unit::Requests)).per_text(), "account and model");
    }
}
