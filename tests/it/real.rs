//! The scripts for a person with an account or a Mac: that they work at all is shown against the stand-ins, and that the README
//! claims no more than the reports in the tree.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::api::TOKEN;
use crate::e2e_world::{Laptop, files};

const BOX: &str = "fluffy-space-guacamole-5g9x7";

fn script(name: &str) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name));
    script.env_clear().stdin(Stdio::null());
    script
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The script, as a person with a login at GitHub runs it.
fn trial(laptop: &Laptop, arguments: &[&str]) -> Output {
    let mut trial = script("codespace");
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:{}", laptop.gh.dir().display(), std::env::var("PATH").unwrap());
    trial.env("PATH", path).env("HOME", laptop.home()).env("GITHUB_API_URL", laptop.api.url()).current_dir(laptop.home());
    trial.args(["--program", env!("CARGO_BIN_EXE_claude-session-sync")]).args(arguments).output().unwrap()
}

#[test]
fn the_trial_on_a_codespace_goes_to_its_end_and_nothing_stays() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.gh.login(TOKEN);
    laptop.session(1, "of the user", 30);
    laptop.session_at(BOX, 2, "of the user, there", 20);
    let tree = |laptop: &Laptop| {
        [laptop.home().to_owned(), laptop.at(BOX).home()]
            .map(|place| files(&place).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>())
    };
    // The codespace's own: what sshd keeps of a login.
    let before = tree(&laptop);
    let output = trial(&laptop, &[BOX]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let report: Vec<&str> = text.lines().skip_while(|line| *line != "```").skip(1).take_while(|line| *line != "```").collect();
    assert_eq!(report.iter().filter(|line| line.starts_with("ok ")).count(), 10, "{text}");
    assert!(report.contains(&"failed: 0") && !text.contains(TOKEN), "{text}");
    assert_eq!(tree(&laptop), before, "{text}");
    assert!(laptop.api.posts().is_empty(), "{:?}", laptop.api.posts());
}

#[test]
fn the_trial_says_what_went_wrong() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.gh.login(TOKEN);
    // No session can be made there: a file stands where the store should be.
    fs::write(laptop.claude_at(BOX).join("projects"), "").unwrap();
    let output = trial(&laptop, &[BOX]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("FAILED  a session made here is there, byte for byte: "), "{text}");
    let mut row = crate::rows::row(BOX, "acme/widget", "Shutdown");
    row["recent_folders"] = serde_json::json!([]);
    laptop.api.put(row);
    let output = trial(&laptop, &[BOX]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is not running: start it"), "{}", said(&output));
}

#[test]
fn the_trial_on_a_mac_refuses_another_system() {
    let output = script("macos").env("PATH", "/usr/bin:/bin").env("HOME", "/nowhere").args(["--program", "/bin/sh"]).output().unwrap();
    if cfg!(not(target_os = "macos")) {
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(2), "this is no Mac\n"));
    }
}

#[test]
fn the_readme_claims_no_trial_that_has_no_report() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let reports = files(&root.join("tests/real/reports"));
    let tried = |what: &str| reports.iter().any(|report| report.file_name().unwrap().to_str().unwrap().starts_with(&format!("{what}-")));
    for (what, words) in [("codespace", "has not yet run on a real codespace"), ("macos", "has not yet run on a Mac")] {
        assert_eq!(readme.contains(words), !tried(what), "{words}");
    }
}
