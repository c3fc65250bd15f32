//! The administrator's own connections: what must not be cut.
//!
//! From this program up through its parents to the process that holds a TCP connection: `sshd`, since
//! OpenSSH 9.8 `sshd-session`, dropbear, or any other server that runs somebody's shell. sudo and su keep
//! the line of parents but lose SSH_CONNECTION; a terminal multiplexer breaks the line, since its server has
//! left the session that started it, so from there every client that is attached now is followed up
//! instead: several people may be looking. The environment of an ancestor is the second source, believed
//! only while such a connection stands: that of a multiplexer's server is from the day it was started.
//!
//! Not found: mosh, whose packets are UDP of an unconnected socket (its SSH_CONNECTION is of a connection
//! that has ended), and shells that a manager started on our behalf (systemd-run, run0).

use std::net::{IpAddr, SocketAddr};

use super::interfaces::interfaces;
use super::netlink::NetlinkError;
use super::processes::{Processes, Seen as Known};
use super::routes;
use super::sockets::{Connection, connections, listening_ports};
use crate::flow::{
    IfName, Interface, Process, Protocol, RouteAnswer, RouteQuestion, Seen, Session,
};

/// Servers whose every connection is somebody's shell.
const DAEMONS: [&str; 5] = [
    "sshd",
    "sshd-session",
    "sshd-auth",
    "dropbear",
    "in.telnetd",
];
/// Servers of terminal multiplexers, with the name of their clients.
const MULTIPLEXERS: [(&str, &str); 5] = [
    ("tmux: server", "tmux: client"),
    ("screen", "screen"),
    ("zellij", "zellij"),
    ("dtach", "dtach"),
    ("abduco", "abduco"),
];
/// A server that is no login daemon may have very many connections; so many of them are looked at.
const MOST: usize = 16;

/// The connections that this process is administered through, each once; none for a console, a cron job
/// or a line of parents that we may not look into.
pub fn sessions() -> Result<Vec<Session>, NetlinkError> {
    sessions_of(std::process::id(), &Processes::read())
}

/// The same of another process.
pub fn sessions_of(pid: u32, processes: &Processes) -> Result<Vec<Session>, NetlinkError> {
    let standing = connections()?;
    let interfaces = interfaces()?;
    let mut search = Search {
        processes,
        standing: &standing,
        ports: listening_ports()?,
        interfaces: &interfaces,
        found: Vec::new(),
        followed: Vec::new(),
    };
    search.follow(pid, &[]);
    Ok(search.found)
}

/// The address that somebody's shell above this process was reached from, by its environment: where no
/// connection stands that fits (mosh, or a multiplexer that outlived its login), nothing can be proved of it.
pub fn claimed() -> Option<IpAddr> {
    let processes = Processes::read();
    let line = processes.up_from(std::process::id());
    let mut values = line
        .iter()
        .filter_map(|known| processes.variable(known.process.pid, "SSH_CONNECTION"));
    values
        .find_map(|value| ends(&value))
        .map(|(peer, _)| peer.ip())
}

struct Search<'a> {
    processes: &'a Processes,
    standing: &'a [Connection],
    ports: Vec<u16>,
    interfaces: &'a [Interface],
    found: Vec<Session>,
    followed: Vec<u32>,
}

impl Search<'_> {
    /// Goes up from a process. `below` are the names between it and this program.
    fn follow(&mut self, pid: u32, below: &[String]) {
        if self.followed.contains(&pid) {
            return;
        }
        self.followed.push(pid);
        let line = self.processes.up_from(pid);
        // A login daemon in the line is who serves it, whatever else holds connections above or below.
        let served = line
            .iter()
            .any(|known| is_daemon(known) && !self.held(known).is_empty());
        let mut through = below.to_vec();
        for (place, known) in line.iter().enumerate() {
            let own = place == 0 && below.is_empty();
            if !own && known.process.pid != 1 && (is_daemon(known) || !served) {
                self.look_at(known, &through);
            }
            self.look_at_environment(known, &through);
            for client in self.clients(known, &line) {
                let mut between = through.clone();
                between.push(known.process.name.clone());
                self.follow(client, &between);
            }
            if !own {
                through.push(known.process.name.clone());
            }
        }
    }

    /// The connections that a process holds.
    fn held(&self, known: &Known) -> Vec<Connection> {
        let inodes = self.processes.sockets_of(known.process.pid);
        let of = |connection: &&Connection| inodes.contains(&connection.inode);
        self.standing.iter().filter(of).copied().collect()
    }

    /// A process that may hold a connection: a daemon's are all somebody's, another server's those that
    /// came in to a port where somebody listens; what it called out for goes elsewhere.
    fn look_at(&mut self, known: &Known, through: &[String]) {
        let mut held = self.held(known);
        if !is_daemon(known) {
            held.retain(|connection| self.ports.contains(&connection.local.port()));
        }
        for connection in held.into_iter().take(MOST) {
            self.add(&connection, &known.process, Seen::Socket, through);
        }
    }

    /// `SSH_CONNECTION` of a process: "client port server port" (ssh(1)).
    fn look_at_environment(&mut self, known: &Known, through: &[String]) {
        let Some(value) = self.processes.variable(known.process.pid, "SSH_CONNECTION") else {
            return;
        };
        let Some((peer, local)) = ends(&value) else {
            return;
        };
        let stands =
            |connection: &&Connection| connection.peer == peer && connection.local == local;
        if let Some(connection) = self.standing.iter().find(stands).copied() {
            let holder = self.processes.holders(&[connection.inode]);
            let process = holder.get(&connection.inode).unwrap_or(&known.process);
            self.add(&connection, process, Seen::Environment, through);
        }
    }

    fn add(&mut self, connection: &Connection, process: &Process, seen: Seen, through: &[String]) {
        let (peer, local) = (connection.peer, connection.local);
        let is_known = |session: &Session| (session.peer, session.local) == (peer, local);
        if self.found.iter().any(is_known) {
            return;
        }
        let mut through = through.to_vec();
        through.reverse();
        self.found.push(Session {
            proto: Protocol::TCP,
            peer,
            local,
            interface: self.interface(connection),
            process: process.clone(),
            seen,
            through,
        });
    }

    /// Clients of a multiplexer's server: processes of that name with a terminal and of the same user, which
    /// the server itself is not.
    fn clients(&self, server: &Known, line: &[&Known]) -> Vec<u32> {
        let named = MULTIPLEXERS
            .iter()
            .find(|(name, _)| *name == server.process.name);
        let Some((_, client)) = named else {
            return Vec::new();
        };
        let is_client = |known: &&Known| {
            known.process.name == *client
                && known.terminal != 0
                && known.uid == server.uid
                && line
                    .iter()
                    .all(|above| above.process.pid != known.process.pid)
        };
        let mut found: Vec<u32> = self
            .processes
            .iter()
            .filter(is_client)
            .map(|known| known.process.pid)
            .collect();
        found.sort_unstable();
        found
    }

    /// The interface of a connection: the one that its socket is bound to, else the way to the peer.
    fn interface(&self, connection: &Connection) -> Option<IfName> {
        let bound = self
            .interfaces
            .iter()
            .find(|interface| Some(interface.index) == connection.interface);
        if let Some(interface) = bound {
            return Some(interface.name);
        }
        let question = RouteQuestion {
            from: Some(connection.local.ip()),
            ..RouteQuestion::toward(connection.peer.ip())
        };
        match routes::ask(&[question], self.interfaces).pop()?.1 {
            RouteAnswer::Way(way) => way.output,
            RouteAnswer::None { .. } | RouteAnswer::NotAsked(_) => None,
        }
    }
}

fn is_daemon(known: &Known) -> bool {
    DAEMONS.contains(&known.process.name.as_str())
}

/// Both ends of a SSH_CONNECTION: the client's and ours.
fn ends(value: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = value.split_ascii_whitespace();
    let mut end = || {
        let address = words.next()?;
        // A link-local address is written with its interface: fe80::1%eth0.
        let address = address.split_once('%').map_or(address, |(ip, _)| ip);
        let ip: IpAddr = address.parse().ok()?;
        let port: u16 = words.next()?.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port))
    };
    Some((end()?, end()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_connection_are_read() {
        let (peer, local) = ends("198.51.100.20 52044 10.0.0.5 22").unwrap();
        assert_eq!(peer.to_string(), "198.51.100.20:52044");
        assert_eq!(local.to_string(), "10.0.0.5:22");
        let (peer, local) = ends("fe80::1%eth0 5 ::ffff:10.0.0.5 22").unwrap();
        assert_eq!(peer.to_string(), "[fe80::1]:5");
        assert_eq!(local.to_string(), "10.0.0.5:22");
        for bad in [
            "",
            "1.2.3.4 5 6.7.8.9",
            "x 1 y 2",
            "1.2.3.4 70000 1.2.3.4 1",
        ] {
            assert_eq!(ends(bad), None, "{bad}");
        }
    }
}
