//! Names and addresses of the link layer, as a log line carries them: interface names and the bytes
//! that stood before the network header.
//!
//! Both are small, bounded and copied into place: a log line is kept ten thousand times and made a
//! million times a second, so nothing here allocates.

use std::fmt;

/// An interface name: at most 15 bytes, any bytes but blank, `/` and NUL (`dev_valid_name` in
/// net/core/dev.c). Empty stands for "none", as in `IN= OUT=eth0`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl IfName {
    /// Longest name that the kernel allows: `IFNAMSIZ` less the terminator.
    pub const MAX: usize = 15;

    /// No interface.
    pub const NONE: Self = Self {
        bytes: [0; Self::MAX],
        len: 0,
    };

    /// The name, or `None` when no interface can be called that (too long, a blank, a slash).
    pub fn new(name: &[u8]) -> Option<Self> {
        let len = u8::try_from(name.len()).ok()?;
        let forbidden = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0 | b'/');
        if name.iter().any(forbidden) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len })
    }

    /// The bytes of the name; empty for none.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// No interface stood there.
    pub fn is_none(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for IfName {
    /// Lossy text; control characters are still in it, the drawing side strips them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl serde::Serialize for IfName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, &self.0)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The link header as `MAC=` prints it: `hard_header_len` bytes of the receiving device. On Ethernet
/// the first fourteen are destination, source and type; drivers that reserve more room (VLAN,
/// bridges) make it 16 or 18, of which the rest is what happened to lie there.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LinkHeader {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl LinkHeader {
    /// More than any header seen; longer ones are kept up to here.
    pub const MAX: usize = 22;

    /// The first [`Self::MAX`] bytes of a header.
    pub fn new(header: &[u8]) -> Self {
        let mut link = Self::default();
        for byte in header {
            link.push(*byte);
        }
        link
    }

    /// Appends a byte; what does not fit is dropped.
    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte;
            self.len += 1;
        }
    }

    /// The header's bytes; empty when the line had none.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The line had no link header (loopback, tunnels, locally made packets).
    pub fn is_none(&self) -> bool {
        self.len == 0
    }

    /// The sender's Ethernet address, if the header is long enough to be Ethernet.
    pub fn source(&self) -> Option<Mac> {
        self.ethernet()?;
        self.mac(6)
    }

    /// The receiver's Ethernet address.
    pub fn destination(&self) -> Option<Mac> {
        self.ethernet()?;
        self.mac(0)
    }

    /// The Ethernet type: 0x0800 IPv4, 0x86dd IPv6, 0x8100 a VLAN tag.
    pub fn ethertype(&self) -> Option<u16> {
        self.ethernet()
    }

    fn ethernet(&self) -> Option<u16> {
        let kind: [u8; 2] = self.as_bytes().get(12..14)?.try_into().ok()?;
        Some(u16::from_be_bytes(kind))
    }

    fn mac(&self, at: usize) -> Option<Mac> {
        Some(Mac(self.as_bytes().get(at..at + 6)?.try_into().ok()?))
    }
}

impl fmt::Display for LinkHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_colons(f, self.as_bytes())
    }
}

impl fmt::Debug for LinkHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_colons(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        let colon = if i == 0 { "" } else { ":" };
        write!(f, "{colon}{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        assert_eq!(
            IfName::new(b"eth0").map(|n| n.to_string()),
            Some("eth0".into())
        );
        assert_eq!(
            IfName::new(b"fifteen-bytes-x").map(|n| n.as_bytes().len()),
            Some(15)
        );
        assert_eq!(IfName::new(b"sixteen-bytes-xx"), None);
        assert_eq!(IfName::new(b"we ird"), None);
        assert_eq!(IfName::new(b"a/b"), None);
        assert_eq!(IfName::new(b""), Some(IfName::NONE));
        assert_eq!(IfName::new(&[b'x'; 300]), None);
    }

    #[test]
    fn an_ethernet_header_gives_its_three_parts() {
        let link = LinkHeader::new(&[2, 0, 0, 0xbb, 0, 1, 2, 0, 0, 0xaa, 0, 2, 0x86, 0xdd, 9, 9]);
        assert_eq!(
            link.source().map(|m| m.to_string()),
            Some("02:00:00:aa:00:02".into())
        );
        assert_eq!(link.destination(), Some(Mac([2, 0, 0, 0xbb, 0, 1])));
        assert_eq!(link.ethertype(), Some(0x86dd));
        assert_eq!(LinkHeader::new(&[1, 2, 3]).source(), None);
        assert_eq!(LinkHeader::new(&[7; 64]).as_bytes().len(), LinkHeader::MAX);
    }
}
