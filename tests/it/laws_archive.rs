//! Laws of the archive as a whole pass shows them: switched off, switched on again, and as the last holder of lines.

use std::fs;

use crate::laws_world::{ID, OTHER, Side, World, append, line};

fn diverged(world: &World) {
    world.here().say(ID, &[("begin", 50)]);
    fs::create_dir_all(world.far("box").project("")).unwrap();
    fs::copy(world.here().transcript(ID), world.far("box").transcript(ID)).unwrap();
    world.here().say(ID, &[("here", 30)]);
    world.far("box").say(ID, &[("there", 5)]);
}

#[test]
fn copies_that_diverge_are_settled_without_an_archive_too() {
    let world = World::new(&["box"], "[vault]\narchive = false\n");
    diverged(&world);
    world.good(&[]);
    assert_eq!(world.here().ids().len(), 2);
    assert_eq!(world.here().ids(), world.far("box").ids());
    assert!(world.kept().contains("\"here\""));
    assert!(world.good(&[])["actions"].as_array().unwrap().is_empty());
}

#[test]
fn an_archive_that_is_switched_on_later_takes_in_what_is_there_and_what_grows() {
    let world = World::new(&["box"], "[vault]\narchive = false\n");
    world.here().say(ID, &[("a", 50)]);
    world.here().say(OTHER, &[("quiet", 50)]);
    world.good(&[]);
    let config = world.root().join("home/.config/claude-session-sync/config.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("archive = false", "archive = true")).unwrap();
    world.here().say(ID, &[("b", 30)]);
    world.good(&[]);
    let archived = |id: &str| fs::read_to_string(world.data().join(format!("vault/archive/{id}.jsonl"))).ok();
    assert_eq!(archived(ID), world.here().read(ID));
    assert_eq!(archived(OTHER), world.here().read(OTHER));
}

#[test]
fn an_archived_copy_that_vanished_is_made_again() {
    let world = World::new(&["box"], "");
    world.here().say(ID, &[("a", 50)]);
    world.good(&[]);
    let copy = world.data().join(format!("vault/archive/{ID}.jsonl"));
    fs::remove_file(&copy).unwrap();
    world.here().say(ID, &[("b", 30)]);
    world.good(&[]);
    assert_eq!(fs::read_to_string(&copy).ok(), world.here().read(ID));
}

#[test]
fn an_empty_transcript_does_not_make_the_index_grow() {
    let world = World::new(&["box"], "");
    append(&world.here().transcript(ID), "");
    world.here().say(OTHER, &[("a", 50)]);
    world.good(&[]);
    let index = || fs::read(world.data().join("vault/archive/index.jsonl")).unwrap();
    let before = index();
    world.good(&[]);
    assert_eq!(index(), before);
}

#[test]
fn lines_of_a_subagent_that_lost_are_kept_although_they_displaced_nothing() {
    let world = World::new(&["box"], "");
    let (here, far) = (world.here(), world.far("box"));
    here.say(ID, &[("a", 50)]);
    fs::create_dir_all(far.project("")).unwrap();
    fs::copy(here.transcript(ID), far.transcript(ID)).unwrap();
    let agent = |side: &Side| side.project("").join(ID).join("subagents/agent-0a.jsonl");
    append(&agent(&here), &line("agent here", 5, &here.clone));
    append(&agent(&far), &line("agent there", 400, &far.clone));
    // Only what comes home is installed, so the far copy stays where it is; the next rebuild would take it away.
    world.good(&["--pull"]);
    assert!(world.kept().contains("agent there"));
    // And the other way round: the far one is newer, and what is archived makes way for it.
    append(&agent(&far), &line("agent there, later", 1, &far.clone));
    world.good(&["--pull"]);
    let kept = world.kept();
    assert!(kept.contains("agent here") && kept.contains("agent there, later"));
    assert_eq!(fs::read(agent(&here)).unwrap(), fs::read(agent(&far)).unwrap());
}

#[test]
fn with_the_vault_lost_a_far_copy_is_read_again_before_it_is_displaced() {
    let world = World::new(&["box"], "");
    diverged(&world);
    world.here().say(ID, &[("and here", 1)]);
    world.far("box").say(ID, &[("so there", 3)]);
    // Equally long, so that no digest of a beginning is missed.
    let lengths = [world.here(), world.far("box")].map(|side| side.read(ID).unwrap().len());
    let longer = "x".repeat(lengths[0].abs_diff(lengths[1]));
    let shorter = if lengths[0] < lengths[1] { world.here() } else { world.far("box") };
    let text = shorter.read(ID).unwrap();
    fs::remove_file(shorter.transcript(ID)).unwrap();
    append(&shorter.transcript(ID), &text.replacen("\"cwd\":\"", &format!("\"cwd\":\"{longer}"), 1));
    world.good(&["--pull"]);
    fs::remove_dir_all(world.data().join("vault")).unwrap();
    let fork = world.here().ids().into_iter().find(|id| id != ID).unwrap();
    fs::remove_file(world.here().transcript(&fork)).unwrap();
    for _ in 0..2 {
        world.sync(&[]);
        let displaced = !world.far("box").read(ID).unwrap().contains("so there");
        assert!(!displaced || world.kept().contains("so there"));
    }
    assert_eq!(world.here().read(ID), world.far("box").read(ID), "two passes are enough");
}

#[test]
fn a_side_file_that_only_the_archive_holds_here_is_still_sent_on() {
    let world = World::new(&["box", "tower"], "");
    let (first, second) = (world.far("box"), world.far("tower"));
    world.here().say(OTHER, &[("here", 50)]);
    first.say(ID, &[("a", 50)]);
    append(&first.project("").join(ID).join("tool-results/a.txt"), "result");
    world.good(&["box"]);
    fs::remove_file(world.here().transcript(ID)).unwrap();
    fs::remove_dir_all(world.here().project("").join(ID)).unwrap();
    world.good(&[]);
    assert_eq!(fs::read_to_string(second.project("").join(ID).join("tool-results/a.txt")).ok().as_deref(), Some("result"));
}
