//! A laptop and a codespace: a stand-in of gh, a real sshd that counts. Beside it, one connection made by hand, and plain tar
//! over it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;

use crate::api::TOKEN;
use crate::e2e_world::{Laptop, put_session, transcript};
use crate::measure::{Cost, Table, median, milliseconds, run};

const NAME: &str = "fluffy-space-guacamole-5g9x7";
/// The first turn of a real session, in bytes.
const FIRST_TURN: usize = 143_000;
const GROWTH: u64 = 10_000;

struct Counts {
    cost: Cost,
    connections: usize,
    channels: usize,
    bytes: u64,
}

fn pass(laptop: &Laptop) -> Counts {
    let far = laptop.at(NAME);
    let (connections, channels, bytes) = (far.connections(), far.sessions(), far.bytes());
    let (cost, _) = run(&mut laptop.command(&["sync", "--json"]));
    let after = far.bytes();
    let bytes = after.0 + after.1 - bytes.0 - bytes.1;
    Counts { cost, connections: far.connections() - connections, channels: far.sessions() - channels, bytes }
}

/// `gh codespace ssh … COMMAND`: one connection, made as anybody would.
fn by_hand(laptop: &Laptop, remote: &str) -> Command {
    let key = laptop.data().join("ssh/id_ed25519");
    let mut command = Command::new(laptop.gh.program());
    let path = format!("{}:{}", laptop.gh.dir().display(), std::env::var("PATH").unwrap());
    command.args(["codespace", "ssh", "-c", NAME, "--", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-i"]).arg(key).arg(remote);
    command.env_clear().env("HOME", laptop.home()).env("PATH", path).env("GITHUB_API_URL", laptop.api.url()).env("GH_TOKEN", TOKEN);
    command
}

fn of_a_real_size(laptop: &Laptop, count: u32) {
    let root = laptop.root_at(NAME);
    for number in 0..count {
        let filler = format!("{{\"type\":\"attachment\",\"x\":\"{}\"}}\n", "x".repeat(FIRST_TURN));
        let content = transcript(number, &root, "from there", 90) + &filler;
        put_session(&laptop.claude_at(NAME), &root, number, &content);
    }
    laptop.at(NAME).give(&laptop.claude_at(NAME));
}

/// The rows over a line.
pub(crate) fn rows(table: &mut Table) {
    for count in [1, 200] {
        let Some(mut laptop) = Laptop::new() else { return };
        if laptop.codespace(NAME).is_none() {
            println!("no sshd, or not root: the rows over a line are left out");
            return;
        }
        pass(&laptop);
        of_a_real_size(&laptop, count);
        let first = pass(&laptop);
        let fresh = median(5, || run(&mut by_hand(&laptop, "true")).0);
        let tar = run(&mut by_hand(&laptop, "cd ~/.claude && tar cf /dev/stdout projects | wc -c")).0;
        let plain_tar = format!("fresh connection {}, with tar of the same files read there {}", milliseconds(fresh.wall), milliseconds(tar.wall));
        table.row(&format!("first visit, {count} sessions"), "1 connection, <= 4 channels", visit(&first), plain_tar);

        let idle = median(5, || pass(&laptop).cost);
        let counted = pass(&laptop);
        let ratio = idle.wall.as_secs_f64() / fresh.wall.as_secs_f64();
        let beside = format!("{ratio:.2} x a fresh connection of {}", milliseconds(fresh.wall));
        table.row(&format!("idle visit, {count} sessions"), "1 connection, 1 channel; 1.15 x", visit(&Counts { cost: idle, ..counted }), beside);

        let file = laptop.claude_at(NAME).join("projects").join(claude_session_sync::reconcile::project::encode(&laptop.root_at(NAME).to_string_lossy()));
        let file = file.join(format!("{}.jsonl", crate::e2e_world::id(0)));
        let line = format!("{{\"type\":\"attachment\",\"x\":\"{}\"}}\n", random_text(usize::try_from(GROWTH).unwrap() - 30));
        OpenOptions::new().append(true).open(&file).unwrap().write_all(line.as_bytes()).unwrap();
        let idle_bytes = pass_bytes(&laptop);
        let grown = idle_bytes.0.bytes.saturating_sub(idle_bytes.1);
        let beside = format!("the listing alone: {} B, {} B a file", idle_bytes.1, idle_bytes.1 / u64::from(count));
        table.row(&format!("bytes when 1 of {count} grew by {GROWTH}"), "k + 4 KiB beside the listing", format!("{grown} B"), beside);
    }
}

/// A pass that brings the growth, and the bytes of an idle one after it.
fn pass_bytes(laptop: &Laptop) -> (Counts, u64) {
    let grown = pass(laptop);
    (grown, pass(laptop).bytes)
}

fn visit(counts: &Counts) -> String {
    let Counts { cost, connections, channels, bytes } = counts;
    format!("{connections} connection, {channels} channels, {bytes} B, {}", milliseconds(cost.wall))
}

/// Text that ssh's compression does not shorten to nothing.
fn random_text(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap())
    };
    (0..length).map(|_| next()).collect()
}
