//! What would become of traffic that was seen: many packets through the rules as they are and as staged.
//!
//! The packets are lines of the drop feed or connections of conntrack, brought into the engine's form by
//! whoever has them. The count says only what is certain in both rulesets; the rest is counted as such.

use crate::verdict::{Alteration, Decision, Facts, Probe, Side, Verdict};

/// How many of the packets fare otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// Packets that were put through.
    pub packets: usize,
    /// Dropped or rejected before, accepted after.
    pub newly_accepted: usize,
    /// Accepted before, dropped or rejected after.
    pub newly_cut: usize,
    /// Before or after it cannot be told, and something about the way that it goes has changed.
    pub not_certain: usize,
}

/// Puts packets through both. Packets of another family than the programs' are passed by. `change` is what the
/// change does: a packet of which it cannot be told before nor after fares as it did where the change cannot
/// touch it, and else nobody knows.
pub fn what_if<'p>(
    before: Side<'_>,
    after: Side<'_>,
    change: &Alteration,
    packets: impl IntoIterator<Item = &'p Probe>,
    facts: &Facts,
) -> WhatIf {
    let mut count = WhatIf::default();
    for packet in packets {
        if packet.family != after.program.family() {
            continue;
        }
        count.packets += 1;
        let end =
            |side: Side<'_>| -> Decision { side.program.decide(packet, facts, side.rulesets) };
        let (was, is) = (end(before), end(after));
        let stopped = |end: Decision| matches!(end.verdict, Verdict::Drop | Verdict::Reject);
        match (was.verdict, is.verdict) {
            (_, Verdict::Accept) if stopped(was) => count.newly_accepted += 1,
            (Verdict::Accept, _) if stopped(is) => count.newly_cut += 1,
            (Verdict::Unknown, Verdict::Unknown) if !change.may_touch(packet) => {}
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => count.not_certain += 1,
            _ => {}
        }
    }
    count
}

/// Puts connections through both, each with all the packets that it is made of: it stands as long as every one of
/// them passes, and is cut when one of them is stopped that was not before.
pub fn cut_connections(
    before: Side<'_>,
    after: Side<'_>,
    change: &Alteration,
    connections: &[Vec<Probe>],
    facts: &Facts,
) -> WhatIf {
    let mut count = WhatIf::default();
    let family = after.program.family();
    let of_family = |packets: &&Vec<Probe>| packets.first().is_some_and(|one| one.family == family);
    for packets in connections.iter().filter(of_family) {
        count.packets += 1;
        let stands = |side: Side<'_>| {
            let mut ends = packets
                .iter()
                .map(|one| side.program.decide(one, facts, side.rulesets).verdict);
            ends.try_fold(Some(true), |stands, end| match end {
                Verdict::Accept => Ok(stands),
                Verdict::Unknown => Ok(None),
                Verdict::Drop | Verdict::Reject => Err(()),
            })
            .unwrap_or(Some(false))
        };
        // What the change does is told of packets as they arrive, and says nothing of what NAT makes of them.
        let may_touch = |one: &Probe| one.is_translated() || change.may_touch(one);
        match (stands(before), stands(after)) {
            (Some(true), Some(false)) => count.newly_cut += 1,
            (Some(false), Some(true)) => count.newly_accepted += 1,
            (None, None) if !packets.iter().any(may_touch) => {}
            (None, _) | (_, None) => count.not_certain += 1,
            _ => {}
        }
    }
    count
}
