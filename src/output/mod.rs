//! What the commands print and write besides results: tables, JUnit files, progress, and how to stop a run.

// First, for its macro.
#[macro_use]
mod say;
pub mod extras;
pub mod interrupt;
pub mod junit;
#[cfg(feature = "live")]
pub mod live;
pub mod progress;
pub mod table;
