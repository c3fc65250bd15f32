//! The JSON form of a packet, which is the contract of `ruletop explain --packets`: read into a [`Probe`].

use std::net::IpAddr;

use super::connection::Connection;
use super::probe::{CtState, Ends, LinkType, Path, Probe, ProbeError};
use crate::flow::{IfName, Mac, Protocol, TcpFlags};
use crate::ruleset::Family;

/// Reads a packet that is of `usual` where it does not tell its family.
pub(super) fn read(text: &[u8], usual: Family) -> Result<Probe, ProbeError> {
    let form: Form = serde_json::from_slice(text)?;
    form.read(usual)
}

/// The JSON form, before it is checked. A field that is not known is refused: a misspelt one would
/// silently become a wildcard.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    family: Option<u8>,
    path: Option<Path>,
    #[serde(rename = "in")]
    input: Option<String>,
    out: Option<String>,
    proto: Option<Number>,
    src: Option<IpAddr>,
    sport: Option<u16>,
    dst: Option<IpAddr>,
    dport: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    tcp_flags: Option<Vec<String>>,
    ctstate: Option<CtState>,
    length: Option<u32>,
    ttl: Option<u8>,
    tos: Option<u8>,
    mark: Option<u32>,
    fragment: Option<bool>,
    connmark: Option<u32>,
    ctdir: Option<String>,
    ctorigsrc: Option<IpAddr>,
    ctorigdst: Option<IpAddr>,
    ctorigsrcport: Option<u16>,
    ctorigdstport: Option<u16>,
    mac: Option<String>,
    pkttype: Option<LinkType>,
    bytes: Option<String>,
}

/// A protocol by number or by name.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Number {
    Is(u8),
    Named(String),
}

impl Form {
    fn read(self, usual: Family) -> Result<Probe, ProbeError> {
        let family = self.family(usual)?;
        let path = self.path.unwrap_or(match (&self.input, &self.out) {
            (Some(_), Some(_)) => Path::Forward,
            (None, Some(_)) => Path::Output,
            _ => Path::Input,
        });
        Ok(Probe {
            open: self.path.is_none() && self.out.as_ref().is_none_or(String::is_empty),
            made_up: Ends::default(),
            input: interface("in", self.input)?,
            output: interface("out", self.out)?,
            proto: self
                .proto
                .map(|proto| protocol(proto, family))
                .transpose()?,
            src: self.src,
            sport: self.sport,
            dst: self.dst,
            dport: self.dport,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
            tcp_flags: self.tcp_flags.map(flags).transpose()?,
            ctstate: self.ctstate,
            connection: Connection {
                reply: self.ctdir.map(|word| direction(&word)).transpose()?,
                src: self.ctorigsrc,
                dst: self.ctorigdst,
                sport: self.ctorigsrcport,
                dport: self.ctorigdstport,
                mark: self.connmark,
                ..Connection::default()
            },
            length: self.length,
            ttl: self.ttl,
            tos: self.tos,
            mark: Some(self.mark.unwrap_or(0)),
            fragment: self.fragment.unwrap_or(false),
            mac: self.mac.map(|text| mac(&text)).transpose()?,
            link: self.pkttype,
            bytes: self.bytes.map(|text| hex(&text)).transpose()?,
            ..Probe::new(family, path)
        })
    }

    /// What is said, else what the addresses are; they must not be of the other family.
    fn family(&self, usual: Family) -> Result<Family, ProbeError> {
        let of = |address: &IpAddr| match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        };
        let addresses = [("src", self.src), ("dst", self.dst)];
        let told = addresses.iter().find_map(|(_, address)| address.as_ref());
        let family = match (self.family, told) {
            (Some(4), _) => Family::V4,
            (Some(6), _) => Family::V6,
            (Some(other), _) => return Err(ProbeError::value("family", &other, "4 or 6")),
            (None, told) => told.map_or(usual, of),
        };
        for (field, address) in addresses {
            if let Some(address) = address.filter(|address| of(address) != family) {
                return Err(ProbeError::value(
                    field,
                    &address,
                    "an address of the packet's family",
                ));
            }
        }
        Ok(family)
    }
}

fn interface(field: &'static str, name: Option<String>) -> Result<Option<IfName>, ProbeError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match IfName::new(name.as_bytes()) {
        Some(name) => Ok(Some(name)),
        None => Err(ProbeError::value(field, &name, "the name of an interface")),
    }
}

fn protocol(proto: Number, family: Family) -> Result<Protocol, ProbeError> {
    let name = match proto {
        Number::Is(number) => return Ok(Protocol(number)),
        Number::Named(name) => name,
    };
    // What a person calls ICMP is the family's own.
    if name.eq_ignore_ascii_case("icmp") && family == Family::V6 {
        return Ok(Protocol::ICMPV6);
    }
    Protocol::parse(name.as_bytes())
        .ok_or_else(|| ProbeError::value("proto", &name, "a protocol's name or number"))
}

fn flags(names: Vec<String>) -> Result<TcpFlags, ProbeError> {
    let mut all = TcpFlags::default();
    for name in names {
        match TcpFlags::named(name.to_ascii_uppercase().as_bytes()) {
            Some(flag) => all = all | flag,
            None => {
                return Err(ProbeError::value(
                    "tcp_flags",
                    &name,
                    "names such as SYN and ACK",
                ));
            }
        }
    }
    Ok(all)
}

fn direction(word: &str) -> Result<bool, ProbeError> {
    match word {
        "ORIGINAL" => Ok(false),
        "REPLY" => Ok(true),
        other => Err(ProbeError::value("ctdir", other, "ORIGINAL or REPLY")),
    }
}

fn mac(text: &str) -> Result<Mac, ProbeError> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    let whole = mac.iter_mut().all(|octet| {
        let part = parts.next().filter(|part| part.len() <= 2);
        let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
        value.map(|value| *octet = value).is_some()
    });
    if whole && parts.next().is_none() {
        Ok(Mac(mac))
    } else {
        Err(ProbeError::value(
            "mac",
            text,
            "six pairs of hexadecimal digits",
        ))
    }
}

fn hex(text: &str) -> Result<Box<[u8]>, ProbeError> {
    let wrong = || ProbeError::value("bytes", text, "an even count of hexadecimal digits");
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    if !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pair = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.map(Vec::into_boxed_slice).ok_or_else(wrong)
}
