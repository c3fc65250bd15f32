//! Which rule decides a packet.
//!
//! [`Program::compile`] makes a program of the rulesets of one family, both back ends together;
//! [`Program::decide`] puts a [`Probe`] through it and says what happens and who says
//! so, [`Program::explain`] also which rules were tried on the way and why each matched or did not.
//!
//! The kernel is the oracle: traversal, matches and targets follow its source, and a differential test
//! compares every rule's counter with the predicted path. What cannot be known (how fast packets come, who
//! owns a socket, a set whose members were not handed in, a field of the packet that was not said) is
//! unknown; the walk then follows both ways, and the verdict is certain only where all ways agree.
//!
//! Conntrack is taken to be on, as it is wherever one rule of any table asks for it: without one, an
//! otherwise idle nat table of the legacy back end is not even consulted.
//!
//! It does not know: routes (the packet's way is said by whoever asks), what conntrack holds (so is its
//! state; an established packet is translated only where its connection's ends are said), the rules of native nft
//! chains (which may drop).
//!
//! It is pure: what is known of the box is handed in as [`Facts`].
//!
//! Rooms within: `compile` makes the [`Program`] (`program`) of conditions (`cond`) and changes (`change`);
//! `connection` asks about the packets that must follow one that opens a connection; `diary` is what a walk writes
//! down; `elsewhere` weighs what is not the firewall; `words` (and `form`, as JSON) reads and writes a packet as people
//! say it; `typical` thinks of packets for a rule, `complete` of what they leave open, `onward` explains them on a live
//! box; `walk` takes a packet (`thread`, `state`) through it; `explain`, `doubt` and `json` tell; `sets`, `clock` and `bytes` are
//! what some matches look at. Of packets by the set, and not one by one: `space` is what a set is, `shadow` finds
//! rules that nothing can match, `sweep` puts sets through the program, `alter` says what a change of the rules
//! does to them, and `traffic` says it in words.

mod alter;
mod bytes;
mod change;
mod clock;
mod compile;
mod complete;
mod cond;
mod connection;
mod diary;
mod doubt;
mod elsewhere;
mod explain;
mod facts;
mod form;
mod json;
mod onward;
mod probe;
mod program;
pub mod sets;
mod shadow;
mod space;
mod state;
mod sweep;
mod tell;
#[cfg(test)]
mod tests;
mod thread;
mod traffic;
mod tri;
mod typical;
mod walk;
mod words;

pub use alter::{Alteration, Policed, Reach, Side, Stopped, Way, change};
pub use complete::{complete, fitting, gaps, settle, toward, way_out};
pub use connection::{Bound, Connection, End, Other, Part, causes, connection_seen, looped, opens};
pub use elsewhere::{About, Cause, Grade, elsewhere, questions};
pub use explain::{
    Answer, Decider, Decision, Explanation, Possible, Step, Translated, Verdict, not_in_dump,
};
pub use facts::Facts;
pub use json::SCHEMA;
pub use onward::{Ask, completed, explained, homeward};
pub use probe::{CtState, Ends, LinkType, Path, Probe, ProbeError};
pub use program::{Place, Program};
pub use shadow::{Dead, Redundancies, Redundant, Shadow, Shadows};
pub use traffic::{Belongs, Line, Traffic};
pub use typical::typical;
pub use words::{EXAMPLE, Words, WordsError, read as read_words, read_as as read_words_as};
