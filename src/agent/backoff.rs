//! Patience with a list of codespaces that cannot be had. Patience with a single codespace is the quiet rule's.
//!
//! Promises: pure. What failed is tried again ever later, up to a bound; GitHub's own wish counts where it is longer.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(60);
/// At most.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long the list is not asked for again after so many failures in a row.
#[must_use]
pub fn list_again(failures: u32, wish: Option<Duration>) -> Duration {
    let ours = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    wish.map_or(ours, |wish| wish.min(LONGEST).max(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_asked_for_ever_more_rarely_and_never_before_github_wants() {
        let minutes: Vec<u64> = (1..9).map(|failures| list_again(failures, None).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(list_again(1, Some(Duration::from_secs(900))).as_secs(), 900);
        assert_eq!(list_again(1, Some(Duration::MAX)), LONGEST, "a wish of a year is no wish");
    }
}
