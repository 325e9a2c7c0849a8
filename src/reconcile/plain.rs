//! Foreign text made fit to be printed: nothing in it can move a cursor, colour a terminal or turn a line around.
//!
//! Promises: the result holds no C0 or C1 control, no DEL, no bidirectional control and no line or paragraph separator, and text
//! without them comes back as it was, not copied. Never: a change to what is stored; only what is shown goes through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character acts on a terminal, or on the order of a line, instead of being shown.
///
/// The bidirectional controls are those of Unicode's UAX #9.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character cannot be seen: with it two names look alike, or words are hidden in one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every active character as `\n`, `\r`, `\t` or `\u{1b}`.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_active, as_in_rust)
}

/// The same with every character that cannot be seen: for what programs say, where none is meant. (A title may hold one, in a picture
/// that is made of several.)
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_active(c) || is_invisible(c), as_in_rust)
}

/// The same for a text that is JSON already: every active character as `\u001b`, so that it stays JSON.
#[must_use]
pub fn plain_json(text: &str) -> Cow<'_, str> {
    escaped(text, is_active, |c, into| {
        let _ = write!(into, "\\u{:04x}", u32::from(c));
    })
}

/// What is [`visible`], as one line of at most so many characters of the text, with `…` where it was cut.
#[must_use]
pub fn brief(text: &str, most: usize) -> String {
    let line: String = text.chars().take(most).map(|c| if c == '\n' { ' ' } else { c }).collect();
    let mut shown = visible(&line).into_owned();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn as_in_rust(c: char, into: &mut String) {
    let _ = write!(into, "{}", c.escape_default());
}

fn escaped(text: &str, which: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(&which) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for c in text[first..].chars() {
        if which(c) { escape(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written down once more, as numbers, so that a hole in `is_active` shows.
    fn acts(c: char) -> bool {
        let n = u32::from(c);
        n < 0x20 || (0x7f..=0x9f).contains(&n) || n == 0x61c || n == 0x200e || n == 0x200f || (0x2028..=0x202e).contains(&n) || (0x2066..=0x2069).contains(&n)
    }

    fn texts() -> impl Strategy<Value = String> {
        let spiced = prop_oneof![any::<char>(), prop::char::range('\0', '\u{ff}'), prop::char::range('\u{2000}', '\u{2070}'), Just('\u{1b}'), Just('\u{61c}'),];
        prop::collection::vec(spiced, 0..80).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_active_is_left(text in texts()) {
            prop_assert!(!plain(&text).chars().any(acts));
            prop_assert!(!plain_json(&text).chars().any(acts));
        }

        #[test]
        fn text_without_controls_is_not_copied(text in texts()) {
            let calm: String = text.chars().filter(|c| !acts(*c)).collect();
            prop_assert!(matches!(plain(&calm), Cow::Borrowed(same) if same == calm));
        }

        #[test]
        fn a_brief_text_is_one_line(text in texts(), most in 0..100_usize) {
            let line = brief(&text, most);
            prop_assert!(!line.chars().any(|c| acts(c) || c == '\n'));
            prop_assert_eq!(line.ends_with('…'), text.chars().count() > most || text.ends_with('…'));
        }

        #[test]
        fn a_second_time_changes_nothing(text in texts()) {
            let once = plain(&text).into_owned();
            prop_assert_eq!(plain(&once), once.as_str());
        }

        #[test]
        fn escaped_json_says_the_same(text in texts()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&plain_json(&json)).unwrap(), text);
        }
    }

    #[test]
    fn a_brief_text_keeps_its_words_apart() {
        assert_eq!((brief("a\nb c", 5).as_str(), brief("a\nb c", 3).as_str()), ("a b c", "a b…"));
    }

    #[test]
    fn a_colour_a_turned_line_and_what_hides_are_shown_as_text() {
        assert_eq!(visible("box\u{200b}\u{200d}\u{feff}\u{e0041}\u{1b}"), "box\\u{200b}\\u{200d}\\u{feff}\\u{e0041}\\u{1b}");
        assert_eq!(visible("A B\u{fc}ro 1 \u{2014} e\u{301} \\ \"x\""), "A B\u{fc}ro 1 \u{2014} e\u{301} \\ \"x\"");
        assert_eq!(plain("a\x1b[31mb\u{9b}2J\u{202e}\r\n\té"), "a\\u{1b}[31mb\\u{9b}2J\\u{202e}\\r\\n\\té");
    }
}
