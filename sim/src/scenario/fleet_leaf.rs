//! The smallest values of fleets: prices, bandwidths, what an autoscaler aims at, modes of a router.

use super::decode::{Decode, did_you_mean, wrong_kind};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::leaf::{Raw, inline_schema, no_unit_or_wrong, reported};
use super::units::{self, UnitError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Highest price of an hour, in any currency.
const PRICE_MOST: f64 = 1e6;

/// A price of an hour, such as `"2.50 USD/h"`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Price {
    pub per_hour: f64,
    /// Three capital letters.
    pub currency: String,
}

impl Decode for Price {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a price of an hour such as `\"2.50 USD/h\"`";
        let Value::Text(text) = &node.value else {
            no_unit_or_wrong(node, EXPECTED, " USD/h", errors);
            return None;
        };
        let parsed = units::split(text).and_then(|(number, unit)| {
            let unknown = || UnitError::UnknownUnit(unit.to_owned());
            if unit.is_empty() {
                return Err(UnitError::NoUnit);
            }
            let (currency, per) = unit.split_once('/').ok_or_else(unknown)?;
            let currency = currency.trim_end();
            let three = currency.len() == 3 && currency.bytes().all(|c| c.is_ascii_uppercase());
            if !three || per.trim() != "h" {
                return Err(unknown());
            }
            Ok(Price { per_hour: number.over(1), currency: currency.to_owned() })
        });
        let names = "a currency of three capital letters, by the hour: USD/h, EUR/h";
        let price = reported(parsed, node, EXPECTED, names, errors)?;
        if price.per_hour > PRICE_MOST {
            let most = format!("0..={PRICE_MOST} {}/h", price.currency);
            errors.refuse(&node.place, format!("`{node}` is not in {most}"));
            return None;
        }
        Some(price)
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}{}/h", self.per_hour, self.currency);
    }
}
inline_schema!(; Price, Price, json_schema!({
    "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[A-Z]{3} ?/ ?h$",
}));

/// Most bytes a second that a link carries: 2^60.
const BANDWIDTH_MOST: u128 = 1 << 60;

/// A rate of bytes such as `"50GB/s"`, bytes per second, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bandwidth(pub u64);

impl Decode for Bandwidth {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "bytes per second such as `\"50GB/s\"`";
        let Value::Text(text) = &node.value else {
            no_unit_or_wrong(node, EXPECTED, "GB/s", errors);
            return None;
        };
        let parsed = units::split(text).and_then(|(number, unit)| {
            let bytes = unit.strip_suffix("/s").map(str::trim_end);
            let unknown = |unit: &str| match unit {
                "" => UnitError::NoUnit,
                other => UnitError::UnknownUnit(other.to_owned()),
            };
            let size = bytes.and_then(|bytes| units::size_of(bytes, &units::BYTES).ok());
            number.times(size.ok_or_else(|| unknown(unit))?)
        });
        let names = "B/s, kB/s, MB/s, GB/s, TB/s, KiB/s, MiB/s, GiB/s, TiB/s; eight bits are one byte";
        let bytes = reported(parsed, node, EXPECTED, names, errors)?;
        if !(1..=BANDWIDTH_MOST).contains(&bytes) {
            errors.refuse(&node.place, format!("`{node}` is not in 1B/s..={BANDWIDTH_MOST}B/s"));
            return None;
        }
        Some(Bandwidth(bytes as u64))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}B/s", self.0);
    }
}
inline_schema!(; Bandwidth, Bandwidth, json_schema!({
    "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)/s$",
}));

/// What an autoscaler aims at: a number, a share or a duration; kept as written until it is known which.
#[derive(Clone, Debug)]
pub(super) struct Target(pub Node);

impl Decode for Target {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        if matches!(node.value, Value::Text(_) | Value::Integer(..) | Value::Float(..)) {
            return Some(Target(node.clone()));
        }
        wrong_kind(node, "a number, a share or a duration", errors);
        None
    }
    fn canonical(&self, out: &mut String) {
        Raw(self.0.clone()).canonical(out);
    }
}
inline_schema!(; Target, Target, json_schema!({
    "oneOf": [
        { "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(%|ns|us|µs|ms|s|min|h|d)$" },
    ],
}));

/// How a router's deployment works for requests: the words of a real-time mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Serverless,
    Dedicated,
}

impl Mode {
    const ALL: [Mode; 2] = [Mode::Serverless, Mode::Dedicated];

    fn word(self) -> &'static str {
        match self {
            Mode::Serverless => "serverless",
            Mode::Dedicated => "dedicated",
        }
    }
}

impl Decode for Mode {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "one of `serverless`, `dedicated`", errors);
            return None;
        };
        let found = Mode::ALL.into_iter().find(|mode| mode.word() == text);
        if found.is_none() {
            let message = format!("`{node}` is not a real-time mode: one of `serverless`, `dedicated`");
            match did_you_mean(text, Mode::ALL.iter().map(|mode| mode.word())) {
                Some(hint) => errors.refuse_with(&node.place, message, hint),
                None => errors.refuse(&node.place, message),
            }
        }
        found
    }
    fn canonical(&self, out: &mut String) {
        out.push_str(self.word());
    }
}
inline_schema!(; Mode, Mode, json_schema!({ "type": "string", "enum": ["serverless", "dedicated"] }));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::document;

    fn read<T: Decode>(text: &str) -> Result<T, String> {
        let mut errors = Errors::default();
        let node = document::parse_value(0, text, 0).expect("the test's value is TOML");
        T::decode(&node, &mut errors).ok_or_else(|| {
            let source = crate::scenario::SourceText { name: "t".into(), text: text.into() };
            errors.into_diagnostics(vec![source]).items[0].message.clone()
        })
    }

    #[test]
    fn a_price_has_a_currency_and_is_by_the_hour() {
        let price = |per_hour: f64, currency: &str| Ok(Price { per_hour, currency: currency.into() });
        assert_eq!(read("'2.50 USD/h'"), price(2.5, "USD"));
        assert_eq!(read("'0EUR / h'"), price(0.0, "EUR"));
        assert!(read::<Price>("2.5").unwrap_err().contains("has no unit"));
        assert!(read::<Price>("'2.5'").unwrap_err().contains("has no unit"));
        assert!(read::<Price>("'-1 USD/h'").unwrap_err().contains("is negative"));
        for wrong in ["'2.5 usd/h'", "'2.5 USD'", "'2.5 USD/s'", "'$2.5/h'", "'2.5 DOLLAR/h'"] {
            assert!(read::<Price>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            read::<Price>("'1000001 USD/h'").unwrap_err(),
            "`1000001 USD/h` is not in 0..=1000000 USD/h"
        );
    }

    #[test]
    fn a_bandwidth_is_whole_bytes_per_second() {
        assert_eq!(read("'50GB/s'"), Ok(Bandwidth(50_000_000_000)));
        assert_eq!(read("'1.5 KiB/s'"), Ok(Bandwidth(1_536)));
        assert_eq!(
            read::<Bandwidth>("'0B/s'").unwrap_err(),
            "`0B/s` is not in 1B/s..=1152921504606846976B/s"
        );
        for wrong in ["'50'", "50", "'50GB'", "'400Gbit/s'", "'50GB/h'", "'0.5B/s'"] {
            assert!(read::<Bandwidth>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_is_not_a_real_time_mode() {
        assert_eq!(read("'serverless'"), Ok(Mode::Serverless));
        assert!(read::<Mode>("'batch'").unwrap_err().contains("`batch` is not a real-time mode"));
        assert!(read::<Mode>("''").unwrap_err().contains("`` is not a real-time mode"));
    }
}
