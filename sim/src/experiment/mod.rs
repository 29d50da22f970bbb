//! Replications, intervals and verdicts.

pub mod statistics;
pub mod verdict;
