//! Two agents over one store, each with a state of its own, so that no lock keeps them apart; passes by hand beside them; and clients
//! that write, here and there, all the time. Nothing is lost, no session lies twice, both agents end well.
//!
//! `CLAUDE_SESSION_SYNC_RACES` says how many passes the agents make together, else 200.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::agent_process::Agent;
use crate::api::{Api, TOKEN};
use crate::figures::figure;
use crate::races::{lines, places, rounds};
use crate::talk::{Talk, id};
use crate::world::{Side, World};

/// Continued here, there, on both sides, and by a client that has it open here.
const HERE: u32 = 1;
const THERE: u32 = 2;
const BOTH: u32 = 3;
const OPEN: u32 = 4;

/// An agent with its own data, logs and socket; the store and the configuration are those of the home.
fn agent(world: &World, api: &Api, name: &str) -> Agent {
    let base = world.root().join(name);
    let runtime = base.join("run");
    fs::create_dir_all(&runtime).unwrap();
    let mut command = world.command(&[], &["run"]);
    command.env("GH_TOKEN", TOKEN).env("NO_PROXY", "*").env("XDG_RUNTIME_DIR", &runtime).env("XDG_STATE_HOME", base.join("log"));
    if name != "first" {
        command.env("XDG_DATA_HOME", base.join("data"));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(api.url().starts_with("http"));
    Agent::start(&mut command, &runtime.join("claude-session-sync"))
}

/// Everything that was written, and by whom it may be looked for.
#[derive(Default)]
struct Written(Mutex<Vec<String>>);

impl Written {
    /// One line more, as the client writes it: the file is opened for it. Nothing while the session is not there yet.
    fn goes_on(&self, side: &Side, number: u32, text: &str) {
        let Some(path) = side.paths(&id(number)).into_iter().next() else { return };
        let line = json!({"type": "user", "timestamp": chrono::Utc::now(), "message": {"role": "user", "content": text}}).to_string();
        // Between the two names of an exchange there always is a file.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.0.lock().unwrap().push(line);
    }

    fn begins(&self, side: &Side, number: u32) {
        let talk = Talk::begun(&id(number), &side.at("widget"), 5, &format!("begun {number}"));
        side.put(&talk);
        self.0.lock().unwrap().extend(String::from_utf8_lossy(&talk.bytes).lines().map(str::to_owned));
    }
}

/// One pass after the other, as long as there are any to be made. In how many the visit went to its end, and in how many of these
/// something was moved.
fn keeps_asking(agent: &Agent, made: &AtomicUsize, rounds: usize) -> (usize, usize) {
    let (mut good, mut moved) = (0, 0);
    let mut last = Value::Null;
    while made.fetch_add(1, Ordering::Relaxed) < rounds {
        agent.ask("sync");
        let status = agent.until("a pass is over", |status| status["doing"]["is"] == "idle" && status["last_pass"]["began"] != last);
        last = status["last_pass"]["began"].clone();
        let summary = status["last_pass"]["summary"].as_str().unwrap_or_default();
        if status["last_pass"]["good"] == true && summary.starts_with("1 visited:") {
            good += 1;
            moved += usize::from(summary.contains("came here") || summary.contains("went there"));
        }
    }
    (good, moved)
}

#[test]
fn two_agents_and_passes_by_hand_over_one_store_lose_nothing_while_clients_write() {
    let rounds = rounds(200);
    let api = Api::start();
    let (mut world, far) = World::with_box();
    world.set(&format!("[github]\napi_url = \"{}\"\n[schedule]\nevery = \"0 0 1 1 *\"\nlook = \"0s\"\njitter = \"0s\"", api.url()));
    let (written, made) = (Written::default(), AtomicUsize::new(0));
    for number in [HERE, THERE, BOTH, OPEN] {
        written.begins(&world.here, number);
    }
    world.passes();
    let client = world.here.open(&Talk::begun(&id(OPEN), &world.here.at("widget"), 5, "open"));
    let agents = ["first", "second"].map(|name| agent(&world, &api, name));
    let (mut by_hand, mut gave_way, mut turn) = (0, 0, 0);
    let passes: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let made = &made;
        let asking: Vec<_> = agents.iter().map(|agent| scope.spawn(move || keeps_asking(agent, made, rounds))).collect();
        while made.load(Ordering::Relaxed) < rounds {
            turn += 1;
            let text = format!("turn {turn}");
            for (side, numbers) in [(&world.here, [HERE, BOTH, OPEN]), (&far, [THERE, BOTH, BOTH])] {
                numbers.iter().for_each(|number| written.goes_on(side, *number, &format!("{text} at {}", side.name)));
            }
            if turn % 8 == 0 {
                written.begins(if turn % 16 == 0 { &world.here } else { &far }, 100 + turn);
            }
            if turn % 4 == 0 {
                let ran = world.sync(&[]);
                assert!([0, 3, 75].contains(&ran.code), "{ran:?}");
                by_hand += 1;
                gave_way += u32::from(ran.code == 75);
            }
            // Asserts that no session lies twice.
            drop((world.here.sessions(), far.sessions()));
        }
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    drop(client);
    for agent in agents {
        assert_eq!(agent.ask("stop"), json!({"answer": "done"}));
        assert!(agent.ended_well());
    }
    for _ in 0..3 {
        let ran = world.sync(&[]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let mut places = places(&world, &far);
    places.push(world.root().join("second/data/claude-session-sync/vault"));
    let (left, written) = (lines(&places), written.0.into_inner().unwrap());
    let lost: BTreeSet<&String> = written.iter().filter(|line| !left.contains(*line)).collect();
    assert!(lost.is_empty(), "{} of {} lines lost, the first {:?}", lost.len(), written.len(), lost.first());
    assert_eq!(world.here.sessions(), far.sessions());
    let (good, moved) = passes.iter().fold((0, 0), |all, of_one| (all.0 + of_one.0, all.1 + of_one.1));
    let lines = written.len();
    figure(&format!(
        "{rounds} passes of two agents, {good} of them good, {moved} moved something; {by_hand} by hand ({gave_way} gave way), {lines} lines in {turn} turns, none lost"
    ));
    assert!(good * 4 > rounds * 3, "most passes are good: {passes:?} of {rounds}");
    assert!(passes.iter().all(|(_, moved)| *moved > 0), "each of them moved something: {passes:?}");
}
