//! The doors to the kernel's firewall.
//!
//! ```text
//! xtables     structure: what `*-save -c` of each family and back end prints, and its warnings
//! conntrack   how full the connection table is, and what its counters say
//! drops       the kernel's words about dropped packets: its log, the journal, files, NFLOG
//! counters    numbers: read straight from the kernel, without a process and without text
//! events      who changed an nf_tables ruleset, and what the change touched
//! ipset       the names of the ipsets
//! native      what iptables cannot show: foreign base chains, and rules whose saved text lies
//! nftables    the words of nf_tables netlink that the three above speak
//! netlink     a socket that asks and walks answers, nothing else
//! ```
//!
//! Everything here works in the network namespace of the *calling thread*: sockets are opened by the
//! thread that uses them, /proc is read through `thread-self`, and child processes inherit it. Nothing
//! here changes a firewall but `xtables::restore` (and `beside`, which makes ipsets), and nothing that
//! reads makes the kernel load a module or create a table that was not there: looking must not touch.
//!
//! Why processes for the structure and sockets for the numbers: only the iptables tools can print
//! every match and target, and nobody should link their library; but a process and a parse of all the
//! text for each tick costs twenty times what the numbers alone cost.

pub mod conntrack;
pub mod counters;
pub mod drops;
pub mod events;
pub mod ipset;
pub mod native;
pub mod netlink;
pub mod nftables;
pub mod tracked;
pub mod xtables;
