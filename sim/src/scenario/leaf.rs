//! The smallest values of a scenario file: durations, rates, counts, shares, names.
//!
//! Each type carries its range, so that a declaration in `file.rs` reads like the documentation of the key.

use super::decode::{Decode, did_you_mean, wrong_kind};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::units::{self, FEMTOS_PER_NANO, UnitError};
use crate::hardware;
use crate::profile::Verb;
use crate::time::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt::Write as _;

const NS_PER_S: u64 = crate::time::NANOS_PER_SEC;
/// A year of 365 days, nanoseconds: the longest duration a scenario can name, so that sums stay far below 584 years.
pub(super) const YEAR: u64 = 365 * 86_400 * NS_PER_S;
/// Names of pools, workloads and so on; they become parts of file names.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";

/// Whether a user may call something this.
pub(super) fn is_name(text: &str) -> bool {
    let head = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    head && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Implements [`JsonSchema`] for a leaf: always inline, never a definition of its own.
macro_rules! inline_schema {
    ($(const $c:ident: $k:ty),* ; $name:ident, $ty:ty, $schema:expr) => {
        impl<$(const $c: $k),*> JsonSchema for $ty {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

pub(super) use inline_schema;

/// A reference to something declared in the file, or the name of something built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for Name {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "a name", errors);
            return None;
        };
        if text.trim().is_empty() {
            errors.refuse(&node.place, "the name is empty");
            return None;
        }
        Some(Name(text.clone()))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(; Name, Name, json_schema!({ "type": "string", "minLength": 1 }));

/// A sentence for people, or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub String);

impl Decode for Text {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "a string", errors);
            return None;
        };
        if text.trim().is_empty() {
            errors.refuse(&node.place, "the string is empty");
            return None;
        }
        if text.len() > 4096 || text.contains('\0') {
            errors.refuse(&node.place, "the string is longer than 4096 bytes or holds a zero byte");
            return None;
        }
        Some(Text(text.clone()))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(; Text, Text, json_schema!({ "type": "string", "minLength": 1, "maxLength": 4096 }));

/// `true` or `false`.
impl Decode for bool {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        if let Value::Bool(flag) = node.value {
            return Some(flag);
        }
        wrong_kind(node, "`true` or `false`", errors);
        None
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }
}

/// A plain integer in `LO..=HI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count<const LO: u64, const HI: u64>(pub u64);

impl<const LO: u64, const HI: u64> Count<LO, HI> {
    /// The value; the declaration guarantees `HI <= u32::MAX`.
    pub(super) fn small(self) -> u32 {
        const { assert!(HI <= u32::MAX as u64) };
        self.0 as u32
    }
}

impl<const LO: u64, const HI: u64> Decode for Count<LO, HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Integer(_, number) = node.value else {
            if let Value::Text(text) = &node.value
                && text.trim().parse::<i128>().is_ok()
            {
                let hint = format!("write it without quotes: `{}`", text.trim());
                errors.refuse_with(&node.place, format!("`{node}` is a string, expected an integer"), hint);
                return None;
            }
            wrong_kind(node, "an integer", errors);
            return None;
        };
        in_range(node, number, LO, HI, errors).map(Count)
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}", self.0);
    }
}
inline_schema!(const LO: u64, const HI: u64; Count, Count<LO, HI>,
    json_schema!({ "type": "integer", "minimum": LO, "maximum": HI }));

fn in_range(node: &Node, number: Option<i128>, low: u64, high: u64, errors: &mut Errors) -> Option<u64> {
    let fits = number.and_then(|n| u64::try_from(n).ok()).filter(|n| (low..=high).contains(n));
    if fits.is_none() {
        errors.refuse(&node.place, format!("`{node}` is not in {low}..={high}"));
    }
    fits
}

/// A count of tokens in `LO..=HI`: an integer, or a string such as `"64k"` (64,000) or `"64Ki"` (65,536).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tokens<const LO: u32, const HI: u32>(pub u32);

impl<const LO: u32, const HI: u32> Decode for Tokens<LO, HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let number = match &node.value {
            Value::Integer(_, number) => *number,
            Value::Text(text) => {
                let parsed = units::quantity(text, &units::TOKENS);
                Some(reported(
                    parsed,
                    node,
                    "a count of tokens such as `512` or `\"64k\"`",
                    "k, M, Ki, Mi",
                    errors,
                )? as i128)
            }
            _ => {
                wrong_kind(node, "a count of tokens such as `512` or `\"64k\"`", errors);
                return None;
            }
        };
        in_range(node, number, LO.into(), HI.into(), errors).map(|n| Tokens(n as u32))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}", self.0);
    }
}
inline_schema!(const LO: u32, const HI: u32; Tokens, Tokens<LO, HI>, json_schema!({
    "oneOf": [
        { "type": "integer", "minimum": LO, "maximum": HI },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(k|M|Ki|Mi)?$" },
    ],
}));

/// An amount of memory such as `"16MB"` or `"1.5GiB"`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes<const LO: u64, const HI: u64>(pub u64);

impl<const LO: u64, const HI: u64> Decode for Bytes<LO, HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "an amount of memory such as `\"16MB\"`";
        let Value::Text(text) = &node.value else {
            no_unit_or_wrong(node, EXPECTED, "MB", errors);
            return None;
        };
        let names = "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB";
        let bytes = reported(units::quantity(text, &units::BYTES), node, EXPECTED, names, errors)?;
        if !(u128::from(LO)..=u128::from(HI)).contains(&bytes) {
            errors.refuse(&node.place, format!("`{node}` is not in {LO}B..={HI}B"));
            return None;
        }
        Some(Bytes(bytes as u64))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}", self.0);
    }
}
inline_schema!(const LO: u64, const HI: u64; Bytes, Bytes<LO, HI>, json_schema!({
    "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)$",
}));

/// A duration in whole nanoseconds, `LO..=HI` of them: `"250ms"`, `"1.5s"`, `"24h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duration<const LO: u64, const HI: u64>(pub Span);

/// A duration that may be zero, up to a year.
pub(super) type Delay = Duration<0, YEAR>;
/// A duration above zero, up to a year.
pub(super) type Lasting = Duration<1, YEAR>;

const DURATION: &str = "a duration such as `\"250ms\"`";
const DURATION_UNITS: &str = "ns, us, ms, s, min, h, d";

impl<const LO: u64, const HI: u64> Decode for Duration<LO, HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let nanos = nanos(node, DURATION, errors)?;
        if !(u128::from(LO)..=u128::from(HI)).contains(&nanos) {
            let (low, high) = (Span::from_nanos(LO), Span::from_nanos(HI));
            errors.refuse(&node.place, format!("`{node}` is not in {low}..={high}"));
            return None;
        }
        Some(Duration(Span::from_nanos(nanos as u64)))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}ns", self.0.as_nanos());
    }
}
inline_schema!(const LO: u64, const HI: u64; Duration, Duration<LO, HI>, duration_schema());

fn duration_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ns|us|µs|ms|s|min|h|d)$" })
}

/// Whole nanoseconds of a duration, or an error.
fn nanos(node: &Node, expected: &str, errors: &mut Errors) -> Option<u128> {
    let Value::Text(text) = &node.value else {
        no_unit_or_wrong(node, expected, "ms", errors);
        return None;
    };
    let femtos = reported(units::quantity(text, &units::TIME), node, expected, DURATION_UNITS, errors)?;
    if femtos % FEMTOS_PER_NANO != 0 {
        errors.refuse(&node.place, format!("`{node}` is not a whole number of nanoseconds"));
        return None;
    }
    Some(femtos / FEMTOS_PER_NANO)
}

/// A coefficient of a step law, whole femtoseconds up to a minute: `"8ms"`, `"0.13ns"`, `"250ps"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coefficient(pub u64);

impl Decode for Coefficient {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a time such as `\"20us\"` or `\"0.13ns\"`";
        let Value::Text(text) = &node.value else {
            no_unit_or_wrong(node, EXPECTED, "us", errors);
            return None;
        };
        let names = "fs, ps, ns, us, ms, s";
        let femtos = reported(units::quantity(text, &units::TIME), node, EXPECTED, names, errors)?;
        if femtos > 60 * u128::from(NS_PER_S) * FEMTOS_PER_NANO {
            errors.refuse(&node.place, format!("`{node}` is not in 0s..=60s"));
            return None;
        }
        Some(Coefficient(femtos as u64))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}fs", self.0);
    }
}
inline_schema!(; Coefficient, Coefficient,
    json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(fs|ps|ns|us|µs|ms|s)$" }));

/// A rate such as `"12/s"` or `"600/min"`, per second, up to a million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(pub f64);

/// Most arrivals per second a workload may have.
const RATE_MOST: f64 = 1e6;

impl Decode for Rate {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a rate such as `\"12/s\"`";
        let Value::Text(text) = &node.value else {
            no_unit_or_wrong(node, EXPECTED, "/s", errors);
            return None;
        };
        let rate = reported(units::rate(text), node, EXPECTED, "/s, /min, /h, /d", errors)?;
        if !(0.0..=RATE_MOST).contains(&rate) {
            errors.refuse(&node.place, format!("`{node}` is not in 0/s..={RATE_MOST}/s"));
            return None;
        }
        Some(Rate(rate))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}/s", self.0);
    }
}
inline_schema!(; Rate, Rate,
    json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?/ ?(s|min|h|d)$" }));

/// A number in `LO/1000..=HI/1000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<const LO: u64, const HI: u64>(pub f64);

impl<const LO: u64, const HI: u64> Decode for Number<LO, HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let (low, high) = (LO as f64 / 1000.0, HI as f64 / 1000.0);
        match plain_number(node) {
            Some(number) if (low..=high).contains(&number) => return Some(Number(number)),
            Some(_) => errors.refuse(&node.place, format!("`{node}` is not in {low}..={high}")),
            None => wrong_kind(node, "a number", errors),
        }
        None
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(const LO: u64, const HI: u64; Number, Number<LO, HI>,
    json_schema!({ "type": "number", "minimum": LO as f64 / 1000.0, "maximum": HI as f64 / 1000.0 }));

/// A coefficient of variation.
pub(super) type Cv = Number<1, 100_000>;

/// The value of an integer or float; an integer too large for 128 bits is infinite.
fn plain_number(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Integer(_, number) => Some(number.map_or(f64::INFINITY, |n| n as f64)),
        Value::Float(_, number) => Some(*number),
        _ => None,
    }
}

/// A share: `0.25` or `"25%"`, in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share(pub f64);

impl Decode for Share {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a share such as `0.25` or `\"25%\"`";
        let share = match &node.value {
            Value::Text(text) => {
                let percent = units::split(text).and_then(|(number, unit)| match unit {
                    "%" => Ok(number.over(100)),
                    "" => Err(UnitError::NoUnit),
                    other => Err(UnitError::UnknownUnit(other.to_owned())),
                });
                reported(percent, node, EXPECTED, "%", errors)?
            }
            _ => match plain_number(node) {
                Some(number) => number,
                None => {
                    wrong_kind(node, EXPECTED, errors);
                    return None;
                }
            },
        };
        if !(0.0..=1.0).contains(&share) {
            let message = format!("`{node}` is not in 0..=1");
            match node.value {
                Value::Integer(..) | Value::Float(..) if (1.0..=100.0).contains(&share) => {
                    errors.refuse_with(
                        &node.place,
                        message,
                        format!("write `\"{node}%\"` if percent is meant"),
                    );
                }
                _ => errors.refuse(&node.place, message),
            }
            return None;
        }
        Some(Share(share))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(; Share, Share, json_schema!({
    "oneOf": [
        { "type": "number", "minimum": 0, "maximum": 1 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$" },
    ],
}));

/// A number of tokens that need not be whole, such as a mean: `987.5` or `"1.5k"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amount(pub f64);

impl Decode for Amount {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a number of tokens such as `987.5` or `\"1.5k\"`";
        let amount = match &node.value {
            Value::Text(text) => {
                let tokens = units::quantity(text, &units::TOKENS);
                reported(tokens, node, EXPECTED, "k, M, Ki, Mi", errors)? as f64
            }
            _ => match plain_number(node) {
                Some(number) => number,
                None => {
                    wrong_kind(node, EXPECTED, errors);
                    return None;
                }
            },
        };
        if !(amount > 0.0 && amount <= f64::from(TOKENS_MOST)) {
            errors.refuse(&node.place, format!("`{node}` is not above 0 and at most {TOKENS_MOST}"));
            return None;
        }
        Some(Amount(amount))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(; Amount, Amount, json_schema!({
    "oneOf": [
        { "type": "number", "exclusiveMinimum": 0, "maximum": TOKENS_MOST },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(k|M|Ki|Mi)?$" },
    ],
}));

/// Most tokens of a prompt, an output or a context.
pub(super) const TOKENS_MOST: u32 = 100_000_000;

/// A bound whose unit depends on what it bounds: kept as written until that is known.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub Node);

impl Decode for Raw {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        if matches!(node.value, Value::Text(_) | Value::Integer(..) | Value::Float(..)) {
            return Some(Raw(node.clone()));
        }
        wrong_kind(node, "a duration, a rate, a share or a number", errors);
        None
    }
    fn canonical(&self, out: &mut String) {
        let text = match &self.0.value {
            Value::Text(text) => text,
            _ => {
                let _ = write!(out, "{:?}", plain_number(&self.0));
                return;
            }
        };
        let percent = units::split(text).ok().filter(|(_, unit)| *unit == "%");
        let _ = match (units::quantity(text, &units::TIME), units::rate(text), percent) {
            (Ok(femtos), ..) => write!(out, "{femtos}fs"),
            (_, Ok(rate), _) => write!(out, "{rate:?}/s"),
            (_, _, Some((number, _))) => write!(out, "{:?}", Some(number.over(100))),
            _ => write!(out, "{text:?}"),
        };
    }
}
inline_schema!(; Raw, Raw, json_schema!({
    "oneOf": [
        { "type": "number", "minimum": 0 },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(%|ns|us|µs|ms|s|min|h|d|/ ?(s|min|h|d))$" },
    ],
}));

/// Declares the name of something built in.
macro_rules! built_in {
    ($(#[doc = $doc:literal])* $name:ident, $what:literal, $names:path) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub String);

        impl Decode for $name {
            fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
                let name = Name::decode(node, errors)?.0;
                if $names().any(|known| known == name) {
                    return Some($name(name));
                }
                let hint = did_you_mean(&name, $names())
                    .unwrap_or_else(|| format!("known: {}", super::overrides::listed($names())));
                errors.refuse_with(&node.place, format!(concat!("no ", $what, " is called `{}`"), node), hint);
                None
            }
            fn canonical(&self, out: &mut String) {
                out.push_str(&self.0);
            }
        }
        inline_schema!(; $name, $name,
            json_schema!({ "type": "string", "enum": $names().collect::<Vec<_>>() }));
    };
}

built_in!(
    /// What an operation does.
    VerbName, "operation", verb_names
);
built_in!(
    /// A GPU type.
    GpuName, "GPU", hardware::gpu_names
);
built_in!(
    /// A model architecture.
    ArchitectureName, "architecture", hardware::architecture_names
);
built_in!(
    /// A calibration profile.
    CalibrationName, "calibration profile", hardware::calibration_names
);

/// What an operation can do: everything but sending requests and submitting jobs.
fn verb_names() -> impl Iterator<Item = &'static str> {
    Verb::ALL.iter().filter(|verb| verb.is_operation()).map(|verb| verb.name())
}

/// The value, or an error that says why the text is not one.
pub(super) fn reported<T>(
    parsed: Result<T, UnitError>,
    node: &Node,
    expected: &str,
    unit_names: &str,
    errors: &mut Errors,
) -> Option<T> {
    let units = format!("units: {unit_names}");
    let (message, hint) = match parsed {
        Ok(value) => return Some(value),
        Err(UnitError::NoNumber) => (format!("`{node}` is not {expected}"), units),
        Err(UnitError::Negative) => (format!("`{node}` is negative, expected {expected}"), units),
        Err(UnitError::NoUnit) => (format!("`{node}` has no unit, expected {expected}"), units),
        Err(UnitError::UnknownUnit(unit)) => (
            format!(
                "`{node}` has the unknown unit `{}`, expected {expected}",
                super::diagnostic::shorten(&unit)
            ),
            units,
        ),
        Err(UnitError::TooFine) => {
            (format!("`{node}` is finer than this key can hold"), format!("expected {expected}"))
        }
        Err(UnitError::TooLarge) => (format!("`{node}` is too large"), format!("expected {expected}")),
    };
    errors.refuse_with(&node.place, message, hint);
    None
}

/// A bare number where a unit is needed gets a hint that shows the number with one.
pub(super) fn no_unit_or_wrong(node: &Node, expected: &str, unit: &str, errors: &mut Errors) {
    match plain_number(node) {
        Some(number) if number.is_finite() && number >= 0.0 => {
            let hint = format!("write `\"{node}{unit}\"` if that is what is meant");
            errors.refuse_with(&node.place, format!("`{node}` has no unit, expected {expected}"), hint);
        }
        _ => wrong_kind(node, expected, errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::diagnostic::Place;
    use crate::scenario::document;

    fn read<T: Decode>(text: &str) -> Result<T, String> {
        let mut errors = Errors::default();
        let node = document::parse_value(0, text, 0).expect("the test's value is TOML");
        T::decode(&Node { place: Place { path: "x".into(), ..node.place.clone() }, ..node }, &mut errors)
            .ok_or_else(|| {
                let source = super::super::diagnostic::SourceText { name: "t".into(), text: text.into() };
                let found = errors.into_diagnostics(vec![source]);
                let item = &found.items[0];
                item.message.clone() + &item.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"))
            })
    }

    #[test]
    fn a_number_without_a_unit_is_shown_with_one() {
        assert_eq!(
            read::<Delay>("250").unwrap_err(),
            "`250` has no unit, expected a duration such as `\"250ms\"` (write `\"250ms\"` if that is what is meant)"
        );
        assert!(read::<Rate>("12.5").unwrap_err().contains("`\"12.5/s\"`"));
        assert!(read::<Bytes<0, 9>>("12").unwrap_err().contains("`\"12MB\"`"));
        assert!(read::<Delay>("nan").unwrap_err().contains("is a float"));
    }

    #[test]
    fn ranges_are_named_with_the_value() {
        assert_eq!(read::<Count<1, 9>>("0").unwrap_err(), "`0` is not in 1..=9");
        assert_eq!(read::<Count<1, 9>>("-3").unwrap_err(), "`-3` is not in 1..=9");
        let huge = "99999999999999999999999999999999999999999999999";
        assert_eq!(read::<Count<1, 9>>(huge).unwrap_err(), format!("`{huge}` is not in 1..=9"));
        assert_eq!(read::<Lasting>("'0s'").unwrap_err(), "`0s` is not in 1ns..=8760h");
        assert_eq!(read::<Delay>("'366d'").unwrap_err(), "`366d` is not in 0ns..=8760h");
        assert_eq!(read::<Cv>("nan").unwrap_err(), "`nan` is not in 0.001..=100");
        assert_eq!(read::<Cv>("inf").unwrap_err(), "`inf` is not in 0.001..=100");
        assert!(read::<Share>("1.5").unwrap_err().starts_with("`1.5` is not in 0..=1"));
        assert!(read::<Rate>("'1000001/s'").is_err());
        assert!(read::<Amount>("0").is_err());
    }

    #[test]
    fn values_in_every_spelling_mean_the_same() {
        assert_eq!(read::<Delay>("'1s'"), read::<Delay>("'1000ms'"));
        assert_eq!(read::<Share>("0.25"), read::<Share>("'25%'"));
        assert_eq!(read::<Tokens<1, 100_000>>("64_000"), read::<Tokens<1, 100_000>>("'64k'"));
        assert_eq!(read::<Amount>("1500"), read::<Amount>("'1.5k'"));
        assert_eq!(read::<Coefficient>("'0.1us'"), Ok(Coefficient(100_000_000)));
        assert_eq!(read::<Count<0, { u64::MAX }>>("0xFF"), Ok(Count(255)));
    }

    #[test]
    fn a_quoted_integer_is_told_to_lose_its_quotes() {
        assert!(read::<Count<1, 9>>("'4'").unwrap_err().contains("write it without quotes: `4`"));
    }

    #[test]
    fn a_share_of_one_in_ten_is_exact() {
        assert_eq!(read::<Share>("'10%'"), Ok(Share(0.1)));
    }
}
