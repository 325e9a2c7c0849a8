//! Two copies of a session that went on apart: what they have in common, and what was said in each after that.
//!
//! Promises: reads only, in bounded memory whatever the files hold: lines longer than
//! [`LONGEST_LINE_READ`] are compared and not looked into, and of each side so many turns are kept, the rest counted.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::reconcile::transcript::LONGEST_LINE_READ;
use crate::reconcile::turn::Turn;

/// Turns kept of each side.
pub const MOST_TURNS: usize = 50;

/// A content: so many bytes at the beginning of a file.
#[derive(Debug, Clone, Copy)]
pub struct Copy<'p> {
    /// The file.
    pub path: &'p Path,
    /// Bytes.
    pub length: u64,
}

/// What was said on one side after the last common line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branch {
    /// The first of its turns.
    pub turns: Vec<Turn>,
    /// How many more there are.
    pub more: usize,
}

/// Two branches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branches {
    /// The last turn that both have.
    pub common: Option<Turn>,
    /// What each said after it.
    pub sides: [Branch; 2],
}

/// Reads both.
///
/// # Errors
/// As `read`; `UnexpectedEof` where a file is shorter than its content.
pub fn branches(copies: [Copy<'_>; 2]) -> io::Result<Branches> {
    let mut found = Branches::default();
    let [one, other] = copies;
    let shared = shared(one, other)?;
    each_line(one, |at, turn| {
        if at < shared {
            found.common = Some(turn);
        } else {
            found.sides[0].take(turn);
        }
    })?;
    each_line(other, |at, turn| {
        if at >= shared {
            found.sides[1].take(turn);
        }
    })?;
    Ok(found)
}

impl Branch {
    fn take(&mut self, turn: Turn) {
        if self.turns.len() < MOST_TURNS {
            self.turns.push(turn);
        } else {
            self.more += 1;
        }
    }
}

/// How many bytes of whole lines both begin with.
fn shared(one: Copy<'_>, other: Copy<'_>) -> io::Result<u64> {
    let open = |copy: Copy<'_>| io::Result::Ok(BufReader::new(File::open(copy.path)?.take(copy.length)));
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut at, mut lines) = (0, 0);
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let most = a.len().min(b.len());
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        if let Some(end) = memchr::memrchr(b'\n', &a[..same]) {
            lines = at + end as u64 + 1;
        }
        if same < most || most == 0 {
            return Ok(lines);
        }
        at += same as u64;
        one.consume(same);
        other.consume(same);
    }
}

/// Every turn of a content, with where its line begins.
fn each_line(copy: Copy<'_>, mut take: impl FnMut(u64, Turn)) -> io::Result<()> {
    let mut file = BufReader::new(File::open(copy.path)?.take(copy.length));
    let (mut at, mut line) = (0, Vec::new());
    while at < copy.length {
        line.clear();
        let longest = LONGEST_LINE_READ as u64 + 1;
        let mut length = file.by_ref().take(longest).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if length == longest && line.last() != Some(&b'\n') {
            line.clear();
            length += skip_line(&mut file)?;
        } else if let Some(turn) = Turn::of(&line) {
            take(at, turn);
        }
        at += length;
    }
    Ok(())
}

fn skip_line(file: &mut impl io::BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = file.fill_buf()?;
        let end = memchr::memchr(b'\n', bytes);
        let count = end.map_or(bytes.len(), |end| end + 1);
        skipped += count as u64;
        file.consume(count);
        if end.is_some() || count == 0 {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        format!("{{\"type\":\"user\",\"message\":{{\"content\":\"{text}\"}}}}\n")
    }

    fn of(one: &str, other: &str) -> Branches {
        let place = tempfile::tempdir().unwrap();
        let paths = [place.path().join("a"), place.path().join("b")];
        for (path, text) in paths.iter().zip([one, other]) {
            std::fs::write(path, text).unwrap();
        }
        let copy = |index: usize, text: &str| Copy { path: &paths[index], length: text.len() as u64 };
        branches([copy(0, one), copy(1, other)]).unwrap()
    }

    fn texts(branch: &Branch) -> Vec<&str> {
        branch.turns.iter().map(|turn| turn.text.as_str()).collect()
    }

    #[test]
    fn what_both_have_is_told_from_what_each_said_after_it() {
        let begin = format!("{}{}{{\"type\":\"mode\"}}\n", said("one"), said("two"));
        let found = of(&format!("{begin}{}{}", said("here"), said("and here")), &format!("{begin}{}", said("there")));
        assert_eq!(found.common.map(|turn| turn.text).as_deref(), Some("two"));
        assert_eq!((texts(&found.sides[0]), texts(&found.sides[1])), (vec!["here", "and here"], vec!["there"]));
    }

    #[test]
    fn a_line_that_only_begins_alike_is_not_common() {
        let found = of(&said("abc"), &said("abd"));
        assert_eq!((found.common.is_none(), texts(&found.sides[0]), texts(&found.sides[1])), (true, vec!["abc"], vec!["abd"]));
        let found = of("", &said("x"));
        assert_eq!((texts(&found.sides[0]).len(), texts(&found.sides[1])), (0, vec!["x"]));
    }

    #[test]
    fn a_line_beyond_the_bound_is_passed_over_and_the_next_is_read() {
        let long = said(&"y".repeat(LONGEST_LINE_READ));
        let found = of(&format!("{}{long}{}", said("a"), said("b")), &format!("{}{long}{}", said("a"), said("c")));
        assert_eq!(found.common.map(|turn| turn.text).as_deref(), Some("a"));
        assert_eq!((texts(&found.sides[0]), texts(&found.sides[1])), (vec!["b"], vec!["c"]));
    }

    #[test]
    fn of_a_long_branch_the_rest_is_counted() {
        let many: String = (0..MOST_TURNS + 7).map(|number| said(&number.to_string())).collect();
        let found = of(&many, &said("x"));
        assert_eq!((found.sides[0].turns.len(), found.sides[0].more), (MOST_TURNS, 7));
    }
}
