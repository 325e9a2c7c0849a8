//! A codespace that does not run: `connect` says so and starts none; with `--start`, and by nothing else, it is started once.

use crate::api::Answer;
use crate::connect::{BOX, connect, tunnels, world};
use crate::e2e_world::{Laptop, Told};
use crate::rows::row;

fn start() -> String {
    format!("/user/codespaces/{BOX}/start")
}

fn asleep(state: &str) -> Option<Laptop> {
    let laptop = world()?;
    laptop.api.set(BOX, "state", state);
    Some(laptop)
}

#[test]
fn a_codespace_that_is_not_available_is_left_alone_with_a_hint() {
    let Some(laptop) = asleep("Shutdown") else { return };
    let hints =
        [("Shutdown", Some("hint: claude-session-sync connect fluffy-space-guacamole-5g9x7 --start")), ("Starting", Some(" --wait && ")), ("Failed", None)];
    for (state, hint) in hints {
        laptop.api.set(BOX, "state", state);
        let told = connect(&laptop, &[BOX]);
        assert!(told.code == 3 && told.stderr.contains(&format!("{BOX} is not Available ({state})")), "{told:?}");
        assert!(hint.map_or(!told.stderr.contains("hint:"), |hint| told.stderr.contains(hint)), "{told:?}");
    }
    assert_eq!((laptop.api.posts().len(), tunnels(&laptop), laptop.at(BOX).connections()), (0, 0, 0));
}

#[test]
fn with_start_it_is_started_by_one_request_and_connected_to_through_the_guard() {
    let Some(laptop) = asleep("Shutdown") else { return };
    let told = connect(&laptop, &[BOX, "--start", "--", "echo there"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "there\n"), "{told:?}");
    assert!(told.stderr.contains(&format!("starting {BOX}")), "{told:?}");
    let posts = laptop.api.posts();
    assert_eq!(posts.iter().map(|asked| (asked.method.as_str(), asked.path())).collect::<Vec<_>>(), [("POST", start().as_str())]);
    assert_eq!(tunnels(&laptop), 1);
    let own = posts[0].header("authorization").unwrap().to_owned();
    assert!(laptop.gh.calls().iter().all(|call| !call.env.values().any(|value| own.ends_with(value.as_str()) && !value.is_empty())), "gh got the token");
}

#[test]
fn with_start_one_that_runs_or_comes_up_is_not_started() {
    let Some(laptop) = asleep("Starting") else { return };
    assert_eq!(connect(&laptop, &[BOX, "--start", "--", "true"]).code, 0);
    assert_eq!(laptop.api.get(BOX, "state"), "Available");
    assert_eq!(connect(&laptop, &[BOX, "--start", "--", "true"]).code, 0);
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn one_that_is_shutting_down_is_started_once_it_rests() {
    let Some(laptop) = asleep("ShuttingDown") else { return };
    laptop.api.once("GET", &format!("/user/codespaces/{BOX}"), Answer::json(200, &row(BOX, "acme/widget", "ShuttingDown")));
    laptop.api.once("GET", &format!("/user/codespaces/{BOX}"), Answer::json(200, &row(BOX, "acme/widget", "Shutdown")));
    let told = connect(&laptop, &[BOX, "--start", "--", "echo there"]);
    assert_eq!((told.code, told.stdout.as_str(), laptop.api.posts().len()), (0, "there\n", 1), "{told:?}");
    let lines: Vec<&str> = told.stderr.lines().collect();
    assert_eq!(lines, [format!("waiting for {BOX}, which is ShuttingDown …"), format!("starting {BOX} …")]);
}

#[test]
fn every_refusal_of_github_has_its_words() {
    let Some(laptop) = asleep("Shutdown") else { return };
    let cases = [
        (Answer::error(402, "Payment required"), "wants to be paid", Some("https://github.com/settings/billing")),
        (Answer::error(403, "Must have admin rights to Repository."), "may not read codespaces", Some("scope `codespace`")),
        (Answer::error(403, "Codespaces are disabled"), "GitHub refuses the token from GH_TOKEN (HTTP 403: Codespaces are disabled)", None),
        (Answer::error(404, "Not Found"), "there is no codespace", Some("list codespaces")),
        (Answer::error(409, "\u{1b}[31mConflict"), "GitHub is at work on fluffy-space-guacamole-5g9x7 (HTTP 409: \\u{1b}[31mConflict)", None),
        (
            Answer::error(422, "machine type is gone"),
            "cannot start fluffy-space-guacamole-5g9x7 as it is (HTTP 422: machine type is gone)",
            Some("gh codespace edit"),
        ),
        (Answer::new(500, ""), "GitHub failed to answer", Some("githubstatus.com")),
    ];
    for (number, (answer, text, hint)) in (1..).zip(cases) {
        laptop.api.once("POST", &start(), answer);
        let told = connect(&laptop, &[BOX, "--start"]);
        assert!(told.code == 1 && told.stderr.contains(text), "{text}: {told:?}");
        assert!(hint.is_none_or(|hint| told.stderr.contains(hint)), "{text}: {told:?}");
        assert_eq!(laptop.api.posts().len(), number, "{text}: asked again, or not at all");
    }
    assert_eq!(tunnels(&laptop), 0);
}

#[test]
fn what_nobody_can_start_is_not_asked_for() {
    let Some(laptop) = asleep("Failed") else { return };
    let told = connect(&laptop, &[BOX, "--start"]);
    assert!(told.code == 1 && told.stderr.contains("is Failed and cannot be started"), "{told:?}");
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn nothing_but_connect_with_start_ever_asks_github_for_more_than_reading() {
    let Some(laptop) = asleep("Shutdown") else { return };
    for line in ["sync", "sync acme/widget", "sync --wait=1s fluffy", "status", "list codespaces", "verify fluffy", "doctor", "connect fluffy", "connect"] {
        let words: Vec<&str> = line.split(' ').collect();
        let told = Told::of(laptop.command(&words).output().unwrap());
        assert!(told.code != 101 && laptop.api.posts().is_empty(), "{line}: {told:?}");
    }
    assert_eq!(connect(&laptop, &["fluffy", "--start", "--", "true"]).code, 0);
    assert_eq!(laptop.api.posts().len(), 1);
}
