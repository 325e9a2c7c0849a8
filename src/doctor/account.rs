//! The token, what it may do, and when it ends: as the service will find it, and by GitHub's own word.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::view::View;
use super::{Check, Eyes, Given, Network, PATIENCE, Topic};
use crate::agent::status::Concern;
use crate::codespace::github::{GitHub, Grant, ListError, Patience, Scopes, web_host};
use crate::codespace::token::{GH_DEADLINE, Lookup, Token, TokenSource};
use crate::pass::faults;
use crate::reconcile::report::{Fault, FaultKind};
use crate::reconcile::words::span;

/// A token that ends within this time is spoken of.
const SOON: TimeDelta = TimeDelta::days(14);
/// The variables that the lookup looks at.
const VARIABLES: [&str; 2] = ["GH_TOKEN", "GITHUB_TOKEN"];
/// One request, tried once.
const ONCE: Patience = Patience { connect: Duration::from_secs(5), whole: PATIENCE, delay: Duration::from_millis(1), retries: 0 };

/// What GitHub said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was not asked.
    NotAsked,
    /// It took the token.
    Took(Grant),
    /// It did not, or did not answer.
    Fault(Fault),
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    source: TokenSource,
    /// Others can read the file that it is in.
    is_open: bool,
    answer: Answer,
}

/// What the running agent says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Where its token came from.
    token: Option<String>,
    /// What a person must mend.
    concern: Option<Concern>,
}

/// Everything that was gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Codespaces are wanted at all.
    enabled: bool,
    eyes: Eyes,
    found: Result<Found, Fault>,
    /// A variable of this shell that the service lacks.
    only_here: Option<&'static str>,
    agent: Said,
}

impl Facts {
    pub(super) async fn gather(given: &Given, view: &View) -> Self {
        let config = &view.config.github;
        let (has, lacks) = (|name: &&'static str| given.environment.get(name).is_some(), |name: &&'static str| view.environment.get(name).is_none());
        let agent = view.agent.running().map(|status| Said {
            token: status.token.clone(),
            concern: status.concerns.iter().find(|concern| concern.name.is_none() && matches!(concern.about, FaultKind::Login | FaultKind::Scope)).cloned(),
        });
        let found = if config.enabled { found(given, view).await } else { Err(Fault::new(FaultKind::Login, "")) };
        let only_here = VARIABLES.into_iter().find(|name| has(name) && lacks(name));
        Self { enabled: config.enabled, eyes: view.eyes, found, only_here, agent: agent.unwrap_or_default() }
    }
}

async fn found(given: &Given, view: &View) -> Result<Found, Fault> {
    let config = &view.config.github;
    let variable = |name: &str| view.environment.get(name).map(ToOwned::to_owned);
    let (gh, host) = (view.config.programs.gh.to_string(), web_host(config.api_url.as_str()));
    let lookup = Lookup { environment: &variable, token_file: config.token_file.as_deref(), gh: Path::new(&gh), host: &host, deadline: GH_DEADLINE };
    let token = lookup.find_with(&view.environment).await.map_err(|error| faults::of_token(&error))?;
    let source = token.source.clone();
    let is_open = match &source {
        TokenSource::File(file) => std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0),
        TokenSource::Variable(_) | TokenSource::Gh => false,
    };
    let answer = match given.network {
        Network::Allowed => ask(config.api_url.as_str(), token).await,
        Network::Offline => Answer::NotAsked,
    };
    Ok(Found { source, is_open, answer })
}

async fn ask(api_url: &str, token: Token) -> Answer {
    let agent = concat!("claude-session-sync/", env!("CARGO_PKG_VERSION"));
    let github = match GitHub::with_patience(api_url, token, agent, ONCE) {
        Ok(github) => github,
        Err(error) => return Answer::Fault(Fault { permanent: true, ..Fault::new(FaultKind::Other, error.to_string()) }),
    };
    let of = |error: &ListError| Answer::Fault(faults::of_list(error));
    github.grant().await.map_or_else(|error| of(&error), Answer::Took)
}

/// Judges all of it.
pub(super) fn judge(facts: &Facts, now: DateTime<Utc>) -> Vec<Check> {
    if !facts.enabled {
        return vec![Check::good(Topic::Token, "not needed: [github] enabled = false")];
    }
    let mut checks = match &facts.found {
        Ok(found) => of_token(found, facts.eyes, &facts.agent, now),
        Err(fault) => vec![missing(fault, facts)],
    };
    if let Some(concern) = &facts.agent.concern
        && checks.iter().all(|check| check.verdict != super::Verdict::Bad)
    {
        let topic = if concern.about == FaultKind::Scope { Topic::Scopes } else { Topic::Token };
        checks.retain(|check| check.topic != topic);
        checks.push(Check::bad(topic, format!("the agent says: {}", concern.message)).advise_if(concern.hint.clone()));
    }
    checks
}

fn missing(fault: &Fault, facts: &Facts) -> Check {
    if let Some(token) = &facts.agent.token {
        return Check::good(Topic::Token, format!("the agent uses that of {token}, which cannot be seen from here"));
    }
    match facts.only_here {
        Some(name) => {
            let finding = format!("{name} is set in this shell only: the service does not see it, and has no other token");
            Check::bad(Topic::Token, finding).advise("gh auth login -s codespace; or put the token into a file (0600) and name that in [github] token_file")
        }
        None => Check::bad(Topic::Token, &fault.message).advise_if(fault.hint.clone()),
    }
}

fn of_token(found: &Found, eyes: Eyes, agent: &Said, now: DateTime<Utc>) -> Vec<Check> {
    let source = found.source.to_string();
    let from = match &agent.token {
        Some(token) if *token != source => format!("the agent uses that of {token}; looked at was that of {source}"),
        _ => format!("from {source}"),
    };
    let mut checks = Vec::new();
    match &found.answer {
        Answer::NotAsked => checks.push(Check::good(Topic::Token, format!("{from}; GitHub was not asked (--offline)"))),
        Answer::Took(grant) => {
            checks.push(Check::good(Topic::Token, from));
            checks.push(scopes(&grant.scopes, &found.source));
            checks.push(expiry(grant.ends, now));
        }
        Answer::Fault(fault) if fault.kind == FaultKind::Scope => {
            checks.push(Check::good(Topic::Token, from));
            checks.push(Check::bad(Topic::Scopes, &fault.message).advise_if(fault.hint.clone()));
        }
        Answer::Fault(fault) if fault.kind == FaultKind::Network || (fault.kind == FaultKind::Other && !fault.permanent) => {
            checks.push(Check::note(Topic::Token, format!("{from}; {}", fault.message)).advise_if(fault.hint.clone()));
        }
        Answer::Fault(fault) => checks.push(Check::bad(Topic::Token, &fault.message).advise_if(fault.hint.clone())),
    }
    let token = checks.remove(0);
    let token = match &found.source {
        TokenSource::File(file) if found.is_open && token.verdict == super::Verdict::Good => {
            Check::note(Topic::Token, format!("{from_file}: others can read that file", from_file = token.finding))
                .advise(format!("chmod 600 {}", file.display()))
        }
        TokenSource::Variable(name) if eyes == Eyes::Shell && token.verdict == super::Verdict::Good => {
            let finding = format!("{}: of this shell; a service would not see {name}", token.finding);
            Check::note(Topic::Token, finding).advise("for the service: gh auth login -s codespace, or [github] token_file")
        }
        _ => token,
    };
    checks.insert(0, token);
    checks
}

fn scopes(scopes: &Scopes, source: &TokenSource) -> Check {
    match scopes {
        Scopes::Codespaces => Check::good(Topic::Scopes, "codespace"),
        Scopes::Unnamed => Check::good(Topic::Scopes, "GitHub names none (a fine-grained token), and lists the codespaces"),
        Scopes::Others(count) => {
            let finding = format!("`codespace` is not among the {count} of the token from {source}");
            let advice = match source {
                TokenSource::Gh => "gh auth refresh -s codespace".to_owned(),
                source => format!("give the token in {source} the scope `codespace`, or remove it and run: gh auth refresh -s codespace"),
            };
            Check::bad(Topic::Scopes, finding).advise(advice)
        }
    }
}

fn expiry(ends: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Check {
    let Some(ends) = ends else { return Check::good(Topic::Expiry, "GitHub names no end") };
    let at = ends.format("%Y-%m-%d %H:%M UTC");
    match ends - now {
        left if left <= TimeDelta::zero() => Check::bad(Topic::Expiry, format!("ended on {at}")).advise("make a new token, and put it where the old one is"),
        left if left < SOON => {
            Check::note(Topic::Expiry, format!("ends in {}, on {at}", span(left))).advise("make a new token, and put it where the old one is")
        }
        _ => Check::good(Topic::Expiry, format!("ends on {at}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn found(source: TokenSource, answer: Answer) -> Facts {
        let found = Ok(Found { source, is_open: false, answer });
        Facts { enabled: true, eyes: Eyes::Unit, found, only_here: None, agent: Said::default() }
    }

    fn took(scopes: Scopes, ends: Option<DateTime<Utc>>) -> Answer {
        Answer::Took(Grant { scopes, ends })
    }

    fn verdicts(facts: &Facts) -> Vec<(&'static str, Verdict)> {
        judge(facts, now()).iter().map(|check| (check.topic.word(), check.verdict)).collect()
    }

    #[test]
    fn a_token_that_github_takes_for_codespaces_is_good() {
        let good = found(TokenSource::Gh, took(Scopes::Codespaces, None));
        assert_eq!(verdicts(&good), [("token", Verdict::Good), ("scopes", Verdict::Good), ("expiry", Verdict::Good)]);
        assert_eq!(verdicts(&found(TokenSource::Gh, took(Scopes::Unnamed, None)))[1], ("scopes", Verdict::Good));
        assert_eq!(verdicts(&found(TokenSource::Gh, Answer::NotAsked)), [("token", Verdict::Good)]);
        assert_eq!(verdicts(&Facts { enabled: false, ..good }), [("token", Verdict::Good)]);
    }

    #[test]
    fn what_a_token_lacks_has_a_row_of_its_own() {
        assert_eq!(verdicts(&found(TokenSource::Gh, took(Scopes::Others(2), None)))[1], ("scopes", Verdict::Bad));
        let fault = |kind| Answer::Fault(Fault::new(kind, "x"));
        assert_eq!(verdicts(&found(TokenSource::Gh, fault(FaultKind::Scope))), [("token", Verdict::Good), ("scopes", Verdict::Bad)]);
        assert_eq!(verdicts(&found(TokenSource::Gh, fault(FaultKind::Login))), [("token", Verdict::Bad)]);
        assert_eq!(verdicts(&found(TokenSource::Gh, fault(FaultKind::Network))), [("token", Verdict::Note)]);
        for (days, expected) in [(-1, Verdict::Bad), (3, Verdict::Note), (20, Verdict::Good)] {
            let ends = Some(now() + TimeDelta::days(days));
            assert_eq!(verdicts(&found(TokenSource::Gh, took(Scopes::Codespaces, ends)))[2], ("expiry", expected), "{days}");
        }
    }

    #[test]
    fn a_token_of_this_shell_alone_is_none_of_the_service_s() {
        let none = Facts { found: Err(Fault::new(FaultKind::Login, "no token")), ..found(TokenSource::Gh, Answer::NotAsked) };
        assert_eq!(verdicts(&none), [("token", Verdict::Bad)]);
        let only_here = Facts { only_here: Some("GH_TOKEN"), ..none.clone() };
        let check = judge(&only_here, now()).remove(0);
        assert!(check.verdict == Verdict::Bad && check.finding.starts_with("GH_TOKEN is set in this shell only"), "{check:?}");
        let of_shell = Facts { eyes: Eyes::Shell, ..found(TokenSource::Variable("GH_TOKEN"), took(Scopes::Codespaces, None)) };
        assert_eq!(verdicts(&of_shell)[0], ("token", Verdict::Note));
        let agent = Said { token: Some("GH_TOKEN".to_owned()), concern: None };
        assert_eq!(verdicts(&Facts { agent, ..none }), [("token", Verdict::Good)]);
    }

    #[test]
    fn what_the_agent_complains_of_is_bad_though_it_looks_good_from_here() {
        let concern = |about| Some(Concern { about, name: None, message: "x".to_owned(), hint: Some("y".to_owned()) });
        let good = found(TokenSource::Gh, took(Scopes::Codespaces, None));
        let of = |about| verdicts(&Facts { agent: Said { token: None, concern: concern(about) }, ..good.clone() });
        assert_eq!(of(FaultKind::Login), [("scopes", Verdict::Good), ("expiry", Verdict::Good), ("token", Verdict::Bad)]);
        assert_eq!(of(FaultKind::Scope), [("token", Verdict::Good), ("expiry", Verdict::Good), ("scopes", Verdict::Bad)]);
    }

    #[test]
    fn a_file_that_others_can_read_is_a_note() {
        let mut facts = found(TokenSource::File("/t".into()), took(Scopes::Codespaces, None));
        assert_eq!(verdicts(&facts)[0].1, Verdict::Good);
        facts.found.as_mut().unwrap().is_open = true;
        assert_eq!(judge(&facts, now())[0].advice.as_deref(), Some("chmod 600 /t"));
    }
}
