//! The tidegate model: a deterministic discrete-event simulator of LLM inference gateways.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod batch;
pub mod control;
pub mod dist;
pub mod engine;
pub mod experiment;
pub mod fleet;
pub mod forecast;
pub mod gateway;
pub mod hardware;
pub mod jobfile;
pub mod limits;
pub mod observe;
pub mod profile;
pub mod replica;
#[cfg(feature = "plot")]
pub mod report;
pub mod request;
pub mod results;
pub mod rng;
pub mod scenario;
pub mod slots;
pub mod table;
pub mod theory;
pub mod time;
pub mod workload;
