//! The emulator over real sockets.

mod answers;
mod hostile;
mod jobs;
mod speed;
mod troubles;
