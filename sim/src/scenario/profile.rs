//! Profiles: those that are built in, and files of users.

use super::decode::{At, Section as _, did_you_mean, refuse_unknown};
use super::diagnostic::{Diagnostics, Errors, Place, SourceText, shorten};
use super::document;
use super::leaf::Text;
use super::overrides::listed;
use super::profile_file::ProfileFile;
use super::resolve;
use crate::limits::Algorithm;
use crate::profile::{Limit, Mechanism, Profile};
use std::path::Path;

/// Built-in profiles: id and text.
const BUILT_IN: [(&str, &str); 3] = [
    ("digitalocean-inference", include_str!("../../profiles/digitalocean-inference.toml")),
    ("databricks-model-serving", include_str!("../../profiles/databricks-model-serving.toml")),
    ("databricks-gcp-preview", include_str!("../../profiles/databricks-gcp-preview.toml")),
];

/// An example of a user's own profile, with comments.
pub const TEMPLATE: &str = include_str!("../../profiles/template.toml");

/// A profile as a file states it, overlays and all, before a scenario chooses and changes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is documented.
    pub profile: Profile,
    /// Limits in the order of the file.
    pub limits: Vec<LoadedLimit>,
    /// The effective values in one canonical form: what the hash of a scenario is over.
    pub(super) canonical: String,
}

/// A limit of a profile. It counts nothing yet: its keys have no strides, it has no meter.
#[derive(Clone, Debug)]
pub struct LoadedLimit {
    /// The limit.
    pub limit: Limit,
    /// The set it belongs to; `None` when it is always in force.
    pub overlay: Option<String>,
    /// The set that lifts it.
    pub lifted_by: Option<String>,
    /// Whether the vendor publishes no value, so that a scenario which it concerns must give one.
    pub required: bool,
    /// Whether a scenario may change it because the vendor agreed.
    pub raisable: bool,
    /// Above this many units in a window, a sliding log becomes a token bucket.
    pub max_log: u64,
    /// Capacity of a token bucket, where the file gives one.
    pub burst: Option<u64>,
    /// Whether a token bucket counts it because a sliding log would be too long.
    pub(super) switched: bool,
}

impl LoadedLimit {
    /// Whether it is in force when these overlays are on.
    pub fn is_on(&self, overlays: &[String]) -> bool {
        self.overlay.as_ref().is_none_or(|name| overlays.contains(name))
            && self.lifted_by.as_ref().is_none_or(|name| !overlays.contains(name))
    }

    /// Makes a rate consistent after its limit or algorithm was set: the highest value and the capacity of a bucket
    /// follow the limit (without one, the highest value it will be set to), and a sliding log that would be too long
    /// becomes a bucket. Says so when it has.
    pub(super) fn settle(&mut self) -> Option<String> {
        let Mechanism::Rate { limit, most, algorithm, burst, .. } = &mut self.limit.mechanism else {
            return None;
        };
        *most = limit.unwrap_or(0).max(*most);
        let switched = *algorithm == Algorithm::SlidingLog && *most > self.max_log;
        if switched {
            *algorithm = Algorithm::TokenBucket;
        }
        self.switched |= switched;
        // Where nothing limits until a value is set, the first bucket is that of the highest value.
        *burst = self.burst.or(*limit).unwrap_or(*most).max(1);
        self.switched.then(|| {
            format!(
                "limit `{}` is counted by a token bucket, because a sliding log of {most} units is longer than the {} \
                 of `max_log`: it admits a different set",
                self.limit.name, self.max_log
            )
        })
    }
}

/// Ids of the built-in profiles.
pub fn built_in() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(id, _)| *id)
}

/// ``did you mean `x`?`` when one of `known` is within a few typing errors of `wrong`.
pub fn suggestion<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    did_you_mean(wrong, known)
}

/// Loads a built-in profile by its id, or a file: what contains a `/` or ends in `.toml` is a path.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(name: &str) -> Result<Loaded, Diagnostics> {
    let (shown, text) = match named(name) {
        Found::BuiltIn(id, text) => (source_name(id), text.to_owned()),
        Found::File => {
            let text = document::read(Path::new(name), "profile");
            (name.to_owned(), text.map_err(|(message, hint)| nothing_read(name, message, hint))?)
        }
        Found::Unknown(hint) => {
            let message = format!("no profile is called `{}`", shorten(name));
            return Err(nothing_read("profile", message, hint));
        }
    };
    load_str(&shown, &text)
}

/// As [`load`], of a text that errors will call `name`.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    let mut errors = Errors::default();
    let loaded = read(0, text, &mut errors);
    match loaded {
        Some(loaded) if errors.count() == 0 => Ok(loaded),
        _ => {
            let found = errors.into_diagnostics(vec![SourceText { name: name.into(), text: text.into() }]);
            assert!(!found.items.is_empty(), "a profile was refused without a reason");
            Err(found)
        }
    }
}

/// The profile that a scenario names, relative to the scenario's folder. What is wrong inside it underlines its own
/// text, which is added to `sources` once.
pub(super) fn load_named(
    name: &At<Text>,
    folder: &Path,
    sources: &mut Vec<SourceText>,
    errors: &mut Errors,
) -> Option<Loaded> {
    let written = name.value.0.as_str();
    let (shown, text) = match named(written) {
        Found::BuiltIn(id, text) => (source_name(id), Some(text.to_owned())),
        Found::File => (folder.join(written).to_string_lossy().into_owned(), None),
        Found::Unknown(hint) => {
            errors.refuse_with(&name.place, format!("no profile is called `{}`", shorten(written)), hint);
            return None;
        }
    };
    let known = sources.iter().position(|source| source.name == shown);
    let source = match known {
        Some(source) => source,
        None => {
            let text = match text {
                Some(text) => text,
                None => match document::read(Path::new(&shown), "profile") {
                    Ok(text) => text,
                    Err((message, hint)) => {
                        errors.refuse_with(&name.place, format!("`{written}`: {message}"), hint);
                        return None;
                    }
                },
            };
            sources.push(SourceText { name: shown, text });
            sources.len() - 1
        }
    };
    let text = sources[source].text.clone();
    read(source, &text, errors)
}

/// The JSON Schema of profile files (draft 2020-12): their shape, as [`super::schema`] for scenarios.
pub fn schema() -> serde_json::Value {
    super::load::schema_of::<ProfileFile>("tidegate profile")
}

/// What a name means.
enum Found {
    BuiltIn(&'static str, &'static str),
    File,
    /// Neither; what to do about it.
    Unknown(String),
}

fn named(name: &str) -> Found {
    if name.contains('/') || name.ends_with(".toml") {
        return Found::File;
    }
    if let Some((id, text)) = BUILT_IN.iter().find(|(id, _)| *id == name) {
        return Found::BuiltIn(id, text);
    }
    let hint = did_you_mean(name, built_in()).unwrap_or_else(|| {
        format!(
            "built in: {}; a path has a `/` or ends in `.toml`: `./{}.toml`",
            listed(built_in()),
            shorten(name)
        )
    });
    Found::Unknown(hint)
}

/// What errors call a built-in profile.
fn source_name(id: &str) -> String {
    format!("profile {id}")
}

fn nothing_read(name: &str, message: String, hint: String) -> Diagnostics {
    let mut errors = Errors::default();
    errors.refuse_with(&Place { source: 0, span: 0..0, path: "".into() }, message, hint);
    errors.into_diagnostics(vec![SourceText { name: name.into(), text: String::new() }])
}

fn read(source: usize, text: &str, errors: &mut Errors) -> Option<Loaded> {
    let root = document::parse(source, text, errors)?;
    let table = root.as_table()?;
    refuse_unknown(table, ProfileFile::KEYS, |_| None, errors);
    let file = ProfileFile::read(table, &root.place, errors)?;
    resolve::profile::resolve(&file, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_loads_under_its_id() {
        for id in built_in() {
            let loaded = load(id).unwrap_or_else(|found| panic!("{found}"));
            assert_eq!(loaded.profile.id, id);
            assert!(!loaded.profile.rows.is_empty() && !loaded.limits.is_empty(), "{id}");
        }
    }

    #[test]
    fn a_bucket_without_a_limit_holds_what_it_will_be_set_to() {
        let limit = "[limits.r]\nkind = \"rate\"\nvalue = \"none/min\"\nper = [\"endpoint\"]\nprovenance = \"choice\"\n\
                     algorithm = \"token-bucket\"\n";
        let text = format!("[profile]\nid = \"p\"\ntitle = \"P\"\nas_of = \"undated\"\n{limit}");
        let loaded = load_str("p", &text).unwrap_or_else(|found| panic!("{found}"));
        let mut one = loaded.limits[0].clone();
        let burst = |one: &LoadedLimit| match one.limit.mechanism {
            Mechanism::Rate { limit: None, burst, .. } => burst,
            _ => panic!("a rate without a limit"),
        };
        assert_eq!(burst(&one), 1);
        let Mechanism::Rate { most, .. } = &mut one.limit.mechanism else { panic!("a rate") };
        *most = 2_000_000;
        assert_eq!((one.settle(), burst(&one)), (None, 2_000_000));
    }

    #[test]
    fn the_template_loads() {
        let loaded = load_str("template", TEMPLATE).unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(loaded.limits.len(), 7);
    }
}
