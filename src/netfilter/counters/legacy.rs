//! Counters of x_tables, by `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`.
//!
//! The kernel hands out a whole table or nothing, so one look reads every chain of a table. What it hands
//! out is structure and numbers in one piece: the hash of the structure is the generation, and numbers
//! are taken only when it is the one that was attached.
//!
//! Two getsockopt calls have no wrapper in nix and take raw kernel structures, hence the `unsafe` in this
//! file; the bytes that come back are read by [`blob`], bounds-checked.
//!
//! A datagram socket, not libiptc's raw one: the option is found by address family and level alone
//! (net/netfilter/nf_sockopt.c), and this one needs CAP_NET_ADMIN only. Asking for a table that does not
//! exist would create it, so only tables are asked for that the saved ruleset has.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::blob::{self, ENTRIES_AT, ENTRIES_SIZE_AT, INFO_LEN, Info, Layout, TABLE_NAME};
use super::{Attached, CounterDoor, CounterError, Look, Looked, Mark, Uncounted, replace};
use crate::netfilter::xtables::presence;
use crate::ruleset::{ChainIdx, CounterSet, Counters, Family, RuleIdx, Ruleset, TableIdx};

/// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO`: `IPT_BASE_CTL`.
const SO_GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, `IP6T_SO_GET_ENTRIES`.
const SO_GET_ENTRIES: libc::c_int = 65;
/// A table may change between asking its size and reading it (EAGAIN); a writer in a loop must not hold
/// us for ever.
const TRIES: u32 = 8;

/// The x_tables counters of one family.
#[derive(Debug)]
pub struct LegacyDoor {
    family: Family,
    layout: Layout,
    socket: OwnedFd,
    hashing: foldhash::fast::FixedState,
    buffer: Vec<u8>,
    scratch: Vec<Counters>,
    ruleset: Option<Arc<Ruleset>>,
    tables: Vec<Table>,
    /// Which of `tables` holds a chain of the ruleset.
    table_of_chain: Vec<Option<u32>>,
}

/// One table of the attached ruleset.
#[derive(Debug)]
struct Table {
    name: [u8; TABLE_NAME],
    hash: u64,
    spans: Vec<Span>,
}

/// One chain of the table: which entries hold its rules.
#[derive(Clone, Copy, Debug)]
struct Span {
    chain: ChainIdx,
    first_entry: usize,
    builtin: bool,
    /// The blob's chain has as many rules as the text's.
    fits: bool,
}

impl LegacyDoor {
    /// Opens the door in the calling thread's network namespace.
    pub fn open(family: Family) -> Result<Self, CounterError> {
        let domain = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let socket = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|errno| failed("a legacy table", errno.into()))?;
        Ok(Self {
            family,
            layout: Layout::of(family),
            socket,
            hashing: foldhash::fast::FixedState::default(),
            buffer: Vec::new(),
            scratch: Vec::new(),
            ruleset: None,
            tables: Vec::new(),
            table_of_chain: Vec::new(),
        })
    }

    /// Reads a table: its blob to `buffer`, its counters to `scratch`.
    fn fetch(&mut self, name: &[u8; TABLE_NAME]) -> Result<(Info, u64), CounterError> {
        for _ in 0..TRIES {
            let info = self.info(name)?;
            match self.entries(name, info.size) {
                Ok(()) => {
                    let hash = blob::read(
                        self.layout,
                        entries_in(&self.buffer),
                        &self.hashing,
                        &mut self.scratch,
                    )
                    .map_err(|error| malformed(name, error))?;
                    return Ok((info, hash));
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) => return Err(failed("a legacy table", error)),
            }
        }
        Err(CounterError::Unsettled { tries: TRIES })
    }

    fn info(&self, name: &[u8; TABLE_NAME]) -> Result<Info, CounterError> {
        let mut raw = [0; INFO_LEN];
        raw[..TABLE_NAME].copy_from_slice(name);
        self.getsockopt(SO_GET_INFO, &mut raw)
            .map_err(|error| failed("a legacy table", error))?;
        Info::parse(&raw).map_err(|error| malformed(name, error))
    }

    fn entries(&mut self, name: &[u8; TABLE_NAME], size: u32) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        // The kernel leaves gaps: it copies names of matches and targets up to their NUL only
        // (net/netfilter/x_tables.c, `xt_obj_to_user`). What stood there before must not count.
        buffer.clear();
        buffer.resize(ENTRIES_AT + size as usize, 0);
        buffer[..TABLE_NAME].copy_from_slice(name);
        buffer[ENTRIES_SIZE_AT..ENTRIES_SIZE_AT + size_of::<u32>()]
            .copy_from_slice(&size.to_ne_bytes());
        let result = self.getsockopt(SO_GET_ENTRIES, &mut buffer);
        self.buffer = buffer;
        result
    }

    #[allow(unsafe_code)] // no wrapper in nix for x_tables' socket options
    fn getsockopt(&self, option: libc::c_int, value: &mut [u8]) -> io::Result<()> {
        let level = match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        };
        let mut length = libc::socklen_t::try_from(value.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
        // SAFETY: `value` is writable for `length` bytes and `length` for the call; the kernel reads the
        // table name and size from the front of `value` and writes at most `length` bytes back.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                value.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn attach_table(
        &mut self,
        ruleset: &Ruleset,
        table: TableIdx,
        misfits: &mut Vec<ChainIdx>,
    ) -> Result<u64, CounterError> {
        let name = table_name(ruleset.table(table).name().as_bytes());
        let (info, hash) = self.fetch(&name)?;
        let chains = blob::chains(self.layout, &info, entries_in(&self.buffer))
            .map_err(|error| malformed(&name, error))?;
        let index = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
        let mut spans = Vec::with_capacity(chains.len());
        for found in &chains {
            // A chain that the text lacks is one that nobody asks for.
            let Some(chain) = ruleset.chain_named(table, &found.name) else {
                continue;
            };
            let fits = ruleset.chain(chain).rules().len() == found.rules;
            if !fits {
                misfits.push(chain);
            }
            if let Some(place) = self.table_of_chain.get_mut(chain.0 as usize) {
                *place = Some(index);
            }
            spans.push(Span {
                chain,
                first_entry: found.first,
                builtin: found.builtin,
                fits,
            });
        }
        self.tables.push(Table { name, hash, spans });
        Ok(marked(&name, hash))
    }
}

impl Table {
    /// Takes the numbers of every chain from `scratch`, which has one per entry.
    fn take(
        &self,
        ruleset: &Ruleset,
        scratch: &[Counters],
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) {
        for span in &self.spans {
            let look = if span.fits {
                let entries = scratch.get(span.first_entry..).unwrap_or_default();
                span.take(entries, ruleset.chain(span.chain).rules(), counters)
            } else {
                Look::OutOfStep
            };
            looked.push(Looked {
                chain: span.chain,
                look,
            });
        }
    }
}

impl Span {
    /// `entries` start at the chain's first rule.
    fn take(&self, entries: &[Counters], rules: &[RuleIdx], counters: &mut CounterSet) -> Look {
        let mut changed = false;
        for (rule, read) in rules.iter().zip(entries) {
            changed |= replace(counters.rules.get_mut(rule.0 as usize), *read);
        }
        if self.builtin
            && let Some(policy) = entries.get(rules.len())
        {
            changed |= replace(counters.policies.get_mut(self.chain.0 as usize), *policy);
        }
        if changed { Look::Changed } else { Look::Same }
    }
}

impl CounterDoor for LegacyDoor {
    fn mark(&mut self) -> Result<Mark, CounterError> {
        let mut mark = 0u64;
        for table in presence::legacy_tables(self.family)? {
            let name = table_name(table.as_bytes());
            let (_, hash) = self.fetch(&name)?;
            mark = mark.wrapping_add(marked(&name, hash));
        }
        Ok(Mark(mark))
    }

    fn attach(&mut self, ruleset: &Arc<Ruleset>) -> Result<Attached, CounterError> {
        self.tables.clear();
        self.table_of_chain.clear();
        self.table_of_chain.resize(ruleset.chains().len(), None);
        self.ruleset = Some(Arc::clone(ruleset));
        let mut mark = 0u64;
        let mut misfits = Vec::new();
        for index in 0..ruleset.tables().len() {
            let table = TableIdx(u32::try_from(index).unwrap_or(u32::MAX));
            mark = mark.wrapping_add(self.attach_table(ruleset, table, &mut misfits)?);
        }
        Ok(Attached {
            mark: Mark(mark),
            handles: None,
            uncounted: Uncounted::default(),
            lossy: Vec::new(),
            misfits,
        })
    }

    fn read(
        &mut self,
        chain: ChainIdx,
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError> {
        let index = self.table_of_chain.get(chain.0 as usize).copied().flatten();
        let known = index.and_then(|index| {
            let table = self.tables.get(index as usize)?;
            Some((index as usize, table.name, table.hash))
        });
        let Some((index, name, hash)) = known else {
            looked.push(Looked {
                chain,
                look: Look::OutOfStep,
            });
            return Ok(());
        };
        let (_, found) = self.fetch(&name)?;
        let (Some(table), Some(ruleset)) = (self.tables.get(index), &self.ruleset) else {
            return Ok(());
        };
        if found == hash {
            table.take(ruleset, &self.scratch, counters, looked);
        } else {
            looked.extend(table.spans.iter().map(|span| Looked {
                chain: span.chain,
                look: Look::OutOfStep,
            }));
        }
        Ok(())
    }
}

/// A table's share of the mark of its family: whatever the order of the tables, the sum is the same.
fn marked(name: &[u8; TABLE_NAME], hash: u64) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(name);
    hasher.write_u64(hash);
    hasher.finish()
}

fn table_name(name: &[u8]) -> [u8; TABLE_NAME] {
    let mut field = [0; TABLE_NAME];
    let length = name.len().min(TABLE_NAME - 1); // NUL closed
    field[..length].copy_from_slice(&name[..length]);
    field
}

fn entries_in(buffer: &[u8]) -> &[u8] {
    buffer.get(ENTRIES_AT..).unwrap_or_default()
}

fn failed(what: &'static str, source: io::Error) -> CounterError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => CounterError::Permission { what },
        _ => CounterError::Io { what, source },
    }
}

fn malformed(name: &[u8; TABLE_NAME], error: blob::BlobError) -> CounterError {
    CounterError::Malformed {
        table: String::from_utf8_lossy(crate::netfilter::netlink::text(name)).into_owned(),
        detail: error.to_string(),
    }
}
