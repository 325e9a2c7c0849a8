//! `connect` in a real terminal, against a real sshd.

use nix::sys::signal::{Signal, kill};

use crate::connect::{BOX, client, tunnels, world};
use crate::connection::state;
use crate::e2e_world::{Laptop, id, transcripts};
use crate::rows::row;
use crate::tmux::Pane;
use crate::wait::reached;

/// A laptop with a running codespace, and a terminal of it.
fn at_terminal() -> Option<(Laptop, Pane)> {
    let laptop = world()?;
    let pane = Pane::open(&laptop, &[])?;
    Some((laptop, pane))
}

/// A shell in the codespace that answers.
pub(crate) fn shell(pane: &Pane, arguments: &str) {
    pane.run(&format!("connect {arguments}"));
    // What is typed before a shell has its terminal is read in the modes of that moment.
    reached("the far shell asks", || {
        let screen = pane.screen();
        screen.trim_end().ends_with(['$', '#', '%', '>']) && !screen.trim_end().ends_with("here>")
    });
    answers(pane, "shell-up");
}

/// The far shell evaluates a line, so it is there and in front.
fn answers(pane: &Pane, word: &str) {
    pane.line(&format!("echo {word}-$((40+2))"));
    pane.shows(&format!("{word}-42"));
}

#[test]
fn an_interactive_shell_with_its_exit_status_and_its_sessions() {
    let Some((laptop, pane)) = at_terminal() else { return };
    laptop.session(1, "begun here", 30);
    shell(&pane, BOX);
    pane.line("ls ~/.claude/projects/*/");
    pane.shows(&id(1));
    laptop.session_at(BOX, 2, "grew there", 1);
    pane.line("exit 7");
    pane.shows("ended-7.");
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "it is not here");
    assert_eq!((tunnels(&laptop), laptop.at(BOX).connections()), (1, 1));
    let screen = pane.screen();
    assert!(!screen.contains("warning") && !screen.contains("visiting"), "{screen}");
    shell(&pane, BOX);
    pane.line("exit");
    pane.shows("ended-0.");
    pane.line("stty -a | grep -c ' echo '");
    pane.shows("\n1\n");
}

#[test]
fn the_window_has_its_size_there_before_and_after_it_changes() {
    let Some((_laptop, pane)) = at_terminal() else { return };
    shell(&pane, BOX);
    pane.line("stty size");
    pane.shows("30 100");
    pane.resize(81, 23);
    reached("the far side knows the new size", || {
        pane.line("stty size");
        pane.screen().contains("23 81")
    });
    pane.line("exit");
    pane.shows("ended-0.");
}

#[test]
fn ctrl_c_is_for_the_far_side_and_ends_nothing_here() {
    let Some((_laptop, pane)) = at_terminal() else { return };
    shell(&pane, BOX);
    pane.line("echo first-$((40+2)); sleep 1000");
    pane.shows("first-42");
    pane.key("C-c");
    pane.shows("^C");
    answers(&pane, "still-here");
    // Ctrl-Z is the far shell's, too.
    pane.line("echo second-$((40+2)); sleep 1000");
    pane.shows("second-42");
    pane.key("C-z");
    pane.shows("Stopped");
    answers(&pane, "and-still");
    pane.line("fg");
    pane.shows("\nsleep 1000");
    pane.key("C-c");
    pane.line("exit 5");
    pane.shows("ended-5.");
}

#[test]
fn the_escapes_of_ssh_are_its_own() {
    let Some((laptop, pane)) = at_terminal() else { return };
    shell(&pane, BOX);
    laptop.session_at(BOX, 2, "grew there", 1);
    // OpenSSH has no such escape on a connection that is shared, and says so.
    pane.key("Enter");
    pane.line("~\u{1a}");
    pane.shows("not available to multiplexed sessions");
    pane.key("Enter");
    pane.line("~.");
    pane.shows("ended-255.");
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "the last visit was not made");
    assert!(!pane.screen().contains("warning"));
}

#[test]
fn a_window_that_is_closed_does_not_keep_the_last_visit_from_happening() {
    let Some((laptop, pane)) = at_terminal() else { return };
    shell(&pane, BOX);
    laptop.session_at(BOX, 2, "grew there", 1);
    pane.close();
    reached("the session came home", || transcripts(&laptop.claude()).contains_key(&id(2)));
    let run = laptop.home().join(".cache/claude-session-sync/run");
    reached("the connection is closed", || std::fs::read_dir(&run).unwrap().count() == 0);
    assert_eq!(tunnels(&laptop), 1);
}

#[test]
fn a_command_that_is_suspended_goes_on_in_front_and_leaves_the_keyboard_alone_meanwhile() {
    let Some((laptop, pane)) = at_terminal() else { return };
    pane.run(&format!("connect {BOX} -- 'echo up-$((40+2)); exec cat'"));
    pane.shows("up-42");
    pane.key("C-z");
    pane.shows("Stopped");
    for word in ["one", "two", "three"] {
        pane.line(&format!("echo local-{word}-$((40+2))"));
        pane.shows(&format!("local-{word}-42"));
    }
    pane.line("fg; echo ended-$?.");
    reached("it goes on", || client(&laptop).is_some_and(|ssh| state(ssh) != "T"));
    pane.line("for-the-far-side");
    reached("the far cat answers", || pane.screen().matches("for-the-far-side").count() == 2);
    pane.key("C-d");
    pane.shows("ended-0.");
}

#[test]
fn in_the_background_it_waits_to_be_called_to_the_front() {
    let Some((_laptop, pane)) = at_terminal() else { return };
    pane.line(&format!("css connect {BOX} -- 'echo up-$((40+2)); exec cat' &"));
    reached("it is stopped", || {
        pane.line("jobs");
        pane.screen().contains("Stopped")
    });
    assert!(!pane.screen().contains("up-42"));
    pane.line("fg; echo ended-$?.");
    pane.shows("up-42");
    pane.key("C-d");
    pane.shows("ended-0.");
}

#[test]
fn ctrl_c_ends_a_command_that_has_no_terminal_there_and_the_last_visit_is_made() {
    let Some((laptop, pane)) = at_terminal() else { return };
    pane.run(&format!("connect {BOX} -- 'echo up-$((40+2)); exec cat'"));
    pane.shows("up-42");
    laptop.session_at(BOX, 2, "grew there", 1);
    pane.key("C-c");
    pane.shows("ended-255.");
    assert!(transcripts(&laptop.claude()).contains_key(&id(2)), "the last visit was not made");
    assert!(!pane.screen().contains("warning"), "{}", pane.screen());
}

#[test]
fn an_ssh_that_is_stopped_stops_the_program_and_its_terminal_is_as_it_was_after_it() {
    let Some((laptop, pane)) = at_terminal() else { return };
    shell(&pane, BOX);
    kill(client(&laptop).unwrap(), Signal::SIGTSTP).unwrap();
    pane.shows("Stopped");
    pane.line("echo local-$((40+2))");
    pane.shows("local-42");
    pane.line("fg");
    answers(&pane, "far-again");
    // In raw mode a typed line is shown once, by the far side.
    assert_eq!(pane.screen().matches("echo far-again").count(), 1, "the terminal's modes are not ssh's");
    pane.line("exit 3");
    pane.shows("here>");
}

#[test]
fn without_a_name_the_person_picks_running_ones_first() {
    let Some((laptop, pane)) = at_terminal() else { return };
    laptop.api.put(row("a-stopped-one", "acme/other", "Shutdown"));
    pane.run("connect");
    pane.shows("Connect to");
    pane.shows("a-stopped-one  acme/other  (Shutdown)");
    let screen = pane.screen();
    assert!(screen.find(BOX) < screen.find("a-stopped-one"), "{screen}");
    pane.key("Escape");
    pane.shows("ended-2.");
    pane.run("connect");
    reached("the question is there again", || pane.screen().matches("Connect to").count() > screen.matches("Connect to").count());
    pane.line("stopped");
    pane.shows("ended-3.");
    pane.shows("--start");
    assert_eq!((tunnels(&laptop), laptop.api.posts().len()), (0, 0));
    // Several of one repository: the question is among these.
    laptop.api.put(row("widget-two", "acme/widget", "Available"));
    pane.key("C-l");
    pane.run("connect acme/widget -- echo it-is-$((40+2))");
    pane.shows("widget-two  acme/widget");
    pane.line("fluffy");
    pane.shows("it-is-42");
    pane.shows("ended-0.");
}

#[test]
fn a_warning_has_no_colour_for_whoever_refuses_it() {
    let Some(laptop) = world() else { return };
    std::fs::create_dir_all(laptop.data()).unwrap();
    std::fs::write(laptop.data().join("vault"), "a file in the way").unwrap();
    for (more, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let Some(pane) = Pane::open(&laptop, more) else { return };
        pane.run(&format!("connect {BOX} -- true"));
        pane.shows("ended-0.");
        assert_eq!(pane.coloured().contains('\u{1b}'), coloured, "{:?}", pane.coloured());
    }
}
