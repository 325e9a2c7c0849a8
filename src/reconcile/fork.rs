//! What becomes of a diverged copy that lost and holds messages of its own: a session beside the winner, the same one on
//! every machine, because its id and its last line come from the loser's bytes alone. Hence a fork can be told by its own bytes,
//! too: it begins with the loser's, wherever it lies and however it has grown.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::json;
use uuid::Uuid;

use super::manifest::SessionId;
use super::relation::Lines;
use super::transcript::Digest;

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
    let id = id(session, digest);
    let spoken = loser.content.newest_message.and_then(|moment| DateTime::from_timestamp_micros(moment.0));
    let spoken = spoken.map_or_else(|| "no time".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string());
    let title = format!("{} ({spoken}, {})", loser.title.as_deref().unwrap_or("session"), digest.short());
    let line = json!({"type": "custom-title", "customTitle": title, "sessionId": id.to_string()});
    Fork { id, title_line: format!("{line}\n").into_bytes(), title }
}

/// The id of the fork that a copy of `session` with this digest becomes.
#[must_use]
pub fn id(session: SessionId, loser: Digest) -> SessionId {
    SessionId::new(Uuid::new_v5(session.as_uuid(), loser.to_string().as_bytes()))
}

/// Whether a session may be a fork at all, by the version of its id.
#[must_use]
pub fn may_be_fork(session: SessionId) -> bool {
    session.as_uuid().get_version_num() == 5
}

/// The one of `origins` that `session` is a fork of, if it is. `beginning` is the digest of its lines before the first that names it: the
/// copy that lost cannot name what is made of its digest, and the line behind it does.
#[must_use]
pub fn origin(session: SessionId, beginning: Digest, origins: &BTreeSet<SessionId>) -> Option<SessionId> {
    origins.iter().copied().find(|origin| may_be_fork(session) && id(*origin, beginning) == session)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

    #[test]
    fn a_fork_is_told_by_the_bytes_of_what_lost() {
        let (origin, other): (SessionId, SessionId) = (ORIGIN.parse().unwrap(), "7f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap());
        let (lost, origins) = (Digest::of(b"one\ntwo\n"), BTreeSet::from([other, origin]));
        let fork = id(origin, lost);
        assert_eq!(super::origin(fork, lost, &origins), Some(origin));
        assert_eq!(super::origin(fork, Digest::of(b"one\n"), &origins), None, "less than the copy that lost");
        assert_eq!(super::origin(fork, Digest::of(b"one\nTWO\n"), &origins), None, "another copy");
        assert_eq!(super::origin(fork, lost, &BTreeSet::from([other])), None, "the fork of a session that is not among them");
        assert_eq!(super::origin(origin, lost, &origins), None, "no id of a fork");
        assert_eq!([origin, fork].map(may_be_fork), [false, true]);
    }
}
