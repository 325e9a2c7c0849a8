//! The wire: what is said to the far side's script, and what it may answer.
//!
//! For every visit. The script is made of constants, so no name and no number ever meets a shell's parser; they go by stdin. (A listing
//! that asks for nothing in particular is a word of its own beside it: [`Request::word`].) An answer begins after a marker that holds a fresh
//! nonce, and from there every item declares its length.
//!
//! Promises: a request that could break a line is refused before a byte is sent; an answer outside the grammar, beyond a bound,
//! cut short, or with something in one piece with its end, is a [`WireError`], and what it holds is allocated as it arrives, never as it is
//! announced. Never: a far name that was not parsed into one of our types, and no far text unescaped in an error.

mod answer;
mod hashes;
mod listing;
mod outcome;
mod request;
mod script;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use answer::{Answer, Fetched, ItemHeader};
pub use hashes::Hashes;
pub use listing::{FarFile, Listing, Live, Root, Skipped, VaultObject};
pub use outcome::{Dropped, Forgotten, Grown, Outcome, PutAnswer};
pub use request::{DataSource, Forget, HashWant, Operation, PutFile, PutRequest, Range, Request, RequestError, VaultDrop};
pub use script::script;

use crate::reconcile::manifest::{Stamp, StorePath};
use crate::reconcile::plain::visible;

/// Longest far text that is kept in an error.
const LONGEST_FAR_TEXT: usize = 2048;
/// Of what came instead of an answer, so much is told: enough to know a banner by.
const LONGEST_NOISE: usize = 200;
/// Where the far vault lies, below the claude directory.
const VAULT: &str = ".claude-session-sync/vault/";
/// Longest path of a directory, either way.
const LONGEST_DIRECTORY: usize = 4096;

/// Names one call: the answer's marker and its end carry it, so nothing printed by a login script can pass for either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// A random one: 32 hex digits.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why an answer was not taken. Far text in it is escaped and at most 2 KiB long.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The command ended, or printed more than 64 KiB, without our marker.
    #[error("the far side did not start our script; it said `{seen}`")]
    NoMarker {
        /// The end of what it printed instead.
        seen: String,
    },
    /// The answer is not in the grammar.
    #[error("the far side's answer breaks the protocol: {what}")]
    Grammar {
        /// What is wrong with it.
        what: String,
    },
    /// An item declares more bytes than its kind may have.
    #[error("the far side's item `{kind}` of {length} bytes is beyond its bound")]
    TooLarge {
        /// The kind of item.
        kind: String,
        /// Its declared length.
        length: u64,
    },
    /// The stream ended before the answer did.
    #[error("the far side's answer ended early")]
    EndedEarly,
    /// The script says that it failed.
    #[error("the far side failed: {0}")]
    Far(String),
    /// No byte came for this long.
    #[error("the far side sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
    /// Bytes came, and so few of them that the answer would never end.
    #[error("the far side's answer came too slowly: {received} bytes, and no end of it")]
    TooSlow {
        /// So many came.
        received: u64,
    },
    /// The channel failed.
    #[error("cannot read the far side's answer")]
    Read(#[source] std::io::Error),
    /// What was fetched could not be written here.
    #[error("cannot write what the far side sent")]
    Write(#[source] std::io::Error),
}

/// Shorthand for the variant used most.
fn grammar(what: impl Into<String>) -> WireError {
    WireError::Grammar { what: what.into() }
}

/// Far bytes as text that is safe to print, of at most `limit` bytes.
fn escaped(bytes: &[u8], limit: usize) -> String {
    let mut safe = visible(&String::from_utf8_lossy(&bytes[..bytes.len().min(limit)])).into_owned();
    safe.truncate(safe.floor_char_boundary(limit));
    safe
}

/// Absolute, not too long, and without a control character: it can stand on a line.
fn is_plain_directory(text: &str) -> bool {
    text.starts_with('/') && text.len() <= LONGEST_DIRECTORY && !text.chars().any(char::is_control)
}

/// A number as the far side may write it: decimal, no sign, no leading zero, at most 20 digits.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// What the far side says of one file, kept as its very text: `inode:size:mtime:ctime`. A replacement names it, and is done only
/// while the far side still says the same. A clone of it is no copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

impl Token {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as numbers; times in nanoseconds, saturating in the year 2262.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut fields = self.0.split(':');
        let mut next = || fields.next().unwrap_or_default();
        let (inode, size) = (number(next()).unwrap_or_default(), number(next()).unwrap_or_default());
        Stamp { inode, size, modified: nanoseconds(next()).unwrap_or_default(), changed: nanoseconds(next()).unwrap_or_default() }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not inode:size:mtime:ctime")]
pub struct NotAToken;

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let fits = match *text.split(':').collect::<Vec<_>>() {
            [inode, size, modified, changed] => number(inode).and(number(size)).is_some() && nanoseconds(modified).and(nanoseconds(changed)).is_some(),
            _ => false,
        };
        if fits { Ok(Self(text.into())) } else { Err(NotAToken) }
    }
}

/// Seconds with an optional fraction of up to 9 digits, as nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let seconds = i64::try_from(number(seconds)?).ok()?;
    let missing = u32::try_from(9_usize.checked_sub(fraction.len())?).ok()?;
    let fraction: i64 = fits.then(|| fraction.parse().ok()).flatten()?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(fraction * 10_i64.pow(missing)))
}

/// A file on the far side that may be read: of a session, or in our vault there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FarPath {
    /// Below `projects/`.
    Store(StorePath),
    /// In the vault beside the store.
    Vault(VaultName),
}

impl FarPath {
    /// A path as the far side names it.
    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("projects/") {
            Some(path) => path.parse().ok().map(Self::Store),
            None => text.strip_prefix(VAULT)?.parse().ok().map(Self::Vault),
        }
    }
}

/// As it goes by stdin: below the claude directory.
impl fmt::Display for FarPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(path) => write!(f, "projects/{path}"),
            Self::Vault(name) => write!(f, "{VAULT}{name}"),
        }
    }
}

/// The name of an object in the far vault: `<session>.<bytes>.<16 hex digits of its successor's digest>.<put>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultName(String);

impl VaultName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How long the file was when it was displaced.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.split('.').nth(1).and_then(|length| length.parse().ok()).unwrap_or_default()
    }

    /// The session that the displaced file was of.
    #[must_use]
    pub fn session(&self) -> Option<crate::reconcile::manifest::SessionId> {
        self.0.split('.').next().and_then(|id| id.parse().ok())
    }
}

impl fmt::Display for VaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that names no object of our vaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no name of ours")]
pub struct NotAVaultName;

impl FromStr for VaultName {
    type Err = NotAVaultName;

    fn from_str(text: &str) -> Result<Self, NotAVaultName> {
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let fits = match *text.split('.').collect::<Vec<_>>() {
            [session, size, successor, put] => {
                let (nonce, place) = put.split_once('-').unwrap_or((put, "0"));
                session.parse::<crate::reconcile::manifest::SessionId>().is_ok()
                    && number(size).and(number(place)).is_some()
                    && (successor.len() == 16 && hex(successor) && nonce.len() == 32 && hex(nonce))
            }
            _ => false,
        };
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAVaultName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_a_number_of_its_own() {
        let (one, other) = (Nonce::random(), Nonce::random());
        assert_ne!(one, other);
        assert!(one.as_str().len() == 32 && one.as_str().bytes().all(|b| b.is_ascii_hexdigit()), "{one:?}");
    }

    #[test]
    fn a_token_keeps_its_text_and_gives_nanoseconds() {
        let token: Token = "12:34:1732154879.5:1732154879".parse().unwrap();
        assert_eq!((token.as_str(), token.to_string().as_str()), ("12:34:1732154879.5:1732154879", "12:34:1732154879.5:1732154879"));
        assert_eq!(token.stamp(), Stamp { inode: 12, size: 34, modified: 1_732_154_879_500_000_000, changed: 1_732_154_879_000_000_000 });
        for text in ["", "1:2:3", "1:2:3:4:5", "-1:2:3:4", "01:2:3:4", "1:2:3.:4", "1:2:.3:4", "1:2:3.1234567890:4", "1:2:3:4 ", "1:2:3:x", "1:+2:3:4"] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
        assert_eq!("1:2:99999999999:4".parse::<Token>().unwrap().stamp().modified, i64::MAX);
    }

    #[test]
    fn far_text_is_escaped_and_cut() {
        assert_eq!(escaped(b"a\x1b[31m\xff'", 100), "a\\u{1b}[31m\u{fffd}'");
        assert_eq!(escaped("\u{202e}x".as_bytes(), 100), "\\u{202e}x");
        assert_eq!(escaped(&[0x1b; 10_000], 2048).len(), 2048);
    }

    #[test]
    fn a_vault_name_has_four_parts() {
        let name = format!("6f869d7b-ce51-4e00-8a05-674dde6aa368.12.0123456789abcdef.{}-3", "a".repeat(32));
        let read: VaultName = name.parse().unwrap();
        assert_eq!((read.session().unwrap().to_string().as_str(), read.length()), ("6f869d7b-ce51-4e00-8a05-674dde6aa368", 12));
        assert_eq!((read.as_str(), FarPath::Vault(read.clone()).to_string()), (name.as_str(), format!(".claude-session-sync/vault/{name}")));
        assert!(name.trim_end_matches("-3").parse::<VaultName>().is_ok(), "of an earlier version");
        let put = |from: &str, to: &str| name.replacen(from, to, 1);
        for text in [
            format!("{name}.x"),
            format!("../{name}"),
            format!("{name} "),
            put(".12.", ".-1."),
            put(".12.", ".012."),
            name.replace('-', ""),
            put(".0123456789abcdef.", ".0123456789abcde."),
            put(".0123456789abcdef.", ".0123456789abcdeF."),
            put(".0123456789abcdef.", ".0123456789abcdeg."),
            put("aa-3", "a-3"),
            put("aa-3", "ag-3"),
            put("aa-3", "aa-x"),
            put("aa-3", "aa-"),
        ] {
            assert!(text.parse::<VaultName>().is_err(), "{text}");
        }
    }
}
