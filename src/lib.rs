//! Keeps Claude Code sessions equal between this machine and the codespaces that its user runs.
//!
//! The map, and the one rule of dependence: `main → cli → {agent, pass, service, doctor, demo}`;
//! `pass → {codespace, store, state} → reconcile → nothing`. The agent is handed the pass and never imports it. `config`, `paths`,
//! `lock` and `logging` lie below all but `reconcile`. The whole table is held by `tests/it/house.rs`.

pub mod agent;
pub mod cli;
pub mod codespace;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod lock;
pub mod logging;
pub mod pass;
pub mod paths;
pub mod reconcile;
pub mod service;
pub mod state;
pub mod store;
