//! One file a command; each only reads its arguments, calls the libraries and prints.

pub mod batch;
pub mod calibrate;
pub mod check;
pub mod compare;
pub mod limits;
pub mod plan;
pub mod plot;
pub mod run;
pub mod schema;
pub mod trace;
