//! Checks a live gateway against documented limits: what can be asked cheaply is planned, priced and measured; what cannot is
//! said to be not probeable, never passed.
//!
//! Nothing is created that costs money by being there: a probe is a request, a file that is refused, or (where it is free, or
//! within what may be spent) a batch job that is cancelled at once. A limit is measured by an exact count wherever its mechanism
//! allows one; where it does not, the bounds of what was seen are reported, and a value between them is not called equal.

pub mod basis;
mod blame;
mod body;
mod client;
mod cost;
mod decide;
mod edge;
pub mod finding;
pub mod key;
mod measure;
pub mod method;
pub mod plan;
pub mod run;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use basis::{Alone, Basis, Caller};
pub use client::Target;
pub use cost::Cost;
pub use finding::{Finding, Outcome, Report, Verdict};
pub use key::Keys;
pub use plan::{Budget, Decision, Item, Plan};
