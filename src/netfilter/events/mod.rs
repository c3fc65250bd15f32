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

mod author;
mod changes;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use author::{author_in, newest, resolve};
pub use changes::{ChainName, Changes, Touch};

use super::netlink::NetlinkError;
use super::nftables::{self, msg};
use crate::ruleset::Author;

const NLMSG_HDRLEN: usize = 16;
const NFGENMSG_LEN: usize = 4;
/// Larger than any datagram of the group: the kernel batches up to a page or two of messages.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// What a burst of changes may take up before it counts as missed; the usual 208 kB hold some 700 rules.
const SOCKET_BUFFER: usize = 1 << 20;

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
