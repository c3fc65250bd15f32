//! A packet in words, as a person types it.
//!
//! `tcp 203.0.113.9 -> :443 in eth0`: a protocol, where from, an arrow, where to, and then pairs of a word
//! and a value. What is not said of a new connection is what it would be: state NEW, and of TCP the flag
//! SYN. Everything else that is not said stays open.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::flow::{IfName, Protocol, TcpFlags};
use crate::ruleset::Family;
use crate::verdict::{CtState, Path, Probe};

/// How a packet is written, for whoever could not be understood.
pub const EXAMPLE: &str = "write it as: tcp 203.0.113.9 -> :443 in eth0   (or: udp 10.0.0.1:53 -> 10.0.0.2 in eth0 out eth1)";

/// Why words are no packet: what was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WordsError(String);

/// Reads a packet: words, or one JSON object. Without a word of its family it is of IPv4.
pub fn read(text: &str) -> Result<Probe, WordsError> {
    read_as(text, Family::V4)
}

/// Reads a packet that is of `usual` where it does not tell its family.
pub fn read_as(text: &str, usual: Family) -> Result<Probe, WordsError> {
    if text.trim_start().starts_with('{') {
        return Probe::from_json_as(text.as_bytes(), usual)
            .map_err(|error| WordsError(error.to_string()));
    }
    let spaced = text.replace('→', " -> ").replace("->", " -> ");
    let mut said = Said::default();
    let mut words = spaced.split_whitespace();
    while let Some(word) = words.next() {
        said.word(word, &mut words).map_err(WordsError)?;
    }
    said.finish(usual).map_err(WordsError)
}

/// A packet in the words that [`read`] reads. Names of interfaces are as they are: strip before drawing.
pub struct Words<'a>(pub &'a Probe);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probe = self.0;
        let end = |address: Option<IpAddr>, port: Option<u16>| match (address, port) {
            (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
            (Some(address), None) => address.to_string(),
            (None, Some(port)) => format!(":{port}"),
            (None, None) => "any".to_owned(),
        };
        if probe.family == Family::V6 && probe.src.or(probe.dst).is_none() {
            f.write_str("v6 ")?;
        }
        if let Some(proto) = probe.proto {
            write!(f, "{proto} ")?;
        }
        let (src, dst) = (end(probe.src, probe.sport), end(probe.dst, probe.dport));
        write!(f, "{src} -> {dst}")?;
        for (word, name) in [("in", probe.input), ("out", probe.output)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        let told = match (probe.input, probe.output) {
            (Some(_), Some(_)) => Path::Forward,
            (None, Some(_)) => Path::Output,
            _ => Path::Input,
        };
        if probe.path != told {
            write!(f, " {}", probe.path.name())?;
        }
        for (word, number) in [("type", probe.icmp_type), ("code", probe.icmp_code)] {
            if let Some(number) = number {
                write!(f, " {word} {number}")?;
            }
        }
        if let Some(state) = probe.ctstate {
            write!(f, " {}", state.name())?;
        }
        let opens = probe.proto == Some(Protocol::TCP) && probe.ctstate == Some(CtState::New);
        let usual = opens.then_some(TcpFlags::SYN);
        if let Some(flags) = probe.tcp_flags.filter(|flags| Some(*flags) != usual) {
            f.write_str(" flags ")?;
            for (at, name) in flags.to_string().split(' ').enumerate() {
                if at > 0 {
                    f.write_char(',')?;
                }
                f.write_str(if name.is_empty() { "none" } else { name })?;
            }
        }
        if let Some(mark) = probe.mark.filter(|mark| *mark != 0) {
            write!(f, " mark {mark:#x}")?;
        }
        for (word, number) in [("ttl", probe.ttl), ("tos", probe.tos)] {
            if let Some(number) = number {
                write!(f, " {word} {number}")?;
            }
        }
        if let Some(length) = probe.length {
            write!(f, " length {length}")?;
        }
        if probe.fragment {
            f.write_str(" fragment")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Said {
    family: Option<Family>,
    path: Option<Path>,
    proto: Option<String>,
    src: (Option<IpAddr>, Option<u16>),
    dst: (Option<IpAddr>, Option<u16>),
    arrow: bool,
    input: Option<IfName>,
    output: Option<IfName>,
    state: Option<CtState>,
    flags: Option<TcpFlags>,
    icmp: (Option<u8>, Option<u8>),
    mark: Option<u32>,
    ttl: Option<u8>,
    tos: Option<u8>,
    length: Option<u32>,
    fragment: bool,
}

type Rest<'a> = std::str::SplitWhitespace<'a>;

impl Said {
    fn word(&mut self, word: &str, words: &mut Rest<'_>) -> Result<(), String> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "->" | "to" => self.arrow = true,
            "from" => {}
            "v4" | "ipv4" => self.family = Some(Family::V4),
            "v6" | "ipv6" => self.family = Some(Family::V6),
            "input" => self.path = Some(Path::Input),
            "forward" => self.path = Some(Path::Forward),
            "output" => self.path = Some(Path::Output),
            "new" => self.state = Some(CtState::New),
            "established" => self.state = Some(CtState::Established),
            "related" => self.state = Some(CtState::Related),
            "invalid" => self.state = Some(CtState::Invalid),
            "untracked" => self.state = Some(CtState::Untracked),
            "fragment" => self.fragment = true,
            "in" => once(&mut self.input, interface(words)?, "in")?,
            "out" => once(&mut self.output, interface(words)?, "out")?,
            "flags" => self.flags = Some(flags(next(words, "flags")?)?),
            "type" => self.icmp.0 = Some(number(words, "type")?),
            "code" => self.icmp.1 = Some(number(words, "code")?),
            "mark" => self.mark = Some(number(words, "mark")?),
            "ttl" | "hl" => self.ttl = Some(number(words, "ttl")?),
            "tos" => self.tos = Some(number(words, "tos")?),
            "length" | "len" => self.length = Some(number(words, "length")?),
            "ping" => {
                self.proto = Some("icmp".to_owned());
                self.icmp = (None, Some(0));
            }
            _ if !self.arrow
                && self.proto.is_none()
                && Protocol::parse(lower.as_bytes()).is_some() =>
            {
                self.proto = Some(lower);
            }
            _ => {
                let end =
                    end(word).ok_or_else(|| format!("{word:?} in the packet is not understood"))?;
                if self.arrow {
                    self.dst = end;
                } else {
                    self.src = end;
                }
            }
        }
        Ok(())
    }

    fn finish(self, usual: Family) -> Result<Probe, String> {
        let address = self.src.0.or(self.dst.0);
        let by_proto = matches!(
            self.proto.as_deref(),
            Some("ipv6-icmp" | "icmpv6" | "icmp6" | "58")
        );
        let family = self.family.unwrap_or(match address {
            Some(IpAddr::V6(_)) => Family::V6,
            Some(IpAddr::V4(_)) => Family::V4,
            None if by_proto => Family::V6,
            None => usual,
        });
        for address in [self.src.0, self.dst.0].into_iter().flatten() {
            if address.is_ipv6() != (family == Family::V6) {
                return Err(format!(
                    "{address} is not of the packet's family, {}",
                    family.name()
                ));
            }
        }
        if let (Some(name), true) = (self.proto.as_deref(), self.src.1.or(self.dst.1).is_some())
            && Protocol::parse(name.as_bytes()).is_some_and(Protocol::is_icmp)
        {
            return Err(format!("{name} has no ports: it has a type and a code"));
        }
        let path = self.path.unwrap_or(match (self.input, self.output) {
            (Some(_), Some(_)) => Path::Forward,
            (None, Some(_)) => Path::Output,
            _ => Path::Input,
        });
        let proto = self.proto.and_then(|name| match (name.as_str(), family) {
            ("icmp", Family::V6) => Some(Protocol::ICMPV6),
            _ => Protocol::parse(name.as_bytes()),
        });
        let ping = self.icmp == (None, Some(0)) && proto.is_some_and(Protocol::is_icmp);
        let echo = if family == Family::V6 { 128 } else { 8 };
        let state = self.state.unwrap_or(CtState::New);
        let opens = proto == Some(Protocol::TCP) && state == CtState::New;
        Ok(Probe {
            open: self.path.is_none() && self.output.is_none(),
            input: self.input,
            output: self.output,
            proto,
            src: self.src.0,
            sport: self.src.1,
            dst: self.dst.0,
            dport: self.dst.1,
            icmp_type: self.icmp.0.or(ping.then_some(echo)),
            icmp_code: self.icmp.1,
            tcp_flags: self.flags.or(opens.then_some(TcpFlags::SYN)),
            ctstate: Some(state),
            length: self.length,
            ttl: self.ttl,
            tos: self.tos,
            // A program may mark what it sends (SO_MARK); what arrives has no mark.
            mark: self.mark.or((path != Path::Output).then_some(0)),
            fragment: self.fragment,
            ..Probe::new(family, path)
        })
    }
}

fn next<'a>(words: &mut Rest<'a>, after: &str) -> Result<&'a str, String> {
    words
        .next()
        .ok_or_else(|| format!("a value is missing after {after:?}"))
}

/// A thing that is said once.
fn once(said: &mut Option<IfName>, name: IfName, word: &str) -> Result<(), String> {
    match said.replace(name) {
        None => Ok(()),
        Some(first) => Err(format!(
            "{word} is said twice, {first} and {name}: a packet has one"
        )),
    }
}

fn number<T: TryFrom<u64>>(words: &mut Rest<'_>, after: &str) -> Result<T, String> {
    let text = next(words, after)?;
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let value = value.and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| format!("{text:?} after {after:?} is no number that fits"))
}

fn interface(words: &mut Rest<'_>) -> Result<IfName, String> {
    let name = next(words, "in or out")?;
    IfName::new(name.as_bytes()).ok_or_else(|| format!("{name:?} can be no interface"))
}

fn flags(text: &str) -> Result<TcpFlags, String> {
    let mut all = TcpFlags::default();
    for name in text.split(',').filter(|name| *name != "none") {
        let flag = TcpFlags::named(name.to_ascii_uppercase().as_bytes());
        all = all | flag.ok_or_else(|| format!("{name:?} is no TCP flag"))?;
    }
    Ok(all)
}

/// `any`, `10.0.0.1`, `10.0.0.1:80`, `:80`, `*:80`, `fe80::1`, `[fe80::1]:80`.
fn end(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if matches!(text, "any" | "*") {
        return Some((None, None));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Some((Some(address), None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let address = match address {
        "" | "*" | "any" => None,
        some => Some(
            some.trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .ok()?,
        ),
    };
    Some((address, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_said_in_words() {
        let probe = read("tcp 203.0.113.9 -> :443 in eth0").unwrap();
        assert_eq!(
            (probe.path, probe.proto),
            (Path::Input, Some(Protocol::TCP))
        );
        assert_eq!(
            (probe.src, probe.dst),
            (Some("203.0.113.9".parse().unwrap()), None)
        );
        assert_eq!((probe.dport, probe.sport), (Some(443), None));
        assert_eq!(
            (probe.ctstate, probe.tcp_flags),
            (Some(CtState::New), Some(TcpFlags::SYN))
        );
        let probe =
            read("udp 10.0.0.1:5353→224.0.0.251:5353 in eth0 forward out eth1 mark 0x10").unwrap();
        assert_eq!((probe.path, probe.mark), (Path::Forward, Some(16)));
        assert_eq!((probe.sport, probe.dport), (Some(5353), Some(5353)));
        let probe = read("icmp [fe80::1] -> fe80::2 type 128 established").unwrap();
        assert_eq!(
            (probe.family, probe.proto),
            (Family::V6, Some(Protocol::ICMPV6))
        );
        assert_eq!((probe.icmp_type, probe.tcp_flags), (Some(128), None));
        assert_eq!(read("tcp -> [::1]:22 out lo").unwrap().path, Path::Output);
        assert_eq!(read("ping -> 10.0.0.1").unwrap().icmp_type, Some(8));
        assert_eq!(read("{\"proto\":\"tcp\"}").unwrap().ctstate, None);
    }

    /// What a program sends may have a mark; what arrives has none; whose way was not said is not settled.
    #[test]
    fn what_is_not_said_stays_open_where_it_may() {
        for (text, mark, open) in [
            ("udp -> 10.0.0.1:53 out eth0", None, false),
            ("udp -> 10.0.0.1:53 out eth0 mark 0", Some(0), false),
            ("udp -> 10.0.0.1:53 in eth0", Some(0), true),
            ("udp -> 10.0.0.1:53", Some(0), true),
            ("udp -> 10.0.0.1:53 input", Some(0), false),
        ] {
            let probe = read(text).unwrap();
            assert_eq!((probe.mark, probe.open), (mark, open), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for bad in [
            "tcp 1.2.3.4 -> :99999",
            "tcp in",
            "hello",
            "tcp ::1 -> 10.0.0.1",
            "mark x",
            "{",
            "flags SIN",
            "tcp -> :22 in eth0 in eth1",
            "tcp -> :22 out eth0 out eth0",
            "icmp 10.0.0.1:80 -> 10.0.0.2:90",
            "ping fe80::1 -> [fe80::2]:1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "tcp 203.0.113.9:40112 -> 10.0.0.5:443 in eth0",
            "udp 10.0.0.1:5353 -> 224.0.0.251:5353 in eth0 out eth1 mark 0x10",
            "ping fe80::1 -> fe80::2 in eth0",
            "v6 tcp -> :22 out lo established flags ACK,PSH",
            "tcp -> :22 in eth0 flags none",
            "-> 10.0.0.1 forward invalid fragment ttl 3 tos 16 length 1500",
            "{\"proto\":\"tcp\",\"tcp_flags\":[]}",
        ] {
            let probe = read(text).unwrap();
            let written = Words(&probe).to_string();
            let again = read(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            // Words without a state are a new connection; JSON without one is any.
            let again = Probe {
                ctstate: probe.ctstate.and(again.ctstate),
                ..again
            };
            assert_eq!(again, probe, "{text} as {written}");
        }
    }
}
