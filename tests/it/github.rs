//! GitHub's answers, good and bad, and what each becomes.

use std::time::Duration;

use claude_session_sync::codespace::github::{Class, Codespace, GitHub, ListError, Listing, NetworkFailure, Patience, State, web_host};
use claude_session_sync::codespace::token::{Token, TokenSource};
use serde_json::{Value, json};

use crate::answers::{Case, failures, kind, refusals};
use crate::api::{Answer, Api, TOKEN};
use crate::rows::row;

const LIST: &str = "/user/codespaces";
const AGENT: &str = "claude-session-sync/0.1.0";

pub(crate) fn token(text: &str) -> Token {
    Token::new(text.as_bytes(), TokenSource::Variable("GH_TOKEN")).unwrap()
}

/// Fast retries, and time enough for a loopback answer on a busy machine.
pub(crate) fn github(api: &Api, text: &str) -> GitHub {
    let patience = Patience { connect: Duration::from_secs(5), whole: Duration::from_secs(10), delay: Duration::from_millis(1), retries: 2 };
    GitHub::with_patience(&api.url(), token(text), AGENT, patience).unwrap()
}

fn impatient(api: &Api) -> GitHub {
    let patience = Patience { connect: Duration::from_secs(5), whole: Duration::from_millis(250), delay: Duration::from_millis(1), retries: 2 };
    GitHub::with_patience(&api.url(), token(TOKEN), AGENT, patience).unwrap()
}

pub(crate) fn page(rows: &[Value]) -> Answer {
    Answer::json(200, &json!({"total_count": rows.len(), "codespaces": rows}))
}

async fn listing_of(answer: Answer) -> Listing {
    let api = Api::start();
    api.once("GET", LIST, answer);
    github(&api, TOKEN).codespaces().await.unwrap()
}

#[tokio::test]
async fn every_bad_answer_has_its_class_its_text_and_its_hint_and_no_retry_storm() {
    let cases: Vec<Case> = refusals().into_iter().chain(failures()).collect();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for Case { answer, kind: expected, text, hint, requests } in cases {
        let api = Api::start();
        api.put(row("fine-1", "acme/widget", "Available"));
        api.always("GET", LIST, answer);
        let error = github(&api, TOKEN).codespaces().await.unwrap_err();
        assert_eq!(kind(&error), expected, "{text}: {error}");
        assert_eq!(error.to_string(), text.replace("{origin}", &api.url()), "{text}");
        assert_eq!(error.hint().as_deref(), hint, "{text}");
        let permanent = matches!(expected, "NotLoggedIn" | "ScopeMissing" | "SsoRequired" | "Refused" | "NotFound");
        assert_eq!(error.class() == Class::Permanent, permanent, "{text}");
        assert_eq!(api.requests().len(), requests, "{text}");
        assert!(api.requests().iter().all(|asked| asked.method == "GET"), "{text}");
        assert!(!format!("{error:?} {error}").contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_500_for_a_fine_grained_token_is_explained() {
    let api = Api::start();
    api.always("GET", LIST, Answer::new(500, ""));
    let error = github(&api, "github_pat_11ABCDEFG").codespaces().await.unwrap_err();
    let expected = "the Codespaces API answers some fine-grained tokens with 500: put a classic token with the scope `codespace` into GH_TOKEN, or use `gh auth login -s codespace`";
    assert_eq!(error.hint().as_deref(), Some(expected));
    api.always("GET", LIST, Answer::error(403, "Resource not accessible by personal access token"));
    let error = github(&api, "github_pat_11ABCDEFG").codespaces().await.unwrap_err();
    let expected = "give the fine-grained token in GH_TOKEN the permission \"Codespaces\" (read), or use a classic one with the scope `codespace`";
    assert_eq!((kind(&error), error.hint().as_deref()), ("ScopeMissing", Some(expected)));
}

#[tokio::test]
async fn the_source_of_the_token_is_in_the_text_and_the_hint() {
    let api = Api::start();
    api.set_token("another");
    for (source, text, hint) in [
        (TokenSource::Gh, "the token from gh auth token (", "run `gh auth login -h github.com -s codespace`"),
        (TokenSource::File("/etc/token".into()), "the token from the file /etc/token (", "put a new token into the file /etc/token, or remove"),
    ] {
        let error = GitHub::new(&api.url(), Token::new(b"gho_x", source).unwrap(), AGENT).unwrap().codespaces().await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.hint().unwrap().starts_with(hint), "{:?}", error.hint());
    }
}

#[tokio::test]
async fn a_server_that_recovers_within_two_retries_is_no_error() {
    let api = Api::start();
    api.put(row("fine-1", "acme/widget", "Available"));
    api.once("GET", LIST, Answer::new(502, ""));
    api.once("GET", LIST, Answer::cut(200, "{"));
    assert_eq!(github(&api, TOKEN).codespaces().await.unwrap().codespaces.len(), 1);
    assert_eq!(api.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_at_the_deadline_and_is_not_asked_for_again() {
    for answer in [Answer::hang(), Answer::hang_in_body(200, "{\"codespaces\": [")] {
        let api = Api::start();
        api.always("GET", LIST, answer);
        let error = impatient(&api).codespaces().await.unwrap_err();
        assert!(matches!(error, ListError::Network { failure: NetworkFailure::Timeout, .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{} gave no whole answer within 0.25 s", api.url()));
        assert_eq!((error.class(), error.hint(), api.requests().len()), (Class::Transient, None, 1));
    }
}

#[tokio::test]
async fn the_status_of_an_error_counts_even_if_its_body_never_ends() {
    let api = Api::start();
    api.always("GET", LIST, Answer::hang_in_body(401, "{"));
    assert_eq!(kind(&impatient(&api).codespaces().await.unwrap_err()), "NotLoggedIn");
}

#[tokio::test]
async fn nobody_listening_is_a_failure_of_the_network() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Patience { delay: Duration::from_millis(1), ..Patience::default() };
    let error = GitHub::with_patience(&format!("http://{closed}"), token(TOKEN), AGENT, patience).unwrap().codespaces().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to http://{closed}"));
    assert_eq!(error.hint().as_deref(), Some("check the network, the proxy and `[github] api_url`"));
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn the_wait_that_is_asked_for_is_obeyed_up_to_an_hour() {
    let now = chrono::DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    for (header, value, expected) in
        [("retry-after", "97", 97), ("retry-after", "99999999", 3600), ("x-ratelimit-reset", "1900000042", 42), ("x-ratelimit-reset", "5", 0)]
    {
        let api = Api::start();
        api.once("GET", LIST, Answer::new(429, "").with("x-ratelimit-remaining", "0").with(header, value));
        let error = github(&api, TOKEN).codespaces().await.unwrap_err();
        assert_eq!(error.wait(now), Some(Duration::from_secs(expected)), "{header}: {value}");
    }
}

#[tokio::test]
async fn every_page_is_read_and_the_headers_are_githubs() {
    let api = Api::start();
    for number in 0..230 {
        api.put(row(&format!("box-{number}"), "acme/widget", "Shutdown"));
    }
    let listing = github(&api, TOKEN).codespaces().await.unwrap();
    let names: Vec<String> = listing.codespaces.iter().map(|codespace| codespace.name.to_string()).collect();
    assert_eq!(names, (0..230).map(|number| format!("box-{number}")).collect::<Vec<_>>());
    let requests = api.requests();
    let targets: Vec<&str> = requests.iter().map(|asked| asked.target.as_str()).collect();
    assert_eq!(targets, ["/user/codespaces?per_page=100", "/user/codespaces?per_page=100&page=2", "/user/codespaces?per_page=100&page=3"]);
    for asked in &requests {
        assert_eq!(asked.header("accept"), Some("application/vnd.github+json"));
        assert_eq!(asked.header("x-github-api-version"), Some("2022-11-28"));
        assert_eq!(asked.header("user-agent"), Some(AGENT));
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    }
}

#[tokio::test]
async fn a_failing_second_page_fails_the_whole_listing() {
    let api = Api::start();
    api.once("GET", LIST, page(&[row("box-1", "acme/widget", "Available")]).with("link", "<?page=2>; rel=\"next\""));
    api.once("GET", LIST, Answer::error(401, "Bad credentials"));
    assert_eq!(kind(&github(&api, TOKEN).codespaces().await.unwrap_err()), "NotLoggedIn");
}

#[tokio::test]
async fn pages_without_an_end_are_given_up_after_fifty() {
    let api = Api::start();
    for number in 0..60 {
        let name = format!("box-{number}");
        api.once("GET", LIST, page(&[row(&name, "acme/widget", "Available")]).with("link", &format!("<?page={}>; rel=\"next\"", number + 2)));
    }
    let error = github(&api, TOKEN).codespaces().await.unwrap_err();
    assert_eq!(error.to_string(), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it has more than 50 pages");
    assert_eq!(api.requests().len(), 50);
}

#[tokio::test]
async fn a_page_that_did_not_change_is_asked_for_by_its_tag_only() {
    let api = Api::start();
    for number in 0..101 {
        api.put(row(&format!("box-{number}"), "acme/widget", "Shutdown"));
    }
    let github = github(&api, TOKEN);
    let first = github.codespaces().await.unwrap();
    api.set("box-100", "state", "Available");
    let second = github.codespaces().await.unwrap();
    assert_eq!(first.codespaces[..100], second.codespaces[..100]);
    assert_eq!((&first.codespaces[100].state, &second.codespaces[100].state), (&State::Shutdown, &State::Available));
    let tagged: Vec<bool> = api.requests().iter().map(|asked| asked.header("if-none-match").is_some()).collect();
    assert_eq!(tagged, [false, false, true, true]);
    api.once("GET", LIST, Answer::new(304, ""));
    assert_eq!(github.codespaces().await.unwrap(), second, "a 304 stands for what was read before, with its next page");
}

#[tokio::test]
async fn a_duplicate_row_counts_once() {
    let rows = [row("box-1", "acme/widget", "Available"), row("box-2", "acme/widget", "Shutdown"), row("box-1", "acme/widget", "Available")];
    let listing = listing_of(page(&rows)).await;
    assert_eq!((listing.codespaces.len(), listing.unreadable.len()), (2, 0));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_and_the_others_are_there() {
    let mut no_state = row("box-2", "acme/widget", "Available");
    no_state["state"] = Value::Null;
    let rows = [
        row("box-1", "acme/widget", "Available"),
        no_state,
        json!(null),
        json!({}),
        row("-oProxyCommand=id", "acme/widget", "Available"),
        row("a/../b", "acme/widget", "Available"),
        row("red\u{1b}[31m", "acme/widget", "Available"),
        row(&"x".repeat(129), "acme/widget", "Available"),
        row("Box-9", "acme/widget", "Available"),
    ];
    let listing = listing_of(page(&rows)).await;
    assert_eq!(listing.codespaces.iter().map(|codespace| codespace.name.as_str()).collect::<Vec<_>>(), ["box-1", "Box-9"]);
    let rule = "is no name of a codespace (letters, digits and dashes, at most 128)";
    let expected = [
        "row 2 of page 1: box-2 has no state".to_owned(),
        "row 3 of page 1: it does not have the shape of a codespace".to_owned(),
        "row 4 of page 1: it has no name".to_owned(),
        format!("row 5 of page 1: `-oProxyCommand=id` {rule}"),
        format!("row 6 of page 1: `a/../b` {rule}"),
        format!(r"row 7 of page 1: `red\u{{1b}}[31m` {rule}"),
        format!("row 8 of page 1: `{}…` {rule}", "x".repeat(60)),
    ];
    assert_eq!(listing.unreadable, expected);
}

async fn read(change: impl FnOnce(&mut Value)) -> Codespace {
    let mut sent = row("box-1", "Acme/Widget", "Available");
    change(&mut sent);
    let listing = listing_of(page(&[sent])).await;
    assert_eq!(listing.unreadable, [""; 0]);
    listing.codespaces.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_whole_row_is_read() {
    let codespace = read(|_| {}).await;
    assert_eq!(codespace.name.as_str(), "box-1");
    assert_eq!(codespace.display_name.as_deref(), Some("box 1"));
    assert_eq!(codespace.repository, Some("acme/widget".parse().unwrap()));
    assert_eq!((codespace.state.clone(), codespace.pending_operation, codespace.may_be_visited()), (State::Available, false, true));
    assert_eq!(codespace.idle_timeout_minutes, Some(30));
    assert_eq!(codespace.last_used_at.unwrap().to_rfc3339(), "2026-08-02T09:12:40+00:00");
    assert_eq!(codespace.created_at.unwrap().to_rfc3339(), "2026-07-14T06:53:30+00:00");
    assert_eq!(codespace.retention_expires_at.unwrap().to_rfc3339(), "2026-09-01T09:12:40+00:00");
    assert_eq!(codespace.recent_folders, ["/workspaces/Widget"]);
    assert_eq!((codespace.web_url.as_deref(), codespace.unsaved_changes), (Some("https://box-1.github.dev"), Some(false)));
}

#[tokio::test]
async fn whatever_may_be_null_may_be_null() {
    let codespace = read(|row| {
        for field in ["display_name", "repository", "machine", "idle_timeout_minutes", "last_used_at", "created_at", "pending_operation"] {
            row[field] = Value::Null;
        }
        for field in ["retention_expires_at", "recent_folders", "git_status", "web_url"] {
            row.as_object_mut().unwrap().remove(field);
        }
    })
    .await;
    assert_eq!((&codespace.repository, codespace.idle_timeout_minutes, codespace.last_used_at), (&None, None, None));
    assert!(codespace.may_be_visited() && codespace.recent_folders.is_empty());
}

#[tokio::test]
async fn a_field_of_another_shape_is_as_if_it_were_null() {
    let codespace = read(|row| {
        row["repository"] = json!({"full_name": "../../etc", "html_url": 7});
        row["idle_timeout_minutes"] = json!(-5);
        row["last_used_at"] = json!("yesterday");
        row["recent_folders"] = json!(["/workspaces/ok", "relative", "/a\u{1b}[31m", "/a/../b", 7, null, "/workspaces/sub dir"]);
        row["display_name"] = json!("\u{1b}]0;title\u{7}\u{202e}x");
    })
    .await;
    assert_eq!((&codespace.repository, codespace.idle_timeout_minutes, codespace.last_used_at), (&None, None, None));
    assert_eq!(codespace.recent_folders, ["/workspaces/ok", "/workspaces/sub dir"]);
    assert_eq!(codespace.display_name.as_deref(), Some(r"\u{1b}]0;title\u{7}\u{202e}x"));
    let many: Vec<String> = (0..30).map(|number| format!("/workspaces/{number}")).collect();
    assert_eq!(read(|row| row["recent_folders"] = json!(many)).await.recent_folders, many[..20]);
}

#[tokio::test]
async fn the_repository_is_of_the_host_that_github_names() {
    let codespace = read(|row| row["repository"]["html_url"] = json!("https://acme.ghe.com/Acme/Widget")).await;
    assert_eq!(codespace.repository, Some("acme.ghe.com/acme/widget".parse().unwrap()));
}

#[tokio::test]
async fn only_available_without_a_pending_operation_may_be_visited() {
    for known in State::KNOWN {
        let codespace = read(|row| row["state"] = known.to_string().into()).await;
        assert_eq!((&codespace.state, codespace.may_be_visited()), (&known, known == State::Available));
    }
    for word in ["available", "AVAILABLE", "Available ", "", "Dreaming\u{1b}[0m"] {
        let codespace = read(|row| row["state"] = word.into()).await;
        assert_eq!((&codespace.state, codespace.may_be_visited()), (&State::Other(word.replace('\u{1b}', r"\u{1b}")), false));
    }
    for pending in [json!(true), json!("no"), json!(0)] {
        assert!(!read(|row| row["pending_operation"] = pending.clone()).await.may_be_visited(), "{pending}");
    }
}

#[tokio::test]
async fn one_codespace_is_read_by_its_name_or_is_gone() {
    let api = Api::start();
    api.put(row("box-1", "acme/widget", "Shutdown"));
    let github = github(&api, TOKEN);
    assert_eq!(github.one(&"box-1".parse().unwrap()).await.unwrap().state, State::Shutdown);
    let error = github.one(&"box-2".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "GitHub has no /user/codespaces/box-2 for the token from GH_TOKEN (HTTP 404: Not Found)");
    assert_eq!((error.class(), error.hint()), (Class::Permanent, None));
    api.once("GET", "/user/codespaces/box-1", Answer::json(200, &row("box-3", "acme/widget", "Available")));
    let error = github.one(&"box-1".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().ends_with("it describes box-3"), "{error}");
}

#[tokio::test]
async fn codespaces_hidden_by_single_sign_on_are_told() {
    assert!(listing_of(page(&[]).with("x-github-sso", "partial-results; organizations=21955855,20582480")).await.partly_hidden);
    assert!(!listing_of(page(&[])).await.partly_hidden);
}

#[test]
fn the_address_of_the_api_is_https_or_this_machine() {
    let make = |url: &str| GitHub::new(url, token(TOKEN), AGENT).map(|_| ()).map_err(|error| error.to_string());
    for good in
        ["https://api.github.com", "https://api.acme.ghe.com/", "https://ghe.example/api/v3", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]
    {
        assert_eq!(make(good), Ok(()));
    }
    for (bad, why) in [
        ("http://api.github.com", "a token is sent over https only (or to this machine)"),
        ("http://127.0.0.1.evil.example", "a token is sent over https only (or to this machine)"),
        ("ftp://api.github.com", "it does not begin with https://"),
        ("api.github.com", "it is no URL"),
        ("https://api.github.com?x=1", "it holds more than a host and a path"),
    ] {
        assert!(make(bad).unwrap_err().ends_with(why), "{bad}: {:?}", make(bad));
    }
    let text = make("https://me:secret@api.github.com").unwrap_err();
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(
        ["https://api.github.com", "https://api.acme.ghe.com", "https://ghe.example/api/v3", "http://127.0.0.1:9"].map(web_host),
        ["github.com", "acme.ghe.com", "ghe.example", "github.com"]
    );
}

#[tokio::test]
async fn a_path_in_the_address_stays_before_every_path() {
    let api = Api::start();
    api.always("GET", "/api/v3/user/codespaces", page(&[]));
    let github = GitHub::new(&format!("{}/api/v3/", api.url()), token(TOKEN), AGENT).unwrap();
    assert_eq!(github.codespaces().await.unwrap(), Listing::default());
}
