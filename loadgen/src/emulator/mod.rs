//! An emulated gateway: the engine of the simulator under a real clock, behind HTTP.

pub mod gateway;
