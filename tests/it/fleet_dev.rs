#![allow(unreachable_pub, missing_docs, dead_code, clippy::unwrap_used)]
mod differential;
mod fleet;
mod fleet_scenarios;
mod support;
