//! The live side of tidegate: everything that touches sockets or clocks.

pub mod clock;
pub mod emulator;
pub mod probe;
