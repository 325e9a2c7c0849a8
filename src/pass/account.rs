//! The user's account at GitHub, kept between a pass and the looks around it.
//!
//! What is kept is the client with its pages by ETag: a look at a list that did not change costs nothing of the limit, and runs no
//! program to find a token.
//!
//! Promises: a pass looks the token up anew; a look does so only if there is none, or GitHub refused it. Nothing is kept of a token
//! that was refused. Never: a client used for another address or another token than those of now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;

use super::{Setting, faults};
use crate::codespace::github::{GitHub, ListError, Listing, install_crypto, web_host};
use crate::codespace::token::{GH_DEADLINE, Lookup, Token};
use crate::reconcile::report::{Fault, FaultKind};

/// A place for the client, shared by its clones. Empty at first.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<Mutex<Option<Arc<GitHub>>>>);

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For people.
    pub fault: Fault,
    /// How long GitHub wants to be left alone.
    pub wait: Option<Duration>,
}

impl Refused {
    fn of(error: &ListError) -> Self {
        Self { fault: faults::of_list(error), wait: error.wait(Utc::now()) }
    }
}

impl Account {
    /// The client, with the token of now. Where there is none, none is kept: a look would be had with a token that no pass finds any more,
    /// and each would ring for a pass.
    ///
    /// # Errors
    /// When there is no token, or GitHub cannot be asked with it.
    pub async fn of_pass(&self, setting: &Setting) -> Result<Arc<GitHub>, Fault> {
        let token = token(setting).await.inspect_err(|_| *self.kept() = None)?;
        let mut kept = self.kept();
        if let Some(github) = kept.as_ref().filter(|github| github.is_for(setting.config.github.api_url.as_str(), &token)) {
            return Ok(Arc::clone(github));
        }
        let agent = concat!("claude-session-sync/", env!("CARGO_PKG_VERSION"));
        let github = GitHub::new(setting.config.github.api_url.as_str(), token, agent);
        let github = Arc::new(github.map_err(|error| Fault { permanent: true, ..Fault::new(FaultKind::Other, error.to_string()) })?);
        *kept = Some(Arc::clone(&github));
        Ok(github)
    }

    /// The list, with the client that is kept.
    ///
    /// # Errors
    /// As [`Account::of_pass`], or what GitHub says.
    pub async fn list(&self, setting: &Setting) -> Result<Listing, Refused> {
        install_crypto();
        let kept = self.kept().clone().filter(|github| github.is_at(setting.config.github.api_url.as_str()));
        if let Some(github) = kept {
            match self.listing(&github).await {
                // The token may have been replaced since.
                Err(ListError::NotLoggedIn { .. }) => {}
                listing => return listing.map_err(|error| Refused::of(&error)),
            }
        }
        let github = self.of_pass(setting).await.map_err(|fault| Refused { fault, wait: None })?;
        self.listing(&github).await.map_err(|error| Refused::of(&error))
    }

    /// The list by this client, which is kept no longer if GitHub refuses its token.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn listing(&self, github: &Arc<GitHub>) -> Result<Listing, ListError> {
        let listing = github.codespaces().await;
        if matches!(listing, Err(ListError::NotLoggedIn { .. })) {
            *self.kept() = None;
        }
        listing
    }

    /// Where the token of the client that is kept came from, in words.
    #[must_use]
    pub fn token_source(&self) -> Option<String> {
        self.kept().as_ref().map(|github| github.token_source().to_string())
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<GitHub>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn token(setting: &Setting) -> Result<Token, Fault> {
    let Setting { config, environment, .. } = setting;
    let gh = PathBuf::from(config.programs.gh.to_string());
    let variable = |name: &str| environment.get(name).map(ToOwned::to_owned);
    let host = web_host(config.github.api_url.as_str());
    let lookup = Lookup { environment: &variable, token_file: config.github.token_file.as_deref(), gh: &gh, host: &host, deadline: GH_DEADLINE };
    lookup.find().await.map_err(|error| faults::of_token(&error))
}
