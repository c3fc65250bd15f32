//! The doors to the rest of the box: what it is called, what this process may do, interfaces, routes,
//! sockets, switches of the kernel, other managers of firewalls ([`machine`]), and through which
//! connections it is administered ([`sessions`]).
//!
//! Reads only, and only the network namespace of the calling thread. Each part is read for itself: one
//! that cannot be read leaves the others as they are, and says why.

mod interfaces;
mod managers;
mod netlink;
mod processes;
mod routes;
mod sessions;
mod sockets;
mod sysctls;

pub mod services;

use std::path::Path;

pub use netlink::NetlinkError;
pub use processes::Processes;
pub use sessions::{claimed, sessions, sessions_of};
pub use sockets::{Connection, connections};

use crate::flow::{Machine, RouteAnswer, RouteQuestion};

/// Interfaces and addresses alone: what a verdict needs, without the walk through all processes.
pub fn links() -> Machine {
    let mut machine = Machine::default();
    match interfaces::interfaces() {
        Ok(interfaces) => machine.interfaces = Some(interfaces),
        Err(error) => machine.problems.push(error.to_string()),
    }
    machine
}

/// Asks the kernel about the ways of packets, with the interfaces of `machine` for names.
pub fn routes(questions: &[RouteQuestion], machine: &Machine) -> Vec<(RouteQuestion, RouteAnswer)> {
    let interfaces = machine.interfaces.as_deref().unwrap_or_default();
    routes::ask(questions, interfaces)
}

/// All that is known of the box, with the kernel's answers to these questions. Takes as long as a walk
/// through the open files of all processes does: not for the loop of the screen.
pub fn machine(questions: &[RouteQuestion]) -> Machine {
    let mut machine = links();
    let processes = Processes::read();
    match sockets::listeners(&processes) {
        Ok(listeners) => machine.listeners = Some(listeners),
        Err(error) => machine.problems.push(error.to_string()),
    }
    machine.sysctls = sysctls::sysctls();
    machine.routes = routes(questions, &machine);
    match routes::by_mark() {
        Ok(by_mark) => machine.routes_by_mark = by_mark,
        Err(error) => machine.problems.push(error.to_string()),
    }
    machine.managers = managers::managers(&processes, Path::new("/"));
    machine
}

/// The box, as uname(2) has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Host name.
    pub host: String,
    /// Kernel release, such as `6.1.0-18-amd64`.
    pub kernel: String,
}

/// Host name and kernel release; empty where the kernel does not say.
pub fn identity() -> Identity {
    nix::sys::utsname::uname().map_or_else(
        |_| Identity::default(),
        |name| Identity {
            host: name.nodename().to_string_lossy().into_owned(),
            kernel: name.release().to_string_lossy().into_owned(),
        },
    )
}

/// The inode of this thread's network namespace, as the kernel's log names it (`nsfs`, namespaces(7));
/// `None` where /proc does not say.
pub fn network_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .map(|meta| meta.ino())
}

/// Whether this thread's network namespace is the one that the machine's first process is in. Where /proc
/// does not tell, yes: nothing says otherwise.
pub fn is_first_namespace() -> bool {
    use std::os::unix::fs::MetadataExt;
    let first = std::fs::metadata("/proc/1/ns/net")
        .ok()
        .map(|meta| meta.ino());
    first.is_none() || network_namespace() == first
}

/// Bit of CAP_NET_ADMIN in a capability set (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;

/// This process may read the firewall: CAP_NET_ADMIN is in its effective set. What cannot be read
/// counts as no.
pub fn may_read_firewall() -> bool {
    std::fs::read_to_string(Path::new("/proc/thread-self/status"))
        .is_ok_and(|status| effective(&status).is_some_and(|set| set >> CAP_NET_ADMIN & 1 == 1))
}

/// `CapEff` of a status file (proc(5)).
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_found() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t0000000000001000\nCapBnd:\t0\n"),
            Some(1 << 12)
        );
        assert_eq!(effective("CapEff:\tzz\n"), None);
        assert_eq!(effective(""), None);
        assert!(!identity().kernel.is_empty());
    }
}
