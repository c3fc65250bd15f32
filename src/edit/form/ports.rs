//! Ports of one side stand in one of three places: an option of the protocol's own match (`--dport`), a
//! list of multiport (`--dports`), or, while one types and no protocol takes it, a stray option. The
//! form has one field for all three.

use super::fields::Shown;
use super::write::{Value, Writer};
use crate::ruleset::spec::{Layout, Spec};

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    fn option(self) -> &'static str {
        match self {
            Self::Source => "sport",
            Self::Destination => "dport",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::Source => "sports",
            Self::Destination => "dports",
        }
    }

    /// The stray words that could be meant.
    fn stray(self) -> [&'static [u8]; 2] {
        match self {
            Self::Source => [b"--sport", b"--source-port"],
            Self::Destination => [b"--dport", b"--destination-port"],
        }
    }
}

/// Matches whose options are ports.
pub(super) const WITH_PORTS: [&str; 5] = ["tcp", "udp", "udplite", "sctp", "dccp"];

/// Where the ports of a side stand.
#[derive(Debug)]
pub(super) struct Ports {
    /// Indexes of the words.
    pub pieces: Vec<usize>,
    pub value: Vec<u8>,
    pub invert: bool,
    pub is_list: bool,
    pub is_stray: bool,
}

/// The ports that the field shows.
pub(super) fn find(side: Side, _: &Spec<'_>, layout: &Layout<'_>) -> Shown {
    let single = layout.of_held(&WITH_PORTS, side.option());
    let found = single.or_else(|| layout.of_held(&["multiport"], side.list()));
    if let Some((at, piece)) = found {
        return Shown::Ports(Ports {
            pieces: vec![at],
            value: piece.value().to_vec(),
            invert: piece.invert,
            is_list: piece.option == side.list(),
            is_stray: false,
        });
    }
    stray(side, layout).map_or(Shown::Nothing, Shown::Ports)
}

/// `--dport` and its value where nothing knows them.
fn stray(side: Side, layout: &Layout<'_>) -> Option<Ports> {
    let is_stray = |at: usize| {
        let piece = layout.pieces.get(at)?;
        // What a match that is known does not know is stray too; of an unknown one it may be an option.
        let is_known = |of: usize| layout.held.get(of).is_some_and(|held| held.is_known);
        let is_loose = piece.option.is_empty() && piece.of.is_none_or(is_known);
        is_loose.then(|| piece.words.first())?
    };
    let option = (0..layout.pieces.len())
        .find(|at| is_stray(*at).is_some_and(|word| side.stray().contains(&word.raw)))?;
    let invert = option > 0 && is_stray(option - 1).is_some_and(|word| word.raw == b"!");
    let value = is_stray(option + 1).filter(|word| word.quoted || !word.raw.starts_with(b"-"))?;
    let first = if invert { option - 1 } else { option };
    Some(Ports {
        pieces: (first..=option + 1).collect(),
        value: value.text.to_vec(),
        invert,
        is_list: false,
        is_stray: true,
    })
}

/// Write the ports of a side.
pub(super) fn write(side: Side, shown: &Shown, value: &Value, writer: &mut Writer<'_, '_>) {
    let wants_list = value.words.contains(&b',');
    match shown {
        Shown::Ports(ports) if value.is_empty() => {
            writer.remove(&ports.pieces);
        }
        // A list of one is as good; one port is no list. What is stray can take its new value in place.
        Shown::Ports(ports) if ports.is_list || (!wants_list && !ports.is_stray) => {
            writer.change(ports.pieces[0], value);
        }
        Shown::Ports(ports) => {
            let mut words = Vec::new();
            if wants_list && !ports.is_stray {
                words.extend_from_slice(b"-m multiport ");
            }
            let option = if wants_list && !ports.is_stray {
                side.list()
            } else {
                side.option()
            };
            words.extend(value.option(option));
            writer.substitute(&ports.pieces, &words);
        }
        _ if value.is_empty() => {}
        _ if wants_list => {
            let mut words = b"-m multiport ".to_vec();
            words.extend(value.option(side.list()));
            writer.add_match(&words);
        }
        _ => add_single(side, value, writer),
    }
}

/// `--dport` where the protocol's match is, or with that match behind the protocol, or stray until
/// there is a protocol that has ports.
fn add_single(side: Side, value: &Value, writer: &mut Writer<'_, '_>) {
    let option = value.option(side.option());
    let held = writer
        .layout
        .held
        .iter()
        .position(|held| WITH_PORTS.iter().any(|name| name.as_bytes() == &*held.name));
    if let Some(held) = held {
        writer.add_option(held, &option);
        return;
    }
    let implied = writer.implied_match();
    match implied.filter(|name| WITH_PORTS.contains(name)) {
        Some(name) => {
            let mut words = format!("-m {name} ").into_bytes();
            words.extend(option);
            writer.add_after_protocol(&words);
        }
        // An unknown match would take it for its own, wherever it stood behind.
        None if writer.layout.held.iter().any(|held| !held.is_known) => writer.add_first(&option),
        None => writer.add_after_protocol(&option),
    }
}
