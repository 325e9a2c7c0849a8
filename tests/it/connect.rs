//! `connect` without a terminal, as scripts run it: one connection for visit, command and visit; the exit status and the bytes are
//! those of the command.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use claude_session_sync::reconcile::project::encode;
use nix::unistd::Pid;

use crate::e2e_world::{Laptop, Told, id, transcript, transcripts};
use crate::rows::row;
use crate::wait::reached;
use crate::way::wrapper;

pub(crate) const BOX: &str = "fluffy-space-guacamole-5g9x7";

/// A laptop with one running codespace.
pub(crate) fn world() -> Option<Laptop> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BOX)?;
    Some(laptop)
}

/// Runs `connect` to its end.
pub(crate) fn connect(laptop: &Laptop, arguments: &[&str]) -> Told {
    Told::of(laptop.command(&[&["connect"], arguments].concat()).output().unwrap())
}

/// `connect BOX` with a far command that says `ready` and then copies its input to its output; `ready` was read.
pub(crate) fn copying(laptop: &Laptop) -> Child {
    let mut child = laptop.command(&["connect", BOX, "--", "echo ready; exec cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Nothing else is said before the line, so nothing of what follows it is lost in the buffer.
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Lets it end by the end of its input.
pub(crate) fn ended(mut child: Child) -> Told {
    drop(child.stdin.take());
    Told::of(child.wait_with_output().unwrap())
}

/// How often `gh codespace ssh` was run.
pub(crate) fn tunnels(laptop: &Laptop) -> usize {
    laptop.gh.calls().iter().filter(|call| call.argv[0] == "codespace").count()
}

/// The ssh processes of this laptop's control sockets that have such words among their arguments.
fn ssh_with(laptop: &Laptop, words: &str) -> Vec<i32> {
    let runtime = laptop.home().join(".cache/claude-session-sync/run").display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        if arguments.starts_with("ssh\0") && arguments.contains(&runtime) && arguments.contains(words) {
            found.push(pid);
        }
    }
    found
}

/// The process that holds the connection of a `connect` that runs.
pub(crate) fn master(laptop: &Laptop) -> Pid {
    let found = ssh_with(laptop, "ControlMaster=yes");
    assert_eq!(found.len(), 1, "one master");
    Pid::from_raw(found[0])
}

/// The process that has the terminal of a `connect` that runs; none before and after.
pub(crate) fn client(laptop: &Laptop) -> Option<Pid> {
    let found = ssh_with(laptop, &format!("\0--\0{BOX}\0"));
    assert!(found.len() <= 1, "one client");
    found.first().copied().map(Pid::from_raw)
}

#[test]
fn what_is_here_is_there_before_and_what_grew_there_is_here_after_over_one_connection() {
    let Some(laptop) = world() else { return };
    let mine = laptop.session(1, "begun here", 30);
    let project = format!("$HOME/.claude/projects/{}", encode(&laptop.root_at(BOX).display().to_string()));
    let grown = transcript(2, &laptop.root_at(BOX), "grew during connect", 1);
    let command = format!("cat {project}/{}.jsonl && cat > {project}/{}.jsonl", id(1), id(2));
    let mut child = laptop.command(&["connect", BOX, "--", &command]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(grown.as_bytes()).unwrap();
    let told = ended(child);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    assert_eq!(told.stdout, fs::read_to_string(mine).unwrap(), "it was not there before ssh");
    assert_eq!(transcripts(&laptop.claude()).get(&id(2)), Some(&grown), "it is not here after ssh");
    assert_eq!((laptop.at(BOX).connections(), tunnels(&laptop), laptop.api.posts().len()), (1, 1, 0));
    let logged = Told::of(laptop.command(&["logs", "--json"]).output().unwrap()).stdout;
    assert_eq!(logged.matches("pass ended").count(), 2, "two whole passes: {logged}");
    assert_eq!(fs::read_dir(laptop.home().join(".cache/claude-session-sync/run")).unwrap().count(), 0, "the master is gone with its socket");
}

#[test]
fn the_exit_status_is_the_commands() {
    let Some(laptop) = world() else { return };
    for code in [0, 7, 255] {
        let told = connect(&laptop, &[BOX, "--", "exit", &code.to_string()]);
        assert_eq!((told.code, told.stderr.as_str()), (code, ""), "{told:?}");
    }
}

#[test]
fn bytes_go_through_unchanged_in_both_directions() {
    let Some(laptop) = world() else { return };
    let sent: Vec<u8> = (0..1 << 20_u32).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let command = "cat; printf 'far\\r\\n' >&2";
    let mut child = laptop.command(&["connect", "fluffy", "--", command]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), sent.clone());
    let writing = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.stdout == sent, "{} of {} bytes came back", output.stdout.len(), sent.len());
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b"far\r\n"[..]));
}

#[test]
fn flags_for_ssh_and_a_command_with_flags_of_its_own_are_told_apart() {
    let Some(laptop) = world() else { return };
    fs::write(laptop.at(BOX).home().join("a file"), "x").unwrap();
    let told = connect(&laptop, &["acme/widget", "--", "-T", "ls", "-l", "-d", "\"$HOME/a file\""]);
    assert!(told.code == 0 && told.stdout.starts_with("-rw") && told.stdout.ends_with("a file\n"), "{told:?}");
    let socket = laptop.home().join("forward");
    let forward = format!("{}:{}", socket.display(), laptop.api.url().replace("http://", ""));
    let mut child = laptop.command(&["connect", BOX, "--", "-L", &forward, "echo ready; exec cat"]).stdin(Stdio::piped()).spawn().unwrap();
    reached("the forwarding is there", || socket.exists());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /through HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    drop(child.stdin.take());
    assert_eq!(ended(child).code, 0);
}

/// An agent without a key, ended with the test.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Self {
        let agent = Self(Command::new("ssh-agent").args(["-D", "-a"]).arg(socket).stdout(Stdio::null()).spawn().unwrap());
        reached("the agent listens", || socket.exists());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[test]
fn an_agent_is_forwarded_to_whoever_asks_and_to_nobody_else() {
    let Some(laptop) = world() else { return };
    let socket = laptop.home().join("agent");
    let _agent = Agent::start(&socket);
    for (flags, far) in [(&[][..], "none\n"), (&["-A"], "there\n"), (&["-oForwardAgent=yes"], "there\n")] {
        let arguments = [&["connect", BOX, "--"], flags, &["test -S \"$SSH_AUTH_SOCK\" && echo there || echo none"]].concat();
        let told = Told::of(laptop.command(&arguments).env("SSH_AUTH_SOCK", &socket).output().unwrap());
        assert_eq!((told.code, told.stdout.as_str()), (0, far), "{flags:?}: {told:?}");
    }
}

#[test]
fn flags_that_do_not_fit_are_refused_before_anything_is_asked() {
    let Some(laptop) = world() else { return };
    for flag in ["-N", "-f", "-Oexit", "-L"] {
        let told = connect(&laptop, &[BOX, "--", flag]);
        assert!(told.code == 2 && told.stderr.starts_with(&format!("error: ssh's {} ", &flag[..2])), "{told:?}");
    }
    assert!(laptop.api.requests().is_empty());
}

#[test]
fn without_a_terminal_a_name_is_needed_that_means_one_place() {
    let Some(mut laptop) = world() else { return };
    laptop.api.put(row("older-box", "acme/widget", "Shutdown"));
    let told = connect(&laptop, &[]);
    assert!(told.code == 2 && told.stderr.contains(&format!("hint: name one of: {BOX}, older-box")), "{told:?}");
    let told = connect(&laptop, &["acme/widget"]);
    assert!(told.code == 2 && told.stderr.contains("`acme/widget` means 2 places") && told.stderr.contains("older-box"), "{told:?}");
    let told = connect(&laptop, &["nobody"]);
    assert!(told.code == 2 && told.stderr.contains("no codespace or machine is called `nobody`"), "{told:?}");
    laptop.token = Some("gho_wrong".to_owned());
    let told = connect(&laptop, &[BOX]);
    assert!(told.code == 1 && told.stderr.contains("error: the codespaces cannot be listed"), "{told:?}");
    assert_eq!(laptop.at(BOX).connections(), 0);
}

/// A laptop whose ssh knows `box` by the user's own configuration; it is no codespace.
fn machine(more: &str) -> Option<Laptop> {
    let laptop = world()?;
    let (codespace, key) = (laptop.at(BOX), laptop.home().join("key"));
    assert!(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap().success());
    fs::write(codespace.authorized_keys(), fs::read(key.with_extension("pub")).unwrap()).unwrap();
    let configuration = format!(
        "Host box\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n SetEnv FROM=config\n",
        codespace.port(),
        codespace.user(),
        key.display()
    );
    fs::write(laptop.home().join("ssh_config"), configuration).unwrap();
    // ssh takes the home from the account, not from $HOME: a wrapper stands for the user's own configuration.
    let ssh = format!("case \"$1\" in -F) exec /usr/bin/ssh \"$@\" ;; *) exec /usr/bin/ssh -F {} \"$@\" ;; esac", laptop.home().join("ssh_config").display());
    wrapper(&laptop.gh.dir().join("ssh"), &ssh);
    let workspaces = codespace.far_workspaces();
    let machine =
        format!("enabled = false\n[[machine]]\nname = \"tower\"\n{more}\nrepositories = [\"acme/widget\"]\nworkspaces = \"{}\"\n", workspaces.display());
    laptop.configure(&machine);
    Some(laptop)
}

#[test]
fn a_machine_is_connected_to_through_the_users_own_configuration_of_ssh() {
    let Some(laptop) = machine("ssh = \"box\"") else { return };
    laptop.session_at(BOX, 2, "in the machine", 20);
    laptop.at(BOX).configure("LogLevel", "AcceptEnv FROM\nLogLevel");
    let told = connect(&laptop, &["tower", "--", "echo $FROM; exit 7"]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (7, "config\n", ""));
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)));
    assert_eq!((laptop.at(BOX).connections(), tunnels(&laptop), laptop.api.requests().len()), (1, 0, 0));
}

#[test]
fn a_machine_that_is_reached_by_a_command_has_no_ssh() {
    let Some(laptop) = machine("command = [\"sh\"]") else { return };
    let told = connect(&laptop, &["tower"]);
    assert!(told.code == 2 && told.stderr.contains("tower is reached by a command and not by ssh") && told.stderr.contains("sync tower"), "{told:?}");
}
