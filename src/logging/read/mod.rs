//! Reading the log: every file of both series as one stream in the order of time, whatever form its lines have.
//!
//! Promises: memory does not grow with the log; a line that is not ours (torn, garbage, another version) is a line as it is,
//! never an error, and belongs where the line before it in its file belongs. A file that cannot be read is one such line, which
//! says so. Never: a change to the log, or a lock; it is read while it is written.

mod lines;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::line::{Level, Line};
use super::series::{SERIES, Series};
use lines::Lines;

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its time; that of the line before it where it has none; else the beginning of its file's day.
    pub at: DateTime<Utc>,
    /// What it says.
    pub said: Said,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A line of ours.
    Ours(Line),
    /// Anything else, as it stands there. It may hold what acts on a terminal.
    Other(String),
}

/// Which lines are wanted; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Not older.
    pub since: Option<DateTime<Utc>>,
    /// As grave as this, or graver. What is not ours has no level, and is always grave enough.
    pub level: Option<Level>,
    /// Of one of these codespaces or machines; of any for none.
    pub names: Vec<Name>,
    /// Of the pass with this id.
    pub pass: Option<String>,
}

/// What a codespace or a machine is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// So.
    Exactly(String),
    /// So at its beginning.
    Beginning(String),
}

impl Wanted {
    /// Whether a line of ours is of the pass and the places that are asked for.
    fn concerns(&self, line: &Line) -> bool {
        let pass = self.pass.as_deref().is_none_or(|pass| line.span("pass", "id") == Some(pass));
        // What is said of a place from outside of its visit names it in a field.
        let place = line.span("codespace", "name").or_else(|| line.fields.get("name")?.as_str());
        let named = |name: &Name| match name {
            Name::Exactly(name) => place == Some(name),
            Name::Beginning(begin) => place.is_some_and(|place| place.starts_with(begin)),
        };
        pass && (self.names.is_empty() || self.names.iter().any(named))
    }

    /// The first day whose file may hold such a line. What is written at midnight may be a little older than its file.
    fn first_day(&self) -> NaiveDate {
        self.since.and_then(|since| since.date_naive().checked_sub_days(Days::new(1))).unwrap_or(NaiveDate::MIN)
    }
}

/// The wanted lines of the log in a directory, oldest first.
#[derive(Debug)]
pub struct Log {
    series: [Reader; 2],
    /// Lines still to be passed over.
    skip: usize,
}

impl Log {
    /// All wanted lines.
    #[must_use]
    pub fn open(directory: &Path, wanted: &Wanted) -> Self {
        Self::from_day(directory, wanted, wanted.first_day())
    }

    /// The last `count` wanted lines, and those that come after them.
    #[must_use]
    pub fn open_last(directory: &Path, wanted: &Wanted, count: usize) -> Self {
        let mut found = 0;
        let mut first = None;
        for day in days(directory).filter(|day| *day >= wanted.first_day()) {
            if found >= count && first.is_some() {
                break;
            }
            first = Some(day);
            found += SERIES.map(|series| Reader::new(directory, series, wanted, day).until(day).count()).iter().sum::<usize>();
        }
        Self { skip: found.saturating_sub(count), ..Self::from_day(directory, wanted, first.unwrap_or(wanted.first_day())) }
    }

    fn from_day(directory: &Path, wanted: &Wanted, day: NaiveDate) -> Self {
        Self { series: SERIES.map(|series| Reader::new(directory, series, wanted, day)), skip: 0 }
    }

    /// The next line that is there by now. A last line without its end counts only where no more of it is waited for.
    pub fn next(&mut self, waits: Waits) -> Option<Entry> {
        loop {
            self.series.iter_mut().for_each(|reader| reader.peek(waits));
            let ready = self.series.iter_mut().filter(|reader| reader.next.is_some());
            let entry = ready.min_by_key(|reader| reader.next.as_ref().map(|entry| entry.at))?.next.take();
            if self.skip == 0 {
                return entry;
            }
            self.skip -= 1;
        }
    }
}

/// Whether a reader of the log waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It takes what is there.
    No,
    /// It comes back later.
    Yes,
}

/// The id of the last pass that has a line, and the time of its last line.
#[must_use]
pub fn last_pass(directory: &Path) -> Option<(String, DateTime<Utc>)> {
    let wanted = Wanted::default();
    let id = |entry: Entry| match entry.said {
        Said::Ours(line) => line.span("pass", "id").map(|id| (id.to_owned(), entry.at)),
        Said::Other(_) => None,
    };
    let of = |series| days(directory).find_map(|day| Reader::new(directory, series, &wanted, day).until(day).filter_map(id).last());
    SERIES.into_iter().filter_map(of).max_by_key(|(_, at)| *at)
}

/// What is wanted of the last pass. None where the log tells of no pass.
#[must_use]
pub fn of_last_pass(directory: &Path, wanted: Wanted) -> Option<Wanted> {
    let (id, at) = last_pass(directory)?;
    // No pass takes a day; older files need not be read.
    let since = wanted.since.max(at.checked_sub_signed(TimeDelta::days(1)));
    Some(Wanted { pass: Some(id), since, ..wanted })
}

/// The days that have a file of either series, newest first.
fn days(directory: &Path) -> impl Iterator<Item = NaiveDate> {
    let mut days: Vec<NaiveDate> = SERIES.iter().flat_map(|series| series.days(directory).unwrap_or_default()).collect();
    days.sort_unstable();
    days.dedup();
    days.into_iter().rev()
}

/// One series of files.
#[derive(Debug)]
struct Reader {
    directory: PathBuf,
    series: Series,
    wanted: Wanted,
    /// Nothing before this day.
    from: NaiveDate,
    file: Option<Lines>,
    /// Time of the line before, and whether it was of what is asked for.
    at: DateTime<Utc>,
    concerned: bool,
    next: Option<Entry>,
}

impl Reader {
    fn new(directory: &Path, series: Series, wanted: &Wanted, from: NaiveDate) -> Self {
        let (directory, wanted) = (directory.to_path_buf(), wanted.clone());
        Self { directory, series, wanted, from, file: None, at: DateTime::<Utc>::MIN_UTC, concerned: false, next: None }
    }

    /// All that is there now, up to the file of a day.
    fn until(mut self, day: NaiveDate) -> impl Iterator<Item = Entry> {
        std::iter::from_fn(move || self.read(day, Waits::No))
    }

    fn peek(&mut self, waits: Waits) {
        if self.next.is_none() {
            self.next = self.read(NaiveDate::MAX, waits);
        }
    }

    /// The next wanted line, in files of no later day.
    fn read(&mut self, until: NaiveDate, waits: Waits) -> Option<Entry> {
        loop {
            let text = match self.whole() {
                Some(text) => Some(text),
                None => {
                    let next = self.next_file(until);
                    // Again, because lines may have come to this file before there was another one.
                    match (self.whole(), next) {
                        (Some(text), _) => Some(text),
                        (None, Some(day)) => self.turn_to(day),
                        (None, None) if waits == Waits::No => Some(self.file.as_mut()?.rest()?),
                        (None, None) => return None,
                    }
                }
            };
            let entry = text.and_then(|text| self.judge(text));
            if entry.is_some() {
                return entry;
            }
        }
    }

    fn whole(&mut self) -> Option<String> {
        self.file.as_mut().and_then(Lines::whole)
    }

    /// The day of the file after this one, or of this one if it is another file now.
    fn next_file(&self, until: NaiveDate) -> Option<NaiveDate> {
        let current = self.file.as_ref();
        let later = |day: &NaiveDate| *day <= until && current.map_or(*day >= self.from, |file| *day > file.day());
        let replaced = || current.filter(|file| file.was_replaced()).map(Lines::day);
        replaced().or_else(|| self.series.days(&self.directory).unwrap_or_default().into_iter().find(later))
    }

    /// Opens the file of a day. Gives the line that the one before left unfinished.
    fn turn_to(&mut self, day: NaiveDate) -> Option<String> {
        let rest = self.file.as_mut().and_then(Lines::rest);
        if self.file.as_ref().is_none_or(|file| file.day() != day) && rest.is_none() {
            self.at = day.and_time(NaiveTime::MIN).and_utc();
            self.concerned = self.wanted.pass.is_none() && self.wanted.names.is_empty();
        }
        self.file = Some(Lines::open(&self.series.file(&self.directory, day), day));
        rest
    }

    /// Whether a line is wanted.
    fn judge(&mut self, text: String) -> Option<Entry> {
        let said = Line::parse(&text).map_or(Said::Other(text), Said::Ours);
        let mut grave = true;
        if let Said::Ours(line) = &said {
            (self.at, self.concerned) = (line.time.to_utc(), self.wanted.concerns(line));
            grave = self.wanted.level.is_none_or(|level| line.level <= level);
        }
        let young = self.wanted.since.is_none_or(|since| self.at >= since);
        (self.concerned && grave && young).then_some(Entry { at: self.at, said })
    }
}
