//! Integration tests of the command and of the promises the README makes.

mod bad_input;
mod scenarios;
