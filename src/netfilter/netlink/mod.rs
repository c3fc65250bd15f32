//! A netlink socket that asks the netfilter subsystem and walks what comes back.
//!
//! It knows requests, dumps, acknowledgements and attributes, and nothing about what they mean. Answers
//! are walked in the receive buffer: a visitor gets slices of it, so a dump of 100,000 rules allocates
//! nothing. Framing is `netlink-packet-core`'s, the socket is `netlink-sys`'s.
//!
//! Not for multicast: a socket that both asks and listens loses answers when events overflow it, so
//! [`events`](super::events) opens its own.

mod attributes;
mod request;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

pub use attributes::{Attributes, attributes, be32, be64, text};
use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
pub use request::Request;

/// Length of `struct nlmsghdr` (linux/netlink.h).
const NLMSG_HDRLEN: usize = 16;
/// Length of `struct nfgenmsg` (linux/netfilter/nfnetlink.h).
const NFGENMSG_LEN: usize = 4;
/// `NLM_F_DUMP_INTR`: the dump was resumed after a change, its parts do not belong together.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
/// Edges of a transaction and its generation (linux/netfilter/nfnetlink.h, `NFNL_MSG_BATCH_*`,
/// `NFNL_BATCH_GENID`).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_GENID: u16 = 1;
const NLMSG_DONE: u16 = 3;
/// The kernel fills dump messages up to 32 KiB when the reader's buffer has room
/// (net/netlink/af_netlink.c, `netlink_dump`).
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The kernel answers within the call; a wait this long means that it never will.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What can go wrong between asking and having an answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket: no netfilter netlink in this kernel, or no permission.
    #[error("cannot open a netfilter netlink socket: {0}")]
    Open(#[source] io::Error),
    /// The request could not be sent or the answer not received.
    #[error("netlink {what}: {source}")]
    Io {
        /// What was being asked.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("the kernel refused {what}: {source}")]
    Refused {
        /// What was being asked.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The answer is cut short or does not parse.
    #[error("the kernel's answer to {what} cannot be read: {detail}")]
    Malformed {
        /// What was being asked.
        what: &'static str,
        /// What was wrong with it.
        detail: String,
    },
}

impl NetlinkError {
    /// Whether the object asked about is not there (ENOENT).
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(nix::libc::ENOENT)
    }

    /// Whether the kernel has no such subsystem: nf_tables not built in and its module not there.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.errno(),
            Some(nix::libc::EINVAL | nix::libc::EOPNOTSUPP | nix::libc::EPROTONOSUPPORT)
        )
    }

    /// Whether privilege (CAP_NET_ADMIN) is what lacks.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(nix::libc::EPERM | nix::libc::EACCES))
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source) | Self::Io { source, .. } | Self::Refused { source, .. } => {
                source.raw_os_error()
            }
            Self::Malformed { .. } => None,
        }
    }
}

/// Whether a dump can be believed as one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// All parts belong together.
    Whole,
    /// The kernel said that something changed between the parts: ask again.
    Interrupted,
}

/// One message of an answer, borrowed from the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`: subsystem in the high byte, message in the low one.
    pub kind: u16,
    /// `nfgen_family`.
    pub family: u8,
    /// `res_id`, host order: nf_tables puts the low 16 bits of the generation here.
    pub res_id: u16,
    /// The attributes, still encoded.
    pub attributes: &'a [u8],
}

/// A connected NETLINK_NETFILTER socket of the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Opens the socket. Needs no privilege; asking nf_tables does (CAP_NET_ADMIN in the namespace's
    /// user namespace).
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(NetlinkError::Open)?;
        socket.bind_auto().map_err(NetlinkError::Open)?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(NetlinkError::Open)?;
        let patience = TimeVal::seconds(i64::try_from(ANSWER_WITHIN.as_secs()).unwrap_or(10));
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)
            .map_err(|errno| NetlinkError::Open(errno.into()))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
            sequence: 0,
        })
    }

    /// Sends `request` and hands every message of the answer to `visit`, until the answer is complete:
    /// the end of a dump, or the single message of a plain request. `what` names it in errors.
    pub fn ask(
        &mut self,
        what: &'static str,
        request: &mut Request,
        mut visit: impl FnMut(Message<'_>),
    ) -> Result<Dump, NetlinkError> {
        let io_error = |source| NetlinkError::Io { what, source };
        self.sequence = self.sequence.wrapping_add(1);
        let dump = request.is_dump();
        let bytes = request.finish(self.sequence);
        self.socket.send(bytes, 0).map_err(io_error)?;
        let mut verdict = Dump::Whole;
        loop {
            self.receive().map_err(io_error)?;
            match walk(what, &self.buffer, self.sequence, dump, &mut visit)? {
                Walked::More(Dump::Interrupted) => verdict = Dump::Interrupted,
                Walked::More(Dump::Whole) => {}
                Walked::End(Dump::Interrupted) => return Ok(Dump::Interrupted),
                Walked::End(Dump::Whole) => return Ok(verdict),
            }
        }
    }

    /// Carries out one change as a transaction of `subsystem` (NFNL_SUBSYS_*), which the kernel refuses when
    /// the generation is no longer this one (ERESTART). `change` is started with `NLM_F_ACK`.
    pub fn commit(
        &mut self,
        what: &'static str,
        subsystem: u16,
        generation: u32,
        change: &mut Request,
    ) -> Result<(), NetlinkError> {
        let io_error = |source| NetlinkError::Io { what, source };
        self.sequence = self.sequence.wrapping_add(1);
        let mut batch = Request::default()
            .edge(BATCH_BEGIN, subsystem)
            .be32(BATCH_GENID, generation)
            .finish(self.sequence)
            .to_vec();
        batch.extend_from_slice(change.finish(self.sequence));
        batch.extend_from_slice(
            Request::default()
                .edge(BATCH_END, subsystem)
                .finish(self.sequence),
        );
        self.socket.send(&batch, 0).map_err(io_error)?;
        loop {
            self.receive().map_err(io_error)?;
            let ended = walk(what, &self.buffer, self.sequence, false, &mut |_| {})?;
            if matches!(ended, Walked::End(_)) {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Walked {
    More(Dump),
    End(Dump),
}

/// Walks one datagram. Messages of an older question (one that was given up on) are passed over.
fn walk(
    what: &'static str,
    datagram: &[u8],
    sequence: u32,
    dump: bool,
    visit: &mut impl FnMut(Message<'_>),
) -> Result<Walked, NetlinkError> {
    let mut verdict = Dump::Whole;
    let mut rest = datagram;
    while !rest.is_empty() {
        let message =
            NetlinkBuffer::new_checked(rest).map_err(|error| NetlinkError::Malformed {
                what,
                detail: error.to_string(),
            })?;
        let length = message.length() as usize;
        let payload = rest.get(NLMSG_HDRLEN..length).unwrap_or_default();
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        if message.sequence_number() != sequence {
            continue;
        }
        if message.flags() & NLM_F_DUMP_INTR != 0 {
            verdict = Dump::Interrupted;
        }
        match message.message_type() {
            NLMSG_DONE | NLMSG_ERROR => {
                refusal(what, payload)?;
                return Ok(Walked::End(verdict));
            }
            kind => {
                let Some((header, attributes)) = payload.split_first_chunk::<NFGENMSG_LEN>() else {
                    return Err(NetlinkError::Malformed {
                        what,
                        detail: format!("a message of {} bytes", payload.len()),
                    });
                };
                visit(Message {
                    kind,
                    family: header[0],
                    res_id: u16::from_be_bytes([header[2], header[3]]),
                    attributes,
                });
                if !dump {
                    return Ok(Walked::End(verdict));
                }
            }
        }
    }
    Ok(Walked::More(verdict))
}

/// The error number that opens an NLMSG_ERROR or NLMSG_DONE payload; zero is success. EINTR in DONE is
/// how some kernels say "interrupted".
fn refusal(what: &'static str, payload: &[u8]) -> Result<(), NetlinkError> {
    let code = payload
        .first_chunk::<4>()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 {
        return Ok(());
    }
    Err(NetlinkError::Refused {
        what,
        source: io::Error::from_raw_os_error(code.saturating_neg()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_of_another_question_are_passed_over() {
        let mut request = Request::default();
        let mut datagram = request.start(7, 0, 2).finish(1).to_vec();
        datagram.extend_from_slice(request.start(8, 0, 2).finish(2));
        let mut kinds = Vec::new();
        let walked = walk("", &datagram, 2, true, &mut |message| {
            kinds.push(message.kind);
        })
        .unwrap();
        assert_eq!(kinds, [8]);
        assert_eq!(walked, Walked::More(Dump::Whole));
    }

    #[test]
    fn the_ends_of_an_answer() {
        let end = |kind: u16, flags: u16, code: i32| {
            let mut bytes = vec![0; NLMSG_HDRLEN];
            let mut header = NetlinkBuffer::new(&mut bytes);
            header.set_length(20);
            header.set_message_type(kind);
            header.set_flags(flags);
            bytes.extend_from_slice(&code.to_ne_bytes());
            walk("for it", &bytes, 0, true, &mut |_| {})
        };
        assert_eq!(end(NLMSG_DONE, 0, 0).unwrap(), Walked::End(Dump::Whole));
        let interrupted = end(NLMSG_DONE, NLM_F_DUMP_INTR, 0).unwrap();
        assert_eq!(interrupted, Walked::End(Dump::Interrupted));
        assert!(
            end(NLMSG_ERROR, 0, -nix::libc::ENOENT)
                .unwrap_err()
                .is_not_found()
        );
        assert!(
            end(NLMSG_ERROR, 0, -nix::libc::EPERM)
                .unwrap_err()
                .is_permission()
        );
        assert!(end(NLMSG_ERROR, 0, i32::MIN).is_err());
    }

    proptest! {
        #[test]
        fn no_datagram_does_harm(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let _ = attributes(&noise).count();
            let _ = walk("", &noise, 0, true, &mut |_| {});
            let mut request = Request::default();
            let mut datagram = request.start(7, 0, 2).string(1, b"filter").finish(0).to_vec();
            datagram.extend_from_slice(&noise);
            datagram.truncate(cut.index(datagram.len()));
            let _ = walk("", &datagram, 0, true, &mut |message| {
                let _ = attributes(message.attributes).count();
            });
        }
    }
}
