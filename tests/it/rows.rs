//! Rows as GitHub's API sends them: whole objects, with every field that its description requires.

use serde_json::{Value, json};

use crate::api::hash;

/// A whole row of the listing, of GitHub's shape, for a codespace of `repository` (`owner/name`).
pub(crate) fn row(name: &str, repository: &str, state: &str) -> Value {
    let id = hash(name) % 1_000_000_000;
    let url = format!("https://api.github.com/user/codespaces/{name}");
    json!({
        "id": id, "name": name, "display_name": name.replace('-', " "), "environment_id": format!("26a7c758-7299-4a73-b978-{id:012}"),
        "owner": user("dev"), "billable_owner": user("dev"), "repository": minimal_repository(repository),
        "machine": {
            "name": "standardLinux", "display_name": "4 cores, 16 GB RAM, 64 GB storage", "operating_system": "linux",
            "storage_in_bytes": 68_719_476_736_u64, "memory_in_bytes": 17_179_869_184_u64, "cpus": 4, "prebuild_availability": null,
        },
        "devcontainer_path": ".devcontainer/devcontainer.json", "prebuild": false,
        "created_at": "2026-07-14T00:53:30-06:00", "updated_at": "2026-08-02T09:12:44Z", "last_used_at": "2026-08-02T09:12:40Z",
        "state": state, "url": url,
        "git_status": {"ahead": 0, "behind": 0, "has_unpushed_changes": false, "has_uncommitted_changes": false, "ref": "main"},
        "location": "WestEurope", "idle_timeout_minutes": 30, "web_url": format!("https://{name}.github.dev"),
        "machines_url": format!("{url}/machines"), "start_url": format!("{url}/start"), "stop_url": format!("{url}/stop"), "publish_url": null,
        "pulls_url": format!("https://api.github.com/repos/{repository}/pulls"),
        "recent_folders": [format!("/workspaces/{}", repository.split('/').next_back().unwrap())],
        "runtime_constraints": {"allowed_port_privacy_settings": null},
        "pending_operation": false, "pending_operation_disabled_reason": null, "idle_timeout_notice": null,
        "retention_period_minutes": 43_200, "retention_expires_at": "2026-09-01T09:12:40Z", "last_known_stop_notice": null,
    })
}

fn user(login: &str) -> Value {
    let api = format!("https://api.github.com/users/{login}");
    let mut user = json!({
        "login": login, "id": 1, "node_id": "MDQ6VXNlcjE=", "avatar_url": "https://avatars.githubusercontent.com/u/1?v=4", "gravatar_id": "",
        "url": api, "html_url": format!("https://github.com/{login}"), "type": "User", "user_view_type": "public", "site_admin": false,
    });
    for (field, rest) in [
        ("followers_url", "followers"),
        ("following_url", "following{/other_user}"),
        ("gists_url", "gists{/gist_id}"),
        ("starred_url", "starred{/owner}{/repo}"),
        ("subscriptions_url", "subscriptions"),
        ("organizations_url", "orgs"),
        ("repos_url", "repos"),
        ("events_url", "events{/privacy}"),
        ("received_events_url", "received_events"),
    ] {
        user[field] = format!("{api}/{rest}").into();
    }
    user
}

fn minimal_repository(full_name: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap();
    let api = format!("https://api.github.com/repos/{full_name}");
    let mut repository = json!({
        "id": hash(full_name) % 1_000_000_000, "node_id": "MDEwOlJlcG9zaXRvcnkx", "name": name, "full_name": full_name, "owner": user(owner),
        "private": true, "html_url": format!("https://github.com/{full_name}"), "description": "Makes \"widgets\" <fast>", "fork": false, "url": api,
    });
    for (field, rest) in [
        ("archive_url", "{archive_format}{/ref}"),
        ("assignees_url", "assignees{/user}"),
        ("blobs_url", "git/blobs{/sha}"),
        ("branches_url", "branches{/branch}"),
        ("collaborators_url", "collaborators{/collaborator}"),
        ("comments_url", "comments{/number}"),
        ("commits_url", "commits{/sha}"),
        ("compare_url", "compare/{base}...{head}"),
        ("contents_url", "contents/{+path}"),
        ("contributors_url", "contributors"),
        ("deployments_url", "deployments"),
        ("downloads_url", "downloads"),
        ("events_url", "events"),
        ("forks_url", "forks"),
        ("git_commits_url", "git/commits{/sha}"),
        ("git_refs_url", "git/refs{/sha}"),
        ("git_tags_url", "git/tags{/sha}"),
        ("hooks_url", "hooks"),
        ("issue_comment_url", "issues/comments{/number}"),
        ("issue_events_url", "issues/events{/number}"),
        ("issues_url", "issues{/number}"),
        ("keys_url", "keys{/key_id}"),
        ("labels_url", "labels{/name}"),
        ("languages_url", "languages"),
        ("merges_url", "merges"),
        ("milestones_url", "milestones{/number}"),
        ("notifications_url", "notifications{?since,all,participating}"),
        ("pulls_url", "pulls{/number}"),
        ("releases_url", "releases{/id}"),
        ("stargazers_url", "stargazers"),
        ("statuses_url", "statuses/{sha}"),
        ("subscribers_url", "subscribers"),
        ("subscription_url", "subscription"),
        ("tags_url", "tags"),
        ("teams_url", "teams"),
        ("trees_url", "git/trees{/sha}"),
    ] {
        repository[field] = format!("{api}/{rest}").into();
    }
    repository
}
