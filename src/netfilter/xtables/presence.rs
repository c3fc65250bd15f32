//! Which back ends hold a ruleset at all, found without making one.
//!
//! Legacy: /proc/net/ip_tables_names and ip6_tables_names list the tables of the namespace; reading them
//! creates nothing, while asking ip_tables about a table that is not there makes the kernel load its
//! module and register it. nft: a netlink question, except on a modular kernel whose nf_tables is not
//! loaded: the question alone would load it, and an absent module holds no rules.

use std::fs;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::OnceLock;

use crate::netfilter::netlink::{Netlink, NetlinkError, Request};
use crate::netfilter::nftables;
use crate::ruleset::{Backend, Family, Origin};

/// What one origin holds.
#[derive(Debug)]
pub enum Presence {
    /// Tables are there (they may be empty). Their names, in the kernel's order.
    Tables(Vec<String>),
    /// Nothing.
    Nothing,
    /// It cannot be told.
    Unknown(PresenceError),
}

/// Why it cannot be told whether a back end holds rules.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The list of legacy tables is there and may not be read.
    #[error("cannot read {path}: {source}")]
    Names {
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// nf_tables did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl PresenceError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Names { .. } => "run as root (sudo): only root may list the legacy tables",
            Self::Netlink(error) if error.is_permission() => {
                "run as root (sudo), or with CAP_NET_ADMIN"
            }
            Self::Netlink(_) => "check that the kernel has nf_tables (CONFIG_NF_TABLES)",
        }
    }
}

impl Presence {
    /// Looks at `origin` in the calling thread's network namespace.
    pub fn of(origin: Origin) -> Self {
        let names = match origin.backend {
            Backend::Legacy => legacy_tables(origin.family),
            Backend::Nft => nft_tables(origin.family),
        };
        match names {
            Ok(names) if names.is_empty() => Self::Nothing,
            Ok(names) => Self::Tables(names),
            Err(error) => Self::Unknown(error),
        }
    }

    /// Whether there is something to load.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Tables(_))
    }
}

/// The legacy tables of the calling thread's namespace; none when the kernel has no ip_tables.
pub fn legacy_tables(family: Family) -> Result<Vec<String>, PresenceError> {
    let path = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match fs::read_to_string(path) {
        Ok(names) => Ok(names.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(PresenceError::Names {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The nf_tables tables of `family` that iptables-nft would read.
pub fn nft_tables(family: Family) -> Result<Vec<String>, PresenceError> {
    if !nf_tables_is_loaded() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let mut request = Request::default();
    let found = nftables::tables(&mut netlink, &mut request, nftables::nfproto(family));
    let tables = match found {
        Ok((tables, _)) => tables,
        Err(error) if error.is_unsupported() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(tables
        .into_iter()
        .filter(|table| nftables::IPTABLES_TABLES.contains(&table.name.as_slice()))
        .map(|table| String::from_utf8_lossy(&table.name).into_owned())
        .collect())
}

/// Whether asking nf_tables is free of side effects: its code is in the kernel already. True when that
/// cannot be told, as on a kernel without modules.
pub fn nf_tables_is_loaded() -> bool {
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    if Path::new("/sys/module/nf_tables").exists() {
        return true;
    }
    let Ok(modules) = fs::read_to_string("/proc/modules") else {
        return true; // no modules, so whatever there is is built in
    };
    modules.lines().any(|line| line.starts_with("nf_tables ")) || *BUILT_IN.get_or_init(is_built_in)
}

/// Whether nf_tables is part of the kernel's image. The list of such modules tells; a container rarely has
/// it, and there the kernel's symbols do.
fn is_built_in() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = format!("/lib/modules/{}/modules.builtin", release.trim());
    if let Ok(list) = fs::read_to_string(list) {
        return list.lines().any(|line| line.ends_with("/nf_tables.ko"));
    }
    fs::File::open("/proc/kallsyms")
        .is_ok_and(|symbols| has_own_symbol(io::BufReader::new(symbols)))
}

/// Lines are `ADDRESS TYPE NAME`, with `[MODULE]` after them where it is not the image's own.
fn has_own_symbol(symbols: impl BufRead) -> bool {
    symbols
        .lines()
        .map_while(Result::ok)
        .any(|line| line.ends_with(" nf_tables_getgen"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_of_a_module_is_not_the_image_s_own() {
        let own = "0000000000000000 t nf_tables_gettable\n0000000000000000 t nf_tables_getgen\n";
        assert!(has_own_symbol(own.as_bytes()));
        let module = "0000000000000000 t nf_tables_getgen\t[nf_tables]\n";
        assert!(!has_own_symbol(module.as_bytes()));
        assert!(!has_own_symbol(&b""[..]));
    }
}
