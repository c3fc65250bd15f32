//! The connections that conntrack holds, as a list to choose one from: what becomes of its next packet?
//!
//! A connection is packets in both directions, and of one between two programs of this box each comes in again by
//! lo: [`packets`] are the next ones of them all. NAT has settled what becomes of their ends when the first packet
//! passed, so that no rule of nat is asked about them; where they go and what the filter sees follows from that.

use std::net::IpAddr;

use crate::app::filter::Filter;
use crate::app::state::Picker;
use crate::flow::{Direction, IfName, Protocol, TcpFlags, Tracked};
use crate::ruleset::Family;
use crate::verdict::{Bound, Connection as Known, CtState, Path, Probe};

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whether answers were seen, and what NAT makes of it: short words.
    pub note: &'static str,
    /// Its packets in words: `tcp 203.0.113.9:40000 -> 10.0.0.5:443`.
    pub text: String,
    /// The next packet of who began it.
    pub packet: Probe,
}

/// The list, open.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// What was typed, and the chosen line.
    pub picker: Picker,
    /// What there is; `None`: still being read.
    pub all: Option<Result<Vec<Connection>, String>>,
}

impl Connections {
    /// Those that hold what was typed.
    pub fn choices(&self) -> Vec<&Connection> {
        let filter = Filter::new(&self.picker.query);
        let all = self.all.as_ref().and_then(|all| all.as_ref().ok());
        let all = all.into_iter().flatten();
        all.filter(|one| filter.accepts(one.text.as_bytes()) || filter.accepts(one.note.as_bytes()))
            .collect()
    }
}

/// The next packet in each direction, of who began the connection first, and of each what comes in by lo where both
/// ends are on this box. Interfaces are left open. `is_local`: an address is one of this box.
pub fn packets(entry: &Tracked, is_local: &dyn Fn(IpAddr) -> bool) -> Vec<Probe> {
    let there = way(entry, false, is_local);
    let back = way(entry, true, is_local);
    there.into_iter().chain(back).collect()
}

/// The next packet of one direction, at each of its ways through the box.
fn way(entry: &Tracked, reply: bool, is_local: &dyn Fn(IpAddr) -> bool) -> Vec<Probe> {
    let (arrives, other) = if reply {
        (entry.reply, entry.original)
    } else {
        (entry.original, entry.reply)
    };
    let becomes = Direction {
        src: other.dst,
        dst: other.src,
        sport: other.dport,
        dport: other.sport,
    };
    let (from_here, to_here) = (is_local(arrives.src), is_local(becomes.dst));
    let lo = || IfName::new(b"lo");
    match (from_here, to_here) {
        (true, true) => {
            let sent = Probe {
                output: lo(),
                ..packet(entry, reply, Path::Output, arrives, becomes)
            };
            // It was translated on its way out.
            let comes = Probe {
                input: lo(),
                ..packet(entry, reply, Path::Input, becomes, becomes)
            };
            vec![sent, comes]
        }
        (true, false) => vec![packet(entry, reply, Path::Output, arrives, becomes)],
        (false, true) => vec![packet(entry, reply, Path::Input, arrives, becomes)],
        (false, false) => vec![packet(entry, reply, Path::Forward, arrives, becomes)],
    }
}

fn packet(
    entry: &Tracked,
    reply: bool,
    path: Path,
    arrives: Direction,
    becomes: Direction,
) -> Probe {
    let family = if arrives.src.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    // An answer makes it established, whether one came before or not.
    let (state, flags) = match (entry.answered, reply) {
        (true, _) => (CtState::Established, TcpFlags::ACK),
        (false, true) => (CtState::Established, TcpFlags::SYN | TcpFlags::ACK),
        (false, false) => (CtState::New, TcpFlags::SYN),
    };
    let first = entry.original;
    Probe {
        proto: Some(entry.proto),
        src: Some(arrives.src),
        sport: arrives.sport,
        dst: Some(arrives.dst),
        dport: arrives.dport,
        ctstate: Some(state),
        tcp_flags: (entry.proto == Protocol::TCP).then_some(flags),
        // What its program marks the packets with, nobody says.
        mark: (path != Path::Output).then_some(0),
        connection: Known {
            reply: Some(reply),
            src: Some(first.src),
            dst: Some(first.dst),
            sport: first.sport,
            dport: first.dport,
            mark: Some(entry.mark),
            becomes: Some(Bound::settled(arrives, becomes, reply)),
            home: None,
        },
        ..Probe::new(family, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::fix::cut_connections;
    use crate::ruleset::{Document, Hints, Ruleset};
    use crate::verdict::{Facts, Program, Side, Verdict, change};

    /// 10.0.0.1 on eth0 and 10.1.0.1 on eth1.
    fn is_local(ip: IpAddr) -> bool {
        let own: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.1.0.1".parse().unwrap()];
        own.contains(&ip) || ip.is_loopback()
    }

    fn direction(text: &str) -> Direction {
        let ends: Vec<std::net::SocketAddr> =
            text.split('>').map(|end| end.parse().unwrap()).collect();
        Direction {
            src: ends[0].ip(),
            sport: Some(ends[0].port()),
            dst: ends[1].ip(),
            dport: Some(ends[1].port()),
        }
    }

    fn tracked(original: &str, reply: &str, answered: bool) -> Tracked {
        Tracked {
            proto: Protocol::UDP,
            original: direction(original),
            reply: direction(reply),
            mark: 0,
            answered,
        }
    }

    fn fate(packet: &Probe, rules: &str) -> Verdict {
        let dump = format!("*filter\n{rules}COMMIT\n").into_bytes();
        let document = Document::parse(dump, Hints::default()).unwrap();
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        let program = Program::compile(Family::V4, &rulesets);
        let facts = Facts {
            local: Some(vec![
                "10.0.0.1".parse().unwrap(),
                "10.1.0.1".parse().unwrap(),
            ]),
            ..Facts::default()
        };
        program.decide(packet, &facts, &rulesets).verdict
    }

    #[test]
    fn a_connection_is_packets_both_ways_and_where_they_go() {
        let ways = |original: &str, reply: &str| {
            let packets = packets(&tracked(original, reply, true), &is_local);
            let paths = packets.iter().map(|one| one.path.name());
            paths.collect::<Vec<_>>().join(" ")
        };
        for (original, reply, expected) in [
            (
                "10.0.0.2:7>10.1.0.2:80",
                "10.1.0.2:80>10.0.0.2:7",
                "forward forward",
            ),
            // Masqueraded, and sent on.
            (
                "10.0.0.2:7>10.1.0.2:80",
                "10.1.0.2:80>10.1.0.1:7",
                "forward forward",
            ),
            (
                "10.0.0.2:7>10.0.0.1:1234",
                "10.1.0.2:80>10.0.0.2:7",
                "forward forward",
            ),
            // Redirected to here.
            (
                "10.0.0.2:7>10.1.0.2:80",
                "10.0.0.1:8080>10.0.0.2:7",
                "input output",
            ),
            (
                "10.0.0.2:7>10.0.0.1:80",
                "10.0.0.1:80>10.0.0.2:7",
                "input output",
            ),
            (
                "10.0.0.1:7>10.0.0.2:80",
                "10.0.0.2:80>10.0.0.1:7",
                "output input",
            ),
            (
                "127.0.0.1:7>127.0.0.1:80",
                "127.0.0.1:80>127.0.0.1:7",
                "output input output input",
            ),
        ] {
            assert_eq!(ways(original, reply), expected, "{original} {reply}");
        }
    }

    /// What the filter sees of packets whose ends NAT has settled, with no rule of nat left.
    #[test]
    fn a_translated_connection_is_seen_with_its_ends_as_they_become() {
        let both = tracked("10.0.0.2:7>10.0.0.1:1234", "10.1.0.2:80>10.1.0.1:9", true);
        let [there, back] = <[Probe; 2]>::try_from(packets(&both, &is_local)).unwrap();
        for (rule, first, answer) in [
            (
                "-s 10.0.0.2/32 -d 10.1.0.2/32 -p udp -m udp --sport 7 --dport 80",
                true,
                false,
            ),
            (
                "-s 10.1.0.2/32 -d 10.0.0.2/32 -p udp -m udp --sport 80 --dport 7",
                false,
                true,
            ),
            ("-m conntrack --ctstate ESTABLISHED", true, true),
            ("-m conntrack --ctstate DNAT", true, true),
            ("-m conntrack --ctstate SNAT", true, true),
            ("-m conntrack --ctorigdst 10.0.0.1/32", true, true),
            ("-m conntrack --ctreplsrc 10.1.0.2/32", true, true),
            ("-m conntrack --ctrepldst 10.1.0.1/32", true, true),
            ("-m conntrack --ctdir REPLY", false, true),
            ("-d 10.0.0.1/32", false, false),
        ] {
            let rules = format!(":FORWARD DROP [0:0]\n-A FORWARD {rule} -j ACCEPT\n");
            let expected = |passes| {
                if passes {
                    Verdict::Accept
                } else {
                    Verdict::Drop
                }
            };
            assert_eq!(fate(&there, &rules), expected(first), "there: {rule}");
            assert_eq!(fate(&back, &rules), expected(answer), "back: {rule}");
        }
        // One that only its source is changed of is no DNAT, whichever way its packets go.
        let source = tracked("10.0.0.2:7>10.1.0.2:80", "10.1.0.2:80>10.1.0.1:7", true);
        for packet in packets(&source, &is_local) {
            let rules = |what: &str| {
                format!(":FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate {what} -j ACCEPT\n")
            };
            assert_eq!(fate(&packet, &rules("SNAT")), Verdict::Accept);
            assert_eq!(fate(&packet, &rules("DNAT")), Verdict::Drop);
        }
    }

    /// A connection that nobody answered has its NAT settled too, and its next packet is new still.
    #[test]
    fn rules_of_nat_are_not_asked_about_a_connection_that_stands() {
        let entry = tracked("10.0.0.2:7>10.1.0.2:80", "10.1.0.2:80>10.0.0.2:7", false);
        let packets = packets(&entry, &is_local);
        let dump = ":FORWARD DROP [0:0]\n-A FORWARD -d 10.1.0.2/32 -m conntrack --ctstate NEW -j ACCEPT\n\
             -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n\
             *nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT --to-destination 10.1.0.9\n";
        for packet in &packets {
            assert_eq!(fate(packet, dump), Verdict::Accept);
        }
    }

    /// A connection is cut by whatever stops one of its directions, or its second way through lo.
    #[test]
    fn a_connection_is_cut_when_either_direction_is() {
        let own = "10.0.0.2:7>10.0.0.1:80";
        let all = [
            tracked(own, "10.0.0.1:80>10.0.0.2:7", true),
            tracked("127.0.0.1:7>127.0.0.1:80", "127.0.0.1:80>127.0.0.1:7", true),
            tracked("10.0.0.2:7>10.1.0.2:80", "10.1.0.2:80>10.1.0.1:7", true),
        ];
        let all: Vec<Vec<Probe>> = all.iter().map(|one| packets(one, &is_local)).collect();
        let cut = |before: &str, after: &str| {
            let chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
            let read = |rules: &str| {
                let dump = format!("*filter\n{chains}{rules}COMMIT\n").into_bytes();
                Document::parse(dump, Hints::default()).unwrap()
            };
            let (before, after) = (read(before), read(after));
            let (old, new) = ([&before.rulesets()[0]], [&after.rulesets()[0]]);
            let programs = [
                Program::compile(Family::V4, &old),
                Program::compile(Family::V4, &new),
            ];
            let (was, is) = (
                Side {
                    program: &programs[0],
                    rulesets: &old,
                },
                Side {
                    program: &programs[1],
                    rulesets: &new,
                },
            );
            let facts = Facts::default();
            let done = change(was, is, &facts);
            let count = cut_connections(was, is, &done, &all, &facts);
            (count.packets, count.newly_cut, count.not_certain)
        };
        for (before, after, expected) in [
            (
                "",
                "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j DROP\n",
                2,
            ),
            ("", "-A INPUT -s 127.0.0.1/32 -j DROP\n", 1),
            ("", "-A FORWARD -d 10.0.0.2/32 -j DROP\n", 1),
            ("", "-A FORWARD -m conntrack --ctstate NEW -j DROP\n", 0),
            (
                "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A FORWARD -j DROP\n",
                "-A FORWARD -j DROP\n",
                1,
            ),
            // What is cut already is not cut once more.
            (
                "-A FORWARD -s 10.0.0.2/32 -j DROP\n",
                "-A FORWARD -j DROP\n",
                0,
            ),
        ] {
            assert_eq!(cut(before, after), (3, expected, 0), "{before}{after}");
        }
    }
}
