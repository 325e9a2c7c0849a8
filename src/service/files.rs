//! The unit's file on disk: read, written atomically, kept, removed.
//!
//! Promises: a reader finds the old unit or the new one, whole; whatever is displaced was copied before into our data directory,
//! where no service manager looks. Never: a file removed that is no unit, no link to ours and no job that was kept before.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::ServiceError;
use crate::paths::make_private;

/// A unit is a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// The text of a unit; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ServiceError> {
    let length = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot be looked at", path, error)),
    };
    if length > LARGEST {
        return Err(failed("cannot be read", path, io::ErrorKind::FileTooLarge.into()));
    }
    let bytes = fs::read(path).map_err(|error| failed("cannot be read", path, error))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Writes a unit, in the place of an older one or of none.
pub(super) fn write(path: &Path, text: &str) -> Result<(), ServiceError> {
    let cannot = |error| failed("cannot be written", path, error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(cannot)?;
    let mut new = tempfile::Builder::new().prefix(".claude-session-sync").tempfile_in(directory).map_err(cannot)?;
    new.write_all(text.as_bytes()).map_err(cannot)?;
    new.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(cannot)?;
    new.as_file().sync_all().map_err(cannot)?;
    new.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}

/// Copies a file to `<directory>/NAME.bak-<UTC time>`, and says where that is.
pub(super) fn keep(path: &Path, directory: &Path, now: DateTime<Utc>) -> Result<PathBuf, ServiceError> {
    let cannot = |error| failed("cannot be kept", path, error);
    make_private(directory).map_err(cannot)?;
    let bytes = fs::read(path).map_err(cannot)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{name}.bak-{}", now.format("%Y%m%dT%H%M%SZ"));
    for number in 1.. {
        let copy = directory.join(if number == 1 { name.clone() } else { format!("{name}.{number}") });
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy) {
            Ok(mut file) => {
                file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(cannot)?;
                return Ok(copy);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(error)),
        }
    }
    Err(cannot(io::ErrorKind::AlreadyExists.into()))
}

/// Removes a unit, a link to it, or a job that was kept; whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool, ServiceError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("cannot be removed", path, error)),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> ServiceError {
    ServiceError::File { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_written_whole_and_an_older_one_is_kept_every_time() {
        let place = tempfile::tempdir().unwrap();
        let (unit, kept) = (place.path().join("a/b/x.service"), place.path().join("kept"));
        assert_eq!(read(&unit).unwrap(), None);
        write(&unit, "one").unwrap();
        let now = "2026-11-21T05:06:07Z".parse().unwrap();
        let first = keep(&unit, &kept, now).unwrap();
        write(&unit, "two").unwrap();
        let second = keep(&unit, &kept, now).unwrap();
        assert_eq!(first.file_name().unwrap(), "x.service.bak-20261121T050607Z");
        assert_eq!((fs::read_to_string(first).unwrap(), fs::read_to_string(second).unwrap()), ("one".to_owned(), "two".to_owned()));
        assert_eq!(read(&unit).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(unit.parent().unwrap()).unwrap().count(), 1, "nothing else lies beside it");
        assert!(remove(&unit).unwrap() && !remove(&unit).unwrap());
    }

    #[test]
    fn what_is_no_unit_is_not_read_into_memory() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("x");
        fs::File::create(&file).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("cannot be read"));
    }
}
