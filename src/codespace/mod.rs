//! The far side: which codespaces run, how one is reached without starting it, and what is asked of it.

pub mod wire;
