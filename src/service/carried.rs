//! Which variables of the shell that installs the service the service gets, because a service manager gives it none of them. Pure.
//!
//! Promises: only variables of a list are carried, so never a token; a proxy with a password in its address is not; what could not
//! be carried is told. Never: a relative directory of `PATH`, which would depend on where the service is started.

use std::collections::BTreeMap;
use std::path::Path;

use crate::paths::{Environment, NamedBy, Paths, System};

/// Places and ways that the agent and its children need. `XDG_RUNTIME_DIR` and `SSH_AUTH_SOCK` change with every login.
const CARRIED: [&str; 8] =
    ["CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "GH_CONFIG_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The same, but the value may hold a password. Programs read them in both cases.
const PROXIES: [&str; 8] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"];

/// Where a token may stand, which the agent would have looked at.
const TOKENS: [&str; 2] = ["GH_TOKEN", "GITHUB_TOKEN"];

/// Names our configuration.
const CONFIG: &str = "CLAUDE_SESSION_SYNC_CONFIG";

/// Where programs usually lie; searched after the user's own directories.
const USUAL: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// The same, of Homebrew and of what is installed by hand.
const LOCAL: [&str; 2] = ["/opt/homebrew/bin", "/usr/local/bin"];

/// Why a variable that is set is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is a token.
    Token,
    /// Its address holds a password.
    Password,
    /// It is not UTF-8, or holds a control character.
    Unfit,
}

/// A variable that is set here, and that the service does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

/// What the service gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Names and values.
    pub variables: BTreeMap<String, String>,
    /// What it does not get.
    pub left_out: Vec<LeftOut>,
}

/// Chooses among the variables of an installing shell.
#[must_use]
pub fn carried(system: System, environment: &Environment, paths: &Paths) -> Carried {
    let mut carried = Carried::default();
    let set = |name: &'static str| environment.get(name).map(|value| (name, value.to_str()));
    for (name, value) in CARRIED.iter().chain(&PROXIES).filter_map(|name| set(name)) {
        match value {
            Some(value) if PROXIES.contains(&name) && has_password(value) => carried.leave_out(name, Reason::Password),
            Some(value) if is_fit(value) => drop(carried.variables.insert(name.to_owned(), value.to_owned())),
            _ => carried.leave_out(name, Reason::Unfit),
        }
    }
    for (name, _) in TOKENS.into_iter().filter_map(set) {
        carried.leave_out(name, Reason::Token);
    }
    if paths.config_named_by != NamedBy::Default {
        match paths.config_file.to_str().filter(|file| is_fit(file)) {
            Some(file) => drop(carried.variables.insert(CONFIG.to_owned(), file.to_owned())),
            None => carried.leave_out(CONFIG, Reason::Unfit),
        }
    }
    let path = environment.text("PATH").unwrap_or_default();
    carried.variables.insert("PATH".to_owned(), search_path(system, path));
    carried
}

impl Carried {
    fn leave_out(&mut self, name: &str, reason: Reason) {
        self.left_out.push(LeftOut { name: name.to_owned(), reason });
    }
}

/// The absolute directories of a `PATH` in their order, each once, and then the usual ones.
fn search_path(system: System, path: &str) -> String {
    let local = if system == System::Macos { &LOCAL[..] } else { &LOCAL[1..] };
    let mut found: Vec<&str> = Vec::new();
    for directory in path.split(':').chain(local.iter().copied()).chain(USUAL) {
        if Path::new(directory).is_absolute() && is_fit(directory) && !found.contains(&directory) {
            found.push(directory);
        }
    }
    found.join(":")
}

/// `http://user:password@proxy`, and in doubt anything with an `@`.
fn has_password(address: &str) -> bool {
    address.contains('@')
}

fn is_fit(value: &str) -> bool {
    !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(system: System, variables: &[(&str, &str)]) -> Carried {
        let environment: Environment = variables.iter().copied().chain([("HOME", "/h")]).collect();
        carried(system, &environment, &Paths::on(system, &environment).unwrap())
    }

    #[test]
    fn places_proxies_and_the_path_are_carried_and_nothing_else() {
        let got = of(
            System::Other,
            &[
                ("PATH", "/h/bin:rel:/usr/bin::/h/bin"),
                ("CLAUDE_CONFIG_DIR", "/c"),
                ("https_proxy", "http://proxy:3128"),
                ("SSH_AUTH_SOCK", "/tmp/agent"),
                ("AWS_SECRET_ACCESS_KEY", "x"),
                ("XDG_RUNTIME_DIR", "/run/user/1"),
            ],
        );
        let expected = [("CLAUDE_CONFIG_DIR", "/c"), ("PATH", "/h/bin:/usr/bin:/usr/local/bin:/bin:/usr/sbin:/sbin"), ("https_proxy", "http://proxy:3128")];
        assert_eq!(got.variables, expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        assert_eq!(got.left_out, []);
    }

    #[test]
    fn no_secret_is_carried_and_each_is_told() {
        let got = of(System::Other, &[("GH_TOKEN", "gho_x"), ("GITHUB_TOKEN", "y"), ("HTTPS_PROXY", "http://me:secret@proxy"), ("SSL_CERT_FILE", "/a\nb")]);
        assert_eq!(got.variables.keys().collect::<Vec<_>>(), ["PATH"]);
        let left: Vec<(&str, Reason)> = got.left_out.iter().map(|left| (left.name.as_str(), left.reason)).collect();
        let expected = [("SSL_CERT_FILE", Reason::Unfit), ("HTTPS_PROXY", Reason::Password), ("GH_TOKEN", Reason::Token), ("GITHUB_TOKEN", Reason::Token)];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_mac_finds_homebrew_s_programs() {
        assert_eq!(of(System::Macos, &[]).variables["PATH"], "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        assert_eq!(of(System::Macos, &[("PATH", "/usr/local/bin:/bin")]).variables["PATH"], "/usr/local/bin:/bin:/opt/homebrew/bin:/usr/bin:/usr/sbin:/sbin");
    }

    #[test]
    fn a_configuration_that_somebody_named_is_named_to_the_service() {
        let environment: Environment = [("HOME", "/h")].into_iter().collect();
        let paths = Paths::on(System::Other, &environment).unwrap().with_config_file("/x.toml".into());
        assert_eq!(carried(System::Other, &environment, &paths).variables["CLAUDE_SESSION_SYNC_CONFIG"], "/x.toml");
        assert_eq!(of(System::Other, &[("CLAUDE_SESSION_SYNC_CONFIG", "/y.toml")]).variables["CLAUDE_SESSION_SYNC_CONFIG"], "/y.toml");
    }
}
