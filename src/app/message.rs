//! Everything that can happen to the program, and everything that it can ask to be done.
//!
//! The runtime turns keys, readings and log lines into [`Message`]s and carries out [`Effect`]s; the
//! state between them changes in `update` alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::app::action::Key;
use crate::app::attribution::LogRules;
use crate::app::change::{Checked, Evidence, Pending};
use crate::app::connections::Connection;
use crate::app::firewall::{FirewallId, Handle};
use crate::app::history::{Past, PastState};
use crate::app::keep::{Found, Look};
use crate::app::notice::Notice;
use crate::app::shadowed::Shadowed;
use crate::app::shelf::Reshelve;
use crate::app::why::offer::Offers;
use crate::app::why::question::{Answered, Beside, Question};
use crate::edit::form::complete::Names;
use crate::edit::probe::Site;
use crate::edit::{Shelf, Shelved};
use crate::flow::{Batch, ConntrackState, LogChannel};
use crate::ruleset::{Author, BaseChain, ChainIdx, Lossy, Reading, RuleIdx, Ruleset};

/// Something happened.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted; it counts in typed lines only.
    Paste(String),
    /// The drawing said how many rows each pane has.
    Viewport(Viewport),
    /// A moment came that [`super::state::State::next_wake`] asked for.
    Wake,
    /// A structure was read.
    Loaded(Box<Loaded>),
    /// Counters were read.
    Counters {
        /// Of which ruleset.
        id: FirewallId,
        /// When.
        at: Duration,
        /// Chain by chain.
        readings: Vec<Reading>,
    },
    /// A ruleset is no longer there.
    Gone(FirewallId),
    /// Still reading a structure for the first time.
    Loading(FirewallId, &'static str),
    /// Base chains of nf_tables that iptables cannot show.
    Native(Vec<BaseChain>),
    /// The conntrack table was looked at.
    Conntrack(Result<ConntrackState, String>),
    /// The kernel's log, or NFLOG, brought lines.
    Lines(Batch),
    /// Where the drop feed reads from, in words.
    Source(String),
    /// Why rules that log by that way are not heard.
    Silent {
        /// The way.
        channel: LogChannel,
        /// The likeliest reasons.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// Something is missing or odd: shown until it is withdrawn.
    Notice(Notice),
    /// What was missing is there again.
    Withdraw(String),
    /// The verdict on a packet that was asked about.
    Answered(Box<Answered>),
    /// What the rest of the box has to say about it.
    Beside(Beside),
    /// Changes that would let it through.
    Offered(Offers),
    /// Rules that no packet can match were looked for.
    Shadowed(Shadowed),
    /// The rules that were disabled when the program was here last. Comes before any ruleset.
    Shelf(Shelf),
    /// The connections that are tracked, or why they cannot be listed.
    Connections(Result<Vec<Connection>, String>),
    /// A short word on the message line.
    Say(String),
    /// What is staged was checked.
    Checked(Checked),
    /// How far the apply is.
    Applying(String),
    /// The apply was refused, and nothing has changed: why, and what to do.
    Refused(String, String),
    /// What is staged without a change of rules is done, in words; and the disabled rules that it deleted.
    Settled(String, Vec<Shelved>),
    /// How the change that was pending ended: whether it was kept, where that is known, and in words.
    Ended(Option<bool>, String),
    /// The change that waits for its answer now, if there is one.
    Pending(Option<Pending>),
    /// Who got in since the change was made.
    Evidence(Evidence),
    /// What is saved for the next boot was compared with what is live; the number is the question's.
    SavedSeen(u64, Found),
    /// It was written, in words; or why not, and what to do.
    SavedWritten(Result<String, (String, String)>),
    /// What was changed so far, newest first; or why that cannot be read.
    History(Result<Vec<Past>, String>),
    /// A backup was read; or why not.
    PastState(Result<PastState, String>),
    /// Names of this machine, for the rule editor.
    Names(Names),
    /// A host name was looked up: its addresses, or why it has none.
    Resolved {
        /// The name.
        name: String,
        /// Addresses of both families.
        result: Result<Vec<IpAddr>, String>,
    },
    /// The back end was asked about a rule.
    RuleChecked {
        /// The rule that it was asked about.
        spec: Vec<u8>,
        /// The rule as it would be saved, or the rules where it lists addresses; or why it is refused, in
        /// the tool's words.
        result: Result<Vec<Vec<u8>>, String>,
    },
}

/// A structure that was just read.
#[derive(Debug)]
pub struct Loaded {
    /// Which ruleset.
    pub id: FirewallId,
    /// The structure with the counters of its text.
    pub ruleset: Arc<Ruleset>,
    /// nft handles, parallel to the rules; may be empty.
    pub handles: Vec<Handle>,
    /// Rules whose text says less than what the kernel holds.
    pub lossy: Vec<Lossy>,
    /// Rules that the kernel does not count, in order.
    pub uncounted_rules: Vec<RuleIdx>,
    /// Chains whose policy the kernel does not count, in order.
    pub uncounted_policies: Vec<ChainIdx>,
    /// Its rules that log, for telling who wrote a line.
    pub log_rules: LogRules,
    /// Who changed it, where that is known.
    pub author: Option<Author>,
}

/// How many rows of each pane are on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Viewport {
    /// Rows of the chain list.
    pub chains: usize,
    /// Rows of the rules.
    pub rules: usize,
    /// Rows of the drop feed.
    pub drops: usize,
    /// Rows of the open dialog.
    pub dialog: usize,
    /// Only one pane fits at a time.
    pub single: bool,
    /// Nothing fits: the screen shows no more than that.
    pub hidden: bool,
}

/// Something to be done by the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Stop like any job.
    Suspend,
    /// Draw every cell anew.
    Redraw,
    /// The chain in view: read at every tick.
    Watch(FirewallId, ChainIdx),
    /// Time between readings.
    Interval(Duration),
    /// Stop, or go on, taking readings.
    Freeze(bool),
    /// Read everything now.
    ReadNow,
    /// Send text to the terminal's clipboard.
    Copy(String),
    /// Rules that log by this way count packets, and no line comes: find out why.
    ExplainSilence(LogChannel),
    /// Check what is staged: dry run, the administrator's session, what it would do to traffic.
    Check,
    /// Apply what is staged; it reverts by itself after so long. Disabled rules go to the shelf first.
    Apply(Duration, Reshelve),
    /// Put disabled rules on the shelf of the machine, and take others off.
    Reshelve(Reshelve),
    /// Keep the pending change.
    Confirm,
    /// Put back what was before the pending change.
    Revert,
    /// Let the pending change wait so much longer.
    Extend(Duration),
    /// Compare what is saved for the next boot with what is live.
    LookAtSaved(Look),
    /// Write what was found by the question of that number.
    WriteSaved(u64),
    /// List the connections that are tracked.
    ReadConnections,
    /// Read what was changed so far.
    ReadHistory,
    /// Read the rulesets of that backup.
    ReadBackup(String),
    /// Read the names that a rule can hold: interfaces, services, ipsets.
    ReadNames,
    /// Look up a host name.
    Resolve(String),
    /// Ask the back end about a rule, in a scratch namespace.
    CheckRule {
        /// Of which ruleset.
        id: FirewallId,
        /// Its table.
        table: String,
        /// Its chain.
        chain: Vec<u8>,
        /// The rule, without `-A CHAIN`.
        spec: Vec<u8>,
        /// The user chains that it needs: the one that it stands in, the one that it jumps to.
        chains: Vec<Vec<u8>>,
    },
    /// Put a probe there: the rules of the kernel log what they match at that place, for a while. Where one is
    /// being put already, take it away.
    Probe(FirewallId, Box<Site>),
    /// Take the probe of that name away.
    Unprobe(FirewallId, String),
    /// Work out what becomes of a packet, and read the box around the firewall for it.
    Explain(Box<Question>),
}
