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

/// Flags that ask for a forwarding per session, and the options that they stand for.
const FORWARDS: [(u8, &str); 4] = [(b'A', "ForwardAgent=yes"), (b'X', "ForwardX11=yes"), (b'Y', "ForwardX11=yes"), (b'Y', "ForwardX11Trusted=yes")];

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
    /// Options that the connection itself must have been made with: ssh forwards an agent or a display over a shared connection only
    /// if its master may.
    pub forwards: Vec<String>,
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
            let (taken, option) = match (read.note(word)?, behind.first()) {
                (Wants::Nothing, _) => (1, None),
                (Wants::Had(flag, value), _) => (1, Some((flag, value))),
                (Wants::Next(flag), Some(value)) => (2, Some((flag, value.as_os_str()))),
                (Wants::Next(flag), None) => return Err(WordsError::NoValue { flag }),
            };
            let forwarding = option.and_then(|(flag, value)| value.to_str().filter(|value| flag == b'o' && is_forwarding(value)));
            read.forwards.extend(forwarding.map(str::to_owned));
            read.flags.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
        }
        read.command = rest.to_vec();
        Ok(read)
    }

    /// Looks at one word of flags.
    fn note<'w>(&mut self, word: &'w OsStr) -> Result<Wants<'w>, WordsError> {
        let letters = &word.as_bytes()[1..];
        for (index, flag) in letters.iter().copied().enumerate() {
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == flag) {
                return Err(WordsError::Refused { flag, why });
            }
            if TAKES_A_VALUE.contains(&flag) {
                let value = &letters[index + 1..];
                return Ok(if value.is_empty() { Wants::Next(flag) } else { Wants::Had(flag, OsStr::from_bytes(value)) });
            }
            self.verbose |= flag == b'v';
            self.deaf |= flag == b'n';
            self.forwards.extend(FORWARDS.iter().filter(|(letter, _)| *letter == flag).map(|(_, option)| (*option).to_owned()));
        }
        Ok(Wants::Nothing)
    }
}

/// What a word of flags still wants.
enum Wants<'w> {
    /// No value.
    Nothing,
    /// It has this one.
    Had(u8, &'w OsStr),
    /// The next word.
    Next(u8),
}

/// `ForwardAgent=yes`, `forwardx11 yes` and their like.
fn is_forwarding(option: &str) -> bool {
    let name = option.split(['=', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    ["forwardagent", "forwardx11", "forwardx11trusted"].contains(&name.as_str())
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
    fn what_the_connection_must_allow_is_noted() {
        let forwards = |line: &str| read(line).unwrap().forwards.join(" ");
        assert_eq!(forwards("-tA -Y"), "ForwardAgent=yes ForwardX11=yes ForwardX11Trusted=yes");
        assert_eq!(forwards("-o forwardagent=yes -oForwardX11=yes -o SendEnv=ForwardAgent"), "forwardagent=yes ForwardX11=yes");
        assert_eq!(forwards("-l A ls -A"), "");
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
