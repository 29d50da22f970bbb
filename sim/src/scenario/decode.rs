//! From a tree of values to typed sections: one declaration gives the struct, the decoder and the JSON Schema.
//!
//! A decoder never stops at the first error: it reads every key of a section, reports all that is wrong, and gives
//! `None` when the section cannot be used.

use super::diagnostic::{Errors, Place};
use super::document::{Node, Table};
use super::refused;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value as Json};
use std::fmt::Write as _;

/// A value that a scenario file can hold. Its [`JsonSchema`] describes exactly what `decode` accepts.
pub(super) trait Decode: JsonSchema + Sized {
    /// Reads it, or says what is wrong with it.
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self>;

    /// Writes the effective value in one canonical form, whatever unit it was written in: what the hash is over.
    fn canonical(&self, out: &mut String);
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T: Decode> At<T> {
    pub(super) fn read(node: &Node, errors: &mut Errors) -> Option<Self> {
        Some(At { value: T::decode(node, errors)?, place: node.place.clone() })
    }
}

/// A field of a section: required, optional, or a collection that may be missing.
pub(super) trait Field: Sized {
    /// Whether a section without it is refused.
    const REQUIRED: bool;
    /// Reads it.
    fn present(node: &Node, errors: &mut Errors) -> Option<Self>;
    /// What it is when the key is missing; `None` when the section is of no use then.
    fn absent() -> Option<Self>;
    /// Its schema.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
    /// As [`Decode::canonical`].
    fn canonical(&self, out: &mut String);
}

impl<T: Decode> Field for At<T> {
    const REQUIRED: bool = true;
    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        At::read(node, errors)
    }
    fn absent() -> Option<Self> {
        None
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
    fn canonical(&self, out: &mut String) {
        self.value.canonical(out);
    }
}

impl<T: Decode> Field for Option<At<T>> {
    const REQUIRED: bool = false;
    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        At::read(node, errors).map(Some)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
    fn canonical(&self, out: &mut String) {
        match self {
            Some(at) => at.value.canonical(out),
            None => out.push('-'),
        }
    }
}

/// Entries under names the user chose. An entry that could not be read keeps its name, so that references to it are
/// not reported as dangling on top.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub entries: Vec<(String, Place, Option<T>)>,
    /// Entries that could not be read, as they stand in the file: the names they refer to can still be checked.
    pub broken: Vec<Node>,
}

impl<T> Named<T> {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, ..)| name.as_str())
    }

    /// Position of `name`, or an error at `place` that lists what there is.
    pub(super) fn find(
        &self,
        name: &At<super::leaf::Name>,
        what: &str,
        errors: &mut Errors,
    ) -> Option<usize> {
        let wanted = name.value.as_str();
        let found = self.names().position(|known| known == wanted);
        if found.is_none() {
            let hint = did_you_mean(wanted, self.names()).unwrap_or_else(|| {
                let known = super::overrides::listed(self.names());
                format!("declare it with `[{what}s.{wanted}]`; declared: {known}")
            });
            errors.refuse_with(&name.place, format!("no {what} is named `{wanted}`"), hint);
        }
        found
    }
}

impl<T: Decode> Field for Named<T> {
    const REQUIRED: bool = false;
    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        let table = table_of(node, "named entries", errors)?;
        let entries = table.entries.iter().map(|entry| {
            if !super::leaf::is_name(&entry.key) {
                let hint = "letters, digits, `-` and `_`, beginning with a letter or digit, at most 64";
                errors.refuse_with(&entry.at, format!("`{}` is not a usable name", entry.key), hint);
            }
            (entry.key.clone(), entry.node.place.clone(), T::decode(&entry.node, errors))
        });
        let entries: Vec<_> = entries.collect();
        let unread = table.entries.iter().zip(&entries).filter(|(_, read)| read.2.is_none());
        let broken = unread.map(|(entry, _)| entry.node.clone()).collect();
        Some(Named { entries, broken })
    }
    fn absent() -> Option<Self> {
        Some(Named { entries: Vec::new(), broken: Vec::new() })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<T>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": super::leaf::NAME_PATTERN },
            "additionalProperties": entry,
        })
    }
    fn canonical(&self, out: &mut String) {
        out.push('{');
        for (name, _, entry) in &self.entries {
            let _ = write!(out, "{name:?}:");
            if let Some(entry) = entry {
                entry.canonical(out);
            }
            out.push(',');
        }
        out.push('}');
    }
}

/// A section that is read as far as it goes: one that cannot be used is reported and does not hide its neighbours.
#[derive(Clone, Debug)]
pub(super) struct Lenient<T>(pub Option<At<T>>);

impl<T: Decode> Field for Lenient<T> {
    const REQUIRED: bool = true;
    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        Some(Lenient(At::read(node, errors)))
    }
    fn absent() -> Option<Self> {
        Some(Lenient(None))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
    fn canonical(&self, out: &mut String) {
        self.0.canonical(out);
    }
}

/// `[[entries]]`, read one by one.
#[derive(Clone, Debug)]
pub(super) struct Entries<T>(
    pub Vec<At<T>>,
    /// Entries that could not be read, as they stand in the file.
    pub Vec<Node>,
);

impl<T: Decode> Field for Entries<T> {
    const REQUIRED: bool = false;
    fn present(node: &Node, errors: &mut Errors) -> Option<Self> {
        let super::document::Value::List(nodes) = &node.value else {
            wrong_kind(node, "a list of tables, `[[..]]`", errors);
            return None;
        };
        let (mut read, mut broken) = (Vec::new(), Vec::new());
        for node in nodes {
            match At::read(node, errors) {
                Some(entry) => read.push(entry),
                None => broken.push(node.clone()),
            }
        }
        Some(Entries(read, broken))
    }
    fn absent() -> Option<Self> {
        Some(Entries(Vec::new(), Vec::new()))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "array", "items": entry })
    }
    fn canonical(&self, out: &mut String) {
        out.push('[');
        for entry in &self.0 {
            entry.value.canonical(out);
            out.push(',');
        }
        out.push(']');
    }
}

/// A list that may be empty: what is known to be nothing is known.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub Vec<At<T>>);

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        match &node.value {
            super::document::Value::List(nodes) if nodes.is_empty() => Some(List(Vec::new())),
            _ => Vec::decode(node, errors).map(List),
        }
    }
    fn canonical(&self, out: &mut String) {
        self.0.canonical(out);
    }
}

impl<T: Decode> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "array", "items": entry })
    }
}

/// A non-empty list.
impl<T: Decode> Decode for Vec<At<T>> {
    fn decode(node: &Node, errors: &mut Errors) -> Option<Self> {
        let super::document::Value::List(nodes) = &node.value else {
            wrong_kind(node, "a list", errors);
            return None;
        };
        if nodes.is_empty() {
            errors.refuse(&node.place, "the list is empty");
            return None;
        }
        let read: Vec<Option<At<T>>> = nodes.iter().map(|node| At::read(node, errors)).collect();
        read.into_iter().collect()
    }
    fn canonical(&self, out: &mut String) {
        out.push('[');
        for entry in self {
            entry.value.canonical(out);
            out.push(',');
        }
        out.push(']');
    }
}

impl<T: Decode> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Keys of a section, for `section!` and `choice!`.
pub(super) trait Section: Sized {
    /// Every key it knows.
    const KEYS: &'static [&'static str];
    /// Reads its keys; unknown ones are reported by the caller.
    fn read(table: &Table, place: &Place, errors: &mut Errors) -> Option<Self>;
    /// Adds its keys to the schema of an object.
    fn describe(
        generator: &mut SchemaGenerator,
        properties: &mut Map<String, Json>,
        required: &mut Vec<Json>,
    );
    /// As [`Decode::canonical`], without the braces.
    fn write_keys(&self, out: &mut String);
}

/// Reads one key of a section.
pub(super) fn field<F: Field>(
    table: &Table,
    key: &str,
    default: Option<Json>,
    place: &Place,
    errors: &mut Errors,
) -> Option<F> {
    if let Some(node) = table.get(key) {
        return F::present(node, errors);
    }
    if let Some(json) = default {
        return F::present(&Node::from_json(&json, &place.key(key)), errors);
    }
    if F::REQUIRED {
        errors.refuse(place, format!("the key `{key}` is missing"));
    }
    F::absent()
}

/// The table a value should be, or an error.
pub(super) fn table_of<'a>(node: &'a Node, what: &str, errors: &mut Errors) -> Option<&'a Table> {
    let table = node.as_table();
    if table.is_none() {
        wrong_kind(node, &format!("a table ({what})"), errors);
    }
    table
}

/// Reports a value of the wrong kind.
pub(super) fn wrong_kind(node: &Node, expected: &str, errors: &mut Errors) {
    errors.refuse(&node.place, format!("`{node}` is {}, expected {expected}", node.kind()));
}

/// Reports the keys of a table that its section does not know. `elsewhere` tells where a known key belongs instead.
pub(super) fn refuse_unknown(
    table: &Table,
    known: &[&'static str],
    elsewhere: impl Fn(&str) -> Option<String>,
    errors: &mut Errors,
) {
    for entry in &table.entries {
        let key = entry.key.as_str();
        if known.contains(&key) {
            continue;
        }
        if let Some(message) = elsewhere(key) {
            errors.refuse(&entry.at, message);
        } else if let Some(instead) = refused::not_modelled(key) {
            errors.refuse_with(&entry.at, format!("`{key}` is not modelled"), instead);
        } else if let Some(instead) = refused::called_otherwise(key) {
            errors.refuse_with(&entry.at, format!("unknown key `{key}`"), instead);
        } else {
            let hint = did_you_mean(key, known.iter().copied())
                .unwrap_or_else(|| format!("allowed: {}", super::overrides::listed(known.iter().copied())));
            errors.refuse_with(&entry.at, format!("unknown key `{key}`"), hint);
        }
    }
}

/// ``did you mean `x`?`` when one of `known` is within a few typing errors of `wrong`.
pub(super) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let wrong: String = wrong.chars().take(64).collect::<String>().to_lowercase().replace([' ', '_'], "-");
    let near = known
        .map(|name| (strsim::osa_distance(&wrong, &name.to_lowercase().replace('_', "-")), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3).min(3) && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)?;
    Some(format!("did you mean `{}`?", near.1))
}

/// The key a field of a section is for: a field named like a keyword of Rust is written `r#key`.
pub(super) const fn key_of(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', key @ ..] => match std::str::from_utf8(key) {
            Ok(key) => key,
            Err(_) => field,
        },
        _ => field,
    }
}

/// Doc lines as one description.
pub(super) fn description(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The schema of one key: its type's, its description, its default.
pub(super) fn describe_key(schema: Schema, lines: &[&str], default: Option<Json>) -> Json {
    let mut schema = schema;
    schema.insert("description".into(), description(lines).into());
    if let Some(default) = default {
        schema.insert("default".into(), default);
    }
    schema.to_value()
}

/// The schema of an object with exactly these keys.
pub(super) fn object(properties: Map<String, Json>, required: Vec<Json>, lines: &[&str]) -> Schema {
    let mut schema = schemars::json_schema!({
        "type": "object",
        "description": description(lines),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

/// Declares a section: struct, decoder, schema and canonical form from one list of keys.
///
/// A key is required (`At<T>`), has a default (`At<T> = json`), is optional (`Option<At<T>>`) or is a collection.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident $(<$q:ident: $bound:path>)? {
            $( $(#[doc = $key_doc:literal])* $key:ident : $ty:ty $(= $default:tt)? ,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name $(<$q: $bound>)? {
            $( $(#[doc = $key_doc])* pub $key: $ty, )*
        }

        impl $(<$q: $bound>)? $crate::scenario::decode::Section for $name $(<$q>)? {
            const KEYS: &'static [&'static str] =
                &[$($crate::scenario::decode::key_of(stringify!($key))),*];

            fn read(
                table: &$crate::scenario::document::Table,
                place: &$crate::scenario::diagnostic::Place,
                errors: &mut $crate::scenario::diagnostic::Errors,
            ) -> Option<Self> {
                $( let $key = $crate::scenario::decode::field::<$ty>(
                    table, $crate::scenario::decode::key_of(stringify!($key)),
                    $crate::scenario::decode::default!($($default)?), place, errors,
                ); )*
                Some(Self { $( $key: $key?, )* })
            }

            fn describe(
                generator: &mut schemars::SchemaGenerator,
                properties: &mut serde_json::Map<String, serde_json::Value>,
                required: &mut Vec<serde_json::Value>,
            ) {
                $( {
                    let default: Option<serde_json::Value> = $crate::scenario::decode::default!($($default)?);
                    if <$ty as $crate::scenario::decode::Field>::REQUIRED && default.is_none() {
                        required.push($crate::scenario::decode::key_of(stringify!($key)).into());
                    }
                    let schema = <$ty as $crate::scenario::decode::Field>::schema(generator);
                    let described = $crate::scenario::decode::describe_key(schema, &[$($key_doc),*], default);
                    properties.insert($crate::scenario::decode::key_of(stringify!($key)).into(), described);
                } )*
            }

            fn write_keys(&self, out: &mut String) {
                $( {
                    out.push_str(concat!(stringify!($key), "="));
                    $crate::scenario::decode::Field::canonical(&self.$key, out);
                    out.push(',');
                } )*
            }
        }

        impl $(<$q: $bound>)? $crate::scenario::decode::Decode for $name $(<$q>)? {
            fn decode(
                node: &$crate::scenario::document::Node,
                errors: &mut $crate::scenario::diagnostic::Errors,
            ) -> Option<Self> {
                use $crate::scenario::decode::{Section, refuse_unknown, table_of};
                let table = table_of(node, &Self::KEYS.join(", "), errors)?;
                refuse_unknown(table, Self::KEYS, |_| None, errors);
                Self::read(table, &node.place, errors)
            }

            fn canonical(&self, out: &mut String) {
                out.push('{');
                $crate::scenario::decode::Section::write_keys(self, out);
                out.push('}');
            }
        }

        impl $(<$q: $bound>)? schemars::JsonSchema for $name $(<$q>)? {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                let name = String::from(stringify!($name).trim_end_matches("File"));
                $( let name = name + "Of" + &$q::schema_name(); )?
                name.into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
                <Self as $crate::scenario::decode::Section>::describe(generator, &mut properties, &mut required);
                $crate::scenario::decode::object(properties, required, &[$($doc),*])
            }
        }
    };
}

/// The default of a key as JSON, if it has one.
macro_rules! default {
    () => {
        None
    };
    ($default:tt) => {
        Some(serde_json::json!($default))
    };
}

/// Declares a section with several forms, told apart by one key.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        enum $name:ident $(<$q:ident: $bound:path>)? by $tag:ident $(or $fallback:literal)? {
            $( $(#[doc = $form_doc:literal])* $form:ident($ty:ty) = $word:literal, )*
        }
    ) => {
        $(#[doc = $doc])*
        // A file has a handful of these: their size does not matter.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug)]
        pub(super) enum $name $(<$q: $bound>)? {
            $( $(#[doc = $form_doc])* $form($ty), )*
        }

        impl $(<$q: $bound>)? $name $(<$q>)? {
            const WORDS: &'static [&'static str] = &[$($word),*];

            /// The forms that have this key.
            fn forms_with(key: &str) -> Vec<&'static str> {
                use $crate::scenario::decode::Section;
                let mut forms = Vec::new();
                $( if <$ty as Section>::KEYS.contains(&key) { forms.push($word); } )*
                forms
            }
        }

        impl $(<$q: $bound>)? $crate::scenario::decode::Decode for $name $(<$q>)? {
            fn decode(
                node: &$crate::scenario::document::Node,
                errors: &mut $crate::scenario::diagnostic::Errors,
            ) -> Option<Self> {
                use $crate::scenario::decode::{Section, refuse_unknown, table_of, tag_of};
                let tag = stringify!($tag);
                let table = table_of(node, tag, errors)?;
                let fallback: &[&'static str] = &[$($fallback)?];
                let word = tag_of(table, node, tag, Self::WORDS, fallback.first().copied(), errors)?;
                let elsewhere = |key: &str| {
                    let forms = Self::forms_with(key);
                    let listed = $crate::scenario::overrides::listed(forms.iter().copied());
                    (!forms.is_empty())
                        .then(|| format!("`{key}` does not go with {tag} `{word}`; it belongs to {listed}"))
                };
                match word {
                    $( $word => {
                        let known = [<$ty as Section>::KEYS, &[stringify!($tag)]].concat();
                        refuse_unknown(table, &known, elsewhere, errors);
                        <$ty as Section>::read(table, &node.place, errors).map(Self::$form)
                    } )*
                    _ => unreachable!("`tag_of` gives one of the words"),
                }
            }

            fn canonical(&self, out: &mut String) {
                match self {
                    $( Self::$form(section) => {
                        out.push_str(concat!("{", stringify!($tag), "=", $word, ","));
                        $crate::scenario::decode::Section::write_keys(section, out);
                        out.push('}');
                    } )*
                }
            }
        }

        impl $(<$q: $bound>)? schemars::JsonSchema for $name $(<$q>)? {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                let name = String::from(stringify!($name).trim_end_matches("File"));
                $( let name = name + "Of" + &$q::schema_name(); )?
                name.into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let fallback: &[&'static str] = &[$($fallback)?];
                let mut forms: Vec<serde_json::Value> = Vec::new();
                $( {
                    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
                    properties.insert(stringify!($tag).into(), serde_json::json!({ "const": $word }));
                    if fallback.first() != Some(&$word) {
                        required.push(stringify!($tag).into());
                    }
                    <$ty as $crate::scenario::decode::Section>::describe(
                        generator, &mut properties, &mut required,
                    );
                    forms.push(
                        $crate::scenario::decode::object(properties, required, &[$($form_doc),*]).to_value(),
                    );
                } )*
                let description = $crate::scenario::decode::description(&[$($doc),*]);
                schemars::json_schema!({ "description": description, "oneOf": forms })
            }
        }
    };
}

/// Declares a value that is one of a few words.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        enum $name:ident { $( $(#[doc = $word_doc:literal])* $form:ident = $word:literal, )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $( $(#[doc = $word_doc])* $form, )*
        }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the file.
            #[allow(dead_code)]
            pub(super) fn word(self) -> &'static str {
                match self { $( Self::$form => $word, )* }
            }
        }

        impl $crate::scenario::decode::Decode for $name {
            fn decode(
                node: &$crate::scenario::document::Node,
                errors: &mut $crate::scenario::diagnostic::Errors,
            ) -> Option<Self> {
                match $crate::scenario::decode::word_of(node, Self::WORDS, errors)? {
                    $( $word => Some(Self::$form), )*
                    _ => unreachable!("`word_of` gives one of the words"),
                }
            }
            fn canonical(&self, out: &mut String) {
                out.push_str(self.word());
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let description = $crate::scenario::decode::description(&[$($doc),*]);
                let words = vec![$( serde_json::json!({
                    "const": $word,
                    "description": $crate::scenario::decode::description(&[$($word_doc),*]),
                }) ),*];
                schemars::json_schema!({ "description": description, "oneOf": words })
            }
        }
    };
}

pub(super) use {choice, default, section, words};

/// Reads the key that tells the forms of a choice apart.
pub(super) fn tag_of(
    table: &Table,
    node: &Node,
    tag: &str,
    words: &'static [&'static str],
    fallback: Option<&'static str>,
    errors: &mut Errors,
) -> Option<&'static str> {
    match table.get(tag) {
        Some(tag) => word_of(tag, words, errors),
        None => {
            if fallback.is_none() {
                let hint = format!("allowed: {}", super::overrides::listed(words.iter().copied()));
                errors.refuse_with(&node.place, format!("the key `{tag}` is missing"), hint);
            }
            fallback
        }
    }
}

/// Reads one of a few words.
pub(super) fn word_of(
    node: &Node,
    words: &'static [&'static str],
    errors: &mut Errors,
) -> Option<&'static str> {
    let super::document::Value::Text(text) = &node.value else {
        let listed = super::overrides::listed(words.iter().copied());
        wrong_kind(node, &format!("one of {listed}"), errors);
        return None;
    };
    if let Some(word) = words.iter().find(|word| *word == text) {
        return Some(word);
    }
    let listed = super::overrides::listed(words.iter().copied());
    let message = format!("`{node}` is not one of {listed}");
    match refused::not_modelled(text) {
        Some(instead) => errors.refuse_with(&node.place, format!("`{node}` is not modelled"), instead),
        None => match did_you_mean(text, words.iter().copied()) {
            Some(hint) => errors.refuse_with(&node.place, message, hint),
            None => errors.refuse(&node.place, message),
        },
    }
    None
}
