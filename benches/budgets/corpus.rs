//! Sessions of the shape that the client writes, the same at every run.
//!
//! The lengths of the lines of a first turn were measured on client 2.1.329: 25 lines, 143 KB, two of them of 38 and 57 KB. Their text is
//! words, so it can be compressed about as prose can.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use claude_session_sync::reconcile::project::encode;

use crate::e2e_world::id;

/// The bytes of each line of a first turn.
const FIRST_TURN: [usize; 25] =
    [185, 139, 568, 1491, 839, 1319, 3881, 13_709, 1111, 83, 1340, 529, 1294, 7627, 173, 83, 38_401, 1473, 10_135, 1177, 1204, 56_984, 173, 83, 555];
/// Which of them are spoken by whom; the others are attachments.
const SPOKEN: [(usize, &str); 4] = [(2, "user"), (13, "assistant"), (18, "assistant"), (19, "user")];
const WORDS: [&str; 24] = [
    "the",
    "session",
    "reads",
    "a",
    "file",
    "of",
    "lines",
    "and",
    "then",
    "it",
    "writes",
    "another",
    "one",
    "because",
    "nobody",
    "asked",
    "for",
    "less",
    "than",
    "that",
    "in",
    "this",
    "codespace",
    "today",
];

/// What was written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Writes the sessions of a working directory, two hours old, and a second apart.
pub(crate) fn write(claude: &Path, cwd: &Path, sessions: u32) -> Written {
    let project = claude.join("projects").join(encode(&cwd.display().to_string()));
    fs::create_dir_all(&project).unwrap();
    fs::create_dir_all(claude.join("sessions")).unwrap();
    let mut written = Written::default();
    for number in 0..sessions {
        let then = SystemTime::now() - Duration::from_secs(7200 + u64::from(number));
        let mut put = |path: PathBuf, content: String, mode: u32| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = fs::File::create(&path).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.set_modified(then).unwrap();
            file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
            written.files += 1;
            written.bytes += content.len() as u64;
        };
        let folder = project.join(id(number));
        // Every second session has a large output of a tool, every eighth an agent below it.
        if number % 2 == 0 {
            put(folder.join("tool-results/toolu_01.txt"), words(number, 32_000), 0o644);
        }
        if number % 8 == 0 {
            let lines: String = FIRST_TURN[..14].iter().enumerate().map(|(at, bytes)| line(number, at, *bytes, cwd, then)).collect();
            put(folder.join("subagents/agent-0a1b2c3d.jsonl"), lines, 0o600);
            put(folder.join("subagents/agent-0a1b2c3d.meta.json"), "{\"agentType\":\"explore\"}\n".to_owned(), 0o644);
        }
        put(project.join(format!("{}.jsonl", id(number))), turn(number, cwd, then), 0o600);
    }
    written
}

/// The transcript of a session of one turn.
fn turn(number: u32, cwd: &Path, then: SystemTime) -> String {
    FIRST_TURN.iter().enumerate().map(|(at, bytes)| line(number, at, *bytes, cwd, then)).collect()
}

/// One line of about that length. The first ones and the last have neither a working directory nor a time, as with the client.
fn line(number: u32, at: usize, bytes: usize, cwd: &Path, then: SystemTime) -> String {
    let session = id(number);
    let kind = SPOKEN.iter().find(|(spoken, _)| *spoken == at).map_or("attachment", |(_, kind)| kind);
    let head = match at {
        0 => format!("{{\"type\":\"mode\",\"mode\":\"normal\",\"sessionId\":\"{session}\""),
        23.. => format!("{{\"type\":\"last-prompt\",\"sessionId\":\"{session}\""),
        _ => {
            let time = DateTime::<Utc>::from(then).format("%Y-%m-%dT%H:%M:%S.000Z");
            format!("{{\"type\":\"{kind}\",\"timestamp\":\"{time}\",\"cwd\":\"{}\",\"sessionId\":\"{session}\"", cwd.display())
        }
    };
    let text = words(number * 31 + u32::try_from(at).unwrap(), bytes.saturating_sub(head.len() + 60));
    format!("{head},\"message\":{{\"role\":\"{kind}\",\"content\":\"{text}\"}}}}\n")
}

/// So many bytes of words, and a line's worth at least.
pub(crate) fn words(seed: u32, bytes: usize) -> String {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[usize::try_from(state % 24).unwrap()]);
        // A name or a number now and then, which nobody can foresee.
        if state.is_multiple_of(5) {
            text.push_str(&format!(" {:x}", state >> 40));
        }
        text.push(' ');
    }
    text
}
