//! What an answer to HASH begins with: the digests that were asked for, and no others.

use tokio::io::AsyncRead;

use super::answer::{Answer, bad_line, lines, plain};
use super::{FarPath, HashWant, WireError, grammar, number};

/// Most bytes of the item: 200,000 lines of a digest and a path.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The digests that the far side has for what it was asked; `None` for what it cannot read (any more).
///
/// In the order of the paths, and there may be tens of thousands of them: a table of tables took most of what a first pass needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes(Vec<Asked>);

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    path: FarPath,
    first: Option<u64>,
    digest: Option<[u8; 32]>,
    unreadable: bool,
}

/// Digests as they are known, each with what was asked for; for a replica that no wire leads to.
impl FromIterator<(HashWant, Option<[u8; 32]>)> for Hashes {
    fn from_iter<T: IntoIterator<Item = (HashWant, Option<[u8; 32]>)>>(digests: T) -> Self {
        Self::in_order(digests.into_iter().map(|(HashWant { path, first }, digest)| Asked { path, first, digest, unreadable: digest.is_none() }))
    }
}

impl Hashes {
    fn in_order(asked: impl Iterator<Item = Asked>) -> Self {
        let mut asked: Vec<Asked> = asked.collect();
        asked.sort_by(|one, other| (&one.path, one.first).cmp(&(&other.path, other.first)));
        asked.dedup_by(|one, other| (&one.path, one.first) == (&other.path, other.first));
        Self(asked)
    }

    /// Reads the first item of an answer; bytes may follow. Every digest must have been asked for, once, and nothing asked may be left
    /// out.
    ///
    /// # Errors
    /// Whatever else is in it, or missing.
    pub async fn read<R: AsyncRead + Unpin>(answer: &mut Answer<R>, wants: &[HashWant]) -> Result<Self, WireError> {
        let text = answer.text("hashes", LONGEST).await?;
        let mut hashes = Self::in_order(wants.iter().cloned().map(|HashWant { path, first }| Asked { path, first, digest: None, unreadable: false }));
        for line in lines(&text) {
            let bad = || bad_line("hashes", line);
            let (path, first, digest) = match *plain(line, "hashes")?.split(' ').collect::<Vec<_>>() {
                ["w", digest, path] => (path, None, digest),
                ["h", first, digest, path] => (path, Some(number(first).ok_or_else(bad)?), digest),
                ["x", path] => {
                    let of_path = FarPath::read(path).map(|path| hashes.of(&path)).unwrap_or_default();
                    if of_path.is_empty() {
                        return Err(bad());
                    }
                    of_path.iter_mut().for_each(|asked| asked.unreadable = true);
                    continue;
                }
                _ => return Err(bad()),
            };
            let (path, digest) = FarPath::read(path).zip(sha256(digest)).ok_or_else(bad)?;
            let asked = hashes.of(&path).iter_mut().find(|asked| asked.first == first).ok_or_else(bad)?;
            if asked.digest.replace(digest).is_some() {
                return Err(bad());
            }
        }
        match hashes.0.iter().find(|asked| asked.digest.is_none() && !asked.unreadable) {
            Some(Asked { path, .. }) => Err(grammar(format!("no word of `{path}` in `hashes`"))),
            None => Ok(hashes),
        }
    }

    /// All that was asked of one file.
    fn of(&mut self, path: &FarPath) -> &mut [Asked] {
        let begin = self.0.partition_point(|asked| asked.path < *path);
        let end = begin + self.0[begin..].partition_point(|asked| asked.path == *path);
        &mut self.0[begin..end]
    }

    /// The digest of a file (`None`), or of its first bytes; `None` if it could not be read or is shorter.
    #[must_use]
    pub fn get(&self, path: &FarPath, first: Option<u64>) -> Option<[u8; 32]> {
        let at = self.0.binary_search_by(|asked| (&asked.path, asked.first).cmp(&(path, first))).ok()?;
        self.0[at].digest
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let shaped = digits.len() == 64 && digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate().filter(|_| shaped) {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    shaped.then_some(digest)
}
