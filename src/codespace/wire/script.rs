//! The far side's script: text in `remote/`, of which each verb is sent what it needs.
//!
//! For every request. A far shell reads all that it is sent before it does anything, so what another verb needs stays at home. The
//! parts are constants, without their comments and empty lines once they are sent.
//!
//! Promises: what is sent passes through every login shell as one argument in single quotes. Never: a name, a number or a byte of
//! anybody in it.

const BEGIN: &str = include_str!("../remote/begin.sh");
const LIST: &str = include_str!("../remote/list.sh");
const BYTES: &str = include_str!("../remote/bytes.sh");
const READ: &str = include_str!("../remote/read.sh");
const PREPARE: &str = include_str!("../remote/prepare.sh");
const INSTALL: &str = include_str!("../remote/install.sh");
const FORGET: &str = include_str!("../remote/forget.sh");
const END: &str = include_str!("../remote/end.sh");

/// What the far side is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Tell what is there.
    List,
    /// Digest.
    Hash,
    /// Give bytes.
    Get,
    /// Take bytes, drop, forget.
    Put,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::List, Self::Hash, Self::Get, Self::Put];

    /// As a request names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Hash => "hash",
            Self::Get => "get",
            Self::Put => "put",
        }
    }

    /// The script, as the argument of `sh -c` where no other shell stands between.
    #[must_use]
    pub fn script(self) -> String {
        let own: &[&str] = match self {
            Self::List => &[LIST],
            Self::Hash | Self::Get => &[BYTES, READ],
            Self::Put => &[BYTES, PREPARE, INSTALL, FORGET],
        };
        let lines = [&[BEGIN], own, &[END]].concat().into_iter().flat_map(str::lines);
        lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).flat_map(|line| [line, "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_survives_the_shells_that_read_it() {
        for verb in Verb::ALL {
            let sent = verb.script();
            assert!(!sent.contains('\''), "an apostrophe would end the argument");
            assert!(!sent.contains("\\\\"), "fish reads two backslashes as one");
            assert!(!sent.ends_with('\\'));
            assert!(sent.match_indices('!').all(|(at, _)| sent[at + 1..].starts_with([' ', '='])), "csh would look up its history");
            assert!(!sent.contains("<<"), "a here-document may be a file");
            assert!(sent.is_ascii() && sent.len() < 100 * 1024);
            assert!(sent.starts_with("set -uf\n") && sent.ends_with("\nfinish\n"), "all of it");
            assert!(sent.lines().all(|line| !line.is_empty() && !line.trim_start().starts_with('#')), "comments stay at home");
        }
    }

    /// Whether a word between these is a command: a list of commands begins there, and its arguments or its end follow.
    fn is_call((before, behind): (&str, &str)) -> bool {
        let begins = ["\n", "$(", "&&", "||", "if", "elif", "!", "|", "{", ";", "then", "else"];
        let (pattern, ends) = ([" ;;\n", " |"], [" ", "\n", ")", ";"]);
        begins.iter().any(|word| before.trim_end_matches(' ').ends_with(word))
            && ends.iter().any(|end| behind.starts_with(end))
            && !pattern.iter().any(|end| behind.starts_with(end))
    }

    #[test]
    fn a_verb_is_sent_all_that_it_calls() {
        let defined = |script: &str| script.lines().filter_map(|line| line.strip_suffix("() {").map(str::to_owned)).collect::<Vec<String>>();
        let all: Vec<String> = Verb::ALL.iter().flat_map(|verb| defined(&verb.script())).collect();
        for verb in Verb::ALL {
            let sent = verb.script();
            let here = defined(&sent);
            assert!(here.contains(&format!("verb_{}", verb.name())), "{here:?}");
            for name in all.iter().filter(|name| !here.contains(name) && !name.starts_with("verb_")) {
                assert!(!sent.split(name.as_str()).zip(sent.split(name.as_str()).skip(1)).any(is_call), "{} calls {name}", verb.name());
            }
        }
    }
}
