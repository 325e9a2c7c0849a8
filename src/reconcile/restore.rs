//! What becomes of a session that is to be taken back: which of its versions, in its old place or beside it, and with which time.
//!
//! Promises: in place comes only what the laws leave there; a copy that lost, or a version of a session that is here, becomes a
//! session of its own, because in place the next pass would undo it. Never: a choice between versions that its user did not make.

use serde::Serialize;

use super::digest::Digest;
use super::transcript::{Content, Moment};

/// How a version stands to the copy that counts: the one that lies here, else the archive's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is that copy.
    Counts,
    /// That copy begins with it.
    Beginning,
    /// It holds lines that the copy lacks.
    Apart,
}

/// Whether the session lies in this machine's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// It does.
    Here,
    /// It does not.
    Nowhere,
}

/// In which form its user wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Where it was, if the laws leave it there.
    InPlace,
    /// As a session of its own.
    AsNew,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The session comes back where it was.
    InPlace {
        /// With this content.
        version: Digest,
        /// There is more of it: whoever holds that extends it again.
        short: bool,
    },
    /// This content becomes a session of its own.
    AsNew {
        /// Which.
        version: Digest,
    },
    /// Its user has to choose among these.
    Choose(Vec<Digest>),
    /// It is here, and no version holds what it lacks.
    Nothing,
    /// No bytes of it are kept.
    NoBytes,
}

/// Decides. `wanted` is the version that its user named; it is among `versions`.
#[must_use]
pub fn decide(lies: Lies, versions: &[(Digest, Standing)], wanted: Option<Digest>, form: Form) -> Decision {
    let standing = |version: Digest| versions.iter().find(|(digest, _)| *digest == version).map_or(Standing::Apart, |(_, standing)| *standing);
    let of = |version: Digest| match (lies, form, standing(version)) {
        (Lies::Nowhere, Form::InPlace, Standing::Counts) => Decision::InPlace { version, short: false },
        (Lies::Nowhere, Form::InPlace, Standing::Beginning) => Decision::InPlace { version, short: true },
        _ => Decision::AsNew { version },
    };
    if let Some(version) = wanted {
        return of(version);
    }
    let counts = versions.iter().find(|(_, standing)| *standing == Standing::Counts).map(|(digest, _)| *digest);
    let all: Vec<Digest> = versions.iter().map(|(digest, _)| *digest).collect();
    let others: Vec<(Digest, Standing)> = versions.iter().copied().filter(|(_, standing)| *standing != Standing::Counts).collect();
    match (lies, counts, form, &*others) {
        (_, None, _, []) => Decision::NoBytes,
        (Lies::Nowhere, Some(version), ..) | (_, Some(version), Form::AsNew, []) => of(version),
        (_, None, _, [(version, _)]) | (_, Some(_), Form::InPlace, [(version, Standing::Apart)]) => of(*version),
        (Lies::Here, _, Form::InPlace, others) if others.iter().all(|(_, standing)| *standing == Standing::Beginning) => Decision::Nothing,
        (Lies::Here, _, Form::InPlace, others) => Decision::Choose(others.iter().map(|(digest, _)| *digest).collect()),
        _ => Decision::Choose(all),
    }
}

/// The modification time of what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970; none where its lines tell no time.
    pub modified: Option<i64>,
    /// It is not the lines' own, because the client would delete those at its next start.
    pub expired: bool,
}

/// The time of a content that is installed at `now`, in a store whose client deletes what is older than `retention`.
#[must_use]
pub fn time(content: &Content, retention: Moment, now: Moment) -> Time {
    match content.newest_message.or(content.newest) {
        Some(newest) if newest <= retention => Time { modified: Some(now.seconds()), expired: true },
        newest => Time { modified: newest.map(Moment::seconds), expired: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn versions(of: &[(&str, Standing)]) -> Vec<(Digest, Standing)> {
        of.iter().map(|(text, standing)| (digest(text), *standing)).collect()
    }

    #[test]
    fn what_is_absent_comes_back_in_place_as_the_copy_that_counts() {
        let all = versions(&[("newest", Standing::Counts), ("older", Standing::Beginning), ("lost", Standing::Apart)]);
        let decided = |wanted: Option<&str>, form| decide(Lies::Nowhere, &all, wanted.map(digest), form);
        assert_eq!(decided(None, Form::InPlace), Decision::InPlace { version: digest("newest"), short: false });
        assert_eq!(decided(None, Form::AsNew), Decision::AsNew { version: digest("newest") });
        assert_eq!(decided(Some("older"), Form::InPlace), Decision::InPlace { version: digest("older"), short: true });
        assert_eq!(decided(Some("lost"), Form::InPlace), Decision::AsNew { version: digest("lost") }, "who holds the winner would displace it");
    }

    #[test]
    fn without_the_archives_copy_one_version_speaks_for_itself_and_several_do_not() {
        let decided = |of: &[(&str, Standing)]| decide(Lies::Nowhere, &versions(of), None, Form::InPlace);
        assert_eq!(decided(&[]), Decision::NoBytes);
        assert_eq!(decided(&[("older", Standing::Beginning)]), Decision::InPlace { version: digest("older"), short: true });
        assert_eq!(decided(&[("lost", Standing::Apart)]), Decision::AsNew { version: digest("lost") });
        let two = [("lost", Standing::Apart), ("older", Standing::Beginning)];
        assert_eq!(decided(&two), Decision::Choose(vec![digest("lost"), digest("older")]));
    }

    #[test]
    fn what_is_here_stays_and_a_version_of_it_becomes_a_session_of_its_own() {
        let decided = |of: &[(&str, Standing)], form| decide(Lies::Here, &versions(of), None, form);
        let here = ("here", Standing::Counts);
        assert_eq!(decided(&[here], Form::InPlace), Decision::Nothing);
        assert_eq!(decided(&[here, ("older", Standing::Beginning)], Form::InPlace), Decision::Nothing, "it lacks nothing");
        assert_eq!(decided(&[here], Form::AsNew), Decision::AsNew { version: digest("here") });
        assert_eq!(decided(&[here, ("lost", Standing::Apart)], Form::InPlace), Decision::AsNew { version: digest("lost") });
        let both = [here, ("lost", Standing::Apart), ("older", Standing::Beginning)];
        assert_eq!(decided(&both, Form::InPlace), Decision::Choose(vec![digest("lost"), digest("older")]));
        assert_eq!(decided(&both, Form::AsNew), Decision::Choose(vec![digest("here"), digest("lost"), digest("older")]));
        let named = decide(Lies::Here, &versions(&both), Some(digest("older")), Form::InPlace);
        assert_eq!(named, Decision::AsNew { version: digest("older") });
    }

    #[test]
    fn what_the_client_would_delete_again_gets_the_present_time() {
        let content = |newest_message, newest| Content { newest_message, newest, ..Content::empty() };
        let (now, retention) = (Moment(9_000_000), Moment(5_000_000));
        let of = |content: &Content| time(content, retention, now);
        assert_eq!(of(&content(Some(Moment(6_000_000)), Some(Moment(8_000_000)))), Time { modified: Some(6), expired: false });
        assert_eq!(of(&content(Some(Moment(5_000_000)), Some(Moment(8_000_000)))), Time { modified: Some(9), expired: true });
        assert_eq!(of(&content(None, Some(Moment(7_000_000)))), Time { modified: Some(7), expired: false });
        assert_eq!(of(&content(None, None)), Time { modified: None, expired: false });
    }
}
