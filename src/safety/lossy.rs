//! Chains that are locked: iptables-save does not say all that the kernel holds there.
//!
//! A native nft rule inside an iptables table is saved as a wider one. Such a rule cannot be put back from
//! text, so a chain that holds one is neither changed nor restored; other chains of its table are.

use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect;
use crate::ruleset::{Backend, Origin, Ruleset};

/// A chain and what is wrong with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LockedChain {
    pub origin: Origin,
    pub table: String,
    pub chain: String,
    pub why: String,
}

/// The locked chains of a ruleset. Legacy has none; where nf_tables does not answer none is known.
pub(super) fn chains(origin: Origin, ruleset: &Ruleset) -> Vec<LockedChain> {
    if origin.backend == Backend::Legacy || ruleset.tables().is_empty() {
        return Vec::new();
    }
    let Ok(seen) = Netlink::open()
        .map_err(drop)
        .and_then(|mut netlink| inspect::inspect(&mut netlink, origin.family).map_err(drop))
    else {
        return Vec::new();
    };
    let mut locked = Vec::new();
    for table in ruleset.tables() {
        for index in table.chains() {
            let chain = ruleset.chain(*index);
            let found = seen
                .find(table.name().as_bytes(), chain.name_bytes())
                .map(|number| seen.chain(number));
            let first = found.and_then(|chain| {
                let (position, why) = seen.lossy(&chain).next()?;
                Some(format!("rule {}: {why}", position + 1))
            });
            locked.extend(first.map(|why| LockedChain {
                origin,
                table: table.name().to_owned(),
                chain: chain.name().to_owned(),
                why,
            }));
        }
    }
    locked
}

/// Whether a change from the one to the other touches the locked chain.
pub(super) fn is_touched(locked: &LockedChain, before: &Ruleset, after: &Ruleset) -> bool {
    differs(&locked.table, &locked.chain, before, after)
}

/// Whether the rules of that chain differ between the two.
pub(super) fn differs(table: &str, chain: &str, before: &Ruleset, after: &Ruleset) -> bool {
    let rules = |ruleset: &Ruleset| -> Option<Vec<Vec<u8>>> {
        let chain = ruleset.find_chain(table, chain)?;
        let rules = ruleset.chain(chain).rules().iter();
        Some(
            rules
                .map(|rule| ruleset.normal_spec(*rule).into_owned())
                .collect(),
        )
    };
    rules(before) != rules(after)
}

impl std::fmt::Display for LockedChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {} is locked: its saved text is not the whole truth ({})",
            self.origin, self.table, self.chain, self.why
        )
    }
}
