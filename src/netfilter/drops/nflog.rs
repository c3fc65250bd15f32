//! NFLOG groups: packets that `-j NFLOG --nflog-group N` rules hand to whoever listens.
//!
//! The one door that works in every network namespace, whatever `nf_log_all_netns` says, and that
//! brings the packet itself instead of words about it. A group has one listener: where ulogd has it,
//! binding says so ([`DropError::Busy`]) and nothing is taken from ulogd.
//!
//! A group is bound for both families at once (the kernel ignores the family there), and no protocol
//! family is bound: that would make us the logger of the whole namespace. Only the first
//! [`COPY`] bytes of a packet are copied, enough for the headers and the packet that an ICMP error
//! quotes. The kernel is asked to number the packets of each group, so a full socket costs us packets
//! but not the count of them.
//!
//! Messages: linux/netfilter/nfnetlink_log.h. The interface's name is asked of the socket itself, since
//! it stays in its namespace wherever our threads go; that ioctl is the `unsafe` in this file.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use jiff::Timestamp;
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigFlags, ConfigMode, ConfigNla, Timeout, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use super::{DropError, DropSource, Stop, Woken, hand_over};
use crate::flow::{
    Batch, Hook, IfName, KernelLine, LinkHeader, LogLine, LogSource, Packet, Stamp, Wall,
};
use crate::netfilter::netlink::{attributes, be32, be64, text};

/// Bytes of each packet: two IPv6 headers with a few extensions and what follows.
const COPY: u32 = 256;
/// Packets that the kernel may gather into one datagram …
const GATHER: u32 = 64;
/// … and how long it may wait for them.
const PATIENCE: Duration = Duration::from_millis(20);
/// Size of those datagrams; the kernel's bound is 128 KiB.
const DATAGRAM: usize = 64 * 1024;
/// Room for what we have not read yet. Above `net.core.rmem_max` with CAP_NET_ADMIN only, which
/// binding needs anyway.
const BACKLOG: usize = 4 * 1024 * 1024;
/// Datagrams in one batch.
const BATCH: usize = 16;
/// The kernel answers a request within the call.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`
const PACKET: u16 = 4 << 8;
const NLMSG_ERROR: u16 = 2;
const NLMSG_HDRLEN: usize = 16;
const NFGENMSG_LEN: usize = 4;

/// `enum nfulnl_attr_type`
mod attr {
    pub(super) const PACKET_HDR: u16 = 1;
    pub(super) const MARK: u16 = 2;
    pub(super) const TIMESTAMP: u16 = 3;
    pub(super) const INDEV: u16 = 4;
    pub(super) const OUTDEV: u16 = 5;
    pub(super) const PHYSINDEV: u16 = 6;
    pub(super) const PHYSOUTDEV: u16 = 7;
    pub(super) const PAYLOAD: u16 = 9;
    pub(super) const PREFIX: u16 = 10;
    pub(super) const UID: u16 = 11;
    pub(super) const SEQ: u16 = 12;
    pub(super) const GID: u16 = 14;
    pub(super) const HWHEADER: u16 = 16;
}

/// Some groups, bound.
#[derive(Debug)]
pub struct Nflog {
    socket: Socket,
    groups: Vec<Group>,
    names: HashMap<u32, IfName>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    number: u16,
    /// The number that its next packet should have.
    next: Option<u32>,
}

impl Nflog {
    /// Binds the groups in the calling thread's network namespace. Needs CAP_NET_ADMIN there.
    pub fn open(groups: &[u16]) -> Result<Self, DropError> {
        let refused = |source: io::Error| {
            DropError::open(
                "nflog",
                source,
                "this kernel has no nfnetlink_log",
                "run as root (CAP_NET_ADMIN in this namespace)",
            )
        };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(refused)?;
        socket.bind_auto().map_err(refused)?;
        let patience =
            nix::sys::time::TimeVal::new(i64::try_from(ANSWER_WITHIN.as_secs()).unwrap_or(1), 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)
            .map_err(|errno| refused(errno.into()))?;
        // Smaller is only sooner full.
        if setsockopt(&socket, sockopt::RcvBufForce, &BACKLOG).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &BACKLOG);
        }
        let mut bound = Self {
            socket,
            groups: Vec::new(),
            names: HashMap::new(),
            buffer: Vec::with_capacity(DATAGRAM * 2),
        };
        for group in groups {
            bound.bind(*group).map_err(|error| match listener(*group) {
                Some(listener) => DropError::Busy {
                    group: *group,
                    listener,
                },
                None => refused(error),
            })?;
        }
        bound.socket.set_non_blocking(true).map_err(refused)?;
        Ok(bound)
    }

    fn bind(&mut self, group: u16) -> io::Result<()> {
        let first = [ConfigNla::Cmd(ConfigCmd::Bind)];
        let then = [
            ConfigNla::Mode(ConfigMode::new_packet(COPY)),
            ConfigNla::Flags(ConfigFlags::SEQ),
            ConfigNla::Timeout(Timeout::from(PATIENCE)),
            ConfigNla::QThresh(GATHER),
            ConfigNla::NlBufSiz(u32::try_from(DATAGRAM).unwrap_or(u32::MAX)),
        ];
        for nlas in [&first[..], &then[..]] {
            let family = NetfilterProtoFamily::Unspec;
            self.ask(&config_request(family, group, nlas.to_vec()))?;
        }
        self.groups.push(Group {
            number: group,
            next: None,
        });
        Ok(())
    }

    /// Sends a request and waits for its acknowledgement. Packets of groups bound before may come
    /// between; they are let go, and are missed by their numbers later.
    fn ask(&mut self, request: &NetlinkMessage<NetfilterMessage>) -> io::Result<()> {
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let mut answer = None;
            for_each(&self.buffer, |kind, payload| {
                if kind == NLMSG_ERROR {
                    answer = payload.first_chunk().copied().map(i32::from_ne_bytes);
                }
            });
            match answer {
                Some(0) => return Ok(()),
                Some(code) => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
                None => {}
            }
        }
    }

    /// Takes what the socket holds, up to a batch.
    fn read(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        // An index may be another interface by now.
        self.names.clear();
        for _ in 0..BATCH {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            let received = self.socket.recv_from(&mut buffer, 0);
            // Port zero is the kernel; a program with privilege may write to our socket, too.
            if received
                .as_ref()
                .is_ok_and(|(_, from)| from.port_number() == 0)
            {
                let now = Timestamp::now();
                for_each(&buffer, |kind, payload| {
                    if kind == PACKET {
                        self.packet(payload, now, &mut batch);
                    }
                });
            }
            self.buffer = buffer;
            match received {
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    // The numbers of the next packets tell how many were lost.
                    _ if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(batch)
    }

    fn packet(&mut self, payload: &[u8], now: Timestamp, batch: &mut Batch) {
        let Some((header, encoded)) = payload.split_first_chunk::<NFGENMSG_LEN>() else {
            return;
        };
        let number = u16::from_be_bytes([header[2], header[3]]);
        let mut seen = Seen::default();
        for (kind, value) in attributes(encoded) {
            seen.attribute(kind, value);
        }
        if let Some(group) = self.groups.iter_mut().find(|group| group.number == number) {
            batch.lost += group.count(seen.sequence);
        }
        // Bridges log ARP here, too; there is no packet in it that a rule of ours could match.
        let Some((packet, inner)) = Packet::from_wire(seen.payload) else {
            return;
        };
        let log = LogLine {
            input: self.name(seen.input),
            output: self.name(seen.output),
            physin: self.name(seen.physin),
            physout: self.name(seen.physout),
            link: LinkHeader::new(seen.link),
            packet: Packet {
                mark: seen.mark,
                ..packet
            },
            inner: inner.map(Box::new),
            uid: seen.uid,
            gid: seen.gid,
            hook: seen.hook,
            ..LogLine::default()
        };
        let stamp = Stamp {
            boot: None,
            wall: Some(Wall::At(seen.stamp.unwrap_or(now))),
        };
        let source = LogSource::Nflog(number);
        let line = KernelLine::from_fields(seen.prefix, log, stamp, source);
        batch.lines.push(line);
    }

    /// The interface's name now; its number, if it is gone.
    fn name(&mut self, index: u32) -> IfName {
        if index == 0 {
            return IfName::NONE;
        }
        if let Some(known) = self.names.get(&index) {
            return *known;
        }
        let name = interface_name(&self.socket, index)
            .or_else(|| IfName::new(format!("#{index}").as_bytes()))
            .unwrap_or_default();
        self.names.insert(index, name);
        name
    }
}

/// Who listens to a group, in words; `None` if nobody does, or we may not know. The kernel refuses a
/// group that is taken with EPERM, the same as it refuses somebody without privilege, so its list
/// of listeners has to tell which it was.
fn listener(group: u16) -> Option<String> {
    let list = std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log").ok()?;
    let port = list.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let ours = fields.next()?.parse() == Ok(group);
        fields.next().filter(|_| ours)
    })?;
    // A program's first netlink socket has its process id for a port (netlink(7)); others do not.
    let name = std::fs::read_to_string(format!("/proc/{port}/comm"));
    Some(match name {
        Ok(name) => format!("{} (process {port})", name.trim_end()),
        Err(_) => "another program (ulogd?)".to_owned(),
    })
}

impl Group {
    /// How many packets are missing before this one.
    fn count(&mut self, sequence: Option<u32>) -> u64 {
        let Some(sequence) = sequence else { return 0 };
        let expected = self.next.replace(sequence.wrapping_add(1));
        let missing = expected.map_or(0, |expected| sequence.wrapping_sub(expected));
        // A number from the past is a group that was bound anew, not four billion lost packets.
        if missing > u32::MAX / 2 {
            0
        } else {
            u64::from(missing)
        }
    }
}

/// The attributes of one packet.
#[derive(Default)]
struct Seen<'a> {
    prefix: &'a [u8],
    payload: &'a [u8],
    link: &'a [u8],
    hook: Option<Hook>,
    mark: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    sequence: Option<u32>,
    input: u32,
    output: u32,
    physin: u32,
    physout: u32,
    stamp: Option<Timestamp>,
}

impl<'a> Seen<'a> {
    fn attribute(&mut self, kind: u16, value: &'a [u8]) {
        let index = || be32(value).unwrap_or(0);
        match kind {
            // struct nfulnl_msg_packet_hdr: protocol (16 bits), hook (8), padding
            attr::PACKET_HDR => self.hook = value.get(2).and_then(|hook| Hook::from_number(*hook)),
            attr::MARK => self.mark = be32(value),
            attr::TIMESTAMP => self.stamp = stamp(value),
            attr::INDEV => self.input = index(),
            attr::OUTDEV => self.output = index(),
            attr::PHYSINDEV => self.physin = index(),
            attr::PHYSOUTDEV => self.physout = index(),
            attr::PAYLOAD => self.payload = value,
            attr::PREFIX => self.prefix = text(value),
            attr::UID => self.uid = be32(value),
            attr::GID => self.gid = be32(value),
            attr::SEQ => self.sequence = be32(value),
            attr::HWHEADER => self.link = value,
            _ => {}
        }
    }
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds.
fn stamp(value: &[u8]) -> Option<Timestamp> {
    let seconds = i64::try_from(be64(value)?).ok()?;
    let micros = i32::try_from(be64(value.get(8..)?)?).ok()?;
    Timestamp::new(seconds, micros.checked_mul(1_000)?).ok()
}

/// Hands every message of a datagram to `visit`: its kind and what follows the netlink header.
fn for_each(datagram: &[u8], mut visit: impl FnMut(u16, &[u8])) {
    let mut rest = datagram;
    while let Ok(message) = NetlinkBuffer::new_checked(rest) {
        let length = message.length() as usize;
        visit(
            message.message_type(),
            rest.get(NLMSG_HDRLEN..length).unwrap_or_default(),
        );
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// `SIOCGIFNAME` on a socket answers for the socket's namespace (netdevice(7)).
fn interface_name(socket: &Socket, index: u32) -> Option<IfName> {
    // SAFETY: all-zero bytes are a valid `ifreq`: its fields are arrays and integers.
    #[allow(unsafe_code)]
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = libc::c_int::try_from(index).ok()?;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCGIFNAME reads and
    // writes one `struct ifreq`, which `request` is.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) };
    if answer != 0 {
        return None;
    }
    let name: Vec<u8> = request
        .ifr_name
        .iter()
        .map(|byte| byte.cast_unsigned())
        .take_while(|byte| *byte != 0)
        .collect();
    IfName::new(&name)
}

impl DropSource for Nflog {
    fn kind(&self) -> LogSource {
        LogSource::Nflog(self.groups.first().map_or(0, |group| group.number))
    }

    fn describe(&self) -> String {
        let numbers: Vec<String> = self
            .groups
            .iter()
            .map(|group| group.number.to_string())
            .collect();
        let plural = if numbers.len() == 1 { "" } else { "s" };
        format!("nflog group{plural} {}", numbers.join(" "))
    }

    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
        let failed = |doing, source| DropError::Io {
            doing,
            what: "nflog".to_owned(),
            source,
        };
        loop {
            let woken = stop.wait(self.socket.as_fd(), None);
            if woken.map_err(|source| failed("waiting for", source))? == Woken::Stopped {
                return Ok(());
            }
            let batch = self.read().map_err(|source| failed("reading", source))?;
            hand_over(batch, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_in_the_numbers_are_losses_and_restarts_are_not() {
        let mut group = Group {
            number: 1,
            next: None,
        };
        let lost: Vec<u64> = [7, 8, 11, 11, 0, 1, u32::MAX, 0]
            .into_iter()
            .map(|number| group.count(Some(number)))
            .collect();
        assert_eq!(lost, [0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(group.count(None), 0);
    }

    proptest::proptest! {
        #[test]
        fn any_datagram_is_harmless(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200)) {
            for_each(&bytes, |_, payload| {
                let mut seen = Seen::default();
                for (kind, value) in attributes(payload) {
                    seen.attribute(kind, value);
                }
            });
        }
    }
}
