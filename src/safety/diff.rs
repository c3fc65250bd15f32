//! A change in lines, for the record and for people: what is gone, what is new, what moved, by chain.
//!
//! ```text
//! filter INPUT policy DROP
//! filter INPUT - 3: -j DROP
//! filter INPUT + 1: -i lo -j ACCEPT
//! filter INPUT 5 -> 2: -p tcp -m tcp --dport 22 -j ACCEPT
//! ```
//!
//! The difference itself is `edit`'s. Numbers are those of before for what goes and of after for what comes.
//! Text is as the kernel's: strip it before drawing.

use crate::edit::{ChainMark, Diff, DiffLine};
use crate::ruleset::Ruleset;

/// What turns `before` into `after`, a line each.
pub fn lines(before: &Ruleset, after: &Ruleset) -> Vec<String> {
    let mut out = Vec::new();
    for chain in Diff::between(before, after).chains {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let title = format!("{} {}", text(&chain.table), text(&chain.chain));
        match chain.mark {
            ChainMark::New => out.push(format!("{title} + chain")),
            ChainMark::Deleted => out.push(format!("{title} - chain")),
            _ => {}
        }
        if let Some(policy) = chain.policy {
            out.push(format!("{title} policy {}", policy.name()));
        }
        out.extend(chain.lines.iter().map(|line| match line {
            DiffLine::Removed { number, spec, .. } => format!("{title} - {number}: {}", text(spec)),
            DiffLine::Added { number, spec } => format!("{title} + {number}: {}", text(spec)),
            DiffLine::Moved {
                from,
                from_chain,
                to,
                spec,
            } => {
                let from_chain = from_chain
                    .as_ref()
                    .map_or_else(String::new, |chain| format!("{} ", text(chain)));
                format!("{title} {from_chain}{from} -> {to}: {}", text(spec))
            }
            DiffLine::Zeroed { number, spec } => format!("{title} zero {number}: {}", text(spec)),
        }));
    }
    out
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
            "*filter\n:INPUT DROP [9:9]\n:new - [0:0]\n[5:5] -A INPUT -i b\n-A INPUT -i a\n-A INPUT -i c\nCOMMIT\n",
        );
        assert_eq!(lines(&before, &before), Vec::<String>::new());
        let mut said = lines(&before, &after);
        said.sort();
        assert_eq!(
            said,
            [
                "filter INPUT + 3: -i c",
                "filter INPUT 1 -> 2: -i a",
                "filter INPUT policy DROP",
                "filter new + chain",
                "filter old - 1: -j DROP",
                "filter old - chain",
            ]
        );
    }
}
