//! What GitHub refused or failed at: its class, a text that names the token's source, and what the user can do.
//!
//! Source of the rules: GitHub's "Rate limits for the REST API" and "Troubleshooting the REST API"; what a scope is called, and
//! that a missing one is told by `X-OAuth-Scopes`, is what gh reads too.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use crate::codespace::token::TokenSource;
use crate::reconcile::plain::brief;

/// GitHub asks for at least this long where it names no time.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// No wait that is asked for is obeyed for longer; then GitHub is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Whether asking again later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing changes until the user acts (or, for one codespace, it is gone).
    Permanent,
    /// The next pass may succeed.
    Transient,
}

/// How the network failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFailure {
    /// No connection: the name is unknown, nobody answers, or TLS was not agreed on.
    Connect,
    /// The time for the whole request was used up.
    Timeout,
    /// The connection ended in the middle.
    Broken,
}

/// Why GitHub's answer is of no use. `answer` is `HTTP 403: message`, escaped and bounded.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// 401.
    #[error("GitHub does not accept the token from {token} ({answer})")]
    NotLoggedIn {
        /// Where the token came from.
        token: TokenSource,
        /// The host to log in to, as `github.com`.
        host: String,
        /// What GitHub said.
        answer: String,
    },
    /// The token is good, but not for codespaces.
    #[error("the token from {token} may not read codespaces ({answer})")]
    ScopeMissing {
        /// Where the token came from.
        token: TokenSource,
        /// The host to ask for the scope, as `github.com`.
        host: String,
        /// The HTTP status: 403, or 404 where GitHub hides what the token may not see.
        status: u16,
        /// A fine-grained token has permissions instead of scopes.
        fine_grained: bool,
        /// What GitHub said.
        answer: String,
    },
    /// An organization wants its single sign-on first.
    #[error("an organization's single sign-on does not know the token from {token} ({answer})")]
    SsoRequired {
        /// Where the token came from.
        token: TokenSource,
        /// The page that authorises it.
        url: Option<String>,
        /// What GitHub said.
        answer: String,
    },
    /// A refusal of another kind: codespaces disabled, an account suspended, a request it does not understand.
    #[error("GitHub refuses the token from {token} ({answer})")]
    Refused {
        /// Where the token came from.
        token: TokenSource,
        /// The HTTP status.
        status: u16,
        /// What GitHub said.
        answer: String,
    },
    /// The user's requests of this hour are used up, until the time given.
    #[error("the limit of requests for the token from {token} is used up until {} ({answer})", until.format("%Y-%m-%d %H:%M:%S UTC"))]
    RateLimited {
        /// Where the token came from.
        token: TokenSource,
        /// The HTTP status.
        status: u16,
        /// From then on GitHub answers again.
        until: DateTime<Utc>,
        /// What GitHub said.
        answer: String,
    },
    /// Too many requests in a short time.
    #[error("GitHub asks the user of the token from {token} to wait {} s ({answer})", wait.as_secs())]
    SecondaryLimit {
        /// Where the token came from.
        token: TokenSource,
        /// The HTTP status.
        status: u16,
        /// How long, counted from the answer.
        wait: Duration,
        /// What GitHub said.
        answer: String,
    },
    /// 404: one codespace is gone, or the API is not at this address.
    #[error("GitHub has no {path} for the token from {token} ({answer})")]
    NotFound {
        /// Where the token came from.
        token: TokenSource,
        /// What was asked for.
        path: String,
        /// What GitHub said.
        answer: String,
    },
    /// 5xx or 408, after the retries.
    #[error("GitHub failed to answer the token from {token} ({answer})")]
    ServerError {
        /// Where the token came from.
        token: TokenSource,
        /// The HTTP status.
        status: u16,
        /// For such tokens a 500 can be GitHub's way to refuse.
        fine_grained: bool,
        /// What GitHub said.
        answer: String,
    },
    /// An answer that is not what the API promises. Nothing is concluded from a part of it.
    #[error("the answer to {path} with the token from {token} is not GitHub's: {why}")]
    BadAnswer {
        /// Where the token came from.
        token: TokenSource,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// No whole answer came, after the retries.
    #[error("{}", network_text(*failure, origin, *whole))]
    Network {
        /// Scheme, host and port that were asked.
        origin: String,
        /// How it failed.
        failure: NetworkFailure,
        /// How long one request may take.
        whole: Duration,
        /// The client's own words.
        #[source]
        error: reqwest::Error,
    },
}

fn network_text(failure: NetworkFailure, origin: &str, whole: Duration) -> String {
    match failure {
        NetworkFailure::Connect => format!("cannot connect to {origin}"),
        NetworkFailure::Timeout => format!("{origin} gave no whole answer within {} s", whole.as_secs_f32()),
        NetworkFailure::Broken => format!("the connection to {origin} broke off in the middle of an answer"),
    }
}

impl ListError {
    /// Whether asking again later can help.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotLoggedIn { .. } | Self::ScopeMissing { .. } | Self::SsoRequired { .. } | Self::Refused { .. } | Self::NotFound { .. } => Class::Permanent,
            Self::RateLimited { .. } | Self::SecondaryLimit { .. } | Self::ServerError { .. } | Self::BadAnswer { .. } | Self::Network { .. } => {
                Class::Transient
            }
        }
    }

    /// What the user can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoggedIn { token: TokenSource::Gh, host, .. } => Some(format!("run `gh auth login -h {host} -s codespace`")),
            Self::NotLoggedIn { token, host, .. } => Some(format!("put a new token into {token}, or remove it and run `gh auth login -h {host} -s codespace`")),
            Self::ScopeMissing { fine_grained: true, token, .. } => {
                Some(format!("give the fine-grained token in {token} the permission \"Codespaces\" (read), or use a classic one with the scope `codespace`"))
            }
            Self::ScopeMissing { token: TokenSource::Gh, host, .. } => Some(format!("run `gh auth refresh -h {host} -s codespace`")),
            Self::ScopeMissing { token, host, .. } => {
                Some(format!("give the token in {token} the scope `codespace`, or remove it and run `gh auth refresh -h {host} -s codespace`"))
            }
            Self::SsoRequired { url: Some(url), .. } => Some(format!("authorise the token at {url}")),
            Self::SsoRequired { url: None, .. } => Some("authorise the token for the organization in GitHub's settings".to_owned()),
            Self::NotFound { path, .. } if path == super::LISTING => Some("check `[github] api_url`".to_owned()),
            Self::ServerError { fine_grained: true, status: 500, token, .. } => Some(format!(
                "the Codespaces API answers some fine-grained tokens with 500: put a classic token with the scope `codespace` into {token}, or use `gh auth login -s codespace`"
            )),
            Self::ServerError { .. } => Some("see https://www.githubstatus.com; the next pass tries again".to_owned()),
            Self::Network { failure: NetworkFailure::Connect, .. } => Some("check the network, the proxy and `[github] api_url`".to_owned()),
            _ => None,
        }
    }

    /// The HTTP status of GitHub's answer, where that is the error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NotLoggedIn { .. } => Some(401),
            Self::NotFound { .. } => Some(404),
            Self::SsoRequired { .. } => Some(403),
            Self::ScopeMissing { status, .. }
            | Self::Refused { status, .. }
            | Self::RateLimited { status, .. }
            | Self::SecondaryLimit { status, .. }
            | Self::ServerError { status, .. } => Some(*status),
            Self::BadAnswer { .. } | Self::Network { .. } => None,
        }
    }

    /// How long GitHub is not to be asked again, at most an hour; none where it named no limit.
    #[must_use]
    pub fn wait(&self, now: DateTime<Utc>) -> Option<Duration> {
        match self {
            Self::RateLimited { until, .. } => Some((*until - now).to_std().unwrap_or_default().min(LONGEST_WAIT)),
            Self::SecondaryLimit { wait, .. } => Some((*wait).min(LONGEST_WAIT)),
            _ => None,
        }
    }

    /// A timeout has used up its time already; every other failure of the network or the server is tried again at once.
    pub(super) fn is_tried_again(&self) -> bool {
        match self {
            Self::Network { failure, .. } => *failure != NetworkFailure::Timeout,
            Self::ServerError { .. } => true,
            _ => false,
        }
    }
}

/// What was asked and with which token: what every error tells.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) token: TokenSource,
    pub(super) host: String,
    pub(super) fine_grained: bool,
    pub(super) path: String,
}

impl Asked {
    pub(super) fn bad_answer(&self, why: impl Into<String>) -> ListError {
        ListError::BadAnswer { token: self.token.clone(), path: self.path.clone(), why: why.into() }
    }

    /// The error that an answer other than 200 is. `message` is GitHub's own, escaped; empty where the body has none.
    pub(super) fn refused(&self, status: u16, headers: &HeaderMap, message: &str) -> ListError {
        let answer = if message.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {message}") };
        let (token, host, fine_grained) = (self.token.clone(), self.host.clone(), self.fine_grained);
        match status {
            300..400 => self.bad_answer(match text(headers, "location") {
                Some(to) => format!("HTTP {status} sends the request to `{}`, which is not followed", brief(to, 120)),
                None => format!("HTTP {status}"),
            }),
            401 => ListError::NotLoggedIn { token, host, answer },
            429 => self.limited(status, headers, answer),
            403 if is_limit(headers, message) => self.limited(status, headers, answer),
            403 if text(headers, "x-github-sso").is_some_and(|sso| sso.starts_with("required")) => {
                ListError::SsoRequired { token, url: sso_page(headers, &host), answer }
            }
            403 if lacks_scope(headers) || is_permission(message) => ListError::ScopeMissing { token, host, status, fine_grained, answer },
            404 if lacks_scope(headers) => ListError::ScopeMissing { token, host, status, fine_grained, answer },
            404 => ListError::NotFound { token, path: self.path.clone(), answer },
            408 | 500..600 => ListError::ServerError { token, status, fine_grained, answer },
            400..500 => ListError::Refused { token, status, answer },
            _ => self.bad_answer(format!("HTTP {status}")),
        }
    }

    /// GitHub's order: `retry-after`; the reset, if nothing remains; else a minute.
    fn limited(&self, status: u16, headers: &HeaderMap, answer: String) -> ListError {
        let token = self.token.clone();
        if let Some(after) = text(headers, "retry-after") {
            if let Ok(seconds) = after.trim().parse() {
                return ListError::SecondaryLimit { token, status, wait: Duration::from_secs(seconds), answer };
            }
            if let Ok(until) = DateTime::parse_from_rfc2822(after) {
                return ListError::RateLimited { token, status, until: until.to_utc(), answer };
            }
        } else if nothing_remains(headers)
            && let Some(until) = text(headers, "x-ratelimit-reset").and_then(|t| t.trim().parse().ok()).and_then(|s| DateTime::from_timestamp(s, 0))
        {
            return ListError::RateLimited { token, status, until, answer };
        }
        ListError::SecondaryLimit { token, status, wait: UNNAMED_WAIT, answer }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn nothing_remains(headers: &HeaderMap) -> bool {
    text(headers, "x-ratelimit-remaining").is_some_and(|remaining| remaining.trim() == "0")
}

fn is_limit(headers: &HeaderMap, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    headers.contains_key("retry-after") || nothing_remains(headers) || message.contains("rate limit") || message.contains("abuse detection")
}

/// OAuth and classic tokens: GitHub lists their scopes in every answer. Fine-grained ones have no such header.
fn lacks_scope(headers: &HeaderMap) -> bool {
    text(headers, "x-oauth-scopes").is_some_and(|scopes| !scopes.split(',').any(|scope| scope.trim() == "codespace"))
}

fn is_permission(message: &str) -> bool {
    ["Must have admin rights", "Resource not accessible by", "needs the \"codespace\" scope"].iter().any(|text| message.contains(text))
}

/// The page of `required; url=…`, only if it lies at the host where the token is from.
fn sso_page(headers: &HeaderMap, host: &str) -> Option<String> {
    let url = text(headers, "x-github-sso")?.split_once("url=")?.1.split(';').next()?.trim();
    let parsed = reqwest::Url::parse(url).ok()?;
    (parsed.scheme() == "https" && parsed.host_str() == Some(host)).then(|| brief(parsed.as_str(), 300))
}
