//! Who sends what, when: arrivals, lengths, sessions, patience.
//!
//! A [`Source`] makes the requests of one workload, one at a time. It knows nothing of gateways and replicas; it
//! is told when a client had its answer ([`Source::follow`]) and says what that client sends next. The simulator
//! and the load generator draw from the same sources. If a rate or a correlation were wrong here, every figure of a
//! run would be, so that each law is tested against its closed form.

pub mod client;
mod distinct;
#[cfg(test)]
mod fixture;
mod generator;
mod hash;
pub mod inspect;
pub mod jobs;
mod lengths;
mod process;
mod session;
mod source;
#[cfg(test)]
mod tests;
pub mod trace;

pub use hash::{SourceHash, arrival_hash};
pub use jobs::JobSource;
pub use session::{PAUSE_AFTER_NOTHING, identity, shared_identity};
pub use source::{Source, SourceError};
