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

/// The digests of a file's beginnings, one for each line that ends.
#[derive(Debug)]
pub struct LineEnds<R> {
    file: R,
    chunk: Vec<u8>,
    at: usize,
    hash: Sha256,
}

impl<R: Read> LineEnds<R> {
    /// Of what is read from here.
    #[must_use]
    pub fn of(file: R) -> Self {
        Self { file, chunk: Vec::new(), at: 0, hash: Sha256::new() }
    }

    /// The next line end, or none when there is no further one.
    fn step(&mut self) -> io::Result<Option<Digest>> {
        loop {
            let rest = &self.chunk[self.at..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                self.hash.update(&rest[..=end]);
                self.at += end + 1;
                return Ok(Some(Digest(self.hash.clone().finalize().into())));
            }
            self.hash.update(rest);
            self.chunk.resize((2 * self.chunk.len()).clamp(FIRST_CHUNK, CHUNK), 0);
            let count = loop {
                match self.file.read(&mut self.chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    count => break count?,
                }
            };
            self.chunk.truncate(count);
            self.at = 0;
            if count == 0 {
                return Ok(None);
            }
        }
    }
}

impl<R: Read> Iterator for LineEnds<R> {
    type Item = io::Result<Digest>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Whether an error says that a file's bytes are not, or no longer, those that they were taken for: a matter of that file alone,
/// and of the next pass.
#[must_use]
pub fn is_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
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
}
