//! What lies where after a step, for whoever looks into a history that failed: with `CLAUDE_SESSION_SYNC_TOLD` set.

use std::io::Write as _;

use sha2::{Digest as _, Sha256};

use crate::lines::{complete, split};
use crate::play::Play;

/// Says what was done, and what came of it.
pub(crate) fn told(play: &Play<'_>, what: std::fmt::Arguments<'_>) {
    if std::env::var_os("CLAUDE_SESSION_SYNC_TOLD").is_none() {
        return;
    }
    let mut text = format!("-- {what}\n");
    for (at, files) in play.files().iter().enumerate() {
        for (path, seen) in files {
            text += &format!("   {at} {path}: {}\n", content(&seen.bytes));
        }
    }
    for (session, bytes) in play.vault() {
        text += &format!("   vault {session}: {}\n", content(&bytes));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// How long a content is, its digest, and its lines by theirs.
fn content(bytes: &[u8]) -> String {
    let short = |bytes: &[u8]| Sha256::digest(bytes).iter().take(3).map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> = split(bytes).map(short).collect();
    format!("{} of {} bytes, {}: {}", complete(bytes).len(), bytes.len(), short(complete(bytes)), lines.join(" "))
}
