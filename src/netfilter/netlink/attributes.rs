//! Attributes, walked in place, and the few kinds of values that they hold.

use netlink_packet_core::{NLA_HEADER_SIZE, NLA_TYPE_MASK};

/// The attributes of one level, as (kind, value). Stops silently at the first one that is cut short:
/// the kernel does not send those, and a reader that finds something missing says so itself.
pub const fn attributes(encoded: &[u8]) -> Attributes<'_> {
    Attributes { rest: encoded }
}

/// See [`attributes`]. Own code where `netlink-packet-core` has an iterator too, because this is what a
/// tick does ten times for each of 100,000 rules: it checks each length once and costs a quarter.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1, ..] = *self.rest else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(NLA_HEADER_SIZE..length)?;
        // The last one may lack its padding.
        self.rest = self.rest.get((length + 3) & !3..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, value))
    }
}

/// A big-endian `u32` attribute.
pub fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

/// A big-endian `u64` attribute.
pub fn be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(..8)?.try_into().ok()?))
}

/// A string attribute, without the closing NUL.
pub fn text(value: &[u8]) -> &[u8] {
    match memchr::memchr(0, value) {
        Some(end) => &value[..end],
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NFGENMSG_LEN, NLMSG_HDRLEN, Request};
    use super::*;

    #[test]
    fn attributes_are_what_the_library_reads() {
        let mut request = Request::default();
        request
            .start(1, 0, 2)
            .string(1, b"filter")
            .be64(2, 77)
            .string(3 | 0x8000, b"")
            .string(4, b"INPUT");
        let encoded = &request.finish(0)[NLMSG_HDRLEN + NFGENMSG_LEN..];
        let ours: Vec<(u16, Vec<u8>)> = attributes(encoded)
            .map(|(kind, value)| (kind, value.to_vec()))
            .collect();
        let theirs: Vec<(u16, Vec<u8>)> = netlink_packet_core::NlasIterator::new(encoded)
            .map(|found| found.unwrap())
            .map(|found| (found.kind(), found.value().to_vec()))
            .collect();
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 4);
        assert_eq!(be64(&ours[1].1), Some(77));
        assert_eq!(text(&ours[3].1), b"INPUT");
    }
}
