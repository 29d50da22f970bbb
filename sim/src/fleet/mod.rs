//! Where replicas run and which of them there are: machines, the life of a replica, the autoscaler.
//!
//! It answers "which replica may start where, and how many should there be". It knows no requests and schedules
//! nothing: the hub tells it what happened and when, and acts on what it says. Were it wrong, GPUs would be used
//! twice or never, and capacity would be promised that is not there.

pub mod autoscaler;
pub mod link;
pub mod machines;
pub mod replicas;

pub use autoscaler::Autoscaler;
pub use replicas::{Replicas, State};
