//! The far side's script: text in `remote/`.
//!
//! It is sent whole, once for each channel, of which most visits need one: a far shell reads all that it is sent before it does anything, but what a listing could do without
//! takes it half a millisecond, and a channel of its own for each verb takes two ways there and back.
//!
//! Promises: what is sent passes through every login shell as one argument in single quotes. Never: a name, a number or a byte of
//! anybody in it.

const PARTS: [&str; 8] = [
    include_str!("../remote/begin.sh"),
    include_str!("../remote/list.sh"),
    include_str!("../remote/bytes.sh"),
    include_str!("../remote/read.sh"),
    include_str!("../remote/prepare.sh"),
    include_str!("../remote/install.sh"),
    include_str!("../remote/forget.sh"),
    include_str!("../remote/end.sh"),
];

/// The script, as the argument of `sh -c` where no other shell stands between; without its comments and empty lines.
#[must_use]
pub fn script() -> String {
    let lines = PARTS.into_iter().flat_map(str::lines).filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_survives_the_shells_that_read_it() {
        let sent = script();
        assert!(!sent.contains('\''), "an apostrophe would end the argument");
        assert!(!sent.contains("\\\\"), "fish reads two backslashes as one");
        assert!(!sent.ends_with('\\'));
        assert!(sent.match_indices('!').all(|(at, _)| sent[at + 1..].starts_with([' ', '='])), "csh would look up its history");
        assert!(!sent.contains("<<"), "a here-document may be a file");
        assert!(sent.is_ascii() && sent.len() < 100 * 1024);
        assert!(sent.starts_with("set -uf\n") && sent.ends_with("\ndone\n"), "all of it");
        assert!(sent.lines().all(|line| !line.is_empty() && !line.trim_start().starts_with('#')), "comments stay at home");
    }

    #[test]
    fn no_part_takes_a_name_of_another() {
        let sent = script();
        let mut names: Vec<&str> = sent.lines().filter_map(|line| line.strip_suffix("() {")).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}
