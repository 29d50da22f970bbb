//! What became of the fleet in one run, change by change.

use super::{FaultFact, ScaleChange};
use crate::request::PoolId;
use crate::time::Time;

/// One change of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetEvent {
    /// The number of replicas of a pool changed.
    Scaled(Time, PoolId, ScaleChange),
    /// A replica failed, slowed down or came back.
    Failed(Time, FaultFact),
}
