//! Text that can be pasted anywhere: the home as `~`, and no secret. Pure.
//!
//! Promises: no value of a variable that may hold a token is left, nothing that looks like a token of GitHub, no password in an
//! address, no value of a variable whose name speaks of a secret. In doubt more is hidden than must be.

use std::path::Path;

use crate::codespace::token::TOKEN_VARIABLES;
use crate::paths::Environment;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// How GitHub's tokens begin.
const BEGINNINGS: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];
/// What names of variables with secrets hold.
const SECRET: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL"];

/// What is to be hidden.
#[derive(Clone)]
pub struct Paste {
    home: String,
    secrets: Vec<String>,
}

impl Paste {
    /// For the home and the variables of a user.
    #[must_use]
    pub fn new(home: &Path, environment: &Environment) -> Self {
        let secrets = TOKEN_VARIABLES.iter().filter_map(|name| environment.text(name)).map(|value| value.trim().to_owned());
        let home = home.to_str().map(|home| home.trim_end_matches('/')).unwrap_or_default();
        Self { home: home.to_owned(), secrets: secrets.filter(|secret| !secret.is_empty()).collect() }
    }

    /// The text without them.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), HIDDEN);
        }
        for beginning in BEGINNINGS {
            text = without_words(&text, beginning);
        }
        self.at_home(&without_assignments(&without_passwords(&text)))
    }

    /// Paths below the home begin with `~`.
    fn at_home(&self, text: &str) -> String {
        if self.home.is_empty() {
            return text.to_owned();
        }
        let mut cleaned = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(&self.home) {
            cleaned.push_str(before);
            let begins = !before.ends_with(is_of_path);
            let ends = !after.starts_with(|c: char| c != '/' && is_of_path(c));
            cleaned.push_str(if begins && ends { "~" } else { &self.home });
            rest = after;
        }
        cleaned + rest
    }
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || "._-/".contains(c)
}

/// What begins so is hidden up to its end.
fn without_words(text: &str, beginning: &str) -> String {
    let mut parts = text.split(beginning);
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        cleaned.push_str(HIDDEN);
        cleaned.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    }
    cleaned
}

/// `scheme://user:password@host` without what stands before the `@`.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let authority = part.find(|c: char| c == '/' || c.is_whitespace() || "\"'`".contains(c)).unwrap_or(part.len());
        let (authority, rest) = part.split_at(authority);
        cleaned.push_str("://");
        match authority.rsplit_once('@') {
            Some((_, host)) => cleaned.push_str(&format!("{HIDDEN}@{host}")),
            None => cleaned.push_str(authority),
        }
        cleaned.push_str(rest);
    }
    cleaned
}

/// `MY_TOKEN=…` without its value, up to the next blank outside of quotes.
fn without_assignments(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default().to_ascii_uppercase();
        cleaned.push_str(before);
        cleaned.push('=');
        let quote = after.chars().next().filter(|c| "\"'".contains(*c));
        let length = match quote {
            Some(quote) => after[1..].find(quote).map_or(after.len(), |at| at + 2),
            None => after.find(|c: char| c.is_whitespace() || ";&|".contains(c)).unwrap_or(after.len()),
        };
        if length > 0 && SECRET.iter().any(|word| name.contains(word)) {
            cleaned.push_str(HIDDEN);
            rest = &after[length..];
        } else {
            rest = after;
        }
    }
    cleaned + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Paste::new(Path::new("/home/me"), &[("GH_TOKEN", "plain-old-token")].into_iter().collect()).clean(text)
    }

    #[test]
    fn the_home_is_a_tilde_where_a_path_begins_with_it() {
        assert_eq!(clean("/home/me/.claude and /home/me, `/home/me`"), "~/.claude and ~, `~`");
        assert_eq!(clean("/home/meg/x /mnt/home/me/x /home/me.old"), "/home/meg/x /mnt/home/me/x /home/me.old");
        assert_eq!(Paste::new(Path::new("/"), &Environment::default()).clean("/x/"), "/x/");
    }

    #[test]
    fn what_may_be_a_secret_is_hidden() {
        assert_eq!(clean("said plain-old-token twice: plain-old-token"), "said (hidden) twice: (hidden)");
        assert_eq!(clean("x gho_abcDEF123; github_pat_11AA_bb."), "x (hidden); (hidden).");
        assert_eq!(clean("https://me:pass@proxy:3128/x, https://proxy/a@b"), "https://(hidden)@proxy:3128/x, https://proxy/a@b");
        assert_eq!(
            clean("0 * * * * MY_TOKEN=abc RSYNC_PASSWORD='a b' rsync --key=x a=b"),
            "0 * * * * MY_TOKEN=(hidden) RSYNC_PASSWORD=(hidden) rsync --key=(hidden) a=b"
        );
        assert_eq!(clean("API_KEY=\"never closed"), "API_KEY=(hidden)");
    }
}
