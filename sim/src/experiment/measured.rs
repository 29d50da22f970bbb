//! Replications that were measured on a live gateway instead of simulated.

use crate::engine::Totals;
use crate::observe::recording::Recording;

/// One replication as a load generator measured it: the whole horizon of one variant under one seed.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The variant; `None` for the scenario without one.
    pub variant: Option<String>,
    /// Which replication, from 0: its seed is [`crate::rng::replication_seed`].
    pub index: u32,
    /// What was recorded, by the same recorder as that of a simulation.
    pub recording: Recording,
    /// What it amounted to, warm-up included. Only `offered`, `outcomes`, `requests`, `settled` and `ended` say something.
    pub totals: Totals,
    /// Hash of its arrivals, when it was sent whole.
    pub arrival_hash: Option<String>,
    /// Whether it was stopped before its end.
    pub cut: bool,
}
