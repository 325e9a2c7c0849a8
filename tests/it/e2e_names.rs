//! Who is meant by a name, who is waited for, and scripts that must go on.

use serde_json::json;

use crate::api::Answer;
use crate::e2e_world::{Laptop, Told, id, put_clone, transcripts};
use crate::rows::row;

const LIST: &str = "/user/codespaces";

/// Four codespaces, none of which runs; two of them of one repository.
fn asleep() -> Option<Laptop> {
    let laptop = Laptop::new()?;
    for (name, repository) in [("fluffy-space-1", "acme/widget"), ("fluffy-sun-2", "acme/widget"), ("quiet-moon-3", "acme/gadget"), ("quiet-4", "acme/lathe")] {
        let mut listed = row(name, repository, "Shutdown");
        listed["display_name"] = format!("my {name}").into();
        laptop.api.put(listed);
    }
    Some(laptop)
}

/// Whom a pass concerned.
fn meant(laptop: &Laptop, names: &[&str]) -> Vec<String> {
    let ran = laptop.report(names);
    assert_eq!(ran.code(), 3, "none of them runs: {:?}", ran.told);
    ran.report().visits.iter().map(|visit| visit.name.clone()).collect()
}

fn warned_once(told: &Told, text: &str) {
    assert_eq!((told.code, told.stdout.as_str()), (0, ""), "{told:?}");
    assert_eq!((told.stderr.matches("warning: ").count(), told.stderr.lines().count()), (1, 1), "{told:?}");
    assert!(told.stderr.contains(text), "{told:?}");
}

#[test]
fn a_name_a_display_name_a_unique_beginning_and_a_repository_are_understood() {
    let Some(laptop) = asleep() else { return };
    assert_eq!(meant(&laptop, &["fluffy-sun-2"]), ["fluffy-sun-2"]);
    assert_eq!(meant(&laptop, &["my quiet-4"]), ["quiet-4"]);
    assert_eq!(meant(&laptop, &["fluffy-sp"]), ["fluffy-space-1"]);
    assert_eq!(meant(&laptop, &["my quiet-m"]), ["quiet-moon-3"]);
    assert_eq!(meant(&laptop, &["acme/widget"]), ["fluffy-space-1", "fluffy-sun-2"]);
    assert_eq!(meant(&laptop, &["Acme/Gadget"]), ["quiet-moon-3"]);
    assert_eq!(meant(&laptop, &["quiet-4", "fluffy-space-1", "acme/lathe"]), ["fluffy-space-1", "quiet-4"]);
    // A whole name wins over names that begin with it.
    laptop.api.put(row("quiet-4-more", "acme/lathe", "Shutdown"));
    assert_eq!(meant(&laptop, &["quiet-4"]), ["quiet-4"]);
}

#[test]
fn a_beginning_that_several_have_is_refused_with_their_names() {
    let Some(laptop) = asleep() else { return };
    let told = laptop.sync(&["fluffy"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    assert!(told.stderr.contains("error: `fluffy` begins the names of fluffy-space-1, fluffy-sun-2"), "{told:?}");
    assert!(laptop.gh.calls().iter().all(|call| call.argv[0] != "codespace"));
}

#[test]
fn a_name_that_nobody_has_is_refused_with_where_to_look() {
    let Some(laptop) = asleep() else { return };
    for name in ["nobody", "acme/nothing", "idget", "fluffy-space-1x", "../x", "my"] {
        let told = laptop.sync(&[name]);
        let ambiguous = name == "my";
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(ambiguous || told.stderr.contains(&format!("no codespace or machine is called `{name}`")), "{told:?}");
        assert!(told.stderr.contains("hint: claude-session-sync list codespaces"), "{told:?}");
    }
    let told = laptop.sync(&["no\u{1b}[31m"]);
    assert!(told.code == 2 && !told.stderr.contains('\u{1b}'), "{told:?}");
}

#[test]
fn a_dot_means_the_repository_of_this_directory_and_of_those_below() {
    let Some(laptop) = asleep() else { return };
    std::fs::create_dir_all(laptop.root().join("src/deep")).unwrap();
    put_clone(&laptop.home().join("projects/lathe"), "acme/lathe");
    for (directory, expected) in [
        ("projects/widget", &["fluffy-space-1", "fluffy-sun-2"][..]),
        ("projects/widget/src/deep", &["fluffy-space-1", "fluffy-sun-2"]),
        ("projects/lathe", &["quiet-4"]),
    ] {
        let output = laptop.command(&["sync", "--json", "."]).current_dir(laptop.home().join(directory)).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<&str> = report["visits"].as_array().unwrap().iter().map(|visit| visit["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{directory}");
    }
    let told = laptop.sync(&["."]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("`.`: this directory is in no clone of a repository"), "{told:?}");
}

#[test]
fn only_the_one_that_is_named_is_visited() {
    let Some(mut laptop) = Laptop::new() else { return };
    for (name, number) in [("one-1", 1), ("two-2", 2)] {
        if laptop.codespace(name).is_none() {
            return;
        }
        laptop.session_at(name, number, "there", 10);
    }
    laptop.report(&["two"]).good();
    assert_eq!((laptop.at("one-1").connections(), laptop.at("two-2").connections()), (0, 1));
    assert_eq!(transcripts(&laptop.claude()).into_keys().collect::<Vec<_>>(), [id(2)]);
}

#[test]
fn a_codespace_on_its_way_up_is_waited_for_and_nothing_starts_it() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace("slow-1").is_none() {
        return;
    }
    laptop.session_at("slow-1", 1, "there", 10);
    let listed = |state: &str| Answer::json(200, &json!({"total_count": 1, "codespaces": [row("slow-1", "acme/widget", state)]}));
    let unlisted = Answer::json(200, &json!({"total_count": 0, "codespaces": []}));
    for answer in [unlisted, listed("Queued"), listed("Starting")] {
        laptop.api.once("GET", LIST, answer);
    }
    laptop.report(&["slow-1", "--wait"]).good();
    assert_eq!(laptop.api.requests().iter().filter(|asked| asked.path() == LIST).count(), 4);
    assert!(transcripts(&laptop.claude()).contains_key(&id(1)));
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn without_wait_a_codespace_on_its_way_up_is_left_alone() {
    let Some(laptop) = asleep() else { return };
    laptop.api.set("quiet-4", "state", "Starting");
    let told = laptop.sync(&["quiet-4"]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains("quiet-4: not visited (Starting)"), "{told:?}");
}

#[test]
fn a_codespace_that_is_shut_down_and_a_name_with_several_meanings_are_not_waited_for() {
    let Some(laptop) = asleep() else { return };
    for (name, code) in [("quiet-4", 3), ("fluffy", 2)] {
        let before = laptop.api.requests().len();
        assert_eq!(laptop.sync(&[name, "--wait=1h"]).code, code, "{name}");
        assert_eq!(laptop.api.requests().len() - before, 1, "{name}");
    }
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn waiting_ends_at_its_time() {
    let Some(laptop) = asleep() else { return };
    laptop.api.set("quiet-4", "state", "Starting");
    let told = laptop.sync(&["quiet-4", "--wait=1s"]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!((2..=4).contains(&laptop.api.requests().len()), "{} requests", laptop.api.requests().len());
    assert_eq!(laptop.sync(&["nobody", "--wait=1s"]).code, 2);
}

#[test]
fn with_best_effort_every_failure_is_one_warning_and_exit_0() {
    let Some(mut laptop) = asleep() else { return };
    warned_once(&laptop.sync(&["quiet-4", "--best-effort"]), "quiet-4: not visited (Shutdown)");
    warned_once(&laptop.sync(&["nobody", "--best-effort"]), "no codespace or machine is called `nobody`");
    warned_once(&laptop.sync(&["fluffy", "--best-effort"]), "begins the names of");
    if laptop.codespace("broken-5").is_none() || laptop.codespace("broken-6").is_none() {
        return;
    }
    for name in ["broken-5", "broken-6"] {
        laptop.gh.entry(name, json!({"sshd": false}));
    }
    warned_once(&laptop.sync(&["--best-effort"]), "the codespace has no SSH server");
    laptop.api.always("GET", LIST, Answer::error(401, "Bad credentials"));
    warned_once(&laptop.sync(&["--best-effort"]), "the token from GH_TOKEN");
    warned_once(&laptop.sync(&["quiet-4", "--push", "--wait=1s", "--best-effort"]), "the token from GH_TOKEN");
    laptop.configure("[nonsense]\n");
    warned_once(&laptop.sync(&["--best-effort"]), "nonsense");
}

#[test]
fn with_best_effort_a_pass_that_went_well_says_nothing() {
    let Some(laptop) = asleep() else { return };
    let told = laptop.sync(&["--best-effort"]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (0, "", ""));
}
