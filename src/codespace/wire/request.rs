//! What is said to the far side: one verb, the claude directory, and a body that ends with an empty line; behind it, the archive of a put.
//!
//! A listing that names nothing but what is ours travels as a word beside the script ([`Request::word`]): what goes by stdin may follow
//! a command only once the far side has begun it, which is one more way there and back. What is asked then goes by stdin, to the same
//! script.
//!
//! Promises: a request is checked as a whole before its first byte is written, and data are streamed from their files. Never:
//! a name with a control character on a line, a word that holds what a peer said or that some shell reads otherwise, or an archive
//! whose members are shorter than their headers say.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::{FarPath, Nonce, Token, VaultName, is_plain_directory};
use crate::reconcile::manifest::{SessionId, StorePath};

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A directory that is not absolute, too long, or holds a control character.
    #[error("`{}` cannot be asked of the far side: it is no plain absolute path", text.escape_debug())]
    Directory {
        /// The text.
        text: String,
    },
    /// A plan that contradicts itself.
    #[error("file {n} of the request: {what}")]
    Plan {
        /// Its number.
        n: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The bytes of a file could not be read here.
    #[error("cannot read {} to send it", path.display())]
    Data {
        /// Where they lie.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The channel did not take the request.
    #[error("cannot send the request")]
    Send(#[source] io::Error),
}

/// One call.
#[derive(Debug, Clone)]
pub enum Request {
    /// What is there.
    List {
        /// The claude directory; `None` lets the far side look for it.
        claude: Option<String>,
        /// The directory that holds clones, instead of `/workspaces`.
        workspaces: Option<String>,
        /// More directories that may lie in a clone.
        roots: Vec<String>,
        /// Who visits: noted there where an earlier PUT left a place for it. `None` changes nothing at all.
        agent: Option<Uuid>,
    },
    /// Digests of whole files and of prefixes.
    Hash {
        /// The claude directory, as LIST answered it.
        claude: String,
        /// Of what.
        wants: Vec<HashWant>,
        /// Bytes that will be wanted then, in the order of the answer.
        ahead: Vec<Range>,
    },
    /// Bytes.
    Get {
        /// The claude directory, as LIST answered it.
        claude: String,
        /// Which, in the order of the answer.
        wants: Vec<Range>,
    },
    /// Files to install, vault objects to drop, sessions to forget.
    Put(PutRequest),
}

/// A digest to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HashWant {
    /// The file.
    pub path: FarPath,
    /// How many of its first bytes; `None` is all of them.
    pub first: Option<u64>,
}

/// Bytes to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range {
    /// The file.
    pub path: FarPath,
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.offset, self.length, self.path)
    }
}

/// What is to be done on the far side, in the order in which it is to be done.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// The claude directory, as LIST answered it.
    pub claude: String,
    /// The id to write if the store has none.
    pub replica: Option<Uuid>,
    /// Who visits, to be noted there.
    pub agent: Option<Uuid>,
    /// KiB that must be free once the archive is unpacked, or nothing is done.
    pub need_kib: Option<u64>,
    /// The files, by ascending number.
    pub files: Vec<PutFile>,
    /// Vault objects whose successor this machine's vault has.
    pub drops: Vec<VaultDrop>,
    /// Sessions that their user forgot.
    pub forgets: Vec<Forget>,
}

/// A session to remove with all that is of it, and the note that stays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forget {
    /// The session.
    pub session: SessionId,
    /// When its user forgot it.
    pub date: DateTime<Utc>,
}

/// A vault object to drop, if it still has this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultDrop {
    /// Its name.
    pub name: VaultName,
    /// Its size as listed.
    pub size: u64,
}

/// Whether a file must not exist, or must be exactly the one that was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// It must not exist.
    Create,
    /// It must have this token; its first `base` bytes are kept before the data (0: the data are the whole).
    Replace {
        /// As listed.
        token: Token,
        /// Bytes kept.
        base: u64,
    },
}

/// One file to install.
#[derive(Debug, Clone)]
pub struct PutFile {
    /// Its number, which its outcome carries.
    pub n: u32,
    /// Create or replace.
    pub operation: Operation,
    /// Bytes of the result.
    pub size: u64,
    /// Digest of the result.
    pub sha256: [u8; 32],
    /// Where.
    pub path: StorePath,
    /// Seconds since 1970; what lies before is sent as 0.
    pub mtime: i64,
    /// The bytes behind the base.
    pub data: DataSource,
}

/// Where bytes to send lie on this machine.
#[derive(Debug, Clone)]
pub struct DataSource {
    /// The file; never read through a symbolic link.
    pub path: PathBuf,
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

impl Request {
    /// Whether more can be asked behind it: a put takes all that comes.
    #[must_use]
    pub fn has_an_end(&self) -> bool {
        !matches!(self, Self::Put(_))
    }

    /// The whole request, where it can stand on a command line: a listing of no directory but those of the configuration, if these are
    /// plain.
    ///
    /// # Errors
    /// As [`Request::write`].
    pub fn word(&self, nonce: &Nonce) -> Result<Option<String>, RequestError> {
        if !matches!(self, Self::List { roots, .. } if roots.is_empty()) {
            return Ok(None);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._- \n".contains(&byte);
        Ok(Some(self.text(nonce)?).filter(|text| text.bytes().all(plain)))
    }

    /// Writes the whole request; behind a put the caller closes the stream.
    ///
    /// # Errors
    /// A text that would break a line, a plan that contradicts itself (nothing was written then), data that cannot be read in
    /// full, or a stream that takes no more.
    pub fn write(&self, nonce: &Nonce, out: &mut impl Write) -> Result<(), RequestError> {
        writeln!(out, "{}", self.text(nonce)?).map_err(RequestError::Send)?;
        if let Self::Put(put) = self {
            put.archive(out)?;
        }
        out.flush().map_err(RequestError::Send)
    }

    /// All but the archive of a put.
    fn text(&self, nonce: &Nonce) -> Result<String, RequestError> {
        let (verb, claude) = match self {
            Self::List { claude, .. } => ("list", claude.as_deref()),
            Self::Hash { claude, .. } => ("hash", Some(claude.as_str())),
            Self::Get { claude, .. } => ("get", Some(claude.as_str())),
            Self::Put(PutRequest { claude, .. }) => ("put", Some(claude.as_str())),
        };
        let mut text = format!("{verb} {}\n{}\n", nonce.as_str(), claude.map_or(Ok("-"), directory)?);
        match self {
            Self::List { workspaces, roots, agent, .. } => {
                let lines = workspaces.iter().map(|path| ("workspaces", path)).chain(roots.iter().map(|path| ("root", path)));
                for (word, path) in lines {
                    text.push_str(&format!("{word} {}\n", directory(path)?));
                }
                agent.iter().for_each(|agent| text.push_str(&format!("agent {agent}\n")));
            }
            Self::Hash { wants, ahead, .. } => {
                // The answer says each thing once.
                let mut asked = HashSet::new();
                wants.iter().filter(|want| asked.insert(*want)).for_each(|want| match want.first {
                    Some(first) => text.push_str(&format!("h {first} {}\n", want.path)),
                    None => text.push_str(&format!("w {}\n", want.path)),
                });
                ahead.iter().for_each(|range| text.push_str(&format!("b {range}\n")));
            }
            Self::Get { wants, .. } => wants.iter().for_each(|range| text.push_str(&format!("{range}\n"))),
            Self::Put(put) => put.check()?,
        }
        Ok(text)
    }
}

fn directory(text: &str) -> Result<&str, RequestError> {
    if is_plain_directory(text) { Ok(text) } else { Err(RequestError::Directory { text: text.to_owned() }) }
}

impl PutRequest {
    fn check(&self) -> Result<(), RequestError> {
        let (mut before, mut paths) = (None, BTreeSet::new());
        for file in &self.files {
            let base = match file.operation {
                Operation::Create => 0,
                Operation::Replace { base, .. } => base,
            };
            let what = if before.is_some_and(|before| before >= file.n) {
                "its number does not ascend"
            } else if base.checked_add(file.data.len) != Some(file.size) {
                "its base and its data do not add up to its size"
            } else if !paths.insert(&file.path) {
                "its path was named before"
            } else {
                before = Some(file.n);
                continue;
            };
            return Err(RequestError::Plan { n: file.n, what });
        }
        Ok(())
    }

    fn plan(&self) -> String {
        let mut plan = String::new();
        if let Some(replica) = self.replica {
            plan.push_str(&format!("replica {replica}\n"));
        }
        if let Some(agent) = self.agent {
            plan.push_str(&format!("agent {agent}\n"));
        }
        if let Some(need) = self.need_kib {
            plan.push_str(&format!("need {need}\n"));
        }
        for PutFile { n, operation, size, sha256, path, .. } in &self.files {
            let (letter, base, token) = match operation {
                Operation::Create => ('c', 0, "-"),
                Operation::Replace { token, base } => ('r', *base, token.as_str()),
            };
            let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            plan.push_str(&format!("file {n} {letter} {} {base} {token} {size} {sha256} {path}\n", path.session));
        }
        for VaultDrop { name, size } in &self.drops {
            plan.push_str(&format!("drop {name} {size}\n"));
        }
        for Forget { session, date } in &self.forgets {
            plan.push_str(&format!("forget {session} {}\n", date.to_rfc3339_opts(SecondsFormat::Micros, true)));
        }
        plan
    }

    fn archive(&self, out: &mut impl Write) -> Result<(), RequestError> {
        let mut archive = tar::Builder::new(out);
        let plan = self.plan();
        archive.append(&member("plan", plan.len() as u64, 0).map_err(RequestError::Send)?, plan.as_bytes()).map_err(RequestError::Send)?;
        for file in &self.files {
            let header = member(&format!("data/{}", file.n), file.data.len, file.mtime).map_err(RequestError::Send)?;
            let unread = |source| RequestError::Data { path: file.data.path.clone(), source };
            let mut bytes = ExactBytes::open(&file.data).map_err(unread)?;
            if let Err(error) = archive.append(&header, &mut bytes) {
                return Err(if bytes.failed { unread(error) } else { RequestError::Send(error) });
            }
        }
        archive.into_inner().map(|_| ()).map_err(RequestError::Send)
    }
}

fn member(name: &str, size: u64, mtime: i64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(mtime).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

/// Exactly the bytes that were promised: a file that ends before them is an error, not a short member.
struct ExactBytes {
    file: File,
    left: u64,
    failed: bool,
}

impl ExactBytes {
    fn open(source: &DataSource) -> io::Result<Self> {
        let mut file = File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(&source.path)?;
        file.seek(SeekFrom::Start(source.offset))?;
        Ok(Self { file, left: source.len, failed: false })
    }
}

impl Read for ExactBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = match self.file.read(&mut buffer[..most]) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            other => other,
        };
        match &read {
            Ok(read) => self.left -= *read as u64,
            Err(error) => self.failed = error.kind() != io::ErrorKind::Interrupted,
        }
        read
    }
}

#[cfg(test)]
mod tests;
