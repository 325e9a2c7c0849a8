//! A far side that keeps to the grammar and lies: about sizes, digests, bytes, ids, repositories, clocks, outcomes. The stand-in
//! (`tests/fixtures/liar.py`) changes the answers of an honest far side on their way.
//!
//! Whatever it says: the other machines and this one are equal, nothing here is anything but a whole session, and the first honest
//! pass makes all equal.

use std::fs;
use std::path::Path;

use claude_session_sync::reconcile::report::{ActionResult, Outcome, Report};
use serde_json::{Value, json};

use crate::figures::figure;
use crate::pass_hostile::{everything, the_good_go_on, two};
use crate::skip::have;
use crate::talk::{Talk, id};
use crate::world::{Side, World, visit};

/// Has the bad machine lie by these rules.
fn lying(world: &mut World, rules: &Value) {
    let file = world.root().join("rules");
    fs::write(&file, rules.to_string()).unwrap();
    let liar = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/liar.py");
    world.reach("bad", |command| command.extend(["python3".to_owned(), liar.display().to_string(), file.display().to_string()]));
}

fn honest(world: &mut World) {
    world.reach("bad", |command| command.truncate(command.len() - 3));
}

/// One lie in the answers to a verb.
fn lie(verb: &str, item: &str, from: &str, to: &str) -> Value {
    json!({"verb": verb, "item": item, "from": from, "to": to})
}

/// What is said of a lie.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// These words among others.
    Words(&'static str),
    /// Nothing at all: it costs nobody anything.
    Nothing,
}

/// Where a lie is told, and by how much the session is longer for it: one about bytes is told of those that are asked for together with
/// the digests, and of those that are too many for that.
fn ways(rule: &Value) -> Vec<(Value, usize)> {
    let mut ahead = rule.clone();
    ahead["verb"] = "hash".into();
    if rule["verb"] == "get" { vec![(ahead, 0), (rule.clone(), 300 << 10)] } else { vec![(rule.clone(), 0)] }
}

/// All that is said of the bad machine, and of what was not done.
fn said(report: &Report) -> String {
    let visit = visit(report, "bad");
    let skipped = visit.skipped.iter().map(|skipped| format!("{}: {}\n", skipped.name, skipped.why));
    let fault = match &visit.outcome {
        Outcome::Failed(fault) => fault.message.clone(),
        _ => String::new(),
    };
    let undone = report.actions.iter().filter_map(|action| match &action.result {
        Some(ActionResult::Deferred(why) | ActionResult::Failed(why)) => Some(format!("{} at {}: {why}\n", action.session, action.at)),
        _ => None,
    });
    let left = report.left.iter().map(|left| format!("{left:?}\n"));
    skipped.chain(visit.notes.iter().cloned()).chain([fault]).chain(undone).chain(left).collect()
}

/// The sizes, as it lists them, of the session that only the bad machine has.
const SIZE: &str = r"(\d+) (\d+) (?=\S+ \S+ \S+/00000002-\S+\.jsonl)";

#[test]
fn whatever_a_far_side_lies_about_nothing_false_is_taken_and_the_others_go_on() {
    if !have("python3", "--version") {
        return;
    }
    let object = format!("{}.4.0123456789abcdef.{}-1", id(1), "0".repeat(32));
    use Told::{Nothing, Words};
    let table: Vec<(&str, Value, Told)> = vec![
        ("a size that is too great", lie("list", "files", SIZE, r"\1 \g<2>9 "), Words("was not read to its end")),
        (
            "a size that is too small",
            lie("list", "files", r"(\d+) (\d)\d+ (?=\S+ \S+ \S+/00000002-\S+\.jsonl)", r"\1 \2 "),
            Words("changed while it was read, or cannot be read"),
        ),
        ("a size of nothing", lie("list", "files", SIZE, r"\1 0 "), Words("changed while it was read, or cannot be read")),
        (
            "a size that no disk holds",
            lie("list", "files", SIZE, r"\1 1125899906842624 "),
            Words("is said to have 1048576.0 GiB, more than 4.0 GiB are brought nowhere"),
        ),
        ("a size beyond the numbers", lie("list", "files", SIZE, r"\1 18446744073709551615 "), Words("more than 4.0 GiB are brought nowhere")),
        ("a digest", lie("hash", "hashes", "w [0-9a-f]{4}", "w 0000"), Words("changed while it was read, or cannot be read")),
        ("a digest of another file", lie("hash", "hashes", r"(w \S+ projects/)\S+?/", r"\1-q/"), Words("in `hashes`")),
        ("a digest twice", lie("hash", "hashes", "(.+)", "\\1\n\\1"), Words("in `hashes`")),
        ("no digest at all", lie("hash", "hashes", ".+", ""), Words("no word of `projects/")),
        ("a file that cannot be read", lie("hash", "hashes", r"w \S+ ", "x "), Words("could not be read there")),
        ("one byte", lie("get", "data", "of the bad one", "of the b\u{e4}d one"), Words("changed while it was read, or cannot be read")),
        ("bytes from another place", lie("get", "data", "^(.{100})(.*)$", r"\2\1"), Words("changed while it was read, or cannot be read")),
        ("a byte more", lie("get", "data", r"\Z", "x"), Words("were asked for")),
        ("a byte less", lie("get", "data", r".\Z", ""), Words("were asked for")),
        ("an answer to another question", json!({"verb": "get", "raw": true, "from": "^data ", "to": "hashes "}), Words("`hashes` where `data` belongs")),
        ("one answer more", json!({"verb": "get", "raw": true, "from": r"\A(data .*)\Z", "to": "\\1data 0\n"}), Words("`data` where the end belongs")),
        ("the same path twice", lie("list", "files", "(.+)", "\\1\n\\1"), Words("twice in `files`")),
        ("a negative time", lie("list", "files", r"(\d+ \d+) (?=\S+ \S+ \S+/00000002-)", r"\1 -"), Words("has a time before 1970")),
        ("its clock", lie("list", "clock", ".+", "99999999999"), Words("clock")),
        ("a clock that is no number", lie("list", "clock", ".+", "soon"), Words("`soon` in `clock`")),
        ("its own directory", lie("list", "claude", ".+", "not/absolute"), Words("`claude` is no plain absolute path")),
        ("an outcome that was not asked for", lie("put", "outcomes", r"^(\d+) ", "9999 "), Words("in `outcomes`")),
        ("an outcome twice", lie("put", "outcomes", "(.+)", "\\1\n\\1"), Words("in `outcomes`")),
        ("no outcomes", lie("put", "outcomes", ".+", ""), Words("no outcome of file")),
        ("what was displaced", lie("put", "outcomes", r"\Z", &format!("\n1 grew ../{object} 9")), Words("in `outcomes`")),
        ("a drop that nobody asked for", lie("put", "outcomes", r"\Z", &format!("\ndrop {object} done")), Words("in `outcomes`")),
        ("its stamps", lie("put", "outcomes", r"(\d+) done \d+ \d+", r"\1 done 1 2"), Nothing),
        (
            "that nothing was kept",
            lie("put", "outcomes", r"(\d+) done [^\n]*", r"\1 failed"),
            Words("00000001-51c4-4e00-8a05-674dde6aa368 at bad: the far side does not say why"),
        ),
        ("its replica", lie("put", "replica", ".+", "../../etc/passwd"), Words("`replica` is no UUID")),
        ("how long it keeps a session", lie("list", "retention", ".*", "0"), Words("2 older sessions stay where they are (--days N takes them along)")),
        ("who visits", lie("list", "agents", ".*", &format!("99999999999 {}", id(3))), Nothing),
        ("a session that is open", lie("list", "live", ".*", &format!("registry\n{} 0 busy\n{} 0 -", id(1), id(2))), Words("open in a client there")),
        ("a directory of this machine", lie("list", "cwds", ".*", "-etc:\"cwd\":\"/etc\"\n-root--ssh:\"cwd\":\"/root/.ssh\""), Nothing),
    ];
    let count = table.len();
    let mut passes = 0;
    for (what, rule, more, expected) in
        table.into_iter().flat_map(|(what, rule, told)| ways(&rule).into_iter().map(move |(rule, more)| (what, rule, more, told)))
    {
        let (mut world, bad, good) = two();
        bad.goes_on(&Talk::begun(&id(2), &bad.at("widget"), 50, "of the bad one").line(&json!({"type": "attachment", "content": "s".repeat(more)})));
        let whole = everything(&[&world.here, &bad, &good]);
        lying(&mut world, &json!([rule]));
        let ran = world.sync(&[]);
        assert!([0, 3].contains(&ran.code), "{what}: {ran:?}");
        assert!(world.root().join("rules.told").exists(), "{what} was told: {ran:?}");
        let report = ran.report();
        let said = said(&report);
        match expected {
            Words(words) => assert!(said.contains(words), "{what}: {said} {:?}", report.actions),
            Nothing => assert_eq!(said, "", "{what}"),
        }
        passes += 1;
        the_good_go_on(&world, &good, &whole);
        honest(&mut world);
        let after = world.sync(&[]);
        assert!(after.code == 0, "{what}: {after:?}");
        let equal = (world.here.sessions(), bad.sessions(), good.sessions());
        assert_eq!(equal, (whole.clone(), whole.clone(), whole), "{what}");
    }
    figure(&format!("{count} lies, told in {passes} passes"));
}

/// A session of another repository of this machine, which the bad machine does not share.
fn with_secret(world: &World) -> Talk {
    world.here.clone_of("secret", "git@github.com:acme/secret.git");
    let secret = Talk::begun(&id(9), &world.here.at("secret"), 30, "not for them");
    world.here.put(&secret);
    secret
}

fn knows_nothing_of_it(side: &Side, secret: &Talk) {
    assert!(side.paths(&secret.id).is_empty());
    assert!(side.files().values().all(|(_, bytes)| bytes.windows(12).all(|piece| piece != b"not for them")), "it was sent");
}

#[test]
fn an_id_of_another_repository_gets_nothing_of_it_and_is_told() {
    if !have("python3", "--version") {
        return;
    }
    let (mut world, bad, good) = two();
    let secret = with_secret(&world);
    world.passes();
    lying(&mut world, &json!([lie("list", "files", "/00000002-", "/00000009-"), lie("hash", "hashes", "/00000002-", "/00000009-")]));
    for _ in 0..2 {
        let ran = world.sync(&[]);
        let report = ran.report();
        assert!(said(&report).contains("belongs to acme/secret on this machine"), "{}", said(&report));
        assert_eq!(visit(&report, "bad").refused, 1);
        knows_nothing_of_it(&bad, &secret);
        knows_nothing_of_it(&good, &secret);
        assert_eq!(world.here.bytes(&secret.id), secret.bytes, "and nothing of it was changed");
    }
}

#[test]
fn a_forged_remote_opens_no_other_repository() {
    if !have("python3", "--version") {
        return;
    }
    let (mut world, bad, good) = two();
    let secret = with_secret(&world);
    let whole = everything(&[&good]);
    lying(&mut world, &json!([lie("list", "roots", "acme/widget", "acme/secret")]));
    let report = world.sync(&[]).report();
    assert!(said(&report).contains("1 sessions of another clone, acme/secret"), "{}", said(&report));
    knows_nothing_of_it(&bad, &secret);
    assert_eq!((world.here.paths(&id(2)).len(), good.paths(&id(2)).len()), (0, 0), "what it says to be of that repository came to nobody");
    assert!(whole.iter().all(|(name, bytes)| good.sessions().get(name) == Some(bytes)));
}

#[test]
fn who_takes_the_id_of_another_store_deletes_nothing_there() {
    if !have("python3", "--version") {
        return;
    }
    let (mut world, bad, good) = two();
    world.passes();
    let whole = everything(&[&world.here, &bad, &good]);
    let theirs = fs::read_to_string(good.claude.join(".claude-session-sync/replica-id")).unwrap();
    let forged = lie("list", "replica", ".+", theirs.trim());
    for more in [lie("list", "files", ".*", ""), lie("list", "files", r"/0000000(\d)-", r"/0000001\1-"), lie("list", "vault", ".*", "")] {
        lying(&mut world, &json!([forged, more]));
        world.sync(&[]);
        world.sync(&[]);
        for side in [&world.here, &good] {
            assert!(whole.iter().all(|(name, bytes)| side.sessions().get(name) == Some(bytes)), "{more}");
        }
        honest(&mut world);
        // What it hid from us it may have twice now, which is its own affair; the others are as equal as ever.
        world.sync(&[]);
        assert_eq!(world.here.sessions(), good.sessions());
    }
}

#[test]
fn a_session_that_is_dated_into_the_future_wins_and_the_loser_is_kept() {
    let (world, bad, good) = two();
    world.passes();
    let talk = Talk::begun(&id(1), &world.here.at("widget"), 60, "mine");
    let mine = world.here.bytes(&id(1));
    let evil = talk.clone().holding(&mine[..mine.len() / 2]).raw(b"\n").after(86_400 * 365 * 50).says("I am the newest");
    bad.goes_on(&evil);
    let ran = world.sync(&[]);
    assert!([0, 3].contains(&ran.code), "{ran:?}");
    assert!(world.displaced(&id(1)).contains(&mine) || world.archived(&id(1)) == Some(mine.clone()), "what lost is kept here");
    let told = format!("a copy won whose dates lie in the future: {}, by 4379", id(1));
    assert!(ran.report().notes.iter().any(|note| note.starts_with(&told) && note.ends_with(" h; what lost is kept")), "{ran:?}");
    assert_eq!(world.here.bytes(&id(1)), good.bytes(&id(1)));
}

#[test]
fn a_far_vault_that_speaks_of_another_repository_s_session_is_neither_believed_nor_emptied() {
    let (mut world, far) = World::with_box();
    let other = world.machine("other", &["acme/secret"]);
    for side in [&world.here, &other] {
        side.clone_of("secret", "git@github.com:acme/secret.git");
    }
    other.put(&Talk::begun(&id(7), &other.at("secret"), 60, "of another repository"));
    far.put(&Talk::begun(&id(2), &far.at("widget"), 50, "its own"));
    world.passes();
    let vault = far.claude.join(".claude-session-sync/vault");
    fs::create_dir_all(&vault).unwrap();
    let forged = Talk::begun(&id(7), &other.at("secret"), 1, "made up");
    let name = |id: &str, bytes: usize| vault.join(format!("{id}.{bytes}.{}.{}", "0".repeat(16), "a".repeat(32)));
    let object = name(&id(7), forged.bytes.len());
    fs::write(&object, &*forged.bytes).unwrap();
    // Its own are looked at.
    let own = name(&id(2), 10);
    fs::write(&own, b"{\"own\":1}\n").unwrap();
    far.put(&Talk::begun(&id(3), &far.at("widget"), 20, "asks for digests"));
    world.here.put(&Talk::begun(&id(4), &world.here.at("widget"), 20, "is sent"));
    world.passes();
    world.passes();
    assert_eq!(world.displaced(&id(7)), std::collections::BTreeSet::new());
    assert!(object.exists());
    assert_eq!((world.displaced(&id(2)).len(), own.exists()), (1, false));
}
