//! The agent that has nothing to do: what it costs a laptop in a minute.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use crate::api::{Api, TOKEN};
use crate::measure::Table;
use crate::wait::reached;
use crate::way::short_directory;

/// The agent itself, and the one that writes its log.
const THREADS: usize = 2;
const MEASURED: Duration = Duration::from_secs(60);

struct Agent {
    child: Child,
    _home: tempfile::TempDir,
}

impl Agent {
    /// With a list without codespaces, and a look each so often.
    fn start(api: &Api, look: &str) -> Self {
        let home = short_directory();
        let config = home.path().join(".config/claude-session-sync/config.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(config, format!("[github]\napi_url = \"{}\"\n[schedule]\nlook = \"{look}\"\n", api.url())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.arg("run").env_clear().env("HOME", home.path()).env("PATH", std::env::var("PATH").unwrap()).env("GH_TOKEN", TOKEN);
        let agent = Self { child: command.spawn().unwrap(), _home: home };
        reached("the pass at the start is made", || agent._home.path().join(".local/share/claude-session-sync/state/state.json").exists());
        agent
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default()
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// Times that a thread of it was woken after it had waited.
    fn wakes(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let of = |text: String| text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok());
        threads.filter_map(|thread| of(fs::read_to_string(thread.path().join("status")).ok()?)).sum()
    }

    /// Processor time in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// KiB of a kind of memory.
    fn memory(&self, kind: &str) -> u64 {
        let text = self.read("smaps_rollup");
        let of = |line: &str| line.strip_prefix(kind)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse().ok();
        text.lines().find_map(of).unwrap_or(0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows of an idle minute: with the look as it is by default, and with one look within that minute.
pub(crate) fn rows(table: &mut Table) {
    let api = Api::start();
    let agents = [("5m", "6"), ("1m", "")].map(|(look, budget)| (look, budget, Agent::start(&api, look)));
    for (.., agent) in &agents {
        reached("the threads for the file work of the first pass have ended", || agent.threads() <= THREADS);
    }
    let before = agents.each_ref().map(|(.., agent)| (agent.wakes(), agent.ticks()));
    // No condition to wait for: this minute is what is measured.
    std::thread::sleep(MEASURED);
    for ((look, budget, agent), (wakes, ticks)) in agents.iter().zip(before) {
        let beside = format!("{} ms of processor time", (agent.ticks() - ticks) * 10);
        table.row(&format!("idle agent, look {look}: wake-ups in 60 s"), budget, (agent.wakes() - wakes).to_string(), beside);
    }
    let (.., agent) = &agents[0];
    let (resident, private) = (agent.memory("Rss"), agent.memory("Private_Dirty"));
    table.row(
        "idle agent: resident memory",
        "15 MB",
        format!("{:.1} MB", resident as f64 / 1024.0),
        format!("{:.1} MB shared with nobody and written", private as f64 / 1024.0),
    );
    table.row("idle agent: private dirty memory", "2 MB", format!("{:.1} MB", private as f64 / 1024.0), String::new());
}
