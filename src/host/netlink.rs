//! A netlink socket that asks the kernel about the box: routes and links (rtnetlink(7)), sockets
//! (sock_diag(7)).
//!
//! Messages are those of `netlink-packet-route` and `netlink-packet-sock-diag`; here are the socket, the
//! question and the end of the answer. A message of a dump that those crates cannot read (a newer kernel,
//! an exotic link) is counted and passed over: one odd interface must not hide the others.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// Length of `struct nlmsghdr` (linux/netlink.h).
const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel fills dump messages up to 32 KiB when the reader's buffer has room.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The kernel answers within the call; a wait this long means that it never will.
const PATIENCE_SECONDS: i64 = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket {what}: {source}")]
    Open {
        /// What it was for.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The question was not sent, or the answer not received.
    #[error("netlink {what}: {source}")]
    Io {
        /// What was asked.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("the kernel refused {what}: {source}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its reason.
        source: io::Error,
    },
    /// What came back is no netlink message.
    #[error("the kernel's answer {what} cannot be read: {detail}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What was wrong.
        detail: String,
    },
}

impl NetlinkError {
    /// The number of a refusal.
    pub fn refusal(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer<T> {
    /// The messages that were understood.
    pub messages: Vec<T>,
    /// How many were not.
    pub passed_over: usize,
}

/// A connected netlink socket of the calling thread's network namespace.
#[derive(Debug)]
pub struct Asker {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    what: &'static str,
}

impl Asker {
    /// Opens a socket of that protocol (`NETLINK_ROUTE`, `NETLINK_SOCK_DIAG`). Needs no privilege. `what`
    /// names the questions in errors: `for the links`.
    pub fn open(protocol: isize, what: &'static str) -> Result<Self, NetlinkError> {
        let failed = |source| NetlinkError::Open { what, source };
        let mut socket = Socket::new(protocol).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        let patience = TimeVal::seconds(PATIENCE_SECONDS);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
            sequence: 0,
            what,
        })
    }

    /// Asks for everything of a kind.
    pub fn dump<T>(&mut self, question: impl Into<T>) -> Result<Answer<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
    {
        self.ask(question.into(), NLM_F_DUMP)
    }

    /// Asks one thing.
    pub fn one<T>(&mut self, question: impl Into<T>) -> Result<Answer<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
    {
        self.ask(question.into(), 0)
    }

    fn ask<T>(&mut self, question: T, flags: u16) -> Result<Answer<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
    {
        let what = self.what;
        let failed = |source| NetlinkError::Io { what, source };
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(failed)?;
        let mut answer = Answer {
            messages: Vec::new(),
            passed_over: 0,
        };
        loop {
            self.receive().map_err(failed)?;
            let is_dump = flags & NLM_F_DUMP != 0;
            if walk(what, &self.buffer, self.sequence, is_dump, &mut answer)? {
                return Ok(answer);
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

/// Walks one datagram; true when the answer is complete. Messages of a question that was given up on are
/// passed by.
fn walk<T: NetlinkDeserializable>(
    what: &'static str,
    datagram: &[u8],
    sequence: u32,
    is_dump: bool,
    answer: &mut Answer<T>,
) -> Result<bool, NetlinkError> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message =
            NetlinkBuffer::new_checked(rest).map_err(|error| NetlinkError::Malformed {
                what,
                detail: error.to_string(),
            })?;
        let length = message.length() as usize;
        let payload = rest.get(HEADER..length).unwrap_or_default();
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        if message.sequence_number() != sequence {
            continue;
        }
        match message.message_type() {
            NLMSG_NOOP => {}
            NLMSG_DONE | NLMSG_ERROR => {
                let code = payload
                    .first_chunk::<4>()
                    .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                if code == 0 {
                    return Ok(true);
                }
                let source = io::Error::from_raw_os_error(code.saturating_neg());
                return Err(NetlinkError::Refused { what, source });
            }
            kind => {
                let mut header = NetlinkHeader::default();
                header.message_type = kind;
                match T::deserialize(&header, payload) {
                    Ok(message) => answer.messages.push(message),
                    Err(error) => {
                        answer.passed_over += 1;
                        tracing::debug!(what, %error, "a message is passed over");
                    }
                }
                if !is_dump {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::RouteNetlinkMessage;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_datagram_does_harm(
            kind in 0_u16..60,
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut datagram = vec![0; HEADER];
            datagram.extend_from_slice(&noise);
            let length = u32::try_from(datagram.len()).unwrap();
            let mut header = NetlinkBuffer::new(&mut datagram);
            header.set_length(length);
            header.set_message_type(kind);
            datagram.truncate(cut.index(datagram.len()) + 1);
            let mut answer = Answer::<RouteNetlinkMessage> { messages: Vec::new(), passed_over: 0 };
            let _ = walk("", &datagram, 0, true, &mut answer);
        }
    }
}
