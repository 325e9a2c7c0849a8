//! The far side: which codespaces run, how one is reached without starting it, and what is asked of it.

mod call;
pub mod failure;
pub mod github;
pub mod guard;
pub mod name;
pub mod replica;
pub mod ssh;
pub mod token;
pub mod wire;
