//! The emulator over real sockets.

mod answers;
mod hostile;
mod jobs;
mod troubles;
