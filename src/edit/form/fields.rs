//! The form out of the text: which words each field shows.
//!
//! [`Shown`] is the one place that says which parts of a rule a field stands for; reading takes its text
//! from there and writing changes just those parts. Of a match that is there twice the first is shown,
//! the other stays with what the form has no field for.

use super::ports::{self, Ports, Side};
use super::{Site, text};
use crate::ruleset::spec::{Layout, Piece, Spec};

/// One field of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `-j NAME`, or `goto NAME` for `-g`.
    Target,
    /// What the target is given, as written; its log prefix has a field of its own.
    TargetOptions,
    /// `-p`
    Protocol,
    /// `--ctstate` of conntrack, or `--state` of state.
    State,
    /// `-s`
    Source,
    /// `--sport`, or `--sports` of multiport.
    SourcePorts,
    /// `-d`
    Destination,
    /// `--dport`, or `--dports` of multiport.
    DestinationPorts,
    /// `-i`
    InInterface,
    /// `-o`
    OutInterface,
    /// `--limit`, and ` burst N` where it is given.
    Limit,
    /// The prefix of LOG or NFLOG, every blank of it.
    LogPrefix,
    /// The first `--comment`.
    Comment,
}

impl Field {
    /// All of them, in the order in which one fills them in.
    pub const ALL: [Self; 13] = [
        Self::Target,
        Self::TargetOptions,
        Self::Protocol,
        Self::State,
        Self::Source,
        Self::SourcePorts,
        Self::Destination,
        Self::DestinationPorts,
        Self::InInterface,
        Self::OutInterface,
        Self::Limit,
        Self::LogPrefix,
        Self::Comment,
    ];

    /// Its word on the form.
    pub fn label(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::TargetOptions => "options",
            Self::Protocol => "protocol",
            Self::State => "state",
            Self::Source => "source",
            Self::Destination => "dest",
            Self::SourcePorts | Self::DestinationPorts => "ports",
            Self::InInterface => "in",
            Self::OutInterface => "out",
            Self::Limit => "limit",
            Self::LogPrefix => "prefix",
            Self::Comment => "comment",
        }
    }

    /// What may stand in it, in a few words.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Target => {
                "ACCEPT, DROP, a chain; empty only counts; goto CHAIN does not come back"
            }
            Self::TargetOptions => "options of the target, as on a command line",
            Self::Protocol => "tcp, udp, icmp, a number; ! inverts; empty is any",
            Self::State => "NEW,ESTABLISHED,RELATED,INVALID,UNTRACKED; ! inverts",
            Self::Source => "where it comes from: address, network, host name; ! inverts",
            Self::Destination => "where it goes to: address, network, host name; ! inverts",
            Self::SourcePorts => "port of the sender: 53, 1024:65535, 80,443; ! inverts",
            Self::DestinationPorts => {
                "port that it goes to: 443, ssh, 1000:2000, 80,443; ! inverts"
            }
            Self::InInterface => "arrives on: eth0, ppp+; ! inverts",
            Self::OutInterface => "leaves by: eth0, ppp+; ! inverts",
            Self::Limit => "matches at most so often: 5/min, or 5/min burst 10",
            Self::LogPrefix => "what each log line begins with, at most 29 characters",
            Self::Comment => "for people; says nothing to the kernel",
        }
    }

    fn at(self) -> usize {
        Self::ALL.iter().position(|f| *f == self).unwrap_or(0)
    }

    /// A `!` at its start inverts it.
    pub fn can_invert(self) -> bool {
        !matches!(
            self,
            Self::Target | Self::TargetOptions | Self::Limit | Self::LogPrefix | Self::Comment
        )
    }
}

/// The text of every field, and what has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    texts: [String; Field::ALL.len()],
    /// Parts of the rule that no field shows, as written.
    pub others: Vec<String>,
}

impl Form {
    /// The form of a rule's text.
    pub fn read(raw: &[u8], site: &Site) -> Self {
        let is_chain = |name: &[u8]| site.is_chain(name);
        let (spec, layout) = Layout::read(raw, site.family, &is_chain);
        Self::of(&spec, &layout)
    }

    pub(super) fn of(spec: &Spec<'_>, layout: &Layout<'_>) -> Self {
        let mut form = Self::default();
        let mut used = Vec::new();
        for field in Field::ALL {
            let shown = Shown::of(field, spec, layout);
            form.texts[field.at()] = shown.text(layout);
            used.extend(shown.pieces());
        }
        let rest = layout.pieces.iter().enumerate();
        form.others = rest
            .filter(|(at, _)| !used.contains(at) && !loads_shown(*at, layout, &used))
            .map(|(_, piece)| raw_of(piece))
            .collect();
        form
    }

    /// The text of a field; empty where the rule says nothing of it.
    pub fn get(&self, field: Field) -> &str {
        &self.texts[field.at()]
    }
}

/// The `-m` of a match all of whose options are shown.
fn loads_shown(at: usize, layout: &Layout<'_>, used: &[usize]) -> bool {
    let Some(held) = layout.held.iter().position(|held| held.piece == Some(at)) else {
        return false;
    };
    let mut own = layout
        .pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.of == Some(held))
        .map(|(at, _)| at)
        .peekable();
    own.peek().is_some() && own.all(|at| used.contains(&at))
}

fn raw_of(piece: &Piece<'_>) -> String {
    let words: Vec<String> = piece
        .words
        .iter()
        .map(|word| text::from_bytes(word.raw))
        .collect();
    words.join(" ")
}

/// What a field shows of a rule: indexes of pieces.
#[derive(Debug)]
pub(super) enum Shown {
    /// The rule says nothing of it.
    Nothing,
    /// The value of one option, inverted or not.
    Value(usize),
    /// `-j` or `-g`.
    Target(usize),
    /// Options of the target, as they stand.
    Options(Vec<usize>),
    /// Ports of one side.
    Ports(Ports),
    /// The rate and the burst.
    Limit(Option<usize>, Option<usize>),
}

impl Shown {
    pub(super) fn of(field: Field, spec: &Spec<'_>, layout: &Layout<'_>) -> Self {
        let general = |option: &str| {
            let at = layout.pieces.iter().position(|p| p.is_general(option));
            at.map_or(Self::Nothing, Self::Value)
        };
        let held =
            |names: &[&str], option: &str| layout.of_held(names, option).map(|found| found.0);
        let value = |at: Option<usize>| at.map_or(Self::Nothing, Self::Value);
        match field {
            Field::Target => target_at(layout).map_or(Self::Nothing, Self::Target),
            Field::TargetOptions => match target_options(layout) {
                options if options.is_empty() => Self::Nothing,
                options => Self::Options(options),
            },
            Field::Protocol => general("protocol"),
            Field::Source => general("source"),
            Field::Destination => general("destination"),
            Field::InInterface => general("in-interface"),
            Field::OutInterface => general("out-interface"),
            Field::State => {
                value(held(&["conntrack"], "ctstate").or_else(|| held(&["state"], "state")))
            }
            Field::SourcePorts => ports::find(Side::Source, spec, layout),
            Field::DestinationPorts => ports::find(Side::Destination, spec, layout),
            Field::Limit => {
                let rate = layout.of_held(&["limit"], "limit");
                // The burst of the same match, where there are two.
                let of = rate.and_then(|(_, piece)| piece.of);
                let burst = layout.pieces.iter().position(|piece| {
                    piece.option == "limit-burst" && (of.is_none() || piece.of == of)
                });
                match (rate.map(|found| found.0), burst) {
                    (None, None) => Self::Nothing,
                    (rate, burst) => Self::Limit(rate, burst),
                }
            }
            Field::LogPrefix => value(log_prefix(layout)),
            Field::Comment => value(held(&["comment"], "comment")),
        }
    }

    /// The pieces that the field shows.
    pub(super) fn pieces(&self) -> Vec<usize> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Value(at) | Self::Target(at) => vec![*at],
            Self::Options(all) => all.clone(),
            Self::Ports(ports) => ports.pieces.clone(),
            Self::Limit(rate, burst) => rate.iter().chain(burst).copied().collect(),
        }
    }

    pub(super) fn text(&self, layout: &Layout<'_>) -> String {
        let value = |at: &usize| {
            let piece = layout.pieces.get(*at);
            piece.map_or_else(String::new, |piece| text::from_bytes(piece.value()))
        };
        match self {
            Self::Nothing => String::new(),
            Self::Value(at) => {
                let invert = layout.pieces.get(*at).is_some_and(|piece| piece.invert);
                with_sign(invert, &value(at))
            }
            Self::Target(at) => {
                let goto = layout.pieces.get(*at).is_some_and(|p| p.option == "goto");
                let name = value(at);
                if goto { format!("goto {name}") } else { name }
            }
            Self::Options(all) => {
                let words = all.iter().filter_map(|at| layout.pieces.get(*at));
                words.map(raw_of).collect::<Vec<_>>().join(" ")
            }
            Self::Ports(ports) => with_sign(ports.invert, &text::from_bytes(&ports.value)),
            Self::Limit(rate, burst) => {
                let rate = rate.as_ref().map(value).unwrap_or_default();
                match burst.as_ref().map(value) {
                    Some(burst) => format!("{rate} burst {burst}").trim_start().to_owned(),
                    None => rate,
                }
            }
        }
    }
}

fn with_sign(invert: bool, value: &str) -> String {
    if invert {
        format!("! {value}")
    } else {
        value.to_owned()
    }
}

/// The piece of `-j` or `-g`.
pub(super) fn target_at(layout: &Layout<'_>) -> Option<usize> {
    let is = |option: &str| layout.pieces.iter().position(|p| p.is_general(option));
    is("jump").or_else(|| is("goto"))
}

/// The target that the rule loads; verdicts and chains are none.
pub(super) fn held_target(layout: &Layout<'_>) -> Option<usize> {
    layout.held.iter().position(|held| held.is_target)
}

/// Options of the target, and words that it was given, but for its prefix.
pub(super) fn target_options(layout: &Layout<'_>) -> Vec<usize> {
    let Some(target) = held_target(layout) else {
        return Vec::new();
    };
    let prefix = log_prefix(layout);
    (0..layout.pieces.len())
        .filter(|at| Some(*at) != prefix)
        .filter(|at| layout.pieces[*at].of == Some(target))
        .collect()
}

fn log_prefix(layout: &Layout<'_>) -> Option<usize> {
    let found = layout
        .of_held(&["LOG"], "log-prefix")
        .or_else(|| layout.of_held(&["NFLOG"], "nflog-prefix"));
    found.map(|found| found.0)
}
