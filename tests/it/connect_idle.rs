//! A `connect` that somebody forgot moves no byte, so that its codespace can go to sleep.
//!
//! The ssh that holds the connection lives two hundred times as fast (faketime); a `sleep` under the same clock tells when half an
//! hour is over for it.

use std::process::Command;

use crate::connect::{BOX, world};
use crate::connect_terminal::shell;
use crate::skip::have;
use crate::tmux::Pane;
use crate::way::wrapper;

const FAST: &str = "+0 x200";

/// So many minutes of the fast clock.
fn minutes(count: u32) {
    assert!(Command::new("faketime").args(["-f", FAST, "sleep", &(count * 60).to_string()]).status().unwrap().success());
}

/// Bytes through the connection in the first five idle minutes, and in the twenty-five after them. `flags` come first on the
/// command line of every ssh, so they win over the program's own.
fn idle(flags: &str) -> Option<(u64, u64)> {
    if !have("faketime", "--version") {
        return None;
    }
    let laptop = world()?;
    wrapper(&laptop.gh.dir().join("ssh"), &format!("exec faketime -f '{FAST}' /usr/bin/ssh {flags} \"$@\""));
    let pane = Pane::open(&laptop, &[])?;
    shell(&pane, BOX);
    let bytes = || {
        let (received, sent) = laptop.at(BOX).bytes();
        received + sent
    };
    let began = bytes();
    minutes(5);
    let fifth = bytes();
    minutes(25);
    let (first, later) = (fifth - began, bytes() - fifth);
    pane.line("exit");
    pane.shows("ended-0.");
    Some((first, later))
}

#[test]
fn after_the_fifth_idle_minute_no_byte_goes_through_a_connection() {
    let Some((_, later)) = idle("") else { return };
    assert_eq!(later, 0);
}

#[test]
fn the_connection_of_a_visit_would_move_bytes_all_the_time() {
    let Some((first, later)) = idle("-o ServerAliveInterval=15") else { return };
    // Every 15 s one packet there and one back: 100 of them in 25 minutes, of 50 bytes and more.
    assert!(first > 500 && later > 4000, "{first} and {later} bytes: the measure sees nothing");
}
