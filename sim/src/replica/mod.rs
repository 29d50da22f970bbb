//! One replica of a model.
pub mod step_time;
