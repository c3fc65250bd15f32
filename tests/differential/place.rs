//! A private namespace with two TAP devices, a guard against the kernel's own packets, and raw sockets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    setsockopt, socket, sockopt,
};
use ruletop::ruleset::{Family, Origin};

/// The socket priority that marks the test's own packets for the guard.
const OWN: i32 = 0x7a11;

pub struct Place {
    family: Family,
    eth0: File,
    /// Held open: a TAP device without a reader has no carrier.
    _eth1: File,
    raw: OwnedFd,
    lock: tempfile::TempDir,
}

/// Runs in a namespace of its own and hands on what comes out, a panic too.
pub fn in_namespace<T: Send + 'static>(
    origin: Origin,
    body: impl FnOnce(Place) -> T + Send + 'static,
) -> T {
    let thread = std::thread::Builder::new()
        .name(origin.to_string())
        .spawn(move || {
            if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
                panic!(
                    "no network namespace ({errno}): run the tests as root, or as \
                 `unshare --user --map-root-user cargo test --test differential`"
                );
            }
            body(Place::new(origin.family))
        });
    thread
        .unwrap()
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const SETUP: &str = "
set -e
sysctl() { [ ! -e /proc/sys/$1 ] || echo $2 > /proc/sys/$1; }
ip link set lo up
for i in eth0 eth1; do
  sysctl net/ipv6/conf/$i/accept_dad 0
  sysctl net/ipv6/conf/$i/router_solicitations 0
  sysctl net/ipv4/conf/$i/rp_filter 0
done
sysctl net/ipv4/conf/all/rp_filter 0
sysctl net/ipv4/ip_forward 1
sysctl net/ipv6/conf/all/forwarding 1
sysctl net/netfilter/nf_conntrack_checksum 0
sysctl net/netfilter/nf_conntrack_tcp_loose 1
nft -f - <<'END'
table inet guard {
  chain out { type filter hook output priority -1000; meta priority != 0x7a11 drop; }
  chain in { type filter hook prerouting priority -1000; counter; }
  chain last { type filter hook postrouting priority 1000; drop; }
  chain own { type filter hook output priority -999; counter; }
}
END
ip link set eth0 address 02:00:00:00:00:01 up
ip link set eth1 address 02:00:00:00:00:02 up
ip addr add 10.0.0.1/24 dev eth0
ip addr add 10.0.0.2/24 dev eth0
ip addr add 10.1.0.1/24 dev eth1
ip route add default dev eth1
ip addr add fd00::1/64 dev eth0 nodad
ip addr add fd00::2/64 dev eth0 nodad
ip addr add fd01::1/64 dev eth1 nodad
ip -6 route add default dev eth1
";

// What leaves is dropped after the last chain of iptables: nobody reads the devices, and packets that
// wait for neighbours would use up the socket's buffer.

/// Addresses of the box that packets are sent to and from.
pub fn local(family: Family) -> Vec<IpAddr> {
    let texts = match family {
        Family::V4 => ["10.0.0.1", "10.0.0.2", "10.1.0.1"],
        Family::V6 => ["fd00::1", "fd00::2", "fd01::1"],
    };
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Place {
    fn new(family: Family) -> Self {
        let (eth0, eth1) = (tap(b"eth0"), tap(b"eth1"));
        let af = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        // Of that protocol the socket's packets bring their own IP header.
        let raw = socket(af, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
        setsockopt(&raw, sockopt::Priority, &OWN).unwrap();
        let place = Self {
            family,
            eth0,
            _eth1: eth1,
            raw,
            lock: tempfile::tempdir().unwrap(),
        };
        place.ok(SETUP, "");
        place
    }

    /// Runs a script that must succeed; its standard output.
    pub fn ok(&self, script: &str, input: &str) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("sh")
            .args(["-c", script])
            .env("XTABLES_LOCKFILE", self.lock.path().join("lock"))
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Hands a frame to the kernel as if it came in by eth0.
    pub fn receive(&mut self, mac: [u8; 6], packet: &[u8]) {
        let mut frame = vec![2, 0, 0, 0, 0, 1];
        frame.extend(mac);
        frame.extend(match self.family {
            Family::V4 => [0x08, 0x00],
            Family::V6 => [0x86, 0xdd],
        });
        frame.extend(packet);
        self.eth0.write_all(&frame).unwrap();
    }

    /// Sends a packet as this box's own. A rule that drops it makes the call fail, which is no matter.
    pub fn send(&mut self, mark: u32, to: IpAddr, packet: &[u8]) {
        setsockopt(&self.raw, sockopt::Mark, &mark).unwrap();
        let _ = match to {
            IpAddr::V4(to) => {
                let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                sendto(self.raw.as_raw_fd(), packet, &to, MsgFlags::MSG_DONTWAIT)
            }
            IpAddr::V6(to) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
                sendto(self.raw.as_raw_fd(), packet, &to, MsgFlags::MSG_DONTWAIT)
            }
        };
    }

    /// Packets that came in by the device, and that this box sent, by the guard's own count.
    pub fn passed(&self) -> usize {
        let text = self.ok("nft list table inet guard", "");
        let counts = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("counter packets "));
        counts
            .map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum()
    }
}

/// Opens a TAP device. `TUNSETIFF` takes a `struct ifreq` (linux/if_tun.h), for which there is no safe call.
#[allow(unsafe_code)]
fn tap(name: &[u8; 4]) -> File {
    const TUNSETIFF: u64 = 0x4004_54ca;
    const IFF_TAP: u16 = 2;
    const IFF_NO_PI: u16 = 0x1000;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .expect("/dev/net/tun");
    let mut request = [0_u8; 40];
    request[..4].copy_from_slice(name);
    request[16..18].copy_from_slice(&(IFF_TAP | IFF_NO_PI).to_ne_bytes());
    // SAFETY: the kernel reads and writes one `struct ifreq`, which has 40 bytes, and keeps no pointer.
    let done = unsafe { nix::libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(done, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
    file
}
