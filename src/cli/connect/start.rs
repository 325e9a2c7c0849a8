//! Whether a codespace may be connected to now; and `--start`, which alone in this program starts one.
//!
//! Promises: at most one request to start, and only for a codespace that rests; every wait has an end.

use std::time::{Duration, Instant};

use super::choice::state;
use crate::cli::render::Render;
use crate::cli::{Failure, Kind};
use crate::codespace::github::{Codespace, GitHub, ListError, StartError, Step, step};
use crate::pass::target::{Reach, Target};

/// Longest wait until a codespace is Available.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a place cannot be connected to as it is; nothing where it can.
///
/// # Errors
/// The codespace is not Available; with what makes it so.
pub(super) fn is_available(target: &Target) -> Result<(), Failure> {
    let Reach::Codespace(codespace) = &target.reach else { return Ok(()) };
    let refused = Failure::new(Kind::Partly, format!("{} is not Available ({})", target.name, state(target)));
    match step(codespace) {
        Step::Connect => Ok(()),
        Step::Start => Err(refused.hint(format!("claude-session-sync connect {} --start", target.name))),
        Step::Wait => Err(refused.hint(format!("wait for it: claude-session-sync sync {0} --wait && claude-session-sync connect {0}", target.name))),
        Step::Never => Err(refused),
    }
}

/// Makes a codespace Available: starts it if it rests, and waits. A machine always is.
///
/// # Errors
/// It cannot be started, GitHub does not start it, or it takes longer than 5 minutes.
pub(super) async fn make_available(github: &GitHub, target: &Target, render: &mut Render) -> Result<(), Failure> {
    let Reach::Codespace(codespace) = &target.reach else { return Ok(()) };
    let name = &codespace.name;
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    if step(codespace) == Step::Wait {
        render.note(&format!("waiting for {name}, which is {} …", state(target)));
    }
    let (mut seen, mut asked, mut refusal): (Codespace, bool, Option<StartError>) = ((**codespace).clone(), false, None);
    loop {
        match (step(&seen), asked) {
            (Step::Connect, _) => return Ok(()),
            (Step::Never, _) => return Err(Failure::new(Kind::Failed, format!("{name} is {} and cannot be started", seen.state))),
            (Step::Start, false) => {
                render.note(&format!("starting {name} …"));
                tracing::info!(%name, "a codespace is started");
                // At work on it may mean that somebody else starts it: the next look tells.
                refusal = match github.start_codespace(name).await {
                    Ok(()) => None,
                    Err(error @ StartError::Conflict { .. }) => Some(error),
                    Err(error) => return Err(not_started(&error)),
                };
                asked = true;
            }
            (Step::Start, true) => {
                if let Some(error) = &refusal {
                    return Err(not_started(error));
                }
            }
            (Step::Wait, _) => {}
        }
        if began.elapsed() >= PATIENCE {
            let failure = Failure::new(Kind::Failed, format!("{name} is still {} after {} minutes", seen.state, PATIENCE.as_secs() / 60));
            return Err(failure.hint(format!("claude-session-sync connect {name} --start")));
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
        seen = github.one(name).await.map_err(|error| not_seen(name.as_str(), &error))?;
    }
}

fn not_started(error: &StartError) -> Failure {
    let failure = Failure::of(Kind::Failed, error);
    Failure { hint: error.hint(), ..failure }
}

fn not_seen(name: &str, error: &ListError) -> Failure {
    let failure = Failure::new(Kind::Failed, format!("{name} was lost from sight while it came up")).because(error);
    Failure { hint: error.hint(), ..failure }
}
