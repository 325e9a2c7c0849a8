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
/// A column as short as this is not broken, if the others leave room for it.
const SHORT: usize = 14;

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
        match width {
            Some(width) if width < NARROW && self.natural().iter().sum::<usize>() > usize::from(width) => self.blocks(width),
            width => self.grid(width),
        }
    }

    /// The widths that its columns would like, with the space between them.
    fn natural(&self) -> Vec<usize> {
        let longest = |index: usize| self.rows.iter().filter_map(|row| row.get(index)).map(|cell| plain(&cell.text).chars().count()).max();
        self.header.iter().enumerate().map(|(index, name)| name.chars().count().max(longest(index).unwrap_or(0)) + GAP).collect()
    }

    fn grid(&self, width: Option<u16>) -> String {
        let mut table = bare(width);
        table.set_header(self.header.iter().map(|name| Style::Faint.apply(comfy_table::Cell::new(plain(name)))));
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::drawn));
        }
        let natural = self.natural();
        let short: usize = natural.iter().filter(|width| **width <= SHORT + GAP).sum();
        let fits = width.is_none_or(|width| short + natural.len() * SHORT / 2 <= usize::from(width));
        for (column, natural) in table.column_iter_mut().zip(natural) {
            column.set_padding((0, 2));
            // Times, numbers and names are not broken while longer columns can give way.
            if fits && natural <= SHORT + GAP && width.is_some() {
                column.set_constraint(ColumnConstraint::ContentWidth);
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

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        for width in [30, 40, 50, 71, 72, 80, 100] {
            let lines = visits().lines(Some(width));
            let widest = lines.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{width}: {widest}\n{lines}");
            let words = lines.replace(char::is_whitespace, "");
            for word in ["otter", "12equal,3older", "heron", "2ahead"] {
                assert!(words.contains(word), "{width}: {word}\n{lines}");
            }
        }
    }

    #[test]
    fn on_a_narrow_terminal_each_row_is_a_block() {
        let lines = visits().lines(Some(40));
        assert!(lines.starts_with("otter\n  repository  acme/widget\n  sessions    12 equal, 3 older\n  last visit  3 min ago\nheron\n"), "{lines}");
        assert!(visits().lines(None).lines().count() == 3, "elsewhere a row is a line");
    }
}
