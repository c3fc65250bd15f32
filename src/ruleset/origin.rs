//! Where a ruleset lives, and who wrote to it last.
//!
//! Plain words that the doors fill in and the pure rooms read: a box may hold up to four rulesets at
//! once, one for each family and back end, and all of them decide about packets.

use std::fmt;

use super::{Backend, Family};

/// One of the (up to four) rulesets of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Origin {
    /// IPv4 or IPv6.
    pub family: Family,
    /// nf_tables or x_tables.
    pub backend: Backend,
}

impl Origin {
    /// Every origin there can be, in the order in which a screen lists them.
    pub const ALL: [Self; 4] = [
        Self::new(Family::V4, Backend::Nft),
        Self::new(Family::V6, Backend::Nft),
        Self::new(Family::V4, Backend::Legacy),
        Self::new(Family::V6, Backend::Legacy),
    ];

    /// The ruleset of `family` in `backend`.
    pub const fn new(family: Family, backend: Backend) -> Self {
        Self { family, backend }
    }

    /// The position in [`Origin::ALL`].
    pub const fn index(self) -> usize {
        let family = match self.family {
            Family::V4 => 0,
            Family::V6 => 1,
        };
        match self.backend {
            Backend::Nft => family,
            Backend::Legacy => family + 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let backend = match self.backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        };
        write!(f, "{tool}-{backend}")
    }
}

/// The process that changed an nf_tables ruleset, as the kernel's NEWGEN message names it, with what
/// /proc still knew of it when the message arrived. Names and command lines are other people's bytes:
/// strip them before drawing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Author {
    /// The generation that this change made.
    pub generation: u32,
    /// Process id in the initial pid namespace, as the kernel gives it.
    pub pid: u32,
    /// The task's name (`comm`, at most 15 bytes), from the kernel.
    pub name: String,
    /// The command line, arguments joined by blanks; `None` when the process was already gone or when
    /// the process of that id is not the one named.
    pub cmdline: Option<String>,
    /// The name and pid of the parent, under the same condition.
    pub parent: Option<(u32, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_position_in_all() {
        for (position, origin) in Origin::ALL.into_iter().enumerate() {
            assert_eq!(origin.index(), position);
        }
    }

    #[test]
    fn prints_as_the_tool_that_shows_it() {
        let names: Vec<String> = Origin::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "iptables-nft",
                "ip6tables-nft",
                "iptables-legacy",
                "ip6tables-legacy"
            ]
        );
    }
}
