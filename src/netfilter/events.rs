//! Who changed the nf_tables ruleset, and what the change touched.
//!
//! The kernel multicasts every committed change: first the objects, then one NEWGEN with the new
//! generation and the pid and name of the process that made it. Two sockets listen. One takes NEWGEN only,
//! by a socket filter, so that the name survives a restore of 100,000 rules; the other takes everything,
//! and when it overflows, "everything may have changed" is the right answer. Reading all of it costs at
//! most a socket buffer per change.
//!
//! x_tables has no such events: there the hash of the blob is what tells.
//!
//! A socket filter has no wrapper in nix, hence the `unsafe` in this file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use super::netlink::{NetlinkError, attributes, be32, text};
use super::nftables::{self, IPTABLES_TABLES, chain, genid, msg, rule};
use crate::ruleset::{Author, Family};

const NLMSG_HDRLEN: usize = 16;
const NFGENMSG_LEN: usize = 4;
/// Larger than any datagram of the group: the kernel batches up to a page or two of messages.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// What a burst of changes may take up before it counts as missed; the usual 208 kB hold some 700 rules.
const SOCKET_BUFFER: usize = 1 << 20;
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`.
const TABLE: u16 = 1;

/// A chain of one family, by the names that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName {
    /// Its table.
    pub table: Vec<u8>,
    /// Itself.
    pub chain: Vec<u8>,
}

/// How far a change reaches into what iptables shows of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Not at all.
    #[default]
    Nothing,
    /// The structure changed. Rules outside these chains are what they were; inside, not even a handle
    /// proves anything: a replaced rule keeps the handle of the old one.
    Chains(BTreeSet<ChainName>),
    /// A whole table went, or events were lost: nothing is proved.
    Everything,
}

impl Touch {
    /// More chains than this are as good as all of them.
    const MOST: usize = 4096;

    /// Both changes together.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Nothing) | (Self::Everything, _) => {}
            (Self::Chains(chains), Self::Chains(more)) => chains.extend(more),
            (_, other) => *self = other,
        }
        if matches!(self, Self::Chains(chains) if chains.len() > Self::MOST) {
            *self = Self::Everything;
        }
    }
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The last change's generation and author; `None` when nothing arrived, or its word was lost.
    pub author: Option<Author>,
    /// IPv4 iptables tables.
    pub v4: Touch,
    /// IPv6 iptables tables.
    pub v6: Touch,
    /// Tables or chains that iptables does not own.
    pub native: bool,
    /// Events were lost (the receive buffer overflowed): everything may have changed, by several authors.
    pub missed: bool,
}

impl Changes {
    /// Everything may have changed, nobody knows how.
    pub const fn unknown() -> Self {
        Self {
            author: None,
            v4: Touch::Everything,
            v6: Touch::Everything,
            native: true,
            missed: true,
        }
    }

    /// Nothing arrived.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How far it reaches into one family.
    pub const fn touch(&self, family: Family) -> &Touch {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn add(&mut self, other: Self) {
        self.v4.add(other.v4);
        self.v6.add(other.v6);
        self.native |= other.native;
        self.missed |= other.missed;
    }

    fn note(&mut self, kind: u16, family: u8, encoded: &[u8]) {
        let name_kind = match kind {
            msg::NEWTABLE | msg::DELTABLE => None,
            msg::NEWCHAIN | msg::DELCHAIN => Some(chain::NAME),
            msg::NEWRULE | msg::DELRULE => Some(rule::CHAIN),
            _ => return, // sets, objects, flow tables: no text and no base chain is other for them
        };
        // A foreign base chain may stand in an iptables table.
        self.native |= name_kind != Some(rule::CHAIN);
        let find = |wanted| attributes(encoded).find(|(kind, _)| *kind == wanted);
        let name = |wanted| find(wanted).map_or(&[][..], |(_, value)| text(value));
        let table = name(TABLE);
        let place = match family {
            _ if !IPTABLES_TABLES.contains(&table) => None,
            2 => Some(&mut self.v4),
            10 => Some(&mut self.v6),
            _ => None,
        };
        let Some(place) = place else {
            self.native = true;
            return;
        };
        place.add(match name_kind {
            None if kind == msg::DELTABLE => Touch::Everything,
            None => Touch::Chains(BTreeSet::new()),
            Some(wanted) => Touch::Chains(BTreeSet::from([ChainName {
                table: table.to_vec(),
                chain: name(wanted).to_vec(),
            }])),
        });
    }
}

/// The two listening sockets.
#[derive(Debug)]
pub struct Listener {
    authors: Socket,
    all: Socket,
    buffer: Vec<u8>,
    /// Objects of a change whose generation has not arrived yet.
    pending: Changes,
}

impl Listener {
    /// Listens in the calling thread's network namespace. Needs CAP_NET_ADMIN there (the group is not
    /// open to everybody), and makes the kernel load nf_tables: ask
    /// [`nf_tables_is_loaded`](super::xtables::presence::nf_tables_is_loaded) first.
    pub fn open() -> Result<Self, NetlinkError> {
        let authors = listening(Some(msg::NEWGEN)).map_err(NetlinkError::Open)?;
        let all = listening(None).map_err(NetlinkError::Open)?;
        Ok(Self {
            authors,
            all,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
            pending: Changes::default(),
        })
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.authors.as_fd()
    }

    /// Takes every complete change that has arrived, without waiting.
    pub fn drain(&mut self) -> Result<Changes, NetlinkError> {
        let mut changes = Changes::default();
        let mut author: Option<Author> = None;
        drain(&self.authors, &mut self.buffer, |message| match message {
            Some((_, _, encoded)) => newest(&mut author, author_in(encoded)),
            None => changes.add(Changes::unknown()),
        })?;
        // The kernel sends a change's objects before its generation, to both sockets: what follows the
        // last generation here belongs to a change that is not announced yet.
        let pending = &mut self.pending;
        drain(&self.all, &mut self.buffer, |message| match message {
            Some((msg::NEWGEN, _, encoded)) => {
                newest(&mut author, author_in(encoded));
                changes.add(std::mem::take(pending));
            }
            Some((kind, family, encoded)) => pending.note(kind, family, encoded),
            None => {
                *pending = Changes::default();
                changes.add(Changes::unknown());
            }
        })?;
        changes.author = author.map(resolve);
        Ok(changes)
    }
}

/// Keeps the author of the later generation; generations wrap around.
fn newest(kept: &mut Option<Author>, found: Option<Author>) {
    let later = match (&kept, &found) {
        (Some(kept), Some(found)) => {
            found.generation.wrapping_sub(kept.generation).cast_signed() > 0
        }
        (_, found) => found.is_some(),
    };
    if later {
        *kept = found;
    }
}

/// A socket in the group, taking only messages of one kind when told so.
fn listening(only: Option<u16>) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    if let Some(kind) = only {
        take_only(&socket, kind)?;
    }
    // Refused where CAP_NET_ADMIN is of a user namespace: then the usual size does.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER);
    socket.set_non_blocking(true)?;
    socket.add_membership(nftables::GROUP)?;
    Ok(socket)
}

/// Drops every datagram whose first message is not of `kind`, in the kernel.
#[allow(unsafe_code)] // SO_ATTACH_FILTER has no wrapper in nix
fn take_only(socket: &Socket, kind: u16) -> io::Result<()> {
    const TYPE_AT: u32 = 4; // nlmsg_type, host order: compared bytewise
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset);
    let skip_unless = |value: u8, skip| {
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        instruction(code, 0, skip, u32::from(value))
    };
    let give = |bytes| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes);
    let [first, second] = kind.to_ne_bytes();
    let mut program = [
        load(TYPE_AT),
        skip_unless(first, 3),
        load(TYPE_AT + 1),
        skip_unless(second, 1),
        give(u32::MAX),
        give(0),
    ];
    let filter = libc::sock_fprog {
        len: 6,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` and the program that it points to live until the call returns; the kernel copies
    // and checks them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or_default(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    }
}

/// Hands every pending message to `visit` as (type, family, attributes); `None` for an overflow.
fn drain(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    mut visit: impl FnMut(Option<(u16, u8, &[u8])>),
) -> Result<(), NetlinkError> {
    loop {
        buffer.clear();
        match socket.recv(buffer, 0) {
            Ok(_) => walk(buffer, &mut |kind, family, encoded| {
                visit(Some((kind, family, encoded)));
            }),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(()),
                Some(libc::ENOBUFS) => visit(None),
                Some(libc::EINTR) => {}
                _ => {
                    return Err(NetlinkError::Io {
                        what: "listening for changes",
                        source: error,
                    });
                }
            },
        }
    }
}

fn walk(mut datagram: &[u8], visit: &mut impl FnMut(u16, u8, &[u8])) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        let length = message.length() as usize;
        let payload = datagram.get(NLMSG_HDRLEN..length).unwrap_or_default();
        if let Some((header, encoded)) = payload.split_first_chunk::<NFGENMSG_LEN>() {
            visit(message.message_type(), header[0], encoded);
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
}

fn author_in(encoded: &[u8]) -> Option<Author> {
    let mut author = Author {
        generation: 0,
        pid: 0,
        name: String::new(),
        cmdline: None,
        parent: None,
    };
    for (kind, value) in attributes(encoded) {
        match kind {
            genid::ID => author.generation = be32(value)?,
            genid::PID => author.pid = be32(value)?,
            genid::NAME => author.name = String::from_utf8_lossy(text(value)).into_owned(),
            _ => {}
        }
    }
    (author.generation != 0).then_some(author)
}

/// Adds what /proc still knows. The name is the proof that it is the same process: a pid may have been
/// given to another one since, or be one of another pid namespace.
fn resolve(mut author: Author) -> Author {
    let comm = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim_end_matches('\n').to_owned())
    };
    if author.pid == 0 || comm(author.pid).as_deref() != Some(author.name.as_str()) {
        return author;
    }
    author.cmdline = fs::read(format!("/proc/{}/cmdline", author.pid))
        .ok()
        .map(|raw| command_line(&raw))
        .filter(|line| !line.is_empty());
    author.parent = fs::read_to_string(format!("/proc/{}/status", author.pid))
        .ok()
        .and_then(|status| parent_in(&status))
        .and_then(|pid| Some((pid, comm(pid)?)));
    author
}

fn command_line(raw: &[u8]) -> String {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    String::from_utf8_lossy(raw).replace('\0', " ")
}

/// `PPid:` of proc_pid_status(5); 0 is no process that we can see.
fn parent_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn of_chain(table: &[u8], kind: u16, chain: &[u8]) -> Vec<u8> {
        [attribute(TABLE, table), attribute(kind, chain)].concat()
    }

    fn chains(names: &[&str]) -> Touch {
        Touch::Chains(
            names
                .iter()
                .map(|name| ChainName {
                    table: b"filter".to_vec(),
                    chain: name.as_bytes().to_vec(),
                })
                .collect(),
        )
    }

    #[test]
    fn a_change_is_sorted_by_family_table_and_chain() {
        let input = of_chain(b"filter\0", rule::CHAIN, b"INPUT\0");
        let web = of_chain(b"filter\0", chain::NAME, b"web\0");
        let mut changes = Changes::default();
        changes.note(msg::NEWRULE, 2, &input);
        assert_eq!(changes.v4, chains(&["INPUT"]));
        assert_eq!((&changes.v6, changes.native), (&Touch::Nothing, false));
        changes.note(msg::DELCHAIN, 2, &web);
        assert_eq!(changes.v4, chains(&["INPUT", "web"]));
        changes.note(msg::NEWTABLE, 10, &input);
        assert_eq!(
            changes.v6,
            chains(&[]),
            "no chain of before is another for it"
        );
        changes.note(msg::DELTABLE, 10, &input);
        changes.note(msg::NEWRULE, 10, &input);
        assert_eq!(changes.v6, Touch::Everything, "the stronger one stays");
    }

    #[test]
    fn what_iptables_does_not_own_is_native() {
        let own = of_chain(b"filter\0", rule::CHAIN, b"INPUT\0");
        let foreign = of_chain(b"f2b-table\0", rule::CHAIN, b"INPUT\0");
        for (family, message) in [(1, &own), (2, &foreign), (10, &foreign)] {
            let mut changes = Changes::default();
            changes.note(msg::NEWRULE, family, message);
            assert!(changes.native, "family {family}");
            assert_eq!((changes.v4, changes.v6), (Touch::Nothing, Touch::Nothing));
        }
    }

    #[test]
    fn very_many_chains_are_everything() {
        let mut touch = Touch::Nothing;
        for number in 0..=Touch::MOST {
            touch.add(chains(&[&number.to_string()]));
        }
        assert_eq!(touch, Touch::Everything);
    }

    #[test]
    fn elements_of_sets_touch_nothing() {
        const NEWSETELEM: u16 = nftables::SUBSYSTEM | 0xc;
        let mut changes = Changes::default();
        changes.note(NEWSETELEM, 2, &attribute(TABLE, b"filter\0"));
        assert!(changes.is_empty());
    }

    #[test]
    fn an_author_needs_a_generation() {
        let mut message = attribute(genid::ID, &7u32.to_be_bytes());
        message.extend(attribute(genid::PID, &1660u32.to_be_bytes()));
        message.extend(attribute(genid::NAME, b"iptables\0"));
        let author = author_in(&message).unwrap();
        assert_eq!(
            (author.generation, author.pid, author.name.as_str()),
            (7, 1660, "iptables")
        );
        assert_eq!(author_in(&attribute(genid::PID, &1u32.to_be_bytes())), None);
        assert_eq!(author_in(&message[..6]), None);
    }

    #[test]
    fn proc_texts() {
        assert_eq!(command_line(b"iptables\0-A\0INPUT\0"), "iptables -A INPUT");
        assert_eq!(command_line(b""), "");
        assert_eq!(parent_in("Name:\tsh\nPPid:\t42\n"), Some(42));
        assert_eq!(parent_in("PPid:\t0\n"), None);
        assert_eq!(parent_in("PPid: x"), None);
    }
}
