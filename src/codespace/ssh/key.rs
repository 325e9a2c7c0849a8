//! The program's own ssh key, so that the user's `~/.ssh` is neither read nor changed for a codespace.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::{Environment, Programs, SshError, spawn_error};
use crate::codespace::failure::{Failure, Phase, one_line};

/// Longest wait for ssh-keygen.
const DEADLINE: Duration = Duration::from_secs(10);

/// The private key `<dir>/id_ed25519`, made with its public half if there is none. Any number of processes may do this at once:
/// the private key is installed by a link that fails if there is one, and the public half is always derived from what is installed.
///
/// # Errors
/// When the directory cannot be written, or ssh-keygen cannot be run, fails, or takes more than 10 s.
pub async fn ensure(dir: &Path, programs: &Programs, environment: &Environment) -> Result<PathBuf, SshError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SshError::Files { what: "the ssh key", path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(at(dir))?;
    let (private, public) = (dir.join("id_ed25519"), dir.join("id_ed25519.pub"));
    if !private.try_exists().map_err(at(&private))? {
        let fresh = tempfile::Builder::new().prefix(".new").tempdir_in(dir).map_err(at(dir))?;
        let made = fresh.path().join("key");
        keygen(programs, environment, &["-q", "-t", "ed25519", "-N", "", "-C", "claude-session-sync", "-f"], &made).await?;
        match fs::hard_link(&made, &private) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(&private)(error)),
            _ => {}
        }
    }
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).map_err(at(&private))?;
    if !public.try_exists().map_err(at(&public))? {
        let derived = keygen(programs, environment, &["-y", "-f"], &private).await?;
        let fresh = tempfile::NamedTempFile::new_in(dir).map_err(at(dir))?;
        fs::write(fresh.path(), derived).map_err(at(&public))?;
        fresh.persist(&public).map_err(|error| at(&public)(error.error))?;
    }
    Ok(private)
}

async fn keygen(programs: &Programs, environment: &Environment, arguments: &[&str], file: &Path) -> Result<Vec<u8>, SshError> {
    let mut command = environment.command(&programs.ssh_keygen);
    command.args(arguments).arg(file).stdin(Stdio::null()).kill_on_drop(true);
    let answer = tokio::time::timeout(DEADLINE, command.output()).await.map_err(|_| Failure::Timeout { phase: Phase::Key })?;
    let output = answer.map_err(|source| spawn_error(&programs.ssh_keygen, source))?;
    if output.status.success() { Ok(output.stdout) } else { Err(SshError::Keygen { text: one_line(&String::from_utf8_lossy(&output.stderr)) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn many_at_once_make_one_key_that_stays() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("deep/ssh");
        let (programs, environment) = (Programs::default(), Environment::inherited());
        let all = futures_util::future::join_all((0..6).map(|_| ensure(&dir, &programs, &environment))).await;
        let private = dir.join("id_ed25519");
        for one in all {
            assert_eq!(one.unwrap(), private);
        }
        let (key, public) = (fs::read(&private).unwrap(), fs::read_to_string(dir.join("id_ed25519.pub")).unwrap());
        assert!(public.starts_with("ssh-ed25519 ") && public.trim_end().ends_with("claude-session-sync"), "{public}");
        assert_eq!((mode(&dir), mode(&private), mode(&dir.join("id_ed25519.pub"))), (0o700, 0o600, 0o600));
        fs::remove_file(dir.join("id_ed25519.pub")).unwrap();
        ensure(&dir, &programs, &environment).await.unwrap();
        assert_eq!(fs::read(&private).unwrap(), key);
        assert_eq!(fs::read_to_string(dir.join("id_ed25519.pub")).unwrap(), public);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["id_ed25519", "id_ed25519.pub"]);
    }
}
