//! The connections that conntrack holds, as a list to choose one from: what becomes of its next packet?

use crate::app::filter::Filter;
use crate::app::state::Picker;
use crate::verdict::Probe;

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whether answers were seen, and what NAT makes of it: short words.
    pub note: &'static str,
    /// Its packets in words: `tcp 203.0.113.9:40000 -> 10.0.0.5:443`.
    pub text: String,
    /// Its next packet; its first one again where NAT has a say, which only looks at first packets.
    pub packet: Probe,
}

/// The list, open.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// What was typed, and the chosen line.
    pub picker: Picker,
    /// What there is; `None`: still being read.
    pub all: Option<Result<Vec<Connection>, String>>,
}

impl Connections {
    /// Those that hold what was typed.
    pub fn choices(&self) -> Vec<&Connection> {
        let filter = Filter::new(&self.picker.query);
        let all = self.all.as_ref().and_then(|all| all.as_ref().ok());
        let all = all.into_iter().flatten();
        all.filter(|one| filter.accepts(one.text.as_bytes()) || filter.accepts(one.note.as_bytes()))
            .collect()
    }
}
