//! What a staged change does to traffic: the sets of packets that it opens and closes, and what would become
//! of the last drops and of the connections that stand.

use std::collections::HashSet;

use crate::app::change::Checked;
use crate::app::connections::{Connection as Listed, packets};
use crate::app::fix::{WhatIf, cut_connections, what_if};
use crate::flow::{RouteQuestion, Tracked};
use crate::host;
use crate::netfilter::tracked;
use crate::ruleset::{Family, Ruleset};
use crate::runtime::changes::check::Material;
use crate::verdict::{Facts, Path, Probe, Program, Side, Traffic, change, complete, gaps};

/// Lines of traffic that the dialog has room for, for each way and direction.
const LINES: usize = 4;

/// What the change opens and closes for one family.
pub(super) fn look(
    material: &Material,
    family: Family,
    (facts, live): (&Facts, &[Vec<Probe>]),
    checked: &mut Checked,
) {
    if !material.families.contains(&family) {
        return;
    }
    let (mut before, mut after) = (material.marked_before(), material.marked_after());
    for side in [&mut before, &mut after] {
        side.retain(|one| one.ruleset.family() == family);
    }
    let old = Program::compile_marked(family, &before, &material.natives);
    let new = Program::compile_marked(family, &after, &material.natives);
    let before: Vec<&Ruleset> = before.iter().map(|one| one.ruleset).collect();
    let after: Vec<&Ruleset> = after.iter().map(|one| one.ruleset).collect();
    let (old, new) = (
        Side {
            program: &old,
            rulesets: &before,
        },
        Side {
            program: &new,
            rulesets: &after,
        },
    );
    let done = change(old, new, facts);
    let drops = what_if(old, new, &done, &material.drops, facts);
    let live = cut_connections(old, new, &done, live, facts);
    checked.what_if.extend(drops_words(family, drops));
    checked.what_if.extend(live_words(family, live));
    for way in &done.ways {
        let lines = |traffic: &Traffic| words(family, way.path(), traffic);
        checked.accepted.extend(lines(&way.newly_accepted));
        checked.dropped.extend(lines(&way.newly_dropped));
        if !way.complete {
            checked.undecided = true;
        }
    }
}

/// `v4 in  tcp any → :443 on eth0, new`, a line each.
fn words(family: Family, path: Path, traffic: &Traffic) -> Vec<String> {
    let way = match path {
        Path::Input => "in",
        Path::Forward => "forward",
        Path::Output => "out",
    };
    let all = traffic.lines();
    let mut lines: Vec<String> = all
        .iter()
        .take(LINES)
        .map(|line| {
            let when = match line.when.as_slice() {
                [] => String::new(),
                when => format!(" when {}", when.join(" and ")),
            };
            format!("{} {way}: {}{when}", family.name(), line.text)
        })
        .collect();
    if all.len() > LINES {
        lines.push(format!(
            "{} {way}: and {} lines more",
            family.name(),
            all.len() - LINES
        ));
    }
    lines
}

/// `v4: of the last 500 drops 488 would pass`.
fn drops_words(family: Family, count: WhatIf) -> Option<String> {
    let text = match (count.packets, count.newly_accepted) {
        (0, _) => return None,
        (all, 0) => format!("of the last {all} drops none would pass"),
        (all, pass) => format!("of the last {all} drops {pass} would pass"),
    };
    Some(format!("{}: {text}{}", family.name(), doubt(count)))
}

/// `v4: of 3012 live connections none would be cut`.
fn live_words(family: Family, count: WhatIf) -> Option<String> {
    let text = match (count.packets, count.newly_cut) {
        (0, _) => return None,
        (all, 0) => format!("of {all} live connections none would be cut"),
        (all, cut) => format!("of {all} live connections {cut} would be cut"),
    };
    Some(format!("{}: {text}{}", family.name(), doubt(count)))
}

fn doubt(count: WhatIf) -> String {
    match count.not_certain {
        0 => String::new(),
        n => format!(", {n} cannot be told"),
    }
}

/// Connections that are looked at.
const CONNECTIONS: usize = 10_000;

/// The next packets of each connection that stands, in both directions.
pub(super) fn connections(facts: &Facts) -> Vec<Vec<Probe>> {
    let table = match tracked::table(CONNECTIONS) {
        Ok(table) => table,
        Err(error) => {
            tracing::info!(%error, "the conntrack table is not looked at");
            return Vec::new();
        }
    };
    let of = |entry| packets(entry, &|ip| is_local(ip, facts));
    let all: Vec<Vec<Probe>> = table.entries.iter().map(of).collect();
    let flat: Vec<Probe> = all.iter().flatten().cloned().collect();
    let mut flat = completed(&flat).into_iter();
    all.iter()
        .map(|packets| flat.by_ref().take(packets.len()).collect())
        .collect()
}

fn is_local(address: std::net::IpAddr, facts: &Facts) -> bool {
    let own = facts.local.as_ref();
    address.is_loopback() || own.is_some_and(|own| own.contains(&address))
}

/// Packets with the interfaces that they take here.
fn completed(probes: &[Probe]) -> Vec<Probe> {
    let mut machine = host::links();
    let asked: HashSet<RouteQuestion> = probes.iter().flat_map(gaps).collect();
    let asked: Vec<RouteQuestion> = asked.into_iter().collect();
    let answers = host::routes(&asked, &machine);
    machine.routes.extend(answers);
    probes
        .iter()
        .map(|probe| complete(probe, &machine))
        .collect()
}

/// Connections that a list has room for.
const LISTED: usize = 2_000;

/// What stands in the conntrack table, each with the packet to ask about.
pub(super) fn listed(facts: &Facts) -> Result<Vec<Listed>, String> {
    let table = tracked::table(LISTED).map_err(|error| error.to_string())?;
    let first = |entry| {
        let mut packets = packets(entry, &|ip| is_local(ip, facts)).into_iter();
        Some((entry, packets.next()?))
    };
    let (entries, first): (Vec<&Tracked>, Vec<Probe>) =
        table.entries.iter().filter_map(first).unzip();
    let entries = entries.into_iter().zip(completed(&first));
    let mut all: Vec<Listed> = entries
        .map(|(entry, packet)| Listed {
            note: match (entry.is_translated(), entry.answered) {
                (true, true) => "nat",
                (true, false) => "nat, new",
                (false, true) => "answered",
                (false, false) => "new",
            },
            text: text(entry),
            packet,
        })
        .collect();
    all.sort_by(|a, b| a.text.cmp(&b.text));
    Ok(all)
}

fn text(entry: &Tracked) -> String {
    let end = |address: std::net::IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let (there, back) = (entry.original, entry.reply);
    let mut text = format!(
        "{} {} -> {}",
        entry.proto,
        end(there.src, there.sport),
        end(there.dst, there.dport)
    );
    if (back.src, back.sport) != (there.dst, there.dport) {
        text = format!("{text} (dnat {})", end(back.src, back.sport));
    }
    if (back.dst, back.dport) != (there.src, there.sport) {
        text = format!("{text} (snat {})", end(back.dst, back.dport));
    }
    text
}
