//! What a user writes for ssh behind `--`: flags first, then the far command, as `gh codespace ssh` takes them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// The flags of OpenSSH's client that take a value, in the same word or in the next one. Source: ssh(1) of OpenSSH 9.9.
const TAKES_A_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";

/// Flags that would not do what they say on a connection that is there already, and why.
const REFUSED: [(u8, &str); 5] = [
    (b'f', "the connection ends with this command, so ssh cannot stay in the background"),
    (b'M', "the connection is there already"),
    (b'N', "ssh does not wait without a shell or a command on a shared connection; leave it out, and a forwarding lasts as long as the shell"),
    (b'O', "the connection cannot be controlled from here"),
    (b'S', "the connection has a socket of its own"),
];

/// Flags and command, told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// What stands before the destination.
    pub flags: Vec<OsString>,
    /// What stands behind it; none for a shell.
    pub command: Vec<OsString>,
    /// `-v` is among the flags: the user wants to hear more than errors.
    pub verbose: bool,
    /// `-n` is among the flags: nothing is read from the terminal.
    pub deaf: bool,
}

/// Why the words are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A flag whose value is missing.
    #[error("ssh's -{} wants a value", char::from(*flag))]
    NoValue {
        /// The flag.
        flag: u8,
    },
    /// A flag that does not fit.
    #[error("ssh's -{} cannot be had here: {why}", char::from(*flag))]
    Refused {
        /// The flag.
        flag: u8,
        /// Why.
        why: &'static str,
    },
}

impl Words {
    /// Reads words as ssh does: flags may share a word (`-tv`), a value follows at once (`-L8080:x:80`) or in the next word, and
    /// `--` ends the flags.
    ///
    /// # Errors
    /// A flag without its value, or one that does not fit.
    pub fn read(words: &[OsString]) -> Result<Self, WordsError> {
        let mut read = Self::default();
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            match word.as_bytes() {
                b"--" => {
                    rest = behind;
                    break;
                }
                [b'-', _, ..] => {}
                _ => break,
            }
            let taken = match (read.note(word)?, behind.is_empty()) {
                (None, _) => 1,
                (Some(_), false) => 2,
                (Some(flag), true) => return Err(WordsError::NoValue { flag }),
            };
            read.flags.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
        }
        read.command = rest.to_vec();
        Ok(read)
    }

    /// Looks at one word of flags; gives the flag whose value is the next word.
    fn note(&mut self, word: &OsStr) -> Result<Option<u8>, WordsError> {
        let letters = &word.as_bytes()[1..];
        for (index, flag) in letters.iter().copied().enumerate() {
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == flag) {
                return Err(WordsError::Refused { flag, why });
            }
            if TAKES_A_VALUE.contains(&flag) {
                return Ok((index + 1 == letters.len()).then_some(flag));
            }
            self.verbose |= flag == b'v';
            self.deaf |= flag == b'n';
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Words, WordsError> {
        Words::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn split(line: &str) -> (String, String) {
        let Words { flags, command, .. } = read(line).unwrap();
        let joined = |words: Vec<OsString>| words.join(OsStr::new(" ")).into_string().unwrap();
        (joined(flags), joined(command))
    }

    #[test]
    fn flags_go_first_and_the_rest_is_the_command() {
        let pairs = [
            ("", "", ""),
            ("ls -l", "", "ls -l"),
            ("-t htop -d 5", "-t", "htop -d 5"),
            ("-L 8080:localhost:80", "-L 8080:localhost:80", ""),
            ("-L8080:localhost:80 ls", "-L8080:localhost:80", "ls"),
            ("-tL 8080:localhost:80 ls", "-tL 8080:localhost:80", "ls"),
            ("-o SendEnv=LANG -A -- -odd name", "-o SendEnv=LANG -A", "-odd name"),
            ("-- ls", "", "ls"),
            ("- x", "", "- x"),
            ("ls -- -l", "", "ls -- -l"),
        ];
        for (line, flags, command) in pairs {
            assert_eq!(split(line), (flags.to_owned(), command.to_owned()), "{line}");
        }
    }

    #[test]
    fn what_the_user_wants_to_hear_and_to_say_is_noted() {
        assert!(read("-tvn").is_ok_and(|words| words.verbose && words.deaf));
        assert!(read("-L v:n:1 ls -vn").is_ok_and(|words| !words.verbose && !words.deaf));
    }

    #[test]
    fn a_flag_without_its_value_or_that_does_not_fit_is_refused() {
        assert_eq!(read("-t -L"), Err(WordsError::NoValue { flag: b'L' }));
        for line in ["-f ls", "-tN", "-M", "-O exit", "-S/tmp/x"] {
            assert!(matches!(read(line), Err(WordsError::Refused { .. })), "{line}");
        }
        assert!(read("ls -f").is_ok(), "the far command's own");
    }

    #[test]
    fn words_that_are_no_text_are_kept() {
        use std::os::unix::ffi::OsStringExt as _;
        let words = [OsString::from("-t"), OsString::from_vec(b"a\xffb".to_vec())];
        assert_eq!(Words::read(&words).unwrap().command, words[1..]);
    }
}
