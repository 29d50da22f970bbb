//! The load generator: plays the frozen schedule of a scenario against a live gateway and records what comes back.
//!
//! A run is *blocks*: the whole horizon of one variant under the seed of one replication, those of variants in random
//! order. What a block leaves is what a replication of the simulator leaves, by the same recorder, so that figures, intervals
//! and verdicts are made by the same code.
//!
//! ```text
//! schedule ── lanes (goose users, kernel timers) ── a task per request ── facts ── ledger (a thread) ── recorder
//!                                                        │                              └── goose, gauge
//!                                                 client: pool, SSE
//! ```
//!
//! Latencies run from the instant at which a request was *due*; how long after it the task of the request really began is the
//! *lag*, told apart. A lane never waits for an answer. Opening a connection is part of a request, as it is of any client's.

pub mod again;
pub mod alarm;
pub mod attack;
pub mod block;
pub mod gauge;
pub mod headers;
mod jobs;
mod lanes;
pub mod machine;
pub mod plan;
pub mod play;
pub mod prompt;
pub mod quiet;
pub mod record;
pub mod safety;
pub mod schedule;
pub mod selftest;
pub mod sending;
#[cfg(test)]
mod tests;
mod threads;
pub mod tokenizer;
pub mod validity;

pub use plan::{LoadError, Options, Plan};
pub use play::{Outcome, play};
