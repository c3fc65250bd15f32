//! The model of a ruleset: what iptables-save printed, read without loss.
//!
//! One [`Document`] is one text: a file, or what one `*-save` wrote. It holds one or more
//! [`Ruleset`]s, each of one address family and one back end, because a naive backup script writes
//! IPv4 and IPv6, or nft and legacy, one after the other into one file. The text is kept once, byte
//! for byte; everything else is a position in it. That has three consequences which the rest of the
//! product leans on:
//!
//! - Printing an unedited document gives the same bytes, whatever was in it: CRLF, odd comments,
//!   invalid UTF-8, a missing last newline, lines that nobody understands.
//! - A ruleset of 100,000 rules costs its text and a few numbers a rule. What a rule *means* is worked
//!   out when somebody asks ([`Ruleset::parse_rule`]) and borrowed from the text.
//! - Structure and counters are apart ([`CounterSet`]): a tick replaces numbers, never rules.
//!
//! Reading is generous and honest: whatever a person can tell the meaning of is read, also where
//! iptables-restore would refuse it, and every liberty taken is a [`Diagnostic`] with line, column and
//! what was expected. What cannot be understood stays in the text and says so. Only a text that is no
//! dump at all is refused.
//!
//! What this room does not do: it never reads a file, runs a program or looks at a clock; it does not
//! decide packets (`verdict`), change rules (`edit`) or make text safe for a terminal (the drawing side
//! does: names, comments and prefixes here are the bytes that somebody else chose).
//!
//! Rooms within: `document` is a text, `reader` splits it into rulesets, `line` and `command` read its
//! lines, `build` carries out what they say, `model` is the result, `assemble` makes one of parts; `spec` gives a rule its types;
//! `identity`, `references`, `print` and `json` are what is asked of it.
//! Formats: iptables-save(8), iptables-restore(8), iptables-extensions(8).

mod assemble;
mod build;
mod command;
mod counters;
mod detect;
mod diagnostic;
mod document;
mod hooks;
mod identity;
mod json;
mod line;
mod lossy;
mod model;
mod native;
mod origin;
mod print;
mod reader;
mod references;
pub mod spec;

pub use assemble::{Assembly, ChainParts, RuleParts, builtin_chains, single_rules};
pub use counters::{ChainCounters, CounterSet, Counters, Reading};
pub use detect::{Evidence, Header};
pub use diagnostic::{Diagnostic, ParseError, Severity, Warning};
pub use document::{Document, Hints};
pub use hooks::{BaseChain, NftFamily, Owner};
pub use identity::TextId;
pub use lossy::{Lossy, Marked};
pub use model::{Chain, ChainIdx, Policy, RuleIdx, Ruleset, Table, TableIdx};
pub use native::{Effects, NativeDoes, NativeRule, NativeRules};
pub use origin::{Author, Origin};
pub use references::{Jump, References, Role, jump_in};
pub use spec::{Cells, Spec};

/// Address family of a ruleset.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4: iptables.
    V4,
    /// IPv6: ip6tables.
    V6,
}

/// Which kernel subsystem holds the ruleset.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// nf_tables, through iptables-nft.
    Nft,
    /// x_tables, through iptables-legacy.
    Legacy,
}

impl Family {
    /// `v4` or `v6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

impl Backend {
    /// `nft` or `legacy`, as the tools are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}
