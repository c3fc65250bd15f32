//! What nf_tables does that iptables does not show: base chains of other tables, and rules in iptables'
//! own tables whose saved text lies ([`lossy`]).
//!
//! A packet passes every base chain of its hook, whoever made it and whatever its family is called, so a
//! DROP that no iptables command shows is found here. Read by netlink and not from `nft list ruleset`: no
//! tool is needed for it, and the tool prints all rules to tell of five chains.

mod field;
pub mod lossy;
mod owner;
mod reader;
mod rules;
mod statements;
mod words;

use std::collections::HashMap;

use netlink_packet_core::NLM_F_DUMP;

use super::netlink::{Dump, Message, Netlink, NetlinkError, Request, attributes, be32, text};
use super::nftables::{self, TableInfo, chain, msg, table};
use crate::ruleset::{BaseChain, Family, NftFamily, Owner};

/// A listing that changes under the reader is read again, this often; then what was seen last is given.
const TRIES: u32 = 4;
/// Rules of one table that are read; where there are more, its chains may do anything.
const RULES: usize = 5000;
/// `NF_DROP`, as a chain policy.
const NF_DROP: u32 = 0;

/// Every base chain of nf_tables in the calling thread's network namespace, those of iptables included:
/// see [`is_shown_by_iptables`]. Sorted by family, table and chain.
///
/// The number of rules is the kernel's reference count of the chain, which counts its rules: nothing else
/// may refer to a base chain.
pub fn base_chains(netlink: &mut Netlink) -> Result<Vec<BaseChain>, NetlinkError> {
    let mut request = Request::default();
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let (tables, tables_dump) = nftables::tables(netlink, &mut request, 0)?;
        let tables: HashMap<(u8, &[u8]), &TableInfo> = tables
            .iter()
            .map(|table| ((table.family, table.name.as_slice()), table))
            .collect();
        found.clear();
        request.start(msg::GETCHAIN, NLM_F_DUMP, 0);
        let dump = netlink.ask("for the chains", &mut request, |message| {
            if message.kind == msg::NEWCHAIN {
                found.extend(base_chain(&message, &tables));
            }
        })?;
        if dump == Dump::Whole && tables_dump == Dump::Whole {
            break;
        }
    }
    read_rules(netlink, &mut request, &mut found)?;
    found.sort_by(|a, b| (a.family, &a.table, &a.chain).cmp(&(b.family, &b.table, &b.chain)));
    Ok(found)
}

/// Reads the rules of native chains, as far as they are in tables of a size that people make.
fn read_rules(
    netlink: &mut Netlink,
    request: &mut Request,
    chains: &mut [BaseChain],
) -> Result<(), NetlinkError> {
    let mut tables: HashMap<(NftFamily, String), Option<Vec<rules::Listed>>> = HashMap::new();
    for chain in chains {
        let number = match chain.family {
            NftFamily::Inet => 1,
            NftFamily::Ip => 2,
            NftFamily::Ip6 => 10,
            _ => continue,
        };
        if chain.rules == 0 || is_shown_by_iptables(chain) {
            continue;
        }
        let key = (chain.family, chain.table.clone());
        if !tables.contains_key(&key) {
            let mut listed = Vec::new();
            request
                .start(msg::GETRULE, NLM_F_DUMP, number)
                .string(nftables::rule::TABLE, chain.table.as_bytes());
            let dump = netlink.ask("for the rules of a table", request, |message| {
                if message.kind == msg::NEWRULE && listed.len() <= RULES {
                    listed.push(listed_rule(&message));
                }
            })?;
            let whole = dump == Dump::Whole && listed.len() <= RULES;
            tables.insert(key.clone(), whole.then_some(listed));
        }
        if let Some(Some(listed)) = tables.get(&key) {
            let family = iptables_family(chain.family);
            let is_nat = chain.kind == "nat";
            chain.read = Some(rules::read(family, is_nat, chain.chain.as_bytes(), listed));
        }
    }
    Ok(())
}

fn listed_rule(message: &Message<'_>) -> rules::Listed {
    let mut listed = (Vec::new(), Vec::new());
    for (kind, value) in attributes(message.attributes) {
        match kind {
            nftables::rule::CHAIN => listed.0 = text(value).to_vec(),
            nftables::rule::EXPRESSIONS => listed.1 = value.to_vec(),
            _ => {}
        }
    }
    listed
}

/// Whether iptables-nft prints this chain, given that it prints its table at all: family, table, name,
/// type, hook and priority are the ones that it would give the chain itself (iptables/nft.c,
/// `xtables_ipv4`).
pub fn is_shown_by_iptables(chain: &BaseChain) -> bool {
    let kind = match (chain.table.as_str(), chain.chain.as_str()) {
        ("nat", _) => "nat",
        ("mangle", "OUTPUT") => "route",
        _ => "filter",
    };
    iptables_family(chain.family).is_some()
        && iptables_priorities(&chain.table, &chain.chain).contains(&chain.priority)
        && chain.kind == kind
        && chain.chain.to_ascii_lowercase() == chain.hook
}

/// The family that iptables-nft reads a table as.
pub const fn iptables_family(family: NftFamily) -> Option<Family> {
    match family {
        NftFamily::Ip => Some(Family::V4),
        NftFamily::Ip6 => Some(Family::V6),
        _ => None,
    }
}

/// The priorities of iptables' built-in chains (linux/netfilter_ipv4.h); none for a chain it does not
/// have. iptables-nft gives its security table 150, the kernel's own number for it is 50.
fn iptables_priorities(table: &str, chain: &str) -> &'static [i32] {
    match (table, chain) {
        ("raw", "PREROUTING" | "OUTPUT") => &[-300],
        ("mangle", "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING") => &[-150],
        ("nat", "PREROUTING" | "OUTPUT") => &[-100],
        ("nat", "INPUT" | "POSTROUTING") => &[100],
        ("filter", "INPUT" | "FORWARD" | "OUTPUT") => &[0],
        ("security", "INPUT" | "FORWARD" | "OUTPUT") => &[150, 50],
        _ => &[],
    }
}

/// `None` for a chain without a hook.
fn base_chain(
    message: &Message<'_>,
    tables: &HashMap<(u8, &[u8]), &TableInfo>,
) -> Option<BaseChain> {
    let mut table_name = &[][..];
    let mut name = &[][..];
    let mut kind = &[][..];
    let mut hook = None;
    let mut policy = None;
    let mut rules = 0;
    for (number, value) in attributes(message.attributes) {
        match number {
            chain::TABLE => table_name = text(value),
            chain::NAME => name = text(value),
            chain::TYPE => kind = text(value),
            chain::HOOK => hook = Some(hook_in(value)),
            chain::POLICY => policy = be32(value),
            chain::USE => rules = be32(value).unwrap_or_default(),
            _ => {}
        }
    }
    let hook = hook?;
    let family = NftFamily::from_nfproto(message.family);
    let table = tables.get(&(message.family, table_name));
    Some(BaseChain {
        family,
        table: String::from_utf8_lossy(table_name).into_owned(),
        chain: String::from_utf8_lossy(name).into_owned(),
        kind: String::from_utf8_lossy(kind).into_owned(),
        hook: hook_name(family, hook.number),
        priority: hook.priority,
        drops_by_default: policy == Some(NF_DROP),
        devices: hook.devices,
        rules,
        read: None,
        owner: table.and_then(|table| table.owner).map(|port| Owner {
            port,
            name: owner::name_of(port),
        }),
        dormant: table.is_some_and(|found| found.flags & table::FLAG_DORMANT != 0),
    })
}

#[derive(Debug, Default)]
struct Hook {
    number: u32,
    priority: i32,
    devices: Vec<String>,
}

/// Reads `NFTA_HOOK_*`.
fn hook_in(encoded: &[u8]) -> Hook {
    let mut hook = Hook::default();
    let mut add = |value, end| {
        let device = String::from_utf8_lossy(text(value)).into_owned() + end;
        // A single device is told twice, alone and in the list.
        if !hook.devices.contains(&device) {
            hook.devices.push(device);
        }
    };
    for (kind, value) in attributes(encoded) {
        match kind {
            chain::HOOK_DEVICE => add(value, ""),
            chain::HOOK_DEVICES => {
                for (kind, value) in attributes(value) {
                    let end = if kind == chain::DEVICE_PREFIX {
                        "*"
                    } else {
                        ""
                    };
                    add(value, end);
                }
            }
            _ => {}
        }
    }
    for (kind, value) in attributes(encoded) {
        match kind {
            chain::HOOK_NUMBER => hook.number = be32(value).unwrap_or_default(),
            chain::HOOK_PRIORITY => hook.priority = be32(value).unwrap_or_default().cast_signed(),
            _ => {}
        }
    }
    hook
}

/// `enum nf_inet_hooks`, `enum nf_dev_hooks`, `NF_ARP_*`, `NF_BR_*`.
const fn hook_name(family: NftFamily, number: u32) -> &'static str {
    match (family, number) {
        (NftFamily::Netdev, 0) | (NftFamily::Inet, 5) => "ingress",
        (NftFamily::Netdev, 1) => "egress",
        (NftFamily::Arp, 0) => "input",
        (NftFamily::Arp, 1) | (_, 3) => "output",
        (_, 0) => "prerouting",
        (_, 1) => "input",
        (_, 2) => "forward",
        (_, 4) => "postrouting",
        _ => "unknown hook",
    }
}
