//! Keys of the target. They come from the environment or a file, and are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The variable that is read when a workload names none.
pub const DEFAULT_VARIABLE: &str = "TIDEGATE_API_KEY";

/// A key. Whoever formats it reads `Key(...)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key as it was given; surrounding white space is none of it. `None` when nothing is left.
    pub fn new(text: &str) -> Option<Key> {
        let text = text.trim();
        (!text.is_empty()).then(|| Key(text.to_owned()))
    }

    /// The value of the header `authorization`.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without this key in it: what a server answers may repeat what it was sent.
    pub(super) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(...)")
    }
}

/// Where keys come from.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The one of a file, for everybody.
    file: Option<Key>,
    /// By name of the variable.
    variables: BTreeMap<String, Key>,
    /// Whether whoever has none uses the name of its workload, which is what an emulated gateway knows it by.
    pub by_name: bool,
}

impl Keys {
    /// No keys but the names of workloads.
    pub fn by_name() -> Keys {
        Keys { by_name: true, ..Keys::default() }
    }

    /// Reads the variables of these names from the environment, and `file` when there is one.
    ///
    /// # Errors
    /// When the file cannot be read or is empty: what is wrong, without anything of what is in it.
    pub fn read<'a>(file: Option<&Path>, variables: impl Iterator<Item = &'a str>) -> Result<Keys, String> {
        let mut keys = Keys::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
            let key = Key::new(&text).ok_or_else(|| format!("`{}` is empty", path.display()))?;
            keys.file = Some(key);
        }
        for name in variables.chain([DEFAULT_VARIABLE]) {
            if let Some(key) = std::env::var(name).ok().as_deref().and_then(Key::new) {
                keys.variables.insert(name.to_owned(), key);
            }
        }
        Ok(keys)
    }

    /// The key of a workload that names this variable: that of the file first, then its own variable, then the default one.
    pub fn of(&self, variable: Option<&str>, workload: &str) -> Option<Key> {
        let named = || variable.and_then(|name| self.variables.get(name));
        let found = self.file.as_ref().or_else(named).or_else(|| self.variables.get(DEFAULT_VARIABLE));
        found.cloned().or_else(|| if self.by_name { Key::new(workload) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_written() {
        let key = Key::new(" sk-canary\n").unwrap();
        assert_eq!(
            format!("{key:?} {:?}", Keys { file: Some(key.clone()), ..Keys::default() }).find("canary"),
            None
        );
        assert_eq!(key.bearer(), "Bearer sk-canary");
        assert_eq!(key.hide("wrong key sk-canary!"), "wrong key ***!");
        assert_eq!(Key::new("  \n"), None);
    }

    #[test]
    fn the_name_of_a_workload_is_the_last_resort() {
        let keys = Keys { by_name: true, ..Keys::default() };
        assert_eq!(keys.of(None, "chat").unwrap().bearer(), "Bearer chat");
        assert_eq!(Keys::default().of(Some("NOBODY_SETS_THIS"), "chat"), None);
        let file = Keys { file: Key::new("from-file"), by_name: true, ..Keys::default() };
        assert_eq!(file.of(None, "chat").unwrap().bearer(), "Bearer from-file");
    }
}
