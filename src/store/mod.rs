//! This machine's sessions: what lies in the client's store, how a file in it is replaced, and where displaced bytes go.
//!
//! Promises: nothing under `projects/` is written but by [`apply`], nothing is removed but by [`proof`]. A session that its user forgot by
//! name goes by [`forget`], and [`forgotten`] remembers that.

pub mod apply;
pub mod archive;
pub mod branches;
pub mod fetched;
pub mod forget;
pub mod forgotten;
pub mod gc;
pub mod inspect;
pub mod live;
pub mod mentions;
pub mod note;
pub mod proof;
pub mod read;
pub mod recheck;
pub mod record;
pub mod repositories;
pub mod scan;
mod sync;
pub mod tree;
pub mod vault;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use tree::Tree;

/// The folder of ours beside `projects/`, on every side.
pub const OWN_FOLDER: &str = ".claude-session-sync";

/// Reads the store's id; none where nothing was ever written there by us.
///
/// # Errors
/// When it is there and cannot be read.
pub fn replica_id(claude: &Path) -> io::Result<Option<Uuid>> {
    match read::small(&claude.join(OWN_FOLDER).join("replica-id"), 64) {
        Ok(text) => Ok(Uuid::try_parse_ascii(text.trim_ascii()).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The store's id, made if there is none.
///
/// # Errors
/// When it cannot be written.
pub fn ensure_replica_id(claude: &Path) -> io::Result<Uuid> {
    if let Some(id) = replica_id(claude)? {
        return Ok(id);
    }
    let own = claude.join(OWN_FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
    vault::write_durably(&own.join("replica-id"), format!("{}\n", Uuid::new_v4()).as_bytes())?;
    replica_id(claude)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Where vault and stage lie: in the data directory, or beside the store if that is another device.
///
/// # Errors
/// When neither is on the store's device.
pub fn vault_root(data: &Path, claude: &Path, tree: &Tree) -> io::Result<PathBuf> {
    let device = tree.device()?;
    let of = |path: &Path| -> io::Result<u64> { Ok(std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path)?)) };
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    if of(data)? == device {
        return Ok(data.to_owned());
    }
    let own = claude.join(OWN_FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
    if of(&own)? == device {
        Ok(own)
    } else {
        Err(io::Error::new(io::ErrorKind::CrossesDevices, "projects/ is on a device of its own, where nothing of ours may lie"))
    }
}

/// Bytes of all files below a directory; what cannot be read counts as nothing.
#[must_use]
pub fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}
