//! Where displaced bytes are kept: every copy that lost or was overtaken, byte for byte, with a note of how it came there.
//!
//! Promises: an object is complete and durable before anything is installed over the bytes it holds; an object goes only by
//! [`proof`]. Objects lie in `vault/displaced/<session>/`, a note beside each. Never: an object changed in place.

use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::NamedTempFile;

use super::archive::Archive;
use super::fetched;
use super::note::VERSION;
pub use super::note::{Note, Object, Reason};
use super::proof;
use super::tree::DIRECTORY;
use crate::reconcile::manifest::{Part, SessionId};
use crate::reconcile::order::Whole;
use crate::reconcile::transcript::Digest;

/// How the name of a file begins that is put in the place of another in the same directory once it is whole.
pub(super) const TEMPORARY: &str = ".new-";
/// How a file is opened that nothing may lie in the place of.
const NEW: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The vault and the stage of one store; they lie on the store's device.
#[derive(Debug)]
pub struct Vault {
    root: PathBuf,
    stage: OwnedFd,
    objects: Vec<Object>,
    /// Objects made by this process: the sweep leaves them for a later pass.
    fresh: Vec<PathBuf>,
}

impl Vault {
    /// Opens, or makes, `<root>/vault` and `<root>/stage`, 0700. A note of an unknown format is left alone.
    ///
    /// # Errors
    /// When they cannot be made or listed.
    pub fn open(root: &Path) -> io::Result<Self> {
        for directory in ["stage", "vault/displaced", "vault/archive"] {
            DirBuilder::new().recursive(true).mode(0o700).create(root.join(directory))?;
        }
        let stage = rustix::fs::openat(CWD, root.join("stage"), DIRECTORY, Mode::empty())?;
        let mut vault = Self { root: root.to_owned(), stage, objects: Vec::new(), fresh: Vec::new() };
        vault.list()?;
        Ok(vault)
    }

    fn list(&mut self) -> io::Result<()> {
        for session in std::fs::read_dir(self.root.join("vault/displaced"))? {
            let entries = match std::fs::read_dir(session?.path()) {
                // It went in this moment; or it is what a file manager leaves behind.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                let bytes = match std::fs::read(&path) {
                    // Another process of ours let it go in this moment.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    bytes => bytes?,
                };
                let Some(note) = serde_json::from_slice::<Note>(&bytes).ok().filter(|note| note.version == VERSION) else { continue };
                let path = path.with_extension("");
                // A note without its bytes holds nothing: they were let go of, or somebody took them. One that lost its end holds the rest.
                let length = path.symlink_metadata().map_or(0, |status| if status.is_file() { status.len() } else { 0 });
                if length >= note.length {
                    self.objects.push(Object { path, note });
                } else if let Some(whole) = (length > 0).then(|| whole(&path)).transpose().ok().flatten() {
                    self.objects.push(Object { path, note: note.holding(&whole) });
                }
            }
        }
        Ok(())
    }

    /// The directory of the vault, for the archive and for people.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.root.join("vault")
    }

    /// The stage's directory.
    #[must_use]
    pub fn stage(&self) -> &OwnedFd {
        &self.stage
    }

    /// The stage's path.
    #[must_use]
    pub fn stage_path(&self) -> PathBuf {
        self.root.join("stage")
    }

    /// All objects.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Where the copy with this content lies, if it is here.
    #[must_use]
    pub fn find(&self, session: SessionId, digest: Digest) -> Option<&Object> {
        self.objects.iter().find(|object| object.note.session == session && object.note.digest == digest)
    }

    /// Gives a file of ours that is about to go one more name, in the stage, until that is cleared: as a file of
    /// [`fetched::new`].
    ///
    /// # Errors
    /// As `link`.
    pub fn hold(&self, path: &Path) -> io::Result<PathBuf> {
        let held = self.stage_path().join(fetched::name());
        std::fs::hard_link(path, &held)?;
        Ok(held)
    }

    /// Looks at what lies in the stage: fetched bytes go, but for a part that waits for its rest; a new file that was never installed, or
    /// an old inode that a crash left after its exchange, goes only if the vault proves to hold its bytes, and else becomes an object of
    /// the vault.
    ///
    /// # Errors
    /// When the stage cannot be listed.
    pub fn clear_stage(&mut self, at: DateTime<Utc>) -> io::Result<()> {
        for entry in std::fs::read_dir(self.stage_path())? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if fetched::clear(&path, &name, at.into())? {
                continue;
            }
            let Some(session) = name.split('.').next().and_then(|id| id.parse::<SessionId>().ok()) else { continue };
            let stage = self.stage.try_clone()?;
            let proved = self.objects.iter().filter(|object| object.note.session == session).find_map(|object| {
                let directory = File::open(object.path.parent()?).ok()?;
                let object = object.path.file_name()?.to_str()?;
                proof::same_inode(&stage, &name, &directory, object).ok()
            });
            let archived = |path: PathBuf| proof::prefix_of(&stage, &name, &File::open(path).ok()?).ok();
            if let Some(proved) = proved.or_else(|| self.archived(session).into_iter().find_map(archived)) {
                proof::unlink(&stage, &name, proved)?;
                continue;
            }
            let (file, status) = super::tree::open_regular(&stage, &name)?;
            let digest = super::read::whole(file, 0)?.digest;
            let linked = self.link(&stage, &name, Note::new(session, Part::Transcript, Reason::Recovered, "here", at, (status.stamp.size, digest)))?;
            let proved = proof::same_inode(&stage, &name, &linked.directory, &linked.name)?;
            proof::unlink(&stage, &name, proved)?;
        }
        Ok(())
    }

    /// The archive's files of a session, its transcript first.
    fn archived(&self, session: SessionId) -> Vec<PathBuf> {
        let archive = self.path().join("archive");
        let mut found = vec![archive.join(session.file_name())];
        let mut folders = vec![archive.join(session.to_string())];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let into = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { &mut folders } else { &mut found };
                into.push(entry.path());
            }
        }
        found
    }

    /// A fresh file in the stage that is to be installed, 0600; its name begins with the session, so that a crash leaves no riddle.
    ///
    /// # Errors
    /// As `openat`.
    pub fn new_staged(&self, session: SessionId) -> io::Result<(String, File)> {
        let name = format!("{session}.{}", uuid::Uuid::new_v4().simple());
        let file = rustix::fs::openat(&self.stage, &name, NEW, Mode::RUSR.union(Mode::WUSR))?;
        Ok((name, file.into()))
    }

    /// Gives an existing file (a displaced inode, a staged copy) one more name, in the vault, and makes that durable.
    ///
    /// # Errors
    /// As `linkat` and `fsync`. Nothing was displaced then.
    pub fn link(&mut self, directory: impl AsFd, name: &str, note: Note) -> io::Result<Linked> {
        let folder = self.folder(note.session)?;
        let object = format!("{}.{}", note.digest, uuid::Uuid::new_v4().simple());
        rustix::fs::linkat(directory, name, &folder.1, &object, AtFlags::empty())?;
        rustix::fs::fsync(&folder.1)?;
        let linked = Linked { directory: folder.1, name: object.clone(), path: folder.0.join(&object) };
        self.note(&linked, note)?;
        Ok(linked)
    }

    /// Takes back a name that was given with [`Vault::link`], and its note.
    ///
    /// # Errors
    /// As the system's.
    pub fn take_back(&mut self, linked: &Linked, proved: proof::Proof) -> io::Result<()> {
        proof::unlink(&linked.directory, &linked.name, proved)?;
        proof::unlink(&linked.directory, format!("{}.json", linked.name), proof::only_ours(proof::OnlyOurs::created()))?;
        self.objects.retain(|object| object.path != linked.path);
        Ok(())
    }

    /// Keeps a copy of the first `length` bytes of a file, unless one that is here proves to hold them.
    ///
    /// # Errors
    /// As `read`, `write` and `fsync`; `InvalidData` where the bytes are not those of the note. Half a copy is removed.
    pub fn copy(&mut self, source: &Path, note: Note) -> io::Result<()> {
        let same = self.objects.iter().filter(|object| object.note.session == note.session && object.note.digest == note.digest);
        for path in same.map(|object| object.path.clone()).collect::<Vec<_>>() {
            if self.correct(&path)? {
                return Ok(());
            }
        }
        let (name, mut staged) = self.new_staged(note.session)?;
        let copied = copy_prefix(source, &mut staged, note.length).and_then(|()| holds(&mut staged, &note)).and_then(|()| staged.sync_all());
        let linked = copied.and_then(|()| self.link(self.stage.try_clone()?, &name, note));
        proof::unlink(&self.stage, &name, proof::only_ours(proof::OnlyOurs::created()))?;
        linked.map(drop)
    }

    /// Keeps a copy of all of a file of ours that is not what it was taken for; the note says what it was taken for.
    ///
    /// # Errors
    /// As `read`, `write` and `fsync`.
    pub fn copy_raw(&mut self, source: &Path, note: Note) -> io::Result<()> {
        self.copy(source, note.holding(&whole(source)?))
    }

    /// Whether an object holds what its note says. One that does not counts as what it does hold from now on: else it would stand for
    /// bytes that are nowhere here. One that cannot be read stays as it is, and what is none holds nothing.
    ///
    /// # Errors
    /// As `write` and `rename`.
    pub fn correct(&mut self, path: &Path) -> io::Result<bool> {
        match self.objects.iter().find(|object| object.path == path).map(Object::holds) {
            Some(Ok(false)) => {}
            Some(Ok(true)) => return Ok(true),
            Some(Err(_)) | None => return Ok(false),
        }
        if let Ok(whole) = whole(path) {
            self.annotate(path, |note| *note = note.clone().holding(&whole))?;
        }
        Ok(false)
    }

    /// Writes the note of an object again, with what became known later.
    ///
    /// # Errors
    /// As `write` and `rename`.
    pub fn annotate(&mut self, path: &Path, change: impl FnOnce(&mut Note)) -> io::Result<()> {
        let Some(object) = self.objects.iter_mut().find(|object| object.path == path) else { return Ok(()) };
        let before = object.note.clone();
        change(&mut object.note);
        if object.note == before { Ok(()) } else { write_note(&self.root.join("stage"), &object.path, &object.note) }
    }

    fn folder(&self, session: SessionId) -> io::Result<(PathBuf, OwnedFd)> {
        let path = self.root.join("vault/displaced").join(session.to_string());
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => File::open(self.root.join("vault/displaced"))?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let directory = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty())?;
        Ok((path, directory))
    }

    fn note(&mut self, linked: &Linked, note: Note) -> io::Result<()> {
        write_note(&self.stage_path(), &linked.path, &note)?;
        self.fresh.push(linked.path.clone());
        self.objects.push(Object { path: linked.path.clone(), note });
        Ok(())
    }

    /// Lets go of overtaken copies that the archive has grown beyond: each is read again, and goes only if every byte of it is
    /// the beginning of the archive's copy. Objects of this pass stay for a later one.
    ///
    /// # Errors
    /// When the vault cannot be listed; an object that does not prove itself stays.
    pub fn sweep(&mut self, archive: &Archive) -> io::Result<usize> {
        let overtaken: Vec<Object> =
            self.objects.iter().filter(|object| object.note.reason == Reason::Overtaken && !self.fresh.contains(&object.path)).cloned().collect();
        let mut gone = 0;
        for Object { path, note } in overtaken {
            let Some(Ok(holder)) = archive.file(note.session, &note.part).map(File::open) else { continue };
            let (_, directory) = self.folder(note.session)?;
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Ok(proved) = proof::prefix_of(&directory, name, &holder) else { continue };
            self.let_go(&directory, name, proved)?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Lets go of an object in its directory, and of its note.
    ///
    /// # Errors
    /// As the system's.
    pub fn let_go(&mut self, directory: impl AsFd, name: &str, proved: proof::Proof) -> io::Result<()> {
        let directory = directory.as_fd();
        proof::unlink(directory, name, proved)?;
        proof::unlink(directory, format!("{name}.json"), proof::only_ours(proof::OnlyOurs::created()))?;
        self.objects.retain(|object| object.path.file_name().is_none_or(|other| other != name));
        Ok(())
    }
}

/// A name in the vault that has just been given.
#[derive(Debug)]
pub struct Linked {
    /// The object's directory.
    pub directory: OwnedFd,
    /// Its name there.
    pub name: String,
    path: PathBuf,
}

/// What a file holds.
fn whole(path: &Path) -> io::Result<Whole> {
    super::read::whole(super::read::open(path)?, 0)
}

fn holds(file: &mut File, note: &Note) -> io::Result<()> {
    io::Seek::rewind(file)?;
    if super::read::prefix(file, note.length)? == Some(note.digest) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes to be kept are not those that were read"))
}

fn write_note(stage: &Path, object: &Path, note: &Note) -> io::Result<()> {
    let path = object.with_file_name(format!("{}.json", object.file_name().unwrap_or_default().to_string_lossy()));
    write_staged(stage, &path, &serde_json::to_vec_pretty(note)?)
}

/// A file of the stage that is to bear another name in the vault once it is whole. One that a crash left goes with the next pass.
///
/// # Errors
/// As `open`.
pub(super) fn temporary(stage: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(fetched::FRESH).tempfile_in(stage)
}

/// As [`write_durably`], for a file of the vault: written in the stage.
///
/// # Errors
/// As [`write_durably`].
pub(super) fn write_staged(stage: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fill_staged(stage, path, |file| file.write_all(bytes))
}

/// The same for what is never in memory as a whole.
pub(super) fn fill_staged(stage: &Path, path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    put_in_place(temporary(stage)?, path, fill)
}

/// Replaces a file of our own as a whole: written beside it, made durable, renamed over it.
///
/// # Errors
/// As `write`, `fsync` and `rename`; the old file is then untouched.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fill_durably(path, |file| file.write_all(bytes))
}

/// The same for what is never in memory as a whole.
///
/// # Errors
/// As [`write_durably`], and what `fill` says.
pub fn fill_durably(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    put_in_place(tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?, path, fill)
}

fn put_in_place(file: NamedTempFile, path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(64 << 10, file.as_file());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Copies the first `length` bytes; shares blocks where the file system can.
///
/// # Errors
/// `UnexpectedEof` if the source is shorter.
pub fn copy_prefix(source: &Path, into: &mut File, length: u64) -> io::Result<()> {
    let copied = super::read::copy(&super::read::open(source)?, into, length)?;
    if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
