//! A way to a far replica on which something goes wrong at the n-th call, whatever the replica is made of.

use std::future::pending;
use std::io::{Read as _, Seek as _};
use std::sync::{Arc, Mutex};

use claude_session_sync::codespace::replica::{Getting, HashWant, Hashes, Parcel, Range, Replica, VisitError, Visited};
use claude_session_sync::codespace::ssh::Counts;
use claude_session_sync::codespace::wire::{Listing, Nonce, PutAnswer, WireError};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;

/// What goes wrong at a member, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    /// The call fails, and nothing was done.
    Refused,
    /// The call does its work, and the answer is lost.
    Lost,
    /// Half of the work is done, half of the answer comes.
    Half,
    /// This process dies before the call.
    CrashBefore,
    /// This process dies after the work was done there.
    CrashAfter,
}

/// At which call, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Trouble {
    pub(crate) call: u32,
    pub(crate) kind: Kind,
}

/// The calls of a visit, by name.
pub(crate) type Calls = Arc<Mutex<Vec<&'static str>>>;

/// A way that says what is asked on it, and on which one call may go wrong.
#[derive(Debug)]
pub(crate) struct Faulty {
    replica: Box<dyn Replica>,
    trouble: Option<Trouble>,
    /// Told when this process is to die.
    died: Arc<Notify>,
    calls: Calls,
}

impl Faulty {
    /// Calls are counted from the first in `calls` on.
    pub(crate) fn new(replica: Box<dyn Replica>, trouble: Option<Trouble>, died: Arc<Notify>, calls: Calls) -> Self {
        Self { replica, trouble, died, calls }
    }

    /// Counts the call; gives what is to go wrong with it.
    fn called(&self, verb: &'static str) -> Option<Kind> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(verb);
        self.trouble.filter(|trouble| usize::try_from(trouble.call).unwrap() == calls.len()).map(|trouble| trouble.kind)
    }
}

fn broken() -> VisitError {
    VisitError::Answer(WireError::EndedEarly)
}

/// Whether the work of a call with this trouble is done.
fn works(kind: Option<Kind>) -> bool {
    !matches!(kind, Some(Kind::Refused | Kind::CrashBefore))
}

/// A call to its end: its answer, a broken line, or the end of this process.
async fn end<T>(died: &Notify, kind: Option<Kind>, work: Option<Visited<'_, T>>) -> Result<T, VisitError> {
    let answer = match work {
        Some(work) => work.await,
        None => Err(broken()),
    };
    match kind {
        None => answer,
        Some(Kind::CrashBefore | Kind::CrashAfter) => {
            died.notify_one();
            pending().await
        }
        Some(Kind::Refused | Kind::Lost | Kind::Half) => Err(broken()),
    }
}

/// Breaks an answer off in the middle of its bytes.
async fn cut(mut whole: Getting, wants: &[Range]) -> Result<Getting, VisitError> {
    let mut pieces = Vec::with_capacity(wants.len());
    for want in wants {
        let mut file = tempfile::tempfile().unwrap();
        let there = whole.next(want, file.try_clone().unwrap()).await?;
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        pieces.push(there.then_some(bytes));
    }
    whole.finish().await?;
    let nonce = Nonce::random();
    let mut answer = framed(pieces.iter().map(Option::as_deref), &nonce);
    answer.truncate(answer.len() / 2 + 30);
    Getting::from_stream(std::io::Cursor::new(answer), &nonce).await
}

/// The answer to a GET as it goes over the wire: the bytes of each range that is there.
pub(crate) fn framed<'a>(pieces: impl Iterator<Item = Option<&'a [u8]>>, nonce: &Nonce) -> Vec<u8> {
    let mut answer = format!("\ncss1 {}\n", nonce.as_str()).into_bytes();
    for piece in pieces {
        match piece {
            Some(bytes) => {
                answer.extend(format!("data {}\n", bytes.len()).into_bytes());
                answer.extend_from_slice(bytes);
            }
            None => answer.extend(b"gone 0\n"),
        }
    }
    answer.extend(format!("end {}\n", nonce.as_str()).into_bytes());
    answer
}

impl Replica for Faulty {
    fn list<'a>(&'a mut self, folders: &'a [String], agent: Option<Uuid>) -> Visited<'a, Listing> {
        let kind = self.called("list");
        let Self { replica, died, .. } = self;
        let work = works(kind).then(|| replica.list(folders, agent));
        Box::pin(end(died, kind, work))
    }

    fn hash<'a>(&'a mut self, wants: &'a [HashWant], ahead: &'a [Range]) -> Visited<'a, (Hashes, Getting)> {
        let kind = self.called("hash");
        let Self { replica, died, .. } = self;
        let work = works(kind).then(|| replica.hash(wants, ahead));
        if kind == Some(Kind::Half) && !ahead.is_empty() {
            return Box::pin(async move {
                let (hashes, whole) = end(died, None, work).await?;
                Ok((hashes, cut(whole, ahead).await?))
            });
        }
        Box::pin(end(died, kind, work))
    }

    fn get<'a>(&'a mut self, wants: &'a [Range]) -> Visited<'a, Getting> {
        let kind = self.called("get");
        let Self { replica, died, .. } = self;
        let work = works(kind).then(|| replica.get(wants));
        if matches!(kind, Some(Kind::Half | Kind::Lost)) {
            return Box::pin(async move { cut(end(died, None, work).await?, wants).await });
        }
        Box::pin(end(died, kind, work))
    }

    fn put(&mut self, mut parcel: Parcel, replica: Uuid, need_kib: u64) -> Visited<'_, PutAnswer> {
        let kind = self.called("put");
        if kind == Some(Kind::Half) {
            parcel.files.truncate(parcel.files.len() / 2);
        }
        let Self { replica: there, died, .. } = self;
        let work = works(kind).then(|| there.put(parcel, replica, need_kib));
        Box::pin(end(died, kind, work))
    }

    fn counts(&self) -> Counts {
        self.replica.counts()
    }

    fn close(self: Box<Self>) -> LocalBoxFuture<'static, ()> {
        self.replica.close()
    }
}
