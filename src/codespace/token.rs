//! The token that GitHub is asked with: where it is looked for, in which order, and from where it came.
//!
//! Order: `[github] token_file`, `$CREDENTIALS_DIRECTORY/github-token`, `GH_TOKEN`, `GITHUB_TOKEN`, and last `gh auth token`.
//! Promises: every error and every later complaint of GitHub can name the source; `gh` has a deadline and is ended with all
//! of its children. Never: a token in a `Debug` text, in an error, in a process list or in the environment of a child.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::paths::Environment;
pub use crate::paths::TOKEN_VARIABLES;
use crate::reconcile::plain::brief;

/// How long `gh auth token` may take.
pub const GH_DEADLINE: Duration = Duration::from_secs(10);

/// The variables that are looked at, in this order.
const LOOKED_AT: [&str; 2] = ["GH_TOKEN", "GITHUB_TOKEN"];
/// The file below `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`).
const CREDENTIAL: &str = "github-token";
/// More bytes than any token of GitHub has, and than is read of a file or of what `gh` prints.
const LONGEST: u64 = 4096;

/// A token's text. Shown by no `Debug`, and by nothing else but [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one header that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a token came from; its `Display` completes "the token from …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// `[github] token_file`, or the credential that systemd provides.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// `gh auth token`.
    Gh,
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", brief(&path.to_string_lossy(), LONGEST as usize)),
            Self::Variable(name) => f.write_str(name),
            Self::Gh => f.write_str("gh auth token"),
        }
    }
}

/// A token and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text, one line of printable ASCII without blanks.
    pub secret: Secret,
    /// Where it came from.
    pub source: TokenSource,
}

impl Token {
    /// Takes a text as a token. One line ending is dropped.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] when it is empty, longer than 4096 bytes, more than one line, or not printable ASCII.
    pub fn new(text: &[u8], source: TokenSource) -> Result<Self, TokenError> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let why = if line.is_empty() {
            "it is empty"
        } else if line.len() as u64 > LONGEST {
            "it is longer than 4096 bytes"
        } else if line.contains(&b'\n') {
            "it is more than one line"
        } else if !line.iter().all(u8::is_ascii_graphic) {
            "it holds a blank or a character that is not printable ASCII"
        } else {
            return Ok(Self { secret: Secret(line.iter().copied().map(char::from).collect()), source });
        };
        Err(TokenError::Malformed { token: source, why })
    }

    /// Whether it is a fine-grained personal access token, which the Codespaces API does not always take.
    #[must_use]
    pub fn is_fine_grained(&self) -> bool {
        self.secret.0.starts_with("github_pat_")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file that should hold the token cannot be read.
    #[error("cannot read a token from {token}")]
    Unreadable {
        /// The file.
        token: TokenSource,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// What was found can be no token. The text itself is in no error.
    #[error("what {token} gives is no token: {why}")]
    Malformed {
        /// Where it was found.
        token: TokenSource,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing names a token, and `gh` cannot be run.
    #[error("no token: neither token_file nor GH_TOKEN nor GITHUB_TOKEN is set, and `{program}` cannot be run")]
    NoGh {
        /// The program that was tried.
        program: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// `gh auth token` ended with an error.
    #[error("no token: neither token_file nor GH_TOKEN nor GITHUB_TOKEN is set, and gh auth token gives none ({said})")]
    NotLoggedIn {
        /// How it ended and the end of what it printed, escaped.
        said: String,
    },
    /// `gh auth token` did not end in time and was killed.
    #[error("gh auth token did not answer within {} s", deadline.as_secs_f32())]
    Hanging {
        /// The deadline.
        deadline: Duration,
    },
}

impl TokenError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Malformed { token: TokenSource::Gh, .. } => Some("run `gh auth token` and look at what it prints".to_owned()),
            Self::Malformed { token, .. } => Some(format!("put one token on one line into {token}")),
            Self::NoGh { .. } => Some("install gh (https://cli.github.com), then run `gh auth login -s codespace`".to_owned()),
            Self::NotLoggedIn { .. } => Some("run `gh auth login -s codespace`".to_owned()),
            Self::Hanging { .. } => Some("run `gh auth token` by hand: a locked keyring may be asking for its password".to_owned()),
        }
    }
}

/// Where to look.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The environment: a variable's value, if it is set.
    pub environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// `[github] token_file`.
    pub token_file: Option<&'a Path>,
    /// The program `gh`.
    pub gh: &'a Path,
    /// The host whose token is wanted, as `github.com` ([`super::github::web_host`]).
    pub host: &'a str,
    /// How long `gh` may take: [`GH_DEADLINE`].
    pub deadline: Duration,
}

impl Lookup<'_> {
    /// The first token found. A place that is named and holds no valid token is an error, not a reason to look further;
    /// an empty variable and a credentials directory without our file count as not there.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn find(&self) -> Result<Token, TokenError> {
        self.find_as(None).await
    }

    /// The same, as another process would find it: `gh` sees these variables, tokens excepted, instead of those of this process.
    ///
    /// # Errors
    /// As [`Lookup::find`].
    pub async fn find_with(&self, variables: &Environment) -> Result<Token, TokenError> {
        self.find_as(Some(variables)).await
    }

    async fn find_as(&self, variables: Option<&Environment>) -> Result<Token, TokenError> {
        if let Some(path) = self.token_file {
            return from_file(path).await;
        }
        let credentials = (self.environment)("CREDENTIALS_DIRECTORY").filter(|v| !v.is_empty());
        if let Some(path) = credentials.map(|directory| Path::new(&directory).join(CREDENTIAL)) {
            match from_file(&path).await {
                Err(TokenError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        for name in LOOKED_AT {
            if let Some(value) = (self.environment)(name).filter(|v| !v.is_empty()) {
                return Token::new(value.as_encoded_bytes(), TokenSource::Variable(name));
            }
        }
        self.ask_gh(variables).await
    }

    async fn ask_gh(&self, variables: Option<&Environment>) -> Result<Token, TokenError> {
        let mut command = Command::new(self.gh);
        if let Some(variables) = variables {
            command.env_clear().envs(variables.iter());
        }
        command.args(["auth", "token", "--hostname", self.host]);
        command.env("GH_PROMPT_DISABLED", "1").env("GH_NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        without_tokens(&mut command);
        let child = command.spawn().map_err(|error| TokenError::NoGh { program: brief(&self.gh.to_string_lossy(), 200), error })?;
        let mut group = Group(child);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let ending = async {
            let (printed, said) = tokio::join!(read_bounded(stdout), read_bounded(stderr));
            (group.0.wait().await, printed, said)
        };
        let Ok((status, printed, said)) = tokio::time::timeout(self.deadline, ending).await else {
            return Err(TokenError::Hanging { deadline: self.deadline });
        };
        match status {
            Ok(status) if status.success() => Token::new(&printed, TokenSource::Gh),
            Ok(status) => Err(TokenError::NotLoggedIn { said: format!("{status}: {}", brief(String::from_utf8_lossy(&said).trim(), 300)) }),
            Err(error) => Err(TokenError::NoGh { program: brief(&self.gh.to_string_lossy(), 200), error }),
        }
    }
}

/// Takes every token out of the environment that `command`'s child will inherit.
pub fn without_tokens(command: &mut Command) {
    for name in TOKEN_VARIABLES {
        command.env_remove(name);
    }
}

/// A child that leads a process group of its own. Dropped before its end was seen, the whole group is killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // While its end was not collected its number cannot belong to anybody else.
        if let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// At most [`LONGEST`] bytes (and two, so that a longer text is noticed) are kept; the rest is read and dropped.
async fn read_bounded(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        // An error of the pipe ends the text; what it means is seen from the child's status and from the text.
        let _ = (&mut pipe).take(LONGEST + 2).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    kept
}

async fn from_file(path: &Path) -> Result<Token, TokenError> {
    let source = TokenSource::File(path.to_owned());
    match read_file(path).await {
        Ok(text) => Token::new(&text, source),
        Err(error) => Err(TokenError::Unreadable { token: source, error }),
    }
}

/// A FIFO or a device would block for ever, so only a regular file is opened.
async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = Vec::new();
    tokio::fs::File::open(path).await?.take(LONGEST + 2).read_to_end(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_printable_ascii() {
        let of = |text: &[u8]| Token::new(text, TokenSource::Gh).map(|t| t.secret.expose().to_owned()).map_err(|e| e.to_string());
        for good in [&b"gho_abc"[..], b"gho_abc\n", b"gho_abc\r\n"] {
            assert_eq!(of(good), Ok("gho_abc".to_owned()));
        }
        for (bad, why) in [
            (&b""[..], "it is empty"),
            (b"\n", "it is empty"),
            (b"a\nb\n", "it is more than one line"),
            (b"a b", "it holds a blank or a character that is not printable ASCII"),
            (b"a\x1b[0m", "it holds a blank or a character that is not printable ASCII"),
            (b"caf\xc3\xa9", "it holds a blank or a character that is not printable ASCII"),
            (&[b'a'; 4097], "it is longer than 4096 bytes"),
        ] {
            assert_eq!(of(bad), Err(format!("what gh auth token gives is no token: {why}")));
        }
    }

    #[test]
    fn no_debug_text_shows_the_token() {
        let token = Token::new(b"gho_abc", TokenSource::Variable("GH_TOKEN")).unwrap();
        assert_eq!(format!("{token:?}"), r#"Token { secret: Secret(…), source: Variable("GH_TOKEN") }"#);
    }

    #[test]
    fn a_source_is_named_as_the_user_knows_it() {
        assert_eq!(TokenSource::Variable("GH_TOKEN").to_string(), "GH_TOKEN");
        assert_eq!(TokenSource::Gh.to_string(), "gh auth token");
        assert_eq!(TokenSource::File("/x\u{1b}".into()).to_string(), r"the file /x\u{1b}");
    }
}
