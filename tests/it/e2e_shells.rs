//! Login shells and their noise: whatever a far side says before our answer, up to 64 KiB, is passed over.

use std::fs;
use std::path::Path;

use crate::e2e_world::{Laptop, REPOSITORY, transcripts};
use crate::sshd::Shell;

const BOX: &str = "noisy-1";

/// What each shell reads before a command, or as a login shell: all of them say `bytes` bytes, and a line on stderr.
fn make_noise(home: &Path, shell: Shell, bytes: usize) {
    fs::write(home.join("noise"), &"~ welcome ~\u{1b}[31m\n".repeat(bytes)[..bytes]).unwrap();
    let say = format!("cat {}/noise\necho complaint >&2\n", home.display());
    // A forced command is run by the account's own shell, which is bash: one of the two may speak.
    let bashrc = if shell == Shell::Bash { ".bashrc" } else { ".unread" };
    for name in [bashrc, ".bash_profile", ".profile", ".zshenv", ".zprofile", ".config/fish/config.fish"] {
        fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
        fs::write(home.join(name), &say).unwrap();
    }
}

fn works_in(shell: Shell, noise: usize) {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace_of(BOX, REPOSITORY, shell).is_none() {
        return;
    }
    laptop.session(1, "here", 30);
    laptop.session_at(BOX, 2, "there", 20);
    make_noise(&laptop.at(BOX).home(), shell, noise);
    laptop.at(BOX).give(&laptop.at(BOX).home());
    let ran = laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude()).len(), 2, "{shell:?}");
    assert_eq!(transcripts(&laptop.claude_at(BOX)), transcripts(&laptop.claude()), "{shell:?}: {:?}", ran.told);
    assert_eq!(laptop.at(BOX).connections(), 1);
    assert_eq!(laptop.report(&[]).good().visit(BOX).channels, 1);
}

#[test]
fn bash_with_noise_up_to_the_limit_simply_works() {
    works_in(Shell::Bash, 64_000);
}

#[test]
fn dash_with_a_noisy_profile_simply_works() {
    works_in(Shell::Dash, 64_000);
}

#[test]
fn zsh_with_noise_up_to_the_limit_simply_works() {
    works_in(Shell::Zsh, 64_000);
}

#[test]
fn fish_with_noise_up_to_the_limit_simply_works() {
    works_in(Shell::Fish, 64_000);
}

#[test]
fn busybox_ash_with_a_noisy_profile_simply_works() {
    works_in(Shell::BusyboxAsh, 64_000);
}

#[test]
fn noise_beyond_the_limit_fails_in_one_line_and_transfers_nothing() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session(1, "here", 30);
    laptop.session_at(BOX, 2, "there", 20);
    make_noise(&laptop.at(BOX).home(), Shell::Bash, 70_000);
    let before = (transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
    let told = laptop.sync(&[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!((told.stderr.matches("error:").count(), told.stderr.contains('\u{1b}')), (1, false), "{told:?}");
    assert!(told.stderr.contains("did not start our script") && told.stderr.len() < 800, "{told:?}");
    assert_eq!((transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX))), before);
}

#[test]
fn a_banner_of_sshd_itself_is_no_matter() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    laptop.session_at(BOX, 2, "there", 20);
    let banner = laptop.at(BOX).home().join("banner");
    fs::write(&banner, "HTTP 401: Permission denied (publickey).\n".repeat(20)).unwrap();
    laptop.at(BOX).configure("UsePAM no", &format!("UsePAM no\nBanner {}", banner.display()));
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude()).len(), 1);
}

#[test]
fn the_claude_directory_that_a_login_shell_names_is_found_behind_its_noise() {
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    let home = laptop.at(BOX).home();
    laptop.session_at(BOX, 2, "there", 20);
    let other = home.join("elsewhere");
    fs::rename(home.join(".claude"), &other).unwrap();
    make_noise(&home, Shell::Bash, 2000);
    let profile = home.join(".profile");
    let said = fs::read_to_string(&profile).unwrap();
    fs::write(&profile, format!("{said}export CLAUDE_CONFIG_DIR={}\n", other.display())).unwrap();
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude()), transcripts(&other));
    assert_eq!(transcripts(&other).len(), 1);
}
