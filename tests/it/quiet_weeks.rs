//! The quiet rule over weeks, in a model: no forgotten codespace is kept awake, and what is worked on comes home.

use std::io::Write as _;

use claude_session_sync::reconcile::quiet::{Because, Occasion};

use crate::quiet_model::{Does, Minute, Visit, World};

/// Idle timeouts as GitHub shows them.
const TIMEOUTS: [Option<u32>; 5] = [Some(5), Some(30), Some(60), Some(240), None];
const DAY: Minute = 24 * 60;
const WEEKS: Minute = 21 * DAY;

fn minutes(timeout: Option<u32>) -> Minute {
    i64::from(timeout.unwrap_or(240))
}

/// Starts of the codespace over three weeks, each with room to stop before the next.
fn starts(world: &mut World, timeout: Option<u32>) -> Vec<Minute> {
    let mut starts = vec![10 + world.dice.minutes(DAY)];
    while let Some(last) = starts.last().filter(|last| **last < WEEKS - 3 * DAY) {
        let pause = 12 * minutes(timeout) + 120;
        starts.push(last + pause + world.dice.minutes(2 * DAY));
    }
    starts
}

/// Weeks in which the user opens the codespace now and then, and forgets it each time without a word to the client.
fn forgotten(timeout: Option<u32>, laptops: usize, seed: u64) -> World {
    let mut world = World::new(timeout, laptops, seed);
    world.codespace.idle_client = seed.is_multiple_of(2);
    world.codespace.cap = seed.is_multiple_of(3).then_some(12 * 60);
    for laptop in 0..laptops {
        let (from, hours) = (world.dice.minutes(DAY), world.dice.minutes(14));
        world.laptops[laptop].sleeps = from..from + hours * 60;
    }
    let starts = starts(&mut world, timeout);
    world.run(0..WEEKS + 2 * DAY, |now| if starts.contains(&now) { Does::Edits } else { Does::Nothing });
    assert_eq!(world.runs.len(), starts.len(), "each run ended: {:?}", world.runs);
    world
}

/// How often a machine visited a run without seeing anybody at work.
fn fruitless(visits: &[Visit], laptop: usize, episode: Minute) -> usize {
    visits.iter().filter(|visit| (visit.laptop, visit.episode, visit.fruitful) == (laptop, episode, false)).count()
}

#[test]
fn a_forgotten_codespace_is_visited_at_most_once_in_each_run() {
    for timeout in TIMEOUTS {
        let mut longest = 0;
        for seed in 1..=60 {
            let world = forgotten(timeout, 1, seed);
            for (episode, stopped) in &world.runs {
                let visits = fruitless(&world.visits, 0, *episode);
                assert!(visits <= 1, "{timeout:?}, seed {seed}: {visits} visits of the run that began at {episode}: {:?}", world.visits);
                let extensions = 1 + i64::from(world.codespace.idle_client);
                assert!(stopped - episode <= (1 + extensions) * (minutes(timeout) + 4), "{timeout:?}, seed {seed}: it ran from {episode} to {stopped}");
                longest = longest.max(stopped - episode);
            }
            // A client that was opened when the codespace was started is news, once; then it is merely open.
            let news = |visit: &&Visit| visit.fruitful && (!world.codespace.idle_client || visit.at - visit.episode > minutes(timeout));
            assert_eq!(world.visits.iter().find(news), None, "{timeout:?}, seed {seed}");
        }
        assert!(longest > minutes(timeout) + 4, "{timeout:?}: no visit put any stop off, so nothing was tried");
    }
}

#[test]
fn two_machines_visit_a_forgotten_codespace_once_each_when_they_know_each_other() {
    for timeout in TIMEOUTS {
        let mut met = 0;
        for seed in 1..=60 {
            let world = forgotten(timeout, 2, seed);
            // A machine knows the other from the first visit on that it makes after one of the other's.
            let first = |laptop: usize, after: Minute| world.visits.iter().find(|visit| visit.laptop == laptop && visit.at > after).map(|visit| visit.at);
            let met_at = |laptop: usize| first(1 - laptop, -1).and_then(|other| first(laptop, other)).unwrap_or(Minute::MAX);
            let meeting = met_at(0).max(met_at(1));
            for (episode, stopped) in &world.runs {
                // A client that was opened when the codespace was started is news to each of them at its first visit, and a reason for one
                // more at its next pass. Where one of them comes late with both, the other may look once more.
                let most = if *episode <= meeting || world.codespace.idle_client { 2 } else { 1 };
                for laptop in 0..2 {
                    let visits = fruitless(&world.visits, laptop, *episode);
                    assert!(visits <= most, "{timeout:?}, seed {seed}: {laptop} made {visits} visits of the run that began at {episode}");
                    met += usize::from(visits == 2 && !world.codespace.idle_client);
                }
                assert!(stopped - episode <= 5 * minutes(timeout) + 20, "{timeout:?}, seed {seed}: it ran from {episode} to {stopped}");
            }
        }
        assert!(timeout == Some(5) || met > 0, "{timeout:?}: they never met in a way that cost a visit, so nothing was tried");
    }
}

/// Two machines whose looks fall between each other's visits, and a codespace that is opened once and forgotten.
fn two_in_turns(timeout: Option<u32>, count_others: bool) -> Option<Minute> {
    let mut world = World::new(timeout, 2, 1);
    for (laptop, pass_at) in world.laptops.iter_mut().zip([0, 2]) {
        (laptop.pass_at, laptop.counts_others) = (pass_at, count_others);
    }
    // The second sleeps while the first visits, and wakes before the codespace would stop.
    let wakes = 10 + minutes(timeout) / 2;
    world.laptops[1].sleeps = 0..wakes;
    world.run(0..wakes, |now| if now == 8 { Does::Edits } else { Does::Nothing });
    world.laptops[1].sleeps = 0..0;
    world.run(wakes..2 * WEEKS / 3, |_| Does::Nothing);
    world.runs.first().map(|(_, stopped)| *stopped)
}

#[test]
fn without_the_count_of_machines_two_of_them_keep_a_codespace_awake_for_ever() {
    for timeout in TIMEOUTS.into_iter().filter(|timeout| *timeout != Some(5)) {
        assert_eq!(two_in_turns(timeout, false), None, "{timeout:?}: the count makes no difference here");
        let stopped = two_in_turns(timeout, true).expect("it stops");
        assert!(stopped <= 5 * minutes(timeout) + 40, "{timeout:?}: only at {stopped}");
    }
}

#[test]
fn several_machines_let_a_codespace_stop_also_after_work_that_all_of_them_saw() {
    for timeout in TIMEOUTS {
        for laptops in 1..=4 {
            for seed in 1..=10 {
                let mut world = World::new(timeout, laptops, seed);
                let work = 300 + world.dice.minutes(600);
                world.run(0..12 * DAY, |now| if (100..100 + work).contains(&now) && now % 7 == 0 { Does::Works } else { Does::Nothing });
                let stopped = world.runs.last().map(|(_, stopped)| *stopped).filter(|_| !world.codespace.running).expect("it stops");
                // Each machine sees the work once more, then nothing, and then waits one quiet time of all of them.
                let machines = i64::try_from(laptops).unwrap();
                let bound = 100 + work + (3 * machines + 2) * (minutes(timeout) + 5) + 180;
                assert!(stopped <= bound, "{timeout:?}, {laptops} machines, seed {seed}: work ended at {}, stopped at {stopped}", 100 + work);
            }
        }
    }
}

#[test]
fn work_is_seen_one_idle_timeout_and_a_look_after_it_began_and_then_at_every_pass() {
    for timeout in TIMEOUTS {
        for seed in 1..=40 {
            let mut world = World::new(timeout, 1, seed);
            let (began, length) = (200 + world.dice.minutes(600), 2 * DAY);
            let worked = began..began + length;
            // The user edits first, for a while or not at all, and writes to the client every few minutes then.
            let edits = began - world.dice.minutes(180);
            world.run(0..began + length, |now| match now {
                now if worked.contains(&now) && (now - began) % 4 == 0 => Does::Works,
                now if now >= edits => Does::Edits,
                _ => Does::Nothing,
            });
            let first = world.visits.iter().find(|visit| visit.fruitful).expect("it was seen").at;
            assert!(first <= began + minutes(timeout) + 5 + 5, "{timeout:?}, seed {seed}: began at {began}, seen at {first}");
            let passes = (first + 1..began + length).filter(|now| now % 60 == world.laptops[0].pass_at);
            let mut count = 0;
            for pass in passes {
                let visited = world.visits.iter().any(|visit| visit.at == pass && visit.fruitful);
                assert!(visited, "{timeout:?}, seed {seed}: no visit at the pass of {pass}");
                count += 1;
            }
            assert!(count > 40, "{count} passes were looked at");
        }
    }
}

/// Of five minutes of work that begin at each minute after a visit, while the codespace still runs: the share that a later visit saw
/// whole before it stopped. Over all ways that the looks can fall.
fn share(timeout: Option<u32>, looks: bool, was_active: bool) -> f64 {
    let (mut home, mut all) = (0, 0);
    for phase in 0..5 {
        for work in 1..minutes(timeout) {
            let mut world = World::new(timeout, 1, 7);
            let laptop = &mut world.laptops[0];
            (laptop.pass_at, laptop.looks_every) = (0, None);
            world.codespace.timeout = minutes(timeout);
            // The visit that everything is counted from: of the pass at minute 0.
            world.run(-1..0, |_| Does::Edits);
            let laptop = &mut world.laptops[0];
            laptop.visits(&mut world.codespace, 0, Because::NewEpisode);
            laptop.remembered.active = was_active;
            let end = work + 5;
            let mut seen = false;
            for now in 1..20 * minutes(timeout) + 400 {
                world.run(now..now + 1, |now| if (work..end).contains(&now) { Does::Works } else { Does::Nothing });
                let laptop = &mut world.laptops[0];
                let looked = looks && now % 5 == phase && laptop.occasion(now).is_none();
                let look = looked.then(|| laptop.acts(Occasion::Look, &mut world.codespace, now)).flatten();
                world.visits.extend(look);
                seen |= world.visits.last().is_some_and(|visit| visit.at >= end - 1);
                if seen || (!world.codespace.running && now >= end) {
                    break;
                }
            }
            home += i32::from(seen);
            all += 1;
        }
    }
    f64::from(home) / f64::from(all)
}

#[test]
fn five_minutes_of_work_come_home_before_the_stop_seven_times_in_eight_with_the_look() {
    let mut table = String::from("idle timeout  last visit   hourly alone  with the look\n");
    for timeout in TIMEOUTS {
        for (was_active, word) in [(false, "saw nothing"), (true, "saw work")] {
            let [alone, with] = [false, true].map(|looks| share(timeout, looks, was_active));
            let shown = timeout.map_or("null".to_owned(), |timeout| timeout.to_string());
            table.push_str(&format!("{shown:>12}  {word:<11}  {:>11.1}%  {:>12.1}%\n", alone * 100.0, with * 100.0));
            assert!(with >= alone, "{timeout:?}: the look made it worse\n{table}");
            assert!(!matches!(timeout, Some(30 | 60)) || with >= 7.0 / 8.0, "{timeout:?}\n{table}");
            assert!(timeout != Some(30) || alone < 0.5, "{timeout:?}: without the look it would do, too\n{table}");
        }
    }
    writeln!(std::io::stdout(), "\n{table}").unwrap();
}
