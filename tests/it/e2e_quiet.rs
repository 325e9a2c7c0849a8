//! The quiet rule through a real sshd: passes and looks of an agent, told the time, against a codespace that others visit, too.

use std::fs;
use std::io::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use claude_session_sync::pass::look::{Expiring, Looked, Unsaved};
use claude_session_sync::pass::survey::Survey;
use claude_session_sync::pass::{self, Options, Setting};
use claude_session_sync::reconcile::quiet::{Because, Occasion};
use claude_session_sync::reconcile::report::{Outcome, Report};
use claude_session_sync::state::{QuietMemory, State};
use serde_json::json;

use crate::api::TOKEN;
use crate::e2e_world::{Laptop, REPOSITORY, transcript};
use crate::far::Far;
use crate::remote_far::names;
use crate::remote_script::Living;
use crate::rows::row;

/// The codespace of these tests. Its idle timeout is 30 minutes.
const NAME: &str = "shared-1";

/// An agent of a laptop: what it keeps from one pass to the next, and the time that it is told.
struct Agent<'a> {
    laptop: &'a Laptop,
    setting: Setting,
    began: DateTime<Utc>,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl<'a> Agent<'a> {
    fn of(laptop: &'a Laptop) -> Self {
        Self { laptop, setting: laptop.setting(), began: Utc::now() }
    }

    fn at(&self, minute: i64) -> DateTime<Utc> {
        self.began + TimeDelta::minutes(minute)
    }

    fn run(&self, minute: i64, occasion: Option<Occasion>, names: &[&str]) -> Report {
        let options = Options { occasion, names: names.iter().map(|name| (*name).to_owned()).collect(), ..Options::default() };
        block_on(pass::run(&self.setting, &options, self.at(minute))).unwrap()
    }

    /// What a pass of the schedule made of the codespace.
    fn pass(&self, minute: i64) -> Outcome {
        self.run(minute, Some(Occasion::Pass), &[]).visits.remove(0).outcome
    }

    fn look(&self, minute: i64) -> Looked {
        block_on(pass::look(&self.setting, self.at(minute)))
    }

    fn due(&self, minute: i64) -> Vec<Because> {
        self.look(minute).due.into_iter().map(|(_, because)| because).collect()
    }

    fn memory(&self) -> QuietMemory {
        State::open(&self.setting.paths.state).unwrap().visits[NAME].quiet.clone()
    }

    fn connections(&self) -> usize {
        self.laptop.at(NAME).connections()
    }
}

/// A laptop with the codespace.
fn one() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(NAME)?;
    Some(laptop)
}

/// Two laptops of one user with the same codespace, which the first one owns here.
fn two() -> Option<(Laptop, Laptop)> {
    let (first, second) = (one()?, Laptop::new()?);
    let mut listed = row(NAME, REPOSITORY, "Available");
    listed["recent_folders"] = first.api.get(NAME, "recent_folders");
    second.api.put(listed);
    second.gh.leads_to(NAME, first.at(NAME));
    Some((first, second))
}

fn waits(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::NotVisited { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_visits_a_run_once_and_again_only_when_it_outlives_its_idle_timeout() {
    let Some(laptop) = one() else { return };
    laptop.session(1, "here", 60);
    let agent = Agent::of(&laptop);
    assert_eq!(agent.due(0), [Because::FirstVisit]);
    assert_eq!(agent.connections(), 0, "a look connects to nothing");
    assert_eq!(agent.pass(0), Outcome::Visited);
    assert!(agent.memory().ended.is_some_and(|ended| ended >= agent.at(0) && ended < agent.at(2)));
    let outcome = agent.pass(20);
    assert!(waits(&outcome).starts_with("quiet until ") && waits(&outcome).ends_with(" (idle timeout 30 min)"), "{outcome:?}");
    let looked = agent.look(20);
    assert_eq!((looked.due, looked.next), (Vec::new(), agent.memory().ended.map(|ended| ended + TimeDelta::minutes(35))));
    assert_eq!(agent.connections(), 1);
    let next = |minute| Survey::open(&agent.setting, agent.at(minute)).unwrap().places[0].next.unwrap();
    assert_eq!((next(20).words(agent.at(20), &Utc).starts_with("quiet until "), next(37).is_due()), (true, true));
    assert!(matches!(agent.due(37)[..], [Because::StillRunning { .. }]));
    let report = agent.run(37, Some(Occasion::Look), &[NAME, "gone-since"]);
    assert_eq!((report.visits.len(), &report.visits[0].outcome), (1, &Outcome::Visited), "a name that is gone is no error");
    assert_eq!(agent.connections(), 2);
    // Started anew: due at once. Started and stopped: not.
    laptop.api.set(NAME, "last_used_at", "2026-08-03T10:00:00Z");
    assert_eq!(agent.due(38), [Because::NewEpisode]);
    laptop.api.set(NAME, "state", "Shutdown");
    let looked = agent.look(38);
    assert_eq!((looked.due, looked.next), (Vec::new(), None));
    assert_eq!(waits(&agent.pass(38)), "Shutdown");
    laptop.api.set(NAME, "state", "Available");
    assert_eq!(agent.pass(39), Outcome::Visited);
    // By hand it is always visited, and the policy can ask for that, too.
    assert_eq!(waits(&agent.pass(40)).split(' ').next(), Some("quiet"));
    assert_eq!(agent.run(40, None, &[NAME]).visits[0].outcome, Outcome::Visited);
    laptop.configure("[sync]\nidle_policy = \"always\"\n");
    assert_eq!(Agent { setting: laptop.setting(), ..agent }.pass(41), Outcome::Visited);
}

#[test]
fn a_machine_is_visited_at_every_pass_and_at_no_look() {
    let Some(laptop) = Laptop::new() else { return };
    let far = Far::new();
    let machine =
        format!("[[machine]]\nname = \"box\"\nrepositories = [\"{REPOSITORY}\"]\ncommand = {:?}\nworkspaces = {:?}\n", far.command(), far.workspaces());
    laptop.configure(&machine);
    let agent = Agent::of(&laptop);
    for minute in [0, 1] {
        assert_eq!(agent.pass(minute), Outcome::Visited);
    }
    let report = agent.run(2, Some(Occasion::Look), &["box"]);
    assert_eq!(waits(&report.visits[0].outcome), "a machine is visited at every pass, and not between them");
    assert!(!far.claude().join(".claude-session-sync").exists(), "only a codespace can be kept awake, so nobody is counted here");
}

#[test]
fn two_laptops_that_push_to_a_codespace_see_no_work_in_that_and_know_of_each_other() {
    let Some((first, second)) = two() else { return };
    let agents = [Agent::of(&first), Agent::of(&second)];
    // Messages that are younger than any visit here: the pushed files have their times.
    first.session(1, "of the first", -1);
    second.session(2, "of the second", -2);
    for (turn, minute) in [(0, 0), (1, 1), (0, 80), (1, 160)] {
        let agent = &agents[turn];
        assert_eq!(agent.pass(minute), Outcome::Visited);
        assert!(!agent.memory().active, "at {minute}: a push was taken for work");
        let cwd = agent.laptop.root();
        let number = 10 + u32::try_from(minute).unwrap();
        crate::e2e_world::put_session(&agent.laptop.claude(), &cwd, number, &transcript(number, &cwd, "more", -3));
    }
    assert_eq!(agents.each_ref().map(|agent| agent.memory().others), [1, 1]);
    assert_eq!(names(&first.claude_at(NAME).join(".claude-session-sync/agents")).len(), 2);
    let outcome = agents[1].pass(200);
    assert!(waits(&outcome).ends_with("(idle timeout 30 min, another machine visits it, too)"), "{outcome:?}");
    // Without the notes of pushes the same visit would have taken one for work.
    assert_eq!(agents[0].pass(240), Outcome::Visited);
    fs::remove_file(first.claude_at(NAME).join(".claude-session-sync/pushed")).unwrap();
    assert_eq!(agents[1].pass(320), Outcome::Visited);
    assert!(agents[1].memory().active, "nothing was tried here");
}

#[test]
fn a_client_that_is_merely_open_is_no_work_and_one_that_writes_is() {
    let Some(laptop) = one() else { return };
    let file = laptop.session_at(NAME, 5, "there", 600);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(36_000);
    fs::File::options().append(true).open(&file).unwrap().set_modified(old).unwrap();
    let living = Living::start();
    let entry = |updated: DateTime<Utc>| {
        let (session, began) = (crate::e2e_world::id(5), living.began());
        let entry = json!({"pid": living.pid(), "sessionId": session, "procStart": began, "status": "idle", "updatedAt": updated.timestamp_millis()});
        fs::write(laptop.claude_at(NAME).join(format!("sessions/{}.json", living.pid())), entry.to_string()).unwrap();
        laptop.at(NAME).give(&laptop.claude_at(NAME));
    };
    let agent = Agent::of(&laptop);
    let mut minute = 0;
    let mut active = || {
        minute += 100;
        assert_eq!(agent.pass(minute), Outcome::Visited);
        agent.memory().active
    };
    entry(Utc::now() - TimeDelta::hours(9));
    assert!(!active() && !active(), "forgotten in a terminal");
    assert_eq!(agent.memory().live.len(), 1, "the client is not seen at all");
    entry(Utc::now() + TimeDelta::seconds(2));
    assert!(active(), "it was used");
    assert!(!active(), "and then no more");
    fs::File::options().append(true).open(&file).unwrap().write_all(b"{\"type\":\"mode\"}\n").unwrap();
    assert!(active(), "it writes");
    assert_eq!(agent.pass(minute_after(&agent)), Outcome::Visited, "the next pass comes back, however soon");
    assert!(waits(&agent.pass(minute_after(&agent))).starts_with("quiet until "));
}

/// A minute after the last connection, by the agent's time.
fn minute_after(agent: &Agent<'_>) -> i64 {
    (agent.memory().ended.unwrap() - agent.began).num_minutes() + 1
}

#[test]
fn attempts_that_fail_are_few_and_wait_longer_each_time() {
    let Some(laptop) = one() else { return };
    let agent = Agent::of(&laptop);
    let failed = |outcome: Outcome| assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    laptop.gh.entry(NAME, json!({"fail": "error connecting to SSH server: context deadline exceeded", "code": 1}));
    for minute in [0, 1, 2, 3] {
        failed(agent.pass(minute));
        assert_eq!(agent.due(minute), [], "a look does not try again");
    }
    let outcome = agent.pass(4);
    assert!(waits(&outcome).ends_with("(idle timeout 30 min, 4 attempts failed)"), "{outcome:?}");
    assert!(agent.due(170).is_empty() && agent.due(180).len() == 1);
    laptop.gh.entry(NAME, json!({"fail": null}));
    assert_eq!(agent.pass(180), Outcome::Visited);
    assert_eq!(agent.memory().failures, 0);
    // What lasts as long as the codespace runs is not tried at every pass.
    laptop.api.set(NAME, "last_used_at", "2026-08-03T10:00:00Z");
    laptop.gh.entry(NAME, json!({"fail": "Please check if an SSH server is installed in the container.", "code": 1}));
    failed(agent.pass(181));
    assert!(waits(&agent.pass(241)).starts_with("quiet until "));
    failed(agent.pass(255));
    laptop.api.set(NAME, "last_used_at", "2026-08-04T10:00:00Z");
    failed(agent.pass(256));
    assert_eq!(agent.memory().failures, 1, "another run");
}

#[test]
fn a_clock_that_is_set_back_costs_one_quiet_time() {
    let Some(laptop) = one() else { return };
    let agent = Agent::of(&laptop);
    assert_eq!(agent.pass(0), Outcome::Visited);
    let year = -365 * 24 * 60;
    assert!(waits(&agent.pass(year)).starts_with("quiet until "));
    assert!(waits(&agent.pass(year + 30)).starts_with("quiet until "));
    assert_eq!(agent.pass(year + 36), Outcome::Visited);
}

#[test]
fn a_codespace_without_a_session_knows_who_visits_after_the_first_visit_and_nothing_after_a_dry_run() {
    let Some((first, second)) = two() else { return };
    let own = first.claude_at(NAME).join(".claude-session-sync");
    first.report(&["--dry-run"]).good();
    assert!(!own.exists() && !first.claude().join(".claude-session-sync").exists());
    first.report(&[]).good();
    assert_eq!(names(&own.join("agents")).len(), 1);
    second.report(&[]).good();
    assert_eq!(names(&own.join("agents")).len(), 2);
    let second = Agent::of(&second);
    assert_eq!((second.memory().others, second.memory().active), (1, false));
}

#[test]
fn a_look_costs_one_request_and_no_program_and_finds_a_new_token_by_itself() {
    let Some(mut laptop) = one() else { return };
    laptop.token = None;
    laptop.gh.login(TOKEN);
    laptop.configure(&format!("[programs]\ngh = \"{}\"\n", laptop.gh.program().display()));
    let agent = Agent::of(&laptop);
    let lookups = || laptop.gh.calls().iter().filter(|call| call.argv.starts_with(&["auth".to_owned(), "token".to_owned()])).count();
    for _ in 0..3 {
        assert_eq!(agent.look(0).fault, None);
    }
    let requests = laptop.api.requests();
    assert_eq!((requests.len(), lookups()), (3, 1));
    assert!(requests[1..].iter().all(|asked| asked.header("if-none-match").is_some()), "the pages are not kept");
    laptop.api.set_token("gho_another");
    laptop.gh.login("gho_another");
    assert_eq!(agent.look(0).fault, None);
    assert_eq!(lookups(), 2);
    laptop.gh.login("gho_wrong");
    laptop.api.set_token("gho_right");
    assert!(agent.look(0).fault.is_some_and(|fault| fault.message.contains("gh auth token") && fault.permanent));
    assert_eq!(agent.look(0).due, []);
    // A pass asks anew, and keeps what is known of the pages where nothing changed.
    laptop.gh.login("gho_right");
    agent.run(0, Some(Occasion::Look), &[]);
    let before = lookups();
    agent.run(0, Some(Occasion::Look), &[]);
    assert_eq!(lookups(), before + 1);
    assert!(laptop.api.requests().last().unwrap().header("if-none-match").is_some());
}

#[test]
fn a_stopped_codespace_on_its_way_to_deletion_is_spoken_of_while_something_may_be_lost() {
    let Some(laptop) = one() else { return };
    laptop.session_at(NAME, 5, "there", 600);
    let agent = Agent::of(&laptop);
    let expires = |days: i64| laptop.api.set(NAME, "retention_expires_at", (agent.began + TimeDelta::days(days)).to_rfc3339());
    let unsaved = || agent.look(1).expiring.iter().map(|expiring: &Expiring| expiring.unsaved).collect::<Vec<_>>();
    expires(3);
    assert_eq!(unsaved(), [], "it runs, so it is visited");
    laptop.api.set(NAME, "state", "Shutdown");
    let expiring = agent.look(1).expiring.remove(0);
    assert_eq!(expiring.unsaved, Unsaved::NeverVisited);
    assert_eq!(expiring.command, format!("gh codespace ssh -c {NAME} -- true && claude-session-sync sync {NAME} --wait"));
    assert_eq!((expiring.at - agent.began).num_days(), 3);
    expires(8);
    assert_eq!(unsaved(), []);
    laptop.api.set(NAME, "state", "Available");
    assert_eq!(agent.pass(1), Outcome::Visited);
    laptop.api.set(NAME, "state", "Shutdown");
    expires(3);
    assert_eq!(unsaved(), [Unsaved::AtWork], "it was written a moment before the visit");
    laptop.api.set(NAME, "state", "Available");
    assert_eq!(agent.pass(60), Outcome::Visited);
    laptop.api.set(NAME, "state", "Shutdown");
    assert_eq!(unsaved(), [], "all of it is home");
    laptop.api.set(NAME, "last_used_at", "2026-08-03T10:00:00Z");
    assert_eq!(unsaved(), [Unsaved::StartedSince]);
}
