//! GitHub's faults, seen from the program's own end: exit code, one message with the token's source, a hint, few requests; the
//! machines are visited all the same, the archive is made, and nothing is concluded from a list that was not to be had.

use std::net::{Ipv4Addr, TcpListener};

use claude_session_sync::pass::Setting;
use claude_session_sync::reconcile::report::{FaultKind, Outcome};

use crate::api::{Answer, Api};
use crate::e2e_world::{Laptop, Told, id, put_clone, put_session, transcript, transcripts};
use crate::far::Far;
use crate::rows::row;

const LIST: &str = "/user/codespaces";
const BOX: &str = "fluffy-space-guacamole-5g9x7";

struct Case {
    answer: Answer,
    /// What the message must hold.
    text: &'static str,
    hint: Option<&'static str>,
    requests: usize,
}

fn case(answer: Answer, text: &'static str, hint: Option<&'static str>, requests: usize) -> Case {
    Case { answer, text, hint, requests }
}

fn cases() -> Vec<Case> {
    let reset = (chrono::Utc::now().timestamp() + 1800).to_string();
    let limited = |status| Answer::error(status, "API rate limit exceeded").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", &reset);
    let status_page = Some("githubstatus.com");
    vec![
        case(Answer::error(401, "Bad credentials"), "the token from GH_TOKEN (HTTP 401: Bad credentials)", Some("gh auth login -h github.com -s codespace"), 1),
        case(Answer::error(403, "Must have admin rights to Repository."), "the token from GH_TOKEN may not read codespaces", Some("scope `codespace`"), 1),
        case(Answer::error(404, "Not Found").with("x-oauth-scopes", "repo"), "the token from GH_TOKEN may not read codespaces", Some("scope `codespace`"), 1),
        case(limited(403), "the limit of requests for the token from GH_TOKEN is used up until", None, 1),
        case(Answer::error(403, "You have exceeded a secondary rate limit"), "the user of the token from GH_TOKEN to wait 60 s", None, 1),
        case(limited(429), "the token from GH_TOKEN is used up until", None, 1),
        case(Answer::new(429, "").with("retry-after", "30"), "the token from GH_TOKEN to wait 30 s (HTTP 429)", None, 1),
        case(Answer::error(404, "Not Found"), "GitHub has no /user/codespaces for the token from GH_TOKEN", Some("check `[github] api_url`"), 1),
        case(Answer::new(500, ""), "the token from GH_TOKEN (HTTP 500)", status_page, 3),
        case(Answer::new(502, "<html><h1>Bad gateway</h1></html>"), "the token from GH_TOKEN (HTTP 502)", status_page, 3),
        case(Answer::new(503, "unicorn"), "the token from GH_TOKEN (HTTP 503)", status_page, 3),
        case(Answer::new(200, ""), "with the token from GH_TOKEN is not GitHub's: it is empty", None, 1),
        case(Answer::new(200, "<!DOCTYPE html><p>Sign in"), "with the token from GH_TOKEN is not GitHub's: it is HTML, not JSON", None, 1),
        case(Answer::new(200, "{\"codespaces\": [}"), "with the token from GH_TOKEN is not GitHub's: it is no JSON", None, 1),
        case(Answer::new(200, "{\"codespaces\": [{"), "its JSON ends in the middle", None, 1),
        case(Answer::new(200, "{\"message\": 1}"), "it is JSON, but not a list of codespaces", None, 1),
        case(Answer::cut(200, "{\"codesp"), "broke off in the middle of an answer", None, 3),
    ]
}

/// A laptop with a codespace that it has visited, a machine, and a session on every side; the second returned is the machine.
fn world() -> Option<(Laptop, Far)> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BOX)?;
    let far = Far::new();
    put_clone(&far.workspaces().join("widget"), "acme/widget");
    laptop.session(1, "here", 30);
    laptop.session_at(BOX, 2, "in the codespace", 20);
    configure(&laptop, &far);
    laptop.report(&[]).good();
    Some((laptop, far))
}

fn configure(laptop: &Laptop, far: &Far) {
    let machine = format!("[[machine]]\nname = \"box\"\ncommand = {:?}\nrepositories = [\"acme/widget\"]\n", far.command());
    laptop.configure(&format!("{machine}workspaces = \"{}\"\n", far.workspaces().display()));
}

fn session_in(far: &Far, number: u32) {
    let root = far.workspaces().join("widget");
    put_session(&far.claude(), &root, number, &transcript(number, &root, "in the machine", 10));
}

fn one_message(told: &Told, text: &str, hint: Option<&str>) {
    assert_eq!(told.stderr.matches("error: the codespaces cannot be listed").count(), 1, "{text}: {told:?}");
    assert_eq!(told.stderr.matches("error:").count(), 1, "{text}: {told:?}");
    assert!(told.stderr.contains(text), "{text}: {told:?}");
    let hints: Vec<&str> = told.stderr.lines().filter(|line| line.contains("hint:")).collect();
    match hint {
        Some(hint) => assert!(hints.len() == 1 && hints[0].contains(hint), "{text}: {told:?}"),
        None => assert!(hints.is_empty(), "{text}: {told:?}"),
    }
}

#[test]
fn every_fault_of_the_list_ends_with_1_and_one_message_while_machines_are_visited_and_all_is_archived() {
    let Some((laptop, far)) = world() else { return };
    for (number, Case { answer, text, hint, requests }) in (100..).zip(cases()) {
        laptop.api.always("GET", LIST, answer);
        session_in(&far, 2 * number);
        let mine = transcript(2 * number + 1, &laptop.root(), "not yet archived", 5);
        put_session(&laptop.claude(), &laptop.root(), 2 * number + 1, &mine);
        let (there, asked, connected) = (transcripts(&laptop.claude_at(BOX)), laptop.api.requests().len(), laptop.at(BOX).connections());
        let before = transcripts(&laptop.claude());
        let told = laptop.sync(&[]);
        assert_eq!(told.code, 1, "{text}: {told:?}");
        one_message(&told, text, hint);
        assert_eq!(laptop.api.requests().len() - asked, requests, "{text}: a storm of requests, or none");
        assert_eq!((transcripts(&laptop.claude_at(BOX)), laptop.at(BOX).connections()), (there, connected), "{text}: the codespace was touched");
        let after = transcripts(&laptop.claude());
        assert!(before.iter().all(|(name, content)| after.get(name) == Some(content)), "{text}: something was concluded");
        assert!(after.contains_key(&id(2 * number)), "{text}: the machine's session did not come home");
        assert_eq!(transcripts(&far.claude()), after, "{text}: the machine is not equal");
        assert!(laptop.keeps(&mine), "{text}: the session here was not archived");
    }
    assert!(laptop.api.posts().is_empty());
    // GitHub is back: everything that came meanwhile goes there, and nothing was deleted in between.
    let recovered = Answer::json(200, &serde_json::json!({"total_count": 1, "codespaces": [laptop_row(&laptop)]}));
    laptop.api.always("GET", LIST, recovered);
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude_at(BOX)), transcripts(&laptop.claude()));
}

fn laptop_row(laptop: &Laptop) -> serde_json::Value {
    let mut listed = row(BOX, "acme/widget", "Available");
    listed["recent_folders"] = serde_json::json!([laptop.root_at(BOX)]);
    listed
}

#[test]
fn a_fault_of_the_list_is_in_the_report_for_programs() {
    let Some((laptop, _far)) = world() else { return };
    laptop.api.always("GET", LIST, Answer::error(401, "Bad credentials"));
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 1);
    let fault = ran.report().listing.clone().unwrap();
    assert!(fault.message.contains("GH_TOKEN") && fault.permanent, "{fault:?}");
    assert_eq!(ran.visit("box").outcome, Outcome::Visited);
    assert!(!ran.report().visits.iter().any(|visit| visit.name == BOX));
}

#[test]
fn a_pass_over_named_machines_asks_nothing_of_github() {
    let Some((laptop, far)) = world() else { return };
    laptop.api.always("GET", LIST, Answer::error(401, "Bad credentials"));
    session_in(&far, 50);
    let asked = laptop.api.requests().len();
    let told = laptop.sync(&["box"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    assert_eq!(laptop.api.requests().len(), asked);
    assert!(transcripts(&laptop.claude()).contains_key(&id(50)));
}

#[test]
fn a_network_that_is_down_is_said_once_with_what_to_check() {
    let Some((laptop, far)) = world() else { return };
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    configure(&laptop, &far);
    let file = laptop.home().join(".config/claude-session-sync/config.toml");
    let config = std::fs::read_to_string(&file).unwrap().replace(&laptop.api.url(), &format!("http://127.0.0.1:{port}"));
    std::fs::write(&file, config).unwrap();
    session_in(&far, 50);
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    one_message(&told, &format!("cannot connect to http://127.0.0.1:{port}"), Some("check the network"));
    assert!(transcripts(&laptop.claude()).contains_key(&id(50)), "the machine was not visited");
    let named = laptop.sync(&[BOX]);
    assert_eq!(named.code, 1, "{named:?}");
    one_message(&named, "cannot connect to", Some("check the network"));
}

#[test]
fn without_any_token_the_message_says_where_it_was_looked_for() {
    let Some((mut laptop, _far)) = world() else { return };
    laptop.token = None;
    let asked = laptop.api.requests().len();
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    one_message(&told, "neither token_file nor GH_TOKEN nor GITHUB_TOKEN is set, and gh auth token gives none", Some("gh auth login -s codespace"));
    assert_eq!(laptop.api.requests().len(), asked);
}

#[test]
fn of_230_codespaces_over_three_pages_the_one_that_runs_is_visited() {
    let Some(mut laptop) = Laptop::new() else { return };
    for number in 0..229 {
        laptop.api.put(row(&format!("asleep-{number}"), "acme/widget", "Shutdown"));
    }
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session_at(BOX, 2, "in the codespace", 20);
    let ran = laptop.report(&[]).good();
    assert_eq!(ran.report().visits.len(), 230);
    assert_eq!(ran.report().visits.iter().filter(|visit| visit.outcome == Outcome::Visited).count(), 1);
    let lists = laptop.api.requests().iter().filter(|asked| asked.path() == LIST).count();
    assert_eq!(lists, 3);
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)));
    assert!(laptop.api.posts().is_empty());
}

#[test]
fn a_page_that_fails_makes_the_whole_list_fail_and_concludes_nothing() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session_at(BOX, 2, "in the codespace", 20);
    laptop.report(&[]).good();
    let next = format!("<{}/user/codespaces?per_page=100&page=2>; rel=\"next\"", laptop.api.url());
    laptop.api.once("GET", LIST, Answer::json(200, &serde_json::json!({"codespaces": []})).with("link", &next));
    laptop.api.always("GET", LIST, Answer::error(403, "Must have admin rights"));
    let before = laptop.store();
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(laptop.store(), before);
}

#[test]
fn an_unknown_state_and_a_missing_repository_are_not_visited_and_the_others_are() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.api.put(row("odd-1", "acme/widget", "Hibernating"));
    let mut bare = row("odd-2", "acme/widget", "Available");
    for field in ["repository", "machine", "idle_timeout_minutes"] {
        bare[field] = serde_json::Value::Null;
    }
    laptop.api.put(bare);
    laptop.api.put(serde_json::json!({"name": "../odd-3", "state": "Available"}));
    let ran = laptop.report(&[]);
    assert_eq!(ran.code(), 0, "{:?}", ran.told);
    assert_eq!(ran.visit("odd-1").outcome, Outcome::NotVisited { why: "Hibernating".to_owned() });
    assert_eq!(ran.visit("odd-2").outcome, Outcome::NotVisited { why: "GitHub names no repository for it".to_owned() });
    assert_eq!(ran.visit(BOX).outcome, Outcome::Visited);
    assert_eq!(ran.report().notes.iter().filter(|note| note.contains("row 4 of page 1")).count(), 1, "{:?}", ran.told);
    assert_eq!(laptop.gh.calls().iter().filter(|call| call.argv[0] == "codespace").count(), 1);
}

#[test]
fn a_next_page_elsewhere_is_not_asked_for() {
    let Some(laptop) = Laptop::new() else { return };
    let elsewhere = Api::start();
    let next = format!("<{}/user/codespaces?page=2>; rel=\"next\"", elsewhere.url());
    laptop.api.once("GET", LIST, Answer::json(200, &serde_json::json!({"codespaces": []})).with("link", &next));
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(elsewhere.requests().is_empty(), "the token went elsewhere");
}

#[tokio::test]
async fn who_is_answered_is_not_offline_and_who_has_no_token_keeps_no_client() {
    let Some(laptop) = Laptop::new() else { return };
    let setting = laptop.setting();
    assert_eq!(fault_of_list(&setting).await, None);
    for (status, kind) in [(500, FaultKind::Other), (429, FaultKind::Other), (401, FaultKind::Login)] {
        laptop.api.always("GET", LIST, Answer::error(status, "no"));
        assert_eq!(fault_of_list(&setting).await, Some(kind), "{status}");
    }
    assert!(setting.account.of_pass(&setting).await.is_ok() && setting.account.token_source().is_some());
    let without = [("HOME", laptop.home().display().to_string()), ("PATH", "/nowhere".to_owned())];
    let without = Setting { environment: without.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(), ..setting.clone() };
    assert_eq!(without.account.of_pass(&without).await.unwrap_err().kind, FaultKind::Login);
    assert_eq!(setting.account.token_source(), None, "a look would be had with a token that no pass finds");
}

async fn fault_of_list(setting: &Setting) -> Option<FaultKind> {
    setting.account.list(setting).await.err().map(|refused| refused.fault.kind)
}
