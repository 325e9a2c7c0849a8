//! What must hold of every parser of foreign bytes, whatever the bytes: one function for each, which takes them and panics where
//! a promise is broken. The fuzz targets call these, and so does the ordinary test suite with every seed (`tests/it/seeds.rs`).
//!
//! Promises: the same bytes give the same verdict. Never: a connection to anything but this process, a file outside a directory
//! of its own.

mod answers;
mod files;
mod github;
mod names;
mod texts;

/// A check: takes any bytes, panics where a promise is broken.
pub type Check = fn(&[u8]);

/// Every check by the name of its fuzz target and of its folder of seeds.
pub const ALL: [(&str, Check); 18] = [
    ("answer_get", answers::get),
    ("answer_hash", answers::hash),
    ("answer_list", answers::list),
    ("answer_put", answers::put),
    ("config", texts::config),
    ("control_line", texts::control_line),
    ("github_answer", github::answer),
    ("github_row", github::row),
    ("index", files::index),
    ("log_line", texts::log_line),
    ("names", names::all),
    ("registry", files::registry),
    ("said_by_gh", texts::said_by_gh),
    ("state", files::state),
    ("token", texts::token),
    ("transcript", texts::transcript),
    ("turn", texts::turn),
    ("vault_note", files::vault_note),
];

/// Runs the check of this name.
///
/// # Panics
/// If there is none, or if it finds a promise broken.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, check) = ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no check is called {name}"));
    check(bytes);
}

/// Nothing in the text acts on a terminal.
#[track_caller]
fn is_plain(text: &str) {
    assert!(!text.chars().any(claude_session_sync::reconcile::plain::is_active), "a terminal would obey {text:?}");
}
