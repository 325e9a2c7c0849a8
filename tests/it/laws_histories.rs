//! Every short history of the plan: at most three members, three kinds of lines and five steps, of which none is left out.
//!
//! A step appends a line, takes the last one away, deletes the session, or is a pass over the laptop and one member, or over all.
//! What a pass makes of its members depends on what they hold alone, so each is carried out once and remembered, and histories
//! that lead to the same world are one. Then every world is brought to rest in three ways, which must agree.

use std::collections::{BTreeSet, HashMap, HashSet};

use claude_session_sync::reconcile::order::rank;

use crate::figures::figure;
use crate::laws_model::{Replica, line, lines_of, pass, session, split};

const STEPS: usize = 5;
const MEMBERS: usize = 3;
/// The laptop and one other, or everybody.
const VISITS: [&[usize]; 3] = [&[0, 1], &[0, 2], &[0, 1, 2]];
/// Rounds of visits until nothing moves; a world that needs more never rests.
const ROUNDS: usize = 6;

/// What one member holds, by its number.
type Held = usize;
type World = [Held; MEMBERS];

/// All that members ever held, and what passes made of it.
#[derive(Default)]
struct Book {
    members: Vec<Replica>,
    numbers: HashMap<Replica, Held>,
    passes: HashMap<Vec<Held>, (Vec<Held>, usize)>,
}

impl Book {
    fn number(&mut self, mut replica: Replica) -> Held {
        replica.displaced.clear();
        *self.numbers.entry(replica).or_insert_with_key(|replica| {
            self.members.push(replica.clone());
            self.members.len() - 1
        })
    }

    /// One member after somebody worked there.
    fn worked(&mut self, held: Held, work: impl FnOnce(&mut Vec<u8>)) -> Held {
        let mut replica = self.members[held].clone();
        let mut bytes = replica.transcripts.remove(&session()).unwrap_or_default();
        work(&mut bytes);
        if !bytes.is_empty() {
            replica.transcripts.insert(session(), bytes);
        }
        self.number(replica)
    }

    /// A pass over these members, and how many steps it had.
    fn pass(&mut self, world: World, members: &[usize]) -> (World, usize) {
        let key: Vec<Held> = members.iter().map(|member| world[*member]).collect();
        let (after, steps) = match self.passes.get(&key) {
            Some(known) => known.clone(),
            None => {
                let done = self.carry_out(&key);
                self.passes.insert(key, done.clone());
                done
            }
        };
        let mut world = world;
        members.iter().zip(after).for_each(|(member, held)| world[*member] = held);
        (world, steps)
    }

    /// The laws that one pass must hold, whatever came before it.
    fn carry_out(&mut self, held: &[Held]) -> (Vec<Held>, usize) {
        let before: Vec<Replica> = held.iter().map(|held| self.members[*held].clone()).collect();
        let mut after = before.clone();
        let steps = pass(&mut after, &(0..held.len()).collect::<Vec<_>>());
        let kept: BTreeSet<Vec<u8>> =
            after.iter().flat_map(|replica| replica.lines().into_iter().chain(replica.displaced.iter().flat_map(|bytes| split(bytes)))).collect();
        for (old, new) in before.iter().zip(&after) {
            assert!(old.lines().is_subset(&kept), "law 1, a line is lost: {before:?}");
            assert!(old.transcripts.keys().all(|id| new.transcripts.contains_key(id)), "law 6, a session is gone: {before:?}");
            for (id, bytes) in &old.transcripts {
                assert!(rank(&lines_of(bytes).content) <= rank(&lines_of(&new.transcripts[id]).content), "law 3, a copy was outranked: {before:?}");
            }
        }
        // What a pass was shown it remembers.
        for replica in &mut after {
            replica.seen.extend(replica.transcripts.clone());
        }
        (after.into_iter().map(|replica| self.number(replica)).collect(), steps)
    }

    /// Passes over these groups until nothing moves.
    fn settle(&mut self, mut world: World, groups: &[&[usize]]) -> World {
        for _ in 0..ROUNDS {
            let mut moved = 0;
            for members in groups {
                let steps;
                (world, steps) = self.pass(world, members);
                moved += steps;
            }
            if moved == 0 {
                return world;
            }
        }
        panic!("law 3: the members never come to rest: {:?}", world.map(|held| &self.members[held]));
    }

    fn next(&mut self, world: World, lines: &[Vec<u8>]) -> Vec<World> {
        let mut next = Vec::new();
        for member in 0..MEMBERS {
            let mut work = |work: &dyn Fn(&mut Vec<u8>)| {
                let mut world = world;
                world[member] = self.worked(world[member], work);
                next.push(world);
            };
            lines.iter().for_each(|line| work(&|bytes| bytes.extend_from_slice(line)));
            work(&|bytes| {
                let last = split(bytes).last().map_or(0, Vec::len);
                bytes.truncate(bytes.len() - last);
            });
            work(&|bytes| bytes.clear());
        }
        next.extend(VISITS.iter().map(|members| self.pass(world, members).0));
        next
    }

    /// However the members are visited, all end with the same content. Where somebody deleted the session, it may come back to them in
    /// one order and not in another: a loser that is no beginning of what they deleted can reach them before it has lost, or not.
    fn agrees(&mut self, world: World) {
        let ways: [&[&[usize]]; 3] = [&[VISITS[0], VISITS[1]], &[VISITS[1], VISITS[0]], &[VISITS[2]]];
        let ends = ways.map(|groups| self.settle(world, groups));
        let main = |held: Held| self.members[held].main();
        let deleted = world.iter().any(|held| main(*held).is_none() && self.members[*held].seen.contains_key(&session()));
        let told = || world.map(|held| &self.members[held]);
        // Members whose laptop does not hold it do not meet, unless one pass has them all.
        let met: Vec<World> = ends.into_iter().enumerate().filter(|(way, end)| *way == 2 || main(end[0]).is_some()).map(|(_, end)| end).collect();
        let outcomes: HashSet<_> = met.iter().map(|end| end.map(main)).collect();
        let contents: HashSet<_> = outcomes.iter().flatten().flatten().collect();
        assert!(contents.len() <= 1, "law 3, two contents: {:?}", told());
        assert!(deleted || outcomes.len() == 1, "law 3, another outcome in another order: {:?}", told());
        let mut forks = HashMap::new();
        for held in ends.into_iter().flatten() {
            for (id, bytes) in self.members[held].transcripts.iter().filter(|(id, _)| **id != session()) {
                assert_eq!(forks.entry(id).or_insert(bytes), &bytes, "law 4, one fork, two contents: {:?}", told());
            }
        }
    }
}

fn every_history(lines: &[Vec<u8>]) -> (usize, usize) {
    let mut book = Book::default();
    let nothing = book.number(Replica::default());
    let mut worlds: HashSet<World> = HashSet::from([[nothing; MEMBERS]]);
    let mut last = worlds.clone();
    for _ in 0..STEPS {
        let next: HashSet<World> = last.iter().flat_map(|world| book.next(*world, lines)).collect();
        last = next.difference(&worlds).copied().collect();
        worlds.extend(&last);
    }
    for world in &worlds {
        book.agrees(*world);
    }
    (worlds.len(), book.passes.len())
}

#[test]
fn every_history_of_three_members_three_lines_and_five_steps_ends_alike_however_it_is_settled() {
    let lines = [line("user", Some(20), "a"), line("assistant", Some(10), "b"), line("mode", None, "m")];
    let steps = MEMBERS * (lines.len() + 2) + VISITS.len();
    let (worlds, passes) = every_history(&lines);
    let histories = steps.pow(u32::try_from(STEPS).unwrap());
    figure(&format!("{histories} histories, {worlds} worlds, {passes} passes that differ"));
}
