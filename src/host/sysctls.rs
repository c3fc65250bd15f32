//! Switches of the kernel that decide about packets beside the firewall: files under /proc/sys/net,
//! which show the network namespace of the thread that reads them.
//!
//! Sources: Documentation/networking/ip-sysctl.rst and nf_conntrack-sysctl.rst of the kernel.

use std::path::Path;

use crate::flow::Sysctls;

/// Reads them; what is not there stays unknown.
pub fn sysctls() -> Sysctls {
    let read = |path: &str| number(&Path::new("/proc/sys/net").join(path));
    let switch = |path: &str| read(path).map(|value| value != 0);
    Sysctls {
        forward_v4: switch("ipv4/ip_forward"),
        forward_v6: switch("ipv6/conf/all/forwarding"),
        rp_filter_all: read("ipv4/conf/all/rp_filter").and_then(|value| u8::try_from(value).ok()),
        log_martians: switch("ipv4/conf/all/log_martians"),
        bridge_v4: switch("bridge/bridge-nf-call-iptables"),
        bridge_v6: switch("bridge/bridge-nf-call-ip6tables"),
        conntrack_count: read("netfilter/nf_conntrack_count"),
        conntrack_max: read("netfilter/nf_conntrack_max"),
    }
}

/// The number that a file of sysctl holds.
pub(super) fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
