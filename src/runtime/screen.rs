//! The bytes that go to the terminal: a ratatui back end that remembers where the cursor stands and
//! which style is set, also from frame to frame.
//!
//! ratatui's own back end for crossterm resets the style after every frame and hides the cursor anew,
//! 25 bytes for nothing at all. Over a slow link in an incident the bytes count: here an unchanged
//! frame sends none, and one moving counter sends the move, the digits and a change of style.
//!
//! Frames are handed to a [`Sink`] whole. Control sequences: ECMA-48, and the synchronized update of
//! DEC private mode 2026 around frames that are large enough to tear.

use std::io;

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};

/// Frames smaller than this reach the terminal in one piece anyway.
const TEARS: usize = 900;

/// Takes whole frames.
pub trait Sink {
    /// Takes the bytes of one frame.
    fn send(&mut self, frame: Vec<u8>) -> io::Result<()>;
    /// Columns and rows of the terminal.
    fn size(&self) -> io::Result<(u16, u16)>;
}

/// What the terminal's pen is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

const PLAIN: Style = Style {
    fg: Color::Reset,
    bg: Color::Reset,
    modifier: Modifier::empty(),
};

/// The back end.
#[derive(Debug)]
pub struct Screen<S> {
    sink: S,
    out: Vec<u8>,
    /// `None`: not known.
    style: Option<Style>,
    /// Where the cursor stands; `None`: not known.
    at: Option<Position>,
    sent: bool,
}

impl<S: Sink> Screen<S> {
    /// A frame was handed over since the last call.
    pub fn take_sent(&mut self) -> bool {
        std::mem::take(&mut self.sent)
    }

    /// Adds a sequence that moves neither cursor nor pen; it goes out with the next frame.
    pub fn append(&mut self, sequence: &[u8]) {
        self.out.extend_from_slice(sequence);
    }

    /// A screen whose state nobody knows yet.
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            out: Vec::new(),
            style: None,
            at: None,
            sent: false,
        }
    }

    fn go(&mut self, to: Position) {
        if self.at == Some(to) {
            return;
        }
        match self.at {
            Some(from) if from.y == to.y && to.x > from.x => {
                self.sequence(&[to.x - from.x], b'C');
            }
            _ => self.sequence(&[to.y + 1, to.x + 1], b'H'),
        }
        self.at = Some(to);
    }

    fn sequence(&mut self, numbers: &[u16], end: u8) {
        self.out.extend_from_slice(b"\x1b[");
        for (i, n) in numbers.iter().enumerate() {
            if i > 0 {
                self.out.push(b';');
            }
            self.out.extend_from_slice(n.to_string().as_bytes());
        }
        self.out.push(end);
    }

    /// Changes the pen with one sequence that names only what differs.
    fn dress(&mut self, to: Style) {
        let from = match self.style {
            Some(style) if style == to => return,
            Some(style) => style,
            None => {
                self.out.extend_from_slice(b"\x1b[m");
                PLAIN
            }
        };
        self.style = Some(to);
        if to == PLAIN && from != PLAIN {
            self.out.extend_from_slice(b"\x1b[m");
            return;
        }
        let mut codes: Vec<u16> = Vec::new();
        let (gone, mut come) = (from.modifier - to.modifier, to.modifier - from.modifier);
        let weight = Modifier::BOLD | Modifier::DIM;
        if gone.intersects(weight) {
            codes.push(22); // ends both
            come |= to.modifier & weight;
        }
        for (flag, on, off) in MODIFIERS {
            if gone.contains(flag) && !weight.contains(flag) {
                codes.push(off);
            }
            if come.contains(flag) {
                codes.push(on);
            }
        }
        if from.fg != to.fg {
            colour(&mut codes, to.fg, 30);
        }
        if from.bg != to.bg {
            colour(&mut codes, to.bg, 40);
        }
        if !codes.is_empty() {
            self.sequence(&codes, b'm');
        }
    }
}

/// SGR codes that switch each modifier on and off; those that nobody here uses are left out.
const MODIFIERS: [(Modifier, u16, u16); 5] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::REVERSED, 7, 27),
];

/// SGR codes of a colour; `base` is 30 for the foreground and 40 for the background.
fn colour(codes: &mut Vec<u16>, colour: Color, base: u16) {
    let code = match colour {
        Color::Reset => base + 9,
        Color::Black => base,
        Color::Red => base + 1,
        Color::Green => base + 2,
        Color::Yellow => base + 3,
        Color::Blue => base + 4,
        Color::Magenta => base + 5,
        Color::Cyan => base + 6,
        Color::Gray => base + 7,
        Color::DarkGray => base + 60,
        Color::LightRed => base + 61,
        Color::LightGreen => base + 62,
        Color::LightYellow => base + 63,
        Color::LightBlue => base + 64,
        Color::LightMagenta => base + 65,
        Color::LightCyan => base + 66,
        Color::White => base + 67,
        Color::Indexed(n) => {
            codes.extend([base + 8, 5, u16::from(n)]);
            return;
        }
        Color::Rgb(r, g, b) => {
            codes.extend([base + 8, 2, u16::from(r), u16::from(g), u16::from(b)]);
            return;
        }
    };
    codes.push(code);
}

impl<S: Sink> Backend for Screen<S> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        for (x, y, cell) in content {
            self.go(Position { x, y });
            self.dress(Style {
                fg: cell.fg,
                bg: cell.bg,
                modifier: cell.modifier,
            });
            let symbol = cell.symbol();
            self.out.extend_from_slice(symbol.as_bytes());
            // A terminal may disagree about the width of anything but ASCII.
            let known = symbol.len() == 1 || unicode_width::UnicodeWidthStr::width(symbol) == 1;
            self.at = known.then_some(Position { x: x + 1, y });
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(()) // hidden once, on entering; nothing here shows it
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.at.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.go(position.into());
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.out.extend_from_slice(b"\x1b[m\x1b[2J");
        self.style = Some(PLAIN);
        self.at = None;
        Ok(())
    }

    fn clear_region(&mut self, _region: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = self.sink.size()?;
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::default(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut frame = std::mem::take(&mut self.out);
        if frame.len() > TEARS {
            frame.splice(0..0, *b"\x1b[?2026h");
            frame.extend_from_slice(b"\x1b[?2026l");
        }
        self.sent = true;
        self.sink.send(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::style::Style as Ink;
    use ratatui::text::{Line, Span};

    /// Keeps what was sent, frame by frame.
    #[derive(Default)]
    struct Kept(std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>);

    impl Sink for Kept {
        fn send(&mut self, frame: Vec<u8>) -> io::Result<()> {
            self.0.borrow_mut().push(frame);
            Ok(())
        }
        fn size(&self) -> io::Result<(u16, u16)> {
            Ok((40, 5))
        }
    }

    fn frames(texts: &[(&str, Ink)]) -> Vec<Vec<u8>> {
        let kept = Kept::default();
        let sent = std::rc::Rc::clone(&kept.0);
        let mut terminal = Terminal::new(Screen::new(kept)).expect("terminal");
        for (text, ink) in texts {
            let line = Line::from(Span::styled((*text).to_owned(), *ink));
            terminal
                .draw(|frame| frame.render_widget(line, frame.area()))
                .expect("draw");
        }
        drop(terminal);
        sent.take()
    }

    #[test]
    fn an_unchanged_frame_sends_nothing() {
        let frames = frames(&[("hello", Ink::default()), ("hello", Ink::default())]);
        assert_eq!(frames.len(), 1);
    }

    #[test]
    fn a_changed_digit_sends_the_move_and_the_digit() {
        let ink = Ink::default().fg(Color::Green).bold();
        let frames = frames(&[("count 41", ink), ("count 42", ink)]);
        // The style is still set from the frame before.
        assert_eq!(String::from_utf8_lossy(&frames[1]), "\x1b[1;8H2");
    }

    #[test]
    fn a_change_of_style_names_what_differs() {
        let bold = Ink::default().bold();
        let frames = frames(&[
            ("a", bold),
            ("b", bold.fg(Color::LightRed)),
            ("c", Ink::default().dim()),
        ]);
        assert_eq!(String::from_utf8_lossy(&frames[1]), "\x1b[1;1H\x1b[91mb");
        assert_eq!(
            String::from_utf8_lossy(&frames[2]),
            "\x1b[1;1H\x1b[22;2;39mc"
        );
    }

    #[test]
    fn a_real_terminal_shows_what_the_buffer_holds() {
        let mut screen = vt100::Parser::default();
        let sequence = [
            ("plain", Ink::default()),
            ("火 wide 火x", Ink::default().reversed()),
            (
                "lit",
                Ink::default()
                    .fg(Color::Indexed(208))
                    .bg(Color::Rgb(1, 2, 3))
                    .underlined(),
            ),
        ];
        for frame in frames(&sequence) {
            screen.process(&frame);
        }
        assert_eq!(screen.screen().contents().trim_end(), "lit");
        let cell = screen.screen().cell(0, 0).expect("cell");
        assert!(cell.underline() && !cell.inverse());
        assert_eq!(cell.fgcolor(), vt100::Color::Idx(208));
        assert_eq!(cell.bgcolor(), vt100::Color::Rgb(1, 2, 3));
    }
}
