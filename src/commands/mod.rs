//! One file a command; each only reads its arguments, calls the libraries and prints.

pub mod batch;
pub mod check;
pub mod emulate;
pub mod limits;
#[cfg(feature = "live")]
pub mod load;
pub mod plan;
pub mod plot;
#[cfg(feature = "live")]
pub mod probe;
pub mod replay;
pub mod run;
pub mod schema;
pub mod trace;
