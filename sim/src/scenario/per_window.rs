//! Units in a window: `"200/s"`, `"50/5min"`.

use super::decode::{Decode, wrong_kind};
use super::diagnostic::Errors;
use super::document::{Node, Value};
use super::leaf::{YEAR, inline_schema};
use super::units::{self, FEMTOS_PER_NANO};
use crate::time::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::fmt;

/// A whole number of units in a window of at least a millisecond and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerWindow {
    pub count: u64,
    pub window: Span,
}

/// Most units in a window.
const UNITS_MOST: u64 = 1_000_000_000_000;
const EXPECTED: &str = "units in a window such as `\"200/s\"` or `\"50/5min\"`";

impl Decode for PerWindow {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            wrong_kind(node, EXPECTED, errors);
            return None;
        };
        let Some((count, window)) = text.split_once('/') else {
            let hint = "write the window behind a slash: s, min, h, d, or several of them";
            errors.refuse_with(&node.place, format!("`{node}` has no window, expected {EXPECTED}"), hint);
            return None;
        };
        let digits: String = count.trim().chars().filter(|c| *c != '_').collect();
        let Ok(count) = digits.parse::<u64>() else {
            errors.refuse(
                &node.place,
                format!("`{node}` does not begin with a whole number, expected {EXPECTED}"),
            );
            return None;
        };
        if !(1..=UNITS_MOST).contains(&count) {
            errors.refuse(&node.place, format!("`{node}` has a count that is not in 1..={UNITS_MOST}"));
            return None;
        }
        let window = window.trim();
        let bare = window.starts_with(|c: char| c.is_alphabetic());
        let written = if bare { format!("1{window}") } else { window.to_owned() };
        let nanos = units::quantity(&written, &units::TIME)
            .ok()
            .filter(|femtos| femtos % FEMTOS_PER_NANO == 0)
            .and_then(|femtos| u64::try_from(femtos / FEMTOS_PER_NANO).ok());
        match nanos {
            Some(nanos) if (1_000_000..=YEAR).contains(&nanos) => {
                Some(PerWindow { count, window: Span::from_nanos(nanos) })
            }
            Some(_) => {
                errors.refuse(&node.place, format!("`{node}` has a window that is not in 1ms..=8760h"));
                None
            }
            None => {
                errors.refuse_with(
                    &node.place,
                    format!("`{node}` has no window that is a time, expected {EXPECTED}"),
                    "units: ms, s, min, h, d",
                );
                None
            }
        }
    }
    fn canonical(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }
}
inline_schema!(; PerWindow, PerWindow, json_schema!({
    "type": "string", "pattern": r"^[0-9][0-9_]* ?/ ?([0-9]+(\.[0-9]+)? ?)?(ms|s|min|h|d)$",
}));

impl fmt::Display for PerWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", per_window(self.count, self.window))
    }
}

/// `200/s`, `50/5min`: units in a window as they are written.
pub(super) fn per_window(count: u64, window: Span) -> String {
    let nanos = u128::from(window.as_nanos()) * FEMTOS_PER_NANO;
    let units = ["d", "h", "min", "s", "ms", "us", "ns"];
    let size = |unit: &str| units::size_of(unit, &units::TIME).unwrap_or(1);
    let unit = units.into_iter().find(|unit| nanos.is_multiple_of(size(unit))).unwrap_or("ns");
    match nanos / size(unit) {
        1 => format!("{count}/{unit}"),
        several => format!("{count}/{several}{unit}"),
    }
}
