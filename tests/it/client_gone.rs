//! A client that is killed leaves nothing running on the far side: the script there sees the end of its line. Also over a real sshd;
//! and a line that merely goes dumb ends the visit here.
#![cfg(target_os = "linux")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::e2e_world::{Laptop, transcripts};
use crate::figures::figure;
use crate::talk::{Talk, id};
use crate::wait::{living_with, reached};
use crate::world::World;

const BOX: &str = "left-1";

/// Kills it, and waits until nothing runs any more that has this home. How long that took.
fn kill_and_wait(mut client: Child, home: &std::path::Path, what: &str) -> Duration {
    client.kill().unwrap();
    client.wait().unwrap();
    let began = Instant::now();
    reached(&format!("nothing is left there, {what}"), || living_with(home).is_empty());
    began.elapsed()
}

#[test]
fn a_client_that_is_killed_leaves_no_script_on_the_far_side() {
    const KILLS: u32 = 24;
    let (world, far) = World::with_box();
    let (mut longest, mut met) = (Duration::ZERO, 0);
    for n in 0..KILLS {
        let (here, there) = (Talk::begun(&id(10 + n), &world.here.at("widget"), 60, "here"), Talk::begun(&id(100 + n), &far.at("widget"), 60, "there"));
        world.here.put(&here);
        far.put(&there);
        let mut command = world.command(&[], &world.arguments(&[]));
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Some later each time, counted from when the script began there.
        reached("the script begins, or the pass ends", || !living_with(&far.home).is_empty() || client.try_wait().unwrap().is_some());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(u64::from(n) * 20) {
            std::thread::yield_now();
        }
        met += u32::from(!living_with(&far.home).is_empty());
        longest = longest.max(kill_and_wait(client, &far.home, &format!("kill {n}")));
        world.passes();
        assert_eq!(world.here.sessions(), far.sessions(), "kill {n}");
    }
    figure(&format!("{KILLS} kills, {met} of them while a script ran; the last of it was gone within {} ms", longest.as_millis()));
    assert!(met >= 2, "some met a script: {met}");
}

#[test]
fn a_client_that_is_killed_leaves_no_script_in_a_codespace() {
    const KILLS: u64 = 6;
    let Some(mut laptop) = Laptop::new() else { return };
    if laptop.codespace(BOX).is_none() {
        return;
    }
    let visit = {
        laptop.session(1, "here", 60);
        let before = laptop.at(BOX).bytes();
        laptop.report(&[]).good();
        let after = laptop.at(BOX).bytes();
        after.0 + after.1 - before.0 - before.1
    };
    let home = laptop.at(BOX).home();
    let mut longest = Duration::ZERO;
    for n in 0..KILLS {
        let number = 10 + 2 * u32::try_from(n).unwrap();
        laptop.session(number, "new here", 40);
        laptop.session_at(BOX, number + 1, "new there", 30);
        let before = laptop.at(BOX).bytes();
        let mut client = laptop.command(&["sync", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The second half is what the scripts say; the first is the handshake.
        reached("so many bytes went through, or the pass ended", || {
            let now = laptop.at(BOX).bytes();
            now.0 + now.1 - before.0 - before.1 > visit / 2 + n * visit / 2 / KILLS || client.try_wait().unwrap().is_some()
        });
        longest = longest.max(kill_and_wait(client, &home, &format!("kill {n}")));
        laptop.report(&[]).good();
        assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)), "kill {n}");
    }
    figure(&format!("{KILLS} kills; the last script was gone within {} ms", longest.as_millis()));
}

/// The longest that a visit may last whose link goes dumb: ssh gives it up after four times 15 s without an answer, what the script is
/// asked has a deadline of 60 s at most, and the master then has 10 s to go. The rest is for a machine that others keep busy.
const LONGEST_DUMB: Duration = Duration::from_secs(60 + 10 + 20);

/// A link that goes dumb after this quarter of a visit's bytes. How long the visit then lasted; none where there is no sshd.
fn goes_dumb(quarter: u64) -> Option<Duration> {
    let mut laptop = Laptop::new()?;
    laptop.codespace(BOX)?;
    laptop.session(1, "here", 60);
    let before = laptop.at(BOX).bytes();
    laptop.report(&[]).good();
    let after = laptop.at(BOX).bytes();
    let visit = after.0 + after.1 - before.0 - before.1;
    laptop.session(2, "new here", 40);
    laptop.session_at(BOX, 3, "new there", 30);
    laptop.at(BOX).stall_after(visit * quarter / 4);
    let began = Instant::now();
    let ran = laptop.report(&[]);
    let lasted = began.elapsed();
    assert!([1, 3].contains(&ran.code()), "{:?}", ran.told);
    laptop.at(BOX).cut();
    laptop.at(BOX).cut_after(u64::MAX / 2);
    laptop.at(BOX).stall(false);
    laptop.report(&[]).good();
    assert_eq!(transcripts(&laptop.claude()), transcripts(&laptop.claude_at(BOX)));
    Some(lasted)
}

/// All at once: most of the time nothing happens.
#[test]
fn a_link_to_a_codespace_that_goes_dumb_ends_the_visit_and_the_next_one_completes() {
    let lasted: Vec<Duration> = std::thread::scope(|scope| {
        let visits: Vec<_> = (1..=3).map(|quarter| scope.spawn(move || goes_dumb(quarter))).collect();
        visits.into_iter().filter_map(|visit| visit.join().unwrap()).collect()
    });
    let longest = lasted.iter().max().copied().unwrap_or_default();
    figure(&format!("{} places over sshd: the visits ended within {} s", lasted.len(), longest.as_secs()));
    assert!([0, 3].contains(&lasted.len()) && longest <= LONGEST_DUMB, "{lasted:?}");
}
