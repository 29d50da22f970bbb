//! Batch: the life of jobs, what accounts may have enqueued, which request is next, and when one may be sent.
//!
//! Nothing here schedules events or calls a replica. The hub submits jobs, asks the [`Board`] of a pool for the next
//! request when a replica has room, and tells what became of it. A job of 50,000 requests is one [`Job`]: requests exist
//! only while they are on a replica (or have come back from one), so memory is O(jobs + in flight).

mod board;
mod controller;
mod job;
mod latest;
mod quota;
mod room;

pub use board::{Board, Entry};
pub use controller::Controller;
pub use job::{Fate, Job, JobId};
pub use latest::Latest;
pub use quota::Quota;
pub use room::{Held, Room, is_open, next_edge, room};
