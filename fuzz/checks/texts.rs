//! Texts: transcripts, the configuration, what clients and agents say, logs, tokens, the words of other programs.

use std::path::Path;

use claude_session_sync::agent::protocol;
use claude_session_sync::codespace::failure::{Failure, one_line};
use claude_session_sync::codespace::token::{Token, TokenSource};
use claude_session_sync::config::{Config, LogFormat};
use claude_session_sync::logging::line::Line;
use claude_session_sync::reconcile::fork::fork;
use claude_session_sync::reconcile::relation::Lines;
use claude_session_sync::reconcile::transcript::{Digest, MOST_WORKING_DIRECTORIES, Reader, Reading};
use claude_session_sync::reconcile::turn::Turn;

use super::is_plain;

fn reading(bytes: &[u8], chunk: usize) -> Reading {
    let mut reader = Reader::new([0, 7, 1 << 40]).keeping_messages();
    bytes.chunks(chunk).for_each(|chunk| reader.push(chunk));
    reader.finish()
}

/// The first byte is how it is cut into chunks.
pub(super) fn transcript(bytes: &[u8]) {
    let Some((chunk, bytes)) = bytes.split_first() else { return };
    let (whole, cut) = (reading(bytes, bytes.len().max(1)), reading(bytes, usize::from(*chunk).max(1)));
    assert_eq!((&whole.content, &whole.title, &whole.messages), (&cut.content, &cut.title, &cut.messages));
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    assert_eq!((whole.content.length, whole.content.digest), (complete as u64, Digest::of(&bytes[..complete])));
    assert_eq!((whole.raw_length, whole.raw_digest), (bytes.len() as u64, Digest::of(bytes)));
    assert!(whole.working_directories.len() <= MOST_WORKING_DIRECTORIES && whole.content.newest_message <= whole.content.newest);
    whole.title.iter().for_each(|title| assert!(!title.chars().any(char::is_control), "{title:?}"));
    let made = fork("6f869d7b-ce51-4e00-8a05-674dde6aa368".parse().expect("an id"), &Lines::of(whole));
    let line = made.title_line.strip_suffix(b"\n").expect("a whole line");
    assert!(!line.contains(&b'\n') && serde_json::from_slice::<serde_json::Value>(line).is_ok());
}

pub(super) fn turn(bytes: &[u8]) {
    if let Some(turn) = Turn::of(bytes) {
        assert!(!turn.text.is_empty() && !turn.text.chars().any(char::is_control), "{:?}", turn.text);
    }
}

pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Config::parse(text, Path::new("/home/dev/config.toml"), Path::new("/home/dev")) {
        error.to_string().lines().for_each(is_plain);
    }
}

/// A line of either direction.
pub(super) fn control_line(bytes: &[u8]) {
    if let Ok(line) = serde_json::from_slice::<protocol::Line>(bytes) {
        let again = serde_json::to_vec(&line).expect("written");
        assert_eq!(serde_json::from_slice::<protocol::Line>(&again).ok(), Some(line));
    }
    let _ = serde_json::from_slice::<protocol::Answer>(bytes);
}

pub(super) fn log_line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(line) = Line::parse(text) else { return };
    for format in [LogFormat::Text, LogFormat::Json] {
        is_plain(&line.written(format));
    }
    let _ = line.said();
}

pub(super) fn said_by_gh(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let plain = one_line(&text);
    is_plain(&plain);
    assert!(plain.len() <= 310);
    for code in [None, Some(1), Some(4), Some(255)] {
        for failure in [Failure::of_gh(code, &text), Failure::of_ssh(code, &text)] {
            is_plain(&failure.to_string());
            let _ = (failure.class(), failure.hint());
        }
    }
}

pub(super) fn token(bytes: &[u8]) {
    match Token::new(bytes, TokenSource::Variable("GH_TOKEN")) {
        Ok(token) => {
            assert!(token.secret.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(format!("{:?}", token.secret), "Secret(…)");
        }
        Err(error) => is_plain(&error.to_string()),
    }
}
