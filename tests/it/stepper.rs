//! A process tree, stopped at every call that changes or reads a file: from outside, so that the program carries nothing for it.
//!
//! The calls of all processes and threads are seen in one order, so that the n-th of them can be named and everything on one side
//! killed in front of it, or that call refused. `strace -e inject` counts for each process on its own, and kills only that one.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::system_calls::{Control, Shape, control, is_harmless, maps_to_change, opens_to_change, opens_unnamed, reads, shape};

/// One call that changes a file, a name or a directory, makes a change durable, or reads.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Who calls.
    pub(crate) thread: Pid,
    /// Whether it is the program itself, and none of its children.
    pub(crate) own: bool,
    /// What.
    pub(crate) name: &'static str,
    /// Whether it reads, and so changes nothing.
    pub(crate) reads: bool,
    /// The names it is about, absolute; of a descriptor, what it is open on.
    pub(crate) paths: Vec<PathBuf>,
    /// The descriptor that is written to or made durable.
    pub(crate) descriptor: Option<i32>,
    /// Flags of `openat` and `renameat2`; the length of `ftruncate`.
    pub(crate) argument: u64,
}

/// When the tree stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before the call.
    Before,
    /// After it, with what it returned.
    After(i64),
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    On,
    /// The program is killed. What it started lives on, as the far side of a cut connection does.
    KillOwn,
    /// Everything that it started is killed, and it lives on.
    KillOthers,
    /// Only the process that calls is killed: one tool of the far side.
    KillCaller,
    /// The call is not made, and answered by this error.
    Refuse(i32),
    /// It moves one byte at most.
    Short,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// The program's exit code; none if it was killed.
    pub(crate) code: Option<i32>,
    /// What it printed, both streams.
    pub(crate) said: String,
}

const SYS_COPY_FILE_RANGE: u64 = libc::SYS_copy_file_range.cast_unsigned();

/// What a call is to files.
enum Judged {
    /// It changes one, or reads one.
    Known(Call),
    /// Neither.
    Harmless,
    /// Nobody has said.
    Unknown,
}

/// A stopped thread, read from outside.
struct Seen {
    thread: Pid,
    arguments: [u64; 6],
}

impl Seen {
    fn text(&self, place: usize) -> PathBuf {
        let mut memory = File::open(format!("/proc/{}/mem", self.thread)).unwrap();
        let mut text = Vec::new();
        memory.seek(SeekFrom::Start(self.arguments[place])).unwrap();
        let mut page = [0; 256];
        while !text.contains(&0) && text.len() < 4096 {
            // A name may end just before memory that cannot be read.
            let read = memory.read(&mut page).unwrap_or(0);
            if read == 0 {
                break;
            }
            text.extend_from_slice(&page[..read]);
        }
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        PathBuf::from(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    fn link(&self, what: &str) -> PathBuf {
        std::fs::read_link(format!("/proc/{}/{what}", self.thread)).unwrap_or_default()
    }

    fn open_on(&self, place: usize) -> PathBuf {
        self.link(&format!("fd/{}", self.descriptor(place)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a descriptor is the lower half of its register")]
    fn descriptor(&self, place: usize) -> i32 {
        self.arguments[place] as i32
    }

    fn below(&self, name: PathBuf, directory: Option<usize>) -> PathBuf {
        let at = |place: usize| if self.descriptor(place) == libc::AT_FDCWD { self.link("cwd") } else { self.open_on(place) };
        let name = if name.is_absolute() { name } else { directory.map_or_else(|| self.link("cwd"), at).join(name) };
        // `./` and a last slash say nothing.
        name.components().collect()
    }

    /// The first field of what `openat2` is told.
    fn flags_at(&self, place: usize) -> u64 {
        let (mut memory, mut flags) = (File::open(format!("/proc/{}/mem", self.thread)).unwrap(), [0; 8]);
        let read = memory.seek(SeekFrom::Start(self.arguments[place])).and_then(|_| memory.read_exact(&mut flags));
        read.map_or(u64::MAX, |()| u64::from_le_bytes(flags))
    }

    /// What a call is to files.
    fn judge(&self, number: i64, own: bool) -> Judged {
        if number == libc::SYS_mmap {
            return if maps_to_change(self.arguments[2], self.arguments[3]) { Judged::Unknown } else { Judged::Harmless };
        }
        let Some((name, shape, argument)) = shape(number) else { return if is_harmless(number) { Judged::Harmless } else { Judged::Unknown } };
        let argument = if name == "openat2" { self.flags_at(argument) } else { self.arguments[argument] };
        match name {
            "open" | "openat" | "openat2" if opens_unnamed(argument) => return Judged::Unknown,
            "open" | "openat" | "openat2" if !opens_to_change(argument) => return Judged::Harmless,
            "ioctl" => match control(argument) {
                Control::Clones => {}
                Control::Nothing => return Judged::Harmless,
                Control::Unknown => return Judged::Unknown,
            },
            _ => {}
        }
        Judged::Known(self.call((name, &shape, argument), own))
    }

    fn call(&self, (name, shape, argument): (&'static str, &Shape, u64), own: bool) -> Call {
        let mut descriptor = None;
        let paths = match *shape {
            Shape::Path(place) => vec![self.below(self.text(place), None)],
            // Without a name it is the descriptor's own file.
            Shape::At(place) if self.arguments[place + 1] == 0 => vec![self.open_on(place)],
            Shape::At(place) => vec![self.below(self.text(place + 1), Some(place))],
            Shape::Paths => vec![self.below(self.text(0), None), self.below(self.text(1), None)],
            Shape::Ats => vec![self.below(self.text(1), Some(0)), self.below(self.text(3), Some(2))],
            Shape::On(place) => {
                descriptor = Some(self.descriptor(place));
                vec![self.open_on(place)]
            }
            Shape::All => vec![PathBuf::from("/")],
        };
        Call { thread: self.thread, own, name, reads: reads(name), paths, descriptor, argument }
    }
}

/// Runs a command; `step` sees every changing call of it and of its children. Fails at a call that is in no list: it may have changed
/// anything.
#[expect(clippy::zombie_processes, reason = "waitpid ends it with all the others")]
pub(crate) fn run(command: &Command, stage: &Path, step: &mut dyn FnMut(&Call, Stop) -> Then) -> Ended {
    let mut said = tempfile::tempfile_in(stage).unwrap();
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "read begin; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    waiting.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
    waiting.stdin(Stdio::piped()).stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
    let mut child = waiting.spawn().unwrap();
    let root = Pid::from_raw(child.id().try_into().unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(root, options).unwrap();
    ptrace::interrupt(root).unwrap();
    let mut begin = child.stdin.take();
    let mut tree = Tree {
        root,
        groups: HashMap::new(),
        pending: HashMap::new(),
        doomed: HashSet::new(),
        inside: HashSet::new(),
        refused: HashMap::new(),
        unknown: BTreeSet::new(),
    };
    let mut ended = Ended::default();
    // Those of this thread only: another test may have children of its own.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    while let Ok(status) = waitpid(None::<Pid>, Some(flags)) {
        if let WaitStatus::Exited(pid, code) = status
            && pid == root
        {
            ended.code = Some(code);
        }
        if let Some((pid, signal)) = tree.stopped(&status, step) {
            // It may have been killed meanwhile.
            let _ = ptrace::syscall(pid, signal);
        }
        if let Some(mut begin) = begin.take() {
            let _ = begin.write_all(b"\n");
        }
    }
    assert!(tree.unknown.is_empty(), "calls that no list knows (tests/it/system_calls.rs): {:?}", tree.unknown);
    said.rewind().unwrap();
    said.read_to_string(&mut ended.said).unwrap();
    ended
}

/// All that is known of the processes.
struct Tree {
    root: Pid,
    /// The process of each thread.
    groups: HashMap<Pid, Pid>,
    /// The call that a thread is in.
    pending: HashMap<Pid, Call>,
    /// Processes that are killed, and whose children are.
    doomed: HashSet<Pid>,
    /// Threads that are in a call.
    inside: HashSet<Pid>,
    /// Threads whose call is refused, and the error.
    refused: HashMap<Pid, i32>,
    /// Calls that were made and are in no list, and by whom.
    unknown: BTreeSet<String>,
}

impl Tree {
    /// Looks at a stop; who is to be resumed, and with which signal.
    fn stopped(&mut self, status: &WaitStatus, step: &mut dyn FnMut(&Call, Stop) -> Then) -> Option<(Pid, Option<Signal>)> {
        match *status {
            WaitStatus::PtraceSyscall(pid) => {
                if self.inside.remove(&pid) {
                    if let (Some(error), Ok(mut registers)) = (self.refused.remove(&pid), ptrace::getregs(pid)) {
                        registers.rax = (-i64::from(error)).cast_unsigned();
                        ptrace::setregs(pid, registers).unwrap();
                    }
                    if let Some(call) = self.pending.remove(&pid) {
                        let result = ptrace::getregs(pid).map_or(-1, |registers| registers.rax.cast_signed());
                        step(&call, Stop::After(result));
                    }
                } else {
                    self.inside.insert(pid);
                    self.begins(pid, step);
                }
                Some((pid, None))
            }
            WaitStatus::PtraceEvent(pid, _, _) => {
                self.meet(pid);
                Some((pid, None))
            }
            WaitStatus::Stopped(pid, signal) => Some((pid, Some(signal))),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.pending.remove(&pid);
                self.inside.remove(&pid);
                self.groups.remove(&pid);
                None
            }
            _ => None,
        }
    }

    fn begins(&mut self, pid: Pid, step: &mut dyn FnMut(&Call, Stop) -> Then) {
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        let group = self.meet(pid);
        let number = registers.orig_rax.cast_signed();
        let call = match (Seen { thread: pid, arguments }).judge(number, group == self.root) {
            Judged::Known(call) => call,
            Judged::Harmless => return,
            Judged::Unknown => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                self.unknown.insert(format!("{number} {:#x} by {}", arguments[1], name.trim_end()));
                return;
            }
        };
        let then = step(&call, Stop::Before);
        self.pending.insert(pid, call);
        let mut doomed: HashSet<Pid> = match then {
            Then::On => return,
            Then::Short => {
                // The length of a copy is the fifth argument, that of a read or a write the third.
                let length = if registers.orig_rax == SYS_COPY_FILE_RANGE { &mut registers.r8 } else { &mut registers.rdx };
                *length = (*length).min(1);
                ptrace::setregs(pid, registers).unwrap();
                return;
            }
            Then::Refuse(error) => {
                // No such call: the kernel makes none.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers).unwrap();
                self.refused.insert(pid, error);
                return;
            }
            Then::KillOwn => [self.root].into(),
            Then::KillCaller => [group].into(),
            Then::KillOthers => self.groups.values().copied().filter(|group| *group != self.root).collect(),
        };
        doomed.retain(|pid| kill(*pid, Signal::SIGKILL).is_ok());
        if then == Then::KillOthers {
            self.doomed = doomed;
        }
    }

    /// The process of a thread. One that was started by a killed one does not outlive it.
    fn meet(&mut self, pid: Pid) -> Pid {
        if let Some(group) = self.groups.get(&pid) {
            return *group;
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).map(Pid::from_raw);
        let (group, parent) = (field("Tgid:").unwrap_or(pid), field("PPid:"));
        self.groups.insert(pid, group);
        if !self.doomed.is_empty() && group != self.root && parent.is_none_or(|parent| parent != self.root) {
            let _ = kill(group, Signal::SIGKILL);
            self.doomed.insert(group);
        }
        group
    }
}

#[test]
#[should_panic(expected = "161 ")]
fn a_call_that_no_list_knows_fails_the_run_that_makes_it() {
    // Made by everybody, allowed to root alone: `chroot`, behind which every name means something else.
    let mut command = Command::new("/usr/sbin/chroot");
    run(command.args(["/", "/bin/true"]), &std::env::temp_dir(), &mut |_, _| Then::On);
}
