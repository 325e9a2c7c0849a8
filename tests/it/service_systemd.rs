//! The service in a real `systemd --user`, against a real sshd and a stub of GitHub's API: `tests/systemd/scenario.sh`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use claude_session_sync::reconcile::project::encode;
use nix::unistd::User;

use crate::api::TOKEN;
use crate::e2e_world::{Laptop, files, id};
use crate::skip::{skip, skip_unless_root};

const BOX: &str = "fluffy-space-guacamole-5g9x7";

/// What the script ends with where there can be no manager.
const CANNOT: i32 = 77;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd").join(name)
}

/// The program where a plain user reaches it, below a name that a unit must not misread.
fn install_program(laptop: &Laptop) -> PathBuf {
    let program = laptop.home().join("my own $programs, 100%h/claude-session-sync");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    // By a child, so that it is never open for writing in this process, which forks.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_claude-session-sync")).arg(&program).status().unwrap().success());
    program
}

/// Gives the user all that the agent reads and writes.
fn hand_over(laptop: &Laptop, user: &User) {
    let own = |path: &Path| chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    let owner = format!("{}:{}", user.uid, user.gid);
    for tree in [laptop.home(), laptop.gh.dir()] {
        // Not through the link to the stand-in, which belongs to the project.
        assert!(Command::new("chown").args(["-hR", &owner]).arg(tree).status().unwrap().success());
    }
    own(&laptop.at(BOX).authorized_keys());
}

fn scenario(user: &str) {
    if !nix::unistd::geteuid().is_root() {
        return skip_unless_root("a user manager of its own needs namespaces");
    }
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    let user = User::from_name(user).unwrap().unwrap();
    laptop.session_at(BOX, 7, "from the codespace", 20);
    let token = laptop.home().join(".token");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let schedule = "[schedule]\nevery = \"*/2 * * * * *\"\njitter = \"0s\"\n\n[sync]\nidle_policy = \"always\"\n\n[notify]\nenabled = false\n";
    laptop.configure(&format!("token_file = \"{}\"\n\n{schedule}", token.display()));
    let program = install_program(&laptop);
    hand_over(&laptop, &user);
    let arrives = laptop.claude().join("projects").join(encode(laptop.root().to_str().unwrap())).join(format!("{}.jsonl", id(7)));

    let mut run = Command::new("bash");
    run.arg(script("in-user-manager.sh")).arg(script("scenario.sh")).arg(&program).arg(laptop.gh.dir()).arg(&arrives).arg("2");
    run.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    run.env("MANAGER_USER", &user.name).env("MANAGER_HOME", laptop.home()).stdin(Stdio::null());
    let output = run.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(CANNOT) {
        return skip(said.trim());
    }
    print(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("-- done"), "the script went to its end: {said}");
    assert!(said.contains("Overall exposure level"), "the score was shown: {said}");
    assert!(laptop.at(BOX).connections() >= 2, "the codespace was visited again and again");
    let units = files(&laptop.home().join(".config/systemd"));
    assert_eq!(units, Vec::<PathBuf>::new(), "nothing is left");
    assert!(!said.contains(TOKEN));
}

/// For whoever runs the test with `--no-capture`.
fn print(said: &str) {
    std::io::Write::write_all(&mut std::io::stdout(), said.as_bytes()).unwrap();
}

#[test]
fn the_service_lives_through_everything_in_a_user_manager_of_root() {
    scenario("root");
}

#[test]
fn the_service_lives_through_everything_in_a_user_manager_of_a_plain_user() {
    // The user of the stand-in codespaces, whom their fixture makes.
    scenario("codespace");
}
