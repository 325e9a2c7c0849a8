//! The name of a codespace, checked once: GitHub's listing, the command line of gh, a path of the API and the log all take it from here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reconcile::plain::brief;

/// The permanent name of a codespace: `[A-Za-z0-9][A-Za-z0-9-]{0,127}`, so it can be an argument, a path of the API or a line of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodespaceName(String);

/// A text that can name no codespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name of a codespace (letters, digits and dashes, at most 128)", brief(text, 60))]
pub struct NotACodespaceName {
    text: String,
}

impl CodespaceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CodespaceName {
    type Err = NotACodespaceName;

    fn from_str(text: &str) -> Result<Self, NotACodespaceName> {
        let fits = (1..=128).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(NotACodespaceName { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for CodespaceName {
    type Error = NotACodespaceName;

    fn try_from(text: String) -> Result<Self, NotACodespaceName> {
        text.parse()
    }
}

impl From<CodespaceName> for String {
    fn from(name: CodespaceName) -> Self {
        name.0
    }
}

impl fmt::Display for CodespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_only_what_github_gives() {
        assert_eq!("fluffy-space-guacamole-5g9x7".parse::<CodespaceName>().unwrap().as_str(), "fluffy-space-guacamole-5g9x7");
        for bad in ["", "-c", "a/b", "a..b", "a b", "a_b", &"a".repeat(129)] {
            assert!(bad.parse::<CodespaceName>().is_err(), "{bad:?}");
        }
    }
}
