//! A question, encoded: the header, the subsystem's own header, attributes.

use netlink_packet_core::{NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer};

use super::NLMSG_HDRLEN;

/// A request under construction; the buffer is kept and refilled, so asking again allocates nothing.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Starts over with a message of `kind` for `family`.
    pub fn start(&mut self, kind: u16, flags: u16, family: u8) -> &mut Self {
        self.bytes.clear();
        self.bytes.resize(NLMSG_HDRLEN, 0);
        let mut header = NetlinkBuffer::new(&mut self.bytes);
        header.set_message_type(kind);
        header.set_flags(flags | NLM_F_REQUEST);
        self.bytes.extend_from_slice(&[family, 0, 0, 0]); // nfgenmsg: family, NFNETLINK_V0, res_id
        self
    }

    /// Starts over with an edge of a transaction: its subsystem stands where others have their mark.
    pub(super) fn edge(&mut self, kind: u16, subsystem: u16) -> &mut Self {
        self.start(kind, 0, 0);
        if let Some(mark) = self.bytes.last_chunk_mut::<2>() {
            *mark = subsystem.to_be_bytes();
        }
        self
    }

    /// Appends a big-endian `u32` attribute.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, 4);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self.pad()
    }

    /// Appends a string attribute, NUL closed.
    pub fn string(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.attribute(kind, value.len() + 1);
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
        self.pad()
    }

    /// Appends a big-endian `u64` attribute.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.attribute(kind, 8);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self.pad()
    }

    /// Appends an attribute of one byte.
    pub fn byte(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attribute(kind, 1);
        self.bytes.push(value);
        self.pad()
    }

    fn attribute(&mut self, kind: u16, length: usize) {
        // Names are at most 255 bytes (NFT_NAME_MAXLEN); a longer one is cut in the length field and
        // then refused by the kernel.
        let total = u16::try_from(length + NLA_HEADER_SIZE).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&total.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let mut header = NetlinkBuffer::new(&mut self.bytes);
        header.set_length(length);
        header.set_sequence_number(sequence);
        &self.bytes
    }

    pub(super) fn is_dump(&self) -> bool {
        NetlinkBuffer::new(&self.bytes).flags() & NLM_F_DUMP == NLM_F_DUMP
    }
}
