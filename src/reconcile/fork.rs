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

/// The one of `origins` that `session` is a fork of, if it is. `line_ends` are the digests of the beginnings of its transcript, one
/// for each line that ends.
///
/// # Errors
/// The first that `line_ends` gives.
pub fn origin<E>(session: SessionId, line_ends: impl IntoIterator<Item = Result<Digest, E>>, origins: &BTreeSet<SessionId>) -> Result<Option<SessionId>, E> {
    if !may_be_fork(session) {
        return Ok(None);
    }
    for beginning in line_ends {
        let beginning = beginning?;
        if let Some(origin) = origins.iter().find(|origin| id(**origin, beginning) == session) {
            return Ok(Some(*origin));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";

    /// The digests of the beginnings of a text, at its line ends.
    fn line_ends(text: &str) -> Vec<Result<Digest, ()>> {
        text.match_indices('\n').map(|(at, _)| Ok(Digest::of(&text.as_bytes()[..=at]))).collect()
    }

    #[test]
    fn a_fork_is_told_by_its_own_bytes_however_it_has_grown() {
        let (origin, other): (SessionId, SessionId) = (ORIGIN.parse().unwrap(), "7f869d7b-ce51-4e00-8a05-674dde6aa368".parse().unwrap());
        let (lost, origins) = ("one\ntwo\n", BTreeSet::from([other, origin]));
        let fork = id(origin, Digest::of(lost.as_bytes()));
        for grown in ["", "title\n", "title\nmore\n", "title\ntorn"] {
            assert_eq!(origin_of(fork, &format!("{lost}{grown}"), &origins), Some(origin), "{grown}");
        }
        assert_eq!(origin_of(fork, "one\n", &origins), None, "less than the copy that lost");
        assert_eq!(origin_of(fork, "one\nTWO\nx\n", &origins), None, "another copy");
        assert_eq!(origin_of(fork, lost, &BTreeSet::from([other])), None, "the fork of a session that is not among them");
        assert_eq!(origin_of(origin, lost, &origins), None, "no id of a fork");
        assert_eq!(super::origin(origin, [Err("nothing is read of it")], &origins), Ok(None));
        assert_eq!([origin, fork].map(may_be_fork), [false, true]);
    }

    #[test]
    fn what_cannot_be_read_to_the_line_that_decides_is_an_error() {
        let fork = id(ORIGIN.parse().unwrap(), Digest::of(b"one\ntwo\n"));
        let torn = [Ok(Digest::of(b"one\n")), Err("gone")];
        assert_eq!(super::origin(fork, torn, &BTreeSet::from([ORIGIN.parse().unwrap()])), Err("gone"));
    }

    fn origin_of(session: SessionId, text: &str, origins: &BTreeSet<SessionId>) -> Option<SessionId> {
        super::origin(session, line_ends(text), origins).unwrap()
    }
}
