//! Values that the reader takes and the kernel or its tool does not, or takes for something else.

use super::Rule;
use crate::edit::form::text;
use crate::ruleset::spec::value::Net;
use crate::ruleset::spec::{Address, Addresses, Interface, Inv, Match, Piece, Ports, Target};
use crate::ruleset::{Backend, Family, Severity};

/// IFNAMSIZ less its end (linux/if.h).
const INTERFACE: usize = 15;
/// XT_MAX_COMMENT_LEN less its end (xt_comment.h).
const COMMENT: usize = 255;
/// Of LOG (xt_LOG.h) and of NFLOG (xt_NFLOG.h), less their ends.
const PREFIX: usize = 29;
const NFLOG_PREFIX: usize = 63;
/// NF_LOG_PREFIXLEN of nf_tables (linux/netfilter/nf_log.h), less its end.
const NFT_PREFIX: usize = 127;
/// XT_MULTI_PORTS; a range counts twice.
const MULTIPORT: usize = 15;

pub(super) fn check(rule: &mut Rule<'_, '_>) {
    let spec = rule.spec;
    for (option, side) in [("source", &spec.source), ("destination", &spec.destination)] {
        if let (Some(side), Some(piece)) = (side, rule.layout.general(option)) {
            addresses(rule, side, piece);
        }
    }
    for (option, side) in [
        ("in-interface", &spec.in_interface),
        ("out-interface", &spec.out_interface),
    ] {
        if let (Some(side), Some(piece)) = (side, rule.layout.general(option)) {
            interface(rule, &side.value, piece);
        }
    }
    if let (Some(protocol), Some(piece)) = (&spec.protocol, rule.layout.general("protocol")) {
        let at = Rule::value_at(piece);
        match protocol.value.number {
            None => rule.error(
                at,
                "expected a protocol: tcp, udp, icmp … or a number up to 255",
            ),
            Some(0) if protocol.invert => {
                rule.error(at, "of no protocol nothing is left: leave -p out");
            }
            Some(1) if rule.site.family == Family::V6 => {
                rule.say(
                    Severity::Warning,
                    at,
                    "ICMP of IPv4; that of IPv6 is ipv6-icmp",
                );
            }
            Some(58) if rule.site.family == Family::V4 => {
                rule.say(Severity::Warning, at, "ICMP of IPv6; that of IPv4 is icmp");
            }
            Some(_) => {}
        }
    }
    ports(rule);
    texts(rule);
    if let Some(Target::Reject(crate::ruleset::spec::targets::RejectWith::TcpReset)) = &spec.target
    {
        let is_tcp = spec
            .protocol
            .as_ref()
            .is_some_and(|p| !p.invert && p.value.number == Some(6));
        if !is_tcp && let Some((_, piece)) = rule.layout.of_held(&["REJECT"], "reject-with") {
            rule.error(Rule::value_at(piece), "a TCP reset needs -p tcp");
        }
    }
}

fn addresses(rule: &mut Rule<'_, '_>, side: &Inv<Addresses<'_>>, piece: &Piece<'_>) {
    let at = Rule::value_at(piece);
    let count = side.value.iter().count();
    if side.invert && count > 1 {
        rule.error(at, "'!' takes one address, not a list");
        return;
    }
    for (address, text) in side.value.iter().zip(piece.value().split(|b| *b == b',')) {
        match address {
            Address::Net(net) => {
                let kept = cut(net, text);
                if let Some(kept) = kept {
                    let words = format!("the kernel keeps {kept}");
                    rule.say(Severity::Note, at.clone(), words);
                }
            }
            Address::Name(_) => name(rule, text, at.clone()),
        }
    }
    if count > 1 {
        let words = format!("a list of addresses: becomes {count} rules");
        rule.say(Severity::Note, at, words);
    }
}

/// What stays of a network that has bits beyond its mask.
fn cut(net: &Net, text: &[u8]) -> Option<String> {
    let address = text.split(|b| *b == b'/').next()?;
    let written: std::net::IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    let kept = match net {
        Net::V4 { address, .. } => std::net::IpAddr::V4(*address),
        Net::V6 { address, .. } => std::net::IpAddr::V6(*address),
    };
    (written != kept).then(|| net.to_string())
}

/// What was no address of this family.
fn name(rule: &mut Rule<'_, '_>, written: &[u8], at: std::ops::Range<usize>) {
    let (own, other) = match rule.site.family {
        Family::V4 => ("IPv4", Family::V6),
        Family::V6 => ("IPv6", Family::V4),
    };
    let host = written.split(|b| *b == b'/').next().unwrap_or_default();
    let is_v6 = host.contains(&b':');
    let numeric = !host.is_empty() && host.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if Net::read(written, other).is_some() && (is_v6 || host.split(|b| *b == b'.').count() == 4) {
        let found = if is_v6 { "IPv6" } else { "IPv4" };
        rule.error(at, format!("an {found} address in an {own} rule"));
    } else if Net::read(host, rule.site.family).is_some() {
        let most = if own == "IPv4" { 32 } else { 128 };
        rule.error(
            at,
            format!("expected a prefix from 0 to {most} or a mask after '/'"),
        );
    } else if is_v6 || numeric || !is_host(host) {
        rule.error(
            at,
            format!("expected an {own} address, a network or a host name"),
        );
    } else {
        let host = text::from_bytes(host);
        let words = format!(
            "{host}: a host name; the kernel keeps the addresses that it has when the rule is loaded"
        );
        rule.say(Severity::Note, at, words);
    }
}

/// Letters, digits, dots and hyphens (RFC 1123), and the underscore that some use.
pub(super) fn is_host(name: &[u8]) -> bool {
    let label = |label: &[u8]| {
        !label.is_empty()
            && label.len() <= 63
            && label.first() != Some(&b'-')
            && label
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.len() <= 253 && name.split(|b| *b == b'.').all(label)
}

fn interface(rule: &mut Rule<'_, '_>, interface: &Interface<'_>, piece: &Piece<'_>) {
    let (at, name) = (Rule::value_at(piece), &interface.text);
    if name.is_empty() {
        rule.error(at, "expected an interface");
    } else if name.len() > INTERFACE {
        rule.error(at, "an interface's name has at most 15 characters");
    } else if name.contains(&b'/') {
        rule.error(at, "an interface's name has no '/'");
    } else if name.contains(&b':') {
        rule.say(
            Severity::Warning,
            at,
            "rules see the interface, not its alias: leave out what begins with ':'",
        );
    }
}

fn ports(rule: &mut Rule<'_, '_>) {
    let (spec, layout) = (rule.spec, rule.layout);
    let mut bounds = |ports: Option<Inv<Ports>>, names: &[&str], option: &str| {
        if let Some(ports) = ports.filter(|ports| ports.value.min > ports.value.max)
            && let Some((_, piece)) = layout.of_held(names, option)
        {
            let words = format!(
                "{}:{}: a range goes from the lower to the higher port",
                ports.value.min, ports.value.max
            );
            rule.error(Rule::value_at(piece), words);
        }
    };
    for one in &spec.matches {
        let (source, destination, name) = match one {
            Match::Tcp(m) => (m.source_ports, m.destination_ports, "tcp"),
            Match::Udp(m) if m.lite => (m.source_ports, m.destination_ports, "udplite"),
            Match::Udp(m) => (m.source_ports, m.destination_ports, "udp"),
            Match::Sctp(m) => (m.source_ports, m.destination_ports, "sctp"),
            Match::Dccp(m) => (m.source_ports, m.destination_ports, "dccp"),
            _ => continue,
        };
        bounds(source, &[name], "sport");
        bounds(destination, &[name], "dport");
    }
    let is_list = |piece: &&Piece<'_>| matches!(piece.option, "sports" | "dports" | "ports");
    for piece in layout.pieces.iter().filter(is_list) {
        let items = piece.value().split(|b| *b == b',');
        let count: usize = items
            .map(|item| 1 + usize::from(item.contains(&b':')))
            .sum();
        if count > MULTIPORT {
            rule.error(
                Rule::value_at(piece),
                "a list holds at most 15 ports; a range counts as two",
            );
        }
    }
}

fn texts(rule: &mut Rule<'_, '_>) {
    let layout = rule.layout;
    for piece in &layout.pieces {
        let most = match piece.option {
            "comment" => COMMENT,
            "log-prefix" => PREFIX,
            "nflog-prefix" if rule.site.backend == Some(Backend::Legacy) => NFLOG_PREFIX,
            "nflog-prefix" => NFT_PREFIX,
            _ => continue,
        };
        let length = piece.value().len();
        if length > most {
            let words = format!("--{}: at most {most} bytes, not {length}", piece.option);
            rule.error(Rule::value_at(piece), words);
        } else if piece.value().contains(&b'\n') {
            let words =
                "a line break: whoever reads the saved rules may take what follows for a rule";
            rule.say(Severity::Warning, Rule::value_at(piece), words);
        }
    }
}
