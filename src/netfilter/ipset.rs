//! The names of the ipsets of this namespace, for completing `--match-set`.
//!
//! Asked of the kernel by netlink (include/uapi/linux/netfilter/ipset/ip_set.h); no set is read. Asking a
//! kernel whose ip_set is not loaded would load it, so that is looked at first.

use std::path::Path;

use super::netlink::{Netlink, NetlinkError, Request, attributes, text};

/// `NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_LIST`.
const LIST: u16 = 6 << 8 | 7;
/// `NLM_F_DUMP` (linux/netlink.h).
const DUMP: u16 = 0x300;
/// `IPSET_ATTR_PROTOCOL`, and the oldest that today's kernels speak.
const PROTOCOL: (u16, u8) = (1, 6);
/// `IPSET_ATTR_SETNAME`.
const NAME: u16 = 2;
/// `IPSET_ATTR_FLAGS`, in network order, and `IPSET_FLAG_LIST_SETNAME`: names alone.
const FLAGS: (u16, u32) = (6 | 0x4000, 1 << 1);

/// The names of all sets, sorted; none where the kernel has no sets. Bytes that are no UTF-8 show as
/// U+FFFD.
pub fn names() -> Result<Vec<String>, NetlinkError> {
    if !Path::new("/sys/module/ip_set").exists() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let mut request = Request::default();
    request
        .start(LIST, DUMP, 2)
        .byte(PROTOCOL.0, PROTOCOL.1)
        .be32(FLAGS.0, FLAGS.1);
    let mut names = Vec::new();
    let asked = netlink.ask("ipset names", &mut request, |message| {
        let name = attributes(message.attributes).find(|(kind, _)| *kind == NAME);
        if let Some((_, value)) = name {
            names.push(String::from_utf8_lossy(text(value)).into_owned());
        }
    });
    match asked {
        Ok(_) => {}
        Err(error) if error.is_unsupported() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
