//! The blob that x_tables hands out: one table's entries, end to end.
//!
//! Layouts are those of linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and
//! linux/netfilter/x_tables.h. They are declared here as Rust structures only to let the compiler work
//! out offsets (64-bit counters are aligned differently on 32-bit x86); the bytes themselves are read
//! with bounds checks, never cast, so a blob of any content does no harm and this file needs no `unsafe`.
//!
//! How chains lie in it (net/ipv4/netfilter/ip_tables.c, libiptc): a built-in chain starts at its
//! `hook_entry` and ends with its policy, at `underflow`; a user chain starts with an entry whose target
//! is ERROR and holds the name, and ends with an unconditional RETURN; one more ERROR entry ends it all.

use std::hash::{BuildHasher, Hasher};
use std::mem::{offset_of, size_of};

use crate::ruleset::{Counters, Family};

/// `XT_TABLE_MAXNAMELEN`.
pub const TABLE_NAME: usize = 32;
/// `NF_INET_NUMHOOKS`.
const HOOKS: usize = 5;
/// Names of the hooks' chains, by hook number.
const HOOK_CHAINS: [&[u8]; HOOKS] = [
    b"PREROUTING",
    b"INPUT",
    b"FORWARD",
    b"OUTPUT",
    b"POSTROUTING",
];
/// `XT_ERROR_TARGET`.
const ERROR_TARGET: &[u8] = b"ERROR";

/// `struct xt_counters`.
#[repr(C)]
struct RawCounters {
    packets: u64,
    bytes: u64,
}

/// `struct ipt_entry`; `ip` is `struct ipt_ip`.
#[repr(C)]
struct RawEntry4 {
    ip: [u32; 21],
    nfcache: u32,
    target_offset: u16,
    next_offset: u16,
    comefrom: u32,
    counters: RawCounters,
}

/// `struct ip6t_entry`; `ipv6` is `struct ip6t_ip6` with its padding.
#[repr(C)]
struct RawEntry6 {
    ipv6: [u32; 34],
    nfcache: u32,
    target_offset: u16,
    next_offset: u16,
    comefrom: u32,
    counters: RawCounters,
}

/// `struct ipt_getinfo`, `struct ip6t_getinfo`.
#[repr(C)]
struct RawInfo {
    name: [u8; TABLE_NAME],
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    num_entries: u32,
    size: u32,
}

/// `struct ipt_get_entries`, `struct ip6t_get_entries`, up to the entries.
#[repr(C)]
struct RawGetEntries {
    name: [u8; TABLE_NAME],
    size: u32,
    entrytable: [RawCounters; 0], // aligned as an entry is
}

/// Size of `struct ipt_getinfo`.
pub const INFO_LEN: usize = size_of::<RawInfo>();
/// Size of `struct ipt_get_entries`: where the entries begin.
pub const ENTRIES_AT: usize = size_of::<RawGetEntries>();
/// Where `size` stands in `struct ipt_get_entries`.
pub const ENTRIES_SIZE_AT: usize = offset_of!(RawGetEntries, size);

/// Target header: u16 size, 29 bytes of name, u8 revision.
const TARGET_NAME_AT: usize = 2;
const TARGET_NAME: usize = 29;
/// `struct xt_error_target`: the header, then 30 bytes of name.
const ERROR_NAME_AT: usize = 32;
const ERROR_NAME: usize = 30;

/// Where things stand in an entry of one family.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    target_offset: usize,
    next_offset: usize,
    counters: usize,
    header: usize,
}

impl Layout {
    /// The layout of `family` on this architecture.
    pub const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self {
                target_offset: offset_of!(RawEntry4, target_offset),
                next_offset: offset_of!(RawEntry4, next_offset),
                counters: offset_of!(RawEntry4, counters),
                header: size_of::<RawEntry4>(),
            },
            Family::V6 => Self {
                target_offset: offset_of!(RawEntry6, target_offset),
                next_offset: offset_of!(RawEntry6, next_offset),
                counters: offset_of!(RawEntry6, counters),
                header: size_of::<RawEntry6>(),
            },
        }
    }
}

/// A blob that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The information block is too short.
    #[error("the table's information is {0} bytes long, not {INFO_LEN}")]
    Info(usize),
    /// An entry does not fit in the blob or in itself.
    #[error("the entry at byte {0} runs out of its bounds")]
    Entry(usize),
    /// A hook points between entries, or chains overlap.
    #[error("the chains do not fit the hooks near byte {0}")]
    Hooks(usize),
}

/// What `IPT_SO_GET_INFO` says of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    /// Number of entries, those that are not rules included.
    pub entries: u32,
    /// Bytes of all entries.
    pub size: u32,
}

impl Info {
    /// Reads `struct ipt_getinfo`.
    pub fn parse(raw: &[u8]) -> Result<Self, BlobError> {
        let word = |at: usize| u32_at(raw, at).ok_or(BlobError::Info(raw.len()));
        let words = |at: usize| -> Result<[u32; HOOKS], BlobError> {
            let mut found = [0; HOOKS];
            for (index, place) in found.iter_mut().enumerate() {
                *place = word(at + index * size_of::<u32>())?;
            }
            Ok(found)
        };
        Ok(Self {
            valid_hooks: word(offset_of!(RawInfo, valid_hooks))?,
            hook_entry: words(offset_of!(RawInfo, hook_entry))?,
            underflow: words(offset_of!(RawInfo, underflow))?,
            entries: word(offset_of!(RawInfo, num_entries))?,
            size: word(offset_of!(RawInfo, size))?,
        })
    }

    /// The hook whose chain starts at `offset`.
    fn hook_at(&self, offset: usize) -> Option<usize> {
        (0..HOOKS).find(|hook| {
            self.valid_hooks & (1 << hook) != 0 && self.hook_entry[*hook] as usize == offset
        })
    }
}

/// One chain of a blob, by entry numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobChain {
    /// Name bytes.
    pub name: Vec<u8>,
    /// A built-in chain, whose last entry is its policy.
    pub builtin: bool,
    /// Number of the first rule's entry.
    pub first: usize,
    /// Number of rules; the entry after them is the policy or the closing RETURN.
    pub rules: usize,
}

/// Finds the chains of a blob.
pub fn chains(layout: Layout, info: &Info, blob: &[u8]) -> Result<Vec<BlobChain>, BlobError> {
    let mut found: Vec<BlobChain> = Vec::new();
    let mut open: Option<BlobChain> = None;
    let mut entries = Entries::new(layout, blob);
    let mut number = 0;
    while let Some(entry) = entries.next_entry()? {
        let last = entry.offset + entry.bytes.len() == blob.len();
        let head = match (error_name(layout, &entry), info.hook_at(entry.offset)) {
            (Some(name), None) => Some((name.to_vec(), false, number + 1)),
            (None, Some(hook)) => Some((HOOK_CHAINS[hook].to_vec(), true, number)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(BlobError::Hooks(entry.offset)),
        };
        if let Some((name, builtin, first)) = head {
            if let Some(chain) = open.take() {
                found.push(closed(chain, number, entry.offset)?);
            }
            // The entry that ends it all is an ERROR by that name.
            if last && (builtin || name != ERROR_TARGET) {
                return Err(BlobError::Hooks(entry.offset));
            }
            open = (!last).then_some(BlobChain {
                name,
                builtin,
                first,
                rules: 0,
            });
        } else if last || open.is_none() {
            return Err(BlobError::Hooks(entry.offset));
        }
        number += 1;
    }
    let builtin = found.iter().filter(|chain| chain.builtin).count();
    let whole =
        number == info.entries as usize && builtin == info.valid_hooks.count_ones() as usize;
    if whole {
        Ok(found)
    } else {
        Err(BlobError::Hooks(blob.len()))
    }
}

/// A chain that ends before entry `number`: its last entry is no rule.
fn closed(mut chain: BlobChain, number: usize, offset: usize) -> Result<BlobChain, BlobError> {
    chain.rules = number
        .checked_sub(chain.first + 1)
        .ok_or(BlobError::Hooks(offset))?;
    Ok(chain)
}

/// Copies every entry's counters to `counters` (cleared first) and returns the hash of all else, which is
/// the generation of the table. The hash is one of this process: `state` is made once.
pub fn read(
    layout: Layout,
    blob: &[u8],
    state: &foldhash::fast::FixedState,
    counters: &mut Vec<Counters>,
) -> Result<u64, BlobError> {
    counters.clear();
    let mut hasher = state.build_hasher();
    let mut entries = Entries::new(layout, blob);
    while let Some(entry) = entries.next_entry()? {
        let (before, rest) = entry.bytes.split_at(layout.counters);
        let (numbers, after) = rest.split_at(size_of::<RawCounters>());
        hasher.write(before);
        hasher.write(after);
        counters.push(Counters {
            packets: u64_at(numbers, offset_of!(RawCounters, packets)).unwrap_or_default(),
            bytes: u64_at(numbers, offset_of!(RawCounters, bytes)).unwrap_or_default(),
        });
    }
    Ok(hasher.finish())
}

struct Entry<'a> {
    offset: usize,
    /// The whole entry; at least a header long.
    bytes: &'a [u8],
}

struct Entries<'a> {
    layout: Layout,
    blob: &'a [u8],
    offset: usize,
}

impl<'a> Entries<'a> {
    fn new(layout: Layout, blob: &'a [u8]) -> Self {
        Self {
            layout,
            blob,
            offset: 0,
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry<'a>>, BlobError> {
        let offset = self.offset;
        let rest = self.blob.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let length = u16_at(rest, self.layout.next_offset).map_or(0, usize::from);
        if length < self.layout.header {
            return Err(BlobError::Entry(offset));
        }
        let bytes = rest.get(..length).ok_or(BlobError::Entry(offset))?;
        self.offset = offset + length;
        Ok(Some(Entry { offset, bytes }))
    }
}

/// The name in an entry whose target is ERROR.
fn error_name<'a>(layout: Layout, entry: &Entry<'a>) -> Option<&'a [u8]> {
    let at = usize::from(u16_at(entry.bytes, layout.target_offset)?);
    let target = entry.bytes.get(at.max(layout.header)..)?;
    let name = target.get(TARGET_NAME_AT..TARGET_NAME_AT + TARGET_NAME)?;
    if until_nul(name) != ERROR_TARGET {
        return None;
    }
    target
        .get(ERROR_NAME_AT..ERROR_NAME_AT + ERROR_NAME)
        .map(until_nul)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    super::super::netlink::text(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
