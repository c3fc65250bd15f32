//! What a screen shows, and how to write it down.
//!
//! A [`Screen`] is a copy, so a test can look at it while the program goes on. Its portrait
//! ([`std::fmt::Display`]) is what snapshots keep: the text in a frame, then every run of cells that
//! is not in the terminal's plain style. A snapshot of text alone would not notice that a lit rule
//! went dark.

use std::fmt;

/// How a cell is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the words are the terminal's own
pub struct Style {
    pub foreground: vt100::Color,
    pub background: vt100::Color,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub reverse: bool,
}

/// One cell: its text (empty behind a wide character) and its style.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    text: String,
    style: Style,
}

/// A screen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    rows: Vec<Vec<Cell>>,
    /// Row and column, from 0; `None` while it is hidden.
    pub cursor: Option<(u16, u16)>,
    /// The full-screen buffer is shown, not the shell's.
    pub alternate: bool,
}

impl Screen {
    /// Copies vt100's screen.
    pub fn of(screen: &vt100::Screen) -> Self {
        let (rows, columns) = screen.size();
        let cell = |row, column| {
            screen.cell(row, column).map_or_else(
                || Cell {
                    text: " ".to_owned(),
                    style: Style::default(),
                },
                Cell::of,
            )
        };
        Self {
            rows: (0..rows.get())
                .map(|row| (0..columns.get()).map(|column| cell(row, column)).collect())
                .collect(),
            cursor: (!screen.hide_cursor()).then(|| screen.cursor_position()),
            alternate: screen.alternate_screen(),
        }
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        (self.rows.first().map_or(0, Vec::len), self.rows.len())
    }

    /// One row's text, without the blanks at its end; empty for a row that is not there.
    pub fn row(&self, row: usize) -> String {
        let cells = self.rows.get(row).map_or(&[][..], Vec::as_slice);
        let text: String = cells.iter().map(|cell| cell.text.as_str()).collect();
        text.trim_end().to_owned()
    }

    /// All rows, each ended by a newline.
    pub fn text(&self) -> String {
        (0..self.rows.len())
            .map(|row| self.row(row) + "\n")
            .collect()
    }

    /// Whether one row holds this text.
    pub fn contains(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    /// Where a text first stands: row and column of the cell that its first character is in.
    pub fn find(&self, text: &str) -> Option<(usize, usize)> {
        self.rows.iter().enumerate().find_map(|(row, cells)| {
            let whole: String = cells.iter().map(|cell| cell.text.as_str()).collect();
            let byte = whole.find(text)?;
            let mut before = 0;
            let column = cells.iter().position(|cell| {
                before += cell.text.len();
                before > byte
            })?;
            Some((row, column))
        })
    }

    /// The style of every cell.
    pub fn styles(&self) -> impl Iterator<Item = Style> {
        self.rows.iter().flatten().map(|cell| cell.style)
    }

    /// The style of one cell.
    pub fn style_at(&self, row: usize, column: usize) -> Style {
        let cell = self.rows.get(row).and_then(|cells| cells.get(column));
        cell.map_or_else(Style::default, |cell| cell.style)
    }

    /// The style in which a text is drawn, taken at its first character.
    ///
    /// # Panics
    /// When the text is not on the screen.
    #[track_caller]
    pub fn style_of(&self, text: &str) -> Style {
        let Some((row, column)) = self.find(text) else {
            panic!("{text:?} is not on the screen:\n{self}");
        };
        self.style_at(row, column)
    }
}

/// Runs of equally styled cells that are not plain: first column, column after the last, style.
fn runs(cells: &[Cell]) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = 0;
    for run in cells.chunk_by(|one, next| one.style == next.style) {
        let to = from + run.len();
        if !run[0].style.is_plain() {
            found.push(format!("{from:>3}..{to:<3} {}", run[0].style));
        }
        from = to;
    }
    found
}

impl Cell {
    fn of(cell: &vt100::Cell) -> Self {
        let text = match cell.contents() {
            "" if cell.is_wide_continuation() => "",
            "" => " ",
            text => text,
        };
        Self {
            text: text.to_owned(),
            style: Style {
                foreground: cell.fgcolor(),
                background: cell.bgcolor(),
                bold: cell.bold(),
                dim: cell.dim(),
                italic: cell.italic(),
                underline: cell.underline(),
                reverse: cell.inverse(),
            },
        }
    }
}

impl Style {
    /// Without colour and weight: as the terminal draws what nobody styled.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Keeps to the sixteen colours that a terminal's palette sets, or to none.
    pub fn is_ansi(&self) -> bool {
        use vt100::Color::{Default, Idx};
        let is = |colour| matches!(colour, Default | Idx(0..=15));
        is(self.foreground) && is(self.background)
    }

    /// Has a colour of its own, in front or behind.
    pub fn is_coloured(&self) -> bool {
        [self.foreground, self.background] != [vt100::Color::Default; 2]
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.bold, "bold"),
            (self.dim, "dim"),
            (self.italic, "italic"),
            (self.underline, "underline"),
            (self.reverse, "reverse"),
        ];
        let mut parts: Vec<String> = words
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, word)| word.to_owned())
            .collect();
        parts.extend(colour(self.foreground));
        parts.extend(colour(self.background).map(|name| format!("on {name}")));
        f.write_str(&parts.join(" "))
    }
}

/// A colour's name; `None` for the terminal's own.
fn colour(colour: vt100::Color) -> Option<String> {
    const ANSI: [&str; 8] = [
        "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
    ];
    match colour {
        vt100::Color::Default => None,
        vt100::Color::Idx(index @ 0..=7) => Some(ANSI[usize::from(index)].to_owned()),
        vt100::Color::Idx(index @ 8..=15) => {
            Some(format!("bright-{}", ANSI[usize::from(index) - 8]))
        }
        vt100::Color::Idx(index) => Some(format!("colour{index}")),
        vt100::Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (columns, rows) = self.size();
        let edge = "─".repeat(columns);
        writeln!(f, "┌{edge}┐")?;
        for row in 0..rows {
            let text: String = self.rows[row]
                .iter()
                .map(|cell| cell.text.as_str())
                .collect();
            writeln!(f, "│{text}│")?;
        }
        writeln!(f, "└{edge}┘")?;
        let cursor = self.cursor.map_or("hidden".to_owned(), |(row, column)| {
            format!("{row},{column}")
        });
        let buffer = if self.alternate {
            "alternate"
        } else {
            "normal"
        };
        writeln!(f, "{columns}x{rows}, {buffer} screen, cursor {cursor}")?;
        // Rows styled alike are one entry: frames of panes would fill pages otherwise.
        let described: Vec<Vec<String>> = self.rows.iter().map(|cells| runs(cells)).collect();
        let mut row = 0;
        while let Some(styles) = described.get(row) {
            let alike = described[row..].iter().take_while(|other| *other == styles);
            let last = row + alike.count() - 1;
            let label = if last == row {
                row.to_string()
            } else {
                format!("{row}-{last}")
            };
            for (number, style) in styles.iter().enumerate() {
                let label = if number == 0 { label.as_str() } else { "" };
                writeln!(f, "{label:>7} {style}")?;
            }
            row = last + 1;
        }
        Ok(())
    }
}
