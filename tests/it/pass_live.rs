//! Sessions that a client has open are read and never touched, on either side.

use claude_session_sync::reconcile::report::{Report, Verb};

use crate::talk::{Talk, id};
use crate::world::{Side, World, transcripts, visit};

/// Both sides hold the session; `longer` is what one of them has.
fn behind() -> (World, Side, Talk, Talk) {
    let (world, far) = World::with_box();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "begun");
    world.here.put(&talk);
    world.passes();
    let longer = talk.clone().says("went on").rests();
    (world, far, talk, longer)
}

fn waiting(report: &Report) -> Vec<(String, String)> {
    let waiting = report.left.iter().filter(|left| left.word == "waiting");
    waiting.map(|left| (left.at.clone(), left.session.to_string())).collect()
}

#[test]
fn an_open_session_is_not_extended_until_its_client_ends() {
    for here_is_open in [true, false] {
        let (world, far, talk, longer) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        other.goes_on(&longer);
        let client = open.open(&talk);
        let before = std::fs::metadata(open.path(&id(1))).unwrap();
        for _ in 0..2 {
            let report = world.passes();
            assert_eq!((waiting(&report), report.actions.len()), (vec![(open.name.clone(), id(1))], 0));
            assert!(report.left[0].why.contains(&format!("{} bytes", longer.bytes.len() - talk.bytes.len())), "{}", report.left[0].why);
            assert_eq!(open.bytes(&id(1)), talk.bytes);
        }
        let idle = world.passes();
        assert_eq!((visit(&idle, "box").channels, visit(&idle, "box").bytes_in), (1, 0), "waiting costs nothing");
        assert_eq!(world.archived(&id(1)), Some(longer.bytes.clone()), "what waits for it is kept at once");
        let after = std::fs::metadata(open.path(&id(1))).unwrap();
        let stamp = |of: &std::fs::Metadata| (std::os::unix::fs::MetadataExt::ino(of), of.modified().unwrap(), std::os::unix::fs::MetadataExt::ctime_nsec(of));
        assert_eq!(stamp(&before), stamp(&after), "not touched in any way");
        drop(client);
        assert_eq!(transcripts(&world.passes(), &open.name), [(id(1), Verb::Extend)]);
        assert_eq!(open.bytes(&id(1)), longer.bytes);
    }
}

#[test]
fn the_lines_of_an_open_session_travel_to_the_other_side() {
    for here_is_open in [true, false] {
        let (world, far, _, longer) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        open.goes_on(&longer);
        let _client = open.open(&longer);
        let report = world.passes();
        assert_eq!(transcripts(&report, &other.name), [(id(1), Verb::Extend)]);
        assert_eq!((other.bytes(&id(1)), world.archived(&id(1))), (longer.bytes.clone(), Some(longer.bytes.clone())));
    }
}

#[test]
fn an_open_loser_is_neither_replaced_nor_forked_until_it_rests() {
    for here_is_open in [true, false] {
        let (world, far, talk, _) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        let loser = talk.clone().says("the older one, open").rests();
        let winner = talk.clone().after(600).says("the newer one").rests();
        open.goes_on(&loser);
        other.goes_on(&winner);
        let client = open.open(&loser);
        let report = world.passes();
        assert_eq!((waiting(&report), report.actions.len()), (vec![(open.name.clone(), id(1))], 0));
        assert_eq!((open.bytes(&id(1)), other.bytes(&id(1))), (loser.bytes.clone(), winner.bytes.clone()));
        assert_eq!((open.sessions().len(), other.sessions().len()), (1, 1), "no fork");
        let kept = world.displaced(&id(1));
        assert!(kept.contains(&loser.bytes) || world.archived(&id(1)).as_ref() == Some(&loser.bytes), "its lines are here");
        assert!(kept.contains(&winner.bytes) || world.archived(&id(1)).as_ref() == Some(&winner.bytes), "and the winner's");

        // It goes on and then rests: the fork is made from all of it.
        let loser = loser.says("and one thing more").rests();
        open.goes_on(&loser);
        drop(client);
        world.passes();
        assert_eq!(world.here.sessions(), far.sessions());
        assert_eq!(world.here.bytes(&id(1)), winner.bytes);
        assert!(far.bytes(&loser.fork_id()).starts_with(&loser.bytes));
        assert_eq!(far.sessions().len(), 2, "one fork, not one for every state that it was seen in");
    }
}

#[test]
fn an_open_winner_displaces_the_loser_elsewhere() {
    let (world, far, talk, _) = behind();
    let (loser, winner) = (talk.clone().says("older").rests(), talk.clone().after(600).says("newer").rests());
    world.here.goes_on(&winner);
    far.goes_on(&loser);
    let _client = world.here.open(&winner);
    let report = world.passes();
    assert_eq!(transcripts(&report, "box").len(), 2, "the winner and the fork: {:?}", report.actions);
    assert_eq!(far.bytes(&id(1)), winner.bytes);
    assert_eq!(far.bytes(&loser.fork_id()), world.here.bytes(&loser.fork_id()));
    assert_eq!(world.displaced(&id(1)), [loser.bytes].into());
}

#[test]
fn a_client_that_was_killed_leaves_an_entry_that_counts_for_nothing() {
    for here_is_open in [true, false] {
        let (world, far, talk, longer) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        other.goes_on(&longer);
        open.open(&talk).killed();
        world.passes();
        assert_eq!(open.bytes(&id(1)), longer.bytes);
    }
}

#[test]
fn a_client_that_is_about_to_write_its_first_line_is_left_alone() {
    for here_is_open in [true, false] {
        let (world, far, _, _) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        let new = Talk::begun(&id(2), &other.at("widget"), 5, "new");
        other.put(&new);
        let client = open.open(&new);
        assert_eq!(waiting(&world.passes()), [(open.name.clone(), id(2))]);
        assert!(open.paths(&id(2)).is_empty());
        drop(client);
        world.passes();
        assert_eq!(open.bytes(&id(2)), new.bytes);
    }
}

#[test]
fn in_a_store_of_an_old_client_a_fresh_transcript_counts_as_open() {
    for here_is_old in [true, false] {
        let (world, far, talk, longer) = behind();
        let (old, other) = if here_is_old { (&world.here, &far) } else { (&far, &world.here) };
        std::fs::remove_dir(old.claude.join("sessions")).unwrap();
        other.goes_on(&longer);
        let file = std::fs::File::options().write(true).open(old.path(&id(1))).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
        assert_eq!(waiting(&world.passes()), [(old.name.clone(), id(1))]);
        assert_eq!(old.bytes(&id(1)), talk.bytes);
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(125)).unwrap();
        world.passes();
        assert_eq!(old.bytes(&id(1)), longer.bytes);
    }
}

#[test]
fn in_a_store_of_an_old_client_a_session_whose_subagent_writes_counts_as_open() {
    for here_is_old in [true, false] {
        let (world, far, talk, longer) = behind();
        let (old, other) = if here_is_old { (&world.here, &far) } else { (&far, &world.here) };
        std::fs::remove_dir(old.claude.join("sessions")).unwrap();
        other.goes_on(&longer);
        old.put_side(&talk, "subagents/agent-77.jsonl", b"{\"type\":\"system\"}\n", 0);
        assert_eq!(waiting(&world.passes()), [(old.name.clone(), id(1))]);
        assert_eq!(old.bytes(&id(1)), talk.bytes);
        old.put_side(&talk, "subagents/agent-77.jsonl", b"{\"type\":\"system\"}\n", 3);
        world.passes();
        assert_eq!(old.bytes(&id(1)), longer.bytes);
    }
}

#[test]
fn side_files_of_an_open_session_are_read_and_not_touched() {
    for here_is_open in [true, false] {
        let (world, far, talk, _) = behind();
        let (open, other) = if here_is_open { (&world.here, &far) } else { (&far, &world.here) };
        other.put_side(&talk, "tool-results/other.txt", b"from the other side", 5);
        open.put_side(&talk, "tool-results/open.txt", b"from the open side", 5);
        let client = open.open(&talk);
        world.passes();
        let folder = |side: &Side, name: &str| side.path(&id(1)).with_extension("").join("tool-results").join(name).exists();
        assert!(folder(other, "open.txt") && !folder(open, "other.txt"));
        drop(client);
        world.passes();
        assert!(folder(open, "other.txt"));
        assert_eq!(world.here.sessions(), far.sessions());
    }
}
