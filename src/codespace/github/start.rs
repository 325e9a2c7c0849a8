//! Starting a codespace: the one request of the program that is not GET.
//!
//! Promises: sent once and never again, since an answer that was lost may have been a yes. Never: reached but by `connect --start`
//! (`tests/it/house.rs` holds that); sent for a codespace that GitHub says nobody can start ([`step`]).
//! Source of the statuses: GitHub's "Start a codespace for the authenticated user".

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH};

use super::{Codespace, GitHub, LISTING, LONGEST_ERROR, ListError, State, body};
use crate::codespace::name::CodespaceName;

/// What may be done with a codespace that is to be Available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is.
    Connect,
    /// It rests, and can be started.
    Start,
    /// GitHub is at work on it; look again.
    Wait,
    /// Nobody can start it.
    Never,
}

/// What may be done with it now.
#[must_use]
pub fn step(codespace: &Codespace) -> Step {
    match codespace.state {
        _ if codespace.may_be_visited() => Step::Connect,
        State::Unavailable | State::Deleted | State::Moved | State::Archived | State::Failed | State::Other(_) => Step::Never,
        _ if codespace.pending_operation || codespace.is_on_its_way() => Step::Wait,
        State::ShuttingDown | State::Exporting => Step::Wait,
        _ => Step::Start,
    }
}

/// Why GitHub does not start it. `answer` is `HTTP 402: message`, escaped and bounded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// 402.
    #[error("GitHub wants to be paid before it starts {name} ({answer})")]
    Payment {
        /// Which.
        name: CodespaceName,
        /// What GitHub said.
        answer: String,
    },
    /// 404.
    #[error("there is no codespace {name} any more, or the token may not start it ({answer})")]
    Gone {
        /// Which.
        name: CodespaceName,
        /// What GitHub said.
        answer: String,
    },
    /// 409: it runs already, or something else is being done to it.
    #[error("GitHub is at work on {name} ({answer})")]
    Conflict {
        /// Which.
        name: CodespaceName,
        /// What GitHub said.
        answer: String,
    },
    /// 400 or 422: a machine type that is no more, a policy of the organization.
    #[error("GitHub cannot start {name} as it is ({answer})")]
    Invalid {
        /// Which.
        name: CodespaceName,
        /// What GitHub said.
        answer: String,
    },
    /// Whatever any request can meet: the token, a limit, the network.
    #[error("{name} was not started")]
    Request {
        /// Which.
        name: CodespaceName,
        /// What it met.
        source: ListError,
    },
}

impl StartError {
    /// What the user can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Payment { .. } => Some("look at the budget for Codespaces: https://github.com/settings/billing".to_owned()),
            Self::Gone { .. } => Some("claude-session-sync list codespaces".to_owned()),
            Self::Invalid { name, .. } => Some(format!("look at it on https://github.com/codespaces; or try: gh codespace edit -c {name}")),
            Self::Conflict { .. } => None,
            Self::Request { source, .. } => source.hint(),
        }
    }
}

impl GitHub {
    /// Starts a codespace that rests. What it is doing afterwards is for [`GitHub::one`] to tell.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_codespace(&self, name: &CodespaceName) -> Result<(), StartError> {
        let (path, name) = (format!("{LISTING}/{name}/start"), name.clone());
        let request = self.client.post(self.below_base(&path, None)).header(AUTHORIZATION, &self.authorization).header(CONTENT_LENGTH, 0);
        let sent = request.header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", "2022-11-28").send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(StartError::Request { name, source: self.network(error) }),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // 304: nothing to change, it runs.
        if matches!(status, 200..300 | 304) {
            return Ok(());
        }
        let message = self.message(&body(response, LONGEST_ERROR).await.ok().flatten().unwrap_or_default());
        let answer = if message.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {message}") };
        let source = self.asked(&path).refused(status, &headers, &message);
        Err(match status {
            402 => StartError::Payment { name, answer },
            404 if matches!(source, ListError::NotFound { .. }) => StartError::Gone { name, answer },
            409 => StartError::Conflict { name, answer },
            400 | 422 => StartError::Invalid { name, answer },
            _ => StartError::Request { name, source },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_of(state: &str, pending: bool) -> Step {
        step(&serde_json::from_value(serde_json::json!({"name": "a-1", "state": state, "pending_operation": pending})).unwrap())
    }

    #[test]
    fn only_what_rests_is_started_and_every_state_has_its_step() {
        let steps = |step: Step| {
            let words = State::KNOWN.iter().map(ToString::to_string).filter(move |word| step_of(word, false) == step);
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(steps(Step::Connect), "Available");
        assert_eq!(steps(Step::Start), "Shutdown");
        assert_eq!(steps(Step::Never), "Unavailable Deleted Moved Archived Failed");
        assert_eq!(steps(Step::Wait), "Unknown Created Queued Provisioning Awaiting Starting ShuttingDown Exporting Updating Rebuilding");
        assert_eq!(step_of("Hibernating", false), Step::Never);
        assert_eq!([step_of("Available", true), step_of("Shutdown", true), step_of("Failed", true)], [Step::Wait, Step::Wait, Step::Never]);
    }
}
