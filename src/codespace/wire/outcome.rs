//! The answer to PUT: one outcome for each file, each vault object and each forgotten session of the request.

use std::collections::BTreeMap;

use tokio::io::AsyncRead;
use uuid::Uuid;

use super::answer::{Answer, LONGEST_TEXT, bad_line, lines, plain};
use super::listing::replica;
use super::{LONGEST_FAR_TEXT, PutRequest, Token, VaultName, WireError, escaped, grammar, number};
use crate::reconcile::manifest::SessionId;

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Installed.
    Done {
        /// What the far side says of the new file.
        token: Token,
        /// The displaced file was written to after the last look; its new lines are in the far vault.
        grew: Option<Grown>,
    },
    /// Not touched: its session is live.
    Live,
    /// Not touched: it is no longer what was listed.
    Changed,
    /// Not created: the name exists.
    Exists,
    /// What arrived, or was put together, has another size or digest.
    Bad,
    /// Not installed, for this reason (escaped).
    Failed(String),
}

/// A displaced file that grew when it was already in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Its name there.
    pub name: VaultName,
    /// Its size now.
    pub size: u64,
}

/// What became of a vault object that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It is gone.
    Done,
    /// It is not there, or has another size.
    Kept,
}

/// What became of a session that its user forgot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// It is gone, and noted as forgotten.
    Removed,
    /// Nothing of it lay there; it is noted as forgotten.
    Noted,
    /// Not touched: it is live.
    Live,
    /// Not, or not wholly, removed, for this reason (escaped).
    Failed(String),
}

/// The answer to a [`PutRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutAnswer {
    /// The id that the store has now.
    pub replica: Option<Uuid>,
    /// By the file's number: one for each of the request, and no others.
    pub outcomes: BTreeMap<u32, Outcome>,
    /// By the object's name: one for each of the request, and no others.
    pub drops: BTreeMap<VaultName, Dropped>,
    /// By session: one for each that was to be forgotten, and no others.
    pub forgets: BTreeMap<SessionId, Forgotten>,
}

impl PutAnswer {
    /// Reads the whole answer to this request.
    ///
    /// # Errors
    /// Whatever was not asked for, came twice, or is missing.
    pub async fn read<R: AsyncRead + Unpin>(answer: &mut Answer<R>, request: &PutRequest) -> Result<Self, WireError> {
        let replica = replica(&answer.text("replica", 36).await?)?;
        let text = answer.text("outcomes", LONGEST_TEXT * 4).await?;
        answer.finish().await?;
        let mut read = Self { replica, outcomes: BTreeMap::new(), drops: BTreeMap::new(), forgets: BTreeMap::new() };
        for line in lines(&text) {
            read.take(line, request).ok_or_else(|| bad_line("outcomes", line))?;
        }
        if let Some(file) = request.files.iter().find(|file| !read.outcomes.contains_key(&file.n)) {
            return Err(grammar(format!("no outcome of file {}", file.n)));
        }
        if let Some(forget) = request.forgets.iter().find(|forget| !read.forgets.contains_key(&forget.session)) {
            return Err(grammar(format!("no outcome of forgetting {}", forget.session)));
        }
        match request.drops.iter().find(|drop| !read.drops.contains_key(&drop.name)) {
            Some(drop) => Err(grammar(format!("no outcome of dropping {}", drop.name))),
            None => Ok(read),
        }
    }

    /// Takes one line; `None` if it cannot be one of this answer.
    fn take(&mut self, line: &[u8], request: &PutRequest) -> Option<()> {
        let text = String::from_utf8_lossy(line);
        if let Some(rest) = text.strip_prefix("drop ") {
            let (name, what) = rest.split_once(' ')?;
            let name: VaultName = name.parse().ok()?;
            let what = match what {
                "done" => Dropped::Done,
                "kept" => Dropped::Kept,
                _ => return None,
            };
            let asked = request.drops.iter().any(|drop| drop.name == name);
            return (asked && self.drops.insert(name, what).is_none()).then_some(());
        }
        if let Some(rest) = text.strip_prefix("forget ") {
            let (session, what) = rest.split_once(' ')?;
            let session: SessionId = session.parse().ok()?;
            let what = match what {
                "removed" => Forgotten::Removed,
                "noted" => Forgotten::Noted,
                "live" => Forgotten::Live,
                _ => Forgotten::Failed(reason(what.strip_prefix("failed")?)),
            };
            let asked = request.forgets.iter().any(|forget| forget.session == session);
            return (asked && self.forgets.insert(session, what).is_none()).then_some(());
        }
        let (n, what) = text.split_once(' ')?;
        let n = u32::try_from(number(n)?).ok()?;
        request.files.binary_search_by_key(&n, |file| file.n).ok()?;
        let outcome = match *plain(what.as_bytes(), "outcomes").ok()?.split(' ').collect::<Vec<_>>() {
            ["done", inode, size, modified, changed] => Outcome::Done { token: format!("{inode}:{size}:{modified}:{changed}").parse().ok()?, grew: None },
            ["grew", name, size] => {
                let Some(Outcome::Done { grew: grew @ None, .. }) = self.outcomes.get_mut(&n) else { return None };
                *grew = Some(Grown { name: name.parse().ok()?, size: number(size)? });
                return Some(());
            }
            ["live"] => Outcome::Live,
            ["changed"] => Outcome::Changed,
            ["exists"] => Outcome::Exists,
            ["bad"] => Outcome::Bad,
            ["failed", ..] => Outcome::Failed(reason(what.strip_prefix("failed")?)),
            _ => return None,
        };
        self.outcomes.insert(n, outcome).is_none().then_some(())
    }
}

fn reason(text: &str) -> String {
    match text.trim() {
        "" => "the far side does not say why".to_owned(),
        text => escaped(text.as_bytes(), LONGEST_FAR_TEXT),
    }
}
