//! One rule in full: its own words, exact counters, who jumps here.

use crate::app::board::Row;
use crate::app::state::State;
use crate::edit::form::sentence;
use crate::ui::dialogs::Line;
use crate::ui::panes::rules::policy_name;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The text, for lines of so many cells.
pub fn lines(state: &State, theme: &Theme, cells: usize) -> Vec<Line> {
    let (quiet, text) = (theme.quiet.style(), theme.text.style());
    let Some(selected) = state.selected() else {
        return Vec::new();
    };
    let Some(firewall) = state.firewalls.get(selected.firewall) else {
        return Vec::new();
    };
    let title = state.chain_title(selected.firewall, selected.chain);
    let mut lines: Vec<Line> = Vec::new();
    let mut pair = |name: &str, value: &str| {
        for (i, part) in words::wrap(&words::clean_str(value), cells.saturating_sub(12))
            .into_iter()
            .enumerate()
        {
            let name = if i == 0 { name } else { "" };
            lines.push(vec![(format!("{name:<12}"), quiet), (part, text)]);
        }
    };
    let (shown, rate, counted) = match selected.row {
        Some(Row::Rule(rule, number)) => {
            pair("chain", &format!("{title}, rule {number}"));
            pair(
                "rule",
                &String::from_utf8_lossy(firewall.ruleset.spec(rule)),
            );
            let builtin = firewall.ruleset.chain(selected.chain).is_builtin();
            let spec = firewall.ruleset.parse_rule(rule);
            pair("does", &sentence::of(&spec, builtin));
            if let Some(why) = firewall.shadow(rule) {
                pair("⌀", &format!("no packet can match it: {why}"));
            }
            if firewall.was_reset(rule) {
                pair("", "its counters were zeroed while we watched");
            }
            (
                firewall.shown(rule),
                firewall.rate(rule),
                firewall.counts(rule),
            )
        }
        Some(Row::Policy) => {
            pair("chain", &title);
            pair(
                "policy",
                policy_name(firewall.ruleset.chain(selected.chain).policy()),
            );
            (
                firewall.shown_policy(selected.chain),
                firewall.policy_rate(selected.chain),
                firewall.counts_policy(selected.chain),
            )
        }
        None => return lines,
    };
    if !counted {
        pair(
            "counted",
            "no: the kernel keeps no counter for it, so the zeros mean nothing",
        );
    }
    pair("packets", &words::exact(shown.packets));
    pair("bytes", &words::exact(shown.bytes));
    pair(
        "per second",
        &format!("{:.1} packets, {:.0} bytes", rate.packets, rate.bytes),
    );
    if let Some(lossy) = firewall.lossy(selected.chain) {
        let words = format!(
            "the text of rule {} says less than the kernel's rule: {}; nft list chain shows it",
            lossy.position + 1,
            lossy.why
        );
        pair("lossy", &words);
    }
    lines
}
