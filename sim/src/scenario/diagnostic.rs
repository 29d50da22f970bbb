//! What is wrong with a scenario, as plain data: where, what, and what to do about it.
//!
//! Nothing here prints. A command turns a [`Diagnostic`] into whatever its users read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that was read: the scenario file, or one `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The file's path as given, or `--set`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Index into [`Diagnostics::sources`].
    pub source: usize,
    /// Bytes of that source to underline. Always inside it and on character boundaries.
    pub span: Range<usize>,
    /// The key it is about, such as `pools.chat.replicas`; empty when it is about the whole text.
    pub path: String,
    /// One lower-case sentence with the offending value in backticks and what is allowed.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The variant in which it appears; `None` when it is wrong in the base already.
    pub variant: Option<String>,
}

/// Everything that is wrong with a scenario, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// At least one.
    pub items: Vec<Diagnostic>,
    /// The texts the items point into; the scenario file is the first.
    pub sources: Vec<SourceText>,
}

impl Diagnostics {
    /// Line and column, both from 1, at which an item begins. Columns count characters.
    pub fn position(&self, item: &Diagnostic) -> (usize, usize) {
        let before = &self.sources[item.source].text[..item.span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The text an item underlines.
    pub fn underlined(&self, item: &Diagnostic) -> &str {
        &self.sources[item.source].text[item.span.clone()]
    }
}

impl Diagnostic {
    /// `key.path: message`, and the variant it appears in.
    pub fn headline(&self) -> String {
        let mut line = String::new();
        if let Some(variant) = &self.variant {
            line.push_str(&format!("in variant `{variant}`: "));
        }
        if !self.path.is_empty() {
            line.push_str(&format!("{}: ", self.path));
        }
        line + &self.message
    }
}

impl fmt::Display for Diagnostics {
    /// `file:line:column: key.path: message`, a `hint:` line where there is one, for each item.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            let (line, column) = self.position(item);
            let separator = if index > 0 { "\n" } else { "" };
            let name = &self.sources[item.source].name;
            write!(f, "{separator}error: {name}:{line}:{column}: {}", item.headline())?;
            if let Some(hint) = &item.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Where a value stands: what an error about it underlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the source text.
    pub source: usize,
    /// Bytes in it.
    pub span: Range<usize>,
    /// Key path.
    pub path: Arc<str>,
}

impl Place {
    /// The place of `key` inside the table at this place, underlining the table.
    pub(super) fn key(&self, key: &str) -> Place {
        Place { path: join(&self.path, key).into(), ..self.clone() }
    }
}

impl Place {
    /// The place of `key` beside the value at this place.
    pub(super) fn sibling(&self, key: &str) -> Place {
        let parent = self.path.rfind('.').map_or("", |at| &self.path[..at]);
        Place { path: join(parent, key).into(), ..self.clone() }
    }
}

/// `path.key`, the key quoted when it is not a bare TOML key.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if bare { key.to_owned() } else { format!("{:?}", shorten(key)) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// At most 60 characters of a value a user wrote, so that a message stays one line.
pub(super) fn shorten(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= 60 { line } else { line.chars().take(57).collect::<String>() + "..." }
}

/// Errors found so far.
#[derive(Debug, Default)]
pub(super) struct Errors {
    items: Vec<Diagnostic>,
    /// Sources and bytes of them that are shown to nobody.
    secrets: Vec<(usize, Range<usize>)>,
}

impl Errors {
    /// Adds an error about the value at `place`.
    pub(super) fn refuse(&mut self, place: &Place, message: impl Into<String>) {
        self.push(place, message.into(), None);
    }

    /// Adds an error and what to do about it.
    pub(super) fn refuse_with(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(place, message.into(), Some(hint.into()));
    }

    /// As [`Errors::refuse_with`], of a value that may be a secret: no excerpt of the file shows it.
    pub(super) fn refuse_secret(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.secrets.push((place.source, place.span.clone()));
        self.refuse_with(place, message, hint);
    }

    fn push(&mut self, place: &Place, message: String, hint: Option<String>) {
        self.items.push(Diagnostic {
            source: place.source,
            span: place.span.clone(),
            path: place.path.to_string(),
            message,
            hint,
            variant: None,
        });
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.items.len()
    }

    /// Takes over the errors of `variant`, except those the base has already.
    pub(super) fn absorb(&mut self, other: Errors, variant: &str) {
        self.secrets.extend(other.secrets);
        for mut item in other.items {
            if !self.items.iter().any(|known| known.variant.is_none() && *known == item) {
                item.variant = Some(variant.to_owned());
                self.items.push(item);
            }
        }
    }

    /// The errors in the order of their place, spans clipped to their sources.
    pub(super) fn into_diagnostics(mut self, mut sources: Vec<SourceText>) -> Diagnostics {
        self.items.sort_by_key(|item| (item.source, item.span.start, item.span.end));
        self.items.dedup();
        for item in &mut self.items {
            let text = &sources[item.source].text;
            let boundary = |mut at: usize| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let start = boundary(item.span.start);
            item.span = start..boundary(item.span.end).max(start);
        }
        for (source, span) in self.secrets {
            let text = &mut sources[source].text;
            if let Some(secret) = text.get(span.clone()) {
                // As many bytes, so that every place stays where it is.
                text.replace_range(span, &"*".repeat(secret.len()));
            }
        }
        Diagnostics { items: self.items, sources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, span: Range<usize>) -> Diagnostics {
        let mut errors = Errors::default();
        let place = Place { source: 0, span, path: "pools.chat".into() };
        errors.refuse_with(&place, "`0` is not in 1..=9", "write more");
        errors.into_diagnostics(vec![SourceText { name: "a.toml".into(), text: text.into() }])
    }

    #[test]
    fn an_error_prints_file_position_path_value_and_hint() {
        let found = one("a = 1\nµ = 0\n", 11..12);
        assert_eq!(found.to_string(), "error: a.toml:2:5: pools.chat: `0` is not in 1..=9\nhint: write more");
        assert_eq!(found.underlined(&found.items[0]), "0");
    }

    #[test]
    fn a_span_beyond_the_text_or_inside_a_character_is_clipped() {
        assert_eq!(one("µ", 1..40).items[0].span, 0..2);
        assert_eq!(one("", 3..4).items[0].span, 0..0);
    }

    #[test]
    fn a_variant_reports_only_what_the_base_does_not() {
        let place = Place { source: 0, span: 0..1, path: "x".into() };
        let mut base = Errors::default();
        base.refuse(&place, "first");
        let mut other = Errors::default();
        other.refuse(&place, "first");
        other.refuse(&place, "second");
        base.absorb(other, "big");
        assert_eq!(base.count(), 2);
        assert_eq!(base.items[1].headline(), "in variant `big`: x: second");
    }
}
