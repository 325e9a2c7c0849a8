//! What the model knows of contents, written anew from the laws: complete lines, times, the order, forks. It shares no line with
//! the program that it judges but the names of types.

use chrono::DateTime;
use claude_session_sync::reconcile::manifest::SessionId;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The bytes up to the last newline.
pub(crate) fn complete(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)]
}

/// The complete lines, each with its newline.
pub(crate) fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    complete(bytes).split_inclusive(|byte| *byte == b'\n')
}

/// Microseconds since 1970 at which a line says it was written, and whether it is a message.
fn moment(line: &[u8]) -> (Option<i64>, bool) {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(line) else { return (None, false) };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let time = text("timestamp").and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    (time.map(|time| time.timestamp_micros()), matches!(text("type"), Some("user" | "assistant")))
}

/// What decides between two contents: newest message, newest line, length, SHA-256.
pub(crate) type Rank = (Option<i64>, Option<i64>, usize, [u8; 32]);

/// The rank of complete lines.
pub(crate) fn rank(content: &[u8]) -> Rank {
    let moments: Vec<_> = split(content).map(moment).collect();
    let newest = moments.iter().filter_map(|(time, _)| *time).max();
    let newest_message = moments.iter().filter(|(_, message)| *message).filter_map(|(time, _)| *time).max();
    (newest_message, newest, content.len(), Sha256::digest(content).into())
}

/// The time of the newest message, if there is one.
pub(crate) fn newest_message(content: &[u8]) -> Option<i64> {
    split(content).map(moment).filter(|(_, message)| *message).filter_map(|(time, _)| time).max()
}

/// Every time that a line tells, in microseconds since 1970.
pub(crate) fn moments(content: &[u8]) -> impl Iterator<Item = i64> {
    split(content).filter_map(|line| moment(line).0)
}

/// The messages: the lines of user and assistant.
pub(crate) fn messages(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(content).filter(|line| moment(line).1)
}

/// The id of the fork that a copy of a session becomes.
pub(crate) fn fork_id(session: SessionId, loser: &[u8]) -> SessionId {
    fork_of(session, &Sha256::digest(loser).into())
}

/// The same, of its SHA-256.
fn fork_of(session: SessionId, digest: &[u8; 32]) -> SessionId {
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    SessionId::new(Uuid::new_v5(session.as_uuid(), &digits.collect::<Vec<u8>>()))
}

/// Whether `session`, which holds these bytes, is a fork of `origin`.
pub(crate) fn is_fork_of(session: SessionId, bytes: &[u8], origin: SessionId) -> bool {
    let mut beginning = Sha256::new();
    session.as_uuid().get_version_num() == 5
        && split(bytes).any(|line| {
            beginning.update(line);
            fork_of(origin, &beginning.clone().finalize().into()) == session
        })
}
