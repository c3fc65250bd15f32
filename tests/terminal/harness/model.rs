//! The screen model behind a [`Terminal`](super::Terminal): vt100 and what it leaves to others.
//!
//! Everything that was written is kept, so that a test can count bytes and look at them. Private
//! modes that the model does not know (synchronized output, focus reports) are tracked by number:
//! one that was set and not taken back is disorder. Sequences that ask the terminal something are
//! listed, because nobody answers them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use vt100::{MouseProtocolMode, Parser};

use super::screen::Screen;

/// vt100's model, the bytes that made it, and the state of the line.
pub struct Model {
    parser: Parser<Leftovers>,
    output: Vec<u8>,
    closed: bool,
    /// The reader stands still.
    pub stalled: bool,
}

/// What vt100 does not interpret.
#[derive(Default)]
struct Leftovers {
    /// Private modes by number, with whether they are set.
    modes: BTreeMap<u16, bool>,
    unanswered: BTreeSet<String>,
}

impl vt100::Callbacks for Leftovers {
    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        first: Option<u8>,
        second: Option<u8>,
        params: &[&[u16]],
        last: char,
    ) {
        if first == Some(b'?') && matches!(last, 'h' | 'l') {
            for mode in params.iter().filter_map(|param| param.first()) {
                self.modes.insert(*mode, last == 'h');
            }
            return;
        }
        let lead: String = [first, second]
            .into_iter()
            .flatten()
            .map(char::from)
            .collect();
        let words: Vec<String> = params
            .iter()
            .map(|param| {
                param
                    .iter()
                    .map(u16::to_string)
                    .collect::<Vec<_>>()
                    .join(":")
            })
            .collect();
        self.unanswered
            .insert(format!("CSI {lead}{}{last}", words.join(";")));
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        let words: Vec<_> = params
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        self.unanswered.insert(format!("OSC {}", words.join(";")));
    }

    fn unhandled_escape(
        &mut self,
        _: &mut vt100::Screen,
        first: Option<u8>,
        second: Option<u8>,
        last: u8,
    ) {
        let bytes: String = [first, second, Some(last)]
            .into_iter()
            .flatten()
            .map(char::from)
            .collect();
        self.unanswered.insert(format!("ESC {bytes}"));
    }
}

impl Model {
    /// An empty screen.
    pub fn new(columns: u16, rows: u16) -> Self {
        let (rows, columns) = (at_least_one(rows), at_least_one(columns));
        Self {
            parser: Parser::new_with_callbacks(rows, columns, 0, Leftovers::default()),
            output: Vec::new(),
            closed: false,
            stalled: false,
        }
    }

    /// Takes in what the program wrote.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.parser.process(bytes);
    }

    /// Everything that was written.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// How many bytes were written.
    pub fn received(&self) -> usize {
        self.output.len()
    }

    /// Nothing can come any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// A new size, as the terminal's window would take it.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.parser
            .set_size(at_least_one(rows), at_least_one(columns));
    }

    /// The screen as it stands.
    pub fn screen(&self) -> Screen {
        Screen::of(self.parser.screen())
    }

    /// See [`Terminal::unanswered`](super::Terminal::unanswered).
    pub fn unanswered(&self) -> Vec<String> {
        self.parser.callbacks().unanswered.iter().cloned().collect()
    }

    /// Modes of the screen that a shell does not want, in words.
    pub fn disorder(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let mouse = screen.mouse_protocol_mode() != MouseProtocolMode::None;
        let mut found: Vec<String> = [
            (screen.alternate_screen(), "the alternate screen is on"),
            (screen.hide_cursor(), "the cursor is hidden"),
            (screen.bracketed_paste(), "bracketed paste is on"),
            (
                screen.application_cursor(),
                "application cursor keys are on",
            ),
            (screen.application_keypad(), "the application keypad is on"),
            (mouse, "mouse reports are on"),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name.to_owned())
        .collect();
        let styled = screen.bold() || screen.dim() || screen.inverse() || screen.underline();
        let coloured = [screen.fgcolor(), screen.bgcolor()] != [vt100::Color::Default; 2];
        if styled || coloured {
            found.push("text attributes are set".to_owned());
        }
        let modes = &self.parser.callbacks().modes;
        let still_set = modes.iter().filter(|(_, set)| **set);
        found.extend(still_set.map(|(mode, _)| format!("private mode {mode} is set")));
        found
    }
}

fn at_least_one(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}
