//! The real binary, run as a user runs it, with an environment and a home of its own.
#![expect(clippy::unwrap_used, reason = "what sets a test up may panic as the test itself may")]

mod config;
