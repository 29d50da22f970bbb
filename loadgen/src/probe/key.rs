//! Whose key a request is sent with.

use crate::client::key::{KEY_ENV, Key, KeyError};
use std::collections::BTreeMap;
use std::path::Path;

/// Where keys come from: a file, the environment, or the names of workloads.
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

    /// Reads `file` when there is one, these variables, and the one that is read where a workload names none.
    ///
    /// # Errors
    /// When what is there cannot be a key.
    pub fn read<'a>(file: Option<&Path>, variables: impl Iterator<Item = &'a str>) -> Result<Keys, KeyError> {
        let mut keys = Keys { file: file.map(Key::from_file).transpose()?, ..Keys::default() };
        for name in variables.chain([KEY_ENV]) {
            if let Some(key) = Key::from_env(name)? {
                keys.variables.insert(name.to_owned(), key);
            }
        }
        Ok(keys)
    }

    /// `text` without any key that is a secret: what a server answers may repeat what it was sent.
    pub(super) fn redact(&self, text: &str) -> String {
        let secrets = self.file.iter().chain(self.variables.values());
        secrets.fold(text.to_owned(), |text, key| key.redact(&text))
    }

    /// The key of a workload that names this variable: that of the file first, then its own variable, then the default one.
    pub fn of(&self, variable: Option<&str>, workload: &str) -> Option<Key> {
        let named = || variable.and_then(|name| self.variables.get(name));
        let found = self.file.as_ref().or_else(named).or_else(|| self.variables.get(KEY_ENV));
        found.cloned().or_else(|| Key::new(workload, "a workload").ok().filter(|_| self.by_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_workload_is_the_last_resort() {
        let bearer = |key: Option<Key>| key.map(|key| key.header().to_str().unwrap().to_owned());
        let keys = Keys::by_name();
        assert_eq!(bearer(keys.of(None, "chat")).as_deref(), Some("Bearer chat"));
        assert_eq!(Keys::default().of(Some("NOBODY_SETS_THIS"), "chat"), None);
        let file = Keys { file: Key::new("from-file", "a test").ok(), ..keys };
        assert_eq!(file.redact("from-file, chat"), "***, chat", "the name of a workload is no secret");
        assert_eq!(bearer(file.of(None, "chat")).as_deref(), Some("Bearer from-file"));
    }
}
