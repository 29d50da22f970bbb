//! API keys: only from the environment or a file, never printed.

use hyper::header::HeaderValue;
use std::fmt;
use std::path::{Path, PathBuf};

/// Environment variable of the key of workloads that name no other.
pub const KEY_ENV: &str = "TIDEGATE_API_KEY";

/// Characters of the shortest key that is taken for a secret.
const SECRET_LEAST: usize = 8;

/// A secret. Neither `Debug` nor anything else shows it; [`Key::header`] is the one way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no key. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// It holds nothing that can be sent.
    #[error("{place} holds no key: one line of visible ASCII is needed")]
    NotAKey {
        /// Where it was to be.
        place: String,
    },
}

impl Key {
    /// A key out of `place`, which is named when it is none. White space around it is dropped.
    ///
    /// # Errors
    /// When it is empty or has characters that no header may have.
    pub fn new(text: &str, place: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::NotAKey { place: place.to_owned() });
        }
        Ok(Key(text.to_owned()))
    }

    /// The key in an environment variable; `None` when that is not set.
    ///
    /// # Errors
    /// When its value cannot be a key.
    pub fn from_env(name: &str) -> Result<Option<Self>, KeyError> {
        match std::env::var_os(name) {
            None => Ok(None),
            Some(value) => {
                let place = format!("the environment variable `{name}`");
                Key::new(value.to_str().unwrap_or_default(), &place).map(Some)
            }
        }
    }

    /// The key in a file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Key::new(&text, &format!("the file `{}`", path.display()))
    }

    /// `Bearer KEY`, marked so that no HTTP library prints it.
    pub fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).expect("a key is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// `text` without the key, should a server have put it there. What is shorter than a secret can be (the name of a
    /// workload, which an emulator takes for a key) stays: to cut it out would garble every word that has it.
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < SECRET_LEAST {
            return text.to_owned();
        }
        text.replace(&self.0, "***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "sk-canary-7f3a9";

    #[test]
    fn the_name_of_a_workload_is_no_secret_that_garbles_words() {
        let key = Key::new("m", "a test").unwrap();
        assert_eq!(key.redact("rate_limit_exceeded"), "rate_limit_exceeded");
        assert_eq!(Key::new(CANARY, "a test").unwrap().redact(&format!("no {CANARY}")), "no ***");
    }

    #[test]
    fn a_key_is_shown_by_nothing_but_its_header() {
        let key = Key::new(&format!(" {CANARY}\n"), "a test").unwrap();
        assert!(!format!("{key:?} {:?}", key.header()).contains(CANARY));
        assert_eq!(key.header().as_bytes(), format!("Bearer {CANARY}").as_bytes());
        assert_eq!(key.redact(&format!("bad key {CANARY}!")), "bad key ***!");
    }

    #[test]
    fn what_is_no_key_is_named_by_its_place_and_not_shown() {
        for text in ["", "  ", "two words", "sk-\u{e9}", "a\nb"] {
            let error = Key::new(text, "the file `k`").unwrap_err().to_string();
            assert_eq!(error, "the file `k` holds no key: one line of visible ASCII is needed");
        }
    }
}
