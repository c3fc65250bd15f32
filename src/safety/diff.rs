//! A change in lines, for the record and for people: what is gone, what is new, by chain.
//!
//! ```text
//! filter INPUT policy ACCEPT -> DROP
//! filter INPUT - 3: -j DROP
//! filter INPUT + 1: -i lo -j ACCEPT
//! ```
//!
//! Numbers are those of before for what goes and of after for what comes. Text is as the kernel's: strip it
//! before drawing.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::ruleset::{ChainIdx, Policy, Ruleset};

/// What turns `before` into `after`, a line each.
pub fn lines(before: &Ruleset, after: &Ruleset) -> Vec<String> {
    let mut out = Vec::new();
    let mut seen = Vec::new();
    for (ruleset, other) in [(before, after), (after, before)] {
        for table in ruleset.tables() {
            for index in table.chains() {
                let name = ruleset.chain(*index).name_bytes();
                let place = (table.name().to_owned(), name.to_vec());
                if seen.contains(&place) {
                    continue;
                }
                seen.push(place);
                let twin = other
                    .find_table(table.name())
                    .and_then(|table| other.chain_named(table, name));
                let (old, new) = if std::ptr::eq(ruleset, before) {
                    (Some(*index), twin)
                } else {
                    (twin, Some(*index))
                };
                let title = format!("{} {}", table.name(), ruleset.chain(*index).name());
                chain((before, old), (after, new), &title, &mut out);
            }
        }
    }
    out
}

fn chain(
    (before, old): (&Ruleset, Option<ChainIdx>),
    (after, new): (&Ruleset, Option<ChainIdx>),
    title: &str,
    out: &mut Vec<String>,
) {
    let builtin = |set: &Ruleset, chain: Option<ChainIdx>| {
        chain.is_some_and(|chain| set.chain(chain).is_builtin())
    };
    if builtin(before, old) || builtin(after, new) {
        let policy = |set: &Ruleset, chain: Option<ChainIdx>| {
            chain
                .and_then(|chain| set.chain(chain).policy())
                .unwrap_or(Policy::Accept)
        };
        let (was, is) = (policy(before, old), policy(after, new));
        if was != is {
            out.push(format!("{title} policy {} -> {}", was.name(), is.name()));
        }
    } else {
        match (old, new) {
            (None, Some(_)) => out.push(format!("{title} + chain")),
            (Some(_), None) => out.push(format!("{title} - chain")),
            _ => {}
        }
    }
    let specs = |set: &Ruleset, chain: Option<ChainIdx>| -> Vec<Vec<u8>> {
        let rules = chain.map_or(&[][..], |chain| set.chain(chain).rules());
        rules
            .iter()
            .map(|rule| set.normal_spec(*rule).into_owned())
            .collect()
    };
    let (was, is) = (specs(before, old), specs(after, new));
    let mut line = |sign: char, at: usize, spec: Option<&Vec<u8>>| {
        let spec = spec.map(|spec| String::from_utf8_lossy(spec).into_owned());
        out.push(format!(
            "{title} {sign} {}: {}",
            at + 1,
            spec.unwrap_or_default()
        ));
    };
    for op in capture_diff_slices(Algorithm::Myers, &was, &is) {
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        op.old_range().for_each(|at| line('-', at, was.get(at)));
        op.new_range().for_each(|at| line('+', at, is.get(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Origin;

    #[test]
    fn what_goes_and_what_comes() {
        let ruleset = |text: &str| Ruleset::parse(text.as_bytes(), Origin::ALL[0]).unwrap();
        let before = ruleset(
            "*filter\n:INPUT ACCEPT [0:0]\n:old - [0:0]\n-A INPUT -i a\n-A INPUT -i b\n-A old -j DROP\nCOMMIT\n",
        );
        let after = ruleset(
            "*filter\n:INPUT DROP [9:9]\n:new - [0:0]\n[5:5] -A INPUT -i b\n-A INPUT -i a\nCOMMIT\n",
        );
        assert_eq!(lines(&before, &before), Vec::<String>::new());
        assert_eq!(
            lines(&before, &after),
            [
                "filter INPUT policy ACCEPT -> DROP",
                "filter INPUT - 1: -i a",
                "filter INPUT + 2: -i a",
                "filter old - chain",
                "filter old - 1: -j DROP",
                "filter new + chain",
            ]
        );
    }
}
