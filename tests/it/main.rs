//! The program against real parts: a real sshd, a stand-in of gh, shells, a stub of GitHub's API. One binary, so that it links
//! once.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod answers;
mod api;
mod canned;
mod config;
mod connection;
mod far;
mod gh;
mod github;
mod guard;
mod rows;
mod skip;
mod sshd;
mod token;
mod wait;
