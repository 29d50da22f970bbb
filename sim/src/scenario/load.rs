//! Loading: a file, its variants and its overrides in; a scenario or all of its errors out.

use super::Scenario;
use super::decode::{Section, refuse_unknown};
use super::diagnostic::{Diagnostics, Errors, Place, SourceText};
use super::document::{self, Node};
use super::file::ScenarioFile;
use super::overrides::{self, Override};
use super::resolve::{self, Context, Traces};
use super::variants::Variants;
use std::path::{Path, PathBuf};

/// What to change in a scenario file while loading it.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `KEY=VALUE` each: a key path and a TOML value (or a bare word, taken as a string). Applied last, in order.
    pub set: Vec<String>,
    /// Name of the variant to apply; `None` for the base.
    pub variant: Option<String>,
    /// What `${TRACE}` stands for.
    pub trace: Option<PathBuf>,
}

/// A scenario and all its variants, every one of them valid.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The scenario without a variant.
    pub base: Scenario,
    /// Each variant, in the order of the file.
    pub variants: Vec<Scenario>,
}

/// Loads one scenario: the base, or the variant that `overrides` names.
///
/// Reads the file and every trace it names (once, whole: a bad row is an error here, not in a run).
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Scenario, Diagnostics> {
    load_str(&path.to_string_lossy(), &read(path)?, overrides)
}

/// As [`load`], of a text that errors will call `name`; relative paths in it are relative to the folder of `name`.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str, overrides: &Overrides) -> Result<Scenario, Diagnostics> {
    let mut loader = Loader::new(name, text, overrides);
    let scenario = loader.root().and_then(|(root, variants)| match &overrides.variant {
        None => loader.build(&root, None),
        Some(wanted) => {
            let variant = loader.find(&variants, wanted)?;
            loader.build(&root, Some(&variant))
        }
    });
    loader.finish(scenario)
}

/// Loads a scenario and every variant of it.
///
/// # Errors
/// Everything that is wrong with the base, and with each variant that the base does not have.
pub fn check(path: &Path, overrides: &Overrides) -> Result<Checked, Diagnostics> {
    check_str(&path.to_string_lossy(), &read(path)?, overrides)
}

/// As [`check`], of a text.
///
/// # Errors
/// As [`check`].
pub fn check_str(name: &str, text: &str, overrides: &Overrides) -> Result<Checked, Diagnostics> {
    let mut loader = Loader::new(name, text, overrides);
    let checked = loader.all(overrides.variant.as_deref());
    loader.finish(checked)
}

/// Names of the variants a file declares, in its order; empty when it cannot be parsed.
///
/// # Errors
/// When the file cannot be read or is not TOML.
pub fn variant_names(path: &Path) -> Result<Vec<String>, Diagnostics> {
    let text = read(path)?;
    let name = path.to_string_lossy();
    let mut loader = Loader::new(&name, &text, &Overrides::default());
    let names =
        loader.root().map(|(_, variants)| variants.entries.into_iter().map(|entry| entry.0).collect());
    match names {
        Some(names) => Ok(names),
        None => loader.finish(None),
    }
}

/// The JSON Schema of scenario files (draft 2020-12).
///
/// It describes the shape: every key, its unit and its range. What only the whole can tell (names that must exist, parts
/// that must agree) is left to [`load`].
pub fn schema() -> serde_json::Value {
    schema_of::<ScenarioFile>("tidegate scenario")
}

/// The schema of a whole file, with its definitions.
pub(super) fn schema_of<T: schemars::JsonSchema>(title: &str) -> serde_json::Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut schema = T::json_schema(&mut generator);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), title.into());
    schema.insert("$defs".into(), generator.take_definitions(true).into());
    schema.to_value()
}

fn read(path: &Path) -> Result<String, Diagnostics> {
    document::read(path, "scenario").map_err(|(message, hint)| {
        let mut errors = Errors::default();
        errors.refuse_with(&Place { source: 0, span: 0..0, path: "".into() }, message, hint);
        let name = path.to_string_lossy().into_owned();
        errors.into_diagnostics(vec![SourceText { name, text: String::new() }])
    })
}

/// A variant: its name and what it changes.
type Variant = (String, Vec<Override>);

struct Loader {
    /// File stem.
    name: String,
    sources: Vec<SourceText>,
    errors: Errors,
    /// The `--set` overrides, read once.
    set: Vec<Override>,
    traces: Traces,
}

impl Loader {
    fn new(name: &str, text: &str, overrides: &Overrides) -> Self {
        let path = Path::new(name);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let stem =
            path.file_stem().map_or_else(|| "scenario".into(), |stem| stem.to_string_lossy().into_owned());
        let mut sources = vec![SourceText { name: name.into(), text: text.into() }];
        let mut errors = Errors::default();
        let set = overrides
            .set
            .iter()
            .filter_map(|flag| overrides::from_flag(flag, &mut sources, &mut errors))
            .collect();
        let traces = Traces::new(folder, overrides.trace.clone());
        Loader { name: stem, sources, errors, set, traces }
    }

    /// The document and its variants.
    fn root(&mut self) -> Option<(Node, Variants)> {
        let root = document::parse(0, &self.sources[0].text, &mut self.errors)?;
        let variants = Variants::of(root.as_table()?, &mut self.errors);
        Some((root, variants))
    }

    /// The base and every variant; what is wrong with a variant is reported unless the base has it already.
    fn all(&mut self, wanted: Option<&str>) -> Option<Checked> {
        let (root, variants) = self.root()?;
        if let Some(wanted) = wanted {
            self.find(&variants, wanted)?;
        }
        let base = self.build(&root, None);
        let mut resolved = Vec::new();
        for (name, _, set) in &variants.entries {
            let Some(set) = set else { continue };
            let so_far = std::mem::take(&mut self.errors);
            resolved.extend(self.build(&root, Some(&(name.clone(), set.clone()))));
            let found = std::mem::replace(&mut self.errors, so_far);
            self.errors.absorb(found, name);
        }
        Some(Checked { base: base?, variants: resolved })
    }

    /// The variant `--variant` names.
    fn find(&mut self, variants: &Variants, wanted: &str) -> Option<Variant> {
        if let Some((name, _, set)) = variants.entries.iter().find(|(name, ..)| name == wanted) {
            return set.clone().map(|set| (name.clone(), set));
        }
        let names = || variants.entries.iter().map(|(name, ..)| name.as_str());
        let hint = super::decode::did_you_mean(wanted, names())
            .unwrap_or_else(|| format!("declared: {}", overrides::listed(names())));
        let place = Place { source: 0, span: 0..0, path: "variants".into() };
        self.errors.refuse_with(&place, format!("no variant is named `{wanted}`"), hint);
        None
    }

    /// Applies a variant and the `--set`s, decodes, resolves.
    fn build(&mut self, root: &Node, variant: Option<&Variant>) -> Option<Scenario> {
        let mut root = root.clone();
        let from_variant = variant.iter().flat_map(|(_, set)| set);
        for change in from_variant.chain(&self.set) {
            change.apply(&mut root, &mut self.errors);
        }
        root.set_paths("");
        let table = root.as_table()?;
        refuse_unknown(table, ScenarioFile::KEYS, |_| None, &mut self.errors);
        // The variants were read before; reading them again would report them twice.
        let mut table = table.clone();
        let variants = table.get("variants").and_then(Node::as_table);
        let variants = variants.map_or_else(Vec::new, |names| names.keys().map(str::to_owned).collect());
        table.entries.retain(|entry| entry.key != "variants");
        let file = ScenarioFile::read(&table, &root.place, &mut self.errors)?;
        let mut cx = Context {
            errors: &mut self.errors,
            traces: &mut self.traces,
            caveats: Vec::new(),
            notes: Vec::new(),
            variants,
            sources: &mut self.sources,
        };
        resolve::resolve(&file, &self.name, variant.map(|(name, _)| name.as_str()), &mut cx)
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Diagnostics> {
        match value {
            Some(value) if self.errors.count() == 0 => Ok(value),
            _ => {
                let found = self.errors.into_diagnostics(self.sources);
                assert!(!found.items.is_empty(), "a scenario was refused without a reason");
                Err(found)
            }
        }
    }
}
