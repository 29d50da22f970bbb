//! The live side of tidegate: everything that touches sockets or clocks.
//!
//! The load generator and the emulated gateway belong here. Neither is built yet: the crate fixes the direction of
//! imports (command, then this, then the model) and the framework it will stand on, and holds nothing that can be
//! called.

pub use goose;
