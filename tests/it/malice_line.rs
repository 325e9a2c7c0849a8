//! The line breaks: after every byte of a recorded visit, and at many places of real ones, by its end, by a reset, by silence and by a
//! trickle; and the far command is killed there. After each: nothing lost, nothing half, the next pass completes.
//!
//! `$CLAUDE_SESSION_SYNC_CUTS` is how many places of a visit of more than 64 KiB are tried in each direction and way, else 150 (`all`:
//! every byte); half of them are spread, half of them random by `$CLAUDE_SESSION_SYNC_SEED`. After some of them in a row a clean pass
//! completes what they broke. A twentieth of them is silence, in which the program's clock goes twenty times as fast: its limits are of
//! minutes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use claude_session_sync::codespace::wire::{Answer, FarPath, HashWant, Hashes, Listing, Nonce, Operation, PutAnswer, PutRequest, Range, Request, WireError};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};

use crate::dice::Dice;
use crate::figures::figure;
use crate::remote_far::{Far, ranges};
use crate::remote_script::A;
use crate::skip::have;
use crate::talk::{Talk, id};
use crate::world::{Bytes, Ran, Side, World};

const IDLE: Duration = Duration::from_secs(30);

/// How a stream goes on where it is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Close,
    Reset,
    Silence,
}

/// The first bytes of an answer, then what comes instead of the others.
struct Line<'a>(&'a [u8], Cut);

impl AsyncRead for Line<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return match self.1 {
                Cut::Close => Poll::Ready(Ok(())),
                Cut::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Cut::Silence => Poll::Pending,
            };
        }
        let (now, later) = self.0.split_at(self.0.len().min(into.remaining()));
        into.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// A question, its nonce and the recorded answer.
struct Recorded(Request, Nonce, Vec<u8>);

impl Recorded {
    fn of(far: &Far, request: Request) -> Self {
        let nonce = Nonce::random();
        let answer = far.call(&request, &nonce);
        Self(request, nonce, answer)
    }

    /// Reads the answer up to a byte, as a visit does.
    async fn read(&self, length: usize, cut: Cut) -> Result<(), WireError> {
        let mut answer = Answer::open(Line(&self.2[..length], cut), &self.1, IDLE).await?;
        match &self.0 {
            Request::List { .. } => Listing::read(&mut answer).await.map(drop),
            Request::Hash { wants, ahead, .. } => {
                Hashes::read(&mut answer, wants).await?;
                ranges(answer, ahead).await.map(drop)
            }
            Request::Put(put) => PutAnswer::read(&mut answer, put).await.map(drop),
            Request::Get { wants, .. } => ranges(answer, wants).await.map(drop),
        }
    }
}

/// One visit, recorded from the script: 60 KiB of answers.
fn visit() -> Vec<Recorded> {
    let far = Far::new();
    let transcript = format!("-p/{A}.jsonl");
    far.plant(&transcript, "a line of this transcript\n".repeat(2100).as_bytes());
    let path = FarPath::Store(transcript.parse().unwrap());
    let claude = far.name();
    let list = Request::List { claude: Some(claude.clone()), workspaces: None, roots: Vec::new(), agent: None };
    let wants = vec![HashWant { path: path.clone(), first: None }, HashWant { path: path.clone(), first: Some(26) }];
    let ahead = vec![Range { path: path.clone(), offset: 26, length: 26 * 50 }, Range { path: path.clone(), offset: 26 * 2100, length: 26 }];
    let hash = Request::Hash { claude: claude.clone(), wants, ahead };
    let get = Request::Get { claude, wants: vec![Range { path: path.clone(), offset: 26, length: 26 * 2000 }, Range { path, offset: 0, length: 26 }] };
    let files = vec![far.file(1, Operation::Create, &format!("-p/{A}/s1"), b"x", b"x")];
    let put = Request::Put(PutRequest { files, ..far.nothing() });
    [list, hash, get, put].map(|request| Recorded::of(&far, request)).into()
}

/// Time is paused: silence costs nothing.
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_after_any_byte_is_an_error_whichever_way_it_breaks() {
    let (visit, mut count) = (visit(), 0);
    for recorded in &visit {
        let whole = recorded.2.len();
        recorded.read(whole, Cut::Close).await.unwrap();
        for length in 0..whole {
            for cut in [Cut::Close, Cut::Reset, Cut::Silence] {
                let error = recorded.read(length, cut).await.expect_err("it was not whole");
                let fits = match cut {
                    Cut::Close => matches!(error, WireError::EndedEarly | WireError::NoMarker { .. }),
                    Cut::Reset => matches!(error, WireError::Read(_)),
                    Cut::Silence => matches!(error, WireError::Idle(_) | WireError::NoMarker { .. }),
                };
                assert!(fits, "{cut:?} after {length}: {error}");
                count += 1;
            }
        }
    }
    figure(&format!("{count} cuts of {} bytes", visit.iter().map(|recorded| recorded.2.len()).sum::<usize>()));
    assert!(count > 3 * 50_000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_trickles_for_ever_ends_a_visit() {
    let nonce = Nonce::random();
    for begun in ["banner\n".to_owned(), format!("css1 {}\nclaude 4000\n/", nonce.as_str())] {
        let (mut far, near) = tokio::io::duplex(8000);
        let trickle = tokio::spawn(async move {
            let mut piece = begun.into_bytes();
            while far.write_all(&piece).await.is_ok() {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                piece = b"x".to_vec();
            }
        });
        let began = tokio::time::Instant::now();
        let error = match Answer::open(near, &nonce, IDLE).await {
            Ok(mut answer) => Listing::read(&mut answer).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, WireError::TooSlow { received: 5..100 }), "{error}");
        assert!(began.elapsed() <= IDLE * 4, "{:?}", began.elapsed());
        trickle.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_that_does_its_best_has_the_time_it_needs() {
    let nonce = Nonce::random();
    let want = Range { path: FarPath::Store(format!("-p/{A}.jsonl").parse().unwrap()), offset: 0, length: 4 << 20 };
    let whole = format!("css1 {0}\ndata {1}\n{2}end {0}\n", nonce.as_str(), want.length, "x".repeat(4 << 20));
    let (mut far, near) = tokio::io::duplex(1 << 20);
    let drip = async move {
        for piece in whole.as_bytes().chunks(4096) {
            tokio::time::sleep(Duration::from_secs(3)).await;
            far.write_all(piece).await.unwrap();
        }
    };
    let read = async {
        let mut answer = Answer::open(near, &nonce, IDLE).await?;
        answer.fetch(&want, &mut tokio::io::sink()).await?;
        answer.finish().await
    };
    let began = tokio::time::Instant::now();
    tokio::join!(drip, read).1.unwrap();
    assert!(began.elapsed() > Duration::from_secs(3000), "it took most of an hour");
}

/// A world that goes on from break to break: each time both sides have grown and one has a new session.
struct Growing {
    world: World,
    far: Side,
    talks: BTreeMap<u32, Talk>,
    round: u32,
}

impl Growing {
    fn new() -> Self {
        let (world, far) = World::with_box();
        let talks = (1..=2).map(|n| (n, Talk::begun(&id(n), &world.here.at("widget"), 600, &format!("talk {n}")))).collect::<BTreeMap<_, _>>();
        talks.values().for_each(|talk| drop(world.here.put(talk)));
        world.passes();
        Self { world, far, talks, round: 0 }
    }

    /// Something for each direction.
    fn grows(&mut self) {
        self.round += 1;
        let text = format!("round {}, {}", self.round, "more ".repeat(ROUND / 5));
        for (n, at) in [(1, &self.world.here), (2, &self.far)] {
            let talk = self.talks.get_mut(&n).unwrap();
            *talk = talk.clone().line(&serde_json::json!({"type": "user", "timestamp": chrono::Utc::now(), "message": {"role": "user", "content": text}}));
            at.goes_on(talk);
        }
        if self.round.is_multiple_of(4) {
            let at = if self.round.is_multiple_of(8) { &self.world.here } else { &self.far };
            let talk = Talk::begun(&id(100 + self.round), &at.at("widget"), 60, &text);
            at.put(&talk);
            self.talks.insert(100 + self.round, talk);
        }
    }

    fn all(&self) -> BTreeMap<String, Bytes> {
        self.talks.values().map(|talk| (format!("{}.jsonl", talk.id), talk.bytes.clone())).collect()
    }

    /// What is anywhere is whole: as it was after the last clean pass, as it is to be, or as it was in between.
    fn nothing_is_half(&self, before: &BTreeMap<String, Bytes>, what: &str) {
        let after = self.all();
        for side in [&self.world.here, &self.far] {
            let sessions = side.sessions();
            for (name, bytes) in &sessions {
                let began = before.get(name).map_or(0, |bytes| bytes.len());
                let whole = bytes.len() >= began && bytes.ends_with(b"\n") && after.get(name).is_some_and(|after| after.starts_with(bytes));
                assert!(whole, "{name} at {} is half: {what}", side.name);
            }
            assert!(before.keys().all(|name| sessions.contains_key(name)), "something is gone: {what}");
        }
    }

    fn mends(&self, what: &str) {
        let ran = self.world.sync(&[]);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        assert_eq!((self.world.here.sessions(), self.far.sessions()), (self.all(), self.all()), "{what}");
    }
}

/// So many breaks in a row are mended by one clean pass.
const IN_A_ROW: usize = 10;
/// So many rows are of one world: every visit makes it larger.
const ROWS: usize = 5;
/// At least so many bytes are new each time in each direction.
const ROUND: usize = 66 << 10;

/// How a real line breaks.
#[derive(Debug, Clone, Copy)]
struct Break {
    direction: &'static str,
    how: &'static str,
}

impl Break {
    /// One visit through a line that breaks after so many bytes. How it ended, and how many bytes went through.
    fn visit(self, growing: &mut Growing, before: &BTreeMap<String, Bytes>, limit: u64) -> (Ran, u64) {
        let Self { direction, how } = self;
        let count = growing.world.root().join("count");
        let _ = fs::remove_file(&count);
        growing.grows();
        let cutter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cutter.py").display().to_string();
        let words = ["python3", &cutter, &count.display().to_string(), &limit.to_string(), direction, how].map(str::to_owned);
        let length = words.len();
        growing.world.reach("box", |command| drop(command.splice(0..0, words)));
        // Silence lasts until the visit has had enough of it.
        let fast: &[&str] = &["timeout", "120", "faketime", "-f", "+0 x20"];
        let watched = if how == "silence" && limit < WHOLE { fast } else { &fast[..2] };
        let ran = Ran::of(&mut growing.world.command(watched, &growing.world.arguments(&[])));
        growing.world.reach("box", |command| drop(command.drain(..length)));
        let what = format!("{direction} {how} after {limit}: {ran:?}");
        growing.nothing_is_half(before, &what);
        assert!([0, 1, 3].contains(&ran.code), "{what}");
        // Of an answer that had begun nobody says more than that it ended early.
        let why = match (direction, how) {
            (_, "silence") => "sent nothing for",
            ("up", "reset") => "reset by peer",
            _ => "",
        };
        assert!(ran.code == 0 || ran.out.contains(why), "{what}");
        (ran, fs::read_to_string(&count).unwrap_or_default().trim().parse().unwrap_or(0))
    }

    /// How many bytes go this way in a visit that is left alone.
    fn whole(self) -> u64 {
        let mut growing = Growing::new();
        let before = growing.all();
        let (ran, bytes) = self.visit(&mut growing, &before, WHOLE);
        assert!(ran.code == 0 && bytes > 64 << 10, "{bytes}: {ran:?}");
        bytes
    }

    /// Breaks visits at these places of one world; how many failed.
    fn tries(self, places: &[u64], in_a_row: usize) -> usize {
        let mut growing = Growing::new();
        let mut failed = 0;
        for row in places.chunks(in_a_row) {
            let before = growing.all();
            failed += row.iter().filter(|limit| self.visit(&mut growing, &before, **limit).0.code != 0).count();
            growing.mends(&format!("{self:?} after {row:?}"));
        }
        failed
    }
}

/// More than any visit has.
const WHOLE: u64 = 1 << 40;

/// So many places of this many bytes.
fn places(wanted: Option<usize>, bytes: u64, seed: u64) -> Vec<u64> {
    let Some(wanted) = wanted else { return (0..bytes).collect() };
    let mut dice = Dice(seed);
    let spread = (0..wanted - wanted / 2).map(|n| n as u64 * bytes / (wanted - wanted / 2) as u64);
    spread.chain((0..wanted / 2).map(|_| dice.roll(bytes))).collect()
}

fn breaks(direction: &'static str, how: &'static str) {
    let is_silent = how == "silence";
    if !have("python3", "--version") || is_silent && !have("faketime", "--version") {
        return;
    }
    let (broken, wanted) = (Break { direction, how }, std::env::var("CLAUDE_SESSION_SYNC_CUTS").unwrap_or_else(|_| "150".to_owned()));
    let seed = std::env::var("CLAUDE_SESSION_SYNC_SEED").map_or(3, |seed| seed.parse().unwrap());
    let wanted: Option<usize> = if wanted == "all" { is_silent.then_some(400) } else { Some(wanted.parse().unwrap()) };
    let bytes = broken.whole();
    let places = places(wanted.map(|wanted| if is_silent { (wanted / 20).max(2) } else { wanted }), bytes, seed);
    // Of a silence most is waiting: each has a world of its own, and all of them wait together.
    let (of_one, workers) = if is_silent { (1, 10) } else { (ROWS * IN_A_ROW, 2) };
    let (worlds, next) = (places.chunks(of_one).collect::<Vec<_>>(), AtomicUsize::new(0));
    let work = || {
        let mut failed = 0;
        while let Some(places) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
            failed += broken.tries(places, IN_A_ROW);
        }
        failed
    };
    let failed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    figure(&format!("{} places of {bytes} bytes, {direction}, {how}, seed {seed}: {failed} visits failed, every clean pass completed", places.len()));
    assert!(failed * 2 > places.len(), "most of them broke a visit: {failed}");
}

#[test]
fn a_line_that_ends_on_its_way_here_costs_nothing_but_time() {
    breaks("down", "close");
}

#[test]
fn a_far_command_that_is_killed_while_it_speaks_costs_nothing_but_time() {
    breaks("down", "kill");
}

#[test]
fn a_line_that_ends_on_its_way_there_costs_nothing_but_time() {
    breaks("up", "close");
}

#[test]
fn a_far_command_that_is_killed_while_it_listens_costs_nothing_but_time() {
    breaks("up", "kill");
}

#[test]
fn a_connection_that_is_reset_on_its_way_here_costs_nothing_but_time() {
    breaks("down", "reset");
}

#[test]
fn a_connection_that_is_reset_on_its_way_there_costs_nothing_but_time() {
    breaks("up", "reset");
}

#[test]
fn a_line_that_goes_silent_on_its_way_here_ends_the_visit_and_costs_nothing_but_time() {
    breaks("down", "silence");
}

#[test]
fn a_line_that_goes_silent_on_its_way_there_ends_the_visit_and_costs_nothing_but_time() {
    breaks("up", "silence");
}
