//! Which codespaces and machines a pass concerns: from GitHub's list, the configuration and the names that a user gave.

use crate::codespace::github::Codespace;
use crate::config::{Config, Machine, SyncPolicy};
use crate::pass::member::Admitted;
use crate::reconcile::layout::WORKSPACES;
use crate::reconcile::plain::plain;
use crate::reconcile::project::RepositoryId;

/// A place to visit, or not to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its permanent name.
    pub name: String,
    /// What its owner calls it.
    pub display_name: String,
    /// How it is reached.
    pub reach: Reach,
    /// The repositories that it may speak of.
    pub admitted: Vec<Admitted>,
    /// Directories that may be clones there.
    pub folders: Vec<String>,
    /// Why it is not visited.
    pub not_visited: Option<String>,
}

/// How a place is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Through gh.
    Codespace(Box<Codespace>),
    /// As the configuration says.
    Machine(Box<Machine>),
}

/// A name that fits nothing, or several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing has it.
    #[error("no codespace or machine is called `{name}`")]
    Unknown {
        /// The name, escaped.
        name: String,
    },
    /// Several begin with it.
    #[error("`{name}` begins the names of {}", matches.join(", "))]
    Ambiguous {
        /// The name, escaped.
        name: String,
        /// Whose.
        matches: Vec<String>,
    },
}

impl Target {
    /// Whether it runs, as far as the list knows; a machine always does.
    #[must_use]
    pub fn runs(&self) -> bool {
        match &self.reach {
            Reach::Codespace(codespace) => codespace.may_be_visited(),
            Reach::Machine(_) => true,
        }
    }

    /// A codespace. It may speak of its own repository, and of those that the configuration admits to it.
    #[must_use]
    pub fn codespace(codespace: Codespace, config: &Config) -> Self {
        let state = codespace.state.to_string();
        let mut admitted = Vec::new();
        let mut not_visited = None;
        match &codespace.repository {
            None => not_visited = Some("GitHub names no repository for it".to_owned()),
            Some(own) => {
                let default_root = Some(format!("{WORKSPACES}/{}", own.name()));
                let also = config.repositories.iter().filter(|repository| repository.also_in.contains(own)).map(|repository| (&repository.name, None));
                for (repository, default_root) in std::iter::once((own, default_root)).chain(also) {
                    if config.policy(repository) != SyncPolicy::Off {
                        admitted.push(Admitted { repository: repository.clone(), workspaces: WORKSPACES.to_owned(), default_root });
                    }
                }
                if admitted.is_empty() {
                    not_visited = Some("sync = \"off\" for its repository".to_owned());
                } else if codespace.pending_operation {
                    not_visited = Some(format!("{state}, with an operation pending"));
                } else if !codespace.may_be_visited() {
                    not_visited = Some(state);
                }
            }
        }
        let name = codespace.name.as_str().to_owned();
        let display_name = codespace.display_name.as_deref().map_or_else(|| name.clone(), |shown| plain(shown).into_owned());
        let folders = codespace.recent_folders.clone();
        Self { name, display_name, reach: Reach::Codespace(Box::new(codespace)), admitted, folders, not_visited }
    }

    /// A machine of the configuration.
    #[must_use]
    pub fn machine(machine: &Machine, config: &Config) -> Self {
        let name = machine.name.to_string();
        let synced = machine.repositories.iter().filter(|repository| config.policy(repository) != SyncPolicy::Off);
        let workspaces = || machine.workspaces.to_string();
        let admitted: Vec<Admitted> =
            synced.map(|repository| Admitted { repository: repository.clone(), workspaces: workspaces(), default_root: None }).collect();
        let not_visited = admitted.is_empty().then(|| "sync = \"off\" for its repositories".to_owned());
        let reach = Reach::Machine(Box::new(machine.clone()));
        Self { display_name: name.clone(), name, reach, admitted, folders: Vec::new(), not_visited }
    }

    /// Its repositories.
    #[must_use]
    pub fn repositories(&self) -> Vec<RepositoryId> {
        self.admitted.iter().map(|admitted| admitted.repository.clone()).collect()
    }

    /// What it answers to.
    fn called(&self) -> Called<'_> {
        let repositories = match &self.reach {
            Reach::Codespace(codespace) => codespace.repository.iter().collect(),
            Reach::Machine(machine) => machine.repositories.iter().collect(),
        };
        Called { name: &self.name, display_name: &self.display_name, repositories }
    }
}

/// What a place answers to when a user names it.
#[derive(Debug, Clone)]
pub struct Called<'a> {
    /// Its permanent name.
    pub name: &'a str,
    /// What its owner calls it.
    pub display_name: &'a str,
    /// Its repositories.
    pub repositories: Vec<&'a RepositoryId>,
}

impl Called<'_> {
    fn is(&self, name: &str) -> bool {
        let of_repository = || name.parse::<RepositoryId>().is_ok_and(|repository| self.repositories.contains(&&repository));
        self.name == name || self.display_name == name || (name.contains('/') && of_repository())
    }

    fn begins(&self, name: &str) -> bool {
        self.name.starts_with(name) || self.display_name.starts_with(name)
    }
}

/// The targets that these names mean; all of them for no names. `here` is the repository of the user's directory, for `.`.
///
/// # Errors
/// A name that fits nothing, or is the beginning of several.
pub fn choose(targets: Vec<Target>, names: &[String], here: Option<&RepositoryId>) -> Result<Vec<Target>, NameError> {
    let called: Vec<Called<'_>> = targets.iter().map(Target::called).collect();
    let chosen = pick(&called, names, here)?;
    Ok(targets.into_iter().zip(chosen).filter_map(|(target, chosen)| chosen.then_some(target)).collect())
}

/// Which of these the names mean, as [`choose`] does.
///
/// # Errors
/// As [`choose`].
pub fn pick(places: &[Called<'_>], names: &[String], here: Option<&RepositoryId>) -> Result<Vec<bool>, NameError> {
    let mut chosen = vec![names.is_empty(); places.len()];
    for name in names {
        let dot = here.filter(|_| name == ".");
        let all = 0..places.len();
        let exact: Vec<usize> =
            all.clone().filter(|index| dot.map_or_else(|| places[*index].is(name), |here| places[*index].repositories.contains(&here))).collect();
        let found: Vec<usize> = if exact.is_empty() && name != "." { all.filter(|index| places[*index].begins(name)).collect() } else { exact.clone() };
        let shown = plain(name).into_owned();
        match (found.len(), exact.is_empty()) {
            (0, _) => return Err(NameError::Unknown { name: shown }),
            (1, _) | (_, false) => found.iter().for_each(|index| chosen[*index] = true),
            _ => return Err(NameError::Ambiguous { name: shown, matches: found.iter().map(|index| places[*index].name.to_owned()).collect() }),
        }
    }
    Ok(chosen)
}
