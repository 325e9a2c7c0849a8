//! A destination that becomes an argument of ssh, checked once.

use std::fmt;
use std::str::FromStr;

/// Empty, longer than 255 bytes, beginning with `-`, or with a character that no host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no host for ssh: no leading hyphen, no white space, only letters, digits and . _ - @ : / % + [ ]")]
pub struct NotAHost;

/// A destination in the user's own words: an alias of `~/.ssh/config`, `user@host`, or `ssh://user@host:port`. It can be no option
/// and carries nothing that a shell behind `ProxyCommand` would read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let fits = text.len() <= 255 && !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@:/%+[]".contains(&byte));
        if fits && !text.is_empty() { Ok(Self(text.to_owned())) } else { Err(NotAHost) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_never_an_option_or_a_piece_of_shell() {
        for good in ["box", "me@box.example.org", "ssh://me@box:2222", "fe80::1%eth0", "[::1]"] {
            assert_eq!(good.parse::<Host>().unwrap().to_string(), good);
        }
        for bad in ["", "-oProxyCommand=id", "a b", "a\nb", "a\u{1b}", "$(id)", "a;b", "a`b`", "\u{202e}x", "a\\b", "a'b"] {
            assert_eq!(bad.parse::<Host>(), Err(NotAHost), "{bad:?}");
        }
    }
}
