//! A connection that outlives a pass: made once, lent to the passes before and after, and to a terminal between them.
//!
//! Promises: one connection, by the same door and the same guard as every visit's; a pass that is lent one opens none, and visits
//! nobody else. What is held for a terminal sends nothing of its own accord ([`Purpose::Terminal`]).

use std::sync::Arc;
use std::time::Duration;

use super::Setting;
use super::connect::{Doorway, Who};
use super::target::{Reach, Target};
use crate::codespace::replica::{Far, Replica as _};
use crate::codespace::ssh::{Configuration, Purpose, SshError, Terminal, Words};
use crate::config::Reach as Way;
use crate::reconcile::report::Outcome;

/// Longest wait for a far side that may be gone: the master of such a connection does not find that out by itself.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// While a visit is under way: between two questions whether the far side is still there, and the longest wait for an answer, which
/// may have to queue behind the visit's own bytes.
const WATCHED_EVERY: Duration = Duration::from_secs(15);
const ANSWERED_WITHIN: Duration = Duration::from_secs(45);

/// An open connection to one place, which its clones share.
#[derive(Debug, Clone)]
pub struct Lent {
    /// Whose, by its permanent name.
    pub name: String,
    far: Arc<Far>,
}

/// Connects to one place, for that purpose.
///
/// # Errors
/// Why that cannot be done: [`Outcome::NotVisited`] where a codespace is not Available (any more), else [`Outcome::Failed`].
pub async fn connect(setting: &Setting, who: &Who, target: &Target, purpose: Purpose, notes: &mut Vec<String>) -> Result<Lent, Outcome> {
    let door = Doorway::of(setting, who, purpose, notes);
    if matches!(target.reach, Reach::Codespace(_)) {
        notes.extend(door.prepare().await.notes.iter().cloned());
    }
    // gh asks the guard before anything else, and only then; it is not needed once the master is connected.
    let (far, _guard) = door.connect(target).await.map_err(|(outcome, _)| outcome)?;
    Ok(Lent { name: target.name.clone(), far: Arc::new(far) })
}

impl Lent {
    /// For a visit of that place.
    #[must_use]
    pub fn far(&self) -> Far {
        self.far.share()
    }

    /// Whether the far side still answers.
    pub async fn reaches(&self) -> bool {
        self.far.connection().reaches(REACHED_WITHIN).await
    }

    /// Returns once the far side does not answer any more, at most a minute later. It moves bytes, so it is for visits only.
    pub async fn lost(&self) {
        loop {
            tokio::time::sleep(WATCHED_EVERY).await;
            if !self.far.connection().reaches(ANSWERED_WITHIN).await {
                return;
            }
        }
    }

    /// Hands this process's three streams to ssh; none where there is no ssh.
    ///
    /// # Errors
    /// ssh cannot be run.
    pub async fn terminal(&self, target: &Target, words: &Words) -> Result<Option<Terminal>, SshError> {
        let (destination, configuration) = match &target.reach {
            Reach::Codespace(codespace) => (codespace.name.to_string(), Configuration::None),
            Reach::Machine(machine) => match &machine.reach {
                Way::Ssh(host) => (host.to_string(), Configuration::Users),
                Way::Command(_) => return Ok(None),
            },
        };
        self.far.connection().terminal(&destination, configuration, words).await
    }

    /// Ends the connection, if nobody else holds it.
    pub async fn close(self) {
        if let Some(far) = Arc::into_inner(self.far) {
            Box::new(far).close().await;
        }
    }
}
