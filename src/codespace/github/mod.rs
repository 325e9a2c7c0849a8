//! GitHub's REST API, as far as it is needed: the user's codespaces, all of them or one.
//!
//! Promises: a listing is whole or an error, never a part; a row that cannot be read is told and does not fail the others;
//! every error has a class, names the token's source and says what to do. Bodies are bounded before they are parsed, and
//! requests have deadlines. Never: a request other than GET, except [`GitHub::start_codespace`], which `connect --start` alone
//! reaches; the token sent to another origin, over plain http (but to this machine), along a redirect, or shown in any text.

mod error;
mod grant;
mod link;
mod row;
mod start;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Response, StatusCode, Url, redirect};

pub use self::error::{Class, ListError, NetworkFailure};
pub use self::grant::{Grant, Scopes};
pub use self::row::{Codespace, State};
pub use self::start::{StartError, Step, step};

use self::error::Asked;
use self::row::{Listed, Rows};
use super::name::CodespaceName;
use super::token::Token;
use crate::reconcile::plain::brief;

/// GitHub's own address of the API.
pub const API_URL: &str = "https://api.github.com";

/// The path of the listing, below the base URL.
const LISTING: &str = "/user/codespaces";
/// More pages (of 100) than any user has codespaces for.
const MOST_PAGES: usize = 50;
/// More bytes than a page can have, and than the message of an error can have.
const LONGEST_BODY: usize = 16 << 20;
const LONGEST_ERROR: usize = 64 << 10;
/// Of the reasons for unreadable rows, how many are kept.
const MOST_REASONS: usize = 100;

/// How long GitHub is waited for, and how often it is asked again after a failure of the network or a 5xx.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one request, with its answer. A timeout is not tried again.
    pub whole: Duration,
    /// Before the first retry; doubled for the next, plus a random part of at most this length.
    pub delay: Duration,
    /// How many retries.
    pub retries: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), whole: Duration::from_secs(30), delay: Duration::from_millis(500), retries: 2 }
    }
}

/// Why GitHub cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum CannotAsk {
    /// The configured address is of no use.
    #[error("`{url}` cannot be the address of GitHub's API: {why}")]
    Address {
        /// The address, escaped.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The token or the user agent does not fit into a header.
    #[error("the {what} does not fit into a header of HTTP")]
    Header {
        /// Which of them.
        what: &'static str,
    },
    /// The HTTP client could not be made: no certificates, a proxy address that is none.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// What a whole listing said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Every codespace that could be read, in GitHub's order, each name once.
    pub codespaces: Vec<Codespace>,
    /// Rows that could not be read, each with its place and the reason; the first 100.
    pub unreadable: Vec<String>,
    /// An organization's single sign-on hides some of them from this token (`X-GitHub-SSO: partial-results`).
    pub partly_hidden: bool,
}

/// Installs ring as rustls' default provider. The first client would panic without one. May be called any number of times.
pub fn install_crypto() {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The host that a user logs in to for an API's address: `github.com` for GitHub's own and for an API on this machine,
/// `TENANT.ghe.com` for `https://api.TENANT.ghe.com`, else the address's host.
#[must_use]
pub fn web_host(api_url: &str) -> String {
    let url = Url::parse(api_url).ok();
    match url.as_ref().and_then(Url::host_str) {
        None | Some("api.github.com") => "github.com".to_owned(),
        Some(_) if url.as_ref().is_some_and(is_loopback) => "github.com".to_owned(),
        Some(host) => host.strip_prefix("api.").filter(|rest| rest.ends_with(".ghe.com")).unwrap_or(host).to_owned(),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"))
}

/// The API at one address with one token.
pub struct GitHub {
    client: Client,
    base: Url,
    authorization: HeaderValue,
    token: Token,
    host: String,
    patience: Patience,
    /// Pages of the last listing by address: a page that did not change costs nothing of the limit (304).
    remembered: Mutex<HashMap<String, (HeaderValue, Page)>>,
}

#[derive(Clone)]
struct Page {
    rows: Rows,
    next: Option<String>,
    partly_hidden: bool,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("base", &self.base.as_str()).field("token", &self.token.source).finish_non_exhaustive()
    }
}

impl GitHub {
    /// With the patience that GitHub deserves.
    ///
    /// # Errors
    /// See [`CannotAsk`].
    pub fn new(api_url: &str, token: Token, user_agent: &str) -> Result<Self, CannotAsk> {
        Self::with_patience(api_url, token, user_agent, Patience::default())
    }

    /// With another patience. A proxy of the system is used, but never for an API on this machine.
    ///
    /// # Errors
    /// See [`CannotAsk`].
    pub fn with_patience(api_url: &str, token: Token, user_agent: &str, patience: Patience) -> Result<Self, CannotAsk> {
        install_crypto();
        let base = address(api_url)?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.secret.expose())).map_err(|_| CannotAsk::Header { what: "token" })?;
        authorization.set_sensitive(true);
        let agent = HeaderValue::from_str(user_agent).map_err(|_| CannotAsk::Header { what: "user agent" })?;
        let builder = Client::builder().user_agent(agent).redirect(redirect::Policy::none()).retry(reqwest::retry::never()).referer(false);
        let builder = builder.connect_timeout(patience.connect).timeout(patience.whole);
        let builder = if is_loopback(&base) { builder.no_proxy() } else { builder };
        // Nothing is asked but that origin: without TLS, the certificates of this machine need not be read.
        let builder = if base.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(CannotAsk::Client)?;
        let host = web_host(api_url);
        Ok(Self { client, base, authorization, token, host, patience, remembered: Mutex::default() })
    }

    /// Whether it asks the API at this address.
    #[must_use]
    pub fn is_at(&self, api_url: &str) -> bool {
        address(api_url).is_ok_and(|base| base == self.base)
    }

    /// Whether it asks the API at this address, with this token from this source.
    #[must_use]
    pub fn is_for(&self, api_url: &str, token: &Token) -> bool {
        self.is_at(api_url) && *token == self.token
    }

    /// All codespaces of the user, over all pages.
    ///
    /// # Errors
    /// See [`ListError`]. With an error nothing is known: not even that what was listed before is gone.
    pub async fn codespaces(&self) -> Result<Listing, ListError> {
        let mut listing = Listing::default();
        let (mut names, mut seen) = (HashSet::new(), HashSet::new());
        let asked = self.asked(LISTING);
        let mut next = Some(self.below_base(LISTING, Some("per_page=100")));
        while let Some(url) = next.take() {
            if seen.len() == MOST_PAGES {
                return Err(asked.bad_answer(format!("it has more than {MOST_PAGES} pages")));
            }
            if !seen.insert(url.to_string()) {
                return Err(asked.bad_answer("its pages lead back to one that was read"));
            }
            let page = self.page(&url, &asked).await?;
            listing.partly_hidden |= page.partly_hidden;
            for (index, row) in page.rows.0.into_iter().enumerate() {
                match row {
                    Ok(codespace) if names.insert(codespace.name.clone()) => listing.codespaces.push(codespace),
                    Ok(_) => {}
                    Err(why) if listing.unreadable.len() < MOST_REASONS => {
                        listing.unreadable.push(format!("row {} of page {}: {why}", index + 1, seen.len()));
                    }
                    Err(_) => {}
                }
            }
            next = page.next.map(|target| self.same_origin(&url, &target, &asked)).transpose()?;
        }
        self.remembered().retain(|url, _| seen.contains(url));
        Ok(listing)
    }

    /// One codespace.
    ///
    /// # Errors
    /// [`ListError::NotFound`] when it is gone; else see [`ListError`].
    pub async fn one(&self, name: &CodespaceName) -> Result<Codespace, ListError> {
        self.one_as_sent(name, None).await.map(|(codespace, _)| codespace)
    }

    /// One codespace, and the body that described it. The body is refused if it holds our token.
    pub(super) async fn one_as_sent(&self, name: &CodespaceName, query: Option<&str>) -> Result<(Codespace, Vec<u8>), ListError> {
        let path = format!("{LISTING}/{name}");
        let asked = self.asked(&path);
        let answer = self.get(&self.below_base(&path, query), None, &asked).await?;
        let codespace: Codespace = parse(&answer.body, "a codespace").map_err(|why| asked.bad_answer(why))?;
        if codespace.name != *name {
            return Err(asked.bad_answer(format!("it describes {}", codespace.name)));
        }
        self.refuse_our_token(&answer.body, &asked)?;
        Ok((codespace, answer.body))
    }

    async fn page(&self, url: &Url, asked: &Asked) -> Result<Page, ListError> {
        let remembered = self.remembered().get(url.as_str()).cloned();
        let answer = self.get(url, remembered.as_ref().map(|(tag, _)| tag), asked).await?;
        if let (StatusCode::NOT_MODIFIED, Some((_, page))) = (answer.status, remembered) {
            return Ok(page);
        }
        self.refuse_our_token(&answer.body, asked)?;
        let listed: Listed = parse(&answer.body, "a list of codespaces").map_err(|why| asked.bad_answer(why))?;
        let partly_hidden = answer.headers.get("x-github-sso").is_some_and(|sso| sso.as_bytes().starts_with(b"partial-results"));
        let page = Page { rows: listed.codespaces, next: link::next(&answer.headers).map(str::to_owned), partly_hidden };
        if let Some(tag) = answer.headers.get(ETAG) {
            self.remembered().insert(url.to_string(), (tag.clone(), page.clone()));
        }
        Ok(page)
    }

    /// What is read of an answer is shown, kept and passed on; a token in it would be, too.
    fn refuse_our_token(&self, body: &[u8], asked: &Asked) -> Result<(), ListError> {
        let repeated = memchr::memmem::find(body, self.token.secret.expose().as_bytes()).is_some();
        if repeated { Err(asked.bad_answer("it repeats the token")) } else { Ok(()) }
    }

    /// An answer of 200, or of 304 if `tag` is given.
    async fn get(&self, url: &Url, tag: Option<&HeaderValue>, asked: &Asked) -> Result<Answer, ListError> {
        let Patience { delay, retries, .. } = self.patience;
        let delays = ExponentialBuilder::default().with_min_delay(delay).with_max_delay(delay * 4).with_max_times(retries).with_jitter();
        (|| self.get_once(url, tag, asked)).retry(delays).when(ListError::is_tried_again).await
    }

    async fn get_once(&self, url: &Url, tag: Option<&HeaderValue>, asked: &Asked) -> Result<Answer, ListError> {
        let mut request = self.client.get(url.clone()).header(AUTHORIZATION, &self.authorization);
        request = request.header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", "2022-11-28");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = request.send().await.map_err(|error| self.network(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::OK {
            let body = body(response, LONGEST_BODY).await.map_err(|error| self.network(error))?;
            let body = body.ok_or_else(|| asked.bad_answer(format!("it is longer than {} MiB", LONGEST_BODY >> 20)))?;
            return Ok(Answer { status, headers, body });
        }
        if status == StatusCode::NOT_MODIFIED && tag.is_some() {
            return Ok(Answer { status, headers, body: Vec::new() });
        }
        // The status decides; of a body that is cut, hangs or is too long only the message is missing.
        let body = body(response, LONGEST_ERROR).await.ok().flatten().unwrap_or_default();
        Err(asked.refused(status.as_u16(), &headers, &self.message(&body)))
    }

    /// The `message` of an error's body, escaped, bounded and without the token.
    fn message(&self, body: &[u8]) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        let message = serde_json::from_slice(body).map(|Said { message }| message).unwrap_or_default();
        brief(&message.replace(self.token.secret.expose(), "(the token)"), 200)
    }

    fn network(&self, error: reqwest::Error) -> ListError {
        let failure = if error.is_connect() {
            NetworkFailure::Connect
        } else if error.is_timeout() {
            NetworkFailure::Timeout
        } else {
            NetworkFailure::Broken
        };
        let origin = self.base.origin().ascii_serialization();
        ListError::Network { origin, failure, whole: self.patience.whole, error: error.without_url() }
    }

    fn asked(&self, path: &str) -> Asked {
        let token = self.token.source.clone();
        Asked { token, host: self.host.clone(), fine_grained: self.token.is_fine_grained(), path: path.to_owned() }
    }

    /// `path` begins with `/`.
    fn below_base(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    fn same_origin(&self, from: &Url, target: &str, asked: &Asked) -> Result<Url, ListError> {
        match from.join(target) {
            Ok(url) if url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none() => Ok(url),
            _ => Err(asked.bad_answer(format!(
                "its next page is said to be at `{}`, which is not {}",
                brief(target, 120),
                self.base.origin().ascii_serialization()
            ))),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<String, (HeaderValue, Page)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The base URL: https, or http to this machine; no user, query or fragment in it.
fn address(api_url: &str) -> Result<Url, CannotAsk> {
    let refuse = |why| CannotAsk::Address { url: brief(api_url, 120), why };
    let url = Url::parse(api_url).map_err(|_| refuse("it is no URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(refuse("a token is sent over https only (or to this machine)")),
        _ => return Err(refuse("it does not begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(CannotAsk::Address { url: url.origin().ascii_serialization(), why: "it holds more than a host and a path" });
    }
    Ok(url)
}

/// The whole body, or none when it is longer than `most`.
async fn body(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Reads JSON. The reason repeats nothing of the body.
fn parse<T: serde::de::DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, String> {
    use serde_json::error::Category;
    serde_json::from_slice(body).map_err(|error| {
        let start = body.trim_ascii_start();
        if start.is_empty() {
            return "it is empty".to_owned();
        }
        if start.starts_with(b"<") {
            return "it is HTML, not JSON".to_owned();
        }
        match error.classify() {
            Category::Data => format!("it is JSON, but not {expected}"),
            Category::Eof => format!("its JSON ends in the middle, after {} bytes", body.len()),
            Category::Syntax | Category::Io => format!("it is no JSON (line {}, column {})", error.line(), error.column()),
        }
    })
}
