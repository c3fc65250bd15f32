//! One call, as a client makes it: connect or send, repeat as its kind repeats, wait for an answer, give up.
//!
//! Clients and probes share this, so that a probe that gets through means that the clients do. A call
//! counts as connected only when an *answer* has come: a firewall that lets the handshake through and
//! drops what follows is as shut as any.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket,
    sockopt,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::sandbox::scenario::{ProbeResult, Proto};

/// What a client asks; a line, so that a capture of it can be read.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ruletop.test\r\n\r\n";
/// A resolver asks again after a second; so does ping.
const REPEAT: Duration = Duration::from_secs(1);

/// What to call, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub proto: Proto,
    /// `None`: the kernel chooses.
    pub from: Option<IpAddr>,
    pub to: SocketAddr,
    /// Until the first answer.
    pub patience: Duration,
    /// How long a TCP connection stays open after it, with a request a second.
    pub hold: Duration,
}

impl Call {
    /// Make it; returns when it has failed or, for TCP, when the connection is closed again.
    /// `answered` is called at the first answer.
    pub async fn make(&self, answered: impl FnOnce()) -> ProbeResult {
        let done = match self.proto {
            Proto::Tcp => self.tcp(answered).await,
            Proto::Udp => self.datagram(answered, REQUEST).await,
            Proto::Icmp => self.datagram(answered, &echo_request(self.to.ip())).await,
        };
        done.map_or_else(|error| seen_by_client(&error), |()| ProbeResult::Connected)
    }

    async fn tcp(&self, answered: impl FnOnce()) -> io::Result<()> {
        let give_up = Instant::now() + self.patience;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(self.socket()?));
        let mut stream = timeout_at(give_up, socket.connect(self.to)).await??;
        timeout_at(give_up, ask(&mut stream)).await??;
        answered();
        let until = Instant::now() + self.hold;
        while Instant::now() + REPEAT <= until {
            sleep(REPEAT).await;
            // A connection that dies later was answered all the same.
            if !matches!(timeout(self.patience, ask(&mut stream)).await, Ok(Ok(()))) {
                return Ok(());
            }
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
        let _ = timeout(self.patience, hang_up(&mut stream)).await;
        Ok(())
    }

    /// UDP, and echo requests by the kernel's own "ping sockets", which need no privilege and match the
    /// replies (icmp(7), ping_group_range).
    async fn datagram(&self, answered: impl FnOnce(), request: &[u8]) -> io::Result<()> {
        let give_up = Instant::now() + self.patience;
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(self.socket()?))?;
        socket.connect(self.to).await?;
        let mut reply = [0; 2048];
        loop {
            socket.send(request).await?;
            let next = give_up.min(Instant::now() + REPEAT);
            match timeout_at(next, socket.recv(&mut reply)).await {
                Ok(received) => {
                    received?;
                    answered();
                    return Ok(());
                }
                Err(_) if next < give_up => {}
                Err(late) => return Err(late.into()),
            }
        }
    }

    /// A non-blocking socket, bound to the source. `IP_FREEBIND` lets IPv6 bind to an address of a
    /// network that is merely routed to us; Linux honours it on sockets of both families.
    fn socket(&self) -> io::Result<OwnedFd> {
        let (family, icmp, any) = match self.to.ip() {
            IpAddr::V4(_) => (
                AddressFamily::Inet,
                SockProtocol::Icmp,
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ),
            IpAddr::V6(_) => (
                AddressFamily::Inet6,
                SockProtocol::IcmpV6,
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ),
        };
        let (kind, protocol) = match self.proto {
            Proto::Tcp => (SockType::Stream, None),
            Proto::Udp => (SockType::Datagram, None),
            Proto::Icmp => (SockType::Datagram, Some(icmp)),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, kind, flags, protocol)?;
        setsockopt(&fd, sockopt::IpFreebind, &true)?;
        let from = SockaddrStorage::from(SocketAddr::new(self.from.unwrap_or(any), 0));
        bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &from)?;
        Ok(fd)
    }
}

async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST).await?;
    let mut reply = [0; 4096];
    match stream.read(&mut reply).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Close as clients do, with a FIN: closing with bytes unread would send a reset.
async fn hang_up(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Type 8 (RFC 792) or 128 (RFC 4443), and 48 bytes as ping sends; the kernel sets identifier and checksum.
fn echo_request(to: IpAddr) -> Vec<u8> {
    let mut packet = vec![0; 8 + 48];
    if let Some(kind) = packet.first_mut() {
        *kind = if to.is_ipv4() { 8 } else { 128 };
    }
    packet
}

fn seen_by_client(error: &io::Error) -> ProbeResult {
    if error.kind() == io::ErrorKind::TimedOut {
        return ProbeResult::TimedOut;
    }
    match error.raw_os_error().map(Errno::from_raw) {
        // Without a number, the peer hung up instead of answering: a client cannot tell it from a reset.
        None | Some(Errno::ECONNREFUSED | Errno::ECONNRESET) => ProbeResult::Refused,
        Some(Errno::ETIMEDOUT) => ProbeResult::TimedOut,
        Some(_) => ProbeResult::Unreachable,
    }
}
