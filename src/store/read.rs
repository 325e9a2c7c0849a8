//! Reading files of this machine as contents: streamed, in constant memory.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::reconcile::order::Whole;
use crate::reconcile::transcript::{Digest, Reader, Reading};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// The same for a beginning: most files are small, and room for more would have to be cleared for each of them.
const FIRST_CHUNK: usize = 16 << 10;

/// What a reading is to take besides the content.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Prefix lengths to be hashed.
    pub marks: Vec<u64>,
    /// Whether the digests of messages are kept.
    pub messages: bool,
    /// Read no further than this.
    pub limit: Option<u64>,
}

/// Opens a file whose name others may change: never through a link, and never waiting for the other end of a pipe.
///
/// # Errors
/// As `open`; `InvalidData` ([`is_the_file`]) where something else than a regular file has the name by now.
pub fn open(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NOFOLLOW)
}

/// The text of a small file, which may be a link; what lies beyond `most` bytes is not read.
///
/// # Errors
/// As [`open`] and `read`.
pub fn small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    opened(path, OFlags::empty())?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn opened(path: &Path, more: OFlags) -> io::Result<File> {
    let not_a_file = || io::Error::new(io::ErrorKind::InvalidData, "is no regular file");
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | more, Mode::empty()) {
        Ok(file) if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile => Ok(file.into()),
        Ok(_) | Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Err(not_a_file()),
        Err(error) => Err(error.into()),
    }
}

/// Reads a file of lines.
///
/// # Errors
/// As `read`.
pub fn lines(file: impl Read, wanted: &Wanted) -> io::Result<Reading> {
    let mut reader = Reader::new(wanted.marks.iter().copied());
    if wanted.messages {
        reader = reader.keeping_messages();
    }
    each_chunk(file.take(wanted.limit.unwrap_or(u64::MAX)), |chunk| reader.push(chunk))?;
    Ok(reader.finish())
}

/// Reads a file as a whole. `modified` is in nanoseconds since 1970.
///
/// # Errors
/// As `read`.
pub fn whole(file: impl Read, modified: i64) -> io::Result<Whole> {
    let mut hash = Sha256::new();
    let mut length = 0;
    each_chunk(file, |chunk| {
        hash.update(chunk);
        length += chunk.len() as u64;
    })?;
    Ok(Whole { modified: modified.div_euclid(1_000_000_000), length, digest: Digest(hash.finalize().into()) })
}

/// The digest of the first `length` bytes; none if the file is shorter.
///
/// # Errors
/// As `read`.
pub fn prefix(file: &File, length: u64) -> io::Result<Option<Digest>> {
    let mut hash = Sha256::new();
    let mut seen = 0;
    each_chunk(file.take(length), |chunk| {
        hash.update(chunk);
        seen += chunk.len() as u64;
    })?;
    Ok((seen == length).then(|| Digest(hash.finalize().into())))
}

/// The digest of all lines before the first that names something, or of all lines there are if none does; none where no line ends
/// before. Takes no more memory, and no more work for a byte, however many lines there are.
///
/// # Errors
/// As `read`.
pub fn lines_before(mut file: impl Read, name: &str) -> io::Result<Option<Digest>> {
    let finder = memchr::memmem::Finder::new(name);
    let (mut hash, mut lines) = (Sha256::new(), None);
    // What is not in the hash yet.
    let (mut rest, mut chunk) = (Vec::new(), vec![0; FIRST_CHUNK]);
    loop {
        let count = match file.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        rest.extend_from_slice(&chunk[..count]);
        let found = finder.find(&rest);
        // Its beginning may be the end of this.
        let taken = found.unwrap_or_else(|| if count == 0 { rest.len() } else { rest.len().saturating_sub(name.len()) });
        let ended = memchr::memrchr(b'\n', &rest[..taken]).map_or(0, |end| end + 1);
        hash.update(&rest[..ended]);
        if ended > 0 {
            lines = Some(hash.clone());
        }
        if found.is_some() || count == 0 {
            return Ok(lines.map(|lines| Digest(lines.finalize().into())));
        }
        hash.update(&rest[ended..taken]);
        rest.drain(..taken);
        chunk.resize(CHUNK, 0);
    }
}

/// Whether an error says that a file's bytes are not, or no longer, those that they were taken for: a matter of that file alone,
/// and of the next pass.
#[must_use]
pub fn is_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

/// Whether a file is there and all of it can be read. Reads it.
#[must_use]
pub fn is_readable(path: &Path) -> bool {
    open(path).and_then(|file| whole(file, 0)).is_ok()
}

/// Copies what is left of a file, at most so many bytes, and says how many; shares blocks where the file system can. The system's own
/// copy may be interrupted, which the standard library passes on: then it goes on from where it was.
///
/// # Errors
/// As `read` and `write`.
pub fn copy(mut source: &File, into: &mut File, most: u64) -> io::Result<u64> {
    let begin = source.stream_position()?;
    loop {
        let done = source.stream_position()? - begin;
        match io::copy(&mut source.take(most.saturating_sub(done)), into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            copied => return Ok(done + copied?),
        }
    }
}

fn each_chunk(mut file: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; FIRST_CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                take(&buffer[..count]);
                if count == buffer.len() && count < CHUNK {
                    buffer = vec![0; CHUNK];
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_neither_followed_nor_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "some bytes").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "directory", "pipe", "socket", "file/below"] {
            assert!(is_the_file(&open(&at(name)).unwrap_err()), "{name}");
        }
        for name in ["directory", "pipe", "socket"] {
            assert!(is_the_file(&small(&at(name), 9).unwrap_err()), "{name}");
        }
        assert_eq!((small(&at("link"), 4).unwrap(), open(&at("file")).is_ok()), (b"some".to_vec(), true));
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// Gives so many bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (now, later) = self.0.split_at(self.1.min(buffer.len()).min(self.0.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    #[test]
    fn the_lines_before_the_first_that_names_something_are_found_however_they_arrive() {
        let long = "x".repeat(CHUNK);
        let texts =
            ["", "one", "name\n", "\n", "one\ntwo", "one\ntwo\n", "one\nna\nme name\nname\n", "one\ntwo name", &format!("one\n{long}\n{long}name\nname\n")];
        for text in texts {
            let before = text.find("name").map_or(text, |named| &text[..named]);
            let expected = before.rfind('\n').map(|end| Digest::of(&text.as_bytes()[..=end]));
            for at_once in [1, 2, 3, 4, 5, 1000, FIRST_CHUNK - 1, usize::MAX] {
                if text.len() / at_once < 10_000 {
                    assert_eq!(lines_before(Dripping(text.as_bytes(), at_once), "name").unwrap(), expected, "{} bytes, {at_once} at once", text.len());
                }
            }
        }
    }
}
