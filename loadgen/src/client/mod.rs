//! A client of LLM gateways that measures: connections, request bodies, streams, answers, headers.
//!
//! What it is told goes in as values, what it saw comes out as values; it retries nothing and decides nothing. Every instant
//! is taken at the read of the socket, before anything is parsed.

pub mod alike;
pub mod answer;
pub mod attempt;
pub mod batch;
pub mod headers;
#[cfg(test)]
mod hostile;
pub mod key;
pub mod pool;
pub mod request;
pub mod sse;
pub mod target;
pub mod transport;

pub use attempt::{Fatal, Fate, Kind, Seen};
pub use key::{Key, KeyError};
pub use target::{Target, TargetError};
