//! What a user would take instead: tar over a channel, rsync, unison, one connection per file; over the same sshd, with the same
//! compression as gh asks for, from the same tree, each into a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::e2e_world::Laptop;

/// So many files are copied one by one; the rest is reckoned from them.
pub(crate) const ONE_BY_ONE: usize = 10;

/// One of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// All of the tree, each time.
    Tar,
    /// What `find` says is newer than the last time.
    TarNewer,
    Rsync,
    Unison,
    /// A connection for each file: `scp`.
    Scp,
}

impl Tool {
    pub(crate) const ALL: [Self; 5] = [Self::Tar, Self::TarNewer, Self::Rsync, Self::Unison, Self::Scp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar, all of it",
            Self::TarNewer => "tar, what is newer",
            Self::Rsync => "rsync -a",
            Self::Unison => "unison -batch",
            Self::Scp => "scp, one connection per file",
        }
    }

    /// Whether it can be had here.
    pub(crate) fn is_here(self) -> bool {
        let program = match self {
            Self::Tar | Self::TarNewer => "tar",
            Self::Rsync => "rsync",
            Self::Unison => "unison",
            Self::Scp => "scp",
        };
        Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status().is_ok_and(|status| status.success())
    }
}

/// The way to one codespace for all of them.
pub(crate) struct Others {
    key: PathBuf,
    user: String,
    port: u16,
    far: PathBuf,
    here: PathBuf,
    last: SystemTime,
}

impl Others {
    /// `port` leads to the codespace; each tool gets a directory below `here`.
    pub(crate) fn of(laptop: &Laptop, name: &str, port: u16, here: &Path) -> Self {
        let far = laptop.at(name);
        let key = laptop.data().join("ssh/id_ed25519");
        Self { key, user: far.user().to_owned(), port, far: far.home().join(".claude/projects"), here: here.to_owned(), last: SystemTime::UNIX_EPOCH }
    }

    fn options(&self) -> Vec<String> {
        let fixed = "-F none -C -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -i";
        fixed.split(' ').map(str::to_owned).chain([self.key.display().to_string()]).collect()
    }

    fn ssh(&self) -> String {
        format!("ssh {} -p {} {}@127.0.0.1", self.options().join(" "), self.port, self.user)
    }

    /// A connection that does nothing.
    pub(crate) fn fresh(&self) -> Command {
        shell(&format!("{} true", self.ssh()))
    }

    /// From now on, this is what [`Tool::TarNewer`] has seen.
    pub(crate) fn seen(&mut self) {
        self.last = SystemTime::now();
    }

    /// Brings the far tree here, or what of it is new; `grown` is what grew, for who copies one file, and none for a first time.
    pub(crate) fn command(&self, tool: Tool, grown: Option<&Path>) -> Command {
        let into = self.here.join(tool.name().split(' ').next().unwrap()).join(if tool == Tool::TarNewer { "newer" } else { "all" });
        fs::create_dir_all(&into).unwrap();
        let (ssh, far, into) = (self.ssh(), self.far.display(), into.display());
        let since = self.last.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        match tool {
            Tool::Tar => shell(&format!("{ssh} 'cd {far} && tar cf - .' | tar xf - -C {into}")),
            Tool::TarNewer => shell(&format!("{ssh} 'cd {far} && find . -type f -newermt @{since} -print0 | tar cf - --null -T -' | tar xf - -C {into}")),
            Tool::Rsync => {
                let mut rsync = Command::new("rsync");
                let rsh = format!("ssh {} -p {}", self.options().join(" "), self.port);
                rsync.args(["-a", "-e", &rsh]).arg(format!("{}@127.0.0.1:{far}/", self.user)).arg(format!("{into}/"));
                rsync
            }
            Tool::Unison => {
                let mut unison = Command::new("unison");
                unison.arg(into.to_string()).arg(format!("ssh://{}@127.0.0.1:{}/{far}", self.user, self.port));
                unison.args(["-batch", "-auto", "-silent", "-times", "-confirmbigdel=false", "-sshargs", &self.options().join(" ")]);
                unison.env("HOME", self.here.join("unison"));
                unison
            }
            Tool::Scp => {
                let files: Vec<PathBuf> = grown.map_or_else(|| self.some(), |file| vec![file.to_owned()]);
                let one =
                    |file: &PathBuf| format!("scp -O -q {} -P {} {}@127.0.0.1:{} {into}/", self.options().join(" "), self.port, self.user, file.display());
                shell(&files.iter().map(one).collect::<Vec<_>>().join(" && "))
            }
        }
    }

    /// A few of the far transcripts.
    fn some(&self) -> Vec<PathBuf> {
        let transcripts = crate::e2e_world::files(&self.far).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        transcripts.take(ONE_BY_ONE).collect()
    }
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}
