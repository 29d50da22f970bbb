//! The live side of tidegate: everything that touches sockets or clocks.

pub mod client;
pub mod clock;
pub mod emulator;
pub mod load;
pub mod pacer;
pub mod probe;
#[cfg(test)]
pub(crate) mod testing;
