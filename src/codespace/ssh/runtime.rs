//! The private directory of control sockets, and what a crash may leave in it.
//!
//! Beside each socket lies a file with the master's process id, locked by the process that uses the connection for as long as it
//! lives: no lock, no owner. Never: a signal to a process whose command line does not name the very socket.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::SshError;
use crate::paths::TOKEN_VARIABLES;

/// Longest path of a control socket, in bytes: macOS has room for 104 with the final NUL, and ssh first binds a name 17 longer.
pub const LONGEST_SOCKET_PATH: usize = 104 - 17 - 1;

/// What [`clean_stale`] found and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Sockets without an owner.
    pub sockets: usize,
    /// Processes that served such a socket.
    pub masters: usize,
}

/// A name for a control socket, and the locked file that says so. Dropped, both are removed.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    owned: File,
}

impl Socket {
    /// Chooses a fresh name in `runtime`, which is made where it is missing.
    pub(super) fn reserve(runtime: &Path) -> Result<Self, SshError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SshError::Files { what: "control sockets", path, source }
        };
        takes_sockets(runtime)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(runtime).map_err(failed(runtime))?;
        let found = fs::symlink_metadata(runtime).map_err(failed(runtime))?;
        if !found.is_dir() || found.mode() & 0o077 != 0 || found.uid() != geteuid().as_raw() {
            return Err(SshError::NotPrivate { path: runtime.to_owned() });
        }
        let (mut path, mut fresh) = (PathBuf::new(), String::new());
        while fresh.is_empty() || path.try_exists().map_err(failed(&path))? {
            fresh = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
            path = runtime.join(&fresh);
        }
        // Locked before it gets the name by which others look for it.
        let owned = tempfile::NamedTempFile::new_in(runtime).map_err(failed(runtime))?;
        owned.as_file().lock().map_err(failed(owned.path()))?;
        let owned = owned.persist_noclobber(path.with_extension("pid")).map_err(|error| failed(&path)(error.error))?;
        Ok(Self { path, owned })
    }

    /// Notes which process serves it.
    pub(super) fn served_by(&self, pid: i32) -> io::Result<()> {
        (&self.owned).write_all(format!("{pid}\n").as_bytes())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The option that tells ssh.
    pub(super) fn option(&self) -> String {
        option(&self.path)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The socket first: a socket without a pid file is taken for a leftover. What cannot be removed is found at the next start.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(self.path.with_extension("pid")));
    }
}

fn option(socket: &Path) -> String {
    format!("ControlPath=\"{}\"", socket.display())
}

/// Whether control sockets can lie in a directory, by its path alone.
///
/// # Errors
/// It is too long, or holds what ssh or gh would expand.
pub fn takes_sockets(runtime: &Path) -> Result<(), SshError> {
    in_words_of_ssh(&runtime.join("00000000"))
}

/// Whether ssh and gh take a path as it is: they expand `%`, `$` and quotes, and a socket's path must be short.
fn in_words_of_ssh(path: &Path) -> Result<(), SshError> {
    let refuse = |why| Err(SshError::Path { path: path.to_owned(), why });
    plain(path)?;
    if path.as_os_str().len() > LONGEST_SOCKET_PATH { refuse("too long for a socket") } else { Ok(()) }
}

/// Refuses a path with a character that ssh or gh would expand, or that is not absolute UTF-8.
pub(super) fn plain(path: &Path) -> Result<(), SshError> {
    let refuse = |why| Err(SshError::Path { path: path.to_owned(), why });
    match path.to_str() {
        None => refuse("not UTF-8"),
        Some(_) if !path.is_absolute() => refuse("not absolute"),
        Some(text) if text.contains(|character: char| character.is_control() || "%$\"\\".contains(character)) => {
            refuse("it holds a control character or one of % $ \" \\")
        }
        Some(_) => Ok(()),
    }
}

/// Removes what processes that are no more left in `runtime`, and ends the masters that still serve such a socket. Connections
/// that somebody uses are left alone, and so is every name that is not ours. Blocks for some milliseconds.
///
/// # Errors
/// When the directory or the process table cannot be read. A missing directory is clean.
pub fn clean_stale(runtime: &Path) -> io::Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let entries = match fs::read_dir(runtime) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cleaned),
        entries => entries?,
    };
    let mut leftovers: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(socket_stem) {
            leftovers.entry(stem.to_owned()).or_default().push(path);
        }
    }
    for (stem, paths) in leftovers {
        let socket = runtime.join(stem);
        let record = socket.with_extension("pid");
        let unowned = match File::open(&record) {
            Ok(file) => match file.try_lock() {
                Ok(()) => Some(file),
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for pid in serving(&socket)? {
            cleaned.masters += usize::from(kill(pid, Signal::SIGKILL).is_ok());
        }
        for path in paths.iter().filter(|path| **path != record) {
            cleaned.sockets += usize::from(fs::remove_file(path).is_ok());
        }
        drop(fs::remove_file(record));
        drop(unowned);
    }
    Ok(cleaned)
}

/// `<8 hex>` of a socket, of its pid file, or of the name that ssh binds first (`<8 hex>.<16 letters>`).
fn socket_stem(name: &str) -> Option<&str> {
    let (stem, end) = name.split_once('.').unwrap_or((name, "pid"));
    let ours = stem.len() == 8 && stem.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let known = end == "pid" || (end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    (ours && known).then_some(stem)
}

/// Processes whose command line names the socket as ours do.
fn serving(socket: &Path) -> io::Result<Vec<Pid>> {
    let named = option(socket);
    let mut found = Vec::new();
    if Path::new("/proc/self/cmdline").exists() {
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end between the listing and the reading.
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if arguments.split(|byte| *byte == 0).any(|argument| argument == named.as_bytes()) {
                found.push(Pid::from_raw(pid));
            }
        }
    } else {
        let mut ps = std::process::Command::new("ps");
        for name in TOKEN_VARIABLES {
            ps.env_remove(name);
        }
        let table = ps.args(["-axwwo", "pid=,command="]).output()?;
        for line in String::from_utf8_lossy(&table.stdout).lines().filter(|line| line.contains(&named)) {
            found.extend(line.split_whitespace().next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        // Short, as the path of a socket must be.
        tempfile::Builder::new().prefix("css").tempdir_in("/tmp").unwrap()
    }

    #[test]
    fn a_socket_in_use_stays_and_one_without_owner_goes_with_its_master() {
        let parent = directory();
        let runtime = parent.path().join("run");
        let used = Socket::reserve(&runtime).unwrap();
        fs::write(used.path(), "").unwrap();
        let stale = runtime.join("0123abcd");
        for name in ["0123abcd", "0123abcd.pid", "0123abcd.ABCDEFGHIJKLMNOP", "control.sock", "89abcdef"] {
            fs::write(runtime.join(name), "").unwrap();
        }
        let start = |last: &str| std::process::Command::new("sh").args(["-c", "read x", "sh", last]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (mut orphan, mut stranger) = (start(&option(&stale)), start(&stale.display().to_string()));
        // A process that was just started has no command line yet.
        let began = std::time::Instant::now();
        while serving(&stale).unwrap().is_empty() {
            assert!(began.elapsed() < std::time::Duration::from_secs(20), "the orphan was never seen");
            std::thread::yield_now();
        }
        let cleaned = clean_stale(&runtime).unwrap();
        assert!(!orphan.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none(), "a process that only mentions the path was killed");
        drop(stranger.stdin.take());
        stranger.wait().unwrap();
        assert_eq!(cleaned, Cleaned { sockets: 3, masters: 1 });
        let mut left: Vec<_> = fs::read_dir(&runtime).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut expected = vec![used.path().to_owned(), used.path().with_extension("pid"), runtime.join("control.sock")];
        expected.sort();
        assert_eq!(left, expected);
        drop(used);
        assert_eq!(clean_stale(&runtime).unwrap(), Cleaned::default());
        assert_eq!(clean_stale(&runtime.join("missing")).unwrap(), Cleaned::default());
    }

    #[test]
    fn a_path_that_ssh_would_not_take_as_it_is_is_refused() {
        let runtime = directory();
        let long = runtime.path().join("x".repeat(LONGEST_SOCKET_PATH - 8 - runtime.path().as_os_str().len()));
        assert!(matches!(Socket::reserve(&long), Err(SshError::Path { why: "too long for a socket", .. })));
        for bad in ["%h", "$HOME", "a\"b", "a\\b", "a\nb"] {
            assert!(matches!(Socket::reserve(&runtime.path().join(bad)), Err(SshError::Path { .. })), "{bad}");
        }
        assert!(Socket::reserve(&runtime.path().join("with space")).is_ok());
        let open = runtime.path().join("open");
        fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(matches!(Socket::reserve(&open), Err(SshError::NotPrivate { .. })));
    }
}
