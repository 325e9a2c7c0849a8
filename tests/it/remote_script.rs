//! LIST, HASH and GET through real shells, and how the script travels.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use claude_session_sync::codespace::wire::{FarPath, HashWant, Listing, Nonce, Operation, Outcome, PutRequest, Range, Request};

use crate::remote_far::{Far, LOGIN_SHELLS, TOOLS, Tools, names, open, program, remote_command, sha256, skip, wait};

pub(crate) const A: &str = "6f869d7b-ce51-4e00-8a05-674dde6aa368";
pub(crate) const B: &str = "7f869d7b-ce51-4e00-8a05-674dde6aa368";

fn store(path: &str) -> FarPath {
    FarPath::Store(path.parse().unwrap())
}

fn whole(path: &str) -> HashWant {
    HashWant { path: store(path), first: None }
}

/// Create, list, hash, get, append and list again, all through the script.
pub(crate) fn round_trip(far: &Far) {
    let (transcript, side) = (format!("-w-p/{A}.jsonl"), format!("-w-p/{A}/subagents/agent-1.jsonl"));
    let first = b"{\"cwd\":\"/w/p\"}\none\n".as_slice();
    let request = PutRequest {
        replica: Some(B.parse().unwrap()),
        files: vec![far.file(1, Operation::Create, &side, b"s\n", b"s\n"), far.file(2, Operation::Create, &transcript, first, first)],
        ..far.nothing()
    };
    let answer = far.put(&request).unwrap();
    assert_eq!(answer.replica, request.replica);

    let listing = far.list();
    assert_eq!((listing.claude.as_str(), listing.replica, listing.registry), (far.name().as_str(), request.replica, false));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(listing.clock.abs_diff(i64::try_from(now).unwrap()) < 60);
    assert_eq!(listing.files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), [side.clone(), transcript.clone()]);
    assert_eq!(listing.files.iter().map(|file| file.stamp.modified / 1_000_000_000).collect::<Vec<_>>(), [1_700_000_001, 1_700_000_002]);
    for (n, file) in [(1, &listing.files[0]), (2, &listing.files[1])] {
        assert_eq!(answer.outcomes[&n], Outcome::Done { token: file.token.clone(), grew: None }, "an outcome is what the next listing says");
        let mode = std::fs::metadata(far.claude.join("projects").join(file.path.to_string())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(listing.working_directories, [("-w-p".parse().unwrap(), "/w/p".to_owned())]);

    let wants = vec![whole(&side), whole(&transcript), HashWant { path: store(&transcript), first: Some(5) }];
    let more = [HashWant { path: store(&transcript), first: Some(500) }, whole(&format!("-w-p/{B}.jsonl"))];
    let hashes = far.hash(wants.into_iter().chain(more).collect()).unwrap();
    assert_eq!((hashes.get(&store(&side), None), hashes.get(&store(&transcript), None)), (Some(sha256(b"s\n")), Some(sha256(first))));
    assert_eq!(hashes.get(&store(&transcript), Some(5)), Some(sha256(&first[..5])));
    assert_eq!(hashes.get(&store(&transcript), Some(500)), None, "a file shorter than that has no such prefix");
    assert_eq!(hashes.get(&store(&format!("-w-p/{B}.jsonl")), None), None);

    let range = |path: &str, offset, length| Range { path: store(path), offset, length };
    let ranges = [range(&transcript, 3, 4), range(&side, 0, 2), range(&side, 1, 2), range(&transcript, 0, 0), range(&transcript, 3, 1)];
    let bytes = [Some(first[3..7].to_vec()), Some(b"s\n".to_vec()), None, Some(Vec::new()), Some(first[3..4].to_vec())];
    assert_eq!(far.get(&ranges).unwrap(), bytes);
    let (hashes, ahead) = far.hash_and_get(vec![HashWant { path: store(&transcript), first: Some(5) }], &ranges).unwrap();
    assert_eq!((hashes.get(&store(&transcript), Some(5)), ahead), (Some(sha256(&first[..5])), bytes.to_vec()));

    let grown = [first, b"two\n"].concat();
    let operation = Operation::Replace { token: listing.files[1].token.clone(), base: first.len() as u64 };
    let answer = far.put(&PutRequest { files: vec![far.file(3, operation, &transcript, b"two\n", &grown)], ..far.nothing() }).unwrap();
    assert_eq!(answer.outcomes[&3], Outcome::Done { token: far.listed(&transcript).token, grew: None });
    assert_eq!(far.bytes(&transcript), grown);
    let vault = far.list().vault;
    assert_eq!(vault.iter().map(|object| (object.name.session().unwrap().to_string(), object.size)).collect::<Vec<_>>(), [(A.to_owned(), first.len() as u64)]);
    let kept = far.hash(vec![HashWant { path: FarPath::Vault(vault[0].name.clone()), first: None }]).unwrap();
    assert_eq!(kept.get(&FarPath::Vault(vault[0].name.clone()), None), Some(sha256(first)));
}

#[test]
fn every_login_shell_and_every_set_of_tools_says_the_same() {
    for login_shell in LOGIN_SHELLS {
        for tools in TOOLS {
            match Far::with(login_shell, tools) {
                Some(far) => round_trip(&far),
                None => skip("a round trip", &format!("no {login_shell} with {tools:?} here")),
            }
        }
    }
}

#[test]
fn a_banner_before_the_marker_is_skipped_up_to_64_kib() {
    let far = Far::new();
    far.plant(&format!("-p/{A}.jsonl"), b"x\n");
    for (bytes, fits) in [(10, true), (64 * 1024 - 1, true), (64 * 1024 + 1, false)] {
        let nonce = Nonce::random();
        let mut request = Vec::new();
        Request::List { claude: Some(far.name()), workspaces: None, roots: Vec::new(), agent: None }.write(&nonce, &mut request).unwrap();
        let mut command = Command::new(program("dash").unwrap());
        command.args(["-c", &format!("printf '%{bytes}s' 'css1 nonsense'; {}", remote_command())]);
        far.dress(&mut command);
        let answer = Far::talk(command, request);
        let read = wait(async { Listing::read(&mut open(&answer, &nonce).await?).await });
        assert_eq!(read.is_ok(), fits, "{bytes}: {read:?}");
    }
}

#[test]
fn a_store_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_not() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        assert!(far.list().files.is_empty());
        std::fs::remove_dir(&far.claude).unwrap();
        let listing = far.list();
        assert!(listing.files.is_empty());
        assert!(!far.claude.exists(), "a listing makes no directory");
        std::fs::create_dir(&far.claude).unwrap();
        symlink("nowhere", far.claude.join("projects")).unwrap();
        let failed = far.list_with(Some(far.name()), Vec::new()).unwrap_err();
        assert_eq!(failed.to_string(), format!("the far side failed: {}/projects is no directory", far.name()));
    }
}

#[test]
fn hostile_names_are_listed_escaped_and_run_nothing() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        far.plant(&format!("-p/{A}.jsonl"), b"x\n");
        let marker = far.home.path().join("was-run");
        for name in ["$(touch was-run)", "`touch was-run`", "a'b", "a\"b", "-rf", "a b", "a\\b", "\x1b[31mred", "%s%n", ";touch was-run", "é", "*", "a:b", "~"]
        {
            far.plant(&format!("-p/{name}/x.jsonl"), b"{\"cwd\":\"/x\"}\n");
            far.plant(&format!("{name}/{A}.jsonl"), b"{\"cwd\":\"/x\"}\n");
        }
        let bytes = std::ffi::OsStr::from_bytes(b"-p/\xff\xfe.jsonl");
        std::fs::write(far.claude.join("projects").join(bytes), "x").unwrap();
        far.plant(&format!("-p/new\nline/{B}.jsonl"), b"x\n");
        let fifo = far.claude.join(format!("projects/-p/{B}.jsonl"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let listing = far.list();
        assert_eq!(listing.files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), [format!("-p/{A}.jsonl"), format!("-rf/{A}.jsonl")]);
        assert_eq!(listing.skipped.len(), 30, "{:?}", listing.skipped);
        assert!(listing.skipped.iter().all(|skipped| !skipped.name.chars().any(char::is_control)));
        assert!(listing.skipped.iter().any(|skipped| skipped.why == "has a newline in its name"));
        assert!(listing.skipped.iter().any(|skipped| skipped.why == "is a pipe" && skipped.name == format!("-p/{B}.jsonl")));
        assert!(!marker.exists());
    }
}

#[test]
fn known_neighbours_are_left_out_without_a_word() {
    let far = Far::new();
    for path in ["-p/memory/MEMORY.md", "-p/sessions-index.json", "-p/agent-0a.jsonl"] {
        far.plant(path, b"x");
    }
    far.plant(&format!("-p/{A}/memory/note.txt"), b"x");
    let listing = far.list();
    assert_eq!(listing.files.len(), 1, "a folder of a session may be called memory");
    assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);
}

#[test]
fn the_claude_directory_is_found_where_none_is_given() {
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let empty = far.list_with(None, Vec::new()).unwrap();
        assert_eq!((empty.claude, empty.files.len()), (far.name(), 0), "{tools:?}");
        far.plant(&format!("-usual/{A}.jsonl"), b"{\"cwd\":\"/usual\"}\n");
        let usual = far.list_with(None, Vec::new()).unwrap();
        assert_eq!((usual.claude, usual.files.len(), usual.working_directories.len()), (far.name(), 1, 1), "{tools:?}");
        // What lies in the usual directory is not told where another one is named.
        let named = far.home.path().join("a named one");
        std::fs::create_dir_all(named.join("projects/-named")).unwrap();
        let profile = format!("echo welcome\nCLAUDE_CONFIG_DIR=\"{}\"\nexport CLAUDE_CONFIG_DIR\n", named.display());
        std::fs::write(far.home.path().join(".profile"), profile).unwrap();
        let listing = far.list_with(None, Vec::new()).unwrap();
        assert_eq!((listing.claude.as_str(), listing.files.len(), listing.working_directories.len()), (named.to_str().unwrap(), 0, 0), "{tools:?}");
        std::fs::write(named.join(format!("projects/-named/{B}.jsonl")), "{\"cwd\":\"/named\"}\n").unwrap();
        let listing = far.list_with(None, Vec::new()).unwrap();
        assert_eq!(listing.files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), [format!("-named/{B}.jsonl")], "{tools:?}");
        assert_eq!(listing.working_directories.iter().map(|(_, directory)| directory.as_str()).collect::<Vec<_>>(), ["/named"], "{tools:?}");
        assert_eq!(far.list().files.len(), 1, "{tools:?}: what is given is not looked for");
    }
}

#[test]
fn without_a_home_nothing_is_listed() {
    let far = Far::new();
    for home in [None, Some("")] {
        let nonce = Nonce::random();
        let request = Request::List { claude: None, workspaces: None, roots: Vec::new(), agent: None };
        let (mut command, bytes) = far.asking(&request, &nonce);
        command.env_remove("HOME");
        command.envs(home.map(|home| ("HOME", home)));
        let answer = Far::talk(command, bytes);
        let failure = wait(async { Listing::read(&mut open(&answer, &nonce).await?).await }).unwrap_err();
        assert_eq!(failure.to_string(), "the far side failed: no home directory");
    }
}

/// In a process table of its own: a client that all can see would be found by every other test, too.
#[test]
fn the_claude_directory_of_a_running_client_is_found() {
    let mut apart: Vec<OsString> = ["unshare", "--pid", "--fork", "--mount-proc"].map(OsString::from).into();
    if !rustix::process::geteuid().is_root() {
        apart.extend(["--user", "--map-root-user"].map(OsString::from));
    }
    if !Command::new(&apart[0]).args(&apart[1..]).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skip("a running client", "no process table of its own can be had here");
    }
    let mut far = Far::new();
    let (client, configured) = (far.home.path().join("claude"), far.home.path().join("configured"));
    std::fs::create_dir(&configured).unwrap();
    symlink(program("sleep").unwrap(), &client).unwrap();
    let both = "CLAUDE_CONFIG_DIR=$1 \"$0\" 600 & shift; until grep -qx claude /proc/$!/comm; do :; done; exec \"$@\"";
    apart.extend(["sh", "-c", both].map(OsString::from).into_iter().chain([client.into(), configured.clone().into()]));
    far.go_through(&apart);
    assert_eq!(far.list_with(None, Vec::new()).unwrap().claude, configured.to_str().unwrap());
}

#[test]
fn settings_give_the_retention_period() {
    let far = Far::new();
    assert_eq!(far.list().retention_days, None);
    std::fs::write(far.claude.join("settings.json"), "{\n  \"cleanupPeriodDays\": 45,\n  \"x\": 1\n}").unwrap();
    assert_eq!(far.list().retention_days, Some(45));
}

/// A process that lives until it is dropped, and its start time as the client records it.
pub(crate) struct Living(std::process::Child);

impl Living {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn began(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned()
    }

    pub(crate) fn entry(&self, far: &Far, text: &str) {
        std::fs::create_dir_all(far.claude.join("sessions")).unwrap();
        std::fs::write(far.claude.join(format!("sessions/{}.json", self.pid())), text).unwrap();
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_session_is_live_while_its_process_lives_and_began_when_it_says() {
    if !std::path::Path::new("/proc/self/stat").exists() {
        return skip("the live registry", "no /proc here");
    }
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let living = Living::start();
        let (pid, began) = (living.pid(), living.began());
        let cwd = "/w/\\\"sessionId\\\":\\\"x";
        let full = format!("{{\"pid\":{pid},\"sessionId\":\"{A}\",\"cwd\":\"{cwd}\",\"procStart\":\"{began}\",\"status\":\"busy\",\"updatedAt\":17}}");
        for (entry, live) in [
            (full.clone(), vec![(A, 17, Some("busy"))]),
            (full.replace(&format!("\"{began}\""), &began), vec![(A, 17, Some("busy"))]),
            (full.replace(&began, "12"), vec![]),
            (full.replace(',', ",\n "), vec![(A, 17, Some("busy"))]),
            (full[..full.find(",\"cwd").unwrap()].to_owned(), vec![(A, 0, None)]),
            (format!("{{\"sessionId\":\"{A}\"}}"), vec![(A, 0, None)]),
            (String::new(), vec![]),
        ] {
            living.entry(&far, &entry);
            std::fs::write(far.claude.join(format!("sessions/{pid}.0123.key")), "SECRET").unwrap();
            let listing = far.list();
            let found: Vec<_> = listing.live.iter().map(|live| (live.session.to_string(), live.updated_at, live.status.as_deref())).collect();
            assert!(listing.registry);
            assert_eq!(found.iter().map(|(id, at, status)| (id.as_str(), *at, *status)).collect::<Vec<_>>(), live, "{entry} with {tools:?}");
        }
        living.entry(&far, &full);
        drop(living);
        assert_eq!(far.list().live, [], "its process has ended");
    }
}

#[test]
fn clones_are_found_with_their_remotes_and_without_git() {
    let far = Far::new();
    let home = far.home.path();
    let make = |clone: &str, config: &str| {
        std::fs::create_dir_all(home.join(clone).join(".git")).unwrap();
        std::fs::write(home.join(clone).join(".git/config"), config).unwrap();
    };
    make(
        "workspaces/one",
        "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://x/f.git\n[remote \"origin\"]\n\turl = git@github.com:acme/one.git\n\tfetch = +x\n[submodule \"s\"]\n\turl = https://x/s\n",
    );
    make("workspaces/two", "[core]\n");
    std::fs::create_dir_all(home.join("workspaces/none")).unwrap();
    make("else/where", "[remote \"origin\"]\n  url=https://github.com/acme/three\n");
    std::fs::create_dir_all(home.join("else/where/deep/sub")).unwrap();
    std::fs::create_dir_all(home.join("tree")).unwrap();
    std::fs::write(home.join("tree/.git"), format!("gitdir: {}/workspaces/one/.git/worktrees/tree\n", home.display())).unwrap();
    make("from cwd", "");
    let cwd = home.join("from cwd").display().to_string();
    let project = claude_session_sync::reconcile::project::encode(&cwd);
    far.plant(&format!("{project}/{A}.jsonl"), format!("{{\"x\":1}}\n{{\"cwd\":\"{cwd}\"}}\n{{\"cwd\":\"/other\"}}\n").as_bytes());
    let roots = vec![home.join("else/where/deep/sub").display().to_string(), home.join("tree").display().to_string(), "/nowhere".to_owned()];
    let listing = far.list_with(Some(far.name()), roots).unwrap();
    let found: Vec<_> = listing.roots.iter().map(|root| (root.path.strip_prefix(home.to_str().unwrap()).unwrap(), root.remotes.join(" "))).collect();
    let one = "git@github.com:acme/one.git https://x/f.git".to_owned();
    let expected = [
        ("/workspaces/one", one.clone()),
        ("/workspaces/two", String::new()),
        ("/else/where", "https://github.com/acme/three".to_owned()),
        ("/tree", one),
        ("/from cwd", String::new()),
    ];
    assert_eq!(found, expected);
    assert_eq!(listing.working_directories, [(project.parse().unwrap(), cwd)]);
}

#[test]
fn a_range_far_into_a_file_is_exact_with_every_tool() {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for tools in TOOLS {
        let Some(far) = Far::with("dash", tools) else { continue };
        let path = format!("-p/{A}.jsonl");
        far.plant(&path, &bytes);
        let got =
            far.get(&[Range { path: store(&path), offset: 1_234_567, length: 1_700_001 }, Range { path: store(&path), offset: 0, length: 3_000_000 }]).unwrap();
        assert_eq!(got[0].as_deref(), Some(&bytes[1_234_567..2_934_568]), "{tools:?}");
        assert_eq!(got[1].as_deref(), Some(bytes.as_slice()));
    }
}

/// The calls of one request that change something, as strace tells them.
fn mutations(far: &Far, sh: &str, strace: &std::path::Path, request: &Request) -> Vec<String> {
    let log = far.home.path().join("strace");
    let mut command = Command::new(strace);
    let calls = "openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,chmod,fchmod,\
                 fchmodat,chown,fchown,fchownat,utimensat,truncate,ftruncate,mknod,mknodat,setxattr,fallocate";
    command.args(["-f", "-qq", "-y", "-e", &format!("trace={calls}"), "-o"]).arg(&log).arg(program(sh).unwrap()).args(["-c", &remote_command()]);
    far.dress(&mut command);
    let nonce = Nonce::random();
    let mut bytes = Vec::new();
    request.write(&nonce, &mut bytes).unwrap();
    let answer = Far::talk(command, bytes);
    assert!(answer.ends_with(format!("end {}\n", nonce.as_str()).as_bytes()), "{}", String::from_utf8_lossy(&answer));
    let is_mutation = |line: &&str| {
        let opens = line.contains(" open");
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag));
        !line.contains("\"/dev/") && !line.contains("+++") && !line.contains("---") && (writes || !opens)
    };
    std::fs::read_to_string(log).unwrap().lines().filter(is_mutation).map(str::to_owned).collect()
}

#[test]
fn reading_verbs_make_no_mutating_system_call_but_for_the_name_of_who_visits() {
    let Some(strace) = program("strace") else { return skip("the count of mutating calls", "no strace here") };
    for (tools, sh) in [(Tools::Dash, "dash"), (Tools::Bash, "bash")] {
        let far = Far::with("dash", tools).unwrap();
        let path = format!("-p/{A}.jsonl");
        far.plant(&path, b"{\"cwd\":\"/p\"}\n");
        let list = |agent: Option<&str>| Request::List {
            claude: Some(far.name()),
            workspaces: None,
            roots: vec!["/tmp".into()],
            agent: agent.map(|agent| agent.parse().unwrap()),
        };
        let ahead = vec![Range { path: store(&path), offset: 2, length: 3 }];
        let get = Request::Get { claude: far.name(), wants: ahead.clone() };
        let hash = Request::Hash { claude: far.name(), wants: vec![whole(&path), HashWant { path: store(&path), first: Some(3) }], ahead };
        let (put, none) = (Request::Put(far.nothing()), Vec::<String>::new());
        let made = |request: &Request| mutations(&far, sh, &strace, request);
        // Where no put has been, nothing at all is changed.
        for request in [list(Some(A)), hash, get] {
            assert_eq!(made(&request), none, "{request:?}");
        }
        assert!(!made(&put).is_empty(), "the count is blind");
        assert_eq!(made(&list(None)), none);
        let noted = made(&list(Some(A)));
        let agents = format!("{}/.claude-session-sync/agents", far.name());
        assert!(!noted.is_empty() && noted.iter().all(|call| call.contains(&agents)), "{noted:#?}");
        assert_eq!(names(agents.as_ref()), [A]);
    }
}

#[test]
fn an_unknown_verb_and_an_empty_request_do_nothing() {
    let far = Far::new();
    let answer = Far::talk(far.command(), b"wipe 0123\n/\n\n".to_vec());
    assert_eq!(String::from_utf8(answer).unwrap(), "\ncss1 0123\nfail 12\nunknown verbend 0123\n");
    for none in ["", "wipe 0123\n/\n"] {
        assert!(Far::talk(far.command(), none.as_bytes().to_vec()).is_empty(), "{none:?}");
    }
    assert_eq!(names(&far.claude), Vec::<String>::new());
}
