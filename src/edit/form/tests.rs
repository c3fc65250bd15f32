//! What each field shows, and that writing one changes nothing else.

use super::*;
use crate::ruleset::spec::Layout;
use crate::ruleset::{Backend, Family};
use proptest::prelude::*;

pub(super) fn site(chain: &str) -> Site {
    let names = |names: &[&str]| names.iter().map(|n| n.as_bytes().to_vec()).collect();
    Site {
        family: Family::V4,
        backend: Some(Backend::Nft),
        table: "filter".to_owned(),
        chain: chain.as_bytes().to_vec(),
        hooks: vec![chain.to_owned()],
        chains: names(&["f2b-sshd", "web"]),
        builtin: names(&["FORWARD", "INPUT", "OUTPUT"]),
    }
}

fn edited(raw: &str, field: Field, to: &str) -> String {
    String::from_utf8(set(raw.as_bytes(), field, to, &site("INPUT"))).unwrap()
}

#[test]
fn fields_are_found_wherever_they_stand() {
    let raw = "-s 10.0.0.0/8 ! -i eth+ -p tcp -m tcp --sport 1024:65535 -m multiport ! --dports 80,443 \
        -m conntrack --ctstate NEW -m limit --limit 5/min --limit-burst 9 -m recent --name x --set \
        -m comment --comment \"a \\\"b\\\"\" -j LOG --log-prefix \"x: \" --log-uid";
    let form = Form::read(raw.as_bytes(), &site("INPUT"));
    let expected = [
        (Field::Target, "LOG"),
        (Field::TargetOptions, "--log-uid"),
        (Field::Protocol, "tcp"),
        (Field::State, "NEW"),
        (Field::Source, "10.0.0.0/8"),
        (Field::SourcePorts, "1024:65535"),
        (Field::Destination, ""),
        (Field::DestinationPorts, "! 80,443"),
        (Field::InInterface, "! eth+"),
        (Field::OutInterface, ""),
        (Field::Limit, "5/min burst 9"),
        (Field::LogPrefix, "x: "),
        (Field::Comment, "a \"b\""),
    ];
    for (field, text) in expected {
        assert_eq!(form.get(field), text, "{field:?}");
    }
    assert_eq!(form.others, ["-m recent", "--name x", "--set"]);
}

#[test]
fn writing_a_field_changes_its_words_alone() {
    use Field as F;
    let cases = [
        // Values in their place, with their sign.
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT",
            F::DestinationPorts,
            "443",
            "-p tcp -m tcp --dport 443 -j ACCEPT",
        ),
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT",
            F::DestinationPorts,
            "! 22",
            "-p tcp -m tcp ! --dport 22 -j ACCEPT",
        ),
        (
            "-p tcp ! --dport 22",
            F::DestinationPorts,
            "22",
            "-p tcp --dport 22",
        ),
        (
            "-p tcp -m tcp --dport 22 -j X",
            F::DestinationPorts,
            "22,80",
            "-p tcp -m multiport --dports 22,80 -j X",
        ),
        (
            "-p tcp -m tcp --syn --dport 22",
            F::DestinationPorts,
            "22,80",
            "-p tcp -m tcp --syn -m multiport --dports 22,80",
        ),
        (
            "-p tcp -m multiport --dports 22,80",
            F::DestinationPorts,
            "22",
            "-p tcp -m multiport --dports 22",
        ),
        (
            "-p tcp -m tcp --dport 22 -j X",
            F::DestinationPorts,
            "",
            "-p tcp -j X",
        ),
        (
            "-p tcp -m tcp --sport 1 --dport 22 -j X",
            F::DestinationPorts,
            "",
            "-p tcp -m tcp --sport 1 -j X",
        ),
        (
            "-p tcp --dport=22",
            F::DestinationPorts,
            "80",
            "-p tcp --dport 80",
        ),
        (
            "-p udp -j X",
            F::DestinationPorts,
            "53",
            "-p udp -m udp --dport 53 -j X",
        ),
        (
            "-p tcp -m tcp --dport 22 -j X",
            F::SourcePorts,
            "1024:",
            "-p tcp -m tcp --dport 22 --sport 1024: -j X",
        ),
        ("-j X", F::DestinationPorts, "22", "--dport 22 -j X"),
        (
            "--dport 22 -j X",
            F::DestinationPorts,
            "80",
            "--dport 80 -j X",
        ),
        (
            "--dport 22 -j X",
            F::Protocol,
            "tcp",
            "-p tcp --dport 22 -j X",
        ),
        // General options in the order of the save tool.
        ("-j X", F::Source, "10.0.0.1", "-s 10.0.0.1 -j X"),
        (
            "-s 10.0.0.1 -p tcp",
            F::InInterface,
            "eth0",
            "-s 10.0.0.1 -i eth0 -p tcp",
        ),
        (
            "-s ! 10.0.0.1 -j X",
            F::Source,
            "10.0.0.2",
            "-s 10.0.0.2 -j X",
        ),
        (
            "-s ! 10.0.0.1 -j X",
            F::Source,
            "! 10.0.0.2",
            "-s ! 10.0.0.2 -j X",
        ),
        ("-i eth0  -j X", F::InInterface, "", "-j X"),
        ("", F::Protocol, "tcp", "-p tcp"),
        ("-p tcp", F::Protocol, "", ""),
        (
            "-p tcp -m tcp --dport 53 -j X",
            F::Protocol,
            "udp",
            "-p udp -m udp --dport 53 -j X",
        ),
        (
            "-p tcp -m tcp --dport 53 -j X",
            F::Protocol,
            "",
            "-m tcp --dport 53 -j X",
        ),
        // Matches come and go with what they say.
        ("-j X", F::State, "NEW", "-m conntrack --ctstate NEW -j X"),
        (
            "-m state --state NEW -j X",
            F::State,
            "! NEW,RELATED",
            "-m state ! --state NEW,RELATED -j X",
        ),
        ("-m state --state NEW -j X", F::State, "", "-j X"),
        (
            "-m conntrack --ctstate NEW --ctproto 6 -j X",
            F::State,
            "",
            "-m conntrack --ctproto 6 -j X",
        ),
        ("-j X", F::Limit, "5/min", "-m limit --limit 5/min -j X"),
        (
            "-m limit --limit 5/min -j X",
            F::Limit,
            "5/min burst 3",
            "-m limit --limit 5/min --limit-burst 3 -j X",
        ),
        (
            "-m limit --limit 5/min --limit-burst 3 -j X",
            F::Limit,
            "6/min",
            "-m limit --limit 6/min -j X",
        ),
        (
            "-m limit --limit 5/min --limit-burst 3 -j X",
            F::Limit,
            "",
            "-j X",
        ),
        (
            "-j X",
            F::Comment,
            "it's",
            "-m comment --comment \"it\\'s\" -j X",
        ),
        (
            "-m comment --comment a -m comment --comment b",
            F::Comment,
            "",
            "-m comment --comment b",
        ),
        // Targets.
        ("-p tcp", F::Target, "DROP", "-p tcp -j DROP"),
        (
            "-j REJECT --reject-with tcp-reset",
            F::Target,
            "ACCEPT",
            "-j ACCEPT",
        ),
        ("-j REJECT --reject-with tcp-reset", F::Target, "", ""),
        (
            "-j LOG --log-prefix \"a b\" --log-uid",
            F::Target,
            "NFLOG",
            "-j NFLOG --nflog-prefix \"a b\"",
        ),
        ("-j ACCEPT", F::Target, "goto web", "-g web"),
        ("-g web", F::Target, "web", "-j web"),
        (
            "-j LOG --log-uid",
            F::LogPrefix,
            "x: ",
            "-j LOG --log-prefix \"x: \" --log-uid",
        ),
        ("-j ACCEPT", F::LogPrefix, "x", "-j ACCEPT"),
        (
            "-j DNAT",
            F::TargetOptions,
            "--to-destination 10.0.0.1:80",
            "-j DNAT --to-destination 10.0.0.1:80",
        ),
        (
            "-j LOG --log-uid --log-prefix a --log-level 3",
            F::TargetOptions,
            "--log-uid",
            "-j LOG --log-uid --log-prefix a",
        ),
        (
            "-j SNAT --to-source 10.0.0.1 --random",
            F::Target,
            "MASQUERADE",
            "-j MASQUERADE --random",
        ),
    ];
    for (raw, field, to, expected) in cases {
        assert_eq!(
            edited(raw, field, to),
            expected,
            "{raw} {field:?} := {to:?}"
        );
    }
}

#[test]
fn what_is_typed_comes_back() {
    let typed = [
        (Field::Source, "! 10.0.0.0/8"),
        (Field::Source, "a b"),
        (Field::DestinationPorts, "! 22,80"),
        (Field::Comment, "  \" ' \\ "),
        (Field::Comment, "! not"),
        (Field::Comment, "-j DROP"),
        (Field::Protocol, "! tcp"),
        (Field::Target, "goto web"),
        (Field::State, "NEW"),
        (Field::InInterface, "we\"ird"),
        (Field::Limit, "5/min burst 7"),
    ];
    for raw in ["", "-p tcp -m tcp --dport 1 -j ACCEPT", "-m foo --bar"] {
        for (field, to) in typed {
            let line = set(raw.as_bytes(), field, to, &site("INPUT"));
            let form = Form::read(&line, &site("INPUT"));
            assert_eq!(
                form.get(field),
                to,
                "{raw} {field:?}: {}",
                String::from_utf8_lossy(&line)
            );
        }
    }
}

/// The words of every part but the names of matches, and those that a field shows.
fn rest(raw: &[u8], field: Option<Field>) -> Vec<Vec<u8>> {
    let site = site("INPUT");
    let (spec, layout) = Layout::read(raw, site.family, &|name| site.is_chain(name));
    let shown = field.map(|field| fields::Shown::of(field, &spec, &layout));
    let mut own = shown.map_or_else(Vec::new, |shown| shown.pieces());
    let matches = layout.held.iter().filter(|held| !held.is_target);
    own.extend(matches.filter_map(|held| held.piece));
    let pieces = layout.pieces.iter().enumerate();
    pieces
        .filter(|(at, _)| !own.contains(at))
        .flat_map(|(_, piece)| piece.words.iter().map(|word| word.raw.to_vec()))
        .collect()
}

const PARTS: [&str; 18] = [
    "-s 10.0.0.0/8",
    "! -d 192.168.0.1",
    "-i eth0",
    "-p tcp",
    "-p udp",
    "-m tcp --dport 22",
    "-m udp --sport 53",
    "--syn",
    "-m multiport --dports 80,443",
    "-m conntrack --ctstate NEW --ctdir ORIGINAL",
    "-m state --state RELATED",
    "-m limit --limit 5/min",
    "-m comment --comment \"it is\"",
    "-m comment --comment second",
    "-m foo --bar 1 !",
    "-j LOG --log-prefix \"a \" --log-uid",
    "-j web",
    "-g web",
];

proptest! {
    #[test]
    fn a_field_written_as_it_was_read_gives_the_same_bytes(
        raw in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let form = Form::read(&raw, &site("INPUT"));
        for field in Field::ALL {
            prop_assert_eq!(&set(&raw, field, form.get(field), &site("INPUT")), &raw);
        }
    }

    #[test]
    fn no_field_touches_what_another_shows(
        picked in proptest::sample::subsequence(&PARTS[..], 0..6),
        field in 0..Field::ALL.len(),
        to in "[!]?( )?[a-zA-Z0-9:,/.]{0,8}",
    ) {
        let raw = picked.join(" ");
        let field = Field::ALL[field];
        // A target that changes takes its options along; that is tested by table.
        prop_assume!(!matches!(field, Field::Target | Field::TargetOptions | Field::Protocol));
        let line = set(raw.as_bytes(), field, &to, &site("INPUT"));
        let before = rest(raw.as_bytes(), Some(field));
        // What was taken away may uncover a second one.
        let free = matches!(field, Field::Comment | Field::LogPrefix);
        let value = if field.can_invert() { to.trim_start_matches('!') } else { &to };
        let is_gone = if free { to.is_empty() } else { value.trim().is_empty() };
        let after = rest(&line, Some(field).filter(|_| !is_gone));
        prop_assert_eq!(before, after, "{} {:?}={} -> {}", raw, field, to, String::from_utf8_lossy(&line));
    }

    #[test]
    fn any_text_in_any_field_of_any_rule_is_taken(
        raw in proptest::collection::vec(any::<u8>(), 0..60),
        field in 0..Field::ALL.len(),
        to in any::<String>(),
    ) {
        let line = set(&raw, Field::ALL[field], &to, &site("INPUT"));
        let _ = Form::read(&line, &site("INPUT"));
    }
}
