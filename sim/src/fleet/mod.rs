//! What replicas share: the links that KV caches travel over.
//!
//! Pure leaves like the rest: they take `now` and tell what happened; the hub schedules.

pub mod link;
