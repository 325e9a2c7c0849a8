//! What happened in the world before the story begins, and what happens in its middle.

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::conversation::{Conversation, Turn};
use super::{FAR, HERE, World, write};

const DARK_MODE: Uuid = Uuid::from_u128(0x1d0c_5b5e_7a11_4c3e_9a52_0f4e_61aa_0001);
const FLAKY_TEST: Uuid = Uuid::from_u128(0x2b9e_41d3_06c7_4f8a_8e10_77d2_93bc_0002);
const RELEASE_NOTES: Uuid = Uuid::from_u128(0x3e75_a8c0_d2f4_4b19_b6c3_5a08_12de_0003);
const PARSER: Uuid = Uuid::from_u128(0x4fa1_6e92_58b3_4d07_a4f9_c36b_84ef_0004);

fn before(world: &World, hours: i64) -> DateTime<Utc> {
    world.now - TimeDelta::hours(hours)
}

fn cwd(world: &World, place: &str, clone: &str) -> io::Result<String> {
    world.text(&world.clone_of(place, clone)).map(str::to_owned)
}

fn transcript(world: &World, place: &str, clone: &str, session: Uuid) -> io::Result<PathBuf> {
    Ok(world.project(place, &world.clone_of(place, clone))?.join(format!("{session}.jsonl")))
}

/// Lines that were written at one time.
type Part = (String, DateTime<Utc>);

/// The first turns of the session that will be continued on two machines.
fn dark_mode(world: &World) -> io::Result<(Conversation, Vec<Part>)> {
    let mut talk = Conversation::new(DARK_MODE, &cwd(world, HERE, "widget")?);
    let turns = [
        (50, "Give the widget a dark mode", "Done: the colours are variables now, and `theme.css` has a dark set.", None),
        (49, "Does the print view still look right?", "It does. I looked at all five pages.", Some(("npm run print-test", "5 pages, 0 differences"))),
        (26, "Let the reader choose the mode", "There is a switch in the footer now, and the choice is kept.", None),
    ];
    let mut parts = vec![(talk.opening("Dark mode for the widget"), before(world, 50))];
    for (hours, prompt, answer, ran) in turns {
        let at = before(world, hours);
        parts.push((talk.turn(&Turn { prompt, answer, at, ran }), at));
    }
    Ok((talk, parts))
}

/// Four sessions: one on two machines, of which one has more of it, and three on one machine only.
pub(super) fn beginning(world: &World) -> io::Result<()> {
    let (_, parts) = dark_mode(world)?;
    let behind = parts.len() - 1;
    for (place, parts) in [(HERE, &parts[..]), (FAR[0], &parts[..behind])] {
        let file = transcript(world, place, "widget", DARK_MODE)?;
        parts.iter().try_for_each(|(lines, at)| world.append(&file, lines, *at))?;
    }

    let prompt = "Why does the login test fail once in twenty runs?";
    let answer = "It reads the clock twice. At midnight the two days differ; I froze the clock in the test.";
    let printed = "<persisted-output>\nOutput too large. Full output saved to: tool-results/login.txt\n</persisted-output>";
    let turn = Turn { prompt, answer, at: before(world, 20), ran: Some(("npm test -- --repeat 200 login", printed)) };
    let file = tell(world, (FAR[0], "widget"), FLAKY_TEST, "The flaky login test", &turn)?;
    let beside = file.with_extension("").join("tool-results");
    super::make(&beside)?;
    write(&beside.join("login.txt"), &"login ... ok\n".repeat(199), 0o644)?;

    let prompt = "Write the release notes of gadget 2.0";
    let answer = "They are in `NOTES.md`: what is new, what breaks, and how to move.";
    tell(world, (FAR[1], "gadget"), RELEASE_NOTES, "Release notes of gadget 2.0", &Turn { prompt, answer, at: before(world, 7), ran: None })?;

    let prompt = "The parser takes two seconds for the big file. Can it be faster?";
    let answer = "It copied the rest of the text at every token. With slices it takes 80 ms.";
    let ran = Some(("cargo bench parser", "parser: 2.1 s -> 0.08 s"));
    tell(world, (HERE, "gadget"), PARSER, "A faster parser", &Turn { prompt, answer, at: before(world, 30), ran })?;
    Ok(())
}

/// A session of one turn.
fn tell(world: &World, (place, clone): (&str, &str), session: Uuid, title: &str, turn: &Turn<'_>) -> io::Result<PathBuf> {
    let mut talk = Conversation::new(session, &cwd(world, place, clone)?);
    let file = transcript(world, place, clone, session)?;
    let text = format!("{}{}", talk.opening(title), talk.turn(turn));
    world.append(&file, &text, turn.at)?;
    Ok(file)
}

/// The file that [`divergence`] continues in a place.
pub(super) fn diverging(world: &World, place: &str) -> io::Result<PathBuf> {
    transcript(world, place, "widget", DARK_MODE)
}

/// Two hours ago here, one hour ago there.
pub(super) fn divergence(world: &World) -> io::Result<()> {
    let (talk, _) = dark_mode(world)?;
    let told = [
        (HERE, 2, "Follow the system's setting at first", "Done: without a choice of their own, readers get their system's mode."),
        (FAR[0], 1, "Put the switch into the header instead", "It sits beside the search field now, and the tests know the new place."),
    ];
    for (place, hours, prompt, answer) in told {
        let at = before(world, hours);
        let lines = talk.resumed_in(&cwd(world, place, "widget")?).turn(&Turn { prompt, answer, at, ran: None });
        let file = diverging(world, place)?;
        // It must be there: a session is gone on with, not begun.
        std::fs::metadata(&file)?;
        world.append(&file, &lines, at)?;
    }
    Ok(())
}
