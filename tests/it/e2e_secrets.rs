//! The token: in no child's environment, in no command line, in no file of ours, in nothing that is said.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api::{Answer, TOKEN};
use crate::e2e_world::{Laptop, files};
use crate::wait::until;
use crate::way::wrapper;

const BOX: &str = "fluffy-space-guacamole-5g9x7";

/// Every variable that a token of the user may stand in.
const VARIABLES: [&str; 6] =
    ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_CODESPACE_TOKEN", "HOMEBREW_GITHUB_API_TOKEN"];

/// Programs that note their arguments and environment before they become the real ones: the configuration that names them.
fn spies(directory: &Path) -> String {
    let mut programs = String::from("[programs]\n");
    for name in ["git", "ssh-keygen"] {
        let spy = directory.join(format!("spy-{name}"));
        wrapper(&spy, &format!("{{ printf \"%s\\n\" \"$@\"; env; }} >> \"$0.$$.log\"\nPATH=${{PATH#*:}} exec {name} \"$@\""));
        programs.push_str(&format!("{} = \"{}\"\n", name.replace('-', "_"), spy.display()));
    }
    programs
}

/// What the spies of that program noted, one text a call.
fn noted(directory: &Path, name: &str) -> Vec<String> {
    let of = format!("spy-{name}.");
    files(directory).into_iter().filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&of)).map(|file| read(&file)).collect()
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
}

fn places_with_the_token(below: &Path) -> Vec<PathBuf> {
    files(below).into_iter().filter(|file| fs::read(file).is_ok_and(|bytes| memchr::memmem::find(&bytes, TOKEN.as_bytes()).is_some())).collect()
}

/// A pass with everything that can be noted, noted; looked at in the middle and at the end.
fn nobody_sees_it(mut laptop: Laptop, more: &str, variables: &[&str]) {
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session(1, "prompt of the laptop", 30);
    laptop.session_at(BOX, 2, "prompt of the codespace", 20);
    let spies_at = crate::way::short_directory();
    laptop.configure(&format!("{more}\n{}[log]\nlevel = \"trace\"\n", spies(spies_at.path())));
    laptop.at(BOX).stall(true);
    let mut command = laptop.command(&["sync", "--json"]);
    for name in variables {
        command.env(name, TOKEN);
    }
    let child = command.spawn().unwrap();
    let us = [std::process::id(), child.id()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until("the codespace is being connected to", || laptop.at(BOX).connections() > 0));
    let mut looked_at = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let (line, environment) = (fs::read(entry.path().join("cmdline")), fs::read(entry.path().join("environ")));
        let line = String::from_utf8_lossy(&line.unwrap_or_default()).replace('\0', " ");
        assert!(!line.contains(TOKEN), "in the process list: {line}");
        let environment = String::from_utf8_lossy(&environment.unwrap_or_default()).into_owned();
        if !us.contains(&pid) && environment.contains(laptop.home().to_str().unwrap()) {
            looked_at += 1;
            assert!(!environment.contains(TOKEN), "in the environment of {line}");
        }
    }
    assert!(looked_at >= 2, "gh and its ssh were to be looked at");
    laptop.at(BOX).stall(false);
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(TOKEN), "{said}");
    for name in ["git", "ssh-keygen"] {
        let calls = noted(spies_at.path(), name);
        assert!(!calls.is_empty(), "{name} was not called");
        calls.iter().for_each(|call| assert!(!call.contains(TOKEN), "{name} was told: {call}"));
    }
    let calls = laptop.gh.calls();
    assert!(calls.iter().any(|call| call.argv[0] == "codespace"));
    for call in calls {
        assert!(!call.argv.concat().contains(TOKEN) && !call.env.values().any(|value| value.contains(TOKEN)), "gh was told: {call:?}");
    }
    // At its finest level: every step and file, and still no word of a session.
    let log: String = files(&laptop.home().join(".local/state")).iter().map(|file| read(file)).collect();
    for message in [" connected", " file fetched ", " file installed ", " sent "] {
        assert!(log.contains(message), "the log does not tell of `{message}`: {log}");
    }
    assert!(!log.contains("prompt of"), "{log}");
    assert_eq!(places_with_the_token(laptop.home()), Vec::<PathBuf>::new());
    assert_eq!(places_with_the_token(&laptop.at(BOX).home()), Vec::<PathBuf>::new());
    assert!(laptop.api.requests().iter().all(|asked| !asked.target.contains(TOKEN)));
}

#[test]
fn a_token_from_the_environment_reaches_no_child_no_file_and_no_process_list() {
    let Some(laptop) = Laptop::new() else { return };
    nobody_sees_it(laptop, "", &VARIABLES);
}

#[test]
fn a_token_from_a_file_reaches_no_child_no_other_file_and_no_process_list() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.token = None;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    nobody_sees_it(laptop, &format!("token_file = \"{}\"", file.display()), &[]);
}

#[test]
fn a_token_from_gh_reaches_no_child_no_file_and_no_process_list() {
    let Some(mut laptop) = Laptop::new() else { return };
    laptop.token = None;
    laptop.gh.login(TOKEN);
    nobody_sees_it(laptop, "", &[]);
}

#[test]
fn a_github_that_repeats_the_token_has_it_repeated_nowhere() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.api.set(BOX, "display_name", TOKEN);
    let told = laptop.sync(&[]);
    laptop.api.always("GET", "/user/codespaces", Answer::error(403, &format!("no access for {TOKEN}")));
    assert!(told.stderr.contains("it repeats the token"), "{told:?}");
    let refused = laptop.sync(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for told in [told, refused] {
        assert!(!told.stdout.contains(TOKEN) && !told.stderr.contains(TOKEN), "{told:?}");
    }
    assert_eq!(places_with_the_token(laptop.home()), Vec::<PathBuf>::new());
}
