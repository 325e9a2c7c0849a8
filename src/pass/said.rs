//! What was said of failures, so that one that stays is said once and then counted.
//!
//! Promises: a failure of another kind, or one that comes back, is said again; two that differ by numbers alone are of one kind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What fails, or heals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The list of codespaces.
    List,
    /// The pass as a whole.
    Pass,
    /// The state at the end of a pass.
    State,
    /// The visit to one place.
    Visit(String),
    /// The files at one place, `here` included.
    Files(String),
}

/// How often it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// Not yet.
    News,
    /// It failed alike, so many times by now.
    Again(u32),
}

/// The memory of it; its clones are the same memory.
#[derive(Debug, Clone, Default)]
pub struct Said(Arc<Mutex<HashMap<Subject, (String, u32)>>>);

impl Said {
    /// It failed, for a reason.
    #[must_use]
    pub fn failed(&self, subject: Subject, reason: &str) -> Saying {
        let kind: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.get(&subject).filter(|(before, _)| *before == kind).map_or(0, |(_, times)| *times);
        let times = before.saturating_add(1);
        said.insert(subject, (kind, times));
        if times == 1 { Saying::News } else { Saying::Again(times) }
    }

    /// It went well: how often it had failed before, if it had.
    #[must_use]
    pub fn healed(&self, subject: &Subject) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(subject).map(|(_, times)| times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_stays_is_news_once_and_one_of_another_kind_is_news() {
        let said = Said::default();
        let again = said.clone();
        assert_eq!(said.failed(Subject::List, "no answer within 10 s"), Saying::News);
        assert_eq!(again.failed(Subject::List, "no answer within 11 s"), Saying::Again(2));
        assert_eq!(said.failed(Subject::Visit("a".to_owned()), "no answer within 10 s"), Saying::News);
        assert_eq!(said.failed(Subject::List, "HTTP 401"), Saying::News);
        assert_eq!((said.healed(&Subject::List), said.healed(&Subject::List)), (Some(1), None));
        assert_eq!(said.failed(Subject::List, "HTTP 401"), Saying::News, "it came back");
    }
}
