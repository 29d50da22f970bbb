//! A TOML document as a tree in which every value knows where it stands.
//!
//! Overrides replace subtrees, so the tree may mix values of several source texts.

use super::diagnostic::{Errors, Place, join, shorten};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest scenario text, bytes. Real ones are a few kilobytes.
pub(super) const BYTES_MOST: usize = 4 << 20;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What to underline, and the key path.
    pub place: Place,
    /// What was written.
    pub value: Value,
}

/// What was written. Numbers keep their text, because what overflows must still be shown.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// An integer, `None` when even 128 bits do not hold it.
    Integer(String, Option<i128>),
    /// A float, `nan` and `inf` included.
    Float(String, f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time; nothing in a scenario is one.
    Date(String),
    /// `[a, b]` or `[[a]]`.
    List(Vec<Node>),
    /// `{ a = 1 }` or `[a]`.
    Table(Table),
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    /// Where the key stands.
    pub at: Place,
    pub node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }
}

impl Node {
    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    /// The kind of value, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a string",
            Value::Integer(..) => "an integer",
            Value::Float(..) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Sets the key paths of this value and of all below it.
    pub(super) fn set_paths(&mut self, path: &str) {
        self.place.path = path.into();
        match &mut self.value {
            Value::List(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    node.set_paths(&format!("{path}[{index}]"));
                }
            }
            Value::Table(table) => {
                for entry in &mut table.entries {
                    let below = join(path, &entry.key);
                    entry.at.path = below.as_str().into();
                    entry.node.set_paths(&below);
                }
            }
            _ => {}
        }
    }

    /// A default of the program's own, standing (for errors) at `place`.
    pub(super) fn from_json(json: &serde_json::Value, place: &Place) -> Node {
        let value = match json {
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Value::Integer(number.to_string(), Some(value.into())),
                None => Value::Float(number.to_string(), number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Node::from_json(item, place)).collect())
            }
            serde_json::Value::Object(map) => {
                let entry = |(key, value): (&String, &serde_json::Value)| Entry {
                    key: key.clone(),
                    at: place.key(key),
                    node: Node::from_json(value, &place.key(key)),
                };
                Value::Table(Table { entries: map.iter().map(entry).collect() })
            }
            serde_json::Value::Null => unreachable!("no default is null"),
        };
        Node { place: place.clone(), value }
    }
}

impl fmt::Display for Node {
    /// The value as it would be shown between backticks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Text(text) | Value::Integer(text, _) | Value::Float(text, _) | Value::Date(text) => {
                f.write_str(&shorten(text))
            }
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::List(_) => f.write_str("[..]"),
            Value::Table(_) => f.write_str("{ .. }"),
        }
    }
}

/// The text of a scenario or profile (`what`), or what is wrong with the file and what to do about it.
pub(super) fn read(path: &Path, what: &str) -> Result<String, (String, String)> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > BYTES_MOST as u64 => {
            let message = format!("the file has `{}` bytes, at most {BYTES_MOST} are read", meta.len());
            return Err((message, format!("a {what} is a few kilobytes of TOML; is this a trace?")));
        }
        Ok(meta) if meta.is_dir() => return Err(("this is a folder".into(), format!("name a {what} file"))),
        _ => {}
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            Err((format!("byte {at} is not UTF-8 text"), format!("a {what} is a TOML file")))
        }
        Err(error) => {
            Err((format!("the file cannot be read: {error}"), format!("give the path of a {what} file")))
        }
    }
}

/// Parses a whole document; every syntax error becomes an error of its own.
pub(super) fn parse(source: usize, text: &str, errors: &mut Errors) -> Option<Node> {
    let whole = Place { source, span: 0..0, path: "".into() };
    if text.len() > BYTES_MOST {
        errors.refuse(&whole, format!("the file has `{}` bytes, at most {BYTES_MOST} are read", text.len()));
        return None;
    }
    // The parser refuses more than 80 levels of brackets or dotted keys, which bounds every recursion below.
    let (table, problems) = DeTable::parse_recoverable(text);
    for problem in &problems {
        let place = Place { span: problem.span().unwrap_or(0..0), ..whole.clone() };
        errors.refuse(&place, lower_first(problem.message()));
    }
    if !problems.is_empty() {
        return None;
    }
    let mut root = Node { place: whole, value: table_of(source, table.get_ref(), 0) };
    root.set_paths("");
    Some(root)
}

/// Parses one value, such as the right side of a `--set`. Spans are shifted by `offset`.
pub(super) fn parse_value(source: usize, text: &str, offset: usize) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(node_of(source, &value, offset))
}

fn node_of(source: usize, spanned: &Spanned<DeValue<'_>>, offset: usize) -> Node {
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
            Value::Integer(number.to_string(), value)
        }
        DeValue::Float(number) => {
            let text = number.as_str().to_owned();
            let value = text.parse().unwrap_or(f64::NAN);
            Value::Float(text, value)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node_of(source, item, offset)).collect())
        }
        DeValue::Table(table) => table_of(source, table, offset),
    };
    Node { place: place_of(source, spanned.span(), offset), value }
}

fn table_of(source: usize, table: &DeTable<'_>, offset: usize) -> Value {
    let entry = |(key, node): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| Entry {
        key: key.get_ref().to_string(),
        at: place_of(source, key.span(), offset),
        node: node_of(source, node, offset),
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    // The parser sorts by name; people number pools and workloads in the order they wrote them.
    entries.sort_by_key(|entry| entry.at.span.start);
    Value::Table(Table { entries })
}

fn place_of(source: usize, span: Range<usize>, offset: usize) -> Place {
    Place { source, span: span.start + offset..span.end + offset, path: Arc::from("") }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
