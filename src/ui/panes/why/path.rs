//! The rows of the path: chains, rules with what they said, the one that decides.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::firewall::Firewall;
use crate::app::state::State;
use crate::app::why::{Row, Why};
use crate::ruleset::{Cells, Policy, Role, RuleIdx, Ruleset};
use crate::ui::panes::band;
use crate::ui::panes::rules::policy_name;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;
use crate::verdict::{Answer, Decider, Place, Step};

/// Cells of a rule's number, or of a range of them.
const NUMBER: usize = 9;
/// Cells of a table's name, and of a chain's.
const TABLE: usize = 8;
const CHAIN: usize = 14;

/// Draws the rows that fit.
pub fn draw(state: &State, why: &Why, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    if why.answer.is_none() {
        let read = |probe: &crate::verdict::Probe| state.rules_are_known(probe.family);
        let words = match &why.line {
            Some(_) => "",
            None if why.packets.iter().all(read) => "asking …",
            None => "the rules are still being read …",
        };
        Pen::new(buffer, area, 0)
            .skip(2)
            .put(words, theme.quiet.style());
        return;
    }
    let rows = why.rows.iter().enumerate().skip(why.cursor.top);
    for ((at, row), line) in rows.zip(0..area.height) {
        let drawer = Drawer { state, why, theme };
        drawer.row(*row, area, line, buffer);
        if at == why.cursor.at {
            let alarms = matches!(row, Row::Step(step) if drawer.drops(*step));
            let style = if alarms {
                theme.cursor_alarm.style()
            } else {
                theme.cursor.style()
            };
            band(buffer, area, usize::from(line), style);
        }
    }
}

struct Drawer<'a> {
    state: &'a State,
    why: &'a Why,
    theme: &'a Theme,
}

impl Drawer<'_> {
    fn row(&self, row: Row, area: Rect, line: u16, buffer: &mut Buffer) {
        let mut pen = Pen::new(buffer, area, line);
        match row {
            Row::Chain(at) => {
                if let Some(step) = self.why.step(at) {
                    self.chain(step.place, self.is_return(at), &mut pen);
                }
            }
            Row::Passed(from, to) => self.passed(from, to, &mut pen),
            Row::Fold(from, to) => self.fold(from, to, &mut pen),
            Row::Step(at) => {
                if let Some(step) = self.why.step(at) {
                    self.step(step, &mut pen);
                }
            }
            Row::Would(place) => self.would(place, &mut pen),
            Row::End => self.end(&mut pen),
        }
    }

    /// This step takes the packet away.
    fn drops(&self, at: usize) -> bool {
        self.why.step(at).is_some_and(|step| {
            self.why.decides(step.place) && self.role(step.place) == Some(Role::Drops)
        })
    }

    fn ruleset(&self, place: Place) -> Option<&Ruleset> {
        Some(self.why.held(place)?.ruleset.as_ref())
    }

    /// The firewall of the board, while it is still the ruleset that was asked.
    fn firewall(&self, place: Place) -> Option<&Firewall> {
        let held = self.why.held(place)?;
        let mut all = self.state.firewalls.iter();
        all.find(|one| one.id == held.id && std::sync::Arc::ptr_eq(one.kernel(), &held.ruleset))
    }

    /// The number of a rule as the board has it where it still holds that ruleset: probes not counted.
    fn number(&self, place: Place, rule: RuleIdx) -> u32 {
        let held = || self.ruleset(place).map(|ruleset| ruleset.number(rule));
        let firewall = self.firewall(place);
        firewall.map_or_else(|| held().unwrap_or_default(), |f| f.kernel_number(rule))
    }

    fn role(&self, place: Place) -> Option<Role> {
        let ruleset = self.ruleset(place)?;
        match place.rule {
            Some(rule) => Some(ruleset.role(rule)),
            None if ruleset.chain(place.chain).policy() == Some(Policy::Drop) => Some(Role::Drops),
            None => Some(Role::Decides),
        }
    }

    /// The packet was in this chain before and comes back to it.
    fn is_return(&self, at: usize) -> bool {
        let Some(first) = self.why.step(at) else {
            return false;
        };
        let same = |step: &Step| {
            (step.hook, step.place.ruleset, step.place.chain)
                == (first.hook, first.place.ruleset, first.place.chain)
        };
        (0..at)
            .rev()
            .take(200)
            .filter_map(|at| self.why.step(at))
            .any(same)
    }

    /// `filter   INPUT`, with the back end where both have one.
    fn chain(&self, place: Place, back: bool, pen: &mut Pen<'_>) {
        let Some(held) = self.why.held(place) else {
            return;
        };
        let chain = held.ruleset.chain(place.chain);
        let table = held.ruleset.table(chain.table()).name();
        let two = self.why.answer.as_ref().is_some_and(|a| a.sets.len() > 1);
        let backend = held.id.backend.filter(|_| two);
        let table = words::clean_str(table).into_owned();
        pen.skip(2).column(&table, TABLE, self.theme.quiet.style());
        let name = words::clean_str(chain.name()).into_owned();
        let width = CHAIN.max(words::width(&name));
        if back {
            pen.column(&name, width, self.theme.quiet.style());
        } else {
            pen.column(&name, width, self.theme.heading.style());
        }
        if let Some(backend) = backend {
            pen.put(backend.name(), self.theme.quiet.style()).skip(2);
        }
    }

    /// A chain in which nothing matched, on one line.
    fn passed(&self, from: usize, to: usize, pen: &mut Pen<'_>) {
        let Some(first) = self.why.step(from) else {
            return;
        };
        self.chain(first.place, false, pen);
        let quiet = self.theme.quiet.style();
        let steps = (from..to).filter_map(|at| self.why.step(at));
        let rules: Vec<&Step> = steps
            .clone()
            .filter(|step| step.place.rule.is_some())
            .collect();
        match rules.as_slice() {
            [] => {}
            [one] => {
                pen.put("1 no", quiet)
                    .put_untrusted(&format!(" ({})", one.why), quiet)
                    .skip(3);
            }
            all => {
                pen.put(&format!("{} rules, none matches", all.len()), quiet);
                if self.policy(first.place).is_none() {
                    pen.put_untrusted(&format!(" ({})", reasons(all.iter().copied())), quiet);
                }
                pen.skip(3);
            }
        }
        let mut ends = steps.filter(|step| step.place.rule.is_none());
        if let Some(policy) = ends.next_back().and_then(|step| self.policy(step.place)) {
            pen.put(&format!("policy {policy}"), quiet);
        }
    }

    /// What a built-in chain does in the end; `None` for a chain of the user.
    fn policy(&self, place: Place) -> Option<&'static str> {
        let chain = self.ruleset(place)?.chain(place.chain);
        chain.is_builtin().then(|| policy_name(chain.policy()))
    }

    fn fold(&self, from: usize, to: usize, pen: &mut Pen<'_>) {
        let quiet = self.theme.quiet.style();
        let number = |at: usize| {
            let place = self.why.step(at)?.place;
            Some(self.number(place, place.rule?))
        };
        let range = match (number(from), number(to.saturating_sub(1))) {
            (Some(first), Some(last)) => format!("{first}–{last}"),
            _ => String::new(),
        };
        pen.skip(2).number(&range, NUMBER, quiet);
        pen.column("no", 9, quiet);
        let steps = (from..to).filter_map(|at| self.why.step(at));
        pen.put_untrusted(&format!("({})", reasons(steps)), quiet);
    }

    fn step(&self, step: &Step, pen: &mut Pen<'_>) {
        let decides = self.why.decides(step.place);
        let drops = decides && self.role(step.place) == Some(Role::Drops);
        let (text, quiet) = (self.theme.text.style(), self.theme.quiet.style());
        let lit = match (decides, drops) {
            (true, true) => self.theme.alarm.style(),
            (true, false) => self.theme.hot.style(),
            _ => text,
        };
        let mark = match (decides, step.answer) {
            (true, _) if drops => "■",
            (true, _) => "▸",
            (false, Answer::Unknown) if self.is_open(step.place) => "?",
            _ => " ",
        };
        pen.put(mark, lit).skip(1);
        let Some(rule) = step.place.rule else {
            pen.number("", NUMBER, quiet);
            let policy = self.policy(step.place).unwrap_or("return");
            pen.column(policy, 9, if decides { lit } else { quiet });
            pen.put("policy: no rule decided", quiet);
            self.note(step.place, decides, lit, pen);
            return;
        };
        let Some(ruleset) = self.ruleset(step.place) else {
            return;
        };
        let number = self.number(step.place, rule).to_string();
        match step.answer {
            Answer::No => {
                pen.number(&number, NUMBER, quiet).column("no", 9, quiet);
                pen.put_untrusted(&format!("({})", step.why), quiet);
            }
            Answer::Unknown => {
                // Whether it is logged or counted changes nothing for the packet.
                let style = if matters(ruleset, rule) {
                    self.theme.caution.style()
                } else {
                    quiet
                };
                pen.number(&number, NUMBER, text);
                self.spec(ruleset, rule, style, pen);
                pen.put_untrusted(&format!("   depends on {}", step.why), style);
            }
            Answer::Match => {
                pen.number(&number, NUMBER, lit);
                self.spec(ruleset, rule, lit, pen);
                self.note(step.place, decides, lit, pen);
            }
        }
    }

    /// What becomes of the packet hangs on whether it matches.
    fn is_open(&self, place: Place) -> bool {
        let ruleset = self.ruleset(place);
        let rule = ruleset.zip(place.rule);
        rule.is_none_or(|(ruleset, rule)| matters(ruleset, rule))
    }

    /// Target and conditions of a rule.
    fn spec(&self, ruleset: &Ruleset, rule: RuleIdx, lit: Style, pen: &mut Pen<'_>) {
        let cells = ruleset.cells(rule);
        let calls = ruleset.jump(rule).is_some_and(|jump| jump.chain.is_some());
        let arrow = if calls { "→ " } else { "" };
        let target = format!("{arrow}{}", words::clean_str(&cells.target));
        let target = if target.is_empty() { "–" } else { &target };
        pen.column(target, words::width(target).max(9), lit);
        pen.put_untrusted(&conditions(&cells), self.theme.text.style());
    }

    /// At the right end: this one decides, and how fast it does now.
    fn note(&self, place: Place, decides: bool, lit: Style, pen: &mut Pen<'_>) {
        let rate = self.firewall(place).map(|firewall| match place.rule {
            Some(rule) => firewall.rate(firewall.shown_rule(rule)),
            None => firewall.policy_rate(firewall.shown_chain(place.chain)),
        });
        let rate = rate.filter(|rate| rate.moves());
        let speed = rate.map_or_else(String::new, |rate| {
            format!("{:>6}/s", words::rate(rate.packets))
        });
        if decides {
            let parts = [("  ← decides ", lit), (speed.as_str(), lit)];
            pen.right(&parts);
        } else if !speed.is_empty() {
            pen.right(&[(speed.as_str(), self.theme.quiet.style())]);
        }
    }

    fn would(&self, place: Place, pen: &mut Pen<'_>) {
        let accent = self.theme.accent.style();
        let (Some(ruleset), Some(rule)) = (self.ruleset(place), place.rule) else {
            return;
        };
        // Its chain is named where it is not the one above.
        let near = self
            .why
            .answer
            .as_ref()
            .and_then(|answer| answer.explanation.by);
        let near = matches!(near, Some(Decider::Place(by)) if by.chain == place.chain && by.ruleset == place.ruleset);
        let number = self.number(place, rule);
        pen.skip(2);
        if near {
            pen.number(&number.to_string(), NUMBER, accent);
        } else {
            let chain = words::clean_str(ruleset.chain(place.chain).name()).into_owned();
            let text = format!("{chain} {number}");
            pen.number(&text, NUMBER.max(words::width(&text)), accent);
        }
        self.spec(ruleset, rule, accent, pen);
        pen.right(&[("  ← would have accepted", accent)]);
    }

    /// Something that is no rule decides, or it is open who does.
    fn end(&self, pen: &mut Pen<'_>) {
        let Some(answer) = &self.why.answer else {
            return;
        };
        let rulesets = answer.rulesets();
        pen.skip(2);
        let tell = |by: Decider| answer.explanation.decider(by, &rulesets);
        match answer.explanation.by {
            Some(by) => {
                pen.put("■ ", self.theme.alarm.style());
                pen.put_untrusted(&format!("{} decides", tell(by)), self.theme.alarm.style());
            }
            None if answer.explanation.possible.len() > 1 => {
                let ways = answer.explanation.possible.iter().map(|way| {
                    let by = way.by.map_or_else(|| "nothing in its way".to_owned(), tell);
                    format!("{} by {by}", way.verdict.name())
                });
                let ways: Vec<String> = ways.collect();
                pen.put("either ", self.theme.caution.style());
                pen.put_untrusted(&ways.join("  or  "), self.theme.caution.style());
            }
            None => {
                pen.put("no chain stands in its way", self.theme.quiet.style());
            }
        }
    }
}

/// The rule decides, or sends the packet elsewhere, or changes it: LOG and its like do not.
fn matters(ruleset: &Ruleset, rule: RuleIdx) -> bool {
    let jump = ruleset.jump(rule);
    let idle = [&b"LOG"[..], b"NFLOG", b"ULOG", b"AUDIT", b"TRACE"];
    jump.is_some_and(|jump| jump.chain.is_some() || !idle.contains(&jump.name))
}

/// Why rules did not match, in few words: each reason once. More than so many fit on no line.
fn reasons<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    const MOST: usize = 60;
    let mut reasons: Vec<&str> = Vec::new();
    for step in steps.take(MOST) {
        if !reasons.contains(&step.why.as_str()) {
            reasons.push(&step.why);
        }
    }
    reasons.join(" · ")
}

/// What a rule asks of a packet, in few words.
fn conditions(cells: &Cells) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |word: &str, value: &str| {
        if !value.is_empty() {
            parts.push(if word.is_empty() {
                value.to_owned()
            } else {
                format!("{word} {value}")
            });
        }
    };
    add("", &cells.protocol);
    add("in", &cells.in_interface);
    add("out", &cells.out_interface);
    add("from", &cells.source);
    add("to", &cells.destination);
    add("", &cells.matches);
    parts.join(" ")
}
