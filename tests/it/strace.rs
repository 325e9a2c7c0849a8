//! Counting the system calls of a whole process tree that change something below a directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip::have;

/// Whether strace is here; a test that needs it ends otherwise.
pub(crate) fn here() -> bool {
    have("strace", "-V")
}

/// Calls that may change a file system. What is opened is judged by its flags.
const CALLS: &str = concat!(
    "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,linkat,symlink,symlinkat,",
    "truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,futimesat,utimensat,setxattr,lsetxattr,",
    "fsetxattr,removexattr,lremovexattr,fremovexattr,write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,splice,ioctl"
);

/// A tracer that writes to `log`; the words before the program.
pub(crate) fn tracer(log: &Path) -> Vec<String> {
    ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", &format!("trace=?{}", CALLS.replace(',', ",?")), "-e", "signal=none", "-o"]
        .into_iter()
        .map(str::to_owned)
        .chain([log.display().to_string()])
        .collect()
}

/// The traced calls that changed something below one of these directories, or may have: a relative name whose directory strace does
/// not show counts.
pub(crate) fn mutating(log: &Path, below: &[PathBuf]) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    assert!(text.contains("openat("), "nothing was traced");
    text.lines().filter(|line| changes(line) && concerns(line, below)).map(str::to_owned).collect()
}

fn call(line: &str) -> (&str, &str) {
    let line = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    let line = line.strip_prefix("<... ").unwrap_or(line);
    line.split_once('(').unwrap_or((line, ""))
}

fn changes(line: &str) -> bool {
    let (name, arguments) = call(line);
    if line.contains(" = -1 ENOTTY") {
        return false;
    }
    match name {
        "open" | "openat" | "openat2" => ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| arguments.contains(flag)),
        "ioctl" => arguments.contains("FICLONE"),
        _ => !name.contains("resumed>"),
    }
}

fn concerns(line: &str, below: &[PathBuf]) -> bool {
    let (name, arguments) = call(line);
    let inside = |path: &str| below.iter().any(|directory| Path::new(path).starts_with(directory));
    let mut descriptors = Vec::new();
    for word in arguments.split(", ") {
        if let Some(path) = word.strip_prefix('"').filter(|_| !name.contains("write")) {
            let path = path.split('"').next().unwrap_or_default();
            let directory: Option<&str> = descriptors.last().copied();
            // A relative name is below the descriptor before it; without one strace does not say where, so it counts.
            if if path.starts_with('/') { inside(path) } else { directory.is_none_or(inside) } {
                return true;
            }
        } else if let Some((_, path)) = word.split_once('<') {
            descriptors.push(path.split('>').next().unwrap_or_default());
        }
    }
    let named = arguments.starts_with('"') || name.ends_with("at") || name.ends_with("at2");
    // Of the calls that copy from one descriptor to another, these two name the source first.
    let written = if ["copy_file_range", "splice"].contains(&name) { descriptors.last() } else { descriptors.first() };
    !named && written.is_some_and(|path| inside(path))
}

/// Runs a command that [`tracer`] stands before, and gives the calls that changed something below.
pub(crate) fn count(command: &mut Command, log: &Path, below: &[PathBuf]) -> (crate::world::Ran, Vec<String>) {
    let ran = crate::world::Ran::of(command);
    (ran, mutating(log, below))
}
