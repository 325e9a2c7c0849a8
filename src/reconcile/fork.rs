//! What becomes of a diverged copy that lost and holds messages of its own: a session beside the winner, the same one on
//! every machine, because its id and its last line come from the loser's bytes alone.

use chrono::DateTime;
use serde_json::json;
use uuid::Uuid;

use super::manifest::SessionId;
use super::relation::Lines;

/// A fork to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// UUIDv5 of the session and the hex digest of the loser's content.
    pub id: SessionId,
    /// The last line, with its newline: the loser's title, its newest message and 8 hex digits.
    pub title_line: Vec<u8>,
    /// That title.
    pub title: String,
}

/// The fork of `loser`, a copy of `session`.
#[must_use]
pub fn fork(session: SessionId, loser: &Lines) -> Fork {
    let digest = loser.content.digest;
    let id = SessionId::new(Uuid::new_v5(session.as_uuid(), digest.to_string().as_bytes()));
    let spoken = loser.content.newest_message.and_then(|moment| DateTime::from_timestamp_micros(moment.0));
    let spoken = spoken.map_or_else(|| "no time".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string());
    let title = format!("{} ({spoken}, {})", loser.title.as_deref().unwrap_or("session"), digest.short());
    let line = json!({"type": "custom-title", "customTitle": title, "sessionId": id.to_string()});
    Fork { id, title_line: format!("{line}\n").into_bytes(), title }
}
