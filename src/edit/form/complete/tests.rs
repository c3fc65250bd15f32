//! What the raw line and the fields offer, on a machine with few names.

use super::*;
use crate::edit::form::tests::site;

fn names() -> Names {
    let service = |name: &str, port, protocol: &str| Service {
        name: name.to_owned(),
        port,
        protocol: protocol.to_owned(),
    };
    Names {
        interfaces: vec!["eth0".into(), "eth1".into(), "lo".into()],
        services: vec![
            service("domain", 53, "tcp"),
            service("domain", 53, "udp"),
            service("https", 443, "tcp"),
            service("ntp", 123, "udp"),
        ],
        sets: vec!["bl".into(), "wl".into()],
    }
}

/// What `|` in the line is offered, and what of it would be replaced.
fn offered(text: &str) -> (String, Vec<String>) {
    let cursor = text.find('|').unwrap();
    let text = text.replace('|', "");
    let found = line(&text, cursor, &site("INPUT"), &names());
    let words = found.candidates.into_iter().map(|one| one.text);
    (text[found.range].to_owned(), words.collect())
}

#[test]
fn the_raw_line_offers_what_could_stand_there() {
    let cases: [(&str, &str, &[&str]); 13] = [
        ("-i e| -j DROP", "e", &["eth0", "eth1"]),
        ("-p tcp --dport h|", "h", &["https"]),
        ("-p udp --dport |", "", &["domain", "ntp"]),
        ("-p tcp -m multiport --dports 22,h|", "h", &["https"]),
        ("-m conntrack --ctstate NEW,RE|", "RE", &["RELATED"]),
        ("-j ACC|", "ACC", &["ACCEPT"]),
        ("-g |", "", &["f2b-sshd", "web"]),
        ("-j w|", "w", &["web"]),
        ("-m set --match-set b|", "b", &["bl"]),
        (
            "-m set --match-set bl s|",
            "s",
            &["src", "src,src", "src,dst"],
        ),
        ("-j REJECT --reject-with tcp|", "tcp", &["tcp-reset"]),
        ("-m comment --comment \"a|", "", &[]),
        ("-j LOG --log-u|", "--log-u", &["--log-uid"]),
    ];
    for (text, replaced, expected) in cases {
        let (found, words) = offered(text);
        assert_eq!(
            (found.as_str(), words),
            (replaced, expected.iter().map(|w| (*w).to_owned()).collect()),
            "{text}"
        );
    }
    let (_, options) = offered("-p tcp -m tcp |");
    assert_eq!(options[..2], ["--sport", "--dport"]);
    assert!(options.contains(&"-j".to_owned()) && !options.contains(&"-p".to_owned()));
    let (_, targets) = offered("-j |");
    assert!(!targets.contains(&"DNAT".to_owned()), "nat only");
    let (_, matches) = offered("-m o|");
    assert!(!matches.contains(&"owner".to_owned()), "OUTPUT only");
    assert!(offered("-m policy --di|").1.contains(&"--dir".to_owned()));
    assert_eq!(offered("-m policy --dir i|").1, ["in"]);
}

#[test]
fn fields_offer_the_same() {
    let offered = |field_: Field, raw: &str, typed: &str| {
        let found = field(
            field_,
            raw.as_bytes(),
            typed,
            typed.len(),
            &site("INPUT"),
            &names(),
        );
        let words: Vec<String> = found.candidates.into_iter().map(|one| one.text).collect();
        (typed[found.range].to_owned(), words)
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        offered(Field::InInterface, "", "! e"),
        ("e".into(), words(&["eth0", "eth1"]))
    );
    assert_eq!(
        offered(Field::State, "", "NEW,inv"),
        ("inv".into(), words(&["INVALID"]))
    );
    assert_eq!(
        offered(Field::DestinationPorts, "-p udp", "1,n"),
        ("n".into(), words(&["ntp"]))
    );
    assert_eq!(
        offered(Field::Target, "", "goto w"),
        ("w".into(), words(&["web"]))
    );
    assert_eq!(
        offered(Field::TargetOptions, "-j REJECT", "--reject-with tcp"),
        ("tcp".into(), words(&["tcp-reset"]))
    );
    assert_eq!(
        offered(Field::Protocol, "", "ud"),
        ("ud".into(), words(&["udp", "udplite"]))
    );
    assert_eq!(
        offered(Field::TargetOptions, "-j LOG", "--log-m").1,
        ["--log-macdecode"]
    );
}

proptest::proptest! {
    #[test]
    fn any_line_and_place_are_taken(text in ".{0,40}", cursor in 0..60usize) {
        let found = line(&text, cursor.min(text.len()), &site("INPUT"), &names());
        proptest::prop_assert!(found.range.end <= text.len().max(cursor));
        for each in Field::ALL {
            field(each, text.as_bytes(), &text, cursor.min(text.len()), &site("INPUT"), &names());
        }
    }
}
