//! An emulated gateway: the engine of the simulator under a real clock, behind HTTP.
//!
//! Handlers hold a [`gateway::Gateway`] and nothing else. The thread of the engine ([`driver`]) takes what they ask, tells
//! them what becomes of it (`teller`) and writes down what came from outside ([`log`]), so that the run can be repeated
//! offline, decision by decision ([`replay`]). [`server`] accepts connections, [`wire`] speaks HTTP; [`run`] is all of it
//! until somebody stops it.

pub mod batches;
mod draws;
pub mod driver;
mod ear;
pub mod files;
pub mod gateway;
pub mod line;
pub mod log;
pub mod metrics;
mod mouths;
pub mod replay;
pub mod run;
pub mod server;
mod teller;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod trouble;
pub mod wire;
