//! The table of bad answers: what GitHub, a proxy or a broken line can send, and what must come of it.
//! The two functions are long because they are tables: one row an answer.

use claude_session_sync::codespace::github::ListError;

use crate::api::{Answer, TOKEN};
use crate::github::page;

pub(crate) fn kind(error: &ListError) -> &'static str {
    match error {
        ListError::NotLoggedIn { .. } => "NotLoggedIn",
        ListError::ScopeMissing { .. } => "ScopeMissing",
        ListError::SsoRequired { .. } => "SsoRequired",
        ListError::Refused { .. } => "Refused",
        ListError::RateLimited { .. } => "RateLimited",
        ListError::SecondaryLimit { .. } => "SecondaryLimit",
        ListError::NotFound { .. } => "NotFound",
        ListError::ServerError { .. } => "ServerError",
        ListError::BadAnswer { .. } => "BadAnswer",
        ListError::Network { .. } => "Network",
    }
}

/// What is asked, what must come of it.
pub(crate) struct Case {
    pub(crate) answer: Answer,
    pub(crate) kind: &'static str,
    /// With `{origin}` for the stub's address.
    pub(crate) text: &'static str,
    pub(crate) hint: Option<&'static str>,
    /// How many requests reach GitHub.
    pub(crate) requests: usize,
}

fn case(answer: Answer, kind: &'static str, text: &'static str, hint: impl Into<Option<&'static str>>) -> Case {
    let requests = if kind == "ServerError" { 3 } else { 1 };
    Case { answer, kind, text, hint: hint.into(), requests }
}

const RELOGIN: &str = "put a new token into GH_TOKEN, or remove it and run `gh auth login -h github.com -s codespace`";
const ADD_SCOPE: &str = "give the token in GH_TOKEN the scope `codespace`, or remove it and run `gh auth refresh -h github.com -s codespace`";
const API_URL: &str = "check `[github] api_url`";
const STATUS: &str = "see https://www.githubstatus.com; the next pass tries again";

pub(crate) fn refusals() -> Vec<Case> {
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    vec![
        case(Answer::error(401, "Bad credentials"), "NotLoggedIn", "GitHub does not accept the token from GH_TOKEN (HTTP 401: Bad credentials)", RELOGIN),
        case(
            Answer::error(401, "Requires authentication"),
            "NotLoggedIn",
            "GitHub does not accept the token from GH_TOKEN (HTTP 401: Requires authentication)",
            RELOGIN,
        ),
        case(Answer::new(401, ""), "NotLoggedIn", "GitHub does not accept the token from GH_TOKEN (HTTP 401)", RELOGIN),
        case(Answer::new(401, "<html>no</html>"), "NotLoggedIn", "GitHub does not accept the token from GH_TOKEN (HTTP 401)", RELOGIN),
        case(
            Answer::error(401, "\u{1b}[31mred\u{7}\nline"),
            "NotLoggedIn",
            r"GitHub does not accept the token from GH_TOKEN (HTTP 401: \u{1b}[31mred\u{7} line)",
            RELOGIN,
        ),
        case(
            Answer::error(401, &format!("no such token: {TOKEN}")),
            "NotLoggedIn",
            "GitHub does not accept the token from GH_TOKEN (HTTP 401: no such token: (the token))",
            RELOGIN,
        ),
        case(
            Answer::error(403, "Must have admin rights to Repository."),
            "ScopeMissing",
            "the token from GH_TOKEN may not read codespaces (HTTP 403: Must have admin rights to Repository.)",
            ADD_SCOPE,
        ),
        case(
            Answer::error(403, "Forbidden").with("x-oauth-scopes", "gist, repo, read:org, codespace:secrets"),
            "ScopeMissing",
            "the token from GH_TOKEN may not read codespaces (HTTP 403: Forbidden)",
            ADD_SCOPE,
        ),
        case(Answer::new(403, "").with("x-oauth-scopes", ""), "ScopeMissing", "the token from GH_TOKEN may not read codespaces (HTTP 403)", ADD_SCOPE),
        case(
            Answer::error(403, "Resource not accessible by integration"),
            "ScopeMissing",
            "the token from GH_TOKEN may not read codespaces (HTTP 403: Resource not accessible by integration)",
            ADD_SCOPE,
        ),
        case(
            Answer::error(404, "Not Found").with("x-oauth-scopes", "repo").with("x-accepted-oauth-scopes", "codespace"),
            "ScopeMissing",
            "the token from GH_TOKEN may not read codespaces (HTTP 404: Not Found)",
            ADD_SCOPE,
        ),
        case(
            Answer::error(403, "Resource protected by organization SAML enforcement.")
                .with("x-github-sso", "required; url=https://github.com/orgs/acme/sso?a=b"),
            "SsoRequired",
            "an organization's single sign-on does not know the token from GH_TOKEN (HTTP 403: Resource protected by organization SAML enforcement.)",
            "authorise the token at https://github.com/orgs/acme/sso?a=b",
        ),
        case(
            Answer::error(403, "SAML").with("x-github-sso", "required; url=https://evil.example/sso"),
            "SsoRequired",
            "an organization's single sign-on does not know the token from GH_TOKEN (HTTP 403: SAML)",
            "authorise the token for the organization in GitHub's settings",
        ),
        case(
            Answer::error(403, "Codespaces are disabled").with("x-oauth-scopes", "codespace"),
            "Refused",
            "GitHub refuses the token from GH_TOKEN (HTTP 403: Codespaces are disabled)",
            None,
        ),
        case(Answer::new(403, "<html>blocked by proxy</html>"), "Refused", "GitHub refuses the token from GH_TOKEN (HTTP 403)", None),
        case(Answer::error(402, "Payment required"), "Refused", "GitHub refuses the token from GH_TOKEN (HTTP 402: Payment required)", None),
        case(Answer::error(422, "Validation Failed"), "Refused", "GitHub refuses the token from GH_TOKEN (HTTP 422: Validation Failed)", None),
        case(
            Answer::error(403, "API rate limit exceeded for user ID 1.").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "1900000000"),
            "RateLimited",
            "the limit of requests for the token from GH_TOKEN is used up until 2030-03-17 17:46:40 UTC (HTTP 403: API rate limit exceeded for user ID 1.)",
            None,
        ),
        case(
            Answer::error(429, "slow down").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "1900000000"),
            "RateLimited",
            "the limit of requests for the token from GH_TOKEN is used up until 2030-03-17 17:46:40 UTC (HTTP 429: slow down)",
            None,
        ),
        case(
            Answer::new(429, "").with("retry-after", "Sun, 17 Mar 2030 17:46:40 GMT"),
            "RateLimited",
            "the limit of requests for the token from GH_TOKEN is used up until 2030-03-17 17:46:40 UTC (HTTP 429)",
            None,
        ),
        case(
            Answer::error(403, secondary).with("retry-after", "97").with("x-ratelimit-remaining", "4000"),
            "SecondaryLimit",
            "GitHub asks the user of the token from GH_TOKEN to wait 97 s (HTTP 403: You have exceeded a secondary rate limit. Please wait a few minutes before you try again.)",
            None,
        ),
        case(
            Answer::error(403, "You have exceeded a secondary rate limit"),
            "SecondaryLimit",
            "GitHub asks the user of the token from GH_TOKEN to wait 60 s (HTTP 403: You have exceeded a secondary rate limit)",
            None,
        ),
        case(
            Answer::new(429, "").with("retry-after", "5").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "1900000000"),
            "SecondaryLimit",
            "GitHub asks the user of the token from GH_TOKEN to wait 5 s (HTTP 429)",
            None,
        ),
        case(
            Answer::new(429, "").with("x-ratelimit-remaining", "12").with("x-ratelimit-reset", "1900000000"),
            "SecondaryLimit",
            "GitHub asks the user of the token from GH_TOKEN to wait 60 s (HTTP 429)",
            None,
        ),
        case(
            Answer::new(429, "").with("retry-after", "soon").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "never"),
            "SecondaryLimit",
            "GitHub asks the user of the token from GH_TOKEN to wait 60 s (HTTP 429)",
            None,
        ),
        case(Answer::error(404, "Not Found"), "NotFound", "GitHub has no /user/codespaces for the token from GH_TOKEN (HTTP 404: Not Found)", API_URL),
        case(
            Answer::error(404, "Not Found").with("x-oauth-scopes", "repo, codespace"),
            "NotFound",
            "GitHub has no /user/codespaces for the token from GH_TOKEN (HTTP 404: Not Found)",
            API_URL,
        ),
        case(Answer::new(404, "<html>"), "NotFound", "GitHub has no /user/codespaces for the token from GH_TOKEN (HTTP 404)", API_URL),
    ]
}

pub(crate) fn failures() -> Vec<Case> {
    let bad = |answer, text| case(answer, "BadAnswer", text, None);
    vec![
        case(Answer::error(500, "oops"), "ServerError", "GitHub failed to answer the token from GH_TOKEN (HTTP 500: oops)", STATUS),
        case(Answer::new(500, ""), "ServerError", "GitHub failed to answer the token from GH_TOKEN (HTTP 500)", STATUS),
        case(Answer::new(502, "<html>Bad Gateway</html>"), "ServerError", "GitHub failed to answer the token from GH_TOKEN (HTTP 502)", STATUS),
        case(
            Answer::error(503, "Service unavailable"),
            "ServerError",
            "GitHub failed to answer the token from GH_TOKEN (HTTP 503: Service unavailable)",
            STATUS,
        ),
        case(Answer::new(504, ""), "ServerError", "GitHub failed to answer the token from GH_TOKEN (HTTP 504)", STATUS),
        case(Answer::new(408, ""), "ServerError", "GitHub failed to answer the token from GH_TOKEN (HTTP 408)", STATUS),
        bad(Answer::new(200, ""), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is empty"),
        bad(Answer::new(200, " \n"), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is empty"),
        bad(
            Answer::new(200, "<!DOCTYPE html><p>log in to the wifi"),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is HTML, not JSON",
        ),
        bad(Answer::new(200, "{nonsense"), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is no JSON (line 1, column 2)"),
        bad(
            Answer::new(200, r#"{"codespaces": [{"#),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: its JSON ends in the middle, after 17 bytes",
        ),
        bad(Answer::new(200, "\u{0}\u{0}"), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is no JSON (line 1, column 1)"),
        bad(Answer::new(200, "null"), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is JSON, but not a list of codespaces"),
        bad(
            Answer::new(200, r#"{"message": "hello"}"#),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is JSON, but not a list of codespaces",
        ),
        bad(
            Answer::new(200, r#"{"codespaces": null}"#),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is JSON, but not a list of codespaces",
        ),
        bad(
            Answer::new(200, format!("{{\"codespaces\": [{}0]}}", "0,".repeat(1000))),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is JSON, but not a list of codespaces",
        ),
        bad(
            Answer::new(200, "[".repeat(5000)),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is no JSON (line 1, column 128)",
        ),
        bad(Answer::long(17 << 20), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is longer than 16 MiB"),
        bad(Answer::new(200, vec![b' '; 17 << 20]), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: it is longer than 16 MiB"),
        bad(Answer::new(204, ""), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: HTTP 204"),
        bad(Answer::new(304, ""), "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: HTTP 304"),
        bad(
            Answer::new(302, "").with("location", "https://evil.example/user/codespaces"),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: HTTP 302 sends the request to `https://evil.example/user/codespaces`, which is not followed",
        ),
        bad(
            page(&[]).with("link", "<https://evil.example/user/codespaces?page=2>; rel=\"next\""),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: its next page is said to be at `https://evil.example/user/codespaces?page=2`, which is not {origin}",
        ),
        bad(
            page(&[]).with("link", "<//127.0.0.1:1/user/codespaces?page=2>; rel=\"next\""),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: its next page is said to be at `//127.0.0.1:1/user/codespaces?page=2`, which is not {origin}",
        ),
        bad(
            page(&[]).with("link", "</user/codespaces?per_page=100>; rel=\"next\""),
            "the answer to /user/codespaces with the token from GH_TOKEN is not GitHub's: its pages lead back to one that was read",
        ),
        Case {
            requests: 3,
            ..case(Answer::cut(200, r#"{"codespaces": ["#), "Network", "the connection to {origin} broke off in the middle of an answer", None)
        },
    ]
}
