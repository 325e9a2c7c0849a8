//! Which codespaces and machines a pass concerns: from GitHub's list, the configuration and the names that a user gave.

use crate::codespace::github::Codespace;
use crate::config::{Config, Machine, SyncPolicy};
use crate::pass::member::Admitted;
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
    /// A codespace. It may speak of its own repository, and of those that the configuration admits to it.
    #[must_use]
    pub fn codespace(codespace: Codespace, config: &Config) -> Self {
        let state = codespace.state.to_string();
        let mut admitted = Vec::new();
        let mut not_visited = None;
        match &codespace.repository {
            None => not_visited = Some("GitHub names no repository for it".to_owned()),
            Some(own) => {
                let default_root = Some(format!("/workspaces/{}", own.name()));
                let also = config.repositories.iter().filter(|repository| repository.also_in.contains(own)).map(|repository| (&repository.name, None));
                for (repository, default_root) in std::iter::once((own, default_root)).chain(also) {
                    if config.policy(repository) != SyncPolicy::Off {
                        admitted.push(Admitted { repository: repository.clone(), default_root });
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
        let admitted: Vec<Admitted> = synced.map(|repository| Admitted { repository: repository.clone(), default_root: None }).collect();
        let not_visited = admitted.is_empty().then(|| "sync = \"off\" for its repositories".to_owned());
        let reach = Reach::Machine(Box::new(machine.clone()));
        Self { display_name: name.clone(), name, reach, admitted, folders: Vec::new(), not_visited }
    }

    /// Its repositories.
    #[must_use]
    pub fn repositories(&self) -> Vec<RepositoryId> {
        self.admitted.iter().map(|admitted| admitted.repository.clone()).collect()
    }

    fn is_called(&self, name: &str) -> bool {
        let of_repository = || name.parse::<RepositoryId>().is_ok_and(|repository| self.concerns(&repository));
        self.name == name || self.display_name == name || (name.contains('/') && of_repository())
    }

    fn concerns(&self, repository: &RepositoryId) -> bool {
        match &self.reach {
            Reach::Codespace(codespace) => codespace.repository.as_ref() == Some(repository),
            Reach::Machine(machine) => machine.repositories.contains(repository),
        }
    }
}

/// The targets that these names mean; all of them for no names. `here` is the repository of the user's directory, for `.`.
///
/// # Errors
/// A name that fits nothing, or is the beginning of several.
pub fn choose(targets: Vec<Target>, names: &[String], here: Option<&RepositoryId>) -> Result<Vec<Target>, NameError> {
    if names.is_empty() {
        return Ok(targets);
    }
    let mut chosen = vec![false; targets.len()];
    for name in names {
        let dot = here.filter(|_| name == ".");
        let exact: Vec<usize> =
            (0..targets.len()).filter(|index| dot.map_or_else(|| targets[*index].is_called(name), |here| targets[*index].concerns(here))).collect();
        let begins = || {
            (0..targets.len())
                .filter(|index| targets[*index].name.starts_with(name.as_str()) || targets[*index].display_name.starts_with(name.as_str()))
                .collect()
        };
        let found: Vec<usize> = if exact.is_empty() && name != "." { begins() } else { exact.clone() };
        let shown = plain(name).into_owned();
        match (found.len(), exact.is_empty()) {
            (0, _) => return Err(NameError::Unknown { name: shown }),
            (1, _) | (_, false) => found.iter().for_each(|index| chosen[*index] = true),
            _ => return Err(NameError::Ambiguous { name: shown, matches: found.iter().map(|index| targets[*index].name.clone()).collect() }),
        }
    }
    Ok(targets.into_iter().zip(chosen).filter_map(|(target, chosen)| chosen.then_some(target)).collect())
}
