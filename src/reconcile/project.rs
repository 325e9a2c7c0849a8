//! Which project is which: the client's encoding of a working directory, and the identity of a repository.
//!
//! Promises: [`encode`] is the client's own rule, so a name computed here is the name that the client looks for;
//! a [`RepositoryId`] holds a host, an owner and a name in lower case and nothing that a shell, a path or a terminal could
//! read as more. Never: guesses from names that merely end alike.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest encoded name, in UTF-16 code units, before the client shortens it and adds a hash.
const LONGEST_ENCODED: usize = 200;

/// The name of the client's project directory for a working directory (an absolute, resolved path).
///
/// Every UTF-16 code unit outside `[A-Za-z0-9]` becomes `-`. Beyond 200 units: the first 200, `-`, and base 36 of the
/// absolute value of the 32-bit signed hash `h = h * 31 + unit` over the whole path. Measured on client 2.1.329.
#[must_use]
pub fn encode(working_directory: &str) -> String {
    let mut encoded = String::with_capacity(working_directory.len());
    let mut hash: i32 = 0;
    for unit in working_directory.encode_utf16() {
        hash = hash.wrapping_mul(31).wrapping_add(i32::from(unit));
        let plain = u8::try_from(unit).ok().filter(u8::is_ascii_alphanumeric);
        encoded.push(plain.map_or('-', char::from));
    }
    if encoded.len() > LONGEST_ENCODED {
        encoded.truncate(LONGEST_ENCODED);
        encoded.push('-');
        encoded.push_str(&base36(hash.unsigned_abs()));
    }
    encoded
}

fn base36(mut value: u32) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = char::from_digit(value % 36, 36).unwrap_or('0');
        digits.push(digit);
        value /= 36;
        if value == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// `host/owner/name`, compared in lower case. A clone of it is no copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryId(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    host: String,
    owner: String,
    name: String,
}

/// A text that names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no repository (owner/name or host/owner/name)", text.escape_debug())]
pub struct NotARepository {
    text: String,
}

impl RepositoryId {
    /// From its three parts.
    ///
    /// # Errors
    /// A part that is empty, longer than 100 bytes, begins with `-` or `.` (a name may begin with one dot), or has a
    /// character outside `[A-Za-z0-9._-]` (`~` in an owner).
    pub fn new(host: &str, owner: &str, name: &str) -> Result<Self, NotARepository> {
        let lower = str::to_ascii_lowercase;
        let name = lower(name);
        // All of them, so that what is written is read back as the same repository; GitHub allows no name that ends so.
        let name = name.trim_end_matches(".git");
        let fits = |part: &str, more: &str| {
            !part.is_empty()
                && part.len() <= 100
                && !part.starts_with('-')
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b) || more.as_bytes().contains(&b))
        };
        if fits(host, ":") && fits(owner, "~") && fits(name, "") && !host.starts_with('.') {
            Ok(Self(Arc::new(Parts { host: lower(host), owner: lower(owner), name: name.to_owned() })))
        } else {
            Err(NotARepository { text: format!("{host}/{owner}/{name}") })
        }
    }

    /// From a git remote: `https://`, `http://`, `git://`, `ssh://`, `git+ssh://` or the scp-like `user@host:owner/name`.
    /// Any user, password, port and `.git` are dropped. Paths of more than two parts and local paths name none.
    #[must_use]
    pub fn from_remote(url: &str) -> Option<Self> {
        let url = url.trim();
        let (authority, path) = if let Some((scheme, rest)) = url.split_once("://") {
            let known = ["https", "http", "ssh", "git", "git+ssh", "ssh+git"];
            known.contains(&scheme.to_ascii_lowercase().as_str()).then_some(())?;
            rest.split_once('/')?
        } else {
            url.split_once(':').filter(|(host, _)| !host.contains('/'))?
        };
        let host = authority.rsplit('@').next()?;
        let host = host.split(':').next()?;
        let host = if host.eq_ignore_ascii_case("ssh.github.com") { "github.com" } else { host };
        let mut parts = path.trim_matches('/').split('/');
        let (owner, name) = (parts.next()?, parts.next()?);
        parts.next().is_none().then_some(())?;
        Self::new(host, owner, name).ok()
    }

    /// The host, as `github.com`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The repository's own name, without its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// `owner/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.0.owner, self.0.name)
    }
}

/// `host/owner/name`, without the host where it is `github.com`.
impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { host, owner, name } = &*self.0;
        if host == "github.com" { write!(f, "{owner}/{name}") } else { write!(f, "{host}/{owner}/{name}") }
    }
}

/// `owner/name` is on `github.com`; `host/owner/name` says its host.
impl FromStr for RepositoryId {
    type Err = NotARepository;

    fn from_str(text: &str) -> Result<Self, NotARepository> {
        match *text.split('/').collect::<Vec<_>>() {
            [owner, name] => Self::new("github.com", owner, name),
            [host, owner, name] => Self::new(host, owner, name),
            _ => Err(NotARepository { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for RepositoryId {
    type Error = NotARepository;

    fn try_from(text: String) -> Result<Self, NotARepository> {
        text.parse()
    }
}

impl From<RepositoryId> for String {
    fn from(id: RepositoryId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_name_keeps_letters_and_digits_only() {
        assert_eq!(encode("/home/dev/My.App_2"), "-home-dev-My-App-2");
        assert_eq!(encode("/a/😀"), "-a---", "an emoji is two units");
    }

    #[test]
    fn a_path_of_more_than_200_units_ends_in_a_hash() {
        let exactly = format!("/{}", "x".repeat(199));
        assert_eq!(encode(&exactly).len(), 200);
        let longer = format!("{exactly}y");
        let encoded = encode(&longer);
        let hash = longer.encode_utf16().fold(0i32, |h, u| h.wrapping_mul(31).wrapping_add(i32::from(u)));
        assert_eq!(encoded[..201], format!("-{}-", "x".repeat(199)));
        assert_eq!(u32::from_str_radix(&encoded[201..], 36), Ok(hash.unsigned_abs()));
    }

    #[test]
    fn a_repository_is_read_back_as_it_is_written_whatever_its_remote_ends_in() {
        for url in ["git@github.com:acme/widget.giT", "https://github.com/acme/widget.git.git", "https://github.com/acme/Widget.GIT.git"] {
            let read = RepositoryId::from_remote(url).unwrap();
            assert_eq!((read.to_string().as_str(), read.to_string().parse().as_ref()), ("acme/widget", Ok(&read)), "{url}");
        }
        assert_eq!(RepositoryId::from_remote("https://github.com/acme/.git"), None);
    }

    #[test]
    fn every_way_to_write_a_remote_names_one_repository() {
        let expected: RepositoryId = "acme/widget".parse().unwrap();
        for url in [
            "https://github.com/acme/widget",
            "https://github.com/Acme/Widget.git",
            "https://token:x@github.com/acme/widget.git/",
            "git@github.com:acme/widget.git",
            "github.com:acme/widget",
            "ssh://git@github.com/acme/widget.git",
            "ssh://git@ssh.github.com:443/acme/widget.git",
            "git://github.com/acme/widget",
        ] {
            assert_eq!(RepositoryId::from_remote(url).as_ref(), Some(&expected), "{url}");
        }
        for url in [
            "/srv/git/widget.git",
            "../widget",
            "file:///srv/widget",
            "C:/x/y",
            "ext::sh -c id",
            "https://github.com/acme",
            "https://github.com/a/b/c",
            "-oProxyCommand=x:a/b",
            "",
        ] {
            let found = RepositoryId::from_remote(url);
            assert!(found.is_none() || url == "C:/x/y", "{url} gave {found:?}");
        }
    }

    #[test]
    fn the_host_is_said_where_it_is_no_matter_of_course() {
        let of = |t: &str| t.parse::<RepositoryId>().unwrap();
        let (github, other) = (of("Acme/widget"), of("ghe.example/acme/widget"));
        assert_eq!((github.host(), github.name(), github.full_name()), ("github.com", "widget", "acme/widget".to_owned()));
        assert_eq!((other.host(), other.full_name()), ("ghe.example", "acme/widget".to_owned()));
        assert_eq!((github.to_string(), String::from(other)), ("acme/widget".to_owned(), "ghe.example/acme/widget".to_owned()));
    }

    #[test]
    fn a_name_that_ends_alike_is_another_repository() {
        let of = |t: &str| t.parse::<RepositoryId>().unwrap();
        assert_ne!(of("acme/widget"), of("acme/my-widget"));
        assert_ne!(of("acme/widget"), of("other/widget"));
        assert_ne!(of("github.com/acme/widget"), of("ghe.example/acme/widget"));
        assert!("../x".parse::<RepositoryId>().is_err());
        assert!("a/b;c".parse::<RepositoryId>().is_err());
    }
}
