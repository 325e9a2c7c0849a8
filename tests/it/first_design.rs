//! The manual checks of the first design, each as somebody at a laptop would make it: real program, real sshd, a codespace that
//! GitHub's stand-in lists. `tests/REQUIREMENTS.md` says which test holds which requirement, `tests/FAULTS.md` which shows which
//! fault; here it is held that they say so rightly.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::e2e_world::{Laptop, Told, id, put_clone, put_session, transcript, transcripts};

const BOX: &str = "fluffy-space-guacamole-5g9x7";

/// A laptop and its codespace. None: something is missing here, and that was said.
fn world() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BOX)?;
    Some(laptop)
}

fn line(number: u32, cwd: &Path, text: &str) -> String {
    transcript(number, cwd, text, 0).lines().skip(1).map(|line| format!("{line}\n")).collect()
}

/// The verb to its end; it went well.
fn good(laptop: &Laptop, arguments: &[&str]) -> Told {
    let told = Told::of(laptop.command(arguments).output().unwrap());
    assert_eq!(told.code, 0, "{arguments:?}: {told:?}");
    told
}

fn here(laptop: &Laptop, number: u32) -> Option<String> {
    transcripts(&laptop.claude()).remove(&id(number))
}

fn there(laptop: &Laptop, number: u32) -> Option<String> {
    transcripts(&laptop.claude_at(BOX)).remove(&id(number))
}

#[test]
fn a_session_made_here_appears_there() {
    let Some(laptop) = world() else { return };
    let made = fs::read_to_string(laptop.session(1, "made here", 5)).unwrap();
    // As after `gh codespace create`: whatever happens, the script goes on.
    good(&laptop, &["sync", BOX, "--push", "--wait", "--best-effort"]);
    assert_eq!(there(&laptop, 1), Some(made));
}

#[test]
fn continued_there_and_disconnected_it_is_updated_here() {
    let Some(laptop) = world() else { return };
    let made = fs::read_to_string(laptop.session(1, "made here", 5)).unwrap();
    // Before the shell opens the session is there; what is said in it meanwhile is here when the shell is closed.
    let said = line(1, &laptop.root_at(BOX), "continued there");
    let work = format!("cd ~/.claude/projects/*/ && printf '%s' '{said}' >>{}.jsonl", id(1));
    good(&laptop, &["connect", BOX, "--", &work]);
    assert_eq!(here(&laptop, 1), Some(format!("{made}{said}")));
}

#[test]
fn continued_here_after_a_sync_it_is_kept() {
    let Some(laptop) = world() else { return };
    let file = laptop.session(1, "made here", 5);
    good(&laptop, &["sync"]);
    let continued = format!("{}{}", fs::read_to_string(&file).unwrap(), line(1, &laptop.root(), "continued here"));
    fs::write(&file, &continued).unwrap();
    good(&laptop, &["sync"]);
    assert_eq!((here(&laptop, 1), there(&laptop, 1)), (Some(continued.clone()), Some(continued)));
}

#[test]
fn what_is_older_than_seven_days_is_not_synced_unless_more_days_are_asked_for() {
    let Some(laptop) = world() else { return };
    const DAY: i64 = 24 * 60;
    laptop.session(1, "six days old", 6 * DAY);
    laptop.session(2, "eight days old", 8 * DAY);
    laptop.session_at(BOX, 3, "eight days old, there", 8 * DAY);
    good(&laptop, &["sync"]);
    assert!(there(&laptop, 1).is_some() && there(&laptop, 2).is_none() && here(&laptop, 3).is_none());
    good(&laptop, &["sync", "--days", "9"]);
    assert!(there(&laptop, 2).is_some() && here(&laptop, 3).is_some());
}

#[test]
fn other_repositories_are_not_synced() {
    let Some(laptop) = world() else { return };
    for (number, repository) in [(1, "acme/my-widget"), (2, "other/widget"), (3, "acme/gadget")] {
        let clone = laptop.home().join("src").join(repository);
        put_clone(&clone, repository);
        put_session(&laptop.claude(), &clone, number, &transcript(number, &clone, "of another repository", 5));
    }
    laptop.session(4, "of this one", 5);
    good(&laptop, &["sync"]);
    let there: Vec<String> = transcripts(&laptop.claude_at(BOX)).into_keys().collect();
    assert_eq!(there, [id(4)]);
}

#[test]
fn worked_there_timed_out_started_again_and_connected_it_is_recovered() {
    let Some(laptop) = world() else { return };
    good(&laptop, &["sync"]);
    // Worked there after the visit; GitHub stopped it before the next one.
    let lost = fs::read_to_string(laptop.session_at(BOX, 1, "worked there", 1)).unwrap();
    laptop.api.set(BOX, "state", "Shutdown");
    good(&laptop, &["sync"]);
    assert_eq!(here(&laptop, 1), None, "nothing starts it");
    let refused = Told::of(laptop.command(&["connect", BOX, "--", "true"]).output().unwrap());
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(laptop.api.posts().is_empty());
    // Started again, by its user.
    laptop.api.set(BOX, "state", "Available");
    good(&laptop, &["connect", BOX, "--", "true"]);
    assert_eq!(here(&laptop, 1), Some(lost));
}

/// Every name of a test in a row or a table: `module::name`, or `src/module.rs::name`.
fn named(table: &str) -> BTreeSet<&str> {
    table.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

/// Whether there is such a test, in a file that may hold it.
fn exists(root: &Path, test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let path = module.replace("::", "/");
    let files = [module.to_owned(), format!("tests/it/{path}.rs"), format!("tests/{path}/main.rs"), format!("src/{path}.rs"), format!("src/{path}/mod.rs")];
    let texts = files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok());
    texts.into_iter().any(|text| text.contains(&format!("fn {name}(")))
}

#[test]
fn every_test_that_a_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (table, least) in [("tests/REQUIREMENTS.md", 20), ("tests/FAULTS.md", 100)] {
        let text = fs::read_to_string(root.join(table)).unwrap();
        let names = named(&text);
        assert!(names.len() >= least, "{table}: {names:?}");
        let missing: Vec<&&str> = names.iter().filter(|test| !exists(root, test)).collect();
        assert!(missing.is_empty(), "{table}: {missing:#?}");
        let rows = text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| held by |"));
        let bare: Vec<&str> = rows.filter(|row| named(row).is_empty()).collect();
        assert!(bare.is_empty(), "{table}: {bare:?}");
    }
}
