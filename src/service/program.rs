//! Which path of this program a unit names, so that the unit outlives an upgrade. Pure.

use std::path::{Component, Path, PathBuf};

/// The program as a unit names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// It lies in a build directory, where the next build replaces it and a clean-up removes it.
    pub is_of_a_build: bool,
}

impl Program {
    /// For the executable that runs now. In Homebrew's Cellar, `<prefix>/Cellar/NAME/VERSION/bin/x` is gone after the next upgrade; the
    /// link `<prefix>/opt/NAME` stays.
    #[must_use]
    pub fn of(executable: &Path) -> Self {
        let path = outside_of_cellar(executable).unwrap_or_else(|| executable.to_owned());
        // `…/target/debug/x`, `…/target/TRIPLE/release/x`: the directory itself may have any name, its profiles do not.
        let profile = path.parent().and_then(Path::file_name);
        Self { is_of_a_build: profile.is_some_and(|name| ["debug", "release", "dist"].iter().any(|profile| name == *profile)), path }
    }
}

fn outside_of_cellar(executable: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = executable.components().collect();
    let at = parts.iter().position(|part| part.as_os_str() == "Cellar")?;
    let (prefix, [_, name, _version, rest @ ..]) = parts.split_at(at) else { return None };
    if rest.is_empty() {
        return None;
    }
    let mut path: PathBuf = prefix.iter().collect();
    path.push("opt");
    path.push(name);
    path.extend(rest);
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_homebrew_is_named_by_the_link_that_outlives_an_upgrade() {
        for (executable, path) in [
            ("/opt/homebrew/Cellar/claude-session-sync/0.1.0/bin/claude-session-sync", "/opt/homebrew/opt/claude-session-sync/bin/claude-session-sync"),
            ("/home/linuxbrew/.linuxbrew/Cellar/claude-session-sync/0.2.0_1/bin/x", "/home/linuxbrew/.linuxbrew/opt/claude-session-sync/bin/x"),
            ("/usr/local/bin/claude-session-sync", "/usr/local/bin/claude-session-sync"),
            ("/x/Cellar/claude-session-sync/0.1.0", "/x/Cellar/claude-session-sync/0.1.0"),
        ] {
            assert_eq!(Program::of(Path::new(executable)), Program { path: path.into(), is_of_a_build: false });
        }
    }

    #[test]
    fn a_program_in_a_build_directory_is_noticed() {
        for (executable, expected) in
            [("/x/target/debug/c", true), ("/x/target/aarch64-apple-darwin/dist/c", true), ("/tmp/elsewhere/release/c", true), ("/usr/bin/c", false)]
        {
            assert_eq!(Program::of(Path::new(executable)).is_of_a_build, expected, "{executable}");
        }
    }
}
