//! Transcripts as they are found in the wild: carried byte for byte, or passed over and listed; never repaired, never half.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;

use claude_session_sync::reconcile::report::Report;

use crate::skip::have;
use crate::talk::{Talk, id};
use crate::world::{Ran, Side, World, transcripts, visit};

/// Everything that the report says was passed over or left alone, in one text.
fn listed(report: &Report) -> String {
    let skipped = report.skipped.iter().chain(report.visits.iter().flat_map(|visit| &visit.skipped));
    let mut listed: Vec<String> = skipped.map(|skipped| format!("{} {}", skipped.name, skipped.why)).collect();
    listed.extend(report.left.iter().map(|left| format!("{} {} {}", left.at, left.session, left.why)));
    listed.join("\n")
}

/// One session that is as it should be, on either side, so that "the others go on" can be seen.
fn with_good() -> (World, Side) {
    let (world, far) = World::with_box();
    world.here.put(&Talk::begun(&id(101), &world.here.at("widget"), 30, "good here"));
    far.put(&Talk::begun(&id(102), &far.at("widget"), 30, "good there"));
    (world, far)
}

#[track_caller]
fn the_good_are_equal(world: &World, far: &Side) {
    for n in [101, 102] {
        assert_eq!(world.here.bytes(&id(n)), far.bytes(&id(n)));
    }
}

#[test]
fn a_torn_tail_stays_where_it_is_and_what_is_complete_travels() {
    for tail in [b"{\"type\":\"us".as_slice(), b"{\"type\":\"mode\"}", b"\xe2\x82", &[0; 100]] {
        let (world, far) = with_good();
        let here = Talk::begun(&id(1), &world.here.at("widget"), 20, "torn here");
        let there = Talk::begun(&id(2), &far.at("widget"), 20, "torn there");
        world.here.put(&here.clone().raw(tail));
        far.put(&there.clone().raw(tail));
        world.passes();
        assert_eq!((far.bytes(&id(1)), world.here.bytes(&id(2))), (here.bytes.clone(), there.bytes.clone()));
        assert_eq!((world.here.bytes(&id(1)), far.bytes(&id(2))), (here.clone().raw(tail).bytes, there.clone().raw(tail).bytes));
        assert_eq!(world.passes().actions, [], "equal, the tail apart");

        // When the torn file makes way, its raw bytes are kept.
        let (longer, further) = (here.clone().says("on"), there.clone().says("on"));
        far.goes_on(&longer);
        world.here.goes_on(&further);
        world.passes();
        assert_eq!((world.here.bytes(&id(1)), far.bytes(&id(2))), (longer.bytes, further.bytes));
        assert!(world.displaced(&id(1)).contains(&here.raw(tail).bytes), "{:?}", world.displaced(&id(1)));
    }
}

#[test]
fn glued_records_nul_runs_and_bytes_that_are_not_utf_8_are_carried() {
    let (world, far) = with_good();
    let begun = |n: u32| Talk::begun(&id(n), &far.at("widget"), 20, "odd");
    let odd = [
        begun(1).raw(b"{\"type\":\"user\",\"mess{\"type\":\"mode\"}\n").says("after glue"),
        begun(2).raw(&[[0; 4096].as_slice(), b"\n"].concat()).says("after NUL"),
        begun(3).raw(b"\xff\xfe\x00 no text \x80\n").says("after noise"),
        begun(4).raw(b"\n\n\r\n[1,2]\nnull\n").says("after lines that are no objects"),
        begun(5).raw(b"{\"timestamp\":\"9999-12-31T23:59:59.999Z\",\"type\":\"mode\"}\n"),
    ];
    odd.iter().for_each(|talk| drop(far.put(talk)));
    world.passes();
    for talk in &odd {
        assert_eq!(world.here.bytes(&talk.id), talk.bytes);
    }
    let grown = odd[1].clone().says("more");
    world.here.goes_on(&grown);
    world.passes();
    assert_eq!(far.bytes(&id(2)), grown.bytes);
    the_good_are_equal(&world, &far);
}

#[test]
fn what_holds_no_message_is_not_created_elsewhere() {
    let (world, far) = with_good();
    let none = |n: u32, bytes: &[u8]| Talk::begun(&id(n), &far.at("widget"), 10, "x").holding(bytes);
    far.put(&none(1, b""));
    far.put(&none(2, b"{\"type\":\"mode\"}\n{\"type\":\"cost-state\"}\n"));
    far.put(&none(3, b"{\"type\":\"user\",\"message\":{\"content\":\"without any time\"}}\n"));
    far.put(&none(4, b"no newline at all"));
    world.passes();
    assert_eq!(world.here.sessions().len(), 2, "{:?}", world.here.sessions().keys());
    the_good_are_equal(&world, &far);
    assert_eq!(world.archived(&id(2)).map(|bytes| bytes.len()), Some(38), "read and kept all the same");
    // Where it is on both sides, the longer one is everywhere.
    world.here.put(&none(2, b"{\"type\":\"mode\"}\n").in_project_of(&world.here.at("widget")));
    world.passes();
    assert_eq!(world.here.bytes(&id(2)), far.bytes(&id(2)));
}

#[test]
fn a_file_that_shrank_to_nothing_is_filled_again_and_does_not_empty_the_other_side() {
    for here_shrinks in [true, false] {
        let (world, far) = with_good();
        let talk = Talk::begun(&id(1), &world.here.at("widget"), 20, "whole");
        world.here.put(&talk);
        world.passes();
        let shrinks = if here_shrinks { &world.here } else { &far };
        for rest in [0, 300] {
            shrinks.goes_on(&talk.clone().holding(&talk.bytes[..rest]));
            world.passes();
            assert_eq!((world.here.bytes(&id(1)), far.bytes(&id(1))), (talk.bytes.clone(), talk.bytes.clone()), "{rest}");
        }
    }
}

#[test]
fn times_that_are_none_do_not_decide_and_a_far_future_wins_with_its_loser_kept() {
    let (world, far) = with_good();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 20, "begun");
    let odd = b"{\"type\":\"user\",\"timestamp\":\"yesterday\"}\n{\"type\":\"user\",\"timestamp\":1e308}\n{\"type\":\"user\",\"message\":{\"timestamp\":\"9998-01-01T00:00:00Z\"}}\n";
    let without = talk.clone().raw(odd);
    let newer = talk.clone().says("a real time");
    world.here.put(&without);
    far.put(&newer.clone().in_project_of(&far.at("widget")));
    world.passes();
    assert_eq!(world.here.bytes(&id(1)), newer.bytes);
    let future = talk.clone().raw(b"{\"type\":\"user\",\"timestamp\":\"9999-12-31T23:59:59.999Z\",\"message\":{\"role\":\"user\",\"content\":\"x\"}}\n");
    let now = newer.clone().says("now");
    far.goes_on(&future);
    world.here.goes_on(&now);
    world.passes();
    assert_eq!(world.here.bytes(&id(1)), future.bytes, "within its own repository a codespace can win");
    assert!(world.displaced(&id(1)).contains(&now.bytes));
    assert!(far.bytes(&now.fork_id()).starts_with(&now.bytes));
    assert_eq!(world.passes().actions, []);
}

#[test]
fn a_link_a_pipe_and_a_directory_are_passed_over_and_listed() {
    for make_here in [true, false] {
        let (world, far) = with_good();
        let at = if make_here { &world.here } else { &far };
        let other = if make_here { &far } else { &world.here };
        let secret = world.root().join("secret");
        fs::write(&secret, "{\"type\":\"user\",\"timestamp\":\"2026-11-20T10:00:00.000Z\",\"message\":{}}\n").unwrap();
        let path = |n: u32| at.transcript(&at.at("widget"), &id(n));
        symlink(&secret, path(1)).unwrap();
        nix::unistd::mkfifo(&path(2), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        fs::create_dir(path(3)).unwrap();
        // The other side has two of them as they should be.
        for n in [1, 2] {
            other.put(&Talk::begun(&id(n), &other.at("widget"), 10, "as it should be"));
        }
        let report = world.sync(&[]).report();
        the_good_are_equal(&world, &far);
        assert!(path(1).is_symlink() && path(2).exists() && path(3).is_dir());
        assert!(fs::read_to_string(&secret).unwrap().len() < 100, "nothing was written through the link");
        let listed = listed(&report);
        assert!([1, 2].iter().all(|n| listed.contains(&id(*n))), "{listed}");
        assert!(transcripts(&report, &at.name).iter().all(|(id, _)| *id == crate::talk::id(101) || *id == crate::talk::id(102)), "{:?}", report.actions);
        assert!(!world.here.sessions().values().any(|bytes| bytes.starts_with(b"{\"type\":\"user\",\"timestamp\":\"2026")), "nor read through it");
    }
}

#[test]
fn a_project_directory_that_is_a_link_is_not_followed() {
    let (world, far) = with_good();
    let elsewhere = world.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join(format!("{}.jsonl", id(1))), "{}\n").unwrap();
    for side in [&world.here, &far] {
        symlink(&elsewhere, side.claude.join("projects/-linked")).unwrap();
    }
    let report = world.passes();
    the_good_are_equal(&world, &far);
    assert!(listed(&report).matches("-linked").count() == 2, "{}", listed(&report));
}

#[test]
fn what_would_go_to_where_a_link_lies_there_is_not_sent_at_all() {
    let (world, far) = with_good();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 10, "with a side file");
    world.here.put(&talk);
    world.passes();
    // The folder of a session's side files is a link there, and so is the directory of a project.
    let elsewhere = world.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    world.here.put_side(&talk, "tool-results/a.txt", &[b'x'; 200_000], 30);
    symlink(&elsewhere, far.transcript(&far.at("widget"), &id(1)).with_extension("")).unwrap();
    fs::create_dir(world.here.at("widget/docs")).unwrap();
    world.here.put(&Talk::begun(&id(2), &world.here.at("widget/docs"), 1000, "in a directory below"));
    symlink(&elsewhere, far.transcript(&far.at("widget/docs"), &id(2)).parent().unwrap()).unwrap();
    let ran = world.sync(&[]);
    let report = ran.report();
    assert_eq!(ran.code, 3, "{ran:?}");
    let failed: Vec<_> = report.actions.iter().map(|action| (action.session.to_string(), format!("{:?}", action.result))).collect();
    assert!(failed.len() == 2 && failed.iter().all(|(_, result)| result.contains(" is a symbolic link there")), "{failed:?}");
    assert!(fs::read_dir(&elsewhere).unwrap().next().is_none());
    assert!(visit(&report, "box").bytes_out < 100_000, "{:?}", visit(&report, "box"));
}

#[test]
fn what_may_not_be_read_is_listed_and_the_others_go_on() {
    let (world, far) = with_good();
    for side in [&world.here, &far] {
        let path = side.put(&Talk::begun(&id(if side.name == "here" { 1 } else { 2 }), &side.at("widget"), 10, "closed"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mut command = world.command(&[], &world.arguments(&[]));
    world.as_plain_user(&mut command);
    let ran = Ran::of(&mut command);
    let report = ran.report();
    the_good_are_equal(&world, &far);
    assert!([1, 2].iter().all(|n| listed(&report).contains(&id(*n))), "{}", listed(&report));
    assert_eq!(transcripts(&report, "here").len() + transcripts(&report, "box").len(), 2, "{ran:?}");
}

#[test]
fn a_read_only_transcript_is_carried() {
    let (world, far) = with_good();
    let talk = Talk::begun(&id(1), &far.at("widget"), 10, "0400");
    fs::set_permissions(far.put(&talk), fs::Permissions::from_mode(0o400)).unwrap();
    let mut command = world.command(&[], &world.arguments(&[]));
    world.as_plain_user(&mut command);
    Ran::of(&mut command).went_well();
    assert_eq!(world.here.bytes(&id(1)), talk.bytes);
    assert_eq!(fs::metadata(world.here.path(&id(1))).unwrap().permissions().mode() & 0o777, 0o600, "a client can write to it here");
}

#[test]
fn someone_else_s_file_is_listed_and_left() {
    if !nix::unistd::geteuid().is_root() {
        return crate::remote_far::skip_unless_root("someone else's file", "only root can give a file away");
    }
    let (world, far) = with_good();
    let mine = world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 10, "not mine"));
    chown(&mine, Some(65533), Some(65533)).unwrap();
    let report = world.sync(&[]).report();
    the_good_are_equal(&world, &far);
    assert!(listed(&report).contains("belongs to another user"), "{}", listed(&report));
    assert!(far.paths(&id(1)).is_empty());
}

#[test]
fn a_line_of_50_mb_is_carried_in_constant_memory() {
    if !have("/usr/bin/time", "--version") {
        return;
    }
    let (world, far) = with_good();
    let talk = Talk::begun(&id(1), &far.at("widget"), 10, "long");
    let path = far.put(&talk);
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    let noise: Vec<u8> = (0..1 << 20_u32).map(|n: u32| b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 28).unwrap()).collect();
    file.write_all(b"{\"type\":\"attachment\",\"content\":\"").unwrap();
    (0..50).for_each(|_| file.write_all(&noise).unwrap());
    file.write_all(b"\"}\n").unwrap();
    drop(file);
    let log = world.root().join("time");
    let log_text = log.display().to_string();
    let mut command = world.command(&["/usr/bin/time", "-o", &log_text, "-f", "%M"], &world.arguments(&[]));
    Ran::of(command.process_group(0)).went_well();
    assert_eq!(crate::remote_far::sha256(&world.here.bytes(&id(1))), crate::remote_far::sha256(&far.bytes(&id(1))));
    let peak: u64 = fs::read_to_string(&log).unwrap().lines().last().unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB at the peak");
    let again = world.passes();
    assert_eq!((again.actions.len(), visit(&again, "box").bytes_in), (0, 0));
}
