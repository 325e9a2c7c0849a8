//! How long the passes, and the visits to each codespace, have not gone well.
//!
//! Promises: pure. Only time awake and online counts, so a night or a flight makes nothing stale. Each staleness is news once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::status::StaleFor;

/// The counters: none stands for the passes as a whole, which count from the agent's start; a place counts from its first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(BTreeMap<Option<String>, Since>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Since {
    time: Duration,
    told: bool,
}

impl Default for Stale {
    fn default() -> Self {
        Self(BTreeMap::from([(None, Since::default())]))
    }
}

impl Stale {
    /// A good pass was made.
    pub fn note_pass(&mut self) {
        self.0.insert(None, Since::default());
    }

    /// A visit ended, well or not.
    pub fn note(&mut self, name: &str, good: bool) {
        if good {
            self.0.remove(&Some(name.to_owned()));
        } else {
            self.0.entry(Some(name.to_owned())).or_default();
        }
    }

    /// Forgets the places that do not run.
    pub fn only_of(&mut self, running: &BTreeSet<String>) {
        self.0.retain(|name, _| name.as_ref().is_none_or(|name| running.contains(name)));
    }

    /// Adds time awake and online; what has become stale by it.
    pub fn pass_time(&mut self, time: Duration, after: Duration) -> Vec<StaleFor> {
        let mut news = Vec::new();
        for (name, since) in &mut self.0 {
            since.time = since.time.saturating_add(time);
            if since.time > after && !since.told {
                since.told = true;
                news.push(StaleFor { name: name.clone(), seconds: since.time.as_secs() });
            }
        }
        news
    }

    /// What is stale.
    #[must_use]
    pub fn over(&self, after: Duration) -> Vec<StaleFor> {
        let stale = self.0.iter().filter(|(_, since)| since.time > after);
        stale.map(|(name, since)| StaleFor { name: name.clone(), seconds: since.time.as_secs() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stale_is_news_once_and_a_good_end_forgets_it() {
        let hour = Duration::from_secs(3600);
        let mut stale = Stale::default();
        stale.note("a", false);
        assert!(stale.pass_time(6 * hour, 6 * hour).is_empty());
        let names = |stale: Vec<StaleFor>| stale.into_iter().map(|stale| stale.name).collect::<Vec<_>>();
        assert_eq!(names(stale.pass_time(hour, 6 * hour)), [None, Some("a".to_owned())]);
        assert!(stale.pass_time(hour, 6 * hour).is_empty(), "it was told");
        stale.note("a", true);
        assert_eq!(names(stale.over(6 * hour)), [None]);
        stale.note_pass();
        assert!(stale.over(6 * hour).is_empty());
    }
}
