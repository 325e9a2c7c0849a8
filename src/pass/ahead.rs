//! Bytes that a visit asks for together with the digests that will say whether it needs them.
//!
//! To ask for them only then is one more way there and back. Most of what is new is a session that somebody went
//! on with, so what is asked for is what lies behind all that is known here of a file, or all of a file that is not known at all.
//!
//! Promises: a visit asks for at most [`MOST`] bytes in vain. Nothing is concluded from them: they are used where the digests would have
//! had them fetched, and are then proved as all that is fetched.

use super::bases::Base;
use super::room::LONGEST_FILE;
use crate::codespace::replica::{FarPath, Range};
use crate::reconcile::manifest::StorePath;

/// Most bytes that are asked for ahead. For more of them, a way there and back is no matter.
pub const MOST: u64 = 256 << 10;

/// What is asked for ahead of a file of this size, of which these contents are known here, while there are so many bytes left to ask for.
pub fn range(path: &StorePath, size: u64, known: &[Base], left: &mut u64) -> Option<Range> {
    // What is no lines, and known, may well be the same as before.
    if size > LONGEST_FILE || !(path.part.is_lines() || known.is_empty()) {
        return None;
    }
    let offset = known.iter().map(|base| base.length).max().unwrap_or(0);
    let length = size.checked_sub(offset).filter(|length| *length <= *left && (*length > 0 || known.is_empty()))?;
    *left -= length;
    Some(Range { path: FarPath::Store(path.clone()), offset, length })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::reconcile::transcript::Digest;

    const ID: &str = "01234567-89ab-4cde-8f01-23456789abcd";

    fn asked(path: &str, size: u64, known: &[u64], left: &mut u64) -> Option<(u64, u64)> {
        let known: Vec<Base> = known.iter().map(|length| Base { length: *length, digest: Digest([0; 32]), path: PathBuf::new() }).collect();
        range(&path.parse().unwrap(), size, &known, left).map(|range| (range.offset, range.length))
    }

    #[test]
    fn what_lies_behind_all_that_is_known_or_all_of_what_is_not() {
        let (transcript, side) = (format!("-p/{ID}.jsonl"), format!("-p/{ID}/tool-results/note.txt"));
        let of = |path: &str, size, known: &[u64]| asked(path, size, known, &mut MOST.clone());
        assert_eq!(of(&transcript, 100, &[60, 90, 10]), Some((90, 10)));
        assert_eq!(of(&transcript, 100, &[]), Some((0, 100)));
        assert_eq!(of(&transcript, 0, &[]), Some((0, 0)));
        for known in [&[100][..], &[60, 101]] {
            assert_eq!(of(&transcript, 100, known), None, "{known:?}: it may well be known");
        }
        assert_eq!((of(&side, 100, &[]), of(&side, 100, &[90])), (Some((0, 100)), None));
    }

    #[test]
    fn no_more_than_there_is_left_to_ask_for() {
        let (transcript, mut left) = (format!("-p/{ID}.jsonl"), MOST);
        assert_eq!(asked(&transcript, MOST + 11, &[10], &mut left), None);
        assert_eq!(asked(&transcript, MOST, &[10], &mut left), Some((10, MOST - 10)));
        assert_eq!((asked(&transcript, 11, &[], &mut left), left), (None, 10));
        assert_eq!((asked(&transcript, 10, &[], &mut left), left), (Some((0, 10)), 0));
        assert_eq!(asked(&transcript, u64::MAX, &[], &mut left), None);
        assert_eq!(asked(&transcript, LONGEST_FILE + 1, &[LONGEST_FILE], &mut MOST.clone()), None, "no session is that long");
    }
}
