//! The Ansible role in a real `systemd --user`: `tests/systemd/ansible.sh`; and whether Ansible reads the example.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::skip::{have, skip, skip_unless_root};

/// What the script ends with where there can be no manager.
const CANNOT: i32 = 77;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `ansible-playbook` lies, because the script gets a PATH of its own. None: it is missing, and that was said.
fn playbook() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("ansible-playbook")).find(|program| program.is_file());
    if found.is_none() {
        skip("ansible-playbook is not installed");
    }
    found
}

#[test]
fn the_role_brings_the_service_changes_nothing_twice_and_takes_it_away() {
    let Some(playbook) = playbook() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip_unless_root("a user manager of its own needs namespaces");
    }
    let scripts = root().join("tests/systemd");
    let mut run = Command::new("bash");
    run.arg(scripts.join("in-user-manager.sh")).arg(scripts.join("ansible.sh"));
    run.arg(playbook).arg(root().join("packaging/ansible/roles")).arg(env!("CARGO_BIN_EXE_claude-session-sync"));
    run.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = run.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(CANNOT) {
        return skip(said.trim());
    }
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("-- done\n"), "the script went to its end: {said}");
}

#[test]
fn the_example_playbook_is_one_and_maps_the_older_variable() {
    if !have("ansible-playbook", "--version") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut check = Command::new("ansible-playbook");
    check.args(["--syntax-check", "-i", "localhost,"]).arg(root().join("packaging/ansible/example.yml")).stdin(Stdio::null());
    check.env("HOME", home.path()).env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1").env_remove("ANSIBLE_ROLES_PATH");
    let output = check.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let example = std::fs::read_to_string(root().join("packaging/ansible/example.yml")).unwrap();
    assert!(example.contains("claude_session_sync_enabled: \"{{ bootstrap_use | default('') == 'work' }}\""), "{example}");
}
