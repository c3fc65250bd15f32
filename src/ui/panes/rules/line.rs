//! One line of the rules: a rule or the policy, its numbers and its words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::app::board::Row;
use crate::app::firewall::Firewall;
use crate::app::motion::{Heat, Rate};
use crate::app::state::State;
use crate::edit::Mark;
use crate::ruleset::{Cells, ChainIdx, Counters, Policy};
use crate::ui::panes::rules::columns::Columns;
use crate::ui::panes::rules::{policy_name, shown_rate};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// One row, ready to be drawn.
pub(super) struct Line {
    number: String,
    cells: Cells,
    counters: Counters,
    rate: Rate,
    heat: Heat,
    drops: bool,
    jumps: bool,
    policy: bool,
    /// The kernel counts it.
    counted: bool,
    /// Somebody zeroed its counters.
    reset: bool,
    /// What the text leaves out.
    lossy: Option<String>,
    /// Why no packet can match it.
    shadow: Option<String>,
    /// It only logs, for a while.
    probe: bool,
    /// What is staged about it.
    staged: Mark,
    /// Its counters are to start from zero.
    zeroed: bool,
}

impl Line {
    pub(super) fn of(state: &State, firewall: &Firewall, chain: ChainIdx, row: Row) -> Self {
        let (now, interval) = (state.now, state.interval);
        match row {
            Row::Rule(rule, number) => {
                let jump = firewall.ruleset.jump(rule);
                let probe = firewall.probe(rule).is_some();
                // A rule that the kernel would not hold has no number, nor has a probe.
                let none = if probe { "" } else { "·" };
                Self {
                    number: firewall
                        .number(rule, number - 1)
                        .map_or_else(|| none.to_owned(), |number| number.to_string()),
                    probe,
                    drops: firewall.ruleset.drops_or_rejects(rule),
                    jumps: jump.is_some_and(|jump| jump.chain.is_some()),
                    cells: firewall.ruleset.cells(rule),
                    counters: firewall.shown(rule),
                    rate: firewall.rate(rule),
                    heat: firewall.heat(rule, now, interval),
                    policy: false,
                    counted: firewall.counts(rule),
                    reset: firewall.was_reset(rule),
                    lossy: firewall.lossy_rule(chain, number).map(str::to_owned),
                    shadow: firewall.shadow(rule),
                    staged: firewall.mark(rule),
                    zeroed: firewall.staged_row(rule).is_some_and(|row| row.zeroed),
                }
            }
            Row::Policy => {
                let policy = firewall.ruleset.chain(chain).policy();
                let stated = if policy.is_none() {
                    "?"
                } else {
                    policy_name(policy)
                };
                let target = stated.to_owned();
                Self {
                    number: "–".to_owned(),
                    probe: false,
                    drops: policy == Some(Policy::Drop),
                    jumps: false,
                    cells: Cells {
                        target,
                        matches: "policy: no rule decided".to_owned(),
                        ..Cells::default()
                    },
                    counters: firewall.shown_policy(chain),
                    rate: firewall.policy_rate(chain),
                    heat: firewall.policy_heat(chain, now, interval),
                    policy: true,
                    counted: firewall.counts_policy(chain),
                    reset: false,
                    lossy: None,
                    shadow: None,
                    staged: if firewall.policy_is_staged(chain) {
                        Mark::Changed
                    } else {
                        Mark::Same
                    },
                    zeroed: firewall.policy_is_zeroed(chain),
                }
            }
        }
    }

    /// Style of what is lit: the numbers, the target and the mark.
    fn lit(&self, theme: &Theme) -> Style {
        match (self.heat, self.drops) {
            (Heat::Cold, _) => theme.text.style(),
            (Heat::Fading, false) => theme.fading.style(),
            (Heat::Warm, false) => theme.warm.style(),
            (Heat::Hot, false) => theme.hot.style(),
            (Heat::Fading | Heat::Warm, true) => theme.alarm_fading.style(),
            (Heat::Hot, true) => theme.alarm.style(),
        }
    }

    /// The mark beside it: what is staged, or that the text is not all that the kernel holds, or that the
    /// counters were zeroed.
    fn remark(&self, theme: &Theme) -> (&'static str, Style) {
        let (staged, caution) = (theme.staged.style(), theme.caution.style());
        if self.zeroed && self.staged == Mark::Same {
            return ("0", staged);
        }
        if self.probe {
            return ("◦", theme.quiet.style());
        }
        match (self.staged, &self.lossy, self.reset) {
            (Mark::New, ..) => ("+", staged),
            (Mark::Moved, ..) => ("↕", staged),
            (Mark::Changed, ..) => ("~", staged),
            (Mark::Deleted, ..) => ("−", staged),
            (Mark::Disabled, ..) => ("#", staged),
            (Mark::Same, Some(_), _) => ("≠", caution),
            (Mark::Same, None, true) => ("↺", caution),
            (Mark::Same, None, false) if self.shadow.is_some() => ("⌀", theme.quiet.style()),
            (Mark::Same, None, false) => (" ", caution),
        }
    }

    /// The kernel would not hold it.
    fn leaves(&self) -> bool {
        matches!(self.staged, Mark::Deleted | Mark::Disabled)
    }

    /// It drops traffic now.
    pub(super) fn alarms(&self) -> bool {
        self.drops && self.heat == Heat::Hot
    }

    /// The mark at the left says without colour what the colour says.
    fn mark(&self) -> &'static str {
        match (self.heat, self.drops) {
            (Heat::Cold, _) => " ",
            (Heat::Fading, _) => "·",
            (Heat::Warm, false) => "▹",
            (Heat::Hot, false) => "▸",
            (Heat::Warm, true) => "▫",
            (Heat::Hot, true) => "■",
        }
    }

    #[allow(clippy::too_many_arguments)] // one row's whole context, used here only
    pub(super) fn draw(
        &self,
        columns: &Columns,
        (most, selected): (f64, bool),
        state: &State,
        theme: &Theme,
        body: Rect,
        at: u16,
        buffer: &mut Buffer,
    ) {
        let (lit, quiet) = (self.lit(theme), theme.quiet.style());
        let plain = if self.leaves() {
            theme.leaving.style()
        } else if self.probe {
            quiet
        } else if self.staged != Mark::Same {
            theme.staged.style()
        } else if self.heat == Heat::Cold && self.counters.packets == 0 {
            quiet
        } else {
            theme.text.style()
        };
        let numbers = if self.counters.packets == 0 && self.heat == Heat::Cold {
            quiet
        } else {
            lit
        };
        let shown = shown_rate(self.rate, state.bits);
        let mut pen = Pen::new(buffer, body, at);
        let (remark, style) = self.remark(theme);
        pen.put(self.mark(), lit).put(remark, style);
        pen.number(&self.number, columns.number, quiet);
        let moving = self.rate.moves();
        let (packets, bytes) = if !self.counted {
            ("?".to_owned(), "?".to_owned()) // a zero would be a lie
        } else if columns.bytes == 0 && moving {
            (format!("{}/s", words::rate(shown)), String::new()) // one column for both
        } else {
            let packets = packets(self.counters.packets, columns.packets);
            (packets, words::short(self.counters.bytes))
        };
        pen.number(&packets, columns.packets, numbers);
        pen.number(&bytes, columns.bytes, numbers);
        pen.number(
            &words::rate(shown),
            columns.rate,
            if moving { lit } else { quiet },
        );
        // No bar in the band of the cursor: reversed, it would be a hole.
        let bar = if selected {
            " "
        } else {
            words::bar(shown, most)
        };
        pen.back(1).put(bar, lit).skip(1);
        self.words(columns, state, &mut pen, (lit, plain, quiet));
    }

    fn words(
        &self,
        columns: &Columns,
        state: &State,
        pen: &mut Pen<'_>,
        styles: (Style, Style, Style),
    ) {
        let (lit, plain, quiet) = styles;
        let staged = self.staged != Mark::Same;
        let mut target = if staged || self.heat == Heat::Cold {
            plain
        } else {
            lit
        };
        if self.drops && !staged {
            target = target.add_modifier(Modifier::BOLD);
        }
        let cells = &self.cells;
        let name = words::clean_str(&cells.target).into_owned();
        let name = if self.jumps {
            {
                let arrow = if cells.goto { "⇒" } else { "→" };
                format!("{arrow}{name}")
            }
        } else {
            name
        };
        pen.column(&name, columns.target, target);
        for (text, width) in [
            (&cells.protocol, columns.protocol),
            (&cells.in_interface, columns.input),
            (&cells.out_interface, columns.output),
            (&cells.source, columns.source),
            (&cells.destination, columns.destination),
        ] {
            pen.column(&words::clean_str(text), width, plain);
        }
        let style = if self.policy { quiet } else { plain };
        let mut text = words::clean_str(&cells.matches).into_owned();
        if let Some(why) = &self.shadow {
            let gap = if text.is_empty() { "" } else { "  " };
            text = format!("{text}{gap}⌀ {}", words::clean_str(why));
        }
        if let Some(why) = &self.lossy {
            text = format!("{text} ≠ and more: {}", words::clean_str(why));
        }
        let comment = words::clean_str(cells.comment.as_deref().unwrap_or_default()).into_owned();
        if columns.comment > 0 {
            pen.column(words::skip(&text, state.board.shift), columns.text, style);
            pen.put(&comment, quiet);
            return;
        }
        let text = words::skip(&text, state.board.shift);
        pen.put(text, style);
        if !comment.is_empty() {
            let gap = if text.is_empty() { "" } else { "  " };
            pen.put(gap, style).put("# ", quiet).put(&comment, quiet);
        }
    }
}

/// Every digit where there is room, else five cells.
fn packets(n: u64, width: usize) -> String {
    let all = words::exact(n);
    if n > 0 && width >= 10 && all.len() <= width {
        all
    } else {
        words::short(n)
    }
}
