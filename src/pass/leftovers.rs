//! What lies in the vault beside a far store: displaced copies. One that this machine holds may go; any other is brought home.
//!
//! Promises: an object goes only after this machine has found its very bytes at the beginning of a file of its own vault, and
//! the far side finds its size unchanged. Nothing is asked for it in a visit that neither reads nor installs anything.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::bases::Bases;
use super::here::Here;
use crate::codespace::wire::{FarPath, VaultDrop, VaultObject};
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::transcript::Digest;
use crate::store::read;
use crate::store::vault::{Note, Reason};

/// Most objects looked at in one visit.
pub const MOST: usize = 200;

/// An object of a far vault.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// The session that it was a copy of.
    pub session: SessionId,
    /// The object, as listed.
    pub object: VaultObject,
    /// SHA-256 of all its bytes, as the far side says.
    pub digest: Digest,
    /// Whether this machine's archive or vault begins with those bytes.
    pub is_home: bool,
    /// What was fetched of it, once it is here whole.
    pub staged: Option<PathBuf>,
}

impl Leftover {
    /// Its path there.
    #[must_use]
    pub fn path(&self) -> FarPath {
        FarPath::Vault(self.object.name.clone())
    }

    /// What is to be said to the far side to let it go.
    #[must_use]
    pub fn to_drop(&self) -> VaultDrop {
        VaultDrop { name: self.object.name.clone(), size: self.object.size }
    }
}

/// Whether a kept file of this machine begins with these bytes. Reads them; what cannot be read holds nothing.
pub async fn is_home(bases: &Arc<Bases>, session: SessionId, size: u64, digest: Digest) -> bool {
    let bases = Arc::clone(bases);
    let begins = move |path: PathBuf| {
        let file = File::open(path)?;
        // A shorter one need not be read.
        Ok::<_, io::Error>(file.metadata()?.len() >= size && read::prefix(&file, size)? == Some(digest))
    };
    let look = move || bases.kept(session, size).into_iter().any(|path| begins(path).unwrap_or(false));
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// Keeps what was fetched from a far vault.
///
/// # Errors
/// When this machine's vault cannot be written.
pub fn keep(leftovers: &mut [Leftover], name: &str, here: &mut Here, at: DateTime<Utc>) -> io::Result<()> {
    for leftover in leftovers {
        let Some(staged) = &leftover.staged else { continue };
        let note = Note::new(leftover.session, Part::Transcript, Reason::Recovered, name, at, (leftover.object.size, leftover.digest));
        match here.vault.copy(staged, note) {
            Ok(()) => leftover.is_home = true,
            // Not the bytes that were announced: it stays where it is, and is looked at again.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
