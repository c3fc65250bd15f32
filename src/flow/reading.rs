//! One look at conntrack: how full it is, and what its counters say.

/// Whether there is a connection table to speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConntrackState {
    /// The module is not loaded, or nothing in this network namespace uses it: a state, not an error.
    Absent,
    /// It is there, and this is how it stands.
    Present(ConntrackReading),
}

/// The state of this network namespace's connection table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConntrackReading {
    /// Entries now (`nf_conntrack_count`).
    pub count: u64,
    /// Upper bound (`nf_conntrack_max`); zero means that the kernel sets none. Writable in the first
    /// namespace only, and one number for all of them, while the count is each namespace's own.
    pub max: u64,
    /// Hash buckets (`nf_conntrack_buckets`), shared by all namespaces.
    pub buckets: Option<u64>,
    /// Event counters; `None` where neither /proc nor netlink gave them.
    pub stats: Option<ConntrackStats>,
}

/// Conntrack's event counters, summed over the CPUs. Each is 32 bits wide per CPU in the kernel and
/// wraps. `None` where this kernel does not have the column.
///
/// Columns come and go: `searched`, `new`, `ignore`, `delete`, `delete_list` and `insert` are gone or
/// frozen at zero, `clash_resolve` and `chaintoolong` came (net/netfilter/nf_conntrack_standalone.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackStats {
    /// Lookups that found an entry.
    pub found: Option<u64>,
    /// Packets that conntrack could not make sense of.
    pub invalid: Option<u64>,
    /// Entries inserted.
    pub insert: Option<u64>,
    /// Insertions that failed: a race between two packets of one flow, or of one NAT port.
    pub insert_failed: Option<u64>,
    /// Packets dropped because an entry could not be had: a full table, or no memory.
    pub drop: Option<u64>,
    /// Entries thrown out early to make room in a full table.
    pub early_drop: Option<u64>,
    /// ICMP errors that could not be tracked.
    pub error: Option<u64>,
    /// Lookups restarted because the table was being resized or an entry moved.
    pub search_restart: Option<u64>,
    /// Insertion races that were resolved without loss.
    pub clash_resolve: Option<u64>,
    /// Insertions refused because the bucket's chain was too long.
    pub chaintoolong: Option<u64>,
}
