//! Sessions and versions as people type them: a whole id or digest, or the beginning of one.

use std::fmt::Display;

/// A text that does not mean one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOne {
    /// It means none.
    None,
    /// It begins several.
    Several,
}

/// The one that a text means. Of each candidate: what may be typed, and what is meant by it; several may mean the same.
///
/// # Errors
/// When that is none, or several.
pub fn meant<T: PartialEq>(text: &str, candidates: impl IntoIterator<Item = (impl Display, T)>) -> Result<T, NotOne> {
    let mut fitting = candidates.into_iter().filter(|(typed, _)| !text.is_empty() && typed.to_string().starts_with(text)).map(|(_, meant)| meant);
    let first = fitting.next().ok_or(NotOne::None)?;
    if fitting.any(|other| other != first) { Err(NotOne::Several) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::digest::Digest;
    use crate::reconcile::manifest::SessionId;

    #[test]
    fn a_session_is_meant_by_the_beginning_of_its_id_or_of_another_that_stands_for_it() {
        let id = |digit: char| format!("{}-0000-4000-8000-000000000000", digit.to_string().repeat(8)).parse::<SessionId>().unwrap();
        let candidates = [(id('1'), id('1')), (id('2'), id('1')), (id('3'), id('3'))];
        assert_eq!(meant("2222", candidates), Ok(id('1')));
        assert_eq!(meant(&id('3').to_string(), candidates), Ok(id('3')));
        assert_eq!(meant("4", candidates), Err(NotOne::None));
        assert_eq!(meant("", candidates), Err(NotOne::None));
        let alike = [(id('1'), id('1')), (id('1'), id('3'))];
        assert_eq!(meant("1", alike), Err(NotOne::Several));
    }

    #[test]
    fn a_version_is_meant_by_the_beginning_of_its_digest() {
        let of = |text: &str, digests: [Digest; 2]| meant(text, digests.map(|digest| (digest, digest)));
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(of(&a.short(), [a, b]), Ok(a));
        assert_eq!([of("", [a, b]), of("zz", [a, b])], [Err(NotOne::None); 2]);
        let zeros = [Digest([0; 32]), Digest([1; 32])];
        assert_eq!(of("0", zeros), Err(NotOne::Several));
        assert_eq!(of("00", [zeros[0], zeros[0]]), Ok(zeros[0]), "twice the same is one");
    }
}
