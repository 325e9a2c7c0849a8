//! The answer to HASH: the digests that were asked for, and no others.

use std::collections::HashMap;

use tokio::io::AsyncRead;

use super::answer::{Answer, bad_line, lines, plain};
use super::{FarPath, HashWant, WireError, grammar, number};

/// Most bytes of the item: 200,000 lines of a digest and a path.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The digests that the far side has for what it was asked; `None` for what it cannot read (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes(HashMap<FarPath, HashMap<Option<u64>, Option<[u8; 32]>>>);

/// Digests as they are known, each with what was asked for; for a replica that no wire leads to.
impl FromIterator<(HashWant, Option<[u8; 32]>)> for Hashes {
    fn from_iter<T: IntoIterator<Item = (HashWant, Option<[u8; 32]>)>>(digests: T) -> Self {
        let mut hashes: HashMap<FarPath, HashMap<_, _>> = HashMap::new();
        for (HashWant { path, first }, digest) in digests {
            hashes.entry(path).or_default().insert(first, digest);
        }
        Self(hashes)
    }
}

impl Hashes {
    /// Reads the whole answer. Every digest must have been asked for, once, and nothing asked may be left out.
    ///
    /// # Errors
    /// Whatever else is in it, or missing.
    pub async fn read<R: AsyncRead + Unpin>(mut answer: Answer<R>, wants: &[HashWant]) -> Result<Self, WireError> {
        let text = answer.text("hashes", LONGEST).await?;
        answer.finish().await?;
        let mut asked: HashMap<String, HashMap<Option<u64>, Option<[u8; 32]>>> = HashMap::new();
        for want in wants {
            asked.entry(want.path.to_string()).or_default().insert(want.first, None);
        }
        let mut unreadable = std::collections::HashSet::new();
        for line in lines(&text) {
            let bad = || bad_line("hashes", line);
            let (path, first, digest) = match *plain(line, "hashes")?.split(' ').collect::<Vec<_>>() {
                ["w", digest, path] => (path, None, digest),
                ["h", first, digest, path] => (path, Some(number(first).ok_or_else(bad)?), digest),
                ["x", path] if asked.contains_key(path) => {
                    unreadable.insert(path);
                    continue;
                }
                _ => return Err(bad()),
            };
            let digest = sha256(digest).ok_or_else(bad)?;
            let slot = asked.get_mut(path).and_then(|of_path| of_path.get_mut(&first)).ok_or_else(bad)?;
            if slot.replace(digest).is_some() {
                return Err(bad());
            }
        }
        let mut hashes: HashMap<FarPath, HashMap<_, _>> = HashMap::new();
        for want in wants {
            let path = want.path.to_string();
            let digest = asked.get(&path).and_then(|of_path| of_path.get(&want.first)).copied().flatten();
            if digest.is_none() && !unreadable.contains(path.as_str()) {
                return Err(grammar(format!("no word of `{path}` in `hashes`")));
            }
            hashes.entry(want.path.clone()).or_default().insert(want.first, digest);
        }
        Ok(Self(hashes))
    }

    /// The digest of a file (`None`), or of its first bytes; `None` if it could not be read or is shorter.
    #[must_use]
    pub fn get(&self, path: &FarPath, first: Option<u64>) -> Option<[u8; 32]> {
        self.0.get(path)?.get(&first).copied().flatten()
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
