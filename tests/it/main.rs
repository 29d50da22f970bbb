//! Integration tests of the command and of the promises the README makes.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, reason = "a test crate has no outside")]

mod bad_input;
mod bad_traces;
mod batch;
mod batch_facts;
mod batch_files;
mod batch_scenarios;
mod conservation;
mod crosscheck;
mod determinism;
mod differential;
mod emulate;
mod experiment;
mod fleet;
mod fleet_facts;
mod fleet_scenarios;
mod foreign;
mod limit_edges;
mod limit_notes;
mod limit_scenarios;
mod limits;
mod live;
mod policy;
mod routing;
mod run;
mod scenarios;
mod sdk;
mod served;
mod support;
mod tidy;
mod trace_inspect;
