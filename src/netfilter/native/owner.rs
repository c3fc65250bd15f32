//! Which process owns an nf_tables table.
//!
//! The kernel gives the netlink port of the owning socket. That number is mostly the process id, and a
//! number that is mostly something proves nothing: the process of that id must hold the socket that
//! /proc/net/netlink lists under that port.

use std::fs;

/// `NETLINK_NETFILTER`, in the `Eth` column of /proc/net/netlink.
const NETFILTER: &str = "12";

/// The name of the process that holds netlink port `port`, if /proc proves it.
pub(super) fn name_of(port: u32) -> Option<String> {
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    let inode = inode_of(&sockets, port)?;
    let wanted = format!("socket:[{inode}]");
    let holds_it = fs::read_dir(format!("/proc/{port}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == wanted.as_str());
    if !holds_it {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{port}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Columns: `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`, where Pid is the port.
fn inode_of(sockets: &str, port: u32) -> Option<u64> {
    sockets.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let protocol = columns.get(1)?;
        let found: u32 = columns.get(2)?.parse().ok()?;
        (*protocol == NETFILTER && found == port)
            .then(|| columns.get(9)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_socket_of_the_right_protocol() {
        let sockets = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            0000000000000000 0   700        00000000 0        0        0     2        0        11\n\
            0000000000000000 12  700        00000000 0        0        0     2        0        12\n\
            short\n";
        assert_eq!(inode_of(sockets, 700), Some(12));
        assert_eq!(inode_of(sockets, 701), None);
        assert_eq!(inode_of("", 700), None);
    }

    #[test]
    fn a_port_that_nobody_holds_has_no_name() {
        assert_eq!(name_of(u32::MAX), None);
    }
}
