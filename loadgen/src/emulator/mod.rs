//! An emulated gateway: the engine of the simulator under a real clock, behind HTTP.
//!
//! Handlers hold a [`gateway::Gateway`] and nothing else. The thread of the engine ([`driver`]) takes what they ask, tells
//! them what becomes of it ([`teller`]) and writes down what came from outside ([`log`]), so that the run can be repeated
//! offline, decision by decision ([`replay`]).

mod draws;
pub mod driver;
pub mod gateway;
pub mod log;
pub mod replay;
mod teller;
