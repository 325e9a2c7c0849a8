//! Tables: rows in columns, without lines around them.
//!
//! Promises: on a terminal nothing is cut; a table that does not fit is wrapped, and on a narrow one each row becomes a block of
//! its own. Elsewhere every row is one line.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width};

use super::render::Style;
use crate::reconcile::plain::plain;

/// On a terminal narrower than this, a table that does not fit is shown as blocks.
const NARROW: u16 = 72;
/// Columns between two fields.
const GAP: usize = 2;
/// Fields as short as this are not broken, if the others leave room for them: the first that fits.
const SHORT: [usize; 5] = [24, 20, 14, 10, 0];
/// A word longer than this, as a path, may be broken.
const LONGEST_WORD: usize = 40;

/// One field of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
    number: bool,
}

impl Cell {
    /// A text in a style.
    #[must_use]
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style, number: false }
    }

    /// A number, which stands on the right of its column.
    #[must_use]
    pub fn number(number: impl ToString) -> Self {
        Self { text: number.to_string(), style: Style::Plain, number: true }
    }
}

impl Cell {
    fn drawn(&self) -> comfy_table::Cell {
        let alignment = if self.number { CellAlignment::Right } else { CellAlignment::Left };
        self.style.apply(comfy_table::Cell::new(plain(&self.text))).set_alignment(alignment)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::Plain)
    }
}

/// Rows in columns, without lines around them.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new<'h>(header: impl IntoIterator<Item = &'h str>) -> Self {
        Self { header: header.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines; fitted to a width where there is one.
    pub(super) fn lines(&self, width: Option<u16>) -> String {
        let Some(width) = width else { return self.grid(None, &[]) };
        let room = usize::from(width);
        let natural: usize = self.widths(|text| text.chars().count()).iter().sum();
        if natural <= room {
            return self.grid(Some(width), &[]);
        }
        // Short fields stay whole where the others can give way, words in any case; else there is no room for columns.
        let least = |most: usize| self.widths(|text| if text.chars().count() <= most { text.chars().count() } else { longest_word(text) });
        let fitting = SHORT.into_iter().map(least).find(|least| least.iter().sum::<usize>() <= room);
        match fitting {
            Some(least) if width >= NARROW => self.grid(Some(width), &least),
            _ => self.blocks(width),
        }
    }

    /// The width of each column by a measure of its fields, with the space after it.
    fn widths(&self, measure: impl Fn(&str) -> usize) -> Vec<usize> {
        let widest = |index: usize| self.rows.iter().filter_map(|row| row.get(index)).map(|cell| measure(&plain(&cell.text))).max();
        self.header.iter().enumerate().map(|(index, name)| measure(name).max(widest(index).unwrap_or(0)) + GAP).collect()
    }

    /// In columns, each at least as wide as `least` says.
    fn grid(&self, width: Option<u16>, least: &[usize]) -> String {
        let mut table = bare(width);
        table.set_header(self.header.iter().map(|name| Style::Faint.apply(comfy_table::Cell::new(plain(name)))));
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::drawn));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if let Some(least) = least.get(index) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(*least).unwrap_or(u16::MAX))));
            }
        }
        table.trim_fmt()
    }

    /// Each row on its own: the first field as a headline, the others below it, each after its column's name.
    fn blocks(&self, width: u16) -> String {
        let mut blocks = Vec::new();
        for row in &self.rows {
            let Some((first, rest)) = row.split_first() else { continue };
            let headline = Cell { style: if first.style == Style::Plain { Style::Strong } else { first.style }, ..first.clone() };
            let mut head = bare(Some(width));
            head.add_row([headline.drawn()]);
            let mut body = bare(Some(width.saturating_sub(2)));
            for (name, cell) in self.header.iter().skip(1).zip(rest).filter(|(_, cell)| !cell.text.is_empty()) {
                body.add_row([Style::Faint.apply(comfy_table::Cell::new(plain(&name.to_lowercase()))), Cell { number: false, ..cell.clone() }.drawn()]);
            }
            let longest = self.header.iter().skip(1).map(|name| name.chars().count()).max().unwrap_or(0);
            for (column, fixed) in body.column_iter_mut().zip([true, false]) {
                column.set_padding((0, 2));
                if fixed {
                    column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(u16::try_from(longest + GAP).unwrap_or(u16::MAX))));
                }
            }
            for column in head.column_iter_mut() {
                column.set_padding((0, 0));
            }
            let body: Vec<String> = body.trim_fmt().lines().map(|line| format!("  {line}")).collect();
            blocks.push(format!("{}\n{}", head.trim_fmt(), body.join("\n")));
        }
        blocks.join("\n")
    }
}

fn longest_word(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0).min(LONGEST_WORD)
}

fn bare(width: Option<u16>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).enforce_styling().style_text_only();
    match width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits() -> Table {
        let mut table = Table::new(["WHERE", "REPOSITORY", "SESSIONS", "LAST VISIT"]);
        table.row(["otter".into(), "acme/widget".into(), "12 equal, 3 older".into(), Cell::new("3 min ago", Style::Good)]);
        table.row(["heron".into(), "acme/a-name-that-is-longer-than-others".into(), "2 ahead".into(), "failed 2 h ago: the connection failed".into()]);
        table
    }

    fn bare_lines(width: u16) -> String {
        anstream::adapter::strip_str(&visits().lines(Some(width))).to_string()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        for width in [30, 40, 50, 71, 72, 80, 100] {
            let lines = bare_lines(width);
            let widest = lines.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{width}: {widest}\n{lines}");
            for word in "otter acme/widget 12 equal, 3 older min ago heron 2 ahead failed h ago: the connection".split(' ') {
                assert!(lines.split_whitespace().any(|shown| shown == word), "{width}: {word}\n{lines}");
            }
        }
    }

    #[test]
    fn on_a_narrow_terminal_each_row_is_a_block() {
        let lines = bare_lines(40);
        assert!(lines.starts_with("otter\n  repository  acme/widget\n  sessions    12 equal, 3 older\n  last visit  3 min ago\nheron\n"), "{lines}");
        assert!(visits().lines(None).lines().count() == 3, "elsewhere a row is a line");
    }
}
