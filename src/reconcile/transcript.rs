//! One reading of a file of lines, in one stream and in constant memory: what is complete, what it hashes to, when it was
//! last spoken in, what it calls itself.
//!
//! Promises: bytes are only looked at. A torn tail, glued records, NUL runs and bytes that are not UTF-8 are carried; a line
//! that is no JSON object counts for its bytes and for nothing else. Never: a fixed-size look at the tail, a clock, a repair.
//!
//! Longer than 400 lines: the stream, what is looked at in a line, and the examples that hold both belong to one another.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::line::Line;

pub use super::digest::{Digest, NotADigest};

/// Longest line that is looked into for a timestamp. Longer ones are carried and hashed, unread: the memory of a reading
/// stays bounded, and the bound is part of the order, so it is the same for everybody.
pub const LONGEST_LINE_READ: usize = 16 << 20;

/// Most messages whose digests are kept. Whoever says so many has messages of its own, whatever they are: memory is not for a peer to fill.
pub const MOST_MESSAGES: usize = 1 << 20;

/// Longest title kept, in characters.
const LONGEST_TITLE: usize = 120;

/// A timestamp as lines carry it: microseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// From RFC 3339 text; anything else is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| Self(time.timestamp_micros()))
    }

    /// Whole seconds since 1970, for a file's modification time.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

/// The complete lines of a file: all bytes up to the last newline, and the newest times in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Bytes up to and including the last newline.
    pub length: u64,
    /// SHA-256 of those bytes.
    pub digest: Digest,
    /// Newest `timestamp` of a `user` or `assistant` line.
    pub newest_message: Option<Moment>,
    /// Newest `timestamp` of any line.
    pub newest: Option<Moment>,
}

impl Content {
    /// No line at all.
    #[must_use]
    pub fn empty() -> Self {
        Self { length: 0, digest: Digest::of(b""), newest_message: None, newest: None }
    }
}

/// What one reading found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The complete lines.
    pub content: Content,
    /// All bytes, a torn tail included.
    pub raw_length: u64,
    /// SHA-256 of all bytes.
    pub raw_digest: Digest,
    /// SHA-256 of the first n bytes, for every n asked that the file has.
    pub marks: BTreeMap<u64, Digest>,
    /// The last `customTitle`, else the first prompt, on one line and shortened.
    pub title: Option<String>,
    /// `user` and `assistant` lines.
    pub message_count: u64,
    /// Digests of the `user` and `assistant` lines, if they were asked for.
    pub messages: BTreeSet<LineDigest>,
    /// Distinct `cwd` values, at most [`MOST_WORKING_DIRECTORIES`].
    pub working_directories: Vec<String>,
}

/// The first half of a line's SHA-256.
pub type LineDigest = [u8; 16];

/// Most distinct `cwd` values that a reading keeps.
pub const MOST_WORKING_DIRECTORIES: usize = 8;

/// A reading under way: push the bytes in order, then finish.
pub struct Reader {
    hash: Sha256,
    length: u64,
    wanted: Vec<u64>,
    marks: BTreeMap<u64, Digest>,
    complete: (u64, Sha256),
    line: Vec<u8>,
    overlong: bool,
    keep_messages: bool,
    found: Found,
}

#[derive(Default)]
struct Found {
    newest_message: Option<Moment>,
    newest: Option<Moment>,
    custom_title: Option<String>,
    prompt: Option<String>,
    message_count: u64,
    messages: BTreeSet<LineDigest>,
    working_directories: Vec<String>,
}

impl Reader {
    /// A reading that also takes the digest of the first n bytes for every n in `marks`.
    #[must_use]
    pub fn new(marks: impl IntoIterator<Item = u64>) -> Self {
        let mut wanted: Vec<u64> = marks.into_iter().collect();
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        wanted.dedup();
        let hash = Sha256::new();
        let complete = (0, hash.clone());
        let mut reader = Self {
            hash,
            length: 0,
            wanted,
            marks: BTreeMap::new(),
            complete,
            line: Vec::new(),
            overlong: false,
            keep_messages: false,
            found: Found::default(),
        };
        reader.take_marks();
        reader
    }

    /// Also keeps a digest of every `user` and `assistant` line.
    #[must_use]
    pub fn keeping_messages(mut self) -> Self {
        self.keep_messages = true;
        self
    }

    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        let complete = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (lines, tail) = bytes.split_at(complete);
        if !lines.is_empty() {
            self.hash(lines);
            self.complete = (self.length, self.hash.clone());
            self.split(lines);
        }
        self.hash(tail);
        self.keep(tail);
    }

    /// The end of the file.
    #[must_use]
    pub fn finish(self) -> Reading {
        let digest = |hash: Sha256| Digest(hash.finalize().into());
        let (length, complete) = self.complete;
        let Found { newest_message, newest, custom_title, prompt, message_count, messages, working_directories } = self.found;
        Reading {
            content: Content { length, digest: digest(complete), newest_message, newest },
            raw_length: self.length,
            raw_digest: digest(self.hash),
            marks: self.marks,
            title: custom_title.or(prompt),
            message_count,
            messages,
            working_directories,
        }
    }

    fn hash(&mut self, mut bytes: &[u8]) {
        while let Some(&mark) = self.wanted.last() {
            let Some(before) = usize::try_from(mark - self.length).ok().filter(|before| *before <= bytes.len()) else { break };
            let (head, rest) = bytes.split_at(before);
            self.hash.update(head);
            self.length = mark;
            bytes = rest;
            self.take_marks();
        }
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn take_marks(&mut self) {
        while self.wanted.last() == Some(&self.length) {
            self.wanted.pop();
            self.marks.insert(self.length, Digest(self.hash.clone().finalize().into()));
        }
    }

    fn split(&mut self, lines: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let piece = &lines[start..end];
            start = end + 1;
            if self.line.is_empty() && !self.overlong {
                self.found.look_at(piece, self.keep_messages);
            } else {
                self.keep(piece);
                if !self.overlong {
                    self.found.look_at(&self.line, self.keep_messages);
                }
                self.line.clear();
                self.overlong = false;
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.overlong || self.line.len() + piece.len() > LONGEST_LINE_READ {
            self.overlong = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(piece);
        }
    }
}

impl Found {
    fn look_at(&mut self, line: &[u8], keep_messages: bool) {
        let Ok(seen) = serde_json::from_slice::<Line<'_>>(line) else { return };
        let time = seen.timestamp.0.as_deref().and_then(Moment::parse);
        self.newest = self.newest.max(time);
        if matches!(seen.kind.0.as_deref(), Some("user" | "assistant")) {
            self.newest_message = self.newest_message.max(time);
            self.message_count += 1;
            if keep_messages && self.messages.len() < MOST_MESSAGES {
                self.messages.insert(line_digest(line));
            }
        }
        if let Some(title) = seen.custom_title.0 {
            self.custom_title = shortened(&title);
        }
        if self.prompt.is_none() {
            self.prompt = seen.last_prompt.0.as_deref().and_then(shortened);
        }
        if let Some(directory) = seen.working_directory.0
            && self.working_directories.len() < MOST_WORKING_DIRECTORIES
            && !self.working_directories.iter().any(|known| *known == *directory)
        {
            self.working_directories.push(directory.into_owned());
        }
    }
}

fn line_digest(line: &[u8]) -> LineDigest {
    let mut half = [0; 16];
    half.copy_from_slice(&Digest::of(line).0[..16]);
    half
}

/// On one line, without control characters, at most [`LONGEST_TITLE`] characters; none when nothing is left.
fn shortened(title: &str) -> Option<String> {
    let words: Vec<&str> = title.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    let short: String = line.chars().take(LONGEST_TITLE).collect();
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Reading {
        let mut reader = Reader::new([]).keeping_messages();
        reader.push(bytes);
        reader.finish()
    }

    const SPOKEN: &str = r#"{"type":"user","timestamp":"2026-11-20T10:41:38.819Z","cwd":"/w","message":{"role":"user"}}"#;

    #[test]
    fn lines_without_a_timestamp_at_the_end_do_not_hide_the_newest_message() {
        let text = format!("{SPOKEN}\n{{\"type\":\"cost-state\"}}\n{{\"type\":\"last-prompt\",\"lastPrompt\":\"fix the\\n  build\"}}\n");
        let reading = read(text.as_bytes());
        assert_eq!(reading.content.newest_message, Moment::parse("2026-11-20T10:41:38.819Z"));
        assert_eq!(reading.title.as_deref(), Some("fix the build"));
        assert_eq!(reading.working_directories, ["/w"]);
    }

    #[test]
    fn times_that_run_backwards_give_their_maximum() {
        let text = "{\"type\":\"assistant\",\"timestamp\":\"2026-01-02T00:00:00Z\"}\n{\"type\":\"user\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\n{\"type\":\"system\",\"timestamp\":\"2026-01-03T00:00:00Z\"}\n";
        let content = read(text.as_bytes()).content;
        assert_eq!(content.newest_message, Moment::parse("2026-01-02T00:00:00Z"));
        assert_eq!(content.newest, Moment::parse("2026-01-03T00:00:00Z"));
    }

    #[test]
    fn bad_lines_are_carried_and_tell_no_time() {
        for bad in [
            r#"{"timestamp":"2030-01-01T00:00:00Z"}{"type":"user","timestamp":"2030-01-01T00:00:00Z"}"#,
            r#"{"type":"user","timestamp":"2030-01-01T00:00:00Z""#,
            r#"{"type":"user","timestamp":"2030-01-01T00:00:00Z","timestamp":"2031-01-01T00:00:00Z"}"#,
            r#"{"type":"user","timestamp":1e308}"#,
            r#"{"type":"user","nested":{"timestamp":"2030-01-01T00:00:00Z"}}"#,
            r#"["2030-01-01T00:00:00Z"]"#,
            "\0\0\0\0",
            "",
        ] {
            let reading = read(format!("{SPOKEN}\n{bad}\n").as_bytes());
            assert_eq!(reading.content.newest, Moment::parse("2026-11-20T10:41:38.819Z"), "{bad}");
            assert_eq!(reading.content.length as usize, SPOKEN.len() + bad.len() + 2);
        }
    }

    #[test]
    fn a_torn_tail_is_outside_the_content_even_when_it_is_json() {
        let reading = read(format!("{SPOKEN}\n{SPOKEN}").as_bytes());
        assert_eq!(reading.content, read(format!("{SPOKEN}\n").as_bytes()).content);
        assert_eq!(reading.raw_length as usize, 2 * SPOKEN.len() + 1);
    }

    #[test]
    fn a_line_longer_than_the_bound_is_hashed_and_not_read() {
        let long = format!(r#"{{"type":"user","x":"{}","timestamp":"2030-01-01T00:00:00Z"}}"#, "y".repeat(LONGEST_LINE_READ));
        let text = format!("{long}\n{SPOKEN}\n");
        let mut reader = Reader::new([]);
        text.as_bytes().chunks(65_521).for_each(|chunk| reader.push(chunk));
        let reading = reader.finish();
        assert_eq!(reading.content.digest, Digest::of(text.as_bytes()));
        assert_eq!(reading.content.newest, Moment::parse("2026-11-20T10:41:38.819Z"));
        assert!(reading.working_directories == ["/w"]);
    }

    #[test]
    fn a_line_that_comes_in_two_pieces_is_read_as_one() {
        let text = format!("{SPOKEN}\n{{\"customTitle\":\"a title\"}}\nno json\n{}\n{{\"type\":\"torn", SPOKEN.replace("10:41", "10:42").replace("/w", "/v"));
        let whole = read(text.as_bytes());
        assert_eq!((whole.message_count, whole.title.as_deref(), whole.working_directories.len()), (2, Some("a title"), 2));
        for cut in 0..=text.len() {
            let mut reader = Reader::new([]).keeping_messages();
            reader.push(&text.as_bytes()[..cut]);
            reader.push(&text.as_bytes()[cut..]);
            assert_eq!(reader.finish(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_first_working_directories_are_kept_each_once() {
        let said = |number: usize| SPOKEN.replace("/w", &format!("/w{number}"));
        let lines: Vec<String> = (0..MOST_WORKING_DIRECTORIES + 3).flat_map(|number| [said(number), said(0)]).collect();
        let found = read((lines.join("\n") + "\n").as_bytes()).working_directories;
        assert_eq!(found, (0..MOST_WORKING_DIRECTORIES).map(|number| format!("/w{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_is_read_up_to_the_bound() {
        for (length, count) in [(LONGEST_LINE_READ, 1), (LONGEST_LINE_READ + 1, 0)] {
            let line = SPOKEN.replacen('}', &format!(",\"x\":\"{}\"}}", "x".repeat(length - SPOKEN.len() - 7)), 1);
            assert_eq!(line.len(), length);
            let mut reader = Reader::new([]);
            for piece in [&line[..7], &line[7..], "\n", SPOKEN, "\n"] {
                reader.push(piece.as_bytes());
            }
            assert_eq!(reader.finish().message_count, count + 1, "{length} bytes, and the next line is read in any case");
        }
    }

    proptest! {
        #[test]
        fn any_cut_into_chunks_reads_the_same(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400), cuts in proptest::collection::vec(0usize..400, 0..6), marks in proptest::collection::vec(0u64..450, 0..5)) {
            let whole = read(&bytes);
            let mut reader = Reader::new(marks.clone()).keeping_messages();
            let mut at = 0;
            let mut cuts = cuts.clone();
            cuts.sort_unstable();
            for cut in cuts.into_iter().filter(|c| *c <= bytes.len()).chain([bytes.len()]) {
                reader.push(&bytes[at..cut.max(at)]);
                at = cut.max(at);
            }
            let cut = reader.finish();
            prop_assert_eq!(&cut.content, &whole.content);
            prop_assert_eq!(cut.raw_digest, Digest::of(&bytes));
            let complete = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            prop_assert_eq!(cut.content.digest, Digest::of(&bytes[..complete]));
            for mark in marks {
                let expected = bytes.get(..mark as usize).map(Digest::of);
                prop_assert_eq!(cut.marks.get(&mark).copied(), expected);
            }
        }
    }
}
