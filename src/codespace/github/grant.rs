//! What GitHub says of a token when it is used: its scopes, and when it ends.
//!
//! Promises: one request, tried once; of the answer's body nothing is kept. Source: GitHub's "Scopes for OAuth apps"
//! (`X-OAuth-Scopes`) and "Token expiration" (`GitHub-Authentication-Token-Expiration`).

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use super::{GitHub, LISTING, ListError};
use crate::codespace::token::TokenSource;

/// What a token may do, by GitHub's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it was given.
    pub scopes: Scopes,
    /// When it ends; none where GitHub names no time.
    pub ends: Option<DateTime<Utc>>,
}

/// What a token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// GitHub names none: a fine-grained token has permissions instead.
    Unnamed,
    /// The codespaces are in them.
    Codespaces,
    /// They are not; how many there are instead.
    Others(usize),
}

impl GitHub {
    /// Where the token came from.
    #[must_use]
    pub fn token_source(&self) -> &TokenSource {
        &self.token.source
    }

    /// Uses the token for one row of the listing.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn grant(&self) -> Result<Grant, ListError> {
        let answer = self.get_once(&self.below_base(LISTING, Some("per_page=1")), None, &self.asked(LISTING)).await?;
        Ok(of(&answer.headers))
    }
}

fn of(headers: &HeaderMap) -> Grant {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let scopes = text("x-oauth-scopes").map_or(Scopes::Unnamed, |scopes| {
        let scopes: Vec<&str> = scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty()).collect();
        if scopes.contains(&"codespace") { Scopes::Codespaces } else { Scopes::Others(scopes.len()) }
    });
    Grant { scopes, ends: text("github-authentication-token-expiration").and_then(time) }
}

/// `2026-12-24 18:00:00 UTC`, or with an offset in the place of `UTC`.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.strip_suffix(" UTC").map_or_else(|| text.to_owned(), |time| format!("{time} +0000"));
    DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S %z").ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn grant(headers: &[(&'static str, &'static str)]) -> Grant {
        of(&headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn scopes_and_end_are_read_from_the_headers() {
        assert_eq!(grant(&[]), Grant { scopes: Scopes::Unnamed, ends: None });
        assert_eq!(grant(&[("x-oauth-scopes", "repo, codespace")]).scopes, Scopes::Codespaces);
        assert_eq!(grant(&[("x-oauth-scopes", "repo, codespace:secrets")]).scopes, Scopes::Others(2));
        assert_eq!(grant(&[("x-oauth-scopes", "")]).scopes, Scopes::Others(0));
        let ends = |text: &'static str| grant(&[("github-authentication-token-expiration", text)]).ends.map(|time| time.to_rfc3339());
        assert_eq!(ends("2026-12-24 18:00:00 UTC").as_deref(), Some("2026-12-24T18:00:00+00:00"));
        assert_eq!(ends("2026-12-24 18:00:00 +0100").as_deref(), Some("2026-12-24T17:00:00+00:00"));
        assert_eq!([ends("soon"), ends("")], [None, None]);
    }
}
