//! A far replica in memory: what the script does with a store and a vault beside it, done to a map. What a put displaces is kept
//! in its vault, and looked for at once in this machine's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use claude_session_sync::codespace::replica::{FarPath, Getting, HashWant, Hashes, Parcel, Range, Replica, Visited};
use claude_session_sync::codespace::ssh::Counts;
use claude_session_sync::codespace::wire::{
    self, Dropped, FarFile, Forgotten, Listing, Live, Nonce, Operation, Outcome, PutAnswer, PutFile, Root, Token, VaultName, VaultObject,
};
use claude_session_sync::reconcile::manifest::{ProjectName, SessionId, StorePath};
use claude_session_sync::reconcile::transcript::Digest;
use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

use crate::faulty::framed;
use crate::lines::complete;

/// Where the clone of a replica in memory lies.
pub(crate) const CLONE: &str = "/workspaces/widget";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) inode: u64,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) changed: u64,
}

/// What lies at a far replica.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) replica: Option<Uuid>,
    pub(crate) files: BTreeMap<StorePath, File>,
    pub(crate) vault: BTreeMap<VaultName, Vec<u8>>,
    pub(crate) live: BTreeSet<SessionId>,
    /// Without one, who wrote a moment ago is live.
    pub(crate) registry: bool,
    pub(crate) forgotten: BTreeSet<SessionId>,
    /// For how many days its client keeps sessions, if the settings say.
    pub(crate) kept: Option<u32>,
    /// Its clock, in seconds since 1970.
    pub(crate) clock: i64,
    /// This machine's vault, in which what is displaced here must lie first.
    pub(crate) witness: Option<PathBuf>,
    /// What was displaced although it was not there.
    pub(crate) unwitnessed: Vec<String>,
    pub(crate) counter: u64,
}

impl Store {
    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// The client's own doing: the bytes of a file change, on the same inode if it is there.
    pub(crate) fn write(&mut self, path: &StorePath, bytes: Vec<u8>) {
        let (changed, modified) = (self.next(), self.clock);
        let inode = self.files.get(path).map_or(changed, |file| file.inode);
        self.files.insert(path.clone(), File { bytes, inode, modified, changed });
    }

    /// Somebody gives a file a time.
    pub(crate) fn touch(&mut self, path: &StorePath, time: i64) {
        let changed = self.next();
        if let Some(file) = self.files.get_mut(path) {
            (file.modified, file.changed) = (time, changed);
        }
    }

    pub(crate) fn is_live(&self, session: SessionId) -> bool {
        if self.registry {
            return self.live.contains(&session);
        }
        self.files.iter().any(|(path, file)| path.session == session && (self.clock - file.modified).abs() < 120)
    }

    fn listing(&self) -> Listing {
        let files = self.files.iter().map(|(path, file)| {
            let token = token(file);
            FarFile { path: path.clone(), stamp: token.stamp(), token }
        });
        let project = ProjectName::of(CLONE);
        let speaks = self.files.keys().any(|path| path.project == project);
        Listing {
            claude: "/home/far/.claude".to_owned(),
            replica: self.replica,
            clock: self.clock,
            retention_days: self.kept,
            registry: self.registry,
            live: self.live.iter().filter(|_| self.registry).map(|session| Live { session: *session, updated_at: 0, status: None }).collect(),
            files: files.collect(),
            skipped: Vec::new(),
            skipped_more: 0,
            working_directories: speaks.then(|| (project, CLONE.to_owned())).into_iter().collect(),
            roots: vec![Root { path: CLONE.to_owned(), remotes: vec!["git@github.com:acme/widget.git".to_owned()] }],
            vault: self.vault.iter().map(|(name, bytes)| VaultObject { name: name.clone(), size: bytes.len() as u64 }).collect(),
            pushed: BTreeSet::new(),
            agents: BTreeMap::new(),
            forgotten: self.forgotten.clone(),
        }
    }

    fn bytes(&self, path: &FarPath) -> Option<&[u8]> {
        match path {
            FarPath::Store(path) => self.files.get(path).map(|file| file.bytes.as_slice()),
            FarPath::Vault(name) => self.vault.get(name).map(Vec::as_slice),
        }
    }

    fn hash(&self, want: &HashWant) -> Option<[u8; 32]> {
        let bytes = self.bytes(&want.path)?;
        let length = want.first.map_or(Some(bytes.len()), |first| usize::try_from(first).ok())?;
        Some(Digest::of(bytes.get(..length)?).0)
    }

    fn send(&self, wants: &[Range], nonce: &Nonce) -> Vec<u8> {
        let piece = |Range { path, offset, length }: &Range| {
            let span = usize::try_from(*offset).unwrap()..usize::try_from(offset + length).unwrap();
            self.bytes(path).and_then(|bytes| bytes.get(span))
        };
        framed(wants.iter().map(piece), nonce)
    }

    fn install(&mut self, file: &PutFile) -> Outcome {
        let session = file.path.session;
        if self.forgotten.contains(&session) {
            return Outcome::Failed("forgotten there".to_owned());
        }
        let old = self.files.get(&file.path).cloned();
        let (base, fits) = match (&file.operation, &old) {
            (Operation::Create, _) => (0, true),
            (Operation::Replace { token: asked, base }, Some(old)) => (usize::try_from(*base).unwrap(), token(old) == *asked),
            (Operation::Replace { .. }, None) => (0, false),
        };
        let mut data = vec![0; usize::try_from(file.data.len).unwrap()];
        let mut source = fs::File::open(&file.data.path).unwrap();
        source.seek(std::io::SeekFrom::Start(file.data.offset)).unwrap();
        source.read_exact(&mut data).unwrap();
        let kept = old.as_ref().and_then(|old| old.bytes.get(..base)).unwrap_or_default();
        let bytes = [kept, &data].concat();
        let sound = bytes.len() as u64 == file.size && Digest::of(&bytes).0 == file.sha256;
        match () {
            () if !fits => return Outcome::Changed,
            () if !sound => return Outcome::Bad,
            () if self.is_live(session) => return Outcome::Live,
            () if file.operation == Operation::Create && old.is_some() => return Outcome::Exists,
            () => {}
        }
        if let Some(old) = old {
            self.displace(session, old, &bytes);
        }
        let inode = self.next();
        let new = File { bytes, inode, modified: file.mtime.max(0), changed: inode };
        let outcome = Outcome::Done { token: token(&new), grew: None };
        self.files.insert(file.path.clone(), new);
        outcome
    }

    fn displace(&mut self, session: SessionId, old: File, new: &[u8]) {
        let lines = complete(&old.bytes);
        if let Some(vault) = self.witness.as_deref().filter(|vault| !new.starts_with(lines) && !holds(vault, session, lines)) {
            self.unwitnessed.push(format!("{session}: {} bytes were displaced that are not in {}", lines.len(), vault.display()));
        }
        let name = format!("{session}.{}.{}.{}-0", old.bytes.len(), &Digest::of(new).to_string()[..16], Uuid::new_v4().simple());
        self.vault.insert(name.parse().unwrap(), old.bytes);
    }

    fn put(&mut self, parcel: &Parcel, replica: Uuid) -> PutAnswer {
        let replica = *self.replica.get_or_insert(replica);
        let forgets = parcel.forgets.iter().map(|forget| (forget.session, self.forget(forget.session))).collect();
        let outcomes = parcel.files.iter().map(|file| (file.n, self.install(file))).collect();
        let drops = parcel.drops.iter().map(|drop| {
            let fits = self.vault.get(&drop.name).is_some_and(|bytes| bytes.len() as u64 == drop.size);
            if fits {
                self.vault.remove(&drop.name);
            }
            (drop.name.clone(), if fits { Dropped::Done } else { Dropped::Kept })
        });
        PutAnswer { replica: Some(replica), outcomes, drops: drops.collect(), forgets }
    }

    fn forget(&mut self, session: SessionId) -> Forgotten {
        if self.is_live(session) {
            return Forgotten::Live;
        }
        let before = self.files.len() + self.vault.len();
        self.files.retain(|path, _| path.session != session);
        self.vault.retain(|name, _| name.session() != Some(session));
        self.forgotten.insert(session);
        if before == self.files.len() + self.vault.len() { Forgotten::Noted } else { Forgotten::Removed }
    }
}

fn token(file: &File) -> Token {
    let File { bytes, inode, modified, changed } = file;
    format!("{inode}:{}:{modified}.000000000:{changed}.000000000", bytes.len()).parse().unwrap()
}

/// Whether a vault holds a file of this session that begins with these bytes.
fn holds(vault: &Path, session: SessionId, bytes: &[u8]) -> bool {
    let displaced = fs::read_dir(vault.join("displaced").join(session.to_string())).into_iter().flatten().flatten().map(|entry| entry.path());
    let archived = vault.join("archive").join(session.file_name());
    displaced.chain([archived]).any(|path| fs::read(path).is_ok_and(|kept| kept.starts_with(bytes)))
}

/// A way to a store in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    store: Arc<Mutex<Store>>,
    made: u32,
}

impl Memory {
    pub(crate) fn new(store: Arc<Mutex<Store>>) -> Self {
        Self { store, made: 0 }
    }

    /// Counts the call.
    fn called(&mut self) -> MutexGuard<'_, Store> {
        self.made += 1;
        self.store.lock().unwrap()
    }
}

impl Replica for Memory {
    fn list<'a>(&'a mut self, _folders: &'a [String], _agent: Option<Uuid>) -> Visited<'a, Listing> {
        let listing = self.called().listing();
        Box::pin(std::future::ready(Ok(listing)))
    }

    fn hash<'a>(&'a mut self, wants: &'a [HashWant], ahead: &'a [Range]) -> Visited<'a, (Hashes, Getting)> {
        let store = self.called();
        let hashes: wire::Hashes = wants.iter().map(|want| (want.clone(), store.hash(want))).collect();
        let nonce = Nonce::random();
        let bytes = store.send(ahead, &nonce);
        Box::pin(async move { Ok((hashes.into(), Getting::from_stream(std::io::Cursor::new(bytes), &nonce).await?)) })
    }

    fn get<'a>(&'a mut self, wants: &'a [Range]) -> Visited<'a, Getting> {
        let nonce = Nonce::random();
        let bytes = self.called().send(wants, &nonce);
        Box::pin(async move { Getting::from_stream(std::io::Cursor::new(bytes), &nonce).await })
    }

    fn put(&mut self, parcel: Parcel, replica: Uuid, _need_kib: u64) -> Visited<'_, PutAnswer> {
        let answer = self.called().put(&parcel, replica);
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn counts(&self) -> Counts {
        Counts { connections: 1, channels: self.made }
    }

    fn close(self: Box<Self>) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
