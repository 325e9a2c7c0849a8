//! What launchctl says: `print`, `print-disabled`, its error numbers. Pure, and lenient, because the format is no interface
//! (launchctl(1): "NOT API in any sense at all").

use super::LastExit;
use super::tool::Said;

/// A job that launchd knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// Its process.
    pub(super) pid: Option<u32>,
    /// How the one before ended.
    pub(super) last_exit: Option<LastExit>,
    /// How often it was started.
    pub(super) runs: Option<u64>,
}

/// What `print` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Printed {
    /// The job.
    Loaded(Job),
    /// No such job.
    NotLoaded,
    /// No such domain: nobody is logged in at the screen.
    NoDomain,
    /// Something else.
    Unclear,
}

/// What a changing command means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Done.
    Done,
    /// Under way (36 EINPROGRESS, 37 EALREADY), or refused because the job is there, or still there (5 EIO, 17 EEXIST).
    Pending,
    /// There is no such job (3 ESRCH, 113).
    NoSuchJob,
    /// No such domain (112, 125).
    NoDomain,
    /// Refused.
    Refused,
}

pub(super) fn change(said: &Said) -> Change {
    match said.code {
        Some(0) => Change::Done,
        Some(5 | 17 | 36 | 37) => Change::Pending,
        Some(3 | 113) => Change::NoSuchJob,
        Some(112 | 125) => Change::NoDomain,
        _ => Change::Refused,
    }
}

pub(super) fn printed(said: &Said) -> Printed {
    match said.code {
        Some(0) => Printed::Loaded(job(&said.out)),
        Some(112 | 125) => Printed::NoDomain,
        Some(3 | 113) => Printed::NotLoaded,
        _ if said.err.contains("Could not find service") => Printed::NotLoaded,
        _ => Printed::Unclear,
    }
}

/// The properties of the job itself; those of its parts stand deeper.
fn job(text: &str) -> Job {
    let (mut job, mut depth) = (Job::default(), 0_usize);
    for line in text.lines().map(str::trim) {
        if line.ends_with('{') {
            depth += 1;
        } else if line == "}" {
            depth = depth.saturating_sub(1);
        } else if depth == 1
            && let Some((name, value)) = line.split_once(" = ")
        {
            match name {
                "pid" => job.pid = value.parse().ok().filter(|pid| *pid > 0),
                "runs" => job.runs = value.parse().ok(),
                // `78: EX_CONFIG`, `0`, `(never exited)`
                "last exit code" => job.last_exit = value.split(':').next().and_then(|code| code.parse().ok()).map(LastExit::Code).or(job.last_exit),
                // `Killed: 9`
                "last terminating signal" => job.last_exit = Some(LastExit::Signal(value.to_owned())),
                _ => {}
            }
        }
    }
    job
}

/// Whether `print-disabled` says that a job is disabled: `"label" => disabled`, in older systems `=> true`.
pub(super) fn is_disabled(text: &str, label: &str) -> bool {
    text.lines().any(|line| {
        let Some((name, value)) = line.split_once("=>") else { return false };
        name.trim().trim_matches('"') == label && ["disabled", "true"].contains(&value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "gui/501/com.claude-session-sync.agent = {
\tactive count = 1
\tpath = /Users/me/Library/LaunchAgents/com.claude-session-sync.agent.plist
\ttype = LaunchAgent
\tstate = running

\tprogram = /opt/homebrew/opt/claude-session-sync/bin/claude-session-sync
\targuments = {
\t\t/opt/homebrew/opt/claude-session-sync/bin/claude-session-sync
\t\trun
\t\tpid = 1
\t}

\tdefault environment = {
\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin
\t}
\tpid = 4711
\timmediate reason = speculative
\truns = 3
\tlast exit code = 78: EX_CONFIG
\tresource coalition = {
\t\tpid = 2
\t\tstate = active
\t}
}
";

    fn said(code: i32, out: &str, err: &str) -> Said {
        Said { code: Some(code), out: out.to_owned(), err: err.to_owned() }
    }

    #[test]
    fn a_job_is_read_from_its_own_properties_and_not_from_its_parts() {
        let job = Job { pid: Some(4711), last_exit: Some(LastExit::Code(78)), runs: Some(3) };
        assert_eq!(printed(&said(0, RUNNING, "")), Printed::Loaded(job));
    }

    #[test]
    fn a_job_that_waits_has_no_process() {
        let text = "x = {\n\tstate = not running\n\truns = 0\n\tlast exit code = (never exited)\n}\n";
        assert_eq!(printed(&said(0, text, "")), Printed::Loaded(Job { pid: None, last_exit: None, runs: Some(0) }));
        let text = "x = {\n\tlast exit code = 0\n\tlast terminating signal = Killed: 9\n}\n";
        let Printed::Loaded(job) = printed(&said(0, text, "")) else { panic!("not loaded") };
        assert_eq!(job.last_exit, Some(LastExit::Signal("Killed: 9".to_owned())));
        assert_eq!(printed(&said(0, "something new\n}}}{", "")), Printed::Loaded(Job::default()));
    }

    #[test]
    fn the_error_numbers_are_told_apart() {
        let not_found = "Bad request.\nCould not find service \"x\" in domain for user gui: 501\n";
        assert_eq!(printed(&said(113, "", not_found)), Printed::NotLoaded);
        assert_eq!(printed(&said(1, "", not_found)), Printed::NotLoaded);
        assert_eq!(printed(&said(125, "", "Domain does not support specified action")), Printed::NoDomain);
        assert_eq!(printed(&said(64, "", "usage")), Printed::Unclear);
        let changes = [0, 5, 36, 37, 3, 125, 64].map(|code| change(&said(code, "", "")));
        use Change::{Done, NoDomain, NoSuchJob, Pending, Refused};
        assert_eq!(changes, [Done, Pending, Pending, Pending, NoSuchJob, NoDomain, Refused]);
    }

    #[test]
    fn a_disabled_job_is_noticed_in_both_spellings() {
        let of = |line: &str| is_disabled(&format!("disabled services = {{\n\t\"other\" => disabled\n\t{line}\n}}\n"), "com.x");
        assert!(of("\"com.x\" => disabled") && of("\"com.x\" => true"));
        assert!(!of("\"com.x\" => enabled") && !of("\"com.x\" => false") && !of("\"com.xy\" => disabled"));
    }
}
