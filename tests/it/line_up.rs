//! The line breaks on its way there: after every byte of what a visit says to the script, by its end and by a reset, and here and there
//! by silence. After each: the store is as it was or as it is to be, nothing of ours is left lying, and what is said again is done.
//!
//! By its end: after every byte of a list, a hash and a get; of a put, whose archive has blocks of 512 bytes, after every byte of the
//! first ones and then after those beside the blocks' ends. By a reset, which comes when what was said has been read: after one in 16
//! of the same. By silence: at places spread over each of the four, and in the last bytes of each. `$CLAUDE_SESSION_SYNC_CUTS=all` tries
//! every byte of every request by end and by reset, and four times as many silences.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use claude_session_sync::codespace::wire::{FarPath, HashWant, Nonce, Operation, Outcome, PutAnswer, PutRequest, Range, Request};

use crate::figures::figure;
use crate::remote_far::{Far, names, open, program, wait};
use crate::remote_script::A;
use crate::wait::reached;

const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";
const OLD: &[u8] = b"a line\n";
const NEW: &[u8] = b"a line\nand another one\n";

/// How the line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Close,
    Reset,
}

/// A store with one transcript that is to be continued, and one that is to come.
struct Store {
    far: Far,
    put: PutRequest,
}

fn path(id: &str) -> String {
    format!("-p/{id}.jsonl")
}

impl Store {
    fn new() -> Self {
        let far = Far::new();
        std::fs::create_dir(far.claude.join("sessions")).unwrap();
        let put = far.nothing();
        let mut store = Self { far, put };
        store.is_as_before();
        store
    }

    /// Everything is again as it was, and what is to be put fits it.
    fn is_as_before(&mut self) {
        let _ = std::fs::remove_file(self.far.claude.join("projects").join(path(B)));
        self.far.plant(&path(A), OLD);
        let operation = Operation::Replace { token: self.far.listed(&path(A)).token, base: OLD.len() as u64 };
        let side = format!("-p/{A}/tool-results/note.txt");
        let _ = std::fs::remove_dir_all(self.far.claude.join("projects/-p").join(A));
        let files = vec![
            self.far.file(1, Operation::Create, &side, b"a note", b"a note"),
            self.far.file(2, operation, &path(A), &NEW[OLD.len()..], NEW),
            self.far.file(3, Operation::Create, &path(B), NEW, NEW),
        ];
        self.put = PutRequest { files, ..self.far.nothing() };
    }

    fn requests(&self) -> [Request; 4] {
        let claude = self.far.name();
        let at = |id: &str| FarPath::Store(path(id).parse().unwrap());
        let wants = vec![HashWant { path: at(A), first: None }, HashWant { path: at(A), first: Some(3) }];
        let ranges = vec![Range { path: at(A), offset: 0, length: 7 }, Range { path: at(A), offset: 2, length: 3 }];
        let list = Request::List { claude: Some(claude.clone()), workspaces: None, roots: vec!["/nowhere".to_owned()], agent: None };
        let hash = Request::Hash { claude: claude.clone(), wants, ahead: ranges.clone() };
        [list, hash, Request::Get { claude, wants: ranges }, Request::Put(self.put.clone())]
    }

    /// What stands there is whole; whether anything was installed.
    fn holds(&self, what: &str) -> bool {
        let bytes = |id: &str| std::fs::read(self.far.claude.join("projects").join(path(id))).ok();
        let (old, new) = (bytes(A), bytes(B));
        assert!(old.as_deref().is_some_and(|bytes| bytes == OLD || bytes == NEW), "{what}: {old:?}");
        assert!(new.as_deref().is_none_or(|bytes| bytes == NEW), "{what}: {new:?}");
        assert_eq!(names(&self.far.claude.join(".claude-session-sync/stage")), Vec::<String>::new(), "{what}");
        old.as_deref() == Some(NEW) || new.is_some()
    }
}

/// Says the beginning of a request, and lets the line end. What came back.
fn say(far: &Far, bytes: &[u8], cut: Cut) -> Vec<u8> {
    let mut command = far.command();
    if cut == Cut::Close {
        return Far::talk(command, bytes.to_vec());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut there, _) = listener.accept().unwrap();
    // Who closes a connection with something unread in it resets it.
    there.write_all(b"unread").unwrap();
    let unread = there.try_clone().unwrap();
    let mut child = command.stdin(Stdio::from(OwnedFd::from(there))).spawn().unwrap();
    here.write_all(bytes).unwrap();
    // What it has not read by now would be lost with the line, and the reset come at another place.
    reached("what was said is read, or it ended", || rustix::io::ioctl_fionread(&unread).unwrap() == 0 || child.try_wait().unwrap().is_some());
    drop((here, unread));
    drop(command);
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    child.wait().unwrap();
    said
}

fn all() -> bool {
    std::env::var("CLAUDE_SESSION_SYNC_CUTS").is_ok_and(|word| word == "all")
}

/// Where a request is cut.
fn cuts(bytes: &[u8], archive: bool, cut: Cut) -> Vec<usize> {
    let first = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).map_or(0, |(at, _)| at + 1);
    let beside = |at: usize| at < first + 64 || (at - first) % 512 < 2 || (at - first) % 512 == 511 || (at - first).is_multiple_of(97);
    (0..bytes.len()).filter(|at| all() || (!archive || beside(*at)) && (cut == Cut::Close || at.is_multiple_of(16))).collect()
}

fn written(store: &Store, which: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.requests()[which].write(&Nonce::random(), &mut bytes).unwrap();
    bytes
}

/// What was tried.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    closes: usize,
    resets: usize,
    installed: usize,
    bytes: usize,
}

const WORKERS: usize = 2;

/// One worker's part of the places.
fn breaks_off(worker: usize) -> Counted {
    let (mut store, mut counted) = (Store::new(), Counted::default());
    for which in 0..4 {
        for cut in [Cut::Close, Cut::Reset] {
            let mut bytes = written(&store, which);
            counted.bytes += if cut == Cut::Close { bytes.len() } else { 0 };
            for length in cuts(&bytes, which == 3, cut).into_iter().skip(worker).step_by(WORKERS) {
                let what = format!("request {which}, {cut:?} after {length}");
                let said = say(&store.far, &bytes[..length.min(bytes.len())], cut);
                // What is listed is what was asked for, not a directory whose name was cut short.
                let lists = which == 0 && memchr::memmem::find(&said, b"\nclaude ").is_some();
                assert!(!lists || memchr::memmem::find(&said, format!("\n{}replica ", store.far.name()).as_bytes()).is_some(), "{what}");
                *(if cut == Cut::Close { &mut counted.closes } else { &mut counted.resets }) += 1;
                if store.holds(&what) {
                    assert_eq!(which, 3, "{what}: only a put puts");
                    counted.installed += 1;
                    store.is_as_before();
                    bytes = written(&store, which);
                }
            }
        }
    }
    let again = store.put.clone();
    let nonce = Nonce::random();
    let answer = store.far.call(&Request::Put(again.clone()), &nonce);
    let answer = wait(async { PutAnswer::read(&mut open(&answer, &nonce).await?, &again).await }).unwrap();
    assert!(answer.outcomes.values().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{:?}", answer.outcomes);
    counted
}

#[test]
fn a_request_that_breaks_off_after_any_byte_is_done_whole_or_not_at_all_and_can_be_said_again() {
    let done: Vec<Counted> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || breaks_off(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let sum = |of: fn(&Counted) -> usize| done.iter().map(of).sum::<usize>();
    let (closes, resets, installed, bytes) = (sum(|of| of.closes), sum(|of| of.resets), sum(|of| of.installed), done[0].bytes);
    figure(&format!("{closes} closes and {resets} resets in {bytes} bytes of list, hash, get and put; {installed} of them behind all that counts"));
    assert!(!all() || closes >= bytes - 64 && resets >= bytes - 64, "every byte, whose number may differ by those of a name");
    assert!(resets > closes / 32);
}

/// In which request, and behind how many bytes of it.
fn silences() -> Vec<(usize, usize)> {
    let store = Store::new();
    let spread = |which: usize| {
        let (length, many) = (written(&store, which).len(), if which == 3 { 12 } else { 5 } * if all() { 4 } else { 1 });
        let last = [length - 2, length - 1, length];
        (0..many).map(move |place| place * length / many).chain(last).map(move |length| (which, length))
    };
    (0..4).flat_map(spread).collect()
}

/// The script waits for minutes; here for a second.
#[test]
fn a_request_that_goes_silent_anywhere_is_done_whole_or_not_at_all() {
    let (silences, next) = (silences(), AtomicUsize::new(0));
    let work = || {
        let mut store = Store::new();
        store.far.tool("timeout", &format!("#!/bin/sh\nshift\nexec {} 1 \"$@\"\n", program("timeout").unwrap().display()));
        while let Some((which, length)) = silences.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let (what, bytes) = (format!("request {which}, silence after {length}"), written(&store, which));
            let length = length.min(bytes.len());
            let mut child = store.far.command().spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(&bytes[..length]).unwrap();
            reached("the script ended by itself", || child.try_wait().unwrap().is_some());
            let mut said = Vec::new();
            std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut said).unwrap();
            // An empty line ends what asks, and the archive what puts.
            assert!(which == 3 || memchr::memmem::find(&said, b"css1 ").is_some() == (length == bytes.len()), "{what}: {said:?}");
            if store.holds(&what) {
                assert!(which == 3 && length + 2000 > bytes.len(), "{what}: it was not all said");
                store.is_as_before();
            }
        }
    };
    // Most of the time nothing happens.
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let of = |which: usize| silences.iter().filter(|(of, _)| *of == which).count();
    figure(&format!("silence at {} places: {} of list, {} of hash, {} of get, {} of put, the last bytes of each", silences.len(), of(0), of(1), of(2), of(3)));
}
