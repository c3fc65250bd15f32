//! How long the answer to a question lasts while packets go from rule to rule.
//!
//! A question is asked anew only where a target has changed what it looks at. That matters most where two rulesets are
//! compared: what is one question before a change must be the same one after it, else packets would be told of that
//! answer it with yes and with no.

/// How long the answer to a question about one packet stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lasts {
    /// Through a table.
    Table,
    /// Until the next target that changes one of these things, of [`looks`].
    Change(u8),
    /// Each rule that asks may be answered differently.
    Once,
}

/// What a question may look at, and a target may change. What NAT changes is one thing.
pub(in super::super) mod looks {
    pub const ADDRESSES: u8 = 1;
    pub const MARK: u8 = 2;
    pub const CONNMARK: u8 = 4;
    pub const TOS: u8 = 8;
    pub const HOPS: u8 = 16;
    /// What conntrack says.
    pub const STATE: u8 = 32;
    /// The members of a set; of which, the question's own name tells.
    pub const MEMBERS: u8 = 64;
    /// How many there are.
    pub const KINDS: usize = 7;
}
