//! How this machine and one other place stand to each other in one session, in the words of `status`.
//!
//! Pure: from the plan of a pass over the two of them to one word.

use serde::Serialize;

use crate::reconcile::manifest::SessionId;
use crate::reconcile::plan::{SessionPlan, Standing};

/// On which side of a comparison something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// On this machine.
    Here,
    /// In the codespace, or on the other machine.
    There,
}

/// How this machine and another place stand to each other in one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "word")]
pub enum Stand {
    /// The same content.
    Equal,
    /// More is here: so many bytes are to go there.
    Ahead {
        /// How many.
        bytes: u64,
    },
    /// More is there: so many bytes are to come here.
    Behind {
        /// How many.
        bytes: u64,
    },
    /// Both were continued; the next pass decides.
    Diverged,
    /// Not equal, and open in a client on that side.
    Waiting {
        /// Where it is open.
        at: At,
        /// Bytes that wait for it; none where the copies diverged.
        bytes: Option<u64>,
    },
    /// Not on that side, and older than its window.
    Older {
        /// Where it is missing.
        at: At,
    },
    /// Not on that side, and without a message that could be resumed.
    Silent {
        /// Where it is missing.
        at: At,
    },
    /// Deleted on that side, and not grown elsewhere since.
    Deleted {
        /// Where.
        at: At,
    },
    /// Forgotten on that side by its user, from another machine.
    Forgotten {
        /// Where.
        at: At,
    },
    /// Not to be touched on that side.
    Refused {
        /// Where.
        at: At,
        /// Why.
        why: String,
    },
    /// The settings keep it from that side, or no clone is there to take it.
    Withheld {
        /// Where it is not to go.
        at: At,
    },
    /// What is remembered does not suffice to compare.
    Unknown,
}

/// One session as it stands between here and there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The session.
    pub session: SessionId,
    /// Its title.
    pub title: Option<String>,
    /// How it stands.
    pub stand: Stand,
}

/// The standings of a plan over this machine and one other place, as one.
#[must_use]
pub fn compared(session: SessionId, plan: Result<SessionPlan, String>) -> Compared {
    let Ok(plan) = plan else { return Compared { session, title: None, stand: Stand::Unknown } };
    let length = plan.winner.content.length;
    let stands = [At::Here, At::There].into_iter().zip(&plan.standings).map(|(at, standing)| stand(at, standing, length));
    let stand = stands.into_iter().find(|stand| *stand != Stand::Equal).unwrap_or(Stand::Equal);
    Compared { session, title: plan.winner.title.clone(), stand }
}

/// What the standing of one side says of both: the other one holds the winner.
fn stand(at: At, standing: &Standing, length: u64) -> Stand {
    let short = |bytes| if at == At::Here { Stand::Behind { bytes } } else { Stand::Ahead { bytes } };
    match standing {
        Standing::Equal => Stand::Equal,
        Standing::Missing => short(length),
        Standing::Behind(bytes) => short(*bytes),
        Standing::Diverged => Stand::Diverged,
        Standing::Waiting(bytes) => Stand::Waiting { at, bytes: *bytes },
        Standing::Older => Stand::Older { at },
        Standing::Silent => Stand::Silent { at },
        Standing::Deleted => Stand::Deleted { at },
        Standing::Forgotten => Stand::Forgotten { at },
        Standing::Closed(why) => Stand::Refused { at, why: why.clone() },
        Standing::Withheld => Stand::Withheld { at },
    }
}
