//! What was seen becomes what should happen: values in, values out.
//!
//! Promises: no file, clock, environment, task or log is touched here, so every rule of the program can be tried with plain
//! values. Never: a decision about content that depends on who is local, on what is remembered, or on a clock. (When to look is
//! another matter: [`quiet`] and [`activity`] are given what is remembered, and the time.)

pub mod activity;
pub mod digest;
pub mod few;
pub mod fork;
pub mod layout;
mod line;
pub mod manifest;
pub mod named;
pub mod order;
mod parse;
pub mod plain;
pub mod plan;
pub mod project;
pub mod quiet;
pub mod relation;
pub mod report;
pub mod restore;
pub mod shared;
pub mod transcript;
pub mod turn;
pub mod words;
