//! The laws of the plan, as properties over a model of replicas: every small world, and two thousand random ones.

use std::collections::{BTreeMap, BTreeSet};

use claude_session_sync::reconcile::fork::fork;
use claude_session_sync::reconcile::manifest::SidePath;
use claude_session_sync::reconcile::order::rank;
use claude_session_sync::reconcile::relation::{Relation, relate};
use proptest::prelude::*;

use crate::laws_model::{File, Replica, line, lines_of, pairs, pass, proved, session, settle, split};

/// `CLAUDE_SESSION_SYNC_CASES` of them, or two thousand.
fn cases() -> ProptestConfig {
    let cases = std::env::var("CLAUDE_SESSION_SYNC_CASES").map_or(2_000, |cases| cases.parse().unwrap());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Lines of all kinds, among them two that differ at the same time, one that is no JSON, and one without a time.
fn vocabulary() -> Vec<Vec<u8>> {
    let mut words = vec![line("mode", None, "m"), b"}{ torn and glued\n".to_vec(), line("custom-title", None, "t"), line("system", Some(90), "s")];
    for (second, word) in [(10, "a"), (20, "b"), (20, "c"), (30, "d"), (40, "e")] {
        words.push(line(if second == 20 { "assistant" } else { "user" }, Some(second), word));
    }
    words
}

/// A content, most often one that shares its beginning with the others.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let trunk = [4, 0, 5, 7, 1].map(|word| vocabulary()[word].clone());
    (0..=5usize, proptest::collection::vec(0..vocabulary().len(), 0..4)).prop_map(move |(shared, own)| {
        let own = own.into_iter().map(|word| vocabulary()[word].clone());
        trunk[..shared].iter().cloned().chain(own).collect::<Vec<_>>().concat()
    })
}

fn members(most: usize) -> impl Strategy<Value = Vec<Replica>> {
    let member = proptest::option::weighted(0.85, content()).prop_map(|content| content.map_or_else(Replica::default, |bytes| Replica::holding(&bytes)));
    proptest::collection::vec(member, 2..=most)
}

fn all(world: &[Replica]) -> Vec<usize> {
    (0..world.len()).collect()
}

/// Every complete line that was shown still lies somewhere, and every message of a copy that rested lies in a live file.
fn nothing_is_lost(before: &[Replica], after: &[Replica]) {
    let live: BTreeSet<Vec<u8>> = after.iter().flat_map(Replica::lines).collect();
    let kept: BTreeSet<Vec<u8>> = after.iter().flat_map(|replica| &replica.displaced).flat_map(|bytes| split(bytes)).chain(live.iter().cloned()).collect();
    for replica in before {
        assert!(replica.lines().is_subset(&kept), "a line is lost");
        let messages = replica
            .transcripts
            .values()
            .flat_map(|bytes| split(bytes))
            .filter(|line| line.starts_with(b"{\"type\":\"user") || line.starts_with(b"{\"type\":\"assistant"));
        assert!(messages.into_iter().all(|message| live.contains(&message)), "a message is in the vault alone");
    }
}

/// The laws for members that all accept, rest and are within their windows.
fn check(world: &[Replica], orders: &[Vec<usize>]) {
    let winner = world.iter().filter_map(Replica::main).map(lines_of).max_by_key(|lines| rank(&lines.content));
    let mut at_once = world.to_vec();
    pass(&mut at_once, &all(world));
    nothing_is_lost(world, &at_once);
    assert_eq!(pass(&mut at_once, &all(world)), 0, "the second pass has steps");
    let spoken = winner.as_ref().is_some_and(|winner| winner.content.newest_message.is_some());
    if spoken {
        assert!(at_once.iter().all(|replica| replica.transcripts == at_once[0].transcripts), "not equal after one pass");
        assert_eq!(at_once[0].main().map(|bytes| lines_of(bytes).content), winner.map(|winner| winner.content));
    }
    for order in orders {
        let mut in_turn = world.to_vec();
        settle(&mut in_turn, &pairs(order));
        nothing_is_lost(world, &in_turn);
        if !spoken {
            // What cannot be resumed is created nowhere, so members that hold it may never meet.
            continue;
        }
        assert!(in_turn.iter().all(|replica| replica.transcripts == in_turn[0].transcripts), "not equal in the order {order:?}");
        for (one, other) in in_turn.iter().zip(&at_once) {
            assert_eq!(one.main(), other.main(), "another winner in the order {order:?}");
            for (id, bytes) in &one.transcripts {
                assert!(other.transcripts.get(id).is_none_or(|same| same == bytes), "one id, two contents");
            }
        }
    }
}

/// Every sequence of at most `most` of these lines.
fn contents(words: &[Vec<u8>], most: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most {
        last = last.iter().flat_map(|begin: &Vec<u8>| words.iter().map(move |word| [begin.clone(), word.clone()].concat())).collect();
        all.extend(last.clone());
    }
    all
}

/// Every three members that hold one of these contents, or nothing; the laptop is each of them in turn.
fn every_world(contents: &[Vec<u8>]) {
    let held: Vec<Replica> = std::iter::once(Replica::default()).chain(contents.iter().map(|bytes| Replica::holding(bytes))).collect();
    for one in 0..held.len() {
        for two in one..held.len() {
            for three in two..held.len() {
                let turn = (one + two + three) % 3;
                let mut world = vec![held[one].clone(), held[two].clone(), held[three].clone()];
                world.rotate_left(turn);
                check(&world, &[if turn == 0 { vec![1, 2] } else { vec![2, 1] }]);
            }
        }
    }
}

#[test]
fn every_world_of_three_members_with_up_to_three_lines_converges_and_loses_nothing() {
    every_world(&contents(&[line("user", Some(10), "a"), line("user", Some(10), "b")], 3));
}

#[test]
fn every_world_of_three_members_with_up_to_two_lines_of_three_kinds_converges_and_loses_nothing() {
    every_world(&contents(&[line("user", Some(20), "a"), line("assistant", Some(10), "b"), line("mode", None, "m")], 2));
}

#[test]
fn the_order_of_every_two_small_contents_is_total_and_extends_their_being_prefixes() {
    let words = [line("user", Some(20), "a"), line("user", Some(10), "b"), line("system", Some(30), "s"), b"{}{\n".to_vec()];
    let all = contents(&words, 3);
    let lengths: BTreeSet<u64> = all.iter().map(|bytes| bytes.len() as u64).collect();
    let all: Vec<(Vec<u8>, _)> = all.into_iter().map(|bytes| (bytes.clone(), proved(&bytes, &lengths))).collect();
    for (a, of_a) in &all {
        for (b, of_b) in &all {
            let (one, two) = (rank(&of_a.content), rank(&of_b.content));
            assert_eq!(one == two, a == b);
            assert!(!b.starts_with(a) || one <= two, "a beginning outranks the whole");
            let expected = match (a == b, b.starts_with(a), a.starts_with(b)) {
                (true, ..) => Relation::Equal,
                (_, true, _) => Relation::Behind,
                (_, _, true) => Relation::Ahead,
                _ => Relation::Diverged,
            };
            assert_eq!(relate(of_a, of_b), Ok(expected));
        }
    }
}

#[test]
fn of_side_files_whose_names_fold_into_one_the_same_is_carried_whoever_holds_which() {
    let [upper, lower]: [SidePath; 2] = ["tool-results/A.txt", "tool-results/a.txt"].map(|name| name.parse().unwrap());
    let holding = |path: &SidePath| {
        let mut replica = Replica::holding(&line("user", Some(10), "a"));
        replica.side.insert((session(), path.clone()), File { bytes: path.as_str().into(), modified: 1 });
        replica
    };
    for world in [[holding(&upper), holding(&lower)], [holding(&lower), holding(&upper)]] {
        let mut after = world.clone();
        pass(&mut after, &[0, 1]);
        for (old, new) in world.iter().zip(&after) {
            let expected: BTreeSet<_> = old.side.keys().cloned().chain([(session(), upper.clone())]).collect();
            assert_eq!(new.side.keys().cloned().collect::<BTreeSet<_>>(), expected);
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_number_of_members_converge_in_any_order_of_visits(world in members(5), seed in any::<u64>()) {
        let mut order: Vec<usize> = (1..world.len()).collect();
        let other_way = order.iter().rev().copied().collect();
        order.rotate_left(usize::try_from(seed % 7).unwrap() % (world.len() - 1));
        check(&world, &[order, other_way]);
    }

    #[test]
    fn two_laptops_that_never_meet_agree_through_the_members_that_both_visit(world in members(4)) {
        let mut both = world.clone();
        let last = both.len() - 1;
        let groups: Vec<Vec<usize>> = (1..last.max(1)).flat_map(|shared| [vec![0, shared], vec![last, shared]]).collect();
        settle(&mut both, &groups);
        nothing_is_lost(&world, &both);
        if last > 1 && both[0].main().is_some_and(|bytes| lines_of(bytes).content.newest_message.is_some()) {
            prop_assert!(both.iter().all(|replica| replica.main() == both[0].main()));
        }
    }

    #[test]
    fn torn_tails_change_nothing_but_go_to_the_vault_with_what_they_hang_on(world in members(3), tails in proptest::collection::vec("[a-z{\"]{0,9}", 3)) {
        let mut torn = world.clone();
        for (replica, tail) in torn.iter_mut().zip(&tails) {
            replica.transcripts.values_mut().for_each(|bytes| bytes.extend_from_slice(tail.as_bytes()));
        }
        let before = torn.clone();
        let (mut whole, members) = (world.clone(), all(&world));
        pass(&mut whole, &members);
        pass(&mut torn, &members);
        for ((one, other), old) in torn.iter().zip(&whole).zip(&before) {
            prop_assert_eq!(one.main().map(|bytes| split(bytes).concat()), other.main().map(<[u8]>::to_vec));
            if let Some(raw) = old.main() {
                prop_assert!(one.main() == Some(raw) || one.displaced.iter().any(|kept| kept == raw));
            }
        }
    }

    #[test]
    fn open_closed_and_unwilling_members_are_left_as_they_are_and_their_lines_still_read(world in members(4), states in proptest::collection::vec(0..4u8, 4)) {
        let mut world = world;
        for (replica, state) in world.iter_mut().zip(&states) {
            match state {
                1 => drop(replica.live.insert(session())),
                2 => replica.closed = true,
                3 => replica.refuses = true,
                _ => {}
            }
        }
        let before = world.clone();
        let members = all(&world);
        pass(&mut world, &members);
        if !states.contains(&3) {
            prop_assert_eq!(pass(&mut world, &members), 0, "the second pass has steps");
        }
        // A loser that stays where it is, and that a longer one covered, is forked once that one has made way.
        settle(&mut world, &[members]);
        let shown: Vec<_> = before.iter().filter(|replica| !replica.closed).filter_map(Replica::main).map(lines_of).collect();
        let winner = shown.iter().max_by_key(|lines| rank(&lines.content));
        for ((after, old), state) in world.iter().zip(&before).zip(&states) {
            match (state, winner) {
                (0, Some(winner)) if winner.content.newest_message.is_some() => {
                    prop_assert_eq!(after.main().map(|bytes| lines_of(bytes).content), Some(winner.content.clone()));
                }
                (0, _) => {}
                (1, _) => prop_assert_eq!(after.main(), old.main()),
                _ => prop_assert_eq!(&after.transcripts, &old.transcripts),
            }
        }
        let readable: Vec<Replica> = before.iter().filter(|replica| !replica.closed).cloned().collect();
        let kept: BTreeSet<_> = world.iter().flat_map(|replica| replica.lines().into_iter().chain(replica.displaced.iter().flat_map(|bytes| split(bytes)))).collect();
        prop_assert!(readable.iter().all(|replica| replica.lines().is_subset(&kept)));
    }

    #[test]
    fn a_fork_has_the_same_id_and_bytes_whoever_makes_it(bytes in content(), others in members(4)) {
        let loser = lines_of(&bytes);
        let again = fork(session(), &lines_of(&bytes));
        prop_assert_eq!(&fork(session(), &loser), &again);
        prop_assert!(again.title_line.ends_with(b"\n") && serde_json::from_slice::<serde_json::Value>(&again.title_line).is_ok());
        for replica in &others {
            if let Some(other) = replica.main().filter(|other| *other != bytes) {
                prop_assert_ne!(fork(session(), &lines_of(other)).id, again.id);
            }
        }
    }

    #[test]
    fn what_was_deleted_is_not_brought_back_until_it_grows(bytes in content(), more in content(), others in members(3)) {
        let told = [line("user", Some(1), "z"), bytes].concat();
        let mut world = vec![Replica { seen: BTreeMap::from([(session(), told.clone())]), ..Replica::default() }, Replica::holding(&told)];
        world.extend(others.iter().filter(|replica| replica.main().is_some_and(|bytes| told.starts_with(bytes))).cloned());
        let members = all(&world);
        pass(&mut world, &members);
        prop_assert_eq!(world[0].main(), None);
        let grown = [told, more].concat();
        let longer = grown.len() > world[1].main().unwrap().len();
        world[1].transcripts.insert(session(), grown.clone());
        pass(&mut world, &members);
        prop_assert_eq!(world[0].main(), longer.then_some(grown.as_slice()));
    }

    #[test]
    fn only_what_is_young_enough_is_created_and_what_is_held_is_kept_equal(world in members(4), oldest in proptest::collection::vec(0..60i64, 4)) {
        let mut world = world;
        world.iter_mut().zip(&oldest).for_each(|(replica, oldest)| replica.oldest = *oldest);
        let before = world.clone();
        let members = all(&world);
        pass(&mut world, &members);
        let winner = before.iter().filter_map(Replica::main).map(lines_of).max_by_key(|lines| rank(&lines.content));
        for (after, old) in world.iter().zip(&before) {
            let newest = winner.as_ref().and_then(|winner| winner.content.newest_message);
            let young = newest.is_some_and(|newest| newest.seconds() > old.oldest);
            let expected = (old.main().is_some() || young).then(|| winner.as_ref().map(|winner| winner.content.clone())).flatten();
            prop_assert_eq!(after.main().map(|bytes| lines_of(bytes).content), expected);
        }
        prop_assert_eq!(pass(&mut world, &members), 0);
    }

    #[test]
    fn side_files_become_the_union_of_all_and_lose_no_line(world in members(4), files in proptest::collection::vec((0..4usize, 0..4usize, content(), 0..3i64), 0..9)) {
        let names: Vec<SidePath> = ["subagents/agent-0a.jsonl", "subagents/agent-0b.jsonl", "tool-results/a.txt", "custom-title.json"].map(|name| name.parse().unwrap()).to_vec();
        let mut world = world;
        for replica in &mut world {
            replica.transcripts.entry(session()).or_insert_with(|| line("user", Some(5), "x"));
        }
        for (at, name, bytes, modified) in files {
            let at = at % world.len();
            world[at].side.insert((session(), names[name].clone()), File { bytes, modified });
        }
        let before = world.clone();
        let members = all(&world);
        pass(&mut world, &members);
        let union: BTreeSet<_> = before.iter().flat_map(|replica| replica.side.keys().cloned()).collect();
        for replica in &world {
            let of_session: BTreeSet<_> = replica.side.keys().filter(|(id, _)| *id == session()).cloned().collect();
            let spoken = union.iter().filter(|(_, path)| before.iter().any(|old| old.side.get(&(session(), path.clone())).is_some_and(|file| !file.bytes.is_empty() || !path.as_str().ends_with(".jsonl"))));
            prop_assert!(spoken.into_iter().all(|key| of_session.contains(key)));
            for (key, file) in &replica.side {
                let other = &world[0].side.get(key).map(|other| &other.bytes);
                prop_assert!(key.0 != session() || file.bytes.is_empty() || *other == Some(&file.bytes));
            }
        }
        let kept: BTreeSet<_> = world.iter().flat_map(|replica| replica.lines().into_iter().chain(replica.displaced.iter().flat_map(|bytes| split(bytes)))).collect();
        prop_assert!(before.iter().all(|replica| replica.lines().is_subset(&kept)));
        prop_assert_eq!(pass(&mut world, &members), 0, "the second pass has steps");
    }
}
