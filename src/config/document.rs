//! The file as tables and values that know their place in it, and the names that may stand there.
//!
//! Promises: reading goes on after a mistake, so that all are found; a name that is not known gets the known one that was
//! probably meant, or the table where it belongs. Never: a value of another type that is converted.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use super::values::{Word, Wrong};
use super::{TEMPLATE, VERSION};
use crate::reconcile::plain::plain;

/// A table of the file, and its keys.
pub(super) struct Shape {
    name: &'static str,
    /// Written `[[name]]`, any number of times.
    many: bool,
    pub(super) keys: &'static [&'static str],
}

/// Everything that may stand in the file, beside `version`.
pub(super) const TABLES: [Shape; 10] = [
    Shape { name: "github", many: false, keys: &["enabled", "api_url", "token_file"] },
    Shape { name: "sync", many: false, keys: &["days", "default", "clone_roots", "idle_policy"] },
    Shape { name: "claude", many: false, keys: &["directory", "codespace_directory"] },
    Shape { name: "programs", many: false, keys: &["gh", "ssh", "git", "ssh_keygen"] },
    Shape { name: "schedule", many: false, keys: &["every", "look", "jitter", "stale_after"] },
    Shape { name: "vault", many: false, keys: &["archive", "warn_at"] },
    Shape { name: "log", many: false, keys: &["level", "format", "keep"] },
    Shape { name: "notify", many: false, keys: &["enabled"] },
    Shape { name: "repository", many: true, keys: &["name", "path", "sync", "also_in"] },
    Shape { name: "machine", many: true, keys: &["name", "ssh", "command", "repositories", "claude", "workspaces"] },
];

/// Words that people try, and what they mean here.
const MEANT: [(&str, &str); 7] = [
    ("interval", "every"),
    ("cron", "every"),
    ("token", "token_file"),
    ("host", "ssh"),
    ("policy", "sync"),
    ("repositories", "repository"),
    ("machines", "machine"),
];

/// How alike two names must be for one to be suggested for the other.
const ALIKE: f64 = 0.84;

impl Shape {
    pub(super) fn header(&self) -> String {
        if self.many { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// A file that is TOML.
pub(super) struct Document<'t> {
    text: &'t str,
    root: DeTable<'t>,
    found: RefCell<Vec<(usize, Wrong)>>,
}

impl<'t> Document<'t> {
    /// Reads the text and checks every name in it.
    pub(super) fn read(text: &'t str) -> Result<Self, Vec<Problem>> {
        let root = DeTable::parse(text).map_err(|error| {
            let place = Place::in_text(text, error.span().map_or(0, |span| span.start));
            let message = plain(error.message().trim()).replace("\\n", ", ");
            vec![Problem { place: Some(place), message, hint: None }]
        })?;
        let document = Self { text, root: root.into_inner(), found: RefCell::default() };
        document.check_version()?;
        document.check_names();
        Ok(document)
    }

    /// A later version may mean other things by the same names, so nothing else is said of such a file.
    fn check_version(&self) -> Result<(), Vec<Problem>> {
        let Some(value) = self.root.get("version") else { return Ok(()) };
        if integer(value.get_ref()) == Some(i64::from(VERSION)) {
            return Ok(());
        }
        let place = Some(Place::in_text(self.text, value.span().start));
        let hint = Some(format!("version = {VERSION}, or none at all"));
        Err(vec![Problem { place, message: format!("this program reads version {VERSION} of the file only"), hint }])
    }

    fn check_names(&self) {
        for (key, value) in &self.root {
            let name = key.get_ref();
            if name == "version" {
                continue;
            }
            let Some(shape) = TABLES.iter().find(|shape| shape.name == name) else {
                self.refuse(key.span().start, Wrong { message: format!("unknown key {}", quoted(name)), hint: Some(suggest_at_top(name)) });
                continue;
            };
            for table in tables_of(value.get_ref()) {
                for (key, _) in table {
                    if !shape.keys.contains(&key.get_ref().as_ref()) {
                        let message = format!("unknown key {}", quoted(key.get_ref()));
                        self.refuse(key.span().start, Wrong { message, hint: Some(suggest(shape, key.get_ref())) });
                    }
                }
            }
        }
    }

    pub(super) fn refuse(&self, at: usize, wrong: Wrong) {
        self.found.borrow_mut().push((at, wrong));
    }

    /// The table of a name; an empty one where there is none.
    pub(super) fn section(&self, name: &'static str) -> Section<'_> {
        let mut section = Section { document: self, name, table: None, at: 0 };
        if let Some(value) = self.root.get(name) {
            section.at = value.span().start;
            match value.get_ref() {
                DeValue::Table(table) => section.table = Some(table),
                _ => self.refuse(section.at, Wrong::new(format!("\"{name}\" is one table")).hint(format!("write [{name}]"))),
            }
        }
        section
    }

    /// All tables of a name, in their order.
    pub(super) fn sections(&self, name: &'static str) -> Vec<Section<'_>> {
        let Some(value) = self.root.get(name) else { return Vec::new() };
        let DeValue::Array(entries) = value.get_ref() else {
            self.refuse(value.span().start, Wrong::new(format!("there may be many of \"{name}\"")).hint(format!("write [[{name}]]")));
            return Vec::new();
        };
        let section = |entry: &'_ Spanned<DeValue<'t>>| entry.span().start;
        let mut sections = Vec::new();
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::Table(table) => sections.push(Section { document: self, name, table: Some(table), at: section(entry) }),
                _ => self.refuse(section(entry), Wrong::new(format!("\"{name}\" is a list of tables")).hint(format!("write [[{name}]]"))),
            }
        }
        sections
    }

    /// The number of the line that holds a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        Place::in_text(self.text, at).line
    }

    /// All that was found, in the order of the lines.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = self.found.borrow().clone();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(at, wrong)| Problem { place: Some(Place::in_text(self.text, at)), message: wrong.message, hint: wrong.hint }).collect()
    }
}

/// One table.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    name: &'static str,
    table: Option<&'d DeTable<'d>>,
    /// Where it begins.
    pub(super) at: usize,
}

impl<'d> Section<'d> {
    /// The value of a key as some type.
    fn read<T>(&self, key: &'static str, kind: &str, take: impl FnOnce(&'d DeValue<'d>) -> Option<T>) -> Option<(T, usize)> {
        let value = self.table?.get(key)?;
        let at = value.span().start;
        let taken = take(value.get_ref());
        if taken.is_none() {
            let message = format!("\"{key}\" must be {kind}, not {}", kind_of(value.get_ref()));
            self.document.refuse(at, Wrong { message, hint: example(self.name, key) });
        }
        Some((taken?, at))
    }

    /// A text, by way of a check.
    pub(super) fn text<T>(&self, key: &'static str, check: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<(T, usize)> {
        let (text, at) = self.read(key, "a text in quotes", DeValue::as_str)?;
        match check(text) {
            Ok(value) => Some((value, at)),
            Err(wrong) => {
                self.refuse_value(key, text, at, wrong);
                None
            }
        }
    }

    /// A list of texts, each by way of a check.
    pub(super) fn texts<T>(&self, key: &'static str, check: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let (list, _) = self.read(key, "a list of texts", DeValue::as_array)?;
        let mut values = Vec::new();
        for entry in list.iter() {
            let at = entry.span().start;
            match entry.get_ref().as_str() {
                None => {
                    let message = format!("\"{key}\" must hold texts in quotes, not {}", kind_of(entry.get_ref()));
                    self.document.refuse(at, Wrong { message, hint: example(self.name, key) });
                }
                Some(text) => match check(text) {
                    Ok(value) => values.push(value),
                    Err(wrong) => self.refuse_value(key, text, at, wrong),
                },
            }
        }
        Some(values)
    }

    /// One of a few words.
    pub(super) fn word<T: Word>(&self, key: &'static str) -> Option<T> {
        let (value, _) = self.text(key, |text| {
            T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
                let all = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
                let hint = nearest(&text.to_lowercase(), words).map_or_else(|| format!("one of {all}"), |word| format!("did you mean \"{word}\"?"));
                Wrong::new(format!("is none of {all}")).hint(hint)
            })
        })?;
        Some(value)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let (number, at) = self.read(key, "a whole number", integer)?;
        let fits = u32::try_from(number).ok().filter(|number| bounds.contains(number));
        if fits.is_none() {
            let message = format!("\"{key}\" must be between {} and {}, not {number}", bounds.start(), bounds.end());
            self.document.refuse(at, Wrong { message, hint: example(self.name, key) });
        }
        fits
    }

    /// Yes or no.
    pub(super) fn switch(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", DeValue::as_bool).map(|(value, _)| value)
    }

    /// Whether the key stands there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    fn refuse_value(&self, key: &str, text: &str, at: usize, wrong: Wrong) {
        let message = format!("\"{key}\": {} {}", quoted(text), wrong.message);
        self.document.refuse(at, Wrong { message: plain(&message).into_owned(), hint: wrong.hint.or_else(|| example(self.name, key)) });
    }
}

fn tables_of<'v, 't>(value: &'v DeValue<'t>) -> Vec<&'v DeTable<'t>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(entries) => entries.iter().filter_map(|entry| entry.get_ref().as_table()).collect(),
        _ => Vec::new(),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    // Beyond 64 bits it is out of any bounds here.
    Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text from the file, short and fit to be printed.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", plain(&short))
}

fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// What was meant by a key that its table does not have.
fn suggest(shape: &Shape, name: &str) -> String {
    let lower = name.to_lowercase().replace('-', "_");
    let meant = nearest(&lower, MEANT.iter().map(|(word, _)| *word)).and_then(|word| MEANT.iter().find(|(known, _)| *known == word));
    if let Some(key) = meant.map(|(_, key)| *key).filter(|key| shape.keys.contains(key)) {
        return format!("did you mean \"{key}\"?");
    }
    let elsewhere = |shape: &&Shape| shape.keys.contains(&lower.as_str());
    if let Some(other) = TABLES.iter().find(elsewhere).filter(|_| !shape.keys.contains(&lower.as_str())) {
        return format!("\"{lower}\" belongs in {}", other.header());
    }
    match nearest(&lower, shape.keys.iter().copied()) {
        Some(key) => format!("did you mean \"{key}\"?"),
        None => format!("{} has: {}", shape.header(), shape.keys.join(", ")),
    }
}

/// What was meant by a key above all tables.
fn suggest_at_top(name: &str) -> String {
    let lower = name.to_lowercase().replace('-', "_");
    let with = |name: &str| TABLES.iter().find(|shape| shape.name == name).map_or_else(|| name.to_owned(), Shape::header);
    if let Some((_, table)) = MEANT.iter().find(|(word, meant)| *word == lower && TABLES.iter().any(|shape| shape.name == *meant)) {
        return format!("did you mean {}?", with(table));
    }
    if let Some(shape) = TABLES.iter().find(|shape| shape.keys.contains(&lower.as_str())) {
        return format!("\"{lower}\" belongs in {}", shape.header());
    }
    if let Some(table) = nearest(&lower, TABLES.iter().map(|shape| shape.name)) {
        return format!("did you mean {}?", with(table));
    }
    format!("the tables are: {}", TABLES.iter().map(Shape::header).collect::<Vec<_>>().join(" "))
}

/// The line of the commented file that shows how a key is written.
fn example(table: &str, key: &str) -> Option<String> {
    let mut within = false;
    for line in TEMPLATE.lines() {
        let line = line.trim_start_matches('#').trim_start();
        if line.starts_with('[') {
            within = line.trim_matches(['[', ']']) == table;
        } else if within && line.split_once(" = ").is_some_and(|(name, _)| name == key) {
            return Some(format!("as in: {line}"));
        }
    }
    None
}
