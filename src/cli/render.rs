//! The only printer: what the program says on standard output and standard error.
//!
//! Promises: foreign text cannot act on the terminal, because every text goes through [`plain`]; colour only on a terminal whose
//! user did not refuse it (`NO_COLOR`, `TERM=dumb`; `CLICOLOR_FORCE` asks for it); a table that is piped is not cut or wrapped.
//! A reader that goes away ends the output, not the work. Never: an escape sequence in a pipe or a file.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style as Ansi};
use comfy_table::{Attribute, Color};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::failure::{Exit, Failure, Kind};
pub use super::table::{Cell, Table};
use super::words::wrapped;
use crate::paths::Environment;
use crate::reconcile::plain::{plain, plain_json};

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Not at all.
    #[default]
    Plain,
    /// What the eye should find first.
    Strong,
    /// What can be passed over.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Failed.
    Bad,
}

impl Style {
    fn ansi(self) -> Ansi {
        match self {
            Self::Plain => Ansi::new(),
            Self::Strong => Ansi::new().bold(),
            Self::Faint => Ansi::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }

    /// The text, fit to be printed, in this style.
    pub(super) fn paint(self, text: &str) -> String {
        let (text, ansi) = (plain(text), self.ansi());
        format!("{ansi}{text}{ansi:#}")
    }

    pub(super) fn apply(self, cell: comfy_table::Cell) -> comfy_table::Cell {
        match self {
            Self::Plain => cell,
            Self::Strong => cell.add_attribute(Attribute::Bold),
            Self::Faint => cell.add_attribute(Attribute::Dim),
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Warn => cell.fg(Color::DarkYellow),
            Self::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        }
    }
}

/// Columns of a label and the space after it.
const LABEL: usize = 11;

/// What became of standard output.
#[derive(Debug)]
enum Listener {
    Reads,
    WentAway,
    Failed(io::Error),
}

/// The two streams.
pub struct Render {
    out: AutoStream<Box<dyn Write>>,
    err: AutoStream<Box<dyn Write>>,
    width: Option<u16>,
    listener: Listener,
}

impl Render {
    /// Those of this process.
    #[must_use]
    pub fn of_process(environment: &Environment) -> Self {
        let out_choice = choice(environment, io::stdout().is_terminal());
        let err_choice = choice(environment, io::stderr().is_terminal());
        let width = if io::stdout().is_terminal() { comfy_table::Table::new().width().or(Some(80)) } else { None };
        Self::into(Box::new(io::stdout()), out_choice, Box::new(io::stderr()), err_choice, width)
    }

    /// Any two streams; `width` is the width of the terminal that `out` is, if it is one.
    #[must_use]
    pub fn into(out: Box<dyn Write>, out_choice: ColorChoice, err: Box<dyn Write>, err_choice: ColorChoice, width: Option<u16>) -> Self {
        Self { out: AutoStream::new(out, out_choice), err: AutoStream::new(err, err_choice), width, listener: Listener::Reads }
    }

    /// Whether a person reads standard output.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// The width of the terminal, in columns.
    #[must_use]
    pub fn width(&self) -> Option<u16> {
        self.width
    }

    /// Whether anybody still reads standard output. `--watch` ends when nobody does.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.listener, Listener::Reads)
    }

    /// One line on standard output.
    pub fn say(&mut self, text: &str) {
        self.print(&format!("{}\n", plain(text)));
    }

    /// One line of several styles.
    pub fn say_styled(&mut self, pieces: &[(Style, &str)]) {
        let line: String = pieces.iter().map(|(style, text)| style.paint(text)).collect();
        self.print(&format!("{line}\n"));
    }

    /// A label and what it is for, the latter wrapped beside the label where the terminal is narrow.
    pub fn say_entry(&mut self, label: (Style, &str), text: (Style, &str)) {
        let room = self.width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(LABEL).max(LABEL));
        let mut name = label.1;
        for line in wrapped(&plain(text.1), room) {
            let line = format!("{}{}\n", label.0.paint(&format!("{name:LABEL$}")), text.0.paint(&line));
            self.print(&line);
            name = "";
        }
    }

    /// Several lines of our own; a newline at the end is not doubled.
    pub fn say_block(&mut self, text: &str) {
        let lines: String = text.lines().map(|line| format!("{}\n", plain(line))).collect();
        self.print(&lines);
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        let lines = table.lines(self.width);
        self.print(&format!("{}\n", lines.trim_end_matches('\n')));
    }

    /// Ends what was shown so far: on a terminal the screen is cleared, as large as it is now; elsewhere nothing happens.
    pub fn clear(&mut self) {
        if self.is_terminal() {
            self.width = comfy_table::Table::new().width().or(self.width);
            // Past the stream that would leave it out where colour is refused: this is no colour.
            let cleared = io::stdout().write_all(b"\x1b[H\x1b[2J\x1b[3J").and_then(|()| io::stdout().flush());
            if let Err(error) = cleared {
                self.fail(error);
            }
        }
    }

    /// Whether standard output still goes somewhere; printing finds out, too.
    pub fn flush(&mut self) {
        if let Err(error) = self.out.flush() {
            self.fail(error);
        }
    }

    /// Waits that long, but no longer than somebody reads standard output.
    pub fn wait(&mut self, longest: Duration) {
        let began = Instant::now();
        let out = io::stdout();
        let mut asked = [PollFd::new(&out, PollFlags::empty())];
        let time = Timespec::try_from(longest).ok();
        let gone = poll(&mut asked, time.as_ref()).is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        if gone {
            self.fail(io::ErrorKind::BrokenPipe.into());
        } else if let Some(left) = longest.checked_sub(began.elapsed()) {
            // What cannot be asked, as a terminal of some systems, answers at once.
            std::thread::sleep(left);
        }
    }

    /// One JSON object on one line.
    pub fn json(&mut self, value: &impl Serialize) {
        if self.is_read()
            && let Err(error) = self.write_json(value)
        {
            self.fail(error);
        }
    }

    /// Written as it is made: the report of a first pass is megabytes.
    fn write_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(64 << 10, &mut self.out);
        value.serialize(&mut Serializer::with_formatter(&mut out, PlainJson))?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// One line on standard error, for what is no result.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", plain(text));
    }

    /// `warning: …` on standard error.
    pub fn warning(&mut self, text: &str) {
        self.labelled(Style::Warn, "warning", text);
    }

    /// A failure on standard error: `error: …`, the line to look at, `caused by: …`, `hint: …`.
    pub fn failure(&mut self, failure: &Failure) {
        self.labelled(Style::Bad, "error", &failure.message);
        if let Some(excerpt) = &failure.excerpt {
            self.note(excerpt);
        }
        for cause in &failure.causes {
            self.labelled(Style::Strong, "caused by", cause);
        }
        if let Some(hint) = &failure.hint {
            self.labelled(Style::Good, "hint", hint);
        }
        for also in &failure.also {
            self.failure(also);
        }
    }

    /// Ends the output, and says how the program is to end: as it would, unless its result could not be written.
    pub fn finish(mut self, exit: Exit) -> Exit {
        if let Err(error) = self.out.flush() {
            self.fail(error);
        }
        let Listener::Failed(error) = &self.listener else { return exit };
        let failure = Failure::new(Kind::Failed, "standard output cannot be written").because(error);
        self.failure(&failure);
        if exit == Exit::Done { Exit::Failed } else { exit }
    }

    /// A label in its style, and one line.
    fn labelled(&mut self, style: Style, label: &str, text: &str) {
        let label = style.paint(&format!("{label}:"));
        // An error on standard error cannot be told to anybody.
        let _ = writeln!(self.err, "{label} {}", plain(text));
    }

    fn print(&mut self, text: &str) {
        if self.is_read()
            && let Err(error) = self.out.write_all(text.as_bytes())
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        let went = error.kind() == io::ErrorKind::BrokenPipe;
        if self.is_read() {
            self.listener = if went { Listener::WentAway } else { Listener::Failed(error) };
        }
    }
}

/// JSON without line breaks, and without a character that acts on a terminal.
struct PlainJson;

impl Formatter for PlainJson {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, into: &mut W, fragment: &str) -> io::Result<()> {
        into.write_all(plain_json(fragment).as_bytes())
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, into: &mut W, fragment: &str) -> io::Result<()> {
        self.write_string_fragment(into, fragment)
    }
}

/// Colour or not, for one stream.
fn choice(environment: &Environment, terminal: bool) -> ColorChoice {
    let forced = environment.get("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let refused = environment.get("NO_COLOR").is_some();
    let able = terminal && environment.get("TERM").is_some_and(|term| term != "dumb");
    if !refused && (forced || able) { ColorChoice::AlwaysAnsi } else { ColorChoice::Never }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A stream that can be read while it is written, or one that fails.
    #[derive(Clone, Default)]
    struct Stream(Rc<RefCell<Vec<u8>>>, Option<io::ErrorKind>);

    impl Stream {
        fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.map_or(Ok(()), |kind| Err(io::Error::from(kind)))?;
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn render(out: &Stream, err: &Stream, choice: ColorChoice, width: Option<u16>) -> Render {
        Render::into(Box::new(out.clone()), choice, Box::new(err.clone()), choice, width)
    }

    fn sessions() -> Table {
        let mut table = Table::new(["SESSION", "BYTES"]);
        table.row(["fix \u{1b}[31mthe\u{1b}[0m build".into(), Cell::number(12)]);
        table.row([Cell::new("write", Style::Good), Cell::number(12345)]);
        table
    }

    #[test]
    fn a_piped_table_is_aligned_and_has_no_escape_sequence() {
        let (out, err) = (Stream::default(), Stream::default());
        render(&out, &err, ColorChoice::Never, None).table(&sessions());
        assert_eq!(out.text(), "SESSION                           BYTES\nfix \\u{1b}[31mthe\\u{1b}[0m build     12\nwrite                             12345\n");
    }

    #[test]
    fn a_table_on_a_terminal_is_no_wider_than_the_terminal() {
        let (out, err) = (Stream::default(), Stream::default());
        render(&out, &err, ColorChoice::AlwaysAnsi, Some(24)).table(&sessions());
        let text = anstream::adapter::strip_str(&out.text()).to_string();
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 24), "{text}");
        assert!(out.text().contains("\u{1b}["), "and coloured");
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let (out, err) = (Stream::default(), Stream::default());
        let failure = Failure { excerpt: Some("    1 | x".into()), causes: vec!["net\u{1b}work\ndown".to_owned()], ..Failure::new(Kind::Failed, "a.b: no") };
        let failure = Failure { also: vec![Failure::new(Kind::Failed, "another")], ..failure.hint("sync again") };
        render(&out, &err, ColorChoice::Never, None).failure(&failure);
        assert_eq!(err.text(), "error: a.b: no\n    1 | x\ncaused by: net\\u{1b}work\\ndown\nhint: sync again\nerror: another\n");
        assert_eq!(out.text(), "");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_output_and_nothing_else() {
        let (out, err) = (Stream(Rc::default(), Some(io::ErrorKind::BrokenPipe)), Stream::default());
        let mut render = render(&out, &err, ColorChoice::Never, None);
        assert!(render.is_read());
        render.say("x");
        assert!(!render.is_read());
        render.say("y");
        assert_eq!(render.finish(Exit::Partly), Exit::Partly);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_result_that_could_not_be_written_is_a_failure() {
        let (out, err) = (Stream(Rc::default(), Some(io::ErrorKind::StorageFull)), Stream::default());
        let mut render = render(&out, &err, ColorChoice::Never, None);
        render.json(&"x");
        assert_eq!(render.finish(Exit::Done), Exit::Failed);
        assert!(err.text().starts_with("error: standard output cannot be written\ncaused by: "), "{}", err.text());
    }

    #[test]
    fn json_is_one_line_of_json_without_control_characters() {
        let (out, err) = (Stream::default(), Stream::default());
        render(&out, &err, ColorChoice::Never, None).json(&"a\u{202e}\u{9b}\n");
        assert_eq!(out.text(), "\"a\\u202e\\u009b\\n\"\n");
        assert_eq!(serde_json::from_str::<String>(&out.text()).unwrap(), "a\u{202e}\u{9b}\n");
    }

    #[test]
    fn colour_is_for_terminals_whose_user_did_not_refuse_it() {
        let of = |variables: &[(&str, &str)], terminal| choice(&variables.iter().copied().collect(), terminal) != ColorChoice::Never;
        assert!(of(&[("TERM", "xterm")], true));
        assert!(!of(&[("TERM", "xterm")], false));
        assert!(!of(&[("TERM", "dumb")], true));
        assert!(!of(&[("TERM", "xterm"), ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true));
        assert!(of(&[("CLICOLOR_FORCE", "1")], false));
    }
}
