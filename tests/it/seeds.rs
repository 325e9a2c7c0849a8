//! The checks of `fuzz/`, without a fuzzer: every seed, and each of them cut, doubled and with bytes changed, so that every push runs
//! them and what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::figures::figure;

#[expect(unreachable_pub, reason = "the fuzz targets are another crate")]
#[path = "../../fuzz/checks/mod.rs"]
mod checks;

/// Changed copies of each seed. A real fuzzer is in `fuzz/run`.
const CHANGES: u64 = 60;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(directory: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.map(|name| name.strip_suffix(ending).unwrap().to_owned()).collect()
}

/// The bytes, a little worse.
fn worse(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    const BITS: [&[u8]; 12] =
        [b"\x1b[31m", b"\n", b"\0", b"\xff", b"..", b"/", b"-1", b"18446744073709551615", b"\"", b"{", "\u{202e}".as_bytes(), "\u{9b}".as_bytes()];
    let mut changed = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(changed.len() + 1);
        let end = (at + dice.below(8)).min(changed.len());
        match dice.below(5) {
            0 => changed.truncate(at),
            1 => drop(changed.drain(at..end)),
            2 => drop(changed.splice(at..at, BITS[dice.below(BITS.len())].iter().copied())),
            3 => changed = [&changed[..at], &bytes[dice.below(bytes.len() + 1)..]].concat(),
            _ => changed[at..end].iter_mut().for_each(|byte| *byte ^= 1 << dice.below(8)),
        }
    }
    changed
}

#[test]
fn every_check_has_its_target_its_entry_and_its_seeds() {
    let checks: BTreeSet<String> = checks::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(checks, names(&fuzz().join("targets"), ".rs"));
    assert_eq!(checks, names(&fuzz().join("seeds"), ""));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in checks {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        assert!(fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap().contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn no_seed_and_nothing_like_one_breaks_a_promise_of_a_parser() {
    let (mut seeds, mut runs, mut broken, mut dice) = (0, 0_u64, Vec::new(), Dice(0x9e37_79b9_7f4a_7c15));
    for (name, _) in checks::ALL {
        let of_parser = names(&fuzz().join("seeds").join(name), "");
        assert!(!of_parser.is_empty(), "{name} has no seed");
        seeds += of_parser.len();
        for seed in of_parser {
            let bytes = fs::read(fuzz().join("seeds").join(name).join(&seed)).unwrap();
            let changed = (0..CHANGES).map(|_| worse(&bytes, &mut dice)).collect::<Vec<_>>();
            for input in [bytes].into_iter().chain(changed) {
                runs += 1;
                if catch_unwind(AssertUnwindSafe(|| checks::run(name, &input))).is_err() {
                    broken.push(format!("{name}, from the seed {seed}: {:?}", String::from_utf8_lossy(&input)));
                }
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    figure(&format!("{runs} inputs from {seeds} seeds for {} parsers", checks::ALL.len()));
}
