//! The configuration's verbs, and what bad input gets.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A home without anything in it.
struct Home(tempfile::TempDir);

/// What one run said, with the home written as `~`.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(text: &str) -> Self {
        let home = Self::new();
        fs::create_dir_all(home.config_file().parent().unwrap()).unwrap();
        fs::write(home.config_file(), text).unwrap();
        home
    }

    fn config_file(&self) -> PathBuf {
        self.0.path().join(".config/claude-session-sync/config.toml")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-session-sync"));
        command.args(line.split_whitespace()).env_clear().env("HOME", self.0.path()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(self.0.path().to_str().unwrap(), "~");
        Said { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn run(&self, line: &str) -> Said {
        self.said(&self.command(line).output().unwrap())
    }
}

fn said(code: i32, out: &str, err: &str) -> Said {
    Said { code, out: out.to_owned(), err: err.to_owned() }
}

/// `config check` of a file with this text refuses it with exactly this on standard error.
#[track_caller]
fn refuses(text: &str, expected: &str) {
    assert_eq!(Home::with(text).run("config check"), said(2, "", expected));
}

#[test]
fn an_unknown_key_is_shown_and_the_one_meant_suggested() {
    refuses(
        "[sync]\ndays = 7\n\n[schedule]\nintervall = \"5m\"\n",
        "error: ~/.config/claude-session-sync/config.toml:5: unknown key \"intervall\"\n    5 | intervall = \"5m\"\nhint: did you mean \"every\"?\n",
    );
}

#[test]
fn a_key_of_another_table_is_sent_there() {
    refuses(
        "[github]\ndays = 7\n",
        "error: ~/.config/claude-session-sync/config.toml:2: unknown key \"days\"\n    2 | days = 7\nhint: \"days\" belongs in [sync]\n",
    );
}

#[test]
fn a_wrong_type_is_shown_with_an_example() {
    refuses(
        "[sync]\ndays = \"seven\"\n",
        "error: ~/.config/claude-session-sync/config.toml:2: \"days\" must be a whole number, not a text\n    2 | days = \"seven\"\nhint: as in: days = 7\n",
    );
}

#[test]
fn a_bad_cron_pattern_is_shown() {
    refuses(
        "[schedule]\nevery = \"0 25 * * *\"\n",
        concat!(
            "error: ~/.config/claude-session-sync/config.toml:2: \"every\": \"0 25 * * *\" is no cron pattern: ",
            "number out of bounds\n",
            "    2 | every = \"0 25 * * *\"\n",
            "hint: five fields: minute, hour, day of month, month, day of week; \"0 * * * *\" is every full hour\n",
        ),
    );
}

#[test]
fn a_relative_path_is_shown_and_the_home_suggested() {
    refuses(
        "[[repository]]\nname = \"acme/widget\"\npath = \"projects/widget\"\n",
        concat!(
            "error: ~/.config/claude-session-sync/config.toml:3: \"path\": \"projects/widget\" is a relative path, ",
            "and the agent has no directory that it could be relative to\n",
            "    3 | path = \"projects/widget\"\n",
            "hint: perhaps \"~/projects/widget\"\n",
        ),
    );
}

#[test]
fn two_repositories_cannot_claim_one_path() {
    refuses(
        "[[repository]]\nname = \"acme/widget\"\npath = \"/srv/widget\"\n\n[[repository]]\nname = \"acme/gadget\"\npath = \"/srv/widget/\"\n",
        concat!(
            "error: ~/.config/claude-session-sync/config.toml:7: acme/widget has this path already (line 3)\n",
            "    7 | path = \"/srv/widget/\"\n",
            "hint: keep the path in one of the two\n",
        ),
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let said = Home::with("[log]\nlevel = \"loud\"\n[vault]\nwarn_at = 5\n").run("config check");
    assert_eq!((said.code, said.err.matches("error: ").count(), said.err.matches("hint: ").count()), (2, 2, 2), "{}", said.err);
}

#[test]
fn a_file_that_is_no_toml_is_shown_with_its_line() {
    let said = Home::with("[sync]\ndays = \n").run("config show");
    assert!(said.err.starts_with("error: ~/.config/claude-session-sync/config.toml:2: "), "{}", said.err);
    assert!(said.err.contains("\n    2 | days =\n") && said.code == 2 && said.out.is_empty());
}

#[test]
fn a_wrong_configuration_stops_every_verb_that_reads_it() {
    let home = Home::with("[sync]\ndays = 0\n");
    for verb in ["sync", "status", "list sessions", "conflicts"] {
        let said = home.run(verb);
        assert_eq!(said.code, 2, "{verb}");
        assert!(said.err.contains("\"days\" must be between 1 and 3650, not 0"), "{verb}: {}", said.err);
    }
}

#[test]
fn no_file_means_the_defaults() {
    let home = Home::new();
    assert_eq!(home.run("config check"), said(0, "no file at ~/.config/claude-session-sync/config.toml: the defaults hold\n", ""));
    let shown = home.run("config show");
    assert!(shown.out.starts_with("# no file at ~/.config/claude-session-sync/config.toml: the defaults\nversion = 1\n\n[github]\n"), "{}", shown.out);
    assert!(shown.out.contains("\ndays = 7\ndefault = \"both\"\n") && shown.out.contains("\"~/projects\""), "{}", shown.out);
    assert_eq!(fs::read_dir(home.0.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn init_writes_a_private_file_once() {
    let home = Home::new();
    let first = home.run("config init");
    assert_eq!((first.code, first.out.as_str()), (0, "wrote ~/.config/claude-session-sync/config.toml\n"));
    assert_eq!(fs::metadata(home.config_file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.run("config check"), said(0, "good: ~/.config/claude-session-sync/config.toml\n", ""));

    fs::write(home.config_file(), "# mine\n").unwrap();
    let expected = concat!(
        "error: ~/.config/claude-session-sync/config.toml exists, and is not overwritten\n",
        "hint: edit it; or move it away, then `claude-session-sync config init`\n",
    );
    assert_eq!(home.run("config init"), said(2, "", expected));
    assert_eq!(fs::read_to_string(home.config_file()).unwrap(), "# mine\n");
}

#[test]
fn show_says_what_holds_and_from_where_and_can_be_read_again() {
    let home = Home::with("[sync]\ndays = 3\n[[machine]]\nname = \"box\"\ncommand = [\"docker\", \"exec\"]\nrepositories = [\"Acme/Widget\"]\n");
    let shown = home.run("config show");
    assert!(shown.out.starts_with("# from ~/.config/claude-session-sync/config.toml\nversion = 1\n"), "{}", shown.out);
    for part in ["\ndays = 3\n", "\nevery = \"0 * * * *\"\n", "\n[[machine]]\nname = \"box\"\n", "\nworkspaces = \"/workspaces\"\n", "\"acme/widget\""] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    let again = Home::with(&shown.out).run("config show");
    assert_eq!(again.out, shown.out);

    let json: serde_json::Value = serde_json::from_str(&home.run("config show --json").out).unwrap();
    assert_eq!((&json["version"], &json["sync"]["days"], &json["machine"][0]["command"][0]), (&1.into(), &3.into(), &"docker".into()));
    assert_eq!(json["origin"], "~/.config/claude-session-sync/config.toml");
}

#[test]
fn check_tells_scripts_the_lines() {
    let said = Home::with("[sync]\ndayz = 3\n").run("config check --json");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, said.err.as_str()), (2, ""));
    assert_eq!(json["problems"][0]["place"], serde_json::json!({"line": 2, "text": "dayz = 3"}));
    assert_eq!(json["problems"][0]["hint"], "did you mean \"days\"?");
}

#[test]
fn path_says_where_the_file_lies_and_who_may_say_so() {
    let home = Home::new();
    assert_eq!(home.run("config path"), said(0, "~/.config/claude-session-sync/config.toml\n", ""));
    assert_eq!(home.run("config path --config other.toml").out, "~/other.toml\n");
    assert_eq!(home.run("--config other.toml config path").out, "~/other.toml\n");
    let with = |name: &str, value: &str| home.said(&home.command("config path").env(name, value).output().unwrap());
    assert_eq!(with("CLAUDE_SESSION_SYNC_CONFIG", "/etc/c.toml").out, "/etc/c.toml\n");
    assert_eq!(with("XDG_CONFIG_HOME", "/etc").out, "/etc/claude-session-sync/config.toml\n");
    assert_eq!(with("XDG_CONFIG_HOME", "etc").out, "~/.config/claude-session-sync/config.toml\n");
    assert_eq!(with("HOME", "").err, "error: HOME is not set, so there is no place for the sessions, the configuration or the vault\n");
}

#[test]
fn a_file_that_was_named_must_exist() {
    let home = Home::new();
    let expected = "error: ~/other.toml: does not exist, although --config names it\nhint: claude-session-sync config init\n";
    assert_eq!(home.run("config show --config other.toml"), said(2, "", expected));
    assert_eq!(home.run("config init --config other.toml").out, "wrote ~/other.toml\n");
    assert_eq!(home.run("config check --config other.toml"), said(0, "good: ~/other.toml\n", ""));
}

#[test]
fn colour_is_neither_in_a_pipe_nor_where_it_is_refused() {
    let home = Home::with("x = 1\n");
    let raw = |variables: &[(&str, &str)]| home.command("config check").envs(variables.iter().copied()).output().unwrap().stderr;
    let coloured = |bytes: &[u8]| bytes.contains(&0x1b);
    assert!(!coloured(&raw(&[("TERM", "xterm-256color")])), "a pipe");
    assert!(coloured(&raw(&[("CLICOLOR_FORCE", "1")])), "so that the next line can fail");
    assert!(!coloured(&raw(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = home.command("config show").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_the_help_with_0() {
    let home = Home::new();
    assert_eq!(home.run("syng").code, 2);
    assert!(home.run("syng").err.contains("a similar subcommand exists: 'sync'"));
    assert_eq!(home.run("").code, 2);
    let help = home.run("--help");
    let places = ["\nEveryday:\n  sync ", "\nSet-up:\n  config ", "\nRepair:\n  list ", "\nOptions:\n"].map(|part| help.out.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted() && help.code == 0, "{}", help.out);
    assert_eq!(home.run("--version").out, concat!("claude-session-sync ", env!("CARGO_PKG_VERSION"), "\n"));
}
