//! `man`: the manual pages, made of the command line's own description.
//!
//! Promises: every visible verb has a page, and the pages say which exit codes, files and variables there are. Never: a page
//! that is written by hand and could say something else than `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Context, Exit, Failure, Kind, PROGRAM};

/// What `man` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write one page for each verb into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where things lie, as a user without variables of his own finds them.
const FILES: [(&str, &str); 6] = [
    ("~/.config/claude-session-sync/config.toml", "The configuration. Without it the defaults hold; config init writes one with all of them."),
    ("~/.local/share/claude-session-sync/vault/", "Every copy that was displaced, and the newest whole copy of every session."),
    ("~/.local/share/claude-session-sync/state/", "What is remembered of the last passes. Without it the next pass takes longer."),
    ("~/.local/state/claude-session-sync/log/", "The log, one file a day (UTC); on macOS ~/Library/Logs/claude-session-sync/. Read it with logs."),
    ("~/.cache/claude-session-sync/run/", "Sockets, where XDG_RUNTIME_DIR is not set."),
    ("~/.claude/projects/", "The sessions of Claude Code."),
];

/// Variables that are looked at.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("CLAUDE_SESSION_SYNC_CONFIG", "The configuration to read, where --config names none."),
    ("CLAUDE_CONFIG_DIR", "The directory of Claude Code, instead of ~/.claude."),
    ("CREDENTIALS_DIRECTORY", "Its file github-token is the token, where [github] token_file names none."),
    ("GH_TOKEN, GITHUB_TOKEN", "The token, where there is no such file. Without any, gh auth token is asked."),
    ("HTTPS_PROXY, NO_PROXY", "The way to GitHub."),
    ("XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR", "Base directories, where they are absolute."),
    ("NO_COLOR", "No colour, whatever the terminal can do."),
    ("CLICOLOR_FORCE", "Colour in a pipe, too."),
];

/// Runs the verb.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let failed = |error: io::Error| Failure::new(Kind::Failed, "the manual cannot be written").because(&error);
    match &arguments.out {
        None => {
            let pages = pages().map_err(failed)?;
            pages.iter().take(1).for_each(|(_, page)| context.render.say_block(page));
        }
        Some(directory) => {
            let failed = |error| Failure::new(Kind::Failed, format!("{} cannot be written to", directory.display())).because(&error);
            write(directory).map_err(failed)?.iter().for_each(|path| context.render.say(&path.display().to_string()));
        }
    }
    Ok(Exit::Done)
}

fn write(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut written = Vec::new();
    for (name, page) in pages()? {
        let path = directory.join(name);
        fs::write(&path, page)?;
        written.push(path);
    }
    Ok(written)
}

/// Every page with the name of its file; that of the program first.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut command = super::command();
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    let man = Man::new(command.clone());
    // By hand, because an empty date is to be seen as one.
    let mut page = format!(".TH {} 1 \"\" \"{PROGRAM} {}\" \"User Commands\"\n", title(command), env!("CARGO_PKG_VERSION")).into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    sections(command).to_writer(&mut page)?;
    pages.push((format!("{}.1", title(command)), String::from_utf8_lossy(&page).into_owned()));
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| add(verb, pages))
}

fn title(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// What clap does not know.
fn sections(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let mut list = |heading: &str, entries: &[(String, &str)]| {
        roff.control("SH", [heading]);
        for (term, text) in entries {
            roff.control("TP", []).text([bold(term)]).text([roman(*text)]);
        }
    };
    let owned = |entries: &[(&str, &'static str)]| entries.iter().map(|(term, text)| ((*term).to_owned(), *text)).collect::<Vec<_>>();
    let mut codes: Vec<(String, &str)> = Exit::ALL.map(|exit| (exit.code().to_string(), exit.meaning())).into();
    codes.push(("n".to_owned(), Exit::Code(0).meaning()));
    list("EXIT STATUS", &codes);
    list("FILES", &owned(&FILES));
    list("ENVIRONMENT", &owned(&ENVIRONMENT));
    if command.get_name() != PROGRAM {
        roff.control("SH", ["SEE ALSO"]).text([bold(PROGRAM), roman("(1)")]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_verb_has_a_page_with_exit_codes_files_and_variables() {
        let pages = pages().unwrap();
        assert_eq!(pages[0].0, "claude-session-sync.1");
        let command = crate::cli::command();
        for verb in command.get_subcommands() {
            let name = format!("{PROGRAM}-{}.1", verb.get_name());
            assert_eq!(pages.iter().any(|(page, _)| *page == name), !verb.is_hide_set(), "{name}");
        }
        assert!(pages.iter().any(|(name, _)| name == "claude-session-sync-config-init.1"));
        for (name, page) in &pages {
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "FILES", "ENVIRONMENT"] {
                assert!(page.contains(&format!(".SH {section}\n")), "{name} has no {section}: {page}");
            }
            assert!(page.contains("CLAUDE_SESSION_SYNC_CONFIG") && page.contains("\\fB75\\fR"), "{name}");
        }
    }
}
