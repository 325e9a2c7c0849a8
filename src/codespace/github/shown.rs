//! Text from outside, made fit to be shown.

/// `text` with every control character and every character that turns the direction of writing escaped (`\u{1b}`), cut to at
/// most `most` characters of it, with `…` where it was cut. So nothing from outside can colour or rearrange a terminal.
#[must_use]
pub fn shown(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == most {
            out.push('…');
            break;
        }
        let turns = matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if character == '\n' {
            out.push(' ');
        } else if character.is_control() || turns {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(shown("a\u{1b}[31m\u{9b}b\u{202e}c\r", 99), r"a\u{1b}[31m\u{9b}b\u{202e}c\u{d}");
        assert_eq!(shown("two\nlines é 😀", 99), "two lines é 😀");
    }

    #[test]
    fn a_long_text_is_cut_by_characters() {
        assert_eq!(shown("äöüß", 3), "äöü…");
        assert_eq!(shown("äöü", 3), "äöü");
    }
}
