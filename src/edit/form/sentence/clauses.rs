//! What else must hold: a clause a match, that fits behind a comma or an "and".

use std::fmt::Write as _;

use super::packets::port_words;
use super::{either, lossy};
use crate::ruleset::spec::matches::{
    Addrtype, Connlimit, HashRate, Hashlimit, Hops, Limit, MatchSet, Multiport, Recent,
    RecentAction, Side, StatisticMode, TcpFlagTest,
};
use crate::ruleset::spec::value::{Rate, Unit, WordSet};
use crate::ruleset::spec::{Inv, Match, Unknown};

/// What a match says, in no, one or several clauses.
pub(super) fn of(one: &Match<'_>) -> Vec<String> {
    let not = |invert: bool| if invert { " not" } else { "" };
    let clause = match one {
        Match::Comment(_) => return Vec::new(),
        Match::Tcp(tcp) => return tcp_clauses(tcp),
        Match::Limit(limit) => limit_words(limit),
        Match::Multiport(Multiport { ports, .. }) => {
            let all: Vec<String> = ports.value.iter().copied().map(port_words).collect();
            let any = if ports.invert {
                "neither port is"
            } else {
                "either port is"
            };
            format!("if {any} {}", either(&all))
        }
        Match::Set(set) => set_words(set),
        Match::Addrtype(types) => return addrtype(types),
        Match::Mark(mark) => format!("if their mark is{} {}", not(mark.invert), mark.value),
        Match::Connmark(mark) => {
            format!(
                "if the mark of their connection is{} {}",
                not(mark.invert),
                mark.value
            )
        }
        Match::Connlimit(limit) => connlimit(*limit),
        Match::Hashlimit(limit) => hashlimit(limit),
        Match::Recent(recent) => recent_words(recent),
        Match::Statistic(statistic) => {
            let picked = match statistic.mode {
                StatisticMode::Nth { every, packet } => {
                    format!("one in {every}, beginning with number {packet} (from 0)")
                }
                StatisticMode::Random(part) => {
                    format!(
                        "{:.2} % of them, by chance",
                        f64::from(part) * 100.0 / 2_147_483_648.0
                    )
                }
            };
            if statistic.invert {
                format!("all but {picked}")
            } else {
                picked
            }
        }
        Match::Iprange(range) => {
            let sides = [("source", range.source), ("destination", range.destination)];
            let words: Vec<String> = sides
                .iter()
                .filter_map(|(side, range)| range.map(|range| (side, range)))
                .map(|(side, range)| {
                    format!("their {side} is{} in {}", not(range.invert), range.value)
                })
                .collect();
            format!("if {}", words.join(" and "))
        }
        Match::Pkttype(kind) => {
            format!("if they were{} sent as {}", not(kind.invert), kind.value)
        }
        Match::Ttl(hops) | Match::Hl(hops) => {
            let left = match hops.value {
                Hops::Equal(value) => value.to_string(),
                Hops::Less(value) => format!("fewer than {value}"),
                Hops::Greater(value) => format!("more than {value}"),
            };
            format!(
                "if they{} have {left} hops left",
                if hops.invert { " do not" } else { "" }
            )
        }
        Match::Length(length) => {
            format!(
                "if they are{} {} bytes long",
                not(length.invert),
                length.value
            )
        }
        Match::Rpfilter(filter) if filter.invert => {
            "if the way back to their source would not leave by where they came from".to_owned()
        }
        Match::Rpfilter(_) => {
            "if the way back to their source leaves by where they came from".to_owned()
        }
        Match::String(string) => format!(
            "if they do{} hold the bytes \"{}\"",
            not(string.pattern.invert),
            lossy(&string.pattern.value)
        ),
        Match::Icmp(icmp) if !icmp.invert && icmp.kind.is_none() => return Vec::new(),
        Match::Unknown(odd) => as_written("-m", odd),
        // The board's short words are as true and less like speech.
        other => format!("if {}: {}", other.name(), other.words()),
    };
    vec![clause]
}

fn tcp_clauses(tcp: &crate::ruleset::spec::matches::Tcp) -> Vec<String> {
    let mut all = Vec::new();
    for (side, ports) in [("from", tcp.source_ports), ("to", tcp.destination_ports)] {
        if let Some(ports) = ports {
            let not = if ports.invert { "any port but" } else { "port" };
            all.push(format!("{side} {not} {}", port_words(ports.value)));
        }
    }
    match tcp.flags {
        Some(Inv {
            invert: false,
            value,
        }) if value == TcpFlagTest::SYN => {
            all.push("if they open a connection (SYN)".to_owned());
        }
        Some(Inv {
            invert: true,
            value,
        }) if value == TcpFlagTest::SYN => {
            all.push("if they do not open a connection (no lone SYN)".to_owned());
        }
        Some(flags) => {
            let not = if flags.invert { "not just" } else { "just" };
            let (set, mask) = (flags.value.set, flags.value.mask);
            all.push(format!("if of the flags {mask} {not} {set} is set"));
        }
        None => {}
    }
    if let Some(option) = tcp.option {
        let not = if option.invert {
            "do not carry"
        } else {
            "carry"
        };
        all.push(format!("if they {not} the TCP option {}", option.value));
    }
    all
}

fn rate_words(rate: Rate) -> String {
    let per = match rate.per {
        Unit::Second => "a second",
        Unit::Minute => "a minute",
        Unit::Hour => "an hour",
        Unit::Day => "a day",
    };
    format!("{} {per}", rate.count)
}

fn limit_words(limit: &Limit) -> String {
    format!(
        "at most {} ({} at once)",
        rate_words(limit.rate),
        limit.burst
    )
}

fn hashlimit(limit: &Hashlimit<'_>) -> String {
    let rate = match limit.rate {
        HashRate::Packets(rate) => rate_words(rate),
        HashRate::Bytes(bytes) => format!("{bytes} bytes a second"),
    };
    let side = if limit.above { "above" } else { "up to" };
    let each = if limit.mode.is_empty() {
        String::new()
    } else {
        format!(" for each {}", limit.mode)
    };
    format!("{side} {rate}{each} (bucket {})", lossy(&limit.name))
}

fn connlimit(limit: Connlimit) -> String {
    let side = match limit.side {
        Side::Source => "source",
        Side::Destination => "destination",
    };
    let above = if limit.above { "more than" } else { "at most" };
    format!(
        "if their {side} (cut to /{}) has {above} {} connections",
        limit.prefix, limit.count
    )
}

fn set_words(set: &MatchSet<'_>) -> String {
    let sides: Vec<String> = set
        .sides
        .iter()
        .map(|side| match side {
            Side::Source => "source".to_owned(),
            Side::Destination => "destination".to_owned(),
        })
        .collect();
    let not = if set.name.invert { " not" } else { "" };
    let mut text = format!(
        "if their {} is{not} in the set {}",
        sides.join(" with "),
        lossy(&set.name.value)
    );
    for (what, test) in [("packets", &set.packets), ("bytes", &set.bytes)] {
        if let Some(test) = test {
            let not = if test.invert { "not " } else { "" };
            let _ = write!(text, " and its {what} are {not}{}", test.value);
        }
    }
    if set.return_nomatch {
        text += " as an exception";
    }
    text
}

fn addrtype(types: &Addrtype) -> Vec<String> {
    let mut all = Vec::new();
    for (side, kinds) in [("source", types.source), ("destination", types.destination)] {
        if let Some(kinds) = kinds {
            let not = if kinds.invert { " not" } else { "" };
            all.push(format!("if their {side} is{not} of type {}", kinds.value));
        }
    }
    for (limited, way) in [(types.limit_in, "arrive on"), (types.limit_out, "leave by")] {
        if limited {
            all.push(format!("as the interface that they {way} has it"));
        }
    }
    all
}

fn recent_words(recent: &Recent<'_>) -> String {
    let side = match recent.side {
        Side::Source => "source",
        Side::Destination => "destination",
    };
    let name = lossy(&recent.name);
    let mut text = match (recent.action.value, recent.action.invert) {
        (RecentAction::Set, false) => return format!("noting their {side} in the list {name}"),
        (RecentAction::Set, true) => {
            return format!("never, after noting their {side} in the list {name}");
        }
        (RecentAction::Remove, invert) => {
            let not = if invert { "not " } else { "" };
            return format!("if their {side} was {not}in the list {name}, taking it out");
        }
        (RecentAction::Check, false) => format!("if their {side} is in the list {name}"),
        (RecentAction::Check, true) => format!("if their {side} is not in the list {name}"),
        (RecentAction::Update, false) => {
            format!("if their {side} is in the list {name}, noting it anew")
        }
        (RecentAction::Update, true) => {
            format!("unless their {side} is in the list {name}, noting it anew")
        }
    };
    if let Some(hits) = recent.hits {
        let _ = write!(text, ", {hits} times at least");
    }
    if let Some(seconds) = recent.seconds {
        let _ = write!(text, ", within {seconds} seconds");
    }
    if recent.same_ttl {
        text += ", with the same TTL";
    }
    if recent.mask != full(recent.mask) {
        let _ = write!(text, " (cut to {})", recent.mask);
    }
    text
}

fn full(mask: std::net::IpAddr) -> std::net::IpAddr {
    match mask {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::BROADCAST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(u128::MAX).into(),
    }
}

/// What is not understood, as it was written.
pub(super) fn as_written(option: &str, odd: &Unknown<'_>) -> String {
    let mut text = format!("{option} {}", lossy(&odd.name));
    for word in &odd.args {
        text.push(' ');
        text.push_str(&lossy(word.raw));
    }
    text
}
