//! Overrides: a key path and the value to put there, from `--set` or from a variant.

use super::decode::did_you_mean;
use super::diagnostic::{Errors, Place, SourceText, join};
use super::document::{self, Entry, Node, Table, Value};
use toml::de::DeTable;

/// Sections whose entries are named by the user: an override may change one, not invent one by a typing error.
const NAMED: [&str; 9] =
    ["models", "nodes", "links", "pools", "tiers", "accounts", "endpoints", "workloads", "batch"];

/// A value to put at a path.
#[derive(Clone, Debug)]
pub(super) struct Override {
    keys: Vec<String>,
    /// Underlines the path.
    at: Place,
    value: Node,
}

/// Reads `KEY=VALUE`. The key is a TOML key path; the value is TOML, or a bare word taken as a string (`250ms`).
///
/// The text is added to `sources`, so that errors can underline it.
pub(super) fn from_flag(text: &str, sources: &mut Vec<SourceText>, errors: &mut Errors) -> Option<Override> {
    let source = sources.len();
    sources.push(SourceText { name: "--set".into(), text: text.into() });
    let at = Place { source, span: 0..text.len(), path: "".into() };
    let example = "write a key path and a value, such as `--set pools.chat.replicas=4`";
    let Some(split) = split_at_equals(text) else {
        errors.refuse_with(&at, format!("`{text}` has no `=`"), example);
        return None;
    };
    let key_at = Place { span: 0..split, ..at.clone() };
    let Some(keys) = key_path(&text[..split]) else {
        errors.refuse_with(&key_at, format!("`{}` is not a key path", text[..split].trim()), example);
        return None;
    };
    let value_text = text[split + 1..].trim();
    let offset = split + 1 + (text[split + 1..].len() - text[split + 1..].trim_start().len());
    let value_at = Place { span: offset..offset + value_text.len(), ..at };
    let Some(value) = value_of(source, value_text, offset, &value_at) else {
        errors.refuse_with(
            &value_at,
            format!("`{value_text}` is neither a TOML value nor a bare word"),
            "quote strings (`'\"..\"'` in most shells); tables are written `{ key = value }`",
        );
        return None;
    };
    Some(Override { keys, at: key_at, value })
}

/// The overrides of a `[variants.NAME]` table.
pub(super) fn from_variant(node: &Node, errors: &mut Errors) -> Option<Vec<Override>> {
    let Some(table) = node.as_table() else {
        errors.refuse_with(
            &node.place,
            format!("a variant is a table, this is {}", node.kind()),
            "write `[variants.NAME]` and under it `\"pools.chat.replicas\" = 4`",
        );
        return None;
    };
    let mut overrides = Some(Vec::new());
    for entry in &table.entries {
        match variant_entry(entry, errors) {
            Some(found) => {
                if let Some(list) = &mut overrides {
                    list.push(found);
                }
            }
            None => overrides = None,
        }
    }
    overrides
}

fn variant_entry(entry: &Entry, errors: &mut Errors) -> Option<Override> {
    let Some(keys) = key_path(&entry.key) else {
        errors.refuse_with(
            &entry.at,
            format!("`{}` is not a key path", entry.key),
            "quote the whole path: `\"pools.chat.replicas\" = 4`",
        );
        return None;
    };
    if keys.len() == 1 && entry.node.as_table().is_some() {
        errors.refuse_with(
            &entry.at,
            format!("`{}` would replace the whole section", entry.key),
            "quote the whole path: `\"pools.chat.replicas\" = 4`",
        );
        return None;
    }
    if keys[0] == "variants" {
        errors.refuse(&entry.at, "a variant cannot change variants");
        return None;
    }
    Some(Override { keys, at: entry.at.clone(), value: entry.node.clone() })
}

impl Override {
    /// Puts the value where the path says. Refuses a path that leads through something that is not there.
    pub(super) fn apply(&self, root: &mut Node, errors: &mut Errors) {
        let mut here = root;
        let mut path = String::new();
        for (depth, key) in self.keys.iter().enumerate() {
            let last = depth + 1 == self.keys.len();
            let invents = last || depth != 1 || !NAMED.contains(&path.as_str());
            let below = Place { path: join(&path, key).into(), ..self.at.clone() };
            let Some(next) = enter(here, key, &path, &below, invents, errors) else { return };
            here = next;
            path = below.path.to_string();
        }
        *here = self.value.clone();
    }
}

/// The value under `key`; a table that has no such key gets one when the path `invents` it.
fn enter<'n>(
    node: &'n mut Node,
    key: &str,
    parent: &str,
    below: &Place,
    invents: bool,
    errors: &mut Errors,
) -> Option<&'n mut Node> {
    let kind = node.kind();
    match &mut node.value {
        Value::List(nodes) => {
            let names: Vec<Option<String>> = nodes.iter().map(name_of).collect();
            let index =
                key.parse().ok().or_else(|| names.iter().position(|name| name.as_deref() == Some(key)));
            match index.filter(|&index: &usize| index < nodes.len()) {
                Some(index) => Some(&mut nodes[index]),
                None => {
                    let hint =
                        did_you_mean(key, names.iter().flatten().map(String::as_str)).unwrap_or_else(|| {
                            "entries of a list go by number, from 0, or by their `name`".into()
                        });
                    errors.refuse_with(below, format!("`{parent}` has no entry `{key}`"), hint);
                    None
                }
            }
        }
        Value::Table(table) => {
            if table.get(key).is_none() {
                if !invents {
                    let hint = did_you_mean(key, table.keys())
                        .unwrap_or_else(|| format!("`{parent}` has {}", listed(table.keys())));
                    errors.refuse_with(below, format!("`{parent}` has no entry `{key}`"), hint);
                    return None;
                }
                let node = Node { place: below.clone(), value: Value::Table(Table::default()) };
                table.entries.push(Entry { key: key.to_owned(), at: below.clone(), node });
            }
            table.get_mut(key)
        }
        _ => {
            errors.refuse(below, format!("`{parent}` is {kind}, not a table"));
            None
        }
    }
}

/// `a`, `b` and `c`, each in backticks.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn name_of(node: &Node) -> Option<String> {
    match &node.as_table()?.get("name")?.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    }
}

/// Where the `=` is that ends the key: the first outside quotes.
fn split_at_equals(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        None
    })
}

/// The keys of a dotted path, by TOML's own rules.
fn key_path(text: &str) -> Option<Vec<String>> {
    if text.contains(['\n', '\r', '=', '#', '[', ']']) && !text.contains(['"', '\'']) {
        return None;
    }
    let document = format!("{text} = 0");
    let table = DeTable::parse(&document).ok()?;
    let mut keys = Vec::new();
    let mut here = table.get_ref();
    loop {
        let mut entries = here.iter();
        let (key, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        keys.push(key.get_ref().to_string());
        match value.get_ref().as_table() {
            Some(table) => here = table,
            None => return Some(keys),
        }
    }
}

fn value_of(source: usize, text: &str, offset: usize, at: &Place) -> Option<Node> {
    if let Some(node) = document::parse_value(source, text, offset) {
        return Some(node);
    }
    let bare = !text.is_empty() && !text.contains(['"', '\'', '[', ']', '\n', '\r', '#', '=', ',']);
    // `${TRACE}` is a bare word, `{ a` is half a table.
    let bare = bare && !text.starts_with('{');
    bare.then(|| Node { place: at.clone(), value: Value::Text(text.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, set: &str) -> Result<String, String> {
        let mut errors = Errors::default();
        let mut sources = vec![SourceText { name: "a.toml".into(), text: text.into() }];
        let mut root = document::parse(0, text, &mut errors).unwrap();
        if let Some(found) = from_flag(set, &mut sources, &mut errors) {
            found.apply(&mut root, &mut errors);
        }
        if errors.count() > 0 {
            return Err(errors.into_diagnostics(sources).to_string());
        }
        Ok(show(&root))
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Table(table) => {
                let parts: Vec<String> = table
                    .entries
                    .iter()
                    .map(|entry| format!("{}:{}", entry.key, show(&entry.node)))
                    .collect();
                format!("{{{}}}", parts.join(" "))
            }
            Value::List(nodes) => format!("[{}]", nodes.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Text(text) => format!("{text:?}"),
            _ => node.to_string(),
        }
    }

    const FILE: &str = "[pools.chat]\nreplicas = 2\n[[properties]]\nname = 'fast'\nquantile = 0.9\n";

    #[test]
    fn a_path_reaches_tables_and_named_or_numbered_list_entries() {
        let with = |set| applied(FILE, set).unwrap();
        assert!(with("pools.chat.replicas=4").contains("replicas:4"));
        assert!(with("pools.chat.kv.block = 32").contains("kv:{block:32}"));
        assert!(with("properties.fast.quantile=0.5").contains("quantile:0.5"));
        assert!(with("properties.0.quantile=0.5").contains("quantile:0.5"));
    }

    #[test]
    fn a_value_is_toml_or_a_bare_word() {
        let with = |set| applied(FILE, set).unwrap();
        assert!(with("pools.chat.x=250ms").contains("x:\"250ms\""));
        assert!(with("pools.chat.x='4'").contains("x:\"4\""));
        assert!(with("pools.chat.x=true").contains("x:true"));
        assert!(with("pools.chat.x=12/s").contains("x:\"12/s\""));
        assert!(with("pools.chat.x=${TRACE}").contains("x:\"${TRACE}\""));
        assert!(with("pools.chat.x={ a = 1 }").contains("x:{a:1}"));
        assert!(with("pools.chat.\"a=b\"=1").contains("a=b:1"));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused_where_it_stands() {
        let refused = |set| applied(FILE, set).unwrap_err();
        assert_eq!(
            refused("pools.chta.replicas=4"),
            "error: --set:1:1: pools.chta: `pools` has no entry `chta`\nhint: did you mean `chat`?"
        );
        assert!(refused("properties.slow.quantile=1").contains("has no entry `slow`"));
        assert!(refused("pools.chat.replicas.x=1").contains("`pools.chat.replicas` is an integer"));
        assert!(refused("pools").contains("has no `=`"));
        assert!(refused("=4").contains("is not a key path"));
        assert!(refused("a b=4").contains("is not a key path"));
        assert!(refused("a=[1,").contains("neither a TOML value nor a bare word"));
    }
}
