//! The live side of tidegate: everything that touches sockets or clocks.
//! for now only enough to be there
pub use goose;
