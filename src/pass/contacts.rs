//! What this process itself knows of its connections to codespaces, whatever becomes of the state.
//!
//! The quiet rule goes by what is remembered. A pass that breaks off saves nothing, and a disk may take nothing for days: then each look
//! would find the same codespace due, and each visit would keep it awake. So a connection is noted before it is made, as one that failed,
//! and noted again once it is known what came of it.
//!
//! Promises: of two memories of one codespace the later holds; a clock that was set back makes neither wait for the time that was. Never:
//! a file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::quiet::{self, Contact};
use super::target::{Reach, Target};
use crate::reconcile::report::{Fault, FaultKind};
use crate::state::{QuietMemory, State};

/// The memory of it, by the codespace's name; its clones are the same memory.
#[derive(Debug, Clone, Default)]
pub struct Contacts(Arc<Mutex<BTreeMap<String, QuietMemory>>>);

impl Contacts {
    /// These are about to be connected to.
    pub fn begin(&self, targets: &[Target], state: &State, now: DateTime<Utc>) {
        let fault = Fault::new(FaultKind::Other, "the pass broke off");
        for target in codespaces(targets) {
            let mut memory = state.visits.get(&target.name).map(|memory| memory.quiet.clone()).unwrap_or_default();
            quiet::ended(&mut memory, target, now, Contact::Made, Some(&fault));
            self.kept().insert(target.name.clone(), memory);
        }
    }

    /// The state knows by now what came of it.
    pub fn end(&self, targets: &[Target], state: &State) {
        for target in codespaces(targets) {
            match state.visits.get(&target.name) {
                Some(memory) => drop(self.kept().insert(target.name.clone(), memory.quiet.clone())),
                None => drop(self.kept().remove(&target.name)),
            }
        }
    }

    /// Adds what is kept to what was read of a codespace, where it is later.
    pub fn recall(&self, name: &str, read: &mut QuietMemory, now: DateTime<Utc>) {
        if let Some(kept) = self.kept().get_mut(name) {
            kept.ended = kept.remembered().healed(now).ended;
            if kept.ended > read.ended {
                read.clone_from(kept);
            }
        }
    }

    /// The same for all of a state.
    pub fn recall_all(&self, state: &mut State, now: DateTime<Utc>) {
        let names: Vec<String> = self.kept().keys().cloned().collect();
        for name in names {
            let read = &mut state.visits.entry(name.clone()).or_default().quiet;
            self.recall(&name, read, now);
        }
    }

    /// Forgets codespaces that are not there any more.
    pub fn only_of(&self, state: &State) {
        self.kept().retain(|name, _| state.visits.get(name).is_some_and(|memory| memory.gone.is_none()));
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, QuietMemory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only a codespace can be kept awake.
fn codespaces(targets: &[Target]) -> impl Iterator<Item = &Target> {
    targets.iter().filter(|target| matches!(target.reach, Reach::Codespace(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use chrono::TimeDelta;

    fn target() -> Target {
        let codespace = serde_json::json!({"name": "a-1", "state": "Available", "last_used_at": "2026-08-02T09:12:40Z"});
        Target::codespace(serde_json::from_value(codespace).unwrap(), &Config::defaults(std::path::Path::new("/home/dev")))
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
    }

    fn recalled(contacts: &Contacts, read: &QuietMemory, minutes: i64) -> QuietMemory {
        let mut memory = read.clone();
        contacts.recall("a-1", &mut memory, at(minutes));
        memory
    }

    #[test]
    fn a_connection_of_a_pass_that_broke_off_counts_as_one_that_failed() {
        let contacts = Contacts::default();
        contacts.begin(&[target()], &State::default(), at(0));
        let kept = recalled(&contacts, &QuietMemory::default(), 1);
        assert_eq!((kept.ended, kept.failures, kept.heals, kept.episode.is_some()), (Some(at(0)), 1, true, true));
        let mut state = State::default();
        contacts.clone().recall_all(&mut state, at(1));
        assert_eq!(state.visits["a-1"].quiet, kept);
        // Nobody was connected to in the end: as before.
        contacts.end(&[target()], &State::default());
        assert_eq!(recalled(&contacts, &QuietMemory::default(), 1), QuietMemory::default());
    }

    #[test]
    fn the_later_memory_holds_whatever_the_clock_does() {
        let contacts = Contacts::default();
        contacts.begin(&[target()], &State::default(), at(0));
        let by_hand = QuietMemory { ended: Some(at(9)), ..QuietMemory::default() };
        assert_eq!(recalled(&contacts, &by_hand, 10), by_hand, "another process was there since");
        // A year back: the wait begins now, once, and not anew with each question.
        let back = -365 * 24 * 60;
        assert_eq!(recalled(&contacts, &QuietMemory::default(), back).ended, Some(at(back)));
        assert_eq!(recalled(&contacts, &QuietMemory::default(), back + 30).ended, Some(at(back)));
    }
}
