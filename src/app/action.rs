//! Every key is an action of one table.
//!
//! The table is data (`assets/keymap.toml`, read by `keymap`); the dispatcher, the footer, the help, the
//! palette and the README's key list are read from it. No other place of the program names a key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

pub use super::keymap::{Binding, Keymap, KeymapError};

/// What a key, or a line of the palette, can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Stop like any job; `fg` comes back.
    Suspend,
    /// Draw the whole screen anew.
    Redraw,
    /// Open the list of keys and actions.
    Help,
    /// Open what is missing, and why.
    Notices,
    /// Close what is open, else clear the filter.
    Cancel,
    /// Focus the next pane.
    NextPane,
    /// Focus the previous pane.
    PreviousPane,
    /// Focus the chain list.
    PaneChains,
    /// Focus the rules.
    PaneRules,
    /// Focus the drop feed.
    PaneDrops,
    /// The focused pane over the whole screen, and back.
    Zoom,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// Scroll text columns left.
    Left,
    /// Scroll text columns right.
    Right,
    /// Open the chain, follow the jump, go to the rule of a log line.
    Open,
    /// Back to where the last jump was made.
    Back,
    /// Pick a chain by name.
    Chains,
    /// The chain below in the list.
    NextChain,
    /// The chain above in the list.
    PreviousChain,
    /// The next rule whose counter rose.
    NextLit,
    /// The previous rule whose counter rose.
    PreviousLit,
    /// The rule or policy that drops the most now.
    Hottest,
    /// Kernel order, by rate, by packets.
    Sort,
    /// All rules, matched ones, never matched ones.
    Hide,
    /// Deltas since now, in the view only.
    Zero,
    /// Stop taking readings.
    Freeze,
    /// Packets or bits per second.
    Units,
    /// Type a filter for the focused pane.
    Filter,
    /// The whole rule.
    Detail,
    /// The conntrack table in full.
    Conntrack,
    /// List the connections that are tracked.
    Connections,
    /// Why a packet is let through or not: that of the selected rule or log line.
    Why,
    /// The same of a packet that is typed.
    Ask,
    /// Open what is folded, or fold it again.
    Unfold,
    /// Drop feed grouped or raw.
    Group,
    /// Hold the drop feed.
    Pause,
    /// Send the selected text to the clipboard.
    Copy,
    /// Shorter refresh interval.
    Faster,
    /// Longer refresh interval.
    Slower,
    /// Read everything now.
    ReadNow,
    /// Stage: the rule one row up.
    MoveUp,
    /// Stage: the rule one row down.
    MoveDown,
    /// Stage: the rule to a number or to another chain, which are typed.
    MoveTo,
    /// Stage: the rule, or the chain, away.
    Delete,
    /// Stage: the rule out of the kernel and kept here, or put back.
    Disable,
    /// Stage: the rule once more.
    Duplicate,
    /// Stage: the other policy.
    Policy,
    /// Log what the rule, or the policy, decides, for a while; or stop that.
    Probe,
    /// Stage: the kernel's counters of a rule or a chain to zero.
    ZeroKernel,
    /// Stage: a new chain, whose name is typed.
    AddChain,
    /// Stage: another name for a chain.
    RenameChain,
    /// The last staged change away.
    Undo,
    /// What was undone once more.
    Redo,
    /// What is staged, to be checked and applied; or the pending change, to be answered.
    Apply,
    /// The rules of now, to be saved for the next boot.
    Keep,
    /// Keep: with or without what programs put there by themselves.
    KeepRuntime,
    /// What was changed so far.
    History,
    /// History: stage what was before the chosen change.
    StagePast,
    /// Review: apply. Pending: keep.
    Yes,
    /// Pending: put back what was.
    Revert,
    /// Review and pending: more time to answer.
    MoreTime,
    /// Review: less time to answer.
    LessTime,
    /// Review: every line that changes.
    ReviewDiff,
    /// Review: the commands that will run.
    ReviewCommands,
    /// A new rule before the selected one.
    InsertBefore,
    /// A new rule after the selected one.
    InsertAfter,
    /// Another text for the selected rule.
    EditRule,
    /// Rules from a template.
    Templates,
    /// Explain: the next change that would let the packet through.
    NextFix,
    /// Explain: stage the chosen one.
    StageFix,
    /// Input: take what was typed.
    Accept,
    /// Input: the last character away.
    Erase,
    /// Input: the last word away.
    EraseWord,
    /// Input: everything away.
    EraseLine,
    /// Editor: the character under the cursor away.
    EraseNext,
    /// Editor: what could stand here; the next candidate; the next field.
    Complete,
    /// Editor: the candidate, or the field, before.
    CompleteBack,
    /// Editor: the form, or the raw line.
    SwitchView,
}

impl Action {
    /// It moves, sorts or filters what the panes of the board show, or opens something beside them.
    pub(super) fn is_of_board(self) -> bool {
        matches!(
            self,
            Self::NextPane
                | Self::PreviousPane
                | Self::PaneChains
                | Self::PaneRules
                | Self::PaneDrops
                | Self::Zoom
                | Self::Left
                | Self::Right
                | Self::Back
                | Self::Chains
                | Self::NextChain
                | Self::PreviousChain
                | Self::NextLit
                | Self::PreviousLit
                | Self::Hottest
                | Self::Sort
                | Self::Hide
                | Self::Zero
                | Self::Filter
                | Self::Detail
                | Self::Conntrack
                | Self::Connections
                | Self::Notices
                | Self::Pause
                | Self::Copy
                | Self::Templates
                | Self::Keep
                | Self::History
                | Self::Undo
                | Self::Redo
        )
    }
}

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Everywhere on the board.
    Any,
    /// The chain list has the focus.
    Chains,
    /// The rules have the focus.
    Rules,
    /// The drop feed has the focus.
    Drops,
    /// A list or text is open over the board.
    Dialog,
    /// The explain screen is open.
    Why,
    /// A line is being typed.
    Input,
    /// What is staged is being looked at before it is applied.
    Review,
    /// A change is applied and waits for its answer.
    Pending,
    /// The rules of now are about to be saved for the next boot.
    Keep,
    /// What was changed so far is listed.
    History,
    /// A line with a cursor is being typed, in the rule editor; what is not bound here counts as in `input`.
    Editor,
}

/// A key with its modifiers, as the keymap writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
    alt: bool,
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        Self {
            code: event.code,
            ctrl: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
        }
    }
}

/// The names between angle brackets, and the codes that they stand for. A terminal sends Shift-Tab as
/// a key of its own.
const NAMED: [(&str, KeyCode); 17] = [
    ("Enter", KeyCode::Enter),
    ("S-Tab", KeyCode::BackTab),
    ("Tab", KeyCode::Tab),
    ("Esc", KeyCode::Esc),
    ("Space", KeyCode::Char(' ')),
    ("Backspace", KeyCode::Backspace),
    ("Delete", KeyCode::Delete),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("PageUp", KeyCode::PageUp),
    ("PageDown", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("F1", KeyCode::F(1)),
    ("F2", KeyCode::F(2)),
];

impl Key {
    /// The character that the key types into a line; `None` for keys that only command.
    pub fn typed(self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if !self.ctrl && !self.alt && !c.is_control() => Some(c),
            _ => None,
        }
    }
}

impl std::str::FromStr for Key {
    type Err = KeymapError;

    fn from_str(text: &str) -> Result<Self, KeymapError> {
        let bad = || KeymapError::Key(text.to_owned());
        let mut chars = text.chars();
        if let (Some(only), None) = (chars.next(), chars.next()) {
            return Ok(Self {
                code: KeyCode::Char(only),
                ctrl: false,
                alt: false,
            });
        }
        let name = text
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix('>'))
            .ok_or_else(bad)?;
        if let Some((_, code)) = NAMED.iter().find(|(known, _)| *known == name) {
            return Ok(Self {
                code: *code,
                ctrl: false,
                alt: false,
            });
        }
        let (ctrl, rest) = match (name.strip_prefix("C-"), name.strip_prefix("A-")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(bad()),
        };
        let mut chars = rest.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(Self {
                code: KeyCode::Char(only),
                ctrl,
                alt: !ctrl,
            }),
            _ => Err(bad()),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ctrl {
            f.write_str("^")?;
        }
        if self.alt {
            f.write_str("Alt-")?;
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("Space"),
            KeyCode::Char(c) if self.ctrl => write!(f, "{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::Enter => f.write_str("⏎"),
            KeyCode::Backspace => f.write_str("⌫"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            code => match NAMED.iter().find(|(_, known)| *known == code) {
                Some((name, _)) => f.write_str(name),
                None => f.write_str("?"),
            },
        }
    }
}
