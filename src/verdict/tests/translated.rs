//! Where packets go whose destination was changed, one case a line.

use super::*;

/// A box with 10.0.0.1 and 10.0.0.2 on eth0 and 10.1.0.1 on eth1, which accepts what is for it and forwards
/// nothing.
fn goes(rule: &str, packet: &str) -> (Verdict, String) {
    let dump = format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp {rule}\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n-A INPUT -m conntrack --ctstate DNAT -j ACCEPT\nCOMMIT\n"
    );
    let facts = Facts {
        local: Some(
            ["10.0.0.1", "10.0.0.2", "10.1.0.1"]
                .map(|own| own.parse().unwrap())
                .into(),
        ),
        first: [
            (
                crate::flow::IfName::new(b"eth0").unwrap(),
                [10, 0, 0, 1].into(),
            ),
            (
                crate::flow::IfName::new(b"eth1").unwrap(),
                [10, 1, 0, 1].into(),
            ),
        ]
        .into(),
        ..Facts::default()
    };
    let explanation = ask_with(&dump, packet, &facts);
    let document = Document::parse(dump.into_bytes(), Hints::default()).unwrap();
    let ruleset = &document.rulesets()[0];
    let by = match explanation.by {
        Some(Decider::Place(place)) => {
            let rule = place.rule.map_or("policy", |_| "rule");
            format!("{} {rule}", ruleset.chain(place.chain).name())
        }
        _ => "?".to_owned(),
    };
    (explanation.verdict, by)
}

fn to(dst: Option<&str>, port: u16) -> String {
    let dst = dst.map_or(String::new(), |dst| format!(r#""dst":"{dst}","#));
    format!(
        r#"{{"proto":"tcp","src":"10.0.0.50",{dst}"sport":40000,"dport":{port},"tcp_flags":["SYN"],"ctstate":"NEW","in":"eth0"}}"#
    )
}

#[test]
fn a_destination_out_of_a_range_goes_where_the_range_lies() {
    let forward = (Verdict::Drop, "FORWARD policy".to_owned());
    let known = to(Some("10.0.0.1"), 8082);
    for packet in [known.clone(), to(None, 8082)] {
        let away = "-j DNAT --to-destination 10.1.0.5-10.1.0.9";
        assert_eq!(goes(away, &packet), forward, "{packet}");
        let own = "-j DNAT --to-destination 10.0.0.1-10.0.0.2";
        assert_eq!(goes(own, &packet).0, Verdict::Accept, "{packet}");
        let some = "-j DNAT --to-destination 10.0.0.1-10.0.0.9";
        assert_eq!(goes(some, &packet).0, Verdict::Unknown, "{packet}");
    }
    assert_eq!(goes("-j NETMAP --to 10.3.0.0/24", &to(None, 1)), forward);
    assert_eq!(
        goes("-j NETMAP --to 10.0.0.0/24", &to(None, 1)).0,
        Verdict::Unknown
    );
    assert_eq!(
        goes("-j NETMAP --to 10.0.0.0/24", &known).0,
        Verdict::Accept
    );
}

#[test]
fn a_destination_that_was_not_said_goes_where_the_rule_sends_it() {
    let forward = (Verdict::Drop, "FORWARD policy".to_owned());
    for ports in ["", ":80", ":80-90"] {
        let rule = format!("--dport 8084 -j DNAT --to-destination 10.1.0.2{ports}");
        assert_eq!(goes(&rule, &to(None, 8084)), forward, "{rule}");
        assert_eq!(goes(&rule, &to(Some("10.0.0.1"), 8084)), forward, "{rule}");
    }
}

#[test]
fn a_redirect_that_changes_nothing_is_no_translation() {
    let plain = (Verdict::Accept, "INPUT policy".to_owned());
    let translated = (Verdict::Accept, "INPUT rule".to_owned());
    let cases = [
        ("-j REDIRECT --to-ports 13", Some("10.0.0.1"), 13, &plain),
        (
            "-j REDIRECT --to-ports 13",
            Some("10.0.0.1"),
            14,
            &translated,
        ),
        ("-j REDIRECT", Some("10.0.0.1"), 13, &plain),
        ("-j REDIRECT", Some("10.0.0.2"), 13, &translated),
        ("-j REDIRECT", Some("192.0.2.9"), 13, &translated),
    ];
    for (rule, dst, port, wanted) in cases {
        assert_eq!(goes(rule, &to(dst, port)), *wanted, "{rule} {dst:?}:{port}");
    }
    // Which of both is not known, but the end is.
    assert_eq!(
        goes("-j REDIRECT", &to(None, 13)),
        (Verdict::Accept, "?".to_owned())
    );
}
