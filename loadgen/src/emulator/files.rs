//! Files that clients upload, and those that jobs write: in memory, bounded.

use super::batches::Results;
use super::wire::keys::Caller;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

/// How long an address for an upload or a download is good.
pub const ADDRESS_LASTS: Duration = Duration::from_secs(15 * 60);
/// Files that are kept; more are refused.
const FILES_MOST: usize = 100_000;

/// All files.
#[derive(Debug)]
pub struct Store {
    files: BTreeMap<u64, File>,
    /// What tokens are for: the file, and until when (since the epoch).
    tokens: BTreeMap<String, (u64, Duration)>,
    next: u64,
    bytes: u64,
    most: u64,
}

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its number.
    pub number: u64,
    /// Whose it is: nobody else sees it.
    pub owner: Caller,
    /// What its owner calls it.
    pub name: String,
    /// What it is for: `batch`, `batch_output`.
    pub purpose: String,
    /// When it was made, seconds of the epoch.
    pub created: u64,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing yet: its upload is awaited.
    Awaited,
    /// What was uploaded.
    Uploaded(Bytes),
    /// The answers of a job, or what went wrong with its requests; written when it is read.
    Results {
        /// Of which job.
        results: Arc<Results>,
        /// Whether it is about what went wrong.
        errors: bool,
        /// How long it will be.
        bytes: u64,
    },
}

impl File {
    /// The id that clients know it by.
    pub fn id(&self) -> String {
        id_of(self.number)
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Awaited => 0,
            Content::Uploaded(bytes) => bytes.len() as u64,
            Content::Results { bytes, .. } => *bytes,
        }
    }

    /// What of it is held in memory.
    fn held(&self) -> u64 {
        match &self.content {
            Content::Uploaded(bytes) => bytes.len() as u64,
            Content::Awaited | Content::Results { .. } => 0,
        }
    }
}

fn id_of(number: u64) -> String {
    format!("file-{number:012x}")
}

fn number_of(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("file-")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (id_of(number) == id).then_some(number)
}

/// There is no room for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Store {
    /// An empty store of at most `most` bytes.
    pub fn new(most: u64) -> Self {
        Store { files: BTreeMap::new(), tokens: BTreeMap::new(), next: 1, bytes: 0, most }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Keeps a file.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn add(
        &mut self,
        owner: Caller,
        name: String,
        purpose: &str,
        created: u64,
        content: Content,
    ) -> Result<File, NoRoom> {
        let file = File { number: self.next, owner, name, purpose: purpose.to_owned(), created, content };
        self.take(file.held())?;
        if self.files.len() >= FILES_MOST {
            self.give_back(file.held());
            return Err(NoRoom);
        }
        self.next += 1;
        self.files.insert(file.number, file.clone());
        Ok(file)
    }

    /// Counts bytes that something else holds.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn take(&mut self, bytes: u64) -> Result<(), NoRoom> {
        if self.bytes.saturating_add(bytes) > self.most {
            return Err(NoRoom);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Counts them no more.
    pub fn give_back(&mut self, bytes: u64) {
        assert!(bytes <= self.bytes, "{bytes} bytes are given back of {}", self.bytes);
        self.bytes -= bytes;
    }

    /// A file of that id, when it is its owner who asks.
    pub fn get(&self, owner: Caller, id: &str) -> Option<&File> {
        self.files.get(&number_of(id)?).filter(|file| file.owner == owner)
    }

    /// Files of an owner, newest first.
    pub fn of(&self, owner: Caller) -> impl Iterator<Item = &File> {
        self.files.values().rev().filter(move |file| file.owner == owner)
    }

    /// Forgets a file; whether there was one.
    pub fn delete(&mut self, owner: Caller, id: &str) -> bool {
        if self.get(owner, id).is_none() {
            return false;
        }
        let number = number_of(id).expect("it was found");
        let file = self.files.remove(&number).expect("it was found");
        self.give_back(file.held());
        self.tokens.retain(|_, (of, _)| *of != number);
        true
    }

    /// A token that is good for a file until [`ADDRESS_LASTS`] from `now` (since the epoch), and until when.
    pub fn token(&mut self, number: u64, now: Duration) -> (String, Duration) {
        self.tokens.retain(|_, (_, until)| *until > now);
        let until = now + ADDRESS_LASTS;
        // Keys of the standard library's hashers come from the system's source of randomness.
        let word = || RandomState::new().build_hasher().finish();
        let token = format!("{:016x}{:016x}", word(), word());
        self.tokens.insert(token.clone(), (number, until));
        (token, until)
    }

    /// The file that a token is good for.
    pub fn by_token(&self, token: &str, now: Duration) -> Option<&File> {
        let (number, until) = self.tokens.get(token)?;
        self.files.get(number).filter(|_| now < *until)
    }

    /// Fills a file whose upload is awaited; a second upload replaces the first.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn fill(&mut self, number: u64, bytes: Bytes) -> Result<(), NoRoom> {
        let held = self.files.get(&number).map_or(0, File::held);
        self.give_back(held);
        if let Err(no_room) = self.take(bytes.len() as u64) {
            self.bytes += held;
            return Err(no_room);
        }
        match self.files.get_mut(&number) {
            Some(file) => file.content = Content::Uploaded(bytes),
            None => self.give_back(bytes.len() as u64),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Caller = Caller { workload: 0, tenant: 0, batch: Some(0) };
    const OTHER: Caller = Caller { workload: 0, tenant: 1, batch: Some(0) };

    fn add(store: &mut Store, bytes: usize) -> Result<String, NoRoom> {
        let content = Content::Uploaded(vec![b'x'; bytes].into());
        store.add(ONE, "x.jsonl".into(), "batch", 1, content).map(|file| file.id())
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let mut store = Store::new(100);
        let first = add(&mut store, 60).unwrap();
        assert_eq!(add(&mut store, 41), Err(NoRoom));
        add(&mut store, 40).unwrap();
        assert_eq!((store.bytes(), store.len()), (100, 2));
        assert!(!store.delete(OTHER, &first), "nobody else's");
        assert!(store.delete(ONE, &first));
        assert_eq!((store.bytes(), store.len()), (40, 1));
    }

    #[test]
    fn files_are_seen_by_their_owner_alone() {
        let mut store = Store::new(100);
        let id = add(&mut store, 1).unwrap();
        assert!(store.get(ONE, &id).is_some() && store.get(OTHER, &id).is_none());
        assert_eq!((store.of(ONE).count(), store.of(OTHER).count()), (1, 0));
        for wrong in ["", "file-", "file-1", "file-00000000000G", "file-000000000002"] {
            assert!(store.get(ONE, wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_time_and_an_upload_may_be_repeated() {
        let mut store = Store::new(100);
        let file = store.add(ONE, "x".into(), "batch", 1, Content::Awaited).unwrap();
        let now = Duration::from_secs(1_000);
        let (token, until) = store.token(file.number, now);
        assert_eq!(until, now + ADDRESS_LASTS);
        assert!(store.by_token(&token, until).is_none());
        let number = store.by_token(&token, now).unwrap().number;
        store.fill(number, vec![0; 80].into()).unwrap();
        store.fill(number, vec![0; 90].into()).unwrap();
        assert_eq!(store.fill(number, vec![0; 101].into()), Err(NoRoom));
        assert_eq!((store.bytes(), store.get(ONE, &file.id()).unwrap().bytes()), (90, 90));
        assert_ne!(store.token(number, now).0, token);
    }
}
