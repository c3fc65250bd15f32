//! Whether a rule has packets put together before any rule sees them.
//!
//! Conntrack does so (net/ipv4/netfilter/nf_defrag_ipv4.c, its namesake of IPv6), and it is on for a family as
//! soon as one rule of that family asks for it (`nf_ct_netns_get` in the `checkentry` of its matches and targets);
//! so do `socket` and `TPROXY`. Without such a rule later fragments are packets of their own, without ports.

use crate::ruleset::Spec;
use crate::ruleset::spec::{Match, Target};

/// Matches that are not typed and ask for conntrack.
const MATCHES: &[&str] = &["cluster", "connbytes", "connlabel", "helper", "socket"];

/// The same of targets.
const TARGETS: &[&str] = &["CONNSECMARK", "SYNPROXY", "TPROXY"];

/// The rule asks whether a packet is a piece of one.
pub(super) fn looks(spec: &Spec<'_>) -> bool {
    let by_match =
        |one: &Match<'_>| matches!(one, Match::Unknown(unknown) if *unknown.name == *b"frag");
    spec.fragment.is_some() || spec.matches.iter().any(by_match)
}

/// The rule's mere presence is enough.
pub(super) fn needs(spec: &Spec<'_>) -> bool {
    let named = |names: &[&str], name: &[u8]| names.iter().any(|own| own.as_bytes() == name);
    let by_match = spec.matches.iter().any(|one| match one {
        Match::Conntrack(_) | Match::State(_) | Match::Connmark(_) | Match::Connlimit(_) => true,
        Match::Unknown(unknown) => named(MATCHES, &unknown.name),
        _ => false,
    });
    let by_target = match &spec.target {
        Some(
            Target::Connmark(_)
            | Target::Dnat(_)
            | Target::Snat(_)
            | Target::Masquerade(_)
            | Target::Redirect(_)
            | Target::Netmap(_),
        ) => true,
        // To leave packets alone conntrack is not needed (xt_ct_tg_check).
        Some(Target::Ct(ct)) => !ct.notrack,
        Some(Target::Unknown(unknown)) => named(TARGETS, &unknown.name),
        _ => false,
    };
    by_match || by_target
}
