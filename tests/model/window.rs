//! What a clock may decide, written anew from the laws: whether a session is created where it is missing, and whether a file is read
//! whose session nobody here knows.

use std::collections::BTreeSet;

use claude_session_sync::reconcile::manifest::{Part, SessionId};

use crate::known::transcripts;
use crate::place::Files;
use crate::play::Play;

/// Days of the window, as the configuration has them.
const DAYS: u32 = 7;
/// Days for which a client keeps sessions, if its settings say nothing.
const KEPT: u32 = 30;

/// What is young, at one place and at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Microseconds since 1970, as all that follows.
    chosen: i64,
    retention: i64,
}

impl Window {
    /// By a clock that shows so many seconds since 1970, for a client that keeps sessions for so many days.
    pub(crate) fn of(now: i64, kept: Option<u32>) -> Self {
        let before = |days: u32| (now - i64::from(days) * 86_400) * 1_000_000;
        Self { chosen: before(DAYS), retention: before(kept.unwrap_or(KEPT).saturating_sub(1)) }
    }

    /// Whether a session with this newest message is created where it is missing; `promised` is a fork where its origin lies, which only
    /// the client's own retention keeps away.
    pub(crate) fn takes(self, spoken: Option<i64>, promised: bool) -> bool {
        spoken.is_some_and(|spoken| spoken > self.retention && (promised || spoken > self.chosen))
    }

    /// Whether a file is younger than one of both, in nanoseconds.
    fn has(self, modified: i64) -> bool {
        modified.div_euclid(1_000_000_000) > self.chosen.min(self.retention).div_euclid(1_000_000)
    }
}

impl Play<'_> {
    /// The window of a place at this moment. It is this machine's clock that counts, whatever is to come to whom.
    pub(crate) fn window(&self, at: usize) -> Window {
        Window::of(self.world.clock_at(0), self.world.places[at].kept())
    }

    /// Per place, the sessions among these that a pass does not read: older than this machine's window by their stamp, and not known here.
    /// What is forgotten goes, and what may be a fork of it is read, however old it is.
    pub(crate) fn unread(&self, files: &[Files]) -> Vec<BTreeSet<SessionId>> {
        let window = self.window(0);
        let here: BTreeSet<SessionId> = transcripts(&files[0]).filter(|(_, content)| !content.is_empty()).map(|(session, _)| session).collect();
        let forgotten = &self.known.forgotten;
        let suspect = |session: SessionId| forgotten.contains(&session) || (session.as_uuid().get_version_num() == 5 && !forgotten.is_empty());
        let is_known = |session: SessionId| here.contains(&session) || self.is_archived(session) || suspect(session);
        let of_place = |(at, files): (usize, &Files)| {
            let old = files.iter().filter(|(path, seen)| path.part == Part::Transcript && !window.has(seen.mark[2]));
            old.map(|(path, _)| path.session).filter(|session| at > 0 && !is_known(*session)).collect()
        };
        files.iter().enumerate().map(of_place).collect()
    }
}

/// These files without those of these sessions.
pub(crate) fn without(files: &Files, sessions: &BTreeSet<SessionId>) -> Files {
    files.iter().filter(|(path, _)| !sessions.contains(&path.session)).map(|(path, seen)| (path.clone(), seen.clone())).collect()
}
