//! The words of nf_tables netlink: message and attribute numbers, and the few questions that the doors
//! ask with them.
//!
//! Numbers are those of linux/netfilter/nf_tables.h, which are the kernel's ABI and never change. Only
//! what is read here is listed.

pub mod inspect;

use netlink_packet_core::{NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP};

use super::netlink::{Dump, Message, Netlink, NetlinkError, Request, attributes, be32, be64, text};
use crate::ruleset::{Counters, Family};

/// NFNL_SUBSYS_NFTABLES, in the high byte of a message type.
pub const SUBSYSTEM: u16 = 10 << 8;
/// Multicast group of ruleset changes (`NFNLGRP_NFTABLES`).
pub const GROUP: u32 = 7;

/// `enum nf_tables_msg_types`.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod msg {
    use super::SUBSYSTEM;
    pub const NEWTABLE: u16 = SUBSYSTEM;
    pub const GETTABLE: u16 = SUBSYSTEM | 1;
    pub const DELTABLE: u16 = SUBSYSTEM | 2;
    pub const NEWCHAIN: u16 = SUBSYSTEM | 3;
    pub const GETCHAIN: u16 = SUBSYSTEM | 4;
    pub const DELCHAIN: u16 = SUBSYSTEM | 5;
    pub const NEWRULE: u16 = SUBSYSTEM | 6;
    pub const GETRULE: u16 = SUBSYSTEM | 7;
    pub const DELRULE: u16 = SUBSYSTEM | 8;
    pub const NEWGEN: u16 = SUBSYSTEM | 15;
    pub const GETGEN: u16 = SUBSYSTEM | 16;
}

/// `NFTA_TABLE_*`.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod table {
    pub const NAME: u16 = 1;
    pub const FLAGS: u16 = 2;
    pub const HANDLE: u16 = 4;
    pub const OWNER: u16 = 7;
    /// `NFT_TABLE_F_DORMANT`.
    pub const FLAG_DORMANT: u32 = 1;
}

/// `NFTA_CHAIN_*`, `NFTA_HOOK_*`, `NFTA_COUNTER_*`.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod chain {
    pub const TABLE: u16 = 1;
    pub const HANDLE: u16 = 2;
    pub const NAME: u16 = 3;
    pub const HOOK: u16 = 4;
    pub const POLICY: u16 = 5;
    pub const USE: u16 = 6;
    pub const TYPE: u16 = 7;
    pub const COUNTERS: u16 = 8;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const HOOK_DEVICE: u16 = 3;
    pub const HOOK_DEVICES: u16 = 4;
    /// Among the devices: all whose name begins so (`NFTA_DEVICE_PREFIX`).
    pub const DEVICE_PREFIX: u16 = 2;
}

/// `NFTA_RULE_*`, `NFTA_LIST_ELEM`, `NFTA_EXPR_*`.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod rule {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const HANDLE: u16 = 3;
    pub const EXPRESSIONS: u16 = 4;
    pub const EXPRESSION_NAME: u16 = 1;
    pub const EXPRESSION_DATA: u16 = 2;
}

/// `NFTA_COUNTER_*`, of a counter expression and of a chain policy alike.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod counter {
    pub const BYTES: u16 = 1;
    pub const PACKETS: u16 = 2;
}

/// `NFTA_GEN_*`.
#[allow(missing_docs)] // the names are those of the kernel header
pub mod genid {
    pub const ID: u16 = 1;
    pub const PID: u16 = 2;
    pub const NAME: u16 = 3;
}

/// The tables that iptables-nft reads; every other table of a family is native.
pub const IPTABLES_TABLES: [&[u8]; 5] = [b"filter", b"nat", b"mangle", b"raw", b"security"];

/// The kernel's number of a family (NFPROTO_IPV4, NFPROTO_IPV6).
pub const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// The generation of the namespace's nf_tables ruleset: one number for all families, raised by every
/// committed transaction. Never zero.
pub fn generation(netlink: &mut Netlink, request: &mut Request) -> Result<u32, NetlinkError> {
    let mut found = None;
    request.start(msg::GETGEN, 0, 0);
    netlink.ask("for the generation", request, |message| {
        found = attributes(message.attributes)
            .find(|(kind, _)| *kind == genid::ID)
            .and_then(|(_, value)| be32(value));
    })?;
    found.ok_or(NetlinkError::Malformed {
        what: "for the generation",
        detail: "no generation in it".into(),
    })
}

/// One table, as far as the doors care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// NFPROTO number.
    pub family: u8,
    /// Name bytes.
    pub name: Vec<u8>,
    /// Handle: grows by one for every table made, so a table made anew has another.
    pub handle: u64,
    /// `NFT_TABLE_F_*`.
    pub flags: u32,
    /// Netlink port of the owner.
    pub owner: Option<u32>,
}

/// The tables of `family` (0 for all).
pub fn tables(
    netlink: &mut Netlink,
    request: &mut Request,
    family: u8,
) -> Result<(Vec<TableInfo>, Dump), NetlinkError> {
    let mut found = Vec::new();
    request.start(msg::GETTABLE, NLM_F_DUMP, family);
    let dump = netlink.ask("for the tables", request, |message| {
        if message.kind == msg::NEWTABLE {
            found.push(table_info(&message));
        }
    })?;
    Ok((found, dump))
}

/// Removes a table with all that is in it, unless anything at all changed since `generation`.
pub fn remove_table(
    netlink: &mut Netlink,
    family: u8,
    name: &[u8],
    generation: u32,
) -> Result<(), NetlinkError> {
    let mut request = Request::default();
    request
        .start(msg::DELTABLE, NLM_F_ACK, family)
        .string(table::NAME, name);
    netlink.commit(
        "to remove a table",
        SUBSYSTEM >> 8,
        generation,
        &mut request,
    )
}

fn table_info(message: &Message<'_>) -> TableInfo {
    let mut info = TableInfo {
        family: message.family,
        name: Vec::new(),
        handle: 0,
        flags: 0,
        owner: None,
    };
    for (kind, value) in attributes(message.attributes) {
        match kind {
            table::NAME => info.name = text(value).to_vec(),
            table::HANDLE => info.handle = be64(value).unwrap_or_default(),
            table::FLAGS => info.flags = be32(value).unwrap_or_default(),
            table::OWNER => info.owner = be32(value),
            _ => {}
        }
    }
    info
}

/// Asks for the rules of one chain. A chain that is not there answers as an empty one does.
pub fn rules_of<'r>(
    request: &'r mut Request,
    family: u8,
    table: &[u8],
    chain: &[u8],
) -> &'r mut Request {
    request
        .start(msg::GETRULE, NLM_F_DUMP, family)
        .string(rule::TABLE, table)
        .string(rule::CHAIN, chain)
}

/// What a message's `res_id` holds in that generation (`nft_base_seq_be16`).
pub const fn generation_mark(generation: u32) -> u16 {
    (generation & 0xffff) as u16
}

/// The counter among a rule's expressions; iptables makes one, just before the target.
pub fn counter_of(expressions: &[u8]) -> Option<Counters> {
    /// The name of the expression as it is encoded: its own header, then the word and its NUL.
    const WORD: &[u8] = b"counter\0";
    attributes(expressions).find_map(|(_, expression)| {
        // A look at the bytes first: nine of ten expressions are something else.
        if expression.get(NLA_HEADER_SIZE..NLA_HEADER_SIZE + WORD.len()) != Some(WORD) {
            return None;
        }
        named(expression).map(|(_, data)| counters_in(data))
    })
}

/// Name and data of one expression (`NFTA_EXPR_*`, always in that order from the kernel).
pub fn named(expression: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = attributes(expression);
    let (kind, name) = parts.next()?;
    if kind != rule::EXPRESSION_NAME {
        return None;
    }
    let data = parts
        .next()
        .filter(|(kind, _)| *kind == rule::EXPRESSION_DATA);
    Some((text(name), data.map_or(&[], |(_, data)| data)))
}

/// Reads `NFTA_COUNTER_*`.
pub fn counters_in(encoded: &[u8]) -> Counters {
    let mut found = Counters::default();
    for (kind, value) in attributes(encoded) {
        match kind {
            counter::PACKETS => found.packets = be64(value).unwrap_or_default(),
            counter::BYTES => found.bytes = be64(value).unwrap_or_default(),
            _ => {}
        }
    }
    found
}
