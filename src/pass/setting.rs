//! What a pass is given, and what is asked of it.

use std::time::Duration;

use super::account::Account;
use super::contacts::Contacts;
use super::lend::Lent;
use super::opener::Opener;
use super::round::Direction;
use super::said::Said;
use crate::config::Config;
use crate::paths::{Environment, Paths};
use crate::reconcile::project::RepositoryId;
use crate::reconcile::quiet::Occasion;

/// What a pass works with.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The configuration.
    pub config: Config,
    /// Where things lie.
    pub paths: Paths,
    /// The environment.
    pub environment: Environment,
    /// The account at GitHub; whoever keeps the setting keeps that.
    pub account: Account,
    /// What was said of failures; the same.
    pub said: Said,
    /// What is known of connections beside the state; the same.
    pub contacts: Contacts,
    /// Who opens places in place of a connection; none, but in tests.
    pub opener: Option<Opener>,
}

impl Setting {
    /// With an account that nothing is known of yet.
    #[must_use]
    pub fn new(config: Config, paths: Paths, environment: Environment) -> Self {
        Self { config, paths, environment, account: Account::default(), said: Said::default(), contacts: Contacts::default(), opener: None }
    }
}

/// What is asked of a pass.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which codespaces and machines; all of them for none.
    pub names: Vec<String>,
    /// The repository of the user's directory, for the name `.`.
    pub dot: Option<RepositoryId>,
    /// Days of the window; the configuration's for none.
    pub days: Option<u32>,
    /// What may be installed where.
    pub direction: Direction,
    /// Install nothing.
    pub dry_run: bool,
    /// How long a named codespace that is on its way up is waited for.
    pub wait: Option<Duration>,
    /// Why the agent asks; then the quiet rule decides who is visited, and on a look a name that is gone is no error. By hand, whatever
    /// runs is visited.
    pub occasion: Option<Occasion>,
    /// A connection that is there already: only its place is visited, and over that alone.
    pub lent: Option<Lent>,
}
