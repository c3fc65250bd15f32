//! Sets of packets against single ones: on random rulesets and on changes of real ones.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::flow::{IfName, TcpFlags};
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::Span;
use crate::verdict::state::ct;

/// A rule of some table, for a chain of it.
fn rule() -> impl Strategy<Value = (u8, String)> {
    let header = prop_oneof![
        "",
        "-p tcp",
        "-p udp",
        "! -p tcp",
        "-p tcp -m tcp --dport (2|80|8080)",
        "-p tcp -m tcp ! --dport 1:9",
        "-p udp -m udp --sport 1:80",
        "-p tcp -m multiport --dports 2,80",
        "-p tcp -m multiport ! --ports 80",
        "-p tcp -m tcp --syn",
        "-p icmp -m icmp --icmp-type (8|3/1)",
        "(! )?-f"
    ];
    let net = prop_oneof![
        "",
        "! -s 10\\.0\\.0\\.(0|1)/3[0-2]",
        "-s 10\\.0\\.0\\.[0-3]",
        "-s 10\\.0\\.0\\.0/(30|31)",
        "-d 10\\.0\\.0\\.[0-3]/31",
        "-m iprange --src-range 10\\.0\\.0\\.1-10\\.0\\.0\\.3"
    ];
    let rest = prop_oneof![
        4 => "",
        2 => "! -i eth0",
        1 => "-i (eth\\+|lo)",
        1 => "-m mark --mark [01]",
        2 => "-m conntrack --ctstate (NEW|ESTABLISHED|NEW,ESTABLISHED|INVALID|UNTRACKED|DNAT)",
        1 => "-m limit --limit 1/sec",
        1 => "-m ttl --ttl-lt 64",
        1 => "-m connmark --mark [01]",
        1 => "-m set --match-set s src"
    ];
    (0..14_u8, header, net, rest)
        .prop_map(|(kind, header, net, rest)| (kind, format!("{header} {net} {rest}")))
}

/// The kinds of [`rule`] in their tables: chain and target.
fn line((kind, conditions): &(u8, String)) -> (usize, String) {
    let (table, chain, target) = match kind {
        0 => (0, "PREROUTING", "-j CT --notrack"),
        1 => (0, "PREROUTING", "-j DROP"),
        2 => (1, "PREROUTING", "-j MARK --set-xmark 0x1/0x1"),
        3 => (1, "FORWARD", "-j CONNMARK --save-mark"),
        4 => (
            2,
            "PREROUTING",
            "-p tcp -j DNAT --to-destination 10.0.0.2:8080",
        ),
        5 => (2, "PREROUTING", "-p tcp -j REDIRECT --to-ports 80"),
        6 => (3, "INPUT", "-j DROP"),
        7 => (3, "INPUT", "-j ACCEPT"),
        8 => (3, "INPUT", "-j a"),
        9 => (3, "FORWARD", "-j DROP"),
        10 => (3, "FORWARD", "-j ACCEPT"),
        11 => (3, "FORWARD", "-g a"),
        12 => (3, "a", "-j RETURN"),
        _ => (3, "a", "-j REJECT"),
    };
    // The protocol is said once.
    let target = match conditions.contains("-p ") {
        true if conditions.contains("-p tcp") && !conditions.contains("! -p") => {
            target.replace("-p tcp ", "")
        }
        true if kind / 2 == 2 => "-j ACCEPT".to_owned(),
        _ => target.to_owned(),
    };
    (table, format!("-A {chain} {conditions} {target}\n"))
}

fn dump(rules: &[(u8, String)]) -> String {
    let heads = [
        "*raw\n:PREROUTING ACCEPT [0:0]\n",
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n",
        "*nat\n:PREROUTING ACCEPT [0:0]\n",
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:a - [0:0]\n",
    ];
    let lines: Vec<(usize, String)> = rules.iter().map(line).collect();
    let mut text = String::new();
    for (table, head) in heads.iter().enumerate() {
        text.push_str(head);
        let own = lines.iter().filter(|(of, _)| *of == table);
        own.for_each(|(_, line)| text.push_str(line));
        text.push_str("COMMIT\n");
    }
    text
}

fn packet(bits: u32) -> Probe {
    let pick = |shift: u32, of: u32| (bits >> shift) % of;
    let address = |low: u32| -> Option<IpAddr> {
        Some(Ipv4Addr::new(10, 0, 0, u8::try_from(low).unwrap()).into())
    };
    let forward = pick(0, 2) == 0;
    let proto = [Protocol::TCP, Protocol::TCP, Protocol::UDP, Protocol::ICMP]
        [usize::try_from(pick(3, 4)).unwrap()];
    let port = |of: u32| {
        Some([1, 2, 80, 8080][usize::try_from(of).unwrap()]).filter(|_| proto != Protocol::ICMP)
    };
    let icmp = |value: u8| (proto == Protocol::ICMP).then_some(value);
    Probe {
        input: IfName::new(
            [&b"eth0"[..], b"eth1", b"br0", b"lo"][usize::try_from(pick(1, 4)).unwrap()],
        ),
        output: IfName::new(b"eth2").filter(|_| forward),
        proto: Some(proto),
        src: address(pick(5, 5)),
        dst: address(pick(8, 4)),
        sport: port(pick(10, 4)),
        dport: port(pick(12, 4)),
        icmp_type: icmp(if pick(14, 2) == 0 { 8 } else { 3 }),
        icmp_code: icmp(u8::try_from(pick(15, 2)).unwrap()),
        tcp_flags: (proto == Protocol::TCP).then_some(if pick(16, 2) == 0 {
            TcpFlags::SYN
        } else {
            TcpFlags::ACK
        }),
        ctstate: Some(
            [
                CtState::New,
                CtState::New,
                CtState::Established,
                CtState::Invalid,
                CtState::Related,
            ][usize::try_from(pick(17, 5)).unwrap()],
        ),
        ttl: Some(if pick(20, 2) == 0 { 64 } else { 40 }),
        length: Some(60),
        tos: Some(0),
        ..Probe::new(
            Family::V4,
            if forward { Path::Forward } else { Path::Input },
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// A packet that is said to be let through anew is dropped before and accepted after, and the other way
    /// round; one that is in neither set fares as it did.
    #[test]
    fn the_sets_are_what_single_packets_do(
        rules in proptest::collection::vec(rule(), 1..14),
        moved in any::<[proptest::sample::Index; 2]>(),
        fresh in proptest::option::of(rule()),
        packets in proptest::collection::vec(any::<u32>(), 150),
        local in any::<bool>(),
    ) {
        let mut after = rules.clone();
        let rule = after.remove(moved[0].index(after.len()));
        match fresh {
            Some(fresh) if moved[1].index(2) == 0 => after.push(fresh),
            Some(fresh) => after.insert(moved[1].index(after.len() + 1), fresh),
            None => after.insert(moved[1].index(after.len() + 1), rule),
        }
        let facts = Facts {
            local: local.then(|| vec![Ipv4Addr::new(10, 0, 0, 2).into()]),
            ..Facts::default()
        };
        let (before, after) = (dump(&rules), dump(&after));
        with_change(&before, &after, &facts, |old, new, changes| {
            let looks = old.program.looks_at_pieces || new.program.looks_at_pieces;
            prop_assert!(changes.is_complete() || looks && old.program.whole != new.program.whole);
            let apart = !old.program.whole && !new.program.whole;
            let whole = packets.iter().map(|bits| packet(*bits));
            // IPv4 puts together what it delivers before INPUT.
            let passes = |probe: &Probe| apart && probe.path == Path::Forward;
            let later = whole.clone().filter(passes).map(|probe| Probe {
                fragment: true,
                ..probe
            });
            for probe in whole.chain(later) {
                let ends = |side: Side<'_>| side.program.passes(&probe, &facts);
                let (was, is) = (ends(old), ends(new));

                let (opened, closed) = changes.of(&probe);
                let context = || format!("{probe:?}\n{before}\n=>\n{after}\n{was:?} {is:?} {opened:?} {closed:?} {changes:#?}");
                if opened == Belongs::Yes {
                    prop_assert!(was == Some(false) && is == Some(true), "{}", context());
                }
                if closed == Belongs::Yes {
                    prop_assert!(was == Some(true) && is == Some(false), "{}", context());
                }
                if was == Some(false) && is == Some(true) {
                    prop_assert!(opened != Belongs::No, "{}", context());
                }
                if was == Some(true) && is == Some(false) {
                    prop_assert!(closed != Belongs::No, "{}", context());
                }
            }
            Ok(())
        })?;
    }
}

/// A packet of an area, whole, with names that there are.
fn packet_of(area: &Area, path: Path, family: Family, seed: u64) -> Probe {
    let pick = |of: usize, shift: u32| usize::try_from(seed >> shift).unwrap_or(0) % of.max(1);
    let wide = |spans: &[Span<u128>], shift: u32| {
        let span = spans[pick(spans.len(), shift)];
        let size = (span.last - span.first).saturating_add(1);
        // Corners first: there sets end.
        match seed >> (shift + 3) & 3 {
            0 => span.first,
            1 => span.last,
            _ => {
                span.first
                    + u128::from(seed.rotate_left(shift).wrapping_mul(0x9e37_79b9_7f4a_7c15)) % size
            }
        }
    };
    let port = |spans: &[Span<u16>], shift: u32| {
        let span = spans[pick(spans.len(), shift)];
        if seed >> (shift + 4) & 1 == 0 {
            span.first
        } else {
            span.last
        }
    };
    let name = |list: &[Span<u128>], shift: u32| {
        let bits = wide(list, shift);
        let length = bits
            .to_be_bytes()
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(0);
        let bytes = bits.to_be_bytes();
        let is_name = length > 0 && bytes[..length].iter().all(u8::is_ascii_graphic);
        let others = [&b"eth0"[..], b"docker0", b"lo", b"zz9"];
        let own = IfName::new(&bytes[..length])
            .filter(|_| is_name && bytes[length..].iter().all(|byte| *byte == 0));
        own.or(IfName::new(others[pick(4, shift + 5)]))
    };
    let protos: Vec<u8> = area.protos.iter().collect();
    let likely: Vec<u8> = protos
        .iter()
        .copied()
        .filter(|proto| matches!(proto, 1 | 6 | 17 | 58))
        .collect();
    let protos = if likely.is_empty() { protos } else { likely };
    let proto = Protocol(protos[pick(protos.len(), 9)]);
    let (sport, dport) = (port(area.sport.spans(), 11), port(area.dport.spans(), 16));
    let states = [
        (ct::NEW, CtState::New),
        (ct::ESTABLISHED, CtState::Established),
        (ct::RELATED, CtState::Related),
        (ct::INVALID, CtState::Invalid),
        (ct::UNTRACKED, CtState::Untracked),
    ];
    let states: Vec<CtState> = states
        .iter()
        .filter(|(bit, _)| area.ct & bit != 0)
        .map(|(_, state)| *state)
        .collect();
    let flags: Vec<u8> = area.flags.iter().collect();
    let address = |bits: u128| {
        Some(crate::verdict::state::address_of(
            bits,
            family == Family::V6,
        ))
    };
    let byte = |port: u16| u8::try_from(port % 256).ok().filter(|_| proto.is_icmp());
    Probe {
        input: name(area.input.spans(), 21).filter(|_| path != Path::Output),
        output: name(area.output.spans(), 27).filter(|_| path != Path::Input),
        proto: Some(proto),
        src: address(wide(area.src.spans(), 31)),
        dst: address(wide(area.dst.spans(), 36)),
        sport: Some(sport).filter(|_| proto.has_ports()),
        dport: Some(dport).filter(|_| proto.has_ports()),
        icmp_type: byte(sport),
        icmp_code: byte(dport),
        tcp_flags: (proto == Protocol::TCP).then(|| TcpFlags(flags[pick(flags.len(), 41)])),
        ctstate: Some(states[pick(states.len(), 47)]),
        ttl: Some(64),
        length: Some(60),
        tos: Some(0),
        ..Probe::new(family, path)
    }
}

/// Rulesets of others with a rule moved or taken out: packets that the change may touch fare as is said.
#[test]
fn changes_of_real_rulesets_are_what_single_packets_see() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/rulesets/resaved"
    );
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut asked = 0_u32;
    for (number, path) in files.iter().enumerate() {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let rules: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].contains("-A "))
            .collect();
        if rules.is_empty() || rules.len() > 250 {
            continue;
        }
        for round in 0..2 {
            let from = rules[(number * 31 + round * 17) % rules.len()];
            // To the front of its block, or away.
            let table = lines[..from]
                .iter()
                .rposition(|line| !line.contains("-A "))
                .unwrap();
            let mut after = lines.clone();
            let moved = after.remove(from);
            if round != 1 {
                after.insert(table + 1, moved);
            }
            let after = after.join("\n") + "\n";
            with_change(&text, &after, &Facts::default(), |old, new, changes| {
                let areas = affected(old, new);
                for (area, seed) in areas
                    .iter()
                    .cycle()
                    .take(60.min(areas.len() * 60))
                    .zip(1_u64..)
                {
                    let path = PATHS[usize::try_from(seed % 3).unwrap()];
                    let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ seed;
                    let probe = packet_of(area, path, changes.family, seed);
                    let ends = |side: Side<'_>| side.program.passes(&probe, &Facts::default());
                    let (was, is) = (ends(old), ends(new));
                    let (opened, closed) = changes.of(&probe);
                    let context = || {
                        format!(
                            "{}: {moved}\n{probe:?} {was:?} {is:?} {opened:?} {closed:?}",
                            files[number].display()
                        )
                    };

                    assert!(
                        opened != Belongs::Yes || was == Some(false) && is == Some(true),
                        "{}",
                        context()
                    );
                    assert!(
                        closed != Belongs::Yes || is == Some(false) && was == Some(true),
                        "{}",
                        context()
                    );
                    if changes.is_complete() {
                        assert!(
                            !(was == Some(false) && is == Some(true)) || opened != Belongs::No,
                            "{}",
                            context()
                        );
                        assert!(
                            !(is == Some(false) && was == Some(true)) || closed != Belongs::No,
                            "{}",
                            context()
                        );
                    }
                    asked += u32::from(was != is);
                }
            });
        }
    }
    assert!(
        asked > 50,
        "{asked} packets fare otherwise: too few to show anything"
    );
}
