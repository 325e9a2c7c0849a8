//! A far replica: list, hash, get and put. [`Replica`] is what a pass needs of one; [`Far`] does it over one connection, and on one
//! channel as long as that stands.
//!
//! Promises: every phase has a deadline or an idle limit; an answer is taken whole or not at all. Never: a second connection.
//!
//! This machine's own side is no `Replica`: a pass applies to it file by file, under the rules of [`store`](crate::store).

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::io::AsyncRead;
use uuid::Uuid;

use super::call::{Call, Calls, Stream};
use super::ssh::{Connection, Counts, SshError};
pub use super::wire::{FarPath, HashWant, Range};

use super::wire::{self, Answer, Fetched, Listing, Nonce, PutAnswer, PutRequest, Request, RequestError, WireError};
use crate::reconcile::layout::WORKSPACES;
use crate::reconcile::transcript::Digest;

/// Longest silence in the middle of an answer.
const IDLE: Duration = Duration::from_secs(30);
/// Longest silence while the far side walks its store: every transcript is opened once, perhaps from a cold disk.
const WALKING: Duration = Duration::from_secs(60);
/// Longest silence where the far side hashes before it speaks, for a store that is small; for the 20 s after which the script there
/// passes over what keeps it waiting, and as long again.
const HASHING: Duration = Duration::from_secs(45);
/// A slow disk reads so many bytes in a second.
const SLOW_DISK: u64 = 8 << 20;
/// Longest silence where the far side unpacks, installs and makes durable before it speaks, beside the time that a slow line takes for
/// what is sent; and where it hashes, however much there is.
const WORKING: Duration = Duration::from_secs(600);
/// A slow line takes so many bytes in a second.
const SLOW_LINE: u64 = 64 << 10;

/// Why a visit ended early.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The connection.
    #[error(transparent)]
    Connection(#[from] SshError),
    /// The answer.
    #[error(transparent)]
    Answer(#[from] WireError),
    /// The request could not be written.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A file of this machine could not be read or written.
    #[error("a file of this machine: {0}")]
    Here(#[source] io::Error),
    /// Another store answered than the one that was listed.
    #[error("the store there was replaced in the middle of the visit; the next pass looks at the new one")]
    Replaced,
    /// The visit had lasted too long to begin another file.
    #[error("the visit took its time; the rest comes at the next pass")]
    OutOfTime,
}

impl VisitError {
    /// What mends it, if a person can.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connection(error) => error.hint(),
            _ => None,
        }
    }
}

/// What a visit comes to in the end, or fails with.
pub type Visited<'a, T> = LocalBoxFuture<'a, Result<T, VisitError>>;

/// A member of a group that is not this machine, as a pass works on it.
///
/// Whoever opens the door hands it to the pass. An error ends the visit; what the call had done by then is not known, and nothing is
/// concluded from it.
pub trait Replica: fmt::Debug + Send {
    /// What is there. Must come first. `agent` is noted there as one that visits, by this and by what is put later.
    ///
    /// # Errors
    /// Whatever breaks the channel or the answer.
    fn list<'a>(&'a mut self, folders: &'a [String], agent: Option<Uuid>) -> Visited<'a, Listing>;

    /// Digests: of files, and of whole objects of the far vault. Behind them come the bytes of `ahead`: what will be wanted then, as far
    /// as that can be told before. What this gives of them ends the call, even if there are none.
    ///
    /// # Errors
    /// Whatever breaks the channel or the answer.
    fn hash<'a>(&'a mut self, wants: &'a [HashWant], ahead: &'a [Range]) -> Visited<'a, (Hashes, Getting)>;

    /// Digests, and nothing behind them.
    ///
    /// # Errors
    /// As [`Replica::hash`].
    fn digests<'a>(&'a mut self, wants: &'a [HashWant]) -> Visited<'a, Hashes> {
        Box::pin(async move {
            let (hashes, nothing) = self.hash(wants, &[]).await?;
            nothing.finish().await?;
            Ok(hashes)
        })
    }

    /// Bytes; to be taken one by one from what this gives, in order.
    ///
    /// # Errors
    /// Whatever breaks the channel.
    fn get<'a>(&'a mut self, wants: &'a [Range]) -> Visited<'a, Getting>;

    /// Files to install, and what is to go. Where nothing is installed, a full disk is no reason to leave the rest. `replica` is the
    /// store's id from now on, if it has none.
    ///
    /// # Errors
    /// Whatever breaks the channel or the answer. What was done then is not known: the next listing tells.
    fn put(&mut self, parcel: Parcel, replica: Uuid, need_kib: u64) -> Visited<'_, PutAnswer>;

    /// How much the connection was used.
    fn counts(&self) -> Counts;

    /// Ends the connection, unless it is shared.
    fn close(self: Box<Self>) -> LocalBoxFuture<'static, ()>;
}

/// The digests that were asked for.
#[derive(Debug)]
pub struct Hashes(wire::Hashes);

impl From<wire::Hashes> for Hashes {
    fn from(hashes: wire::Hashes) -> Self {
        Self(hashes)
    }
}

impl Hashes {
    /// The digest of a file, or of its first bytes; none where it could not be read.
    #[must_use]
    pub fn find(&self, path: &FarPath, first: Option<u64>) -> Option<Digest> {
        self.0.get(path, first).map(Digest)
    }
}

/// What a put takes along.
#[derive(Debug, Clone, Default)]
pub struct Parcel {
    /// Files to install.
    pub files: Vec<wire::PutFile>,
    /// Vault objects to drop.
    pub drops: Vec<wire::VaultDrop>,
    /// Sessions that their user forgot.
    pub forgets: Vec<wire::Forget>,
}

/// A far replica that is connected.
#[derive(Debug)]
pub struct Far {
    calls: Calls,
    /// As the configuration has it.
    claude: Option<String>,
    /// As the listing has it.
    listed_claude: String,
    workspaces: Option<String>,
    agent: Option<Uuid>,
    /// Bytes of the files that were listed.
    listed: u64,
}

impl Far {
    /// Over this connection. `claude` is its claude directory, if it is known beforehand; `workspaces` replaces `/workspaces`.
    #[must_use]
    pub fn new(connection: Connection, claude: Option<String>, workspaces: Option<String>) -> Self {
        Self { calls: Calls::over(connection), claude, listed_claude: String::new(), workspaces, agent: None, listed: 0 }
    }

    /// The same replica over the same connection, for somebody who knows nothing of it yet.
    #[must_use]
    pub fn share(&self) -> Self {
        Self::new(self.connection().share(), self.claude.clone(), self.workspaces.clone())
    }

    /// The connection, for what is no visit.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.calls.connection()
    }

    fn directory(&self) -> String {
        self.listed_claude.clone()
    }
}

impl Replica for Far {
    fn list<'a>(&'a mut self, folders: &'a [String], agent: Option<Uuid>) -> Visited<'a, Listing> {
        Box::pin(async move {
            let request = Request::List {
                claude: self.claude.clone(),
                workspaces: self.workspaces.clone(),
                roots: elsewhere(folders, self.workspaces.as_deref()),
                agent,
            };
            self.agent = agent;
            let mut call = self.calls.call(request, WALKING).await?;
            let read = Listing::read(&mut call.answer).await;
            let listing = call.judge(read).await?;
            self.listed_claude.clone_from(&listing.claude);
            let sizes = listing.files.iter().map(|file| file.stamp.size).chain(listing.vault.iter().map(|object| object.size));
            self.listed = sizes.fold(0, u64::saturating_add);
            Ok(listing)
        })
    }

    fn hash<'a>(&'a mut self, wants: &'a [HashWant], ahead: &'a [Range]) -> Visited<'a, (Hashes, Getting)> {
        Box::pin(async move {
            let request = Request::Hash { claude: self.directory(), wants: wants.to_vec(), ahead: ahead.to_vec() };
            let mut call = self.calls.call(request, hashing(self.listed)).await?;
            match wire::Hashes::read(&mut call.answer, wants).await {
                Ok(hashes) => Ok((Hashes(hashes), Getting(call))),
                Err(error) => Err(call.blame(error).await),
            }
        })
    }

    fn get<'a>(&'a mut self, wants: &'a [Range]) -> Visited<'a, Getting> {
        Box::pin(async move { Ok(Getting(self.calls.call(Request::Get { claude: self.directory(), wants: wants.to_vec() }, IDLE).await?)) })
    }

    fn put(&mut self, parcel: Parcel, replica: Uuid, need_kib: u64) -> Visited<'_, PutAnswer> {
        Box::pin(async move {
            let Parcel { files, drops, forgets } = parcel;
            let need_kib = (!files.is_empty()).then_some(need_kib);
            let sent = files.iter().map(|file| file.data.len).fold(0, u64::saturating_add);
            let request = PutRequest { claude: self.directory(), replica: Some(replica), agent: self.agent, need_kib, files, drops, forgets };
            let mut call = self.calls.call(Request::Put(request.clone()), WORKING + Duration::from_secs(sent / SLOW_LINE)).await?;
            let read = PutAnswer::read(&mut call.answer, &request).await;
            call.judge(read).await
        })
    }

    fn counts(&self) -> Counts {
        self.connection().counts()
    }

    fn close(self: Box<Self>) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.calls.close())
    }
}

/// Those folders that the far side does not look at without being told: what lies in its workspaces it lists itself.
fn elsewhere(folders: &[String], workspaces: Option<&str>) -> Vec<String> {
    let workspaces = Path::new(workspaces.unwrap_or(WORKSPACES));
    folders.iter().filter(|folder| Path::new(folder).parent() != Some(workspaces)).cloned().collect()
}

/// Longest silence of who hashes files that hold so many bytes together. They say themselves how many: not for ever.
fn hashing(bytes: u64) -> Duration {
    WORKING.min(HASHING + Duration::from_secs(bytes / SLOW_DISK))
}

/// Ranges on their way here.
pub struct Getting(Call);

impl fmt::Debug for Getting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Getting").finish_non_exhaustive()
    }
}

impl Getting {
    /// From a stream that no channel stands behind: the same bytes, in the same frame.
    ///
    /// # Errors
    /// When it does not begin as an answer with this nonce does.
    pub async fn from_stream(stream: impl AsyncRead + Send + Unpin + 'static, nonce: &Nonce) -> Result<Self, VisitError> {
        Ok(Self(Call::from_answer(Answer::open(Box::new(stream) as Stream, nonce, IDLE).await?)))
    }

    /// The next range of the request into this file; false where it is no longer to be had.
    ///
    /// # Errors
    /// Whatever breaks the channel or the answer, or keeps the file from being written.
    pub async fn next(&mut self, want: &Range, file: File) -> Result<bool, VisitError> {
        let mut file = tokio::fs::File::from_std(file);
        let fetched = self.0.answer.fetch(want, &mut file).await?;
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(VisitError::Here)?;
        Ok(fetched == Fetched::Data)
    }

    /// The end of the answer.
    ///
    /// # Errors
    /// When there is more, or less.
    pub async fn finish(mut self) -> Result<(), VisitError> {
        let ended = self.0.answer.finish().await;
        self.0.judge(ended).await
    }

    /// Leaves the rest where it is.
    pub async fn abandon(self) {
        drop(self);
    }
}

#[cfg(test)]
mod tests {
    use super::elsewhere;

    #[test]
    fn only_folders_that_lie_elsewhere_are_named() {
        let folders = ["/workspaces/one", "/workspaces/one/below", "/srv/two", "/workspaces"].map(str::to_owned);
        assert_eq!(elsewhere(&folders, None), folders[1..]);
        assert_eq!(elsewhere(&folders, Some("/srv")), [&folders[..2], &folders[3..]].concat());
    }
}
