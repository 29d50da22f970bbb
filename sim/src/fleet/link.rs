//! Placeholder until the link is merged.
use crate::table::SlotId;
use crate::time::Time;
/// x
#[derive(Debug)]
pub struct Link;
impl Link {
    /// x
    pub fn new(_bandwidth: u64) -> Self {
        Link
    }
    /// x
    pub fn start(&mut self, _now: Time, _id: SlotId, _bytes: u64) {
        unreachable!()
    }
    /// x
    pub fn next_wake(&self) -> Option<Time> {
        None
    }
    /// x
    pub fn finish(&mut self, _now: Time) -> Option<SlotId> {
        None
    }
    /// x
    pub fn cancel(&mut self, _now: Time, _id: SlotId) -> bool {
        false
    }
}
