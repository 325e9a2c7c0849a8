//! One file of the log, line by line, while it may still grow.
//!
//! Promises: a line is handed out once it is whole; one that is longer than [`LONGEST`] comes in pieces, and bytes that are no
//! UTF-8 come as `\xNN`, so that nothing is lost and nothing fills the memory.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

/// Bytes of one line. Ours are shorter.
const LONGEST: usize = 256 << 10;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    day: NaiveDate,
    file: Option<BufReader<File>>,
    /// Device and inode that the name led to.
    inode: Option<(u64, u64)>,
    position: u64,
    /// The beginning of a line whose end is not there yet.
    unfinished: Vec<u8>,
    /// Why it cannot be read, until that was said.
    trouble: Option<io::Error>,
}

impl Lines {
    /// The file of a day. That it cannot be opened is said in its place.
    pub(super) fn open(path: &Path, day: NaiveDate) -> Self {
        let inode = fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let (file, trouble) = match File::open(path) {
            Ok(file) => (Some(BufReader::with_capacity(64 << 10, file)), None),
            Err(error) => (None, Some(error).filter(|error| error.kind() != io::ErrorKind::NotFound)),
        };
        Self { path: path.to_path_buf(), day, file, inode, position: 0, unfinished: Vec::new(), trouble }
    }

    /// Its day.
    pub(super) fn day(&self) -> NaiveDate {
        self.day
    }

    /// The next whole line, without its newline; none where there is none yet.
    pub(super) fn whole(&mut self) -> Option<String> {
        let room = LONGEST.saturating_sub(self.unfinished.len()) as u64;
        let read = self.file.as_mut().map(|file| file.by_ref().take(room).read_until(b'\n', &mut self.unfinished));
        match read {
            Some(Ok(read)) => self.position += read as u64,
            Some(Err(error)) => {
                self.file = None;
                self.trouble = Some(error);
            }
            None => {}
        }
        if self.unfinished.ends_with(b"\n") {
            self.unfinished.pop();
        } else if self.unfinished.len() < LONGEST {
            let trouble = self.trouble.take()?;
            return Some(format!("{} cannot be read: {trouble}", self.path.display()));
        }
        Some(text(&std::mem::take(&mut self.unfinished)))
    }

    /// The beginning of a line that will have no end.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.unfinished.is_empty()).then(|| text(&std::mem::take(&mut self.unfinished)))
    }

    /// Whether its name is that of another file by now, or the file was emptied.
    pub(super) fn was_replaced(&self) -> bool {
        let Ok(found) = fs::metadata(&self.path) else { return false };
        let shorter = self.file.is_some() && found.len() < self.position;
        shorter || self.inode != Some((found.dev(), found.ino()))
    }
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_said_once_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let mut lines = Lines::open(place.path(), NaiveDate::MIN);
        assert!(lines.whole().unwrap().contains(" cannot be read: "));
        assert_eq!((lines.whole(), lines.rest(), lines.was_replaced()), (None, None, false));
    }
}
