//! Where things of ours lie: the data directory and its device, the directory of sockets, free space, sizes.
//!
//! Promises: one thing is tried, in the stage and only if there is one: two empty files change places, which says whether the file
//! system can replace a session's file without a moment in which it is missing.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::store::may_write;
use super::{Check, Topic};
use crate::codespace::ssh::takes_sockets;
use crate::config::Config;
use crate::paths::Paths;
use crate::reconcile::words::bytes;
use crate::store::{OWN_FOLDER, bytes_below};

/// With less than this a pass may stop in the middle: it stages whole transcripts.
const TOO_LITTLE: u64 = 256 << 20;
/// With less than this it is time to make room.
const LITTLE: u64 = 1 << 30;
/// Bytes of log of one day that are normal at most.
const LOG_OF_A_DAY: u64 = 128 << 20;

/// A directory of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    /// It is there.
    exists: bool,
    /// It belongs to somebody else.
    is_foreign: bool,
    /// A file can be made in it; where it is missing, in the nearest directory above.
    is_writable: bool,
    /// Others have rights in it.
    is_open: bool,
    /// Its device, or that of the nearest directory above.
    device: Option<u64>,
    /// Bytes that its user may still write there.
    free: Option<u64>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let us = rustix::process::geteuid().as_raw();
        let found = fs::metadata(path).ok();
        let nearest = path.ancestors().find(|directory| directory.is_dir());
        let free = nearest.and_then(|directory| rustix::fs::statvfs(directory).ok());
        Self {
            path: path.to_owned(),
            exists: found.is_some(),
            is_foreign: found.as_ref().is_some_and(|found| found.uid() != us),
            is_writable: nearest.is_some_and(may_write) && found.as_ref().is_none_or(Metadata::is_dir),
            is_open: found.is_some_and(|found| found.mode() & 0o077 != 0),
            device: nearest.and_then(|directory| fs::metadata(directory).ok()).map(|found| found.dev()),
            free: free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)),
        }
    }
}

/// Whether two files can change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exchange {
    /// They did.
    Works,
    /// The file system has no such call.
    Unknown,
    /// There is no stage yet.
    NotTried,
    /// No file could be made there, which has rows of its own.
    NoFile,
    /// It was refused.
    Fails(String),
}

/// Everything that was gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    store: Place,
    data: Place,
    /// Where vault and stage lie if data and store are on two devices.
    beside: Place,
    logs: Place,
    sockets: Place,
    /// Why no socket of ssh can lie there.
    unfit: Option<String>,
    exchange: Exchange,
    vault_bytes: u64,
    vault_warns_at: u64,
    log_bytes: u64,
    log_days: u32,
}

impl Facts {
    pub(super) fn gather(paths: &Paths, config: &Config) -> Self {
        let (store, data) = (Place::of(&paths.claude.join("projects")), Place::of(&paths.data));
        let own = paths.claude.join(OWN_FOLDER);
        let root = if store.device == data.device { &paths.data } else { &own };
        Self {
            exchange: exchange(&root.join("stage")),
            vault_bytes: bytes_below(&root.join("vault")),
            beside: Place::of(&own),
            logs: Place::of(&paths.logs),
            sockets: Place::of(&paths.runtime),
            unfit: takes_sockets(&paths.runtime).err().map(|error| error.to_string()),
            vault_warns_at: config.vault.warn_at.get(),
            log_bytes: bytes_below(&paths.logs),
            log_days: config.log.keep,
            store,
            data,
        }
    }
}

/// Both files are gone when this returns, whatever came of it.
fn exchange(stage: &Path) -> Exchange {
    if !stage.is_dir() {
        return Exchange::NotTried;
    }
    let file = || tempfile::Builder::new().prefix(".doctor").tempfile_in(stage);
    let (Ok(one), Ok(other)) = (file(), file()) else { return Exchange::NoFile };
    match rustix::fs::renameat_with(CWD, one.path(), CWD, other.path(), RenameFlags::EXCHANGE) {
        Ok(()) => Exchange::Works,
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Exchange::Unknown,
        Err(error) => Exchange::Fails(io::Error::from(error).to_string()),
    }
}

/// Judges all of it.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![data(facts), sockets(facts), space(facts)];
    checks.extend(exchanged(&facts.exchange));
    checks.extend(sizes(facts));
    checks
}

fn data(facts: &Facts) -> Check {
    let Place { path, exists, is_foreign, is_writable, is_open, device, .. } = &facts.data;
    let shown = path.display();
    match () {
        () if *is_foreign => Check::bad(Topic::Data, format!("{shown} belongs to another user")).advise(format!("sudo chown -R \"$(id -un)\" {shown}")),
        () if !is_writable => {
            Check::bad(Topic::Data, format!("nothing can be written to {shown}")).advise(format!("chmod u+rwx {shown}, if the disk is not read-only"))
        }
        () if *device != facts.store.device && facts.beside.device == facts.store.device => {
            Check::good(Topic::Data, format!("on another device than the sessions, so the vault lies in {}", facts.beside.path.display()))
        }
        () if *device != facts.store.device => {
            let finding = format!("{} is a device of its own, where no vault can lie", facts.store.path.display());
            Check::bad(Topic::Data, finding).advise("let the whole directory of the client be on that device, not `projects` alone")
        }
        () if *is_open => Check::note(Topic::Data, format!("{shown} is open to others")).advise(format!("chmod 700 {shown}")),
        () if !exists => Check::good(Topic::Data, format!("the first pass makes {shown}")),
        () => Check::good(Topic::Data, format!("{shown}, on the sessions' device")),
    }
}

fn sockets(facts: &Facts) -> Check {
    let Place { path, exists, is_foreign, is_open, is_writable, .. } = &facts.sockets;
    let shown = path.display();
    match &facts.unfit {
        Some(why) => Check::bad(Topic::Sockets, why).advise("set XDG_RUNTIME_DIR to a directory with a short path, of your own (0700)"),
        None if *exists && (*is_foreign || *is_open) => {
            Check::bad(Topic::Sockets, format!("{shown} is not private, so ssh is given no socket there")).advise(format!("chmod 700 {shown}"))
        }
        None if !is_writable => {
            Check::bad(Topic::Sockets, format!("nothing can be made in {shown}")).advise("set XDG_RUNTIME_DIR to a directory of your own (0700)")
        }
        None => Check::good(Topic::Sockets, shown.to_string()),
    }
}

fn exchanged(exchange: &Exchange) -> Option<Check> {
    Some(match exchange {
        Exchange::Works => Check::good(Topic::Exchange, "two files change places in one step"),
        Exchange::NotTried => Check::good(Topic::Exchange, "not tried before the first pass"),
        Exchange::Unknown => {
            Check::note(Topic::Exchange, "the file system cannot exchange two files in one step; a plain rename is used, after the old file is in the vault")
                .advise("nothing to do, unless the home can be on another file system (APFS, ext4, btrfs, xfs)")
        }
        Exchange::Fails(why) => {
            Check::bad(Topic::Exchange, format!("two files of ours could not change places: {why}")).advise("see what kind of disk this is: df ~/.claude")
        }
        Exchange::NoFile => return None,
    })
}

/// One line for all devices; the one with least room decides.
fn space(facts: &Facts) -> Check {
    let mut seen: Vec<(u64, &str, u64)> = Vec::new();
    for (name, place) in [("sessions", &facts.store), ("data", &facts.data), ("log", &facts.logs)] {
        if let (Some(device), Some(free)) = (place.device, place.free)
            && seen.iter().all(|(known, ..)| *known != device)
        {
            seen.push((device, name, free));
        }
    }
    let Some(least) = seen.iter().map(|(_, _, free)| *free).min() else { return Check::note(Topic::Space, "cannot be found out") };
    let all: Vec<String> = match &seen[..] {
        [(.., free)] => vec![format!("{} free", bytes(*free))],
        several => several.iter().map(|(_, name, free)| format!("{name}: {} free", bytes(*free))).collect(),
    };
    let finding = all.join(", ");
    match least {
        ..TOO_LITTLE => Check::bad(Topic::Space, finding).advise("make room: a pass stages whole sessions before it installs them"),
        TOO_LITTLE..LITTLE => Check::note(Topic::Space, finding).advise("make room soon"),
        _ => Check::good(Topic::Space, finding),
    }
}

fn sizes(facts: &Facts) -> [Check; 2] {
    let vault = bytes(facts.vault_bytes);
    let vault = if facts.vault_bytes > facts.vault_warns_at {
        Check::note(Topic::Vault, format!("{vault}, more than [vault] warn_at ({})", bytes(facts.vault_warns_at)))
            .advise("claude-session-sync vault gc --dry-run, for what may go; or raise [vault] warn_at")
    } else {
        Check::good(Topic::Vault, vault)
    };
    let log = bytes(facts.log_bytes);
    let log = if !facts.logs.is_writable || facts.logs.is_foreign {
        let finding = format!("nothing can be written to {}", facts.logs.path.display());
        Check::note(Topic::Log, finding).advise(format!("chmod u+rwx {}", facts.logs.path.display()))
    } else if facts.log_bytes > LOG_OF_A_DAY.saturating_mul(facts.log_days.into()) {
        Check::note(Topic::Log, format!("{log}, more than {} days can make", facts.log_days))
            .advise(format!("see what else lies in {}", facts.logs.path.display()))
    } else {
        Check::good(Topic::Log, log)
    };
    [vault, log]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn place(path: &str) -> Place {
        Place { path: path.into(), exists: true, is_writable: true, device: Some(1), free: Some(9 << 30), ..Place::default() }
    }

    fn facts() -> Facts {
        Facts {
            store: place("/h/.claude/projects"),
            data: place("/h/data"),
            beside: place("/h/.claude/own"),
            logs: place("/h/log"),
            sockets: place("/h/run"),
            unfit: None,
            exchange: Exchange::Works,
            vault_bytes: 5 << 20,
            vault_warns_at: 10 << 30,
            log_bytes: 1 << 20,
            log_days: 14,
        }
    }

    /// What is not good.
    fn found(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Verdict)> {
        let mut facts = facts();
        change(&mut facts);
        let checks = judge(&facts);
        checks.iter().filter(|check| check.verdict != Verdict::Good).map(|check| (check.topic.word(), check.verdict)).collect()
    }

    #[test]
    fn one_device_with_room_is_good() {
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|facts| (facts.data.exists, facts.exchange) = (false, Exchange::NotTried)), []);
    }

    #[test]
    fn the_vault_needs_a_place_on_the_sessions_device() {
        assert_eq!(found(|facts| facts.data.device = Some(2)), []);
        assert_eq!(found(|facts| (facts.data.device, facts.beside.device) = (Some(2), Some(2))), [("data", Verdict::Bad)]);
        assert_eq!(found(|facts| facts.data.is_foreign = true), [("data", Verdict::Bad)]);
        assert_eq!(found(|facts| (facts.data.is_writable, facts.exchange) = (false, Exchange::NoFile)), [("data", Verdict::Bad)]);
        assert_eq!(found(|facts| facts.data.is_open = true), [("data", Verdict::Note)]);
    }

    #[test]
    fn the_device_with_least_room_decides() {
        let of = |free| found(|facts| (facts.logs.device, facts.logs.free) = (Some(3), Some(free)));
        assert_eq!(of(TOO_LITTLE - 1), [("space", Verdict::Bad)]);
        assert_eq!(of(TOO_LITTLE), [("space", Verdict::Note)]);
        assert_eq!(of(LITTLE), []);
        assert_eq!(space(&facts()).finding, "9.0 GiB free");
    }

    #[test]
    fn sockets_need_a_short_and_private_place() {
        assert_eq!(found(|facts| facts.unfit = Some("too long".to_owned())), [("sockets", Verdict::Bad)]);
        assert_eq!(found(|facts| facts.sockets.is_open = true), [("sockets", Verdict::Bad)]);
        assert_eq!(found(|facts| (facts.sockets.is_open, facts.sockets.exists) = (true, false)), []);
    }

    #[test]
    fn what_has_grown_beyond_its_bounds_is_a_note() {
        assert_eq!(found(|facts| facts.vault_bytes = 11 << 30), [("vault", Verdict::Note)]);
        assert_eq!(found(|facts| facts.log_bytes = 2 << 30), [("log", Verdict::Note)]);
        assert_eq!(found(|facts| facts.exchange = Exchange::Unknown), [("exchange", Verdict::Note)]);
        assert_eq!(found(|facts| facts.exchange = Exchange::Fails("x".to_owned())), [("exchange", Verdict::Bad)]);
    }

    #[test]
    fn an_exchange_is_tried_where_there_is_a_stage_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(exchange(&place.path().join("stage")), Exchange::NotTried);
        assert_ne!(exchange(place.path()), Exchange::NotTried);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
