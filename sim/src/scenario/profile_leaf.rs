//! The smallest values of a profile: names of what limits are about, conditions on attributes, and bounds.

use super::decode::{Decode, did_you_mean, table_of, word_of, wrong_kind};
use super::diagnostic::{Errors, Place, shorten};
use super::document::{Node, Value};
use super::leaf::{inline_schema, no_unit_or_wrong, reported};
use super::overrides::listed;
use super::per_window::PerWindow;
use super::units::{self, Unit as Size};
use crate::profile::attr::Scale;
use crate::profile::{Action, Attr, Condition, Counted, Key, Provenance, Stage, Unit, Verb};
use crate::time::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Most of anything a limit counts.
pub(super) const MOST: u64 = 1_000_000_000_000;

/// Lets a file hold the names of a type of `profile`.
macro_rules! named {
    ($type:ident) => {
        impl Decode for $type {
            fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
                static NAMES: LazyLock<Vec<&'static str>> =
                    LazyLock::new(|| $type::ALL.iter().map(|one| one.name()).collect());
                word_of(node, NAMES.as_slice(), errors).and_then($type::named)
            }
            fn canonical(&self, out: &mut String) {
                out.push_str(self.name());
            }
        }
        inline_schema!(; $type, $type, {
            let names: Vec<&str> = $type::ALL.iter().map(|one| one.name()).collect();
            json_schema!({ "type": "string", "enum": names })
        });
    };
}

named!(Verb);
named!(Stage);
named!(Key);
named!(Provenance);
named!(Unit);
named!(Action);
named!(Counted);

/// A sentence that may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prose(pub String);

impl Decode for Prose {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text.is_empty() => Some(Prose(String::new())),
            _ => super::leaf::Text::decode(node, errors).map(|text| Prose(text.0)),
        }
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{:?}", self.0);
    }
}
inline_schema!(; Prose, Prose, json_schema!({ "type": "string", "maxLength": 4096 }));

/// An attribute with numbers, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured(pub Attr);

impl Measured {
    fn names() -> impl Iterator<Item = &'static str> {
        let numeric = |attr: &&Attr| matches!(attr.scale(), Scale::Number | Scale::Bytes);
        Attr::ALL.iter().filter(numeric).map(|attr| attr.name())
    }
}

impl Decode for Measured {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, "the name of an attribute", errors);
            return None;
        };
        let attr = attribute(text, &node.place, errors)?;
        if matches!(attr.scale(), Scale::Words | Scale::Flag) {
            let hint = format!("a `gate` asks for words; with numbers: {}", listed(Measured::names()));
            errors.refuse_with(&node.place, format!("`{text}` has words, a size needs numbers"), hint);
            return None;
        }
        Some(Measured(attr))
    }
    fn canonical(&self, out: &mut String) {
        out.push_str(self.0.name());
    }
}
inline_schema!(; Measured, Measured,
    json_schema!({ "type": "string", "enum": Measured::names().collect::<Vec<_>>() }));

/// The attribute of that name, or an error.
fn attribute(name: &str, place: &Place, errors: &mut Errors) -> Option<Attr> {
    let found = Attr::named(name);
    if found.is_none() {
        let names = || Attr::ALL.iter().map(|attr| attr.name());
        let hint = did_you_mean(name, names())
            .unwrap_or_else(|| format!("attributes: {}", names().collect::<Vec<_>>().join(", ")));
        errors.refuse_with(place, format!("no attribute is called `{}`", shorten(name)), hint);
    }
    found
}

/// `{ "endpoint.kind" = ["custom"] }`: attributes, and the values of each that a limit concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conditions(pub Vec<Condition>);

impl Decode for Conditions {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let table = table_of(node, "attributes in quotes, each with a list of values", errors)?;
        let mut read = Some(Vec::new());
        for entry in &table.entries {
            let values = key_of(&entry.key, &entry.at, &entry.node, errors).and_then(|attr| {
                let values = values_of(attr, &entry.node, errors)?;
                if values.is_empty() {
                    errors.refuse(&entry.node.place, "the list is empty: the limit would concern nothing");
                    return None;
                }
                Some(Condition { attr, values })
            });
            read = read.zip(values).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        read.map(Conditions)
    }
    fn canonical(&self, out: &mut String) {
        for condition in &self.0 {
            let _ = write!(out, "{}={:?},", condition.attr.name(), condition.values);
        }
    }
}
inline_schema!(; Conditions, Conditions, conditions_schema(json_schema!({
    "type": "array", "minItems": 1, "items": { "type": ["string", "integer"] },
})));

/// An object with attributes as keys and `value` for each.
fn conditions_schema(value: Schema) -> Schema {
    let names: Vec<&str> = Attr::ALL.iter().map(|attr| attr.name()).collect();
    json_schema!({
        "type": "object", "propertyNames": { "enum": names }, "additionalProperties": value, "minProperties": 1,
    })
}

/// The attribute that a key of a condition names.
fn key_of(key: &str, at: &Place, node: &Node, errors: &mut Errors) -> Option<Attr> {
    let begins = |attr: &Attr| attr.name().strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    if let (Some(below), true) = (node.as_table(), Attr::ALL.iter().any(begins)) {
        let whole = format!("{key}.{}", below.keys().next().unwrap_or("kind"));
        errors.refuse_with(
            at,
            format!("`{key}` is a table here, not an attribute"),
            format!("put the name of the attribute in quotes: `\"{whole}\" = [..]`"),
        );
        return None;
    }
    attribute(key, at, errors)
}

/// The list of values of an attribute, each as [`Condition`] holds it.
fn values_of(attr: Attr, node: &Node, errors: &mut Errors) -> Option<Vec<String>> {
    let Value::List(nodes) = &node.value else {
        wrong_kind(node, &format!("a list of values of `{}`", attr.name()), errors);
        return None;
    };
    let read: Vec<Option<String>> = nodes.iter().map(|node| value_of(attr, node, errors)).collect();
    read.into_iter().collect()
}

fn value_of(attr: Attr, node: &Node, errors: &mut Errors) -> Option<String> {
    let message = match (attr.scale(), &node.value) {
        (Scale::Flag, Value::Text(text)) if text == "yes" || text == "no" => return Some(text.clone()),
        (Scale::Flag, _) => format!("`{node}` is not one of `\"yes\"`, `\"no\"`"),
        (Scale::Number, Value::Integer(_, Some(number))) if (0..=i128::from(MOST)).contains(number) => {
            return Some(number.to_string());
        }
        // Written out, like the words beside it.
        (Scale::Number, Value::Text(text)) if text.parse::<u64>().is_ok_and(|number| number <= MOST) => {
            return text.parse::<u64>().ok().map(|number| number.to_string());
        }
        (Scale::Number, _) => format!("`{node}` is not an integer in 0..={MOST}"),
        (Scale::Bytes, _) => return amount(attr, node, false, errors).map(|bytes| bytes.to_string()),
        (Scale::Words, Value::Text(text)) if !text.trim().is_empty() && text.len() <= 256 => {
            match text.find('*') {
                Some(at) if at + 1 < text.len() => {
                    format!("`{node}` has a `*` that is not its last character")
                }
                _ => return Some(text.clone()),
            }
        }
        (Scale::Words, _) => format!("`{node}` is not a word of 1 to 256 bytes"),
    };
    errors.refuse(&node.place, message);
    None
}

/// `{ "account.region" = ["us-east1"] }`: what must hold for one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    /// The attribute and its values; none when `required`, or when it must be empty.
    pub condition: Condition,
    /// Whether a scenario must give the values.
    pub required: bool,
}

impl Decode for Requirement {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let table = table_of(node, "one attribute in quotes with a list of values", errors)?;
        let [entry] = &table.entries[..] else {
            errors.refuse_with(
                &node.place,
                format!("`{}` attributes are required, expected 1", table.entries.len()),
                "a gate asks for one attribute; write a gate for each, or narrow one down with `when`",
            );
            return None;
        };
        let attr = key_of(&entry.key, &entry.at, &entry.node, errors)?;
        let required = matches!(&entry.node.value, Value::Text(text) if text == "required");
        let values = if required { Vec::new() } else { values_of(attr, &entry.node, errors)? };
        Some(Requirement { condition: Condition { attr, values }, required })
    }
    fn canonical(&self, out: &mut String) {
        let Condition { attr, values } = &self.condition;
        let _ = write!(out, "{}={values:?}{}", attr.name(), if self.required { " required" } else { "" });
    }
}
inline_schema!(; Requirement, Requirement, {
    let mut schema = conditions_schema(json_schema!({ "oneOf": [
        { "type": "array", "items": { "type": ["string", "integer"] } }, { "const": "required" },
    ] }));
    schema.insert("maxProperties".into(), 1.into());
    schema
});

/// Sizes of a vendor whose `MB` is 1,048,576 bytes.
const BINARY: [Size; 9] = [
    ("B", 1),
    ("kB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A bound on an attribute, kept as written until it is known which: an integer, or an amount of bytes.
#[derive(Clone, Debug)]
pub(super) struct Bound(Node);

impl Bound {
    /// The bound in the attribute's unit.
    pub(super) fn of(&self, attr: Attr, binary: bool, errors: &mut Errors) -> Option<u64> {
        amount(attr, &self.0, binary, errors)
    }
}

impl Decode for Bound {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        if matches!(node.value, Value::Text(_) | Value::Integer(..)) {
            return Some(Bound(node.clone()));
        }
        wrong_kind(node, "an integer, or an amount of bytes such as `\"16MB\"`", errors);
        None
    }
    fn canonical(&self, out: &mut String) {
        let _ = match &self.0.value {
            Value::Text(text) => match units::quantity(text, &units::BYTES) {
                Ok(bytes) => write!(out, "{bytes}B"),
                Err(_) => write!(out, "{text:?}"),
            },
            _ => write!(out, "{}", self.0),
        };
    }
}
inline_schema!(; Bound, Bound, json_schema!({
    "oneOf": [
        { "type": "integer", "minimum": 0, "maximum": MOST },
        { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)$" },
    ],
}));

/// A number of the attribute's scale.
fn amount(attr: Attr, node: &Node, binary: bool, errors: &mut Errors) -> Option<u64> {
    const EXPECTED: &str = "an amount of bytes such as `\"16MB\"`";
    let number = match (attr.scale(), &node.value) {
        (Scale::Bytes, Value::Text(text)) => {
            let sizes = if binary { &BINARY } else { &units::BYTES };
            let names = "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB";
            Some(reported(units::quantity(text, sizes), node, EXPECTED, names, errors)?)
        }
        (Scale::Bytes, _) => {
            no_unit_or_wrong(node, EXPECTED, "MB", errors);
            return None;
        }
        (_, Value::Integer(_, number)) => number.and_then(|number| u128::try_from(number).ok()),
        _ => {
            wrong_kind(node, &format!("an integer, because `{}` is a number", attr.name()), errors);
            return None;
        }
    };
    // A terabyte of binary units is a little more than 10^12 bytes.
    let most = if attr.scale() == Scale::Bytes { 1 << 50 } else { u128::from(MOST) };
    let found = number.filter(|number| *number <= most).map(|number| number as u64);
    if found.is_none() {
        errors.refuse(&node.place, format!("`{node}` is not in 0..={most}"));
    }
    found
}

/// What a rate allows: `"200/s"`, `"none"`, `"required"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateValue {
    /// Units in a window; `None`: no limit until one is set.
    pub count: Option<u64>,
    pub window: Span,
    /// Whether a scenario must give it.
    pub required: bool,
}

impl Decode for RateValue {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let text = if let Value::Text(text) = &node.value { text.trim() } else { "" };
        let (word, window) = text.split_once('/').unwrap_or((text, "min"));
        let word = word.trim();
        if word != "none" && word != "required" {
            let rate = PerWindow::decode(node, errors)?;
            return Some(RateValue { count: Some(rate.count), window: rate.window, required: false });
        }
        let one = Node { value: Value::Text(format!("1/{window}")), ..node.clone() };
        let Some(rate) = PerWindow::decode(&one, &mut Errors::default()) else {
            let hint = format!("write `\"{word}/min\"` or a window of several, such as `\"{word}/5min\"`");
            errors.refuse_with(&node.place, format!("`{node}` has no window in 1ms..=8760h"), hint);
            return None;
        };
        Some(RateValue { count: None, window: rate.window, required: word == "required" })
    }
    fn canonical(&self, out: &mut String) {
        let _ = match (self.count, self.required) {
            (Some(count), _) => write!(out, "{count}"),
            (None, true) => write!(out, "required"),
            (None, false) => write!(out, "none"),
        };
        let _ = write!(out, "/{}ns", self.window.as_nanos());
    }
}
inline_schema!(; RateValue, RateValue, json_schema!({
    "type": "string",
    "pattern": r"^((none|required)|([0-9][0-9_]*|none|required) ?/ ?([0-9]+(\.[0-9]+)? ?)?(ms|s|min|h|d))$",
}));

/// Most of something: `1024`, `"none"`, `"required"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Most {
    /// This many.
    Of(u64),
    /// No limit until one is set.
    Unset,
    /// A scenario must give it.
    Required,
}

impl Most {
    /// The limit, when there is one.
    pub(super) fn limit(self) -> Option<u64> {
        if let Most::Of(most) = self { Some(most) } else { None }
    }
}

impl Decode for Most {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "none" => Some(Most::Unset),
            Value::Text(text) if text == "required" => Some(Most::Required),
            Value::Integer(_, number) => {
                let most = number.and_then(|number| u64::try_from(number).ok());
                let most = most.filter(|most| (1..=MOST).contains(most));
                if most.is_none() {
                    let hint = "a `ban` allows none; `\"none\"` means no limit";
                    errors.refuse_with(&node.place, format!("`{node}` is not in 1..={MOST}"), hint);
                }
                most.map(Most::Of)
            }
            _ => {
                wrong_kind(node, "an integer, `\"none\"` or `\"required\"`", errors);
                None
            }
        }
    }
    fn canonical(&self, out: &mut String) {
        let _ = match self {
            Most::Of(most) => write!(out, "{most}"),
            Most::Unset => write!(out, "none"),
            Most::Required => write!(out, "required"),
        };
    }
}
inline_schema!(; Most, Most, json_schema!({
    "oneOf": [{ "type": "integer", "minimum": 1, "maximum": MOST }, { "enum": ["none", "required"] }],
}));

/// A factor of at most `HI` thousandths, held exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permille<const HI: u64>(pub u64);

impl<const HI: u64> Decode for Permille<HI> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let (Value::Integer(text, _) | Value::Float(text, _)) = &node.value else {
            wrong_kind(node, "a number such as `1.0`", errors);
            return None;
        };
        let plain = text.replace('_', "");
        let whole = units::split(plain.trim_start_matches('+')).and_then(|(number, unit)| match unit {
            "" => number.times(1000),
            other => Err(units::UnitError::UnknownUnit(other.to_owned())),
        });
        let fits = whole.ok().filter(|permille| *permille <= u128::from(HI));
        if fits.is_none() {
            let high = HI / 1000;
            errors.refuse(&node.place, format!("`{node}` is not in 0..={high} with at most three decimals"));
        }
        fits.map(|permille| Permille(permille as u64))
    }
    fn canonical(&self, out: &mut String) {
        let _ = write!(out, "{}/1000", self.0);
    }
}
// In braces, because between parentheses the formatter takes the constant for an item.
inline_schema! { const HI: u64; Permille, Permille<HI>,
json_schema!({ "type": "number", "minimum": 0, "maximum": HI / 1000 }) }
