//! The frame of an answer: a banner to skip, a marker, items with declared lengths, an end, and nothing behind it but the next answer.
//!
//! Promises: bounded memory whatever is announced, and an end to every wait. Never: a byte interpreted before its marker, or
//! after its end.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::Instant;

use super::{LONGEST_FAR_TEXT, LONGEST_NOISE, Nonce, Range, WireError, escaped, grammar, number};

/// Most bytes before the marker.
const LONGEST_BANNER: usize = 64 * 1024;
/// Longest header line, without its newline.
const LONGEST_HEADER: usize = 64;
/// Bytes a second below which an answer is no slow line but a way to keep us: each of them buys a thousandth of a second.
const SLOWEST: u64 = 1024;
/// More time than this cannot be bought.
const LONGEST_ANSWER: Duration = Duration::from_secs(6 * 3600);
/// What an answer has in any case, in idle limits.
const PATIENCE: u32 = 4;
/// Most bytes of the text of a failure.
const LONGEST_FAILURE: u64 = 64 * 1024;
/// Most bytes of a text item.
pub(super) const LONGEST_TEXT: u64 = 4 * 1024 * 1024;

/// What stands before the bytes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemHeader {
    /// Its kind, lower-case letters.
    pub kind: String,
    /// How many bytes follow.
    pub length: u64,
}

/// What became of one range that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// All of its bytes came.
    Data,
    /// The file is gone, cannot be read, or is too short now.
    Gone,
}

/// An answer being read, and those behind it in the same stream.
#[derive(Debug)]
pub struct Answer<R> {
    reader: BufReader<R>,
    end: String,
    idle: Duration,
    began: Instant,
    received: u64,
    pending: u64,
}

impl<R: AsyncRead + Unpin> Answer<R> {
    /// Skips the banner up to the marker with this nonce. No single read, here and later, waits longer than `idle`, and all of them
    /// together not longer than four times that, and a second more for each KiB that came.
    ///
    /// # Errors
    /// No marker within 64 KiB, a failing stream, or silence.
    pub async fn open(reader: R, nonce: &Nonce, idle: Duration) -> Result<Self, WireError> {
        let reader = BufReader::with_capacity(64 * 1024, reader);
        let mut answer = Self { reader, end: String::new(), idle, began: Instant::now(), received: 0, pending: 0 };
        answer.next(nonce, idle).await?;
        Ok(answer)
    }

    /// Goes on to the answer with this nonce, once the one before it has ended; as [`Answer::open`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self, nonce: &Nonce, idle: Duration) -> Result<(), WireError> {
        let first = self.end.is_empty();
        self.end = format!("end {}", nonce.as_str());
        (self.idle, self.began, self.received, self.pending) = (idle, Instant::now(), 0, 0);
        let marker = format!("css1 {}\n", nonce.as_str());
        let (mut seen, mut line) = (Vec::new(), 0);
        loop {
            let room = LONGEST_BANNER + marker.len() - seen.len();
            let filled = self.fill().await;
            // Who talks and then falls silent waits for an answer of ours.
            let silent = matches!(filled, Err(WireError::Idle(_))) && !seen.trim_ascii().is_empty();
            if !first && seen.is_empty() && matches!(filled, Ok([])) {
                return Err(WireError::EndedEarly);
            }
            if room == 0 || silent || matches!(filled, Ok([])) {
                let tail = &seen[seen.len().saturating_sub(LONGEST_NOISE)..];
                return Err(WireError::NoMarker { seen: escaped(tail.trim_ascii(), LONGEST_NOISE) });
            }
            let buffer = filled?;
            let line_end = buffer.iter().position(|b| *b == b'\n').map_or(buffer.len(), |at| at + 1);
            let taken = line_end.min(room);
            seen.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            if seen.ends_with(b"\n") {
                if seen[line..] == *marker.as_bytes() {
                    return Ok(());
                }
                line = seen.len();
            }
        }
    }

    /// The next item's header; `None` when the answer ended as it must. The bytes of the item before must have been read.
    ///
    /// # Errors
    /// Whatever is no header; a failure that the script itself reports.
    pub async fn next_item(&mut self) -> Result<Option<ItemHeader>, WireError> {
        if self.pending > 0 {
            return Err(grammar("the item before was not read"));
        }
        let line = self.line().await?;
        if line == self.end.as_bytes() {
            return if self.reader.buffer().is_empty() { Ok(None) } else { Err(grammar("bytes behind the end")) };
        }
        let header = std::str::from_utf8(&line).ok().and_then(|line| line.split_once(' ')).and_then(|(kind, length)| {
            let plain = (1..=16).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase());
            plain.then_some(ItemHeader { kind: kind.to_owned(), length: number(length)? })
        });
        let header = header.ok_or_else(|| grammar(format!("`{}` is no header", escaped(&line, LONGEST_HEADER))))?;
        self.pending = header.length;
        if header.kind == "fail" {
            let text = self.read_text(&header, LONGEST_FAILURE).await?;
            return Err(WireError::Far(escaped(&text, LONGEST_FAR_TEXT)));
        }
        Ok(Some(header))
    }

    /// The next item, which must be of this kind.
    pub(super) async fn expect(&mut self, kind: &str) -> Result<ItemHeader, WireError> {
        match self.next_item().await? {
            Some(header) if header.kind == kind => Ok(header),
            Some(header) => Err(grammar(format!("`{}` where `{kind}` belongs", header.kind))),
            None => Err(grammar(format!("the end where `{kind}` belongs"))),
        }
    }

    /// The next item, which must be of this kind and not longer than this, as bytes.
    pub(super) async fn text(&mut self, kind: &str, limit: u64) -> Result<Vec<u8>, WireError> {
        let header = self.expect(kind).await?;
        self.read_text(&header, limit).await
    }

    /// The end of the answer, where nothing else may stand.
    ///
    /// # Errors
    /// One more item, a failure, or bytes behind the end.
    pub async fn finish(&mut self) -> Result<(), WireError> {
        match self.next_item().await? {
            Some(header) => Err(grammar(format!("`{}` where the end belongs", header.kind))),
            None => Ok(()),
        }
    }

    /// The bytes of a text item, at most `limit`.
    ///
    /// # Errors
    /// A longer one (before a byte of it is kept), a NUL in it, or an early end.
    pub async fn read_text(&mut self, header: &ItemHeader, limit: u64) -> Result<Vec<u8>, WireError> {
        if header.length > limit {
            return Err(WireError::TooLarge { kind: header.kind.clone(), length: header.length });
        }
        let mut text = Vec::new();
        self.copy_data(header, &mut text).await?;
        if text.contains(&0) { Err(grammar(format!("a NUL in `{}`", header.kind))) } else { Ok(text) }
    }

    /// Copies the bytes of an item.
    ///
    /// # Errors
    /// An early end, silence, or a writer that fails.
    pub async fn copy_data(&mut self, header: &ItemHeader, out: &mut (impl AsyncWrite + Unpin)) -> Result<(), WireError> {
        if self.pending != header.length {
            return Err(grammar(format!("`{}` was read before", header.kind)));
        }
        while self.pending > 0 {
            let most = usize::try_from(self.pending).unwrap_or(usize::MAX);
            let buffer = self.fill().await?;
            let taken = buffer.len().min(most);
            if taken == 0 {
                return Err(WireError::EndedEarly);
            }
            out.write_all(&buffer[..taken]).await.map_err(WireError::Write)?;
            self.consume(taken);
            self.pending -= taken as u64;
        }
        Ok(())
    }

    /// The next range of a GET, in the order of the request; its bytes go to `out`.
    ///
    /// # Errors
    /// An item of another kind or length, an early end, silence, or a writer that fails.
    pub async fn fetch(&mut self, want: &Range, out: &mut (impl AsyncWrite + Unpin)) -> Result<Fetched, WireError> {
        let header = self.next_item().await?.ok_or_else(|| grammar("the end where `data` belongs"))?;
        match (header.kind.as_str(), header.length) {
            ("gone", 0) => Ok(Fetched::Gone),
            ("data", length) if length == want.length => self.copy_data(&header, out).await.map(|()| Fetched::Data),
            ("data" | "gone", length) => Err(grammar(format!("`{}` of {length} bytes where {} were asked for", header.kind, want.length))),
            (kind, _) => Err(grammar(format!("`{kind}` where `data` belongs"))),
        }
    }

    async fn fill(&mut self) -> Result<&[u8], WireError> {
        let bought = Duration::from_secs(self.received / SLOWEST).min(LONGEST_ANSWER);
        let left = (self.idle * PATIENCE + bought).saturating_sub(self.began.elapsed());
        let (most, idle, received) = (left.min(self.idle), self.idle, self.received);
        let filled = tokio::time::timeout(most, self.reader.fill_buf()).await;
        filled.map_err(|_| if left < idle { WireError::TooSlow { received } } else { WireError::Idle(idle) })?.map_err(WireError::Read)
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.received += bytes as u64;
    }

    /// A header line, without its newline.
    async fn line(&mut self) -> Result<Vec<u8>, WireError> {
        let mut line = Vec::new();
        loop {
            let buffer = self.fill().await?;
            if buffer.is_empty() {
                return Err(WireError::EndedEarly);
            }
            let newline = buffer.iter().position(|b| *b == b'\n');
            let taken = newline.unwrap_or(buffer.len()).min(LONGEST_HEADER + 1);
            line.extend_from_slice(&buffer[..taken]);
            self.consume(taken + usize::from(newline == Some(taken)));
            if line.len() > LONGEST_HEADER {
                return Err(grammar(format!("`{}` is no header", escaped(&line, LONGEST_HEADER))));
            }
            if newline.is_some() {
                return Ok(line);
            }
        }
    }
}

/// The lines of a text item; the last has no newline.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let some = !text.is_empty();
    text.split(|b| *b == b'\n').filter(move |_| some)
}

/// A text item that must be UTF-8, because only our own words and numbers belong in it.
pub(super) fn plain<'a>(text: &'a [u8], kind: &str) -> Result<&'a str, WireError> {
    std::str::from_utf8(text).map_err(|_| grammar(format!("`{kind}` is no UTF-8")))
}

/// The error for a line of a text item.
pub(super) fn bad_line(kind: &str, line: &[u8]) -> WireError {
    grammar(format!("`{}` in `{kind}`", escaped(line, 200)))
}
