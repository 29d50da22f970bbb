//! One file a command; each only reads its arguments, calls the libraries and prints.

pub mod batch;
pub mod calibrate;
pub mod check;
pub mod compare;
#[cfg(feature = "live")]
pub mod emulate;
pub mod limits;
#[cfg(feature = "live")]
pub mod load;
pub mod plan;
pub mod plot;
#[cfg(feature = "live")]
pub mod probe;
#[cfg(feature = "live")]
pub mod replay;
pub mod run;
pub mod schema;
pub mod trace;
