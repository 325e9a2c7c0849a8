//! Where a repository lies in a store: from clones and the working directories that transcripts name to project directories.
//!
//! Promises: only a working directory whose encoding is the directory's own name speaks for a project directory; a root
//! belongs to a repository by its remotes. The default root of a codespace is GitHub's word, not the codespace's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::manifest::ProjectName;
use super::project::RepositoryId;

/// Where a codespace keeps its clones.
pub const WORKSPACES: &str = "/workspaces";

/// A clone as a replica shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Absolute path.
    pub path: String,
    /// What its remotes name, origin's first.
    pub remotes: Vec<RepositoryId>,
}

/// A repository in one store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its roots, the one for new sessions first.
    pub roots: Vec<String>,
    /// Its project directories, and the path below the root that each stands for.
    pub projects: BTreeMap<ProjectName, String>,
    /// Project directories of clones of other repositories, with what their remotes name.
    pub others: BTreeMap<ProjectName, Option<RepositoryId>>,
    /// Those of them that are this repository's as well: two working directories are written alike.
    pub contested: BTreeSet<ProjectName>,
    /// What the directories of other clones themselves are called, whether or not a transcript names one: what is new there would not
    /// be read again once somebody works in that clone.
    pub reserved: BTreeSet<ProjectName>,
}

/// The rule that placed a session on a machine where it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The configuration names the clone.
    Configured,
    /// The clone in which a session was written last.
    UsedLast,
    /// A clone found below a clone root.
    Found,
    /// No clone is known: the far path's own name.
    NoClone,
}

impl Rule {
    /// The rule, for `status --why`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Configured => "the clone that [[repository]] path names",
            Self::UsedLast => "the clone used last",
            Self::Found => "a clone below a clone root",
            Self::NoClone => "no clone known here: the name of the far path",
        }
    }
}

/// Lays out `repository`.
///
/// `default_root` is where GitHub puts the repository when no root names it; none for a machine that is no codespace.
/// `below` are paths below the root that sessions elsewhere in the group stand for.
/// What lies in `workspaces` is found again whatever becomes of the sessions; any other root only while a transcript names it.
#[must_use]
pub fn layout(
    repository: &RepositoryId,
    roots: &[Root],
    directories: &[(ProjectName, String)],
    below: &[&str],
    workspaces: &str,
    default_root: Option<&str>,
) -> Layout {
    let mut own: Vec<String> = roots.iter().filter(|root| root.remotes.contains(repository)).map(|root| root.path.clone()).collect();
    let speaking = || directories.iter().filter(|(project, directory)| ProjectName::of(directory) == *project);
    if let (Some(default), true) = (default_root, own.is_empty()) {
        // A clone whose remotes say something else, or nothing: it is written as it was cloned.
        let beginnings = speaking().filter_map(|(_, directory)| directory.get(..default.len()).filter(|root| under(directory, root).is_some()));
        let known = roots.iter().map(|root| root.path.as_str()).chain(beginnings).filter(|path| path.eq_ignore_ascii_case(default));
        own.push(known.min_by_key(|path| *path != default).unwrap_or(default).to_owned());
    }
    // The root for new sessions: the default one if it is among them, else the one whose first remote it is, else one that will be
    // found again, else the shortest. GitHub's names mean the same however they are written; the directory is as it was cloned.
    own.sort_by_key(|path| {
        let origin = roots.iter().any(|root| root.path == *path && root.remotes.first() == Some(repository));
        let default = default_root.is_some_and(|default| default.eq_ignore_ascii_case(path));
        (!default, !origin, under(path, workspaces).is_none(), path.len(), path.clone())
    });
    own.dedup();
    let mut layout = Layout { roots: own, ..Layout::default() };
    for (project, directory) in speaking() {
        let every = layout.roots.iter().map(String::as_str).chain(roots.iter().map(|root| root.path.as_str()));
        let Some(root) = every.filter(|root| under(directory, root).is_some()).max_by_key(|root| root.len()) else { continue };
        let is_own = layout.roots.iter().any(|own| own == root);
        // Where two that are written alike belong to two repositories, neither speaks for what lies there.
        let is_another_s = if is_own { layout.others.contains_key(project) } else { layout.projects.contains_key(project) };
        if is_another_s {
            layout.contested.insert(project.clone());
        }
        match under(directory, root).filter(|_| is_own) {
            Some(rest) => drop(layout.projects.insert(project.clone(), rest.to_owned())),
            None => {
                let named = roots.iter().find(|other| other.path == root).and_then(|other| other.remotes.first().cloned());
                layout.others.insert(project.clone(), named);
            }
        }
    }
    // Directories that hold only sessions from elsewhere name no working directory of this side: they are known by computing.
    for root in &layout.roots {
        for below in below.iter().chain(&[""]) {
            let project = ProjectName::of(&join(root, below));
            if !layout.others.contains_key(&project) {
                layout.projects.entry(project).or_insert_with(|| (*below).to_owned());
            }
        }
    }
    layout.projects.retain(|project, _| !layout.contested.contains(project));
    let another_s = roots.iter().filter(|root| !layout.roots.contains(&root.path)).map(|root| ProjectName::of(&root.path));
    layout.reserved = another_s.filter(|project| layout.projects.get(project).is_none_or(|below| !below.is_empty())).collect();
    layout.others.retain(|project, _| !layout.projects.contains_key(project));
    layout
}

/// The path of `directory` below `root`: empty for the root itself, none if it is not below.
#[must_use]
pub fn under<'a>(directory: &'a str, root: &str) -> Option<&'a str> {
    let rest = directory.strip_prefix(root.trim_end_matches('/'))?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// A path below a root; the root itself for the empty one.
#[must_use]
pub fn join(root: &str, below: &str) -> String {
    if below.is_empty() { root.to_owned() } else { format!("{}/{below}", root.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(path: &str, remotes: &[&str]) -> Root {
        Root { path: path.to_owned(), remotes: remotes.iter().map(|name| name.parse().unwrap()).collect() }
    }

    fn said(directory: &str) -> (ProjectName, String) {
        (ProjectName::of(directory), directory.to_owned())
    }

    #[test]
    fn subdirectories_and_worktrees_count_by_their_path_below_the_root() {
        let roots = [root("/workspaces/widget", &["acme/widget"]), root("/workspaces/widget-fix", &["acme/widget"])];
        let directories = [said("/workspaces/widget/app/web"), said("/workspaces/widget-fix")];
        let layout = layout(&"acme/widget".parse().unwrap(), &roots, &directories, &["docs"], "/workspaces", Some("/workspaces/widget"));
        assert_eq!(layout.roots[0], "/workspaces/widget");
        assert_eq!(layout.projects[&ProjectName::of("/workspaces/widget/app/web")], "app/web");
        assert_eq!(layout.projects[&ProjectName::of("/workspaces/widget-fix")], "");
        assert_eq!(layout.projects[&ProjectName::of("/workspaces/widget/docs")], "docs", "known by computing");
    }

    #[test]
    fn new_sessions_belong_in_the_clone_whose_first_remote_it_is() {
        let roots = [root("/src/fork", &["me/widget", "acme/widget"]), root("/src/widget-of-acme", &["acme/widget", "me/widget"])];
        for roots in [roots.clone(), [roots[1].clone(), roots[0].clone()]] {
            let layout = layout(&"acme/widget".parse().unwrap(), &roots, &[], &[], "/workspaces", None);
            assert_eq!(layout.roots, ["/src/widget-of-acme", "/src/fork"]);
        }
    }

    #[test]
    fn the_default_root_is_known_however_its_name_is_written() {
        let roots = [root("/workspaces/fix", &["acme/widget"]), root("/workspaces/Widget", &["acme/widget"])];
        let layout = layout(&"acme/Widget".parse().unwrap(), &roots, &[], &[], "/workspaces", Some("/workspaces/widget"));
        assert_eq!(layout.roots, ["/workspaces/Widget", "/workspaces/fix"], "and not in a worktree beside it");
    }

    #[test]
    fn new_sessions_belong_in_a_clone_that_is_found_without_any_session() {
        let roots = [root("/w", &["acme/widget"]), root("/workspaces/acme/widget", &["acme/widget"]), root("/workspaces-old", &["acme/widget"])];
        let layout = layout(&"acme/widget".parse().unwrap(), &roots, &[], &[], "/workspaces", None);
        assert_eq!(layout.roots, ["/workspaces/acme/widget", "/w", "/workspaces-old"]);
    }

    #[test]
    fn each_rule_has_words_of_its_own() {
        let words: std::collections::BTreeSet<&str> = [Rule::Configured, Rule::UsedLast, Rule::Found, Rule::NoClone].map(Rule::words).into();
        assert_eq!(words.len(), 4);
        assert!(words.iter().all(|words| words.contains("clone")));
    }

    #[test]
    fn another_clone_is_listed_and_one_that_ends_alike_is_another() {
        let roots =
            [root("/workspaces/widget", &["acme/widget"]), root("/workspaces/my-widget", &["acme/my-widget"]), root("/workspaces/w2", &["other/widget"])];
        let directories = [said("/workspaces/my-widget"), said("/workspaces/w2/x"), said("/elsewhere")];
        let layout = layout(&"acme/widget".parse().unwrap(), &roots, &directories, &[], "/workspaces", Some("/workspaces/widget"));
        assert_eq!(layout.projects.len(), 1);
        assert_eq!(layout.others[&ProjectName::of("/workspaces/w2/x")], "other/widget".parse().ok());
        assert!(!layout.others.contains_key(&ProjectName::of("/elsewhere")));
    }

    #[test]
    fn the_default_root_of_a_clone_that_no_remote_names_is_written_as_it_was_cloned() {
        let repository = "acme/Widget".parse().unwrap();
        let of = |roots: &[Root], directories: &[(ProjectName, String)]| {
            layout(&repository, roots, directories, &[], "/workspaces", Some("/workspaces/widget")).roots
        };
        assert_eq!(of(&[root("/workspaces/Widget", &["alice/widget"])], &[]), ["/workspaces/Widget"], "it was transferred");
        assert_eq!(of(&[], &[said("/workspaces/Widgets"), said("/workspaces/Widget/app")]), ["/workspaces/Widget"], "it has no remote");
        assert_eq!(of(&[root("/workspaces/Widget", &[]), root("/workspaces/widget", &[])], &[]), ["/workspaces/widget"]);
    }

    #[test]
    fn a_directory_that_two_clones_may_be_meant_by_is_nobody_s() {
        let roots = [root("/w/app", &["acme/app"]), root("/w/app-api", &["acme/api"])];
        let (inner, outer) = (said("/w/app/api"), said("/w/app-api"));
        assert_eq!(inner.0, outer.0);
        for repository in ["acme/app", "acme/api"] {
            for directories in [[inner.clone(), outer.clone()], [outer.clone(), inner.clone()]] {
                let both = layout(&repository.parse().unwrap(), &roots, &directories, &["api"], "/w", None);
                assert_eq!((both.projects.get(&inner.0), both.contested.contains(&inner.0)), (None, true), "{repository}");
            }
        }
        let of = |directories: &[(ProjectName, String)]| layout(&"acme/app".parse().unwrap(), &roots, directories, &["api"], "/w", None);
        assert!(!of(std::slice::from_ref(&outer)).projects.contains_key(&inner.0));
        // As long as nobody works in the other one, what is there is read, and nothing new goes there.
        for directories in [vec![inner.clone()], vec![]] {
            let layout = of(&directories);
            assert_eq!((layout.projects[&inner.0].as_str(), layout.reserved.contains(&inner.0)), ("api", true));
        }
    }

    #[test]
    fn two_clones_that_are_written_alike_each_have_their_own() {
        let roots = [root("/w/my_app", &["acme/my_app"]), root("/w/my-app", &["acme/my-app"])];
        for repository in ["acme/my_app", "acme/my-app"] {
            let layout = layout(&repository.parse().unwrap(), &roots, &[], &[], "/w", None);
            assert_eq!((layout.projects.len(), layout.reserved.len()), (1, 0), "{repository}");
        }
    }

    #[test]
    fn without_any_clone_only_a_codespace_has_a_root() {
        let repository = "acme/widget".parse().unwrap();
        assert_eq!(layout(&repository, &[], &[], &[], "/workspaces", Some("/workspaces/widget")).roots, ["/workspaces/widget"]);
        assert!(layout(&repository, &[], &[], &[], "/workspaces", None).roots.is_empty());
    }

    #[test]
    fn a_working_directory_that_does_not_encode_to_its_directory_says_nothing() {
        let directories = [(ProjectName::of("/workspaces/other"), "/workspaces/widget".to_owned())];
        let layout = layout(&"acme/widget".parse().unwrap(), &[root("/workspaces/widget", &["acme/widget"])], &directories, &[], "/workspaces", None);
        assert!(!layout.projects.contains_key(&ProjectName::of("/workspaces/other")));
    }
}
