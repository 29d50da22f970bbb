//! `[variants.NAME]`: named sets of overrides.

use super::decode::{Field, table_of};
use super::diagnostic::{Errors, Place};
use super::document::{Node, Table};
use super::leaf::NAME_PATTERN;
use super::overrides::{self, Override};
use schemars::{Schema, SchemaGenerator};

/// The variants of a file. One that cannot be read keeps its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Variants {
    pub entries: Vec<(String, Place, Option<Vec<Override>>)>,
}

impl Variants {
    /// Those of a document, before anything else of it is decoded.
    pub(super) fn of(root: &Table, errors: &mut Errors) -> Variants {
        let read = root.get("variants").map(|node| Variants::present(node, errors));
        read.flatten().unwrap_or_default()
    }
}

impl Field for Variants {
    const REQUIRED: bool = false;

    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        let table = table_of(node, "named sets of overrides", errors)?;
        let entries = table
            .entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.at.clone(), overrides::from_variant(&entry.node, errors)));
        Some(Variants { entries: entries.collect() })
    }

    fn absent() -> Option<Self> {
        Some(Variants::default())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": NAME_PATTERN },
            "additionalProperties": { "type": "object" },
        })
    }

    /// Variants are not values of their own: what they change is.
    fn canonical(&self, _: &mut String) {}
}
