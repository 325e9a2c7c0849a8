//! What `status` says of the agent: whether one runs, what it does, and what it wants of a person.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::agent::client;
use crate::agent::desk::deletion;
use crate::agent::status::{AgentStatus, Concern, Doing};
use crate::cli::render::{Render, Style};
use crate::cli::words::{ago, span};
use crate::paths::Paths;
use crate::reconcile::plain::plain;

/// How long a running agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The agent, as far as it can be asked.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Asked {
    /// None runs.
    None,
    /// One seems to run, but gives no answer of use.
    Silent {
        /// What came instead.
        trouble: String,
    },
    /// One runs.
    Running(Box<AgentStatus>),
}

/// Asks the agent of this user, if one runs.
pub(super) fn ask(paths: &Paths) -> Asked {
    match client::status(&paths.runtimes(), PATIENCE) {
        Ok(None) => Asked::None,
        Ok(Some(status)) => Asked::Running(status),
        Err(error) => Asked::Silent { trouble: plain(&error.to_string()).into_owned() },
    }
}

impl Asked {
    /// The running agent, unless it is parked.
    pub(super) fn at_work(&self) -> Option<&AgentStatus> {
        match self {
            Self::Running(status) if status.doing != Doing::Parked => Some(status),
            _ => None,
        }
    }
}

/// Prints it.
pub(super) fn told(asked: &Asked, now: DateTime<Utc>, render: &mut Render) {
    let status = match asked {
        Asked::None => return render.say_entry((Style::Faint, "agent"), (Style::Plain, "not running (claude-session-sync service install)")),
        Asked::Silent { trouble } => {
            let text = format!("does not answer: {trouble} (claude-session-sync service restart)");
            return render.say_entry((Style::Bad, "agent"), (Style::Plain, &text));
        }
        Asked::Running(status) => status,
    };
    let doing = match &status.doing {
        Doing::Passing { since, .. } => format!("making a pass for {}", span(now - *since)),
        doing => doing.words().to_owned(),
    };
    let style = if status.doing == Doing::Parked { Style::Bad } else { Style::Plain };
    render.say_entry((Style::Faint, "agent"), (style, &format!("{doing}, began {} (pid {})", ago(now, status.started), status.pid)));
    let ours = env!("CARGO_PKG_VERSION");
    if status.program != ours {
        let text = format!("agent {}, program {ours}: claude-session-sync service restart", plain(&status.program));
        render.say_entry((Style::Warn, "version"), (Style::Plain, &text));
    }
    for concern in &status.concerns {
        mend(concern, Style::Bad, render);
    }
    for codespace in &status.expiring {
        mend(&deletion(codespace), Style::Warn, render);
    }
    if let Some(trouble) = &status.log.trouble {
        render.say_entry((Style::Warn, "log"), (Style::Plain, &plain(trouble)));
    }
    if status.log.dropped > 0 {
        render.say_entry((Style::Warn, "log"), (Style::Plain, &format!("{} lines were lost: they came faster than they could be written", status.log.dropped)));
    }
}

fn mend(concern: &Concern, style: Style, render: &mut Render) {
    let name = concern.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    render.say_entry((style, "to mend"), (Style::Plain, &plain(&format!("{name}{}", concern.message))));
    for line in concern.hint.iter().flat_map(|hint| hint.lines()) {
        render.say_entry((Style::Faint, ""), (Style::Faint, &plain(line)));
    }
}
