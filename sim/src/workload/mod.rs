//! Who sends what, when: arrivals, lengths, sessions, patience.

pub mod trace;
