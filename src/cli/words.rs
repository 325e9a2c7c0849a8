//! Words that several verbs share: times, sizes, counts and titles for people.
//!
//! Promises: an absolute time never stands where the distance says more; JSON carries the absolute one, always.

use chrono::{DateTime, Utc};

use crate::reconcile::manifest::SessionId;
use crate::reconcile::transcript::{Content, Moment};
pub(super) use crate::reconcile::words::{ago, bytes, counted, span};

/// `1 session`, `3 sessions`.
pub(super) fn sessions(count: usize) -> String {
    counted(count, "session")
}

/// The beginning of an id, enough for a person.
pub(super) fn short(session: SessionId) -> String {
    session.to_string()[..8].to_owned()
}

/// A title, or the beginning of the id where there is none.
pub(super) fn titled(title: Option<&str>, session: SessionId) -> String {
    title.map_or_else(|| format!("session {}", short(session)), str::to_owned)
}

/// At most so many characters; a cut is shown.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most.saturating_sub(1)).chain(['…']).collect() }
}

/// A moment as a time; none where the calendar does not reach it.
pub(super) fn time(moment: Moment) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(moment.0)
}

/// When a content was last spoken in, or else last written.
pub(super) fn newest(content: &Content) -> Option<DateTime<Utc>> {
    content.newest_message.or(content.newest).and_then(time)
}

/// Lower-case words joined as in a sentence: `a, b and c`.
pub(super) fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The text in lines of at most `width` characters, broken between words where that is possible.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut left = width;
    for word in text.split(' ') {
        let mut word = word;
        let length = |text: &str| text.chars().count();
        if left < width && length(word) + 1 > left {
            lines.push(String::new());
            left = width;
        }
        while length(word) > left.max(1) && left == width {
            let at = word.char_indices().nth(width.max(1)).map_or(word.len(), |(at, _)| at);
            let (head, rest) = word.split_at(at);
            lines.last_mut().into_iter().for_each(|line| line.push_str(head));
            lines.push(String::new());
            word = rest;
        }
        if let Some(line) = lines.last_mut() {
            if left < width {
                line.push(' ');
                left -= 1;
            }
            line.push_str(word);
            left = left.saturating_sub(length(word));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words_and_a_long_word_anywhere() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("one two three", usize::MAX), ["one two three"]);
        assert_eq!(wrapped("a äöüßäöüß b", 4), ["a", "äöüß", "äöüß", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn a_long_title_is_cut_by_characters() {
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(joined(&["a".to_owned(), "b".to_owned(), "c".to_owned()]), "a, b and c");
    }
}
