//! Sessions as people type them: a whole id, or the beginning of one.

use super::manifest::SessionId;

/// A text that does not mean one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOne {
    /// It means none.
    None,
    /// It begins the ids of several.
    Several,
}

/// The session that a text means. Of each candidate: the id as it may be typed, and the session that is meant by it.
///
/// # Errors
/// When that is none, or several.
pub fn meant(text: &str, candidates: impl IntoIterator<Item = (SessionId, SessionId)>) -> Result<SessionId, NotOne> {
    let mut fitting = candidates.into_iter().filter(|(typed, _)| !text.is_empty() && typed.to_string().starts_with(text)).map(|(_, session)| session);
    let first = fitting.next().ok_or(NotOne::None)?;
    if fitting.any(|other| other != first) { Err(NotOne::Several) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
