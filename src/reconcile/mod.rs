//! What was seen becomes what should happen: values in, values out.
//!
//! Promises: no file, clock, environment, task or log is touched here, so every rule of the program can be tried with plain
//! values. Never: a decision that depends on who is local, on what is remembered, or on a clock.

pub mod digest;
pub mod fork;
pub mod layout;
mod line;
pub mod manifest;
pub mod order;
pub mod plain;
pub mod plan;
pub mod project;
pub mod relation;
pub mod report;
pub mod transcript;
