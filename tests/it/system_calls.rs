//! What system calls do to files: those that change or read one, with the places of what they are about, and those that do neither.
//! A call of neither kind is one that nobody has thought about, and so no step of a run that makes it can be trusted.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use nix::libc;

/// How the calls are made, with the places of their arguments.
pub(crate) enum Shape {
    /// The path at this place is relative to the working directory.
    Path(usize),
    /// A directory and a name.
    At(usize),
    /// Two paths.
    Paths,
    /// A directory and a name, and once more.
    Ats,
    /// A descriptor.
    On(usize),
    /// Everything.
    All,
}

/// A call that changes a file, or reads one: its name, its shape, the place of its flags.
pub(crate) fn shape(number: i64) -> Option<(&'static str, Shape, usize)> {
    use Shape::{All, At, Ats, On, Path, Paths};
    Some(match number {
        libc::SYS_open => ("open", Path(0), 1),
        libc::SYS_openat => ("openat", At(0), 2),
        libc::SYS_openat2 => ("openat2", At(0), 2),
        libc::SYS_creat => ("creat", Path(0), 5),
        libc::SYS_mkdir => ("mkdir", Path(0), 5),
        libc::SYS_mkdirat => ("mkdirat", At(0), 5),
        libc::SYS_rmdir => ("rmdir", Path(0), 5),
        libc::SYS_unlink => ("unlink", Path(0), 5),
        libc::SYS_unlinkat => ("unlinkat", At(0), 2),
        libc::SYS_rename => ("rename", Paths, 5),
        libc::SYS_renameat => ("renameat", Ats, 5),
        libc::SYS_renameat2 => ("renameat2", Ats, 4),
        libc::SYS_link => ("link", Paths, 5),
        libc::SYS_linkat => ("linkat", Ats, 4),
        libc::SYS_symlink => ("symlink", Path(1), 5),
        libc::SYS_symlinkat => ("symlinkat", At(1), 5),
        libc::SYS_mknod => ("mknod", Path(0), 1),
        libc::SYS_mknodat => ("mknodat", At(0), 2),
        libc::SYS_truncate => ("truncate", Path(0), 1),
        libc::SYS_chmod => ("chmod", Path(0), 1),
        libc::SYS_fchmodat => ("fchmodat", At(0), 2),
        libc::SYS_fchmodat2 => ("fchmodat2", At(0), 2),
        libc::SYS_chown | libc::SYS_lchown => ("chown", Path(0), 5),
        libc::SYS_fchownat => ("fchownat", At(0), 5),
        libc::SYS_utimensat => ("utimensat", At(0), 5),
        libc::SYS_futimesat => ("utimes", At(0), 5),
        libc::SYS_utime | libc::SYS_utimes => ("utimes", Path(0), 5),
        libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_removexattr | libc::SYS_lremovexattr => ("setxattr", Path(0), 5),
        libc::SYS_fsetxattr | libc::SYS_fremovexattr => ("fsetxattr", On(0), 5),
        libc::SYS_write => ("write", On(0), 2),
        libc::SYS_pwrite64 => ("pwrite64", On(0), 2),
        libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => ("writev", On(0), 5),
        libc::SYS_copy_file_range => ("copy_file_range", On(2), 4),
        libc::SYS_sendfile => ("sendfile", On(0), 3),
        libc::SYS_splice => ("splice", On(2), 4),
        libc::SYS_ftruncate => ("ftruncate", On(0), 1),
        libc::SYS_fallocate => ("fallocate", On(0), 1),
        libc::SYS_fchmod => ("fchmod", On(0), 1),
        libc::SYS_fchown => ("fchown", On(0), 5),
        libc::SYS_ioctl => ("ioctl", On(0), 1),
        libc::SYS_fsync => ("fsync", On(0), 5),
        libc::SYS_fdatasync => ("fdatasync", On(0), 5),
        libc::SYS_syncfs => ("syncfs", On(0), 5),
        libc::SYS_sync => ("sync", All, 5),
        libc::SYS_read => ("read", On(0), 2),
        libc::SYS_pread64 => ("pread64", On(0), 2),
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => ("readv", On(0), 5),
        libc::SYS_getdents | libc::SYS_getdents64 => ("getdents64", On(0), 2),
        _ => return None,
    })
}

/// Whether a call of this name reads, and so changes nothing.
pub(crate) fn reads(name: &str) -> bool {
    matches!(name, "read" | "pread64" | "readv" | "getdents64")
}

/// Whether something is made or emptied by being opened so.
pub(crate) fn opens_to_change(flags: u64) -> bool {
    flags & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0
}

/// What is opened so has no name: it is made without `O_CREAT`, and may be linked later.
pub(crate) fn opens_unnamed(flags: u64) -> bool {
    let unnamed = u64::from(libc::O_TMPFILE.cast_unsigned());
    flags & unnamed == unnamed
}

/// `FICLONE` and `FICLONERANGE`.
const CLONES: [u64; 2] = [0x4004_9409, 0x4020_940d];
/// What only asks: the extents, the block size and the flags of a file (`FS_IOC_FIEMAP`, `FIGETBSZ`, `FS_IOC_GETFLAGS`, `FS_IOC_FSGETXATTR`).
const ASKS: [u64; 4] = [0xc020_660b, 2, 0x8008_6601, 0x801c_581f];

/// What an `ioctl` does to a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// It becomes a clone of another.
    Clones,
    /// Nothing.
    Nothing,
    /// Nobody knows.
    Unknown,
}

pub(crate) fn control(request: u64) -> Control {
    // A descriptor's own flags, terminals and sockets have these two letters.
    let letter = request >> 8 & 0xff;
    match request {
        clones if CLONES.contains(&clones) => Control::Clones,
        asks if ASKS.contains(&asks) || letter == u64::from(b'T') || letter == 0x89 => Control::Nothing,
        _ => Control::Unknown,
    }
}

/// Whether a mapping can change a file without a further call: it is shared, of a file, and may be written to.
pub(crate) fn maps_to_change(protection: u64, flags: u64) -> bool {
    let is = |bits: u64, bit: i32| bits & u64::from(bit.cast_unsigned()) != 0;
    is(protection, libc::PROT_WRITE) && is(flags, libc::MAP_SHARED) && !is(flags, libc::MAP_ANONYMOUS)
}

/// Whether a call changes no file and reads none, whoever makes it. Not every such call of the system stands here: only one that is made
/// and is in neither list needs a place. `mmap` is judged by what it asks for.
pub(crate) fn is_harmless(number: i64) -> bool {
    let lists: [&[i64]; 6] = [&PROCESSES, &MEMORY, &TIME, &IDENTITY, &DESCRIPTORS, &NAMES];
    lists.iter().any(|list| list.contains(&number)) || (libc::SYS_socket..=libc::SYS_getsockopt).contains(&number)
}

const PROCESSES: [i64; 45] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pause,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd,
    libc::SYS_signalfd4,
    libc::SYS_restart_syscall,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_membarrier,
];

const MEMORY: [i64; 14] = [
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_memfd_create,
    libc::SYS_pkey_mprotect,
    libc::SYS_arch_prctl,
];

const TIME: [i64; 21] = [
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_times,
    libc::SYS_alarm,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

const IDENTITY: [i64; 36] = [
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getpgrp,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getresuid,
    libc::SYS_setuid,
    libc::SYS_setreuid,
    libc::SYS_setresuid,
    libc::SYS_setfsuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresgid,
    libc::SYS_setgid,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setfsgid,
    libc::SYS_getgroups,
    libc::SYS_setgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_personality,
    libc::SYS_umask,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
];

const DESCRIPTORS: [i64; 32] = [
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_lseek,
    libc::SYS_pipe,
    libc::SYS_pipe2,
    libc::SYS_tee,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_create,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd,
    libc::SYS_eventfd2,
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_accept4,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
];

/// They ask for names and attributes; what a working directory is, the calls that use it say.
const NAMES: [i64; 22] = [
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_name_to_handle_at,
];

#[test]
fn every_call_that_may_change_a_file_is_known_or_belongs_to_no_list() {
    let unlisted = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_chroot,
        libc::SYS_pivot_root,
        libc::SYS_msync,
        libc::SYS_mmap,
        libc::SYS_swapon,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_open_by_handle_at,
        libc::SYS_io_submit,
        // Of kernels to come.
        9999,
    ];
    for number in 0..1024 {
        assert!(!is_harmless(number) || shape(number).is_none(), "{number} is in both lists");
    }
    assert!(unlisted.iter().all(|number| shape(*number).is_none() && !is_harmless(*number)));
    // FITRIM, FS_IOC_SETFLAGS, FIDEDUPERANGE.
    assert!([0xc018_5879, 0x4008_6602, 0xc018_9436].map(control).iter().all(|control| *control == Control::Unknown));
}
