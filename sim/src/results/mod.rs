//! What a run leaves in its folder, and how it is read back.
//!
//! One [`Layout`] knows every file name, [`Summary`] is the file other programs read, [`ResultSet`] is the whole
//! folder in memory. Nothing here knows the wall clock, so the same run writes the same bytes.

pub mod against;
mod against_table;
mod batch;
mod batch_table;
pub mod comparison;
mod comparison_table;
pub mod figure;
mod files;
mod fleet;
mod fleet_table;
pub mod frontier;
pub mod hlog;
mod layout;
pub mod live;
mod live_table;
mod policy;
mod policy_table;
mod requests;
mod set;
mod summary;
pub mod table;
mod timeline;

pub use batch::{BatchAccount, BatchRequests, BatchSummary, JobRow};
pub use comparison::Comparison;
pub use figure::{Estimate, Figure, Unit, asked};
pub use files::{ResultsError, write_atomic};
pub use fleet::{AttemptSummary, ClientRow, CostSummary, FleetRow, FleetSummary, TierCost};
pub use layout::{Layout, stem};
pub use policy::{BindsFirst, ExpectationRow, LimitRow, OperationRow, ProfileRow};
pub use requests::RequestsFile;
pub use set::{LatencyLog, ResultSet, TenantRow, encode_summary};
pub use summary::{
    BoundRow, BudgetRow, OutOfRange, PoolSummary, Provenance, SCHEMA, Summary, Verdict, VerdictRow,
    WorkloadSummary,
};
pub use timeline::{TimelineRow, timeline_rows};

#[cfg(test)]
pub(crate) mod tests;
