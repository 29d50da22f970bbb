//! Batch jobs beside interactive load.

use super::block::Block;
use super::sending::Alive;
use std::sync::Arc;

/// Starts the jobs of a block.
pub(super) fn start(_block: &Arc<Block>, _alive: &Alive) {}
