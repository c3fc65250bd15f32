//! REJECT and what the sender is told.

use std::fmt;

use super::super::super::Family;
use super::super::options::{Given, Misread, TargetExtension, opt};
use super::Target;

pub(super) const EXTENSIONS: &[TargetExtension] = &[TargetExtension {
    name: "REJECT",
    options: &[opt(&["reject-with"], 1)],
    read: reject,
}];

/// What REJECT sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// A TCP reset.
    TcpReset,
    /// An ICMP or ICMPv6 error of that name, type and code.
    Icmp {
        /// As the save tool prints it.
        name: &'static str,
        /// Type; 3 for IPv4, 1 for IPv6.
        kind: u8,
        /// Code.
        code: u8,
    },
}

impl fmt::Display for RejectWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcpReset => "tcp-reset",
            Self::Icmp { name, .. } => name,
        })
    }
}

/// Name that is printed, other name, type, code (libipt_REJECT and libip6t_REJECT). The default is first.
type Row = (&'static str, &'static str, u8, u8);

const V4: &[Row] = &[
    ("icmp-port-unreachable", "port-unreach", 3, 3),
    ("icmp-net-unreachable", "net-unreach", 3, 0),
    ("icmp-host-unreachable", "host-unreach", 3, 1),
    ("icmp-proto-unreachable", "proto-unreach", 3, 2),
    ("icmp-net-prohibited", "net-prohib", 3, 9),
    ("icmp-host-prohibited", "host-prohib", 3, 10),
    ("icmp-admin-prohibited", "admin-prohib", 3, 13),
];

const V6: &[Row] = &[
    ("icmp6-port-unreachable", "port-unreach", 1, 4),
    ("icmp6-no-route", "no-route", 1, 0),
    ("icmp6-adm-prohibited", "adm-prohibited", 1, 1),
    ("icmp6-addr-unreachable", "addr-unreach", 1, 3),
    ("icmp6-policy-fail", "policy-fail", 1, 5),
    ("icmp6-reject-route", "reject-route", 1, 6),
];

fn reject<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let rows = match given.family {
        Family::V4 => V4,
        Family::V6 => V6,
    };
    let icmp = |row: &Row| RejectWith::Icmp {
        name: row.0,
        kind: row.2,
        code: row.3,
    };
    let Some(option) = given.options.first() else {
        // Without the option, the first row.
        let row = rows.first().ok_or(Given::lacks("--reject-with"))?;
        return Ok(Target::Reject(icmp(row)));
    };
    let read = |text: &[u8]| {
        if text == b"tcp-reset" || text == b"tcp-rst" {
            return Some(RejectWith::TcpReset);
        }
        let is = |name: &str| name.as_bytes() == text;
        rows.iter().find(|row| is(row.0) || is(row.1)).map(icmp)
    };
    let with = option.read(read, "an ICMP error of this family or tcp-reset")?;
    Ok(Target::Reject(with))
}
