//! Which place `connect` means: the one that a name names, or the one that a person picks.

use crate::cli::ask::Person;
use crate::cli::sync::failure;
use crate::cli::{Failure, Kind};
use crate::config::Reach as Way;
use crate::pass::PassError;
use crate::pass::connect::Who;
use crate::pass::target::{Reach, Target, choose};
use crate::reconcile::project::RepositoryId;

/// Finds the place. `dot` is the repository of the user's directory, for the name `.`; `person` is asked where several fit.
///
/// # Errors
/// Nothing has the name, several have it and nobody is there to ask, or there is no ssh to the place.
pub(super) fn one(name: Option<&str>, who: &Who, dot: Option<&RepositoryId>, person: Option<Person>) -> Result<Target, Failure> {
    if let Some(fault) = &who.fault
        && !who.targets.iter().any(|machine| name == Some(&*machine.name))
    {
        return Err(failure(&PassError::Listing(fault.clone())));
    }
    let names: Vec<String> = name.iter().map(|name| (*name).to_owned()).collect();
    let found = choose(who.targets.clone(), &names, dot).map_err(|error| failure(&PassError::Name(error)))?;
    if let ([only], Some(_)) = (&found[..], name) {
        return if takes_ssh(only) { Ok(only.clone()) } else { Err(no_ssh(only)) };
    }
    let mut fits = in_order(found);
    let Some(person) = person else { return Err(nobody_to_ask(name, &fits)) };
    if fits.is_empty() {
        return Err(Failure::new(Kind::Usage, "there is no codespace and no machine to connect to"));
    }
    let answers: Vec<String> = fits.iter().map(answer).collect();
    match person.pick("Connect to", &answers)? {
        Some(index) => Ok(fits.swap_remove(index)),
        None => Err(Failure::new(Kind::Usage, "nothing was chosen")),
    }
}

fn takes_ssh(target: &Target) -> bool {
    !matches!(&target.reach, Reach::Machine(machine) if matches!(machine.reach, Way::Command(_)))
}

fn no_ssh(target: &Target) -> Failure {
    let failure = Failure::new(Kind::Usage, format!("{} is reached by a command and not by ssh, so there is nothing to connect to", target.name));
    failure.hint(format!("use that command by hand, and before and after it: claude-session-sync sync {}", target.name))
}

/// Those that ssh reaches: running codespaces first, then the others, then machines.
fn in_order(mut targets: Vec<Target>) -> Vec<Target> {
    targets.retain(takes_ssh);
    let rank = |target: &Target| match &target.reach {
        Reach::Codespace(_) if target.runs() => 0,
        Reach::Codespace(_) => 1,
        Reach::Machine(_) => 2,
    };
    targets.sort_by(|a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
    targets
}

/// A place in one line.
fn answer(target: &Target) -> String {
    match &target.reach {
        Reach::Codespace(codespace) => {
            let repository = codespace.repository.as_ref().map_or_else(String::new, |repository| format!("  {}", repository.full_name()));
            let state = if target.runs() { String::new() } else { format!("  ({})", state(target)) };
            format!("{}{repository}{state}", target.name)
        }
        Reach::Machine(_) => format!("{}  machine", target.name),
    }
}

/// What a codespace is doing, in GitHub's words.
pub(super) fn state(target: &Target) -> String {
    match &target.reach {
        Reach::Codespace(codespace) if codespace.pending_operation => format!("{}, with an operation pending", codespace.state),
        Reach::Codespace(codespace) => codespace.state.to_string(),
        Reach::Machine(_) => "a machine".to_owned(),
    }
}

fn nobody_to_ask(name: Option<&str>, fits: &[Target]) -> Failure {
    let names: Vec<&str> = fits.iter().map(|target| target.name.as_str()).collect();
    let failure = match name {
        Some(name) => Failure::new(Kind::Usage, format!("`{name}` means {} places, and there is no terminal to ask at", fits.len())),
        None => Failure::new(Kind::Usage, "no NAME, and no terminal to ask at"),
    };
    if names.is_empty() { failure } else { failure.hint(format!("name one of: {}", names.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn codespace(name: &str, state: &str) -> Target {
        let row = serde_json::json!({"name": name, "state": state, "repository": {"full_name": "acme/widget", "html_url": "https://github.com/acme/widget"}});
        Target::codespace(serde_json::from_value(row).unwrap(), &Config::defaults(std::path::Path::new("/home/dev")))
    }

    #[test]
    fn running_ones_come_first_and_the_others_say_what_they_do() {
        let order = in_order(vec![codespace("c-3", "Shutdown"), codespace("b-2", "Available"), codespace("a-1", "Available")]);
        let lines: Vec<String> = order.iter().map(answer).collect();
        assert_eq!(lines, ["a-1  acme/widget", "b-2  acme/widget", "c-3  acme/widget  (Shutdown)"]);
    }

    #[test]
    fn without_a_person_the_names_are_listed() {
        let fits = [codespace("a-1", "Available"), codespace("b-2", "Shutdown")];
        let failure = nobody_to_ask(Some("acme/widget"), &fits);
        assert_eq!((failure.kind, failure.hint.as_deref()), (Kind::Usage, Some("name one of: a-1, b-2")));
    }
}
