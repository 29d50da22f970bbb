//! The tidegate model: a deterministic discrete-event simulator of LLM inference gateways.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod dist;
pub mod hardware;
pub mod observe;
pub mod replica;
pub mod request;
pub mod rng;
pub mod scenario;
pub mod time;
pub mod workload;
